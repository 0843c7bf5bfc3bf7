/* SPDX-License-Identifier: MPL-2.0
 *
 * Sessions, reports, receipts, joins, revocations: what the broker says to whom, and when.
 */
#include "broker/test/world.h"

/* Start ------------------------------------------------------------------------------------- */

static void an_empty_log_takes_the_genesis_report(void **state)
{
	struct world *w = *state;
	const struct ledger_principal *p = ledger_principal_by_name(broker_ledger(w->b), "mail1",
								    5);

	assert_int_equal(head_of_log(w).seq, 1);
	assert_non_null(p);
	assert_int_equal(p->role, KBAN_ROLE_NODE);
}

static void a_restart_folds_the_same_ledger(void **state)
{
	struct world *w = *state;
	struct kban_hash before, after;
	struct kban_place place;

	greet_all(w);
	for (int i = 0; i < 3000; i++) {
		char address[32];

		snprintf(address, sizeof(address), "198.18.%d.%d", i / 256, i % 256);
		submit_ban(w, &w->actors[OPERATOR], address);
		if (i % 1000 == 999)
			commit(w);
	}
	place = head_of_log(w);
	ledger_digest(broker_ledger(w->b), &before);
	restart_broker(w);
	ledger_digest(broker_ledger(w->b), &after);
	assert_int_equal(place.seq, 3001);
	assert_memory_equal(&before, &after, sizeof(before));
	struct kban_place now = head_of_log(w);
	assert_int_equal(now.seq, place.seq);
	assert_memory_equal(&now.chain, &place.chain, sizeof(place.chain));
}

static int broken_chain(struct store *s, uint64_t seq, struct kban_hash *out)
{
	int r = disk_chain(s, seq, out);

	if (seq >= 3)
		out->b[0] ^= 1;
	return r;
}

