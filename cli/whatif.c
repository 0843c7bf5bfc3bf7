/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/whatif.h"

#include <stdlib.h>
#include <string.h>

#include "cli/trail.h"

void whatif_begin(struct whatif *w, struct ledger *was, struct ledger *would,
		  const struct kban_event_policy *policy, uint64_t since_ms, uint64_t now_ms)
{
	*w = (struct whatif){.was = was,
			     .would = would,
			     .policy = *policy,
			     .since_ms = since_ms,
			     .now_ms = now_ms};
}

void whatif_done(struct whatif *w)
{
	free(w->changed);
	free(w->nodes);
	free(w->turns);
}

static struct whatif_node *node_of(struct whatif *w, const struct kban_key *key)
{
	const struct ledger_principal *p;

	for (size_t i = 0; i < w->nodes_n; i++)
		if (kban_key_equal(&w->nodes[i].key, key))
			return &w->nodes[i];
	w->nodes = kban_realloc(w->nodes, (w->nodes_n + 1) * sizeof(*w->nodes));
	struct whatif_node *n = memset(&w->nodes[w->nodes_n++], 0, sizeof(*n));
	n->key = *key;
	p = ledger_principal(w->was, key);
	if (p)
		strcpy(n->name, p->name);
	return n;
}

/* Changes by prefix ------------------------------------------------------------------------- */

/* In the order of coming; the same prefix twice is merged at the end. */
static void change_add(struct whatif *w, const struct kban_prefix *p, int64_t change_ms)
{
	if (w->changed_n == w->changed_max) {
		w->changed_max = w->changed_max ? w->changed_max * 2 : 64;
		w->changed = kban_realloc(w->changed, w->changed_max * sizeof(*w->changed));
	}
	w->changed[w->changed_n++] = (struct whatif_prefix){*p, change_ms};
}

static int by_prefix(const void *a, const void *b)
{
	const struct whatif_prefix *x = a, *y = b;

	return kban_prefix_cmp(&x->prefix, &y->prefix);
}

static int by_change(const void *a, const void *b)
{
	const struct whatif_prefix *x = a, *y = b;
	int64_t p = llabs(x->change_ms), q = llabs(y->change_ms);

	return p != q ? (p < q) - (p > q) : by_prefix(a, b);
}

static int by_events(const void *a, const void *b)
{
	const struct whatif_turn *x = a, *y = b;

	return (x->events < y->events) - (x->events > y->events);
}

void whatif_end(struct whatif *w)
{
	size_t n = 0;

	if (w->turns_n)
		qsort(w->turns, w->turns_n, sizeof(*w->turns), by_events);
	if (!w->changed_n)
		return;
	qsort(w->changed, w->changed_n, sizeof(*w->changed), by_prefix);
	for (size_t i = 1; i < w->changed_n; i++)
		if (kban_prefix_equal(&w->changed[i].prefix, &w->changed[n].prefix))
			w->changed[n].change_ms += w->changed[i].change_ms;
		else
			w->changed[++n] = w->changed[i];
	w->changed_n = n + 1;
	qsort(w->changed, w->changed_n, sizeof(*w->changed), by_change);
}

/* Entries ----------------------------------------------------------------------------------- */

/* How long the ban of that place was made to last; 0: it bans nothing. */
static uint64_t ban_lasts(const struct ledger *l, const struct kban_prefix *p, uint64_t seq,
			  size_t index)
{
	const struct ledger_ban *bans;
	size_t n = ledger_bans_of(l, p, &bans);

	for (size_t i = 0; i < n; i++)
		if (bans[i].seq == seq && bans[i].index == index)
			return bans[i].until_ms - bans[i].since_ms;
	return 0;
}

static void ban_compare(struct whatif *w, const struct kban_entry *e,
			const struct kban_event *event, size_t index)
{
	const struct kban_prefix *p = &event->ban.prefix;
	uint64_t was = ban_lasts(w->was, p, e->seq, index);
	uint64_t would = ban_lasts(w->would, p, e->seq, index);

	w->bans++;
	if (was == would || !was || !would)
		return;
	if (would > was) {
		w->lengthened++;
		w->lengthened_ms += would - was;
	} else {
		w->shortened++;
		w->shortened_ms += was - would;
	}
	change_add(w, p, (int64_t)would - (int64_t)was);
}

static unsigned outcome_of(const struct ledger_verdict *v, size_t i)
{
	return v->refusal ? 0 : v->outcomes[i];
}

