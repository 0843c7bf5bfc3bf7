/* SPDX-License-Identifier: MPL-2.0
 *
 * What the broker's files share, and nobody else sees. One struct broker owns everything; a peer is
 * one connection, a member is one CURVE key (a principal's or an invitation's), however many
 * connections it has.
 *
 * Nothing that depends on reports folded ahead leaves the broker before their commit: while
 * something is staged, receipts wait in `waiting`, and so do the messages whose answer shows the
 * ledger (Hello, Subscribe, Query). Peers that were cut stay in memory until the end of the call,
 * so that no step of it works on freed ones.
 */
#ifndef KBAN_BROKER_STATE_H
#define KBAN_BROKER_STATE_H

#include "broker/core.h"
#include "broker/refused.h"
#include "proto/hash.h"
#include "store/compact.h"
#include "store/doubt.h"

#define BROKER_ADDRESS_MAX 63
#define BROKER_PEERS_PER_KEY                                                                       \
	32 /* connections of one key; beyond it the longest silent one is cut */
#define BROKER_BATCH_BYTES_MAX	 (16U * 1024U * 1024U) /* of reports in one commit */
#define BROKER_WAITING_MAX	 (4 * BROKER_BATCH_MAX)
#define BROKER_WAITING_BYTES_MAX (8U * 1024U * 1024U) /* of messages that wait */
#define BROKER_LOG_BURST	 30		      /* log lines that peers cause ... */
#define BROKER_LOG_EVERY_MS	 10000		      /* ... in this time */
#define BROKER_FLIGHTS_MAX	 64 /* Entries messages on the way to one subscriber */
#define BROKER_FLIGHT_BYTES_MAX	 (4U * 1024U * 1024U) /* and bytes of entries in them */
#define BROKER_MESSAGE_BYTES	 (256U * 1024U)	      /* of entries in one Entries message */
#define BROKER_TAIL_MAX		 4096U		      /* newest entries kept in memory */
#define BROKER_TAIL_BYTES_MAX	 (16U * 1024U * 1024U)
#define BROKER_NONCES		 64   /* of queries, remembered */
#define BROKER_FULL_MIN_MS	 5000 /* after a full disk: the next try, doubling */
#define BROKER_FULL_MAX_MS	 60000
#define BROKER_FULL_TRY_BYTES	 (512U * 1024U) /* that have to find room before it */
#define BROKER_COMPACT_MIN_MS	 60000 /* the same for a compaction */
#define BROKER_COMPACT_MAX_MS	 3600000

struct member {
	struct kban_key curve; /* hash key */
	unsigned connected;
	uint64_t seen_ms; /* broker time of its newest message */
	char address[BROKER_ADDRESS_MAX + 1];
	uint8_t *heartbeat;	   /* the newest one's body || signature */
	struct kban_sealed sealed; /* borrows from it */
	uint32_t fold_version; /* the highest that its program knows, by its newest Hello; 0: none
				  came */
	UT_hash_handle hh;
};

struct flight {
	uint64_t last; /* seq of the last entry in the message */
	uint32_t bytes;
};

struct page {		/* where a peer's paged query goes on */
	uint64_t token; /* 0: none */
	struct kban_prefix prefix;
	uint32_t done; /* rows of exactly this prefix that were sent */
};

struct wait {			 /* a search of the log that found nothing yet */
	struct kban_query query; /* after: searched so far. Its author is the one below */
	uint8_t author[KBAN_KEY_SIZE];
	uint64_t since_ms; /* boot clock */
};

struct peer {
	uint64_t id; /* hash key */
	struct member *member;
	char address[BROKER_ADDRESS_MAX + 1];
	uint64_t heard_ms; /* boot clock */
	unsigned bad;
	bool greeted, submitted;
	bool cut; /* leaves at the end of the call; nothing of it is processed */
	uint8_t session[KBAN_SESSION_SIZE];
	struct page page;
	struct wait *wait; /* NULL: none; a new query takes its place */
	bool subscribed;
	uint32_t window;
	uint64_t sent, acked; /* seq */
	unsigned flights_first, flights_n;
	uint32_t flights_bytes;
	struct flight flights[BROKER_FLIGHTS_MAX];
	UT_hash_handle hh;
};

