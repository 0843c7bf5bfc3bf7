/* SPDX-License-Identifier: MPL-2.0 */
#include "node/state.h"

#include <stdlib.h>
#include <string.h>

#include "proto/log.h"

/* A prefix whose state in the kernel is to be set anew once everything is folded. What the kernel holds now is
 * not guessed at: in the middle of a batch the ledger is ahead of it. The child skips what is so already. */
struct change {
	struct kban_prefix prefix;
	UT_hash_handle hh;
};

struct ops {
	struct enforce_op *v;
	size_t n, room;
};

static void ops_free(struct ops *o)
{
	free(o->v);
}

static void ops_free_auto(struct ops *o)
{
	ops_free(o);
}

static void ops_add(struct ops *o, enum enforce_kind kind, const struct kban_prefix *p,
		    uint64_t until)
{
	if (o->n == o->room) {
		o->room = o->room ? o->room * 2 : 64;
		o->v = kban_realloc(o->v, o->room * sizeof(*o->v));
	}
	o->v[o->n] = (struct enforce_op){.kind = kind, .until_boot_ms = until};
	o->v[o->n++].prefix = *p;
}

/* What is wanted ------------------------------------------------------------------------------- */

static bool excepted_covers(const struct node *n, const struct kban_prefix *p)
{
	for (size_t i = 0; i < n->config.excepted_n; i++)
		if (kban_prefix_covers(&n->excepted[i], p))
			return true;
	return false;
}

static bool safe_here(const struct node *n, const struct kban_prefix *p, uint64_t broker_ms)
{
	return ledger_safe_covers(n->ledger, p, broker_ms, &n->self);
}

/* The /64 of our own address, gateway or resolver is our neighbours', the other mail servers maybe:
 * it is not banned because of one of them. */
static bool own_overlaps(const struct node *n, const struct kban_prefix *p)
{
	for (size_t i = 0; i < n->config.own_n; i++)
		if (kban_prefix_overlaps(&n->excepted[i], p))
			return true;
	return false;
}

/* An excepted address inside exempts only itself, not its whole /64: the kernel has it among its
 * safe ones, which pass whatever is banned around them. A broker's exempts whatever holds it, since
 * the fold takes no such ban. */
const char *want_exempt(const struct node *n, const struct kban_prefix *p)
{
	if (kban_prefix_never_ban(p))
		return "it is never banned (loopback, link-local, multicast)";
	if (ledger_is_broker_address(n->ledger, p))
		return "it is or holds the address of a broker";
	if (own_overlaps(n, p))
		return "it is this server's own network";
	if (excepted_covers(n, p))
		return "it is excepted on this server";
	if (safe_here(n, p, node_broker_ms(n)))
		return "it is in a safe range";
	return NULL;
}

bool node_spares(const struct node *n, const struct kban_prefix *address)
{
	return excepted_covers(n, address) || safe_here(n, address, node_broker_ms(n));
}

static uint64_t to_boot(const struct instant *now, uint64_t until_ms)
{
	return until_ms > now->broker_ms ? now->boot_ms + (until_ms - now->broker_ms) : 0;
}

uint64_t want_until(const struct node *n, const struct kban_prefix *p, const struct instant *now)
{
	if (excepted_covers(n, p) || safe_here(n, p, now->broker_ms))
		return 0;
	uint64_t own = own_until(&n->own, p, now->boot_ms);
	uint64_t fleet = to_boot(now, ledger_ban_until(n->ledger, p, now->broker_ms));

	return own > fleet ? own : fleet;
}

struct walk {
	const struct node *n;
	struct instant now;
	void (*fn)(void *arg, const struct enforce_op *op);
	void *arg;
};

static void walk_ban(const struct walk *w, const struct kban_prefix *p)
{
	struct enforce_op op = {.kind = ENFORCE_BAN, .prefix = *p};

	op.until_boot_ms = want_until(w->n, p, &w->now);
	if (op.until_boot_ms)
		w->fn(w->arg, &op);
}

static int walk_fleet(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	(void)until_ms;
	walk_ban(arg, p);
	return 0;
}

void node_wanted(const struct node *n, void (*fn)(void *arg, const struct enforce_op *op),
		 void *arg)
{
	struct walk w = {n, node_instant(n), fn, arg};
	const struct own_ban *b;
	const struct safe_row *s;

	(void)ledger_bans_each(n->ledger, w.now.broker_ms, NULL, NULL, walk_fleet, &w);
	for (b = n->own.bans; b; b = b->hh.next)
		if (!ledger_ban_until(n->ledger, &b->prefix, w.now.broker_ms))
			walk_ban(&w, &b->prefix);
	for (s = n->safes; s; s = s->hh.next)
		fn(arg, &(struct enforce_op){.kind = ENFORCE_SAFE, .prefix = s->prefix});
}

