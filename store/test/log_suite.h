/* SPDX-License-Identifier: MPL-2.0
 *
 * What every engine behind store/log.h must do, as one suite. A test program includes this file,
 * fills log_suite and runs log_suite_tests with cmocka. open() gives the one store of the current
 * test, on the cluster log_suite_cluster; after store_close() the next open() finds what was
 * durable. wipe() removes it.
 */
#ifndef KBAN_STORE_TEST_LOG_SUITE_H
#define KBAN_STORE_TEST_LOG_SUITE_H

#include "store/steps.h"
#include "store/test/entries.h"

struct log_suite {
	struct store *(*open)(void);
	void (*wipe)(void);
};

static struct log_suite log_suite;
static const struct kban_cluster_id log_suite_cluster = {"sixteen bytes..."};

/* Setting up -------------------------------------------------------------------------------- */

static int suite_setup(void **state)
{
	log_suite.wipe();
	*state = log_suite.open();
	return *state ? 0 : -1;
}

static int suite_teardown(void **state)
{
	store_close(*state);
	log_suite.wipe();
	return 0;
}

static inline struct store *suite_reopen(void **state)
{
	store_close(*state);
	*state = log_suite.open();
	assert_non_null(*state);
	return *state;
}

#include "store/test/log_suite_horizon.h"

/* The log ----------------------------------------------------------------------------------- */

static void an_empty_log_begins_at_the_genesis(void **state)
{
	struct kban_span id = kban_span(log_suite_cluster.b, KBAN_CLUSTER_SIZE);
	struct kban_hash genesis, chain;
	struct store_head head;

	kban_hash_spans(&genesis, "kban chain genesis v1", &id, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_head(*state, &head), 0);
		assert_int_equal(head.place.seq, 0);
		assert_int_equal(head.place.epoch, 1);
		assert_int_equal(head.horizon, 0);
		assert_memory_equal(&head.place.chain, &genesis, sizeof(genesis));
		assert_memory_equal(&head.horizon_chain, &genesis, sizeof(genesis));
		assert_int_equal(store_chain(*state, 0, &chain), 0);
		assert_memory_equal(&chain, &genesis, sizeof(genesis));
		check_entries(*state, 0);
		suite_reopen(state);
	}
}

static void append_survives_reopen(void **state)
{
	struct store_head head;

	append_entries(*state, 1, 1, 300);
	append_entries(*state, 2, 3, 17);
	struct store *s = suite_reopen(state);
	check_entries(s, 4);
	assert_int_equal(store_head(s, &head), 0);
	make_entry(&made, 4, 17);
	assert_memory_equal(&head.place.chain, &made.after.chain, sizeof(struct kban_hash));
	assert_int_equal(head.place.epoch, made.after.epoch);
	assert_int_equal(head.accepted_ms, made.entry.accepted_ms);
	append_entries(s, 5, 1, 1);
	check_entries(s, 5);
}

static void a_half_done_transaction_is_not_visible(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 2, 50);
	store_begin(s);
	stage_entry(s, 3, 50);
	put_text(s, "k", "v");
	check_entries(s, 2);
	check_row(s, "k", NULL);
	s = suite_reopen(state);
	check_entries(s, 2);
	check_row(s, "k", NULL);
}

static void an_abort_leaves_nothing(void **state)
{
	struct store *s = *state;

	store_begin(s);
	stage_entry(s, 1, 50);
	put_text(s, "k", "v");
	store_abort(s);
	check_entries(s, 0);
	check_row(s, "k", NULL);
	append_entries(s, 1, 1, 60);
	check_entries(s, 1);
}

static void an_empty_transaction_commits(void **state)
{
	store_begin(*state);
	assert_int_equal(store_commit(*state), 0);
	check_entries(*state, 0);
}

static void the_smallest_and_the_largest_report_fit(void **state)
{
	append_entries(*state, 1, 1, 1);
	append_entries(*state, 2, 2, KBAN_REPORT_MAX);
	append_entries(*state, 4, 1, 1);
	check_entries(suite_reopen(state), 4);
}

static void read_begins_after_and_ends_at_max(void **state)
{
	static const struct {
		uint64_t after;
		size_t max, n;
	} cases[] = {
		{0, SIZE_MAX, 20}, {0, 5, 5},  {7, 5, 5},	   {18, 5, 2},
		{20, 5, 0},	   {99, 5, 0}, {UINT64_MAX, 5, 0}, {3, 0, 0},
	};

	append_entries(*state, 1, 20, 300);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		struct counted c = {.next = cases[i].after + 1};
		assert_int_equal(store_read(*state, cases[i].after, cases[i].max, count_entry, &c),
				 0);
		assert_int_equal(c.n, cases[i].n);
	}
}

