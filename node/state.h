/* SPDX-License-Identifier: MPL-2.0
 *
 * The inside of struct node, shared by core.c (offences, ticks), replica.c (entries), changes.c
 * (the kernel), submit.c (sealed reports and receipts), link.c (the connection), transfer.c and
 * install.c (a broker's state), confirm.c (whether others have the same) and tidy.c (compaction).
 * Nobody else includes this.
 */
#ifndef KBAN_NODE_STATE_H
#define KBAN_NODE_STATE_H

#include "node/brokertime.h"
#include "node/core.h"
#include "node/outbox.h"
#include "node/own.h"
#include "node/stage.h"
#include "store/compact.h"
#include "store/doubt.h"

#define NODE_SLOW_MS	    (NODE_RETRY_MAX_MS * 8)  /* fork, upgrade needed: between attempts */
#define NODE_REVOKED_MS	    (NODE_RETRY_MAX_MS * 20) /* revoked */
#define NODE_GREETING_MS    10000		     /* from the attempt to Welcome */
#define NODE_BAD_MAX	    16			     /* malformed messages on one connection */
#define NODE_SWEEP_MS	    10000		     /* between looks for own bans that are over */
#define NODE_STORE_RETRY_MS 1000		     /* after a full disk */
#define NODE_CLOCK_OFF_MS   60000
/* Broker time corrected by more: the kernel's timeouts are set anew. */
#define NODE_RETIME_MS	     1000
#define NODE_RETIME_EVERY_MS 10000
#define NODE_FENCES	     256
#define NODE_SAID	     64

enum link_phase {
	LINK_DOWN,
	LINK_CONNECTING,
	LINK_GREETING,
	LINK_UP,
};

struct link {
	enum link_phase phase;
	enum node_link
		trouble; /* NODE_FORK, NODE_REVOKED, NODE_UPGRADE_NEEDED; NODE_OFFLINE: none */
	size_t which;	 /* broker */
	uint64_t phase_ms, heard_ms, beat_ms, next_try_ms; /* boot clock */
	uint64_t retry_ms;
	unsigned bad, silent_drops;
	bool was_live, said_down, said_digest;
	bool newer; /* by Welcome, the log has a fold version that this program does not know */
	uint8_t session[KBAN_SESSION_SIZE];
	struct kban_place head;	 /* that Welcome named */
	uint64_t behind_seq;	 /* where we were behind at the newest probe, + 1; 0: in step */
	uint64_t newest_counter; /* of our newest report, by Welcome, verified */
	size_t nonce_n;
	uint8_t nonce[16];
};

struct submit {
	bool durable;	  /* the sealed report is on disk: it may leave */
	uint64_t send_ms; /* not before (boot clock) */
	uint64_t seal_ms;
	uint32_t said; /* the refusal that was logged last */
};

struct safe_row { /* a range that is safe in this kernel */
	struct kban_prefix prefix;
	bool seen;
	UT_hash_handle hh;
};

struct fence { /* once this batch is in the kernel, so is everything up to seq */
	uint64_t batch, seq;
};

/* Places of this replica, and its marks, so that a heartbeat which is a little behind can be
 * compared. */
#define CONFIRM_PLACES 128
#define CONFIRM_MARKS  32

struct confirm_place {
	struct kban_place place;
	struct kban_hash digest;
};

struct confirm {
	bool wanted;   /* this node is unconfirmed */
	bool disputed; /* another node's signed word is not what this replica says */
	bool asking, agreed;
	bool differs;		  /* in this round of answers */
	uint64_t after;		  /* of the question on its way */
	bool accepted;		  /* by an operator, in the entries that are being folded */
	bool said_alone;
	uint64_t next_ms;	  /* the next round (boot clock) */
	size_t places_n, marks_n; /* noted so far; both are rings, seq 0: none */
	struct confirm_place places[CONFIRM_PLACES];
	struct confirm_place marks[CONFIRM_MARKS];
};

struct transfer;

