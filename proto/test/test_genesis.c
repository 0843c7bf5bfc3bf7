/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "proto/genesis.h"

struct world {
	struct kban_keypair root, operator;
	struct kban_report report;
	struct kban_event event;
	uint8_t *bytes;
	struct kban_sealed sealed;
	char dir[64], path[96];
};

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));

	kban_keypair_random(&w->root);
	kban_keypair_random(&w->operator);
	w->event = (struct kban_event){.kind = KBAN_EVENT_GRANT,
				       .grant = {w->operator.sign_public, w->operator.curve_public,
						 KBAN_ROLE_OPERATOR, kban_text("op")}};
	w->report = (struct kban_report){
		.counter = 1, .base = {1, 0}, .issued_ms = 1, .events_n = 1, .events = &w->event};
	kban_cluster_id(&w->report.cluster, &w->root.sign_public);
	strcpy(w->dir, "/tmp/kban-genesis.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	snprintf(w->path, sizeof(w->path), "%s/genesis.kban", w->dir);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	kban_auto(kban_free) void *command = kban_asprintf("rm -rf '%s'", w->dir);

	free(w->bytes);
	free(w);
	return system(command);
}

static void seal(struct world *w, const struct kban_keypair *by)
{
	free(w->bytes);
	w->bytes = NULL;
	assert_int_equal(kban_report_seal(&w->report, by, &w->bytes, &w->sealed), 0);
}

/* Saves what is sealed and reads it back; the result of loading. */
static int through_the_file(struct world *w)
{
	uint8_t *bytes = NULL;
	struct kban_sealed out;
	char *error = NULL;

	remove(w->path);
	assert_int_equal(kban_genesis_save(w->path, &w->sealed), 0);
	int r = kban_genesis_load(w->path, &bytes, &out, &error);
	if (!r) {
		assert_int_equal(out.report_len, w->sealed.report_len);
		assert_memory_equal(out.report, w->sealed.report, out.report_len);
		assert_memory_equal(out.signature, w->sealed.signature, KBAN_SIGNATURE_SIZE);
	} else {
		assert_non_null(strstr(error, w->path));
	}
	free(error);
	free(bytes);
	return r;
}

static void what_is_saved_is_read_back(void **state)
{
	struct world *w = *state;
	struct stat st;

	seal(w, &w->root);
	assert_int_equal(through_the_file(w), 0);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void saving_never_replaces(void **state)
{
	struct world *w = *state;

	seal(w, &w->root);
	assert_int_equal(kban_genesis_save(w->path, &w->sealed), 0);
	assert_int_equal(kban_genesis_save(w->path, &w->sealed), -EEXIST);
}

static void only_the_root_key_begins_a_log(void **state)
{
	struct world *w = *state;

	seal(w, &w->operator);
	assert_int_equal(through_the_file(w), KBAN_GENESIS_NOT_ROOTED);
	seal(w, &w->root);
	w->bytes[w->sealed.report_len + 9] ^= 1;
	assert_int_equal(through_the_file(w), KBAN_GENESIS_NOT_ROOTED);
}

static void it_is_the_first_report(void **state)
{
	struct world *w = *state;

	w->report.counter = 2;
	seal(w, &w->root);
	assert_int_equal(through_the_file(w), KBAN_GENESIS_NOT_FIRST);
	w->report.counter = 1;
	w->report.base.seq = 1;
	seal(w, &w->root);
	assert_int_equal(through_the_file(w), KBAN_GENESIS_NOT_FIRST);
}

static void it_grants_and_does_nothing_else(void **state)
{
	struct world *w = *state;

	w->event = (struct kban_event){.kind = KBAN_EVENT_REVOKE,
				       .revoke = {.key = w->operator.sign_public } };
	seal(w, &w->root);
	assert_int_equal(through_the_file(w), KBAN_GENESIS_EVENTS);
}

static void a_file_cut_or_grown_is_refused(void **state)
{
	struct world *w = *state;
	uint8_t file[2048];
	struct kban_sealed out;

	seal(w, &w->root);
	assert_int_equal(kban_genesis_save(w->path, &w->sealed), 0);
	FILE *f = fopen(w->path, "r");
	size_t n = fread(file, 1, sizeof(file), f);
	fclose(f);
	assert_int_equal(kban_genesis_parse(&out, file, n), 0);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(kban_genesis_parse(&out, file, cut), KBAN_GENESIS_MALFORMED);
	assert_int_equal(kban_genesis_parse(&out, file, n + 1), KBAN_GENESIS_MALFORMED);
	file[0] ^= 1;
	assert_int_equal(kban_genesis_parse(&out, file, n), KBAN_GENESIS_MALFORMED);
}

static void a_missing_file_or_a_folder_is_said(void **state)
{
	struct world *w = *state;
	struct kban_sealed out;
	uint8_t *bytes = NULL;
	char *error = NULL;

	assert_int_equal(kban_genesis_load(w->path, &bytes, &out, &error), -ENOENT);
	assert_non_null(strstr(error, "kbanctl init"));
	free(error);
	error = NULL;
	assert_int_equal(kban_genesis_load(w->dir, &bytes, &out, &error), KBAN_GENESIS_MALFORMED);
	free(error);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_saved_is_read_back),	  TEST(saving_never_replaces),
		TEST(only_the_root_key_begins_a_log),	  TEST(it_is_the_first_report),
		TEST(it_grants_and_does_nothing_else),	  TEST(a_file_cut_or_grown_is_refused),
		TEST(a_missing_file_or_a_folder_is_said),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
