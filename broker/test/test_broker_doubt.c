/* SPDX-License-Identifier: MPL-2.0
 *
 * When a broker does not compact although it is time: clocks that are doubted, outcomes that are
 * not complete.
 */
#include <string.h>
#include <unistd.h>

#include "broker/outcomes.h"
#include "proto/log.h"
/* after these: it has a short name for an attribute */
#include "broker/test/asking.h"

#define DAY_MS (24 * HOUR_MS)
#define STEP_MS 300000

static void ban_and_not(struct world *w, const char *address)
{
	struct kban_event two[] = {ban_event(address), ban_event("127.0.0.1")};

	submit(w, &w->actors[NODE1], two, 2);
	commit(w);
	forget_sent(w);
}

static void live(struct world *w, unsigned days)
{
	for (unsigned i = 0; i < days; i++) {
		unsigned day = (unsigned)((w->wall_ms - WORLD_START_MS) / DAY_MS);
		char address[32];

		world_pass(w, DAY_MS);
		snprintf(address, sizeof(address), "198.18.%u.%u", day / 250, day % 250);
		ban_and_not(w, address);
	}
}

static void tick(struct world *w)
{
	broker_tick(w->b);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(broker_work(w->b), 0);
	greet_all(w);
	forget_sent(w);
}

static bool compacts(struct world *w)
{
	uint64_t before = broker_counts(w->b)->compactions;

	tick(w);
	return broker_counts(w->b)->compactions > before;
}

static int count_entry(void *arg, const struct kban_entry *e)
{
	(void)e;
	++*(size_t *)arg;
	return 0;
}

static size_t entries(struct world *w)
{
	size_t n = 0;

	assert_int_equal(store_read(w->disk.inner, 0, SIZE_MAX, count_entry, &n), 0);
	return n;
}

/* Clocks --------------------------------------------------------------------------------------- */

static void one_report_under_a_clock_that_was_a_year_ahead_costs_no_history(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 60);
	assert_false(compacts(w));
	w->wall_ms += 365 * DAY_MS;
	ban_and_not(w, "198.18.9.9");
	w->wall_ms -= 365 * DAY_MS;
	assert_false(compacts(w));
	assert_int_equal(entries(w), 62);
	restart_broker(w);
	world_pass(w, 30 * DAY_MS);
	assert_false(compacts(w));
	assert_int_equal(entries(w), 62);
	world_pass(w, 335 * DAY_MS - STEP_MS); /* the clock has come there */
	assert_true(compacts(w));
}

static void a_clock_that_stepped_is_not_trusted_for_a_day(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 80);
	assert_false(compacts(w));
	w->wall_ms += 200 * DAY_MS;
	ban_and_not(w, "198.18.9.9");
	assert_false(compacts(w));
	world_pass(w, DAY_MS - 1);
	assert_false(compacts(w));
	world_pass(w, 1);
	assert_true(compacts(w));
}

static void a_step_back_is_one_too(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 200);
	w->wall_ms -= STEP_MS + 1;
	assert_false(compacts(w));
	world_pass(w, HOUR_MS); /* the log is not ahead any more */
	assert_false(compacts(w));
	world_pass(w, DAY_MS - HOUR_MS);
	assert_true(compacts(w));
}

static void a_small_step_is_not_doubted(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 200);
	w->wall_ms -= STEP_MS;
	assert_true(compacts(w));
}

static void a_start_long_after_the_log_ended_is_not_trusted_for_a_day(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 80);
	world_pass(w, 200 * DAY_MS);
	restart_broker(w);
	greet_all(w);
	ban_and_not(w, "198.18.9.9");
	assert_false(compacts(w));
	world_pass(w, DAY_MS - 1);
	assert_false(compacts(w));
	world_pass(w, 1);
	assert_true(compacts(w));
}

static void a_start_within_a_day_of_the_log_compacts_at_once(void **state)
{
	struct world *w = *state;

	greet_all(w);
	live(w, 200);
	world_pass(w, DAY_MS);
	restart_broker(w);
	assert_true(compacts(w));
}

static int grab_stderr(int *file)
{
	char path[] = "/tmp/test_broker_doubt.XXXXXX";
	int before = dup(STDERR_FILENO);

	*file = mkstemp(path);
	assert_true(*file >= 0 && before >= 0);
	unlink(path);
	assert_true(dup2(*file, STDERR_FILENO) >= 0);
	kban_log_setup("test", KBAN_LOG_WARNING);
	return before;
}

static size_t lines_with(int file, int before, const char *words)
{
	char text[8192] = "";
	size_t n = 0;

	assert_true(dup2(before, STDERR_FILENO) >= 0);
	close(before);
	assert_true(pread(file, text, sizeof(text) - 1, 0) >= 0);
	close(file);
	for (const char *at = text; (at = strstr(at, words)); at++)
		n++;
	return n;
}

static void each_doubt_is_said_once(void **state)
{
	struct world *w = *state;
	int file;

	greet_all(w);
	live(w, 200);
	w->wall_ms -= HOUR_MS;
	int before = grab_stderr(&file);
	for (int i = 0; i < 3; i++)
		assert_false(compacts(w));
	assert_int_equal(lines_with(file, before,
				    "nothing is dropped from the log; check the time service"),
			 1);
	world_pass(w, 2 * DAY_MS);
	assert_true(compacts(w));
	live(w, 20);
	w->wall_ms += HOUR_MS;
	before = grab_stderr(&file);
	assert_false(compacts(w));
	assert_int_equal(lines_with(file, before, "clock was put 3600 s forward"), 1);
}

/* Outcomes ------------------------------------------------------------------------------------- */

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

/* Its second event did not count: an operator's long ban, whose report stays as evidence. */
static void assert_evidence_has_its_outcomes(struct world *w, uint64_t seq)
{
	uint32_t outcomes[2];

	assert_int_equal(outcomes_get(w->disk.inner, seq, outcomes, 2), 0);
	assert_int_equal(outcomes[0], KBAN_OUTCOME_COUNTED);
	assert_int_equal(outcomes[1], KBAN_OUTCOME_NEVER_BAN);
}

static void nothing_is_compacted_while_outcomes_are_incomplete(void **state)
{
	struct world *w = *state;
	struct kban_event two[] = {ban_event("203.0.113.1"), ban_event("127.0.0.1")};

	two[0].ban.duration_ms = 300 * DAY_MS;
	greet_all(w);
	submit(w, &w->actors[OPERATOR], two, 2);
	commit(w);
	live(w, 200);
	forget_outcomes(w);
	w->disk.full = true;
	start_broker(w);
	w->disk.full = false;
	assert_false(compacts(w));
	restart_broker(w);
	assert_true(compacts(w));
	assert_true(broker_counts(w->b)->horizon > 2);
	assert_evidence_has_its_outcomes(w, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(one_report_under_a_clock_that_was_a_year_ahead_costs_no_history),
		world_test(a_clock_that_stepped_is_not_trusted_for_a_day),
		world_test(a_step_back_is_one_too),
		world_test(a_small_step_is_not_doubted),
		world_test(a_start_long_after_the_log_ended_is_not_trusted_for_a_day),
		world_test(a_start_within_a_day_of_the_log_compacts_at_once),
		world_test(each_doubt_is_said_once),
		world_test(nothing_is_compacted_while_outcomes_are_incomplete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
