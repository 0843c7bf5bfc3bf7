/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/event_words.h"
#include "cli/why.h"

/* Events. */

static char *text_keep(struct kban_text t)
{
	return t.n ? kban_asprintf("%.*s", (int)t.n, t.s) : NULL;
}

static void event_drop(struct why_event *e)
{
	free(e->reason);
	free(e->words);
	free(e->rule);
	free(e->service);
	free(e->server);
	free(e->line);
}

/* Of too many bans the older half goes; what else there is is bounded by what operators do. */
static void bans_drop(struct why *w)
{
	size_t kept = 0, bans = 0;

	for (size_t i = 0; i < w->events_n; i++)
		if (w->events[i].kind != KBAN_EVENT_BAN || bans++ >= WHY_MAX / 2)
			w->events[kept++] = w->events[i];
		else
			event_drop(&w->events[i]);
	w->dropped += w->events_n - kept;
	w->bans_n -= w->events_n - kept;
	w->events_n = kept;
}

static struct why_event *event_add(struct why *w, enum kban_event_kind kind)
{
	if (w->bans_n == WHY_MAX)
		bans_drop(w);
	w->bans_n += kind == KBAN_EVENT_BAN;
	if (w->events_n == w->events_max) {
		w->events_max = w->events_max ? w->events_max * 2 : 16;
		w->events = kban_realloc(w->events, w->events_max * sizeof(*w->events));
	}
	return memset(&w->events[w->events_n++], 0, sizeof(*w->events));
}

static void ban_take(struct why_event *e, const struct kban_event_ban *b,
		     const struct kban_record_row *record)
{
	e->words = event_ban_words(b, e->author, e->role);
	e->rule = text_keep(b->rule);
	e->service = text_keep(b->service);
	e->server = b->server.n ? text_keep(b->server) : kban_strdup(e->author);
	e->line = text_keep(b->line);
	e->count = b->count;
	e->first_ms = b->first_ms;
	e->last_ms = b->last_ms;
	e->duration_ms = b->duration_ms;
	e->known = record;
	if (!record)
		return;
	e->since_ms = record->since_ms;
	e->until_ms = record->until_ms;
	e->strikes = record->strikes;
	e->ended = record->ended;
}

static void kind_take(struct why_event *e, const struct kban_event *event)
{
	e->kind = event->kind;
	e->reason = text_keep(event_reason(event));
	if (event->kind == KBAN_EVENT_UNBAN)
		e->all = event->unban.covering;
	if (event->kind == KBAN_EVENT_SAFE_REMOVE)
		e->all = event->safe_remove.all;
	if (event->kind == KBAN_EVENT_SAFE_APPROVE)
		e->owner = event->safe_approve.owner;
	if (event->kind == KBAN_EVENT_SAFE_ADD)
		e->duration_ms = event->safe_add.duration_ms;
}

static void row_take(const struct why *w, struct why_event *e, const struct trail_row *r,
		     size_t event)
{
	const struct kban_prefix *p = trail_prefix(&r->report->events[event]);

	e->prefix = p ? *p : w->prefix;
	strcpy(e->author, r->author);
	e->role = r->role;
	e->key = r->report->author;
	e->check = r->check;
	e->seq = r->row->seq;
	e->accepted_ms = r->row->accepted_ms;
	e->event = event;
	e->outcome = trail_outcome(r, event);
	e->refusal = r->row->refusal;
	kind_take(e, &r->report->events[event]);
	if (e->kind == KBAN_EVENT_BAN)
		ban_take(e, &r->report->events[event].ban, trail_record(r, event));
}

bool why_runs(const struct why *w, const struct why_event *e)
{
	return e->known && !e->ended && e->until_ms > w->now_ms && e->check == TRAIL_CHECKED;
}

