/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kban_identity id, again;
	unsigned line;

	if (kban_identity_parse(&id, (const char *)data, size, &line))
		return 0;
	char *one = kban_identity_format(&id);
	fuzz_must(kban_identity_parse(&again, one, strlen(one), &line) == 0);
	char *two = kban_identity_format(&again);
	fuzz_must(!strcmp(one, two));
	free(one);
	free(two);
	return 0;
}
