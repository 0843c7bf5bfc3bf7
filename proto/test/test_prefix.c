/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/prefix.h"

static struct kban_prefix prefix(const char *text)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

static void text_is_read_and_written_canonically(void **state)
{
	static const char *const table[][2] = {
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1/32", "192.0.2.1"},
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"::/0", "::/0"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8:0:1:1:1:1:1/128", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"::ffff:0:0/96", "0.0.0.0/0"},
		{"::/95", "::/95"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120"},
	};
	char text[KBAN_PREFIX_TEXT];
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct kban_prefix p = prefix(table[i][0]);
		assert_string_equal(kban_prefix_format(&p, text), table[i][1]);
		struct kban_prefix again = prefix(text);
		assert_true(kban_prefix_equal(&p, &again));
	}
}

static void malformed_text_is_refused(void **state)
{
	static const char *const table[] = {
		"",
		" ",
		"/",
		"/8",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.4 ",
		" 1.2.3.4",
		"1.2.3.4/",
		"1.2.3.4/33",
		"1.2.3.4/-1",
		"1.2.3.4/+8",
		"1.2.3.4/08",
		"1.2.3.4/8/8",
		"1.2.3.4/0x8",
		"1.2.3.4:25",
		"0x7f.1",
		"[::1]",
		"::1%lo",
		"::1/129",
		"::1/1280",
		"::1/ 8",
		":::",
		"1::2::3",
		"12345::",
		"::ffff:1.2.3.4/129",
		"localhost",
		"1.2.3.4/99999999999999999999",
		"0000:0000:0000:0000:0000:0000:0000:00000000000000001",
	};
	struct kban_prefix p;
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++)
		if (kban_prefix_parse(&p, table[i]) != KBAN_PREFIX_MALFORMED)
			fail_msg("accepted '%s'", table[i]);
	assert_int_equal(kban_prefix_parse_n(&p, "1.2.3.4\0", 8), KBAN_PREFIX_MALFORMED);
	assert_int_equal(kban_prefix_parse_n(&p, "1.2.3.4/8\0", 10), KBAN_PREFIX_MALFORMED);
	assert_int_equal(kban_prefix_parse_n(&p, "1.2.3.45", 7), 0);
	assert_int_equal(p.addr[3], 4);
}

static void host_bits_are_named_and_masked(void **state)
{
	struct kban_prefix p, want = prefix("192.0.2.0/24"), wide = prefix("::fffe:0:0/95");
	(void)state;

	assert_int_equal(kban_prefix_parse(&p, "192.0.2.77/24"), KBAN_PREFIX_HOST_BITS);
	assert_true(kban_prefix_equal(&p, &want));
	assert_int_equal(kban_prefix_parse(&p, "::ffff:192.0.2.77/120"), KBAN_PREFIX_HOST_BITS);
	assert_true(kban_prefix_equal(&p, &want));
	assert_int_equal(kban_prefix_parse(&p, "::ffff:192.0.2.77/95"), KBAN_PREFIX_HOST_BITS);
	assert_true(kban_prefix_equal(&p, &wide));
}

