/* SPDX-License-Identifier: MPL-2.0
 *
 * fail2ban's regular expressions are Python's, with tags such as <HOST>. First the tags are written
 * out, as fail2ban's server/failregex.py does, with the same groups, so that numbers of groups
 * stay; then what PCRE2 would read in another way is rewritten, and what only one of the two knows
 * is refused.
 */
#include "node/rules_inside.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define REGEX_MAX 16384U
#define OPEN_MAX  16U

#define IP4  "(?:::f{4,6}:)?(?P<ip4>(?:\\d{1,3}\\.){3}\\d{1,3})"
#define IP6  "(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"
#define DNS  "(?P<dns>[\\w\\-.^_]*\\w)"
#define ADDR "\\[?(?:" IP4 "|" IP6 ")\\]?"

static const struct {
	const char *name, *text; /* NULL: refused */
} tags[] = {
	{"HOST", "(?:" ADDR "|" DNS ")"},
	{"ADDR", ADDR},
	{"F-ADDR/", ADDR},
	{"IP4", IP4},
	{"F-IP4/", IP4},
	{"IP6", IP6},
	{"F-IP6/", IP6},
	{"DNS", DNS},
	{"F-DNS/", DNS},
	{"F-PORT/", "(?P<fport>\\w+)"},
	{"SUBNET", NULL},
	{"F-SUBNET/", NULL},
	{"CIDR", NULL},
	{"F-CIDR/", NULL},
	{"SKIPLINES", NULL},
	{"F-ID/", NULL},
	{"F-ID", NULL},
	{"F-MLFID", NULL},
	{"F-NOFAIL", NULL},
	{"F-MLFFORGET", NULL},
	{"F-MLFGAINED", NULL},
};

struct scan {
	const char *p;
	char *out;
	size_t n, flags_n; /* of out: all, and the flags that it begins with */
	size_t open_n;
	struct rules_text open[OPEN_MAX]; /* names of <F-NAME> */
	char *error;
};

static void scan_fail(struct scan *s, char *error)
{
	if (s->error)
		free(error);
	else
		s->error = error;
}

static void emit(struct scan *s, const char *text, size_t n)
{
	if (s->n + n > REGEX_MAX) {
		scan_fail(s, kban_asprintf(
				     "the regular expression is longer than %u bytes; shorten it",
				     REGEX_MAX));
		return;
	}
	memcpy(s->out + s->n, text, n);
	s->n += n;
}

static void emit_string(struct scan *s, const char *text)
{
	emit(s, text, strlen(text));
}

static void copy(struct scan *s, size_t n)
{
	emit(s, s->p, n);
	s->p += n;
}

/* Tags */

/* The length of the tag at p, "</?[\w-]+/?>"; 0: there is none. */
static size_t tag_length(const char *p)
{
	size_t n = p[1] == '/' ? 2 : 1, start = n;

	while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == '-')
		n++;
	if (n == start)
		return 0;
	n += p[n] == '/';
	return p[n] == '>' ? n + 1 : 0;
}

static bool tag_is_open(const struct scan *s, const char *name, size_t n)
{
	for (size_t i = 0; i < s->open_n; i++) {
		if (s->open[i].n == n && memcmp(s->open[i].p, name, n) == 0)
			return true;
	}
	return false;
}

/* <F-NAME> opens a group of that name in lower case, </F-NAME> closes it. */
static bool custom_tag(struct scan *s, const char *name, size_t n)
{
	bool close = name[0] == '/';
	char lower[33];

	name += close;
	n -= close;
	if (n < 3 || n > 2 + 32 || strncmp(name, "F-", 2) != 0 || name[n - 1] == '/')
		return false;
	name += 2;
	n -= 2;
	for (size_t i = 0; i < n; i++) {
		if (islower((unsigned char)name[i]))
			return false;
		lower[i] = name[i] == '-' ? '_' : (char)tolower((unsigned char)name[i]);
	}
	if (close && !tag_is_open(s, name, n))
		return false;
	if (close) {
		emit_string(s, ")");
		return true;
	}
	if (s->open_n == OPEN_MAX) {
		scan_fail(s, kban_asprintf("more than %u tags; use fewer", OPEN_MAX));
		return true;
	}
	s->open[s->open_n++] = (struct rules_text){name, n};
	emit_string(s, "(?P<");
	emit(s, lower, n);
	emit_string(s, ">");
	return true;
}

static void tag_write(struct scan *s, size_t length)
{
	const char *name = s->p + 1;
	size_t n = length - 2;

	s->p += length;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(tags); i++) {
		if (strlen(tags[i].name) != n || memcmp(tags[i].name, name, n) != 0)
			continue;
		if (tags[i].text)
			emit_string(s, tags[i].text);
		else
			scan_fail(s, kban_asprintf("<%s> is not read by kban, which bans single "
						   "addresses and reads line by line; "
						   "use <HOST> or <ADDR>",
						   tags[i].name));
		return;
	}
	if (!custom_tag(s, name, n))
		emit(s, name - 1, length);
}

