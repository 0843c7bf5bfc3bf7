/* SPDX-License-Identifier: MPL-2.0
 *
 * An administrator's own rules: which come first, what they may set, fail2ban's filters, and what a bad
 * expression costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/rules_inside.h"

#define HEAD	"[17/May/2017 19:43:42] "
#define FAILURE " log = security\n service = x\n verdict = failure\n"

struct folder {
	char path[64];
	size_t n;
	char *files[4];
};

static int setup(void **state)
{
	struct folder *f = kban_zalloc(sizeof(*f));

	strcpy(f->path, "/tmp/kban-own.XXXXXX");
	*state = f;
	return mkdtemp(f->path) ? 0 : -1;
}

static int teardown(void **state)
{
	struct folder *f = *state;

	for (size_t i = 0; i < f->n; i++) {
		unlink(f->files[i]);
		free(f->files[i]);
	}
	rmdir(f->path);
	free(f);
	return 0;
}

static void file_put(struct folder *f, const char *name, const char *text)
{
	char *path = kban_asprintf("%s/%s", f->path, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
	f->files[f->n++] = path;
}

static struct rules *load_set(struct folder *f, bool alone)
{
	const struct rules_set set = {.n = f->n, .paths = (const char *const *)f->files, .alone = alone};
	struct rules *r = NULL;
	char *error = NULL;

	if (rules_load(&r, &set, &error))
		fail_msg("%s", error);
	assert_null(error);
	return r;
}

static struct rules *load_text(struct folder *f, const char *name, const char *text)
{
	file_put(f, name, text);
	return load_set(f, true);
}

/* "RULE ADDRESS" of a line, or "none". */
static const char *reading(const struct rules *r, const char *line)
{
	static char text[128];
	char address[KBAN_PREFIX_TEXT] = "-";
	struct rules_match m;

	if (!rules_match(r, line, strlen(line), &m))
		return "none";
	if (m.has_address)
		kban_prefix_format(&m.address, address);
	snprintf(text, sizeof(text), "%s %s", m.rule, address);
	return text;
}

static void refused(struct folder *f, const char *name, const char *text, const char *words)
{
	struct folder one = {.n = 0};
	struct rules *r = NULL;
	char *error = NULL;

	memcpy(one.path, f->path, sizeof(one.path));
	file_put(&one, name, text);
	const struct rules_set set = {.n = 1, .paths = (const char *const *)one.files};
	if (!rules_load(&r, &set, &error))
		fail_msg("loads: %s", text);
	assert_null(r);
	if (strncmp(error, one.files[0], strlen(one.files[0])) || !strstr(error, words) || !strchr(error, ';'))
		fail_msg("\"%s\", wanted \"%s\" and a remedy", error, words);
	free(error);
	unlink(one.files[0]);
	free(one.files[0]);
}

/* --- our own files */

static const char line_spam[] = HEAD "SMTP Spam attack detected from 192.0.2.7, client sent data before SMTP greeting";
static const char line_user[] = HEAD "SMTP: User a doesn't exist. Attempt from IP address 192.0.2.7.";

static void own_rules_stand_before_the_built_in_ones(void **state)
{
	file_put(*state, "first.rules",
		 "rule mine {\n log = security\n service = smtp\n verdict = failure\n pattern = \"SMTP Spam.* from %address%,.*\"\n}\n");
	file_put(*state, "second.rules",
		 "rule later {\n log = security\n service = smtp\n verdict = failure\n pattern = \"SMTP .* from %address%,.*\"\n}\n");
	kban_auto(rules_free) struct rules *r = load_set(*state, false);

	assert_string_equal(reading(r, line_spam), "mine 192.0.2.7");
	assert_string_equal(reading(r, line_user), "unknown-user 192.0.2.7");
	assert_string_equal(reading(r, HEAD "SMTP Other from 192.0.2.7, x"), "later 192.0.2.7");
}

