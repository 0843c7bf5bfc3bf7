/* SPDX-License-Identifier: MPL-2.0 */
#include "node/stage.h"

#include <stdlib.h>
#include <string.h>

#include "proto/hash.h"

struct stage_row {
	uint8_t *key, *value;
	size_t key_len, value_len;
	bool gone;
	UT_hash_handle hh;
};

static void row_free(struct stage_row *row)
{
	free(row->key);
	free(row->value);
	free(row);
}

static void stage_clear(struct stage *s)
{
	struct stage_row *row, *next;

	HASH_ITER (hh, s->rows, row, next) {
		HASH_DEL(s->rows, row);
		row_free(row);
	}
	for (size_t i = 0; i < s->entries_n; i++)
		free((void *)s->entries[i].entry.sealed.report);
	s->entries_n = 0;
	s->bytes = 0;
}

void stage_free(struct stage *s)
{
	stage_clear(s);
	free(s->entries);
	s->entries = NULL;
	s->entries_room = 0;
}

static struct stage_row *stage_row(struct stage *s, struct kban_span key)
{
	struct stage_row *row;

	HASH_FIND(hh, s->rows, key.p, key.n, row);
	if (row) {
		s->bytes -= row->value_len;
		free(row->value);
		row->value = NULL;
		row->value_len = 0;
		return row;
	}
	row = kban_zalloc(sizeof(*row));
	row->key = kban_memdup(key.p, key.n);
	row->key_len = key.n;
	HASH_ADD_KEYPTR(hh, s->rows, row->key, row->key_len, row);
	s->bytes += row->key_len;
	return row;
}

void stage_put(struct stage *s, struct kban_span key, struct kban_span value)
{
	struct stage_row *row = stage_row(s, key);

	row->value = kban_memdup(value.p, value.n);
	row->value_len = value.n;
	s->bytes += value.n;
	row->gone = false;
}

void stage_delete(struct stage *s, struct kban_span key)
{
	stage_row(s, key)->gone = true;
}

void stage_append(struct stage *s, const struct kban_entry *entry, const struct kban_place *after)
{
	if (s->entries_n == s->entries_room) {
		s->entries_room = s->entries_room ? s->entries_room * 2 : 64;
		s->entries = kban_realloc(s->entries, s->entries_room * sizeof(*s->entries));
	}
	struct stage_entry *e = &s->entries[s->entries_n++];
	size_t len = entry->sealed.report_len;
	uint8_t *bytes = kban_zalloc(len + KBAN_SIGNATURE_SIZE);

	memcpy(bytes, entry->sealed.report, len);
	memcpy(bytes + len, entry->sealed.signature, KBAN_SIGNATURE_SIZE);
	*e = (struct stage_entry){*entry, *after};
	s->bytes += len + KBAN_SIGNATURE_SIZE;
	e->entry.sealed.report = bytes;
	e->entry.sealed.signature = bytes + len;
}

bool stage_empty(const struct stage *s)
{
	return !s->rows && !s->entries_n;
}

int stage_commit(struct stage *s, struct store *store)
{
	struct stage_row *row, *next;

	if (stage_empty(s))
		return 0;
	store_begin(store);
	for (size_t i = 0; i < s->entries_n; i++)
		store_append(store, &s->entries[i].entry, &s->entries[i].after);
	HASH_ITER (hh, s->rows, row, next) {
		struct kban_span key = kban_span(row->key, row->key_len);

		if (row->gone)
			store_delete(store, key);
		else
			store_put(store, key, kban_span(row->value, row->value_len));
	}
	int r = store_commit(store);
	if (!r)
		stage_clear(s);
	return r;
}
