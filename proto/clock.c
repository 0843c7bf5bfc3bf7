/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/clock.h"

#include <time.h>

static uint64_t read_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t system_wall(void *arg)
{
	(void)arg;
	return read_ms(CLOCK_REALTIME);
}

static uint64_t system_boot(void *arg)
{
	(void)arg;
	return read_ms(CLOCK_BOOTTIME);
}

const struct kban_clock kban_clock_system = {system_wall, system_boot, 0};
