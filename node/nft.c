/* SPDX-License-Identifier: MPL-2.0 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "node/nft_wire.h"

#define ELEMENT_MESSAGE_MAX 16384 /* a list attribute holds less than 64 KiB */
#define ELEMENT_ROOM	    64
#define SEND_BUFFER	    (4 << 20)
#define COMMIT_TRIES	    8

unsigned nft_set_index(struct nft_set set)
{
	return (set.kind * 2u + (set.family == KBAN_IPV6)) * NFT_LENGTHS + set.len;
}

struct nft_set nft_set_at(unsigned index)
{
	return (struct nft_set){.kind = index / NFT_LENGTHS / 2,
				.family = index / NFT_LENGTHS % 2 ? KBAN_IPV6 : KBAN_IPV4,
				.len = index % NFT_LENGTHS};
}

const char *nft_set_name(char out[NFT_NAME_TEXT], struct nft_set set, bool alt)
{
	snprintf(out, NFT_NAME_TEXT, "%s%u_%u%s", set.kind == NFT_BAN ? "ban" : "safe", set.family,
		 set.len, alt ? "b" : "");
	return out;
}

size_t nft_address_size(struct nft_set set)
{
	return set.family == KBAN_IPV4 ? 4 : 16;
}

static void send_buffer_grow(struct nft *n, size_t need)
{
	int size = (int)need;

	if (need <= n->send_buffer)
		return;
	if (!setsockopt(mnl_socket_get_fd(n->control), SOL_SOCKET, SO_SNDBUFFORCE, &size,
			sizeof(size)))
		n->send_buffer = need;
}

int nft_open(struct nft **out, const char *table, const uint16_t *ports, size_t ports_n)
{
	kban_auto(nft_free) struct nft *n = kban_zalloc(sizeof(*n));

	n->table = kban_strdup(table);
	n->ports = ports_n ? kban_memdup(ports, ports_n * sizeof(*ports)) : NULL;
	n->ports_n = ports_n;
	int r = nft_socket_open(&n->control);
	if (r)
		return r;
	n->control_id = mnl_socket_get_portid(n->control);
	send_buffer_grow(n, SEND_BUFFER);
	r = nft_watch_open(n);
	if (r)
		return r;
	*out = n;
	n = NULL;
	return 0;
}

void nft_free(struct nft *n)
{
	if (!n)
		return;
	if (n->control)
		mnl_socket_close(n->control);
	if (n->watch)
		mnl_socket_close(n->watch);
	free(n->table);
	free(n->ports);
	free(n->batch.p);
	free(n);
}

/* Transactions */

static void batch_room(struct nft_batch *b, size_t room)
{
	if (b->size - b->n >= room)
		return;
	b->size = b->size * 2 + room;
	b->p = kban_realloc(b->p, b->size);
}

static struct nlmsghdr *batch_header(struct nft *n, uint16_t type, uint16_t flags)
{
	struct nft_batch *b = &n->batch;

	batch_room(b, NFT_MESSAGE_ROOM);
	struct nlmsghdr *m = nft_question(b->p + b->n, 0, flags, NFPROTO_INET);
	m->nlmsg_type = type;
	m->nlmsg_seq = ++n->seq;
	return m;
}

static void elements_close(struct nft *n)
{
	struct nft_batch *b = &n->batch;

	if (!b->open)
		return;
	struct nlmsghdr *m = (struct nlmsghdr *)(b->p + b->open);
	mnl_attr_nest_end(m, (struct nlattr *)(b->p + b->nest));
	b->open = 0;
	nft_message_end(n, m);
}

struct nlmsghdr *nft_message(struct nft *n, uint16_t type, uint16_t flags)
{
	elements_close(n);
	return batch_header(n, NFNL_SUBSYS_NFTABLES << 8 | type, flags);
}

void nft_message_end(struct nft *n, struct nlmsghdr *m)
{
	n->batch.last = (size_t)((uint8_t *)m - n->batch.p);
	n->batch.n = n->batch.last + NLMSG_ALIGN(m->nlmsg_len);
	n->batch.messages++;
}