struct tidy {
	struct compact *job;
	struct doubt doubt;
	bool doubted;	  /* and that was said */
	bool broken;	  /* the log on disk is damaged: nothing is dropped any more */
	bool finished;	  /* nothing is half done in the store */
	bool full;	  /* the disk had no room for it */
	uint64_t next_ms; /* the next look (boot clock) */
};

struct said { /* exempt addresses that were logged */
	size_t next;
	struct kban_prefix v[NODE_SAID];
};

struct node {
	struct node_config config;
	struct kban_prefix *excepted;
	struct kban_key self;
	struct store *store;
	const struct kban_clock *clock;
	struct node_ports ports;

	struct ledger *ledger;
	struct own own;
	struct outbox outbox;
	struct stage stage;
	struct brokertime time;
	struct link link;
	struct submit submit;
	struct transfer *transfer; /* NULL: none */
	struct confirm confirm;
	struct tidy tidy;
	/* The next entry of the log needs a newer program; ahead: the store has that entry and
	 * more, left by a newer program. */
	bool halted, ahead;
	/* Even the state at the horizon is a newer program's: nothing of the ledger is known, and what
	 * the kernel has is left to its timeouts. */
	bool blind;
	int failed; /* < 0: the store is not to be used any more */

	struct safe_row *safes;
	uint64_t next_safe_end_ms; /* broker time */
	uint64_t last_batch;
	int64_t loaded_offset; /* broker time minus boot clock, as estimated when the rows were read */
	int64_t timed_offset; /* and when the kernel's timeouts were last all set */
	uint64_t timed_ms;
	size_t fences_n;
	struct fence fences[NODE_FENCES];
	uint64_t enforced_seq;
	struct enforce_status status;

	uint64_t ack_seq; /* to be acknowledged once stored; 0: nothing */
	uint64_t sweep_ms, store_retry_ms;
	bool disk_full, log_missing, clock_off, said_revoked;
	struct said said;
	struct node_counts counts;
};

struct instant { /* one moment by both clocks */
	uint64_t boot_ms, broker_ms;
};
struct instant node_instant(const struct node *n);
uint64_t node_seq(const struct node *n);
/* This node's own row in the ledger; NULL before the log has brought its grant. */
const struct ledger_principal *node_self(const struct node *n);
/* Makes everything staged durable, after sealing a report if one can be sent; then acknowledges and
 * sends. 0, STORE_FULL (kept for a retry), < 0 fatal. */
int node_commit(struct node *n) kban_must_check;
/* An own ban is over before its time: about the address (safe, never-ban, unbanned). */
void node_lift(struct node *n, struct own_ban *b);
/* The same, but what waits in the outbox about it still goes to the fleet, which judges it. */
void node_lift_here(struct node *n, struct own_ban *b);
/* One event of the prefix has left the outbox. */
void node_own_answered(struct node *n, const struct kban_prefix *p, bool in_ledger);
/* The broker's first word: its time less the boot clock. Sets ends right that came from rows. */
void node_time_known(struct node *n, int64_t offset_ms);

/* changes.c ------------------------------------------------------------------------------------ */

struct change;
/* Prefixes whose wanted state may change by entries that are about to be folded. */
struct changes {
	struct node *node;
	struct change *set; /* uthash */
	bool safes, brokers;
};
void changes_free(struct changes *c);
/* Notes p, whose wanted state may have changed. */
void changes_touch(struct changes *c, const struct kban_prefix *p);
/* To be called before the fold of r: notes what its events may end. */
void changes_before(struct node *n, struct changes *c, const struct kban_report *r);
/* After the fold: tells the kernel how each of them is to be now, in one batch. */
void changes_enforce(struct node *n, struct changes *c);
/* Everything, at start and when broker time was corrected. */
void want_enforce_all(struct node *n);
/* Ranges that ended by themselves. */
void want_tick(struct node *n);
/* When the kernel should forget p (boot clock); 0: not wanted. */
uint64_t want_until(const struct node *n, const struct kban_prefix *p, const struct instant *now);
/* Why this node does not ban p by itself: NULL, or words for the log. */
const char *want_exempt(const struct node *n, const struct kban_prefix *p);
uint64_t want_send(struct node *n, const struct enforce_op *ops, size_t ops_n, bool all);
void want_fence(struct node *n, uint64_t seq);

