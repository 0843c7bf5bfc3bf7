/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/report.h"
#include "proto/test/raw.h"
#include "proto/test/samples.h"

static int decode_bytes(const uint8_t *bytes, size_t n)
{
	static const uint8_t signature[KBAN_SIGNATURE_SIZE];
	uint8_t *exact = kban_memdup(bytes, n); /* so that the sanitizer sees a read past the end */
	struct kban_sealed sealed = {exact, n, signature};
	struct kban_report *r = NULL;
	int result = kban_report_decode(&r, &sealed);

	if (!result)
		kban_report_free(r);
	else
		assert_null(r);
	free(exact);
	return result;
}

static int decode_event(const struct raw *event)
{
	uint8_t *exact = kban_memdup(event->b, event->n);
	struct kban_report *r = NULL;
	int result = kban_event_decode(&r, exact, event->n);

	kban_report_free(r);
	free(exact);
	return result;
}

/* The event of that kind around a body. */
static int decode_body(unsigned kind, const struct raw *body)
{
	struct raw *event = kban_zalloc(sizeof(*event));

	raw_bytes(event, kind, body->b, body->n);
	int result = decode_event(event);
	free(event);
	return result;
}

static void assert_text(struct kban_text a, struct kban_text b)
{
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.s, b.s, a.n);
}

/* Encoding again says whether every field came through: the encoder reads every field. */
static void assert_same_event(const struct kban_event *a, const struct kban_event *b)
{
	uint8_t *x, *y;
	size_t xn, yn;

	assert_int_equal(a->kind, b->kind);
	assert_int_equal(kban_event_encode(&x, &xn, a), 0);
	assert_int_equal(kban_event_encode(&y, &yn, b), 0);
	assert_int_equal(xn, yn);
	assert_memory_equal(x, y, xn);
	free(x);
	free(y);
}

static void every_kind_of_event_goes_there_and_back(void **state)
{
	struct kban_event e[KBAN_EVENT_KINDS];
	struct kban_report r, *back;
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;
	(void)state;

	sample_events(e);
	r = sample_report(e + 1, KBAN_EVENT_KINDS - 1);
	assert_int_equal(kban_report_seal(&r, &k, &bytes, &sealed), 0);
	assert_int_equal(kban_report_decode(&back, &sealed), 0);
	assert_true(kban_report_check(back, &sealed));
	assert_memory_equal(&back->cluster, &r.cluster, sizeof(r.cluster));
	assert_true(kban_key_equal(&back->author, &k.sign_public));
	assert_true(kban_hash_equal(&back->hash, &r.hash));
	assert_int_equal(back->counter, 7);
	assert_int_equal(back->base.epoch, 1);
	assert_int_equal(back->base.seq, 41);
	assert_int_equal(back->issued_ms, SAMPLE_MS);
	assert_int_equal(back->events_n, r.events_n);
	for (size_t i = 0; i < r.events_n; i++)
		assert_same_event(&back->events[i], &r.events[i]);
	kban_report_free(back);
	free(bytes);
}

