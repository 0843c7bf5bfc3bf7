/* SPDX-License-Identifier: MPL-2.0
 *
 * The phases of a job, each a function that does one step: 0 is "more of this phase", NEXT the next
 * one. Up to PHASE_HORIZON nothing but rows that nobody reads is written.
 */
#include "store/compact.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pages.h"
#include "store/record.h"
#include "store/snapshot.h"

/* What one step does: 5 to 20 ms of a slow processor each, and one fsync. Three steps of a job are
 * as long as the state is large, 0.5 s for a million bans: freeing a ledger, the end of loading
 * one, and listing its evidence. */
#define STEP_EVENTS 2000U /* folded: about 5 us each */
#define STEP_LOAD   16U	  /* pages loaded: about 250 items each, 3 us an item */
#define STEP_WRITE  32U	  /* pages written: 1 MiB */
#define STEP_DROPS  1000U
#define STEP_SEEN   10000U /* entries passed over in search of those to drop */
#define STEP_ROWS   256U   /* pages and staged entries removed */
#define STEP_MOVES  1000U  /* staged entries moved */

#define HOUR_MS	  3600000U
#define DUE_SHARE 32U /* of the history period */

enum { NEXT = 1000, STOP = 1001 }; /* no results */

enum phase {
	PHASE_SWEEP,	/* what an interrupted job left */
	PHASE_MOVE,	/* evidence of this horizon that came from elsewhere */
	PHASE_LOAD,	/* the state at the horizon */
	PHASE_FOLD,	/* the log up to the new one */
	PHASE_WRITE,	/* the state there */
	PHASE_PROVE,	/* what was written, read back */
	PHASE_HORIZON,	/* moves */
	PHASE_EVIDENCE, /* what the state there rests on */
	PHASE_DROP,	/* the rest */
	PHASE_CLEAR,	/* the pages of the horizon before */
	PHASE_END,
	PHASES
};

struct compact {
	struct store *store;
	struct kban_key root;
	enum phase phase;
	struct compact_counts counts;
	struct store_head head;	       /* when the step began */
	struct ledger *ledger, *spent; /* spent: to be freed, in a step of its own */
	uint64_t accepted_ms;	       /* of the entry that was folded last */
	struct kban_place place;
	struct kban_hash digest;
	struct ledger_loading *loading;
	uint32_t page; /* to load next */
	struct ledger_writing *writing;
	struct page_writer pages;
	size_t evidence_n, evidence_at;
	uint64_t *evidence;
	uint64_t seen;	/* entries up to here were kept or dropped */
	unsigned parts; /* of a step's work, 1 but in tests */
	char *error;
};

static int store_failed(struct compact *c, int r)
{
	return kban_explain(&c->error, r, "the log was not compacted: %s", store_error(c->store));
}

static unsigned step_size(const struct compact *c, unsigned size)
{
	return size > c->parts ? size / c->parts : 1;
}

/* The state at the horizon ------------------------------------------------------------------ */

static int state_damaged(char **error, uint64_t seq, int r)
{
	static const int results[] = {
		[SNAPSHOT_DAMAGED] = STORE_DAMAGED,	     [SNAPSHOT_NEWER] = STORE_NEWER_FORMAT,
		[SNAPSHOT_OTHER_ROOT] = STORE_OTHER_CLUSTER, [SNAPSHOT_DIGEST] = STORE_DAMAGED,
		[SNAPSHOT_UNPROVEN] = STORE_DAMAGED,
	};
	static const char *const remedies[] = {
		[SNAPSHOT_DAMAGED] = "put a backup of the data folder back",
		[SNAPSHOT_NEWER] = "install the newer kban that wrote it",
		[SNAPSHOT_OTHER_ROOT] = "name another folder, or use that cluster's identity",
		[SNAPSHOT_DIGEST] = "put a backup of the data folder back",
		[SNAPSHOT_UNPROVEN] = "put a backup of the data folder back",
	};

	return kban_explain(error, results[r],
			    "the state at entry %llu in the store cannot be used (%s); %s",
			    (unsigned long long)seq, snapshot_result_name(r), remedies[r]);
}

static int load_item(void *arg, struct kban_span item)
{
	int r = ledger_loading_item(arg, item);

	/* Apart from page_each()'s own result. */
	return r ? -r : 0;
}

/* Page n of the state at seq into the loading: 0, NEXT after the last one, or a failure with
 * *error. */
