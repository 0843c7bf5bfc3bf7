/* SPDX-License-Identifier: MPL-2.0
 *
 * One sample of everything that travels, made from fixed seeds, for proto/'s tests and seed
 * corpora. Each event and message has every field set, so that a field that a codec forgets shows.
 */
#ifndef KBAN_PROTO_TEST_SAMPLES_H
#define KBAN_PROTO_TEST_SAMPLES_H

#include <stdlib.h>
#include <string.h>

#include "proto/identity.h"
#include "proto/wire.h"

#define SAMPLE_MS 1700000000000ULL

static inline struct kban_keypair sample_keys(uint8_t fill)
{
	uint8_t seed[32];
	struct kban_keypair k;

	memset(seed, fill, sizeof(seed));
	kban_keypair_from_seed(&k, seed);
	return k;
}

static inline struct kban_prefix sample_prefix(const char *text)
{
	struct kban_prefix p;

	if (kban_prefix_parse(&p, text))
		abort();
	return p;
}

static inline struct kban_hash sample_hash(uint8_t fill)
{
	struct kban_hash h;

	memset(h.b, fill, sizeof(h.b));
	return h;
}

static inline struct kban_cluster_id sample_cluster(void)
{
	struct kban_keypair root = sample_keys(1);
	struct kban_cluster_id id;

	kban_cluster_id(&id, &root.sign_public);
	return id;
}

static inline struct kban_event sample_ban(const char *prefix)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_BAN,
		.ban = {.prefix = sample_prefix(prefix),
			.duration_ms = 300000,
			.rule = kban_text("login-failed"),
			.service = kban_text("SMTP"),
			.server = kban_text("mail2"),
			.line = kban_text(
				"SMTP: Invalid password for user jan.nov\xc3\xa1k. Attempt from "
				"IP address 192.0.2.1."),
			.reason = kban_text("10 failures in 60 s"),
			.count = 10,
			.first_ms = SAMPLE_MS - 60000,
			.last_ms = SAMPLE_MS},
	};
}

/* One event of each kind, at its kind's number. */
static inline void sample_events(struct kban_event e[KBAN_EVENT_KINDS])
{
	static struct kban_prefix addresses[2];
	struct kban_keypair k = sample_keys(3), invitation = sample_keys(4);
	struct kban_cluster_id cluster = sample_cluster();
	struct kban_text why = kban_text("why not");

	addresses[0] = sample_prefix("192.0.2.10");
	addresses[1] = sample_prefix("2001:db8::10");
	memset(e, 0, KBAN_EVENT_KINDS * sizeof(*e));
	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++)
		e[i].kind = (enum kban_event_kind)i;
	e[KBAN_EVENT_BAN] = sample_ban("192.0.2.1");
	e[KBAN_EVENT_BAN].ban.force = true;
	e[KBAN_EVENT_UNBAN].unban = (struct kban_event_unban){sample_prefix("192.0.2.0/24"), true,
							      why};
	e[KBAN_EVENT_SAFE_ADD].safe_add = (struct kban_event_safe_add){
		sample_prefix("2001:db8::/64"), 86400000, true, why};
	e[KBAN_EVENT_SAFE_REMOVE].safe_remove = (struct kban_event_safe_remove){
		sample_prefix("2001:db8::/64"), true, why};
	e[KBAN_EVENT_SAFE_APPROVE].safe_approve = (struct kban_event_safe_approve){
		sample_prefix("10.0.0.0/8"), k.sign_public, why};
	e[KBAN_EVENT_GRANT].grant = (struct kban_event_grant){
		k.sign_public, k.curve_public, KBAN_ROLE_OPERATOR, kban_text("alice")};
	e[KBAN_EVENT_REVOKE].revoke = (struct kban_event_revoke){k.sign_public, true, why};
	e[KBAN_EVENT_PURGE].purge = (struct kban_event_purge){k.sign_public, why};
	e[KBAN_EVENT_INVITE].invite = (struct kban_event_invite){
		invitation.sign_public, invitation.curve_public, KBAN_ROLE_NODE, kban_text("mail1"),
		3600000};
	kban_join_prove(&e[KBAN_EVENT_JOIN].join, &k, &cluster, &invitation.sign_public);
	e[KBAN_EVENT_POLICY].policy = (struct kban_event_policy){
		5000, 64, 24, 64, 150, 86400000, 7776000000, 20, 48, 86400001};
	e[KBAN_EVENT_BROKER_ADDRESS].broker_address = (struct kban_event_broker_address){
		k.curve_public, true, kban_text("tcp://broker.example.com:7400"), 2, addresses};
	e[KBAN_EVENT_RELEASE].release = (struct kban_event_release){k.sign_public, why};
	e[KBAN_EVENT_FOLD_VERSION].fold_version = (struct kban_event_fold_version){2, true};
	e[KBAN_EVENT_EPOCH].epoch = (struct kban_event_epoch){2, why};
}