static void read_stops_when_told(void **state)
{
	struct counted c = {.next = 4, .stop_at = 3};

	append_entries(*state, 1, 20, 300);
	assert_int_equal(store_read(*state, 3, SIZE_MAX, count_entry, &c), 99);
	assert_int_equal(c.n, 3);
}

static void every_entry_has_its_chain(void **state)
{
	struct kban_hash chain, want;

	append_entries(*state, 1, 10, 30);
	for (uint64_t seq = 1; seq <= 10; seq++) {
		assert_int_equal(store_chain(*state, seq, &chain), 0);
		made_chain(&want, seq);
		assert_memory_equal(&chain, &want, sizeof(want));
	}
	assert_int_equal(store_chain(*state, 11, &chain), STORE_NOT_FOUND);
	assert_int_equal(store_chain(*state, UINT64_MAX, &chain), STORE_NOT_FOUND);
}

static int look_up_chain(void *arg, const struct kban_entry *e)
{
	struct kban_hash chain, want;

	made_chain(&want, e->seq);
	assert_int_equal(store_chain(arg, e->seq, &chain), 0);
	assert_memory_equal(&chain, &want, sizeof(want));
	return 0;
}

static void a_callback_may_look_things_up(void **state)
{
	append_entries(*state, 1, 5, 30);
	assert_int_equal(store_read(*state, 0, SIZE_MAX, look_up_chain, *state), 0);
}

static void a_thousand_at_once_keep_their_order(void **state)
{
	append_entries(*state, 1, 1000, 300);
	append_entries(*state, 1001, 1000, 300);
	check_entries(*state, 2000);
	check_entries(suite_reopen(state), 2000);
}

/* Refusals: the first error of any step is what commit returns ------------------------------ */

static void refused(struct store *s)
{
	put_text(s, "after", "the error");
	assert_int_equal(store_commit(s), -EINVAL);
	assert_true(strlen(store_error(s)) > 0);
	check_row(s, "before", NULL);
	check_row(s, "after", NULL);
	check_entries(s, 2);
}

static struct store *refusal_begins(void **state)
{
	append_entries(*state, 1, 2, 30);
	store_begin(*state);
	put_text(*state, "before", "the error");
	return *state;
}

static void a_gap_is_refused(void **state)
{
	struct store *s = refusal_begins(state);

	stage_entry(s, 3, 10);
	stage_entry(s, 5, 10);
	refused(s);
	append_entries(s, 3, 1, 10);
	check_entries(s, 3);
}

static void a_repetition_is_refused(void **state)
{
	struct store *s = refusal_begins(state);

	stage_entry(s, 2, 10);
	refused(s);
}

static void a_report_outside_the_limits_is_refused(void **state)
{
	struct store *s = refusal_begins(state);

	make_entry(&made, 3, 10);
	made.entry.sealed.report_len = 0;
	store_append(s, &made.entry, &made.after);
	refused(s);
	store_begin(s);
	made.entry.sealed.report_len = KBAN_REPORT_MAX + 1;
	store_append(s, &made.entry, &made.after);
	refused(s);
}

static void a_row_outside_the_limits_is_refused(void **state)
{
	static const uint8_t long_key[STORE_ROW_KEY_MAX + 1];
	uint8_t *value = NULL;
	size_t len;
	struct store *s = refusal_begins(state);

	store_put(s, kban_span(long_key, sizeof(long_key)), text_span("v"));
	refused(s);
	store_begin(s);
	put_text(s, "", "v");
	refused(s);
	store_begin(s);
	store_delete(s, kban_span(long_key, sizeof(long_key)));
	refused(s);
	assert_int_equal(store_get(s, kban_span(long_key, sizeof(long_key)), &value, &len),
			 STORE_NOT_FOUND);
	assert_int_equal(store_get(s, text_span(""), &value, &len), STORE_NOT_FOUND);
}

static void a_transaction_has_a_limit(void **state)
{
	struct store *s = *state;

	store_begin(s);
	for (uint64_t seq = 1; seq <= STORE_BATCH_MAX / KBAN_REPORT_MAX + 1; seq++)
		stage_entry(s, seq, KBAN_REPORT_MAX);
	assert_int_equal(store_commit(s), -E2BIG);
	check_entries(s, 0);
	append_entries(s, 1, 1, 10);
	check_entries(s, 1);
}

/* Rows -------------------------------------------------------------------------------------- */