static int load_page(struct store *s, uint64_t seq, uint32_t n, struct ledger_loading *loading,
		     char **error)
{
	kban_auto(kban_free) void *freed = NULL;
	uint8_t *bytes = NULL;
	size_t len;
	int r = page_get(s, seq, n, &bytes, &len);

	freed = bytes;
	if (r == STORE_NOT_FOUND)
		return NEXT;
	if (r)
		return kban_explain(error, r, "the state in the store cannot be read: %s",
				    store_error(s));
	r = page_each(kban_span(bytes, len), load_item, loading);
	if (r)
		return state_damaged(error, seq, r < 0 ? -r : SNAPSHOT_DAMAGED);
	return 0;
}

/* The ledger that was loaded, which has to be at this place. */
static int load_end(struct ledger_loading *loading, uint64_t seq, const struct kban_hash *chain,
		    struct ledger **out, char **error)
{
	struct kban_place place;
	int r = ledger_loading_end(loading, out);

	if (r)
		return state_damaged(error, seq, r);
	ledger_place(*out, &place);
	if (place.seq == seq && kban_hash_equal(&place.chain, chain))
		return 0;
	return state_damaged(error, seq, SNAPSHOT_DAMAGED);
}

int compact_load(struct store *s, const struct kban_key *root, struct ledger **out, char **error)
{
	kban_auto(ledger_loading_free) struct ledger_loading *loading = NULL;
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct store_head head;
	int r = store_head(s, &head);

	if (r)
		return kban_explain(error, r, "the log cannot be read: %s", store_error(s));
	if (!head.horizon) {
		ledger_new(out, root);
		return 0;
	}
	ledger_loading_new(&loading, root);
	for (uint32_t n = 0; !r; n++)
		r = load_page(s, head.horizon, n, loading, error);
	if (r != NEXT)
		return r;
	r = load_end(loading, head.horizon, &head.horizon_chain, &l, error);
	if (r)
		return r;
	*out = l;
	l = NULL;
	return 0;
}

/* One step of loading the state at seq into c->ledger. */
static int load_step(struct compact *c, uint64_t seq, const struct kban_hash *chain)
{
	int r = 0;

	if (!c->loading) {
		ledger_loading_new(&c->loading, &c->root);
		c->page = 0;
	}
	for (unsigned i = 0; i < step_size(c, STEP_LOAD) && !r; i++)
		r = load_page(c->store, seq, c->page++, c->loading, &c->error);
	if (r != NEXT)
		return r;
	r = load_end(c->loading, seq, chain, &c->ledger, &c->error);
	ledger_loading_free(c->loading);
	c->loading = NULL;
	return r ? r : NEXT;
}

/* When ---------------------------------------------------------------------------------------- */

bool compact_due(const struct store_head *head, const struct ledger *now, uint64_t *to)
{
	uint64_t history = ledger_policy(now)->history_ms, t = ledger_time_ms(now);
	uint64_t every = history / DUE_SHARE > HOUR_MS ? history / DUE_SHARE : HOUR_MS;

	*to = ledger_history_start(now) - 1;
	if (*to <= head->horizon || t < history)
		return false;
	return head->horizon_ms <= t - history && t - history - head->horizon_ms >= every;
}

static int find_row(void *arg, struct kban_span key, struct kban_span value)
{
	const struct store_head *head = arg;

	(void)value;
	return key.n > 8 && key.p[0] == 'c' && record_u64(key.p + 1) == head->horizon ? 0 : STOP;
}

int compact_unfinished(struct store *s, bool *out)
{
	static const char *const prefixes[] = {UNFINISHED_KEY, "c", "e"};
	struct store_head head;
	int r = store_head(s, &head);

	for (size_t i = 0; !r && i < KBAN_ARRAY_LEN(prefixes); i++)
		r = store_rows(s, kban_span(prefixes[i], 1), find_row, &head);
	*out = r == STOP;
	return r == STOP ? 0 : r;
}

/* The phases ---------------------------------------------------------------------------------- */

/* Ends a transaction that a step began. */
static int step_commit(struct compact *c)
{
	int r = store_commit(c->store);

	return r ? store_failed(c, r) : 0;
}

static int phase_sweep(struct compact *c)
{
	size_t n, max = step_size(c, STEP_ROWS);

	store_begin(c->store);
	int r = pages_sweep(c->store, c->head.horizon, max, &n);
	if (r) {
		store_abort(c->store);
		return store_failed(c, r);
	}
	r = step_commit(c);
	return r ? r : n < max ? NEXT : 0;
}

