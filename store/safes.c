/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>

#include "store/ledger_private.h"

struct pardon *pardon_find(const struct ledger *l, const struct kban_prefix *p)
{
	return trie_find(&l->pardons, p);
}

static struct pardon *pardon_make(struct ledger *l, const struct kban_prefix *p)
{
	void **slot = trie_slot(&l->pardons, p);

	if (!*slot) {
		struct pardon *m = kban_zalloc(sizeof(*m));

		m->due.kind = DUE_PARDON;
		m->prefix = *p;
		m->safes_end_ms = HEAP_NEVER;
		*slot = m;
	}
	return *slot;
}

/* With its hour: from then on whoever did not know of it is late. */
static uint64_t unban_due(const struct ledger *l, const struct pardon *m)
{
	return hour_end_ms(m->unban_ms / LEDGER_HOUR_MS) + l->policy.history_ms;
}

uint64_t pardon_due(const struct ledger *l, const struct pardon *m)
{
	uint64_t at = m->unban_seq ? unban_due(l, m) : HEAP_NEVER;

	return m->safes_end_ms < at ? m->safes_end_ms : at;
}

static void safes_end_note(struct pardon *m, const struct safe *s)
{
	if (s->pub.until_ms && s->pub.until_ms < m->safes_end_ms)
		m->safes_end_ms = s->pub.until_ms;
}

/* After one went or got another end. Adding one does without: there may be as many as owners. */
static void safes_end_again(struct pardon *m)
{
	const struct safe *s;

	m->safes_end_ms = HEAP_NEVER;
	DL_FOREACH (m->safes, s)
		safes_end_note(m, s);
}

void pardon_free(struct pardon *m)
{
	struct safe *s, *next;

	DL_FOREACH_SAFE (m->safes, s, next)
		free(s);
	free(m);
}

void pardon_settle(struct ledger *l, struct pardon *m)
{
	due_settle(l, &m->due);
	if (!m->unban_seq && !m->safes) {
		trie_remove(&l->pardons, &m->prefix);
		pardon_free(m);
	}
}

/* Safe ranges -------------------------------------------------------------------------------- */

bool safe_runs(const struct safe *s, uint64_t now)
{
	return !s->pub.until_ms || now < s->pub.until_ms;
}

static bool safe_is_active(const struct safe *s)
{
	return s->pub.state == LEDGER_SAFE_ACTIVE || s->pub.state == LEDGER_SAFE_APPROVED;
}

struct safe *safe_find(const struct ledger *l, const struct kban_prefix *p,
		       const struct principal *owner, uint64_t now)
{
	const struct pardon *m = pardon_find(l, p);
	struct safe *s;

	if (m)
		DL_FOREACH (m->safes, s)
			if (s->pub.owner == &owner->pub && safe_runs(s, now))
				return s;
	return NULL;
}

uint32_t safes_of(const struct principal *owner, uint64_t now)
{
	const struct safe *s;
	uint32_t n = 0;

	DL_FOREACH2 (owner->safes, s, owner_next)
		n += safe_runs(s, now);
	return n;
}

/* The owner's entry in the ledger is not const, whatever the lookups hand out. */
static struct principal *safe_owner(const struct ledger *l, const struct safe *s)
{
	return principal_find(l, &s->pub.owner->key);
}

void safe_add(struct ledger *l, const struct ledger_safe *pub)
{
	struct pardon *m = pardon_make(l, &pub->prefix);
	struct safe *s = kban_zalloc(sizeof(*s));

	s->pub = *pub;
	s->pardon = m;

	struct principal *owner = safe_owner(l, s);

	DL_APPEND(m->safes, s);
	DL_APPEND2(owner->safes, s, owner_prev, owner_next);
	owner->pub.safes++;
	m->safes_active += safe_is_active(s);
	safes_end_note(m, s);
	digest_safe(l, DIGEST_ADD, &s->pub);
	pardon_settle(l, m);
}

void safe_set_until(struct ledger *l, struct safe *s, uint64_t until_ms)
{
	digest_safe(l, DIGEST_REMOVE, &s->pub);
	s->pub.until_ms = until_ms;
	digest_safe(l, DIGEST_ADD, &s->pub);
	safes_end_again(s->pardon);
	pardon_settle(l, s->pardon);
}

void safe_decide(struct ledger *l, struct safe *s, enum ledger_safe_state state, uint64_t seq)
{
	digest_safe(l, DIGEST_REMOVE, &s->pub);
	s->pardon->safes_active -= safe_is_active(s);
	s->pub.state = state;
	s->pub.decided_seq = seq;
	s->pardon->safes_active += safe_is_active(s);
	digest_safe(l, DIGEST_ADD, &s->pub);
}

static void safe_take(struct ledger *l, struct safe *s)
{
	struct principal *owner = safe_owner(l, s);

	digest_safe(l, DIGEST_REMOVE, &s->pub);
	s->pardon->safes_active -= safe_is_active(s);
	DL_DELETE(s->pardon->safes, s);
	DL_DELETE2(owner->safes, s, owner_prev, owner_next);
	owner->pub.safes--;
	free(s);
}

void safe_drop(struct ledger *l, struct safe *s)
{
	struct pardon *m = s->pardon;

	safe_take(l, s);
	safes_end_again(m);
	pardon_settle(l, m);
}

bool safe_within(const struct kban_event_policy *policy, const struct kban_prefix *p)
{
	return p->len >= (p->family == KBAN_IPV4 ? policy->safe_min_len4 : policy->safe_min_len6);
}

