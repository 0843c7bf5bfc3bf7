/* SPDX-License-Identifier: MPL-2.0 */
#include <assert.h>
#include <string.h>

#include "store/ledger_private.h"

#define OPERATOR ROLE(KBAN_ROLE_OPERATOR)
#define NODE	 ROLE(KBAN_ROLE_NODE)
#define FEEDER	 ROLE(KBAN_ROLE_FEEDER)
#define ROOT	 ROLE(KBAN_ROLE_ROOT)

/* Who may say what (by kind), since which fold version, what would become of it, and what it does
 * if it counts. A version's number never changes once it is released. */
static const struct {
	unsigned roles;
	uint32_t since;
	judge_fn *judge;
	effect_fn *effect;
} kinds[KBAN_EVENT_KINDS] = {
	[KBAN_EVENT_BAN] = {OPERATOR | NODE | FEEDER, 1, judge_ban, effect_ban},
	[KBAN_EVENT_UNBAN] = {OPERATOR | NODE | FEEDER, 1, judge_unban, effect_unban},
	[KBAN_EVENT_SAFE_ADD] = {OPERATOR | NODE, 1, judge_safe_add, effect_safe_add},
	[KBAN_EVENT_SAFE_REMOVE] = {OPERATOR | NODE, 1, judge_safe_remove, effect_safe_remove},
	[KBAN_EVENT_SAFE_APPROVE] = {OPERATOR, 1, judge_safe_approve, effect_safe_approve},
	[KBAN_EVENT_GRANT] = {ROOT, 1, judge_grant, effect_grant},
	[KBAN_EVENT_REVOKE] = {ROOT | OPERATOR, 1, judge_revoke, effect_revoke},
	[KBAN_EVENT_PURGE] = {OPERATOR, 1, judge_purge, effect_purge},
	[KBAN_EVENT_INVITE] = {OPERATOR, 1, judge_invite, effect_invite},
	[KBAN_EVENT_JOIN] = {ROLE_INVITATION, 1, judge_join, effect_join},
	[KBAN_EVENT_POLICY] = {OPERATOR, 1, judge_policy, effect_policy},
	[KBAN_EVENT_BROKER_ADDRESS] = {ROOT | OPERATOR, 1, judge_broker_address,
				       effect_broker_address},
	[KBAN_EVENT_RELEASE] = {OPERATOR, 1, judge_release, effect_release},
	[KBAN_EVENT_FOLD_VERSION] = {ROOT | OPERATOR, 1, judge_fold_version, effect_fold_version},
	[KBAN_EVENT_EPOCH] = {ROOT | OPERATOR, 1, judge_epoch, effect_epoch},
};

unsigned event_roles(enum kban_event_kind kind)
{
	return kinds[kind].roles;
}

/* Observers ---------------------------------------------------------------------------------- */

void observe_ban(const struct fold *f, const struct kban_prefix *p)
{
	if (f->observer->ban)
		f->observer->ban(f->observer->arg, p);
}

void observe_lifted(const struct fold *f, const struct kban_prefix *p)
{
	if (f->observer->lifted)
		f->observer->lifted(f->observer->arg, p);
}

void observe_safe(const struct fold *f, const struct kban_prefix *p)
{
	if (f->observer->safe)
		f->observer->safe(f->observer->arg, p);
}

void observe_principal(const struct fold *f, const struct kban_key *key)
{
	if (f->observer->principal)
		f->observer->principal(f->observer->arg, key);
}

void observe_brokers(const struct fold *f)
{
	if (f->observer->brokers)
		f->observer->brokers(f->observer->arg);
}

/* The report as a whole ---------------------------------------------------------------------- */

static uint64_t time_after(const struct ledger *l, uint64_t accepted_ms)
{
	uint64_t t = accepted_ms < LEDGER_TIME_MAX ? accepted_ms : LEDGER_TIME_MAX;

	return t > l->time_ms ? t : l->time_ms;
}

