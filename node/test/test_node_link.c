/* SPDX-License-Identifier: MPL-2.0 */
#include "node/test/node_world.h"

#include <time.h>

#define S 1000ULL /* a second */

/* The stream ----------------------------------------------------------------------------------- */

static void another_nodes_ban_is_enforced_stored_and_acknowledged(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	pass(w, 10);
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.9"), w->boot_ms + 300 * S - 10);
	assert_int_equal(sent_last(w, KBAN_MSG_ACK)->ack.seq, 2);
	node_restart(w);
	assert_int_equal(banned(w, "198.51.100.9"), w->boot_ms + 300 * S - 10);
	assert_int_equal(node_place(w), 2);
	same_ledger(w);
}

static void replica_is_in_the_kernel_without_a_broker(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	log_safe(w, "192.0.2.0/28", 0);
	stream_rest(w);
	node_down(w);
	w->kernel_n = 0;
	w->alls = 0;
	node_up(w);
	assert_int_equal(w->alls, 1);
	assert_true(banned(w, "198.51.100.9"));
	assert_true(safe(w, "192.0.2.0/28"));
}

static void entries_that_come_twice_are_applied_once(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	log_ban(w, &w->other, "198.51.100.10", 300 * S);
	stream(w, 2, 2);
	stream(w, 1, 2);
	stream(w, 2, 3);
	assert_int_equal(node_place(w), 3);
	assert_int_equal(node_counts(w->node)->bad_entries, 0);
	same_ledger(w);
}

static void gap_is_refused_and_made_up_on_a_new_connection(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	log_ban(w, &w->other, "198.51.100.10", 300 * S);
	stream(w, 3, 3);
	assert_int_equal(node_place(w), 1);
	assert_int_equal(banned(w, "198.51.100.10"), 0);
	assert_int_equal(node_counts(w->node)->bad_entries, 1);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
	assert_int_equal(w->disconnects, 1);
	go_live(w);
	assert_int_equal(sent_last(w, KBAN_MSG_SUBSCRIBE)->subscribe.cursor.seq, 1);
	assert_true(banned(w, "198.51.100.10"));
	same_ledger(w);
}

static void entry_with_a_bad_signature_is_refused_with_its_whole_message(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	log_ban(w, &w->other, "198.51.100.10", 300 * S);
	w->bytes[2][w->entries[2].sealed.report_len + 5] ^= 1;
	stream(w, 2, 3);
	assert_int_equal(node_place(w), 1);
	assert_int_equal(w->kernel_n, 0);
	assert_int_equal(node_counts(w->node)->bad_entries, 1);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
}

static void unban_lifts_own_ban_and_drops_what_waits(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.6", 300 * S);
	flush(w); /* sealed */
	offend(w, "198.51.100.7", 300 * S);
	flush(w); /* waits */
	log_unban(w, "198.51.100.0/24");
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.6"), 0);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	assert_int_equal(rows_count(w, "o"), 1);
	assert_true(w->forgets > 0);
	take_submit(w); /* its base lies before the unban */
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.6"), 0);
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_UNBANNED], 1);
	same_ledger(w);
}

static void new_offence_after_an_unban_outlives_the_old_reports_answer(void **state)
{
	struct world *w = *state;

	go_live(w);
	offend(w, "198.51.100.7", 300 * S);
	flush(w); /* sealed */
	log_unban(w, "198.51.100.7");
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	offend(w, "198.51.100.7", 300 * S);
	flush(w);
	take_submit(w); /* its base lies before the unban */
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_UNBANNED], 1);
	assert_true(banned(w, "198.51.100.7"));
	take_submit(w);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.7"));
	assert_int_equal(rows_count(w, "o"), 0);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
	same_ledger(w);
}

static void another_nodes_withdrawal_does_not_lift_own_ban(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN, .unban = {.prefix = P("198.51.100.7")}};

	go_live(w);
	log_ban(w, &w->other, "198.51.100.7", 300 * S);
	offend(w, "198.51.100.7", 300 * S);
	log_events(w, &w->other, &e, 1);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.7"));
}

static void safe_range_lifts_bans_and_its_end_lets_new_ones_in(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	stream_rest(w);
	log_safe(w, "198.51.100.0/24", 60 * S);
	stream_rest(w);
	assert_true(safe(w, "198.51.100.0/24"));
	assert_int_equal(banned(w, "198.51.100.9"), 0);
	offend(w, "198.51.100.7", 300 * S);
	assert_int_equal(banned(w, "198.51.100.7"), 0);
	pass(w, 61 * S);
	assert_false(safe(w, "198.51.100.0/24"));
	offend(w, "198.51.100.7", 300 * S);
	assert_true(banned(w, "198.51.100.7"));
}

