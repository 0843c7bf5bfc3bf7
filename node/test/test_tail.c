/* SPDX-License-Identifier: MPL-2.0 */
#include "node/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 60

static char folder[64], path[96];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/kban-tail-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/security.log", folder);
	return 0;
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

static int remove_folder(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *numbered(int i)
{
	static char name[2][128];
	char *out = name[i & 1];

	snprintf(out, sizeof(name[0]), "%s.%d", path, i);
	return out;
}

static void write_bytes(const char *name, const void *bytes, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	close(fd);
}

static void append(const char *text)
{
	write_bytes(path, text, strlen(text));
}

/* What was read, the lines joined by "|". */
struct seen {
	char text[4096];
	size_t len;
	size_t line_len;
	struct tail_position at;
};

static void see(void *arg, const struct tail_line *line)
{
	struct seen *s = arg;
	size_t n = line->len < 200 ? line->len : 200;

	assert_true(s->len + n + 1 < sizeof(s->text));
	memcpy(s->text + s->len, line->text, n);
	s->len += n;
	s->text[s->len++] = '|';
	s->text[s->len] = 0;
	s->line_len = line->len;
	s->at = line->at;
}

static const char *read_all(struct tail *t)
{
	static struct seen s;

	s = (struct seen){0};
	assert_true(tail_read(t, 1000, see, &s) >= 0);
	return s.text;
}

static struct tail *tail_at(const struct tail_position *resume, enum tail_start start)
{
	struct tail *t = NULL;

	assert_int_equal(tail_new(&t, path, resume, start), 0);
	return t;
}

static struct tail_position position(const struct tail *t)
{
	struct tail_position p;

	tail_position(t, &p);
	return p;
}

static void rotate(int keep)
{
	for (int i = keep - 1; i > 0; i--)
		rename(numbered(i - 1), numbered(i));
	if (rename(path, numbered(0)))
		abort();
}

/* --- lines */

static void lines_arrive_whole_with_their_offsets(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct seen s = {0};

	(void)state;
	append("one\r\ntwo\n\nfour");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_int_equal(tail_read(t, 1, see, &s), 1);
	assert_string_equal(s.text, "one|");
	assert_int_equal(s.at.offset, 0);
	assert_int_equal(position(t).offset, 5);
	assert_int_equal(tail_read(t, 10, see, &s), 2);
	assert_string_equal(s.text, "one|two||");
	assert_int_equal(s.at.offset, 9);
	assert_int_equal(position(t).offset, 10);
	append("th\n");
	assert_string_equal(read_all(t), "fourth|");
	assert_int_equal(tail_stats(t)->lines, 4);
	assert_int_equal(tail_stats(t)->bytes, 17);
}

static void any_bytes_are_a_line(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct seen s = {0};

	(void)state;
	write_bytes(path, "a\0\xff\r\r\n", 6);
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_int_equal(tail_read(t, 10, see, &s), 1);
	assert_int_equal(s.line_len, 4);
	assert_memory_equal(s.text, "a\0\xff\r|", 5);
}

static void too_long_lines_are_skipped_whole_and_counted(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	char *big = kban_zalloc(1 << 20);
	struct seen s = {0};

	(void)state;
	memset(big, 'x', 1 << 20);
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	write_bytes(path, big, TAIL_LINE_MAX);
	append("\r\n");
	assert_int_equal(tail_read(t, 10, see, &s), 1);
	assert_int_equal(s.line_len, TAIL_LINE_MAX);
	write_bytes(path, big, TAIL_LINE_MAX + 1);
	append("\nnext\n");
	assert_string_equal(read_all(t), "next|");
	assert_int_equal(tail_stats(t)->too_long, 1);
	uint64_t start = position(t).offset;
	write_bytes(path, big, 1 << 20);
	assert_string_equal(read_all(t), "");
	assert_int_equal(position(t).offset, start); /* a restart skips it again from its start */
	struct tail_position p = position(t);
	append("[x] forged\nlast\n");
	assert_string_equal(read_all(t), "last|");
	assert_int_equal(tail_stats(t)->too_long, 2);
	tail_free(t);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "last|");
	free(big);
}

static void it_starts_at_the_end_or_the_beginning(void **state)
{
	kban_auto(tail_free) struct tail *end = NULL;
	kban_auto(tail_free) struct tail *beginning = NULL;

	(void)state;
	append("old\nunfini");
	end = tail_at(NULL, TAIL_FROM_END);
	beginning = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(end), "");
	append("shed\nnew\n");
	assert_string_equal(read_all(end), "unfinished|new|");
	assert_string_equal(read_all(beginning), "old|unfinished|new|");
}

