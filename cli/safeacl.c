/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "cli/enforce.h"
#include "cli/fleet.h"
#include "cli/rows.h"
#include "cli/safeacl.h"

static const struct output_column columns[] = {
	{"prefix", OUTPUT_NAME, 0, OUTPUT_ALL}, {"state", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"by", OUTPUT_NAME, 0, OUTPUT_ALL},	{"role", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"since", OUTPUT_AGO, 0, OUTPUT_ALL},	{"until", OUTPUT_LEFT, 0, OUTPUT_ALL},
	{"reason", OUTPUT_TEXT, 0, OUTPUT_ALL}, {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	const struct context *ctx;
	struct output *o;
};

const char *safe_state_name(uint32_t state)
{
	static const char *const names[] = {
		[LEDGER_SAFE_ACTIVE] = "active",
		[LEDGER_SAFE_HELD] = "held",
		[LEDGER_SAFE_APPROVED] = "approved",
		[LEDGER_SAFE_REJECTED] = "rejected",
	};

	return state < KBAN_ARRAY_LEN(names) && names[state] ? names[state] : "unknown";
}

static void rows_write(void *arg, const struct kban_answer *a)
{
	struct listing *l = arg;
	char text[KBAN_PREFIX_TEXT];

	if (!l->o)
		cli_output(&l->o, l->ctx, columns, "ranges", a->broker_ms);
	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		bool counts = row->state == LEDGER_SAFE_ACTIVE ||
			      row->state == LEDGER_SAFE_APPROVED;
		output_string(l->o, kban_prefix_format(&row->prefix, text));
		output_tone(l->o, safe_state_name(row->state), counts ? OUTPUT_GOOD : OUTPUT_WARN);
		output_text(l->o, row->author);
		output_string(l->o, kban_role_name(row->role));
		output_time(l->o, row->since_ms);
		output_time(l->o, row->until_ms);
		if (row->reason.n)
			output_text(l->o, row->reason);
		else
			output_null(l->o);
	}
}

int safeacl_list(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	struct listing l = {.ctx = ctx};
	int r = session_open(&s, ctx, SESSION_ASK);

	if (!r)
		r = rows_each(s, KBAN_QUERY_SAFE, NULL, rows_write, &l);
	if (!r)
		r = cli_output_end(ctx, l.o);
	output_free(l.o);
	return r;
}

struct near_ranges {
	const struct context *ctx;
	const struct kban_prefix *prefix;
};

static void near_name(void *arg, const struct kban_answer *a)
{
	const struct near_ranges *n = arg;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		if (!kban_prefix_covers(&row->prefix, n->prefix) &&
		    !kban_prefix_covers(n->prefix, &row->prefix))
			continue;
		kban_auto(kban_free) void *author = cli_escaped(row->author.s, row->author.n);
		fprintf(n->ctx->err, "  there is %s, by %s, %s\n",
			kban_prefix_format(&row->prefix, text), (char *)author,
			safe_state_name(row->state));
	}
}

/* A range is named exactly as it is listed: those that overlap what was named are shown. */
static int range_unknown(struct session *s, const struct kban_event *e, const struct kban_prefix *p)
{
	char text[KBAN_PREFIX_TEXT];

	kban_prefix_format(p, text);
	cli_fail(s->ctx, CLI_NOT_FOUND, "%s is no %srange; `kbanctl safeacl list` shows them", text,
		 e->kind == KBAN_EVENT_SAFE_APPROVE ? "held safe " : "safe ");
	int r = rows_each(s, KBAN_QUERY_SAFE, NULL, near_name, &(struct near_ranges){s->ctx, p});
	return r ? r : CLI_NOT_FOUND;
}

