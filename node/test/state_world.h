/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker that has compacted its log, for node_world.h: the state at its horizon, in answers of
 * any size, true or forged.
 */
#ifndef KBAN_NODE_TEST_STATE_WORLD_H
#define KBAN_NODE_TEST_STATE_WORLD_H

#include <endian.h>
#include <errno.h>

#include "node/test/node_world.h"
#include "store/item.h"

#define S   1000ULL
#define DAY (86400 * S)

#define STATE_ITEMS 400
#define STATE_BYTES 4096

struct state {
	struct kban_place place;
	struct kban_hash digest;
	size_t items_n;
	struct item items[STATE_ITEMS];
	size_t proofs_n;
	struct kban_entry *proofs;
	size_t items_each, proofs_each; /* of one answer */
	size_t pages_n;			/* in one answer */
	bool empty_last;		/* an answer that brings nothing ends it */
};

static __attribute__((unused)) int state_take(void *arg, struct kban_span bytes)
{
	struct state *st = arg;

	assert_true(st->items_n < STATE_ITEMS && bytes.n <= LEDGER_ITEM_MAX);
	st->items[st->items_n].n = bytes.n;
	memcpy(st->items[st->items_n++].b, bytes.p, bytes.n);
	return 0;
}

static __attribute__((unused)) void state_proofs(struct world *w, const struct ledger *l,
						 struct state *st)
{
	uint64_t *seqs = NULL;
	size_t n = 0;

	ledger_evidence_seqs(l, &seqs, &n);
	st->proofs = kban_zalloc((n + 1) * sizeof(*st->proofs));
	for (size_t i = 0; i < n; i++)
		st->proofs[st->proofs_n++] = w->entries[seqs[i] - 1];
	free(seqs);
}

/* Of the broker's log up to entry `seq`. */
static __attribute__((unused)) struct state *state_at(struct world *w, uint64_t seq)
{
	struct state *st = kban_zalloc(sizeof(*st));
	kban_auto(ledger_free) struct ledger *l = NULL;

	ledger_new(&l, &w->root.sign_public);
	for (uint64_t i = 0; i < seq; i++) {
		kban_auto(kban_report_free) struct kban_report *r = NULL;

		assert_int_equal(kban_report_decode(&r, &w->entries[i].sealed), 0);
		ledger_apply(l, &w->entries[i], r, NULL, NULL);
	}
	ledger_place(l, &st->place);
	ledger_digest(l, &st->digest);
	assert_int_equal(ledger_items_each(l, state_take, st), 0);
	state_proofs(w, l, st);
	st->items_each = 3;
	st->proofs_each = 2;
	st->pages_n = 1;
	return st;
}

static __attribute__((unused)) void state_free(struct state *st)
{
	if (!st)
		return;
	free(st->proofs);
	free(st);
}
KBAN_DEFINE_AUTO(struct state *, state_free)

/* The broker compacts: its log begins behind entry `horizon` from now on. */
static __attribute__((unused)) struct state *compacted(struct world *w)
{
	w->horizon = ledger_history_start(w->ledger) - 1;
	assert_true(w->horizon > 0 && w->horizon < w->n);
	return state_at(w, w->horizon);
}

/* Months ------------------------------------------------------------------------------------- */

static __attribute__((unused)) void long_ban(struct world *w, const char *prefix, uint64_t days)
{
	log_ban(w, &w->operator, prefix, days * DAY);
}

static __attribute__((unused)) void time_goes(struct world *w, uint64_t ms)
{
	w->wall_ms += ms;
	w->boot_ms += ms;
}

/* A hundred days in the life of the fleet, of which this node sees nothing. */
static __attribute__((unused)) void months(struct world *w)
{
	char text[32];

	for (unsigned day = 1; day <= 100; day++) {
		time_goes(w, DAY);
		snprintf(text, sizeof(text), "198.51.100.%u", 100 + day);
		log_ban(w, &w->other, text, 300 * S);
		snprintf(text, sizeof(text), "192.0.2.%u", day);
		if (day % 5 == 0)
			long_ban(w, text, 200);
		if (day == 2)
			log_unban(w, "198.51.100.3");
		if (day == 3)
			log_safe(w, "192.0.2.10", 0);
		if (day == 4)
			log_unban(w, "198.51.100.66");
		if (day == 98)
			log_unban(w, "192.0.2.95");
	}
	long_ban(w, "2001:db8:7::/48", 30);
}

