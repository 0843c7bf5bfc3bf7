/* SPDX-License-Identifier: MPL-2.0
 *
 * Bans, unbans, strikes and quotas: LEDGER.md, "Events", sentence by sentence.
 */
#include "store/test/fleet.h"

/* Ban ---------------------------------------------------------------------------------------- */

static void a_ban_runs_until_accepted_at_plus_its_duration(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", 5 * MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), FLEET_START + 5 * MINUTE);
	f->now += 5 * MINUTE - 1;
	assert_int_not_equal(until(f, "192.0.2.1"), 0);
	f->now += 1;
	assert_int_equal(until(f, "192.0.2.1"), 0);
}

static void what_may_never_be_banned_is_not(void **state)
{
	static const char *const never[] = {
		"0.0.0.0",	   "127.0.0.1", "169.254.3.4", "224.0.0.1", "239.255.255.255",
		"255.255.255.255", "::/64",	"fe80::/64",   "ff02::/64",
	};
	struct fleet *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(never); i++)
		assert_says(f, N1, BAN(never[i], MINUTE), NEVER_BAN);
	assert_says(f, OP, BAN("0.0.0.0/0", MINUTE, .force = true), NEVER_BAN);
	assert_says(f, OP, BAN("126.0.0.0/7", MINUTE, .force = true), NEVER_BAN);
}

static void a_node_and_a_feeder_ban_single_addresses_only(void **state)
{
	static const struct {
		const char *text;
		enum kban_outcome outcome;
	} cases[] = {
		{"192.0.2.1", KBAN_OUTCOME_COUNTED},
		{"192.0.2.0/31", KBAN_OUTCOME_LIMIT},
		{"2001:db8::/64", KBAN_OUTCOME_COUNTED},
		{"2001:db8::/63", KBAN_OUTCOME_LIMIT},
		{"2001:db8::1", KBAN_OUTCOME_LIMIT},
		{"64:ff9b::/64", KBAN_OUTCOME_LIMIT},
		{"64:ff9b::/96", KBAN_OUTCOME_LIMIT},
		{"64:ff9b::1/128", KBAN_OUTCOME_COUNTED},
		{"64:ff9b::c000:0/127", KBAN_OUTCOME_LIMIT},
		{"64:ff9b:1::/64", KBAN_OUTCOME_COUNTED},
	};
	struct fleet *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		assert_int_equal(say(f, N1, BAN(cases[i].text, MINUTE)), cases[i].outcome);
		assert_int_equal(say(f, FEED, BAN(cases[i].text, MINUTE, .force = true)),
				 cases[i].outcome);
	}
}

static void an_operator_bans_nothing_wide_without_force_and_nothing_very_wide_with_it(void **state)
{
	static const struct {
		const char *text;
		enum kban_outcome plain, forced;
	} cases[] = {
		{"198.51.0.0/16", KBAN_OUTCOME_COUNTED, KBAN_OUTCOME_COUNTED},
		{"198.50.0.0/15", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_COUNTED},
		{"198.0.0.0/8", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_COUNTED},
		{"198.0.0.0/7", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_LIMIT},
		{"2001:db8::/32", KBAN_OUTCOME_COUNTED, KBAN_OUTCOME_COUNTED},
		{"2001:db8::1", KBAN_OUTCOME_COUNTED, KBAN_OUTCOME_COUNTED},
		{"2001:db0::/31", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_COUNTED},
		{"2001::/16", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_COUNTED},
		{"2000::/15", KBAN_OUTCOME_LIMIT, KBAN_OUTCOME_LIMIT},
	};
	struct fleet *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		assert_int_equal(say(f, OP, BAN(cases[i].text, MINUTE)), cases[i].plain);
		assert_int_equal(say(f, OP, BAN(cases[i].text, MINUTE, .force = true)),
				 cases[i].forced);
	}
}

