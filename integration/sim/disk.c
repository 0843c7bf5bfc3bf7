/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger.h"
#include "store/record.h"
#include "store/steps.h"

struct disk_store {
	struct store base;
	struct disk *disk;
	struct store_steps steps;
	const char *why;
};

static struct disk_store *mine(struct store *s)
{
	return (struct disk_store *)s;
}

static void row_release(struct disk_row *r)
{
	free(r->key);
	free(r->value);
}

static void disk_begin(struct store *s)
{
	struct store_head head;

	if (s->ops->head(s, &head))
		abort();
	store_steps_begin(&mine(s)->steps, &head);
}

static void disk_append(struct store *s, const struct kban_entry *e, const struct kban_place *after)
{
	store_steps_append(&mine(s)->steps, e, after);
}

static void disk_put(struct store *s, struct kban_span key, struct kban_span value)
{
	store_steps_put(&mine(s)->steps, key, value);
}

static void disk_delete(struct store *s, struct kban_span key)
{
	store_steps_delete(&mine(s)->steps, key);
}

static void disk_horizon(struct store *s, const struct kban_place *place, uint64_t accepted_ms)
{
	store_steps_horizon(&mine(s)->steps, place, accepted_ms);
}

static void disk_keep(struct store *s, const struct kban_entry *e)
{
	store_steps_keep(&mine(s)->steps, e);
}

static void disk_drop(struct store *s, uint64_t seq)
{
	store_steps_drop(&mine(s)->steps, seq);
}

static int key_cmp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int r = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return r ? r : (a_len > b_len) - (a_len < b_len);
}

