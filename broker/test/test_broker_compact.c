/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker over months: what goes, what stays, and what those get who come back late.
 */
#include <errno.h>
#include <time.h>

#include "broker/outcomes.h"
#include "store/pages.h"
#include "store/snapshot.h"
/* after these: it has a short name for an attribute */
#include "broker/test/asking.h"

#define DAY_MS (24 * HOUR_MS)

/* Months of a fleet's life -------------------------------------------------------------------- */

static void submit_long(struct world *w, const char *prefix)
{
	struct kban_event e = ban_event(prefix);

	e.ban.duration_ms = 300 * DAY_MS;
	e.ban.reason = kban_text("for long");
	submit(w, &w->actors[OPERATOR], &e, 1);
}

/* Each day a short ban with an event that does not count, every tenth day a long one. */
static void live(struct world *w, unsigned days)
{
	for (unsigned i = 0; i < days; i++) {
		unsigned day = (unsigned)((w->wall_ms - WORLD_START_MS) / DAY_MS);
		char address[32];
		struct kban_event two[2];

		world_pass(w, DAY_MS);
		snprintf(address, sizeof(address), "198.18.%u.%u", day / 250, day % 250);
		two[0] = ban_event(address);
		two[1] = ban_event("127.0.0.1");
		submit(w, &w->actors[NODE1], two, 2);
		snprintf(address, sizeof(address), "203.0.113.%u", day / 10);
		if (day % 10 == 0)
			submit_long(w, address);
		commit(w);
	}
	forget_sent(w);
}

/* Whoever is silent is cut by the ticks: they connect anew. */
static void tick(struct world *w)
{
	broker_tick(w->b);
	greet_all(w);
	forget_sent(w);
}

static void work(struct world *w)
{
	assert_int_equal(broker_work(w->b), 0);
}

static void compact(struct world *w)
{
	uint64_t before = broker_counts(w->b)->compactions;

	tick(w);
	assert_true(broker_counts(w->b)->compacting);
	for (int i = 0; i < 10000 && broker_counts(w->b)->compactions == before; i++)
		work(w);
	assert_int_equal(broker_counts(w->b)->compactions, before + 1);
	for (int i = 0; i < 100; i++)
		work(w);
	forget_sent(w);
}

static void months(struct world *w)
{
	greet_all(w);
	live(w, 200);
	compact(w);
}

static uint64_t horizon(struct world *w)
{
	return broker_counts(w->b)->horizon;
}

static struct kban_hash digest(struct world *w)
{
	struct kban_hash d;

	ledger_digest(broker_ledger(w->b), &d);
	return d;
}

struct tally {
	uint64_t horizon;
	size_t below, above;
};

static int count_entry(void *arg, const struct kban_entry *e)
{
	struct tally *t = arg;

	if (e->seq <= t->horizon)
		t->below++;
	else
		t->above++;
	return 0;
}

static struct tally tally(struct world *w)
{
	struct tally t = {.horizon = horizon(w)};

	assert_int_equal(store_read(w->disk.inner, 0, SIZE_MAX, count_entry, &t), 0);
	return t;
}

static int count_row(void *arg, struct kban_span key, struct kban_span value)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return 0;
}

static size_t rows(struct world *w, const char *prefix)
{
	size_t n = 0;

	assert_int_equal(store_rows(w->disk.inner, kban_span(prefix, 1), count_row, &n), 0);
	return n;
}

/* What stays ---------------------------------------------------------------------------------- */

static void what_is_older_than_the_history_period_goes(void **state)
{
	struct world *w = *state;

	months(w);
	struct tally t = tally(w);
	assert_in_range(horizon(w), 100, 130);
	assert_int_equal(t.above, head_of_log(w).seq - horizon(w));
	assert_in_range(t.below, 5, 30); /* genesis, and the long bans that run */
	assert_in_range(broker_counts(w->b)->dropped, 80, 125);
}

