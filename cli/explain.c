/* SPDX-License-Identifier: MPL-2.0
 *
 * `explain`: what each line of a log means to the rules; and `explain --test`, whether the rules
 * read their own test lines as they say.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/lines.h"
#include "cli/rulebook.h"

static const struct output_column columns[] = {
	{"line_no", OUTPUT_NUMBER, 7, OUTPUT_ALL}, {"rule", OUTPUT_TEXT, 20, OUTPUT_ALL},
	{"service", OUTPUT_TEXT, 10, OUTPUT_ALL},  {"address", OUTPUT_TEXT, 26, OUTPUT_ALL},
	{"user", OUTPUT_TEXT, 32, OUTPUT_ALL},	   {"verdict", OUTPUT_TEXT, 8, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static const struct output_column test_columns[] = {
	{"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"line", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"expected", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"found", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"ok", OUTPUT_BOOL, 0, OUTPUT_ALL},
	{"file", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"file_line", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct explain {
	const struct context *ctx;
	struct rules *rules;
	struct rules_source source;
	struct output *o;
	uint64_t lines, matched, failures, bans, successes, too_long;
};

static void verdict_count(struct explain *x, enum rules_verdict v)
{
	x->failures += v == RULES_FAILURE;
	x->bans += v == RULES_BAN;
	x->successes += v == RULES_SUCCESS;
}

static void row_write(struct explain *x, const struct rules_match *m, bool known)
{
	char address[KBAN_PREFIX_TEXT];

	output_number(x->o, (int64_t)x->lines);
	output_string(x->o, known ? m->rule : NULL);
	output_string(x->o, known && m->service[0] ? m->service : NULL);
	output_string(x->o,
		      known && m->has_address ? kban_prefix_format(&m->address, address) : NULL);
	if (known && m->user && m->user_len)
		output_text(x->o, (struct kban_text){m->user, m->user_len});
	else
		output_null(x->o);
	output_string(x->o, rules_verdict_name(known ? m->verdict : RULES_NONE));
}

static void line_take(void *arg, const char *line, size_t len)
{
	struct explain *x = arg;
	struct rules_match m = {0};

	x->lines++;
	bool known = line && rules_match_from(x->rules, &x->source, line, len, &m);
	x->matched += known;
	x->too_long += !line;
	if (known)
		verdict_count(x, m.verdict);
	row_write(x, &m, known);
}

static bool somebody_reads(void *arg, size_t n)
{
	(void)n;
	return !ferror(((struct explain *)arg)->ctx->out);
}

static int stream_read(struct explain *x, int fd, const char *name)
{
	const struct lines_calls calls = {line_take, somebody_reads, x, -1};
	int r = lines_read(fd, &calls);

	if (r == LINES_STOPPED)
		return cli_fail(x->ctx, CLI_FAILED, "cannot write to stdout");
	return r ? cli_fail(x->ctx, CLI_FAILED, "cannot read %s: %s", name, strerror(-r)) : 0;
}

static void summary_say(const struct explain *x)
{
	cli_say(x->ctx,
		"%llu lines: %llu known, %llu not; %llu failures, %llu bans, %llu successes%s",
		(unsigned long long)x->lines, (unsigned long long)x->matched,
		(unsigned long long)(x->lines - x->matched), (unsigned long long)x->failures,
		(unsigned long long)x->bans, (unsigned long long)x->successes,
		x->too_long ? "; lines over 64 KiB were skipped" : "");
	rulebook_say_slow(x->ctx, x->rules);
}

static void explain_free(struct explain *x)
{
	output_free(x->o);
	rules_free(x->rules);
	free(x);
}
KBAN_DEFINE_AUTO(struct explain *, explain_free)

static void explain_output(struct explain *x)
{
	const struct output_options options = {
		.format = x->ctx->format, .stream = true, .list = "lines"};

	output_new(&x->o, x->ctx->out, columns, &options);
}

struct testing {
	struct output *o;
	unsigned tests, failed, untested;
};

static void test_write(void *arg, const struct rules_test *t)
{
	struct testing *testing = arg;

	testing->tests += t->text != NULL;
	testing->failed += t->text && !t->ok;
	testing->untested += !t->text;
	output_string(testing->o, t->rule);
	output_string(testing->o, t->text);
	output_string(testing->o, t->expected);
	output_string(testing->o, t->found);
	if (t->text)
		output_bool(testing->o, t->ok);
	else
		output_null(testing->o);
	output_string(testing->o, t->file);
	output_number(testing->o, t->line);
}

static int test_run(struct context *ctx)
{
	kban_auto(rules_free) struct rules *rules = NULL;
	kban_auto(output_free) struct output *o = NULL;
	struct testing t = {0};

	if (args_word(&ctx->args, 0))
		return cli_fail(ctx, CLI_USAGE, "--test reads the rules' own lines, and no FILE");
	int r = rulebook_open(ctx, &rules, true);
	if (r)
		return r;
	cli_output(&o, ctx, test_columns, "tests", kban_wall_ms(ctx->clock));
	t.o = o;
	rules_each_test(rules, test_write, &t);
	r = cli_output_end(ctx, o);
	if (r)
		return r;
	cli_say(ctx, "%u tests: %u ok, %u failed; %u rules without a test", t.tests,
		t.tests - t.failed, t.failed, t.untested);
	return t.failed ? CLI_FAILED : CLI_OK;
}

int explain_run(struct context *ctx)
{
	if (args_flag(&ctx->args, "test"))
		return test_run(ctx);

	kban_auto(explain_free) struct explain *x = kban_zalloc(sizeof(*x));
	const char *path = args_word(&ctx->args, 0);
	kban_auto(kban_close) int fd = -1;

	path = path ? path : "-";
	x->ctx = ctx;
	int r = rulebook_source(ctx, &x->source);
	if (!r)
		r = rulebook_open(ctx, &x->rules, false);
	if (!r)
		r = rulebook_file(ctx, path, &fd);
	if (r)
		return r;
	explain_output(x);
	r = stream_read(x, fd, strcmp(path, "-") ? path : "stdin");
	if (!r)
		r = cli_output_end(ctx, x->o);
	if (!r)
		summary_say(x);
	return r;
}
