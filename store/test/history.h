/* SPDX-License-Identifier: MPL-2.0
 *
 * Random histories of a fleet: entry after entry, with authors of all roles, few prefixes (so that
 * they collide), clocks that jump and go back, old bases, duplicates, and events of every kind.
 * Part of test_model.c.
 */
#ifndef KBAN_STORE_TEST_HISTORY_H
#define KBAN_STORE_TEST_HISTORY_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"
#include "store/test/model.h"

#define ENTRIES	   200
#define KEYS	   32
#define EVENTS_MAX 6
#define KNOWN	   8 /* keys that begin as principals, besides the root */

static struct kban_keypair pairs[KEYS]; /* pairs[0] is the root */

static const char *const prefix_texts[] = {
	"192.0.2.0",	 "192.0.2.1",	  "192.0.2.2",	       "192.0.2.3",	    "192.0.2.0/31",
	"192.0.2.2/31",	 "192.0.2.0/30",  "192.0.2.0/24",      "192.0.3.0/24",	    "192.0.3.9",
	"192.0.0.0/16",	 "192.0.0.0/15",  "192.0.0.0/8",       "128.0.0.0/1",	    "0.0.0.0/0",
	"127.0.0.1",	 "224.0.0.0/8",	  "2001:db8::/64",     "2001:db8:0:1::/64", "2001:db8::1",
	"2001:db8::/48", "2001:db8::/32", "2001:db0::/28",     "2000::/16",	    "2000::/12",
	"64:ff9b::/64",	 "64:ff9b::/96",  "64:ff9b::c000:201", "fe80::1",	    "::/0",
};
#define PREFIXES KBAN_ARRAY_LEN(prefix_texts)
static struct kban_prefix prefixes[PREFIXES];

static const char *const names[] = {"root", "a", "b", "c",     "d",    "e",
				    "f",    "g", "h", "mail1", "mail2"};

/* Chance ------------------------------------------------------------------------------------- */

struct chance {
	uint64_t state;
};

