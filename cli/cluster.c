/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "cli/fleet.h"
#include "cli/time.h"

#define GATHER_MS	2000
#define HEARTBEAT_CELLS 15

static enum output_tone state_tone(enum verify_state s)
{
	switch (s) {
	case VERIFY_LIVE:
		return OUTPUT_GOOD;
	case VERIFY_BEHIND:
	case VERIFY_HELD:
	case VERIFY_CLOCK_OFF:
	case VERIFY_WATCHING:
	case VERIFY_UNCONFIRMED:
	case VERIFY_UNHEARD:
	case VERIFY_REVOKED:
		return OUTPUT_WARN;
	case VERIFY_LOG_MISSING:
	case VERIFY_DISK_FULL:
	case VERIFY_UPGRADE_NEEDED:
	case VERIFY_KERNEL_FAILED:
	case VERIFY_SILENT:
	case VERIFY_OFFLINE:
	case VERIFY_WITHHELD:
	case VERIFY_FORK:
	case VERIFY_FORGED:
		return OUTPUT_BAD;
	}
	return OUTPUT_BAD;
}

static const struct output_column list_columns[] = {
	{"name", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"address", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"version", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"state", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"seen", OUTPUT_AGO, 0, OUTPUT_ALL},
	{"epoch", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"lag", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"agrees", OUTPUT_TEXT, 0, OUTPUT_PEOPLE},
	{"agrees", OUTPUT_BOOL, 0,
	 OUTPUT_PROGRAMS}, /* at its place or an older one; null: nothing to compare */
	{"enforced", OUTPUT_TEXT, 0, OUTPUT_PEOPLE},
	{"bans_enforced", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"bans_wanted", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"enforced_seq", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"clock", OUTPUT_TEXT, 0, OUTPUT_PEOPLE},
	{"clock_offset_ms", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"chain", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"digest", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"outbox", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"repairs", OUTPUT_NUMBER, 0, OUTPUT_PROGRAMS},
	{"key", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{"fingerprint", OUTPUT_TEXT, 0, OUTPUT_PROGRAMS},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static void hex_cell(struct output *o, const uint8_t *bytes, size_t n)
{
	char text[KBAN_HEX(KBAN_HASH_SIZE)];

	output_string(o, kban_hex(text, bytes, n));
}

static void text_or_null(struct output *o, const char *s)
{
	output_string(o, *s ? s : NULL);
}

static void enforced_cell(struct output *o, const struct kban_heartbeat *h)
{
	char text[48];

	snprintf(text, sizeof(text), "%llu/%llu", (unsigned long long)h->bans_enforced,
		 (unsigned long long)h->bans_wanted);
	output_tone(o, text, h->bans_enforced == h->bans_wanted ? OUTPUT_PLAIN : OUTPUT_WARN);
}

static void clock_cells(struct output *o, const struct verify_member *m)
{
	char text[48];

	if (!m->fresh || !m->seen_ms) {
		output_null(o);
		output_null(o);
		return;
	}
	snprintf(text, sizeof(text), "%+.3fs", (double)m->clock_offset_ms / 1000);
	output_string(o, text);
	output_number(o, m->clock_offset_ms);
}

static void agrees_cells(struct output *o, enum verify_agreement a)
{
	output_tone(o, verify_agreement_name(a), a == VERIFY_DISAGREES ? OUTPUT_BAD : OUTPUT_PLAIN);
	if (a == VERIFY_UNKNOWN)
		output_null(o);
	else
		output_bool(o, a != VERIFY_DISAGREES);
}

/* The columns that a heartbeat fills: "epoch" to "repairs", HEARTBEAT_CELLS of them. */
static void heartbeat_cells(struct output *o, const struct verify *v, const struct verify_member *m)
{
	const struct kban_heartbeat *h = &m->heartbeat;
	uint64_t head = verify_place(v)->seq;

	output_number(o, h->place.epoch);
	output_number(o, (int64_t)h->place.seq);
	output_number(o, head > h->place.seq ? (int64_t)(head - h->place.seq) : 0);
	agrees_cells(o, m->agreement);
	enforced_cell(o, h);
	output_number(o, (int64_t)h->bans_enforced);
	output_number(o, (int64_t)h->bans_wanted);
	output_number(o, (int64_t)h->enforced_seq);
	clock_cells(o, m);
	hex_cell(o, h->place.chain.b, KBAN_HASH_SIZE);
	hex_cell(o, h->digest.b, KBAN_HASH_SIZE);
	output_number(o, (int64_t)h->outbox);
	output_number(o, (int64_t)h->repairs);
}

static void member_row(struct output *o, const struct verify *v, const struct verify_member *m)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT];

	output_string(o, m->name);
	text_or_null(o, m->address);
	text_or_null(o, m->heartbeat.version);
	output_tone(o, verify_state_name(m->state), state_tone(m->state));
	output_time(o, m->seen_ms);
	if (m->answered)
		heartbeat_cells(o, v, m);
	for (int i = 0; i < HEARTBEAT_CELLS && !m->answered; i++)
		output_null(o);
	hex_cell(o, m->key.b, KBAN_KEY_SIZE);
	output_string(o, kban_fingerprint(fingerprint, &m->key));
}