static void decoded_fields_are_what_was_sealed(void **state)
{
	struct kban_event e[KBAN_EVENT_KINDS];
	struct kban_report *back;
	uint8_t *bytes;
	size_t n;
	(void)state;

	sample_events(e);
	const struct kban_event_ban *want = &e[KBAN_EVENT_BAN].ban;
	assert_int_equal(kban_event_encode(&bytes, &n, &e[KBAN_EVENT_BAN]), 0);
	assert_int_equal(kban_event_decode(&back, bytes, n), 0);
	const struct kban_event_ban *ban = &back->events[0].ban;
	assert_true(kban_prefix_equal(&ban->prefix, &want->prefix));
	assert_int_equal(ban->duration_ms, want->duration_ms);
	assert_true(ban->force);
	assert_text(ban->rule, want->rule);
	assert_text(ban->service, want->service);
	assert_text(ban->server, want->server);
	assert_text(ban->line, want->line);
	assert_text(ban->reason, want->reason);
	assert_int_equal(ban->count, want->count);
	assert_int_equal(ban->first_ms, want->first_ms);
	assert_int_equal(ban->last_ms, want->last_ms);
	kban_report_free(back);
	free(bytes);

	const struct kban_event_broker_address *address =
		&e[KBAN_EVENT_BROKER_ADDRESS].broker_address;
	assert_int_equal(kban_event_encode(&bytes, &n, &e[KBAN_EVENT_BROKER_ADDRESS]), 0);
	assert_int_equal(kban_event_decode(&back, bytes, n), 0);
	const struct kban_event_broker_address *got = &back->events[0].broker_address;
	assert_true(kban_key_equal(&got->curve, &address->curve));
	assert_text(got->endpoint, address->endpoint);
	assert_int_equal(got->addresses_n, 2);
	assert_memory_equal(got->addresses, address->addresses, 2 * sizeof(*got->addresses));
	kban_report_free(back);
	free(bytes);
}

/* Our samples set every field, so a field that the tables forget shows here. */
static void no_field_of_an_event_is_forgotten(void **state)
{
	static const unsigned fields[KBAN_EVENT_KINDS] = {0, 11, 3, 4, 3, 3, 4, 3,
							  2, 5,	 3, 10, 4, 2, 2, 2};
	struct kban_event e[KBAN_EVENT_KINDS];
	(void)state;

	sample_events(e);
	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++) {
		const uint8_t *body, *none;
		uint8_t *bytes;
		size_t n, body_n, none_n;
		assert_int_equal(kban_event_encode(&bytes, &n, &e[i]), 0);
		assert_int_equal(raw_fields(bytes, n, i, &body, &body_n), 1ULL << i);
		assert_int_equal(raw_fields(body, body_n, 0, &none, &none_n), RAW_ALL(fields[i]));
		free(bytes);
	}
}

static void size_of_an_event_is_what_it_adds(void **state)
{
	struct kban_event e[KBAN_EVENT_KINDS], two[2] = {sample_ban("192.0.2.1")};
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed one_sealed, two_sealed;
	uint8_t *one_bytes, *two_bytes;
	(void)state;

	sample_events(e);
	for (unsigned i = 1; i < KBAN_EVENT_KINDS; i++) {
		struct kban_report r = sample_report(two, 1);
		assert_int_equal(kban_report_seal(&r, &k, &one_bytes, &one_sealed), 0);
		two[1] = e[i];
		r = sample_report(two, 2);
		assert_int_equal(kban_report_seal(&r, &k, &two_bytes, &two_sealed), 0);
		assert_int_equal(two_sealed.report_len - one_sealed.report_len,
				 kban_event_size(&e[i]));
		free(one_bytes);
		free(two_bytes);
	}
}

static void a_report_cut_anywhere_is_refused(void **state)
{
	struct kban_sealed sealed;
	uint8_t *bytes = sample_sealed(&sealed);
	(void)state;

	assert_int_equal(decode_bytes(bytes, sealed.report_len), 0);
	for (size_t n = 0; n < sealed.report_len; n++)
		assert_int_not_equal(decode_bytes(bytes, n), 0);
	free(bytes);
}

static void any_flipped_bit_fails_form_or_signature(void **state)
{
	struct kban_sealed sealed;
	uint8_t *bytes = sample_sealed(&sealed);
	size_t all = sealed.report_len + KBAN_SIGNATURE_SIZE;
	(void)state;

	for (size_t bit = 0; bit < all * 8; bit++) {
		struct kban_report *r;
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!kban_report_decode(&r, &sealed)) {
			assert_false(kban_report_check(r, &sealed));
			kban_report_free(r);
		}
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(bytes);
}

