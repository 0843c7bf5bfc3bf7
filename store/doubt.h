/* SPDX-License-Identifier: MPL-2.0
 *
 * Whether the clocks are to be trusted with dropping a part of the log for good. One report that
 * was accepted under a wrong clock makes everything before it look older than the history period,
 * and nobody can take that back; so whoever compacts asks here first, at every look. Times are
 * milliseconds.
 */
#ifndef KBAN_STORE_DOUBT_H
#define KBAN_STORE_DOUBT_H

#include "proto/clock.h"
#include "proto/mem.h"

#include <stdbool.h>

#define DOUBT_STEP_MS 300000   /* a difference of clocks that no network or slewing makes */
#define DOUBT_GAP_MS  86400000 /* between the end of the log and a start */
#define DOUBT_LAST_MS 86400000 /* how long a step or a gap is remembered, by the boot clock */

struct doubt { /* zeroed: nothing was looked at yet */
	bool known;
	int64_t offset_ms; /* wall clock minus boot clock, at the last look */
	uint64_t until_ms; /* boot clock */
	int64_t stepped_ms;
	uint64_t gap_ms;   /* 0: it was a step */
	uint64_t ahead_ms; /* by which the log is ahead of the wall clock now */
};

/* At the start of a broker, whose clock makes ledger time; log_ms is that of its log (0: empty). */
void doubt_start(struct doubt *d, const struct kban_clock *clock, uint64_t log_ms);
/* True: no part of the log may be dropped now. */
bool doubt_look(struct doubt *d, const struct kban_clock *clock, uint64_t log_ms);
/* For people, after such a look: what is doubted, what is not done, what helps. */
void doubt_say(const struct doubt *d);

#endif
