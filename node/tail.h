/* SPDX-License-Identifier: MPL-2.0
 *
 * Follows one log file line by line through rotation by rename, by truncation and by replacement, and
 * resumes exactly where it was. No line is read twice or skipped, except that what was written to a file
 * that was truncated or deleted before we could read it is lost (counted when it can be known).
 *
 * A position is (file identity, offset): identity is device, inode and a hash of the file's first bytes, so
 * that an inode that is used again or a file copied back is not taken for the old one. Offsets count bytes of
 * that file from its start; a line's offset is that of its first byte.
 */
#ifndef KBAN_NODE_TAIL_H
#define KBAN_NODE_TAIL_H

#include "proto/key.h"

#define TAIL_LINE_MAX 65536 /* bytes; a longer line is skipped whole and counted */
#define TAIL_HEAD_MAX 256   /* bytes of the file's start that its identity covers */

struct tail;

struct tail_position { /* fixed-size so that it can be stored as it is (FORMAT.md) */
	uint64_t device, inode;
	uint32_t head_len;	/* bytes of the start covered by head_hash, <= TAIL_HEAD_MAX */
	uint8_t head_hash[32];
	uint64_t offset;
};

struct tail_line {
	const char *text; /* without newline and carriage return; any bytes; not NUL-terminated */
	size_t len;
	struct tail_position at; /* of its first byte */
};

enum tail_state {
	TAIL_OK,
	TAIL_MISSING,	 /* the file is not there (yet) */
	TAIL_UNREADABLE, /* it is, and we may not read it */
};

struct tail_stats {
	uint64_t lines, bytes, too_long, rotations, truncations;
	enum tail_state state;
};

enum tail_start {
	TAIL_FROM_END,
	TAIL_FROM_BEGINNING,
};

/* Opens what is there; a missing file is a state, not an error. resume may be NULL; when its file can't be
 * found any more (not PATH, nor PATH.0, PATH.1 in the same folder), reading starts at the beginning of
 * PATH, since all of it is new. */
int tail_new(struct tail **out, const char *path, const struct tail_position *resume, enum tail_start start)
	kban_must_check;
void tail_free(struct tail *t);
KBAN_DEFINE_AUTO(struct tail *, tail_free)

/* An inotify descriptor to poll; call tail_read() when it is readable, and once a second besides. */
int tail_fd(const struct tail *t);
/* Calls fn for at most max_lines complete lines. Returns how many, or -errno. An unfinished last line
 * waits for its newline. */
int tail_read(struct tail *t, size_t max_lines, void (*fn)(void *arg, const struct tail_line *line), void *arg)
	kban_must_check;
/* Where the next line will be read. */
void tail_position(const struct tail *t, struct tail_position *out);
const struct tail_stats *tail_stats(const struct tail *t);
/* p is a place in the file that is open now, from which the line in hand comes. Unlike tail_same_file() it can
 * compare beginnings of different lengths: an inode that is used again at once is not taken for the old file. */
bool tail_is_in(const struct tail *t, const struct tail_position *p);
/* a and b are places in the same file, as far as they tell. */
bool tail_same_file(const struct tail_position *a, const struct tail_position *b);

#endif
