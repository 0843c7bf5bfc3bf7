/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (1U << 20)

struct reader {
	const struct lines_calls *calls;
	size_t kept;	/* bytes of an unfinished line at the buffer's start */
	bool long_line; /* the rest of it is skipped */
	char buffer[LINES_LINE_MAX + READ_SIZE];
};

static void line_end(struct reader *r, const char *p, size_t n)
{
	bool too_long = r->long_line || n > LINES_LINE_MAX;

	if (n && p[n - 1] == '\r')
		n--;
	r->calls->line(r->calls->arg, too_long ? NULL : p, too_long ? 0 : n);
	r->long_line = false;
}

static void bytes_take(struct reader *r, size_t len)
{
	const char *p = r->buffer, *end = r->buffer + len, *newline;

	while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
		line_end(r, p, (size_t)(newline - p));
		p = newline + 1;
	}
	r->kept = (size_t)(end - p);
	if (r->kept > LINES_LINE_MAX) {
		r->long_line = true;
		r->kept = 0;
	}
	memmove(r->buffer, p, r->kept);
}

/* Waits for what comes first. A regular file is always ready. */
static bool asked_to_stop(int fd, int stop_fd)
{
	struct pollfd p[] = {{.fd = stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

	if (stop_fd < 0)
		return false;
	while (poll(p, KBAN_ARRAY_LEN(p), -1) < 0 && errno == EINTR)
		;
	return p[0].revents != 0;
}

static ssize_t read_some(struct reader *r, int fd)
{
	ssize_t n;

	do
		n = read(fd, r->buffer + r->kept, READ_SIZE);
	while (n < 0 && errno == EINTR);
	return n;
}

int lines_read(int fd, const struct lines_calls *calls)
{
	kban_auto(kban_free) void *memory = kban_zalloc(sizeof(struct reader));
	struct reader *r = memory;

	r->calls = calls;
	for (;;) {
		if (asked_to_stop(fd, calls->stop_fd))
			return LINES_STOPPED;
		ssize_t n = read_some(r, fd);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		bytes_take(r, r->kept + (size_t)n);
		if (!calls->read(calls->arg, (size_t)n))
			return LINES_STOPPED;
	}
	if (r->kept || r->long_line) /* the last line has no newline */
		line_end(r, r->buffer, r->kept);
	return 0;
}
