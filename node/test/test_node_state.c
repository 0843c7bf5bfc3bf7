/* SPDX-License-Identifier: MPL-2.0
 *
 * A node whose place lies below the broker's horizon: taking the state, refusing a forged one,
 * crashes at each step, and what stays true of the kernel and the outbox meanwhile.
 */
#include "node/test/state_world.h"

#include <errno.h>

#include "store/compact.h"

static int kernel_has(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	struct world *w = arg;
	struct enforce_op op = {.kind = ENFORCE_BAN, .prefix = *p};
	const struct enforce_op *have = kernel_find(w, &op);

	assert_non_null(have);
	assert_int_equal(have->until_boot_ms, w->boot_ms + (until_ms - w->wall_ms));
	return 0;
}

static int count_safe(void *arg, const struct ledger_safe *s)
{
	(void)s;
	++*(size_t *)arg;
	return 0;
}

/* The kernel has exactly what the broker's ledger wants. */
static void same_kernel(struct world *w)
{
	size_t bans = 0, running = ledger_bans_count(w->ledger, w->wall_ms), safes = 0, ranges = 0;

	assert_int_equal(ledger_bans_each(w->ledger, w->wall_ms, NULL, NULL, kernel_has, w), 0);
	ledger_safes_each(w->ledger, w->wall_ms, count_safe, &ranges);
	for (size_t i = 0; i < w->kernel_n; i++) {
		bans += !op_is_safe(&w->kernel[i]) && w->kernel[i].until_boot_ms > w->boot_ms;
		safes += op_is_safe(&w->kernel[i]);
	}
	assert_int_equal(bans, running);
	assert_int_equal(safes, ranges);
}

static void caught_up(struct world *w)
{
	assert_int_equal(node_place(w), w->horizon);
	assert_int_equal(sent_last(w, KBAN_MSG_SUBSCRIBE)->subscribe.cursor.seq, w->horizon);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	same_ledger(w);
	same_kernel(w);
}

/* Catching up ---------------------------------------------------------------------------------- */

static void node_that_was_away_for_months_catches_up(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	w->watched = "198.51.100.1"; /* never out of the kernel meanwhile */
	greet(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBSCRIBE), 1); /* of the first day */
	state_give(w, st);
	caught_up(w);
	assert_int_equal(banned(w, "198.51.100.3"), 0);
	w->watched = NULL;
	node_restart(w);
	same_ledger(w);
	same_kernel(w);
}

static void new_node_takes_the_state_in_answers_of_any_size(void **state)
{
	static const size_t sizes[][3] = {{1, 1, 1}, {7, 5, 3}, {30, 100, 8}};
	struct world *w = *state;

	months(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(sizes); i++) {
		kban_auto(state_free) struct state *st = compacted(w);

		st->items_each = sizes[i][0];
		st->proofs_each = sizes[i][1];
		st->pages_n = sizes[i][2];
		st->empty_last = i == 1;
		greet(w);
		state_give(w, st);
		caught_up(w);
		world_fresh(w);
	}
}

static void node_at_or_above_the_horizon_takes_no_state(void **state)
{
	struct world *w = *state;

	months(w);
	state_free(compacted(w));
	uint64_t horizon = w->horizon;

	w->horizon = 0;
	greet(w);
	stream(w, 1, horizon); /* at the horizon, not above it */
	node_lost(w->node);
	w->horizon = horizon;
	sent_clear(w);
	greet(w);
	assert_int_equal(sent_last(w, KBAN_MSG_SUBSCRIBE)->subscribe.cursor.seq, horizon);
	for (unsigned i = 0; i < 20; i++)
		pass(w, 100);
	assert_null(asked(w, KBAN_QUERY_STATE));
	stream_rest(w);
	same_ledger(w);
	assert_int_equal(status(w), 0); /* confirmed, since it folded all of it */
}

