/* SPDX-License-Identifier: MPL-2.0
 *
 * One step of a simulated fleet: time goes on, messages arrive, cores do their work, and faults strike.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integration/sim/world.h"

#define DAY_MS 86400000ULL

/* A core said that its disk failed: only as planned; then the program is down for a while. */
static void node_down(struct world_node *n)
{
	world_node_stop(n);
	n->world->counts.crashes++;
	n->down_until_ms = n->world->now_ms + sim_below(&n->world->random, 8000);
	if (n->world->years && sim_chance(&n->world->random, 300))
		n->down_until_ms += sim_below(&n->world->random, 3 * DAY_MS);
}

static void broker_down(struct world *w)
{
	world_broker_stop(w);
	w->counts.crashes++;
	w->broker_down_until_ms = w->now_ms + sim_below(&w->random, 8000);
}

static void fatal_unless_planned(const struct world *w, const struct disk *d, const char *who, int r)
{
	if (d->crashed)
		return;
	fprintf(stderr, "seed %llu: %s failed with %d without a fault\n", (unsigned long long)w->seed, who, r);
	abort();
}

static void node_result(struct world_node *n, int r)
{
	if (r >= 0)
		return;
	fatal_unless_planned(n->world, n->disk, n->identity.name, r);
	node_down(n);
}

static void node_do_flush(struct world_node *n)
{
	int r = node_flush(n->node);

	if (r == 0) {
		for (size_t i = 0; i < n->world->offences_n; i++)
			if (n->world->offences[i].node == n->index && n->world->offences[i].staged)
				n->world->offences[i].promised = true;
	}
	node_result(n, r);
}

/* Arrivals ------------------------------------------------------------------------------------------- */

static void receive_receipt(struct world *w, const struct wire_message *m)
{
	kban_auto(kban_message_free) struct kban_message *msg = NULL;

	if (kban_message_decode(&msg, m->bytes, m->len) || msg->kind != KBAN_MSG_RECEIPT || !msg->receipt.seq)
		return;
	w->receipts = kban_realloc(w->receipts, (w->receipts_n + 1) * sizeof(*w->receipts));
	w->receipts[w->receipts_n].hash = msg->receipt.hash;
	w->receipts[w->receipts_n++].seq = msg->receipt.seq;
	w->counts.receipts++;
}

static void arrive_at_owner(struct world *w, const struct wire_message *m)
{
	unsigned owner = w->links[m->connection - 1].owner;

	receive_receipt(w, m);
	if (owner == WORLD_NODES) {
		if (w->operator.connection == m->connection)
			world_operator_receive(w, m->bytes, m->len);
		return;
	}
	struct world_node *n = &w->nodes[owner];
	if (n->node && n->connection == m->connection)
		node_result(n, node_receive(n->node, m->bytes, m->len));
}

static bool link_cut(const struct world *w, unsigned connection)
{
	unsigned owner = w->links[connection - 1].owner;

	return owner < WORLD_NODES && w->nodes[owner].cut;
}

static void arrive(struct world *w, const struct wire_message *m)
{
	const struct world_link *l = &w->links[m->connection - 1];

	if (!l->up || link_cut(w, m->connection))
		return;
	if (!m->bytes)
		world_disconnect(w, m->connection);
	else if (!m->to_broker)
		arrive_at_owner(w, m);
	else if (w->broker)
		broker_receive(w->broker, m->connection, &w->links[m->connection - 1].curve, "10.77.0.1", m->bytes, m->len);
}

static void arrivals(struct world *w)
{
	struct wire_message m;

	while (wire_take(&w->wire, w->now_ms, &m)) {
		arrive(w, &m);
		free(m.bytes);
	}
}

/* Work ------------------------------------------------------------------------------------------------ */

static void broker_result(struct world *w, int r)
{
	if (r >= 0)
		return;
	fatal_unless_planned(w, w->broker_disk, "the broker", r);
	broker_down(w);
}

