/* SPDX-License-Identifier: MPL-2.0
 *
 * The part of log_suite.h that is about the horizon: what moves it, what may be put and dropped
 * below it, and what stays above. Included by log_suite.h only.
 */
#ifndef KBAN_STORE_TEST_LOG_SUITE_HORIZON_H
#define KBAN_STORE_TEST_LOG_SUITE_HORIZON_H

#include "store/test/entries.h"

/* Stages the horizon at the place that make_entry() gives seq. */
static inline void stage_horizon(struct store *s, uint64_t seq)
{
	make_entry(&made, seq, 1);
	store_horizon(s, &made.after, made.entry.accepted_ms);
}

static inline void stage_keep(struct store *s, uint64_t seq, size_t len)
{
	make_entry(&made, seq, len);
	store_keep(s, &made.entry);
}

static inline void move_horizon_to(struct store *s, uint64_t seq)
{
	store_begin(s);
	stage_horizon(s, seq);
	assert_int_equal(store_commit(s), 0);
}

struct listed {
	char text[4096];
};

static inline int list_entry(void *arg, const struct kban_entry *e)
{
	struct listed *l = arg;
	size_t n = strlen(l->text);

	assert_true(made_holds(e));
	snprintf(l->text + n, sizeof(l->text) - n, "%llu ", (unsigned long long)e->seq);
	return 0;
}

/* Exactly the entries that want names come after `after`. */
static inline void check_after(struct store *s, uint64_t after, const char *want)
{
	struct listed l = {""};

	assert_int_equal(store_read(s, after, SIZE_MAX, list_entry, &l), 0);
	assert_string_equal(l.text, want);
}

static inline void check_horizon(struct store *s, uint64_t horizon, uint64_t head)
{
	struct store_head h;
	struct kban_hash chain, want;

	assert_int_equal(store_head(s, &h), 0);
	assert_int_equal(h.horizon, horizon);
	assert_int_equal(h.place.seq, head);
	if (!horizon)
		return;
	assert_int_equal(h.horizon_ms, 1000 + horizon * 10);
	assert_int_equal(h.accepted_ms, 1000 + head * 10);
	made_chain(&want, horizon);
	assert_memory_equal(&h.horizon_chain, &want, sizeof(want));
	made_chain(&want, head);
	assert_memory_equal(&h.place.chain, &want, sizeof(want));
	for (uint64_t seq = horizon; seq <= head; seq++) {
		assert_int_equal(store_chain(s, seq, &chain), 0);
		made_chain(&want, seq);
		assert_memory_equal(&chain, &want, sizeof(want));
	}
	assert_int_equal(store_chain(s, horizon - 1, &chain), STORE_NOT_FOUND);
	assert_int_equal(store_chain(s, 0, &chain), STORE_NOT_FOUND);
}

static inline void above_the_horizon_nothing_changes(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 10, 300);
	move_horizon_to(s, 6);
	for (int i = 0; i < 2; i++) {
		check_horizon(s, 6, 10);
		check_after(s, 0, "1 2 3 4 5 6 7 8 9 10 ");
		check_after(s, 8, "9 10 ");
		s = suite_reopen(state);
	}
	append_entries(s, 11, 2, 30);
	check_horizon(suite_reopen(state), 6, 12);
}

static inline void what_is_dropped_leaves_a_gap(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 10, 300);
	move_horizon_to(s, 7);
	store_begin(s);
	store_drop(s, 1);
	store_drop(s, 3);
	store_drop(s, 4);
	store_drop(s, 7);
	assert_int_equal(store_commit(s), 0);
	store_begin(s);
	store_drop(s, 4); /* again */
	assert_int_equal(store_commit(s), 0);
	for (int i = 0; i < 2; i++) {
		check_horizon(s, 7, 10);
		check_after(s, 0, "2 5 6 8 9 10 ");
		check_after(s, 2, "5 6 8 9 10 ");
		check_after(s, 6, "8 9 10 ");
		s = suite_reopen(state);
	}
}

