/* SPDX-License-Identifier: MPL-2.0
 *
 * The genesis file: the first report of a cluster's log, signed by its root key. It grants the
 * first operator and the broker, and names the broker's address. `kbanctl init` writes it, an empty
 * broker takes it as entry 1; it holds no secret. The file: the magic "KBG1", u32 big-endian length
 * of the report, the report, its 64-byte signature, and nothing after that.
 */
#ifndef KBAN_PROTO_GENESIS_H
#define KBAN_PROTO_GENESIS_H

#include "proto/report.h"

/* Bytes of the largest genesis file. */
#define KBAN_GENESIS_MAX (8 + KBAN_REPORT_MAX + KBAN_SIGNATURE_SIZE)

enum kban_genesis_result {
	KBAN_GENESIS_MALFORMED = 1, /* not a genesis file, or cut short */
	KBAN_GENESIS_NOT_ROOTED, /* its author is not the root key of its cluster, or did not sign
				    it */
	KBAN_GENESIS_NOT_FIRST,	 /* its counter or base is not that of a log's first report */
	KBAN_GENESIS_EVENTS,	 /* holds another event than grants and broker addresses */
};

/* The validating function for the file's bytes; *out borrows from them. */
int kban_genesis_parse(struct kban_sealed *out, const uint8_t *bytes, size_t len) kban_must_check;
/* Reads PATH: *bytes is the caller's to free and *out borrows from it. 0, -errno or a result, and
 * then *error is a sentence with the remedy that the caller frees. */
int kban_genesis_load(const char *path, uint8_t **bytes, struct kban_sealed *out,
		      char **error) kban_must_check;
/* Writes a new file, 0600, fsynced with its folder; never replaces one (-EEXIST). */
int kban_genesis_save(const char *path, const struct kban_sealed *s) kban_must_check;

#endif
