/* SPDX-License-Identifier: MPL-2.0
 *
 * What holds for the whole fleet: policy, fold versions, epochs, brokers, and where its history
 * begins.
 */
#include "store/test/fleet.h"

/* Policy, versions, epochs ------------------------------------------------------------------- */

static void a_policy_is_in_range_and_replaces_the_whole(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, policy_event(ledger_policy_default), NO_CHANGE);
	assert_says(f, OP, POLICY(to->quota_per_hour = 0), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->quota_per_hour = 1000001), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->safe_max = 4097), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->safe_min_len4 = 7), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->safe_min_len4 = 33), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->safe_min_len6 = 15), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->repeat_percent = 99), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->repeat_percent = 1001), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->repeat_max_ms = 0), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->repeat_max_ms = 366 * DAY + 1), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->history_ms = DAY - 1), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->history_ms = 3660 * DAY + 1), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 7), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 33), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->ban_min_len6 = 15), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->ban_min_len6 = 129), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->node_ban_max_ms = MINUTE - 1), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->node_ban_max_ms = 366 * DAY + 1), OUT_OF_RANGE);
	assert_says(f, OP, POLICY(to->safe_max = 0; to->repeat_percent = 1000), COUNTED);
	assert_int_equal(ledger_policy(f->ledger)->repeat_percent, 1000);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 24),
		    COUNTED); /* the others are the default's */
	assert_int_equal(ledger_policy(f->ledger)->repeat_percent, 100);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 24), NO_CHANGE);
	assert_says(f, OP, POLICY(to->ban_min_len4 = 24; to->ban_min_len6 = 48), COUNTED);
	assert_says(f, OP,
		    POLICY(to->ban_min_len4 = 24; to->ban_min_len6 = 48; to->node_ban_max_ms = DAY),
		    COUNTED);
}

static void a_policy_knows_who_set_it_and_when(void **state)
{
	struct fleet *f = *state;
	uint64_t seq = 1, ms = 1;

	ledger_policy_origin(f->ledger, &seq, &ms);
	assert_int_equal(seq, 0);
	assert_int_equal(ms, 0);
	f->now += 5;
	assert_says(f, OP, POLICY(to->safe_max = 1), COUNTED);
	f->now += 5;
	assert_says(f, OP, POLICY(to->safe_max = 1), NO_CHANGE);
	ledger_policy_origin(f->ledger, &seq, &ms);
	assert_int_equal(seq, head(f) - 1);
	assert_int_equal(ms, f->now - 5);
}

static void a_shorter_history_period_holds_from_the_next_entry(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix p = P("192.0.2.1");

	assert_says(f, OP, UNBAN("192.0.2.1"), COUNTED);
	f->now += 2 * DAY;
	assert_says(f, OP, POLICY(to->history_ms = DAY), COUNTED);
	assert_int_equal(ledger_unbanned_seq(f->ledger, &p), 0);
	assert_int_equal(f->ledger->unbans_n, 1);
	assert_says(f, OP, UNBAN("192.0.2.2"), COUNTED);
	assert_int_equal(f->ledger->unbans_n, 1);
}

/* Two hours are old by the short period, of which the table keeps the newest. */
static void make_old_hours(struct fleet *f)
{
	assert_says(f, OP, POLICY(to->history_ms = DAY), COUNTED);
	f->now += 2 * DAY;
	assert_says(f, OP, UNBAN("198.51.100.1"), COUNTED);
	f->now += HOUR;
	assert_says(f, OP, UNBAN("192.0.2.1"), COUNTED);
	f->now += 27 * HOUR;
}

static void a_longer_history_period_makes_nothing_young_again(void **state)
{
	struct fleet *f = *state;
	uint64_t before;

	make_old_hours(f);
	before = head(f) - 1;
	assert_says(f, OP, UNBAN("198.51.100.2"), COUNTED);
	assert_int_equal(f->ledger->unbans_n, 1);
	assert_int_equal(f->ledger->hours_n, 2);
	assert_int_equal(ledger_history_start(f->ledger), head(f));
	assert_says(f, OP, POLICY(to->history_ms = 90 * DAY), COUNTED);
	assert_int_equal(f->ledger->hours_n, 1);
	assert_int_equal(ledger_history_start(f->ledger), head(f) - 1);
	f->base = &before; /* does not know of the forgotten unban */
	assert_says(f, N1, BAN("192.0.2.1", HOUR), HISTORY);
}

