/* SPDX-License-Identifier: MPL-2.0
 *
 * A line goes through three steps: the envelope is parsed by hand; each rule's lead (the literal
 * text that its pattern begins with) is compared, which turns nearly every rule away for a few
 * nanoseconds; the pattern decides. Nothing is allocated for a line.
 */
#include "node/rules_inside.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "proto/log.h"

static const char *const verdict_names[] = {
	[RULES_NONE] = "none",
	[RULES_FAILURE] = "failure",
	[RULES_BAN] = "ban",
	[RULES_SUCCESS] = "success",
};

/* What Kerio writes in front of a line, where lower-casing the part before the "/" is not the name.
 */
#define KNOWN(text, service)                                                                       \
	{                                                                                          \
		text, sizeof(text) - 1, service                                                    \
	}
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

static const char *const log_names[] = {
	[RULES_LOG_ANY] = "any",
	[RULES_LOG_SECURITY] = "security",
	[RULES_LOG_WARNING] = "warning",
	[RULES_LOG_MAIL] = "mail",
	[RULES_LOG_AUDIT] = "audit",
	[RULES_LOG_ERROR] = "error",
	[RULES_LOG_SPAM] = "spam",
	[RULES_LOG_DEBUG] = "debug",
	[RULES_LOG_OPERATIONS] = "operations",
	[RULES_LOG_CONFIG] = "config",
};
const char rules_log_list[] =
	"any, security, warning, mail, audit, error, spam, debug, operations, config";

const struct rules_source rules_anywhere = {RULES_LOG_ANY, true};
const struct rules_source rules_kerio_security = {RULES_LOG_SECURITY, false};

bool rules_log_parse(enum rules_log *out, const char *name)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(log_names); i++) {
		if (strcmp(log_names[i], name) == 0) {
			*out = (enum rules_log)i;
			return true;
		}
	}
	return false;
}

const char *rules_verdict_name(enum rules_verdict v)
{
	return verdict_names[v];
}

static bool all_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)p[i]))
			return false;
	}
	return n > 0 && n <= 5;
}

/* "192.0.2.1", "192.0.2.1:25", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:25". Anything else, a
 * host name too, is no address; neither is 0.0.0.0, which Kerio writes where it has none. */
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

/* What a pattern found in a text, which is a part of the line. */
struct rules_groups {
	struct pcre2_real_match_data_8 *data;
	struct rules_text text;
};

/* A group's text; n is 0 when the pattern has no such group, or it was not set, or is empty. The
 * newline that a filter sees behind the line is no part of it. */
static struct rules_text group_text(const struct rules_groups *g, int group)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(g->data) + 2 * group;

	if (!group || at[0] == PCRE2_UNSET || at[0] > g->text.n || at[1] <= at[0])
		return (struct rules_text){g->text.p, 0};
	size_t end = at[1] < g->text.n ? at[1] : g->text.n;

	return (struct rules_text){g->text.p + at[0], end - at[0]};
}

static struct rules_text group_first(const struct rules_groups *g, int a, int b)
{
	struct rules_text t = group_text(g, a);

	return t.n ? t : group_text(g, b);
}

