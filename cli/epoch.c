/* SPDX-License-Identifier: MPL-2.0
 *
 * `cluster accept-epoch`: an operator vouches for the ledger as it is, for nodes that took a
 * broker's state and whom no other node can confirm it. The event names the digest, so it is good
 * for exactly this ledger.
 */
#include <string.h>
#include <unistd.h>

#include "cli/fleet.h"
#include "proto/accept.h"

#define GATHER_MS 2000
#define SETTLE_MS 10000

static bool is_node(const struct verify_member *m)
{
	return m->role == KBAN_ROLE_NODE && m->granted && !m->revoked_seq;
}

static bool is_unconfirmed(const struct verify_member *m)
{
	return is_node(m) && m->answered && m->heartbeat.status & KBAN_STATUS_UNCONFIRMED;
}

static size_t count(const struct verify *v, bool unconfirmed)
{
	size_t n = 0;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		n += is_node(m) && m->fresh && is_unconfirmed(m) == unconfirmed;
	}
	return n;
}

/* What there is to accept, by the nodes' own signed words where they have one. */
static void place_say(const struct context *ctx, const struct verify *v)
{
	const struct kban_place *at = verify_place(v);
	char digest[KBAN_HEX(KBAN_HASH_SIZE)];

	cli_say(ctx, "the ledger: epoch %u, seq %llu, digest %s", at->epoch,
		(unsigned long long)at->seq,
		kban_hex(digest, verify_digest(v)->b, KBAN_HASH_SIZE));
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (!is_node(m))
			continue;
		cli_say(ctx, "%s: %s%s, agrees with that ledger: %s", m->name,
			verify_state_name(m->state),
			is_unconfirmed(m) && m->state != VERIFY_UNCONFIRMED ? ", unconfirmed" : "",
			verify_agreement_name(m->agreement));
	}
	if (count(v, false))
		cli_say(ctx, "a node is live that is not unconfirmed: it confirms the others by "
			     "itself within seconds, if it has the same ledger");
}

static int accept_agreed(const struct context *ctx)
{
	char answer[16];

	if (args_flag(&ctx->args, "yes") || !isatty(STDIN_FILENO))
		return 0;
	fprintf(ctx->err, "vouch for this ledger? [y/N] ");
	fflush(ctx->err);
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return cli_fail(ctx, CLI_FAILED, "nothing was changed");
	return 0;
}

static int epoch_report(struct session *s, const struct verify *v, struct kban_message **receipt)
{
	const struct kban_place *at = verify_place(v);
	char reason[KBAN_ACCEPT_TEXT];
	struct kban_event e = {.kind = KBAN_EVENT_EPOCH, .epoch = {.epoch = at->epoch + 1}};

	kban_accept_format(reason, at->seq, verify_digest(v));
	e.epoch.reason = kban_text(reason);
	int r = session_report(s, &e, 1, receipt);

	if (r)
		return r;
	const struct kban_receipt *said = &(*receipt)->receipt;
	if (said->outcomes_n && said->outcomes[0] == KBAN_OUTCOME_OUT_OF_RANGE)
		return cli_fail(s->ctx, CLI_FAILED,
				"refused: another epoch was begun meanwhile; run it again");
	return words_receipt(s->ctx, said, "the epoch");
}

/* Nodes that answer, and after the event are as they were. */
static int leftover_say(const struct context *ctx, const struct verify *v)
{
	size_t left = count(v, true);

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (m->fresh && is_unconfirmed(m))
			cli_say(ctx,
				"%s is still unconfirmed: its ledger is another one, or it is not "
				"there yet; see `kbanctl cluster list`",
				m->name);
	}
	return left ? CLI_DEGRADED : CLI_OK;
}

static int accept(struct fleet *f)
{
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	const struct context *ctx = f->session->ctx;
	uint32_t epoch = verify_place(f->verify)->epoch + 1;
	char text[16];
	int r = accept_agreed(ctx);

	if (!r)
		r = epoch_report(f->session, f->verify, &receipt);
	if (r)
		return r;
	const struct kban_receipt *said = &receipt->receipt;
	cli_say(ctx, "epoch %u from seq %llu on", epoch, (unsigned long long)said->seq);
	r = fleet_gather(f, GATHER_MS);
	if (!r)
		r = fleet_settle(f, epoch, said->seq, SETTLE_MS);
	if (r)
		return r;
	snprintf(text, sizeof(text), "%u", epoch);
	r = words_record(ctx, said, WORDS_NAME, text);
	return r ? r : leftover_say(ctx, f->verify);
}

int epoch_accept_run(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	int r = session_open(&s, ctx, SESSION_REPORT);

	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_gather(&f, GATHER_MS);
	if (r)
		return r;
	place_say(ctx, f.verify);
	if (verify_bad_proofs(f.verify))
		return cli_fail(ctx, CLI_FAILED,
				"FORGED: the broker's proofs are not all signed by the cluster; "
				"nothing was accepted");
	if (!count(f.verify, true)) {
		cli_say(ctx, "no node that is connected is unconfirmed: there is nothing to accept");
		return CLI_OK;
	}
	return accept(&f);
}
