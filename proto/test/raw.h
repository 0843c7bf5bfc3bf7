/* SPDX-License-Identifier: MPL-2.0
 *
 * A small writer of protobuf, to make what our encoder never would, and a small reader that counts
 * fields.
 */
#ifndef KBAN_PROTO_TEST_RAW_H
#define KBAN_PROTO_TEST_RAW_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/mem.h"

struct raw {
	uint8_t b[KBAN_MESSAGE_MAX + 4096];
	size_t n;
};

static inline void raw_varint(struct raw *r, uint64_t v)
{
	while (v > 0x7f) {
		r->b[r->n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	r->b[r->n++] = (uint8_t)v;
}

static inline void raw_number(struct raw *r, unsigned field, uint64_t v)
{
	raw_varint(r, field << 3);
	raw_varint(r, v);
}

static inline void raw_bytes(struct raw *r, unsigned field, const void *bytes, size_t n)
{
	raw_varint(r, field << 3 | 2);
	raw_varint(r, n);
	memcpy(r->b + r->n, bytes, n);
	r->n += n;
}

static inline void raw_filled(struct raw *r, unsigned field, uint8_t fill, size_t n)
{
	uint8_t bytes[256];

	memset(bytes, fill, n);
	raw_bytes(r, field, bytes, n);
}

static inline struct raw *raw_new(void)
{
	return kban_zalloc(sizeof(struct raw));
}

static inline uint64_t raw_read(const uint8_t **p)
{
	uint64_t v = 0;

	for (unsigned shift = 0;; shift += 7) {
		v |= (uint64_t)(**p & 0x7f) << shift;
		if (!(*(*p)++ & 0x80))
			return v;
	}
}

/* Bit i is set when field i is there; *inner and *inner_n are the contents of the first field
 * `wanted`. Only for well-formed bytes. */
static inline uint64_t raw_fields(const uint8_t *bytes, size_t n, unsigned wanted,
				  const uint8_t **inner, size_t *inner_n)
{
	uint64_t seen = 0;

	*inner = bytes;
	*inner_n = 0;
	for (const uint8_t *p = bytes; p < bytes + n;) {
		uint64_t tag = raw_read(&p), value = raw_read(&p);
		if (tag >> 3 == wanted && !(seen >> wanted & 1)) {
			*inner = p;
			*inner_n = value;
		}
		seen |= 1ULL << (tag >> 3);
		p += (tag & 7) == 2 ? value : 0;
	}
	return seen;
}

/* Fields 1 to n. */
#define RAW_ALL(n) ((2ULL << (n)) - 2)

#endif
