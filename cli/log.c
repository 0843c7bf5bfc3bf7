/* SPDX-License-Identifier: MPL-2.0
 *
 * `log`: the audit trail, event by event.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/event_words.h"
#include "cli/policy.h"
#include "cli/stop.h"
#include "cli/time.h"
#include "cli/trail.h"

#define SINCE_DEFAULT_MS 86400000ULL
#define HELD_BACK_MS                                                                               \
	10000 /* so long a broker may say nothing before it is asked whether it is there */
#define RECONNECT_MS 500

static const struct output_column columns[] = {
	{"time", OUTPUT_TIME, 20, OUTPUT_ALL},
	{"seq", OUTPUT_NUMBER, 7, OUTPUT_ALL},
	{"author", OUTPUT_TEXT, 14, OUTPUT_ALL},
	{"kind", OUTPUT_TEXT, 14, OUTPUT_ALL},
	{"what", OUTPUT_TEXT, 24, OUTPUT_ALL},
	{"outcome", OUTPUT_TEXT, 11, OUTPUT_ALL},
	{"until", OUTPUT_TIME, 20, OUTPUT_ALL},
	{"why", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"role", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"rule", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"service", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"server", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"count", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"line", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"fingerprint", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"event", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS}, /* its place in its report */
	{"checked", OUTPUT_BOOL, 0, OUTPUT_PROGRAMS},
	{"ended_early", OUTPUT_BOOL, 0, OUTPUT_PROGRAMS}, /* null: no ban, or long over */
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	const struct context *ctx;
	struct output *o;
	struct fleet *fleet;
	struct progress progress;
	struct trail trail;
	struct kban_query query;
	const char *author; /* NULL: anybody */
	uint64_t shown_seq;
	struct kban_event_policy policy; /* in force before the next policy event */
	bool policy_known;
};

/* The filters. */

static int kind_unknown(const struct context *ctx, const char *text)
{
	kban_auto(kban_free) void *said = cli_escaped(text, strnlen(text, 64));
	char *names = kban_strdup("");
	const char *near = NULL;

	for (int k = KBAN_EVENT_BAN; k < KBAN_EVENT_KINDS; k++) {
		char *more = kban_asprintf("%s %s", names,
					   kban_event_kind_name((enum kban_event_kind)k));
		free(names);
		names = more;
		if (!near && args_near(text, kban_event_kind_name((enum kban_event_kind)k)))
			near = kban_event_kind_name((enum kban_event_kind)k);
	}
	cli_fail(ctx, CLI_USAGE, "--kind %s is none of:%s%s%s%s", (char *)said, names,
		 near		     ? "; did you mean "
		 : strchr(text, ',') ? "; give --kind once for each"
				     : "",
		 near ? near : "", near ? "?" : "");
	free(names);
	return CLI_USAGE;
}

static int kinds_take(const struct context *ctx, uint32_t *out)
{
	const char *text;

	*out = 0;
	for (size_t i = 0; (text = args_nth(&ctx->args, "kind", i)); i++) {
		int k = KBAN_EVENT_BAN;
		while (k < KBAN_EVENT_KINDS &&
		       strcasecmp(text, kban_event_kind_name((enum kban_event_kind)k)) != 0)
			k++;
		if (k == KBAN_EVENT_KINDS)
			return kind_unknown(ctx, text);
		*out |= 1U << k;
	}
	return 0;
}

/* A name that only one key ever had is looked for by the broker; else by us, row by row. */
static int author_take(struct listing *l)
{
	const struct verify *v = l->fleet->verify;
	const struct kban_key *key = NULL;
	size_t n = 0;

	for (size_t i = 0; l->author && i < verify_members_n(v); i++)
		if (verify_member(v, i)->granted && !strcmp(verify_member(v, i)->name, l->author)) {
			key = &verify_member(v, i)->key;
			n++;
		}
	if (l->author && !n && strcmp(l->author, "root") != 0) {
		kban_auto(kban_free) void *said = cli_escaped(l->author, strnlen(l->author, 64));
		return cli_fail(
			l->ctx, CLI_NOT_FOUND,
			"nobody is or was called %s; `kbanctl principal list --all` shows who",
			(char *)said);
	}
	if (n == 1) /* members are not asked for again while a query runs: the key stays */
		l->query.author = (struct kban_text){
			(const char *)kban_memdup(key->b, KBAN_KEY_SIZE), KBAN_KEY_SIZE};
	return 0;
}