static void a_log_whose_chain_differs_is_refused_and_the_entry_named(void **state)
{
	struct world *w = *state;
	struct store_ops ops = disk_ops;
	struct broker *b;
	char *error = NULL;

	greet_all(w);
	for (int i = 0; i < 4; i++)
		submit_ban(w, &w->actors[OPERATOR],
			   (const char *[]){"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}[i]);
	commit(w);
	ops.chain = broken_chain;
	w->disk.base.ops = &ops;
	assert_int_not_equal(broker_new(&b, &w->identity, &w->disk.base, &w->clock, &w->transport,
					&w->genesis, &error),
			     0);
	assert_non_null(strstr(error, "entry 3 of the log is not what was written there"));
	free(error);
	w->disk.base.ops = &disk_ops;
}

static void genesis_must_be_there_and_signed_by_the_root_key(void **state)
{
	struct world *w = world_make();
	struct broker *b;
	char *error = NULL;

	(void)state;
	assert_int_not_equal(
		broker_new(&b, &w->identity, &w->disk.base, &w->clock, &w->transport, NULL, &error),
		0);
	assert_non_null(strstr(error, "set genesis"));
	free(error);
	w->genesis_bytes[w->genesis.report_len] ^= 1; /* the signature */
	assert_int_not_equal(broker_new(&b, &w->identity, &w->disk.base, &w->clock, &w->transport,
					&w->genesis, &error),
			     0);
	assert_non_null(strstr(error, "not signed by the root key"));
	free(error);
	w->genesis_bytes[w->genesis.report_len] ^= 1;
	w->genesis_bytes[2] ^= 1;
	assert_int_not_equal(broker_new(&b, &w->identity, &w->disk.base, &w->clock, &w->transport,
					&w->genesis, &error),
			     0);
	assert_non_null(strstr(error, "genesis report"));
	free(error);
	void *p = w;
	world_down(&p);
}

/* Sessions ---------------------------------------------------------------------------------- */

static void welcome_names_head_digest_time_and_session(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	kban_auto(kban_message_free) struct kban_message *m = greet(w, a);
	struct kban_hash digest;
	uint8_t none[KBAN_SESSION_SIZE] = {0};

	ledger_digest(broker_ledger(w->b), &digest);
	assert_int_equal(m->welcome.head.seq, 1);
	assert_memory_equal(&m->welcome.digest, &digest, sizeof(digest));
	assert_true(m->welcome.broker_ms == WORLD_START_MS);
	assert_memory_not_equal(m->welcome.session, none, sizeof(none));
	assert_false(m->welcome.has_newest);
}

static void welcome_brings_an_operator_its_newest_report(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[OPERATOR];
	struct kban_event e = ban_event("192.0.2.1");

	kban_message_free(greet(w, a));
	submit_ban(w, a, "192.0.2.2");
	struct sealed_report s = seal(w, a, &e, 1);
	send_sealed(w, a, &s.sealed);
	commit(w);
	restart_broker(w); /* from the store, too */
	kban_auto(kban_message_free) struct kban_message *m = greet(w, a);
	assert_true(m->welcome.has_newest);
	assert_int_equal(m->welcome.newest.report_len, s.sealed.report_len);
	assert_memory_equal(m->welcome.newest.report, s.sealed.report, s.sealed.report_len);
	assert_memory_equal(m->welcome.newest.signature, s.sealed.signature, KBAN_SIGNATURE_SIZE);
	free(s.bytes);
}

static void a_hello_for_another_cluster_version_or_fold_is_refused_by_name(void **state)
{
	struct world *w = *state;
	struct kban_hello good = {.min_version = 1,
				  .max_version = 1,
				  .fold_version = kban_fold_newest,
				  .cluster = w->identity.cluster,
				  .program = kban_text("test")};
	struct kban_hello cluster = good, newer = good, fold = good;
	struct actor *a = &w->actors[NODE1];
	const struct {
		const struct kban_hello *hello;
		int reason;
	} cases[] = {{&cluster, KBAN_REFUSAL_WRONG_CLUSTER},
		     {&newer, KBAN_REFUSAL_VERSION},
		     {&fold, KBAN_REFUSAL_UPGRADE_NEEDED}};

	cluster.cluster.b[0] ^= 1;
	newer.min_version = 2;
	newer.max_version = 3;
	fold.fold_version = 0;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		send_hello(w, a, cases[i].hello);
		assert_int_equal(take_denial(w, a->peer), cases[i].reason);
		assert_true(take_cut(w, a->peer));
		assert_true(nothing_for(w, a->peer));
	}
	assert_int_equal(broker_counts(w->b)->peers, 0);
}

static void a_message_without_the_session_is_not_processed(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];

	kban_message_free(greet(w, a));
	a->peer = ++w->next_peer; /* a DEALER that reconnected unseen */
	submit_ban(w, a, "192.0.2.1");
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_UNKNOWN_SESSION);
	assert_false(broker_pending(w->b));
	kban_message_free(greet(w, a));
	a->session[0] ^= 1;
	submit_ban(w, a, "192.0.2.1");
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_UNKNOWN_SESSION);
	assert_false(broker_pending(w->b));
	assert_int_equal(head_of_log(w).seq, 1);
}

static void garbage_is_counted_and_then_cut_off(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 20260102;
	unsigned next = seed;

	printf("SEED=%u\n", seed);
	for (int round = 0; round < 200; round++) {
		kban_message_free(greet(w, a));
		for (int i = 0; i <= BROKER_BAD_MAX; i++) {
			uint8_t bytes[300];
			size_t len = (size_t)rand_r(&next) % sizeof(bytes);

			for (size_t j = 0; j < len; j++)
				bytes[j] = (uint8_t)rand_r(&next);
			if (len)
				bytes[0] = 0xff; /* never a readable message */
			send_bytes(w, a, bytes, len);
			assert_int_equal(i == BROKER_BAD_MAX, find_sent(w, a->peer, 0) != NULL);
		}
		forget_sent(w);
	}
	assert_int_equal(broker_counts(w->b)->malformed, 200 * (BROKER_BAD_MAX + 1));
	assert_int_equal(broker_counts(w->b)->peers, 0);
	assert_int_equal(head_of_log(w).seq, 1);
}

