/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <zmq.h>

#include "proto/key.h"
#include "proto/test/samples.h"

static void one_seed_gives_one_pair_of_pairs(void **state)
{
	struct kban_keypair a = sample_keys(7), b = sample_keys(7), c = sample_keys(8);
	(void)state;

	assert_memory_equal(&a, &b, sizeof(a));
	assert_false(kban_key_equal(&a.sign_public, &c.sign_public));
	assert_false(kban_key_equal(&a.curve_public, &c.curve_public));
	assert_false(kban_key_equal(&a.sign_public, &a.curve_public));
}

static void a_pair_may_be_made_from_its_own_seed(void **state)
{
	struct kban_keypair a = sample_keys(7), b = a;
	(void)state;

	kban_keypair_from_seed(&b, b.seed);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void curve_keys_are_zeromqs(void **state)
{
	struct kban_keypair k = sample_keys(7);
	char secret[41], public_z85[41];
	uint8_t public_key[32];
	(void)state;

	assert_non_null(zmq_z85_encode(secret, k.curve_secret, 32));
	assert_int_equal(zmq_curve_public(public_z85, secret), 0);
	assert_non_null(zmq_z85_decode(public_key, public_z85));
	assert_memory_equal(public_key, k.curve_public.b, 32);
}

static void random_pairs_differ(void **state)
{
	struct kban_keypair a, b;
	(void)state;

	kban_keypair_random(&a);
	kban_keypair_random(&b);
	assert_memory_not_equal(a.seed, b.seed, 32);
}

static void wiped_means_zero(void **state)
{
	static const struct kban_keypair zero;
	struct kban_keypair k = sample_keys(7);
	(void)state;

	kban_keypair_wipe(&k);
	assert_memory_equal(&k, &zero, sizeof(k));
}

static void signature_holds_for_its_tag_key_and_bytes_alone(void **state)
{
	struct kban_keypair k = sample_keys(7), other = sample_keys(8);
	const uint8_t bytes[] = "abc";
	uint8_t signature[KBAN_SIGNATURE_SIZE];
	(void)state;

	kban_sign(signature, &k, "tag", bytes, 3);
	assert_true(kban_sign_check(signature, &k.sign_public, "tag", bytes, 3));
	assert_false(kban_sign_check(signature, &other.sign_public, "tag", bytes, 3));
	assert_false(kban_sign_check(signature, &k.sign_public, "tah", bytes, 3));
	assert_false(kban_sign_check(signature, &k.sign_public, "tag", bytes, 2));
	assert_false(kban_sign_check(signature, &k.sign_public, "tag", NULL, 0));
	/* the tag's NUL keeps tag and bytes apart */
	assert_false(kban_sign_check(signature, &k.sign_public, "taga", bytes + 1, 2));
	for (size_t bit = 0; bit < sizeof(signature) * 8; bit++) {
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(kban_sign_check(signature, &k.sign_public, "tag", bytes, 3));
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void a_key_of_small_order_signs_nothing(void **state)
{
	struct kban_key zero = {{0}}, one = {{1}};
	uint8_t signature[KBAN_SIGNATURE_SIZE] = {1};
	(void)state;

	assert_false(kban_sign_check(signature, &zero, "tag", (const uint8_t *)"x", 1));
	assert_false(kban_sign_check(signature, &one, "tag", (const uint8_t *)"x", 1));
}

static void hash_runs_over_spans_one_after_the_other(void **state)
{
	struct kban_hash whole, parts, other;
	struct kban_span one[] = {{(const uint8_t *)"abcdef", 6}};
	struct kban_span two[] = {
		{(const uint8_t *)"abc", 3}, {NULL, 0}, {(const uint8_t *)"def", 3}};
	(void)state;

	kban_hash_spans(&whole, "t", one, 1);
	kban_hash_spans(&parts, "t", two, 3);
	kban_hash_spans(&other, "u", one, 1);
	assert_true(kban_hash_equal(&whole, &parts));
	assert_false(kban_hash_equal(&whole, &other));
}

static void hex_goes_there_and_back(void **state)
{
	const uint8_t bytes[] = {0x00, 0x1a, 0xff};
	char text[KBAN_HEX(3)];
	uint8_t back[3];
	(void)state;

	assert_string_equal(kban_hex(text, bytes, 3), "001aff");
	assert_true(kban_unhex(back, 3, "001AfF"));
	assert_memory_equal(back, bytes, 3);
	static const char *const bad[] = {"",	    "001af",  "001aff0", "001aff00",
					  "001afg", "00 1af", "0x1aff"};
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++)
		assert_false(kban_unhex(back, 3, bad[i]));
}

static void fingerprint_is_four_groups(void **state)
{
	struct kban_key k = {{0x1a, 0x2b, 0x3c, 0x4d, 0x5e, 0x6f, 0x70, 0x81, 0x99}};
	char text[KBAN_FINGERPRINT_TEXT];
	(void)state;

	assert_string_equal(kban_fingerprint(text, &k), "1a2b 3c4d 5e6f 7081");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_seed_gives_one_pair_of_pairs),
		cmocka_unit_test(a_pair_may_be_made_from_its_own_seed),
		cmocka_unit_test(curve_keys_are_zeromqs),
		cmocka_unit_test(random_pairs_differ),
		cmocka_unit_test(wiped_means_zero),
		cmocka_unit_test(signature_holds_for_its_tag_key_and_bytes_alone),
		cmocka_unit_test(a_key_of_small_order_signs_nothing),
		cmocka_unit_test(hash_runs_over_spans_one_after_the_other),
		cmocka_unit_test(hex_goes_there_and_back),
		cmocka_unit_test(fingerprint_is_four_groups),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
