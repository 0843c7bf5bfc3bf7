/* SPDX-License-Identifier: MPL-2.0 */
#include "node/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COLUMNS 9
enum column { GRADE, SOURCE, LOG, CLASS, SERVICE, USER, ADDRESS, MEANING, LINE };

static struct rules *defaults;

static int load_defaults(void **state)
{
	(void)state;
	return rules_default(&defaults);
}

static int free_defaults(void **state)
{
	(void)state;
	rules_free(defaults);
	return 0;
}

static bool match(const char *line, struct rules_match *m)
{
	return rules_match(defaults, line, strlen(line), m);
}

/* The line in memory of exactly its size, so that the sanitizer sees a read past its end. */
static bool match_exact(const char *line, size_t len, struct rules_match *m)
{
	char *copy = kban_memdup(line, len);
	bool found = rules_match(defaults, copy, len, m);

	if (m->user) {
		assert_true(m->user >= copy && m->user + m->user_len <= copy + len);
		m->user = line + (m->user - copy);
	}
	free(copy);
	return found;
}

static const char *address_text(const struct rules_match *m)
{
	static char text[KBAN_PREFIX_TEXT];

	return m->has_address ? kban_prefix_format(&m->address, text) : "";
}

static void assert_user(const struct rules_match *m, const char *want)
{
	assert_int_equal(m->user_len, strlen(want));
	assert_memory_equal(m->user ? m->user : "", want, m->user_len);
}

/* --- the samples */

static enum rules_verdict meant(const char *meaning)
{
	static const struct {
		const char *word;
		enum rules_verdict verdict;
	} words[] = {{"failure", RULES_FAILURE}, {"ban", RULES_BAN},	  {"success", RULES_SUCCESS},
		     {"no", RULES_NONE},	 {"off by", RULES_NONE}, {"hostname only", RULES_FAILURE}};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++) {
		if (strncmp(meaning, words[i].word, strlen(words[i].word)) == 0)
			return words[i].verdict;
	}
	fail_msg("unknown meaning: %s", meaning);
	return RULES_NONE;
}

static void check_sample(char *column[COLUMNS], const char *line)
{
	struct rules_match m;
	const char *address = strcmp(column[ADDRESS], "0.0.0.0") ? column[ADDRESS] : "";
	bool found = match_exact(line, strlen(line), &m);

	if (found != (column[CLASS][0] != 0) || m.verdict != meant(column[MEANING]))
		fail_msg("rule %s, verdict %s: %s", m.rule ? m.rule : "none", rules_verdict_name(m.verdict), line);
	if (!found)
		return;
	assert_string_equal(m.rule, column[CLASS]);
	assert_string_equal(m.service, column[SERVICE]);
	assert_string_equal(address_text(&m), address);
	assert_user(&m, column[USER]);
}

/* Calls fn for each sample line. Returns how many. */
static unsigned each_sample(void (*fn)(char *column[COLUMNS], const char *line))
{
	FILE *f = fopen(SOURCE_DIR "/node/test/lines.tsv", "r");
	char *row = NULL;
	size_t size = 0;
	unsigned n = 0;

	assert_non_null(f);
	for (bool heading = true; getline(&row, &size, f) > 0; heading = false) {
		char *column[COLUMNS], *rest = row;
		row[strcspn(row, "\n")] = 0;
		for (int i = 0; i < COLUMNS; i++)
			assert_non_null(column[i] = strsep(&rest, "\t"));
		if (heading)
			continue;
		fn(column, column[LINE]);
		n++;
	}
	free(row);
	fclose(f);
	return n;
}

static void every_sample_line_is_read_as_it_is_meant(void **state)
{
	(void)state;
	assert_true(each_sample(check_sample) >= 29);
}

/* What an older or newer version, or a forwarder, does to a line without changing its meaning. */
static void check_variants(char *column[COLUMNS], const char *line)
{
	static const char *const before[] = {"", "\xef\xbb\xbf"};
	static const char *const after[] = {"\r", " ", " \r"};
	bool syslog = line[0] == '<';

	for (size_t i = 0; i < KBAN_ARRAY_LEN(after); i++) {
		for (size_t k = 0; k < KBAN_ARRAY_LEN(before); k++) {
			kban_auto(kban_free) void *v = kban_asprintf("%s%s%s", before[k], line, after[i]);
			check_sample(column, v);
		}
	}
	if (syslog)
		return;
	kban_auto(kban_free) void *bare = kban_asprintf("<21>1 - - - - - - %s", line + 23);
	check_sample(column, bare);
	kban_auto(kban_free) void *both =
		kban_asprintf("<165>1 2026-04-05T00:00:00.1+02:00 mx kerio 12 ID - \xef\xbb\xbf%s", line);
	check_sample(column, both);
}

