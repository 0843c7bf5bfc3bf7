/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/conf.h"

struct config {
	struct kban_strings listen;
	char *identity, *data, *empty;
	uint64_t window_s, big;
	struct kban_uints ports;
	bool fast, slow;
};

static char *check_path(const char *value)
{
	return *value == '/' ? NULL : kban_strdup("write an absolute path");
}

#define AT(member) offsetof(struct config, member)

static const struct kban_conf_option table[] = {
	{"listen", KBAN_CONF_STRINGS, AT(listen), "{\"tcp://*:7400\"}", 1, 64, 3, NULL,
	 "endpoints"},
	{"identity", KBAN_CONF_STRING, AT(identity), NULL, 1, 32, 0, check_path,
	 "path of the identity file"},
	{"data", KBAN_CONF_STRING, AT(data), "\"/var/lib/kban\"", 1, 32, 0, check_path, "folder"},
	{"empty", KBAN_CONF_STRING, AT(empty), "", 0, 32, 0, NULL, "nothing"},
	{"window_s", KBAN_CONF_UINT, AT(window_s), "60", 1, 3600, 0, NULL, "seconds"},
	{"big", KBAN_CONF_UINT, AT(big), "18446744073709551615", 0, UINT64_MAX, 0, NULL,
	 "a number"},
	{"ports", KBAN_CONF_UINTS, AT(ports), "{25, 143, 993}", 1, 65535, 4, NULL, "ports"},
	{"fast", KBAN_CONF_BOOL, AT(fast), "yes", 0, 0, 0, NULL, "a switch"},
	{"slow", KBAN_CONF_BOOL, AT(slow), "no", 0, 0, 0, NULL, "a switch"},
	{0},
};

static char path[] = "/tmp/test_conf.XXXXXX";

static int make_file(void **state)
{
	(void)state;
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int load(struct config *c, const char *text, char **error)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	memset(c, 0, sizeof(*c));
	*error = NULL;
	return kban_conf_load(c, table, path, error);
}

/* Refused, nothing kept, and the message is PATH followed by `after`. */
static void refused(const char *text, const char *after)
{
	struct config c, zero = {0};
	char *error, *want = kban_asprintf("%s%s", path, after);

	assert_int_equal(load(&c, text, &error), -EINVAL);
	assert_string_equal(error, want);
	assert_ptr_equal(c.identity, zero.identity);
	assert_ptr_equal(c.listen.v, NULL);
	assert_ptr_equal(c.ports.v, NULL);
	free(want);
	free(error);
}

static void defaults_stand_for_what_is_not_given(void **state)
{
	(void)state;
	struct config c;
	char *error;

	assert_int_equal(load(&c, "# a comment\nidentity = \"/etc/kban/id\"\n", &error), 0);
	assert_string_equal(c.identity, "/etc/kban/id");
	assert_string_equal(c.data, "/var/lib/kban");
	assert_string_equal(c.empty, "");
	assert_int_equal(c.listen.n, 1);
	assert_string_equal(c.listen.v[0], "tcp://*:7400");
	assert_int_equal(c.window_s, 60);
	assert_true(c.big == UINT64_MAX);
	assert_int_equal(c.ports.n, 3);
	assert_int_equal(c.ports.v[2], 993);
	assert_true(c.fast);
	assert_false(c.slow);
	kban_conf_free(&c, table);
}

static void given_values_replace_defaults(void **state)
{
	(void)state;
	struct config c;
	char *error;

	assert_int_equal(
		load(&c,
		     "identity = /x\nlisten = {\"tcp://[::]:1\",\n  \"tcp://*:2\"} # two\n"
		     "ports = {1}\nports += {2, 3}\nfast = off\nslow = on\nwindow_s = 3600",
		     &error),
		0);
	assert_int_equal(c.listen.n, 2);
	assert_string_equal(c.listen.v[1], "tcp://*:2");
	assert_int_equal(c.ports.n, 3);
	assert_int_equal(c.ports.v[0], 1);
	assert_int_equal(c.ports.v[2], 3);
	assert_false(c.fast);
	assert_true(c.slow);
	assert_int_equal(c.window_s, 3600);
	kban_conf_free(&c, table);
}

static void defaults_alone_leave_required_ones_empty(void **state)
{
	(void)state;
	struct config c = {0};

	kban_conf_defaults(&c, table);
	assert_null(c.identity);
	assert_string_equal(c.data, "/var/lib/kban");
	assert_int_equal(c.ports.n, 3);
	kban_conf_free(&c, table);
}

static void a_mistyped_name_gets_the_nearest_known_one(void **state)
{
	(void)state;
	refused("identity = /x\n\nlisen = {\"a\"}\n",
		":3: unknown option \"lisen\"; did you mean \"listen\"?");
	refused("zzzzzzzzz = 1\n",
		":1: unknown option \"zzzzzzzzz\"; remove it (known are: listen, identity, "
		"data, empty, window_s, big, ports, fast, slow)");
}

