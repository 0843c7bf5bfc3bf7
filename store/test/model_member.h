/* SPDX-License-Identifier: MPL-2.0
 *
 * What the other events do; part of model.c.
 */
#ifndef KBAN_STORE_TEST_MODEL_MEMBER_H
#define KBAN_STORE_TEST_MODEL_MEMBER_H

#include "store/test/model_ban.h"

static bool known(const struct model *m, const struct kban_key *k, const struct kban_key *curve)
{
	bool found = same_key(k, curve);

	EACH (i, m->principals)
		found |= same_key(&m->principals.v[i].key, k) ||
			 same_key(&m->principals.v[i].curve, curve);
	EACH (i, m->invitations)
		found |= same_key(&m->invitations.v[i].key, k) ||
			 same_key(&m->invitations.v[i].curve, curve);
	return found;
}

static bool has_name(const char *name, const char *s, size_t n)
{
	return strlen(name) == n && !memcmp(name, s, n);
}

static bool live_name(const struct model *m, const char *s, size_t n)
{
	EACH (i, m->principals)
		if (!m->principals.v[i].revoked_seq && has_name(m->principals.v[i].name, s, n))
			return true;
	return false;
}

static bool is_live(const struct model *m, const struct m_invitation *v)
{
	return !v->used_seq && !v->revoked_seq && m->t < v->expires;
}

static bool invited_name(const struct model *m, const char *s, size_t n)
{
	EACH (i, m->invitations)
		if (is_live(m, &m->invitations.v[i]) && has_name(m->invitations.v[i].name, s, n))
			return true;
	return false;
}

static void enrol(struct model *m, const struct now *now, const struct kban_key *k,
		  const struct kban_key *curve, enum kban_role role, const char *name, size_t n)
{
	struct m_principal *p = PUSH(m->principals);

	p->key = *k;
	p->curve = *curve;
	p->role = role;
	p->granted_seq = now->seq;
	p->granted_index = now->index;
	p->granted_at = m->t;
	memcpy(p->name, name, n);
}

static enum kban_outcome m_grant(struct model *m, const struct now *now, const struct kban_event *e)
{
	const struct kban_event_grant *g = &e->grant;

