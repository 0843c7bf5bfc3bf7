/* SPDX-License-Identifier: MPL-2.0
 *
 * For tests of large states: a fleet with one node that bans much, in signed reports, appended to a
 * store and folded. Whoever includes this includes cmocka before.
 */
#ifndef KBAN_STORE_TEST_CROWD_H
#define KBAN_STORE_TEST_CROWD_H

#include <stdlib.h>

#include "store/ledger.h"
#include "store/log.h"

enum { BAN_EVENTS = 100 }; /* in a report */

struct crowd {
	struct kban_keypair root, node, operator;
	struct ledger *ledger;
	struct store *store; /* the caller's, set before crowd_found() */
	uint64_t now, counter;
	uint64_t history_ms; /* 0: as long as by default; set before crowd_found() */
	uint32_t banned;
};

static inline struct crowd *crowd_new(const struct kban_keypair *root,
				      const struct kban_keypair *node,
				      const struct kban_keypair *operator)
{
	struct crowd *c = kban_zalloc(sizeof(*c));

	c->root = *root;
	c->node = *node;
	c->operator= * operator;
	c->now = 1700000000000;
	ledger_new(&c->ledger, &root->sign_public);
	return c;
}

static inline void crowd_free(struct crowd *c)
{
	ledger_free(c->ledger);
	free(c);
}

/* In an open transaction. */
static inline void crowd_say(struct crowd *c, const struct kban_keypair *who, uint64_t counter,
			     struct kban_event *said, size_t n)
{
	kban_auto(kban_free) void *freed = NULL;
	struct kban_report r = {.counter = counter, .events = said, .events_n = n};
	struct kban_place place;
	struct kban_entry e = {.accepted_ms = c->now};
	uint8_t *bytes;

	r.cluster = *ledger_cluster(c->ledger);
	ledger_place(c->ledger, &place);
	r.base = (struct kban_base){place.epoch, place.seq};
	assert_int_equal(kban_report_seal(&r, who, &bytes, &e.sealed), 0);
	freed = bytes;
	e.seq = place.seq + 1;
	ledger_apply(c->ledger, &e, &r, NULL, NULL);
	ledger_place(c->ledger, &place);
	store_append(c->store, &e, &place);
}

/* Entries 1 and 2: the members, and no quota to speak of. */
static inline void crowd_found(struct crowd *c)
{
	struct kban_event grants[2] = {{.kind = KBAN_EVENT_GRANT}, {.kind = KBAN_EVENT_GRANT}};
	struct kban_event policy = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};

	grants[0].grant = (struct kban_event_grant){c->node.sign_public, c->node.curve_public,
						    KBAN_ROLE_NODE, kban_text("mail1")};
	grants[1].grant = (struct kban_event_grant){c->operator.sign_public,
						    c->operator.curve_public, KBAN_ROLE_OPERATOR,
						    kban_text("alice")};
	policy.policy.quota_per_hour = 1000000;
	if (c->history_ms)
		policy.policy.history_ms = c->history_ms;
	store_begin(c->store);
	crowd_say(c, &c->root, 1, grants, 2);
	crowd_say(c, &c->operator, 1, &policy, 1);
	assert_int_equal(store_commit(c->store), 0);
}

/* One report, of addresses that were not banned before. In an open transaction. */
static inline void crowd_ban(struct crowd *c, size_t n, uint64_t duration_ms)
{
	struct kban_event said[BAN_EVENTS];

	for (size_t i = 0; i < n; i++) {
		uint32_t a = 0x10000000 | c->banned++ * 2654435761U >> 4;
		said[i] = (struct kban_event){.kind = KBAN_EVENT_BAN};
		said[i].ban.prefix = (struct kban_prefix){
			KBAN_IPV4, 32, {a >> 24 & 255, a >> 16 & 255, a >> 8 & 255, a & 255}};
		said[i].ban.duration_ms = duration_ms;
		said[i].ban.rule = kban_text("smtp-login");
	}
	c->now += 1000;
	crowd_say(c, &c->node, ++c->counter, said, n);
}

/* n bans, so many in a report. */
static inline void crowd_bans(struct crowd *c, size_t n, size_t per_report, uint64_t duration_ms)
{
	store_begin(c->store);
	for (size_t i = 0; i < n; i += per_report) {
		crowd_ban(c, per_report, duration_ms);
		if (i / per_report % 100 == 99) {
			assert_int_equal(store_commit(c->store), 0);
			store_begin(c->store);
		}
	}
	assert_int_equal(store_commit(c->store), 0);
}

static inline uint64_t crowd_head(const struct crowd *c)
{
	struct kban_place place;

	ledger_place(c->ledger, &place);
	return place.seq;
}

#endif