static void a_history_period_that_is_not_longer_keeps_the_newest_old_hour(void **state)
{
	struct fleet *f = *state;

	make_old_hours(f);
	assert_says(f, OP, POLICY(to->history_ms = DAY; to->safe_max = 1), COUNTED);
	assert_int_equal(f->ledger->hours_n, 2);
	assert_says(f, OP, POLICY(to->history_ms = DAY + 1; to->safe_max = 4097),
		    OUT_OF_RANGE);
	assert_int_equal(f->ledger->hours_n, 2);
	assert_says(f, OP, POLICY(to->history_ms = DAY + 1), COUNTED);
	assert_int_equal(f->ledger->hours_n, 1);
}

static void what_a_new_history_period_makes_due_is_dropped_in_time(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", 0), HISTORY);
	assert_says(f, OP, POLICY(to->history_ms = 2 * DAY), COUNTED);
	f->now += 2 * DAY - 1;
	assert_says(f, N1, BAN("192.0.2.2", 0), HISTORY);
	assert_int_equal(f->ledger->strikes_n, 2);
	f->now += 1;
	assert_says(f, OP, POLICY(to->history_ms = 4 * DAY), COUNTED);
	assert_int_equal(f->ledger->strikes_n, 1);
	f->now += 4 * DAY - 2;
	assert_says(f, OP, POLICY(to->safe_max = 1), COUNTED);
	assert_int_equal(f->ledger->strikes_n, 1);
}

static void only_the_next_known_fold_version_is_taken(void **state)
{
	struct fleet *f = *state;

	assert_int_equal(ledger_fold_version(f->ledger), 1);
	assert_int_equal(ledger_fold_version_seq(f->ledger), 0);
	assert_says(f, OP, FOLD_VERSION(1), OUT_OF_RANGE);
	assert_says(f, OP, FOLD_VERSION(kban_fold_newest + 2), OUT_OF_RANGE);
	for (uint32_t v = 2; v <= kban_fold_newest;
	     v++) { /* in a build that knows more than one */
		assert_says(f, OP, FOLD_VERSION(v), COUNTED);
		assert_int_equal(ledger_fold_version_seq(f->ledger), head(f));
	}
	assert_says(f, ROOT, FOLD_VERSION(kban_fold_newest + 1), OUT_OF_RANGE);
	assert_int_equal(ledger_fold_version(f->ledger), kban_fold_newest);
}

static void an_event_of_a_later_fold_version_is_out_of_range(void **state)
{
	struct fleet *f = *state;

	f->ledger->fold_version = 0; /* before all kinds */
	assert_says(f, OP, BAN("192.0.2.1", HOUR), OUT_OF_RANGE);
	assert_says(f, OP, UNBAN("192.0.2.1"), OUT_OF_RANGE);
	assert_says(f, READ, BAN("192.0.2.1", HOUR), DENIED);
	f->ledger->fold_version = 1;
	assert_says(f, OP, BAN("192.0.2.1", HOUR), COUNTED);
}

static bool stops(const struct fleet *f, enum who who, uint64_t counter, struct kban_event *events,
		  size_t n)
{
	struct kban_report r = report_of(f, who, counter, events, n);
	struct kban_entry entry = {.seq = head(f) + 1, .accepted_ms = f->now};

	return ledger_stops_at(f->ledger, &entry, &r);
}

static void a_program_stops_where_the_log_goes_beyond_its_fold_version(void **state)
{
	struct fleet *f = *state;
	uint32_t known = ledger_fold_version(f->ledger);
	struct kban_event next[] = {BAN("192.0.2.1", HOUR), FOLD_VERSION(kban_fold_newest + 1)};
	struct kban_event not_next[] = {FOLD_VERSION(known), FOLD_VERSION(kban_fold_newest + 2)};

	for (; known < kban_fold_newest; known++)
		assert_says(f, OP, FOLD_VERSION(known + 1), COUNTED);
	assert_true(stops(f, OP, f->counters[OP] + 1, next, 2));
	assert_true(stops(f, ROOT, f->counters[ROOT] + 1, next, 2));
	assert_false(stops(f, OP, f->counters[OP] + 1, next, 1));
	assert_false(stops(f, OP, f->counters[OP] + 1, not_next,
			   2));			/* not taken by a newer one either */
	assert_false(stops(f, N1, 1, next, 2)); /* denied */
	assert_says(f, OP2, BAN("192.0.2.9", HOUR), COUNTED);
	assert_false(stops(f, OP2, 1, next, 2)); /* refused: another report has that counter */
}

static void both_switches_of_one_report_count(void **state)
{
	struct fleet *f = *state;
	struct kban_event both[] = {FOLD_VERSION(kban_fold_newest + 1),
				    FOLD_VERSION(kban_fold_newest + 2)};
	struct kban_event turned[] = {both[1], both[0]};

	f->ledger->fold_version = kban_fold_newest;
	assert_true(stops(f, OP, 1, both, 2));
	assert_true(stops(f, OP, 1, turned, 2));
	assert_false(stops(f, OP, 1, turned, 1));
}

