/* SPDX-License-Identifier: MPL-2.0
 *
 * Safe ranges and brokers' addresses: LEDGER.md, "Events", sentence by sentence.
 */
#include "store/test/fleet.h"

static void an_operators_range_ends_bans_inside_and_not_around_it(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, OP, BAN("192.0.0.0/16", HOUR), COUNTED);
	assert_says(f, OP, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), 0);
	assert_int_not_equal(until(f, "192.0.0.0/16"), 0);
	assert_true(is_safe(f, "192.0.2.200"));
	assert_false(is_safe(f, "192.0.0.0/16"));
	f->now += 3000 * DAY;
	assert_true(is_safe(f, "192.0.2.200"));
}

static void an_operators_wide_range_needs_force_and_everything_is_never_safe(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, SAFE("192.0.0.0/15", 0), LIMIT);
	assert_says(f, OP, SAFE("192.0.0.0/15", 0, .force = true), COUNTED);
	assert_says(f, OP, SAFE("2001:db8::/31", 0), LIMIT);
	assert_says(f, OP, SAFE("0.0.0.0/0", 0, .force = true), LIMIT);
	assert_says(f, OP, SAFE("::/0", 0, .force = true), LIMIT);
	assert_says(f, N1, SAFE("0.0.0.0/0", 0), HELD);
	assert_true(is_safe_on(f, "198.51.100.1", N1));
	assert_false(is_safe(f, "198.51.100.1"));
}

static void a_range_of_ones_own_changes_only_its_end(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, SAFE("192.0.2.0/24", HOUR), COUNTED);
	assert_says(f, OP, SAFE("192.0.2.0/24", HOUR), NO_CHANGE);
	f->now += MINUTE;
	assert_says(f, OP, SAFE("192.0.2.0/24", HOUR - MINUTE), NO_CHANGE);
	assert_says(f, OP, SAFE("192.0.2.0/24", HOUR), COUNTED);
	assert_int_equal(ledger_next_end(f->ledger, f->now), f->now + HOUR);
	assert_says(f, OP, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_says(f, OP, SAFE("192.0.2.0/24", 0), NO_CHANGE);
	assert_says(f, OP2, SAFE("192.0.2.0/24", 0), COUNTED); /* another owner, another range */
}

static void a_nodes_range_within_policy_counts_fleet_wide(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N1, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_true(is_safe(f, "192.0.2.1"));
	assert_int_equal(until(f, "192.0.2.1"), 0);
	assert_says(f, N1, SAFE("2001:db8::/64", 0), COUNTED);
}

static void a_nodes_range_outside_policy_is_held_and_counts_on_that_node_only(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix p = P("192.0.0.0/23");

	assert_says(f, N1, SAFE("192.0.0.0/23", 0), HELD);
	assert_false(is_safe(f, "192.0.1.1"));
	assert_true(is_safe_on(f, "192.0.1.1", N1));
	assert_false(is_safe_on(f, "192.0.1.1", N2));
	assert_true(ledger_safe_for(f->ledger, &p, f->now, key_of(f, N1)));
	assert_says(f, N2, BAN("192.0.1.1", MINUTE), COUNTED);
	assert_says(f, N1, SAFE("2001:db8::/63", 0), HELD);
	assert_says(f, OP, POLICY(to->safe_max = 2), COUNTED);
	assert_says(f, N1, SAFE("203.0.113.1", 0), HELD); /* the third */
}

static void a_nodes_range_over_others_bans_is_held_for_a_day_after_they_end(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N2, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, OP, BAN("198.51.0.0/16", HOUR), COUNTED);
	assert_says(f, N1, SAFE("192.0.2.0/24", MINUTE), HELD);
	assert_says(f, N1, SAFE("198.51.100.0/24", MINUTE), HELD);
	f->now += HOUR;
	assert_says(f, N1, SAFE("192.0.2.0/24", MINUTE), HELD);
	assert_says(f, N1, SAFE("198.51.100.0/24", MINUTE),
		    COUNTED); /* a wider one does not run any more */
	f->now += DAY;
	assert_says(f, N1, SAFE("192.0.2.0/24", MINUTE), COUNTED);
}

static void an_owner_has_at_most_so_many_ranges(void **state)
{
	struct fleet *f = *state;
	struct ledger_limits small = f->ledger->limits;

	small.safes_per_owner = 1;
	ledger_limit(f->ledger, &small);
	assert_says(f, OP, SAFE("192.0.2.1", MINUTE), COUNTED);
	assert_says(f, OP, SAFE("192.0.2.2", MINUTE), FULL);
	f->now += MINUTE;
	assert_says(f, OP, SAFE("192.0.2.2", MINUTE), COUNTED);
}

static void an_approval_makes_a_held_range_safe_and_lifts_others_bans(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix range = P("192.0.2.0/24");

	assert_says(f, N2, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N1, SAFE("192.0.2.0/24", 0), HELD);
	assert_says(f, OP, APPROVE(f, "192.0.2.0/24", N2), NOT_FOUND);
	assert_says(f, OP, APPROVE(f, "192.0.2.0/24", NEW), NOT_FOUND);
	assert_says(f, OP, APPROVE(f, "192.0.2.0/24", N1), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), 0);
	assert_true(is_safe(f, "192.0.2.1"));
	assert_says(f, OP, APPROVE(f, "192.0.2.0/24", N1), NO_CHANGE);
	assert_int_equal(
		safe_find(f->ledger, &range, principal_find(f->ledger, key_of(f, N1)), f->now)
			->pub.decided_seq,
		head(f) - 1);
}

