/* SPDX-License-Identifier: MPL-2.0
 *
 * Inside the LMDB engine: what lmdb.c (reading, writing, growing) and lmdb_open.c (opening) share.
 * The one place that sees LMDB's header; nobody else includes this one.
 */
#ifndef KBAN_STORE_LMDB_ENGINE_H
#define KBAN_STORE_LMDB_ENGINE_H

#include <lmdb.h>

#include "store/folder.h"
#include "store/record.h"
#include "store/steps.h"

#define MIB	  ((size_t)1 << 20)
#define MAP_FIRST (MIB / 16) /* of a new file; also the smallest piece that the map grows by */

enum database { DB_META, DB_LOG, DB_ROWS, DATABASES };

struct lmdb {
	struct store base;
	char *path;
	struct folder folder;
	MDB_env *env;
	MDB_dbi dbi[DATABASES];
	size_t map_size; /* of the file too */
	struct kban_cluster_id cluster;
	struct store_head head; /* committed */
	struct store_steps steps;
	unsigned readers; /* open read transactions */
	char error[256];
};

extern const struct store_ops lmdb_ops;

static inline MDB_val lmdb_val(struct kban_span s)
{
	/* LMDB takes what it only reads without const. */
	return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

static inline struct kban_span lmdb_span(MDB_val v)
{
	return kban_span(v.mv_data, v.mv_size);
}

/* A read transaction with a cursor; short, and never open across calls. */
struct reading {
	struct lmdb *l;
	MDB_txn *txn;
	MDB_cursor *cursor;
};

int reading_begin(struct reading *r, struct lmdb *l, enum database db) kban_must_check;
void reading_end(struct reading r);
KBAN_DEFINE_AUTO(struct reading, reading_end)

int lmdb_decode(struct lmdb *l, struct record *out, struct kban_span key,
		struct kban_span value) kban_must_check;

/* One durable LMDB transaction around work, tried again after each growth of the map; 0 or
 * STORE_FULL. Any other failure ends the process. */
typedef int lmdb_work_fn(struct lmdb *l, MDB_txn *txn); /* returns LMDB's result */
int lmdb_meta_put(struct lmdb *l, MDB_txn *txn, const char *name, struct kban_span value) kban_must_check;
int lmdb_transact(struct lmdb *l, lmdb_work_fn *work) kban_must_check;

#endif