/* replica.c ------------------------------------------------------------------------------------ */

enum replica_result {
	REPLICA_BAD = 1, /* nothing of the message was applied */
	REPLICA_NEWER,	 /* the entry that is next needs a newer program: stopped before it */
};
/* Folds what is in the store. *error is the caller's to free. */
int replica_load(struct node *n, char **error) kban_must_check;
/* Verifies, folds, enforces and stages; 0 or enum replica_result. */
int replica_entries(struct node *n, const struct kban_entries *m) kban_must_check;

/* This node's own revocation, if the ledger has it by now. */
void replica_notice_revoked(struct node *n);

/* transfer.c ----------------------------------------------------------------------------------- */

/* Asks the broker for the state at its horizon, which lies above our place. Nothing of it counts
 * before all of it was checked. */
void transfer_begin(struct node *n);
void transfer_answer(struct node *n, const struct kban_answer *a);
/* < 0: fatal. */
int transfer_tick(struct node *n) kban_must_check;
/* The connection ended. What is proved already goes on to the disk. */
void transfer_lost(struct node *n);
void transfer_end(struct node *n);

/* adopt.c -------------------------------------------------------------------------------------- */

/* Why l cannot be what became of the log that this node folded and verified itself; NULL: it can.
 */
const char *adopt_contradiction(const struct node *n, const struct ledger *l);
/* The state l, which is on disk by now, is this node's ledger: kernel, own bans and outbox follow.
 * Takes l. */
void adopt_ledger(struct node *n, struct ledger *l);

/* confirm.c ------------------------------------------------------------------------------------ */

/* Reads the row, once the replica is loaded. */
int confirm_load(struct node *n) kban_must_check;
/* A step of the transaction that puts a state in place. */
void confirm_put(struct node *n, uint64_t horizon);
void confirm_begin(struct node *n);
/* The replica is at another place. */
void confirm_note(struct node *n);
/* r, by the root or an operator, counted so: it may accept what this replica is. */
void confirm_epoch(struct node *n, const struct kban_report *r, const struct ledger_verdict *v);
/* After the entries were folded, and before they are stored. */
void confirm_settle(struct node *n);
void confirm_tick(struct node *n);
void confirm_answer(struct node *n, const struct kban_answer *a);

/* tidy.c --------------------------------------------------------------------------------------- */

/* One step of compacting the replica, if there is anything to do. < 0: fatal. */
int tidy_tick(struct node *n) kban_must_check;
/* 0: nothing is half done in the store. TIDY_BUSY: it is being finished now. Else enum
 * store_result, < 0 fatal. */
enum { TIDY_BUSY = 1000 };
int tidy_clear(struct node *n) kban_must_check;
void tidy_stop(struct node *n);

/* submit.c ------------------------------------------------------------------------------------- */

void submit_seal(struct node *n);
/* Sends the sealed report if it may leave and its time has come. */
void submit_send(struct node *n);
/* Our own report arrived in the log with these outcomes. */
void submit_logged(struct node *n, const struct ledger_verdict *v);
void submit_receipt(struct node *n, const struct kban_receipt *r);
/* A state was installed: our sealed report may lie below its horizon, where no stream brings it. */
void submit_installed(struct node *n);

/* link.c --------------------------------------------------------------------------------------- */

void link_tick(struct node *n);
void link_send(struct node *n, struct kban_message *m);
void link_drop(struct node *n, const char *why);
void link_trouble(struct node *n, enum node_link trouble, const char *why);
void link_progress(struct node *n);
/* From this node's place on. */
void link_subscribe(struct node *n);
void link_beat(struct node *n);

#endif
