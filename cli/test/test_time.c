/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/time.h"

#define DAY 86400000ULL

static void durations_read_as_people_write_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows[] = {
		{"90s", 90000},	 {"5m", 300000},      {"1h", 3600000},
		{"7d", 7 * DAY}, {"1h30m", 5400000},  {"1d2h3m4s5ms", DAY + 7384005},
		{"500ms", 500},	 {"366d", 366 * DAY},
	};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		assert_true(duration_parse(&ms, rows[i].text, 366 * DAY));
		assert_int_equal(ms, rows[i].ms);
	}
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"0s",
		"90",
		"s",
		"1x",
		"-1s",
		"1s1m",
		"1m1m",
		" 1s",
		"1s ",
		"1.5h",
		"367d",
		"999999999999999d",
		"9999999999999999s",
		"1h 30m",
		"1hh",
		"1msm",
		"0x1s",
	};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		assert_false(duration_parse(&ms, rows[i], 366 * DAY));
}

static void durations_show_their_two_longest_units(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} rows[] = {
		{0, "0s"},
		{12, "12ms"},
		{999, "999ms"},
		{1500, "1s"},
		{90000, "1m30s"},
		{3600000, "1h"},
		{3605000, "1h"},
		{DAY + 7384005, "1d2h"},
		{2 * DAY + 300000, "2d"},
	};
	char out[DURATION_TEXT];

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		assert_string_equal(duration_format(out, rows[i].ms), rows[i].text);
}

static void times_are_rfc_3339_in_utc(void **state)
{
	char out[TIME_TEXT];

	(void)state;
	assert_string_equal(time_format(out, 0), "1970-01-01T00:00:00Z");
	assert_string_equal(time_format(out, 1772360430999), "2026-03-01T10:20:30Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_read_as_people_write_them),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(durations_show_their_two_longest_units),
		cmocka_unit_test(times_are_rfc_3339_in_utc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
