/* SPDX-License-Identifier: MPL-2.0
 *
 * Principals of every role: `node` and `principal` commands.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/fleet.h"
#include "cli/time.h"

static bool noun_is_node(const struct context *ctx)
{
	return !strcmp(ctx->command->noun, "node");
}

static bool noun_invites(const struct context *ctx)
{
	return !strcmp(ctx->command->verb, "invite");
}

/* *out: the role that the command is about; 0 is any. */
static int role_take(const struct context *ctx, unsigned *out)
{
	const char *text = args_get(&ctx->args, "role");
	enum kban_role role = KBAN_ROLE_NODE;

	*out = noun_is_node(ctx) ? KBAN_ROLE_NODE : 0;
	if (!text)
		return 0;
	if (!kban_role_parse(&role, text) || role == KBAN_ROLE_ROOT ||
	    (noun_invites(ctx) && role == KBAN_ROLE_BROKER))
		return cli_fail(ctx, CLI_USAGE, "--role takes node, operator, feeder or reader%s",
				noun_invites(ctx) ? "; a broker is made with `kbanctl broker add`"
						  : ", or broker");
	*out = role;
	return 0;
}

static int name_take(const struct context *ctx, const char **out)
{
	*out = args_word(&ctx->args, 0);
	if (kban_name_valid(*out, strlen(*out)))
		return 0;
	return cli_fail(ctx, CLI_USAGE,
			"a name is 1 to %u of a-z 0-9 . -, starting with a letter or digit",
			KBAN_NAME_MAX);
}

/* Inviting. */

static const struct output_column token_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {"role", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"expires", OUTPUT_TIME, 0, OUTPUT_ALL}, {"token", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static int token_show(struct context *ctx, const struct kban_token *t)
{
	kban_auto(output_free) struct output *o = NULL;
	char *text = kban_token_format(t);
	int r = CLI_OK;

	if (ctx->format == OUTPUT_TABLE) {
		fprintf(ctx->out, "%s\n", text);
		r = fflush(ctx->out) ? cli_fail(ctx, CLI_FAILED, "cannot write the token") : CLI_OK;
	} else {
		cli_output(&o, ctx, token_columns, NULL, 0);
		output_string(o, t->identity.name);
		output_string(o, kban_role_name(t->identity.role));
		output_time(o, t->expires_ms);
		output_string(o, text);
		r = cli_output_end(ctx, o);
	}
	kban_wipe(text, strlen(text));
	free(text);
	return r;
}

static void token_make(struct kban_token *t, const struct session *s, const char *name,
		       enum kban_role role)
{
	*t = (struct kban_token){.identity = {.role = role,
					      .root = s->identity.root,
					      .cluster = s->identity.cluster,
					      .brokers_n = s->identity.brokers_n}};
	strcpy(t->identity.name, name);
	memcpy(t->identity.brokers, s->identity.brokers, sizeof(t->identity.brokers));
	kban_keypair_random(&t->identity.keys);
}

static int invite(struct context *ctx, const char *name, enum kban_role role, uint64_t life_ms)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_token t;
	int r = session_open(&s, ctx, SESSION_REPORT);

	if (r)
		return r;
	token_make(&t, s, name, role);
	struct kban_event e = {.kind = KBAN_EVENT_INVITE,
			       .invite = {
				       .key = t.identity.keys.sign_public,
				       .curve = t.identity.keys.curve_public,
				       .role = role,
				       .name = kban_text(name),
				       .duration_ms = life_ms,
			       }};
	r = session_report(s, &e, 1, &receipt);
	if (!r)
		r = words_receipt(ctx, &receipt->receipt, name);
	if (!r) {
		char text[DURATION_TEXT];
		uint64_t accepted = receipt->receipt.accepted_ms;
		t.expires_ms = (accepted ? accepted : session_now_ms(s)) + life_ms;
		r = token_show(ctx, &t);
		cli_say(ctx, "works once, for %s; on the server: kbanctl %s join < FILE",
			duration_format(text, life_ms),
			role == KBAN_ROLE_NODE ? "node" : "principal");
	}
	kban_identity_wipe(&t.identity);
	return r;
}

