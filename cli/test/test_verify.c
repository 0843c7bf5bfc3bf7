/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker that lies to kbanctl: what verify.c believes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/verify.h"

#define NODES 3
#define T0    1772360430000ULL

struct world {
	struct kban_keypair root, operator, nodes[NODES], stranger;
	struct kban_cluster_id cluster;
	uint8_t *bytes[32]; /* of sealed reports and heartbeats */
	size_t bytes_n;
	struct kban_entry proofs[8];
	struct kban_member_row rows[8];
	struct kban_heartbeat beats[NODES];
	struct kban_answer answer;
	struct verify *verify;
	uint8_t nonce[16];
};

static struct kban_sealed seal(struct world *w, struct kban_event *e, size_t n,
			       const struct kban_keypair *by, uint64_t counter)
{
	struct kban_report r = {.cluster = w->cluster,
				.counter = counter,
				.base = {1, 0},
				.issued_ms = T0,
				.events_n = n,
				.events = e};
	struct kban_sealed sealed;

	assert_int_equal(kban_report_seal(&r, by, &w->bytes[w->bytes_n++], &sealed), 0);
	return sealed;
}

static struct kban_event grant(const struct kban_keypair *k, enum kban_role role, const char *name)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_GRANT,
		.grant = {k->sign_public, k->curve_public, role, kban_text(name)}};
}

static struct kban_heartbeat beat_of(const struct world *w, size_t i)
{
	struct kban_heartbeat h = {.cluster = w->cluster,
				   .place = w->answer.place,
				   .digest = w->answer.digest,
				   .enforced_seq = w->answer.place.seq,
				   .own_ms = T0 + 250,
				   .nonce_n = 16,
				   .fold_version = 1,
				   .version = "0.1.0",
				   .bans_enforced = i,
				   .bans_wanted = i};

	memcpy(h.nonce, w->nonce, 16);
	return h;
}

static void beat_seal(struct world *w, size_t i, const struct kban_keypair *by)
{
	w->rows[i].has_heartbeat = true;
	kban_heartbeat_seal(&w->beats[i], by, &w->bytes[w->bytes_n++], &w->rows[i].heartbeat);
}

static int setup(void **state)
{
	static const char *const names[] = {"mail1", "mail2", "mail3"};
	struct world *w = kban_zalloc(sizeof(*w));
	struct kban_event events[1 + NODES];

	kban_keypair_random(&w->root);
	kban_keypair_random(&w->operator);
	kban_keypair_random(&w->stranger);
	kban_cluster_id(&w->cluster, &w->root.sign_public);
	kban_random(w->nonce, sizeof(w->nonce));
	events[0] = grant(&w->operator, KBAN_ROLE_OPERATOR, "op");
	w->answer = (struct kban_answer){.kind = KBAN_QUERY_CLUSTER,
					 .place = {.epoch = 1, .seq = 40},
					 .broker_ms = T0,
					 .members_n = NODES,
					 .members = w->rows,
					 .proofs_n = 1,
					 .proofs = w->proofs};
	kban_random(&w->answer.place.chain, sizeof(w->answer.place.chain));
	kban_random(&w->answer.digest, sizeof(w->answer.digest));
	for (size_t i = 0; i < NODES; i++) {
		kban_keypair_random(&w->nodes[i]);
		events[1 + i] = grant(&w->nodes[i], KBAN_ROLE_NODE, names[i]);
		w->rows[i] = (struct kban_member_row){.key = w->nodes[i].sign_public,
						      .name = kban_text(names[i]),
						      .role = KBAN_ROLE_NODE,
						      .connected = true,
						      .seen_ms = T0,
						      .address = kban_text("::ffff:192.0.2.1")};
		w->beats[i] = beat_of(w, i);
		beat_seal(w, i, &w->nodes[i]);
	}
	w->proofs[0] = (struct kban_entry){1, T0, seal(w, events, 1 + NODES, &w->root, 1)};
	verify_new(&w->verify, &w->root.sign_public);
	verify_nonce(w->verify, w->nonce);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	verify_free(w->verify);
	for (size_t i = 0; i < w->bytes_n; i++)
		free(w->bytes[i]);
	free(w);
	return 0;
}

