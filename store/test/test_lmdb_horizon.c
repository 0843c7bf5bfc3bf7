/* SPDX-License-Identifier: MPL-2.0
 *
 * The LMDB engine while its horizon moves: the file stays bounded, a full disk lets go of entries,
 * and a process that is killed in between leaves whole transactions.
 */
#include "store/test/disk.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "proto/log.h"

static int disk_setup(void **state)
{
	memset(&disk, 0, sizeof(disk));
	return suite_setup(state);
}

static int disk_teardown(void **state)
{
	memset(&disk, 0, sizeof(disk));
	return suite_teardown(state);
}

/* One round of compaction as a job does it: the horizon first, then drops in slices. */
static void drop_below(struct store *s, uint64_t from, uint64_t to, uint64_t keep_every)
{
	move_horizon_to(s, to);
	for (uint64_t seq = from; seq <= to;) {
		store_begin(s);
		for (unsigned n = 0; n < 1000 && seq <= to; n++, seq++) {
			if (seq % keep_every)
				store_drop(s, seq);
		}
		assert_int_equal(store_commit(s), 0);
	}
}

static off_t file_size(void)
{
	struct stat st;

	assert_int_equal(stat(in_folder("data.mdb"), &st), 0);
	return st.st_size;
}

/* Sizes from a few bytes to whole pages, so that what is freed does not fit what comes. */
static size_t size_of(uint64_t seq)
{
	return seq % 50 ? 200 + seq * 37 % 700 : 9000 + seq % 7 * 4096;
}

static void the_file_stays_bounded_under_steady_load(void **state)
{
	enum { ROUNDS = 20, ROUND = 5000, GROUP = 100 };
	struct store *s = *state;
	off_t early = 0;

	disk.skip_sync = true;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		for (uint64_t at = round * ROUND; at < (round + 1) * ROUND; at += GROUP) {
			store_begin(s);
			for (uint64_t seq = at + 1; seq <= at + GROUP; seq++)
				stage_entry(s, seq, size_of(seq));
			assert_int_equal(store_commit(s), 0);
		}
		if (round)
			drop_below(s, (round - 1) * ROUND + 1, round * ROUND, UINT64_MAX);
		if (round == 3)
			early = file_size();
	}
	print_message("%lld MiB after 4 rounds, %lld after %d\n", (long long)early >> 20,
		      (long long)file_size() >> 20, ROUNDS);
	assert_true(file_size() <= early + early / 4);
	s = suite_reopen(state);
	struct counted c = {.next = (ROUNDS - 1) * ROUND + 1};
	assert_int_equal(store_read(s, 0, SIZE_MAX, count_entry, &c), 0);
	assert_int_equal(c.n, ROUND);
}

static uint64_t fill(struct store *s, uint64_t head)
{
	for (;; head++) {
		store_begin(s);
		stage_entry(s, head + 1, 700);
		int r = store_commit(s);
		if (r == STORE_FULL)
			return head;
		assert_int_equal(r, 0);
	}
}

static void a_full_disk_lets_the_horizon_move_and_entries_go(void **state)
{
	struct store *s = *state;

	disk.skip_sync = true;
	append_entries(s, 1, 500, 700);
	disk.fail_with[CALL_ALLOCATE] = FULL_UNTIL_FREED;
	uint64_t head = fill(s, 500);
	assert_int_equal(access(in_folder("reserve"), F_OK), 0);
	kban_log_setup("expected", KBAN_LOG_ERROR);
	drop_below(s, 1, head - 5, UINT64_MAX);
	kban_log_setup("test", KBAN_LOG_INFO);
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	uint64_t more = fill(s, head); /* into what was freed */
	assert_true(more > head + 10);
	check_horizon(suite_reopen(state), head - 5, more);
}

static void what_did_not_fit_moved_no_horizon(void **state)
{
	struct store *s = *state;

	append_entries(s, 1, 20, 300);
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	store_begin(s);
	stage_horizon(s, 1000);
	store_drop(s, 3);
	for (uint64_t seq = 100; seq < 200; seq++)
		stage_keep(s, seq, KBAN_REPORT_MAX);
	assert_int_equal(store_commit(s), STORE_FULL);
	for (int i = 0; i < 2; i++) {
		check_horizon(s, 0, 20);
		check_entries(s, 20);
		s = suite_reopen(state);
	}
}

enum { KEEP_EVERY = 7, BEHIND = 20 };

/* Every transaction appends, moves the horizon to BEHIND below the head, and drops what is below
 * and no multiple of KEEP_EVERY. */
static void burst(int out)
{
	struct store *s = folder_store();
	struct store_head h;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (store_head(s, &h))
			_exit(1);
		uint64_t head = h.place.seq, n = 1 + head % 11;
		store_begin(s);
		for (uint64_t seq = head + 1; seq <= head + n; seq++)
			stage_entry(s, seq, 300 + seq % 9000);
		if (head + n > BEHIND)
			stage_horizon(s, head + n - BEHIND);
		for (uint64_t seq = h.horizon + 1; seq + BEHIND <= head + n; seq++) {
			if (seq % KEEP_EVERY)
				store_drop(s, seq);
		}
		if (store_commit(s))
			_exit(2);
		head += n;
		if (write(out, &head, sizeof(head)) != sizeof(head))
			_exit(3);
	}
}

static void check_burst(struct store *s, uint64_t told)
{
	struct listed got = {""}, want = {""};
	struct store_head h;

	assert_int_equal(store_head(s, &h), 0);
	assert_in_range(h.place.seq, told, told + 11);
	check_horizon(s, h.place.seq - BEHIND, h.place.seq);
	uint64_t from = h.horizon > 300 ? h.horizon - 300 : 0;
	for (uint64_t seq = from + 1; seq <= h.place.seq; seq++) {
		size_t n = strlen(want.text);
		if (seq > h.horizon || seq % KEEP_EVERY == 0)
			snprintf(want.text + n, sizeof(want.text) - n, "%llu ",
				 (unsigned long long)seq);
	}
	assert_int_equal(store_read(s, from, SIZE_MAX, list_entry, &got), 0);
	assert_string_equal(got.text, want.text);
}

static void a_killed_burst_leaves_whole_transactions(void **state)
{
	uint64_t told = 0;

	for (unsigned round = 1; round <= 10; round++) {
		int ends[2];
		store_close(*state);
		*state = NULL;
		assert_int_equal(pipe(ends), 0);
		pid_t child = fork();
		if (!child)
			burst(ends[1]);
		close(ends[1]);
		for (unsigned i = 0; i < 9 * round; i++)
			assert_int_equal(read(ends[0], &told, sizeof(told)), sizeof(told));
		kill(child, SIGKILL);
		while (read(ends[0], &told, sizeof(told)) == sizeof(told))
			; /* what it said before it died counts too */
		close(ends[0]);
		assert_int_equal(waitpid(child, NULL, 0), child);
		check_burst(*state = folder_store(), told);
	}
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(the_file_stays_bounded_under_steady_load),
		DISK_TEST(a_full_disk_lets_the_horizon_move_and_entries_go),
		DISK_TEST(what_did_not_fit_moved_no_horizon),
		DISK_TEST(a_killed_burst_leaves_whole_transactions),
	};

	folder_begin();
	log_suite = (struct log_suite){folder_store, folder_wipe};
	int failed = cmocka_run_group_tests_name("horizon", tests, NULL, NULL);
	folder_end();
	return failed ? 1 : 0;
}
