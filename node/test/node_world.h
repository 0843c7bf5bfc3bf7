/* SPDX-License-Identifier: MPL-2.0
 *
 * One node with fake ports, fake clocks and a real store in a temporary folder, and a scripted
 * broker: a log of really signed reports with a real ledger. What the node tells the kernel is
 * played on a small table.
 */
#ifndef KBAN_NODE_TEST_WORLD_H
#define KBAN_NODE_TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/core.h"
#include "proto/log.h"
#include "store/lmdb.h"

#define WORLD_ENTRIES 1400
#define WORLD_SENT    400
#define WORLD_KERNEL  600
#define WORLD_WALL    1700000000000ULL

struct world {
	struct kban_keypair root, operator, other;
	struct kban_identity identity;
	uint64_t wall_ms, boot_ms;
	/* the broker */
	struct ledger *ledger;
	size_t n; /* entries; entry i is seq i + 1 */
	struct kban_entry entries[WORLD_ENTRIES];
	uint8_t *bytes[WORLD_ENTRIES];
	uint64_t counters[3];
	uint8_t session[KBAN_SESSION_SIZE];
	/* the node */
	char folder[64];
	struct store *store;
	struct node *node;
	struct kban_prefix excepted[1];
	size_t own_n; /* 1: that one is this server's own */
	size_t sent_n;
	struct kban_message *sent[WORLD_SENT];
	unsigned connects, disconnects, batches, alls, forgets;
	size_t which;
	struct kban_prefix forgotten;
	size_t kernel_n;
	struct enforce_op kernel[WORLD_KERNEL];
	uint64_t random;
	uint64_t horizon; /* in Welcome */
	bool may_fail; /* the store may: then `failed` says so, and the node is to be taken down */
	int failed;
	const char *watched; /* is to be in the kernel after every batch */
};

static __attribute__((unused)) uint64_t world_wall(void *arg)
{
	return ((struct world *)arg)->wall_ms;
}

static __attribute__((unused)) uint64_t world_boot(void *arg)
{
	return ((struct world *)arg)->boot_ms;
}

