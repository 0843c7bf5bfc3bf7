/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/enforce_wire.h"
#include "node/sockdiag.h"

#define PACKETS_AT_ONCE 64
#define COMPARE_GAP_MS	100  /* at least, between comparisons that others' changes cause */
#define RETRY_MS	1000 /* after the kernel refused */
#define EXPIRE_GAP_MS	1000
#define CUT_GAP_MS	20  /* at least, between passes over all connections */
#define CUT_AGAIN_MS	100 /* for those that were being accepted during the first pass */
#define NEVER		UINT64_MAX

struct child {
	int fd;
	const struct enforce_config *config;
	struct nft *nft;
	struct wanted *wanted;
	struct mirror mirror;
	struct sockdiag *diag;
	struct enforce_packet packet;
	struct enforce_op *ops; /* of the batch that is arriving */
	size_t ops_n, ops_size;
	uint64_t batch;	      /* its number */
	uint64_t batch_taken; /* the newest whose operations are in the wanted table */
	uint64_t compare_ms, compared_ms, expire_ms;
	uint64_t cut_ms, cut_again_ms, cut_done_ms;
	bool force;   /* the comparison that is due is not satisfied by the kernel's count */
	bool cropped; /* the batch that is arriving was too long */
	bool full;    /* something wanted was refused because there is too much of it */
	bool stop, report_due, report_blocked;
	struct enforce_report report;
};

/* Reports */

/* What isn't done although the kernel takes our transactions. */
static void shortfall_explain(const struct child *c, char *out, size_t size)
{
	if (c->full)
		snprintf(out, size,
			 "more than %u bans or %u safe ranges are wanted: the rest is left out; "
			 "remove some",
			 ENFORCE_BANS_MAX, ENFORCE_SAFES_MAX);
	else if (c->report.cut_unsupported)
		snprintf(out, size,
			 "this kernel can't end open connections (INET_DIAG_DESTROY): banned ones "
			 "hang until they time out");
	else
		out[0] = '\0';
}

static void report_send(struct child *c)
{
	const struct wanted_counts *n = wanted_counts(c->wanted);
	const struct mirror_repairs *m = &c->mirror.repairs;
	struct enforce_status *s = &c->report.status;

	s->bans_wanted = n->bans;
	s->bans_enforced = n->bans_enforced;
	s->safes_wanted = n->safes;
	s->safes_enforced = n->safes_enforced;
	s->repairs = m->put_back + m->removed + m->corrected + m->layouts + m->refills;
	c->report.repairs = *m;
	if (!s->failed && !c->report.start_error)
		shortfall_explain(c, s->error, sizeof(s->error));
	/* Full: the node has not read the ones before; the newest follows when it has. */
	ssize_t sent = send(c->fd, &c->report, sizeof(c->report), MSG_NOSIGNAL | MSG_DONTWAIT);
	c->report_blocked = sent < 0 && errno == EAGAIN;
	c->report_due = false;
}

/* The kernel */

static void kernel_result(struct child *c, int r)
{
	struct enforce_status *s = &c->report.status;
	uint64_t now = enforce_boot_ms();

	c->report_due = true;
	s->failed = r < 0;
	if (r < 0) {
		snprintf(s->error, sizeof(s->error),
			 "the kernel refused a change of table %s: %s; %s", c->config->table,
			 strerror(-r), enforce_remedy(r));
		c->compare_ms = now + RETRY_MS;
		c->force = true;
		return;
	}
	s->done = c->batch_taken;
}

static bool connection_is_banned(void *arg, const struct kban_prefix *peer)
{
	struct child *c = arg;
	uint64_t now = enforce_boot_ms();

	return wanted_covers(c->wanted, NFT_BAN, peer, now) &&
	       !wanted_covers(c->wanted, NFT_SAFE, peer, now);
}

static void child_cut(struct child *c, uint64_t now)
{
	uint64_t cut = 0;

	c->cut_ms = NEVER;
	if (now >= c->cut_again_ms)
		c->cut_again_ms = NEVER;
	if (c->report.cut_unsupported)
		return;
	int r = sockdiag_cut(c->diag, c->config->ports, c->config->ports_n, connection_is_banned, c,
			     &cut);
	c->cut_done_ms = now;
	c->report.status.cut += cut;
	c->report.cut_unsupported = r == -EOPNOTSUPP;
	c->report_due |= cut || r == -EOPNOTSUPP;
}

/* Passes over many connections cost more than a ban: a burst of bans shares them. */
static void child_cut_new(struct child *c)
{
	uint64_t now = enforce_boot_ms();

	if (!c->mirror.new_bans)
		return;
	c->mirror.new_bans = false;
	c->cut_again_ms = now + CUT_AGAIN_MS;
	if (now >= c->cut_done_ms + CUT_GAP_MS)
		child_cut(c, now);
	else
		c->cut_ms = c->cut_done_ms + CUT_GAP_MS;
}

