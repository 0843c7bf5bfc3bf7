/* SPDX-License-Identifier: MPL-2.0
 *
 * `policy show`, `policy set`.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/nested.h"
#include "cli/policy.h"
#include "cli/time.h"

static const struct output_column columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {"value", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"default", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"range", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"meaning", OUTPUT_TEXT, 0, OUTPUT_ALL}, {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static int policy_table(const struct context *ctx, const struct kban_event_policy *p)
{
	kban_auto(output_free) struct output *o = NULL;
	char value[POLICY_VALUE_TEXT], least[POLICY_VALUE_TEXT], most[POLICY_VALUE_TEXT];
	char range[2 * POLICY_VALUE_TEXT + 4];

	cli_output(&o, ctx, columns, "fields", 0);
	for (const struct policy_field *f = policy_fields; f->name; f++) {
		uint64_t v = policy_get(p, f), usual = policy_get(&ledger_policy_default, f);
		output_string(o, f->name);
		output_tone(o, policy_value(value, f, v), v == usual ? OUTPUT_PLAIN : OUTPUT_WARN);
		output_string(o, policy_value(value, f, usual));
		snprintf(range, sizeof(range), "%s..%s", policy_value(least, f, f->min),
			 policy_value(most, f, f->max));
		output_string(o, range);
		output_string(o, f->meaning);
	}
	return cli_output_end(ctx, o);
}

static const char *unit_name(enum policy_unit u)
{
	static const char *const names[] = {"count", "percent", "prefix-length", "ms"};

	return names[u];
}

static const struct output_column raw_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	   {"value", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"default", OUTPUT_NUMBER, 0, OUTPUT_ALL}, {"min", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"max", OUTPUT_NUMBER, 0, OUTPUT_ALL},	   {"unit", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"since", OUTPUT_TIME, 0, OUTPUT_ALL},	   {"author", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"meaning", OUTPUT_TEXT, 0, OUTPUT_ALL},   {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static int policy_rows(const struct context *ctx, const struct policy_now *p)
{
	kban_auto(output_free) struct output *o = NULL;

	cli_output(&o, ctx, raw_columns, "fields", 0);
	for (const struct policy_field *f = policy_fields; f->name; f++) {
		output_string(o, f->name);
		output_number(o, (int64_t)policy_get(&p->policy, f));
		output_number(o, (int64_t)policy_get(&ledger_policy_default, f));
		output_number(o, (int64_t)f->min);
		output_number(o, (int64_t)f->max);
		output_string(o, unit_name(f->unit));
		output_time(o, p->since_ms);
		output_string(o, *p->author ? p->author : NULL);
		output_string(o, f->meaning);
	}
	return cli_output_end(ctx, o);
}

static void fields_write(struct nested *n, const struct kban_event_policy *p)
{
	nested_array(n, "fields");
	for (const struct policy_field *f = policy_fields; f->name; f++) {
		nested_object(n, NULL);
		nested_string(n, "name", f->name);
		nested_number(n, "value", policy_get(p, f));
		nested_number(n, "default", policy_get(&ledger_policy_default, f));
		nested_number(n, "min", f->min);
		nested_number(n, "max", f->max);
		nested_string(n, "unit", unit_name(f->unit));
		nested_string(n, "meaning", f->meaning);
		nested_end(n);
	}
	nested_end(n);
}

static void policy_write(const struct context *ctx, const struct policy_now *p)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT];
	struct nested n;

	nested_begin(&n, ctx->out, ctx->format == OUTPUT_JSON);
	nested_time(&n, "since", p->since_ms);
	nested_string(&n, "author", p->author);
	nested_string(&n, "fingerprint", p->seq ? kban_fingerprint(fingerprint, &p->key) : "");
	nested_bool(&n, "default", !p->seq);
	nested_number(&n, "seq", p->seq);
	nested_object(&n, "policy");
	for (const struct policy_field *f = policy_fields; f->name; f++)
		nested_number(&n, f->json, policy_get(&p->policy, f));
	nested_end(&n);
	fields_write(&n, &p->policy);
	nested_end(&n);
}

static void origin_say(const struct context *ctx, const struct policy_now *p)
{
	char when[TIME_TEXT], fingerprint[KBAN_FINGERPRINT_TEXT];

	if (!p->seq)
		cli_say(ctx, "it is the default; nobody has set it");
	else
		cli_say(ctx, "since %s, by %s (%s), seq %llu, signature checked here",
			time_format(when, p->since_ms), p->author,
			kban_fingerprint(fingerprint, &p->key), (unsigned long long)p->seq);
}

int policy_show_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct policy_now now;
	int r = session_open(&s, ctx, SESSION_ASK);

	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_ask(&f, false);
	if (!r)
		r = policy_ask(&f, &now);
	if (r)
		return r;
	if (ctx->format == OUTPUT_JSON || ctx->format == OUTPUT_JSONL) {
		policy_write(ctx, &now);
		return fflush(ctx->out) ? cli_fail(ctx, CLI_FAILED, "cannot write to stdout")
					: CLI_OK;
	}
	if (ctx->format != OUTPUT_TABLE)
		return policy_rows(ctx, &now);
	r = policy_table(ctx, &now.policy);
	origin_say(ctx, &now);
	return r;
}

/* set. */

static int set_agreed(const struct context *ctx, const char *difference)
{
	char answer[16];

	if (args_flag(&ctx->args, "yes") || !isatty(STDIN_FILENO))
		return 0;
	fprintf(ctx->err, "%s\nset this for the whole fleet? [y/N] ", difference);
	fflush(ctx->err);
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return cli_fail(ctx, CLI_FAILED, "nothing was changed");
	return 0;
}

static int set_report(struct session *s, const struct policy_now *before,
		      const struct kban_event_policy *after)
{
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	kban_auto(kban_free) void *difference = policy_difference(&before->policy, after);
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = *after};
	int r = 0;

	if (policies_equal(&before->policy, after)) {
		const uint32_t outcome = KBAN_OUTCOME_NO_CHANGE;
		const struct kban_receipt none = {.outcomes_n = 1, .outcomes = &outcome};
		cli_say(s->ctx, "no change: the policy is so already");
		return words_record(s->ctx, &none, WORDS_NAME, "policy");
	}
	r = set_agreed(s->ctx, difference);
	if (!r)
		r = session_report(s, &e, 1, &receipt);
	if (!r)
		r = words_receipt(s->ctx, &receipt->receipt, "the policy");
	if (r)
		return r;
	cli_say(s->ctx, "%s", (char *)difference);
	return words_record(s->ctx, &receipt->receipt, WORDS_NAME, "policy");
}

int policy_set_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct kban_event_policy after =
		ledger_policy_default; /* to see the words are right at all */
	struct policy_now now;
	int r = policy_assign_all(ctx, &after);

	if (!r)
		r = session_open(&s, ctx, SESSION_REPORT);
	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_ask(&f, false);
	if (!r)
		r = policy_ask(&f, &now);
	if (r)
		return r;
	after = now.policy;
	r = policy_assign_all(ctx, &after);
	return r ? r : set_report(s, &now, &after);
}
