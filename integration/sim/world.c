/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/sim/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"

#define START_MS 1790000000000 /* where simulated time begins */

/* Clocks --------------------------------------------------------------------------------------------- */

static uint64_t clock_wall(void *arg)
{
	const struct world_clock *c = arg;

	return c->world->now_ms + (uint64_t)c->skew_ms;
}

static uint64_t clock_boot(void *arg)
{
	const struct world_clock *c = arg;

	return c->world->now_ms - START_MS + 1000;
}

static struct kban_clock clock_of(struct world_clock *state, struct world *w, int64_t skew_ms)
{
	*state = (struct world_clock){w, skew_ms};
	return (struct kban_clock){clock_wall, clock_boot, state};
}

/* Links ---------------------------------------------------------------------------------------------- */

static struct world_link *link_of(struct world *w, unsigned connection)
{
	return &w->links[connection - 1];
}

unsigned world_connect(struct world *w, unsigned owner, const struct kban_key *curve)
{
	w->links = kban_realloc(w->links, (w->links_n + 1) * sizeof(*w->links));
	w->links[w->links_n++] = (struct world_link){true, owner, *curve};
	return (unsigned)w->links_n;
}

static void link_owner_lost(struct world *w, unsigned owner, unsigned connection)
{
	if (owner == WORLD_NODES) {
		if (w->operator.connection == connection)
			world_operator_lost(w);
		return;
	}
	struct world_node *n = &w->nodes[owner];
	if (n->connection != connection)
		return;
	n->connection = 0;
	if (n->node)
		node_lost(n->node);
}

/* Either end gives it up: the broker hears of it at once, the owner through the wire's end mark. */
void world_disconnect(struct world *w, unsigned connection)
{
	struct world_link *l = link_of(w, connection);

	if (!l->up)
		return;
	l->up = false;
	wire_forget(&w->wire, connection);
	if (w->broker)
		broker_gone(w->broker, connection);
	link_owner_lost(w, l->owner, connection);
}

/* The broker's transport ------------------------------------------------------------------------------ */

static void broker_send(void *arg, uint64_t peer, const uint8_t *bytes, size_t len)
{
	struct world *w = arg;

	if (link_of(w, (unsigned)peer)->up)
		wire_send(&w->wire, w->now_ms, (unsigned)peer, false, bytes, len);
}

static void broker_cut(void *arg, uint64_t peer)
{
	struct world *w = arg;

	if (link_of(w, (unsigned)peer)->up)
		wire_send(&w->wire, w->now_ms, (unsigned)peer, false, NULL, 0);
}

void world_broker_start(struct world *w)
{
	char *error = NULL;

	w->transport = (struct broker_transport){broker_send, broker_cut, w};
	disk_open(w->broker_disk, &w->broker_store);
	int r = broker_new(&w->broker, &w->broker_identity, w->broker_store, &w->broker_clock, &w->transport, &w->genesis,
			   &error);
	if (r) {
		fprintf(stderr, "seed %llu: the broker does not start: %s\n", (unsigned long long)w->seed, error);
		abort();
	}
	w->broker_disk->fault = w->broker_disk->fault == DISK_FULL ? DISK_FULL : DISK_SOUND;
}

void world_broker_stop(struct world *w)
{
	struct broker *b = w->broker;

	w->broker = NULL;
	for (unsigned c = 1; c <= w->links_n; c++)
		world_disconnect(w, c);
	broker_free(b);
	store_close(w->broker_store);
	w->broker_store = NULL;
}

/* The nodes' ports ------------------------------------------------------------------------------------ */

static void node_send(void *arg, const uint8_t *bytes, size_t len)
{
	struct world_node *n = arg;

	if (n->connection)
		wire_send(&n->world->wire, n->world->now_ms, n->connection, true, bytes, len);
}

static void node_disconnect(void *arg)
{
	struct world_node *n = arg;
	unsigned c = n->connection;

	n->connection = 0; /* before, so that the node is not told of what it asked for */
	n->connecting = false;
	if (c)
		world_disconnect(n->world, c);
}

static void node_connect(void *arg, size_t which)
{
	struct world_node *n = arg;

	(void)which;
	node_disconnect(n);
	n->connecting = true;
}

static size_t kernel_find(const struct world_kernel *k, uint32_t kind, const struct kban_prefix *p)
{
	size_t i = 0;

	while (i < k->n && !(k->ops[i].kind == kind && kban_prefix_equal(&k->ops[i].prefix, p)))
		i++;
	return i;
}

static void kernel_apply(struct world_kernel *k, const struct enforce_op *op)
{
	bool add = op->kind == ENFORCE_BAN || op->kind == ENFORCE_SAFE;
	uint32_t kind = op->kind == ENFORCE_BAN || op->kind == ENFORCE_UNBAN ? ENFORCE_BAN : ENFORCE_SAFE;
	size_t i = kernel_find(k, kind, &op->prefix);

	if (add) {
		if (i == k->n && k->n++ == WORLD_KERNEL)
			abort();
		k->ops[i] = *op;
	} else if (i < k->n) {
		k->ops[i] = k->ops[--k->n];
	}
}

static void tell(const struct world_node *n, const struct enforce_op *op)
{
	static const char *const names[] = {"?", "ban", "unban", "safe", "unsafe"};
	char text[KBAN_PREFIX_TEXT];

	kban_debug("%s's kernel: %s %s until %llu, now %llu", n->identity.name, names[op->kind],
		   kban_prefix_format(&op->prefix, text), (unsigned long long)op->until_boot_ms,
		   (unsigned long long)n->clock.boot_ms(n->clock.arg));
}