static void batch_mark(struct nft *n, uint16_t type)
{
	struct nlmsghdr *m = batch_header(n, type, 0);
	struct nfgenmsg *g = mnl_nlmsg_get_payload(m);

	g->nfgen_family = AF_UNSPEC;
	g->res_id = htobe16(NFNL_SUBSYS_NFTABLES);
	n->batch.n += NLMSG_ALIGN(m->nlmsg_len);
}

void nft_begin(struct nft *n)
{
	struct nft_batch *b = &n->batch;

	if (b->size > SEND_BUFFER) { /* a rare big one's memory is not kept */
		free(b->p);
		b->p = NULL;
		b->size = 0;
	}
	b->n = b->last = b->open = 0;
	b->messages = 0;
	batch_mark(n, NFNL_MSG_BATCH_BEGIN);
	b->begin_size = b->n;
}

static void elements_open(struct nft *n, uint16_t type, unsigned index, const char *name)
{
	struct nft_batch *b = &n->batch;
	struct nlmsghdr *m = nft_message(n, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, name);
	struct nlattr *nest = mnl_attr_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
	b->open = (size_t)((uint8_t *)m - b->p);
	b->nest = (size_t)((uint8_t *)nest - b->p);
	b->open_set = index;
}

static void element_put(struct nft *n, struct nft_set set, const uint8_t *addr, uint64_t timeout_ms)
{
	struct nft_batch *b = &n->batch;
	struct nlmsghdr *m = (struct nlmsghdr *)(b->p + b->open);
	struct nlattr *element = mnl_attr_nest_start(m, NFTA_LIST_ELEM);
	struct nlattr *key = mnl_attr_nest_start(m, NFTA_SET_ELEM_KEY);

	mnl_attr_put(m, NFTA_DATA_VALUE, nft_address_size(set), addr);
	mnl_attr_nest_end(m, key);
	if (timeout_ms != NFT_FOREVER)
		mnl_attr_put_u64(m, NFTA_SET_ELEM_TIMEOUT, htobe64(timeout_ms));
	mnl_attr_nest_end(m, element);
}

void nft_add(struct nft *n, struct nft_set set, const uint8_t *addr, uint64_t timeout_ms)
{
	unsigned index = nft_set_index(set);
	struct nft_set_state *state = &n->sets[index];
	struct nft_batch *b = &n->batch;

	assert((set.kind == NFT_SAFE) == (timeout_ms == NFT_FOREVER));
	if (!state->exists) {
		state->alt = false;
		nft_make_set(n, set, state->alt, true);
		state->exists = true;
	}
	struct nlmsghdr *m = (struct nlmsghdr *)(b->p + b->open);
	if (b->open && (b->open_set != index || m->nlmsg_len > ELEMENT_MESSAGE_MAX))
		elements_close(n);
	if (!b->open) {
		char name[NFT_NAME_TEXT];
		nft_set_name(name, set, state->alt != state->filling);
		batch_room(b, ELEMENT_MESSAGE_MAX + NFT_MESSAGE_ROOM);
		elements_open(n, NFT_MSG_NEWSETELEM, index, name);
	}
	element_put(n, set, addr, timeout_ms);
}

/* One message for each, so that the kernel's answer says which of them was not there. */
void nft_delete(struct nft *n, struct nft_set set, const uint8_t *addr)
{
	unsigned index = nft_set_index(set);
	char name[NFT_NAME_TEXT];

	if (!n->sets[index].exists)
		return;
	elements_open(n, NFT_MSG_DELSETELEM, index, nft_set_name(name, set, n->sets[index].alt));
	element_put(n, set, addr, NFT_FOREVER);
	elements_close(n);
}

/* The kernel's answer to one transaction. */
struct answer {
	bool done;
	int error;	/* the first that matters */
	uint32_t *gone; /* messages that deleted what was not there, in their order */
	size_t gone_n, gone_size;
};

static bool message_deletes(const struct nft_batch *b, uint32_t seq)
{
	for (size_t at = b->begin_size; at < b->n;) {
		const struct nlmsghdr *m = (const struct nlmsghdr *)(b->p + at);
		if (m->nlmsg_seq == seq)
			return m->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM);
		at += NLMSG_ALIGN(m->nlmsg_len);
	}
	return false;
}

