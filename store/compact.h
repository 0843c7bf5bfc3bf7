/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction: the state at a new horizon is written beside the log, and the entries below it that
 * nothing rests on are dropped. A job does it in steps of bounded work, on a ledger of its own;
 * each step makes its own durable transactions, so it is called when the caller has none open.
 * Reports below the new horizon were verified when they were taken in; what the job folds must give
 * the stored chain, and what it wrote is read back and must give the same digest, before the
 * horizon moves: nothing is dropped that was not proven to be redundant. A job can be freed, and
 * the process can die, at any moment: the store is whole, and the next job removes what this one
 * left.
 *
 * Results: 0; < 0 is -errno; > 0 is enum store_result, or COMPACT_DONE. *error (never NULL) is then
 * a sentence that the caller frees.
 */
#ifndef KBAN_STORE_COMPACT_H
#define KBAN_STORE_COMPACT_H

#include "store/ledger.h"
#include "store/log.h"

enum { COMPACT_DONE = 100 }; /* no store_result */

/* The ledger at the horizon: for whoever starts, and folds on from there. The empty ledger for a
 * whole log. */
int compact_load(struct store *s, const struct kban_key *root, struct ledger **out,
		 char **error) kban_must_check;

/* A job is worth its while: the history period has moved on by a 32nd (and by an hour) since the
 * last one. *to is the seq up to which it may go. now is the ledger at the head. */
bool compact_due(const struct store_head *head, const struct ledger *now, uint64_t *to);
/* Something was left half done by a job, or by a process that died: run one, with to 0 if none is
 * due. */
int compact_unfinished(struct store *s, bool *out) kban_must_check;

struct compact_counts {
	uint64_t from, to; /* the horizon before and after */
	uint64_t folded, pages, dropped;
	uint64_t kept;	  /* below the horizon, as evidence */
	uint64_t missing; /* evidence that was not there */
};

struct compact;
/* Keeps the store, whose horizon is nobody else's to move until the job is freed. With to at or
 * below the horizon the job only finishes what was left half done. */
void compact_new(struct compact **out, struct store *s, const struct kban_key *root, uint64_t to);
/* 0: call again. After anything else all that is left to do is to free it; after STORE_FULL and
 * other failures a later job begins anew. */
int compact_step(struct compact *c, char **error) kban_must_check;
/* Tests only: steps that are this many times smaller. */
void compact_slice(struct compact *c, unsigned parts);
void compact_counts(const struct compact *c, struct compact_counts *out);
void compact_free(struct compact *c);
KBAN_DEFINE_AUTO(struct compact *, compact_free)

#endif
