/* SPDX-License-Identifier: MPL-2.0 */
#include "store/trie.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define TRIE_FIRST_CAPACITY 16

static unsigned family_index(const struct kban_prefix *p)
{
	return p->family == KBAN_IPV6;
}

static unsigned bit_at(const struct kban_prefix *p, unsigned i)
{
	return p->addr[i / 8] >> (7 - i % 8) & 1;
}

static uint64_t half(const struct kban_prefix *p, unsigned i)
{
	uint64_t v;

	memcpy(&v, p->addr + 8 * i, sizeof(v));
	return be64toh(v);
}

/* How many leading bits two prefixes of one family share. */
static unsigned shared_bits(const struct kban_prefix *a, const struct kban_prefix *b)
{
	unsigned max = a->len < b->len ? a->len : b->len;
	uint64_t x = half(a, 0) ^ half(b, 0);
	unsigned n = x ? (unsigned)__builtin_clzll(x) : 64;

	if (!x && max > 64) {
		x = half(a, 1) ^ half(b, 1);
		n += x ? (unsigned)__builtin_clzll(x) : 64;
	}
	return n < max ? n : max;
}

void trie_clear(struct trie *t)
{
	free(t->nodes);
	*t = (struct trie){0};
}

/* Room for the two nodes that one insertion can need, so that it holds pointers into the array. */
static void trie_reserve(struct trie *t)
{
	if (t->n + 2 <= t->capacity)
		return;
	t->capacity = t->capacity ? 2 * t->capacity : TRIE_FIRST_CAPACITY;
	t->nodes = kban_realloc(t->nodes, t->capacity * sizeof(*t->nodes));
	if (!t->n)
		t->n = 1;
}

static uint32_t node_new(struct trie *t, const struct kban_prefix *p)
{
	uint32_t i = t->unused;

	if (i)
		t->unused = t->nodes[i].child[0];
	else
		i = t->n++;
	t->nodes[i] = (struct trie_node){.prefix = *p};
	return i;
}

static void node_drop(struct trie *t, uint32_t i)
{
	t->nodes[i].child[0] = t->unused;
	t->nodes[i].data = NULL;
	t->unused = i;
}

void *trie_find(const struct trie *t, const struct kban_prefix *p)
{
	uint32_t i = t->roots[family_index(p)];

	while (i) {
		const struct trie_node *n = &t->nodes[i];

		if (n->prefix.len > p->len || shared_bits(&n->prefix, p) < n->prefix.len)
			return NULL;
		if (n->prefix.len == p->len)
			return n->data;
		i = n->child[bit_at(p, n->prefix.len)];
	}
	return NULL;
}

/* Puts p where node `below` hangs, which does not cover p: above it, or beside it under a fork. */
static uint32_t node_split(struct trie *t, uint32_t *link, const struct kban_prefix *p,
			   unsigned shared)
{
	uint32_t below = *link;
	uint32_t added = node_new(t, p);
	uint32_t top = added;

	if (shared < p->len) {
		struct kban_prefix fork = kban_prefix_mask(p, shared);

		top = node_new(t, &fork);
		t->nodes[top].child[bit_at(p, shared)] = added;
	}
	t->nodes[top].child[bit_at(&t->nodes[below].prefix, shared)] = below;
	*link = top;
	return added;
}

void **trie_slot(struct trie *t, const struct kban_prefix *p)
{
	trie_reserve(t);

	uint32_t *link = &t->roots[family_index(p)];
	uint32_t i;

	for (;;) {
		i = *link;
		if (!i) {
			*link = i = node_new(t, p);
			break;
		}

		struct trie_node *n = &t->nodes[i];
		unsigned shared = shared_bits(&n->prefix, p);

		if (shared < n->prefix.len) {
			i = node_split(t, link, p, shared);
			break;
		}
		if (n->prefix.len == p->len)
			break;
		link = &n->child[bit_at(p, n->prefix.len)];
	}
	if (!t->nodes[i].data)
		t->entries++;
	return &t->nodes[i].data;
}

/* Takes node *link out if it is neither an entry nor a fork of two any more. */
static void link_tidy(struct trie *t, uint32_t *link)
{
	uint32_t i = *link;
	const struct trie_node *n = &t->nodes[i];

	if (n->data || (n->child[0] && n->child[1]))
		return;
	*link = n->child[0] ? n->child[0] : n->child[1];
	node_drop(t, i);
}

void trie_remove(struct trie *t, const struct kban_prefix *p)
{
	uint32_t *above = NULL;
	uint32_t *link = &t->roots[family_index(p)];

	while (*link) {
		struct trie_node *n = &t->nodes[*link];

		if (n->prefix.len > p->len || shared_bits(&n->prefix, p) < n->prefix.len)
			return;
		if (n->prefix.len == p->len)
			break;
		above = link;
		link = &n->child[bit_at(p, n->prefix.len)];
	}
	if (!*link || !t->nodes[*link].data)
		return;
	t->nodes[*link].data = NULL;
	t->entries--;
	link_tidy(t, link);
	if (above)
		link_tidy(t, above);
}

size_t trie_covering(const struct trie *t, const struct kban_prefix *p, void *out[TRIE_DEPTH_MAX])
{
	size_t found = 0;
	uint32_t i = t->roots[family_index(p)];

	while (i) {
		const struct trie_node *n = &t->nodes[i];

		if (n->prefix.len > p->len || shared_bits(&n->prefix, p) < n->prefix.len)
			break;
		if (n->data)
			out[found++] = n->data;
		if (n->prefix.len == p->len)
			break;
		i = n->child[bit_at(p, n->prefix.len)];
	}
	return found;
}

/* The topmost node equal to or inside p; 0: none. */
static uint32_t top_inside(const struct trie *t, const struct kban_prefix *p)
{
	uint32_t i = t->roots[family_index(p)];

	while (i && t->nodes[i].prefix.len < p->len) {
		const struct trie_node *n = &t->nodes[i];

		if (shared_bits(&n->prefix, p) < n->prefix.len)
			return 0;
		i = n->child[bit_at(p, n->prefix.len)];
	}
	return i && kban_prefix_covers(p, &t->nodes[i].prefix) ? i : 0;
}

static void walk_push(struct trie_walk *w, uint32_t i)
{
	if (i)
		w->stack[w->depth++] = i;
}

void trie_walk_start(struct trie_walk *w, const struct trie *t, const struct kban_prefix *within,
		     const struct kban_prefix *after)
{
	w->trie = t;
	w->after = after;
	w->depth = 0;
	if (within) {
		walk_push(w, top_inside(t, within));
	} else {
		walk_push(w, t->roots[1]);
		walk_push(w, t->roots[0]);
	}
}

void *trie_walk_next(struct trie_walk *w)
{
	while (w->depth) {
		const struct trie_node *n = &w->trie->nodes[w->stack[--w->depth]];
		bool before = w->after && kban_prefix_cmp(&n->prefix, w->after) <= 0;

		/* Nothing under a node that sorts before `after` comes later, unless it covers it.
		 */
		if (before && !kban_prefix_covers(&n->prefix, w->after))
			continue;
		walk_push(w, n->child[1]);
		walk_push(w, n->child[0]);
		if (n->data && !before)
			return n->data;
	}
	return NULL;
}