static void flipped_bits_never_get_into_the_log(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_event e = ban_event("192.0.2.1");
	struct sealed_report s = seal(w, a, &e, 1);
	struct kban_message m = {
		.kind = KBAN_MSG_SUBMIT, .version = 1, .has_session = true, .submit = s.sealed};
	uint8_t *bytes;
	size_t len;

	kban_message_free(greet(w, a));
	memcpy(m.session, a->session, sizeof(m.session));
	kban_message_encode(&bytes, &len, &m);
	for (size_t i = 0; i < len * 8; i++) {
		uint8_t *copy = kban_memdup(bytes, len);

		copy[i / 8] ^= (uint8_t)(1 << i % 8);
		send_bytes(w, a, copy, len);
		free(copy);
		if (take_cut(w, a->peer)) {
			kban_message_free(greet(w, a));
			memcpy(m.session, a->session, sizeof(m.session));
			free(bytes);
			kban_message_encode(&bytes, &len, &m);
		}
		assert_false(broker_pending(w->b));
	}
	free(bytes);
	free(s.bytes);
}

static void what_only_brokers_send_is_malformed(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_message m = {.kind = KBAN_MSG_PROBE};

	kban_message_free(greet(w, a));
	send_message(w, a, &m);
	assert_int_equal(broker_counts(w->b)->malformed, 1);
}

static void silent_peers_are_cut(void **state)
{
	struct world *w = *state;
	struct actor *quiet = &w->actors[NODE1], *loud = &w->actors[NODE2];

	kban_message_free(greet(w, quiet));
	world_pass(w, BROKER_SILENT_MS - 1);
	kban_message_free(greet(w, loud));
	broker_tick(w->b);
	assert_false(take_cut(w, quiet->peer));
	world_pass(w, 1);
	broker_tick(w->b);
	assert_true(take_cut(w, quiet->peer));
	assert_false(take_cut(w, loud->peer));
	assert_int_equal(broker_counts(w->b)->peers, 1);
}

static void one_key_has_few_connections_and_the_oldest_goes(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	uint64_t first = 0;

	for (int i = 0; i < 40; i++) {
		kban_message_free(greet(w, a));
		if (!first)
			first = a->peer;
		world_pass(w, 1);
	}
	assert_true(take_cut(w, first));
	assert_int_equal(broker_counts(w->b)->peers, 32);
	assert_int_equal(broker_counts(w->b)->cut, 8);
}

/* Reports ----------------------------------------------------------------------------------- */

static void nothing_leaves_before_the_commit(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1], *follower = &w->actors[NODE2];
	struct kban_place head = head_of_log(w);
	uint64_t last = 1;

	greet_all(w);
	subscribe(w, follower, &head, 100);
	take_entries(w, follower->peer, &last);
	submit_ban(w, a, "192.0.2.1");
	assert_true(broker_pending(w->b));
	assert_true(nothing_for(w, a->peer));
	assert_true(nothing_for(w, follower->peer));
	commit(w);
	struct receipt r = take_receipt(w, a->peer);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.outcome, KBAN_OUTCOME_COUNTED);
	assert_int_equal(r.seq, 2);
	assert_true(r.accepted_ms == WORLD_START_MS);
	assert_int_equal(take_entries(w, follower->peer, &last), 1);
	assert_false(broker_pending(w->b));
}

static void one_commit_serves_many_reports(void **state)
{
	struct world *w = *state;

	greet_all(w);
	for (int i = NODE1; i <= NODE3; i++)
		submit_ban(w, &w->actors[i], "192.0.2.1");
	unsigned before = w->disk.commits;
	commit(w);
	assert_int_equal(w->disk.commits, before + 1);
	for (int i = NODE1; i <= NODE3; i++)
		assert_int_equal(take_receipt(w, w->actors[i].peer).seq, 2 + i - NODE1);
	assert_int_equal(broker_counts(w->b)->entries, 3);
}

