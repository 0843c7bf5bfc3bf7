/* SPDX-License-Identifier: MPL-2.0
 *
 * What kbanctl is told.
 */
#include "broker/test/asking.h"

static void who_may_ask_what_depends_on_the_role(void **state)
{
	struct world *w = *state;
	static const bool followers[] = {[KBAN_QUERY_CLUSTER] = true,
					 [KBAN_QUERY_STATE] = true,
					 [KBAN_QUERY_REFUSED] = false};

	greet_all(w);
	for (int i = 0; i < ACTORS; i++) {
		struct actor *a = &w->actors[i];
		bool person = a->role == KBAN_ROLE_OPERATOR || a->role == KBAN_ROLE_READER;
		bool follower = a->role == KBAN_ROLE_NODE || a->role == KBAN_ROLE_FEEDER;

		for (int kind = KBAN_QUERY_CLUSTER; kind <= KBAN_QUERY_REFUSED; kind++) {
			ask(w, a, &(struct kban_query){.kind = (enum kban_query_kind)kind});
			if (person || (follower && followers[kind]))
				kban_message_free(take(w, a->peer, KBAN_MSG_ANSWER));
			else
				assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_DENIED);
		}
	}
}

/* Cluster ----------------------------------------------------------------------------------- */

static const struct kban_member_row *member(const struct kban_message *m, const char *name)
{
	for (size_t i = 0; i < m->answer.members_n; i++) {
		const struct kban_member_row *r = &m->answer.members[i];

		if (r->name.n == strlen(name) && !memcmp(r->name.s, name, r->name.n))
			return r;
	}
	return NULL;
}

static void cluster_shows_members_as_they_are(void **state)
{
	struct world *w = *state;
	struct actor *asker = &w->actors[READER], *node = &w->actors[NODE1];
	struct kban_heartbeat h = {
		.cluster = w->identity.cluster, .place = {.epoch = 1}, .version = "0.1.0"};
	struct kban_message beat = {.kind = KBAN_MSG_HEARTBEAT};
	uint8_t *bytes;

	greet_all(w);
	broker_gone(w->b, w->actors[NODE2].peer);
	world_pass(w, 7);
	h.fold_version = kban_fold_newest;
	kban_heartbeat_seal(&h, &node->keys, &bytes, &beat.heartbeat);
	send_message(w, node, &beat);
	submit_revoke(w, &w->actors[OPERATOR], &w->actors[NODE3].keys.sign_public);
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, asker, KBAN_QUERY_CLUSTER,
								     0);
	assert_int_equal(m->answer.members_n, ACTORS);
	assert_int_equal(m->answer.next, 0);
	assert_int_equal(m->answer.place.seq, 2);
	const struct kban_member_row *r = member(m, "mail1");
	assert_true(r->connected);
	assert_int_equal(r->role, KBAN_ROLE_NODE);
	assert_true(r->seen_ms == WORLD_START_MS + 7);
	assert_memory_equal(r->address.s, "192.0.2.1", 9);
	assert_true(r->has_heartbeat);
	assert_memory_equal(r->heartbeat.report, beat.heartbeat.report, beat.heartbeat.report_len);
	assert_memory_equal(&r->key, &node->keys.sign_public, sizeof(r->key));
	free(bytes);
	assert_false(member(m, "mail2")->connected);
	assert_false(member(m, "mail2")->has_heartbeat);
	assert_int_equal(member(m, "mail3")->revoked_seq, 2);
}

