/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction, as one suite over any engine: random histories (history.h) are appended to a store
 * while jobs compact it at random places, are killed at random steps and meet full and crashing
 * disks; what is loaded from the store has the digest of the ledger that folded everything, always.
 * A test program includes this file and fills compact_engine. KBAN_SEED replays one history.
 */
#ifndef KBAN_STORE_TEST_COMPACT_SUITE_H
#define KBAN_STORE_TEST_COMPACT_SUITE_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store/compact.h"
#include "store/pages.h"
#include "store/snapshot.h"
#include "store/test/history.h"

enum { STORES = 2 }; /* 0: the log; 1: of one who takes its state */

struct compact_engine {
	struct store *(*open)(unsigned which, const struct kban_cluster_id *cluster);
	void (*wipe)(unsigned which, const struct kban_cluster_id *cluster);
	/* The next commits of store 0 fail in some way, or not; NULL: this engine can't. */
	void (*fault)(struct chance *chance);
	void (*sound)(void);
	size_t histories;
};
static struct compact_engine compact_engine;

struct story {
	struct history h; /* h.ledger folds everything */
	uint8_t *sealed[ENTRIES];
	struct store *store;
	struct ledger *mine; /* loaded from the store; then folded on */
	struct compact *job;
	unsigned jobs, kills, full, crashes;
};

static uint64_t running_seed; /* 0: none */

static int name_the_seed(void **state)
{
	(void)state;
	if (running_seed)
		print_message("failed with KBAN_SEED=%" PRIu64 "\n", running_seed);
	return 0;
}

/* Loading ------------------------------------------------------------------------------------- */

static int fold_on(void *arg, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
	ledger_apply(arg, e, r, NULL, NULL);
	return 0;
}

/* What a program does at its start. */
static struct ledger *load_whole(struct store *s)
{
	struct ledger *l = NULL;
	struct store_head head;
	struct kban_place place;
	char *error = NULL;

	if (compact_load(s, &pairs[0].sign_public, &l, &error))
		fail_msg("%s", error);
	assert_int_equal(store_head(s, &head), 0);
	assert_int_equal(store_read(s, head.horizon, SIZE_MAX, fold_on, l), 0);
	ledger_place(l, &place);
	assert_int_equal(place.seq, head.place.seq);
	assert_int_equal(place.epoch, head.place.epoch);
	assert_memory_equal(&place.chain, &head.place.chain, sizeof(place.chain));
	return l;
}

static void assert_same_digest(const struct ledger *a, const struct ledger *b)
{
	struct kban_hash x, y;

	ledger_digest(a, &x);
	ledger_digest(b, &y);
	assert_memory_equal(&x, &y, sizeof(x));
	assert_int_equal(ledger_time_ms(a), ledger_time_ms(b));
	assert_int_equal(ledger_history_start(a), ledger_history_start(b));
}

/* A finished job leaves exactly the state at the horizon and what proves it ---------------------
 */

struct kept {
	size_t n;
	uint64_t horizon, seqs[ENTRIES + 40000];
	struct kban_report *report;
	struct store *store;
};

static int keep_seq(void *arg, const struct kban_entry *e)
{
	struct kept *k = arg;

	if (e->seq > k->horizon)
		return 1;
	assert_true(k->n < KBAN_ARRAY_LEN(k->seqs));
	k->seqs[k->n++] = e->seq;
	return 0;
}

static int decode_first(void *arg, const struct kban_entry *e)
{
	struct kept *k = arg;

	assert_int_equal(kban_report_decode(&k->report, &e->sealed), 0);
	assert_true(kban_report_check(k->report, &e->sealed));
	return 0;
}

static const struct kban_report *look_up(void *arg, uint64_t seq)
{
	struct kept *k = arg;

	kban_report_free(k->report);
	k->report = NULL;
	assert_int_equal(store_read(k->store, seq - 1, 1, decode_first, k), 0);
	return k->report;
}

static int check_row_is_page(void *arg, struct kban_span key, struct kban_span value)
{
	const struct kept *k = arg;

	if (!strchr("cde", key.p[0]))
		return 0; /* a node's */
	assert_true(key.n == PAGE_KEY_SIZE && key.p[0] == 'c');
	assert_in_range(value.n, 1, PAGE_MAX);
	uint64_t seq = 0;
	for (size_t i = 1; i <= 8; i++)
		seq = seq << 8 | key.p[i];
	assert_int_equal(seq, k->horizon);
	return 0;
}

