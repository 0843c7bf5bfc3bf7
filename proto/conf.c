/* SPDX-License-Identifier: MPL-2.0
 *
 * libconfuse reads names, values, lists and comments; every value reaches us as text through its
 * parse callback, while the line is known, and is judged here, so that all messages have one form.
 * The callbacks have no argument of their own: a hidden option carries the pass that they work for.
 */
#include "proto/conf.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/log.h"

#define HIDDEN	       "\1pass" /* no table has such a name */
#define VALUE_TEXT_MAX 128	/* of a value in a message */

struct pass { /* one reading of a file, or of the defaults */
	const struct kban_conf_option *table;
	const char *path;
	char *config;
	int *given; /* per row: the line it was given on, 0 not given */
	char *error;
};

static void *member(const struct pass *p, const struct kban_conf_option *o)
{
	return p->config + o->offset;
}

static bool is_list(const struct kban_conf_option *o)
{
	return o->type == KBAN_CONF_STRINGS || o->type == KBAN_CONF_UINTS;
}

static size_t rows(const struct kban_conf_option *table)
{
	size_t n = 0;

	while (table[n].name)
		n++;
	return n;
}

/* The first error is the one to show: those after it follow from it. Takes over `what`. */
static void fail(struct pass *p, int line, char *what)
{
	if (!p->error)
		p->error = line ? kban_asprintf("%s:%d: %s", p->path, line, what)
				: kban_asprintf("%s: %s", p->path, what);
	free(what);
}

/* Nearest name ------------------------------------------------------------------------------ */

#define NAME_MAX_COMPARED 64

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_COMPARED + 1], n = strlen(b);

	if (n > NAME_MAX_COMPARED || strlen(a) > NAME_MAX_COMPARED)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

static const char *nearest(const struct kban_conf_option *table, const char *name)
{
	const char *best = NULL;
	size_t best_distance = strlen(name) / 2 + 1;

	for (const struct kban_conf_option *o = table; o->name; o++) {
		size_t d = distance(name, o->name);

		if (d < best_distance) {
			best = o->name;
			best_distance = d;
		}
	}
	return best;
}

static char *known_names(const struct kban_conf_option *table)
{
	char *all = kban_strdup("");

	for (const struct kban_conf_option *o = table; o->name; o++) {
		char *longer = kban_asprintf("%s%s%s", all, *all ? ", " : "", o->name);

		free(all);
		all = longer;
	}
	return all;
}

static char *unknown_option(const struct kban_conf_option *table, const char *name)
{
	char shown[VALUE_TEXT_MAX];
	const char *near = nearest(table, name);

	kban_escape(shown, sizeof(shown), name, strlen(name));
	if (near)
		return kban_asprintf("unknown option \"%s\"; did you mean \"%s\"?", shown, near);
	kban_auto(kban_free) void *names = known_names(table);
	return kban_asprintf("unknown option \"%s\"; remove it (known are: %s)", shown,
			     (char *)names);
}

/* Values ------------------------------------------------------------------------------------ */

static char *bad_value(const struct kban_conf_option *o, const char *value, const char *remedy)
{
	char shown[VALUE_TEXT_MAX];

	kban_escape(shown, sizeof(shown), value, strlen(value));
	return kban_asprintf("\"%s\" is no value for %s; %s", shown, o->name, remedy);
}

static char *bad_number(const struct kban_conf_option *o, const char *value)
{
	char remedy[96];

	snprintf(remedy, sizeof(remedy), "write a whole number from %llu to %llu",
		 (unsigned long long)o->min, (unsigned long long)o->max);
	return bad_value(o, value, remedy);
}

/* Decimal digits only: no sign, blank, or octal as strtoull() would take. */
static bool number_parse(uint64_t *out, const char *s)
{
	uint64_t n = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	}
	*out = n;
	return true;
}

static char *value_number(const struct kban_conf_option *o, const char *value, uint64_t *out)
{
	if (!number_parse(out, value) || *out < o->min || *out > o->max)
		return bad_number(o, value);
	return NULL;
}

