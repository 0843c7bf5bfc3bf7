/* SPDX-License-Identifier: MPL-2.0
 *
 * Private to the rules: rules_envelope.c (what stands around a line's text), rules.c (what the
 * text means), rules_compile.c (patterns; with rules.c the only ones that see PCRE2), rules_load.c (our own files; the only one that sees libconfuse) and
 * rules_text.c (what libconfuse would not say of them), rules_filter.c (fail2ban's files) and
 * rules_python.c (Python's regular expressions).
 */
#ifndef KBAN_NODE_RULES_INSIDE_H
#define KBAN_NODE_RULES_INSIDE_H

#include <stdarg.h>
#include <string.h>

#include "node/rules.h"

#define RULES_PATTERN_MAX 4096U
#define RULES_LEAD_MAX	  48U
#define RULES_FILE_MAX	  (256U * 1024U)
#define RULES_MAX	  512U /* of all files together, beside the built-in ones */
#define RULES_IGNORE_MAX  64U

/* The steps that one pattern may take on one line: enough for a .* and a few repeats of it over the
 * longest line, and a bound on what an attacker's line costs. */
#define RULES_STEPS_MIN	     5000U
#define RULES_STEPS_PER_BYTE 50U
static inline uint32_t rules_steps(size_t len)
{
	return RULES_STEPS_MIN + RULES_STEPS_PER_BYTE * (uint32_t)(len < 1U << 20 ? len : 1U << 20);
}

struct rules_text {
	const char *p;
	size_t n;
};

static inline void text_skip(struct rules_text *t, size_t n)
{
	t->p += n;
	t->n -= n;
}

static inline bool text_starts(const struct rules_text *t, const char *with, size_t n)
{
	return t->n >= n && memcmp(t->p, with, n) == 0;
}

/* Memory for a copy of a line, or of a part of it. */
struct rules_copy {
	char *p;
	size_t room;
};

struct pattern {
	struct pcre2_real_code_8 *code;
	bool jit;
	char lead[RULES_LEAD_MAX]; /* the text starts so, after "SERVICE: " if after_service */
	size_t lead_len;
	bool after_service;
};

/* What a fail2ban filter's regular expressions share. */
struct filter {
	struct pattern prefix; /* prefregex; without code: there is none */
	int content;	       /* its group that the failregex sees; 0: all */
	int prefix_address[2], prefix_user;
	size_t ignore_n;
	struct pattern *ignore;
};

struct rule_test {
	int line;
	char *text, *expected; /* one allocation, text's */
};

struct rule {
	char *name;
	const char *file; /* one of the rules' files */
	int line;
	bool builtin;
	enum rules_log log;
	char *service; /* NULL: the pattern's group says */
	enum rules_verdict verdict;
	enum rules_half half;
	bool has_own;
	struct rules_limits own;
	char *contains;
	size_t contains_len;
	struct pattern pattern;
	const struct filter *filter;		    /* NULL: a rule of ours */
	int address, address6, user, group_service; /* numbers of the groups; 0: none */
	uint64_t slow;				    /* lines on which it met its limit */
	size_t tests_n;
	struct rule_test *tests;
};

struct rules {
	struct rule *rule;
	size_t n;
	size_t files_n, filters_n;
	char **files;
	struct filter **filters;
	struct pcre2_real_match_data_8 *data, *prefix_data;
	struct pcre2_real_match_context_8 *limits;
	struct rules_copy *copies; /* two: what filters see of a line, with the newline behind it */
};

/* Compiling (rules_compile.c). NULL, or what is wrong with the pattern, the caller's to free. */
char *rule_compile(struct rule *rule, const char *pattern) kban_must_check;
/* A regular expression that was Python's: it is searched for, anywhere in the text. */
char *pattern_compile_search(struct pattern *out, const char *regex) kban_must_check;
/* It can match at the text's beginning only. */
bool pattern_is_anchored(const char *regex);
int pattern_group(const struct pattern *p, const char *name);
void pattern_free(struct pattern *p);
/* To be called once all rules are compiled, before the first match. */
void rules_compiled(struct rules *r);

/* A file being read, and the first error in it. */
struct loading {
	const struct rules_set *set;
	struct rules *rules;
	const char *path; /* one of the rules' files */
	bool builtin;
	char *error;
};
int loading_fail(struct loading *l, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A new rule at the end; it is named already. Fails when its name is taken or there are too many.
 */
int loading_rule(struct loading *l, struct rule **out, const char *name, int line) kban_must_check;
bool rules_name_valid(const char *s);
/* What libconfuse would read otherwise than it is meant, and say nothing (rules_text.c). */
int rules_text_check(struct loading *l, const char *text) kban_must_check;

/* Adds the rules of a fail2ban filter (rules_filter.c). */
int filter_load(struct loading *l, const char *text) kban_must_check;

/* A Python regular expression with fail2ban's tags as PCRE2's, the caller's to free; NULL: *error
 * is what is wrong and the remedy, the caller's to free (rules_python.c). */
char *python_translate(const char *regex, char **error);

/* Cuts the line down to its text. A line with no envelope is no line of Kerio's: the rest of a cut
 * line must not be taken for one, since an attacker may have typed it. whole is what fail2ban's
 * regular expressions see: the line without its date, or all of it. */
bool rules_strip(const struct rules_source *from, struct rules_text *t, struct rules_text *whole,
		 struct rules_match *out);
/* The first rule that matches a text without its envelope. */
bool rules_find(const struct rules *r, enum rules_log log, const struct rules_text *t,
		const struct rules_text *whole, struct rules_match *out);

#endif
