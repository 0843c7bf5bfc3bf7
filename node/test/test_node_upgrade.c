/* SPDX-License-Identifier: MPL-2.0
 *
 * What a program does when the log goes on with a fold version that it does not know. Linked a
 * second time as the next release (proto/test/next.c): that program goes on where
 * this one stopped, on the disk that it left.
 */
#include "node/test/state_world.h"

#define UNKNOWN (kban_fold_newest + 1)

static void log_version(struct world *w, const struct kban_keypair *k, uint32_t version)
{
	struct kban_event e[] = {
		{.kind = KBAN_EVENT_BAN,
		 .ban = {.prefix = P("198.51.100.99"), .duration_ms = 300 * S}},
		{.kind = KBAN_EVENT_FOLD_VERSION, .fold_version = {.version = version}},
	};

	log_events(w, k, e, 2);
}

/* Bans before and after the switch; the node has folded up to it. */
static void stopped(struct world *w)
{
	go_live(w);
	log_ban(w, &w->other, "198.51.100.1", 3000 * S);
	log_version(w, &w->operator, UNKNOWN);
	log_ban(w, &w->other, "198.51.100.2", 3000 * S);
	stream_rest(w);
}

static void still_stopped(struct world *w)
{
	struct store_head head;

	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_int_equal(node_place(w), 2);
	assert_int_equal(store_head(w->store, &head), 0);
	assert_int_equal(head.place.seq, 2);
	assert_true(banned(w, "198.51.100.1"));
	assert_int_equal(banned(w, "198.51.100.2"), 0);
	assert_int_equal(banned(w, "198.51.100.99"), 0);
}

static void node_stops_before_the_entry_and_what_came_before_counts(void **state)
{
	struct world *w = *state;

	stopped(w);
	still_stopped(w);
	assert_int_equal(sent_last(w, KBAN_MSG_ACK)->ack.seq, 2);
	assert_int_equal(w->disconnects, 0);
	assert_int_equal(status(w), KBAN_STATUS_UPGRADE_NEEDED);
}

