/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/output.h"

#define NOW 1772360430000ULL

static const struct output_column columns[] = {
	{"name", OUTPUT_TEXT, 8, OUTPUT_ALL},	       {"count", OUTPUT_NUMBER, 5, OUTPUT_ALL},
	{"good", OUTPUT_BOOL, 4, OUTPUT_ALL},	       {"until", OUTPUT_LEFT, 6, OUTPUT_ALL},
	{"hidden", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS}, {"shown", OUTPUT_TEXT, 0, OUTPUT_PEOPLE},
	{"words", OUTPUT_LIST, 0, OUTPUT_ALL},	       {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct written {
	char *text;
	size_t n;
};

static void row(struct output *o, struct kban_text name)
{
	output_text(o, name);
	output_number(o, -3);
	output_bool(o, true);
	output_time(o, NOW + 90000);
	output_number(o, 7);
	output_string(o, "people");
	output_string(o, "a b");
}

static void nulls(struct output *o)
{
	for (size_t i = 0; columns[i].name; i++)
		output_null(o);
}

/* fill writes the rows; the caller frees. */
static char *write_with(const struct output_options *options, struct kban_text name, bool empty)
{
	struct written w = {NULL, 0};
	FILE *f = open_memstream(&w.text, &w.n);
	struct output *o;

	output_new(&o, f, columns, options);
	if (!empty) {
		row(o, name);
		if (!options->single)
			nulls(o);
	}
	assert_int_equal(output_end(o), 0);
	output_free(o);
	fclose(f);
	return w.text;
}

static char *write_as(enum output_format format, struct kban_text name)
{
	return write_with(&(struct output_options){.format = format, .now_ms = NOW, .list = "rows"},
			  name, false);
}

static void expect(enum output_format format, const char *name, const char *text)
{
	char *got = write_as(format, kban_text(name));

	assert_string_equal(got, text);
	free(got);
}

static void tables_line_up(void **state)
{
	(void)state;
	expect(OUTPUT_TABLE, "mail1",
	       "NAME   COUNT  GOOD  UNTIL  SHOWN   WORDS\n"
	       "mail1     -3  yes   1m30s  people  a b\n"
	       "-          -  -     -      -       -\n");
}

static void programs_get_plain_columns(void **state)
{
	(void)state;
	expect(OUTPUT_TSV, "mail1",
	       "name\tcount\tgood\tuntil\tuntil_s\thidden\twords\n"
	       "mail1\t-3\ttrue\t2026-03-01T10:22:00Z\t1772360520\t7\ta b\n"
	       "\t\t\t\t\t\t\n");
	expect(OUTPUT_CSV, "a \"b\", c",
	       "name,count,good,until,until_s,hidden,words\r\n"
	       "\"a \"\"b\"\", c\",-3,true,2026-03-01T10:22:00Z,1772360520,7,a b\r\n"
	       ",,,,,,\r\n");
}

static void json_has_an_array_that_is_never_null(void **state)
{
	char *text = write_as(OUTPUT_JSON, kban_text("x"));
	json_t *doc = json_loads(text, 0, NULL), *rows = json_object_get(doc, "rows");

	(void)state;
	assert_int_equal(json_array_size(rows), 2);
	json_t *first = json_array_get(rows, 0), *second = json_array_get(rows, 1);
	assert_int_equal(json_integer_value(json_object_get(first, "count")), -3);
	assert_string_equal(json_string_value(json_object_get(first, "until")),
			    "2026-03-01T10:22:00Z");
	assert_int_equal(json_integer_value(json_object_get(first, "until_s")), 1772360520);
	assert_int_equal(json_array_size(json_object_get(first, "words")), 2);
	assert_null(json_object_get(first, "shown"));
	assert_true(json_is_null(json_object_get(second, "until_s")));
	assert_true(json_is_array(json_object_get(second, "words")));
	json_decref(doc);
	free(text);
	text = write_with(&(struct output_options){.format = OUTPUT_JSON,
						   .list = "rows",
						   .head = "\"n\": 1, "},
			  kban_text(""), true);
	assert_string_equal(text, "{\"n\": 1, \"rows\": []}\n");
	free(text);
}

static void jsonl_is_one_object_a_line(void **state)
{
	char *text = write_as(OUTPUT_JSONL, kban_text("x\ny")), *save = NULL;
	size_t lines = 0;

	(void)state;
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save), lines++) {
		json_t *o = json_loads(line, 0, NULL);
		assert_true(json_is_object(o));
		json_decref(o);
	}
	assert_int_equal(lines, 2);
	free(text);
}

