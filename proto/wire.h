/* SPDX-License-Identifier: MPL-2.0
 *
 * Messages between a peer and a broker, encoded and decoded. One validating decoder: whatever
 * kban_message_decode() returns has every field within its limits; signed parts are handed on as borrowed
 * bytes for kban_report_decode() and kban_heartbeat_decode(). A decoded message owns its memory. wire.c,
 * report.c and their pb.c alone see the generated protobuf header.
 */
#ifndef KBAN_PROTO_WIRE_H
#define KBAN_PROTO_WIRE_H

#include "proto/report.h"

enum kban_message_kind { /* the numbers are the wire's field numbers in Message */
	KBAN_MSG_HELLO = 3,
	KBAN_MSG_WELCOME = 4,
	KBAN_MSG_SUBMIT = 5,
	KBAN_MSG_RECEIPT = 6,
	KBAN_MSG_SUBSCRIBE = 7,
	KBAN_MSG_ENTRIES = 8,
	KBAN_MSG_ACK = 9,
	KBAN_MSG_HEARTBEAT = 10,
	KBAN_MSG_PROBE = 11,
	KBAN_MSG_QUERY = 12,
	KBAN_MSG_ANSWER = 13,
	KBAN_MSG_NO_SESSION = 14,
};

/* What became of one event of a report; decided by the fold. Numbers travel. */
enum kban_outcome {
	KBAN_OUTCOME_COUNTED = 1,
	KBAN_OUTCOME_HISTORY = 2,  /* counted for strikes and the audit trail, bans nothing */
	KBAN_OUTCOME_HELD = 3,	   /* a node's safe range that waits for an operator's approval */
	KBAN_OUTCOME_SAFE = 4,	   /* a safe range covers it */
	KBAN_OUTCOME_NEVER_BAN = 5, /* on the never-ban list, or a broker's address */
	KBAN_OUTCOME_LIMIT = 6,	   /* wider than its author may */
	KBAN_OUTCOME_UNBANNED = 7, /* based on a place before an unban of it */
	KBAN_OUTCOME_OVER_QUOTA = 8, /* and puts its author on hold */
	KBAN_OUTCOME_DENIED = 9,   /* not for this role */
	KBAN_OUTCOME_NOT_FOUND = 10,
	KBAN_OUTCOME_NO_CHANGE = 11, /* is so already */
	KBAN_OUTCOME_NAME_TAKEN = 12,
	KBAN_OUTCOME_KEY_USED = 13,  /* a key can't be granted or invited twice, revoked ones included */
	KBAN_OUTCOME_USED = 14,	   /* the invitation was used */
	KBAN_OUTCOME_EXPIRED = 15, /* the invitation's time has run out */
	KBAN_OUTCOME_BAD_PROOF = 16,
	KBAN_OUTCOME_OUT_OF_RANGE = 17, /* a policy, epoch or version outside what is allowed */
	KBAN_OUTCOME_FULL = 18,	   /* a table of the ledger is at its limit */
};
#define KBAN_OUTCOMES 19

/* Why a whole report, or a whole connection, was refused. Numbers travel. */
enum kban_refusal {
	KBAN_REFUSAL_NONE = 0,
	KBAN_REFUSAL_MALFORMED = 1,
	KBAN_REFUSAL_TOO_LARGE = 2,
	KBAN_REFUSAL_UNKNOWN_EVENT = 3,
	KBAN_REFUSAL_BAD_SIGNATURE = 4,
	KBAN_REFUSAL_WRONG_CLUSTER = 5,
	KBAN_REFUSAL_UNKNOWN_AUTHOR = 6,
	KBAN_REFUSAL_NOT_YOURS = 7, /* signed by another principal than the one that sent it */
	KBAN_REFUSAL_REVOKED = 8,
	KBAN_REFUSAL_DUPLICATE = 9, /* is in the log already: seq says where */
	KBAN_REFUSAL_COUNTER_CONFLICT = 10,
	KBAN_REFUSAL_COUNTER_STALE = 11,
	KBAN_REFUSAL_BASE_AHEAD = 12,
	KBAN_REFUSAL_ON_HOLD = 13,
	KBAN_REFUSAL_DISK_FULL = 14,
	KBAN_REFUSAL_CLOCK_SUSPECT = 15,
	KBAN_REFUSAL_RECOVERING = 16,
	KBAN_REFUSAL_VERSION = 17, /* no common protocol version */
	KBAN_REFUSAL_UNKNOWN_SESSION = 18,
	KBAN_REFUSAL_CURSOR_AHEAD = 19,	/* the subscriber is ahead of this log */
	KBAN_REFUSAL_FORK = 20,	 /* the subscriber's chain is not this log's */
	KBAN_REFUSAL_OLD_EPOCH = 21,
	KBAN_REFUSAL_UPGRADE_NEEDED = 22, /* fold version */
	KBAN_REFUSAL_DENIED = 23,
	KBAN_REFUSAL_INVITATION_USED = 24, /* detail names the first join's time and fingerprint */
	KBAN_REFUSAL_BUSY = 25,
	KBAN_REFUSAL_STOPPING = 26,
	KBAN_REFUSAL_BELOW_HORIZON = 27, /* the subscriber's cursor: it has to take the state there first */
};
#define KBAN_REFUSALS 28