/* A range that is held for approval is safe on its own node, and hides a fleet's ban there only. */
static void own_held_range_hides_a_ban_until_it_ends(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD,
			       .safe_add = {.prefix = P("198.51.0.0/16"), .duration_ms = 60 * S}};

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.9"));
	log_events(w, &w->identity.keys, &e, 1);
	stream_rest(w);
	assert_true(safe(w, "198.51.0.0/16"));
	assert_int_equal(banned(w, "198.51.100.9"), 0);
	pass(w, 61 * S);
	assert_false(safe(w, "198.51.0.0/16"));
	assert_int_equal(banned(w, "198.51.100.9"), w->boot_ms + (3000 - 61) * S);
}

static void ban_ends_in_a_quiet_fleet_and_is_not_wanted_again(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	stream_rest(w);
	pass(w, 301 * S);
	assert_int_equal(banned(w, "198.51.100.9"), 0);
	node_restart(w);
	assert_int_equal(w->kernel_n, 0);
}

static void purge_takes_the_bans_of_one_author_out(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_PURGE, .purge = {.key = w->other.sign_public}};

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	log_ban(w, &w->operator, "198.51.100.10", 300 * S);
	stream_rest(w);
	log_events(w, &w->operator, & e, 1);
	stream_rest(w);
	assert_int_equal(banned(w, "198.51.100.9"), 0);
	assert_true(banned(w, "198.51.100.10"));
}

/* Connections ---------------------------------------------------------------------------------- */

static void unknown_session_makes_a_new_connection(void **state)
{
	struct world *w = *state;

	go_live(w);
	no_session(w, KBAN_REFUSAL_UNKNOWN_SESSION);
	assert_int_equal(w->disconnects, 1);
	go_live(w);
	assert_int_equal(w->connects, 2);
}

static void messages_of_another_session_are_ignored(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	w->session[0]++;
	stream_rest(w);
	assert_int_equal(node_place(w), 1);
}

static void attempts_take_brokers_in_turn_with_growing_pauses(void **state)
{
	struct world *w = *state;
	uint64_t began = w->boot_ms;

	for (unsigned i = 0; i < 8; i++) {
		unsigned before = w->connects;

		while (w->connects == before)
			pass(w, 100);
		assert_int_equal(w->which, i % 2);
		node_lost(w->node);
	}
	assert_true(w->boot_ms - began > 10 * S);
	assert_true(w->boot_ms - began < 60 * S);
}

static void silent_broker_is_given_up(void **state)
{
	struct world *w = *state;

	go_live(w);
	pass(w, NODE_SILENT_MS);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
	assert_int_equal(w->disconnects, 1);
}

static void revoked_node_enforces_on_and_reports_nothing(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE,
			       .revoke = {.key = w->identity.keys.sign_public}};

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	log_events(w, &w->operator, & e, 1);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_REVOKED);
	assert_true(banned(w, "198.51.100.9"));
	offend(w, "198.51.100.7", 300 * S);
	assert_true(banned(w, "198.51.100.7"));
	flush(w);
	unsigned before = w->connects;

	for (unsigned i = 0; i < 600; i++)
		pass(w, 100);
	assert_true(w->connects - before <= 1);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
	assert_int_equal(node_link(w->node), NODE_REVOKED);
}

static void refused_key_is_revoked_until_a_broker_greets_again(void **state)
{
	struct world *w = *state;

	dial(w);
	node_refused(w->node);
	assert_int_equal(node_link(w->node), NODE_REVOKED);
	go_live(w);
}

static void lower_head_is_a_fork_and_enforcement_goes_on(void **state)
{
	struct world *w = *state;
	struct kban_message m;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	stream_rest(w);
	node_lost(w->node);
	dial(w);
	fill_welcome(w, &m);
	m.welcome.head.seq = 1;
	receive(w, &m);
	assert_int_equal(node_link(w->node), NODE_FORK);
	assert_true(banned(w, "198.51.100.9"));
	unsigned before = w->connects;

	for (unsigned i = 0; i < 500; i++)
		pass(w, 100);
	assert_int_equal(w->connects, before);
	go_live(w);
}

