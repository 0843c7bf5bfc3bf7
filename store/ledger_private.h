/* SPDX-License-Identifier: MPL-2.0
 *
 * The ledger from inside: its tables, and what the files that make it up call of each other. Only
 * they and the ledger's own tests include this.
 *
 * ledger.c: place, time, lookups of the whole. fold.c: judging and applying entries. event_*.c:
 * what each kind of event does. bans.c, safes.c, members.c: the tables. expiry.c: what is dropped
 * when. digest.c: the digest. item.c: a row's bytes. snapshot*.c: the whole as items, and back.
 *
 * Every item that the digest holds is taken out (DIGEST_REMOVE) before it changes and put back
 * (DIGEST_ADD) after; the functions that change a table do so themselves.
 */
#ifndef KBAN_STORE_LEDGER_PRIVATE_H
#define KBAN_STORE_LEDGER_PRIVATE_H

#include <utlist.h>

#include "proto/hash.h"
#include "store/heap.h"
#include "store/item.h"
#include "store/ledger.h"
#include "store/trie.h"

#define LEDGER_HOUR_MS 3600000ULL
#define LEDGER_DAY_MS  86400000ULL
/* How long ended bans and expired invitations are still known. */
#define LEDGER_KEEP_MS	LEDGER_DAY_MS
#define LEDGER_TIME_MAX (UINT64_MAX / 2) /* no sum of a time and a duration overflows */
#define LEDGER_LANES	4
#define LEDGER_BROKERS	64

struct ledger_limits { /* of the tables; tests make them small */
	uint32_t ban_records, prefix_records, strikes, unbans;
	uint32_t principals, invitations, safes_per_owner, brokers;
};

enum due_kind {
	DUE_BANS = 0,
	DUE_PARDON = 1,
	DUE_INVITATION = 2,
};
#define DUE_KINDS 3

struct ban_row { /* records and strikes of one prefix */
	struct due due;
	struct kban_prefix prefix;
	uint8_t records_n;
	bool running;	  /* at ledger time: counted in ledger.running */
	uint64_t strikes; /* 0: no strike row */
	uint64_t strikes_end_ms;
	union {
		struct ledger_ban one;	 /* records_n <= 1 */
		struct ledger_ban *many; /* room for the next power of two */
	};
};

struct pardon { /* unban and safe ranges of one prefix */
	struct due due;
	struct kban_prefix prefix;
	uint64_t unban_seq; /* 0: no unban row */
	uint64_t unban_ms;
	struct pardon *prev, *next; /* unbans in order of seq */
	struct safe *safes;	    /* in order of granting */
	uint64_t safes_end_ms;	    /* the earliest end among them; HEAP_NEVER: none has one */
	uint32_t safes_active;	    /* active or approved, whether they run or not */
};

struct safe {
	struct ledger_safe pub; /* first: lookups hand it out */
	struct pardon *pardon;
	struct safe *prev, *next;	      /* of its prefix */
	struct safe *owner_prev, *owner_next; /* of its owner */
};

struct principal {
	struct ledger_principal pub; /* first: lookups hand it out */
	struct safe *safes;
	UT_hash_handle by_key, by_curve, by_name;
};

struct invitation {
	struct due due;
	struct ledger_invitation pub;
	UT_hash_handle by_key, by_curve, by_name;
};

struct hour {
	uint64_t hour, seq;
};

struct ledger {
	struct kban_cluster_id cluster;
	struct kban_place place;
	uint64_t time_ms;
	uint64_t lanes[LEDGER_LANES];
	uint64_t mark_seq;
	struct kban_hash mark_chain, mark_digest;
	uint32_t fold_version;
	uint64_t fold_version_seq; /* of the newest fold-version event; 0: none */
	uint64_t epoch_seq;	   /* of the newest epoch event; 0: none */
	struct kban_event_policy policy;
	uint64_t policy_seq, policy_ms; /* who set it and when; 0: the default */
	uint64_t timed_history_ms;	/* the history period that the heap's times are based on */
	struct ledger_limits limits;

	struct principal *principals, *principals_by_curve, *principals_by_name;
	struct invitation *invitations, *invitations_by_curve, *invitations_by_name;
	const struct principal *author; /* of the entry being folded: not in the digest meanwhile */

	struct trie bans; /* struct ban_row */
	uint64_t records_n, strikes_n;
	uint64_t running;    /* prefixes with a ban that runs at ledger time */
	struct trie pardons; /* struct pardon */
	struct pardon *unbans;
	uint64_t unbans_n;
	struct heap heap;
	bool wary; /* ledger_doubt_ranges() */

	size_t hours_n, hours_capacity;
	struct hour *hours; /* rising */
	size_t brokers_n;
	struct ledger_broker brokers[LEDGER_BROKERS];
};

/* Folding ------------------------------------------------------------------------------------ */

struct fold { /* what is known about the entry while its events are judged */
	uint64_t now, seq;
	uint64_t base; /* as a seq of the present epoch */
	bool late;
	uint32_t index; /* of the event */
	const struct kban_report *report;
	struct principal *author;		/* or */
	struct invitation *invitation;		/* of a join */
	const struct ledger_observer *observer; /* never NULL in effects */
};

