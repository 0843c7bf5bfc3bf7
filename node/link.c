/* SPDX-License-Identifier: MPL-2.0
 *
 * The connection: attempts and their spacing, the session, broker time, heartbeats.
 */
#include "node/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"

static uint64_t boot_ms(const struct node *n)
{
	return kban_boot_ms(n->clock);
}

static const char *broker_name(const struct node *n)
{
	const struct kban_identity *id = n->config.identity;

	return id->brokers_n ? id->brokers[n->link.which % id->brokers_n].endpoint : "(none)";
}

enum node_link node_link(const struct node *n)
{
	const struct link *l = &n->link;

	if (l->trouble != NODE_OFFLINE)
		return l->trouble;
	if (n->halted)
		return NODE_UPGRADE_NEEDED;
	if (n->confirm.disputed)
		return NODE_FORK;
	switch (l->phase) {
	case LINK_DOWN:
	case LINK_CONNECTING:
		return NODE_OFFLINE;
	case LINK_GREETING:
		return NODE_GREETING;
	case LINK_UP:
		return node_seq(n) >= l->head.seq ? NODE_LIVE : NODE_CATCHING_UP;
	}
	return NODE_OFFLINE;
}

void link_send(struct node *n, struct kban_message *m)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	m->version = KBAN_PROTOCOL_VERSION;
	m->has_session = n->link.phase == LINK_UP;
	memcpy(m->session, n->link.session, sizeof(m->session));
	kban_message_encode(&bytes, &len, m);
	n->ports.send(n->ports.arg, bytes, len);
	free(bytes);
}

/* Attempts ------------------------------------------------------------------------------------- */

/* Half of the pause is fixed and half is chance, so that a fleet does not come back in step. */
static uint64_t pause_ms(struct node *n)
{
	struct link *l = &n->link;
	uint64_t base = l->retry_ms;
	uint32_t chance;

	l->retry_ms = base * 2 < NODE_RETRY_MAX_MS ? base * 2 : NODE_RETRY_MAX_MS;
	if (l->trouble == NODE_REVOKED)
		base = NODE_REVOKED_MS;
	else if (l->trouble != NODE_OFFLINE)
		base = NODE_SLOW_MS;
	n->ports.random(n->ports.arg, &chance, sizeof(chance));
	return base / 2 + chance % (base / 2 + 1);
}

static void link_down(struct node *n, const char *why)
{
	struct link *l = &n->link;
	uint64_t pause = pause_ms(n);

	/* Said when a connection ends and for the first attempt that fails, not for each one after
	 * that. */
	kban_log(l->said_down ? KBAN_LOG_DEBUG : KBAN_LOG_WARNING, "broker %s: %s; trying again",
		 broker_name(n), why);
	l->said_down = true;
	l->phase = LINK_DOWN;
	l->next_try_ms = boot_ms(n) + pause;
	l->which = n->config.identity->brokers_n ? (l->which + 1) % n->config.identity->brokers_n
						 : 0;
	l->was_live = false;
	n->ack_seq = 0;
	n->confirm.asking = false;
	transfer_lost(n);
}

void link_drop(struct node *n, const char *why)
{
	if (n->link.phase == LINK_DOWN)
		return;
	link_down(n, why);
	n->ports.disconnect(n->ports.arg);
}

void node_lost(struct node *n)
{
	if (n->link.phase != LINK_DOWN)
		link_down(n, "the connection is gone");
}

void node_refused(struct node *n)
{
	if (n->link.phase == LINK_DOWN)
		return;
	link_trouble(n, NODE_REVOKED,
		     "the broker does not know this node's key: it was revoked, or the broker "
		     "serves another cluster or lost its log; this node keeps enforcing what it "
		     "has, and tries again every few minutes: once that is mended, restart "
		     "kban-node to try at once");
}

void link_trouble(struct node *n, enum node_link trouble, const char *why)
{
	if (n->link.trouble != trouble)
		kban_error("%s", why);
	n->link.trouble = trouble;
	n->link.said_down = true;
	link_drop(n, why);
}

