/* SPDX-License-Identifier: MPL-2.0
 *
 * The start: the state at the horizon, then the log folded on from there and compared with the
 * chain that was written; or, for an empty log, the genesis report. A log that an older broker
 * wrote has its outcomes written beside it on the way.
 */
#include <errno.h>
#include <string.h>

#include "broker/outcomes.h"
#include "broker/state.h"
#include "proto/log.h"
#include "store/compact.h"

#define FOLD_BATCH 1024

/* The log ----------------------------------------------------------------------------------- */

struct fold { /* one batch of the log, folded, and the chain that came out after each entry */
	struct ledger *ledger;
	struct store *outcomes; /* to which outcomes are added, in the open transaction; NULL: they
				   are there */
	uint64_t last;
	size_t n;
	uint64_t seqs[FOLD_BATCH];
	struct kban_hash chains[FOLD_BATCH];
	int bad;    /* kban_report_decode()'s result */
	bool newer; /* stopped before an entry that needs a newer program */
};

static int fold_entry(void *arg, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct fold *f = arg;
	struct ledger_verdict v;
	struct kban_place place;

	f->bad = kban_report_decode(&r, &e->sealed);
	f->newer = f->bad ? f->bad == KBAN_REPORT_UNKNOWN_EVENT : ledger_stops_at(f->ledger, e, r);
	if (f->bad || f->newer) {
		f->last = e->seq;
		return -EBADMSG;
	}
	ledger_apply(f->ledger, e, r, &v, NULL);
	if (f->outcomes)
		outcomes_put(f->outcomes, e->seq, &v);
	ledger_place(f->ledger, &place);
	f->last = e->seq;
	f->seqs[f->n] = e->seq;
	f->chains[f->n++] = place.chain;
	return 0;
}

/* The chain rests on everything before it: a batch is right if its last one is. *wrong: the first
 * bad seq. */
static int fold_compare(struct store *store, const struct fold *f, uint64_t *wrong)
{
	struct kban_hash stored;

	*wrong = 0;
	for (size_t i = f->n; i-- > 0;) {
		int r = store_chain(store, f->seqs[i], &stored);

		if (r)
			return r;
		if (kban_hash_equal(&stored, &f->chains[i]))
			return 0;
		*wrong = f->seqs[i];
	}
	return 0;
}

/* In words, for -EBADMSG of fold_entry(). */
static char *fold_refusal(const struct fold *f)
{
	if (f->newer)
		return kban_asprintf(
			"upgrade needed: from entry %llu on the log follows rules that this "
			"program "
			"(fold version %u) does not know; install a newer kban-broker on this host",
			(unsigned long long)f->last, kban_fold_newest);
	return kban_asprintf(
		"entry %llu of the log is no report (%s); put a backup of the data folder back",
		(unsigned long long)f->last, kban_report_result_name(f->bad));
}

/* A full disk is no reason not to serve: then the next start adds them. */
static int outcomes_commit(struct store *store, struct fold *f)
{
	int r = store_commit(store);

	if (r != STORE_FULL)
		return r;
	kban_warning("the disk is full: what became of older reports' events is not shown by "
		     "kbanctl log, and the log is not compacted, before the next start; make room "
		     "on the disk, then restart the broker");
	f->outcomes = NULL;
	return 0;
}

static int fold_read(struct store *store, struct fold *f, uint64_t *wrong)
{
	f->n = 0;
	*wrong = 0;
	if (f->outcomes)
		store_begin(store);
	int r = store_read(store, f->last, FOLD_BATCH, fold_entry, f);
	if (!r)
		r = fold_compare(store, f, wrong);
	if (!f->outcomes)
		return r;
	if (!r && !*wrong)
		return outcomes_commit(store, f);
	store_abort(store);
	return r;
}

static int fold_batch(struct store *store, struct fold *f, char **error)
{
	uint64_t wrong;
	int r = fold_read(store, f, &wrong);

	if (r == -EBADMSG && (f->bad || f->newer))
		*error = fold_refusal(f);
	else if (r)
		*error = kban_asprintf("the log cannot be read, or its outcomes not be written: "
				       "%s; make room on the "
				       "disk, or put a backup of the data folder back",
				       store_error(store));
	else if (wrong)
		*error = kban_asprintf(
			"entry %llu of the log is not what was written there: its chain differs; "
			"put a backup of the data folder back",
			(unsigned long long)wrong);
	return r ? r : wrong ? -EBADMSG : 0;
}

