/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/outcomes.h"

#include <stdlib.h>
#include <string.h>

#include "store/record.h"

#define KEY_SIZE     9U /* 'v', u64 seq */
#define PREFIX_SIZE  7U /* of the keys of CHUNK seqs */
#define CHUNK	     65536ULL
#define SWEEP_ROWS   512  /* looked at in one call */
#define SWEEP_CHUNKS 1024 /* looked into in one call */
#define ENOUGH	     1000 /* store_rows() was stopped by us */

static const uint8_t mark[] = {'v'};

static struct kban_span row_key(uint8_t key[KEY_SIZE], uint64_t seq)
{
	key[0] = 'v';
	record_put_u64(key + 1, seq);
	return kban_span(key, KEY_SIZE);
}

static bool all_counted(const struct ledger_verdict *v)
{
	for (size_t i = 0; i < v->outcomes_n; i++) {
		if (v->outcomes[i] != KBAN_OUTCOME_COUNTED)
			return false;
	}
	return true;
}

void outcomes_put(struct store *s, uint64_t seq, const struct ledger_verdict *v)
{
	uint8_t key[KEY_SIZE], value[KBAN_EVENTS_MAX];

	if (all_counted(v))
		return;
	for (size_t i = 0; i < v->outcomes_n; i++)
		value[i] = (uint8_t)v->outcomes[i];
	store_put(s, row_key(key, seq), kban_span(value, v->outcomes_n));
}

int outcomes_get(struct store *s, uint64_t seq, uint32_t *out, size_t n)
{
	kban_auto(kban_free) void *value = NULL;
	uint8_t key[KEY_SIZE], *bytes = NULL;
	size_t len = 0;
	int r = store_get(s, row_key(key, seq), &bytes, &len);

	value = bytes;
	if (r && r != STORE_NOT_FOUND)
		return r;
	if (!r && len != n)
		return STORE_DAMAGED;
	for (size_t i = 0; i < n; i++)
		out[i] = r ? (uint32_t)KBAN_OUTCOME_COUNTED : bytes[i];
	return 0;
}

/* Complete ---------------------------------------------------------------------------------- */

int outcomes_complete(struct store *s, bool *out)
{
	uint8_t *bytes = NULL;
	size_t len;
	int r = store_get(s, kban_span(mark, sizeof(mark)), &bytes, &len);

	free(bytes);
	*out = !r;
	return r == STORE_NOT_FOUND ? 0 : r;
}

void outcomes_mark_complete(struct store *s)
{
	store_put(s, kban_span(mark, sizeof(mark)), kban_span(NULL, 0));
}

/* Sweeping ---------------------------------------------------------------------------------- */

struct sweep {
	struct store *store;
	uint64_t from, to; /* seq */
	bool done;	   /* there is a row behind `to` */
	size_t looked, n;
	uint64_t gone[SWEEP_ROWS];
};

static int entry_is(void *arg, const struct kban_entry *e)
{
	*(uint64_t *)arg = e->seq;
	return 0;
}

static int sweep_row(void *arg, struct kban_span key, struct kban_span value)
{
	struct sweep *s = arg;
	uint64_t seq, there = 0;

	(void)value;
	if (key.n != KEY_SIZE)
		return 0;
	seq = record_u64(key.p + 1);
	if (seq < s->from)
		return 0;
	s->done = seq > s->to;
	if (s->done || s->looked == SWEEP_ROWS)
		return ENOUGH;
	int r = store_read(s->store, seq - 1, 1, entry_is, &there);
	if (r)
		return r;
	if (there != seq)
		s->gone[s->n++] = seq;
	s->looked++;
	s->from = seq + 1;
	return 0;
}

static int sweep_chunk(struct sweep *s)
{
	uint8_t prefix[KEY_SIZE];
	uint64_t behind = (s->from / CHUNK + 1) * CHUNK;

	row_key(prefix, s->from);
	int r = store_rows(s->store, kban_span(prefix, PREFIX_SIZE), sweep_row, s);
	if (!r)
		s->from = behind;
	return r == ENOUGH ? 0 : r;
}

static int sweep_delete(const struct sweep *s)
{
	uint8_t key[KEY_SIZE];

	if (!s->n)
		return 0;
	store_begin(s->store);
	for (size_t i = 0; i < s->n; i++)
		store_delete(s->store, row_key(key, s->gone[i]));
	return store_commit(s->store);
}

int outcomes_sweep(struct store *store, uint64_t horizon, uint64_t *next, bool *more)
{
	kban_auto(kban_free) void *memory = kban_zalloc(sizeof(struct sweep));
	struct sweep *s = memory;

	s->store = store;
	s->to = horizon;
	s->from = *next ? *next : 1;
	for (int i = 0;
	     i < SWEEP_CHUNKS && !s->done && s->from <= horizon && s->looked < SWEEP_ROWS; i++) {
		int r = sweep_chunk(s);

		if (r)
			return r;
	}
	*next = s->from;
	*more = !s->done && s->from <= horizon;
	return sweep_delete(s);
}
