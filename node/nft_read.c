/* SPDX-License-Identifier: MPL-2.0
 *
 * What is asked of the kernel, and what it tells by itself: single answers, dumps, notifications.
 */
#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "node/nft_wire.h"

#define RECEIVE_BUFFER (8 << 20)
#define ANSWER_SIZE    (128 << 10)

int nft_socket_open(struct mnl_socket **out)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	const int size = RECEIVE_BUFFER;
	int on = 1;

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;
		mnl_socket_close(s);
		return r;
	}
	setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	mnl_socket_setsockopt(s, NETLINK_CAP_ACK, &on, sizeof(on));
	*out = s;
	return 0;
}

/* Questions */

struct nlmsghdr *nft_question(void *buf, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof(*g));

	m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | type;
	m->nlmsg_flags = NLM_F_REQUEST | flags;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	return m;
}

static int answers_read(struct mnl_socket *s, uint32_t seq, mnl_cb_t cb, void *arg)
{
	kban_auto(kban_free) void *buf = kban_realloc(NULL, ANSWER_SIZE);
	int r = MNL_CB_OK;

	while (r > MNL_CB_STOP) {
		ssize_t got = mnl_socket_recvfrom(s, buf, ANSWER_SIZE);
		if (got < 0)
			return -errno;
		r = mnl_cb_run(buf, got, seq, mnl_socket_get_portid(s), cb, arg);
	}
	return r < 0 ? -errno : 0;
}

int nft_ask(struct nft *n, struct nlmsghdr *m, bool dump, mnl_cb_t cb, void *arg)
{
	struct mnl_socket *own = NULL;

	m->nlmsg_seq = ++n->seq;
	/* A single answer has no end mark: the acknowledgement ends it. */
	m->nlmsg_flags |= dump ? NLM_F_DUMP : NLM_F_ACK;
	if (dump) {
		int r = nft_socket_open(&own);
		if (r)
			return r;
	}
	struct mnl_socket *s = dump ? own : n->control;
	int r = mnl_socket_sendto(s, m, m->nlmsg_len) < 0 ? -errno : 0;
	if (!r)
		r = answers_read(s, m->nlmsg_seq, cb, arg);
	if (own)
		mnl_socket_close(own); /* also ends a dump that was given up */
	return r;
}

static int generation_take(const struct nlmsghdr *m, void *arg)
{
	struct nlattr *a;

	mnl_attr_for_each(a, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) == NFTA_GEN_ID &&
							     !mnl_attr_validate(a, MNL_TYPE_U32)) *
		(uint32_t *)arg = be32toh(mnl_attr_get_u32(a));
	return MNL_CB_OK;
}

static int generation_read(struct nft *n, uint32_t *out)
{
	uint8_t buf[256];
	struct nlmsghdr *m = nft_question(buf, NFT_MSG_GETGEN, 0, AF_UNSPEC);

	return nft_ask(n, m, false, generation_take, out);
}

/* Watching others */

/* Notifications of our own transactions are dropped by the kernel before they fill our queue: its
 * netlink port is in bytes 12..15 of the first message, and one transaction's messages travel
 * together. */
static int watch_filter(int fd, uint32_t control_id)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htobe32(control_id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog program = {.len = KBAN_ARRAY_LEN(code), .filter = code};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		return -errno;
	return 0;
}

static int watch_membership(struct nft *n, int change)
{
	int group = NFNLGRP_NFTABLES;

	return mnl_socket_setsockopt(n->watch, change, &group, sizeof(group)) < 0 ? -errno : 0;
}

int nft_watch_open(struct nft *n)
{
	int r = nft_socket_open(&n->watch);
	if (r)
		return r;
	r = watch_filter(mnl_socket_get_fd(n->watch), n->control_id);
	return r ? r : watch_membership(n, NETLINK_ADD_MEMBERSHIP);
}

