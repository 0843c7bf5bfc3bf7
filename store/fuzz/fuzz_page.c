/* SPDX-License-Identifier: MPL-2.0
 *
 * A page of a state, from a disk or from a broker: split into items, and those read as a state.
 * What is split without a fault is all of the page, and gives the same page again.
 */
#include <stdlib.h>
#include <string.h>

#include "store/pages.h"
#include "store/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
	if (!fact)
		abort();
}

struct again {
	size_t n;
	uint8_t *bytes;
	struct ledger_loading *loading;
	bool bad;
};

static int take_item(void *arg, struct kban_span item)
{
	struct again *a = arg;

	must(item.n > 0 && item.n <= 0xffff);
	a->bytes[a->n++] = (uint8_t)(item.n >> 8);
	a->bytes[a->n++] = (uint8_t)item.n;
	memcpy(a->bytes + a->n, item.p, item.n);
	a->n += item.n;
	if (!a->bad)
		a->bad = ledger_loading_item(a->loading, item) != 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct kban_key root = {{1}};
	kban_auto(kban_free) void *bytes = kban_zalloc(size + 1);
	kban_auto(ledger_loading_free) struct ledger_loading *loading = NULL;
	struct again a = {.bytes = bytes};

	ledger_loading_new(&loading, &root);
	a.loading = loading;
	int r = page_each(kban_span(data, size), take_item, &a);
	must(!r || r == STORE_DAMAGED);
	must(!memcmp(bytes, data, a.n));
	must(r || a.n == size);
	return 0;
}
