/* SPDX-License-Identifier: MPL-2.0 */
#include "store/install.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pages.h"
#include "store/snapshot.h"

struct install {
	struct store *store;
	struct kban_key root;
	struct ledger_header header;
	bool witness;
	uint32_t pages; /* so far; the header is known once there is one */
	struct ledger_loading *loading;
	struct ledger *ledger;
	struct ledger_proof *proof;
	int bad; /* enum snapshot_result of an item */
};

static int state_refused(const struct install *i, int r, char **error)
{
	int result = r == SNAPSHOT_NEWER	? STORE_NEWER_FORMAT
		     : r == SNAPSHOT_OTHER_ROOT ? STORE_OTHER_CLUSTER
						: STORE_DAMAGED;

	return kban_explain(error, result, "the broker's state at entry %llu is refused: %s",
			    (unsigned long long)i->header.place.seq, snapshot_result_name(r));
}

void install_new(struct install **out, struct store *s, const struct kban_key *root)
{
	struct install *i = kban_zalloc(sizeof(*i));

	i->store = s;
	i->root = *root;
	ledger_loading_new(&i->loading, root);
	*out = i;
}

void install_witness(struct install *i)
{
	i->witness = true;
}

void install_free(struct install *i)
{
	if (!i)
		return;
	ledger_proof_free(i->proof);
	ledger_loading_free(i->loading);
	ledger_free(i->ledger);
	free(i);
}

/* Pages --------------------------------------------------------------------------------------- */

enum { FIRST_ONLY = -1 };

static int take_header(void *arg, struct kban_span item)
{
	struct install *i = arg;

	i->bad = ledger_header_read(&i->header, item);
	return FIRST_ONLY;
}

static int take_item(void *arg, struct kban_span item)
{
	struct install *i = arg;

	i->bad = ledger_loading_item(i->loading, item);
	return i->bad ? FIRST_ONLY : 0;
}

static int header_check(struct install *i, struct kban_span page, char **error)
{
	struct store_head head;

	if (page_each(page, take_header, i) != FIRST_ONLY)
		i->bad = SNAPSHOT_DAMAGED;
	if (i->bad)
		return state_refused(i, i->bad, error);
	int r = store_head(i->store, &head);
	if (r)
		return kban_explain(error, r, "the log cannot be read: %s", store_error(i->store));
	if (i->header.place.seq > head.place.seq)
		return 0;
	return kban_explain(error, STORE_DAMAGED,
			    "the broker's state at entry %llu is refused: this log has come to "
			    "entry %llu already",
			    (unsigned long long)i->header.place.seq,
			    (unsigned long long)head.place.seq);
}

static int page_check(struct install *i, struct kban_span page, char **error)
{
	int r = i->pages ? 0 : header_check(i, page, error);

	if (r)
		return r;
	r = page.n && page.n <= PAGE_MAX ? page_each(page, take_item, i) : STORE_DAMAGED;
	if (r)
		return state_refused(i, i->bad ? i->bad : SNAPSHOT_DAMAGED, error);
	i->pages++;
	return 0;
}

static int install_commit(struct install *i, char **error)
{
	int r = store_commit(i->store);

	return r ? kban_explain(error, r, "the broker's state cannot be stored: %s",
				store_error(i->store))
		 : 0;
}

int install_pages(struct install *i, const struct kban_state_page *pages, size_t n, char **error)
{
	assert(i->loading);
	store_begin(i->store);
	for (size_t k = 0; k < n; k++) {
		struct kban_span page = kban_span(pages[k].items, pages[k].items_len);
		int r = page_check(i, page, error);

		if (r) {
			store_abort(i->store);
			return r;
		}
		page_put(i->store, i->header.place.seq, i->pages - 1, page);
	}
	return install_commit(i, error);
}

int install_pages_end(struct install *i, char **error)
{
	int r = i->pages ? ledger_loading_end(i->loading, &i->ledger) : SNAPSHOT_DAMAGED;

	ledger_loading_free(i->loading);
	i->loading = NULL;
	if (r)
		return state_refused(i, r, error);
	ledger_proof_new(&i->proof, i->ledger);
	return 0;
}

