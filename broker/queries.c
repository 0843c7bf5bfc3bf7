/* SPDX-License-Identifier: MPL-2.0
 *
 * kbanctl's questions. An answer is a page of bounded rows and bytes; `next` says where the next
 * one starts. The cluster's pages are placed by position in lists that only grow (members,
 * invitations, then the proving entries by seq): phase in the top bits, position below. Bans and
 * safe ranges come and go, so their pages go on after a prefix, which does not fit a number: the
 * peer's own page state holds it, and `next` names that state.
 */
#include "broker/queries.h"

#include <stdlib.h>
#include <string.h>

/* Pages ------------------------------------------------------------------------------------- */

bool page_room(const struct page_out *o, size_t bytes)
{
	return !o->rows || (o->rows < QUERY_ROWS_MAX && o->bytes + bytes <= QUERY_BYTES_MAX);
}

void page_count(struct page_out *o, size_t bytes)
{
	o->rows++;
	o->bytes += bytes;
}

struct kban_text page_text(struct page_out *o, const char *s, size_t n)
{
	if (!o->texts)
		o->texts = kban_zalloc(QUERY_TEXTS_MAX);
	if (n > QUERY_TEXTS_MAX - o->texts_n)
		n = 0;
	char *copy = o->texts + o->texts_n;

	memcpy(copy, s, n);
	o->texts_n += n;
	return (struct kban_text){copy, n};
}

static void page_free(struct page_out *o)
{
	for (size_t i = 0; i < o->proofs_n; i++)
		free((uint8_t *)(uintptr_t)o->proofs[i].sealed.report);
	free(o->texts);
	free(o->members);
	free(o->invites);
	free(o->bans);
	free(o->safes);
	free(o->proofs);
}

static void page_free_auto(struct page_out *o)
{
	page_free(o);
}

static void page_send(struct broker *b, struct peer *p, enum kban_query_kind kind,
		      const struct page_out *o)
{
	struct kban_message m = {
		.kind = KBAN_MSG_ANSWER,
		.answer =
			{
				.kind = kind,
				.broker_ms = broker_now(b),
				.next = o->next,
				.members = o->members,
				.members_n = o->members_n,
				.invites = o->invites,
				.invites_n = o->invites_n,
				.bans = o->bans,
				.bans_n = o->bans_n,
				.safes = o->safes,
				.safes_n = o->safes_n,
				.proofs = o->proofs,
				.proofs_n = o->proofs_n,
			},
	};

	ledger_place(b->ledger, &m.answer.place);
	ledger_digest(b->ledger, &m.answer.digest);
	peer_send(b, p, &m);
}

/* The page after this one starts behind `done` rows of exactly this prefix. */
void page_go_on(struct page_out *o, const struct kban_prefix *prefix, uint32_t done)
{
	o->b->page_tokens++;
	o->p->page = (struct page){o->b->page_tokens, *prefix, done};
	o->next = o->b->page_tokens;
}

/* Texts of events --------------------------------------------------------------------------- */

static int decode_entry(void *arg, const struct kban_entry *e)
{
	struct kban_report **out = arg;

	return kban_report_decode(out, &e->sealed) ? STORE_NOT_FOUND : 0;
}

const struct kban_event *page_event(struct page_out *o, uint64_t seq, uint32_t index)
{
	struct decoded *d = &o->decoded[seq % KBAN_ARRAY_LEN(o->decoded)];

	if (d->seq != seq) {
		kban_report_free(d->report);
		*d = (struct decoded){.seq = seq};
		if (stream_entry(o->b, seq, decode_entry, &d->report))
			d->report = NULL;
	}
	return d->report && index < d->report->events_n ? &d->report->events[index] : NULL;
}

static void decoded_free(struct page_out *o)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(o->decoded); i++)
		kban_report_free(o->decoded[i].report);
}

/* Safe ranges ------------------------------------------------------------------------------- */

#define SAFE_BYTES 512

