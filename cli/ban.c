/* SPDX-License-Identifier: MPL-2.0
 *
 * `ban`, `unban`, `bans`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/rows.h"
#include "cli/time.h"
#include "cli/trail.h"

#define BAN_DEFAULT_MS	3600000
#define WAIT_DEFAULT_MS 30000
#define DAY_MS		86400000
#define GATHER_MS	500

/* ban. */

/* *n: 0 is all; *wait says whether at all. */
static int wait_take(const struct context *ctx, bool *wait, size_t *n)
{
	const char *text = args_get(&ctx->args, "wait");
	char *end;

	*wait = text;
	*n = 0;
	if (!text || !strcmp(text, "all"))
		return 0;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || !v || v > 1000000)
		return cli_fail(ctx, CLI_USAGE, "--wait takes all or a number of nodes");
	*n = v;
	return 0;
}

static bool wider_than(const struct kban_prefix *p, unsigned len4, unsigned len6)
{
	return p->len < (p->family == KBAN_IPV4 ? len4 : len6);
}

static int width_agreed(const struct context *ctx, const struct kban_prefix *p)
{
	char text[KBAN_PREFIX_TEXT], answer[16];

	if (wider_than(p, 8, 16))
		return cli_fail(ctx, CLI_FAILED,
				"refused: %s is wider than /8 (IPv6: /16): nobody bans that much",
				kban_prefix_format(p, text));
	if (!wider_than(p, 24, 64) || args_flag(&ctx->args, "yes") || !isatty(STDIN_FILENO))
		return 0;
	fprintf(ctx->err, "ban all of %s on every server? [y/N] ", kban_prefix_format(p, text));
	fflush(ctx->err);
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return cli_fail(ctx, CLI_FAILED, "nothing was banned");
	return 0;
}

static const struct output_column ban_columns[] = {
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},	       {"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"until", OUTPUT_TIME, 0, OUTPUT_ALL},	       {"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"enforced_on", OUTPUT_NUMBER, 0, OUTPUT_ALL}, /* null without --wait */
	{"nodes", OUTPUT_NUMBER, 0, OUTPUT_ALL},       {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct banned { /* what there is to tell of a ban that counts */
	const struct kban_event_ban *ban;
	enum kban_role role;
	const struct kban_receipt *receipt;
	bool waited;
	size_t have, all;
};

/* Only an operator's ban lasts as long as he says: a feeder's is lengthened or cut by the policy.
 */
static uint64_t banned_until(const struct banned *b)
{
	bool known = b->receipt->accepted_ms && b->role == KBAN_ROLE_OPERATOR;

	return known ? b->receipt->accepted_ms + b->ban->duration_ms : 0;
}

/* People get a sentence, before anything is waited for ... */
static void banned_say(const struct context *ctx, const struct banned *b)
{
	char text[KBAN_PREFIX_TEXT], when[TIME_TEXT];
	uint64_t until = banned_until(b);

	if (ctx->format != OUTPUT_TABLE || ctx->quiet)
		return;
	fprintf(ctx->out, "%s is banned%s%s\n", kban_prefix_format(&b->ban->prefix, text),
		until ? " until " : "", until ? time_format(when, until) : "");
	fflush(ctx->out);
}

/* ... and programs one record, when all is known. */
static int banned_record(const struct context *ctx, const struct banned *b)
{
	kban_auto(output_free) struct output *o = NULL;
	const struct kban_receipt *r = b->receipt;
	char text[KBAN_PREFIX_TEXT];

	if (ctx->format == OUTPUT_TABLE)
		return CLI_OK;
	cli_output(&o, ctx, ban_columns, NULL, 0);
	output_string(o, kban_prefix_format(&b->ban->prefix, text));
	output_string(o, kban_outcome_name(r->outcomes_n ? r->outcomes[0] : KBAN_OUTCOME_COUNTED));
	output_time(o, banned_until(b));
	output_number(o, (int64_t)r->seq);
	if (b->waited) {
		output_number(o, (int64_t)b->have);
		output_number(o, (int64_t)b->all);
	} else {
		output_null(o);
		output_null(o);
	}
	return cli_output_end(ctx, o);
}

struct covering {
	const struct context *ctx;
	const struct kban_prefix *prefix;
};

static void safe_name(void *arg, const struct kban_answer *a)
{
	const struct covering *c = arg;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		if (!kban_prefix_covers(&row->prefix, c->prefix) ||
		    (row->state != LEDGER_SAFE_ACTIVE && row->state != LEDGER_SAFE_APPROVED))
			continue;
		kban_auto(kban_free) void *author = cli_escaped(row->author.s, row->author.n);
		kban_prefix_format(&row->prefix, text);
		fprintf(c->ctx->err, "  %s, by %s: kbanctl safeacl remove %s\n", text,
			(char *)author, text);
	}
}

