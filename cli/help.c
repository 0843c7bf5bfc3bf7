/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "cli/command.h"

static void wrapped(FILE *f, const char *text, const char *indent, size_t width)
{
	size_t column = 0;

	while (*(text += strspn(text, " "))) {
		size_t n = strcspn(text, " ");
		if (column && column + 1 + n > width) {
			fputc('\n', f);
			column = 0;
		}
		fprintf(f, "%s%.*s", column ? " " : indent, (int)n, text);
		column += n + 1;
		text += n;
	}
	fputc('\n', f);
}

static void words_print(FILE *f, const struct command *c)
{
	fprintf(f, "%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
}

static void options_print(FILE *f, const char *grammar)
{
	struct args_item items[ARGS_ITEMS];
	size_t n = args_grammar(items, grammar);

	for (size_t i = 0; i < n; i++) {
		char left[2 * ARGS_WORD + 4];
		if (!items[i].option)
			continue;
		snprintf(left, sizeof(left), "--%s %s", items[i].name, items[i].value);
		fprintf(f, "  %-24s %s\n", left, command_option_help(items[i].name));
	}
}

void help_command(FILE *f, const struct command *c)
{
	fputs("usage: kbanctl ", f);
	words_print(f, c);
	fprintf(f, "%s%s\n\n%s.\n", *c->grammar ? " " : "", c->grammar, c->summary);
	wrapped(f, c->help, "", 90);
	fputs("\noptions:\n", f);
	options_print(f, c->grammar);
	options_print(f, command_globals);
	fprintf(f, "\nexample:\n  %s\n", c->example);
}

void help_overview(FILE *f)
{
	fputs("usage: kbanctl COMMAND [ARGUMENTS] [OPTIONS]\n\n", f);
	for (const struct command *c = commands; c->noun; c++) {
		char words[64];
		snprintf(words, sizeof(words), "%s %s", c->noun, c->verb ? c->verb : "");
		fprintf(f, "  %-18s %s\n", words, c->summary);
	}
	fputs("\noptions of every command:\n", f);
	options_print(f, command_globals);
	fputs("\nExit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 broker unreachable, "
	      "6 degraded.\n"
	      "`kbanctl COMMAND --help` shows a command's options and an example; see also "
	      "kbanctl(1).\n",
	      f);
}

static void mdoc_word(FILE *f, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\')
			fputs("\\e", f);
		else if (s[i] == '-')
			fputs("\\-", f);
		else
			fputc(s[i], f);
	}
}

/* mdoc(7) wants each sentence on a line of its own, and lines that are not long. */
static void mdoc_text(FILE *f, const char *text)
{
	size_t column = 0;
	bool stop = false;

	while (*(text += strspn(text, " "))) {
		size_t n = strcspn(text, " ");
		if (column && (stop || column + n > 70)) {
			fputc('\n', f);
			column = 0;
		}
		if (!column && (*text == '.' || *text == '\''))
			fputs("\\&", f); /* would be a request */
		fputs(column ? " " : "", f);
		mdoc_word(f, text, n);
		stop = text[n - 1] == '.';
		column += n + 1;
		text += n;
	}
	fputc('\n', f);
}

static void mdoc_item(FILE *f, const struct args_item *item)
{
	fputs(item->required ? "." : ".Op ", f);
	if (item->option && item->value[0])
		fprintf(f, "Fl \\-%s Ar %s", item->name, item->value);
	else if (item->option)
		fprintf(f, "Fl \\-%s", item->name);
	else
		fprintf(f, "Ar %s", item->name);
	fputs(item->repeat ? " ...\n" : "\n", f);
}

void help_mdoc(FILE *f)
{
	for (const struct command *c = commands; c->noun; c++) {
		struct args_item items[ARGS_ITEMS];
		size_t n = args_grammar(items, c->grammar);

		fprintf(f, ".It Xo\n.Cm %s%s%s\n", c->noun, c->verb ? " " : "",
			c->verb ? c->verb : "");
		for (size_t i = 0; i < n; i++)
			mdoc_item(f, &items[i]);
		fputs(".Xc\n", f);
		fprintf(f, "%s.\n", c->summary);
		mdoc_text(f, c->help);
		fprintf(f, ".Dl %s\n", c->example);
	}
}

int help_unknown(const struct context *ctx, const char *noun, const char *verb)
{
	const struct command *near = NULL;
	bool noun_known = false;
	kban_auto(kban_free) void *said = cli_escaped(noun, strnlen(noun, 64));

	for (const struct command *c = commands; c->noun; c++) {
		bool same = !strcmp(c->noun, noun);
		noun_known |= same;
		if (same ? verb && c->verb && args_near(verb, c->verb)
			 : !near && args_near(noun, c->noun))
			near = c;
	}
	if (near)
		return cli_fail(ctx, CLI_USAGE, "unknown command; did you mean `kbanctl %s%s%s`?",
				near->noun, near->verb ? " " : "", near->verb ? near->verb : "");
	if (!noun_known)
		return cli_fail(ctx, CLI_USAGE, "unknown command %s; `kbanctl --help` lists them",
				(char *)said);
	fprintf(ctx->err, "kbanctl: %s needs one of:", noun);
	for (const struct command *c = commands; c->noun; c++)
		if (!strcmp(c->noun, noun))
			fprintf(ctx->err, " %s", c->verb);
	fputs("\n", ctx->err);
	return CLI_USAGE;
}

int help_run(struct context *ctx)
{
	const char *noun = args_word(&ctx->args, 0), *verb = args_word(&ctx->args, 1);
	size_t shown = 0;

	if (args_flag(&ctx->args, "mdoc")) {
		help_mdoc(ctx->out);
		return CLI_OK;
	}
	if (!noun) {
		help_overview(ctx->out);
		return CLI_OK;
	}
	for (const struct command *c = commands; c->noun; c++)
		if (!strcmp(c->noun, noun) && (!verb || (c->verb && !strcmp(c->verb, verb)))) {
			fputs(shown++ ? "\n" : "", ctx->out);
			help_command(ctx->out, c);
		}
	return shown ? CLI_OK : help_unknown(ctx, noun, verb);
}
