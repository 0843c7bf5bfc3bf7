/* SPDX-License-Identifier: MPL-2.0 */
#include "node/test/node_world.h"

#include <time.h>

#include "node/follow.h"
#include "node/rules.h"

#define S 1000ULL

struct fixture {
	struct world *w;
	struct rules *rules;
	struct detector *detector;
	struct follow *follow;
	char log[96];
	struct kban_clock clock;
};

static void follow_up(struct fixture *f)
{
	const uint8_t key[16] = {1};
	struct follow_config config = {
		.path = f->log,
		.start = TAIL_FROM_BEGINNING,
		.rules = f->rules,
		.node = f->w->node,
		.store = f->w->store,
	};

	detector_new(&f->detector, &detector_defaults, key);
	f->clock = (struct kban_clock){world_wall, world_boot, f->w};
	config.detector = f->detector;
	config.clock = &f->clock;
	assert_int_equal(follow_new(&f->follow, &config), 0);
}

static void follow_down(struct fixture *f)
{
	follow_free(f->follow);
	detector_free(f->detector);
}

/* As kill -9: what was not committed is gone, windows too. */
static void restart(struct fixture *f)
{
	follow_down(f);
	node_restart(f->w);
	follow_up(f);
}

static int setup(void **state)
{
	struct fixture *f = kban_zalloc(sizeof(*f));
	void *w = NULL;

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	world_setup(&w);
	f->w = w;
	snprintf(f->log, sizeof(f->log), "%s.log", f->w->folder);
	assert_int_equal(rules_default(&f->rules), 0);
	follow_up(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *w = f->w;
	char old[128];

	follow_down(f);
	rules_free(f->rules);
	unlink(f->log);
	snprintf(old, sizeof(old), "%s.0", f->log);
	unlink(old);
	world_teardown(&w);
	free(f);
	return 0;
}

/* n failed logins, a second apart, the last one `ago` seconds ago. */
static void write_failures(struct fixture *f, const char *address, unsigned n, unsigned ago)
{
	FILE *log = fopen(f->log, "a");
	char stamp[64];
	struct tm tm;

	assert_non_null(log);
	for (unsigned i = 0; i < n; i++) {
		time_t t = (time_t)(f->w->wall_ms / 1000) - ago - (n - 1 - i);

		localtime_r(&t, &tm);
		strftime(stamp, sizeof(stamp), "%d/%b/%Y %H:%M:%S", &tm);
		fprintf(log,
			"[%s] IMAP: Invalid password for user joe@example.com. Attempt from IP "
			"address %s\n",
			stamp, address);
	}
	fclose(log);
}

static void read_all(struct fixture *f)
{
	int r;

	do {
		r = follow_read(f->follow);
		assert_true(r >= 0);
	} while (r);
}

static void ten_failures_ban_and_store_offence_and_place_together(void **state)
{
	struct fixture *f = *state;

	write_failures(f, "198.51.100.7", 9, 0);
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), 0);
	write_failures(f, "198.51.100.7", 1, 0);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
	assert_int_equal(rows_count(f->w, "o"), 1);
	assert_int_equal(rows_count(f->w, "p"), 1);
}

static int take_kept_line(void *arg, struct kban_span key, struct kban_span value)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct kban_text *line;

	(void)key;
	assert_int_equal(kban_event_decode(&r, value.p + 8, value.n - 8), 0);
	line = &r->events[0].ban.line;
	snprintf(arg, KBAN_LINE_MAX + 1, "%.*s", (int)line->n, line->s);
	return 0;
}