/* Evidence ------------------------------------------------------------------------------------ */

uint64_t install_wants(const struct install *i)
{
	return i->proof ? ledger_proof_wants(i->proof) : 0;
}

static int entry_prove(struct install *i, const struct kban_entry *e, char **error)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct ledger_fault fault;
	int bad = kban_report_decode(&r, &e->sealed);

	if (!bad && !kban_report_check(r, &e->sealed))
		bad = KBAN_REPORT_BAD_SIGNATURE;
	if (bad)
		return kban_explain(error,
				    bad == KBAN_REPORT_UNKNOWN_EVENT ? STORE_NEWER_FORMAT
								     : STORE_DAMAGED,
				    "entry %llu, on which the broker's state rests, is refused: %s",
				    (unsigned long long)e->seq, kban_report_result_name(bad));
	if (!ledger_proof_take(i->proof, r, &fault))
		return 0;
	return kban_explain(
		error, STORE_DAMAGED,
		"the broker's state is refused: a row (%s) rests on entry %llu, which %s",
		fault.row, (unsigned long long)fault.seq, fault.why);
}

/* Entries rise: what is passed over will not come any more. */
static int entry_missing(uint64_t seq, char **error)
{
	return kban_explain(
		error, STORE_DAMAGED,
		"the broker's state is refused: it rests on entry %llu, which did not come",
		(unsigned long long)seq);
}

enum { OWN_FOUND = 1000 }; /* no store_result */

struct own_entry {
	uint64_t seq;
	struct kban_hash hash;
};

static int own_hash(void *arg, const struct kban_entry *e)
{
	struct own_entry *own = arg;

	own->seq = e->seq;
	kban_sealed_hash(&own->hash, &e->sealed);
	return OWN_FOUND;
}

/* Which seq a report has, no signature says; up to its head the store does. At or below its horizon
 * it has what its own rows rest on, and what a later state still rests on there is among that. */
static int entry_compare(struct install *i, const struct kban_entry *e, char **error)
{
	struct store_head head;
	struct own_entry own = {0};
	struct kban_hash hash;
	int r = store_head(i->store, &head);

	if (!r && (!i->witness || e->seq > head.place.seq))
		return 0;
	if (!r)
		r = store_read(i->store, e->seq - 1, 1, own_hash, &own);
	if (r && r != OWN_FOUND)
		return kban_explain(error, r, "the log cannot be read: %s",
				    store_error(i->store));
	kban_sealed_hash(&hash, &e->sealed);
	if (own.seq == e->seq && kban_hash_equal(&hash, &own.hash))
		return 0;
	return kban_explain(error, STORE_DAMAGED,
			    "the broker's state is refused: entry %llu, on which it rests, is "
			    "not that one in this node's own log",
			    (unsigned long long)e->seq);
}

static int entry_take(struct install *i, const struct kban_entry *e, char **error)
{
	uint64_t wanted = install_wants(i);

	if (!wanted || e->seq < wanted)
		return 0;
	if (e->seq > wanted)
		return entry_missing(wanted, error);
	int r = entry_prove(i, e, error);
	if (!r)
		r = entry_compare(i, e, error);
	if (!r)
		staged_put(i->store, i->header.place.seq, e);
	return r;
}

int install_entries(struct install *i, const struct kban_entry *entries, size_t n, char **error)
{
	assert(i->proof);
	store_begin(i->store);
	for (size_t k = 0; k < n; k++) {
		int r = entry_take(i, &entries[k], error);

		if (r) {
			store_abort(i->store);
			return r;
		}
	}
	return install_commit(i, error);
}

/* In place ------------------------------------------------------------------------------------ */

void install_begin(struct install *i)
{
	assert(i->proof && !install_wants(i));
	store_begin(i->store);
	/* What the entry there was accepted at is not known here; ledger time then is. */
	store_horizon(i->store, &i->header.place, i->header.time_ms);
	unfinished_put(i->store, i->header.place.seq);
}

void install_ledger(struct install *i, struct ledger **out)
{
	ledger_proof_free(i->proof);
	i->proof = NULL;
	*out = i->ledger;
	i->ledger = NULL;
}
