/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/test/raw.h"
#include "proto/test/samples.h"
#include "proto/wire.h"

#define KINDS (KBAN_MSG_NO_SESSION + 1)

static int decode_bytes(const uint8_t *bytes, size_t n)
{
	uint8_t *exact = kban_memdup(bytes, n); /* so that the sanitizer sees a read past the end */
	struct kban_message *m = NULL;
	int result = kban_message_decode(&m, exact, n);

	free(exact);
	kban_message_free(m);
	return result;
}

static int decode_raw(struct raw *r)
{
	int result = decode_bytes(r->b, r->n);

	free(r);
	return result;
}

/* A message of version 1 around a body. */
static int decode_body(enum kban_message_kind kind, const struct raw *body)
{
	struct raw *r = raw_new();

	raw_number(r, 1, 1);
	raw_bytes(r, kind, body->b, body->n);
	return decode_raw(r);
}

static void every_kind_of_message_goes_there_and_back(void **state)
{
	(void)state;
	for (int kind = KBAN_MSG_HELLO; kind < KINDS; kind++) {
		uint8_t *held, *bytes, *again;
		size_t n, again_n;
		struct kban_message m = sample_message((enum kban_message_kind)kind, &held), *back;

		kban_message_encode(&bytes, &n, &m);
		assert_int_equal(kban_message_decode(&back, bytes, n), 0);
		memset(bytes, 0xee, n); /* what was decoded owns its memory */
		assert_int_equal(back->kind, kind);
		assert_int_equal(back->has_session, m.has_session);
		assert_memory_equal(back->session, m.session, sizeof(m.session));
		kban_message_encode(&again, &again_n, back);
		kban_message_free(back);
		free(bytes);
		kban_message_encode(&bytes, &n, &m);
		assert_int_equal(again_n, n);
		assert_memory_equal(again, bytes, n);
		free(bytes);
		free(again);
		free(held);
	}
}

static void fields_of(enum kban_message_kind kind, unsigned sub, unsigned fields)
{
	const uint8_t *body, *inner;
	uint8_t *held, *bytes;
	size_t n, body_n, inner_n;
	struct kban_message m = sample_message(kind, &held);

	kban_message_encode(&bytes, &n, &m);
	raw_fields(bytes, n, kind, &body, &body_n);
	uint64_t seen = raw_fields(body, body_n, sub, &inner, &inner_n);
	if (sub)
		seen = raw_fields(inner, inner_n, 0, &body, &body_n);
	assert_int_equal(seen, RAW_ALL(fields));
	free(bytes);
	free(held);
}

