/* SPDX-License-Identifier: MPL-2.0
 *
 * For tests of a store: entries whose contents follow from their seq, so that they can be checked,
 * rows of text, and numbers by chance. Includes what cmocka needs.
 */
#ifndef KBAN_STORE_TEST_ENTRIES_H
#define KBAN_STORE_TEST_ENTRIES_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/log.h"

/* Entries: everything in them follows from seq and the report's length. */

struct made {
	struct kban_entry entry;
	struct kban_place after;
	uint8_t report[KBAN_REPORT_MAX];
	uint8_t signature[KBAN_SIGNATURE_SIZE];
};

static inline uint8_t made_byte(uint64_t seq, size_t i)
{
	return (uint8_t)(seq * 31 + i + (i >> 8));
}

static inline void made_chain(struct kban_hash *out, uint64_t seq)
{
	memset(out, (int)(seq & 0x7f), sizeof(*out));
	memcpy(out, &seq, sizeof(seq));
}

static inline void make_entry(struct made *m, uint64_t seq, size_t len)
{
	for (size_t i = 0; i < len; i++)
		m->report[i] = made_byte(seq, i);
	memset(m->signature, made_byte(seq, 7), sizeof(m->signature));
	m->entry = (struct kban_entry){.seq = seq,
				       .accepted_ms = 1000 + seq * 10,
				       .sealed = {m->report, len, m->signature}};
	m->after = (struct kban_place){.epoch = 1 + (uint32_t)(seq / 1000), .seq = seq};
	made_chain(&m->after.chain, seq);
}

static inline bool made_holds(const struct kban_entry *e)
{
	for (size_t i = 0; i < e->sealed.report_len; i++) {
		if (e->sealed.report[i] != made_byte(e->seq, i))
			return false;
	}
	for (size_t i = 0; i < KBAN_SIGNATURE_SIZE; i++) {
		if (e->sealed.signature[i] != made_byte(e->seq, 7))
			return false;
	}
	return e->accepted_ms == 1000 + e->seq * 10;
}

static struct made
	made; /* for stage_entry(): too large for a stack, and a store copies what it is given */

static inline void stage_entry(struct store *s, uint64_t seq, size_t len)
{
	make_entry(&made, seq, len);
	store_append(s, &made.entry, &made.after);
}

static inline void append_entries(struct store *s, uint64_t from, size_t n, size_t len)
{
	store_begin(s);
	for (size_t i = 0; i < n; i++)
		stage_entry(s, from + i, len);
	assert_int_equal(store_commit(s), 0);
}

static inline uint64_t head_seq(struct store *s)
{
	struct store_head head;

	assert_int_equal(store_head(s, &head), 0);
	return head.place.seq;
}

struct counted {
	uint64_t next; /* the seq that has to come next */
	size_t n, stop_at;
};

static inline int count_entry(void *arg, const struct kban_entry *e)
{
	struct counted *c = arg;

	assert_int_equal(e->seq, c->next);
	assert_true(made_holds(e));
	c->next++;
	return ++c->n == c->stop_at ? 99 : 0;
}

/* Every entry from 1 to the head is there and as it was made. */
static inline void check_entries(struct store *s, uint64_t head)
{
	struct counted c = {.next = 1};

	assert_int_equal(head_seq(s), head);
	assert_int_equal(store_read(s, 0, SIZE_MAX, count_entry, &c), 0);
	assert_int_equal(c.n, head);
}

/* Rows -------------------------------------------------------------------------------------- */

static inline struct kban_span text_span(const char *text)
{
	return kban_span(text, strlen(text));
}

static inline void check_row(struct store *s, const char *key, const char *want)
{
	uint8_t *value = NULL;
	size_t len = 0;
	int r = store_get(s, text_span(key), &value, &len);

	assert_int_equal(r, want ? 0 : STORE_NOT_FOUND);
	if (want) {
		assert_int_equal(len, strlen(want));
		assert_memory_equal(value, want, len);
	}
	free(value);
}

static inline int join_row(void *arg, struct kban_span key, struct kban_span value)
{
	char *out = arg;

	sprintf(out + strlen(out), "%.*s=%.*s ", (int)key.n, (const char *)key.p, (int)value.n,
		(const char *)value.p);
	return 0;
}

static inline void check_rows(struct store *s, const char *prefix, const char *want)
{
	char got[1024] = "";

	assert_int_equal(store_rows(s, text_span(prefix), join_row, got), 0);
	assert_string_equal(got, want);
}

static inline void put_text(struct store *s, const char *key, const char *value)
{
	store_put(s, text_span(key), text_span(value));
}

/* xorshift: 0 stays 0 */
static inline uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

#endif
