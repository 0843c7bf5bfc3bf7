/* SPDX-License-Identifier: MPL-2.0
 *
 * Subscriptions, windows, heartbeats and probes.
 */
#include "broker/test/world.h"

/* n entries by the operator, durable. Nothing that was sent meanwhile is dropped. */
static void make_entries(struct world *w, unsigned n)
{
	static unsigned number;

	for (unsigned i = 0; i < n; i++, number++) {
		char address[32];

		snprintf(address, sizeof(address), "198.%u.%u.%u", 18 + (number >> 16),
			 number >> 8 & 255, number & 255);
		submit_ban(w, &w->actors[OPERATOR], address);
		if (i % 500 == 499)
			commit(w);
	}
	commit(w);
}

static void a_cold_subscriber_gets_the_whole_log(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place start = start_of_log(w);
	uint64_t last = 0;

	greet_all(w);
	make_entries(w, 2000);
	restart_broker(w); /* nothing of it is in memory */
	kban_message_free(greet(w, a));
	subscribe(w, a, &start, KBAN_WINDOW_MAX);
	assert_int_equal(take_entries(w, a->peer, &last), 2001);
}

static void who_is_up_to_date_is_told_so(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place head;

	greet_all(w);
	make_entries(w, 3);
	head = head_of_log(w);
	subscribe(w, a, &head, 10);
	kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer, KBAN_MSG_ENTRIES);
	assert_int_equal(m->entries.entries_n, 0);
	assert_int_equal(m->entries.head, 4);
	assert_true(m->entries.broker_ms == WORLD_START_MS);
	assert_true(nothing_for(w, a->peer));
}

static void entries_are_what_was_signed_and_the_chain_comes_out(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place start = start_of_log(w), head;
	struct kban_hash chain = start.chain;

	greet_all(w);
	make_entries(w, 20);
	subscribe(w, a, &start, 100);
	kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer, KBAN_MSG_ENTRIES);
	assert_int_equal(m->entries.entries_n, 21);
	for (size_t i = 0; i < m->entries.entries_n; i++) {
		const struct kban_entry *e = &m->entries.entries[i];
		kban_auto(kban_report_free) struct kban_report *r = NULL;

		assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
		assert_true(kban_report_check(r, &e->sealed));
		ledger_chain_next(&chain, &chain, e->seq, e->accepted_ms, &r->hash);
	}
	head = head_of_log(w);
	assert_memory_equal(&chain, &head.chain, sizeof(chain));
}

static void cursors_ahead_or_of_another_chain_are_refused_by_name(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place p;

	greet_all(w);
	make_entries(w, 3);
	p = head_of_log(w);
	p.seq++;
	subscribe(w, a, &p, 10);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_CURSOR_AHEAD);
	p = head_of_log(w);
	p.seq--;
	subscribe(w, a, &p, 10);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_FORK);
	p = start_of_log(w);
	p.chain.b[0] ^= 1;
	subscribe(w, a, &p, 10);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_FORK);
	make_entries(w, 1);
	assert_true(nothing_for(w, a->peer));
	assert_int_equal(broker_counts(w->b)->subscribers, 0);
}

static void an_older_epoch_with_the_same_chain_is_fine(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_event epoch = {.kind = KBAN_EVENT_EPOCH, .epoch = {.epoch = 2}};
	struct kban_place old = head_of_log(w);
	uint64_t last = 1;

	greet_all(w);
	submit(w, &w->actors[OPERATOR], &epoch, 1);
	commit(w);
	assert_int_equal(head_of_log(w).epoch, 2);
	subscribe(w, a, &old, 10);
	assert_int_equal(take_entries(w, a->peer, &last), 1);
}

