/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/event.h"
#include "proto/log.h"

static char shown[8192];

/* What a call to the log writes, by way of a pipe in stderr's place. */
static int old_stderr, pipe_out;

static void capture(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	old_stderr = dup(2);
	dup2(ends[1], 2);
	close(ends[1]);
	pipe_out = ends[0];
}

static const char *captured(void)
{
	dup2(old_stderr, 2);
	close(old_stderr);
	ssize_t n = read(pipe_out, shown, sizeof(shown) - 1);
	close(pipe_out);
	shown[n < 0 ? 0 : n] = 0;
	return shown;
}

static void a_terminal_gets_program_and_level(void **state)
{
	(void)state;
	capture();
	kban_log_setup("prog", KBAN_LOG_INFO);
	kban_warning("the %s is %d", "answer", 42);
	kban_info("hello");
	kban_debug("not shown");
	assert_string_equal(captured(), "prog: warning: the answer is 42\nprog: hello\n");
}

static void the_journal_gets_priorities(void **state)
{
	struct stat st;
	char stream[64];
	(void)state;

	capture();
	assert_int_equal(fstat(2, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	kban_log_setup("prog", KBAN_LOG_DEBUG);
	kban_error("lost");
	kban_debug("detail");
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(captured(), "<3>lost\n<7>detail\n");
}

static void another_stderr_than_the_journals_gets_none(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "1:1", 1);
	capture();
	kban_log_setup("prog", KBAN_LOG_INFO);
	kban_error("lost");
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(captured(), "prog: error: lost\n");
}

static void one_call_is_one_line(void **state)
{
	char big[6000];
	(void)state;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	capture();
	kban_log_setup("prog", KBAN_LOG_INFO);
	kban_info("one\ntwo\r<3>three");
	kban_info("%s", big);
	const char *s = captured();
	assert_int_equal(strncmp(s, "prog: one two <3>three\nprog: xxx", 32), 0);
	assert_int_equal(s[strlen(s) - 1], '\n');
	assert_true(strchr(strchr(s, '\n') + 1, '\n') == s + strlen(s) - 1);
}

static void assert_escaped(const char *bytes, size_t n, const char *want)
{
	char out[256];

	assert_int_equal(kban_escape(out, sizeof(out), bytes, n), strlen(want));
	assert_string_equal(out, want);
}

static void outside_text_is_escaped(void **state)
{
	(void)state;
	assert_escaped("plain ~text", 11, "plain ~text");
	assert_escaped("a\\b", 3, "a\\x5cb");
	assert_escaped("a\0b\x1b[31m\x7f", 9, "a\\x00b\\x1b[31m\\x7f");
	assert_escaped("nov\xc3\xa1k \xf0\x9f\x90\xb1", 11, "nov\xc3\xa1k \xf0\x9f\x90\xb1");
	assert_escaped("\xc3", 1, "\\xc3");
	assert_escaped("\xc0\xaf\xff", 3, "\\xc0\\xaf\\xff");	       /* overlong */
	assert_escaped("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");	       /* a surrogate */
	assert_escaped("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
	assert_escaped("\xc2\x85", 2, "\\xc2\\x85");		       /* a C1 control */
	assert_escaped("\xe2\x80\xae", 3, "\\xe2\\x80\\xae");	       /* right-to-left override */
	assert_escaped("\xe2\x81\xa6", 3, "\\xe2\\x81\\xa6");	       /* left-to-right isolate */
	assert_escaped("\xef\xbb\xbf", 3, "\\xef\\xbb\\xbf");	       /* byte order mark */
	assert_escaped("\xe2\x80\xa8", 3, "\\xe2\\x80\\xa8");	       /* line separator */
	assert_escaped("", 0, "");
}

static void escaping_cuts_at_whole_characters(void **state)
{
	char out[16];
	(void)state;

	assert_int_equal(kban_escape(out, 4, "abcdef", 6), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(kban_escape(out, 4, "ab\xc3\xa1", 4), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(kban_escape(out, 5, "a\x01", 2), 1);
	assert_string_equal(out, "a");
	assert_int_equal(kban_escape(out, 6, "a\x01", 2), 5);
	assert_int_equal(kban_escape(out, 1, "a", 1), 0);
	assert_string_equal(out, "");
	assert_int_equal(kban_escape(NULL, 0, "a", 1), 0);
}

static void what_is_escaped_is_a_valid_text(void **state)
{
	char out[5];
	(void)state;

	for (unsigned i = 0; i < 65536; i++) {
		unsigned char bytes[2] = {(unsigned char)(i >> 8), (unsigned char)i};
		char all[16];
		size_t n = kban_escape(all, sizeof(all), bytes, 2);
		assert_true(kban_text_valid(all, n, sizeof(all)));
		n = kban_escape(out, sizeof(out), bytes, 2);
		assert_true(n < sizeof(out) && kban_text_valid(out, n, n));
	}
}

static void texts_are_utf8_without_controls(void **state)
{
	(void)state;
	assert_true(kban_text_valid("", 0, 0));
	assert_true(kban_text_valid(NULL, 0, 0));
	assert_true(kban_text_valid("abc", 3, 3));
	assert_false(kban_text_valid("abc", 3, 2));
	assert_true(kban_text_valid("\xc3\xa1\xe2\x82\xac\xf0\x9f\x90\xb1", 9, 9));
	assert_false(kban_text_valid("\xc3", 1, 9));
	assert_false(kban_text_valid("a\nb", 3, 9));
	assert_false(kban_text_valid("a\0b", 3, 9));
	assert_false(kban_text_valid("\x7f", 1, 9));
	assert_false(kban_text_valid("\xc2\x80", 2, 9));
	assert_false(kban_text_valid("\xed\xbf\xbf", 3, 9));
}

static void names_are_narrow(void **state)
{
	static const char *const good[] = {"a", "0", "mail1", "mail1.example.com", "a--b", "9-."};
	static const char *const bad[] = {"",	 "-a",	".a",	     "A",  "a_b",
					  "a b", "a\n", "m\xc3\xa1", "a/b"};
	char longest[KBAN_NAME_MAX + 2];
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(good); i++)
		assert_true(kban_name_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++)
		assert_false(kban_name_valid(bad[i], strlen(bad[i])));
	assert_false(kban_name_valid("a\0b", 3));
	memset(longest, 'a', sizeof(longest));
	assert_true(kban_name_valid(longest, KBAN_NAME_MAX));
	assert_false(kban_name_valid(longest, KBAN_NAME_MAX + 1));
}

static void endpoints_are_tcp_host_and_port(void **state)
{
	static const char *const good[] = {
		"tcp://192.0.2.1:7400",	    "tcp://broker:1",	 "tcp://Broker-1.example.com:65535",
		"tcp://[2001:db8::1]:7400", "tcp://3com.net:80", "tcp://1.2.3.4a:80",
	};
	static const char *const bad[] = {
		"",
		"tcp://",
		"tcp://:1",
		"tcp://a",
		"tcp://a:",
		"tcp://a:0",
		"tcp://a:65536",
		"tcp://a:01",
		"tcp://a:1 ",
		"tcp://a:+1",
		"tcp://a:99999999999",
		"udp://a:1",
		"tcp://a b:1",
		"tcp://*:1",
		"tcp://2001:db8::1:7400",
		"tcp://[::1:1",
		"tcp://[]:1",
		"tcp://[]",
		"tcp://[:1",
		"tcp://[::1]x:1",
		"tcp://-a:1",
		"tcp://a-:1",
		"tcp://a..b:1",
		"tcp://.a:1",
		"tcp://a.:1",
		"tcp://1.2.3:1",
		"tcp://1.2.3.256:1",
		"tcp://12:1",
		"tcp://a_b:1",
		"tcp://[::1%lo]:1",
		"tcp://a;b:1",
		"ipc:///x:1",
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(good); i++)
		if (!kban_endpoint_valid(good[i], strlen(good[i])))
			fail_msg("refused %s", good[i]);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++)
		if (kban_endpoint_valid(bad[i], strlen(bad[i])))
			fail_msg("accepted %s", bad[i]);
	assert_false(kban_endpoint_valid("tcp://a\0b:1", 11));
	char big[KBAN_ENDPOINT_MAX + 2];
	memset(big, 'a', sizeof(big));
	memcpy(big, "tcp://", 6);
	big[60] = big[100] = '.';
	memcpy(big + KBAN_ENDPOINT_MAX - 2, ":1a", 3);
	assert_true(kban_endpoint_valid(big, KBAN_ENDPOINT_MAX));
	memcpy(big + KBAN_ENDPOINT_MAX - 2, "a:1", 3);
	assert_false(kban_endpoint_valid(big, KBAN_ENDPOINT_MAX + 1));
}

static void every_kind_and_role_has_a_name(void **state)
{
	enum kban_role role;
	(void)state;

	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++)
		assert_string_not_equal(kban_event_kind_name((enum kban_event_kind)i), "unknown");
	assert_string_equal(kban_event_kind_name((enum kban_event_kind)KBAN_EVENT_KINDS),
			    "unknown");
	for (unsigned i = KBAN_ROLE_NODE; i <= KBAN_ROLE_ROOT; i++) {
		assert_true(kban_role_parse(&role, kban_role_name((enum kban_role)i)));
		assert_int_equal(role, i);
	}
	assert_string_equal(kban_role_name((enum kban_role)7), "unknown");
	assert_false(kban_role_parse(&role, "unknown"));
	assert_false(kban_role_parse(&role, "Node"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_gets_program_and_level),
		cmocka_unit_test(the_journal_gets_priorities),
		cmocka_unit_test(another_stderr_than_the_journals_gets_none),
		cmocka_unit_test(one_call_is_one_line),
		cmocka_unit_test(outside_text_is_escaped),
		cmocka_unit_test(escaping_cuts_at_whole_characters),
		cmocka_unit_test(what_is_escaped_is_a_valid_text),
		cmocka_unit_test(texts_are_utf8_without_controls),
		cmocka_unit_test(names_are_narrow),
		cmocka_unit_test(endpoints_are_tcp_host_and_port),
		cmocka_unit_test(every_kind_and_role_has_a_name),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