static void compaction_changes_nothing_that_the_ledger_says(void **state)
{
	struct world *w = *state;
	struct kban_hash before, after;

	greet_all(w);
	live(w, 200);
	before = digest(w);
	compact(w);
	after = digest(w);
	assert_memory_equal(&before, &after, sizeof(before));
	restart_broker(w);
	after = digest(w);
	assert_memory_equal(&before, &after, sizeof(before));
	greet_all(w);
	live(w, 3);
	before = digest(w);
	restart_broker(w);
	after = digest(w);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_true(horizon(w) > 0);
}

static void it_goes_on_and_on_and_the_log_stays_small(void **state)
{
	struct world *w = *state;
	uint64_t last = 0;

	greet_all(w);
	live(w, 100);
	for (int i = 0; i < 20; i++) {
		live(w, 10);
		compact(w);
		assert_true(horizon(w) > last);
		last = horizon(w);
		struct tally t = tally(w);
		assert_in_range(t.below + t.above, 90, 150);
		assert_int_equal(rows(w, "c"), 1); /* one page, of this horizon */
	}
}

static void nothing_is_done_before_its_time(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 80);
	tick(w);
	assert_false(broker_counts(w->b)->compacting);
	live(w, 120);
	compact(w);
	live(w, 1);
	tick(w);
	assert_false(broker_counts(w->b)->compacting); /* too little since the last one */
}

static void outcomes_of_what_is_gone_go_too(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 200);
	assert_int_equal(rows(w, "v"), 201); /* and the mark */
	months(w);
	struct tally t = tally(w);
	assert_true(rows(w, "v") <= t.above + t.below + 1);
	assert_true(rows(w, "v") > 80);
}

/* What is still answered ---------------------------------------------------------------------- */

static void the_log_is_searched_below_the_horizon_too(void **state)
{
	struct world *w = *state;
	struct kban_query q = {.has_prefix = true,
			       .prefix = prefix_of("203.0.113.0/24"),
			       .kinds = 1U << KBAN_EVENT_BAN};
	uint64_t seqs[4096];

	months(w);
	size_t n = log_seqs(w, &w->actors[READER], q, seqs, 4096);
	assert_int_equal(n, 20);
	assert_true(seqs[0] < horizon(w));
	q = (struct kban_query){.since_ms = WORLD_START_MS};
	struct tally t = tally(w);
	n = log_seqs(w, &w->actors[READER], q, seqs, 4096);
	assert_int_equal(n, t.below + t.above);
	assert_int_equal(seqs[0], 1);
}

static void bans_keep_their_words(void **state)
{
	struct world *w = *state;
	size_t long_ones = 0;

	months(w);
	restart_broker(w);
	kban_message_free(greet(w, &w->actors[READER]));
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_BANS, 0);
	for (size_t i = 0; i < m->answer.bans_n; i++) {
		const struct kban_ban_row *r = &m->answer.bans[i];

		if (r->until_ms - r->since_ms != 300 * DAY_MS)
			continue;
		long_ones++;
		assert_int_equal(r->reason.n, 8);
		assert_memory_equal(r->reason.s, "for long", 8);
	}
	assert_int_equal(long_ones, 20);
}

static void members_are_still_proved_up_to_the_root(void **state)
{
	struct world *w = *state;
	kban_auto(ledger_free) struct ledger *l = NULL;

	greet_all(w);
	submit_revoke(w, &w->actors[OPERATOR], &w->actors[NODE3].keys.sign_public);
	commit(w);
	live(w, 200);
	broker_tick(w->b);
	for (int i = 0; i < 200; i++)
		work(w);
	assert_true(horizon(w) > 100);
	kban_message_free(greet(w, &w->actors[READER]));
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_CLUSTER, 0);
	assert_int_equal(m->answer.proofs_n, 2);
	ledger_new(&l, &w->root.sign_public);
	for (size_t i = 0; i < m->answer.proofs_n; i++) {
		kban_auto(kban_report_free) struct kban_report *r = NULL;
		const struct kban_entry *proof = &m->answer.proofs[i];

		assert_int_equal(kban_report_decode(&r, &proof->sealed), 0);
		assert_true(kban_report_check(r, &proof->sealed));
		ledger_apply(l, proof, r, NULL, NULL);
	}
	for (size_t i = 0; i < m->answer.members_n; i++)
		assert_non_null(ledger_principal(l, &m->answer.members[i].key));
}