/* A refusal in words; for a safe range also which one. */
static int ban_words(struct session *s, const struct kban_receipt *r, const struct kban_prefix *p)
{
	char text[KBAN_PREFIX_TEXT];

	if (r->outcomes_n && r->outcomes[0] == KBAN_OUTCOME_LIMIT &&
	    !args_flag(&s->ctx->args, "force"))
		return cli_fail(
			s->ctx, CLI_FAILED,
			"refused: %s is wider than the policy lets you ban (`kbanctl policy show`: "
			"ban-min-len4, ban-min-len6); add --force if that is meant",
			kban_prefix_format(p, text));
	int code = words_receipt(s->ctx, r, kban_prefix_format(p, text));

	if (r->outcomes_n && r->outcomes[0] == KBAN_OUTCOME_SAFE &&
	    rows_each(s, KBAN_QUERY_SAFE, NULL, safe_name, &(struct covering){s->ctx, p}))
		return CLI_FAILED;
	return code;
}

static void safe_inside_name(void *arg, const struct kban_answer *a)
{
	const struct covering *c = arg;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		if (!kban_prefix_covers(c->prefix, &row->prefix) ||
		    (row->state != LEDGER_SAFE_ACTIVE && row->state != LEDGER_SAFE_APPROVED))
			continue;
		kban_auto(kban_free) void *author = cli_escaped(row->author.s, row->author.n);
		cli_say(c->ctx, "  %s in it stays safe, by %s",
			kban_prefix_format(&row->prefix, text), (char *)author);
	}
}

/* A wide ban does not reach the safe ranges inside it: they are named, lest somebody wonders. The
 * ban is made by now, so nothing that fails here changes the exit code. */
static void ban_holes(struct session *s, const struct kban_prefix *p)
{
	struct covering c = {s->ctx, p};

	if (p->len == kban_prefix_bits(p) || s->ctx->quiet ||
	    s->identity.role != KBAN_ROLE_OPERATOR)
		return;
	if (rows_each(s, KBAN_QUERY_SAFE, NULL, safe_inside_name, &c))
		cli_say(s->ctx, "which safe ranges lie in it is not known");
}

static int ban_wait(struct session *s, struct banned *b, size_t n)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	const struct kban_receipt *r = b->receipt;

	b->waited = true;
	if (!r->seq)
		return cli_fail(s->ctx, CLI_FAILED,
				"the report was in the log already; where it is, is not known");
	fleet_init(&f, s);
	client_extend(s->client, s->ctx->timeout_ms ? s->ctx->timeout_ms : WAIT_DEFAULT_MS);
	return fleet_wait(&f, r->epoch, r->seq, n, &b->have, &b->all);
}

