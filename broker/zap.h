/* SPDX-License-Identifier: MPL-2.0
 *
 * The ZAP handler (https://rfc.zeromq.org/spec/27/): libzmq asks it at each CURVE handshake of its
 * context. Without one libzmq admits anybody, so it is made before the ROUTER binds. It says who
 * may come in; who may do what is asked for every message.
 */
#ifndef KBAN_BROKER_ZAP_H
#define KBAN_BROKER_ZAP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/clock.h"
#include "proto/key.h"
#include "proto/loop.h"

#define ZAP_DOMAIN	 "kban"
#define ZAP_LOG_BURST	 10    /* refusals in the log ... */
#define ZAP_LOG_EVERY_MS 60000 /* ... in this time; the others are counted */

/* Whether this CURVE key may connect; otherwise *reason says why, in a word or two. */
typedef bool zap_admit_fn(void *arg, const struct kban_key *curve, const char **reason);

struct zap;

/* Keeps loop and clock. 0 or -errno (-EADDRINUSE: the context has a handler already). */
int zap_new(struct zap **out, void *context, struct kban_loop *loop, const struct kban_clock *clock,
	    zap_admit_fn *admits, void *arg) kban_must_check;
void zap_free(struct zap *z);
KBAN_DEFINE_AUTO(struct zap *, zap_free)

#endif
