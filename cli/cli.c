/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/time.h"
#include "proto/log.h"

#define SINCE_MAX_MS (3660ULL * 86400000ULL)

int cli_fail(const struct context *ctx, int code, const char *format, ...)
{
	va_list args;

	fputs("kbanctl: ", ctx->err);
	va_start(args, format);
	vfprintf(ctx->err, format, args);
	va_end(args);
	fputc('\n', ctx->err);
	return code;
}

int cli_fail_with(const struct context *ctx, int code, char *sentence)
{
	cli_fail(ctx, code, "%s", sentence ? sentence : "failed");
	free(sentence);
	return code;
}

void cli_say(const struct context *ctx, const char *format, ...)
{
	va_list args;

	if (ctx->quiet)
		return;
	va_start(args, format);
	vfprintf(ctx->err, format, args);
	va_end(args);
	fputc('\n', ctx->err);
}

static unsigned terminal_width(FILE *f)
{
	struct winsize w;

	return !ioctl(fileno(f), TIOCGWINSZ, &w) && w.ws_col >= 40 ? w.ws_col : 0;
}

bool cli_colour(const struct context *ctx)
{
	const char *no_colour = getenv("NO_COLOR"); /* no-color.org: any text but the empty one */

	return isatty(fileno(ctx->out)) && !(no_colour && *no_colour);
}

void cli_output_with(struct output **out, const struct context *ctx,
		     const struct output_column *columns, const char *list, uint64_t now_ms,
		     const char *head)
{
	bool tty = isatty(fileno(ctx->out));
	const struct output_options options = {
		.format = ctx->format,
		.now_ms = now_ms,
		.width = tty ? terminal_width(ctx->out) : 0,
		.colour = cli_colour(ctx),
		.single = !list,
		.list = list,
		.head = head,
	};

	output_new(out, ctx->out, columns, &options);
}

void cli_output(struct output **out, const struct context *ctx, const struct output_column *columns,
		const char *list, uint64_t now_ms)
{
	cli_output_with(out, ctx, columns, list, now_ms, NULL);
}

int cli_output_end(const struct context *ctx, struct output *o)
{
	return output_end(o)
		       ? cli_fail(ctx, CLI_FAILED, "cannot write to stdout: %s", strerror(errno))
		       : CLI_OK;
}

char *cli_escaped(const void *s, size_t n)
{
	char *out = kban_zalloc(n * 4 + 1);

	kban_escape(out, n * 4 + 1, s, n);
	return out;
}

int cli_prefix(const struct context *ctx, struct kban_prefix *out, const char *text)
{
	if (!kban_prefix_parse(out, text))
		return 0;
	kban_auto(kban_free) void *said = cli_escaped(text, strnlen(text, 64));
	kban_auto(kban_free) void *advice = kban_prefix_advice(text);
	return cli_fail(ctx, CLI_USAGE, "%s %s", *text ? (char *)said : "an empty word",
			(char *)advice);
}

int cli_duration(const struct context *ctx, uint64_t *out_ms, const char *option, uint64_t max_ms)
{
	const char *text = args_get(&ctx->args, option);
	char max[DURATION_TEXT];

	if (!text || duration_parse(out_ms, text, max_ms))
		return 0;
	kban_auto(kban_free) void *said = cli_escaped(text, strnlen(text, 64));
	return cli_fail(ctx, CLI_USAGE,
			"--%s %s is no duration like 90s, 5m, 1h30m or 7d, at most %s", option,
			(char *)said, duration_format(max, max_ms));
}

int cli_since(const struct context *ctx, uint64_t *out_ms)
{
	const char *text = args_get(&ctx->args, "since");

	if (!text || strcmp(text, "all") != 0)
		return cli_duration(ctx, out_ms, "since", SINCE_MAX_MS);
	*out_ms = 0;
	return 0;
}

