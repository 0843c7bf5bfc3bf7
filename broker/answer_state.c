/* SPDX-License-Identifier: MPL-2.0
 *
 * `state`: what a follower takes whose cursor lies before the horizon: the pages of the state
 * there, then the signed entries that are left below it. While a compaction is still dropping,
 * there are more of these than the state rests on. `policy`: the entry that set the one in force.
 */
#include <stdlib.h>

#include "broker/queries.h"
#include "proto/log.h"
#include "store/pages.h"
#include "store/snapshot.h"

#define PHASE_SHIFT 48
#define ENOUGH	    1000 /* store_read() was stopped by us */

enum phase {
	PHASE_PAGES,
	PHASE_ENTRIES,
};

static uint64_t position(enum phase phase, uint64_t n)
{
	return (uint64_t)phase << PHASE_SHIFT | n;
}

/* The place ----------------------------------------------------------------------------------- */

static int header_item(void *arg, struct kban_span item)
{
	return ledger_header_read(arg, item) ? STORE_DAMAGED : ENOUGH;
}

static int header_read(struct broker *b, struct ledger_header *out)
{
	kban_auto(kban_free) void *memory = NULL;
	uint8_t *bytes = NULL;
	size_t len;
	int r = page_get(b->store, b->horizon, 0, &bytes, &len);

	memory = bytes;
	if (r)
		return r;
	r = page_each(kban_span(bytes, len), header_item, out);
	return r == ENOUGH ? 0 : r ? r : STORE_DAMAGED;
}

/* A whole log begins with the empty ledger, which everybody has. */
static void place_empty(struct page_out *o)
{
	kban_auto(ledger_free) struct ledger *empty = NULL;

	ledger_new(&empty, &o->b->identity->root);
	ledger_place(empty, &o->place);
	ledger_digest(empty, &o->digest);
}

/* The rest ------------------------------------------------------------------------------------ */

static int pages_collect(struct page_out *o, uint64_t n)
{
	o->state = kban_zalloc(KBAN_PAGES_MAX * sizeof(*o->state));
	for (;; n++) {
		uint8_t *bytes = NULL;
		size_t len;

		if (o->state_n == KBAN_PAGES_MAX || !page_room(o, KBAN_PAGE_MAX)) {
			o->next = position(PHASE_PAGES, n);
			return 0;
		}
		int r = page_get(o->b->store, o->b->horizon, (uint32_t)n, &bytes, &len);
		if (r)
			return r == STORE_NOT_FOUND ? 0 : r;
		o->state[o->state_n++] = (struct kban_state_page){bytes, len};
		page_count(o, len);
	}
}

struct entries_walk {
	struct page_out *o;
	uint64_t last;
};

static int entry_take(void *arg, const struct kban_entry *e)
{
	struct entries_walk *w = arg;

	if (e->seq > w->o->b->horizon)
		return ENOUGH;
	if (!page_proof(w->o, e)) {
		w->o->next = position(PHASE_ENTRIES, w->last);
		return ENOUGH;
	}
	w->last = e->seq;
	return 0;
}

static int entries_collect(struct page_out *o, uint64_t after)
{
	struct entries_walk w = {o, after};

	page_proofs(o);
	int r = store_read(o->b->store, after, SIZE_MAX, entry_take, &w);
	return r == ENOUGH ? 0 : r;
}

static int collect(struct page_out *o, uint64_t after)
{
	uint64_t at = after & ((1ULL << PHASE_SHIFT) - 1);
	bool pages = after >> PHASE_SHIFT == PHASE_PAGES && at <= UINT32_MAX;
	struct ledger_header header;
	int r = header_read(o->b, &header);

	if (r)
		return r;
	o->place = header.place;
	o->digest = header.digest;
	if (pages)
		r = pages_collect(o, at);
	if (r || o->next)
		return r;
	return entries_collect(o, pages ? 0 : at);
}

void state_collect(struct page_out *o, uint64_t after)
{
	if (!o->b->horizon) {
		place_empty(o);
		return;
	}
	int r = collect(o, after);
	if (!r)
		return;
	if (peer_may_log(o->b))
		kban_error("the state at entry %llu cannot be read: %s",
			   (unsigned long long)o->b->horizon,
			   r == STORE_NOT_FOUND ? "it is not there" : store_error(o->b->store));
	peer_cut(o->b, o->p);
}

/* Policy -------------------------------------------------------------------------------------- */

static int policy_take(void *arg, const struct kban_entry *e)
{
	return page_proof(arg, e) ? 0 : ENOUGH;
}

void policy_collect(struct page_out *o)
{
	uint64_t seq, since_ms;

	ledger_policy_origin(o->b->ledger, &seq, &since_ms);
	page_proofs(o);
	if (seq && stream_entry(o->b, seq, policy_take, o) && peer_may_log(o->b))
		kban_error("entry %llu, which set the policy, is not in the log",
			   (unsigned long long)seq);
}
