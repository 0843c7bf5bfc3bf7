/* SPDX-License-Identifier: MPL-2.0
 *
 * Items: the bytes of one row of the ledger (LEDGER.md, "Items"). One table per type drives writing
 * and reading, so that the two can't disagree: what is read is written as the same bytes again.
 * Reading checks form only (length, flags, canonical prefixes, texts); whether a row makes sense is
 * the snapshot's question.
 */
#ifndef KBAN_STORE_ITEM_H
#define KBAN_STORE_ITEM_H

#include "store/ledger.h"
#include "store/snapshot.h"

enum item_kind {
	ITEM_HEADER = 0,
	ITEM_BAN = 1,
	ITEM_SAFE = 2,
	ITEM_UNBAN = 3,
	ITEM_STRIKES = 4,
	ITEM_PRINCIPAL = 5,
	ITEM_COUNTER = 6,
	ITEM_INVITATION = 7,
	ITEM_BROKER = 8,
	ITEM_POLICY = 9,
	ITEM_VERSIONS = 10,
	ITEM_HOUR = 11,
	ITEM_TIME = 12,
};
#define ITEM_KINDS 13

struct item_ban {
	struct kban_prefix prefix;
	struct kban_key author;
	struct ledger_ban ban; /* author is not set */
};

struct item_safe {
	struct kban_key owner;
	struct ledger_safe safe; /* owner is not set */
};

struct item_unban {
	struct kban_prefix prefix;
	uint64_t seq, time_ms;
};

struct item_strikes {
	struct kban_prefix prefix;
	uint64_t count, end_ms;
};

struct item_policy {
	struct kban_event_policy policy;
	uint64_t seq, since_ms;
};

struct item_versions {
	uint32_t fold_version;
	uint64_t fold_version_seq;
	uint32_t epoch;
	uint64_t epoch_seq;
};

struct item_hour {
	uint64_t hour, seq;
};

struct item_time {
	uint64_t ms;
};

struct item_header {
	uint8_t format;
	struct ledger_header pub;
};

struct item_row { /* one item, read */
	enum item_kind kind;
	union {
		struct item_header header;
		struct item_ban ban;
		struct item_safe safe;
		struct item_unban unban;
		struct item_strikes strikes;
		struct ledger_principal principal; /* of a counter too */
		struct ledger_invitation invitation;
		struct ledger_broker broker;
		struct item_policy policy;
		struct item_versions versions;
		struct item_hour hour;
		struct item_time time;
	};
};

struct item { /* its bytes */
	size_t n;
	uint8_t b[LEDGER_ITEM_MAX];
};

/* row is the struct of that kind (a member of the union above). */
void item_write(struct item *out, enum item_kind kind, const void *row);
/* False: not an item. A header of a newer format is read up to its format only. */
bool item_read(struct item_row *out, struct kban_span item) kban_must_check;
/* The seqs of the reports that the row rests on. */
void item_seqs(const struct item_row *row, void (*fn)(void *arg, uint64_t seq), void *arg);

#endif