/* Who a connection's key is, now. Pointers live until the next fold. */
struct caller {
	const struct ledger_principal *principal;
	const struct ledger_invitation *invitation;
	enum kban_refusal refusal; /* not NONE: neither is to be served */
};

/* A Receipt to be, or a message that waits (then bytes is set). */
struct waiting {
	uint64_t peer;
	uint8_t *bytes;
	size_t len;
	struct kban_hash hash;
	bool judged; /* by the ledger: a full disk takes it back */
	enum kban_refusal refusal;
	uint64_t seq, accepted_ms;
	char detail[KBAN_TEXT_MAX];
	uint32_t epoch;
	size_t outcomes_n;
	uint32_t *outcomes;
};

struct tail_entry {
	struct kban_entry entry; /* borrows from bytes */
	size_t len;
	uint8_t bytes[];
};

struct tail { /* contiguous: first..last, none when last < first */
	uint64_t first, last;
	size_t bytes;
	struct tail_entry *slots[BROKER_TAIL_MAX]; /* by seq modulo */
};

struct batch { /* entries read from the store, shared by all who are at the same place */
	uint64_t after;
	size_t n, bytes;
	struct tail_entry *entries[KBAN_ENTRIES_MAX];
};

struct compaction {
	struct compact *job; /* NULL: none is at work */
	uint64_t began_ms;   /* boot clock, and so are the others */
	uint64_t retry_ms, full_wait_ms;
	struct doubt doubt;
	bool doubted;	/* and that was said */
	bool damaged;	/* none begins before the next start */
	bool looked;	/* for what was left half done before this start */
	bool sweeping;	/* outcomes of dropped entries: from `swept` on */
	uint64_t swept; /* seq */
};

struct broker {
	const struct kban_identity *identity;
	struct store *store;
	const struct kban_clock *clock;
	const struct broker_transport *transport;
	struct ledger *ledger;
	struct kban_place durable; /* the head that is on disk */
	bool outcomes_lack;	   /* older entries have no outcomes, until the next start */
	uint64_t horizon;

	struct peer *peers;
	struct member *members;
	unsigned cuts; /* peers to be swept */

	size_t staged; /* entries in the open transaction */
	size_t staged_events, staged_bytes;
	bool principals_changed;
	struct waiting *waiting;
	size_t waiting_n, waiting_cap, waiting_bytes;

	bool disk_full;
	bool disk_tried; /* it had room for a row since: the next commit will tell */
	uint64_t full_retry_ms, full_wait_ms; /* boot clock; doubling */

	struct refused *refused;
	struct compaction compaction;
	int failed; /* < 0: between two commits; the next one says so */

	struct tail tail;
	struct batch batch;
	uint64_t probed_ms; /* boot clock */
	uint8_t nonces[BROKER_NONCES][16];
	unsigned nonces_next;
	uint64_t page_tokens;
	uint64_t log_since_ms; /* boot clock */
	unsigned logged;
	struct broker_counts counts;
};

/* Broker time: what entries are accepted at. Never goes back below the log's. */
uint64_t broker_now(const struct broker *b);

/* start.c: 0, -errno or a store_result, with *error set. */
int fold_log(struct broker *b, char **error) kban_must_check;
int genesis_take(struct broker *b, const struct kban_sealed *s, char **error) kban_must_check;

/* peers.c */
struct peer *peer_find(const struct broker *b, uint64_t id);
/* NULL: there is no room, and the connection was cut. */
struct peer *peer_get(struct broker *b, uint64_t id, const struct kban_key *curve,
		      const char *address);
