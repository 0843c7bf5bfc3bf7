/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"

struct ban_row *ban_row_find(const struct ledger *l, const struct kban_prefix *p)
{
	return trie_find(&l->bans, p);
}

struct ban_row *ban_row_make(struct ledger *l, const struct kban_prefix *p)
{
	void **slot = trie_slot(&l->bans, p);

	if (!*slot) {
		struct ban_row *row = kban_zalloc(sizeof(*row));

		row->due.kind = DUE_BANS;
		row->prefix = *p;
		*slot = row;
	}
	return *slot;
}

static struct ledger_ban *row_records(struct ban_row *row)
{
	return row->records_n > 1 ? row->many : &row->one;
}

const struct ledger_ban *ban_row_records(const struct ban_row *row)
{
	return row->records_n > 1 ? row->many : &row->one;
}

void ban_row_free(struct ban_row *row)
{
	if (row->records_n > 1)
		free(row->many);
	free(row);
}

static bool ban_runs(const struct ledger_ban *b, uint64_t now)
{
	return now < b->until_ms;
}

static bool ban_gone(const struct ledger_ban *b, uint64_t now)
{
	return b->until_ms + LEDGER_KEEP_MS <= now;
}

static bool strikes_gone(const struct ledger *l, const struct ban_row *row, uint64_t now)
{
	return row->strikes_end_ms + l->policy.history_ms <= now;
}

uint64_t ban_row_until(const struct ban_row *row, uint64_t now)
{
	const struct ledger_ban *b = ban_row_records(row);
	uint64_t until = 0;

	for (size_t i = 0; i < row->records_n; i++)
		if (b[i].until_ms > until)
			until = b[i].until_ms;
	return until > now ? until : 0;
}

bool ban_row_has_other(const struct ban_row *row, const struct principal *author, uint64_t now)
{
	const struct ledger_ban *b = ban_row_records(row);

	for (size_t i = 0; i < row->records_n; i++)
		if (b[i].author != &author->pub && !ban_gone(&b[i], now))
			return true;
	return false;
}

bool ban_row_has_other_running(const struct ban_row *row, const struct principal *author,
			       uint64_t now)
{
	const struct ledger_ban *b = ban_row_records(row);

	for (size_t i = 0; i < row->records_n; i++)
		if (b[i].author != &author->pub && ban_runs(&b[i], now))
			return true;
	return false;
}

/* When something about the row changes by itself: its last ban ends, a record or the strikes are
 * dropped. */
uint64_t ban_row_due(const struct ledger *l, const struct ban_row *row)
{
	const struct ledger_ban *b = ban_row_records(row);
	uint64_t at = ban_row_until(row, l->time_ms);

	if (!at)
		at = HEAP_NEVER;
	for (size_t i = 0; i < row->records_n; i++)
		if (b[i].until_ms + LEDGER_KEEP_MS < at)
			at = b[i].until_ms + LEDGER_KEEP_MS;
	if (row->strikes && row->strikes_end_ms + l->policy.history_ms < at)
		at = row->strikes_end_ms + l->policy.history_ms;
	return at;
}

void ban_row_settle(struct ledger *l, struct ban_row *row)
{
	bool running = ban_row_until(row, l->time_ms);

	l->running += (uint64_t)running - (uint64_t)row->running;
	row->running = running;
	due_settle(l, &row->due);
	if (!row->records_n && !row->strikes) {
		trie_remove(&l->bans, &row->prefix);
		ban_row_free(row);
	}
}

static void record_append(struct ban_row *row, const struct ledger_ban *record)
{
	size_t n = row->records_n;

	if (n == 0) {
		row->one = *record;
	} else {
		if (n == 1) {
			struct ledger_ban *many = kban_zalloc(2 * sizeof(*many));

			many[0] = row->one;
			row->many = many;
		} else if (!(n & (n - 1))) { /* full: it has room for a power of two */
			row->many = kban_realloc(row->many, 2 * n * sizeof(*row->many));
		}
		row->many[n] = *record;
	}
	row->records_n++;
}

/* The order of the others stays; the array keeps room for at least the power of two above what is
 * in it. */
static void record_take(struct ban_row *row, size_t i)
{
	struct ledger_ban *b = row_records(row);
	size_t n = row->records_n;

	memmove(&b[i], &b[i + 1], (n - i - 1) * sizeof(*b));
	n = --row->records_n;
	if (n == 1) {
		struct ledger_ban *many = row->many;

		row->one = many[0];
		free(many);
	} else if (n > 1 && !(n & (n - 1))) {
		row->many = kban_realloc(row->many, n * sizeof(*row->many));
	}
}

static void record_drop(struct ledger *l, struct ban_row *row, size_t i)
{
	digest_ban(l, DIGEST_REMOVE, &row->prefix, &row_records(row)[i]);
	record_take(row, i);
	l->records_n--;
}

static bool record_before(const struct ledger_ban *a, const struct ledger_ban *b)
{
	if (a->until_ms != b->until_ms)
		return a->until_ms < b->until_ms;
	if (a->seq != b->seq)
		return a->seq < b->seq;
	return a->index < b->index;
}

static size_t record_first_to_end(const struct ban_row *row)
{
	const struct ledger_ban *b = ban_row_records(row);
	size_t first = 0;

	for (size_t i = 1; i < row->records_n; i++)
		if (record_before(&b[i], &b[first]))
			first = i;
	return first;
}

