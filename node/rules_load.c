/* SPDX-License-Identifier: MPL-2.0
 *
 * Rules from their files and the built-in text: the syntax, the checks, and the rules' own tests.
 */
#include "node/rules_inside.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"

extern const char rules_builtin[];
extern const size_t rules_builtin_len;

static const char *const half_names[] = {
	[RULES_WHOLE] = "whole",
	[RULES_HALF_LOGIN] = "login",
	[RULES_HALF_USER] = "user",
};

/* A value with the line it stands in: libconfuse forgets it. */
struct value {
	int line;
	char text[];
};

int loading_fail(struct loading *l, int line, const char *format, ...)
{
	va_list args;
	char *what = NULL;

	va_start(args, format);
	int n = vasprintf(&what, format, args);
	va_end(args);
	if (n < 0)
		abort();
	if (!l->error)
		l->error = kban_asprintf("%s:%d: %s", l->path, line, what);
	free(what);
	return -EINVAL;
}

/* libconfuse hands no argument through to its error function. */
static _Thread_local struct loading *now_loading;

/* libconfuse takes the end of a file for the end of a section. So the text gets a last line, which is
 * an option outside of every section and unknown inside. */
#define END_OF_FILE "kban-end-of-file"

static __attribute__((format(printf, 2, 0))) void report_syntax(cfg_t *cfg, const char *format,
								va_list args)
{
	char *what = NULL;

	if (vasprintf(&what, format, args) < 0)
		abort();
	if (strstr(what, END_OF_FILE))
		loading_fail(now_loading, cfg->line - 1, "the file ends inside a rule; close it with }");
	else
		loading_fail(now_loading, cfg->line, "%s; see the example at the top of kerio.rules",
			     what);
	free(what);
}

static int value_keep(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	(void)opt;
	size_t n = strlen(text) + 1;
	struct value *v = kban_zalloc(sizeof(*v) + n);

	v->line = cfg->line;
	memcpy(v->text, text, n);
	*(void **)result = v;
	return 0;
}

static const struct value *value_of(cfg_t *section, const char *name)
{
	return cfg_getptr(section, name);
}

/* The name's place in a list of names; -1 is none of them, and says so. */
static int value_choice(struct loading *l, const struct value *v, const char *what,
			const char *const *names, size_t n)
{
	char all[256] = "";

	for (size_t i = 0; i < n; i++) {
		if (strcmp(v->text, names[i]) == 0)
			return (int)i;
		strcat(strcat(all, i ? ", " : ""), names[i]);
	}
	loading_fail(l, v->line, "unknown %s \"%s\"; use one of %s", what, v->text, all);
	return -1;
}

bool rules_name_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-");

	return n && n <= KBAN_RULE_MAX && !s[n];
}

/* What a rule needs besides a pattern that compiles. */
static int rule_check(struct loading *l, const struct rule *rule, int line)
{
	if (!rule->address && (rule->verdict == RULES_FAILURE || rule->verdict == RULES_BAN))
		return loading_fail(l, line,
				    "rule %s: the pattern has no group \"address\"; write "
				    "%%address%% where it stands",
				    rule->name);
	if (!rule->service && !rule->group_service)
		return loading_fail(l, line,
				    "rule %s: no service; set service = NAME, or write %%service%% "
				    "in the pattern",
				    rule->name);
	if (rule->service && !rules_name_valid(rule->service))
		return loading_fail(
			l, line,
			"rule %s: bad service \"%s\"; use a-z, 0-9, \".\" and \"-\", at most %u",
			rule->name, rule->service, KBAN_RULE_MAX);
	if (rule->half != RULES_WHOLE && rule->verdict != RULES_FAILURE)
		return loading_fail(
			l, line,
			"rule %s: half is for failures; remove it, or set verdict = failure",
			rule->name);
	return 0;
}

static int number_load(struct loading *l, uint32_t *out, cfg_t *section, const char *name,
		       uint32_t most)
{
	const struct value *v = value_of(section, name);

	if (!v)
		return 0;
	char *end;
	unsigned long n = strtoul(v->text, &end, 10);

	if (!isdigit((unsigned char)v->text[0]) || *end || n < 1 || n > most)
		return loading_fail(l, v->line,
				    "%s \"%.20s\" is out of range; write a number from 1 to %u",
				    name, v->text, most);
	*out = (uint32_t)n;
	return 0;
}

