/* SPDX-License-Identifier: MPL-2.0
 *
 * `unban`.
 */
#include <stdlib.h>

#include "cli/enforce.h"
#include "cli/rows.h"
#include "cli/time.h"
#include "cli/trail.h"
#include "cli/why.h"

#define DAY_MS	  86400000
#define WIDER_MAX 128 /* prefixes that cover one */

struct overlap {
	const struct context *ctx;
	const struct kban_prefix *prefix;
	size_t around;		   /* prefixes that cover it */
	size_t inside_n, around_n; /* running bans of what lies in it; of those */
	struct kban_prefix wider[WIDER_MAX];
	uint64_t left_ms[WIDER_MAX];
};

static void overlap_count(void *arg, const struct kban_answer *a)
{
	struct overlap *o = arg;

	for (size_t i = 0; i < a->bans_n; i++) {
		const struct kban_ban_row *row = &a->bans[i];
		if (row->until_ms <= a->broker_ms)
			continue;
		if (kban_prefix_covers(o->prefix, &row->prefix)) {
			o->inside_n += row->sources ? row->sources : 1;
		} else if (kban_prefix_covers(&row->prefix, o->prefix) && o->around < WIDER_MAX) {
			o->around_n += row->sources ? row->sources : 1;
			o->wider[o->around] = row->prefix;
			o->left_ms[o->around++] = row->until_ms - a->broker_ms;
		}
	}
}

static const struct output_column unban_columns[] = {
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"accepted", OUTPUT_TIME, 0, OUTPUT_ALL}, {"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"ended", OUTPUT_NUMBER, 0, OUTPUT_ALL},  {"covering", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct unbanning {
	struct session *session;
	const struct kban_prefix *prefix;
	const struct kban_receipt *receipt;
	bool seen; /* bans may be listed with this role, and were: before and after */
	struct overlap before, after;
	size_t ended;
	char text[KBAN_PREFIX_TEXT];
};

static uint64_t day_before(const struct kban_receipt *r)
{
	return r->accepted_ms > DAY_MS ? r->accepted_ms - DAY_MS : 0;
}

static void number_cell(struct output *o, bool known, size_t n)
{
	if (known)
		output_number(o, (int64_t)n);
	else
		output_null(o);
}

/* For programs: how many bans ended, and how many wider ones still cover the prefix. */
static int unban_record(const struct unbanning *u)
{
	kban_auto(output_free) struct output *o = NULL;
	const struct context *ctx = u->session->ctx;
	const struct kban_receipt *r = u->receipt;

	if (ctx->format == OUTPUT_TABLE)
		return CLI_OK;
	cli_output(&o, ctx, unban_columns, NULL, 0);
	output_string(o, u->text);
	output_string(o, kban_outcome_name(r->outcomes_n ? r->outcomes[0] : KBAN_OUTCOME_COUNTED));
	output_time(o, r->accepted_ms);
	number_cell(o, r->seq, r->seq);
	number_cell(o, u->seen, u->ended);
	number_cell(o, u->seen, u->after.around);
	return cli_output_end(ctx, o);
}

static void ended_say(const struct unbanning *u)
{
	const struct context *ctx = u->session->ctx;
	bool covering = args_flag(&ctx->args, "covering");
	char text[KBAN_PREFIX_TEXT];

	cli_say(ctx, "%s: %zu %s ended", u->text, u->ended, u->ended == 1 ? "ban" : "bans");
	for (size_t i = 0; covering && i < u->before.around; i++)
		cli_say(ctx, "  %s, which covers it, is let in with it, all of it",
			kban_prefix_format(&u->before.wider[i], text));
}

static int still_covered(const struct unbanning *u)
{
	char text[KBAN_PREFIX_TEXT], left[DURATION_TEXT];

	for (size_t i = 0; i < u->after.around; i++)
		cli_fail(u->session->ctx, 0,
			 "it is still banned by %s, for %s more; --covering ends that too",
			 kban_prefix_format(&u->after.wider[i], text),
			 duration_format(left, u->after.left_ms[i]));
	return u->after.around ? CLI_FAILED : CLI_OK;
}

/* A node may block what the fleet refused; an unban reaches that too. The node's name, or NULL. */
static char *alone_find(const struct unbanning *u)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	__attribute__((cleanup(why_done))) struct why w = {.ctx = u->session->ctx,
							   .fleet = &f,
							   .prefix = *u->prefix,
							   .now_ms = u->receipt->accepted_ms};
	struct kban_query q = {.kind = KBAN_QUERY_LOG, /* what put it on hold is there */
			       .has_prefix = true,
			       .prefix = *u->prefix,
			       .kinds = 1U << KBAN_EVENT_BAN,
			       .since_ms = day_before(u->receipt)};
	struct kban_query refused = {
		.kind = KBAN_QUERY_REFUSED, .has_prefix = true, .prefix = *u->prefix};

	fleet_init(&f, u->session);
	w.trail = (struct trail){.fleet = &f};
	if (fleet_ask(&f, false) || trail_each(&w.trail, &q, why_row, &w) ||
	    trail_each(&w.trail, &refused, why_row, &w) || !why_alone(&w))
		return NULL;
	return kban_strdup(why_alone(&w)->author);
}