	if (g->role == KBAN_ROLE_ROOT)
		return KBAN_OUTCOME_DENIED;
	if (known(m, &g->key, &g->curve))
		return KBAN_OUTCOME_KEY_USED;
	if (live_name(m, g->name.s, g->name.n))
		return KBAN_OUTCOME_NAME_TAKEN;
	if (m->principals.n >= m->limits.principals)
		return KBAN_OUTCOME_FULL;
	enrol(m, now, &g->key, &g->curve, g->role, g->name.s, g->name.n);
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_invite(struct model *m, const struct now *now,
				  const struct kban_event *e)
{
	const struct kban_event_invite *i = &e->invite;

	if (i->role == KBAN_ROLE_ROOT)
		return KBAN_OUTCOME_DENIED;
	if (known(m, &i->key, &i->curve))
		return KBAN_OUTCOME_KEY_USED;
	if (live_name(m, i->name.s, i->name.n) || invited_name(m, i->name.s, i->name.n))
		return KBAN_OUTCOME_NAME_TAKEN;
	if (m->invitations.n >= m->limits.invitations)
		return KBAN_OUTCOME_FULL;

	struct m_invitation *v = PUSH(m->invitations);

	v->key = i->key;
	v->curve = i->curve;
	v->role = i->role;
	v->seq = now->seq;
	v->index = now->index;
	v->expires = m->t + i->duration_ms;
	memcpy(v->name, i->name.s, i->name.n);
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_join(struct model *m, const struct now *now, const struct kban_event *e)
{
	const struct kban_event_join *j = &e->join;
	struct m_invitation *v = &m->invitations.v[now->invitation];

	if (v->used_seq)
		return KBAN_OUTCOME_USED;
	if (m->t >= v->expires)
		return KBAN_OUTCOME_EXPIRED;
	if (known(m, &j->key, &j->curve))
		return KBAN_OUTCOME_KEY_USED;
	if (live_name(m, v->name, strlen(v->name)))
		return KBAN_OUTCOME_NAME_TAKEN;
	if (m->principals.n >= m->limits.principals)
		return KBAN_OUTCOME_FULL;
	if (!kban_join_check(j, &m->cluster, &v->key))
		return KBAN_OUTCOME_BAD_PROOF;
	v->used_seq = now->seq;
	v->used_at = m->t;
	v->used_by = j->key;
	enrol(m, now, &j->key, &j->curve, v->role, v->name, strlen(v->name));
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_revoke(struct model *m, const struct now *now,
				  const struct kban_event *e)
{
	size_t p = principal(m, &e->revoke.key), v = invitation(m, &e->revoke.key);

	if (p == 0)
		return KBAN_OUTCOME_DENIED;
	if (p != NONE) {
		if (m->principals.v[p].revoked_seq)
			return KBAN_OUTCOME_NO_CHANGE;
		m->principals.v[p].revoked_seq = now->seq;
		EACH (i, m->safes)
			if (m->safes.v[i].owner == p && !e->revoke.keep_safe)
				REMOVE(m->safes, i);
		return KBAN_OUTCOME_COUNTED;
	}
	if (v == NONE)
		return KBAN_OUTCOME_NOT_FOUND;
	if (m->invitations.v[v].revoked_seq || m->invitations.v[v].used_seq)
		return KBAN_OUTCOME_NO_CHANGE;
	if (!is_live(m, &m->invitations.v[v]))
		return KBAN_OUTCOME_NOT_FOUND;
	m->invitations.v[v].revoked_seq = now->seq;
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_purge(struct model *m, const struct now *now, const struct kban_event *e)
{
	size_t p = principal(m, &e->purge.key);

	(void)now;
	if (p == NONE)
		return KBAN_OUTCOME_NOT_FOUND;
	end_bans(m, NULL, p);
	return KBAN_OUTCOME_COUNTED;
}

static bool between(uint64_t v, uint64_t low, uint64_t high)
{
	return low <= v && v <= high;
}

static enum kban_outcome m_policy(struct model *m, const struct now *now,
				  const struct kban_event *e)
{
	const struct kban_event_policy *p = &e->policy, *q = &m->policy;

	if (!between(p->quota_per_hour, 1, 1000000) || !between(p->safe_max, 0, 4096) ||
	    !between(p->safe_min_len4, 8, 32) || !between(p->safe_min_len6, 16, 128) ||
	    !between(p->repeat_percent, 100, 1000) ||
	    !between(p->repeat_max_ms, 1, 31622400000ULL) ||
	    !between(p->history_ms, 86400000ULL, 316224000000ULL) ||
	    !between(p->ban_min_len4, 8, 32) || !between(p->ban_min_len6, 16, 128) ||
	    !between(p->node_ban_max_ms, 60000, 31622400000ULL))
		return KBAN_OUTCOME_OUT_OF_RANGE;
	if (p->quota_per_hour == q->quota_per_hour && p->safe_max == q->safe_max &&
	    p->safe_min_len4 == q->safe_min_len4 && p->safe_min_len6 == q->safe_min_len6 &&
	    p->repeat_percent == q->repeat_percent && p->repeat_max_ms == q->repeat_max_ms &&
	    p->history_ms == q->history_ms && p->ban_min_len4 == q->ban_min_len4 &&
	    p->ban_min_len6 == q->ban_min_len6 && p->node_ban_max_ms == q->node_ban_max_ms)
		return KBAN_OUTCOME_NO_CHANGE;
	EACH (i, m->hours)
		if (p->history_ms > q->history_ms && hour_is_old(m, &m->hours.v[i]))
			REMOVE(m->hours, i);
	m->policy = *p;
	m->policy_seq = now->seq;
	m->policy_at = m->t;
	return KBAN_OUTCOME_COUNTED;
}

static bool same_broker(const struct m_broker *b, const struct kban_event_broker_address *a)
{
	return b->n == a->addresses_n && has_name(b->endpoint, a->endpoint.s, a->endpoint.n) &&
	       !memcmp(b->addresses, a->addresses, b->n * sizeof(*b->addresses));
}

static enum kban_outcome m_broker_address(struct model *m, const struct now *now,
					  const struct kban_event *e)
{
	const struct kban_event_broker_address *a = &e->broker_address;
	size_t row = NONE;

	EACH (i, m->brokers)
		if (same_key(&m->brokers.v[i].curve, &a->curve))
			row = i;
	if (a->remove) {
		if (row == NONE)
			return KBAN_OUTCOME_NOT_FOUND;
		REMOVE(m->brokers, row);
		return KBAN_OUTCOME_COUNTED;
	}
	if (row != NONE && same_broker(&m->brokers.v[row], a))
		return KBAN_OUTCOME_NO_CHANGE;
	if (row == NONE && m->brokers.n >= m->limits.brokers)
		return KBAN_OUTCOME_FULL;

	struct m_broker *b = row == NONE ? PUSH(m->brokers) : &m->brokers.v[row];

	memset(b, 0, sizeof(*b));
	b->curve = a->curve;
	b->seq = now->seq;
	memcpy(b->endpoint, a->endpoint.s, a->endpoint.n);
	b->n = a->addresses_n;
	for (size_t n = 0; n < b->n; n++) {
		b->addresses[n] = a->addresses[n];
		EACH (i, m->bans)
			if (runs(&m->bans.v[i], m->t) &&
			    covers(&m->bans.v[i].p, &a->addresses[n])) {
				m->bans.v[i].until = m->t;
				m->bans.v[i].ended = true;
			}
	}
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_release(struct model *m, const struct now *now,
				   const struct kban_event *e)
{
	size_t i = principal(m, &e->release.key);

	(void)now;
	if (i == NONE)
		return KBAN_OUTCOME_NOT_FOUND;
	if (!m->principals.v[i].held)
		return KBAN_OUTCOME_NO_CHANGE;
	m->principals.v[i].held = false;
	m->principals.v[i].hour = m->t / M_HOUR;
	m->principals.v[i].used = 0;
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_fold_version(struct model *m, const struct now *now,
					const struct kban_event *e)
{
	uint32_t v = e->fold_version.version;

	if (v != m->fold_version + 1 || v > kban_fold_newest)
		return KBAN_OUTCOME_OUT_OF_RANGE;
	m->fold_version = v;
	m->fold_version_seq = now->seq;
	return KBAN_OUTCOME_COUNTED;
}

static enum kban_outcome m_epoch(struct model *m, const struct now *now, const struct kban_event *e)
{
	if (e->epoch.epoch != m->epoch + 1)
		return KBAN_OUTCOME_OUT_OF_RANGE;
	m->epoch++;
	m->epoch_seq = now->seq;
	return KBAN_OUTCOME_COUNTED;
}

typedef enum kban_outcome m_event(struct model *m, const struct now *now,
				  const struct kban_event *e);

/* The table "Who may say what": R root, o operator, n node, f feeder, i invitation. */
static const struct {
	const char *who;
	m_event *fn;
} events[KBAN_EVENT_KINDS] = {
	[KBAN_EVENT_BAN] = {"onf", m_ban},
	[KBAN_EVENT_UNBAN] = {"onf", m_unban},
	[KBAN_EVENT_SAFE_ADD] = {"on", m_safe_add},
	[KBAN_EVENT_SAFE_REMOVE] = {"on", m_safe_remove},
	[KBAN_EVENT_SAFE_APPROVE] = {"o", m_safe_approve},
	[KBAN_EVENT_GRANT] = {"R", m_grant},
	[KBAN_EVENT_REVOKE] = {"Ro", m_revoke},
	[KBAN_EVENT_BROKER_ADDRESS] = {"Ro", m_broker_address},
	[KBAN_EVENT_EPOCH] = {"Ro", m_epoch},
	[KBAN_EVENT_FOLD_VERSION] = {"Ro", m_fold_version},
	[KBAN_EVENT_PURGE] = {"o", m_purge},
	[KBAN_EVENT_INVITE] = {"o", m_invite},
	[KBAN_EVENT_POLICY] = {"o", m_policy},
	[KBAN_EVENT_RELEASE] = {"o", m_release},
	[KBAN_EVENT_JOIN] = {"i", m_join},
};

static const char letters[] = {
	[KBAN_ROLE_NODE] = 'n',	  [KBAN_ROLE_OPERATOR] = 'o', [KBAN_ROLE_FEEDER] = 'f',
	[KBAN_ROLE_READER] = 'r', [KBAN_ROLE_BROKER] = 'b',   [KBAN_ROLE_ROOT] = 'R',
};

#endif