/* Sending -------------------------------------------------------------------------------------- */

uint64_t want_send(struct node *n, const struct enforce_op *ops, size_t ops_n, bool all)
{
	if (ops_n || all)
		n->last_batch = n->ports.enforce(n->ports.arg, ops, ops_n, all);
	return n->last_batch;
}

static void fences_pass(struct node *n)
{
	size_t passed = 0;

	while (passed < n->fences_n && n->fences[passed].batch <= n->status.done)
		n->enforced_seq = n->fences[passed++].seq;
	n->fences_n -= passed;
	memmove(n->fences, n->fences + passed, n->fences_n * sizeof(n->fences[0]));
}

/* When the child is far behind, the newest fences become one, which says less but never too much.
 */
void want_fence(struct node *n, uint64_t seq)
{
	if (n->fences_n == NODE_FENCES)
		n->fences_n--;
	n->fences[n->fences_n++] = (struct fence){n->last_batch, seq};
	fences_pass(n);
}

void node_enforced(struct node *n, const struct enforce_status *status)
{
	if (status->failed && !n->status.failed)
		kban_error("the kernel refuses our rules: %s; bans are not enforced",
			   status->error);
	if (!status->failed && n->status.failed)
		kban_info("the kernel takes our rules again");
	n->status = *status;
	fences_pass(n);
}

/* Safe ranges ---------------------------------------------------------------------------------- */

struct safes_sync {
	struct node *n;
	struct ops *ops;
	struct changes *c; /* NULL: everything is sent anyway */
	uint64_t next_end;
};

void changes_touch(struct changes *c, const struct kban_prefix *p)
{
	struct change *ch;

	HASH_FIND(hh, c->set, p, sizeof(*p), ch);
	if (ch)
		return;
	ch = kban_zalloc(sizeof(*ch));
	ch->prefix = *p;
	HASH_ADD(hh, c->set, prefix, sizeof(ch->prefix), ch);
}

static int touch_one(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	(void)until_ms;
	changes_touch(arg, p);
	return 0;
}

static void touch_inside(const struct node *n, struct changes *c, const struct kban_prefix *within)
{
	(void)ledger_bans_each(n->ledger, node_broker_ms(n), within, NULL, touch_one, c);
}

static int sync_range(void *arg, const struct ledger_safe *s)
{
	struct safes_sync *g = arg;
	struct safe_row *row;

	if (!ledger_safe_counts(g->n->ledger, s, &g->n->self))
		return 0;
	if (s->until_ms && s->until_ms < g->next_end)
		g->next_end = s->until_ms;
	HASH_FIND(hh, g->n->safes, &s->prefix, sizeof(s->prefix), row);
	if (!row) {
		row = kban_zalloc(sizeof(*row));
		row->prefix = s->prefix;
		HASH_ADD(hh, g->n->safes, prefix, sizeof(row->prefix), row);
		ops_add(g->ops, ENFORCE_SAFE, &s->prefix, 0);
		if (g->c)
			touch_inside(g->n, g->c, &s->prefix);
		g->n->ports.forget(g->n->ports.arg, &s->prefix);
	}
	row->seen = true;
	return 0;
}

/* Makes the table of ranges that are safe in this kernel agree with the ledger at the present time.
 */
static void safes_sync(struct node *n, struct ops *ops, struct changes *c)
{
	struct safes_sync g = {n, ops, c, UINT64_MAX};
	struct safe_row *row, *next;

	HASH_ITER (hh, n->safes, row, next)
		row->seen = false;
	(void)ledger_safes_each(n->ledger, node_broker_ms(n), sync_range, &g);
	n->next_safe_end_ms = g.next_end;
	HASH_ITER (hh, n->safes, row, next) {
		if (row->seen)
			continue;
		ops_add(ops, ENFORCE_UNSAFE, &row->prefix, 0);
		if (c)
			touch_inside(n, c, &row->prefix);
		HASH_DEL(n->safes, row);
		free(row);
	}
}

/* Own bans of what has become safe, or a broker's address, are lifted: this is the refusal "about
 * the address", taken from the verified log rather than from a receipt, which is only the broker's
 * word. */
static void own_sweep_exempt(struct node *n, struct changes *c)
{
	struct own_ban *b, *next;

	HASH_ITER (hh, n->own.bans, b, next) {
		if (!want_exempt(n, &b->prefix))
			continue;
		struct kban_prefix p = b->prefix;

		changes_touch(c, &p);
		node_lift(n, b);
		n->ports.forget(n->ports.arg, &p);
	}
}

/* Changes -------------------------------------------------------------------------------------- */

