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

/* Nothing in the log was lost or changed, and what is new is sound. */
static const char *check_log(struct world *w)
{
	const struct disk *d = w->broker_disk;

	if (d->entries_n < w->seen_n)
		return BROKEN("the log lost entries: %zu of %zu are left", d->entries_n, w->seen_n);
	for (size_t i = 0; i < w->seen_n; i++)
		if (!kban_hash_equal(&w->seen_chains[i], &d->entries[i].after.chain))
			return BROKEN("entry %zu changed", i + 1);
	while (w->seen_n < d->entries_n) {
		const char *broken = check_entry(w, &d->entries[w->seen_n]);
		if (broken)
			return broken;
		w->seen_chains = kban_realloc(w->seen_chains, (w->seen_n + 1) * sizeof(*w->seen_chains));
		w->seen_chains[w->seen_n] = d->entries[w->seen_n].after.chain;
		w->seen_n++;
		w->counts.entries++;
	}
	return NULL;
}

static const char *check_receipts(struct world *w)
{
	for (size_t i = 0; i < w->receipts_n; i++) {
		struct kban_hash hash;
		if (w->receipts[i].seq > w->broker_disk->entries_n)
			return BROKEN("a receipt names entry %llu, which is not there", (unsigned long long)w->receipts[i].seq);
		kban_sealed_hash(&hash, &w->broker_disk->entries[w->receipts[i].seq - 1].entry.sealed);
		if (!kban_hash_equal(&hash, &w->receipts[i].hash))
			return BROKEN("a receipt names entry %llu, which is another report", (unsigned long long)w->receipts[i].seq);
	}
	w->receipts_n = 0; /* check_log() guards these entries from now on */
	return NULL;
}

/* A replica is a prefix of the log. */
static const char *check_replica(const struct world *w, const struct world_node *n)
{
	size_t have = n->disk->entries_n;

	if (have > w->broker_disk->entries_n)
		return BROKEN("node %u has %zu entries, the broker %zu", n->index + 1, have, w->broker_disk->entries_n);
	if (have && !kban_hash_equal(&n->disk->entries[have - 1].after.chain, &w->broker_disk->entries[have - 1].after.chain))
		return BROKEN("node %u has another entry %zu than the broker", n->index + 1, have);
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

/* Equal places mean equal chains and digests. */
static const char *check_agreement(const struct world *w)
{
	const struct ledger *ledgers[WORLD_NODES + 1];
	size_t n = 0;

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

const char *world_check(struct world *w)
{
	const char *broken = check_log(w);

	if (!broken)
		broken = check_receipts(w);
	if (!broken)
		broken = check_agreement(w);
	for (unsigned i = 0; !broken && i < WORLD_NODES; i++) {
		broken = check_replica(w, &w->nodes[i]);
		if (!broken && w->nodes[i].node)
			broken = check_safe(&w->nodes[i]);
	}
	return broken;
}
