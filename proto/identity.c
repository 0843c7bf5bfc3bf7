/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/log.h"

#define MAGIC "kban-identity 1"
#define TEXT_SIZE                                                                                  \
	4096 /* of a written file: KBAN_BROKERS_MAX lines of 202 characters and five short ones */

/* Parsing. */

struct parser {
	struct kban_identity *out;
	uint8_t seed[32];
	unsigned seen; /* bit i: keywords[i] was there */
};

static bool take_name(struct parser *p, char *value)
{
	if (!kban_name_valid(value, strlen(value)))
		return false;
	strcpy(p->out->name, value);
	return true;
}

static bool take_role(struct parser *p, char *value)
{
	return kban_role_parse(&p->out->role, value);
}

static bool take_root(struct parser *p, char *value)
{
	return kban_unhex(p->out->root.b, sizeof(p->out->root.b), value);
}

static bool take_seed(struct parser *p, char *value)
{
	return kban_unhex(p->seed, sizeof(p->seed), value);
}

static bool take_broker(struct parser *p, char *value)
{
	struct kban_broker_ref *b = &p->out->brokers[p->out->brokers_n];
	char *key = strchr(value, ' ');

	if (!key || p->out->brokers_n == KBAN_BROKERS_MAX)
		return false;
	*key++ = 0;
	if (!kban_endpoint_valid(value, strlen(value)) ||
	    !kban_unhex(b->curve.b, sizeof(b->curve.b), key))
		return false;
	strcpy(b->endpoint, value);
	p->out->brokers_n++;
	return true;
}

static const struct {
	const char *word;
	bool (*take)(struct parser *p, char *value);
	bool many, needed;
} keywords[] = {
	{"name", take_name, false, true},     {"role", take_role, false, true},
	{"root", take_root, false, true},     {"seed", take_seed, false, true},
	{"broker", take_broker, true, false},
};

static bool take_line(struct parser *p, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return false;
	*value++ = 0;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(keywords); i++) {
		if (strcmp(keywords[i].word, line))
			continue;
		if (!keywords[i].many && p->seen & 1U << i)
			return false;
		p->seen |= 1U << i;
		return keywords[i].take(p, value);
	}
	return false;
}

static bool complete(const struct parser *p)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(keywords); i++)
		if (keywords[i].needed && !(p->seen & 1U << i))
			return false;
	return true;
}

/* Over a copy that it may cut up; *line counts on. At the end 0 stands for what is not on any line.
 */
static bool parse_lines(struct parser *p, char *text, unsigned *line)
{
	bool magic = false;

	for (char *next = text, *s; (s = strsep(&next, "\n"));) {
		++*line;
		if (!*s || *s == '#')
			continue;
		if (magic ? !take_line(p, s) : strcmp(s, MAGIC) != 0)
			return false;
		magic = true;
	}
	*line = 0;
	return magic && complete(p);
}

int kban_identity_parse(struct kban_identity *out, const char *text, size_t len, unsigned *line)
{
	struct parser p = {.out = out};
	unsigned at = 0;

	memset(out, 0, sizeof(*out));
	if (line)
		*line = 0;
	if (len > KBAN_IDENTITY_MAX || memchr(text, 0, len))
		return KBAN_IDENTITY_MALFORMED;
	char *copy = kban_zalloc(len + 1);
	if (len)
		memcpy(copy, text, len);
	bool good = parse_lines(&p, copy, &at);
	kban_wipe(copy, len);
	free(copy);
	if (good) {
		kban_keypair_from_seed(&out->keys, p.seed);
		kban_cluster_id(&out->cluster, &out->root);
	}
	kban_wipe(&p, sizeof(p));
	if (line)
		*line = at;
	return good ? 0 : KBAN_IDENTITY_MALFORMED;
}

/* Reading. */

static int check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return KBAN_IDENTITY_NOT_A_FILE;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return KBAN_IDENTITY_WRONG_OWNER;
	return st.st_mode & 077 ? KBAN_IDENTITY_OPEN_TO_OTHERS : 0;
}

