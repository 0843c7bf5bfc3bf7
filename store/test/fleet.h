/* SPDX-License-Identifier: MPL-2.0
 *
 * A small fleet for the ledger's tests: a ledger whose first entries grant two operators, two
 * nodes, a feeder, a reader and a broker, and ways to say one thing in one line. Reports are plain
 * structs: the fold does not see signatures (a join's proof is real).
 */
#ifndef KBAN_STORE_TEST_FLEET_H
#define KBAN_STORE_TEST_FLEET_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"

#define FLEET_START 1700000000000ULL /* within an hour's first quarter */
#define MINUTE	    60000ULL
#define HOUR	    LEDGER_HOUR_MS
#define DAY	    LEDGER_DAY_MS

enum who { ROOT, OP, OP2, N1, N2, FEED, READ, BROK, GUEST, GUEST2, NEW, NEW2, WHO_MAX };

struct fleet {
	struct ledger *ledger;
	struct kban_keypair keys[WHO_MAX];
	uint64_t counters[WHO_MAX];
	uint64_t now;		 /* of the next entry */
	const uint64_t *base;	 /* NULL: the newest place */
	struct ledger_verdict v; /* of the newest entry */
	struct ledger_observer observer;
};

static inline struct kban_prefix P(const char *text) {
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

static inline const struct kban_key *
key_of(const struct fleet *f, enum who who)
{
	return &f->keys[who].sign_public;
}

#define BAN(text, ms, ...)                                                                         \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_BAN,                                                            \
		.ban = {.prefix = P(text),                                                         \
			.duration_ms = (ms),                                                       \
			__VA_ARGS__ }                                                              \
	}
#define UNBAN(text, ...)                                                                           \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_UNBAN, .unban = {.prefix = P(text), __VA_ARGS__ }               \
	}
#define SAFE(text, ms, ...)                                                                        \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_SAFE_ADD, .safe_add = {                                         \
			.prefix = P(text),                                                         \
			.duration_ms = (ms),                                                       \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define UNSAFE(text, ...)                                                                          \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_SAFE_REMOVE, .safe_remove = {.prefix = P(text), __VA_ARGS__ }   \
	}
#define APPROVE_KEY(text, k)                                                                       \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_SAFE_APPROVE, .safe_approve = {                                 \
			.prefix = P(text),                                                         \
			.owner = (k)                                                               \
		}                                                                                  \
	}
#define APPROVE(f, text, who) APPROVE_KEY(text, *key_of(f, who))
#define GRANT(f, who, r, n)                                                                        \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_GRANT, .grant = {                                               \
			.key = *key_of(f, who),                                                    \
			.curve = (f)->keys[who].curve_public,                                      \
			.role = (r),                                                               \
			.name = kban_text(n)                                                       \
		}                                                                                  \
	}
#define INVITE(f, who, r, n, ms)                                                                   \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_INVITE, .invite = {                                             \
			.key = *key_of(f, who),                                                    \
			.curve = (f)->keys[who].curve_public,                                      \
			.role = (r),                                                               \
			.name = kban_text(n),                                                      \
			.duration_ms = (ms)                                                        \
		}                                                                                  \
	}
#define REVOKE_KEY(k, ...)                                                                         \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_REVOKE, .revoke = {.key = (k), __VA_ARGS__ }                    \
	}
#define REVOKE(f, who, ...) REVOKE_KEY(*key_of(f, who), ##__VA_ARGS__)
#define PURGE(f, who)                                                                              \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_PURGE, .purge = {.key = *key_of(f, who) }                       \
	}
#define RELEASE(f, who)                                                                            \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_RELEASE, .release = {.key = *key_of(f, who) }                   \
	}
#define EPOCH(n)                                                                                   \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_EPOCH, .epoch = {.epoch = (n) }                                 \
	}
#define FOLD_VERSION(n)                                                                            \
	(struct kban_event)                                                                        \
	{                                                                                          \
		.kind = KBAN_EVENT_FOLD_VERSION, .fold_version = {.version = (n) }                 \
	}

static inline struct kban_event policy_event(struct kban_event_policy policy)
{
	return (struct kban_event){.kind = KBAN_EVENT_POLICY, .policy = policy};
}

/* The default policy with some members replaced. */
#define POLICY(...)                                                                                \
	policy_event(({                                                                            \
		struct kban_event_policy policy_ = ledger_policy_default, *to = &policy_;          \
		__VA_ARGS__;                                                                       \
		policy_;                                                                           \
	}))

static inline struct kban_event join_event(const struct fleet *f, enum who guest, enum who joiner)
{
	struct kban_event e = {.kind = KBAN_EVENT_JOIN};

	kban_join_prove(&e.join, &f->keys[joiner], ledger_cluster(f->ledger), key_of(f, guest));
	return e;
}