static void a_peer_that_does_not_ack_gets_its_window_and_others_go_on(void **state)
{
	struct world *w = *state;
	struct actor *slow = &w->actors[NODE1], *fast = &w->actors[NODE2];
	struct kban_place head = head_of_log(w);
	uint64_t slow_last = 1, fast_last = 1;

	greet_all(w);
	subscribe(w, slow, &head, 10);
	subscribe(w, fast, &head, 10);
	for (int i = 0; i < 50; i++) {
		make_entries(w, 1);
		take_entries(w, fast->peer, &fast_last);
		ack(w, fast, fast_last);
	}
	assert_int_equal(fast_last, 51);
	assert_int_equal(take_entries(w, slow->peer, &slow_last), 10);
	ack(w, slow, 4);
	assert_int_equal(take_entries(w, slow->peer, &slow_last), 3);
	while (slow_last < 51) {
		ack(w, slow, slow_last);
		assert_int_not_equal(take_entries(w, slow->peer, &slow_last), 0);
	}
	assert_int_equal(broker_counts(w->b)->malformed, 0);
}

static void what_is_on_the_way_is_bounded_in_bytes_and_messages(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place start = start_of_log(w), head;
	struct kban_event events[KBAN_EVENTS_MAX];
	char reason[180];
	uint64_t last = 0;
	size_t n;

	memset(reason, 'x', sizeof(reason));
	greet_all(w);
	head = head_of_log(w);
	subscribe(w, a, &head, KBAN_WINDOW_MAX);
	forget_sent(w);
	for (int i = 0; i < 200; i++)
		make_entries(w, 1);
	last = 1;
	n = take_entries(w, a->peer, &last);
	assert_true(n >= 60 && n <= 64);
	for (size_t i = 0; i < KBAN_EVENTS_MAX; i++) {
		events[i] = ban_event("203.0.113.1");
		events[i].ban.reason = (struct kban_text){reason, sizeof(reason)};
		events[i].ban.prefix.addr[3] = (uint8_t)i;
	}
	for (int i = 0; i < 150; i++)
		submit(w, &w->actors[OPERATOR], events, KBAN_EVENTS_MAX);
	commit(w);
	forget_sent(w);
	subscribe(w, a, &start, KBAN_WINDOW_MAX);
	last = 0;
	n = take_entries(w, a->peer, &last);
	assert_true(n > 200 && last < 320); /* about 60 KiB a report, 4 MiB in all */
	while (last < head_of_log(w).seq) {
		ack(w, a, last);
		assert_int_not_equal(take_entries(w, a->peer, &last), 0);
	}
}

static void an_ack_beyond_what_was_sent_is_malformed(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place head = head_of_log(w);

	greet_all(w);
	ack(w, a, 1);
	assert_int_equal(broker_counts(w->b)->malformed, 1);
	subscribe(w, a, &head, 10);
	ack(w, a, 2);
	assert_int_equal(broker_counts(w->b)->malformed, 2);
	ack(w, a, 1);
	ack(w, a, 0);
	assert_int_equal(broker_counts(w->b)->malformed, 2);
}

static void the_last_subscription_counts(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place start = start_of_log(w), head;
	uint64_t last = 0;

	greet_all(w);
	make_entries(w, 5);
	head = head_of_log(w);
	subscribe(w, a, &start, 2);
	assert_int_equal(take_entries(w, a->peer, &last), 2);
	subscribe(w, a, &head, 10);
	assert_int_equal(broker_counts(w->b)->subscribers, 1);
	last = head.seq;
	take_entries(w, a->peer, &last);
	make_entries(w, 1);
	assert_int_equal(take_entries(w, a->peer, &last), 1);
}

static void a_subscription_while_reports_are_staged_waits_and_misses_nothing(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place head = head_of_log(w);
	uint64_t last = 1;

	greet_all(w);
	submit_ban(w, &w->actors[NODE2], "192.0.2.1");
	subscribe(w, a, &head, 10);
	assert_true(nothing_for(w, a->peer));
	commit(w);
	assert_int_equal(take_entries(w, a->peer, &last), 1);
}