/* Our samples set every field, so a field that the tables forget shows here. */
static void no_field_of_a_message_is_forgotten(void **state)
{
	static const unsigned fields[KINDS] = {0, 0, 0, 5, 10, 1, 7, 4, 4, 1, 1, 3, 8, 14, 2};
	static const unsigned rows[] = {10, 5, 9, 8, 3, 6, 1}; /* Answer's fields 8 to 14 */
	(void)state;

	for (int kind = KBAN_MSG_HELLO; kind < KINDS; kind++)
		fields_of((enum kban_message_kind)kind, 0, fields[kind]);
	for (unsigned i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		fields_of(KBAN_MSG_ANSWER, 8 + i, rows[i]);
}

static void decoded_rows_are_what_was_encoded(void **state)
{
	uint8_t *held, *bytes;
	size_t n;
	struct kban_message m = sample_message(KBAN_MSG_ANSWER, &held), *back;
	(void)state;

	kban_message_encode(&bytes, &n, &m);
	assert_int_equal(kban_message_decode(&back, bytes, n), 0);
	const struct kban_answer *a = &back->answer, *want = &m.answer;
	assert_int_equal(a->place.epoch, 2);
	assert_int_equal(a->place.seq, 99);
	assert_true(kban_hash_equal(&a->place.chain, &want->place.chain));
	assert_true(kban_hash_equal(&a->digest, &want->digest));
	assert_int_equal(a->broker_ms, SAMPLE_MS);
	assert_int_equal(a->next, 8);
	assert_int_equal(a->members_n, 1);
	assert_int_equal(a->members->name.n, 5);
	assert_memory_equal(a->members->name.s, "mail1", 5);
	assert_memory_equal(a->members->address.s, "192.0.2.7", 9);
	assert_true(a->members->connected && a->members->held && a->members->has_heartbeat);
	assert_int_equal(a->members->seen_ms, SAMPLE_MS);
	assert_int_equal(a->members->revoked_seq, 98);
	assert_int_equal(a->members->since_ms, SAMPLE_MS - 1);
	assert_int_equal(a->invites->expires_ms, SAMPLE_MS);
	assert_int_equal(a->invites->used_seq, 97);
	assert_true(kban_prefix_equal(&a->bans->prefix, &want->bans->prefix));
	assert_int_equal(a->bans->until_ms, SAMPLE_MS + 1);
	assert_int_equal(a->bans->count, 10);
	assert_int_equal(a->bans->sources, 2);
	assert_int_equal(a->safes->role, KBAN_ROLE_ROOT);
	assert_int_equal(a->safes->state, 2);
	assert_int_equal(a->proofs->seq, 99);
	assert_int_equal(a->proofs->sealed.report_len, want->proofs->sealed.report_len);
	assert_memory_equal(a->proofs->sealed.signature, want->proofs->sealed.signature, 64);
	assert_int_equal(a->log_n, 1);
	assert_int_equal(a->log->seq, 98);
	assert_int_equal(a->log->refusal, KBAN_REFUSAL_BUSY);
	assert_int_equal(a->log->outcomes_n, 3);
	assert_int_equal(a->log->outcomes[1], KBAN_OUTCOME_SAFE);
	assert_int_equal(a->log->records_n, 1);
	assert_int_equal(a->log->records->until_ms, SAMPLE_MS + 1);
	assert_int_equal(a->log->records->strikes, 3);
	assert_true(a->log->records->ended);
	assert_memory_equal(a->log->report.signature, want->proofs->sealed.signature, 64);
	assert_int_equal(a->state_n, 1);
	assert_int_equal(a->state->items_len, 16);
	assert_memory_equal(a->state->items, want->state->items, 16);
	kban_message_free(back);
	free(bytes);
	free(held);
}

static void a_message_cut_anywhere_never_crashes(void **state)
{
	(void)state;
	for (int kind = KBAN_MSG_HELLO; kind < KINDS; kind++) {
		uint8_t *held, *bytes;
		size_t n;
		struct kban_message m = sample_message((enum kban_message_kind)kind, &held);
		kban_message_encode(&bytes, &n, &m);
		assert_int_equal(decode_bytes(bytes, n), 0);
		for (size_t cut = 0; cut < n; cut++)
			assert_int_not_equal(decode_bytes(bytes, cut), 0);
		free(bytes);
		free(held);
	}
}

static void flipped_bits_never_crash(void **state)
{
	(void)state;
	for (int kind = KBAN_MSG_HELLO; kind < KINDS; kind++) {
		uint8_t *held, *bytes;
		size_t n;
		struct kban_message m = sample_message((enum kban_message_kind)kind, &held);
		kban_message_encode(&bytes, &n, &m);
		for (size_t bit = 0; bit < n * 8; bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			decode_bytes(bytes, n);
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		free(bytes);
		free(held);
	}
}

static void another_version_is_told_from_garbage(void **state)
{
	struct kban_message *m;
	struct raw *r = raw_new();
	(void)state;

	raw_number(r, 1, 2);
	raw_bytes(r, KBAN_MSG_HELLO, "\xff\xff", 2); /* that version's business */
	raw_bytes(r, 77, "x", 1);
	assert_int_equal(kban_message_decode(&m, r->b, r->n), KBAN_MESSAGE_VERSION);
	assert_int_equal(m->version, 2);
	assert_int_equal(m->kind, KBAN_MSG_HELLO);
	kban_message_free(m);
	r->n = 0;
	raw_bytes(r, KBAN_MSG_ACK, "", 0); /* no version at all */
	assert_int_equal(kban_message_decode(&m, r->b, r->n), KBAN_MESSAGE_VERSION);
	assert_int_equal(m->version, 0);
	kban_message_free(m);
	r->n = 0;
	raw_number(r, 1, 2);
	r->b[r->n++] = 0x1a; /* cut */
	assert_int_equal(decode_raw(r), KBAN_MESSAGE_MALFORMED);
}

static void a_message_has_exactly_one_body(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_number(r, 1, 1);
	assert_int_equal(decode_bytes(r->b, r->n), KBAN_MESSAGE_MALFORMED);
	raw_bytes(r, KBAN_MSG_ACK, "\x08\x01", 2);
	assert_int_equal(decode_bytes(r->b, r->n), 0);
	raw_bytes(r, KBAN_MSG_ACK, "\x08\x01", 2);
	assert_int_equal(decode_bytes(r->b, r->n), KBAN_MESSAGE_MALFORMED);
	r->n = 0;
	raw_number(r, 1, 1);
	raw_bytes(r, KBAN_MSG_NO_SESSION + 1, "", 0);
	assert_int_equal(decode_raw(r), KBAN_MESSAGE_MALFORMED);
}

static void unknown_fields_of_messages_are_ignored(void **state)
{
	struct raw *r = raw_new();
	(void)state;

	raw_number(r, 1, 1);
	raw_bytes(r, KBAN_MSG_ACK, "\x08\x01\x10\x05", 4);
	raw_bytes(r, 30, "later", 5);
	assert_int_equal(decode_raw(r), 0);
}

static void sessions_have_16_bytes_or_none(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 32; n++) {
		struct raw *r = raw_new();
		raw_number(r, 1, 1);
		raw_filled(r, 2, 0x22, n);
		raw_bytes(r, KBAN_MSG_ACK, "\x08\x01", 2);
		assert_int_equal(decode_raw(r), n == 0 || n == 16 ? 0 : KBAN_MESSAGE_MALFORMED);
	}
}

static void nonces_have_16_bytes_or_none(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 32; n++) {
		struct raw *body = raw_new();
		raw_filled(body, 1, 0, n);
		assert_int_equal(decode_body(KBAN_MSG_PROBE, body),
				 n == 0 || n == 16 ? 0 : KBAN_MESSAGE_MALFORMED);
		free(body);
	}
}

