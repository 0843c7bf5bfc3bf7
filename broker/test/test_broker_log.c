/* SPDX-License-Identifier: MPL-2.0
 *
 * The audit trail as `log` shows it: who said what, what became of it, and new entries as they
 * come.
 */
#include <time.h>

#include "broker/test/asking.h"

#define SEQS 4096

static const struct kban_query all = {.kind = KBAN_QUERY_LOG};

static void expect_seqs(struct world *w, struct actor *a, struct kban_query q, size_t n,
			const uint64_t *want)
{
	uint64_t seqs[SEQS];

	assert_int_equal(log_seqs(w, a, q, seqs, SEQS), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(seqs[i], want[i]);
}
#define expect(w, a, q, ...)                                                                       \
	expect_seqs(w, a, q, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                 \
		    (uint64_t[]){__VA_ARGS__})

/* What a row says ----------------------------------------------------------------------------- */

/* Entry 2: mail1 bans one address, a safe one and an old one. */
static void make_mixed(struct world *w)
{
	struct kban_event safe = safe_event("198.51.100.0/24");
	struct kban_event bans[] = {ban_event("192.0.2.1"), ban_event("198.51.100.7"),
				    ban_event("192.0.2.2")};

	bans[2].ban.duration_ms = 0;
	greet_all(w);
	submit(w, &w->actors[OPERATOR], &safe, 1);
	commit(w);
	world_pass(w, 1000);
	submit(w, &w->actors[NODE1], bans, 3);
	commit(w);
}

static void check_mixed(const struct kban_log_row *row, const struct actor *author)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	static const unsigned want[] = {KBAN_OUTCOME_COUNTED, KBAN_OUTCOME_SAFE,
					KBAN_OUTCOME_HISTORY};

	assert_int_equal(row->seq, 3);
	assert_true(row->accepted_ms == WORLD_START_MS + 1000);
	assert_int_equal(row->refusal, 0);
	assert_int_equal(kban_report_decode(&r, &row->report), 0);
	assert_true(kban_report_check(r, &row->report));
	assert_memory_equal(&r->author, &author->keys.sign_public, sizeof(r->author));
	assert_int_equal(row->outcomes_n, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(row->outcomes[i], want[i]);
	assert_int_equal(row->records_n, 1);
	assert_int_equal(row->records[0].index, 0);
	assert_true(row->records[0].since_ms == WORLD_START_MS + 1000);
	assert_true(row->records[0].until_ms == WORLD_START_MS + 1000 + HOUR_MS);
	assert_int_equal(row->records[0].strikes, 1);
	assert_false(row->records[0].ended);
}

static void a_row_has_the_signed_report_and_what_became_of_each_event(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	m = answer_to(w, &w->actors[READER], &all);
	assert_int_equal(m->answer.log_n, 3);
	assert_int_equal(m->answer.next, 0);
	assert_int_equal(m->answer.place.seq, 3);
	check_mixed(&m->answer.log[2], &w->actors[NODE1]);
	assert_int_equal(m->answer.log[0].outcomes_n, ACTORS);
	assert_int_equal(m->answer.log[1].outcomes[0], KBAN_OUTCOME_COUNTED);
}

static void outcomes_survive_a_restart(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	restart_broker(w);
	kban_message_free(greet(w, &w->actors[READER]));
	m = answer_to(w, &w->actors[READER], &all);
	check_mixed(&m->answer.log[2], &w->actors[NODE1]);
}

static int delete_row(void *arg, struct kban_span key, struct kban_span value)
{
	(void)value;
	store_delete(arg, key);
	return 0;
}

static void forget_outcomes(struct world *w)
{
	broker_free(w->b);
	w->b = NULL;
	store_begin(w->disk.inner);
	assert_int_equal(store_rows(w->disk.inner, kban_span("v", 1), delete_row, w->disk.inner),
			 0);
	assert_int_equal(store_commit(w->disk.inner), 0);
}

static void a_log_of_an_older_broker_gets_its_outcomes_at_the_start(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	forget_outcomes(w);
	start_broker(w);
	kban_message_free(greet(w, &w->actors[READER]));
	m = answer_to(w, &w->actors[READER], &all);
	check_mixed(&m->answer.log[2], &w->actors[NODE1]);
}

static void a_full_disk_keeps_no_older_log_from_being_served(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	forget_outcomes(w);
	w->disk.full = true;
	start_broker(w);
	w->disk.full = false;
	assert_int_equal(head_of_log(w).seq, 3);
	restart_broker(w);
	kban_message_free(greet(w, &w->actors[READER]));
	m = answer_to(w, &w->actors[READER], &all);
	check_mixed(&m->answer.log[2], &w->actors[NODE1]);
}

static void what_a_full_disk_took_back_is_not_shown(void **state)
{
	struct world *w = *state;
	struct kban_event two[] = {ban_event("192.0.2.9"), ban_event("198.51.100.9")};
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	w->disk.full = true;
	submit(w, &w->actors[NODE2], two, 2);
	commit(w);
	w->disk.full = false;
	world_pass(w, 60000);
	submit_ban(w, &w->actors[NODE1], "192.0.2.77"); /* takes the same place */
	commit(w);
	m = answer_to(w, &w->actors[OPERATOR],
		      &(struct kban_query){.kind = KBAN_QUERY_LOG, .after = 3});
	assert_int_equal(m->answer.log_n, 1);
	assert_int_equal(m->answer.log[0].seq, 4);
	assert_int_equal(m->answer.log[0].outcomes_n, 1);
	assert_int_equal(m->answer.log[0].outcomes[0], KBAN_OUTCOME_COUNTED);
}

static void a_lifted_ban_is_shown_as_ended(void **state)
{
	struct world *w = *state;
	struct kban_event unban = unban_event("192.0.2.1");
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_mixed(w);
	world_pass(w, 5000);
	submit(w, &w->actors[OPERATOR], &unban, 1);
	commit(w);
	m = answer_to(w, &w->actors[OPERATOR],
		      &(struct kban_query){.kind = KBAN_QUERY_LOG, .after = 2});
	assert_int_equal(m->answer.log_n, 2);
	assert_true(m->answer.log[0].records[0].ended);
	assert_true(m->answer.log[0].records[0].until_ms == WORLD_START_MS + 6000);
	assert_int_equal(m->answer.log[1].records_n, 0);
}

/* Filters ------------------------------------------------------------------------------------- */

static void make_varied(struct world *w)
{
	struct kban_event broker = {.kind = KBAN_EVENT_BROKER_ADDRESS};
	struct kban_prefix address = prefix_of("203.0.113.5");
	struct kban_event e;

	greet_all(w);
	broker.broker_address = (struct kban_event_broker_address){
		.curve = w->actors[BROKER].keys.curve_public,
		.endpoint = kban_text("tcp://203.0.113.5:7400"),
		.addresses_n = 1,
		.addresses = &address,
	};
	submit(w, &w->actors[OPERATOR], &broker, 1);	     /* 2 */
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");	     /* 3 */
	submit_ban(w, &w->actors[OPERATOR], "192.0.2.0/24"); /* 4 */
	e = unban_event("192.0.2.1");
	submit(w, &w->actors[OPERATOR], &e, 1); /* 5 */
	e = safe_event("192.0.0.0/16");
	submit(w, &w->actors[OPERATOR], &e, 1); /* 6 */
	e = (struct kban_event){.kind = KBAN_EVENT_SAFE_REMOVE,
				.safe_remove = {.prefix = prefix_of("192.0.0.0/16")}};
	submit(w, &w->actors[OPERATOR], &e, 1);					    /* 7 */
	submit_ban(w, &w->actors[NODE2], "2001:db8:1:2::/64");			    /* 8 */
	submit_revoke(w, &w->actors[OPERATOR], &w->actors[NODE3].keys.sign_public); /* 9 */
	commit(w);
	world_pass(w, HOUR_MS);
	submit_ban(w, &w->actors[NODE1], "198.51.100.1"); /* 10 */
	commit(w);
	forget_sent(w);
}

static struct kban_query by_prefix(const char *text)
{
	return (struct kban_query){.has_prefix = true, .prefix = prefix_of(text)};
}

static void a_prefix_finds_what_is_inside_and_what_covers_it(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];

	make_varied(w);
	expect(w, a, by_prefix("192.0.2.1"), 3, 4, 5, 6, 7);
	expect(w, a, by_prefix("192.0.2.9"), 4, 6, 7);
	expect(w, a, by_prefix("203.0.113.0/24"), 2);
	expect(w, a, by_prefix("2001:db8::/32"), 8);
	expect(w, a, by_prefix("0.0.0.0/0"), 2, 3, 4, 5, 6, 7, 10);
	expect_seqs(w, a, by_prefix("10.0.0.0/8"), 0, NULL);
}

