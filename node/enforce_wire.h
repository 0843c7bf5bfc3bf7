/* SPDX-License-Identifier: MPL-2.0
 *
 * Private to the two ends of enforcement: the node (enforce.c) and its child (enforce_child.c).
 * What travels is one header and up to ENFORCE_PACKET_OPS operations in a packet of a
 * SOCK_SEQPACKET pair, and a struct enforce_report the other way. The child trusts nothing that it
 * reads: enforce_packet_parse() and enforce_op_check() are the only way in.
 */
#ifndef KBAN_NODE_ENFORCE_WIRE_H
#define KBAN_NODE_ENFORCE_WIRE_H

#include "node/enforce.h"
#include "node/enforce_mirror.h"

#define ENFORCE_PACKET_OPS 1000u
#define ENFORCE_BANS_MAX   2000000u
#define ENFORCE_SAFES_MAX  10000u
#define ENFORCE_BATCH_MAX  (ENFORCE_BANS_MAX + ENFORCE_SAFES_MAX) /* operations in one batch */

enum enforce_packet_flag {
	ENFORCE_LAST = 1,    /* ends the batch */
	ENFORCE_ALL = 2,     /* the batch replaces everything */
	ENFORCE_COMPARE = 4, /* alone, without operations: compare now */
};

struct enforce_header {
	uint64_t batch;
	uint32_t flags;
	uint32_t ops_n;
};

struct enforce_packet {
	struct enforce_header header;
	struct enforce_op ops[ENFORCE_PACKET_OPS];
};

struct enforce_report {
	struct enforce_status status;
	struct mirror_repairs repairs; /* parts of status.repairs */
	bool cut_unsupported;	       /* the kernel can't end connections */
	int32_t start_error;	       /* in the first report: why there is no child, or 0 */
};

enum enforce_verdict {
	ENFORCE_TAKEN = 0,
	ENFORCE_BAD_KIND = 1,
	ENFORCE_BAD_PREFIX,
	ENFORCE_BAD_TIME,
	ENFORCE_NEVER_BAN,
	ENFORCE_IS_SAFE,
	ENFORCE_FULL,
};

/* Checks a packet's size against its header and copies it out; len bytes of any content. 0, or
 * -EBADMSG. */
int enforce_packet_parse(struct enforce_packet *out, const void *bytes, size_t len) kban_must_check;
/* Whether the child, wanting w, does what op says. */
enum enforce_verdict enforce_op_check(struct wanted *w, const struct enforce_op *op,
				      uint64_t now_ms) kban_must_check;

/* The child's whole life, with its end of the pair; never returns. */
void enforce_child(int fd, const struct enforce_config *config) __attribute__((noreturn));
/* Keeps CAP_NET_ADMIN, or nothing. */
int enforce_keep_capabilities(bool net_admin) kban_must_check;

/* What to do when the kernel answers -errno. */
const char *enforce_remedy(int error);

uint64_t enforce_boot_ms(void);

#endif