static uint64_t chance_next(struct chance *c) /* splitmix64 */
{
	uint64_t z = (c->state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t below(struct chance *c, uint64_t n)
{
	return chance_next(c) % n;
}

static bool one_in(struct chance *c, uint64_t n)
{
	return !below(c, n);
}

/* A history ---------------------------------------------------------------------------------- */

struct line { /* an entry with its report */
	struct kban_entry entry;
	struct kban_report report;
	struct kban_event events[EVENTS_MAX];
	struct kban_prefix addresses[EVENTS_MAX][2];
};

struct history {
	struct chance chance;
	struct ledger *ledger;
	struct model *model;
	struct model_limits limits;
	uint64_t clock;
	uint64_t counters[KEYS];
	size_t lines_n;
	struct line lines[ENTRIES];
	struct seen {
		size_t n;
		struct kban_prefix v[4096];
	} bans, safes;
};

static const struct kban_key *any_key(struct history *h)
{
	/* mostly those that are something */
	return &pairs[below(&h->chance, one_in(&h->chance, 3) ? KEYS : KNOWN + 4)].sign_public;
}

static size_t any_pair(struct history *h)
{
	return below(&h->chance, KEYS);
}

static struct kban_prefix any_prefix(struct history *h)
{
	if (one_in(&h->chance, 2))
		return prefixes[below(&h->chance, 4)]; /* collide */
	return prefixes[below(&h->chance, PREFIXES)];
}

static struct kban_text any_name(struct history *h)
{
	return kban_text(names[below(&h->chance, KBAN_ARRAY_LEN(names))]);
}

static uint64_t any_duration(struct history *h)
{
	static const uint64_t list[] = {
		0,
		1,
		1000,
		LEDGER_HOUR_MS,
		3 * LEDGER_HOUR_MS,
		LEDGER_DAY_MS,
		5 * LEDGER_DAY_MS,
		90 * LEDGER_DAY_MS,
		366 * LEDGER_DAY_MS,
	};
	uint64_t d = list[below(&h->chance, KBAN_ARRAY_LEN(list))];

	return one_in(&h->chance, 3) && d > 1 ? 1 + below(&h->chance, d) : d;
}

static enum kban_role any_role(struct history *h)
{
	return (enum kban_role)(1 + below(&h->chance, 6));
}

static void make_ban(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->ban.prefix = any_prefix(h);
	e->ban.duration_ms = any_duration(h);
	e->ban.force = one_in(&h->chance, 3);
}

static void make_unban(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->unban.prefix = any_prefix(h);
	e->unban.covering = one_in(&h->chance, 3);
}

static void make_safe_add(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->safe_add.prefix = any_prefix(h);
	if (e->safe_add.prefix.len < 24 &&
	    !one_in(&h->chance, 8)) /* or soon nothing could be banned */
		e->safe_add.prefix = prefixes[below(&h->chance, 10)];
	e->safe_add.duration_ms = any_duration(h);
	e->safe_add.force = one_in(&h->chance, 3);
}

static void make_safe_remove(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->safe_remove.prefix = any_prefix(h);
	e->safe_remove.all = one_in(&h->chance, 2);
}

struct first_safe {
	uint64_t skip;
	struct ledger_safe safe;
	bool found;
};

static int take_safe(void *arg, const struct ledger_safe *s)
{
	struct first_safe *f = arg;

	f->safe = *s;
	f->found = true;
	return !f->skip--;
}

static void make_safe_approve(struct history *h, struct line *l, struct kban_event *e)
{
	struct first_safe f = {.skip = below(&h->chance, 6)};

	(void)l;
	ledger_safes_each(h->ledger, h->clock, take_safe, &f);
	e->safe_approve.prefix = f.found ? f.safe.prefix : any_prefix(h);
	e->safe_approve.owner = f.found && !one_in(&h->chance, 4) ? f.safe.owner->key : *any_key(h);
}

static void make_grant(struct history *h, struct line *l, struct kban_event *e)
{
	size_t i = any_pair(h), j = one_in(&h->chance, 8) ? any_pair(h) : i;

	(void)l;
	e->grant.key = pairs[i].sign_public;
	e->grant.curve = one_in(&h->chance, 20) ? (struct kban_key){0} : pairs[j].curve_public;
	e->grant.role = any_role(h);
	e->grant.name = any_name(h);
}

static void make_revoke(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->revoke.key = one_in(&h->chance, 2) ? pairs[any_pair(h)].sign_public : *any_key(h);
	e->revoke.keep_safe = one_in(&h->chance, 2);
}

static void make_purge(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->purge.key = *any_key(h);
}

static void make_invite(struct history *h, struct line *l, struct kban_event *e)
{
	size_t i = any_pair(h);

	(void)l;
	e->invite.key = pairs[i].sign_public;
	e->invite.curve = pairs[i].curve_public;
	e->invite.role = any_role(h);
	e->invite.name = any_name(h);
	e->invite.duration_ms = 1 + any_duration(h) % KBAN_INVITE_MAX_MS;
}

static void make_join(struct history *h, struct line *l, struct kban_event *e)
{
	const struct kban_keypair *k = &pairs[any_pair(h)];

	kban_join_prove(&e->join, k, ledger_cluster(h->ledger), &l->report.author);
	if (one_in(&h->chance, 8))
		e->join.proof[0] ^= 1;
}

static void make_policy(struct history *h, struct line *l, struct kban_event *e)
{
	static const uint64_t periods[] = {LEDGER_DAY_MS, 3 * LEDGER_DAY_MS, 30 * LEDGER_DAY_MS,
					   90 * LEDGER_DAY_MS};
	struct kban_event_policy *p = &e->policy;

	(void)l;
	*p = *ledger_policy(h->ledger);
	p->quota_per_hour = (uint32_t)(1 + below(&h->chance, 12));
	p->safe_max = (uint32_t)below(&h->chance, 4);
	p->safe_min_len4 = (uint32_t)(8 + below(&h->chance, 25));
	p->ban_min_len4 = (uint32_t)(8 + below(&h->chance, 18));
	p->ban_min_len6 = (uint32_t)(16 + below(&h->chance, 50));
	p->repeat_percent = (uint32_t)(100 + below(&h->chance, 300));
	p->history_ms = periods[below(&h->chance, KBAN_ARRAY_LEN(periods))];
	if (one_in(&h->chance, 2))
		p->repeat_max_ms = 1 + any_duration(h);
	if (one_in(&h->chance, 2))
		p->node_ban_max_ms = 1 + any_duration(h);
	if (one_in(&h->chance, 6))
		p->history_ms = any_duration(h); /* or out of range */
	if (one_in(&h->chance, 6))
		*p = *ledger_policy(h->ledger);
}

static void make_broker_address(struct history *h, struct line *l, struct kban_event *e)
{
	static const char *const endpoints[] = {"tcp://192.0.2.9:7400", "tcp://[2001:db8::1]:7400"};
	struct kban_prefix *addresses = l->addresses[e - l->events];

	e->broker_address.curve = pairs[1 + below(&h->chance, 4)].curve_public;
	e->broker_address.remove = one_in(&h->chance, 2);
	e->broker_address.endpoint = kban_text(endpoints[below(&h->chance, 2)]);
	e->broker_address.addresses_n = below(&h->chance, 3);
	e->broker_address.addresses = addresses;
	addresses[0] = prefixes[3];
	addresses[1] = prefixes[one_in(&h->chance, 2) ? 9 : 19];
}

static void make_release(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->release.key = *any_key(h);
}

static void make_fold_version(struct history *h, struct line *l, struct kban_event *e)
{
	(void)l;
	e->fold_version.version = (uint32_t)below(&h->chance, 4);
	e->fold_version.force = one_in(&h->chance, 2);
}

static void make_epoch(struct history *h, struct line *l, struct kban_event *e)
{
	struct kban_place place;

	(void)l;
	ledger_place(h->ledger, &place);
	e->epoch.epoch = place.epoch + (uint32_t)below(&h->chance, 3);
}

static const struct {
	void (*make)(struct history *h, struct line *l, struct kban_event *e);
	unsigned weight;
} makers[KBAN_EVENT_KINDS] = {
	[KBAN_EVENT_BAN] = {make_ban, 40},
	[KBAN_EVENT_UNBAN] = {make_unban, 8},
	[KBAN_EVENT_SAFE_ADD] = {make_safe_add, 9},
	[KBAN_EVENT_SAFE_REMOVE] = {make_safe_remove, 7},
	[KBAN_EVENT_SAFE_APPROVE] = {make_safe_approve, 4},
	[KBAN_EVENT_GRANT] = {make_grant, 3},
	[KBAN_EVENT_REVOKE] = {make_revoke, 1},
	[KBAN_EVENT_PURGE] = {make_purge, 1},
	[KBAN_EVENT_INVITE] = {make_invite, 5},
	[KBAN_EVENT_JOIN] = {make_join, 1},
	[KBAN_EVENT_POLICY] = {make_policy, 3},
	[KBAN_EVENT_BROKER_ADDRESS] = {make_broker_address, 4},
	[KBAN_EVENT_RELEASE] = {make_release, 5},
	[KBAN_EVENT_FOLD_VERSION] = {make_fold_version, 1},
	[KBAN_EVENT_EPOCH] = {make_epoch, 2},
};

static enum kban_event_kind any_kind(struct history *h)
{
	unsigned sum = 0;

	for (size_t k = 0; k < KBAN_EVENT_KINDS; k++)
		sum += makers[k].weight;

	uint64_t at = below(&h->chance, sum);
	unsigned kind = 0;

	while (at >= makers[kind].weight)
		at -= makers[kind++].weight;
	return (enum kban_event_kind)kind;
}

static void add_event(struct history *h, struct line *l, enum kban_event_kind kind)
{
	struct kban_event *e = &l->events[l->report.events_n++];

	e->kind = kind;
	makers[kind].make(h, l, e);
}

static void any_hash(struct history *h, struct kban_hash *out)
{
	for (size_t i = 0; i < sizeof(out->b); i++)
		out->b[i] = (uint8_t)chance_next(&h->chance);
}

static void advance_clock(struct history *h)
{
	static const uint64_t steps[] = {
		2,
		1000,
		60000,
		LEDGER_HOUR_MS,
		5 * LEDGER_HOUR_MS,
		LEDGER_DAY_MS,
		4 * LEDGER_DAY_MS,
		40 * LEDGER_DAY_MS,
		200 * LEDGER_DAY_MS,
	};
	uint64_t kind = below(&h->chance, 40);
	uint64_t step = steps[kind < 30 ? kind % 4 : kind < 36 ? kind % 7 : kind % 9];

	h->clock += below(&h->chance, step);
	if (one_in(&h->chance, 15))
		h->clock -= below(&h->chance,
				  h->clock < LEDGER_DAY_MS ? 1 + h->clock : LEDGER_DAY_MS);
}

static void base_of(struct history *h, struct kban_report *r)
{
	struct kban_place place;

	ledger_place(h->ledger, &place);
	r->base.epoch = place.epoch;
	r->base.seq = place.seq;
	if (one_in(&h->chance, 3))
		r->base.seq = below(&h->chance, place.seq + 1);
	if (one_in(&h->chance, 40))
		r->base.seq++;
	if (one_in(&h->chance, 30))
		r->base.epoch += (uint32_t)below(&h->chance, 3) - 1;
}

/* Somebody whose invitation the ledger knows; KEYS: nobody. */
static size_t any_guest(struct history *h)
{
	size_t start = any_pair(h);

	for (size_t n = 0; n < KEYS; n++)
		if (ledger_invitation(h->ledger, &pairs[(start + n) % KEYS].sign_public))
			return (start + n) % KEYS;
	return KEYS;
}

static size_t author_of(struct history *h)
{
	size_t guest = any_guest(h);

	static const uint8_t often[] = {0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8};

	if (guest < KEYS && one_in(&h->chance, 8))
		return guest;
	if (one_in(&h->chance, 20))
		return any_pair(h);
	return often[below(&h->chance, sizeof(often))];
}

static void fill_report(struct history *h, struct line *l, size_t author)
{
	struct kban_report *r = &l->report;
	const struct ledger_invitation *i = ledger_invitation(h->ledger, &r->author);

	r->counter = h->counters[author] + 1;
	if (one_in(&h->chance, 25))
		r->counter -= below(&h->chance, 2);
	if (i && !one_in(&h->chance, 10)) {
		r->counter = 1;
		add_event(h, l, KBAN_EVENT_JOIN);
		return;
	}
	if (r->counter > h->counters[author])
		h->counters[author] = r->counter;
	for (size_t n = 1 + below(&h->chance, EVENTS_MAX); n; n--)
		add_event(h, l,
			  author == 0 && one_in(&h->chance, 2) ? KBAN_EVENT_GRANT : any_kind(h));
}

static void next_line(struct history *h)
{
	struct line *l = &h->lines[h->lines_n];
	struct kban_report *r = &l->report;
	struct kban_place place;
	size_t author = author_of(h);

	ledger_place(h->ledger, &place);
	advance_clock(h);
	*l = (struct line){0};
	l->entry.seq = place.seq + 1 + (one_in(&h->chance, 50) ? below(&h->chance, 5) : 0);
	l->entry.accepted_ms = one_in(&h->chance, 20000) ? UINT64_MAX : h->clock;
	r->events = l->events;
	r->cluster = *ledger_cluster(h->ledger);
	if (one_in(&h->chance, 100))
		r->cluster.b[3] ^= 1;
	r->author = pairs[author].sign_public;
	any_hash(h, &r->hash);
	base_of(h, r);
	fill_report(h, l, author);
	if (h->lines_n && one_in(&h->chance, 40)) { /* once more, as it was */
		struct line *old = &h->lines[below(&h->chance, h->lines_n)];

		*r = old->report;
	}
	h->lines_n++;
}

/* The first two entries: root makes principals of all roles. */
static void first_line(struct history *h)
{
	static const enum kban_role roles[KNOWN + 1] = {
		KBAN_ROLE_ROOT,	  KBAN_ROLE_OPERATOR, KBAN_ROLE_OPERATOR,
		KBAN_ROLE_NODE,	  KBAN_ROLE_NODE,     KBAN_ROLE_NODE,
		KBAN_ROLE_FEEDER, KBAN_ROLE_READER,   KBAN_ROLE_BROKER,
	};
	static const char *const first_names[] = {"",	"op1", "op2", "n1", "n2",
						  "n3", "fd",  "rd",  "br"};
	struct line *l = &h->lines[h->lines_n];
	struct kban_report *r = &l->report;
	size_t from = h->lines_n ? 5 : 1, to = h->lines_n ? KNOWN + 1 : 5;

	*l = (struct line){.entry = {.seq = h->lines_n + 1, .accepted_ms = h->clock}};
	h->lines_n++;
	r->events = l->events;
	r->cluster = *ledger_cluster(h->ledger);
	r->author = pairs[0].sign_public;
	r->counter = ++h->counters[0];
	r->base.epoch = 1;
	any_hash(h, &r->hash);
	for (size_t i = from; i < to; i++) {
		struct kban_event *e = &l->events[r->events_n++];

		e->kind = KBAN_EVENT_GRANT;
		e->grant = (struct kban_event_grant){pairs[i].sign_public, pairs[i].curve_public,
						     roles[i], kban_text(first_names[i])};
	}
}

static void pools_fill(void)
{
	for (size_t i = 0; i < KEYS; i++) {
		uint8_t seed[32] = {(uint8_t)i, 'm'};

		kban_keypair_from_seed(&pairs[i], seed);
	}
	for (size_t i = 0; i < PREFIXES; i++)
		if (kban_prefix_parse(&prefixes[i], prefix_texts[i]))
			abort();
}

/* Half of all histories have tables that are soon full. */
static void set_limits(struct history *h)
{
	struct model_limits *m = &h->limits;

	*m = (struct model_limits){4000000, 64, 4000000, 1000000, 65536, 65536, 4096, 64};
	if (one_in(&h->chance, 2))
		*m = (struct model_limits){12, 3, 6, 4, 14, 5, 3, 2};

	struct ledger_limits l = {
		.ban_records = (uint32_t)m->bans,
		.prefix_records = (uint32_t)m->bans_of_prefix,
		.strikes = (uint32_t)m->strikes,
		.unbans = (uint32_t)m->unbans,
		.principals = (uint32_t)m->principals,
		.invitations = (uint32_t)m->invitations,
		.safes_per_owner = (uint32_t)m->safes_of_owner,
		.brokers = (uint32_t)m->brokers,
	};

	ledger_limit(h->ledger, &l);
}

#endif
