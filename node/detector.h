/* SPDX-License-Identifier: MPL-2.0
 *
 * The detector: a sliding window per (service, offender), where an offender is kban_prefix_offender() of an
 * address: an IPv4 address, an IPv6 /64, or one address inside 64:ff9b::/96. A rule with limits of its own
 * (rules.h) has a window per (rule, offender) instead; what it does not set is the configuration's.
 * Kerio's defaults: 10 failures within 60 s ban for 300 s. Pure: line time is passed in, memory is fixed at
 * creation (buckets of eight slots; a full bucket gives up the one whose newest failure is oldest).
 */
#ifndef KBAN_NODE_DETECTOR_H
#define KBAN_NODE_DETECTOR_H

#include "node/rules.h"

struct detector_config {
	uint32_t failures;   /* FailedLogins, 1..1000, default 10 */
	uint32_t check_s;    /* CheckTime, default 60 */
	uint32_t block_s;    /* BlockTime, default 300 */
	uint32_t max_windows; /* default 65536; rounded up to a power of two */
	uint32_t failures_max; /* the most that a rule of its own asks for; 0: none does */
};
extern const struct detector_config detector_defaults;

struct detector;

struct detector_offence {
	struct kban_prefix prefix; /* whom to ban */
	char service[KBAN_RULE_MAX + 1];
	const char *rule;	   /* of the line that filled the window */
	uint32_t count;
	uint64_t first_ms, last_ms; /* of the failures, line time */
	uint32_t block_s;
};

/* hash_key keeps attackers from choosing their bucket. */
void detector_new(struct detector **out, const struct detector_config *config, const uint8_t hash_key[16]);
void detector_free(struct detector *d);
KBAN_DEFINE_AUTO(struct detector *, detector_free)

/* One line's match at line_ms. True: *out is an offence and the window starts anew. A ban verdict is an
 * offence by itself. A pair of halves (rules.h) within 2 s counts once. Times may go back: a line
 * older than the window's newest counts at its own time. */
bool detector_feed(struct detector *d, const struct rules_match *m, uint64_t line_ms,
		   struct detector_offence *out) kban_must_check;
/* Makes room for a rule that asks for so many failures: its windows stay, but for what no longer fits when
 * their rings grow. To be called when the rules change. */
void detector_reserve(struct detector *d, uint32_t failures_max);
/* Forgets every window of offenders that overlap the prefix (an unban, or a safe range). */
void detector_clear(struct detector *d, const struct kban_prefix *prefix);
/* The oldest line time that can still matter to a window at now_ms; now_ms when none is open. */
uint64_t detector_oldest(const struct detector *d, uint64_t now_ms);
/* Windows open now, and given up because of a full bucket since creation. */
void detector_counts(const struct detector *d, uint64_t *open, uint64_t *given_up);

#endif
