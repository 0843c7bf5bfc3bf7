/* SPDX-License-Identifier: MPL-2.0
 *
 * The state of the world is read with stat(), never from inotify's events, which may be merged or lost: they
 * only wake us. Each step is safe against a writer who rotates meanwhile:
 *
 * - Truncation: after every read, and before a line of it is used, the file's first bytes are compared with
 *   those that were there; who truncates and writes anew changes them first.
 * - Rotation: at a file's end the names are listed twice; two equal lists are a state that existed. Only when a
 *   successor is there and has bytes is the old file read once more to its end, and left.
 *
 * An unfinished last line of a file that is left is dropped: a cut line may end in half an address.
 */
#include "node/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE  (256U * 1024U)
#define NAMES	     11 /* PATH and PATH.0 to PATH.9 */
#define LIST_TRIES   100
#define FILE_EVENTS  (IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)
#define FOLDER_EVENTS                                                                                         \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR)

struct tail {
	char *path, *folder;
	int inotify, folder_watch, file_watch;
	int fd; /* -1: none */
	uint64_t device, inode;
	uint8_t head[TAIL_HEAD_MAX];
	uint32_t head_len;
	uint8_t head_hash[32];
	uint64_t line_start; /* offset of the next line */
	bool skipping;	     /* ... which is no line of ours: forget it up to its newline */
	uint64_t read_at;    /* offset behind the bytes in buffer */
	size_t pos, end;     /* what is unread in buffer */
	char *buffer;
	enum tail_start start;
	bool resuming; /* resume is where to go on as soon as a file can be opened */
	struct tail_position resume;
	struct tail_stats stats;
};

/* A name's file; NAMES of them are a listing, from PATH, the youngest, to PATH.9. */
struct name {
	bool there;
	uint64_t device, inode;
	struct timespec written;
	uint64_t size;
};

static char *name_path(const struct tail *t, int i)
{
	return i ? kban_asprintf("%s.%d", t->path, i - 1) : kban_strdup(t->path);
}

static void name_read(const struct tail *t, int i, struct name *out)
{
	kban_auto(kban_free) void *path = name_path(t, i);
	struct stat st;

	*out = (struct name){0};
	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return;
	*out = (struct name){true, st.st_dev, st.st_ino, st.st_mtim, (uint64_t)st.st_size};
}

static bool name_same(const struct name *a, const struct name *b)
{
	return a->there == b->there && a->device == b->device && a->inode == b->inode;
}

/* A state of the names that existed at one moment. False: they change too fast, look again later. */
static bool names_list(const struct tail *t, struct name out[NAMES])
{
	struct name before[NAMES] = {0};

	for (int tries = 0; tries < LIST_TRIES; tries++) {
		bool same = tries > 0;
		for (int i = 0; i < NAMES; i++) {
			name_read(t, i, &out[i]);
			same = same && name_same(&out[i], &before[i]);
		}
		if (same)
			return true;
		memcpy(before, out, sizeof(before));
	}
	return false;
}

static bool younger_than(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* The file that was begun after the one that is open: the next younger name, of numbers that count from 0 or
 * from 1. When the open file's name is gone, whatever was written to later; -1 when there is none. */
static int names_successor(const struct tail *t, const struct name names[NAMES])
{
	struct stat st;
	int own = NAMES;

	for (int i = 0; i < NAMES && own == NAMES; i++) {
		if (names[i].there && names[i].device == t->device && names[i].inode == t->inode)
			own = i;
	}
	if (own == NAMES && fstat(t->fd, &st))
		return -1;
	for (int i = own - 1; i >= 0; i--) {
		if (names[i].there && (own < NAMES || i == 0 || younger_than(&names[i].written, &st.st_mtim)))
			return i;
	}
	return -1;
}

static void watch_remove(struct tail *t, int *watch)
{
	if (*watch >= 0)
		inotify_rm_watch(t->inotify, *watch);
	*watch = -1;
}

static void watch_folder(struct tail *t)
{
	if (t->folder_watch < 0)
		t->folder_watch = inotify_add_watch(t->inotify, t->folder, FOLDER_EVENTS);
}

/* By descriptor: the name may be another file's by now. */
static void watch_file(struct tail *t)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	t->file_watch = inotify_add_watch(t->inotify, path, FILE_EVENTS);
	if (t->file_watch < 0)
		t->file_watch = inotify_add_watch(t->inotify, t->path, FILE_EVENTS);
}