static void an_owner_removes_its_own_range(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_says(f, N2, UNSAFE("192.0.2.0/24"), NOT_FOUND);
	assert_says(f, OP, UNSAFE("192.0.2.0/24"), NOT_FOUND);
	assert_says(f, N1, UNSAFE("192.0.2.0/24", .all = true), DENIED);
	assert_says(f, N1, UNSAFE("192.0.2.0/24"), COUNTED);
	assert_false(is_safe(f, "192.0.2.1"));
}

static void remove_all_takes_operators_ranges_and_rejects_nodes(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_says(f, OP2, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_says(f, OP, UNSAFE("192.0.2.0/24", .all = true), COUNTED);
	assert_false(is_safe_on(f, "192.0.2.1", N1));
	assert_says(f, OP, UNSAFE("192.0.2.0/24", .all = true), NOT_FOUND);
	assert_says(f, OP2, UNSAFE("192.0.2.0/24"), NOT_FOUND);
	assert_says(f, N1, SAFE("192.0.2.0/24", HOUR),
		    NO_CHANGE); /* its word does not bring it back */
	assert_false(is_safe(f, "192.0.2.1"));
	assert_says(f, OP, APPROVE(f, "192.0.2.0/24", N1), COUNTED);
	assert_true(is_safe(f, "192.0.2.1"));
	assert_says(f, OP, UNSAFE("192.0.2.0/24", .all = true), COUNTED);
	assert_says(f, N1, UNSAFE("192.0.2.0/24"), COUNTED);
	assert_says(f, N1, SAFE("192.0.2.0/24", 0), COUNTED);
}

static void ranges_inside_one_another_count_each_by_itself(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, SAFE("2001:db8::/48", 0), COUNTED);
	assert_says(f, OP, SAFE("2001:db8:0:7::/64", 0), COUNTED);
	assert_says(f, OP2, SAFE("2001:db8:0:7::9", HOUR), COUNTED);
	assert_says(f, N1, BAN("2001:db8:0:7::/64", HOUR), SAFE);
	assert_says(f, OP, UNSAFE("2001:db8::/48", .all = true), COUNTED);
	assert_says(f, N1, BAN("2001:db8:0:7::/64", HOUR), SAFE);
	assert_says(f, N1, BAN("2001:db8:0:8::/64", HOUR), COUNTED);
	assert_says(f, OP, UNSAFE("2001:db8:0:7::/64", .all = true), COUNTED);
	/* A safe address inside lifts no ban around it: the kernels leave the hole. */
	assert_says(f, N1, BAN("2001:db8:0:7::/64", HOUR), COUNTED);
	assert_true(is_safe(f, "2001:db8:0:7::9"));
	assert_int_not_equal(until(f, "2001:db8:0:7::/64"), 0);
}

static void a_brokers_address_is_never_banned_and_ends_bans_that_hold_it(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix address = P("192.0.2.9");
	struct kban_event set = {.kind = KBAN_EVENT_BROKER_ADDRESS};

	set.broker_address.curve = f->keys[BROK].curve_public;
	set.broker_address.endpoint = kban_text("tcp://192.0.2.9:7400");
	set.broker_address.addresses = &address;
	set.broker_address.addresses_n = 1;
	assert_says(f, OP, BAN("192.0.2.0/24", HOUR), COUNTED);
	assert_says(f, OP, set, COUNTED);
	assert_int_equal(until(f, "192.0.2.0/24"), 0);
	assert_says(f, N1, BAN("192.0.2.9", HOUR), NEVER_BAN);
	assert_says(f, OP, BAN("192.0.2.0/24", HOUR), NEVER_BAN);
	assert_says(f, OP, set, NO_CHANGE);
	assert_true(ledger_is_broker_address(f->ledger, &address));
	set.broker_address.remove = true;
	assert_says(f, OP, set, COUNTED);
	assert_says(f, OP, set, NOT_FOUND);
	assert_says(f, N1, BAN("192.0.2.9", HOUR), COUNTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fleet_test(an_operators_range_ends_bans_inside_and_not_around_it),
		fleet_test(an_operators_wide_range_needs_force_and_everything_is_never_safe),
		fleet_test(a_range_of_ones_own_changes_only_its_end),
		fleet_test(a_nodes_range_within_policy_counts_fleet_wide),
		fleet_test(a_nodes_range_outside_policy_is_held_and_counts_on_that_node_only),
		fleet_test(a_nodes_range_over_others_bans_is_held_for_a_day_after_they_end),
		fleet_test(an_owner_has_at_most_so_many_ranges),
		fleet_test(an_approval_makes_a_held_range_safe_and_lifts_others_bans),
		fleet_test(an_owner_removes_its_own_range),
		fleet_test(remove_all_takes_operators_ranges_and_rejects_nodes),
		fleet_test(ranges_inside_one_another_count_each_by_itself),
		fleet_test(a_brokers_address_is_never_banned_and_ends_bans_that_hold_it),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