static int child_compare(struct child *c, bool replace)
{
	wanted_expire(c->wanted, enforce_boot_ms());
	int r = mirror_compare(&c->mirror, replace);
	c->compared_ms = enforce_boot_ms();
	c->compare_ms = c->compared_ms + c->config->compare_s * 1000ull;
	c->force = false;
	return r;
}

static void child_compare_due(struct child *c)
{
	if (!c->force && mirror_untouched(&c->mirror)) {
		c->compare_ms = enforce_boot_ms() + c->config->compare_s * 1000ull;
		return;
	}
	kernel_result(c, child_compare(c, c->batch_taken > 0));
	child_cut_new(c);
}

static void child_compare_soon(struct child *c)
{
	uint64_t at = c->compared_ms + COMPARE_GAP_MS;

	c->force = true;
	c->compare_ms = at < c->compare_ms ? at : c->compare_ms;
}

/* Operations */

static void want_nothing(struct child *c)
{
	size_t n;
	struct wanted_group **groups = wanted_groups(c->wanted, &n);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < groups[i]->size; j++) {
			struct wanted_entry *e = &groups[i]->slots[j];
			uint64_t keep = groups[i]->set.kind == NFT_SAFE ? WANTED_EXCEPTED : 0;
			if (!e->used)
				continue;
			wanted_set(c->wanted, groups[i], e, e->until & keep, e->kernel);
			mirror_changed(&c->mirror, groups[i], e);
		}
	}
}

static uint64_t until_after(const struct enforce_op *op, uint64_t until)
{
	switch ((enum enforce_kind)op->kind) {
	case ENFORCE_BAN:
		return op->until_boot_ms;
	case ENFORCE_UNBAN:
		return 0;
	case ENFORCE_SAFE:
		return until | WANTED_BY_NODE;
	case ENFORCE_UNSAFE:
		return until & ~(uint64_t)WANTED_BY_NODE;
	}
	return until;
}

static bool op_is_safe(const struct enforce_op *op)
{
	return op->kind == ENFORCE_SAFE || op->kind == ENFORCE_UNSAFE;
}

/* A replacement keeps what the kernel has if it ends at nearly the same time. */
static void op_take(struct child *c, const struct enforce_op *op, bool all)
{
	struct nft_set set = {op_is_safe(op) ? NFT_SAFE : NFT_BAN, op->prefix.family,
			      op->prefix.len};
	struct wanted_group *g = wanted_group(c->wanted, set);
	bool adds = op->kind == ENFORCE_BAN || op->kind == ENFORCE_SAFE;
	struct wanted_entry *e = adds ? wanted_get(c->wanted, g, op->prefix.addr)
				      : wanted_find(c->wanted, g, op->prefix.addr);
	if (!e)
		return;
	uint64_t until = until_after(op, e->until), kernel = e->kernel;
	if (all && op->kind == ENFORCE_BAN && kernel && mirror_same_end(kernel, until))
		kernel = until;
	wanted_set(c->wanted, g, e, until, kernel);
	mirror_changed(&c->mirror, g, e);
}

/* Safe ranges first: bans are judged by those that hold after the batch. */
static void ops_take(struct child *c, bool all)
{
	uint64_t now = enforce_boot_ms();

	for (int bans = 0; bans < 2; bans++) {
		for (size_t i = 0; i < c->ops_n; i++) {
			const struct enforce_op *op = &c->ops[i];
			if (op_is_safe(op) == bans)
				continue;
			enum enforce_verdict v = enforce_op_check(c->wanted, op, now);
			c->full |= v == ENFORCE_FULL;
			if (v == ENFORCE_TAKEN)
				op_take(c, op, all);
			else
				c->report.status.refused++;
		}
	}
}

static void batch_take(struct child *c, bool all)
{
	int r = -EAGAIN;

	if (all) {
		c->full = false;
		want_nothing(c);
		c->mirror.complete = true;
	}
	c->full |= c->cropped;
	c->cropped = false;
	ops_take(c, all);
	c->batch_taken = c->batch;
	c->ops_n = 0;
	if (c->mirror.known)
		r = mirror_apply(&c->mirror);
	/* Whatever went wrong, a comparison finds it. */
	if (r)
		r = child_compare(c, true);
	kernel_result(c, r);
	child_cut_new(c);
}

static void ops_collect(struct child *c, const struct enforce_packet *p)
{
	size_t room = ENFORCE_BATCH_MAX - c->ops_n;
	size_t n = p->header.ops_n < room ? p->header.ops_n : room;

	if (c->ops_size < c->ops_n + n) {
		c->ops_size = c->ops_size * 2 + ENFORCE_PACKET_OPS;
		c->ops = kban_realloc(c->ops, c->ops_size * sizeof(*c->ops));
	}
	if (n)
		memcpy(c->ops + c->ops_n, p->ops, n * sizeof(*p->ops));
	c->ops_n += n;
	c->report.status.refused += p->header.ops_n - n;
	c->cropped |= n < p->header.ops_n;
}

