/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/join.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/secret.h"
#include "cli/session.h"
#include "cli/time.h"

static uint64_t timeout_of(const struct context *ctx)
{
	return ctx->timeout_ms ? ctx->timeout_ms : CLI_TIMEOUT_MS;
}

/* Renames without ever replacing, and makes it last. */
static int file_settle(const char *from, const char *to)
{
	kban_auto(kban_free) void *copy = kban_strdup(to);

	if (link(from, to))
		return -errno;
	unlink(from);
	kban_auto(kban_close) int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 || fsync(folder) ? -errno : 0;
}

static const struct output_column columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	     {"role", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"fingerprint", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"curve_key", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"identity", OUTPUT_TEXT, 0, OUTPUT_ALL},    {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

/* For programs: who joined, and where the identity is. */
static int joined_record(const struct context *ctx, const struct kban_identity *id,
			 const char *path)
{
	kban_auto(output_free) struct output *o = NULL;
	char fingerprint[KBAN_FINGERPRINT_TEXT], hex[KBAN_HEX(KBAN_KEY_SIZE)];

	if (ctx->format == OUTPUT_TABLE)
		return CLI_OK;
	cli_output(&o, ctx, columns, NULL, 0);
	output_string(o, id->name);
	output_string(o, kban_role_name(id->role));
	output_string(o, kban_fingerprint(fingerprint, &id->keys.sign_public));
	output_string(o, kban_hex(hex, id->keys.curve_public.b, KBAN_KEY_SIZE));
	output_string(o, path);
	return cli_output_end(ctx, o);
}

static int settle(const struct context *ctx, const char *from, const char *to,
		  const struct kban_identity *id)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT];
	int r = file_settle(from, to);

	if (r)
		return cli_fail(ctx, CLI_FAILED,
				"joined, but cannot rename %s to %s: %s; do it by hand", from, to,
				strerror(-r));
	cli_say(ctx, "joined as %s %s, fingerprint %s; identity in %s", kban_role_name(id->role),
		id->name, kban_fingerprint(fingerprint, &id->keys.sign_public), to);
	return joined_record(ctx, id, to);
}

static int words_token(const struct context *ctx, const struct kban_token *t, int code, char *error)
{
	char when[TIME_TEXT];

	if (code != CLI_DENIED)
		return cli_fail_with(ctx, code, error);
	free(error);
	if (t->expires_ms <= kban_wall_ms(ctx->clock))
		return cli_fail(ctx, code, "refused: the token expired at %s; ask for a new one",
				time_format(when, t->expires_ms));
	return cli_fail(ctx, code,
			"refused: the broker does not know this token (any more): it was used or "
			"withdrawn, "
			"or is of another cluster; ask for a new one");
}

static int join_seal(struct client *c, const struct kban_token *t, const struct kban_identity *id,
		     uint64_t now_ms, uint8_t **bytes, struct kban_sealed *sealed)
{
	const struct kban_welcome *w = client_welcome(c);
	struct kban_event e = {
		.kind = KBAN_EVENT_JOIN,
		.join = {.key = id->keys.sign_public, .curve = id->keys.curve_public}};
	struct kban_report report = {
		.cluster = id->cluster,
		.counter = 1,
		.base = {w->head.epoch, w->head.seq},
		.issued_ms = now_ms,
		.events_n = 1,
		.events = &e,
	};

	kban_join_prove(&e.join, &id->keys, &id->cluster, &t->identity.keys.sign_public);
	return kban_report_seal(&report, &t->identity.keys, bytes, sealed);
}

static int receipt_words(const struct context *ctx, const struct kban_receipt *r, const char *name)
{
	if (r->refusal == KBAN_REFUSAL_DUPLICATE)
		return CLI_OK;
	return r->refusal ? words_refusal(ctx, r) : words_receipt(ctx, r, name);
}

