/* SPDX-License-Identifier: MPL-2.0
 *
 * A network namespace of its own with a veth pair, and packets sent through it: from one end to the
 * other, where a last table drops and counts whatever was let through, so that nothing but the
 * tables is measured. veth hands a packet to the other side within the sending call, so the time
 * per packet is the kernel's work for it. The namespace has no name: it ends with this process,
 * however that ends.
 */
#ifndef KBAN_BENCH_TRAFFIC_H
#define KBAN_BENCH_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

#include "proto/prefix.h"

#define TRAFFIC_FRAMES 2048 /* sent in one burst, each from its own source */

struct traffic;

/* The calling process is in the new namespace afterwards. */
int traffic_open(struct traffic **out) kban_must_check;
void traffic_free(struct traffic *t);
KBAN_DEFINE_AUTO(struct traffic *, traffic_free)

/* Back into its namespace. */
int traffic_enter(const struct traffic *t) kban_must_check;

/* Whose source addresses the packets of a burst have: TRAFFIC_FRAMES of them. */
void traffic_sources(struct traffic *t, const struct kban_prefix *addresses);
/* Sends a burst; *ns is how long each packet took. */
int traffic_burst(struct traffic *t, double *ns) kban_must_check;
/* Packets that no table stopped, so far. */
int traffic_passed(const struct traffic *t, uint64_t *packets) kban_must_check;

/* Gives a ruleset to nft(8) in the current namespace. */
int traffic_nft(const char *ruleset) kban_must_check;

#endif
