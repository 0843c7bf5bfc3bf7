/* SPDX-License-Identifier: MPL-2.0
 *
 * The state at the horizon as rows of a store: pages of items (store/snapshot.h), and evidence that
 * waits for its horizon. FORMAT.md, "State at the horizon", byte for byte. Rows of another seq than
 * the horizon's are what an interrupted job left: nobody reads them, and pages_sweep() removes
 * them.
 */
#ifndef KBAN_STORE_PAGES_H
#define KBAN_STORE_PAGES_H

#include "store/log.h"

/* Eight of LMDB's pages less its header, so that none of them is left nearly empty. */
#define PAGE_MAX      (8U * 4096U - 16U)
#define PAGE_KEY_SIZE 13U /* 'c', u64 seq, u32 number */
#define STAGED_KEY    17U /* 'e', u64 horizon, u64 seq */

typedef int page_item_fn(void *arg, struct kban_span item);

/* Calls fn for each item of a page; stops when fn returns nonzero and returns that. STORE_DAMAGED:
 * it is not whole items, and fn has seen those before. */
int page_each(struct kban_span page, page_item_fn *fn, void *arg) kban_must_check;
/* Page n of the state at seq, the caller's to free. STORE_NOT_FOUND after the last one. */
int page_get(struct store *s, uint64_t seq, uint32_t n, uint8_t **bytes,
	     size_t *len) kban_must_check;

/* In an open transaction. */
void page_put(struct store *s, uint64_t seq, uint32_t n, struct kban_span page);

/* Fills pages from item to item. */
struct page_writer {
	uint64_t seq;
	uint32_t n; /* of the page that is being filled */
	size_t len;
	uint8_t bytes[PAGE_MAX];
};
/* In an open transaction: stages the page that item does not fit into any more; true when it did.
 */
bool page_add(struct page_writer *w, struct store *s, struct kban_span item);
/* In an open transaction: stages what is left. */
void page_flush(struct page_writer *w, struct store *s);
/* In an open transaction, before its commit: nothing comes after the pages so far. Deleting also
 * entitles the transaction to the disk's reserve, which is there for this. */
void page_end(const struct page_writer *w, struct store *s);

/* The row that is there as long as a job has to come: entries below the horizon wait to be dropped,
 * or staged evidence to be moved. In an open transaction. */
#define UNFINISHED_KEY "d"
void unfinished_put(struct store *s, uint64_t horizon);
void unfinished_delete(struct store *s);

/* Stages up to max deletions of rows that are not the horizon's; how many in *n, fewer than max
 * when no more are left. */
int pages_sweep(struct store *s, uint64_t horizon, size_t max, size_t *n) kban_must_check;

/* Evidence for a horizon that is still to come: put, and moved to the log once it is there (up to
 * max entries; *n says how many). In an open transaction. */
void staged_put(struct store *s, uint64_t horizon, const struct kban_entry *e);
int staged_move(struct store *s, uint64_t horizon, size_t max, size_t *n) kban_must_check;

#endif
