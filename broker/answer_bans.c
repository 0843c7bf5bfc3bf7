/* SPDX-License-Identifier: MPL-2.0
 *
 * The rows of `bans`: what is banned now, by the ledger, with the words of the report that holds it
 * longest.
 */
#include "broker/queries.h"

#define BAN_BYTES 512

struct ban_walk {
	struct page_out *o;
	const struct kban_prefix *after;
	struct kban_prefix last; /* of the newest row */
};

static bool runs(const struct ledger_ban *ban, uint64_t now_ms)
{
	return now_ms < ban->until_ms;
}

static const struct ledger_ban *longest(const struct page_out *o, const struct kban_prefix *p,
					uint32_t *sources)
{
	const struct ledger_ban *records, *best = NULL;
	size_t n = ledger_bans_of(o->b->ledger, p, &records);

	*sources = 0;
	for (size_t i = 0; i < n; i++) {
		if (!runs(&records[i], o->now_ms))
			continue;
		++*sources;
		if (!best || records[i].until_ms > best->until_ms)
			best = &records[i];
	}
	return best;
}

static void ban_texts(struct page_out *o, struct kban_ban_row *row, const struct ledger_ban *ban)
{
	const struct kban_event *e = page_event(o, ban->seq, ban->index);

	if (!e || e->kind != KBAN_EVENT_BAN)
		return;
	row->rule = page_text(o, e->ban.rule.s, e->ban.rule.n);
	row->service = page_text(o, e->ban.service.s, e->ban.service.n);
	row->reason = page_text(o, e->ban.reason.s, e->ban.reason.n);
	row->count = e->ban.count;
}

static void ban_row(struct page_out *o, const struct kban_prefix *p, uint64_t until_ms)
{
	uint32_t sources;
	const struct ledger_ban *ban = longest(o, p, &sources);
	struct kban_ban_row *row = &o->bans[o->bans_n++];

	*row = (struct kban_ban_row){.prefix = *p, .until_ms = until_ms, .sources = sources};
	if (!ban)
		return;
	row->since_ms = ban->since_ms;
	row->author = kban_text(ban->author->name);
	ban_texts(o, row, ban);
}

static int ban_step(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	struct ban_walk *w = arg;

	if (!page_room(w->o, BAN_BYTES)) {
		page_go_on(w->o, &w->last, 1);
		return 1;
	}
	ban_row(w->o, p, until_ms);
	page_count(w->o, BAN_BYTES);
	w->last = *p;
	return 0;
}

/* Wider bans that cover the prefix: they sort before everything inside it, widest first. */
static int covering(struct ban_walk *w, const struct kban_prefix *p)
{
	const struct ledger *l = w->o->b->ledger;

	for (unsigned len = 0; len < p->len; len++) {
		struct kban_prefix wider = kban_prefix_mask(p, len);
		uint64_t until_ms = ledger_ban_until(l, &wider, w->o->now_ms);

		if (!until_ms || ledger_safe_covers(l, &wider, w->o->now_ms, NULL))
			continue;
		if (w->after && kban_prefix_cmp(&wider, w->after) <= 0)
			continue;
		if (ban_step(w, &wider, until_ms))
			return 1;
	}
	return 0;
}

void bans_collect(struct page_out *o, const struct kban_prefix *overlap,
		  const struct kban_prefix *after)
{
	struct ban_walk w = {.o = o, .after = after};

	if (overlap && covering(&w, overlap))
		return;
	if (overlap && after && kban_prefix_cmp(after, overlap) < 0)
		after = NULL; /* it was one of the covering ones */
	ledger_bans_each(o->b->ledger, o->now_ms, overlap, after, ban_step, &w);
}
