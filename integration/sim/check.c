/* SPDX-License-Identifier: MPL-2.0
 *
 * What must be true after every step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integration/sim/world.h"
#include "proto/log.h"

static char sentence[512];

#define BROKEN(...) (snprintf(sentence, sizeof(sentence), __VA_ARGS__), sentence)

/* With --verbose: the log, as a story. */
static void tell(const struct kban_entry *entry, const struct kban_event *e, const struct kban_base *base)
{
	/* Every event about a prefix has it first. */
	char text[KBAN_PREFIX_TEXT] = "";

	if (e->kind <= KBAN_EVENT_SAFE_APPROVE)
		kban_prefix_format(&e->ban.prefix, text);
	kban_debug("entry %llu at %llu, base %llu: %s %s", (unsigned long long)entry->seq,
		   (unsigned long long)entry->accepted_ms, (unsigned long long)base->seq, kban_event_kind_name(e->kind), text);
}

/* Each author's counter rises; each offence that is met once is in the log once. */
static const char *check_entry(struct world *w, const struct disk_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	if (kban_report_decode(&r, &e->entry.sealed) || !kban_report_check(r, &e->entry.sealed))
		return BROKEN("entry %llu can't be read or verified", (unsigned long long)e->entry.seq);
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		if (!kban_key_equal(&r->author, &w->nodes[i].identity.keys.sign_public))
			continue;
		if (r->counter <= w->counters[i])
			return BROKEN("entry %llu: node %u's counter went from %llu to %llu", (unsigned long long)e->entry.seq, i + 1,
				      (unsigned long long)w->counters[i], (unsigned long long)r->counter);
		w->counters[i] = r->counter;
	}
	for (size_t i = 0; i < r->events_n; i++) {
		tell(&e->entry, &r->events[i], &r->base);
		for (size_t k = 0; k < w->offences_n; k++) {
			struct world_offence *o = &w->offences[k];
			if (r->events[i].kind != KBAN_EVENT_BAN || !kban_prefix_equal(&o->prefix, &r->events[i].ban.prefix))
				continue;
			if (o->counted)
				return BROKEN("entry %llu: an event is in the log twice", (unsigned long long)e->entry.seq);
			o->counted = true;
		}
	}
	return NULL;
}

static uint64_t disk_head(const struct disk *d)
{
	uint64_t last = d->entries_n ? d->entries[d->entries_n - 1].entry.seq : 0;

	return last > d->horizon.seq ? last : d->horizon.seq;
}

/* What a disk holds of the log is what was seen there: whole above its horizon, and below it some
 * reports, verbatim. */
static const char *check_disk(const struct world *w, const struct disk *d, const char *who)
{
	uint64_t head = disk_head(d), horizon = d->horizon.seq, above = 0;

	if (head > w->seen_n)
		return BROKEN("%s has entry %llu, the log ends at %llu", who, (unsigned long long)head, (unsigned long long)w->seen_n);
	if (horizon && !kban_hash_equal(&d->horizon.chain, &w->seen[horizon - 1].chain))
		return BROKEN("%s has another place at its horizon %llu", who, (unsigned long long)horizon);
	for (size_t i = 0; i < d->entries_n; i++) {
		const struct disk_entry *e = &d->entries[i];
		const struct world_seen *seen = &w->seen[e->entry.seq - 1];
		struct kban_hash report;
		kban_sealed_hash(&report, &e->entry.sealed);
		above += e->entry.seq > horizon;
		if (!kban_hash_equal(&report, &seen->report) ||
		    (e->entry.seq > horizon && !kban_hash_equal(&e->after.chain, &seen->chain)))
			return BROKEN("%s has another entry %llu than it was", who, (unsigned long long)e->entry.seq);
	}
	if (above != head - horizon)
		return BROKEN("%s has lost entries above its horizon", who);
	return NULL;
}

static void note_late(struct world *w, const struct kban_report *r, const struct ledger_verdict *v)
{
	unsigned node = 0;

	while (node < WORLD_NODES && !kban_key_equal(&r->author, &w->nodes[node].identity.keys.sign_public))
		node++;
	for (size_t i = 0; node < WORLD_NODES && i < v->outcomes_n; i++) {
		if (v->outcomes[i] != KBAN_OUTCOME_HISTORY)
			continue;
		w->late = kban_realloc(w->late, (w->late_n + 1) * sizeof(*w->late));
		w->late[w->late_n++] = (struct world_late){node, r->events[i].ban.prefix};
	}
}