int principals_invite(struct context *ctx)
{
	uint64_t life_ms = 86400000;
	const char *name;
	unsigned role;

	if (name_take(ctx, &name) || role_take(ctx, &role) ||
	    cli_duration(ctx, &life_ms, "expires", KBAN_INVITE_MAX_MS))
		return CLI_USAGE;
	return invite(ctx, name, role, life_ms);
}

/* Listing. */

static const struct output_column list_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"role", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"state", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"address", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"since", OUTPUT_TIME, 0, OUTPUT_ALL},	  {"seen", OUTPUT_AGO, 0, OUTPUT_ALL},
	{"expires", OUTPUT_TIME, 0, OUTPUT_ALL},  {"fingerprint", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"key", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS}, {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct listing {
	struct output *o;
	unsigned role;
	bool all;
	uint64_t now_ms;
};

static void key_cells(struct output *o, const struct kban_key *key)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT], hex[KBAN_HEX(KBAN_KEY_SIZE)];

	output_string(o, kban_fingerprint(fingerprint, key));
	output_string(o, kban_hex(hex, key->b, KBAN_KEY_SIZE));
}

static const char *member_state(const struct verify_member *m)
{
	if (!m->granted)
		return "forged";
	if (m->revoked_seq)
		return "revoked";
	if (m->held)
		return "held";
	if (m->role == KBAN_ROLE_BROKER) /* nobody connects as one */
		return "granted";
	return m->connected ? "connected" : m->seen_ms ? "offline" : "unheard";
}

static void member_row(const struct listing *l, const struct verify_member *m)
{
	if ((l->role && l->role != m->role) || (m->revoked_seq && !l->all))
		return;
	output_string(l->o, m->name);
	output_string(l->o, kban_role_name(m->role));
	output_string(l->o, member_state(m));
	output_string(l->o, *m->address ? m->address : NULL);
	output_time(l->o, m->since_ms);
	output_time(l->o, m->seen_ms);
	output_null(l->o);
	key_cells(l->o, &m->key);
}

static int invitation_row(void *arg, const struct ledger_invitation *i)
{
	const struct listing *l = arg;
	bool live = ledger_invitation_live(i, l->now_ms);

	if ((l->role && l->role != i->role) || (!live && !l->all))
		return 0;
	output_string(l->o, i->name);
	output_string(l->o, kban_role_name(i->role));
	output_string(l->o, live	  ? "invited"
			    : i->used_seq ? "joined"
			    : i->revoked_seq ? "withdrawn"
					  : "expired");
	output_null(l->o);
	output_null(l->o);
	output_null(l->o);
	output_time(l->o, i->expires_ms);
	key_cells(l->o, &i->key);
	return 0;
}

int principals_list(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(output_free) struct output *o = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	struct listing l = {.all = args_flag(&ctx->args, "all")};
	int r = role_take(ctx, &l.role);

	if (!r)
		r = session_open(&s, ctx, SESSION_ASK);
	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_ask(&f, false);
	if (r)
		return r;
	l.now_ms = verify_broker_ms(f.verify);
	cli_output(&o, ctx, list_columns, noun_is_node(ctx) ? "nodes" : "principals", l.now_ms);
	l.o = o;
	for (size_t i = 0; i < verify_members_n(f.verify); i++)
		member_row(&l, verify_member(f.verify, i));
	ledger_invitations_each(verify_ledger(f.verify), invitation_row, &l);
	return cli_output_end(ctx, o);
}

/* Revoking and releasing. */

struct about { /* whom the first argument names */
	const char *name;
	struct kban_key key;
	bool member;  /* not only an invitation */
	bool revoked; /* already */
	struct kban_text why;
};

