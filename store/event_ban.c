/* SPDX-License-Identifier: MPL-2.0 */
#include "store/ledger_private.h"

/* Limits ------------------------------------------------------------------------------------- */

/* 64:ff9b::/96, RFC 6052: behind each of its addresses is another IPv4 address. */
static const struct kban_prefix nat64 = {KBAN_IPV6, 96, {0x00, 0x64, 0xff, 0x9b}};

static bool within_limited(const struct kban_prefix *p)
{
	if (p->family == KBAN_IPV4)
		return p->len == 32;
	if (p->len == 128)
		return kban_prefix_covers(&nat64, p);
	return p->len == 64 && !kban_prefix_covers(p, &nat64);
}

/* With force; and no policy allows more without. */
static bool within_anyone(const struct kban_prefix *p)
{
	return p->len >= (p->family == KBAN_IPV4 ? 8 : 16);
}

static bool within_operators(const struct kban_event_policy *policy, const struct kban_event_ban *b)
{
	const struct kban_prefix *p = &b->prefix;
	uint32_t shortest = p->family == KBAN_IPV4 ? policy->ban_min_len4 : policy->ban_min_len6;

	return b->force ? within_anyone(p) : p->len >= shortest;
}

bool ban_within_role(const struct kban_prefix *p, enum kban_role role)
{
	return role_is_limited(role) ? within_limited(p) : within_anyone(p);
}

static uint32_t quota_used(const struct fold *f)
{
	const struct ledger_principal *p = &f->author->pub;

	return p->quota_hour == f->now / LEDGER_HOUR_MS ? p->quota_used : 0;
}

/* Ban ---------------------------------------------------------------------------------------- */

enum kban_outcome judge_ban(const struct ledger *l, const struct fold *f,
			    const struct kban_event *e)
{
	const struct kban_prefix *p = &e->ban.prefix;
	bool limited = role_is_limited(f->author->pub.role);

	if (kban_prefix_never_ban(p) || ledger_is_broker_address(l, p))
		return KBAN_OUTCOME_NEVER_BAN;
	if (limited ? !within_limited(p) : !within_operators(&l->policy, &e->ban))
		return KBAN_OUTCOME_LIMIT;
	if (ledger_safe_covers(l, p, f->now, NULL))
		return KBAN_OUTCOME_SAFE;
	if (unban_seq(l, p, f->now) > f->base)
		return KBAN_OUTCOME_UNBANNED;
	if (limited && quota_used(f) >= l->policy.quota_per_hour)
		return KBAN_OUTCOME_OVER_QUOTA;
	if (!e->ban.duration_ms || f->late)
		return KBAN_OUTCOME_HISTORY;
	return bans_full(l, p, f->now) ? KBAN_OUTCOME_FULL : KBAN_OUTCOME_COUNTED;
}

static uint64_t asked_for(const struct ledger *l, const struct fold *f,
			  const struct kban_event_ban *b)
{
	uint64_t max = l->policy.node_ban_max_ms;

	return role_is_limited(f->author->pub.role) && b->duration_ms > max ? max : b->duration_ms;
}

/* A repeated offender's ban, for his nth strike. */
static uint64_t lengthened(const struct kban_event_policy *policy, uint64_t duration, uint64_t n)
{
	uint64_t max = duration > policy->repeat_max_ms ? duration : policy->repeat_max_ms;
	uint64_t d = duration;

	while (--n) {
		uint64_t longer = d * policy->repeat_percent / 100;

		longer = longer < max ? longer : max;
		if (longer == d)
			break;
		d = longer;
	}
	return d;
}

static void quota_add(struct ledger *l, const struct fold *f)
{
	uint32_t used = quota_used(f);

	principal_open(l, f->author);
	f->author->pub.quota_hour = f->now / LEDGER_HOUR_MS;
	f->author->pub.quota_used = used + 1;
	principal_close(l, f->author);
}