static bool is_join(const struct kban_report *r)
{
	return r->counter == 1 && r->events_n == 1 && r->events[0].kind == KBAN_EVENT_JOIN;
}

static enum kban_refusal refuse_counter(const struct ledger_principal *p,
					const struct kban_report *r)
{
	if (r->counter == p->counter)
		return kban_hash_equal(&r->hash, &p->newest_hash) ? KBAN_REFUSAL_DUPLICATE
								  : KBAN_REFUSAL_COUNTER_CONFLICT;
	return r->counter < p->counter ? KBAN_REFUSAL_COUNTER_STALE : KBAN_REFUSAL_NONE;
}

static enum kban_refusal refuse_principal(const struct ledger *l, const struct fold *f)
{
	const struct ledger_principal *p = &f->author->pub;
	const struct kban_base *base = &f->report->base;

	if (p->revoked_seq)
		return KBAN_REFUSAL_REVOKED;

	enum kban_refusal refusal = refuse_counter(p, f->report);

	if (refusal)
		return refusal;
	if (base->epoch > l->place.epoch ||
	    (base->epoch == l->place.epoch && base->seq > f->seq - 1))
		return KBAN_REFUSAL_BASE_AHEAD;
	if (p->held && role_is_limited(p->role))
		return KBAN_REFUSAL_ON_HOLD;
	return KBAN_REFUSAL_NONE;
}

static enum kban_refusal refuse(const struct ledger *l, const struct fold *f)
{
	if (memcmp(&f->report->cluster, &l->cluster, sizeof(l->cluster)))
		return KBAN_REFUSAL_WRONG_CLUSTER;
	if (f->author)
		return refuse_principal(l, f);
	if (!f->invitation || !is_join(f->report))
		return KBAN_REFUSAL_UNKNOWN_AUTHOR;
	return f->invitation->pub.revoked_seq ? KBAN_REFUSAL_REVOKED : KBAN_REFUSAL_NONE;
}

/* A base of an older epoch counts up to where that epoch ended. */
static uint64_t base_seq(const struct ledger *l, const struct kban_base *base)
{
	if (base->epoch < l->place.epoch && l->epoch_seq && base->seq > l->epoch_seq - 1)
		return l->epoch_seq - 1;
	return base->seq;
}

static enum kban_refusal fold_start(struct fold *f, const struct ledger *l, uint64_t accepted_ms,
				    uint64_t seq, const struct kban_report *r)
{
	static const struct ledger_observer nobody;

	assert(r->events_n <= KBAN_EVENTS_MAX);
	*f = (struct fold){.now = time_after(l, accepted_ms), .seq = seq, .report = r};
	f->observer = &nobody;
	f->author = principal_find(l, &r->author);
	if (!f->author)
		f->invitation = invitation_find(l, &r->author, f->now);
	f->base = base_seq(l, &r->base);
	f->late = f->base + 1 < hours_start(l, f->now, seq);
	return refuse(l, f);
}

static void refused(struct ledger_verdict *v, const struct fold *f, enum kban_refusal refusal)
{
	v->refusal = refusal;
	if (refusal == KBAN_REFUSAL_DUPLICATE)
		v->duplicate_seq = f->author->pub.newest_seq;
}

uint32_t ledger_kind_since(enum kban_event_kind kind)
{
	return kinds[kind].since;
}

bool ledger_stops_at(const struct ledger *l, const struct kban_entry *entry,
		     const struct kban_report *r)
{
	uint32_t version = l->fold_version;
	struct fold f;

	if (fold_start(&f, l, entry->accepted_ms, entry->seq, r) || !f.author ||
	    !(event_roles(KBAN_EVENT_FOLD_VERSION) & ROLE(f.author->pub.role)))
		return false;
	for (size_t i = 0; i < r->events_n; i++)
		if (r->events[i].kind == KBAN_EVENT_FOLD_VERSION &&
		    r->events[i].fold_version.version == version + 1)
			version++;
	return version > kban_fold_newest;
}

