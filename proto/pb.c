/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define ALIGN  8U
#define HEADER sizeof(size_t) /* in front of each piece: its size */

struct chunk {
	struct chunk *older;
};

struct pb_arena {
	ProtobufCAllocator allocator;
	struct chunk *newest;
	uint8_t *at;
	size_t left, total;
	bool full, strict, unknown;
};

_Static_assert(sizeof(struct pb_arena) % ALIGN == 0 && sizeof(struct chunk) % ALIGN == 0,
	       "alignment");

static void *arena_take(void *arena, size_t size);

static void arena_keep(void *arena, void *p)
{
	(void)arena; /* everything is released at one go */
	(void)p;
}

struct pb_arena *pb_arena_new(size_t hint)
{
	size_t size = hint < KBAN_UNPACK_MAX / 2 ? hint + 1024 : KBAN_UNPACK_MAX / 2;
	struct pb_arena *a = kban_realloc(NULL, sizeof(*a) + size);

	memset(a, 0, sizeof(*a));
	a->allocator = (ProtobufCAllocator){arena_take, arena_keep, a};
	a->at = (uint8_t *)(a + 1);
	a->left = a->total = size;
	return a;
}

void pb_arena_free(struct pb_arena *a)
{
	if (!a)
		return;
	while (a->newest) {
		struct chunk *c = a->newest;
		a->newest = c->older;
		free(c);
	}
	free(a);
}

/* Another chunk, as large as all before it, that holds size at least; false at the limit. */
static bool arena_grow(struct pb_arena *a, size_t size)
{
	size_t room = KBAN_UNPACK_MAX - a->total;
	size_t grown = size > a->total ? size : a->total;

	if (size > room) {
		a->full = true;
		return false;
	}
	if (grown > room)
		grown = room;
	struct chunk *c = kban_realloc(NULL, sizeof(*c) + grown);
	c->older = a->newest;
	a->newest = c;
	a->at = (uint8_t *)(c + 1);
	a->left = grown;
	a->total += grown;
	return true;
}

static void *arena_take(void *arena, size_t size)
{
	struct pb_arena *a = arena;

	if (size > KBAN_UNPACK_MAX) {
		a->full = true;
		return NULL;
	}
	size_t taken = HEADER + (size + ALIGN - 1) / ALIGN * ALIGN;
	if (taken > a->left && !arena_grow(a, taken))
		return NULL;
	uint8_t *piece = a->at;
	a->at += taken;
	a->left -= taken;
	memcpy(piece, &size, HEADER);
	return piece + HEADER;
}

void *pb_alloc(struct pb_arena *a, size_t size)
{
	void *p = arena_take(a, size);

	return p ? memset(p, 0, size) : NULL;
}

bool pb_arena_full(const struct pb_arena *a)
{
	return a->full;
}

void pb_arena_strict(struct pb_arena *a)
{
	a->strict = true;
}

bool pb_arena_unknown(const struct pb_arena *a)
{
	return a->unknown;
}

/* protobuf-c asks for length + 1 bytes for each string, so the piece tells how long it was on the
 * wire. */
static size_t string_len(const char *s)
{
	size_t size;

	if (s == protobuf_c_empty_string)
		return 0;
	memcpy(&size, s - HEADER, HEADER);
	return size - 1;
}

/* The types' functions. Decoders and encoders answer whether the value is allowed. */

static const void *at(const void *p, size_t offset)
{
	return (const uint8_t *)p + offset;
}

static void *at_mut(void *p, size_t offset)
{
	return (uint8_t *)p + offset;
}

static bool within(const struct pb_field *f, uint64_t value)
{
	return value >= f->lo && value <= f->hi;
}

static bool none_or_all(const struct pb_field *f, size_t n)
{
	return n == 0 || n == f->hi;
}

static bool text_allowed(const struct pb_field *f, const char *s, size_t n)
{
	if (f->type == PB_NAME)
		return (n == 0 && f->lo == 0) || kban_name_valid(s, n);
	if (f->type == PB_ENDPOINT)
		return (n == 0 && f->lo == 0) || kban_endpoint_valid(s, n);
	return n >= f->lo && kban_text_valid(s, n, f->hi);
}

