/* SPDX-License-Identifier: MPL-2.0
 *
 * The LMDB engine: the suite that every engine passes, what it refuses to open, and FORMAT.md's
 * vector.
 */
#include "store/test/test_folder.h"

#include <signal.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <linux/magic.h>
#include <sys/syscall.h>

#include "store/record.h"

static long fake_fs; /* what fstatfs() says of the folder */

int fstatfs(int fd, struct statfs *st)
{
	int r = (int)syscall(SYS_fstatfs, fd, st);

	if (!r && fake_fs)
		st->f_type = fake_fs;
	return r;
}

static void filled(void **state, size_t n)
{
	append_entries(*state, 1, n, 300);
	store_close(*state);
	*state = NULL;
}

static void folder_and_files_are_private(void **state)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock", "reserve"};
	struct stat st;

	(void)state;
	assert_int_equal(stat(test_folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++) {
		assert_int_equal(stat(in_folder(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0077, 0);
	}
}

static void a_second_opener_is_refused_and_told_who(void **state)
{
	char pid[32];
	int status;

	snprintf(pid, sizeof(pid), "process %ld;", (long)getpid());
	REFUSES(STORE_IN_USE, test_folder, pid, "stop that one");
	pid_t child = fork();
	if (!child) {
		struct store *s;
		_exit(store_lmdb_open(&s, test_folder, &log_suite_cluster, NULL));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), STORE_IN_USE);
	append_entries(*state, 1, 1, 10);
	check_entries(suite_reopen(state), 1);
}

static void a_newer_format_is_refused(void **state)
{
	filled(state, 3);
	patch_data(kban_span("format\0\0\0\1", 10), kban_span("format\0\0\0\2", 10));
	REFUSES(STORE_NEWER_FORMAT, test_folder, "format 2", "up to 1", "install");
	patch_data(kban_span("format\0\0\0\2", 10), kban_span("format\0\0\0\1", 10));
	check_entries(*state = folder_store(), 3);
}

static void another_clusters_log_is_refused(void **state)
{
	filled(state, 3);
	patch_data(kban_span("sixteen bytes...", 16), kban_span("fifteen bytes,,,", 16));
	REFUSES(STORE_OTHER_CLUSTER, test_folder, "666966746565", "736978746565",
		"name another folder");
}

static void garbage_is_refused(void **state)
{
	uint8_t garbage[20000];

	filled(state, 3);
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)(i * 7);
	write_file(in_folder("data.mdb"), garbage, sizeof(garbage));
	REFUSES(STORE_DAMAGED, test_folder, "move the folder away", "backup");
	write_file(in_folder("data.mdb"), garbage, 5);
	REFUSES(STORE_DAMAGED, test_folder, "move the folder away");
}

static void a_file_cut_short_is_refused(void **state)
{
	filled(state, 200);
	assert_int_equal(truncate(in_folder("data.mdb"), 4096), 0);
	REFUSES(STORE_DAMAGED, test_folder, "move the folder away");
}

static void a_file_without_its_tail_is_refused(void **state)
{
	filled(state, 200);
	assert_int_equal(truncate(in_folder("data.mdb"), 6 * 4096), 0);
	REFUSES(STORE_DAMAGED, "cut short");
}

static void an_empty_file_is_a_new_store(void **state)
{
	filled(state, 3);
	write_file(in_folder("data.mdb"), NULL, 0);
	check_entries(*state = folder_store(), 0);
	append_entries(*state, 1, 1, 10);
}

static void a_missing_meta_row_is_refused(void **state)
{
	static const char *const names[] = {"format", "cluster", "horizon"};

	filled(state, 3);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++) {
		char other[16];
		snprintf(other, sizeof(other), "%s", names[i]);
		other[0]++; /* the order of the keys stays */
		patch_data(text_span(names[i]), text_span(other));
		REFUSES(STORE_DAMAGED, test_folder, "move the folder away");
		patch_data(text_span(other), text_span(names[i]));
	}
	check_entries(*state = folder_store(), 3);
}

static void network_file_systems_are_refused(void **state)
{
	static const long types[] = {
		NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, (long)CIFS_SUPER_MAGIC, (long)SMB2_SUPER_MAGIC,
		AFS_SUPER_MAGIC, V9FS_MAGIC,	  FUSE_SUPER_MAGIC,	  CEPH_SUPER_MAGIC};

	filled(state, 3);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(types); i++) {
		fake_fs = types[i];
		REFUSES(STORE_NETWORK_FS, test_folder, "network file system", "local disk");
	}
	fake_fs = 0;
	check_entries(*state = folder_store(), 3);
}