static __attribute__((unused)) struct kban_prefix P(const char *text) {
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

/* The kernel
   ----------------------------------------------------------------------------------------- */

static __attribute__((unused)) bool
op_is_safe(const struct enforce_op *op)
{
	return op->kind == ENFORCE_SAFE || op->kind == ENFORCE_UNSAFE;
}

static __attribute__((unused)) struct enforce_op *kernel_find(struct world *w,
							      const struct enforce_op *op)
{
	for (size_t i = 0; i < w->kernel_n; i++)
		if (op_is_safe(&w->kernel[i]) == op_is_safe(op) &&
		    kban_prefix_equal(&w->kernel[i].prefix, &op->prefix))
			return &w->kernel[i];
	return NULL;
}

static __attribute__((unused)) void kernel_apply(struct world *w, const struct enforce_op *op)
{
	struct enforce_op *have = kernel_find(w, op);

	if (op->kind == ENFORCE_UNBAN || op->kind == ENFORCE_UNSAFE) {
		if (have)
			*have = w->kernel[--w->kernel_n];
		return;
	}
	if (!have) {
		assert_true(w->kernel_n < WORLD_KERNEL);
		have = &w->kernel[w->kernel_n++];
	}
	*have = *op;
}

/* Until when the kernel blocks exactly this prefix; 0: it does not. */
static __attribute__((unused)) uint64_t banned(struct world *w, const char *text)
{
	struct enforce_op op = {.kind = ENFORCE_BAN, .prefix = P(text)};
	const struct enforce_op *have = kernel_find(w, &op);

	return have && have->until_boot_ms > w->boot_ms ? have->until_boot_ms : 0;
}

static __attribute__((unused)) bool safe(struct world *w, const char *text)
{
	struct enforce_op op = {.kind = ENFORCE_SAFE, .prefix = P(text)};

	return kernel_find(w, &op) != NULL;
}

/* Ports ---------------------------------------------------------------------------------------- */

static __attribute__((unused)) void world_send(void *arg, const uint8_t *bytes, size_t len)
{
	struct world *w = arg;

	assert_true(w->sent_n < WORLD_SENT);
	assert_int_equal(kban_message_decode(&w->sent[w->sent_n++], bytes, len), 0);
}

static __attribute__((unused)) void world_connect(void *arg, size_t which)
{
	struct world *w = arg;

	w->connects++;
	w->which = which;
}

static __attribute__((unused)) void world_disconnect(void *arg)
{
	((struct world *)arg)->disconnects++;
}

static __attribute__((unused)) uint64_t world_enforce(void *arg, const struct enforce_op *ops,
						      size_t n, bool all)
{
	struct world *w = arg;

	if (all) {
		w->kernel_n = 0;
		w->alls++;
	}
	for (size_t i = 0; i < n; i++)
		kernel_apply(w, &ops[i]);
	if (w->watched)
		assert_true(banned(w, w->watched));
	return ++w->batches;
}

static __attribute__((unused)) void world_forget(void *arg, const struct kban_prefix *p)
{
	struct world *w = arg;

	w->forgets++;
	w->forgotten = *p;
}

static __attribute__((unused)) void world_random(void *arg, void *out, size_t len)
{
	struct world *w = arg;

	for (size_t i = 0; i < len; i++) {
		w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
		((uint8_t *)out)[i] = (uint8_t)(w->random >> 56);
	}
}

/* The broker's log ----------------------------------------------------------------------------- */

static __attribute__((unused)) uint64_t *counter_of(struct world *w, const struct kban_keypair *k)
{
	return &w->counters[k == &w->root ? 0 : k == &w->operator ? 1 : 2];
}

static __attribute__((unused)) void log_sealed(struct world *w, const struct kban_sealed *s)
{
	assert_true(w->n < WORLD_ENTRIES);
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct kban_entry *e = &w->entries[w->n];
	uint8_t *bytes = kban_zalloc(s->report_len + KBAN_SIGNATURE_SIZE);

	memcpy(bytes, s->report, s->report_len);
	memcpy(bytes + s->report_len, s->signature, KBAN_SIGNATURE_SIZE);
	w->bytes[w->n] = bytes;
	*e = (struct kban_entry){
		w->n + 1, w->wall_ms, {bytes, s->report_len, bytes + s->report_len}};
	w->n++;
	assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
	ledger_apply(w->ledger, e, r, NULL, NULL);
}

static __attribute__((unused)) void log_events(struct world *w, const struct kban_keypair *k,
					       const struct kban_event *events, size_t n)
{
	kban_auto(kban_free) void *owned = NULL;
	uint8_t *bytes = NULL;
	struct kban_sealed sealed;
	struct kban_place place;

	ledger_place(w->ledger, &place);
	struct kban_report r = {
		.cluster = w->identity.cluster,
		.counter = ++*counter_of(w, k),
		.base = {place.epoch, place.seq},
		.issued_ms = w->wall_ms,
		.events_n = n,
		.events = (struct kban_event *)events,
	};
	assert_int_equal(kban_report_seal(&r, k, &bytes, &sealed), 0);
	owned = bytes;
	log_sealed(w, &sealed);
	(void)owned;
}

static __attribute__((unused)) void log_ban(struct world *w, const struct kban_keypair *k,
					    const char *prefix, uint64_t duration_ms)
{
	struct kban_event e = {.kind = KBAN_EVENT_BAN,
			       .ban = {.prefix = P(prefix), .duration_ms = duration_ms}};

	log_events(w, k, &e, 1);
}

static __attribute__((unused)) void log_unban(struct world *w, const char *prefix)
{
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN, .unban = {.prefix = P(prefix)}};

	log_events(w, &w->operator, & e, 1);
}

static __attribute__((unused)) void log_safe(struct world *w, const char *prefix,
					     uint64_t duration_ms)
{
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD,
			       .safe_add = {.prefix = P(prefix), .duration_ms = duration_ms}};

	log_events(w, &w->operator, & e, 1);
}

static __attribute__((unused)) struct kban_event grant_event(const struct kban_keypair *k,
							     enum kban_role role, const char *name)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_GRANT,
		.grant = {k->sign_public, k->curve_public, role, kban_text(name)}};
}

/* The node ------------------------------------------------------------------------------------- */

static __attribute__((unused)) void node_up(struct world *w)
{
	const struct node_ports ports = {world_send,
					 world_connect,
					 world_disconnect,
					 world_enforce,
					 world_forget,
					 world_random,
					 w};
	struct node_config config = {.identity = &w->identity,
				     .excepted_n = 1,
				     .excepted = w->excepted,
				     .own_n = w->own_n,
				     .version = "0.1.0"};
	static struct kban_clock clock;
	char *error = NULL;

	clock = (struct kban_clock){world_wall, world_boot, w};
	assert_int_equal(store_lmdb_open(&w->store, w->folder, &w->identity.cluster, &error), 0);
	assert_int_equal(node_new(&w->node, &config, w->store, &clock, &ports, &error), 0);
	assert_null(error);
}