static void a_policy_that_is_older_than_the_history_is_still_proved(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};

	greet_all(w);
	e.policy.safe_max = 7;
	submit(w, &w->actors[OPERATOR], &e, 1);
	commit(w);
	months(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_POLICY, 0);
	assert_int_equal(m->answer.proofs_n, 1);
	assert_int_equal(m->answer.proofs[0].seq, 2);
}

static void a_duplicate_from_long_ago_gets_its_receipt(void **state)
{
	struct world *w = *state;
	struct kban_event e = ban_event("192.0.2.1");
	struct sealed_report s;
	uint64_t accepted_ms;

	greet_all(w);
	accepted_ms = w->wall_ms;
	s = seal(w, &w->actors[FEEDER], &e, 1);
	send_sealed(w, &w->actors[FEEDER], &s.sealed);
	commit(w);
	months(w);
	restart_broker(w);
	kban_auto(kban_message_free) struct kban_message *m = greet(w, &w->actors[FEEDER]);
	assert_true(m->welcome.has_newest); /* and it learns its counter */
	assert_int_equal(m->welcome.horizon, horizon(w));
	assert_true(horizon(w) > 2);
	send_sealed(w, &w->actors[FEEDER], &s.sealed);
	struct receipt r = take_receipt(w, w->actors[FEEDER].peer);
	assert_int_equal(r.refusal, KBAN_REFUSAL_DUPLICATE);
	assert_int_equal(r.seq, 2);
	assert_true(r.accepted_ms == accepted_ms);
	free(s.bytes);
}

/* Followers ----------------------------------------------------------------------------------- */

static void who_is_before_the_horizon_is_sent_for_the_state(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE2];
	struct kban_place start = start_of_log(w), late = start;

	months(w);
	subscribe(w, a, &start, 100);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_BELOW_HORIZON);
	late.seq = horizon(w) - 1;
	subscribe(w, a, &late, 100);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_BELOW_HORIZON);
	assert_false(take_cut(w, a->peer)); /* it is to ask on this very connection */
	late.seq = horizon(w);
	subscribe(w, a, &late, 100);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_FORK);
	assert_int_equal(broker_counts(w->b)->subscribers, 0);
}

static void a_follower_that_the_horizon_overtakes_is_told_so(void **state)
{
	struct world *w = *state;
	struct actor *slow = &w->actors[NODE2], *live_one = &w->actors[NODE3];
	struct kban_place start = start_of_log(w), head;
	uint64_t last = 0;

	greet_all(w);
	live(w, 200);
	head = head_of_log(w);
	tick(w);
	assert_true(broker_counts(w->b)->compacting);
	subscribe(w, slow, &start, 20);
	subscribe(w, live_one, &head, 20);
	assert_int_equal(take_entries(w, slow->peer, &last), 20);
	for (int i = 0; i < 1000 && !horizon(w); i++)
		work(w);
	assert_int_equal(take_denial(w, slow->peer), KBAN_REFUSAL_BELOW_HORIZON);
	ack(w, slow, 20); /* was on the way */
	assert_null(try_take(w, slow->peer, KBAN_MSG_ENTRIES));
	assert_int_equal(take_denial(w, live_one->peer), -1);
	assert_int_equal(broker_counts(w->b)->subscribers, 1);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	commit(w);
	last = head.seq;
	assert_int_equal(take_entries(w, live_one->peer, &last), 1);
}