/* Events ------------------------------------------------------------------------------------- */

static enum kban_outcome event_judge(const struct ledger *l, const struct fold *f,
				     const struct kban_event *e)
{
	unsigned role = f->author ? ROLE(f->author->pub.role) : ROLE_INVITATION;

	if (!(event_roles(e->kind) & role))
		return KBAN_OUTCOME_DENIED;
	if (kinds[e->kind].since > l->fold_version)
		return KBAN_OUTCOME_OUT_OF_RANGE;
	return kinds[e->kind].judge(l, f, e);
}

static bool has_effect(enum kban_outcome o)
{
	return o == KBAN_OUTCOME_OVER_QUOTA || kban_outcome_counts(o);
}

static void verdict_add(struct ledger_verdict *v, enum kban_outcome o)
{
	v->outcomes[v->outcomes_n++] = o;
	v->loggable |= has_effect(o);
}

void ledger_judge(const struct ledger *l, uint64_t accepted_ms, const struct kban_report *r,
		  struct ledger_verdict *v)
{
	struct fold f;
	enum kban_refusal refusal = fold_start(&f, l, accepted_ms, l->place.seq + 1, r);

	*v = (struct ledger_verdict){0};
	if (refusal) {
		refused(v, &f, refusal);
		return;
	}
	for (f.index = 0; f.index < r->events_n; f.index++)
		verdict_add(v, event_judge(l, &f, &r->events[f.index]));
}

static void fold_events(struct ledger *l, struct fold *f, struct ledger_verdict *v)
{
	for (f->index = 0; f->index < f->report->events_n; f->index++) {
		const struct kban_event *e = &f->report->events[f->index];
		enum kban_outcome o = event_judge(l, f, e);

		if (has_effect(o))
			kinds[e->kind].effect(l, f, e, o);
		verdict_add(v, o);
	}
}

static void author_take(struct ledger *l, const struct fold *f)
{
	if (!f->author)
		return;
	principal_open(l, f->author);
	l->author = f->author;
	f->author->pub.counter = f->report->counter;
	f->author->pub.newest_hash = f->report->hash;
	f->author->pub.newest_seq = f->seq;
}

static void author_return(struct ledger *l, const struct fold *f)
{
	l->author = NULL;
	if (f->author)
		principal_close(l, f->author);
}

static void place_advance(struct ledger *l, const struct kban_entry *entry,
			  const struct kban_report *r)
{
	ledger_chain_next(&l->place.chain, &l->place.chain, entry->seq, entry->accepted_ms,
			  &r->hash);
	l->place.seq = entry->seq;
	if (entry->seq % LEDGER_MARK_EVERY)
		return;
	l->mark_seq = entry->seq;
	l->mark_chain = l->place.chain;
	ledger_digest(l, &l->mark_digest);
}

static void time_set(struct ledger *l, uint64_t now)
{
	if (l->time_ms == now)
		return;
	digest_time(l, DIGEST_REMOVE);
	l->time_ms = now;
	digest_time(l, DIGEST_ADD);
}

void ledger_apply(struct ledger *l, const struct kban_entry *entry, const struct kban_report *r,
		  struct ledger_verdict *v, const struct ledger_observer *o)
{
	struct ledger_verdict own;
	struct fold f;
	enum kban_refusal refusal = fold_start(&f, l, entry->accepted_ms, entry->seq, r);

	assert(entry->seq > l->place.seq);
	v = v ? v : &own;
	*v = (struct ledger_verdict){0};
	if (o)
		f.observer = o;
	time_set(l, f.now);
	expiry_run(l);
	if (refusal) {
		refused(v, &f, refusal);
	} else {
		hour_add(l, f.now / LEDGER_HOUR_MS, f.seq);
		author_take(l, &f);
		fold_events(l, &f, v);
		author_return(l, &f);
		expiry_retime(l);
	}
	place_advance(l, entry, r);
}
