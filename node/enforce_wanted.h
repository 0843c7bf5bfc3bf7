/* SPDX-License-Identifier: MPL-2.0
 *
 * What the child wants in the kernel, and what it knows to be there: one entry for each prefix that
 * is in either. Entries live in groups, one for each kind, family and prefix length (as the
 * kernel's sets do); a group is a hash table with a secret seed, since attackers choose addresses.
 * A covering prefix is found with one lookup for each length in use.
 *
 * A pointer to an entry is good until the next entry is made or dropped in its group.
 */
#ifndef KBAN_NODE_ENFORCE_WANTED_H
#define KBAN_NODE_ENFORCE_WANTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/nft.h"

/* Why a safe range is wanted; bits of wanted_entry.until. */
#define WANTED_BY_NODE	1u
#define WANTED_EXCEPTED 2u

struct wanted_entry {
	uint8_t addr[16];
	uint64_t until;	 /* bans: boot ms; safe ranges: who wants it; 0: not wanted */
	uint64_t kernel; /* bans: boot ms of the timeout in the kernel; safe: 1; 0: not there */
	uint64_t seen;	 /* the same, as a comparison has just found it */
	bool used;
	bool dirty; /* stands in the child's list of changes */
};

struct wanted_group {
	struct nft_set set;
	struct wanted_entry *slots;
	size_t size, n;	   /* size: a power of two, or 0 */
	uint64_t next_end; /* no ban in here ends before it */
};

struct wanted_counts {
	uint64_t bans, bans_enforced;	/* wanted; of these in the kernel */
	uint64_t safes, safes_enforced; /* by the node's operations */
};

#define WANTED_GROUPS_MAX (NFT_KINDS * (32 + 128))
struct wanted;

struct wanted *wanted_new(uint64_t seed);
void wanted_free(struct wanted *w);
KBAN_DEFINE_AUTO(struct wanted *, wanted_free)

/* All groups that were ever used: 0 .. *n-1. */
struct wanted_group **wanted_groups(struct wanted *w, size_t *n);
struct wanted_group *wanted_group(struct wanted *w, struct nft_set set); /* made when missing */

struct wanted_entry *wanted_find(struct wanted *w, const struct wanted_group *g,
				 const uint8_t *addr);
/* The same, made when missing: until and kernel are 0. */
struct wanted_entry *wanted_get(struct wanted *w, struct wanted_group *g, const uint8_t *addr);
/* All changes of until and kernel go through here; an entry that has neither is dropped by
 * wanted_drop(). */
void wanted_set(struct wanted *w, struct wanted_group *g, struct wanted_entry *e, uint64_t until,
		uint64_t kernel);
/* Drops e if it is neither wanted nor in the kernel. Another entry may move into its slot. */
bool wanted_drop(struct wanted *w, struct wanted_group *g, struct wanted_entry *e);

/* p is equal to or inside a wanted prefix of that kind. */
bool wanted_covers(struct wanted *w, enum nft_kind kind, const struct kban_prefix *p,
		   uint64_t now_ms);
/* Forgets the bans that have ended, as the kernel does by itself. Returns whether there were any.
 */
bool wanted_expire(struct wanted *w, uint64_t now_ms);
const struct wanted_counts *wanted_counts(const struct wanted *w);

#endif
