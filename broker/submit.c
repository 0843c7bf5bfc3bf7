/* SPDX-License-Identifier: MPL-2.0
 *
 * Reports: checked, judged, folded ahead, made durable together, and answered. A receipt leaves at
 * once only while nothing is staged: otherwise it could tell of what a full disk then takes back.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/outcomes.h"
#include "broker/state.h"
#include "proto/log.h"

/* Receipts ---------------------------------------------------------------------------------- */

static void waiting_free(struct waiting *w)
{
	free(w->bytes);
	free(w->outcomes);
}

static void receipt_send(struct broker *b, struct peer *p, const struct waiting *w)
{
	struct kban_message m = {
		.kind = KBAN_MSG_RECEIPT,
		.receipt =
			{
				.hash = w->hash,
				.refusal = w->refusal,
				.outcomes_n = w->outcomes_n,
				.outcomes = w->outcomes,
				.seq = w->seq,
				.accepted_ms = w->accepted_ms,
				.epoch = w->epoch,
				.detail = kban_text(w->detail),
			},
	};

	b->counts.refused[w->refusal]++;
	for (size_t i = 0; i < w->outcomes_n; i++)
		b->counts.outcomes[w->outcomes[i]]++;
	b->counts.receipts++;
	peer_send(b, p, &m);
	if (p->submitted)
		peer_cut(b, p);
}

static bool waiting_full(const struct broker *b)
{
	return b->waiting_n >= BROKER_WAITING_MAX;
}

/* Takes over what w owns. */
static void waiting_add(struct broker *b, struct waiting *w)
{
	if (b->waiting_n == b->waiting_cap) {
		b->waiting_cap = b->waiting_cap ? b->waiting_cap * 2 : 16;
		b->waiting = kban_realloc(b->waiting, b->waiting_cap * sizeof(*b->waiting));
	}
	b->waiting[b->waiting_n++] = *w;
	b->waiting_bytes += w->len;
}

/* Takes over what w owns. */
static void receipt(struct broker *b, struct peer *p, struct waiting *w)
{
	if (b->staged && !waiting_full(b)) {
		waiting_add(b, w);
		return;
	}
	receipt_send(b, p, w);
	waiting_free(w);
}

void submit_defer(struct broker *b, struct peer *p, const uint8_t *bytes, size_t len)
{
	if (waiting_full(b) || b->waiting_bytes + len > BROKER_WAITING_BYTES_MAX) {
		peer_deny(b, p, KBAN_REFUSAL_BUSY, "too much is waiting for the disk");
		peer_cut(b, p);
		return;
	}
	struct waiting w = {.peer = p->id, .bytes = kban_memdup(bytes, len), .len = len};

	waiting_add(b, &w);
}

/* Judging ----------------------------------------------------------------------------------- */

static void outcomes_take(struct waiting *w, const struct ledger_verdict *v)
{
	w->outcomes_n = v->outcomes_n;
	w->outcomes = kban_memdup(v->outcomes, v->outcomes_n * sizeof(*v->outcomes));
}

static void on_principal(void *arg, const struct kban_key *key)
{
	struct broker *b = arg;

	(void)key;
	b->principals_changed = true;
}

static void stage(struct broker *b, const struct kban_entry *entry, const struct kban_report *r,
		  struct ledger_verdict *v, struct waiting *w)
{
	struct ledger_observer observer = {.principal = on_principal, .arg = b};
	struct kban_place place;

	if (!b->staged++)
		store_begin(b->store);
	b->staged_events += r->events_n;
	b->staged_bytes += entry->sealed.report_len;
	ledger_apply(b->ledger, entry, r, v, &observer);
	ledger_place(b->ledger, &place);
	store_append(b->store, entry, &place);
	outcomes_put(b->store, entry->seq, v);
	stream_stage(b, entry);
	outcomes_take(w, v);
	w->seq = entry->seq;
	w->accepted_ms = entry->accepted_ms;
	w->epoch = place.epoch;
}

static int take_accepted(void *arg, const struct kban_entry *e)
{
	*(uint64_t *)arg = e->accepted_ms;
	return 0;
}

