/* SPDX-License-Identifier: MPL-2.0
 *
 * Items of a ledger as a list, for tests that read them back or lie with them.
 */
#ifndef KBAN_STORE_TEST_ITEMS_H
#define KBAN_STORE_TEST_ITEMS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"
#include "store/snapshot.h"

struct items {
	size_t n;
	struct item *v;
};

static inline void items_free(struct items *s)
{
	free(s->v);
	*s = (struct items){0};
}

static inline void items_insert(struct items *s, size_t at, struct item i)
{
	if (!(s->n & (s->n - 1)))
		s->v = kban_realloc(s->v, (s->n ? 2 * s->n : 1) * sizeof(*s->v));
	memmove(&s->v[at + 1], &s->v[at], (s->n - at) * sizeof(*s->v));
	s->v[at] = i;
	s->n++;
}

static inline void items_remove(struct items *s, size_t at)
{
	struct items shorter = {0};

	for (size_t i = 0; i < s->n; i++)
		if (i != at)
			items_insert(&shorter, shorter.n, s->v[i]);
	items_free(s);
	*s = shorter;
}

static inline int items_take(void *arg, struct kban_span item)
{
	struct items *s = arg;
	struct item i = {.n = item.n};

	assert_true(item.n <= sizeof(i.b));
	memcpy(i.b, item.p, item.n);
	items_insert(s, s->n, i);
	return 0;
}

static inline struct items items_of(const struct ledger *l)
{
	struct items s = {0};

	assert_int_equal(ledger_items_each(l, items_take, &s), 0);
	return s;
}

/* LEDGER.md, "Digest", over the items alone. */
static inline struct kban_hash items_digest(const struct items *s)
{
	uint64_t lanes[4] = {0};
	struct kban_hash digest;

	for (size_t i = 0; i < s->n; i++) {
		struct kban_span span = kban_span(s->v[i].b, s->v[i].n);
		struct kban_hash h;
		uint64_t v[4];

		if (s->v[i].n && s->v[i].b[0] == ITEM_HEADER)
			continue;
		kban_hash_spans(&h, "kban item v1", &span, 1);
		memcpy(v, h.b, sizeof(v));
		for (size_t lane = 0; lane < 4; lane++)
			lanes[lane] += be64toh(v[lane]);
	}
	for (size_t lane = 0; lane < 4; lane++)
		lanes[lane] = htobe64(lanes[lane]);
	memcpy(digest.b, lanes, sizeof(lanes));
	return digest;
}

/* What a liar would do: the header names the digest of what is there. */
static inline void items_seal(struct items *s)
{
	struct kban_hash digest = items_digest(s);

	if (s->n && s->v[0].n > sizeof(digest) && s->v[0].b[0] == ITEM_HEADER)
		memcpy(s->v[0].b + s->v[0].n - sizeof(digest), &digest, sizeof(digest));
}

static inline int items_load(const struct items *s, const struct kban_key *root,
			     struct ledger **out, const char **why)
{
	kban_auto(ledger_loading_free) struct ledger_loading *d = NULL;
	int r = 0;

	ledger_loading_new(&d, root);
	for (size_t i = 0; i < s->n && !r; i++)
		r = ledger_loading_item(d, kban_span(s->v[i].b, s->v[i].n));
	if (!r)
		r = ledger_loading_end(d, out);
	else
		assert_int_equal(ledger_loading_end(d, out), r);
	if (why)
		*why = r ? ledger_loading_why(d) : NULL;
	return r;
}

static inline bool items_equal(const struct items *a, const struct items *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].n != b->v[i].n || memcmp(a->v[i].b, b->v[i].b, a->v[i].n))
			return false;
	return true;
}

/* The nth item of that kind. */
static inline size_t items_find(const struct items *s, enum item_kind kind, size_t nth)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].b[0] == kind && !nth--)
			return i;
	fail_msg("no such item");
	return 0;
}

static inline struct item_row items_row(const struct items *s, size_t i)
{
	struct item_row row;

	assert_true(item_read(&row, kban_span(s->v[i].b, s->v[i].n)));
	return row;
}

static inline void items_set(struct items *s, size_t i, const struct item_row *row)
{
	item_write(&s->v[i], row->kind, &row->header);
}

#endif
