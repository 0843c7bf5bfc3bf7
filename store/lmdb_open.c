/* SPDX-License-Identifier: MPL-2.0
 *
 * Opening the LMDB engine's store: the folder, the environment, and what `meta` says of whose log
 * it is and in which format. Each refusal is a sentence with a remedy.
 */
#include "store/lmdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "store/ledger.h"
#include "store/lmdb_engine.h"

#define LOCK_SIZE 8192 /* of LMDB's own lock file, for its default of 126 readers */

static const char *const database_names[DATABASES] = {"meta", "log", "rows"};

static int lmdb_damaged(const struct lmdb *l, char **error, const char *what)
{
	return folder_refuse(
		error, STORE_DAMAGED,
		"%s holds no sound store of kban: %s; move the folder away and restore a "
		"backup, or start with an empty folder and let it be filled from the "
		"broker",
		l->path, what);
}

static int lmdb_full(const struct lmdb *l, char **error, int r)
{
	return folder_refuse(error, STORE_FULL,
			     "no room for the store in %s: %s; make room on its disk", l->path,
			     strerror(-r));
}

/* What stopped mdb_env_open() or the first transactions. */
static int lmdb_open_failed(const struct lmdb *l, char **error, int rc)
{
	if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED ||
	    rc == MDB_PAGE_NOTFOUND || rc == MDB_INCOMPATIBLE)
		return lmdb_damaged(l, error, mdb_strerror(rc));
	if (rc > 0 && folder_is_full(-rc))
		return lmdb_full(l, error, -rc);
	return folder_refuse(
		error, rc > 0 ? -rc : -EIO,
		"can't open the store in %s: %s; its files must belong to the user that "
		"this program runs as",
		l->path, mdb_strerror(rc));
}

static int env_allocate(struct lmdb *l, size_t file_size, char **error)
{
	/* Nothing to do unless it is new, or a copy that left out its holes. */
	int r = folder_allocate(&l->folder, "data.mdb", (off_t)l->map_size);

	if (r && file_size < l->map_size)
		return lmdb_open_failed(l, error, -r);
	if (r)
		kban_warning("store %s: not all of its file could be allocated: %s", l->path,
			     strerror(-r));
	return 0;
}

/* A file that is shorter than what its meta page says would end in a bus error later. */
static int env_check_length(struct lmdb *l, size_t file_size, char **error)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(l->env, &info);
	mdb_env_stat(l->env, &stat);
	l->map_size = info.me_mapsize;
	if (file_size && (info.me_last_pgno + 1) * stat.ms_psize > file_size)
		return lmdb_damaged(l, error, "data.mdb was cut short");
	return 0;
}

static size_t folder_file_size(const struct folder *f, const char *name)
{
	struct stat st;

	return fstatat(f->fd, name, &st, 0) ? 0 : (size_t)st.st_size;
}

static int env_open(struct lmdb *l, char **error)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = folder_file_size(&l->folder, "data.mdb") / page * page;
	/* LMDB writes its lock file through a mapping: a hole in it on a full disk is a bus error.
	 */
	int r = folder_allocate(&l->folder, "lock.mdb", LOCK_SIZE);
	if (r)
		return lmdb_open_failed(l, error, -r);
	int rc = mdb_env_create(&l->env);
	if (!rc)
		rc = mdb_env_set_maxdbs(l->env, DATABASES);
	if (!rc)
		rc = mdb_env_set_mapsize(l->env, size > MAP_FIRST ? size : MAP_FIRST);
	if (!rc)
		rc = mdb_env_open(l->env, l->path, MDB_NOTLS, 0600);
	if (!rc)
		rc = mdb_reader_check(l->env, NULL); /* slots of processes that were killed */
	if (rc)
		return lmdb_open_failed(l, error, rc);
	r = env_check_length(l, size, error);
	return r ? r : env_allocate(l, size, error);
}

static int schema_make(struct lmdb *l, MDB_txn *txn)
{
	struct kban_place start = {.epoch = 1};
	uint8_t format[4], created[8], horizon[RECORD_HORIZON_SIZE];
	int rc = 0;

	for (int i = 0; !rc && i < DATABASES; i++)
		rc = mdb_dbi_open(txn, database_names[i], MDB_CREATE, &l->dbi[i]);
	ledger_chain_genesis(&start.chain, &l->cluster);
	record_put_u32(format, RECORD_FORMAT);
	record_put_u64(created, kban_wall_ms(&kban_clock_system)); /* for people */
	record_horizon_encode(horizon, &start, 0);
	if (!rc)
		rc = lmdb_meta_put(l, txn, "format", kban_span(format, sizeof(format)));
	if (!rc)
		rc = lmdb_meta_put(l, txn, "cluster", kban_span(l->cluster.b, KBAN_CLUSTER_SIZE));
	if (!rc)
		rc = lmdb_meta_put(l, txn, "created", kban_span(created, sizeof(created)));
	if (!rc)
		rc = lmdb_meta_put(l, txn, "horizon", kban_span(horizon, sizeof(horizon)));
	return rc;
}

/* Nothing at all was written yet. MDB_NOTFOUND: something was, but not by kban. */
static int schema_is_missing(MDB_txn *txn, bool *missing)
{
	MDB_dbi dbi;
	MDB_stat stat;
	int rc = mdb_dbi_open(txn, NULL, 0, &dbi);

	if (!rc)
		rc = mdb_stat(txn, dbi, &stat);
	*missing = !rc && !stat.ms_entries;
	return rc;
}

