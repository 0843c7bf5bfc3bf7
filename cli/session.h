/* SPDX-License-Identifier: MPL-2.0
 *
 * Somebody with an identity, connected to a broker: what nearly every command needs. One that
 * reports holds a lock on the identity file meanwhile, since an author has at most one sealed,
 * unanswered report and its counter rises. The counter of the next report is one above the higher
 * of that of the newest report which Welcome carries (checked to be ours) and the one in
 * FILE.counter beside the identity, written and fsynced before sending.
 */
#ifndef KBAN_CLI_SESSION_H
#define KBAN_CLI_SESSION_H

#include "cli/client.h"
#include "cli/command.h"

struct session {
	const struct context *ctx;
	struct kban_identity identity;
	char *path;
	int lock;
	struct client *client;
};

enum session_use {
	SESSION_ASK,
	SESSION_REPORT,
};

/* The identity that the command line names. 0 or an exit code, said. */
int session_identity(const struct context *ctx, struct kban_identity *out,
		     const char *path) kban_must_check;
const char *session_path(const struct context *ctx);
/* 0 or an exit code; what is wrong was said to ctx->err. */
int session_open(struct session **out, const struct context *ctx,
		 enum session_use use) kban_must_check;
void session_free(struct session *s);
KBAN_DEFINE_AUTO(struct session *, session_free)

/* Seals the events into one report and hands it in: *receipt is the caller's to free. A report that
 * is in the log already (`duplicate` after a lost connection) is a success without outcomes. */
int session_report(struct session *s, struct kban_event *events, size_t n,
		   struct kban_message **receipt) kban_must_check;
/* The same, and a refusal of the whole report is not said, but left in the receipt. */
int session_submit(struct session *s, struct kban_event *events, size_t n,
		   struct kban_message **receipt) kban_must_check;
int session_ask(struct session *s, const struct kban_query *q,
		struct kban_message **answer) kban_must_check;
/* Broker time, as near as it is known. */
uint64_t session_now_ms(const struct session *s);

/* FILE.counter (counter.c): *out is 0 when there is none. 0, -errno, or -EBADMSG when it holds
 * something else. */
int counter_load(uint64_t *out, const char *path) kban_must_check;
/* Replaces it atomically, mode 0600, fsynced with its folder. */
int counter_save(const char *path, uint64_t value) kban_must_check;

/* An exclusive lock on a file until the descriptor is closed (counter.c). -EWOULDBLOCK: another has
 * it. */
int lock_take(int *fd, const char *path) kban_must_check;

/* What a refusal of the whole report means, and what to do; the exit code (words.c). */
int words_refusal(const struct context *ctx, const struct kban_receipt *r);
/* The same for one event about `what` (a prefix or a name): 0 when it took effect. */
int words_outcome(const struct context *ctx, unsigned outcome, const char *what);
/* Both: of a report with n events, the first outcome that is not a success, else 0. */
int words_receipt(const struct context *ctx, const struct kban_receipt *r, const char *what);

enum words_about {
	WORDS_PREFIX,
	WORDS_NAME,
};
/* For programs: one record of what became of a report's first event; a table gets nothing. */
int words_record(const struct context *ctx, const struct kban_receipt *r, enum words_about about,
		 const char *what) kban_must_check;

#endif