static void a_folder_that_can_not_be_is_refused(void **state)
{
	char good[sizeof(test_folder)];

	(void)state;
	memcpy(good, test_folder, sizeof(good));
	snprintf(test_folder, sizeof(test_folder), "%.2000s/no/store", test_root);
	REFUSES(-ENOENT, test_folder, "make the folder above it");
	snprintf(test_folder, sizeof(test_folder), "%.2000s/lock", good);
	REFUSES(-ENOTDIR, test_folder, "can't open");
	memcpy(test_folder, good, sizeof(good));
}

/* The record of an entry that make_entry() made: bytes of key and value in one. */
static size_t made_record(uint8_t *out, uint64_t seq, size_t len)
{
	make_entry(&made, seq, len);
	record_encode(out, out + RECORD_KEY_SIZE, &made.entry, &made.after);
	return RECORD_KEY_SIZE + record_size(&made.entry);
}

static int ignore_entry(void *arg, const struct kban_entry *e)
{
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

static void a_damaged_record_is_named(void **state)
{
	static uint8_t right[RECORD_SIZE_MAX + 8], wrong[RECORD_SIZE_MAX + 8];
	unsigned n = 0;
	struct kban_hash chain;
	size_t len = made_record(right, 2, 300);

	filled(state, 3);
	memcpy(wrong, right, len);
	wrong[RECORD_KEY_SIZE + 47]++; /* the report's length */
	patch_data(kban_span(right, len), kban_span(wrong, len));
	*state = folder_store();
	assert_int_equal(store_read(*state, 0, SIZE_MAX, ignore_entry, &n), STORE_DAMAGED);
	assert_int_equal(n, 1);
	assert_non_null(strstr(store_error(*state), "entry 2 is damaged"));
	assert_int_equal(store_chain(*state, 2, &chain), STORE_DAMAGED);
	assert_int_equal(store_chain(*state, 3, &chain), 0);
}

/* Moves the horizon of a closed store, as compaction would leave it. */
static void move_horizon(uint64_t from, uint64_t to)
{
	uint8_t old[RECORD_HORIZON_SIZE], new[RECORD_HORIZON_SIZE];
	struct kban_span id = kban_span(log_suite_cluster.b, KBAN_CLUSTER_SIZE);
	struct kban_place place = {.epoch = 1, .seq = from};

	assert_int_equal(from, 0);
	kban_hash_spans(&place.chain, "kban chain genesis v1", &id, 1);
	record_horizon_encode(old, &place, 0);
	make_entry(&made, to, 10);
	record_horizon_encode(new, &made.after, made.entry.accepted_ms);
	patch_data(kban_span(old, sizeof(old)), kban_span(new, sizeof(new)));
}

static void below_the_horizon_only_kept_entries_are_left(void **state)
{
	struct kban_hash chain, want;
	struct store_head head;

	filled(state, 10);
	move_horizon(0, 6);
	struct store *s = *state = folder_store();
	assert_int_equal(store_head(s, &head), 0);
	assert_int_equal(head.horizon, 6);
	assert_int_equal(head.place.seq, 10);
	made_chain(&want, 6);
	assert_memory_equal(&head.horizon_chain, &want, sizeof(want));
	assert_int_equal(store_chain(s, 5, &chain), STORE_NOT_FOUND);
	assert_int_equal(store_chain(s, 0, &chain), STORE_NOT_FOUND);
	assert_int_equal(store_chain(s, 6, &chain), 0);
	assert_memory_equal(&chain, &want, sizeof(want));
	check_entries(s, 10); /* here all of them were kept */
	append_entries(s, 11, 1, 10);
	check_entries(suite_reopen(state), 11);
}

static void a_log_may_end_at_its_horizon(void **state)
{
	struct store_head head;

	filled(state, 6);
	move_horizon(0, 8); /* entries 7 and 8 were not kept */
	struct store *s = *state = folder_store();
	make_entry(&made, 8, 10);
	assert_int_equal(store_head(s, &head), 0);
	assert_int_equal(head.place.seq, 8);
	assert_int_equal(head.accepted_ms, made.entry.accepted_ms);
	assert_memory_equal(&head.place.chain, &made.after.chain, sizeof(struct kban_hash));
	append_entries(s, 9, 1, 10);
	assert_int_equal(head_seq(suite_reopen(state)), 9);
}

static void a_log_with_a_hole_is_refused(void **state)
{
	static uint8_t right[RECORD_SIZE_MAX + 8], wrong[RECORD_SIZE_MAX + 8];
	size_t len = made_record(right, 3, 300);

	filled(state, 3);
	memcpy(wrong, right, len);
	wrong[7] = 4; /* entry 3 becomes entry 4 */
	patch_data(kban_span(right, len), kban_span(wrong, len));
	REFUSES(STORE_DAMAGED, "entries are missing");
}

/* FORMAT.md, "A record, byte by byte": keep the two the same. */
static const char vector_key[] = "0000000000000102";
static const char vector_value[] =
	"0000018bcfe56800"						   /* accepted_at */
	"00000003"							   /* epoch */
	"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f" /* chain */
	"0000000b"							   /* length */
	"612073616d706c65203a29" /* report, "a sample :)" */
	"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";

static void the_vector_of_the_format_holds(void **state)
{
	uint8_t key[RECORD_KEY_SIZE], value[RECORD_FIXED + 11], signature[KBAN_SIGNATURE_SIZE];
	char hex[KBAN_HEX(sizeof(value))];
	struct kban_place after = {.epoch = 3, .seq = 258};
	struct record r;
	const char *why;

	(void)state;
	for (unsigned i = 0; i < sizeof(signature); i++)
		signature[i] = (uint8_t)(0x80 + i);
	for (unsigned i = 0; i < KBAN_HASH_SIZE; i++)
		after.chain.b[i] = (uint8_t)(0x20 + i);
	struct kban_entry e = {.seq = 258,
			       .accepted_ms = 1700000000000,
			       .sealed = {(const uint8_t *)"a sample :)", 11, signature}};
	assert_int_equal(record_size(&e), sizeof(value));
	record_encode(key, value, &e, &after);
	assert_string_equal(kban_hex(hex, key, sizeof(key)), vector_key);
	assert_string_equal(kban_hex(hex, value, sizeof(value)), vector_value);
	assert_int_equal(
		record_decode(&r, kban_span(key, 8), kban_span(value, sizeof(value)), &why), 0);
	assert_int_equal(r.entry.seq, 258);
	assert_int_equal(r.entry.accepted_ms, 1700000000000);
	assert_int_equal(r.after.epoch, 3);
	assert_memory_equal(r.entry.sealed.report, "a sample :)", 11);
}

static void broken_records_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		int cut; /* bytes off the end, or more */
	} cases[] = {
		{8 + 47, 10, 0}, {8 + 47, 12, 0}, {8 + 44, 1, 0}, {8 + 11, 0, 0}, {7, 0, 0},
		{7, 2, 1},	 {7, 2, -1},	  {7, 2, 11},	  {7, 2, 75},	  {7, 2, 123},
	};
	uint8_t good[8 + RECORD_FIXED + 11];
	struct record r;
	const char *why = NULL;

	(void)state;
	assert_int_equal(made_record(good, 2, 11), sizeof(good));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(cases); i++) {
		uint8_t bytes[sizeof(good) + 1] = {0};
		memcpy(bytes, good, sizeof(good));
		bytes[cases[i].at] = cases[i].byte;
		struct kban_span value = kban_span(bytes + 8,
						   (size_t)((int)sizeof(good) - 8 - cases[i].cut));
		assert_int_equal(record_decode(&r, kban_span(bytes, 8), value, &why),
				 STORE_DAMAGED);
		assert_non_null(why);
	}
	assert_int_equal(
		record_decode(&r, kban_span(good, 7), kban_span(good + 8, sizeof(good) - 8), &why),
		STORE_DAMAGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SUITE_TEST(folder_and_files_are_private),
		SUITE_TEST(a_second_opener_is_refused_and_told_who),
		SUITE_TEST(a_newer_format_is_refused),
		SUITE_TEST(another_clusters_log_is_refused),
		SUITE_TEST(garbage_is_refused),
		SUITE_TEST(a_file_cut_short_is_refused),
		SUITE_TEST(a_file_without_its_tail_is_refused),
		SUITE_TEST(an_empty_file_is_a_new_store),
		SUITE_TEST(a_missing_meta_row_is_refused),
		SUITE_TEST(network_file_systems_are_refused),
		SUITE_TEST(a_folder_that_can_not_be_is_refused),
		SUITE_TEST(a_damaged_record_is_named),
		SUITE_TEST(below_the_horizon_only_kept_entries_are_left),
		SUITE_TEST(a_log_may_end_at_its_horizon),
		SUITE_TEST(a_log_with_a_hole_is_refused),
		cmocka_unit_test(the_vector_of_the_format_holds),
		cmocka_unit_test(broken_records_are_refused),
	};

	folder_begin();
	log_suite = (struct log_suite){folder_store, folder_wipe};
	int failed = cmocka_run_group_tests_name("log", log_suite_tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("lmdb", tests, NULL, NULL);
	folder_end();
	return failed ? 1 : 0;
}
