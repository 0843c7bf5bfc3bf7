/* SPDX-License-Identifier: MPL-2.0 */
#include "store/item.h"

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <string.h>

enum field_type {
	FIELD_END = 0,
	FIELD_U8,   /* uint8_t */
	FIELD_FLAG, /* bool */
	FIELD_ENUM, /* an enum, one byte on disk */
	FIELD_U32,
	FIELD_U64,
	FIELD_SEQ, /* a uint64_t: the seq of a report that the row rests on, or 0 */
	FIELD_KEY, /* a hash is as long */
	FIELD_PREFIX,
	FIELD_NAME,	 /* char[KBAN_NAME_MAX + 1] */
	FIELD_ENDPOINT,	 /* char[KBAN_ENDPOINT_MAX + 1] */
	FIELD_ADDRESSES, /* of struct ledger_broker */
};

struct field {
	enum field_type type;
	size_t at; /* in the row's struct */
};

#define FIELDS_MAX   16
#define PREFIX_BYTES 18

static_assert(KBAN_KEY_SIZE == KBAN_HASH_SIZE, "one field type for both");
static_assert(sizeof(enum kban_role) == sizeof(unsigned), "FIELD_ENUM");
static_assert(sizeof(enum ledger_safe_state) == sizeof(unsigned), "FIELD_ENUM");

#define H(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_header, m)                                         \
	}
#define B(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_ban, m)                                            \
	}
#define S(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_safe, m)                                           \
	}
#define U(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_unban, m)                                          \
	}
#define X(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_strikes, m)                                        \
	}
#define P(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct ledger_principal, m)                                    \
	}
#define I(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct ledger_invitation, m)                                   \
	}
#define R(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct ledger_broker, m)                                       \
	}
#define Y(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_policy, m)                                         \
	}
#define V(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_versions, m)                                       \
	}
#define O(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_hour, m)                                           \
	}
#define T(t, m)                                                                                    \
	{                                                                                          \
		FIELD_##t, offsetof(struct item_time, m)                                           \
	}

static const struct {
	struct field fields[FIELDS_MAX];
} kinds[ITEM_KINDS] = {
	[ITEM_HEADER] = {{H(U8, format), H(U64, pub.time_ms), H(U32, pub.place.epoch),
			  H(U64, pub.place.seq), H(KEY, pub.place.chain), H(KEY, pub.digest)}},
	[ITEM_BAN] = {{B(PREFIX, prefix), B(KEY, author), B(SEQ, ban.seq), B(U32, ban.index),
		       B(U64, ban.since_ms), B(U64, ban.until_ms), B(U64, ban.strikes),
		       B(FLAG, ban.ended)}},
	[ITEM_SAFE] = {{S(PREFIX, safe.prefix), S(KEY, owner), S(ENUM, safe.state),
			S(SEQ, safe.seq), S(U32, safe.index), S(U64, safe.since_ms),
			S(U64, safe.until_ms), S(SEQ, safe.decided_seq)}},
	[ITEM_UNBAN] = {{U(PREFIX, prefix), U(SEQ, seq), U(U64, time_ms)}},
	[ITEM_STRIKES] = {{X(PREFIX, prefix), X(U64, count), X(U64, end_ms)}},
	[ITEM_PRINCIPAL] = {{P(KEY, key), P(KEY, curve), P(ENUM, role), P(NAME, name),
			     P(SEQ, granted_seq), P(U32, granted_index), P(U64, granted_ms),
			     P(SEQ, revoked_seq), P(FLAG, held), P(U64, quota_hour),
			     P(U32, quota_used)}},
	[ITEM_COUNTER] = {{P(KEY, key), P(U64, counter), P(KEY, newest_hash), P(SEQ, newest_seq)}},
	[ITEM_INVITATION] = {{I(KEY, key), I(KEY, curve), I(ENUM, role), I(NAME, name), I(SEQ, seq),
			      I(U32, index), I(U64, expires_ms), I(SEQ, used_seq), I(U64, used_ms),
			      I(KEY, used_by), I(SEQ, revoked_seq)}},
	[ITEM_BROKER] = {{R(KEY, curve), R(ENDPOINT, endpoint), R(ADDRESSES, addresses_n),
			  R(SEQ, seq)}},
	[ITEM_POLICY] = {{Y(U32, policy.quota_per_hour), Y(U32, policy.safe_max),
			  Y(U32, policy.safe_min_len4), Y(U32, policy.safe_min_len6),
			  Y(U32, policy.repeat_percent), Y(U64, policy.repeat_max_ms),
			  Y(U64, policy.history_ms), Y(U32, policy.ban_min_len4),
			  Y(U32, policy.ban_min_len6), Y(U64, policy.node_ban_max_ms), Y(SEQ, seq),
			  Y(U64, since_ms)}},
	[ITEM_VERSIONS] = {{V(U32, fold_version), V(SEQ, fold_version_seq), V(U32, epoch),
			    V(SEQ, epoch_seq)}},
	[ITEM_HOUR] = {{O(U64, hour), O(U64, seq)}},
	[ITEM_TIME] = {{T(U64, ms)}},
};

