/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/bench/interval.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "integration/bench/traffic.h"

#define TABLE	     "cover"
#define BATCH	     (4 << 20)
#define LIST_MAX     16384 /* bytes of elements in one message */
#define LOAD_AT_ONCE 1000

static const char ruleset[] =
	"table inet " TABLE " {\n"
	"set ban4 { type ipv4_addr; flags interval, timeout; gc-interval 30s; }\n"
	"set ban6 { type ipv6_addr; flags interval, timeout; gc-interval 30s; }\n"
	"chain safe { }\n"
	"chain ban {\n"
	"ip saddr @ban4 counter drop\n"
	"ip6 saddr @ban6 counter drop\n"
	"}\n"
	"chain filter { type filter hook prerouting priority -310; jump safe; jump ban; }\n"
	"}\n";

typedef unsigned __int128 address; /* IPv4 in the lowest bits */

struct piece {
	address first, last;
	uint64_t timeout_ms;
};

struct pieces { /* disjoint and in order */
	struct piece *v;
	size_t n, room;
};

struct held {
	struct kban_prefix prefix;
	uint64_t timeout_ms;
};

struct cover { /* of one family */
	uint8_t family;
	struct held *bans; /* in the order of kban_prefix_cmp() */
	size_t bans_n, bans_room;
	struct pieces pieces;
};

struct interval {
	struct mnl_socket *socket;
	uint32_t seq;
	uint8_t *batch;
	size_t n; /* bytes */
	struct cover covers[2];
	struct pieces fresh; /* what stands in the place of the pieces that a change touches */
	size_t replaced;
};

/* Addresses */

static address address_of(const struct kban_prefix *p)
{
	size_t bytes = p->family == KBAN_IPV4 ? 4 : 16;
	address a = 0;

	for (size_t i = 0; i < bytes; i++)
		a = a << 8 | p->addr[i];
	return a;
}

static address last_of(const struct kban_prefix *p)
{
	unsigned host = kban_prefix_bits(p) - p->len;
	address ones = host == 128 ? ~(address)0 : ((address)1 << host) - 1;

	return address_of(p) | ones;
}

static void address_bytes(uint8_t out[16], address a, size_t bytes)
{
	for (size_t i = bytes; i-- > 0; a >>= 8)
		out[i] = (uint8_t)a;
}

/* Arrays */

static void pieces_put(struct pieces *p, struct piece piece)
{
	struct piece *before = p->n ? &p->v[p->n - 1] : NULL;

	if (!piece.timeout_ms || piece.first > piece.last)
		return;
	if (before && before->last + 1 == piece.first && before->timeout_ms == piece.timeout_ms) {
		before->last = piece.last;
		return;
	}
	if (p->n == p->room) {
		p->room = p->room * 2 + 64;
		p->v = kban_realloc(p->v, p->room * sizeof(*p->v));
	}
	p->v[p->n++] = piece;
}

/* The first piece that ends at or after a. */
static size_t pieces_find(const struct pieces *p, address a)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (p->v[middle].last < a)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* n fresh ones in the place of those from a to before b. */
static void pieces_splice(struct pieces *p, size_t a, size_t b, const struct pieces *fresh)
{
	size_t n = p->n - (b - a) + fresh->n;

	if (n > p->room) {
		p->room = n * 2;
		p->v = kban_realloc(p->v, p->room * sizeof(*p->v));
	}
	if (p->n > b)
		memmove(p->v + a + fresh->n, p->v + b, (p->n - b) * sizeof(*p->v));
	if (fresh->n)
		memcpy(p->v + a, fresh->v, fresh->n * sizeof(*p->v));
	p->n = n;
}