const char *kban_outcome_name(unsigned outcome); /* "counted", "never-ban", ...; "unknown" */
const char *kban_refusal_name(unsigned refusal); /* "wrong-cluster", ...; "unknown" */
/* The outcome put the event into effect (counted, history, held). */
bool kban_outcome_counts(enum kban_outcome o);

enum kban_status_bit { /* in a heartbeat */
	KBAN_STATUS_UNCONFIRMED = 1 << 0,
	KBAN_STATUS_FORK = 1 << 1,
	KBAN_STATUS_KERNEL_FAILED = 1 << 2, /* the kernel refuses: bans are not enforced */
	KBAN_STATUS_LOG_MISSING = 1 << 3,
	KBAN_STATUS_DISK_FULL = 1 << 4,
	KBAN_STATUS_CLOCK_OFF = 1 << 5, /* over 60 s from broker time */
	KBAN_STATUS_UPGRADE_NEEDED = 1 << 6,
	KBAN_STATUS_WATCHING = 1 << 7, /* by configuration it blocks nothing */
};

struct kban_place { /* a place in the log */
	uint32_t epoch;
	uint64_t seq;
	struct kban_hash chain;
};

struct kban_entry {
	uint64_t seq;
	uint64_t accepted_ms;
	struct kban_sealed sealed;
};

struct kban_hello {
	uint32_t min_version, max_version, fold_version;
	struct kban_cluster_id cluster;
	struct kban_text program; /* "kban-node 0.1.0" */
};

struct kban_welcome {
	uint32_t version;
	uint8_t session[KBAN_SESSION_SIZE];
	struct kban_place head;
	struct kban_hash digest;
	uint64_t broker_ms;
	uint32_t fold_version;
	bool has_newest;
	struct kban_sealed newest;
	uint64_t horizon;
};

struct kban_receipt {
	struct kban_hash hash;
	uint32_t refusal; /* enum kban_refusal */
	size_t outcomes_n;
	const uint32_t *outcomes; /* enum kban_outcome, one per event */
	uint64_t seq, accepted_ms;
	uint32_t epoch;
	struct kban_text detail;
};

struct kban_subscribe {
	struct kban_place cursor;
	uint32_t window; /* 1..KBAN_WINDOW_MAX */
};

struct kban_entries {
	uint32_t epoch;
	uint64_t head;
	uint64_t broker_ms;
	size_t entries_n;
	const struct kban_entry *entries;
};

struct kban_ack {
	uint64_t seq;
};

struct kban_heartbeat_sealed {
	struct kban_sealed sealed;
};

struct kban_probe {
	struct kban_text nonce; /* 0 or 16 raw bytes (not text) */
	uint64_t broker_ms;
	uint64_t head; /* seq of the newest entry */
};

enum kban_query_kind {
	KBAN_QUERY_CLUSTER = 1,
	KBAN_QUERY_BANS = 2,
	KBAN_QUERY_SAFE = 3,
	KBAN_QUERY_LOG = 4,	/* entries by filter; `next` is the seq that was searched so far */
	KBAN_QUERY_STATE = 5,	/* the state at the horizon, then what it rests on; place is the horizon */
	KBAN_QUERY_POLICY = 6,	/* the entry that set the policy; none: it is the default */
	KBAN_QUERY_REFUSED = 7, /* the newest refused reports, from the broker's memory, newest first */
};

struct kban_query {
	enum kban_query_kind kind;
	uint64_t after;
	struct kban_text nonce; /* 0 or 16 raw bytes */
	bool has_prefix;
	struct kban_prefix prefix;
	struct kban_text author; /* 0 or KBAN_KEY_SIZE raw bytes */
	uint32_t kinds;		 /* 1 << enum kban_event_kind; 0: all */
	uint64_t since_ms;
	bool wait;
};