static void signatures_have_64_bytes_and_bodies_some(void **state)
{
	static const struct {
		size_t body, signature;
		int result;
	} table[] = {{1, 64, 0}, {1, 63, 1}, {1, 65, 1}, {1, 0, 1}, {0, 64, 1}};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct raw *sealed = raw_new(), *body = raw_new();
		raw_filled(sealed, 1, 1, table[i].body);
		raw_filled(sealed, 2, 1, table[i].signature);
		raw_bytes(body, 1, sealed->b, sealed->n);
		assert_int_equal(decode_body(KBAN_MSG_SUBMIT, body), table[i].result);
		assert_int_equal(decode_body(KBAN_MSG_HEARTBEAT, body), table[i].result);
		free(sealed);
		free(body);
	}
	struct raw *empty = raw_new();
	assert_int_equal(decode_body(KBAN_MSG_SUBMIT, empty), KBAN_MESSAGE_MALFORMED);
	free(empty);
}

static void sealed_parts_are_bounded(void **state)
{
	uint8_t *big = kban_zalloc(KBAN_REPORT_MAX + 1);
	(void)state;

	for (size_t over = 0; over < 2; over++) {
		struct raw *sealed = raw_new(), *body = raw_new();
		raw_bytes(sealed, 1, big, KBAN_REPORT_MAX + over);
		raw_filled(sealed, 2, 1, 64);
		raw_bytes(body, 1, sealed->b, sealed->n);
		assert_int_equal(decode_body(KBAN_MSG_SUBMIT, body),
				 over ? KBAN_MESSAGE_MALFORMED : 0);
		free(sealed);
		free(body);
	}
	free(big);
}

static void a_nul_in_a_text_is_refused_and_not_cut(void **state)
{
	static const char *const texts[] = {"a\0b", "a\0\0", "\0\0\0", "a\nb", "a\xc3z"};
	struct raw *body = raw_new();
	(void)state;

	raw_bytes(body, 2, "abc", 3);
	assert_int_equal(decode_body(KBAN_MSG_NO_SESSION, body), 0);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(texts); i++) {
		body->n = 0;
		raw_bytes(body, 2, texts[i], 3);
		assert_int_equal(decode_body(KBAN_MSG_NO_SESSION, body), KBAN_MESSAGE_MALFORMED);
	}
	free(body);
}

/* n rows of one kind in a body's field. */
static int decode_rows(enum kban_message_kind kind, unsigned field, const struct raw *row, size_t n)
{
	struct raw *body = raw_new();

	if (kind == KBAN_MSG_ANSWER) {
		raw_number(body, 1, KBAN_QUERY_BANS);
		raw_filled(body, 4, 1, 32);
		raw_filled(body, 5, 1, 32);
	}
	for (size_t i = 0; i < n; i++)
		raw_bytes(body, field, row->b, row->n);
	int result = decode_body(kind, body);
	free(body);
	return result;
}

