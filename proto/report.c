/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/report.h"

#include <stdlib.h>
#include <string.h>

#include "proto/pb.h"

#define TAG_REPORT "kban report v1"
#define TAG_HASH   "kban report hash v1"
#define TAG_JOIN   "kban join v1"

/* What each event may hold. The fold judges the rest: who may say it, and when. */

#define ROW(type_, pb_, plain_, field_, lo_, hi_)                                                  \
	{                                                                                          \
		.type = type_, .pb = offsetof(Kban__##pb_, field_),                                \
		.plain = offsetof(struct kban_event_##plain_, field_), .lo = lo_, .hi = hi_        \
	}

static const struct pb_field ban_fields[] = {
	ROW(PB_PREFIX, Ban, ban, prefix, 1, 0),
	ROW(PB_U64, Ban, ban, duration_ms, 0, KBAN_BAN_MAX_MS),
	ROW(PB_BOOL, Ban, ban, force, 0, 0),
	ROW(PB_TEXT, Ban, ban, rule, 0, KBAN_RULE_MAX),
	ROW(PB_TEXT, Ban, ban, service, 0, KBAN_RULE_MAX),
	ROW(PB_NAME, Ban, ban, server, 0, 0),
	ROW(PB_TEXT, Ban, ban, line, 0, KBAN_LINE_MAX),
	ROW(PB_TEXT, Ban, ban, reason, 0, KBAN_TEXT_MAX),
	ROW(PB_U32, Ban, ban, count, 0, UINT32_MAX),
	ROW(PB_U64, Ban, ban, first_ms, 0, UINT64_MAX),
	ROW(PB_U64, Ban, ban, last_ms, 0, UINT64_MAX),
};
static const struct pb_field unban_fields[] = {
	ROW(PB_PREFIX, Unban, unban, prefix, 1, 0),
	ROW(PB_BOOL, Unban, unban, covering, 0, 0),
	ROW(PB_TEXT, Unban, unban, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field safe_add_fields[] = {
	ROW(PB_PREFIX, SafeAdd, safe_add, prefix, 1, 0),
	ROW(PB_U64, SafeAdd, safe_add, duration_ms, 0, KBAN_SAFE_MAX_MS),
	ROW(PB_BOOL, SafeAdd, safe_add, force, 0, 0),
	ROW(PB_TEXT, SafeAdd, safe_add, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field safe_remove_fields[] = {
	ROW(PB_PREFIX, SafeRemove, safe_remove, prefix, 1, 0),
	ROW(PB_BOOL, SafeRemove, safe_remove, all, 0, 0),
	ROW(PB_TEXT, SafeRemove, safe_remove, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field safe_approve_fields[] = {
	ROW(PB_PREFIX, SafeApprove, safe_approve, prefix, 1, 0),
	ROW(PB_BYTES, SafeApprove, safe_approve, owner, 0, KBAN_KEY_SIZE),
	ROW(PB_TEXT, SafeApprove, safe_approve, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field grant_fields[] = {
	ROW(PB_BYTES, Grant, grant, key, 0, KBAN_KEY_SIZE),
	ROW(PB_BYTES, Grant, grant, curve, 0, KBAN_KEY_SIZE),
	ROW(PB_U32, Grant, grant, role, KBAN_ROLE_NODE, KBAN_ROLE_BROKER),
	ROW(PB_NAME, Grant, grant, name, 1, 0),
};
static const struct pb_field revoke_fields[] = {
	ROW(PB_BYTES, Revoke, revoke, key, 0, KBAN_KEY_SIZE),
	ROW(PB_BOOL, Revoke, revoke, keep_safe, 0, 0),
	ROW(PB_TEXT, Revoke, revoke, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field purge_fields[] = {
	ROW(PB_BYTES, Purge, purge, key, 0, KBAN_KEY_SIZE),
	ROW(PB_TEXT, Purge, purge, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field invite_fields[] = {
	ROW(PB_BYTES, Invite, invite, key, 0, KBAN_KEY_SIZE),
	ROW(PB_BYTES, Invite, invite, curve, 0, KBAN_KEY_SIZE),
	ROW(PB_U32, Invite, invite, role, KBAN_ROLE_NODE, KBAN_ROLE_BROKER),
	ROW(PB_NAME, Invite, invite, name, 1, 0),
	ROW(PB_U64, Invite, invite, duration_ms, 1, KBAN_INVITE_MAX_MS),
};
static const struct pb_field join_fields[] = {
	ROW(PB_BYTES, Join, join, key, 0, KBAN_KEY_SIZE),
	ROW(PB_BYTES, Join, join, curve, 0, KBAN_KEY_SIZE),
	ROW(PB_BYTES, Join, join, proof, 0, KBAN_SIGNATURE_SIZE),
};
static const struct pb_field policy_fields[] = {
	ROW(PB_U32, Policy, policy, quota_per_hour, 0, UINT32_MAX),
	ROW(PB_U32, Policy, policy, safe_max, 0, UINT32_MAX),
	ROW(PB_U32, Policy, policy, safe_min_len4, 0, UINT32_MAX),
	ROW(PB_U32, Policy, policy, safe_min_len6, 0, UINT32_MAX),
	ROW(PB_U32, Policy, policy, repeat_percent, 0, UINT32_MAX),
	ROW(PB_U64, Policy, policy, repeat_max_ms, 0, UINT64_MAX),
	ROW(PB_U64, Policy, policy, history_ms, 0, UINT64_MAX),
	ROW(PB_U32, Policy, policy, ban_min_len4, 0, UINT32_MAX),
	ROW(PB_U32, Policy, policy, ban_min_len6, 0, UINT32_MAX),
	ROW(PB_U64, Policy, policy, node_ban_max_ms, 0, UINT64_MAX),
};
static const struct pb_field broker_address_fields[] = {
	ROW(PB_BYTES, BrokerAddress, broker_address, curve, 0, KBAN_KEY_SIZE),
	ROW(PB_BOOL, BrokerAddress, broker_address, remove, 0, 0),
	ROW(PB_ENDPOINT, BrokerAddress, broker_address, endpoint, 0, 0),
	{.type = PB_HOSTS,
	 .pb = offsetof(Kban__BrokerAddress, addresses),
	 .pb_n = offsetof(Kban__BrokerAddress, n_addresses),
	 .plain = offsetof(struct kban_event_broker_address, addresses),
	 .also = offsetof(struct kban_event_broker_address, addresses_n),
	 .hi = KBAN_ADDRESSES_MAX},
};
static const struct pb_field release_fields[] = {
	ROW(PB_BYTES, Release, release, key, 0, KBAN_KEY_SIZE),
	ROW(PB_TEXT, Release, release, reason, 0, KBAN_TEXT_MAX),
};
static const struct pb_field fold_version_fields[] = {
	ROW(PB_U32, FoldVersion, fold_version, version, 0, UINT32_MAX),
	ROW(PB_BOOL, FoldVersion, fold_version, force, 0, 0),
};
static const struct pb_field epoch_fields[] = {
	ROW(PB_U32, Epoch, epoch, epoch, 0, UINT32_MAX),
	ROW(PB_TEXT, Epoch, epoch, reason, 0, KBAN_TEXT_MAX),
};

#define EVENT(kind_, name_)                                                                        \
	[KBAN_EVENT_##kind_] = PB_TABLE(name_, struct kban_event_##name_, name_##_fields)

static const struct pb_table event_tables[KBAN_EVENT_KINDS] = {
	EVENT(BAN, ban),
	EVENT(UNBAN, unban),
	EVENT(SAFE_ADD, safe_add),
	EVENT(SAFE_REMOVE, safe_remove),
	EVENT(SAFE_APPROVE, safe_approve),
	EVENT(GRANT, grant),
	EVENT(REVOKE, revoke),
	EVENT(PURGE, purge),
	EVENT(INVITE, invite),
	EVENT(JOIN, join),
	EVENT(POLICY, policy),
	EVENT(BROKER_ADDRESS, broker_address),
	EVENT(RELEASE, release),
	EVENT(FOLD_VERSION, fold_version),
	EVENT(EPOCH, epoch),
};

static const struct pb_field report_fields[] = {
	{.type = PB_BYTES,
	 .pb = offsetof(Kban__Report, cluster),
	 .plain = offsetof(struct kban_report, cluster),
	 .hi = KBAN_CLUSTER_SIZE},
	{.type = PB_BYTES,
	 .pb = offsetof(Kban__Report, author),
	 .plain = offsetof(struct kban_report, author),
	 .hi = KBAN_KEY_SIZE},
	{.type = PB_U64,
	 .pb = offsetof(Kban__Report, counter),
	 .plain = offsetof(struct kban_report, counter),
	 .lo = 1,
	 .hi = UINT64_MAX},
	{.type = PB_U32,
	 .pb = offsetof(Kban__Report, base_epoch),
	 .plain = offsetof(struct kban_report, base.epoch),
	 .lo = 1, /* there is no epoch 0: its places would lie before every unban and ahead of none */
	 .hi = UINT32_MAX},
	{.type = PB_U64,
	 .pb = offsetof(Kban__Report, base_seq),
	 .plain = offsetof(struct kban_report, base.seq),
	 .hi = UINT64_MAX},
	{.type = PB_U64,
	 .pb = offsetof(Kban__Report, issued_ms),
	 .plain = offsetof(struct kban_report, issued_ms),
	 .hi = UINT64_MAX},
};
static const struct pb_table report_table = PB_TABLE(report, struct kban_report, report_fields);

const char *kban_report_result_name(int result)
{
	static const char *const names[] = {
		"ok", "malformed", "too-large", "unknown-event", "bad-signature",
	};

	return result >= 0 && (size_t)result < KBAN_ARRAY_LEN(names) ? names[result] : "unknown";
}

/* The union of plain events and protobuf-c's oneof are both addressed by any member of theirs. */
static void *event_body(struct kban_event *e)
{
	return &e->ban;
}

/* What takes more than one field to see. */
static bool event_coherent(const struct kban_event *e)
{
	return e->kind != KBAN_EVENT_BROKER_ADDRESS || e->broker_address.remove ||
	       e->broker_address.endpoint.n;
}

static bool event_read(struct pb_arena *a, const Kban__Event *m, struct kban_event *e)
{
	e->kind = (enum kban_event_kind)m->kind_case;
	return pb_decode(a, &event_tables[e->kind], m->ban, event_body(e)) && event_coherent(e);
}

/* A kind of a later version shows as an unknown field. */
static bool event_known(const Kban__Event *m)
{
	return !m->base.n_unknown_fields;
}

static bool event_has_kind(const Kban__Event *m)
{
	return m->kind_case != KBAN__EVENT__KIND__NOT_SET;
}

static int failure(const struct pb_arena *a)
{
	if (pb_arena_full(a))
		return KBAN_REPORT_TOO_LARGE;
	return pb_arena_unknown(a) ? KBAN_REPORT_UNKNOWN_EVENT : KBAN_REPORT_MALFORMED;
}

static int events_read(struct pb_arena *a, Kban__Event *const *from, struct kban_report *r)
{
	for (size_t i = 0; i < r->events_n; i++)
		if (!event_known(from[i]))
			return KBAN_REPORT_UNKNOWN_EVENT;
	for (size_t i = 0; i < r->events_n; i++)
		if (!event_has_kind(from[i]) || !event_read(a, from[i], &r->events[i]))
			return failure(a);
	return 0;
}

/* A report with room for n events, in the arena that it will own. */
static struct kban_report *report_place(struct pb_arena *a, size_t n)
{
	struct kban_report *r = pb_alloc(a, sizeof(*r));

	if (!r || !(r->events = pb_alloc(a, n * sizeof(*r->events))))
		return NULL;
	r->events_n = n;
	r->arena = a;
	return r;
}

static struct pb_arena *arena_for(size_t len)
{
	struct pb_arena *a = pb_arena_new(len * 5);

	pb_arena_strict(a);
	return a;
}

int kban_report_decode(struct kban_report **out, const struct kban_sealed *sealed)
{
	if (sealed->report_len > KBAN_REPORT_MAX)
		return KBAN_REPORT_TOO_LARGE;
	kban_auto(pb_arena_free) struct pb_arena *a = arena_for(sealed->report_len);
	const Kban__Report *m = pb_unpack(a, &kban__report__descriptor, sealed->report,
					  sealed->report_len);
	if (!m)
		return failure(a);
	if (m->n_events > KBAN_EVENTS_MAX)
		return KBAN_REPORT_TOO_LARGE;
	struct kban_report *r = m->n_events ? report_place(a, m->n_events) : NULL;
	if (!r || !pb_decode(a, &report_table, m, r))
		return failure(a);
	int result = events_read(a, m->events, r);
	if (result)
		return result;
	if (!pb_canonical(a, m, sealed->report, sealed->report_len))
		return KBAN_REPORT_MALFORMED;
	kban_sealed_hash(&r->hash, sealed);
	*out = r;
	a = NULL;
	return 0;
}

void kban_report_free(struct kban_report *r)
{
	if (r)
		pb_arena_free(r->arena);
}

bool kban_report_check(const struct kban_report *r, const struct kban_sealed *sealed)
{
	return kban_sign_check(sealed->signature, &r->author, TAG_REPORT, sealed->report,
			       sealed->report_len);
}

static Kban__Event *event_make(struct pb_arena *a, const struct kban_event *e)
{
	if (e->kind < KBAN_EVENT_BAN || e->kind >= KBAN_EVENT_KINDS || !event_coherent(e))
		return NULL;
	Kban__Event *m = pb_alloc(a, sizeof(*m));
	if (!m)
		return NULL;
	kban__event__init(m);
	m->kind_case = (Kban__Event__KindCase)e->kind;
	m->ban = pb_encode(a, &event_tables[e->kind], &e->ban);
	return m->ban ? m : NULL;
}

static Kban__Report *report_make(struct pb_arena *a, const struct kban_report *r)
{
	Kban__Report *m = pb_encode(a, &report_table, r);

	if (!m || !(m->events = pb_alloc(a, r->events_n * sizeof(*m->events))))
		return NULL;
	m->n_events = r->events_n;
	for (size_t i = 0; i < r->events_n; i++)
		if (!(m->events[i] = event_make(a, &r->events[i])))
			return NULL;
	return m;
}

int kban_report_seal(struct kban_report *r, const struct kban_keypair *k, uint8_t **bytes,
		     struct kban_sealed *sealed)
{
	if (!r->events_n || r->events_n > KBAN_EVENTS_MAX)
		return r->events_n ? KBAN_REPORT_TOO_LARGE : KBAN_REPORT_MALFORMED;
	kban_auto(pb_arena_free) struct pb_arena *a = arena_for(r->events_n * 128);
	r->author = k->sign_public;
	const Kban__Report *m = report_make(a, r);
	if (!m)
		return failure(a);
	size_t len = kban__report__get_packed_size(m);
	if (len > KBAN_REPORT_MAX)
		return KBAN_REPORT_TOO_LARGE;
	uint8_t *packed = kban_realloc(NULL, len + KBAN_SIGNATURE_SIZE);
	kban__report__pack(m, packed);
	kban_sign(packed + len, k, TAG_REPORT, packed, len);
	*sealed = (struct kban_sealed){packed, len, packed + len};
	kban_sealed_hash(&r->hash, sealed);
	*bytes = packed;
	return 0;
}

void kban_sealed_hash(struct kban_hash *out, const struct kban_sealed *sealed)
{
	const struct kban_span spans[] = {
		{sealed->report, sealed->report_len},
		{sealed->signature, KBAN_SIGNATURE_SIZE},
	};

	kban_hash_spans(out, TAG_HASH, spans, KBAN_ARRAY_LEN(spans));
}

int kban_event_encode(uint8_t **out, size_t *len, const struct kban_event *e)
{
	kban_auto(pb_arena_free) struct pb_arena *a = arena_for(128);
	const Kban__Event *m = event_make(a, e);

	if (!m)
		return failure(a);
	*len = kban__event__get_packed_size(m);
	*out = kban_realloc(NULL, *len);
	kban__event__pack(m, *out);
	return 0;
}

int kban_event_decode(struct kban_report **out, const uint8_t *bytes, size_t len)
{
	if (len > KBAN_REPORT_MAX)
		return KBAN_REPORT_TOO_LARGE;
	kban_auto(pb_arena_free) struct pb_arena *a = arena_for(len);
	Kban__Event *m = pb_unpack(a, &kban__event__descriptor, bytes, len);
	if (!m)
		return failure(a);
	struct kban_report *r = report_place(a, 1);
	int result = r ? events_read(a, &m, r) : failure(a);
	if (result)
		return result;
	if (!pb_canonical(a, m, bytes, len))
		return KBAN_REPORT_MALFORMED;
	*out = r;
	a = NULL;
	return 0;
}

size_t kban_event_size(const struct kban_event *e)
{
	kban_auto(pb_arena_free) struct pb_arena *a = arena_for(128);
	const Kban__Event *m = event_make(a, e);

	if (!m)
		return 0;
	size_t len = kban__event__get_packed_size(m), size = len + 1; /* 1: the field's tag */
	for (size_t rest = len; rest; rest >>= 7)
		size++;
	return size;
}

/* What a joiner's key signs: that it is that key which takes up this invitation. */
struct join_words {
	uint8_t cluster[KBAN_CLUSTER_SIZE];
	uint8_t invitation[KBAN_KEY_SIZE], key[KBAN_KEY_SIZE], curve[KBAN_KEY_SIZE];
};

static struct join_words join_words(const struct kban_event_join *join,
				    const struct kban_cluster_id *cluster,
				    const struct kban_key *invitation)
{
	struct join_words words;

	memcpy(words.cluster, cluster->b, sizeof(words.cluster));
	memcpy(words.invitation, invitation->b, sizeof(words.invitation));
	memcpy(words.key, join->key.b, sizeof(words.key));
	memcpy(words.curve, join->curve.b, sizeof(words.curve));
	return words;
}

void kban_join_prove(struct kban_event_join *join, const struct kban_keypair *k,
		     const struct kban_cluster_id *cluster, const struct kban_key *invitation)
{
	join->key = k->sign_public;
	join->curve = k->curve_public;
	struct join_words words = join_words(join, cluster, invitation);
	kban_sign(join->proof, k, TAG_JOIN, (const uint8_t *)&words, sizeof(words));
}

bool kban_join_check(const struct kban_event_join *join, const struct kban_cluster_id *cluster,
		     const struct kban_key *invitation)
{
	struct join_words words = join_words(join, cluster, invitation);

	return kban_sign_check(join->proof, &join->key, TAG_JOIN, (const uint8_t *)&words,
			       sizeof(words));
}
