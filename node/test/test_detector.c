/* SPDX-License-Identifier: MPL-2.0 */
#include "node/detector.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t hash_key[16] = "0123456789abcde";

static struct rules_match failure(const char *address, const char *service)
{
	struct rules_match m = {.rule = "unknown-user", .has_address = true, .verdict = RULES_FAILURE};

	assert_int_equal(kban_prefix_parse(&m.address, address), 0);
	snprintf(m.service, sizeof(m.service), "%s", service);
	return m;
}

static struct rules_match half(const char *address, enum rules_half h)
{
	struct rules_match m = failure(address, "smtp");

	m.half = h;
	return m;
}

static struct detector *detector_with(uint32_t failures, uint32_t check_s)
{
	struct detector_config config = detector_defaults;
	struct detector *d;

	config.failures = failures;
	config.check_s = check_s;
	detector_new(&d, &config, hash_key);
	return d;
}

static bool feed(struct detector *d, const struct rules_match *m, uint64_t ms)
{
	struct detector_offence o;

	return detector_feed(d, m, ms, &o);
}

static uint64_t count_open(const struct detector *d)
{
	uint64_t open, given_up;

	detector_counts(d, &open, &given_up);
	return open;
}

static void the_tenth_failure_within_a_minute_is_an_offence(void **state)
{
	kban_auto(detector_free) struct detector *d = NULL;
	struct rules_match m = failure("192.0.2.1", "smtp");
	struct detector_offence o;

	(void)state;
	detector_new(&d, &detector_defaults, hash_key);
	for (uint64_t i = 0; i < 9; i++)
		assert_false(feed(d, &m, 1000000 + i * 6000));
	assert_true(detector_feed(d, &m, 1060000, &o));
	assert_int_equal(o.count, 10);
	assert_int_equal(o.first_ms, 1000000);
	assert_int_equal(o.last_ms, 1060000);
	assert_int_equal(o.block_s, 300);
	assert_string_equal(o.service, "smtp");
	assert_string_equal(o.rule, "unknown-user");
	assert_true(kban_prefix_equal(&o.prefix, &m.address));
	assert_false(feed(d, &m, 1060000)); /* the window starts anew */
}

static void ten_failures_in_more_than_a_minute_are_none(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(10, 60);
	struct rules_match m = failure("192.0.2.1", "smtp");

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_false(feed(d, &m, i * 6700));
}

static void services_and_addresses_count_apart(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match a = failure("192.0.2.1", "smtp"), b = failure("192.0.2.1", "imap");
	struct rules_match c = failure("192.0.2.2", "smtp");

	(void)state;
	assert_false(feed(d, &a, 1000));
	assert_false(feed(d, &b, 1000));
	assert_false(feed(d, &c, 1000));
	assert_int_equal(count_open(d), 3);
	assert_true(feed(d, &a, 2000));
	assert_true(feed(d, &b, 2000));
	assert_true(feed(d, &c, 2000));
}

static void ipv6_counts_per_64_and_nat64_per_address(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match a = failure("2001:db8::1", "smtp"), b = failure("2001:db8::2", "smtp");
	struct rules_match c = failure("64:ff9b::192.0.2.1", "smtp"), e = failure("64:ff9b::192.0.2.2", "smtp");
	struct detector_offence o;
	char text[KBAN_PREFIX_TEXT];

	(void)state;
	assert_false(feed(d, &a, 1000));
	assert_true(detector_feed(d, &b, 1000, &o));
	assert_string_equal(kban_prefix_format(&o.prefix, text), "2001:db8::/64");
	assert_false(feed(d, &c, 1000));
	assert_false(feed(d, &e, 1000));
	assert_true(detector_feed(d, &e, 1000, &o));
	assert_string_equal(kban_prefix_format(&o.prefix, text), "64:ff9b::c000:202");
}