/* Text, and what must be said of it. */
static void bad_prefixes_are_named_with_the_remedy(void **state)
{
	static const char *const table[][2] = {
		{"192.0.2.1/24",
		 "has bits set below its length; did you mean 192.0.2.0/24, or 192.0.2.1 alone?"},
		{"2001:db8::1/64",
		 "has bits set below its length; did you mean 2001:db8::/64, or 2001:db8::1 alone?"},
		{"::ffff:192.0.2.1/120",
		 "has bits set below its length; did you mean 192.0.2.0/24, or 192.0.2.1 alone?"},
		{"192.0.2.9-192.0.2.1",
		 "is a range that ends before it begins; name a prefix, like 192.0.2.0/24"},
		{"192.0.2.9-1",
		 "is a range that ends before it begins; name a prefix, like 192.0.2.0/24"},
		{"2001:db8::9-2001:db8::1",
		 "is a range that ends before it begins; name a prefix, like 192.0.2.0/24"},
		{"192.0.2.0-192.0.2.255", "is a range; did you mean 192.0.2.0/24?"},
		{"192.0.2.0-255", "is a range; did you mean 192.0.2.0/24?"},
		{"192.0.2.7-192.0.2.7", "is a range; did you mean 192.0.2.7?"},
		{"0.0.0.0-255.255.255.255", "is a range; did you mean 0.0.0.0/0?"},
		{"192.0.2.1-192.0.2.9", "is a range; name its prefixes, one at a time: 192.0.2.1 "
					"192.0.2.2/31 192.0.2.4/30 192.0.2.8/31"},
		{"2001:db8::-2001:db8::1:ffff", "is a range; did you mean 2001:db8::/111?"},
		{"2001:db8::-2001:db8::2", "is a range; name its prefixes, one at a time: "
					   "2001:db8::/127 2001:db8::2"},
		{"0.0.0.1-255.255.255.254",
		 "is a range; name its prefixes, one at a time: 0.0.0.1 0.0.0.2/31 0.0.0.4/30 "
		 "0.0.0.8/29 0.0.0.16/28 0.0.0.32/27 0.0.0.64/26 0.0.0.128/25 0.0.1.0/24 0.0.2.0/23 "
		 "0.0.4.0/22 0.0.8.0/21 and 50 more"},
		{"192.0.2.1-2001:db8::1", "is a range from IPv4 to IPv6, which there is not"},
		{"192.0.2.0/255.255.255.0", "has a netmask; write the length: 192.0.2.0/24"},
		{"192.0.2.77/255.255.255.0", "has a netmask; write the length: 192.0.2.0/24"},
		{"192.0.2.7/255.255.255.255", "has a netmask; write the length: 192.0.2.7"},
		{"192.0.2.0/0.0.0.255", "has a wildcard mask; write the length: 192.0.2.0/24"},
		{"2001:db8::/ffff:ffff::", "has a netmask; write the length: 2001:db8::/32"},
		{"192.0.2.0/255.0.255.0",
		 "has a netmask whose ones are not all at its beginning: that is no prefix; name each "
		 "network by itself"},
		{"192.0.2.0/255.255.255.1",
		 "has a netmask whose ones are not all at its beginning: that is no prefix; name each "
		 "network by itself"},
		{"192.0.2.0/33",
		 "is too long a prefix: the length of an IPv4 prefix is 0 to 32"},
		{"2001:db8::/129",
		 "is too long a prefix: the length of an IPv6 prefix is 0 to 128"},
		{"::ffff:192.0.2.0/129",
		 "is too long a prefix: the length of an IPv6 prefix is 0 to 128"},
		{"192.0.2.0/99999999999999999999",
		 "is too long a prefix: the length of an IPv4 prefix is 0 to 32"},
		{"192.0.2.0/",
		 "has no length that can be read after the /; write a number from 0 to 32, without "
		 "sign or leading zeros"},
		{"192.0.2.0/-1",
		 "has no length that can be read after the /; write a number from 0 to 32, without "
		 "sign or leading zeros"},
		{"2001:db8::/064",
		 "has no length that can be read after the /; write a number from 0 to 128, without "
		 "sign or leading zeros"},
		{"fe80::1%eth0",
		 "names a network interface after %, which means something on one machine only; "
		 "write the address without it"},
		{"fe80::1%eth0/64",
		 "names a network interface after %, which means something on one machine only; "
		 "write the address without it"},
		{"192.0.2.*", "is a pattern; write the prefix: 192.0.2.0/24"},
		{"10.*.*.*", "is a pattern; write the prefix: 10.0.0.0/8"},
		{"192.0.2.1:25", "has a port or brackets; write the address alone: 192.0.2.1"},
		{"[2001:db8::1]:25", "has a port or brackets; write the address alone: 2001:db8::1"},
		{"[2001:db8::1]", "has a port or brackets; write the address alone: 2001:db8::1"},
		{"010.0.0.1",
		 "has a part that begins with 0, which some programs read as octal; write it without"},
		{"192.0.02.0/24",
		 "has a part that begins with 0, which some programs read as octal; write it without"},
		{"192.0.2.1,192.0.2.2", "is more than one prefix; name one at a time"},
		{"192.0.2.0/24 192.0.3.0/24", "is more than one prefix; name one at a time"},
		{"mail.example.com",
		 "looks like a name; name the address, since what a name stands for can change"},
		{"", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"x", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"192.0.2", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"*.*.*.*", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"-", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"/", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"%", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
		{"\033[31m\n", "is no address or prefix, like 192.0.2.1 or 2001:db8::/64"},
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		kban_auto(kban_free) void *said = kban_prefix_advice(table[i][0]);
		assert_non_null(said);
		if (strcmp(said, table[i][1]) != 0)
			fail_msg("of '%s': %s", table[i][0], (char *)said);
	}
	assert_null(kban_prefix_advice("192.0.2.0/24"));
	assert_null(kban_prefix_advice("::ffff:192.0.2.1"));
}

static void advice_is_given_on_text_of_any_length(void **state)
{
	char text[4096];
	(void)state;

	for (size_t n = 0; n < sizeof(text); n++) {
		memset(text, "1.:/-%*[ ,f"[n % 11], n);
		text[n] = 0;
		kban_auto(kban_free) void *said = kban_prefix_advice(text);
		struct kban_prefix p;
		assert_int_equal(!said, kban_prefix_parse(&p, text) == 0);
	}
}

static void raw_bytes_of_the_wrong_size_are_refused(void **state)
{
	uint8_t bytes[16] = {0};
	struct kban_prefix p;
	(void)state;

	for (unsigned family = 0; family < 12; family++)
		for (size_t n = 0; n <= 16; n++)
			for (unsigned len = 0; len < 140; len++) {
				bool good = (family == 4 && n == 4 && len <= 32) ||
					    (family == 6 && n == 16 && len <= 128);
				assert_int_equal(!kban_prefix_from_bytes(&p, family, bytes, n, len),
						 good);
			}
}

static void never_ban_list_holds(void **state)
{
	static const char *const no[] = {
		"0.0.0.0",
		"0.1.2.3",
		"127.0.0.1",
		"127.255.255.255",
		"169.254.1.1",
		"224.0.0.1",
		"239.255.255.255",
		"255.255.255.255",
		"::",
		"::1",
		"fe80::1",
		"febf::1",
		"ff02::1",
		"0.0.0.0/0",
		"::/0",
		"126.0.0.0/7",
		"::/127",
		"::ffff:127.0.0.1",
		"fe80::/9",
		"240.0.0.0/4",
	};
	static const char *const yes[] = {
		"1.0.0.0/8",   "126.255.255.255", "128.0.0.0", "169.253.255.255",
		"169.255.0.0", "223.255.255.255", "240.0.0.1", "255.255.255.254",
		"::2",	       "fec0::1",	  "fe7f::1",   "2001:db8::/32",
		"10.0.0.1",    "64:ff9b::7f00:1",
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(no); i++) {
		struct kban_prefix p = prefix(no[i]);
		if (!kban_prefix_never_ban(&p))
			fail_msg("%s may be banned", no[i]);
	}
	for (size_t i = 0; i < KBAN_ARRAY_LEN(yes); i++) {
		struct kban_prefix p = prefix(yes[i]);
		if (kban_prefix_never_ban(&p))
			fail_msg("%s may not be banned", yes[i]);
	}
}

static void offenders_are_counted_per_address_or_64(void **state)
{
	static const char *const table[][2] = {
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"64:ff9b::c000:201", "64:ff9b::c000:201"},
		{"64:ff9b:0:0:0:1:c000:201", "64:ff9b::/64"},
		{"64:ff9b:1::1", "64:ff9b:1::/64"},
	};
	char text[KBAN_PREFIX_TEXT];
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct kban_prefix p = prefix(table[i][0]), o = kban_prefix_offender(&p);
		assert_string_equal(kban_prefix_format(&o, text), table[i][1]);
	}
}