static void answer_take(struct nft *n, struct answer *a, const struct nlmsghdr *m)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

	if (m->nlmsg_type != NLMSG_ERROR)
		return;
	if (!e->error) {
		a->done = true;
		return;
	}
	if (e->error != -ENOENT || !message_deletes(&n->batch, m->nlmsg_seq)) {
		a->error = a->error ? a->error : e->error;
		return;
	}
	if (a->gone_n == a->gone_size) {
		a->gone_size = a->gone_size * 2 + 16;
		a->gone = kban_realloc(a->gone, a->gone_size * sizeof(*a->gone));
	}
	a->gone[a->gone_n++] = m->nlmsg_seq;
}

static void answers_take(struct nft *n, struct answer *a)
{
	uint8_t buf[8192];
	ssize_t got;

	while ((got = recv(mnl_socket_get_fd(n->control), buf, sizeof(buf), MSG_DONTWAIT)) != 0) {
		if (got < 0 && errno == EAGAIN)
			return;
		if (got < 0) {
			a->error = -errno;
			return;
		}
		int left = (int)got;
		for (const struct nlmsghdr *m = (void *)buf; mnl_nlmsg_ok(m, left);
		     m = mnl_nlmsg_next(m, &left))
			answer_take(n, a, m);
	}
}

static void batch_without(struct nft_batch *b, const struct answer *a)
{
	size_t to = b->begin_size, next = 0, size;

	for (size_t at = b->begin_size; at < b->n; at += size) {
		const struct nlmsghdr *m = (const struct nlmsghdr *)(b->p + at);
		size = NLMSG_ALIGN(m->nlmsg_len);
		if (next < a->gone_n && m->nlmsg_seq == a->gone[next]) {
			next++;
			b->messages--;
			continue;
		}
		memmove(b->p + to, b->p + at, size);
		b->last = to;
		to += size;
	}
	b->n = to;
}

static int batch_send(struct nft *n, struct answer *a)
{
	struct nft_batch *b = &n->batch;
	size_t messages_end = b->n;

	((struct nlmsghdr *)(b->p + b->last))->nlmsg_flags |= NLM_F_ACK;
	batch_mark(n, NFNL_MSG_BATCH_END);
	send_buffer_grow(n, b->n + b->n / 4);
	ssize_t sent = mnl_socket_sendto(n->control, b->p, b->n);
	b->n = messages_end;
	if (sent < 0)
		return -errno;
	answers_take(n, a);
	if (a->error)
		return a->error;
	return a->done || a->gone_n ? 0 : -EPROTO;
}

int nft_commit(struct nft *n)
{
	elements_close(n);
	/* While the rest is tried again, another element may run out: hence not once only. */
	for (int tries = 0; tries < COMMIT_TRIES; tries++) {
		struct answer a = {0};
		if (!n->batch.messages)
			return 0;
		int r = batch_send(n, &a);
		if (!r && a.gone_n)
			batch_without(&n->batch, &a);
		free(a.gone);
		if (r)
			return r;
		if (!a.gone_n) {
			n->generation++;
			return 0;
		}
	}
	return -EBUSY;
}

void nft_swap_begin(struct nft *n, struct nft_set set)
{
	struct nft_set_state *s = &n->sets[nft_set_index(set)];
	char name[NFT_NAME_TEXT];

	if (s->stray)
		nft_drop_set(n, nft_set_name(name, set, !s->alt));
	nft_make_set(n, set, !s->alt, false);
	s->filling = true;
	s->stray = true;
}

void nft_swap_end(struct nft *n, struct nft_set set)
{
	struct nft_set_state *s = &n->sets[nft_set_index(set)];

	s->filling = false;
	s->alt = !s->alt;
	nft_write_rules(n); /* and the old one is now the stray */
}

/* The set becomes one that exists without being used. */
void nft_retire(struct nft *n, struct nft_set set)
{
	struct nft_set_state *s = &n->sets[nft_set_index(set)];

	assert(s->exists && !s->stray && !s->filling);
	s->exists = false;
	s->stray = true;
	s->alt = !s->alt;
}

bool nft_set_exists(const struct nft *n, struct nft_set set)
{
	return n->sets[nft_set_index(set)].exists;
}
