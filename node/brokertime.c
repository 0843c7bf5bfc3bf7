/* SPDX-License-Identifier: MPL-2.0 */
#include "node/brokertime.h"

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void brokertime_reset(struct brokertime *t, uint64_t broker_ms, uint64_t boot_ms)
{
	t->known = true;
	t->newest = t->older = (int64_t)(broker_ms - boot_ms);
	t->turned_boot_ms = boot_ms;
}

void brokertime_heard(struct brokertime *t, uint64_t broker_ms, uint64_t boot_ms)
{
	int64_t offset = (int64_t)(broker_ms - boot_ms);

	if (!t->known) {
		brokertime_reset(t, broker_ms, boot_ms);
		return;
	}
	if (boot_ms - t->turned_boot_ms >= BROKERTIME_WINDOW_MS) {
		t->older = t->newest;
		t->newest = offset;
		t->turned_boot_ms = boot_ms;
	}
	t->newest = later(t->newest, offset);
}

uint64_t brokertime_now(const struct brokertime *t, const struct kban_clock *clock)
{
	if (!t->known)
		return kban_wall_ms(clock);
	return kban_boot_ms(clock) + (uint64_t)later(t->newest, t->older);
}
