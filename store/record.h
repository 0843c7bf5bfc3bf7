/* SPDX-License-Identifier: MPL-2.0
 *
 * What an engine keeps of an entry: FORMAT.md, "Records", byte for byte. Every engine stores this
 * form, so that a log can be moved from one to another unchanged. Decoding validates everything
 * that this level can see and borrows from its input.
 */
#ifndef KBAN_STORE_RECORD_H
#define KBAN_STORE_RECORD_H

#include "store/log.h"

#define RECORD_FORMAT	    1U /* the newest that this program reads and writes */
#define RECORD_KEY_SIZE	    8U
#define RECORD_FIXED	    (48U + KBAN_SIGNATURE_SIZE) /* a record without its report */
#define RECORD_SIZE_MAX	    (RECORD_FIXED + KBAN_REPORT_MAX)
#define RECORD_HORIZON_SIZE (8U + 4U + 8U + KBAN_HASH_SIZE)

struct record {
	struct kban_entry entry; /* borrows from the bytes */
	struct kban_place after; /* seq is entry.seq */
};

/* Big-endian numbers, for keys that sort and for every number in a record. */
void record_put_u32(uint8_t out[4], uint32_t v);
void record_put_u64(uint8_t out[8], uint64_t v);
uint32_t record_u32(const uint8_t in[4]);
uint64_t record_u64(const uint8_t in[8]);

/* The value's size; the report's length was checked by the caller. */
size_t record_size(const struct kban_entry *entry);
/* value has record_size() bytes. */
void record_encode(uint8_t key[RECORD_KEY_SIZE], uint8_t *value, const struct kban_entry *entry,
		   const struct kban_place *after);
/* 0 or STORE_DAMAGED; then *why says what is wrong with it. */
int record_decode(struct record *out, struct kban_span key, struct kban_span value,
		  const char **why) kban_must_check;

/* The place at which the whole log begins: what stands in `meta` under "horizon". */
void record_horizon_encode(uint8_t out[RECORD_HORIZON_SIZE], const struct kban_place *place,
			   uint64_t accepted_ms);
/* 0 or STORE_DAMAGED. */
int record_horizon_decode(struct kban_place *place, uint64_t *accepted_ms,
			  struct kban_span value) kban_must_check;

#endif
