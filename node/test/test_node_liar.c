/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker that lies with what is really signed: keys that were revoked, reports at other places in
 * the log, ranges in another state, a state after a state.
 */
#include "node/test/state_world.h"

static struct kban_keypair bob; /* an operator whose key is stolen, and revoked */

struct stolen {
	uint64_t first, between, last, revoked; /* seqs */
	uint64_t between_ms;
};

static void seal_by(struct world *w, const struct kban_keypair *k, uint64_t counter, uint64_t base,
		    const struct kban_event *e, size_t n, struct kban_sealed *s)
{
	struct kban_report r = {.cluster = w->identity.cluster,
				.counter = counter,
				.base = {1, base},
				.issued_ms = w->wall_ms,
				.events_n = n,
				.events = (struct kban_event *)e};
	uint8_t *bytes = NULL;

	assert_int_equal(kban_report_seal(&r, k, &bytes, s), 0);
}

static void seal_free(const struct kban_sealed *s)
{
	free((void *)s->report);
}

static void bob_bans(struct world *w, uint64_t counter, const char *prefix)
{
	struct kban_event ban = {.kind = KBAN_EVENT_BAN,
				 .ban = {.prefix = P(prefix), .duration_ms = 300 * DAY}};
	struct kban_sealed s;

	seal_by(w, &bob, counter, w->n, &ban, 1, &s);
	log_sealed(w, &s);
	seal_free(&s);
}

/* His reports have the counters 1 and 3; others report between them and the revocation. */
static struct stolen bob_comes_and_goes(struct world *w)
{
	struct kban_event revoke = {.kind = KBAN_EVENT_REVOKE};
	struct kban_event grant;
	struct stolen at = {0};

	keypair(&bob, 9);
	grant = grant_event(&bob, KBAN_ROLE_OPERATOR, "bob");
	log_events(w, &w->root, &grant, 1);
	bob_bans(w, 1, "198.51.100.9");
	at.first = w->n;
	log_ban(w, &w->other, "198.51.100.10", 60 * S);
	at.between = w->n;
	at.between_ms = w->wall_ms;
	bob_bans(w, 3, "198.51.100.11");
	at.last = w->n;
	revoke.revoke.key = bob.sign_public;
	log_ban(w, &w->other, "198.51.100.12", 60 * S);
	log_events(w, &w->operator, & revoke, 1);
	at.revoked = w->n;
	return at;
}

/* Forging ------------------------------------------------------------------------------------- */

static size_t find_key(struct state *st, enum item_kind kind, const struct kban_key *k)
{
	struct item_row row;

	for (unsigned nth = 0;; nth++) {
		size_t i = state_find(st, kind, nth);

		state_read(st, i, &row);
		if (kban_key_equal(&row.principal.key, k))
			return i;
	}
}

static void insert_at(struct state *st, size_t i, const struct item_row *row)
{
	assert_true(st->items_n < STATE_ITEMS);
	memmove(st->items + i + 1, st->items + i, (st->items_n++ - i) * sizeof(st->items[0]));
	state_write(st, i, row);
}

static void add_proof(struct state *st, const struct kban_entry *e)
{
	struct kban_entry *v = kban_zalloc((st->proofs_n + 1) * sizeof(*v));
	size_t n = 0, i = 0;

	for (; i < st->proofs_n && st->proofs[i].seq < e->seq; i++)
		v[n++] = st->proofs[i];
	v[n++] = *e;
	for (i += i < st->proofs_n && st->proofs[i].seq == e->seq; i < st->proofs_n; i++)
		v[n++] = st->proofs[i];
	free(st->proofs);
	st->proofs = v;
	st->proofs_n = n;
}

