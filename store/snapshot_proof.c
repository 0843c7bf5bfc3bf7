/* SPDX-License-Identifier: MPL-2.0
 *
 * Evidence: which reports a state rests on, and whether they say so. Each row makes one claim per
 * seq that it names; a claim holds when the report of that seq is by somebody who was a member then
 * and may say such a thing, and has an event that says it. Every member and invitation is a claim
 * too, at a lower seq than what it signed, so all that is proved goes back to the root key.
 */
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"
#include "store/snapshot.h"

enum claim_kind {
	CLAIM_GRANT,
	CLAIM_REVOKE,
	CLAIM_NEWEST,
	CLAIM_INVITE,
	CLAIM_JOIN,
	CLAIM_WITHDRAW, /* of an invitation */
	CLAIM_BROKER,
	CLAIM_POLICY,
	CLAIM_FOLD_VERSION,
	CLAIM_EPOCH,
	CLAIM_BAN,
	CLAIM_SAFE,
	CLAIM_APPROVE,
	CLAIM_REJECT,
	CLAIM_UNBAN,
};

struct claim {
	uint64_t seq;
	const void *row; /* NULL: of the ledger itself */
	enum claim_kind kind;
	uint32_t i; /* of a ban's records */
};

/* The newest report of an author so far: counters rise with seq. */
struct author {
	const struct principal *who;
	uint64_t counter;
	UT_hash_handle hh;
};

struct ledger_proof {
	const struct ledger *l;
	struct author *authors;
	size_t n, capacity, at;
	struct claim *claims; /* by seq */
};

/* What is said ------------------------------------------------------------------------------- */

struct witness {
	const struct ledger *l;
	const struct kban_report *r;
	const struct principal *author; /* NULL: an invitation */
};

typedef bool says_fn(const struct witness *w, const struct claim *c);

/* The event at that index, if it is of that kind. */
static const struct kban_event *event_at(const struct kban_report *r, uint32_t index,
					 enum kban_event_kind kind)
{
	return index < r->events_n && r->events[index].kind == kind ? &r->events[index] : NULL;
}

static bool text_equal(const struct kban_text *t, const char *s)
{
	return strlen(s) == t->n && !memcmp(s, t->s, t->n);
}

static bool says_revoke_of(const struct kban_report *r, const struct kban_key *key)
{
	for (uint32_t i = 0; i < r->events_n; i++) {
		const struct kban_event *e = event_at(r, i, KBAN_EVENT_REVOKE);

		if (e && kban_key_equal(&e->revoke.key, key))
			return true;
	}
	return false;
}

static const struct kban_event_join *join_of(const struct kban_report *r)
{
	const struct kban_event *e = event_at(r, 0, KBAN_EVENT_JOIN);

	return e && r->events_n == 1 && r->counter == 1 ? &e->join : NULL;
}

/* That the invitation is to this name and role, and was used at this seq by this key, was checked
 * when it was read. */
static bool says_join(const struct witness *w, const struct claim *c)
{
	const struct invitation *i = c->row;
	const struct kban_event_join *j = join_of(w->r);

	return j && !w->author && kban_key_equal(&w->r->author, &i->pub.key) &&
	       kban_key_equal(&j->key, &i->pub.used_by) &&
	       kban_join_check(j, &w->l->cluster, &i->pub.key);
}

static bool says_guest(const struct witness *w, const struct claim *c)
{
	const struct ledger_principal *p = &((const struct principal *)c->row)->pub;
	const struct kban_event_join *j = join_of(w->r);
	const struct invitation *i = invitation_find(w->l, &w->r->author, w->l->time_ms);

	return j && i && i->pub.used_seq == c->seq && kban_key_equal(&i->pub.used_by, &p->key) &&
	       kban_key_equal(&j->key, &p->key) && kban_key_equal(&j->curve, &p->curve) &&
	       !p->granted_index;
}

