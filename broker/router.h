/* SPDX-License-Identifier: MPL-2.0
 *
 * The ROUTER: the broker's connections. A peer's number is the routing id that libzmq made for it;
 * ids that peers chose are refused. libzmq has no call that ends one connection, so a peer is cut
 * by shutdown() of its socket (never close: the descriptor is libzmq's), once what was sent to it
 * is out or ROUTER_CUT_MAX_MS have passed. The socket's cookie (SO_COOKIE, socket(7)) makes sure
 * that the descriptor is still that connection's.
 */
#ifndef KBAN_BROKER_ROUTER_H
#define KBAN_BROKER_ROUTER_H

#include "broker/core.h"
#include "proto/loop.h"

#define ROUTER_DRAIN_MAX       256 /* messages read before a commit: their receipts fit SEND_HWM */
#define ROUTER_DRAIN_BYTES_MAX (8U * 1024U * 1024U) /* and bytes */
#define ROUTER_SEND_HWM	       512 /* messages waiting for one peer: a window's and the receipts */
#define ROUTER_SEND_BYTES_MAX  (16U * 1024U * 1024U) /* and bytes, whatever it acknowledges */
#define ROUTER_RECEIVE_HWM     64
#define ROUTER_PARTS_BYTES_MAX (72U * 1024U * 1024U) /* received, and no whole message in it */
#define ROUTER_LINGER_MS       1000
#define ROUTER_HANDSHAKE_MS    5000
#define ROUTER_CUT_MIN_MS      50
#define ROUTER_CUT_MAX_MS      1000
#define ROUTER_SWEEP_MS        250  /* how soon it is noticed that a peer went away */
#define ROUTER_SWEEP_MIN_MS    20  /* the same, while others come */
#define ROUTER_CUT_KEEP_MS     10000 /* what a cut peer sent before is thrown away for so long */

struct router;

/* Keeps identity, loop and clock. Nothing is bound yet. 0 or -errno. */
int router_new(struct router **out, void *context, struct kban_loop *loop,
	       const struct kban_identity *identity,
	       const struct kban_clock *clock) kban_must_check;
void router_free(struct router *r);
KBAN_DEFINE_AUTO(struct router *, router_free)

const struct broker_transport *router_transport(const struct router *r);
/* Messages go to b from here on; fail is called when it can't go on. Bind a ZAP handler before. */
void router_serve(struct router *r, struct broker *b, void (*fail)(void *arg, int error),
		  void *arg);
/* tcp://ADDRESS:PORT. 0 or -errno. */
int router_bind(struct router *r, const char *endpoint) kban_must_check;
/* Where it is bound in fact (port 0 and * resolved). */
int router_endpoint(const struct router *r, char *out, size_t size) kban_must_check;
/* Every ROUTER_CUT_MIN_MS or so: ends what was cut. */
void router_tick(struct router *r);

#endif