static void a_missing_required_option_is_named(void **state)
{
	(void)state;
	refused("data = /x\n",
		": identity is missing; add a line \"identity = ...\" (path of the identity file)");
}

static void an_option_given_twice_is_refused(void **state)
{
	(void)state;
	refused("identity = /x\nwindow_s = 1\nwindow_s = 2\n",
		":3: window_s is given twice, first on line 2; remove one");
	refused("ports = {1,2}\nidentity = /x\nports = {3}\n",
		":3: ports is given twice, first on line 1; remove one");
}

static void an_empty_list_takes_the_place_of_its_default(void **state)
{
	(void)state;
	struct config c;
	char *error;

	assert_int_equal(load(&c, "identity = /x\nports = {}\n", &error), 0);
	assert_int_equal(c.ports.n, 0);
	assert_int_equal(c.listen.n, 1);
	kban_conf_free(&c, table);
	refused("ports = {1}\nidentity = /x\nports = {}\n",
		": ports is given twice, first on line 1; remove one");
}

static void a_list_of_what_is_needed_is_not_empty(void **state)
{
	(void)state;
	refused("# listen\nidentity = /x\n listen = {\n}\n",
		":3: listen is an empty list; write at least one value, or remove it for the default "
		"{\"tcp://*:7400\"}");
}

static void numbers_outside_their_range_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"0", "3601", "-1", "+5", "1x", "0x10", "18446744073709551616", "1.5"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		char *text = kban_asprintf("identity = /x\nwindow_s = \"%s\"\n", bad[i]);
		char *after = kban_asprintf(
			":2: \"%s\" is no value for window_s; write a whole number from 1 to 3600",
			bad[i]);

		refused(text, after);
		free(text);
		free(after);
	}
	refused("ports = {25,\n70000}\n",
		":2: \"70000\" is no value for ports; write a whole number from 1 to 65535");
}

static void texts_booleans_and_lists_are_checked(void **state)
{
	(void)state;
	refused("identity = x\n", ":1: \"x\" is no value for identity; write an absolute path");
	refused("fast = maybe\n", ":1: \"maybe\" is no value for fast; write yes or no");
	refused("identity = \"/23456789012345678901234567890123\"\n",
		":1: \"/23456789012345678901234567890123\" is no value for identity; write a text "
		"of 1 to 32 "
		"bytes");
}

static void a_list_has_a_limit(void **state)
{
	(void)state;
	refused("listen = {a, b, c, d}\n", ":1: more than 3 values for listen; remove some");
}

static void broken_syntax_names_line_and_remedy(void **state)
{
	(void)state;
	refused("identity /x\n",
		":1: missing equal sign after option 'identity'; write NAME = VALUE");
	refused("identity = /x\n}\n", ":2: unexpected closing brace; remove it");
}

static void any_syntax_error_is_an_error_with_the_path(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"identity = \"/x\n", "identity = ",  "listen = {a",	 "= 5\n",
		"identity = {/x}",   "\xff\xfe = 1", "identity += /x\n", "{\n",
		"identity = /x /y\n"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		struct config c;
		char *error;

		assert_int_equal(load(&c, bad[i], &error), -EINVAL);
		assert_non_null(error);
		assert_memory_equal(error, path, strlen(path));
		free(error);
	}
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
	(void)state;
	struct config c = {0};
	char *error = NULL;

	assert_int_equal(kban_conf_load(&c, table, "/nonexistent/x.conf", &error), -ENOENT);
	assert_string_equal(
		error, "/nonexistent/x.conf: cannot read it: No such file or directory; name a "
		       "readable file with -c");
	free(error);
	assert_int_equal(kban_conf_load(&c, table, "/tmp", &error), -EISDIR);
	free(error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_stand_for_what_is_not_given),
		cmocka_unit_test(given_values_replace_defaults),
		cmocka_unit_test(defaults_alone_leave_required_ones_empty),
		cmocka_unit_test(a_mistyped_name_gets_the_nearest_known_one),
		cmocka_unit_test(a_missing_required_option_is_named),
		cmocka_unit_test(an_option_given_twice_is_refused),
		cmocka_unit_test(an_empty_list_takes_the_place_of_its_default),
		cmocka_unit_test(a_list_of_what_is_needed_is_not_empty),
		cmocka_unit_test(numbers_outside_their_range_are_refused),
		cmocka_unit_test(texts_booleans_and_lists_are_checked),
		cmocka_unit_test(a_list_has_a_limit),
		cmocka_unit_test(broken_syntax_names_line_and_remedy),
		cmocka_unit_test(any_syntax_error_is_an_error_with_the_path),
		cmocka_unit_test(a_file_that_cannot_be_read_says_why),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