static void cover_count(struct why *w, const struct why_event *e)
{
	struct why_cover *c = &w->covers[e->prefix.len];

	if (!why_runs(w, e))
		return;
	if (!kban_prefix_covers(&e->prefix, &w->prefix)) {
		w->inside++;
		return;
	}
	if (!c->until_ms || e->seq < c->first_seq)
		c->first_seq = e->seq;
	if (e->until_ms < c->until_ms)
		return;
	c->until_ms = e->until_ms;
	c->seq = e->seq;
	c->event = e->event;
}

/* What ended a ban. */

static bool holds_address(const struct kban_prefix *p, const struct kban_event_broker_address *b)
{
	for (size_t i = 0; i < b->addresses_n; i++)
		if (kban_prefix_covers(p, &b->addresses[i]))
			return true;
	return false;
}

static bool unban_ends(const struct kban_event_unban *u, const struct trail_row *r,
		       const struct why_event *ban)
{
	if (r->role == KBAN_ROLE_NODE || r->role == KBAN_ROLE_FEEDER)
		return kban_prefix_equal(&u->prefix, &ban->prefix) &&
		       kban_key_equal(&r->report->author, &ban->key);
	return kban_prefix_covers(&u->prefix, &ban->prefix) ||
	       (u->covering && kban_prefix_covers(&ban->prefix, &u->prefix));
}

static bool event_ends(const struct kban_event *e, const struct trail_row *r,
		       const struct why_event *ban)
{
	switch (e->kind) {
	case KBAN_EVENT_UNBAN:
		return unban_ends(&e->unban, r, ban);
	case KBAN_EVENT_SAFE_ADD:
		return kban_prefix_covers(&e->safe_add.prefix, &ban->prefix);
	case KBAN_EVENT_SAFE_APPROVE:
		return kban_prefix_covers(&e->safe_approve.prefix, &ban->prefix);
	case KBAN_EVENT_PURGE:
		return kban_key_equal(&e->purge.key, &ban->key);
	case KBAN_EVENT_BROKER_ADDRESS:
		return !e->broker_address.remove && holds_address(&ban->prefix, &e->broker_address);
	case KBAN_EVENT_BAN:
	case KBAN_EVENT_SAFE_REMOVE:
	case KBAN_EVENT_GRANT:
	case KBAN_EVENT_REVOKE:
	case KBAN_EVENT_INVITE:
	case KBAN_EVENT_JOIN:
	case KBAN_EVENT_POLICY:
	case KBAN_EVENT_RELEASE:
	case KBAN_EVENT_FOLD_VERSION:
	case KBAN_EVENT_EPOCH:
		return false;
	}
	return false;
}

/* It took effect for the whole fleet. */
static bool event_counted(const struct trail_row *r, size_t event)
{
	unsigned outcome = trail_outcome(r, event);

	return r->check == TRAIL_CHECKED && r->row->seq &&
	       (!outcome || outcome == KBAN_OUTCOME_COUNTED);
}

/* Rows come in the log's order, so the first that can have ended a ban at its end did. True: it
 * ended one. */
static bool ender_note(struct why *w, const struct trail_row *r, size_t event)
{
	bool found = false;

	if (!event_counted(r, event))
		return false;
	for (size_t i = 0; i < w->events_n; i++) {
		struct why_event *ban = &w->events[i];
		if (!ban->ended || ban->ended_seq || r->row->seq < ban->seq ||
		    r->row->accepted_ms > ban->until_ms ||
		    !event_ends(&r->report->events[event], r, ban))
			continue;
		ban->ended_seq = r->row->seq;
		ban->ended_event = event;
		found = true;
	}
	return found;
}

const struct why_event *why_ender(const struct why *w, const struct why_event *ban)
{
	return ban->ended_seq ? why_event_at(w, ban->ended_seq, ban->ended_event) : NULL;
}