static void what_cannot_count_is_answered_and_not_logged(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];

	greet_all(w);
	submit_ban(w, a, "127.0.0.1");
	struct receipt r = take_receipt(w, a->peer);
	assert_int_equal(r.refusal, 0);
	assert_int_equal(r.outcome, KBAN_OUTCOME_NEVER_BAN);
	assert_int_equal(r.seq, 0);
	submit_ban(w, a, "192.0.2.0/24");
	assert_int_equal(take_receipt(w, a->peer).outcome, KBAN_OUTCOME_LIMIT);
	assert_false(broker_pending(w->b));
	assert_int_equal(head_of_log(w).seq, 1);
}

static void a_judgement_on_what_is_folded_ahead_waits_for_the_commit(void **state)
{
	struct world *w = *state;
	struct kban_event safe = {.kind = KBAN_EVENT_SAFE_ADD};

	greet_all(w);
	assert_int_equal(kban_prefix_parse(&safe.safe_add.prefix, "192.0.2.0/24"), 0);
	submit(w, &w->actors[OPERATOR], &safe, 1);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	assert_true(nothing_for(w, w->actors[NODE1].peer));
	commit(w);
	assert_int_equal(take_receipt(w, w->actors[NODE1].peer).outcome, KBAN_OUTCOME_SAFE);
	assert_int_equal(head_of_log(w).seq, 2);
}

static void a_duplicate_is_answered_with_its_place_once_that_is_durable(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_event e = ban_event("192.0.2.1");

	greet_all(w);
	struct sealed_report s = seal(w, a, &e, 1);
	send_sealed(w, a, &s.sealed);
	world_pass(w, 5);
	send_sealed(w, a, &s.sealed);
	assert_true(nothing_for(w, a->peer));
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).refusal, 0);
	for (int i = 0; i < 2; i++) { /* in the same batch, and afterwards at once */
		struct receipt r = take_receipt(w, a->peer);

		assert_int_equal(r.refusal, KBAN_REFUSAL_DUPLICATE);
		assert_int_equal(r.seq, 2);
		assert_true(r.accepted_ms == WORLD_START_MS);
		assert_memory_equal(&r.hash, &s.hash, sizeof(s.hash));
		if (!i)
			send_sealed(w, a, &s.sealed);
	}
	assert_int_equal(head_of_log(w).seq, 2);
	free(s.bytes);
}

static void another_ones_report_is_refused(void **state)
{
	struct world *w = *state;
	struct kban_event e = ban_event("192.0.2.1");

	greet_all(w);
	struct sealed_report s = seal(w, &w->actors[NODE2], &e, 1);
	send_sealed(w, &w->actors[NODE1], &s.sealed);
	assert_int_equal(take_receipt(w, w->actors[NODE1].peer).refusal, KBAN_REFUSAL_NOT_YOURS);
	free(s.bytes);
}

static void forged_and_foreign_reports_are_refused_by_name(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_event e = ban_event("192.0.2.1");

	greet_all(w);
	struct sealed_report s = seal(w, a, &e, 1);
	s.bytes[s.sealed.report_len] ^= 1;
	send_sealed(w, a, &s.sealed);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_BAD_SIGNATURE);
	free(s.bytes);
	w->identity.cluster.b[0] ^= 1;
	s = seal(w, a, &e, 1);
	w->identity.cluster.b[0] ^= 1;
	send_sealed(w, a, &s.sealed);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_WRONG_CLUSTER);
	free(s.bytes);
	s = seal(w, a, &e, 1);
	s.bytes[0] = 0xff;
	send_sealed(w, a, &s.sealed);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_MALFORMED);
	free(s.bytes);
	assert_int_equal(head_of_log(w).seq, 1);
}

