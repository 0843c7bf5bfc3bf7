/* SPDX-License-Identifier: MPL-2.0
 *
 * The simulator's network: messages on the way, each with the moment at which it arrives. A link delays, and while
 * faults are on it drops, duplicates and reorders; a cut link delivers nothing. Order within one link is kept
 * while no fault strikes, as TCP would.
 */
#ifndef KBAN_SIM_WIRE_H
#define KBAN_SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integration/sim/random.h"

struct wire_message {
	uint64_t at_ms, order;
	unsigned connection; /* which it belongs to */
	bool to_broker;
	uint8_t *bytes; /* NULL: the connection's end */
	size_t len;
};

struct wire {
	struct sim_random *random;
	bool faulty;
	uint64_t order;
	size_t n;
	struct wire_message *messages;
	uint64_t dropped, duplicated, reordered, delivered;
};

void wire_send(struct wire *w, uint64_t now_ms, unsigned connection, bool to_broker, const uint8_t *bytes, size_t len);
/* Takes out what is due first; false: nothing is due by now_ms. The bytes are the caller's to free. */
bool wire_take(struct wire *w, uint64_t now_ms, struct wire_message *out);
/* Everything of this connection is lost. */
void wire_forget(struct wire *w, unsigned connection);
void wire_release(struct wire *w);

#endif
