/* SPDX-License-Identifier: MPL-2.0
 *
 * The LMDB engine and a disk that fills up, fails, or loses its power, and a process that is
 * killed. At the end the speed is printed, and not judged.
 */
#include "store/test/disk.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

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

/* Durability -------------------------------------------------------------------------------- */

static bool was_synced(const char *folder)
{
	struct stat st;

	assert_int_equal(stat(folder, &st), 0);
	for (unsigned i = 0; i < disk.synced_n; i++) {
		if (disk.synced[i] == st.st_ino)
			return true;
	}
	return false;
}

static void opening_syncs_the_folder_and_its_parent(void **state)
{
	assert_true(was_synced(test_folder));
	assert_true(was_synced(test_root));
	memset(&disk, 0, sizeof(disk));
	suite_reopen(state); /* a process killed in between may have left it undone */
	assert_true(was_synced(test_folder));
	assert_true(was_synced(test_root));
}

static void each_commit_is_synced_before_and_with_its_meta_page(void **state)
{
	for (uint64_t seq = 1; seq <= 20; seq++) {
		memset(disk.count, 0, sizeof(disk.count));
		append_entries(*state, seq, 1, 300);
		assert_int_equal(disk.count[CALL_SYNC], 1);
		assert_int_equal(disk.count[CALL_META], 1); /* O_DSYNC */
	}
	memset(disk.count, 0, sizeof(disk.count));
	append_entries(*state, 21, 1000, 300); /* a group costs what one costs */
	assert_int_equal(disk.count[CALL_SYNC], 1);
	assert_int_equal(disk.count[CALL_META], 1);
}

static void nothing_is_written_before_commit(void **state)
{
	memset(disk.count, 0, sizeof(disk.count));
	store_begin(*state);
	for (uint64_t seq = 1; seq <= 100; seq++)
		stage_entry(*state, seq, 10000);
	assert_int_equal(disk.count[CALL_WRITE], 0);
	store_abort(*state);
	assert_int_equal(disk.count[CALL_WRITE] + disk.count[CALL_META] + disk.count[CALL_SYNC], 0);
}

/* Growth ------------------------------------------------------------------------------------ */

static void the_file_grows_without_anyone_noticing(void **state)
{
	enum { BATCHES = 20, BATCH = 30 };
	struct stat st;

	disk.skip_sync = true;
	for (uint64_t i = 0; i < BATCHES; i++)
		append_entries(*state, 1 + i * BATCH, BATCH, KBAN_REPORT_MAX);
	assert_true(disk.count[CALL_ALLOCATE] > 5);
	assert_int_equal(stat(in_folder("data.mdb"), &st), 0);
	assert_true((size_t)st.st_size > (size_t)BATCHES * BATCH * KBAN_REPORT_MAX);
	assert_true((size_t)st.st_size < (size_t)2 * BATCHES * BATCH * KBAN_REPORT_MAX);
	check_entries(suite_reopen(state), BATCHES * BATCH);
}

static void one_transaction_may_outgrow_the_map_many_times(void **state)
{
	disk.skip_sync = true;
	append_entries(*state, 1, 400, KBAN_REPORT_MAX); /* 50 MiB into a file of 1 */
	check_entries(suite_reopen(state), 400);
}

/* A full disk ------------------------------------------------------------------------------- */

/* Appends until there is no room; the last one that fitted. */
static uint64_t fill(struct store *s, uint64_t head)
{
	for (;;) {
		store_begin(s);
		put_text(s, "p", "atomic");
		stage_entry(s, head + 1, 10000);
		int r = store_commit(s);
		if (r == STORE_FULL)
			return head;
		assert_int_equal(r, 0);
		assert_true(++head < 10000); /* there is an end to it */
	}
}

