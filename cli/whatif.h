/* SPDX-License-Identifier: MPL-2.0
 *
 * What another policy would have made of a log: the same entries folded by two ledgers, one as it
 * was, one with that policy in force from a moment on (whatever policy events the log has). Pure:
 * entries are given to it one after the other.
 *
 * Policy events themselves are left out: the one that is tested takes their place.
 *
 * A report's base, a node's outbox and an operator's release stay what they were: a node that goes
 * on hold in the second ledger stays there until somebody released it, and what it reported
 * meanwhile counts as refused.
 */
#ifndef KBAN_CLI_WHATIF_H
#define KBAN_CLI_WHATIF_H

#include "store/ledger.h"

#define WHATIF_TOP 10

struct whatif_prefix {
	struct kban_prefix prefix;
	int64_t change_ms; /* of all its bans together */
};

struct whatif_node {
	struct kban_key key;
	char name[KBAN_NAME_MAX + 1];
	uint64_t over_quota, on_hold, held_safe, freed_safe; /* events */
	uint64_t held_ms; /* when it would have gone on hold first; 0: never */
};

struct whatif_turn { /* events of one author and kind that fare otherwise, and why */
	struct kban_key author;
	enum kban_event_kind kind;
	bool admitted;		   /* they would count now; else they would not any more */
	unsigned refusal, outcome; /* of the policy under which they do not count */
	char name[KBAN_NAME_MAX + 1];
	uint64_t events;
	struct kban_prefix examples[WHATIF_TOP]; /* the first ones' */
	size_t examples_n;
};

struct whatif {
	struct ledger *was, *would; /* the caller's */
	struct kban_event_policy policy;
	uint64_t since_ms;
	uint64_t entries, bans, lengthened, shortened, refused, admitted;
	uint64_t lengthened_ms, shortened_ms;
	uint64_t older; /* entries that a history period of that length would drop */
	uint64_t bad;	/* entries whose signature is wrong */
	uint64_t now_ms;
	struct whatif_prefix *changed; /* by prefix */
	size_t changed_n, changed_max;
	struct whatif_node *nodes;
	size_t nodes_n;
	struct whatif_turn *turns; /* their events are those refused and admitted together */
	size_t turns_n;
};

/* Keeps the two ledgers, which are at the same place. now_ms is what the history is counted back
 * from. */
void whatif_begin(struct whatif *w, struct ledger *was, struct ledger *would,
		  const struct kban_event_policy *policy, uint64_t since_ms, uint64_t now_ms);
void whatif_entry(struct whatif *w, const struct kban_entry *e);
/* Sorts: the greatest first. */
void whatif_end(struct whatif *w);
void whatif_done(struct whatif *w);

#endif
