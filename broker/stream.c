/* SPDX-License-Identifier: MPL-2.0
 *
 * The log on its way to those who follow it. The newest entries are in memory (the tail); older
 * ones are read from the store in batches, of which the last one is kept, so that many who start at
 * the same place share it. What is on the way to one peer is bounded by its window, in messages,
 * and in bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/state.h"
#include "proto/log.h"

#define READ_ENOUGH 1000 /* store_read() was stopped by us */

static struct tail_entry *entry_copy(const struct kban_entry *e)
{
	struct tail_entry *t = kban_zalloc(sizeof(*t) + e->sealed.report_len + KBAN_SIGNATURE_SIZE);

	t->len = e->sealed.report_len + KBAN_SIGNATURE_SIZE;
	memcpy(t->bytes, e->sealed.report, e->sealed.report_len);
	memcpy(t->bytes + e->sealed.report_len, e->sealed.signature, KBAN_SIGNATURE_SIZE);
	t->entry = *e;
	t->entry.sealed.report = t->bytes;
	t->entry.sealed.signature = t->bytes + e->sealed.report_len;
	return t;
}

/* The tail ---------------------------------------------------------------------------------- */

static struct tail_entry **tail_slot(struct tail *t, uint64_t seq)
{
	return &t->slots[seq % BROKER_TAIL_MAX];
}

static void tail_drop(struct tail *t, uint64_t seq)
{
	struct tail_entry **slot = tail_slot(t, seq);

	t->bytes -= (*slot)->len;
	free(*slot);
	*slot = NULL;
}

static bool tail_has(const struct tail *t, uint64_t seq)
{
	return seq >= t->first && seq <= t->last;
}

void stream_stage(struct broker *b, const struct kban_entry *e)
{
	struct tail *t = &b->tail;

	if (t->last < t->first)
		t->first = e->seq;
	while (t->first < e->seq &&
	       (e->seq - t->first >= BROKER_TAIL_MAX || t->bytes > BROKER_TAIL_BYTES_MAX))
		tail_drop(t, t->first++);
	*tail_slot(t, e->seq) = entry_copy(e);
	t->bytes += (*tail_slot(t, e->seq))->len;
	t->last = e->seq;
}

void stream_unstage(struct broker *b)
{
	struct tail *t = &b->tail;

	while (t->last >= t->first && t->last > b->durable.seq)
		tail_drop(t, t->last--);
}

/* Batches from the store -------------------------------------------------------------------- */

static void batch_clear(struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		free(batch->entries[i]);
	batch->n = 0;
	batch->bytes = 0;
}

void stream_free(struct broker *b)
{
	struct tail *t = &b->tail;

	while (t->first <= t->last)
		tail_drop(t, t->first++);
	batch_clear(&b->batch);
}

static int batch_take(void *arg, const struct kban_entry *e)
{
	struct batch *batch = arg;
	struct tail_entry *copy = entry_copy(e);

	batch->entries[batch->n++] = copy;
	batch->bytes += copy->len;
	return batch->bytes >= BROKER_MESSAGE_BYTES || batch->n == KBAN_ENTRIES_MAX ? READ_ENOUGH
										    : 0;
}

static int batch_load(struct broker *b, uint64_t after)
{
	if (b->batch.n && b->batch.after == after)
		return 0;
	batch_clear(&b->batch);
	b->batch.after = after;
	int r = store_read(b->store, after, KBAN_ENTRIES_MAX, batch_take, &b->batch);
	if (r && r != READ_ENOUGH) {
		kban_error("the log cannot be read after entry %llu: %s", (unsigned long long)after,
			   store_error(b->store));
		batch_clear(&b->batch);
		return r;
	}
	return 0;
}

static int read_one(void *arg, const struct kban_entry *e)
{
	*(struct tail_entry **)arg = entry_copy(e);
	return READ_ENOUGH;
}

int stream_entry(struct broker *b, uint64_t seq, store_entry_fn *fn, void *arg)
{
	if (tail_has(&b->tail, seq))
		return fn(arg, &(*tail_slot(&b->tail, seq))->entry);
	struct tail_entry *copy = NULL;
	int r = seq ? store_read(b->store, seq - 1, 1, read_one, &copy) : STORE_NOT_FOUND;

	if (r && r != READ_ENOUGH)
		return r;
	r = copy && copy->entry.seq == seq ? fn(arg, &copy->entry) : STORE_NOT_FOUND;
	free(copy);
	return r;
}

/* Sending ----------------------------------------------------------------------------------- */

struct parcel { /* what one Entries message will hold; borrows from tail or batch */
	size_t n, max, bytes;
	struct kban_entry entries[KBAN_ENTRIES_MAX];
};

static bool parcel_add(struct parcel *parcel, const struct tail_entry *t)
{
	if (parcel->n == parcel->max ||
	    (parcel->n && parcel->bytes + t->len > BROKER_MESSAGE_BYTES))
		return false;
	parcel->entries[parcel->n++] = t->entry;
	parcel->bytes += t->len;
	return true;
}

/* Durable entries after `after`, up to and including `last`. */
static int parcel_fill(struct broker *b, struct parcel *parcel, uint64_t after, uint64_t last)
{
	if (tail_has(&b->tail, after + 1)) {
		for (uint64_t seq = after + 1; seq <= last && tail_has(&b->tail, seq); seq++) {
			if (!parcel_add(parcel, *tail_slot(&b->tail, seq)))
				break;
		}
		return 0;
	}
	int r = batch_load(b, after);
	if (r)
		return r;
	for (size_t i = 0; i < b->batch.n && b->batch.entries[i]->entry.seq <= last; i++) {
		if (!parcel_add(parcel, b->batch.entries[i]))
			break;
	}
	return 0;
}