static void fork_by_chain_and_by_the_brokers_word(void **state)
{
	struct world *w = *state;
	struct kban_message m;

	go_live(w);
	no_session(w, KBAN_REFUSAL_FORK);
	assert_int_equal(node_link(w->node), NODE_FORK);
	for (unsigned i = 0, before = w->connects; i < 3000 && w->connects == before; i++)
		pass(w, 100);
	node_connected(w->node);
	fill_welcome(w, &m);
	m.welcome.head.chain.b[0] ^= 1;
	receive(w, &m);
	assert_int_equal(node_link(w->node), NODE_FORK);
}

static void newer_fold_version_stops_the_replica_there(void **state)
{
	struct world *w = *state;
	struct kban_message m;

	dial(w);
	fill_welcome(w, &m);
	m.welcome.fold_version = kban_fold_newest + 1;
	receive(w, &m);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_int_equal(node_place(w), 0);
}

/* Heartbeats and time -------------------------------------------------------------------------- */

static void heartbeat(struct world *w, struct kban_heartbeat *h)
{
	const struct kban_sealed *sealed = &sent_last(w, KBAN_MSG_HEARTBEAT)->heartbeat;

	assert_int_equal(kban_heartbeat_decode(h, sealed), 0);
	assert_true(kban_heartbeat_check(h, sealed));
}

static void heartbeat_says_place_kernel_and_nonce(void **state)
{
	struct world *w = *state;
	struct enforce_status status = {.bans_wanted = 1, .bans_enforced = 1};
	struct kban_heartbeat h;
	struct kban_place place;
	struct kban_hash digest;
	struct kban_message m = {.kind = KBAN_MSG_PROBE};

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	stream_rest(w);
	node_log_missing(w->node, true);
	m.probe = (struct kban_probe){{"0123456789abcdef", 16}, w->wall_ms, 0};
	receive(w, &m);
	heartbeat(w, &h);
	ledger_place(w->ledger, &place);
	ledger_digest(w->ledger, &digest);
	assert_int_equal(h.place.seq, 2);
	assert_memory_equal(h.place.chain.b, place.chain.b, 32);
	assert_memory_equal(h.digest.b, digest.b, 32);
	assert_memory_equal(h.nonce, "0123456789abcdef", 16);
	assert_int_equal(h.status, KBAN_STATUS_LOG_MISSING);
	assert_true(h.enforced_seq < 2); /* the child has not said so yet */
	status.done = w->batches;
	node_enforced(w->node, &status);
	pass(w, NODE_HEARTBEAT_MS);
	heartbeat(w, &h);
	assert_int_equal(h.enforced_seq, 2);
	assert_int_equal(h.bans_enforced, 1);
}

static void corrected_broker_time_sets_the_ends_anew(void **state)
{
	struct world *w = *state;
	struct kban_message m;
	struct kban_heartbeat h;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	stream_rest(w);
	node_restart(w);
	/* This server's wall clock is two minutes ahead of the broker's. */
	dial(w);
	fill_welcome(w, &m);
	m.welcome.broker_ms += 120 * S;
	receive(w, &m);
	unsigned alls = w->alls;
	uint64_t before = banned(w, "198.51.100.9");

	tick(w);
	assert_int_equal(w->alls, alls + 1);
	assert_int_equal(banned(w, "198.51.100.9"), before - 120 * S);
	pass(w, NODE_HEARTBEAT_MS);
	heartbeat(w, &h);
	assert_int_equal(h.status, KBAN_STATUS_CLOCK_OFF);
	assert_int_equal(w->alls, alls + 1);
}

static void stepped_wall_clock_changes_no_ban(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 3000 * S);
	stream_rest(w);
	offend(w, "198.51.100.7", 300 * S);
	uint64_t fleet = banned(w, "198.51.100.9"), own = banned(w, "198.51.100.7");

	w->wall_ms += 3600 * S;
	tick(w);
	assert_int_equal(banned(w, "198.51.100.9"), fleet);
	assert_int_equal(banned(w, "198.51.100.7"), own);
}

/* Disk and garbage ----------------------------------------------------------------------------- */

static const struct store_ops *real_ops;

static int commit_full(struct store *s)
{
	real_ops->abort(s);
	return STORE_FULL;
}

static void full_disk_keeps_enforcing_and_stores_later(void **state)
{
	struct world *w = *state;

	go_live(w);
	struct store_ops full = *w->store->ops;

	real_ops = w->store->ops;
	full.commit = commit_full;
	w->store->ops = &full;
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	size_t acks = sent_count(w, KBAN_MSG_ACK);

	stream_rest(w);
	offend(w, "198.51.100.7", 300 * S);
	assert_int_equal(node_flush(w->node), STORE_FULL);
	assert_true(banned(w, "198.51.100.9"));
	assert_true(banned(w, "198.51.100.7"));
	assert_int_equal(sent_count(w, KBAN_MSG_ACK), acks);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
	w->store->ops = real_ops;
	pass(w, 1 * S);
	assert_int_equal(sent_count(w, KBAN_MSG_ACK), acks + 1);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
	assert_int_equal(rows_count(w, "o"), 1);
	node_restart(w);
	assert_int_equal(node_place(w), 2);
}

