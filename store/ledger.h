/* SPDX-License-Identifier: MPL-2.0
 *
 * The ledger: the state that you get by folding the log in order. LEDGER.md is the rule; this is its only
 * implementation, used by broker, node, gateway, kbanctl and simulator alike. Pure: no clock, no I/O, no
 * configuration, integers only. At the same place in the log two ledgers have the same digest.
 *
 * ledger_judge() says what would become of a report and changes nothing; ledger_apply() folds an entry. All
 * lookups take a time and treat what ended by then as gone, whether or not the fold has dropped it yet.
 * Pointers returned by lookups live until the next ledger_apply().
 */
#ifndef KBAN_STORE_LEDGER_H
#define KBAN_STORE_LEDGER_H

#include "proto/wire.h"

#define LEDGER_MARK_EVERY 1024 /* chain and digest are remembered at each seq divisible by this */

struct ledger;

void ledger_new(struct ledger **out, const struct kban_key *root);
void ledger_free(struct ledger *l);
KBAN_DEFINE_AUTO(struct ledger *, ledger_free)

/* Folding -------------------------------------------------------------------------------------------- */

struct ledger_verdict {
	enum kban_refusal refusal; /* of the whole report; then no outcome is set */
	uint64_t duplicate_seq;	   /* with KBAN_REFUSAL_DUPLICATE: where it is */
	size_t outcomes_n;
	uint32_t outcomes[KBAN_EVENTS_MAX]; /* enum kban_outcome */
	bool loggable; /* at least one event counts, or puts its author on hold */
};

/* The signature was checked by the caller. accepted_ms below ledger time is taken as ledger time. */
void ledger_judge(const struct ledger *l, uint64_t accepted_ms, const struct kban_report *r,
		  struct ledger_verdict *v);

/* What an applied entry changed, in order; for enforcement and for those who wait. Any member may be NULL. */
struct ledger_observer {
	/* The wanted state of this prefix, or of prefixes inside it, may have changed: ask ledger_ban_until(). */
	void (*ban)(void *arg, const struct kban_prefix *p);
	/* Bans equal to or inside p ended (an unban, or a range that became safe). */
	void (*lifted)(void *arg, const struct kban_prefix *p);
	/* The safe ranges with exactly this prefix may have changed: ask ledger_safe_for(). */
	void (*safe)(void *arg, const struct kban_prefix *p);
	/* A principal or invitation was granted, joined, revoked, held or released. */
	void (*principal)(void *arg, const struct kban_key *key);
	/* A broker's address was added or removed. */
	void (*brokers)(void *arg);
	void *arg;
};

/* The entry would take the ledger to a fold version that this program does not know (kban_fold_newest): stop
 * before it, and say "upgrade needed". Folding it nevertheless gives another state than the others have. */
bool ledger_stops_at(const struct ledger *l, const struct kban_entry *entry, const struct kban_report *r);

/* Folds the entry: r is its decoded report, whose author's signature was checked. Also advances the place
 * and, for a report that the fold refuses, changes nothing else. entry->seq must be above the place's; a gap
 * is for those who fold a part of the log only (kbanctl: what makes the members). v and o may be NULL. */
void ledger_apply(struct ledger *l, const struct kban_entry *entry, const struct kban_report *r,
		  struct ledger_verdict *v, const struct ledger_observer *o);

/* The place's chain after entry, without folding it: what the next place would be. */
void ledger_chain_next(struct kban_hash *out, const struct kban_hash *previous, uint64_t seq,
		       uint64_t accepted_ms, const struct kban_hash *report_hash);
/* The chain of the empty log. */
void ledger_chain_genesis(struct kban_hash *out, const struct kban_cluster_id *cluster);
/* Sets the place where a log begins whose older part is known only by its chain; the rest of the state stays. */
void ledger_set_place(struct ledger *l, const struct kban_place *place);

/* Place, time, digest -------------------------------------------------------------------------------- */

