/* SPDX-License-Identifier: MPL-2.0
 *
 * `why`, server by server: who blocks the address, and who may block it still after it was let in.
 */
#include "cli/why.h"

/* What is held for the fleet counts on its own node. */
static bool node_excepts(const struct why *w, const struct verify_member *m)
{
	for (size_t i = 0; i < w->safes_n; i++)
		if (w->safes[i].state == LEDGER_SAFE_HELD &&
		    kban_key_equal(&w->safes[i].owner, &m->key) &&
		    kban_prefix_covers(&w->safes[i].prefix, &w->prefix))
			return true;
	return false;
}

uint64_t why_first_seq(const struct why *w)
{
	uint64_t seq = UINT64_MAX;

	for (unsigned len = 0; len < WHY_BITS; len++)
		if (w->covers[len].until_ms && w->covers[len].first_seq < seq)
			seq = w->covers[len].first_seq;
	return seq;
}

enum enforce_node why_node(const struct why *w, const struct verify_member *m)
{
	return enforce_node(m, why_first_seq(w), node_excepts(w, m));
}

/* Letting in. */

/* As the ledger lengthens it (LEDGER.md), by the policy of now. */
static uint64_t ban_lasts(const struct why *w, const struct why_event *e)
{
	const struct kban_event_policy *p = &w->policy;
	uint64_t d = e->duration_ms, most;

	if (e->role == KBAN_ROLE_OPERATOR)
		return d;
	d = d < p->node_ban_max_ms ? d : p->node_ban_max_ms;
	most = d > p->repeat_max_ms ? d : p->repeat_max_ms;
	for (uint64_t n = 1; n < e->strikes && d < most && p->repeat_percent > 100; n++)
		d = d * p->repeat_percent / 100 < most ? d * p->repeat_percent / 100 : most;
	return d;
}

/* Until when a kernel that was not told otherwise blocks because of this ban; 0: not at all. */
static uint64_t linger_until(const struct why *w, const struct why_event *e)
{
	if (e->kind != KBAN_EVENT_BAN || !why_is_reason(e) || e->check != TRAIL_CHECKED ||
	    e->outcome == KBAN_OUTCOME_HISTORY || !kban_prefix_covers(&e->prefix, &w->prefix))
		return 0;
	if (e->known && !e->ended)
		return e->until_ms > w->now_ms ? e->until_ms : 0;
	uint64_t until = (e->known ? e->since_ms : e->accepted_ms) + ban_lasts(w, e);
	return until > w->now_ms ? until : 0;
}

/* A ban that runs is without effect in a safe range. */
static uint64_t lifted_seq(const struct why *w, const struct why_event *e)
{
	const struct why_safe *s = why_safe_over(w);

	if (!why_runs(w, e))
		return e->ended_seq;
	return !s ? 0 : s->decided ? s->decided->seq : s->added->seq;
}

uint64_t why_lingers(const struct why *w, const struct verify_member *m)
{
	uint64_t latest = 0;

	for (size_t i = 0; i < w->events_n; i++) {
		const struct why_event *e = &w->events[i];
		uint64_t until = linger_until(w, e);
		if (until > latest && !enforce_confirmed(m, lifted_seq(w, e)))
			latest = until;
	}
	return latest;
}

uint64_t why_needed_seq(const struct why *w)
{
	uint64_t newest = 0;

	if (why_state(w) == WHY_BLOCKED)
		return why_first_seq(w);
	for (size_t i = 0; i < w->events_n; i++)
		if (linger_until(w, &w->events[i]) && lifted_seq(w, &w->events[i]) > newest)
			newest = lifted_seq(w, &w->events[i]);
	return newest;
}