/* Writing ------------------------------------------------------------------------------------ */

static void put_bytes(struct item *i, const void *p, size_t n)
{
	memcpy(i->b + i->n, p, n);
	i->n += n;
}

static void put_u8(struct item *i, unsigned v)
{
	i->b[i->n++] = (uint8_t)v;
}

static void put_prefix(struct item *i, const struct kban_prefix *p)
{
	put_u8(i, p->family);
	put_u8(i, p->len);
	put_bytes(i, p->addr, sizeof(p->addr));
}

static void put_text(struct item *i, const char *s)
{
	size_t n = strlen(s);

	put_u8(i, (unsigned)n);
	put_bytes(i, s, n);
}

static void put_addresses(struct item *i, const struct ledger_broker *b)
{
	put_u8(i, (unsigned)b->addresses_n);
	for (size_t a = 0; a < b->addresses_n; a++)
		put_prefix(i, &b->addresses[a]);
}

static void put_field(struct item *i, const struct field *f, const void *row)
{
	const void *p = (const char *)row + f->at;
	uint32_t u32;
	uint64_t u64;

	switch (f->type) {
	case FIELD_U8:
	case FIELD_FLAG:
		put_bytes(i, p, 1);
		break;
	case FIELD_ENUM:
		put_u8(i, *(const unsigned *)p);
		break;
	case FIELD_U32:
		u32 = htobe32(*(const uint32_t *)p);
		put_bytes(i, &u32, sizeof(u32));
		break;
	case FIELD_U64:
	case FIELD_SEQ:
		u64 = htobe64(*(const uint64_t *)p);
		put_bytes(i, &u64, sizeof(u64));
		break;
	case FIELD_KEY:
		put_bytes(i, p, KBAN_KEY_SIZE);
		break;
	case FIELD_PREFIX:
		put_prefix(i, p);
		break;
	case FIELD_NAME:
	case FIELD_ENDPOINT:
		put_text(i, p);
		break;
	case FIELD_ADDRESSES:
		put_addresses(i, row);
		break;
	case FIELD_END:
		break;
	}
}

void item_write(struct item *out, enum item_kind kind, const void *row)
{
	out->n = 0;
	put_u8(out, kind);
	for (const struct field *f = kinds[kind].fields; f->type; f++)
		put_field(out, f, row);
}

/* Reading ------------------------------------------------------------------------------------ */

static bool take_bytes(struct kban_span *s, void *out, size_t n)
{
	if (s->n < n)
		return false;
	memcpy(out, s->p, n);
	s->p += n;
	s->n -= n;
	return true;
}

static bool take_flag(struct kban_span *s, bool *out)
{
	uint8_t v;

	if (!take_bytes(s, &v, 1) || v > 1)
		return false;
	*out = v;
	return true;
}

static bool take_enum(struct kban_span *s, unsigned *out)
{
	uint8_t v;

	if (!take_bytes(s, &v, 1))
		return false;
	*out = v;
	return true;
}