static void duplicate(struct broker *b, uint64_t seq, struct waiting *w)
{
	struct kban_place place;

	ledger_place(b->ledger, &place);
	w->seq = seq;
	w->epoch = place.epoch;
	if (stream_entry(b, seq, take_accepted, &w->accepted_ms))
		w->accepted_ms = 0; /* compacted away: only its seq is known */
}

static int same_hash(void *arg, const struct kban_entry *e)
{
	struct waiting *w = arg;
	struct kban_hash hash;

	kban_sealed_hash(&hash, &e->sealed);
	if (kban_hash_equal(&hash, &w->hash))
		w->accepted_ms = e->accepted_ms;
	return 0;
}

static void invitation_used(struct broker *b, const struct peer *p,
			    const struct ledger_invitation *i, struct waiting *w)
{
	char when[32], by[KBAN_FINGERPRINT_TEXT];
	time_t seconds = (time_t)(i->used_ms / 1000);
	struct tm tm;

	if (!stream_entry(b, i->used_seq, same_hash, w) && w->accepted_ms) {
		w->refusal = KBAN_REFUSAL_DUPLICATE;
		w->seq = i->used_seq;
		return;
	}
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	kban_fingerprint(by, &i->used_by);
	snprintf(w->detail, sizeof(w->detail), "used %s by %s", when, by);
	w->refusal = KBAN_REFUSAL_INVITATION_USED;
	if (!peer_may_log(b))
		return;
	kban_warning("somebody at %s tried to join with the token of %s, which was %s already: if "
		     "that was not "
		     "you, revoke %s and look for who has the token",
		     p->address, i->name, w->detail, i->name);
}

static void judge(struct broker *b, const struct peer *p, const struct caller *who,
		  const struct kban_sealed *s, const struct kban_report *r, struct waiting *w)
{
	struct kban_place place;
	struct ledger_verdict v;

	ledger_place(b->ledger, &place);
	struct kban_entry entry = {place.seq + 1, broker_now(b), *s};
	w->judged = true;
	ledger_judge(b->ledger, entry.accepted_ms, r, &v);
	w->refusal = v.refusal;
	if (v.refusal == KBAN_REFUSAL_DUPLICATE)
		duplicate(b, v.duplicate_seq, w);
	else if (v.refusal)
		return;
	else if (version_is_early(b, &entry, r, &v, w->detail, sizeof(w->detail)))
		w->refusal = KBAN_REFUSAL_UPGRADE_NEEDED;
	else if (v.loggable)
		stage(b, &entry, r, &v, w);
	else if (who->invitation && v.outcomes_n == 1 && v.outcomes[0] == KBAN_OUTCOME_USED)
		invitation_used(b, p, who->invitation, w);
	else
		outcomes_take(w, &v);
}

static enum kban_refusal decode_refusal(int result)
{
	static const enum kban_refusal refusals[] = {
		[KBAN_REPORT_MALFORMED] = KBAN_REFUSAL_MALFORMED,
		[KBAN_REPORT_TOO_LARGE] = KBAN_REFUSAL_TOO_LARGE,
		[KBAN_REPORT_UNKNOWN_EVENT] = KBAN_REFUSAL_UNKNOWN_EVENT,
		[KBAN_REPORT_BAD_SIGNATURE] = KBAN_REFUSAL_BAD_SIGNATURE,
	};

	return result > 0 && (size_t)result < KBAN_ARRAY_LEN(refusals) ? refusals[result]
								       : KBAN_REFUSAL_MALFORMED;
}

/* Form, author, signature: what needs no judgement. */
static enum kban_refusal check(const struct caller *who, const struct kban_sealed *s,
			       struct kban_report **out)
{
	const struct kban_key *sender = who->principal ? &who->principal->key
						       : &who->invitation->key;
	int r = kban_report_decode(out, s);

	if (r)
		return decode_refusal(r);
	if (!kban_key_equal(&(*out)->author, sender))
		return KBAN_REFUSAL_NOT_YOURS;
	if (!kban_report_check(*out, s))
		return KBAN_REFUSAL_BAD_SIGNATURE;
	return KBAN_REFUSAL_NONE;
}

