/* SPDX-License-Identifier: MPL-2.0
 *
 * One step of UTF-8, for what validates and what escapes texts (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). Private to proto/.
 */
#ifndef KBAN_PROTO_UTF8_H
#define KBAN_PROTO_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at s[0..n), n >= 1: its length in bytes and *code; 0 when it is not valid. */
static inline size_t utf8_step(const uint8_t *s, size_t n, uint32_t *code)
{
	static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80   ? 1
		     : s[0] < 0xc2 ? 0
		     : s[0] < 0xe0 ? 2
		     : s[0] < 0xf0 ? 3
		     : s[0] < 0xf5 ? 4
				   : 0;

	if (len <= 1 || len > n) {
		*code = s[0];
		return len > n ? 0 : len;
	}
	uint32_t c = s[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	*code = c;
	return c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

#endif