static void a_missing_file_or_folder_is_waited_for(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	snprintf(path, sizeof(path), "%s/later/security.log", folder);
	t = tail_at(NULL, TAIL_FROM_END);
	assert_int_equal(tail_stats(t)->state, TAIL_MISSING);
	assert_string_equal(read_all(t), "");
	char later[128];
	snprintf(later, sizeof(later), "%s/later", folder);
	assert_int_equal(mkdir(later, 0755), 0);
	assert_string_equal(read_all(t), "");
	assert_int_equal(tail_stats(t)->state, TAIL_MISSING);
	append("first\n");
	struct pollfd p = {tail_fd(t), POLLIN, 0};
	assert_int_equal(poll(&p, 1, DEADLINE_S * 1000), 1);
	assert_string_equal(read_all(t), "first|");
	assert_int_equal(tail_stats(t)->state, TAIL_OK);
}

static void what_is_no_file_is_unreadable(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	t = tail_at(NULL, TAIL_FROM_END);
	assert_int_equal(tail_stats(t)->state, TAIL_UNREADABLE);
	assert_int_equal(rmdir(path), 0);
	append("a\n");
	assert_string_equal(read_all(t), "");
	append("b\n");
	assert_string_equal(read_all(t), "b|");
}

static void the_descriptor_wakes_for_every_change(void **state)
{
	kban_auto(tail_free) struct tail *t = tail_at(NULL, TAIL_FROM_END);
	struct pollfd p = {tail_fd(t), POLLIN, 0};

	(void)state;
	for (int i = 0; i < 6; i++) {
		if (i == 3)
			rotate(3);
		append("x\n");
		assert_int_equal(poll(&p, 1, DEADLINE_S * 1000), 1);
		assert_string_equal(read_all(t), "x|");
		assert_string_equal(read_all(t), ""); /* its own change of watches may wake it once */
		assert_int_equal(poll(&p, 1, 0), 0);
	}
}

/* --- rotation */

static void a_renamed_file_is_read_to_its_end_first(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|");
	append("2\n");
	rotate(3);
	write_bytes(numbered(0), "3\n", 2);
	append("4\n");
	assert_string_equal(read_all(t), "2|3|4|");
	assert_int_equal(tail_stats(t)->rotations, 1);
	assert_int_equal(tail_stats(t)->truncations, 0);
}

static void the_old_file_is_kept_while_the_new_one_is_empty(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	rotate(3);
	assert_string_equal(read_all(t), "1|");
	assert_int_equal(tail_stats(t)->state, TAIL_MISSING);
	append("");
	assert_string_equal(read_all(t), "");
	assert_int_equal(tail_stats(t)->state, TAIL_OK);
	write_bytes(numbered(0), "2\n", 2);
	assert_string_equal(read_all(t), "2|");
	append("3\n");
	assert_string_equal(read_all(t), "3|");
}

static void several_rotations_at_once_lose_nothing(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	char text[16];

	(void)state;
	append("a\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	for (int i = 1; i < 9; i++) {
		rotate(10);
		snprintf(text, sizeof(text), "%d\n", i);
		append(text);
	}
	assert_string_equal(read_all(t), "a|1|2|3|4|5|6|7|8|");
	assert_int_equal(tail_stats(t)->rotations, 8);
}

static void names_may_count_from_one(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_int_equal(rename(path, numbered(1)), 0);
	append("2\n");
	assert_int_equal(rename(numbered(1), numbered(2)), 0);
	assert_int_equal(rename(path, numbered(1)), 0);
	append("3\n");
	assert_string_equal(read_all(t), "1|2|3|");
}

static void a_deleted_file_is_read_to_its_end_and_older_ones_are_left(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	write_bytes(numbered(0), "older\n", 6);
	struct timespec past[2] = {{1000, 0}, {1000, 0}};
	assert_int_equal(utimensat(AT_FDCWD, numbered(0), past, 0), 0);
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|");
	append("2\n");
	assert_int_equal(unlink(path), 0);
	append("3\n");
	assert_string_equal(read_all(t), "2|3|");
}

static void a_replaced_file_is_read_from_its_beginning(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_END);
	write_bytes(numbered(99), "2\n3\n", 4);
	assert_int_equal(rename(numbered(99), path), 0);
	assert_string_equal(read_all(t), "2|3|");
}

static void an_unfinished_line_of_a_left_file_is_dropped(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("1\nfrom 203.0.113.6");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	rotate(3);
	append("6\n");
	assert_string_equal(read_all(t), "1|6|");
}

