/* SPDX-License-Identifier: MPL-2.0 */
#include "store/test/model.h"

#include "store/test/model_member.h"

/* Entries ------------------------------------------------------------------------------------ */

static enum kban_refusal refusal(const struct model *m, const struct now *now,
				 const struct kban_report *r)
{
	if (memcmp(&r->cluster, &m->cluster, sizeof(r->cluster)))
		return KBAN_REFUSAL_WRONG_CLUSTER;
	if (now->author == NONE) {
		if (now->invitation == NONE || r->events_n != 1 || r->counter != 1 ||
		    r->events[0].kind != KBAN_EVENT_JOIN)
			return KBAN_REFUSAL_UNKNOWN_AUTHOR;
		return m->invitations.v[now->invitation].revoked_seq ? KBAN_REFUSAL_REVOKED
								     : KBAN_REFUSAL_NONE;
	}

	const struct m_principal *p = &m->principals.v[now->author];

	if (p->revoked_seq)
		return KBAN_REFUSAL_REVOKED;
	if (r->counter == p->counter && !memcmp(&r->hash, &p->hash, sizeof(r->hash)))
		return KBAN_REFUSAL_DUPLICATE;
	if (r->counter == p->counter)
		return KBAN_REFUSAL_COUNTER_CONFLICT;
	if (r->counter < p->counter)
		return KBAN_REFUSAL_COUNTER_STALE;
	if (r->base.epoch > m->epoch || (r->base.epoch == m->epoch && r->base.seq > now->seq - 1))
		return KBAN_REFUSAL_BASE_AHEAD;
	return p->held ? KBAN_REFUSAL_ON_HOLD : KBAN_REFUSAL_NONE;
}

static uint64_t history_start(const struct model *m, uint64_t seq)
{
	EACH (i, m->hours) /* the first row that is not old is seen last */
		if (!hour_is_old(m, &m->hours.v[i]))
			seq = m->hours.v[i].seq;
	return seq;
}

uint64_t model_history_start(const struct model *m)
{
	return history_start(m, m->seq + 1);
}

uint64_t model_strikes(const struct model *m, const struct kban_prefix *p)
{
	size_t i = strike_row(m, p);

	return i == NONE || m->strikes.v[i].end + m->policy.history_ms <= m->t
		       ? 0
		       : m->strikes.v[i].count;
}

static void settle_base(const struct model *m, struct now *now, const struct kban_report *r)
{
	uint64_t start = history_start(m, now->seq);

	now->base = r->base.seq;
	if (r->base.epoch < m->epoch && now->base > m->epoch_seq - 1)
		now->base = m->epoch_seq - 1;
	now->late = now->base < start - 1;
}

static void fold(struct model *m, struct now *now, const struct kban_report *r,
		 struct ledger_verdict *v)
{
	if (!m->hours.n || m->hours.v[m->hours.n - 1].hour != m->t / M_HOUR)
		*PUSH(m->hours) = (struct m_hour){m->t / M_HOUR, now->seq};
	settle_base(m, now, r);
	if (now->author != NONE) {
		m->principals.v[now->author].counter = r->counter;
		m->principals.v[now->author].hash = r->hash;
		m->principals.v[now->author].newest_seq = now->seq;
	}
	for (now->index = 0; now->index < r->events_n; now->index++) {
		const struct kban_event *e = &r->events[now->index];
		char who = now->author == NONE ? 'i' : letters[m->principals.v[now->author].role];
		enum kban_outcome o = KBAN_OUTCOME_DENIED;

		if (strchr(events[e->kind].who, who))
			o = events[e->kind].fn(m, now, e);
		v->outcomes[v->outcomes_n++] = o;
		v->loggable |= o == KBAN_OUTCOME_COUNTED || o == KBAN_OUTCOME_HISTORY ||
			       o == KBAN_OUTCOME_HELD || o == KBAN_OUTCOME_OVER_QUOTA;
	}
}

void model_apply(struct model *m, uint64_t seq, uint64_t accepted_at, const struct kban_report *r,
		 struct ledger_verdict *v)
{
	struct now now = {.seq = seq};

	*v = (struct ledger_verdict){0};
	if (accepted_at > INT64_MAX)
		accepted_at = INT64_MAX;
	if (accepted_at > m->t)
		m->t = accepted_at;
	expire(m);
	now.author = principal(m, &r->author);
	now.invitation = now.author == NONE ? invitation(m, &r->author) : NONE;
	v->refusal = refusal(m, &now, r);
	if (v->refusal == KBAN_REFUSAL_DUPLICATE)
		v->duplicate_seq = m->principals.v[now.author].newest_seq;
	if (!v->refusal)
		fold(m, &now, r, v);
	m->seq = seq;
}