static void a_policy_sets_how_wide_operators_ban_without_force(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->ban_min_len4 = 24; to->ban_min_len6 = 48), COUNTED);
	assert_says(f, OP, BAN("198.51.100.0/23", MINUTE), LIMIT);
	assert_says(f, OP, BAN("198.51.100.0/24", MINUTE), COUNTED);
	assert_says(f, OP, BAN("2001:db8::/47", MINUTE), LIMIT);
	assert_says(f, OP, BAN("2001:db8::/48", MINUTE), COUNTED);
	assert_says(f, OP, BAN("198.0.0.0/8", MINUTE, .force = true), COUNTED);
	assert_says(f, N1, BAN("198.51.100.0/24", MINUTE), LIMIT);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 8; to->ban_min_len6 = 16), COUNTED);
	assert_says(f, OP, BAN("198.0.0.0/8", MINUTE), COUNTED);
	assert_says(f, OP, BAN("2001::/16", MINUTE), COUNTED);
	assert_says(f, OP, SAFE("198.0.0.0/8", 0), LIMIT); /* a range's width is not the policy's */
}

static void a_nodes_or_feeders_ban_is_no_longer_than_policy_allows(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", 366 * DAY), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + 31 * DAY);
	assert_says(f, OP,
		    POLICY(to->node_ban_max_ms = HOUR; to->repeat_percent = 200;
			   to->repeat_max_ms = 3 * HOUR),
		    COUNTED);
	assert_says(f, FEED, BAN("192.0.2.2", DAY), COUNTED);
	assert_int_equal(until(f, "192.0.2.2"), f->now + HOUR);
	assert_says(f, N1, BAN("192.0.2.3", MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.3"), f->now + MINUTE);
	assert_says(f, OP, BAN("192.0.2.4", DAY), COUNTED); /* an operator's is as he says */
	assert_int_equal(until(f, "192.0.2.4"), f->now + DAY);
	f->now += HOUR;
	assert_says(f, FEED, BAN("192.0.2.2", DAY),
		    COUNTED); /* lengthened from the hour, not the day */
	assert_int_equal(until(f, "192.0.2.2"), f->now + 2 * HOUR);
	f->now += 2 * HOUR;
	assert_says(f, FEED, BAN("192.0.2.2", DAY), COUNTED);
	assert_int_equal(until(f, "192.0.2.2"), f->now + 3 * HOUR); /* and up to the most */
}

static void what_a_running_safe_range_covers_is_not_banned(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, SAFE("192.0.2.0/24", HOUR), COUNTED);
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), SAFE);
	assert_says(f, OP, BAN("192.0.2.0/24", MINUTE), SAFE);
	assert_says(f, OP, BAN("192.0.0.0/16", MINUTE), COUNTED);
	f->now += HOUR;
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), COUNTED);
}

static void a_report_older_than_an_unban_does_not_bring_the_ban_back(void **state)
{
	struct fleet *f = *state;
	uint64_t before = head(f);

	assert_says(f, OP, UNBAN("192.0.2.0/24"), COUNTED);
	f->base = &before;
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), UNBANNED);
	assert_says(f, N1, BAN("192.0.3.7", MINUTE), COUNTED);
	f->base = NULL;
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), COUNTED);
}

static void an_unban_is_forgotten_after_the_history_period(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix p = P("192.0.2.7");

	assert_says(f, OP, UNBAN("192.0.2.7"), COUNTED);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &p), head(f));
	f->now += HOUR - f->now % HOUR + 90 * DAY - 1; /* counted from the end of its hour */
	assert_says(f, OP, UNBAN("192.0.2.8"), COUNTED);
	assert_int_not_equal(ledger_unbanned_seq(f->ledger, &p), 0);
	f->now += 1;
	assert_says(f, OP, UNBAN("192.0.2.8"), COUNTED);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &p), 0);
}

