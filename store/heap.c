/* SPDX-License-Identifier: MPL-2.0 */
#include "store/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

#define HEAP_FIRST_CAPACITY 64
#define HEAP_STACK	    64 /* a depth-first walk keeps one sibling per level of 2^32 items */

void heap_clear(struct heap *h)
{
	free(h->items);
	*h = (struct heap){0};
}

static void place(struct heap *h, uint32_t i, struct heap_item item)
{
	h->items[i] = item;
	item.due->position = i;
}

static void sift_up(struct heap *h, uint32_t i, struct heap_item item)
{
	for (; i > 1 && h->items[i / 2].at > item.at; i /= 2)
		place(h, i, h->items[i / 2]);
	place(h, i, item);
}

static void sift_down(struct heap *h, uint32_t i, struct heap_item item)
{
	for (;;) {
		uint32_t child = 2 * i;

		if (child > h->n)
			break;
		if (child < h->n && h->items[child + 1].at < h->items[child].at)
			child++;
		if (h->items[child].at >= item.at)
			break;
		place(h, i, h->items[child]);
		i = child;
	}
	place(h, i, item);
}

static void sift(struct heap *h, uint32_t i, struct heap_item item)
{
	if (i > 1 && h->items[i / 2].at > item.at)
		sift_up(h, i, item);
	else
		sift_down(h, i, item);
}

static void heap_take(struct heap *h, struct due *d)
{
	uint32_t i = d->position;

	if (!i)
		return;
	d->position = 0;

	struct heap_item last = h->items[h->n--];

	if (last.due != d)
		sift(h, i, last);
}

void heap_set(struct heap *h, struct due *d, uint64_t at)
{
	if (at == HEAP_NEVER) {
		heap_take(h, d);
		return;
	}
	if (d->position) {
		sift(h, d->position, (struct heap_item){at, d});
		return;
	}
	if (h->n + 1 >= h->capacity) {
		h->capacity = h->capacity ? 2 * h->capacity : HEAP_FIRST_CAPACITY;
		h->items = kban_realloc(h->items, h->capacity * sizeof(*h->items));
	}
	sift_up(h, ++h->n, (struct heap_item){at, d});
}

struct due *heap_due(const struct heap *h, uint64_t by)
{
	return h->n && h->items[1].at <= by ? h->items[1].due : NULL;
}

void heap_each_due(const struct heap *h, uint64_t by, void (*fn)(void *arg, const struct due *d),
		   void (*ahead)(void *arg, uint64_t at), void *arg)
{
	uint32_t stack[HEAP_STACK] = {1};
	size_t depth = h->n ? 1 : 0;

	while (depth) {
		uint32_t i = stack[--depth];

		if (h->items[i].at > by) {
			if (ahead)
				ahead(arg, h->items[i].at);
			continue;
		}
		fn(arg, h->items[i].due);
		for (uint64_t child = 2 * (uint64_t)i; child < 2 * (uint64_t)i + 2; child++)
			if (child <= h->n)
				stack[depth++] = (uint32_t)child;
	}
}

void heap_retime(struct heap *h, uint64_t (*at)(const void *arg, const struct due *d),
		 const void *arg)
{
	for (uint32_t i = 1; i <= h->n; i++) {
		h->items[i].at = at(arg, h->items[i].due);
		assert(h->items[i].at != HEAP_NEVER);
	}
	for (uint32_t i = h->n / 2; i; i--)
		sift_down(h, i, h->items[i]);
}
