/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction on LMDB: the suite, what is refused when stored bytes are wrong, a state of many
 * pages, and a full disk.
 */
#include "store/test/disk.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "proto/log.h"
#include "store/test/compact_suite.h"
#include "store/test/crowd.h"

static struct store *lmdb_store(unsigned which, const struct kban_cluster_id *cluster)
{
	struct store *s = NULL;
	char *error = NULL;

	snprintf(test_folder, sizeof(test_folder), "%s/store%u", test_root, which);
	disk.skip_sync = true; /* no power is cut here */
	int r = store_lmdb_open(&s, test_folder, cluster, &error);
	if (r)
		fail_msg("%s", error);
	return s;
}

static void lmdb_wipe(unsigned which, const struct kban_cluster_id *cluster)
{
	(void)cluster;
	snprintf(test_folder, sizeof(test_folder), "%s/store%u", test_root, which);
	folder_wipe();
}

/* Every commit of the log succeeds; a full disk and a killed process have tests of their own. */
static struct compact_engine compact_engine = {lmdb_store, lmdb_wipe, NULL, NULL, 5};

static struct crowd *compact_begin_with(uint64_t history_ms)
{
	struct crowd *c = crowd_new(&pairs[0], &pairs[1], &pairs[2]);

	c->history_ms = history_ms;
	for (unsigned i = 0; i < STORES; i++)
		lmdb_wipe(i, NULL);
	c->store = lmdb_store(0, ledger_cluster(c->ledger));
	crowd_found(c);
	return c;
}

static struct crowd *compact_begin(void)
{
	return compact_begin_with(0);
}

static void compact_end(struct crowd *c)
{
	store_close(c->store);
	crowd_free(c);
	for (unsigned i = 0; i < STORES; i++)
		lmdb_wipe(i, NULL);
	memset(&disk, 0, sizeof(disk));
}

/* A job to its end; what it ended with. */
static int compact_to(struct crowd *c, uint64_t to, struct compact_counts *counts, char **error)
{
	kban_auto(compact_free) struct compact *job = NULL;
	int r;

	*error = NULL;
	compact_new(&job, c->store, &pairs[0].sign_public, to);
	while (!(r = compact_step(job, error)))
		;
	if (counts)
		compact_counts(job, counts);
	return r;
}

static void compact_well(struct crowd *c, uint64_t to, struct compact_counts *counts)
{
	char *error;
	int r = compact_to(c, to, counts, &error);

	if (r != COMPACT_DONE)
		fail_msg("%d: %s", r, error);
}

