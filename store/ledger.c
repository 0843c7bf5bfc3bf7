/* SPDX-License-Identifier: MPL-2.0 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"

const struct kban_event_policy ledger_policy_default = {
	.quota_per_hour = 5000,
	.safe_max = 64,
	.safe_min_len4 = 24,
	.safe_min_len6 = 64,
	.repeat_percent = 100,
	.repeat_max_ms = LEDGER_DAY_MS,
	.history_ms = 90 * LEDGER_DAY_MS,
	.ban_min_len4 = 16,
	.ban_min_len6 = 32,
	.node_ban_max_ms = 31 * LEDGER_DAY_MS,
};

static const struct ledger_limits limits_default = {
	.ban_records = 4000000,
	.prefix_records = 64,
	.strikes = 4000000,
	.unbans = 1000000,
	.principals = 65536,
	.invitations = 65536,
	.safes_per_owner = 4096,
	.brokers = LEDGER_BROKERS,
};

void ledger_limit(struct ledger *l, const struct ledger_limits *limits)
{
	l->limits = *limits;
}

void ledger_new(struct ledger **out, const struct kban_key *root)
{
	struct ledger *l = kban_zalloc(sizeof(*l));
	struct ledger_principal p = {.key = *root, .role = KBAN_ROLE_ROOT, .name = "root"};

	kban_cluster_id(&l->cluster, root);
	l->place.epoch = 1;
	ledger_chain_genesis(&l->place.chain, &l->cluster);
	l->fold_version = 1;
	l->policy = ledger_policy_default;
	l->timed_history_ms = l->policy.history_ms;
	l->limits = limits_default;
	digest_policy(l, DIGEST_ADD);
	digest_versions(l, DIGEST_ADD);
	digest_time(l, DIGEST_ADD);
	principal_add(l, &p);
	*out = l;
}

void ledger_free(struct ledger *l)
{
	struct trie_walk w;
	void *data;

	if (!l)
		return;
	trie_walk_start(&w, &l->bans, NULL, NULL);
	while ((data = trie_walk_next(&w)))
		ban_row_free(data);
	trie_walk_start(&w, &l->pardons, NULL, NULL);
	while ((data = trie_walk_next(&w)))
		pardon_free(data);
	trie_clear(&l->bans);
	trie_clear(&l->pardons);
	heap_clear(&l->heap);
	members_free(l);
	free(l->hours);
	free(l);
}

/* Place, time, digest ------------------------------------------------------------------------ */

void ledger_chain_genesis(struct kban_hash *out, const struct kban_cluster_id *cluster)
{
	struct kban_span span = kban_span(cluster, sizeof(*cluster));

	kban_hash_spans(out, "kban chain genesis v1", &span, 1);
}

void ledger_chain_next(struct kban_hash *out, const struct kban_hash *previous, uint64_t seq,
		       uint64_t accepted_ms, const struct kban_hash *report_hash)
{
	uint64_t numbers[] = {htobe64(seq), htobe64(accepted_ms)};
	struct kban_hash before = *previous; /* may be out */
	struct kban_span spans[] = {
		kban_span(&before, sizeof(before)),
		kban_span(numbers, sizeof(numbers)),
		kban_span(report_hash, sizeof(*report_hash)),
	};

	kban_hash_spans(out, "kban chain v1", spans, KBAN_ARRAY_LEN(spans));
}

void ledger_set_place(struct ledger *l, const struct kban_place *place)
{
	digest_versions(l, DIGEST_REMOVE);
	l->place = *place;
	digest_versions(l, DIGEST_ADD);
	l->mark_seq = 0; /* the chain there was not this log's */
}

void ledger_place(const struct ledger *l, struct kban_place *out)
{
	*out = l->place;
}

uint64_t ledger_time_ms(const struct ledger *l)
{
	return l->time_ms;
}

void ledger_digest(const struct ledger *l, struct kban_hash *out)
{
	for (size_t i = 0; i < LEDGER_LANES; i++) {
		uint64_t v = htobe64(l->lanes[i]);

		memcpy(out->b + i * sizeof(v), &v, sizeof(v));
	}
}

void ledger_mark(const struct ledger *l, uint64_t *seq, struct kban_hash *chain,
		 struct kban_hash *digest)
{
	*seq = l->mark_seq;
	*chain = l->mark_seq ? l->mark_chain : (struct kban_hash){0};
	*digest = l->mark_seq ? l->mark_digest : (struct kban_hash){0};
}

uint32_t ledger_fold_version(const struct ledger *l)
{
	return l->fold_version;
}

uint64_t ledger_fold_version_seq(const struct ledger *l)
{
	return l->fold_version_seq;
}

uint64_t ledger_epoch_seq(const struct ledger *l)
{
	return l->epoch_seq;
}

const struct kban_cluster_id *ledger_cluster(const struct ledger *l)
{
	return &l->cluster;
}

const struct kban_event_policy *ledger_policy(const struct ledger *l)
{
	return &l->policy;
}

void ledger_policy_suppose(struct ledger *l, const struct kban_event_policy *p)
{
	policy_set(l, p, l->policy_seq, l->policy_ms);
}

void ledger_policy_origin(const struct ledger *l, uint64_t *seq, uint64_t *since_ms)
{
	*seq = l->policy_seq;
	*since_ms = l->policy_ms;
}

/* Brokers ------------------------------------------------------------------------------------ */

bool ledger_is_broker_address(const struct ledger *l, const struct kban_prefix *p)
{
	for (size_t i = 0; i < l->brokers_n; i++)
		for (size_t a = 0; a < l->brokers[i].addresses_n; a++)
			if (kban_prefix_covers(p, &l->brokers[i].addresses[a]))
				return true;
	return false;
}

int ledger_brokers_each(const struct ledger *l, int (*fn)(void *arg, const struct ledger_broker *b),
			void *arg)
{
	int r = 0;

	for (size_t i = 0; i < l->brokers_n && !r; i++)
		r = fn(arg, &l->brokers[i]);
	return r;
}