static int fold_from(struct broker *b, struct fold *f, uint64_t head, char **error)
{
	for (uint64_t before = UINT64_MAX; f->last != before && f->last < head;) {
		before = f->last;
		int r = fold_batch(b->store, f, error);

		if (r)
			return r;
	}
	return 0;
}

/* Every outcome stands beside the log now. */
static int outcomes_finish(struct store *store, struct fold *f, char **error)
{
	if (!f->outcomes)
		return 0;
	store_begin(store);
	outcomes_mark_complete(store);
	int r = outcomes_commit(store, f);
	if (r)
		*error = kban_asprintf("the log cannot be written: %s", store_error(store));
	return r;
}

int fold_log(struct broker *b, char **error)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	kban_auto(kban_free) void *memory = kban_zalloc(sizeof(struct fold));
	struct fold *f = memory;
	struct store_head head;
	bool complete;
	int r = store_head(b->store, &head);

	if (!r)
		r = outcomes_complete(b->store, &complete);
	if (r) {
		*error = kban_asprintf("the log cannot be read: %s", store_error(b->store));
		return r;
	}
	r = compact_load(b->store, &b->identity->root, &l, error);
	if (r)
		return r;
	*f = (struct fold){.ledger = l, .last = head.horizon};
	if (!complete && !b->ledger) /* at the start, not when a full disk has us fold anew */
		f->outcomes = b->store;
	r = fold_from(b, f, head.place.seq, error);
	if (!r)
		r = outcomes_finish(b->store, f, error);
	if (r)
		return r;
	b->outcomes_lack = !complete && !f->outcomes;
	ledger_free(b->ledger);
	b->ledger = l;
	l = NULL;
	b->horizon = b->counts.horizon = head.horizon;
	ledger_place(b->ledger, &b->durable);
	return 0;
}

/* Genesis ----------------------------------------------------------------------------------- */

static char *genesis_judge(const struct broker *b, const struct kban_sealed *s,
			   const struct kban_report *r)
{
	struct ledger_verdict v;

	if (!kban_key_equal(&r->author, &b->identity->root) || !kban_report_check(r, s))
		return kban_strdup(
			"the genesis report is not signed by the root key that the identity file "
			"names; take genesis and identity from the same kbanctl init");
	ledger_judge(b->ledger, broker_now(b), r, &v);
	if (v.refusal)
		return kban_asprintf(
			"the genesis report is refused (%s); make a new one with kbanctl init",
			kban_refusal_name(v.refusal));
	if (!v.loggable)
		return kban_asprintf("nothing in the genesis report counts (%s); make a new one "
				     "with kbanctl init",
				     kban_outcome_name(v.outcomes[0]));
	return NULL;
}

static int genesis_append(struct broker *b, const struct kban_sealed *s,
			  const struct kban_report *r)
{
	struct kban_entry entry = {.seq = 1, .accepted_ms = broker_now(b), .sealed = *s};
	struct kban_place place;

	struct ledger_verdict v;

	ledger_apply(b->ledger, &entry, r, &v, NULL);
	ledger_place(b->ledger, &place);
	store_begin(b->store);
	store_append(b->store, &entry, &place);
	outcomes_put(b->store, entry.seq, &v);
	int result = store_commit(b->store);
	if (!result)
		b->durable = place;
	return result;
}

int genesis_take(struct broker *b, const struct kban_sealed *s, char **error)
{
	kban_auto(kban_report_free) struct kban_report *report = NULL;

	if (!s) {
		*error = kban_strdup(
			"the log is empty and there is no genesis report; set genesis to the file "
			"that kbanctl init wrote");
		return -ENOENT;
	}
	int r = kban_report_decode(&report, s);
	if (r) {
		*error = kban_asprintf(
			"the genesis report cannot be used (%s); make a new one with kbanctl init",
			kban_report_result_name(r));
		return -EBADMSG;
	}
	*error = genesis_judge(b, s, report);
	if (*error)
		return -EBADMSG;
	r = genesis_append(b, s, report);
	if (r)
		*error = kban_asprintf("the log cannot be written: %s", store_error(b->store));
	else
		kban_info("a new log begins with the genesis report; if this cluster has had a log "
			  "before, stop this "
			  "broker and put its data folder back");
	return r;
}