static void a_record_is_one_object_and_a_list_of_names(void **state)
{
	struct output_options options = {.format = OUTPUT_JSON, .now_ms = NOW, .single = true};
	char *text = write_with(&options, kban_text("x"), false);
	json_t *o = json_loads(text, 0, NULL);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o, "name")), "x");
	json_decref(o);
	free(text);
	options.format = OUTPUT_TABLE;
	text = write_with(&options, kban_text("x"), false);
	assert_non_null(strstr(text, "name:  x\ncount: -3\n"));
	assert_non_null(strstr(text, "words: a b\n"));
	assert_null(strstr(text, "hidden"));
	free(text);
}

/* Everything that a terminal or a parser could stumble over. */
#define HOSTILE                                                                                    \
	"\033[31m\n\t\r\"\\,=\xff\xc0\xaf\xe2\x80\xae"                                             \
	"\xed\xa0\x80"                                                                             \
	"\xf4\x90\x80\x80"                                                                         \
	"\x7f"                                                                                     \
	"\xc2\x9b"                                                                                 \
	"\xf0\x9f\x98\x80"                                                                         \
	"\xc3\xa9"

static void hostile_text_stays_in_its_cell(void **state)
{
	struct kban_text name = {HOSTILE "\0end", sizeof(HOSTILE "\0end") - 1};

	(void)state;
	for (int format = OUTPUT_TABLE; format <= OUTPUT_CSV; format++) {
		char *text = write_as((enum output_format)format, name);
		for (const char *s = text; *s; s++)
			assert_true((unsigned char)*s >= ' ' || strchr("\n\t\r", *s));
		assert_null(strstr(text, "\x7f"));
		assert_null(strstr(text, "\xe2\x80\xae"));
		assert_null(strstr(text, "\xc2\x9b"));
		assert_null(strchr(text, '\xff'));
		assert_non_null(strstr(text, "\xc3\xa9")); /* what is harmless is left alone */
		free(text);
	}
}

