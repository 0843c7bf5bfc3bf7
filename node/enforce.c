/* SPDX-License-Identifier: MPL-2.0
 *
 * The node's end. Packets that the child has no room for wait in a queue, which is bounded: a
 * replacement of everything supersedes what waits, and a child that has not read QUEUE_MAX bytes is
 * given up as gone, which ends the node; it starts again with a replacement. The child answers each
 * packet that it takes, so the queue moves on in enforce_read() and needs no polling for room.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/enforce_wire.h"
#include "proto/log.h"

#define QUEUE_MAX   (256u << 20)
#define PAIR_BUFFER (4 << 20)
#define COMPARE_S   60
#define TABLE_MAX   64

struct enforce {
	int fd;
	pid_t child; /* 0: backend none */
	bool gone;
	bool all, begun;
	uint64_t batch; /* the newest number given out */
	struct enforce_op *ops;
	size_t ops_n, ops_size;
	uint8_t *queue; /* packets, each after its size_t length */
	size_t queue_n, queue_sent, queue_size;
	struct enforce_report report;
};

/* Start and end */

static const char *config_fault(const struct enforce_config *c)
{
	size_t n = strlen(c->table);

	if (!n || n > TABLE_MAX || !isalpha((unsigned char)c->table[0]))
		return "the nftables table's name must start with a letter and have at most 64";
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)c->table[i]) && c->table[i] != '_')
			return "the nftables table's name may have letters, digits and _ only";
	for (size_t i = 0; i < c->ports_n; i++)
		if (!c->ports[i])
			return "0 is no TCP port: remove it from the ports";
	for (size_t i = 0; i < c->excepted_n; i++)
		if (!c->excepted[i].len)
			return "a /0 can't be excepted: choose backend none if nothing is to be "
			       "blocked";
	/* The message that defines the set has to hold them. */
	return c->ports_n > 256 ? "more than 256 ports: leave them out to protect all" : NULL;
}

static void pair_enlarge(int fd)
{
	const int size = PAIR_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static int child_start(struct enforce *e, const struct enforce_config *config)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pair_enlarge(pair[0]);
	e->child = fork();
	if (!e->child)
		enforce_child(pair[1], config);
	int r = e->child < 0 ? -errno : 0;
	kban_close(pair[1]);
	e->fd = pair[0];
	e->child = r ? 0 : e->child;
	return r;
}

static int child_await(struct enforce *e, char **error)
{
	ssize_t got = recv(e->fd, &e->report, sizeof(e->report), 0);

	if (got != (ssize_t)sizeof(e->report)) {
		*error = kban_strdup("the enforcing child ended before it was ready; see the log");
		return -EPIPE;
	}
	e->report.status.error[sizeof(e->report.status.error) - 1] = '\0';
	if (e->report.start_error)
		*error = kban_strdup(e->report.status.error);
	return e->report.start_error;
}

static int kernel_start(struct enforce *e, const struct enforce_config *config, char **error)
{
	const char *fault = config_fault(config);

	if (fault) {
		*error = kban_strdup(fault);
		return -EINVAL;
	}
	int r = child_start(e, config);
	if (r) {
		*error = kban_asprintf("can't start the enforcing child: %s", strerror(-r));
		return r;
	}
	return child_await(e, error);
}

int enforce_start(struct enforce **out, const struct enforce_config *config, char **error)
{
	kban_auto(enforce_stop) struct enforce *e = kban_zalloc(sizeof(*e));
	struct enforce_config full = *config;
	int r = 0;

	e->fd = -1;
	full.table = full.table ? full.table : "kban";
	full.compare_s = full.compare_s ? full.compare_s : COMPARE_S;
	*error = NULL;
	if (!strcmp(full.backend, "none")) {
		e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = e->fd < 0 ? -errno : 0;
	} else if (!strcmp(full.backend, "nftables")) {
		r = kernel_start(e, &full, error);
	} else {
		*error = kban_asprintf("unknown backend: choose nftables or none");
		r = -EINVAL;
	}
	if (r)
		return r;
	*out = e;
	e = NULL;
	return 0;
}

void enforce_stop(struct enforce *e)
{
	if (!e)
		return;
	kban_close(e->fd); /* the child ends at the end of its input */
	while (e->child && waitpid(e->child, NULL, 0) < 0 && errno == EINTR)
		;
	free(e->ops);
	free(e->queue);
	free(e);
}

int enforce_drop_privileges(void)
{
	return enforce_keep_capabilities(false);
}

int enforce_fd(const struct enforce *e)
{
	return e->fd;
}

pid_t enforce_child_pid(const struct enforce *e)
{
	return e->child;
}

const struct enforce_status *enforce_status(const struct enforce *e)
{
	return &e->report.status;
}

/* Sending */

