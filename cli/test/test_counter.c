/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cli/session.h"

struct world {
	char dir[64], path[80], counter[96];
};

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));

	strcpy(w->dir, "/tmp/kbanctl-counter.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	snprintf(w->path, sizeof(w->path), "%s/x.id", w->dir);
	snprintf(w->counter, sizeof(w->counter), "%s.counter", w->path);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	kban_auto(kban_free) void *command = kban_asprintf("rm -rf '%s'", w->dir);
	int r = system(command);

	free(w);
	return r;
}

static void text_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void a_counter_is_zero_until_it_is_saved(void **state)
{
	struct world *w = *state;
	struct stat st;
	uint64_t v = 7;

	assert_int_equal(counter_load(&v, w->path), 0);
	assert_int_equal(v, 0);
	assert_int_equal(counter_save(w->path, UINT64_MAX), 0);
	assert_int_equal(counter_save(w->path, 41), 0);
	assert_int_equal(counter_load(&v, w->path), 0);
	assert_int_equal(v, 41);
	assert_int_equal(stat(w->counter, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_file_that_holds_no_number_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "x\n",
					  "12",
					  "-1\n",
					  " 1\n",
					  "1 2\n",
					  "99999999999999999999999\n",
					  "18446744073709551616\n"};
	struct world *w = *state;
	uint64_t v;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		text_write(w->counter, bad[i]);
		assert_int_equal(counter_load(&v, w->path), -EBADMSG);
	}
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(counter_save("/nonexistent/x.id", 1), -ENOENT);
}

static void one_reports_at_a_time(void **state)
{
	struct world *w = *state;
	kban_auto(kban_close) int first = -1;
	kban_auto(kban_close) int third = -1;
	int second = -1;

	text_write(w->path, "");
	assert_int_equal(lock_take(&first, w->path), 0);
	assert_int_equal(lock_take(&second, w->path), -EWOULDBLOCK);
	kban_close(first);
	first = -1;
	assert_int_equal(lock_take(&third, w->path), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_counter_is_zero_until_it_is_saved),
		TEST(a_file_that_holds_no_number_is_refused),
		cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
		TEST(one_reports_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
