/* SPDX-License-Identifier: MPL-2.0
 *
 * The simulator's random numbers: SplitMix64 (Steele, Lea, Flood 2014), one stream per seed, so that a seed replays
 * exactly.
 */
#ifndef KBAN_SIM_RANDOM_H
#define KBAN_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
	uint64_t state;
};

static inline uint64_t sim_next(struct sim_random *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline uint64_t sim_below(struct sim_random *r, uint64_t n)
{
	return sim_next(r) % n;
}

static inline bool sim_chance(struct sim_random *r, unsigned per_thousand)
{
	return sim_below(r, 1000) < per_thousand;
}

#endif