static void assert_compacted(struct store *s)
{
	struct kept *k = kban_zalloc(sizeof(*k));
	struct ledger *l = NULL;
	struct store_head head;
	struct ledger_fault fault = {0};
	uint64_t *seqs = NULL;
	size_t n;
	char *error = NULL;

	assert_int_equal(store_head(s, &head), 0);
	k->horizon = head.horizon;
	k->store = s;
	if (compact_load(s, &pairs[0].sign_public, &l, &error))
		fail_msg("%s", error);
	int r = store_read(s, 0, SIZE_MAX, keep_seq, k);
	assert_true(r == 0 || r == 1);
	if (head.horizon) {
		ledger_evidence_seqs(l, &seqs, &n);
		assert_int_equal(k->n, n);
		assert_true(!n || !memcmp(k->seqs, seqs, n * sizeof(*seqs)));
		if (ledger_evidence_check(l, look_up, k, &fault))
			fail_msg("%s: entry %" PRIu64 " %s", fault.row, fault.seq, fault.why);
	}
	assert_int_equal(store_rows(s, kban_span("", 0), check_row_is_page, k), 0);
	free(seqs);
	kban_report_free(k->report);
	ledger_free(l);
	free(k);
}

/* A story ------------------------------------------------------------------------------------- */

static const struct kban_cluster_id *story_cluster(const struct story *s)
{
	return ledger_cluster(s->h.ledger);
}

static void story_reload(struct story *s)
{
	bool unfinished;

	ledger_free(s->mine);
	s->mine = load_whole(s->store);
	assert_same_digest(s->mine, s->h.ledger);
	assert_int_equal(compact_unfinished(s->store, &unfinished), 0);
	if (!unfinished)
		assert_compacted(s->store);
}

/* The process dies, and another one starts. */
static void story_restart(struct story *s)
{
	compact_free(s->job);
	s->job = NULL;
	store_close(s->store);
	s->store = compact_engine.open(0, story_cluster(s));
	assert_non_null(s->store);
	story_reload(s);
}

static struct story *story_begin(uint64_t seed)
{
	struct story *s = kban_zalloc(sizeof(*s));

	(void)set_limits; /* what is loaded knows the real ones only */
	running_seed = seed;
	s->h.chance.state = seed * 0x9e3779b97f4a7c15;
	s->h.clock = 1700000000000 + below(&s->h.chance, LEDGER_DAY_MS);
	ledger_new(&s->h.ledger, &pairs[0].sign_public);
	for (unsigned i = 0; i < STORES; i++)
		compact_engine.wipe(i, story_cluster(s));
	s->store = compact_engine.open(0, story_cluster(s));
	assert_non_null(s->store);
	story_reload(s);
	return s;
}

static void story_end(struct story *s)
{
	struct kban_cluster_id cluster = *story_cluster(s);

	compact_free(s->job);
	store_close(s->store);
	ledger_free(s->mine);
	ledger_free(s->h.ledger);
	for (size_t i = 0; i < ENTRIES; i++)
		free(s->sealed[i]);
	for (unsigned i = 0; i < STORES; i++)
		compact_engine.wipe(i, &cluster);
	free(s);
	running_seed = 0;
}

static const struct kban_keypair *pair_of(const struct kban_key *key)
{
	for (size_t i = 0; i < KEYS; i++)
		if (kban_key_equal(key, &pairs[i].sign_public))
			return &pairs[i];
	fail();
	return NULL;
}

/* Seals the newest line; one that was there before gets the bytes that it had. False: it can't be
 * said. */
static bool story_seal(struct story *s)
{
	struct line *l = &s->h.lines[s->h.lines_n - 1];

	if (ledger_stops_at(s->h.ledger, &l->entry, &l->report))
		return false;
	for (size_t i = 0; i + 1 < s->h.lines_n; i++)
		if (kban_hash_equal(&s->h.lines[i].report.hash, &l->report.hash)) {
			l->entry.sealed = s->h.lines[i].entry.sealed;
			return true;
		}
	return !kban_report_seal(&l->report, pair_of(&l->report.author),
				 &s->sealed[s->h.lines_n - 1], &l->entry.sealed);
}

/* One more entry, in both ledgers and in the store. */
static void story_append(struct story *s)
{
	struct kban_place place;

	ledger_place(s->h.ledger, &place);
	do {
		if (s->h.lines_n < 2)
			first_line(&s->h);
		else
			next_line(&s->h);
	} while (!story_seal(s) && s->h.lines_n--);
	struct line *l = &s->h.lines[s->h.lines_n - 1];
	l->entry.seq = place.seq + 1;
	ledger_apply(s->h.ledger, &l->entry, &l->report, NULL, NULL);
	ledger_apply(s->mine, &l->entry, &l->report, NULL, NULL);
	assert_same_digest(s->mine, s->h.ledger);
	ledger_place(s->h.ledger, &place);
	store_begin(s->store);
	store_append(s->store, &l->entry, &place);
	assert_int_equal(store_commit(s->store), 0);
}

/* Mostly where compaction goes; anywhere else it must be right too. */
static uint64_t any_horizon(struct story *s)
{
	uint64_t start = ledger_history_start(s->h.ledger);
	struct kban_place place;

	ledger_place(s->h.ledger, &place);
	if (one_in(&s->h.chance, 5))
		return 0;
	return one_in(&s->h.chance, 3) ? below(&s->h.chance, place.seq + 1) : start - 1;
}

