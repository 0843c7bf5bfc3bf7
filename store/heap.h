/* SPDX-License-Identifier: MPL-2.0
 *
 * What is due when: a binary heap of (time, item) in which each item knows its position, so that a
 * time that changes moves its item instead of leaving a stale one behind. The heap borrows the
 * items.
 */
#ifndef KBAN_STORE_HEAP_H
#define KBAN_STORE_HEAP_H

#include <stdint.h>

#define HEAP_NEVER UINT64_MAX

struct due {		   /* the first member of whatever can become due */
	uint32_t position; /* from 1; 0: not in the heap */
	uint8_t kind;	   /* enum due_kind, ledger_private.h */
};

struct heap_item {
	uint64_t at;
	struct due *due;
};

struct heap {			 /* all zero is an empty one */
	struct heap_item *items; /* items[0] is not used */
	uint32_t n, capacity;
};

void heap_clear(struct heap *h);
/* Puts it in, or moves it; HEAP_NEVER takes it out. */
void heap_set(struct heap *h, struct due *d, uint64_t at);
/* The earliest; NULL when none is due by `by`. */
struct due *heap_due(const struct heap *h, uint64_t by);
/* Calls fn for all that are due by `by`, in no order, and ahead(arg, at) for those that bound them:
 * the earliest time after `by` is among these. O(number due). ahead may be NULL. */
void heap_each_due(const struct heap *h, uint64_t by, void (*fn)(void *arg, const struct due *d),
		   void (*ahead)(void *arg, uint64_t at), void *arg);
/* Sets every item's time anew, O(n); none may become HEAP_NEVER. */
void heap_retime(struct heap *h, uint64_t (*at)(const void *arg, const struct due *d),
		 const void *arg);

#endif