struct newcomer {
	struct ledger_loading *loading;
	struct ledger *ledger;
	struct ledger_proof *proof;
	struct kban_place place;
	struct kban_hash digest;
	size_t pages, entries;
};

static int newcomer_item(void *arg, struct kban_span item)
{
	struct newcomer *n = arg;

	return ledger_loading_item(n->loading, item);
}

static void newcomer_prove(struct newcomer *n, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct ledger_fault fault;

	n->entries++;
	if (ledger_proof_wants(n->proof) != e->seq)
		return;
	assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
	assert_true(kban_report_check(r, &e->sealed));
	assert_int_equal(ledger_proof_take(n->proof, r, &fault), 0);
}

static void newcomer_answer(struct newcomer *n, const struct kban_answer *a)
{
	for (size_t i = 0; i < a->state_n; i++, n->pages++)
		assert_int_equal(page_each(kban_span(a->state[i].items, a->state[i].items_len),
					   newcomer_item, n),
				 0);
	if (a->proofs_n && !n->ledger) {
		assert_int_equal(ledger_loading_end(n->loading, &n->ledger), 0);
		ledger_proof_new(&n->proof, n->ledger);
	}
	for (size_t i = 0; i < a->proofs_n; i++)
		newcomer_prove(n, &a->proofs[i]);
	n->place = a->place;
	n->digest = a->digest;
}

static void newcomer_take_state(struct world *w, struct actor *a, struct newcomer *n)
{
	uint64_t after = 0;

	ledger_loading_new(&n->loading, &w->root.sign_public);
	do {
		kban_auto(kban_message_free) struct kban_message *m = answer(w, a, KBAN_QUERY_STATE,
									     after);

		newcomer_answer(n, &m->answer);
		after = m->answer.next;
	} while (after);
	assert_non_null(n->ledger);
	assert_int_equal(ledger_proof_wants(n->proof), 0); /* all of it is proved */
	ledger_proof_free(n->proof);
	ledger_loading_free(n->loading);
}

static void newcomer_follow(struct world *w, struct actor *a, struct newcomer *n)
{
	kban_message_free(try_take(w, a->peer, KBAN_MSG_ENTRIES));
	subscribe(w, a, &n->place, KBAN_WINDOW_MAX);
	for (;;) {
		kban_auto(kban_message_free) struct kban_message *m = try_take(w, a->peer,
									       KBAN_MSG_ENTRIES);

		if (!m)
			return;
		for (size_t i = 0; i < m->entries.entries_n; i++) {
			kban_auto(kban_report_free) struct kban_report *r = NULL;

			assert_int_equal(kban_report_decode(&r, &m->entries.entries[i].sealed), 0);
			ledger_apply(n->ledger, &m->entries.entries[i], r, NULL, NULL);
		}
	}
}

static void check_newcomer(struct world *w, struct newcomer *n)
{
	struct kban_hash mine, theirs = digest(w);
	struct kban_place place, head = head_of_log(w);

	ledger_digest(n->ledger, &mine);
	assert_memory_equal(&mine, &n->digest, sizeof(mine));
	assert_int_equal(n->place.seq, horizon(w));
	newcomer_follow(w, &w->actors[NODE2], n);
	ledger_digest(n->ledger, &mine);
	ledger_place(n->ledger, &place);
	assert_memory_equal(&mine, &theirs, sizeof(mine));
	assert_memory_equal(&place.chain, &head.chain, sizeof(place.chain));
	ledger_free(n->ledger);
}

static void a_newcomer_takes_the_state_proves_it_and_follows(void **state)
{
	struct world *w = *state;
	struct newcomer n = {0};

	months(w);
	newcomer_take_state(w, &w->actors[NODE2], &n);
	assert_int_equal(n.entries, tally(w).below);
	check_newcomer(w, &n);
}

