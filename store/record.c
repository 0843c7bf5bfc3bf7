/* SPDX-License-Identifier: MPL-2.0 */
#include "store/record.h"

#include <string.h>

enum { AT_ACCEPTED = 0, AT_EPOCH = 8, AT_CHAIN = 12, AT_LENGTH = 44, AT_REPORT = 48 };

void record_put_u32(uint8_t out[4], uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

void record_put_u64(uint8_t out[8], uint64_t v)
{
	record_put_u32(out, (uint32_t)(v >> 32));
	record_put_u32(out + 4, (uint32_t)v);
}

uint32_t record_u32(const uint8_t in[4])
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

uint64_t record_u64(const uint8_t in[8])
{
	return (uint64_t)record_u32(in) << 32 | record_u32(in + 4);
}

size_t record_size(const struct kban_entry *entry)
{
	return RECORD_FIXED + entry->sealed.report_len;
}

void record_encode(uint8_t key[RECORD_KEY_SIZE], uint8_t *value, const struct kban_entry *entry,
		   const struct kban_place *after)
{
	size_t len = entry->sealed.report_len;

	record_put_u64(key, entry->seq);
	record_put_u64(value + AT_ACCEPTED, entry->accepted_ms);
	record_put_u32(value + AT_EPOCH, after->epoch);
	memcpy(value + AT_CHAIN, after->chain.b, KBAN_HASH_SIZE);
	record_put_u32(value + AT_LENGTH, (uint32_t)len);
	memcpy(value + AT_REPORT, entry->sealed.report, len);
	memcpy(value + AT_REPORT + len, entry->sealed.signature, KBAN_SIGNATURE_SIZE);
}

static const char *record_fault(struct kban_span key, struct kban_span value)
{
	if (key.n != RECORD_KEY_SIZE)
		return "its key is not 8 bytes long";
	if (!record_u64(key.p))
		return "its seq is 0";
	if (value.n <= RECORD_FIXED || value.n > RECORD_SIZE_MAX)
		return "its length is outside the limits";
	if (record_u32(value.p + AT_LENGTH) != value.n - RECORD_FIXED)
		return "its report's length disagrees with its own";
	if (!record_u32(value.p + AT_EPOCH))
		return "its epoch is 0";
	return NULL;
}

int record_decode(struct record *out, struct kban_span key, struct kban_span value,
		  const char **why)
{
	*why = record_fault(key, value);
	if (*why)
		return STORE_DAMAGED;
	size_t len = value.n - RECORD_FIXED;

	out->entry = (struct kban_entry){
		.seq = record_u64(key.p),
		.accepted_ms = record_u64(value.p + AT_ACCEPTED),
		.sealed = {.report = value.p + AT_REPORT,
			   .report_len = len,
			   .signature = value.p + AT_REPORT + len},
	};
	out->after.seq = out->entry.seq;
	out->after.epoch = record_u32(value.p + AT_EPOCH);
	memcpy(out->after.chain.b, value.p + AT_CHAIN, KBAN_HASH_SIZE);
	return 0;
}

void record_horizon_encode(uint8_t out[RECORD_HORIZON_SIZE], const struct kban_place *place,
			   uint64_t accepted_ms)
{
	record_put_u64(out, place->seq);
	record_put_u32(out + 8, place->epoch);
	record_put_u64(out + 12, accepted_ms);
	memcpy(out + 20, place->chain.b, KBAN_HASH_SIZE);
}

int record_horizon_decode(struct kban_place *place, uint64_t *accepted_ms, struct kban_span value)
{
	if (value.n != RECORD_HORIZON_SIZE || !record_u32(value.p + 8))
		return STORE_DAMAGED;
	place->seq = record_u64(value.p);
	place->epoch = record_u32(value.p + 8);
	*accepted_ms = record_u64(value.p + 12);
	memcpy(place->chain.b, value.p + 20, KBAN_HASH_SIZE);
	return 0;
}
