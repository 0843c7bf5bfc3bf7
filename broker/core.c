/* SPDX-License-Identifier: MPL-2.0
 *
 * Start, messages, ticks. What a peer may send is a table: who may, and whether the answer would
 * show what is folded ahead (then it waits for the commit).
 */
#include "broker/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/state.h"
#include "proto/log.h"

uint64_t broker_now(const struct broker *b)
{
	uint64_t wall = kban_wall_ms(b->clock), log = ledger_time_ms(b->ledger);

	return wall > log ? wall : log;
}

/* Start ------------------------------------------------------------------------------------- */

#define TWICE_MS 10000 /* nodes speak every 5 s: one that was heard so lately is still there */

int broker_new(struct broker **out, const struct kban_identity *identity, struct store *store,
	       const struct kban_clock *clock, const struct broker_transport *transport,
	       const struct kban_sealed *genesis, char **error)
{
	kban_auto(broker_free) struct broker *b = kban_zalloc(sizeof(*b));

	b->identity = identity;
	b->store = store;
	b->clock = clock;
	b->transport = transport;
	b->tail.first = 1;
	refused_new(&b->refused);
	int r = fold_log(b, error);
	if (!r && !b->durable.seq)
		r = genesis_take(b, genesis, error);
	if (r)
		return r < 0 ? r : -EIO;
	compaction_start(b);
	b->probed_ms = kban_boot_ms(clock);
	*out = b;
	b = NULL;
	return 0;
}

void broker_free(struct broker *b)
{
	if (!b)
		return;
	compact_free(b->compaction.job);
	submit_free(b);
	refused_free(b->refused);
	stream_free(b);
	peers_free(b);
	ledger_free(b->ledger);
	free(b);
}

const struct ledger *broker_ledger(const struct broker *b)
{
	return b->ledger;
}

const struct broker_counts *broker_counts(const struct broker *b)
{
	return &b->counts;
}

/* Admission --------------------------------------------------------------------------------- */

static const char *invitation_refusal(const struct ledger_invitation *i, uint64_t now_ms)
{
	if (i->revoked_seq)
		return "revoked";
	/* A used one is let in until its time is over, to be told by whom and when; its Join is refused. */
	return now_ms < i->expires_ms ? NULL : "invitation expired";
}

bool broker_admits(const struct broker *b, const struct kban_key *curve, const char **reason)
{
	struct caller who;
	const char *why = NULL;

	peer_caller(b, curve, &who);
	if (who.invitation)
		why = invitation_refusal(who.invitation, broker_now(b));
	else if (who.refusal)
		why = who.principal ? "revoked" : "unknown key";
	if (reason)
		*reason = why;
	return !why;
}

/* Hello ------------------------------------------------------------------------------------- */

static bool same_cluster(const struct broker *b, const struct kban_cluster_id *id)
{
	return !memcmp(id, ledger_cluster(b->ledger), sizeof(*id));
}

static enum kban_refusal hello_refusal(const struct broker *b, const struct kban_hello *h,
				       char detail[128])
{
	if (!same_cluster(b, &h->cluster)) {
		snprintf(detail, 128, "this broker serves another cluster");
		return KBAN_REFUSAL_WRONG_CLUSTER;
	}
	if (h->min_version > KBAN_PROTOCOL_VERSION || h->max_version < KBAN_PROTOCOL_VERSION) {
		snprintf(detail, 128, "this broker speaks protocol version %u",
			 KBAN_PROTOCOL_VERSION);
		return KBAN_REFUSAL_VERSION;
	}
	if (h->fold_version < ledger_fold_version(b->ledger)) {
		snprintf(detail, 128, "the log needs fold version %u",
			 ledger_fold_version(b->ledger));
		return KBAN_REFUSAL_UPGRADE_NEEDED;
	}
	return KBAN_REFUSAL_NONE;
}

static int send_welcome(struct broker *b, struct peer *p, const struct kban_entry *newest)
{
	struct kban_message m = {
		.kind = KBAN_MSG_WELCOME,
		.welcome =
			{
				.version = KBAN_PROTOCOL_VERSION,
				.head = b->durable,
				.broker_ms = broker_now(b),
				.fold_version = ledger_fold_version(b->ledger),
				.horizon = b->horizon,
			},
	};

	ledger_digest(b->ledger, &m.welcome.digest);
	memcpy(m.welcome.session, p->session, sizeof(p->session));
	if (newest) {
		m.welcome.has_newest = true;
		m.welcome.newest = newest->sealed;
	}
	peer_send(b, p, &m);
	return 0;
}

struct welcome {
	struct broker *b;
	struct peer *p;
};