static void entries_send(struct broker *b, struct peer *p, const struct parcel *parcel)
{
	struct kban_message m = {
		.kind = KBAN_MSG_ENTRIES,
		.entries =
			{
				.epoch = b->durable.epoch,
				.head = b->durable.seq,
				.broker_ms = broker_now(b),
				.entries_n = parcel->n,
				.entries = parcel->entries,
			},
	};

	if (parcel->n)
		p->sent = parcel->entries[parcel->n - 1].seq;
	peer_send(b, p, &m);
}

static void flight_add(struct peer *p, const struct parcel *parcel)
{
	if (p->flights_n == BROKER_FLIGHTS_MAX)
		return; /* last words: they are not waited for */
	struct flight *f = &p->flights[(p->flights_first + p->flights_n++) % BROKER_FLIGHTS_MAX];

	f->last = p->sent;
	f->bytes = (uint32_t)parcel->bytes;
	p->flights_bytes += f->bytes;
}

/* Below the horizon seq has gaps: who acknowledged everything always has room. */
static size_t window_room(const struct peer *p)
{
	if (p->flights_n == BROKER_FLIGHTS_MAX || p->flights_bytes >= BROKER_FLIGHT_BYTES_MAX)
		return 0;
	uint64_t unacked = p->sent - p->acked;

	if (p->flights_n && unacked >= p->window)
		return 0;
	return p->flights_n ? (size_t)(p->window - unacked) : p->window;
}

/* False: nothing more is there, or the log cannot be read. */
static bool parcel_send(struct broker *b, struct peer *p, uint64_t last, size_t max)
{
	static const size_t most = KBAN_ENTRIES_MAX;
	struct parcel parcel = {.max = max < most ? max : most};

	if (parcel_fill(b, &parcel, p->sent, last)) {
		peer_cut(b, p);
		return false;
	}
	if (!parcel.n)
		return false;
	entries_send(b, p, &parcel);
	flight_add(p, &parcel);
	return true;
}

static void stream_feed(struct broker *b, struct peer *p)
{
	while (!p->cut && p->sent < b->durable.seq) {
		size_t room = window_room(p);

		if (!room || !parcel_send(b, p, b->durable.seq, room))
			return;
	}
}

void stream_feed_all(struct broker *b)
{
	struct peer *p, *next;

	HASH_ITER (hh, b->peers, p, next) {
		if (p->subscribed)
			stream_feed(b, p);
	}
}

bool stream_last_words(struct broker *b, struct peer *p, uint64_t seq)
{
	if (!p->subscribed || p->sent >= seq || !tail_has(&b->tail, p->sent + 1))
		return false;
	while (!p->cut && p->sent < seq) {
		if (!parcel_send(b, p, seq, SIZE_MAX))
			break;
	}
	return true;
}

/* Subscribing ------------------------------------------------------------------------------- */

static bool cursor_matches(struct broker *b, const struct kban_place *cursor)
{
	struct kban_hash chain;

	if (cursor->epoch > b->durable.epoch)
		return false;
	if (!cursor->seq)
		ledger_chain_genesis(&chain, ledger_cluster(b->ledger));
	else if (store_chain(b->store, cursor->seq, &chain))
		return false;
	return kban_hash_equal(&chain, &cursor->chain);
}

static void deny_below(struct broker *b, struct peer *p)
{
	peer_deny(b, p, KBAN_REFUSAL_BELOW_HORIZON,
		  "the log begins behind your place: take the state first");
}

void stream_subscribe(struct broker *b, struct peer *p, const struct kban_subscribe *s)
{
	peer_unsubscribe(b, p);
	if (s->cursor.seq < b->horizon) {
		deny_below(b, p);
		return;
	}
	if (s->cursor.seq > b->durable.seq) {
		if (peer_may_log(b))
			kban_warning(
				"%s at %s is ahead of this log (entry %llu, head %llu): was an old "
				"backup put back?",
				peer_name(b, p), p->address, (unsigned long long)s->cursor.seq,
				(unsigned long long)b->durable.seq);
		peer_deny(b, p, KBAN_REFUSAL_CURSOR_AHEAD, "you are ahead of this log");
		return;
	}
	if (!cursor_matches(b, &s->cursor)) {
		if (peer_may_log(b))
			kban_warning(
				"%s at %s follows another log (its chain at entry %llu differs)",
				peer_name(b, p), p->address, (unsigned long long)s->cursor.seq);
		peer_deny(b, p, KBAN_REFUSAL_FORK, "your chain is not this log's");
		return;
	}
	p->subscribed = true;
	b->counts.subscribers++;
	p->window = s->window < KBAN_WINDOW_MAX ? s->window : KBAN_WINDOW_MAX;
	p->sent = p->acked = s->cursor.seq;
	p->flights_first = 0;
	stream_feed(b, p);
	if (!p->cut && p->sent == s->cursor.seq)
		entries_send(b, p, &(struct parcel){0});
}

void stream_overtaken(struct broker *b)
{
	struct peer *p, *next;

	batch_clear(&b->batch);
	HASH_ITER (hh, b->peers, p, next) {
		if (!p->subscribed || p->cut || p->sent >= b->horizon)
			continue;
		peer_unsubscribe(b, p);
		deny_below(b, p);
	}
}

void stream_ack(struct broker *b, struct peer *p, uint64_t seq)
{
	if (!p->subscribed || seq > p->sent) {
		peer_bad(b, p);
		return;
	}
	if (seq <= p->acked)
		return;
	p->acked = seq;
	while (p->flights_n && p->flights[p->flights_first].last <= seq) {
		p->flights_bytes -= p->flights[p->flights_first].bytes;
		p->flights_first = (p->flights_first + 1) % BROKER_FLIGHTS_MAX;
		p->flights_n--;
	}
	stream_feed(b, p);
}
