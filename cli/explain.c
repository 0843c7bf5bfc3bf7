/* SPDX-License-Identifier: MPL-2.0
 *
 * `explain`: what each line of a log means to the rules. Any size in constant memory: a line longer
 * than what a node reads (LINE_MAX_BYTES) is, as there, no line of any rule.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "node/rules.h"

#define LINE_MAX_BYTES 65536
#define BUFFER	       (1 << 16)

static const struct output_column columns[] = {
	{"line_no", OUTPUT_NUMBER, 7, OUTPUT_ALL}, {"rule", OUTPUT_TEXT, 20, OUTPUT_ALL},
	{"service", OUTPUT_TEXT, 10, OUTPUT_ALL},  {"address", OUTPUT_TEXT, 26, OUTPUT_ALL},
	{"user", OUTPUT_TEXT, 32, OUTPUT_ALL},	   {"verdict", OUTPUT_TEXT, 8, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct explain {
	const struct context *ctx;
	struct rules *rules;
	struct output *o;
	uint64_t lines, matched, failures, bans, successes, too_long;
	char line[LINE_MAX_BYTES];
	size_t len;
	bool long_line; /* the rest of it is skipped */
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

static void line_end(struct explain *x)
{
	struct rules_match m = {0};
	size_t len = x->len && x->line[x->len - 1] == '\r' ? x->len - 1 : x->len;

	x->lines++;
	bool known = !x->long_line && rules_match(x->rules, x->line, len, &m);
	x->matched += known;
	x->too_long += x->long_line;
	if (known)
		verdict_count(x, m.verdict);
	row_write(x, &m, known);
	x->len = 0;
	x->long_line = false;
}

static void bytes_take(struct explain *x, const char *p, size_t n)
{
	while (n) {
		const char *newline = memchr(p, '\n', n);
		size_t part = newline ? (size_t)(newline - p) : n;
		size_t room = LINE_MAX_BYTES - x->len;
		size_t kept = part < room ? part : room;
		memcpy(x->line + x->len, p, kept);
		x->len += kept;
		x->long_line |= kept < part;
		if (newline)
			line_end(x);
		p += part + (newline ? 1 : 0);
		n -= part + (newline ? 1 : 0);
	}
}

static int stream_read(struct explain *x, int fd, const char *name)
{
	char buffer[BUFFER];

	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(x->ctx, CLI_FAILED, "cannot read %s: %s", name,
					strerror(errno));
		if (!n)
			break;
		bytes_take(x, buffer, (size_t)n);
		if (ferror(x->ctx->out)) /* nobody reads any more */
			return cli_fail(x->ctx, CLI_FAILED, "cannot write to stdout");
	}
	if (x->len || x->long_line) /* the last line has no newline */
		line_end(x);
	return 0;
}

static void summary_say(const struct explain *x)
{
	cli_say(x->ctx,
		"%llu lines: %llu known, %llu not; %llu failures, %llu bans, %llu successes%s",
		(unsigned long long)x->lines, (unsigned long long)x->matched,
		(unsigned long long)(x->lines - x->matched), (unsigned long long)x->failures,
		(unsigned long long)x->bans, (unsigned long long)x->successes,
		x->too_long ? "; lines over 64 KiB were skipped" : "");
}

static int rules_open(const struct context *ctx, struct rules **out)
{
	const char *path = args_get(&ctx->args, "rules");
	char *error = NULL;
	int r = path ? rules_load(out, path, &error) : rules_default(out);

	if (!r)
		return 0;
	if (!error)
		error = kban_asprintf("cannot load %s: %s", path ? path : "the built-in rules",
				      r < 0 ? strerror(-r) : "malformed");
	return cli_fail_with(ctx, CLI_FAILED, error);
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

int explain_run(struct context *ctx)
{
	kban_auto(explain_free) struct explain *x = kban_zalloc(sizeof(*x));
	const char *path = args_word(&ctx->args, 0);
	bool standard = !path || !strcmp(path, "-");
	kban_auto(kban_close) int fd = -1;

	x->ctx = ctx;
	int r = rules_open(ctx, &x->rules);
	if (r)
		return r;
	if (!standard && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return cli_fail(ctx, errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED,
				"cannot read %s: %s", path, strerror(errno));
	explain_output(x);
	r = stream_read(x, standard ? STDIN_FILENO : fd, standard ? "stdin" : path);
	if (!r)
		r = cli_output_end(ctx, x->o);
	if (!r)
		summary_say(x);
	return r;
}
