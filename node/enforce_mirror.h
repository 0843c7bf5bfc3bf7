/* SPDX-License-Identifier: MPL-2.0
 *
 * Keeps the kernel's sets like the wanted table: by single changes as long as it knows what the
 * kernel has, and by comparing when it doesn't.
 *
 * Large sets can't be read back in reasonable time. They are therefore compared only when the
 * kernel's count of transactions says that somebody else may have changed them, and are then filled
 * anew beside the one in use and exchanged in one transaction.
 */
#ifndef KBAN_NODE_ENFORCE_MIRROR_H
#define KBAN_NODE_ENFORCE_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "node/nft.h"
#include "node/enforce_wanted.h"

struct mirror_repairs { /* others' changes that were undone */
	uint64_t put_back, removed, corrected;
	uint64_t layouts; /* table, chains, sets or rules */
	uint64_t refills; /* sets too large to compare */
};

struct mirror_refs { /* entries, by key: pointers don't last */
	struct mirror_ref *p;
	size_t n, size;
};

struct mirror {
	struct nft *nft;
	struct wanted *wanted;
	bool known;    /* entries' kernel field is true */
	bool complete; /* everything wanted is known, so what is not wanted may go */
	bool many_lengths; /* has been said */
	bool new_bans; /* bans went into the kernel; for the owner to look at and reset */
	struct mirror_repairs repairs;
	struct mirror_refs changes, sent;
};

/* Keeps both pointers. */
void mirror_init(struct mirror *m, struct nft *nft, struct wanted *wanted);
void mirror_release(struct mirror *m);

/* e has changed: the next mirror_apply() looks at it. */
void mirror_changed(struct mirror *m, struct wanted_group *g, struct wanted_entry *e);
/* Brings the changes into the kernel: one transaction if they are no more than MIRROR_TRANSACTION,
 * else several: safe additions first, then bans, safe removals last. When it fails,
 * mirror_compare() is needed. */
#define MIRROR_TRANSACTION 1000
int mirror_apply(struct mirror *m) kban_must_check;
/* More ban lengths of a family than this get a warning: node/adr/0002 has the figures. */
#define MIRROR_LENGTHS_MANY 16
/* Reads what the kernel has and brings it to what is wanted. A foreign layout is left alone unless
 * replace: then MIRROR_FOREIGN. */
#define MIRROR_FOREIGN 1
int mirror_compare(struct mirror *m, bool replace) kban_must_check;
/* Nobody else changed anything since the last comparison. */
bool mirror_untouched(struct mirror *m);

/* Bans whose ends are this close are one; clocks and kernel ticks differ by less. */
#define MIRROR_TOLERANCE_MS 3000
bool mirror_same_end(uint64_t a_ms, uint64_t b_ms);

#endif