/* What a limit can mean beside the rule's verdict; nothing is taken and then without effect. */
static int limits_check(struct loading *l, const struct rule *rule, cfg_t *section)
{
	static const char *const names[] = {"failures", "check-time", "block-time"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++) {
		const struct value *v = value_of(section, names[i]);
		bool bans = rule->verdict == RULES_BAN && strcmp(names[i], "block-time") == 0;
		if (!v || bans)
			continue;
		if (rule->verdict != RULES_FAILURE)
			return loading_fail(l, v->line,
					    "rule %s: %s has no effect with this verdict; remove "
					    "it, or set verdict = failure",
					    rule->name, names[i]);
		if (rule->half != RULES_WHOLE)
			return loading_fail(l, v->line,
					    "rule %s: half and %s: halves pair only where lines of "
					    "several rules count together; remove one",
					    rule->name, names[i]);
	}
	return 0;
}

static int limits_load(struct loading *l, struct rule *rule, cfg_t *section)
{
	int r = number_load(l, &rule->own.failures, section, "failures", RULES_FAILURES_MAX);

	if (!r)
		r = number_load(l, &rule->own.check_s, section, "check-time", RULES_CHECK_MAX_S);
	if (!r)
		r = number_load(l, &rule->own.block_s, section, "block-time", RULES_BLOCK_MAX_S);
	rule->has_own = rule->own.failures || rule->own.check_s || rule->own.block_s;
	return r ? r : limits_check(l, rule, section);
}

/* What has one of a few words. */
static int words_load(struct loading *l, struct rule *rule, cfg_t *section)
{
	const char *const verdicts[] = {
		rules_verdict_name(RULES_NONE), rules_verdict_name(RULES_FAILURE),
		rules_verdict_name(RULES_BAN), rules_verdict_name(RULES_SUCCESS)};
	const struct value *log = value_of(section, "log"), *half = value_of(section, "half");
	int choice = value_choice(l, value_of(section, "verdict"), "verdict", verdicts,
				  KBAN_ARRAY_LEN(verdicts));

	if (choice < 0)
		return -EINVAL;
	rule->verdict = (enum rules_verdict)choice;
	if (!rules_log_parse(&rule->log, log->text))
		return loading_fail(l, log->line, "unknown log \"%s\"; use one of %s", log->text,
				    rules_log_list);
	choice = half ? value_choice(l, half, "half", half_names, KBAN_ARRAY_LEN(half_names))
		      : RULES_WHOLE;
	if (choice < 0)
		return -EINVAL;
	rule->half = (enum rules_half)choice;
	return 0;
}

/* "TEXT => ADDRESS USER" */
static int tests_load(struct loading *l, struct rule *rule, cfg_t *section)
{
	rule->tests = kban_zalloc((cfg_size(section, "test") + 1) * sizeof(*rule->tests));
	for (unsigned i = 0; i < cfg_size(section, "test"); i++) {
		const struct value *v = cfg_getnptr(section, "test", i);
		struct rule_test *t = &rule->tests[rule->tests_n++];
		char *arrow = NULL;

		t->line = v->line;
		t->text = kban_strdup(v->text);
		for (char *p = t->text; (p = strstr(p, " => ")); p += 4)
			arrow = p;
		if (!arrow)
			return loading_fail(
				l, v->line,
				"rule %s: a test without \" => \"; write \"TEXT => ADDRESS USER\"",
				rule->name);
		*arrow = 0;
		t->expected = arrow + 4;
	}
	return 0;
}

static int rule_load(struct loading *l, struct rule *rule, cfg_t *section)
{
	const struct value *pattern = value_of(section, "pattern"),
			   *service = value_of(section, "service");
	const struct value *contains = value_of(section, "contains");
	const char *const needed[] = {"verdict", "pattern", "log"};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(needed); i++) {
		if (!value_of(section, needed[i]))
			return loading_fail(l, section->line, "rule %s: no %s; add it", rule->name,
					    needed[i]);
	}
	int r = words_load(l, rule, section);
	if (!r)
		r = limits_load(l, rule, section);
	if (r)
		return r;
	if (service && service->text[0])
		rule->service = kban_strdup(service->text);
	if (contains && contains->text[0]) {
		rule->contains = kban_strdup(contains->text);
		rule->contains_len = strlen(rule->contains);
	}
	kban_auto(kban_free) void *wrong = rule_compile(rule, pattern->text);
	if (wrong)
		return loading_fail(l, pattern->line, "rule %s: pattern: %s", rule->name,
				    (char *)wrong);
	r = rule_check(l, rule, pattern->line);
	return r ? r : tests_load(l, rule, section);
}