static bool counts(const struct ledger_verdict *v, size_t i)
{
	return !v->refusal && kban_outcome_counts((enum kban_outcome)v->outcomes[i]);
}

static struct whatif_turn *turn_of(struct whatif *w, const struct whatif_turn *like)
{
	const struct ledger_principal *p = ledger_principal(w->was, &like->author);

	for (size_t i = 0; i < w->turns_n; i++) {
		struct whatif_turn *t = &w->turns[i];
		if (kban_key_equal(&t->author, &like->author) && t->kind == like->kind &&
		    t->admitted == like->admitted && t->refusal == like->refusal &&
		    t->outcome == like->outcome)
			return t;
	}
	w->turns = kban_realloc(w->turns, (w->turns_n + 1) * sizeof(*w->turns));
	struct whatif_turn *t = &w->turns[w->turns_n++];
	*t = *like;
	if (p)
		strcpy(t->name, p->name);
	return t;
}

/* not: the verdict by which the event does not count. */
static void turn_take(struct whatif *w, const struct kban_report *r, const struct kban_event *e,
		      size_t i, const struct ledger_verdict * not, bool admitted)
{
	const struct kban_prefix *p = trail_prefix(e);
	struct whatif_turn *t = turn_of(w, &(struct whatif_turn){.author = r->author,
								 .kind = e->kind,
								 .admitted = admitted,
								 .refusal = not ->refusal,
								 .outcome = outcome_of(not, i)});

	w->admitted += admitted;
	w->refused += !admitted;
	t->events++;
	for (size_t k = 0; p && k < t->examples_n; k++)
		if (kban_prefix_equal(&t->examples[k], p))
			return;
	if (p && t->examples_n < WHATIF_TOP)
		t->examples[t->examples_n++] = *p;
}

static void outcomes_compare(struct whatif *w, const struct kban_report *r,
			     const struct kban_event *e, size_t i, const struct ledger_verdict *was,
			     const struct ledger_verdict *would)
{
	if (e->kind == KBAN_EVENT_POLICY)
		return;
	if (counts(was, i) != counts(would, i))
		turn_take(w, r, e, i, counts(was, i) ? would : was, counts(would, i));
	if (was->refusal == would->refusal && outcome_of(was, i) == outcome_of(would, i))
		return;
	struct whatif_node *n = node_of(w, &r->author);
	n->over_quota += outcome_of(would, i) == KBAN_OUTCOME_OVER_QUOTA;
	n->on_hold += would->refusal == KBAN_REFUSAL_ON_HOLD;
	if (e->kind != KBAN_EVENT_SAFE_ADD)
		return;
	n->held_safe += outcome_of(would, i) == KBAN_OUTCOME_HELD;
	n->freed_safe += outcome_of(was, i) == KBAN_OUTCOME_HELD &&
			 outcome_of(would, i) == KBAN_OUTCOME_COUNTED;
}

static void hold_note(struct whatif *w, const struct kban_entry *e, const struct kban_report *r)
{
	const struct ledger_principal *was = ledger_principal(w->was, &r->author);
	const struct ledger_principal *would = ledger_principal(w->would, &r->author);

	if (!was || !would || was->held || !would->held)
		return;
	struct whatif_node *n = node_of(w, &r->author);
	n->held_ms = n->held_ms ? n->held_ms : e->accepted_ms;
}

static void entry_compare(struct whatif *w, const struct kban_entry *e, const struct kban_report *r,
			  const struct ledger_verdict *was, const struct ledger_verdict *would)
{
	for (size_t i = 0; i < r->events_n; i++) {
		outcomes_compare(w, r, &r->events[i], i, was, would);
		if (r->events[i].kind == KBAN_EVENT_BAN)
			ban_compare(w, e, &r->events[i], i);
	}
	hold_note(w, e, r);
}

void whatif_entry(struct whatif *w, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct ledger_verdict was, would;

	if (kban_report_decode(&r, &e->sealed) || !kban_report_check(r, &e->sealed)) {
		w->bad++;
		return;
	}
	w->entries++;
	w->older += e->accepted_ms + w->policy.history_ms < w->now_ms;
	if (e->accepted_ms >=
	    w->since_ms) /* again and again: a policy event of the log sets another */
		ledger_policy_suppose(w->would, &w->policy);
	ledger_apply(w->was, e, r, &was, NULL);
	ledger_apply(w->would, e, r, &would, NULL);
	if (e->accepted_ms >= w->since_ms)
		entry_compare(w, e, r, &was, &would);
}