/* Rows. */

static int policy_before(void *arg, const struct trail_row *r)
{
	struct listing *l = arg;

	for (size_t i = 0; r->report && i < r->report->events_n; i++)
		if (r->report->events[i].kind == KBAN_EVENT_POLICY &&
		    trail_outcome(r, i) == KBAN_OUTCOME_COUNTED && r->row->seq < l->shown_seq)
			l->policy = r->report->events[i].policy;
	return 0;
}

/* What a policy event changes is told against the one before it, which may lie before --since. */
static int policy_seek(struct listing *l, const struct trail_row *r)
{
	struct kban_query q = {.kind = KBAN_QUERY_LOG, .kinds = 1U << KBAN_EVENT_POLICY};
	struct trail t = {.fleet = l->fleet};
	uint64_t shown = l->shown_seq;

	if (l->policy_known)
		return 0;
	l->policy = ledger_policy_default;
	l->policy_known = true;
	l->shown_seq = r->row->seq;
	int code = trail_each(&t, &q, policy_before, l);
	l->shown_seq = shown;
	return code;
}

static void optional_text(struct output *o, struct kban_text t)
{
	if (t.n)
		output_text(o, t);
	else
		output_null(o);
}

static void author_cell(const struct listing *l, const struct trail_row *r)
{
	const char *name = *r->author ? r->author : NULL;

	if (r->check == TRAIL_CHECKED || l->ctx->format != OUTPUT_TABLE) {
		output_string(l->o, name);
		return;
	}
	kban_auto(kban_free) void *said = kban_asprintf("FORGED %s", name ? name : "");
	output_tone(l->o, said, OUTPUT_BAD);
}

static void outcome_cell(const struct listing *l, const struct trail_row *r, size_t event)
{
	unsigned outcome = trail_outcome(r, event);
	bool counts = outcome && kban_outcome_counts((enum kban_outcome)outcome);

	if (r->row->refusal)
		output_tone(l->o, kban_refusal_name(r->row->refusal), OUTPUT_WARN);
	else if (outcome)
		output_tone(l->o, kban_outcome_name(outcome), counts ? OUTPUT_PLAIN : OUTPUT_WARN);
	else
		output_null(l->o);
}

/* "ended 06:04:07", with the day unless it is that of the row. */
static const char *ended_text(char out[TIME_TEXT + 8], const struct trail_row *r, uint64_t ms)
{
	char began[TIME_TEXT], ended[TIME_TEXT];
	size_t day = strlen("2026-03-01T");

	time_format(began, r->row->accepted_ms);
	time_format(ended, ms);
	if (strncmp(began, ended, day) != 0)
		snprintf(out, TIME_TEXT + 8, "ended %s", ended);
	else
		snprintf(out, TIME_TEXT + 8, "ended %.8s", ended + day);
	return out;
}

static void until_cell(const struct listing *l, const struct trail_row *r, size_t event)
{
	const struct kban_record_row *record = trail_record(r, event);
	unsigned outcome = trail_outcome(r, event);
	uint64_t duration = event_duration(&r->report->events[event]);
	char text[TIME_TEXT + 8];
	bool runs = r->row->seq && duration && (!outcome || outcome == KBAN_OUTCOME_COUNTED);

	if (record && record->ended)
		output_time_said(l->o, record->until_ms, ended_text(text, r, record->until_ms));
	else
		output_time(l->o, record ? record->until_ms
				  : runs ? r->row->accepted_ms + duration
					 : 0);
}

static void ended_cell(const struct listing *l, const struct trail_row *r, size_t event)
{
	const struct kban_record_row *record = trail_record(r, event);

	if (record)
		output_bool(l->o, record->ended);
	else
		output_null(l->o);
}

static void ban_cells(const struct listing *l, const struct trail_row *r,
		      const struct kban_event *e)
{
	if (e->kind != KBAN_EVENT_BAN) {
		for (int i = 0; i < 5; i++)
			output_null(l->o);
		return;
	}
	optional_text(l->o, e->ban.rule);
	optional_text(l->o, e->ban.service);
	optional_text(l->o, e->ban.server.n ? e->ban.server : kban_text(r->author));
	output_number(l->o, e->ban.count);
	optional_text(l->o, e->ban.line);
}

