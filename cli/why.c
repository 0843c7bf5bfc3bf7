/* SPDX-License-Identifier: MPL-2.0
 *
 * `why`: asks for everything that overlaps an address, and tells it.
 */
#include "cli/why.h"

#include <errno.h>

#include "cli/rows.h"

#define GATHER_MS 2000
#define SETTLE_MS 500

static int log_ask(struct why *w, enum kban_query_kind kind, uint32_t kinds)
{
	struct kban_query q = {
		.kind = kind, .has_prefix = !kinds, .prefix = w->prefix, .kinds = kinds};

	return trail_each(&w->trail, &q, why_row, w);
}

/* A ban that ended early by nothing that names its prefix: a purge of its author's bans did it. */
static bool purge_wanted(const struct why *w)
{
	for (size_t i = 0; i < w->events_n; i++)
		if (w->events[i].ended && !why_ender(w, &w->events[i]))
			return true;
	return false;
}

static int why_collect(struct why *w)
{
	int r = fleet_gather(w->fleet, GATHER_MS);

	w->now_ms = verify_broker_ms(w->fleet->verify);
	if (!r)
		r = log_ask(w, KBAN_QUERY_LOG, 0);
	if (!r)
		r = log_ask(w, KBAN_QUERY_REFUSED, 0);
	w->purges = true;
	if (!r && purge_wanted(w))
		r = log_ask(w, KBAN_QUERY_LOG, 1U << KBAN_EVENT_PURGE);
	if (!r)
		r = rows_each(w->fleet->session, KBAN_QUERY_SAFE, &w->prefix, why_safes, w);
	if (r || why_state(w) != WHY_BLOCKED)
		return r;
	return fleet_settle(w->fleet, verify_place(w->fleet->verify)->epoch, why_first_seq(w),
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
