/* SPDX-License-Identifier: MPL-2.0
 *
 * Tables in memory, against somebody who chooses their keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/hash.h"

#define ROWS  4096
#define CHAIN 64 /* uthash aims at 10 */

struct row {
	uint64_t key;
	UT_hash_handle hh;
};

/* FNV-1a, which uthash offers, has no key. */
static uint32_t known_hash(uint64_t key)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < sizeof(key); i++)
		h = (h ^ ((const uint8_t *)&key)[i]) * 16777619U;
	return h;
}

static size_t longest_chain(const struct row *rows)
{
	const UT_hash_table *t = rows->hh.tbl;
	size_t longest = 0;

	for (size_t i = 0; i < t->num_buckets; i++)
		if (t->buckets[i].count > longest)
			longest = t->buckets[i].count;
	return longest;
}

static void keys_that_were_chosen_to_collide_do_not(void **state)
{
	struct row *rows = NULL, *row, *next, *all = kban_zalloc(ROWS * sizeof(*all));
	uint64_t key = 0, seen = 0;

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		while (known_hash(++key) & 1023)
			;
		all[i].key = key;
		HASH_ADD(hh, rows, key, sizeof(key), &all[i]);
	}
	assert_in_range(longest_chain(rows), 1, CHAIN);
	HASH_ITER (hh, rows, row, next) { /* in the order in which they came */
		assert_true(row->key > seen);
		seen = row->key;
	}
	HASH_CLEAR(hh, rows);
	free(all);
}

static void a_key_has_one_bucket_for_as_long_as_the_process_runs(void **state)
{
	uint32_t before = kban_bucket("192.0.2.1", 9);

	(void)state;
	kban_crypto_setup();
	assert_int_equal(kban_bucket("192.0.2.1", 9), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_that_were_chosen_to_collide_do_not),
		cmocka_unit_test(a_key_has_one_bucket_for_as_long_as_the_process_runs),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
