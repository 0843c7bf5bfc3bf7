/* SPDX-License-Identifier: MPL-2.0
 *
 * Addresses and prefixes. A prefix is always canonical: host bits are zero, an IPv4-mapped IPv6
 * prefix (::ffff:0:0/96 and narrower, RFC 4291 section 2.5.5.2) is IPv4, and unused bytes of addr
 * are zero, so that two equal prefixes are equal in memory and memcmp() orders them.
 */
#ifndef KBAN_PROTO_PREFIX_H
#define KBAN_PROTO_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mem.h"

enum kban_family {
	KBAN_IPV4 = 4,
	KBAN_IPV6 = 6,
};

struct kban_prefix {
	uint8_t family;   /* enum kban_family */
	uint8_t len;      /* bits: 0..32 or 0..128 */
	uint8_t addr[16]; /* network byte order; IPv4 in the first four bytes */
};

/* The longest text that kban_prefix_format() writes, with its NUL. */
#define KBAN_PREFIX_TEXT 52

enum kban_prefix_result {
	KBAN_PREFIX_MALFORMED = 1, /* no address, or a length out of range */
	KBAN_PREFIX_HOST_BITS,     /* bits below the length are set; *out holds the masked prefix */
};

/* Reads "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.1". No zone, port or blanks. */
int kban_prefix_parse(struct kban_prefix *out, const char *text) kban_must_check;
/* The same from len bytes that need no NUL. */
int kban_prefix_parse_n(struct kban_prefix *out, const char *text, size_t len) kban_must_check;
/* From raw bytes: family 4 with 4 bytes or family 6 with 16; canonical on return. */
int kban_prefix_from_bytes(struct kban_prefix *out, unsigned family, const uint8_t *addr,
			   size_t addr_len, unsigned len) kban_must_check;

/* What is wrong with text that was not read, as the end of a sentence that begins with the text, and what to write
 * instead: other tools' spellings (netmasks, ranges, zones, ports, wildcards) are recognised. NULL if there is
 * nothing wrong. Holds nothing of text that would need escaping. The caller's to free. */
char *kban_prefix_advice(const char *text) kban_must_check;
/* The fewest prefixes that together are first to last, two addresses of one family: writes at most max of them
 * and returns how many there are, 0 if last comes before first. */
size_t kban_prefix_range(struct kban_prefix *out, size_t max, const struct kban_prefix *first,
			 const struct kban_prefix *last);

/* RFC 5952 text; a single address has no "/len". Returns buf. */
const char *kban_prefix_format(const struct kban_prefix *p, char buf[KBAN_PREFIX_TEXT]);

bool kban_prefix_equal(const struct kban_prefix *a, const struct kban_prefix *b);
/* IPv4 before IPv6, then by address, then shorter first: a covering prefix sorts before what it covers. */
int kban_prefix_cmp(const struct kban_prefix *a, const struct kban_prefix *b);
/* inner is equal to outer or lies inside it. */
bool kban_prefix_covers(const struct kban_prefix *outer, const struct kban_prefix *inner);
static inline bool kban_prefix_overlaps(const struct kban_prefix *a, const struct kban_prefix *b)
{
	return kban_prefix_covers(a, b) || kban_prefix_covers(b, a);
}
/* 32 or 128. */
unsigned kban_prefix_bits(const struct kban_prefix *p);
/* Cuts p to len bits (no longer than it is). */
struct kban_prefix kban_prefix_mask(const struct kban_prefix *p, unsigned len);
/* What one offending address is counted and banned as: IPv4 as the address, IPv6 as its /64, and inside
 * 64:ff9b::/96 (RFC 6052, NAT64: one /64 would be everybody behind IPv4) as the single address. */
struct kban_prefix kban_prefix_offender(const struct kban_prefix *address);
/* Overlaps what may never be banned: unspecified and "this network" 0.0.0.0/8, loopback, link-local,
 * multicast, broadcast (RFC 6890). */
bool kban_prefix_never_ban(const struct kban_prefix *p);

#endif
