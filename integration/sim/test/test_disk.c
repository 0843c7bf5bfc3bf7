/* SPDX-License-Identifier: MPL-2.0
 *
 * The simulator's disk passes the suite that every engine passes, and breaks as it was told to.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/sim/disk.h"
#include "store/test/log_suite.h"

static struct disk *disk;

static struct store *sim_open(void)
{
	struct store *s;

	disk_open(disk, &s);
	return s;
}

static void sim_wipe(void)
{
	disk_free(disk);
	disk_new(&disk, &log_suite_cluster);
}

static struct log_suite log_suite = {sim_open, sim_wipe};

static int put(struct store *s, const char *key)
{
	store_begin(s);
	store_put(s, kban_span(key, strlen(key)), kban_span("v", 1));
	return store_commit(s);
}

static bool has(struct store *s, const char *key)
{
	uint8_t *value = NULL;
	size_t len;
	int r = store_get(s, kban_span(key, strlen(key)), &value, &len);

	free(value);
	return !r;
}

static void a_crash_before_the_commit_loses_it(void **state)
{
	struct store *s = *state;

	disk->fault = DISK_CRASH_BEFORE;
	assert_int_equal(put(s, "k"), -EIO);
	assert_true(disk->crashed);
	assert_false(has(s, "k"));
}

static void a_crash_after_the_commit_keeps_it(void **state)
{
	struct store *s = *state;

	disk->fault = DISK_CRASH_AFTER;
	assert_int_equal(put(s, "k"), -EIO);
	assert_true(has(s, "k"));
}

static void a_full_disk_takes_nothing_and_recovers(void **state)
{
	struct store *s = *state;

	disk->fault = DISK_FULL;
	assert_int_equal(put(s, "k"), STORE_FULL);
	assert_false(has(s, "k"));
	disk->fault = DISK_SOUND;
	assert_int_equal(put(s, "k"), 0);
	assert_true(has(s, "k"));
}

int main(void)
{
	static const struct CMUnitTest faults[] = {
		SUITE_TEST(a_crash_before_the_commit_loses_it),
		SUITE_TEST(a_crash_after_the_commit_keeps_it),
		SUITE_TEST(a_full_disk_takes_nothing_and_recovers),
	};
	int failed = cmocka_run_group_tests(log_suite_tests, NULL, NULL) + cmocka_run_group_tests(faults, NULL, NULL);

	disk_free(disk);
	return failed;
}
