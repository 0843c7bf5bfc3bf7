/* SPDX-License-Identifier: MPL-2.0 */
#include "node/test/node_world.h"

#define S 1000ULL /* a second */

/* Local first ---------------------------------------------------------------------------------- */

static void offence_is_in_the_kernel_before_anything_is_stored_or_sent(void **state)
{
	struct world *w = *state;

	offend(w, "198.51.100.7", 300 * S);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(w->sent_n, 0);
	flush(w);
	assert_int_equal(rows_count(w, "o"), 1);
}

static void excepted_and_never_ban_addresses_are_not_banned_or_reported(void **state)
{
	struct world *w = *state;

	offend(w, "203.0.113.1", 300 * S);
	offend(w, "127.0.0.1", 300 * S);
	offend(w, "224.0.0.5", 300 * S);
	flush(w);
	assert_int_equal(w->kernel_n, 0);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->offences, 3);
}

/* The kernel holds the excepted address among its safe ones, whatever is banned around it. */
static void an_excepted_address_exempts_itself_and_not_its_whole_network(void **state)
{
	struct world *w = *state;

	w->excepted[0] = P("2001:db8:9:9::25");
	node_restart(w);
	offend(w, "2001:db8:9:9::/64", 300 * S);
	flush(w);
	assert_true(banned(w, "2001:db8:9:9::/64"));
	assert_int_equal(rows_count(w, "o"), 1);
	assert_true(node_spares(w->node, &w->excepted[0]));
	struct kban_prefix beside = P("2001:db8:9:9::26");
	assert_false(node_spares(w->node, &beside));
	w->own_n = 1; /* as this server's own address it shelters its neighbours: other mail servers, maybe */
	node_restart(w);
	offend(w, "2001:db8:9:9::/64", 300 * S);
	flush(w);
	assert_int_equal(node_counts(w->node)->offences, 1);
	assert_int_equal(rows_count(w, "o"), 1);
	w->own_n = 0;
	w->excepted[0] = P("2001:db8:8::/48");
	node_restart(w);
	offend(w, "2001:db8:8:8::/64", 300 * S);
	assert_int_equal(banned(w, "2001:db8:8:8::/64"), 0);
}

static void offence_of_a_running_ban_is_reported_once_until_it_extends_it(void **state)
{
	struct world *w = *state;

	offend(w, "198.51.100.7", 300 * S);
	pass(w, 1 * S);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	assert_int_equal(rows_count(w, "o"), 1);
	pass(w, 60 * S);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	assert_int_equal(rows_count(w, "o"), 2);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S);
}

static void history_is_reported_and_bans_nobody(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 0);
	flush(w);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_HISTORY], 1);
	same_ledger(w);
}

static void outbox_and_ban_survive_a_restart_for_what_remains(void **state)
{
	struct world *w = *state;

	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	pass(w, 100 * S);
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 200 * S);
	go_live(w);
	flush(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(rows_count(w, "o"), 0);
	same_ledger(w);
}

/* A row knows its end in broker time: a wall clock that is off misjudges it until the broker speaks. */
static void clock_that_is_off_moves_no_end_beyond_the_brokers_first_word(void **state)
{
	static const int64_t off[] = {-20 * (int64_t)S, 20 * (int64_t)S};
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	uint64_t end = banned(w, "198.51.100.7");

	pass(w, 60 * S);
	for (unsigned i = 0; i < KBAN_ARRAY_LEN(off); i++) {
		w->wall_ms += (uint64_t)off[i];
		node_restart(w);
		assert_int_equal(banned(w, "198.51.100.7"), end - (uint64_t)off[i]);
		w->wall_ms -= (uint64_t)off[i];
		greet(w);
		pass(w, 11 * S);
		assert_int_equal(banned(w, "198.51.100.7"), end);
	}
}

/* As a machine whose hardware clock is wrong by days. */
static void clock_days_ahead_at_the_start_ends_nothing_for_good(void **state)
{
	struct world *w = *state;

	offend(w, "198.51.100.7", 3600 * S);
	flush(w);
	uint64_t end = banned(w, "198.51.100.7");

	w->wall_ms += 2 * 86400 * S;
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.7"), 0); /* by all that this node knows it is over */
	pass(w, 20 * S);
	w->wall_ms -= 2 * 86400 * S;
	go_live(w);
	pass(w, 11 * S);
	assert_int_equal(banned(w, "198.51.100.7"), end);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
	assert_true(banned(w, "198.51.100.7") > end - 2 * S);
}

