/* SPDX-License-Identifier: MPL-2.0
 *
 * The audit trail: rows of the log as a broker gives them, checked here. A row is believed when its
 * report was signed by a key that verify.h knows from the root key on, which was granted before and
 * not revoked before that place in the log, and when what the broker adds (what the ledger still
 * knows of a ban) is possible for that report. Outcomes are the broker's word; so is that nothing
 * was left out.
 */
#ifndef KBAN_CLI_TRAIL_H
#define KBAN_CLI_TRAIL_H

#include "cli/fleet.h"
#include "cli/progress.h"

enum trail_check {
	TRAIL_CHECKED,
	TRAIL_FORGED,	  /* the signature is not its author's, or what the broker adds cannot be */
	TRAIL_STRANGER,	  /* its author was not let in, or was shut out, at that place */
	TRAIL_UNREADABLE, /* of a newer version; nothing can be said */
};
const char *trail_check_name(enum trail_check c);

struct trail_row {
	const struct kban_log_row *row;
	const struct kban_report *report; /* NULL: unreadable */
	enum trail_check check;
	char author[KBAN_NAME_MAX + 1]; /* as granted; of a stranger: "" */
	enum kban_role role;		/* 0: a stranger's, or an invitation's */
};

/* Fills out; *report is the caller's to free and holds what out borrows. */
void trail_judge(const struct verify *v, const struct kban_log_row *row, struct trail_row *out,
		 struct kban_report **report);
/* What the ledger still knows of the event; NULL. */
const struct kban_record_row *trail_record(const struct trail_row *r, size_t event);
/* enum kban_outcome; 0: not known. */
unsigned trail_outcome(const struct trail_row *r, size_t event);
/* The prefix that an event is about; NULL when it is about none. */
const struct kban_prefix *trail_prefix(const struct kban_event *e);
/* The event is of one of these kinds (0: any), and about what overlaps prefix (NULL: about
 * anything). */
bool trail_wanted(const struct kban_event *e, uint32_t kinds, const struct kban_prefix *prefix);

struct trail {
	struct fleet *fleet;	   /* borrowed */
	struct progress *progress; /* borrowed; may be NULL */
	uint64_t bad;		   /* rows so far that are not checked */
	struct kban_place head;
	uint64_t broker_ms;
};

typedef int trail_fn(void *arg,
		     const struct trail_row *r); /* nonzero ends the walk and is returned */
/* The rows of one answer. */
int trail_page(struct trail *t, const struct kban_answer *a, trail_fn *fn,
	       void *arg) kban_must_check;
/* All pages. q->after is then how far the search came. 0, an exit code (said), or what fn returned.
 */
int trail_each(struct trail *t, struct kban_query *q, trail_fn *fn, void *arg) kban_must_check;
/* After all: CLI_FAILED, said, when a row was not to be believed. */
int trail_verdict(const struct trail *t) kban_must_check;

#endif
