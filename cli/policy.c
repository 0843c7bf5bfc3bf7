/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/policy.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/time.h"
#include "cli/trail.h"

#define DAY_MS 86400000ULL

#define ROW(n, u, member, least, most, text)                                                       \
	{                                                                                          \
		.name = n, .json = #member, .unit = u,                                             \
		.offset = offsetof(struct kban_event_policy, member),                              \
		.wide = sizeof(((struct kban_event_policy *)0)->member) == 8, .min = least,        \
		.max = most, .meaning = text                                                       \
	}

const struct policy_field policy_fields[] = {
	ROW("quota-per-hour", POLICY_NUMBER, quota_per_hour, 1, 1000000,
	    "bans that a node or feeder may make in an hour; one more puts it on hold"),
	ROW("safe-max", POLICY_NUMBER, safe_max, 0, 4096,
	    "safe ranges that a node may have; further ones wait for approval"),
	ROW("safe-min-len4", POLICY_LENGTH, safe_min_len4, 8, 32,
	    "the widest IPv4 range of a node that is safe without approval"),
	ROW("safe-min-len6", POLICY_LENGTH, safe_min_len6, 16, 128,
	    "the widest IPv6 range of a node that is safe without approval"),
	ROW("repeat-percent", POLICY_PERCENT, repeat_percent, 100, 1000,
	    "how long each further ban of a repeat offender is, of the one before; 100%: as long"),
	ROW("repeat-max", POLICY_DURATION, repeat_max_ms, 1, 366 * DAY_MS,
	    "a repeat offender's ban is lengthened up to this"),
	ROW("history", POLICY_DURATION, history_ms, DAY_MS, 3660 * DAY_MS,
	    "how long the log keeps everything, and strikes are remembered"),
	ROW("ban-min-len4", POLICY_LENGTH, ban_min_len4, 8, 32,
	    "the widest IPv4 prefix that an operator bans without --force"),
	ROW("ban-min-len6", POLICY_LENGTH, ban_min_len6, 16, 128,
	    "the widest IPv6 prefix that an operator bans without --force"),
	ROW("node-ban-max", POLICY_DURATION, node_ban_max_ms, 60000, 366 * DAY_MS,
	    "the longest single ban of a node or feeder, before it is lengthened"),
	{.name = NULL},
};

uint64_t policy_get(const struct kban_event_policy *p, const struct policy_field *f)
{
	const uint8_t *at = (const uint8_t *)p + f->offset;
	uint32_t narrow;
	uint64_t wide;

	memcpy(&narrow, at, sizeof(narrow));
	if (!f->wide)
		return narrow;
	memcpy(&wide, at, sizeof(wide));
	return wide;
}

