/* SPDX-License-Identifier: MPL-2.0
 *
 * This node's own bans that the ledger does not carry (yet): their events wait in the outbox, or
 * the fleet refused them for a reason that is not about the address, and they run here for their
 * duration. One row a prefix, the latest end counts. Ends are of the boot clock, so that no step of
 * a wall clock and no correction of the broker's time shortens or lengthens a ban of this node. A row
 * knows its end in broker time only: what was read from one has an estimated end, by this server's wall
 * clock, until the broker's first word.
 */
#ifndef KBAN_NODE_OWN_H
#define KBAN_NODE_OWN_H

#include "proto/hash.h"
#include "proto/prefix.h"

#define OWN_MAX                                                                                    \
	200000 /* rows; beyond it a ban is in the kernel, but a new start of this node forgets it  \
		*/

struct own_ban {
	struct kban_prefix prefix;
	uint64_t until_boot_ms;
	uint32_t waiting; /* its events in the outbox */
	bool stored;	  /* has a row of its own in the store ("l") */
	bool estimated;
	uint64_t deadline_ms; /* the row's, while estimated; 0: none */
	UT_hash_handle hh;
};

struct own {
	struct own_ban *bans;
};

void own_free(struct own *o);
/* Makes the row or moves its end, never to an earlier one. NULL: the table is full. */
struct own_ban *own_add(struct own *o, const struct kban_prefix *p, uint64_t until_boot_ms);
struct own_ban *own_find(const struct own *o, const struct kban_prefix *p);
void own_remove(struct own *o, struct own_ban *b);
/* 0: none runs. */
uint64_t own_until(const struct own *o, const struct kban_prefix *p, uint64_t boot_ms);

#endif
