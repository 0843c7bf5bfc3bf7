/* SPDX-License-Identifier: MPL-2.0
 *
 * Measured values and their order statistics, and the prefixes that both measurements use.
 */
#ifndef KBAN_BENCH_SAMPLE_H
#define KBAN_BENCH_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/prefix.h"

struct sample {
	double *v;
	size_t n, room;
};

void sample_add(struct sample *s, double value);
/* The value below which that share (0 to 1) of the sample lies; sorts the sample. */
double sample_at(struct sample *s, double share);
void sample_free(struct sample *s);

/* Splitmix64: the same seed gives the same prefixes. */
uint64_t random_next(uint64_t *seed);

/* The first n lengths that operators would use, likely ones first: at most LENGTHS4 or LENGTHS6. */
#define LENGTHS4 25
#define LENGTHS6 40
const uint8_t *prefix_lengths(enum kban_family family);
struct kban_prefix prefix_random(uint64_t *seed, enum kban_family family, unsigned len);
/* n different ones, evenly of the first `lengths` lengths (few of the widest, which else would be
 * the whole internet), the longest first. Returns how many there are: fewer if there is no more
 * room. */
size_t prefix_many(struct kban_prefix *out, size_t n, uint64_t *seed, enum kban_family family,
		   size_t lengths);
/* A single address inside one of them, or (inside: false) in none. */
struct kban_prefix prefix_address(uint64_t *seed, const struct kban_prefix *of, size_t n,
				  bool inside);

#endif
