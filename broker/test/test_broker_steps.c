/* SPDX-License-Identifier: MPL-2.0
 *
 * Several switches in one report. This program is one that knows fold version 3: its own number
 * takes the place of proto/version.c.
 */
#include "broker/test/asking.h"
#include "proto/limits.h"

const uint32_t kban_fold_newest = 3;

static void greet_as(struct world *w, struct actor *a, uint32_t fold_version)
{
	struct kban_hello h = {.min_version = 1,
			       .max_version = 1,
			       .fold_version = fold_version,
			       .cluster = w->identity.cluster,
			       .program = kban_text("test")};

	send_hello(w, a, &h);
	kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer, KBAN_MSG_WELCOME);
	memcpy(a->session, m->welcome.session, sizeof(a->session));
}

static void nodes_know(struct world *w, uint32_t version)
{
	for (int i = NODE1; i <= NODE3; i++)
		greet_as(w, &w->actors[i], version);
}

static struct kban_event fold_version(uint32_t version, bool force)
{
	return (struct kban_event){.kind = KBAN_EVENT_FOLD_VERSION,
				   .fold_version = {version, force}};
}

static struct receipt switch_twice(struct world *w, bool force2, bool force3)
{
	struct kban_event events[] = {fold_version(2, force2), fold_version(3, force3)};
	struct actor *op = &w->actors[OPERATOR];

	submit(w, op, events, 2);
	commit(w);
	return take_receipt(w, op->peer);
}

static void nodes_are_asked_about_every_step(void **state)
{
	struct world *w = *state;

	kban_message_free(greet(w, &w->actors[OPERATOR]));
	nodes_know(w, 2);
	struct receipt r = switch_twice(w, false, false);
	assert_int_equal(r.refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_non_null(strstr(r.detail, "mail1 (2), mail2 (2), mail3 (2)"));
	assert_int_equal(switch_twice(w, true, false).refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 1);
	nodes_know(w, 3);
	assert_int_equal(switch_twice(w, false, false).seq, 2);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 3);
}

static void force_is_for_its_own_step(void **state)
{
	struct world *w = *state;

	kban_message_free(greet(w, &w->actors[OPERATOR]));
	assert_int_equal(switch_twice(w, false, true).refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	nodes_know(w, 2);
	assert_int_equal(switch_twice(w, false, true).refusal, 0);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 3);
}

static void who_may_not_switch_is_told_so_and_no_node_is_asked(void **state)
{
	struct world *w = *state;
	struct kban_event events[] = {fold_version(2, false), fold_version(3, false)};

	greet_as(w, &w->actors[NODE1], 1);
	submit(w, &w->actors[NODE1], events, 2);
	struct receipt r = take_receipt(w, w->actors[NODE1].peer);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.outcome, KBAN_OUTCOME_DENIED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(nodes_are_asked_about_every_step),
		world_test(force_is_for_its_own_step),
		world_test(who_may_not_switch_is_told_so_and_no_node_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