static void blanks_marks_and_syslog_headers_change_nothing(void **state)
{
	(void)state;
	each_sample(check_variants);
}

static void a_closing_dot_is_optional(void **state)
{
	static const char *const lines[] = {
		"[17/May/2017 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1%s",
		"[17/May/2017 19:43:42] SMTP: Invalid password for user a. Attempt from IP address 192.0.2.1%s",
		"[17/May/2017 19:43:42] Failed SMTP login from 192.0.2.1 with SASL method CRAM-MD5%s",
		"[17/May/2017 19:43:42] Attempt to deliver to unknown recipient <a>, from <b>, IP address 192.0.2.1%s",
		("[17/May/2017 19:43:42] SMTP: AntiHammering - IP address 192.0.2.1 will be blocked for 5 minutes, "
		 "too many failed logins from this IP address%s"),
	};
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lines); i++) {
		for (int dot = 0; dot < 2; dot++) {
			char *at = strstr(lines[i], "%s");
			kban_auto(kban_free) void *line =
				kban_asprintf("%.*s%s", (int)(at - lines[i]), lines[i], dot ? "." : "");
			assert_true(match(line, &m));
			assert_string_equal(address_text(&m), "192.0.2.1");
		}
	}
}

static void the_envelope_gives_the_local_time(void **state)
{
	struct rules_match m;
	struct tm tm = {.tm_year = 124, .tm_mon = 1, .tm_mday = 29, .tm_hour = 23, .tm_min = 59, .tm_sec = 58};

	(void)state;
	assert_false(match("[29/Feb/2024 23:59:58] x", &m));
	assert_true(m.has_time);
	assert_true(m.local_s == timegm(&tm));
	for (int day = -40000; day < 80000; day += 7) {
		time_t t = (time_t)day * 86400 + 3661;
		char line[64];
		strftime(line, sizeof(line), "[%d/%b/%Y %H:%M:%S] x", gmtime_r(&t, &tm));
		match(line, &m);
		assert_true(m.has_time && m.local_s == t);
	}
	match("<21>1 - h a - - - x", &m);
	assert_false(m.has_time);
}

static void a_day_that_no_month_has_is_no_envelope(void **state)
{
	static const struct {
		const char *day;
		bool is;
	} days[] = {{"29/Feb/2024", true}, {"29/Feb/2023", false}, {"29/Feb/2000", true}, {"29/Feb/1900", false},
		    {"31/Feb/2026", false}, {"31/Apr/2026", false}, {"30/Apr/2026", true}, {"31/Dec/2026", true}};
	char line[160];
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(days); i++) {
		int n = snprintf(line, sizeof(line), "[%s 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
				 days[i].day);
		assert_true(n > 0);
		assert_int_equal(match(line, &m), days[i].is);
	}
}

static void a_text_without_an_envelope_is_no_line(void **state)
{
	static const char *const lines[] = {
		"", "[", "SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
		"[99/May/2017 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
		"[17/Moy/2017 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
		"[17/May/2017 1x:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
		"May/2017 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
		"<21>2 - - - - - - SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1.",
	};
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lines); i++) {
		assert_false(match_exact(lines[i], strlen(lines[i]), &m));
		assert_null(m.rule);
		assert_false(m.has_address || m.has_time);
	}
}

static void addresses_come_in_many_shapes_and_names_are_none(void **state)
{
	static const char *const pairs[][2] = {
		{"192.0.2.1", "192.0.2.1"}, {"192.0.2.1:25", "192.0.2.1"}, {"::ffff:192.0.2.1", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:25", "192.0.2.1"}, {"[192.0.2.1]", "192.0.2.1"}, {"2001:DB8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"}, {"[2001:db8::1]:993", "2001:db8::1"}, {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
		{"host.example.com", ""}, {"192.0.2.1.example.com", ""}, {"192.0.2.256", ""}, {"192.0.2", ""},
		{"192.0.2.1:", ""}, {"192.0.2.1:123456", ""}, {"192.0.2.1:1:2", ""}, {"192.0.2.0/24", ""}, {"192.0.2.1/32", ""},
		{"[2001:db8::1", ""}, {"[2001:db8::1]x", ""}, {"[2001:db8::1]:", ""}, {"[]", ""}, {"[", ""}, {"]", ""}, {":", ""},
		{"fe80::1%eth0", ""}, {"0.0.0.0", ""}, {"::", ""}, {"0192.0.2.1", ""}, {"1:2:3:4:5:6:7:8:9", ""},
		{"192.0.2.1\\", ""}, {"3221225985", ""}, {"0xc0.0.2.1", ""}, {"192.0.2.1..", NULL}, {"192.0.2.1 x", NULL},
	};
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(pairs); i++) {
		kban_auto(kban_free) void *line = kban_asprintf("[17/May/2017 19:43:42] SMTP: User a doesn't exist. "
								"Attempt from IP address %s.", pairs[i][0]);
		if (match(line, &m) != (pairs[i][1] != NULL))
			fail_msg("%s", pairs[i][0]);
		if (!pairs[i][1])
			continue;
		assert_string_equal(address_text(&m), pairs[i][1]);
		assert_true(m.verdict == RULES_FAILURE);
	}
}

