/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kban_report *r;
	uint8_t *bytes;
	size_t n;

	if (kban_event_decode(&r, data, size))
		return 0;
	fuzz_must(kban_event_encode(&bytes, &n, &r->events[0]) == 0);
	fuzz_must(n == size && !memcmp(bytes, data, n) && kban_event_size(&r->events[0]) > n);
	free(bytes);
	kban_report_free(r);
	return 0;
}