static void broker_turn(struct world *w)
{
	broker_result(w, broker_commit(w->broker));
	if (w->broker && sim_chance(&w->random, 100))
		broker_tick(w->broker);
	if (w->broker && sim_chance(&w->random, 300))
		broker_result(w, broker_work(w->broker));
}

static void node_try_connection(struct world_node *n)
{
	if (!n->connecting)
		return;
	n->connecting = false;
	if (n->cut || !n->world->broker) {
		node_lost(n->node);
		return;
	}
	const char *reason = NULL;
	if (!broker_admits(n->world->broker, &n->identity.keys.curve_public, &reason)) {
		node_lost(n->node);
		return;
	}
	n->connection = world_connect(n->world, n->index, &n->identity.keys.curve_public);
	node_connected(n->node);
}

static void node_tell_enforced(struct world_node *n)
{
	struct enforce_status status = {.done = n->kernel.batches};

	for (size_t i = 0; i < n->kernel.n; i++) {
		status.bans_wanted += n->kernel.ops[i].kind == ENFORCE_BAN;
		status.safes_wanted += n->kernel.ops[i].kind == ENFORCE_SAFE;
	}
	status.bans_enforced = status.bans_wanted;
	status.safes_enforced = status.safes_wanted;
	node_enforced(n->node, &status);
}

static void kernel_expire(struct world_node *n)
{
	uint64_t now = n->clock.boot_ms(n->clock.arg);

	for (size_t i = 0; i < n->kernel.n;) {
		struct enforce_op *op = &n->kernel.ops[i];
		if (op->kind == ENFORCE_BAN && op->until_boot_ms <= now)
			*op = n->kernel.ops[--n->kernel.n];
		else
			i++;
	}
}

static void node_work(struct world_node *n)
{
	if (!n->node) {
		if (n->world->now_ms >= n->down_until_ms)
			world_node_start(n);
		return;
	}
	kernel_expire(n);
	node_try_connection(n);
	if (sim_chance(&n->world->random, 700))
		node_do_flush(n);
	if (!n->node)
		return;
	node_tell_enforced(n);
	node_result(n, node_tick(n->node));
}

/* Addresses of the unlucky: 203.0.113.0-7 are safe, banned and unbanned again and again by the operator; every
 * other offender is met only once, so that it must be in the log exactly once. */
static struct kban_prefix offender(struct world *w, bool *once)
{
	struct kban_prefix p;
	char text[KBAN_PREFIX_TEXT];

	*once = sim_chance(&w->random, 500);
	if (*once)
		snprintf(text, sizeof(text), "198.51.%zu.%zu", w->offences_n / 200, w->offences_n % 200 + 1);
	else
		snprintf(text, sizeof(text), "203.0.113.%llu", (unsigned long long)sim_below(&w->random, 8));
	if (kban_prefix_parse(&p, text))
		abort();
	return p;
}

static void node_offends(struct world_node *n)
{
	struct world *w = n->world;
	bool once;

	if (!n->node || w->offences_n == WORLD_OFFENCES)
		return;
	struct node_offence o = {.prefix = offender(w, &once),
				 .duration_ms = 1000 + sim_below(&w->random, w->years ? 4 * DAY_MS : 400000),
				 .rule = "failed-login",
				 .service = "smtp",
				 .line = "simulated",
				 .count = 10,
				 .first_ms = w->now_ms,
				 .last_ms = w->now_ms};
	if (once)
		w->offences[w->offences_n++] = (struct world_offence){.prefix = o.prefix, .node = n->index, .staged = true};
	w->counts.offences++;
	node_offence(n->node, &o);
}

/* Faults ----------------------------------------------------------------------------------------------- */

