/* SPDX-License-Identifier: MPL-2.0
 *
 * When the fleet may switch to newer rules. This program is built so that it knows fold version 2
 * (broker/CMakeLists.txt), as the next release's broker may; an older one and older nodes are
 * played.
 */
#include "broker/test/asking.h"

/* The linker puts this in the place of the ledger's: as if purge had come with version 2. */
uint32_t __wrap_ledger_kind_since(enum kban_event_kind kind);
uint32_t __wrap_ledger_kind_since(enum kban_event_kind kind)
{
	return kind == KBAN_EVENT_PURGE ? 2 : 1;
}

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

static struct kban_event fold_version(uint32_t version, bool force)
{
	return (struct kban_event){.kind = KBAN_EVENT_FOLD_VERSION,
				   .fold_version = {version, force}};
}

static struct receipt switch_to(struct world *w, struct actor *a, uint32_t version, bool force)
{
	struct kban_event events[] = {ban_event("192.0.2.1"), fold_version(version, force)};

	submit(w, a, events, 2);
	commit(w);
	return take_receipt(w, a->peer);
}

static void the_switch_waits_for_every_live_node_and_names_who_is_missing(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];

	kban_message_free(greet(w, op));
	greet_as(w, &w->actors[NODE1], 1);
	greet_as(w, &w->actors[NODE2], 2);
	struct receipt r = switch_to(w, op, 2, false);
	assert_int_equal(r.refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_string_equal(r.detail, "live nodes know less, or were not heard by this broker yet: "
				      "mail1 (1), mail3 (not heard)");
	assert_int_equal(r.seq, 0); /* nothing of it */
	assert_int_equal(head_of_log(w).seq, 1);
	greet_as(w, &w->actors[NODE1], 2);
	submit_revoke(w, op, &w->actors[NODE3].keys.sign_public);
	commit(w);
	take_receipt(w, op->peer);
	r = switch_to(w, op, 2, false);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.seq, 3);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 2);
}

static void a_restart_forgets_what_nodes_know_until_they_are_back(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];

	for (int i = NODE1; i <= NODE3; i++)
		greet_as(w, &w->actors[i], 2);
	restart_broker(w);
	kban_message_free(greet(w, op));
	assert_int_equal(switch_to(w, op, 2, false).refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	for (int i = NODE1; i <= NODE3; i++)
		greet_as(w, &w->actors[i], 2);
	assert_int_equal(switch_to(w, op, 2, false).refusal, 0);
}

static void force_asks_nobody(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];

	kban_message_free(greet(w, op));
	struct receipt r = switch_to(w, op, 2, true);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.seq, 2);
}

static void nobody_switches_to_what_the_broker_itself_does_not_know(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	struct kban_event events[] = {fold_version(2, true), fold_version(3, true)};

	kban_message_free(greet(w, op));
	submit(w, op, events, 2);
	commit(w);
	struct receipt r = take_receipt(w, op->peer);
	assert_int_equal(r.refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_string_equal(r.detail, "this broker knows fold version 2: upgrade it first");
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 1);
	r = switch_to(w, op, 7, true); /* not the next one: an outcome, and no more than that */
	assert_int_equal(r.refusal, 0);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 1);
}

static void a_node_that_says_so_is_told_it_may_not(void **state)
{
	struct world *w = *state;
	struct kban_event e = fold_version(2, false);

	greet_as(w, &w->actors[NODE1], 1);
	submit(w, &w->actors[NODE1], &e, 1);
	struct receipt r = take_receipt(w, w->actors[NODE1].peer);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.outcome, KBAN_OUTCOME_DENIED);
}