static void a_large_state_comes_in_pages_and_while_entries_are_still_dropped(void **state)
{
	struct world *w = *state;
	struct kban_event events[250];
	struct newcomer n = {0};

	greet_all(w);
	for (unsigned i = 0; i < 3000; i++) {
		struct kban_event *e = &events[i % 250];

		*e = ban_event("198.19.0.0");
		e->ban.prefix.addr[2] = (uint8_t)(i >> 8);
		e->ban.prefix.addr[3] = (uint8_t)i;
		e->ban.duration_ms = 300 * DAY_MS;
		if (i % 250 == 249)
			submit(w, &w->actors[OPERATOR], events, 250);
	}
	commit(w);
	live(w, 150);
	tick(w);
	for (int i = 0; i < 1000 && !horizon(w); i++)
		work(w);
	assert_true(broker_counts(w->b)->compacting);
	newcomer_take_state(w, &w->actors[NODE2], &n);
	assert_true(n.pages > 8);    /* more than an answer holds */
	assert_true(n.entries > 40); /* dropped soon */
	check_newcomer(w, &n);
}

static void a_whole_log_has_no_state_to_take(void **state)
{
	struct world *w = *state;
	struct kban_place start = start_of_log(w);

	greet_all(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[NODE1],
								     KBAN_QUERY_STATE, 0);
	assert_int_equal(m->answer.state_n, 0);
	assert_int_equal(m->answer.proofs_n, 0);
	assert_int_equal(m->answer.next, 0);
	assert_int_equal(m->answer.place.seq, 0);
	assert_int_equal(m->answer.place.epoch, 1);
	assert_memory_equal(&m->answer.place.chain, &start.chain, sizeof(start.chain));
}

static void strange_positions_of_the_state_are_harmless(void **state)
{
	struct world *w = *state;
	static const uint64_t afters[] = {1,
					  1ULL << 48,
					  (1ULL << 48) + 50,
					  (1ULL << 48) - 1,
					  (1ULL << 48) + (1ULL << 47),
					  7ULL << 60,
					  UINT64_MAX};

	months(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(afters); i++)
		kban_message_free(answer(w, &w->actors[NODE1], KBAN_QUERY_STATE, afters[i]));
}

/* While it works ------------------------------------------------------------------------------ */

static void reports_are_taken_between_the_steps(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	greet_all(w);
	live(w, 200);
	tick(w);
	while (broker_counts(w->b)->compacting && n++ < 1000) {
		submit_ban(w, &w->actors[NODE1], "192.0.2.1");
		work(w); /* a transaction is open: this does nothing */
		commit(w);
		assert_int_not_equal(take_receipt(w, w->actors[NODE1].peer).seq, 0);
		work(w);
	}
	assert_int_equal(broker_counts(w->b)->compactions, 1);
	struct kban_hash before = digest(w), after;
	restart_broker(w);
	after = digest(w);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void a_broker_that_dies_at_any_step_comes_back_and_finishes(void **state)
{
	struct world *w = *state;
	struct kban_hash before, after;
	unsigned died = 0;

	greet_all(w);
	live(w, 200);
	before = digest(w);
	for (unsigned steps = 0;; steps++, died++) {
		broker_tick(w->b);
		for (unsigned i = 0; i < steps && broker_counts(w->b)->compacting; i++)
			work(w);
		if (broker_counts(w->b)->compactions)
			break;
		forget_sent(w);
		restart_broker(w);
		after = digest(w);
		assert_memory_equal(&before, &after, sizeof(before));
	}
	assert_true(died > 5);
	struct tally t = tally(w);
	assert_in_range(t.below, 5, 30);
	assert_int_equal(rows(w, "c"), 1);
	for (int i = 0; i < 100; i++)
		work(w);
	tick(w);
	assert_false(broker_counts(w->b)->compacting);
}

static void a_full_disk_puts_it_off(void **state)
{
	struct world *w = *state;
	struct tally before, after;

	greet_all(w);
	live(w, 200);
	before = tally(w);
	w->disk.full = true;
	tick(w);
	for (int i = 0; i < 100; i++)
		work(w);
	assert_false(broker_counts(w->b)->compacting);
	assert_int_equal(horizon(w), 0);
	after = tally(w);
	assert_int_equal(after.above, before.above);
	unsigned commits = w->disk.commits;
	for (int i = 0; i < 50; i++) { /* not all the time */
		world_pass(w, 1000);
		broker_tick(w->b);
	}
	assert_int_equal(w->disk.commits, commits);
	w->disk.full = false;
	world_pass(w, 15000);
	compact(w);
	assert_true(horizon(w) > 0);
}

/* Fails in the given transaction, counted from the moment at which the horizon moved. */
static void a_disk_that_fills_up_while_it_drops_does_not_end_it(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 200);
	tick(w);
	for (int i = 0; i < 1000 && !horizon(w); i++)
		work(w);
	w->disk.full = true;
	for (int i = 0; i < 10; i++)
		work(w);
	assert_false(broker_counts(w->b)->compacting);
	w->disk.full = false;
	assert_in_range(tally(w).below, 90, 200);
	world_pass(w, 61000);
	compact(w); /* though none is due */
	assert_in_range(tally(w).below, 5, 30);
}