static void numbers_of_rows_are_bounded(void **state)
{
	struct raw *entry = raw_new(), *sealed = raw_new(), *ban = raw_new(), *body = raw_new();
	(void)state;

	raw_filled(sealed, 1, 1, 1);
	raw_filled(sealed, 2, 1, 64);
	raw_number(entry, 1, 1);
	raw_bytes(entry, 3, sealed->b, sealed->n);
	assert_int_equal(decode_rows(KBAN_MSG_ENTRIES, 4, entry, KBAN_ENTRIES_MAX), 0);
	assert_int_equal(decode_rows(KBAN_MSG_ENTRIES, 4, entry, KBAN_ENTRIES_MAX + 1),
			 KBAN_MESSAGE_MALFORMED);
	assert_int_equal(decode_rows(KBAN_MSG_ANSWER, 12, entry, KBAN_ENTRIES_MAX), 0);
	assert_int_equal(decode_rows(KBAN_MSG_ANSWER, 12, entry, KBAN_ENTRIES_MAX + 1),
			 KBAN_MESSAGE_MALFORMED);
	raw_bytes(ban, 1, "\x0a\x04\x01\x02\x03\x04\x10\x20", 8);
	assert_int_equal(decode_rows(KBAN_MSG_ANSWER, 10, ban, KBAN_ROWS_MAX), 0);
	assert_int_equal(decode_rows(KBAN_MSG_ANSWER, 10, ban, KBAN_ROWS_MAX + 1),
			 KBAN_MESSAGE_MALFORMED);
	for (size_t n = KBAN_EVENTS_MAX; n <= KBAN_EVENTS_MAX + 1; n++) {
		body->n = 0;
		raw_filled(body, 1, 1, 32);
		uint8_t outcomes[KBAN_EVENTS_MAX + 1];
		memset(outcomes, 1, sizeof(outcomes));
		raw_bytes(body, 3, outcomes, n);
		assert_int_equal(decode_body(KBAN_MSG_RECEIPT, body),
				 n > KBAN_EVENTS_MAX ? KBAN_MESSAGE_MALFORMED : 0);
	}
	free(entry);
	free(sealed);
	free(ban);
	free(body);
}

static void numbers_out_of_range_are_refused(void **state)
{
	static const struct {
		enum kban_message_kind kind;
		unsigned field;
		uint64_t good, bad;
	} table[] = {
		{KBAN_MSG_SUBSCRIBE, 4, 1, 0},
		{KBAN_MSG_SUBSCRIBE, 4, KBAN_WINDOW_MAX, KBAN_WINDOW_MAX + 1},
		{KBAN_MSG_QUERY, 1, KBAN_QUERY_CLUSTER, 0},
		{KBAN_MSG_QUERY, 1, KBAN_QUERY_REFUSED, KBAN_QUERY_REFUSED + 1},
		{KBAN_MSG_PROBE, 2, KBAN_TIME_MAX_MS, KBAN_TIME_MAX_MS + 1},
		{KBAN_MSG_ENTRIES, 3, KBAN_TIME_MAX_MS, KBAN_TIME_MAX_MS + 1},
	};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct raw *body = raw_new();
		if (table[i].kind == KBAN_MSG_SUBSCRIBE)
			raw_filled(body, 3, 1, 32);
		size_t before = body->n;
		raw_number(body, table[i].field, table[i].good);
		assert_int_equal(decode_body(table[i].kind, body), 0);
		body->n = before;
		raw_number(body, table[i].field, table[i].bad);
		assert_int_equal(decode_body(table[i].kind, body), KBAN_MESSAGE_MALFORMED);
		free(body);
	}
}

static void hello_has_a_range_of_versions(void **state)
{
	static const struct {
		unsigned min, max;
		int result;
	} table[] = {{1, 1, 0}, {1, 5, 0}, {2, 1, 1}, {0, 1, 1}, {1, 0, 1}};
	(void)state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(table); i++) {
		struct raw *body = raw_new();
		raw_number(body, 1, table[i].min);
		raw_number(body, 2, table[i].max);
		raw_filled(body, 4, 1, 16);
		assert_int_equal(decode_body(KBAN_MSG_HELLO, body), table[i].result);
		free(body);
	}
}

