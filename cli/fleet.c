/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet.h"

#include <string.h>

#include "cli/time.h"

#define PAUSE_MIN_MS	 2 /* between two questions; doubles */
#define PAUSE_MAX_MS	 50
#define PAUSE_UNASKED_MS 500 /* while nodes speak of themselves, every few seconds */
#define ANSWER_MS	 200 /* so long before the deadline nothing is asked any more */
#define BEHIND_MS	 500 /* how long one that is behind is waited for */

void fleet_init(struct fleet *f, struct session *s)
{
	f->session = s;
	verify_new(&f->verify, &s->identity.root);
}

void fleet_done(struct fleet *f)
{
	verify_free(f->verify);
}

static int query_pages(struct fleet *f, struct kban_query *q)
{
	for (bool first = true;; first = false) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		int r = session_ask(f->session, q, &m);
		if (r)
			return r;
		verify_page(f->verify, &m->answer, first);
		if (!m->answer.next)
			return 0;
		q->after = m->answer.next;
		q->nonce = (struct kban_text){NULL, 0};
	}
}

static int query_fresh(struct fleet *f, const uint8_t nonce[16])
{
	struct kban_query q = {.kind = KBAN_QUERY_CLUSTER};

	if (nonce)
		q.nonce = (struct kban_text){(const char *)nonce, 16};
	int r = query_pages(f, &q);
	if (!r)
		verify_judge(f->verify);
	return r;
}

int fleet_ask(struct fleet *f, bool probe)
{
	uint8_t nonce[16];

	if (!probe)
		return query_fresh(f, NULL);
	kban_random(nonce, sizeof(nonce));
	verify_nonce(f->verify, nonce);
	return query_fresh(f, nonce);
}

static bool anybody(const struct verify *v, enum verify_state state)
{
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (m->state == state && m->connected && m->role == KBAN_ROLE_NODE)
			return true;
	}
	return false;
}

int fleet_gather(struct fleet *f, uint64_t limit_ms)
{
	const struct kban_clock *clock = f->session->ctx->clock;
	uint64_t start = kban_boot_ms(clock), pause = PAUSE_MIN_MS;
	bool probe = true;

	for (;;) {
		int r = fleet_ask(f, probe);
		if (r || verify_settled(f->verify))
			return r;
		uint64_t spent = kban_boot_ms(clock) - start;
		bool silent = anybody(f->verify, VERIFY_SILENT);
		if (spent >= limit_ms || (!silent && spent >= BEHIND_MS))
			return 0;
		client_pause(f->session->client, pause);
		pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
		/* Who was behind is asked anew; who is silent still has the old question. */
		probe = !silent && anybody(f->verify, VERIFY_BEHIND);
	}
}

/* Waiting. */

/* Nodes are asked for people only. A feeder waits for what they say of themselves every few
 * seconds: it was signed after the ban all the same. */
static bool asks_nodes(const struct fleet *f)
{
	enum kban_role role = f->session->identity.role;

	return role == KBAN_ROLE_OPERATOR || role == KBAN_ROLE_READER;
}

static bool has_it(const struct fleet *f, const struct verify_member *m, uint32_t epoch,
		   uint64_t seq)
{
	const struct kban_heartbeat *h = &m->heartbeat;

	return m->granted && m->answered && (m->fresh || !asks_nodes(f)) && !m->forged &&
	       m->state != VERIFY_FORK && !(h->status & KBAN_STATUS_KERNEL_FAILED) &&
	       h->place.epoch >= epoch && h->enforced_seq >= seq;
}

static bool counts(const struct verify_member *m)
{
	return m->role == KBAN_ROLE_NODE && m->granted && !m->revoked_seq &&
	       !(m->answered && m->heartbeat.status & KBAN_STATUS_WATCHING);
}

static void wait_count(const struct fleet *f, uint32_t epoch, uint64_t seq, size_t *have,
		       size_t *all)
{
	*have = *all = 0;
	for (size_t i = 0; i < verify_members_n(f->verify); i++) {
		const struct verify_member *m = verify_member(f->verify, i);
		*all += counts(m);
		*have += counts(m) && has_it(f, m, epoch, seq);
	}
}

