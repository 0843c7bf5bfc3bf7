/* SPDX-License-Identifier: MPL-2.0
 *
 * Rules from their file, or the built-in text: the syntax, the checks, and the rules' own tests.
 */
#include "node/rules_inside.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"

#define RULES_FILE_MAX (256U * 1024U)
#define RULES_MAX      256U

extern const char rules_builtin[];
extern const size_t rules_builtin_len;

static const char *const half_names[] = {
	[RULES_WHOLE] = "whole",
	[RULES_HALF_LOGIN] = "login",
	[RULES_HALF_USER] = "user",
};

static const char *const log_names[] = {
	"security", "warning", "mail", "audit", "error", "spam", "debug", "operations", "config",
};

/* A value with the line it stands in: libconfuse forgets it. */
struct value {
	int line;
	char text[];
};

struct loading {
	const char *path;
	struct rules *rules;
	const cfg_t *last; /* the section being read */
	char *error;	   /* the first one */
};

static __attribute__((format(printf, 3, 4))) int fail(struct loading *l, int line, const char *format, ...)
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

static __attribute__((format(printf, 2, 0))) void report_syntax(cfg_t *cfg, const char *format, va_list args)
{
	char *what = NULL;

	if (vasprintf(&what, format, args) < 0)
		abort();
	fail(now_loading, cfg->line, "%s; see the example at the top of kerio.rules", what);
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
	fail(l, v->line, "unknown %s \"%s\"; use one of %s", what, v->text, all);
	return -1;
}

static bool name_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-");

	return n && n <= KBAN_RULE_MAX && !s[n];
}

/* What a rule needs besides a pattern that compiles. */
static int rule_check(struct loading *l, const struct rule *rule, int line)
{
	if (!rule->address && (rule->verdict == RULES_FAILURE || rule->verdict == RULES_BAN))
		return fail(l, line, "rule %s: the pattern has no group \"address\"; write %%address%% where it stands",
			    rule->name);
	if (!rule->service && !rule->group_service)
		return fail(l, line, "rule %s: no service; set service = NAME, or write %%service%% in the pattern",
			    rule->name);
	if (rule->service && !name_valid(rule->service))
		return fail(l, line, "rule %s: bad service \"%s\"; use a-z, 0-9, \".\" and \"-\", at most %u",
			    rule->name, rule->service, KBAN_RULE_MAX);
	if (rule->half != RULES_WHOLE && rule->verdict != RULES_FAILURE)
		return fail(l, line, "rule %s: half is for failures; remove it, or set verdict = failure",
			    rule->name);
	return 0;
}

static int rule_load(struct loading *l, struct rule *rule, cfg_t *section)
{
	const char *const verdicts[] = {rules_verdict_name(RULES_NONE), rules_verdict_name(RULES_FAILURE),
					rules_verdict_name(RULES_BAN), rules_verdict_name(RULES_SUCCESS)};
	const struct value *log = value_of(section, "log"), *verdict = value_of(section, "verdict");
	const struct value *half = value_of(section, "half"), *pattern = value_of(section, "pattern");
	const struct value *service = value_of(section, "service"), *contains = value_of(section, "contains");
	int choice = 0;

	rule->name = kban_strdup(cfg_title(section));
	if (!name_valid(rule->name))
		return fail(l, section->line, "bad rule name \"%s\"; use a-z, 0-9, \".\" and \"-\", at most %u",
			    rule->name, KBAN_RULE_MAX);
	if (!verdict || !pattern || !log)
		return fail(l, section->line, "rule %s: no %s; add it", rule->name,
			    !verdict ? "verdict" : !pattern ? "pattern" : "log");
	if (value_choice(l, log, "log", log_names, KBAN_ARRAY_LEN(log_names)) < 0)
		return -EINVAL;
	choice = value_choice(l, verdict, "verdict", verdicts, KBAN_ARRAY_LEN(verdicts));
	if (choice < 0)
		return -EINVAL;
	rule->verdict = (enum rules_verdict)choice;
	choice = half ? value_choice(l, half, "half", half_names, KBAN_ARRAY_LEN(half_names)) : RULES_WHOLE;
	if (choice < 0)
		return -EINVAL;
	rule->half = (enum rules_half)choice;
	if (service && service->text[0])
		rule->service = kban_strdup(service->text);
	if (contains && contains->text[0]) {
		rule->contains = kban_strdup(contains->text);
		rule->contains_len = strlen(rule->contains);
	}
	kban_auto(kban_free) void *wrong = rule_compile(rule, pattern->text);
	if (wrong)
		return fail(l, pattern->line, "rule %s: %s", rule->name, (char *)wrong);
	return rule_check(l, rule, pattern->line);
}

