/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kban_message *m = NULL, *again = NULL;
	uint8_t *one, *two;
	size_t one_n, two_n;

	if (kban_message_decode(&m, data, size) == 0) {
		kban_message_encode(&one, &one_n, m);
		fuzz_must(kban_message_decode(&again, one, one_n) == 0);
		kban_message_encode(&two, &two_n, again);
		fuzz_must(one_n == two_n && !memcmp(one, two, one_n));
		free(one);
		free(two);
		kban_message_free(again);
	}
	kban_message_free(m);
	return 0;
}
