/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mem.h"
#include "proto/utf8.h"

#define LINE_SIZE 4096 /* journald cuts lines at 48 KiB; nothing of ours is near that */

static struct {
	char program[32];
	enum kban_level max;
	bool journal;
} logger = {"kban", KBAN_LOG_INFO, false};

/* systemd.exec(5): JOURNAL_STREAM holds the device and inode of the journal's stream. A program
 * whose stderr was redirected since inherits the variable without the stream. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void kban_log_setup(const char *program, enum kban_level max)
{
	snprintf(logger.program, sizeof(logger.program), "%s", program);
	logger.max = max;
	logger.journal = stderr_is_journal();
}

static const char *level_name(enum kban_level level)
{
	switch (level) {
	case KBAN_LOG_ERROR:
		return "error: ";
	case KBAN_LOG_WARNING:
		return "warning: ";
	case KBAN_LOG_INFO:
		return "";
	case KBAN_LOG_DEBUG:
		return "debug: ";
	}
	return "";
}

/* One line in, one line out: a stray newline must not start a line that looks like another message.
 */
static void flatten(char *line)
{
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
}

void kban_log(enum kban_level level, const char *format, ...)
{
	char line[LINE_SIZE];
	va_list args;
	int n;

	if (level > logger.max)
		return;
	if (logger.journal)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		n = snprintf(line, sizeof(line), "%s: %s", logger.program, level_name(level));
	va_start(args, format);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	flatten(line);
	size_t len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere left to say so */
}

/* Characters that are valid but show as nothing, or change how their neighbours show: C1 controls,
 * soft hyphen, zero-width and bidirectional marks, separators, interlinear and tag characters,
 * private use, noncharacters. Sorted. */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{0x80, 0x9f},	     {0xad, 0xad},	 {0x61c, 0x61c},     {0x115f, 0x1160},
	{0x17b4, 0x17b5},    {0x180b, 0x180f},	 {0x200b, 0x200f},   {0x2028, 0x202e},
	{0x2060, 0x206f},    {0x3164, 0x3164},	 {0xe000, 0xf8ff},   {0xfdd0, 0xfdef},
	{0xfe00, 0xfe0f},    {0xfeff, 0xfeff},	 {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
	{0xfffe, 0xffff},    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
	{0xf0000, 0x10ffff},
};

static bool printable(uint32_t code)
{
	if (code < 0x7f)
		return code >= 0x20 && code != '\\';
	if (code == 0x7f || (code & 0xfffe) == 0xfffe)
		return false;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(hidden) && hidden[i].first <= code; i++)
		if (code <= hidden[i].last)
			return false;
	return true;
}

size_t kban_escape(char *out, size_t out_size, const void *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *s = bytes;
	size_t written = 0;

	for (size_t i = 0; i < len;) {
		uint32_t code;
		size_t step = utf8_step(s + i, len - i, &code);
		bool plain = step && printable(code);
		size_t taken = step ? step : 1;
		size_t need = plain ? taken : taken * 4;
		if (written + need >= out_size)
			break;
		if (plain)
			memcpy(out + written, s + i, taken);
		for (size_t k = 0; !plain && k < taken; k++)
			memcpy(out + written + k * 4,
			       (char[]){'\\', 'x', hex[s[i + k] >> 4], hex[s[i + k] & 15]}, 4);
		written += need;
		i += taken;
	}
	if (out_size)
		out[written] = 0;
	return written;
}