static void subscriber_that_fell_below_the_horizon_takes_the_state_on_a_new_connection(void **state)
{
	struct world *w = *state;

	live_once(w);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	no_session(w, KBAN_REFUSAL_BELOW_HORIZON);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
	greet(w);
	state_give(w, st);
	caught_up(w);
}

static void horizon_that_moves_meanwhile_begins_again(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *old = compacted(w);

	time_goes(w, 3 * DAY);
	long_ban(w, "192.0.2.200", 100);
	kban_auto(state_free) struct state *st = compacted(w);

	assert_true(st->place.seq > old->place.seq);
	old->items_each = 1;
	greet(w);
	for (unsigned i = 0; i < 20 && !asked(w, KBAN_QUERY_STATE); i++)
		pass(w, 100);
	for (unsigned i = 0; i < 9; i++)
		assert_true(state_serve(w, old));
	state_give(w, st);
	caught_up(w);
	/* Nothing of the first attempt is left. */
	for (unsigned i = 0; i < 900; i++) {
		sent_clear(w);
		pass(w, 100);
	}
	bool unfinished = true;

	assert_int_equal(compact_unfinished(w->store, &unfinished), 0);
	assert_false(unfinished);
}

static void state_that_turns_back_to_an_earlier_place_is_not_mixed_with_it(void **state)
{
	struct world *w = *state;

	months(w);
	kban_auto(state_free) struct state *st = compacted(w);
	kban_auto(state_free) struct state *other = state_at(w, w->horizon - 1);

	st->items_each = 1;
	greet(w);
	for (unsigned i = 0; i < 20 && !asked(w, KBAN_QUERY_STATE); i++)
		pass(w, 100);
	for (unsigned i = 0; i < 9; i++)
		assert_true(state_serve(w, st));
	assert_true(state_serve(w, other));
	st->items_each = 30; /* fewer pages than the first time */
	state_give(w, st);
	caught_up(w);
	node_restart(w);
	same_ledger(w);
}

static void connection_lost_meanwhile_begins_again(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	for (unsigned i = 0; i < 20 && !asked(w, KBAN_QUERY_STATE); i++)
		pass(w, 100);
	for (unsigned i = 0; i < 5; i++)
		assert_true(state_serve(w, st));
	node_lost(w->node);
	sent_clear(w);
	greet(w);
	state_give(w, st);
	caught_up(w);
}

static void answer_that_comes_twice_is_taken_once(void **state)
{
	struct world *w = *state;

	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	for (unsigned i = 0; i < 20 && !asked(w, KBAN_QUERY_STATE); i++)
		pass(w, 100);
	for (;;) {
		const struct kban_query *q = asked(w, KBAN_QUERY_STATE);

		if (!q)
			break;
		uint64_t after = q->after;

		sent_clear(w);
		state_answer(w, st, after);
		state_answer(w, st, after);
	}
	pass(w, 100);
	caught_up(w);
}

/* Own bans and the outbox ---------------------------------------------------------------------- */