static void packet_take(struct child *c, const struct enforce_packet *p)
{
	if (p->header.flags & ENFORCE_COMPARE) {
		c->force = true;
		c->compare_ms = 0;
		return;
	}
	if (p->header.batch != c->batch) /* the node gave up the rest of the one before */
		c->ops_n = c->cropped = 0;
	c->batch = p->header.batch;
	ops_collect(c, p);
	if (p->header.flags & ENFORCE_LAST)
		batch_take(c, p->header.flags & ENFORCE_ALL);
}

static void packets_read(struct child *c)
{
	static uint8_t bytes[sizeof(struct enforce_packet) + 1];

	for (int i = 0; i < PACKETS_AT_ONCE; i++) {
		ssize_t got = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) { /* the node is gone; what is in the kernel stays */
			c->stop = true;
			return;
		}
		/* An answer to each, so that a node with more to send learns that there is room. */
		c->report_due = true;
		if (!enforce_packet_parse(&c->packet, bytes, (size_t)got))
			packet_take(c, &c->packet);
		else
			c->report.status.refused++;
	}
}

/* The loop */

static int child_timeout(const struct child *c, uint64_t now)
{
	const uint64_t due[] = {c->compare_ms, c->cut_ms, c->cut_again_ms, c->expire_ms};
	uint64_t first = NEVER;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(due); i++)
		first = due[i] < first ? due[i] : first;
	if (first <= now)
		return 0;
	return first - now > 60000 ? 60000 : (int)(first - now);
}

static void child_due(struct child *c)
{
	uint64_t now = enforce_boot_ms();

	if (now >= c->expire_ms) {
		c->report_due |= wanted_expire(c->wanted, now);
		c->expire_ms = now + EXPIRE_GAP_MS;
	}
	if (now >= c->cut_ms || now >= c->cut_again_ms)
		child_cut(c, now);
	if (now >= c->compare_ms)
		child_compare_due(c);
}

static void child_run(struct child *c)
{
	while (!c->stop) {
		struct pollfd fds[] = {
			{.fd = c->fd, .events = POLLIN | (c->report_blocked ? POLLOUT : 0)},
			{.fd = nft_watch_fd(c->nft), .events = POLLIN},
		};
		if (poll(fds, KBAN_ARRAY_LEN(fds), child_timeout(c, enforce_boot_ms())) < 0)
			continue;
		if (fds[0].revents & ~POLLOUT)
			packets_read(c);
		if (nft_touched(c->nft))
			child_compare_soon(c);
		child_due(c);
		if (c->report_due || (fds[0].revents & POLLOUT))
			report_send(c);
	}
}

/* Start */

static int excepted_want(struct child *c)
{
	for (size_t i = 0; i < c->config->excepted_n; i++) {
		struct enforce_op op = {.kind = ENFORCE_SAFE, .prefix = c->config->excepted[i]};
		struct nft_set set = {NFT_SAFE, op.prefix.family, op.prefix.len};
		if (enforce_op_check(c->wanted, &op, 0))
			return -EINVAL;
		struct wanted_group *g = wanted_group(c->wanted, set);
		struct wanted_entry *e = wanted_get(c->wanted, g, op.prefix.addr);
		wanted_set(c->wanted, g, e, WANTED_EXCEPTED, 0);
	}
	return 0;
}

static int child_open(struct child *c)
{
	uint64_t seed;
	int r = enforce_keep_capabilities(true);

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -errno;
	c->wanted = wanted_new(seed);
	if (!r)
		r = nft_open(&c->nft, c->config->table, c->config->ports, c->config->ports_n);
	if (!r)
		r = sockdiag_open(&c->diag);
	if (!r)
		r = excepted_want(c);
	if (r)
		return r;
	mirror_init(&c->mirror, c->nft, c->wanted);
	/* Another version's table stays until the node has said what is to replace it. */
	r = child_compare(c, false);
	c->mirror.new_bans = false;
	return r < 0 ? r : 0;
}

/* Nothing of the node's is inherited but its error output; the node alone gets the signals that end
 * both. */
static int child_isolate(int fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGQUIT};
	sigset_t none;

	sigemptyset(&none);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "kban-enforce");
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (fd != 3)
		dup2(fd, 3);
	close_range(4, ~0u, 0);
	return 3;
}

static void child_free(struct child *c)
{
	sockdiag_free(c->diag);
	mirror_release(&c->mirror);
	wanted_free(c->wanted);
	nft_free(c->nft);
	free(c->ops);
	free(c);
}

void enforce_child(int fd, const struct enforce_config *config)
{
	struct child *c = kban_zalloc(sizeof(*c));

	c->fd = child_isolate(fd);
	c->config = config;
	c->cut_ms = c->cut_again_ms = NEVER;
	int r = child_open(c);
	if (r) {
		c->report.start_error = r;
		snprintf(c->report.status.error, sizeof(c->report.status.error),
			 "can't set up nftables table %s: %s; %s", config->table, strerror(-r),
			 enforce_remedy(r));
	}
	report_send(c);
	if (!r)
		child_run(c);
	child_free(c);
	_exit(r ? 1 : 0);
}
