/* SPDX-License-Identifier: MPL-2.0
 *
 * `policy test`: the history, folded again with another policy.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/nested.h"
#include "cli/policy.h"
#include "cli/progress.h"
#include "cli/time.h"
#include "cli/whatif.h"
#include "store/snapshot.h"

struct test {
	const struct context *ctx;
	struct fleet *fleet;
	struct progress progress;
	struct policy_now now;
	struct kban_event_policy policy;
	struct whatif w;
	struct ledger *was, *would;
	uint64_t horizon;      /* where they begin */
	struct kban_place end; /* what is asked for goes up to here */
	struct kban_hash end_digest;
};

/* The state at the horizon, twice. */

struct state {
	struct ledger_loading *was, *would;
	struct kban_place place;
	size_t items;
};

static int page_load(const struct test *t, struct state *s, const struct kban_state_page *page)
{
	for (size_t at = 0; at < page->items_len;) {
		size_t n = page->items_len - at < 2
				   ? SIZE_MAX
				   : (size_t)page->items[at] << 8 | page->items[at + 1];
		if (n > page->items_len - at - 2)
			return cli_fail(t->ctx, CLI_FAILED, "the broker's state is damaged");
		struct kban_span item = kban_span(page->items + at + 2, n);
		int r = ledger_loading_item(s->was, item);
		if (!r)
			r = ledger_loading_item(s->would, item);
		if (r)
			return cli_fail(t->ctx, CLI_FAILED, "the broker's state is %s: %s",
					snapshot_result_name(r), ledger_loading_why(s->was));
		s->items++;
		at += 2 + n;
	}
	return 0;
}

static int state_pages(struct test *t, struct state *s)
{
	struct kban_query q = {.kind = KBAN_QUERY_STATE};

	for (;;) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		int r = session_ask(t->fleet->session, &q, &m);
		if (r)
			return r;
		if (q.after && (m->answer.place.seq != s->place.seq ||
				!kban_hash_equal(&m->answer.place.chain, &s->place.chain)))
			return cli_fail(t->ctx, CLI_FAILED,
					"the log was compacted meanwhile; run it again");
		s->place = m->answer.place;
		for (size_t i = 0; i < m->answer.state_n && !r; i++)
			r = page_load(t, s, &m->answer.state[i]);
		/* The proofs behind the pages are for who follows the log, not for a question. */
		if (r || !m->answer.next || m->answer.proofs_n)
			return r;
		q.after = m->answer.next;
	}
}

static int state_end(struct test *t, struct state *s)
{
	const struct kban_key *root = &t->fleet->session->identity.root;
	int r = 0;

	if (!s->items) {
		ledger_new(&t->was, root);
		ledger_new(&t->would, root);
		return 0;
	}
	r = ledger_loading_end(s->was, &t->was);
	if (!r)
		r = ledger_loading_end(s->would, &t->would);
	return r ? cli_fail(t->ctx, CLI_FAILED, "the broker's state is %s", snapshot_result_name(r))
		 : 0;
}

static int state_load(struct test *t)
{
	const struct kban_key *root = &t->fleet->session->identity.root;
	struct state s = {0};

	ledger_loading_new(&s.was, root);
	ledger_loading_new(&s.would, root);
	int r = state_pages(t, &s);
	if (!r)
		r = state_end(t, &s);
	ledger_loading_free(s.was);
	ledger_loading_free(s.would);
	return r;
}

/* The log behind it. */

/* Nothing is wrong with a broker that has compacted its log since it gave the state at its start.
 */
static int compacted_meanwhile(const struct test *t)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	struct kban_query q = {.kind = KBAN_QUERY_STATE};
	int r = session_ask(t->fleet->session, &q, &m);

	if (r || m->answer.place.seq == t->horizon)
		return r;
	return cli_fail(t->ctx, CLI_FAILED, "the log was compacted meanwhile; run it again");
}

