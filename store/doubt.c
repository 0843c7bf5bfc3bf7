/* SPDX-License-Identifier: MPL-2.0 */
#include "store/doubt.h"

#include <stdio.h>

#include "proto/log.h"

static int64_t offset(const struct kban_clock *clock)
{
	return (int64_t)(kban_wall_ms(clock) - kban_boot_ms(clock));
}

static uint64_t above(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void doubt_start(struct doubt *d, const struct kban_clock *clock, uint64_t log_ms)
{
	uint64_t gap = log_ms ? above(kban_wall_ms(clock), log_ms) : 0;

	*d = (struct doubt){.known = true, .offset_ms = offset(clock)};
	if (gap <= DOUBT_GAP_MS)
		return;
	d->gap_ms = gap;
	d->until_ms = kban_boot_ms(clock) + DOUBT_LAST_MS;
}

static void look_for_step(struct doubt *d, const struct kban_clock *clock)
{
	int64_t now = offset(clock), step = d->known ? now - d->offset_ms : 0;

	d->known = true;
	d->offset_ms = now;
	if (step <= DOUBT_STEP_MS && step >= -DOUBT_STEP_MS)
		return;
	d->stepped_ms = step;
	d->gap_ms = 0;
	d->until_ms = kban_boot_ms(clock) + DOUBT_LAST_MS;
}

bool doubt_look(struct doubt *d, const struct kban_clock *clock, uint64_t log_ms)
{
	uint64_t ahead = above(log_ms, kban_wall_ms(clock));

	look_for_step(d, clock);
	d->ahead_ms = ahead > DOUBT_STEP_MS ? ahead : 0;
	return d->ahead_ms || kban_boot_ms(clock) < d->until_ms;
}

void doubt_say(const struct doubt *d)
{
	int64_t step = d->stepped_ms;
	char what[128];

	if (d->ahead_ms)
		snprintf(what, sizeof(what),
			 "the log's newest entry lies %llu s in the future of this server's clock",
			 (unsigned long long)d->ahead_ms / 1000);
	else if (d->gap_ms)
		snprintf(what, sizeof(what),
			 "at the start this server's clock was %llu s past the log's newest entry",
			 (unsigned long long)d->gap_ms / 1000);
	else
		snprintf(what, sizeof(what), "this server's clock was put %llu s %s",
			 (unsigned long long)(step < 0 ? -step : step) / 1000,
			 step < 0 ? "back" : "forward");
	kban_warning("%s: until its time is beyond doubt (%s) nothing is dropped from the log; "
		     "check the time service",
		     what,
		     d->ahead_ms ? "when the clock has come there"
				 : "a day after that, if nothing else happens");
}