static void services_are_read_from_the_prefix(void **state)
{
	static const char *const pairs[][2] = {
		{"SMTP", "smtp"},	 {"HTTP/WebMail", "http"}, {"HTTP/WebAdmin", "webadmin"}, {"HTTP/KOFF", "http"},
		{"WebAdmin", "webadmin"}, {"XMPP", "xmpp"},	    {"Some New_Thing.2", "some-new-thing.2"},
		{"Kerio Connect Client", "client"},
	};
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(pairs); i++) {
		kban_auto(kban_free) void *line = kban_asprintf("[17/May/2017 19:43:42] %s: User a doesn't exist. "
								"Attempt from IP address 192.0.2.1", pairs[i][0]);
		assert_true(match(line, &m));
		assert_string_equal(m.service, pairs[i][1]);
	}
}

static void halves_are_marked(void **state)
{
	struct rules_match m;

	(void)state;
	match("[17/May/2017 19:43:42] SMTP: User a doesn't exist. Attempt from IP address 192.0.2.1", &m);
	assert_true(m.half == RULES_HALF_USER);
	match("[17/May/2017 19:43:42] SMTP: Invalid password for user a. Attempt from IP address 192.0.2.1", &m);
	assert_true(m.half == RULES_HALF_USER);
	match("[17/May/2017 19:43:42] Failed SMTP login from 192.0.2.1 with SASL method LOGIN.", &m);
	assert_true(m.half == RULES_HALF_LOGIN);
	match("[17/May/2017 19:43:42] SMTP connection from 192.0.2.1 rejected: directory harvest attack", &m);
	assert_true(m.half == RULES_WHOLE);
}

/* --- hostile text */

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t random_below(size_t n)
{
	return (size_t)(random_next() % n);
}

static void random_seed(void)
{
	const char *given = getenv("SEED");
	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761U + (uint64_t)getpid();
	random_state |= 1;
	print_message("SEED=%llu\n", (unsigned long long)random_state);
}

/* Every victim that the fragments name lies in 192.0.2.0/24 or 2001:db8:bad::/48. */
static const char *const fragments[] = {
	"192.0.2.1", "192.0.2.77:25", "[2001:db8:bad::1]", "2001:db8:bad::1", "<", ">", "<>", "'", "\"", ", ", "; ", ". ", ".", " ",
	"  ", "\r", "\n", "\xff", "\xc3", "\t", "(", ")", ": ", "a", "joe@example.com", " doesn't exist", "doesn't exist.",
	". Attempt from IP address 192.0.2.1", " doesn't exist. Attempt from IP address 192.0.2.1.",
	" authenticated  from IP address 192.0.2.1", " authenticated from IP address 192.0.2.1; ",
	"Invalid password for user x. Attempt from IP address 192.0.2.1", "Failed SMTP login from 192.0.2.1 with SASL method X",
	" with SASL method CRAM-MD5.", ", IP address 192.0.2.1", ">, IP address 192.0.2.1", ", from <b>, IP address 192.0.2.1",
	"<a> to <b> rejected", " rejected: ", "> rejected: sender domain does not exist", "Attempt from IP address ",
	"IP address 192.0.2.1 found in DNS blacklist X, mail from <", "Relay attempt from IP address 192.0.2.1, mail from <",
	"SMTP: User ", ("SMTP: AntiHammering - IP address 192.0.2.1 will be blocked for 5 minutes, "
			"too many failed logins from this IP address."),
	"AntiHammering: connection from IP address 192.0.2.1 is blocked",
	"[17/May/2017 19:43:42] ", "[17/May/2017 19:43:42] SMTP: User x doesn't exist. Attempt from IP address 192.0.2.1.",
	"<21>1 - - - - - - ", ", Sender-Host: 192.0.2.1", ", Sender-Host: 192.0.2.1, ", ", User: x", ", Subject: x", ", Msg-Id: <x>",
	"Client with IP address 192.0.2.1 has no reverse DNS entry, connection rejected before SMTP greeting",
	" failed: IP address not allowed", "Message from IP address 192.0.2.1, sender <x> rejected: y",
	"SPF check failed: The IP address '192.0.2.1' is not in permitted set for sender 'x' (FAIL)",
	"' is not in permitted set for sender '", ", client sent data before SMTP greeting", "rejected: directory harvest attack",
};