static void an_own_rule_with_a_built_in_ones_name_replaces_it(void **state)
{
	file_put(*state, "own.rules",
		 "rule spam-attack {\n log = security\n service = smtp\n verdict = none\n pattern = \"SMTP Spam attack detected from %address%,.*\"\n}\n"
		 "rule spf-fail {\n log = security\n service = smtp\n verdict = failure\n pattern = \"SPF check failed: The IP address '%address%'.*\"\n}\n");
	kban_auto(rules_free) struct rules *r = load_set(*state, false), *built_in = NULL;
	static const char spf[] = HEAD "SPF check failed: The IP address '192.0.2.7' is not in permitted set for sender 'a' (FAIL)";
	struct rules_match m;

	assert_true(rules_match(r, line_spam, strlen(line_spam), &m));
	assert_true(m.verdict == RULES_NONE);
	assert_true(rules_match(r, spf, strlen(spf), &m));
	assert_true(m.verdict == RULES_FAILURE && m.has_address);
	assert_int_equal(rules_default(&built_in), 0);
	assert_int_equal(r->n, built_in->n);
}

static void a_name_is_given_once(void **state)
{
	struct rules *r = NULL;
	char *error = NULL;
	struct folder *f = *state;

	file_put(f, "a.rules", "rule mine {\n" FAILURE " pattern = \"a%address%\"\n}\n");
	file_put(f, "b.rules", "\nrule mine {\n" FAILURE " pattern = \"b%address%\"\n}\n");
	const struct rules_set set = {.n = f->n, .paths = (const char *const *)f->files};
	assert_true(rules_load(&r, &set, &error) < 0);
	assert_non_null(strstr(error, "b.rules:6: rule mine is in "));
	assert_non_null(strstr(error, "a.rules:5 already; give it another name"));
	free(error);
}

static void limits_of_a_rule_come_with_what_it_reads(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "own.rules",
		"rule strict {\n" FAILURE " failures = 3\n check-time = 3600\n block-time = 86400\n pattern = \"a%address%\"\n}\n"
		"rule partly {\n" FAILURE " failures = 500\n pattern = \"b%address%\"\n}\n"
		"rule plain {\n" FAILURE " pattern = \"c%address%\"\n}\n");
	struct rules_match m;

	assert_true(rules_match(r, HEAD "a192.0.2.7", 33, &m));
	assert_int_equal(m.own->failures, 3);
	assert_int_equal(m.own->check_s, 3600);
	assert_int_equal(m.own->block_s, 86400);
	assert_true(rules_match(r, HEAD "b192.0.2.7", 33, &m));
	assert_int_equal(m.own->failures, 500);
	assert_int_equal(m.own->check_s, 0);
	assert_true(rules_match(r, HEAD "c192.0.2.7", 33, &m));
	assert_null(m.own);
	assert_int_equal(rules_failures_max(r), 500);
}

static void a_rule_reads_the_lines_of_its_log_only(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "own.rules",
		"rule debugging {\n log = debug\n service = x\n verdict = failure\n pattern = \"x%address%\"\n}\n"
		"rule everywhere {\n log = any\n service = x\n verdict = failure\n pattern = \"y%address%\"\n}\n");
	const struct rules_source debug = {RULES_LOG_DEBUG, false};
	struct rules_match m;

	assert_true(rules_match_from(r, &rules_anywhere, HEAD "x192.0.2.7", 33, &m));
	assert_true(rules_match_from(r, &debug, HEAD "x192.0.2.7", 33, &m));
	assert_false(rules_match_from(r, &rules_kerio_security, HEAD "x192.0.2.7", 33, &m));
	assert_true(rules_match_from(r, &rules_kerio_security, HEAD "y192.0.2.7", 33, &m));
}

static void a_log_of_kerios_has_no_syslog_headers(void **state)
{
	static const char rest[] = "SMTP: User a doesn't exist. Attempt from IP address 192.0.2.7";
	static const char *const heads[] = {"<21>1 2026-04-05T00:00:00Z h a - - - ", "<21>Apr  5 00:00:00 host kerio: ",
					    "<21>Apr 15 00:00:00 host kerio[12]: ", ("<21>1 - h a - - - " HEAD)};
	kban_auto(rules_free) struct rules *r = load_set(*state, false);
	struct rules_match m;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(heads); i++) {
		kban_auto(kban_free) void *line = kban_asprintf("%s%s", heads[i], rest);
		assert_true(rules_match_from(r, &rules_anywhere, line, strlen(line), &m));
		assert_true(m.has_address);
		assert_false(rules_match_from(r, &rules_kerio_security, line, strlen(line), &m));
		assert_false(m.has_address || m.has_time);
	}
}

