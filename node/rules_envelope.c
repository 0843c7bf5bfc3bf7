/* SPDX-License-Identifier: MPL-2.0
 *
 * What stands around a line's text: Kerio's "[dd/Mon/yyyy hh:mm:ss] ", and a syslog header where one is
 * to be read. Parsed by hand, without allocating.
 */
#include "node/rules_inside.h"

#include <ctype.h>

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

static bool date_valid(int year, int month, int day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leap && month == 2);
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

	if (century < 0 || year < 0 || !date_valid(century * 100 + year, month, day) || hour < 0 ||
	    hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	*local_s = days_since_1970(century * 100 + year, month, day) * 86400 + hour * 3600 +
		   minute * 60 + second;
	return true;
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
	    !digits_parse(p + 5, 2, &month) || !digits_parse(p + 8, 2, &day) ||
	    !date_valid(year, month, day) || !clock_parse(p + 11, &of_day))
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
