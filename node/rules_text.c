/* SPDX-License-Identifier: MPL-2.0
 *
 * What libconfuse would take in silence, looked for in the text of a rules file before it reads
 * that: an option given twice in a rule (the last one would count), a single backslash in double
 * quotes
 * ("\d" would be "d"), and ${NAME}, which would be filled in from the environment of whoever reads
 * the file. Quotes and comments are libconfuse's (src/lexer.l).
 */
#include "node/rules_inside.h"

#include <ctype.h>
#include <string.h>

#define GIVEN_MAX 64U

struct given {
	struct rules_text name;
	int line;
};

struct text_scan {
	struct loading *loading;
	const char *p;
	int line;
	unsigned depth;		/* of braces */
	struct rules_text word; /* the last one */
	size_t given_n;
	struct given given[GIVEN_MAX]; /* in this rule */
};

static void step(struct text_scan *s, size_t n)
{
	for (; n && *s->p; n--, s->p++)
		s->line += *s->p == '\n';
}

static int scan_double(struct text_scan *s)
{
	for (step(s, 1); *s->p && *s->p != '"'; step(s, 1)) {
		if (*s->p == '$' && s->p[1] == '{')
			return loading_fail(s->loading, s->line,
					    "${ in double quotes would be filled in from the "
					    "environment; write [$]{, or single quotes");
		if (*s->p != '\\')
			continue;
		if (s->p[1] != '\\' && s->p[1] != '"')
			return loading_fail(
				s->loading, s->line,
				"a single backslash in double quotes, before \"%.1s\"; write "
				"it twice, or single quotes, or for example [.] or [0-9]",
				s->p[1] == '\n' ? "" : s->p + 1);
		step(s, 1);
	}
	step(s, 1);
	return 0;
}

static int scan_single(struct text_scan *s)
{
	for (step(s, 1); *s->p && *s->p != '\''; step(s, 1))
		step(s, *s->p == '\\');
	step(s, 1);
	return 0;
}

static int scan_comment(struct text_scan *s)
{
	if (s->p[0] == '/' && s->p[1] == '*') {
		const char *end = strstr(s->p, "*/");
		step(s, end ? (size_t)(end - s->p) + 2 : strlen(s->p));
	} else if (s->p[0] == '#' || s->p[1] == '/') {
		step(s, strcspn(s->p, "\n"));
	} else {
		step(s, 1);
	}
	return 0;
}

static int scan_equals(struct text_scan *s)
{
	struct rules_text name = s->word;

	step(s, 1);
	if (s->depth != 1 || !name.n)
		return 0;
	for (size_t i = 0; i < s->given_n; i++) {
		const struct given *g = &s->given[i];
		if (g->name.n == name.n && memcmp(g->name.p, name.p, name.n) == 0)
			return loading_fail(s->loading, s->line,
					    "%.*s is given twice in this rule, first on line %d; "
					    "remove one",
					    (int)(name.n < 40 ? name.n : 40), name.p, g->line);
	}
	if (s->given_n < GIVEN_MAX) /* there are not so many names */
		s->given[s->given_n++] = (struct given){name, s->line};
	return 0;
}

static int scan_brace(struct text_scan *s)
{
	if (*s->p == '{')
		s->depth++;
	else if (s->depth)
		s->depth--;
	if (!s->depth)
		s->given_n = 0;
	step(s, 1);
	return 0;
}

/* A word ends where libconfuse ends it. */
static int scan_word(struct text_scan *s)
{
	size_t n = strcspn(s->p, " \t\r\n\"'#(){}=,+");

	if (memmem(s->p, n, "$", 1) && s->p[n] == '{')
		return loading_fail(
			s->loading, s->line,
			"${ would be filled in from the environment; write the value in "
			"single quotes");
	s->word = (struct rules_text){s->p, n};
	step(s, n ? n : 1);
	return 0;
}

int rules_text_check(struct loading *l, const char *text)
{
	static const struct {
		char c;
		int (*scan)(struct text_scan *s);
	} kinds[] = {{'"', scan_double},  {'\'', scan_single}, {'#', scan_comment},
		     {'/', scan_comment}, {'=', scan_equals},  {'{', scan_brace},
		     {'}', scan_brace}};
	struct text_scan s = {.loading = l, .p = text, .line = 1};
	int r = 0;

	while (*s.p && !r) {
		int (*scan)(struct text_scan *) = scan_word;
		for (size_t i = 0; i < KBAN_ARRAY_LEN(kinds); i++)
			scan = kinds[i].c == *s.p ? kinds[i].scan : scan;
		if (isspace((unsigned char)*s.p))
			step(&s, 1);
		else
			r = scan(&s);
	}
	return r;
}
