/* SPDX-License-Identifier: MPL-2.0 */
#include "node/own.h"

#include <stdlib.h>

void own_free(struct own *o)
{
	struct own_ban *b, *next;

	HASH_ITER (hh, o->bans, b, next)
		own_remove(o, b);
}

struct own_ban *own_find(const struct own *o, const struct kban_prefix *p)
{
	struct own_ban *b;

	HASH_FIND(hh, o->bans, p, sizeof(*p), b);
	return b;
}

struct own_ban *own_add(struct own *o, const struct kban_prefix *p, uint64_t until_boot_ms)
{
	struct own_ban *b = own_find(o, p);

	if (!b) {
		if (HASH_COUNT(o->bans) >= OWN_MAX)
			return NULL;
		b = kban_zalloc(sizeof(*b));
		b->prefix = *p;
		HASH_ADD(hh, o->bans, prefix, sizeof(b->prefix), b);
	}
	if (b->until_boot_ms < until_boot_ms) {
		b->until_boot_ms = until_boot_ms;
		b->estimated = false;
	}
	return b;
}

void own_remove(struct own *o, struct own_ban *b)
{
	HASH_DEL(o->bans, b);
	free(b);
}

uint64_t own_until(const struct own *o, const struct kban_prefix *p, uint64_t boot_ms)
{
	const struct own_ban *b = own_find(o, p);

	return b && b->until_boot_ms > boot_ms ? b->until_boot_ms : 0;
}