static bool member_shown(const struct context *ctx, const struct verify_member *m)
{
	if (m->state == VERIFY_FORGED)
		return true;
	return m->role == KBAN_ROLE_NODE &&
	       (m->state != VERIFY_REVOKED || args_flag(&ctx->args, "all"));
}

/* What to do about it; NULL: nothing, or alarms_say() has it. */
static const char *state_remedy(enum verify_state s)
{
	switch (s) {
	case VERIFY_HELD:
		return "is over its quota: what it reports waits until `kbanctl node release %s`";
	case VERIFY_UNCONFIRMED:
		return "took its state from the broker, and no other node has confirmed it yet; it "
		       "enforces "
		       "it. That passes as soon as another live node is at the same place; if "
		       "none is left that could say so for %s: kbanctl cluster accept-epoch";
	case VERIFY_UPGRADE_NEEDED:
		return "is too old for the fleet's rules and folds no further; it enforces what it "
		       "has. "
		       "Upgrade kban-node on %s";
	case VERIFY_KERNEL_FAILED:
		return "cannot write to its kernel: its bans are not enforced. See kban-node's "
		       "journal on %s";
	case VERIFY_LOG_MISSING:
		return "cannot read the log that it watches. See kban-node's journal on %s";
	case VERIFY_DISK_FULL:
		return "has a full disk: it enforces, and keeps nothing new. Make room on %s";
	case VERIFY_CLOCK_OFF:
		return "has a clock that is off by more than a minute. Synchronise it on %s";
	case VERIFY_LIVE:
	case VERIFY_BEHIND:
	case VERIFY_WATCHING:
	case VERIFY_SILENT:
	case VERIFY_OFFLINE:
	case VERIFY_UNHEARD:
	case VERIFY_WITHHELD:
	case VERIFY_FORK:
	case VERIFY_FORGED:
	case VERIFY_REVOKED:
		return NULL;
	}
	return NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the constants above */
static void remedies_say(const struct context *ctx, const struct verify *v)
{
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		const char *remedy = m->role == KBAN_ROLE_NODE ? state_remedy(m->state) : NULL;
		if (!remedy)
			continue;
		kban_auto(kban_free) void *text = kban_asprintf(remedy, m->name);
		cli_say(ctx, "%s %s", m->name, (char *)text);
	}
}
#pragma GCC diagnostic pop

/* What must not be overlooked, and what it means. */
static void alarms_say(const struct context *ctx, const struct verify *v)
{
	if (verify_bad_proofs(v))
		cli_fail(ctx, 0,
			 "FORGED: %llu of the broker's proofs carry no valid signature of the "
			 "cluster",
			 (unsigned long long)verify_bad_proofs(v));
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		kban_auto(kban_free) void *name = cli_escaped(m->name, strlen(m->name));
		if (m->state == VERIFY_FORGED && m->granted)
			cli_fail(ctx, 0,
				 "FORGED: the broker shows a heartbeat of %s that %s did not sign",
				 (char *)name, (char *)name);
		else if (m->state == VERIFY_FORGED)
			cli_fail(ctx, 0,
				 "FORGED: the broker lists %s, whose key no operator let in",
				 (char *)name);
		else if (m->state == VERIFY_FORK)
			cli_fail(ctx, 0,
				 "FORK: the log that %s has is not the broker's: one of them was "
				 "changed or rolled back",
				 (char *)name);
	}
}

