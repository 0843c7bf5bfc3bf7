/* SPDX-License-Identifier: MPL-2.0
 *
 * How a join token comes in: from stdin, a prompt that shows nothing, a file that others cannot
 * use, or, with a warning and wiped at once, the command line.
 */
#ifndef KBAN_CLI_SECRET_H
#define KBAN_CLI_SECRET_H

#include "cli/command.h"
#include "proto/identity.h"

/* 0 or an exit code, said. The caller wipes the token. */
int secret_token(const struct context *ctx, struct kban_token *out) kban_must_check;

#endif
