/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *session_path(const struct context *ctx)
{
	return ctx->identity ? ctx->identity : CLI_IDENTITY;
}

int session_identity(const struct context *ctx, struct kban_identity *out, const char *path)
{
	unsigned line = 0;
	int r = kban_identity_load(out, path, &line);

	if (r == -ENOENT)
		return cli_fail(
			ctx, CLI_FAILED,
			"cannot use %s: it is not there; name your identity file with "
			"--identity or KBAN_IDENTITY (kbanctl init or principal join made it)",
			path);
	return r ? cli_fail_with(ctx, CLI_FAILED, kban_identity_explain(r, path, line)) : 0;
}

static uint64_t timeout_of(const struct context *ctx)
{
	return ctx->timeout_ms ? ctx->timeout_ms : CLI_TIMEOUT_MS;
}

/* Another kbanctl with this identity holds it for one round trip or so. */
static int session_lock(struct session *s)
{
	uint64_t start = kban_boot_ms(s->ctx->clock);
	int r;

	while ((r = lock_take(&s->lock, s->path)) == -EWOULDBLOCK) {
		if (kban_boot_ms(s->ctx->clock) - start >= timeout_of(s->ctx))
			return cli_fail(s->ctx, CLI_FAILED,
					"another kbanctl is reporting with %s; try again", s->path);
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
	return r ? cli_fail(s->ctx, CLI_FAILED, "cannot lock %s: %s", s->path, strerror(-r)) : 0;
}

int session_open(struct session **out, const struct context *ctx, enum session_use use)
{
	kban_auto(session_free) struct session *s = kban_zalloc(sizeof(*s));
	char *error = NULL;

	s->ctx = ctx;
	s->lock = -1;
	s->path = kban_strdup(session_path(ctx));
	int r = session_identity(ctx, &s->identity, s->path);
	if (!r && use == SESSION_REPORT)
		r = session_lock(s);
	if (r)
		return r;
	r = client_open(&s->client, &s->identity, ctx->clock, timeout_of(ctx), &error);
	if (r)
		return cli_fail_with(ctx, r, error);
	*out = s;
	s = NULL;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	client_free(s->client);
	kban_close(s->lock);
	kban_identity_wipe(&s->identity);
	free(s->path);
	free(s);
}

int session_ask(struct session *s, const struct kban_query *q, struct kban_message **answer)
{
	char *error = NULL;
	int r = client_ask(s->client, q, answer, &error);

	return r ? cli_fail_with(s->ctx, r, error) : 0;
}

uint64_t session_now_ms(const struct session *s)
{
	return client_welcome(s->client)->broker_ms;
}

/* The counter of our newest report in the log, by Welcome; a report that is not ours is a broker
 * that lies. */
static int newest_counter(struct session *s, uint64_t *out)
{
	const struct kban_welcome *w = client_welcome(s->client);
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	*out = 0;
	if (!w->has_newest)
		return 0;
	if (kban_report_decode(&r, &w->newest) ||
	    !kban_key_equal(&r->author, &s->identity.keys.sign_public) ||
	    memcmp(&r->cluster, &s->identity.cluster, sizeof(r->cluster)) ||
	    !kban_report_check(r, &w->newest))
		return cli_fail(s->ctx, CLI_FAILED,
				"broker %s says that our newest report is one that we never "
				"signed; is it stolen?",
				client_endpoint(s->client));
	*out = r->counter;
	return 0;
}

/* Spends the next counter: it is on disk before anything signed with it leaves. */
static int counter_next(struct session *s, uint64_t *out)
{
	uint64_t saved, newest;
	int r = counter_load(&saved, s->path);

	if (r == -EBADMSG)
		return cli_fail(s->ctx, CLI_FAILED, "%s.counter holds no number; delete it",
				s->path);
	if (r)
		return cli_fail(s->ctx, CLI_FAILED, "cannot read %s.counter: %s", s->path,
				strerror(-r));
	r = newest_counter(s, &newest);
	if (r)
		return r;
	*out = 1 + (saved > newest ? saved : newest);
	r = counter_save(s->path, *out);
	if (r)
		return cli_fail(s->ctx, CLI_FAILED,
				"cannot write %s.counter: %s; a report needs it", s->path,
				strerror(-r));
	return 0;
}

static int report_submit(struct session *s, struct kban_report *report,
			 struct kban_message **receipt)
{
	uint8_t *bytes = NULL;
	struct kban_sealed sealed;
	char *error = NULL;
	int r = kban_report_seal(report, &s->identity.keys, &bytes, &sealed);

	if (r)
		return cli_fail(s->ctx, CLI_FAILED, "cannot make the report: %s",
				kban_report_result_name(r));
	r = client_submit(s->client, &sealed, receipt, &error);
	free(bytes);
	return r ? cli_fail_with(s->ctx, r, error) : 0;
}

int session_submit(struct session *s, struct kban_event *events, size_t n,
		   struct kban_message **receipt)
{
	const struct kban_welcome *w = client_welcome(s->client);
	struct kban_report report = {
		.cluster = s->identity.cluster,
		.base = {w->head.epoch, w->head.seq},
		.issued_ms = kban_wall_ms(s->ctx->clock),
		.events_n = n,
		.events = events,
	};
	int r = counter_next(s, &report.counter);

	return r ? r : report_submit(s, &report, receipt);
}

int session_report(struct session *s, struct kban_event *events, size_t n,
		   struct kban_message **receipt)
{
	int r = session_submit(s, events, n, receipt);

	if (r)
		return r;
	if ((*receipt)->receipt.refusal && (*receipt)->receipt.refusal != KBAN_REFUSAL_DUPLICATE) {
		r = words_refusal(s->ctx, &(*receipt)->receipt);
		kban_message_free(*receipt);
		*receipt = NULL;
	}
	return r;
}