static int welcome_with(void *arg, const struct kban_entry *newest)
{
	struct welcome *w = arg;

	return send_welcome(w->b, w->p, newest);
}

/* Those who keep no ledger of their own take their counter from their newest report. */
static bool needs_newest(const struct ledger_principal *p)
{
	return p && p->newest_seq && (p->role == KBAN_ROLE_OPERATOR || p->role == KBAN_ROLE_FEEDER);
}

/* One identity on two machines at once: the two cut each other's reports off, and one of them may be a thief. */
static void say_twice(struct broker *b, const struct peer *p)
{
	uint64_t now_ms = kban_boot_ms(b->clock);
	struct peer *other, *next;

	HASH_ITER (hh, b->peers, other, next) {
		if (other->member != p->member || other == p || !other->greeted || other->cut ||
		    now_ms - other->heard_ms > TWICE_MS || !strcmp(other->address, p->address))
			continue;
		if (!peer_may_log(b))
			return;
		kban_warning("%s is connected from %s and from %s: is its identity file in use on two machines? Every "
			     "server needs an identity of its own; if this is not your doing: kbanctl node revoke %s",
			     peer_name(b, p), other->address, p->address, peer_name(b, p));
		return;
	}
}

/* Operators come and go with every command; nodes stay. */
static void say_connected(struct broker *b, const struct peer *p, const struct caller *who, const char *program)
{
	if (who->principal && who->principal->role == KBAN_ROLE_NODE) {
		say_twice(b, p);
		if (peer_may_log(b))
			kban_info("%s connected from %s (%s)", peer_name(b, p), p->address, program);
		return;
	}
	kban_debug("%s connected from %s (%s)", peer_name(b, p), p->address, program);
}

static void on_hello(struct broker *b, struct peer *p, const struct caller *who,
		     const struct kban_message *m)
{
	char detail[128], program[128];
	enum kban_refusal r = hello_refusal(b, &m->hello, detail);

	kban_escape(program, sizeof(program), m->hello.program.s, m->hello.program.n);
	if (r) {
		if (peer_may_log(b))
			kban_warning("%s at %s (%s) is refused: %s", peer_name(b, p), p->address,
				     program, detail);
		peer_deny(b, p, r, detail);
		peer_cut(b, p);
		return;
	}
	peer_unsubscribe(b, p);
	wait_drop(p);
	kban_random(p->session, sizeof(p->session));
	p->greeted = true;
	p->member->fold_version = m->hello.fold_version;
	say_connected(b, p, who, program);
	struct welcome w = {b, p};
	if (!needs_newest(who->principal) ||
	    stream_entry(b, who->principal->newest_seq, welcome_with, &w))
		send_welcome(b, p, NULL);
}

/* Messages ---------------------------------------------------------------------------------- */

static void on_submit(struct broker *b, struct peer *p, const struct caller *who,
		      const struct kban_message *m)
{
	submit_receive(b, p, who, &m->submit);
}

static void on_subscribe(struct broker *b, struct peer *p, const struct caller *who,
			 const struct kban_message *m)
{
	(void)who;
	stream_subscribe(b, p, &m->subscribe);
}

static void on_ack(struct broker *b, struct peer *p, const struct caller *who,
		   const struct kban_message *m)
{
	(void)who;
	stream_ack(b, p, m->ack.seq);
}

static void on_heartbeat(struct broker *b, struct peer *p, const struct caller *who,
			 const struct kban_message *m)
{
	beat_receive(b, p, who, &m->heartbeat);
}

static void on_query(struct broker *b, struct peer *p, const struct caller *who,
		     const struct kban_message *m)
{
	query_receive(b, p, who, &m->query);
}

static const struct message_kind {
	void (*handle)(struct broker *b, struct peer *p, const struct caller *who,
		       const struct kban_message *m); /* NULL: only brokers send it */
	bool waits;				      /* while something is staged */
	bool by_joiners; /* a connection with an invitation's key may send it */
} kinds[] = {
	[KBAN_MSG_HELLO] = {on_hello, true, true},
	[KBAN_MSG_SUBMIT] = {on_submit, false, true},
	[KBAN_MSG_SUBSCRIBE] = {on_subscribe, true, false},
	[KBAN_MSG_ACK] = {on_ack, false, false},
	[KBAN_MSG_HEARTBEAT] = {on_heartbeat, false, false},
	[KBAN_MSG_QUERY] = {on_query, true, false},
	[KBAN_MSG_NO_SESSION] = {0},
};

static bool session_is(const struct peer *p, const struct kban_message *m)
{
	return p->greeted && m->has_session && !memcmp(m->session, p->session, sizeof(p->session));
}