static void summary_say(const struct context *ctx, const struct verify *v)
{
	const struct kban_place *at = verify_place(v);
	size_t live = 0, nodes = 0, agree = 0;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (m->role != KBAN_ROLE_NODE || m->state == VERIFY_REVOKED || !m->granted)
			continue;
		nodes++;
		live += m->state == VERIFY_LIVE;
		agree += m->state == VERIFY_LIVE && m->agreement == VERIFY_AGREES;
	}
	cli_say(ctx, "%zu of %zu nodes live, %zu agree with the broker at seq %llu of epoch %u",
		live, nodes, agree, (unsigned long long)at->seq, at->epoch);
}

/* What json says of the broker, beside the nodes. */
static char *broker_head(const struct session *s, const struct verify *v)
{
	char cluster[KBAN_HEX(KBAN_CLUSTER_SIZE)], chain[KBAN_HEX(KBAN_HASH_SIZE)];
	char digest[KBAN_HEX(KBAN_HASH_SIZE)], now[TIME_TEXT];
	const struct kban_place *at = verify_place(v);

	return kban_asprintf(
		"\"cluster\": \"%s\", \"broker\": {\"endpoint\": \"%s\", \"epoch\": %u, \"seq\": "
		"%llu, "
		"\"chain\": \"%s\", \"digest\": \"%s\", \"time\": \"%s\", \"time_s\": %llu}, "
		"\"bad_proofs\": %llu, ",
		kban_hex(cluster, s->identity.cluster.b, KBAN_CLUSTER_SIZE),
		client_endpoint(s->client), at->epoch, (unsigned long long)at->seq,
		kban_hex(chain, at->chain.b, KBAN_HASH_SIZE),
		kban_hex(digest, verify_digest(v)->b, KBAN_HASH_SIZE),
		time_format(now, verify_broker_ms(v)),
		(unsigned long long)verify_broker_ms(v) / 1000,
		(unsigned long long)verify_bad_proofs(v));
}

static uint64_t gather_limit(const struct context *ctx)
{
	return ctx->timeout_ms && ctx->timeout_ms < GATHER_MS ? ctx->timeout_ms : GATHER_MS;
}

int cluster_list(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	kban_auto(output_free) struct output *o = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	int r = session_open(&s, ctx, SESSION_ASK);

	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_gather(&f, gather_limit(ctx));
	if (r)
		return r;
	kban_auto(kban_free) void *head = broker_head(s, f.verify);
	cli_output_with(&o, ctx, list_columns, "nodes", verify_broker_ms(f.verify), head);
	for (size_t i = 0; i < verify_members_n(f.verify); i++)
		if (member_shown(ctx, verify_member(f.verify, i)))
			member_row(o, f.verify, verify_member(f.verify, i));
	r = cli_output_end(ctx, o);
	alarms_say(ctx, f.verify);
	remedies_say(ctx, f.verify);
	summary_say(ctx, f.verify);
	return r ? r : verify_well(f.verify) ? CLI_OK : CLI_DEGRADED;
}

/* Key by key. */

