/* SPDX-License-Identifier: MPL-2.0
 *
 * The part of compact_suite.h in which a second store takes over the state of the first, killed
 * anywhere, and goes on from there. Included by compact_suite.h only.
 */
#ifndef KBAN_STORE_TEST_INSTALL_SUITE_H
#define KBAN_STORE_TEST_INSTALL_SUITE_H

#include "store/install.h"
#include "store/test/compact_suite.h"

struct taking {
	struct story *s;
	struct store *store; /* of the taker */
	struct install *install;
	struct kban_place place;
};

static struct taking taking_begin(struct story *s)
{
	struct taking t = {.s = s, .store = compact_engine.open(1, story_cluster(s))};

	assert_non_null(t.store);
	return t;
}

static void taking_restart(struct taking *t)
{
	install_free(t->install);
	t->install = NULL;
	store_close(t->store);
	t->store = compact_engine.open(1, story_cluster(t->s));
	assert_non_null(t->store);
}

/* Runs the job that finishes whatever was begun. */
static void taking_tidy(struct taking *t)
{
	kban_auto(compact_free) struct compact *job = NULL;
	bool unfinished;
	char *error = NULL;

	compact_new(&job, t->store, &pairs[0].sign_public, 0);
	compact_slice(job, one_in(&t->s->h.chance, 2) ? 1 : 1000);
	while (!compact_step(job, &error))
		;
	if (error)
		fail_msg("%s", error);
	assert_int_equal(compact_unfinished(t->store, &unfinished), 0);
	assert_false(unfinished);
	assert_compacted(t->store);
}

/* All pages of the log's state, one a message; false: killed in between. */
static bool take_pages(struct taking *t, bool kill)
{
	struct store_head head;
	char *error = NULL;

	assert_int_equal(store_head(t->s->store, &head), 0);
	for (uint32_t n = 0;; n++) {
		kban_auto(kban_free) void *freed = NULL;
		uint8_t *bytes = NULL;
		struct kban_state_page page;
		int r = page_get(t->s->store, head.horizon, n, &bytes, &page.items_len);

		freed = bytes;
		if (r == STORE_NOT_FOUND)
			break;
		assert_int_equal(r, 0);
		page.items = bytes;
		if (install_pages(t->install, &page, 1, &error))
			fail_msg("%s", error);
		if (kill && one_in(&t->s->h.chance, 4))
			return false;
	}
	if (install_pages_end(t->install, &error))
		fail_msg("%s", error);
	return true;
}

struct giving {
	struct taking *t;
	uint64_t horizon;
	bool kill;
};

static int give_entry(void *arg, const struct kban_entry *e)
{
	struct giving *g = arg;
	char *error = NULL;

	if (e->seq > g->horizon)
		return 0;
	if (install_entries(g->t->install, e, 1, &error))
		fail_msg("%s", error);
	return g->kill && one_in(&g->t->s->h.chance, 20);
}

static bool take_evidence_of(struct taking *t, bool kill)
{
	struct giving g = {.t = t, .kill = kill};
	struct store_head head;

	assert_int_equal(store_head(t->s->store, &head), 0);
	g.horizon = head.horizon;
	return !store_read(t->s->store, 0, SIZE_MAX, give_entry, &g);
}

static bool take_state(struct taking *t, bool kill)
{
	struct ledger *l = NULL;

	taking_tidy(t);
	install_new(&t->install, t->store, &pairs[0].sign_public);
	if (!take_pages(t, kill) || !take_evidence_of(t, kill))
		return false;
	assert_int_equal(install_wants(t->install), 0);
	install_begin(t->install);
	store_put(t->store, kban_span("p", 1), kban_span("the caller's", 12));
	store_delete(t->store, kban_span("p", 1));
	if (kill && one_in(&t->s->h.chance, 3))
		return false;
	assert_int_equal(store_commit(t->store), 0);
	install_ledger(t->install, &l);
	install_free(t->install);
	t->install = NULL;
	ledger_free(l);
	return true;
}

static int copy_entry(void *arg, const struct kban_entry *e)
{
	struct taking *t = arg;

	t->place.seq = e->seq;
	assert_int_equal(store_chain(t->s->store, e->seq, &t->place.chain), 0);
	struct kban_report *r = NULL;
	assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
	ledger_apply(t->s->mine, e, r, NULL, NULL);
	kban_report_free(r);
	ledger_place(t->s->mine, &t->place);
	store_append(t->store, e, &t->place);
	return 0;
}

/* Reads the log from where the taker is; s->mine is used as its ledger. */
static void take_rest(struct taking *t)
{
	struct store_head head;

	ledger_free(t->s->mine);
	t->s->mine = load_whole(t->store);
	assert_int_equal(store_head(t->store, &head), 0);
	store_begin(t->store);
	assert_int_equal(store_read(t->s->store, head.place.seq, SIZE_MAX, copy_entry, t), 0);
	assert_int_equal(store_commit(t->store), 0);
	assert_same_digest(t->s->mine, t->s->h.ledger);
}

static void take_over(struct story *s)
{
	struct taking t = taking_begin(s);
	unsigned kills = 0;

	while (!take_state(&t, kills < 6)) {
		kills++;
		taking_restart(&t);
		ledger_free(s->mine);
		s->mine = load_whole(t.store); /* what was there before still is */
	}
	if (one_in(&s->h.chance, 2))
		taking_restart(&t);
	take_rest(&t);
	taking_tidy(&t);
	taking_restart(&t);
	ledger_free(s->mine);
	s->mine = load_whole(t.store);
	assert_same_digest(s->mine, s->h.ledger);
	store_close(t.store);
	story_reload(s);
}

static void who_was_away_takes_the_state_and_agrees(void **state)
{
	size_t n = compact_engine.histories / 4 + 1;
	uint64_t first = seed_from(&n);

	(void)state;
	print_message("KBAN_SEED %" PRIu64 " to %" PRIu64 "\n", first, first + n - 1);
	for (uint64_t seed = first; seed < first + n; seed++) {
		struct story *s = story_begin(seed);
		while (s->h.lines_n < 20)
			story_append(s);
		struct taking t = taking_begin(s);
		take_rest(&t); /* it was there from the start, */
		store_close(t.store);
		while (s->h.lines_n < ENTRIES) /* and then it was not */
			story_append(s);
		story_finish(s, 30 + below(&s->h.chance, ENTRIES - 30));
		take_over(s);
		story_end(s);
	}
}

#endif