struct hostile {
	const char *line; /* %A: the real address, %T: typed text */
	enum rules_verdict verdict;
	bool may_be_unclear; /* the address may be given up, and then the rule is another */
};

static const struct hostile hostile_lines[] = {
	{"SMTP: User %T doesn't exist. Attempt from IP address %A.", RULES_FAILURE, true},
	{"HTTP/WebMail: User %T doesn't exist. Attempt from IP address %A", RULES_FAILURE, true},
	{"IMAP: Invalid password for user %T. Attempt from IP address %A.", RULES_FAILURE, false},
	{"IP address %A found in DNS blacklist X, mail from <%T> to <%T>", RULES_FAILURE, false},
	{"IP address %A found in DNS blacklist X, mail from <%T> to <%T> rejected", RULES_FAILURE, false},
	{"Relay attempt from IP address %A, mail from <%T> to <%T> rejected", RULES_FAILURE, false},
	{"Attempt to deliver to unknown recipient <%T>, from <%T>, IP address %A", RULES_FAILURE, false},
	{"Message from IP address %A, sender <%T> rejected: sender domain does not exist", RULES_FAILURE, false},
	{"SPF check failed: The IP address '%A' is not in permitted set for sender '%T' (FAIL)", RULES_NONE, false},
	{"POP3: User joe authenticated  from IP address %A; %T", RULES_SUCCESS, true},
	{"POP3: User joe authenticated  from IP address %A", RULES_SUCCESS, false},
	{"Message from <%T> to <%T> rejected by header filter: To address is %T", RULES_NONE, true},
	{"Failed IMAP login from %A with SASL method X", RULES_FAILURE, false},
	{"Failed SMTP login from %A with SASL method %T", RULES_FAILURE, true},
	{"Failed SMTP login from %A with SASL method %T.", RULES_FAILURE, true},
	{"XMPP: User %T doesn't exist. Attempt from IP address %A.", RULES_FAILURE, true},
	{"LDAP: Invalid password for user %T. Attempt from IP address %A", RULES_FAILURE, false},
	{"SMTP Spam attack detected from %A, client sent data before SMTP greeting", RULES_FAILURE, false},
	{"SMTP connection from %A rejected: directory harvest attack", RULES_FAILURE, false},
	{"Client with IP address %A has no reverse DNS entry, connection rejected before SMTP greeting", RULES_FAILURE, false},
	{"Administration login into Web Administration from %A failed: IP address not allowed", RULES_FAILURE, false},
	{"Connection attempt to service IMAP from IP address %A rejected: too many connections. Connection limit is 100", RULES_NONE,
	 false},
	{"SMTP: AntiHammering: connection from IP address %A is blocked", RULES_NONE, false},
	{"Recv: Queue-ID: 63073369-00000003, Service: SMTP, From: <%T>, To: <%T>, Size: 3687, Sender-Host: %A, SSL: yes, Subject: %T, "
	 "Msg-Id: <%T>", RULES_NONE, true},
	{"Message from <%T> to <%T> rejected by header filter: %T", RULES_NONE, true},
};

static size_t append(char *out, size_t len, size_t max, const char *s)
{
	size_t n = strlen(s);

	if (len + n > max)
		return len;
	memcpy(out + len, s, n);
	return len + n;
}

static size_t append_typed(char *out, size_t len, size_t max)
{
	for (size_t n = random_below(6); n; n--) {
		len = append(out, len, max, fragments[random_below(KBAN_ARRAY_LEN(fragments))]);
		if (random_below(40) == 0 && len < max)
			out[len++] = 0;
	}
	return len;
}

static size_t hostile_build(char *out, size_t max, const struct hostile *h, const char *real)
{
	size_t len = append(out, 0, max, "[17/May/2017 19:43:42] ");

	for (const char *p = h->line; *p; p++) {
		char one[2] = {*p, 0};
		if (p[0] == '%' && p[1] == 'T')
			len = append_typed(out, len, max);
		else
			len = append(out, len, max, p[0] == '%' ? real : one);
		p += *p == '%';
	}
	return len;
}