static void json_text_is_exact_and_always_valid(void **state)
{
	char *text = write_as(OUTPUT_JSONL,
			      (struct kban_text){HOSTILE "\0end", sizeof(HOSTILE "\0end") - 1});
	json_t *o = json_loads(text, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
	const char *name = json_string_value(json_object_get(o, "name"));

	(void)state;
	assert_non_null(name);
	assert_memory_equal(name, "\033[31m\n\t\r\"\\,=", 12);
	assert_non_null(strstr(name, "\xe2\x80\xae")); /* back as it was */
	assert_non_null(strstr(name, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
	assert_non_null(strstr(name, "\xf0\x9f\x98\x80\xc3\xa9"));
	json_decref(o);
	free(text);
}

static void random_bytes_are_valid_json(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		char bytes[40];
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (char)(rand_r(&seed) >> 7);
		char *text = write_as(OUTPUT_JSONL, (struct kban_text){bytes, sizeof(bytes)});
		json_t *o = json_loads(text, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
		assert_non_null(o);
		json_decref(o);
		free(text);
	}
}

static void a_spreadsheet_runs_nothing(void **state)
{
	static const char *const bad[] = {"=1+1", "+1", "-1", "@x"};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		char *text = write_as(OUTPUT_CSV, kban_text(bad[i])), start[8];
		snprintf(start, sizeof(start), "\\x%02x", bad[i][0]);
		assert_memory_equal(strchr(text, '\n') + 1, start, 4);
		free(text);
	}
}

static size_t widest_line(const char *text)
{
	size_t widest = 0, n = 0;

	for (; *text; text++) {
		n = *text == '\n' ? 0 : n + (((unsigned char)*text >> 6) != 2);
		widest = n > widest ? n : widest;
	}
	return widest;
}

static void tables_fit_the_terminal(void **state)
{
	struct output_options options = {.format = OUTPUT_TABLE, .now_ms = NOW, .width = 60};
	char *text = write_with(&options,
				kban_text("a very long name that nobody would give to a server but "
					  "somebody did \xc3\xa9\xc3\xa9\xc3\xa9"),
				false);

	(void)state;
	assert_true(widest_line(text) <= 60);
	assert_non_null(strstr(text, "\u2026"));
	assert_non_null(strstr(text, "1m30s"));
	free(text);
}

/* An address, a time and who did it are what the table is for. */
static void names_and_times_are_never_cut(void **state)
{
	static const struct output_column bans[] = {
		{"prefix", OUTPUT_NAME, 0, OUTPUT_ALL}, {"until", OUTPUT_TIME, 0, OUTPUT_ALL},
		{"by", OUTPUT_NAME, 0, OUTPUT_ALL},	{"service", OUTPUT_TEXT, 0, OUTPUT_ALL},
		{"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},	{"count", OUTPUT_NUMBER, 0, OUTPUT_ALL},
		{"reason", OUTPUT_TEXT, 0, OUTPUT_ALL}, {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL}};
	struct written w = {NULL, 0};
	FILE *f = open_memstream(&w.text, &w.n);
	struct output *o;

	(void)state;
	output_new(&o, f, bans, &(struct output_options){.format = OUTPUT_TABLE, .width = 80});
	output_string(o, "2001:db8:1111:2222:3333:4444:5555:6666");
	output_time(o, NOW);
	output_string(o, "mail1");
	output_string(o, "smtp");
	output_string(o, "unknown-user");
	output_number(o, 10);
	output_string(o, "somebody's long words about it");
	assert_int_equal(output_end(o), 0);
	output_free(o);
	fclose(f);
	assert_string_equal(w.text,
			    "PREFIX                                  UNTIL                 BY     "
			    "SERVICE\n"
			    "2001:db8:1111:2222:3333:4444:5555:6666  2026-03-01T10:20:30Z  mail1  "
			    "smtp\n");
	free(w.text);
}

static void a_stream_cuts_nothing(void **state)
{
	struct output_options options = {.format = OUTPUT_TABLE, .stream = true, .now_ms = NOW};
	char *text = write_with(&options, kban_text("a name of more than eight letters"), false);

	(void)state;
	assert_non_null(strstr(text, "a name of more than eight letters  "));
	free(text);
}

static void colour_only_when_asked_for(void **state)
{
	struct output_options options = {.format = OUTPUT_TABLE, .colour = true};
	static const struct output_column one[] = {{"state", OUTPUT_TEXT, 0, OUTPUT_ALL},
						   {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL}};

	(void)state;
	for (int colour = 0; colour < 2; colour++) {
		struct written w = {NULL, 0};
		FILE *f = open_memstream(&w.text, &w.n);
		struct output *o;
		options.colour = colour;
		output_new(&o, f, one, &options);
		output_tone(o, "live", OUTPUT_GOOD);
		assert_int_equal(output_end(o), 0);
		output_free(o);
		fclose(f);
		assert_string_equal(w.text,
				    colour ? "STATE\n\033[32mlive\033[0m\n" : "STATE\nlive\n");
		free(w.text);
	}
}

static void a_full_disk_is_noticed(void **state)
{
	FILE *f = fopen("/dev/full", "w");
	struct output *o;

	(void)state;
	output_new(&o, f, columns, &(struct output_options){.format = OUTPUT_JSON, .list = "rows"});
	row(o, kban_text("x"));
	assert_true(output_end(o) < 0);
	output_free(o);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_line_up),
		cmocka_unit_test(programs_get_plain_columns),
		cmocka_unit_test(json_has_an_array_that_is_never_null),
		cmocka_unit_test(jsonl_is_one_object_a_line),
		cmocka_unit_test(a_record_is_one_object_and_a_list_of_names),
		cmocka_unit_test(hostile_text_stays_in_its_cell),
		cmocka_unit_test(json_text_is_exact_and_always_valid),
		cmocka_unit_test(random_bytes_are_valid_json),
		cmocka_unit_test(a_spreadsheet_runs_nothing),
		cmocka_unit_test(tables_fit_the_terminal),
		cmocka_unit_test(names_and_times_are_never_cut),
		cmocka_unit_test(a_stream_cuts_nothing),
		cmocka_unit_test(colour_only_when_asked_for),
		cmocka_unit_test(a_full_disk_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
