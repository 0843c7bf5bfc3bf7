/* SPDX-License-Identifier: MPL-2.0
 *
 * What waits to be made durable: entries that were folded and rows that changed (outbox, sealed
 * report, log positions), kept in memory until one transaction has written all of it. A full disk
 * leaves everything staged for the next attempt: the fold and the kernel may be ahead of the disk,
 * the disk is never ahead of what it acknowledges. Bounded by the stream's window (nothing is
 * acknowledged before it is stored) and by the outbox's limit; a key that changes twice is written
 * once.
 */
#ifndef KBAN_NODE_STAGE_H
#define KBAN_NODE_STAGE_H

#include "store/log.h"

struct stage_row;

struct stage_entry {
	struct kban_entry entry; /* its bytes are owned here */
	struct kban_place after;
};

struct stage {
	struct stage_row *rows; /* uthash by key */
	size_t entries_n, entries_room;
	struct stage_entry *entries;
	size_t bytes; /* roughly what is staged; a store takes 64 MiB in one transaction */
};

void stage_free(struct stage *s);
void stage_put(struct stage *s, struct kban_span key, struct kban_span value);
void stage_delete(struct stage *s, struct kban_span key);
/* Copies the entry. */
void stage_append(struct stage *s, const struct kban_entry *entry, const struct kban_place *after);
bool stage_empty(const struct stage *s);
/* 0: all of it is durable and the stage is empty. STORE_FULL: nothing is, and everything stays. */
int stage_commit(struct stage *s, struct store *store) kban_must_check;

#endif
