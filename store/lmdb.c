/* SPDX-License-Identifier: MPL-2.0
 *
 * The LMDB engine. Two things shape it.
 *
 * The steps of a transaction are staged in memory (steps.h) and put into LMDB at commit only: no
 * LMDB transaction is open outside commit and a read, so that the map can grow between two
 * attempts, and a transaction that met MDB_MAP_FULL is replayed without its caller noticing.
 *
 * The file is as long as the map, and allocated. LMDB reports a write that the full disk cut short
 * as EIO, which nobody can tell from a broken disk; so the disk's end must be met where the map
 * grows, in posix_fallocate(), and never inside a commit.
 *
 * MDB_NOTLS: a reader's slot belongs to its transaction and not to the thread, so that a callback
 * of store_read() may look something else up.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "store/lmdb_engine.h"

#define GROW_LEAST MIB
#define GROW_MOST  (64 * MIB)
#define MAP_LIMIT  (65536 * MIB)

static struct lmdb *lmdb_of(struct store *s)
{
	return (struct lmdb *)s;
}

static int lmdb_say(struct lmdb *l, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int lmdb_say(struct lmdb *l, int result, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(l->error, sizeof(l->error), format, args);
	va_end(args);
	return result;
}

/* A read that failed. */
static int lmdb_read_failed(struct lmdb *l, int rc)
{
	if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID)
		return lmdb_say(l, STORE_DAMAGED, "%s: %s", l->path, mdb_strerror(rc));
	return lmdb_say(l, rc > 0 ? -rc : -EIO, "%s: %s", l->path, mdb_strerror(rc));
}

/* Reading ----------------------------------------------------------------------------------- */

void reading_end(struct reading r)
{
	if (r.cursor)
		mdb_cursor_close(r.cursor);
	if (!r.txn)
		return;
	mdb_txn_abort(r.txn);
	r.l->readers--;
}
int reading_begin(struct reading *r, struct lmdb *l, enum database db)
{
	r->l = l;
	int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &r->txn);
	if (rc)
		return lmdb_read_failed(l, rc);
	l->readers++;
	rc = mdb_cursor_open(r->txn, l->dbi[db], &r->cursor);
	return rc ? lmdb_read_failed(l, rc) : 0;
}

int lmdb_decode(struct lmdb *l, struct record *out, struct kban_span key, struct kban_span value)
{
	const char *why;
	int r = record_decode(out, key, value, &why);

	if (!r)
		return 0;
	return lmdb_say(l, r, "the record of entry %llu is damaged: %s",
			key.n == RECORD_KEY_SIZE ? (unsigned long long)record_u64(key.p) : 0ULL,
			why);
}

static int lmdb_read(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	struct lmdb *l = lmdb_of(s);
	uint8_t from[RECORD_KEY_SIZE];
	kban_auto(reading_end) struct reading r = {0};
	MDB_cursor_op op = MDB_SET_RANGE;

	if (after == UINT64_MAX)
		return 0;
	record_put_u64(from, after + 1);
	int result = reading_begin(&r, l, DB_LOG);
	MDB_val key = lmdb_val(kban_span(from, sizeof(from))), value;
	for (; !result && max; max--, op = MDB_NEXT) {
		struct record record;
		int rc = mdb_cursor_get(r.cursor, &key, &value, op);
		if (rc)
			return rc == MDB_NOTFOUND ? 0 : lmdb_read_failed(l, rc);
		result = lmdb_decode(l, &record, lmdb_span(key), lmdb_span(value));
		if (!result)
			result = fn(arg, &record.entry);
	}
	return result;
}

