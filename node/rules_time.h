/* SPDX-License-Identifier: MPL-2.0
 *
 * The time of a line: Kerio writes local time without a zone, read here in this machine's (TZ).
 */
#ifndef KBAN_NODE_RULES_TIME_H
#define KBAN_NODE_RULES_TIME_H

#include "node/rules.h"

/* Of the hour that comes twice in autumn it is the later one that is not after latest_ms. False:
 * the line has no time, or none that there was. */
bool rules_time(uint64_t *out_ms, const struct rules_match *m, uint64_t latest_ms) kban_must_check;

/* Many lines of one log: remembers the zone's offset within a quarter of an hour (zones change at
 * its ends), for times long past. Zeroed at first. */
struct rules_times {
	bool known;
	int64_t quarter, offset_s;
};
bool rules_time_next(struct rules_times *t, uint64_t *out_ms, const struct rules_match *m,
		     uint64_t latest_ms) kban_must_check;

#endif
