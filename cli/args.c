/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/args.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	char letter;
	const char *name;
} letters[] = {
	{'o', "output"},
	{'q', "quiet"},
	{'h', "help"},
	{'V', "version"},
};

static void word_copy(char out[ARGS_WORD], const char *s, size_t n)
{
	assert(n && n < ARGS_WORD);
	memcpy(out, s, n);
	out[n] = 0;
}

/* One item at *text, which stands on no blank. */
static void item_parse(struct args_item *item, const char **text)
{
	bool optional = **text == '[';
	const char *s = *text + optional;
	const char *end = optional ? strchr(s, ']') : s + strcspn(s, " ");

	assert(end);
	item->required = !optional;
	item->option = !strncmp(s, "--", 2);
	s += item->option ? 2 : 0;
	size_t n = strcspn(s, " ]");
	word_copy(item->name, s, n);
	if (!optional && item->option && *end) { /* --option VALUE without brackets */
		assert(end[1] && end[1] != '[' && end[1] != '-');
		end += 1 + strcspn(end + 1, " ");
	}
	item->value[0] = 0;
	if (s + n < end && s[n] == ' ')
		word_copy(item->value, s + n + 1, (size_t)(end - s) - n - 1);
	end += optional;
	item->repeat = !strncmp(end, "...", 3);
	*text = end + (item->repeat ? 3 : 0);
}

size_t args_grammar(struct args_item items[ARGS_ITEMS], const char *grammar)
{
	size_t n = 0;

	for (const char *s = grammar; *(s += strspn(s, " "));) {
		assert(n < ARGS_ITEMS);
		item_parse(&items[n++], &s);
	}
	return n;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned args_distance(const char *a, const char *b)
{
	unsigned d[ARGS_WORD + 1][ARGS_WORD + 1];
	size_t n = strnlen(a, ARGS_WORD), m = strnlen(b, ARGS_WORD);

	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
				       d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[n][m];
}

bool args_near(const char *a, const char *b)
{
	return args_distance(a, b) <= (strlen(b) > 4 ? 2 : 1);
}

struct parser {
	struct args_item items[2 * ARGS_ITEMS];
	size_t items_n;
	struct args *out;
	char **error;
};

/* `--why` is `--reason`, wherever that is. */
static const struct args_item *option_find(const struct parser *p, const char *name, size_t n)
{
	bool why = n == 3 && !memcmp(name, "why", 3);

	name = why ? "reason" : name;
	n = why ? 6 : n;
	for (size_t i = 0; i < p->items_n; i++)
		if (p->items[i].option && strlen(p->items[i].name) == n &&
		    !memcmp(p->items[i].name, name, n))
			return &p->items[i];
	return NULL;
}

static bool option_unknown(struct parser *p, const char *arg)
{
	const char *near = NULL;

	for (size_t i = 0; i < p->items_n && !strncmp(arg, "--", 2); i++)
		if (p->items[i].option && args_near(arg + 2, p->items[i].name))
			near = p->items[i].name;
	*p->error = near ? kban_asprintf("unknown option %s; did you mean --%s?", arg, near)
			 : kban_asprintf("unknown option %s", arg);
	return false;
}

static bool option_store(struct parser *p, const struct args_item *item, const char *value)
{
	struct args *a = p->out;

	if (!item->repeat && args_get(a, item->name)) {
		*p->error = kban_asprintf("--%s is given twice", item->name);
		return false;
	}
	if (a->options_n == ARGS_VALUES) {
		*p->error = kban_strdup("too many options");
		return false;
	}
	word_copy(a->options[a->options_n].name, item->name, strlen(item->name));
	a->options[a->options_n++].value = value;
	return true;
}

/* argv[*i] starts with "--": takes it and, if it has one, its value. */
static bool long_parse(struct parser *p, int *i, int n, char **argv)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct args_item *item = option_find(p, name, len);

	if (!item)
		return option_unknown(p, argv[*i]);
	if (!item->value[0]) {
		if (equals)
			*p->error = kban_asprintf("--%s takes no value", item->name);
		return !equals && option_store(p, item, "");
	}
	if (equals)
		return option_store(p, item, equals + 1);
	if (*i + 1 >= n) {
		*p->error = kban_asprintf("--%s needs a value: %s", item->name, item->value);
		return false;
	}
	return option_store(p, item, argv[++*i]);
}