/* Refused for another reason than the address: only a row of its own stands for this ban. */
static void clock_days_ahead_at_the_start_forgets_no_ban_of_this_node(void **state)
{
	struct world *w = *state;
	uint32_t refused[] = {KBAN_OUTCOME_FULL};

	go_live(w);
	offend(w, "198.51.100.7", 3600 * S);
	flush(w);
	uint64_t end = banned(w, "198.51.100.7");

	receipt(w, 0, refused, 1);
	flush(w);
	assert_int_equal(rows_count(w, "l"), 1);
	w->wall_ms += 2 * 86400 * S;
	node_restart(w);
	for (unsigned i = 0; i < 70; i++)
		pass(w, 1 * S);
	flush(w);
	assert_int_equal(rows_count(w, "l"), 1);
	w->wall_ms -= 2 * 86400 * S;
	go_live(w);
	pass(w, 70 * S);
	assert_int_equal(banned(w, "198.51.100.7"), end);
}

static void event_whose_time_ran_out_goes_as_history(void **state)
{
	struct world *w = *state;

	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	pass(w, 400 * S);
	go_live(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_HISTORY], 1);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
}

/* Reports -------------------------------------------------------------------------------------- */

static void nothing_is_sealed_before_the_head_is_reached(void **state)
{
	struct world *w = *state;

	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	greet(w);
	stream(w, 1, 1);
	assert_int_equal(node_link(w->node), NODE_CATCHING_UP);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
	stream(w, 2, 2);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
}

static void own_entry_empties_the_outbox_and_the_ban_goes_on(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
	pass(w, 20);
	take_submit(w);
	assert_int_equal(rows_count(w, "o"), 1);
	stream_rest(w);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S); /* from accepted_at on */
	assert_int_equal(sent_last(w, KBAN_MSG_ACK)->ack.seq, 2);
	same_ledger(w);
}

static void same_bytes(struct world *w, const struct kban_sealed *first)
{
	const struct kban_sealed *last = &sent_last(w, KBAN_MSG_SUBMIT)->submit;

	assert_int_equal(first->report_len, last->report_len);
	assert_memory_equal(first->report, last->report, last->report_len);
	assert_memory_equal(first->signature, last->signature, KBAN_SIGNATURE_SIZE);
}

static void resends_carry_the_same_bytes_over_reconnects_and_restarts(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	const struct kban_sealed first = sent_last(w, KBAN_MSG_SUBMIT)->submit;

	pass(w, NODE_RESEND_MS);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 2);
	same_bytes(w, &first);
	node_lost(w->node);
	greet(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 3);
	same_bytes(w, &first);
	node_restart(w);
	greet(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 4);
	same_bytes(w, &first);
}

static void report_that_was_logged_before_the_connection_broke_is_not_sent_again(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	take_submit(w);
	node_lost(w->node);
	go_live(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
}

static void one_report_at_a_time_and_the_next_takes_all_that_waits(void **state)
{
	struct world *w = *state;
	char address[32];

	go_live(w);
	for (unsigned i = 1; i <= 20; i++) {
		snprintf(address, sizeof(address), "198.51.100.%u", i);
		offend(w, address, 300 * S);
		flush(w);
	}
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 2);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(w->n, 3);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 20);
	same_ledger(w);
}

static void data_lose(struct world *w)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/data.mdb", w->folder);
	assert_int_equal(unlink(path), 0);
}

static void counter_goes_on_from_the_log_when_the_disk_was_lost(void **state)
{
	struct world *w = *state;
	struct kban_message m;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	take_submit(w);
	node_down(w);
	data_lose(w);
	node_up(w);
	offend(w, "198.51.100.8", 300 * S);
	flush(w);
	dial(w);
	fill_welcome(w, &m);
	m.welcome.has_newest = true;
	m.welcome.newest = w->entries[1].sealed;
	receive(w, &m);
	stream_rest(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(ledger_principal(w->ledger, &w->identity.keys.sign_public)->counter, 2);
	assert_int_equal(rows_count(w, "o"), 0);
}

/* Answers -------------------------------------------------------------------------------------- */

static void stale_counter_is_sealed_again_and_a_conflict_too(void **state)
{
	struct world *w = *state;
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	receipt(w, KBAN_REFUSAL_COUNTER_STALE, NULL, 0);
	pass(w, 1 * S);
	receipt(w, KBAN_REFUSAL_COUNTER_CONFLICT, NULL, 0);
	pass(w, 1 * S);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 3);
	assert_int_equal(kban_report_decode(&r, &sent_last(w, KBAN_MSG_SUBMIT)->submit), 0);
	assert_int_equal(r->counter, 3);
	assert_int_equal(r->events_n, 1);
}

