/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/identity.h"
#include "proto/test/samples.h"

static char folder[64], path[128];

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/kban-test-identity-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/node.id", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void assert_same(const struct kban_identity *a, const struct kban_identity *b)
{
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->role, b->role);
	assert_memory_equal(&a->root, &b->root, sizeof(a->root));
	assert_memory_equal(&a->cluster, &b->cluster, sizeof(a->cluster));
	assert_memory_equal(&a->keys, &b->keys, sizeof(a->keys));
	assert_int_equal(a->brokers_n, b->brokers_n);
	for (size_t i = 0; i < a->brokers_n; i++) {
		assert_string_equal(a->brokers[i].endpoint, b->brokers[i].endpoint);
		assert_true(kban_key_equal(&a->brokers[i].curve, &b->brokers[i].curve));
	}
}

static void save_is_read_back(void **state)
{
	struct kban_identity id = sample_identity(), back;
	struct stat st;
	unsigned line;
	(void)state;

	mode_t old = umask(0777);
	assert_int_equal(kban_identity_save(&id, path), 0);
	umask(old);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(kban_identity_load(&back, path, &line), 0);
	assert_same(&id, &back);
}

static void save_never_replaces(void **state)
{
	struct kban_identity id = sample_identity(), other = id, back;
	(void)state;

	strcpy(other.name, "mail2");
	assert_int_equal(kban_identity_save(&id, path), 0);
	assert_int_equal(kban_identity_save(&other, path), KBAN_IDENTITY_EXISTS);
	assert_int_equal(kban_identity_load(&back, path, NULL), 0);
	assert_string_equal(back.name, "mail1");
}

static void save_into_a_missing_folder_says_so(void **state)
{
	struct kban_identity id = sample_identity();
	char missing[160];
	(void)state;

	snprintf(missing, sizeof(missing), "%s/none/node.id", folder);
	assert_int_equal(kban_identity_save(&id, missing), -ENOENT);
}

/* A limit on file sizes makes the write fail half-way. */
static void a_failed_save_leaves_nothing(void **state)
{
	struct kban_identity id = sample_identity();
	struct rlimit old, small;
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){100, old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = kban_identity_save(&id, path);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(access(path, F_OK), -1);
}

static void save_does_not_follow_a_link(void **state)
{
	struct kban_identity id = sample_identity();
	(void)state;

	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(kban_identity_save(&id, path), KBAN_IDENTITY_EXISTS);
}

static void any_access_of_others_is_refused(void **state)
{
	struct kban_identity id = sample_identity(), back;
	(void)state;

	assert_int_equal(kban_identity_save(&id, path), 0);
	for (mode_t mode = 0; mode < 01000; mode++) {
		assert_int_equal(chmod(path, mode), 0);
		int r = kban_identity_load(&back, path, NULL);
		if (mode & 077)
			assert_true(r == KBAN_IDENTITY_OPEN_TO_OTHERS || r == -EACCES);
		else if (mode & 0400)
			assert_int_equal(r, 0);
	}
}

static void another_owner_is_refused(void **state)
{
	struct kban_identity id = sample_identity(), back;
	(void)state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(kban_identity_save(&id, path), 0);
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(kban_identity_load(&back, path, NULL), KBAN_IDENTITY_WRONG_OWNER);
	assert_int_equal(seteuid(65534), 0);
	int as_owner = kban_identity_load(&back, path, NULL);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(as_owner, 0);
}

static void what_is_no_file_is_refused_without_waiting(void **state)
{
	struct kban_identity id = sample_identity(), back;
	char link_path[160];
	(void)state;

	assert_int_equal(kban_identity_load(&back, folder, NULL), KBAN_IDENTITY_NOT_A_FILE);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(kban_identity_load(&back, path, NULL), KBAN_IDENTITY_NOT_A_FILE);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(kban_identity_save(&id, path), 0);
	snprintf(link_path, sizeof(link_path), "%s/link", folder);
	assert_int_equal(symlink(path, link_path), 0);
	assert_int_equal(kban_identity_load(&back, link_path, NULL), KBAN_IDENTITY_NOT_A_FILE);
	unlink(link_path);
	assert_int_equal(kban_identity_load(&back, "/dev/null", NULL), KBAN_IDENTITY_NOT_A_FILE);
	unlink(path);
	assert_int_equal(kban_identity_load(&back, path, NULL), -ENOENT);
}

