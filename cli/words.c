/* SPDX-License-Identifier: MPL-2.0
 *
 * What came of a report, in words that say what to do next.
 */
#include "cli/session.h"

struct words {
	int code;
	const char *text; /* may hold one %s: what it is about */
};

static const struct words outcomes[KBAN_OUTCOMES] = {
	[KBAN_OUTCOME_COUNTED] = {CLI_OK, "%s: done"},
	[KBAN_OUTCOME_HISTORY] = {CLI_FAILED,
				  "%s was taken into the history only: the report was too old"},
	[KBAN_OUTCOME_HELD] = {CLI_OK, "%s is held until an operator approves it"},
	[KBAN_OUTCOME_SAFE] = {CLI_FAILED,
			       "refused: %s is in SafeAcl; `kbanctl safeacl list` shows by whom, "
			       "`kbanctl safeacl remove` takes a range out"},
	[KBAN_OUTCOME_NEVER_BAN] =
		{CLI_FAILED,
		 "refused: %s holds loopback, link-local, multicast or a broker's address, "
		 "which are never banned"},
	[KBAN_OUTCOME_LIMIT] = {CLI_FAILED,
				"refused: %s is wider than this identity's role may name, or "
				"lasts longer than the policy allows"},
	[KBAN_OUTCOME_UNBANNED] =
		{CLI_FAILED, "refused: %s was unbanned by another operator meanwhile; run it again "
			     "if the ban is still meant"},
	[KBAN_OUTCOME_OVER_QUOTA] =
		{CLI_FAILED, "refused: over the quota; an operator releases you with `kbanctl node "
			     "release`"},
	[KBAN_OUTCOME_DENIED] = {CLI_DENIED, "denied: this identity's role may not do that to %s"},
	[KBAN_OUTCOME_NOT_FOUND] = {CLI_NOT_FOUND, "not found: %s"},
	[KBAN_OUTCOME_NO_CHANGE] = {CLI_OK, "%s is so already"},
	[KBAN_OUTCOME_NAME_TAKEN] =
		{CLI_FAILED,
		 "refused: the name %s is taken by a live principal or invitation; revoke "
		 "it first, or use another"},
	[KBAN_OUTCOME_KEY_USED] =
		{CLI_FAILED,
		 "refused: this key was granted or invited before; run it again, with a new one"},
	[KBAN_OUTCOME_USED] = {CLI_DENIED,
			       "refused: the token was used already; ask for a new one"},
	[KBAN_OUTCOME_EXPIRED] = {CLI_DENIED, "refused: the token has expired; ask for a new one"},
	[KBAN_OUTCOME_BAD_PROOF] = {CLI_FAILED, "refused: the proof of the new key is wrong"},
	[KBAN_OUTCOME_OUT_OF_RANGE] = {CLI_FAILED, "refused: out of range"},
	[KBAN_OUTCOME_FULL] = {CLI_FAILED, "refused: a table of the ledger is full; %s"},
};

