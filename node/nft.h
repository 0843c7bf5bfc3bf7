/* SPDX-License-Identifier: MPL-2.0
 *
 * Our nftables table, by raw netlink. Layout, family inet:
 *
 *   chain filter   prerouting, priority -310: before connection tracking; jumps to ban
 *   chain ban      one rule for each set banF_N: goes to safe
 *   chain safe     one rule for each set safeF_N: accept; at the end drops
 *   set ports      the protected TCP ports, when they are not all
 *
 * So a packet from an address that is not banned is looked up in the sets of bans only
 * (node/adr/0002 has the figures).
 *
 * Each family and prefix length has a hash set of its own, of addresses cut to that length, which
 * is made with its rule when it is first needed. So adding, deleting and matching cost the same for
 * /32 and /16, nothing overlaps, and an element is one address and its timeout.
 *
 * Changes are collected between nft_begin() and nft_commit(), which is one kernel transaction.
 * Netlink answers a transaction before the call that sends it returns, so nothing here waits for
 * anybody. After a failed commit, and whenever somebody else has changed our table, call
 * nft_layout_read() first: it finds out anew which sets exist.
 */
#ifndef KBAN_NODE_NFT_H
#define KBAN_NODE_NFT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/prefix.h"

struct nft;

enum nft_kind {
	NFT_BAN = 0,
	NFT_SAFE = 1,
};
#define NFT_KINDS 2

struct nft_set {	/* which of our sets */
	uint8_t kind;	/* enum nft_kind */
	uint8_t family; /* enum kban_family */
	uint8_t len;	/* 1..32 or 1..128 */
};

#define NFT_FOREVER UINT64_MAX

/* Opens the netlink sockets; needs CAP_NET_ADMIN. Copies what it is given. */
int nft_open(struct nft **out, const char *table, const uint16_t *ports,
	     size_t ports_n) kban_must_check;
void nft_free(struct nft *n);
KBAN_DEFINE_AUTO(struct nft *, nft_free)

enum nft_layout {
	NFT_LAYOUT_ABSENT = 1, /* no table: nft_create() */
	NFT_LAYOUT_RULES,      /* only rules differ: nft_write_rules() */
	NFT_LAYOUT_STALE,      /* anything else: nft_replace() */
};
/* Compares table, chains, sets' definitions and rules with what they should be. 0: as they should
 * be. */
int nft_layout_read(struct nft *n) kban_must_check;

void nft_begin(struct nft *n);
void nft_create(struct nft *n);	     /* the table without sets for prefixes */
void nft_replace(struct nft *n);     /* takes the table out first; every set must be filled again */
void nft_write_rules(struct nft *n); /* all chains' rules anew; removes half-made sets */
/* addr: 4 or 16 bytes, cut to set.len. Safe sets take NFT_FOREVER only. */
void nft_add(struct nft *n, struct nft_set set, const uint8_t *addr, uint64_t timeout_ms);
void nft_delete(struct nft *n, struct nft_set set, const uint8_t *addr);
/* Deleting what is no longer there (its timeout was faster) is no error. */
int nft_commit(struct nft *n) kban_must_check;

/* Filling one set anew beside the one in use: after nft_swap_begin() nft_add() fills the new one,
 * in as many transactions as wanted; nft_swap_end() adds the exchange to the transaction that was
 * begun. */
void nft_swap_begin(struct nft *n, struct nft_set set);
void nft_swap_end(struct nft *n, struct nft_set set);

/* Takes out a set that nothing is in, with its rule: every packet is looked up in every set. It is
 * made again when needed. After one or more of these, nft_write_rules(). */
void nft_retire(struct nft *n, struct nft_set set);

bool nft_set_exists(const struct nft *n, struct nft_set set);
/* Calls cb for each element; left_ms is NFT_FOREVER without a timeout. NFT_DUMP_TOO_MANY: there are
 * more than max, and nobody knows how many (reading a large set back is quadratic in its size). */
#define NFT_DUMP_TOO_MANY 1
typedef void nft_element_fn(void *arg, const uint8_t *addr, uint64_t left_ms);
int nft_dump(struct nft *n, struct nft_set set, size_t max, nft_element_fn *cb,
	     void *arg) kban_must_check;

/* Becomes readable when another process has changed a ruleset: then call nft_touched(), which says
 * whether it was, or may have been, our table since the last nft_layout_read(). */
int nft_watch_fd(const struct nft *n);
bool nft_touched(struct nft *n);
/* The kernel's count of transactions shows that only we, and those who left our table alone, have
 * made any since the last nft_layout_read(). False when in doubt. */
bool nft_untouched(struct nft *n);

/* Between these two the kernel makes no notifications: with many changes they cost far more than
 * the changes themselves. nft_listen() finds by the kernel's count whether somebody else made
 * transactions. */
void nft_deafen(struct nft *n);
void nft_listen(struct nft *n);

#endif