/* The log moved on, or there was nothing to move: what was wrong is over, and attempts start from
 * the shortest pause. A broker that only greets and then fails does not get here. */
void link_progress(struct node *n)
{
	struct link *l = &n->link;
	const struct ledger_principal *self = node_self(n);

	l->retry_ms = NODE_RETRY_MIN_MS;
	if ((self && self->revoked_seq) || l->newer)
		return;
	if (l->trouble != NODE_OFFLINE)
		kban_info("broker %s: no longer %s", broker_name(n), node_link_name(l->trouble));
	l->trouble = NODE_OFFLINE;
	if (l->was_live || node_link(n) != NODE_LIVE)
		return;
	l->was_live = true;
	l->said_down = false;
	kban_info("broker %s: connected, at entry %llu of its log", broker_name(n),
		  (unsigned long long)node_seq(n));
	link_beat(n);
}

static void attempt(struct node *n)
{
	struct link *l = &n->link;

	if (!n->config.identity->brokers_n || boot_ms(n) < l->next_try_ms)
		return;
	l->phase = LINK_CONNECTING;
	l->phase_ms = boot_ms(n);
	l->bad = 0;
	n->ports.connect(n->ports.arg, l->which);
}

void node_connected(struct node *n)
{
	char program[sizeof("kban-node ") + KBAN_VERSION_MAX];
	struct kban_message m = {.kind = KBAN_MSG_HELLO};

	if (n->link.phase != LINK_CONNECTING)
		return;
	n->link.phase = LINK_GREETING;
	n->link.phase_ms = boot_ms(n);
	snprintf(program, sizeof(program), "kban-node %s", n->config.version);
	m.hello = (struct kban_hello){
		.min_version = KBAN_PROTOCOL_VERSION,
		.max_version = KBAN_PROTOCOL_VERSION,
		.fold_version = kban_fold_newest,
		.cluster = n->config.identity->cluster,
		.program = kban_text(program),
	};
	link_send(n, &m);
}

void link_tick(struct node *n)
{
	struct link *l = &n->link;
	uint64_t boot = boot_ms(n);

	switch (l->phase) {
	case LINK_DOWN:
		attempt(n);
		return;
	case LINK_CONNECTING:
	case LINK_GREETING:
		if (boot - l->phase_ms >= NODE_GREETING_MS)
			link_drop(n, "no answer");
		return;
	case LINK_UP:
		if (boot - l->heard_ms >= NODE_SILENT_MS)
			link_drop(n, "silent for too long");
		else if (boot - l->beat_ms >= NODE_HEARTBEAT_MS)
			link_beat(n);
		return;
	}
}

/* Heartbeats ----------------------------------------------------------------------------------- */

static uint32_t status_bits(const struct node *n)
{
	const struct {
		bool set;
		enum kban_status_bit bit;
	} bits[] = {
		{n->confirm.wanted, KBAN_STATUS_UNCONFIRMED},
		{n->link.trouble == NODE_FORK || n->confirm.disputed, KBAN_STATUS_FORK},
		{n->link.trouble == NODE_UPGRADE_NEEDED || n->halted, KBAN_STATUS_UPGRADE_NEEDED},
		{n->status.failed, KBAN_STATUS_KERNEL_FAILED},
		{n->log_missing, KBAN_STATUS_LOG_MISSING},
		{n->disk_full || n->tidy.full, KBAN_STATUS_DISK_FULL},
		{n->clock_off, KBAN_STATUS_CLOCK_OFF},
		{n->config.watching, KBAN_STATUS_WATCHING},
	};
	uint32_t status = 0;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bits); i++)
		status |= bits[i].set ? bits[i].bit : 0U;
	return status;
}

