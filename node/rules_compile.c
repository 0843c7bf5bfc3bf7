/* SPDX-License-Identifier: MPL-2.0
 *
 * From the text of a pattern to what is matched: PCRE2's code, and the literal that a text must
 * begin with.
 */
#include "node/rules_inside.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define RULES_DEPTH_LIMIT 200000U
#define RULES_HEAP_KIB	  16384U

/* Bytes, never UTF-8: a line may hold any. */
#define COMPILE_FLAGS (PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C)
#define COMPILE_OURS  (COMPILE_FLAGS | PCRE2_ENDANCHORED | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY)

/* Whatever could be an address or a host name; kban_prefix_parse_n() says which. */
#define RULES_ADDRESS "(?<address>[^ ,;'\"<>()]*[^ ,;.'\"<>()])"
#define RULES_SERVICE "(?<service>[A-Za-z][A-Za-z0-9 /._-]{0,31})"

/* Where the alternative at depth 0 of a pattern stands: what comes first is then not always there.
 */
static bool has_top_alternative(const char *p)
{
	int depth = 0;

	for (; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
		} else if (*p == '[') {
			p += p[1] == '^' ? 2 : 1;
			p += *p == ']' ? 1 : 0;
			while (*p && *p != ']')
				p += *p == '\\' && p[1] ? 2 : 1;
			if (!*p)
				return true;
		} else if (*p == '(' || *p == ')') {
			depth += *p == '(' ? 1 : -1;
		} else if (*p == '|' && depth <= 0) {
			return true;
		}
	}
	return false;
}

/* The literal that the text must begin with. Quoting, comments and verbs could fool the scan: no
 * lead then. */
static void lead_find(struct pattern *p, const char *pattern)
{
	static const char service[] = "%service%: ";

	if (strstr(pattern, "\\Q") || strstr(pattern, "(?#") || strstr(pattern, "(*") ||
	    strstr(pattern, "[:") || strstr(pattern, "[\\") || has_top_alternative(pattern))
		return;
	if (strncmp(pattern, service, strlen(service)) == 0) {
		p->after_service = true;
		pattern += strlen(service);
	}
	size_t n = strcspn(pattern, "\\[]()*+?.^$|{}%#");
	if (n && pattern[n] && strchr("*+?{", pattern[n]))
		n--;
	p->lead_len = n < RULES_LEAD_MAX ? n : RULES_LEAD_MAX;
	memcpy(p->lead, pattern, p->lead_len);
}

/* The pattern with its %address% and %service% written out; NULL when it is too long. */
static char *pattern_expand(const char *pattern)
{
	static const struct {
		const char *name, *text;
	} macros[] = {{"%address%", RULES_ADDRESS}, {"%service%", RULES_SERVICE}};
	char *out = kban_zalloc(RULES_PATTERN_MAX + 1);
	size_t len = 0;

	while (*pattern) {
		const char *piece = pattern;
		size_t n = 1, skip = 1;
		for (size_t i = 0; i < KBAN_ARRAY_LEN(macros); i++) {
			if (strncmp(pattern, macros[i].name, strlen(macros[i].name)) == 0) {
				piece = macros[i].text;
				n = strlen(piece);
				skip = strlen(macros[i].name);
			}
		}
		if (len + n > RULES_PATTERN_MAX) {
			free(out);
			return NULL;
		}
		memcpy(out + len, piece, n);
		len += n;
		pattern += skip;
	}
	return out;
}

int pattern_group(const struct pattern *p, const char *name)
{
	int n = pcre2_substring_number_from_name(p->code, (PCRE2_SPTR)name);

	return n > 0 ? n : 0;
}

/* JIT is not there where memory can't be both written and run. */
static char *pattern_compile(struct pattern *p, const char *text, uint32_t flags)
{
	PCRE2_SIZE offset;
	int error;

	p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, flags, &error, &offset,
				NULL);
	if (!p->code) {
		char message[160] = "";
		pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
		return kban_asprintf("%s at byte %zu, before \"%.20s\"; correct the pattern",
				     message, offset, text + offset);
	}
	p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
	return NULL;
}

char *rule_compile(struct rule *rule, const char *pattern)
{
	kban_auto(kban_free) void *expanded = pattern_expand(pattern);

	if (!expanded)
		return kban_asprintf("the pattern is longer than %u bytes; shorten it",
				     RULES_PATTERN_MAX);
	char *wrong = pattern_compile(&rule->pattern, expanded, COMPILE_OURS);
	if (wrong)
		return wrong;
	rule->address = pattern_group(&rule->pattern, "address");
	rule->user = pattern_group(&rule->pattern, "user");
	rule->group_service = pattern_group(&rule->pattern, "service");
	lead_find(&rule->pattern, pattern);
	return NULL;
}

bool pattern_is_anchored(const char *regex)
{
	return regex[0] == '^' && (!regex[1] || !strchr("*+?{", regex[1])) &&
	       !has_top_alternative(regex);
}

/* A search is one match that may skip something first, not one match at each byte: the limit of
 * steps is for all of it. */
char *pattern_compile_search(struct pattern *out, const char *regex)
{
	bool anchored = pattern_is_anchored(regex);
	kban_auto(kban_free) void *text = anchored ? kban_strdup(regex)
						   : kban_asprintf("(?s:.*?)(?:%s)", regex);
	char *wrong = pattern_compile(out, text, COMPILE_FLAGS);

	if (!wrong && anchored)
		lead_find(out, regex + 1);
	return wrong;
}

void pattern_free(struct pattern *p)
{
	pcre2_code_free(p->code);
	p->code = NULL;
}

static void groups_count(const struct pattern *p, uint32_t *most)
{
	uint32_t n = 0;

	if (p->code)
		pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &n);
	*most = n > *most ? n : *most;
}

void rules_compiled(struct rules *r)
{
	uint32_t groups = 0;

	for (size_t i = 0; i < r->n; i++)
		groups_count(&r->rule[i].pattern, &groups);
	for (size_t i = 0; i < r->filters_n; i++)
		groups_count(&r->filters[i]->prefix, &groups);
	r->copies = kban_zalloc(2 * sizeof(*r->copies));
	r->data = pcre2_match_data_create(groups + 1, NULL);
	r->prefix_data = pcre2_match_data_create(groups + 1, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (!r->data || !r->prefix_data || !r->limits)
		abort();
	pcre2_set_depth_limit(r->limits, RULES_DEPTH_LIMIT);
	pcre2_set_heap_limit(r->limits, RULES_HEAP_KIB);
}

static void rule_free(struct rule *rule)
{
	pattern_free(&rule->pattern);
	for (size_t i = 0; i < rule->tests_n; i++)
		free(rule->tests[i].text);
	free(rule->tests);
	free(rule->name);
	free(rule->service);
	free(rule->contains);
}

static void filter_free(struct filter *f)
{
	pattern_free(&f->prefix);
	for (size_t i = 0; i < f->ignore_n; i++)
		pattern_free(&f->ignore[i]);
	free(f->ignore);
	free(f);
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		rule_free(&r->rule[i]);
	for (size_t i = 0; i < r->filters_n; i++)
		filter_free(r->filters[i]);
	for (size_t i = 0; i < r->files_n; i++)
		free(r->files[i]);
	for (size_t i = 0; r->copies && i < 2; i++)
		free(r->copies[i].p);
	free(r->copies);
	free(r->rule);
	free(r->filters);
	free(r->files);
	pcre2_match_data_free(r->data);
	pcre2_match_data_free(r->prefix_data);
	pcre2_match_context_free(r->limits);
	free(r);
}