static void whoever_does_not_know_of_a_forgotten_unban_is_late(void **state)
{
	struct fleet *f = *state;
	uint64_t before;

	f->now += HOUR - f->now % HOUR + 90 * DAY;
	assert_says(f, OP, BAN("192.0.2.7", MINUTE), COUNTED);
	before = head(f);
	assert_says(f, OP, UNBAN("192.0.2.7"), COUNTED);
	f->base = &before;
	f->now += 90 * DAY; /* within the last hour of the period */
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), UNBANNED);
	f->now += HOUR - 1;
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), UNBANNED);
	f->now += 1;
	assert_says(f, N1, BAN("192.0.2.7", MINUTE), HISTORY);
}

static void over_quota_puts_a_node_on_hold_until_it_is_released(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->quota_per_hour = 2), COUNTED);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_says(f, N1, BAN("192.0.2.2", 0), HISTORY);
	assert_says(f, N1, BAN("192.0.2.3", MINUTE), OVER_QUOTA);
	assert_true(f->v.loggable);
	assert_true(ledger_principal(f->ledger, key_of(f, N1))->held);
	assert_int_not_equal(until(f, "192.0.2.1"), 0);
	assert_int_equal(say(f, N1, UNBAN("192.0.2.1")), 0);
	assert_int_equal(f->v.refusal, KBAN_REFUSAL_ON_HOLD);
	f->now += 2 * HOUR;
	assert_int_equal(say(f, N1, BAN("192.0.2.1", MINUTE)), 0);
	assert_says(f, OP, RELEASE(f, N1), COUNTED);
	assert_says(f, OP, RELEASE(f, N1), NO_CHANGE);
	assert_says(f, OP, RELEASE(f, NEW), NOT_FOUND);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
}

static void a_quota_is_of_one_hour_and_of_one_author_and_operators_have_none(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->quota_per_hour = 1), COUNTED);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_says(f, N2, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_says(f, OP, BAN("192.0.2.2", MINUTE), COUNTED);
	assert_says(f, OP, BAN("192.0.2.3", MINUTE), COUNTED);
	f->now += HOUR;
	assert_says(f, N1, BAN("192.0.2.4", MINUTE), COUNTED);
}

static void the_rest_of_a_report_over_quota_is_still_judged(void **state)
{
	struct fleet *f = *state;
	struct kban_event events[] = {BAN("192.0.2.1", MINUTE), BAN("192.0.2.2", MINUTE),
				      UNBAN("192.0.2.1")};

	assert_says(f, OP, POLICY(to->quota_per_hour = 1), COUNTED);
	assert_int_equal(say_all(f, N1, events, 3), 0);
	assert_int_equal(f->v.outcomes[0], KBAN_OUTCOME_COUNTED);
	assert_int_equal(f->v.outcomes[1], KBAN_OUTCOME_OVER_QUOTA);
	assert_int_equal(f->v.outcomes[2], KBAN_OUTCOME_COUNTED);
}

static void a_ban_without_duration_is_history(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", 0), HISTORY);
	assert_null(record(f, "192.0.2.1", 0));
	assert_true(f->v.loggable);
}

static void a_late_report_is_history(void **state)
{
	struct fleet *f = *state;
	uint64_t start;

	f->now += 100 * DAY;
	assert_says(f, OP, UNBAN("198.51.100.1"), COUNTED);
	start = head(f);
	f->now += HOUR;
	start -= 1;
	f->base = &start;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED); /* base seq = start - 1 */
	start -= 1;
	assert_says(f, N1, BAN("192.0.2.2", MINUTE), HISTORY);
	assert_says(f, N1, UNBAN("192.0.2.1"), COUNTED); /* only bans are */
}

static void the_first_entry_after_a_long_silence_may_be_late(void **state)
{
	struct fleet *f = *state;
	uint64_t base = head(f) - 1;

	f->now += 100 * DAY;
	f->base = &base;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), HISTORY);
	base = head(f);
	f->now += 100 * DAY;
	assert_says(f, N1, BAN("192.0.2.2", MINUTE), COUNTED);
}

