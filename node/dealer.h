/* SPDX-License-Identifier: MPL-2.0
 *
 * The node's connection to a broker: one libzmq DEALER with CURVE at a time, and its monitor.
 * libzmq's own reconnection is off: it would be unseen, and would flush old messages into a new
 * session. Each attempt is a new socket, and its end, for whatever reason, is told once. Callbacks
 * come from the loop, never from inside a call of this file's functions; they may connect and
 * disconnect.
 */
#ifndef KBAN_NODE_DEALER_H
#define KBAN_NODE_DEALER_H

#include "proto/identity.h"
#include "proto/loop.h"

struct dealer;

struct dealer_calls {
	void (*connected)(void *arg); /* the CURVE handshake is done */
	void (*lost)(void *arg);
	void (*refused)(void *arg); /* the broker does not admit our key */
	void (*message)(void *arg, const uint8_t *bytes, size_t len);
	void *arg;
};

/* Keeps loop and identity. */
void dealer_new(struct dealer **out, struct kban_loop *loop, const struct kban_identity *identity,
		const struct dealer_calls *calls);
void dealer_free(struct dealer *d);
KBAN_DEFINE_AUTO(struct dealer *, dealer_free)

/* Ends the present connection without a word, and begins one to that broker of the identity. */
void dealer_connect(struct dealer *d, size_t which);
void dealer_disconnect(struct dealer *d);
/* Dropped when there is no connection. */
void dealer_send(struct dealer *d, const uint8_t *bytes, size_t len);

#endif
