/* SPDX-License-Identifier: MPL-2.0
 *
 * The reason of an `epoch` event that accepts a ledger: nothing but what is written counts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/accept.h"

#define DIGEST "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static bool parses(const char *text)
{
	struct kban_text t = {text, strlen(text)};
	struct kban_hash digest;
	uint64_t seq;

	return kban_accept_parse(&seq, &digest, &t);
}

static void what_was_written_is_read(void **state)
{
	const uint64_t seqs[] = {0, 1, 1234567, UINT64_MAX};
	struct kban_hash digest, read;
	char text[KBAN_ACCEPT_TEXT];
	uint64_t seq;

	(void)state;
	for (uint8_t i = 0; i < sizeof(digest.b); i++)
		digest.b[i] = i;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(seqs); i++) {
		struct kban_text t = kban_text(kban_accept_format(text, seqs[i], &digest));

		assert_true(kban_accept_parse(&seq, &read, &t));
		assert_int_equal(seq, seqs[i]);
		assert_memory_equal(&read, &digest, sizeof(digest));
	}
	assert_true(parses("accepts entry 7 with digest " DIGEST));
}

static void anything_else_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"restored from a backup",
		"accepts entry 7 with digest ",
		"accepts entry 7 with digest 00",
		"accepts entry 7 with digest " DIGEST "0",
		"accepts entry 7 with digest " DIGEST " and more",
		" accepts entry 7 with digest " DIGEST,
		"accepts entry  7 with digest " DIGEST,
		"accepts entry 07 with digest " DIGEST,
		"accepts entry -7 with digest " DIGEST,
		"accepts entry 99999999999999999999 with digest " DIGEST,
		"Accepts entry 7 with digest " DIGEST,
	};
	struct kban_text none = {0};
	struct kban_hash digest;
	uint64_t seq;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(texts); i++)
		if (parses(texts[i]))
			fail_msg("%s", texts[i]);
	assert_false(kban_accept_parse(&seq, &digest, &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(anything_else_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