static size_t bans_find(const struct cover *c, const struct kban_prefix *p)
{
	size_t low = 0, high = c->bans_n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (kban_prefix_cmp(&c->bans[middle].prefix, p) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct held *ban_at(const struct cover *c, const struct kban_prefix *p)
{
	size_t i = bans_find(c, p);

	return i < c->bans_n && kban_prefix_equal(&c->bans[i].prefix, p) ? &c->bans[i] : NULL;
}

static void bans_set(struct cover *c, const struct kban_prefix *p, uint64_t timeout_ms)
{
	size_t i = bans_find(c, p);
	bool there = i < c->bans_n && kban_prefix_equal(&c->bans[i].prefix, p);

	if (!timeout_ms) {
		if (there)
			memmove(c->bans + i, c->bans + i + 1, (--c->bans_n - i) * sizeof(*c->bans));
		return;
	}
	if (!there) {
		if (c->bans_n == c->bans_room) {
			c->bans_room = c->bans_room * 2 + 64;
			c->bans = kban_realloc(c->bans, c->bans_room * sizeof(*c->bans));
		}
		memmove(c->bans + i + 1, c->bans + i, (c->bans_n++ - i) * sizeof(*c->bans));
	}
	c->bans[i] = (struct held){*p, timeout_ms};
}

/* The cover */

static uint64_t covering_timeout(const struct cover *c, const struct kban_prefix *p)
{
	uint64_t most = 0;

	for (unsigned len = 0; len <= p->len; len++) {
		struct kban_prefix wide = kban_prefix_mask(p, len);
		const struct held *h = ban_at(c, &wide);
		if (h && h->timeout_ms > most)
			most = h->timeout_ms;
	}
	return most;
}

struct open_range { /* of the nested bans that contain the place reached */
	address last;
	uint64_t timeout_ms;
};

/* The pieces of p's range: a walk over the bans inside it, wider before narrower, with those that
 * are not closed yet on a stack. */
static void cover_sweep(const struct cover *c, const struct kban_prefix *p, struct pieces *out)
{
	struct open_range stack[130] = {{last_of(p), covering_timeout(c, p)}}, *top = stack;
	address at = address_of(p);

	for (size_t i = bans_find(c, p); i < c->bans_n; i++) {
		const struct held *b = &c->bans[i];
		address first = address_of(&b->prefix);
		if (!kban_prefix_covers(p, &b->prefix))
			break;
		for (; top->last < first; top--) {
			pieces_put(out, (struct piece){at, top->last, top->timeout_ms});
			at = top->last + 1;
		}
		if (first > at)
			pieces_put(out, (struct piece){at, first - 1, top->timeout_ms});
		at = first;
		uint64_t most = b->timeout_ms > top->timeout_ms ? b->timeout_ms : top->timeout_ms;
		*++top = (struct open_range){last_of(&b->prefix), most};
	}
	for (; top >= stack; top--) {
		pieces_put(out, (struct piece){at, top->last, top->timeout_ms});
		at = top->last + 1;
	}
}

/* Transactions */

static struct nlmsghdr *message(struct interval *i, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(i->batch + i->n);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof(*g));

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | flags;
	m->nlmsg_seq = ++i->seq;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = family == AF_UNSPEC ? htobe16(NFNL_SUBSYS_NFTABLES) : 0;
	return m;
}

static void mark(struct interval *i, uint16_t type)
{
	i->n += NLMSG_ALIGN(message(i, type, 0, AF_UNSPEC)->nlmsg_len);
}

static void element_put(struct nlmsghdr *m, const struct cover *c, address a, uint64_t timeout_ms,
			bool end)
{
	size_t bytes = c->family == KBAN_IPV4 ? 4 : 16;
	struct nlattr *element = mnl_attr_nest_start(m, NFTA_LIST_ELEM);
	struct nlattr *key = mnl_attr_nest_start(m, NFTA_SET_ELEM_KEY);
	uint8_t raw[16];

	address_bytes(raw, a, bytes);
	mnl_attr_put(m, NFTA_DATA_VALUE, bytes, raw);
	mnl_attr_nest_end(m, key);
	if (end)
		mnl_attr_put_u32(m, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	else if (timeout_ms)
		mnl_attr_put_u64(m, NFTA_SET_ELEM_TIMEOUT, htobe64(timeout_ms));
	mnl_attr_nest_end(m, element);
}

static bool piece_in(const struct piece *p, const struct piece *v, size_t n)
{
	struct pieces all = {(struct piece *)(uintptr_t)v, n, n};
	size_t at = pieces_find(&all, p->first);

	return at < n && v[at].first == p->first && v[at].last == p->last &&
	       v[at].timeout_ms == p->timeout_ms;
}

/* Those of v that are not among others, as elements of as many messages as it takes. */
static void pieces_send(struct interval *i, const struct cover *c, uint16_t type,
			const struct piece *v, size_t n, const struct piece *others,
			size_t others_n)
{
	bool add = type == NFT_MSG_NEWSETELEM;

	for (size_t at = 0; at < n;) {
		struct nlmsghdr *m = message(i, NFNL_SUBSYS_NFTABLES << 8 | type,
					     add ? NLM_F_CREATE : 0, NFPROTO_INET);
		mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, TABLE);
		mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET,
				  c->family == KBAN_IPV4 ? "ban4" : "ban6");
		struct nlattr *list = mnl_attr_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
		uint32_t empty = m->nlmsg_len;
		for (; at < n && m->nlmsg_len < LIST_MAX; at++) {
			if (piece_in(&v[at], others, others_n))
				continue;
			element_put(m, c, v[at].first, add ? v[at].timeout_ms : 0, false);
			element_put(m, c, v[at].last + 1, 0, true);
			i->replaced++;
		}
		mnl_attr_nest_end(m, list);
		if (m->nlmsg_len > empty)
			i->n += NLMSG_ALIGN(m->nlmsg_len);
	}
}