static inline void everything_below_the_horizon_may_go(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 3, 300);
	store_begin(s);
	stage_horizon(s, 3);
	for (uint64_t seq = 1; seq <= 3; seq++)
		store_drop(s, seq);
	assert_int_equal(store_commit(s), 0);
	s = suite_reopen(state);
	check_horizon(s, 3, 3);
	check_after(s, 0, "");
	append_entries(s, 4, 1, 10);
	check_horizon(suite_reopen(state), 3, 4);
}

static inline void the_horizon_only_moves_forward(void **state)
{
	static const uint64_t back[] = {5, 4, 1};
	struct store *s = *state;

	append_entries(s, 1, 10, 30);
	move_horizon_to(s, 5);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(back); i++) {
		store_begin(s);
		put_text(s, "k", "v");
		stage_horizon(s, back[i]);
		assert_int_equal(store_commit(s), -EINVAL);
		assert_true(strlen(store_error(s)) > 0);
		check_row(s, "k", NULL);
		check_horizon(s, 5, 10);
	}
	move_horizon_to(s, 10);
	check_horizon(suite_reopen(state), 10, 10);
}

static inline void a_horizon_above_the_head_becomes_the_head(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 3, 30);
	store_begin(s);
	stage_horizon(s, 1000);
	stage_keep(s, 2, 50);
	stage_keep(s, 700, 50);
	stage_keep(s, 1000, 50);
	assert_int_equal(store_commit(s), 0);
	for (int i = 0; i < 2; i++) {
		check_horizon(s, 1000, 1000);
		check_after(s, 0, "1 2 3 700 1000 ");
		s = suite_reopen(state);
	}
	store_begin(s);
	stage_entry(s, 4, 10);
	assert_int_equal(store_commit(s), -EINVAL);
	append_entries(s, 1001, 2, 10);
	s = suite_reopen(state);
	check_horizon(s, 1000, 1002);
	check_after(s, 0, "1 2 3 700 1000 1001 1002 ");
}

static inline void an_append_may_follow_a_new_head_at_once(void **state)
{
	struct store *s = *state;

	store_begin(s);
	stage_horizon(s, 50);
	stage_entry(s, 51, 10);
	stage_horizon(s, 51);
	stage_entry(s, 52, 10);
	store_drop(s, 51);
	assert_int_equal(store_commit(s), 0);
	check_horizon(suite_reopen(state), 51, 52);
	check_after(*state, 0, "52 ");
}

static inline void above_the_horizon_nothing_is_kept_or_dropped(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 10, 30);
	move_horizon_to(s, 5);
	for (uint64_t seq = 6; seq <= 11; seq += 5) {
		store_begin(s);
		put_text(s, "k", "v");
		store_drop(s, seq);
		assert_int_equal(store_commit(s), -EINVAL);
		store_begin(s);
		put_text(s, "k", "v");
		stage_keep(s, seq, 10);
		assert_int_equal(store_commit(s), -EINVAL);
		check_row(s, "k", NULL);
	}
	store_begin(s);
	store_drop(s, 0);
	assert_int_equal(store_commit(s), -EINVAL);
	store_begin(s);
	make_entry(&made, 2, 0);
	store_keep(s, &made.entry);
	assert_int_equal(store_commit(s), -EINVAL);
	check_horizon(suite_reopen(state), 5, 10);
	check_after(*state, 0, "1 2 3 4 5 6 7 8 9 10 ");
}

static inline void what_is_kept_replaces_what_was_there(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 5, 3000);
	move_horizon_to(s, 4);
	store_begin(s);
	stage_keep(s, 3, 20);
	store_drop(s, 2);
	stage_keep(s, 2, 5000);
	stage_keep(s, 1, 10);
	store_drop(s, 1);
	assert_int_equal(store_commit(s), 0);
	check_after(s, 0, "2 3 4 5 ");
	check_after(suite_reopen(state), 0, "2 3 4 5 ");
	check_horizon(*state, 4, 5);
}