static void event_write(struct listing *l, const struct trail_row *r, size_t event)
{
	const struct kban_event *e = &r->report->events[event];
	const struct kban_prefix *p = trail_prefix(e);
	kban_auto(kban_free) void *what = event_what(e, verify_ledger(l->fleet->verify));
	kban_auto(kban_free) void *why = event_why(e, r->author, &l->policy);
	char text[KBAN_FINGERPRINT_TEXT + KBAN_PREFIX_TEXT];

	output_time(l->o, r->row->accepted_ms);
	output_number(l->o, (int64_t)r->row->seq);
	author_cell(l, r);
	output_string(l->o, kban_event_kind_name(e->kind));
	output_string(l->o, what);
	outcome_cell(l, r, event);
	until_cell(l, r, event);
	output_string(l->o, why);
	output_string(l->o, p ? kban_prefix_format(p, text) : NULL);
	output_string(l->o, r->role ? kban_role_name(r->role) : NULL);
	ban_cells(l, r, e);
	output_string(l->o, kban_fingerprint(text, &r->report->author));
	output_number(l->o, (int64_t)event);
	output_bool(l->o, r->check == TRAIL_CHECKED);
	ended_cell(l, r, event);
}

/* Of what is no report, or of a newer version, there is only the place to tell. */
static void unreadable_write(struct listing *l, const struct trail_row *r)
{
	output_time(l->o, r->row->accepted_ms);
	output_number(l->o, (int64_t)r->row->seq);
	author_cell(l, r);
	output_string(l->o, trail_check_name(r->check));
	for (const struct output_column *c = &columns[4]; strcmp(c->name, "checked") != 0; c++)
		output_null(l->o);
	output_bool(l->o, false);
	output_null(l->o);
}

static bool row_shown(const struct listing *l, const struct trail_row *r)
{
	return r->row->seq > l->shown_seq &&
	       (!l->author || !strcmp(r->author, l->author) || r->check != TRAIL_CHECKED);
}

/* Once there is something to write: what fails at once leaves stdout alone. */
static void output_begin(struct listing *l)
{
	const struct output_options options = {.format = l->ctx->format,
					       .stream = true,
					       .list = "events",
					       .colour = cli_colour(l->ctx)};

	if (!l->o)
		output_new(&l->o, l->ctx->out, columns, &options);
}

static int row_write(void *arg, const struct trail_row *r)
{
	struct listing *l = arg;
	const struct kban_prefix *prefix = l->query.has_prefix ? &l->query.prefix : NULL;
	int code = 0;

	if (!row_shown(l, r))
		return 0;
	progress_clear(&l->progress);
	output_begin(l);
	if (!r->report)
		unreadable_write(l, r);
	for (size_t i = 0; r->report && i < r->report->events_n && !code; i++) {
		const struct kban_event *e = &r->report->events[i];
		if (!trail_wanted(e, l->query.kinds, prefix))
			continue;
		if (e->kind == KBAN_EVENT_POLICY)
			code = policy_seek(l, r);
		event_write(l, r, i);
		if (e->kind == KBAN_EVENT_POLICY && trail_outcome(r, i) == KBAN_OUTCOME_COUNTED)
			l->policy = e->policy;
	}
	l->shown_seq = r->row->seq;
	if (ferror(l->ctx->out))
		return cli_fail(l->ctx, CLI_FAILED, "cannot write to stdout");
	return code;
}

/* --follow. */

static int flushed(const struct listing *l)
{
	if (fflush(l->ctx->out))
		return cli_fail(l->ctx, CLI_FAILED, "cannot write to stdout: %s", strerror(errno));
	return 0;
}

/* The broker went away: until it is there again, or somebody stops us. */
static int follow_renew(struct listing *l, int stop, char *error)
{
	struct client *c = l->fleet->session->client;

	cli_say(l->ctx, "kbanctl: %s; trying again until it is there", error);
	for (int r = CLI_UNREACHABLE; r && !stop_asked(stop);) {
		free(error);
		error = NULL;
		client_extend(c, RECONNECT_MS);
		client_pause(c, RECONNECT_MS);
		r = client_renew(c, CLI_TIMEOUT_MS, &error);
		if (r && r != CLI_UNREACHABLE && !stop_asked(stop))
			return cli_fail_with(l->ctx, r, error);
	}
	free(error);
	return 0;
}

