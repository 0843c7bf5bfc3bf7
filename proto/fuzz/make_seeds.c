/* SPDX-License-Identifier: MPL-2.0
 *
 * Writes the seeds of proto/'s fuzz corpora below the folder named as its argument
 * (proto/fuzz/corpus): each sample whole, and cut in the middle. Built by hand when the schema
 * changes: cc -D_GNU_SOURCE -I. -o make_seeds proto/fuzz/make_seeds.c
 * build/dev/proto/libkban_proto.a -lsodium ...
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/test/samples.h"

static void write_file(const char *folder, const char *corpus, const char *name, const void *bytes,
		       size_t n)
{
	char path[4096];

	mkdir(folder, 0755);
	snprintf(path, sizeof(path), "%s/%s", folder, corpus);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, corpus, name);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static void seed(const char *folder, const char *corpus, const char *name, const void *bytes,
		 size_t n)
{
	char cut[128];

	write_file(folder, corpus, name, bytes, n);
	snprintf(cut, sizeof(cut), "%s-cut", name);
	write_file(folder, corpus, cut, bytes, n / 2);
}

static void seed_messages(const char *folder)
{
	static const char *const names[] = {
		[KBAN_MSG_HELLO] = "hello",
		[KBAN_MSG_WELCOME] = "welcome",
		[KBAN_MSG_SUBMIT] = "submit",
		[KBAN_MSG_RECEIPT] = "receipt",
		[KBAN_MSG_SUBSCRIBE] = "subscribe",
		[KBAN_MSG_ENTRIES] = "entries",
		[KBAN_MSG_ACK] = "ack",
		[KBAN_MSG_HEARTBEAT] = "heartbeat",
		[KBAN_MSG_PROBE] = "probe",
		[KBAN_MSG_QUERY] = "query",
		[KBAN_MSG_ANSWER] = "answer",
		[KBAN_MSG_NO_SESSION] = "no-session",
	};

	for (int kind = KBAN_MSG_HELLO; kind <= KBAN_MSG_NO_SESSION; kind++) {
		uint8_t *held, *bytes;
		size_t n;
		struct kban_message m = sample_message((enum kban_message_kind)kind, &held);
		kban_message_encode(&bytes, &n, &m);
		seed(folder, "message", names[kind], bytes, n);
		free(bytes);
		free(held);
	}
}

static void seed_reports(const char *folder)
{
	struct kban_event e[KBAN_EVENT_KINDS];
	struct kban_keypair k = sample_keys(2);
	struct kban_heartbeat h = sample_heartbeat();
	struct kban_sealed sealed;
	uint8_t *bytes;
	size_t n;

	sample_events(e);
	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++) {
		if (kban_event_encode(&bytes, &n, &e[i]))
			abort();
		seed(folder, "event", kban_event_kind_name((enum kban_event_kind)i), bytes, n);
		free(bytes);
	}
	struct kban_report r = sample_report(e + 1, KBAN_EVENT_KINDS - 1);
	if (kban_report_seal(&r, &k, &bytes, &sealed))
		abort();
	seed(folder, "report", "every-kind", sealed.report, sealed.report_len);
	free(bytes);
	bytes = sample_sealed(&sealed);
	seed(folder, "report", "one-ban", sealed.report, sealed.report_len);
	free(bytes);
	kban_heartbeat_seal(&h, &k, &bytes, &sealed);
	seed(folder, "heartbeat", "full", sealed.report, sealed.report_len);
	free(bytes);
}

static void seed_texts(const char *folder)
{
	static const char *const prefixes[] = {
		"192.0.2.1",	    "192.0.2.0/24",	 "2001:db8::/32",
		"::ffff:192.0.2.1", "64:ff9b::c000:201", "::/0",
		"0.0.0.0/0",	    "192.0.2.1/24",	 "1.2.3",
		"fe80::1%lo",	    "::1/129",		 "01.2.3.4",
	};
	struct kban_token t = {sample_identity(), SAMPLE_MS};
	char *token = kban_token_format(&t), *identity = kban_identity_format(&t.identity);
	char name[16];

	uint8_t raw[KBAN_TOKEN_MAX];
	size_t raw_n;

	seed(folder, "token", "two-brokers", token, strlen(token));
	if (sodium_base642bin(raw, sizeof(raw), token + 6, strlen(token + 6), NULL, &raw_n, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING))
		abort();
	seed(folder, "token", "raw", raw, raw_n - 4); /* without its check */
	seed(folder, "identity", "two-brokers", identity, strlen(identity));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(prefixes); i++) {
		snprintf(name, sizeof(name), "%02zu", i);
		write_file(folder, "prefix", name, prefixes[i], strlen(prefixes[i]));
	}
	free(token);
	free(identity);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	kban_crypto_setup();
	seed_messages(argv[1]);
	seed_reports(argv[1]);
	seed_texts(argv[1]);
	return 0;
}