int ban_add(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_BAN,
			       .ban = {
				       .duration_ms = BAN_DEFAULT_MS,
				       .force = args_flag(&ctx->args, "force"),
				       .rule = kban_text("operator"),
				       .count = 1,
				       .first_ms = kban_wall_ms(ctx->clock),
			       }};
	bool wait;
	size_t n;

	if (cli_prefix(ctx, &e.ban.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.ban.reason) ||
	    cli_duration(ctx, &e.ban.duration_ms, "for", KBAN_BAN_MAX_MS) ||
	    wait_take(ctx, &wait, &n))
		return CLI_USAGE;
	e.ban.last_ms = e.ban.first_ms;
	int r = width_agreed(ctx, &e.ban.prefix);
	if (!r)
		r = session_open(&s, ctx, SESSION_REPORT);
	if (!r)
		r = session_report(s, &e, 1, &receipt);
	if (!r)
		r = ban_words(s, &receipt->receipt, &e.ban.prefix);
	if (r)
		return r;
	struct banned b = {.ban = &e.ban, .role = s->identity.role, .receipt = &receipt->receipt};
	banned_say(ctx, &b);
	ban_holes(s, &e.ban.prefix);
	if (wait)
		r = ban_wait(s, &b, n);
	int shown = banned_record(ctx, &b);
	return r ? r : shown;
}

/* unban. */

struct overlap {
	const struct context *ctx;
	const struct kban_prefix *prefix;
	size_t inside, around;
	bool say; /* names what covers it */
};

static void overlap_count(void *arg, const struct kban_answer *a)
{
	struct overlap *o = arg;
	char text[KBAN_PREFIX_TEXT], left[DURATION_TEXT];

	for (size_t i = 0; i < a->bans_n; i++) {
		const struct kban_ban_row *row = &a->bans[i];
		if (row->until_ms <= a->broker_ms)
			continue;
		if (kban_prefix_covers(o->prefix, &row->prefix)) {
			o->inside++;
		} else if (kban_prefix_covers(&row->prefix, o->prefix)) {
			o->around++;
			if (o->say)
				cli_fail(o->ctx, 0,
					 "it is still banned by %s, for %s more; --covering ends "
					 "that too",
					 kban_prefix_format(&row->prefix, text),
					 duration_format(left, row->until_ms - a->broker_ms));
		}
	}
}

static const struct output_column unban_columns[] = {
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"accepted", OUTPUT_TIME, 0, OUTPUT_ALL}, {"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"ended", OUTPUT_NUMBER, 0, OUTPUT_ALL},  {"covering", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

/* For programs: how many bans ended, and how many wider ones still cover the prefix. */
static int unban_record(const struct context *ctx, const struct kban_receipt *r, const char *prefix,
			size_t ended, size_t covering)
{
	kban_auto(output_free) struct output *o = NULL;

	if (ctx->format == OUTPUT_TABLE)
		return CLI_OK;
	cli_output(&o, ctx, unban_columns, NULL, 0);
	output_string(o, prefix);
	output_string(o, kban_outcome_name(r->outcomes_n ? r->outcomes[0] : KBAN_OUTCOME_COUNTED));
	output_time(o, r->accepted_ms);
	output_number(o, (int64_t)r->seq);
	output_number(o, (int64_t)ended);
	output_number(o, (int64_t)covering);
	return cli_output_end(ctx, o);
}

static int unban_show(const struct context *ctx, const struct kban_prefix *p,
		      const struct kban_receipt *receipt, const struct overlap *before,
		      const struct overlap *after)
{
	bool covering = args_flag(&ctx->args, "covering");
	size_t ended = before->inside + (covering ? before->around : 0);
	char text[KBAN_PREFIX_TEXT];

	int r = unban_record(ctx, receipt, kban_prefix_format(p, text), ended, after->around);
	if (r)
		return r;
	if (ended)
		cli_say(ctx, "%s: %zu %s ended", text, ended, ended == 1 ? "ban" : "bans");
	if (after->around)
		return CLI_FAILED;
	if (ended)
		return CLI_OK;
	return cli_fail(ctx, CLI_NOT_FOUND,
			"%s was not banned; reports made before now will not ban it", text);
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
			       .since_ms = r->accepted_ms > DAY_MS ? r->accepted_ms - DAY_MS : 0};
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

int ban_remove(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN,
			       .unban = {.covering = args_flag(&ctx->args, "covering")}};
	struct overlap before = {.ctx = ctx, .prefix = &e.unban.prefix}, after = before;
	char text[KBAN_PREFIX_TEXT];

	if (cli_prefix(ctx, &e.unban.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.unban.reason))
		return CLI_USAGE;
	after.say = true;
	int r = session_open(&s, ctx, SESSION_REPORT);
	if (!r)
		r = rows_each(s, KBAN_QUERY_BANS, &e.unban.prefix, overlap_count, &before);
	if (!r)
		r = session_report(s, &e, 1, &receipt);
	if (!r)
		r = words_receipt(ctx, &receipt->receipt,
				  kban_prefix_format(&e.unban.prefix, text));
	if (!r)
		r = rows_each(s, KBAN_QUERY_BANS, &e.unban.prefix, overlap_count, &after);
	if (r)
		return r;
	r = unban_show(ctx, &e.unban.prefix, &receipt->receipt, &before, &after);
	int hinted = r ? 0 : unban_hint(s, &e.unban.prefix, &receipt->receipt);
	return r ? r : hinted;
}