int why_row(void *arg, const struct trail_row *r)
{
	struct why *w = arg;

	for (size_t i = 0; r->report && i < r->report->events_n; i++) {
		const struct kban_event *event = &r->report->events[i];
		bool ended = event->kind != KBAN_EVENT_BAN && ender_note(w, r, i);
		if (w->enders ? !ended : !trail_wanted(event, 0, &w->prefix))
			continue;
		struct why_event *e = event_add(w, event->kind);
		row_take(w, e, r, i);
		if (e->kind == KBAN_EVENT_BAN)
			cover_count(w, e);
	}
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct why_event *x = a, *y = b;

	if (x->accepted_ms != y->accepted_ms)
		return x->accepted_ms < y->accepted_ms ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return (x->event > y->event) - (x->event < y->event);
}

void why_sort(struct why *w)
{
	if (w->events_n)
		qsort(w->events, w->events_n, sizeof(*w->events), by_time);
}

/* Safe ranges. */

static bool is_about(const struct why_event *e, const struct kban_safe_row *row)
{
	return e->check == TRAIL_CHECKED && e->seq && kban_prefix_equal(&e->prefix, &row->prefix) &&
	       (!e->outcome || kban_outcome_counts((enum kban_outcome)e->outcome));
}

static bool decides(const struct why_event *e, const struct kban_safe_row *row)
{
	if (e->role != KBAN_ROLE_OPERATOR)
		return false;
	if (row->state == LEDGER_SAFE_REJECTED)
		return e->kind == KBAN_EVENT_SAFE_REMOVE && e->all;
	return row->state == LEDGER_SAFE_APPROVED && e->kind == KBAN_EVENT_SAFE_APPROVE &&
	       kban_key_equal(&e->owner, &row->owner);
}

/* What was signed about it: without, the range is the broker's invention. */
static void safe_prove(struct why *w, struct why_safe *s, const struct kban_safe_row *row)
{
	bool decided = row->state == LEDGER_SAFE_APPROVED || row->state == LEDGER_SAFE_REJECTED;

	for (size_t i = 0; i < w->events_n; i++) {
		const struct why_event *e = &w->events[i];
		if (!is_about(e, row))
			continue;
		if (e->kind == KBAN_EVENT_SAFE_ADD && kban_key_equal(&e->key, &row->owner))
			s->added = e;
		else if (decides(e, row))
			s->decided = e;
	}
	w->unproven += !s->added || (decided && !s->decided);
}

void why_safes(void *arg, const struct kban_answer *a)
{
	struct why *w = arg;

	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		if (!kban_prefix_overlaps(&row->prefix, &w->prefix))
			continue;
		w->safes = kban_realloc(w->safes, (w->safes_n + 1) * sizeof(*w->safes));
		struct why_safe *s = &w->safes[w->safes_n++];
		*s = (struct why_safe){.prefix = row->prefix,
				       .state = row->state,
				       .owner = row->owner,
				       .since_ms = row->since_ms,
				       .until_ms = row->until_ms,
				       .reason = text_keep(row->reason)};
		event_name(s->author, verify_ledger(w->fleet->verify), &row->owner);
		safe_prove(w, s, row);
	}
}

void why_done(struct why *w)
{
	for (size_t i = 0; i < w->events_n; i++)
		event_drop(&w->events[i]);
	for (size_t i = 0; i < w->safes_n; i++)
		free(w->safes[i].reason);
	free(w->events);
	free(w->safes);
}

/* What it comes to. */

bool why_is_reason(const struct why_event *e)
{
	return e->kind == KBAN_EVENT_BAN && e->seq &&
	       (e->known || !e->outcome || kban_outcome_counts((enum kban_outcome)e->outcome));
}

bool why_is_refused(const struct why_event *e)
{
	if (why_is_reason(e))
		return false;
	return !e->seq || (e->outcome && !kban_outcome_counts((enum kban_outcome)e->outcome));
}

const struct why_cover *why_cover(const struct why *w, struct kban_prefix *out)
{
	const struct why_cover *best = NULL;

	for (unsigned len = 0; len < WHY_BITS; len++) {
		const struct why_cover *c = &w->covers[len];
		if (!c->until_ms || (best && c->until_ms < best->until_ms))
			continue;
		best = c;
		*out = kban_prefix_mask(&w->prefix, len);
	}
	return best;
}