/* An own rule takes the place of the built-in one that has its name. */
int loading_rule(struct loading *l, struct rule **out, const char *name, int line)
{
	struct rules *rules = l->rules;

	if (!rules_name_valid(name))
		return loading_fail(
			l, line,
			"bad rule name \"%.40s\"; use a-z, 0-9, \".\" and \"-\", at most %u", name,
			KBAN_RULE_MAX);
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *other = &rules->rule[i];
		if (strcmp(other->name, name) == 0)
			return loading_fail(l, line,
					    "rule %s is in %s:%d already; give it another name",
					    name, other->file, other->line);
	}
	if (rules->n == RULES_MAX && !l->builtin)
		return loading_fail(l, line, "more than %u rules; remove some", RULES_MAX);
	rules->rule = kban_realloc(rules->rule, (rules->n + 1) * sizeof(*rules->rule));
	*out = &rules->rule[rules->n++];
	**out = (struct rule){
		.name = kban_strdup(name), .file = l->path, .line = line, .builtin = l->builtin};
	return 0;
}

/* "ADDRESS USER" as a test writes it. */
static char *match_describe(const struct rules_match *m)
{
	char address[KBAN_PREFIX_TEXT] = "-";

	if (m->has_address)
		kban_prefix_format(&m->address, address);
	return kban_asprintf("%s %.*s", address, m->user ? (int)m->user_len : 1,
			     m->user ? m->user : "-");
}

/* A test runs through all rules: one that stands before this one may take its lines. The caller
 * frees what it found. */
static char *test_run(const struct rules *r, const struct rule *rule, const struct rule_test *t,
		      bool *ok)
{
	struct rules_text text = {t->text, strlen(t->text)}, whole;
	struct rules_match m = {0};

	(void)rules_strip(&rules_anywhere, &text, &whole, &m);
	bool known = rules_find(r, RULES_LOG_ANY, &text, &whole, &m);

	*ok = false;
	if (!known)
		return kban_strdup("no rule");
	if (m.rule != rule->name)
		return kban_asprintf("rule %s", m.rule);
	char *found = match_describe(&m);
	*ok = strcmp(found, t->expected) == 0;
	return found;
}

static int test_check(struct loading *l, const struct rule *rule, const struct rule_test *t)
{
	bool ok;
	kban_auto(kban_free) void *found = test_run(l->rules, rule, t, &ok);

	if (ok)
		return 0;
	l->path = rule->file;
	if (strcmp(found, "no rule") == 0)
		return loading_fail(l, t->line,
				    "rule %s: no rule matches its test; correct the pattern",
				    rule->name);
	if (strncmp(found, "rule ", 5) == 0)
		return loading_fail(l, t->line,
				    "rule %s: its test is taken by %s; put it before that one, or "
				    "narrow that one",
				    rule->name, (char *)found);
	return loading_fail(l, t->line,
			    "rule %s: its test reads \"%s\"; correct the pattern or the test",
			    rule->name, (char *)found);
}

/* An own rule may well take lines of a built-in one: those are only tested alone. */
static int rules_test(struct loading *l)
{
	const struct rules *r = l->rules;

	for (size_t i = 0; i < r->n; i++) {
		for (size_t k = 0; k < r->rule[i].tests_n; k++) {
			int failed = r->rule[i].builtin && l->set->n
					     ? 0
					     : test_check(l, &r->rule[i], &r->rule[i].tests[k]);
			if (failed)
				return failed;
		}
	}
	return 0;
}

void rules_each_test(const struct rules *r, void (*fn)(void *arg, const struct rules_test *t),
		     void *arg)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rule[i];
		struct rules_test t = {.rule = rule->name, .file = rule->file, .line = rule->line};

		if (!rule->tests_n)
			fn(arg, &t);
		for (size_t k = 0; k < rule->tests_n; k++) {
			kban_auto(kban_free) void *found = test_run(r, rule, &rule->tests[k],
								    &t.ok);

			t.line = rule->tests[k].line;
			t.text = rule->tests[k].text;
			t.expected = rule->tests[k].expected;
			t.found = found;
			fn(arg, &t);
		}
	}
}

/* A built-in rule whose name an own one has taken is left out. */
static bool rule_replaced(const struct loading *l, const char *name)
{
	for (size_t i = 0; l->builtin && i < l->rules->n; i++) {
		if (!l->rules->rule[i].builtin && strcmp(l->rules->rule[i].name, name) == 0)
			return true;
	}
	return false;
}

