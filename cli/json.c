/* SPDX-License-Identifier: MPL-2.0
 *
 * JSON strings (RFC 8259) of any bytes.
 */
#include <string.h>

#include "cli/output.h"

/* The length of the well-formed UTF-8 character (RFC 3629) at s, and its code point; 0: there is
 * none. */
static size_t utf8_next(const unsigned char *s, size_t n, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80       ? 1
		     : s[0] >> 5 == 6  ? 2
		     : s[0] >> 4 == 14 ? 3
		     : s[0] >> 3 == 30 ? 4
				       : 0;

	if (!len || len > n)
		return 0;
	*cp = len == 1 ? s[0] : s[0] & (0xffU >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3fU);
	}
	if (*cp < least[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return len;
}

/* What could harm a terminal or deceive the reader of one: controls, bidirectional marks,
 * separators. */
static bool unprintable(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || cp == 0x00ad ||
	       (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
	       (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff || (cp >= 0xfff9 && cp <= 0xfffb) ||
	       (cp >= 0xe0000 && cp <= 0xe007f);
}

static void code_unit(FILE *f, uint32_t cp)
{
	if (cp > 0xffff) {
		fprintf(f, "\\u%04x", 0xd800 + ((cp - 0x10000) >> 10));
		cp = 0xdc00 + ((cp - 0x10000) & 0x3ff);
	}
	fprintf(f, "\\u%04x", cp);
}

void output_json_string(FILE *f, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	putc_unlocked('"', f);
	while (n) {
		uint32_t cp = 0;
		size_t len = utf8_next(p, n, &cp);
		if (!len)
			fputs("\\ufffd", f);
		else if (unprintable(cp))
			code_unit(f, cp);
		else if (cp == '"' || cp == '\\')
			fprintf(f, "\\%c", (int)cp);
		else
			fwrite_unlocked(p, 1, len, f);
		p += len ? len : 1;
		n -= len ? len : 1;
	}
	putc_unlocked('"', f);
}