static void an_entry_is_never_older_than_the_one_before(void **state)
{
	struct world *w = *state;

	greet_all(w);
	w->wall_ms -= 10000;
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	commit(w);
	assert_true(take_receipt(w, w->actors[NODE1].peer).accepted_ms == WORLD_START_MS);
}

static void a_full_batch_says_busy(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[OPERATOR];

	greet_all(w);
	for (int i = 0; i < BROKER_BATCH_MAX; i++) {
		char address[32];

		snprintf(address, sizeof(address), "198.18.%d.%d", i / 256, i % 256);
		submit_ban(w, a, address);
	}
	assert_true(nothing_for(w, a->peer));
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	for (int i = 0; i < BROKER_BATCH_MAX; i++)
		assert_int_equal(take_receipt(w, a->peer).refusal, 0);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_BUSY);
}

/* Disk full --------------------------------------------------------------------------------- */

static void a_full_disk_refuses_by_name_and_takes_back_what_was_folded(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_hash before, after;
	struct kban_event e = ban_event("192.0.2.1");

	greet_all(w);
	ledger_digest(broker_ledger(w->b), &before);
	struct sealed_report s = seal(w, a, &e, 1);
	send_sealed(w, a, &s.sealed);
	send_sealed(w, a, &s.sealed);
	w->disk.full = true;
	commit(w);
	for (int i = 0; i < 2; i++) {
		struct receipt r = take_receipt(w, a->peer);

		assert_int_equal(r.refusal, KBAN_REFUSAL_DISK_FULL);
		assert_int_equal(r.seq, 0);
		assert_int_equal(r.outcomes_n, 0);
	}
	ledger_digest(broker_ledger(w->b), &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(head_of_log(w).seq, 1);
	send_sealed(w, a, &s.sealed); /* too early for another try: no refold for each report */
	assert_false(broker_pending(w->b));
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
	w->disk.full = false;
	world_pass(w, 5000);
	send_sealed(w, a, &s.sealed);
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).seq, 2);
	free(s.bytes);
}

static unsigned reads;

static int counted_read(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	reads++;
	return disk_read(s, after, max, fn, arg);
}

static void a_disk_that_stays_full_is_tried_without_folding_the_log_anew(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct store_ops ops = disk_ops;

	greet_all(w);
	ops.read = counted_read;
	w->disk.base.ops = &ops;
	w->disk.full = true;
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
	reads = 0;
	for (int i = 0; i < 5; i++) {
		unsigned commits = w->disk.commits;

		world_pass(w, 60000);
		submit_ban(w, a, "192.0.2.1");
		assert_false(broker_pending(w->b));
		assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
		assert_int_equal(w->disk.commits, commits + 1);
		submit_ban(w, a, "192.0.2.1");
		assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
		assert_int_equal(w->disk.commits, commits + 1);
	}
	assert_int_equal(reads, 0);
	w->disk.full = false;
	world_pass(w, 60000);
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).seq, 2);
	assert_false(broker_counts(w->b)->disk_full);
	w->disk.base.ops = &disk_ops;
}

static void a_disk_that_has_room_for_the_try_only_is_full_again(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];

	greet_all(w);
	w->disk.full = true;
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	take_receipt(w, a->peer);
	w->disk.full = false;
	world_pass(w, 5000);
	submit_ban(w, a, "192.0.2.1");
	w->disk.full = true;
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
	w->disk.full = false;
	world_pass(w, 5000); /* the pause is twice as long */
	submit_ban(w, a, "192.0.2.1");
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
	world_pass(w, 5000);
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).seq, 2);
}

