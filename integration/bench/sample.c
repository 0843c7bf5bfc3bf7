/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/bench/sample.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t lengths4[LENGTHS4] = {32, 24, 16, 20, 22, 28, 23, 26, 21, 25, 27, 29, 30,
					   19, 18, 17, 31, 15, 14, 12, 13, 10, 11, 9,  8};
static const uint8_t lengths6[LENGTHS6] = {64, 48, 56, 32, 128, 60, 40, 44, 52, 36, 62,	 58, 46, 42,
					   50, 54, 38, 34, 61,	63, 59, 57, 55, 53, 51,	 49, 47, 45,
					   43, 41, 39, 37, 35,	33, 65, 72, 80, 96, 112, 120};

void sample_add(struct sample *s, double value)
{
	if (s->n == s->room) {
		s->room = s->room * 2 + 256;
		s->v = kban_realloc(s->v, s->room * sizeof(*s->v));
	}
	s->v[s->n++] = value;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double sample_at(struct sample *s, double share)
{
	if (!s->n)
		return 0;
	qsort(s->v, s->n, sizeof(*s->v), by_size);
	return s->v[(size_t)(share * (double)(s->n - 1) + 0.5)];
}

void sample_free(struct sample *s)
{
	free(s->v);
	*s = (struct sample){0};
}

uint64_t random_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

const uint8_t *prefix_lengths(enum kban_family family)
{
	return family == KBAN_IPV4 ? lengths4 : lengths6;
}

/* Of 1.0.0.0 to 126.255.255.255, or 2001::/16. */
struct kban_prefix prefix_random(uint64_t *seed, enum kban_family family, unsigned len)
{
	struct kban_prefix p = {.family = (uint8_t)family, .len = family == KBAN_IPV4 ? 32 : 128};
	uint64_t a = random_next(seed), b = random_next(seed);

	if (family == KBAN_IPV4) {
		memcpy(p.addr, &a, 4);
		p.addr[0] = (uint8_t)(1 + p.addr[0] % 126);
	} else {
		memcpy(p.addr, &a, 8);
		memcpy(p.addr + 8, &b, 8);
		p.addr[0] = 0x20;
		p.addr[1] = 0x01;
	}
	return kban_prefix_mask(&p, len);
}

static bool prefix_has(const struct kban_prefix *v, size_t n, const struct kban_prefix *p)
{
	for (size_t i = 0; i < n; i++)
		if (kban_prefix_equal(&v[i], p))
			return true;
	return false;
}

static size_t most_of_length(enum kban_family family, unsigned len)
{
	if (family == KBAN_IPV6 || len >= 32)
		return SIZE_MAX;
	return len <= 12 ? 1 : (size_t)1 << (len - 12);
}

static int by_length(const void *a, const void *b)
{
	const struct kban_prefix *x = a, *y = b;

	return x->len != y->len ? y->len - x->len : kban_prefix_cmp(x, y);
}

size_t prefix_many(struct kban_prefix *out, size_t n, uint64_t *seed, enum kban_family family,
		   size_t lengths)
{
	const uint8_t *lens = prefix_lengths(family);
	size_t of_length[LENGTHS6] = {0}, made = 0, full = 0;

	for (size_t i = 0; made < n && full < lengths; i = (i + 1) % lengths) {
		full = i ? full : 0;
		if (of_length[i] == most_of_length(family, lens[i])) {
			full++;
			continue;
		}
		out[made] = prefix_random(seed, family, lens[i]);
		if (prefix_has(out, made, &out[made]))
			continue;
		of_length[i]++;
		made++;
	}
	/* The packet measurement wants those of one length together. */
	qsort(out, made, sizeof(*out), by_length);
	return made;
}

static bool prefix_in_any(const struct kban_prefix *of, size_t n, const struct kban_prefix *p)
{
	for (size_t i = 0; i < n; i++)
		if (kban_prefix_covers(&of[i], p))
			return true;
	return false;
}

struct kban_prefix prefix_address(uint64_t *seed, const struct kban_prefix *of, size_t n,
				  bool inside)
{
	const struct kban_prefix *some = &of[random_next(seed) % n];
	struct kban_prefix a;

	do {
		a = prefix_random(seed, some->family, kban_prefix_bits(some));
		for (unsigned bit = 0; inside && bit < some->len; bit++) {
			uint8_t mask = (uint8_t)(0x80 >> bit % 8);
			a.addr[bit / 8] = (uint8_t)((a.addr[bit / 8] & ~mask) |
						    (some->addr[bit / 8] & mask));
		}
	} while (!inside && prefix_in_any(of, n, &a));
	return a;
}
