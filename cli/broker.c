/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/endpoint.h"
#include "cli/fleet.h"
#include "cli/join.h"

#define INVITE_MS 3600000 /* for the moment between two reports */

/* The invitation and the address that its key will have go into one report. */
static int broker_announce(struct session *s, const struct kban_token *t,
			   const struct kban_identity *id, const struct endpoint *e)
{
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	struct kban_event events[] = {
		{.kind = KBAN_EVENT_INVITE,
		 .invite =
			 {
				 .key = t->identity.keys.sign_public,
				 .curve = t->identity.keys.curve_public,
				 .role = KBAN_ROLE_BROKER,
				 .name = kban_text(id->name),
				 .duration_ms = INVITE_MS,
			 }},
		endpoint_event(e, &id->keys.curve_public),
	};
	int r = session_report(s, events, KBAN_ARRAY_LEN(events), &receipt);

	return r ? r : words_receipt(s->ctx, &receipt->receipt, id->name);
}

static void broker_make(struct kban_token *t, struct kban_identity *id, const struct session *s,
			const char *name, const struct endpoint *e)
{
	*t = (struct kban_token){.identity = s->identity};
	t->identity.role = KBAN_ROLE_BROKER;
	strcpy(t->identity.name, name);
	*id = t->identity;
	kban_keypair_random(&t->identity.keys);
	kban_keypair_random(&id->keys);
	/* The new broker's own endpoint stands first in its file. */
	if (id->brokers_n == KBAN_BROKERS_MAX)
		id->brokers_n--;
	memmove(id->brokers + 1, id->brokers, id->brokers_n * sizeof(id->brokers[0]));
	strcpy(id->brokers[0].endpoint, e->text);
	id->brokers[0].curve = id->keys.curve_public;
	id->brokers_n++;
}

static int broker_join(const struct context *ctx, const struct kban_token *t,
		       const struct kban_identity *id, const char *path)
{
	struct kban_identity joiner = *id;
	char hex[KBAN_HEX(KBAN_KEY_SIZE)];
	int r = join_as(ctx, t, &joiner, path);

	kban_identity_wipe(&joiner);
	if (!r)
		cli_say(ctx,
			"copy %s to the new broker's host; for those who shall know it, add to "
			"their identity files:\n"
			"broker %s %s",
			path, id->brokers[0].endpoint,
			kban_hex(hex, id->keys.curve_public.b, KBAN_KEY_SIZE));
	return r;
}

int broker_add(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	const char *name = args_word(&ctx->args, 0), *out = args_get(&ctx->args, "out");
	kban_auto(kban_free) void *path = out ? kban_strdup(out) : kban_asprintf("%s.id", name);
	kban_auto(kban_free) void *joining = kban_asprintf("%s.joining", (char *)path);
	struct kban_identity id;
	struct kban_token t;
	struct endpoint e;

	if (!kban_name_valid(name, strlen(name)))
		return cli_fail(ctx, CLI_USAGE,
				"a name is 1 to %u of a-z 0-9 . -, starting with a letter or digit",
				KBAN_NAME_MAX);
	int r = endpoint_take(ctx, &e, "endpoint");
	if (r)
		return r;
	if (!access(path, F_OK) || !access(joining, F_OK))
		return cli_fail(ctx, CLI_FAILED, "%s or %s is there already", (char *)path,
				(char *)joining);
	r = session_open(&s, ctx, SESSION_REPORT);
	if (r)
		return r;
	broker_make(&t, &id, s, name, &e);
	r = broker_announce(s, &t, &id, &e);
	if (!r)
		r = broker_join(ctx, &t, &id, path);
	kban_identity_wipe(&t.identity);
	kban_identity_wipe(&id);
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
