/* SPDX-License-Identifier: MPL-2.0
 *
 * The model's tables, lookups, digest and expiry; part of model.c.
 */
#ifndef KBAN_STORE_TEST_MODEL_STATE_H
#define KBAN_STORE_TEST_MODEL_STATE_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/test/model.h"

#define M_HOUR 3600000ULL
#define M_DAY  86400000ULL

/* Tables ------------------------------------------------------------------------------------- */

struct m_principal {
	struct kban_key key, curve;
	enum kban_role role;
	char name[64];
	uint64_t granted_seq, granted_at, revoked_seq;
	uint32_t granted_index;
	bool held;
	uint64_t counter, newest_seq;
	struct kban_hash hash;
	uint64_t hour;
	uint32_t used;
};

struct m_invitation {
	struct kban_key key, curve;
	enum kban_role role;
	char name[64];
	uint64_t seq, expires, used_seq, used_at, revoked_seq;
	uint32_t index;
	struct kban_key used_by;
};

struct m_ban {
	struct kban_prefix p;
	size_t author; /* of the principals; they never go */
	uint64_t seq, since, until, strikes;
	uint32_t index;
	bool ended;
};

struct m_safe {
	struct kban_prefix p;
	size_t owner;
	enum ledger_safe_state state;
	uint64_t seq, since, until;
	uint32_t index;
	uint64_t decided_seq;
};

struct m_unban {
	struct kban_prefix p;
	uint64_t seq, time;
};

struct m_strike {
	struct kban_prefix p;
	uint64_t count, end;
};

struct m_broker {
	struct kban_key curve;
	char endpoint[KBAN_ENDPOINT_MAX + 1];
	size_t n;
	struct kban_prefix addresses[KBAN_ADDRESSES_MAX];
	uint64_t seq;
};

struct m_hour {
	uint64_t hour, seq;
};

#define TABLE(type)                                                                                \
	struct {                                                                                   \
		size_t n;                                                                          \
		type *v;                                                                           \
	}

struct model {
	struct kban_cluster_id cluster;
	struct model_limits limits;
	uint64_t t, seq;
	uint32_t epoch, fold_version;
	uint64_t fold_version_seq, epoch_seq;
	struct kban_event_policy policy;
	uint64_t policy_seq, policy_at;
	TABLE(struct m_principal) principals;
	TABLE(struct m_invitation) invitations;
	TABLE(struct m_ban) bans;
	TABLE(struct m_safe) safes;
	TABLE(struct m_unban) unbans;
	TABLE(struct m_strike) strikes;
	TABLE(struct m_broker) brokers;
	TABLE(struct m_hour) hours;
};

/* A new zeroed row at the end of a table. */
#define PUSH(table)                                                                                \
	((table).v = kban_realloc((table).v, ((table).n + 1) * sizeof(*(table).v)),                \
	 memset(&(table).v[(table).n], 0, sizeof(*(table).v)), &(table).v[(table).n++])

#define REMOVE(table, i)                                                                           \
	(memmove(&(table).v[i], &(table).v[(i) + 1], ((table).n - (i)-1) * sizeof(*(table).v)),    \
	 (table).n--)

/* for each index i of a table, from the last, so that the present row may be removed */
#define EACH(i, table) for (size_t i = (table).n; i-- > 0;)

void model_new(struct model **out, const struct kban_key *root, const struct model_limits *limits)
{
	struct model *m = kban_zalloc(sizeof(*m));
	struct m_principal *p = PUSH(m->principals);

	kban_cluster_id(&m->cluster, root);
	m->limits = *limits;
	m->epoch = 1;
	m->fold_version = 1;
	m->policy = (struct kban_event_policy){5000,	 64,	     24, 64, 100,
					       86400000, 7776000000, 16, 32, 2678400000};
	p->key = *root;
	p->role = KBAN_ROLE_ROOT;
	strcpy(p->name, "root");
	*out = m;
}

