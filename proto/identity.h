/* SPDX-License-Identifier: MPL-2.0
 *
 * Identities: one file per principal, mode 0600, with its seed, the cluster's root public key and the
 * brokers' endpoints and CURVE public keys. And join tokens: the same as one line of text for a principal
 * that is still to come. Both are text that people may look at; the seed is the secret.
 *
 * Identity file, one "key value" a line, `#` comments:
 *   kban-identity 1
 *   name mail1
 *   role node
 *   root 64 hex digits (Ed25519)
 *   seed 64 hex digits
 *   broker tcp://192.0.2.1:7400 64 hex digits (its CURVE public key)        (0 to KBAN_BROKERS_MAX lines)
 *
 * Token: "kban1." and base64url without padding of version(1) || role(1) || seed(32) || root(32) ||
 * expires_s(8, big-endian) || name length(1) || name || brokers(1) || { endpoint length(1) || endpoint ||
 * curve(32) }... || the first 4 bytes of BLAKE2b-256("kban token v1" || all of that): a typing check.
 */
#ifndef KBAN_PROTO_IDENTITY_H
#define KBAN_PROTO_IDENTITY_H

#include "proto/event.h"

struct kban_broker_ref {
	char endpoint[KBAN_ENDPOINT_MAX + 1];
	struct kban_key curve;
};

struct kban_identity {
	char name[KBAN_NAME_MAX + 1];
	enum kban_role role;
	struct kban_key root;
	struct kban_cluster_id cluster;
	struct kban_keypair keys;
	size_t brokers_n;
	struct kban_broker_ref brokers[KBAN_BROKERS_MAX];
};

struct kban_token { /* an invitation: identity of the key that may join once */
	struct kban_identity identity;
	uint64_t expires_ms; /* for a friendly message; the ledger decides */
};

enum kban_identity_result {
	KBAN_IDENTITY_MALFORMED = 1, /* *line says where */
	KBAN_IDENTITY_OPEN_TO_OTHERS, /* group or others can read or write the file */
	KBAN_IDENTITY_NOT_A_FILE,
	KBAN_IDENTITY_EXISTS, /* save never replaces */
	KBAN_IDENTITY_WRONG_OWNER,
};

/* The validating function for the file's bytes; *line (may be NULL) is the line at fault. */
int kban_identity_parse(struct kban_identity *out, const char *text, size_t len, unsigned *line)
	kban_must_check;
/* Reads PATH. 0, -errno, or a result; kban_identity_explain() makes a sentence with the remedy of it. */
int kban_identity_load(struct kban_identity *out, const char *path, unsigned *line) kban_must_check;
/* Writes a new file, 0600, fsynced with its folder; never replaces one. */
int kban_identity_save(const struct kban_identity *id, const char *path) kban_must_check;
/* The text of a new file; the caller wipes and frees. */
char *kban_identity_format(const struct kban_identity *id);
/* "cannot use /etc/kban/node.id: others can read it; run: chmod 600 /etc/kban/node.id". The caller frees. */
char *kban_identity_explain(int result, const char *path, unsigned line);
/* Wipes the secrets. */
void kban_identity_wipe(struct kban_identity *id);
void kban_identity_wipe_auto(struct kban_identity *id);

/* Text of a token, the caller wipes and frees. */
char *kban_token_format(const struct kban_token *t);
/* 0 or KBAN_IDENTITY_MALFORMED. Leading and trailing blanks and newlines are skipped. */
int kban_token_parse(struct kban_token *out, const char *text, size_t len) kban_must_check;

#endif