void ledger_doubt_ranges(struct ledger *l, bool doubt)
{
	l->wary = doubt;
}

bool ledger_safe_counts(const struct ledger *l, const struct ledger_safe *s,
			const struct kban_key *node)
{
	switch (s->state) {
	case LEDGER_SAFE_ACTIVE:
		if (!node || !l->wary || s->owner->role != KBAN_ROLE_NODE ||
		    safe_within(&l->policy, &s->prefix))
			return true;
		return kban_key_equal(&s->owner->key, node);
	case LEDGER_SAFE_APPROVED:
		return true;
	case LEDGER_SAFE_HELD:
		return node && kban_key_equal(&s->owner->key, node);
	case LEDGER_SAFE_REJECTED:
		return false;
	}
	return false;
}

static bool pardon_is_safe(const struct ledger *l, const struct pardon *m, uint64_t now,
			   const struct kban_key *node)
{
	const struct safe *s;

	if (!node && !m->safes_active)
		return false;
	DL_FOREACH (m->safes, s)
		if (safe_runs(s, now) && ledger_safe_counts(l, &s->pub, node))
			return true;
	return false;
}

bool ledger_safe_covers(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
			const struct kban_key *node)
{
	void *pardons[TRIE_DEPTH_MAX];

	for (size_t i = trie_covering(&l->pardons, p, pardons); i-- > 0;)
		if (pardon_is_safe(l, pardons[i], now_ms, node))
			return true;
	return false;
}

bool ledger_safe_for(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
		     const struct kban_key *node)
{
	const struct pardon *m = pardon_find(l, p);

	return m && pardon_is_safe(l, m, now_ms, node);
}

int ledger_safes_each(const struct ledger *l, uint64_t now_ms,
		      int (*fn)(void *arg, const struct ledger_safe *s), void *arg)
{
	struct trie_walk w;
	const struct pardon *m;
	const struct safe *s;

	trie_walk_start(&w, &l->pardons, NULL, NULL);
	while ((m = trie_walk_next(&w)))
		DL_FOREACH (m->safes, s) {
			int r = safe_runs(s, now_ms) ? fn(arg, &s->pub) : 0;

			if (r)
				return r;
		}
	return 0;
}

/* Unbans ------------------------------------------------------------------------------------- */

static bool unban_gone(const struct ledger *l, const struct pardon *m, uint64_t now)
{
	return unban_due(l, m) <= now;
}

static void unban_take(struct ledger *l, struct pardon *m)
{
	digest_unban(l, DIGEST_REMOVE, m);
	DL_DELETE(l->unbans, m);
	l->unbans_n--;
	m->unban_seq = 0;
	m->unban_ms = 0;
}

void unban_drop(struct ledger *l, struct pardon *m)
{
	unban_take(l, m);
	pardon_settle(l, m);
}

/* The list is in order of seq; among those of one entry the prefix decides. */
static struct pardon *unban_lowest(const struct ledger *l)
{
	struct pardon *lowest = l->unbans;
	struct pardon *m;

	DL_FOREACH (l->unbans, m) {
		if (m->unban_seq != lowest->unban_seq)
			break;
		if (kban_prefix_cmp(&m->prefix, &lowest->prefix) < 0)
			lowest = m;
	}
	return lowest;
}

void unban_set(struct ledger *l, const struct kban_prefix *p, uint64_t seq, uint64_t now)
{
	struct pardon *m = pardon_find(l, p);

	if (m && m->unban_seq)
		unban_take(l, m);
	else if (l->unbans_n >= l->limits.unbans)
		unban_drop(l, unban_lowest(l));
	m = pardon_make(l, p);
	m->unban_seq = seq;
	m->unban_ms = now;
	DL_APPEND(l->unbans, m);
	l->unbans_n++;
	digest_unban(l, DIGEST_ADD, m);
	pardon_settle(l, m);
}

uint64_t unban_seq(const struct ledger *l, const struct kban_prefix *p, uint64_t now)
{
	void *pardons[TRIE_DEPTH_MAX];
	uint64_t seq = 0;

	for (size_t i = trie_covering(&l->pardons, p, pardons); i-- > 0;) {
		const struct pardon *m = pardons[i];

		if (m->unban_seq > seq && !unban_gone(l, m, now))
			seq = m->unban_seq;
	}
	return seq;
}

uint64_t ledger_unbanned_seq(const struct ledger *l, const struct kban_prefix *p)
{
	return unban_seq(l, p, l->time_ms);
}

static int unban_order(const struct pardon *a, const struct pardon *b)
{
	return a->unban_seq < b->unban_seq ? -1 : a->unban_seq > b->unban_seq;
}

static int safe_order(const struct safe *a, const struct safe *b)
{
	if (a->pub.seq != b->pub.seq)
		return a->pub.seq < b->pub.seq ? -1 : 1;
	return a->pub.index < b->pub.index ? -1 : a->pub.index > b->pub.index;
}

void pardons_sort(struct ledger *l)
{
	DL_SORT(l->unbans, unban_order);
	for (struct principal *p = l->principals; p; p = p->by_key.next)
		DL_SORT2(p->safes, safe_order, owner_prev, owner_next);
}

void pardon_expire(struct ledger *l, struct pardon *m)
{
	struct safe *s, *next;

	if (m->unban_seq && unban_gone(l, m, l->time_ms))
		unban_take(l, m);
	DL_FOREACH_SAFE (m->safes, s, next)
		if (!safe_runs(s, l->time_ms))
			safe_take(l, s);
	safes_end_again(m);
	pardon_settle(l, m);
}