/* Strikes ------------------------------------------------------------------------------------ */

static void overlapping_bans_are_one_strike_and_later_ones_lengthen(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->repeat_percent = 250; to->repeat_max_ms = 10 * HOUR),
		    COUNTED);
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N2, BAN("192.0.2.1", HOUR), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 1)->strikes, 1);
	f->now += HOUR;
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 2)->strikes, 2);
	assert_int_equal(until(f, "192.0.2.1"), f->now + HOUR * 250 / 100);
	f->now += 3 * HOUR;
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + HOUR * 250 / 100 * 250 / 100);
	f->now += 7 * HOUR;
	assert_says(f, FEED, BAN("192.0.2.1", HOUR), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + 10 * HOUR); /* the most */
	f->now += 10 * HOUR;
	assert_says(f, N1, BAN("192.0.2.1", 20 * HOUR), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + 20 * HOUR); /* never shorter */
}

static void operators_bans_are_no_strikes_and_are_not_lengthened(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, POLICY(to->repeat_percent = 200), COUNTED);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	f->now += HOUR;
	assert_says(f, OP, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + MINUTE);
	f->now += HOUR;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 2)->strikes, 2);
}

static void strikes_can_be_asked_for(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix p = P("192.0.2.1");
	uint64_t end = 0;

	assert_int_equal(ledger_strikes(f->ledger, &p, f->now, &end), 0);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	f->now += HOUR;
	assert_says(f, N2, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(ledger_strikes(f->ledger, &p, f->now, &end), 2);
	assert_int_equal(end, f->now + MINUTE);
	assert_int_equal(ledger_strikes(f->ledger, &p, end + 90 * DAY - 1, NULL), 2);
	assert_int_equal(ledger_strikes(f->ledger, &p, end + 90 * DAY, NULL), 0);
}

static void strikes_are_forgotten_after_the_history_period(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", 0), HISTORY);
	f->now += 90 * DAY - 1;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 0)->strikes, 2);
	f->now += MINUTE + 90 * DAY;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 0)->strikes, 1);
}

/* Records ------------------------------------------------------------------------------------ */

static void the_longest_running_ban_counts_and_all_are_kept(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N2, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), FLEET_START + HOUR);
	assert_ptr_equal(record(f, "192.0.2.1", 1)->author,
			 ledger_principal(f->ledger, key_of(f, N2)));
	assert_int_equal(ledger_bans_count(f->ledger, f->now), 1);
}

static void an_ended_ban_is_known_for_a_day(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	f->now += MINUTE + DAY - 1;
	assert_says(f, N1, BAN("192.0.2.2", MINUTE), COUNTED);
	assert_non_null(record(f, "192.0.2.1", 0));
	assert_false(record(f, "192.0.2.1", 0)->ended); /* it ran out */
	f->now += 1;
	assert_says(f, N1, BAN("192.0.2.3", MINUTE), COUNTED);
	assert_null(record(f, "192.0.2.1", 0));
}

static void a_prefix_holds_at_most_64_records(void **state)
{
	struct fleet *f = *state;

	for (uint64_t i = 0; i < 64; i++)
		assert_says(f, OP, BAN("192.0.2.1", HOUR - i * MINUTE / 2), COUNTED);
	assert_non_null(record(f, "192.0.2.1", 63));
	assert_says(f, OP, BAN("192.0.2.1", 2 * HOUR), COUNTED);
	assert_null(record(f, "192.0.2.1", 64));
	assert_int_equal(record(f, "192.0.2.1", 62)->until_ms,
			 FLEET_START + HOUR - 62 * MINUTE / 2);
	assert_int_equal(record(f, "192.0.2.1", 63)->until_ms, FLEET_START + 2 * HOUR);
}