bool bans_full(const struct ledger *l, const struct kban_prefix *p, uint64_t now)
{
	uint64_t gone, strikes;

	if (l->records_n < l->limits.ban_records)
		return false;
	expiry_count(l, now, &gone, &strikes);
	if (l->records_n - gone < l->limits.ban_records)
		return false;

	const struct ban_row *row = ban_row_find(l, p); /* which makes room if it is full itself */
	size_t known = 0;

	for (size_t i = 0; row && i < row->records_n; i++)
		known += !ban_gone(&ban_row_records(row)[i], now);
	return known < l->limits.prefix_records;
}

void bans_add(struct ledger *l, struct ban_row *row, const struct ledger_ban *record)
{
	if (row->records_n >= l->limits.prefix_records)
		record_drop(l, row, record_first_to_end(row));
	record_append(row, record);
	l->records_n++;
	digest_ban(l, DIGEST_ADD, &row->prefix, record);
}

static bool strikes_full(const struct ledger *l, uint64_t now)
{
	uint64_t records, gone;

	if (l->strikes_n < l->limits.strikes)
		return false;
	expiry_count(l, now, &records, &gone);
	return l->strikes_n - gone >= l->limits.strikes;
}

uint64_t strikes_next(const struct ledger *l, const struct ban_row *row, uint64_t now)
{
	if (!row->strikes || strikes_gone(l, row, now))
		return 1;
	return row->strikes_end_ms > now ? row->strikes : row->strikes + 1;
}

void strikes_add(struct ledger *l, struct ban_row *row, uint64_t now, uint64_t end_ms)
{
	if (!row->strikes && strikes_full(l, now))
		return;

	uint64_t count = strikes_next(l, row, now);

	if (row->strikes)
		digest_strikes(l, DIGEST_REMOVE, row);
	else
		l->strikes_n++;
	row->strikes = count;
	if (end_ms > row->strikes_end_ms)
		row->strikes_end_ms = end_ms;
	digest_strikes(l, DIGEST_ADD, row);
}

bool bans_end(struct ledger *l, struct ban_row *row, const struct principal *author, uint64_t now)
{
	struct ledger_ban *b = row_records(row);
	bool any = false;

	for (size_t i = 0; i < row->records_n; i++) {
		if (!ban_runs(&b[i], now) || (author && b[i].author != &author->pub))
			continue;
		digest_ban(l, DIGEST_REMOVE, &row->prefix, &b[i]);
		b[i].until_ms = now;
		b[i].ended = true;
		digest_ban(l, DIGEST_ADD, &row->prefix, &b[i]);
		any = true;
	}
	if (any)
		ban_row_settle(l, row); /* keeps the row: it has a record */
	return any;
}

void bans_end_inside(struct ledger *l, const struct kban_prefix *p, uint64_t now)
{
	struct trie_walk w;
	struct ban_row *row;

	trie_walk_start(&w, &l->bans, p, NULL);
	while ((row = trie_walk_next(&w)))
		bans_end(l, row, NULL, now);
}

void ban_row_expire(struct ledger *l, struct ban_row *row)
{
	for (size_t i = row->records_n; i-- > 0;)
		if (ban_gone(&row_records(row)[i], l->time_ms))
			record_drop(l, row, i);
	if (row->strikes && strikes_gone(l, row, l->time_ms)) {
		digest_strikes(l, DIGEST_REMOVE, row);
		row->strikes = 0;
		row->strikes_end_ms = 0;
		l->strikes_n--;
	}
	ban_row_settle(l, row);
}

/* Lookups ------------------------------------------------------------------------------------ */

uint64_t ledger_ban_until(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms)
{
	const struct ban_row *row = ban_row_find(l, p);

	return row ? ban_row_until(row, now_ms) : 0;
}

bool ledger_ban_covering(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
			 struct kban_prefix *out, uint64_t *until_ms)
{
	void *rows[TRIE_DEPTH_MAX];

	for (size_t i = trie_covering(&l->bans, p, rows); i-- > 0;) {
		const struct ban_row *row = rows[i];
		uint64_t until = ban_row_until(row, now_ms);

		if (!until)
			continue;
		if (out)
			*out = row->prefix;
		if (until_ms)
			*until_ms = until;
		return true;
	}
	return false;
}

uint64_t ledger_strikes(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
			uint64_t *end_ms)
{
	const struct ban_row *row = ban_row_find(l, p);

	if (!row || !row->strikes || strikes_gone(l, row, now_ms))
		return 0;
	if (end_ms)
		*end_ms = row->strikes_end_ms;
	return row->strikes;
}

size_t ledger_bans_of(const struct ledger *l, const struct kban_prefix *p,
		      const struct ledger_ban **out)
{
	const struct ban_row *row = ban_row_find(l, p);

	*out = row ? ban_row_records(row) : NULL;
	return row ? row->records_n : 0;
}

/* No running ban lies inside an active safe range (what makes one safe ends the others), so nothing
 * needs to be left out. */
int ledger_bans_each(const struct ledger *l, uint64_t now_ms, const struct kban_prefix *within,
		     const struct kban_prefix *after,
		     int (*fn)(void *arg, const struct kban_prefix *p, uint64_t until_ms),
		     void *arg)
{
	struct trie_walk w;
	const struct ban_row *row;

	trie_walk_start(&w, &l->bans, within, after);
	while ((row = trie_walk_next(&w))) {
		uint64_t until = ban_row_until(row, now_ms);
		int r = until ? fn(arg, &row->prefix, until) : 0;

		if (r)
			return r;
	}
	return 0;
}