void model_free(struct model *m)
{
	free(m->principals.v);
	free(m->invitations.v);
	free(m->bans.v);
	free(m->safes.v);
	free(m->unbans.v);
	free(m->strikes.v);
	free(m->brokers.v);
	free(m->hours.v);
	free(m);
}

/* Lookups ------------------------------------------------------------------------------------ */

static bool same_key(const struct kban_key *a, const struct kban_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool same(const struct kban_prefix *a, const struct kban_prefix *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool covers(const struct kban_prefix *outer, const struct kban_prefix *inner)
{
	if (outer->family != inner->family || outer->len > inner->len)
		return false;
	for (unsigned bit = 0; bit < outer->len; bit++)
		if (((outer->addr[bit / 8] ^ inner->addr[bit / 8]) << (bit % 8)) & 0x80)
			return false;
	return true;
}

static bool overlaps(const struct kban_prefix *a, const struct kban_prefix *b)
{
	return covers(a, b) || covers(b, a);
}

#define NONE SIZE_MAX

static size_t principal(const struct model *m, const struct kban_key *key)
{
	EACH (i, m->principals)
		if (same_key(&m->principals.v[i].key, key))
			return i;
	return NONE;
}

static size_t invitation(const struct model *m, const struct kban_key *key)
{
	EACH (i, m->invitations)
		if (same_key(&m->invitations.v[i].key, key))
			return i;
	return NONE;
}

static bool runs(const struct m_ban *b, uint64_t t)
{
	return t < b->until;
}

static bool safe_runs_at(const struct m_safe *s, uint64_t t)
{
	return s->until == 0 || t < s->until;
}

static bool fleet_wide(const struct m_safe *s)
{
	return s->state == LEDGER_SAFE_ACTIVE || s->state == LEDGER_SAFE_APPROVED;
}

bool model_safe_covers(const struct model *m, const struct kban_prefix *p, uint64_t now,
		       const struct kban_key *node)
{
	EACH (i, m->safes) {
		const struct m_safe *s = &m->safes.v[i];
		bool own = node && same_key(node, &m->principals.v[s->owner].key) &&
			   s->state == LEDGER_SAFE_HELD;

		if (covers(&s->p, p) && safe_runs_at(s, now) && (fleet_wide(s) || own))
			return true;
	}
	return false;
}

uint64_t model_ban_until(const struct model *m, const struct kban_prefix *p, uint64_t now)
{
	uint64_t until = 0;

	EACH (i, m->bans)
		if (same(&m->bans.v[i].p, p) && runs(&m->bans.v[i], now) &&
		    m->bans.v[i].until > until)
			until = m->bans.v[i].until;
	return until;
}

bool model_contradicts(const struct model *m, uint64_t now)
{
	EACH (i, m->bans)
		if (runs(&m->bans.v[i], now) && model_safe_covers(m, &m->bans.v[i].p, now, NULL))
			return true;
	return false;
}

size_t model_bans_count(const struct model *m, uint64_t now)
{
	size_t n = 0;

	EACH (i, m->bans) {
		bool counted_already = false;

		for (size_t j = 0; j < i; j++)
			counted_already |= same(&m->bans.v[j].p, &m->bans.v[i].p) &&
					   runs(&m->bans.v[j], now);
		n += runs(&m->bans.v[i], now) && !counted_already;
	}
	return n;
}

uint64_t model_next_end(const struct model *m, uint64_t now)
{
	uint64_t at = UINT64_MAX;

	EACH (i, m->bans) {
		uint64_t until = model_ban_until(m, &m->bans.v[i].p, now);

		if (until && until < at)
			at = until;
	}
	EACH (i, m->safes)
		if (m->safes.v[i].until > now && m->safes.v[i].until < at)
			at = m->safes.v[i].until;
	return at;
}

static bool unban_is_remembered(const struct model *m, const struct m_unban *u)
{
	return m->t < (u->time / M_HOUR + 1) * M_HOUR + m->policy.history_ms;
}

uint64_t model_unbanned_seq(const struct model *m, const struct kban_prefix *p)
{
	uint64_t seq = 0;

	EACH (i, m->unbans)
		if (covers(&m->unbans.v[i].p, p) && unban_is_remembered(m, &m->unbans.v[i]) &&
		    m->unbans.v[i].seq > seq)
			seq = m->unbans.v[i].seq;
	return seq;
}

uint64_t model_time(const struct model *m)
{
	return m->t;
}

/* Digest ------------------------------------------------------------------------------------- */

struct digest {
	uint64_t lanes[4];
	uint8_t item[1024];
	size_t n;
};

static void bytes(struct digest *d, const void *p, size_t n)
{
	assert(d->n + n <= sizeof(d->item));
	memcpy(d->item + d->n, p, n);
	d->n += n;
}

static void number(struct digest *d, uint64_t v, unsigned size)
{
	for (unsigned i = size; i-- > 0;) {
		uint8_t b = (uint8_t)(v >> (8 * i));

		bytes(d, &b, 1);
	}
}

static void u8(struct digest *d, uint64_t v)
{
	number(d, v, 1);
}

static void u32(struct digest *d, uint64_t v)
{
	number(d, v, 4);
}

static void u64(struct digest *d, uint64_t v)
{
	number(d, v, 8);
}

static void key(struct digest *d, const struct kban_key *k)
{
	bytes(d, k->b, 32);
}

static void prefix(struct digest *d, const struct kban_prefix *p)
{
	u8(d, p->family);
	u8(d, p->len);
	bytes(d, p->addr, 16);
}

static void text(struct digest *d, const char *s)
{
	u8(d, strlen(s));
	bytes(d, s, strlen(s));
}

static void begin(struct digest *d, unsigned type)
{
	d->n = 0;
	u8(d, type);
}

static void end(struct digest *d)
{
	struct kban_span span = kban_span(d->item, d->n);
	struct kban_hash h;

	kban_hash_spans(&h, "kban item v1", &span, 1);
	for (unsigned lane = 0; lane < 4; lane++) {
		uint64_t v = 0;

		for (unsigned i = 0; i < 8; i++)
			v = v << 8 | h.b[8 * lane + i];
		d->lanes[lane] += v;
	}
}

static void digest_prefixes(const struct model *m, struct digest *d)
{
	EACH (i, m->bans) {
		const struct m_ban *b = &m->bans.v[i];

		begin(d, 1), prefix(d, &b->p), key(d, &m->principals.v[b->author].key);
		u64(d, b->seq), u32(d, b->index), u64(d, b->since), u64(d, b->until);
		u64(d, b->strikes), u8(d, b->ended), end(d);
	}
	EACH (i, m->safes) {
		const struct m_safe *s = &m->safes.v[i];

		begin(d, 2), prefix(d, &s->p), key(d, &m->principals.v[s->owner].key);
		u8(d, s->state), u64(d, s->seq), u32(d, s->index), u64(d, s->since);
		u64(d, s->until), u64(d, s->decided_seq), end(d);
	}
	EACH (i, m->unbans) {
		const struct m_unban *u = &m->unbans.v[i];

		begin(d, 3), prefix(d, &u->p), u64(d, u->seq), u64(d, u->time), end(d);
	}
	EACH (i, m->strikes) {
		const struct m_strike *s = &m->strikes.v[i];

		begin(d, 4), prefix(d, &s->p), u64(d, s->count), u64(d, s->end), end(d);
	}
}

static void digest_people(const struct model *m, struct digest *d)
{
	EACH (i, m->principals) {
		const struct m_principal *p = &m->principals.v[i];

		begin(d, 5), key(d, &p->key), key(d, &p->curve), u8(d, p->role), text(d, p->name);
		u64(d, p->granted_seq), u32(d, p->granted_index), u64(d, p->granted_at);
		u64(d, p->revoked_seq), u8(d, p->held), u64(d, p->hour), u32(d, p->used), end(d);
		if (p->counter)
			begin(d, 6), key(d, &p->key), u64(d, p->counter), bytes(d, p->hash.b, 32),
				u64(d, p->newest_seq), end(d);
	}
	EACH (i, m->invitations) {
		const struct m_invitation *v = &m->invitations.v[i];

		begin(d, 7), key(d, &v->key), key(d, &v->curve), u8(d, v->role), text(d, v->name);
		u64(d, v->seq), u32(d, v->index), u64(d, v->expires), u64(d, v->used_seq);
		u64(d, v->used_at), key(d, &v->used_by), u64(d, v->revoked_seq), end(d);
	}
	EACH (i, m->brokers) {
		const struct m_broker *b = &m->brokers.v[i];

		begin(d, 8), key(d, &b->curve), text(d, b->endpoint), u8(d, b->n);
		for (size_t a = 0; a < b->n; a++)
			prefix(d, &b->addresses[a]);
		u64(d, b->seq), end(d);
	}
}

void model_digest(const struct model *m, struct kban_hash *out)
{
	struct digest d = {0};
	const struct kban_event_policy *p = &m->policy;

	digest_prefixes(m, &d);
	digest_people(m, &d);
	begin(&d, 9), u32(&d, p->quota_per_hour), u32(&d, p->safe_max), u32(&d, p->safe_min_len4);
	u32(&d, p->safe_min_len6), u32(&d, p->repeat_percent), u64(&d, p->repeat_max_ms);
	u64(&d, p->history_ms), u32(&d, p->ban_min_len4), u32(&d, p->ban_min_len6);
	u64(&d, p->node_ban_max_ms), u64(&d, m->policy_seq), u64(&d, m->policy_at), end(&d);
	begin(&d, 10), u32(&d, m->fold_version), u64(&d, m->fold_version_seq), u32(&d, m->epoch);
	u64(&d, m->epoch_seq), end(&d);
	begin(&d, 12), u64(&d, m->t), end(&d);
	EACH (i, m->hours)
		begin(&d, 11), u64(&d, m->hours.v[i].hour), u64(&d, m->hours.v[i].seq), end(&d);
	for (unsigned lane = 0; lane < 4; lane++)
		for (unsigned i = 0; i < 8; i++)
			out->b[8 * lane + i] = (uint8_t)(d.lanes[lane] >> (56 - 8 * i));
}

/* Expiry ------------------------------------------------------------------------------------- */

static uint64_t hour_end(const struct m_hour *h)
{
	return (h->hour + 1) * M_HOUR;
}

static bool hour_is_old(const struct model *m, const struct m_hour *h)
{
	return hour_end(h) + m->policy.history_ms <= m->t;
}

static void expire_hours(struct model *m)
{
	bool newest_kept = false;

	EACH (i, m->hours) {
		if (!hour_is_old(m, &m->hours.v[i]))
			continue;
		if (newest_kept)
			REMOVE(m->hours, i);
		newest_kept = true;
	}
}

static void expire(struct model *m)
{
	EACH (i, m->bans)
		if (m->bans.v[i].until + M_DAY <= m->t)
			REMOVE(m->bans, i);
	EACH (i, m->safes)
		if (!safe_runs_at(&m->safes.v[i], m->t))
			REMOVE(m->safes, i);
	EACH (i, m->unbans)
		if (!unban_is_remembered(m, &m->unbans.v[i]))
			REMOVE(m->unbans, i);
	EACH (i, m->strikes)
		if (m->strikes.v[i].end + m->policy.history_ms <= m->t)
			REMOVE(m->strikes, i);
	EACH (i, m->invitations) {
		const struct m_invitation *v = &m->invitations.v[i];

		if (!v->used_seq && !v->revoked_seq && v->expires + M_DAY <= m->t)
			REMOVE(m->invitations, i);
	}
	expire_hours(m);
}

#endif