static void hold_keeps_ban_and_report_and_sends_it_later(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 3000 * S);
	flush(w);
	receipt(w, KBAN_REFUSAL_ON_HOLD, NULL, 0);
	assert_int_equal(rows_count(w, "o"), 1);
	assert_true(banned(w, "198.51.100.7"));
	for (unsigned i = 0; i < 6; i++) {
		pass(w, 5 * S);
		struct kban_message m = {.kind = KBAN_MSG_PROBE,
					 .probe = {.broker_ms = w->wall_ms}};

		receive(w, &m);
	}
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 2);
}

static void safe_range_on_its_way_lifts_the_ban_and_its_receipt_the_report(void **state)
{
	struct world *w = *state;
	const uint32_t outcomes[] = {KBAN_OUTCOME_SAFE};

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	log_safe(w, "198.51.100.0/24", 0);
	receipt(w, KBAN_REFUSAL_NONE, outcomes, 1);
	assert_int_equal(rows_count(w, "o"), 0);
	stream_rest(w);
	assert_true(safe(w, "198.51.100.0/24"));
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	assert_int_equal(rows_count(w, "l"), 0);
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	assert_true(safe(w, "198.51.100.0/24"));
}

static void safe_range_that_came_and_went_while_away_lifts_the_ban_all_the_same(void **state)
{
	struct world *w = *state;
	const uint32_t outcomes[] = {KBAN_OUTCOME_SAFE};

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	log_safe(w, "198.51.100.0/24", 1 * S);
	receipt(w, KBAN_REFUSAL_NONE, outcomes, 1);
	pass(w, 2 * S);
	assert_true(banned(w, "198.51.100.7"));
	stream_rest(w);
	assert_false(safe(w, "198.51.100.0/24"));
	assert_int_equal(banned(w, "198.51.100.7"), 0);
}

static void forged_receipt_does_not_lift_a_ban(void **state)
{
	struct world *w = *state;
	const uint32_t outcomes[] = {KBAN_OUTCOME_NEVER_BAN};

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	receipt(w, KBAN_REFUSAL_NONE, outcomes, 1);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S);
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S);
}

static void refusal_not_about_the_address_keeps_the_ban_for_its_duration(void **state)
{
	struct world *w = *state;
	const uint32_t outcomes[] = {KBAN_OUTCOME_LIMIT};

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	receipt(w, KBAN_REFUSAL_NONE, outcomes, 1);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(rows_count(w, "l"), 1);
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.7"), w->boot_ms + 300 * S);
	pass(w, 301 * S);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	greet(w); /* only the broker's time says for sure that it is over */
	pass(w, 11 * S);
	flush(w);
	assert_int_equal(rows_count(w, "l"), 0);
}

static void what_was_over_the_quota_waits_and_is_said_again_after_the_release(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};

	e.policy.quota_per_hour = 1;
	log_events(w, &w->operator, & e, 1);
	offend(w, "198.51.100.7", 300 * S);
	offend(w, "198.51.100.8", 300 * S);
	flush(w);
	go_live(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_OVER_QUOTA], 1);
	assert_true(banned(w, "198.51.100.8"));
	assert_int_equal(rows_count(w, "o"), 1);
	node_restart(w);
	go_live(w);
	assert_true(banned(w, "198.51.100.8"));
	offend(w, "198.51.100.9", 300 * S);
	flush(w);
	pass(w, 6 * S);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1); /* on hold by its own ledger */
	struct kban_event release = {.kind = KBAN_EVENT_RELEASE,
				     .release = {.key = w->identity.keys.sign_public}};

	log_events(w, &w->operator, & release, 1);
	stream_rest(w);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 2);
	assert_int_equal(rows_count(w, "o"), 2);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(rows_count(w, "o"), 1); /* the quota is one an hour */
	assert_true(ledger_ban_until(w->ledger, &(struct kban_prefix){KBAN_IPV4, 32, {198, 51, 100, 8}}, w->wall_ms));
}

/* What is read again --------------------------------------------------------------------------- */