static void another_key_or_tag_does_not_pass(void **state)
{
	struct kban_sealed sealed;
	uint8_t *bytes = sample_sealed(&sealed), forged[KBAN_SIGNATURE_SIZE];
	struct kban_keypair other = sample_keys(9), own = sample_keys(2);
	struct kban_report *r;
	(void)state;

	assert_int_equal(kban_report_decode(&r, &sealed), 0);
	struct kban_sealed with = {sealed.report, sealed.report_len, forged};
	kban_sign(forged, &other, "kban report v1", sealed.report, sealed.report_len);
	assert_false(kban_report_check(r, &with));
	kban_sign(forged, &own, "kban heartbeat v1", sealed.report, sealed.report_len);
	assert_false(kban_report_check(r, &with));
	kban_sign(forged, &own, "kban report v1", sealed.report, sealed.report_len);
	assert_true(kban_report_check(r, &with));
	kban_report_free(r);
	free(bytes);
}

/* Non-canonical forms, each of which protobuf itself would read. */

static void raw_head(struct raw *r, uint64_t counter)
{
	raw_filled(r, 1, 0x31, KBAN_CLUSTER_SIZE);
	raw_filled(r, 2, 0x32, KBAN_KEY_SIZE);
	if (counter)
		raw_number(r, 3, counter);
	raw_number(r, 4, 1);
}

static void raw_event(struct raw *r)
{
	static const uint8_t event[] = {0x72, 2, 0x08, 2}; /* fold_version {version: 2} */

	raw_bytes(r, 7, event, sizeof(event));
}

static int decode_raw(struct raw *r)
{
	int result = decode_bytes(r->b, r->n);

	free(r);
	return result;
}

static void hand_made_report_passes(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_head(r, 1);
	raw_event(r);
	assert_int_equal(decode_raw(r), 0);
}

static void repeated_fields_are_refused(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_head(r, 1);
	raw_number(r, 3, 2);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);

	r = raw_new();
	raw_head(r, 1);
	raw_head(r, 1);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);
}

static void fields_out_of_order_are_refused(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_event(r);
	raw_head(r, 1);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);
}

static void written_defaults_are_refused(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_head(r, 1);
	raw_number(r, 4, 0);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);
}

static void long_varints_are_refused(void **state)
{
	static const uint8_t counter[] = {0x18, 0x81, 0x00}; /* 1 in two bytes */
	static const uint8_t epoch[] = {0x20, 0x81, 0x80,
					0x80, 0x80, 0x10}; /* 1 + 2^32 in a uint32 */
	struct raw *r = raw_new();
	(void)state;

	raw_head(r, 0);
	memcpy(r->b + r->n, counter, sizeof(counter));
	r->n += sizeof(counter);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);

	r = raw_new();
	raw_head(r, 1);
	memcpy(r->b + r->n, epoch, sizeof(epoch));
	r->n += sizeof(epoch);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);
}

static void flags_are_0_or_1(void **state)
{
	struct raw *body = raw_new();
	(void)state;

	raw_filled(body, 1, 0x33, KBAN_KEY_SIZE);
	raw_number(body, 2, 1);
	assert_int_equal(decode_body(KBAN_EVENT_REVOKE, body), 0);
	body->b[body->n - 1] = 2;
	assert_int_equal(decode_body(KBAN_EVENT_REVOKE, body), KBAN_REPORT_MALFORMED);
	free(body);
}

static void a_nul_in_a_text_is_refused_and_not_cut(void **state)
{
	static const char *const texts[] = {"a\0b", "a\0\0", "\0ab", "\0\0\0"};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(texts); i++) {
		struct raw *body = raw_new();
		raw_filled(body, 1, 0x33, KBAN_KEY_SIZE);
		raw_bytes(body, 2, texts[i], 3);
		assert_int_equal(decode_body(KBAN_EVENT_PURGE, body), KBAN_REPORT_MALFORMED);
		free(body);
	}
}

static void controls_and_broken_utf8_are_refused(void **state)
{
	static const char *const texts[] = {"a\n",	"\x7f",		"\xc3",
					    "\xc0\x80", "\xed\xa0\x80", "\xc2\x85"};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(texts); i++) {
		struct raw *body = raw_new();
		raw_filled(body, 1, 0x33, KBAN_KEY_SIZE);
		raw_bytes(body, 2, texts[i], strlen(texts[i]));
		assert_int_equal(decode_body(KBAN_EVENT_PURGE, body), KBAN_REPORT_MALFORMED);
		free(body);
	}
}