static void a_time_with_a_zone_is_read_as_utc(void **state)
{
	static const struct {
		const char *stamp;
		int64_t utc_s; /* 0: no time */
	} rows[] = {
		{"2026-04-05T00:00:00Z", 1775347200},	  {"2026-04-05T02:00:00.123456+02:00", 1775347200},
		{"2026-04-04T19:30:00-04:30", 1775347200}, {"2026-04-05T00:00:00", 0},
		{"2026-13-05T00:00:00Z", 0},		  {"2026-04-05T24:00:00Z", 0},
		{"2026-04-05T00:00:00+2:00", 0},	  {"2026-04-05T00:00:00.Z", 1775347200},
		{"-", 0},
	};
	kban_auto(rules_free) struct rules *r = load_set(*state, false);
	struct rules_match m;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		kban_auto(kban_free) void *line = kban_asprintf(
			"<21>1 %s h a - - - SMTP connection from 192.0.2.7 rejected: directory harvest attack", rows[i].stamp);
		assert_true(rules_match(r, line, strlen(line), &m));
		assert_int_equal(m.has_time, rows[i].utc_s != 0);
		assert_int_equal(m.is_utc, rows[i].utc_s != 0);
		assert_true(m.local_s == rows[i].utc_s);
	}
}

/* --- tests that rules carry */

struct tally {
	unsigned tests, ok, untested;
	char rows[1024];
};

static void tally_take(void *arg, const struct rules_test *t)
{
	struct tally *tally = arg;
	size_t n = strlen(tally->rows);

	tally->tests += t->text != NULL;
	tally->ok += t->ok;
	tally->untested += !t->text;
	snprintf(tally->rows + n, sizeof(tally->rows) - n, "%s:%d %s\n", t->rule, t->line, t->found ? t->found : "untested");
}

static void every_built_in_rule_has_a_test_that_passes(void **state)
{
	kban_auto(rules_free) struct rules *r = load_set(*state, false);
	struct tally t = {0};

	rules_each_test(r, tally_take, &t);
	assert_true(t.tests >= r->n);
	assert_int_equal(t.ok, t.tests);
	assert_int_equal(t.untested, 0);
}

static void failing_tests_can_be_looked_at(void **state)
{
	struct folder *f = *state;
	struct rules *loaded = NULL;
	char *error = NULL;
	struct tally t = {0};

	file_put(f, "own.rules",
		 "rule a {\n" FAILURE " pattern = \"a%address%\"\n test = {\"a192.0.2.1 => 192.0.2.1 -\",\n \"a192.0.2.1 => 192.0.2.2 -\"}\n}\n"
		 "rule b {\n" FAILURE " pattern = \"a1%address%\"\n test = {\"a192.0.2.1 => 92.0.2.1 -\",\n \"x => - -\"}\n}\n"
		 "rule c {\n" FAILURE " pattern = \"c%address%\"\n}\n");
	const struct rules_set set = {.n = 1, .paths = (const char *const *)f->files, .alone = true, .untested = true};
	assert_int_equal(rules_load(&loaded, &set, &error), 0);
	kban_auto(rules_free) struct rules *r = loaded;
	rules_each_test(r, tally_take, &t);
	assert_string_equal(t.rows, "a:6 192.0.2.1 -\na:7 192.0.2.1 -\nb:14 rule a\nb:15 no rule\nc:21 untested\n");
	assert_int_equal(t.ok, 1);
}

/* --- fail2ban's filters */

#define DEFINITION "[Definition]\nfailregex = "