/* The attacker fills the middle; the address stands at the end. */
static void a_long_line_is_kept_with_both_ends_and_a_mark(void **state)
{
	struct fixture *f = *state;
	char name[3000], kept[KBAN_LINE_MAX + 1];

	for (size_t fill = 400; fill < sizeof(name); fill += 97) {
		memset(name, fill % 2 ? 'x' : 0xff, fill);
		FILE *log = fopen(f->log, "a");
		for (unsigned i = 0; i < 10; i++) {
			fputs("[17/Nov/2023 11:31:08] SMTP: User ", log);
			fwrite(name, 1, fill, log);
			fputs(" doesn't exist. Attempt from IP address 198.51.100.7.\n", log);
		}
		fclose(log);
		read_all(f);
		assert_int_equal(store_rows(f->w->store, kban_span("o", 1), take_kept_line, kept), 0);
		assert_true(strlen(kept) <= KBAN_LINE_MAX && strlen(kept) > KBAN_LINE_MAX - 20);
		assert_memory_equal(kept, "[17/Nov/2023 11:31:08] SMTP: User ", 34);
		assert_non_null(strstr(kept, " [...] "));
		assert_string_equal(kept + strlen(kept) - 53, " doesn't exist. Attempt from IP address 198.51.100.7.");
	}
}

/* They share a /64 with others, who are to be counted, and not to be banned for them. */
static void failures_of_an_address_that_is_safe_or_excepted_do_not_count(void **state)
{
	struct fixture *f = *state;

	f->w->excepted[0] = P("2001:db8:9:9::25");
	restart(f);
	go_live(f->w);
	log_safe(f->w, "2001:db8:5:6::1", 0);
	stream_rest(f->w);
	write_failures(f, "2001:db8:5:6::1", 20, 0);
	write_failures(f, "2001:db8:9:9::25", 20, 0);
	write_failures(f, "2001:db8:5:6::2", 9, 0);
	write_failures(f, "2001:db8:9:9::26", 9, 0);
	read_all(f);
	assert_int_equal(banned(f->w, "2001:db8:5:6::/64"), 0);
	assert_int_equal(banned(f->w, "2001:db8:9:9::/64"), 0);
	write_failures(f, "2001:db8:5:6::2", 1, 0);
	write_failures(f, "2001:db8:9:9::26", 1, 0);
	read_all(f);
	assert_true(banned(f->w, "2001:db8:5:6::/64"));
	assert_true(banned(f->w, "2001:db8:9:9::/64"));
}

static void backlog_bans_for_what_remains_in_local_time(void **state)
{
	struct fixture *f = *state;

	write_failures(f, "198.51.100.7", 10, 200);
	write_failures(f, "198.51.100.8", 10, 400);
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), f->w->boot_ms + 100 * S);
	assert_int_equal(banned(f->w, "198.51.100.8"), 0);
	assert_int_equal(rows_count(f->w, "o"), 2); /* one of them history */
}

static void window_is_rebuilt_after_a_restart(void **state)
{
	struct fixture *f = *state;

	write_failures(f, "198.51.100.7", 6, 5);
	read_all(f);
	f->w->boot_ms += 2 * S;
	write_failures(f, "198.51.100.99", 1, 4);
	read_all(f);
	restart(f);
	write_failures(f, "198.51.100.7", 4, 0);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
}

/* The log brings no unban to windows that are filled again from lines before it: the ledger knows. */
static void failures_before_an_unban_do_not_count_again_after_a_restart(void **state)
{
	struct fixture *f = *state;

	go_live(f->w);
	write_failures(f, "198.51.100.7", 9, 5);
	write_failures(f, "198.51.100.8", 9, 5);
	read_all(f);
	pass(f->w, 2 * S);
	log_unban(f->w, "198.51.100.7");
	stream_rest(f->w);
	write_failures(f, "198.51.100.99", 1, 0);
	read_all(f);
	restart(f);
	pass(f->w, 2 * S);
	write_failures(f, "198.51.100.7", 1, 0);
	write_failures(f, "198.51.100.8", 1, 0);
	read_all(f);
	assert_false(banned(f->w, "198.51.100.7"));
	assert_true(banned(f->w, "198.51.100.8"));
}