/* "ADDRESS USER" as a test writes it. */
static char *match_describe(const struct rules_match *m)
{
	char address[KBAN_PREFIX_TEXT] = "-";

	if (m->has_address)
		kban_prefix_format(&m->address, address);
	return kban_asprintf("%s %.*s", address, m->user ? (int)m->user_len : 1, m->user ? m->user : "-");
}

/* A test runs through all rules: one that stands before this one may take its lines. */
static int rule_test(struct loading *l, const struct rule *rule, const struct value *v)
{
	const char *arrow = NULL;
	struct rules_match m = {0};

	for (const char *p = v->text; (p = strstr(p, " => ")); p += 4)
		arrow = p;
	if (!arrow)
		return fail(l, v->line, "rule %s: a test without \" => \"; write \"TEXT => ADDRESS USER\"", rule->name);
	struct rules_text t = {v->text, (size_t)(arrow - v->text)};
	rules_strip(&t, &m);
	if (!rules_find(l->rules, &t, &m))
		return fail(l, v->line, "rule %s: no rule matches its test; correct the pattern", rule->name);
	if (m.rule != rule->name)
		return fail(l, v->line, "rule %s: its test is taken by rule %s; put it before that one, or narrow that one",
			    rule->name, m.rule);
	kban_auto(kban_free) void *found = match_describe(&m);
	if (strcmp(found, arrow + 4) != 0)
		return fail(l, v->line, "rule %s: its test reads \"%s\"; correct the pattern or the test", rule->name,
			    (char *)found);
	return 0;
}

static int rules_test(struct loading *l, cfg_t *root)
{
	for (size_t i = 0; i < l->rules->n; i++) {
		cfg_t *section = cfg_getnsec(root, "rule", (unsigned)i);
		for (unsigned k = 0; k < cfg_size(section, "test"); k++) {
			int r = rule_test(l, &l->rules->rule[i], cfg_getnptr(section, "test", k));
			if (r)
				return r;
		}
	}
	return 0;
}

static int rules_build(struct loading *l, cfg_t *root)
{
	struct rules *rules = l->rules;
	size_t n = cfg_size(root, "rule");

	if (!n || n > RULES_MAX)
		return fail(l, 1, "%zu rules; write 1 to %u", n, RULES_MAX);
	rules->rule = kban_zalloc(n * sizeof(*rules->rule));
	rules->n = n;
	for (size_t i = 0; i < n; i++) {
		int r = rule_load(l, &rules->rule[i], cfg_getnsec(root, "rule", (unsigned)i));
		if (r)
			return r;
	}
	rules_compiled(rules);
	return rules_test(l, root);
}

static int rules_parse(struct loading *l, const char *text)
{
	cfg_opt_t options[] = {
		CFG_PTR_CB("log", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("service", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("verdict", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("half", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("contains", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_CB("pattern", NULL, CFGF_NONE, value_keep, free),
		CFG_PTR_LIST_CB("test", NULL, CFGF_NONE, value_keep, free),
		CFG_END(),
	};
	cfg_opt_t sections[] = {
		CFG_SEC("rule", options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_END(),
	};
	cfg_t *root = cfg_init(sections, CFGF_NONE);

	now_loading = l;
	cfg_set_error_function(root, report_syntax);
	int parsed = cfg_parse_buf(root, text);
	int r = parsed == CFG_SUCCESS ? rules_build(l, root) : fail(l, root->line, "syntax error; correct it");
	now_loading = NULL;
	cfg_free(root);
	return r;
}

static int rules_from_text(struct rules **out, const char *path, const char *text, char **error)
{
	kban_auto(rules_free) struct rules *rules = kban_zalloc(sizeof(*rules));
	struct loading l = {.path = path, .rules = rules};
	int r = rules_parse(&l, text);

	*error = l.error;
	if (r)
		return r;
	*out = rules;
	rules = NULL;
	return 0;
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
	while (len <= RULES_FILE_MAX && (n = read(fd, (char *)text + len, RULES_FILE_MAX + 1 - len)) > 0)
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

int rules_load(struct rules **out, const char *path, char **error)
{
	char *text = NULL;
	int r = file_read(&text, path);

	if (r) {
		*error = kban_asprintf("%s:1: %s; give a readable text file of at most %u bytes", path,
				       r == -EILSEQ ? "holds a NUL byte" : strerror(-r), RULES_FILE_MAX);
		return r;
	}
	r = rules_from_text(out, path, text, error);
	free(text);
	return r;
}

int rules_default(struct rules **out)
{
	char *error = NULL;
	int r = rules_from_text(out, "kerio.rules", rules_builtin, &error);

	if (r)
		kban_error("built-in rules: %s", error);
	free(error);
	return r;
}