static int watch_message(const struct nlmsghdr *m, void *arg)
{
	struct nft *n = arg;
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(m);
	struct nlattr *a;

	if ((m->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) {
		n->generation++;
		return MNL_CB_OK;
	}
	if (g->nfgen_family != NFPROTO_INET)
		return MNL_CB_OK;
	mnl_attr_for_each(a, m, sizeof(*g))
	{
		/* In each kind of message attribute 1 is the table's name. */
		if (mnl_attr_get_type(a) == NFTA_TABLE_NAME &&
		    !mnl_attr_validate(a, MNL_TYPE_NUL_STRING) &&
		    !strcmp(mnl_attr_get_str(a), n->table))
			n->touched = true;
	}
	return MNL_CB_OK;
}

static void watch_drain(struct nft *n)
{
	kban_auto(kban_free) void *buf = NULL;
	const size_t size = 1 << 18;
	int fd = mnl_socket_get_fd(n->watch);
	ssize_t got;

	for (;;) {
		uint8_t peek;
		got = recv(fd, &peek, 1, MSG_DONTWAIT | MSG_PEEK);
		if (got >= 0) {
			buf = buf ? buf : kban_realloc(NULL, size);
			got = recv(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC);
		}
		if (got < 0 && errno == EAGAIN)
			return;
		if (got < 0 || got > (ssize_t)size) { /* ENOBUFS: something was lost */
			n->touched = true;
			continue;
		}
		mnl_cb_run(buf, got, 0, 0, watch_message, n);
	}
}

int nft_watch_restart(struct nft *n)
{
	watch_drain(n);
	n->touched = false;
	return generation_read(n, &n->generation);
}

int nft_watch_fd(const struct nft *n)
{
	return mnl_socket_get_fd(n->watch);
}

bool nft_touched(struct nft *n)
{
	watch_drain(n);
	return n->touched;
}

bool nft_untouched(struct nft *n)
{
	uint32_t now = 0;

	return !nft_touched(n) && !generation_read(n, &now) && now == n->generation;
}

void nft_deafen(struct nft *n)
{
	n->touched |= watch_membership(n, NETLINK_DROP_MEMBERSHIP) < 0;
}

void nft_listen(struct nft *n)
{
	if (watch_membership(n, NETLINK_ADD_MEMBERSHIP) || !nft_untouched(n))
		n->touched = true;
}

/* Reading a set back */

struct dump {
	size_t address_size, n, max;
	nft_element_fn *cb;
	void *arg;
};

static void dump_element(struct dump *d, const struct nlattr *element)
{
	const uint8_t *addr = NULL;
	uint64_t left = NFT_FOREVER;
	const struct nlattr *a, *v;

	mnl_attr_for_each_nested(a, element)
	{
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY)
			mnl_attr_for_each_nested(v, a) if (mnl_attr_get_payload_len(v) ==
							   d->address_size)
				addr = mnl_attr_get_payload(v);
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_EXPIRATION &&
		    mnl_attr_get_payload_len(a) == sizeof(left))
			left = be64toh(mnl_attr_get_u64(a));
	}
	if (addr)
		d->cb(d->arg, addr, left);
	d->n++;
}

static int dump_message(const struct nlmsghdr *m, void *arg)
{
	struct dump *d = arg;
	const struct nlattr *a, *element;

	mnl_attr_for_each(a, m, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, a) dump_element(d, element);
	}
	return d->n > d->max ? MNL_CB_STOP : MNL_CB_OK;
}

int nft_dump(struct nft *n, struct nft_set set, size_t max, nft_element_fn *cb, void *arg)
{
	struct dump d = {.address_size = nft_address_size(set), .max = max, .cb = cb, .arg = arg};
	char name[NFT_NAME_TEXT];
	uint8_t buf[512];
	struct nlmsghdr *m = nft_question(buf, NFT_MSG_GETSETELEM, 0, NFPROTO_INET);

	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, n->table);
	nft_set_name(name, set, n->sets[nft_set_index(set)].alt);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, name);
	int r = nft_ask(n, m, true, cb ? dump_message : NULL, &d);
	return r ? r : d.n > max ? NFT_DUMP_TOO_MANY : 0;
}