/* bans. */

static const struct output_column list_columns[] = {
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {"until", OUTPUT_LEFT, 0, OUTPUT_ALL},
	{"since", OUTPUT_AGO, 0, OUTPUT_ALL},	 {"by", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"service", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"count", OUTPUT_NUMBER, 0, OUTPUT_ALL}, {"sources", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"reason", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	const struct context *ctx;
	struct output *o;
	struct kban_place place; /* where the first page was */
};

static void text_cell(struct output *o, struct kban_text t)
{
	if (t.n)
		output_text(o, t);
	else
		output_null(o);
}

static void bans_write(void *arg, const struct kban_answer *a)
{
	struct listing *l = arg;
	char text[KBAN_PREFIX_TEXT];

	if (!l->o) { /* the first page brings the broker's time */
		cli_output(&l->o, l->ctx, list_columns, "bans", a->broker_ms);
		l->place = a->place;
	}
	for (size_t i = 0; i < a->bans_n; i++) {
		const struct kban_ban_row *row = &a->bans[i];
		if (row->until_ms <= a->broker_ms)
			continue;
		output_string(l->o, kban_prefix_format(&row->prefix, text));
		output_time(l->o, row->until_ms);
		output_time(l->o, row->since_ms);
		output_text(l->o, row->author);
		text_cell(l->o, row->service);
		text_cell(l->o, row->rule);
		output_number(l->o, row->count);
		output_number(l->o, row->sources);
		text_cell(l->o, row->reason);
	}
}

/* For people: on which servers, and what to do. */
static int list_tell(struct session *s, const struct listing *l)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	size_t have, all;

	if (s->ctx->format != OUTPUT_TABLE || s->ctx->quiet || !output_rows(l->o))
		return CLI_OK;
	fleet_init(&f, s);
	int r = fleet_gather(&f, GATHER_MS);
	if (!r)
		r = fleet_settle(&f, l->place.epoch, l->place.seq, GATHER_MS);
	if (r)
		return r;
	fleet_count(&f, l->place.epoch, l->place.seq, &have, &all);
	cli_say(s->ctx,
		"in the kernel of %zu of %zu servers; `kbanctl why PREFIX` says why, and how to "
		"let it in",
		have, all);
	return CLI_OK;
}

int ban_list(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	const char *text = args_word(&ctx->args, 0);
	struct listing l = {.ctx = ctx};
	struct kban_prefix p;

	if (text && cli_prefix(ctx, &p, text))
		return CLI_USAGE;
	int r = session_open(&s, ctx, SESSION_ASK);
	if (!r)
		r = rows_each(s, KBAN_QUERY_BANS, text ? &p : NULL, bans_write, &l);
	if (!r)
		r = cli_output_end(ctx, l.o);
	if (!r)
		r = list_tell(s, &l);
	output_free(l.o);
	return r;
}