static void a_truncated_file_is_read_from_its_beginning(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	append("line one\nline two\nhal");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "line one|line two|");
	assert_int_equal(truncate(path, 0), 0);
	assert_string_equal(read_all(t), "");
	append("3\n");
	assert_string_equal(read_all(t), "3|");
	assert_int_equal(tail_stats(t)->truncations, 1);
	assert_int_equal(truncate(path, 0), 0);
	append("another one, longer than what was there\nmore\n"); /* seen only by its beginning */
	assert_string_equal(read_all(t), "another one, longer than what was there|more|");
	assert_int_equal(tail_stats(t)->truncations, 2);
}

static void a_file_cut_short_is_not_read_again(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;

	(void)state;
	char head[TAIL_HEAD_MAX + 1] = "";
	memset(head, 'h', TAIL_HEAD_MAX);
	append(head);
	append("\n2\n3\n");
	t = tail_at(NULL, TAIL_FROM_END);
	assert_int_equal(truncate(path, TAIL_HEAD_MAX + 2), 0); /* within "2\n" */
	assert_string_equal(read_all(t), "");
	append("0\n4\n");
	assert_string_equal(read_all(t), "4|");
}

static void a_writer_that_leaves_a_hole_after_truncation_is_read(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	(void)state;
	for (int i = 0; i < 20000; i++)
		assert_int_equal(write(fd, "0123456789\n", 11), 11);
	t = tail_at(NULL, TAIL_FROM_END);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(write(fd, "after\nmore\n", 11), 11);
	assert_string_equal(read_all(t), "after|more|");
	close(fd);
}

static void a_symbolic_link_is_followed(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct pollfd p;

	(void)state;
	write_bytes(numbered(77), "1\n", 2);
	assert_int_equal(symlink(numbered(77), path), 0);
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|");
	append("2\n");
	p = (struct pollfd){tail_fd(t), POLLIN, 0};
	assert_int_equal(poll(&p, 1, DEADLINE_S * 1000), 1);
	assert_string_equal(read_all(t), "2|");
}

static void a_folder_that_is_replaced_is_found_again(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	char logs[80], away[80];

	(void)state;
	snprintf(logs, sizeof(logs), "%s/logs", folder);
	snprintf(away, sizeof(away), "%s/away", folder);
	snprintf(path, sizeof(path), "%s/security.log", logs);
	assert_int_equal(mkdir(logs, 0755), 0);
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|");
	assert_int_equal(rename(logs, away), 0);
	assert_string_equal(read_all(t), "");
	assert_int_equal(mkdir(logs, 0755), 0);
	assert_string_equal(read_all(t), "");
	append("2\n");
	struct pollfd p = {tail_fd(t), POLLIN, 0};
	assert_int_equal(poll(&p, 1, DEADLINE_S * 1000), 1);
	assert_string_equal(read_all(t), "2|");
}

/* --- resuming */

static void it_resumes_where_it_was(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct tail_position p;

	(void)state;
	append("1\n2\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|2|");
	p = position(t);
	append("3\n");
	tail_free(t);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "3|");
	struct tail_position later = position(t);
	assert_true(tail_same_file(&p, &later)); /* though the head has grown */
}

static void it_resumes_in_a_rotated_file_and_goes_on(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct tail_position p;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_BEGINNING);
	assert_string_equal(read_all(t), "1|");
	p = position(t);
	tail_free(t);
	append("2\n");
	rotate(3);
	append("3\n");
	rotate(3);
	append("4\n");
	rotate(3);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "2|3|4|");
	assert_int_equal(tail_stats(t)->state, TAIL_MISSING);
	append("5\n");
	assert_string_equal(read_all(t), "5|");
}

static void it_begins_anew_when_its_file_is_gone(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct tail_position p;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_END);
	p = position(t);
	assert_int_equal(rename(path, numbered(42)), 0); /* keeps its inode busy */
	append("2\n");
	tail_free(t);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "2|");
	struct tail_position now = position(t);
	assert_false(tail_same_file(&p, &now));
}

static void a_file_truncated_meanwhile_is_another_one(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct tail_position p;

	(void)state;
	append("1\n");
	t = tail_at(NULL, TAIL_FROM_END);
	p = position(t);
	assert_int_equal(truncate(path, 0), 0);
	append("2\n3\n");
	tail_free(t);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "2|3|");
}

