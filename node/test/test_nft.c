/* SPDX-License-Identifier: MPL-2.0
 *
 * The netlink layer and the wanted table by themselves; measurements are printed, not judged.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/enforce_mirror.h"

#define HOUR_MS 3600000u
#define MANY	300000u /* more than can be read back quickly */

static const struct nft_set ban32 = {NFT_BAN, KBAN_IPV4, 32};
static const struct nft_set safe64 = {NFT_SAFE, KBAN_IPV6, 64};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static const uint8_t *number(uint8_t addr[16], uint32_t i)
{
	memset(addr, 0, 16);
	addr[0] = 10;
	addr[1] = (uint8_t)(i >> 16);
	addr[2] = (uint8_t)(i >> 8);
	addr[3] = (uint8_t)i;
	return addr;
}

static struct nft *fresh(void)
{
	struct nft *n = NULL;

	assert_int_equal(system("nft flush ruleset"), 0);
	assert_int_equal(nft_open(&n, "kban", NULL, 0), 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_ABSENT);
	nft_begin(n);
	nft_create(n);
	assert_int_equal(nft_commit(n), 0);
	return n;
}

static void element_count(void *arg, const uint8_t *addr, uint64_t left_ms)
{
	(void)addr;
	(void)left_ms;
	++*(size_t *)arg;
}

static size_t elements(struct nft *n, struct nft_set set)
{
	size_t count = 0;

	assert_int_equal(nft_dump(n, set, SIZE_MAX / 2, element_count, &count), 0);
	return count;
}

static void a_delete_of_what_is_not_there_is_left_out(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	nft_delete(n, ban32, number(addr, 2));
	nft_add(n, ban32, number(addr, 3), HOUR_MS);
	nft_delete(n, ban32, number(addr, 4));
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(elements(n, ban32), 2);
	nft_begin(n);
	nft_delete(n, ban32, number(addr, 2));
	assert_int_equal(nft_commit(n), 0);
	nft_begin(n);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), 0);
	nft_free(n);
}

static void a_set_that_somebody_took_away_fails_the_whole_transaction(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(system("nft flush ruleset"), 0);
	nft_begin(n);
	nft_add(n, ban32, number(addr, 2), HOUR_MS);
	assert_true(nft_commit(n) < 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_ABSENT);
	nft_free(n);
}

static void only_others_changes_touch(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	assert_int_equal(nft_layout_read(n), 0);
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	assert_int_equal(nft_commit(n), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft add table inet other"), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft add table ip kban"), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft delete element inet kban ban4_32 '{ 10.0.0.1 }'"), 0);
	assert_false(nft_untouched(n));
	assert_int_equal(nft_layout_read(n), 0);
	assert_true(nft_untouched(n));
	nft_free(n);
}

static void a_set_is_exchanged_in_one_transaction(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	nft_add(n, safe64, number(addr, 1), NFT_FOREVER);
	assert_int_equal(nft_commit(n), 0);
	for (int round = 0; round < 3; round++) { /* b, back, b */
		nft_begin(n);
		nft_swap_begin(n, ban32);
		nft_add(n, ban32, number(addr, 5), HOUR_MS);
		assert_int_equal(nft_commit(n), 0);
		nft_begin(n);
		nft_add(n, ban32, number(addr, 6), HOUR_MS);
		nft_swap_end(n, ban32);
		assert_int_equal(nft_commit(n), 0);
		assert_int_equal(elements(n, ban32), 2);
		assert_int_equal(nft_layout_read(n), 0);
		assert_int_equal(elements(n, ban32), 2);
	}
	/* Cut short: the set in use stays in use, and the other one goes. */
	nft_begin(n);
	nft_swap_begin(n, ban32);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_RULES);
	assert_int_equal(elements(n, ban32), 2);
	nft_begin(n);
	nft_write_rules(n);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), 0);
	assert_int_equal(elements(n, ban32), 2);
	nft_free(n);
}

