/* SPDX-License-Identifier: MPL-2.0
 *
 * From a log file to offences: tail, rules, detector, and the two places in the file that are
 * stored in the same transaction as the offences that the lines led to: `replay_from`, the oldest
 * line that can still matter to a window, and `done_to`, up to which everything was handled. At a
 * new start the lines between the two only rebuild the windows; the offences in them were reported
 * before.
 *
 * Windows use the time that stands in the line, read in the machine's zone; an offence found in a
 * backlog bans for what remains of its duration, counted from its last line.
 */
#ifndef KBAN_NODE_FOLLOW_H
#define KBAN_NODE_FOLLOW_H

#include "node/core.h"
#include "node/detector.h"
#include "node/tail.h"

#define FOLLOW_LINES_MAX 2000 /* in one turn of the loop */

struct follow;

struct follow_config { /* borrowed, and must outlive the follower */
	const char *path;
	enum tail_start start;
	const struct rules *rules;
	struct detector *detector;
	struct node *node;
	struct store *store;
	const struct kban_clock *clock;
};

int follow_new(struct follow **out, const struct follow_config *config) kban_must_check;
void follow_free(struct follow *f);
KBAN_DEFINE_AUTO(struct follow *, follow_free)

/* Reads what comes by other rules; windows stay. Keeps them instead of those that it had. */
void follow_rules(struct follow *f, const struct rules *rules);
/* To poll for reading. */
int follow_fd(const struct follow *f);
/* Handles at most FOLLOW_LINES_MAX lines and makes their offences durable. To be called when the
 * descriptor is readable, once a second besides, and again soon when it says so: 1 more lines are
 * there, 0 none, or -errno. */
int follow_read(struct follow *f) kban_must_check;
uint64_t follow_lines(const struct follow *f);

#endif
