/* SPDX-License-Identifier: MPL-2.0
 *
 * Taking over another's state: for a node whose place lies below the broker's horizon. Pages come
 * first, then the evidence: the signed entries that the rows of the state rest on, rising. Both are
 * checked as they come (form, limits, digest; signatures, and that each report says what its row
 * says) and written as rows that nobody reads: a message is one durable transaction, so memory
 * holds one message and the ledger that it becomes, whatever the state's size. One last
 * transaction, with the caller's own rows in it, moves the horizon; then a compaction job moves the
 * evidence to the log and drops what was there before. Until that transaction the store is what it
 * was; after it nothing is missing. An install that is freed or whose process dies leaves rows for
 * a job to remove.
 *
 * What is proved: no ban, member, range, policy or version was invented. What is not
 * (store/snapshot.h) the caller holds for unconfirmed.
 *
 * Results: 0; < 0 is -errno; > 0 is enum store_result; after anything but 0 all that is left to do
 * is to free it. STORE_DAMAGED: what came is wrong. *error (never NULL) is then a sentence that the
 * caller frees.
 */
#ifndef KBAN_STORE_INSTALL_H
#define KBAN_STORE_INSTALL_H

#include "store/compact.h"

struct install;
/* Keeps the store. compact_unfinished() must be false: run a job to its end first. */
void install_new(struct install **out, struct store *s, const struct kban_key *root);
void install_free(struct install *i);
KBAN_DEFINE_AUTO(struct install *, install_free)

/* The log that is in the store is true: evidence must not say otherwise where both have an entry. To be
 * called before the first entry, unless that log rests on an unconfirmed state itself. */
void install_witness(struct install *i);
/* In order, from page 0 on; no transaction is open. The state's place has to lie above the store's
 * head. */
int install_pages(struct install *i, const struct kban_state_page *pages, size_t n,
		  char **error) kban_must_check;
/* After the last page: the digest is right. */
int install_pages_end(struct install *i, char **error) kban_must_check;
/* The seq of the evidence that is wanted next; 0: that was all. */
uint64_t install_wants(const struct install *i);
/* Entries with rising seq; those that are not wanted are passed over. */
int install_entries(struct install *i, const struct kban_entry *entries, size_t n,
		    char **error) kban_must_check;

/* Nothing is wanted any more: begins the transaction that puts the state in place. The caller adds its
 * rows and commits; when that returned 0 it runs a job with to 0. Freeing the install changes nothing then. */
void install_begin(struct install *i);
/* The ledger of the state, once; the caller's own from here on. */
void install_ledger(struct install *i, struct ledger **out);

#endif
