/* SPDX-License-Identifier: MPL-2.0
 *
 * What bans, unbans and safe ranges do; part of model.c.
 */
#ifndef KBAN_STORE_TEST_MODEL_BAN_H
#define KBAN_STORE_TEST_MODEL_BAN_H

#include "store/test/model_state.h"

/* Events ------------------------------------------------------------------------------------- */

struct now { /* the entry being folded */
	uint64_t seq, base;
	uint32_t index;
	bool late;
	size_t author; /* NONE: a join */
	size_t invitation;
};

static void end_bans(struct model *m, const struct kban_prefix *inside, size_t author)
{
	EACH (i, m->bans) {
		struct m_ban *b = &m->bans.v[i];

		if (!runs(b, m->t) || (inside && !covers(inside, &b->p)) ||
		    (author != NONE && b->author != author))
			continue;
		b->until = m->t;
		b->ended = true;
	}
}

static bool never_banned(const struct model *m, const struct kban_prefix *p)
{
	static const char *const list[] = {
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
		"::/128",    "::1/128",	    "fe80::/10",      "ff00::/8",
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(list); i++) {
		struct kban_prefix never;
		int r = kban_prefix_parse(&never, list[i]);

		assert(!r);
		if (overlaps(&never, p))
			return true;
	}
	EACH (i, m->brokers)
		for (size_t a = 0; a < m->brokers.v[i].n; a++)
			if (covers(p, &m->brokers.v[i].addresses[a]))
				return true;
	return false;
}

static bool limited(const struct m_principal *p)
{
	return p->role == KBAN_ROLE_NODE || p->role == KBAN_ROLE_FEEDER;
}

static bool over_limit(const struct model *m, const struct m_principal *author,
		       const struct kban_event_ban *b)
{
	const struct kban_prefix *p = &b->prefix;
	struct kban_prefix nat64;
	int r = kban_prefix_parse(&nat64, "64:ff9b::/96");

	assert(!r);
	if (limited(author)) {
		if (p->family == KBAN_IPV4)
			return p->len != 32;
		if (covers(&nat64, p))
			return p->len != 128;
		return p->len != 64 || covers(p, &nat64);
	}
	if (p->family == KBAN_IPV4)
		return p->len < (b->force ? 8 : m->policy.ban_min_len4);
	return p->len < (b->force ? 16 : m->policy.ban_min_len6);
}

static size_t strike_row(const struct model *m, const struct kban_prefix *p)
{
	EACH (i, m->strikes)
		if (same(&m->strikes.v[i].p, p))
			return i;
	return NONE;
}

static uint64_t strike_count(const struct model *m, const struct kban_prefix *p)
{
	size_t i = strike_row(m, p);

	if (i == NONE || m->strikes.v[i].end + m->policy.history_ms <= m->t)
		return 1;
	return m->strikes.v[i].count + (m->strikes.v[i].end > m->t ? 0 : 1);
}

static void strike(struct model *m, const struct kban_prefix *p, uint64_t until)
{
	uint64_t count = strike_count(m, p);
	size_t i = strike_row(m, p);

	if (i == NONE) {
		if (m->strikes.n >= m->limits.strikes)
			return;
		PUSH(m->strikes)->p = *p;
		i = m->strikes.n - 1;
	}
	m->strikes.v[i].count = count;
	if (until > m->strikes.v[i].end)
		m->strikes.v[i].end = until;
}

static uint64_t lengthen(const struct kban_event_policy *p, uint64_t duration, uint64_t n)
{
	uint64_t cap = duration > p->repeat_max_ms ? duration : p->repeat_max_ms;
	uint64_t d = duration;

	for (uint64_t i = 1; i < n; i++) {
		uint64_t next = d * p->repeat_percent / 100;

		if (next > cap)
			next = cap;
		if (next == d)
			break;
		d = next;
	}
	return d;
}

static size_t bans_of(const struct model *m, const struct kban_prefix *p)
{
	size_t n = 0;

	EACH (i, m->bans)
		n += same(&m->bans.v[i].p, p);
	return n;
}

static bool goes_before(const struct m_ban *a, const struct m_ban *b)
{
	if (a->until != b->until)
		return a->until < b->until;
	return a->seq != b->seq ? a->seq < b->seq : a->index < b->index;
}