static void a_revocation_that_the_disk_did_not_take_never_was(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];

	greet_all(w);
	submit_revoke(w, &w->actors[OPERATOR], &a->keys.sign_public);
	submit_ban(w, a, "192.0.2.1");
	w->disk.full = true;
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).refusal, KBAN_REFUSAL_DISK_FULL);
	assert_true(nothing_for(w, a->peer));
	assert_true(broker_admits(w->b, &a->keys.curve_public, NULL));
	w->disk.full = false;
	world_pass(w, 5000);
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, a->peer).seq, 2);
}

/* Joining ----------------------------------------------------------------------------------- */

static void invite(struct world *w, struct actor *token, unsigned number)
{
	struct kban_event e = {.kind = KBAN_EVENT_INVITE};

	keys_from(&token->keys, number);
	e.invite = (struct kban_event_invite){token->keys.sign_public, token->keys.curve_public,
					      KBAN_ROLE_NODE, kban_text(token->name), 24 * HOUR_MS};
	submit(w, &w->actors[OPERATOR], &e, 1);
	commit(w);
	assert_int_equal(take_receipt(w, w->actors[OPERATOR].peer).outcome, KBAN_OUTCOME_COUNTED);
}

static struct kban_event join_event(struct world *w, const struct actor *token,
				    const struct kban_keypair *keys)
{
	struct kban_event e = {.kind = KBAN_EVENT_JOIN};

	kban_join_prove(&e.join, keys, &w->identity.cluster, &token->keys.sign_public);
	return e;
}

static void a_joiner_gets_one_receipt_and_is_cut(void **state)
{
	struct world *w = *state;
	struct actor token = {.name = "mail4"}, joined = {.name = "mail4", .role = KBAN_ROLE_NODE};
	const char *reason = NULL;

	greet_all(w);
	keys_from(&joined.keys, 501);
	assert_false(broker_admits(w->b, &joined.keys.curve_public, &reason));
	assert_string_equal(reason, "unknown key");
	invite(w, &token, 500);
	assert_true(broker_admits(w->b, &token.keys.curve_public, &reason));
	kban_message_free(greet(w, &token));
	struct kban_event e = join_event(w, &token, &joined.keys);
	submit(w, &token, &e, 1);
	assert_true(nothing_for(w, token.peer));
	commit(w);
	assert_int_equal(take_receipt(w, token.peer).outcome, KBAN_OUTCOME_COUNTED);
	assert_true(take_cut(w, token.peer));
	/* To be told that it was used, until its time is over. */
	assert_true(broker_admits(w->b, &token.keys.curve_public, &reason));
	assert_true(broker_admits(w->b, &joined.keys.curve_public, &reason));
	kban_message_free(greet(w, &joined));
	submit_ban(w, &joined, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, joined.peer).outcome, KBAN_OUTCOME_COUNTED);
	w->wall_ms += 24 * HOUR_MS;
	assert_false(broker_admits(w->b, &token.keys.curve_public, &reason));
	assert_string_equal(reason, "invitation expired");
}

static void a_second_join_with_one_token_learns_of_the_first(void **state)
{
	struct world *w = *state;
	struct actor token = {.name = "mail4"}, first, second;
	struct kban_keypair a, b;
	char print[KBAN_FINGERPRINT_TEXT], want[128];

	greet_all(w);
	invite(w, &token, 500);
	first = second = token;
	keys_from(&a, 501);
	keys_from(&b, 502);
	kban_message_free(greet(w, &first));
	struct kban_event e = join_event(w, &token, &a);
	submit(w, &first, &e, 1);
	commit(w);
	kban_message_free(greet(w, &second));
	e = join_event(w, &token, &b);
	submit(w, &second, &e, 1);
	commit(w);
	assert_int_equal(take_receipt(w, first.peer).seq, 3);
	struct receipt r = take_receipt(w, second.peer);
	snprintf(want, sizeof(want), "used 2026-01-02T03:04:05Z by %s",
		 kban_fingerprint(print, &a.sign_public));
	assert_int_equal(r.refusal, KBAN_REFUSAL_INVITATION_USED);
	assert_string_equal(r.detail, want);
	assert_true(take_cut(w, second.peer));
	assert_null(ledger_principal(broker_ledger(w->b), &b.sign_public));
}