static bool says_grant(const struct witness *w, const struct claim *c)
{
	const struct ledger_principal *p = &((const struct principal *)c->row)->pub;
	const struct kban_event *e = event_at(w->r, p->granted_index, KBAN_EVENT_GRANT);

	if (!w->author)
		return says_guest(w, c);
	return e && kban_key_equal(&e->grant.key, &p->key) &&
	       kban_key_equal(&e->grant.curve, &p->curve) && e->grant.role == p->role &&
	       text_equal(&e->grant.name, p->name);
}

static bool says_revoke(const struct witness *w, const struct claim *c)
{
	return says_revoke_of(w->r, &((const struct principal *)c->row)->pub.key);
}

static bool says_newest(const struct witness *w, const struct claim *c)
{
	const struct principal *p = c->row;

	return w->author == p && w->r->counter == p->pub.counter &&
	       kban_hash_equal(&w->r->hash, &p->pub.newest_hash);
}

static bool says_invite(const struct witness *w, const struct claim *c)
{
	const struct ledger_invitation *i = &((const struct invitation *)c->row)->pub;
	const struct kban_event *e = event_at(w->r, i->index, KBAN_EVENT_INVITE);

	return e && kban_key_equal(&e->invite.key, &i->key) &&
	       kban_key_equal(&e->invite.curve, &i->curve) && e->invite.role == i->role &&
	       text_equal(&e->invite.name, i->name);
}

static bool says_withdraw(const struct witness *w, const struct claim *c)
{
	return says_revoke_of(w->r, &((const struct invitation *)c->row)->pub.key);
}

static bool says_broker(const struct witness *w, const struct claim *c)
{
	const struct ledger_broker *b = c->row;

	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_BROKER_ADDRESS);

		if (e && !e->broker_address.remove &&
		    kban_key_equal(&e->broker_address.curve, &b->curve) &&
		    broker_equal(b, &e->broker_address))
			return true;
	}
	return false;
}

static bool says_policy(const struct witness *w, const struct claim *c)
{
	(void)c;
	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_POLICY);

		if (e && policy_equal(&e->policy, &w->l->policy))
			return true;
	}
	return false;
}

static bool says_fold_version(const struct witness *w, const struct claim *c)
{
	(void)c;
	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_FOLD_VERSION);

		if (e && e->fold_version.version == w->l->fold_version)
			return true;
	}
	return false;
}

static bool says_epoch(const struct witness *w, const struct claim *c)
{
	(void)c;
	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_EPOCH);

		if (e && e->epoch.epoch == w->l->place.epoch)
			return true;
	}
	return false;
}

/* A first strike's ban is not lengthened; what a later one can come to was checked when it was
 * read.
 */
static bool says_ban(const struct witness *w, const struct claim *c)
{
	const struct ban_row *row = c->row;
	const struct ledger_ban *b = &ban_row_records(row)[c->i];
	const struct kban_event *e = event_at(w->r, b->index, KBAN_EVENT_BAN);

	return e && b->author == &w->author->pub &&
	       kban_prefix_equal(&e->ban.prefix, &row->prefix) && e->ban.duration_ms &&
	       (b->strikes > 1 || b->until_ms - b->since_ms <= e->ban.duration_ms);
}

static bool says_safe(const struct witness *w, const struct claim *c)
{
	const struct ledger_safe *s = &((const struct safe *)c->row)->pub;
	const struct kban_event *e = event_at(w->r, s->index, KBAN_EVENT_SAFE_ADD);

	return e && s->owner == &w->author->pub &&
	       kban_prefix_equal(&e->safe_add.prefix, &s->prefix) &&
	       (s->owner->role == KBAN_ROLE_NODE || !safe_too_wide(&e->safe_add));
}

