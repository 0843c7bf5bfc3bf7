/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include <sodium.h>

#include "proto/identity.h"

static void try_text(const char *text, size_t n)
{
	struct kban_token t, again;

	if (kban_token_parse(&t, text, n))
		return;
	char *one = kban_token_format(&t);
	fuzz_must(kban_token_parse(&again, one, strlen(one)) == 0);
	char *two = kban_token_format(&again);
	fuzz_must(!strcmp(one, two));
	free(one);
	free(two);
}

/* As a token's text, and as its bytes with the right check, which no fuzzer would guess. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[1400];
	char text[KBAN_TOKEN_MAX + 1] = "kban1.";
	struct kban_span span = kban_span(data, size);
	struct kban_hash hash;

	try_text((const char *)data, size);
	if (size > sizeof(raw) - 4)
		return 0;
	kban_hash_spans(&hash, "kban token v1", &span, 1);
	memcpy(raw, data, size);
	memcpy(raw + size, hash.b, 4);
	sodium_bin2base64(text + 6, sizeof(text) - 6, raw, size + 4,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	try_text(text, strlen(text));
	return 0;
}
