/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/identity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX	 "kban1."
#define VERSION	 1
#define CHECK_N	 4
#define ENCODING sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define RAW_MAX                                                                                    \
	(2 + 32 + KBAN_KEY_SIZE + 8 + 1 + KBAN_NAME_MAX + 1 +                                      \
	 KBAN_BROKERS_MAX * (1 + KBAN_ENDPOINT_MAX + KBAN_KEY_SIZE) + CHECK_N)

_Static_assert(RAW_MAX * 4 / 3 + sizeof(PREFIX) + 2 <= KBAN_TOKEN_MAX, "the largest token fits");

/* Bytes taken or put in order; what goes over the end sticks as `short_of`. */
struct cursor {
	uint8_t *at, *end;
	bool short_of;
};

static uint8_t *step(struct cursor *c, size_t n)
{
	static uint8_t nowhere[256]; /* read or written instead; never looked at */

	if (c->short_of || n > (size_t)(c->end - c->at)) {
		c->short_of = true;
		return nowhere;
	}
	c->at += n;
	return c->at - n;
}

static void put(struct cursor *c, const void *bytes, size_t n)
{
	memcpy(step(c, n), bytes, n);
}

static void put_u8(struct cursor *c, size_t value)
{
	*step(c, 1) = (uint8_t)value;
}

static void put_text(struct cursor *c, const char *s)
{
	put_u8(c, strlen(s));
	put(c, s, strlen(s));
}

static void put_u64(struct cursor *c, uint64_t value)
{
	uint8_t *p = step(c, 8);

	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(value >> (56 - 8 * i));
}

static void take(struct cursor *c, void *out, size_t n)
{
	memcpy(out, step(c, n), n);
}

static uint8_t take_u8(struct cursor *c)
{
	return *step(c, 1);
}

static uint64_t take_u64(struct cursor *c)
{
	const uint8_t *p = step(c, 8);
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | p[i];
	return value;
}

/* With a NUL behind it. */
static bool take_text(struct cursor *c, char *out, size_t max, bool (*valid)(const char *, size_t))
{
	size_t n = take_u8(c);

	if (n > max)
		return false;
	take(c, out, n);
	out[n] = 0;
	return !c->short_of && valid(out, n);
}

/* Catches typing errors; whoever can read a token can make its check too. */
static void typing_check(uint8_t out[CHECK_N], const uint8_t *bytes, size_t n)
{
	struct kban_hash hash;
	struct kban_span span = kban_span(bytes, n);

	kban_hash_spans(&hash, "kban token v1", &span, 1);
	memcpy(out, hash.b, CHECK_N);
}

char *kban_token_format(const struct kban_token *t)
{
	const struct kban_identity *id = &t->identity;
	uint8_t raw[RAW_MAX], check[CHECK_N];
	struct cursor c = {raw, raw + sizeof(raw), false};
	size_t skip = sizeof(PREFIX) - 1;

	put_u8(&c, VERSION);
	put_u8(&c, id->role);
	put(&c, id->keys.seed, sizeof(id->keys.seed));
	put(&c, id->root.b, sizeof(id->root.b));
	put_u64(&c, t->expires_ms / 1000);
	put_text(&c, id->name);
	put_u8(&c, id->brokers_n);
	for (size_t i = 0; i < id->brokers_n; i++) {
		put_text(&c, id->brokers[i].endpoint);
		put(&c, id->brokers[i].curve.b, sizeof(id->brokers[i].curve.b));
	}
	typing_check(check, raw, (size_t)(c.at - raw));
	put(&c, check, sizeof(check));
	if (c.short_of)
		abort(); /* an identity outside its limits */
	char *text = kban_zalloc(KBAN_TOKEN_MAX + 1);
	memcpy(text, PREFIX, skip);
	sodium_bin2base64(text + skip, KBAN_TOKEN_MAX + 1 - skip, raw, (size_t)(c.at - raw),
			  ENCODING);
	kban_wipe(raw, sizeof(raw));
	return text;
}

static bool read_brokers(struct cursor *c, struct kban_identity *id)
{
	id->brokers_n = take_u8(c);
	if (id->brokers_n > KBAN_BROKERS_MAX)
		return false;
	for (size_t i = 0; i < id->brokers_n; i++) {
		struct kban_broker_ref *b = &id->brokers[i];
		if (!take_text(c, b->endpoint, KBAN_ENDPOINT_MAX, kban_endpoint_valid))
			return false;
		take(c, b->curve.b, sizeof(b->curve.b));
	}
	return !c->short_of;
}

static bool read_token(struct cursor *c, struct kban_token *out, uint8_t seed[32])
{
	struct kban_identity *id = &out->identity;
	unsigned version = take_u8(c), role = take_u8(c);

	if (version != VERSION || role < KBAN_ROLE_NODE || role > KBAN_ROLE_BROKER)
		return false;
	id->role = (enum kban_role)role;
	take(c, seed, 32);
	take(c, id->root.b, sizeof(id->root.b));
	uint64_t expires_s = take_u64(c);
	out->expires_ms = expires_s * 1000;
	return expires_s <= KBAN_TIME_MAX_MS / 1000 &&
	       take_text(c, id->name, KBAN_NAME_MAX, kban_name_valid) && read_brokers(c, id) &&
	       c->at == c->end;
}

/* The bytes of a token's text, without its check; 0 when it is none. */
static size_t decode_text(uint8_t raw[RAW_MAX], const char *text, size_t len)
{
	size_t skip = sizeof(PREFIX) - 1, n;
	uint8_t check[CHECK_N];

	if (len < skip || len > KBAN_TOKEN_MAX || memcmp(text, PREFIX, skip))
		return 0;
	if (sodium_base642bin(raw, RAW_MAX, text + skip, len - skip, NULL, &n, NULL, ENCODING) ||
	    n <= CHECK_N)
		return 0;
	n -= CHECK_N;
	typing_check(check, raw, n);
	return sodium_memcmp(check, raw + n, CHECK_N) ? 0 : n;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int kban_token_parse(struct kban_token *out, const char *text, size_t len)
{
	uint8_t raw[RAW_MAX], seed[32];

	memset(out, 0, sizeof(*out));
	for (; len && blank(text[len - 1]); len--)
		;
	for (; len && blank(*text); len--)
		text++;
	size_t n = decode_text(raw, text, len);
	struct cursor c = {raw, raw + n, false};
	bool good = n && read_token(&c, out, seed);
	if (good) {
		kban_keypair_from_seed(&out->identity.keys, seed);
		kban_cluster_id(&out->identity.cluster, &out->identity.root);
	}
	kban_wipe(raw, sizeof(raw));
	kban_wipe(seed, sizeof(seed));
	return good ? 0 : KBAN_IDENTITY_MALFORMED;
}
