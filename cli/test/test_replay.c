/* SPDX-License-Identifier: MPL-2.0
 *
 * replay on files, with a machine's zone and a clock of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/command.h"

struct world {
	char path[64];
	char *out, *err;
	json_t *result;
};

static uint64_t wall(void *arg)
{
	(void)arg;
	return 1700000000000;
}

static uint64_t boot(void *arg)
{
	(void)arg;
	return 1000;
}

static const struct kban_clock clock_fixed = {wall, boot, NULL};

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	strcpy(w->path, "/tmp/kbanctl-replay.XXXXXX");
	int fd = mkstemp(w->path);
	if (fd < 0)
		return -1;
	close(fd);
	*state = w;
	return 0;
}

static void result_drop(struct world *w)
{
	json_decref(w->result);
	free(w->out);
	free(w->err);
	w->result = NULL;
	w->out = w->err = NULL;
}

static int teardown(void **state)
{
	struct world *w = *state;

	unlink(w->path);
	result_drop(w);
	free(w);
	return 0;
}

static int replay(struct world *w, const char *option, const char *value)
{
	const char *words[] = {"kbanctl", "replay", "-o", "json", w->path, option, value};
	char *argv[KBAN_ARRAY_LEN(words)];
	int argc = option ? 7 : 5;
	size_t out_n, err_n;

	result_drop(w);
	FILE *out = open_memstream(&w->out, &out_n), *err = open_memstream(&w->err, &err_n);
	for (int i = 0; i < argc; i++)
		argv[i] = kban_strdup(words[i]);
	int r = cli_main(argc, argv, out, err, &clock_fixed);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	fclose(out);
	fclose(err);
	w->result = json_loads(w->out, 0, NULL);
	return r;
}

static void file_put(struct world *w, const char *text)
{
	FILE *f = fopen(w->path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* n failures of an address at one moment. */
static void attack(char *text, const char *stamp, const char *address, unsigned n)
{
	for (; n; n--)
		sprintf(text + strlen(text), "[%s] IMAP: Invalid password for user a. Attempt from IP address %s\n", stamp, address);
}

static size_t bans_n(const struct world *w)
{
	return json_array_size(json_object_get(w->result, "bans"));
}

static const char *ban_text(const struct world *w, size_t i, const char *name)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(w->result, "bans"), i), name));
}

static void lines_are_local_time(void **state)
{
	struct world *w = *state;
	char text[8192] = "";

	attack(text, "01/Jul/2022 12:00:00", "198.51.100.7", 10);
	attack(text, "01/Jan/2023 12:00:00", "198.51.100.8", 10);
	attack(text, "01/Jan/2023 12:14:59", "198.51.100.9", 10);
	file_put(w, text);
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_int_equal(bans_n(w), 3);
	assert_string_equal(ban_text(w, 0, "at"), "2022-07-01T10:00:00Z");
	assert_string_equal(ban_text(w, 1, "at"), "2023-01-01T11:00:00Z");
	assert_string_equal(ban_text(w, 2, "at"), "2023-01-01T11:14:59Z");
	assert_string_equal(ban_text(w, 2, "until"), "2023-01-01T11:19:59Z");
	assert_int_equal(json_integer_value(json_object_get(w->result, "lines")), 30);
}

static void clocks_that_are_set_forward_cost_no_window(void **state)
{
	struct world *w = *state;
	char text[8192] = "";

	attack(text, "27/Mar/2022 01:59:50", "198.51.100.7", 5);
	attack(text, "27/Mar/2022 03:00:20", "198.51.100.7", 5);
	file_put(w, text);
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_int_equal(bans_n(w), 1);
	assert_string_equal(ban_text(w, 0, "at"), "2022-03-27T01:00:20Z");
}

static void what_nobody_may_ban_is_not_banned(void **state)
{
	struct world *w = *state;
	char text[8192] = "";

	attack(text, "01/Jul/2022 12:00:00", "127.0.0.1", 20);
	attack(text, "01/Jul/2022 12:00:00", "fe80::1", 20);
	attack(text, "01/Jul/2022 12:00:00", "mx.example.com", 20);
	file_put(w, text);
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_string_equal(w->out, "{\"lines\": 60, \"seconds\": 0.000, \"bans\": []}\n");
}

static void each_threshold_is_checked(void **state)
{
	static const char *const bad[][2] = {{"--failures", "0"}, {"--failures", "1001"}, {"--failures", "1m"},
					     {"--failures", "-1"}, {"--check-time", "86401"}, {"--check-time", "25h"},
					     {"--check-time", ""}, {"--block-time", "367d"}, {"--block-time", "100ms"}};
	struct world *w = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		if (replay(w, bad[i][0], bad[i][1]) != CLI_USAGE)
			fail_msg("%s %s", bad[i][0], bad[i][1]);
		assert_string_equal(w->out, "");
		assert_non_null(strstr(w->err, bad[i][0]));
	}
	assert_int_equal(replay(w, "--check-time", "1d"), CLI_OK);
}

static void lines_of_any_length_are_read(void **state)
{
	struct world *w = *state;
	size_t n = 3 << 20;
	char *text = kban_zalloc(n + 4096);

	attack(text, "01/Jul/2022 12:00:00", "198.51.100.7", 5);
	memset(text + strlen(text), 'x', n);
	strcat(text, "\n");
	attack(text + n, "01/Jul/2022 12:00:00", "198.51.100.7", 5);
	text[strlen(text) - 1] = 0; /* no newline at the end */
	file_put(w, text);
	free(text);
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_int_equal(json_integer_value(json_object_get(w->result, "lines")), 11);
	assert_int_equal(bans_n(w), 1);
	assert_non_null(strstr(w->err, "1 lines over 64 KiB were skipped"));
}

/* A shell's security.log* gives the newest first. */
static void logs_in_the_wrong_order_are_told(void **state)
{
	struct world *w = *state, older;
	char text[8192] = "";

	attack(text, "01/Jul/2022 12:00:00", "198.51.100.7", 5);
	file_put(w, text);
	snprintf(older.path, sizeof(older.path), "%s.1", w->path);
	*text = 0;
	attack(text, "01/Jul/2022 11:00:00", "198.51.100.7", 5);
	file_put(&older, text);
	assert_int_equal(replay(w, older.path, "-q"), CLI_OK);
	assert_non_null(strstr(w->err, ".1 begins before the file before it ends"));
	assert_int_equal(rename(older.path, w->path), 0);
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_null(strstr(w->err, "begins before"));
}

static void what_is_no_log_is_told(void **state)
{
	struct world *w = *state;

	file_put(w, "\x1f\x8b\x08 packed\n");
	assert_int_equal(replay(w, NULL, NULL), CLI_OK);
	assert_non_null(strstr(w->err, "no line is known: is this a Kerio log?"));
	assert_non_null(strstr(w->err, "1 line in"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_are_local_time),
		TEST(clocks_that_are_set_forward_cost_no_window),
		TEST(what_nobody_may_ban_is_not_banned),
		TEST(each_threshold_is_checked),
		TEST(lines_of_any_length_are_read),
		TEST(logs_in_the_wrong_order_are_told),
		TEST(what_is_no_log_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