static void fill_heartbeat(const struct node *n, struct kban_heartbeat *h)
{
	*h = (struct kban_heartbeat){
		.cluster = n->config.identity->cluster,
		.enforced_seq = n->enforced_seq,
		.bans_enforced = n->status.bans_enforced,
		.bans_wanted = n->status.bans_wanted,
		.own_ms = kban_wall_ms(n->clock),
		.repairs = n->status.repairs,
		.outbox = n->outbox.n,
		.nonce_n = n->link.nonce_n,
		.fold_version = kban_fold_newest,
		.status = status_bits(n),
	};
	ledger_place(n->ledger, &h->place);
	ledger_digest(n->ledger, &h->digest);
	ledger_mark(n->ledger, &h->mark_seq, &h->mark_chain, &h->mark_digest);
	memcpy(h->nonce, n->link.nonce, sizeof(h->nonce));
	memcpy(h->version, n->config.version, sizeof(h->version));
}

void link_beat(struct node *n)
{
	struct kban_message m = {.kind = KBAN_MSG_HEARTBEAT};
	struct kban_heartbeat h;
	uint8_t *bytes = NULL;

	if (n->link.phase != LINK_UP)
		return;
	fill_heartbeat(n, &h);
	kban_heartbeat_seal(&h, &n->config.identity->keys, &bytes, &m.heartbeat);
	link_send(n, &m);
	free(bytes);
	n->link.beat_ms = boot_ms(n);
}

/* Broker time ---------------------------------------------------------------------------------- */

static void check_clock(struct node *n)
{
	int64_t off = (int64_t)(brokertime_now(&n->time, n->clock) - kban_wall_ms(n->clock));
	bool is_off = off > NODE_CLOCK_OFF_MS || off < -NODE_CLOCK_OFF_MS;

	if (is_off && !n->clock_off)
		kban_warning("this server's clock is %lld s %s the broker's: bans end at their "
			     "time all the same, but "
			     "log times mislead; check the time service",
			     (long long)(off < 0 ? -off : off) / 1000,
			     off < 0 ? "ahead of" : "behind");
	n->clock_off = is_off;
}

static void heard_time(struct node *n, uint64_t broker_ms)
{
	brokertime_heard(&n->time, broker_ms, boot_ms(n));
	check_clock(n);
}

/* Messages ------------------------------------------------------------------------------------- */

static uint64_t own_newest(const struct node *n, const struct kban_welcome *w)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	if (!w->has_newest || kban_report_decode(&r, &w->newest) ||
	    !kban_key_equal(&r->author, &n->self) || !kban_report_check(r, &w->newest))
		return 0;
	return r->counter;
}

/* What Welcome alone shows of a log that is not ours; the broker checks the cursor besides. */
static bool is_fork(const struct kban_place *own, const struct kban_place *head)
{
	if (head->epoch < own->epoch || head->seq < own->seq)
		return true;
	return head->seq == own->seq && !kban_hash_equal(&head->chain, &own->chain);
}

static void check_digest(struct node *n, const struct kban_welcome *w)
{
	struct kban_hash digest;

	ledger_digest(n->ledger, &digest);
	if (kban_hash_equal(&digest, &w->digest) || n->link.said_digest)
		return;
	n->link.said_digest = true;
	kban_error("at entry %llu this node's ledger has another digest than the broker's: one of "
		   "them has a bug, "
		   "please report it with the output of: kbanctl cluster list",
		   (unsigned long long)w->head.seq);
}

void link_subscribe(struct node *n)
{
	struct kban_message m = {.kind = KBAN_MSG_SUBSCRIBE, .subscribe = {.window = NODE_WINDOW}};

	if (n->link.phase != LINK_UP)
		return;
	ledger_place(n->ledger, &m.subscribe.cursor);
	link_send(n, &m);
	link_beat(n);
}

/* Said once, and for as long as the log of this broker goes on with what this program does not
 * know. What it still knows of the log is followed, and heartbeats say what is wrong. */
static void upgrade_needed(struct node *n)
{
	struct link *l = &n->link;

	if (l->trouble != NODE_UPGRADE_NEEDED)
		kban_error("the cluster needs a newer kban-node: this one keeps enforcing and "
			   "banning, reports nothing, and follows the log no further than it "
			   "knows it; upgrade it");
	l->trouble = NODE_UPGRADE_NEEDED;
	l->newer = true;
}