static void a_ban_verdict_is_an_offence_by_itself(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match m = failure("192.0.2.1", "smtp"), ban = m;
	struct detector_offence o;

	(void)state;
	ban.verdict = RULES_BAN;
	ban.rule = "kerio-blocked";
	assert_false(feed(d, &m, 1000));
	assert_true(detector_feed(d, &ban, 2000, &o));
	assert_int_equal(o.count, 1);
	assert_string_equal(o.rule, "kerio-blocked");
	assert_false(feed(d, &m, 3000));
	assert_true(feed(d, &m, 4000));
}

static void lines_without_an_address_or_a_failure_count_nothing(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(1, 60);
	struct rules_match m = failure("192.0.2.1", "smtp");

	(void)state;
	m.verdict = RULES_NONE;
	assert_false(feed(d, &m, 1000));
	m.verdict = RULES_SUCCESS;
	assert_false(feed(d, &m, 1000));
	m.verdict = RULES_BAN;
	m.has_address = false;
	assert_false(feed(d, &m, 1000));
	m.verdict = RULES_FAILURE;
	assert_false(feed(d, &m, 1000));
	assert_int_equal(count_open(d), 0);
}

static void two_halves_make_one_failure(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(3, 60);
	struct rules_match login = half("192.0.2.1", RULES_HALF_LOGIN), user = half("192.0.2.1", RULES_HALF_USER);

	(void)state;
	assert_false(feed(d, &user, 1000));
	assert_false(feed(d, &login, 3000)); /* pairs */
	assert_false(feed(d, &login, 3000));
	assert_false(feed(d, &user, 3000)); /* pairs */
	assert_true(feed(d, &user, 3000));  /* each line once */
	assert_false(feed(d, &login, 3500)); /* pairs with the one that made the offence */
	assert_false(feed(d, &login, 3500));
	assert_false(feed(d, &user, 5501)); /* too late */
	assert_true(feed(d, &login, 9000));
}

static void two_lines_of_one_kind_are_two_failures(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match login = half("192.0.2.1", RULES_HALF_LOGIN);

	(void)state;
	assert_false(feed(d, &login, 1000));
	assert_true(feed(d, &login, 1000));
}

static void halves_of_two_addresses_in_one_64_do_not_pair(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match login = half("2001:db8::1", RULES_HALF_LOGIN), user = half("2001:db8::2", RULES_HALF_USER);

	(void)state;
	assert_false(feed(d, &login, 1000));
	assert_true(feed(d, &user, 1000));
}

/* The lines themselves, through the built-in rules. */
static bool feed_line(struct detector *d, const struct rules *rules, const char *text, uint64_t ms)
{
	kban_auto(kban_free) void *line = kban_asprintf("[17/Nov/2023 11:31:07] %s", text);
	struct rules_match m;

	assert_true(rules_match_from(rules, &rules_kerio_security, line, strlen(line), &m));
	return feed(d, &m, ms);
}

static void one_failed_login_that_writes_two_lines_counts_once_in_either_order(void **state)
{
	static const char *const lines[] = {
		"SMTP: User user1@example.com doesn't exist. Attempt from IP address 198.51.100.7. ",
		"Failed SMTP login from 198.51.100.7 with SASL method LOGIN.",
	};
	kban_auto(rules_free) struct rules *rules = NULL;

	(void)state;
	assert_int_equal(rules_default(&rules), 0);
	for (unsigned first = 0; first < 2; first++) {
		kban_auto(detector_free) struct detector *d = detector_with(3, 60);
		for (uint64_t i = 0; i < 2; i++) {
			assert_false(feed_line(d, rules, lines[first], 1000000 + i * 10000));
			assert_false(feed_line(d, rules, lines[!first], 1001000 + i * 10000));
		}
		assert_true(feed_line(d, rules, lines[first], 1020000));
		assert_false(feed_line(d, rules, lines[!first], 1021000)); /* the rest of what was counted */
	}
}

static struct rules_match failure_of(const char *rule, const struct rules_limits *own)
{
	struct rules_match m = failure("192.0.2.1", "smtp");