static void stopped_node_enforces_detects_and_reports_nothing(void **state)
{
	struct world *w = *state;

	stopped(w);
	sent_clear(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	assert_true(banned(w, "198.51.100.77"));
	pass(w, 100);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
	assert_int_equal(rows_count(w, "o"), 1);
	pass(w, 19 * S);
	pass(w, 3000 * S);
	assert_int_equal(banned(w, "198.51.100.1"), 0); /* its end comes all the same */
}

static void stopped_node_stays_connected_and_says_so(void **state)
{
	struct world *w = *state;
	struct kban_message m = {.kind = KBAN_MSG_PROBE};

	stopped(w);
	sent_clear(w);
	for (unsigned i = 0; i < 20; i++) {
		pass(w, 5 * S);
		m.probe = (struct kban_probe){.broker_ms = w->wall_ms, .head = w->n};
		receive(w, &m);
	}
	for (unsigned i = 0; i < 3; i++) { /* the broker knows nothing of it, and sends on */
		log_ban(w, &w->other, "198.51.100.3", 3000 * S);
		stream(w, w->n, w->n);
	}
	assert_int_equal(w->disconnects, 0);
	assert_int_equal(sent_count(w, KBAN_MSG_HEARTBEAT), 20);
	assert_int_equal(status(w), KBAN_STATUS_UPGRADE_NEEDED);
	still_stopped(w);
}

static void stopped_node_stops_there_again_after_reconnect_and_restart(void **state)
{
	struct world *w = *state;

	stopped(w);
	node_lost(w->node);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	greet(w);
	stream_rest(w);
	still_stopped(w);
	node_restart(w);
	assert_int_equal(node_link(w->node), NODE_OFFLINE);
	greet(w);
	stream_rest(w);
	still_stopped(w);
	assert_int_equal(status(w), KBAN_STATUS_UPGRADE_NEEDED);
}

static void version_by_one_who_may_not_stops_nobody(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_version(w, &w->other, UNKNOWN);
	log_version(w, &w->operator, UNKNOWN + 1); /* out of range for everybody */
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	same_ledger(w);
}

static void refused_hello_keeps_enforcing_and_tries_again(void **state)
{
	struct world *w = *state;
	unsigned before;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.1", 300000 * S);
	stream_rest(w);
	node_lost(w->node);
	dial(w);
	no_session(w, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_true(banned(w, "198.51.100.1"));
	before = w->connects;
	for (unsigned i = 0; i < 500; i++)
		pass(w, 100);
	assert_int_equal(w->connects, before);
	for (unsigned i = 0; i < 2000 && w->connects == before; i++)
		pass(w, 100);
	assert_int_equal(w->connects, before + 1);
	node_connected(w->node);
	struct kban_message m;

	fill_welcome(w, &m); /* a broker that was put back */
	receive(w, &m);
	assert_int_equal(node_link(w->node), NODE_LIVE);
}

static void append_unknown(struct world *w)
{
	struct kban_place place;

	ledger_place(node_ledger(w->node), &place);
	for (uint64_t i = place.seq; i < w->n; i++) {
		struct kban_hash hash;

		kban_sealed_hash(&hash, &w->entries[i].sealed);
		ledger_chain_next(&place.chain, &place.chain, i + 1, w->entries[i].accepted_ms,
				  &hash);
		place.seq = i + 1;
		store_begin(w->store);
		store_append(w->store, &w->entries[i], &place);
		assert_int_equal(store_commit(w->store), 0);
	}
}

static void older_program_on_a_newer_programs_disk_enforces_what_it_knows(void **state)
{
	struct world *w = *state;

	stopped(w);
	append_unknown(w); /* as the newer one did */
	node_restart(w);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_int_equal(node_place(w), 2);
	assert_true(banned(w, "198.51.100.1"));
	greet(w);
	stream(w, 3, 4);
	assert_int_equal(node_place(w), 2);
	assert_int_equal(status(w), KBAN_STATUS_UPGRADE_NEEDED);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	assert_true(banned(w, "198.51.100.77"));
}


/* This program's disk up to the switch is what the older one left: nothing of the entry is on it.
 */
static void upgraded_node_goes_on_where_it_stopped(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_ban(w, &w->other, "198.51.100.1", 3000 * S);
	stream_rest(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	node_restart(w);
	assert_int_equal(node_place(w), 2);
	log_version(w, &w->operator, kban_fold_newest);
	log_ban(w, &w->other, "198.51.100.2", 3000 * S);
	greet(w);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	assert_int_equal(ledger_fold_version(node_ledger(w->node)), kban_fold_newest);
	assert_true(banned(w, "198.51.100.2"));
	pass(w, 100);
	take_submit(w);
	stream_rest(w);
	same_ledger(w);
	assert_int_equal(status(w), 0);
	node_restart(w);
	same_ledger(w);
}

static void upgraded_node_stops_at_the_version_after_its_own(void **state)
{
	struct world *w = *state;

	go_live(w);
	log_version(w, &w->operator, kban_fold_newest);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	stopped(w);
	assert_int_equal(node_link(w->node), NODE_UPGRADE_NEEDED);
	assert_int_equal(node_place(w), 3);
}


#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(node_stops_before_the_entry_and_what_came_before_counts),
		T(stopped_node_enforces_detects_and_reports_nothing),
		T(stopped_node_stays_connected_and_says_so),
		T(stopped_node_stops_there_again_after_reconnect_and_restart),
		T(version_by_one_who_may_not_stops_nobody),
		T(refused_hello_keeps_enforcing_and_tries_again),
		T(older_program_on_a_newer_programs_disk_enforces_what_it_knows),
	};
	const struct CMUnitTest upgraded[] = {
		T(upgraded_node_goes_on_where_it_stopped),
		T(upgraded_node_stops_at_the_version_after_its_own),
	};

	kban_log_setup("test", getenv("KBAN_TEST_LOG") ? KBAN_LOG_DEBUG : 0);
	kban_crypto_setup();
	return kban_fold_newest == 1 ? cmocka_run_group_tests(tests, NULL, NULL)
				     : cmocka_run_group_tests(upgraded, NULL, NULL);
}