static __attribute__((unused)) void node_down(struct world *w)
{
	node_free(w->node);
	w->node = NULL;
	store_close(w->store);
	w->store = NULL;
}

/* What is in memory only is gone; the kernel is kept by its own child. */
static __attribute__((unused)) void node_restart(struct world *w)
{
	node_down(w);
	node_up(w);
}

static __attribute__((unused)) void sent_clear(struct world *w)
{
	for (size_t i = 0; i < w->sent_n; i++)
		kban_message_free(w->sent[i]);
	w->sent_n = 0;
}

static __attribute__((unused)) size_t sent_count(const struct world *w, enum kban_message_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < w->sent_n; i++)
		n += w->sent[i]->kind == kind;
	return n;
}

/* The newest of that kind. */
static __attribute__((unused)) const struct kban_message *sent_last(const struct world *w,
								    enum kban_message_kind kind)
{
	for (size_t i = w->sent_n; i > 0; i--)
		if (w->sent[i - 1]->kind == kind)
			return w->sent[i - 1];
	fail_msg("no message of kind %d was sent", (int)kind);
	return NULL;
}

static __attribute__((unused)) void world_result(struct world *w, int r)
{
	if (r < 0 && w->may_fail)
		w->failed = r;
	else
		assert_int_equal(r, 0);
}

static __attribute__((unused)) void receive(struct world *w, struct kban_message *m)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	m->version = KBAN_PROTOCOL_VERSION;
	if (m->kind != KBAN_MSG_WELCOME && m->kind != KBAN_MSG_NO_SESSION) {
		m->has_session = true;
		memcpy(m->session, w->session, sizeof(m->session));
	}
	kban_message_encode(&bytes, &len, m);
	world_result(w, node_receive(w->node, bytes, len));
	free(bytes);
}

static __attribute__((unused)) void tick(struct world *w)
{
	world_result(w, node_tick(w->node));
}

static __attribute__((unused)) void pass(struct world *w, uint64_t ms)
{
	w->wall_ms += ms;
	w->boot_ms += ms;
	tick(w);
}

static __attribute__((unused)) void flush(struct world *w)
{
	assert_int_equal(node_flush(w->node), 0);
}

static __attribute__((unused)) void fill_welcome(struct world *w, struct kban_message *m)
{
	*m = (struct kban_message){.kind = KBAN_MSG_WELCOME};
	w->session[0]++;
	m->welcome.version = KBAN_PROTOCOL_VERSION;
	m->welcome.fold_version = kban_fold_newest;
	m->welcome.broker_ms = w->wall_ms;
	memcpy(m->welcome.session, w->session, sizeof(w->session));
	ledger_place(w->ledger, &m->welcome.head);
	ledger_digest(w->ledger, &m->welcome.digest);
	m->welcome.horizon = w->horizon;
}

/* Until the node has said Hello. */
static __attribute__((unused)) void dial(struct world *w)
{
	unsigned before = w->connects;

	for (unsigned i = 0; i < 10000 && w->connects == before; i++)
		pass(w, 100);
	assert_int_equal(w->connects, before + 1);
	node_connected(w->node);
	assert_int_equal(sent_last(w, KBAN_MSG_HELLO)->hello.max_version, KBAN_PROTOCOL_VERSION);
	assert_int_not_equal(node_link(w->node),
			     NODE_OFFLINE); /* greeting, or what was wrong before */
}

static __attribute__((unused)) void greet(struct world *w)
{
	struct kban_message m;

	dial(w);
	fill_welcome(w, &m);
	receive(w, &m);
}

/* Entries first .. last by seq. */
static __attribute__((unused)) void stream(struct world *w, uint64_t first, uint64_t last)
{
	struct kban_message m = {.kind = KBAN_MSG_ENTRIES};

	m.entries = (struct kban_entries){1, w->n, w->wall_ms, last + 1 - first,
					  w->entries + first - 1};
	receive(w, &m);
}

static __attribute__((unused)) uint64_t node_place(const struct world *w)
{
	struct kban_place place;

	ledger_place(node_ledger(w->node), &place);
	return place.seq;
}

static __attribute__((unused)) void stream_rest(struct world *w)
{
	if (node_place(w) < w->n)
		stream(w, node_place(w) + 1, w->n);
}

static __attribute__((unused)) void go_live(struct world *w)
{
	greet(w);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
}