	m.rule = rule;
	m.own = own;
	return m;
}

static void a_rule_with_limits_of_its_own_counts_in_windows_of_its_own(void **state)
{
	static const struct rules_limits strict = {.failures = 3, .check_s = 600, .block_s = 86400}, partly = {.check_s = 600};
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match a = failure_of("a", &strict), b = failure_of("b", &partly), plain = failure_of("c", NULL);
	struct rules_match called_as_the_service = failure_of("smtp", &strict);
	struct detector_offence o;

	(void)state;
	assert_false(feed(d, &a, 1000000));
	assert_false(feed(d, &plain, 1000000));
	assert_false(feed(d, &b, 1000000));
	assert_false(feed(d, &called_as_the_service, 1000000));
	assert_int_equal(count_open(d), 4);
	assert_false(feed(d, &a, 1300000));
	assert_false(feed(d, &plain, 1300000)); /* its minute is over */
	assert_true(detector_feed(d, &b, 1300000, &o)); /* the configuration's number, its own time */
	assert_int_equal(o.count, 2);
	assert_int_equal(o.block_s, 300);
	assert_true(detector_feed(d, &a, 1600000, &o));
	assert_int_equal(o.count, 3);
	assert_int_equal(o.block_s, 86400);
	assert_string_equal(o.rule, "a");
	assert_string_equal(o.service, "smtp");
}

static void a_ban_verdict_bans_for_its_rules_time(void **state)
{
	static const struct rules_limits own = {.block_s = 7};
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match m = failure_of("a", &own);
	struct detector_offence o;

	(void)state;
	m.verdict = RULES_BAN;
	assert_true(detector_feed(d, &m, 1000000, &o));
	assert_int_equal(o.block_s, 7);
}

static void windows_survive_when_a_rule_asks_for_longer_ones(void **state)
{
	static const struct rules_limits many = {.failures = 600};
	kban_auto(detector_free) struct detector *d = detector_with(5, 60);
	struct rules_match m = failure("192.0.2.1", "smtp"), other = failure("2001:db8::1", "imap");
	struct rules_match long_one = failure_of("a", &many);
	struct detector_offence o;

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		assert_false(feed(d, &m, 1000000 + i * 1000));
	assert_false(feed(d, &other, 1004000));
	detector_reserve(d, 600);
	assert_int_equal(count_open(d), 2);
	assert_true(detector_feed(d, &m, 1005000, &o));
	assert_int_equal(o.count, 5);
	assert_int_equal(o.first_ms, 1000000);
	for (uint64_t i = 0; i < 599; i++)
		assert_false(feed(d, &long_one, 1006000 + i));
	assert_true(feed(d, &long_one, 1007000));
	detector_reserve(d, 3); /* smaller changes nothing */
	for (uint64_t i = 0; i < 3; i++)
		assert_false(feed(d, &other, 1008000));
	assert_true(feed(d, &other, 1008000));
}

static void a_long_window_keeps_no_short_one_open(void **state)
{
	static const struct rules_limits long_one = {.check_s = 86400};
	struct detector_config config = {.failures = 10, .check_s = 60, .block_s = 1, .max_windows = 1024};
	kban_auto(detector_free) struct detector *d = NULL;
	struct rules_match m = failure_of("a", &long_one);

	(void)state;
	detector_new(&d, &config, hash_key);
	assert_false(feed(d, &m, 1000000));
	m = failure("192.0.2.0", "smtp");
	for (uint8_t i = 0; i < 100; i++) {
		m.address.addr[3] = i;
		assert_false(feed(d, &m, 1000000));
	}
	for (unsigned i = 0; i < 1024; i++)
		assert_false(feed(d, &m, 1000000 + 3 * 3600000 + i * 10000));
	assert_int_equal(count_open(d), 2);
}

