/* SPDX-License-Identifier: MPL-2.0
 *
 * The design that node/nft.c is compared with: one interval set with timeouts per family. Interval
 * sets refuse overlaps, so the set holds a disjoint cover: pieces, each with the latest end of all
 * bans that cover it. A change of one ban replaces the pieces that it touches in one transaction,
 * by raw netlink. Everything is in the network namespace that was current at interval_open().
 */
#ifndef KBAN_BENCH_INTERVAL_H
#define KBAN_BENCH_INTERVAL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/prefix.h"

struct interval;

/* Makes the table, its chains and two empty sets. */
int interval_open(struct interval **out) kban_must_check;
void interval_free(struct interval *i);
KBAN_DEFINE_AUTO(struct interval *, interval_free)

/* Many prefixes, which none of them covers yet, in few transactions. */
int interval_load(struct interval *i, const struct kban_prefix *p, size_t n,
		  uint64_t timeout_ms) kban_must_check;
/* One ban more, or (0) one less: one transaction. */
int interval_change(struct interval *i, const struct kban_prefix *p,
		    uint64_t timeout_ms) kban_must_check;
/* How many pieces the newest change took out and put in. */
size_t interval_replaced(const struct interval *i);
size_t interval_pieces(const struct interval *i);

#endif
