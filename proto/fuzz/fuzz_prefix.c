/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "proto/fuzz/fuzz.h"

#include "proto/prefix.h"

#define RANGE_MAX 254 /* of IPv6: no range takes more prefixes */

/* Advice is printed as it stands, and never ends a process. */
static void advice_must(const char *text, bool fine)
{
	kban_auto(kban_free) void *said = kban_prefix_advice(text);

	fuzz_must(!said == fine);
	for (const char *c = said; c && *c; c++)
		fuzz_must(*c >= ' ' && *c <= '~');
}

static bool address_follows(const struct kban_prefix *p, const struct kban_prefix *next)
{
	struct kban_prefix last = *p;

	for (unsigned i = p->len; i < kban_prefix_bits(p); i++)
		last.addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (size_t i = kban_prefix_bits(p) / 8; i-- > 0;)
		if (++last.addr[i])
			break;
	return !memcmp(last.addr, next->addr, sizeof(last.addr));
}

/* Any two addresses are a range of prefixes that follow one another without a gap, and the same
 * number comes out whatever room there is. */
static void range_must(const struct kban_prefix *first, const struct kban_prefix *last)
{
	struct kban_prefix parts[RANGE_MAX], one[1];
	size_t n = kban_prefix_range(parts, RANGE_MAX, first, last);

	fuzz_must(n <= RANGE_MAX && n == kban_prefix_range(one, 1, first, last));
	fuzz_must(!n == (kban_prefix_cmp(first, last) > 0));
	if (!n)
		return;
	fuzz_must(!memcmp(parts[0].addr, first->addr, sizeof(first->addr)));
	fuzz_must(kban_prefix_covers(&parts[n - 1], last));
	for (size_t i = 1; i < n; i++)
		fuzz_must(address_follows(&parts[i - 1], &parts[i]));
}

/* Two addresses: the bytes as they come, for IPv4 and IPv6. */
static void range_raw(const uint8_t *data, size_t size)
{
	struct kban_prefix first, last;

	if (size >= 8 && !kban_prefix_from_bytes(&first, KBAN_IPV4, data, 4, 32) &&
	    !kban_prefix_from_bytes(&last, KBAN_IPV4, data + 4, 4, 32))
		range_must(&first, &last);
	if (size >= 32 && !kban_prefix_from_bytes(&first, KBAN_IPV6, data, 16, 128) &&
	    !kban_prefix_from_bytes(&last, KBAN_IPV6, data + 16, 16, 128) &&
	    first.family == last.family)
		range_must(&first, &last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kban_auto(kban_free) void *line = kban_zalloc(size + 1);
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix p, again;

	memcpy(line, data, size);
	advice_must(line, !kban_prefix_parse(&p, line));
	range_raw(data, size);
	if (kban_prefix_parse_n(&p, (const char *)data, size) == KBAN_PREFIX_MALFORMED)
		return 0;
	fuzz_must(kban_prefix_parse(&again, kban_prefix_format(&p, text)) == 0);
	fuzz_must(kban_prefix_equal(&p, &again) && kban_prefix_covers(&p, &again));
	return 0;
}