static void message_handle(struct broker *b, struct peer *p, const struct caller *who,
			   const struct kban_message *m)
{
	const struct message_kind *kind = &kinds[m->kind];

	if (!kind->handle) {
		peer_bad(b, p);
	} else if (m->kind != KBAN_MSG_HELLO && !session_is(p, m)) {
		peer_deny(b, p, KBAN_REFUSAL_UNKNOWN_SESSION, "say Hello on a new connection");
	} else if (who->invitation && (!kind->by_joiners || p->submitted)) {
		peer_deny(b, p, KBAN_REFUSAL_DENIED, "an invitation is for one Join");
		peer_cut(b, p);
	} else {
		kind->handle(b, p, who, m);
	}
}

static void message_unreadable(struct broker *b, struct peer *p, int result)
{
	if (result == KBAN_MESSAGE_VERSION)
		peer_deny(b, p, KBAN_REFUSAL_VERSION, "this broker speaks protocol version 1");
	peer_bad(b, p);
}

/* Revoked, and the commit that says so is still to come; or an invitation that ran out and is
 * forgotten. */
static void peer_over(struct broker *b, struct peer *p, const struct caller *who,
		      const struct kban_message *m)
{
	if (!who->principal) {
		peer_deny(b, p, who->refusal, "your key is not known here any more");
		peer_cut(b, p);
	} else if (m->kind == KBAN_MSG_SUBMIT) {
		submit_revoked(b, p, &m->submit);
	}
}

static void peer_message(struct broker *b, struct peer *p, const struct kban_key *curve,
			 const uint8_t *bytes, size_t len)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	struct caller who;
	int r = kban_message_decode(&m, bytes, len);

	if (r) {
		message_unreadable(b, p, r);
		return;
	}
	peer_caller(b, curve, &who);
	if (who.refusal) {
		peer_over(b, p, &who, m);
		return;
	}
	if (b->staged && kinds[m->kind].waits)
		submit_defer(b, p, bytes, len);
	else
		message_handle(b, p, &who, m);
}

/* A connection that is older than its key's revocation and said nothing since, or whose key is
 * nobody's. */
static void stranger(struct broker *b, uint64_t id, const struct caller *who)
{
	struct kban_message m = {
		.kind = KBAN_MSG_NO_SESSION,
		.version = KBAN_PROTOCOL_VERSION,
		.no_session = {.reason = who->refusal,
			       .detail = kban_text(who->principal ? "your key was revoked"
								  : "your key is not known here")},
	};
	uint8_t *bytes;
	size_t len;

	b->counts.refused[who->refusal]++;
	b->counts.cut++;
	kban_message_encode(&bytes, &len, &m);
	b->transport->send(b->transport->arg, id, bytes, len);
	free(bytes);
	b->transport->cut(b->transport->arg, id);
}

void broker_receive(struct broker *b, uint64_t id, const struct kban_key *curve,
		    const char *address, const uint8_t *bytes, size_t len)
{
	struct caller who;

	peer_caller(b, curve, &who);
	if (who.refusal && !peer_find(b, id)) {
		stranger(b, id, &who);
		return;
	}
	struct peer *p = peer_get(b, id, curve, address);
	if (p)
		peer_message(b, p, curve, bytes, len);
	peers_sweep(b);
}

void core_resume(struct broker *b, struct peer *p, const uint8_t *bytes, size_t len)
{
	peer_message(b, p, &p->member->curve, bytes, len);
}

/* Time -------------------------------------------------------------------------------------- */

static void cut_silent(struct broker *b, uint64_t now_ms)
{
	struct peer *p, *next;

	HASH_ITER (hh, b->peers, p, next) {
		if (p->cut || now_ms - p->heard_ms < BROKER_SILENT_MS)
			continue;
		kban_info("%s at %s was silent for %d s; it is cut off", peer_name(b, p),
			  p->address, BROKER_SILENT_MS / 1000);
		peer_cut(b, p);
	}
}

int broker_work(struct broker *b)
{
	if (b->staged || b->failed)
		return b->failed;
	b->failed = compaction_step(b);
	peers_sweep(b);
	return b->failed;
}

static void tick_unstaged(struct broker *b, uint64_t now_ms)
{
	waits_tick(b, now_ms);
	b->failed = compaction_tick(b);
	if (!b->failed)
		b->failed = compaction_step(b);
}

void broker_tick(struct broker *b)
{
	uint64_t now_ms = kban_boot_ms(b->clock);

	cut_silent(b, now_ms);
	if (now_ms - b->probed_ms >= BROKER_PROBE_MS) {
		b->probed_ms = now_ms;
		beat_probe_all(b);
	}
	if (!b->staged && !b->failed)
		tick_unstaged(b, now_ms);
	peers_sweep(b);
}