/* Live with a few bans of the first day, then cut off. */
static __attribute__((unused)) void live_once(struct world *w)
{
	go_live(w);
	long_ban(w, "198.51.100.1", 300);
	long_ban(w, "198.51.100.2", 5);
	long_ban(w, "198.51.100.3", 300);
	log_safe(w, "203.0.113.64/28", 0);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.3"));
}

/* Forging ------------------------------------------------------------------------------------- */

/* The digest that the items have, put into header and answers: a liar's state agrees with itself.
 */
static __attribute__((unused)) void state_rehash(struct state *st)
{
	uint64_t lanes[4] = {0};
	struct item_row row;

	for (size_t i = 1; i < st->items_n; i++) {
		struct kban_span span = {st->items[i].b, st->items[i].n};
		struct kban_hash hash;

		kban_hash_spans(&hash, "kban item v1", &span, 1);
		for (size_t k = 0; k < 4; k++) {
			uint64_t v;

			memcpy(&v, hash.b + 8 * k, 8);
			lanes[k] += be64toh(v);
		}
	}
	for (size_t k = 0; k < 4; k++) {
		uint64_t v = htobe64(lanes[k]);

		memcpy(st->digest.b + 8 * k, &v, 8);
	}
	assert_true(item_read(&row, (struct kban_span){st->items[0].b, st->items[0].n}));
	row.header.pub.digest = st->digest;
	row.header.pub.place = st->place;
	memset(&st->items[0], 0, sizeof(st->items[0]));
	item_write(&st->items[0], ITEM_HEADER, &row.header);
}

/* The nth item of that kind. */
static __attribute__((unused)) size_t state_find(const struct state *st, enum item_kind kind,
						 unsigned nth)
{
	for (size_t i = 0; i < st->items_n; i++)
		if (st->items[i].b[0] == kind && !nth--)
			return i;
	fail_msg("no such item of kind %d", (int)kind);
	return 0;
}

static __attribute__((unused)) void state_read(const struct state *st, size_t i,
					       struct item_row *row)
{
	assert_true(item_read(row, (struct kban_span){st->items[i].b, st->items[i].n}));
}

static __attribute__((unused)) void state_write(struct state *st, size_t i,
						const struct item_row *row)
{
	memset(&st->items[i], 0, sizeof(st->items[i]));
	item_write(&st->items[i], row->kind, &row->ban); /* the members of the union begin alike */
}

static __attribute__((unused)) void state_drop(struct state *st, size_t i)
{
	memmove(st->items + i, st->items + i + 1, (--st->items_n - i) * sizeof(st->items[0]));
}

/* Answers ------------------------------------------------------------------------------------- */

static __attribute__((unused)) size_t page_pack(const struct state *st, size_t from, uint8_t *bytes)
{
	size_t len = 0;

	for (size_t i = from; i < st->items_n && i < from + st->items_each; i++) {
		uint16_t n = htobe16((uint16_t)st->items[i].n);

		assert_true(len + 2 + st->items[i].n <= STATE_BYTES);
		memcpy(bytes + len, &n, 2);
		memcpy(bytes + len + 2, st->items[i].b, st->items[i].n);
		len += 2 + st->items[i].n;
	}
	return len;
}

/* To the question `after`: items first, then evidence. A position counts both. */
static __attribute__((unused)) void state_answer(struct world *w, const struct state *st,
						 uint64_t after)
{
	static uint8_t bytes[8][STATE_BYTES];
	struct kban_state_page pages[8];
	struct kban_message m = {.kind = KBAN_MSG_ANSWER};
	struct kban_answer *a = &m.answer;
	size_t at = after;

	a->kind = KBAN_QUERY_STATE;
	a->place = st->place;
	a->digest = st->digest;
	a->broker_ms = w->wall_ms;
	a->state = pages;
	for (; at < st->items_n && a->state_n < st->pages_n; at += st->items_each) {
		pages[a->state_n].items = bytes[a->state_n];
		pages[a->state_n].items_len = page_pack(st, at, bytes[a->state_n]);
		a->state_n++;
	}
	if (a->state_n && at > st->items_n)
		at = st->items_n;
	if (!a->state_n && at < st->items_n + st->proofs_n) {
		a->proofs = st->proofs + (at - st->items_n);
		a->proofs_n = st->items_n + st->proofs_n - at;
		if (a->proofs_n > st->proofs_each)
			a->proofs_n = st->proofs_each;
		at += a->proofs_n;
	}
	if (at < st->items_n + st->proofs_n || (st->empty_last && (a->state_n || a->proofs_n)))
		a->next = at;
	receive(w, &m);
}

