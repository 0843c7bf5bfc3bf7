/* SPDX-License-Identifier: MPL-2.0
 *
 * fail2ban's filter files, jail.conf(5): an ini file whose section Definition has failregex,
 * ignoreregex and prefregex, a regular expression a line, with %(name)s and <name> for values of
 * other options of the file. Includes are not read: a name that would come from one is an error.
 */
#include "node/rules_inside.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"

#define VALUE_MAX   16384U
#define DEPTH_MAX   10U
#define OPTIONS_MAX 256U
#define NAME_ROOM   26U /* what is left of a rule's name for the file's */
/* Bytes read and options looked at to fill in all names of a file: names of names of nothing
 * multiply without end. */
#define WORK_MAX (16U << 20)

struct line { /* of an option's value */
	int no;
	char *text;
};

struct option {
	char *section, *name;
	int line;
	size_t n;
	struct line *lines;
};

struct ini {
	struct loading *loading;
	size_t n;
	struct option *options;
	size_t work;
};

static void ini_free(struct ini *ini)
{
	for (size_t i = 0; i < ini->n; i++) {
		struct option *o = &ini->options[i];
		for (size_t k = 0; k < o->n; k++)
			free(o->lines[k].text);
		free(o->lines);
		free(o->section);
		free(o->name);
	}
	free(ini->options);
}

/* The file ---------------------------------------------------------------------------------------
 */

static struct rules_text trimmed(const char *p, size_t n)
{
	while (n && isspace((unsigned char)*p)) {
		p++;
		n--;
	}
	while (n && isspace((unsigned char)p[n - 1]))
		n--;
	return (struct rules_text){p, n};
}

static char *text_copy(struct rules_text t)
{
	return kban_asprintf("%.*s", (int)t.n, t.p);
}

static void option_line(struct option *o, int no, struct rules_text t)
{
	o->lines = kban_realloc(o->lines, (o->n + 1) * sizeof(*o->lines));
	o->lines[o->n++] = (struct line){no, text_copy(t)};
}

/* The last one of that name counts. */
static const struct option *option_in(const struct ini *ini, const char *section, const char *name,
				      size_t n)
{
	for (size_t i = ini->n; i-- > 0;) {
		const struct option *o = &ini->options[i];
		if (strcmp(o->section, section) == 0 && strlen(o->name) == n &&
		    strncasecmp(o->name, name, n) == 0)
			return o;
	}
	return NULL;
}

static int option_begin(struct ini *ini, const char *section, int no, struct rules_text t)
{
	const char *end = t.p + strcspn(t.p, "=:\n");
	struct rules_text name = trimmed(t.p, (size_t)(end - t.p));

	if (end >= t.p + t.n || end == t.p)
		return loading_fail(ini->loading, no, "\"%.*s\" is no option; write name = value",
				    (int)(t.n < 40 ? t.n : 40), t.p);
	if (ini->n == OPTIONS_MAX)
		return loading_fail(ini->loading, no, "more than %u options; remove some",
				    OPTIONS_MAX);
	const struct option *twice = option_in(ini, section, name.p, name.n);
	if (twice)
		return loading_fail(ini->loading, no,
				    "%.64s is given twice, first on line %d; remove one",
				    twice->name, twice->line);
	ini->options = kban_realloc(ini->options, (ini->n + 1) * sizeof(*ini->options));
	struct option *o = &ini->options[ini->n++];

	*o = (struct option){.section = kban_strdup(section), .line = no};
	o->name = text_copy(name);
	option_line(o, no, trimmed(end + 1, (size_t)(t.p + t.n - end - 1)));
	return 0;
}

/* What stands before a comment that a blank and ";" begin, as fail2ban's client/configparserinc.py
 * has it. */
static size_t without_comment(const char *p, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (p[i] == ';' && isspace((unsigned char)p[i - 1]))
			return i;
	}
	return n;
}