static void a_bad_prefix_in_a_query_is_refused(void **state)
{
	struct raw *body = raw_new();
	(void)state;

	raw_number(body, 1, KBAN_QUERY_BANS);
	raw_bytes(body, 4, "\x0a\x04\x01\x02\x03\x04\x10\x20", 8);
	assert_int_equal(decode_body(KBAN_MSG_QUERY, body), 0);
	body->b[body->n - 1] = 24;
	assert_int_equal(decode_body(KBAN_MSG_QUERY, body), KBAN_MESSAGE_MALFORMED);
	free(body);
}

static void size_is_checked_before_anything_is_read(void **state)
{
	uint8_t *bytes = kban_zalloc(KBAN_MESSAGE_MAX + 1);
	(void)state;

	assert_int_equal(decode_bytes(bytes, KBAN_MESSAGE_MAX), KBAN_MESSAGE_MALFORMED);
	assert_int_equal(decode_bytes(bytes, KBAN_MESSAGE_MAX + 1), KBAN_MESSAGE_TOO_LARGE);
	free(bytes);
}

/* A megabyte of two-byte rows would take some fifty in memory. */
static void memory_for_one_message_is_bounded(void **state)
{
	struct raw *r = raw_new(), *body = raw_new();
	(void)state;

	while (body->n < KBAN_MESSAGE_MAX - 64)
		raw_bytes(body, 4, "", 0);
	raw_number(r, 1, 1);
	raw_bytes(r, KBAN_MSG_ENTRIES, body->b, body->n);
	assert_int_equal(decode_raw(r), KBAN_MESSAGE_TOO_LARGE);
	free(body);
}

static void the_largest_answer_fits_its_memory(void **state)
{
	struct kban_ban_row *rows = kban_zalloc(KBAN_ROWS_MAX * sizeof(*rows));
	uint8_t *held, *bytes;
	size_t n;
	struct kban_message m = sample_message(KBAN_MSG_ANSWER, &held), *back;
	char text[KBAN_TEXT_MAX];
	(void)state;

	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < KBAN_ROWS_MAX; i++) {
		rows[i] = *m.answer.bans;
		rows[i].author = (struct kban_text){text, KBAN_NAME_MAX};
		rows[i].rule = rows[i].service = (struct kban_text){text, KBAN_RULE_MAX};
		rows[i].reason = (struct kban_text){text, KBAN_TEXT_MAX};
	}
	m.answer.bans = rows;
	m.answer.bans_n = KBAN_ROWS_MAX;
	kban_message_encode(&bytes, &n, &m);
	assert_int_equal(kban_message_decode(&back, bytes, n), 0);
	assert_int_equal(back->answer.bans_n, KBAN_ROWS_MAX);
	kban_message_free(back);
	free(bytes);
	free(held);
	free(rows);
}

static void the_largest_pages_of_a_state_fit_a_message(void **state)
{
	struct kban_state_page pages[KBAN_PAGES_MAX];
	uint8_t *items = kban_zalloc(KBAN_PAGE_MAX), *bytes;
	struct kban_message m = {.kind = KBAN_MSG_ANSWER, .version = 1}, *back;
	size_t n;
	(void)state;

	for (size_t i = 0; i < KBAN_PAGES_MAX; i++)
		pages[i] = (struct kban_state_page){items, KBAN_PAGE_MAX};
	m.answer = (struct kban_answer){
		.kind = KBAN_QUERY_STATE, .state = pages, .state_n = KBAN_PAGES_MAX};
	kban_message_encode(&bytes, &n, &m);
	assert_int_equal(kban_message_decode(&back, bytes, n), 0);
	assert_int_equal(back->answer.state[KBAN_PAGES_MAX - 1].items_len, KBAN_PAGE_MAX);
	kban_message_free(back);
	free(bytes);
	free(items);
}

static void an_authors_key_in_a_query_is_whole_or_missing(void **state)
{
	struct raw *body = raw_new();
	(void)state;

	raw_number(body, 1, KBAN_QUERY_LOG);
	raw_filled(body, 5, 1, KBAN_KEY_SIZE);
	assert_int_equal(decode_body(KBAN_MSG_QUERY, body), 0);
	body->n = 0;
	raw_number(body, 1, KBAN_QUERY_LOG);
	raw_filled(body, 5, 1, KBAN_KEY_SIZE - 1);
	assert_int_equal(decode_body(KBAN_MSG_QUERY, body), KBAN_MESSAGE_MALFORMED);
	free(body);
}

