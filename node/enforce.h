/* SPDX-License-Identifier: MPL-2.0
 *
 * Enforcement: what the node wants blocked and what it wants safe, kept in the kernel by a small
 * child process with CAP_NET_ADMIN. The node process (which parses attackers' text and has no
 * capability) starts the child first, then sends fixed-size operations over a SOCK_SEQPACKET pair;
 * the child checks each of them itself and holds a table of the wanted state, from which it repairs
 * the kernel.
 *
 * A batch (enforce_begin .. enforce_commit) is one kernel transaction over all our tables: safe
 * additions take effect with or before the bans of the same batch, and safe removals with or after
 * them. After a batch with new bans the child ends the banned addresses' open TCP connections on
 * the protected ports, at once and again 100 ms later, never a safe address's.
 *
 * Time: expiry is given as milliseconds of CLOCK_BOOTTIME, so that steps of the wall clock mean
 * nothing.
 */
#ifndef KBAN_NODE_ENFORCE_H
#define KBAN_NODE_ENFORCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/prefix.h"

struct enforce; /* the node's end */

struct enforce_config {
	const char *backend;   /* "nftables" or "none" */
	const char *table;     /* nftables table of family inet, default "kban" */
	size_t ports_n;	       /* 0: all ports */
	const uint16_t *ports; /* TCP ports */
	size_t excepted_n;     /* never blocked here: own addresses, gateways, resolvers, brokers */
	const struct kban_prefix *excepted;
	unsigned compare_s; /* how often kernel and wanted state are compared; default 60 */
};

enum enforce_kind {
	ENFORCE_BAN = 1, /* until_boot_ms: when the kernel may forget it; replaces an earlier one */
	ENFORCE_UNBAN = 2,
	ENFORCE_SAFE = 3, /* until removed: expiry of safe ranges is the node's business */
	ENFORCE_UNSAFE = 4,
};

struct enforce_op { /* what travels; fixed size, no pointers */
	uint32_t kind;
	struct kban_prefix prefix;
	uint64_t until_boot_ms;
};

/* Counters as the child last reported them. safes_* count the node's operations, not excepted
 * prefixes. Backend none reports all of them as 0. The child refuses bans that are never allowed,
 * equal to or inside an excepted or safe prefix as of the end of the batch, already ended or over
 * 366 days; a wider ban around a safe or excepted prefix is taken, since the safe sets come first.
 */
struct enforce_status {
	bool failed; /* the newest transaction was refused by the kernel; error says why */
	/* Without failed: what else is not done (too many bans or safe ranges, connections that
	 * can't be ended); "" when all is well. */
	char error[192];
	uint64_t done; /* number of the newest batch that is in the kernel */
	uint64_t bans_wanted, bans_enforced, safes_wanted, safes_enforced;
	uint64_t repairs; /* differences found and mended since start */
	uint64_t cut;	  /* connections ended */
	uint64_t refused; /* operations that the child refused */
};

/* Forks the child (before any other library is set up, and before capabilities are dropped) and
 * makes tables. Returns once the child is ready. *error is a sentence with the remedy, the caller's
 * to free. */
int enforce_start(struct enforce **out, const struct enforce_config *config,
		  char **error) kban_must_check;
/* Ends the child; what is in the kernel stays there. */
void enforce_stop(struct enforce *e);
KBAN_DEFINE_AUTO(struct enforce *, enforce_stop)

/* To be called once the child is there: gives up all capabilities of this process for good
 * (permitted, effective, inheritable, ambient, and the bounding set where CAP_SETPCAP allows) and
 * sets no_new_privs. */
int enforce_drop_privileges(void) kban_must_check;
/* For status pages and tests; 0 with backend none. */
pid_t enforce_child_pid(const struct enforce *e);

/* The socket to poll for reading: then call enforce_read(). */
int enforce_fd(const struct enforce *e);
/* Takes the child's reports. < 0: the child is gone (-EPIPE), the node must end. */
int enforce_read(struct enforce *e) kban_must_check;
const struct enforce_status *enforce_status(const struct enforce *e);

void enforce_begin(struct enforce *e);
void enforce_op(struct enforce *e, const struct enforce_op *op);
/* Sends the batch; returns its number (rising from 1), which status->done reaches once it is in the
 * kernel. Does not wait for the kernel. */
uint64_t enforce_commit(struct enforce *e);
/* A batch begun with this replaces everything wanted before: used at start and after a resync. What
 * is in the kernel and still wanted is never taken out in between. */
void enforce_begin_all(struct enforce *e);
/* Asks for a comparison with the kernel now. */
void enforce_compare(struct enforce *e);

#endif