static int follow_answer(struct listing *l, const struct kban_answer *a)
{
	uint64_t before = l->query.after;

	if (!a->next && a->place.seq < before)
		return cli_fail(l->ctx, CLI_FAILED,
				"the broker's log ends at seq %llu and went to %llu before: it was "
				"rolled back",
				(unsigned long long)a->place.seq, (unsigned long long)before);
	int r = trail_page(&l->trail, a, row_write, l);
	l->query.after = a->next ? a->next : a->place.seq;
	return r ? r : flushed(l);
}

/* Asked with `wait`, a broker may be silent for as long as nothing happens; so it is asked without,
 * now and then: that it must answer. */
static int follow(struct listing *l, int stop)
{
	struct client *c = l->fleet->session->client;

	client_watch(c, stop);
	for (bool wait = true; !stop_asked(stop);) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		char *error = NULL;
		l->query.wait = wait;
		int r = client_await(c, &l->query, wait ? HELD_BACK_MS : CLI_TIMEOUT_MS, &m,
				     &error);
		if (stop_asked(stop)) {
			free(error);
			break;
		}
		if (!r && !m && !wait) {
			r = CLI_UNREACHABLE;
			error = kban_asprintf("broker %s does not answer", client_endpoint(c));
		}
		if (r == CLI_UNREACHABLE)
			r = follow_renew(l, stop, error);
		else if (r)
			return cli_fail_with(l->ctx, r, error);
		wait = m || !wait;
		if (!r && m)
			r = follow_answer(l, &m->answer);
		if (r)
			return r;
	}
	return 0;
}

/* The whole. */

static int listing_take(struct listing *l, uint64_t *since_ms)
{
	const struct context *ctx = l->ctx;
	const char *text = args_word(&ctx->args, 0);

	*since_ms = SINCE_DEFAULT_MS;
	l->author = args_get(&ctx->args, "author");
	l->query.has_prefix = text;
	if ((text && cli_prefix(ctx, &l->query.prefix, text)) || kinds_take(ctx, &l->query.kinds) ||
	    cli_since(ctx, since_ms))
		return CLI_USAGE;
	if (args_flag(&ctx->args, "follow") && ctx->format == OUTPUT_JSON)
		return cli_fail(ctx, CLI_USAGE,
				"json is one object, which --follow never ends; use -o jsonl");
	return 0;
}

static int listing_run(struct listing *l, uint64_t since_ms, int stop)
{
	uint64_t now;
	int r = fleet_ask(l->fleet, false);

	if (!r)
		r = author_take(l);
	if (r)
		return r;
	now = verify_broker_ms(l->fleet->verify);
	l->query.since_ms = since_ms && since_ms < now ? now - since_ms : 0;
	l->trail = (struct trail){.fleet = l->fleet, .progress = &l->progress};
	progress_begin(&l->progress, l->ctx, "searching the log");
	r = trail_each(&l->trail, &l->query, row_write, l);
	progress_clear(&l->progress);
	if (!r)
		output_begin(l);
	if (!r && stop >= 0)
		r = flushed(l);
	if (!r && stop >= 0)
		r = follow(l, stop);
	if (!r)
		r = cli_output_end(l->ctx, l->o);
	int verdict = trail_verdict(&l->trail);
	return r ? r : verdict;
}

int log_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	kban_auto(kban_close) int stop = -1;
	struct listing l = {.ctx = ctx, .fleet = &f, .query = {.kind = KBAN_QUERY_LOG}};
	uint64_t since_ms;
	int r = listing_take(&l, &since_ms);

	if (r)
		return r;
	if (args_flag(&ctx->args, "follow") && (r = stop_open(&stop)))
		return cli_fail(ctx, CLI_FAILED, "cannot wait for signals: %s", strerror(-r));
	r = session_open(&s, ctx, SESSION_ASK);
	if (r)
		return r;
	fleet_init(&f, s);
	r = listing_run(&l, since_ms, stop);
	free((void *)(uintptr_t)l.query.author.s);
	output_free(l.o);
	return r;
}