static int lmdb_chain(struct store *s, uint64_t seq, struct kban_hash *out)
{
	struct lmdb *l = lmdb_of(s);
	uint8_t bytes[RECORD_KEY_SIZE];
	kban_auto(reading_end) struct reading r = {0};
	struct record record;

	if (seq == l->head.horizon) {
		*out = l->head.horizon_chain;
		return 0;
	}
	if (seq < l->head.horizon || seq > l->head.place.seq)
		return STORE_NOT_FOUND;
	int result = reading_begin(&r, l, DB_LOG);
	if (result)
		return result;
	record_put_u64(bytes, seq);
	MDB_val key = lmdb_val(kban_span(bytes, sizeof(bytes))), value;
	int rc = mdb_cursor_get(r.cursor, &key, &value, MDB_SET_KEY);
	if (rc == MDB_NOTFOUND)
		return lmdb_say(l, STORE_DAMAGED, "%s: entry %llu is missing", l->path,
				(unsigned long long)seq);
	if (rc)
		return lmdb_read_failed(l, rc);
	result = lmdb_decode(l, &record, lmdb_span(key), lmdb_span(value));
	if (!result)
		*out = record.after.chain;
	return result;
}

static bool has_prefix(MDB_val key, struct kban_span prefix)
{
	return key.mv_size >= prefix.n && (!prefix.n || !memcmp(key.mv_data, prefix.p, prefix.n));
}

static int lmdb_rows(struct store *s, struct kban_span prefix, store_row_fn *fn, void *arg)
{
	struct lmdb *l = lmdb_of(s);
	kban_auto(reading_end) struct reading r = {0};
	MDB_cursor_op op = prefix.n ? MDB_SET_RANGE : MDB_FIRST;
	MDB_val key = lmdb_val(prefix), value;

	if (prefix.n > STORE_ROW_KEY_MAX)
		return 0;
	int result = reading_begin(&r, l, DB_ROWS);
	for (; !result; op = MDB_NEXT) {
		int rc = mdb_cursor_get(r.cursor, &key, &value, op);
		if (rc)
			return rc == MDB_NOTFOUND ? 0 : lmdb_read_failed(l, rc);
		if (!has_prefix(key, prefix))
			return 0;
		result = fn(arg, lmdb_span(key), lmdb_span(value));
	}
	return result;
}

static int lmdb_get(struct store *s, struct kban_span name, uint8_t **value, size_t *len)
{
	struct lmdb *l = lmdb_of(s);
	kban_auto(reading_end) struct reading r = {0};
	MDB_val key = lmdb_val(name), found;

	if (!name.n || name.n > STORE_ROW_KEY_MAX)
		return STORE_NOT_FOUND;
	int result = reading_begin(&r, l, DB_ROWS);
	if (result)
		return result;
	int rc = mdb_cursor_get(r.cursor, &key, &found, MDB_SET_KEY);
	if (rc)
		return rc == MDB_NOTFOUND ? STORE_NOT_FOUND : lmdb_read_failed(l, rc);
	*value = kban_memdup(found.mv_data, found.mv_size);
	*len = found.mv_size;
	return 0;
}

static int lmdb_head(struct store *s, struct store_head *out)
{
	*out = lmdb_of(s)->head;
	return 0;
}

static const char *lmdb_error(const struct store *s)
{
	return ((const struct lmdb *)s)->error;
}

/* Growing ----------------------------------------------------------------------------------- */

static size_t clamp(size_t v, size_t least, size_t most)
{
	return v < least ? least : v > most ? most : v;
}

/* A quarter more, and room for what is staged, in whole MiB. */
static size_t map_step(const struct lmdb *l)
{
	size_t step = clamp(l->map_size / 4, GROW_LEAST, GROW_MOST);

	if (step < l->steps.len)
		step = l->steps.len + l->steps.len / 4;
	step = (step + MIB - 1) / MIB * MIB;
	return clamp(step, 0, MAP_LIMIT - l->map_size);
}

static _Noreturn void lmdb_die(const struct lmdb *l, int rc)
{
	/* https://lwn.net/Articles/752063/: what a failed fsync left behind is unknown, and calling
	 * it again hides it. The next start reads what the disk really holds. */
	kban_error(
		"store %s: writing failed: %s; this process ends, because what is on the disk is "
		"unknown until it is read again",
		l->path, mdb_strerror(rc));
	abort();
}