static void unban_forgives_what_came_before_it_and_nothing_after(void **state)
{
	struct world *w = *state;
	struct kban_prefix p = P("198.51.100.7"), other = P("198.51.101.7");

	go_live(w);
	assert_false(node_forgiven(w->node, &p, w->wall_ms - 1));
	pass(w, 10 * S);
	log_unban(w, "198.51.100.0/24");
	stream_rest(w);
	uint64_t at = w->wall_ms;

	pass(w, 5 * S);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(node_forgiven(w->node, &p, at - 1));
		assert_false(node_forgiven(w->node, &p, at + 1));
		assert_false(node_forgiven(w->node, &other, at - 1));
		node_restart(w);
	}
}

static void unban_forgives_by_the_brokers_time_when_this_clock_is_wrong(void **state)
{
	struct world *w = *state;
	struct kban_prefix p = P("198.51.100.7");

	go_live(w);
	log_unban(w, "198.51.100.7");
	stream_rest(w);
	uint64_t at = w->wall_ms;

	w->wall_ms += 3600 * S; /* from here on this machine's lines are an hour ahead */
	assert_true(node_forgiven(w->node, &p, at + 3600 * S - 1));
	assert_false(node_forgiven(w->node, &p, at + 3600 * S + 1));
}

/* The hole in a wide ban is the kernel's: both are in it, whichever came first. */
static void wide_ban_and_safe_address_in_it_are_both_in_the_kernel(void **state)
{
	static const char *const rows[][2] = {
		{"198.51.0.0/16", "198.51.100.7"},
		{"2001:db8:7::/48", "2001:db8:7::9"},
	};
	struct world *w = *state;

	go_live(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		const char *wide = rows[i][0], *inside = rows[i][1];
		if (i % 2)
			log_safe(w, inside, 0);
		log_ban(w, &w->operator, wide, 3000 * S);
		if (i % 2 == 0)
			log_safe(w, inside, 0);
	}
	stream_rest(w);
	for (int restarted = 0; restarted < 2; restarted++) {
		for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
			assert_true(banned(w, rows[i][0]));
			assert_true(safe(w, rows[i][1]));
		}
		node_restart(w);
		go_live(w);
	}
	log_unban(w, "198.51.0.0/16");
	stream_rest(w);
	assert_false(banned(w, "198.51.0.0/16"));
	assert_true(safe(w, "198.51.100.7"));
	assert_true(banned(w, "2001:db8:7::/48"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(offence_is_in_the_kernel_before_anything_is_stored_or_sent),
		T(excepted_and_never_ban_addresses_are_not_banned_or_reported),
		T(an_excepted_address_exempts_itself_and_not_its_whole_network),
		T(offence_of_a_running_ban_is_reported_once_until_it_extends_it),
		T(history_is_reported_and_bans_nobody),
		T(outbox_and_ban_survive_a_restart_for_what_remains),
		T(clock_that_is_off_moves_no_end_beyond_the_brokers_first_word),
		T(clock_days_ahead_at_the_start_ends_nothing_for_good),
		T(clock_days_ahead_at_the_start_forgets_no_ban_of_this_node),
		T(event_whose_time_ran_out_goes_as_history),
		T(nothing_is_sealed_before_the_head_is_reached),
		T(own_entry_empties_the_outbox_and_the_ban_goes_on),
		T(resends_carry_the_same_bytes_over_reconnects_and_restarts),
		T(report_that_was_logged_before_the_connection_broke_is_not_sent_again),
		T(one_report_at_a_time_and_the_next_takes_all_that_waits),
		T(counter_goes_on_from_the_log_when_the_disk_was_lost),
		T(stale_counter_is_sealed_again_and_a_conflict_too),
		T(hold_keeps_ban_and_report_and_sends_it_later),
		T(safe_range_on_its_way_lifts_the_ban_and_its_receipt_the_report),
		T(wide_ban_and_safe_address_in_it_are_both_in_the_kernel),
		T(safe_range_that_came_and_went_while_away_lifts_the_ban_all_the_same),
		T(forged_receipt_does_not_lift_a_ban),
		T(refusal_not_about_the_address_keeps_the_ban_for_its_duration),
		T(what_was_over_the_quota_waits_and_is_said_again_after_the_release),
		T(unban_forgives_what_came_before_it_and_nothing_after),
		T(unban_forgives_by_the_brokers_time_when_this_clock_is_wrong),
	};

	kban_log_setup("test", 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