static void a_position_outlives_a_missing_file(void **state)
{
	kban_auto(tail_free) struct tail *t = NULL;
	struct tail_position p, still;

	(void)state;
	append("1\n2\n");
	t = tail_at(NULL, TAIL_FROM_END);
	p = position(t);
	tail_free(t);
	assert_int_equal(rename(path, numbered(42)), 0);
	t = tail_at(&p, TAIL_FROM_END);
	assert_string_equal(read_all(t), "");
	still = position(t);
	assert_memory_equal(&p, &still, sizeof(p));
	assert_int_equal(rename(numbered(42), path), 0);
	append("3\n");
	assert_string_equal(read_all(t), "3|");
}

/* --- races */

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static void random_seed(void)
{
	const char *given = getenv("SEED");

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761U + (uint64_t)getpid();
	random_state |= 1;
	print_message("SEED=%llu\n", (unsigned long long)random_state);
}

enum way { BY_RENAME, BY_COPYTRUNCATE, BY_DELETION, WAYS };

struct race {
	_Atomic uint64_t safe; /* the reader will not go back behind this line */
	uint64_t lines;
	enum way way;
};

/* One line is one or two writes, so that unfinished ones are seen. */
static void race_write(int fd, uint64_t number)
{
	char line[160];
	int len = snprintf(line, sizeof(line), "[17/May/2017 19:43:42] line %llu %.*s end\n", (unsigned long long)number,
			   (int)(number * 7 % 90), "........................................................................"
						   "..................");
	int first = random_below(8) ? len : (int)random_below((uint64_t)len);

	if (write(fd, line, (size_t)first) != first ||
	    (first < len && write(fd, line + first, (size_t)(len - first)) != len - first))
		_exit(3);
}

static void race_rotate(enum way way)
{
	char *copy;
	struct stat st;
	int fd;

	switch (way) {
	case BY_RENAME:
		rotate(10);
		return;
	case BY_DELETION:
		unlink(path);
		return;
	case BY_COPYTRUNCATE:
	case WAYS:
		fd = open(path, O_RDONLY);
		copy = fd >= 0 && fstat(fd, &st) == 0 ? malloc((size_t)st.st_size) : NULL;
		if (!copy || read(fd, copy, (size_t)st.st_size) != st.st_size)
			_exit(4);
		close(fd);
		unlink(numbered(0));
		write_bytes(numbered(0), copy, (size_t)st.st_size);
		free(copy);
		if (truncate(path, 0))
			_exit(5);
	}
}

/* Writes at full speed, but never lets a file go that the reader may still need. */
static void race_writer(struct race *race)
{
	uint64_t first_of[8] = {0}, files = 0, until = 0;
	int fd = -1;

	for (uint64_t i = 1; i <= race->lines; i++) {
		if (i > until) {
			if (fd >= 0) {
				close(fd);
				race_rotate(race->way);
			}
			first_of[++files % 8] = i;
			while (race->way == BY_RENAME && atomic_load(&race->safe) < first_of[(files + 1) % 8])
				sched_yield();
			fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
			until = i + random_below(300);
		}
		race_write(fd, i);
	}
	_exit(0);
}

struct reader {
	uint64_t last, lost;
	bool exact;
};

static void race_line(void *arg, const struct tail_line *line)
{
	struct reader *r = arg;
	unsigned long long number;
	char text[200] = "";

	assert_true(line->len < sizeof(text));
	memcpy(text, line->text, line->len);
	if (sscanf(text, "[17/May/2017 19:43:42] line %llu ", &number) != 1 || line->len < 4 ||
	    strcmp(text + line->len - 4, " end"))
		fail_msg("a torn line: %s", text);
	if (r->exact ? number != r->last + 1 : number <= r->last)
		fail_msg("line %llu after %llu", number, (unsigned long long)r->last);
	r->lost += number - r->last - 1;
	r->last = number;
}

