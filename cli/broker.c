/* SPDX-License-Identifier: MPL-2.0 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/endpoint.h"
#include "cli/fleet.h"
#include "cli/join.h"

#define INVITE_MS 3600000 /* for the moment between two reports */

/* A further broker comes about in three steps: it is invited, it joins, and its address is
 * announced, last, so that no step leaves an address behind that belongs to nobody. Its new key is
 * on disk from the second step on; the same command goes on from there. */

/* Made of the new broker's own seed, so that a command that goes on needs no token. */
static void invitation_keys(struct kban_keypair *out, const struct kban_identity *id)
{
	struct kban_span seed = kban_span(id->keys.seed, sizeof(id->keys.seed));
	struct kban_hash hash;

	kban_hash_spans(&hash, "kban broker invitation v1", &seed, 1);
	kban_keypair_from_seed(out, hash.b);
	sodium_memzero(&hash, sizeof(hash));
}

static int broker_report(struct session *s, struct kban_event *e, const char *name)
{
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	int r = session_report(s, e, 1, &receipt);

	return r ? r : words_receipt(s->ctx, &receipt->receipt, name);
}

static int broker_invite(struct session *s, const struct kban_identity *id)
{
	struct kban_keypair k;
	struct kban_event e = {.kind = KBAN_EVENT_INVITE,
			       .invite = {.role = KBAN_ROLE_BROKER,
					  .name = kban_text(id->name),
					  .duration_ms = INVITE_MS}};

	invitation_keys(&k, id);
	e.invite.key = k.sign_public;
	e.invite.curve = k.curve_public;
	kban_keypair_wipe(&k);
	return broker_report(s, &e, id->name);
}

static int broker_announce(struct session *s, const struct kban_identity *id,
			   const struct endpoint *endpoint)
{
	struct kban_event e = endpoint_event(endpoint, &id->keys.curve_public);

	return broker_report(s, &e, id->name);
}

static void broker_make(struct kban_identity *id, const struct session *s, const char *name,
			const struct endpoint *e)
{
	struct kban_broker_ref *own;

	*id = s->identity;
	id->role = KBAN_ROLE_BROKER;
	strcpy(id->name, name);
	kban_keypair_random(&id->keys);
	/* The new broker's own endpoint stands last: nobody listens there yet. */
	if (id->brokers_n == KBAN_BROKERS_MAX)
		id->brokers_n--;
	own = &id->brokers[id->brokers_n++];
	*own = (struct kban_broker_ref){.curve = id->keys.curve_public};
	strcpy(own->endpoint, e->text);
}

static const char *own_endpoint(const struct kban_identity *id)
{
	return id->brokers_n ? id->brokers[id->brokers_n - 1].endpoint : "";
}

static int broker_join(const struct session *s, const struct kban_identity *id, const char *path)
{
	kban_auto(kban_identity_wipe) struct kban_identity joiner = *id;
	struct kban_token t = {.identity = s->identity,
			       .expires_ms = kban_wall_ms(s->ctx->clock) + INVITE_MS};

	t.identity.role = id->role;
	strcpy(t.identity.name, id->name);
	invitation_keys(&t.identity.keys, id);
	int r = join_as(s->ctx, &t, &joiner, path);
	kban_identity_wipe(&t.identity);
	return r;
}

/* What an earlier try left. */
enum left {
	LEFT_NOTHING,
	LEFT_JOINING, /* invited */
	LEFT_JOINED,
};

static int left_read(const struct context *ctx, struct kban_identity *id, const char *path,
		     const struct endpoint *e, bool *there)
{
	const char *name = args_word(&ctx->args, 0);
	unsigned line;

	*there = !access(path, F_OK);
	if (!*there)
		return 0;
	if (!kban_identity_load(id, path, &line) && id->role == KBAN_ROLE_BROKER &&
	    !strcmp(id->name, name) && !strcmp(own_endpoint(id), e->text))
		return 0;
	return cli_fail(ctx, CLI_FAILED,
			"%s is there already, and not from adding %s at %s; move it away, or name "
			"another file with --out",
			path, name, e->text);
}