static void a_failregex_is_searched_for_behind_the_date(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "Mail Host.conf",
		"# comment\n\n[Definition]\n; another\n_daemon = SMTP|IMAP\n"
		"failregex = ^ (?:%(_daemon)s): bad <F-USER>\\S+</F-USER> from <HOST>$\n"
		"            # in between\n"
		"            ^ v4 <IP4>,\n"
		"            ^ v6 <IP6>,\n"
		"            ^ addr <ADDR>(?:,|$)\n"
		"            anywhere <HOST>\\b\n"
		"            ^ tag <_place> <F-ALT_USER>a</F-ALT_USER> <<HOST>>\n"
		"ignoreregex = ignore me\n_place = (?i:HERE)\n");
	static const char *const rows[][2] = {
		{"SMTP: bad joe from 192.0.2.7", "mail-host.1 192.0.2.7"}, {"IMAP: bad joe from 2001:db8::7", "mail-host.1 2001:db8::7"},
		{"IMAP: bad joe from ::ffff:192.0.2.7", "mail-host.1 192.0.2.7"}, {"SMTP: bad joe from [2001:db8::7]", "mail-host.1 2001:db8::7"},
		{"SMTP: bad joe from mx.example.com", "mail-host.1 -"}, {"SMTP: bad joe from 192.0.2.7 x", "none"},
		{"v4 192.0.2.7, x", "mail-host.2 192.0.2.7"}, {"v4 2001:db8::7, x", "none"}, {"v6 2001:db8::7, x", "mail-host.3 2001:db8::7"},
		{"addr 192.0.2.7", "mail-host.4 192.0.2.7"}, {"addr mx.example.com", "none"}, {"so anywhere 192.0.2.7!", "mail-host.5 192.0.2.7"},
		{"so anywhere 192.0.2.7! but ignore me", "none"}, {"addr 999.0.2.7", "mail-host.4 -"},
		{"tag here a <192.0.2.7>", "mail-host.6 192.0.2.7"}, {"nothing", "none"},
	};
	struct rules_match m;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		kban_auto(kban_free) void *line = kban_asprintf(HEAD "%s\r", rows[i][0]);
		if (strcmp(reading(r, line), rows[i][1]))
			fail_msg("%s: %s, wanted %s", rows[i][0], reading(r, line), rows[i][1]);
	}
	assert_true(rules_match(r, HEAD "SMTP: bad joe from 192.0.2.7", 51, &m));
	assert_string_equal(m.service, "mail-host");
	assert_true(m.verdict == RULES_FAILURE && m.user_len == 3 && !memcmp(m.user, "joe", 3));
}

static void a_prefregex_cuts_what_the_failregex_sees(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "pref.conf",
		"[INCLUDES]\nbefore = common.conf\n[Definition]\nmode = normal\nmdre-normal = ^x <HOST>$\nmdre-hard = ^never <HOST>$\n"
		"prefregex = ^ SMTP: <F-CONTENT>.+</F-CONTENT>$\nfailregex = <mdre-<mode>>\n"
		"            ^z <F-PORT/> %%<IP4>$\n");

	assert_string_equal(reading(r, HEAD "SMTP: x 192.0.2.7"), "pref.1 192.0.2.7");
	assert_string_equal(reading(r, HEAD "IMAP: x 192.0.2.7"), "none");
	assert_string_equal(reading(r, HEAD "SMTP: z 25 %192.0.2.7"), "pref.2 192.0.2.7");
}

/* As fail2ban searches: with a newline behind the line, and behind what a prefregex leaves of it. */
static void an_expression_sees_a_newline_behind_the_line(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "nl.conf",
		"[Definition]\nfailregex = ^ a <HOST>[^,]\n ^ b <HOST>\\s\n ^ c <ADDR>\\W\n ^ d <HOST>$\n ^ e <HOST>\\Z\n"
		" ^ f <HOST>:<F-PORT/>[^,]\n ^ g <F-USER>[^,]+</F-USER>,<IP4>\\n$\n ^ h <IP4> <F-USER>[^,]+</F-USER>\n");
	struct rules_match m;
	static const char with_user[] = HEAD "h 192.0.2.55 joe";

	assert_string_equal(reading(r, HEAD "a 192.0.2.55"), "nl.1 192.0.2.55");
	assert_string_equal(reading(r, HEAD "b 192.0.2.55"), "nl.2 192.0.2.55");
	assert_string_equal(reading(r, HEAD "c 192.0.2.55"), "nl.3 192.0.2.55");
	assert_string_equal(reading(r, HEAD "d 192.0.2.55"), "nl.4 192.0.2.55");
	assert_string_equal(reading(r, HEAD "e 192.0.2.55"), "none");
	assert_string_equal(reading(r, HEAD "f 192.0.2.55:12"), "nl.6 192.0.2.55");
	assert_string_equal(reading(r, HEAD "g joe,192.0.2.55"), "nl.7 192.0.2.55");
	assert_true(rules_match(r, with_user, sizeof(with_user) - 1, &m));
	assert_true(m.user == with_user + sizeof(with_user) - 4 && m.user_len == 3);
}