static void rows_change_with_the_append(void **state)
{
	struct store *s = *state;

	store_begin(s);
	put_text(s, "o1", "waits");
	assert_int_equal(store_commit(s), 0);
	store_begin(s);
	store_delete(s, text_span("o1"));
	stage_entry(s, 1, 100);
	put_text(s, "p", "17");
	assert_int_equal(store_commit(s), 0);
	s = suite_reopen(state);
	check_entries(s, 1);
	check_row(s, "o1", NULL);
	check_row(s, "p", "17");
}

static void rows_with_a_prefix_come_in_byte_order(void **state)
{
	struct store *s = *state;

	store_begin(s);
	put_text(s, "ob", "3");
	put_text(s, "p", "5");
	put_text(s, "o", "1");
	put_text(s, "oa", "2");
	put_text(s, "n\xff", "0");
	put_text(s, "o\xff", "4");
	assert_int_equal(store_commit(s), 0);
	check_rows(s, "o", "o=1 oa=2 ob=3 o\xff=4 ");
	check_rows(s, "oa", "oa=2 ");
	check_rows(s, "q", "");
	check_rows(s, "o\xff\xff", "");
	check_rows(suite_reopen(state), "", "n\xff=0 o=1 oa=2 ob=3 o\xff=4 p=5 ");
}

static void the_last_step_on_a_row_counts(void **state)
{
	struct store *s = *state;

	store_begin(s);
	put_text(s, "a", "old");
	put_text(s, "a", "new, and longer");
	put_text(s, "b", "gone");
	store_delete(s, text_span("b"));
	store_delete(s, text_span("never there"));
	put_text(s, "c", "");
	assert_int_equal(store_commit(s), 0);
	check_row(s, "a", "new, and longer");
	check_row(s, "b", NULL);
	check_row(s, "c", "");
}

static void steps_are_copied(void **state)
{
	char key[] = "key", value[] = "value";

	store_begin(*state);
	put_text(*state, key, value);
	memset(key, 'x', 3);
	memset(value, 'x', 5);
	assert_int_equal(store_commit(*state), 0);
	check_row(*state, "key", "value");
}

static int stop_at_second(void *arg, struct kban_span key, struct kban_span value)
{
	(void)key;
	(void)value;
	return ++*(int *)arg == 2 ? 7 : 0;
}

static void rows_stop_when_told(void **state)
{
	int n = 0;

	store_begin(*state);
	put_text(*state, "a", "1");
	put_text(*state, "b", "2");
	put_text(*state, "c", "3");
	assert_int_equal(store_commit(*state), 0);
	assert_int_equal(store_rows(*state, text_span(""), stop_at_second, &n), 7);
	assert_int_equal(n, 2);
}

/* Random transactions against an array. */
enum { MODEL_KEYS = 48, MODEL_ROUNDS = 300 };

static void model_steps(struct store *s, uint32_t *x, uint16_t *model)
{
	for (unsigned i = next_random(x) % 12; i; i--) {
		uint8_t key[2] = {'k', (uint8_t)(next_random(x) % MODEL_KEYS)};
		static uint8_t value[3000];
		uint16_t len = (uint16_t)(next_random(x) % sizeof(value));

		memset(value, (uint8_t)len, len);
		if (len % 3 == 0)
			store_delete(s, kban_span(key, 2));
		else
			store_put(s, kban_span(key, 2), kban_span(value, len));
		model[key[1]] = len % 3 == 0 ? 0 : len;
	}
}

static void model_check(struct store *s, const uint16_t *model, uint64_t head)
{
	check_entries(s, head);
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		uint8_t key[2] = {'k', (uint8_t)i}, *value = NULL;
		size_t len = 0;
		int r = store_get(s, kban_span(key, 2), &value, &len);
		assert_int_equal(r, model[i] ? 0 : STORE_NOT_FOUND);
		assert_int_equal(len, model[i]);
		assert_true(!len || value[len - 1] == (uint8_t)len);
		free(value);
	}
}

static void random_transactions_match_a_model(void **state)
{
	const char *given = getenv("KBAN_TEST_SEED");
	uint32_t x = given ? (uint32_t)strtoul(given, NULL, 10) : 20240817;
	uint16_t model[MODEL_KEYS] = {0}, next[MODEL_KEYS];
	uint64_t head = 0;

	x = x ? x : 1;
	print_message("seed %u (KBAN_TEST_SEED)\n", x);
	for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
		memcpy(next, model, sizeof(model));
		store_begin(*state);
		model_steps(*state, &x, next);
		unsigned what = next_random(&x) % 8, entries = next_random(&x) % 4;
		for (unsigned i = 0; i < entries; i++)
			stage_entry(*state, head + 1 + i, 1 + next_random(&x) % 5000);
		if (what == 0)
			store_abort(*state);
		else if (what > 1)
			assert_int_equal(store_commit(*state), 0);
		if (what < 2) { /* 1: closed with the transaction open */
			suite_reopen(state);
		} else {
			memcpy(model, next, sizeof(model));
			head += entries;
		}
		if (round % 10 == 0 || what < 2)
			model_check(*state, model, head);
	}
}