static void make_room(struct model *m, const struct kban_prefix *p)
{
	size_t lowest = NONE;

	if (bans_of(m, p) < m->limits.bans_of_prefix)
		return;
	EACH (i, m->bans)
		if (same(&m->bans.v[i].p, p) &&
		    (lowest == NONE || goes_before(&m->bans.v[i], &m->bans.v[lowest])))
			lowest = i;
	REMOVE(m->bans, lowest);
}

static enum kban_outcome m_ban(struct model *m, const struct now *now, const struct kban_event *e)
{
	const struct kban_event_ban *b = &e->ban;
	struct m_principal *author = &m->principals.v[now->author];
	bool is_limited = limited(author);
	uint64_t hour = m->t / M_HOUR;

	if (never_banned(m, &b->prefix))
		return KBAN_OUTCOME_NEVER_BAN;
	if (over_limit(m, author, b))
		return KBAN_OUTCOME_LIMIT;
	if (model_safe_covers(m, &b->prefix, m->t, NULL))
		return KBAN_OUTCOME_SAFE;
	if (model_unbanned_seq(m, &b->prefix) > now->base)
		return KBAN_OUTCOME_UNBANNED;
	if (is_limited && author->hour == hour && author->used >= m->policy.quota_per_hour) {
		author->held = true;
		return KBAN_OUTCOME_OVER_QUOTA;
	}

	bool history = !b->duration_ms || now->late;

	if (!history && m->bans.n >= m->limits.bans &&
	    bans_of(m, &b->prefix) < m->limits.bans_of_prefix)
		return KBAN_OUTCOME_FULL;

	uint64_t n = is_limited ? strike_count(m, &b->prefix) : 1;
	uint64_t until = m->t, duration = b->duration_ms;

	if (is_limited && duration > m->policy.node_ban_max_ms)
		duration = m->policy.node_ban_max_ms;
	if (!history)
		until += is_limited ? lengthen(&m->policy, duration, n) : duration;
	if (is_limited) {
		author->used = author->hour == hour ? author->used + 1 : 1;
		author->hour = hour;
		strike(m, &b->prefix, until);
	}
	if (history)
		return KBAN_OUTCOME_HISTORY;
	make_room(m, &b->prefix);
	*PUSH(m->bans) = (struct m_ban){b->prefix, now->author, now->seq,   m->t,
					until,	   n,		now->index, false};
	return KBAN_OUTCOME_COUNTED;
}

static void remember_unban(struct model *m, const struct now *now, const struct kban_prefix *p)
{
	size_t row = NONE, lowest = NONE;

	EACH (i, m->unbans) {
		const struct m_unban *u = &m->unbans.v[i];

		if (same(&u->p, p))
			row = i;
		if (lowest == NONE || u->seq < m->unbans.v[lowest].seq ||
		    (u->seq == m->unbans.v[lowest].seq &&
		     kban_prefix_cmp(&u->p, &m->unbans.v[lowest].p) < 0))
			lowest = i;
	}
	if (row == NONE) {
		if (m->unbans.n >= m->limits.unbans)
			REMOVE(m->unbans, lowest);
		PUSH(m->unbans)->p = *p;
		row = m->unbans.n - 1;
	}
	m->unbans.v[row].seq = now->seq;
	m->unbans.v[row].time = m->t;
}

static void unban_covering_too(struct model *m, const struct now *now, const struct kban_prefix *p)
{
	/* shortest first: the order matters when the table of unbans is full */
	for (unsigned len = 0; len <= p->len; len++) {
		struct kban_prefix wider = kban_prefix_mask(p, len);

		if (!model_ban_until(m, &wider, m->t))
			continue;
		EACH (i, m->bans)
			if (same(&m->bans.v[i].p, &wider) && runs(&m->bans.v[i], m->t)) {
				m->bans.v[i].until = m->t;
				m->bans.v[i].ended = true;
			}
		remember_unban(m, now, &wider);
	}
}

static enum kban_outcome m_unban(struct model *m, const struct now *now, const struct kban_event *e)
{
	const struct kban_prefix *p = &e->unban.prefix;
	bool found = false;

	if (limited(&m->principals.v[now->author])) {
		EACH (i, m->bans) {
			struct m_ban *b = &m->bans.v[i];

			if (!same(&b->p, p) || b->author != now->author || !runs(b, m->t))
				continue;
			found = true;
			b->until = m->t;
			b->ended = true;
		}
		return found ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
	}
	end_bans(m, p, NONE);
	remember_unban(m, now, p);
	if (e->unban.covering)
		unban_covering_too(m, now, p);
	return KBAN_OUTCOME_COUNTED;
}