/* Who was revoked last under that name: his bans can still be purged. */
static bool revoked_find(const struct verify *v, struct about *a)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (strcmp(m->name, a->name) != 0 || m->revoked_seq <= newest)
			continue;
		newest = m->revoked_seq;
		a->key = m->key;
	}
	a->member = a->revoked = newest;
	return newest;
}

static int about_find(const struct context *ctx, struct session *s, struct about *a)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};

	fleet_init(&f, s);
	if (args_flag(&ctx->args, "purge")) {
		int r = fleet_ask(&f, false);
		if (r)
			return r;
		if (!verify_named(f.verify, a->name) && revoked_find(f.verify, a))
			return 0;
	}
	int r = fleet_key(&f, a->name, &a->key);
	if (r)
		return r;
	const struct verify_member *m = verify_named(f.verify, a->name);
	a->member = m;
	if (m && noun_is_node(ctx) && m->role != KBAN_ROLE_NODE)
		return cli_fail(ctx, CLI_NOT_FOUND,
				"%s is no node but of the role %s; use kbanctl principal", a->name,
				kban_role_name(m->role));
	return 0;
}

/* Hands in the events about one principal; `done` and `unchanged` say what became of it. */
static int about_report(struct session *s, const struct about *a, struct kban_event *e, size_t n,
			const char *done, const char *unchanged)
{
	kban_auto(kban_message_free) struct kban_message *message = NULL;
	int r = session_report(s, e, n, &message);

	if (r)
		return r;
	const struct kban_receipt *receipt = &message->receipt;
	bool same = receipt->outcomes_n == 1 && receipt->outcomes[0] == KBAN_OUTCOME_NO_CHANGE;
	if (!same)
		r = words_receipt(s->ctx, receipt, a->name);
	if (r)
		return r;
	cli_say(s->ctx, "%s: %s", a->name, same ? unchanged : done);
	return words_record(s->ctx, receipt, WORDS_NAME, a->name);
}

static int about_open(struct context *ctx, struct session **s, struct about *a)
{
	if (name_take(ctx, &a->name) || cli_reason(ctx, &a->why))
		return CLI_USAGE;
	int r = session_open(s, ctx, SESSION_REPORT);
	return r ? r : about_find(ctx, *s, a);
}

/* Nobody is shut out by himself unawares: it may be the last operator. */
static int self_spared(const struct context *ctx, const struct session *s, const struct about *a)
{
	if (args_flag(&ctx->args, "yes") || !kban_key_equal(&a->key, &s->identity.keys.sign_public))
		return 0;
	return cli_fail(
		ctx, CLI_FAILED,
		"%s is who you are: afterwards only another operator could do anything, and "
		"without one nobody could; add --yes if that is meant",
		a->name);
}

int principals_revoke(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	struct about a = {0};
	struct kban_event e[2];
	size_t n = 0;
	int r = about_open(ctx, &s, &a);

	if (!r)
		r = self_spared(ctx, s, &a);
	if (r)
		return r;
	bool purge = args_flag(&ctx->args, "purge") && a.member; /* an invitation banned nobody */
	if (!a.revoked)
		e[n++] = (struct kban_event){
			.kind = KBAN_EVENT_REVOKE,
			.revoke = {a.key, args_flag(&ctx->args, "keep-safe"), a.why}};
	if (purge)
		e[n++] = (struct kban_event){.kind = KBAN_EVENT_PURGE, .purge = {a.key, a.why}};
	return about_report(s, &a, e, n,
			    a.revoked ? "was revoked before; its bans are ended"
			    : purge   ? "revoked; its bans are ended"
				      : "revoked",
			    "was revoked before");
}

int principals_release(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	struct about a = {0};
	int r = about_open(ctx, &s, &a);

	if (r)
		return r;
	struct kban_event e = {.kind = KBAN_EVENT_RELEASE, .release = {a.key, a.why}};
	return about_report(s, &a, &e, 1, "released", "was not on hold");
}