/* A report over n events that the caller has. */
static inline struct kban_report sample_report(struct kban_event *events, size_t n)
{
	return (struct kban_report){
		.cluster = sample_cluster(),
		.counter = 7,
		.base = {1, 41},
		.issued_ms = SAMPLE_MS,
		.events_n = n,
		.events = events,
	};
}

/* The bytes are the caller's to free. */
static inline uint8_t *sample_sealed(struct kban_sealed *sealed)
{
	struct kban_event e = sample_ban("192.0.2.1");
	struct kban_report r = sample_report(&e, 1);
	struct kban_keypair k = sample_keys(2);
	uint8_t *bytes;

	if (kban_report_seal(&r, &k, &bytes, sealed))
		abort();
	return bytes;
}

static inline struct kban_heartbeat sample_heartbeat(void)
{
	struct kban_heartbeat h = {
		.cluster = sample_cluster(),
		.place = {1, 2050, sample_hash(0x11)},
		.digest = sample_hash(0x12),
		.mark_seq = 2048,
		.mark_chain = sample_hash(0x13),
		.mark_digest = sample_hash(0x14),
		.enforced_seq = 2049,
		.bans_enforced = 12,
		.bans_wanted = 13,
		.own_ms = SAMPLE_MS,
		.repairs = 3,
		.outbox = 4,
		.version = "0.1.0",
		.nonce_n = 16,
		.fold_version = 1,
		.status = KBAN_STATUS_UNCONFIRMED,
	};

	memset(h.nonce, 0x15, sizeof(h.nonce));
	return h;
}

