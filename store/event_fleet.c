/* SPDX-License-Identifier: MPL-2.0 */
#include <stddef.h>
#include <string.h>

#include "store/ledger_private.h"

/* Policy ------------------------------------------------------------------------------------- */

struct policy_field {
	size_t at;
	bool wide; /* uint64_t, not uint32_t */
	uint64_t min, max;
};

#define U32(name, min, max)                                                                        \
	{                                                                                          \
		offsetof(struct kban_event_policy, name), false, min, max                          \
	}
#define U64(name, min, max)                                                                        \
	{                                                                                          \
		offsetof(struct kban_event_policy, name), true, min, max                           \
	}

static const struct policy_field policy_fields[] = {
	U32(quota_per_hour, 1, 1000000),
	U32(safe_max, 0, 4096),
	U32(safe_min_len4, 8, 32),
	U32(safe_min_len6, 16, 128),
	U32(repeat_percent, 100, 1000),
	U64(repeat_max_ms, 1, 366 * LEDGER_DAY_MS),
	U64(history_ms, LEDGER_DAY_MS, 3660 * LEDGER_DAY_MS),
	U32(ban_min_len4, 8, 32),
	U32(ban_min_len6, 16, 128),
	U64(node_ban_max_ms, 60000, 366 * LEDGER_DAY_MS),
};

static uint64_t policy_get(const struct kban_event_policy *p, const struct policy_field *f)
{
	const char *at = (const char *)p + f->at;

	return f->wide ? *(const uint64_t *)at : *(const uint32_t *)at;
}

bool ledger_policy_valid(const struct kban_event_policy *p)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(policy_fields); i++) {
		const struct policy_field *f = &policy_fields[i];
		uint64_t v = policy_get(p, f);

		if (v < f->min || v > f->max)
			return false;
	}
	return true;
}

bool policy_equal(const struct kban_event_policy *a, const struct kban_event_policy *b)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(policy_fields); i++)
		if (policy_get(a, &policy_fields[i]) != policy_get(b, &policy_fields[i]))
			return false;
	return true;
}

enum kban_outcome judge_policy(const struct ledger *l, const struct fold *f,
			       const struct kban_event *e)
{
	(void)f;
	if (!ledger_policy_valid(&e->policy))
		return KBAN_OUTCOME_OUT_OF_RANGE;
	return policy_equal(&e->policy, &l->policy) ? KBAN_OUTCOME_NO_CHANGE : KBAN_OUTCOME_COUNTED;
}

void policy_set(struct ledger *l, const struct kban_event_policy *p, uint64_t seq, uint64_t now)
{
	digest_policy(l, DIGEST_REMOVE);
	l->policy = *p;
	l->policy_seq = seq;
	l->policy_ms = now;
	digest_policy(l, DIGEST_ADD);
}

void effect_policy(struct ledger *l, const struct fold *f, const struct kban_event *e,
		   enum kban_outcome o)
{
	(void)o;
	if (e->policy.history_ms > l->policy.history_ms)
		hours_forget(l);
	policy_set(l, &e->policy, f->seq, f->now);
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

bool broker_equal(const struct ledger_broker *b, const struct kban_event_broker_address *a)
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

static void broker_set(struct ledger_broker *b, const struct kban_event_broker_address *a,
		       uint64_t seq)
{
	*b = (struct ledger_broker){.curve = a->curve, .addresses_n = a->addresses_n, .seq = seq};
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
		broker_set(b, a, f->seq);
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
	return v == l->fold_version + 1 && v <= kban_fold_newest ? KBAN_OUTCOME_COUNTED
								  : KBAN_OUTCOME_OUT_OF_RANGE;
}

void effect_fold_version(struct ledger *l, const struct fold *f, const struct kban_event *e,
			 enum kban_outcome o)
{
	(void)o;
	digest_versions(l, DIGEST_REMOVE);
	l->fold_version = e->fold_version.version;
	l->fold_version_seq = f->seq;
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
