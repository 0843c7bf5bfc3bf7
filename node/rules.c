/* SPDX-License-Identifier: MPL-2.0
 *
 * A line goes through three steps: the envelope is parsed by hand; each rule's lead (the literal text that its
 * pattern begins with) is compared, which turns nearly every rule away for a few nanoseconds; the
 * pattern decides. Nothing is allocated for a line.
 */
#include "node/rules_inside.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* A pattern with one .* needs a step or two for each byte of the longest line (64 KiB). */
#define RULES_MATCH_LIMIT 1000000U
#define RULES_DEPTH_LIMIT 10000U
#define RULES_HEAP_KIB	  8192U

/* Whatever could be an address or a host name; kban_prefix_parse_n() says which. */
#define RULES_ADDRESS "(?<address>[^ ,;'\"<>()]*[^ ,;.'\"<>()])"
#define RULES_SERVICE "(?<service>[A-Za-z][A-Za-z0-9 /._-]{0,31})"

static const char *const verdict_names[] = {
	[RULES_NONE] = "none",
	[RULES_FAILURE] = "failure",
	[RULES_BAN] = "ban",
	[RULES_SUCCESS] = "success",
};

/* What Kerio writes in front of a line, where lower-casing the part before the "/" is not the name. */
#define KNOWN(text, service) {text, sizeof(text) - 1, service}
static const struct {
	const char *text;
	size_t len;
	const char *service;
} known_services[] = {
	KNOWN("HTTP/WebAdmin", "webadmin"),
	KNOWN("WebAdmin", "webadmin"),
	KNOWN("Web Administration", "webadmin"),
	KNOWN("Kerio Connect Client", "client"),
};

const char *rules_verdict_name(enum rules_verdict v)
{
	return verdict_names[v];
}

/* Matching */


/* Two digits, -1 if they aren't. */
static int two_digits(const char *p)
{
	unsigned tens = (unsigned char)p[0] - '0', ones = (unsigned char)p[1] - '0';

	return tens > 9 || ones > 9 ? -1 : (int)(tens * 10 + ones);
}

static int month_number(const char *p)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++) {
		if (memcmp(p, names + 3 * i, 3) == 0)
			return i + 1;
	}
	return 0;
}

/* Days since 1970-01-01 in the Gregorian calendar; the year begins in March so that the leap day is last. */
static int64_t days_since_1970(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, of_era = y % 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "[dd/Mon/yyyy hh:mm:ss] ": English month, local time. */
#define ENVELOPE_LEN 23U

static bool envelope_parse(const char *p, size_t n, int64_t *local_s)
{
	if (n < ENVELOPE_LEN || p[0] != '[' || p[3] != '/' || p[7] != '/' || p[12] != ' ' ||
	    p[15] != ':' || p[18] != ':' || p[21] != ']' || p[22] != ' ')
		return false;
	int day = two_digits(p + 1), month = month_number(p + 4);
	int century = two_digits(p + 8), year = two_digits(p + 10);
	int hour = two_digits(p + 13), minute = two_digits(p + 16), second = two_digits(p + 19);

	if (day < 1 || day > 31 || !month || century < 0 || year < 0 || hour < 0 || hour > 23 ||
	    minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	*local_s = days_since_1970(century * 100 + year, month, day) * 86400 + hour * 3600 +
		   minute * 60 + second;
	return true;
}

static void text_skip(struct rules_text *t, size_t n)
{
	t->p += n;
	t->n -= n;
}

static bool text_starts(const struct rules_text *t, const char *with, size_t n)
{
	return t->n >= n && memcmp(t->p, with, n) == 0;
}

static void skip_bom(struct rules_text *t)
{
	if (text_starts(t, "\xef\xbb\xbf", 3))
		text_skip(t, 3);
}

/* One blank-separated field of a header, with its blank. */
static bool skip_field(struct rules_text *t, size_t max)
{
	const char *blank = memchr(t->p, ' ', t->n < max ? t->n : max);

	if (!blank || blank == t->p)
		return false;
	text_skip(t, (size_t)(blank - t->p) + 1);
	return true;
}

/* RFC 5424 section 6: "<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - ", without structured data. */
static bool skip_syslog(struct rules_text *t)
{
	struct rules_text s = *t;
	size_t i = 1;

	if (!text_starts(&s, "<", 1))
		return false;
	while (i < s.n && i < 4 && isdigit((unsigned char)s.p[i]))
		i++;
	text_skip(&s, i);
	if (i == 1 || !text_starts(&s, ">1 ", 3))
		return false;
	text_skip(&s, 3);
	if (!skip_field(&s, 64) || !skip_field(&s, 256) || !skip_field(&s, 64) || !skip_field(&s, 129) ||
	    !skip_field(&s, 33) || !text_starts(&s, "- ", 2))
		return false;
	text_skip(&s, 2);
	skip_bom(&s);
	*t = s;
	return true;
}

bool rules_strip(struct rules_text *t, struct rules_match *out)
{
	skip_bom(t);
	bool known = skip_syslog(t);

	if (envelope_parse(t->p, t->n, &out->local_s)) {
		out->has_time = true;
		text_skip(t, ENVELOPE_LEN);
		known = true;
	}
	while (t->n && (t->p[t->n - 1] == ' ' || t->p[t->n - 1] == '\r'))
		t->n--;
	return known;
}


static bool all_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)p[i]))
			return false;
	}
	return n > 0 && n <= 5;
}

