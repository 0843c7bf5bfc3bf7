/* SPDX-License-Identifier: MPL-2.0
 *
 * From the outbox to the log: sealing, sending, and what the answers mean.
 */
#include "node/state.h"

#include <utlist.h>

#include "proto/log.h"

#define SUBMIT_AGAIN_MS 1000  /* before a report is sealed anew after its counter was refused */
#define SUBMIT_LONG_MS	30000 /* before a resend that is not likely to help */

/* Only with the whole log folded: what waits may be in it already, and the base must be true. */
static bool may_submit(const struct node *n)
{
	const struct ledger_principal *self = node_self(n);

	return node_link(n) == NODE_LIVE && self && !self->revoked_seq && !self->held;
}

void submit_seal(struct node *n)
{
	struct instant now = node_instant(n);

	if (n->outbox.bytes || !n->outbox.n || !may_submit(n) || now.boot_ms < n->submit.seal_ms)
		return;
	const struct ledger_principal *self = node_self(n);
	struct kban_place place;

	ledger_place(n->ledger, &place);
	struct outbox_seal how = {
		.keys = &n->config.identity->keys,
		.cluster = n->config.identity->cluster,
		.base = {place.epoch, place.seq},
		.counter_floor = self->counter > n->link.newest_counter ? self->counter
									: n->link.newest_counter,
		.wall_ms = kban_wall_ms(n->clock),
		.boot_ms = now.boot_ms,
	};
	if (outbox_seal(&n->outbox, &n->stage, &how)) {
		n->submit.durable = false;
		n->submit.send_ms = 0;
	}
}

void submit_send(struct node *n)
{
	uint64_t boot = kban_boot_ms(n->clock);

	if (!n->outbox.bytes || !n->submit.durable || boot < n->submit.send_ms || !may_submit(n))
		return;
	struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = n->outbox.sealed};

	link_send(n, &m);
	n->counts.reports_sent++;
	n->submit.send_ms = boot + NODE_RESEND_MS;
}

/* Answers -------------------------------------------------------------------------------------- */

/* A refusal about the address: the own ban has no ground any more. */
static bool outcome_lifts(uint32_t o)
{
	return o == KBAN_OUTCOME_SAFE || o == KBAN_OUTCOME_NEVER_BAN || o == KBAN_OUTCOME_UNBANNED;
}

/* The unban itself dropped what waited then: what waits now is of failures that came after it. */
static uint32_t events_unsealed(const struct node *n, const struct kban_prefix *p)
{
	const struct outbox_item *item;
	uint32_t found = 0;

	DL_FOREACH (n->outbox.items, item)
		found += !item->sealed && kban_prefix_equal(&item->prefix, p);
	return found;
}

/* What was over the quota put this node on hold: it waits until an operator releases it. */
static bool settle_logged(void *arg, const struct outbox_item *item, size_t index)
{
	void **args = arg;
	struct node *n = args[0];
	const struct ledger_verdict *v = args[1];
	uint32_t outcome = index < v->outcomes_n ? v->outcomes[index] : 0;

	if (outcome < KBAN_OUTCOMES)
		n->counts.outcomes[outcome]++;
	if (outcome == KBAN_OUTCOME_OVER_QUOTA && item->until_boot_ms)
		return true;
	struct own_ban *b = own_find(&n->own, &item->prefix);

	if (b && outcome == KBAN_OUTCOME_UNBANNED && events_unsealed(n, &item->prefix))
		b->waiting = events_unsealed(n, &item->prefix);
	else if (b && outcome_lifts(outcome))
		node_lift(n, b);
	else if (item->until_boot_ms)
		node_own_answered(n, &item->prefix, outcome == KBAN_OUTCOME_COUNTED);
	return false;
}

void submit_logged(struct node *n, const struct ledger_verdict *v)
{
	void *args[] = {n, (void *)v};

	/* The fold refused what the broker logged: the counter is spent, the events wait for
	 * another report. */
	if (v->refusal) {
		outbox_unseal(&n->outbox, &n->stage);
		n->submit.seal_ms = kban_boot_ms(n->clock) + SUBMIT_AGAIN_MS;
		return;
	}
	outbox_settle(&n->outbox, &n->stage, settle_logged, args);
	n->submit.said = KBAN_REFUSAL_NONE;
}