static bool u32_copy(const struct pb_field *f, const void *from, void *to)
{
	memcpy(to, from, sizeof(uint32_t));
	return within(f, *(const uint32_t *)from);
}

static bool u64_copy(const struct pb_field *f, const void *from, void *to)
{
	memcpy(to, from, sizeof(uint64_t));
	return within(f, *(const uint64_t *)from);
}

static bool u32_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	(void)a;
	return u32_copy(f, at(m, f->pb), at_mut(plain, f->plain));
}

static bool u32_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	(void)a;
	return u32_copy(f, at(plain, f->plain), at_mut(m, f->pb));
}

static bool u64_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	(void)a;
	return u64_copy(f, at(m, f->pb), at_mut(plain, f->plain));
}

static bool u64_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	(void)a;
	return u64_copy(f, at(plain, f->plain), at_mut(m, f->pb));
}

static bool bool_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	(void)a;
	*(bool *)at_mut(plain, f->plain) = *(const protobuf_c_boolean *)at(m, f->pb);
	return true;
}

static bool bool_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	(void)a;
	*(protobuf_c_boolean *)at_mut(m, f->pb) = *(const bool *)at(plain, f->plain);
	return true;
}

/* Borrowing goes one way only: what is encoded is not changed. */
static void set_binary(const struct pb_field *f, void *m, const void *bytes, size_t n)
{
	*(ProtobufCBinaryData *)at_mut(m, f->pb) = (ProtobufCBinaryData){
		n, (uint8_t *)(uintptr_t)bytes};
}

static bool bytes_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const ProtobufCBinaryData *b = at(m, f->pb);

	(void)a;
	if (b->len != f->hi)
		return false;
	memcpy(at_mut(plain, f->plain), b->data, b->len);
	return true;
}

static bool bytes_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	(void)a;
	set_binary(f, m, at(plain, f->plain), f->hi);
	return true;
}

static bool nonce_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const ProtobufCBinaryData *b = at(m, f->pb);

	(void)a;
	*(struct kban_text *)at_mut(plain, f->plain) = (struct kban_text){(const char *)b->data,
									  b->len};
	return none_or_all(f, b->len);
}

static bool nonce_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	const struct kban_text *t = at(plain, f->plain);

	(void)a;
	set_binary(f, m, t->s, t->n);
	return none_or_all(f, t->n);
}

static bool nonce_array_decode(struct pb_arena *a, const struct pb_field *f, const void *m,
			       void *plain)
{
	const ProtobufCBinaryData *b = at(m, f->pb);

	(void)a;
	if (!none_or_all(f, b->len))
		return false;
	*(size_t *)at_mut(plain, f->also) = b->len;
	if (b->len)
		memcpy(at_mut(plain, f->plain), b->data, b->len);
	return true;
}

static bool nonce_array_encode(struct pb_arena *a, const struct pb_field *f, const void *plain,
			       void *m)
{
	size_t n = *(const size_t *)at(plain, f->also);

	(void)a;
	set_binary(f, m, at(plain, f->plain), n);
	return none_or_all(f, n);
}

static bool span_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const ProtobufCBinaryData *b = at(m, f->pb);

	(void)a;
	*(const uint8_t **)at_mut(plain, f->plain) = b->data;
	if (f->lo != f->hi)
		*(size_t *)at_mut(plain, f->also) = b->len;
	return within(f, b->len);
}

static bool span_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	size_t n = f->lo != f->hi ? *(const size_t *)at(plain, f->also) : f->hi;

	(void)a;
	set_binary(f, m, *(const uint8_t *const *)at(plain, f->plain), n);
	return within(f, n);
}

static bool text_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const char *s = *(const char *const *)at(m, f->pb);
	size_t n = string_len(s);

	(void)a;
	*(struct kban_text *)at_mut(plain, f->plain) = (struct kban_text){s, n};
	return text_allowed(f, s, n);
}

/* With the NUL that protobuf-c wants. */
static bool set_string(struct pb_arena *a, const struct pb_field *f, void *m, const char *s,
		       size_t n)
{
	if (!text_allowed(f, s, n))
		return false;
	if (n == 0)
		return true;
	char *copy = arena_take(a, n + 1);
	if (!copy)
		return false;
	memcpy(copy, s, n);
	copy[n] = 0;
	*(char **)at_mut(m, f->pb) = copy;
	return true;
}

