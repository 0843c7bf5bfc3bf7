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

static int key_cmp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int r = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return r ? r : (a_len > b_len) - (a_len < b_len);
}

/* The index of the first row whose key is not below key. */
static size_t row_find(const struct disk *d, const uint8_t *key, size_t len)
{
	size_t i = 0;

	while (i < d->rows_n && key_cmp(d->rows[i].key, d->rows[i].key_len, key, len) < 0)
		i++;
	return i;
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

static void entry_append(struct disk *d, const struct store_step *step)
{
	struct disk_entry e = {.record = kban_memdup(step->value.p, step->value.n)};
	struct record r;
	const char *why;

	if (record_decode(&r, step->key, kban_span(e.record, step->value.n), &why))
		abort(); /* staged a moment ago */
	e.entry = r.entry;
	e.after = r.after;
	d->entries = kban_realloc(d->entries, (d->entries_n + 1) * sizeof(*d->entries));
	d->entries[d->entries_n++] = e;
}

static void step_apply(struct disk *d, const struct store_step *step)
{
	size_t i;

	if (step->kind == STORE_STEP_APPEND) {
		entry_append(d, step);
		return;
	}
	i = row_find(d, step->key.p, step->key.n);
	if (row_is(d, i, step->key))
		row_remove(d, i);
	if (step->kind == STORE_STEP_PUT)
		row_insert(d, i, step->key, step->value);
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

	*out = (struct store_head){.place = {.epoch = 1}};
	ledger_chain_genesis(&out->place.chain, &d->cluster);
	out->horizon_chain = out->place.chain;
	if (d->entries_n) {
		out->place = d->entries[d->entries_n - 1].after;
		out->accepted_ms = d->entries[d->entries_n - 1].entry.accepted_ms;
	}
	return 0;
}

static int disk_read(struct store *base, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	const struct disk *d = mine(base)->disk;

	for (size_t i = after, n = 0; i < d->entries_n && n < max; i++, n++) {
		int r = fn(arg, &d->entries[i].entry);
		if (r)
			return r;
	}
	return 0;
}

static int disk_chain(struct store *base, uint64_t seq, struct kban_hash *out)
{
	const struct disk *d = mine(base)->disk;

	if (seq > d->entries_n)
		return STORE_NOT_FOUND;
	if (seq)
		*out = d->entries[seq - 1].after.chain;
	else
		ledger_chain_genesis(out, &d->cluster);
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