static void breaking_a_limit_on_the_way_out_ends_the_process(void **state)
{
	struct kban_message m = {.kind = KBAN_MSG_NO_SESSION, .version = 1};
	uint8_t *bytes;
	size_t n;
	int status;
	(void)state;

	m.no_session.detail = kban_text("two\nlines");
	pid_t pid = fork();
	if (pid == 0) {
		close(2);
		signal(SIGABRT, SIG_DFL);
		kban_message_encode(&bytes, &n, &m);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Heartbeats. */

static uint8_t *sealed_heartbeat(struct kban_heartbeat *h, struct kban_sealed *sealed)
{
	struct kban_keypair k = sample_keys(2);
	uint8_t *bytes;

	*h = sample_heartbeat();
	kban_heartbeat_seal(h, &k, &bytes, sealed);
	return bytes;
}

static int decode_heartbeat(const uint8_t *bytes, size_t n)
{
	static const uint8_t signature[KBAN_SIGNATURE_SIZE];
	uint8_t *exact = kban_memdup(bytes, n);
	struct kban_sealed sealed = {exact, n, signature};
	struct kban_heartbeat h;
	int result = kban_heartbeat_decode(&h, &sealed);

	free(exact);
	return result;
}

static void a_heartbeat_goes_there_and_back(void **state)
{
	struct kban_keypair k = sample_keys(2);
	struct kban_heartbeat h, back;
	struct kban_sealed sealed, again;
	uint8_t *bytes = sealed_heartbeat(&h, &sealed), *again_bytes;
	const uint8_t *none;
	size_t none_n;
	(void)state;

	assert_int_equal(kban_heartbeat_decode(&back, &sealed), 0);
	assert_true(kban_heartbeat_check(&back, &sealed));
	assert_true(kban_key_equal(&back.author, &k.sign_public));
	assert_int_equal(back.place.seq, h.place.seq);
	assert_true(kban_hash_equal(&back.place.chain, &h.place.chain));
	assert_true(kban_hash_equal(&back.mark_digest, &h.mark_digest));
	assert_int_equal(back.bans_enforced, h.bans_enforced);
	assert_int_equal(back.bans_wanted, h.bans_wanted);
	assert_string_equal(back.version, h.version);
	assert_int_equal(back.nonce_n, 16);
	assert_memory_equal(back.nonce, h.nonce, 16);
	assert_int_equal(raw_fields(sealed.report, sealed.report_len, 0, &none, &none_n), RAW_ALL(19));
	kban_heartbeat_seal(&back, &k, &again_bytes, &again);
	assert_int_equal(again.report_len, sealed.report_len);
	assert_memory_equal(again_bytes, bytes, sealed.report_len + KBAN_SIGNATURE_SIZE);
	free(again_bytes);
	free(bytes);
}

static void a_heartbeat_without_nonce_passes(void **state)
{
	struct kban_keypair k = sample_keys(2);
	struct kban_heartbeat h = sample_heartbeat(), back;
	struct kban_sealed sealed;
	uint8_t *bytes;
	(void)state;

	h.nonce_n = 0;
	h.version[0] = 0;
	kban_heartbeat_seal(&h, &k, &bytes, &sealed);
	assert_int_equal(kban_heartbeat_decode(&back, &sealed), 0);
	assert_int_equal(back.nonce_n, 0);
	assert_string_equal(back.version, "");
	free(bytes);
}

static void a_heartbeat_cut_or_changed_does_not_pass(void **state)
{
	struct kban_heartbeat h, back;
	struct kban_sealed sealed;
	uint8_t *bytes = sealed_heartbeat(&h, &sealed);
	(void)state;

	for (size_t n = 0; n < sealed.report_len; n++) {
		struct kban_sealed cut = {sealed.report, n, sealed.signature};
		if (!kban_heartbeat_decode(&back, &cut))
			assert_false(kban_heartbeat_check(&back, &cut));
	}
	for (size_t bit = 0; bit < (sealed.report_len + KBAN_SIGNATURE_SIZE) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!kban_heartbeat_decode(&back, &sealed))
			assert_false(kban_heartbeat_check(&back, &sealed));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(bytes);
}

static void a_report_is_no_heartbeat(void **state)
{
	struct kban_heartbeat h;
	struct kban_sealed sealed, report;
	uint8_t *bytes = sealed_heartbeat(&h, &sealed), *other = sample_sealed(&report);
	uint8_t signature[KBAN_SIGNATURE_SIZE];
	struct kban_keypair k = sample_keys(2);
	(void)state;

	assert_int_not_equal(decode_heartbeat(report.report, report.report_len), 0);
	kban_sign(signature, &k, "kban report v1", sealed.report, sealed.report_len);
	struct kban_sealed with = {sealed.report, sealed.report_len, signature};
	assert_false(kban_heartbeat_check(&h, &with));
	free(bytes);
	free(other);
}

static void uncanonical_heartbeats_are_refused(void **state)
{
	struct kban_heartbeat h;
	struct kban_sealed sealed;
	uint8_t *bytes = sealed_heartbeat(&h, &sealed);
	struct raw *r = raw_new();
	(void)state;

	memcpy(r->b, sealed.report, sealed.report_len);
	r->n = sealed.report_len;
	assert_int_equal(decode_heartbeat(r->b, r->n), 0);
	raw_number(r, 19, 4); /* twice */
	assert_int_equal(decode_heartbeat(r->b, r->n), KBAN_MESSAGE_MALFORMED);
	r->n = sealed.report_len;
	raw_number(r, 20, 4); /* unknown */
	assert_int_equal(decode_heartbeat(r->b, r->n), KBAN_MESSAGE_MALFORMED);
	assert_int_equal(decode_heartbeat(r->b, KBAN_REPORT_MAX + 1), KBAN_MESSAGE_TOO_LARGE);
	free(r);
	free(bytes);
}

static void outcomes_and_refusals_have_names(void **state)
{
	(void)state;
	for (unsigned i = 1; i < KBAN_OUTCOMES; i++)
		assert_string_not_equal(kban_outcome_name(i), "unknown");
	for (unsigned i = 0; i < KBAN_REFUSALS; i++)
		assert_string_not_equal(kban_refusal_name(i), "unknown");
	assert_string_equal(kban_outcome_name(0), "unknown");
	assert_string_equal(kban_outcome_name(KBAN_OUTCOMES), "unknown");
	assert_string_equal(kban_outcome_name(UINT32_MAX), "unknown");
	assert_string_equal(kban_refusal_name(KBAN_REFUSALS), "unknown");
	for (unsigned i = 1; i < KBAN_OUTCOMES; i++)
		assert_int_equal(kban_outcome_counts((enum kban_outcome)i), i <= KBAN_OUTCOME_HELD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_message_goes_there_and_back),
		cmocka_unit_test(no_field_of_a_message_is_forgotten),
		cmocka_unit_test(decoded_rows_are_what_was_encoded),
		cmocka_unit_test(a_message_cut_anywhere_never_crashes),
		cmocka_unit_test(flipped_bits_never_crash),
		cmocka_unit_test(another_version_is_told_from_garbage),
		cmocka_unit_test(a_message_has_exactly_one_body),
		cmocka_unit_test(unknown_fields_of_messages_are_ignored),
		cmocka_unit_test(sessions_have_16_bytes_or_none),
		cmocka_unit_test(nonces_have_16_bytes_or_none),
		cmocka_unit_test(signatures_have_64_bytes_and_bodies_some),
		cmocka_unit_test(sealed_parts_are_bounded),
		cmocka_unit_test(a_nul_in_a_text_is_refused_and_not_cut),
		cmocka_unit_test(numbers_of_rows_are_bounded),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(hello_has_a_range_of_versions),
		cmocka_unit_test(a_bad_prefix_in_a_query_is_refused),
		cmocka_unit_test(size_is_checked_before_anything_is_read),
		cmocka_unit_test(memory_for_one_message_is_bounded),
		cmocka_unit_test(the_largest_answer_fits_its_memory),
		cmocka_unit_test(the_largest_pages_of_a_state_fit_a_message),
		cmocka_unit_test(an_authors_key_in_a_query_is_whole_or_missing),
		cmocka_unit_test(breaking_a_limit_on_the_way_out_ends_the_process),
		cmocka_unit_test(a_heartbeat_goes_there_and_back),
		cmocka_unit_test(a_heartbeat_without_nonce_passes),
		cmocka_unit_test(a_heartbeat_cut_or_changed_does_not_pass),
		cmocka_unit_test(a_report_is_no_heartbeat),
		cmocka_unit_test(uncanonical_heartbeats_are_refused),
		cmocka_unit_test(outcomes_and_refusals_have_names),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
