/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *or_die(void *p)
{
	if (!p) {
		fputs("kban: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *kban_zalloc(size_t size)
{
	return or_die(calloc(1, size ? size : 1));
}

void *kban_realloc(void *p, size_t size)
{
	return or_die(realloc(p, size ? size : 1));
}

void *kban_memdup(const void *p, size_t size)
{
	void *copy = kban_zalloc(size);

	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *kban_strdup(const char *s)
{
	return or_die(strdup(s));
}

char *kban_asprintf(const char *format, ...)
{
	char *s = NULL;
	va_list args;

	va_start(args, format);
	int n = vasprintf(&s, format, args);
	va_end(args);
	return or_die(n < 0 ? NULL : s);
}

int kban_explain(char **error, int result, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vasprintf(error, format, args);
	va_end(args);
	(void)or_die(n < 0 ? NULL : *error);
	return result;
}

void kban_free(void *p)
{
	free(p);
}

void kban_close(int fd)
{
	if (fd >= 0)
		close(fd);
}
