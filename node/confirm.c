/* SPDX-License-Identifier: MPL-2.0
 *
 * Unconfirmed: the replica began with a state that a broker gave. Its signed reports were checked,
 * but strikes, ends, counters and what is missing are the broker's word. It counts as confirmed
 * once another live node of this ledger, by its signature, has the same chain and digest at the
 * same place. The broker relays heartbeats and cannot make one. Where no such node is left, an operator
 * accepts the ledger as it is, by an `epoch` event that names its digest (proto/accept.h).
 *
 * The row "u" (store/FORMAT.md, "Rows of kban-node") is there as long as the node is unconfirmed;
 * it is written in the transaction that puts the state in place.
 */
#include "node/state.h"

#include <stdlib.h>
#include <string.h>

#include "node/bytes.h"
#include "proto/accept.h"
#include "proto/log.h"

#define CONFIRM_EVERY_MS 5000

static const uint8_t row_key[] = {'u'};

static struct kban_span row_span(void)
{
	return kban_span(row_key, sizeof(row_key));
}

/* The row -------------------------------------------------------------------------------------- */

void confirm_put(struct node *n, uint64_t horizon)
{
	uint8_t value[8];

	bytes_put64(value, horizon);
	store_put(n->store, row_span(), kban_span(value, sizeof(value)));
}

int confirm_load(struct node *n)
{
	uint8_t *value = NULL;
	size_t len = 0;
	int r = store_get(n->store, row_span(), &value, &len);

	free(value);
	if (r)
		return r == STORE_NOT_FOUND ? 0 : r;
	if (len != 8)
		return STORE_DAMAGED;
	confirm_begin(n);
	return 0;
}

/* A mark has no epoch of its own; within one epoch all have the same marks. */
static void note_mark(struct node *n)
{
	struct confirm *c = &n->confirm;
	struct confirm_place *mark = &c->marks[c->marks_n++ % CONFIRM_MARKS];
	struct kban_place place;

	ledger_place(n->ledger, &place);
	mark->place.epoch = place.epoch;
	ledger_mark(n->ledger, &mark->place.seq, &mark->place.chain, &mark->digest);
}

void confirm_begin(struct node *n)
{
	n->confirm = (struct confirm){.wanted = true};
	ledger_doubt_ranges(n->ledger, true);
	note_mark(n);
	confirm_note(n);
}

/* Places --------------------------------------------------------------------------------------- */

void confirm_note(struct node *n)
{
	struct confirm *c = &n->confirm;

	if (!c->wanted)
		return;
	struct confirm_place *p = &c->places[c->places_n++ % CONFIRM_PLACES];

	ledger_place(n->ledger, &p->place);
	ledger_digest(n->ledger, &p->digest);
	if (p->place.seq % LEDGER_MARK_EVERY == 0)
		note_mark(n);
}

enum likeness {
	LIKENESS_UNKNOWN, /* places that cannot be compared */
	LIKENESS_SAME,
	LIKENESS_OTHER,
};

/* Another epoch at the same seq is a log before or after a restore: that is for the broker to sort
 * out. */
static enum likeness compare(const struct confirm_place *own, const struct confirm_place *theirs)
{
	if (!theirs->place.seq || own->place.seq != theirs->place.seq ||
	    own->place.epoch != theirs->place.epoch)
		return LIKENESS_UNKNOWN;
	return kban_hash_equal(&own->place.chain, &theirs->place.chain) &&
			       kban_hash_equal(&own->digest, &theirs->digest)
		       ? LIKENESS_SAME
		       : LIKENESS_OTHER;
}

static enum likeness compare_all(const struct node *n, const struct confirm_place *theirs)
{
	const struct confirm *c = &n->confirm;
	enum likeness found = LIKENESS_UNKNOWN;

	for (size_t i = 0; i < CONFIRM_MARKS && found == LIKENESS_UNKNOWN; i++)
		found = compare(&c->marks[i], theirs);
	for (size_t i = 0; i < CONFIRM_PLACES && found == LIKENESS_UNKNOWN; i++)
		found = compare(&c->places[i], theirs);
	return found;
}

/* Other nodes ---------------------------------------------------------------------------------- */

static bool is_other_node(const struct node *n, const struct ledger_principal *p)
{
	return p->role == KBAN_ROLE_NODE && !p->revoked_seq && !kban_key_equal(&p->key, &n->self);
}

static int find_other(void *arg, const struct ledger_principal *p)
{
	return is_other_node(arg, p);
}

static enum likeness judge_heartbeat(const struct node *n, const struct kban_sealed *sealed,
				     const struct ledger_principal **who, uint64_t *seq)
{
	struct kban_heartbeat h;

	if (kban_heartbeat_decode(&h, sealed) || !kban_heartbeat_check(&h, sealed))
		return LIKENESS_UNKNOWN;
	*who = ledger_principal(n->ledger, &h.author);
	if (!*who || !is_other_node(n, *who) ||
	    h.status & (KBAN_STATUS_UNCONFIRMED | KBAN_STATUS_FORK) ||
	    memcmp(&h.cluster, &n->config.identity->cluster, sizeof(h.cluster)) != 0)
		return LIKENESS_UNKNOWN;
	const struct confirm_place at = {h.place, h.digest};
	const struct confirm_place mark = {{h.place.epoch, h.mark_seq, h.mark_chain},
					   h.mark_digest};
	enum likeness found = compare_all(n, &at);

	*seq = h.place.seq;
	if (found != LIKENESS_UNKNOWN)
		return found;
	*seq = h.mark_seq;
	return compare_all(n, &mark);
}