static int log_left_out(const struct test *t, uint64_t seq)
{
	int r = compacted_meanwhile(t);

	return r ? r
		 : cli_fail(t->ctx, CLI_FAILED,
			    "FORGED: the broker leaves out entry %llu of the log",
			    (unsigned long long)seq);
}

static int rows_fold(struct test *t, const struct kban_answer *a, uint64_t *seq)
{
	for (size_t i = 0; i < a->log_n && a->log[i].seq <= t->end.seq; i++) {
		const struct kban_log_row *row = &a->log[i];
		if (row->seq <= *seq)
			continue;
		if (row->seq != *seq + 1)
			return log_left_out(t, *seq + 1);
		whatif_entry(&t->w, &(struct kban_entry){row->seq, row->accepted_ms, row->report});
		*seq = row->seq;
	}
	return 0;
}

static int log_fold(struct test *t)
{
	struct session *s = t->fleet->session;
	struct kban_query q = {.kind = KBAN_QUERY_LOG};
	struct kban_place place;

	ledger_place(t->was, &place);
	q.after = t->horizon = place.seq;
	for (uint64_t seq = place.seq; seq < t->end.seq;) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		int r = session_ask(s, &q, &m);
		if (!r)
			r = rows_fold(t, &m->answer, &seq);
		if (r || !m->answer.next)
			return r;
		q.after = m->answer.next;
		progress_show(&t->progress, seq, t->end.seq);
		client_extend(s->client, t->ctx->timeout_ms ? t->ctx->timeout_ms : CLI_TIMEOUT_MS);
	}
	return 0;
}

/* What was folded is what the broker has, or the figures mean nothing. */
static int fold_verdict(const struct test *t)
{
	struct kban_place place;
	struct kban_hash digest;

	ledger_place(t->was, &place);
	ledger_digest(t->was, &digest);
	if (!t->w.bad && place.seq == t->end.seq && kban_hash_equal(&place.chain, &t->end.chain) &&
	    kban_hash_equal(&digest, &t->end_digest))
		return 0;
	int r = compacted_meanwhile(t);

	return r ? r
		 : cli_fail(t->ctx, CLI_FAILED,
			    "FORGED: the log that the broker shows does not fold to its own ledger "
			    "(%llu bad signatures)",
			    (unsigned long long)t->w.bad);
}

/* Telling. */

static void holds_tell(const struct test *t)
{
	char when[TIME_TEXT];

	for (size_t i = 0; i < t->w.nodes_n; i++) {
		const struct whatif_node *n = &t->w.nodes[i];
		if (n->held_ms)
			fprintf(t->ctx->out,
				"%s would go on hold at %s: %llu events over its quota, %llu "
				"refused "
				"while on hold\n",
				n->name, time_format(when, n->held_ms),
				(unsigned long long)n->over_quota, (unsigned long long)n->on_hold);
		if (n->held_safe)
			fprintf(t->ctx->out, "%s: %llu safe ranges would be held for approval\n",
				n->name, (unsigned long long)n->held_safe);
		if (n->freed_safe)
			fprintf(t->ctx->out, "%s: %llu safe ranges would count without approval\n",
				n->name, (unsigned long long)n->freed_safe);
	}
}

static const char *turn_because(const struct whatif_turn *turn)
{
	return turn->refusal ? kban_refusal_name(turn->refusal) : kban_outcome_name(turn->outcome);
}

static void turn_tell(const struct test *t, const struct whatif_turn *turn)
{
	char prefix[KBAN_PREFIX_TEXT];
	FILE *f = t->ctx->out;

	fprintf(f, "  %llu %s of %s (%s)", (unsigned long long)turn->events,
		kban_event_kind_name(turn->kind), *turn->name ? turn->name : "somebody",
		turn_because(turn));
	for (size_t i = 0; i < turn->examples_n; i++)
		fprintf(f, "%s%s", i ? ", " : ": ", kban_prefix_format(&turn->examples[i], prefix));
	fputs(turn->events > turn->examples_n && turn->examples_n == WHATIF_TOP ? " ...\n" : "\n",
	      f);
}

