/* SPDX-License-Identifier: MPL-2.0
 *
 * The broker without its sockets: messages in, messages out, one store. Clock, disk and network are
 * injected, so that the simulator runs this very code. The transport names each connection by a number,
 * says which CURVE key it proved to own, and is told what to send and whom to cut.
 *
 * Reports are judged and folded as they come and made durable together (group commit): nothing about them
 * leaves the broker (no receipt, no entry) before the commit that holds them. A commit that finds the disk full
 * drops what was folded ahead (the ledger is folded anew from the log) and refuses those reports by name.
 */
#ifndef KBAN_BROKER_CORE_H
#define KBAN_BROKER_CORE_H

#include "proto/clock.h"
#include "proto/identity.h"
#include "store/ledger.h"
#include "store/log.h"

#define BROKER_BATCH_MAX      1024	/* reports in one commit */
#define BROKER_PROBE_MS	      5000	/* how often followers hear the broker's time */
#define BROKER_SILENT_MS      30000	/* a peer that says nothing for so long is cut */
#define BROKER_BAD_MAX	      16	/* malformed messages before a peer is cut */
#define BROKER_WAIT_MS	      20000	/* a query that waits is answered, be it with nothing */

struct broker;

struct broker_transport {
	/* Queues bytes for the peer, or gives it up (and calls broker_gone() later) when its queue is full. */
	void (*send)(void *arg, uint64_t peer, const uint8_t *bytes, size_t len);
	/* Ends the connection once what was sent is out; nothing more of it is delivered. */
	void (*cut)(void *arg, uint64_t peer);
	void *arg;
};

/* Folds the store's log; an empty store takes the genesis report (signed by the root key) as entry 1.
 * Everything is borrowed and must outlive the broker. *error: a sentence with the remedy; the caller frees. */
int broker_new(struct broker **out, const struct kban_identity *identity, struct store *store,
	       const struct kban_clock *clock, const struct broker_transport *transport,
	       const struct kban_sealed *genesis, char **error) kban_must_check;
void broker_free(struct broker *b);
KBAN_DEFINE_AUTO(struct broker *, broker_free)

/* ZAP's question: is this CURVE key a live principal's, or an invitation's whose time is not over? (A
 * used one may connect to be told so; nothing of it counts.) *name gets who it is. NULL-safe
 * reason for a log line: "unknown key", "revoked", "invitation expired". */
bool broker_admits(const struct broker *b, const struct kban_key *curve, const char **reason);

/* One message of a connection that proved to own curve; address is for people. */
void broker_receive(struct broker *b, uint64_t peer, const struct kban_key *curve, const char *address,
		    const uint8_t *bytes, size_t len);
void broker_gone(struct broker *b, uint64_t peer);

/* Reports wait for broker_commit(). */
bool broker_pending(const struct broker *b);
/* One fsync for all that is waiting, then receipts and entries. < 0: fatal. */
int broker_commit(struct broker *b) kban_must_check;
/* Once a second or so: probes, silent peers, and one step of broker_work(), whose failure the next
 * broker_commit() gives. */
void broker_tick(struct broker *b);
/* A step of what can wait (compaction), some milliseconds at most; does nothing while reports wait for their
 * commit. To be called now and then, also in between ticks. < 0: fatal. */
int broker_work(struct broker *b) kban_must_check;

const struct ledger *broker_ledger(const struct broker *b);

struct broker_counts { /* since start; for the log, a status line and tests */
	uint64_t peers, subscribers, entries, events, commits, receipts;
	uint64_t refused[KBAN_REFUSALS], outcomes[KBAN_OUTCOMES], malformed, cut;
	uint64_t compactions, dropped; /* and entries that they dropped */
	uint64_t horizon;	       /* now */
	bool compacting, disk_full;    /* now */
};
const struct broker_counts *broker_counts(const struct broker *b);

#endif
