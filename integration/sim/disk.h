/* SPDX-License-Identifier: MPL-2.0
 *
 * The simulator's disk: a second engine behind store/log.h. A struct disk outlives the programs that open it.
 * What a commit made durable stays; a crash loses the rest. Faults are planned by the simulation: the next
 * commit can find the disk full, or "crash" before or after it became durable (the program sees -EIO, and the
 * simulation takes it down).
 */
#ifndef KBAN_SIM_DISK_H
#define KBAN_SIM_DISK_H

#include "store/log.h"

enum disk_fault {
	DISK_SOUND,
	DISK_FULL,	   /* until set otherwise */
	DISK_CRASH_BEFORE, /* the next commit is lost */
	DISK_CRASH_AFTER,  /* the next commit is there, and nobody was told */
};

struct disk_entry {
	uint8_t *record; /* FORMAT.md's bytes, as a real engine stores them */
	struct kban_entry entry; /* borrows from it */
	struct kban_place after;
};

struct disk_row {
	uint8_t *key, *value;
	size_t key_len, value_len;
};

struct disk {
	struct kban_cluster_id cluster;
	enum disk_fault fault;
	bool crashed; /* a planned crash happened: the program must be taken down now */
	uint64_t commits;
	size_t entries_n, rows_n;
	struct disk_entry *entries; /* in order of seq, with gaps only at and below the horizon */
	struct kban_place horizon;
	uint64_t horizon_ms;
	struct disk_row *rows;	    /* in byte order of their keys */
};

void disk_new(struct disk **out, const struct kban_cluster_id *cluster);
void disk_free(struct disk *d);
/* The entry with this seq; NULL when there is none. */
const struct disk_entry *disk_entry(const struct disk *d, uint64_t seq);
/* One program at a time has it open; store_close() loses what was not committed. */
void disk_open(struct disk *d, struct store **out);

#endif