static char *value_bool(const struct kban_conf_option *o, const char *value, bool *out)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"yes", true}, {"true", true},   {"on", true},
		     {"no", false}, {"false", false}, {"off", false}};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(words); i++) {
		if (!strcmp(words[i].word, value)) {
			*out = words[i].value;
			return NULL;
		}
	}
	return bad_value(o, value, "write yes or no");
}

static char *value_text(const struct kban_conf_option *o, const char *value)
{
	size_t n = strlen(value);
	char remedy[96];

	if (n >= o->min && (!o->max || n <= o->max))
		return NULL;
	snprintf(remedy, sizeof(remedy), "write a text of %llu to %llu bytes",
		 (unsigned long long)o->min, (unsigned long long)o->max);
	return bad_value(o, value, remedy);
}

static char *list_full(const struct kban_conf_option *o, size_t n)
{
	if (!o->max_n || n < o->max_n)
		return NULL;
	return kban_asprintf("more than %zu values for %s; remove some", o->max_n, o->name);
}

static char *store_string(char **out, const struct kban_conf_option *o, const char *value)
{
	char *wrong = value_text(o, value);

	if (wrong)
		return wrong;
	free(*out);
	*out = kban_strdup(value);
	return NULL;
}

static char *store_strings(struct kban_strings *list, const struct kban_conf_option *o,
			   const char *value)
{
	char *wrong = list_full(o, list->n);

	if (!wrong)
		wrong = value_text(o, value);
	if (wrong)
		return wrong;
	list->v = kban_realloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = kban_strdup(value);
	return NULL;
}

static char *store_uints(struct kban_uints *list, const struct kban_conf_option *o,
			 const char *value)
{
	uint64_t number;
	char *wrong = list_full(o, list->n);

	if (!wrong)
		wrong = value_number(o, value, &number);
	if (wrong)
		return wrong;
	list->v = kban_realloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = number;
	return NULL;
}

/* NULL, or what is wrong, the caller's to free. */
static char *store_value(const struct pass *p, const struct kban_conf_option *o, const char *value)
{
	kban_auto(kban_free) void *wrong = o->check ? o->check(value) : NULL;

	if (wrong)
		return bad_value(o, value, wrong);
	switch (o->type) {
	case KBAN_CONF_STRING:
		return store_string(member(p, o), o, value);
	case KBAN_CONF_UINT:
		return value_number(o, value, member(p, o));
	case KBAN_CONF_BOOL:
		return value_bool(o, value, member(p, o));
	case KBAN_CONF_STRINGS:
		return store_strings(member(p, o), o, value);
	case KBAN_CONF_UINTS:
		return store_uints(member(p, o), o, value);
	}
	return NULL;
}

/* libconfuse -------------------------------------------------------------------------------- */

static struct pass *pass_of(cfg_t *cfg)
{
	for (cfg_opt_t *opt = cfg->opts; opt->name; opt++) {
		if (opt->type == CFGT_PTR)
			return (struct pass *)opt->simple_value.ptr;
	}
	abort();
}