static void author_hold(struct ledger *l, const struct fold *f)
{
	if (f->author->pub.held)
		return;
	principal_open(l, f->author);
	f->author->pub.held = true;
	principal_close(l, f->author);
	observe_principal(f, &f->author->pub.key);
}

void effect_ban(struct ledger *l, const struct fold *f, const struct kban_event *e,
		enum kban_outcome o)
{
	const struct kban_prefix *p = &e->ban.prefix;
	bool limited = role_is_limited(f->author->pub.role);

	if (o == KBAN_OUTCOME_OVER_QUOTA) {
		author_hold(l, f);
		return;
	}

	struct ban_row *row = ban_row_make(l, p);
	uint64_t n = limited ? strikes_next(l, row, f->now) : 1;
	uint64_t until = f->now;

	if (o == KBAN_OUTCOME_COUNTED)
		until += lengthened(&l->policy, asked_for(l, f, &e->ban), n);
	if (limited) {
		quota_add(l, f);
		strikes_add(l, row, f->now, until);
	}

	struct ledger_ban record = {
		.author = &f->author->pub,
		.seq = f->seq,
		.index = f->index,
		.since_ms = f->now,
		.until_ms = until,
		.strikes = n,
	};

	if (o == KBAN_OUTCOME_COUNTED)
		bans_add(l, row, &record);
	ban_row_settle(l, row);
	if (o == KBAN_OUTCOME_COUNTED)
		observe_ban(f, p);
}

/* Unban -------------------------------------------------------------------------------------- */

static bool row_has_own_running(const struct ban_row *row, const struct fold *f)
{
	const struct ledger_ban *b = ban_row_records(row);

	for (size_t i = 0; i < row->records_n; i++)
		if (b[i].author == &f->author->pub && f->now < b[i].until_ms)
			return true;
	return false;
}

enum kban_outcome judge_unban(const struct ledger *l, const struct fold *f,
			      const struct kban_event *e)
{
	if (!role_is_limited(f->author->pub.role))
		return KBAN_OUTCOME_COUNTED;

	const struct ban_row *row = ban_row_find(l, &e->unban.prefix);

	return row && row_has_own_running(row, f) ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
}

static void unban_covering(struct ledger *l, const struct fold *f, const struct kban_prefix *p)
{
	void *rows[TRIE_DEPTH_MAX];
	size_t n = trie_covering(&l->bans, p, rows);

	for (size_t i = 0; i < n; i++) {
		struct ban_row *row = rows[i];

		if (!bans_end(l, row, NULL, f->now))
			continue;
		unban_set(l, &row->prefix, f->seq, f->now);
		observe_ban(f, &row->prefix);
	}
}

void effect_unban(struct ledger *l, const struct fold *f, const struct kban_event *e,
		  enum kban_outcome o)
{
	const struct kban_prefix *p = &e->unban.prefix;

	(void)o;
	if (role_is_limited(f->author->pub.role)) {
		bans_end(l, ban_row_find(l, p), f->author, f->now);
		observe_ban(f, p);
		return;
	}
	bans_end_inside(l, p, f->now);
	unban_set(l, p, f->seq, f->now);
	if (e->unban.covering)
		unban_covering(l, f, p); /* p's own have ended */
	observe_lifted(f, p);
}

/* Purge -------------------------------------------------------------------------------------- */

enum kban_outcome judge_purge(const struct ledger *l, const struct fold *f,
			      const struct kban_event *e)
{
	(void)f;
	return principal_find(l, &e->purge.key) ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
}

void effect_purge(struct ledger *l, const struct fold *f, const struct kban_event *e,
		  enum kban_outcome o)
{
	const struct principal *author = principal_find(l, &e->purge.key);
	struct trie_walk w;
	struct ban_row *row;

	(void)o;
	trie_walk_start(&w, &l->bans, NULL, NULL);
	while ((row = trie_walk_next(&w)))
		if (bans_end(l, row, author, f->now))
			observe_ban(f, &row->prefix);
}
