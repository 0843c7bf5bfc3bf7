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

void page_proofs(struct page_out *o)
{
	o->proofs = kban_zalloc(KBAN_ENTRIES_MAX * sizeof(*o->proofs));
}

bool page_proof(struct page_out *o, const struct kban_entry *e)
{
	size_t len = e->sealed.report_len;

	if (o->proofs_n == KBAN_ENTRIES_MAX || !page_room(o, len))
		return false;
	uint8_t *bytes = kban_zalloc(len + KBAN_SIGNATURE_SIZE);

	memcpy(bytes, e->sealed.report, len);
	memcpy(bytes + len, e->sealed.signature, KBAN_SIGNATURE_SIZE);
	o->proofs[o->proofs_n++] = (struct kban_entry){
		e->seq, e->accepted_ms, {bytes, len, bytes + len}};
	page_count(o, len + KBAN_SIGNATURE_SIZE);
	return true;
}

void page_start(struct page_out *o, struct broker *b, struct peer *p)
{
	*o = (struct page_out){.b = b, .p = p, .now_ms = broker_now(b)};
	ledger_place(b->ledger, &o->place);
	ledger_digest(b->ledger, &o->digest);
}

static void decoded_free(struct page_out *o)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(o->decoded); i++)
		kban_report_free(o->decoded[i].report);
}

void page_free(struct page_out *o)
{
	decoded_free(o);
	for (size_t i = 0; i < o->proofs_n; i++)
		free((uint8_t *)(uintptr_t)o->proofs[i].sealed.report);
	for (size_t i = 0; i < o->log_n; i++)
		free((void *)(uintptr_t)o->log[i].records);
	for (size_t i = 0; i < o->state_n; i++)
		free((uint8_t *)(uintptr_t)o->state[i].items);
	free(o->texts);
	free(o->members);
	free(o->invites);
	free(o->bans);
	free(o->safes);
	free(o->proofs);
	free(o->log);
	free(o->state);
}

void page_send(const struct page_out *o, enum kban_query_kind kind)
{
	struct broker *b = o->b;
	struct kban_message m = {
		.kind = KBAN_MSG_ANSWER,
		.answer =
			{
				.kind = kind,
				.place = o->place,
				.digest = o->digest,
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
				.log = o->log,
				.log_n = o->log_n,
				.state = o->state,
				.state_n = o->state_n,
			},
	};

	peer_send(b, o->p, &m);
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
	const struct kban_prefix *overlap; /* NULL: all */
	const struct page *from;	   /* token 0: from the start */
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
	if (safe_seen(w) || (w->overlap && !kban_prefix_overlaps(w->overlap, &s->prefix)))
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
	struct safe_walk w = {.o = o, .overlap = q->has_prefix ? &q->prefix : NULL, .from = from};

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
	page_proofs(o);
	cluster_collect(o, q->after);
	beat_nonce(o->b, q->nonce);
}

static void query_log(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	(void)from;
	log_collect(o, q);
}

static void query_refused(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	(void)from;
	refused_collect(o, q);
}

static void query_state(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	(void)from;
	state_collect(o, q->after);
}

static void query_policy(struct page_out *o, const struct kban_query *q, const struct page *from)
{
	(void)q;
	(void)from;
	policy_collect(o);
}

/* Receiving --------------------------------------------------------------------------------- */

#define ROLE(role) (1U << (role))
#define PEOPLE	   (ROLE(KBAN_ROLE_OPERATOR) | ROLE(KBAN_ROLE_READER))
#define FOLLOWERS  (ROLE(KBAN_ROLE_NODE) | ROLE(KBAN_ROLE_FEEDER))

static const struct query_kind {
	void (*collect)(struct page_out *o, const struct kban_query *q, const struct page *from);
	unsigned roles; /* who may ask */
	bool paged_by_peer;
} kinds[] = {
	[KBAN_QUERY_CLUSTER] = {query_cluster, PEOPLE | FOLLOWERS, false},
	[KBAN_QUERY_BANS] = {query_bans, PEOPLE, true},
	[KBAN_QUERY_SAFE] = {query_safes, PEOPLE, true},
	[KBAN_QUERY_LOG] = {query_log, PEOPLE, false},
	[KBAN_QUERY_STATE] = {query_state, PEOPLE | FOLLOWERS, false},
	[KBAN_QUERY_POLICY] = {query_policy, PEOPLE, false},
	[KBAN_QUERY_REFUSED] = {query_refused, PEOPLE, false},
};

static void query_answer(struct broker *b, struct peer *p, const struct kban_query *q,
			 const struct page *from)
{
	kban_auto(page_free) struct page_out o;

	page_start(&o, b, p);
	kinds[q->kind].collect(&o, q, from);
	if (o.wait)
		wait_hold(b, p, q);
	else
		page_send(&o, q->kind);
}

/* A nonce makes every node sign a heartbeat: for people who look, not for nodes to ask of each
 * other. */
static struct kban_query query_of(const struct caller *who, const struct kban_query *q)
{
	struct kban_query out = *q;

	if (!(PEOPLE & ROLE(who->principal->role)))
		out.nonce = (struct kban_text){0};
	return out;
}

void query_receive(struct broker *b, struct peer *p, const struct caller *who,
		   const struct kban_query *q)
{
	struct kban_query asked = query_of(who, q);
	struct page from = p->page;

	wait_drop(p);
	if ((size_t)q->kind >= KBAN_ARRAY_LEN(kinds) || !kinds[q->kind].collect) {
		peer_bad(b, p);
	} else if (!(kinds[q->kind].roles & ROLE(who->principal->role))) {
		peer_deny(b, p, KBAN_REFUSAL_DENIED, "this is not for your role to ask");
	} else if (kinds[q->kind].paged_by_peer && q->after && q->after != from.token) {
		peer_deny(b, p, KBAN_REFUSAL_MALFORMED, "no such page; ask from the start");
	} else {
		if (!q->after)
			from.token = 0;
		query_answer(b, p, &asked, &from);
	}
}