/* The next try comes later, and twice as late each time. */
static void full_again(struct broker *b)
{
	b->full_wait_ms = b->full_wait_ms ? b->full_wait_ms * 2 : BROKER_FULL_MIN_MS;
	if (b->full_wait_ms > BROKER_FULL_MAX_MS)
		b->full_wait_ms = BROKER_FULL_MAX_MS;
	b->full_retry_ms = kban_boot_ms(b->clock) + b->full_wait_ms;
	b->disk_tried = false;
}

/* Nothing is folded ahead for a disk that is known to be full: taking it back folds the whole log
 * anew. First a row has to find room, and leaves its pages to what comes next. */
static int room_try(struct broker *b)
{
	static const uint8_t zeros[BROKER_FULL_TRY_BYTES];
	static const char key[] = "w";

	store_begin(b->store);
	store_put(b->store, kban_span(key, 1), kban_span(zeros, sizeof(zeros)));
	int r = store_commit(b->store);
	if (r)
		return r;
	store_begin(b->store);
	store_delete(b->store, kban_span(key, 1));
	return store_commit(b->store);
}

static bool disk_has_room(struct broker *b)
{
	if (!b->disk_full || b->disk_tried)
		return true;
	if (kban_boot_ms(b->clock) < b->full_retry_ms)
		return false;
	int r = room_try(b);
	if (r == STORE_FULL) {
		full_again(b);
	} else if (r) {
		kban_error("the log cannot be written: %s", store_error(b->store));
		b->failed = r > 0 ? -EIO : r;
	}
	b->disk_tried = !r;
	return b->disk_tried;
}

static enum kban_refusal room(struct broker *b)
{
	if (!disk_has_room(b))
		return KBAN_REFUSAL_DISK_FULL;
	if (b->staged >= BROKER_BATCH_MAX || b->staged_bytes >= BROKER_BATCH_BYTES_MAX ||
	    waiting_full(b))
		return KBAN_REFUSAL_BUSY;
	return KBAN_REFUSAL_NONE;
}

static bool refusal_is_bad(enum kban_refusal r)
{
	return r == KBAN_REFUSAL_MALFORMED || r == KBAN_REFUSAL_TOO_LARGE ||
	       r == KBAN_REFUSAL_BAD_SIGNATURE || r == KBAN_REFUSAL_NOT_YOURS;
}

/* What the ledger said no to is kept for `refused`, for as long as it is not in the log. A
 * duplicate is there. */
static void remember(struct broker *b, const struct kban_sealed *s, const struct kban_report *r,
		     const struct waiting *w)
{
	struct refused_row row = {
		.at_ms = broker_now(b),
		.refusal = w->refusal,
		.sealed = *s,
		.outcomes_n = w->outcomes_n,
		.outcomes = w->outcomes,
	};

	if (w->seq)
		refused_forget(b->refused, &w->hash);
	else
		refused_add(b->refused, &w->hash, &r->author, &row);
}

void submit_receive(struct broker *b, struct peer *p, const struct caller *who,
		    const struct kban_sealed *s)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct waiting w = {.peer = p->id};

	p->submitted = who->invitation;
	kban_sealed_hash(&w.hash, s);
	w.refusal = check(who, s, &r);
	bool bad = refusal_is_bad(w.refusal);
	if (!w.refusal)
		w.refusal = room(b);
	if (!w.refusal) {
		judge(b, p, who, s, r, &w);
		remember(b, s, r, &w);
	}
	receipt(b, p, &w);
	if (bad)
		peer_bad(b, p);
}

void submit_revoked(struct broker *b, struct peer *p, const struct kban_sealed *s)
{
	struct waiting w = {.peer = p->id, .refusal = KBAN_REFUSAL_REVOKED, .judged = true};

	kban_sealed_hash(&w.hash, s);
	receipt(b, p, &w);
}

/* The commit -------------------------------------------------------------------------------- */