static void a_newline_stands_behind_what_a_prefregex_leaves(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "nl.conf", "[Definition]\nprefregex = ^ x <F-CONTENT>[^;]+</F-CONTENT>(?:;|$)\nfailregex = ^a <HOST>[^,]\n"
				   " ^b <HOST>\\n\\n$\n");

	assert_string_equal(reading(r, HEAD "x a 192.0.2.55; y"), "nl.1 192.0.2.55");
	assert_string_equal(reading(r, HEAD "x a 192.0.2.55"), "nl.1 192.0.2.55");
	assert_string_equal(reading(r, HEAD "x b 192.0.2.55"), "nl.2 192.0.2.55");
	assert_string_equal(reading(r, HEAD "x b 192.0.2.55; y"), "none");
}

static void a_comment_behind_a_value_is_none_of_it(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "c.conf", "[Definition] ; here\nfailregex = ^ a;b <IP4>$ ; and ; here\n  ^ c <IP4>$\t;here\n ; here\n ^ d <IP4>$\n");

	assert_string_equal(reading(r, HEAD "a;b 192.0.2.7"), "c.1 192.0.2.7");
	assert_string_equal(reading(r, HEAD "c 192.0.2.7"), "c.2 192.0.2.7");
	assert_string_equal(reading(r, HEAD "d 192.0.2.7"), "c.3 192.0.2.7");
}

static void init_overrides_a_tag_and_no_name(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "i.conf", "[Init]\nx = init\n[Definition]\nx = definition\nfailregex = ^ <x> %(x)s <IP4>$\n");

	assert_string_equal(reading(r, HEAD "init definition 192.0.2.7"), "i.1 192.0.2.7");
	assert_string_equal(reading(r, HEAD "definition definition 192.0.2.7"), "none");
}

/* 60 names of 60 names of ... of nothing. */
static void names_within_names_cost_a_bounded_amount_of_work(void **state)
{
	static const char *const forms[] = {"%%(a%u)s", "<a%u>"};

	for (size_t form = 0; form < KBAN_ARRAY_LEN(forms); form++) {
		kban_auto(kban_free) void *memory = kban_zalloc(16384);
		char *text = memory;
		size_t n = (size_t)sprintf(text, "[Definition]\n");
		for (unsigned i = 0; i < 9; i++) {
			n += (size_t)sprintf(text + n, "a%u = ", i);
			for (unsigned k = 0; k < 60; k++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
				n += (size_t)sprintf(text + n, forms[form], i + 1);
#pragma GCC diagnostic pop
			}
			n += (size_t)sprintf(text + n, "\n");
		}
		sprintf(text + n, "a9 =\nfailregex = ^%s <HOST>\n", form ? "<a0>" : "%(a0)s");
		refused(*state, "deep.conf", text, form ? ":12: " : ":12: too many names within names; write their values out");
	}
}

/* A login's two lines, which Debian's filter for Kerio knows both. */
static void a_line_that_a_built_in_rule_counts_counts_as_that_rules(void **state)
{
	struct rules_match m;

	file_put(*state, "kerio.conf",
		 DEFINITION "^ SMTP: User .* doesn't exist\\. Attempt from IP address <HOST>\\.?\n ^ Failed SMTP login from <HOST>\n"
			    " ^ SPF check failed: The IP address '<HOST>'\n ^ new <HOST>\n ^ SMTP: AntiHammering: .* <HOST> is\n");
	kban_auto(rules_free) struct rules *r = load_set(*state, false);

	assert_true(rules_match(r, line_user, strlen(line_user), &m));
	assert_string_equal(m.rule, "unknown-user");
	assert_string_equal(m.service, "smtp");
	assert_true(m.half == RULES_HALF_USER);
	assert_string_equal(reading(r, HEAD "Failed SMTP login from 192.0.2.7 with SASL method LOGIN"), "failed-login 192.0.2.7");
	assert_string_equal(reading(r, HEAD "SMTP: User x doesn't exist. Attempt from IP address 192.0.2.1. doesn't exist. Attempt from IP "
					    "address 203.0.113.66."), "unknown-user 203.0.113.66");
	assert_string_equal(reading(r, HEAD "SPF check failed: The IP address '192.0.2.7' is not in permitted set for sender 'a' (FAIL)"),
			    "kerio.3 192.0.2.7");
	assert_string_equal(reading(r, HEAD "new 192.0.2.7"), "kerio.4 192.0.2.7");
}