static void fault_disk(struct world *w)
{
	static const enum disk_fault faults[] = {DISK_CRASH_BEFORE, DISK_CRASH_AFTER, DISK_FULL};
	unsigned who = (unsigned)sim_below(&w->random, WORLD_NODES + 1);
	struct disk *d = who == WORLD_NODES ? w->broker_disk : w->nodes[who].disk;

	if (d->fault == DISK_FULL) {
		d->fault = DISK_SOUND;
		return;
	}
	d->fault = faults[sim_below(&w->random, KBAN_ARRAY_LEN(faults))];
	w->counts.full_disks += d->fault == DISK_FULL;
}

static void fault_kill(struct world *w)
{
	unsigned who = (unsigned)sim_below(&w->random, WORLD_NODES + 1);

	if (who == WORLD_NODES && w->broker)
		broker_down(w);
	else if (who < WORLD_NODES && w->nodes[who].node)
		node_down(&w->nodes[who]);
}

static void fault_link(struct world *w)
{
	struct world_node *n = &w->nodes[sim_below(&w->random, WORLD_NODES)];

	n->cut = !n->cut;
	w->counts.cuts += n->cut;
}

static void fault(struct world *w)
{
	static void (*const faults[])(struct world *) = {fault_disk, fault_kill, fault_link, fault_link};

	faults[sim_below(&w->random, KBAN_ARRAY_LEN(faults))](w);
}

static void turn(struct world *w)
{
	arrivals(w);
	if (w->broker)
		broker_turn(w);
	else if (w->now_ms >= w->broker_down_until_ms)
		world_broker_start(w);
	for (unsigned i = 0; i < WORLD_NODES; i++)
		node_work(&w->nodes[i]);
	world_operator_step(w);
}

void world_step(struct world *w)
{
	w->counts.steps++;
	w->now_ms += sim_chance(&w->random, 20) ? sim_below(&w->random, 5000) : sim_below(&w->random, 60);
	if (w->years && w->faults && sim_chance(&w->random, 25))
		w->now_ms += sim_below(&w->random, DAY_MS / 2);
	turn(w);
	if (sim_chance(&w->random, 150))
		node_offends(&w->nodes[sim_below(&w->random, WORLD_NODES)]);
	if (w->faults && sim_chance(&w->random, 15))
		fault(w);
}

static void end_faults(struct world *w)
{
	w->faults = w->wire.faulty = false;
	w->broker_disk->fault = DISK_SOUND;
	w->broker_down_until_ms = 0;
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		w->nodes[i].disk->fault = DISK_SOUND;
		w->nodes[i].cut = false;
		w->nodes[i].down_until_ms = 0;
	}
}

static bool all_in_step(const struct world *w)
{
	struct kban_place head, place;

	if (!w->broker || w->operator.sealed_bytes)
		return false;
	ledger_place(broker_ledger(w->broker), &head);
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		if (!w->nodes[i].node || node_link(w->nodes[i].node) != NODE_LIVE || node_waiting(w->nodes[i].node))
			return false;
		ledger_place(node_ledger(w->nodes[i].node), &place);
		if (place.seq != head.seq)
			return false;
	}
	return true;
}

#define HEAL_MS  180000 /* a node that could not store the broker's state asks again after two minutes */
#define QUIET_MS 75000  /* in which every estimate of broker time is renewed, and every end that was set by an older one mended */

const char *world_heal(struct world *w)
{
	uint64_t end = w->now_ms + HEAL_MS + QUIET_MS, since = 0;

	end_faults(w);
	while (w->now_ms < end) {
		w->now_ms += since ? 100 : 20;
		turn(w);
		const char *broken = world_check(w);
		if (broken)
			return broken;
		if (!all_in_step(w))
			since = 0;
		else if (!since)
			since = w->now_ms;
		else if (w->now_ms - since > QUIET_MS)
			return NULL;
	}
	for (unsigned i = 0; i < WORLD_NODES; i++)
		if (w->nodes[i].node)
			fprintf(stderr, "node %u is %s with %llu events waiting\n", i + 1,
				node_link_name(node_link(w->nodes[i].node)),
				(unsigned long long)node_waiting(w->nodes[i].node));
	return "not all in step three minutes after the last fault";
}
