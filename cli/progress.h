/* SPDX-License-Identifier: MPL-2.0
 *
 * A bar on stderr for what takes more than a second, on a terminal only and not with --quiet. It is
 * cleared before anything else is written there.
 */
#ifndef KBAN_CLI_PROGRESS_H
#define KBAN_CLI_PROGRESS_H

#include "cli/command.h"

#define PROGRESS_AFTER_MS 1000

struct progress {
	const struct context *ctx;
	const char *what; /* "searching the log" */
	bool enabled, shown;
	uint64_t start_ms, drawn_ms;
};

/* Keeps ctx and what. */
void progress_begin(struct progress *p, const struct context *ctx, const char *what);
/* So much is done; draws at most ten times a second. all 0: nobody knows how much there is. */
void progress_show(struct progress *p, uint64_t done, uint64_t all);
void progress_clear(struct progress *p);

#endif
