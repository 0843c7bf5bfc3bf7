/* SPDX-License-Identifier: MPL-2.0
 *
 * `bans`.
 */
#include <stdlib.h>

#include "cli/enforce.h"
#include "cli/rows.h"

#define GATHER_MS 500

static const struct output_column list_columns[] = {
	{"prefix", OUTPUT_NAME, 0, OUTPUT_ALL},	 {"until", OUTPUT_LEFT, 0, OUTPUT_ALL},
	{"since", OUTPUT_AGO, 0, OUTPUT_ALL},	 {"by", OUTPUT_NAME, 0, OUTPUT_ALL},
	{"service", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"count", OUTPUT_NUMBER, 0, OUTPUT_ALL}, {"sources", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"reason", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	const struct context *ctx;
	struct output *o;
	struct kban_place place;    /* where the first page was */
	struct kban_safe_row *held; /* ranges that count on their own node; prefix and owner */
	bool *hits;		    /* one of the bans lies in it */
	size_t held_n;
};

/* What is held for the fleet counts on its own node: there the bans inside are in no kernel. */
static void held_keep(void *arg, const struct kban_answer *a)
{
	struct listing *l = arg;

	for (size_t i = 0; i < a->safes_n; i++) {
		if (a->safes[i].state != LEDGER_SAFE_HELD)
			continue;
		l->held = kban_realloc(l->held, (l->held_n + 1) * sizeof(*l->held));
		l->hits = kban_realloc(l->hits, (l->held_n + 1) * sizeof(*l->hits));
		l->hits[l->held_n] = false;
		l->held[l->held_n++] = (struct kban_safe_row){.prefix = a->safes[i].prefix,
							      .owner = a->safes[i].owner};
	}
}

static void held_hit(struct listing *l, const struct kban_prefix *ban)
{
	for (size_t i = 0; i < l->held_n; i++)
		l->hits[i] |= kban_prefix_covers(&l->held[i].prefix, ban);
}

static bool is_excepted(const struct listing *l, const struct verify_member *m)
{
	for (size_t i = 0; i < l->held_n; i++)
		if (l->hits[i] && kban_key_equal(&l->held[i].owner, &m->key))
			return true;
	return false;
}

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
		held_hit(l, &row->prefix);
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

static struct enforce_count servers_count(const struct listing *l, const struct verify *v)
{
	struct enforce_count c = {0};

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (enforce_counts(m))
			enforce_add(&c, enforce_node(m, l->place.seq, is_excepted(l, m)));
	}
	return c;
}

static bool is_away(const void *place, const struct verify_member *m)
{
	(void)place;
	return m->state != VERIFY_UNHEARD && m->state != VERIFY_WATCHING && !m->fresh;
}

/* For people: on which servers, and what to do. */
static int list_tell(struct session *s, const struct listing *l)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};

	if (s->ctx->format != OUTPUT_TABLE || s->ctx->quiet)
		return CLI_OK;
	fleet_init(&f, s);
	int r = fleet_gather(&f, GATHER_MS);
	if (!r)
		r = fleet_settle(&f, l->place.epoch, l->place.seq, GATHER_MS);
	if (r)
		return r;
	struct enforce_count c = servers_count(l, f.verify);
	kban_auto(kban_free) void *servers = enforce_servers(&c);
	kban_auto(kban_free) void *away = enforce_list(f.verify, is_away, NULL);
	if (output_rows(l->o))
		cli_say(s->ctx,
			"in the kernel of %s; `kbanctl why PREFIX` says why, and how to let it in",
			(char *)servers);
	if (away)
		cli_say(s->ctx, "no fresh word of %s: what was let in may still be blocked there",
			(char *)away);
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
	if (!r && ctx->format == OUTPUT_TABLE)
		r = rows_each(s, KBAN_QUERY_SAFE, text ? &p : NULL, held_keep, &l);
	if (!r)
		r = rows_each(s, KBAN_QUERY_BANS, text ? &p : NULL, bans_write, &l);
	if (!r)
		r = cli_output_end(ctx, l.o);
	if (!r)
		r = list_tell(s, &l);
	output_free(l.o);
	free(l.held);
	free(l.hits);
	return r;
}