static void judge(struct world *w)
{
	verify_page(w->verify, &w->answer, true);
	verify_judge(w->verify);
}

static const struct verify_member *node(const struct world *w, size_t i)
{
	for (size_t k = 0; k < verify_members_n(w->verify); k++)
		if (kban_key_equal(&verify_member(w->verify, k)->key, &w->nodes[i].sign_public))
			return verify_member(w->verify, k);
	return NULL;
}

static void beat_again(struct world *w, size_t i)
{
	beat_seal(w, i, &w->nodes[i]);
}

static void an_honest_fleet_is_live_and_agrees(void **state)
{
	struct world *w = *state;

	judge(w);
	assert_int_equal(verify_members_n(w->verify), 1 + NODES);
	for (size_t i = 0; i < NODES; i++) {
		assert_int_equal(node(w, i)->state, VERIFY_LIVE);
		assert_int_equal(node(w, i)->agreement, VERIFY_AGREES);
		assert_int_equal(node(w, i)->clock_offset_ms, 250);
		assert_string_equal(node(w, i)->address, "192.0.2.1");
	}
	assert_true(verify_well(w->verify) && verify_settled(w->verify));
	assert_string_equal(verify_named(w->verify, "mail2")->name, "mail2");
}

static void a_heartbeat_signed_by_another_is_forged(void **state)
{
	struct world *w = *state;

	beat_seal(w, 1, &w->nodes[0]);
	judge(w);
	assert_int_equal(node(w, 1)->state, VERIFY_FORGED);
	assert_int_equal(node(w, 0)->state, VERIFY_LIVE);
	assert_false(verify_well(w->verify));
}

static void a_changed_heartbeat_is_forged(void **state)
{
	struct world *w = *state;
	uint8_t *last = w->bytes[w->bytes_n++] = kban_memdup(
		w->rows[2].heartbeat.report, w->rows[2].heartbeat.report_len + KBAN_SIGNATURE_SIZE);

	last[w->rows[2].heartbeat.report_len + 3] ^= 1;
	w->rows[2].heartbeat.report = last;
	w->rows[2].heartbeat.signature = last + w->rows[2].heartbeat.report_len;
	judge(w);
	assert_int_equal(node(w, 2)->state, VERIFY_FORGED);
}

static void a_heartbeat_of_another_cluster_is_forged(void **state)
{
	struct world *w = *state;

	w->beats[0].cluster.b[0] ^= 1;
	beat_again(w, 0);
	judge(w);
	assert_int_equal(node(w, 0)->state, VERIFY_FORGED);
}

static void an_old_heartbeat_does_not_pass_for_a_fresh_one(void **state)
{
	struct world *w = *state;

	w->beats[0].nonce[0] ^= 1;
	beat_again(w, 0);
	w->beats[1].nonce_n = 0;
	beat_again(w, 1);
	w->rows[2].has_heartbeat = false;
	judge(w);
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(node(w, i)->state, VERIFY_SILENT);
	assert_false(verify_settled(w->verify));
	assert_false(verify_well(w->verify));
}

static void a_nonce_counts_only_while_it_is_among_the_newest(void **state)
{
	struct world *w = *state;
	uint8_t other[16];

	for (size_t i = 0; i < VERIFY_NONCES; i++) {
		kban_random(other, sizeof(other));
		verify_nonce(w->verify, other);
	}
	judge(w);
	assert_int_equal(node(w, 0)->state, VERIFY_SILENT);
}

static void a_key_that_nobody_granted_is_shown_as_forged(void **state)
{
	struct world *w = *state;

	w->rows[3] = w->rows[0];
	w->rows[3].key = w->stranger.sign_public;
	w->rows[3].name = kban_text("mail9");
	w->answer.members_n = 4;
	judge(w);
	const struct verify_member *m = verify_member(w->verify, 1 + NODES);
	assert_int_equal(m->state, VERIFY_FORGED);
	assert_false(m->granted);
	assert_null(verify_named(w->verify, "mail9"));
	assert_false(verify_well(w->verify));
}

