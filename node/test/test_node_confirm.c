/* SPDX-License-Identifier: MPL-2.0
 *
 * Unconfirmed: what another node's heartbeat has to say, and what does not count.
 */
#include "node/test/state_world.h"
#include "proto/accept.h"

/* A new node that took the broker's state and is at the end of its log. */
static void unconfirmed(struct world *w)
{
	months(w);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	stream_rest(w);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	assert_int_equal(status(w), KBAN_STATUS_UNCONFIRMED);
}

static void still_unconfirmed(struct world *w)
{
	assert_int_equal(status(w), KBAN_STATUS_UNCONFIRMED);
	assert_int_equal(node_link(w->node), NODE_LIVE);
}

static void another_nodes_heartbeat_confirms(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	cluster_serve(w, &w->other, NULL);
	assert_int_equal(status(w), 0);
	assert_int_equal(rows_count(w, "u"), 0);
	sent_clear(w);
	for (unsigned i = 0; i < 150; i++)
		pass(w, 100);
	assert_null(asked(w, KBAN_QUERY_CLUSTER));
	node_restart(w);
	go_live(w);
	assert_int_equal(status(w), 0);
}

static void unconfirmed_survives_a_restart(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	for (unsigned i = 0; i < 3; i++) {
		node_restart(w);
		go_live(w);
		assert_int_equal(status(w), KBAN_STATUS_UNCONFIRMED);
	}
	cluster_serve(w, &w->other, NULL);
	assert_int_equal(status(w), 0);
}

static void node_that_folded_the_whole_log_asks_nobody(void **state)
{
	struct world *w = *state;

	go_live(w);
	months(w);
	stream_rest(w);
	for (unsigned i = 0; i < 150; i++)
		pass(w, 100);
	assert_null(asked(w, KBAN_QUERY_CLUSTER));
	assert_int_equal(status(w), 0);
}

static void reports_go_on_while_unconfirmed(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
}

/* Places ----------------------------------------------------------------------------------------
 */

static struct kban_heartbeat earlier;

static void as_earlier(struct kban_heartbeat *h)
{
	h->place = earlier.place;
	h->digest = earlier.digest;
	h->mark_seq = 0;
}

static void heartbeat_of_a_little_while_ago_confirms(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	ledger_place(w->ledger, &earlier.place);
	ledger_digest(w->ledger, &earlier.digest);
	for (unsigned i = 1; i < 60; i++)
		log_ban(w, &w->other, "198.51.100.7", i * 1000 * S);
	stream_rest(w);
	cluster_serve(w, &w->other, as_earlier);
	assert_int_equal(status(w), 0);
}

static void heartbeat_from_before_the_state_says_nothing(void **state)
{
	struct world *w = *state;

	ledger_place(w->ledger, &earlier.place);
	ledger_digest(w->ledger, &earlier.digest);
	unconfirmed(w);
	cluster_serve(w, &w->other, as_earlier);
	still_unconfirmed(w);
}

static void far_ahead(struct kban_heartbeat *h)
{
	h->place.seq += 5000;
	h->digest.b[0] ^= 1;
}

static void past_a_mark(struct world *w)
{
	unconfirmed(w);
	while (w->n < 1300) {
		log_ban(w, &w->other, "198.51.100.7", w->n * 1000 * S);
		stream_rest(w);
		sent_clear(w);
	}
}

static void mark_confirms_when_the_places_are_far_apart(void **state)
{
	struct world *w = *state;

	past_a_mark(w);
	cluster_serve(w, &w->other, far_ahead);
	assert_int_equal(status(w), 0);
}

static void another_mark(struct kban_heartbeat *h)
{
	far_ahead(h);
	h->mark_digest.b[5] ^= 1;
}

static void another_mark_is_a_fork(void **state)
{
	struct world *w = *state;

	past_a_mark(w);
	cluster_serve(w, &w->other, another_mark);
	assert_int_equal(node_link(w->node), NODE_FORK);
}

/* Forks -----------------------------------------------------------------------------------------
 */

static void another_digest(struct kban_heartbeat *h)
{
	h->digest.b[0] ^= 1;
}

static void another_chain(struct kban_heartbeat *h)
{
	h->place.chain.b[0] ^= 1;
}

static void disagreement(struct world *w, void (*change)(struct kban_heartbeat *h))
{
	unconfirmed(w);
	cluster_serve(w, &w->other, change);
	assert_int_equal(node_link(w->node), NODE_FORK);
	assert_int_equal(status(w), KBAN_STATUS_FORK | KBAN_STATUS_UNCONFIRMED);
	/* It enforces on, and detects, and reports nothing. */
	assert_true(banned(w, "192.0.2.100"));
	sent_clear(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	assert_true(banned(w, "198.51.100.77"));
	pass(w, 100);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 0);
	assert_int_equal(rows_count(w, "o"), 1);
}

static void another_digest_at_the_same_place_is_a_fork(void **state)
{
	disagreement(*state, another_digest);
}