static void what_this_version_does_not_know_is_named(void **state)
{
	struct raw *r = raw_new(), *body = raw_new(), *event = raw_new();
	(void)state;

	raw_head(r, 1);
	raw_event(r);
	raw_number(r, 8, 1); /* a field of the report */
	assert_int_equal(decode_raw(r), KBAN_REPORT_UNKNOWN_EVENT);

	raw_filled(body, 1, 0x33, KBAN_KEY_SIZE);
	raw_number(body, 9, 1); /* of an event's body */
	assert_int_equal(decode_body(KBAN_EVENT_PURGE, body), KBAN_REPORT_UNKNOWN_EVENT);
	body->n = 0;
	raw_bytes(body, 1, "\x0a\x04\x01\x02\x03\x04\x10\x20\x18\x01", 10); /* of a prefix */
	assert_int_equal(decode_body(KBAN_EVENT_UNBAN, body), KBAN_REPORT_UNKNOWN_EVENT);
	body->n = 0;
	assert_int_equal(decode_body(KBAN_EVENT_KINDS, body),
			 KBAN_REPORT_UNKNOWN_EVENT); /* a kind */
	raw_bytes(event, KBAN_EVENT_FOLD_VERSION, "\x08\x02", 2);
	raw_number(event, 30, 1); /* of an event */
	assert_int_equal(decode_event(event), KBAN_REPORT_UNKNOWN_EVENT);
	free(body);
	free(event);
}

static void an_event_has_exactly_one_kind(void **state)
{
	struct raw *event = raw_new();
	(void)state;

	assert_int_equal(decode_event(event), KBAN_REPORT_MALFORMED);
	raw_bytes(event, KBAN_EVENT_FOLD_VERSION, "\x08\x02", 2);
	assert_int_equal(decode_event(event), 0);
	raw_bytes(event, KBAN_EVENT_EPOCH, "\x08\x02", 2);
	assert_int_equal(decode_event(event), KBAN_REPORT_MALFORMED);
	free(event);
}

static int decode_prefix(const char *address, size_t n, unsigned len)
{
	struct raw *prefix = raw_new(), *body = raw_new();

	raw_bytes(prefix, 1, address, n);
	if (len)
		raw_number(prefix, 2, len);
	raw_bytes(body, 1, prefix->b, prefix->n);
	int result = decode_body(KBAN_EVENT_UNBAN, body);
	free(prefix);
	free(body);
	return result;
}

static void prefixes_are_canonical(void **state)
{
	static const char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4", zero[17];
	(void)state;

	assert_int_equal(decode_prefix("\1\2\3\4", 4, 32), 0);
	assert_int_equal(decode_prefix("\1\2\3\0", 4, 24), 0);
	assert_int_equal(decode_prefix("\0\0\0\0", 4, 0), 0);
	assert_int_equal(decode_prefix(zero, 16, 0), 0);
	assert_int_equal(decode_prefix("\1\2\3\4", 4, 24), KBAN_REPORT_MALFORMED);
	assert_int_equal(decode_prefix("\1\2\3\4", 4, 33), KBAN_REPORT_MALFORMED);
	assert_int_equal(decode_prefix("\1\2\3\4", 4, 256 + 32), KBAN_REPORT_MALFORMED);
	assert_int_equal(decode_prefix(zero, 16, 129), KBAN_REPORT_MALFORMED);
	assert_int_equal(decode_prefix(mapped, 16, 128), KBAN_REPORT_MALFORMED);
	for (size_t n = 0; n <= 17; n++)
		if (n != 4 && n != 16)
			assert_int_equal(decode_prefix(zero, n, 0), KBAN_REPORT_MALFORMED);
	struct raw *body = raw_new();
	assert_int_equal(decode_body(KBAN_EVENT_UNBAN, body), KBAN_REPORT_MALFORMED);
	free(body);
}