static int ini_line(struct ini *ini, char *section, size_t size, int no, const char *p, size_t n)
{
	struct rules_text t = trimmed(p, without_comment(p, n));

	if (!t.n || *t.p == '#' || *t.p == ';')
		return 0;
	if (*p == '[' && t.p[t.n - 1] == ']') {
		snprintf(section, size, "%.*s", (int)(t.n - 2), t.p + 1);
		return 0;
	}
	if (!*section)
		return loading_fail(ini->loading, no,
				    "stands before any section; write [Definition] above it");
	bool continues = isspace((unsigned char)*p) && ini->n &&
			 strcmp(ini->options[ini->n - 1].section, section) == 0;
	if (!continues)
		return option_begin(ini, section, no, t);
	option_line(&ini->options[ini->n - 1], no, t);
	return 0;
}

static int ini_parse(struct ini *ini, const char *text)
{
	char section[64] = "";
	int no = 1;

	for (const char *p = text; *p; no++) {
		size_t n = strcspn(p, "\n");
		int r = ini_line(ini, section, sizeof(section), no, p, n);
		if (r)
			return r;
		p += n + (p[n] == '\n');
	}
	return 0;
}

/* Values -----------------------------------------------------------------------------------------
 */

static const struct option *option_find(const struct ini *ini, const char *const sections[3],
					const char *name, size_t n)
{
	const struct option *o = NULL;

	for (size_t i = 0; i < 3 && !o; i++)
		o = option_in(ini, sections[i], name, n);
	return o;
}

/* Of %(name)s, which configparser fills in. */
static const struct option *option_named(const struct ini *ini, const char *name, size_t n)
{
	static const char *const sections[] = {"Definition", "DEFAULT", "Init"};

	return option_find(ini, sections, name, n);
}

/* Of <name>, and of what the filter itself is: there [Init] overrides (client/configreader.py,
 * getCombined). */
static const struct option *option_combined(const struct ini *ini, const char *name, size_t n)
{
	static const char *const sections[] = {"Init", "Definition", "DEFAULT"};

	return option_find(ini, sections, name, n);
}

struct value {
	struct ini *ini;
	int line;
	size_t n;
	char text[VALUE_MAX + 1];
};

static int value_add(struct value *v, const char *p, size_t n)
{
	if (v->n + n > VALUE_MAX)
		return loading_fail(v->ini->loading, v->line,
				    "longer than %u bytes when its names are filled in; shorten it",
				    VALUE_MAX);
	memcpy(v->text + v->n, p, n);
	v->n += n;
	v->text[v->n] = 0;
	return 0;
}

static int value_work(struct value *v, size_t n)
{
	v->ini->work += n;
	if (v->ini->work <= WORK_MAX)
		return 0;
	return loading_fail(v->ini->loading, v->line,
			    "too many names within names; write their values out");
}

static int value_expand(struct value *v, const char *p, unsigned depth);

static int value_option(struct value *v, const struct option *o, unsigned depth)
{
	int r = depth < DEPTH_MAX ? 0
				  : loading_fail(v->ini->loading, v->line,
						 "%s refers to itself; break the circle", o->name);

	for (size_t i = 0; !r && i < o->n; i++) {
		r = i ? value_add(v, "\n", 1) : 0;
		if (!r)
			r = value_expand(v, o->lines[i].text, depth + 1);
	}
	return r;
}

/* At "%": "%%" or "%(name)s". *p moves behind it. */
static int value_percent(struct value *v, const char **p, unsigned depth)
{
	const char *name = *p + 2, *end = (*p)[1] == '(' ? strchr(name, ')') : NULL;

	if ((*p)[1] == '%') {
		*p += 2;
		return value_add(v, "%", 1);
	}
	if (!end || end[1] != 's')
		return loading_fail(v->ini->loading, v->line,
				    "a single %% ; write %%%% for one, or %%(name)s for a value");
	size_t n = (size_t)(end - name);
	const struct option *o = option_named(v->ini, name, n);
	int r = value_work(v, v->ini->n);

	*p = end + 2;
	if (r || o)
		return r ? r : value_option(v, o, depth);
	return loading_fail(v->ini->loading, v->line,
			    "%%(%.*s)s is not set in this file, and files named in [INCLUDES] are "
			    "not read; write its value "
			    "into the file",
			    (int)(n < 64 ? n : 64), name);
}

/* "<name>" of an option; *n is 0: it is none, and stays. */
static int value_tag(struct value *v, const char *p, const struct option **o, size_t *n)
{
	size_t len = strcspn(p + 1, "<> ()");

	*n = 0;
	if (p[1 + len] != '>' || !len)
		return 0;
	*o = option_combined(v->ini, p + 1, len);
	*n = *o ? len + 2 : 0;
	return value_work(v, v->ini->n + len);
}

