/* SPDX-License-Identifier: MPL-2.0 */
#include <stddef.h>
#include <string.h>

#include "store/ledger_private.h"

#define CONTAINER(d, type) ((type *)((char *)(d)-offsetof(type, due)))

/* Each kind of thing that becomes due: when, and what happens then. */

static uint64_t bans_at(const struct ledger *l, const struct due *d)
{
	return ban_row_due(l, CONTAINER(d, const struct ban_row));
}

static void bans_expire(struct ledger *l, struct due *d)
{
	ban_row_expire(l, CONTAINER(d, struct ban_row));
}

static uint64_t pardon_at(const struct ledger *l, const struct due *d)
{
	return pardon_due(l, CONTAINER(d, const struct pardon));
}

static void pardon_end(struct ledger *l, struct due *d)
{
	pardon_expire(l, CONTAINER(d, struct pardon));
}

static uint64_t invitation_at(const struct ledger *l, const struct due *d)
{
	const struct invitation *i = CONTAINER(d, const struct invitation);

	(void)l;
	return i->pub.used_seq || i->pub.revoked_seq ? HEAP_NEVER
						     : i->pub.expires_ms + LEDGER_KEEP_MS;
}

static void invitation_expire(struct ledger *l, struct due *d)
{
	invitation_drop(l, CONTAINER(d, struct invitation));
}

static const struct {
	uint64_t (*at)(const struct ledger *l, const struct due *d);
	void (*expire)(struct ledger *l, struct due *d);
} kinds[DUE_KINDS] = {
	[DUE_BANS] = {bans_at, bans_expire},
	[DUE_PARDON] = {pardon_at, pardon_end},
	[DUE_INVITATION] = {invitation_at, invitation_expire},
};

static uint64_t due_at(const void *arg, const struct due *d)
{
	return kinds[d->kind].at(arg, d);
}

void due_settle(struct ledger *l, struct due *d)
{
	heap_set(&l->heap, d, due_at(l, d));
}

void expiry_retime(struct ledger *l)
{
	if (l->timed_history_ms == l->policy.history_ms)
		return;
	heap_retime(&l->heap, due_at, l);
	l->timed_history_ms = l->policy.history_ms;
}

/* Hours -------------------------------------------------------------------------------------- */

static bool hour_is_old(const struct ledger *l, const struct hour *h, uint64_t now)
{
	return hour_end_ms(h->hour) + l->policy.history_ms <= now;
}

void hour_add(struct ledger *l, uint64_t hour, uint64_t seq)
{
	struct hour h = {hour, seq};

	if (l->hours_n && l->hours[l->hours_n - 1].hour == h.hour)
		return;
	if (l->hours_n == l->hours_capacity) {
		l->hours_capacity = l->hours_capacity ? 2 * l->hours_capacity : 64;
		l->hours = kban_realloc(l->hours, l->hours_capacity * sizeof(*l->hours));
	}
	l->hours[l->hours_n++] = h;
	digest_hour(l, DIGEST_ADD, &h);
}

uint64_t hours_start(const struct ledger *l, uint64_t now, uint64_t seq)
{
	for (size_t i = 0; i < l->hours_n; i++)
		if (!hour_is_old(l, &l->hours[i], now))
			return l->hours[i].seq;
	return seq;
}

uint64_t ledger_history_start(const struct ledger *l)
{
	return hours_start(l, l->time_ms, l->place.seq + 1);
}

uint64_t ledger_hour_seq(const struct ledger *l, uint64_t ms)
{
	if (!l->hours_n || ms / LEDGER_HOUR_MS < l->hours[0].hour)
		return 1; /* older rows may have been dropped */
	for (size_t i = 0; i < l->hours_n; i++)
		if (l->hours[i].hour >= ms / LEDGER_HOUR_MS)
			return l->hours[i].seq;
	return l->place.seq + 1;
}

static size_t hours_old(const struct ledger *l)
{
	size_t n = 0;

	while (n < l->hours_n && hour_is_old(l, &l->hours[n], l->time_ms))
		n++;
	return n;
}

static void hours_drop(struct ledger *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		digest_hour(l, DIGEST_REMOVE, &l->hours[i]);
	l->hours_n -= n;
	memmove(l->hours, l->hours + n, l->hours_n * sizeof(*l->hours));
}

void hours_forget(struct ledger *l)
{
	hours_drop(l, hours_old(l));
}

/* The newest of the old ones stays. */
static void hours_expire(struct ledger *l)
{
	size_t old = hours_old(l);

	if (old > 1)
		hours_drop(l, old - 1);
}

/* -------------------------------------------------------------------------------------------- */

/* Ends: whatever expires is settled, and with that due later than ledger time or gone. */
void expiry_run(struct ledger *l)
{
	struct due *d;

	while ((d = heap_due(&l->heap, l->time_ms)))
		kinds[d->kind].expire(l, d);
	hours_expire(l);
}

struct gone {
	const struct ledger *l;
	uint64_t now, records, strikes;
};

static void gone_add(void *arg, const struct due *d)
{
	struct gone *g = arg;

	if (d->kind != DUE_BANS)
		return;

	const struct ban_row *row = CONTAINER(d, const struct ban_row);
	const struct ledger_ban *b = ban_row_records(row);

	for (size_t i = 0; i < row->records_n; i++)
		g->records += b[i].until_ms + LEDGER_KEEP_MS <= g->now;
	g->strikes += row->strikes && row->strikes_end_ms + g->l->policy.history_ms <= g->now;
}

/* Between a policy that changes the history period and the end of its entry, expiry has run by the
 * old one and nothing counts as gone. */
void expiry_count(const struct ledger *l, uint64_t now, uint64_t *records, uint64_t *strikes)
{
	struct gone g = {.l = l, .now = now};

	if (l->timed_history_ms == l->policy.history_ms)
		heap_each_due(&l->heap, now, gone_add, NULL, &g);
	*records = g.records;
	*strikes = g.strikes;
}

/* Lookups ------------------------------------------------------------------------------------ */

struct ended {
	uint64_t now, n;
};

static void ended_add(void *arg, const struct due *d)
{
	struct ended *e = arg;

	if (d->kind != DUE_BANS)
		return;

	const struct ban_row *row = CONTAINER(d, const struct ban_row);

	e->n += row->running && !ban_row_until(row, e->now);
}

uint64_t ledger_bans_count(const struct ledger *l, uint64_t now_ms)
{
	struct ended e = {.now = now_ms};

	heap_each_due(&l->heap, now_ms, ended_add, NULL, &e);
	return l->running - e.n;
}

struct next {
	uint64_t now, at;
};

static void next_at(void *arg, uint64_t at)
{
	struct next *n = arg;

	if (at < n->at)
		n->at = at;
}

static void next_of_due(void *arg, const struct due *d)
{
	struct next *n = arg;

	if (d->kind == DUE_BANS) {
		uint64_t until = ban_row_until(CONTAINER(d, const struct ban_row), n->now);

		if (until)
			next_at(n, until);
	} else if (d->kind == DUE_PARDON) {
		const struct safe *s;

		DL_FOREACH ((CONTAINER(d, const struct pardon))->safes, s)
			if (s->pub.until_ms > n->now)
				next_at(n, s->pub.until_ms);
	}
}

uint64_t ledger_next_end(const struct ledger *l, uint64_t now_ms)
{
	struct next n = {.now = now_ms, .at = HEAP_NEVER};

	heap_each_due(&l->heap, now_ms, next_of_due, next_at, &n);
	return n.at;
}
