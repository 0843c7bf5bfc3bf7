/* SPDX-License-Identifier: MPL-2.0
 *
 * Private to nft.c (transactions), nft_read.c (questions, notifications), nft_layout.c (table,
 * chains, sets) and nft_rules.c.
 */
#ifndef KBAN_NODE_NFT_WIRE_H
#define KBAN_NODE_NFT_WIRE_H

#include <libmnl/libmnl.h>

#include "node/nft.h"

#define NFT_LENGTHS 129
#define NFT_SETS    (NFT_KINDS * 2 * NFT_LENGTHS)

/* Two names for each set, ban4_32 and ban4_32b, so that one can be filled beside the other. */
#define NFT_NAME_TEXT 16

struct nft_set_state {
	bool exists;
	bool alt;     /* the one in use is called by the second name */
	bool filling; /* the other one is being filled */
	bool stray;   /* the other one exists without being used */
};

struct nft_batch { /* the messages of a transaction, one after the other */
	uint8_t *p;
	size_t n, size;
	size_t last; /* where the newest message starts */
	size_t open; /* where the element message that still takes elements starts; 0: none */
	size_t nest; /* where its list starts */
	unsigned open_set;
	size_t begin_size; /* bytes of the opening message */
	uint32_t messages;
};

struct nft {
	char *table;
	size_t ports_n;
	uint16_t *ports;
	struct mnl_socket *control; /* transactions and single questions */
	struct mnl_socket *watch;
	uint32_t control_id;
	uint32_t seq;
	size_t send_buffer;
	struct nft_batch batch;
	struct nft_set_state sets[NFT_SETS];
	uint32_t generation; /* what the kernel's counter must be if nobody touched our table */
	bool touched;
};

unsigned nft_set_index(struct nft_set set);
struct nft_set nft_set_at(unsigned index);
const char *nft_set_name(char out[NFT_NAME_TEXT], struct nft_set set, bool alt);

size_t nft_address_size(struct nft_set set);

/* A netlink socket; and the one for notifications, which needs the control socket first. */
int nft_socket_open(struct mnl_socket **out) kban_must_check;
int nft_watch_open(struct nft *n) kban_must_check;

/* Starts a message of the transaction, with room for NFT_MESSAGE_ROOM bytes. The pointer is good
 * until the next call. */
#define NFT_MESSAGE_ROOM 8192
struct nlmsghdr *nft_message(struct nft *n, uint16_t type, uint16_t flags);
/* To be called when the message is complete. */
void nft_message_end(struct nft *n, struct nlmsghdr *m);

/* Sends a question and hands each answer to cb, on a socket of its own when dump. */
int nft_ask(struct nft *n, struct nlmsghdr *m, bool dump, mnl_cb_t cb, void *arg) kban_must_check;
/* Starts such a question in buf. */
struct nlmsghdr *nft_question(void *buf, uint16_t type, uint16_t flags, uint8_t family);

/* Forgets notifications so far and takes the kernel's generation as the one to count from. */
int nft_watch_restart(struct nft *n) kban_must_check;

/* Adds the set to the transaction, with its rule unless it is to be exchanged for another. */
void nft_make_set(struct nft *n, struct nft_set set, bool alt, bool with_rule);
void nft_drop_set(struct nft *n, const char *name);

/* The caller's to free with nftnl_rule_free(). */
struct nftnl_rule;
struct nftnl_rule *nft_rule_jump(const struct nft *n, bool ports);
struct nftnl_rule *nft_rule_drop(const struct nft *n);
struct nftnl_rule *nft_rule_of_set(const struct nft *n, struct nft_set set, bool alt);
/* Comparable text: chain and expressions, without what a counter has counted. The caller's to free. */
char *nft_rule_text(const struct nftnl_rule *rule);

#endif