static const char *see(struct world *w, const struct disk_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	const char *broken = check_entry(w, e);
	struct ledger_verdict v;

	if (broken || kban_report_decode(&r, &e->entry.sealed))
		return broken ? broken : "unreachable";
	w->seen = kban_realloc(w->seen, (w->seen_n + 1) * sizeof(*w->seen));
	w->seen[w->seen_n++] = (struct world_seen){e->after.chain, r->hash};
	ledger_apply(w->reference, &e->entry, r, &v, NULL);
	note_late(w, r, &v);
	w->counts.entries++;
	return NULL;
}

/* Nothing in the log was lost or changed, and what is new is sound. */
static const char *check_log(struct world *w)
{
	const struct disk *d = w->broker_disk;
	const struct disk_entry *e;

	if (disk_head(d) < w->seen_n)
		return BROKEN("the log ended at %llu, and now at %llu", (unsigned long long)w->seen_n,
			      (unsigned long long)disk_head(d));
	while ((e = disk_entry(d, w->seen_n + 1))) {
		const char *broken = see(w, e);
		if (broken)
			return broken;
	}
	return check_disk(w, d, "the broker");
}

static const char *check_receipts(struct world *w)
{
	for (size_t i = 0; i < w->receipts_n; i++) {
		const struct world_receipt *r = &w->receipts[i];
		if (r->seq > w->seen_n)
			return BROKEN("a receipt names entry %llu, which is not there", (unsigned long long)r->seq);
		if (!kban_hash_equal(&w->seen[r->seq - 1].report, &r->hash))
			return BROKEN("a receipt names entry %llu, which is another report", (unsigned long long)r->seq);
	}
	w->receipts_n = 0; /* check_log() guards these entries from now on */
	return NULL;
}

struct safe_walk {
	const struct world_node *node;
	uint64_t now;
	bool bad;
	struct kban_prefix which;
};

static void check_wanted_op(void *arg, const struct enforce_op *op)
{
	struct safe_walk *walk = arg;

	if (op->kind != ENFORCE_BAN || walk->bad)
		return;
	walk->bad = ledger_safe_covers(node_ledger(walk->node->node), &op->prefix, walk->now,
				       &walk->node->identity.keys.sign_public) ||
		    kban_prefix_never_ban(&op->prefix);
	walk->which = op->prefix;
}

/* No safe address is wanted in a kernel, and none is in it without its safe range before it. */
static const char *check_safe(const struct world_node *n)
{
	struct safe_walk walk = {.node = n, .now = node_broker_ms(n->node)};
	char text[KBAN_PREFIX_TEXT];

	node_wanted(n->node, check_wanted_op, &walk);
	if (walk.bad)
		return BROKEN("node %u wants %s blocked, which is safe", n->index + 1, kban_prefix_format(&walk.which, text));
	return NULL;
}

/* Equal places mean equal chains and digests, also for one that never forgot anything. */
static const char *check_agreement(const struct world *w)
{
	const struct ledger *ledgers[WORLD_NODES + 2];
	size_t n = 0;

	ledgers[n++] = w->reference;
	if (w->broker && !broker_pending(w->broker))
		ledgers[n++] = broker_ledger(w->broker);
	for (unsigned i = 0; i < WORLD_NODES; i++)
		if (w->nodes[i].node)
			ledgers[n++] = node_ledger(w->nodes[i].node);
	for (size_t a = 0; a < n; a++) {
		for (size_t b = a + 1; b < n; b++) {
			struct kban_place pa, pb;
			struct kban_hash da, db;
			ledger_place(ledgers[a], &pa);
			ledger_place(ledgers[b], &pb);
			if (pa.seq != pb.seq)
				continue;
			ledger_digest(ledgers[a], &da);
			ledger_digest(ledgers[b], &db);
			if (!kban_hash_equal(&pa.chain, &pb.chain) || !kban_hash_equal(&da, &db))
				return BROKEN("at entry %llu two ledgers differ", (unsigned long long)pa.seq);
		}
	}
	return NULL;
}

/* A horizon that moved over its own log is a compaction; one beyond it, a state that was taken. */
static void count_horizon(struct world *w, const struct disk *d, unsigned who)
{
	if (d->horizon.seq > w->heads[who])
		w->counts.states++;
	else if (d->horizon.seq > w->horizons[who])
		w->counts.compactions++;
	w->heads[who] = disk_head(d);
	w->horizons[who] = d->horizon.seq;
}

const char *world_check(struct world *w)
{
	const char *broken = check_log(w);

	if (!broken)
		broken = check_receipts(w);
	if (!broken)
		broken = check_agreement(w);
	count_horizon(w, w->broker_disk, WORLD_NODES);
	for (unsigned i = 0; !broken && i < WORLD_NODES; i++) {
		count_horizon(w, w->nodes[i].disk, i);
		broken = check_disk(w, w->nodes[i].disk, w->nodes[i].identity.name);
		if (!broken && w->nodes[i].node)
			broken = check_safe(&w->nodes[i]);
	}
	return broken;
}