static void another_chain_at_the_same_place_is_a_fork(void **state)
{
	disagreement(*state, another_chain);
}

static void agreement_ends_the_fork(void **state)
{
	struct world *w = *state;

	disagreement(w, another_digest);
	cluster_serve(w, &w->other, another_digest);
	assert_int_equal(node_link(w->node), NODE_FORK);
	sent_clear(w);
	cluster_serve(w, &w->other, NULL);
	assert_int_equal(node_link(w->node), NODE_LIVE);
	pass(w, 100);
	assert_int_equal(sent_count(w, KBAN_MSG_SUBMIT), 1);
	assert_int_equal(status(w), 0);
}

/* What does not count ---------------------------------------------------------------------------
 */

static void also_unconfirmed(struct kban_heartbeat *h)
{
	h->status = KBAN_STATUS_UNCONFIRMED;
}

static void forked(struct kban_heartbeat *h)
{
	h->status = KBAN_STATUS_FORK;
	h->digest.b[0] ^= 1;
}

static void another_cluster(struct kban_heartbeat *h)
{
	h->cluster.b[0] ^= 1;
}

static void older_epoch(struct kban_heartbeat *h)
{
	h->place.epoch++;
	h->digest.b[0] ^= 1;
}

static void another_seq(struct kban_heartbeat *h)
{
	h->place.seq++;
	h->digest.b[0] ^= 1;
}

static void heartbeats_that_prove_nothing_are_ignored(void **state)
{
	static void (*const changes[])(struct kban_heartbeat * h) = {
		also_unconfirmed, forked, another_cluster, older_epoch, another_seq};
	struct world *w = *state;
	struct kban_keypair stranger;

	unconfirmed(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(changes); i++) {
		cluster_serve(w, &w->other, changes[i]);
		still_unconfirmed(w);
	}
	keypair(&stranger, 8);
	cluster_serve(w, &stranger, NULL);
	still_unconfirmed(w);
	cluster_serve(w, &w->operator, NULL);
	still_unconfirmed(w);
	cluster_serve(w, &w->identity.keys, NULL);
	still_unconfirmed(w);
}

static void forged_heartbeat_is_ignored(void **state)
{
	struct world *w = *state;
	struct kban_keypair forger = w->other;
	struct kban_keypair mine;

	unconfirmed(w);
	/* The other's name, and a signature by the broker's own key. */
	keypair(&mine, 8);
	memcpy(&forger.sign_secret, &mine.sign_secret, sizeof(forger.sign_secret));
	cluster_serve(w, &forger, NULL);
	still_unconfirmed(w);
}

static void revoked_node_confirms_nothing(void **state)
{
	struct world *w = *state;
	struct kban_keypair third;

	keypair(&third, 9);
	struct kban_event grant = grant_event(&third, KBAN_ROLE_NODE, "mail3");
	struct kban_event revoke = {.kind = KBAN_EVENT_REVOKE,
				    .revoke = {.key = w->other.sign_public}};

	log_events(w, &w->root, &grant, 1);
	unconfirmed(w);
	log_events(w, &w->operator, & revoke, 1);
	stream_rest(w);
	cluster_serve(w, &w->other, NULL);
	still_unconfirmed(w);
	cluster_serve(w, &third, NULL);
	assert_int_equal(status(w), 0);
}

/* An operator's word ---------------------------------------------------------------------------- */

static void log_epoch(struct world *w, uint32_t epoch, uint64_t seq, const struct kban_hash *digest)
{
	struct kban_event e = {.kind = KBAN_EVENT_EPOCH, .epoch = {.epoch = epoch}};
	char reason[KBAN_ACCEPT_TEXT];

	e.epoch.reason = kban_text(kban_accept_format(reason, seq, digest));
	log_events(w, &w->operator, & e, 1);
}

/* What kbanctl does: it names the ledger as the broker has it. */
static void accept_epoch(struct world *w)
{
	struct kban_place at;
	struct kban_hash digest;

	ledger_place(w->ledger, &at);
	ledger_digest(w->ledger, &digest);
	log_epoch(w, at.epoch + 1, at.seq, &digest);
}

static void operator_accepts_what_nobody_else_can_confirm(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	for (unsigned i = 0; i < 20; i++)
		cluster_serve(w, &w->other, also_unconfirmed);
	still_unconfirmed(w);
	accept_epoch(w);
	stream_rest(w);
	assert_int_equal(status(w), 0);
	assert_int_equal(rows_count(w, "u"), 0);
	same_ledger(w);
	node_restart(w);
	go_live(w);
	assert_int_equal(status(w), 0);
}

