/* SPDX-License-Identifier: MPL-2.0
 *
 * A disk under control: a test program that includes this file interposes the system calls with
 * which LMDB writes. Calls on data.mdb are counted, made to fail, and recorded.
 */
#ifndef KBAN_STORE_TEST_DISK_H
#define KBAN_STORE_TEST_DISK_H

#include <sys/syscall.h>
#include <sys/uio.h>

#include "store/test/test_folder.h"

enum call { CALL_SYNC, CALL_WRITE, CALL_META, CALL_ALLOCATE, CALLS };

enum {
	CUT_SHORT = -1,	       /* a write of half */
	FULL_UNTIL_FREED = -2, /* no room as long as the reserve is there */
};

static struct {
	unsigned count[CALLS]; /* on data.mdb; a write through O_DSYNC is CALL_META */
	int fail_with[CALLS];  /* errno; or one of these: */
	ino_t synced[8];       /* folders */
	unsigned synced_n;
	bool skip_sync; /* count only */
	bool recording;
} disk;

enum { EVENT_WRITE, EVENT_DURABLE_WRITE, EVENT_EXTEND, EVENT_SYNC };

struct event {
	int kind;
	off_t at; /* EVENT_EXTEND: the new length */
	size_t len;
	uint8_t *bytes;
};

static struct event events[4096];
static size_t events_n;

static void record_event(int kind, off_t at, const void *bytes, size_t len)
{
	if (!disk.recording)
		return;
	assert_true(events_n < KBAN_ARRAY_LEN(events));
	events[events_n++] = (struct event){kind, at, len, len ? kban_memdup(bytes, len) : NULL};
}

static bool is_data(int fd)
{
	struct stat file, data;

	return !fstat(fd, &file) && !stat(in_folder("data.mdb"), &data) &&
	       file.st_ino == data.st_ino && file.st_dev == data.st_dev;
}

/* Counts the call; nonzero: it has to fail so. */
static int disk_call(enum call c)
{
	disk.count[c]++;
	return disk.fail_with[c];
}

static int disk_sync(int fd, long number)
{
	if (is_data(fd)) {
		int e = disk_call(CALL_SYNC);
		if (e) {
			errno = e;
			return -1;
		}
		record_event(EVENT_SYNC, 0, NULL, 0);
	}
	return disk.skip_sync ? 0 : (int)syscall(number, fd);
}

int fdatasync(int fd)
{
	return disk_sync(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	struct stat st;

	if (!fstat(fd, &st) && S_ISDIR(st.st_mode) && disk.synced_n < KBAN_ARRAY_LEN(disk.synced))
		disk.synced[disk.synced_n++] = st.st_ino;
	return disk_sync(fd, SYS_fsync);
}

/* How many of n bytes are to be written; -1 with errno: none, it fails. */
static ssize_t disk_allows(int fd, bool durable, size_t n)
{
	if (!is_data(fd))
		return (ssize_t)n;
	int e = disk_call(durable ? CALL_META : CALL_WRITE);
	if (e > 0) {
		errno = e;
		return -1;
	}
	return e ? (ssize_t)n / 2 : (ssize_t)n;
}

static bool is_durable(int fd)
{
	return fcntl(fd, F_GETFL) & O_DSYNC;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
	bool durable = is_durable(fd);
	ssize_t allowed = disk_allows(fd, durable, n);

	if (allowed < 0)
		return -1;
	if (is_data(fd))
		record_event(durable ? EVENT_DURABLE_WRITE : EVENT_WRITE, at, bytes,
			     (size_t)allowed);
	return syscall(SYS_pwrite64, fd, bytes, (size_t)allowed, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	size_t total = 0, done = 0;

	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	ssize_t allowed = is_data(fd) ? disk_allows(fd, false, total) : (ssize_t)total;
	if (allowed < 0)
		return -1;
	if (!is_data(fd))
		return syscall(SYS_writev, fd, v, n);
	for (int i = 0; i < n && done < (size_t)allowed; i++) {
		size_t piece = (size_t)allowed - done < v[i].iov_len ? (size_t)allowed - done
								     : v[i].iov_len;
		record_event(EVENT_WRITE, at + (off_t)done, v[i].iov_base, piece);
		if (syscall(SYS_write, fd, v[i].iov_base, piece) != (long)piece)
			return -1;
		done += piece;
	}
	return allowed;
}

/* ext4 keeps what it could allocate before it found no more. */
static void part_allocate(int fd, off_t len)
{
	struct stat st;

	if (!fstat(fd, &st) && st.st_size < len)
		syscall(SYS_ftruncate, fd, len);
}

int posix_fallocate(int fd, off_t from, off_t len)
{
	if (is_data(fd)) {
		int e = disk_call(CALL_ALLOCATE);
		if (e == FULL_UNTIL_FREED)
			e = access(in_folder("reserve"), F_OK) ? 0 : ENOSPC;
		if (e > 0)
			part_allocate(fd, from + len / 2);
		if (e)
			return e;
		record_event(EVENT_EXTEND, from + len, NULL, 0);
	}
	return syscall(SYS_fallocate, fd, 0, from, len) ? errno : 0;
}

#endif
