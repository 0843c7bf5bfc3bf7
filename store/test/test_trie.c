/* SPDX-License-Identifier: MPL-2.0
 *
 * The trie against a plain array. test_trie [SEED], or KBAN_SEED.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/trie.h"

#define ROUNDS	 60
#define STEPS	 2000
#define ROWS_MAX 512

static uint64_t seed = 1;

static uint64_t chance(void) /* splitmix64 */
{
	static uint64_t state;

	if (!state)
		state = seed;

	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Few bits vary, so that prefixes share branches, cover each other and come again. */
static struct kban_prefix any_prefix(void)
{
	static const unsigned lens[2][8] = {{0, 1, 8, 24, 29, 30, 31, 32},
					    {0, 3, 64, 65, 96, 126, 127, 128}};
	uint8_t addr[16] = {0x20, 0x01};
	bool v6 = chance() % 2;
	struct kban_prefix p;

	addr[0] ^= chance() % 4 ? 0 : 0x80;
	addr[v6 ? 8 : 2] = (uint8_t)(chance() % 3 << 6);
	addr[v6 ? 15 : 3] = (uint8_t)(chance() % 16);

	unsigned len = lens[v6][chance() % 8];

	if (chance() % 4 == 0)
		len = (unsigned)(chance() % (v6 ? 129 : 33));
	/* host bits are set: only the masked one is wanted */
	p = (struct kban_prefix){.family = v6 ? KBAN_IPV6 : KBAN_IPV4, .len = v6 ? 128 : 32};
	memcpy(p.addr, addr, v6 ? 16 : 4);
	return kban_prefix_mask(&p, len);
}

struct rows { /* sorted */
	size_t n;
	struct kban_prefix *v[ROWS_MAX];
};

static size_t rows_find(const struct rows *r, const struct kban_prefix *p)
{
	size_t i = 0;

	while (i < r->n && kban_prefix_cmp(r->v[i], p) < 0)
		i++;
	return i;
}

static bool rows_have(const struct rows *r, size_t i, const struct kban_prefix *p)
{
	return i < r->n && kban_prefix_equal(r->v[i], p);
}

static void insert(struct trie *t, struct rows *r, const struct kban_prefix *p)
{
	size_t i = rows_find(r, p);
	void **slot;

	if (r->n == ROWS_MAX)
		return;
	slot = trie_slot(t, p);
	if (rows_have(r, i, p)) {
		assert_ptr_equal(*slot, r->v[i]);
		return;
	}
	assert_null(*slot);
	memmove(&r->v[i + 1], &r->v[i], (r->n++ - i) * sizeof(*r->v));
	*slot = r->v[i] = kban_memdup(p, sizeof(*p));
}

static void take(struct trie *t, struct rows *r, const struct kban_prefix *p)
{
	size_t i = rows_find(r, p);

	trie_remove(t, p);
	if (!rows_have(r, i, p))
		return;
	free(r->v[i]);
	memmove(&r->v[i], &r->v[i + 1], (--r->n - i) * sizeof(*r->v));
}

static void assert_same_covering(const struct trie *t, const struct rows *r,
				 const struct kban_prefix *p)
{
	void *found[TRIE_DEPTH_MAX];
	size_t n = trie_covering(t, p, found), at = 0;

	for (size_t i = 0; i < r->n; i++)
		if (kban_prefix_covers(r->v[i], p)) {
			assert_true(at < n);
			assert_ptr_equal(found[at++], r->v[i]);
		}
	assert_int_equal(at, n);
}

static void assert_same_walk(const struct trie *t, const struct rows *r,
			     const struct kban_prefix *within, const struct kban_prefix *after)
{
	struct trie_walk w;

	trie_walk_start(&w, t, within, after);
	for (size_t i = 0; i < r->n; i++) {
		if (within && !kban_prefix_covers(within, r->v[i]))
			continue;
		if (after && kban_prefix_cmp(r->v[i], after) <= 0)
			continue;
		assert_ptr_equal(trie_walk_next(&w), r->v[i]);
	}
	assert_null(trie_walk_next(&w));
}

static void assert_same(const struct trie *t, const struct rows *r)
{
	struct kban_prefix p = any_prefix(), q = any_prefix();
	size_t i = rows_find(r, &p);

	assert_int_equal(t->entries, r->n);
	assert_ptr_equal(trie_find(t, &p), rows_have(r, i, &p) ? r->v[i] : NULL);
	assert_same_covering(t, r, &p);
	assert_same_walk(t, r, chance() % 4 ? &p : NULL, chance() % 2 ? &q : NULL);
}

static void round_run(void)
{
	struct trie t = {0};
	struct rows r = {0};
	uint64_t inserts = 2 + chance() % 7; /* of ten: some rounds grow, some shrink */

	for (size_t i = 0; i < STEPS; i++) {
		struct kban_prefix p = any_prefix();

		if (chance() % 10 < inserts)
			insert(&t, &r, &p);
		else
			take(&t, &r, &p);
		assert_same(&t, &r);
		assert_true(t.n <= 2 * ROWS_MAX + 2);
	}
	while (r.n) {
		struct kban_prefix p = *r.v[chance() % r.n];

		take(&t, &r, &p);
		assert_same(&t, &r);
	}
	assert_int_equal(t.roots[0] | t.roots[1], 0);
	trie_clear(&t);
}

static void trie_and_array_agree_after_every_step(void **state)
{
	(void)state;
	print_message("seed %" PRIu64 "\n", seed);
	for (size_t i = 0; i < ROUNDS; i++)
		round_run();
}

static void an_empty_trie_finds_nothing(void **state)
{
	struct trie t = {0};
	struct kban_prefix p = any_prefix();
	void *found[TRIE_DEPTH_MAX];
	struct trie_walk w;

	(void)state;
	assert_null(trie_find(&t, &p));
	assert_int_equal(trie_covering(&t, &p, found), 0);
	trie_walk_start(&w, &t, NULL, NULL);
	assert_null(trie_walk_next(&w));
	trie_remove(&t, &p);
	trie_clear(&t);
}

static void a_branch_holds_every_length(void **state)
{
	struct trie t = {0};
	struct kban_prefix all[129], host = {.family = KBAN_IPV6, .len = 128};
	void *found[TRIE_DEPTH_MAX];
	struct trie_walk w;

	(void)state;
	memset(host.addr, 0xa5, sizeof(host.addr));
	for (unsigned len = 129; len-- > 0;) {
		all[len] = kban_prefix_mask(&host, len);
		*trie_slot(&t, &all[len]) = &all[len];
	}
	assert_int_equal(trie_covering(&t, &host, found), 129);
	trie_walk_start(&w, &t, NULL, NULL);
	for (unsigned len = 0; len < 129; len++) {
		assert_ptr_equal(found[len], &all[len]);
		assert_ptr_equal(trie_walk_next(&w), &all[len]);
	}
	assert_null(trie_walk_next(&w));
	trie_clear(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trie_and_array_agree_after_every_step),
		cmocka_unit_test(an_empty_trie_finds_nothing),
		cmocka_unit_test(a_branch_holds_every_length),
	};
	const char *given = argc > 1 ? argv[1] : getenv("KBAN_SEED");

	if (given)
		seed = strtoull(given, NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