void peer_caller(const struct broker *b, const struct kban_key *curve, struct caller *out);
/* Sets version and session. */
void peer_send(struct broker *b, struct peer *p, struct kban_message *m);
/* Says why, and counts it; the connection stays. */
void peer_deny(struct broker *b, struct peer *p, enum kban_refusal reason, const char *detail);
void peer_cut(struct broker *b, struct peer *p);
/* One more message that makes no sense; too many cut it. */
void peer_bad(struct broker *b, struct peer *p);
void peer_unsubscribe(struct broker *b, struct peer *p);
/* A line that a peer causes may go to the log: there are not too many of them now. */
bool peer_may_log(struct broker *b);
const char *peer_name(const struct broker *b, const struct peer *p);
struct member *member_find(const struct broker *b, const struct kban_key *curve);
/* Frees the peers that were cut. */
void peers_sweep(struct broker *b);
void peers_free(struct broker *b);

/* submit.c */
void submit_receive(struct broker *b, struct peer *p, const struct caller *who,
		    const struct kban_sealed *s);
/* A report of a principal whose revocation is folded, not yet durable. */
void submit_revoked(struct broker *b, struct peer *p, const struct kban_sealed *s);
/* Keeps a copy of a message until the commit. */
void submit_defer(struct broker *b, struct peer *p, const uint8_t *bytes, size_t len);
void submit_free(struct broker *b);
/* core.c: a message that waited, when nothing is staged any more. */
void core_resume(struct broker *b, struct peer *p, const uint8_t *bytes, size_t len);

/* stream.c */
void stream_subscribe(struct broker *b, struct peer *p, const struct kban_subscribe *s);
void stream_ack(struct broker *b, struct peer *p, uint64_t seq);
void stream_feed_all(struct broker *b);
/* Everything up to and including seq whatever the window says, if the peer is near enough. */
bool stream_last_words(struct broker *b, struct peer *p, uint64_t seq);
void stream_stage(struct broker *b, const struct kban_entry *e);
/* Forgets what was staged above the durable head. */
void stream_unstage(struct broker *b);
/* Calls fn with the entry, staged ones too; STORE_NOT_FOUND. */
int stream_entry(struct broker *b, uint64_t seq, store_entry_fn *fn, void *arg) kban_must_check;
/* The horizon moved: whoever is still before it can't go on. */
void stream_overtaken(struct broker *b);
void stream_free(struct broker *b);

/* beats.c */
void beat_receive(struct broker *b, struct peer *p, const struct caller *who,
		  const struct kban_sealed *s);
/* A query's nonce goes to every subscribed node, once. */
void beat_nonce(struct broker *b, struct kban_text nonce);
void beat_probe_all(struct broker *b);

/* queries.c */
void query_receive(struct broker *b, struct peer *p, const struct caller *who,
		   const struct kban_query *q);

/* answer_log.c: searches that wait for entries. */
void wait_hold(struct broker *b, struct peer *p, const struct kban_query *q);
void wait_drop(struct peer *p);
/* After a commit, nothing staged: goes on with those that are behind the head, a bounded number of
 * them. */
void waits_wake(struct broker *b);
/* Nothing staged: the same, and answers those that waited long. */
void waits_tick(struct broker *b, uint64_t now_ms);

/* versions.c: the broker may not take the report yet, since it would switch on rules that not
 * everyone knows. entry is what it would become, v what it was judged. detail gets a sentence for
 * people. */
bool version_is_early(const struct broker *b, const struct kban_entry *entry,
		      const struct kban_report *r, const struct ledger_verdict *v, char *detail,
		      size_t size);

/* compaction.c: with nothing staged. < 0: fatal. */
void compaction_start(struct broker *b);
bool compaction_works(const struct broker *b);
int compaction_step(struct broker *b) kban_must_check;
/* Begins one when it is time. */
int compaction_tick(struct broker *b) kban_must_check;

#endif
