/* SPDX-License-Identifier: MPL-2.0
 *
 * `ban`.
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

	bool limit = r->outcomes_n && r->outcomes[0] == KBAN_OUTCOME_LIMIT;

	if (limit && s->identity.role != KBAN_ROLE_OPERATOR)
		return cli_fail(s->ctx, CLI_FAILED,
				"refused: a %s bans single IPv4 addresses and whole IPv6 /64 "
				"networks only, and %s is neither",
				kban_role_name(s->identity.role), kban_prefix_format(p, text));
	if (limit && !args_flag(&s->ctx->args, "force"))
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
	if (r)
		return r;
	e.ban.rule = kban_text(kban_role_name(s->identity.role));
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