/* Those that would be refused, or admitted: who, what and why, so that the sums add up. */
static void turns_tell(const struct test *t, bool admitted)
{
	const struct whatif *w = &t->w;
	uint64_t n = admitted ? w->admitted : w->refused, rest = n;
	size_t shown = 0;

	fprintf(t->ctx->out, "%llu %s would %s\n", (unsigned long long)n,
		n == 1 ? "event" : "events",
		admitted ? "count that did not" : "be refused that counted");
	for (size_t i = 0; i < w->turns_n && shown < WHATIF_TOP; i++) {
		if (w->turns[i].admitted != admitted)
			continue;
		turn_tell(t, &w->turns[i]);
		rest -= w->turns[i].events;
		shown++;
	}
	if (rest)
		fprintf(t->ctx->out, "  and %llu more: -o json has them all\n",
			(unsigned long long)rest);
}

static void bans_tell(const struct test *t)
{
	const struct whatif *w = &t->w;
	char text[DURATION_TEXT], prefix[KBAN_PREFIX_TEXT];

	fprintf(t->ctx->out, "of %llu bans, %llu would be longer (by %s in all)",
		(unsigned long long)w->bans, (unsigned long long)w->lengthened,
		duration_format(text, w->lengthened_ms));
	fprintf(t->ctx->out, ", %llu shorter (by %s)\n", (unsigned long long)w->shortened,
		duration_format(text, w->shortened_ms));
	for (size_t i = 0; i < w->changed_n && i < WHATIF_TOP; i++)
		fprintf(t->ctx->out, "  %-40s %s%s\n",
			kban_prefix_format(&w->changed[i].prefix, prefix),
			w->changed[i].change_ms < 0 ? "-" : "+",
			duration_format(text, (uint64_t)llabs(w->changed[i].change_ms)));
	turns_tell(t, false);
	turns_tell(t, true);
}

static void history_tell(const struct test *t)
{
	char text[DURATION_TEXT];

	if (t->policy.history_ms < t->now.policy.history_ms)
		fprintf(t->ctx->out,
			"%llu entries of the log are older than %s and would be dropped, but for "
			"those that "
			"the ledger rests on\n",
			(unsigned long long)t->w.older,
			duration_format(text, t->policy.history_ms));
	else if (t->policy.history_ms > t->now.policy.history_ms)
		fputs("what was dropped already does not come back; the log grows from now on\n",
		      t->ctx->out);
}

static void result_tell(const struct test *t)
{
	kban_auto(kban_free) void *difference = policy_difference(&t->now.policy, &t->policy);
	char since[TIME_TEXT];

	fprintf(t->ctx->out, "%s\n", (char *)difference);
	fprintf(t->ctx->out, "had it been so since %s:\n",
		t->w.since_ms ? time_format(since, t->w.since_ms) : "the beginning of the history");
	bans_tell(t);
	holds_tell(t);
	history_tell(t);
}

static void nodes_write(struct nested *n, const struct whatif *w)
{
	nested_array(n, "nodes");
	for (size_t i = 0; i < w->nodes_n; i++) {
		const struct whatif_node *node = &w->nodes[i];
		nested_object(n, NULL);
		nested_string(n, "name", node->name);
		nested_bool(n, "on_hold", node->held_ms);
		nested_time(n, "on_hold_at", node->held_ms);
		nested_number(n, "over_quota", node->over_quota);
		nested_number(n, "refused_on_hold", node->on_hold);
		nested_number(n, "safe_held", node->held_safe);
		nested_number(n, "safe_freed", node->freed_safe);
		nested_end(n);
	}
	nested_end(n);
}