static int value_expand(struct value *v, const char *p, unsigned depth)
{
	int r = value_work(v, strlen(p) + 1);

	while (*p && !r) {
		if (*p == '%') {
			r = value_percent(v, &p, depth);
		} else {
			r = value_add(v, p, 1);
			p++;
		}
	}
	return r;
}

/* <name> may stand within another, <mdre-<mode>>: the inner ones first, again and again. */
static int value_tags(struct value *v)
{
	for (unsigned pass = 0; pass < DEPTH_MAX; pass++) {
		kban_auto(kban_free) void *before = kban_strdup(v->text);
		const struct option *o;
		bool changed = false;
		int r = value_work(v, v->n + 1);

		v->n = 0;
		v->text[0] = 0;
		for (const char *p = before; *p && !r;) {
			size_t n = 0;
			r = *p == '<' ? value_tag(v, p, &o, &n) : 0;
			changed |= n > 0;
			if (!r)
				r = n ? value_option(v, o, 1) : value_add(v, p, 1);
			p += n ? n : 1;
		}
		if (r || !changed)
			return r;
	}
	return loading_fail(v->ini->loading, v->line,
			    "a <name> refers to itself; break the circle");
}

static int split_regex(struct ini *ini, struct value *v,
		       int (*fn)(struct ini *ini, void *arg, int line, const char *regex),
		       void *arg)
{
	char *save = NULL;
	int r = 0;

	for (char *s = strtok_r(v->text, "\n", &save); s && !r; s = strtok_r(NULL, "\n", &save)) {
		struct rules_text t = trimmed(s, strlen(s));
		kban_auto(kban_free) void *regex = text_copy(t);
		r = t.n ? fn(ini, arg, v->line, regex) : 0;
	}
	return r;
}

/* Calls fn for each line of an option's value, with its names filled in. */
static int each_regex(struct ini *ini, const char *name,
		      int (*fn)(struct ini *ini, void *arg, int line, const char *regex), void *arg)
{
	const struct option *o = option_combined(ini, name, strlen(name));
	kban_auto(kban_free) void *memory = kban_zalloc(sizeof(struct value));
	struct value *v = memory;
	int r = 0;

	for (size_t i = 0; o && i < o->n && !r; i++) {
		v->ini = ini;
		v->line = o->lines[i].no;
		v->n = 0;
		v->text[0] = 0;
		r = value_expand(v, o->lines[i].text, 0);
		if (!r)
			r = value_tags(v);
		if (!r)
			r = split_regex(ini, v, fn, arg);
	}
	return r;
}

/* Rules ------------------------------------------------------------------------------------------
 */

struct building {
	struct filter *filter;
	char name[KBAN_RULE_MAX + 1];
	unsigned n;
};

/* "kerio" of "/etc/fail2ban/filter.d/kerio.conf" */
static void filter_name(char out[KBAN_RULE_MAX + 1], const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = strlen(base) - strlen(".conf");

	n = n < NAME_ROOM ? n : NAME_ROOM;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)base[i];
		out[i] = c < 0x80 && (isalnum(c) || c == '.') ? (char)tolower(c) : '-';
	}
	out[n] = 0;
}

static int regex_compile(struct ini *ini, struct pattern *out, const char *what, int line,
			 const char *regex)
{
	char *error = NULL;
	kban_auto(kban_free) void *text = python_translate(regex, &error);
	kban_auto(kban_free) void *wrong = text ? pattern_compile_search(out, text) : error;

	return wrong ? loading_fail(ini->loading, line, "%s: %s", what, (char *)wrong) : 0;
}

static int add_prefix(struct ini *ini, void *arg, int line, const char *regex)
{
	struct filter *f = ((struct building *)arg)->filter;

	if (f->prefix.code)
		return loading_fail(ini->loading, line, "more than one prefregex; write one");
	int r = regex_compile(ini, &f->prefix, "prefregex", line, regex);
	if (r)
		return r;
	f->content = pattern_group(&f->prefix, "content");
	f->prefix_address[0] = pattern_group(&f->prefix, "ip4");
	f->prefix_address[1] = pattern_group(&f->prefix, "ip6");
	f->prefix_user = pattern_group(&f->prefix, "user");
	return 0;
}

