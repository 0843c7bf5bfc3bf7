/* SPDX-License-Identifier: MPL-2.0
 *
 * The replica: the stored log folded at start, and entries of the stream folded as they come.
 */
#include "node/state.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proto/log.h"

/* At start ------------------------------------------------------------------------------------- */

enum { HALTED = 1000 }; /* no store_result */

/* Signatures were checked before the entry was stored, and the store is nobody else's to write. */
static int load_entry(void *arg, const struct kban_entry *entry)
{
	struct node *n = arg;
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	int bad = kban_report_decode(&r, &entry->sealed);

	if (bad == KBAN_REPORT_UNKNOWN_EVENT || (!bad && ledger_stops_at(n->ledger, entry, r)))
		return HALTED;
	if (bad)
		return STORE_DAMAGED;
	ledger_apply(n->ledger, entry, r, NULL, NULL);
	return 0;
}

static int load_fail(struct node *n, int r, char **error)
{
	*error = kban_asprintf(
		"cannot use the replica: %s (%s); if its disk is sound, move the data folder away "
		"and start again: the log comes back from the broker, unsent reports are lost",
		r < 0 ? strerror(-r) : store_result_name(r), store_error(n->store));
	return r;
}

/* A newer program has compacted behind what this one can read. */
static void load_blind(struct node *n, const char *why)
{
	kban_error("%s; until then this one detects and bans on this server only, leaves what is in "
		   "the kernel to its timeouts, and reports nothing",
		   why);
	ledger_new(&n->ledger, &n->config.identity->root);
	n->halted = n->ahead = n->blind = true;
}

/* The ledger at the horizon. */
static int load_state(struct node *n, char **error)
{
	char *why = NULL;
	int r = compact_load(n->store, &n->config.identity->root, &n->ledger, &why);
	kban_auto(kban_free) void *owned = why;

	(void)owned;
	if (r == STORE_NEWER_FORMAT) {
		load_blind(n, why);
		return 0;
	}
	if (r)
		*error = kban_asprintf("%s; or move the data folder away and start again: the log "
				       "comes back from the broker, unsent reports are lost",
				       why);
	return r;
}

/* A newer program has folded more than this one can. */
static void load_halted(struct node *n)
{
	kban_error("the replica goes on behind entry %llu with what needs a newer kban-node: this "
		   "one keeps enforcing and banning, and reports nothing; upgrade it",
		   (unsigned long long)node_seq(n));
	n->halted = n->ahead = true;
}

int replica_load(struct node *n, char **error)
{
	struct store_head head;
	struct kban_place place;
	int r = load_state(n, error);

	if (r)
		return r;
	r = store_head(n->store, &head);
	if (!r && !n->blind)
		r = store_read(n->store, head.horizon, SIZE_MAX, load_entry, n);
	if (r == HALTED)
		load_halted(n);
	else if (r)
		return load_fail(n, r, error);
	ledger_place(n->ledger, &place);
	if (!n->ahead &&
	    (place.seq != head.place.seq || !kban_hash_equal(&place.chain, &head.place.chain)))
		return load_fail(n, STORE_DAMAGED, error);
	r = confirm_load(n);
	return r ? load_fail(n, r, error) : 0;
}

/* Entries of the stream ------------------------------------------------------------------------ */

static int take_time(void *arg, const struct kban_entry *entry)
{
	*(struct kban_entry *)arg = (struct kban_entry){.seq = entry->seq,
							.accepted_ms = entry->accepted_ms};
	return 1;
}

bool node_forgiven(const struct node *n, const struct kban_prefix *p, uint64_t wall_ms)
{
	uint64_t seq = ledger_unbanned_seq(n->ledger, p);
	struct kban_entry found = {0};

	/* One that was accepted long ago may be here no more, and then forgives nothing that is
	 * read again. */
	if (!seq || store_read(n->store, seq - 1, 1, take_time, &found) != 1 || found.seq != seq)
		return false;
	uint64_t broker_ms = wall_ms + (node_broker_ms(n) - kban_wall_ms(n->clock));

	return broker_ms < found.accepted_ms;
}