static bool text_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	const struct kban_text *t = at(plain, f->plain);

	return set_string(a, f, m, t->s, t->n);
}

static bool chars_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const char *s = *(const char *const *)at(m, f->pb);
	size_t n = string_len(s);

	(void)a;
	if (!text_allowed(f, s, n))
		return false;
	char *out = at_mut(plain, f->plain);
	memcpy(out, s, n);
	out[n] = 0;
	return true;
}

static bool chars_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	const char *s = at(plain, f->plain);

	return set_string(a, f, m, s, strnlen(s, f->hi + 1));
}

static bool known_fields_only(struct pb_arena *a, const ProtobufCMessage *m)
{
	if (!a->strict || !m->n_unknown_fields)
		return true;
	a->unknown = true;
	return false;
}

/* Only the canonical form, so that one prefix has one encoding. */
static bool read_prefix(struct pb_arena *a, const Kban__Prefix *p, struct kban_prefix *out)
{
	unsigned family = p->address.len == 4 ? KBAN_IPV4 : KBAN_IPV6;

	return known_fields_only(a, &p->base) &&
	       !kban_prefix_from_bytes(out, family, p->address.data, p->address.len, p->length) &&
	       out->family == family;
}

static Kban__Prefix *make_prefix(struct pb_arena *a, const struct kban_prefix *p)
{
	struct kban_prefix again;
	size_t n = p->family == KBAN_IPV4 ? 4 : 16;
	Kban__Prefix *m = pb_alloc(a, sizeof(*m));

	if (!m || kban_prefix_from_bytes(&again, p->family, p->addr, n, p->len) ||
	    !kban_prefix_equal(&again, p))
		return NULL;
	kban__prefix__init(m);
	m->address = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p->addr};
	m->length = p->len;
	return m;
}

static bool prefix_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const Kban__Prefix *p = *(Kban__Prefix *const *)at(m, f->pb);

	if (!f->lo)
		*(bool *)at_mut(plain, f->also) = p;
	return p ? read_prefix(a, p, at_mut(plain, f->plain)) : !f->lo;
}

static bool prefix_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	Kban__Prefix **p = at_mut(m, f->pb);

	if (!f->lo && !*(const bool *)at(plain, f->also))
		return true;
	*p = make_prefix(a, at(plain, f->plain));
	return *p;
}

static bool hosts_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	size_t n = *(const size_t *)at(m, f->pb_n);
	Kban__Prefix *const *from = *(Kban__Prefix *const *const *)at(m, f->pb);
	struct kban_prefix *hosts = within(f, n) ? pb_alloc(a, n * sizeof(*hosts)) : NULL;

	if (!hosts)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!read_prefix(a, from[i], &hosts[i]) ||
		    hosts[i].len != kban_prefix_bits(&hosts[i]))
			return false;
	*(size_t *)at_mut(plain, f->also) = n;
	*(const struct kban_prefix **)at_mut(plain, f->plain) = hosts;
	return true;
}

static bool hosts_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	size_t n = *(const size_t *)at(plain, f->also);
	const struct kban_prefix *hosts = *(const struct kban_prefix *const *)at(plain, f->plain);
	Kban__Prefix **to = within(f, n) ? pb_alloc(a, n * sizeof(*to)) : NULL;

	if (!to)
		return false;
	for (size_t i = 0; i < n; i++) {
		to[i] = make_prefix(a, &hosts[i]);
		if (!to[i] || hosts[i].len != kban_prefix_bits(&hosts[i]))
			return false;
	}
	*(size_t *)at_mut(m, f->pb_n) = n;
	*(Kban__Prefix ***)at_mut(m, f->pb) = to;
	return true;
}

static bool numbers_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	size_t n = *(const size_t *)at(m, f->pb_n);

	(void)a;
	*(size_t *)at_mut(plain, f->also) = n;
	memcpy(at_mut(plain, f->plain), at(m, f->pb), sizeof(uint32_t *));
	return within(f, n);
}

static bool numbers_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	size_t n = *(const size_t *)at(plain, f->also);

	(void)a;
	*(size_t *)at_mut(m, f->pb_n) = n;
	memcpy(at_mut(m, f->pb), at(plain, f->plain), sizeof(uint32_t *));
	return within(f, n);
}

