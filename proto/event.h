/* SPDX-License-Identifier: MPL-2.0
 *
 * Events, as plain structs: what a report says, after validation. PROTOCOL.md has the wire form,
 * store/LEDGER.md what each one means. Texts and prefix lists are borrowed from the decoded report and
 * live as long as it does; a text is valid UTF-8 without control characters, not NUL-terminated.
 */
#ifndef KBAN_PROTO_EVENT_H
#define KBAN_PROTO_EVENT_H

#include "proto/key.h"
#include "proto/limits.h"
#include "proto/prefix.h"

enum kban_event_kind { /* the numbers are the wire's field numbers in Event */
	KBAN_EVENT_BAN = 1,
	KBAN_EVENT_UNBAN = 2,
	KBAN_EVENT_SAFE_ADD = 3,
	KBAN_EVENT_SAFE_REMOVE = 4,
	KBAN_EVENT_SAFE_APPROVE = 5,
	KBAN_EVENT_GRANT = 6,
	KBAN_EVENT_REVOKE = 7,
	KBAN_EVENT_PURGE = 8,
	KBAN_EVENT_INVITE = 9,
	KBAN_EVENT_JOIN = 10,
	KBAN_EVENT_POLICY = 11,
	KBAN_EVENT_BROKER_ADDRESS = 12,
	KBAN_EVENT_RELEASE = 13,
	KBAN_EVENT_FOLD_VERSION = 14,
	KBAN_EVENT_EPOCH = 15,
};
#define KBAN_EVENT_KINDS 16

enum kban_role {
	KBAN_ROLE_NODE = 1,
	KBAN_ROLE_OPERATOR = 2,
	KBAN_ROLE_FEEDER = 3,
	KBAN_ROLE_READER = 4,
	KBAN_ROLE_BROKER = 5,
	KBAN_ROLE_ROOT = 6, /* the cluster's root key; never granted by an event */
};

struct kban_text {
	const char *s;
	size_t n;
};

struct kban_event_ban {
	struct kban_prefix prefix;
	uint64_t duration_ms; /* 0: history only (its time had run out) */
	bool force;	      /* operator: allow a prefix wider than the limit */
	struct kban_text rule;
	struct kban_text service;
	struct kban_text server; /* which watched server, if not the author itself */
	struct kban_text line;	 /* the log line, escaped */
	struct kban_text reason; /* an operator's words */
	uint32_t count;
	uint64_t first_ms, last_ms; /* the author's clock */
};

struct kban_event_unban {
	struct kban_prefix prefix;
	bool covering; /* end wider bans that cover it too */
	struct kban_text reason;
};

struct kban_event_safe_add {
	struct kban_prefix prefix;
	uint64_t duration_ms; /* 0: until removed */
	bool force;
	struct kban_text reason;
};

struct kban_event_safe_remove {
	struct kban_prefix prefix;
	bool all; /* operator: whoever published it; otherwise the author's own */
	struct kban_text reason;
};

struct kban_event_safe_approve {
	struct kban_prefix prefix;
	struct kban_key owner; /* whose held range */
	struct kban_text reason;
};

struct kban_event_grant {
	struct kban_key key, curve;
	enum kban_role role;
	struct kban_text name;
};

struct kban_event_revoke {
	struct kban_key key; /* a principal's, or an invitation's */
	bool keep_safe;	     /* its safe ranges stay */
	struct kban_text reason;
};

struct kban_event_purge { /* ends every ban of this author */
	struct kban_key key;
	struct kban_text reason;
};

struct kban_event_invite {
	struct kban_key key, curve;
	enum kban_role role;
	struct kban_text name;
	uint64_t duration_ms;
};

struct kban_event_join {
	struct kban_key key, curve;
	uint8_t proof[KBAN_SIGNATURE_SIZE]; /* by key, over "kban join v1", cluster, invitation's key, key, curve */
};

struct kban_event_policy { /* replaces the policy whole; store/LEDGER.md gives ranges and defaults */
	uint32_t quota_per_hour;
	uint32_t safe_max, safe_min_len4, safe_min_len6;
	uint32_t repeat_percent;
	uint64_t repeat_max_ms;
	uint64_t history_ms;
	uint32_t ban_min_len4, ban_min_len6; /* an operator's bans, without force */
	uint64_t node_ban_max_ms;	     /* one ban of a node or feeder, before lengthening */
};

struct kban_event_broker_address {
	struct kban_key curve;
	bool remove;
	struct kban_text endpoint;
	size_t addresses_n;
	const struct kban_prefix *addresses; /* single addresses; never banned */
};

struct kban_event_release {
	struct kban_key key;
	struct kban_text reason;
};

struct kban_event_fold_version {
	uint32_t version;
	bool force; /* the broker is not to ask whether every node knows it */
};

struct kban_event_epoch {
	uint32_t epoch;
	struct kban_text reason;
};

struct kban_event {
	enum kban_event_kind kind;
	union {
		struct kban_event_ban ban;
		struct kban_event_unban unban;
		struct kban_event_safe_add safe_add;
		struct kban_event_safe_remove safe_remove;
		struct kban_event_safe_approve safe_approve;
		struct kban_event_grant grant;
		struct kban_event_revoke revoke;
		struct kban_event_purge purge;
		struct kban_event_invite invite;
		struct kban_event_join join;
		struct kban_event_policy policy;
		struct kban_event_broker_address broker_address;
		struct kban_event_release release;
		struct kban_event_fold_version fold_version;
		struct kban_event_epoch epoch;
	};
};

/* "ban", "safe-add", ...: the names that logs, JSON and PROTOCOL.md use. */
const char *kban_event_kind_name(enum kban_event_kind kind);
const char *kban_role_name(enum kban_role role);
bool kban_role_parse(enum kban_role *out, const char *name) kban_must_check;
/* A principal's name: 1..KBAN_NAME_MAX of [a-z0-9.-], starting with a letter or digit. */
bool kban_name_valid(const char *s, size_t n) kban_must_check;
/* A text is valid: UTF-8, no control characters, at most max bytes. */
bool kban_text_valid(const char *s, size_t n, size_t max) kban_must_check;
/* tcp://HOST:PORT, HOST a name, an IPv4 address or [IPv6]. */
bool kban_endpoint_valid(const char *s, size_t n) kban_must_check;

static inline struct kban_text kban_text(const char *s)
{
	return (struct kban_text){s, s ? __builtin_strlen(s) : 0};
}

#endif