static void a_full_table_takes_no_ban(void **state)
{
	struct fleet *f = *state;
	struct ledger_limits small = f->ledger->limits;

	small.ban_records = 2;
	ledger_limit(f->ledger, &small);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	assert_says(f, N1, BAN("192.0.2.2", MINUTE), COUNTED);
	assert_says(f, N1, BAN("192.0.2.3", MINUTE), FULL);
	assert_says(f, N1, BAN("192.0.2.3", 0), HISTORY);
	f->now += MINUTE + DAY;
	assert_says(f, N1, BAN("192.0.2.3", MINUTE), COUNTED);
}

/* Unban -------------------------------------------------------------------------------------- */

static void an_operators_unban_ends_what_is_equal_or_inside_and_always_counts(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, OP, BAN("192.0.2.0/24", HOUR), COUNTED);
	assert_says(f, OP, BAN("192.0.0.0/16", HOUR), COUNTED);
	assert_says(f, OP2, UNBAN("192.0.2.0/24"), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), 0);
	assert_int_equal(until(f, "192.0.2.0/24"), 0);
	assert_int_not_equal(until(f, "192.0.0.0/16"), 0);
	assert_true(record(f, "192.0.2.1", 0)->ended);
	assert_int_equal(record(f, "192.0.2.1", 0)->until_ms, f->now);
	assert_says(f, OP2, UNBAN("203.0.113.0/24"), COUNTED);
}

static void unban_with_covering_ends_wider_bans_too_and_remembers_them(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix neighbour = P("192.0.200.1");

	assert_says(f, OP, BAN("192.0.0.0/16", HOUR), COUNTED);
	assert_says(f, OP2, UNBAN("192.0.2.1", .covering = true), COUNTED);
	assert_int_equal(until(f, "192.0.0.0/16"), 0);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &neighbour), head(f));
}

static void unbans_work_alike_on_ipv6_and_on_mapped_addresses(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("2001:db8:7:1::/64", HOUR), COUNTED);
	assert_says(f, OP, BAN("2001:db8:7::/48", HOUR), COUNTED);
	assert_says(f, OP, BAN("2001:db8::/32", HOUR), COUNTED);
	assert_says(f, OP, BAN("2001:db9::/32", HOUR), COUNTED);
	assert_says(f, OP2, UNBAN("2001:db8:7::/48"), COUNTED);
	assert_int_equal(until(f, "2001:db8:7:1::/64"), 0);
	assert_int_equal(until(f, "2001:db8:7::/48"), 0);
	assert_int_not_equal(until(f, "2001:db8::/32"), 0);
	assert_says(f, OP2, UNBAN("2001:db8:7:1::9", .covering = true), COUNTED);
	assert_int_equal(until(f, "2001:db8::/32"), 0);
	assert_int_not_equal(until(f, "2001:db9::/32"), 0);
	assert_says(f, OP, BAN("::ffff:192.0.2.1", HOUR), COUNTED);
	assert_int_not_equal(until(f, "192.0.2.1"), 0);
	assert_says(f, OP2, UNBAN("::ffff:192.0.0.0/112"), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), 0);
}

/* Its own record decides: a wider ban that runs out leaves the single one its time. */
static void a_wider_ban_changes_no_end_of_a_single_one(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, OP, BAN("192.0.2.0/24", MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + HOUR);
	f->now += 2 * MINUTE;
	assert_says(f, OP, BAN("198.51.100.1", MINUTE), COUNTED);
	assert_int_equal(until(f, "192.0.2.0/24"), 0);
	assert_int_equal(until(f, "192.0.2.1"), f->now + HOUR - 2 * MINUTE);
}

static void a_node_withdraws_only_its_own_bans(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix p = P("192.0.2.1");

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N2, UNBAN("192.0.2.1"), NOT_FOUND);
	assert_says(f, N1, UNBAN("192.0.2.0/24"), NOT_FOUND);
	assert_says(f, FEED, BAN("192.0.2.1", 2 * HOUR), COUNTED);
	assert_says(f, N1, UNBAN("192.0.2.1"), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), f->now + 2 * HOUR);
	assert_says(f, FEED, UNBAN("192.0.2.1"), COUNTED);
	assert_int_equal(until(f, "192.0.2.1"), 0);
	assert_says(f, FEED, UNBAN("192.0.2.1"), NOT_FOUND);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &p), 0);
}