/* Names come from the attacker's reverse DNS. */
static bool is_name(const char *real)
{
	return !strstr(real, "203.0.113.66") && !strstr(real, "2a02:");
}

static void typed_text_never_names_another_address(void **state)
{
	static const char *const reals[] = {"203.0.113.66", "203.0.113.66:52114", "2a02:1::66", "[2a02:1::66]:25",
					    "::ffff:203.0.113.66", "mx.attacker.example", "192.0.2.1.attacker.example",
					    "a.192.0.2.1", "192-0-2-1.attacker.example", "[192.0.2.1", "192.0.2.1x"};
	unsigned unclear = 0;

	(void)state;
	random_seed();
	for (unsigned i = 0; i < 60000; i++) {
		const struct hostile *h = &hostile_lines[random_below(KBAN_ARRAY_LEN(hostile_lines))];
		const char *real = reals[random_below(KBAN_ARRAY_LEN(reals))];
		char line[8192];
		size_t len = hostile_build(line, sizeof(line), h, real);
		struct rules_match m;
		bool found = match_exact(line, len, &m);
		const char *address = address_text(&m);
		const char *want = is_name(real) ? "" : strchr(real, '.') ? "203.0.113.66" : "2a02:1::66";
		bool right = found && m.verdict == h->verdict && strcmp(address, want) == 0;
		if (!right && (h->may_be_unclear || is_name(real)) && !m.has_address) {
			unclear++;
			right = true;
		}
		if (!right)
			fail_msg("case %u: rule %s, %s, \"%s\" read from: %.*s", i, found ? m.rule : "none",
				 rules_verdict_name(m.verdict), address, (int)len, line);
	}
	print_message("%u lines gave up their address\n", unclear);
}

static void who_fails_and_who_logs_in_are_not_confused(void **state)
{
	struct rules_match m;

	(void)state;
	assert_true(match("[17/May/2017 19:43:42] IMAP: User x authenticated  from IP address 192.0.2.1 doesn't exist. "
			  "Attempt from IP address 203.0.113.66.", &m));
	assert_string_equal(m.rule, "unknown-user");
	assert_string_equal(address_text(&m), "203.0.113.66");
	assert_true(match("[17/May/2017 19:43:42] IMAP: User x authenticated  from IP address 192.0.2.1; y doesn't exist. "
			  "Attempt from IP address 203.0.113.66.", &m));
	assert_string_equal(m.rule, "unclear-user");
	assert_true(m.verdict == RULES_FAILURE);
	assert_false(m.has_address);
}

/* In the security log such a line is a failure: a user name must not hide who typed it. */
static void a_user_name_makes_nobody_immune_in_the_security_log(void **state)
{
	static const char *const lines[] = {
		"[17/May/2017 19:43:42] IMAP: User x authenticated  from IP address 192.0.2.1; y doesn't exist. "
		"Attempt from IP address 203.0.113.66.",
		"[17/May/2017 19:43:42] POP3: User a authenticated  from IP address b; doesn't exist. Attempt from IP address 203.0.113.66",
	};
	struct rules_match m;

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lines); i++) {
		assert_true(rules_match_from(defaults, &rules_kerio_security, lines[i], strlen(lines[i]), &m));
		assert_string_equal(m.rule, "unknown-user");
		assert_string_equal(address_text(&m), "203.0.113.66");
		assert_true(rules_match_from(defaults, &(struct rules_source){RULES_LOG_AUDIT, false}, lines[i], strlen(lines[i]), &m));
		assert_string_equal(m.rule, "unclear-user");
		assert_false(m.has_address);
	}
}

static void typed_text_hides_nobody_in_the_security_log(void **state)
{
	(void)state;
	random_seed();
	for (unsigned i = 0; i < 60000; i++) {
		const struct hostile *h = &hostile_lines[random_below(KBAN_ARRAY_LEN(hostile_lines))];
		const char *real = random_below(2) ? "203.0.113.66" : "[2a02:1::66]:25";
		char line[8192];
		size_t len = hostile_build(line, sizeof(line), h, real);
		struct rules_match m;
		bool found = rules_match_from(defaults, &rules_kerio_security, line, len, &m);
		if (h->verdict == RULES_SUCCESS) /* of the audit log */
			continue;
		bool fails = h->verdict == RULES_FAILURE && (!h->may_be_unclear || strstr(h->line, ": User %T doesn't"));
		if (fails && (!found || m.verdict != RULES_FAILURE || !m.has_address))
			fail_msg("case %u: nobody counts: %.*s", i, (int)len, line);
		if (found && m.has_address && strcmp(address_text(&m), strchr(real, '.') ? "203.0.113.66" : "2a02:1::66"))
			fail_msg("case %u: \"%s\" read from: %.*s", i, address_text(&m), (int)len, line);
	}
}

