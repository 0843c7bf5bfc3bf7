/* SPDX-License-Identifier: MPL-2.0
 *
 * What time it is at the broker. Each word of the broker (Welcome, Probe, Entries) gives its clock
 * when the word was sent; the way here can only make it look late. So the latest reading of the
 * last half minute to minute counts, carried on by the boot clock: a step forward counts at once, a
 * step back when no reading from before it is left. Welcome is the first thing on a connection and
 * counts by itself. Before the first word the wall clock stands in.
 */
#ifndef KBAN_NODE_BROKERTIME_H
#define KBAN_NODE_BROKERTIME_H

#include "proto/clock.h"
#include "proto/mem.h"

#include <stdbool.h>

#define BROKERTIME_WINDOW_MS 30000

struct brokertime { /* offsets are broker time minus boot clock */
	bool known;
	int64_t newest, older;
	uint64_t turned_boot_ms; /* when the half windows last changed places */
};

void brokertime_reset(struct brokertime *t, uint64_t broker_ms, uint64_t boot_ms);
void brokertime_heard(struct brokertime *t, uint64_t broker_ms, uint64_t boot_ms);
uint64_t brokertime_now(const struct brokertime *t, const struct kban_clock *clock);

#endif
