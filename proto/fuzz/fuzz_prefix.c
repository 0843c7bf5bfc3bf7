/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/prefix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix p, again;

	if (kban_prefix_parse_n(&p, (const char *)data, size) == KBAN_PREFIX_MALFORMED)
		return 0;
	fuzz_must(kban_prefix_parse(&again, kban_prefix_format(&p, text)) == 0);
	fuzz_must(kban_prefix_equal(&p, &again) && kban_prefix_covers(&p, &again));
	return 0;
}
