/* SPDX-License-Identifier: MPL-2.0
 *
 * What the child reads from the node: any bytes must be refused or end as an operation that is safe
 * to do.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "node/enforce_wire.h"
#include "proto/limits.h"

#define NOW_MS 1000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want_safe(struct wanted *w, const char *text)
{
	struct kban_prefix p;

	if (kban_prefix_parse(&p, text))
		abort();
	struct wanted_group *g = wanted_group(w, (struct nft_set){NFT_SAFE, p.family, p.len});
	wanted_set(w, g, wanted_get(w, g, p.addr), WANTED_BY_NODE, 0);
}

static void taken_is_harmless(const struct enforce_op *op)
{
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix again, safe;

	assert(op->kind >= ENFORCE_BAN && op->kind <= ENFORCE_UNSAFE && op->prefix.len > 0);
	assert(!kban_prefix_parse(&again, kban_prefix_format(&op->prefix, text)));
	assert(kban_prefix_equal(&again, &op->prefix));
	if (op->kind != ENFORCE_BAN)
		return;
	assert(op->until_boot_ms > NOW_MS && op->until_boot_ms <= NOW_MS + KBAN_BAN_MAX_MS);
	assert(!kban_prefix_never_ban(&op->prefix));
	assert(!kban_prefix_parse(&safe, "203.0.113.0/24"));
	assert(!kban_prefix_covers(&safe, &op->prefix));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct enforce_packet packet;
	kban_auto(wanted_free) struct wanted *w = wanted_new(1);

	want_safe(w, "203.0.113.0/24");
	want_safe(w, "2001:db8::/32");
	if (enforce_packet_parse(&packet, data, size))
		return 0;
	for (uint32_t i = 0; i < packet.header.ops_n; i++)
		if (enforce_op_check(w, &packet.ops[i], NOW_MS) == ENFORCE_TAKEN)
			taken_is_harmless(&packet.ops[i]);
	return 0;
}
