/* SPDX-License-Identifier: MPL-2.0
 *
 * A state in place of the ledger that this node had folded itself: what it may not contradict, and
 * what follows from it for the kernel, own bans, and the outbox. The same follows as if the entries
 * in between had been folded, as far as the state still knows them.
 */
#include <utlist.h>

#include "node/state.h"
#include "proto/log.h"

/* Contradictions ------------------------------------------------------------------------------- */

struct succession {
	const struct ledger *next;
	const char *why;
};

static const char *principal_contradiction(const struct ledger_principal *was,
					   const struct ledger_principal *is)
{
	if (!is)
		return "it lacks a principal that this node's own log has";
	if (is->role != was->role || is->granted_seq != was->granted_seq ||
	    !kban_key_equal(&is->curve, &was->curve))
		return "a principal in it is not as in this node's own log";
	if (was->revoked_seq && is->revoked_seq != was->revoked_seq)
		return "a principal is live in it that was revoked";
	if (is->counter < was->counter)
		return "a principal's newest report in it is older than one in this node's own log";
	return NULL;
}

static int check_principal(void *arg, const struct ledger_principal *was)
{
	struct succession *s = arg;

	s->why = principal_contradiction(was, ledger_principal(s->next, &was->key));
	return s->why != NULL;
}

/* An unconfirmed ledger is no measure. */
const char *adopt_contradiction(const struct node *n, const struct ledger *l)
{
	struct succession s = {.next = l};

	if (n->confirm.wanted)
		return NULL;
	if (ledger_time_ms(l) < ledger_time_ms(n->ledger) ||
	    ledger_fold_version(l) < ledger_fold_version(n->ledger))
		return "it is older than this node's own log";
	(void)ledger_principals_each(n->ledger, check_principal, &s);
	return s.why;
}

/* What follows --------------------------------------------------------------------------------- */

static bool unbanned_since(const struct node *n, const struct kban_prefix *p, uint64_t seq)
{
	return ledger_unbanned_seq(n->ledger, p) > seq;
}

static void lift_own(struct node *n, uint64_t before)
{
	struct own_ban *b, *next;

	HASH_ITER (hh, n->own.bans, b, next)
		if (want_exempt(n, &b->prefix) || unbanned_since(n, &b->prefix, before))
			node_lift(n, b);
}

static void drop_waiting(struct node *n, uint64_t before)
{
	struct outbox_item *item, *next;

	DL_FOREACH_SAFE (n->outbox.items, item, next) {
		if (!item->sealed && unbanned_since(n, &item->prefix, before))
			outbox_remove(&n->outbox, &n->stage, item);
	}
}

/* The kernel is told everything in one batch, as at start: what is wanted before and after is never
 * out of it. */
void adopt_ledger(struct node *n, struct ledger *l)
{
	uint64_t before = node_seq(n);

	ledger_free(n->ledger);
	n->ledger = l;
	submit_installed(n);
	lift_own(n, before);
	drop_waiting(n, before);
	want_enforce_all(n);
	want_fence(n, node_seq(n));
	confirm_begin(n);
	kban_info("this node's replica is the broker's state at entry %llu (it was at entry %llu): "
		  "unconfirmed until another node has the same",
		  (unsigned long long)node_seq(n), (unsigned long long)before);
	replica_notice_revoked(n);
}
