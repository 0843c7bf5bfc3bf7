/* SPDX-License-Identifier: MPL-2.0 */
#include "store/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

#define LENGTH_SIZE 2U
/* Of one transaction that moves evidence; far below what a transaction may hold. */
#define MOVE_BYTES (4U * 1024U * 1024U)

static void page_key(uint8_t key[PAGE_KEY_SIZE], uint64_t seq, uint32_t n)
{
	key[0] = 'c';
	record_put_u64(key + 1, seq);
	record_put_u32(key + 9, n);
}

int page_each(struct kban_span page, page_item_fn *fn, void *arg)
{
	for (size_t at = 0; at < page.n;) {
		if (page.n - at < LENGTH_SIZE)
			return STORE_DAMAGED;
		size_t n = (size_t)page.p[at] << 8 | page.p[at + 1];
		at += LENGTH_SIZE;
		if (!n || n > page.n - at)
			return STORE_DAMAGED;
		int r = fn(arg, kban_span(page.p + at, n));
		if (r)
			return r;
		at += n;
	}
	return 0;
}

int page_get(struct store *s, uint64_t seq, uint32_t n, uint8_t **bytes, size_t *len)
{
	uint8_t key[PAGE_KEY_SIZE];

	page_key(key, seq, n);
	return store_get(s, kban_span(key, sizeof(key)), bytes, len);
}

void page_put(struct store *s, uint64_t seq, uint32_t n, struct kban_span page)
{
	uint8_t key[PAGE_KEY_SIZE];

	page_key(key, seq, n);
	store_put(s, kban_span(key, sizeof(key)), page);
}

void page_flush(struct page_writer *w, struct store *s)
{
	if (!w->len)
		return;
	page_put(s, w->seq, w->n++, kban_span(w->bytes, w->len));
	w->len = 0;
}

bool page_add(struct page_writer *w, struct store *s, struct kban_span item)
{
	bool full = w->len + LENGTH_SIZE + item.n > PAGE_MAX;

	assert(item.n && item.n <= PAGE_MAX - LENGTH_SIZE);
	if (full)
		page_flush(w, s);
	w->bytes[w->len] = (uint8_t)(item.n >> 8);
	w->bytes[w->len + 1] = (uint8_t)item.n;
	memcpy(w->bytes + w->len + LENGTH_SIZE, item.p, item.n);
	w->len += LENGTH_SIZE + item.n;
	return full;
}

void page_end(const struct page_writer *w, struct store *s)
{
	uint8_t key[PAGE_KEY_SIZE];

	page_key(key, w->seq, w->n);
	store_delete(s, kban_span(key, sizeof(key)));
}

void unfinished_put(struct store *s, uint64_t horizon)
{
	uint8_t value[8]; /* for people */

	record_put_u64(value, horizon);
	store_put(s, kban_span(UNFINISHED_KEY, 1), kban_span(value, sizeof(value)));
}

void unfinished_delete(struct store *s)
{
	store_delete(s, kban_span(UNFINISHED_KEY, 1));
}

/* Rows that nobody reads -------------------------------------------------------------------- */

struct sweeping {
	struct store *s;
	uint64_t horizon;
	size_t n, max;
};

static int sweep_row(void *arg, struct kban_span key, struct kban_span value)
{
	struct sweeping *w = arg;

	(void)value;
	if (key.n > 8 && record_u64(key.p + 1) == w->horizon)
		return 0;
	if (w->n == w->max)
		return 1;
	store_delete(w->s, key);
	w->n++;
	return 0;
}

int pages_sweep(struct store *s, uint64_t horizon, size_t max, size_t *n)
{
	struct sweeping w = {s, horizon, 0, max};
	int r = store_rows(s, kban_span("c", 1), sweep_row, &w);

	if (!r)
		r = store_rows(s, kban_span("e", 1), sweep_row, &w);
	*n = w.n;
	return w.n == max ? 0 : r;
}

/* Evidence before its horizon --------------------------------------------------------------- */

static void staged_key(uint8_t key[STAGED_KEY], uint64_t horizon, uint64_t seq)
{
	key[0] = 'e';
	record_put_u64(key + 1, horizon);
	record_put_u64(key + 9, seq);
}

void staged_put(struct store *s, uint64_t horizon, const struct kban_entry *e)
{
	kban_auto(kban_free) void *freed = NULL;
	struct kban_place after = {.epoch = 1, .seq = e->seq};
	uint8_t key[STAGED_KEY], seq[RECORD_KEY_SIZE];
	uint8_t *value = kban_zalloc(record_size(e));

	freed = value;
	staged_key(key, horizon, e->seq);
	record_encode(seq, value, e, &after);
	store_put(s, kban_span(key, sizeof(key)), kban_span(value, record_size(e)));
}

struct moving {
	struct store *s;
	size_t n, max, bytes;
};

static int move_row(void *arg, struct kban_span key, struct kban_span value)
{
	struct moving *m = arg;
	struct record record;
	const char *why;

	if (m->n == m->max || m->bytes > MOVE_BYTES)
		return -1;
	if (key.n != STAGED_KEY ||
	    record_decode(&record, kban_span(key.p + 9, RECORD_KEY_SIZE), value, &why))
		return STORE_DAMAGED;
	store_keep(m->s, &record.entry);
	store_delete(m->s, key);
	m->n++;
	m->bytes += value.n;
	return 0;
}

int staged_move(struct store *s, uint64_t horizon, size_t max, size_t *n)
{
	struct moving m = {s, 0, max, 0};
	uint8_t key[STAGED_KEY];

	staged_key(key, horizon, 0);
	int r = store_rows(s, kban_span(key, 9), move_row, &m);
	*n = m.n;
	return m.n && r == -1 ? 0 : r;
}