static int safe_report(struct session *s, struct kban_event *e, const struct kban_prefix *p,
		       const char *done)
{
	kban_auto(kban_message_free) struct kban_message *message = NULL;
	char text[KBAN_PREFIX_TEXT];
	int r = session_report(s, e, 1, &message);

	if (r)
		return r;
	const struct kban_receipt *receipt = &message->receipt;
	if (receipt->outcomes_n && receipt->outcomes[0] == KBAN_OUTCOME_NOT_FOUND)
		return range_unknown(s, e, p);
	kban_prefix_format(p, text);
	r = words_receipt(s->ctx, receipt, text);
	if (r)
		return r;
	bool counted = receipt->outcomes_n && receipt->outcomes[0] == KBAN_OUTCOME_COUNTED;
	if (counted)
		cli_say(s->ctx, "%s %s", text, done);
	r = words_record(s->ctx, receipt, WORDS_PREFIX, text);
	if (counted && e->kind != KBAN_EVENT_SAFE_REMOVE)
		enforce_warn(s, receipt->epoch, receipt->seq, text);
	return r;
}

static int width_checked(const struct context *ctx, const struct kban_prefix *p)
{
	char text[KBAN_PREFIX_TEXT];

	kban_prefix_format(p, text);
	if (!p->len)
		return cli_fail(ctx, CLI_FAILED,
				"refused: %s is too wide: it is every address, and nothing would "
				"ever be banned",
				text);
	if (p->len < (p->family == KBAN_IPV4 ? 16 : 32) && !args_flag(&ctx->args, "force"))
		return cli_fail(
			ctx, CLI_FAILED,
			"refused: %s is wider than /16 (IPv6: /32); add --force if that is meant",
			text);
	return 0;
}

static void nested_name(void *arg, const struct kban_answer *a)
{
	const struct near_ranges *n = arg;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < a->safes_n; i++) {
		const struct kban_safe_row *row = &a->safes[i];
		if (kban_prefix_equal(&row->prefix, n->prefix) ||
		    !kban_prefix_overlaps(&row->prefix, n->prefix))
			continue;
		kban_auto(kban_free) void *author = cli_escaped(row->author.s, row->author.n);
		cli_say(n->ctx, "  it %s %s, by %s, %s",
			kban_prefix_covers(&row->prefix, n->prefix) ? "lies inside" : "holds",
			kban_prefix_format(&row->prefix, text), (char *)author,
			safe_state_name(row->state));
	}
}

/* Ranges may lie inside one another: each counts as long as it is there, so that is only named. */
static int nested_show(struct session *s, const struct kban_prefix *p)
{
	if (s->ctx->quiet || s->identity.role != KBAN_ROLE_OPERATOR)
		return 0;
	return rows_each(s, KBAN_QUERY_SAFE, NULL, nested_name, &(struct near_ranges){s->ctx, p});
}

int safeacl_add(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD,
			       .safe_add = {.force = args_flag(&ctx->args, "force")}};

	if (cli_prefix(ctx, &e.safe_add.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.safe_add.reason) ||
	    cli_duration(ctx, &e.safe_add.duration_ms, "for", KBAN_SAFE_MAX_MS))
		return CLI_USAGE;
	int r = width_checked(ctx, &e.safe_add.prefix);
	if (!r)
		r = session_open(&s, ctx, SESSION_REPORT);
	if (!r)
		r = safe_report(s, &e, &e.safe_add.prefix, "is safe; its bans are lifted");
	if (!r)
		nested_show(s, &e.safe_add.prefix);
	return r;
}

int safeacl_remove(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_REMOVE, .safe_remove = {.all = true}};

	if (cli_prefix(ctx, &e.safe_remove.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.safe_remove.reason))
		return CLI_USAGE;
	int r = session_open(&s, ctx, SESSION_REPORT);
	return r ? r : safe_report(s, &e, &e.safe_remove.prefix, "is no longer a safe range");
}

int safeacl_approve(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_APPROVE};

	if (cli_prefix(ctx, &e.safe_approve.prefix, args_word(&ctx->args, 0)) ||
	    cli_reason(ctx, &e.safe_approve.reason))
		return CLI_USAGE;
	int r = session_open(&s, ctx, SESSION_REPORT);
	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_key(&f, args_get(&ctx->args, "node"), &e.safe_approve.owner);
	return r ? r : safe_report(s, &e, &e.safe_approve.prefix, "is safe; its bans are lifted");
}