static void kinds_author_and_time_narrow_it_down(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q = {.kinds = 1U << KBAN_EVENT_BAN};

	make_varied(w);
	expect(w, a, q, 3, 4, 8, 10);
	q.kinds |= 1U << KBAN_EVENT_REVOKE;
	expect(w, a, q, 3, 4, 8, 9, 10);
	q.author = (struct kban_text){(const char *)&w->actors[NODE1].keys.sign_public, 32};
	expect(w, a, q, 3, 10);
	q.has_prefix = true;
	q.prefix = prefix_of("192.0.2.1");
	expect(w, a, q, 3);
	q = (struct kban_query){.since_ms = WORLD_START_MS + 1};
	expect(w, a, q, 10);
	q.since_ms = WORLD_START_MS;
	q.kinds = 1U << KBAN_EVENT_GRANT | 1U << KBAN_EVENT_UNBAN;
	expect(w, a, q, 1, 5);
	q.since_ms = WORLD_START_MS + 2 * HOUR_MS;
	expect_seqs(w, a, q, 0, NULL);
}

static void kind_and_prefix_must_be_the_same_events(void **state)
{
	struct world *w = *state;
	struct kban_event events[] = {ban_event("192.0.2.1"), unban_event("198.51.100.1")};
	struct kban_query q = by_prefix("192.0.2.1");

	greet_all(w);
	submit(w, &w->actors[OPERATOR], events, 2);
	commit(w);
	q.kinds = 1U << KBAN_EVENT_UNBAN;
	expect_seqs(w, &w->actors[READER], q, 0, NULL);
	q.kinds = 1U << KBAN_EVENT_BAN;
	expect(w, &w->actors[READER], q, 2);
}