/* "192.0.2.1", "192.0.2.1:25", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:25". Anything else, a host
 * name too, is no address; neither is 0.0.0.0, which Kerio writes where it has none. */
static bool address_parse(struct kban_prefix *out, const char *p, size_t n)
{
	static const uint8_t unspecified[16];
	const char *colon;

	if (n && p[0] == '[') {
		const char *end = memchr(p, ']', n);
		if (!end)
			return false;
		size_t rest = n - (size_t)(end - p) - 1;
		if (rest && (end[1] != ':' || !all_digits(end + 2, rest - 1)))
			return false;
		n = (size_t)(end - p) - 1;
		p++;
	} else if (n && (colon = memchr(p, ':', n)) && memchr(p, '.', (size_t)(colon - p))) {
		if (!all_digits(colon + 1, n - (size_t)(colon - p) - 1))
			return false;
		n = (size_t)(colon - p);
	}
	if (n > 45 || memchr(p, '/', n) || kban_prefix_parse_n(out, p, n))
		return false;
	return out->len == kban_prefix_bits(out) && memcmp(out->addr, unspecified, 16) != 0;
}

/* A service's name: [a-z0-9.-], from the part before the "/". */
static void service_normalise(char out[KBAN_RULE_MAX + 1], const char *p, size_t n)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(known_services); i++) {
		if (known_services[i].len == n && strncasecmp(known_services[i].text, p, n) == 0) {
			strcpy(out, known_services[i].service);
			return;
		}
	}
	size_t len = 0;
	for (; len < n && len < KBAN_RULE_MAX && p[len] != '/'; len++) {
		unsigned char c = (unsigned char)p[len];
		out[len] = c < 0x80 && (isalnum(c) || c == '.') ? (char)tolower(c) : '-';
	}
	out[len] = 0;
}

/* A group's text; n is 0 when the pattern has no such group, or it was not set, or is empty. */
static struct rules_text group_text(const struct rules *r, int group, const char *text)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->data) + 2 * group;

	if (!group || at[0] == PCRE2_UNSET || at[1] <= at[0])
		return (struct rules_text){text, 0};
	return (struct rules_text){text + at[0], at[1] - at[0]};
}

static void match_fill(const struct rules *r, const struct rule *rule, const char *text,
		       struct rules_match *out)
{
	struct rules_text address = group_text(r, rule->address, text);
	struct rules_text user = group_text(r, rule->user, text);
	struct rules_text service = group_text(r, rule->group_service, text);

	out->rule = rule->name;
	out->verdict = rule->verdict;
	out->half = rule->half;
	if (rule->service)
		strcpy(out->service, rule->service);
	else
		service_normalise(out->service, service.p, service.n);
	out->has_address = address_parse(&out->address, address.p, address.n);
	if (!out->has_address)
		out->address = (struct kban_prefix){0};
	out->user = user.n ? user.p : NULL;
	out->user_len = user.n;
}

/* Whether the rule's lead and contained text are there. after is where the text behind the first ": " begins,
 * or NULL. */
static bool rule_possible(const struct rule *rule, const struct rules_text *t, const char *after)
{
	struct rules_text from = *t;

	if (rule->after_service) {
		if (!after)
			return false;
		text_skip(&from, (size_t)(after - t->p));
	}
	if (!text_starts(&from, rule->lead, rule->lead_len))
		return false;
	return !rule->contains || memmem(from.p, from.n, rule->contains, rule->contains_len);
}

static int rule_run(const struct rules *r, const struct rule *rule, const struct rules_text *t)
{
	PCRE2_SPTR p = (PCRE2_SPTR)t->p;

	if (rule->jit)
		return pcre2_jit_match(rule->code, p, t->n, 0, 0, r->data, r->limits);
	return pcre2_match(rule->code, p, t->n, 0, 0, r->data, r->limits);
}