/* Opens the databases that are there. */
static int schema_find(struct lmdb *l, bool *missing)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = schema_is_missing(txn, missing);
	for (int i = 0; !rc && !*missing && i < DATABASES; i++)
		rc = mdb_dbi_open(txn, database_names[i], 0, &l->dbi[i]);
	if (rc) {
		mdb_txn_abort(txn);
		return rc == MDB_NOTFOUND ? MDB_INCOMPATIBLE : rc;
	}
	return mdb_txn_commit(txn); /* which keeps the handles */
}

static bool meta_get(MDB_txn *txn, MDB_dbi dbi, const char *name, size_t size,
		     struct kban_span *out)
{
	MDB_val k = lmdb_val(kban_span(name, strlen(name))), v;

	if (mdb_get(txn, dbi, &k, &v) || (size && v.mv_size != size))
		return false;
	*out = lmdb_span(v);
	return true;
}

static int format_check(const struct lmdb *l, MDB_txn *txn, char **error)
{
	struct kban_span v;

	if (!meta_get(txn, l->dbi[DB_META], "format", 4, &v))
		return lmdb_damaged(l, error, "it has no format version");
	uint32_t format = record_u32(v.p);
	if (format > RECORD_FORMAT)
		return folder_refuse(
			error, STORE_NEWER_FORMAT,
			"the store in %s has format %u and this program knows formats up "
			"to %u; install the newer kban that wrote it",
			l->path, format, RECORD_FORMAT);
	return format == RECORD_FORMAT ? 0 : lmdb_damaged(l, error, "its format version is 0");
}

static int cluster_check(const struct lmdb *l, MDB_txn *txn, char **error)
{
	struct kban_span v;
	char theirs[KBAN_HEX(KBAN_CLUSTER_SIZE)], ours[KBAN_HEX(KBAN_CLUSTER_SIZE)];

	if (!meta_get(txn, l->dbi[DB_META], "cluster", KBAN_CLUSTER_SIZE, &v))
		return lmdb_damaged(l, error, "it names no cluster");
	if (!memcmp(v.p, l->cluster.b, KBAN_CLUSTER_SIZE))
		return 0;
	return folder_refuse(
		error, STORE_OTHER_CLUSTER,
		"the store in %s belongs to cluster %s, and this identity to cluster %s; "
		"name another folder, or use that cluster's identity",
		l->path, kban_hex(theirs, v.p, v.n),
		kban_hex(ours, l->cluster.b, KBAN_CLUSTER_SIZE));
}

static int horizon_load(struct lmdb *l, MDB_txn *txn, char **error)
{
	struct kban_span v;

	if (!meta_get(txn, l->dbi[DB_META], "horizon", 0, &v) ||
	    record_horizon_decode(&l->head.place, &l->head.accepted_ms, v))
		return lmdb_damaged(l, error, "it has no sound horizon");
	l->head.horizon = l->head.place.seq;
	l->head.horizon_chain = l->head.place.chain;
	l->head.horizon_ms = l->head.accepted_ms;
	return 0;
}

/* The head is the newest entry, or the horizon when no entry lies above it. */
static int head_load(struct lmdb *l, const struct reading *r, char **error)
{
	MDB_val key, value;
	MDB_stat stat;
	struct record record;
	int rc = mdb_cursor_get(r->cursor, &key, &value, MDB_LAST);

	if (!rc)
		rc = mdb_stat(r->txn, l->dbi[DB_LOG], &stat);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : lmdb_open_failed(l, error, rc);
	if (lmdb_decode(l, &record, lmdb_span(key), lmdb_span(value)))
		return lmdb_damaged(l, error, l->error);
	if (record.entry.seq > l->head.horizon) {
		l->head.place = record.after;
		l->head.accepted_ms = record.entry.accepted_ms;
	}
	/* Each seq above the horizon has its entry, those at or below it may have one. */
	if (stat.ms_entries < l->head.place.seq - l->head.horizon ||
	    stat.ms_entries > l->head.place.seq)
		return lmdb_damaged(l, error, "entries are missing from its log");
	return 0;
}

static int schema_check(struct lmdb *l, char **error)
{
	kban_auto(reading_end) struct reading r = {0};
	int result = reading_begin(&r, l, DB_LOG);

	if (result)
		return folder_refuse(error, result, "can't read the store in %s", l->error);
	result = format_check(l, r.txn, error);
	if (!result)
		result = cluster_check(l, r.txn, error);
	if (!result)
		result = horizon_load(l, r.txn, error);
	return result ? result : head_load(l, &r, error);
}

static int schema_open(struct lmdb *l, char **error)
{
	bool missing = false;
	int rc = schema_find(l, &missing);

	if (rc)
		return lmdb_open_failed(l, error, rc);
	if (missing && lmdb_transact(l, schema_make))
		return folder_refuse(error, STORE_FULL, "no room for the store in %s", l->error);
	return schema_check(l, error);
}

int store_lmdb_open(struct store **out, const char *folder, const struct kban_cluster_id *cluster,
		    char **error)
{
	struct lmdb *l = kban_zalloc(sizeof(*l));
	kban_auto(store_close) struct store *s = &l->base;

	s->ops = &lmdb_ops;
	l->path = kban_strdup(folder);
	l->cluster = *cluster;
	int r = folder_open(&l->folder, folder, error);
	if (!r)
		r = env_open(l, error);
	if (!r)
		r = schema_open(l, error);
	if (r)
		return r;
	/* Always: a process that was killed may have left it undone. */
	r = folder_sync(&l->folder);
	if (r)
		return folder_refuse(error, r, "can't sync the folder %s: %s", folder,
				     strerror(-r));
	*out = s;
	s = NULL;
	return 0;
}