static bool settle_unseen(void *arg, const struct outbox_item *item, size_t index)
{
	(void)index;
	if (item->until_boot_ms)
		node_own_answered(arg, &item->prefix, true);
	return false;
}

/* What became of its events is not known any more; a ban of ours that the ledger does not have runs
 * on here. */
void submit_installed(struct node *n)
{
	const struct ledger_principal *self = node_self(n);

	if (!n->outbox.bytes || !self || !kban_hash_equal(&self->newest_hash, &n->outbox.hash))
		return;
	kban_info("this node's newest report is in the log, at entry %llu",
		  (unsigned long long)self->newest_seq);
	outbox_settle(&n->outbox, &n->stage, settle_unseen, n);
	n->submit.said = KBAN_REFUSAL_NONE;
}

static bool all_final(const struct node *n, const struct kban_receipt *r)
{
	if (r->seq || r->outcomes_n != n->outbox.sealed_n)
		return false;
	for (size_t i = 0; i < r->outcomes_n; i++)
		if (kban_outcome_counts((enum kban_outcome)r->outcomes[i]) ||
		    r->outcomes[i] == KBAN_OUTCOME_OVER_QUOTA)
			return false;
	return true;
}

/* The receipt is the broker's word, unsigned: it takes events out of the outbox (a broker can
 * withhold them anyway), and lifts an own ban only where this node's own ledger says the same. If
 * the safe range that the broker speaks of is still on its way here, its entry lifts the ban. */
static bool settle_refused(void *arg, const struct outbox_item *item, size_t index)
{
	void **args = arg;
	struct node *n = args[0];
	struct changes *c = args[1];
	const struct kban_receipt *r = args[2];
	struct own_ban *b = own_find(&n->own, &item->prefix);
	bool about_address = outcome_lifts(r->outcomes[index]);

	n->counts.outcomes[r->outcomes[index]]++;
	if (b && about_address && want_exempt(n, &item->prefix)) {
		changes_touch(c, &item->prefix);
		node_lift(n, b);
		return false;
	}
	if (item->until_boot_ms)
		node_own_answered(n, &item->prefix, false);
	return false;
}

static void refused_finally(struct node *n, const struct kban_receipt *r)
{
	struct changes c = {.node = n};
	void *args[] = {n, &c, (void *)r};

	for (size_t i = 0; i < r->outcomes_n; i++)
		if (r->outcomes[i] >= KBAN_OUTCOMES)
			return;
	kban_info("a report was refused: %s (%zu events)", kban_outcome_name(r->outcomes[0]),
		  r->outcomes_n);
	outbox_settle(&n->outbox, &n->stage, settle_refused, args);
	changes_enforce(n, &c);
	changes_free(&c);
}

enum answer {
	ANSWER_WAIT,  /* for the stream, or for the broker to recover */
	ANSWER_LATER, /* the same, less often */
	ANSWER_COUNTER,
	ANSWER_REVOKED,
};

