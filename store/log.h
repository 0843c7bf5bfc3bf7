/* SPDX-License-Identifier: MPL-2.0
 *
 * The log: what stays. An engine (LMDB here; the simulator's disk in integration/sim/) implements struct
 * store_ops; nothing of an engine shows through. Entries have rising seq without gaps above the horizon;
 * at or below it, only kept ones are left. One store holds one cluster's log and, on a node, its own rows
 * (outbox, positions): small keyed values that change in the same durable transaction as an append.
 *
 * Results: 0; < 0 is -errno and fatal for the store; > 0 is enum store_result. After STORE_FULL nothing of
 * that transaction is there, and the store goes on. Any other failed commit ends the process (an fsync
 * that failed once may not be retried: https://lwn.net/Articles/752063/).
 */
#ifndef KBAN_STORE_LOG_H
#define KBAN_STORE_LOG_H

#include "proto/wire.h"

enum store_result {
	STORE_NOT_FOUND = 1,
	STORE_FULL,	     /* no space on the device, or the map's limit */
	STORE_NEWER_FORMAT,  /* written by a newer kban */
	STORE_OTHER_CLUSTER, /* holds another cluster's log */
	STORE_IN_USE,	     /* another process has it open */
	STORE_NETWORK_FS,    /* NFS, CIFS, ...: mmap and locks can't be trusted there */
	STORE_DAMAGED,	     /* a record that this format can't hold; store_error() names it */
};
const char *store_result_name(int result);

struct store; /* an open store */

/* What an engine implements. Every pointer handed to a callback lives only during the call. */
typedef int store_entry_fn(void *arg, const struct kban_entry *entry);
typedef int store_row_fn(void *arg, struct kban_span key, struct kban_span value);

struct store_head {
	struct kban_place place; /* of the newest entry; seq 0, the genesis chain and epoch 1 when empty */
	uint64_t accepted_ms;
	uint64_t horizon;      /* 0: the log is whole */
	struct kban_hash horizon_chain;
	uint64_t horizon_ms; /* when the entry there was accepted; 0 when the log is whole */
};

/* Open and closed by the engine's own functions (store/lmdb.h). */
void store_close(struct store *s);
KBAN_DEFINE_AUTO(struct store *, store_close)

/* A durable transaction: begin, any number of steps, commit. The first error of any step sticks and is
 * what commit returns; nothing is there then. One transaction at a time. */
void store_begin(struct store *s);
/* seq must follow the head (or what was appended before in this transaction); chain is the chain after it. */
void store_append(struct store *s, const struct kban_entry *entry, const struct kban_place *after);
void store_put(struct store *s, struct kban_span key, struct kban_span value);
void store_delete(struct store *s, struct kban_span key);
/* Moves the horizon forward, never back. place may lie above the head: then it becomes the head (the next
 * append follows it), and every entry that was there is below the horizon. */
void store_horizon(struct store *s, const struct kban_place *place, uint64_t accepted_ms);
/* Puts an entry at or below the horizon, as it is once the steps so far are done; replaces one that is there. */
void store_keep(struct store *s, const struct kban_entry *entry);
/* Removes the entry with this seq, at or below the horizon; none there is fine. */
void store_drop(struct store *s, uint64_t seq);
/* Durable (fsync) when it returns 0. Then calls the watcher, if an append was among the steps. */
int store_commit(struct store *s) kban_must_check;
void store_abort(struct store *s);

int store_head(struct store *s, struct store_head *out) kban_must_check;
/* Calls fn for entries with seq > after in order, up to max; stops when fn returns nonzero and returns it.
 * At and below the horizon there are gaps: what is there was kept, or was not dropped yet. */
int store_read(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg) kban_must_check;
/* The chain after entry seq: STORE_NOT_FOUND below the horizon or above the head. */
int store_chain(struct store *s, uint64_t seq, struct kban_hash *out) kban_must_check;
/* Rows whose key starts with prefix, in byte order. */
int store_rows(struct store *s, struct kban_span prefix, store_row_fn *fn, void *arg) kban_must_check;
int store_get(struct store *s, struct kban_span key, uint8_t **value, size_t *len) kban_must_check;
/* fn is called with the new head after each durable append. One watcher. */
void store_watch(struct store *s, void (*fn)(void *arg, const struct store_head *head), void *arg);
/* The newest failure in words, for a log line; never NULL. */
const char *store_error(const struct store *s);

/* For engines. */
struct store_ops {
	void (*close)(struct store *s);
	void (*begin)(struct store *s);
	void (*append)(struct store *s, const struct kban_entry *e, const struct kban_place *after);
	void (*put)(struct store *s, struct kban_span key, struct kban_span value);
	void (*del)(struct store *s, struct kban_span key);
	void (*horizon)(struct store *s, const struct kban_place *place, uint64_t accepted_ms);
	void (*keep)(struct store *s, const struct kban_entry *e);
	void (*drop)(struct store *s, uint64_t seq);
	int (*commit)(struct store *s);
	void (*abort)(struct store *s);
	int (*head)(struct store *s, struct store_head *out);
	int (*read)(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg);
	int (*chain)(struct store *s, uint64_t seq, struct kban_hash *out);
	int (*rows)(struct store *s, struct kban_span prefix, store_row_fn *fn, void *arg);
	int (*get)(struct store *s, struct kban_span key, uint8_t **value, size_t *len);
	const char *(*error)(const struct store *s);
};

struct store { /* an engine's struct starts with this */
	const struct store_ops *ops;
	void (*watch)(void *arg, const struct store_head *head);
	void *watch_arg;
	bool appended; /* in the open transaction */
};

#endif