static void sealed_report_goes_on_with_its_bytes_and_counts_as_history(void **state)
{
	struct world *w = *state;

	live_once(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	kban_auto(kban_free) void *owned = NULL;
	const struct kban_sealed *sent = &sent_last(w, KBAN_MSG_SUBMIT)->submit;
	size_t len = sent->report_len;
	uint8_t *bytes = kban_memdup(sent->report, len);

	owned = bytes;
	offend(w, "198.51.100.78", 300 * S); /* waits behind it */
	flush(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	caught_up(w);
	pass(w, 100);
	sent = &sent_last(w, KBAN_MSG_SUBMIT)->submit;
	assert_int_equal(sent->report_len, len);
	assert_memory_equal(sent->report, bytes, len);
	take_submit(w);
	stream_rest(w);
	flush(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_HISTORY], 2);
	assert_int_equal(node_waiting(w->node), 0);
	same_ledger(w);
	same_kernel(w);
	(void)owned;
}

static void sealed_report_that_lies_below_the_horizon_is_not_sent_again(void **state)
{
	struct world *w = *state;

	live_once(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	take_submit(w); /* and the answer does not arrive */
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	caught_up(w);
	assert_int_equal(node_waiting(w->node), 0);
	assert_int_equal(rows_count(w, "o"), 0);
	offend(w, "198.51.100.79", 300 * S);
	sent_clear(w);
	flush(w);
	take_submit(w); /* with a counter that nothing has spent */
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
	same_ledger(w);
}

static void own_bans_stay_unless_the_state_has_lifted_them(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	offend(w, "198.51.100.66", 300 * S); /* unbanned on the fourth day */
	offend(w, "198.51.100.67", 300 * S);
	offend(w, "192.0.2.10", 300 * S); /* a safe range by now */
	flush(w);
	assert_true(banned(w, "192.0.2.10"));
	kban_auto(state_free) struct state *st = compacted(w);

	w->watched = "198.51.100.67";
	greet(w);
	state_give(w, st);
	assert_int_equal(banned(w, "198.51.100.66"), 0);
	assert_int_equal(banned(w, "192.0.2.10"), 0);
	stream_rest(w);
	pass(w, 100);
	take_submit(w);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.67"));
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
	same_ledger(w);
}

static void state_that_revokes_this_node_is_said(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE,
			       .revoke = {.key = w->identity.keys.sign_public}};

	live_once(w);
	node_lost(w->node);
	log_events(w, &w->operator, & e, 1);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	assert_int_equal(node_link(w->node), NODE_REVOKED);
	assert_true(banned(w, "198.51.100.1"));
}

/* Forged states -------------------------------------------------------------------------------- */

static void drop_ban_row(struct state *st)
{
	st->digest.b[0] ^= 1;
}

static void other_header(struct state *st)
{
	st->place.seq--;
}

static void other_chain(struct state *st)
{
	st->place.chain.b[3] ^= 1;
}

static void other_prefix(struct state *st)
{
	size_t i = state_find(st, ITEM_BAN, 0);
	struct item_row row;

	state_read(st, i, &row);
	row.ban.prefix.addr[3] ^= 2;
	state_write(st, i, &row);
	state_rehash(st);
}

static void other_author(struct state *st)
{
	size_t i = state_find(st, ITEM_BAN, 0), k = state_find(st, ITEM_PRINCIPAL, 3);
	struct item_row row, other;

	state_read(st, i, &row);
	state_read(st, k, &other);
	row.ban.author = other.principal.key;
	state_write(st, i, &row);
	state_rehash(st);
}

static void ban_for_years(struct state *st)
{
	size_t i = state_find(st, ITEM_BAN, 0);
	struct item_row row;

	state_read(st, i, &row);
	row.ban.ban.until_ms += 3650 * DAY;
	state_write(st, i, &row);
	state_rehash(st);
}

static void invented_principal(struct state *st)
{
	size_t i = state_find(st, ITEM_PRINCIPAL, 3);
	struct item_row row;

	state_read(st, i, &row);
	row.principal.key.b[0] ^= 1;
	row.principal.curve.b[0] ^= 1;
	strcat(row.principal.name, "x");
	memmove(st->items + i + 1, st->items + i, (st->items_n++ - i) * sizeof(st->items[0]));
	state_write(st, i, &row);
	state_rehash(st);
}

static void operator_by_promotion(struct state *st)
{
	size_t i = state_find(st, ITEM_PRINCIPAL, 2);
	struct item_row row;

	state_read(st, i, &row);
	row.principal.role = KBAN_ROLE_OPERATOR;
	state_write(st, i, &row);
	state_rehash(st);
}

static void wider_safe_range(struct state *st)
{
	size_t i = state_find(st, ITEM_SAFE, 0);
	struct item_row row;

	state_read(st, i, &row);
	row.safe.safe.prefix = kban_prefix_mask(&row.safe.safe.prefix,
						row.safe.safe.prefix.len - 8);
	state_write(st, i, &row);
	state_rehash(st);
}

static void no_evidence(struct state *st)
{
	st->proofs_n--;
}

static void evidence_left_out(struct state *st)
{
	memmove(st->proofs + 1, st->proofs + 2, (--st->proofs_n - 1) * sizeof(st->proofs[0]));
}

/* So that it never comes to an end. */
static void evidence_again(struct state *st)
{
	st->proofs[1] = st->proofs[0];
}

static void evidence_in_another_place(struct state *st)
{
	struct kban_sealed first = st->proofs[1].sealed;

	st->proofs[1].sealed = st->proofs[2].sealed;
	st->proofs[2].sealed = first;
}

static uint8_t spoilt[2048];

static void evidence_with_a_bad_signature(struct state *st)
{
	struct kban_sealed *s = &st->proofs[2].sealed;

	assert_true(s->report_len + KBAN_SIGNATURE_SIZE <= sizeof(spoilt));
	memcpy(spoilt, s->report, s->report_len);
	memcpy(spoilt + s->report_len, s->signature, KBAN_SIGNATURE_SIZE);
	spoilt[s->report_len + 7] ^= 1;
	s->report = spoilt;
	s->signature = spoilt + s->report_len;
}

static void torn_item(struct state *st)
{
	st->items[state_find(st, ITEM_BAN, 0)].n--;
	state_rehash(st);
}

static void item_twice(struct state *st)
{
	size_t i = state_find(st, ITEM_BAN, 0);

	st->items[i + 1] = st->items[i];
	state_rehash(st);
}

static void other_root(struct state *st)
{
	st->items[state_find(st, ITEM_PRINCIPAL, 0)].b[1] ^= 1;
	state_rehash(st);
}

static void live_again(struct state *st)
{
	struct item_row row;

	for (unsigned nth = 0;; nth++) {
		size_t i = state_find(st, ITEM_PRINCIPAL, nth);

		state_read(st, i, &row);
		if (!row.principal.revoked_seq)
			continue;
		row.principal.revoked_seq = 0;
		state_write(st, i, &row);
		break;
	}
	state_rehash(st);
}

static void older_counter(struct state *st)
{
	size_t i = state_find(st, ITEM_COUNTER, 1); /* the operator's */

	state_drop(st, i);
	state_rehash(st);
}

static const struct {
	const char *name;
	void (*forge)(struct state *st);
} forgeries[] = {
	{"another digest", drop_ban_row},
	{"another place than its header", other_header},
	{"another chain than its header", other_chain},
	{"a ban of another prefix", other_prefix},
	{"a ban by another author", other_author},
	{"a ban for ten years", ban_for_years},
	{"a principal that nobody granted", invented_principal},
	{"a node as an operator", operator_by_promotion},
	{"a safe range wider than its report says", wider_safe_range},
	{"the last evidence missing", no_evidence},
	{"evidence left out", evidence_left_out},
	{"evidence twice", evidence_again},
	{"evidence exchanged", evidence_in_another_place},
	{"a bad signature", evidence_with_a_bad_signature},
	{"half an item", torn_item},
	{"an item twice", item_twice},
	{"another cluster's root", other_root},
	{"a revoked principal live", live_again},
	{"an older counter", older_counter},
};

/* One that this node knows to be revoked, before the months of absence. */
static void revoke_third(struct world *w)
{
	struct kban_keypair third;

	keypair(&third, 9);
	struct kban_event grant = grant_event(&third, KBAN_ROLE_NODE, "mail3");
	struct kban_event revoke = {.kind = KBAN_EVENT_REVOKE,
				    .revoke = {.key = third.sign_public}};

	log_events(w, &w->root, &grant, 1);
	log_events(w, &w->operator, & revoke, 1);
	stream_rest(w);
}

static void every_forged_state_is_refused_and_enforcement_goes_on(void **state)
{
	struct world *w = *state;

	live_once(w);
	revoke_third(w);
	node_lost(w->node);
	uint64_t place = node_place(w);

	months(w);
	w->watched = "198.51.100.1";
	for (size_t i = 0; i < KBAN_ARRAY_LEN(forgeries); i++) {
		kban_auto(state_free) struct state *st = compacted(w);
		unsigned before = w->connects;

		print_message("%s\n", forgeries[i].name);
		forgeries[i].forge(st);
		sent_clear(w);
		greet(w);
		state_give(w, st);
		assert_int_equal(node_link(w->node), NODE_FORK);
		assert_int_equal(node_place(w), place);
		assert_true(banned(w, "198.51.100.1"));
		for (unsigned k = 0; k < 500; k++) /* not at once again */
			pass(w, 100);
		assert_int_equal(w->connects, before + 1);
		node_restart(w);
		assert_int_equal(node_place(w), place);
	}
	kban_auto(state_free) struct state *st = compacted(w);

	sent_clear(w);
	greet(w);
	state_give(w, st);
	caught_up(w);
}

static void state_of_a_newer_program_needs_an_upgrade(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	st->items[0].b[1]++;
	greet(w);
	state_give(w, st);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_true(banned(w, "198.51.100.1"));
}

static void state_below_our_place_is_refused(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	months(w);
	state_free(compacted(w));
	kban_auto(state_free) struct state *old = state_at(w, 2);

	greet(w);
	state_give(w, old);
	assert_int_equal(node_link(w->node), NODE_FORK);
	assert_int_equal(node_place(w), 5);
}

static void garbage_for_a_state_changes_nothing(void **state)
{
	struct world *w = *state;
	const char *given = getenv("KBAN_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : 7;

	print_message("seed %llu (KBAN_TEST_SEED)\n", (unsigned long long)seed);
	live_once(w);
	node_lost(w->node);
	uint64_t place = node_place(w);

	months(w);
	w->random = seed;
	for (unsigned i = 0; i < 60; i++) {
		kban_auto(state_free) struct state *st = compacted(w);
		uint32_t chance[3];

		world_random(w, chance, sizeof(chance));
		struct item *item = &st->items[chance[0] % st->items_n];

		item->b[chance[1] % item->n] ^= (uint8_t)(1U << chance[2] % 8);
		sent_clear(w);
		greet(w);
		state_give(w, st);
		assert_int_equal(node_place(w), place);
		node_restart(w);
	}
}

/* The disk ------------------------------------------------------------------------------------- */

/* Each commit of the way is in turn the last one, lost or just made; then the node starts again. */
static void crash_at_each_step_leaves_a_node_that_starts(void **state)
{
	struct world *w = *state;
	unsigned installed = 0;

	live_once(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	node_lost(w->node);
	months(w);
	w->may_fail = true;
	for (unsigned commits = 1; commits < 200; commits++) {
		kban_auto(state_free) struct state *st = compacted(w);
		uint64_t before = node_place(w);

		st->items_each = 20;
		st->proofs_each = 7;
		state_commits = commits / 2 + 1;
		state_after = commits % 2;
		w->failed = 0;
		sent_clear(w);
		if (before >= w->horizon) {
			break;
		}
		greet(w);
		store_commits(w, commit_or_crash);
		state_give(w, st);
		for (unsigned i = 0; i < 100 && !w->failed; i++)
			pass(w, 100);
		node_restart(w);
		assert_true(node_place(w) == before || node_place(w) == w->horizon);
		installed += node_place(w) == w->horizon;
		assert_true(banned(w, "198.51.100.1"));
		assert_int_equal(node_waiting(w->node), 1);
		if (w->failed)
			continue;
		assert_int_equal(node_place(w), w->horizon);
		break;
	}
	assert_int_equal(installed, 1);
	/* The same while what follows is done: evidence moved, old entries dropped. */
	for (unsigned commits = 0; commits < 24; commits++) {
		state_commits = commits / 2 + 1;
		state_after = commits % 2;
		store_commits(w, commit_or_crash);
		for (unsigned i = 0; i < 40 && !w->failed; i++)
			pass(w, 100);
		w->failed = 0;
		node_restart(w);
		assert_int_equal(node_place(w), w->horizon);
		assert_true(banned(w, "198.51.100.1"));
	}
	w->may_fail = false;
	w->failed = 0;
	sent_clear(w);
	greet(w);
	assert_int_equal(status(w) & KBAN_STATUS_UNCONFIRMED, KBAN_STATUS_UNCONFIRMED);
	stream_rest(w);
	same_ledger(w);
	same_kernel(w);
}

static void full_disk_puts_the_state_off(void **state)
{
	struct world *w = *state;

	live_once(w);
	node_lost(w->node);
	uint64_t place = node_place(w);

	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	store_commits(w, commit_full);
	state_give(w, st);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
	assert_int_equal(node_place(w), place);
	assert_true(banned(w, "198.51.100.1"));
	store_sound(w);
	sent_clear(w);
	greet(w);
	state_give(w, st);
	caught_up(w);
}

/* Own compaction ------------------------------------------------------------------------------- */

static void replica_is_compacted_and_keeps_its_digest(void **state)
{
	struct world *w = *state;
	struct store_head head;

	go_live(w);
	months(w);
	stream_rest(w);
	for (unsigned i = 0; i < 2000; i++)
		pass(w, 100);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.horizon, ledger_history_start(w->ledger) - 1);
	same_ledger(w);
	node_restart(w);
	same_ledger(w);
	same_kernel(w);
	assert_int_equal(node_place(w), w->n);
	sent_clear(w);
	go_live(w);
	long_ban(w, "192.0.2.201", 100);
	stream_rest(w);
	assert_int_equal(status(w), 0);
	same_ledger(w);
}

static void replica_whose_log_is_ahead_of_this_servers_clock_is_not_compacted(void **state)
{
	struct world *w = *state;
	struct store_head head;

	go_live(w);
	months(w);
	w->wall_ms += 365 * DAY;
	log_ban(w, &w->other, "198.51.100.9", 60 * S);
	w->wall_ms -= 365 * DAY;
	stream_rest(w);
	for (unsigned i = 0; i < 2000; i++)
		pass(w, 100);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.horizon, 0);
	assert_int_equal(head.place.seq, w->n);
	same_ledger(w);
}

static void full_disk_puts_compaction_off(void **state)
{
	struct world *w = *state;
	struct store_head head;

	go_live(w);
	months(w);
	stream_rest(w);
	store_commits(w, commit_full);
	for (unsigned i = 0; i < 100; i++)
		pass(w, 100);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.horizon, 0);
	store_sound(w);
	go_live(w);
	for (unsigned i = 0; i < 8000; i++) {
		sent_clear(w);
		pass(w, 100);
	}
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.horizon, ledger_history_start(w->ledger) - 1);
	same_ledger(w);
}