typedef enum kban_outcome judge_fn(const struct ledger *l, const struct fold *f,
				   const struct kban_event *e);
/* Called when the outcome counts, and for over-quota. */
typedef void effect_fn(struct ledger *l, const struct fold *f, const struct kban_event *e,
		       enum kban_outcome o);

judge_fn judge_ban, judge_unban, judge_safe_add, judge_safe_remove, judge_safe_approve, judge_grant,
	judge_revoke, judge_purge, judge_invite, judge_join, judge_policy, judge_broker_address,
	judge_release, judge_fold_version, judge_epoch;
effect_fn effect_ban, effect_unban, effect_safe_add, effect_safe_remove, effect_safe_approve,
	effect_grant, effect_revoke, effect_purge, effect_invite, effect_join, effect_policy,
	effect_broker_address, effect_release, effect_fold_version, effect_epoch;

#define ROLE(role)	(1U << (role))
#define ROLE_INVITATION 1U /* no role has number 0 */

/* That an event can give. */
#define ROLES_GRANTABLE                                                                            \
	(ROLE(KBAN_ROLE_NODE) | ROLE(KBAN_ROLE_OPERATOR) | ROLE(KBAN_ROLE_FEEDER) |                \
	 ROLE(KBAN_ROLE_READER) | ROLE(KBAN_ROLE_BROKER))

static inline bool role_is_limited(enum kban_role role)
{
	return ROLE(role) & (ROLE(KBAN_ROLE_NODE) | ROLE(KBAN_ROLE_FEEDER));
}

/* Who may say it: bits ROLE(). */
unsigned event_roles(enum kban_event_kind kind);
/* What policies can't change: how wide a ban of that role may be, with force. */
bool ban_within_role(const struct kban_prefix *p, enum kban_role role);

void observe_ban(const struct fold *f, const struct kban_prefix *p);
void observe_lifted(const struct fold *f, const struct kban_prefix *p);
void observe_safe(const struct fold *f, const struct kban_prefix *p);
void observe_principal(const struct fold *f, const struct kban_key *key);
void observe_brokers(const struct fold *f);

/* Bans --------------------------------------------------------------------------------------- */

struct ban_row *ban_row_find(const struct ledger *l, const struct kban_prefix *p);
const struct ledger_ban *ban_row_records(const struct ban_row *row);
/* When the longest-running record ends; 0 when none runs at now. */
uint64_t ban_row_until(const struct ban_row *row, uint64_t now);
/* A record by another than this author that the ledger still knows at now. */
bool ban_row_has_other(const struct ban_row *row, const struct principal *author, uint64_t now);
bool ban_row_has_other_running(const struct ban_row *row, const struct principal *author,
			       uint64_t now);
bool bans_full(const struct ledger *l, const struct kban_prefix *p, uint64_t now);
/* To write in p's row: make it (or find it), change it, settle it, which frees it if it is empty.
 */
struct ban_row *ban_row_make(struct ledger *l, const struct kban_prefix *p);
void bans_add(struct ledger *l, struct ban_row *row, const struct ledger_ban *record);
/* The strike's count once the prefix is banned (again) at now. */
uint64_t strikes_next(const struct ledger *l, const struct ban_row *row, uint64_t now);
void strikes_add(struct ledger *l, struct ban_row *row, uint64_t now, uint64_t end_ms);
void ban_row_settle(struct ledger *l, struct ban_row *row);
/* Ends a row's running records, of author or (NULL) of all; true if there were any. */
bool bans_end(struct ledger *l, struct ban_row *row, const struct principal *author, uint64_t now);
void bans_end_inside(struct ledger *l, const struct kban_prefix *p, uint64_t now);
void ban_row_free(struct ban_row *row);

/* Safe ranges and unbans --------------------------------------------------------------------- */

/* For an operator. */
bool safe_too_wide(const struct kban_event_safe_add *a);
bool safe_runs(const struct safe *s, uint64_t now);
/* A node's range may be so wide and count for the fleet without an approval. */
bool safe_within(const struct kban_event_policy *policy, const struct kban_prefix *p);
/* The owner's range of exactly p that runs at now. */
struct safe *safe_find(const struct ledger *l, const struct kban_prefix *p,
		       const struct principal *owner, uint64_t now);
/* How many ranges the owner has at now, in any state. */
uint32_t safes_of(const struct principal *owner, uint64_t now);
void safe_add(struct ledger *l, const struct ledger_safe *s);
void safe_set_until(struct ledger *l, struct safe *s, uint64_t until_ms);
/* An operator's word about a node's range. */
void safe_decide(struct ledger *l, struct safe *s, enum ledger_safe_state state, uint64_t seq);
void safe_drop(struct ledger *l, struct safe *s);
struct pardon *pardon_find(const struct ledger *l, const struct kban_prefix *p);
void unban_set(struct ledger *l, const struct kban_prefix *p, uint64_t seq, uint64_t now);
/* The seq of the newest unban that covers p and is remembered at now; 0: none. */
uint64_t unban_seq(const struct ledger *l, const struct kban_prefix *p, uint64_t now);
void unban_drop(struct ledger *l, struct pardon *m);
/* Frees the pardon if nothing is left in it; else sets when it is due. */
void pardon_settle(struct ledger *l, struct pardon *m);
void pardon_free(struct pardon *m);
/* Once all that a snapshot has is there: the order of unbans and of each owner's ranges. */
void pardons_sort(struct ledger *l);