/* libconfuse starts a list anew when it is given a second time: its first value is number one
 * again. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct pass *p = pass_of(cfg);
	size_t row = 0;

	while (strcmp(p->table[row].name, opt->name))
		row++;
	if (p->given[row] && opt->nvalues == 1) {
		fail(p, cfg->line,
		     kban_asprintf("%s is given twice, first on line %d; remove one", opt->name,
				   p->given[row]));
		return -1;
	}
	if (!p->given[row])
		p->given[row] = cfg->line;
	char *wrong = store_value(p, &p->table[row], value);
	if (wrong) {
		fail(p, cfg->line, wrong);
		return -1;
	}
	*(const char **)result = value;
	return 0;
}

static const char *remedy_for(const char *message)
{
	static const struct {
		const char *start, *remedy;
	} remedies[] = {
		{"missing equal sign", "write NAME = VALUE"},
		{"unexpected closing brace", "remove it"},
		{"unexpected token", "put a text that is not one plain word in double quotes"},
		{"premature end", "finish the last value or list"},
		{"unterminated string", "close the double quotes"},
		{"attempt to append", "write = instead of +="},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(remedies); i++) {
		if (!strncmp(message, remedies[i].start, strlen(remedies[i].start)))
			return remedies[i].remedy;
	}
	return "compare with kban-node.conf(5) or kban-broker.conf(5)";
}

static void on_error(cfg_t *cfg, const char *format, va_list args)
{
	struct pass *p = pass_of(cfg);
	char message[512], shown[1024];

	if (!strcmp(format, "no such option '%s'")) {
		fail(p, cfg->line, unknown_option(p->table, va_arg(args, const char *)));
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(message, sizeof(message), format, args);
#pragma GCC diagnostic pop
	kban_escape(shown, sizeof(shown), message, strlen(message));
	fail(p, cfg->line, kban_asprintf("%s; %s", shown, remedy_for(message)));
}

static void option_init(cfg_opt_t *opt, const struct kban_conf_option *row)
{
	*opt = is_list(row) ? (cfg_opt_t)CFG_STR_LIST_CB(row->name, NULL, CFGF_NODEFAULT, on_value)
			    : (cfg_opt_t)CFG_STR_CB(row->name, NULL, CFGF_NODEFAULT, on_value);
}

static cfg_t *parser_new(struct pass *p)
{
	size_t n = rows(p->table);
	kban_auto(kban_free) void *memory = kban_zalloc((n + 2) * sizeof(cfg_opt_t));
	cfg_opt_t *opts = memory;

	for (size_t i = 0; i < n; i++)
		option_init(&opts[i], &p->table[i]);
	opts[n] = (cfg_opt_t)CFG_PTR_CB(HIDDEN, NULL, CFGF_NODEFAULT, NULL, NULL);
	opts[n].simple_value.ptr = (void **)p;
	opts[n + 1] = (cfg_opt_t)CFG_END();
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);
	if (!cfg)
		abort();
	cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* libconfuse would write through the hidden option's pointer when it frees it. */
static void parser_free(cfg_t *cfg)
{
	for (cfg_opt_t *opt = cfg->opts; opt->name; opt++) {
		if (opt->type == CFGT_PTR)
			opt->simple_value.ptr = NULL;
	}
	cfg_free(cfg);
}

/* Defaults ---------------------------------------------------------------------------------- */

/* A default that its own row refuses is a mistake in the table: the program must not start with it.
 */
static void default_set(struct pass *p, const struct kban_conf_option *o)
{
	if (!*o->fallback) {
		if (o->type == KBAN_CONF_STRING)
			*(char **)member(p, o) = kban_strdup("");
		return;
	}
	kban_auto(kban_free) void *line = kban_asprintf("%s = %s\n", o->name, o->fallback);
	cfg_t *cfg = parser_new(p);
	int r = cfg_parse_buf(cfg, line);

	parser_free(cfg);
	if (r == CFG_SUCCESS)
		return;
	fprintf(stderr, "kban: default of %s: %s\n", o->name, p->error ? p->error : "?");
	abort();
}

static int defaults_fill(struct pass *p, bool require)
{
	for (size_t i = 0; p->table[i].name; i++) {
		const struct kban_conf_option *o = &p->table[i];

		if (p->given[i])
			continue;
		if (o->fallback) {
			default_set(p, o);
		} else if (require) {
			fail(p, 0,
			     kban_asprintf("%s is missing; add a line \"%s = ...\" (%s)", o->name,
					   o->name, o->help ? o->help : "required"));
			return -EINVAL;
		}
	}
	return 0;
}

/* Files ------------------------------------------------------------------------------------- */

static int file_open(FILE **out, const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	int r = fstat(fileno(f), &st) ? -errno : 0;
	if (!r && !S_ISREG(st.st_mode)) /* the lexer ends the process when a read fails */
		r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (r) {
		fclose(f);
		return r;
	}
	*out = f;
	return 0;
}