static const struct words refusals[KBAN_REFUSALS] = {
	[KBAN_REFUSAL_MALFORMED] =
		{CLI_FAILED,
		 "the broker cannot read the report; are both programs of the same version?"},
	[KBAN_REFUSAL_TOO_LARGE] = {CLI_FAILED, "the report is too large"},
	[KBAN_REFUSAL_UNKNOWN_EVENT] =
		{CLI_FAILED, "the broker does not know this kind of event yet; upgrade it first"},
	[KBAN_REFUSAL_BAD_SIGNATURE] = {CLI_DENIED,
					"the signature is not that of the identity's key"},
	[KBAN_REFUSAL_WRONG_CLUSTER] =
		{CLI_DENIED, "this identity or token is of another cluster than the broker's"},
	[KBAN_REFUSAL_UNKNOWN_AUTHOR] =
		{CLI_DENIED, "this key is unknown to the cluster: the token expired, or is of "
			     "another cluster; ask for a new one"},
	[KBAN_REFUSAL_NOT_YOURS] =
		{CLI_DENIED, "the report is signed by another key than the one that sent it"},
	[KBAN_REFUSAL_REVOKED] = {CLI_DENIED, "this key was revoked"},
	[KBAN_REFUSAL_COUNTER_CONFLICT] =
		{CLI_FAILED,
		 "somebody else reports with the same key (counter-conflict): if this is "
		 "no copy of yours, revoke it"},
	[KBAN_REFUSAL_COUNTER_STALE] =
		{CLI_FAILED, "another report with the same key came first (counter-stale); run it "
			     "again. If nobody else uses this identity, revoke it"},
	[KBAN_REFUSAL_BASE_AHEAD] =
		{CLI_FAILED, "the broker's log is behind where it was a moment ago (base-ahead)"},
	[KBAN_REFUSAL_ON_HOLD] =
		{CLI_DENIED, "this principal is on hold; an operator runs `kbanctl node release`"},
	[KBAN_REFUSAL_DISK_FULL] = {CLI_FAILED, "the broker's disk is full; nothing was recorded"},
	[KBAN_REFUSAL_CLOCK_SUSPECT] =
		{CLI_FAILED, "the broker doubts its clock; nothing was recorded. Synchronise it"},
	[KBAN_REFUSAL_RECOVERING] = {CLI_FAILED, "the broker is recovering; nothing was recorded"},
	[KBAN_REFUSAL_OLD_EPOCH] = {CLI_FAILED,
				    "the report is of an older epoch of the log; run it again"},
	[KBAN_REFUSAL_UPGRADE_NEEDED] = {CLI_FAILED,
					 "this kbanctl is too old for the cluster; upgrade it"},
	[KBAN_REFUSAL_DENIED] = {CLI_DENIED, "this identity's role may not do that"},
	[KBAN_REFUSAL_INVITATION_USED] =
		{CLI_DENIED, "the token was used already; if that was not you, revoke who did, and "
			     "ask for a new one"},
	[KBAN_REFUSAL_STOPPING] = {CLI_UNREACHABLE, "the broker is stopping; run it again"},
};

int words_refusal(const struct context *ctx, const struct kban_receipt *r)
{
	kban_auto(kban_free) void *detail = cli_escaped(r->detail.s, r->detail.n);
	const struct words *w = r->refusal < KBAN_REFUSALS ? &refusals[r->refusal] : NULL;

	if (!w || !w->text)
		return cli_fail(ctx, CLI_FAILED, "the broker refuses the report: %s%s%s",
				kban_refusal_name(r->refusal), r->detail.n ? ": " : "",
				(char *)detail);
	return cli_fail(ctx, w->code, "refused: %s%s%s%s", w->text, r->detail.n ? " (" : "",
			(char *)detail, r->detail.n ? ")" : "");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the const rows above */
static int outcome_say(const struct context *ctx, const struct words *w, const char *what)
{
	kban_auto(kban_free) void *text = kban_asprintf(w->text, what);

	if (w->code)
		return cli_fail(ctx, w->code, "%s", (char *)text);
	cli_say(ctx, "%s", (char *)text);
	return CLI_OK;
}
#pragma GCC diagnostic pop

int words_outcome(const struct context *ctx, unsigned outcome, const char *what)
{
	if (outcome == KBAN_OUTCOME_COUNTED)
		return CLI_OK;
	if (outcome >= KBAN_OUTCOMES || !outcomes[outcome].text)
		return cli_fail(ctx, CLI_FAILED, "%s: the broker answers %s", what,
				kban_outcome_name(outcome));
	return outcome_say(ctx, &outcomes[outcome], what);
}

int words_receipt(const struct context *ctx, const struct kban_receipt *r, const char *what)
{
	int result = CLI_OK;

	for (size_t i = 0; i < r->outcomes_n && !result; i++)
		result = words_outcome(ctx, r->outcomes[i], what);
	return result;
}

static const struct output_column prefix_columns[] = {
	{"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"accepted", OUTPUT_TIME, 0, OUTPUT_ALL}, {"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static const struct output_column name_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"accepted", OUTPUT_TIME, 0, OUTPUT_ALL}, {"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

int words_record(const struct context *ctx, const struct kban_receipt *r, enum words_about about,
		 const char *what)
{
	kban_auto(output_free) struct output *o = NULL;

	if (ctx->format == OUTPUT_TABLE)
		return CLI_OK;
	cli_output(&o, ctx, about == WORDS_NAME ? name_columns : prefix_columns, NULL, 0);
	output_string(o, what);
	output_string(o, kban_outcome_name(r->outcomes_n ? r->outcomes[0] : KBAN_OUTCOME_COUNTED));
	output_time(o, r->accepted_ms);
	if (r->seq)
		output_number(o, (int64_t)r->seq);
	else
		output_null(o); /* nothing counted, or where it stands is not known */
	return cli_output_end(ctx, o);
}
