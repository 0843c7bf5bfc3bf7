/* SPDX-License-Identifier: MPL-2.0
 *
 * The rows of `log` and `refused`: signed reports as they are, what became of each event, and what
 * the ledger still knows of their bans. A search looks at a bounded number of entries and bytes,
 * whatever it finds; the answer's `next` says how far it came. A search that came to the head and
 * found nothing can be held until there is more.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/filter.h"
#include "broker/outcomes.h"
#include "broker/queries.h"
#include "proto/log.h"

#define LOOK_ENTRIES 2000U	    /* looked at for one answer ... */
#define LOOK_BYTES   (256U * 1024U) /* and bytes of them */
#define WAKE_ENTRIES 4000U	    /* the same for all held searches together, at one commit */
#define WAKE_BYTES   (512U * 1024U)
#define ENOUGH	     1000 /* a walk was stopped by us */

#define ROW_BYTES     64U /* of a row beside its report, outcomes and records: their largest size */
#define OUTCOME_BYTES 2U
#define RECORD_BYTES  36U

struct looks { /* left */
	size_t entries, bytes;
};

static bool looks_take(struct looks *l, size_t len)
{
	if (!l->entries || !l->bytes)
		return false;
	l->entries--;
	l->bytes -= len < l->bytes ? len : l->bytes;
	return true;
}

/* Rows -------------------------------------------------------------------------------------- */

static const struct ledger_ban *record_find(const struct ledger *l, const struct kban_event *e,
					    uint64_t seq, uint32_t index)
{
	const struct ledger_ban *bans;

	if (e->kind != KBAN_EVENT_BAN)
		return NULL;
	size_t n = ledger_bans_of(l, &e->ban.prefix, &bans);
	for (size_t i = 0; i < n; i++) {
		if (bans[i].seq == seq && bans[i].index == index)
			return &bans[i];
	}
	return NULL;
}

static size_t records_take(const struct page_out *o, uint64_t seq, const struct kban_report *r,
			   struct kban_record_row records[KBAN_EVENTS_MAX])
{
	size_t n = 0;

	for (uint32_t i = 0; i < r->events_n; i++) {
		const struct ledger_ban *b = record_find(o->b->ledger, &r->events[i], seq, i);

		if (b)
			records[n++] = (struct kban_record_row){
				.index = i,
				.since_ms = b->since_ms,
				.until_ms = b->until_ms,
				.strikes = b->strikes,
				.ended = b->ended,
			};
	}
	return n;
}

/* Copies all that row borrows. False: the page has no room for it. */
static bool row_add(struct page_out *o, const struct kban_log_row *row)
{
	size_t records = row->records_n * sizeof(*row->records);
	size_t outcomes = row->outcomes_n * sizeof(*row->outcomes);
	size_t len = row->report.report_len;
	size_t size = ROW_BYTES + len + KBAN_SIGNATURE_SIZE + row->outcomes_n * OUTCOME_BYTES +
		      row->records_n * RECORD_BYTES;

	if (o->log_n == KBAN_ENTRIES_MAX || !page_room(o, size))
		return false;
	uint8_t *memory = kban_zalloc(records + outcomes + len + KBAN_SIGNATURE_SIZE);
	uint8_t *report = memory + records + outcomes;
	struct kban_log_row *out = &o->log[o->log_n++];

	*out = *row;
	if (records)
		memcpy(memory, row->records, records);
	if (outcomes)
		memcpy(memory + records, row->outcomes, outcomes);
	memcpy(report, row->report.report, len);
	memcpy(report + len, row->report.signature, KBAN_SIGNATURE_SIZE);
	out->records = (const struct kban_record_row *)(void *)memory;
	out->outcomes = (const uint32_t *)(void *)(memory + records);
	out->report = (struct kban_sealed){report, len, report + len};
	page_count(o, size);
	return true;
}

/* The log ----------------------------------------------------------------------------------- */

struct search {
	struct page_out *o;
	const struct kban_query *q;
	struct looks *left;
	uint64_t last; /* seq: searched so far */
};

static int entry_row(struct search *s, const struct kban_entry *e, const struct kban_report *r)
{
	struct kban_record_row records[KBAN_EVENTS_MAX];
	uint32_t outcomes[KBAN_EVENTS_MAX];
	int result = outcomes_get(s->o->b->store, e->seq, outcomes, r->events_n);

	if (result)
		return result;
	struct kban_log_row row = {
		.seq = e->seq,
		.accepted_ms = e->accepted_ms,
		.report = e->sealed,
		.outcomes_n = r->events_n,
		.outcomes = outcomes,
		.records_n = records_take(s->o, e->seq, r, records),
		.records = records,
	};
	return row_add(s->o, &row) ? 0 : ENOUGH;
}

static int search_entry(void *arg, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct search *s = arg;

	if (!looks_take(s->left, e->sealed.report_len))
		return ENOUGH;
	if (e->accepted_ms >= s->q->since_ms && !kban_report_decode(&r, &e->sealed) &&
	    filter_report(s->q, r)) {
		int result = entry_row(s, e, r);

		if (result)
			return result;
	}
	s->last = e->seq;
	return 0;
}