/* A message of that kind; what it borrows is static or lives in *bytes, which the caller frees. */
static inline struct kban_message sample_message(enum kban_message_kind kind, uint8_t **bytes)
{
	static struct kban_entry entry;
	static struct kban_member_row member;
	static struct kban_invite_row invite;
	static struct kban_ban_row ban;
	static struct kban_safe_row safe;
	static struct kban_record_row record;
	static struct kban_log_row row;
	static struct kban_state_page page;
	static const uint32_t outcomes[] = {KBAN_OUTCOME_COUNTED, KBAN_OUTCOME_SAFE, 300};
	static const char nonce[32] = {0, 1, 2, (char)0xff};
	struct kban_message m = {.kind = kind, .version = KBAN_PROTOCOL_VERSION};
	struct kban_key key = sample_keys(3).sign_public;
	struct kban_place place = {2, 99, sample_hash(0x21)};
	struct kban_sealed sealed;

	*bytes = sample_sealed(&sealed);
	m.has_session = kind != KBAN_MSG_HELLO;
	if (m.has_session)
		memset(m.session, 0x22, sizeof(m.session));
	entry = (struct kban_entry){99, SAMPLE_MS, sealed};
	member = (struct kban_member_row){key,
					  kban_text("mail1"),
					  KBAN_ROLE_NODE,
					  kban_text("192.0.2.7"),
					  true,
					  true,
					  SAMPLE_MS,
					  98,
					  SAMPLE_MS - 1,
					  true,
					  sealed};
	invite = (struct kban_invite_row){key, kban_text("mail2"), KBAN_ROLE_NODE, SAMPLE_MS, 97};
	ban = (struct kban_ban_row){sample_prefix("192.0.2.1"),
				    SAMPLE_MS,
				    SAMPLE_MS + 1,
				    kban_text("mail1"),
				    kban_text("rule"),
				    kban_text("IMAP"),
				    kban_text("why"),
				    10,
				    2};
	safe = (struct kban_safe_row){sample_prefix("10.0.0.0/8"),
				      kban_text("root"),
				      key,
				      KBAN_ROLE_ROOT,
				      2,
				      SAMPLE_MS,
				      SAMPLE_MS + 1,
				      kban_text("why")};
	record = (struct kban_record_row){1, SAMPLE_MS, SAMPLE_MS + 1, 3, true};
	row = (struct kban_log_row){98, SAMPLE_MS, sealed, KBAN_REFUSAL_BUSY, 3, outcomes, 1, &record};
	page = (struct kban_state_page){(const uint8_t *)nonce, 16};
	switch (kind) {
	case KBAN_MSG_HELLO:
		m.hello = (struct kban_hello){1, 2, 1, sample_cluster(),
					      kban_text("kban-node 0.1.0")};
		break;
	case KBAN_MSG_WELCOME:
		m.welcome = (struct kban_welcome){
			1, {0x23}, place, sample_hash(0x24), SAMPLE_MS, 1, true, sealed, 5};
		break;
	case KBAN_MSG_SUBMIT:
		m.submit = sealed;
		break;
	case KBAN_MSG_RECEIPT:
		m.receipt = (struct kban_receipt){
			sample_hash(0x25), KBAN_REFUSAL_BUSY, 3, outcomes, 99, SAMPLE_MS, 2,
			kban_text("later")};
		break;
	case KBAN_MSG_SUBSCRIBE:
		m.subscribe = (struct kban_subscribe){place, 256};
		break;
	case KBAN_MSG_ENTRIES:
		m.entries = (struct kban_entries){2, 99, SAMPLE_MS, 1, &entry};
		break;
	case KBAN_MSG_ACK:
		m.ack = (struct kban_ack){99};
		break;
	case KBAN_MSG_HEARTBEAT:
		m.heartbeat = sealed;
		break;
	case KBAN_MSG_PROBE:
		m.probe = (struct kban_probe){{nonce, 16}, SAMPLE_MS, 7};
		break;
	case KBAN_MSG_QUERY:
		m.query = (struct kban_query){
			KBAN_QUERY_BANS, 3,	   {nonce, 16}, true, sample_prefix("0.0.0.0/0"),
			{nonce, 32},	 6, SAMPLE_MS, true};
		break;
	case KBAN_MSG_ANSWER:
		m.answer = (struct kban_answer){KBAN_QUERY_CLUSTER,
						place,
						sample_hash(0x26),
						SAMPLE_MS,
						8,
						1,
						1,
						1,
						1,
						1,
						1,
						1,
						&member,
						&invite,
						&ban,
						&safe,
						&entry,
						&row,
						&page};
		break;
	case KBAN_MSG_NO_SESSION:
		m.no_session = (struct kban_no_session){KBAN_REFUSAL_FORK,
							kban_text("chain differs")};
		break;
	}
	return m;
}

static inline struct kban_identity sample_identity(void)
{
	struct kban_identity id = {
		.name = "mail1",
		.role = KBAN_ROLE_NODE,
		.root = sample_keys(1).sign_public,
		.cluster = sample_cluster(),
		.keys = sample_keys(2),
		.brokers_n = 2,
		.brokers = {{"tcp://192.0.2.10:7400", sample_keys(5).curve_public},
			    {"tcp://[2001:db8::10]:7400", sample_keys(6).curve_public}},
	};

	return id;
}

#endif