static void safe_row(struct page_out *o, const struct ledger_safe *s)
{
	struct kban_safe_row *row = &o->safes[o->safes_n++];
	const struct kban_event *e = page_event(o, s->seq, s->index);

	*row = (struct kban_safe_row){
		.prefix = s->prefix,
		.author = kban_text(s->owner->name),
		.owner = s->owner->key,
		.role = s->owner->role,
		.state = s->state,
		.since_ms = s->since_ms,
		.until_ms = s->until_ms,
	};
	if (e && e->kind == KBAN_EVENT_SAFE_ADD)
		row->reason = page_text(o, e->safe_add.reason.s, e->safe_add.reason.n);
}

struct safe_walk {
	struct page_out *o;
	const struct page *from;   /* token 0: from the start */
	struct kban_prefix prefix; /* the newest row's, and how many rows it has had so far */
	uint32_t same;
	bool any;
};

static bool safe_seen(const struct safe_walk *w)
{
	if (!w->from->token)
		return false;
	int order = kban_prefix_cmp(&w->prefix, &w->from->prefix);

	return order < 0 || (order == 0 && w->same <= w->from->done);
}

static int safe_step(void *arg, const struct ledger_safe *s)
{
	struct safe_walk *w = arg;
	struct kban_prefix before = w->prefix;
	uint32_t before_same = w->same;

	w->same = w->any && kban_prefix_equal(&before, &s->prefix) ? before_same + 1 : 1;
	w->prefix = s->prefix;
	w->any = true;
	if (safe_seen(w))
		return 0;
	if (!page_room(w->o, SAFE_BYTES)) {
		page_go_on(w->o, &before, before_same);
		return 1;
	}
	safe_row(w->o, s);
	page_count(w->o, SAFE_BYTES);
	return 0;
}

static void query_safes(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	struct safe_walk w = {.o = o, .from = from};

	(void)q;
	o->safes = kban_zalloc(QUERY_ROWS_MAX * sizeof(*o->safes));
	ledger_safes_each(o->b->ledger, o->now_ms, safe_step, &w);
}

static void query_bans(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	o->bans = kban_zalloc(QUERY_ROWS_MAX * sizeof(*o->bans));
	bans_collect(o, q->has_prefix ? &q->prefix : NULL, from->token ? &from->prefix : NULL);
}

static void query_cluster(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	(void)from;
	o->members = kban_zalloc(QUERY_ROWS_MAX * sizeof(*o->members));
	o->invites = kban_zalloc(QUERY_ROWS_MAX * sizeof(*o->invites));
	o->proofs = kban_zalloc(KBAN_ENTRIES_MAX * sizeof(*o->proofs));
	cluster_collect(o, q->after);
	beat_nonce(o->b, q->nonce);
}

/* Receiving --------------------------------------------------------------------------------- */

static const struct query_kind {
	void (*collect)(struct page_out *o, const struct kban_query *q, const struct page *from);
	bool paged_by_peer;
} kinds[] = {
	[KBAN_QUERY_CLUSTER] = {query_cluster, false},
	[KBAN_QUERY_BANS] = {query_bans, true},
	[KBAN_QUERY_SAFE] = {query_safes, true},
};

static bool may_ask(const struct caller *who)
{
	return who->principal->role == KBAN_ROLE_OPERATOR ||
	       who->principal->role == KBAN_ROLE_READER;
}

void query_receive(struct broker *b, struct peer *p, const struct caller *who,
		   const struct kban_query *q)
{
	if (!may_ask(who)) {
		peer_deny(b, p, KBAN_REFUSAL_DENIED, "only operators and readers may ask");
		return;
	}
	if ((size_t)q->kind >= KBAN_ARRAY_LEN(kinds) || !kinds[q->kind].collect) {
		peer_bad(b, p);
		return;
	}
	struct page from = p->page;
	const struct query_kind *kind = &kinds[q->kind];

	if (kind->paged_by_peer && q->after && q->after != from.token) {
		peer_deny(b, p, KBAN_REFUSAL_MALFORMED, "no such page; ask from the start");
		return;
	}
	if (!q->after)
		from.token = 0;
	kban_auto(page_free) struct page_out o = {.b = b, .p = p, .now_ms = broker_now(b)};
	kind->collect(&o, q, &from);
	decoded_free(&o);
	page_send(b, p, q->kind, &o);
}