static void own_rules_are_as_many_as_there_may_be_beside_the_built_in_ones(void **state)
{
	kban_auto(kban_free) void *memory = kban_zalloc(128 * (RULES_MAX + 1));
	char *text = memory;
	struct folder *f = *state;
	struct rules *r = NULL;
	char *error = NULL;
	size_t n = 0;

	for (unsigned i = 0; i < RULES_MAX; i++)
		n += (size_t)sprintf(text + n, "rule mine%u {\n" FAILURE " pattern = \"z%%address%%\"\n}\n", i);
	file_put(f, "own.rules", text);
	rules_free(load_set(f, false));
	sprintf(text, "rule more {\n" FAILURE " pattern = \"z%%address%%\"\n}\n");
	file_put(f, "more.rules", text);
	const struct rules_set set = {.n = f->n, .paths = (const char *const *)f->files};
	assert_true(rules_load(&r, &set, &error) < 0);
	assert_non_null(strstr(error, "more.rules:5: more than 512 rules; remove some"));
	free(error);
}

static void a_backslash_and_a_dollar_can_be_written(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "own.rules",
		"rule a {\n" FAILURE " pattern = \"a\\\\d[$]{1}%address%\"\n}\n"
		"/* \"\\d\" */ // ${X}\n# \"\\d\"\n"
		"rule b {\n" FAILURE " pattern = 'b\\d[${]%address%'\n}\n");

	assert_string_equal(reading(r, HEAD "a1$192.0.2.7"), "a 192.0.2.7");
	assert_string_equal(reading(r, HEAD "b1$192.0.2.7"), "b 192.0.2.7");
}

static void an_address_may_stand_in_the_prefregex(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "pref.conf", "[Definition]\nprefregex = ^ <ADDR>: <F-CONTENT>.+</F-CONTENT>$\nfailregex = ^bad\n");

	assert_string_equal(reading(r, HEAD "192.0.2.7: bad"), "pref.1 192.0.2.7");
	assert_string_equal(reading(r, HEAD "2001:db8::7: bad"), "pref.1 2001:db8::7");
	assert_string_equal(reading(r, HEAD "192.0.2.7: good"), "none");
}

static void pythons_syntax_is_read_as_python_does(void **state)
{
	static const char *const rows[][3] = { /* expression, matches, does not */
		{"^ a{,2}<IP4>$", "aa192.0.2.7", "aaa192.0.2.7"},
		{"^ [[:x]<IP4>$", "[192.0.2.7", "a192.0.2.7"},
		{"^ [[:x]<IP4>$", ":192.0.2.7", "y192.0.2.7"},
		{"^ []x]<IP4>$", "]192.0.2.7", "y192.0.2.7"},
		{"^ [^]x]<IP4>$", "y192.0.2.7", "]192.0.2.7"},
		{"^ \\x61\\v?<IP4>$", "a\v192.0.2.7", "a\n192.0.2.7"},
		{"^ (?#a comment)a<IP4>$", "a192.0.2.7", "b192.0.2.7"},
		{"(?i)A<IP4>$", "ba192.0.2.7", "b192.0.2.7"},
		{"^ (?P<q>['\"])a(?P=q)<IP4>", "'a'192.0.2.7", "'a\"192.0.2.7"},
		{"^ (a)?(?(1)b|c)<IP4>", "ab192.0.2.7", "ac192.0.2.7"},
		{"^ (.)<IP4>\\1$", "a192.0.2.7a", "a192.0.2.7b"},
		{"^ <IP4>(.)\\2$", "192.0.2.7aa", "192.0.2.7ab"},
		{"^ a|^ b<IP4>", "b192.0.2.7", "c192.0.2.7"},
		{"(?i)(?m)A<IP4>$", "ba192.0.2.7", "b192.0.2.7"},
		{"^ <tag><IP4></F-USER>$", "<tag>192.0.2.7</F-USER>", "192.0.2.7"},
		{"^ (?s:.)a(?!b)(?<=a)<IP4>", "xa192.0.2.7", "xb192.0.2.7"},
	};
	struct folder *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		kban_auto(kban_free) void *text = kban_asprintf(DEFINITION "%s\n", rows[i][0]);
		kban_auto(kban_free) void *yes = kban_asprintf(HEAD "%s", rows[i][1]), *no = kban_asprintf(HEAD "%s", rows[i][2]);
		kban_auto(rules_free) struct rules *r = load_text(f, "py.conf", text);
		if (strcmp(reading(r, yes), "py.1 192.0.2.7") || strcmp(reading(r, no), "none"))
			fail_msg("%s", rows[i][0]);
		free(f->files[--f->n]);
	}
	file_put(f, "py.conf", "");
}

