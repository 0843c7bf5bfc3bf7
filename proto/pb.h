/* SPDX-License-Identifier: MPL-2.0
 *
 * Between protobuf-c's structs and ours. Private to proto/: nothing outside sees the generated
 * header.
 *
 * A pb_table says for one message which of its fields goes where in a plain struct and what is
 * allowed there; the same rows decode, encode and check. Memory comes from a bounded arena: one
 * allocation as a rule, KBAN_UNPACK_MAX at most whatever the input claims, released at one go. Each
 * piece of it knows its size, which tells a text's true length: protobuf-c's strings end at a NUL,
 * the ones on the wire may hold some, and those are refused.
 */
#ifndef KBAN_PROTO_PB_H
#define KBAN_PROTO_PB_H

#include "proto/event.h"
#include "proto/kban.pb-c.h"

struct pb_arena;

/* How many bytes it will roughly take. */
struct pb_arena *pb_arena_new(size_t hint);
void pb_arena_free(struct pb_arena *a);
KBAN_DEFINE_AUTO(struct pb_arena *, pb_arena_free)
/* Zeroed; NULL at the arena's limit. */
void *pb_alloc(struct pb_arena *a, size_t size);
/* The limit was met. */
bool pb_arena_full(const struct pb_arena *a);
/* Signed content: a field that the schema does not know is refused. */
void pb_arena_strict(struct pb_arena *a);
/* Such a field was met. */
bool pb_arena_unknown(const struct pb_arena *a);

enum pb_type {		       /* plain side; lo and hi bound */
	       PB_U32,	       /* uint32_t or an enum; its value */
	       PB_U64,	       /* uint64_t; its value */
	       PB_BOOL,	       /* bool */
	       PB_BYTES,       /* uint8_t[hi], exactly */
	       PB_NONCE,       /* struct kban_text borrowing 0 or hi bytes */
	       PB_NONCE_ARRAY, /* uint8_t[hi], 0 or hi of them, count at `also` */
	       PB_SPAN,	 /* const uint8_t * borrowing lo..hi bytes, count at `also` unless lo == hi
			  */
	       PB_TEXT,	 /* struct kban_text; bytes */
	       PB_CHARS, /* char[hi + 1] with a NUL; bytes */
	       PB_NAME,	 /* struct kban_text, a principal's name; lo 0: or empty */
	       PB_ENDPOINT, /* struct kban_text, a broker's endpoint; lo 0: or empty */
	       PB_PREFIX,   /* struct kban_prefix; lo 0: may be missing, bool at `also` */
	       PB_HOSTS, /* const struct kban_prefix *, single addresses, count at `also`; count */
	       PB_NUMBERS, /* const uint32_t *, count at `also`; count */
	       PB_MESSAGE, /* the struct of `sub`; lo 0: may be missing, bool at `also` */
	       PB_LIST,	   /* const struct of `sub` *, count at `also`; count */
};

struct pb_table;

struct pb_field {
	enum pb_type type;
	uint16_t pb;	/* offset in protobuf-c's struct */
	uint16_t pb_n;	/* offset of its count, where the field is repeated */
	uint16_t plain; /* offset in ours */
	uint16_t also;	/* offset of the count or flag in ours */
	uint64_t lo, hi;
	const struct pb_table *sub;
};

struct pb_table {
	const ProtobufCMessageDescriptor *pb;
	size_t plain_size;
	const struct pb_field *fields;
	size_t fields_n;
};

#define PB_TABLE(pb_, plain_, fields_)                                                             \
	{                                                                                          \
		.pb = &kban__##pb_##__descriptor, .plain_size = sizeof(plain_), .fields = fields_, \
		.fields_n = KBAN_ARRAY_LEN(fields_)                                                \
	}

/* NULL when the bytes are no such message, or it does not fit the arena. */
void *pb_unpack(struct pb_arena *a, const ProtobufCMessageDescriptor *pb, const uint8_t *bytes,
		size_t len);
/* The bytes are the one encoding of m: fields in order, once, none at its default, shortest
 * numbers. */
bool pb_canonical(struct pb_arena *a, const void *m, const uint8_t *bytes, size_t len);
/* Fills *plain from m; false when a field is not allowed. What plain borrows lives in the arena. */
bool pb_decode(struct pb_arena *a, const struct pb_table *t, const void *m, void *plain);
/* A message that borrows from plain and the arena; NULL when a field is not allowed or it does not
 * fit. */
void *pb_encode(struct pb_arena *a, const struct pb_table *t, const void *plain);

#endif