static void a_file_over_the_limit_is_refused(void **state)
{
	struct kban_identity back;
	char block[1024];
	(void)state;

	memset(block, '#', sizeof(block));
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	for (int i = 0; i < 40; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	close(fd);
	assert_int_equal(kban_identity_load(&back, path, NULL), KBAN_IDENTITY_MALFORMED);
}

#define HEX64  "0101010101010101010101010101010101010101010101010101010101010101"
#define HEAD   "kban-identity 1\n"
#define NAME   "name mail1\n"
#define ROLE   "role node\n"
#define ROOT   "root " HEX64 "\n"
#define SEED   "seed " HEX64 "\n"
#define BROKER "broker tcp://192.0.2.1:7400 " HEX64 "\n"

static void the_line_at_fault_is_named(void **state)
{
	static const struct {
		const char *text;
		int line; /* -1: good; 0: the file as a whole */
	} table[] = {
		{HEAD NAME ROLE ROOT SEED, -1},
		{HEAD SEED ROOT ROLE NAME BROKER BROKER, -1},
		{"# ours\n\n" HEAD "# a\n" NAME ROLE ROOT "\n" SEED, -1},
		{HEAD NAME ROLE ROOT "seed " HEX64, -1}, /* without the last newline */
		{"", 0},
		{"\n# only comments\n", 0},
		{"kban-identity 2\n" NAME ROLE ROOT SEED, 1},
		{NAME HEAD ROLE ROOT SEED, 1},
		{"\r\n" HEAD NAME ROLE ROOT SEED, 1},
		{HEAD ROLE ROOT SEED, 0},
		{HEAD NAME ROOT SEED, 0},
		{HEAD NAME ROLE SEED, 0},
		{HEAD NAME ROLE ROOT, 0},
		{HEAD NAME NAME ROLE ROOT SEED, 3},
		{HEAD NAME ROLE ROOT SEED SEED, 6},
		{HEAD NAME ROLE ROOT SEED HEAD, 6},
		{HEAD "name Mail1\n" ROLE ROOT SEED, 2},
		{HEAD "name\n" ROLE ROOT SEED, 2},
		{HEAD "name  mail1\n" ROLE ROOT SEED, 2},
		{HEAD "name mail1 \n" ROLE ROOT SEED, 2},
		{HEAD " name mail1\n" ROLE ROOT SEED, 2},
		{HEAD NAME "role king\n" ROOT SEED, 3},
		{HEAD NAME ROLE "root " HEX64 "00\n" SEED, 4},
		{HEAD NAME ROLE "root 01\n" SEED, 4},
		{HEAD NAME ROLE ROOT "seed " HEX64 "\r\n", 5},
		{HEAD NAME ROLE ROOT SEED "colour blue\n", 6},
		{HEAD NAME ROLE ROOT SEED "broker tcp://a:1\n", 6},
		{HEAD NAME ROLE ROOT SEED "broker tcp://a " HEX64 "\n", 6},
		{HEAD NAME ROLE ROOT SEED "broker tcp://a:1  " HEX64 "\n", 6},
		{HEAD NAME ROLE ROOT SEED BROKER BROKER BROKER BROKER BROKER BROKER BROKER BROKER,
		 -1},
		{HEAD NAME ROLE ROOT SEED BROKER BROKER BROKER BROKER BROKER BROKER BROKER BROKER
			 BROKER,
		 14},
	};
	struct kban_identity id;
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		unsigned line = 99;
		size_t n = strlen(table[i].text);
		char *exact = kban_memdup(table[i].text, n);
		int r = kban_identity_parse(&id, exact, n, &line);
		free(exact);
		if (r != (table[i].line >= 0) || (r && line != (unsigned)table[i].line))
			fail_msg("row %zu: result %d, line %u", i, r, line);
	}
	static const char nul[] = HEAD NAME ROLE ROOT SEED "#\0\n";
	assert_int_equal(kban_identity_parse(&id, nul, sizeof(nul) - 1, NULL),
			 KBAN_IDENTITY_MALFORMED);
}

