/* SPDX-License-Identifier: MPL-2.0
 *
 * When new rules may begin. The fold would take every fold-version event in its turn; it is the
 * broker that keeps the fleet from switching to what one of its live nodes, or the broker itself,
 * cannot fold. What a node's program knows it said in its newest Hello.
 */
#include <stdio.h>
#include <string.h>

#include "broker/state.h"

struct laggards { /* nodes that keep a version from beginning */
	const struct broker *b;
	uint32_t version;
	size_t n, named;
	char *text;
	size_t size, used;
};

/* Whole names only. */
static void laggard_add(struct laggards *l, const char *name, uint32_t knows)
{
	char what[16] = "not heard";
	size_t left = l->size - l->used;

	if (l->n++ != l->named)
		return; /* the one before had no room */
	if (knows)
		snprintf(what, sizeof(what), "%u", knows);
	int n = snprintf(l->text + l->used, left, "%s%s (%s)", l->named ? ", " : " ", name, what);
	if ((size_t)n >= left) {
		l->text[l->used] = '\0';
		return;
	}
	l->used += (size_t)n;
	l->named++;
}

static int laggard_look(void *arg, const struct ledger_principal *p)
{
	struct laggards *l = arg;

	if (p->role != KBAN_ROLE_NODE || p->revoked_seq)
		return 0;
	const struct member *m = member_find(l->b, &p->curve);
	uint32_t knows = m ? m->fold_version : 0;

	if (knows < l->version)
		laggard_add(l, p->name, knows);
	return 0;
}

static bool nodes_lag(const struct broker *b, uint32_t version, char *detail, size_t size)
{
	static const char begin[] = "live nodes know less, or were not heard by this broker yet:";
	/* Room for the count at the end. */
	struct laggards l = {.b = b, .version = version, .text = detail, .size = size - 32};

	l.used = (size_t)snprintf(detail, size, "%s", begin);
	ledger_principals_each(b->ledger, laggard_look, &l);
	if (l.n > l.named)
		snprintf(detail + l.used, size - l.used, " and %zu more", l.n - l.named);
	return l.n;
}

/* Makes this version the next one, whatever else the report says (ledger_stops_at()). What was
 * judged on the unchanged state tells only whether the author may say so. */
static bool event_steps(const struct kban_event *e, enum kban_outcome o, uint32_t version)
{
	return e->kind == KBAN_EVENT_FOLD_VERSION && o != KBAN_OUTCOME_DENIED &&
	       e->fold_version.version == version + 1;
}

/* Kinds and versions one after the other, as the fold goes through them. */
static bool events_are_early(const struct broker *b, const struct kban_report *r,
			     const struct ledger_verdict *v, char *detail, size_t size)
{
	uint32_t version = ledger_fold_version(b->ledger);

	for (size_t i = 0; i < v->outcomes_n; i++) {
		const struct kban_event *e = &r->events[i];
		uint32_t since = ledger_kind_since(e->kind);

		if (since > version) {
			snprintf(detail, size,
				 "%s events begin with fold version %u, the log has %u",
				 kban_event_kind_name(e->kind), since, version);
			return true;
		}
		if (!event_steps(e, (enum kban_outcome)v->outcomes[i], version))
			continue;
		version++;
		if (!e->fold_version.force && nodes_lag(b, version, detail, size))
			return true;
	}
	return false;
}

bool version_is_early(const struct broker *b, const struct kban_entry *entry,
		      const struct kban_report *r, const struct ledger_verdict *v, char *detail,
		      size_t size)
{
	if (ledger_stops_at(b->ledger, entry, r)) {
		snprintf(detail, size, "this broker knows fold version %u: upgrade it first",
			 kban_fold_newest);
		return true;
	}
	return events_are_early(b, r, v, detail, size);
}
