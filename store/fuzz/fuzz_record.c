/* SPDX-License-Identifier: MPL-2.0
 *
 * A record from a damaged or hostile file: 8 bytes of key, then the value; also as a horizon. What
 * is accepted must encode to the same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
	if (!fact)
		abort();
}

static void try_record(struct kban_span key, struct kban_span value)
{
	struct record r;
	const char *why = NULL;
	uint8_t again_key[RECORD_KEY_SIZE];

	if (record_decode(&r, key, value, &why)) {
		must(why != NULL);
		return;
	}
	must(r.entry.sealed.report_len && r.entry.sealed.report_len <= KBAN_REPORT_MAX);
	must(record_size(&r.entry) == value.n);
	kban_auto(kban_free) void *again = kban_zalloc(value.n);
	record_encode(again_key, again, &r.entry, &r.after);
	must(!memcmp(again_key, key.p, key.n));
	must(!memcmp(again, value.p, value.n));
}

static void try_horizon(struct kban_span value)
{
	struct kban_place place;
	uint64_t ms;
	uint8_t again[RECORD_HORIZON_SIZE];

	if (record_horizon_decode(&place, &ms, value))
		return;
	record_horizon_encode(again, &place, ms);
	must(!memcmp(again, value.p, value.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t key_n = size < RECORD_KEY_SIZE ? size : RECORD_KEY_SIZE;

	try_record(kban_span(data, key_n), kban_span(data + key_n, size - key_n));
	try_horizon(kban_span(data, size));
	return 0;
}