/* Both the encoder and the decoder hold the limits; one event at its edge and one step over it. */

static int encode(const struct kban_event *e)
{
	struct kban_report *back;
	uint8_t *bytes;
	size_t n;
	int result = kban_event_encode(&bytes, &n, e);

	if (result)
		return result;
	assert_int_equal(kban_event_decode(&back, bytes, n), 0);
	kban_report_free(back);
	free(bytes);
	return 0;
}

static char big[1024];

#define EDGE(kind_, member_, field_, edge_, over_)                                                 \
	do {                                                                                       \
		struct kban_event edge = e[kind_];                                                 \
		edge.member_.field_ = edge_;                                                       \
		assert_int_equal(encode(&edge), 0);                                                \
		edge.member_.field_ = over_;                                                       \
		assert_int_equal(encode(&edge), KBAN_REPORT_MALFORMED);                            \
	} while (0)
#define TEXT(n_) ((struct kban_text){big, n_})

static void limits_hold_at_and_over_their_edge(void **state)
{
	struct kban_event e[KBAN_EVENT_KINDS];
	(void)state;

	sample_events(e);
	memset(big, 'a', sizeof(big));
	EDGE(KBAN_EVENT_BAN, ban, duration_ms, KBAN_BAN_MAX_MS, KBAN_BAN_MAX_MS + 1);
	EDGE(KBAN_EVENT_BAN, ban, rule, TEXT(KBAN_RULE_MAX), TEXT(KBAN_RULE_MAX + 1));
	EDGE(KBAN_EVENT_BAN, ban, service, TEXT(KBAN_RULE_MAX), TEXT(KBAN_RULE_MAX + 1));
	EDGE(KBAN_EVENT_BAN, ban, server, TEXT(KBAN_NAME_MAX), TEXT(KBAN_NAME_MAX + 1));
	EDGE(KBAN_EVENT_BAN, ban, server, TEXT(0), kban_text("Mail2"));
	EDGE(KBAN_EVENT_BAN, ban, line, TEXT(KBAN_LINE_MAX), TEXT(KBAN_LINE_MAX + 1));
	EDGE(KBAN_EVENT_BAN, ban, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_UNBAN, unban, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_SAFE_ADD, safe_add, duration_ms, KBAN_SAFE_MAX_MS, KBAN_SAFE_MAX_MS + 1);
	EDGE(KBAN_EVENT_SAFE_ADD, safe_add, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_SAFE_REMOVE, safe_remove, reason, TEXT(KBAN_TEXT_MAX),
	     TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_SAFE_APPROVE, safe_approve, reason, TEXT(KBAN_TEXT_MAX),
	     TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_GRANT, grant, role, KBAN_ROLE_BROKER, KBAN_ROLE_ROOT);
	EDGE(KBAN_EVENT_GRANT, grant, role, KBAN_ROLE_NODE, (enum kban_role)0);
	EDGE(KBAN_EVENT_GRANT, grant, name, TEXT(KBAN_NAME_MAX), TEXT(KBAN_NAME_MAX + 1));
	EDGE(KBAN_EVENT_GRANT, grant, name, TEXT(1), TEXT(0));
	EDGE(KBAN_EVENT_REVOKE, revoke, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_PURGE, purge, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_INVITE, invite, duration_ms, KBAN_INVITE_MAX_MS, KBAN_INVITE_MAX_MS + 1);
	EDGE(KBAN_EVENT_INVITE, invite, duration_ms, 1, 0);
	EDGE(KBAN_EVENT_INVITE, invite, role, KBAN_ROLE_BROKER, KBAN_ROLE_ROOT);
	EDGE(KBAN_EVENT_INVITE, invite, name, TEXT(1), TEXT(0));
	EDGE(KBAN_EVENT_RELEASE, release, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_EPOCH, epoch, reason, TEXT(KBAN_TEXT_MAX), TEXT(KBAN_TEXT_MAX + 1));
	EDGE(KBAN_EVENT_BAN, ban, reason, kban_text("x"), ((struct kban_text){"x\0y", 3}));
}