/* argv[*i] is "-x": the value may follow in the same argument. */
static bool short_parse(struct parser *p, int *i, int n, char **argv)
{
	const char *arg = argv[*i];

	for (size_t k = 0; k < KBAN_ARRAY_LEN(letters); k++) {
		if (letters[k].letter != arg[1])
			continue;
		const struct args_item *item = option_find(p, letters[k].name,
							   strlen(letters[k].name));
		if (!item)
			break;
		if (!item->value[0] && !arg[2])
			return option_store(p, item, "");
		if (item->value[0] && arg[2])
			return option_store(p, item, arg + 2);
		if (item->value[0] && *i + 1 < n)
			return option_store(p, item, argv[++*i]);
		*p->error = kban_asprintf(
			item->value[0] ? "-%c needs a value" : "-%c takes no value", arg[1]);
		return false;
	}
	return option_unknown(p, arg);
}

static bool words_check(struct parser *p)
{
	size_t least = 0, most = 0;
	const char *missing = NULL;

	for (size_t i = 0; i < p->items_n; i++) {
		const struct args_item *item = &p->items[i];
		if (item->option && item->required && !args_get(p->out, item->name)) {
			*p->error = kban_asprintf("--%s %s is missing", item->name, item->value);
			return false;
		}
		if (item->option)
			continue;
		if (least++ >= p->out->words_n && item->required && !missing)
			missing = item->name;
		most = item->repeat ? ARGS_VALUES : most + 1;
	}
	if (missing)
		*p->error = kban_asprintf("%s is missing", missing);
	else if (p->out->words_n > most)
		*p->error = kban_asprintf("unexpected argument %s", p->out->words[most]);
	return !*p->error;
}

static void parser_init(struct parser *p, struct args *out, const char *grammar,
			const char *globals, char **error)
{
	*out = (struct args){0};
	*error = NULL;
	p->items_n = args_grammar(p->items, grammar);
	p->items_n += args_grammar(p->items + p->items_n, globals);
	p->out = out;
	p->error = error;
}

bool args_parse(struct args *out, const char *grammar, const char *globals, int n, char **argv,
		char **error)
{
	struct parser p;
	bool words_only = false;

	parser_init(&p, out, grammar, globals, error);
	for (int i = 0; i < n; i++) {
		char *arg = argv[i];
		if (words_only || arg[0] != '-' || !arg[1]) {
			if (out->words_n == ARGS_VALUES) {
				*error = kban_strdup("too many arguments");
				return false;
			}
			out->words[out->words_n++] = arg;
		} else if (!strcmp(arg, "--")) {
			words_only = true;
		} else if (arg[1] == '-' ? !long_parse(&p, &i, n, argv)
					 : !short_parse(&p, &i, n, argv)) {
			return false;
		}
	}
	return args_flag(out, "help") || words_check(&p);
}

int args_skip_globals(const char *globals, int n, char **argv)
{
	struct args scratch;
	struct parser p;
	char *error = NULL;
	int i = 0;

	parser_init(&p, &scratch, "", globals, &error);
	for (; i < n && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--"); i++)
		if (argv[i][1] == '-' ? !long_parse(&p, &i, n, argv)
				      : !short_parse(&p, &i, n, argv))
			break;
	free(error);
	return i;
}

const char *args_nth(const struct args *a, const char *name, size_t i)
{
	for (size_t k = 0; k < a->options_n; k++)
		if (!strcmp(a->options[k].name, name) && !i--)
			return a->options[k].value;
	return NULL;
}

const char *args_get(const struct args *a, const char *name)
{
	return args_nth(a, name, 0);
}

bool args_flag(const struct args *a, const char *name)
{
	return args_get(a, name);
}

const char *args_word(const struct args *a, size_t i)
{
	return i < a->words_n ? a->words[i] : NULL;
}