void ledger_place(const struct ledger *l, struct kban_place *out);
uint64_t ledger_time_ms(const struct ledger *l);
void ledger_digest(const struct ledger *l, struct kban_hash *out);
/* Place and digest at the newest seq divisible by LEDGER_MARK_EVERY; seq 0 when there is none yet. */
void ledger_mark(const struct ledger *l, uint64_t *seq, struct kban_hash *chain, struct kban_hash *digest);
uint32_t ledger_fold_version(const struct ledger *l);
/* The fold version from which on events of this kind count. */
uint32_t ledger_kind_since(enum kban_event_kind kind);
/* The seqs of the events that made the fold version and the epoch; 0: they are the first. */
uint64_t ledger_fold_version_seq(const struct ledger *l);
uint64_t ledger_epoch_seq(const struct ledger *l);
const struct kban_cluster_id *ledger_cluster(const struct ledger *l);

/* Policy --------------------------------------------------------------------------------------------- */

extern const struct kban_event_policy ledger_policy_default;
const struct kban_event_policy *ledger_policy(const struct ledger *l);
/* Which entry set it, and when; both 0: it is the default. */
void ledger_policy_origin(const struct ledger *l, uint64_t *seq, uint64_t *since_ms);
/* Every field is within its range (LEDGER.md). */
bool ledger_policy_valid(const struct kban_event_policy *p);
/* From here on as if this were the policy, for asking what it would do: the ledger is no longer the log's. */
void ledger_policy_suppose(struct ledger *l, const struct kban_event_policy *p);

/* History -------------------------------------------------------------------------------------------- */

/* The seq with which the history period begins at ledger time, by the hours table; the next entry's when the
 * period has none. Whoever compacts keeps everything from here on. */
uint64_t ledger_history_start(const struct ledger *l);
/* The first seq that can have been accepted at or after ms: earlier ones were not. At least 1, at most the
 * next entry's. */
uint64_t ledger_hour_seq(const struct ledger *l, uint64_t ms);

/* Principals ----------------------------------------------------------------------------------------- */

struct ledger_principal {
	struct kban_key key, curve;
	enum kban_role role;
	char name[KBAN_NAME_MAX + 1];
	uint64_t granted_seq, granted_ms;
	uint32_t granted_index; /* of the event in its report */
	uint64_t revoked_seq; /* 0: live */
	bool held;	      /* on hold for its quota */
	uint64_t counter;     /* of its newest report; 0: none */
	struct kban_hash newest_hash;
	uint64_t newest_seq;
	uint64_t quota_hour;  /* hours since 1970, ledger time */
	uint32_t quota_used;
	uint32_t safes;	      /* its safe ranges, in any state */
};

struct ledger_invitation {
	struct kban_key key, curve;
	enum kban_role role;
	char name[KBAN_NAME_MAX + 1];
	uint64_t seq, expires_ms;
	uint32_t index;	   /* of the event in its report */
	uint64_t used_seq; /* 0: not used */
	uint64_t used_ms;
	struct kban_key used_by;
	uint64_t revoked_seq; /* 0: not withdrawn */
};

const struct ledger_principal *ledger_principal(const struct ledger *l, const struct kban_key *key);
const struct ledger_principal *ledger_principal_by_curve(const struct ledger *l, const struct kban_key *curve);
/* The live one of that name. */
const struct ledger_principal *ledger_principal_by_name(const struct ledger *l, const char *name, size_t n);
const struct ledger_invitation *ledger_invitation(const struct ledger *l, const struct kban_key *key);
const struct ledger_invitation *ledger_invitation_by_curve(const struct ledger *l, const struct kban_key *curve);
/* Live: neither used, revoked nor expired at now. */
bool ledger_invitation_live(const struct ledger_invitation *i, uint64_t now_ms);
/* In order of granting; revoked ones too. fn stops the walk by returning nonzero. */
int ledger_principals_each(const struct ledger *l, int (*fn)(void *arg, const struct ledger_principal *p), void *arg);
int ledger_invitations_each(const struct ledger *l, int (*fn)(void *arg, const struct ledger_invitation *i),
			    void *arg);

/* Bans ----------------------------------------------------------------------------------------------- */

struct ledger_ban { /* one ban event that counted */
	const struct ledger_principal *author;
	uint64_t seq;
	uint32_t index;	   /* of the event in its report */
	uint64_t since_ms; /* accepted_at */
	uint64_t until_ms; /* its end; an unban moves it to ledger time */
	uint64_t strikes;  /* that it was lengthened for; 1 the first time */
	bool ended;	   /* before its time */
};

