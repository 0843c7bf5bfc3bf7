/* SPDX-License-Identifier: MPL-2.0
 *
 * The progress bar: on a terminal, after a second, and gone before anything else is written.
 */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/progress.h"

struct world {
	struct kban_clock clock;
	struct context ctx;
	uint64_t now;
	int terminal;
};

static uint64_t now_of(void *arg)
{
	return *(uint64_t *)arg;
}

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));
	int its;

	w->clock = (struct kban_clock){now_of, now_of, &w->now};
	/* A bare chroot may have no /dev/pts. */
	if (openpty(&w->terminal, &its, NULL, NULL, NULL)) {
		print_message("no terminal can be made here\n");
		kban_free(w);
		exit(77);
	}
	fcntl(w->terminal, F_SETFL, O_NONBLOCK);
	w->ctx = (struct context){.err = fdopen(its, "w"), .clock = &w->clock};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	fclose(w->ctx.err);
	close(w->terminal);
	kban_free(w);
	return 0;
}

/* What the terminal was told since it was asked the last time. */
static const char *seen(struct world *w, char out[256])
{
	ssize_t n = read(w->terminal, out, 255);

	out[n > 0 ? n : 0] = 0;
	return out;
}

static void nothing_is_shown_within_a_second(void **state)
{
	struct world *w = *state;
	struct progress p;
	char text[256];

	progress_begin(&p, &w->ctx, "searching the log");
	w->now = PROGRESS_AFTER_MS - 1;
	progress_show(&p, 1, 2);
	progress_clear(&p);
	assert_string_equal(seen(w, text), "");
}

static void a_bar_grows_and_is_cleared(void **state)
{
	struct world *w = *state;
	struct progress p;
	char text[256];

	progress_begin(&p, &w->ctx, "searching the log");
	w->now = PROGRESS_AFTER_MS;
	progress_show(&p, 1, 2);
	assert_non_null(strstr(seen(w, text),
			       "searching the log [###############               ]  50% 1s"));
	w->now++;
	progress_show(&p, 2, 2);
	assert_string_equal(seen(w, text), "");
	progress_clear(&p);
	assert_string_equal(seen(w, text), "\r\033[K");
}

static void a_bar_is_not_for_who_wants_quiet_or_has_no_terminal(void **state)
{
	struct world *w = *state;
	FILE *terminal = w->ctx.err, *file = tmpfile();
	struct progress p;
	char text[256];

	w->ctx.quiet = true;
	progress_begin(&p, &w->ctx, "searching the log");
	w->now = 5000;
	progress_show(&p, 1, 2);
	w->ctx.quiet = false;
	w->ctx.err = file;
	progress_begin(&p, &w->ctx, "searching the log");
	w->now = 10000;
	progress_show(&p, 1, 2);
	assert_int_equal(ftell(file), 0);
	fclose(file);
	w->ctx.err = terminal;
	assert_string_equal(seen(w, text), "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_shown_within_a_second),
		TEST(a_bar_grows_and_is_cleared),
		TEST(a_bar_is_not_for_who_wants_quiet_or_has_no_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
