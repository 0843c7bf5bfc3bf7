/* SPDX-License-Identifier: MPL-2.0
 *
 * `why`: asks for everything that overlaps an address, and tells it.
 */
#include "cli/why.h"

#include "cli/policy.h"
#include "cli/rows.h"

#define GATHER_MS 2000
#define SETTLE_MS 500

/* When the first ban ended that nothing which overlaps the prefix has ended; 0: there is none. */
static uint64_t ended_unseen(const struct why *w)
{
	uint64_t first_ms = 0;

	for (size_t i = 0; i < w->events_n; i++) {
		const struct why_event *e = &w->events[i];
		if (e->ended && !e->ended_seq && (!first_ms || e->until_ms < first_ms))
			first_ms = e->until_ms;
	}
	return first_ms;
}

/* An unban with --covering of another address, a purge, a broker's new address: what ended a ban is
 * looked for where it ended. */
static int enders_ask(struct why *w)
{
	struct kban_query q = {.kind = KBAN_QUERY_LOG,
			       .kinds = 1U << KBAN_EVENT_UNBAN | 1U << KBAN_EVENT_PURGE |
					1U << KBAN_EVENT_BROKER_ADDRESS,
			       .since_ms = ended_unseen(w)};

	if (!q.since_ms)
		return 0;
	w->enders = true;
	return trail_each(&w->trail, &q, why_row, w);
}

/* How much longer bans of a repeat offender were made is the policy's. */
static int strikes_ask(struct why *w)
{
	struct policy_now now;

	w->policy = ledger_policy_default;
	for (size_t i = 0; i < w->events_n; i++) {
		if (!w->events[i].ended || w->events[i].strikes < 2)
			continue;
		int r = policy_ask(w->fleet, &now);
		if (!r)
			w->policy = now.policy;
		return r;
	}
	return 0;
}

static int log_ask(struct why *w, enum kban_query_kind kind)
{
	struct kban_query q = {.kind = kind, .has_prefix = true, .prefix = w->prefix};

	return trail_each(&w->trail, &q, why_row, w);
}

static int why_collect(struct why *w)
{
	int r = fleet_gather(w->fleet, GATHER_MS);

	w->now_ms = verify_broker_ms(w->fleet->verify);
	if (!r)
		r = log_ask(w, KBAN_QUERY_LOG);
	if (!r)
		r = log_ask(w, KBAN_QUERY_REFUSED);
	if (!r)
		r = enders_ask(w);
	if (!r)
		r = strikes_ask(w);
	why_sort(w);
	if (!r)
		r = rows_each(w->fleet->session, KBAN_QUERY_SAFE, &w->prefix, why_safes, w);
	return r ? r
		 : fleet_settle(w->fleet, verify_place(w->fleet->verify)->epoch, why_needed_seq(w),
				SETTLE_MS);
}

static int why_show(const struct why *w)
{
	switch (w->ctx->format) {
	case OUTPUT_TABLE:
		why_tell(w);
		break;
	case OUTPUT_JSON:
	case OUTPUT_JSONL:
		why_json(w);
		break;
	case OUTPUT_TSV:
	case OUTPUT_CSV:
		return why_rows(w);
	}
	return fflush(w->ctx->out) ? cli_fail(w->ctx, CLI_FAILED, "cannot write to stdout")
				   : CLI_OK;
}

static int why_verdict(const struct why *w)
{
	int r = trail_verdict(&w->trail);

	if (w->unproven)
		r = cli_fail(w->ctx, CLI_FAILED,
			     "FORGED: the broker shows %llu safe %s without a signed reason",
			     (unsigned long long)w->unproven,
			     w->unproven == 1 ? "range" : "ranges");
	if (verify_bad_proofs(w->fleet->verify))
		r = cli_fail(w->ctx, CLI_FAILED,
			     "FORGED: some of the broker's proofs of who belongs "
			     "to the cluster carry no valid signature");
	return r;
}

int why_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	__attribute__((cleanup(why_done))) struct why w = {.ctx = ctx, .fleet = &f};
	struct progress progress;

	if (cli_prefix(ctx, &w.prefix, args_word(&ctx->args, 0)))
		return CLI_USAGE;
	int r = session_open(&s, ctx, SESSION_ASK);
	if (r)
		return r;
	fleet_init(&f, s);
	progress_begin(&progress, ctx, "searching the log");
	w.trail = (struct trail){.fleet = &f, .progress = &progress};
	r = why_collect(&w);
	progress_clear(&progress);
	if (!r)
		r = why_show(&w);
	if (!r)
		r = why_verdict(&w);
	return r ? r : why_state(&w) == WHY_UNKNOWN ? CLI_NOT_FOUND : CLI_OK;
}
