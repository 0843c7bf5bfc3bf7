/* SPDX-License-Identifier: MPL-2.0 */
#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "proto/log.h"

#define RESERVE_NAME "reserve"
#define RESERVE_SIZE (4 * 1024 * 1024)

/* Those that linux/magic.h does not name. */
#define MAGIC_LUSTRE   0x0BD00BD0U
#define MAGIC_GFS2     0x01161970U
#define MAGIC_OCFS2    0x7461636FU
#define MAGIC_ORANGEFS 0x20030528U
#define MAGIC_VBOXSF   0x786F4256U

/* statfs(2). FUSE and 9P can be local, but neither says so, and sshfs and a host's share look the
 * same. */
static const struct {
	uint32_t magic;
	const char *name;
} network_types[] = {
	{NFS_SUPER_MAGIC, "NFS"},     {SMB_SUPER_MAGIC, "SMB"},	  {CIFS_SUPER_MAGIC, "CIFS"},
	{SMB2_SUPER_MAGIC, "SMB2"},   {AFS_SUPER_MAGIC, "AFS"},	  {AFS_FS_MAGIC, "AFS"},
	{CODA_SUPER_MAGIC, "Coda"},   {NCP_SUPER_MAGIC, "NCP"},	  {V9FS_MAGIC, "9P"},
	{FUSE_SUPER_MAGIC, "FUSE"},   {CEPH_SUPER_MAGIC, "Ceph"}, {MAGIC_LUSTRE, "Lustre"},
	{MAGIC_GFS2, "GFS2"},	      {MAGIC_OCFS2, "OCFS2"},	  {MAGIC_ORANGEFS, "OrangeFS"},
	{MAGIC_VBOXSF, "VirtualBox"},
};

int folder_refuse(char **error, int result, const char *format, ...)
{
	va_list args;

	if (!error)
		return result;
	va_start(args, format);
	int n = vasprintf(error, format, args);
	va_end(args);
	if (n < 0)
		abort();
	return result;
}

bool folder_is_full(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EFBIG;
}

static int folder_make(struct folder *f, const char *path, char **error)
{
	if (mkdir(path, 0700) && errno != EEXIST) {
		int r = -errno;
		return folder_refuse(error, folder_is_full(r) ? STORE_FULL : r,
				     "can't make the folder %s: %s; make the folder above it, or "
				     "name another one",
				     path, strerror(-r));
	}
	f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->fd < 0) {
		int r = -errno;
		return folder_refuse(error, r,
				     "can't open the folder %s: %s; it must belong to "
				     "the user that this program runs as",
				     path, strerror(-r));
	}
	return 0;
}

static int folder_check_type(const struct folder *f, const char *path, char **error)
{
	struct statfs st;

	if (fstatfs(f->fd, &st)) {
		int r = -errno;
		return folder_refuse(error, r, "can't tell which file system %s is on: %s", path,
				     strerror(-r));
	}
	for (size_t i = 0; i < KBAN_ARRAY_LEN(network_types); i++) {
		if ((uint32_t)st.f_type == network_types[i].magic)
			return folder_refuse(
				error, STORE_NETWORK_FS,
				"%s is on a network file system (%s), where locks and "
				"mapped files can't be trusted; put it on a local disk",
				path, network_types[i].name);
	}
	return 0;
}

static int folder_in_use(const struct folder *f, const char *path, char **error)
{
	char text[16] = "";
	ssize_t n = pread(f->lock, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	if (pid > 0)
		return folder_refuse(error, STORE_IN_USE,
				     "%s is in use by process %ld; stop that one first, or name "
				     "another folder",
				     path, pid);
	return folder_refuse(error, STORE_IN_USE,
			     "%s is in use by another process; stop that one first, or name "
			     "another folder",
			     path);
}

/* The number is for people, the lock is what counts: a full disk may keep it from being written. */
static void folder_sign(const struct folder *f)
{
	if (ftruncate(f->lock, 0) || dprintf(f->lock, "%ld\n", (long)getpid()) < 0)
		kban_debug("store: the lock file holds no process id: %s", strerror(errno));
}

static int folder_lock(struct folder *f, const char *path, char **error)
{
	f->lock = openat(f->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->lock >= 0 && !flock(f->lock, LOCK_EX | LOCK_NB)) {
		folder_sign(f);
		return 0;
	}
	int r = -errno;
	if (f->lock >= 0 && r == -EWOULDBLOCK)
		return folder_in_use(f, path, error);
	return folder_refuse(
		error, folder_is_full(r) ? STORE_FULL : r,
		"can't lock %s/lock: %s; the folder must be writable for the user that "
		"this program runs as, and have room",
		path, strerror(-r));
}

int folder_open(struct folder *f, const char *path, char **error)
{
	*f = (struct folder){.fd = -1, .lock = -1};
	int r = folder_make(f, path, error);
	if (!r)
		r = folder_check_type(f, path, error);
	if (!r)
		r = folder_lock(f, path, error);
	if (r)
		folder_close(f);
	else
		folder_reserve_make(f);
	return r;
}

void folder_close(struct folder *f)
{
	kban_close(f->lock);
	kban_close(f->fd);
	f->lock = f->fd = -1;
}

int folder_sync(const struct folder *f)
{
	if (fsync(f->fd))
		return -errno;
	kban_auto(kban_close) int parent = openat(f->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* One that may be passed through but not read can't be opened: then the whole file system.
	 */
	int r = parent < 0 ? syncfs(f->fd) : fsync(parent);
	return r ? -errno : 0;
}

int folder_extend(int fd, off_t from, off_t to)
{
	int r;

	do
		r = posix_fallocate(fd, from, to - from);
	while (r == EINTR);
	if (!r)
		return 0;
	/* What a failed attempt has taken would be missing elsewhere. */
	if (ftruncate(fd, from))
		kban_warning("store: can't cut back what could not be allocated: %s",
			     strerror(errno));
	return -r;
}

int folder_allocate(const struct folder *f, const char *name, off_t size)
{
	kban_auto(kban_close) int fd = openat(f->fd, name,
					      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (st.st_size >= size && st.st_blocks * 512 >= size)
		return 0;
	int r;
	do
		r = posix_fallocate(fd, 0, size);
	while (r == EINTR);
	if (r && ftruncate(fd, st.st_size))
		return -errno;
	return -r;
}

bool folder_reserve_free(struct folder *f)
{
	bool had = f->has_reserve;

	f->has_reserve = false;
	if (!had || unlinkat(f->fd, RESERVE_NAME, 0))
		return false;
	kban_warning("store: the disk is full; its reserve of %d MiB was freed for deleting",
		     RESERVE_SIZE >> 20);
	return true;
}

static bool folder_has_room(const struct folder *f, uint64_t bytes)
{
	struct statvfs st;

	return !fstatvfs(f->fd, &st) && (uint64_t)st.f_bavail * st.f_frsize >= bytes;
}

static bool folder_holds_reserve(const struct folder *f)
{
	struct stat st;

	return !fstatat(f->fd, RESERVE_NAME, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
	       st.st_size >= RESERVE_SIZE && st.st_blocks * 512 >= RESERVE_SIZE;
}

void folder_reserve_make(struct folder *f)
{
	if (f->has_reserve)
		return;
	if (folder_holds_reserve(f)) {
		f->has_reserve = true;
		return;
	}
	if (!folder_has_room(f, 2 * (uint64_t)RESERVE_SIZE))
		return;
	f->has_reserve = !folder_allocate(f, RESERVE_NAME, RESERVE_SIZE);
	if (!f->has_reserve)
		unlinkat(f->fd, RESERVE_NAME, 0);
}
