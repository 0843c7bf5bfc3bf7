/* SPDX-License-Identifier: MPL-2.0
 *
 * What earlier versions wrote must be read by every later one: test/formats/N holds a copy of each
 * kind of message, event and file as protocol version N had it. Nothing there is ever changed; what a
 * new version adds gets a folder of its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/genesis.h"
#include "proto/identity.h"
#include "proto/wire.h"

#define FORMATS SOURCE_DIR "/proto/test/formats/1/"

struct file {
	uint8_t bytes[65536];
	size_t n;
};

static void file_read(struct file *f, const char *folder, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), FORMATS "%s/%s", folder, name);
	FILE *in = fopen(path, "rb");
	if (!in)
		fail_msg("%s: cannot be read", path);
	f->n = fread(f->bytes, 1, sizeof(f->bytes), in);
	fclose(in);
}

static void same(const struct file *f, const void *bytes, size_t n, const char *name)
{
	if (n != f->n || memcmp(bytes, f->bytes, n))
		fail_msg("%s is read, but not as it was written", name);
}

static void read_message(const struct file *f, const char *name)
{
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	uint8_t *bytes;
	size_t n;

	if (kban_message_decode(&m, f->bytes, f->n))
		fail_msg("message %s is not read", name);
	kban_message_encode(&bytes, &n, m);
	same(f, bytes, n, name);
	free(bytes);
}

static void read_event(const struct file *f, const char *name)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	uint8_t *bytes;
	size_t n;

	if (kban_event_decode(&r, f->bytes, f->n))
		fail_msg("event %s is not read", name);
	assert_string_equal(kban_event_kind_name(r->events[0].kind), name);
	assert_int_equal(kban_event_encode(&bytes, &n, &r->events[0]), 0);
	same(f, bytes, n, name);
	free(bytes);
}

static void read_report(const struct file *f, const char *name)
{
	static const uint8_t unsigned_[KBAN_SIGNATURE_SIZE];
	struct kban_sealed s = {f->bytes, f->n, unsigned_};
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	if (kban_report_decode(&r, &s))
		fail_msg("report %s is not read", name);
}

static void read_heartbeat(const struct file *f, const char *name)
{
	static const uint8_t unsigned_[KBAN_SIGNATURE_SIZE];
	struct kban_sealed s = {f->bytes, f->n, unsigned_};
	struct kban_heartbeat h;

	if (kban_heartbeat_decode(&h, &s))
		fail_msg("heartbeat %s is not read", name);
	assert_int_equal(h.place.seq, 2050);
}

static void read_token(const struct file *f, const char *name)
{
	struct kban_token t;

	if (kban_token_parse(&t, (const char *)f->bytes, f->n))
		fail_msg("token %s is not read", name);
	assert_string_equal(t.identity.name, "mail1");
	assert_int_equal(t.identity.brokers_n, 2);
}

static void read_identity(const struct file *f, const char *name)
{
	struct kban_identity id;
	unsigned line;

	if (kban_identity_parse(&id, (const char *)f->bytes, f->n, &line))
		fail_msg("identity %s is not read: line %u", name, line);
	assert_string_equal(id.name, "mail1");
	assert_int_equal(id.brokers_n, 2);
}

static void read_genesis(const struct file *f, const char *name)
{
	struct kban_sealed s;

	if (kban_genesis_parse(&s, f->bytes, f->n))
		fail_msg("genesis file %s is not read", name);
}

static const struct {
	const char *folder;
	void (*read)(const struct file *f, const char *name);
	unsigned least; /* so many files: a folder that got lost shows */
} kinds[] = {
	{"message", read_message, 12}, {"event", read_event, 15},	{"report", read_report, 2},
	{"heartbeat", read_heartbeat, 1}, {"token", read_token, 1}, {"identity", read_identity, 1},
	{"genesis", read_genesis, 1},
};

static unsigned read_folder(const char *folder, void (*read)(const struct file *f, const char *name))
{
	static struct file f;
	char path[4096];
	unsigned n = 0;

	snprintf(path, sizeof(path), FORMATS "%s", folder);
	DIR *d = opendir(path);
	if (!d)
		fail_msg("%s: cannot be read", path);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		file_read(&f, folder, e->d_name);
		read(&f, e->d_name);
		n++;
	}
	closedir(d);
	return n;
}

static void what_version_1_wrote_is_still_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(kinds); i++)
		assert_true(read_folder(kinds[i].folder, kinds[i].read) >= kinds[i].least);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_version_1_wrote_is_still_read)};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