static void cluster_proves_every_member_up_to_the_root(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	struct actor token = {.name = "mail4"};
	struct kban_keypair joined;
	struct kban_event e = {.kind = KBAN_EVENT_INVITE};
	kban_auto(ledger_free) struct ledger *l = NULL;

	greet_all(w);
	keys_from(&token.keys, 500);
	keys_from(&joined, 501);
	submit_ban(w, op, "192.0.2.1");
	e.invite = (struct kban_event_invite){token.keys.sign_public, token.keys.curve_public,
					      KBAN_ROLE_NODE, kban_text(token.name), HOUR_MS};
	submit(w, op, &e, 1);
	commit(w);
	submit_ban(w, op, "192.0.2.2");
	commit(w);
	kban_message_free(greet(w, &token));
	e = (struct kban_event){.kind = KBAN_EVENT_JOIN};
	kban_join_prove(&e.join, &joined, &w->identity.cluster, &token.keys.sign_public);
	submit(w, &token, &e, 1);
	submit_revoke(w, op, &w->actors[NODE3].keys.sign_public);
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_CLUSTER, 0);
	static const uint64_t want[] = {1, 3, 5, 6};
	assert_int_equal(m->answer.proofs_n, KBAN_ARRAY_LEN(want));
	ledger_new(&l, &w->root.sign_public);
	for (size_t i = 0; i < m->answer.proofs_n; i++) {
		kban_auto(kban_report_free) struct kban_report *r = NULL;
		const struct kban_entry *proof = &m->answer.proofs[i];
		struct kban_place before = {.epoch = 1, .seq = proof->seq - 1};

		assert_int_equal(proof->seq, want[i]);
		assert_int_equal(kban_report_decode(&r, &proof->sealed), 0);
		assert_true(kban_report_check(r, &proof->sealed));
		ledger_set_place(l, &before);
		ledger_apply(l, proof, r, NULL, NULL);
	}
	for (size_t i = 0; i < m->answer.members_n; i++) {
		const struct kban_member_row *r = &m->answer.members[i];
		const struct ledger_principal *p = ledger_principal(l, &r->key);

		assert_non_null(p);
		assert_int_equal(p->role, r->role);
		assert_int_equal(p->revoked_seq, r->revoked_seq);
		assert_memory_equal(p->name, r->name.s, r->name.n);
	}
	assert_non_null(member(m, "mail4"));
	assert_int_equal(m->answer.invites_n, 1);
	assert_int_equal(m->answer.invites[0].used_seq, 5);
}

static void cluster_proves_the_brokers_addresses(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	struct kban_event e = {.kind = KBAN_EVENT_BROKER_ADDRESS};
	struct kban_prefix address;

	greet_all(w);
	submit_ban(w, op, "192.0.2.1");
	assert_int_equal(kban_prefix_parse(&address, "192.0.2.250"), 0);
	e.broker_address = (struct kban_event_broker_address){.curve = {{7}},
							      .endpoint = kban_text("tcp://b:1"),
							      .addresses_n = 1,
							      .addresses = &address};
	submit(w, op, &e, 1);
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_CLUSTER, 0);
	assert_int_equal(m->answer.proofs_n, 2); /* the first grants, and that */
	assert_int_equal(m->answer.proofs[1].seq, 3);
}

static void a_large_cluster_comes_in_pages(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	uint64_t after = 0, proved = 0;
	size_t members = 0, invites = 0, pages = 0;

	greet_all(w);
	for (unsigned i = 0; i < 1500; i++) {
		char name[16];
		struct kban_keypair k;

		snprintf(name, sizeof(name), "m%u", i);
		keys_from(&k, 1000 + i);
		struct kban_event e = {.kind = KBAN_EVENT_INVITE};
		e.invite = (struct kban_event_invite){k.sign_public, k.curve_public, KBAN_ROLE_NODE,
						      kban_text(name), HOUR_MS};
		submit(w, op, &e, 1);
		if (i % 500 == 499)
			commit(w);
	}
	do {
		kban_auto(kban_message_free) struct kban_message *m = answer(
			w, op, KBAN_QUERY_CLUSTER, after);

		members += m->answer.members_n;
		invites += m->answer.invites_n;
		for (size_t i = 0; i < m->answer.proofs_n; i++)
			assert_int_equal(m->answer.proofs[i].seq, ++proved);
		after = m->answer.next;
		pages++;
	} while (after);
	assert_int_equal(members, ACTORS);
	assert_int_equal(invites, 1500);
	assert_int_equal(proved, 1501);
	assert_true(pages > 3 && pages < 12);
}

