/* SPDX-License-Identifier: MPL-2.0
 *
 * Taking a broker's state: for a node whose place lies below the broker's horizon, where the log is
 * no more. Pages, then evidence; one question at a time. store/install.h checks and stores what
 * comes; here are the talk with the broker, and the bounds of what it may send: an answer is
 * bounded by the wire, the pages by TRANSFER_PAGES_MAX (the ledger that they become is in memory
 * before their evidence is known), the evidence by what the pages rest on.
 *
 * Whatever is wrong with it, this node goes on enforcing what it has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/state.h"
#include "proto/log.h"
#include "store/install.h"

#define TRANSFER_PAGES_MAX    20480U /* 640 MiB: full tables of bans, strikes and unbans */
#define TRANSFER_EMPTY_MAX    1000U  /* answers in a row that bring nothing */
#define TRANSFER_ANSWER_MS    30000U /* without an answer: it, or the question, was lost */
#define TRANSFER_RESTARTS_MAX 16U    /* because the broker's horizon moved; on one connection */

enum transfer_phase {
	TRANSFER_CLEARING, /* our own store finishes what is half done in it */
	TRANSFER_PAGES,
	TRANSFER_EVIDENCE,
	TRANSFER_PROVED,
};

struct transfer {
	enum transfer_phase phase;
	uint64_t after;	   /* of the question on its way */
	uint64_t asked_ms; /* boot clock */
	unsigned empty, restarts, pages;
	bool placed;
	uint64_t proved;	 /* the newest entry of the evidence so far */
	struct kban_place place; /* the horizon that the state is of */
	struct kban_hash digest;
	struct install *install;
};

static void ask(struct node *n, uint64_t after)
{
	struct kban_message m = {.kind = KBAN_MSG_QUERY};

	m.query.kind = KBAN_QUERY_STATE;
	m.query.after = after;
	n->transfer->after = after;
	n->transfer->asked_ms = kban_boot_ms(n->clock);
	link_send(n, &m);
}

/* First what an earlier attempt left has to go: its pages would be taken for this one's. */
static void begin_anew(struct node *n)
{
	struct transfer *t = n->transfer;

	install_free(t->install);
	*t = (struct transfer){.phase = TRANSFER_CLEARING, .restarts = t->restarts};
	n->tidy.full = false;
	tidy_stop(n);
}

void transfer_begin(struct node *n)
{
	/* Proved on an earlier connection: it is put in place at the next tick. */
	if (n->transfer)
		return;
	kban_info("the broker's log begins later than this node's place in it, entry %llu: taking "
		  "the state there",
		  (unsigned long long)node_seq(n));
	n->transfer = kban_zalloc(sizeof(*n->transfer));
	begin_anew(n);
}

void transfer_end(struct node *n)
{
	if (!n->transfer)
		return;
	install_free(n->transfer->install);
	free(n->transfer);
	n->transfer = NULL;
	/* Pages and evidence of a state that was not taken are for a job to remove. */
	n->tidy.finished = false;
	n->tidy.next_ms = 0;
}

void transfer_lost(struct node *n)
{
	if (n->transfer && n->transfer->phase != TRANSFER_PROVED)
		transfer_end(n);
}

/* What goes wrong ------------------------------------------------------------------------------ */

static void refuse(struct node *n, enum node_link trouble, const char *why)
{
	kban_auto(kban_free) void *owned = NULL;
	char *text = kban_asprintf("%s; nothing of it is taken, and this node keeps enforcing what "
				   "it has; it asks again later; %s",
				   why,
				   trouble == NODE_UPGRADE_NEEDED ? "upgrade kban-node"
								  : "run: kbanctl cluster status");

	owned = text;
	(void)owned;
	transfer_end(n);
	link_trouble(n, trouble, text);
}

/* No fault of the broker's: the next attempt is far off all the same. */
static void give_up(struct node *n, const char *why)
{
	transfer_end(n);
	link_drop(n, why);
	n->link.next_try_ms = kban_boot_ms(n->clock) + NODE_SLOW_MS;
}

static void no_room(struct node *n, const char *why)
{
	kban_error("%s: free space on this server's disk; until then this node keeps enforcing "
		   "what it has",
		   why);
	n->tidy.full = true;
	give_up(n, "its state cannot be stored");
}