struct batch {
	size_t n;
	const struct kban_entry *entries; /* the first new one */
	struct kban_report **reports;
};

static void batch_free(struct batch *b)
{
	for (size_t i = 0; b->reports && i < b->n; i++)
		kban_report_free(b->reports[i]);
	free(b->reports);
}

static void batch_free_auto(struct batch *b)
{
	batch_free(b);
}

static int bad_entry(struct node *n, uint64_t seq, const char *what)
{
	n->counts.bad_entries++;
	kban_error("entry %llu of the broker's log %s: nothing of it is applied",
		   (unsigned long long)seq, what);
	return REPLICA_BAD;
}

/* Authenticity is the author's signature here; whether its author may say so is the fold's
 * question. */
static int verify(struct node *n, const struct kban_entry *e, uint64_t seq,
		  struct kban_report **out)
{
	if (n->halted && e->seq > seq)
		return REPLICA_NEWER; /* the broker goes on behind the entry that stopped us */
	if (e->seq != seq)
		return bad_entry(n, e->seq, "does not follow the one before");
	int r = kban_report_decode(out, &e->sealed);

	if (r == KBAN_REPORT_UNKNOWN_EVENT)
		return REPLICA_NEWER;
	if (r)
		return bad_entry(n, e->seq, "cannot be read");
	if (!kban_report_check(*out, &e->sealed))
		return bad_entry(n, e->seq, "has a bad signature");
	return 0;
}

static int batch_verify(struct node *n, struct batch *b, const struct kban_entries *m)
{
	uint64_t seq = node_seq(n);
	size_t old = 0;

	/* A message that arrives twice is no gap. */
	while (old < m->entries_n && m->entries[old].seq <= seq)
		old++;
	b->entries = m->entries + old;
	b->reports = kban_zalloc((m->entries_n - old) * sizeof(struct kban_report *));
	for (b->n = 0; b->n < m->entries_n - old; b->n++) {
		int r = verify(n, &b->entries[b->n], seq + 1 + b->n, &b->reports[b->n]);

		if (r == REPLICA_BAD) {
			kban_report_free(b->reports[b->n]);
			return r;
		}
		if (r)
			return r; /* those before it count */
	}
	return 0;
}

/* An operator's unban ends this node's own bans too, and what waits in the outbox about them. */
static void apply_unban(struct node *n, struct changes *c, const struct kban_event_unban *u)
{
	struct own_ban *b, *next;
	struct outbox_item *item, *after;

	HASH_ITER (hh, n->own.bans, b, next) {
		struct kban_prefix p = b->prefix;

		if (!kban_prefix_covers(&u->prefix, &p) &&
		    !(u->covering && kban_prefix_covers(&p, &u->prefix)))
			continue;
		changes_touch(c, &p);
		node_lift(n, b);
	}
	DL_FOREACH_SAFE (n->outbox.items, item, after) {
		if (!item->sealed && kban_prefix_covers(&u->prefix, &item->prefix))
			outbox_remove(&n->outbox, &n->stage, item);
	}
	n->ports.forget(n->ports.arg, &u->prefix);
}

static void apply_unbans(struct node *n, struct changes *c, const struct kban_report *r,
			 const struct ledger_verdict *v)
{
	const struct ledger_principal *author = ledger_principal(n->ledger, &r->author);

	/* Nodes and feeders withdraw their own bans only. */
	if (!author || (author->role != KBAN_ROLE_OPERATOR && author->role != KBAN_ROLE_ROOT))
		return;
	for (size_t i = 0; i < r->events_n && i < v->outcomes_n; i++)
		if (r->events[i].kind == KBAN_EVENT_UNBAN && v->outcomes[i] == KBAN_OUTCOME_COUNTED)
			apply_unban(n, c, &r->events[i].unban);
}

