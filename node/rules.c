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

/* Days since 1970-01-01 in the Gregorian calendar; the year begins in March so that the leap day is
 * last. */
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
static bool take_field(struct rules_text *t, size_t max, struct rules_text *field)
{
	const char *blank = memchr(t->p, ' ', t->n < max ? t->n : max);

	if (!blank || blank == t->p)
		return false;
	*field = (struct rules_text){t->p, (size_t)(blank - t->p)};
	text_skip(t, field->n + 1);
	return true;
}

static bool digits_parse(const char *p, unsigned n, int *out)
{
	for (*out = 0; n; n--, p++) {
		if (!isdigit((unsigned char)*p))
			return false;
		*out = *out * 10 + (*p - '0');
	}
	return true;
}

static bool clock_parse(const char *p, int64_t *seconds) /* "hh:mm:ss" */
{
	int hour = two_digits(p), minute = two_digits(p + 3), second = two_digits(p + 6);

	if (p[2] != ':' || p[5] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
	    second < 0 || second > 60)
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	return true;
}

static bool zone_parse(const char *p, size_t n, int64_t *offset_s) /* "Z", "+hh:mm" */
{
	*offset_s = 0;
	if (n == 1 && *p == 'Z')
		return true;
	if (n != 6 || (*p != '+' && *p != '-') || p[3] != ':')
		return false;
	int hours = two_digits(p + 1), minutes = two_digits(p + 4);

	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return false;
	*offset_s = (*p == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

/* RFC 5424 section 6.2.3: "2026-04-05T00:00:00.123Z". Anything else is no time, and no fault. */
static void stamp_parse(const struct rules_text *t, struct rules_match *out)
{
	const char *p = t->p;
	int year, month, day;
	int64_t of_day, offset_s;

	if (t->n < 20 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || !digits_parse(p, 4, &year) ||
	    !digits_parse(p + 5, 2, &month) || !digits_parse(p + 8, 2, &day) || month < 1 ||
	    month > 12 || day < 1 || day > 31 || !clock_parse(p + 11, &of_day))
		return;
	size_t i = 19;
	if (p[i] == '.') {
		for (i++; i < t->n && isdigit((unsigned char)p[i]);)
			i++;
	}
	if (!zone_parse(p + i, t->n - i, &offset_s))
		return;
	out->has_time = out->is_utc = true;
	out->local_s = days_since_1970(year, month, day) * 86400 + of_day - offset_s;
}

/* RFC 5424 section 6 behind "<PRI>": "1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - ", without
 * structured data. */
static bool skip_rfc5424(struct rules_text *t, struct rules_match *out)
{
	static const size_t longest[] = {64, 256, 64, 129, 33};
	struct rules_text s = *t, field, stamp = {0};

	if (!text_starts(&s, "1 ", 2))
		return false;
	text_skip(&s, 2);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(longest); i++) {
		if (!take_field(&s, longest[i], &field))
			return false;
		stamp = i ? stamp : field;
	}
	if (!text_starts(&s, "- ", 2))
		return false;
	text_skip(&s, 2);
	stamp_parse(&stamp, out);
	*t = s;
	return true;
}

/* RFC 3164 section 4.1 behind "<PRI>": "Mmm dd hh:mm:ss HOSTNAME TAG: " or "TAG[PID]: ". Its time
 * has no year: it is none. */
static bool skip_rfc3164(struct rules_text *t)
{
	struct rules_text s = *t, field;
	int64_t seconds;

	if (s.n < 16 || !month_number(s.p) || s.p[3] != ' ' || s.p[6] != ' ' || s.p[15] != ' ' ||
	    !clock_parse(s.p + 7, &seconds))
		return false;
	text_skip(&s, 16);
	if (!take_field(&s, 256, &field) || !take_field(&s, 64, &field) || field.n < 2 ||
	    field.p[field.n - 1] != ':')
		return false;
	*t = s;
	return true;
}

static bool skip_syslog(struct rules_text *t, struct rules_match *out)
{
	struct rules_text s = *t;
	size_t i = 1;

	if (!text_starts(&s, "<", 1))
		return false;
	while (i < s.n && i < 4 && isdigit((unsigned char)s.p[i]))
		i++;
	text_skip(&s, i);
	if (i == 1 || !text_starts(&s, ">", 1))
		return false;
	text_skip(&s, 1);
	if (!skip_rfc5424(&s, out) && !skip_rfc3164(&s))
		return false;
	skip_bom(&s);
	*t = s;
	return true;
}

bool rules_strip(const struct rules_source *from, struct rules_text *t, struct rules_text *whole,
		 struct rules_match *out)
{
	skip_bom(t);
	while (t->n && t->p[t->n - 1] == '\r')
		t->n--;
	*whole = *t;
	bool known = from->syslog && skip_syslog(t, out);
	int64_t local_s;

	if (envelope_parse(t->p, t->n, &local_s)) {
		if (!out->is_utc) {
			out->local_s = local_s;
			out->has_time = true;
		}
		text_skip(t, ENVELOPE_LEN);
		*whole = known ? *whole : (struct rules_text){t->p - 1, t->n + 1};
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