/* libconfuse counts on to the section's end: its pattern is nearer to what is meant. */
static int section_line(cfg_t *section)
{
	const struct value *pattern = value_of(section, "pattern");

	return pattern ? pattern->line : section->line;
}

static int rules_build(struct loading *l, cfg_t *root)
{
	size_t n = cfg_size(root, "rule");

	if (!n)
		return loading_fail(l, 1, "0 rules; write one, or leave the file out");
	for (size_t i = 0; i < n; i++) {
		cfg_t *section = cfg_getnsec(root, "rule", (unsigned)i);
		struct rule *rule;

		if (rule_replaced(l, cfg_title(section)))
			continue;
		int r = loading_rule(l, &rule, cfg_title(section), section_line(section));
		if (!r)
			r = rule_load(l, rule, section);
		if (r)
			return r;
	}
	return 0;
}

static int rules_parse(struct loading *l, const char *text)
{
	cfg_opt_t options[] = {
		CFG_PTR_CB("log", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("service", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("verdict", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("half", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("failures", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("check-time", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("block-time", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("contains", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("pattern", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_LIST_CB("test", NULL, CFGF_NONE, value_keep, free),
		CFG_END(),
	};
	cfg_opt_t sections[] = {
		CFG_SEC("rule", options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_INT(END_OF_FILE, 0, CFGF_NONE),
		CFG_END(),
	};
	int checked = rules_text_check(l, text);
	if (checked)
		return checked;
	cfg_t *root = cfg_init(sections, CFGF_NONE);
	kban_auto(kban_free) void *whole = kban_asprintf("%s\n" END_OF_FILE " = 1\n", text);

	now_loading = l;
	cfg_set_error_function(root, report_syntax);
	int parsed = cfg_parse_buf(root, whole);
	int r = parsed == CFG_SUCCESS ? rules_build(l, root)
				      : loading_fail(l, root->line, "syntax error; correct it");
	now_loading = NULL;
	cfg_free(root);
	return r;
}

/* The whole file with a NUL behind it, or -errno. */
static int file_read(char **out, const char *path)
{
	kban_auto(kban_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	kban_auto(kban_free) void *text = kban_zalloc(RULES_FILE_MAX + 2);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (len <= RULES_FILE_MAX &&
	       (n = read(fd, (char *)text + len, RULES_FILE_MAX + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return -errno;
	if (len > RULES_FILE_MAX)
		return -EFBIG;
	if (memchr(text, 0, len))
		return -EILSEQ;
	*out = text;
	text = NULL;
	return 0;
}

static const char *file_name(struct loading *l, const char *path)
{
	struct rules *r = l->rules;

	r->files = kban_realloc(r->files, (r->files_n + 1) * sizeof(*r->files));
	return r->files[r->files_n++] = kban_strdup(path);
}

static bool is_filter(const char *path)
{
	size_t n = strlen(path);

	return n > 5 && strcmp(path + n - 5, ".conf") == 0;
}

static int file_load(struct loading *l, const char *path)
{
	char *text = NULL;
	int r = file_read(&text, path);

	l->path = file_name(l, path);
	if (r) {
		loading_fail(l, 1, "%s; give a readable text file of at most %u bytes",
			     r == -EILSEQ ? "holds a NUL byte" : strerror(-r), RULES_FILE_MAX);
		return r;
	}
	r = is_filter(path) ? filter_load(l, text) : rules_parse(l, text);
	free(text);
	return r;
}

static int set_load(struct loading *l)
{
	int r = 0;

	for (size_t i = 0; !r && i < l->set->n; i++)
		r = file_load(l, l->set->paths[i]);
	if (!r && !l->set->alone) {
		l->path = file_name(l, "kerio.rules");
		l->builtin = true;
		r = rules_parse(l, rules_builtin);
	}
	if (r)
		return r;
	rules_compiled(l->rules);
	return l->set->untested ? 0 : rules_test(l);
}

int rules_load(struct rules **out, const struct rules_set *set, char **error)
{
	kban_auto(rules_free) struct rules *rules = kban_zalloc(sizeof(*rules));
	struct loading l = {.set = set, .rules = rules};
	int r = set_load(&l);

	*error = l.error;
	if (r)
		return r;
	*out = rules;
	rules = NULL;
	return 0;
}

int rules_default(struct rules **out)
{
	const struct rules_set none = {0};
	char *error = NULL;
	int r = rules_load(out, &none, &error);

	if (r)
		kban_error("built-in rules: %s", error);
	free(error);
	return r;
}