static int answers_read(struct interval *i)
{
	uint8_t buf[8192];
	bool done = false;
	ssize_t got;

	while ((got = recv(mnl_socket_get_fd(i->socket), buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		int left = (int)got;
		for (const struct nlmsghdr *m = (void *)buf; mnl_nlmsg_ok(m, left);
		     m = mnl_nlmsg_next(m, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);
			if (m->nlmsg_type == NLMSG_ERROR && e->error)
				return e->error;
			done = true;
		}
	}
	return done ? 0 : -EPROTO;
}

static void transaction_begin(struct interval *i)
{
	i->n = i->replaced = 0;
	mark(i, NFNL_MSG_BATCH_BEGIN);
}

/* The end mark asks for the answer. */
static int transaction_end(struct interval *i)
{
	struct nlmsghdr *m = (struct nlmsghdr *)(i->batch + i->n);

	mark(i, NFNL_MSG_BATCH_END);
	m->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(i->socket, i->batch, i->n) < 0)
		return -errno;
	return answers_read(i);
}

static struct cover *cover_of(struct interval *i, const struct kban_prefix *p)
{
	return &i->covers[p->family == KBAN_IPV6];
}

/* Takes the ban into the cover; *a to *b are the pieces that fresh is to replace. Outside of p,
 * those keep their ends. */
static void cover_change(struct interval *i, const struct kban_prefix *p, uint64_t timeout_ms,
			 size_t *a, size_t *b)
{
	struct cover *c = cover_of(i, p);
	const struct piece *v = c->pieces.v;
	address first = address_of(p), last = last_of(p);

	bans_set(c, p, timeout_ms);
	*a = *b = pieces_find(&c->pieces, first);
	while (*b < c->pieces.n && v[*b].first <= last)
		++*b;
	i->fresh.n = 0;
	if (*a < *b && v[*a].first < first)
		pieces_put(&i->fresh, (struct piece){v[*a].first, first - 1, v[*a].timeout_ms});
	cover_sweep(c, p, &i->fresh);
	if (*a < *b && v[*b - 1].last > last)
		pieces_put(&i->fresh,
			   (struct piece){last + 1, v[*b - 1].last, v[*b - 1].timeout_ms});
}

int interval_change(struct interval *i, const struct kban_prefix *p, uint64_t timeout_ms)
{
	struct cover *c = cover_of(i, p);
	size_t a, b;

	cover_change(i, p, timeout_ms, &a, &b);
	transaction_begin(i);
	pieces_send(i, c, NFT_MSG_DELSETELEM, c->pieces.v + a, b - a, i->fresh.v, i->fresh.n);
	pieces_send(i, c, NFT_MSG_NEWSETELEM, i->fresh.v, i->fresh.n, c->pieces.v + a, b - a);
	pieces_splice(&c->pieces, a, b, &i->fresh);
	return i->replaced ? transaction_end(i) : 0;
}

int interval_load(struct interval *i, const struct kban_prefix *p, size_t n, uint64_t timeout_ms)
{
	size_t a, b;

	for (size_t k = 0; k < n; k++) {
		cover_change(i, &p[k], timeout_ms, &a, &b);
		pieces_splice(&cover_of(i, &p[k])->pieces, a, b, &i->fresh);
	}
	for (size_t f = 0; f < 2; f++) {
		struct cover *c = &i->covers[f];
		for (size_t at = 0, some; at < c->pieces.n; at += some) {
			some = c->pieces.n - at < LOAD_AT_ONCE ? c->pieces.n - at : LOAD_AT_ONCE;
			transaction_begin(i);
			pieces_send(i, c, NFT_MSG_NEWSETELEM, c->pieces.v + at, some, NULL, 0);
			int r = transaction_end(i);
			if (r)
				return r;
		}
	}
	return 0;
}

size_t interval_replaced(const struct interval *i)
{
	return i->replaced;
}

size_t interval_pieces(const struct interval *i)
{
	return i->covers[0].pieces.n + i->covers[1].pieces.n;
}

int interval_open(struct interval **out)
{
	kban_auto(interval_free) struct interval *i = kban_zalloc(sizeof(*i));
	const int size = BATCH;

	i->covers[0].family = KBAN_IPV4;
	i->covers[1].family = KBAN_IPV6;
	i->batch = kban_zalloc(BATCH);
	int r = traffic_nft(ruleset);
	if (r)
		return r;
	i->socket = mnl_socket_open(NETLINK_NETFILTER);
	if (!i->socket || mnl_socket_bind(i->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	setsockopt(mnl_socket_get_fd(i->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*out = i;
	i = NULL;
	return 0;
}

void interval_free(struct interval *i)
{
	if (!i)
		return;
	if (i->socket)
		mnl_socket_close(i->socket);
	for (size_t f = 0; f < 2; f++) {
		free(i->covers[f].bans);
		free(i->covers[f].pieces.v);
	}
	free(i->fresh.v);
	free(i->batch);
	free(i);
}