static bool take_u32(struct kban_span *s, uint32_t *out)
{
	bool r = take_bytes(s, out, sizeof(*out));

	*out = be32toh(*out);
	return r;
}

static bool take_u64(struct kban_span *s, uint64_t *out)
{
	bool r = take_bytes(s, out, sizeof(*out));

	*out = be64toh(*out);
	return r;
}

/* The one form that a prefix has: no host bits, nothing after the address, no IPv4 in IPv6. */
static bool take_prefix(struct kban_span *s, struct kban_prefix *out)
{
	uint8_t b[PREFIX_BYTES];
	struct kban_prefix raw = {0};

	if (!take_bytes(s, b, sizeof(b)))
		return false;
	raw.family = b[0];
	raw.len = b[1];
	memcpy(raw.addr, b + 2, sizeof(raw.addr));
	return !kban_prefix_from_bytes(out, raw.family, raw.addr, raw.family == KBAN_IPV4 ? 4 : 16,
				       raw.len) &&
	       kban_prefix_equal(out, &raw);
}

static bool take_text(struct kban_span *s, char *out, size_t max,
		      bool (*valid)(const char *s, size_t n))
{
	uint8_t n;

	if (!take_bytes(s, &n, 1) || n > max || !take_bytes(s, out, n))
		return false;
	out[n] = '\0';
	return valid(out, n);
}

static bool take_addresses(struct kban_span *s, struct ledger_broker *b)
{
	uint8_t n;

	if (!take_bytes(s, &n, 1) || n > KBAN_ADDRESSES_MAX)
		return false;
	b->addresses_n = n;
	for (size_t a = 0; a < n; a++)
		if (!take_prefix(s, &b->addresses[a]) ||
		    b->addresses[a].len != kban_prefix_bits(&b->addresses[a]))
			return false;
	return true;
}

static bool take_field(struct kban_span *s, const struct field *f, void *row)
{
	void *p = (char *)row + f->at;

	switch (f->type) {
	case FIELD_U8:
		return take_bytes(s, p, 1);
	case FIELD_FLAG:
		return take_flag(s, p);
	case FIELD_ENUM:
		return take_enum(s, p);
	case FIELD_U32:
		return take_u32(s, p);
	case FIELD_U64:
	case FIELD_SEQ:
		return take_u64(s, p);
	case FIELD_KEY:
		return take_bytes(s, p, KBAN_KEY_SIZE);
	case FIELD_PREFIX:
		return take_prefix(s, p);
	case FIELD_NAME:
		return take_text(s, p, KBAN_NAME_MAX, kban_name_valid);
	case FIELD_ENDPOINT:
		return take_text(s, p, KBAN_ENDPOINT_MAX, kban_endpoint_valid);
	case FIELD_ADDRESSES:
		return take_addresses(s, row);
	case FIELD_END:
		break;
	}
	return false;
}

static bool is_newer_header(const struct item_row *row)
{
	return row->kind == ITEM_HEADER && row->header.format > LEDGER_STATE_FORMAT;
}

bool item_read(struct item_row *out, struct kban_span item)
{
	struct kban_span s = item;
	uint8_t kind;

	memset(out, 0, sizeof(*out));
	if (!take_bytes(&s, &kind, 1) || kind >= ITEM_KINDS)
		return false;
	out->kind = (enum item_kind)kind;
	/* The union's members all begin where the header does. */
	for (const struct field *f = kinds[kind].fields; f->type; f++) {
		if (!take_field(&s, f, &out->header))
			return false;
		if (is_newer_header(out))
			return true;
	}
	return !s.n;
}

void item_seqs(const struct item_row *row, void (*fn)(void *arg, uint64_t seq), void *arg)
{
	for (const struct field *f = kinds[row->kind].fields; f->type; f++) {
		const void *p = (const char *)&row->header + f->at;
		uint64_t seq = f->type == FIELD_SEQ ? *(const uint64_t *)p : 0;

		if (seq)
			fn(arg, seq);
	}
}