/* The first word since the start sets right what was estimated by this server's clock. */
static void take_time(struct node *n, uint64_t broker_ms)
{
	if (!n->time.known)
		node_time_known(n, (int64_t)(broker_ms - boot_ms(n)));
	brokertime_reset(&n->time, broker_ms, boot_ms(n));
	check_clock(n);
}

static void take_welcome(struct node *n, const struct kban_message *m)
{
	const struct kban_welcome *w = &m->welcome;
	struct link *l = &n->link;
	struct kban_place own;

	if (l->phase != LINK_GREETING)
		return;
	take_time(n, w->broker_ms);
	ledger_place(n->ledger, &own);
	if (w->version != KBAN_PROTOCOL_VERSION) {
		link_trouble(n, NODE_UPGRADE_NEEDED,
			     "the cluster needs a newer kban-node: upgrade this one");
		return;
	}
	if (is_fork(&own, &w->head)) {
		link_trouble(n, NODE_FORK,
			     "the broker's log is not the one this node followed (restored from a "
			     "backup, or another "
			     "broker?): this node keeps enforcing what it has; run: kbanctl "
			     "cluster status");
		return;
	}
	if (w->horizon > w->head.seq) {
		link_drop(n, "its log begins behind its end");
		return;
	}
	l->phase = LINK_UP;
	l->heard_ms = boot_ms(n);
	l->head = w->head;
	l->behind_seq = 0;
	l->newest_counter = own_newest(n, w);
	l->newer = false;
	memcpy(l->session, w->session, sizeof(l->session));
	n->submit.send_ms = 0; /* what is sealed may leave as soon as the head is reached */
	if (w->fold_version > kban_fold_newest)
		upgrade_needed(n);
	if (w->horizon > own.seq) {
		if (!n->ahead)
			transfer_begin(n);
		link_beat(n);
		return;
	}
	link_subscribe(n);
	if (own.seq == w->head.seq) {
		check_digest(n, w);
		link_progress(n);
	}
}

static void take_entries(struct node *n, const struct kban_message *m)
{
	uint64_t before = node_seq(n);

	heard_time(n, m->entries.broker_ms);
	int r = replica_entries(n, &m->entries);

	if (n->halted && node_seq(n) > before && r != REPLICA_NEWER)
		n->halted = false;
	switch (r) {
	case 0:
		if (n->link.phase == LINK_UP && m->entries.entries_n)
			link_progress(n);
		return;
	case REPLICA_NEWER:
		if (n->halted)
			return; /* the log goes on without this node */
		upgrade_needed(n);
		n->halted = true;
		link_beat(n);
		return;
	default:
		link_drop(n, "an entry of its log is bad");
	}
}

static void take_answer(struct node *n, const struct kban_message *m)
{
	if (m->answer.kind == KBAN_QUERY_STATE)
		transfer_answer(n, &m->answer);
	else if (m->answer.kind == KBAN_QUERY_CLUSTER)
		confirm_answer(n, &m->answer);
}

static void take_receipt(struct node *n, const struct kban_message *m)
{
	submit_receipt(n, &m->receipt);
}

/* From one probe to the next the stream brought nothing, and yet there is more: a message was lost
 * on the way. */
static bool stream_stalled(struct node *n, uint64_t head)
{
	uint64_t behind = head > node_seq(n) ? node_seq(n) + 1 : 0;
	bool stalled = behind && behind == n->link.behind_seq;

	n->link.behind_seq = behind;
	return stalled;
}

static void take_probe(struct node *n, const struct kban_message *m)
{
	heard_time(n, m->probe.broker_ms);
	if (!m->probe.nonce.n) {
		if (!n->halted && !n->transfer && stream_stalled(n, m->probe.head))
			link_drop(n, "entries of its log are missing");
		return;
	}
	memcpy(n->link.nonce, m->probe.nonce.s, sizeof(n->link.nonce));
	n->link.nonce_n = sizeof(n->link.nonce);
	link_beat(n);
}