static void places_past_the_head_find_nothing(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	static const uint64_t afters[] = {10, 11, 1ULL << 40, UINT64_MAX};

	make_varied(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(afters); i++) {
		struct kban_query q = {.kind = KBAN_QUERY_LOG, .after = afters[i], .wait = i > 0};

		kban_message_free(m);
		m = answer_to(w, &w->actors[READER], &q); /* held it would wait for ever */
		assert_int_equal(m->answer.log_n, 0);
		assert_int_equal(m->answer.next, 0);
		assert_int_equal(m->answer.place.seq, 10);
	}
}

/* Pages --------------------------------------------------------------------------------------- */

/* Straight into the store; the fold refuses all but the first, and the log has them all. */
static void append_copies(struct world *w, uint64_t n)
{
	struct kban_event e = ban_event("192.0.2.1");
	struct sealed_report s = seal(w, &w->actors[NODE1], &e, 1);
	struct kban_place place = head_of_log(w);
	uint64_t first = place.seq + 1;

	broker_free(w->b);
	w->b = NULL;
	for (uint64_t seq = first; seq < first + n; seq++) {
		struct kban_entry entry = {seq, w->wall_ms, s.sealed};

		if ((seq - first) % 1000 == 0)
			store_begin(w->disk.inner);
		ledger_chain_next(&place.chain, &place.chain, seq, w->wall_ms, &s.hash);
		place.seq = seq;
		store_append(w->disk.inner, &entry, &place);
		if ((seq - first) % 1000 == 999 || seq == first + n - 1)
			assert_int_equal(store_commit(w->disk.inner), 0);
	}
	free(s.bytes);
	start_broker(w);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_search_over_a_long_log_is_done_a_page_at_a_time(void **state)
{
	struct world *w = *state;
	struct kban_query q = by_prefix("198.51.100.1");
	double worst = 0;
	unsigned pages = 0;

	append_copies(w, 100000);
	kban_message_free(greet(w, &w->actors[READER]));
	q.kind = KBAN_QUERY_LOG;
	q.wait = true;
	do {
		double began = cpu_s();
		ask(w, &w->actors[READER], &q);
		double took = cpu_s() - began;
		kban_auto(kban_message_free) struct kban_message *m = try_take(
			w, w->actors[READER].peer, KBAN_MSG_ANSWER);

		worst = took > worst ? took : worst;
		pages++;
		if (!m)
			break; /* at the head, held */
		assert_int_equal(m->answer.log_n, 0);
		assert_true(m->answer.next > q.after && m->answer.next - q.after <= 2000);
		q.after = m->answer.next;
	} while (q.after);
	assert_true(q.after > 98000);
	assert_true(pages >= 50);
	print_message("%u pages, the longest took %.2f ms of processor time\n", pages,
		      worst * 1000);
}

static void large_rows_make_short_pages(void **state)
{
	struct world *w = *state;
	struct kban_event events[KBAN_EVENTS_MAX];
	char line[KBAN_LINE_MAX];
	struct kban_query q = {.kinds = 1U << KBAN_EVENT_BAN};
	uint64_t seqs[SEQS];
	double worst = 0;

	memset(line, 'x', sizeof(line));
	greet_all(w);
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned n = 0; n < 200; n++) {
			events[n] = ban_event("198.18.0.0");
			events[n].ban.prefix.addr[2] = (uint8_t)i;
			events[n].ban.prefix.addr[3] = (uint8_t)n;
			events[n].ban.line = (struct kban_text){line, sizeof(line)};
		}
		submit(w, &w->actors[OPERATOR], events, 200);
		commit(w);
	}
	assert_int_equal(log_seqs(w, &w->actors[READER], q, seqs, SEQS), 40);
	q.kind = KBAN_QUERY_LOG;
	for (q.after = 1;;) {
		double began = cpu_s();
		ask(w, &w->actors[READER], &q);
		double took = cpu_s() - began;
		kban_auto(kban_message_free) struct kban_message *m = take(
			w, w->actors[READER].peer, KBAN_MSG_ANSWER);

		worst = took > worst ? took : worst;
		assert_true(m->answer.log_n >= 1 && m->answer.log_n <= 4);
		q.after = m->answer.next;
		if (!q.after)
			break;
	}
	print_message("the longest page took %.2f ms of processor time\n", worst * 1000);
}

