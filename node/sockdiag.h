/* SPDX-License-Identifier: MPL-2.0
 *
 * Ends open TCP connections by sock_diag(7): the server's socket is destroyed, and the kernel's
 * reset tells the peer. Without this a connection whose packets are dropped hangs until its
 * timeouts.
 */
#ifndef KBAN_NODE_SOCKDIAG_H
#define KBAN_NODE_SOCKDIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/prefix.h"

struct sockdiag;

/* Needs CAP_NET_ADMIN when connections are to be ended. */
int sockdiag_open(struct sockdiag **out) kban_must_check;
void sockdiag_free(struct sockdiag *s);
KBAN_DEFINE_AUTO(struct sockdiag *, sockdiag_free)

/* peer is a single address; IPv4-mapped ones come as IPv4. */
typedef bool sockdiag_match_fn(void *arg, const struct kban_prefix *peer);

/* One pass over all TCP connections whose local port is among ports (ports_n 0: any) and whose peer
 * matches. *cut: how many were ended. -EOPNOTSUPP: the kernel can't (no CONFIG_INET_DIAG_DESTROY).
 */
int sockdiag_cut(struct sockdiag *s, const uint16_t *ports, size_t ports_n,
		 sockdiag_match_fn *match, void *arg, uint64_t *cut) kban_must_check;

#endif