static void broker_addresses_are_few_single_and_with_an_endpoint(void **state)
{
	struct kban_prefix addresses[KBAN_ADDRESSES_MAX + 1];
	struct kban_event e[KBAN_EVENT_KINDS], *b = &e[KBAN_EVENT_BROKER_ADDRESS];
	(void)state;

	sample_events(e);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(addresses); i++)
		addresses[i] = sample_prefix("192.0.2.1");
	b->broker_address.addresses = addresses;
	b->broker_address.addresses_n = KBAN_ADDRESSES_MAX;
	assert_int_equal(encode(b), 0);
	b->broker_address.addresses_n++;
	assert_int_equal(encode(b), KBAN_REPORT_MALFORMED);
	b->broker_address.addresses_n = 0;
	assert_int_equal(encode(b), 0);
	b->broker_address.addresses_n = 2;
	addresses[1] = sample_prefix("192.0.2.0/31");
	assert_int_equal(encode(b), KBAN_REPORT_MALFORMED);
	addresses[1] = sample_prefix("2001:db8::/127");
	assert_int_equal(encode(b), KBAN_REPORT_MALFORMED);
	addresses[1] = sample_prefix("2001:db8::");
	assert_int_equal(encode(b), 0);
	b->broker_address.endpoint = kban_text("");
	assert_int_equal(encode(b), 0);
	b->broker_address.remove = false;
	assert_int_equal(encode(b), KBAN_REPORT_MALFORMED);
	b->broker_address.endpoint = kban_text("udp://a:1");
	assert_int_equal(encode(b), KBAN_REPORT_MALFORMED);
}

static void an_uncanonical_prefix_is_not_encoded(void **state)
{
	struct kban_event e = sample_ban("192.0.2.1");
	(void)state;

	e.ban.prefix.len = 24;
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	e.ban.prefix = (struct kban_prefix){KBAN_IPV4, 32, {1, 2, 3, 4, 5}};
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	e.ban.prefix = (struct kban_prefix){KBAN_IPV6, 128, {[10] = 0xff, [11] = 0xff}};
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	e.ban.prefix = (struct kban_prefix){5, 32, {0}};
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	e.kind = (enum kban_event_kind)0;
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	e.kind = (enum kban_event_kind)KBAN_EVENT_KINDS;
	assert_int_equal(encode(&e), KBAN_REPORT_MALFORMED);
	assert_int_equal(kban_event_size(&e), 0);
}

static void counter_starts_at_1(void **state)
{
	struct raw *r = raw_new();
	struct kban_event e = sample_ban("192.0.2.1");
	struct kban_report report = sample_report(&e, 1);
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;
	(void)state;

	raw_head(r, 0);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_MALFORMED);
	report.counter = 0;
	assert_int_equal(kban_report_seal(&report, &k, &bytes, &sealed), KBAN_REPORT_MALFORMED);
}

static void a_base_before_the_first_epoch_is_refused(void **state)
{
	struct kban_event e = sample_ban("192.0.2.1");
	struct kban_report report = sample_report(&e, 1);
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;
	(void)state;

	report.base.epoch = 0;
	assert_int_equal(kban_report_seal(&report, &k, &bytes, &sealed), KBAN_REPORT_MALFORMED);
}

static void keys_have_their_exact_length(void **state)
{
	static const struct {
		size_t cluster, author;
		int result;
	} table[] = {
		{16, 32, 0}, {15, 32, 1}, {17, 32, 1}, {0, 32, 1},
		{16, 31, 1}, {16, 33, 1}, {16, 0, 1},
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct raw *r = raw_new();
		if (table[i].cluster)
			raw_filled(r, 1, 0x31, table[i].cluster);
		if (table[i].author)
			raw_filled(r, 2, 0x32, table[i].author);
		raw_number(r, 3, 1);
		raw_number(r, 4, 1);
		raw_event(r);
		assert_int_equal(decode_raw(r), table[i].result);
	}
}