/* A limit that was hit ends the search: a later rule could read the line otherwise. */
bool rules_find(const struct rules *r, const struct rules_text *t, struct rules_match *out)
{
	const char *colon = memchr(t->p, ':', t->n < 33 ? t->n : 33);
	bool prefixed = colon && (size_t)(colon - t->p) + 2 <= t->n && colon[1] == ' ';

	for (size_t i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rule[i];
		if (!rule_possible(rule, t, prefixed ? colon + 2 : NULL))
			continue;
		int found = rule_run(r, rule, t);
		if (found == PCRE2_ERROR_NOMATCH)
			continue;
		if (found < 0)
			return false;
		match_fill(r, rule, t->p, out);
		return true;
	}
	return false;
}

bool rules_match(const struct rules *r, const char *line, size_t len, struct rules_match *out)
{
	struct rules_text t = {line, len};

	*out = (struct rules_match){0};
	return rules_strip(&t, out) && rules_find(r, &t, out);
}

/* Compiling */

/* Where the alternative at depth 0 of a pattern stands: what comes first is then not always there. */
static bool has_top_alternative(const char *p)
{
	int depth = 0;

	for (; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
		} else if (*p == '[') {
			p += p[1] == '^' ? 1 : 0;
			p += p[1] == ']' ? 1 : 0;
			while (p[1] && *p != ']')
				p += *p == '\\' ? 2 : 1;
		} else if (*p == '(' || *p == ')') {
			depth += *p == '(' ? 1 : -1;
		} else if (*p == '|' && depth <= 0) {
			return true;
		}
	}
	return false;
}

/* The literal that the text must begin with. Quoting, comments and verbs could fool the scan: no lead then. */
static void lead_find(struct rule *rule, const char *pattern)
{
	static const char service[] = "%service%: ";

	if (strstr(pattern, "\\Q") || strstr(pattern, "(?#") || strstr(pattern, "(*") ||
	    strstr(pattern, "[:") || strstr(pattern, "[\\") || has_top_alternative(pattern))
		return;
	if (strncmp(pattern, service, strlen(service)) == 0) {
		rule->after_service = true;
		pattern += strlen(service);
	}
	size_t n = strcspn(pattern, "\\[]()*+?.^$|{}%#");
	if (n && pattern[n] && strchr("*+?{", pattern[n]))
		n--;
	rule->lead_len = n < RULES_LEAD_MAX ? n : RULES_LEAD_MAX;
	memcpy(rule->lead, pattern, rule->lead_len);
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

static int group_number(const pcre2_code *code, const char *name)
{
	int n = pcre2_substring_number_from_name(code, (PCRE2_SPTR)name);

	return n > 0 ? n : 0;
}

/* Bytes, never UTF-8: a line may hold any. JIT is not there where memory can't be both written and run. */
char *rule_compile(struct rule *rule, const char *pattern)
{
	PCRE2_SIZE offset;
	int error;
	kban_auto(kban_free) void *expanded = pattern_expand(pattern);

	if (!expanded)
		return kban_asprintf("the pattern is longer than %u bytes; shorten it", RULES_PATTERN_MAX);
	rule->code = pcre2_compile(expanded, PCRE2_ZERO_TERMINATED,
				   PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
					   PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
				   &error, &offset, NULL);
	if (!rule->code) {
		char message[160] = "";
		pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
		return kban_asprintf("pattern: %s at byte %zu, before \"%.20s\"; correct the pattern", message,
				     offset, (char *)expanded + offset);
	}
	rule->jit = pcre2_jit_compile(rule->code, PCRE2_JIT_COMPLETE) == 0;
	rule->address = group_number(rule->code, "address");
	rule->user = group_number(rule->code, "user");
	rule->group_service = group_number(rule->code, "service");
	lead_find(rule, pattern);
	return NULL;
}

void rules_compiled(struct rules *r)
{
	uint32_t groups = 0;

	for (size_t i = 0; i < r->n; i++) {
		uint32_t count = 0;
		pcre2_pattern_info(r->rule[i].code, PCRE2_INFO_CAPTURECOUNT, &count);
		groups = count > groups ? count : groups;
	}
	r->data = pcre2_match_data_create(groups + 1, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (!r->data || !r->limits)
		abort();
	pcre2_set_match_limit(r->limits, RULES_MATCH_LIMIT);
	pcre2_set_depth_limit(r->limits, RULES_DEPTH_LIMIT);
	pcre2_set_heap_limit(r->limits, RULES_HEAP_KIB);
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];
		pcre2_code_free(rule->code);
		free(rule->name);
		free(rule->service);
		free(rule->contains);
	}
	free(r->rule);
	pcre2_match_data_free(r->data);
	pcre2_match_context_free(r->limits);
	free(r);
}