/* A report that only its hash tells from another: from author, counter and variant. */
static inline struct kban_report report_of(const struct fleet *f, enum who who, uint64_t counter,
					   struct kban_event *events, size_t n)
{
	struct kban_place place;
	struct kban_report r = {.author = *key_of(f, who), .counter = counter};

	ledger_place(f->ledger, &place);
	r.cluster = *ledger_cluster(f->ledger);
	r.base = (struct kban_base){place.epoch, f->base ? *f->base : place.seq};
	r.events = events;
	r.events_n = n;
	r.hash.b[0] = (uint8_t)who;
	memcpy(r.hash.b + 8, &r.counter, sizeof(r.counter));
	return r;
}

static inline enum kban_refusal fold_report(struct fleet *f, const struct kban_report *r)
{
	struct kban_place place;
	struct ledger_verdict judged;

	ledger_place(f->ledger, &place);

	struct kban_entry entry = {.seq = place.seq + 1, .accepted_ms = f->now};

	ledger_judge(f->ledger, f->now, r, &judged);
	ledger_apply(f->ledger, &entry, r, &f->v, &f->observer);
	assert_int_equal(judged.refusal, f->v.refusal);
	assert_int_equal(judged.loggable, f->v.loggable);
	if (r->events_n == 1)
		assert_memory_equal(&judged, &f->v, sizeof(judged));
	return f->v.refusal;
}

static inline enum kban_refusal say_all(struct fleet *f, enum who who, struct kban_event *events,
					size_t n)
{
	struct kban_report r = report_of(f, who, f->counters[who] + 1, events, n);
	enum kban_refusal refusal = fold_report(f, &r);

	if (!refusal)
		f->counters[who]++;
	return refusal;
}

/* One event; its outcome, 0 when the report was refused. */
static inline enum kban_outcome say(struct fleet *f, enum who who, struct kban_event e)
{
	return say_all(f, who, &e, 1) ? 0 : (enum kban_outcome)f->v.outcomes[0];
}

#define assert_says(f, who, event, outcome)                                                        \
	assert_int_equal(say(f, who, event), KBAN_OUTCOME_##outcome)

static inline uint64_t until(const struct fleet *f, const char *text)
{
	struct kban_prefix p = P(text);

	return ledger_ban_until(f->ledger, &p, f->now);
}

static inline const struct ledger_ban *record(const struct fleet *f, const char *text, size_t i)
{
	struct kban_prefix p = P(text);
	const struct ledger_ban *bans;
	size_t n = ledger_bans_of(f->ledger, &p, &bans);

	return i < n ? &bans[i] : NULL;
}

static inline bool is_safe(const struct fleet *f, const char *text)
{
	struct kban_prefix p = P(text);

	return ledger_safe_covers(f->ledger, &p, f->now, NULL);
}

static inline bool is_safe_on(const struct fleet *f, const char *text, enum who node)
{
	struct kban_prefix p = P(text);

	return ledger_safe_covers(f->ledger, &p, f->now, key_of(f, node));
}

static inline uint64_t head(const struct fleet *f)
{
	struct kban_place place;

	ledger_place(f->ledger, &place);
	return place.seq;
}

static inline int fleet_set_up(void **state)
{
	static const struct {
		enum kban_role role;
		const char *name;
	} roles[] = {
		[OP] = {KBAN_ROLE_OPERATOR, "alice"},  [OP2] = {KBAN_ROLE_OPERATOR, "bob"},
		[N1] = {KBAN_ROLE_NODE, "mail1"},      [N2] = {KBAN_ROLE_NODE, "mail2"},
		[FEED] = {KBAN_ROLE_FEEDER, "feed"},   [READ] = {KBAN_ROLE_READER, "read"},
		[BROK] = {KBAN_ROLE_BROKER, "broker"},
	};
	struct fleet *f = kban_zalloc(sizeof(*f));

	f->now = FLEET_START;
	for (size_t i = 0; i < WHO_MAX; i++) {
		uint8_t seed[32] = {'f', (uint8_t)i};

		kban_keypair_from_seed(&f->keys[i], seed);
	}
	ledger_new(&f->ledger, key_of(f, ROOT));
	for (enum who who = OP; who <= BROK; who++)
		assert_says(f, ROOT, GRANT(f, who, roles[who].role, roles[who].name), COUNTED);
	*state = f;
	return 0;
}

static inline int fleet_tear_down(void **state)
{
	struct fleet *f = *state;

	ledger_free(f->ledger);
	free(f);
	return 0;
}

#define fleet_test(fn) cmocka_unit_test_setup_teardown(fn, fleet_set_up, fleet_tear_down)

#endif