/* A watch ends with its folder or file. A folder that moved away is not ours any more. */
static void events_drain(struct tail *t)
{
	_Alignas(struct inotify_event) char events[8192];
	ssize_t n;

	while ((n = read(t->inotify, events, sizeof(events))) > 0) {
		for (char *p = events; p < events + n;) {
			const struct inotify_event *e = (const void *)p;
			p += sizeof(*e) + e->len;
			if (e->wd == t->file_watch && e->mask & IN_IGNORED)
				t->file_watch = -1;
			if (e->wd != t->folder_watch)
				continue;
			if (e->mask & IN_IGNORED)
				t->folder_watch = -1;
			else if (e->mask & IN_MOVE_SELF)
				watch_remove(t, &t->folder_watch);
		}
	}
}

static void head_hashed(uint8_t out[32], const uint8_t *head, size_t len)
{
	struct kban_hash h;
	struct kban_span span = kban_span(head, len);

	kban_hash_spans(&h, "kban tail head v1", &span, 1);
	memcpy(out, h.b, sizeof(h.b));
}

/* Reads up to n bytes at an offset, fewer only at the end. */
static ssize_t read_at(int fd, void *out, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)out + done, n - done, (off_t)(offset + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/* Begins the open file at an offset, whose line may be no whole one. */
static void file_seek(struct tail *t, uint64_t offset)
{
	char before = '\n';

	t->line_start = t->read_at = offset;
	t->pos = t->end = 0;
	t->skipping = offset && (read_at(t->fd, &before, 1, offset - 1) != 1 || (before && before != '\n'));
}

/* Takes in what there is of the first bytes. False: they are others than before. */
static bool head_check(struct tail *t)
{
	uint8_t now[TAIL_HEAD_MAX];
	ssize_t n = read_at(t->fd, now, sizeof(now), 0);

	if (n < (ssize_t)t->head_len || memcmp(now, t->head, t->head_len) != 0)
		return false;
	if (n > (ssize_t)t->head_len) {
		memcpy(t->head, now, (size_t)n);
		t->head_len = (uint32_t)n;
		head_hashed(t->head_hash, t->head, t->head_len);
	}
	return true;
}

static void head_forget(struct tail *t)
{
	t->head_len = 0;
	head_hashed(t->head_hash, t->head, 0);
}

static void file_close(struct tail *t)
{
	watch_remove(t, &t->file_watch);
	kban_close(t->fd);
	t->fd = -1;
}

/* Makes fd (kept) the file that is read, from an offset. */
static void file_take(struct tail *t, int fd, const struct stat *st, uint64_t offset)
{
	file_close(t);
	t->fd = fd;
	t->device = st->st_dev;
	t->inode = st->st_ino;
	head_forget(t);
	(void)head_check(t);
	file_seek(t, offset);
	watch_file(t);
}

/* Opens a regular file to read; -errno. */
static int file_open(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return -EISDIR;
}

static enum tail_state state_of(int r)
{
	if (r >= 0)
		return TAIL_OK;
	return r == -ENOENT || r == -ENOTDIR ? TAIL_MISSING : TAIL_UNREADABLE;
}

/* The offset behind the last newline: an unfinished last line is still to come. */
static uint64_t last_line(const struct tail *t, int fd, uint64_t size)
{
	while (size) {
		uint64_t from = size > BUFFER_SIZE ? size - BUFFER_SIZE : 0;
		ssize_t n = read_at(fd, t->buffer, size - from, from);
		if (n <= 0)
			return size;
		const char *newline = memrchr(t->buffer, '\n', (size_t)n);
		if (newline)
			return from + (uint64_t)(newline - t->buffer) + 1;
		size = from;
	}
	return 0;
}

/* PATH itself. What appears later than we is new from its first byte. */
static void path_open(struct tail *t)
{
	struct stat st;
	int fd = file_open(t->path, &st);

	t->stats.state = state_of(fd);
	if (t->stats.state == TAIL_MISSING)
		t->start = TAIL_FROM_BEGINNING;
	if (fd < 0)
		return;
	file_take(t, fd, &st, t->start == TAIL_FROM_END ? last_line(t, fd, (uint64_t)st.st_size) : 0);
	t->resuming = false;
}

/* The open file begins as the one of a position did. */
static bool head_is(const struct tail *t, const struct tail_position *p)
{
	uint8_t hash[32];

	if (p->head_len > t->head_len)
		return false;
	head_hashed(hash, t->head, p->head_len);
	return memcmp(hash, p->head_hash, sizeof(hash)) == 0;
}

/* Goes on in the file of the position, if this name is it. */
static bool name_resume(struct tail *t, int i)
{
	const struct tail_position *p = &t->resume;
	kban_auto(kban_free) void *path = name_path(t, i);
	struct stat st;
	int fd = file_open(path, &st);

	if (fd < 0)
		return false;
	if (st.st_dev != p->device || st.st_ino != p->inode) {
		close(fd);
		return false;
	}
	uint64_t size = (uint64_t)st.st_size;
	file_take(t, fd, &st, size < p->offset ? size : p->offset);
	if (!head_is(t, p)) {
		file_close(t);
		return false;
	}
	t->stats.truncations += size < p->offset;
	t->resuming = false;
	return true;
}

/* Looks under all names. A rotation that runs meanwhile can move the file to a name that we have passed. */
static bool names_resume(struct tail *t)
{
	struct name before[NAMES], after[NAMES];

	for (int tries = 0; tries < LIST_TRIES; tries++) {
		bool settled = names_list(t, before);
		for (int i = 0; i < NAMES; i++) {
			if (name_resume(t, i))
				return true;
		}
		settled = settled && names_list(t, after);
		for (int i = 0; i < NAMES; i++)
			settled = settled && name_same(&before[i], &after[i]);
		if (settled)
			return false;
	}
	return false;
}

static void file_begin(struct tail *t)
{
	if (!t->resuming || !names_resume(t))
		path_open(t);
}

int tail_new(struct tail **out, const char *path, const struct tail_position *resume, enum tail_start start)
{
	kban_auto(tail_free) struct tail *t = kban_zalloc(sizeof(*t));
	const char *slash = strrchr(path, '/');

	t->fd = t->inotify = t->folder_watch = t->file_watch = -1;
	t->path = kban_strdup(path);
	t->folder = slash ? kban_asprintf("%.*s/", (int)(slash - path), path) : kban_strdup(".");
	t->buffer = kban_zalloc(BUFFER_SIZE);
	head_forget(t);
	t->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (t->inotify < 0)
		return -errno;
	watch_folder(t);
	t->start = resume ? TAIL_FROM_BEGINNING : start;
	t->resuming = resume;
	if (resume)
		t->resume = *resume;
	file_begin(t);
	*out = t;
	t = NULL;
	return 0;
}

void tail_free(struct tail *t)
{
	if (!t)
		return;
	kban_close(t->fd);
	kban_close(t->inotify);
	free(t->path);
	free(t->folder);
	free(t->buffer);
	free(t);
}

int tail_fd(const struct tail *t)
{
	return t->inotify;
}

/* A writer who does not append goes on at his old offset: a hole comes first. */
static uint64_t first_data(const struct tail *t)
{
	off_t data = t->head_len && !t->head[0] ? lseek(t->fd, 0, SEEK_DATA) : 0;

	return data > 0 ? (uint64_t)data : 0;
}

/* The file was truncated: with another beginning (or none) it is a new one; cut short, we are at its end. */
static void file_truncated(struct tail *t, uint64_t size)
{
	bool same = size && t->head_len && head_check(t);

	t->stats.truncations++;
	if (!same) {
		head_forget(t);
		(void)head_check(t);
	}
	file_seek(t, same ? size : first_data(t));
}

enum filled { FILLED_NOTHING, FILLED_BYTES, FILLED_ANEW };

/* Reads what comes next behind the unread bytes, which hold no newline. */
static int buffer_fill(struct tail *t)
{
	struct stat st;

	memmove(t->buffer, t->buffer + t->pos, t->end - t->pos);
	t->end -= t->pos;
	t->pos = 0;
	ssize_t n = pread(t->fd, t->buffer + t->end, BUFFER_SIZE - t->end, (off_t)t->read_at);
	if (n < 0)
		return errno == EINTR ? FILLED_BYTES : -errno;
	if (fstat(t->fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < t->read_at + (uint64_t)n || !head_check(t)) {
		file_truncated(t, (uint64_t)st.st_size);
		return FILLED_ANEW;
	}
	t->end += (size_t)n;
	t->read_at += (uint64_t)n;
	t->stats.bytes += (uint64_t)n;
	return n ? FILLED_BYTES : FILLED_NOTHING;
}

static void position_fill(const struct tail *t, struct tail_position *out)
{
	*out = (struct tail_position){.device = t->device, .inode = t->inode, .head_len = t->head_len};
	memcpy(out->head_hash, t->head_hash, sizeof(out->head_hash));
	out->offset = t->line_start;
}

/* No newline yet: what is too long already is forgotten, so that the buffer always has room. */
static void line_wait(struct tail *t)
{
	if (!t->skipping && t->end - t->pos > TAIL_LINE_MAX + 1) {
		t->skipping = true;
		t->stats.too_long++;
	}
	if (t->skipping)
		t->pos = t->end;
}

/* Takes the next whole line out of the buffer. False: there is none. */
static bool line_next(struct tail *t, struct tail_line *out)
{
	for (;;) {
		const char *start = t->buffer + t->pos;
		const char *newline = memchr(start, '\n', t->end - t->pos);
		if (!newline) {
			line_wait(t);
			return false;
		}
		size_t len = (size_t)(newline - start);
		bool skip = t->skipping;
		position_fill(t, &out->at);
		t->pos += len + 1;
		t->line_start = t->read_at - (t->end - t->pos);
		t->skipping = false;
		if (skip)
			continue;
		while (len && !*start) { /* what is left of a hole */
			start++;
			len--;
		}
		out->text = start;
		out->len = len && start[len - 1] == '\r' ? len - 1 : len;
		if (out->len <= TAIL_LINE_MAX)
			return true;
		t->stats.too_long++;
	}
}

/* At the open file's end: opens the one after it. 1: it is there, and the old one had no more. */
static int file_advance(struct tail *t)
{
	struct name names[NAMES];
	struct stat st;

	name_read(t, 0, &names[0]);
	if (names[0].there && names[0].device == t->device && names[0].inode == t->inode) {
		t->stats.state = TAIL_OK;
		return 0;
	}
	t->stats.state = names[0].there ? TAIL_OK : TAIL_MISSING;
	int next = names_list(t, names) ? names_successor(t, names) : -1;
	if (next < 0 || (next == 0 && !names[0].size))
		return 0; /* the writer may not have opened the new one yet, and go on in the old one */
	kban_auto(kban_free) void *path = name_path(t, next);
	kban_auto(kban_close) int fd = file_open(path, &st);
	if (fd < 0) {
		t->stats.state = state_of(fd);
		return 0;
	}
	if (st.st_dev != names[next].device || st.st_ino != names[next].inode)
		return 1; /* renamed meanwhile */
	int filled = buffer_fill(t);
	if (filled != FILLED_NOTHING)
		return filled < 0 ? filled : 1;
	file_take(t, fd, &st, 0);
	fd = -1;
	t->stats.rotations++;
	return 1;
}

/* No whole line is in the buffer: reads on, in this file or the next. 1: look again. */
static int file_read(struct tail *t)
{
	if (t->fd < 0) {
		file_begin(t);
		return t->fd >= 0;
	}
	int filled = buffer_fill(t);
	return filled == FILLED_NOTHING ? file_advance(t) : filled < 0 ? filled : 1;
}

int tail_read(struct tail *t, size_t max_lines, void (*fn)(void *arg, const struct tail_line *line), void *arg)
{
	size_t n = 0;

	events_drain(t);
	watch_folder(t);
	while (n < max_lines) {
		struct tail_line line;
		if (line_next(t, &line)) {
			t->stats.lines++;
			n++;
			fn(arg, &line);
			continue;
		}
		int more = file_read(t);
		if (more < 0)
			return more;
		if (!more)
			break;
	}
	return (int)n;
}

void tail_position(const struct tail *t, struct tail_position *out)
{
	position_fill(t, out);
	if (t->resuming)
		*out = t->resume;
}

bool tail_is_in(const struct tail *t, const struct tail_position *p)
{
	return t->fd >= 0 && t->device == p->device && t->inode == p->inode && head_is(t, p);
}

const struct tail_stats *tail_stats(const struct tail *t)
{
	return &t->stats;
}

/* The shorter of two heads says nothing of the longer one: then the inode decides. */
bool tail_same_file(const struct tail_position *a, const struct tail_position *b)
{
	return a->device == b->device && a->inode == b->inode &&
	       (a->head_len != b->head_len || memcmp(a->head_hash, b->head_hash, sizeof(a->head_hash)) == 0);
}