static void reports_made_before_an_epoch_count_after_it(void **state)
{
	struct world *w = *state;

	unconfirmed(w);
	offend(w, "198.51.100.77", 300 * S);
	flush(w);
	accept_epoch(w); /* the sealed report's base is of the epoch before */
	take_submit(w);
	stream_rest(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
	node_restart(w);
	go_live(w);
	offend(w, "198.51.100.78", 300 * S);
	flush(w);
	pass(w, 100);
	take_submit(w);
	stream_rest(w);
	same_ledger(w);
	assert_int_equal(node_counts(w->node)->outcomes[KBAN_OUTCOME_COUNTED], 1);
}

static void operator_who_accepts_another_ledger_confirms_nothing(void **state)
{
	struct world *w = *state;
	struct kban_event plain = {.kind = KBAN_EVENT_EPOCH,
				   .epoch = {.epoch = 3, .reason = kban_text("restored")}};
	struct kban_place at;
	struct kban_hash digest;

	unconfirmed(w);
	ledger_place(w->ledger, &at);
	ledger_digest(w->ledger, &digest);
	digest.b[0] ^= 1;
	log_epoch(w, 2, at.seq, &digest);
	log_events(w, &w->operator, & plain, 1);
	digest.b[0] ^= 1;
	log_epoch(w, 4, at.seq, &digest); /* it is of an earlier epoch */
	stream_rest(w);
	still_unconfirmed(w);
	accept_epoch(w);
	stream_rest(w);
	assert_int_equal(status(w), 0);
}

/* An operator's acceptance from before the state is in that state. */
static void earlier_acceptance_confirms_no_later_state(void **state)
{
	struct world *w = *state;

	accept_epoch(w);
	unconfirmed(w);
	node_restart(w);
	go_live(w);
	still_unconfirmed(w);
}

static void node_may_not_accept(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_EPOCH, .epoch = {.epoch = 2}};
	char reason[KBAN_ACCEPT_TEXT];
	struct kban_place at;
	struct kban_hash digest;

	unconfirmed(w);
	ledger_place(w->ledger, &at);
	ledger_digest(w->ledger, &digest);
	e.epoch.reason = kban_text(kban_accept_format(reason, at.seq, &digest));
	log_events(w, &w->other, &e, 1);
	stream_rest(w);
	still_unconfirmed(w);
}

/* That nobody else is there is the broker's word: it may have left others out. */
static void node_without_any_other_waits_for_an_operator(void **state)
{
	struct world *w = *state;
	struct kban_event revoke = {.kind = KBAN_EVENT_REVOKE,
				    .revoke = {.key = w->other.sign_public}};

	months(w);
	log_events(w, &w->operator, & revoke, 1);
	kban_auto(state_free) struct state *st = compacted(w);

	greet(w);
	state_give(w, st);
	assert_int_equal(rows_count(w, "u"), 1); /* who else there is, the log's end tells */
	sent_clear(w);
	stream_rest(w);
	for (unsigned i = 0; i < 100; i++)
		pass(w, 100);
	still_unconfirmed(w);
	accept_epoch(w);
	stream_rest(w);
	assert_int_equal(status(w), 0);
	assert_int_equal(rows_count(w, "u"), 0);
}

static void broker_whose_answers_never_end_is_not_asked_for_ever(void **state)
{
	struct world *w = *state;
	struct kban_message m = {.kind = KBAN_MSG_ANSWER, .answer = {.kind = KBAN_QUERY_CLUSTER}};

	unconfirmed(w);
	sent_clear(w);
	while (!asked(w, KBAN_QUERY_CLUSTER))
		pass(w, 100);
	sent_clear(w);
	ledger_place(w->ledger, &m.answer.place);
	for (unsigned i = 1; i < 20; i++) {
		m.answer.next = i;
		receive(w, &m);
	}
	assert_null(asked(w, KBAN_QUERY_CLUSTER));
	still_unconfirmed(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(another_nodes_heartbeat_confirms),
		T(unconfirmed_survives_a_restart),
		T(node_that_folded_the_whole_log_asks_nobody),
		T(reports_go_on_while_unconfirmed),
		T(heartbeat_of_a_little_while_ago_confirms),
		T(heartbeat_from_before_the_state_says_nothing),
		T(mark_confirms_when_the_places_are_far_apart),
		T(another_mark_is_a_fork),
		T(another_digest_at_the_same_place_is_a_fork),
		T(another_chain_at_the_same_place_is_a_fork),
		T(agreement_ends_the_fork),
		T(heartbeats_that_prove_nothing_are_ignored),
		T(forged_heartbeat_is_ignored),
		T(revoked_node_confirms_nothing),
		T(operator_accepts_what_nobody_else_can_confirm),
		T(reports_made_before_an_epoch_count_after_it),
		T(operator_who_accepts_another_ledger_confirms_nothing),
		T(earlier_acceptance_confirms_no_later_state),
		T(node_may_not_accept),
		T(node_without_any_other_waits_for_an_operator),
		T(broker_whose_answers_never_end_is_not_asked_for_ever),
	};

	kban_log_setup("test", getenv("KBAN_TEST_LOG") ? KBAN_LOG_DEBUG : 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
