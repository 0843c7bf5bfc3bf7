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

/* At or below the old ledger's place nothing can be new in the next one. Members are compared here,
 * and entries, as far as they rest on any, by store/install.h. */
struct succession {
	const struct ledger *own, *next;
	uint64_t head; /* own's */
	bool proven_only;
	const char *why;
};

static const char *principal_contradiction(const struct ledger_principal *was,
					   const struct ledger_principal *is)
{
	if (!is)
		return "it lacks a principal that this node's own log has";
	if (is->role != was->role || !kban_key_equal(&is->curve, &was->curve))
		return "a principal in it is not as in this node's own log";
	if (was->revoked_seq && !is->revoked_seq)
		return "a principal is live in it that was revoked";
	if (is->counter < was->counter)
		return "a principal's newest report in it is older than one in this node's own log";
	return NULL;
}

/* A seq is the broker's word, unless this node folded the entry itself. */
static const char *place_contradiction(const struct ledger_principal *was,
				       const struct ledger_principal *is, uint64_t head)
{
	bool silent = was->revoked_seq || is->newest_seq <= head;

	if (is->granted_seq != was->granted_seq)
		return "a principal in it is not as in this node's own log";
	if (is->revoked_seq != was->revoked_seq && (was->revoked_seq || is->revoked_seq <= head))
		return "a principal was revoked in it where this node's own log has no revocation, "
		       "or another";
	if (silent && (is->newest_seq != was->newest_seq || is->counter != was->counter ||
		       !kban_hash_equal(&is->newest_hash, &was->newest_hash)))
		return "a principal has signed more in it than in this node's own log, where that "
		       "has all that it signed";
	return NULL;
}

static int check_principal(void *arg, const struct ledger_principal *was)
{
	struct succession *s = arg;
	const struct ledger_principal *is = ledger_principal(s->next, &was->key);

	s->why = principal_contradiction(was, is);
	if (!s->why && !s->proven_only)
		s->why = place_contradiction(was, is, s->head);
	return s->why != NULL;
}

static int check_newcomer(void *arg, const struct ledger_principal *is)
{
	struct succession *s = arg;

	if (is->granted_seq <= s->head && !ledger_principal(s->own, &is->key))
		s->why = "it has a principal that this node's own log lacks";
	return s->why != NULL;
}

/* An unconfirmed ledger is a measure of what signatures prove, not of what its broker said. */
const char *adopt_contradiction(const struct node *n, const struct ledger *l)
{
	struct succession s = {.own = n->ledger,
			       .next = l,
			       .head = node_seq(n),
			       .proven_only = n->confirm.wanted};

	if (ledger_fold_version(l) < ledger_fold_version(n->ledger) ||
	    (!s.proven_only && ledger_time_ms(l) < ledger_time_ms(n->ledger)))
		return "it is older than this node's own log";
	if (!ledger_principals_each(s.own, check_principal, &s) && !s.proven_only)
		(void)ledger_principals_each(s.next, check_newcomer, &s);
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
	confirm_begin(n);
	submit_installed(n);
	lift_own(n, before);
	drop_waiting(n, before);
	want_enforce_all(n);
	want_fence(n, node_seq(n));
	kban_info("this node's replica is the broker's state at entry %llu (it was at entry %llu): "
		  "unconfirmed until another node has the same",
		  (unsigned long long)node_seq(n), (unsigned long long)before);
	replica_notice_revoked(n);
}