static __attribute__((unused)) void offend(struct world *w, const char *address,
					   uint64_t duration_ms)
{
	struct node_offence o = {
		.prefix = P(address),
		.duration_ms = duration_ms,
		.rule = "bad-password",
		.service = "smtp",
		.server = "",
		.line = "SMTP: Invalid password",
		.count = 10,
		.first_ms = w->wall_ms - 10000,
		.last_ms = w->wall_ms,
	};

	node_offence(w->node, &o);
}

/* The log takes the report that the node sent last, without telling the node yet. */
static __attribute__((unused)) void take_submit(struct world *w)
{
	log_sealed(w, &sent_last(w, KBAN_MSG_SUBMIT)->submit);
}

static __attribute__((unused)) void receipt(struct world *w, uint32_t refusal,
					    const uint32_t *outcomes, size_t n)
{
	struct kban_message m = {.kind = KBAN_MSG_RECEIPT};

	kban_sealed_hash(&m.receipt.hash, &sent_last(w, KBAN_MSG_SUBMIT)->submit);
	m.receipt.refusal = refusal;
	m.receipt.outcomes = outcomes;
	m.receipt.outcomes_n = n;
	receive(w, &m);
}

static __attribute__((unused)) void no_session(struct world *w, enum kban_refusal reason)
{
	struct kban_message m = {.kind = KBAN_MSG_NO_SESSION, .no_session = {.reason = reason}};

	receive(w, &m);
}

static __attribute__((unused)) void same_ledger(struct world *w)
{
	struct kban_hash a, b;

	ledger_digest(w->ledger, &a);
	ledger_digest(node_ledger(w->node), &b);
	assert_memory_equal(a.b, b.b, sizeof(a.b));
}

static __attribute__((unused)) size_t rows_count(struct world *w, const char *prefix);

static __attribute__((unused)) int count_row(void *arg, struct kban_span key,
					     struct kban_span value)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return 0;
}

static __attribute__((unused)) size_t rows_count(struct world *w, const char *prefix)
{
	size_t n = 0;

	assert_int_equal(store_rows(w->store, kban_span(prefix, strlen(prefix)), count_row, &n), 0);
	return n;
}

static __attribute__((unused)) void keypair(struct kban_keypair *k, uint8_t name)
{
	uint8_t seed[32] = {name};

	kban_keypair_from_seed(k, seed);
}

static __attribute__((unused)) int world_setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));

	keypair(&w->root, 1);
	keypair(&w->operator, 2);
	keypair(&w->other, 3);
	keypair(&w->identity.keys, 4);
	w->identity.role = KBAN_ROLE_NODE;
	w->identity.root = w->root.sign_public;
	kban_cluster_id(&w->identity.cluster, &w->root.sign_public);
	strcpy(w->identity.name, "mail1");
	w->identity.brokers_n = 2;
	strcpy(w->identity.brokers[0].endpoint, "tcp://192.0.2.250:7400");
	strcpy(w->identity.brokers[1].endpoint, "tcp://192.0.2.251:7400");
	w->wall_ms = WORLD_WALL;
	w->boot_ms = 5000000;
	w->random = 42;
	w->excepted[0] = P("203.0.113.1");
	ledger_new(&w->ledger, &w->root.sign_public);
	struct kban_event grants[] = {
		grant_event(&w->operator, KBAN_ROLE_OPERATOR, "alice"),
		grant_event(&w->identity.keys, KBAN_ROLE_NODE, "mail1"),
		grant_event(&w->other, KBAN_ROLE_NODE, "mail2"),
	};

	log_events(w, &w->root, grants, KBAN_ARRAY_LEN(grants));
	strcpy(w->folder, "/tmp/kban-node-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	node_up(w);
	*state = w;
	return 0;
}

static __attribute__((unused)) void world_folder_remove(struct world *w)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "lock", "reserve"};
	char path[128];

	for (size_t i = 0; i < KBAN_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", w->folder, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(w->folder), 0);
}

/* The node starts again with nothing on its disk. */
static __attribute__((unused)) void world_fresh(struct world *w)
{
	node_down(w);
	world_folder_remove(w);
	strcpy(w->folder, "/tmp/kban-node-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	sent_clear(w);
	node_up(w);
}

static __attribute__((unused)) int world_teardown(void **state)
{
	struct world *w = *state;

	node_down(w);
	sent_clear(w);
	for (size_t i = 0; i < w->n; i++)
		free(w->bytes[i]);
	ledger_free(w->ledger);
	world_folder_remove(w);
	free(w);
	return 0;
}

#endif
