/* SPDX-License-Identifier: MPL-2.0
 *
 * Keys, hashes and signatures: the one place that sees libsodium's signing calls. Ed25519 (RFC 8032)
 * signs, BLAKE2b-256 (RFC 7693) hashes, Curve25519 keys are ZeroMQ's CURVE (raw 32 bytes, not Z85).
 * Every hash and signature is over a domain tag first, so that bytes of one kind never pass as another.
 */
#ifndef KBAN_PROTO_KEY_H
#define KBAN_PROTO_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mem.h"

#define KBAN_KEY_SIZE       32
#define KBAN_SIGNATURE_SIZE 64
#define KBAN_HASH_SIZE      32
#define KBAN_CLUSTER_SIZE   16
#define KBAN_SESSION_SIZE   16
#define KBAN_HEX(size)      ((size) * 2 + 1)

struct kban_key { /* a public key, Ed25519 or Curve25519 */
	uint8_t b[KBAN_KEY_SIZE];
};

struct kban_hash {
	uint8_t b[KBAN_HASH_SIZE];
};

struct kban_cluster_id {
	uint8_t b[KBAN_CLUSTER_SIZE];
};

/* Both pairs of one principal, derived from one 32-byte seed: the only secret. */
struct kban_keypair {
	uint8_t seed[32];
	struct kban_key sign_public;
	uint8_t sign_secret[64];
	struct kban_key curve_public;
	uint8_t curve_secret[32];
};

/* Once at start. Ends the process if the library can't start. */
void kban_crypto_setup(void);
/* SipHash with this process's own key: for hash tables in memory alone (proto/hash.h). */
uint32_t kban_bucket(const void *p, size_t n);

void kban_keypair_random(struct kban_keypair *out);
/* sign = Ed25519(BLAKE2b-256("kban sign seed v1" || seed)), curve = the X25519 pair whose secret is
 * BLAKE2b-256("kban curve seed v1" || seed). */
void kban_keypair_from_seed(struct kban_keypair *out, const uint8_t seed[32]);
void kban_keypair_wipe(struct kban_keypair *k);

/* A piece of what is hashed or signed. */
struct kban_span {
	const uint8_t *p;
	size_t n;
};

static inline struct kban_span kban_span(const void *p, size_t n)
{
	return (struct kban_span){(const uint8_t *)p, n};
}

/* BLAKE2b-256 over tag (with its NUL) and the spans, one after the other. */
void kban_hash_spans(struct kban_hash *out, const char *tag, const struct kban_span *spans, size_t n);
/* Ed25519 over tag (with its NUL) and bytes. */
void kban_sign(uint8_t signature[KBAN_SIGNATURE_SIZE], const struct kban_keypair *k, const char *tag,
	       const uint8_t *bytes, size_t len);
bool kban_sign_check(const uint8_t signature[KBAN_SIGNATURE_SIZE], const struct kban_key *author,
		     const char *tag, const uint8_t *bytes, size_t len) kban_must_check;

/* The first 16 bytes of BLAKE2b-256("kban cluster v1" || root's Ed25519 public key). */
void kban_cluster_id(struct kban_cluster_id *out, const struct kban_key *root);

bool kban_key_equal(const struct kban_key *a, const struct kban_key *b);
bool kban_hash_equal(const struct kban_hash *a, const struct kban_hash *b);
void kban_random(void *out, size_t len);
void kban_wipe(void *p, size_t len);

/* Lower-case hex, with a NUL. Returns out. */
char *kban_hex(char *out, const uint8_t *bytes, size_t len);
/* Exactly len bytes from 2*len hex digits followed by a NUL; false otherwise. */
bool kban_unhex(uint8_t *out, size_t len, const char *text) kban_must_check;

/* What an operator compares by eye: the first 8 bytes of a key in hex, "1a2b 3c4d 5e6f 7081". */
#define KBAN_FINGERPRINT_TEXT 20
const char *kban_fingerprint(char out[KBAN_FINGERPRINT_TEXT], const struct kban_key *k);

#endif