static uint64_t search_start(const struct ledger *l, const struct kban_query *q)
{
	uint64_t since = q->since_ms ? ledger_hour_seq(l, q->since_ms) : 1;

	return since - 1 > q->after ? since - 1 : q->after;
}

/* False: the log cannot be read. */
static bool search_run(struct page_out *o, const struct kban_query *q, struct looks *left)
{
	struct broker *b = o->b;
	struct search s = {o, q, left, search_start(b->ledger, q)};

	if (!o->log)
		o->log = kban_zalloc(KBAN_ENTRIES_MAX * sizeof(*o->log));
	int r = store_read(b->store, s.last, SIZE_MAX, search_entry, &s);
	if (r && r != ENOUGH) {
		if (peer_may_log(b))
			kban_error("the log cannot be searched after entry %llu: %s",
				   (unsigned long long)s.last, store_error(b->store));
		peer_cut(b, o->p);
		return false;
	}
	o->next = r ? s.last : 0;
	return true;
}

void log_collect(struct page_out *o, const struct kban_query *q)
{
	struct looks left = {LOOK_ENTRIES, LOOK_BYTES};

	if (search_run(o, q, &left))
		o->wait = q->wait && !o->log_n && !o->next && q->after <= o->b->durable.seq;
}

/* Held searches ----------------------------------------------------------------------------- */

void wait_drop(struct peer *p)
{
	free(p->wait);
	p->wait = NULL;
}

void wait_hold(struct broker *b, struct peer *p, const struct kban_query *q)
{
	struct wait *w = kban_zalloc(sizeof(*w));

	w->query = *q;
	w->query.nonce = (struct kban_text){0};
	w->query.after = b->durable.seq;
	if (q->author.n)
		memcpy(w->author, q->author.s, sizeof(w->author));
	w->query.author = (struct kban_text){(const char *)w->author, q->author.n};
	w->since_ms = kban_boot_ms(b->clock);
	wait_drop(p);
	p->wait = w;
}

static void wait_go_on(struct broker *b, struct peer *p, struct looks *left)
{
	kban_auto(page_free) struct page_out o;

	page_start(&o, b, p);
	if (!search_run(&o, &p->wait->query, left))
		return;
	p->wait->query.after = o.next ? o.next : b->durable.seq;
	if (!o.log_n)
		return;
	wait_drop(p);
	page_send(&o, KBAN_QUERY_LOG);
}

void waits_wake(struct broker *b)
{
	struct looks left = {WAKE_ENTRIES, WAKE_BYTES};
	struct peer *p, *next;

	HASH_ITER (hh, b->peers, p, next) {
		if (!left.entries || !left.bytes)
			return; /* the others' turn comes with the next commit or tick */
		if (p->wait && !p->cut && p->wait->query.after < b->durable.seq)
			wait_go_on(b, p, &left);
	}
}

/* So that both sides know that the other lives. */
static void wait_end(struct broker *b, struct peer *p)
{
	uint64_t after = p->wait->query.after;
	kban_auto(page_free) struct page_out o;

	page_start(&o, b, p);
	o.next = after < b->durable.seq ? after : 0;
	wait_drop(p);
	page_send(&o, KBAN_QUERY_LOG);
}

void waits_tick(struct broker *b, uint64_t now_ms)
{
	struct peer *p, *next;

	waits_wake(b);
	HASH_ITER (hh, b->peers, p, next) {
		if (p->wait && !p->cut && now_ms - p->wait->since_ms >= BROKER_WAIT_MS)
			wait_end(b, p);
	}
}

/* Refused reports --------------------------------------------------------------------------- */

struct refused_search {
	struct page_out *o;
	const struct kban_query *q;
	struct looks left;
	uint64_t last; /* number: searched so far */
};

static int refused_step(void *arg, const struct refused_row *row)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct refused_search *s = arg;

	if (!looks_take(&s->left, row->sealed.report_len))
		return ENOUGH;
	if (row->at_ms >= s->q->since_ms && !kban_report_decode(&r, &row->sealed) &&
	    filter_report(s->q, r)) {
		struct kban_log_row out = {
			.accepted_ms = row->at_ms,
			.report = row->sealed,
			.refusal = row->refusal,
			.outcomes_n = row->outcomes_n,
			.outcomes = row->outcomes,
		};

		if (!row_add(s->o, &out))
			return ENOUGH;
	}
	s->last = row->number;
	return 0;
}

void refused_collect(struct page_out *o, const struct kban_query *q)
{
	struct refused_search s = {o, q, {LOOK_ENTRIES, LOOK_BYTES}, q->after};

	o->log = kban_zalloc(KBAN_ENTRIES_MAX * sizeof(*o->log));
	o->next = refused_each(o->b->refused, q->after, refused_step, &s) ? s.last : 0;
}