static int unban_nothing(const struct unbanning *u)
{
	kban_auto(kban_free) void *alone = alone_find(u);

	if (!alone)
		return cli_fail(u->session->ctx, CLI_NOT_FOUND,
				"%s was not banned; reports made before now will not ban it",
				u->text);
	cli_say(u->session->ctx, "%s: %s blocked it alone, and lets it in now", u->text,
		(char *)alone);
	return CLI_OK;
}

/* Who may not list bans may not name others' either: the receipt says that its own ended. */
static int unban_show(const struct unbanning *u)
{
	const struct context *ctx = u->session->ctx;
	int r = unban_record(u);

	if (r)
		return r;
	if (!u->seen) {
		cli_say(ctx, "%s: your ban has ended", u->text);
		return CLI_OK;
	}
	if (u->ended)
		ended_say(u);
	r = still_covered(u);
	return r || u->ended ? r : unban_nothing(u);
}

struct repeated {
	const struct kban_prefix *prefix;
	uint64_t seq; /* of this one */
	size_t before;
};

static int repeated_count(void *arg, const struct trail_row *r)
{
	struct repeated *n = arg;

	for (size_t i = 0; r->report && i < r->report->events_n; i++) {
		const struct kban_event *e = &r->report->events[i];
		n->before += e->kind == KBAN_EVENT_UNBAN && r->row->seq != n->seq &&
			     r->check == TRAIL_CHECKED &&
			     kban_prefix_equal(&e->unban.prefix, n->prefix);
	}
	return 0;
}

/* Whoever unbans the same one again wants something else. */
static int unban_hint(struct session *s, const struct kban_prefix *p, const struct kban_receipt *r)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct trail t = {.fleet = &f};
	struct repeated n = {.prefix = p, .seq = r->seq};
	struct kban_query q = {.kind = KBAN_QUERY_LOG,
			       .has_prefix = true,
			       .prefix = *p,
			       .kinds = 1U << KBAN_EVENT_UNBAN,
			       .since_ms = day_before(r)};
	char text[KBAN_PREFIX_TEXT];

	if (s->ctx->format != OUTPUT_TABLE || s->ctx->quiet)
		return 0;
	fleet_init(&f, s);
	int code = fleet_ask(&f, false);
	if (!code)
		code = trail_each(&t, &q, repeated_count, &n);
	if (!code && n.before)
		cli_say(s->ctx,
			"it was unbanned before, in the last 24 hours; to never block it again: "
			"kbanctl "
			"safeacl add %s --reason TEXT",
			kban_prefix_format(p, text));
	return code;
}

static int bans_look(const struct unbanning *u, struct overlap *o)
{
	*o = (struct overlap){.ctx = u->session->ctx, .prefix = u->prefix};
	return u->seen ? rows_each(u->session, KBAN_QUERY_BANS, u->prefix, overlap_count, o) : 0;
}

static int unban_words(const struct unbanning *u)
{
	const struct kban_receipt *r = u->receipt;

	if (r->outcomes_n && r->outcomes[0] == KBAN_OUTCOME_NOT_FOUND)
		return cli_fail(u->session->ctx, CLI_NOT_FOUND,
				"no ban of exactly %s by %s runs; a %s ends its own only", u->text,
				u->session->identity.name,
				kban_role_name(u->session->identity.role));
	return words_receipt(u->session->ctx, r, u->text);
}

static int unban_run(struct unbanning *u, struct kban_event *e, struct kban_message **receipt)
{
	int r = bans_look(u, &u->before);

	if (!r)
		r = session_report(u->session, e, 1, receipt);
	if (r)
		return r;
	u->receipt = &(*receipt)->receipt;
	r = unban_words(u);
	if (!r)
		r = bans_look(u, &u->after);
	if (r)
		return r;
	u->ended = u->before.inside_n + (e->unban.covering ? u->before.around_n : 0);
	r = unban_show(u);
	if (u->ended)
		enforce_warn(u->session, u->receipt->epoch, u->receipt->seq, u->text);
	return r || !u->seen ? r : unban_hint(u->session, u->prefix, u->receipt);
}

int ban_remove(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN,
			       .unban = {.covering = args_flag(&ctx->args, "covering")}};

	if (cli_prefix(ctx, &e.unban.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.unban.reason))
		return CLI_USAGE;
	int r = session_open(&s, ctx, SESSION_REPORT);
	if (r)
		return r;
	struct unbanning u = {.session = s,
			      .prefix = &e.unban.prefix,
			      .seen = s->identity.role == KBAN_ROLE_OPERATOR ||
				      s->identity.role == KBAN_ROLE_READER};
	kban_prefix_format(&e.unban.prefix, u.text);
	return unban_run(&u, &e, &receipt);
}