static void turns_write(struct nested *n, const struct whatif *w)
{
	nested_array(n, "changes");
	for (size_t i = 0; i < w->turns_n; i++) {
		const struct whatif_turn *turn = &w->turns[i];
		nested_object(n, NULL);
		nested_string(n, "change", turn->admitted ? "admitted" : "refused");
		nested_string(n, "kind", kban_event_kind_name(turn->kind));
		nested_string(n, "author", turn->name);
		nested_string(n, "because", turn_because(turn));
		nested_number(n, "events", turn->events);
		nested_array(n, "prefixes");
		for (size_t k = 0; k < turn->examples_n; k++)
			nested_prefix(n, NULL, &turn->examples[k]);
		nested_end(n);
		nested_end(n);
	}
	nested_end(n);
}

static void result_write(const struct test *t)
{
	kban_auto(kban_free) void *difference = policy_difference(&t->now.policy, &t->policy);
	const struct whatif *w = &t->w;
	struct nested n;

	nested_begin(&n, t->ctx->out, t->ctx->format == OUTPUT_JSON);
	nested_string(&n, "difference", difference);
	nested_time(&n, "since", w->since_ms);
	nested_number(&n, "entries", w->entries);
	nested_number(&n, "bans", w->bans);
	nested_number(&n, "lengthened", w->lengthened);
	nested_number(&n, "lengthened_ms", w->lengthened_ms);
	nested_number(&n, "shortened", w->shortened);
	nested_number(&n, "shortened_ms", w->shortened_ms);
	nested_number(&n, "refused", w->refused);
	nested_number(&n, "admitted", w->admitted);
	nested_number(&n, "older_than_history", w->older);
	nested_array(&n, "top");
	for (size_t i = 0; i < w->changed_n && i < WHATIF_TOP; i++) {
		nested_object(&n, NULL);
		nested_prefix(&n, "prefix", &w->changed[i].prefix);
		nested_signed(&n, "change_ms", w->changed[i].change_ms);
		nested_end(&n);
	}
	nested_end(&n);
	turns_write(&n, w);
	nodes_write(&n, w);
	nested_end(&n);
}

/* The whole. */

static int test_show(const struct test *t)
{
	switch (t->ctx->format) {
	case OUTPUT_TABLE:
		result_tell(t);
		break;
	case OUTPUT_JSON:
	case OUTPUT_JSONL:
		result_write(t);
		break;
	case OUTPUT_TSV:
	case OUTPUT_CSV:
		return cli_fail(t->ctx, CLI_USAGE, "the result is no list of rows; use -o json");
	}
	return fflush(t->ctx->out) ? cli_fail(t->ctx, CLI_FAILED, "cannot write to stdout")
				   : CLI_OK;
}

static int test_fold(struct test *t, uint64_t ago_ms)
{
	const struct verify *v = t->fleet->verify;
	uint64_t now = verify_broker_ms(v);

	t->end = *verify_place(v);
	t->end_digest = *verify_digest(v);
	progress_begin(&t->progress, t->ctx, "folding the log");
	int r = state_load(t);
	if (r)
		return r;
	whatif_begin(&t->w, t->was, t->would, &t->policy, ago_ms && ago_ms < now ? now - ago_ms : 0,
		     now);
	r = log_fold(t);
	progress_clear(&t->progress);
	whatif_end(&t->w);
	return r ? r : fold_verdict(t);
}

static int test_run(struct test *t, uint64_t ago_ms)
{
	int r = fleet_ask(t->fleet, false);

	if (!r)
		r = policy_ask(t->fleet, &t->now);
	if (r)
		return r;
	t->policy = t->now.policy;
	r = policy_assign_all(t->ctx, &t->policy);
	if (!r)
		r = test_fold(t, ago_ms);
	return r ? r : test_show(t);
}

int policy_test_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct test t = {.ctx = ctx, .fleet = &f, .policy = ledger_policy_default};
	uint64_t ago_ms = 0;
	int r = policy_assign_all(ctx, &t.policy);

	if (!r)
		r = cli_since(ctx, &ago_ms);
	if (!r)
		r = session_open(&s, ctx, SESSION_ASK);
	if (r)
		return r;
	fleet_init(&f, s);
	r = test_run(&t, ago_ms);
	whatif_done(&t.w);
	ledger_free(t.was);
	ledger_free(t.would);
	return r;
}
