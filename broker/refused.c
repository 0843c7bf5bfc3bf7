/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/refused.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "proto/hash.h"

struct holder {		     /* an author */
	struct kban_key key; /* hash key */
	size_t rows, bytes;
	UT_hash_handle hh;
};

struct held {
	struct kban_hash hash; /* hash key */
	struct refused_row row;
	struct holder *holder;
	size_t size;
	struct held *prev, *next; /* newest first */
	UT_hash_handle hh;
	uint32_t outcomes[];
};

struct refused {
	struct held *rows;
	struct held *newest;
	struct holder *holders;
	size_t rows_n, bytes;
	uint64_t numbers;
};

void refused_new(struct refused **out)
{
	*out = kban_zalloc(sizeof(**out));
}

static void held_free(struct refused *f, struct held *h)
{
	struct holder *who = h->holder;

	HASH_DEL(f->rows, h);
	DL_DELETE(f->newest, h);
	f->rows_n--;
	f->bytes -= h->size;
	who->rows--;
	who->bytes -= h->size;
	if (!who->rows) {
		HASH_DEL(f->holders, who);
		free(who);
	}
	free(h);
}

void refused_free(struct refused *f)
{
	struct held *h, *next;

	if (!f)
		return;
	HASH_ITER (hh, f->rows, h, next)
		held_free(f, h);
	free(f);
}

static struct held *held_find(const struct refused *f, const struct kban_hash *hash)
{
	struct held *h;

	HASH_FIND(hh, f->rows, hash, sizeof(*hash), h);
	return h;
}

static struct holder *holder_get(struct refused *f, const struct kban_key *key)
{
	struct holder *who;

	HASH_FIND(hh, f->holders, key, sizeof(*key), who);
	if (who)
		return who;
	who = kban_zalloc(sizeof(*who));
	who->key = *key;
	HASH_ADD(hh, f->holders, key, sizeof(who->key), who);
	return who;
}

/* Room ---------------------------------------------------------------------------------------- */

/* Of what there is of both, rows and bytes, the greater part counts. */
static size_t holder_share(const struct holder *who)
{
	size_t rows = who->rows * (REFUSED_BYTES_MAX / REFUSED_MAX);

	return rows > who->bytes ? rows : who->bytes;
}

static const struct holder *holder_of_most(const struct refused *f)
{
	const struct holder *most = f->holders;

	for (const struct holder *who = f->holders; who; who = who->hh.next) {
		if (holder_share(who) > holder_share(most))
			most = who;
	}
	return most;
}

static struct held *oldest_of(const struct refused *f, const struct holder *who)
{
	struct held *h = f->newest->prev; /* utlist.h: the head's prev is the tail */

	while (h->holder != who)
		h = h->prev;
	return h;
}

static void make_room(struct refused *f)
{
	while (f->rows_n > REFUSED_MAX || f->bytes > REFUSED_BYTES_MAX)
		held_free(f, oldest_of(f, holder_of_most(f)));
}

/* In and out ---------------------------------------------------------------------------------- */

static struct held *held_new(const struct refused_row *row)
{
	size_t len = row->sealed.report_len;
	size_t outcomes = row->outcomes_n * sizeof(*row->outcomes);
	struct held *h = kban_zalloc(sizeof(*h) + outcomes + len + KBAN_SIGNATURE_SIZE);
	uint8_t *bytes = (uint8_t *)h->outcomes + outcomes;

	if (outcomes)
		memcpy(h->outcomes, row->outcomes, outcomes);
	memcpy(bytes, row->sealed.report, len);
	memcpy(bytes + len, row->sealed.signature, KBAN_SIGNATURE_SIZE);
	h->row = *row;
	h->row.outcomes = h->outcomes;
	h->row.sealed = (struct kban_sealed){bytes, len, bytes + len};
	h->size = outcomes + len + KBAN_SIGNATURE_SIZE;
	return h;
}

void refused_add(struct refused *f, const struct kban_hash *hash, const struct kban_key *author,
		 const struct refused_row *row)
{
	struct held *h = held_new(row);

	refused_forget(f, hash);
	h->hash = *hash;
	h->row.number = ++f->numbers;
	h->holder = holder_get(f, author);
	h->holder->rows++;
	h->holder->bytes += h->size;
	f->rows_n++;
	f->bytes += h->size;
	HASH_ADD(hh, f->rows, hash, sizeof(h->hash), h);
	DL_PREPEND(f->newest, h);
	make_room(f);
}

void refused_forget(struct refused *f, const struct kban_hash *hash)
{
	struct held *h = held_find(f, hash);

	if (h)
		held_free(f, h);
}

int refused_each(const struct refused *f, uint64_t before,
		 int (*fn)(void *arg, const struct refused_row *row), void *arg)
{
	for (const struct held *h = f->newest; h; h = h->next) {
		if (before && h->row.number >= before)
			continue;
		int r = fn(arg, &h->row);
		if (r)
			return r;
	}
	return 0;
}

void refused_size(const struct refused *f, size_t *rows, size_t *bytes)
{
	*rows = f->rows_n;
	*bytes = f->bytes;
}