static void a_name_is_what_was_granted_not_what_the_broker_says(void **state)
{
	struct world *w = *state;

	w->rows[0].name = kban_text("mail2");
	w->rows[0].role = KBAN_ROLE_READER;
	judge(w);
	assert_string_equal(node(w, 0)->name, "mail1");
	assert_int_equal(node(w, 0)->role, KBAN_ROLE_NODE);
}

static void a_grant_by_a_stranger_proves_nothing(void **state)
{
	struct world *w = *state;
	struct kban_event e = grant(&w->stranger, KBAN_ROLE_OPERATOR, "eve");

	w->proofs[1] = (struct kban_entry){2, T0, seal(w, &e, 1, &w->stranger, 1)};
	w->answer.proofs_n = 2;
	judge(w);
	assert_int_equal(verify_bad_proofs(w->verify), 1);
	assert_null(verify_named(w->verify, "eve"));
	assert_false(verify_well(w->verify));
}

static void a_proof_with_a_wrong_signature_proves_nothing(void **state)
{
	struct world *w = *state;
	uint8_t signature[KBAN_SIGNATURE_SIZE];

	memcpy(signature, w->proofs[0].sealed.signature, sizeof(signature));
	signature[5] ^= 1;
	w->proofs[0].sealed.signature = signature;
	judge(w);
	assert_int_equal(verify_bad_proofs(w->verify), 1);
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(node(w, i)->state, VERIFY_FORGED);
}

static void proofs_out_of_order_and_given_again_fold_once(void **state)
{
	struct world *w = *state;
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE,
			       .revoke = {.key = w->nodes[2].sign_public}};

	w->proofs[1] = w->proofs[0];
	w->proofs[0] = (struct kban_entry){30, T0, seal(w, &e, 1, &w->operator, 9)};
	w->answer.proofs_n = 2;
	judge(w);
	judge(w);
	assert_int_equal(verify_bad_proofs(w->verify), 0);
	assert_int_equal(node(w, 2)->state, VERIFY_REVOKED);
	assert_int_equal(node(w, 2)->revoked_seq, 30);
	assert_null(verify_named(w->verify, "mail3"));
	assert_true(verify_well(w->verify));
}

static void another_chain_at_an_equal_place_is_a_fork(void **state)
{
	struct world *w = *state;

	w->beats[1].place.chain.b[0] ^= 1;
	beat_again(w, 1);
	w->beats[2].digest.b[0] ^= 1;
	beat_again(w, 2);
	judge(w);
	assert_int_equal(node(w, 0)->state, VERIFY_LIVE);
	assert_int_equal(node(w, 1)->state, VERIFY_FORK);
	assert_int_equal(node(w, 2)->state, VERIFY_FORK);
	assert_int_equal(node(w, 1)->agreement, VERIFY_DISAGREES);
}

/* Two nodes at a place where the broker never was when it was asked. */
static void nodes_that_differ_from_each_other_are_a_fork(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < 2; i++) {
		w->beats[i].place.seq = 39;
		w->beats[i].place.chain.b[1] ^= (uint8_t)(i + 1);
		beat_again(w, i);
	}
	judge(w);
	assert_int_equal(node(w, 0)->state, VERIFY_FORK);
	assert_int_equal(node(w, 1)->state, VERIFY_FORK);
	assert_int_equal(node(w, 2)->state, VERIFY_LIVE);
}

static void marks_compare_nodes_at_different_places(void **state)
{
	struct world *w = *state;
	struct kban_hash chain, digest;

	kban_random(&chain, sizeof(chain));
	kban_random(&digest, sizeof(digest));
	w->answer.place.seq = 2000;
	for (size_t i = 0; i < NODES; i++) {
		w->beats[i].place.seq = 1990 + i;
		kban_random(&w->beats[i].place.chain, sizeof(w->beats[i].place.chain));
		w->beats[i].mark_seq = 1024;
		w->beats[i].mark_chain = chain;
		w->beats[i].mark_digest = digest;
		if (i == 2)
			w->beats[i].mark_digest.b[9] ^= 1;
		beat_again(w, i);
	}
	judge(w);
	/* One that differs does not put the others in doubt. */
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(node(w, i)->state, i == 2 ? VERIFY_FORK : VERIFY_BEHIND);
	w->beats[2].mark_digest = digest;
	beat_again(w, 2);
	judge(w);
	for (size_t i = 0; i < NODES; i++) {
		assert_int_equal(node(w, i)->agreement, VERIFY_AGREED);
		assert_int_equal(node(w, i)->state, VERIFY_BEHIND);
	}
}

