/* SPDX-License-Identifier: MPL-2.0
 *
 * JSON with objects and arrays inside is JSON, whatever the texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/nested.h"

static json_t *written(bool lines, char **text)
{
	size_t n;
	FILE *f = open_memstream(text, &n);
	struct nested out;

	nested_begin(&out, f, lines);
	nested_string(&out, "name", "a\"b\\c\x1b\xe2\x80\xae");
	nested_string(&out, "nothing", NULL);
	nested_number(&out, "number", UINT32_MAX);
	nested_signed(&out, "change", -20000);
	nested_bool(&out, "yes", true);
	nested_time(&out, "since", 1772360430000ULL);
	nested_time(&out, "until", 0);
	nested_array(&out, "empty");
	nested_end(&out);
	nested_array(&out, "rows");
	for (uint64_t i = 0; i < 2; i++) {
		nested_object(&out, NULL);
		nested_number(&out, "i", i);
		nested_array(&out, "in");
		nested_number(&out, NULL, i);
		nested_number(&out, NULL, i);
		nested_end(&out);
		nested_end(&out);
	}
	nested_end(&out);
	nested_end(&out);
	fclose(f);
	return json_loads(*text, 0, NULL);
}

static void what_is_written_is_json(void **state)
{
	(void)state;
	for (int lines = 0; lines < 2; lines++) {
		char *text = NULL;
		json_t *j = written(lines, &text), *rows = json_object_get(j, "rows");
		assert_non_null(j);
		assert_string_equal(json_string_value(json_object_get(j, "name")),
				    "a\"b\\c\x1b\xe2\x80\xae");
		assert_null(strchr(text, '\x1b'));
		assert_true(json_is_null(json_object_get(j, "nothing")));
		assert_int_equal(json_integer_value(json_object_get(j, "change")), -20000);
		assert_string_equal(json_string_value(json_object_get(j, "since")),
				    "2026-03-01T10:20:30Z");
		assert_int_equal(json_integer_value(json_object_get(j, "since_s")), 1772360430);
		assert_true(json_is_null(json_object_get(j, "until_s")));
		assert_int_equal(json_array_size(json_object_get(j, "empty")), 0);
		assert_int_equal(json_array_size(rows), 2);
		assert_int_equal(json_array_size(json_object_get(json_array_get(rows, 1), "in")),
				 2);
		json_decref(j);
		free(text);
	}
}

static void one_line_is_one_line(void **state)
{
	char *text = NULL;
	json_t *j = written(false, &text);

	(void)state;
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	json_decref(j);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_json),
		cmocka_unit_test(one_line_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