static void a_mail_line_is_read_up_to_its_subject(void **state)
{
	struct rules_match m;
	static const char head[] = "[25/Aug/2022 15:31:37] Recv: Queue-ID: 1-2, ";
	static const char *const rests[][3] = {
		{"Sender-Host: 203.0.113.66, Service: SMTP, User: joe, From: <a>, To: <b>, <c>, SSL: no, Subject: , User: eve",
		 "203.0.113.66", "joe"},
		{"Service: SMTP, From: <a, Sender-Host: 192.0.2.1, Subject: >, To: <b>, Sender-Host: 203.0.113.66, Subject: x",
		 "203.0.113.66", ""},
		{"Service: SMTP, From: <>, To: <b>, Size: 1, Sender-Host: 203.0.113.66, SSL: yes", "203.0.113.66", ""},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rests); i++) {
		kban_auto(kban_free) void *line = kban_asprintf("%s%s", head, rests[i][0]);
		assert_true(match(line, &m));
		assert_string_equal(m.service, "smtp");
		assert_string_equal(address_text(&m), rests[i][1]);
		assert_user(&m, rests[i][2]);
	}
	kban_auto(kban_free) void *quoted = kban_asprintf(
		"%sService: SMTP, From: <\"a>, Sender-Host: 192.0.2.1, Subject: \"@x>, Sender-Host: 203.0.113.66", head);
	assert_false(match(quoted, &m));
}