static const struct {
	enum answer answer;
	enum kban_level level;
	const char *remedy;
} answers[KBAN_REFUSALS] = {
	[KBAN_REFUSAL_MALFORMED] = {ANSWER_LATER, KBAN_LOG_ERROR,
				    "are node and broker of one version?"},
	[KBAN_REFUSAL_TOO_LARGE] = {ANSWER_LATER, KBAN_LOG_ERROR,
				    "are node and broker of one version?"},
	[KBAN_REFUSAL_UNKNOWN_EVENT] = {ANSWER_LATER, KBAN_LOG_ERROR, "upgrade the broker"},
	[KBAN_REFUSAL_BAD_SIGNATURE] = {ANSWER_LATER, KBAN_LOG_ERROR,
					"check this server's memory and disk"},
	[KBAN_REFUSAL_WRONG_CLUSTER] = {ANSWER_LATER, KBAN_LOG_ERROR,
					"check `broker` in the identity file"},
	[KBAN_REFUSAL_UNKNOWN_AUTHOR] = {ANSWER_LATER, KBAN_LOG_ERROR, "run: kbanctl node list"},
	[KBAN_REFUSAL_NOT_YOURS] = {ANSWER_LATER, KBAN_LOG_ERROR, "run: kbanctl node list"},
	[KBAN_REFUSAL_REVOKED] = {ANSWER_REVOKED, KBAN_LOG_WARNING, ""},
	[KBAN_REFUSAL_DUPLICATE] = {ANSWER_LATER, KBAN_LOG_DEBUG, "it comes with the stream"},
	[KBAN_REFUSAL_COUNTER_CONFLICT] =
		{ANSWER_COUNTER, KBAN_LOG_ERROR,
		 "possible clone of this node's identity: is it in use on another "
		 "machine? If so, revoke it and invite this server anew"},
	[KBAN_REFUSAL_COUNTER_STALE] = {ANSWER_COUNTER, KBAN_LOG_WARNING,
					"it is sealed again with a higher counter"},
	[KBAN_REFUSAL_BASE_AHEAD] = {ANSWER_LATER, KBAN_LOG_ERROR,
				     "the broker's log is behind this node's: was it restored?"},
	[KBAN_REFUSAL_ON_HOLD] =
		{ANSWER_LATER, KBAN_LOG_WARNING,
		 "too many bans in an hour; if they are right, run: kbanctl node release"},
	[KBAN_REFUSAL_DISK_FULL] = {ANSWER_WAIT, KBAN_LOG_WARNING, "free space on the broker"},
	[KBAN_REFUSAL_CLOCK_SUSPECT] = {ANSWER_WAIT, KBAN_LOG_WARNING, "check the broker's clock"},
	[KBAN_REFUSAL_RECOVERING] = {ANSWER_WAIT, KBAN_LOG_WARNING,
				     "the broker's log is being recovered"},
	[KBAN_REFUSAL_OLD_EPOCH] = {ANSWER_LATER, KBAN_LOG_ERROR, "run: kbanctl cluster status"},
	[KBAN_REFUSAL_UPGRADE_NEEDED] = {ANSWER_LATER, KBAN_LOG_ERROR, "upgrade kban"},
	[KBAN_REFUSAL_DENIED] = {ANSWER_LATER, KBAN_LOG_ERROR, "run: kbanctl node list"},
	[KBAN_REFUSAL_BUSY] = {ANSWER_WAIT, KBAN_LOG_DEBUG, "it is sent again"},
	[KBAN_REFUSAL_STOPPING] = {ANSWER_WAIT, KBAN_LOG_DEBUG, "it is sent again"},
};

static void refused_whole(struct node *n, uint32_t refusal)
{
	uint64_t boot = kban_boot_ms(n->clock);

	n->counts.refused[refusal]++;
	if (n->submit.said != refusal && answers[refusal].level)
		kban_log(answers[refusal].level, "the broker refuses our report: %s; %s",
			 kban_refusal_name(refusal), answers[refusal].remedy);
	n->submit.said = refusal;
	switch (answers[refusal].answer) {
	case ANSWER_WAIT:
		return;
	case ANSWER_LATER:
		n->submit.send_ms = boot + SUBMIT_LONG_MS;
		return;
	case ANSWER_COUNTER:
		/* A pause, so that a broker that answers so forever costs one commit a second at
		 * most. */
		outbox_unseal(&n->outbox, &n->stage);
		n->submit.seal_ms = boot + SUBMIT_AGAIN_MS;
		return;
	case ANSWER_REVOKED:
		link_trouble(n, NODE_REVOKED, "the broker says that this node was revoked");
		return;
	}
}

void submit_receipt(struct node *n, const struct kban_receipt *r)
{
	if (!n->outbox.bytes || !kban_hash_equal(&r->hash, &n->outbox.hash))
		return; /* answered meanwhile, by the stream or on another connection */
	if (r->refusal >= KBAN_REFUSALS)
		return;
	if (r->refusal)
		refused_whole(n, r->refusal);
	else if (all_final(n, r))
		refused_finally(n, r);
}