static void number_of_events_is_bounded(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_head(r, 1);
	assert_int_equal(decode_bytes(r->b, r->n), KBAN_REPORT_MALFORMED);
	for (unsigned i = 0; i < KBAN_EVENTS_MAX; i++)
		raw_event(r);
	assert_int_equal(decode_bytes(r->b, r->n), 0);
	raw_event(r);
	assert_int_equal(decode_raw(r), KBAN_REPORT_TOO_LARGE);
}

static void sealing_holds_count_and_size(void **state)
{
	struct kban_event *e = kban_zalloc((KBAN_EVENTS_MAX + 1) * sizeof(*e));
	struct kban_keypair k = sample_keys(2);
	struct kban_sealed sealed;
	uint8_t *bytes;
	(void)state;

	for (size_t i = 0; i <= KBAN_EVENTS_MAX; i++)
		e[i] = sample_ban("192.0.2.1");
	struct kban_report r = sample_report(e, KBAN_EVENTS_MAX);
	assert_int_equal(kban_report_seal(&r, &k, &bytes, &sealed), 0);
	assert_int_equal(decode_bytes(sealed.report, sealed.report_len), 0);
	free(bytes);
	r.events_n = KBAN_EVENTS_MAX + 1;
	assert_int_equal(kban_report_seal(&r, &k, &bytes, &sealed), KBAN_REPORT_TOO_LARGE);
	r.events_n = 0;
	assert_int_equal(kban_report_seal(&r, &k, &bytes, &sealed), KBAN_REPORT_MALFORMED);
	memset(big, 'a', sizeof(big));
	for (size_t i = 0; i < KBAN_EVENTS_MAX; i++) {
		e[i].ban.line = (struct kban_text){big, KBAN_LINE_MAX};
		e[i].ban.reason = (struct kban_text){big, KBAN_TEXT_MAX};
	}
	r.events_n = KBAN_EVENTS_MAX;
	assert_int_equal(kban_report_seal(&r, &k, &bytes, &sealed), KBAN_REPORT_TOO_LARGE);
	free(e);
}

static void too_many_bytes_are_refused_before_they_are_read(void **state)
{
	uint8_t *bytes = kban_zalloc(KBAN_REPORT_MAX + 1);
	struct kban_report *r;
	(void)state;

	assert_int_equal(decode_bytes(bytes, KBAN_REPORT_MAX), KBAN_REPORT_MALFORMED);
	assert_int_equal(decode_bytes(bytes, KBAN_REPORT_MAX + 1), KBAN_REPORT_TOO_LARGE);
	assert_int_equal(kban_event_decode(&r, bytes, KBAN_REPORT_MAX + 1), KBAN_REPORT_TOO_LARGE);
	for (size_t i = 0; i + 1 < KBAN_REPORT_MAX; i += 2) /* as many empty events as fit */
		bytes[i] = 7 << 3 | 2;
	assert_int_not_equal(decode_bytes(bytes, KBAN_REPORT_MAX), 0);
	for (size_t i = 0; i + 1 < KBAN_REPORT_MAX; i += 2) /* unknown fields */
		bytes[i] = 15 << 3;
	assert_int_not_equal(decode_bytes(bytes, KBAN_REPORT_MAX), 0);
	free(bytes);
}

