/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pb.h"

#define TAG_HEARTBEAT "kban heartbeat v1"
#define NONCE_SIZE    16

/* What each message may hold. AT and AS name the field in kban.proto and in wire.h, REPEATED and
 * MAYBE its count or flag as well. */

#define AT(type_, pb_, field_, plain_, member_, lo_, hi_)                                          \
	{                                                                                          \
		.type = type_, .pb = offsetof(Kban__##pb_, field_),                                \
		.plain = offsetof(struct kban_##plain_, member_), .lo = lo_, .hi = hi_             \
	}
#define AS(type_, pb_, plain_, member_, lo_, hi_) AT(type_, pb_, member_, plain_, member_, lo_, hi_)
#define REPEATED(type_, pb_, field_, plain_, member_, hi_, sub_)                                   \
	{                                                                                          \
		.type = type_, .pb = offsetof(Kban__##pb_, field_),                                \
		.pb_n = offsetof(Kban__##pb_, n_##field_),                                         \
		.plain = offsetof(struct kban_##plain_, member_),                                  \
		.also = offsetof(struct kban_##plain_, member_##_n), .hi = hi_, .sub = sub_        \
	}
#define MAYBE(type_, pb_, plain_, member_, sub_)                                                   \
	{                                                                                          \
		.type = type_, .pb = offsetof(Kban__##pb_, member_),                               \
		.plain = offsetof(struct kban_##plain_, member_),                                  \
		.also = offsetof(struct kban_##plain_, has_##member_), .sub = sub_                 \
	}

static const struct pb_field sealed_fields[] = {
	{.type = PB_SPAN,
	 .pb = offsetof(Kban__Sealed, body),
	 .plain = offsetof(struct kban_sealed, report),
	 .also = offsetof(struct kban_sealed, report_len),
	 .lo = 1,
	 .hi = KBAN_REPORT_MAX},
	AS(PB_SPAN, Sealed, sealed, signature, KBAN_SIGNATURE_SIZE, KBAN_SIGNATURE_SIZE),
};
static const struct pb_table sealed_table = PB_TABLE(sealed, struct kban_sealed, sealed_fields);

static const struct pb_field entry_fields[] = {
	AS(PB_U64, Entry, entry, seq, 1, UINT64_MAX),
	AS(PB_U64, Entry, entry, accepted_ms, 0, KBAN_TIME_MAX_MS),
	{.type = PB_MESSAGE,
	 .pb = offsetof(Kban__Entry, report),
	 .plain = offsetof(struct kban_entry, sealed),
	 .lo = 1,
	 .sub = &sealed_table},
};
static const struct pb_table entry_table = PB_TABLE(entry, struct kban_entry, entry_fields);

static const struct pb_field hello_fields[] = {
	AS(PB_U32, Hello, hello, min_version, 1, UINT32_MAX),
	AS(PB_U32, Hello, hello, max_version, 1, UINT32_MAX),
	AS(PB_U32, Hello, hello, fold_version, 0, UINT32_MAX),
	AS(PB_BYTES, Hello, hello, cluster, 0, KBAN_CLUSTER_SIZE),
	AS(PB_TEXT, Hello, hello, program, 0, KBAN_TEXT_MAX),
};
static const struct pb_field welcome_fields[] = {
	AS(PB_U32, Welcome, welcome, version, 1, UINT32_MAX),
	AS(PB_BYTES, Welcome, welcome, session, 0, KBAN_SESSION_SIZE),
	AT(PB_U32, Welcome, epoch, welcome, head.epoch, 0, UINT32_MAX),
	AT(PB_U64, Welcome, head, welcome, head.seq, 0, UINT64_MAX),
	AT(PB_BYTES, Welcome, head_chain, welcome, head.chain, 0, KBAN_HASH_SIZE),
	AS(PB_BYTES, Welcome, welcome, digest, 0, KBAN_HASH_SIZE),
	AS(PB_U64, Welcome, welcome, broker_ms, 0, KBAN_TIME_MAX_MS),
	AS(PB_U32, Welcome, welcome, fold_version, 0, UINT32_MAX),
	MAYBE(PB_MESSAGE, Welcome, welcome, newest, &sealed_table),
	AS(PB_U64, Welcome, welcome, horizon, 0, UINT64_MAX),
};
static const struct pb_field submit_fields[] = {
	{.type = PB_MESSAGE, .pb = offsetof(Kban__Submit, report), .lo = 1, .sub = &sealed_table},
};
static const struct pb_field receipt_fields[] = {
	AS(PB_BYTES, Receipt, receipt, hash, 0, KBAN_HASH_SIZE),
	AS(PB_U32, Receipt, receipt, refusal, 0, UINT32_MAX),
	REPEATED(PB_NUMBERS, Receipt, outcomes, receipt, outcomes, KBAN_EVENTS_MAX, NULL),
	AS(PB_U64, Receipt, receipt, seq, 0, UINT64_MAX),
	AS(PB_U64, Receipt, receipt, accepted_ms, 0, KBAN_TIME_MAX_MS),
	AS(PB_U32, Receipt, receipt, epoch, 0, UINT32_MAX),
	AS(PB_TEXT, Receipt, receipt, detail, 0, KBAN_TEXT_MAX),
};
static const struct pb_field subscribe_fields[] = {
	AT(PB_U32, Subscribe, epoch, subscribe, cursor.epoch, 0, UINT32_MAX),
	AT(PB_U64, Subscribe, seq, subscribe, cursor.seq, 0, UINT64_MAX),
	AT(PB_BYTES, Subscribe, chain, subscribe, cursor.chain, 0, KBAN_HASH_SIZE),
	AS(PB_U32, Subscribe, subscribe, window, 1, KBAN_WINDOW_MAX),
};
static const struct pb_field entries_fields[] = {
	AS(PB_U32, Entries, entries, epoch, 0, UINT32_MAX),
	AS(PB_U64, Entries, entries, head, 0, UINT64_MAX),
	AS(PB_U64, Entries, entries, broker_ms, 0, KBAN_TIME_MAX_MS),
	REPEATED(PB_LIST, Entries, entries, entries, entries, KBAN_ENTRIES_MAX, &entry_table),
};
static const struct pb_field ack_fields[] = {
	AS(PB_U64, Ack, ack, seq, 0, UINT64_MAX),
};
static const struct pb_field heartbeat_fields[] = {
	{.type = PB_MESSAGE, .pb = offsetof(Kban__Heartbeat, body), .lo = 1, .sub = &sealed_table},
};
static const struct pb_field probe_fields[] = {
	AS(PB_NONCE, Probe, probe, nonce, 0, NONCE_SIZE),
	AS(PB_U64, Probe, probe, broker_ms, 0, KBAN_TIME_MAX_MS),
	AS(PB_U64, Probe, probe, head, 0, UINT64_MAX),
};
static const struct pb_field query_fields[] = {
	AS(PB_U32, Query, query, kind, KBAN_QUERY_CLUSTER, KBAN_QUERY_REFUSED),
	AS(PB_U64, Query, query, after, 0, UINT64_MAX),
	AS(PB_NONCE, Query, query, nonce, 0, NONCE_SIZE),
	MAYBE(PB_PREFIX, Query, query, prefix, NULL),
	AS(PB_NONCE, Query, query, author, 0, KBAN_KEY_SIZE),
	AS(PB_U32, Query, query, kinds, 0, UINT32_MAX),
	AS(PB_U64, Query, query, since_ms, 0, UINT64_MAX),
	AS(PB_BOOL, Query, query, wait, 0, 0),
};

static const struct pb_field member_row_fields[] = {
	AS(PB_BYTES, MemberRow, member_row, key, 0, KBAN_KEY_SIZE),
	AS(PB_NAME, MemberRow, member_row, name, 1, 0),
	AS(PB_U32, MemberRow, member_row, role, KBAN_ROLE_NODE, KBAN_ROLE_ROOT),
	AS(PB_TEXT, MemberRow, member_row, address, 0, KBAN_ENDPOINT_MAX),
	AS(PB_BOOL, MemberRow, member_row, connected, 0, 0),
	AS(PB_U64, MemberRow, member_row, seen_ms, 0, UINT64_MAX),
	MAYBE(PB_MESSAGE, MemberRow, member_row, heartbeat, &sealed_table),
	AS(PB_BOOL, MemberRow, member_row, held, 0, 0),
	AS(PB_U64, MemberRow, member_row, revoked_seq, 0, UINT64_MAX),
	AS(PB_U64, MemberRow, member_row, since_ms, 0, UINT64_MAX),
};
static const struct pb_field invite_row_fields[] = {
	AS(PB_BYTES, InviteRow, invite_row, key, 0, KBAN_KEY_SIZE),
	AS(PB_NAME, InviteRow, invite_row, name, 1, 0),
	AS(PB_U32, InviteRow, invite_row, role, KBAN_ROLE_NODE, KBAN_ROLE_BROKER),
	AS(PB_U64, InviteRow, invite_row, expires_ms, 0, UINT64_MAX),
	AS(PB_U64, InviteRow, invite_row, used_seq, 0, UINT64_MAX),
};
static const struct pb_field ban_row_fields[] = {
	AS(PB_PREFIX, BanRow, ban_row, prefix, 1, 0),
	AS(PB_U64, BanRow, ban_row, since_ms, 0, UINT64_MAX),
	AS(PB_U64, BanRow, ban_row, until_ms, 0, UINT64_MAX),
	AS(PB_NAME, BanRow, ban_row, author, 0, 0),
	AS(PB_TEXT, BanRow, ban_row, rule, 0, KBAN_RULE_MAX),
	AS(PB_TEXT, BanRow, ban_row, service, 0, KBAN_RULE_MAX),
	AS(PB_U32, BanRow, ban_row, count, 0, UINT32_MAX),
	AS(PB_U32, BanRow, ban_row, sources, 0, UINT32_MAX),
	AS(PB_TEXT, BanRow, ban_row, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field safe_row_fields[] = {
	AS(PB_PREFIX, SafeRow, safe_row, prefix, 1, 0),
	AS(PB_NAME, SafeRow, safe_row, author, 0, 0),
	AS(PB_U32, SafeRow, safe_row, role, KBAN_ROLE_NODE, KBAN_ROLE_ROOT),
	AS(PB_U32, SafeRow, safe_row, state, 0, UINT32_MAX),
	AS(PB_U64, SafeRow, safe_row, since_ms, 0, UINT64_MAX),
	AS(PB_U64, SafeRow, safe_row, until_ms, 0, UINT64_MAX),
	AS(PB_TEXT, SafeRow, safe_row, reason, 0, KBAN_TEXT_MAX),
	AS(PB_BYTES, SafeRow, safe_row, owner, 0, KBAN_KEY_SIZE),
};

static const struct pb_field record_row_fields[] = {
	AS(PB_U32, RecordRow, record_row, index, 0, KBAN_EVENTS_MAX - 1),
	AS(PB_U64, RecordRow, record_row, since_ms, 0, UINT64_MAX),
	AS(PB_U64, RecordRow, record_row, until_ms, 0, UINT64_MAX),
	AS(PB_U64, RecordRow, record_row, strikes, 0, UINT64_MAX),
	AS(PB_BOOL, RecordRow, record_row, ended, 0, 0),
};
static const struct pb_table record_rows = PB_TABLE(record_row, struct kban_record_row,
						    record_row_fields);
static const struct pb_field log_row_fields[] = {
	AS(PB_U64, LogRow, log_row, seq, 0, UINT64_MAX),
	AS(PB_U64, LogRow, log_row, accepted_ms, 0, KBAN_TIME_MAX_MS),
	{.type = PB_MESSAGE,
	 .pb = offsetof(Kban__LogRow, report),
	 .plain = offsetof(struct kban_log_row, report),
	 .lo = 1,
	 .sub = &sealed_table},
	AS(PB_U32, LogRow, log_row, refusal, 0, UINT32_MAX),
	REPEATED(PB_NUMBERS, LogRow, outcomes, log_row, outcomes, KBAN_EVENTS_MAX, NULL),
	REPEATED(PB_LIST, LogRow, records, log_row, records, KBAN_EVENTS_MAX, &record_rows),
};
static const struct pb_field state_page_fields[] = {
	{.type = PB_SPAN,
	 .pb = offsetof(Kban__StatePage, items),
	 .plain = offsetof(struct kban_state_page, items),
	 .also = offsetof(struct kban_state_page, items_len),
	 .lo = 1,
	 .hi = KBAN_PAGE_MAX},
};

#define ROWS(name_) PB_TABLE(name_, struct kban_##name_, name_##_fields)

static const struct pb_table member_rows = ROWS(member_row);
static const struct pb_table invite_rows = ROWS(invite_row);
static const struct pb_table ban_rows = ROWS(ban_row);
static const struct pb_table safe_rows = ROWS(safe_row);
static const struct pb_table log_rows = ROWS(log_row);
static const struct pb_table state_pages = ROWS(state_page);

static const struct pb_field answer_fields[] = {
	AS(PB_U32, Answer, answer, kind, KBAN_QUERY_CLUSTER, KBAN_QUERY_REFUSED),
	AT(PB_U32, Answer, epoch, answer, place.epoch, 0, UINT32_MAX),
	AT(PB_U64, Answer, seq, answer, place.seq, 0, UINT64_MAX),
	AT(PB_BYTES, Answer, chain, answer, place.chain, 0, KBAN_HASH_SIZE),
	AS(PB_BYTES, Answer, answer, digest, 0, KBAN_HASH_SIZE),
	AS(PB_U64, Answer, answer, broker_ms, 0, KBAN_TIME_MAX_MS),
	AS(PB_U64, Answer, answer, next, 0, UINT64_MAX),
	REPEATED(PB_LIST, Answer, members, answer, members, KBAN_ROWS_MAX, &member_rows),
	REPEATED(PB_LIST, Answer, invites, answer, invites, KBAN_ROWS_MAX, &invite_rows),
	REPEATED(PB_LIST, Answer, bans, answer, bans, KBAN_ROWS_MAX, &ban_rows),
	REPEATED(PB_LIST, Answer, safes, answer, safes, KBAN_ROWS_MAX, &safe_rows),
	REPEATED(PB_LIST, Answer, proofs, answer, proofs, KBAN_ENTRIES_MAX, &entry_table),
	REPEATED(PB_LIST, Answer, log, answer, log, KBAN_ENTRIES_MAX, &log_rows),
	REPEATED(PB_LIST, Answer, state, answer, state, KBAN_PAGES_MAX, &state_pages),
};
static const struct pb_field no_session_fields[] = {
	AS(PB_U32, NoSession, no_session, reason, 0, UINT32_MAX),
	AS(PB_TEXT, NoSession, no_session, detail, 0, KBAN_TEXT_MAX),
};

#define KINDS (KBAN_MSG_NO_SESSION + 1)

static const struct pb_table bodies[KINDS] = {
	[KBAN_MSG_HELLO] = ROWS(hello),
	[KBAN_MSG_WELCOME] = ROWS(welcome),
	[KBAN_MSG_SUBMIT] = PB_TABLE(submit, struct kban_sealed, submit_fields),
	[KBAN_MSG_RECEIPT] = ROWS(receipt),
	[KBAN_MSG_SUBSCRIBE] = ROWS(subscribe),
	[KBAN_MSG_ENTRIES] = ROWS(entries),
	[KBAN_MSG_ACK] = ROWS(ack),
	[KBAN_MSG_HEARTBEAT] = PB_TABLE(heartbeat, struct kban_sealed, heartbeat_fields),
	[KBAN_MSG_PROBE] = ROWS(probe),
	[KBAN_MSG_QUERY] = ROWS(query),
	[KBAN_MSG_ANSWER] = ROWS(answer),
	[KBAN_MSG_NO_SESSION] = ROWS(no_session),
};

/* The union of plain bodies, addressed by any member of it. */
static void *body_of(struct kban_message *m)
{
	return &m->hello;
}

/* What takes more than one field to see. */
static bool body_coherent(const struct kban_message *m)
{
	return m->kind != KBAN_MSG_HELLO || m->hello.min_version <= m->hello.max_version;
}

/* A protobuf varint at *at; false when it is cut off or over 64 bits. */
static bool read_varint(const uint8_t *bytes, size_t len, size_t *at, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64 && *at < len; shift += 7) {
		uint8_t b = bytes[(*at)++];
		*out |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

static bool skip_value(const uint8_t *bytes, size_t len, size_t *at, unsigned wire_type,
		       uint64_t *value)
{
	size_t fixed = wire_type == 1 ? 8 : 4;

	if (wire_type == 0)
		return read_varint(bytes, len, at, value);
	if (wire_type == 2) {
		if (!read_varint(bytes, len, at, value) || *value > len - *at)
			return false;
		*at += *value;
		return true;
	}
	if ((wire_type != 1 && wire_type != 5) || fixed > len - *at)
		return false;
	*at += fixed;
	return true;
}

/* Version and kind alone, which keep their places in every version, so that a message of another
 * version is told from garbage whatever else has changed in it. Two bodies in one message are
 * garbage. */
static bool read_envelope(const uint8_t *bytes, size_t len, struct kban_message *m)
{
	unsigned kinds = 0;

	for (size_t at = 0; at < len;) {
		uint64_t tag, value = 0;
		if (!read_varint(bytes, len, &at, &tag) || tag >> 3 == 0 ||
		    !skip_value(bytes, len, &at, tag & 7, &value))
			return false;
		if (tag >> 3 == 1 && (tag & 7) == 0)
			m->version = (uint32_t)value;
		if (tag >> 3 >= KBAN_MSG_HELLO && tag >> 3 < KINDS) {
			m->kind = (enum kban_message_kind)(tag >> 3);
			kinds++;
		}
	}
	return m->version != KBAN_PROTOCOL_VERSION || kinds == 1;
}

static bool read_session(const Kban__Message *from, struct kban_message *m)
{
	m->has_session = from->session.len;
	if (from->session.len == KBAN_SESSION_SIZE)
		memcpy(m->session, from->session.data, KBAN_SESSION_SIZE);
	return from->session.len == 0 || from->session.len == KBAN_SESSION_SIZE;
}

static int read_body(struct pb_arena *a, const uint8_t *bytes, size_t len, struct kban_message *m)
{
	const Kban__Message *from = pb_unpack(a, &kban__message__descriptor, bytes, len);

	if (from && (unsigned)from->body_case == (unsigned)m->kind && read_session(from, m) &&
	    pb_decode(a, &bodies[m->kind], from->hello, body_of(m)) && body_coherent(m))
		return 0;
	return pb_arena_full(a) ? KBAN_MESSAGE_TOO_LARGE : KBAN_MESSAGE_MALFORMED;
}

int kban_message_decode(struct kban_message **out, const uint8_t *bytes, size_t len)
{
	if (len > KBAN_MESSAGE_MAX)
		return KBAN_MESSAGE_TOO_LARGE;
	kban_auto(pb_arena_free) struct pb_arena *a = pb_arena_new(sizeof(struct kban_message) +
								   len * 2);
	struct kban_message *m = pb_alloc(a, sizeof(*m));
	if (!m || !read_envelope(bytes, len, m))
		return KBAN_MESSAGE_MALFORMED;
	int result = m->version == KBAN_PROTOCOL_VERSION ? read_body(a, bytes, len, m)
							 : KBAN_MESSAGE_VERSION;
	if (result && result != KBAN_MESSAGE_VERSION)
		return result;
	m->arena = a;
	*out = m;
	a = NULL;
	return result;
}

void kban_message_free(struct kban_message *m)
{
	if (m)
		pb_arena_free(m->arena);
}

/* Only a bug breaks a limit on the way out. */
static void must(bool holds, const struct kban_message *m)
{
	if (holds)
		return;
	fprintf(stderr, "kban: a message of kind %d is over a limit of its own protocol\n",
		(int)m->kind);
	abort();
}

void kban_message_encode(uint8_t **bytes, size_t *len, const struct kban_message *m)
{
	kban_auto(pb_arena_free) struct pb_arena *a = pb_arena_new(4096);
	Kban__Message to;

	kban__message__init(&to);
	must(m->kind >= KBAN_MSG_HELLO && m->kind < KINDS && body_coherent(m), m);
	to.version = m->version;
	if (m->has_session)
		to.session = (ProtobufCBinaryData){KBAN_SESSION_SIZE,
						   (uint8_t *)(uintptr_t)m->session};
	to.body_case = (Kban__Message__BodyCase)m->kind;
	to.hello = pb_encode(a, &bodies[m->kind], &m->hello);
	must(to.hello, m);
	*len = kban__message__get_packed_size(&to);
	must(*len <= KBAN_MESSAGE_MAX, m);
	*bytes = kban_realloc(NULL, *len);
	kban__message__pack(&to, *bytes);
}

/* Heartbeats. */

#define BODY(type_, field_, member_, lo_, hi_)                                                     \
	AT(type_, HeartbeatBody, field_, heartbeat, member_, lo_, hi_)

static const struct pb_field body_fields[] = {
	BODY(PB_BYTES, cluster, cluster, 0, KBAN_CLUSTER_SIZE),
	BODY(PB_BYTES, author, author, 0, KBAN_KEY_SIZE),
	BODY(PB_U32, epoch, place.epoch, 0, UINT32_MAX),
	BODY(PB_U64, seq, place.seq, 0, UINT64_MAX),
	BODY(PB_BYTES, chain, place.chain, 0, KBAN_HASH_SIZE),
	BODY(PB_BYTES, digest, digest, 0, KBAN_HASH_SIZE),
	BODY(PB_U64, mark_seq, mark_seq, 0, UINT64_MAX),
	BODY(PB_BYTES, mark_chain, mark_chain, 0, KBAN_HASH_SIZE),
	BODY(PB_BYTES, mark_digest, mark_digest, 0, KBAN_HASH_SIZE),
	BODY(PB_U64, enforced_seq, enforced_seq, 0, UINT64_MAX),
	BODY(PB_U64, bans_enforced, bans_enforced, 0, UINT64_MAX),
	BODY(PB_U64, bans_wanted, bans_wanted, 0, UINT64_MAX),
	BODY(PB_CHARS, version, version, 0, KBAN_VERSION_MAX),
	BODY(PB_U64, own_ms, own_ms, 0, UINT64_MAX),
	{.type = PB_NONCE_ARRAY,
	 .pb = offsetof(Kban__HeartbeatBody, nonce),
	 .plain = offsetof(struct kban_heartbeat, nonce),
	 .also = offsetof(struct kban_heartbeat, nonce_n),
	 .hi = NONCE_SIZE},
	BODY(PB_U32, fold_version, fold_version, 0, UINT32_MAX),
	BODY(PB_U32, status, status, 0, UINT32_MAX),
	BODY(PB_U64, repairs, repairs, 0, UINT64_MAX),
	BODY(PB_U64, outbox, outbox, 0, UINT64_MAX),
};
static const struct pb_table body_table = PB_TABLE(heartbeat_body, struct kban_heartbeat,
						   body_fields);

int kban_heartbeat_decode(struct kban_heartbeat *out, const struct kban_sealed *sealed)
{
	struct kban_heartbeat h = {0};

	if (sealed->report_len > KBAN_REPORT_MAX)
		return KBAN_MESSAGE_TOO_LARGE;
	kban_auto(pb_arena_free) struct pb_arena *a = pb_arena_new(sealed->report_len * 4);
	pb_arena_strict(a);
	const void *m = pb_unpack(a, body_table.pb, sealed->report, sealed->report_len);
	if (!m || !pb_decode(a, &body_table, m, &h) ||
	    !pb_canonical(a, m, sealed->report, sealed->report_len))
		return pb_arena_full(a) ? KBAN_MESSAGE_TOO_LARGE : KBAN_MESSAGE_MALFORMED;
	*out = h;
	return 0;
}

bool kban_heartbeat_check(const struct kban_heartbeat *h, const struct kban_sealed *sealed)
{
	return kban_sign_check(sealed->signature, &h->author, TAG_HEARTBEAT, sealed->report,
			       sealed->report_len);
}

void kban_heartbeat_seal(struct kban_heartbeat *h, const struct kban_keypair *k, uint8_t **bytes,
			 struct kban_sealed *sealed)
{
	kban_auto(pb_arena_free) struct pb_arena *a = pb_arena_new(1024);

	h->author = k->sign_public;
	const void *m = pb_encode(a, &body_table, h);
	if (!m) {
		fputs("kban: a heartbeat is over a limit of its own protocol\n", stderr);
		abort();
	}
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *packed = kban_realloc(NULL, len + KBAN_SIGNATURE_SIZE);
	protobuf_c_message_pack(m, packed);
	kban_sign(packed + len, k, TAG_HEARTBEAT, packed, len);
	*sealed = (struct kban_sealed){packed, len, packed + len};
	*bytes = packed;
}