static inline void drops_and_keeps_are_all_or_nothing(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 5, 30);
	move_horizon_to(s, 3);
	for (int how = 0; how < 3; how++) {
		store_begin(s);
		store_drop(s, 1);
		stage_horizon(s, 4);
		store_drop(s, 4);
		stage_keep(s, 2, 99);
		put_text(s, "k", "v");
		if (how == 0)
			store_abort(s);
		else if (how == 1)
			s = suite_reopen(state);
		else
			stage_entry(s, 9, 10);
		if (how == 2)
			assert_int_equal(store_commit(s), -EINVAL);
		check_horizon(s, 3, 5);
		check_after(s, 0, "1 2 3 4 5 ");
		check_row(s, "k", NULL);
	}
}

/* Random steps against an array of what is there. */
enum { HORIZON_SEQS = 400, HORIZON_ROUNDS = 250 };

struct horizon_model {
	uint64_t horizon, head;
	bool there[HORIZON_SEQS];
};

static inline void horizon_model_step(struct store *s, struct horizon_model *m, uint32_t *x)
{
	uint64_t seq = m->horizon ? 1 + next_random(x) % m->horizon : 0;

	switch (next_random(x) % 6) {
	case 0:
		if (m->head + 1 >= HORIZON_SEQS || m->horizon + 1 >= HORIZON_SEQS ||
		    next_random(x) % 8)
			return;
		m->horizon += 1 + next_random(x) % 9;
		if (m->horizon >= HORIZON_SEQS)
			m->horizon = HORIZON_SEQS - 1;
		m->head = m->head < m->horizon ? m->horizon : m->head;
		stage_horizon(s, m->horizon);
		return;
	case 1:
	case 2:
		if (!seq)
			return;
		store_drop(s, seq);
		m->there[seq] = false;
		return;
	case 3:
		if (!seq)
			return;
		stage_keep(s, seq, 1 + next_random(x) % 5000);
		m->there[seq] = true;
		return;
	default:
		if (m->head + 1 >= HORIZON_SEQS)
			return;
		stage_entry(s, ++m->head, 1 + next_random(x) % 5000);
		m->there[m->head] = true;
	}
}

static inline void horizon_model_check(struct store *s, const struct horizon_model *m)
{
	char want[4096] = "";

	for (uint64_t seq = 1, n = 0; seq < HORIZON_SEQS; seq++) {
		if (m->there[seq])
			n += (size_t)snprintf(want + n, sizeof(want) - n, "%llu ",
					      (unsigned long long)seq);
	}
	check_after(s, 0, want);
	check_horizon(s, m->horizon, m->head);
}

static inline void random_horizons_match_a_model(void **state)
{
	const char *given = getenv("KBAN_TEST_SEED");
	uint32_t x = given ? (uint32_t)strtoul(given, NULL, 10) : 20240818;
	struct horizon_model model = {0}, next;

	x = x ? x : 1;
	print_message("seed %u (KBAN_TEST_SEED)\n", x);
	for (unsigned round = 0; round < HORIZON_ROUNDS; round++) {
		next = model;
		store_begin(*state);
		for (unsigned i = next_random(&x) % 10; i; i--)
			horizon_model_step(*state, &next, &x);
		unsigned what = next_random(&x) % 8;
		if (what == 0)
			store_abort(*state);
		else if (what > 1)
			assert_int_equal(store_commit(*state), 0);
		if (what < 3) /* 1: closed with the transaction open */
			suite_reopen(state);
		if (what > 1)
			model = next;
		if (round % 5 == 0 || what < 3)
			horizon_model_check(*state, &model);
	}
	assert_true(model.horizon > 20);
}

#endif