static void compact_badly(struct crowd *c, uint64_t to, int result, const char *words)
{
	char *error;
	struct store_head before, after;

	assert_int_equal(store_head(c->store, &before), 0);
	assert_int_equal(compact_to(c, to, NULL, &error), result);
	assert_non_null(error);
	if (!strstr(error, words))
		fail_msg("\"%s\" does not say \"%s\"", error, words);
	free(error);
	assert_int_equal(store_head(c->store, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void assert_loads(struct crowd *c)
{
	struct ledger *l = load_whole(c->store);

	assert_same_digest(l, c->ledger);
	ledger_free(l);
}

/* Many pages ---------------------------------------------------------------------------------- */

static void a_state_of_many_pages_is_kept_and_replaced(void **state)
{
	struct crowd *c = compact_begin();
	struct compact_counts n;

	(void)state;
	crowd_bans(c, 30000, BAN_EVENTS, 10 * LEDGER_DAY_MS);
	compact_well(c, crowd_head(c) - 50, &n);
	print_message("%llu pages\n", (unsigned long long)n.pages);
	assert_true(n.pages > 50);
	assert_int_equal(n.missing, 0);
	assert_int_equal(n.folded, crowd_head(c) - 50);
	assert_loads(c);
	assert_compacted(c->store);
	c->now += 8 * LEDGER_DAY_MS;
	crowd_bans(c, 5000, BAN_EVENTS, 10 * LEDGER_DAY_MS);
	c->now += 4 * LEDGER_DAY_MS; /* the first ones ended, and their day after that */
	crowd_bans(c, 100, BAN_EVENTS, LEDGER_DAY_MS);
	compact_well(c, crowd_head(c), &n);
	assert_int_equal(n.missing, 0);
	assert_true(n.dropped > 290);
	assert_loads(c);
	assert_compacted(c->store);
	compact_end(c);
}

/* A day like any other, again and again; compacted whenever that is due. */
static void the_file_does_not_grow_beyond_the_history_period(void **state)
{
	enum { DAYS = 45, HISTORY_DAYS = 10, STEADY = 20, REPORT = 20 };
	struct crowd *c = compact_begin_with(HISTORY_DAYS * LEDGER_DAY_MS);
	struct store_head head;
	struct stat early, late;
	uint64_t to;
	unsigned jobs = 0;

	(void)state;
	for (unsigned day = 1; day <= DAYS; day++) {
		crowd_bans(c, 2000, REPORT, LEDGER_HOUR_MS);
		c->now = 1700000000000 + day * LEDGER_DAY_MS;
		assert_int_equal(store_head(c->store, &head), 0);
		if (compact_due(&head, c->ledger, &to)) {
			compact_well(c, to, NULL);
			jobs++;
		}
		if (day == STEADY)
			assert_int_equal(stat(in_folder("data.mdb"), &early), 0);
	}
	assert_int_equal(stat(in_folder("data.mdb"), &late), 0);
	print_message("%u jobs; %lld KiB after %d days, %lld after %d\n", jobs,
		      (long long)early.st_size >> 10, STEADY, (long long)late.st_size >> 10, DAYS);
	assert_in_range(jobs, DAYS / 2, DAYS);
	assert_true(late.st_size <= early.st_size + early.st_size / 4);
	assert_loads(c);
	assert_compacted(c->store);
	compact_end(c);
}

/* Wrong bytes --------------------------------------------------------------------------------- */

struct row_key {
	uint8_t bytes[32];
	size_t n;
};

static int first_key(void *arg, struct kban_span key, struct kban_span value)
{
	struct row_key *k = arg;

	(void)value;
	memcpy(k->bytes, key.p, key.n);
	k->n = key.n;
	return 1;
}

/* Changes one byte of the first page under this prefix; false: there is none yet. */
static bool change_page(struct store *s, const char *prefix, size_t at)
{
	struct row_key k;
	uint8_t *value;
	size_t len;

	if (!store_rows(s, kban_span(prefix, 1), first_key, &k))
		return false;
	assert_int_equal(store_get(s, kban_span(k.bytes, k.n), &value, &len), 0);
	value[at < len ? at : len - 1] ^= 1;
	store_begin(s);
	store_put(s, kban_span(k.bytes, k.n), kban_span(value, len));
	assert_int_equal(store_commit(s), 0);
	free(value);
	return true;
}

static void a_changed_page_is_refused_and_nothing_is_dropped(void **state)
{
	struct ledger *l = NULL;
	struct crowd *c = compact_begin();
	char *error;

	(void)state;
	crowd_bans(c, 2000, BAN_EVENTS, LEDGER_DAY_MS);
	compact_well(c, 15, NULL);
	for (size_t at = 0; at < 2000; at += at < 200 ? 7 : 67) {
		assert_true(change_page(c->store, "c", at));
		int r = compact_load(c->store, &pairs[0].sign_public, &l, &error);
		if (!r)
			fail_msg("byte %zu may be changed", at);
		free(error);
		assert_null(l);
		if (at % 50 == 0)
			compact_badly(c, 18, r, "the state at entry 15 in the store");
		assert_true(change_page(c->store, "c", at));
	}
	assert_loads(c);
	compact_well(c, 18, NULL);
	compact_end(c);
}

static void another_root_is_refused(void **state)
{
	struct ledger *l = NULL;
	struct crowd *c = compact_begin();
	char *error;

	(void)state;
	compact_well(c, 1, NULL);
	assert_int_equal(compact_load(c->store, &pairs[5].sign_public, &l, &error),
			 STORE_OTHER_CLUSTER);
	free(error);
	compact_end(c);
}

static uint64_t head_horizon(struct store *s)
{
	struct store_head head;

	assert_int_equal(store_head(s, &head), 0);
	return head.horizon;
}

/* Between writing and reading back a disk may do anything. */
static void a_page_that_is_not_what_was_written_moves_no_horizon(void **state)
{
	struct crowd *c = compact_begin();
	char *error = NULL;
	int r;

	(void)state;
	crowd_bans(c, 2000, BAN_EVENTS, LEDGER_DAY_MS);
	for (size_t at = 3; at < 1000; at += 83) {
		kban_auto(compact_free) struct compact *job = NULL;
		bool changed = false;
		compact_new(&job, c->store, &pairs[0].sign_public, 15);
		while (!(r = compact_step(job, &error)))
			changed = changed || change_page(c->store, "c", at);
		assert_true(r == STORE_DAMAGED || r == STORE_NEWER_FORMAT ||
			    r == STORE_OTHER_CLUSTER);
		free(error);
		assert_loads(c);
		assert_int_equal(head_horizon(c->store), 0);
	}
	compact_well(c, 15, NULL);
	compact_end(c);
}

static void an_entry_with_another_chain_is_refused(void **state)
{
	struct crowd *c = compact_begin();
	struct kban_place place;

	(void)state;
	crowd_bans(c, 500, BAN_EVENTS, LEDGER_DAY_MS);
	/* As if entry 4 had been changed where it lies: everything after it has another chain. */
	ledger_place(c->ledger, &place);
	place.chain.b[0] ^= 1;
	ledger_set_place(c->ledger, &place);
	crowd_bans(c, 500, BAN_EVENTS, LEDGER_DAY_MS);
	compact_badly(c, crowd_head(c), STORE_DAMAGED, "its chain differs");
	compact_well(c, place.seq - 1, NULL);
	compact_end(c);
}

static void what_is_no_report_is_refused(void **state)
{
	struct crowd *c = compact_begin();
	struct kban_place place;
	struct kban_entry e = {.accepted_ms = c->now, .sealed = {(const uint8_t *)"?", 1, NULL}};

	(void)state;
	ledger_place(c->ledger, &place);
	e.seq = ++place.seq;
	uint8_t signature[KBAN_SIGNATURE_SIZE] = {0};
	e.sealed.signature = signature;
	store_begin(c->store);
	store_append(c->store, &e, &place);
	assert_int_equal(store_commit(c->store), 0);
	compact_badly(c, e.seq, STORE_DAMAGED, "is no report");
	compact_end(c);
}

/* A full disk --------------------------------------------------------------------------------- */

static void a_log_that_filled_its_disk_is_compacted_with_the_reserve(void **state)
{
	struct crowd *c = compact_begin();
	struct compact_counts n;
	int r;

	(void)state;
	crowd_bans(c, 20000, BAN_EVENTS, LEDGER_DAY_MS);
	c->now += 3 * LEDGER_DAY_MS;
	disk.fail_with[CALL_ALLOCATE] = FULL_UNTIL_FREED;
	do {
		store_begin(c->store);
		crowd_ban(c, BAN_EVENTS, LEDGER_DAY_MS);
		r = store_commit(c->store);
	} while (!r);
	assert_int_equal(r, STORE_FULL);
	uint64_t stored = crowd_head(c) - 1;
	kban_log_setup("expected", KBAN_LOG_ERROR);
	compact_well(c, stored, &n);
	kban_log_setup("test", KBAN_LOG_INFO);
	assert_true(n.dropped > 150);
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	struct ledger *l = load_whole(c->store);
	ledger_free(c->ledger);
	c->ledger = l;
	crowd_bans(c, 5000, BAN_EVENTS, LEDGER_DAY_MS); /* into what became free */
	assert_loads(c);
	compact_end(c);
}

static void without_a_reserve_a_full_disk_stops_the_job_and_nothing_is_lost(void **state)
{
	struct crowd *c = compact_begin();
	uint64_t head;

	(void)state;
	crowd_bans(c, 20000, BAN_EVENTS, LEDGER_DAY_MS);
	head = crowd_head(c);
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	kban_log_setup("expected", KBAN_LOG_ERROR);
	for (int i = 0; i < 3; i++) {
		compact_badly(c, head, STORE_FULL, "make room");
		assert_loads(c);
	}
	kban_log_setup("test", KBAN_LOG_INFO);
	disk.fail_with[CALL_ALLOCATE] = 0;
	compact_well(c, head, NULL);
	assert_compacted(c->store);
	assert_loads(c);
	compact_end(c);
}

/* A process that is killed -------------------------------------------------------------------- */

/* Compacts on and on, a few entries at a time, and tells the pipe of each step. */
static void compact_until_killed(const struct kban_cluster_id *cluster, uint64_t end, int out)
{
	struct store *s = lmdb_store(0, cluster);
	struct store_head head;
	char *error = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		kban_auto(compact_free) struct compact *job = NULL;
		int r = store_head(s, &head);
		if (r || head.horizon + 3 > end)
			_exit(r ? 1 : 0);
		compact_new(&job, s, &pairs[0].sign_public, head.horizon + 3);
		compact_slice(job, 500);
		while (!(r = compact_step(job, &error)))
			if (write(out, "", 1) != 1)
				_exit(2);
		if (r != COMPACT_DONE)
			_exit(3);
	}
}

static void a_killed_job_leaves_a_whole_store(void **state)
{
	struct crowd *c = compact_begin();
	struct kban_cluster_id cluster = *ledger_cluster(c->ledger);
	unsigned unfinished_n = 0;
	uint32_t x = 99;

	(void)state;
	crowd_bans(c, 3000, 20, LEDGER_HOUR_MS / 4);
	c->now += 2 * LEDGER_DAY_MS;
	crowd_bans(c, 1000, 20, LEDGER_HOUR_MS / 4);
	for (unsigned round = 0; round < 16; round++) {
		bool unfinished;
		char byte;
		int ends[2];
		store_close(c->store);
		assert_int_equal(pipe(ends), 0);
		pid_t child = fork();
		if (!child)
			compact_until_killed(&cluster, crowd_head(c), ends[1]);
		close(ends[1]);
		for (unsigned n = 1 + next_random(&x) % 250; n; n--)
			n = read(ends[0], &byte, 1) == 1 ? n : 1;
		kill(child, SIGKILL);
		close(ends[0]);
		assert_int_equal(waitpid(child, NULL, 0), child);
		c->store = lmdb_store(0, &cluster);
		assert_loads(c);
		assert_int_equal(compact_unfinished(c->store, &unfinished), 0);
		unfinished_n += unfinished;
		if (round % 2)
			compact_well(c, 0, NULL);
		if (round % 2 || !unfinished)
			assert_compacted(c->store);
	}
	print_message("horizon %" PRIu64 " of %" PRIu64 ", %u times something was left half done\n",
		      head_horizon(c->store), crowd_head(c), unfinished_n);
	assert_true(unfinished_n > 5 && head_horizon(c->store) > 10);
	compact_end(c);
}

/* A state from somebody who lies -------------------------------------------------------------- */

/* The state and evidence of c's store, as they would come; page `page` has byte `at` changed, entry
 * `changed` its last byte, entry `left_out` does not come. What refused it, or 0. */
struct lie {
	size_t page_at; /* 0: none */
	uint64_t changed, left_out;
	struct install *install;
	char *error;
	uint64_t horizon;
};

static int lie_entry(void *arg, const struct kban_entry *e)
{
	struct lie *l = arg;
	uint8_t signature[KBAN_SIGNATURE_SIZE];
	struct kban_entry sent = *e;

	if (e->seq > l->horizon || e->seq == l->left_out)
		return 0;
	memcpy(signature, e->sealed.signature, sizeof(signature));
	signature[5] ^= e->seq == l->changed;
	sent.sealed.signature = signature;
	return install_entries(l->install, &sent, 1, &l->error);
}

static int lie_pages(struct crowd *c, struct lie *l)
{
	for (uint32_t n = 0;; n++) {
		kban_auto(kban_free) void *freed = NULL;
		uint8_t *bytes = NULL;
		struct kban_state_page page;
		int r = page_get(c->store, l->horizon, n, &bytes, &page.items_len);

		freed = bytes;
		if (r == STORE_NOT_FOUND)
			return install_pages_end(l->install, &l->error);
		assert_int_equal(r, 0);
		if (l->page_at && l->page_at < page.items_len)
			bytes[l->page_at] ^= 1;
		page.items = bytes;
		r = install_pages(l->install, &page, 1, &l->error);
		if (r)
			return r;
	}
}

static int believes(struct crowd *c, struct lie l, const char *words)
{
	struct store *s = lmdb_store(1, ledger_cluster(c->ledger));
	struct store_head head;
	bool unfinished;

	assert_int_equal(store_head(c->store, &head), 0);
	l.horizon = head.horizon;
	install_new(&l.install, s, &pairs[0].sign_public);
	int r = lie_pages(c, &l);
	if (!r)
		r = store_read(c->store, 0, SIZE_MAX, lie_entry, &l);
	if (!r && install_wants(l.install))
		r = STORE_DAMAGED;
	else if (r && !strstr(l.error, words))
		fail_msg("\"%s\" does not say \"%s\"", l.error, words);
	install_free(l.install);
	free(l.error);
	assert_int_equal(store_head(s, &head), 0);
	assert_int_equal(head.place.seq, 0);
	assert_int_equal(compact_unfinished(s, &unfinished), 0);
	assert_true(unfinished || l.page_at);
	store_close(s);
	lmdb_wipe(1, NULL);
	return r;
}

static void a_state_that_does_not_hold_is_not_taken(void **state)
{
	struct crowd *c = compact_begin();

	(void)state;
	crowd_bans(c, 1000, BAN_EVENTS, LEDGER_DAY_MS);
	compact_well(c, 12, NULL);
	assert_int_equal(believes(c, (struct lie){.changed = 99}, ""), 0);
	for (size_t at = 1; at < 4000; at += 97)
		assert_true(believes(c, (struct lie){.page_at = at}, "is refused") > 0);
	assert_int_equal(believes(c, (struct lie){.changed = 7}, "entry 7"), STORE_DAMAGED);
	assert_int_equal(believes(c, (struct lie){.left_out = 7}, "entry 7"), STORE_DAMAGED);
	assert_int_equal(believes(c, (struct lie){.left_out = 12}, ""), STORE_DAMAGED);
	compact_end(c);
}

static void a_state_behind_the_own_log_is_not_taken(void **state)
{
	struct crowd *c = compact_begin();
	kban_auto(install_free) struct install *i = NULL;
	uint8_t *bytes;
	struct kban_state_page page;
	char *error = NULL;

	(void)state;
	crowd_bans(c, 1000, BAN_EVENTS, LEDGER_DAY_MS);
	compact_well(c, 12, NULL);
	assert_int_equal(page_get(c->store, 12, 0, &bytes, &page.items_len), 0);
	page.items = bytes;
	install_new(&i, c->store, &pairs[0].sign_public);
	assert_int_equal(install_pages(i, &page, 1, &error), STORE_DAMAGED);
	assert_non_null(strstr(error, "has come to entry 12"));
	free(error);
	free(bytes);
	compact_end(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_of_many_pages_is_kept_and_replaced),
		cmocka_unit_test(the_file_does_not_grow_beyond_the_history_period),
		cmocka_unit_test(a_changed_page_is_refused_and_nothing_is_dropped),
		cmocka_unit_test(another_root_is_refused),
		cmocka_unit_test(a_page_that_is_not_what_was_written_moves_no_horizon),
		cmocka_unit_test(an_entry_with_another_chain_is_refused),
		cmocka_unit_test(what_is_no_report_is_refused),
		cmocka_unit_test(a_log_that_filled_its_disk_is_compacted_with_the_reserve),
		cmocka_unit_test(without_a_reserve_a_full_disk_stops_the_job_and_nothing_is_lost),
		cmocka_unit_test(a_killed_job_leaves_a_whole_store),
		cmocka_unit_test(a_state_that_does_not_hold_is_not_taken),
		cmocka_unit_test(a_state_behind_the_own_log_is_not_taken),
	};

	kban_crypto_setup();
	pools_fill();
	folder_begin();
	int failed = cmocka_run_group_tests_name("suite", compact_suite_tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("compact", tests, NULL, NULL);
	for (unsigned i = 0; i < STORES; i++)
		lmdb_wipe(i, NULL);
	rmdir(test_root);
	return failed ? 1 : 0;
}