/* A thief signs with bob's key: a whole /8, and half of the internet safe. */
static void sign_again(struct world *w, struct state *st, uint64_t counter, uint64_t seq,
		       uint64_t ms, struct kban_sealed *s)
{
	const struct kban_event said[] = {
		{.kind = KBAN_EVENT_BAN,
		 .ban = {.prefix = P("200.0.0.0/8"), .duration_ms = 366 * DAY, .force = true}},
		{.kind = KBAN_EVENT_SAFE_ADD,
		 .safe_add = {.prefix = P("0.0.0.0/1"), .force = true}},
	};
	struct item_row ban = {.kind = ITEM_BAN}, range = {.kind = ITEM_SAFE}, row;
	size_t i = state_find(st, ITEM_BAN, 0);

	seal_by(w, &bob, counter, 1, said, 2, s);
	add_proof(st, &(struct kban_entry){seq, ms, *s});
	ban.ban.prefix = said[0].ban.prefix;
	ban.ban.author = bob.sign_public;
	ban.ban.ban.seq = seq;
	ban.ban.ban.since_ms = ms;
	ban.ban.ban.until_ms = ms + 366 * DAY;
	ban.ban.ban.strikes = 1;
	for (; st->items[i].b[0] == ITEM_BAN; i++) {
		state_read(st, i, &row);
		if (kban_prefix_cmp(&row.ban.prefix, &ban.ban.prefix) > 0)
			break;
	}
	insert_at(st, i, &ban);
	range.safe.safe.prefix = said[1].safe_add.prefix;
	range.safe.owner = bob.sign_public;
	range.safe.safe.state = LEDGER_SAFE_ACTIVE;
	range.safe.safe.seq = seq;
	range.safe.safe.index = 1;
	range.safe.safe.since_ms = ms;
	insert_at(st, state_find(st, ITEM_SAFE, 0), &range);
}

static void counter_becomes(struct state *st, uint64_t counter, uint64_t seq,
			    const struct kban_sealed *s)
{
	struct item_row row;
	size_t i = find_key(st, ITEM_COUNTER, &bob.sign_public);

	state_read(st, i, &row);
	row.principal.counter = counter;
	row.principal.newest_seq = seq;
	kban_sealed_hash(&row.principal.newest_hash, s);
	state_write(st, i, &row);
}

static void refused(struct world *w, struct state *st)
{
	uint64_t before = node_place(w);

	state_rehash(st);
	sent_clear(w);
	greet(w);
	state_give(w, st);
	assert_int_equal(node_link(w->node), NODE_FORK);
	assert_int_equal(node_place(w), before);
	assert_false(banned(w, "200.0.0.0/8"));
	assert_false(safe(w, "0.0.0.0/1"));
}

/* Taken by a node that has no log of its own: nothing but that log says that it is wrong. */
static void taken_by_a_new_node(struct world *w, struct state *st)
{
	state_rehash(st);
	greet(w);
	state_give(w, st);
	assert_int_equal(node_place(w), w->horizon);
}

/* Revoked keys -------------------------------------------------------------------------------- */