static void a_clock_that_stepped_back_hides_nobody(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(3, 60);
	struct rules_match m = failure("192.0.2.1", "smtp");
	uint64_t year = 31536000000ULL;

	(void)state;
	assert_false(feed(d, &m, 3 * year));
	assert_false(feed(d, &m, 2 * year));
	assert_false(feed(d, &m, 2 * year - 50000));
	assert_true(feed(d, &m, 2 * year - 10000));
	assert_false(feed(d, &m, 2 * year + 4294967296ULL));
	assert_false(feed(d, &m, 2 * year));
	assert_false(feed(d, &m, 2 * year + 4294967296ULL));
}

static void clear_forgets_who_overlaps(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(2, 60);
	struct rules_match a = failure("192.0.2.1", "smtp"), b = failure("192.0.3.1", "smtp");
	struct rules_match c = failure("2001:db8::1", "smtp");
	struct kban_prefix range;

	(void)state;
	(void)feed(d, &a, 1000);
	(void)feed(d, &b, 1000);
	(void)feed(d, &c, 1000);
	assert_int_equal(kban_prefix_parse(&range, "192.0.2.0/24"), 0);
	detector_clear(d, &range);
	assert_int_equal(count_open(d), 2);
	assert_int_equal(kban_prefix_parse(&range, "2001:db8::99"), 0); /* inside the offender's /64 */
	detector_clear(d, &range);
	assert_int_equal(count_open(d), 1);
	assert_false(feed(d, &a, 1000));
	assert_false(feed(d, &c, 1000));
	assert_true(feed(d, &b, 1000));
}

static void oldest_is_the_first_line_that_still_counts(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(3, 60);
	struct rules_match a = failure("192.0.2.1", "smtp"), b = failure("192.0.2.2", "smtp");

	(void)state;
	assert_int_equal(detector_oldest(d, 500000), 500000);
	(void)feed(d, &a, 100000);
	(void)feed(d, &b, 110000);
	(void)feed(d, &a, 120000);
	assert_int_equal(detector_oldest(d, 130000), 100000);
	assert_int_equal(detector_oldest(d, 160000), 100000);
	assert_int_equal(detector_oldest(d, 165000), 110000);
	assert_int_equal(detector_oldest(d, 175000), 120000);
	assert_int_equal(detector_oldest(d, 500000), 500000);
	assert_true(feed(d, &a, 121000));
	assert_int_equal(detector_oldest(d, 130000), 110000);
}

/* --- against lists */

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static void random_seed(void)
{
	const char *given = getenv("SEED");

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761U + (uint64_t)getpid();
	random_state |= 1;
	print_message("SEED=%llu\n", (unsigned long long)random_state);
}

#define MODEL_MAX 4096
#define HOSTS	  6

struct model_failure {
	uint64_t ms;
	unsigned host;
	enum rules_half half; /* still unpaired */
	bool counts, near;
};

struct model_window {
	struct model_failure failure[MODEL_MAX];
	size_t n;
};

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The model says in the plainest way: a failure counts while every later one came within check_s of it and
 * no offence came between; the newest 16 (or `failures`) can still be paired, unless a later one was far. */
static size_t model_feed(struct model_window *w, const struct rules_match *m, unsigned host, uint64_t ms,
			 uint32_t failures, uint64_t check_ms)
{
	size_t ring = failures > 16 ? failures : 16, live = 0;
	uint64_t keep_ms = check_ms > 2000 ? check_ms : 2000;

	for (size_t i = w->n > ring ? w->n - ring : 0; i < w->n && m->half != RULES_WHOLE; i++) {
		struct model_failure *f = &w->failure[i];
		if (f->near && f->half != RULES_WHOLE && f->half != m->half && f->host == host &&
		    apart(f->ms, ms) <= 2000) {
			f->half = RULES_WHOLE;
			return 0;
		}
	}
	bool counts = true, near = true;
	for (size_t i = w->n; i-- > 0;) {
		struct model_failure *f = &w->failure[i];
		counts = counts && f->counts && apart(f->ms, ms) <= check_ms;
		near = near && f->near && apart(f->ms, ms) <= keep_ms;
		f->counts = counts;
		f->near = near;
		live += counts;
	}
	assert_true(w->n < MODEL_MAX);
	w->failure[w->n++] = (struct model_failure){ms, host, m->half, true, true};
	if (++live < failures)
		return 0;
	for (size_t i = 0; i < w->n; i++)
		w->failure[i].counts = false;
	return live;
}

