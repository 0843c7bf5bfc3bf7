/* SPDX-License-Identifier: MPL-2.0
 *
 * What `explain` and `replay` have in common: --rules, --log, and where lines come from.
 */
#ifndef KBAN_CLI_RULEBOOK_H
#define KBAN_CLI_RULEBOOK_H

#include "cli/command.h"
#include "node/rules.h"

/* The files that --rules names, before the built-in rules. 0, or an exit code after a message. */
int rulebook_open(const struct context *ctx, struct rules **out, bool untested) kban_must_check;
/* What --log says; from anywhere without it. */
int rulebook_source(const struct context *ctx, struct rules_source *out) kban_must_check;
/* A file, or stdin for "-". 0, or an exit code after a message. */
int rulebook_file(const struct context *ctx, const char *path, int *fd) kban_must_check;

/* Says how often a rule was passed over because a line would have cost it too much. */
void rulebook_say_slow(const struct context *ctx, const struct rules *r);

#endif
