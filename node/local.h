/* SPDX-License-Identifier: MPL-2.0
 *
 * What this server must never block, whatever anybody says: its own addresses, its gateways, its
 * resolvers, the brokers that its identity names by address, and what its administrator excepted.
 * Read once, at start. Loopback, link-local and their like are left out: nobody ever bans those. A
 * broker named by a host name is not resolved (a server may start without a network): the ledger
 * knows the brokers' addresses.
 */
#ifndef KBAN_NODE_LOCAL_H
#define KBAN_NODE_LOCAL_H

#include "proto/conf.h"
#include "proto/identity.h"

#define LOCAL_MAX 1024

struct local {
	size_t n;
	struct kban_prefix v[LOCAL_MAX];
	const char *why[LOCAL_MAX]; /* const words */
	size_t own_n; /* the first so many were found here: own addresses, gateways, resolvers */
};

/* Where things are read; tests bring their own. NULL members are left out. */
struct local_paths {
	const char *route4; /* /proc/net/route */
	const char *route6; /* /proc/net/ipv6_route */
	const char *resolv; /* /etc/resolv.conf */
	bool interfaces;    /* getifaddrs() */
};
extern const struct local_paths local_paths_system;

/* except's texts were checked with local_check_prefix(). */
void local_collect(struct local *l, const struct local_paths *paths,
		   const struct kban_identity *identity, const struct kban_strings *except);
/* One info line for each. */
void local_log(const struct local *l);
/* For the option table: NULL, or what is wrong with this text and what to write instead, the caller's
 * to free. */
char *local_check_prefix(const char *text) kban_must_check;

#endif