static void the_same_join_again_is_a_duplicate(void **state)
{
	struct world *w = *state;
	struct actor token = {.name = "mail4"}, again;
	struct kban_keypair keys;

	greet_all(w);
	invite(w, &token, 500);
	keys_from(&keys, 501);
	kban_message_free(greet(w, &token));
	again = token;
	kban_message_free(greet(w, &again));
	struct kban_event e = join_event(w, &token, &keys);
	struct sealed_report s = seal(w, &token, &e, 1);
	send_sealed(w, &token, &s.sealed);
	commit(w);
	send_sealed(w, &again, &s.sealed);
	struct receipt r = take_receipt(w, again.peer);
	assert_int_equal(r.refusal, KBAN_REFUSAL_DUPLICATE);
	assert_int_equal(r.seq, 3);
	free(s.bytes);
}

static void an_invitation_is_for_nothing_but_joining(void **state)
{
	struct world *w = *state;
	struct actor token = {.name = "mail4"};
	struct kban_place head;

	greet_all(w);
	invite(w, &token, 500);
	head = head_of_log(w);
	kban_message_free(greet(w, &token));
	subscribe(w, &token, &head, 10);
	assert_int_equal(take_denial(w, token.peer), KBAN_REFUSAL_DENIED);
	assert_true(take_cut(w, token.peer));
	kban_message_free(greet(w, &token));
	submit_ban(w, &token, "192.0.2.1");
	assert_int_equal(take_receipt(w, token.peer).refusal, KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_true(take_cut(w, token.peer));
}

static void an_expired_or_revoked_invitation_admits_nobody(void **state)
{
	struct world *w = *state;
	struct actor late = {.name = "late"}, gone = {.name = "gone"};
	const char *reason;

	greet_all(w);
	invite(w, &late, 500);
	invite(w, &gone, 501);
	kban_message_free(greet(w, &gone));
	submit_revoke(w, &w->actors[OPERATOR], &gone.keys.sign_public);
	commit(w);
	assert_int_equal(take_denial(w, gone.peer), KBAN_REFUSAL_REVOKED);
	assert_true(take_cut(w, gone.peer));
	assert_false(broker_admits(w->b, &gone.keys.curve_public, &reason));
	assert_string_equal(reason, "revoked");
	kban_message_free(greet(w, &late));
	world_pass(w, 24 * HOUR_MS);
	assert_false(broker_admits(w->b, &late.keys.curve_public, &reason));
	assert_string_equal(reason, "invitation expired");
	world_pass(w, 48 * HOUR_MS);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1"); /* with this entry the ledger forgets it */
	commit(w);
	submit_ban(w, &late, "192.0.2.1");
	assert_int_equal(take_denial(w, late.peer), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_true(take_cut(w, late.peer));
}

/* Revoking ---------------------------------------------------------------------------------- */

static void a_report_queued_behind_its_authors_revocation_is_refused(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];

	greet_all(w);
	submit_revoke(w, &w->actors[OPERATOR], &a->keys.sign_public);
	submit_ban(w, a, "192.0.2.1");
	commit(w);
	assert_int_equal(take_receipt(w, w->actors[OPERATOR].peer).seq, 2);
	struct receipt r = take_receipt(w, a->peer);
	assert_int_equal(r.refusal, KBAN_REFUSAL_REVOKED);
	assert_int_equal(r.seq, 0);
	assert_int_equal(head_of_log(w).seq, 2);
	assert_int_equal(ledger_bans_count(broker_ledger(w->b), w->wall_ms), 0);
	assert_true(take_cut(w, a->peer));
}

static void the_revoking_entry_is_the_last_thing_a_subscriber_gets(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[NODE1];
	struct kban_place head = head_of_log(w);
	uint64_t last = 1;
	const char *reason;

	greet_all(w);
	subscribe(w, a, &head, 1);
	take_entries(w, a->peer, &last);
	for (int i = 0; i < 5; i++) {
		submit_ban(w, &w->actors[NODE2],
			   (const char *[]){"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4",
					    "192.0.2.5"}[i]);
		if (i == 4)
			submit_revoke(w, &w->actors[OPERATOR], &a->keys.sign_public);
	}
	submit_ban(w, &w->actors[NODE3], "192.0.2.9");
	commit(w);
	take_entries(w, a->peer, &last);
	assert_int_equal(last, 7); /* not the one after it, and its window of one is past */
	assert_ptr_equal(find_sent(w, a->peer, 0), &w->sent[w->sent_n - 1]);
	assert_true(take_cut(w, a->peer));
	assert_true(nothing_for(w, a->peer));
	assert_false(broker_admits(w->b, &a->keys.curve_public, &reason));
	assert_string_equal(reason, "revoked");
	submit_ban(w, a, "192.0.2.20"); /* what the transport still had of it */
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_REVOKED);
	assert_true(take_cut(w, a->peer));
	assert_int_equal(head_of_log(w).seq, 8);
}

