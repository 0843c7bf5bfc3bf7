/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/accept.h"

#include <stdio.h>
#include <string.h>

#include "proto/key.h"

char *kban_accept_format(char out[KBAN_ACCEPT_TEXT], uint64_t seq, const struct kban_hash *digest)
{
	char hex[KBAN_HEX(KBAN_HASH_SIZE)];

	snprintf(out, KBAN_ACCEPT_TEXT, "accepts entry %llu with digest %s",
		 (unsigned long long)seq, kban_hex(hex, digest->b, KBAN_HASH_SIZE));
	return out;
}

/* Only what formats to the same again. */
bool kban_accept_parse(uint64_t *seq, struct kban_hash *digest, const struct kban_text *reason)
{
	char text[KBAN_ACCEPT_TEXT] = "", again[KBAN_ACCEPT_TEXT], hex[KBAN_HEX(KBAN_HASH_SIZE)];
	unsigned long long n;

	if (reason->n >= sizeof(text))
		return false;
	if (reason->n)
		memcpy(text, reason->s, reason->n);
	if (sscanf(text, "accepts entry %20llu with digest %64[0-9a-f]", &n, hex) != 2 ||
	    !kban_unhex(digest->b, sizeof(digest->b), hex))
		return false;
	*seq = n;
	return !strcmp(kban_accept_format(again, n, digest), text);
}
