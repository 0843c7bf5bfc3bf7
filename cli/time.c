/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct unit {
	const char *name;
	uint64_t ms;
} units[] = {
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static size_t unit_find(const char *text, size_t n)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(units); i++)
		if (strlen(units[i].name) == n && !memcmp(units[i].name, text, n))
			return i;
	return KBAN_ARRAY_LEN(units);
}

/* One NUMBER UNIT at *text; next is the first unit that may still come. */
static bool part_parse(const char **text, size_t *next, uint64_t *total)
{
	uint64_t value = 0;
	size_t digits = strspn(*text, "0123456789");
	size_t letters = strspn(*text + digits, "dhms");
	size_t unit = unit_find(*text + digits, letters);

	if (!digits || digits > 15 || unit == KBAN_ARRAY_LEN(units) || unit < *next)
		return false;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (uint64_t)((*text)[i] - '0');
	if (__builtin_mul_overflow(value, units[unit].ms, &value) ||
	    __builtin_add_overflow(*total, value, total))
		return false;
	*text += digits + letters;
	*next = unit + 1;
	return true;
}

bool duration_parse(uint64_t *out_ms, const char *text, uint64_t max_ms)
{
	uint64_t total = 0;
	size_t next = 0;

	while (*text)
		if (!part_parse(&text, &next, &total))
			return false;
	*out_ms = total;
	return total && total <= max_ms;
}

const char *duration_format(char out[DURATION_TEXT], uint64_t ms)
{
	size_t used = 0, parts = 0;

	if (ms >= 1000)
		ms -= ms % 1000; /* milliseconds matter only when there is nothing else */
	snprintf(out, DURATION_TEXT, "0s");
	for (size_t i = 0; i < KBAN_ARRAY_LEN(units) && parts < 2; i++) {
		uint64_t n = ms / units[i].ms;
		ms %= units[i].ms;
		if (n)
			used += (size_t)snprintf(out + used, DURATION_TEXT - used, "%llu%s",
						 (unsigned long long)n, units[i].name);
		parts += n || parts; /* 2d 0h 5m is "2d", not "2d5m" */
	}
	return out;
}

const char *time_format(char out[TIME_TEXT], uint64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (!gmtime_r(&s, &tm) || !strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, TIME_TEXT, "-");
	return out;
}
