/* SPDX-License-Identifier: MPL-2.0
 *
 * The folder that a store on disk lives in: made 0700, held by one process at a time, refused on
 * network file systems, and with a reserve: a preallocated file that is given back when the disk is
 * full, so that what makes room (deleting) has room to work in. Preallocation is a promise on ext4,
 * XFS and tmpfs; on copy-on-write file systems it is an attempt.
 */
#ifndef KBAN_STORE_FOLDER_H
#define KBAN_STORE_FOLDER_H

#include <sys/types.h>

#include "store/log.h"

struct folder {
	int fd;	  /* of the folder itself */
	int lock; /* flock()ed while open */
	bool has_reserve;
};

/* *error as store_lmdb_open() gives it. */
int folder_open(struct folder *f, const char *path, char **error) kban_must_check;
void folder_close(struct folder *f);
/* The folder's own entries and its entry in its parent are on disk when it returns 0. */
int folder_sync(const struct folder *f) kban_must_check;
/* Makes or enlarges a file to size bytes that the disk has room for: 0 or -errno, and then a file
 * that was there is as long as before. */
int folder_allocate(const struct folder *f, const char *name, off_t size) kban_must_check;
int folder_extend(int fd, off_t from, off_t to) kban_must_check;
/* Gives the reserve's room back; false when there was none. */
bool folder_reserve_free(struct folder *f);
/* Makes it again once there is twice the room for it. */
void folder_reserve_make(struct folder *f);

/* r means that there is no room, not that something is broken; r is -errno. */
bool folder_is_full(int r);
/* Formats the sentence into *error unless that is NULL, and returns result. */
int folder_refuse(char **error, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