static void garbage_is_counted_and_changes_nothing(void **state)
{
	struct world *w = *state;
	const char *given = getenv("KBAN_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	uint8_t bytes[300];

	print_message("seed %llu (KBAN_TEST_SEED)\n", (unsigned long long)seed);
	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 1000000 * S);
	w->random = seed;
	for (unsigned i = 0; i < 5000; i++) {
		size_t len;

		world_random(w, bytes, sizeof(bytes));
		len = (size_t)bytes[0] + bytes[1] / 6;
		assert_int_equal(node_receive(w->node, bytes + 2, len), 0);
		if (node_link(w->node) == NODE_OFFLINE || node_link(w->node) == NODE_UPGRADE_NEEDED)
			greet(w);
		sent_clear(w);
	}
	assert_int_equal(node_place(w), 1);
	assert_int_equal(w->kernel_n, 0);
	assert_true(node_counts(w->node)->bad_entries > 1000);
	if (node_link(w->node) == NODE_OFFLINE)
		greet(w);
	stream_rest(w);
	assert_true(banned(w, "198.51.100.9"));
}

/* Each byte of real messages is broken in turn. */
static void broken_messages_never_change_the_wrong_thing(void **state)
{
	struct world *w = *state;
	struct kban_message m = {
		.kind = KBAN_MSG_ENTRIES, .version = KBAN_PROTOCOL_VERSION, .has_session = true};
	const struct kban_prefix ban = P("198.51.100.9");
	uint8_t *bytes = NULL;
	size_t len = 0;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.9", 300 * S);
	for (size_t i = 0;; i++) {
		if (node_link(w->node) != NODE_LIVE && node_link(w->node) != NODE_CATCHING_UP)
			greet(w);
		memcpy(m.session, w->session, sizeof(m.session));
		m.entries = (struct kban_entries){1, w->n, w->wall_ms, 1, w->entries + 1};
		kban_message_encode(&bytes, &len, &m);
		if (i == len)
			break;
		bytes[i] ^= 0x41;
		assert_int_equal(node_receive(w->node, bytes, len), 0);
		free(bytes);
		sent_clear(w);
		/* Nothing but the true ban: a broken head or time does not touch what is signed. */
		assert_true(w->kernel_n <= 1);
		assert_true(!w->kernel_n || kban_prefix_equal(&w->kernel[0].prefix, &ban));
	}
	free(bytes);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(another_nodes_ban_is_enforced_stored_and_acknowledged),
		T(replica_is_in_the_kernel_without_a_broker),
		T(entries_that_come_twice_are_applied_once),
		T(gap_is_refused_and_made_up_on_a_new_connection),
		T(entry_with_a_bad_signature_is_refused_with_its_whole_message),
		T(unban_lifts_own_ban_and_drops_what_waits),
		T(new_offence_after_an_unban_outlives_the_old_reports_answer),
		T(another_nodes_withdrawal_does_not_lift_own_ban),
		T(safe_range_lifts_bans_and_its_end_lets_new_ones_in),
		T(own_held_range_hides_a_ban_until_it_ends),
		T(ban_ends_in_a_quiet_fleet_and_is_not_wanted_again),
		T(purge_takes_the_bans_of_one_author_out),
		T(unknown_session_makes_a_new_connection),
		T(messages_of_another_session_are_ignored),
		T(attempts_take_brokers_in_turn_with_growing_pauses),
		T(silent_broker_is_given_up),
		T(revoked_node_enforces_on_and_reports_nothing),
		T(refused_key_is_revoked_until_a_broker_greets_again),
		T(lower_head_is_a_fork_and_enforcement_goes_on),
		T(fork_by_chain_and_by_the_brokers_word),
		T(newer_fold_version_stops_the_replica_there),
		T(heartbeat_says_place_kernel_and_nonce),
		T(corrected_broker_time_sets_the_ends_anew),
		T(stepped_wall_clock_changes_no_ban),
		T(full_disk_keeps_enforcing_and_stores_later),
		T(garbage_is_counted_and_changes_nothing),
		T(broken_messages_never_change_the_wrong_thing),
	};

	kban_log_setup("test", 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