/* r and *error are of store/install.h. */
static void fail(struct node *n, int r, char *error)
{
	kban_auto(kban_free) void *owned = error;

	(void)owned;
	if (r < 0) {
		n->failed = r;
		kban_error("%s", error);
	} else if (r == STORE_FULL) {
		no_room(n, error);
	} else {
		refuse(n, r == STORE_NEWER_FORMAT ? NODE_UPGRADE_NEEDED : NODE_FORK, error);
	}
}

/* Answers -------------------------------------------------------------------------------------- */

/* The first answer says which place it is; another place later means that the log was compacted
 * meanwhile. */
static bool same_place(const struct transfer *t, const struct kban_answer *a)
{
	return t->place.epoch == a->place.epoch && t->place.seq == a->place.seq &&
	       kban_hash_equal(&t->place.chain, &a->place.chain) &&
	       kban_hash_equal(&t->digest, &a->digest);
}

static bool place_ok(struct node *n, const struct kban_answer *a)
{
	struct transfer *t = n->transfer;
	struct kban_place own;

	if (t->placed && same_place(t, a))
		return true;
	if (t->placed && ++t->restarts > TRANSFER_RESTARTS_MAX) {
		link_drop(n, "its log is compacted faster than its state can be read");
		return false;
	}
	if (t->placed) {
		kban_info("the broker's log was compacted meanwhile: taking its state from the "
			  "start");
		begin_anew(n);
		return false;
	}
	ledger_place(n->ledger, &own);
	if (a->place.seq <= own.seq || a->place.epoch < own.epoch) {
		refuse(n, NODE_FORK, "the broker gives a state that is older than this node's own");
		return false;
	}
	t->placed = true;
	t->place = a->place;
	t->digest = a->digest;
	return true;
}

static int take_pages(struct node *n, const struct kban_answer *a, char **error)
{
	struct transfer *t = n->transfer;

	if (!a->state_n)
		return 0;
	if (t->phase != TRANSFER_PAGES || t->pages + a->state_n > TRANSFER_PAGES_MAX) {
		*error = kban_asprintf("the broker's state at entry %llu is refused: %s",
				       (unsigned long long)t->place.seq,
				       t->phase == TRANSFER_PAGES
					       ? "it is larger than any can be"
					       : "its pages go on behind the evidence");
		return STORE_DAMAGED;
	}
	t->pages += (unsigned)a->state_n;
	return install_pages(t->install, a->state, a->state_n, error);
}

/* Rising, up to the state's place: so it comes to an end, whether all of it is wanted or not. */
static bool evidence_rises(struct transfer *t, const struct kban_answer *a)
{
	for (size_t i = 0; i < a->proofs_n; i++) {
		if (a->proofs[i].seq <= t->proved || a->proofs[i].seq > t->place.seq)
			return false;
		t->proved = a->proofs[i].seq;
	}
	return true;
}

static int take_evidence(struct node *n, const struct kban_answer *a, char **error)
{
	struct transfer *t = n->transfer;
	int r = 0;

	if (t->phase == TRANSFER_PAGES && (a->proofs_n || !a->next)) {
		r = install_pages_end(t->install, error);
		t->phase = TRANSFER_EVIDENCE;
	}
	if (r || !a->proofs_n)
		return r;
	if (evidence_rises(t, a))
		return install_entries(t->install, a->proofs, a->proofs_n, error);
	*error = kban_asprintf("the broker's state at entry %llu is refused: the entries on which "
			       "it rests do not rise",
			       (unsigned long long)t->place.seq);
	return STORE_DAMAGED;
}

static char *incomplete(const struct transfer *t)
{
	return kban_asprintf("the broker's state at entry %llu is refused: entry %llu, on which it "
			     "rests, is missing",
			     (unsigned long long)t->place.seq,
			     (unsigned long long)install_wants(t->install));
}

