/* SPDX-License-Identifier: MPL-2.0
 *
 * Time is passed in. A struct kban_clock gives the wall clock (milliseconds since 1970 UTC) and the
 * boot clock (milliseconds that never step, CLOCK_BOOTTIME); tests and the simulator bring their own.
 */
#ifndef KBAN_PROTO_CLOCK_H
#define KBAN_PROTO_CLOCK_H

#include <stdint.h>

struct kban_clock {
	uint64_t (*wall_ms)(void *arg);
	uint64_t (*boot_ms)(void *arg);
	void *arg;
};

/* The machine's clocks. */
extern const struct kban_clock kban_clock_system;

static inline uint64_t kban_wall_ms(const struct kban_clock *c)
{
	return c->wall_ms(c->arg);
}

static inline uint64_t kban_boot_ms(const struct kban_clock *c)
{
	return c->boot_ms(c->arg);
}

#endif