static void match_fill(const struct rule *rule, const struct rules_groups *own,
		       const struct rules_groups *before, struct rules_match *out)
{
	struct rules_text address = group_first(own, rule->address, rule->address6);
	struct rules_text user = group_text(own, rule->user);
	struct rules_text service = group_text(own, rule->group_service);

	if (rule->filter && rule->filter->prefix.code) {
		const struct filter *f = rule->filter;
		address = address.n
				  ? address
				  : group_first(before, f->prefix_address[0], f->prefix_address[1]);
		user = user.n ? user : group_text(before, f->prefix_user);
	}
	out->rule = rule->name;
	out->verdict = rule->verdict;
	out->half = rule->half;
	out->own = rule->has_own ? &rule->own : NULL;
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

/* What the rules of one kind see of a line, worked out once for all of them. */
struct view {
	const struct rules *rules;
	enum rules_log log;
	struct rules_text text, whole;
	const char *after;	     /* where the text behind the first ": " begins, or NULL */
	const struct filter *filter; /* whose prefix was looked for last */
	int prefix;		     /* what came of it */
	struct rules_text content;
	/* whole and content as a filter sees them */
	struct rules_text whole_seen, content_seen;
};

/* fail2ban puts a newline behind what it searches (server/failregex.py, _tupleLinesBuf). An
 * expression that wants one more character there, <HOST>[^,], would else take the address's last
 * digit for it. */
static struct rules_text with_newline(struct rules_copy *copy, const struct rules_text *t)
{
	if (copy->room < t->n + 1) {
		copy->room = t->n + 1;
		copy->p = kban_realloc(copy->p, copy->room);
	}
	memcpy(copy->p, t->p, t->n);
	copy->p[t->n] = '\n';
	return (struct rules_text){copy->p, t->n + 1};
}

/* Whether the pattern's lead is there. */
static bool pattern_possible(const struct pattern *p, const struct rules_text *t, const char *after)
{
	if (!p->after_service)
		return text_starts(t, p->lead, p->lead_len);
	if (!after)
		return false;
	struct rules_text from = {after, t->n - (size_t)(after - t->p)};

	return text_starts(&from, p->lead, p->lead_len);
}

/* PCRE2's answer. Machine code has a small stack; a line that needs more is matched without it. */
static int pattern_run(const struct rules *r, const struct pattern *p, const struct rules_text *t,
		       struct pcre2_real_match_data_8 *data)
{
	PCRE2_SPTR s = (PCRE2_SPTR)t->p;
	int found = PCRE2_ERROR_JIT_STACKLIMIT;

	pcre2_set_match_limit(r->limits, rules_steps(t->n));
	if (p->jit)
		found = pcre2_jit_match(p->code, s, t->n, 0, 0, data, r->limits);
	if (found == PCRE2_ERROR_JIT_STACKLIMIT)
		found = pcre2_match(p->code, s, t->n, 0, PCRE2_NO_JIT, data, r->limits);
	return found;
}

/* One regular expression of a filter that says "not this line" matches: as if its failregex did
 * not. A limit that is met says the same. */
static int filter_ignores(const struct view *v, const struct filter *f)
{
	for (size_t i = 0; i < f->ignore_n; i++) {
		if (!pattern_possible(&f->ignore[i], &v->whole_seen, NULL))
			continue;
		int found = pattern_run(v->rules, &f->ignore[i], &v->whole_seen,
					v->rules->prefix_data);
		if (found != PCRE2_ERROR_NOMATCH)
			return found < 0 ? found : PCRE2_ERROR_NOMATCH;
	}
	return 0;
}

static int filter_prefix(struct view *v, const struct filter *f)
{
	int found = filter_ignores(v, f);

	v->content = v->whole;
	v->content_seen = v->whole_seen;
	if (found || !f->prefix.code)
		return found;
	if (!pattern_possible(&f->prefix, &v->whole_seen, NULL))
		return PCRE2_ERROR_NOMATCH;
	found = pattern_run(v->rules, &f->prefix, &v->whole_seen, v->rules->prefix_data);
	if (found < 0)
		return found;
	struct rules_groups seen = {v->rules->prefix_data, v->whole_seen};
	struct rules_groups line = {v->rules->prefix_data, v->whole};
	struct rules_text content = group_text(&seen, f->content);

	if (!content.n)
		return 0;
	v->content = group_text(&line, f->content);
	v->content_seen = with_newline(&v->rules->copies[1], &content);
	return 0;
}

static int filter_run(struct view *v, const struct rule *rule)
{
	if (!v->whole_seen.n)
		v->whole_seen = with_newline(&v->rules->copies[0], &v->whole);
	if (v->filter != rule->filter) {
		v->filter = rule->filter;
		v->prefix = filter_prefix(v, rule->filter);
	}
	if (v->prefix)
		return v->prefix;
	if (!pattern_possible(&rule->pattern, &v->content_seen, NULL))
		return PCRE2_ERROR_NOMATCH;
	return pattern_run(v->rules, &rule->pattern, &v->content_seen, v->rules->data);
}

static int rule_run(struct view *v, const struct rule *rule)
{
	if (v->log != RULES_LOG_ANY && rule->log != RULES_LOG_ANY && rule->log != v->log)
		return PCRE2_ERROR_NOMATCH;
	if (rule->filter)
		return filter_run(v, rule);
	if (!pattern_possible(&rule->pattern, &v->text, v->after) ||
	    (rule->contains && !memmem(v->text.p, v->text.n, rule->contains, rule->contains_len)))
		return PCRE2_ERROR_NOMATCH;
	return pattern_run(v->rules, &rule->pattern, &v->text, v->rules->data);
}

static void rule_is_slow(struct rule *rule)
{
	if (rule->slow++)
		return;
	kban_warning("%s:%d: rule %s is too slow: a line would take it more than %u steps a byte, or too "
		     "much memory, and is passed over, as are others like it, which are counted; write its "
		     "pattern so that a line can match in one way only",
		     rule->file, rule->line, rule->name, RULES_STEPS_PER_BYTE);
}

static bool counts(const struct rule *rule)
{
	return rule->verdict == RULES_FAILURE || rule->verdict == RULES_BAN;
}

/* What a filter knows a built-in rule may know better: the service, the halves of a login, and
 * which address was not typed. So a line that a built-in rule counts counts as that rule's, and is
 * counted once. */
bool rules_find(const struct rules *r, enum rules_log log, const struct rules_text *t,
		const struct rules_text *whole, struct rules_match *out)
{
	struct view v = {.rules = r, .log = log, .text = *t, .whole = *whole};
	const char *colon = memchr(t->p, ':', t->n < 33 ? t->n : 33);
	bool by_filter = false;

	if (colon && (size_t)(colon - t->p) + 2 <= t->n && colon[1] == ' ')
		v.after = colon + 2;
	for (size_t i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];
		if (by_filter && !rule->builtin)
			continue;
		int found = rule_run(&v, rule);
		if (found == PCRE2_ERROR_NOMATCH)
			continue;
		if (found >= 0) {
			struct rules_groups own = {r->data, rule->filter ? v.content : *t};
			struct rules_groups before = {r->prefix_data, *whole};
			if (!by_filter || counts(rule))
				match_fill(rule, &own, &before, out);
			if (!rule->filter)
				return true;
			by_filter = true;
			continue;
		}
		rule_is_slow(rule);
		if (rule->builtin)
			break;
	}
	return by_filter;
}

bool rules_match_from(const struct rules *r, const struct rules_source *from, const char *line,
		      size_t len, struct rules_match *out)
{
	struct rules_text t = {line, len}, whole;

	*out = (struct rules_match){0};
	return rules_strip(from, &t, &whole, out) && rules_find(r, from->log, &t, &whole, out);
}

bool rules_match(const struct rules *r, const char *line, size_t len, struct rules_match *out)
{
	return rules_match_from(r, &rules_anywhere, line, len, out);
}

uint64_t rules_slow(const struct rules *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->rule[i].slow;
	return n;
}

uint32_t rules_failures_max(const struct rules *r)
{
	uint32_t most = 0;

	for (size_t i = 0; i < r->n; i++)
		most = r->rule[i].own.failures > most ? r->rule[i].own.failures : most;
	return most;
}