static int add_ignore(struct ini *ini, void *arg, int line, const char *regex)
{
	struct filter *f = ((struct building *)arg)->filter;

	if (f->ignore_n == RULES_IGNORE_MAX)
		return loading_fail(ini->loading, line,
				    "more than %u lines of ignoreregex; remove some",
				    RULES_IGNORE_MAX);
	f->ignore = kban_realloc(f->ignore, (f->ignore_n + 1) * sizeof(*f->ignore));
	f->ignore[f->ignore_n] = (struct pattern){0};
	return regex_compile(ini, &f->ignore[f->ignore_n++], "ignoreregex", line, regex);
}

static bool names_an_address(const struct rule *rule)
{
	return rule->address || rule->address6 || rule->filter->prefix_address[0] ||
	       rule->filter->prefix_address[1];
}

static int add_rule(struct ini *ini, void *arg, int line, const char *regex)
{
	struct building *b = arg;
	char name[KBAN_RULE_MAX + 16];
	struct rule *rule;

	snprintf(name, sizeof(name), "%s.%u", b->name, ++b->n);
	int r = loading_rule(ini->loading, &rule, name, line);
	if (r)
		return r;
	rule->filter = b->filter;
	rule->service = kban_strdup(b->name);
	rule->verdict = RULES_FAILURE;
	rule->log = RULES_LOG_ANY;
	r = regex_compile(ini, &rule->pattern, "failregex", line, regex);
	if (r)
		return r;
	rule->address = pattern_group(&rule->pattern, "ip4");
	rule->address6 = pattern_group(&rule->pattern, "ip6");
	rule->user = pattern_group(&rule->pattern, "user");
	if (!names_an_address(rule))
		return loading_fail(
			ini->loading, line,
			"failregex: names no address; write <HOST> or <ADDR> where it stands");
	if (regex[0] != '^')
		kban_warning("%s:%d: this failregex is not anchored: text that an attacker types, "
			     "such as a user name, may match it "
			     "and name somebody else's address; begin it with ^",
			     ini->loading->path, line);
	return 0;
}

/* common.conf sets names only; another file may set what this one would need. */
static int check_includes(const struct ini *ini)
{
	static const char *const names[] = {"before", "after"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++) {
		const struct option *o = option_in(ini, "INCLUDES", names[i], strlen(names[i]));
		for (size_t k = 0; o && k < o->n; k++) {
			if (*o->lines[k].text && strcmp(o->lines[k].text, "common.conf") != 0)
				return loading_fail(ini->loading, o->lines[k].no,
						    "%.64s is not read; copy what the filter needs "
						    "of it into this file, and remove this line",
						    o->lines[k].text);
		}
	}
	return 0;
}

static int check_maxlines(const struct ini *ini)
{
	const struct option *o = option_combined(ini, "maxlines", 8);

	if (!o || atoi(o->lines[0].text) <= 1)
		return 0;
	return loading_fail(
		ini->loading, o->line,
		"maxlines is over 1, and kban reads line by line; use expressions for one line");
}

static struct filter *filter_new(struct rules *rules)
{
	rules->filters = kban_realloc(rules->filters,
				      (rules->filters_n + 1) * sizeof(*rules->filters));
	return rules->filters[rules->filters_n++] = kban_zalloc(sizeof(struct filter));
}

int filter_load(struct loading *l, const char *text)
{
	struct ini ini = {.loading = l};
	struct building b = {.filter = filter_new(l->rules)};
	int r = ini_parse(&ini, text);

	filter_name(b.name, l->path);
	if (!r)
		r = check_includes(&ini);
	if (!r)
		r = check_maxlines(&ini);
	if (!r)
		r = each_regex(&ini, "prefregex", add_prefix, &b);
	if (!r)
		r = each_regex(&ini, "ignoreregex", add_ignore, &b);
	if (!r)
		r = each_regex(&ini, "failregex", add_rule, &b);
	if (!r && !b.n)
		r = loading_fail(l, 1, "no failregex in a section [Definition]; write one");
	ini_free(&ini);
	return r;
}