static bool packet_send(struct enforce *e, const void *bytes, size_t len)
{
	ssize_t sent;

	do
		sent = send(e->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	e->gone |= sent < 0 && errno != EAGAIN;
	return sent >= 0;
}

static void queue_flush(struct enforce *e)
{
	while (e->queue_sent < e->queue_n && !e->gone) {
		size_t len;
		memcpy(&len, e->queue + e->queue_sent, sizeof(len));
		if (!packet_send(e, e->queue + e->queue_sent + sizeof(len), len))
			return;
		e->queue_sent += sizeof(len) + len;
	}
	e->queue_n = e->queue_sent = 0;
	if (e->queue_size > PAIR_BUFFER) {
		free(e->queue);
		e->queue = NULL;
		e->queue_size = 0;
	}
}

static void queue_add(struct enforce *e, const void *bytes, size_t len)
{
	if (e->queue_n - e->queue_sent + len > QUEUE_MAX) {
		kban_error("the enforcing child has not read for too long: given up");
		e->gone = true;
		return;
	}
	if (e->queue_sent > e->queue_n / 2) {
		memmove(e->queue, e->queue + e->queue_sent, e->queue_n - e->queue_sent);
		e->queue_n -= e->queue_sent;
		e->queue_sent = 0;
	}
	if (e->queue_n + sizeof(len) + len > e->queue_size) {
		e->queue_size = e->queue_size * 2 + sizeof(len) + len;
		e->queue = kban_realloc(e->queue, e->queue_size);
	}
	memcpy(e->queue + e->queue_n, &len, sizeof(len));
	memcpy(e->queue + e->queue_n + sizeof(len), bytes, len);
	e->queue_n += sizeof(len) + len;
}

static void packet_post(struct enforce *e, const struct enforce_packet *p)
{
	size_t len = sizeof(p->header) + p->header.ops_n * sizeof(p->ops[0]);

	queue_flush(e);
	if (e->gone || (!e->queue_n && packet_send(e, p, len)))
		return;
	if (!e->gone)
		queue_add(e, p, len);
}

static void batch_start(struct enforce *e, bool all)
{
	assert(!e->begun);
	e->begun = true;
	e->all = all;
	e->ops_n = 0;
}

void enforce_begin(struct enforce *e)
{
	batch_start(e, false);
}

void enforce_begin_all(struct enforce *e)
{
	batch_start(e, true);
}

void enforce_op(struct enforce *e, const struct enforce_op *op)
{
	assert(e->begun);
	if (!e->child)
		return;
	if (e->ops_n == e->ops_size) {
		e->ops_size = e->ops_size * 2 + 16;
		e->ops = kban_realloc(e->ops, e->ops_size * sizeof(*e->ops));
	}
	struct enforce_op *to = &e->ops[e->ops_n++];
	memset(to, 0, sizeof(*to)); /* padding travels too */
	to->kind = op->kind;
	to->prefix = op->prefix;
	to->until_boot_ms = op->until_boot_ms;
}

static void batch_post(struct enforce *e)
{
	struct enforce_packet p;
	size_t at = 0;

	if (e->all) /* the child drops what it has of an unfinished batch */
		e->queue_n = e->queue_sent = 0;
	do {
		size_t n = e->ops_n - at < ENFORCE_PACKET_OPS ? e->ops_n - at : ENFORCE_PACKET_OPS;
		p.header = (struct enforce_header){
			.batch = e->batch,
			.flags = (at + n == e->ops_n ? ENFORCE_LAST : 0) |
				 (e->all ? ENFORCE_ALL : 0),
			.ops_n = (uint32_t)n,
		};
		if (n)
			memcpy(p.ops, e->ops + at, n * sizeof(*e->ops));
		packet_post(e, &p);
		at += n;
	} while (at < e->ops_n);
}

static void none_done(struct enforce *e)
{
	const uint64_t one = 1;

	e->report.status.done = e->batch;
	if (write(e->fd, &one, sizeof(one)) < 0)
		e->gone = errno != EAGAIN;
}

uint64_t enforce_commit(struct enforce *e)
{
	assert(e->begun);
	e->begun = false;
	e->batch++;
	if (e->child)
		batch_post(e);
	else
		none_done(e);
	if (e->ops_size > 64 * ENFORCE_PACKET_OPS) {
		free(e->ops);
		e->ops = NULL;
		e->ops_size = 0;
	}
	return e->batch;
}

void enforce_compare(struct enforce *e)
{
	struct enforce_packet p = {.header = {.flags = ENFORCE_COMPARE}};

	if (e->child)
		packet_post(e, &p);
}

/* Reading */

static void repairs_log(const struct mirror_repairs *was, const struct mirror_repairs *is)
{
	const struct {
		uint64_t was, is;
		const char *what;
	} rows[] = {
		{was->layouts, is->layouts, "repaired our nftables table that somebody changed"},
		{was->put_back, is->put_back,
		 "put back entries that somebody removed from nftables"},
		{was->removed, is->removed, "removed entries that somebody added to our nftables"},
		{was->corrected, is->corrected, "corrected timeouts that somebody changed"},
		{was->refills, is->refills,
		 "filled large sets anew that somebody may have changed"},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		if (rows[i].is > rows[i].was)
			kban_warning("%s: %" PRIu64, rows[i].what, rows[i].is - rows[i].was);
}

static void report_log(const struct enforce_report *was, const struct enforce_report *is)
{
	repairs_log(&was->repairs, &is->repairs);
	if (is->status.error[0] && strcmp(was->status.error, is->status.error) != 0)
		kban_log(is->status.failed ? KBAN_LOG_ERROR : KBAN_LOG_WARNING, "%s",
			 is->status.error);
	if (!is->status.failed && was->status.failed)
		kban_info("the kernel takes changes again");
	if (is->status.refused > was->status.refused)
		kban_warning("the enforcing child refused operations: %" PRIu64,
			     is->status.refused - was->status.refused);
}

static int none_read(struct enforce *e)
{
	uint64_t n;

	return read(e->fd, &n, sizeof(n)) < 0 && errno != EAGAIN ? -errno : 0;
}

int enforce_read(struct enforce *e)
{
	struct enforce_report report;
	ssize_t got;

	if (!e->child)
		return none_read(e);
	while ((got = recv(e->fd, &report, sizeof(report), MSG_DONTWAIT)) ==
	       (ssize_t)sizeof(report)) {
		report.status.error[sizeof(report.status.error) - 1] = '\0';
		report_log(&e->report, &report);
		e->report = report;
	}
	if (got >= 0 || (errno != EAGAIN && errno != EINTR))
		e->gone = true;
	queue_flush(e);
	return e->gone ? -EPIPE : 0;
}