static int phase_move(struct compact *c)
{
	size_t n;

	store_begin(c->store);
	int r = staged_move(c->store, c->head.horizon, step_size(c, STEP_MOVES), &n);
	if (r) {
		store_abort(c->store);
		return kban_explain(&c->error, r,
				    "the evidence in the store is damaged; move the data folder "
				    "away and let it be filled from the broker");
	}
	r = step_commit(c);
	return r ? r : n ? 0 : NEXT;
}

static int phase_load(struct compact *c)
{
	int r = NEXT;

	if (c->counts.from)
		r = load_step(c, c->counts.from, &c->head.horizon_chain);
	else
		ledger_new(&c->ledger, &c->root);
	if (r != NEXT || c->counts.to > c->counts.from)
		return r;
	ledger_place(c->ledger, &c->place);
	c->phase = PHASE_EVIDENCE; /* nothing but what was left half done */
	return 0;
}

struct folding {
	struct compact *c;
	size_t events;
};

static int fold_entry(void *arg, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct folding *f = arg;
	struct compact *c = f->c;

	if (e->seq > c->counts.to || f->events >= step_size(c, STEP_EVENTS))
		return STOP;
	int bad = kban_report_decode(&r, &e->sealed);
	if (bad)
		return kban_explain(
			&c->error, STORE_DAMAGED,
			"entry %llu of the log is no report (%s): nothing is dropped; put a "
			"backup of the data folder back",
			(unsigned long long)e->seq, kban_report_result_name(bad));
	if (ledger_stops_at(c->ledger, e, r))
		return kban_explain(&c->error, STORE_NEWER_FORMAT,
				    "entry %llu of the log needs a newer kban: install it",
				    (unsigned long long)e->seq);
	ledger_apply(c->ledger, e, r, NULL, NULL);
	c->accepted_ms = e->accepted_ms;
	c->counts.folded++;
	f->events += r->events_n;
	return 0;
}

/* The chain rests on everything before it: what was folded is right if its last one is. */
static int fold_compare(struct compact *c, uint64_t before)
{
	struct kban_hash stored;

	ledger_place(c->ledger, &c->place);
	if (c->place.seq > before) {
		int r = store_chain(c->store, c->place.seq, &stored);
		if (r)
			return store_failed(c, r);
		if (kban_hash_equal(&stored, &c->place.chain))
			return 0;
	}
	return kban_explain(
		&c->error, STORE_DAMAGED,
		"the log after entry %llu is not what was written there: its chain differs, and "
		"nothing is dropped; put a backup of the data folder back",
		(unsigned long long)before);
}

static int phase_fold(struct compact *c)
{
	struct folding f = {c, 0};

	ledger_place(c->ledger, &c->place);
	uint64_t before = c->place.seq;
	int r = store_read(c->store, before, SIZE_MAX, fold_entry, &f);
	if (r && r != STOP)
		return c->error ? r : store_failed(c, r);
	r = fold_compare(c, before);
	if (r || c->place.seq < c->counts.to)
		return r;
	ledger_digest(c->ledger, &c->digest);
	return NEXT;
}

static void spend_ledger(struct compact *c)
{
	c->spent = c->ledger;
	c->ledger = NULL;
}

static int phase_write(struct compact *c)
{
	struct kban_span item;
	bool more = true;

	if (!c->writing) {
		ledger_writing_new(&c->writing, c->ledger);
		c->pages.seq = c->counts.to;
	}
	store_begin(c->store);
	for (uint32_t end = c->pages.n + step_size(c, STEP_WRITE); more && c->pages.n < end;) {
		more = ledger_writing_next(c->writing, &item);
		if (more)
			page_add(&c->pages, c->store, item);
		else
			page_flush(&c->pages, c->store);
	}
	page_end(&c->pages, c->store);
	int r = step_commit(c);
	if (r || more)
		return r;
	c->counts.pages = c->pages.n;
	ledger_writing_free(c->writing);
	c->writing = NULL;
	spend_ledger(c);
	return NEXT;
}

static int phase_prove(struct compact *c)
{
	struct kban_hash digest;
	struct kban_place place;
	int r = load_step(c, c->counts.to, &c->place.chain);

	if (r != NEXT)
		return r;
	ledger_digest(c->ledger, &digest);
	ledger_place(c->ledger, &place);
	if (!kban_hash_equal(&digest, &c->digest) || place.epoch != c->place.epoch)
		return state_damaged(&c->error, c->counts.to, SNAPSHOT_DIGEST);
	return NEXT;
}