static void tags_write(struct scan *s)
{
	while (*s->p && !s->error) {
		size_t n = *s->p == '<' ? tag_length(s->p) : 0;
		if (n)
			tag_write(s, n);
		else
			copy(s, 1);
	}
}

/* Syntax */

static void escape_write(struct scan *s)
{
	unsigned char c = (unsigned char)s->p[1];

	if (!c) {
		scan_fail(s, kban_strdup("ends with a backslash; remove it"));
	} else if (c == 'Z') { /* PCRE2: before a last newline too */
		emit_string(s, "\\z");
		s->p += 2;
	} else if (c == 'v') { /* PCRE2: any vertical space */
		emit_string(s, "\\x0b");
		s->p += 2;
	} else if (c == 'x' &&
		   (!isxdigit((unsigned char)s->p[2]) || !isxdigit((unsigned char)s->p[3]))) {
		scan_fail(s, kban_strdup("\\x without two hexadecimal digits; write them"));
	} else if (isalpha(c) && !strchr("AbBdDsSwWZafnrtx", c)) {
		scan_fail(s, kban_asprintf("\\%c is no escape of a failregex here; write the "
					   "character itself, or its bytes as "
					   "\\xNN",
					   c));
	} else {
		copy(s, 2);
	}
}

/* "[...]": Python knows no [:alpha:], so that a "[" is one. */
static void class_write(struct scan *s)
{
	copy(s, s->p[1] == '^' ? 2 : 1);
	if (*s->p == ']')
		copy(s, 1);
	while (*s->p && *s->p != ']' && !s->error) {
		if (*s->p == '\\') {
			escape_write(s);
		} else if (*s->p == '[') {
			emit_string(s, "\\[");
			s->p++;
		} else {
			copy(s, 1);
		}
	}
	if (*s->p)
		copy(s, 1);
	else
		scan_fail(s, kban_strdup("a [ without its ]; close it"));
}

static void group_write(struct scan *s)
{
	static const char *const known[] = {"(?:", "(?=",  "(?!",  "(?<=", "(?<!",
					    "(?>", "(?P<", "(?P=", "(?("};

	if (s->p[1] != '?') {
		if (s->p[1] == '*')
			scan_fail(s, kban_strdup("(* has nothing to repeat; write \\(* or (.*"));
		copy(s, 1);
		return;
	}
	for (size_t i = 0; i < KBAN_ARRAY_LEN(known); i++) {
		if (strncmp(s->p, known[i], strlen(known[i])) == 0) {
			copy(s, strlen(known[i]));
			return;
		}
	}
	if (strncmp(s->p, "(?#", 3) == 0) {
		s->p += strcspn(s->p, ")");
		s->p += *s->p == ')';
		return;
	}
	size_t flags = 2 + strspn(s->p + 2, "ims-");
	bool global = flags > 2 && s->p[flags] == ')' && !memchr(s->p, '-', flags);
	if (global && s->n != s->flags_n) {
		scan_fail(s, kban_asprintf(
				     "\"%.*s\" in the middle, where Python takes no flags; write "
				     "it at the beginning, or (?%.*s:...) around what it is for",
				     (int)flags + 1, s->p, (int)flags - 2, s->p + 2));
		return;
	}
	if (global) {
		copy(s, flags + 1);
		s->flags_n = s->n;
	} else if (flags > 2 && s->p[flags] == ':') {
		copy(s, flags);
	} else {
		scan_fail(s, kban_asprintf("\"%.4s\" is not read by kban; only (?:, (?P<NAME>, "
					   "(?P=NAME), lookaround, (?> and the "
					   "flags i, m and s are",
					   s->p));
	}
}

/* "{,n}" is {0,n} in Python, and text in PCRE2. */
static void brace_write(struct scan *s)
{
	size_t digits = s->p[1] == ',' ? strspn(s->p + 2, "0123456789") : 0;

	if (s->p[1] == ',' && s->p[2 + digits] == '}') {
		emit_string(s, "{0");
		s->p++;
	} else {
		copy(s, 1);
	}
}

static void syntax_write(struct scan *s)
{
	static const struct {
		char c;
		void (*write)(struct scan *s);
	} special[] = {
		{'\\', escape_write}, {'[', class_write}, {'(', group_write}, {'{', brace_write}};

	while (*s->p && !s->error) {
		void (*write)(struct scan * s) = NULL;
		for (size_t i = 0; i < KBAN_ARRAY_LEN(special); i++)
			write = special[i].c == *s->p ? special[i].write : write;
		if (write)
			write(s);
		else
			copy(s, 1);
	}
}

static char *pass(const char *text, void (*write)(struct scan *s), char **error)
{
	struct scan s = {.p = text, .out = kban_zalloc(REGEX_MAX + 1)};

	write(&s);
	if (!s.error)
		return s.out;
	*error = s.error;
	free(s.out);
	return NULL;
}

char *python_translate(const char *regex, char **error)
{
	kban_auto(kban_free) void *written = pass(regex, tags_write, error);

	return written ? pass(written, syntax_write, error) : NULL;
}