static uint64_t model_oldest(const struct model_window *w, size_t n, uint64_t now_ms, uint64_t check_ms)
{
	uint64_t oldest = now_ms;

	for (size_t k = 0; k < n; k++) {
		for (size_t i = 0; i < w[k].n; i++) {
			const struct model_failure *f = &w[k].failure[i];
			if (f->counts && f->ms < oldest && f->ms + check_ms >= now_ms)
				oldest = f->ms;
		}
	}
	return oldest;
}

static void one_random_history(struct model_window *windows, unsigned run)
{
	static const char *const hosts[HOSTS] = {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2",
						 "64:ff9b::1.2.3.4", "64:ff9b::1.2.3.5"};
	static const unsigned window_of[HOSTS] = {0, 1, 2, 2, 3, 4};
	uint32_t failures = (uint32_t)random_below(run % 10 ? 12 : 60) + 1;
	uint32_t check_s = (uint32_t)random_below(run % 3 ? 5 : 90) + 1;
	kban_auto(detector_free) struct detector *d = detector_with(failures, check_s);
	uint64_t now = 1700000000000ULL, step = 1 + random_below(3 * check_s * 1000ULL / failures + 2);

	memset(windows, 0, 10 * sizeof(*windows));
	for (unsigned i = 0; i < 600; i++) {
		unsigned host = (unsigned)random_below(HOSTS), service = (unsigned)random_below(2);
		struct rules_match m = failure(hosts[host], service ? "imap" : "smtp");
		struct detector_offence o;
		m.half = (enum rules_half)random_below(3);
		now += random_below(step);
		uint64_t ms = random_below(10) ? now : now - random_below(3 * check_s * 1000ULL);
		now = random_below(200) ? now : now - random_below(3600000);
		struct model_window *w = &windows[window_of[host] * 2 + service];
		size_t want = model_feed(w, &m, host, ms, failures, check_s * 1000ULL);
		bool found = detector_feed(d, &m, ms, &o);
		if (found != (want > 0) || (found && o.count != want))
			fail_msg("run %u, line %u: %d instead of %zu", run, i, found, want);
		if (found)
			assert_true(o.last_ms - o.first_ms <= check_s * 1000ULL && o.last_ms >= ms && o.first_ms <= ms);
		if (i % 50 == 0)
			assert_true(detector_oldest(d, now) == model_oldest(windows, 10, now, check_s * 1000ULL));
	}
}

static void random_histories_agree_with_lists(void **state)
{
	struct model_window *windows = kban_zalloc(10 * sizeof(*windows));

	(void)state;
	random_seed();
	for (unsigned run = 0; run < 200; run++)
		one_random_history(windows, run);
	free(windows);
}

/* --- bounds */

static void a_million_addresses_take_no_more_memory(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(10, 60);
	struct rules_match m = failure("192.0.2.1", "smtp");
	uint64_t open, given_up;
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

	(void)state;
	random_state = 88172645463325252ULL;
	for (uint64_t i = 0; i < 1000000; i++) {
		uint32_t address = (uint32_t)random_below(UINT32_MAX);
		memcpy(m.address.addr, &address, 4);
		assert_false(feed(d, &m, 1000000 + i / 100));
	}
	detector_counts(d, &open, &given_up);
	assert_true(open <= 65536 && open > 60000);
	assert_true(given_up > 900000);
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd <= before + 4096);
	m = failure("192.0.2.1", "imap"); /* who hammers now is seen all the same */
	for (unsigned i = 0; i < 9; i++)
		assert_false(feed(d, &m, 1010000));
	assert_true(feed(d, &m, 1010000));
}