/* The index of the first row whose key is not below key. */
static size_t row_find(const struct disk *d, const uint8_t *key, size_t len)
{
	size_t low = 0, high = d->rows_n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct disk_row *r = &d->rows[middle];

		if (key_cmp(r->key, r->key_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool row_is(const struct disk *d, size_t i, struct kban_span key)
{
	return i < d->rows_n && !key_cmp(d->rows[i].key, d->rows[i].key_len, key.p, key.n);
}

static void row_remove(struct disk *d, size_t i)
{
	row_release(&d->rows[i]);
	memmove(&d->rows[i], &d->rows[i + 1], (d->rows_n - i - 1) * sizeof(*d->rows));
	d->rows_n--;
}

static void row_insert(struct disk *d, size_t i, struct kban_span key, struct kban_span value)
{
	d->rows = kban_realloc(d->rows, (d->rows_n + 1) * sizeof(*d->rows));
	memmove(&d->rows[i + 1], &d->rows[i], (d->rows_n - i) * sizeof(*d->rows));
	d->rows[i] = (struct disk_row){kban_memdup(key.p, key.n), kban_memdup(value.p, value.n), key.n, value.n};
	d->rows_n++;
}

/* The index of the first entry whose seq is not below seq. */
static size_t entry_find(const struct disk *d, uint64_t seq)
{
	size_t low = 0, high = d->entries_n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->entries[middle].entry.seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct disk_entry *disk_entry(const struct disk *d, uint64_t seq)
{
	size_t i = entry_find(d, seq);

	return i < d->entries_n && d->entries[i].entry.seq == seq ? &d->entries[i] : NULL;
}

static void entry_remove(struct disk *d, uint64_t seq)
{
	if (!disk_entry(d, seq))
		return;
	size_t i = entry_find(d, seq);

	free(d->entries[i].record);
	memmove(&d->entries[i], &d->entries[i + 1], (d->entries_n - i - 1) * sizeof(*d->entries));
	d->entries_n--;
}

static void entry_put(struct disk *d, const struct store_step *step)
{
	struct disk_entry e = {.record = kban_memdup(step->value.p, step->value.n)};
	struct record r;
	const char *why;

	if (record_decode(&r, step->key, kban_span(e.record, step->value.n), &why))
		abort(); /* staged a moment ago */
	e.entry = r.entry;
	e.after = r.after;
	entry_remove(d, e.entry.seq);
	size_t i = entry_find(d, e.entry.seq);
	d->entries = kban_realloc(d->entries, (d->entries_n + 1) * sizeof(*d->entries));
	memmove(&d->entries[i + 1], &d->entries[i], (d->entries_n - i) * sizeof(*d->entries));
	d->entries[i] = e;
	d->entries_n++;
}

static void row_step(struct disk *d, const struct store_step *step)
{
	size_t i = row_find(d, step->key.p, step->key.n);

	if (row_is(d, i, step->key))
		row_remove(d, i);
	if (step->kind == STORE_STEP_PUT)
		row_insert(d, i, step->key, step->value);
}

static void step_apply(struct disk *d, const struct store_step *step)
{
	switch (step->kind) {
	case STORE_STEP_APPEND:
	case STORE_STEP_KEEP:
		entry_put(d, step);
		return;
	case STORE_STEP_PUT:
	case STORE_STEP_DELETE:
		row_step(d, step);
		return;
	case STORE_STEP_HORIZON:
		if (record_horizon_decode(&d->horizon, &d->horizon_ms, step->value))
			abort(); /* staged a moment ago */
		return;
	case STORE_STEP_DROP:
		entry_remove(d, record_u64(step->key.p));
		return;
	}
}

/* What the planned fault makes of a commit. */
static int disk_write(struct disk_store *s)
{
	struct disk *d = s->disk;
	enum disk_fault fault = d->fault;

	if (fault == DISK_FULL)
		return STORE_FULL;
	for (size_t i = 0; i < s->steps.n && fault != DISK_CRASH_BEFORE; i++) {
		struct store_step step = store_steps_get(&s->steps, i);
		step_apply(d, &step);
	}
	d->commits++;
	if (fault == DISK_SOUND)
		return 0;
	d->crashed = true;
	d->fault = DISK_SOUND;
	return -EIO;
}

static int disk_commit(struct store *base)
{
	struct disk_store *s = mine(base);

	s->why = s->steps.why;
	int r = s->steps.error ? s->steps.error : s->steps.n ? disk_write(s) : 0;
	store_steps_end(&s->steps);
	return r;
}

static void disk_abort(struct store *s)
{
	store_steps_end(&mine(s)->steps);
}

static int disk_head(struct store *base, struct store_head *out)
{
	const struct disk *d = mine(base)->disk;

	*out = (struct store_head){.place = d->horizon,
				   .accepted_ms = d->horizon_ms,
				   .horizon = d->horizon.seq,
				   .horizon_chain = d->horizon.chain,
				   .horizon_ms = d->horizon_ms};
	if (d->entries_n && d->entries[d->entries_n - 1].entry.seq > d->horizon.seq) {
		out->place = d->entries[d->entries_n - 1].after;
		out->accepted_ms = d->entries[d->entries_n - 1].entry.accepted_ms;
	}
	return 0;
}

static int disk_read(struct store *base, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	const struct disk *d = mine(base)->disk;

	if (after == UINT64_MAX)
		return 0;
	for (size_t i = entry_find(d, after + 1), n = 0; i < d->entries_n && n < max; i++, n++) {
		int r = fn(arg, &d->entries[i].entry);
		if (r)
			return r;
	}
	return 0;
}

static int disk_chain(struct store *base, uint64_t seq, struct kban_hash *out)
{
	const struct disk *d = mine(base)->disk;

	const struct disk_entry *e = disk_entry(d, seq);

	if (seq == d->horizon.seq) {
		*out = d->horizon.chain;
		return 0;
	}
	if (seq < d->horizon.seq || !e)
		return STORE_NOT_FOUND;
	*out = e->after.chain;
	return 0;
}

static int disk_rows(struct store *base, struct kban_span prefix, store_row_fn *fn, void *arg)
{
	const struct disk *d = mine(base)->disk;

	for (size_t i = row_find(d, prefix.p, prefix.n); i < d->rows_n; i++) {
		const struct disk_row *r = &d->rows[i];
		if (r->key_len < prefix.n || memcmp(r->key, prefix.p, prefix.n) != 0)
			break;
		int result = fn(arg, kban_span(r->key, r->key_len), kban_span(r->value, r->value_len));
		if (result)
			return result;
	}
	return 0;
}

static int disk_get(struct store *base, struct kban_span key, uint8_t **value, size_t *len)
{
	const struct disk *d = mine(base)->disk;
	size_t i = row_find(d, key.p, key.n);

	if (!row_is(d, i, key))
		return STORE_NOT_FOUND;
	*value = kban_memdup(d->rows[i].value, d->rows[i].value_len);
	*len = d->rows[i].value_len;
	return 0;
}

static const char *disk_error(const struct store *base)
{
	const struct disk_store *s = (const struct disk_store *)base;

	if (s->why)
		return s->why;
	return s->disk->crashed ? "simulated crash" : s->disk->fault == DISK_FULL ? "simulated full disk" : "no error";
}

static void disk_close(struct store *base)
{
	store_steps_free(&mine(base)->steps);
	free(base);
}

static const struct store_ops ops = {
	.close = disk_close,
	.begin = disk_begin,
	.append = disk_append,
	.put = disk_put,
	.del = disk_delete,
	.horizon = disk_horizon,
	.keep = disk_keep,
	.drop = disk_drop,
	.commit = disk_commit,
	.abort = disk_abort,
	.head = disk_head,
	.read = disk_read,
	.chain = disk_chain,
	.rows = disk_rows,
	.get = disk_get,
	.error = disk_error,
};

void disk_open(struct disk *d, struct store **out)
{
	struct disk_store *s = kban_zalloc(sizeof(*s));

	s->base.ops = &ops;
	s->disk = d;
	d->crashed = false;
	*out = &s->base;
}

void disk_new(struct disk **out, const struct kban_cluster_id *cluster)
{
	*out = kban_zalloc(sizeof(**out));
	(*out)->cluster = *cluster;
	(*out)->horizon.epoch = 1;
	ledger_chain_genesis(&(*out)->horizon.chain, cluster);
}

void disk_free(struct disk *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->entries_n; i++)
		free(d->entries[i].record);
	for (size_t i = 0; i < d->rows_n; i++)
		row_release(&d->rows[i]);
	free(d->entries);
	free(d->rows);
	free(d);
}
