/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker's endpoint on the command line, and its addresses, which are never banned: a numeric
 * host is its own address; for a name those given with --address, or else what it resolves to now.
 */
#ifndef KBAN_CLI_ENDPOINT_H
#define KBAN_CLI_ENDPOINT_H

#include "cli/command.h"

struct endpoint {
	const char *text; /* borrowed */
	size_t addresses_n;
	struct kban_prefix addresses[KBAN_ADDRESSES_MAX];
};

/* 0 or an exit code, said. */
int endpoint_take(const struct context *ctx, struct endpoint *out,
		  const char *option) kban_must_check;
/* "192.0.2.1 2001:db8::1"; the caller frees. */
char *endpoint_addresses(const struct kban_prefix *addresses, size_t n);
/* The event that announces it. */
struct kban_event endpoint_event(const struct endpoint *e, const struct kban_key *curve);

#endif