struct kban_member_row {
	struct kban_key key;
	struct kban_text name;
	enum kban_role role;
	struct kban_text address; /* as the broker sees it */
	bool connected, held;
	uint64_t seen_ms; /* broker time of its newest message; 0 never */
	uint64_t revoked_seq, since_ms;
	bool has_heartbeat;
	struct kban_sealed heartbeat;
};

struct kban_invite_row {
	struct kban_key key;
	struct kban_text name;
	enum kban_role role;
	uint64_t expires_ms, used_seq;
};

struct kban_ban_row {
	struct kban_prefix prefix;
	uint64_t since_ms, until_ms;
	struct kban_text author; /* of the longest-running one */
	struct kban_text rule, service, reason;
	uint32_t count, sources;
};

struct kban_safe_row {
	struct kban_prefix prefix;
	struct kban_text author;
	struct kban_key owner;
	enum kban_role role;
	uint32_t state; /* enum ledger_safe_state */
	uint64_t since_ms, until_ms;
	struct kban_text reason;
};

struct kban_record_row { /* of a ban event that the ledger still knows */
	uint32_t index; /* of the event in its report */
	uint64_t since_ms, until_ms, strikes;
	bool ended; /* before its time */
};

struct kban_log_row {
	uint64_t seq; /* 0: refused, not in the log */
	uint64_t accepted_ms;
	struct kban_sealed report;
	uint32_t refusal;	  /* enum kban_refusal, of the whole report */
	size_t outcomes_n;	  /* none, or one per event */
	const uint32_t *outcomes; /* enum kban_outcome */
	size_t records_n;
	const struct kban_record_row *records;
};

struct kban_state_page {
	const uint8_t *items;
	size_t items_len;
};

struct kban_answer {
	enum kban_query_kind kind;
	struct kban_place place;
	struct kban_hash digest;
	uint64_t broker_ms, next;
	size_t members_n, invites_n, bans_n, safes_n, proofs_n, log_n, state_n;
	const struct kban_member_row *members;
	const struct kban_invite_row *invites;
	const struct kban_ban_row *bans;
	const struct kban_safe_row *safes;
	const struct kban_entry *proofs;
	const struct kban_log_row *log;
	const struct kban_state_page *state;
};

struct kban_no_session {
	uint32_t reason; /* enum kban_refusal */
	struct kban_text detail;
};

struct kban_message {
	enum kban_message_kind kind;
	uint32_t version;
	bool has_session;
	uint8_t session[KBAN_SESSION_SIZE]; /* absent in Hello, and in NoSession */
	union {
		struct kban_hello hello;
		struct kban_welcome welcome;
		struct kban_sealed submit;
		struct kban_receipt receipt;
		struct kban_subscribe subscribe;
		struct kban_entries entries;
		struct kban_ack ack;
		struct kban_sealed heartbeat;
		struct kban_probe probe;
		struct kban_query query;
		struct kban_answer answer;
		struct kban_no_session no_session;
	};
	void *arena;
};

enum kban_message_result {
	KBAN_MESSAGE_MALFORMED = 1,
	KBAN_MESSAGE_TOO_LARGE,
	KBAN_MESSAGE_VERSION, /* another protocol version: only (*out)->version and ->kind are set */
};

int kban_message_decode(struct kban_message **out, const uint8_t *bytes, size_t len) kban_must_check;
void kban_message_free(struct kban_message *m);
KBAN_DEFINE_AUTO(struct kban_message *, kban_message_free)

/* Encodes m with protocol version m->version; *bytes is the caller's to free(). Never fails for messages
 * within the limits; a broken limit is a bug and ends the process. */
void kban_message_encode(uint8_t **bytes, size_t *len, const struct kban_message *m);

/* A heartbeat's signed content. */
struct kban_heartbeat {
	struct kban_cluster_id cluster;
	struct kban_key author;
	struct kban_place place;
	struct kban_hash digest;
	uint64_t mark_seq; /* the last seq <= place.seq divisible by 1024, 0 when there is none */
	struct kban_hash mark_chain, mark_digest;
	uint64_t enforced_seq, bans_enforced, bans_wanted, own_ms, repairs, outbox;
	char version[KBAN_VERSION_MAX + 1];
	size_t nonce_n; /* 0 or 16 */
	uint8_t nonce[16];
	uint32_t fold_version, status;
};

int kban_heartbeat_decode(struct kban_heartbeat *out, const struct kban_sealed *sealed) kban_must_check;
bool kban_heartbeat_check(const struct kban_heartbeat *h, const struct kban_sealed *sealed) kban_must_check;
/* As kban_report_seal(). */
void kban_heartbeat_seal(struct kban_heartbeat *h, const struct kban_keypair *k, uint8_t **bytes,
			 struct kban_sealed *sealed);

#endif