static const struct output_column status_columns[] = {
	{"member", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"key", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"value", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static void pair(struct output *o, const char *member, const char *key, const char *value)
{
	output_string(o, member);
	output_string(o, key);
	output_string(o, value);
}

static void pair_number(struct output *o, const char *member, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	pair(o, member, key, text);
}

static void pair_hex(struct output *o, const char *member, const char *key, const uint8_t *bytes)
{
	char text[KBAN_HEX(KBAN_HASH_SIZE)];

	pair(o, member, key, kban_hex(text, bytes, KBAN_HASH_SIZE));
}

static void broker_pairs(struct output *o, const struct session *s, const struct verify *v)
{
	char cluster[KBAN_HEX(KBAN_CLUSTER_SIZE)];
	const struct kban_place *at = verify_place(v);

	pair(o, "broker", "endpoint", client_endpoint(s->client));
	pair(o, "broker", "cluster", kban_hex(cluster, s->identity.cluster.b, KBAN_CLUSTER_SIZE));
	pair_number(o, "broker", "epoch", at->epoch);
	pair_number(o, "broker", "seq", at->seq);
	pair_hex(o, "broker", "chain", at->chain.b);
	pair_hex(o, "broker", "digest", verify_digest(v)->b);
	pair_number(o, "broker", "fold_version", client_welcome(s->client)->fold_version);
	pair_number(o, "broker", "time_ms", verify_broker_ms(v));
	pair_number(o, "broker", "bad_proofs", verify_bad_proofs(v));
}

static void heartbeat_pairs(struct output *o, const struct verify_member *m)
{
	const struct kban_heartbeat *h = &m->heartbeat;
	char offset[32];
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{"epoch", h->place.epoch},
		{"seq", h->place.seq},
		{"mark_seq", h->mark_seq},
		{"enforced_seq", h->enforced_seq},
		{"bans_enforced", h->bans_enforced},
		{"bans_wanted", h->bans_wanted},
		{"outbox", h->outbox},
		{"repairs", h->repairs},
		{"own_ms", h->own_ms},
		{"fold_version", h->fold_version},
		{"status", h->status},
	};

	pair(o, m->name, "version", h->version);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(numbers); i++)
		pair_number(o, m->name, numbers[i].key, numbers[i].value);
	pair_hex(o, m->name, "chain", h->place.chain.b);
	pair_hex(o, m->name, "digest", h->digest.b);
	snprintf(offset, sizeof(offset), "%lld", (long long)m->clock_offset_ms);
	pair(o, m->name, "clock_offset_ms", m->fresh ? offset : NULL);
}

static void member_pairs(struct output *o, const struct verify_member *m)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT];

	pair(o, m->name, "state", verify_state_name(m->state));
	pair(o, m->name, "agrees", verify_agreement_name(m->agreement));
	pair(o, m->name, "address", *m->address ? m->address : NULL);
	pair(o, m->name, "fingerprint", kban_fingerprint(fingerprint, &m->key));
	pair_number(o, m->name, "since_ms", m->since_ms);
	pair_number(o, m->name, "seen_ms", m->seen_ms);
	if (m->answered)
		heartbeat_pairs(o, m);
}

static bool member_named(const struct verify *v, const char *name)
{
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (!strcmp(m->name, name) && m->state != VERIFY_REVOKED)
			return true;
	}
	return false;
}

static int status_show(struct context *ctx, struct session *s, struct fleet *f)
{
	kban_auto(output_free) struct output *o = NULL;
	const char *name = args_word(&ctx->args, 0);

	if (name && !member_named(f->verify, name))
		return cli_fail(ctx, CLI_NOT_FOUND, "no such node; `kbanctl node list` shows them");
	cli_output(&o, ctx, status_columns, "values", verify_broker_ms(f->verify));
	if (!name)
		broker_pairs(o, s, f->verify);
	for (size_t i = 0; i < verify_members_n(f->verify); i++) {
		const struct verify_member *m = verify_member(f->verify, i);
		if (name ? strcmp(m->name, name) != 0 || m->state == VERIFY_REVOKED
			 : !member_shown(ctx, m))
			continue;
		member_pairs(o, m);
	}
	int r = cli_output_end(ctx, o);
	alarms_say(ctx, f->verify);
	remedies_say(ctx, f->verify);
	return r ? r : verify_well(f->verify) ? CLI_OK : CLI_DEGRADED;
}

int cluster_status(struct context *ctx)
{
	kban_auto(session_free) struct session *s = NULL;
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};
	int r = session_open(&s, ctx, SESSION_ASK);

	if (r)
		return r;
	fleet_init(&f, s);
	r = fleet_gather(&f, gather_limit(ctx));
	return r ? r : status_show(ctx, s, &f);
}