/* The wanted table against a plain array, by a random history. */
static void wanted_table_agrees_with_a_simple_model(void **state)
{
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	struct wanted_group *g = wanted_group(w, ban32);
	static uint64_t model[500];
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)atoi(given) : (unsigned)now_us();
	uint8_t addr[16];
	uint64_t now = 1000;

	(void)state;
	print_message("SEED=%u\n", seed);
	srand(seed);
	for (int step = 0; step < 200000; step++) {
		unsigned i = (unsigned)rand() % 500;
		uint64_t until = rand() % 3 ? now + 1 + (unsigned)rand() % 300 : 0;
		struct wanted_entry *e = wanted_get(w, g, number(addr, i));
		assert_int_equal(e->until, model[i]);
		wanted_set(w, g, e, until, until);
		wanted_drop(w, g, e);
		model[i] = until;
		if (step % 7)
			continue;
		wanted_expire(w, ++now);
		size_t n = 0;
		for (unsigned j = 0; j < 500; j++) {
			model[j] = model[j] <= now ? 0 : model[j];
			n += model[j] > 0;
			e = wanted_find(w, g, number(addr, j));
			assert_int_equal(e ? e->until : 0, model[j]);
		}
		assert_int_equal(wanted_counts(w)->bans, n);
		assert_int_equal(g->n, n);
	}
}

static void want(struct wanted *w, uint32_t from, uint32_t to, uint64_t until, struct mirror *m)
{
	struct wanted_group *g = wanted_group(w, ban32);
	uint8_t addr[16];

	for (uint32_t i = from; i < to; i++) {
		struct wanted_entry *e = wanted_get(w, g, number(addr, i));
		wanted_set(w, g, e, until, e->kernel);
		mirror_changed(m, g, e);
	}
}

static void a_large_set_is_filled_anew_when_others_touched_it(void **state)
{
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	want(w, 0, MANY, until, &m);
	uint64_t begin = now_us();
	assert_int_equal(mirror_apply(&m), 0);
	print_message("bulk: %.2f million a second\n", (double)MANY / (double)(now_us() - begin));
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_true(mirror_untouched(&m));
	assert_int_equal(system("nft delete element inet kban ban4_32 '{ 10.0.0.1 }'; "
				"nft add element inet kban ban4_32 '{ 192.0.2.1 timeout 1h }'"),
			 0);
	assert_false(mirror_untouched(&m));
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("%u filled anew in %u ms\n", MANY, (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(m.repairs.refills, 1);
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_int_equal(system("nft get element inet kban ban4_32b '{ 10.0.0.1 }' >/dev/null"), 0);
	assert_int_not_equal(
		system("nft get element inet kban ban4_32b '{ 192.0.2.1 }' 2>/dev/null"), 0);
	assert_int_equal(system("nft flush ruleset"), 0);
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("%u back after a flush in %u ms\n", MANY,
		      (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(m.repairs.put_back, MANY);
	assert_int_equal(system("nft add chain inet kban mine"), 0);
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("table with %u replaced in one transaction in %u ms\n", MANY,
		      (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_int_equal(nft_layout_read(n), 0);
	mirror_release(&m);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void a_single_ban_is_measured(void **state)
{
	enum { N = 20000 };
	static uint64_t took[N];
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	uint64_t begin = now_us();
	for (uint32_t i = 0; i < N; i++) {
		uint64_t start = now_us();
		want(w, i, i + 1, until, &m);
		assert_int_equal(mirror_apply(&m), 0);
		took[i] = now_us() - start;
	}
	double mean = (double)(now_us() - begin) / N;
	qsort(took, N, sizeof(*took), by_size);
	print_message("one ban, one transaction: mean %.1f, median %u, 99%% %u, worst %u us\n",
		      mean, (unsigned)took[N / 2], (unsigned)took[N * 99 / 100],
		      (unsigned)took[N - 1]);
	mirror_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_delete_of_what_is_not_there_is_left_out),
		cmocka_unit_test(a_set_that_somebody_took_away_fails_the_whole_transaction),
		cmocka_unit_test(only_others_changes_touch),
		cmocka_unit_test(a_set_is_exchanged_in_one_transaction),
		cmocka_unit_test(wanted_table_agrees_with_a_simple_model),
		cmocka_unit_test(a_large_set_is_filled_anew_when_others_touched_it),
		cmocka_unit_test(a_single_ban_is_measured),
	};

	if (geteuid() || unshare(CLONE_NEWNET) || system("nft list ruleset")) {
		printf("needs root, network namespaces and nft\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
