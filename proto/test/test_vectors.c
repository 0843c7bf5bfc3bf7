/* SPDX-License-Identifier: MPL-2.0
 *
 * The test vectors of PROTOCOL.md, in test/vectors.txt as "name value" lines. A change here is a
 * change of the protocol. `test_vectors print` writes the lines anew.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/test/samples.h"

typedef void vector_fn(void *arg, const char *name, const char *value);

static void hex_vector(vector_fn *fn, void *arg, const char *name, const void *bytes, size_t n)
{
	char *hex = kban_zalloc(KBAN_HEX(n));

	fn(arg, name, kban_hex(hex, bytes, n));
	free(hex);
}

static void key_vectors(vector_fn *fn, void *arg)
{
	struct kban_keypair root = sample_keys(1), k = sample_keys(2);
	struct kban_cluster_id cluster = sample_cluster();
	char text[KBAN_FINGERPRINT_TEXT];

	hex_vector(fn, arg, "seed", k.seed, sizeof(k.seed));
	hex_vector(fn, arg, "ed25519-public", k.sign_public.b, KBAN_KEY_SIZE);
	hex_vector(fn, arg, "curve-secret", k.curve_secret, sizeof(k.curve_secret));
	hex_vector(fn, arg, "curve-public", k.curve_public.b, KBAN_KEY_SIZE);
	fn(arg, "fingerprint", kban_fingerprint(text, &k.sign_public));
	hex_vector(fn, arg, "root-seed", root.seed, sizeof(root.seed));
	hex_vector(fn, arg, "root-public", root.sign_public.b, KBAN_KEY_SIZE);
	hex_vector(fn, arg, "cluster-id", cluster.b, KBAN_CLUSTER_SIZE);
}

static void report_vectors(vector_fn *fn, void *arg)
{
	struct kban_event events[] = {sample_ban("192.0.2.1"), sample_ban("2001:db8:1:2::/64")};
	struct kban_report r = sample_report(events, 2);
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;

	if (kban_report_seal(&r, &k, &bytes, &sealed))
		abort();
	hex_vector(fn, arg, "report", sealed.report, sealed.report_len);
	hex_vector(fn, arg, "report-signature", sealed.signature, KBAN_SIGNATURE_SIZE);
	hex_vector(fn, arg, "report-hash", r.hash.b, KBAN_HASH_SIZE);
	free(bytes);
}

static void event_vectors(vector_fn *fn, void *arg)
{
	struct kban_event e[KBAN_EVENT_KINDS];

	sample_events(e);
	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++) {
		char name[64];
		uint8_t *bytes;
		size_t n;
		if (kban_event_encode(&bytes, &n, &e[i]))
			abort();
		snprintf(name, sizeof(name), "event-%s",
			 kban_event_kind_name((enum kban_event_kind)i));
		hex_vector(fn, arg, name, bytes, n);
		free(bytes);
	}
	hex_vector(fn, arg, "join-proof", e[KBAN_EVENT_JOIN].join.proof, KBAN_SIGNATURE_SIZE);
}

static void heartbeat_vectors(vector_fn *fn, void *arg)
{
	struct kban_heartbeat h = sample_heartbeat();
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;

	kban_heartbeat_seal(&h, &k, &bytes, &sealed);
	hex_vector(fn, arg, "heartbeat", sealed.report, sealed.report_len);
	hex_vector(fn, arg, "heartbeat-signature", sealed.signature, KBAN_SIGNATURE_SIZE);
	free(bytes);
}

static void message_vectors(vector_fn *fn, void *arg)
{
	static const enum kban_message_kind kinds[] = {KBAN_MSG_HELLO, KBAN_MSG_SUBSCRIBE,
						       KBAN_MSG_ACK};
	static const char *const names[] = {"message-hello", "message-subscribe", "message-ack"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(kinds); i++) {
		uint8_t *held, *bytes;
		size_t n;
		struct kban_message m = sample_message(kinds[i], &held);
		kban_message_encode(&bytes, &n, &m);
		hex_vector(fn, arg, names[i], bytes, n);
		free(bytes);
		free(held);
	}
}

static void token_vectors(vector_fn *fn, void *arg)
{
	struct kban_token t = {sample_identity(), SAMPLE_MS};
	char *text = kban_token_format(&t);

	fn(arg, "token", text);
	free(text);
}

static void all_vectors(vector_fn *fn, void *arg)
{
	key_vectors(fn, arg);
	report_vectors(fn, arg);
	event_vectors(fn, arg);
	heartbeat_vectors(fn, arg);
	message_vectors(fn, arg);
	token_vectors(fn, arg);
}

static void print_vector(void *arg, const char *name, const char *value)
{
	(void)arg;
	printf("%s %s\n", name, value);
}

static void compare_vector(void *arg, const char *name, const char *value)
{
	static char line[16384], want[16384];

	snprintf(want, sizeof(want), "%s %s\n", name, value);
	do {
		if (!fgets(line, sizeof(line), arg))
			fail_msg("%s is not in vectors.txt", name);
	} while (line[0] == '#');
	assert_string_equal(line, want);
}

static void the_protocol_is_what_it_was(void **state)
{
	FILE *f = fopen(SOURCE_DIR "/proto/test/vectors.txt", "r");
	(void)state;

	assert_non_null(f);
	all_vectors(compare_vector, f);
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_protocol_is_what_it_was)};

	kban_crypto_setup();
	if (argc == 2 && !strcmp(argv[1], "print")) {
		puts("# Test vectors of PROTOCOL.md: the values of test/samples.h. Bytes in hex.");
		all_vectors(print_vector, NULL);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
