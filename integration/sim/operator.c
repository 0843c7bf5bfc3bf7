/* SPDX-License-Identifier: MPL-2.0
 *
 * The simulated operator: as kbanctl does, keeps no ledger, takes base and counter from Welcome, and sends the same
 * bytes again until they are answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integration/sim/world.h"

static void operator_send(struct world *w, struct kban_message *m)
{
	uint8_t *bytes;
	size_t len;

	m->version = KBAN_PROTOCOL_VERSION;
	if (m->kind != KBAN_MSG_HELLO) {
		m->has_session = true;
		memcpy(m->session, w->operator.session, sizeof(m->session));
	}
	kban_message_encode(&bytes, &len, m);
	wire_send(&w->wire, w->now_ms, w->operator.connection, true, bytes, len);
	free(bytes);
}

static void operator_greet(struct world *w)
{
	struct world_operator *o = &w->operator;
	struct kban_message hello = {.kind = KBAN_MSG_HELLO,
				     .hello = {.min_version = 1,
					       .max_version = KBAN_PROTOCOL_VERSION,
					       .fold_version = kban_fold_newest,
					       .cluster = o->identity.cluster,
					       .program = kban_text("kban-sim")}};
	if (!w->broker)
		return;
	o->connection = world_connect(w, WORLD_NODES, &o->identity.keys.curve_public);
	o->state = OPERATOR_GREETING;
	o->since_ms = w->now_ms;
	operator_send(w, &hello);
}

static struct kban_prefix hot_prefix(struct world *w)
{
	static const char *const some[] = {"203.0.113.1", "203.0.113.2", "203.0.113.4/30", "203.0.113.0/29", "2001:db8::/64"};
	struct kban_prefix p;

	if (kban_prefix_parse(&p, some[sim_below(&w->random, KBAN_ARRAY_LEN(some))]))
		abort();
	return p;
}

/* Quotas stay: who would end a hold once the operator says nothing more? */
static struct kban_event_policy operator_policy(struct world *w)
{
	struct kban_event_policy p = ledger_policy_default;

	p.repeat_percent = 100 + (uint32_t)sim_below(&w->random, 200);
	if (w->years)
		p.history_ms = 86400000 + sim_below(&w->random, 86400000 / 4);
	return p;
}

static struct kban_event operator_event(struct world *w)
{
	static const enum kban_event_kind kinds[] = {KBAN_EVENT_BAN,	  KBAN_EVENT_UNBAN,	  KBAN_EVENT_SAFE_ADD,
						     KBAN_EVENT_SAFE_ADD, KBAN_EVENT_SAFE_REMOVE, KBAN_EVENT_RELEASE,
						     KBAN_EVENT_POLICY};
	struct kban_event e = {.kind = kinds[sim_below(&w->random, KBAN_ARRAY_LEN(kinds))]};
	struct kban_prefix p = hot_prefix(w);
	if (w->years && !w->counts.operator_events)
		e.kind = KBAN_EVENT_POLICY;
	uint64_t duration = 1000 + sim_below(&w->random, sim_chance(&w->random, 500) ? 30000 : 300000);

	if (e.kind == KBAN_EVENT_BAN)
		e.ban = (struct kban_event_ban){.prefix = p, .duration_ms = duration, .reason = kban_text("a whim")};
	else if (e.kind == KBAN_EVENT_UNBAN)
		e.unban = (struct kban_event_unban){.prefix = p, .covering = sim_chance(&w->random, 500)};
	else if (e.kind == KBAN_EVENT_SAFE_ADD)
		e.safe_add = (struct kban_event_safe_add){.prefix = p, .duration_ms = sim_chance(&w->random, 700) ? duration : 0};
	else if (e.kind == KBAN_EVENT_SAFE_REMOVE)
		e.safe_remove = (struct kban_event_safe_remove){.prefix = p, .all = true};
	else if (e.kind == KBAN_EVENT_POLICY)
		e.policy = operator_policy(w);
	else
		e.release.key = w->nodes[sim_below(&w->random, WORLD_NODES)].identity.keys.sign_public;
	return e;
}

static void operator_seal(struct world *w)
{
	struct world_operator *o = &w->operator;
	struct kban_event events[3];
	struct kban_report r = {.cluster = o->identity.cluster,
				.counter = ++o->counter,
				.base = o->base,
				.issued_ms = w->now_ms,
				.events = events};

	for (uint64_t n = 1 + sim_below(&w->random, 3); r.events_n < n;)
		events[r.events_n++] = operator_event(w);
	if (kban_report_seal(&r, &o->identity.keys, &o->sealed_bytes, &o->sealed))
		abort();
	o->hash = r.hash;
	w->counts.operator_events += r.events_n;
}

static void operator_submit(struct world *w)
{
	struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = w->operator.sealed};

	w->operator.state = OPERATOR_WAITING;
	w->operator.since_ms = w->now_ms;
	operator_send(w, &m);
}

void world_operator_step(struct world *w)
{
	struct world_operator *o = &w->operator;

	if (o->state != OPERATOR_AWAY && o->state != OPERATOR_READY && w->now_ms - o->since_ms > 3000)
		world_disconnect(w, o->connection);
	if (o->state == OPERATOR_AWAY && sim_chance(&w->random, 200))
		operator_greet(w);
	if (o->state != OPERATOR_READY)
		return;
	if (!o->sealed_bytes && w->faults && sim_chance(&w->random, 60))
		operator_seal(w);
	if (o->sealed_bytes)
		operator_submit(w);
}

static void operator_welcomed(struct world *w, const struct kban_message *m)
{
	struct world_operator *o = &w->operator;
	kban_auto(kban_report_free) struct kban_report *newest = NULL;

	memcpy(o->session, m->welcome.session, sizeof(o->session));
	o->base = (struct kban_base){m->welcome.head.epoch, m->welcome.head.seq};
	if (m->welcome.has_newest && !kban_report_decode(&newest, &m->welcome.newest) && newest->counter > o->counter)
		o->counter = newest->counter;
	o->state = OPERATOR_READY;
}

static void operator_answered(struct world *w, const struct kban_receipt *r)
{
	struct world_operator *o = &w->operator;

	if (!o->sealed_bytes || !kban_hash_equal(&r->hash, &o->hash))
		return;
	o->state = OPERATOR_READY;
	if (r->refusal == KBAN_REFUSAL_DISK_FULL || r->refusal == KBAN_REFUSAL_BUSY)
		return; /* again, later */
	free(o->sealed_bytes);
	o->sealed_bytes = NULL;
}

void world_operator_receive(struct world *w, const uint8_t *bytes, size_t len)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	if (kban_message_decode(&m, bytes, len))
		return;
	if (m->kind == KBAN_MSG_WELCOME && w->operator.state == OPERATOR_GREETING)
		operator_welcomed(w, m);
	else if (m->kind == KBAN_MSG_RECEIPT)
		operator_answered(w, &m->receipt);
	else if (m->kind == KBAN_MSG_NO_SESSION)
		world_disconnect(w, w->operator.connection);
}

void world_operator_lost(struct world *w)
{
	w->operator.state = OPERATOR_AWAY;
	w->operator.connection = 0;
}