/* The line that begins with this option: libconfuse tells nobody of an empty list. 0: not found. */
static int option_line(FILE *f, const char *name)
{
	char line[512];
	int no = 1;

	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		const char *s = line + strspn(line, " \t");

		if (!strncmp(s, name, strlen(name)) && strspn(s + strlen(name), " \t=+"))
			return no;
		no += strchr(line, '\n') != NULL;
	}
	return 0;
}

/* A list that was given and has no value: it was reset for values that did not come. */
static int empty_list(struct pass *p, size_t row, FILE *f)
{
	const struct kban_conf_option *o = &p->table[row];
	int line = option_line(f, o->name);
	bool needed = !o->fallback || (o->type == KBAN_CONF_STRINGS && strcmp(o->fallback, "{}"));

	if (p->given[row])
		fail(p, 0,
		     kban_asprintf("%s is given twice, first on line %d; remove one", o->name,
				   p->given[row]));
	else if (needed)
		fail(p, line,
		     kban_asprintf("%s is an empty list; write at least one value%s%s", o->name,
				   o->fallback ? ", or remove it for the default " : "",
				   o->fallback ? o->fallback : ""));
	p->given[row] = line ? line : 1;
	return p->error ? -EINVAL : 0;
}

static int empty_lists(struct pass *p, cfg_t *cfg, FILE *f)
{
	int r = 0;

	for (size_t i = 0; p->table[i].name && !r; i++) {
		const cfg_opt_t *opt = cfg_getopt(cfg, p->table[i].name);

		if (is_list(&p->table[i]) && (opt->flags & CFGF_RESET))
			r = empty_list(p, i, f);
	}
	return r;
}

static int file_parse(struct pass *p)
{
	FILE *f = NULL;
	int r = file_open(&f, p->path);

	if (r) {
		fail(p, 0,
		     kban_asprintf("cannot read it: %s; name a readable file with -c",
				   strerror(-r)));
		return r;
	}
	cfg_t *cfg = parser_new(p);
	if (cfg_parse_fp(cfg, f) != CFG_SUCCESS || p->error) {
		fail(p, cfg->line, kban_asprintf("not understood; write NAME = VALUE"));
		r = -EINVAL;
	}
	if (!r)
		r = empty_lists(p, cfg, f);
	parser_free(cfg);
	fclose(f);
	return r;
}

int kban_conf_load(void *config, const struct kban_conf_option *table, const char *path,
		   char **error)
{
	kban_auto(kban_free) void *given = kban_zalloc(rows(table) * sizeof(int));
	struct pass p = {.table = table, .path = path, .config = config, .given = given};
	int r = file_parse(&p);

	if (!r)
		r = defaults_fill(&p, true);
	if (!r)
		return 0;
	kban_conf_free(config, table);
	*error = p.error;
	return r;
}

void kban_conf_defaults(void *config, const struct kban_conf_option *table)
{
	kban_auto(kban_free) void *given = kban_zalloc(rows(table) * sizeof(int));
	struct pass p = {.table = table, .path = "defaults", .config = config, .given = given};
	int r = defaults_fill(&p, false);

	assert(r == 0);
}

static void strings_free(struct kban_strings *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct kban_strings){0};
}

static void member_free(const struct kban_conf_option *o, void *m)
{
	switch (o->type) {
	case KBAN_CONF_STRING:
		free(*(char **)m);
		*(char **)m = NULL;
		return;
	case KBAN_CONF_STRINGS:
		strings_free(m);
		return;
	case KBAN_CONF_UINTS:
		free(((struct kban_uints *)m)->v);
		*(struct kban_uints *)m = (struct kban_uints){0};
		return;
	case KBAN_CONF_UINT:
	case KBAN_CONF_BOOL:
		return;
	}
}

void kban_conf_free(void *config, const struct kban_conf_option *table)
{
	for (const struct kban_conf_option *o = table; o->name; o++)
		member_free(o, (char *)config + o->offset);
}
