/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define BITS4	   32U
#define BITS6	   128U
#define MAPPED_LEN 96U /* ::ffff:0:0/96 */
#define OFFENDER6  64U

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const struct kban_prefix nat64 = {KBAN_IPV6, 96, {0x00, 0x64, 0xff, 0x9b}};

static const struct kban_prefix never[] = {
	{KBAN_IPV4, 8, {0}},
	{KBAN_IPV4, 8, {127}},
	{KBAN_IPV4, 16, {169, 254}},
	{KBAN_IPV4, 4, {224}},
	{KBAN_IPV4, 32, {255, 255, 255, 255}},
	{KBAN_IPV6, 128, {0}},
	{KBAN_IPV6, 128, {[15] = 1}},
	{KBAN_IPV6, 10, {0xfe, 0x80}},
	{KBAN_IPV6, 8, {0xff}},
};

static void mask_bytes(uint8_t addr[16], unsigned len)
{
	unsigned whole = len / 8;

	if (whole < 16 && len % 8)
		addr[whole++] &= (uint8_t)(0xff << (8 - len % 8));
	if (whole < 16)
		memset(addr + whole, 0, 16 - whole);
}

/* The first len bits of both are the same. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned len)
{
	unsigned whole = len / 8, rest = len % 8;

	if (memcmp(a, b, whole))
		return false;
	return !rest || !((a[whole] ^ b[whole]) >> (8 - rest));
}

unsigned kban_prefix_bits(const struct kban_prefix *p)
{
	return p->family == KBAN_IPV4 ? BITS4 : BITS6;
}

struct kban_prefix kban_prefix_mask(const struct kban_prefix *p, unsigned len)
{
	struct kban_prefix masked = *p;

	if (len < masked.len)
		masked.len = (uint8_t)len;
	mask_bytes(masked.addr, masked.len);
	return masked;
}

/* An IPv4-mapped prefix becomes the IPv4 one. */
static void unmap(struct kban_prefix *p)
{
	if (p->family != KBAN_IPV6 || p->len < MAPPED_LEN ||
	    memcmp(p->addr, mapped, sizeof(mapped)))
		return;
	p->family = KBAN_IPV4;
	p->len = (uint8_t)(p->len - MAPPED_LEN);
	memmove(p->addr, p->addr + 12, 4);
	memset(p->addr + 4, 0, 12);
}

int kban_prefix_from_bytes(struct kban_prefix *out, unsigned family, const uint8_t *addr,
			   size_t addr_len, unsigned len)
{
	struct kban_prefix p = {.family = (uint8_t)family, .len = (uint8_t)len};
	bool known = (family == KBAN_IPV4 && addr_len == 4) ||
		     (family == KBAN_IPV6 && addr_len == 16);

	if (!known || len > addr_len * 8)
		return KBAN_PREFIX_MALFORMED;
	memcpy(p.addr, addr, addr_len);
	struct kban_prefix masked = kban_prefix_mask(&p, len);
	bool host_bits = !kban_prefix_equal(&p, &masked);
	unmap(&masked);
	*out = masked;
	return host_bits ? KBAN_PREFIX_HOST_BITS : 0;
}

/* Decimal without sign, blanks or leading zeros, at most max; -1 otherwise. */
static int parse_len(const char *s, size_t n, unsigned max)
{
	unsigned value = 0;

	if (n < 1 || n > 3 || (n > 1 && s[0] == '0'))
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		value = value * 10 + (unsigned)(s[i] - '0');
	}
	return value <= max ? (int)value : -1;
}

int kban_prefix_parse_n(struct kban_prefix *out, const char *text, size_t len)
{
	char address[INET6_ADDRSTRLEN];
	uint8_t bytes[16];
	const char *slash = len ? memchr(text, '/', len) : NULL;
	size_t n = slash ? (size_t)(slash - text) : len;

	if (n == 0 || n >= sizeof(address) || memchr(text, 0, n))
		return KBAN_PREFIX_MALFORMED;
	memcpy(address, text, n);
	address[n] = 0;
	bool six = memchr(address, ':', n);
	if (inet_pton(six ? AF_INET6 : AF_INET, address, bytes) != 1)
		return KBAN_PREFIX_MALFORMED;
	int bits = six ? BITS6 : BITS4;
	if (slash)
		bits = parse_len(slash + 1, len - n - 1, (unsigned)bits);
	if (bits < 0)
		return KBAN_PREFIX_MALFORMED;
	return kban_prefix_from_bytes(out, six ? KBAN_IPV6 : KBAN_IPV4, bytes, six ? 16 : 4,
				      (unsigned)bits);
}

int kban_prefix_parse(struct kban_prefix *out, const char *text)
{
	return kban_prefix_parse_n(out, text, strlen(text));
}

const char *kban_prefix_format(const struct kban_prefix *p, char buf[KBAN_PREFIX_TEXT])
{
	int family = p->family == KBAN_IPV4 ? AF_INET : AF_INET6;

	if (!inet_ntop(family, p->addr, buf, INET6_ADDRSTRLEN))
		buf[0] = 0;
	if (p->len != kban_prefix_bits(p)) {
		size_t n = strlen(buf);
		snprintf(buf + n, KBAN_PREFIX_TEXT - n, "/%u", (unsigned)p->len);
	}
	return buf;
}

bool kban_prefix_equal(const struct kban_prefix *a, const struct kban_prefix *b)
{
	return !memcmp(a, b, sizeof(*a));
}

int kban_prefix_cmp(const struct kban_prefix *a, const struct kban_prefix *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	int order = memcmp(a->addr, b->addr, sizeof(a->addr));
	if (order)
		return order;
	return (int)a->len - (int)b->len;
}

bool kban_prefix_covers(const struct kban_prefix *outer, const struct kban_prefix *inner)
{
	return outer->family == inner->family && outer->len <= inner->len &&
	       same_bits(outer->addr, inner->addr, outer->len);
}

struct kban_prefix kban_prefix_offender(const struct kban_prefix *address)
{
	if (address->family == KBAN_IPV4 || kban_prefix_covers(&nat64, address))
		return *address;
	return kban_prefix_mask(address, OFFENDER6);
}

bool kban_prefix_never_ban(const struct kban_prefix *p)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(never); i++)
		if (kban_prefix_overlaps(&never[i], p))
			return true;
	return false;
}