/* Waiting ------------------------------------------------------------------------------------- */

static struct kban_query waiting_for(struct world *w, const char *prefix)
{
	struct kban_query q = by_prefix(prefix);

	q.kind = KBAN_QUERY_LOG;
	q.wait = true;
	q.after = head_of_log(w).seq;
	return q;
}

static void a_search_that_finds_nothing_waits_for_what_it_asks_for(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q;

	make_varied(w);
	q = waiting_for(w, "192.0.2.0/24");
	ask(w, a, &q);
	commit(w);
	assert_true(nothing_for(w, a->peer));
	submit_ban(w, &w->actors[NODE1], "198.51.100.2");
	commit(w);
	assert_true(nothing_for(w, a->peer));
	submit_ban(w, &w->actors[NODE1], "198.51.100.3");
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	assert_true(nothing_for(w, a->peer)); /* not durable yet */
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer, KBAN_MSG_ANSWER);
	assert_int_equal(m->answer.kind, KBAN_QUERY_LOG);
	assert_int_equal(m->answer.log_n, 1);
	assert_int_equal(m->answer.log[0].seq, 13);
	assert_int_equal(m->answer.next, 0);
	assert_int_equal(m->answer.place.seq, 13);
	submit_ban(w, &w->actors[NODE1], "192.0.2.6");
	commit(w);
	assert_true(nothing_for(w, a->peer)); /* it was answered, once */
}

static void a_search_with_an_author_waits_too(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q = {.kind = KBAN_QUERY_LOG, .wait = true, .after = 10};

	make_varied(w);
	q.author = (struct kban_text){(const char *)&w->actors[NODE2].keys.sign_public, 32};
	ask(w, a, &q);
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	commit(w);
	assert_true(nothing_for(w, a->peer));
	submit_ban(w, &w->actors[NODE2], "192.0.2.6");
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer, KBAN_MSG_ANSWER);
	assert_int_equal(m->answer.log[0].seq, 12);
}

static void what_is_there_is_told_at_once(void **state)
{
	struct world *w = *state;
	struct kban_query q = {.kind = KBAN_QUERY_LOG, .wait = true, .after = 9};

	make_varied(w);
	kban_auto(kban_message_free) struct kban_message *m = answer_to(w, &w->actors[READER], &q);
	assert_int_equal(m->answer.log_n, 1);
}

static void a_peer_has_one_search_that_waits_and_a_new_query_ends_it(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query first, second;

	make_varied(w);
	first = waiting_for(w, "192.0.2.0/24");
	second = waiting_for(w, "198.51.100.0/24");
	for (int i = 0; i < 1000; i++) {
		ask(w, a, &first);
		ask(w, a, &second);
	}
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	commit(w);
	assert_true(nothing_for(w, a->peer));
	submit_ban(w, &w->actors[NODE1], "198.51.100.5");
	commit(w);
	kban_message_free(take(w, a->peer, KBAN_MSG_ANSWER));
	assert_true(nothing_for(w, a->peer));
	first = waiting_for(w, "192.0.2.0/24");
	ask(w, a, &first);
	kban_message_free(answer(w, a, KBAN_QUERY_BANS, 0));
	submit_ban(w, &w->actors[NODE1], "192.0.2.6");
	commit(w);
	assert_true(nothing_for(w, a->peer));
}

static void a_new_session_ends_it_too(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q;

	make_varied(w);
	q = waiting_for(w, "192.0.2.0/24");
	ask(w, a, &q);
	struct kban_message hello = {
		.kind = KBAN_MSG_HELLO,
		.hello = {1, 1, kban_fold_newest, w->identity.cluster, kban_text("test")}};
	send_message(w, a, &hello);
	kban_message_free(take(w, a->peer, KBAN_MSG_WELCOME));
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	commit(w);
	assert_true(nothing_for(w, a->peer));
}