static void the_oldest_unban_goes_when_their_table_is_full(void **state)
{
	struct fleet *f = *state;
	struct ledger_limits small = f->ledger->limits;
	struct kban_prefix one = P("192.0.2.1"), two = P("192.0.2.2");

	small.unbans = 2;
	ledger_limit(f->ledger, &small);
	assert_says(f, OP, UNBAN("192.0.2.1"), COUNTED);
	assert_says(f, OP, UNBAN("192.0.2.2"), COUNTED);
	assert_says(f, OP, UNBAN("192.0.2.1"), COUNTED); /* is the newest now */
	assert_says(f, OP, UNBAN("192.0.2.3"), COUNTED);
	assert_int_not_equal(ledger_unbanned_seq(f->ledger, &one), 0);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &two), 0);
}

static void purge_ends_every_ban_of_one_author(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N1, BAN("2001:db8::/64", HOUR), COUNTED);
	assert_says(f, N2, BAN("192.0.2.2", HOUR), COUNTED);
	assert_says(f, OP, PURGE(f, N1), COUNTED);
	assert_int_equal(until(f, "192.0.2.1") | until(f, "2001:db8::/64"), 0);
	assert_int_not_equal(until(f, "192.0.2.2"), 0);
	assert_says(f, OP, PURGE(f, NEW), NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fleet_test(a_ban_runs_until_accepted_at_plus_its_duration),
		fleet_test(what_may_never_be_banned_is_not),
		fleet_test(a_node_and_a_feeder_ban_single_addresses_only),
		fleet_test(
			an_operator_bans_nothing_wide_without_force_and_nothing_very_wide_with_it),
		fleet_test(a_policy_sets_how_wide_operators_ban_without_force),
		fleet_test(a_nodes_or_feeders_ban_is_no_longer_than_policy_allows),
		fleet_test(what_a_running_safe_range_covers_is_not_banned),
		fleet_test(a_report_older_than_an_unban_does_not_bring_the_ban_back),
		fleet_test(an_unban_is_forgotten_after_the_history_period),
		fleet_test(whoever_does_not_know_of_a_forgotten_unban_is_late),
		fleet_test(over_quota_puts_a_node_on_hold_until_it_is_released),
		fleet_test(a_quota_is_of_one_hour_and_of_one_author_and_operators_have_none),
		fleet_test(the_rest_of_a_report_over_quota_is_still_judged),
		fleet_test(a_ban_without_duration_is_history),
		fleet_test(a_late_report_is_history),
		fleet_test(the_first_entry_after_a_long_silence_may_be_late),
		fleet_test(overlapping_bans_are_one_strike_and_later_ones_lengthen),
		fleet_test(operators_bans_are_no_strikes_and_are_not_lengthened),
		fleet_test(strikes_can_be_asked_for),
		fleet_test(strikes_are_forgotten_after_the_history_period),
		fleet_test(the_longest_running_ban_counts_and_all_are_kept),
		fleet_test(an_ended_ban_is_known_for_a_day),
		fleet_test(a_prefix_holds_at_most_64_records),
		fleet_test(a_full_table_takes_no_ban),
		fleet_test(an_operators_unban_ends_what_is_equal_or_inside_and_always_counts),
		fleet_test(unban_with_covering_ends_wider_bans_too_and_remembers_them),
		fleet_test(unbans_work_alike_on_ipv6_and_on_mapped_addresses),
		fleet_test(a_wider_ban_changes_no_end_of_a_single_one),
		fleet_test(a_node_withdraws_only_its_own_bans),
		fleet_test(the_oldest_unban_goes_when_their_table_is_full),
		fleet_test(purge_ends_every_ban_of_one_author),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