/* Principals and invitations ----------------------------------------------------------------- */

struct principal *principal_find(const struct ledger *l, const struct kban_key *key);
struct principal *principal_add(struct ledger *l, const struct ledger_principal *p);
/* Around every change of a principal. */
void principal_open(struct ledger *l, const struct principal *p);
void principal_close(struct ledger *l, const struct principal *p);
/* Could report at that seq. */
bool principal_was_live(const struct principal *p, uint64_t seq);
void principal_revoke(struct ledger *l, struct principal *p, uint64_t seq);
struct invitation *invitation_find(const struct ledger *l, const struct kban_key *key,
				   uint64_t now);
void invitation_add(struct ledger *l, const struct ledger_invitation *i);
void invitation_open(struct ledger *l, const struct invitation *i);
/* After a change that made it used or revoked. */
void invitation_close(struct ledger *l, struct invitation *i);
void invitation_drop(struct ledger *l, struct invitation *i);
uint32_t invitations_count(const struct ledger *l, uint64_t now);
/* One of the two is known, as a principal's or an invitation's, or they are the same. */
bool keys_used(const struct ledger *l, const struct kban_key *key, const struct kban_key *curve,
	       uint64_t now);
bool name_taken(const struct ledger *l, const char *name, size_t n);
bool name_invited(const struct ledger *l, const char *name, size_t n, uint64_t now);
void members_free(struct ledger *l);

/* The rest of the fleet ---------------------------------------------------------------------- */

bool policy_equal(const struct kban_event_policy *a, const struct kban_event_policy *b);
void policy_set(struct ledger *l, const struct kban_event_policy *p, uint64_t seq, uint64_t now);
/* Endpoint and addresses. */
bool broker_equal(const struct ledger_broker *b, const struct kban_event_broker_address *a);

/* Hours, expiry ------------------------------------------------------------------------------ */

static inline uint64_t hour_end_ms(uint64_t hour)
{
	return (hour + 1) * LEDGER_HOUR_MS;
}
void hour_add(struct ledger *l, uint64_t hour, uint64_t seq);
/* Drops every row that is old, the newest too: no longer history period brings them back. */
void hours_forget(struct ledger *l);
/* The seq at which the history period begins, for the entry that will have this seq. */
uint64_t hours_start(const struct ledger *l, uint64_t now, uint64_t seq);

void expiry_run(struct ledger *l);
/* The heap's times once the policy's history period has changed. */
void expiry_retime(struct ledger *l);
void due_settle(struct ledger *l, struct due *d);
/* How many ban records and strike rows that are still in the tables are gone at now. */
void expiry_count(const struct ledger *l, uint64_t now, uint64_t *records, uint64_t *strikes);
uint64_t ban_row_due(const struct ledger *l, const struct ban_row *row);
uint64_t pardon_due(const struct ledger *l, const struct pardon *m);
void ban_row_expire(struct ledger *l, struct ban_row *row);
void pardon_expire(struct ledger *l, struct pardon *m);

/* Digest ------------------------------------------------------------------------------------- */

enum digest_change {
	DIGEST_ADD = 1,
	DIGEST_REMOVE = -1,
};

void digest_ban(struct ledger *l, enum digest_change c, const struct kban_prefix *p,
		const struct ledger_ban *ban);
void digest_safe(struct ledger *l, enum digest_change c, const struct ledger_safe *s);
void digest_unban(struct ledger *l, enum digest_change c, const struct pardon *m);
void digest_strikes(struct ledger *l, enum digest_change c, const struct ban_row *row);
void digest_principal(struct ledger *l, enum digest_change c, const struct ledger_principal *p);
void digest_invitation(struct ledger *l, enum digest_change c, const struct ledger_invitation *i);
void digest_broker(struct ledger *l, enum digest_change c, const struct ledger_broker *b);
void digest_policy(struct ledger *l, enum digest_change c);
void digest_versions(struct ledger *l, enum digest_change c);
void digest_hour(struct ledger *l, enum digest_change c, const struct hour *h);
void digest_time(struct ledger *l, enum digest_change c);

/* Rows as items have them; the other rows are their public structs. */
struct item_ban ban_item(const struct kban_prefix *p, const struct ledger_ban *ban);
struct item_safe safe_item(const struct ledger_safe *s);
struct item_unban unban_item(const struct pardon *m);
struct item_strikes strikes_item(const struct ban_row *row);
struct item_policy policy_item(const struct ledger *l);
struct item_versions versions_item(const struct ledger *l);

/* Tests only: small tables. */
void ledger_limit(struct ledger *l, const struct ledger_limits *limits);

#endif