void changes_free(struct changes *c)
{
	struct change *ch, *next;

	HASH_ITER (hh, c->set, ch, next) {
		HASH_DEL(c->set, ch);
		free(ch);
	}
}

/* Every prefix that covers p and has a running ban: at most 128 lookups. */
static void touch_covering(const struct node *n, struct changes *c, const struct kban_prefix *p)
{
	uint64_t now = node_broker_ms(n);

	for (unsigned len = 0; len <= p->len; len++) {
		struct kban_prefix wide = kban_prefix_mask(p, len);

		if (ledger_ban_until(n->ledger, &wide, now))
			changes_touch(c, &wide);
	}
}

static void before_unban(struct node *n, struct changes *c, const struct kban_event *e)
{
	touch_inside(n, c, &e->unban.prefix);
	if (e->unban.covering)
		touch_covering(n, c, &e->unban.prefix);
}

static void before_broker(const struct node *n, struct changes *c, const struct kban_event *e)
{
	c->brokers = true;
	for (size_t i = 0; i < e->broker_address.addresses_n; i++)
		touch_covering(n, c, &e->broker_address.addresses[i]);
}

static void before_event(struct node *n, struct changes *c, const struct kban_event *e)
{
	switch (e->kind) {
	case KBAN_EVENT_BAN:
		changes_touch(c, &e->ban.prefix);
		return;
	case KBAN_EVENT_UNBAN:
		before_unban(n, c, e);
		return;
	case KBAN_EVENT_SAFE_ADD:
		c->safes = true;
		touch_inside(n, c, &e->safe_add.prefix);
		return;
	case KBAN_EVENT_SAFE_APPROVE:
		c->safes = true;
		touch_inside(n, c, &e->safe_approve.prefix);
		return;
	case KBAN_EVENT_SAFE_REMOVE:
	case KBAN_EVENT_REVOKE:
		c->safes = true;
		return;
	case KBAN_EVENT_PURGE:
		touch_inside(n, c, NULL);
		return;
	case KBAN_EVENT_BROKER_ADDRESS:
		before_broker(n, c, e);
		return;
	case KBAN_EVENT_GRANT:
	case KBAN_EVENT_INVITE:
	case KBAN_EVENT_JOIN:
	case KBAN_EVENT_POLICY:
	case KBAN_EVENT_RELEASE:
	case KBAN_EVENT_FOLD_VERSION:
	case KBAN_EVENT_EPOCH:
		return;
	}
}

void changes_before(struct node *n, struct changes *c, const struct kban_report *r)
{
	for (size_t i = 0; i < r->events_n; i++)
		before_event(n, c, &r->events[i]);
}

static void change_op(struct node *n, const struct change *ch, const struct instant *now,
		      struct ops *ops)
{
	uint64_t until = want_until(n, &ch->prefix, now);

	ops_add(ops, until ? ENFORCE_BAN : ENFORCE_UNBAN, &ch->prefix, until);
}

void changes_enforce(struct node *n, struct changes *c)
{
	kban_auto(ops_free) struct ops ops = {0};
	struct change *ch;

	if (c->safes)
		safes_sync(n, &ops, c);
	if (c->safes || c->brokers)
		own_sweep_exempt(n, c);
	struct instant now = node_instant(n);

	for (ch = c->set; ch; ch = ch->hh.next)
		change_op(n, ch, &now, &ops);
	(void)want_send(n, ops.v, ops.n, false);
}

static void collect(void *arg, const struct enforce_op *op)
{
	ops_add(arg, op->kind, &op->prefix, op->until_boot_ms);
}

void want_enforce_all(struct node *n)
{
	kban_auto(ops_free) struct ops unused = {0};
	kban_auto(ops_free) struct ops ops = {0};
	struct instant now = node_instant(n);

	safes_sync(n, &unused, NULL);
	node_wanted(n, collect, &ops);
	n->timed_offset = (int64_t)(now.broker_ms - now.boot_ms);
	n->timed_ms = now.boot_ms;
	(void)want_send(n, ops.v, ops.n, !n->blind);
}

void want_tick(struct node *n)
{
	struct instant now = node_instant(n);
	int64_t off = (int64_t)(now.broker_ms - now.boot_ms) - n->timed_offset;

	if ((off > NODE_RETIME_MS || off < -NODE_RETIME_MS) &&
	    now.boot_ms - n->timed_ms >= NODE_RETIME_EVERY_MS) {
		kban_info("broker time moved by %lld ms against the boot clock: ends of bans are "
			  "set anew",
			  (long long)off);
		want_enforce_all(n);
	}
	if (now.broker_ms < n->next_safe_end_ms)
		return;
	struct changes c = {.node = n, .safes = true};

	changes_enforce(n, &c);
	changes_free(&c);
}