static void a_late_joiner_beyond_the_tail_catches_up_while_others_are_live(void **state)
{
	struct world *w = *state;
	struct actor *live = &w->actors[NODE1], *late = &w->actors[NODE2];
	struct kban_place start = start_of_log(w);
	uint64_t live_last = 0, late_last = 0;

	greet_all(w);
	subscribe(w, live, &start, 1000);
	for (int i = 0; i < 60; i++) {
		make_entries(w, 100);
		take_entries(w, live->peer, &live_last);
		ack(w, live, live_last);
	}
	assert_int_equal(live_last, 6001);
	subscribe(w, late, &start, 300);
	while (late_last < head_of_log(w).seq) {
		if (late_last < 4000)
			make_entries(w, 1);
		assert_int_not_equal(take_entries(w, late->peer, &late_last), 0);
		ack(w, late, late_last);
	}
	assert_true(late_last > 6001);
}

/* Heartbeats and probes --------------------------------------------------------------------- */

static void beat(struct world *w, struct actor *from, struct actor *author, bool forged)
{
	struct kban_heartbeat h = {
		.cluster = w->identity.cluster, .place = {.epoch = 1}, .version = "0.1.0"};
	struct kban_message m = {.kind = KBAN_MSG_HEARTBEAT};
	uint8_t *bytes;

	h.own_ms = w->wall_ms;
	h.fold_version = kban_fold_newest;
	kban_heartbeat_seal(&h, &author->keys, &bytes, &m.heartbeat);
	if (forged)
		bytes[m.heartbeat.report_len] ^= 1;
	send_message(w, from, &m);
	free(bytes);
}

static void only_ones_own_signed_heartbeats_are_kept(void **state)
{
	struct world *w = *state;

	greet_all(w);
	beat(w, &w->actors[NODE1], &w->actors[NODE1], false);
	assert_int_equal(broker_counts(w->b)->malformed, 0);
	beat(w, &w->actors[NODE1], &w->actors[NODE1], true);
	assert_int_equal(broker_counts(w->b)->refused[KBAN_REFUSAL_BAD_SIGNATURE], 1);
	beat(w, &w->actors[NODE1], &w->actors[NODE2], false);
	assert_int_equal(broker_counts(w->b)->refused[KBAN_REFUSAL_NOT_YOURS], 1);
	w->identity.cluster.b[0] ^= 1;
	beat(w, &w->actors[NODE1], &w->actors[NODE1], false);
	w->identity.cluster.b[0] ^= 1;
	assert_int_equal(broker_counts(w->b)->refused[KBAN_REFUSAL_WRONG_CLUSTER], 1);
	assert_int_equal(broker_counts(w->b)->malformed, 3);
}

static void subscribers_are_probed_with_the_brokers_time(void **state)
{
	struct world *w = *state;
	struct kban_place head = head_of_log(w);

	greet_all(w);
	subscribe(w, &w->actors[NODE1], &head, 10);
	forget_sent(w);
	broker_tick(w->b);
	assert_true(nothing_for(w, w->actors[NODE1].peer));
	world_pass(w, BROKER_PROBE_MS);
	broker_tick(w->b);
	kban_auto(kban_message_free) struct kban_message *m = take(w, w->actors[NODE1].peer,
								   KBAN_MSG_PROBE);
	assert_true(m->probe.broker_ms == WORLD_START_MS + BROKER_PROBE_MS);
	assert_int_equal(m->probe.nonce.n, 0);
	assert_true(nothing_for(w, w->actors[NODE2].peer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(a_cold_subscriber_gets_the_whole_log),
		world_test(who_is_up_to_date_is_told_so),
		world_test(entries_are_what_was_signed_and_the_chain_comes_out),
		world_test(cursors_ahead_or_of_another_chain_are_refused_by_name),
		world_test(an_older_epoch_with_the_same_chain_is_fine),
		world_test(a_peer_that_does_not_ack_gets_its_window_and_others_go_on),
		world_test(what_is_on_the_way_is_bounded_in_bytes_and_messages),
		world_test(an_ack_beyond_what_was_sent_is_malformed),
		world_test(the_last_subscription_counts),
		world_test(a_subscription_while_reports_are_staged_waits_and_misses_nothing),
		world_test(a_late_joiner_beyond_the_tail_catches_up_while_others_are_live),
		world_test(only_ones_own_signed_heartbeats_are_kept),
		world_test(subscribers_are_probed_with_the_brokers_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