static int phase_horizon(struct compact *c)
{
	store_begin(c->store);
	store_horizon(c->store, &c->place, c->accepted_ms);
	unfinished_put(c->store, c->place.seq);
	int r = step_commit(c);
	return r ? r : NEXT;
}

static int phase_evidence(struct compact *c)
{
	ledger_evidence_seqs(c->ledger, &c->evidence, &c->evidence_n);
	spend_ledger(c);
	return NEXT;
}

struct dropping {
	struct compact *c;
	size_t seen, n;
	uint64_t seqs[STEP_DROPS];
	bool end;
};

/* Both sides rise. */
static bool is_evidence(struct compact *c, uint64_t seq)
{
	while (c->evidence_at < c->evidence_n && c->evidence[c->evidence_at] < seq) {
		c->counts.missing++;
		c->evidence_at++;
	}
	bool found = c->evidence_at < c->evidence_n && c->evidence[c->evidence_at] == seq;
	c->evidence_at += found;
	return found;
}

static int drop_entry(void *arg, const struct kban_entry *e)
{
	struct dropping *d = arg;
	struct compact *c = d->c;

	d->end = e->seq > c->place.seq;
	if (d->end || d->n == step_size(c, STEP_DROPS) || ++d->seen > step_size(c, STEP_SEEN))
		return STOP;
	c->seen = e->seq;
	if (is_evidence(c, e->seq))
		c->counts.kept++;
	else
		d->seqs[d->n++] = e->seq;
	return 0;
}

static int phase_drop(struct compact *c)
{
	struct dropping d = {.c = c};
	int r = store_read(c->store, c->seen, SIZE_MAX, drop_entry, &d);

	if (r && r != STOP)
		return store_failed(c, r);
	if (d.n) {
		store_begin(c->store);
		for (size_t i = 0; i < d.n; i++)
			store_drop(c->store, d.seqs[i]);
		int failed = step_commit(c);
		if (failed)
			return failed;
		c->counts.dropped += d.n;
	}
	if (r == STOP && !d.end)
		return 0;
	c->counts.missing += c->evidence_n - c->evidence_at;
	return NEXT;
}

static int phase_end(struct compact *c)
{
	store_begin(c->store);
	unfinished_delete(c->store);
	int r = step_commit(c);
	return r ? r : COMPACT_DONE;
}

static int (*const phases[PHASES])(struct compact *c) = {
	[PHASE_SWEEP] = phase_sweep,	 [PHASE_MOVE] = phase_move,
	[PHASE_LOAD] = phase_load,	 [PHASE_FOLD] = phase_fold,
	[PHASE_WRITE] = phase_write,	 [PHASE_PROVE] = phase_prove,
	[PHASE_HORIZON] = phase_horizon, [PHASE_EVIDENCE] = phase_evidence,
	[PHASE_DROP] = phase_drop,	 [PHASE_CLEAR] = phase_sweep,
	[PHASE_END] = phase_end,
};

int compact_step(struct compact *c, char **error)
{
	if (c->spent) {
		ledger_free(c->spent);
		c->spent = NULL;
		return 0;
	}
	int r = store_head(c->store, &c->head);
	if (r)
		r = store_failed(c, r);
	else if (c->head.horizon != (c->phase > PHASE_HORIZON ? c->place.seq : c->counts.from))
		r = kban_explain(&c->error, -ESTALE,
				 "the horizon was moved while the log was compacted");
	else
		r = phases[c->phase](c);
	if (r == NEXT) {
		c->phase++;
		return 0;
	}
	*error = c->error;
	c->error = NULL;
	return r;
}

void compact_new(struct compact **out, struct store *s, const struct kban_key *root, uint64_t to)
{
	struct compact *c = kban_zalloc(sizeof(*c));
	struct store_head head = {0};

	c->store = s;
	c->root = *root;
	c->parts = 1;
	/* Fails in the first step too, if it fails here. */
	if (!store_head(s, &head))
		c->counts.from = head.horizon;
	c->counts.to = to > head.horizon ? to : head.horizon;
	if (c->counts.to > head.place.seq)
		c->counts.to = head.place.seq;
	*out = c;
}

void compact_slice(struct compact *c, unsigned parts)
{
	c->parts = parts;
}

void compact_counts(const struct compact *c, struct compact_counts *out)
{
	*out = c->counts;
}

void compact_free(struct compact *c)
{
	if (!c)
		return;
	ledger_writing_free(c->writing);
	ledger_loading_free(c->loading);
	ledger_free(c->ledger);
	ledger_free(c->spent);
	free(c->evidence);
	free(c->error);
	free(c);
}