static int read_damaged(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	(void)s;
	(void)after;
	(void)max;
	(void)fn;
	(void)arg;
	return STORE_DAMAGED;
}

static void damage_ends_compaction_and_nothing_is_dropped(void **state)
{
	struct world *w = *state;
	struct store_head head;

	go_live(w);
	months(w);
	stream_rest(w);
	store_commits(w, w->store->ops->commit);
	state_ops.read = read_damaged;
	for (unsigned i = 0; i < 100; i++)
		pass(w, 100);
	store_sound(w);
	for (unsigned i = 0; i < 8000; i++) {
		sent_clear(w);
		pass(w, 100);
	}
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.horizon, 0);
	go_live(w);
	long_ban(w, "192.0.2.201", 100);
	stream_rest(w);
	same_ledger(w);
	same_kernel(w);
}

/* A downgrade --------------------------------------------------------------------------------- */

static struct {
	size_t key_n, n;
	uint8_t key[64], bytes[65536];
} page;

static int take_page(void *arg, struct kban_span key, struct kban_span value)
{
	(void)arg;
	assert_true(key.n <= sizeof(page.key) && value.n <= sizeof(page.bytes));
	memcpy(page.key, key.p, page.key_n = key.n);
	memcpy(page.bytes, value.p, page.n = value.n);
	return 0;
}

