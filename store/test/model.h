/* SPDX-License-Identifier: MPL-2.0
 *
 * The ledger a second time, from LEDGER.md alone: tables are arrays, every lookup looks at every
 * row, and the digest is computed anew each time. For the property test; slow, and as plain as the
 * page.
 */
#ifndef KBAN_STORE_TEST_MODEL_H
#define KBAN_STORE_TEST_MODEL_H

#include "store/ledger.h"

struct model_limits { /* LEDGER.md, "Limits of the tables", and the other counts in it */
	size_t bans, bans_of_prefix, strikes, unbans, principals, invitations, safes_of_owner,
		brokers;
};

struct model;

void model_new(struct model **out, const struct kban_key *root, const struct model_limits *limits);
void model_free(struct model *m);

void model_apply(struct model *m, uint64_t seq, uint64_t accepted_at, const struct kban_report *r,
		 struct ledger_verdict *v);

void model_digest(const struct model *m, struct kban_hash *out);
uint64_t model_time(const struct model *m);
/* When the longest ban of exactly p ends; 0: none runs. */
uint64_t model_ban_until(const struct model *m, const struct kban_prefix *p, uint64_t now);
bool model_safe_covers(const struct model *m, const struct kban_prefix *p, uint64_t now,
		       const struct kban_key *node);
/* A ban of exactly p runs although it lies in a range that is safe for the fleet: never. */
bool model_contradicts(const struct model *m, uint64_t now);
size_t model_bans_count(const struct model *m, uint64_t now);
/* The first end after now of a running ban or safe range. */
uint64_t model_next_end(const struct model *m, uint64_t now);
/* Of p at ledger time; 0: none. */
uint64_t model_strikes(const struct model *m, const struct kban_prefix *p);
uint64_t model_history_start(const struct model *m);
uint64_t model_unbanned_seq(const struct model *m, const struct kban_prefix *p);

#endif
