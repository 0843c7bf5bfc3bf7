/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "node/enforce_wanted.h"

struct wanted {
	uint64_t seed;
	struct wanted_counts counts;
	size_t groups_n;
	struct wanted_group *groups[WANTED_GROUPS_MAX];
};

struct wanted *wanted_new(uint64_t seed)
{
	struct wanted *w = kban_zalloc(sizeof(*w));

	w->seed = seed;
	return w;
}

void wanted_free(struct wanted *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->groups_n; i++) {
		free(w->groups[i]->slots);
		free(w->groups[i]);
	}
	free(w);
}

struct wanted_group **wanted_groups(struct wanted *w, size_t *n)
{
	*n = w->groups_n;
	return w->groups;
}

static struct wanted_group *group_find(struct wanted *w, struct nft_set set)
{
	for (size_t i = 0; i < w->groups_n; i++)
		if (!memcmp(&w->groups[i]->set, &set, sizeof(set)))
			return w->groups[i];
	return NULL;
}

struct wanted_group *wanted_group(struct wanted *w, struct nft_set set)
{
	struct wanted_group *g = group_find(w, set);

	if (g)
		return g;
	g = kban_zalloc(sizeof(*g));
	g->set = set;
	g->next_end = UINT64_MAX;
	w->groups[w->groups_n++] = g;
	return g;
}

/* Multiply and fold: not cryptographic, but its collisions are not to be had without the seed. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static size_t slot_of(const struct wanted *w, const struct wanted_group *g, const uint8_t *addr)
{
	uint64_t a, b;

	memcpy(&a, addr, 8);
	memcpy(&b, addr + 8, 8);
	return mix(mix(a ^ w->seed, b ^ (w->seed << 32 | w->seed >> 32)), w->seed) & (g->size - 1);
}

static size_t probe(const struct wanted *w, const struct wanted_group *g, const uint8_t *addr)
{
	size_t i = slot_of(w, g, addr);

	while (g->slots[i].used && memcmp(g->slots[i].addr, addr, 16) != 0)
		i = (i + 1) & (g->size - 1);
	return i;
}

struct wanted_entry *wanted_find(struct wanted *w, const struct wanted_group *g,
				 const uint8_t *addr)
{
	if (!g->n)
		return NULL;
	struct wanted_entry *e = &g->slots[probe(w, g, addr)];
	return e->used ? e : NULL;
}

static void group_grow(struct wanted *w, struct wanted_group *g)
{
	struct wanted_entry *old = g->slots;
	size_t old_size = g->size;

	g->size = old_size ? old_size * 2 : 16;
	g->slots = kban_zalloc(g->size * sizeof(*g->slots));
	for (size_t i = 0; i < old_size; i++)
		if (old[i].used)
			g->slots[probe(w, g, old[i].addr)] = old[i];
	free(old);
}

struct wanted_entry *wanted_get(struct wanted *w, struct wanted_group *g, const uint8_t *addr)
{
	if (g->n * 4 >= g->size * 3)
		group_grow(w, g);
	struct wanted_entry *e = &g->slots[probe(w, g, addr)];
	if (!e->used) {
		*e = (struct wanted_entry){.used = true};
		memcpy(e->addr, addr, sizeof(e->addr));
		g->n++;
	}
	return e;
}

static void count(struct wanted *w, const struct wanted_group *g, const struct wanted_entry *e,
		  uint64_t sign)
{
	struct wanted_counts *c = &w->counts;

	if (g->set.kind == NFT_BAN && e->until) {
		c->bans += sign;
		c->bans_enforced += e->kernel ? sign : 0;
	} else if (g->set.kind == NFT_SAFE && (e->until & WANTED_BY_NODE)) {
		c->safes += sign;
		c->safes_enforced += e->kernel ? sign : 0;
	}
}

void wanted_set(struct wanted *w, struct wanted_group *g, struct wanted_entry *e, uint64_t until,
		uint64_t kernel)
{
	uint64_t end = until ? until : kernel;

	count(w, g, e, UINT64_MAX); /* -1 */
	e->until = until;
	e->kernel = kernel;
	count(w, g, e, 1);
	if (g->set.kind == NFT_BAN && end && end < g->next_end)
		g->next_end = end;
}

/* Linear probing without tombstones: whoever was pushed past the freed slot moves back. */
static void slot_free(struct wanted *w, struct wanted_group *g, size_t hole)
{
	size_t mask = g->size - 1;

	for (size_t i = (hole + 1) & mask; g->slots[i].used; i = (i + 1) & mask) {
		size_t home = slot_of(w, g, g->slots[i].addr);
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			g->slots[hole] = g->slots[i];
			hole = i;
		}
	}
	g->slots[hole].used = false;
}

bool wanted_drop(struct wanted *w, struct wanted_group *g, struct wanted_entry *e)
{
	if (e->until || e->kernel)
		return false;
	slot_free(w, g, (size_t)(e - g->slots));
	g->n--;
	return true;
}

bool wanted_covers(struct wanted *w, enum nft_kind kind, const struct kban_prefix *p,
		   uint64_t now_ms)
{
	for (size_t i = 0; i < w->groups_n; i++) {
		const struct wanted_group *g = w->groups[i];
		if (g->set.kind != kind || g->set.family != p->family || g->set.len > p->len)
			continue;
		struct kban_prefix cut = kban_prefix_mask(p, g->set.len);
		const struct wanted_entry *e = wanted_find(w, g, cut.addr);
		if (e && e->until && (kind == NFT_SAFE || e->until > now_ms))
			return true;
	}
	return false;
}

/* What is in the kernel's set without being wanted ends there by itself too. */
static bool group_expire(struct wanted *w, struct wanted_group *g, uint64_t now_ms)
{
	bool any = false;

	g->next_end = UINT64_MAX;
	for (size_t i = 0; i < g->size; i++) {
		struct wanted_entry *e = &g->slots[i];
		uint64_t end = e->until ? e->until : e->kernel;
		if (!e->used)
			continue;
		if (end <= now_ms) {
			any = true;
			wanted_set(w, g, e, 0, 0);
			wanted_drop(w, g, e);
			i--; /* another may have moved here; wraps at 0, and back */
		} else if (end < g->next_end) {
			g->next_end = end;
		}
	}
	return any;
}

bool wanted_expire(struct wanted *w, uint64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; i < w->groups_n; i++) {
		struct wanted_group *g = w->groups[i];
		if (g->set.kind == NFT_BAN && g->next_end <= now_ms)
			any |= group_expire(w, g, now_ms);
	}
	return any;
}

const struct wanted_counts *wanted_counts(const struct wanted *w)
{
	return &w->counts;
}