static const struct {
	enum node_link trouble; /* NODE_OFFLINE: none */
	const char *why;
} no_session[KBAN_REFUSALS] = {
	[KBAN_REFUSAL_REVOKED] = {NODE_REVOKED, "the broker says that this node was revoked"},
	[KBAN_REFUSAL_UNKNOWN_AUTHOR] = {NODE_REVOKED, "the broker does not know this node"},
	[KBAN_REFUSAL_WRONG_CLUSTER] =
		{NODE_REVOKED, "the broker serves another cluster: check the identity file"},
	[KBAN_REFUSAL_FORK] =
		{NODE_FORK, "the broker's log is not the one this node followed: this node keeps "
			    "enforcing what it has; run: kbanctl cluster status"},
	[KBAN_REFUSAL_CURSOR_AHEAD] = {NODE_FORK,
				       "the broker's log ends before this node's: this node keeps "
				       "enforcing what it has; run: kbanctl cluster status"},
	[KBAN_REFUSAL_OLD_EPOCH] =
		{NODE_FORK, "the broker's log is in another epoch: this node keeps enforcing "
			    "what it has; run: kbanctl cluster status"},
	[KBAN_REFUSAL_VERSION] = {NODE_UPGRADE_NEEDED,
				  "the broker speaks another protocol version: upgrade this node"},
	[KBAN_REFUSAL_UPGRADE_NEEDED] = {NODE_UPGRADE_NEEDED,
					 "the cluster needs a newer kban-node: upgrade this one"},
};

static void take_no_session(struct node *n, const struct kban_message *m)
{
	uint32_t reason = m->no_session.reason;

	if (reason < KBAN_REFUSALS && no_session[reason].trouble != NODE_OFFLINE)
		link_trouble(n, no_session[reason].trouble, no_session[reason].why);
	else
		link_drop(n, kban_refusal_name(reason));
}

static void (*const takers[])(struct node *n, const struct kban_message *m) = {
	[KBAN_MSG_WELCOME] = take_welcome,	 [KBAN_MSG_RECEIPT] = take_receipt,
	[KBAN_MSG_ENTRIES] = take_entries,	 [KBAN_MSG_PROBE] = take_probe,
	[KBAN_MSG_NO_SESSION] = take_no_session, [KBAN_MSG_ANSWER] = take_answer,
};

static bool in_session(const struct node *n, const struct kban_message *m)
{
	if (m->kind == KBAN_MSG_WELCOME || m->kind == KBAN_MSG_NO_SESSION)
		return true;
	return n->link.phase == LINK_UP && m->has_session &&
	       !memcmp(m->session, n->link.session, sizeof(m->session));
}

static void bad_message(struct node *n, int why)
{
	n->counts.bad_entries++;
	if (why == KBAN_MESSAGE_VERSION && n->link.phase == LINK_GREETING) {
		link_trouble(
			n, NODE_UPGRADE_NEEDED,
			"the broker speaks another protocol version: upgrade the older of the two");
		return;
	}
	if (++n->link.bad >= NODE_BAD_MAX)
		link_drop(n, "it sends what is no message");
}

int node_receive(struct node *n, const uint8_t *bytes, size_t len)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	if (n->link.phase == LINK_DOWN || n->link.phase == LINK_CONNECTING)
		return 0;
	int r = kban_message_decode(&m, bytes, len);

	if (r) {
		bad_message(n, r);
		return 0;
	}
	if ((size_t)m->kind >= KBAN_ARRAY_LEN(takers) || !takers[m->kind]) {
		bad_message(n, KBAN_MESSAGE_MALFORMED);
		return 0;
	}
	if (!in_session(n, m))
		return 0; /* of an earlier session of ours */
	n->link.heard_ms = boot_ms(n);
	takers[m->kind](n, m);
	if (n->failed)
		return n->failed;
	r = node_commit(n);
	return r < 0 ? r : 0;
}