static void a_new_nonce_probes_every_subscribed_node_once(void **state)
{
	struct world *w = *state;
	struct kban_place head = head_of_log(w);
	struct kban_query q = {.kind = KBAN_QUERY_CLUSTER, .nonce = {"0123456789abcdef", 16}};

	greet_all(w);
	subscribe(w, &w->actors[NODE1], &head, 10);
	subscribe(w, &w->actors[FEEDER], &head, 10);
	forget_sent(w);
	ask(w, &w->actors[OPERATOR], &q);
	kban_auto(kban_message_free) struct kban_message *m = take(w, w->actors[NODE1].peer,
								   KBAN_MSG_PROBE);
	assert_int_equal(m->probe.nonce.n, 16);
	assert_memory_equal(m->probe.nonce.s, q.nonce.s, 16);
	ask(w, &w->actors[OPERATOR], &q);
	assert_true(nothing_for(w, w->actors[NODE1].peer));
	assert_true(nothing_for(w, w->actors[NODE2].peer));
	assert_true(nothing_for(w, w->actors[FEEDER].peer));
	q.nonce = (struct kban_text){"fedcba9876543210", 16};
	ask(w, &w->actors[NODE2], &q); /* a node makes no other node sign */
	assert_true(nothing_for(w, w->actors[NODE1].peer));
}

/* Bans -------------------------------------------------------------------------------------- */

static void a_ban_is_shown_with_who_why_and_how_long(void **state)
{
	struct world *w = *state;
	struct actor *op = &w->actors[OPERATOR];
	struct kban_event longer = ban_event("192.0.2.1");

	greet_all(w);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	commit(w);
	world_pass(w, 1000);
	longer.ban.duration_ms = 2 * HOUR_MS;
	longer.ban.reason = kban_text("by hand");
	struct kban_event events[] = {ban_event("192.0.2.7"), longer};
	submit(w, op, events, 2);
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_BANS, 0);
	assert_int_equal(m->answer.bans_n, 2);
	const struct kban_ban_row *r = &m->answer.bans[0];
	assert_true(r->since_ms == WORLD_START_MS + 1000);
	assert_true(r->until_ms == WORLD_START_MS + 1000 + 2 * HOUR_MS);
	assert_memory_equal(r->author.s, "alice", 5);
	assert_int_equal(r->reason.n, 7);
	assert_memory_equal(r->reason.s, "by hand", 7);
	assert_memory_equal(r->rule.s, "smtp-auth", 9);
	assert_int_equal(r->count, 10);
	assert_int_equal(r->sources, 2);
	assert_int_equal(m->answer.bans[1].sources, 1);
	world_pass(w, HOUR_MS);
	kban_message_free(m);
	m = answer(w, &w->actors[READER], KBAN_QUERY_BANS, 0);
	assert_int_equal(m->answer.bans_n,
			 1); /* what has run out is not shown, in a quiet fleet too */
	assert_int_equal(m->answer.bans[0].sources, 1);
}

static size_t all_bans(struct world *w, struct actor *a, const char *overlap, size_t *pages)
{
	struct kban_query q = {.kind = KBAN_QUERY_BANS};
	struct kban_prefix last = {0};
	size_t n = 0;

	if (overlap) {
		q.has_prefix = true;
		assert_int_equal(kban_prefix_parse(&q.prefix, overlap), 0);
	}
	*pages = 0;
	do {
		ask(w, a, &q);
		kban_auto(kban_message_free) struct kban_message *m = take(w, a->peer,
									   KBAN_MSG_ANSWER);

		for (size_t i = 0; i < m->answer.bans_n; i++) {
			assert_true(!n || kban_prefix_cmp(&last, &m->answer.bans[i].prefix) < 0);
			last = m->answer.bans[i].prefix;
			n++;
		}
		q.after = m->answer.next;
		++*pages;
	} while (q.after);
	return n;
}