/* When the longest-running ban of exactly p ends; 0 when none runs at now. Whether p is safe is not looked at. */
uint64_t ledger_ban_until(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms);
/* The narrowest banned prefix that covers p (p itself included); false: none runs. */
bool ledger_ban_covering(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
			 struct kban_prefix *out, uint64_t *until_ms);
/* Every ban event of exactly p that the ledger still knows, ended ones (up to 24 h) too. */
size_t ledger_bans_of(const struct ledger *l, const struct kban_prefix *p, const struct ledger_ban **out);
/* How many times p was banned by nodes and feeders, one overlapping another counting once, and when the newest
 * of these ends; 0: never, or longer ago than the history period. end_ms may be NULL. */
uint64_t ledger_strikes(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms, uint64_t *end_ms);
/* Prefixes with a running ban at or inside `within` (NULL: all), in kban_prefix_cmp() order, after `after`
 * (NULL: from the start). Safe ones are left out, as they are in the kernel: a ban whose prefix lies inside
 * an active safe range is not listed. */
int ledger_bans_each(const struct ledger *l, uint64_t now_ms, const struct kban_prefix *within,
		     const struct kban_prefix *after,
		     int (*fn)(void *arg, const struct kban_prefix *p, uint64_t until_ms), void *arg);
uint64_t ledger_bans_count(const struct ledger *l, uint64_t now_ms);
/* The next time (above now) at which a prefix's last ban or a safe range that runs at now ends; UINT64_MAX: never.
 * May be early (something else is dropped then): ask again. This and the count take as long as there are
 * prefixes on which something came to its end between ledger time and now. */
uint64_t ledger_next_end(const struct ledger *l, uint64_t now_ms);

/* Safe ranges ---------------------------------------------------------------------------------------- */

enum ledger_safe_state {
	LEDGER_SAFE_ACTIVE = 1,	  /* for the whole fleet */
	LEDGER_SAFE_HELD = 2,	  /* on its own node only, until an operator approves */
	LEDGER_SAFE_APPROVED = 3, /* active by an operator's approval */
	LEDGER_SAFE_REJECTED = 4, /* taken out by an operator; its node's word does not bring it back */
};

struct ledger_safe {
	struct kban_prefix prefix;
	const struct ledger_principal *owner;
	enum ledger_safe_state state;
	uint64_t seq;
	uint32_t index;
	uint64_t since_ms, until_ms; /* until 0: until removed */
	uint64_t decided_seq; /* approved, rejected: by whose report; 0: else */
};

/* A safe range that covers p counts fleet-wide at now, or (node not NULL) on that node. */
bool ledger_safe_covers(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
			const struct kban_key *node);
/* The range s counts fleet-wide or on that node (NULL: no node), whether it runs or not. */
bool ledger_safe_counts(const struct ledger *l, const struct ledger_safe *s, const struct kban_key *node);
/* While true, lookups that name a node (and no fold) take a node's active range that is wider than the
 * policy in force lets it be for held: whether it is, no report says. */
void ledger_doubt_ranges(struct ledger *l, bool doubt);
/* Exactly p is a safe range that counts at now fleet-wide or on that node. */
bool ledger_safe_for(const struct ledger *l, const struct kban_prefix *p, uint64_t now_ms,
		     const struct kban_key *node);
/* Every safe range the ledger knows and that has not ended at now, ordered by prefix, then by granting. */
int ledger_safes_each(const struct ledger *l, uint64_t now_ms, int (*fn)(void *arg, const struct ledger_safe *s),
		      void *arg);

/* The rest ------------------------------------------------------------------------------------------- */

/* An address of a broker lies in p. */
bool ledger_is_broker_address(const struct ledger *l, const struct kban_prefix *p);
struct ledger_broker {
	struct kban_key curve;
	char endpoint[KBAN_ENDPOINT_MAX + 1];
	size_t addresses_n;
	struct kban_prefix addresses[KBAN_ADDRESSES_MAX];
	uint64_t seq; /* of the event that says so */
};
int ledger_brokers_each(const struct ledger *l, int (*fn)(void *arg, const struct ledger_broker *b), void *arg);
/* The seq of the newest unban that covers p and is still remembered; 0: none. */
uint64_t ledger_unbanned_seq(const struct ledger *l, const struct kban_prefix *p);

#endif
