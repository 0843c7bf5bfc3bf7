/* SPDX-License-Identifier: MPL-2.0
 *
 * The lines of a file or pipe of any size, in constant memory: big reads, and no copy of a line but
 * of the piece that the next read completes. A line longer than what a node reads (LINES_LINE_MAX)
 * is, as there, no line of any rule: it is handed over without its text.
 */
#ifndef KBAN_CLI_LINES_H
#define KBAN_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/mem.h"

#define LINES_LINE_MAX 65536

enum lines_result {
	LINES_STOPPED = 1,
};

struct lines_calls {
	/* One line without its newline and a carriage return before it; NULL: it was too long. */
	void (*line)(void *arg, const char *line, size_t len);
	/* After each read of n bytes; false ends the reading. */
	bool (*read)(void *arg, size_t n);
	void *arg;
	int stop_fd; /* reading ends when this is readable; -1: none */
};

/* 0, LINES_STOPPED, or -errno. */
int lines_read(int fd, const struct lines_calls *calls) kban_must_check;

#endif