static void offences_reported_before_a_restart_are_not_reported_again(void **state)
{
	struct fixture *f = *state;

	write_failures(f, "198.51.100.8", 3, 12); /* keeps a window open from before */
	write_failures(f, "198.51.100.7", 10, 0);
	read_all(f);
	assert_int_equal(rows_count(f->w, "o"), 1);
	restart(f);
	write_failures(f, "198.51.100.9", 1, 0);
	read_all(f);
	assert_int_equal(rows_count(f->w, "o"), 1);
	assert_int_equal(node_counts(f->w->node)->offences, 0);
}

static void rotation_while_down_loses_no_line(void **state)
{
	struct fixture *f = *state;
	char old[128];

	write_failures(f, "198.51.100.7", 5, 5);
	read_all(f);
	write_failures(f, "198.51.100.7", 2, 3);
	follow_down(f);
	snprintf(old, sizeof(old), "%s.0", f->log);
	assert_int_equal(rename(f->log, old), 0);
	write_failures(f, "198.51.100.7", 3, 0);
	node_restart(f->w);
	follow_up(f);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
}

/* Where a window began is gone, but not the file that was read last. */
static void rotations_that_drop_the_windows_file_lose_no_unread_line(void **state)
{
	struct fixture *f = *state;
	char old[128];

	snprintf(old, sizeof(old), "%s.0", f->log);
	write_failures(f, "198.51.100.8", 3, 12);
	read_all(f);
	assert_int_equal(rename(f->log, old), 0);
	write_failures(f, "198.51.100.7", 5, 5);
	f->w->boot_ms += 2 * S;
	read_all(f);
	write_failures(f, "198.51.100.7", 5, 0);
	follow_down(f);
	assert_int_equal(rename(f->log, old), 0);
	write_failures(f, "198.51.100.9", 1, 0);
	node_restart(f->w);
	follow_up(f);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
}

/* What was read last is gone, and a file that came meanwhile has its inode. */
static void new_file_in_an_old_inode_is_not_taken_for_what_was_read(void **state)
{
	struct fixture *f = *state;

	write_failures(f, "198.51.100.8", 9, 12);
	read_all(f);
	f->w->boot_ms += 2 * S;
	read_all(f);
	follow_down(f);
	assert_int_equal(truncate(f->log, 0), 0);
	FILE *log = fopen(f->log, "a");
	char stamp[32];
	time_t now = (time_t)(f->w->wall_ms / 1000);

	assert_non_null(log);
	strftime(stamp, sizeof(stamp), "%d/%b/%Y %H:%M:%S", localtime(&now));
	fprintf(log,
		"[%s] SMTP: AntiHammering - IP address 198.51.100.7 will be blocked for 5 minutes, "
		"too many failed logins from this IP address.\n",
		stamp);
	fclose(log);
	node_restart(f->w);
	follow_up(f);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
}

static void line_from_the_future_counts_now(void **state)
{
	struct fixture *f = *state;

	f->w->wall_ms += 86400 * S;
	write_failures(f, "198.51.100.7", 10, 0);
	f->w->wall_ms -= 86400 * S;
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), f->w->boot_ms + 300 * S);
}

static void offence_seen_live_bans_for_the_whole_block_time(void **state)
{
	struct fixture *f = *state;

	f->w->wall_ms += 1900; /* a line's time has no fraction */
	write_failures(f, "198.51.100.7", 10, 1);
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), f->w->boot_ms + 300 * S);
	write_failures(f, "198.51.100.8", 10, 2);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.8") <= f->w->boot_ms + 298 * S);
}