static bool says_approve(const struct witness *w, const struct claim *c)
{
	const struct ledger_safe *s = &((const struct safe *)c->row)->pub;

	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_SAFE_APPROVE);

		if (e && kban_prefix_equal(&e->safe_approve.prefix, &s->prefix) &&
		    kban_key_equal(&e->safe_approve.owner, &s->owner->key))
			return true;
	}
	return false;
}

static bool says_reject(const struct witness *w, const struct claim *c)
{
	const struct ledger_safe *s = &((const struct safe *)c->row)->pub;

	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_SAFE_REMOVE);

		if (e && e->safe_remove.all && w->author->pub.role == KBAN_ROLE_OPERATOR &&
		    kban_prefix_equal(&e->safe_remove.prefix, &s->prefix))
			return true;
	}
	return false;
}

/* Of exactly this prefix, or one inside it that ended what covered it. A node's or feeder's leaves
 * no row. */
static bool says_unban(const struct witness *w, const struct claim *c)
{
	const struct kban_prefix *p = &((const struct pardon *)c->row)->prefix;

	for (uint32_t i = 0; i < w->r->events_n; i++) {
		const struct kban_event *e = event_at(w->r, i, KBAN_EVENT_UNBAN);

		if (!e || w->author->pub.role != KBAN_ROLE_OPERATOR)
			continue;
		if (e->unban.covering ? kban_prefix_covers(p, &e->unban.prefix)
				      : kban_prefix_equal(p, &e->unban.prefix))
			return true;
	}
	return false;
}

/* event 0: any report of its author will do. */
static const struct {
	const char *row;
	enum kban_event_kind event;
	says_fn *says;
	const char *why;
} claims[] = {
	[CLAIM_GRANT] = {"principal", KBAN_EVENT_GRANT, says_grant, "does not make this principal"},
	[CLAIM_REVOKE] = {"principal", KBAN_EVENT_REVOKE, says_revoke,
			  "does not revoke this principal"},
	[CLAIM_NEWEST] = {"counter", 0, says_newest, "is not its author's newest"},
	[CLAIM_INVITE] = {"invitation", KBAN_EVENT_INVITE, says_invite,
			  "does not make this invitation"},
	[CLAIM_JOIN] = {"invitation", KBAN_EVENT_JOIN, says_join, "does not use this invitation"},
	[CLAIM_WITHDRAW] = {"invitation", KBAN_EVENT_REVOKE, says_withdraw,
			    "does not withdraw this invitation"},
	[CLAIM_BROKER] = {"broker", KBAN_EVENT_BROKER_ADDRESS, says_broker,
			  "does not name this broker"},
	[CLAIM_POLICY] = {"policy", KBAN_EVENT_POLICY, says_policy, "does not set this policy"},
	[CLAIM_FOLD_VERSION] = {"versions", KBAN_EVENT_FOLD_VERSION, says_fold_version,
				"does not switch to this fold version"},
	[CLAIM_EPOCH] = {"versions", KBAN_EVENT_EPOCH, says_epoch, "does not begin this epoch"},
	[CLAIM_BAN] = {"ban", KBAN_EVENT_BAN, says_ban, "does not ban this prefix, or not so long"},
	[CLAIM_SAFE] = {"safe range", KBAN_EVENT_SAFE_ADD, says_safe, "does not add this range"},
	[CLAIM_APPROVE] = {"safe range", KBAN_EVENT_SAFE_APPROVE, says_approve,
			   "does not approve this range"},
	[CLAIM_REJECT] = {"safe range", KBAN_EVENT_SAFE_REMOVE, says_reject,
			  "does not reject this range"},
	[CLAIM_UNBAN] = {"unban", KBAN_EVENT_UNBAN, says_unban, "does not unban this prefix"},
};

/* Who said it -------------------------------------------------------------------------------- */

static bool may_say(const struct claim *c, const struct principal *author)
{
	if (c->kind == CLAIM_NEWEST)
		return true;
	if (!author) /* of a join, which makes a principal and uses an invitation */
		return c->kind == CLAIM_GRANT || c->kind == CLAIM_JOIN;
	return event_roles(claims[c->kind].event) & ROLE(author->pub.role);
}