static void garbage_never_passes_for_another_report(void **state)
{
	const char *given = getenv("KBAN_TEST_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	struct kban_sealed sealed;
	uint8_t *bytes = sample_sealed(&sealed), *mutant = kban_zalloc(sealed.report_len + 8);
	(void)state;

	print_message("KBAN_TEST_SEED=%u\n", seed);
	for (int i = 0; i < 20000; i++) {
		size_t n = sealed.report_len;
		memcpy(mutant, bytes, n);
		for (int k = rand_r(&seed) % 4; k >= 0; k--)
			mutant[(size_t)rand_r(&seed) % n] = (uint8_t)rand_r(&seed);
		n -= (size_t)rand_r(&seed) % 3;
		struct kban_sealed s = {mutant, n, sealed.signature};
		struct kban_report *r;
		if (kban_report_decode(&r, &s))
			continue;
		bool same = n == sealed.report_len && !memcmp(mutant, bytes, n);
		assert_int_equal(kban_report_check(r, &s), same);
		kban_report_free(r);
	}
	free(mutant);
	free(bytes);
}

static void join_proof_binds_key_cluster_invitation_and_curve(void **state)
{
	struct kban_keypair k = sample_keys(3), invitation = sample_keys(4), other = sample_keys(9);
	struct kban_cluster_id cluster = sample_cluster(), elsewhere = {{1}};
	struct kban_event_join join = {0}, forged;
	(void)state;

	kban_join_prove(&join, &k, &cluster, &invitation.sign_public);
	assert_true(kban_key_equal(&join.key, &k.sign_public));
	assert_true(kban_key_equal(&join.curve, &k.curve_public));
	assert_true(kban_join_check(&join, &cluster, &invitation.sign_public));
	assert_false(kban_join_check(&join, &elsewhere, &invitation.sign_public));
	assert_false(kban_join_check(&join, &cluster, &other.sign_public));
	forged = join;
	forged.key = other.sign_public;
	assert_false(kban_join_check(&forged, &cluster, &invitation.sign_public));
	forged = join;
	forged.curve = other.curve_public;
	assert_false(kban_join_check(&forged, &cluster, &invitation.sign_public));
}

static void results_have_names(void **state)
{
	(void)state;
	assert_string_equal(kban_report_result_name(KBAN_REPORT_UNKNOWN_EVENT), "unknown-event");
	assert_string_equal(kban_report_result_name(-1), "unknown");
	assert_string_equal(kban_report_result_name(99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_event_goes_there_and_back),
		cmocka_unit_test(decoded_fields_are_what_was_sealed),
		cmocka_unit_test(no_field_of_an_event_is_forgotten),
		cmocka_unit_test(size_of_an_event_is_what_it_adds),
		cmocka_unit_test(a_report_cut_anywhere_is_refused),
		cmocka_unit_test(any_flipped_bit_fails_form_or_signature),
		cmocka_unit_test(another_key_or_tag_does_not_pass),
		cmocka_unit_test(hand_made_report_passes),
		cmocka_unit_test(repeated_fields_are_refused),
		cmocka_unit_test(fields_out_of_order_are_refused),
		cmocka_unit_test(written_defaults_are_refused),
		cmocka_unit_test(long_varints_are_refused),
		cmocka_unit_test(flags_are_0_or_1),
		cmocka_unit_test(a_nul_in_a_text_is_refused_and_not_cut),
		cmocka_unit_test(controls_and_broken_utf8_are_refused),
		cmocka_unit_test(what_this_version_does_not_know_is_named),
		cmocka_unit_test(an_event_has_exactly_one_kind),
		cmocka_unit_test(prefixes_are_canonical),
		cmocka_unit_test(limits_hold_at_and_over_their_edge),
		cmocka_unit_test(a_base_before_the_first_epoch_is_refused),
		cmocka_unit_test(broker_addresses_are_few_single_and_with_an_endpoint),
		cmocka_unit_test(an_uncanonical_prefix_is_not_encoded),
		cmocka_unit_test(counter_starts_at_1),
		cmocka_unit_test(keys_have_their_exact_length),
		cmocka_unit_test(number_of_events_is_bounded),
		cmocka_unit_test(sealing_holds_count_and_size),
		cmocka_unit_test(too_many_bytes_are_refused_before_they_are_read),
		cmocka_unit_test(garbage_never_passes_for_another_report),
		cmocka_unit_test(join_proof_binds_key_cluster_invitation_and_curve),
		cmocka_unit_test(results_have_names),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
