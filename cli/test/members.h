/* SPDX-License-Identifier: MPL-2.0
 *
 * A small cluster for tests of what kbanctl believes: root, an operator and two nodes, proven to a
 * struct verify, and rows of a log as a broker would give them.
 */
#ifndef KBAN_CLI_TEST_MEMBERS_H
#define KBAN_CLI_TEST_MEMBERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/why.h"

#define T0	     1772360430000ULL
#define MEMBERS_ROWS 64

struct members {
	struct kban_keypair root, alice, mail1, mail2, stranger;
	struct kban_cluster_id cluster;
	uint8_t *bytes[MEMBERS_ROWS + 16];
	size_t bytes_n;
	uint64_t counter, seq;
	struct verify *verify;
	struct fleet fleet;
	struct session session; /* never connected */
	struct context ctx;
	struct why why;
	struct kban_log_row row; /* the newest one */
	uint32_t outcomes[4];
	struct kban_record_row records[4];
	char *out;
	size_t out_n;
};

static inline struct kban_sealed members_seal(struct members *w, struct kban_event *e, size_t n,
					      const struct kban_keypair *by)
{
	struct kban_report r = {.cluster = w->cluster,
				.counter = ++w->counter,
				.base = {1, 0},
				.issued_ms = T0,
				.events_n = n,
				.events = e};
	struct kban_sealed sealed;

	assert_int_equal(kban_report_seal(&r, by, &w->bytes[w->bytes_n++], &sealed), 0);
	return sealed;
}

static inline struct kban_event members_grant(const struct kban_keypair *k, enum kban_role role,
					      const char *name)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_GRANT,
		.grant = {k->sign_public, k->curve_public, role, kban_text(name)}};
}

static inline void members_prove(struct members *w, struct kban_entry *proofs, size_t n,
				 struct kban_member_row *rows, size_t rows_n)
{
	struct kban_answer a = {.kind = KBAN_QUERY_CLUSTER,
				.place = {.epoch = 1, .seq = 2},
				.broker_ms = T0,
				.members = rows,
				.members_n = rows_n,
				.proofs = proofs,
				.proofs_n = n};

	verify_page(w->verify, &a, true);
	verify_judge(w->verify);
}

static int members_setup(void **state)
{
	struct members *w = kban_zalloc(sizeof(*w));
	struct kban_keypair *all[] = {&w->root, &w->alice, &w->mail1, &w->mail2, &w->stranger};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(all); i++)
		kban_keypair_from_seed(all[i], (uint8_t[32]){(uint8_t)(i + 1)});
	kban_cluster_id(&w->cluster, &w->root.sign_public);
	verify_new(&w->verify, &w->root.sign_public);
	struct kban_event events[] = {members_grant(&w->alice, KBAN_ROLE_OPERATOR, "alice"),
				      members_grant(&w->mail1, KBAN_ROLE_NODE, "mail1"),
				      members_grant(&w->mail2, KBAN_ROLE_NODE, "mail2")};
	struct kban_entry proof = {1, T0, members_seal(w, events, 3, &w->root)};
	members_prove(w, &proof, 1, NULL, 0);
	w->seq = 10;
	w->ctx = (struct context){.err = stderr, .clock = &kban_clock_system};
	w->ctx.out = open_memstream(&w->out, &w->out_n);
	w->session.ctx = &w->ctx;
	w->fleet = (struct fleet){&w->session, w->verify};
	w->why = (struct why){.ctx = &w->ctx,
			      .fleet = &w->fleet,
			      .now_ms = T0 + 60000,
			      .policy = ledger_policy_default};
	*state = w;
	return 0;
}

static int members_teardown(void **state)
{
	struct members *w = *state;

	why_done(&w->why);
	verify_free(w->verify);
	fclose(w->ctx.out);
	free(w->out);
	for (size_t i = 0; i < w->bytes_n; i++)
		free(w->bytes[i]);
	free(w);
	return 0;
}

static inline struct kban_prefix members_prefix(const char *text)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

/* What ten failed logins at mail1 make. */
static inline struct kban_event members_ban(const char *prefix)
{
	return (struct kban_event){.kind = KBAN_EVENT_BAN,
				   .ban = {.prefix = members_prefix(prefix),
					   .duration_ms = 300000,
					   .rule = kban_text("unknown-user"),
					   .service = kban_text("smtp"),
					   .line = kban_text("SMTP: User \\x1b[31m doesn't exist."),
					   .count = 10,
					   .first_ms = T0 - 5000,
					   .last_ms = T0}};
}

/* w->row becomes the next entry with one event. */
static inline void members_row(struct members *w, struct kban_event e,
			       const struct kban_keypair *by, unsigned outcome)
{
	w->outcomes[0] = outcome;
	w->row = (struct kban_log_row){.seq = ++w->seq,
				       .accepted_ms = T0 + w->seq,
				       .report = members_seal(w, &e, 1, by),
				       .outcomes_n = 1,
				       .outcomes = w->outcomes};
	if (e.kind != KBAN_EVENT_BAN || outcome != KBAN_OUTCOME_COUNTED)
		return;
	w->records[0] = (struct kban_record_row){
		.index = 0, .since_ms = T0, .until_ms = T0 + e.ban.duration_ms, .strikes = 1};
	w->row.records_n = 1;
	w->row.records = w->records;
}

/* The row is judged; what it holds is freed with w only. */
static inline enum trail_check members_check(struct members *w)
{
	kban_auto(kban_report_free) struct kban_report *report = NULL;
	struct trail_row row;

	trail_judge(w->verify, &w->row, &row, &report);
	return row.check;
}

/* The row goes into `why`. */
static inline void members_tell(struct members *w)
{
	kban_auto(kban_report_free) struct kban_report *report = NULL;
	struct trail_row row;

	trail_judge(w->verify, &w->row, &row, &report);
	w->why.trail.bad += row.check != TRAIL_CHECKED;
	assert_int_equal(why_row(&w->why, &row), 0);
}

/* Both nodes answer: that is in their kernels. */
static inline void members_beat(struct members *w, uint64_t mail1_seq, uint64_t mail2_seq)
{
	const struct kban_keypair *nodes[2] = {&w->mail1, &w->mail2};
	const uint64_t seqs[2] = {mail1_seq, mail2_seq};
	struct kban_member_row rows[2];

	verify_nonce(w->verify, (const uint8_t[16]){7});
	for (size_t i = 0; i < 2; i++) {
		struct kban_heartbeat h = {.cluster = w->cluster,
					   .place = {.epoch = 1, .seq = 20 + i},
					   .enforced_seq = seqs[i],
					   .fold_version = 1,
					   .nonce_n = 16,
					   .nonce = {7}};
		strcpy(h.version, "0.1.0");
		rows[i] = (struct kban_member_row){.key = nodes[i]->sign_public,
						   .connected = true,
						   .seen_ms = T0,
						   .has_heartbeat = true};
		kban_heartbeat_seal(&h, nodes[i], &w->bytes[w->bytes_n++], &rows[i].heartbeat);
	}
	members_prove(w, NULL, 0, rows, 2);
}

#define MEMBERS_TEST(f) cmocka_unit_test_setup_teardown(f, members_setup, members_teardown)

#endif
