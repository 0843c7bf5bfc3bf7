/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/session.h"

#define COUNTER_TEXT 24

int lock_take(int *fd, const char *path)
{
	kban_auto(kban_close) int f = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (f < 0 || flock(f, LOCK_EX | LOCK_NB))
		return -errno;
	*fd = f;
	f = -1;
	return 0;
}

int counter_load(uint64_t *out, const char *path)
{
	kban_auto(kban_free) void *name = kban_asprintf("%s.counter", path);
	kban_auto(kban_close) int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[COUNTER_TEXT], *end;

	*out = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || text[0] < '0' || text[0] > '9' || strcmp(end, "\n") ? -EBADMSG : 0;
}

static int file_write(const char *name, const char *text, size_t n)
{
	kban_auto(kban_close) int fd = open(
		name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	ssize_t written = write(fd, text, n);
	if (written < 0)
		return -errno;
	if ((size_t)written != n)
		return -ENOSPC;
	return fsync(fd) ? -errno : 0;
}

int counter_save(const char *path, uint64_t value)
{
	kban_auto(kban_free) void *name = kban_asprintf("%s.counter", path);
	kban_auto(kban_free) void *fresh = kban_asprintf("%s.counter.new", path);
	kban_auto(kban_free) void *text = kban_asprintf("%" PRIu64 "\n", value);
	kban_auto(kban_free) void *copy = kban_strdup(path);
	int r = file_write(fresh, text, strlen(text));

	if (r)
		return r;
	if (rename(fresh, name))
		return -errno;
	kban_auto(kban_close) int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 || fsync(folder) ? -errno : 0;
}