bool broker_pending(const struct broker *b)
{
	return b->staged || b->waiting_n;
}

static void committed(struct broker *b)
{
	ledger_place(b->ledger, &b->durable);
	b->counts.commits++;
	b->counts.entries += b->staged;
	b->counts.events += b->staged_events;
	if (!b->disk_full)
		return;
	kban_info("the disk has room again: reports are taken");
	b->disk_full = b->counts.disk_full = b->disk_tried = false;
	b->full_wait_ms = 0;
}

/* What was folded ahead never was. */
static int disk_full(struct broker *b)
{
	kban_auto(kban_free) void *error = NULL;
	char *sentence = NULL;

	if (!b->disk_full)
		kban_error("the disk is full: %s; reports are refused with disk-full until there "
			   "is room",
			   store_error(b->store));
	b->disk_full = b->counts.disk_full = true;
	full_again(b);
	stream_unstage(b);
	b->principals_changed = false;
	for (size_t i = 0; i < b->waiting_n; i++) {
		struct waiting *w = &b->waiting[i];

		if (!w->judged)
			continue;
		free(w->outcomes);
		*w = (struct waiting){
			.peer = w->peer, .hash = w->hash, .refusal = KBAN_REFUSAL_DISK_FULL};
	}
	int r = fold_log(b, &sentence);
	error = sentence;
	if (r)
		kban_error("%s", sentence);
	return r > 0 ? -EIO : r;
}

static int commit_staged(struct broker *b)
{
	int r = store_commit(b->store);

	if (r == STORE_FULL) {
		r = disk_full(b);
	} else if (r) {
		kban_error("the log cannot be written: %s", store_error(b->store));
		r = r > 0 ? -EIO : r;
	} else {
		committed(b);
	}
	b->staged = 0;
	b->staged_events = 0;
	b->staged_bytes = 0;
	return r;
}

/* The entry that revokes it is the last thing that a principal gets. */
static void cut_revoked(struct broker *b)
{
	struct peer *p, *next;
	struct caller who;

	if (!b->principals_changed)
		return;
	b->principals_changed = false;
	HASH_ITER (hh, b->peers, p, next) {
		if (p->cut)
			continue;
		peer_caller(b, &p->member->curve, &who);
		bool over = who.invitation ? who.invitation->revoked_seq
					   : who.refusal != KBAN_REFUSAL_NONE;

		if (!over)
			continue;
		kban_info("%s at %s is revoked; it is cut off", peer_name(b, p), p->address);
		if (!who.principal || !stream_last_words(b, p, who.principal->revoked_seq))
			peer_deny(b, p, KBAN_REFUSAL_REVOKED, "your key was revoked");
		peer_cut(b, p);
	}
}

static void answer_waiting(struct broker *b, const struct waiting *list, size_t n, bool messages)
{
	for (size_t i = 0; i < n; i++) {
		const struct waiting *w = &list[i];
		struct peer *p = peer_find(b, w->peer);

		if (!p || !w->bytes != !messages)
			continue;
		if (messages)
			core_resume(b, p, w->bytes, w->len);
		else
			receipt_send(b, p, w);
	}
}

int broker_commit(struct broker *b)
{
	int r = b->failed;

	if (!r && b->staged)
		r = commit_staged(b);

	if (r)
		return r;
	struct waiting *list = b->waiting;
	size_t n = b->waiting_n;

	b->waiting = NULL;
	b->waiting_n = b->waiting_cap = b->waiting_bytes = 0;
	answer_waiting(b, list, n, false);
	cut_revoked(b);
	stream_feed_all(b);
	answer_waiting(b, list, n, true);
	waits_wake(b);
	assert(!b->staged && !b->waiting_n);
	for (size_t i = 0; i < n; i++)
		waiting_free(&list[i]);
	free(list);
	peers_sweep(b);
	return 0;
}

void submit_free(struct broker *b)
{
	if (b->staged)
		store_abort(b->store);
	for (size_t i = 0; i < b->waiting_n; i++)
		waiting_free(&b->waiting[i]);
	free(b->waiting);
}
