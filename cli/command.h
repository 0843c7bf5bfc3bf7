/* SPDX-License-Identifier: MPL-2.0
 *
 * Commands: one const table row gives a command's words, grammar, handler, help and example;
 * parsing, `--help`, suggestions and the manual's list come from it. A handler gets what was parsed
 * in a context, writes data to ctx->out and messages to ctx->err, and returns the program's exit
 * code.
 */
#ifndef KBAN_CLI_COMMAND_H
#define KBAN_CLI_COMMAND_H

#include <stdio.h>

#include "cli/args.h"
#include "cli/output.h"
#include "proto/clock.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NOT_FOUND = 3,
	CLI_DENIED = 4,
	CLI_UNREACHABLE = 5,
	CLI_DEGRADED = 6,
};

struct context;

struct command {
	const char *noun;
	const char *verb; /* NULL: the noun alone is the command */
	const char *grammar;
	const char *summary; /* one line, an imperative */
	const char *help;    /* what is good to know besides; whole sentences */
	const char *example;
	int (*run)(struct context *ctx);
};

extern const struct command commands[]; /* ends with a row without a noun */

/* The options of every command, as a grammar. */
extern const char command_globals[];
/* What an option means; NULL: none of that name. */
const char *command_option_help(const char *name);

struct context {
	const struct command *command;
	struct args args;
	enum output_format format;
	const char *identity; /* --identity, $KBAN_IDENTITY, or NULL: the command's default */
	uint64_t timeout_ms;  /* 0: the command's default */
	bool quiet;
	FILE *out, *err;
	const struct kban_clock *clock;
};

#define CLI_IDENTITY	   "/etc/kban/operator.id"
#define CLI_TIMEOUT_MS	   5000
#define CLI_TIMEOUT_MAX_MS 3600000ULL

/* Runs one command line; main() and the tests call it. */
int cli_main(int argc, char **argv, FILE *out, FILE *err, const struct kban_clock *clock);

/* "kbanctl: sentence" to ctx->err, and code. Outside text in it was escaped by the caller. */
int cli_fail(const struct context *ctx, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with a sentence that is freed. */
int cli_fail_with(const struct context *ctx, int code, char *sentence);
/* A message to ctx->err, unless --quiet. */
void cli_say(const struct context *ctx, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An output on ctx->out in the format that was asked for; list names the rows, NULL: it is a single
 * record. */
void cli_output(struct output **out, const struct context *ctx, const struct output_column *columns,
		const char *list, uint64_t now_ms);
/* Colours are fine on stdout. */
bool cli_colour(const struct context *ctx);
/* The same; head as in struct output_options. */
void cli_output_with(struct output **out, const struct context *ctx,
		     const struct output_column *columns, const char *list, uint64_t now_ms,
		     const char *head);
/* output_end() with a message and an exit code. */
int cli_output_end(const struct context *ctx, struct output *o);

/* The n-th argument as a prefix, with words about what is wrong with it; host bits are refused. */
int cli_prefix(const struct context *ctx, struct kban_prefix *out,
	       const char *text) kban_must_check;
/* An option's duration; *out is left alone when the option is not there. */
int cli_duration(const struct context *ctx, uint64_t *out_ms, const char *option,
		 uint64_t max_ms) kban_must_check;
/* --since: how long ago; 0: all there is. *out is left alone when the option is not there. */
int cli_since(const struct context *ctx, uint64_t *out_ms) kban_must_check;
/* --reason, or an empty text. */
int cli_reason(const struct context *ctx, struct kban_text *out) kban_must_check;

/* kban_escape() into memory of its own; the caller frees. */
char *cli_escaped(const void *s, size_t n);

/* Help (help.c). */
void help_command(FILE *f, const struct command *c);
void help_overview(FILE *f);
/* The list of commands as mdoc, for the manual. */
void help_mdoc(FILE *f);
/* "unknown command"; names the nearest ones. Returns CLI_USAGE. */
int help_unknown(const struct context *ctx, const char *noun, const char *verb);

/* Handlers. */
int init_run(struct context *ctx);
int broker_add(struct context *ctx);
int broker_list(struct context *ctx);
int principals_invite(struct context *ctx);
int principals_join(struct context *ctx);
int principals_list(struct context *ctx);
int principals_release(struct context *ctx);
int principals_revoke(struct context *ctx);
int cluster_list(struct context *ctx);
int cluster_status(struct context *ctx);
int fold_version_run(struct context *ctx);
int epoch_accept_run(struct context *ctx);
int ban_add(struct context *ctx);
int ban_remove(struct context *ctx);
int ban_list(struct context *ctx);
int why_run(struct context *ctx);
int log_run(struct context *ctx);
int policy_show_run(struct context *ctx);
int policy_set_run(struct context *ctx);
int policy_test_run(struct context *ctx);
int safeacl_list(struct context *ctx);
int safeacl_add(struct context *ctx);
int safeacl_remove(struct context *ctx);
int safeacl_approve(struct context *ctx);
int explain_run(struct context *ctx);
int replay_run(struct context *ctx);
int help_run(struct context *ctx);

#endif
