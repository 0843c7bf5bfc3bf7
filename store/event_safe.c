/* SPDX-License-Identifier: MPL-2.0 */
#include "store/ledger_private.h"

static bool is_operator(const struct ledger_principal *p)
{
	return p->role == KBAN_ROLE_OPERATOR;
}

static void become_safe(struct ledger *l, const struct fold *f, const struct kban_prefix *p)
{
	bans_end_inside(l, p, f->now);
	observe_lifted(f, p);
}

/* Safe-add ----------------------------------------------------------------------------------- */

bool safe_too_wide(const struct kban_event_safe_add *a)
{
	unsigned shortest = a->prefix.family == KBAN_IPV4 ? 16 : 32;

	return !a->prefix.len || (!a->force && a->prefix.len < shortest);
}

/* Another author has banned something that the range would cover, now or in the last 24 hours. */
static bool covers_others_bans(const struct ledger *l, const struct fold *f,
			       const struct kban_prefix *p)
{
	void *covering[TRIE_DEPTH_MAX];
	struct trie_walk w;
	const struct ban_row *row;

	for (size_t i = trie_covering(&l->bans, p, covering); i-- > 0;)
		if (ban_row_has_other_running(covering[i], f->author, f->now))
			return true;
	trie_walk_start(&w, &l->bans, p, NULL);
	while ((row = trie_walk_next(&w)))
		if (ban_row_has_other(row, f->author, f->now))
			return true;
	return false;
}

static bool node_may_activate(const struct ledger *l, const struct fold *f,
			      const struct kban_prefix *p, uint32_t safes)
{
	return safes < l->policy.safe_max && safe_within(&l->policy, p) &&
	       !covers_others_bans(l, f, p);
}

static uint64_t until_of(const struct fold *f, uint64_t duration_ms)
{
	return duration_ms ? f->now + duration_ms : 0;
}

enum kban_outcome judge_safe_add(const struct ledger *l, const struct fold *f,
				 const struct kban_event *e)
{
	const struct kban_event_safe_add *a = &e->safe_add;

	if (is_operator(&f->author->pub) && safe_too_wide(a))
		return KBAN_OUTCOME_LIMIT;

	const struct safe *s = safe_find(l, &a->prefix, f->author, f->now);

	if (s)
		return s->pub.state == LEDGER_SAFE_REJECTED ||
				       s->pub.until_ms == until_of(f, a->duration_ms)
			       ? KBAN_OUTCOME_NO_CHANGE
			       : KBAN_OUTCOME_COUNTED;

	uint32_t safes = safes_of(f->author, f->now);

	if (safes >= l->limits.safes_per_owner)
		return KBAN_OUTCOME_FULL;
	return is_operator(&f->author->pub) || node_may_activate(l, f, &a->prefix, safes)
		       ? KBAN_OUTCOME_COUNTED
		       : KBAN_OUTCOME_HELD;
}

void effect_safe_add(struct ledger *l, const struct fold *f, const struct kban_event *e,
		     enum kban_outcome o)
{
	const struct kban_event_safe_add *a = &e->safe_add;
	struct safe *known = safe_find(l, &a->prefix, f->author, f->now);
	struct ledger_safe s = {
		.prefix = a->prefix,
		.owner = &f->author->pub,
		.state = o == KBAN_OUTCOME_HELD ? LEDGER_SAFE_HELD : LEDGER_SAFE_ACTIVE,
		.seq = f->seq,
		.index = f->index,
		.since_ms = f->now,
		.until_ms = until_of(f, a->duration_ms),
	};

	if (known) {
		safe_set_until(l, known, s.until_ms);
	} else {
		safe_add(l, &s);
		if (s.state == LEDGER_SAFE_ACTIVE)
			become_safe(l, f, &a->prefix);
	}
	observe_safe(f, &a->prefix);
}

/* Safe-remove -------------------------------------------------------------------------------- */

/* What `all` would do something to. */
static bool is_removable(const struct safe *s, uint64_t now)
{
	return safe_runs(s, now) &&
	       (is_operator(s->pub.owner) || s->pub.state != LEDGER_SAFE_REJECTED);
}

static bool any_removable(const struct ledger *l, const struct fold *f, const struct kban_prefix *p)
{
	const struct pardon *m = pardon_find(l, p);
	const struct safe *s;

	if (m)
		DL_FOREACH (m->safes, s)
			if (is_removable(s, f->now))
				return true;
	return false;
}

enum kban_outcome judge_safe_remove(const struct ledger *l, const struct fold *f,
				    const struct kban_event *e)
{
	const struct kban_event_safe_remove *r = &e->safe_remove;

	if (r->all && !is_operator(&f->author->pub))
		return KBAN_OUTCOME_DENIED;

	bool found = r->all ? any_removable(l, f, &r->prefix)
			    : !!safe_find(l, &r->prefix, f->author, f->now);

	return found ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NOT_FOUND;
}

/* An operator's goes, a node's stays as rejected, or the node would publish it again. The last to
 * go takes the pardon with it, so the list is not looked at after that. */
static void remove_all(struct ledger *l, const struct fold *f, const struct kban_prefix *p)
{
	struct safe *s, *next;

	for (s = pardon_find(l, p)->safes; s; s = next) {
		next = s->next;
		if (!is_removable(s, f->now))
			continue;
		if (is_operator(s->pub.owner))
			safe_drop(l, s);
		else
			safe_decide(l, s, LEDGER_SAFE_REJECTED, f->seq);
	}
}

void effect_safe_remove(struct ledger *l, const struct fold *f, const struct kban_event *e,
			enum kban_outcome o)
{
	const struct kban_event_safe_remove *r = &e->safe_remove;

	(void)o;
	if (r->all)
		remove_all(l, f, &r->prefix);
	else
		safe_drop(l, safe_find(l, &r->prefix, f->author, f->now));
	observe_safe(f, &r->prefix);
}

/* Safe-approve ------------------------------------------------------------------------------- */

static struct safe *safe_to_approve(const struct ledger *l, const struct fold *f,
				    const struct kban_event_safe_approve *a)
{
	const struct principal *owner = principal_find(l, &a->owner);

	return owner ? safe_find(l, &a->prefix, owner, f->now) : NULL;
}

enum kban_outcome judge_safe_approve(const struct ledger *l, const struct fold *f,
				     const struct kban_event *e)
{
	const struct safe *s = safe_to_approve(l, f, &e->safe_approve);

	if (!s)
		return KBAN_OUTCOME_NOT_FOUND;
	return s->pub.state == LEDGER_SAFE_HELD || s->pub.state == LEDGER_SAFE_REJECTED
		       ? KBAN_OUTCOME_COUNTED
		       : KBAN_OUTCOME_NO_CHANGE;
}

void effect_safe_approve(struct ledger *l, const struct fold *f, const struct kban_event *e,
			 enum kban_outcome o)
{
	const struct kban_event_safe_approve *a = &e->safe_approve;

	(void)o;
	safe_decide(l, safe_to_approve(l, f, a), LEDGER_SAFE_APPROVED, f->seq);
	become_safe(l, f, &a->prefix);
	observe_safe(f, &a->prefix);
}
