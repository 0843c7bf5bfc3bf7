/* SPDX-License-Identifier: MPL-2.0
 *
 * What became of a report's events, where not every one of them is plain `counted`: a row beside
 * the log's entry (store/FORMAT.md, "Rows of kban-broker"). No row: every event counted. The fold
 * gives the same once more, but only to who folds everything before; `log` is asked for single
 * entries.
 *
 * Results: 0, -errno or a store_result.
 */
#ifndef KBAN_BROKER_OUTCOMES_H
#define KBAN_BROKER_OUTCOMES_H

#include "store/ledger.h"
#include "store/log.h"

/* In the transaction that appends the entry. */
void outcomes_put(struct store *s, uint64_t seq, const struct ledger_verdict *v);
/* n: how many events the entry's report has. STORE_DAMAGED: the row does not fit it. */
int outcomes_get(struct store *s, uint64_t seq, uint32_t *out, size_t n) kban_must_check;

/* A log that an older broker wrote has no such rows: whether these are known to be complete. */
int outcomes_complete(struct store *s, bool *out) kban_must_check;
void outcomes_mark_complete(struct store *s);

/* Removes rows of entries that were compacted away: a bounded number of those from *next on, which
 * is moved on; true in *more while some at or below the horizon are left. Commits if there was any.
 */
int outcomes_sweep(struct store *s, uint64_t horizon, uint64_t *next, bool *more) kban_must_check;

#endif