static int broken_chain(struct store *s, uint64_t seq, struct kban_hash *out)
{
	int r = disk_chain(s, seq, out);

	out->b[0] ^= seq > 3;
	return r;
}

static void nothing_is_dropped_from_a_log_that_is_damaged(void **state)
{
	struct world *w = *state;
	struct store_ops ops = disk_ops;
	struct tally before, after;

	greet_all(w);
	live(w, 200);
	before = tally(w);
	ops.chain = broken_chain;
	w->disk.base.ops = &ops;
	tick(w);
	for (int i = 0; i < 100; i++)
		work(w);
	assert_false(broker_counts(w->b)->compacting);
	unsigned commits = w->disk.commits;
	for (int i = 0; i < 10; i++) {
		world_pass(w, HOUR_MS);
		tick(w);
	}
	assert_int_equal(w->disk.commits, commits); /* nor tried again */
	w->disk.base.ops = &disk_ops;
	after = tally(w);
	assert_int_equal(after.above, before.above);
	assert_int_equal(horizon(w), 0);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1"); /* and the fleet goes on */
	commit(w);
	assert_int_not_equal(take_receipt(w, w->actors[NODE1].peer).seq, 0);
	restart_broker(w); /* with a log that was put back */
	compact(w);
}

static int broken_commit(struct store *s)
{
	store_abort(((struct disk *)s)->inner);
	return -EIO;
}

static void a_disk_that_fails_ends_the_program(void **state)
{
	struct world *w = *state;
	struct store_ops ops = disk_ops;

	greet_all(w);
	live(w, 200);
	ops.commit = broken_commit;
	w->disk.base.ops = &ops;
	broker_tick(w->b);
	for (int i = 0; i < 10; i++)
		assert_true(i < 9 || broker_work(w->b) == -EIO);
	assert_int_equal(broker_commit(w->b), -EIO);
	w->disk.base.ops = &disk_ops;
}

