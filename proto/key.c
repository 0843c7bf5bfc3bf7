/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/key.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(KBAN_KEY_SIZE == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(KBAN_KEY_SIZE == crypto_scalarmult_BYTES, "X25519 public key");
_Static_assert(KBAN_SIGNATURE_SIZE == crypto_sign_BYTES, "Ed25519 signature");
_Static_assert(sizeof(((struct kban_keypair *)0)->sign_secret) == crypto_sign_SECRETKEYBYTES,
	       "Ed25519 secret key");

/* As good as const: drawn before any table is there, and never again. */
static uint8_t bucket_key[crypto_shorthash_KEYBYTES];

void kban_crypto_setup(void)
{
	int r = sodium_init();

	if (r < 0) {
		fputs("kban: libsodium cannot start\n", stderr);
		abort();
	}
	if (r == 0)
		crypto_shorthash_keygen(bucket_key);
}

uint32_t kban_bucket(const void *p, size_t n)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t bucket;

	crypto_shorthash(hash, p, n, bucket_key);
	memcpy(&bucket, hash, sizeof(bucket));
	return bucket;
}

void kban_hash_spans(struct kban_hash *out, const char *tag, const struct kban_span *spans,
		     size_t n)
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, KBAN_HASH_SIZE);
	crypto_generichash_update(&state, (const uint8_t *)tag, strlen(tag) + 1);
	for (size_t i = 0; i < n; i++)
		crypto_generichash_update(&state, spans[i].p, spans[i].n);
	crypto_generichash_final(&state, out->b, KBAN_HASH_SIZE);
	sodium_memzero(&state, sizeof(state)); /* seeds are hashed here too */
}

void kban_keypair_from_seed(struct kban_keypair *out, const uint8_t seed[32])
{
	struct kban_hash derived;
	struct kban_span span = kban_span(seed, 32);

	memmove(out->seed, seed, 32);
	span.p = out->seed;
	kban_hash_spans(&derived, "kban sign seed v1", &span, 1);
	crypto_sign_seed_keypair(out->sign_public.b, out->sign_secret, derived.b);
	kban_hash_spans(&derived, "kban curve seed v1", &span, 1);
	memcpy(out->curve_secret, derived.b, sizeof(out->curve_secret));
	crypto_scalarmult_base(out->curve_public.b, out->curve_secret);
	sodium_memzero(&derived, sizeof(derived));
}

void kban_keypair_random(struct kban_keypair *out)
{
	uint8_t seed[32];

	randombytes_buf(seed, sizeof(seed));
	kban_keypair_from_seed(out, seed);
	sodium_memzero(seed, sizeof(seed));
}

void kban_keypair_wipe(struct kban_keypair *k)
{
	sodium_memzero(k, sizeof(*k));
}

/* libsodium signs one run of bytes: tag || 0 || bytes. The caller frees. */
static uint8_t *join_tag(const char *tag, const uint8_t *bytes, size_t len, size_t *joined_len)
{
	size_t tag_len = strlen(tag) + 1;
	uint8_t *joined = kban_realloc(NULL, tag_len + len);

	memcpy(joined, tag, tag_len);
	if (len)
		memcpy(joined + tag_len, bytes, len);
	*joined_len = tag_len + len;
	return joined;
}

void kban_sign(uint8_t signature[KBAN_SIGNATURE_SIZE], const struct kban_keypair *k,
	       const char *tag, const uint8_t *bytes, size_t len)
{
	size_t n;
	uint8_t *joined = join_tag(tag, bytes, len, &n);

	crypto_sign_detached(signature, NULL, joined, n, k->sign_secret);
	free(joined);
}

bool kban_sign_check(const uint8_t signature[KBAN_SIGNATURE_SIZE], const struct kban_key *author,
		     const char *tag, const uint8_t *bytes, size_t len)
{
	size_t n;
	uint8_t *joined = join_tag(tag, bytes, len, &n);
	bool good = crypto_sign_verify_detached(signature, joined, n, author->b) == 0;

	free(joined);
	return good;
}

void kban_cluster_id(struct kban_cluster_id *out, const struct kban_key *root)
{
	struct kban_hash hash;
	struct kban_span span = kban_span(root->b, sizeof(root->b));

	kban_hash_spans(&hash, "kban cluster v1", &span, 1);
	memcpy(out->b, hash.b, sizeof(out->b));
}

bool kban_key_equal(const struct kban_key *a, const struct kban_key *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

bool kban_hash_equal(const struct kban_hash *a, const struct kban_hash *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

void kban_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void kban_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

char *kban_hex(char *out, const uint8_t *bytes, size_t len)
{
	return sodium_bin2hex(out, KBAN_HEX(len), bytes, len);
}

bool kban_unhex(uint8_t *out, size_t len, const char *text)
{
	size_t n = 0;

	if (strnlen(text, len * 2 + 1) != len * 2)
		return false;
	return sodium_hex2bin(out, len, text, len * 2, NULL, &n, NULL) == 0 && n == len;
}

const char *kban_fingerprint(char out[KBAN_FINGERPRINT_TEXT], const struct kban_key *k)
{
	char hex[KBAN_HEX(8)];

	kban_hex(hex, k->b, 8);
	snprintf(out, KBAN_FINGERPRINT_TEXT, "%.4s %.4s %.4s %.4s", hex, hex + 4, hex + 8,
		 hex + 12);
	return out;
}