static void go_on(struct node *n, const struct kban_answer *a)
{
	struct transfer *t = n->transfer;

	if (t->phase == TRANSFER_EVIDENCE && !install_wants(t->install)) {
		t->phase = TRANSFER_PROVED;
	} else if (!a->next) {
		fail(n, STORE_DAMAGED, incomplete(t));
	} else if (!a->state_n && !a->proofs_n && ++t->empty > TRANSFER_EMPTY_MAX) {
		link_drop(n, "its state does not come to an end");
	} else {
		if (a->state_n || a->proofs_n)
			t->empty = 0;
		ask(n, a->next);
	}
}

void transfer_answer(struct node *n, const struct kban_answer *a)
{
	struct transfer *t = n->transfer;
	char *error = NULL;

	if (!t || (t->phase != TRANSFER_PAGES && t->phase != TRANSFER_EVIDENCE))
		return;
	/* The answer before, twice: `next` never names the page that it is on. */
	if (t->after && a->next == t->after)
		return;
	if (!place_ok(n, a))
		return;
	int r = take_pages(n, a, &error);

	if (!r)
		r = take_evidence(n, a, &error);
	if (r)
		fail(n, r, error);
	else
		go_on(n, a);
}

/* In place ------------------------------------------------------------------------------------- */

static bool is_place(const struct ledger *l, const struct kban_place *place,
		     const struct kban_hash *digest)
{
	struct kban_place at;
	struct kban_hash own;

	ledger_place(l, &at);
	ledger_digest(l, &own);
	return at.epoch == place->epoch && at.seq == place->seq &&
	       kban_hash_equal(&at.chain, &place->chain) && kban_hash_equal(&own, digest);
}

static const char *refusal_of(const struct node *n, const struct ledger *l)
{
	if (!is_place(l, &n->transfer->place, &n->transfer->digest))
		return "it is of another place than the broker said";
	return adopt_contradiction(n, l);
}

/* One transaction: before it the store is what it was, after it nothing is missing. */
static int put_in_place(struct node *n)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct transfer *t = n->transfer;

	install_begin(t->install);
	install_ledger(t->install, &l);
	const char *why = refusal_of(n, l);

	if (why) {
		store_abort(n->store);
		fail(n, STORE_DAMAGED,
		     kban_asprintf("the broker's state at entry %llu is refused: %s",
				   (unsigned long long)t->place.seq, why));
		return 0;
	}
	confirm_put(n, t->place.seq);
	int r = store_commit(n->store);

	if (r) {
		fail(n, r,
		     kban_asprintf("the broker's state cannot be stored: %s",
				   store_error(n->store)));
		return n->failed;
	}
	transfer_end(n);
	adopt_ledger(n, l);
	l = NULL;
	link_subscribe(n);
	return 0;
}

static int begin_pages(struct node *n)
{
	struct transfer *t = n->transfer;

	install_new(&t->install, n->store, &n->config.identity->root);
	if (!n->confirm.wanted)
		install_witness(t->install);
	t->phase = TRANSFER_PAGES;
	n->link.heard_ms = kban_boot_ms(n->clock);
	ask(n, 0);
	return 0;
}

static int clear(struct node *n)
{
	int r = tidy_clear(n);

	/* The broker has nothing to say meanwhile. */
	n->link.heard_ms = kban_boot_ms(n->clock);
	if (!r)
		return begin_pages(n);
	if (r == STORE_FULL)
		no_room(n, "what was left of an earlier state cannot be removed");
	else if (r != TIDY_BUSY)
		give_up(n, "this node's replica is damaged");
	return r < 0 ? r : 0;
}

/* Rows that wait for the disk belong to the ledger that goes: they come first. */
int transfer_tick(struct node *n)
{
	if (!n->transfer)
		return 0;
	if (n->transfer->phase == TRANSFER_PAGES || n->transfer->phase == TRANSFER_EVIDENCE) {
		if (kban_boot_ms(n->clock) - n->transfer->asked_ms >= TRANSFER_ANSWER_MS)
			link_drop(n, "it does not answer the question about its state");
		return 0;
	}
	if (n->disk_full)
		return 0; /* node_tick() tries again */
	int r = stage_empty(&n->stage) ? 0 : node_commit(n);

	if (r)
		return r < 0 ? r : 0;
	return n->transfer->phase == TRANSFER_PROVED ? put_in_place(n) : clear(n);
}
