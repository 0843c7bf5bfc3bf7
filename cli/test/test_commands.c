/* SPDX-License-Identifier: MPL-2.0
 *
 * The command table, and whole command lines that need no broker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/command.h"
#include "proto/genesis.h"
#include "proto/identity.h"
#include "proto/key.h"
#include "store/ledger.h"

#define ARGS_MAX 16

struct result {
	int code;
	char *out, *err;
};

static struct result run(const char *const *words)
{
	char *argv[ARGS_MAX] = {kban_strdup("kbanctl")};
	struct result r = {0};
	size_t out_n, err_n;
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = kban_strdup(words[argc - 1]);
	FILE *out = open_memstream(&r.out, &out_n), *err = open_memstream(&r.err, &err_n);
	r.code = cli_main(argc, argv, out, err, &kban_clock_system);
	fclose(out);
	fclose(err);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return r;
}

static void result_free(struct result *r)
{
	free(r->out);
	free(r->err);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})
#define AUTO	 __attribute__((cleanup(result_free))) struct result

static void every_command_has_all_of_its_parts(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->noun; c++) {
		struct args_item items[ARGS_ITEMS];
		char start[64];
		size_t n = args_grammar(items, c->grammar);

		assert_true(c->run && *c->summary && *c->help && *c->example);
		assert_int_not_equal(c->summary[strlen(c->summary) - 1], '.');
		assert_true(strchr(".)", c->help[strlen(c->help) - 1]) || !strcmp(c->noun, "help"));
		snprintf(start, sizeof(start), "kbanctl %s%s%s", c->noun, c->verb ? " " : "",
			 c->verb ? c->verb : "");
		assert_int_equal(strncmp(c->example, start, strlen(start)), 0);
		for (size_t i = 0; i < n; i++)
			assert_true(!items[i].option || command_option_help(items[i].name));
	}
}

static void no_command_stands_twice(void **state)
{
	(void)state;
	for (const struct command *a = commands; a->noun; a++)
		for (const struct command *b = commands; b != a; b++)
			assert_true(strcmp(a->noun, b->noun) != 0 ||
				    (a->verb && b->verb && strcmp(a->verb, b->verb) != 0));
}

static void every_command_helps(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->noun; c++) {
		const char *words[] = {c->noun, c->verb ? c->verb : "--help",
				       c->verb ? "--help" : NULL, NULL};
		AUTO r = run(words);
		assert_int_equal(r.code, CLI_OK);
		assert_non_null(strstr(r.out, c->example));
		assert_non_null(strstr(r.out, c->grammar));
		assert_string_equal(r.err, "");
	}
}

static void mistypings_get_a_suggestion(void **state)
{
	static const struct {
		const char *noun, *verb, *said;
	} rows[] = {
		{"bna", "x", "did you mean `kbanctl ban`?"},
		{"node", "lits", "did you mean `kbanctl node list`?"},
		{"clusetr", "list", "did you mean `kbanctl cluster"},
		{"node", "frobnicate", "node needs one of: invite join list release revoke"},
		{"frobnicate", "x", "unknown command frobnicate"},
		{"\033[31m", "x", "unknown command \\x1b[31m"},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		AUTO r = RUN(rows[i].noun, rows[i].verb);
		assert_int_equal(r.code, CLI_USAGE);
		assert_non_null(strstr(r.err, rows[i].said));
		assert_string_equal(r.out, "");
	}
}

static void bad_arguments_are_usage_errors(void **state)
{
	static const char *const rows[][6] = {
		{"ban"},
		{"ban", "x"},
		{"ban", "192.0.2.1/24"},
		{"ban", "192.0.2.1", "--for", "1x"},
		{"ban", "192.0.2.1", "--for", "367d"},
		{"ban", "192.0.2.1", "--wait", "0"},
		{"ban", "192.0.2.1", "--wait", "some"},
		{"ban", "192.0.2.1", "--reason", "a\nb"},
		{"bans", "nonsense"},
		{"unban"},
		{"node", "invite", "Mail1"},
		{"node", "invite", "-x"},
		{"node", "invite", "mail1", "--expires", "31d"},
		{"principal", "invite", "a"},
		{"principal", "invite", "a", "--role", "root"},
		{"safeacl", "approve", "192.0.2.0/24"},
		{"bans", "-o", "xml"},
		{"bans", "--timeout", "soon"},
		{"why"},
		{"why", "192.0.2.1/24"},
		{"why", "mail1"},
		{"log", "--kind", "bann"},
		{"log", "--since", "yesterday"},
		{"log", "--follow", "-o", "json"},
		{"log", "192.0.2.1/24"},
		{"policy", "set"},
		{"policy", "set", "history"},
		{"policy", "set", "history=1h"},
		{"policy", "test", "frobnicate=1"},
		{"policy", "test", "history=30d", "--since", "ever"},
		{"cluster", "fold-version"},
		{"cluster", "fold-version", "two"},
		{"cluster", "fold-version", "-1"},
		{"unban", "192.0.2.1", "--why", "a", "--reason", "b"},
		{"init"},
		{"init", "--broker", "192.0.2.1"},
		{"init", "--broker", "tcp://192.0.2.1:7400", "--address", "10.0.0.0/8"},
		{"init", "--broker", "tcp://192.0.2.1:7400", "--name", "UPPER"},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		AUTO r = run(rows[i]);
		assert_int_equal(r.code, CLI_USAGE);
		assert_string_equal(r.out, "");
		assert_int_equal(strncmp(r.err, "kbanctl: ", 9), 0);
	}
}

static void options_may_stand_before_the_command(void **state)
{
	AUTO r = RUN("-o", "json", "--identity", "/nonexistent/x.id", "bans");

	(void)state;
	assert_int_equal(r.code, CLI_FAILED);
	assert_non_null(strstr(r.err, "/nonexistent/x.id"));
}

static void version_and_help_need_no_command(void **state)
{
	AUTO version = RUN("--version");
	AUTO help = RUN("--help");
	AUTO nothing = RUN("-q");

	(void)state;
	assert_string_equal(version.out, "kbanctl " KBAN_VERSION "\n");
	assert_int_equal(help.code, CLI_OK);
	assert_non_null(strstr(help.out, "safeacl approve"));
	assert_int_equal(nothing.code, CLI_USAGE);
}

/* Folders. */