static void the_remedy_is_named(void **state)
{
	static const struct {
		int result;
		unsigned line;
		const char *part;
	} table[] = {
		{KBAN_IDENTITY_OPEN_TO_OTHERS, 0,
		 "cannot use /etc/kban/node.id: others can read it; run: chmod 600 "
		 "/etc/kban/node.id"},
		{KBAN_IDENTITY_WRONG_OWNER, 0, "run: chown "},
		{KBAN_IDENTITY_MALFORMED, 7, "line 7"},
		{KBAN_IDENTITY_MALFORMED, 0, "not a whole identity file"},
		{KBAN_IDENTITY_EXISTS, 0, "never replaced"},
		{KBAN_IDENTITY_NOT_A_FILE, 0, "a link, a folder or a device"},
		{-ENOENT, 0, "No such file or directory; make it with: kbanctl node join"},
		{-EACCES, 0, "run this as root"},
		{-EIO, 0, "Input/output error"},
		{42, 0, "unknown"},
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		char *s = kban_identity_explain(table[i].result, "/etc/kban/node.id",
						table[i].line);
		if (!strstr(s, table[i].part))
			fail_msg("%s", s);
		free(s);
	}
	char *s = kban_identity_explain(-ENOENT, "a\x1b[31m\n", 0);
	assert_non_null(strstr(s, "a\\x1b[31m\\x0a"));
	free(s);
}

static void wiping_leaves_no_secret(void **state)
{
	static const struct kban_keypair zero;
	struct kban_identity id = sample_identity();
	(void)state;

	kban_identity_wipe(&id);
	assert_memory_equal(&id.keys, &zero, sizeof(zero));
}

/* Tokens. */

static struct kban_token sample_token(void)
{
	return (struct kban_token){sample_identity(), SAMPLE_MS};
}

static void a_token_goes_there_and_back(void **state)
{
	struct kban_token t = sample_token(), back;
	char *text = kban_token_format(&t), padded[KBAN_TOKEN_MAX + 8];
	(void)state;

	assert_int_equal(kban_token_parse(&back, text, strlen(text)), 0);
	assert_same(&t.identity, &back.identity);
	assert_int_equal(back.expires_ms, SAMPLE_MS);
	snprintf(padded, sizeof(padded), " \t%s\r\n\n", text);
	assert_int_equal(kban_token_parse(&back, padded, strlen(padded)), 0);
	assert_same(&t.identity, &back.identity);
	free(text);
}

static void the_largest_token_fits(void **state)
{
	struct kban_token t = sample_token(), back;
	(void)state;

	memset(t.identity.name, 'a', KBAN_NAME_MAX);
	t.identity.brokers_n = KBAN_BROKERS_MAX;
	for (size_t i = 0; i < KBAN_BROKERS_MAX; i++) {
		char *e = t.identity.brokers[i].endpoint;
		memset(e, 'a', KBAN_ENDPOINT_MAX);
		memcpy(e, "tcp://", 6);
		e[60] = e[100] = '.';
		memcpy(e + KBAN_ENDPOINT_MAX - 2, ":1", 3);
	}
	char *text = kban_token_format(&t);
	assert_true(strlen(text) <= KBAN_TOKEN_MAX);
	assert_int_equal(kban_token_parse(&back, text, strlen(text)), 0);
	assert_same(&t.identity, &back.identity);
	char *file = kban_identity_format(&t.identity);
	assert_int_equal(kban_identity_parse(&back.identity, file, strlen(file), NULL), 0);
	assert_same(&t.identity, &back.identity);
	free(file);
	free(text);
}