static void make_bans(struct world *w, unsigned n)
{
	struct kban_event events[250];

	for (unsigned i = 0; i < n; i++) {
		events[i % 250] = ban_event("198.18.0.0");
		events[i % 250].ban.prefix.addr[2] = (uint8_t)(i >> 8);
		events[i % 250].ban.prefix.addr[3] = (uint8_t)i;
		if (i % 250 == 249 || i == n - 1)
			submit(w, &w->actors[OPERATOR], events, i % 250 + 1);
	}
	commit(w);
}

static void many_bans_come_in_pages_in_order(void **state)
{
	struct world *w = *state;
	size_t pages;

	greet_all(w);
	make_bans(w, 3000);
	assert_int_equal(all_bans(w, &w->actors[READER], NULL, &pages), 3000);
	assert_true(pages >= 6);
}

static void pages_neither_skip_nor_repeat_while_bans_come_and_go(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_event unban = {.kind = KBAN_EVENT_UNBAN};
	kban_auto(kban_message_free) struct kban_message *first = NULL, *second = NULL;

	greet_all(w);
	make_bans(w, 1100);
	first = answer(w, a, KBAN_QUERY_BANS, 0);
	assert_int_not_equal(first->answer.next, 0);
	size_t n = first->answer.bans_n;
	unban.unban.prefix = first->answer.bans[n - 1].prefix;
	submit(w, &w->actors[OPERATOR], &unban, 1);
	submit_ban(w, &w->actors[OPERATOR], "1.2.3.4");
	commit(w);
	second = answer(w, a, KBAN_QUERY_BANS, first->answer.next);
	struct kban_prefix want = first->answer.bans[n - 1].prefix;
	want.addr[3]++;
	if (!want.addr[3])
		want.addr[2]++;
	assert_true(kban_prefix_equal(&second->answer.bans[0].prefix, &want));
	ask(w, a, &(struct kban_query){.kind = KBAN_QUERY_BANS, .after = first->answer.next});
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_MALFORMED); /* that page is gone */
}

static void a_prefix_shows_what_is_inside_and_what_covers_it(void **state)
{
	struct world *w = *state;
	struct kban_event events[] = {ban_event("198.18.0.0/16"), ban_event("198.18.5.0/24"),
				      ban_event("198.18.5.7"), ban_event("198.18.6.1"),
				      ban_event("2001:db8::/32")};
	size_t pages;

	greet_all(w);
	submit(w, &w->actors[OPERATOR], events, KBAN_ARRAY_LEN(events));
	commit(w);
	assert_int_equal(all_bans(w, &w->actors[READER], "198.18.5.7", &pages), 3);
	assert_int_equal(all_bans(w, &w->actors[READER], "198.18.5.0/24", &pages), 3);
	assert_int_equal(all_bans(w, &w->actors[READER], "198.18.6.2", &pages), 1);
	assert_int_equal(all_bans(w, &w->actors[READER], "192.0.2.1", &pages), 0);
	assert_int_equal(all_bans(w, &w->actors[READER], "2001:db8::1", &pages), 1);
	assert_int_equal(all_bans(w, &w->actors[READER], "0.0.0.0/0", &pages), 4);
}

/* Safe ranges ------------------------------------------------------------------------------- */

static void safe_ranges_are_shown_held_ones_too(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD};

	greet_all(w);
	assert_int_equal(kban_prefix_parse(&e.safe_add.prefix, "192.0.2.0/24"), 0);
	e.safe_add.reason = kban_text("the office");
	submit(w, &w->actors[OPERATOR], &e, 1);
	assert_int_equal(kban_prefix_parse(&e.safe_add.prefix, "10.0.0.0/8"), 0);
	submit(w, &w->actors[NODE1], &e, 1);
	commit(w);
	kban_auto(kban_message_free) struct kban_message *m = answer(w, &w->actors[READER],
								     KBAN_QUERY_SAFE, 0);
	assert_int_equal(m->answer.safes_n, 2);
	assert_int_equal(m->answer.safes[0].state, LEDGER_SAFE_HELD);
	assert_memory_equal(m->answer.safes[0].author.s, "mail1", 5);
	assert_memory_equal(&m->answer.safes[0].owner, &w->actors[NODE1].keys.sign_public, 32);
	assert_int_equal(m->answer.safes[1].state, LEDGER_SAFE_ACTIVE);
	assert_memory_equal(m->answer.safes[1].reason.s, "the office", 10);
	assert_int_equal(m->answer.safes[1].until_ms, 0);
	kban_message_free(m);
	m = answer_to(w, &w->actors[READER],
		      &(struct kban_query){.kind = KBAN_QUERY_SAFE,
					   .has_prefix = true,
					   .prefix = prefix_of("192.0.2.7")});
	assert_int_equal(m->answer.safes_n, 1);
	assert_memory_equal(m->answer.safes[0].author.s, "alice", 5);
}