/* What is wrong with the report, whatever it says; NULL: nothing. */
static const char *doubt(const struct ledger *l, const struct kban_report *r, uint64_t seq,
			 const struct principal *author)
{
	if (memcmp(&r->cluster, &l->cluster, sizeof(l->cluster)))
		return "is of another cluster";
	if (!author)
		return join_of(r) ? NULL : "is by nobody who was a member then";
	if (!principal_was_live(author, seq))
		return "is by nobody who was a member then";
	if (seq > author->pub.newest_seq || r->counter > author->pub.counter)
		return "is newer than its author's newest";
	return NULL;
}

static const char *claim_check(const struct ledger *l, const struct claim *c,
			       const struct kban_report *r)
{
	struct witness w = {.l = l, .r = r};
	const char *why;

	if (!r)
		return "is missing";
	w.author = principal_find(l, &r->author);
	why = doubt(l, r, c->seq, w.author);
	if (why)
		return why;
	if (!may_say(c, w.author))
		return "is by somebody who may not say such a thing";
	return claims[c->kind].says(&w, c) ? NULL : claims[c->kind].why;
}

/* Which claims there are --------------------------------------------------------------------- */

static void claim_add(struct ledger_proof *p, enum claim_kind kind, uint64_t seq, const void *row,
		      uint32_t i)
{
	if (!seq)
		return;
	if (p->n == p->capacity) {
		p->capacity = p->capacity ? 2 * p->capacity : 64;
		p->claims = kban_realloc(p->claims, p->capacity * sizeof(*p->claims));
	}
	p->claims[p->n++] = (struct claim){seq, row, kind, i};
}

static void claim_members(struct ledger_proof *p)
{
	const struct ledger *l = p->l;

	for (const struct principal *m = l->principals; m; m = m->by_key.next) {
		claim_add(p, CLAIM_GRANT, m->pub.granted_seq, m, 0);
		claim_add(p, CLAIM_REVOKE, m->pub.revoked_seq, m, 0);
		claim_add(p, CLAIM_NEWEST, m->pub.newest_seq, m, 0);
	}
	for (const struct invitation *i = l->invitations; i; i = i->by_key.next) {
		claim_add(p, CLAIM_INVITE, i->pub.seq, i, 0);
		claim_add(p, CLAIM_JOIN, i->pub.used_seq, i, 0);
		claim_add(p, CLAIM_WITHDRAW, i->pub.revoked_seq, i, 0);
	}
	for (size_t b = 0; b < l->brokers_n; b++)
		claim_add(p, CLAIM_BROKER, l->brokers[b].seq, &l->brokers[b], 0);
	claim_add(p, CLAIM_POLICY, l->policy_seq, NULL, 0);
	claim_add(p, CLAIM_FOLD_VERSION, l->fold_version_seq, NULL, 0);
	claim_add(p, CLAIM_EPOCH, l->epoch_seq, NULL, 0);
}

static void claim_prefixes(struct ledger_proof *p)
{
	struct trie_walk w;
	const struct ban_row *row;
	const struct pardon *m;
	const struct safe *s;

	trie_walk_start(&w, &p->l->bans, NULL, NULL);
	while ((row = trie_walk_next(&w)))
		for (uint32_t i = 0; i < row->records_n; i++)
			claim_add(p, CLAIM_BAN, ban_row_records(row)[i].seq, row, i);
	trie_walk_start(&w, &p->l->pardons, NULL, NULL);
	while ((m = trie_walk_next(&w))) {
		claim_add(p, CLAIM_UNBAN, m->unban_seq, m, 0);
		DL_FOREACH (m->safes, s) {
			bool approved = s->pub.state == LEDGER_SAFE_APPROVED;

			claim_add(p, CLAIM_SAFE, s->pub.seq, s, 0);
			claim_add(p, approved ? CLAIM_APPROVE : CLAIM_REJECT, s->pub.decided_seq, s,
				  0);
		}
	}
}