int cli_reason(const struct context *ctx, struct kban_text *out)
{
	const char *text = args_get(&ctx->args, "reason");

	*out = kban_text(text ? text : "");
	if (!kban_text_valid(out->s, out->n, KBAN_TEXT_MAX))
		return cli_fail(ctx, CLI_USAGE,
				"--reason (--why) must be UTF-8 of at most %u bytes in one line",
				KBAN_TEXT_MAX);
	return 0;
}

/* argv[0] is the first word of the command; *words is how many belong to its name. */
static const struct command *command_find(int argc, char **argv, int *words)
{
	for (const struct command *c = commands; c->noun; c++) {
		if (strcmp(c->noun, argv[0]))
			continue;
		*words = c->verb ? 2 : 1;
		if (!c->verb || (argc > 1 && !strcmp(c->verb, argv[1])))
			return c;
	}
	return NULL;
}

static int globals_take(struct context *ctx)
{
	const char *format = args_get(&ctx->args, "output");
	const char *identity = args_get(&ctx->args, "identity");
	const char *environment = getenv("KBAN_IDENTITY");

	ctx->quiet = args_flag(&ctx->args, "quiet");
	ctx->identity = identity ? identity : environment && *environment ? environment : NULL;
	if (format && !output_format_parse(&ctx->format, format))
		return cli_fail(ctx, CLI_USAGE, "-o takes table, json, jsonl, tsv or csv");
	return cli_duration(ctx, &ctx->timeout_ms, "timeout", CLI_TIMEOUT_MAX_MS);
}

/* What stands before the command, joined with what follows it: options may stand on both sides. */
static int arguments_parse(struct context *ctx, int before, int words, int argc, char **argv)
{
	kban_auto(kban_free) void *memory = kban_zalloc(sizeof(char *) * (size_t)argc);
	char **rest = memory, *error = NULL;
	int n = 0;

	for (int i = 1; i < argc; i++)
		if (i < 1 + before || i >= 1 + before + words)
			rest[n++] = argv[i];
	if (args_parse(&ctx->args, ctx->command ? ctx->command->grammar : "[ANY]...",
		       command_globals, n, rest, &error))
		return 0;
	kban_auto(kban_free) void *said = cli_escaped(error, strlen(error));
	free(error);
	cli_fail(ctx, CLI_USAGE, "%s", (char *)said);
	if (ctx->command)
		fprintf(ctx->err, "usage: kbanctl %s%s%s %s\n", ctx->command->noun,
			ctx->command->verb ? " " : "", ctx->command->verb ? ctx->command->verb : "",
			ctx->command->grammar);
	return CLI_USAGE;
}

static int without_command(struct context *ctx, int argc, char **argv)
{
	int r = arguments_parse(ctx, 0, 0, argc, argv);

	if (r)
		return r;
	if (args_flag(&ctx->args, "version")) {
		fprintf(ctx->out, "kbanctl %s\n", KBAN_VERSION);
		return CLI_OK;
	}
	bool asked = args_flag(&ctx->args, "help");
	help_overview(asked ? ctx->out : ctx->err);
	return asked ? CLI_OK : CLI_USAGE;
}

int cli_main(int argc, char **argv, FILE *out, FILE *err, const struct kban_clock *clock)
{
	struct context ctx = {.out = out, .err = err, .clock = clock};
	int before = args_skip_globals(command_globals, argc - 1, argv + 1), words = 1;

	if (1 + before >= argc)
		return without_command(&ctx, argc, argv);
	ctx.command = command_find(argc - 1 - before, argv + 1 + before, &words);
	if (!ctx.command)
		return help_unknown(&ctx, argv[1 + before],
				    2 + before < argc ? argv[2 + before] : NULL);
	int r = arguments_parse(&ctx, before, words, argc, argv);
	if (r)
		return r;
	if (args_flag(&ctx.args, "help")) {
		help_command(out, ctx.command);
		return CLI_OK;
	}
	r = globals_take(&ctx);
	return r ? r : ctx.command->run(&ctx);
}