static void many_who_are_missing_are_counted(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	char name[KBAN_NAME_MAX + 1];

	kban_message_free(greet(w, op));
	memset(name, 'x', sizeof(name));
	for (unsigned i = 0; i < 20; i++) {
		struct kban_event e = {.kind = KBAN_EVENT_INVITE};
		struct kban_event join = {.kind = KBAN_EVENT_JOIN};
		struct actor token = {.name = "token"};
		struct kban_keypair joined;

		name[0] = (char)('a' + i);
		keys_from(&token.keys, 600 + i);
		keys_from(&joined, 700 + i);
		e.invite = (struct kban_event_invite){token.keys.sign_public,
						      token.keys.curve_public,
						      KBAN_ROLE_NODE,
						      {name, KBAN_NAME_MAX},
						      HOUR_MS};
		submit(w, op, &e, 1);
		commit(w);
		take_receipt(w, op->peer);
		kban_message_free(greet(w, &token));
		kban_join_prove(&join.join, &joined, &w->identity.cluster, &token.keys.sign_public);
		submit(w, &token, &join, 1);
		commit(w);
	}
	struct receipt r = switch_to(w, op, 2, false);
	assert_int_equal(r.refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_non_null(
		strstr(r.detail, "mail1 (not heard), mail2 (not heard), mail3 (not heard), axxx"));
	assert_non_null(strstr(r.detail, "(not heard) and 19 more"));
}

static void a_newer_kind_of_event_waits_for_its_version(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	struct kban_event purge = {.kind = KBAN_EVENT_PURGE};
	struct kban_event both[] = {fold_version(2, true), purge};

	purge.purge.key = both[1].purge.key = w->actors[NODE1].keys.sign_public;
	kban_message_free(greet(w, op));
	submit(w, op, &purge, 1);
	struct receipt r = take_receipt(w, op->peer);
	assert_int_equal(r.refusal, KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_string_equal(r.detail, "purge events begin with fold version 2, the log has 1");
	submit(w, op, both, 2);
	commit(w);
	r = take_receipt(w, op->peer);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.outcomes_n, 2);
	submit(w, op, &purge, 1);
	commit(w);
	assert_int_equal(take_receipt(w, op->peer).seq, 3);
}

static void who_is_too_old_for_the_log_is_refused_at_hello(void **state)
{
	struct world *w = *state;
	struct kban_hello old = {.min_version = 1,
				 .max_version = 1,
				 .fold_version = 1,
				 .cluster = w->identity.cluster,
				 .program = kban_text("test")};

	kban_message_free(greet(w, &w->actors[OPERATOR]));
	assert_int_equal(switch_to(w, &w->actors[OPERATOR], 2, true).refusal, 0);
	send_hello(w, &w->actors[NODE1], &old);
	assert_int_equal(take_denial(w, w->actors[NODE1].peer), KBAN_REFUSAL_UPGRADE_NEEDED);
	assert_true(take_cut(w, w->actors[NODE1].peer));
	restart_broker(w);
	assert_int_equal(ledger_fold_version(broker_ledger(w->b)), 2);
}

/* As if by a broker that knows one version more. */
static void append_newer(struct world *w)
{
	struct kban_event events[] = {fold_version(2, true), fold_version(3, true)};
	struct sealed_report s = seal(w, &w->actors[OPERATOR], events, 2);
	struct kban_place place = head_of_log(w);
	struct kban_entry entry = {place.seq + 1, w->wall_ms, s.sealed};

	ledger_chain_next(&place.chain, &place.chain, entry.seq, entry.accepted_ms, &s.hash);
	place.seq = entry.seq;
	broker_free(w->b);
	w->b = NULL;
	store_begin(w->disk.inner);
	store_append(w->disk.inner, &entry, &place);
	assert_int_equal(store_commit(w->disk.inner), 0);
	free(s.bytes);
}

static void a_broker_that_is_too_old_for_its_log_does_not_serve(void **state)
{
	struct world *w = *state;
	char *error = NULL;

	append_newer(w);
	assert_int_not_equal(broker_new(&w->b, &w->identity, &w->disk.base, &w->clock,
					&w->transport, &w->genesis, &error),
			     0);
	w->b = NULL;
	assert_non_null(strstr(error, "upgrade needed: from entry 2 on"));
	assert_non_null(strstr(error, "install a newer kban-broker"));
	free(error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(the_switch_waits_for_every_live_node_and_names_who_is_missing),
		world_test(a_restart_forgets_what_nodes_know_until_they_are_back),
		world_test(force_asks_nobody),
		world_test(nobody_switches_to_what_the_broker_itself_does_not_know),
		world_test(a_node_that_says_so_is_told_it_may_not),
		world_test(many_who_are_missing_are_counted),
		world_test(a_newer_kind_of_event_waits_for_its_version),
		world_test(who_is_too_old_for_the_log_is_refused_at_hello),
		world_test(a_broker_that_is_too_old_for_its_log_does_not_serve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
