/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/trail.h"

#include <string.h>

const char *trail_check_name(enum trail_check c)
{
	static const char *const names[] = {"checked", "forged", "stranger", "unreadable"};

	return names[c];
}

/* Rows. */

const struct kban_record_row *trail_record(const struct trail_row *r, size_t event)
{
	for (size_t i = 0; i < r->row->records_n; i++)
		if (r->row->records[i].index == event)
			return &r->row->records[i];
	return NULL;
}

unsigned trail_outcome(const struct trail_row *r, size_t event)
{
	return event < r->row->outcomes_n ? r->row->outcomes[event] : 0;
}

const struct kban_prefix *trail_prefix(const struct kban_event *e)
{
	switch (e->kind) {
	case KBAN_EVENT_BAN:
		return &e->ban.prefix;
	case KBAN_EVENT_UNBAN:
		return &e->unban.prefix;
	case KBAN_EVENT_SAFE_ADD:
		return &e->safe_add.prefix;
	case KBAN_EVENT_SAFE_REMOVE:
		return &e->safe_remove.prefix;
	case KBAN_EVENT_SAFE_APPROVE:
		return &e->safe_approve.prefix;
	case KBAN_EVENT_GRANT:
	case KBAN_EVENT_REVOKE:
	case KBAN_EVENT_PURGE:
	case KBAN_EVENT_INVITE:
	case KBAN_EVENT_JOIN:
	case KBAN_EVENT_POLICY:
	case KBAN_EVENT_BROKER_ADDRESS:
	case KBAN_EVENT_RELEASE:
	case KBAN_EVENT_FOLD_VERSION:
	case KBAN_EVENT_EPOCH:
		return NULL;
	}
	return NULL;
}

static bool address_overlaps(const struct kban_event_broker_address *b, const struct kban_prefix *p)
{
	for (size_t i = 0; i < b->addresses_n; i++)
		if (kban_prefix_overlaps(&b->addresses[i], p))
			return true;
	return false;
}

bool trail_wanted(const struct kban_event *e, uint32_t kinds, const struct kban_prefix *prefix)
{
	const struct kban_prefix *p = trail_prefix(e);

	if (kinds && !(kinds & 1U << e->kind))
		return false;
	if (!prefix)
		return true;
	if (e->kind == KBAN_EVENT_BROKER_ADDRESS)
		return address_overlaps(&e->broker_address, prefix);
	return p && kban_prefix_overlaps(p, prefix);
}

/* Judging. */

/* An operator's ban ends when it says, or before; another's may be lengthened, within limits. */
static bool record_possible(const struct kban_record_row *r, const struct kban_report *report,
			    enum kban_role role)
{
	const struct kban_event *e = r->index < report->events_n ? &report->events[r->index] : NULL;

	if (!e || e->kind != KBAN_EVENT_BAN || r->until_ms < r->since_ms)
		return false;
	uint64_t runs = r->until_ms - r->since_ms, most = e->ban.duration_ms;
	if (role != KBAN_ROLE_OPERATOR && most && most < KBAN_BAN_MAX_MS)
		most = KBAN_BAN_MAX_MS;
	return runs <= most;
}

static bool row_possible(const struct trail_row *r)
{
	for (size_t i = 0; i < r->row->records_n; i++)
		if (!record_possible(&r->row->records[i], r->report, r->role))
			return false;
	return !r->row->outcomes_n || r->row->outcomes_n == r->report->events_n;
}

/* An invitation signs one join; afterwards the joiner's own key does. */
static bool author_invited(const struct ledger *l, struct trail_row *r)
{
	const struct ledger_invitation *i = ledger_invitation(l, &r->report->author);

	if (!i || r->report->events_n != 1 || r->report->events[0].kind != KBAN_EVENT_JOIN)
		return false;
	strcpy(r->author, i->name);
	return !r->row->seq || i->seq < r->row->seq;
}

static bool author_live(const struct ledger *l, struct trail_row *r)
{
	const struct ledger_principal *p = ledger_principal(l, &r->report->author);
	uint64_t seq = r->row->seq;

	if (!p)
		return author_invited(l, r);
	strcpy(r->author, p->name);
	r->role = p->role;
	return !seq || ((p->role == KBAN_ROLE_ROOT || p->granted_seq < seq) &&
			(!p->revoked_seq || seq <= p->revoked_seq));
}

static enum trail_check row_check(const struct verify *v, struct trail_row *r)
{
	const struct ledger *l = verify_ledger(v);

	if (!kban_report_check(r->report, &r->row->report) ||
	    (r->row->seq && /* it may have been refused for that */
	     memcmp(&r->report->cluster, ledger_cluster(l), sizeof(r->report->cluster)) != 0))
		return TRAIL_FORGED;
	if (!author_live(l, r))
		return TRAIL_STRANGER;
	return row_possible(r) ? TRAIL_CHECKED : TRAIL_FORGED;
}

void trail_judge(const struct verify *v, const struct kban_log_row *row, struct trail_row *out,
		 struct kban_report **report)
{
	*out = (struct trail_row){.row = row};
	*report = NULL;
	int r = kban_report_decode(report, &row->report);
	out->report = *report;
	if (r)
		out->check = r == KBAN_REPORT_UNKNOWN_EVENT ? TRAIL_UNREADABLE : TRAIL_FORGED;
	else
		out->check = row_check(v, out);
}

/* Pages. */

/* Somebody who was let in after the members were asked for. */
static int stranger_again(struct trail *t, const struct kban_log_row *row, struct trail_row *out,
			  struct kban_report **report)
{
	if (out->check != TRAIL_STRANGER ||
	    (row->seq && row->seq <= verify_place(t->fleet->verify)->seq))
		return 0;
	int r = fleet_ask(t->fleet, false);
	if (r)
		return r;
	kban_report_free(*report);
	trail_judge(t->fleet->verify, row, out, report);
	return 0;
}

int trail_page(struct trail *t, const struct kban_answer *a, trail_fn *fn, void *arg)
{
	t->head = a->place;
	t->broker_ms = a->broker_ms;
	for (size_t i = 0; i < a->log_n; i++) {
		kban_auto(kban_report_free) struct kban_report *report = NULL;
		struct trail_row row;
		trail_judge(t->fleet->verify, &a->log[i], &row, &report);
		int r = stranger_again(t, &a->log[i], &row, &report);
		t->bad += row.check != TRAIL_CHECKED;
		if (!r)
			r = fn(arg, &row);
		if (r)
			return r;
	}
	return 0;
}

int trail_each(struct trail *t, struct kban_query *q, trail_fn *fn, void *arg)
{
	struct session *s = t->fleet->session;

	for (;;) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		int r = session_ask(s, q, &m);
		if (!r)
			r = trail_page(t, &m->answer, fn, arg);
		if (r)
			return r;
		if (!m->answer.next) {
			q->after = m->answer.place.seq;
			return 0;
		}
		q->after = m->answer.next;
		if (t->progress)
			progress_show(t->progress, q->after, m->answer.place.seq);
		/* The deadline is for an answer, not for a million rows. */
		client_extend(s->client, s->ctx->timeout_ms ? s->ctx->timeout_ms : CLI_TIMEOUT_MS);
	}
}

int trail_verdict(const struct trail *t)
{
	if (!t->bad)
		return CLI_OK;
	return cli_fail(
		t->fleet->session->ctx, CLI_FAILED,
		"FORGED: %llu %s of the broker's log no principal of this cluster signed as "
		"shown; do not trust this broker before you know why",
		(unsigned long long)t->bad, t->bad == 1 ? "row" : "rows");
}
