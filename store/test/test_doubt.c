/* SPDX-License-Identifier: MPL-2.0
 *
 * When a clock is not to be trusted with dropping a part of the log.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/doubt.h"

#define NOW_MS 1790000000000ULL
#define DAY_MS 86400000ULL

struct clocks {
	uint64_t wall_ms, boot_ms;
};

static uint64_t wall(void *arg)
{
	return ((struct clocks *)arg)->wall_ms;
}

static uint64_t boot(void *arg)
{
	return ((struct clocks *)arg)->boot_ms;
}

static struct clocks clocks;
static const struct kban_clock system_clock = {wall, boot, &clocks};

static int clocks_set(void **state)
{
	(void)state;
	clocks = (struct clocks){NOW_MS, 1000};
	return 0;
}

static void pass(uint64_t ms)
{
	clocks.wall_ms += ms;
	clocks.boot_ms += ms;
}

static void a_log_in_the_future_is_doubted_until_its_time_has_come(void **state)
{
	struct doubt d = {0};

	(void)state;
	assert_false(doubt_look(&d, &system_clock, NOW_MS + DOUBT_STEP_MS));
	assert_true(doubt_look(&d, &system_clock, NOW_MS + DOUBT_STEP_MS + 1));
	pass(1);
	assert_false(doubt_look(&d, &system_clock, NOW_MS + DOUBT_STEP_MS + 1));
}

static void a_step_is_doubted_for_a_day_from_the_look_that_sees_it(void **state)
{
	struct doubt d = {0};

	(void)state;
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
	clocks.wall_ms += DOUBT_STEP_MS;
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
	clocks.wall_ms += DOUBT_STEP_MS + 1;
	assert_true(doubt_look(&d, &system_clock, NOW_MS));
	pass(DOUBT_LAST_MS / 2);
	clocks.wall_ms -= DOUBT_STEP_MS + 1; /* and again */
	assert_true(doubt_look(&d, &system_clock, NOW_MS));
	pass(DOUBT_LAST_MS - 1);
	assert_true(doubt_look(&d, &system_clock, NOW_MS));
	pass(1);
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
}

static void time_that_passes_is_no_step(void **state)
{
	struct doubt d = {0};

	(void)state;
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
	pass(1000 * DAY_MS);
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
}

static void a_start_more_than_a_day_after_the_log_is_doubted_for_a_day(void **state)
{
	struct doubt d;

	(void)state;
	doubt_start(&d, &system_clock, NOW_MS - DAY_MS);
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
	doubt_start(&d, &system_clock, NOW_MS - DAY_MS - 1);
	assert_true(doubt_look(&d, &system_clock, NOW_MS));
	pass(DAY_MS);
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
	doubt_start(&d, &system_clock, 0); /* a new log */
	assert_false(doubt_look(&d, &system_clock, NOW_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_log_in_the_future_is_doubted_until_its_time_has_come,
				       clocks_set),
		cmocka_unit_test_setup(a_step_is_doubted_for_a_day_from_the_look_that_sees_it,
				       clocks_set),
		cmocka_unit_test_setup(time_that_passes_is_no_step, clocks_set),
		cmocka_unit_test_setup(a_start_more_than_a_day_after_the_log_is_doubted_for_a_day,
				       clocks_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