/* The switch to a fold version of the next release lies below the horizon by now. */
static void state_becomes_newer(struct world *w)
{
	assert_int_equal(store_rows(w->store, kban_span("c", 1), take_page, NULL), 0);
	for (size_t at = 0; at < page.n;) {
		size_t n = (size_t)page.bytes[at] << 8 | page.bytes[at + 1];

		if (page.bytes[at + 2] == ITEM_VERSIONS) {
			page.bytes[at + 6] = (uint8_t)(kban_fold_newest + 1);
			page.bytes[at + 14] = 1;
		}
		at += 2 + n;
	}
	store_begin(w->store);
	store_put(w->store, kban_span(page.key, page.key_n), kban_span(page.bytes, page.n));
	assert_int_equal(store_commit(w->store), 0);
}

static void downgraded_node_bans_here_and_leaves_the_kernel_alone(void **state)
{
	struct world *w = *state;
	struct store_head head;

	go_live(w);
	months(w);
	stream_rest(w);
	for (unsigned i = 0; i < 2000; i++)
		pass(w, 100);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_true(head.horizon > 0);
	state_becomes_newer(w);
	w->watched = "192.0.2.100";
	for (unsigned again = 0; again < 2; again++) {
		node_restart(w);
		assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
		w->horizon = head.horizon;
		sent_clear(w);
		greet(w);
		assert_true(status(w) & KBAN_STATUS_UPGRADE_NEEDED);
		offend(w, again ? "198.51.100.78" : "198.51.100.77", 3600 * S);
		flush(w);
		for (unsigned i = 0; i < 2000; i++)
			pass(w, 100);
		assert_true(banned(w, "198.51.100.77"));
		assert_null(asked(w, KBAN_QUERY_STATE));
		assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
		assert_true(safe(w, "192.0.2.10"));
	}
	assert_true(banned(w, "192.0.2.100"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(node_that_was_away_for_months_catches_up),
		T(new_node_takes_the_state_in_answers_of_any_size),
		T(node_at_or_above_the_horizon_takes_no_state),
		T(subscriber_that_fell_below_the_horizon_takes_the_state_on_a_new_connection),
		T(horizon_that_moves_meanwhile_begins_again),
		T(state_that_turns_back_to_an_earlier_place_is_not_mixed_with_it),
		T(connection_lost_meanwhile_begins_again),
		T(answer_that_comes_twice_is_taken_once),
		T(sealed_report_goes_on_with_its_bytes_and_counts_as_history),
		T(sealed_report_that_lies_below_the_horizon_is_not_sent_again),
		T(own_bans_stay_unless_the_state_has_lifted_them),
		T(state_that_revokes_this_node_is_said),
		T(every_forged_state_is_refused_and_enforcement_goes_on),
		T(state_of_a_newer_program_needs_an_upgrade),
		T(state_below_our_place_is_refused),
		T(garbage_for_a_state_changes_nothing),
		T(crash_at_each_step_leaves_a_node_that_starts),
		T(full_disk_puts_the_state_off),
		T(replica_is_compacted_and_keeps_its_digest),
		T(replica_whose_log_is_ahead_of_this_servers_clock_is_not_compacted),
		T(full_disk_puts_compaction_off),
		T(damage_ends_compaction_and_nothing_is_dropped),
		T(downgraded_node_bans_here_and_leaves_the_kernel_alone),
	};

	kban_log_setup("test", getenv("KBAN_TEST_LOG") ? KBAN_LOG_DEBUG : 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