static int left_find(const struct context *ctx, struct kban_identity *id, const char *path,
		     const struct endpoint *e, enum left *left)
{
	kban_auto(kban_free) void *joining = kban_asprintf("%s.joining", path);
	bool joined, invited = false;
	int r = left_read(ctx, id, path, e, &joined);

	if (!r && !joined)
		r = left_read(ctx, id, joining, e, &invited);
	*left = joined ? LEFT_JOINED : invited ? LEFT_JOINING : LEFT_NOTHING;
	return r;
}

static int broker_steps(struct session *s, struct kban_identity *id, const struct endpoint *e,
			const char *path, enum left left)
{
	int r = 0;

	if (left == LEFT_NOTHING) {
		broker_make(id, s, args_word(&s->ctx->args, 0), e);
		r = broker_invite(s, id);
	} else if (!kban_key_equal(&id->root, &s->identity.root)) {
		return cli_fail(s->ctx, CLI_FAILED, "%s is of another cluster; move it away", path);
	}
	if (!r && left != LEFT_JOINED)
		r = broker_join(s, id, path);
	return r ? r : broker_announce(s, id, e);
}

static void broker_say(const struct context *ctx, const struct kban_identity *id, const char *path)
{
	char hex[KBAN_HEX(KBAN_KEY_SIZE)];

	cli_say(ctx,
		"copy %s to the new broker's host; for those who shall know it, add to their "
		"identity files:\n"
		"broker %s %s",
		path, own_endpoint(id), kban_hex(hex, id->keys.curve_public.b, KBAN_KEY_SIZE));
}

int broker_add(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(kban_identity_wipe) struct kban_identity id = {0};
	const char *name = args_word(&ctx->args, 0), *out = args_get(&ctx->args, "out");
	kban_auto(kban_free) void *path = out ? kban_strdup(out) : kban_asprintf("%s.id", name);
	struct endpoint e;
	enum left left;

	if (!kban_name_valid(name, strlen(name)))
		return cli_fail(ctx, CLI_USAGE,
				"a name is 1 to %u of a-z 0-9 . -, starting with a letter or digit",
				KBAN_NAME_MAX);
	int r = endpoint_take(ctx, &e, "endpoint");
	if (!r)
		r = left_find(ctx, &id, path, &e, &left);
	if (!r)
		r = session_open(&s, ctx, SESSION_REPORT);
	if (!r)
		r = broker_steps(s, &id, &e, path, left);
	if (!r)
		broker_say(ctx, &id, path);
	return r;
}

/* Listing. */

static const struct output_column list_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	     {"endpoint", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"addresses", OUTPUT_LIST, 0, OUTPUT_ALL},   {"state", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"fingerprint", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"curve_key", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	struct output *o;
	const struct ledger *ledger;
};

static int broker_row(void *arg, const struct ledger_broker *b)
{
	const struct listing *l = arg;
	const struct ledger_principal *p = ledger_principal_by_curve(l->ledger, &b->curve);
	kban_auto(kban_free) void *addresses = endpoint_addresses(b->addresses, b->addresses_n);
	char fingerprint[KBAN_FINGERPRINT_TEXT], hex[KBAN_HEX(KBAN_KEY_SIZE)];

	output_string(l->o, p ? p->name : NULL);
	output_string(l->o, b->endpoint);
	output_string(l->o, addresses);
	output_string(l->o, !p ? "announced" : p->revoked_seq ? "revoked" : "granted");
	output_string(l->o, p ? kban_fingerprint(fingerprint, &p->key) : NULL);
	output_string(l->o, kban_hex(hex, b->curve.b, KBAN_KEY_SIZE));
	return 0;
}

int broker_list(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(output_free) struct output *o = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	int r = session_open(&s, ctx, SESSION_ASK);

	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_ask(&f, false);
	if (r)
		return r;
	cli_output(&o, ctx, list_columns, "brokers", verify_broker_ms(f.verify));
	ledger_brokers_each(verify_ledger(f.verify), broker_row,
			    &(struct listing){o, verify_ledger(f.verify)});
	return cli_output_end(ctx, o);
}
