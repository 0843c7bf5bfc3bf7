/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/sockdiag.h"

#define RECEIVE_SIZE (64 << 10)
#define DESTROY_N    64 /* requests in one call */
/* Everything with a peer that can still get an answer. */
#define STATES                                                                                     \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 |   \
	 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING)

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

struct sockdiag {
	int fd;
	uint32_t seq;
	uint8_t *buf;
	struct request *found; /* to be destroyed */
	size_t found_n, found_size;
};

int sockdiag_open(struct sockdiag **out)
{
	kban_auto(sockdiag_free) struct sockdiag *s = kban_zalloc(sizeof(*s));
	const int size = 1 << 20, on = 1;

	s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (s->fd < 0)
		return -errno;
	setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(s->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	s->buf = kban_realloc(NULL, RECEIVE_SIZE);
	*out = s;
	s = NULL;
	return 0;
}

void sockdiag_free(struct sockdiag *s)
{
	if (!s)
		return;
	kban_close(s->fd);
	free(s->buf);
	free(s->found);
	free(s);
}

static struct request request_new(struct sockdiag *s, uint16_t type, uint16_t flags, uint8_t family)
{
	return (struct request){
		.header = {.nlmsg_len = sizeof(struct request),
			   .nlmsg_type = type,
			   .nlmsg_flags = NLM_F_REQUEST | flags,
			   .nlmsg_seq = ++s->seq},
		.body = {.sdiag_family = family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = STATES},
	};
}

/* Who the connection of one pass belongs to. */
struct pass {
	struct sockdiag *s;
	const uint16_t *ports;
	size_t ports_n;
	sockdiag_match_fn *match;
	void *arg;
};

static bool port_is_ours(const struct pass *p, uint16_t port)
{
	size_t i = 0;

	while (i < p->ports_n && p->ports[i] != port)
		i++;
	return !p->ports_n || i < p->ports_n;
}

static void connection_seen(const struct pass *p, const struct inet_diag_msg *m)
{
	struct sockdiag *s = p->s;
	bool v4 = m->idiag_family == AF_INET;
	struct kban_prefix peer;

	if (!port_is_ours(p, ntohs(m->id.idiag_sport)))
		return;
	/* from_bytes() turns a mapped address into IPv4. */
	if (kban_prefix_from_bytes(&peer, v4 ? KBAN_IPV4 : KBAN_IPV6,
				   (const uint8_t *)m->id.idiag_dst, v4 ? 4 : 16, v4 ? 32 : 128))
		return;
	if (!p->match(p->arg, &peer))
		return;
	if (s->found_n == s->found_size) {
		s->found_size = s->found_size * 2 + DESTROY_N;
		s->found = kban_realloc(s->found, s->found_size * sizeof(*s->found));
	}
	struct request *r = &s->found[s->found_n++];
	*r = request_new(s, SOCK_DESTROY, NLM_F_ACK, m->idiag_family);
	r->body.id = m->id;
}

/* 0: go on; 1: the end of the list, which carries the error of a list that failed. */
static int message_take(const struct pass *p, const struct nlmsghdr *m)
{
	int error = 0;

	if (m->nlmsg_type == NLMSG_DONE) {
		if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
			memcpy(&error, NLMSG_DATA(m), sizeof(error));
		return error < 0 ? error : 1;
	}
	if (m->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(m))->error;
	if (m->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
	    m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
		connection_seen(p, NLMSG_DATA(m));
	return 0;
}

static int connections_list(const struct pass *p, uint8_t family)
{
	struct sockdiag *s = p->s;
	struct request ask = request_new(s, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family);
	uint32_t seq = ask.header.nlmsg_seq;
	int r = 0;

	if (send(s->fd, &ask, sizeof(ask), 0) < 0)
		return -errno;
	while (!r) {
		ssize_t got = recv(s->fd, s->buf, RECEIVE_SIZE, 0);
		if (got < 0)
			return -errno;
		size_t left = (size_t)got;
		for (const struct nlmsghdr *m = (void *)s->buf; !r && NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			r = m->nlmsg_seq == seq ? message_take(p, m) : 0;
	}
	/* A kernel without IPv6 has no such connections; one without tcp_diag can't list any. */
	if (r == -ENOENT)
		return family == AF_INET ? -EOPNOTSUPP : 0;
	return r > 0 ? 0 : r;
}

/* A connection that ended by itself meanwhile is none of ours. */
static int destroyed_count(struct sockdiag *s, size_t n, uint64_t *cut)
{
	int r = 0;

	while (n) {
		ssize_t got = recv(s->fd, s->buf, RECEIVE_SIZE, 0);
		if (got < 0)
			return -errno;
		size_t left = (size_t)got;
		for (const struct nlmsghdr *m = (void *)s->buf; n && NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left)) {
			if (m->nlmsg_type != NLMSG_ERROR)
				continue;
			int error = ((const struct nlmsgerr *)NLMSG_DATA(m))->error;
			*cut += !error;
			r = error == -EOPNOTSUPP || error == -EPERM ? error : r;
			n--;
		}
	}
	return r;
}

static int found_destroy(struct sockdiag *s, uint64_t *cut)
{
	int r = 0;

	for (size_t i = 0; i < s->found_n && !r; i += DESTROY_N) {
		size_t n = s->found_n - i < DESTROY_N ? s->found_n - i : DESTROY_N;
		if (send(s->fd, &s->found[i], n * sizeof(s->found[i]), 0) < 0)
			return -errno;
		r = destroyed_count(s, n, cut);
	}
	return r;
}

int sockdiag_cut(struct sockdiag *s, const uint16_t *ports, size_t ports_n,
		 sockdiag_match_fn *match, void *arg, uint64_t *cut)
{
	const struct pass p = {s, ports, ports_n, match, arg};

	*cut = 0;
	s->found_n = 0;
	int r = connections_list(&p, AF_INET);
	if (!r)
		r = connections_list(&p, AF_INET6);
	int d = found_destroy(s, cut);
	return r ? r : d;
}