static void who_waits_hears_something_every_twenty_seconds(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q;

	make_varied(w);
	q = waiting_for(w, "192.0.2.0/24");
	for (int minute = 0; minute < 10; minute++) {
		ask(w, a, &q);
		for (int s = 0; s < 19; s++) {
			world_pass(w, 1000);
			broker_tick(w->b);
		}
		assert_true(nothing_for(w, a->peer));
		world_pass(w, 1000);
		broker_tick(w->b);
		kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer,
									   KBAN_MSG_ANSWER);

		assert_int_equal(m->answer.kind, KBAN_QUERY_LOG);
		assert_int_equal(m->answer.log_n, 0);
		assert_int_equal(m->answer.next, 0);
		q.after = m->answer.place.seq;
	}
	for (int s = 0; s < 40; s++) { /* who does not ask again is gone */
		world_pass(w, 1000);
		broker_tick(w->b);
	}
	assert_true(take_cut(w, a->peer));
}

static void who_is_cut_off_while_it_waits_is_forgotten(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_query q;

	make_varied(w);
	q = waiting_for(w, "192.0.2.0/24");
	ask(w, a, &q);
	submit_revoke(w, &w->actors[OPERATOR], &a->keys.sign_public);
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	commit(w);
	assert_null(try_take(w, a->peer, KBAN_MSG_ANSWER));
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_REVOKED);
	assert_true(take_cut(w, a->peer));
	ask(w, &w->actors[OPERATOR], &q);
	broker_gone(w->b, w->actors[OPERATOR].peer);
	forget_sent(w);
	submit_ban(w, &w->actors[NODE1], "192.0.2.6");
	commit(w);
	assert_true(nothing_for(w, w->actors[OPERATOR].peer));
}

#define WATCHERS 30

static void many_who_wait_share_a_bounded_part_of_each_commit(void **state)
{
	struct world *w = *state;
	struct actor watchers[WATCHERS];
	struct kban_query q;
	unsigned answered = 0, before;

	make_varied(w);
	for (int i = 0; i < WATCHERS; i++) {
		watchers[i] = w->actors[READER];
		kban_message_free(greet(w, &watchers[i]));
	}
	q = waiting_for(w, "192.0.2.0/24");
	for (int i = 0; i < WATCHERS; i++)
		ask(w, &watchers[i], &q);
	for (int i = 0; i < 500; i++)
		submit_ban(w, &w->actors[NODE1], "198.51.100.9");
	submit_ban(w, &w->actors[NODE1], "192.0.2.5");
	forget_sent(w);
	commit(w);
	for (int ticks = 0;; ticks++) {
		before = answered;
		for (int i = 0; i < WATCHERS; i++) {
			struct kban_message *m = try_take(w, watchers[i].peer, KBAN_MSG_ANSWER);

			answered += m != NULL;
			if (m)
				assert_int_equal(m->answer.log[0].seq, 511);
			kban_message_free(m);
		}
		assert_true(answered > before); /* some each time, and never all at once */
		assert_true(answered - before <= 8);
		if (answered == WATCHERS)
			break;
		broker_tick(w->b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(a_row_has_the_signed_report_and_what_became_of_each_event),
		world_test(outcomes_survive_a_restart),
		world_test(a_log_of_an_older_broker_gets_its_outcomes_at_the_start),
		world_test(a_full_disk_keeps_no_older_log_from_being_served),
		world_test(what_a_full_disk_took_back_is_not_shown),
		world_test(a_lifted_ban_is_shown_as_ended),
		world_test(a_prefix_finds_what_is_inside_and_what_covers_it),
		world_test(kinds_author_and_time_narrow_it_down),
		world_test(kind_and_prefix_must_be_the_same_events),
		world_test(places_past_the_head_find_nothing),
		world_test(a_search_over_a_long_log_is_done_a_page_at_a_time),
		world_test(large_rows_make_short_pages),
		world_test(a_search_that_finds_nothing_waits_for_what_it_asks_for),
		world_test(a_search_with_an_author_waits_too),
		world_test(what_is_there_is_told_at_once),
		world_test(a_peer_has_one_search_that_waits_and_a_new_query_ends_it),
		world_test(a_new_session_ends_it_too),
		world_test(who_waits_hears_something_every_twenty_seconds),
		world_test(who_is_cut_off_while_it_waits_is_forgotten),
		world_test(many_who_wait_share_a_bounded_part_of_each_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