/* Returns -errno when there is no room for it. */
static int map_extend(struct lmdb *l, size_t step)
{
	int fd = -1;
	int rc = mdb_env_get_fd(l->env, &fd);

	if (rc)
		lmdb_die(l, rc);
	int r = folder_extend(fd, (off_t)l->map_size, (off_t)(l->map_size + step));
	if (folder_is_full(r))
		return r;
	if (r)
		lmdb_die(l, -r);
	/* It unmaps first: after a failure nothing is mapped. */
	rc = mdb_env_set_mapsize(l->env, l->map_size + step);
	if (rc)
		lmdb_die(l, rc);
	l->map_size += step;
	return 0;
}

/* Takes half as much until it fits, so that a nearly full disk is used up to its end. */
static int map_try(struct lmdb *l)
{
	int r = -ENOSPC;

	for (size_t step = map_step(l); step >= MAP_FIRST;
	     step = step / 2 / MAP_FIRST * MAP_FIRST) {
		r = map_extend(l, step);
		if (!r)
			return 0;
	}
	return r;
}

/* The reserve is for what makes room: an append would only eat it. */
static bool steps_make_room(const struct store_steps *t)
{
	return !t->count[STORE_STEP_APPEND] &&
	       (t->count[STORE_STEP_DELETE] || t->count[STORE_STEP_DROP] ||
		t->count[STORE_STEP_HORIZON]);
}

static int map_grow(struct lmdb *l)
{
	if (l->map_size >= MAP_LIMIT)
		return lmdb_say(l, STORE_FULL, "%s has reached its limit of %zu GiB", l->path,
				MAP_LIMIT / MIB / 1024);
	int r = map_try(l);
	if (r && steps_make_room(&l->steps) && folder_reserve_free(&l->folder))
		r = map_try(l);
	if (r)
		return lmdb_say(l, STORE_FULL, "%s: %s; make room on its disk", l->path,
				strerror(-r));
	return 0;
}

/* Writing ----------------------------------------------------------------------------------- */

/* A transaction that met the disk's end inside LMDB (possible where preallocation is no promise)
 * left nothing behind, unless it was the meta page that failed: then LMDB refuses everything from
 * there on. */
static int lmdb_write_failed(struct lmdb *l, int rc)
{
	MDB_txn *probe;

	if (rc <= 0 || !folder_is_full(-rc))
		lmdb_die(l, rc);
	int dead = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &probe);
	if (dead)
		lmdb_die(l, rc);
	mdb_txn_abort(probe);
	return lmdb_say(l, STORE_FULL, "%s: %s; make room on its disk", l->path, mdb_strerror(rc));
}

static int lmdb_try(struct lmdb *l, lmdb_work_fn *work)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

	if (rc)
		lmdb_die(l, rc);
	rc = work(l, txn);
	if (!rc)
		return mdb_txn_commit(txn); /* frees it either way */
	mdb_txn_abort(txn);
	return rc;
}

int lmdb_transact(struct lmdb *l, lmdb_work_fn *work)
{
	for (;;) {
		int rc = lmdb_try(l, work);
		if (!rc)
			return 0;
		int r = rc == MDB_MAP_FULL ? map_grow(l) : lmdb_write_failed(l, rc);
		if (r)
			return r;
	}
}

int lmdb_meta_put(struct lmdb *l, MDB_txn *txn, const char *name, struct kban_span value)
{
	MDB_val k = lmdb_val(kban_span(name, strlen(name))), v = lmdb_val(value);

	return mdb_put(txn, l->dbi[DB_META], &k, &v, 0);
}

