/* SPDX-License-Identifier: MPL-2.0 */
#include "node/rules_time.h"

#include <time.h>

#define AUTUMN_S  3600 /* by so much clocks are set back */
#define QUARTER_S 900
#define PAST_S	  86400 /* an older line is certainly before `latest` in either of its two readings \
			 */

/* Whether clocks showed the same time of day at both moments: they were set back in between. */
static bool shown_twice(time_t a, time_t b)
{
	struct tm ta, tb;

	return localtime_r(&a, &ta) && localtime_r(&b, &tb) && ta.tm_mday == tb.tm_mday &&
	       ta.tm_hour == tb.tm_hour && ta.tm_min == tb.tm_min;
}

/* In the hour that comes twice in autumn mktime() takes whichever it met last. Of the two the later
 * one counts that is not still to come: a line seen live is never an hour old. */
static time_t local_to_utc(struct tm *tm, time_t latest)
{
	tm->tm_isdst = -1;
	time_t t = mktime(tm);

	if (t + AUTUMN_S <= latest && shown_twice(t, t + AUTUMN_S))
		return t + AUTUMN_S;
	if (t > latest && shown_twice(t, t - AUTUMN_S))
		return t - AUTUMN_S;
	return t;
}

bool rules_time(uint64_t *out_ms, const struct rules_match *m, uint64_t latest_ms)
{
	time_t local = (time_t)m->local_s;
	struct tm tm;

	if (!m->has_time || !gmtime_r(&local, &tm))
		return false;
	time_t utc = m->is_utc ? local : local_to_utc(&tm, (time_t)(latest_ms / 1000));

	if (utc <= 0)
		return false;
	*out_ms = (uint64_t)utc * 1000;
	return true;
}

bool rules_time_next(struct rules_times *t, uint64_t *out_ms, const struct rules_match *m,
		     uint64_t latest_ms)
{
	bool past = m->has_time && !m->is_utc && m->local_s > PAST_S &&
		    (uint64_t)(m->local_s + 2 * PAST_S) * 1000 < latest_ms;

	if (past && t->known && m->local_s / QUARTER_S == t->quarter) {
		*out_ms = (uint64_t)(m->local_s - t->offset_s) * 1000;
		return true;
	}
	if (!rules_time(out_ms, m, latest_ms))
		return false;
	t->known = past;
	t->quarter = m->local_s / QUARTER_S;
	t->offset_s = m->local_s - (int64_t)(*out_ms / 1000);
	return true;
}
