/* SPDX-License-Identifier: MPL-2.0
 *
 * The newest reports that were refused, or of which nothing counted, in memory: for the query
 * `refused`. Only reports with a good signature of a known author get here, each once, by its hash;
 * one that gets into the log after all is forgotten. When there is no room, the oldest one goes of
 * the author who holds most: who floods it drives out only himself.
 */
#ifndef KBAN_BROKER_REFUSED_H
#define KBAN_BROKER_REFUSED_H

#include "proto/wire.h"

#define REFUSED_MAX	  1024U
#define REFUSED_BYTES_MAX (1024U * 1024U) /* of reports, signatures and outcomes */

struct refused_row {
	uint64_t number; /* rises */
	uint64_t at_ms;	 /* broker time, of the newest attempt */
	enum kban_refusal refusal;
	struct kban_sealed sealed;
	size_t outcomes_n;
	const uint32_t *outcomes;
};

struct refused;
void refused_new(struct refused **out);
void refused_free(struct refused *f);
KBAN_DEFINE_AUTO(struct refused *, refused_free)

/* Copies what row borrows; its number is set here. */
void refused_add(struct refused *f, const struct kban_hash *hash, const struct kban_key *author,
		 const struct refused_row *row);
void refused_forget(struct refused *f, const struct kban_hash *hash);
/* Newest first, those with a number below before (0: all). fn stops the walk by returning nonzero.
 */
int refused_each(const struct refused *f, uint64_t before,
		 int (*fn)(void *arg, const struct refused_row *row), void *arg);
void refused_size(const struct refused *f, size_t *rows, size_t *bytes);

#endif