static void many_safe_ranges_come_in_pages(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];
	struct kban_event events[200];
	uint64_t after = 0;
	size_t n = 0;

	greet_all(w);
	for (unsigned i = 0; i < 1000; i++) { /* two owners of each */
		struct kban_event *e = &events[i % 200];

		*e = (struct kban_event){.kind = KBAN_EVENT_SAFE_ADD};
		assert_int_equal(kban_prefix_parse(&e->safe_add.prefix, "192.0.0.0"), 0);
		e->safe_add.prefix.addr[2] = (uint8_t)(i >> 8);
		e->safe_add.prefix.addr[3] = (uint8_t)i;
		if (i % 200 != 199)
			continue;
		submit(w, &w->actors[OPERATOR], events, 200);
		submit(w, &w->actors[NODE1], events, 200);
	}
	commit(w);
	do {
		kban_auto(kban_message_free) struct kban_message *m = answer(w, a, KBAN_QUERY_SAFE,
									     after);

		for (size_t i = 0; i < m->answer.safes_n; i++, n++) {
			const struct kban_prefix *p = &m->answer.safes[i].prefix;

			assert_int_equal(p->addr[2] * 256 + p->addr[3], n / 2);
		}
		after = m->answer.next;
	} while (after);
	assert_int_equal(n, 2000);
}

/* Policy ------------------------------------------------------------------------------------ */

static void policy_is_proved_by_the_entry_that_set_it(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	greet_all(w);
	m = answer(w, &w->actors[READER], KBAN_QUERY_POLICY, 0);
	assert_int_equal(m->answer.proofs_n, 0); /* the default */
	kban_message_free(m);
	for (unsigned i = 1; i <= 2; i++) {
		submit_ban(w, &w->actors[NODE1], "192.0.2.1");
		e.policy.quota_per_hour = i;
		submit(w, &w->actors[OPERATOR], &e, 1);
	}
	submit_ban(w, &w->actors[NODE2], "192.0.2.1");
	commit(w);
	m = answer(w, &w->actors[READER], KBAN_QUERY_POLICY, 0);
	assert_int_equal(m->answer.proofs_n, 1);
	assert_int_equal(m->answer.proofs[0].seq, 5);
	assert_int_equal(kban_report_decode(&r, &m->answer.proofs[0].sealed), 0);
	assert_true(kban_report_check(r, &m->answer.proofs[0].sealed));
	assert_int_equal(r->events[0].policy.quota_per_hour, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(who_may_ask_what_depends_on_the_role),
		world_test(cluster_shows_members_as_they_are),
		world_test(cluster_proves_every_member_up_to_the_root),
		world_test(cluster_proves_the_brokers_addresses),
		world_test(a_large_cluster_comes_in_pages),
		world_test(a_new_nonce_probes_every_subscribed_node_once),
		world_test(a_ban_is_shown_with_who_why_and_how_long),
		world_test(many_bans_come_in_pages_in_order),
		world_test(pages_neither_skip_nor_repeat_while_bans_come_and_go),
		world_test(a_prefix_shows_what_is_inside_and_what_covers_it),
		world_test(safe_ranges_are_shown_held_ones_too),
		world_test(many_safe_ranges_come_in_pages),
		world_test(policy_is_proved_by_the_entry_that_set_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