static void say_differs(const struct confirm *c, const struct ledger_principal *who, uint64_t seq)
{
	kban_log(c->disputed ? KBAN_LOG_DEBUG : KBAN_LOG_ERROR,
		 "at entry %llu node %s has another state than the one that this node took from "
		 "the broker: the broker, or that node, is not to be trusted; this node keeps "
		 "enforcing what it has, and reports nothing; run: kbanctl cluster status",
		 (unsigned long long)seq, who->name);
}

/* Ranges that were doubted count from now on. */
static void confirmed(struct node *n)
{
	n->confirm = (struct confirm){0};
	stage_delete(&n->stage, row_span());
	ledger_doubt_ranges(n->ledger, false);
	want_enforce_all(n);
	want_fence(n, node_seq(n));
	link_progress(n);
	link_beat(n);
}

static void take_heartbeat(struct node *n, const struct kban_sealed *sealed)
{
	const struct ledger_principal *who = NULL;
	struct confirm *c = &n->confirm;
	uint64_t seq = 0;

	switch (judge_heartbeat(n, sealed, &who, &seq)) {
	case LIKENESS_UNKNOWN:
		return;
	case LIKENESS_SAME:
		if (!c->agreed)
			kban_info("node %s has the same state at entry %llu: what the broker gave "
				  "is confirmed",
				  who->name, (unsigned long long)seq);
		c->agreed = true;
		return;
	case LIKENESS_OTHER:
		say_differs(c, who, seq);
		c->differs = true;
		return;
	}
}

/* An operator ---------------------------------------------------------------------------------- */

static enum likeness compare_digest(const struct confirm *c, uint32_t epoch, uint64_t seq,
				    const struct kban_hash *digest)
{
	for (size_t i = 0; i < CONFIRM_PLACES; i++) {
		const struct confirm_place *own = &c->places[i];

		if (seq && own->place.seq == seq && own->place.epoch == epoch)
			return kban_hash_equal(&own->digest, digest) ? LIKENESS_SAME
								     : LIKENESS_OTHER;
	}
	return LIKENESS_UNKNOWN;
}

static void take_epoch(struct node *n, const struct kban_event_epoch *e)
{
	struct kban_hash digest;
	uint64_t seq;

	if (!kban_accept_parse(&seq, &digest, &e->reason))
		return;
	if (compare_digest(&n->confirm, e->epoch - 1, seq, &digest) == LIKENESS_SAME) {
		kban_info("an operator accepts the ledger at entry %llu: what the broker gave is "
			  "confirmed",
			  (unsigned long long)seq);
		n->confirm.accepted = true;
		return;
	}
	kban_warning("an operator accepts a ledger at entry %llu that is not this node's, or of "
		     "too long ago: this node stays unconfirmed; run: kbanctl cluster accept-epoch",
		     (unsigned long long)seq);
}

void confirm_epoch(struct node *n, const struct kban_report *r, const struct ledger_verdict *v)
{
	if (!n->confirm.wanted)
		return;
	for (size_t i = 0; i < r->events_n && i < v->outcomes_n; i++)
		if (r->events[i].kind == KBAN_EVENT_EPOCH &&
		    v->outcomes[i] == KBAN_OUTCOME_COUNTED)
			take_epoch(n, &r->events[i].epoch);
}

void confirm_settle(struct node *n)
{
	if (n->confirm.accepted)
		confirmed(n);
}

/* Asking --------------------------------------------------------------------------------------- */

/* With a nonce, so that the heartbeats are of now and not of some seconds ago. */
static void ask(struct node *n, uint64_t after)
{
	struct kban_message m = {.kind = KBAN_MSG_QUERY};
	uint8_t nonce[16];

	n->ports.random(n->ports.arg, nonce, sizeof(nonce));
	m.query.kind = KBAN_QUERY_CLUSTER;
	m.query.after = after;
	if (!after)
		m.query.nonce = (struct kban_text){(const char *)nonce, sizeof(nonce)};
	n->confirm.after = after;
	n->confirm.asking = true;
	link_send(n, &m);
}

/* Who else there is, only the log's end tells. */
static bool at_end(const struct node *n)
{
	return n->link.phase == LINK_UP && !n->transfer &&
	       (node_seq(n) >= n->link.head.seq || n->halted);
}

/* That nobody else is there is the broker's word too, since it can leave others out. */
static void say_alone(struct node *n)
{
	if (n->confirm.said_alone || ledger_principals_each(n->ledger, find_other, n))
		return;
	n->confirm.said_alone = true;
	kban_warning("no other node is in the cluster that could confirm the state that the broker "
		     "gave: this node stays unconfirmed until an operator has compared and runs: "
		     "kbanctl cluster accept-epoch");
}

void confirm_tick(struct node *n)
{
	struct confirm *c = &n->confirm;
	uint64_t boot = kban_boot_ms(n->clock);

	if (!c->wanted || !at_end(n) || boot < c->next_ms)
		return;
	c->next_ms = boot + CONFIRM_EVERY_MS;
	say_alone(n);
	c->agreed = c->differs = false;
	ask(n, 0);
}

static void round_end(struct node *n)
{
	struct confirm *c = &n->confirm;

	c->asking = false;
	if (c->agreed) {
		confirmed(n);
		return;
	}
	if (!c->differs || c->disputed)
		return;
	c->disputed = true;
	link_beat(n);
}

/* Only pages with members matter, and each brings some: so a broker cannot make this go on for
 * ever. */
void confirm_answer(struct node *n, const struct kban_answer *a)
{
	struct confirm *c = &n->confirm;

	if (!c->wanted || !c->asking)
		return;
	for (size_t i = 0; i < a->members_n && !c->agreed; i++)
		if (a->members[i].has_heartbeat)
			take_heartbeat(n, &a->members[i].heartbeat);
	if (!c->agreed && a->members_n && a->next > c->after)
		ask(n, a->next);
	else
		round_end(n);
}