static pid_t race_start(struct race **race, enum way way, uint64_t lines)
{
	*race = mmap(NULL, sizeof(**race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(*race != MAP_FAILED);
	**race = (struct race){.lines = lines, .way = way};
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		race_writer(*race);
	}
	return pid;
}

static void race_end(struct race *race, pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	munmap(race, sizeof(*race));
}

/* Waits for the descriptor as the daemon does: for its second at most. */
static void wait_for_more(struct tail *t, time_t deadline)
{
	struct pollfd p = {tail_fd(t), POLLIN, 0};

	poll(&p, 1, 1000);
	assert_true(time(NULL) < deadline);
}

static void read_race(enum way way, uint64_t lines)
{
	struct race *race;
	time_t deadline = time(NULL) + DEADLINE_S;
	struct reader r = {.exact = way == BY_RENAME};
	append("");
	kban_auto(tail_free) struct tail *t = tail_at(NULL, TAIL_FROM_BEGINNING);
	pid_t pid = race_start(&race, way, lines);

	while (r.last < lines) {
		int n = tail_read(t, 1 + random_below(500), race_line, &r);
		assert_true(n >= 0);
		atomic_store(&race->safe, r.last);
		if (!n)
			wait_for_more(t, deadline);
	}
	assert_int_equal(tail_stats(t)->too_long, 0);
	print_message("%llu rotations, %llu truncations, %llu lines lost\n", (unsigned long long)tail_stats(t)->rotations,
		      (unsigned long long)tail_stats(t)->truncations, (unsigned long long)r.lost);
	race_end(race, pid);
}

static void rotation_by_rename_loses_and_doubles_nothing(void **state)
{
	(void)state;
	random_seed();
	read_race(BY_RENAME, 200000);
}

static void copytruncate_tears_and_doubles_nothing(void **state)
{
	(void)state;
	random_seed();
	read_race(BY_COPYTRUNCATE, 100000);
}

static void deletion_tears_and_doubles_nothing(void **state)
{
	(void)state;
	random_seed();
	read_race(BY_DELETION, 100000);
}

struct saving {
	struct reader reader;
	struct tail_position at; /* saved now and then: of the line after saved */
	uint64_t saved;
	bool due;
};

static void saving_line(void *arg, const struct tail_line *line)
{
	struct saving *s = arg;

	if (s->due) {
		s->at = line->at;
		s->saved = s->reader.last;
		s->due = false;
	}
	race_line(&s->reader, line);
	s->due = random_below(50) == 0;
}

static void a_killed_reader_goes_on_with_exactly_the_rest(void **state)
{
	uint64_t lines = 150000;
	unsigned kills = 0;
	struct race *race;
	time_t deadline = time(NULL) + DEADLINE_S;
	struct saving s = {.reader.exact = true};

	(void)state;
	random_seed();
	append("");
	kban_auto(tail_free) struct tail *t = tail_at(NULL, TAIL_FROM_BEGINNING);
	pid_t pid = race_start(&race, BY_RENAME, lines);
	tail_position(t, &s.at);
	while (s.reader.last < lines) {
		int n = tail_read(t, 1 + random_below(500), saving_line, &s);
		assert_true(n >= 0);
		atomic_store(&race->safe, s.saved);
		if (n > 0 && random_below(10))
			continue;
		if (!n && random_below(4)) {
			tail_position(t, &s.at); /* a quiet moment */
			s.saved = s.reader.last;
			atomic_store(&race->safe, s.saved);
			wait_for_more(t, deadline);
			continue;
		}
		tail_free(t);
		t = tail_at(&s.at, TAIL_FROM_END);
		s.reader.last = s.saved;
		s.due = false;
		kills++;
		assert_true(time(NULL) < deadline);
	}
	print_message("%u restarts\n", kills);
	race_end(race, pid);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_folder(lines_arrive_whole_with_their_offsets),
		in_folder(any_bytes_are_a_line),
		in_folder(too_long_lines_are_skipped_whole_and_counted),
		in_folder(it_starts_at_the_end_or_the_beginning),
		in_folder(a_missing_file_or_folder_is_waited_for),
		in_folder(what_is_no_file_is_unreadable),
		in_folder(the_descriptor_wakes_for_every_change),
		in_folder(a_renamed_file_is_read_to_its_end_first),
		in_folder(the_old_file_is_kept_while_the_new_one_is_empty),
		in_folder(several_rotations_at_once_lose_nothing),
		in_folder(names_may_count_from_one),
		in_folder(a_deleted_file_is_read_to_its_end_and_older_ones_are_left),
		in_folder(a_replaced_file_is_read_from_its_beginning),
		in_folder(an_unfinished_line_of_a_left_file_is_dropped),
		in_folder(a_truncated_file_is_read_from_its_beginning),
		in_folder(a_file_cut_short_is_not_read_again),
		in_folder(a_writer_that_leaves_a_hole_after_truncation_is_read),
		in_folder(a_symbolic_link_is_followed),
		in_folder(a_folder_that_is_replaced_is_found_again),
		in_folder(it_resumes_where_it_was),
		in_folder(it_resumes_in_a_rotated_file_and_goes_on),
		in_folder(it_begins_anew_when_its_file_is_gone),
		in_folder(a_file_truncated_meanwhile_is_another_one),
		in_folder(a_position_outlives_a_missing_file),
		in_folder(rotation_by_rename_loses_and_doubles_nothing),
		in_folder(copytruncate_tears_and_doubles_nothing),
		in_folder(deletion_tears_and_doubles_nothing),
		in_folder(a_killed_reader_goes_on_with_exactly_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
