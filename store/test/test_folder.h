/* SPDX-License-Identifier: MPL-2.0
 *
 * For the LMDB engine's tests: one folder per test program, opened, wiped, and its files patched.
 */
#ifndef KBAN_STORE_TEST_TEST_FOLDER_H
#define KBAN_STORE_TEST_TEST_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/lmdb.h"
#include "store/test/log_suite.h"

static char test_root[PATH_MAX / 2];	    /* made by mkdtemp */
static char test_folder[PATH_MAX / 2 + 16]; /* the store, inside it */

static inline const char *in_folder(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", test_folder, name);
	return path;
}

static void folder_wipe(void)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock", "reserve"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++)
		unlink(in_folder(names[i]));
	rmdir(test_folder);
}

static inline void folder_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(test_root, sizeof(test_root), "%s/kban-store-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(test_root)) {
		perror(test_root);
		exit(1);
	}
	snprintf(test_folder, sizeof(test_folder), "%s/store", test_root);
}

static inline void folder_end(void)
{
	folder_wipe();
	rmdir(test_root);
}

static inline struct store *folder_store(void)
{
	struct store *s = NULL;
	kban_auto(kban_free) void *freed = NULL;
	char *error = NULL;
	int r = store_lmdb_open(&s, test_folder, &log_suite_cluster, &error);

	freed = error;
	if (r)
		fprintf(stderr, "%s: %s\n", store_result_name(r), error);
	return r ? NULL : s;
}

/* Opening has to end in result, with a sentence that holds every word of words. */
static inline void refuses(int result, const char *const words[], size_t n)
{
	struct store *s = NULL;
	char *error = NULL;

	assert_int_equal(store_lmdb_open(&s, test_folder, &log_suite_cluster, &error), result);
	assert_null(s);
	assert_non_null(error);
	for (size_t i = 0; i < n; i++) {
		if (!strstr(error, words[i]))
			fail_msg("\"%s\" does not say \"%s\"", error, words[i]);
	}
	free(error);
	assert_int_equal(store_lmdb_open(&s, test_folder, &log_suite_cluster, NULL), result);
}
#define REFUSES(result, ...)                                                                       \
	refuses(result, (const char *const[]){__VA_ARGS__},                                        \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* The whole file; the caller frees. */
static inline uint8_t *file_bytes(const char *path, size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	uint8_t *bytes = kban_zalloc(*len);
	assert_int_equal(read(fd, bytes, *len), *len);
	close(fd);
	return bytes;
}

static inline void write_file(const char *path, const uint8_t *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* Replaces each occurrence in data.mdb, where older copies of a page may lie too. */
static inline void patch_data(struct kban_span from, struct kban_span to)
{
	size_t len, found = 0;
	uint8_t *bytes = file_bytes(in_folder("data.mdb"), &len);
	uint8_t *at = bytes;

	assert_int_equal(from.n, to.n);
	while ((at = memmem(at, len - (size_t)(at - bytes), from.p, from.n))) {
		memcpy(at, to.p, to.n);
		found++;
	}
	assert_true(found > 0);
	write_file(in_folder("data.mdb"), bytes, len);
	free(bytes);
}

#endif