static void history_starts_with_the_first_hour_of_the_period(void **state)
{
	struct fleet *f = *state;
	uint64_t old, young;

	assert_int_equal(ledger_history_start(f->ledger), 1);
	f->now += 2 * DAY;
	assert_says(f, OP, POLICY(to->history_ms = DAY), COUNTED);
	old = head(f);
	assert_int_equal(ledger_history_start(f->ledger), old);
	f->now += DAY;
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	young = head(f);
	assert_int_equal(ledger_history_start(f->ledger), old); /* its hour is not over a day ago */
	f->now += HOUR;
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_int_equal(ledger_history_start(f->ledger), young);
}

static void an_hour_names_the_first_seq_that_can_be_in_it(void **state)
{
	struct fleet *f = *state;
	uint64_t first = f->now, later;

	assert_int_equal(ledger_hour_seq(f->ledger, 0), 1);
	assert_int_equal(ledger_hour_seq(f->ledger, first), 1);
	f->now += 3 * HOUR;
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	later = head(f);
	assert_int_equal(ledger_hour_seq(f->ledger, first), 1);
	assert_int_equal(ledger_hour_seq(f->ledger, first + HOUR), later);
	assert_int_equal(ledger_hour_seq(f->ledger, f->now), later);
	assert_int_equal(ledger_hour_seq(f->ledger, f->now + HOUR), later + 1);
}

static void an_epoch_is_the_next_one_and_older_bases_end_before_it(void **state)
{
	struct fleet *f = *state;
	struct kban_event ban = BAN("192.0.2.1", HOUR);
	struct kban_report r;
	struct kban_place place;

	assert_says(f, OP, EPOCH(3), OUT_OF_RANGE);
	assert_says(f, OP, EPOCH(1), OUT_OF_RANGE);
	assert_says(f, OP, EPOCH(2), COUNTED);
	ledger_place(f->ledger, &place);
	assert_int_equal(place.epoch, 2);
	assert_says(f, OP, UNBAN("192.0.2.1"), COUNTED);
	r = report_of(f, N1, 1, &ban, 1);
	r.base = (struct kban_base){1, head(f) + 500}; /* of the log that was lost */
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_NONE);
	assert_int_equal(f->v.outcomes[0], KBAN_OUTCOME_UNBANNED);
	f->counters[N1] = 1;
	assert_says(f, N1, ban, COUNTED);

	struct kban_event both[] = {EPOCH(3), UNBAN("192.0.2.1")};

	assert_int_equal(say_all(f, OP, both, 2), 0);
	r = report_of(f, N1, 3, &ban, 1);
	r.base = (struct kban_base){2, head(f)}; /* another entry than the one with the epoch */
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_NONE);
	assert_int_equal(f->v.outcomes[0], KBAN_OUTCOME_UNBANNED);
}

static void a_table_of_brokers_is_full_at_64(void **state)
{
	struct fleet *f = *state;
	struct kban_event set = {.kind = KBAN_EVENT_BROKER_ADDRESS};

	set.broker_address.endpoint = kban_text("tcp://broker:7400");
	for (uint8_t i = 0; i < 64; i++) {
		set.broker_address.curve.b[0] = i;
		assert_says(f, OP, set, COUNTED);
	}
	set.broker_address.endpoint = kban_text("tcp://broker:7401");
	assert_says(f, ROOT, set, COUNTED); /* a present row changes */
	set.broker_address.curve.b[0] = 64;
	assert_says(f, OP, set, FULL);
}

/* -------------------------------------------------------------------------------------------- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		fleet_test(a_policy_is_in_range_and_replaces_the_whole),
		fleet_test(a_policy_knows_who_set_it_and_when),
		fleet_test(a_shorter_history_period_holds_from_the_next_entry),
		fleet_test(a_longer_history_period_makes_nothing_young_again),
		fleet_test(a_history_period_that_is_not_longer_keeps_the_newest_old_hour),
		fleet_test(what_a_new_history_period_makes_due_is_dropped_in_time),
		fleet_test(only_the_next_known_fold_version_is_taken),
		fleet_test(an_event_of_a_later_fold_version_is_out_of_range),
		fleet_test(a_program_stops_where_the_log_goes_beyond_its_fold_version),
		fleet_test(both_switches_of_one_report_count),
		fleet_test(history_starts_with_the_first_hour_of_the_period),
		fleet_test(an_hour_names_the_first_seq_that_can_be_in_it),
		fleet_test(an_epoch_is_the_next_one_and_older_bases_end_before_it),
		fleet_test(a_table_of_brokers_is_full_at_64),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