static void a_revoked_peer_without_subscription_is_told_and_cut(void **state)
{
	struct world *w = *state;
	struct actor *a = &w->actors[READER];

	greet_all(w);
	submit_revoke(w, &w->actors[OPERATOR], &a->keys.sign_public);
	commit(w);
	assert_int_equal(take_denial(w, a->peer), KBAN_REFUSAL_REVOKED);
	assert_true(take_cut(w, a->peer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(an_empty_log_takes_the_genesis_report),
		world_test(a_restart_folds_the_same_ledger),
		world_test(a_log_whose_chain_differs_is_refused_and_the_entry_named),
		cmocka_unit_test(genesis_must_be_there_and_signed_by_the_root_key),
		world_test(welcome_names_head_digest_time_and_session),
		world_test(welcome_brings_an_operator_its_newest_report),
		world_test(a_hello_for_another_cluster_version_or_fold_is_refused_by_name),
		world_test(a_message_without_the_session_is_not_processed),
		world_test(garbage_is_counted_and_then_cut_off),
		world_test(flipped_bits_never_get_into_the_log),
		world_test(what_only_brokers_send_is_malformed),
		world_test(silent_peers_are_cut),
		world_test(one_key_has_few_connections_and_the_oldest_goes),
		world_test(nothing_leaves_before_the_commit),
		world_test(one_commit_serves_many_reports),
		world_test(what_cannot_count_is_answered_and_not_logged),
		world_test(a_judgement_on_what_is_folded_ahead_waits_for_the_commit),
		world_test(a_duplicate_is_answered_with_its_place_once_that_is_durable),
		world_test(another_ones_report_is_refused),
		world_test(forged_and_foreign_reports_are_refused_by_name),
		world_test(an_entry_is_never_older_than_the_one_before),
		world_test(a_full_batch_says_busy),
		world_test(a_full_disk_refuses_by_name_and_takes_back_what_was_folded),
		world_test(a_disk_that_stays_full_is_tried_without_folding_the_log_anew),
		world_test(a_disk_that_has_room_for_the_try_only_is_full_again),
		world_test(a_revocation_that_the_disk_did_not_take_never_was),
		world_test(a_joiner_gets_one_receipt_and_is_cut),
		world_test(a_second_join_with_one_token_learns_of_the_first),
		world_test(the_same_join_again_is_a_duplicate),
		world_test(an_invitation_is_for_nothing_but_joining),
		world_test(an_expired_or_revoked_invitation_admits_nobody),
		world_test(a_report_queued_behind_its_authors_revocation_is_refused),
		world_test(the_revoking_entry_is_the_last_thing_a_subscriber_gets),
		world_test(a_revoked_peer_without_subscription_is_told_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
