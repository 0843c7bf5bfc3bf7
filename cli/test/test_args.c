/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"

#define GRAMMAR "PREFIX [--for DURATION] [--address IP]... [--force] [--wait all|N]"
#define GLOBALS "[--output FORMAT] [--quiet] [--help]"

static bool parse(struct args *a, const char *grammar, char **error, int n, const char **argv)
{
	return args_parse(a, grammar, GLOBALS, n, (char **)(uintptr_t)argv, error);
}

#define PARSE(a, grammar, error, ...)                                                              \
	parse(a, grammar, error, (int)KBAN_ARRAY_LEN(((const char *[]){__VA_ARGS__})),             \
	      (const char *[]){__VA_ARGS__})

static void options_may_stand_anywhere(void **state)
{
	struct args a;
	char *error;

	(void)state;
	assert_true(PARSE(&a, GRAMMAR, &error, "--for", "1h", "192.0.2.1", "-o", "json", "--force",
			  "-q"));
	assert_string_equal(args_word(&a, 0), "192.0.2.1");
	assert_null(args_word(&a, 1));
	assert_string_equal(args_get(&a, "for"), "1h");
	assert_string_equal(args_get(&a, "output"), "json");
	assert_true(args_flag(&a, "force") && args_flag(&a, "quiet"));
	assert_false(args_flag(&a, "wait"));
}

static void values_may_be_joined(void **state)
{
	struct args a;
	char *error;

	(void)state;
	assert_true(PARSE(&a, GRAMMAR, &error, "--for=2h", "-ojsonl", "x"));
	assert_string_equal(args_get(&a, "for"), "2h");
	assert_string_equal(args_get(&a, "output"), "jsonl");
}

static void repeated_options_keep_their_order(void **state)
{
	struct args a;
	char *error;

	(void)state;
	assert_true(PARSE(&a, GRAMMAR, &error, "x", "--address", "a", "--address", "b"));
	assert_string_equal(args_nth(&a, "address", 0), "a");
	assert_string_equal(args_nth(&a, "address", 1), "b");
	assert_null(args_nth(&a, "address", 2));
}

static void two_dashes_end_the_options(void **state)
{
	struct args a;
	char *error;

	(void)state;
	assert_true(PARSE(&a, "WORD [OTHER]", &error, "--", "--for"));
	assert_string_equal(args_word(&a, 0), "--for");
	assert_true(PARSE(&a, "WORD [OTHER]", &error, "-", "x"));
	assert_string_equal(args_word(&a, 0), "-");
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *argv[3];
		int n;
		const char *error;
	} rows[] = {
		{{"x", "--fore"}, 2, "unknown option --fore; did you mean --force?"},
		{{"x", "--nonsense"}, 2, "unknown option --nonsense"},
		{{"x", "-z"}, 2, "unknown option -z"},
		{{"x", "--for"}, 2, "--for needs a value: DURATION"},
		{{"x", "-o"}, 2, "-o needs a value"},
		{{"x", "--force=1"}, 2, "--force takes no value"},
		{{"x", "--force", "--force"}, 3, "--force is given twice"},
		{{"x", "y"}, 2, "unexpected argument y"},
		{{NULL}, 0, "PREFIX is missing"},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		struct args a;
		char *error = NULL;
		assert_false(parse(&a, GRAMMAR, &error, rows[i].n,
				   (const char **)(uintptr_t)rows[i].argv));
		assert_string_equal(error, rows[i].error);
		free(error);
	}
}

static void required_options_are_required_and_help_needs_nothing(void **state)
{
	struct args a;
	char *error = NULL;

	(void)state;
	assert_false(PARSE(&a, "NAME --endpoint ENDPOINT", &error, "x"));
	assert_string_equal(error, "--endpoint ENDPOINT is missing");
	free(error);
	assert_true(PARSE(&a, "NAME --endpoint ENDPOINT", &error, "--help"));
}

static void too_many_of_anything_is_refused(void **state)
{
	const char *argv[4 * ARGS_VALUES];
	struct args a;
	char *error = NULL;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(argv); i++)
		argv[i] = "--address=1";
	assert_false(parse(&a, GRAMMAR, &error, KBAN_ARRAY_LEN(argv), argv));
	free(error);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(argv); i++)
		argv[i] = "x";
	assert_false(parse(&a, "[WORD]...", &error, KBAN_ARRAY_LEN(argv), argv));
	free(error);
}

static void why_is_reason(void **state)
{
	char *argv[] = {(char *)"192.0.2.1", (char *)"--why", (char *)"customer called"};
	char *twice[] = {(char *)"192.0.2.1", (char *)"--why=a", (char *)"--reason=b"};
	struct args a;
	char *error = NULL;

	(void)state;
	assert_true(args_parse(&a, "PREFIX [--reason TEXT]", "[--quiet]", 3, argv, &error));
	assert_string_equal(args_get(&a, "reason"), "customer called");
	assert_false(args_parse(&a, "PREFIX [--reason TEXT]", "[--quiet]", 3, twice, &error));
	assert_string_equal(error, "--reason is given twice");
	free(error);
	assert_false(args_parse(&a, "PREFIX", "[--quiet]", 3, argv, &error));
	assert_string_equal(error, "unknown option --why");
	free(error);
}

static void near_words_are_found(void **state)
{
	(void)state;
	assert_int_equal(args_distance("ban", "ban"), 0);
	assert_int_equal(args_distance("bna", "ban"), 1);
	assert_int_equal(args_distance("kitten", "sitting"), 3);
	assert_true(args_near("cluser", "cluster"));
	assert_true(args_near("lits", "list"));
	assert_false(args_near("x", "ban"));
	assert_int_equal(args_distance("", "abc"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(values_may_be_joined),
		cmocka_unit_test(repeated_options_keep_their_order),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(required_options_are_required_and_help_needs_nothing),
		cmocka_unit_test(too_many_of_anything_is_refused),
		cmocka_unit_test(why_is_reason),
		cmocka_unit_test(near_words_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