static void a_bad_filter_is_refused_with_line_and_remedy(void **state)
{
	static const char *const bad[][2] = {
		{"", ":1: no failregex in a section [Definition]; write one"},
		{"failregex = x\n", ":1: stands before any section; write [Definition] above it"},
		{"[Definition]\nfailregex\n", ":2: \"failregex\" is no option; "},
		{DEFINITION "^ x\n", ":2: failregex: names no address; write <HOST>"},
		{DEFINITION "^ <HOST>\n  ^ (<HOST>\n", ":3: failregex: missing closing parenthesis"},
		{DEFINITION "^ <HOST>[x\n", ":2: failregex: a [ without its ]; close it"},
		{DEFINITION "^ <HOST> <HOST>\n", ":2: failregex: two named subpatterns have the same name"},
		{DEFINITION "^ <SUBNET>\n", ":2: failregex: <SUBNET> is not read by kban"},
		{DEFINITION "^ <HOST><SKIPLINES>x\n", ":2: failregex: <SKIPLINES> is not read by kban"},
		{DEFINITION "^ <F-ID>x</F-ID>\n", ":2: failregex: <F-ID> is not read by kban"},
		{DEFINITION "^ \\h<HOST>\n", ":2: failregex: \\h is no escape"},
		{DEFINITION "^ \\Q<HOST>\n", ":2: failregex: \\Q is no escape"},
		{DEFINITION "^ \\x1<HOST>\n", ":2: failregex: \\x without two"},
		{DEFINITION "^ <HOST>\\\n", ":2: failregex: ends with a backslash; "},
		{DEFINITION "^ (?R)<HOST>\n", ":2: failregex: \"(?R)\" is not read"},
		{DEFINITION "^ (*ACCEPT)<HOST>\n", ":2: failregex: (* has nothing"},
		{DEFINITION "^ (?x) <HOST>\n", ":2: failregex: \"(?x)\" is not read"},
		{DEFINITION "^ %(__prefix_line)s<HOST>\n", ":2: %(__prefix_line)s is not set in this file, and files named in [INCLUDES]"},
		{DEFINITION "^ 100% <HOST>\n", ":2: a single %"},
		{"[Definition]\na = %(b)s\nb = %(a)s\nfailregex = ^ %(a)s<HOST>\n", " refers to itself; break the circle"},
		{"[Definition]\na = <a>x\nfailregex = ^ <a><HOST>\n", "; "},
		{"[INCLUDES]\nbefore = common.conf\nafter = other.local\n" DEFINITION "^ <HOST>\n", ":3: other.local is not read; copy"},
		{DEFINITION "^ a(?i)b<HOST>\n", ":2: failregex: \"(?i)\" in the middle"},
		{DEFINITION "^ (?-i)b<HOST>\n", ":2: failregex: \"(?-i\" is not read"},
		{DEFINITION "^ a <HOST>\nFailregex = ^ b <HOST>\n", ":3: failregex is given twice, first on line 2; remove one"},
		{"[Init]\nmaxlines = 10\n" DEFINITION "^ <HOST>\n", ":2: maxlines is over 1"},
		{"[Definition]\nprefregex = ^ (\nfailregex = ^ <HOST>\n", ":2: prefregex: missing closing"},
		{"[Definition]\nignoreregex = (\nfailregex = ^ <HOST>\n", ":2: ignoreregex: missing closing"},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++)
		refused(*state, "bad.conf", bad[i][0], bad[i][1]);
}

/* --- expressions that explode */