/* The naive model: a prefix is its family and a string of '0' and '1'. */

struct model {
	unsigned family;
	char bits[129];
};

static struct model model_of(const struct kban_prefix *p)
{
	struct model m = {.family = p->family};

	for (unsigned i = 0; i < p->len; i++)
		m.bits[i] = p->addr[i / 8] >> (7 - i % 8) & 1 ? '1' : '0';
	return m;
}

static bool model_covers(const struct model *a, const struct model *b)
{
	return a->family == b->family && !strncmp(a->bits, b->bits, strlen(a->bits));
}

/* The whole address, host bits zero. */
static void model_address(char out[129], const struct model *m)
{
	memset(out, '0', 128);
	out[128] = 0;
	memcpy(out, m->bits, strlen(m->bits));
}

static int model_cmp(const struct model *a, const struct model *b)
{
	char whole_a[129], whole_b[129];

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	model_address(whole_a, a);
	model_address(whole_b, b);
	int order = strcmp(whole_a, whole_b);
	return order ? order : (int)strlen(a->bits) - (int)strlen(b->bits);
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

/* Few distinct bytes, so that prefixes often cover one another. */
static struct kban_prefix random_prefix(unsigned *seed)
{
	static const uint8_t values[] = {0, 0, 0, 0x80, 0xff, 0xfe, 10};
	bool six = rand_r(seed) % 2;
	uint8_t bytes[16];
	struct kban_prefix p;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = values[(unsigned)rand_r(seed) % sizeof(values)];
	if (six && rand_r(seed) % 8 == 0)
		memcpy(bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	unsigned len = (unsigned)rand_r(seed) % (six ? 129 : 33);
	int r = kban_prefix_from_bytes(&p, six ? 6 : 4, bytes, six ? 16 : 4, len);
	assert_true(r == 0 || r == KBAN_PREFIX_HOST_BITS);
	return p;
}

static void check_pair(const struct kban_prefix *a, const struct kban_prefix *b)
{
	struct model ma = model_of(a), mb = model_of(b);
	bool covers = kban_prefix_covers(a, b), back = kban_prefix_covers(b, a);

	assert_int_equal(covers, model_covers(&ma, &mb));
	assert_int_equal(kban_prefix_overlaps(a, b), covers || back);
	assert_int_equal(kban_prefix_equal(a, b), covers && back);
	assert_int_equal(sign(kban_prefix_cmp(a, b)), sign(model_cmp(&ma, &mb)));
	if (covers && !back)
		assert_true(kban_prefix_cmp(a, b) < 0);
}

static void check_one(const struct kban_prefix *a, unsigned cut)
{
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix again, masked = kban_prefix_mask(a, cut);
	size_t bytes = a->family == KBAN_IPV4 ? 4 : 16;

	assert_int_equal(kban_prefix_parse(&again, kban_prefix_format(a, text)), 0);
	assert_true(kban_prefix_equal(a, &again));
	assert_int_equal(kban_prefix_from_bytes(&again, a->family, a->addr, bytes, a->len), 0);
	assert_true(kban_prefix_equal(a, &again));
	assert_int_equal(masked.len, cut < a->len ? cut : a->len);
	assert_true(kban_prefix_covers(&masked, a));
	for (size_t i = bytes; i < 16; i++)
		assert_int_equal(a->addr[i], 0);
}

static void algebra_agrees_with_bit_strings(void **state)
{
	const char *given = getenv("KBAN_TEST_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	(void)state;

	print_message("KBAN_TEST_SEED=%u\n", seed);
	for (int i = 0; i < 50000; i++) {
		struct kban_prefix a = random_prefix(&seed), b = random_prefix(&seed);
		check_pair(&a, &b);
		b = kban_prefix_mask(&a, (unsigned)rand_r(&seed) % (a.len + 1U));
		check_pair(&a, &b);
		check_pair(&b, &a);
		check_one(&a, (unsigned)rand_r(&seed) % 130);
	}
}

static uint32_t number_of(const struct kban_prefix *p)
{
	return (uint32_t)p->addr[0] << 24 | (uint32_t)p->addr[1] << 16 | (uint32_t)p->addr[2] << 8 |
	       p->addr[3];
}

/* The parts lie side by side from first to last, and no two neighbours could be one. */
static void check_range(uint32_t from, uint32_t to)
{
	struct kban_prefix parts[64], first = {KBAN_IPV4, 32, {0}}, last = first;

	for (unsigned i = 0; i < 4; i++) {
		first.addr[i] = (uint8_t)(from >> (24 - i * 8));
		last.addr[i] = (uint8_t)(to >> (24 - i * 8));
	}
	size_t n = kban_prefix_range(parts, KBAN_ARRAY_LEN(parts), &first, &last);
	uint64_t at = from;
	assert_true(n >= 1 && n <= 62);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(number_of(&parts[i]), at);
		at += (uint64_t)1 << (32 - parts[i].len);
		if (!i || parts[i - 1].len != parts[i].len)
			continue;
		struct kban_prefix a = kban_prefix_mask(&parts[i - 1], parts[i].len - 1U);
		struct kban_prefix b = kban_prefix_mask(&parts[i], parts[i].len - 1U);
		assert_false(kban_prefix_equal(&a, &b));
	}
	assert_int_equal(at, (uint64_t)to + 1);
}

static void a_range_is_the_fewest_prefixes(void **state)
{
	const char *given = getenv("KBAN_TEST_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	(void)state;

	print_message("KBAN_TEST_SEED=%u\n", seed);
	check_range(0, UINT32_MAX);
	check_range(UINT32_MAX, UINT32_MAX);
	check_range(1, UINT32_MAX - 1);
	for (int i = 0; i < 20000; i++) {
		uint32_t a = (uint32_t)rand_r(&seed) << 16 ^ (uint32_t)rand_r(&seed);
		uint32_t b = i % 2 ? (uint32_t)rand_r(&seed) << 16 ^ (uint32_t)rand_r(&seed)
				   : a + (uint32_t)rand_r(&seed) % 300;
		check_range(a < b ? a : b, a < b ? b : a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_read_and_written_canonically),
		cmocka_unit_test(malformed_text_is_refused),
		cmocka_unit_test(host_bits_are_named_and_masked),
		cmocka_unit_test(bad_prefixes_are_named_with_the_remedy),
		cmocka_unit_test(advice_is_given_on_text_of_any_length),
		cmocka_unit_test(a_range_is_the_fewest_prefixes),
		cmocka_unit_test(raw_bytes_of_the_wrong_size_are_refused),
		cmocka_unit_test(never_ban_list_holds),
		cmocka_unit_test(offenders_are_counted_per_address_or_64),
		cmocka_unit_test(algebra_agrees_with_bit_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