static int wait_missing(const struct fleet *f, uint32_t epoch, uint64_t seq, size_t have,
			size_t all)
{
	const struct context *ctx = f->session->ctx;

	cli_fail(ctx, CLI_DEGRADED, "in the kernel of %zu of %zu nodes only; not in that of:", have,
		 all);
	for (size_t i = 0; i < verify_members_n(f->verify); i++) {
		const struct verify_member *m = verify_member(f->verify, i);
		bool unasked = m->state == VERIFY_SILENT && !asks_nodes(f);
		if (counts(m) && !has_it(f, m, epoch, seq))
			fprintf(ctx->err, "  %s (%s)\n", m->name,
				unasked ? "has not said so" : verify_state_name(m->state));
	}
	return CLI_DEGRADED;
}

/* A node that answers, and whose kernel is a moment behind its ledger. */
static bool anybody_about(const struct fleet *f, uint32_t epoch, uint64_t seq)
{
	const struct verify *v = f->verify;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (counts(m) && m->fresh && m->state != VERIFY_FORK &&
		    m->state != VERIFY_KERNEL_FAILED && !has_it(f, m, epoch, seq))
			return true;
	}
	return false;
}

int fleet_settle(struct fleet *f, uint32_t epoch, uint64_t seq, uint64_t limit_ms)
{
	const struct kban_clock *clock = f->session->ctx->clock;
	uint64_t start = kban_boot_ms(clock);

	for (uint64_t pause = PAUSE_MIN_MS;
	     anybody_about(f, epoch, seq) && kban_boot_ms(clock) - start < limit_ms;
	     pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS) {
		client_pause(f->session->client, pause);
		int r = fleet_gather(f, limit_ms);
		if (r)
			return r;
	}
	return 0;
}

int fleet_wait(struct fleet *f, uint32_t epoch, uint64_t seq, size_t n, size_t *have, size_t *all)
{
	struct client *client = f->session->client;
	const struct context *ctx = f->session->ctx;
	uint64_t start = kban_boot_ms(ctx->clock), pause = PAUSE_MIN_MS;
	uint64_t longest = asks_nodes(f) ? PAUSE_MAX_MS : PAUSE_UNASKED_MS;
	char text[DURATION_TEXT];

	for (;;) {
		int r = fleet_ask(f, true);
		if (r)
			return r;
		wait_count(f, epoch, seq, have, all);
		if (n > *all)
			return cli_fail(ctx, CLI_FAILED,
					"the ban is made, but --wait %zu cannot be met: the fleet "
					"has %zu nodes",
					n, *all);
		if (*have >= (n ? n : *all))
			break;
		if (client_left_ms(client) <= longest + ANSWER_MS)
			return wait_missing(f, epoch, seq, *have, *all);
		client_pause(client, pause);
		pause = pause * 2 < longest ? pause * 2 : longest;
	}
	cli_say(ctx, "in the kernel of %zu of %zu nodes after %s", *have, *all,
		duration_format(text, kban_boot_ms(ctx->clock) - start));
	return CLI_OK;
}

/* Names. */

struct wanted {
	const char *name;
	uint64_t now_ms;
	const struct ledger_invitation *found;
};

static int invitation_named(void *arg, const struct ledger_invitation *i)
{
	struct wanted *w = arg;

	if (ledger_invitation_live(i, w->now_ms) && !strcmp(i->name, w->name))
		w->found = i;
	return 0;
}

int fleet_key(struct fleet *f, const char *name, struct kban_key *out)
{
	struct wanted w = {.name = name};
	int r = fleet_ask(f, false);

	if (r)
		return r;
	w.now_ms = verify_broker_ms(f->verify);
	const struct verify_member *m = verify_named(f->verify, name);
	ledger_invitations_each(verify_ledger(f->verify), invitation_named, &w);
	if (!m && !w.found) {
		kban_auto(kban_free) void *said = cli_escaped(name, strlen(name));
		return cli_fail(f->session->ctx, CLI_NOT_FOUND,
				"nobody is called %s; `kbanctl principal list` shows who is",
				(char *)said);
	}
	*out = m ? m->key : w.found->key;
	return 0;
}