void policy_put(struct kban_event_policy *p, const struct policy_field *f, uint64_t v)
{
	uint8_t *at = (uint8_t *)p + f->offset;
	uint32_t narrow = (uint32_t)v;

	if (f->wide)
		memcpy(at, &v, sizeof(v));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

const char *policy_value(char out[POLICY_VALUE_TEXT], const struct policy_field *f, uint64_t v)
{
	static const char *const formats[] = {
		[POLICY_NUMBER] = "", [POLICY_PERCENT] = "%", [POLICY_LENGTH] = ""};
	char text[DURATION_TEXT];

	if (f->unit == POLICY_DURATION)
		snprintf(out, POLICY_VALUE_TEXT, "%s", duration_format(text, v));
	else
		snprintf(out, POLICY_VALUE_TEXT, "%s%llu%s", f->unit == POLICY_LENGTH ? "/" : "",
			 (unsigned long long)v, formats[f->unit]);
	return out;
}

bool policies_equal(const struct kban_event_policy *a, const struct kban_event_policy *b)
{
	for (const struct policy_field *f = policy_fields; f->name; f++)
		if (policy_get(a, f) != policy_get(b, f))
			return false;
	return true;
}

char *policy_difference(const struct kban_event_policy *before,
			const struct kban_event_policy *after)
{
	char was[POLICY_VALUE_TEXT], is[POLICY_VALUE_TEXT];
	char *all = kban_strdup("");

	for (const struct policy_field *f = policy_fields; f->name; f++) {
		if (policy_get(before, f) == policy_get(after, f))
			continue;
		char *more = kban_asprintf("%s%s%s %s -> %s", all, *all ? ", " : "", f->name,
					   policy_value(was, f, policy_get(before, f)),
					   policy_value(is, f, policy_get(after, f)));
		free(all);
		all = more;
	}
	if (*all)
		return all;
	free(all);
	return kban_strdup("no change");
}

/* NAME=VALUE. */

/* quota-per-hour and quota_per_hour, history and history_ms. */
static bool name_is(const char *text, size_t n, const char *name)
{
	if (strlen(name) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((text[i] == '_' ? '-' : text[i]) != (name[i] == '_' ? '-' : name[i]))
			return false;
	return true;
}

static const struct policy_field *field_find(const char *text, size_t n, char **error)
{
	char name[ARGS_WORD];
	const char *near = NULL;

	snprintf(name, sizeof(name), "%.*s", (int)n, text);
	for (const struct policy_field *f = policy_fields; f->name; f++) {
		if (name_is(text, n, f->name) || name_is(text, n, f->json))
			return f;
		near = args_near(name, f->name) ? f->name : near;
	}
	kban_auto(kban_free) void *said = cli_escaped(name, strlen(name));
	*error = near ? kban_asprintf("unknown policy field %s; did you mean %s?", (char *)said,
				      near)
		      : kban_asprintf("unknown policy field %s; `kbanctl policy show` lists them",
				      (char *)said);
	return NULL;
}

/* False: it is no number of this unit at all. */
static bool value_parse(uint64_t *out, const struct policy_field *f, const char *text)
{
	char *end;

	if (f->unit == POLICY_DURATION)
		return duration_parse(out, text, UINT64_MAX);
	text += f->unit == POLICY_LENGTH && *text == '/';
	errno = 0;
	*out = strtoull(text, &end, 10);
	end += f->unit == POLICY_PERCENT && *end == '%';
	return !errno && *text >= '0' && *text <= '9' && !*end;
}

int policy_assign(struct kban_event_policy *p, const char *text, char **error)
{
	const char *equals = strchr(text, '=');
	char min[POLICY_VALUE_TEXT], max[POLICY_VALUE_TEXT];
	uint64_t v = 0;

	if (!equals) {
		kban_auto(kban_free) void *said = cli_escaped(text, strnlen(text, 64));
		*error = kban_asprintf(
			"%s is not NAME=VALUE, like quota-per-hour=1000 or history=90d",
			(char *)said);
		return CLI_USAGE;
	}
	const struct policy_field *f = field_find(text, (size_t)(equals - text), error);
	if (!f)
		return CLI_USAGE;
	bool value = value_parse(&v, f, equals + 1);
	if (value && v >= f->min && v <= f->max) {
		policy_put(p, f, v);
		return 0;
	}
	kban_auto(kban_free) void *said = cli_escaped(equals + 1, strnlen(equals + 1, 64));
	*error = kban_asprintf("%s=%s is %s: it takes %s to %s", f->name, (char *)said,
			       value			    ? "out of range"
			       : f->unit == POLICY_DURATION ? "no duration like 90s, 12h or 30d"
							    : "no number",
			       policy_value(min, f, f->min), policy_value(max, f, f->max));
	return CLI_USAGE;
}

/* Of two words that were parsed. */
static bool same_field(const char *a, const char *b)
{
	char *error = NULL;

	return field_find(a, strcspn(a, "="), &error) == field_find(b, strcspn(b, "="), &error);
}

int policy_assign_all(const struct context *ctx, struct kban_event_policy *p)
{
	char *error = NULL;

	for (size_t i = 0; i < ctx->args.words_n; i++) {
		if (policy_assign(p, ctx->args.words[i], &error))
			return cli_fail_with(ctx, CLI_USAGE, error);
		for (size_t k = 0; k < i; k++)
			if (same_field(ctx->args.words[i], ctx->args.words[k]))
				return cli_fail(ctx, CLI_USAGE, "%s and %s: one of them is meant",
						ctx->args.words[k], ctx->args.words[i]);
	}
	return 0;
}

/* The one in force. */

struct policy_seeking {
	struct policy_now *out;
	bool found;
};

static int policy_take(void *arg, const struct trail_row *r)
{
	struct policy_seeking *s = arg;

	for (size_t i = 0; r->check == TRAIL_CHECKED && i < r->report->events_n; i++) {
		const struct kban_event *e = &r->report->events[i];
		if (e->kind != KBAN_EVENT_POLICY || r->role != KBAN_ROLE_OPERATOR)
			continue;
		s->out->policy = e->policy;
		s->out->seq = r->row->seq;
		s->out->since_ms = r->row->accepted_ms;
		s->out->key = r->report->author;
		strcpy(s->out->author, r->author);
		s->found = true;
	}
	return 0;
}

int policy_ask(struct fleet *f, struct policy_now *out)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	struct trail t = {.fleet = f};
	struct policy_seeking s = {out, false};
	struct kban_query q = {.kind = KBAN_QUERY_POLICY};
	struct kban_log_row rows[1];

	*out = (struct policy_now){.policy = ledger_policy_default};
	int r = session_ask(f->session, &q, &m);
	if (r || !m->answer.proofs_n)
		return r;
	const struct kban_entry *e = &m->answer.proofs[0];
	rows[0] = (struct kban_log_row){
		.seq = e->seq, .accepted_ms = e->accepted_ms, .report = e->sealed};
	struct kban_answer a = {.place = m->answer.place, .log_n = 1, .log = rows};
	r = trail_page(&t, &a, policy_take, &s);
	if (r || s.found)
		return r;
	return cli_fail(f->session->ctx, CLI_FAILED,
			"FORGED: the broker shows a policy that no operator signed");
}