static bool message_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	const void *sub = *(void *const *)at(m, f->pb);

	if (!f->lo)
		*(bool *)at_mut(plain, f->also) = sub;
	return sub ? pb_decode(a, f->sub, sub, at_mut(plain, f->plain)) : !f->lo;
}

static bool message_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	void **sub = at_mut(m, f->pb);

	if (!f->lo && !*(const bool *)at(plain, f->also))
		return true;
	*sub = pb_encode(a, f->sub, at(plain, f->plain));
	return *sub;
}

static bool list_decode(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain)
{
	size_t n = *(const size_t *)at(m, f->pb_n);
	void *const *from = *(void *const *const *)at(m, f->pb);
	uint8_t *rows = within(f, n) ? pb_alloc(a, n * f->sub->plain_size) : NULL;

	if (!rows)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!pb_decode(a, f->sub, from[i], rows + i * f->sub->plain_size))
			return false;
	*(size_t *)at_mut(plain, f->also) = n;
	*(const void **)at_mut(plain, f->plain) = rows;
	return true;
}

static bool list_encode(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m)
{
	size_t n = *(const size_t *)at(plain, f->also);
	const uint8_t *rows = *(const void *const *)at(plain, f->plain);
	void **to = within(f, n) ? pb_alloc(a, n * sizeof(*to)) : NULL;

	if (!to)
		return false;
	for (size_t i = 0; i < n; i++) {
		to[i] = pb_encode(a, f->sub, rows + i * f->sub->plain_size);
		if (!to[i])
			return false;
	}
	*(size_t *)at_mut(m, f->pb_n) = n;
	*(void ***)at_mut(m, f->pb) = to;
	return true;
}

static const struct {
	bool (*decode)(struct pb_arena *a, const struct pb_field *f, const void *m, void *plain);
	bool (*encode)(struct pb_arena *a, const struct pb_field *f, const void *plain, void *m);
} types[] = {
	[PB_U32] = {u32_decode, u32_encode},
	[PB_U64] = {u64_decode, u64_encode},
	[PB_BOOL] = {bool_decode, bool_encode},
	[PB_BYTES] = {bytes_decode, bytes_encode},
	[PB_NONCE] = {nonce_decode, nonce_encode},
	[PB_NONCE_ARRAY] = {nonce_array_decode, nonce_array_encode},
	[PB_SPAN] = {span_decode, span_encode},
	[PB_TEXT] = {text_decode, text_encode},
	[PB_CHARS] = {chars_decode, chars_encode},
	[PB_NAME] = {text_decode, text_encode},
	[PB_ENDPOINT] = {text_decode, text_encode},
	[PB_PREFIX] = {prefix_decode, prefix_encode},
	[PB_HOSTS] = {hosts_decode, hosts_encode},
	[PB_NUMBERS] = {numbers_decode, numbers_encode},
	[PB_MESSAGE] = {message_decode, message_encode},
	[PB_LIST] = {list_decode, list_encode},
};

void *pb_unpack(struct pb_arena *a, const ProtobufCMessageDescriptor *pb, const uint8_t *bytes,
		size_t len)
{
	return protobuf_c_message_unpack(pb, &a->allocator, len, bytes);
}

bool pb_canonical(struct pb_arena *a, const void *m, const uint8_t *bytes, size_t len)
{
	if (protobuf_c_message_get_packed_size(m) != len)
		return false;
	uint8_t *again = arena_take(a, len);
	return again && protobuf_c_message_pack(m, again) == len && !memcmp(again, bytes, len);
}

bool pb_decode(struct pb_arena *a, const struct pb_table *t, const void *m, void *plain)
{
	if (!known_fields_only(a, m))
		return false;
	for (size_t i = 0; i < t->fields_n; i++)
		if (!types[t->fields[i].type].decode(a, &t->fields[i], m, plain))
			return false;
	return true;
}

void *pb_encode(struct pb_arena *a, const struct pb_table *t, const void *plain)
{
	ProtobufCMessage *m = arena_take(a, t->pb->sizeof_message);

	if (!m)
		return NULL;
	t->pb->message_init(m);
	for (size_t i = 0; i < t->fields_n; i++)
		if (!types[t->fields[i].type].encode(a, &t->fields[i], plain, m))
			return NULL;
	return m;
}