static uint64_t node_enforce(void *arg, const struct enforce_op *ops, size_t n_ops, bool all)
{
	struct world_node *n = arg;

	if (all)
		n->kernel.n = 0;
	for (size_t i = 0; i < n_ops; i++) {
		tell(n, &ops[i]);
		kernel_apply(&n->kernel, &ops[i]);
	}
	return ++n->kernel.batches;
}

static void node_forget(void *arg, const struct kban_prefix *p)
{
	(void)arg;
	(void)p;
}

static void node_random(void *arg, void *out, size_t len)
{
	struct world_node *n = arg;
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)sim_next(&n->world->random);
}

void world_node_start(struct world_node *n)
{
	char *error = NULL;

	n->ports = (struct node_ports){node_send,   node_connect, node_disconnect, node_enforce,
				       node_forget, node_random,  n};
	n->config = (struct node_config){.identity = &n->identity, .version = "sim"};
	disk_open(n->disk, &n->store);
	int r = node_new(&n->node, &n->config, n->store, &n->clock, &n->ports, &error);
	if (r) {
		fprintf(stderr, "seed %llu: node %u does not start: %s\n", (unsigned long long)n->world->seed, n->index,
			error);
		abort();
	}
}

void world_node_stop(struct world_node *n)
{
	node_disconnect(n);
	node_free(n->node);
	store_close(n->store);
	n->node = NULL;
	n->store = NULL;
	/* What was staged and not flushed was promised to nobody, and may be lost. */
	for (size_t i = 0; i < n->world->offences_n; i++)
		if (n->world->offences[i].node == n->index)
			n->world->offences[i].staged = false;
	n->kernel.batches = 0;
}

/* The world ------------------------------------------------------------------------------------------- */

static void identity_make(struct world *w, struct kban_identity *id, const char *name, enum kban_role role)
{
	uint8_t seed[32];

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)sim_next(&w->random);
	*id = (struct kban_identity){.role = role};
	snprintf(id->name, sizeof(id->name), "%s", name);
	kban_keypair_from_seed(&id->keys, seed);
	id->root = role == KBAN_ROLE_ROOT ? id->keys.sign_public : w->root.root;
	kban_cluster_id(&id->cluster, &id->root);
	id->brokers_n = 1;
	snprintf(id->brokers[0].endpoint, sizeof(id->brokers[0].endpoint), "tcp://10.77.0.100:7400");
}

static struct kban_event grant(const struct kban_identity *id)
{
	return (struct kban_event){.kind = KBAN_EVENT_GRANT,
				   .grant = {.key = id->keys.sign_public,
					     .curve = id->keys.curve_public,
					     .role = id->role,
					     .name = kban_text(id->name)}};
}

static void genesis_make(struct world *w)
{
	struct kban_event events[WORLD_NODES + 2];
	struct kban_report r = {.cluster = w->root.cluster, .counter = 1, .base = {1, 0}, .issued_ms = w->now_ms, .events = events};

	events[r.events_n++] = grant(&w->broker_identity);
	events[r.events_n++] = grant(&w->operator.identity);
	for (unsigned i = 0; i < WORLD_NODES; i++)
		events[r.events_n++] = grant(&w->nodes[i].identity);
	if (kban_report_seal(&r, &w->root.keys, &w->genesis_bytes, &w->genesis))
		abort();
}

static void node_make(struct world *w, unsigned i)
{
	struct world_node *n = &w->nodes[i];
	char name[16];

	n->world = w;
	n->index = i;
	snprintf(name, sizeof(name), "mail%u", i + 1);
	identity_make(w, &n->identity, name, KBAN_ROLE_NODE);
	n->identity.brokers[0].curve = w->broker_identity.keys.curve_public;
	disk_new(&n->disk, &w->root.cluster);
	n->clock = clock_of(&n->clock_state, w, (int64_t)sim_below(&w->random, 40000) - 20000);
}

void world_new(struct world **out, uint64_t seed)
{
	struct world *w = kban_zalloc(sizeof(*w));

	w->seed = seed;
	w->random.state = seed;
	w->now_ms = START_MS;
	w->years = seed % 3 == 0;
	w->wire.random = &w->random;
	w->faults = w->wire.faulty = true;
	identity_make(w, &w->root, "root", KBAN_ROLE_ROOT);
	identity_make(w, &w->broker_identity, "broker1", KBAN_ROLE_BROKER);
	identity_make(w, &w->operator.identity, "ops", KBAN_ROLE_OPERATOR);
	ledger_new(&w->reference, &w->root.root);
	w->broker_clock = clock_of(&w->broker_clock_state, w, 0);
	disk_new(&w->broker_disk, &w->root.cluster);
	for (unsigned i = 0; i < WORLD_NODES; i++)
		node_make(w, i);
	genesis_make(w);
	world_broker_start(w);
	for (unsigned i = 0; i < WORLD_NODES; i++)
		world_node_start(&w->nodes[i]);
	*out = w;
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		if (w->nodes[i].node)
			world_node_stop(&w->nodes[i]);
		disk_free(w->nodes[i].disk);
	}
	if (w->broker)
		world_broker_stop(w);
	disk_free(w->broker_disk);
	wire_release(&w->wire);
	free(w->operator.sealed_bytes);
	free(w->genesis_bytes);
	free(w->links);
	free(w->seen);
	free(w->late);
	ledger_free(w->reference);
	free(w->receipts);
	free(w);
}