/* Up to size bytes; the length or -errno. */
static ssize_t read_all(int fd, char *out, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t r = read(fd, out + n, size - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

int kban_identity_load(struct kban_identity *out, const char *path, unsigned *line)
{
	char text[KBAN_IDENTITY_MAX + 1];

	if (line)
		*line = 0;
	/* O_NONBLOCK: opening a pipe must not wait for its writer. */
	kban_auto(kban_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
							  O_NOCTTY);
	if (fd < 0)
		return errno == ELOOP ? KBAN_IDENTITY_NOT_A_FILE : -errno;
	int r = check_file(fd);
	if (r)
		return r;
	ssize_t n = read_all(fd, text, sizeof(text));
	r = n < 0 ? (int)n : kban_identity_parse(out, text, (size_t)n, line);
	kban_wipe(text, sizeof(text));
	return r;
}

/* Writing. */

static void __attribute__((format(printf, 3, 4)))
append(char *text, size_t *n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int added = vsnprintf(text + *n, TEXT_SIZE - *n, format, args);
	va_end(args);
	if (added < 0 || (size_t)added >= TEXT_SIZE - *n)
		abort();
	*n += (size_t)added;
}

char *kban_identity_format(const struct kban_identity *id)
{
	char *text = kban_zalloc(TEXT_SIZE), hex[KBAN_HEX(32)];
	size_t n = 0;

	append(text, &n, "%s\n", MAGIC);
	append(text, &n, "# Whoever has the seed is %s. Keep this file to yourself.\n", id->name);
	append(text, &n, "name %s\nrole %s\n", id->name, kban_role_name(id->role));
	append(text, &n, "root %s\n", kban_hex(hex, id->root.b, sizeof(id->root.b)));
	append(text, &n, "seed %s\n", kban_hex(hex, id->keys.seed, sizeof(id->keys.seed)));
	for (size_t i = 0; i < id->brokers_n; i++)
		append(text, &n, "broker %s %s\n", id->brokers[i].endpoint,
		       kban_hex(hex, id->brokers[i].curve.b, sizeof(id->brokers[i].curve.b)));
	kban_wipe(hex, sizeof(hex));
	return text;
}

static int write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t w = write(fd, text, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		text += w;
		n -= (size_t)w;
	}
	return 0;
}

static int sync_folder(const char *path)
{
	kban_auto(kban_free) void *copy = kban_strdup(path);
	kban_auto(kban_close) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd))
		return -errno;
	return 0;
}

/* The mode again: the umask may have taken even the owner's bits. */
static int fill_file(int fd, const char *path, const char *text)
{
	if (fchmod(fd, 0600))
		return -errno;
	int r = write_all(fd, text, strlen(text));
	if (r)
		return r;
	return fsync(fd) ? -errno : sync_folder(path);
}

int kban_identity_save(const struct kban_identity *id, const char *path)
{
	kban_auto(kban_close) int fd = open(
		path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? KBAN_IDENTITY_EXISTS : -errno;
	char *text = kban_identity_format(id);
	int r = fill_file(fd, path, text);
	kban_wipe(text, strlen(text));
	free(text);
	if (r)
		unlink(path);
	return r;
}

/* Words. */

static char *explain_owner(const char *path)
{
	const struct passwd *user = getpwuid(geteuid());

	if (user)
		return kban_asprintf("it belongs to another user; run: chown %s %s", user->pw_name,
				     path);
	return kban_asprintf("it belongs to another user; run: chown %u %s", (unsigned)geteuid(),
			     path);
}

static char *explain_malformed(unsigned line)
{
	static const char remedy[] =
		"restore it from a copy, or join again with: kbanctl node join";

	if (line)
		return kban_asprintf("line %u is not one of an identity file; %s", line, remedy);
	return kban_asprintf("it is not a whole identity file; %s", remedy);
}

static char *explain_errno(int error)
{
	const char *remedy = error == ENOENT ? "; make it with: kbanctl node join (a server), or "
					       "kbanctl init (a new cluster)"
			     : error == EACCES || error == EPERM
				     ? "; run this as root or as its owner"
				     : "";

	return kban_asprintf("%s%s", strerror(error), remedy);
}

static char *explain_result(int result, const char *path, unsigned line)
{
	if (result < 0)
		return explain_errno(-result);
	switch ((enum kban_identity_result)result) {
	case KBAN_IDENTITY_MALFORMED:
		return explain_malformed(line);
	case KBAN_IDENTITY_OPEN_TO_OTHERS:
		return kban_asprintf("others can read it; run: chmod 600 %s", path);
	case KBAN_IDENTITY_NOT_A_FILE:
		return kban_strdup("it is a link, a folder or a device; name the file itself");
	case KBAN_IDENTITY_EXISTS:
		return kban_strdup(
			"it exists and is never replaced; move it away, or choose another name");
	case KBAN_IDENTITY_WRONG_OWNER:
		return explain_owner(path);
	}
	return kban_strdup("for an unknown reason");
}

char *kban_identity_explain(int result, const char *path, unsigned line)
{
	char shown[1024];

	kban_escape(shown, sizeof(shown), path, strlen(path));
	kban_auto(kban_free) void *why = explain_result(result, shown, line);
	return kban_asprintf("cannot use %s: %s", shown, (const char *)why);
}

void kban_identity_wipe(struct kban_identity *id)
{
	kban_keypair_wipe(&id->keys);
}

void kban_identity_wipe_auto(struct kban_identity *id)
{
	kban_identity_wipe(id);
}
