/* SPDX-License-Identifier: MPL-2.0
 *
 * How fast many bans fold, and what they take: test_speed [BANS], default 100000.
 */
#include <malloc.h>
#include <time.h>

#include "store/test/fleet.h"

static size_t many = 100000;

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fold_many(struct fleet *f, size_t n)
{
	struct kban_event events[100];

	for (size_t i = 0; i < n; i += 100) {
		for (size_t e = 0; e < 100; e++) {
			uint32_t a = (uint32_t)(i + e) * 2654435761U; /* each address once */

			a = 0x10000000 | a >> 4;
			events[e] = (struct kban_event){.kind = KBAN_EVENT_BAN};
			events[e].ban.prefix = (struct kban_prefix){
				KBAN_IPV4, 32, {a >> 24, a >> 16, a >> 8, a}};
			events[e].ban.duration_ms = DAY + i;
		}

		struct kban_report r = report_of(f, N1, ++f->counters[N1], events, 100);
		struct kban_entry entry = {.seq = head(f) + 1, .accepted_ms = f->now += 3};

		ledger_apply(f->ledger, &entry, &r, NULL, NULL);
	}
}

static void many_bans_fold_end_and_expire(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->quota_per_hour = 1000000), COUNTED);

	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	double start = cpu_seconds();

	fold_many(f, many);

	double folded = cpu_seconds();
	size_t used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	uint64_t n = ledger_bans_count(f->ledger, f->now);

	print_message("%zu bans: %.2f s of CPU, %zu bytes each, %zu prefixes\n", many,
		      folded - start, used / many, (size_t)n);
	assert_true(n > many / 10 * 9);
	assert_says(f, OP, UNBAN("0.0.0.0/0"), COUNTED);
	print_message("ended by one unban: %.2f s of CPU\n", cpu_seconds() - folded);
	f->now += 400 * DAY;
	folded = cpu_seconds();
	assert_says(f, OP, UNBAN("0.0.0.0/0"), COUNTED);
	print_message("expired: %.2f s of CPU\n", cpu_seconds() - folded);
	assert_int_equal(f->ledger->bans.entries, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		fleet_test(many_bans_fold_end_and_expire),
	};

	if (argc > 1)
		many = strtoull(argv[1], NULL, 10);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