static void the_sweep_passes_over_what_stays(void **state)
{
	struct world *w = *state;
	uint64_t next = 0;
	unsigned calls = 0;
	bool more = true;

	greet_all(w);
	live(w, 1300);
	size_t before = rows(w, "v");
	for (; more && calls < 100; calls++)
		assert_int_equal(outcomes_sweep(w->disk.inner, head_of_log(w).seq, &next, &more), 0);
	assert_in_range(calls, 3, 5);
	assert_int_equal(rows(w, "v"), before);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 100,000 bans, half of which run on. */
static void make_crowd(struct world *w)
{
	struct kban_event events[250];

	for (unsigned i = 0; i < 100000; i++) {
		struct kban_event *e = &events[i % 250];

		*e = ban_event("10.0.0.0");
		e->ban.prefix.addr[1] = (uint8_t)(i >> 16);
		e->ban.prefix.addr[2] = (uint8_t)(i >> 8);
		e->ban.prefix.addr[3] = (uint8_t)i;
		e->ban.duration_ms = i % 2 ? HOUR_MS : 300 * DAY_MS;
		if (i % 250 == 249)
			submit(w, &w->actors[OPERATOR], events, 250);
		if (i % 25000 == 24999)
			commit(w);
	}
}

static void a_large_state_is_compacted_in_many_small_steps(void **state)
{
	struct world *w = *state;
	double worst = 0;
	unsigned steps = 0;

	greet_all(w);
	make_crowd(w);
	live(w, 150);
	tick(w);
	for (; broker_counts(w->b)->compacting; steps++) {
		double began = cpu_s();

		work(w);
		double took = cpu_s() - began;
		worst = took > worst ? took : worst;
	}
	assert_true(steps > 50);
	print_message("%u steps, the longest took %.1f ms of processor time\n", steps,
		      worst * 1000);
}

/* The sweep of outcomes ----------------------------------------------------------------------- */

static void put_rows(struct world *w, uint64_t first, uint64_t n, uint64_t step)
{
	struct ledger_verdict v = {.outcomes_n = 1, .outcomes = {KBAN_OUTCOME_SAFE}};

	store_begin(w->disk.inner);
	for (uint64_t i = 0; i < n; i++)
		outcomes_put(w->disk.inner, first + i * step, &v);
	assert_int_equal(store_commit(w->disk.inner), 0);
}

static void the_sweep_of_outcomes_is_bounded_and_complete(void **state)
{
	struct world *w = *state;
	uint64_t next = 0, to = 1ULL << 33;
	unsigned calls = 0;
	bool more = true;

	put_rows(w, 1, 3000, 1); /* the first is genesis's: it stays */
	put_rows(w, 100000, 700, 12345678);
	put_rows(w, to - 1, 5, 1);
	size_t before = rows(w, "v");
	while (more) {
		assert_int_equal(outcomes_sweep(w->disk.inner, to, &next, &more), 0);
		size_t after = rows(w, "v");
		assert_true(before - after <= 512);
		before = after;
		assert_true(++calls < 1000);
	}
	assert_true(calls > 7);
	assert_int_equal(rows(w, "v"), 1 + 1 + 3 + 4); /* the mark, genesis, behind `to` */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(what_is_older_than_the_history_period_goes),
		world_test(compaction_changes_nothing_that_the_ledger_says),
		world_test(it_goes_on_and_on_and_the_log_stays_small),
		world_test(nothing_is_done_before_its_time),
		world_test(outcomes_of_what_is_gone_go_too),
		world_test(the_log_is_searched_below_the_horizon_too),
		world_test(bans_keep_their_words),
		world_test(members_are_still_proved_up_to_the_root),
		world_test(a_policy_that_is_older_than_the_history_is_still_proved),
		world_test(a_duplicate_from_long_ago_gets_its_receipt),
		world_test(who_is_before_the_horizon_is_sent_for_the_state),
		world_test(a_follower_that_the_horizon_overtakes_is_told_so),
		world_test(a_newcomer_takes_the_state_proves_it_and_follows),
		world_test(a_large_state_comes_in_pages_and_while_entries_are_still_dropped),
		world_test(a_whole_log_has_no_state_to_take),
		world_test(strange_positions_of_the_state_are_harmless),
		world_test(reports_are_taken_between_the_steps),
		world_test(a_broker_that_dies_at_any_step_comes_back_and_finishes),
		world_test(a_full_disk_puts_it_off),
		world_test(a_disk_that_fills_up_while_it_drops_does_not_end_it),
		world_test(nothing_is_dropped_from_a_log_that_is_damaged),
		world_test(a_disk_that_fails_ends_the_program),
		world_test(a_large_state_is_compacted_in_many_small_steps),
		world_test(the_sweep_of_outcomes_is_bounded_and_complete),
		world_test(the_sweep_passes_over_what_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
