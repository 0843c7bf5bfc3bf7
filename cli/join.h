/* SPDX-License-Identifier: MPL-2.0
 *
 * Joining: a key of one's own takes an invitation's place. The new key is on disk (PATH.joining)
 * before it is sent, so that a join whose receipt was lost is found out the next time: the broker
 * then admits the new key.
 */
#ifndef KBAN_CLI_JOIN_H
#define KBAN_CLI_JOIN_H

#include "cli/client.h"
#include "cli/command.h"

/* Joins with the token and saves the identity as path, which must not be there. 0 or an exit code,
 * said. */
int join_with(const struct context *ctx, const struct kban_token *t,
	      const char *path) kban_must_check;
/* The same with a key that was made already (a broker's); identity is saved by join_with's rules.
 */
int join_as(const struct context *ctx, const struct kban_token *t, struct kban_identity *id,
	    const char *path) kban_must_check;

#endif
