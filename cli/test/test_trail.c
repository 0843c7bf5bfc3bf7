/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker that alters rows of the log is found out.
 */
#include "cli/test/members.h"

static void an_honest_row_is_checked(void **state)
{
	struct members *w = *state;

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	assert_int_equal(members_check(w), TRAIL_CHECKED);
}

static void a_changed_report_is_forged(void **state)
{
	struct members *w = *state;
	uint8_t copy[4096];

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	memcpy(copy, w->row.report.report, w->row.report.report_len);
	for (size_t i = 0; i + 4 <= w->row.report.report_len; i++)
		if (!memcmp(copy + i, "\xcb\x00\x71\x09", 4)) /* 203.0.113.9 becomes 203.0.113.8 */
			copy[i + 3] = 8;
	w->row.report.report = copy;
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static void a_report_signed_by_nobody_of_the_cluster_is_a_strangers(void **state)
{
	struct members *w = *state;

	members_row(w, members_ban("203.0.113.9"), &w->stranger, KBAN_OUTCOME_COUNTED);
	assert_int_equal(members_check(w), TRAIL_STRANGER);
}

static void a_report_of_another_cluster_is_forged(void **state)
{
	struct members *w = *state;

	w->cluster.b[0] ^= 1;
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static void garbage_is_forged(void **state)
{
	struct members *w = *state;

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->row.report.report_len /= 2;
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static void nobody_signs_before_he_was_let_in(void **state)
{
	struct members *w = *state;

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->row.seq = 1;
	assert_int_equal(members_check(w), TRAIL_STRANGER);
}

static void nobody_signs_after_he_was_shut_out(void **state)
{
	struct members *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE, .revoke = {.key = w->mail1.sign_public}};
	struct kban_entry proof = {30, T0, members_seal(w, &e, 1, &w->alice)};

	members_prove(w, &proof, 1, NULL, 0);
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	assert_int_equal(members_check(w), TRAIL_CHECKED);
	w->row.seq = 31;
	assert_int_equal(members_check(w), TRAIL_STRANGER);
}

static void an_end_that_no_ban_can_have_is_forged(void **state)
{
	struct members *w = *state;
	struct kban_event e = members_ban("203.0.113.9");

	members_row(w, e, &w->alice, KBAN_OUTCOME_COUNTED);
	w->records[0].until_ms++; /* an operator's ban is never lengthened */
	assert_int_equal(members_check(w), TRAIL_FORGED);
	members_row(w, e, &w->mail1, KBAN_OUTCOME_COUNTED);
	w->records[0].until_ms = T0 + KBAN_BAN_MAX_MS;
	assert_int_equal(members_check(w), TRAIL_CHECKED);
	w->records[0].until_ms++;
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static void a_record_of_no_ban_is_forged(void **state)
{
	struct members *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN,
			       .unban = {.prefix = members_prefix("203.0.113.9")}};

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->records[0].index = 1;
	assert_int_equal(members_check(w), TRAIL_FORGED);
	members_row(w, e, &w->alice, KBAN_OUTCOME_COUNTED);
	w->row.records_n = 1;
	w->row.records = w->records;
	w->records[0].index = 0;
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static void outcomes_that_do_not_fit_the_events_are_forged(void **state)
{
	struct members *w = *state;

	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->row.outcomes_n = 2;
	assert_int_equal(members_check(w), TRAIL_FORGED);
}

static int row_count(void *arg, const struct trail_row *r)
{
	(void)r;
	++*(size_t *)arg;
	return 0;
}

/* What is forged is shown too, and makes the command fail. */
static void one_forged_row_of_many_is_a_failure(void **state)
{
	struct members *w = *state;
	struct trail t = {.fleet = &w->fleet};
	struct kban_log_row rows[2];
	struct kban_answer a = {.log_n = 2, .log = rows, .place = {.seq = 99}, .broker_ms = T0};
	FILE *null = fopen("/dev/null", "w");
	size_t n = 0;

	w->ctx.err = null;
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	rows[0] = rows[1] = w->row;
	assert_int_equal(trail_page(&t, &a, row_count, &n), 0);
	assert_int_equal(trail_verdict(&t), CLI_OK);
	rows[1].report.report_len--;
	assert_int_equal(trail_page(&t, &a, row_count, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(t.bad, 1);
	assert_int_equal(trail_verdict(&t), CLI_FAILED);
	assert_int_equal(t.head.seq, 99);
	fclose(null);
}

static void an_event_is_wanted_by_kind_and_prefix(void **state)
{
	struct kban_event ban = members_ban("203.0.113.9");
	struct kban_event purge = {.kind = KBAN_EVENT_PURGE};
	struct kban_prefix inside = members_prefix("203.0.113.0/24");
	struct kban_prefix beside = members_prefix("203.0.114.0/24");

	(void)state;
	assert_true(trail_wanted(&ban, 0, NULL) && trail_wanted(&ban, 0, &inside));
	assert_false(trail_wanted(&ban, 0, &beside));
	assert_true(trail_wanted(&ban, 1U << KBAN_EVENT_BAN, NULL));
	assert_false(trail_wanted(&ban, 1U << KBAN_EVENT_UNBAN, &inside));
	assert_true(trail_wanted(&purge, 0, NULL));
	assert_false(trail_wanted(&purge, 0, &inside));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMBERS_TEST(an_honest_row_is_checked),
		MEMBERS_TEST(a_changed_report_is_forged),
		MEMBERS_TEST(a_report_signed_by_nobody_of_the_cluster_is_a_strangers),
		MEMBERS_TEST(a_report_of_another_cluster_is_forged),
		MEMBERS_TEST(garbage_is_forged),
		MEMBERS_TEST(nobody_signs_before_he_was_let_in),
		MEMBERS_TEST(nobody_signs_after_he_was_shut_out),
		MEMBERS_TEST(an_end_that_no_ban_can_have_is_forged),
		MEMBERS_TEST(a_record_of_no_ban_is_forged),
		MEMBERS_TEST(outcomes_that_do_not_fit_the_events_are_forged),
		MEMBERS_TEST(one_forged_row_of_many_is_a_failure),
		cmocka_unit_test(an_event_is_wanted_by_kind_and_prefix),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