static int folder_make(void **state)
{
	char path[] = "/tmp/kbanctl-test.XXXXXX";

	if (!mkdtemp(path))
		return -1;
	*state = kban_strdup(path);
	return 0;
}

static int folder_drop(void **state)
{
	char *command = kban_asprintf("rm -rf '%s'", (char *)*state);
	int r = system(command);

	free(command);
	free(*state);
	return r;
}

static const char *in(const char *dir, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static unsigned mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

static void init_makes_a_cluster_that_folds(void **state)
{
	kban_auto(kban_free) void *dir = kban_asprintf("%s/new", (char *)*state);
	AUTO r = RUN("init", "--dir", dir, "--broker", "tcp://[2001:db8::1]:7400", "--address",
		     "192.0.2.1");
	struct kban_identity operator, root, broker;
	struct kban_sealed sealed;
	uint8_t *bytes = NULL;
	char *error = NULL;
	kban_auto(kban_report_free) struct kban_report *report = NULL;
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct ledger_verdict v;
	struct kban_prefix p;

	assert_int_equal(r.code, CLI_OK);
	assert_int_equal(mode_of(dir), 0700);
	assert_int_equal(mode_of(in(dir, "genesis.kban")), 0600);
	assert_int_equal(kban_identity_load(&root, in(dir, "root.key"), NULL), 0);
	assert_int_equal(kban_identity_load(&operator, in(dir, "operator.id"), NULL), 0);
	assert_int_equal(kban_identity_load(&broker, in(dir, "broker.id"), NULL), 0);
	assert_int_equal(root.role, KBAN_ROLE_ROOT);
	assert_true(kban_key_equal(&operator.brokers[0].curve, &broker.keys.curve_public));
	assert_int_equal(kban_genesis_load(in(dir, "genesis.kban"), &bytes, &sealed, &error), 0);
	assert_int_equal(kban_report_decode(&report, &sealed), 0);
	ledger_new(&l, &root.keys.sign_public);
	ledger_apply(l, &(struct kban_entry){1, 1, sealed}, report, &v, NULL);
	assert_int_equal(v.refusal, 0);
	for (size_t i = 0; i < v.outcomes_n; i++)
		assert_int_equal(v.outcomes[i], KBAN_OUTCOME_COUNTED);
	assert_int_equal(ledger_principal(l, &operator.keys.sign_public)->role, KBAN_ROLE_OPERATOR);
	assert_int_equal(kban_prefix_parse(&p, "2001:db8::1"), 0);
	assert_true(ledger_is_broker_address(l, &p));
	assert_int_equal(kban_prefix_parse(&p, "192.0.2.1"), 0);
	assert_true(ledger_is_broker_address(l, &p));
	free(bytes);
	assert_null(strstr(r.out, "seed"));
}

static void init_never_replaces_anything(void **state)
{
	const char *dir = *state;
	struct stat before, after;
	AUTO first = RUN("init", "--dir", dir, "--broker", "tcp://192.0.2.1:7400", "-q");

	assert_int_equal(first.code, CLI_OK);
	assert_int_equal(stat(in(dir, "operator.id"), &before), 0);
	assert_int_equal(unlink(in(dir, "root.key")), 0);
	AUTO second = RUN("init", "--dir", dir, "--broker", "tcp://192.0.2.1:7400");
	assert_int_equal(second.code, CLI_FAILED);
	assert_non_null(strstr(second.err, "operator.id is there already"));
	assert_int_equal(access(in(dir, "root.key"), F_OK), -1);
	assert_int_equal(stat(in(dir, "operator.id"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void an_identity_that_others_can_read_is_refused(void **state)
{
	const char *dir = *state;
	AUTO made = RUN("init", "--dir", dir, "--broker", "tcp://127.0.0.1:9", "-q");
	kban_auto(kban_free) void *path = kban_strdup(in(dir, "operator.id"));

	assert_int_equal(made.code, CLI_OK);
	assert_int_equal(chmod(path, 0644), 0);
	AUTO r = RUN("--identity", path, "bans");
	assert_int_equal(r.code, CLI_FAILED);
	assert_non_null(strstr(r.err, "chmod 600"));
}

static void a_token_as_an_argument_is_wiped(void **state)
{
	char *words[] = {kban_strdup("kbanctl"), kban_strdup("node"), kban_strdup("join"),
			 kban_strdup("kban1.secretsecret")};
	FILE *null = fopen("/dev/null", "w");

	(void)state;
	assert_int_equal(cli_main(4, words, null, null, &kban_clock_system), CLI_FAILED);
	for (size_t i = 0; i < sizeof("kban1.secretsecret"); i++)
		assert_int_equal(words[3][i], 0);
	fclose(null);
	for (size_t i = 0; i < 4; i++)
		free(words[i]);
}

static void a_token_file_that_others_can_read_is_refused(void **state)
{
	kban_auto(kban_free) void *path = kban_strdup(in(*state, "token"));
	FILE *f = fopen(path, "w");

	fputs("kban1.x\n", f);
	fclose(f);
	assert_int_equal(chmod(path, 0640), 0);
	AUTO open = RUN("node", "join", "--token-file", path);
	assert_int_equal(open.code, CLI_FAILED);
	assert_non_null(strstr(open.err, "chmod 600"));
	assert_int_equal(chmod(path, 0600), 0);
	AUTO bad = RUN("node", "join", "--token-file", path);
	assert_int_equal(bad.code, CLI_FAILED);
	assert_non_null(strstr(bad.err, "no token"));
}

/* The manual. */

static char *file_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = kban_zalloc(1 << 20);

	assert_non_null(f);
	assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	return text;
}

static void the_manual_has_the_table_word_for_word(void **state)
{
	AUTO r = RUN("help", "--mdoc");
	kban_auto(kban_free) void *manual = file_text(SOURCE_DIR "/cli/man/kbanctl.1");

	(void)state;
	assert_int_equal(r.code, CLI_OK);
	assert_non_null(strstr(manual, r.out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_has_all_of_its_parts),
		cmocka_unit_test(no_command_stands_twice),
		cmocka_unit_test(every_command_helps),
		cmocka_unit_test(mistypings_get_a_suggestion),
		cmocka_unit_test(bad_arguments_are_usage_errors),
		cmocka_unit_test(options_may_stand_before_the_command),
		cmocka_unit_test(version_and_help_need_no_command),
		cmocka_unit_test_setup_teardown(init_makes_a_cluster_that_folds, folder_make,
						folder_drop),
		cmocka_unit_test_setup_teardown(init_never_replaces_anything, folder_make,
						folder_drop),
		cmocka_unit_test_setup_teardown(an_identity_that_others_can_read_is_refused,
						folder_make, folder_drop),
		cmocka_unit_test(a_token_as_an_argument_is_wiped),
		cmocka_unit_test_setup_teardown(a_token_file_that_others_can_read_is_refused,
						folder_make, folder_drop),
		cmocka_unit_test(the_manual_has_the_table_word_for_word),
	};

	kban_crypto_setup();
	unsetenv("KBAN_IDENTITY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
