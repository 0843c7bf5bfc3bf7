/* SPDX-License-Identifier: MPL-2.0
 *
 * explain over the known lines, and over what is no line of anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/command.h"

#define COLUMNS 9

enum column {
	CLASS = 3,
	SERVICE,
	USER,
	ADDRESS,
	MEANING,
	LINE,
};

struct world {
	char path[64];
	char *out, *err;
};

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));

	strcpy(w->path, "/tmp/kbanctl-explain.XXXXXX");
	int fd = mkstemp(w->path);
	if (fd < 0)
		return -1;
	close(fd);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	unlink(w->path);
	free(w->out);
	free(w->err);
	free(w);
	return 0;
}

static int explain(struct world *w, const void *bytes, size_t n, const char *format)
{
	const char *words[] = {"kbanctl", "explain", "-o", format, w->path};
	char *argv[KBAN_ARRAY_LEN(words)];
	size_t out_n, err_n;
	FILE *f = fopen(w->path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	free(w->out);
	free(w->err);
	FILE *out = open_memstream(&w->out, &out_n), *err = open_memstream(&w->err, &err_n);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++)
		argv[i] = kban_strdup(words[i]);
	int r = cli_main(KBAN_ARRAY_LEN(words), argv, out, err, &kban_clock_system);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++)
		free(argv[i]);
	fclose(out);
	fclose(err);
	return r;
}

/* A field against what a table's cell says: empty is null. */
static void field_is(const json_t *o, const char *name, const char *cell)
{
	json_t *v = json_object_get(o, name);

	if (*cell) {
		assert_true(json_is_string(v));
		assert_string_equal(json_string_value(v), cell);
	} else {
		assert_true(json_is_null(v));
	}
}

static const char *verdict_of(const char *meaning)
{
	static const struct {
		const char *start, *verdict;
	} rows[] = {
		{"failure", "failure"},
		{"hostname only", "failure"},
		{"ban", "ban"},
		{"success", "success"},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		if (!strncmp(meaning, rows[i].start, strlen(rows[i].start)))
			return rows[i].verdict;
	return "none";
}

static void row_check(struct world *w, char **cells)
{
	assert_int_equal(explain(w, cells[LINE], strlen(cells[LINE]), "jsonl"), CLI_OK);
	json_t *o = json_loads(w->out, 0, NULL);
	assert_non_null(o);
	assert_int_equal(json_object_size(o), 6);
	assert_int_equal(json_integer_value(json_object_get(o, "line_no")), 1);
	field_is(o, "rule", cells[CLASS]);
	field_is(o, "service", cells[SERVICE]);
	field_is(o, "user", cells[USER]);
	field_is(o, "address", cells[ADDRESS]);
	field_is(o, "verdict", verdict_of(cells[MEANING]));
	json_decref(o);
}

static void the_known_lines_mean_what_the_table_says(void **state)
{
	FILE *f = fopen(SOURCE_DIR "/node/test/lines.tsv", "r");
	char line[4096];
	size_t rows = 0;

	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	for (; fgets(line, sizeof(line), f); rows++) {
		char *cells[COLUMNS] = {NULL}, *rest = line;
		line[strcspn(line, "\n")] = 0;
		for (size_t i = 0; i < COLUMNS; i++)
			cells[i] = strsep(&rest, "\t");
		assert_non_null(cells[LINE]);
		row_check(*state, cells);
	}
	assert_true(rows > 20);
	fclose(f);
}

static size_t objects(const char *text)
{
	kban_auto(kban_free) void *copy = kban_strdup(text);
	char *save = NULL;
	size_t n = 0;

	for (char *s = strtok_r(copy, "\n", &save); s; s = strtok_r(NULL, "\n", &save), n++) {
		json_t *o = json_loads(s, JSON_ALLOW_NUL, NULL);
		assert_non_null(o);
		assert_int_equal(json_integer_value(json_object_get(o, "line_no")), n + 1);
		json_decref(o);
	}
	return n;
}

static void every_line_gets_one_object_whatever_it_holds(void **state)
{
	static const char bytes[] = "\n\r\n\0\0\n\xff\xfe\n[17/May/2017 19:43:42] SMTP: User "
				    "\xff\"\\\x01 doesn't exist. Attempt "
				    "from IP address 192.0.2.1.\nno newline";
	struct world *w = *state;

	assert_int_equal(explain(w, bytes, sizeof(bytes) - 1, "jsonl"), CLI_OK);
	assert_int_equal(objects(w->out), 6);
	assert_non_null(strstr(w->err, "6 lines: "));
	assert_int_equal(explain(w, "", 0, "jsonl"), CLI_OK);
	assert_string_equal(w->out, "");
	assert_int_equal(explain(w, "", 0, "json"), CLI_OK);
	assert_string_equal(w->out, "{\"lines\": []}\n");
}

static void a_line_of_a_mebibyte_costs_itself_only(void **state)
{
	static const char good[] =
		"\n[17/May/2017 19:43:42] SMTP: User a@b.c doesn't exist. Attempt from IP address "
		"185.140.108.26.\n";
	struct world *w = *state;
	size_t n = 1 << 20;
	char *bytes = kban_zalloc(n + sizeof(good));

	memset(bytes, 'x', n);
	memcpy(bytes + n, good, sizeof(good));
	assert_int_equal(explain(w, bytes, n + sizeof(good) - 1, "jsonl"), CLI_OK);
	free(bytes);
	assert_int_equal(objects(w->out), 2);
	assert_non_null(strstr(w->out, "{\"line_no\": 1, \"rule\": null, "));
	assert_non_null(strstr(w->out, "\"rule\": \"unknown-user\", \"service\": \"smtp\", "
				       "\"address\": \"185.140.108.26\", "
				       "\"user\": \"a@b.c\", \"verdict\": \"failure\"}"));
}

static void a_table_streams_in_fixed_columns(void **state)
{
	static const char bytes[] =
		"x\n[17/May/2017 19:43:42] SMTP: User a@b.c doesn't exist. Attempt from IP address "
		"185.140.108.26.\n";
	struct world *w = *state;

	assert_int_equal(explain(w, bytes, sizeof(bytes) - 1, "table"), CLI_OK);
	const char *heading = strstr(w->out, "VERDICT"), *cell = strstr(w->out, "failure");
	const char *line = strrchr(w->out, '2');
	assert_true(heading && cell && line);
	while (cell > w->out && cell[-1] != '\n') {
		cell--;
		heading--;
	}
	assert_ptr_equal(heading, w->out);
}

static const char own_rules[] = "rule mine {\n log = any\n service = fax\n verdict = failure\n pattern = \"Fax from %address%\"\n"
				" test = {\"Fax from 192.0.2.1 => 192.0.2.1 -\", \"Fax from 192.0.2.1 => 192.0.2.2 -\"}\n}\n";

/* explain with its options, and own_rules as the file. */
static int explain_own(struct world *w, const char *option)
{
	const char *words[] = {"kbanctl", "explain", "-o", "json", "--rules", w->path, option};
	char *argv[KBAN_ARRAY_LEN(words)];
	size_t out_n, err_n;
	FILE *f = fopen(w->path, "w");

	assert_non_null(f);
	fputs(own_rules, f);
	fclose(f);
	FILE *out = open_memstream(&w->out, &out_n), *err = open_memstream(&w->err, &err_n);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++)
		argv[i] = kban_strdup(words[i]);
	int r = cli_main(KBAN_ARRAY_LEN(words), argv, out, err, &kban_clock_system);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++)
		free(argv[i]);
	fclose(out);
	fclose(err);
	return r;
}

