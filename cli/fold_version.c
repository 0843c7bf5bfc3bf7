/* SPDX-License-Identifier: MPL-2.0
 *
 * `cluster fold-version`: switches new rules and kinds of events on for the whole fleet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fleet.h"

#define GATHER_MS 2000

static int version_take(const struct context *ctx, uint32_t *out)
{
	const char *text = args_word(&ctx->args, 0);
	char *end;

	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || !v || v > UINT32_MAX)
		return cli_fail(ctx, CLI_USAGE, "a fold version is a number, like %u",
				kban_fold_newest);
	*out = (uint32_t)v;
	if (v > kban_fold_newest)
		return cli_fail(
			ctx, CLI_FAILED,
			"this kbanctl knows fold versions up to %u; upgrade it, the broker and "
			"every node first",
			kban_fold_newest);
	return 0;
}

/* What each node says of itself, before anything is asked for. */
static void versions_say(const struct session *s, const struct verify *v, uint32_t wanted)
{
	const struct context *ctx = s->ctx;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (m->role != KBAN_ROLE_NODE || !m->granted || m->revoked_seq)
			continue;
		if (!m->answered)
			cli_say(ctx, "%s: %s; its version is not known", m->name,
				verify_state_name(m->state));
		else
			cli_say(ctx, "%s: version %s, knows fold version %u%s%s", m->name,
				m->heartbeat.version, m->heartbeat.fold_version,
				m->state == VERIFY_LIVE ? "" : ", ",
				m->state == VERIFY_LIVE ? "" : verify_state_name(m->state));
	}
	cli_say(ctx, "the ledger: %u; asked for: %u", ledger_fold_version(verify_ledger(v)),
		wanted);
}

static int version_refused(const struct context *ctx, const struct kban_receipt *r)
{
	kban_auto(kban_free) void *detail = cli_escaped(r->detail.s, r->detail.n);

	return cli_fail(
		ctx, CLI_FAILED,
		"refused: not every node knows this version yet%s%s; upgrade them, or add --force "
		"and they stop there until they are",
		r->detail.n ? ": " : "", (char *)detail);
}

static int version_report(struct session *s, struct kban_event *e, const char *text)
{
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	int r = session_submit(s, e, 1, &receipt);

	if (r)
		return r;
	const struct kban_receipt *said = &receipt->receipt;
	if (said->refusal == KBAN_REFUSAL_UPGRADE_NEEDED)
		return version_refused(s->ctx, said);
	if (said->refusal && said->refusal != KBAN_REFUSAL_DUPLICATE)
		return words_refusal(s->ctx, said);
	if (said->outcomes_n && said->outcomes[0] == KBAN_OUTCOME_OUT_OF_RANGE)
		return cli_fail(s->ctx, CLI_FAILED,
				"refused: the ledger's fold version is %u, and only the next one "
				"can follow",
				client_welcome(s->client)->fold_version);
	r = words_receipt(s->ctx, said, text);
	if (r)
		return r;
	cli_say(s->ctx, "the fleet folds by version %s from seq %llu on", text,
		(unsigned long long)said->seq);
	return words_record(s->ctx, said, WORDS_NAME, text);
}

int fold_version_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct kban_event e = {.kind = KBAN_EVENT_FOLD_VERSION,
			       .fold_version = {.force = args_flag(&ctx->args, "force")}};
	char text[16];
	int r = version_take(ctx, &e.fold_version.version);

	if (!r)
		r = session_open(&s, ctx, SESSION_REPORT);
	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_gather(&f, GATHER_MS);
	if (r)
		return r;
	versions_say(s, f.verify, e.fold_version.version);
	snprintf(text, sizeof(text), "%u", e.fold_version.version);
	return version_report(s, &e, text);
}