/* What is not there is deleted already. */
static int step_delete(MDB_txn *txn, MDB_dbi dbi, MDB_val *key)
{
	int rc = mdb_del(txn, dbi, key, NULL);

	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int step_put(struct lmdb *l, MDB_txn *txn, const struct store_step *step)
{
	MDB_val key = lmdb_val(step->key), value = lmdb_val(step->value);

	switch (step->kind) {
	case STORE_STEP_APPEND:
		return mdb_put(txn, l->dbi[DB_LOG], &key, &value, MDB_APPEND);
	case STORE_STEP_PUT:
		return mdb_put(txn, l->dbi[DB_ROWS], &key, &value, 0);
	case STORE_STEP_DELETE:
		return step_delete(txn, l->dbi[DB_ROWS], &key);
	case STORE_STEP_HORIZON:
		return lmdb_meta_put(l, txn, "horizon", step->value);
	case STORE_STEP_KEEP:
		return mdb_put(txn, l->dbi[DB_LOG], &key, &value, 0);
	case STORE_STEP_DROP:
		return step_delete(txn, l->dbi[DB_LOG], &key);
	}
	return EINVAL;
}

static int steps_put(struct lmdb *l, MDB_txn *txn)
{
	for (size_t i = 0; i < l->steps.n; i++) {
		struct store_step step = store_steps_get(&l->steps, i);
		int rc = step_put(l, txn, &step);
		if (rc)
			return rc;
	}
	return 0;
}

static void lmdb_begin(struct store *s)
{
	struct lmdb *l = lmdb_of(s);

	store_steps_begin(&l->steps, &l->head);
}

static void lmdb_append(struct store *s, const struct kban_entry *e, const struct kban_place *after)
{
	store_steps_append(&lmdb_of(s)->steps, e, after);
}

static void lmdb_put(struct store *s, struct kban_span key, struct kban_span value)
{
	store_steps_put(&lmdb_of(s)->steps, key, value);
}

static void lmdb_del(struct store *s, struct kban_span key)
{
	store_steps_delete(&lmdb_of(s)->steps, key);
}

static void lmdb_horizon(struct store *s, const struct kban_place *place, uint64_t accepted_ms)
{
	store_steps_horizon(&lmdb_of(s)->steps, place, accepted_ms);
}

static void lmdb_keep(struct store *s, const struct kban_entry *e)
{
	store_steps_keep(&lmdb_of(s)->steps, e);
}

static void lmdb_drop(struct store *s, uint64_t seq)
{
	store_steps_drop(&lmdb_of(s)->steps, seq);
}

static int lmdb_commit(struct store *s)
{
	struct lmdb *l = lmdb_of(s);
	int r = 0;

	assert(l->steps.open);
	assert(!l->readers); /* no commit inside a read's callback: the map that it reads may move
			      */
	if (l->steps.error)
		r = lmdb_say(l, l->steps.error, "%s: %s", l->path, l->steps.why);
	else if (l->steps.n)
		r = lmdb_transact(l, steps_put);
	if (!r) {
		store_steps_head(&l->steps, &l->head);
		folder_reserve_make(&l->folder);
	}
	store_steps_end(&l->steps);
	return r;
}

static void lmdb_abort(struct store *s)
{
	store_steps_end(&lmdb_of(s)->steps);
}

static void lmdb_close(struct store *s)
{
	struct lmdb *l = lmdb_of(s);

	if (l->env)
		mdb_env_close(l->env);
	folder_close(&l->folder);
	store_steps_free(&l->steps);
	free(l->path);
	free(l);
}

const struct store_ops lmdb_ops = {
	.close = lmdb_close,
	.begin = lmdb_begin,
	.append = lmdb_append,
	.put = lmdb_put,
	.del = lmdb_del,
	.horizon = lmdb_horizon,
	.keep = lmdb_keep,
	.drop = lmdb_drop,
	.commit = lmdb_commit,
	.abort = lmdb_abort,
	.head = lmdb_head,
	.read = lmdb_read,
	.chain = lmdb_chain,
	.rows = lmdb_rows,
	.get = lmdb_get,
	.error = lmdb_error,
};