static void every_typing_error_is_caught(void **state)
{
	static const char typed[] = "AZaz09-_+/=. ";
	struct kban_token t = sample_token(), back;
	char *text = kban_token_format(&t);
	size_t n = strlen(text);
	(void)state;

	for (size_t i = 0; i < n; i++) { /* one wrong character */
		char right = text[i];
		for (size_t k = 0; k + 1 < sizeof(typed); k++) {
			text[i] = typed[k];
			if (typed[k] != right)
				assert_int_equal(kban_token_parse(&back, text, n),
						 KBAN_IDENTITY_MALFORMED);
		}
		text[i] = right;
	}
	for (size_t i = 0; i + 1 < n; i++) { /* two exchanged */
		char a = text[i], b = text[i + 1];
		text[i] = b;
		text[i + 1] = a;
		if (a != b)
			assert_int_equal(kban_token_parse(&back, text, n), KBAN_IDENTITY_MALFORMED);
		text[i] = a;
		text[i + 1] = b;
	}
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(kban_token_parse(&back, text, cut), KBAN_IDENTITY_MALFORMED);
	assert_int_equal(kban_token_parse(&back, text, n), 0);
	free(text);
}

static void a_token_for_no_invitable_role_is_refused(void **state)
{
	struct kban_token t = sample_token(), back;
	(void)state;

	for (unsigned role = 0; role < 9; role++) {
		t.identity.role = (enum kban_role)role;
		char *text = kban_token_format(&t);
		int want = role >= KBAN_ROLE_NODE && role <= KBAN_ROLE_BROKER
				   ? 0
				   : KBAN_IDENTITY_MALFORMED;
		assert_int_equal(kban_token_parse(&back, text, strlen(text)), want);
		free(text);
	}
}

static void a_token_with_bad_contents_is_refused(void **state)
{
	struct kban_token t = sample_token(), back;
	(void)state;

	strcpy(t.identity.name, "Mail1");
	char *text = kban_token_format(&t);
	assert_int_equal(kban_token_parse(&back, text, strlen(text)), KBAN_IDENTITY_MALFORMED);
	free(text);
	t = sample_token();
	strcpy(t.identity.brokers[1].endpoint, "udp://a:1");
	text = kban_token_format(&t);
	assert_int_equal(kban_token_parse(&back, text, strlen(text)), KBAN_IDENTITY_MALFORMED);
	free(text);
	t = sample_token();
	t.expires_ms = UINT64_MAX;
	text = kban_token_format(&t);
	assert_int_equal(kban_token_parse(&back, text, strlen(text)), KBAN_IDENTITY_MALFORMED);
	free(text);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(save_is_read_back),
		IN_FOLDER(save_never_replaces),
		IN_FOLDER(save_into_a_missing_folder_says_so),
		IN_FOLDER(a_failed_save_leaves_nothing),
		IN_FOLDER(save_does_not_follow_a_link),
		IN_FOLDER(any_access_of_others_is_refused),
		IN_FOLDER(another_owner_is_refused),
		IN_FOLDER(what_is_no_file_is_refused_without_waiting),
		IN_FOLDER(a_file_over_the_limit_is_refused),
		cmocka_unit_test(the_line_at_fault_is_named),
		cmocka_unit_test(the_remedy_is_named),
		cmocka_unit_test(wiping_leaves_no_secret),
		cmocka_unit_test(a_token_goes_there_and_back),
		cmocka_unit_test(the_largest_token_fits),
		cmocka_unit_test(every_typing_error_is_caught),
		cmocka_unit_test(a_token_for_no_invitable_role_is_refused),
		cmocka_unit_test(a_token_with_bad_contents_is_refused),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
