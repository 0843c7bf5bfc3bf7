/* SPDX-License-Identifier: MPL-2.0
 *
 * The outbox: events of this node that are not in the log yet, oldest first, and at most one sealed
 * report made of the first of them. A sealed report keeps its bytes until the log or a final
 * refusal has answered it, over any number of retries and restarts; its counter is never used again
 * for other bytes. Every change goes through a struct stage, so that it becomes durable with what
 * caused it (store/FORMAT.md, "Rows of kban-node"). The owner bounds the number of events.
 */
#ifndef KBAN_NODE_OUTBOX_H
#define KBAN_NODE_OUTBOX_H

#include "node/stage.h"
#include "proto/identity.h"

struct outbox_item {
	uint64_t id;
	struct kban_prefix prefix;
	uint64_t until_boot_ms; /* when its ban ends here; 0: history from the start */
	bool estimated;		/* as in own.h, and then with */
	uint64_t deadline_ms, duration_ms;
	uint8_t *bytes;		/* kban_event_encode(), with the duration it began with */
	size_t len;
	bool sealed;
	struct outbox_item *prev, *next;
};

struct outbox {
	struct outbox_item *items; /* utlist, by id */
	size_t n, sealed_n;
	uint64_t next_id;
	uint64_t counter; /* the highest that this node ever sealed, as far as its disk knows */
	uint8_t *bytes;	  /* report || signature of the sealed report; NULL: none */
	struct kban_sealed sealed;
	struct kban_hash hash;
};

void outbox_free(struct outbox *o);
/* What remains of each event's duration is its deadline less broker_ms. STORE_DAMAGED: rows that
 * this version can't have written. */
int outbox_load(struct outbox *o, struct store *store, uint64_t broker_ms,
		uint64_t boot_ms) kban_must_check;
/* deadline_ms is the ban's end in broker time, for the disk. Fails as kban_event_encode() does. */
int outbox_add(struct outbox *o, struct stage *s, const struct kban_event *e,
	       uint64_t until_boot_ms, uint64_t deadline_ms) kban_must_check;

struct outbox_seal {
	const struct kban_keypair *keys;
	struct kban_cluster_id cluster;
	struct kban_base base;
	uint64_t counter_floor; /* the new counter is above this and above o->counter */
	uint64_t wall_ms, boot_ms;
};
/* Seals as many of the oldest events as fit. False: nothing to seal, or one is sealed already. */
bool outbox_seal(struct outbox *o, struct stage *s, const struct outbox_seal *how);
/* The sealed report is answered for good: fn (may be NULL) sees each of its events, index as in the
 * report. The event is gone then, unless fn returns true: it waits for another report. */
void outbox_settle(struct outbox *o, struct stage *s,
		   bool (*fn)(void *arg, const struct outbox_item *item, size_t index), void *arg);
/* The sealed report will never be taken: its events wait again, its counter stays spent. */
void outbox_unseal(struct outbox *o, struct stage *s);
/* Removes an event that is not sealed. */
void outbox_remove(struct outbox *o, struct stage *s, struct outbox_item *item);
/* The oldest event that is history by now among the first of the queue, or NULL. */
struct outbox_item *outbox_oldest_history(const struct outbox *o, uint64_t boot_ms);

#endif