const struct why_event *why_event_at(const struct why *w, uint64_t seq, size_t event)
{
	for (size_t i = 0; i < w->events_n; i++)
		if (w->events[i].seq == seq && w->events[i].event == event)
			return &w->events[i];
	return NULL;
}

static bool safe_counts(const struct why *w, const struct why_safe *s)
{
	return (s->state == LEDGER_SAFE_ACTIVE || s->state == LEDGER_SAFE_APPROVED) &&
	       (!s->until_ms || s->until_ms > w->now_ms) && s->added;
}

const struct why_safe *why_safe_over(const struct why *w)
{
	for (size_t i = 0; i < w->safes_n; i++)
		if (safe_counts(w, &w->safes[i]) &&
		    kban_prefix_covers(&w->safes[i].prefix, &w->prefix))
			return &w->safes[i];
	return NULL;
}

static bool has_reason(const struct why *w)
{
	for (size_t i = 0; i < w->events_n; i++)
		if (why_is_reason(&w->events[i]) && w->events[i].check == TRAIL_CHECKED)
			return true;
	return false;
}

static bool has_refused(const struct why *w)
{
	for (size_t i = 0; i < w->events_n; i++)
		if (why_is_refused(&w->events[i]) && w->events[i].kind == KBAN_EVENT_BAN)
			return true;
	return false;
}

/* The node was told of it, and lets him in. */
static bool unbanned_since(const struct why *w, const struct why_event *ban)
{
	for (size_t i = 0; i < w->events_n; i++) {
		const struct why_event *e = &w->events[i];
		if (e->kind == KBAN_EVENT_UNBAN && e->seq && e->accepted_ms >= ban->accepted_ms &&
		    kban_prefix_covers(&e->prefix, &ban->prefix))
			return true;
	}
	return false;
}

static bool is_alone(const struct why *w, const struct why_event *e)
{
	return e->kind == KBAN_EVENT_BAN && e->role == KBAN_ROLE_NODE && why_is_refused(e) &&
	       e->check == TRAIL_CHECKED && e->outcome != KBAN_OUTCOME_SAFE &&
	       e->outcome != KBAN_OUTCOME_NEVER_BAN && e->outcome != KBAN_OUTCOME_UNBANNED &&
	       e->accepted_ms + e->duration_ms > w->now_ms &&
	       kban_prefix_covers(&e->prefix, &w->prefix) && !unbanned_since(w, e);
}

const struct why_event *why_alone(const struct why *w)
{
	const struct why_event *newest = NULL;

	for (size_t i = 0; i < w->events_n; i++)
		if (is_alone(w, &w->events[i]) &&
		    (!newest || w->events[i].accepted_ms >= newest->accepted_ms))
			newest = &w->events[i];
	return newest;
}

static bool has_other(const struct why *w)
{
	for (size_t i = 0; i < w->events_n; i++)
		if (w->events[i].kind != KBAN_EVENT_PURGE)
			return true;
	return w->safes_n;
}

const char *why_never(const struct why *w)
{
	if (kban_prefix_never_ban(&w->prefix))
		return "loopback, link-local, multicast or unspecified addresses";
	return ledger_is_broker_address(verify_ledger(w->fleet->verify), &w->prefix)
		       ? "a broker's address"
		       : NULL;
}

enum why_state why_state(const struct why *w)
{
	struct kban_prefix by;

	if (why_never(w))
		return w->inside ? WHY_PARTLY : WHY_NEVER;
	if (why_safe_over(w))
		return WHY_SAFE;
	if (why_cover(w, &by))
		return WHY_BLOCKED;
	if (w->inside)
		return WHY_PARTLY;
	if (why_alone(w))
		return WHY_ALONE;
	if (has_reason(w))
		return WHY_ENDED;
	if (has_refused(w))
		return WHY_REFUSED;
	return has_other(w) ? WHY_OPEN : WHY_UNKNOWN;
}