static size_t safe_row(const struct model *m, const struct kban_prefix *p, size_t owner)
{
	EACH (i, m->safes)
		if (same(&m->safes.v[i].p, p) && m->safes.v[i].owner == owner)
			return i;
	return NONE;
}

static bool others_banned(const struct model *m, const struct kban_prefix *p, size_t author)
{
	EACH (i, m->bans) {
		const struct m_ban *b = &m->bans.v[i];

		if (b->author == author)
			continue;
		if (covers(p, &b->p) || (covers(&b->p, p) && runs(b, m->t)))
			return true;
	}
	return false;
}

static enum kban_outcome m_safe_add(struct model *m, const struct now *now,
				    const struct kban_event *e)
{
	const struct kban_event_safe_add *a = &e->safe_add;
	const struct kban_prefix *p = &a->prefix;
	bool v4 = p->family == KBAN_IPV4;
	bool by_operator = m->principals.v[now->author].role == KBAN_ROLE_OPERATOR;
	uint64_t until = a->duration_ms ? m->t + a->duration_ms : 0;
	size_t row = safe_row(m, p, now->author), ranges = 0;

	if (by_operator && (p->len == 0 || (p->len < (v4 ? 16 : 32) && !a->force)))
		return KBAN_OUTCOME_LIMIT;
	if (row != NONE) {
		if (m->safes.v[row].state == LEDGER_SAFE_REJECTED || m->safes.v[row].until == until)
			return KBAN_OUTCOME_NO_CHANGE;
		m->safes.v[row].until = until;
		return KBAN_OUTCOME_COUNTED;
	}
	EACH (i, m->safes)
		ranges += m->safes.v[i].owner == now->author;
	if (ranges >= m->limits.safes_of_owner)
		return KBAN_OUTCOME_FULL;

	bool active = by_operator ||
		      (ranges < m->policy.safe_max &&
		       p->len >= (v4 ? m->policy.safe_min_len4 : m->policy.safe_min_len6) &&
		       !others_banned(m, p, now->author));

	*PUSH(m->safes) = (struct m_safe){p[0],
					  now->author,
					  active ? LEDGER_SAFE_ACTIVE : LEDGER_SAFE_HELD,
					  now->seq,
					  m->t,
					  until,
					  now->index,
					  0};
	if (active)
		end_bans(m, p, NONE);
	return active ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_HELD;
}

static enum kban_outcome m_safe_remove(struct model *m, const struct now *now,
				       const struct kban_event *e)
{
	const struct kban_event_safe_remove *r = &e->safe_remove;
	bool may_all = m->principals.v[now->author].role == KBAN_ROLE_OPERATOR;
	bool found = false;

	if (r->all && !may_all)
		return KBAN_OUTCOME_DENIED;
	EACH (i, m->safes) {
		struct m_safe *s = &m->safes.v[i];
		bool by_operator = m->principals.v[s->owner].role == KBAN_ROLE_OPERATOR;

		if (!same(&s->p, &r->prefix) || (!r->all && s->owner != now->author) ||
		    (r->all && !by_operator && s->state == LEDGER_SAFE_REJECTED))
			continue;
		found = true;
		if (r->all && !by_operator)
			s->state = LEDGER_SAFE_REJECTED, s->decided_seq = now->seq;
		else
			REMOVE(m->safes, i);
	}
	return found ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
}

static enum kban_outcome m_safe_approve(struct model *m, const struct now *now,
					const struct kban_event *e)
{
	size_t owner = principal(m, &e->safe_approve.owner);
	size_t row = owner == NONE ? NONE : safe_row(m, &e->safe_approve.prefix, owner);

	if (row == NONE)
		return KBAN_OUTCOME_NOT_FOUND;
	if (fleet_wide(&m->safes.v[row]))
		return KBAN_OUTCOME_NO_CHANGE;
	m->safes.v[row].state = LEDGER_SAFE_APPROVED;
	m->safes.v[row].decided_seq = now->seq;
	end_bans(m, &e->safe_approve.prefix, NONE);
	return KBAN_OUTCOME_COUNTED;
}

#endif