static void what_a_node_says_of_itself_is_its_state(void **state)
{
	static const struct {
		uint32_t status;
		enum verify_state state;
	} rows[] = {
		{KBAN_STATUS_UNCONFIRMED, VERIFY_UNCONFIRMED},
		{KBAN_STATUS_FORK, VERIFY_FORK},
		{KBAN_STATUS_KERNEL_FAILED, VERIFY_KERNEL_FAILED},
		{KBAN_STATUS_LOG_MISSING, VERIFY_LOG_MISSING},
		{KBAN_STATUS_DISK_FULL, VERIFY_DISK_FULL},
		{KBAN_STATUS_CLOCK_OFF, VERIFY_CLOCK_OFF},
		{KBAN_STATUS_WATCHING, VERIFY_WATCHING},
		{KBAN_STATUS_UPGRADE_NEEDED, VERIFY_UPGRADE_NEEDED},
		{KBAN_STATUS_CLOCK_OFF | KBAN_STATUS_KERNEL_FAILED, VERIFY_KERNEL_FAILED},
	};
	struct world *w = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		w->beats[0].status = rows[i].status;
		beat_again(w, 0);
		judge(w);
		assert_int_equal(node(w, 0)->state, rows[i].state);
		assert_false(verify_well(w->verify));
	}
}

static void absence_has_its_words(void **state)
{
	struct world *w = *state;

	w->rows[0].connected = false;
	w->rows[1].connected = false;
	w->rows[1].seen_ms = 0;
	w->rows[1].has_heartbeat = false;
	w->answer.members_n = 2;
	judge(w);
	assert_int_equal(node(w, 0)->state, VERIFY_OFFLINE);
	assert_int_equal(node(w, 1)->state, VERIFY_UNHEARD);
	assert_int_equal(node(w, 2)->state, VERIFY_WITHHELD);
	assert_false(verify_well(w->verify));
}

static void a_held_node_says_so(void **state)
{
	struct world *w = *state;

	w->rows[1].held = true;
	judge(w);
	assert_int_equal(node(w, 1)->state, VERIFY_HELD);
}

static void every_state_has_a_name(void **state)
{
	(void)state;
	for (int i = VERIFY_LIVE; i <= VERIFY_REVOKED; i++)
		assert_non_null(verify_state_name((enum verify_state)i));
	for (int i = VERIFY_UNKNOWN; i <= VERIFY_DISAGREES; i++)
		assert_non_null(verify_agreement_name((enum verify_agreement)i));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_honest_fleet_is_live_and_agrees),
		TEST(a_heartbeat_signed_by_another_is_forged),
		TEST(a_changed_heartbeat_is_forged),
		TEST(a_heartbeat_of_another_cluster_is_forged),
		TEST(an_old_heartbeat_does_not_pass_for_a_fresh_one),
		TEST(a_nonce_counts_only_while_it_is_among_the_newest),
		TEST(a_key_that_nobody_granted_is_shown_as_forged),
		TEST(a_name_is_what_was_granted_not_what_the_broker_says),
		TEST(a_grant_by_a_stranger_proves_nothing),
		TEST(a_proof_with_a_wrong_signature_proves_nothing),
		TEST(proofs_out_of_order_and_given_again_fold_once),
		TEST(another_chain_at_an_equal_place_is_a_fork),
		TEST(nodes_that_differ_from_each_other_are_a_fork),
		TEST(marks_compare_nodes_at_different_places),
		TEST(what_a_node_says_of_itself_is_its_state),
		TEST(absence_has_its_words),
		TEST(a_held_node_says_so),
		cmocka_unit_test(every_state_has_a_name),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