static __attribute__((unused)) const struct kban_query *asked(const struct world *w,
							      enum kban_query_kind kind)
{
	for (size_t i = w->sent_n; i > 0; i--)
		if (w->sent[i - 1]->kind == KBAN_MSG_QUERY && w->sent[i - 1]->query.kind == kind)
			return &w->sent[i - 1]->query;
	return NULL;
}

/* Answers the newest question about the state, if there is one; true while the node asks on. */
static __attribute__((unused)) bool state_serve(struct world *w, const struct state *st)
{
	const struct kban_query *q = asked(w, KBAN_QUERY_STATE);

	if (!q)
		return false;
	uint64_t after = q->after;

	sent_clear(w);
	state_answer(w, st, after);
	return true;
}

/* The node is up and below the horizon: it comes as far as it comes with this state. */
static __attribute__((unused)) void state_give(struct world *w, const struct state *st)
{
	for (unsigned i = 0; i < 30 && !w->failed; i++) {
		pass(w, 100);
		while (!w->failed && state_serve(w, st))
			;
	}
}

/* Heartbeats ----------------------------------------------------------------------------------- */

/* What another node signs that has the broker's ledger; change (may be NULL) may spoil it. */
static __attribute__((unused)) void cluster_answer(struct world *w, const struct kban_keypair *who,
						   void (*change)(struct kban_heartbeat *h))
{
	kban_auto(kban_free) void *owned = NULL;
	struct kban_message m = {.kind = KBAN_MSG_ANSWER};
	struct kban_member_row row = {
		.role = KBAN_ROLE_NODE, .name = kban_text("mail2"), .has_heartbeat = true};
	struct kban_heartbeat h = {
		.cluster = w->identity.cluster, .version = "0.1.0", .fold_version = 1};
	uint8_t *bytes = NULL;

	ledger_place(w->ledger, &h.place);
	ledger_digest(w->ledger, &h.digest);
	ledger_mark(w->ledger, &h.mark_seq, &h.mark_chain, &h.mark_digest);
	if (change)
		change(&h);
	kban_heartbeat_seal(&h, who, &bytes, &row.heartbeat);
	owned = bytes;
	(void)owned;
	row.key = who->sign_public;
	m.answer.kind = KBAN_QUERY_CLUSTER;
	ledger_place(w->ledger, &m.answer.place);
	m.answer.members = &row;
	m.answer.members_n = 1;
	receive(w, &m);
}

/* Waits until the node asks who is there, then answers. */
static __attribute__((unused)) void cluster_serve(struct world *w, const struct kban_keypair *who,
						  void (*change)(struct kban_heartbeat *h))
{
	sent_clear(w);
	for (unsigned i = 0; i < 100 && !asked(w, KBAN_QUERY_CLUSTER); i++) {
		sent_clear(w);
		pass(w, 100);
	}
	assert_non_null(asked(w, KBAN_QUERY_CLUSTER));
	cluster_answer(w, who, change);
}

static __attribute__((unused)) uint32_t status(struct world *w)
{
	const struct kban_sealed *sealed;
	struct kban_heartbeat h;

	sent_clear(w);
	for (unsigned i = 0; i < 100 && !sent_count(w, KBAN_MSG_HEARTBEAT); i++)
		pass(w, 100);
	sealed = &sent_last(w, KBAN_MSG_HEARTBEAT)->heartbeat;
	assert_int_equal(kban_heartbeat_decode(&h, sealed), 0);
	assert_true(kban_heartbeat_check(&h, sealed));
	return h.status;
}

/* Crashes and full disks ------------------------------------------------------------------------
 */

static const struct store_ops *state_real_ops;
static struct store_ops state_ops;
static unsigned state_commits; /* until the crash */
static bool state_after;       /* the commit is on disk, and nobody was told */

static __attribute__((unused)) int commit_or_crash(struct store *s)
{
	if (state_commits && --state_commits)
		return state_real_ops->commit(s);
	if (state_after) {
		assert_int_equal(state_real_ops->commit(s), 0);
		state_after = false; /* what comes after a crash does not come */
	} else {
		state_real_ops->abort(s);
	}
	return -EIO;
}

static __attribute__((unused)) int commit_full(struct store *s)
{
	state_real_ops->abort(s);
	return STORE_FULL;
}

static __attribute__((unused)) void store_commits(struct world *w, int (*commit)(struct store *s))
{
	state_real_ops = w->store->ops;
	state_ops = *w->store->ops;
	state_ops.commit = commit;
	w->store->ops = &state_ops;
}

static __attribute__((unused)) void store_sound(struct world *w)
{
	w->store->ops = state_real_ops;
}

#endif