/* 2^n ways to match n letters: without the limit the shortest of these lines takes longer than the universe. */
static void an_exploding_expression_costs_a_bounded_number_of_steps(void **state)
{
	static const size_t lengths[] = {100, 1000, 10000, 60000};
	struct folder *f = *state;

	file_put(f, "slow.conf", DEFINITION "^ (a+)+$<HOST>\n  (?:a|a)*<HOST>b$\n");
	file_put(f, "slow.rules", "rule slow {\n log = any\n service = x\n verdict = failure\n pattern = \"(a+)+[bc]%address%\"\n}\n");
	file_put(f, "next.rules", "rule next {\n log = any\n service = x\n verdict = failure\n pattern = \"a+!%address%\"\n}\n");
	kban_auto(rules_free) struct rules *r = load_set(f, true);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lengths); i++) {
		size_t n = lengths[i];
		kban_auto(kban_free) void *line = kban_zalloc(n + 64);
		char *text = line;
		strcpy(text, HEAD);
		memset(text + strlen(HEAD), 'a', n);
		strcpy(text + strlen(HEAD) + n, "!192.0.2.7");
		assert_string_equal(reading(r, text), "next 192.0.2.7");
		assert_int_equal(r->rule[2].slow, i + 1);
		assert_true(rules_steps(strlen(text)) <= 5000 + 50 * (n + 64));
	}
	assert_true(rules_slow(r) >= 2 * KBAN_ARRAY_LEN(lengths));
}

/* Machine code's stack is too small for this one: it is matched without. */
static void a_long_line_that_matches_in_one_way_is_read(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(
		*state, "own.rules", "rule long {\n log = any\n service = x\n verdict = failure\n pattern = \"(?:a|b)*!%address%\"\n}\n");
	char line[30000] = HEAD;

	memset(line + strlen(HEAD), 'a', 29900);
	strcat(line, "!192.0.2.7");
	assert_string_equal(reading(r, line), "long 192.0.2.7");
	assert_int_equal(rules_slow(r), 0);
}

static void a_search_has_one_limit_not_one_at_each_byte(void **state)
{
	kban_auto(rules_free) struct rules *r = load_text(*state, "slow.conf", DEFINITION "(?:x+x+)+[yz]<HOST>\n");
	char line[512] = HEAD;

	memset(line + strlen(HEAD), 'x', 400);
	assert_string_equal(reading(r, line), "none");
	assert_int_equal(rules_slow(r), 1);
}

static void an_ignoreregex_that_explodes_ignores(void **state)
{
	kban_auto(rules_free) struct rules *r =
		load_text(*state, "slow.conf", "[Definition]\nfailregex = ^ a+!<HOST>$\nignoreregex = ^ (a+)+$\n");
	char line[512] = HEAD;

	memset(line + strlen(HEAD), 'a', 200);
	strcat(line, "!192.0.2.7");
	assert_string_equal(reading(r, line), "none");
	assert_int_equal(rules_slow(r), 1);
	assert_string_equal(reading(r, HEAD "aaa!192.0.2.7"), "slow.1 192.0.2.7");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(own_rules_stand_before_the_built_in_ones),
		T(an_own_rule_with_a_built_in_ones_name_replaces_it),
		T(a_name_is_given_once),
		T(limits_of_a_rule_come_with_what_it_reads),
		T(a_rule_reads_the_lines_of_its_log_only),
		T(a_log_of_kerios_has_no_syslog_headers),
		T(a_time_with_a_zone_is_read_as_utc),
		T(every_built_in_rule_has_a_test_that_passes),
		T(failing_tests_can_be_looked_at),
		T(a_failregex_is_searched_for_behind_the_date),
		T(a_prefregex_cuts_what_the_failregex_sees),
		T(an_expression_sees_a_newline_behind_the_line),
		T(a_newline_stands_behind_what_a_prefregex_leaves),
		T(a_comment_behind_a_value_is_none_of_it),
		T(init_overrides_a_tag_and_no_name),
		T(names_within_names_cost_a_bounded_amount_of_work),
		T(a_line_that_a_built_in_rule_counts_counts_as_that_rules),
		T(own_rules_are_as_many_as_there_may_be_beside_the_built_in_ones),
		T(a_backslash_and_a_dollar_can_be_written),
		T(an_address_may_stand_in_the_prefregex),
		T(pythons_syntax_is_read_as_python_does),
		T(a_bad_filter_is_refused_with_line_and_remedy),
		T(an_exploding_expression_costs_a_bounded_number_of_steps),
		T(a_long_line_that_matches_in_one_way_is_read),
		T(a_search_has_one_limit_not_one_at_each_byte),
		T(an_ignoreregex_that_explodes_ignores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