/* Says the one sentence of a joiner. CLI_UNREACHABLE: it may or may not have been heard. */
static int join_send(const struct context *ctx, const struct kban_token *t,
		     const struct kban_identity *id)
{
	kban_auto(client_free) struct client *c = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_sealed sealed;
	uint8_t *bytes = NULL;
	char *error = NULL;
	int r = client_open(&c, &t->identity, ctx->clock, timeout_of(ctx), &error);

	if (r)
		return words_token(ctx, t, r, error);
	if (join_seal(c, t, id, kban_wall_ms(ctx->clock), &bytes, &sealed))
		return cli_fail(ctx, CLI_FAILED, "cannot make the report");
	r = client_submit(c, &sealed, &receipt, &error);
	free(bytes);
	if (r)
		return words_token(ctx, t, r, error);
	return receipt_words(ctx, &receipt->receipt, id->name);
}

/* The broker admits the new key: an earlier try got through. */
static bool is_in(const struct context *ctx, const struct kban_identity *id)
{
	kban_auto(client_free) struct client *c = NULL;
	char *error = NULL;
	int r = client_open(&c, id, ctx->clock, timeout_of(ctx), &error);

	free(error);
	return !r;
}

static int join_try(const struct context *ctx, const struct kban_token *t,
		    const struct kban_identity *id, const char *joining, const char *path,
		    bool again)
{
	int r = again && is_in(ctx, id) ? CLI_OK : join_send(ctx, t, id);

	if (r && r != CLI_UNREACHABLE &&
	    is_in(ctx, id)) /* the refusal was of a repeated sentence */
		r = CLI_OK;
	if (!r)
		return settle(ctx, joining, path, id);
	if (r == CLI_UNREACHABLE)
		cli_say(ctx, "the new key waits in %s: run the same command again", joining);
	else
		unlink(joining);
	return r;
}

/* A key left by an earlier try with the same token, or a new one. */
static int key_prepare(const struct context *ctx, const struct kban_token *t,
		       struct kban_identity *id, const char *joining, bool *again)
{
	struct kban_identity left;
	unsigned line;

	*again = !kban_identity_load(&left, joining, &line);
	if (*again && (!kban_key_equal(&left.root, &t->identity.root) ||
		       left.role != t->identity.role || strcmp(left.name, t->identity.name) != 0)) {
		kban_identity_wipe(&left);
		return cli_fail(ctx, CLI_FAILED,
				"%s is of a try with another token; delete it if that one is over",
				joining);
	}
	if (*again) {
		*id = left;
		kban_identity_wipe(&left);
		return 0;
	}
	int r = kban_identity_save(id, joining);
	return r ? cli_fail_with(ctx, CLI_FAILED, kban_identity_explain(r, joining, 0)) : 0;
}

int join_as(const struct context *ctx, const struct kban_token *t, struct kban_identity *id,
	    const char *path)
{
	kban_auto(kban_free) void *joining = kban_asprintf("%s.joining", path);
	kban_auto(kban_free) void *copy = kban_strdup(path);
	bool again = false;

	if (!access(path, F_OK))
		return cli_fail(
			ctx, CLI_FAILED,
			"%s is there already: this host has joined; to join anew, revoke its "
			"old name and move the file away",
			path);
	if (mkdir(dirname(copy), 0700) && errno != EEXIST)
		return cli_fail(ctx, CLI_FAILED, "cannot make %s: %s", (char *)copy,
				strerror(errno));
	int r = key_prepare(ctx, t, id, joining, &again);
	return r ? r : join_try(ctx, t, id, joining, path, again);
}

int join_with(const struct context *ctx, const struct kban_token *t, const char *path)
{
	struct kban_identity id = t->identity;

	kban_keypair_random(&id.keys);
	int r = join_as(ctx, t, &id, path);
	kban_identity_wipe(&id);
	return r;
}

int principals_join(struct context *ctx)
{
	struct kban_token t = {0};
	int r = secret_token(ctx, &t);

	if (!r && !strcmp(ctx->command->noun, "node") && t.identity.role != KBAN_ROLE_NODE)
		r = cli_fail(ctx, CLI_FAILED,
			     "this token is for the role %s; use `kbanctl principal join`",
			     kban_role_name(t.identity.role));
	if (!r) {
		kban_auto(kban_free) void *path =
			ctx->identity
				? kban_strdup(ctx->identity)
				: kban_asprintf("/etc/kban/%s.id", kban_role_name(t.identity.role));
		r = join_with(ctx, &t, path);
	}
	kban_identity_wipe(&t.identity);
	return r;
}