static void a_full_bucket_gives_up_the_oldest(void **state)
{
	struct detector_config config = {.failures = 2, .check_s = 60, .block_s = 1, .max_windows = 8};
	kban_auto(detector_free) struct detector *d = NULL;
	struct rules_match m = failure("192.0.2.0", "smtp");
	uint64_t open, given_up;

	(void)state;
	detector_new(&d, &config, hash_key);
	for (uint8_t i = 0; i < 9; i++) {
		m.address.addr[3] = i;
		assert_false(feed(d, &m, 10000 + i));
	}
	detector_counts(d, &open, &given_up);
	assert_int_equal(open, 8);
	assert_int_equal(given_up, 1);
	m.address.addr[3] = 8;
	assert_true(feed(d, &m, 10020));
	m.address.addr[3] = 1;
	assert_true(feed(d, &m, 10020));
	m.address.addr[3] = 0;
	assert_false(feed(d, &m, 10020));
}

static void the_largest_setting_still_fits(void **state)
{
	struct detector_config config = {.failures = 1000, .check_s = 3600, .block_s = 1, .max_windows = 65536};
	kban_auto(detector_free) struct detector *d = NULL;
	struct rules_match m = failure("192.0.2.1", "smtp");
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

	(void)state;
	detector_new(&d, &config, hash_key);
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < 80U << 20);
	for (uint64_t i = 0; i < 999; i++)
		assert_false(feed(d, &m, 1000000 + i));
	assert_true(feed(d, &m, 1002000));
}

static void old_windows_are_closed_as_time_goes_on(void **state)
{
	kban_auto(detector_free) struct detector *d = detector_with(10, 60);
	struct rules_match m = failure("192.0.2.0", "smtp");

	(void)state;
	for (uint8_t i = 0; i < 100; i++) {
		m.address.addr[3] = i;
		assert_false(feed(d, &m, 1000000));
	}
	assert_int_equal(count_open(d), 100);
	for (unsigned i = 0; i < 60; i++)
		assert_false(feed(d, &m, 1000000 + 3 * 3600000 + i * 30000));
	assert_int_equal(count_open(d), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tenth_failure_within_a_minute_is_an_offence),
		cmocka_unit_test(ten_failures_in_more_than_a_minute_are_none),
		cmocka_unit_test(services_and_addresses_count_apart),
		cmocka_unit_test(ipv6_counts_per_64_and_nat64_per_address),
		cmocka_unit_test(a_ban_verdict_is_an_offence_by_itself),
		cmocka_unit_test(lines_without_an_address_or_a_failure_count_nothing),
		cmocka_unit_test(two_halves_make_one_failure),
		cmocka_unit_test(two_lines_of_one_kind_are_two_failures),
		cmocka_unit_test(halves_of_two_addresses_in_one_64_do_not_pair),
		cmocka_unit_test(one_failed_login_that_writes_two_lines_counts_once_in_either_order),
		cmocka_unit_test(a_rule_with_limits_of_its_own_counts_in_windows_of_its_own),
		cmocka_unit_test(a_ban_verdict_bans_for_its_rules_time),
		cmocka_unit_test(windows_survive_when_a_rule_asks_for_longer_ones),
		cmocka_unit_test(a_long_window_keeps_no_short_one_open),
		cmocka_unit_test(a_clock_that_stepped_back_hides_nobody),
		cmocka_unit_test(clear_forgets_who_overlaps),
		cmocka_unit_test(oldest_is_the_first_line_that_still_counts),
		cmocka_unit_test(random_histories_agree_with_lists),
		cmocka_unit_test(a_million_addresses_take_no_more_memory),
		cmocka_unit_test(a_full_bucket_gives_up_the_oldest),
		cmocka_unit_test(the_largest_setting_still_fits),
		cmocka_unit_test(old_windows_are_closed_as_time_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