/* The watcher ------------------------------------------------------------------------------- */

struct watched {
	struct store *s;
	unsigned calls;
	uint64_t seq;
};

static void note_head(void *arg, const struct store_head *head)
{
	struct watched *w = arg;

	w->calls++;
	w->seq = head->place.seq;
	check_entries(w->s, head->place.seq);
}

static void the_watcher_hears_of_durable_appends_only(void **state)
{
	struct watched w = {.s = *state};
	struct store *s = *state;

	store_watch(s, note_head, &w);
	append_entries(s, 1, 3, 10);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.seq, 3);
	store_begin(s);
	put_text(s, "k", "v");
	assert_int_equal(store_commit(s), 0);
	store_begin(s);
	stage_entry(s, 4, 10);
	store_abort(s);
	store_begin(s);
	stage_entry(s, 9, 10);
	assert_int_equal(store_commit(s), -EINVAL);
	assert_int_equal(w.calls, 1);
	append_entries(s, 4, 1, 10);
	assert_int_equal(w.calls, 2);
	assert_int_equal(w.seq, 4);
}

static void commit_once_more(void *arg, const struct store_head *head)
{
	struct watched *w = arg;

	w->calls++;
	if (head->place.seq < 3)
		append_entries(w->s, head->place.seq + 1, 1, 10);
}

static void the_watcher_may_commit(void **state)
{
	struct watched w = {.s = *state};

	store_watch(*state, commit_once_more, &w);
	append_entries(*state, 1, 1, 10);
	assert_int_equal(w.calls, 3);
	check_entries(*state, 3);
}

static void results_have_names(void **state)
{
	(void)state;
	assert_string_equal(store_result_name(0), "ok");
	assert_string_equal(store_result_name(STORE_FULL), "full");
	assert_string_equal(store_result_name(STORE_DAMAGED), "damaged");
	assert_string_equal(store_result_name(STORE_DAMAGED + 1), "unknown");
	assert_string_equal(store_result_name(-EIO), "failed");
}

#define SUITE_TEST(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

static const struct CMUnitTest log_suite_tests[] = {
	SUITE_TEST(an_empty_log_begins_at_the_genesis),
	SUITE_TEST(append_survives_reopen),
	SUITE_TEST(a_half_done_transaction_is_not_visible),
	SUITE_TEST(an_abort_leaves_nothing),
	SUITE_TEST(an_empty_transaction_commits),
	SUITE_TEST(the_smallest_and_the_largest_report_fit),
	SUITE_TEST(read_begins_after_and_ends_at_max),
	SUITE_TEST(read_stops_when_told),
	SUITE_TEST(every_entry_has_its_chain),
	SUITE_TEST(a_callback_may_look_things_up),
	SUITE_TEST(a_thousand_at_once_keep_their_order),
	SUITE_TEST(a_gap_is_refused),
	SUITE_TEST(a_repetition_is_refused),
	SUITE_TEST(a_report_outside_the_limits_is_refused),
	SUITE_TEST(a_row_outside_the_limits_is_refused),
	SUITE_TEST(a_transaction_has_a_limit),
	SUITE_TEST(rows_change_with_the_append),
	SUITE_TEST(rows_with_a_prefix_come_in_byte_order),
	SUITE_TEST(the_last_step_on_a_row_counts),
	SUITE_TEST(steps_are_copied),
	SUITE_TEST(rows_stop_when_told),
	SUITE_TEST(random_transactions_match_a_model),
	SUITE_TEST(the_watcher_hears_of_durable_appends_only),
	SUITE_TEST(the_watcher_may_commit),
	SUITE_TEST(results_have_names),
	SUITE_TEST(above_the_horizon_nothing_changes),
	SUITE_TEST(what_is_dropped_leaves_a_gap),
	SUITE_TEST(everything_below_the_horizon_may_go),
	SUITE_TEST(the_horizon_only_moves_forward),
	SUITE_TEST(a_horizon_above_the_head_becomes_the_head),
	SUITE_TEST(an_append_may_follow_a_new_head_at_once),
	SUITE_TEST(above_the_horizon_nothing_is_kept_or_dropped),
	SUITE_TEST(what_is_kept_replaces_what_was_there),
	SUITE_TEST(drops_and_keeps_are_all_or_nothing),
	SUITE_TEST(random_horizons_match_a_model),
};

#endif
