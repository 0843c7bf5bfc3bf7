/* SPDX-License-Identifier: MPL-2.0
 *
 * People write prefixes as other tools do. None of that is guessed at, since a wrong guess bans
 * strangers or frees an attacker: it is refused, with what to write instead.
 */
#include "proto/prefix.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_SHOWN 12 /* prefixes that are written out */
#define TEXT_MAX    128

/* Ranges */

static bool address_next(struct kban_prefix *p)
{
	for (size_t i = kban_prefix_bits(p) / 8; i-- > 0;)
		if (++p->addr[i])
			return true;
	return false;
}

static struct kban_prefix address_last(const struct kban_prefix *p)
{
	struct kban_prefix last = *p;
	unsigned bits = kban_prefix_bits(p);

	for (unsigned i = p->len; i < bits; i++)
		last.addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
	last.len = (uint8_t)bits;
	return last;
}

/* The widest prefix that begins at first and ends no later than last. */
static struct kban_prefix range_head(const struct kban_prefix *first,
				     const struct kban_prefix *last)
{
	struct kban_prefix best = *first;

	while (best.len) {
		struct kban_prefix wider = kban_prefix_mask(first, best.len - 1U);
		struct kban_prefix end = address_last(&wider);
		if (memcmp(wider.addr, first->addr, sizeof(wider.addr)) != 0 ||
		    memcmp(end.addr, last->addr, sizeof(end.addr)) > 0)
			break;
		best = wider;
	}
	return best;
}

size_t kban_prefix_range(struct kban_prefix *out, size_t max, const struct kban_prefix *first,
			 const struct kban_prefix *last)
{
	struct kban_prefix at = *first;
	size_t n = 0;

	while (memcmp(at.addr, last->addr, sizeof(at.addr)) <= 0) {
		struct kban_prefix head = range_head(&at, last);
		if (n < max)
			out[n] = head;
		n++;
		at = address_last(&head);
		if (!address_next(&at))
			break;
	}
	return n;
}

/* Advice */

static bool address_parse(struct kban_prefix *out, const char *text, size_t n)
{
	return !memchr(text, '/', n) && !kban_prefix_parse_n(out, text, n);
}

static char *advice_host_bits(const struct kban_prefix *masked, const char *text)
{
	char network[KBAN_PREFIX_TEXT], single[KBAN_PREFIX_TEXT];
	struct kban_prefix address;

	kban_prefix_format(masked, network);
	if (!address_parse(&address, text, strcspn(text, "/")))
		return kban_asprintf("has bits set below its length; did you mean %s?", network);
	return kban_asprintf("has bits set below its length; did you mean %s, or %s alone?",
			     network, kban_prefix_format(&address, single));
}

static char *advice_range(const struct kban_prefix *first, const struct kban_prefix *last)
{
	struct kban_prefix parts[RANGE_SHOWN];
	char text[KBAN_PREFIX_TEXT];

	if (first->family != last->family)
		return kban_strdup("is a range from IPv4 to IPv6, which there is not");
	if (kban_prefix_cmp(first, last) > 0)
		return kban_strdup("is a range that ends before it begins; name a prefix, like "
				   "192.0.2.0/24");
	size_t n = kban_prefix_range(parts, RANGE_SHOWN, first, last);
	char *said = kban_strdup(n == 1 ? "is a range; did you mean"
					: "is a range; name its prefixes, one at a time:");
	for (size_t i = 0; i < n && i < RANGE_SHOWN; i++) {
		char *more = kban_asprintf("%s %s", said, kban_prefix_format(&parts[i], text));
		free(said);
		said = more;
	}
	char *whole = n > RANGE_SHOWN ? kban_asprintf("%s and %zu more", said, n - RANGE_SHOWN)
				      : kban_asprintf("%s%s", said, n == 1 ? "?" : "");
	free(said);
	return whole;
}

/* Up to three digits, at most max; -1 otherwise. */
static int small_number(const char *s, size_t n, int max)
{
	int value = 0;

	if (n < 1 || n > 3)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		value = value * 10 + (s[i] - '0');
	}
	return value <= max ? value : -1;
}

/* 192.0.2.1-192.0.2.9, and 192.0.2.1-9. */
static char *try_range(const char *text, size_t n)
{
	const char *dash = memchr(text, '-', n);
	size_t head = dash ? (size_t)(dash - text) : 0, tail = dash ? n - head - 1 : 0;
	struct kban_prefix first, last;

	if (!dash || !address_parse(&first, text, head))
		return NULL;
	if (address_parse(&last, dash + 1, tail))
		return advice_range(&first, &last);
	int octet = small_number(dash + 1, tail, 255);
	if (first.family != KBAN_IPV4 || octet < 0)
		return NULL;
	last = first;
	last.addr[3] = (uint8_t)octet;
	return advice_range(&first, &last);
}

/* The length of a mask whose ones come first (zeros first when inverted), or -1. */
static int mask_length(const struct kban_prefix *mask, bool inverted)
{
	unsigned bits = kban_prefix_bits(mask), len = 0;
	uint8_t flip = inverted ? 0xff : 0;

	while (len < bits && ((mask->addr[len / 8] ^ flip) << len % 8 & 0x80))
		len++;
	for (unsigned i = len; i < bits; i++)
		if ((mask->addr[i / 8] ^ flip) << i % 8 & 0x80)
			return -1;
	return (int)len;
}