static void story_job(struct story *s)
{
	static const unsigned parts[] = {1, 100, 100000};

	compact_new(&s->job, s->store, &pairs[0].sign_public, any_horizon(s));
	compact_slice(s->job, parts[below(&s->h.chance, 3)]);
	s->jobs++;
}

/* One step of the job; true while it has more to do. */
static bool story_step(struct story *s, bool faults)
{
	kban_auto(kban_free) void *freed = NULL;
	char *error = NULL;

	if (faults && compact_engine.fault && one_in(&s->h.chance, 8))
		compact_engine.fault(&s->h.chance);
	int r = compact_step(s->job, &error);
	freed = error;
	if (compact_engine.sound)
		compact_engine.sound();
	if (!r)
		return true;
	compact_free(s->job);
	s->job = NULL;
	if (r == COMPACT_DONE) {
		assert_null(error);
		assert_compacted(s->store);
		return false;
	}
	assert_non_null(error);
	assert_true(faults);
	if (r == STORE_FULL) {
		s->full++;
		return false;
	}
	assert_int_equal(r, -EIO); /* a crash */
	s->crashes++;
	story_restart(s);
	return false;
}

static void story_moment(struct story *s)
{
	if (!s->job && one_in(&s->h.chance, 6))
		story_job(s);
	for (uint64_t n = s->job ? below(&s->h.chance, 12) : 0; n && s->job; n--)
		story_step(s, true);
	if (one_in(&s->h.chance, s->job ? 6 : 30)) {
		s->kills++;
		story_restart(s);
	}
	if (one_in(&s->h.chance, 20))
		story_reload(s);
}

static void story_finish(struct story *s, uint64_t to)
{
	compact_free(s->job);
	compact_new(&s->job, s->store, &pairs[0].sign_public, to);
	while (story_step(s, false))
		;
}

static uint64_t seed_from(size_t *n)
{
	const char *given = getenv("KBAN_SEED");

	if (given)
		*n = 1;
	return given ? strtoull(given, NULL, 10) : 1;
}

static void compacted_anywhere_and_killed_anywhere_the_digest_is_the_same(void **state)
{
	size_t n = compact_engine.histories;
	uint64_t first = seed_from(&n);
	unsigned jobs = 0, kills = 0, full = 0, crashes = 0;

	(void)state;
	print_message("KBAN_SEED %" PRIu64 " to %" PRIu64 "\n", first, first + n - 1);
	for (uint64_t seed = first; seed < first + n; seed++) {
		struct story *s = story_begin(seed);
		while (s->h.lines_n < ENTRIES) {
			story_append(s);
			story_moment(s);
		}
		story_finish(s, 0);
		story_finish(s, ledger_history_start(s->h.ledger) - 1);
		story_restart(s);
		jobs += s->jobs;
		kills += s->kills;
		full += s->full;
		crashes += s->crashes;
		story_end(s);
	}
	print_message("%u jobs, %u kills, %u full disks, %u crashes\n", jobs, kills, full, crashes);
	assert_true(jobs && kills);
}

/* Compacts whenever it is due; how often. */
static unsigned story_when_due(struct story *s)
{
	struct store_head head;
	uint64_t to;
	unsigned done = 0;

	while (s->h.lines_n < ENTRIES) {
		story_append(s);
		assert_int_equal(store_head(s->store, &head), 0);
		if (!compact_due(&head, s->h.ledger, &to))
			continue;
		assert_int_equal(to, ledger_history_start(s->h.ledger) - 1);
		story_finish(s, to);
		done++;
		assert_int_equal(store_head(s->store, &head), 0);
		assert_int_equal(head.horizon, to);
		assert_false(compact_due(&head, s->h.ledger, &to));
	}
	return done;
}

static void compaction_is_due_now_and_then(void **state)
{
	unsigned done = 0;
	enum { STORIES = 10 };

	(void)state;
	for (uint64_t seed = 1; seed <= STORIES; seed++) {
		struct story *s = story_begin(seed);
		done += story_when_due(s);
		story_end(s);
	}
	print_message("%u times in %d entries\n", done, STORIES * ENTRIES);
	assert_in_range(done, STORIES, STORIES * ENTRIES / 4);
}

#include "store/test/install_suite.h"

#define COMPACT_TEST(f) cmocka_unit_test_teardown(f, name_the_seed)

static const struct CMUnitTest compact_suite_tests[] = {
	COMPACT_TEST(compacted_anywhere_and_killed_anywhere_the_digest_is_the_same),
	COMPACT_TEST(compaction_is_due_now_and_then),
	COMPACT_TEST(who_was_away_takes_the_state_and_agrees),
};

#endif