static void a_very_long_hostile_line_ends_quickly(void **state)
{
	static const char *const repeated[] = {
		" doesn't exist. Attempt from IP address 192.0.2.1", " authenticated  from IP address 192.0.2.1; ",
		">, IP address 192.0.2.1", " authenticated ", ", Subject: ", ", User: ", ", From: <>", " ", ".", ", <>",
	};
	static const char *const starts[] = {
		"SMTP: User ", "SMTP: Invalid password for user ", "Attempt to deliver to unknown recipient <",
		"Recv: Queue-ID: 1", "Recv: Queue-ID: 1, To: <>", "Failed SMTP login from ", "IP address 1.2.3.4",
		"SPF check failed: The IP address '1.2.3.4' is not in permitted set for sender '",
	};
	struct rules_match m;
	struct timespec begin, end;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (size_t s = 0; s < KBAN_ARRAY_LEN(starts); s++) {
		for (size_t k = 0; k < KBAN_ARRAY_LEN(repeated); k++) {
			size_t len = 65536, at = (size_t)snprintf(NULL, 0, "[17/May/2017 19:43:42] %s", starts[s]);
			char *line = kban_zalloc(len + 1);
			sprintf(line, "[17/May/2017 19:43:42] %s", starts[s]);
			for (size_t n = strlen(repeated[k]); at + n <= len; at += n)
				memcpy(line + at, repeated[k], n);
			rules_match(defaults, line, at, &m);
			free(line);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
	print_message("%.1f ms for 80 lines of 64 KiB\n", ms);
	assert_true(ms < 8000);
}

/* --- files */

static int load_text(struct rules **out, const void *text, size_t len, char **error)
{
	char path[] = "/tmp/kban-rules-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
	const char *const paths[] = {path};
	int r = rules_load(out, &(struct rules_set){.n = 1, .paths = paths}, error);
	unlink(path);
	return r;
}

static void a_bad_file_is_refused_with_line_and_remedy(void **state)
{
#define GOOD "log = security\n service = x\n verdict = failure\n"
	static const char *const bad[][2] = {
		{"", ":1: 0 rules; "},
		{"rule a {\n" GOOD " failures = 0\n pattern = \"%address%\"\n}\n", ":5: failures \"0\" is out of range; write a number from 1 to 1000"},
		{"rule a {\n" GOOD " failures = 1001\n pattern = \"%address%\"\n}\n", ":5: failures \"1001\" is out of range; "},
		{"rule a {\n" GOOD " check-time = -1\n pattern = \"%address%\"\n}\n", ":5: check-time \"-1\" is out of range; "},
		{"rule a {\n" GOOD " block-time = \"5m\"\n pattern = \"%address%\"\n}\n", ":5: block-time \"5m\" is out of range; "},
		{"rule a {\n log = security\n service = x\n verdict = maybe\n pattern = \"%address%\"\n}\n",
		 ":4: unknown verdict \"maybe\"; use one of none, failure, ban, success"},
		{"rule a {\n log = papyrus\n service = x\n verdict = failure\n pattern = \"%address%\"\n}\n", ":2: unknown log"},
		{"rule a {\n" GOOD " half = third\n pattern = \"%address%\"\n}\n", ":5: unknown half"},
		{"rule a {\n" GOOD " pattern = \"x\"\n}\n", ":5: rule a: the pattern has no group \"address\"; write"},
		{"rule a {\n" GOOD " pattern = \"%address%\"\n", ":6: the file ends inside a rule; close it with }"},
		{"rule a {\n" GOOD " pattern = \"%address% (\"\n}\n", ":5: rule a: pattern: missing closing parenthesis at byte"},
		{"rule a {\n" GOOD "}\n", ": rule a: no pattern; add it"},
		{"rule a {\n log = security\n verdict = none\n pattern = \"x\"\n}\n", ":4: rule a: no service; "},
		{"rule a {\n log = security\n verdict = failure\n service = \"S!\"\n pattern = \"%address%\"\n}\n", "bad service \"S!\"; "},
		{"rule a {\n" GOOD " pattern = \"x%address%\"\n}\nrule a {\n}\n", ":7: "},
		{"rule A_ {\n" GOOD " pattern = \"x%address%\"\n}\n", "bad rule name \"A_\"; "},
		{"rule a {\n" GOOD " pattern = \"x%address%\"\n test = {\n\"x192.0.2.1 => 192.0.2.1 -\",\n\"y192.0.2.1 => 192.0.2.1 -\"}\n}\n",
		 ":8: rule a: no rule matches its test; "},
		{"rule a {\n" GOOD " pattern = \"x%address%\"\n test = {\"x192.0.2.1 => 192.0.2.2 -\"}\n}\n",
		 ":6: rule a: its test reads \"192.0.2.1 -\"; "},
		{"rule a {\n" GOOD " pattern = \"x%address%\"\n test = {\"x192.0.2.1\"}\n}\n", ":6: rule a: a test without"},
		{"rule a {\n" GOOD " pattern = \"x%address%\"\n}\nrule b {\n" GOOD
		 " pattern = \"x1%address%\"\n test = {\"x192.0.2.1 => 92.0.2.1 -\"}\n}\n", ":12: rule b: its test is taken by rule a; "},
		{"rule a {\n log = security\n service = x\n verdict = none\n half = user\n pattern = \"x\"\n}\n", "half is for failures"},
		{"rule a {\n colour = blue\n}\n", ":2: "},
		{"rule a {\n" GOOD " pattern = \"(*UTF)%address%\"\n}\n", ":5: rule a: pattern: "},
		{"rule a {\n" GOOD " failures = 3\n# failures = 4\n failures = 9\n pattern = \"%address%\"\n}\n",
		 ":7: failures is given twice in this rule, first on line 5; remove one"},
		{"rule a {\n" GOOD " pattern = \"%address%\"\n pattern = \"b%address%\"\n}\n", ":6: pattern is given twice"},
		{"rule a {\n" GOOD " pattern = \"%address%\"\n test = {\"192.0.2.1 => 192.0.2.1 -\"}\n test = {}\n}\n",
		 ":7: test is given twice"},
		{"rule a {\n" GOOD " pattern = \"a\\d+%address%\"\n}\n", ":5: a single backslash in double quotes, before \"d\"; write it twice"},
		{"rule a {\n" GOOD " pattern = \"a${HOME}%address%\"\n}\n", ":5: ${ in double quotes"},
		{"rule a {\n service = ${HOME}\n}\n", ":2: ${ would be filled in"},
		{"rule a {\n log = security\n service = x\n verdict = none\n failures = 3\n pattern = \"x\"\n}\n",
		 ":5: rule a: failures has no effect with this verdict; remove it"},
		{"rule a {\n log = security\n service = x\n verdict = success\n block-time = 3\n pattern = \"x\"\n}\n",
		 ":5: rule a: block-time has no effect with this verdict; "},
		{"rule a {\n log = security\n service = x\n verdict = ban\n check-time = 3\n pattern = \"%address%\"\n}\n",
		 ":5: rule a: check-time has no effect with this verdict; "},
		{"rule a {\n" GOOD " half = user\n failures = 3\n pattern = \"%address%\"\n}\n", ":6: rule a: half and failures: "},
		{"rule a {\n pattern = \"x", ":"},
		{"rule a\n", ":"},
		{"}\n", ":1: "},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++) {
		struct rules *r = NULL;
		char *error = NULL;
		assert_true(load_text(&r, bad[i][0], strlen(bad[i][0]), &error) < 0);
		assert_null(r);
		assert_non_null(error);
		if (strncmp(error, "/tmp/kban-rules-", 16) || !strstr(error, bad[i][1]) || !strchr(error, ';'))
			fail_msg("\"%s\", wanted \"%s\"", error, bad[i][1]);
		free(error);
	}
}

static void a_missing_or_binary_file_is_refused(void **state)
{
	struct rules *r = NULL;
	char *error = NULL;

	(void)state;
	static const char *const missing[] = {"/nonexistent/rules"};

	assert_int_equal(rules_load(&r, &(struct rules_set){.n = 1, .paths = missing}, &error), -2);
	assert_non_null(strstr(error, "/nonexistent/rules:1: No such file"));
	free(error);
	error = NULL;
	assert_true(load_text(&r, "rule a {\0}", 10, &error) < 0);
	assert_non_null(strstr(error, "NUL"));
	free(error);
	error = NULL;
	char *big = kban_zalloc(1 << 20);
	memset(big, '#', 1 << 20);
	assert_true(load_text(&r, big, 1 << 20, &error) < 0);
	free(error);
	free(big);
}

static void own_rules_replace_the_built_in_ones(void **state)
{
	static const char text[] = "rule mine {\n log = error\n service = fax\n verdict = ban\n"
				   " pattern = \"a|Fax from %address%|(?:b|c)%address%?\"\n}\n";
	struct rules *r = NULL;
	char *error = NULL;
	struct rules_match m;
	static const char line[] = "[17/May/2017 19:43:42] Fax from 192.0.2.1";

	(void)state;
	(void)error;
	assert_true(load_text(&r, text, strlen(text), &error) < 0); /* two groups of one name */
	free(error);
	static const char better[] = "rule mine {\n log = error\n service = fax\n verdict = ban\n"
				     " pattern = \"a|Fax from %address%\"\n}\n";
	assert_int_equal(load_text(&r, better, strlen(better), &error), 0);
	assert_true(rules_match(r, line, strlen(line), &m));
	assert_string_equal(m.rule, "mine");
	assert_string_equal(m.service, "fax");
	assert_true(m.verdict == RULES_BAN && m.has_address);
	assert_true(rules_match(r, "[17/May/2017 19:43:42] a", 24, &m));
	assert_false(m.has_address);
	rules_free(r);
}

static void a_pattern_that_explodes_is_passed_over(void **state)
{
	static const char text[] = "rule mine {\n log = error\n service = fax\n verdict = failure\n"
				   " pattern = \"(?:a+)+[bc]%address%\"\n}\n"
				   "rule next {\n log = error\n service = fax\n verdict = failure\n"
				   " pattern = \"a+%address%\"\n}\n";
	struct rules *r = NULL;
	char *error = NULL, line[256] = "[17/May/2017 19:43:42] ";
	struct rules_match m;

	(void)state;
	assert_int_equal(load_text(&r, text, strlen(text), &error), 0);
	memset(line + 23, 'a', sizeof(line) - 23);
	assert_true(rules_match(r, line, sizeof(line), &m)); /* the next one is tried */
	assert_string_equal(m.rule, "next");
	assert_false(m.has_address);
	rules_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_sample_line_is_read_as_it_is_meant),
		cmocka_unit_test(blanks_marks_and_syslog_headers_change_nothing),
		cmocka_unit_test(a_closing_dot_is_optional),
		cmocka_unit_test(the_envelope_gives_the_local_time),
		cmocka_unit_test(a_day_that_no_month_has_is_no_envelope),
		cmocka_unit_test(a_text_without_an_envelope_is_no_line),
		cmocka_unit_test(addresses_come_in_many_shapes_and_names_are_none),
		cmocka_unit_test(services_are_read_from_the_prefix),
		cmocka_unit_test(halves_are_marked),
		cmocka_unit_test(typed_text_never_names_another_address),
		cmocka_unit_test(who_fails_and_who_logs_in_are_not_confused),
		cmocka_unit_test(a_user_name_makes_nobody_immune_in_the_security_log),
		cmocka_unit_test(typed_text_hides_nobody_in_the_security_log),
		cmocka_unit_test(a_mail_line_is_read_up_to_its_subject),
		cmocka_unit_test(a_very_long_hostile_line_ends_quickly),
		cmocka_unit_test(a_bad_file_is_refused_with_line_and_remedy),
		cmocka_unit_test(a_missing_or_binary_file_is_refused),
		cmocka_unit_test(own_rules_replace_the_built_in_ones),
		cmocka_unit_test(a_pattern_that_explodes_is_passed_over),
	};

	return cmocka_run_group_tests(tests, load_defaults, free_defaults);
}
