/* SPDX-License-Identifier: MPL-2.0
 *
 * A ledger as bytes: the state at a place in the log, written as items, read back, and proved. Pure:
 * no clock, no I/O. LEDGER.md, "Items" and "What compaction keeps", is the rule.
 *
 * An item is one row of the ledger, complete: a type byte and its fields, as the digest hashes them.
 * So the digest is the sum over the items, and equal items are equal states, which fold alike ever
 * after. The first item is the header (type 0), which is not in the digest: it says which place this
 * is and what the digest must be. The others come in the one order in which each can be read knowing
 * those before it; any other order, a row twice, or a number outside its limits is `damaged`.
 *
 * Reading checks form, limits, references and the digest: what is read can be folded on, whatever the
 * bytes were. It does not prove that the state is true. Whoever takes a state from somebody else
 * also asks for its evidence: the signed reports that its rows name. Then no ban, member, range,
 * policy or version can be invented; numbers that no report says (strikes, ends, counters, omitted
 * rows) are confirmed by another node's signed digest only.
 *
 * Results: 0; > 0 is enum snapshot_result. Nothing here fails otherwise.
 */
#ifndef KBAN_STORE_SNAPSHOT_H
#define KBAN_STORE_SNAPSHOT_H

#include "store/ledger.h"

#define LEDGER_STATE_FORMAT 1U	/* in the header; a program refuses a higher one */
#define LEDGER_ITEM_MAX	    640 /* bytes of one item; none of format 1 is that long */

enum snapshot_result {
	SNAPSHOT_DAMAGED = 1, /* not items, or not in a form that a fold can reach */
	SNAPSHOT_NEWER,	      /* a state format or fold version that this program does not know: upgrade needed */
	SNAPSHOT_OTHER_ROOT,  /* another cluster's: its root key is not ours */
	SNAPSHOT_DIGEST,      /* its digest is not the one that its header names */
	SNAPSHOT_UNPROVEN,    /* a row's report is missing, or does not say what the row says */
};
const char *snapshot_result_name(int result);

/* Out ------------------------------------------------------------------------------------------------ */

/* Item after item. The ledger is borrowed and must not change until the writing is freed. */
struct ledger_writing;
void ledger_writing_new(struct ledger_writing **out, const struct ledger *l);
/* The next item, header first; it lives until the next call. False: that was all. */
bool ledger_writing_next(struct ledger_writing *w, struct kban_span *item);
void ledger_writing_free(struct ledger_writing *w);
KBAN_DEFINE_AUTO(struct ledger_writing *, ledger_writing_free)

/* All of them in one go; fn stops the walk by returning nonzero, which is returned. */
int ledger_items_each(const struct ledger *l, int (*fn)(void *arg, struct kban_span item), void *arg);

/* In ------------------------------------------------------------------------------------------------- */

/* The header alone: which place, and when (ledger time). */
struct ledger_header {
	uint64_t time_ms;
	struct kban_place place;
	struct kban_hash digest;
};
int ledger_header_read(struct ledger_header *out, struct kban_span item) kban_must_check;

/* A ledger that is being read. After any result but 0, all that is left to do is to free it. */
struct ledger_loading;
void ledger_loading_new(struct ledger_loading **out, const struct kban_key *root);
int ledger_loading_item(struct ledger_loading *d, struct kban_span item) kban_must_check;
/* After a result other than 0: what is wrong, "a ban is wider than its author may"; a constant. */
const char *ledger_loading_why(const struct ledger_loading *d);
/* After the last item: checks what concerns the whole, and the digest. The ledger is the caller's; its place
 * is the header's, and it has no mark. The loading is still to be freed. */
int ledger_loading_end(struct ledger_loading *d, struct ledger **out) kban_must_check;
void ledger_loading_free(struct ledger_loading *d);
KBAN_DEFINE_AUTO(struct ledger_loading *, ledger_loading_free)

/* Evidence ------------------------------------------------------------------------------------------- */

/* Calls fn with each seq that the item's row rests on (none is 0; one may come twice). */
int ledger_item_evidence(struct kban_span item, void (*fn)(void *arg, uint64_t seq), void *arg) kban_must_check;
/* All of a ledger's: rising, each once; *out is the caller's to free() (NULL when *n is 0). */
void ledger_evidence_seqs(const struct ledger *l, uint64_t **out, size_t *n);

struct ledger_fault { /* why a state is unproven */
	uint64_t seq;	 /* of the report in question */
	const char *row; /* "ban", "safe range", ... */
	const char *why; /* the end of a sentence about that report: "does not ban this prefix" */
};

/* Proving report after report, so that a caller can do it in slices. The ledger is borrowed and must not
 * change until the proof is freed. */
struct ledger_proof;
void ledger_proof_new(struct ledger_proof **out, const struct ledger *l);
/* The seq whose report is wanted next (rising); 0: all is proved. */
uint64_t ledger_proof_wants(const struct ledger_proof *p);
/* The report of the entry with that seq, NULL when there is none. The caller has checked its signature.
 * 0 or SNAPSHOT_UNPROVEN, and then *fault is set. */
int ledger_proof_take(struct ledger_proof *p, const struct kban_report *r, struct ledger_fault *fault) kban_must_check;
void ledger_proof_free(struct ledger_proof *p);
KBAN_DEFINE_AUTO(struct ledger_proof *, ledger_proof_free)

/* All in one go. lookup gives the decoded report of that seq, whose signature it has checked, or NULL; it is
 * called once per seq, rising, and what it gave must live until its next call. */
int ledger_evidence_check(const struct ledger *l, const struct kban_report *(*lookup)(void *arg, uint64_t seq),
			  void *arg, struct ledger_fault *fault) kban_must_check;

#endif
