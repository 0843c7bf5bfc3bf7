/* SPDX-License-Identifier: MPL-2.0
 *
 * Durations and times as people write and read them. A duration is one or more of NUMBER and a unit
 * out of d, h, m, s, ms, each unit at most once and the longer one first: "90s", "1h30m", "7d".
 * Times are RFC 3339, in UTC.
 */
#ifndef KBAN_CLI_TIME_H
#define KBAN_CLI_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/mem.h"

#define DURATION_TEXT 40
#define TIME_TEXT     32

/* False for anything else, for zero, and for what is over max_ms. */
bool duration_parse(uint64_t *out_ms, const char *text, uint64_t max_ms) kban_must_check;
/* The two longest units that are not zero: "1h30m", "6d23h", "850ms", "0s". Returns out. */
const char *duration_format(char out[DURATION_TEXT], uint64_t ms);
/* "2026-03-01T10:20:30Z". Returns out. */
const char *time_format(char out[TIME_TEXT], uint64_t ms);

#endif