/* On 2023-10-29 at 03:00 CEST clocks go back to 02:00 CET. */
static void hour_that_comes_twice_is_read_as_the_one_that_is_now(void **state)
{
	struct fixture *f = *state;
	const uint64_t second_0230 = 1698543000; /* 01:30 UTC */
	struct tm summer = {.tm_year = 123, .tm_mon = 6, .tm_mday = 1, .tm_isdst = -1};

	(void)mktime(&summer); /* as in a process that has run since summer: mktime() remembers */
	f->w->wall_ms = (second_0230 - 3600) * S;
	write_failures(f, "198.51.100.7", 10, 0);
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), f->w->boot_ms + 300 * S);
	f->w->wall_ms = second_0230 * S;
	write_failures(f, "198.51.100.8", 10, 0);
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.8"), f->w->boot_ms + 300 * S);
}

static void write_line(struct fixture *f, const char *text)
{
	FILE *log = fopen(f->log, "a");
	time_t now = (time_t)(f->w->wall_ms / 1000);
	char stamp[64];

	assert_non_null(log);
	strftime(stamp, sizeof(stamp), "[%d/%b/%Y %H:%M:%S] ", localtime(&now));
	fprintf(log, "%s%s\n", *text == '<' ? "" : stamp, text);
	fclose(log);
}

static void windows_outlive_a_change_of_the_rules(void **state)
{
	static const char own[] = "rule fax {\n log = security\n service = fax\n verdict = failure\n failures = 600\n"
				  " pattern = \"Fax from %address%\"\n}\n"
				  "rule extra {\n log = security\n service = imap\n verdict = failure\n pattern = \"Extra from %address%\"\n}\n";
	struct fixture *f = *state;
	char path[] = "/tmp/kban-follow-rules.XXXXXX", *error = NULL;
	int fd = mkstemp(path);
	struct rules *rules = NULL;
	const char *const paths[] = {path};

	assert_true(fd >= 0 && write(fd, own, strlen(own)) == (ssize_t)strlen(own));
	close(fd);
	write_failures(f, "198.51.100.7", 9, 0);
	read_all(f);
	assert_int_equal(rules_load(&rules, &(struct rules_set){.n = 1, .paths = paths}, &error), 0);
	follow_rules(f->follow, rules);
	rules_free(f->rules);
	f->rules = rules;
	write_line(f, "Extra from 198.51.100.7");
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
	unlink(path);
}

/* The security log has no line of another log, and no syslog header. */
static void only_lines_of_the_followed_log_count(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 10; i++) {
		write_line(f, "<21>1 2023-11-14T22:13:20Z h a - - - SMTP: User a doesn't exist. Attempt from IP address 198.51.100.7.");
		write_line(f, "<21>Nov 14 22:13:20 h kerio: SMTP: User a doesn't exist. Attempt from IP address 198.51.100.8.");
	}
	read_all(f);
	assert_int_equal(banned(f->w, "198.51.100.7"), 0);
	assert_int_equal(banned(f->w, "198.51.100.8"), 0);
}

static void missing_log_is_a_state(void **state)
{
	struct fixture *f = *state;

	read_all(f);
	write_failures(f, "198.51.100.7", 10, 0);
	read_all(f);
	assert_true(banned(f->w, "198.51.100.7"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ten_failures_ban_and_store_offence_and_place_together),
		T(failures_of_an_address_that_is_safe_or_excepted_do_not_count),
		T(backlog_bans_for_what_remains_in_local_time),
		T(a_long_line_is_kept_with_both_ends_and_a_mark),
		T(window_is_rebuilt_after_a_restart),
		T(failures_before_an_unban_do_not_count_again_after_a_restart),
		T(offences_reported_before_a_restart_are_not_reported_again),
		T(rotation_while_down_loses_no_line),
		T(rotations_that_drop_the_windows_file_lose_no_unread_line),
		T(new_file_in_an_old_inode_is_not_taken_for_what_was_read),
		T(line_from_the_future_counts_now),
		T(offence_seen_live_bans_for_the_whole_block_time),
		T(hour_that_comes_twice_is_read_as_the_one_that_is_now),
		T(windows_outlive_a_change_of_the_rules),
		T(only_lines_of_the_followed_log_count),
		T(missing_log_is_a_state),
	};

	kban_log_setup("test", 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