static char *try_netmask(const char *text, size_t n)
{
	const char *slash = memchr(text, '/', n);
	size_t head = slash ? (size_t)(slash - text) : 0;
	struct kban_prefix address, mask;
	char network[KBAN_PREFIX_TEXT];

	if (!slash || !address_parse(&address, text, head) ||
	    !address_parse(&mask, slash + 1, n - head - 1) || mask.family != address.family)
		return NULL;
	bool inverted = mask_length(&mask, false) < 0;
	int len = mask_length(&mask, inverted);
	if (len < 0)
		return kban_strdup("has a netmask whose ones are not all at its beginning: that is "
				   "no prefix; name each network by itself");
	address = kban_prefix_mask(&address, (unsigned)len);
	return kban_asprintf("has a %s; write the length: %s",
			     inverted ? "wildcard mask" : "netmask",
			     kban_prefix_format(&address, network));
}

static char *try_zone(const char *text, size_t n)
{
	const char *zone = memchr(text, '%', n);
	struct kban_prefix address;

	if (!zone || !address_parse(&address, text, (size_t)(zone - text)))
		return NULL;
	return kban_strdup(
		"names a network interface after %, which means something on one machine only; "
		"write the address without it");
}

static char *try_length(const char *text, size_t n)
{
	const char *slash = memchr(text, '/', n);
	size_t head = slash ? (size_t)(slash - text) : 0;
	struct kban_prefix address;

	if (!slash || !address_parse(&address, text, head))
		return NULL;
	unsigned bits = memchr(text, ':', head) ? 128 : 32;
	if (n - head - 1 && strspn(slash + 1, "0123456789") == n - head - 1 &&
	    (slash[1] != '0' || n - head - 1 == 1))
		return kban_asprintf(
			"is too long a prefix: the length of an IPv%d prefix is 0 to %u",
			bits == 32 ? 4 : 6, bits);
	return kban_asprintf("has no length that can be read after the /; write a number from 0 to "
			     "%u, without sign or leading zeros",
			     bits);
}

/* 192.0.2.*, and wider. */
static char *try_wildcard(const char *text, size_t n)
{
	char padded[TEXT_MAX], network[KBAN_PREFIX_TEXT];
	size_t stars = 0, at = n;
	struct kban_prefix p;

	while (at >= 2 && text[at - 1] == '*' && text[at - 2] == '.') {
		at -= 2;
		stars++;
	}
	if (!stars || stars > 3 || at >= 16)
		return NULL;
	int size = snprintf(padded, sizeof(padded), "%.*s%s", (int)at, text,
			    &".0.0.0"[(3 - stars) * 2]);
	if (!address_parse(&p, padded, (size_t)size))
		return NULL;
	p = kban_prefix_mask(&p, (unsigned)(32 - stars * 8));
	return kban_asprintf("is a pattern; write the prefix: %s", kban_prefix_format(&p, network));
}

static char *single_advice(const struct kban_prefix *p, const char *what)
{
	char text[KBAN_PREFIX_TEXT];

	return kban_asprintf("%s: %s", what, kban_prefix_format(p, text));
}

/* 192.0.2.1:25, [2001:db8::1] and [2001:db8::1]:25. */
static char *try_port(const char *text, size_t n)
{
	static const char what[] = "has a port or brackets; write the address alone";
	const char *close = memchr(text, ']', n), *colon = memchr(text, ':', n);
	struct kban_prefix p;

	if (text[0] == '[' && close && address_parse(&p, text + 1, (size_t)(close - text - 1)))
		return single_advice(&p, what);
	if (colon && address_parse(&p, text, (size_t)(colon - text)))
		return single_advice(&p, what);
	return NULL;
}

/* Whether 010.0.0.1 is 8.0.0.1 or 10.0.0.1 depends on who reads it. */
static char *try_leading_zeros(const char *text, size_t n)
{
	size_t dots = 0;

	for (size_t i = 0; i < n && text[i] != '/'; i++) {
		dots += text[i] == '.';
		if (!strchr("0123456789.", text[i]))
			return NULL;
	}
	if (dots != 3)
		return NULL;
	for (size_t i = 0; i + 1 < n; i++)
		if (text[i] == '0' && (!i || text[i - 1] == '.') &&
		    isdigit((unsigned char)text[i + 1]))
			return kban_strdup(
				"has a part that begins with 0, which some programs read as "
				"octal; write it without");
	return NULL;
}

static char *try_several(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct kban_prefix p;
		if (strchr(", ;\t", text[i]) && i &&
		    kban_prefix_parse_n(&p, text, i) != KBAN_PREFIX_MALFORMED)
			return kban_strdup("is more than one prefix; name one at a time");
	}
	return NULL;
}

static char *try_name(const char *text, size_t n)
{
	bool letters = false, dots = memchr(text, '.', n);

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (!isalnum(c) && !strchr("-._", c))
			return NULL;
		letters |= isalpha(c) != 0;
	}
	return letters && dots
		       ? kban_strdup("looks like a name; name the address, since what a name "
				     "stands for can change")
		       : NULL;
}

char *kban_prefix_advice(const char *text)
{
	static char *(*const tries[])(const char *text, size_t n) = {
		try_several,  try_zone, try_range,	   try_netmask, try_length,
		try_wildcard, try_port, try_leading_zeros, try_name,
	};
	size_t n = strnlen(text, TEXT_MAX);
	struct kban_prefix p;
	char *said = NULL;

	switch (kban_prefix_parse(&p, text)) {
	case 0:
		return NULL;
	case KBAN_PREFIX_HOST_BITS:
		return advice_host_bits(&p, text);
	default:
		break;
	}
	for (size_t i = 0; n && n < TEXT_MAX && i < KBAN_ARRAY_LEN(tries) && !said; i++)
		said = tries[i](text, n);
	return said ? said
		    : kban_strdup("is no address or prefix, like 192.0.2.1 or 2001:db8::/64");
}