static void a_full_disk_is_an_outcome_and_passes(void **state)
{
	struct store *s = *state;
	struct stat before, after;

	append_entries(s, 1, 3, 300);
	assert_int_equal(stat(in_folder("data.mdb"), &before), 0);
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	uint64_t head = fill(s, 3);
	assert_non_null(strstr(store_error(s), "make room"));
	for (unsigned rounds = 0; rounds < 3; rounds++) {
		assert_int_equal(fill(s, head), head);
		check_entries(s, head);
	}
	assert_int_equal(stat(in_folder("data.mdb"), &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	disk.fail_with[CALL_ALLOCATE] = 0;
	append_entries(s, head + 1, 100, 10000);
	check_entries(suite_reopen(state), head + 100);
}

static void what_did_not_fit_left_nothing(void **state)
{
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	store_begin(*state);
	put_text(*state, "row", "of the transaction that did not fit");
	for (uint64_t seq = 1; seq <= 100; seq++)
		stage_entry(*state, seq, KBAN_REPORT_MAX);
	assert_int_equal(store_commit(*state), STORE_FULL);
	for (int i = 0; i < 2; i++) {
		check_row(*state, "row", NULL);
		check_entries(*state, 0);
		suite_reopen(state);
	}
}

/* Puts rows of a queue until there is no room; how many fitted. */
static unsigned fill_queue(struct store *s)
{
	static uint8_t value[3000];
	char key[16];

	for (unsigned rows = 0;; rows++) {
		snprintf(key, sizeof(key), "o%08u", rows);
		store_begin(s);
		store_put(s, text_span(key), kban_span(value, sizeof(value)));
		int r = store_commit(s);
		if (r == STORE_FULL)
			return rows;
		assert_int_equal(r, 0);
	}
}

static void delete_queue(struct store *s, unsigned rows)
{
	char key[16];

	store_begin(s);
	for (unsigned i = 0; i < rows; i++) {
		snprintf(key, sizeof(key), "o%08u", i);
		store_delete(s, text_span(key));
	}
	assert_int_equal(store_commit(s), 0);
	check_rows(s, "o", "");
}

static void only_deleting_gets_the_reserve_and_it_comes_back(void **state)
{
	disk.fail_with[CALL_ALLOCATE] = FULL_UNTIL_FREED;
	uint64_t head = fill(*state, 0);
	unsigned rows = fill_queue(*state);
	assert_int_equal(access(in_folder("reserve"), F_OK), 0); /* not for those two */
	unsigned before = disk.count[CALL_ALLOCATE];
	kban_log_setup("expected", KBAN_LOG_ERROR);
	/* Deletes as much as it takes to need new pages: all that the file holds was used up. */
	delete_queue(*state, rows);
	kban_log_setup("test", KBAN_LOG_INFO);
	assert_true(disk.count[CALL_ALLOCATE] > before);
	disk.fail_with[CALL_ALLOCATE] = 0;
	assert_int_equal(access(in_folder("reserve"), F_OK), 0); /* the real disk had room for it */
	check_entries(*state, head);
}

static void a_full_disk_inside_a_commit_is_an_outcome(void **state)
{
	static const struct {
		enum call call;
		int error;
	} cases[] = {{CALL_WRITE, ENOSPC}, {CALL_SYNC, ENOSPC}, {CALL_WRITE, EDQUOT}};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		uint64_t head = head_seq(*state);
		disk.fail_with[cases[i].call] = cases[i].error;
		assert_int_equal(fill(*state, head), head);
		disk.fail_with[cases[i].call] = 0;
		check_entries(*state, head);
		append_entries(*state, head + 1, 2, 10000);
		check_entries(suite_reopen(state), head + 2);
	}
}

static void a_new_store_needs_room(void **state)
{
	store_close(*state);
	*state = NULL;
	folder_wipe();
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	REFUSES(STORE_FULL, test_folder, "make room");
	REFUSES(STORE_FULL, test_folder, "make room");
	disk.fail_with[CALL_ALLOCATE] = 0;
	check_entries(*state = folder_store(), 0);
}

static void a_store_on_a_full_disk_opens(void **state)
{
	append_entries(*state, 1, 50, 5000);
	store_close(*state);
	*state = NULL;
	disk.fail_with[CALL_ALLOCATE] = ENOSPC;
	check_entries(*state = folder_store(), 50);
}

/* In a mount namespace of its own; what is returned goes into the exit code. */
static int tmpfs_story(void)
{
	static uint8_t filler[1 << 16];

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", test_root, "tmpfs", 0, "size=24m"))
		return 77;
	struct store *s = folder_store();
	if (!s || access(in_folder("reserve"), F_OK))
		return 1;
	int other = open(in_folder("../other"), O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 100; i++) { /* somebody else's 6 MiB */
		if (write(other, filler, sizeof(filler)) != (ssize_t)sizeof(filler))
			return 2;
	}
	uint64_t head = fill(s, 0);
	if (head < 500 || fill(s, head) != head)
		return 3;
	store_close(s); /* a restart on a full disk */
	s = folder_store();
	if (!s || head_seq(s) != head || fill(s, head) != head)
		return 4;
	if (ftruncate(other, 0))
		return 5;
	uint64_t more = fill(s, head); /* by itself, once there is room */
	if (more < head + 300)
		return 6;
	store_close(s);
	s = folder_store();
	check_entries(s, more);
	store_close(s);
	return 0;
}

static void a_small_disk_fills_up_and_goes_on(void **state)
{
	int status;

	store_close(*state);
	*state = NULL;
	pid_t child = fork();
	if (!child)
		_exit(tmpfs_story());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: no mount namespace here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A broken disk ----------------------------------------------------------------------------- */

static void a_failing_commit_ends_the_process(void **state)
{
	static const struct {
		enum call call;
		int error;
		unsigned appended; /* what may be there afterwards besides what was */
	} cases[] = {
		{CALL_ALLOCATE, EIO, 0}, /* first: the others leave the file longer */
		{CALL_SYNC, EIO, 0},	 {CALL_WRITE, EIO, 0},	 {CALL_WRITE, CUT_SHORT, 0},
		{CALL_META, EIO, 1},	 {CALL_META, ENOSPC, 1}, {CALL_META, CUT_SHORT, 1},
	};
	int status;

	append_entries(*state, 1, 3, 300);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		uint64_t head = head_seq(*state);
		store_close(*state);
		*state = NULL;
		pid_t child = fork();
		if (!child) {
			kban_log_setup("expected", KBAN_LOG_ERROR - 1);
			struct store *s = folder_store();
			disk.fail_with[cases[i].call] = cases[i].error;
			append_entries(s, head + 1, 20, KBAN_REPORT_MAX);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
		*state = folder_store();
		uint64_t now = head_seq(*state);
		assert_true(now == head || (cases[i].appended && now == head + 20));
		append_entries(*state, now + 1, 2, 300);
		check_entries(*state, now + 2);
	}
}

/* Commits batches and tells the pipe after each one how far it has come. */
static void burst(int out)
{
	struct store *s = folder_store();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t head = head_seq(s);;) {
		size_t n = 1 + head % 7;
		store_begin(s);
		for (size_t i = 1; i <= n; i++)
			stage_entry(s, head + i, 300 + (head + i) % 9000);
		put_text(s, "p", "position");
		if (store_commit(s))
			_exit(1);
		head += n;
		if (write(out, &head, sizeof(head)) != sizeof(head))
			_exit(2);
	}
}

static void a_killed_burst_leaves_everything_that_was_committed(void **state)
{
	uint64_t told = 0;

	for (unsigned round = 1; round <= 12; round++) {
		int ends[2];
		store_close(*state);
		*state = NULL;
		assert_int_equal(pipe(ends), 0);
		pid_t child = fork();
		if (!child)
			burst(ends[1]);
		close(ends[1]);
		for (unsigned i = 0; i < 7 * round; i++)
			assert_int_equal(read(ends[0], &told, sizeof(told)), sizeof(told));
		kill(child, SIGKILL);
		while (read(ends[0], &told, sizeof(told)) == sizeof(told))
			; /* what it said before it died counts too */
		close(ends[0]);
		assert_int_equal(waitpid(child, NULL, 0), child);
		struct store *s = *state = folder_store();
		uint64_t head = head_seq(s);
		assert_in_range(head, told, told + 7); /* at most the one that was under way */
		check_entries(s, head);
		check_row(s, "p", "position");
	}
}

/* Power cuts: what was synced is there; of what was not, any sector may be or not. ---------- */

enum { SECTOR = 512, CUT_COMMITS = 40 };

struct image {
	uint8_t *bytes;
	size_t len;
};

static void image_extend(struct image *m, size_t len)
{
	if (len <= m->len)
		return;
	m->bytes = kban_realloc(m->bytes, len);
	memset(m->bytes + m->len, 0, len - m->len);
	m->len = len;
}

/* Sectors of an event by chance, or all of it when x is NULL. */
static void image_apply(struct image *m, const struct event *e, uint32_t *x)
{
	if (e->kind == EVENT_EXTEND && (!x || next_random(x) % 2))
		image_extend(m, (size_t)e->at);
	for (size_t i = 0; i < e->len; i += SECTOR) {
		size_t n = e->len - i < SECTOR ? e->len - i : SECTOR;
		if (x && next_random(x) % 2)
			continue;
		image_extend(m, (size_t)e->at + i + n);
		memcpy(m->bytes + e->at + i, e->bytes + i, n);
	}
}

/* What the disk may hold when the power went during the last of n events. */
static struct image image_after(const struct image *start, size_t n, uint32_t *x)
{
	struct image m = {kban_memdup(start->bytes, start->len), start->len};
	size_t synced = 0;

	for (size_t i = 0; i < n; i++) {
		if (events[i].kind == EVENT_SYNC && i + 1 < n)
			synced = i;
	}
	for (size_t i = 0; i < n; i++) {
		/* A write through O_DSYNC is durable by itself, once it has returned. */
		bool durable = i < synced || (events[i].kind == EVENT_DURABLE_WRITE && i + 1 < n);
		image_apply(&m, &events[i], durable ? NULL : x);
	}
	return m;
}

static void check_image(const struct image *m, uint64_t least, uint64_t most)
{
	folder_wipe();
	assert_int_equal(mkdir(test_folder, 0700), 0);
	write_file(in_folder("data.mdb"), m->bytes, m->len);
	struct store *s = folder_store();
	assert_non_null(s);
	uint64_t head = head_seq(s);
	assert_in_range(head, least, most);
	check_entries(s, head);
	append_entries(s, head + 1, 1, 5000);
	check_entries(s, head + 1);
	store_close(s);
}

static void a_power_cut_at_any_point_loses_nothing_committed(void **state)
{
	size_t done_at[CUT_COMMITS + 1] = {0}; /* events after so many commits */
	uint64_t heads[CUT_COMMITS + 2] = {0};
	struct image start = {0};
	uint32_t x = 4711;
	uint64_t head = 0;

	disk.skip_sync = true;
	start.bytes = file_bytes(in_folder("data.mdb"), &start.len);
	disk.recording = true;
	for (unsigned i = 1; i <= CUT_COMMITS; i++) {
		size_t n = 1 + i % 5;
		append_entries(*state, head + 1, n, i % 8 ? 300 * i : 60000);
		heads[i] = head += n;
		done_at[i] = events_n;
	}
	heads[CUT_COMMITS + 1] = head;
	disk.recording = false;
	store_close(*state);
	*state = NULL;
	for (size_t cut = 0, commits = 0; cut <= events_n; cut++) {
		while (commits < CUT_COMMITS && done_at[commits + 1] < cut)
			commits++;
		for (int i = 0; i < 2; i++) {
			struct image m = image_after(&start, cut, &x);
			check_image(&m, heads[commits], heads[commits + 1]);
			free(m.bytes);
		}
	}
	print_message("%zu points\n", events_n + 1);
	for (; events_n; events_n--)
		free(events[events_n - 1].bytes);
	free(start.bytes);
}

/* Speed ------------------------------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void the_speed_is_printed(void **state)
{
	enum { SINGLE = 300, BATCHES = 50, BATCH = 1000 };
	uint64_t head = 0;
	double t = seconds();

	for (unsigned i = 0; i < SINGLE; i++)
		append_entries(*state, ++head, 1, 300);
	print_message("%.0f durable commits a second of one entry\n", SINGLE / (seconds() - t));
	t = seconds();
	for (unsigned i = 0; i < BATCHES; i++, head += BATCH)
		append_entries(*state, head + 1, BATCH, 300);
	print_message("%.0f durable entries a second in batches of %d\n",
		      BATCHES * BATCH / (seconds() - t), BATCH);
	t = seconds();
	check_entries(suite_reopen(state), head);
	print_message("%.0f entries a second opened, read and compared\n",
		      (double)head / (seconds() - t));
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(opening_syncs_the_folder_and_its_parent),
		DISK_TEST(each_commit_is_synced_before_and_with_its_meta_page),
		DISK_TEST(nothing_is_written_before_commit),
		DISK_TEST(the_file_grows_without_anyone_noticing),
		DISK_TEST(one_transaction_may_outgrow_the_map_many_times),
		DISK_TEST(a_full_disk_is_an_outcome_and_passes),
		DISK_TEST(what_did_not_fit_left_nothing),
		DISK_TEST(only_deleting_gets_the_reserve_and_it_comes_back),
		DISK_TEST(a_full_disk_inside_a_commit_is_an_outcome),
		DISK_TEST(a_new_store_needs_room),
		DISK_TEST(a_store_on_a_full_disk_opens),
		DISK_TEST(a_small_disk_fills_up_and_goes_on),
		DISK_TEST(a_failing_commit_ends_the_process),
		DISK_TEST(a_killed_burst_leaves_everything_that_was_committed),
		DISK_TEST(a_power_cut_at_any_point_loses_nothing_committed),
		DISK_TEST(the_speed_is_printed),
	};

	folder_begin();
	log_suite = (struct log_suite){folder_store, folder_wipe};
	int failed = cmocka_run_group_tests_name("disk", tests, NULL, NULL);
	folder_end();
	return failed ? 1 : 0;
}