static void revoked_key_that_signs_a_newer_report_is_refused(void **state)
{
	struct world *w = *state;
	struct kban_sealed s;

	live_once(w);
	struct stolen at = bob_comes_and_goes(w);

	stream_rest(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	sign_again(w, st, 4, at.revoked - 1, at.between_ms, &s);
	counter_becomes(st, 4, at.revoked - 1, &s);
	refused(w, st);
	seal_free(&s);
}

static void revoked_key_that_signs_an_older_report_is_refused(void **state)
{
	struct world *w = *state;
	struct kban_sealed s;

	live_once(w);
	struct stolen at = bob_comes_and_goes(w);

	stream_rest(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	sign_again(w, st, 2, at.between, at.between_ms, &s);
	refused(w, st);
	seal_free(&s);
}

static void such_a_report_is_all_right_for_who_has_no_log(void **state)
{
	struct world *w = *state;
	struct kban_sealed s;
	struct stolen at = bob_comes_and_goes(w);

	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	sign_again(w, st, 2, at.between, at.between_ms, &s);
	taken_by_a_new_node(w, st);
	seal_free(&s);
}

static void compact_own_log(struct world *w)
{
	struct store_head head = {0};

	for (unsigned i = 0; i < 5000 && !head.horizon; i++) {
		sent_clear(w);
		pass(w, 100);
		if (node_link(w->node) == NODE_OFFLINE)
			go_live(w);
		assert_int_equal(store_head(w->store, &head), 0);
	}
	for (unsigned i = 0; i < 300; i++) {
		sent_clear(w);
		pass(w, 100);
	}
	assert_true(head.horizon > 0);
}

static void months_go_by(struct world *w)
{
	months(w);
	months(w);
}

static void revoked_key_that_signs_below_this_nodes_own_horizon_is_refused(void **state)
{
	struct world *w = *state;
	struct store_head head;
	struct kban_sealed s;

	go_live(w);
	struct stolen at = bob_comes_and_goes(w);

	months(w);
	stream_rest(w);
	compact_own_log(w);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_true(head.horizon > at.revoked);
	node_lost(w->node);
	months_go_by(w);
	kban_auto(state_free) struct state *st = compacted(w);

	assert_true(w->horizon > node_place(w));
	sign_again(w, st, 2, at.between, at.between_ms, &s);
	refused(w, st);
	seal_free(&s);
	kban_auto(state_free) struct state *honest = compacted(w);

	node_restart(w);
	sent_clear(w);
	greet(w);
	state_give(w, honest);
	assert_int_equal(node_place(w), w->horizon);
}

static void unconfirmed_node_does_not_let_a_revoked_key_live_again(void **state)
{
	struct world *w = *state;
	struct item_row row;

	live_once(w);
	(void)bob_comes_and_goes(w);
	stream_rest(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *first = compacted(w);

	greet(w);
	state_give(w, first);
	assert_int_equal(node_place(w), w->horizon);
	node_lost(w->node);
	time_goes(w, 3 * DAY);
	long_ban(w, "192.0.2.200", 100);
	kban_auto(state_free) struct state *second = compacted(w);
	size_t i = find_key(second, ITEM_PRINCIPAL, &bob.sign_public);

	state_read(second, i, &row);
	row.principal.revoked_seq = 0;
	state_write(second, i, &row);
	refused(w, second);
	assert_true(ledger_principal(node_ledger(w->node), &bob.sign_public)->revoked_seq > 0);
}

/* The root granted this name twice: the second key never became a member, and yet the grant is in
 * the log. */
static void grant_that_did_not_count_is_refused(void **state)
{
	struct world *w = *state;
	struct kban_event revoke = {.kind = KBAN_EVENT_REVOKE};
	struct item_row row = {.kind = ITEM_PRINCIPAL};
	struct kban_keypair alice, mallory;

	keypair(&alice, 10);
	keypair(&mallory, 11);
	live_once(w);
	struct kban_event grants[] = {grant_event(&alice, KBAN_ROLE_OPERATOR, "carol"),
				      grant_event(&mallory, KBAN_ROLE_OPERATOR, "carol")};

	log_events(w, &w->root, grants, 2);
	row.principal.granted_seq = w->n;
	row.principal.granted_ms = w->wall_ms;
	revoke.revoke.key = alice.sign_public;
	log_events(w, &w->operator, & revoke, 1);
	stream_rest(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	row.principal.key = mallory.sign_public;
	row.principal.curve = mallory.curve_public;
	row.principal.role = KBAN_ROLE_OPERATOR;
	row.principal.granted_index = 1;
	strcpy(row.principal.name, "carol");
	insert_at(st, find_key(st, ITEM_PRINCIPAL, &alice.sign_public) + 1, &row);
	refused(w, st);
}

/* mail2 is over its quota: its report is in the log, and this node's fold refused it. */
static void report_that_was_refused_is_nobodys_newest(void **state)
{
	struct world *w = *state;
	struct kban_event quota = {.kind = KBAN_EVENT_POLICY, .policy = *ledger_policy(w->ledger)};
	struct item_row row;

	live_once(w);
	quota.policy.quota_per_hour = 1;
	log_events(w, &w->operator, & quota, 1);
	for (unsigned i = 0; i < 3; i++)
		log_ban(w, &w->other, "198.51.100.10", 60 * S);
	uint64_t refused_seq = w->n;

	assert_true(ledger_principal(w->ledger, &w->other.sign_public)->newest_seq < refused_seq);
	stream_rest(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);
	const struct kban_entry *e = &w->entries[refused_seq - 1];
	size_t i = find_key(st, ITEM_COUNTER, &w->other.sign_public);

	state_read(st, i, &row);
	row.principal.counter++;
	row.principal.newest_seq = refused_seq;
	kban_sealed_hash(&row.principal.newest_hash, &e->sealed);
	state_write(st, i, &row);
	add_proof(st, e);
	refused(w, st);
}

/* Ranges -------------------------------------------------------------------------------------- */

static void node_wants_safe(struct world *w, const char *prefix)
{
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD, .safe_add = {.prefix = P(prefix)}};

	log_events(w, &w->other, &e, 1);
}

static void call_active(struct state *st, const char *prefix)
{
	struct kban_prefix p = P(prefix);
	struct item_row row;

	for (unsigned nth = 0;; nth++) {
		size_t i = state_find(st, ITEM_SAFE, nth);

		state_read(st, i, &row);
		if (!kban_prefix_equal(&row.safe.safe.prefix, &p))
			continue;
		assert_int_equal(row.safe.safe.state, LEDGER_SAFE_HELD);
		row.safe.safe.state = LEDGER_SAFE_ACTIVE;
		state_write(st, i, &row);
		return;
	}
}

static void held_range_that_the_policy_never_allowed_is_refused_as_active(void **state)
{
	struct world *w = *state;

	node_wants_safe(w, "100.0.0.0/8");
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	call_active(st, "100.0.0.0/8");
	refused(w, st);
	assert_false(safe(w, "100.0.0.0/8"));
}

static void log_safe_min(struct world *w, uint32_t len)
{
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = *ledger_policy(w->ledger)};

	e.policy.safe_min_len4 = len;
	log_events(w, &w->operator, & e, 1);
}

static void active_range_wider_than_the_policy_counts_once_confirmed(void **state)
{
	struct world *w = *state;

	log_safe_min(w, 12);
	node_wants_safe(w, "100.64.0.0/12");
	log_safe_min(w, 24);
	node_wants_safe(w, "100.32.0.0/24");
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	stream_rest(w);
	assert_false(safe(w, "100.64.0.0/12"));
	assert_true(safe(w, "100.32.0.0/24"));
	same_ledger(w);
	node_restart(w);
	go_live(w);
	assert_false(safe(w, "100.64.0.0/12"));
	cluster_serve(w, &w->other, NULL);
	assert_int_equal(status(w), 0);
	assert_true(safe(w, "100.64.0.0/12"));
}

/* Silence ------------------------------------------------------------------------------------- */

static void answer_that_is_lost_ends_the_connection(void **state)
{
	struct world *w = *state;
	unsigned before;

	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	for (unsigned i = 0; i < 20 && !asked(w, KBAN_QUERY_STATE); i++)
		pass(w, 100);
	assert_true(state_serve(w, st));
	before = w->disconnects;
	sent_clear(w); /* the next question does not arrive; the connection lives */
	for (unsigned i = 0; i < 7 && w->disconnects == before; i++) {
		struct kban_message m = {.kind = KBAN_MSG_PROBE};

		m.probe.broker_ms = w->wall_ms;
		m.probe.head = w->n;
		receive(w, &m);
		pass(w, 5000);
	}
	assert_int_equal(w->disconnects, before + 1);
	sent_clear(w);
	greet(w);
	state_give(w, st);
	assert_int_equal(node_place(w), w->horizon);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(revoked_key_that_signs_a_newer_report_is_refused),
		T(revoked_key_that_signs_an_older_report_is_refused),
		T(such_a_report_is_all_right_for_who_has_no_log),
		T(revoked_key_that_signs_below_this_nodes_own_horizon_is_refused),
		T(unconfirmed_node_does_not_let_a_revoked_key_live_again),
		T(grant_that_did_not_count_is_refused),
		T(report_that_was_refused_is_nobodys_newest),
		T(held_range_that_the_policy_never_allowed_is_refused_as_active),
		T(active_range_wider_than_the_policy_counts_once_confirmed),
		T(answer_that_is_lost_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