static void a_failing_test_of_a_rule_is_a_row_and_makes_the_exit_code_1(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain_own(w, "--test"), CLI_FAILED);
	json_t *o = json_loads(w->out, 0, NULL), *tests = json_object_get(o, "tests");
	assert_true(json_array_size(tests) > 30);
	assert_true(json_is_true(json_object_get(json_array_get(tests, 0), "ok")));
	const json_t *failed = json_array_get(tests, 1);
	field_is(failed, "rule", "mine");
	field_is(failed, "line", "Fax from 192.0.2.1");
	field_is(failed, "expected", "192.0.2.2 -");
	field_is(failed, "found", "192.0.2.1 -");
	assert_true(json_is_false(json_object_get(failed, "ok")));
	for (size_t i = 2; i < json_array_size(tests); i++)
		assert_true(json_is_true(json_object_get(json_array_get(tests, i), "ok")));
	json_decref(o);
	assert_non_null(strstr(w->err, " ok, 1 failed; 0 rules without a test"));
}

static void rules_with_a_failing_test_read_no_line(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain_own(w, "/dev/null"), CLI_FAILED);
	assert_string_equal(w->out, "");
	assert_non_null(strstr(w->err, ":6: rule mine: its test reads \"192.0.2.1 -\"; correct the pattern or the test"));
}

static void a_missing_file_is_not_found(void **state)
{
	char *argv[] = {kban_strdup("kbanctl"), kban_strdup("explain"),
			kban_strdup("/nonexistent/log")};
	FILE *null = fopen("/dev/null", "w");

	(void)state;
	assert_int_equal(cli_main(3, argv, null, null, &kban_clock_system), CLI_NOT_FOUND);
	fclose(null);
	for (size_t i = 0; i < 3; i++)
		free(argv[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_known_lines_mean_what_the_table_says),
		TEST(every_line_gets_one_object_whatever_it_holds),
		TEST(a_line_of_a_mebibyte_costs_itself_only),
		TEST(a_table_streams_in_fixed_columns),
		TEST(a_failing_test_of_a_rule_is_a_row_and_makes_the_exit_code_1),
		TEST(rules_with_a_failing_test_read_no_line),
		cmocka_unit_test(a_missing_file_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