static int claim_order(const void *a, const void *b)
{
	uint64_t x = ((const struct claim *)a)->seq, y = ((const struct claim *)b)->seq;

	return x < y ? -1 : x > y;
}

void ledger_proof_new(struct ledger_proof **out, const struct ledger *l)
{
	struct ledger_proof *p = kban_zalloc(sizeof(*p));

	p->l = l;
	claim_members(p);
	claim_prefixes(p);
	if (p->n)
		qsort(p->claims, p->n, sizeof(*p->claims), claim_order);
	*out = p;
}

void ledger_proof_free(struct ledger_proof *p)
{
	struct author *a, *next;

	if (!p)
		return;
	HASH_ITER (hh, p->authors, a, next) {
		HASH_DEL(p->authors, a);
		free(a);
	}
	free(p->claims);
	free(p);
}

uint64_t ledger_proof_wants(const struct ledger_proof *p)
{
	return p->at < p->n ? p->claims[p->at].seq : 0;
}

/* Seqs are the giver's word. One report at two of them, or an author's in another order, is none
 * that a fold took. (An invitation has one report.) */
static const char *counter_check(struct ledger_proof *p, const struct kban_report *r)
{
	const struct principal *who = r ? principal_find(p->l, &r->author) : NULL;
	struct author *a;

	if (!who)
		return NULL;
	HASH_FIND_PTR(p->authors, &who, a);
	if (!a) {
		a = kban_zalloc(sizeof(*a));
		a->who = who;
		HASH_ADD_PTR(p->authors, who, a);
	}
	if (r->counter <= a->counter)
		return "is not newer than an earlier one of its author";
	a->counter = r->counter;
	return NULL;
}

int ledger_proof_take(struct ledger_proof *p, const struct kban_report *r,
		      struct ledger_fault *fault)
{
	uint64_t seq = ledger_proof_wants(p);
	const char *disorder = seq ? counter_check(p, r) : NULL;

	for (; seq && ledger_proof_wants(p) == seq; p->at++) {
		const struct claim *c = &p->claims[p->at];
		const char *why = claim_check(p->l, c, r);

		if (!why)
			why = disorder;

		if (why) {
			*fault = (struct ledger_fault){seq, claims[c->kind].row, why};
			return SNAPSHOT_UNPROVEN;
		}
	}
	return 0;
}

int ledger_evidence_check(const struct ledger *l,
			  const struct kban_report *(*lookup)(void *arg, uint64_t seq), void *arg,
			  struct ledger_fault *fault)
{
	kban_auto(ledger_proof_free) struct ledger_proof *p = NULL;
	uint64_t seq;
	int r = 0;

	ledger_proof_new(&p, l);
	while (!r && (seq = ledger_proof_wants(p)))
		r = ledger_proof_take(p, lookup(arg, seq), fault);
	return r;
}

/* The seqs alone ----------------------------------------------------------------------------- */

int ledger_item_evidence(struct kban_span item, void (*fn)(void *arg, uint64_t seq), void *arg)
{
	struct item_row row;

	if (!item_read(&row, item))
		return SNAPSHOT_DAMAGED;
	item_seqs(&row, fn, arg);
	return 0;
}

void ledger_evidence_seqs(const struct ledger *l, uint64_t **out, size_t *n)
{
	kban_auto(ledger_proof_free) struct ledger_proof *p = NULL;

	ledger_proof_new(&p, l);
	*out = p->n ? kban_zalloc(p->n * sizeof(**out)) : NULL;
	*n = 0;
	for (size_t i = 0; i < p->n; i++)
		if (!i || p->claims[i].seq != p->claims[i - 1].seq)
			(*out)[(*n)++] = p->claims[i].seq;
}