static void apply_own(struct node *n, const struct kban_entry *e, const struct kban_report *r,
		      const struct ledger_verdict *v)
{
	if (!kban_key_equal(&r->author, &n->self))
		return;
	if (n->outbox.bytes && kban_hash_equal(&r->hash, &n->outbox.hash)) {
		submit_logged(n, v);
		return;
	}
	if (node_link(n) == NODE_LIVE)
		kban_error("entry %llu is a report of this node that this node never made: "
			   "its identity may be in use on another machine (a clone?)",
			   (unsigned long long)e->seq);
}

static void saw_ban(void *arg, const struct kban_prefix *p)
{
	changes_touch(arg, p);
}

static void saw_safe(void *arg, const struct kban_prefix *p)
{
	struct changes *c = arg;

	(void)p;
	c->safes = true;
}

static void saw_brokers(void *arg)
{
	struct changes *c = arg;

	c->brokers = true;
}

/* A range became safe, or an operator unbanned: that ends this node's own bans too, even if the
 * range has ended again by the time we hear of it (adr/0001). */
static void saw_lifted(void *arg, const struct kban_prefix *p)
{
	struct changes *c = arg;
	struct own_ban *b, *next;

	HASH_ITER (hh, c->node->own.bans, b, next) {
		if (!kban_prefix_covers(p, &b->prefix))
			continue;
		changes_touch(c, &b->prefix);
		node_lift_here(c->node, b);
	}
}

static void apply(struct node *n, struct changes *c, const struct kban_entry *e,
		  const struct kban_report *r)
{
	struct ledger_observer o = {.ban = saw_ban,
				    .lifted = saw_lifted,
				    .safe = saw_safe,
				    .brokers = saw_brokers,
				    .arg = c};
	struct ledger_verdict v = {0};
	struct kban_place after;

	changes_before(n, c, r);
	ledger_apply(n->ledger, e, r, &v, &o);
	ledger_place(n->ledger, &after);
	stage_append(&n->stage, e, &after);
	confirm_note(n);
	n->counts.entries++;
	if (v.refusal)
		kban_warning("entry %llu counts for nothing: %s", (unsigned long long)e->seq,
			     kban_refusal_name(v.refusal));
	confirm_epoch(n, r, &v);
	apply_unbans(n, c, r, &v);
	apply_own(n, e, r, &v);
}

void replica_notice_revoked(struct node *n)
{
	const struct ledger_principal *self = node_self(n);

	if (!self || !self->revoked_seq || n->said_revoked)
		return;
	n->said_revoked = true;
	link_trouble(n, NODE_REVOKED,
		     "this node was revoked: it reports nothing more, its bans run until their "
		     "ends; a server "
		     "that shall come back needs a new invitation");
}

/* Enforced first, stored by the commit that follows. A crash in between is harmless: the next start
 * folds what is stored, tells the kernel everything anew, and gets the same entries from the stream
 * once more. */
int replica_entries(struct node *n, const struct kban_entries *m)
{
	kban_auto(batch_free) struct batch b = {0};
	struct changes c = {.node = n};
	int r = n->ahead ? REPLICA_NEWER : batch_verify(n, &b, m);
	size_t done = 0;

	if (r == REPLICA_BAD || n->ahead)
		return r;
	for (; done < b.n && !ledger_stops_at(n->ledger, &b.entries[done], b.reports[done]); done++)
		apply(n, &c, &b.entries[done], b.reports[done]);
	changes_enforce(n, &c);
	changes_free(&c);
	if (done)
		want_fence(n, node_seq(n));
	confirm_settle(n);
	if (m->entries_n)
		n->ack_seq = node_seq(n);
	replica_notice_revoked(n);
	return done < b.n ? REPLICA_NEWER : r;
}
