/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "store/ledger_private.h"

/* Policy ------------------------------------------------------------------------------------- */

static bool in_range(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max;
}

static bool policy_in_range(const struct kban_event_policy *p)
{
	return in_range(p->quota_per_hour, 1, 1000000) && in_range(p->safe_max, 0, 4096) &&
	       in_range(p->safe_min_len4, 8, 32) && in_range(p->safe_min_len6, 16, 128) &&
	       in_range(p->repeat_percent, 100, 1000) &&
	       in_range(p->repeat_max_ms, 1, 366 * LEDGER_DAY_MS) &&
	       in_range(p->history_ms, LEDGER_DAY_MS, 3660 * LEDGER_DAY_MS);
}

static bool policy_equal(const struct kban_event_policy *a, const struct kban_event_policy *b)
{
	return a->quota_per_hour == b->quota_per_hour && a->safe_max == b->safe_max &&
	       a->safe_min_len4 == b->safe_min_len4 && a->safe_min_len6 == b->safe_min_len6 &&
	       a->repeat_percent == b->repeat_percent && a->repeat_max_ms == b->repeat_max_ms &&
	       a->history_ms == b->history_ms;
}

enum kban_outcome judge_policy(const struct ledger *l, const struct fold *f,
			       const struct kban_event *e)
{
	(void)f;
	if (!policy_in_range(&e->policy))
		return KBAN_OUTCOME_OUT_OF_RANGE;
	return policy_equal(&e->policy, &l->policy) ? KBAN_OUTCOME_NO_CHANGE : KBAN_OUTCOME_COUNTED;
}

void effect_policy(struct ledger *l, const struct fold *f, const struct kban_event *e,
		   enum kban_outcome o)
{
	(void)f;
	(void)o;
	digest_policy(l, DIGEST_REMOVE);
	l->policy = e->policy;
	digest_policy(l, DIGEST_ADD);
}

/* Brokers ------------------------------------------------------------------------------------ */

/* Its place among the brokers; brokers_n: not there. */
static size_t broker_index(const struct ledger *l, const struct kban_key *curve)
{
	size_t i = 0;

	while (i < l->brokers_n && !kban_key_equal(&l->brokers[i].curve, curve))
		i++;
	return i;
}

static bool broker_equal(const struct ledger_broker *b, const struct kban_event_broker_address *a)
{
	if (b->addresses_n != a->addresses_n || strlen(b->endpoint) != a->endpoint.n ||
	    memcmp(b->endpoint, a->endpoint.s, a->endpoint.n))
		return false;
	for (size_t i = 0; i < a->addresses_n; i++)
		if (!kban_prefix_equal(&b->addresses[i], &a->addresses[i]))
			return false;
	return true;
}

enum kban_outcome judge_broker_address(const struct ledger *l, const struct fold *f,
				       const struct kban_event *e)
{
	const struct kban_event_broker_address *a = &e->broker_address;
	size_t i = broker_index(l, &a->curve);
	bool known = i < l->brokers_n;

	(void)f;
	if (a->remove)
		return known ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
	if (known)
		return broker_equal(&l->brokers[i], a) ? KBAN_OUTCOME_NO_CHANGE
						       : KBAN_OUTCOME_COUNTED;
	return l->brokers_n >= l->limits.brokers ? KBAN_OUTCOME_FULL : KBAN_OUTCOME_COUNTED;
}

static void broker_set(struct ledger_broker *b, const struct kban_event_broker_address *a)
{
	*b = (struct ledger_broker){.curve = a->curve, .addresses_n = a->addresses_n};
	memcpy(b->endpoint, a->endpoint.s, a->endpoint.n);
	for (size_t i = 0; i < a->addresses_n; i++)
		b->addresses[i] = a->addresses[i];
}

static void bans_end_holding(struct ledger *l, const struct fold *f,
			     const struct kban_prefix *address)
{
	void *rows[TRIE_DEPTH_MAX];
	size_t n = trie_covering(&l->bans, address, rows);

	for (size_t i = 0; i < n; i++) {
		struct ban_row *row = rows[i];

		if (bans_end(l, row, NULL, f->now))
			observe_ban(f, &row->prefix);
	}
}

void effect_broker_address(struct ledger *l, const struct fold *f, const struct kban_event *e,
			   enum kban_outcome o)
{
	const struct kban_event_broker_address *a = &e->broker_address;
	size_t i = broker_index(l, &a->curve);
	struct ledger_broker *b = &l->brokers[i];

	(void)o;
	if (i < l->brokers_n)
		digest_broker(l, DIGEST_REMOVE, b);
	if (a->remove) {
		l->brokers_n--;
		memmove(b, b + 1, (l->brokers_n - i) * sizeof(*b));
	} else {
		l->brokers_n += i == l->brokers_n;
		broker_set(b, a);
		digest_broker(l, DIGEST_ADD, b);
		for (size_t n = 0; n < a->addresses_n; n++)
			bans_end_holding(l, f, &a->addresses[n]);
	}
	observe_brokers(f);
}

/* Versions ----------------------------------------------------------------------------------- */

enum kban_outcome judge_fold_version(const struct ledger *l, const struct fold *f,
				     const struct kban_event *e)
{
	uint32_t v = e->fold_version.version;

	(void)f;
	return v == l->fold_version + 1 && v <= KBAN_FOLD_VERSION ? KBAN_OUTCOME_COUNTED
								  : KBAN_OUTCOME_OUT_OF_RANGE;
}

void effect_fold_version(struct ledger *l, const struct fold *f, const struct kban_event *e,
			 enum kban_outcome o)
{
	(void)f;
	(void)o;
	digest_versions(l, DIGEST_REMOVE);
	l->fold_version = e->fold_version.version;
	digest_versions(l, DIGEST_ADD);
}

enum kban_outcome judge_epoch(const struct ledger *l, const struct fold *f,
			      const struct kban_event *e)
{
	(void)f;
	return e->epoch.epoch && e->epoch.epoch - 1 == l->place.epoch ? KBAN_OUTCOME_COUNTED
								      : KBAN_OUTCOME_OUT_OF_RANGE;
}

void effect_epoch(struct ledger *l, const struct fold *f, const struct kban_event *e,
		  enum kban_outcome o)
{
	(void)o;
	digest_versions(l, DIGEST_REMOVE);
	l->place.epoch = e->epoch.epoch;
	l->epoch_seq = f->seq;
	digest_versions(l, DIGEST_ADD);
}
