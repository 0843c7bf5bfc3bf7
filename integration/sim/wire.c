/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/sim/wire.h"

#include <stdlib.h>

#include "proto/mem.h"

static void push(struct wire *w, uint64_t at_ms, unsigned connection, bool to_broker, const uint8_t *bytes, size_t len)
{
	w->messages = kban_realloc(w->messages, (w->n + 1) * sizeof(*w->messages));
	w->messages[w->n++] = (struct wire_message){.at_ms = at_ms,
						    .order = w->order++,
						    .connection = connection,
						    .to_broker = to_broker,
						    .bytes = bytes ? kban_memdup(bytes, len) : NULL,
						    .len = len};
}

/* Not before what is already on its way in this direction of the connection. */
static uint64_t in_order(const struct wire *w, uint64_t at_ms, unsigned connection, bool to_broker)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct wire_message *m = &w->messages[i];
		if (m->connection == connection && m->to_broker == to_broker && m->at_ms > at_ms)
			at_ms = m->at_ms;
	}
	return at_ms;
}

void wire_send(struct wire *w, uint64_t now_ms, unsigned connection, bool to_broker, const uint8_t *bytes, size_t len)
{
	uint64_t at = now_ms + 1 + sim_below(w->random, 20);

	if (w->faulty && bytes && sim_chance(w->random, 15)) {
		w->dropped++;
		return;
	}
	if (w->faulty && bytes && sim_chance(w->random, 15))
		w->reordered++;
	else
		at = in_order(w, at, connection, to_broker);
	push(w, at, connection, to_broker, bytes, len);
	if (w->faulty && bytes && sim_chance(w->random, 15)) {
		w->duplicated++;
		push(w, at + sim_below(w->random, 500), connection, to_broker, bytes, len);
	}
}

bool wire_take(struct wire *w, uint64_t now_ms, struct wire_message *out)
{
	size_t best = w->n;

	for (size_t i = 0; i < w->n; i++) {
		const struct wire_message *m = &w->messages[i];
		if (m->at_ms > now_ms)
			continue;
		if (best == w->n || m->at_ms < w->messages[best].at_ms ||
		    (m->at_ms == w->messages[best].at_ms && m->order < w->messages[best].order))
			best = i;
	}
	if (best == w->n)
		return false;
	*out = w->messages[best];
	w->messages[best] = w->messages[--w->n];
	w->delivered++;
	return true;
}

void wire_forget(struct wire *w, unsigned connection)
{
	for (size_t i = 0; i < w->n;) {
		if (w->messages[i].connection != connection) {
			i++;
			continue;
		}
		free(w->messages[i].bytes);
		w->messages[i] = w->messages[--w->n];
	}
}

void wire_release(struct wire *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->messages[i].bytes);
	free(w->messages);
	w->messages = NULL;
	w->n = 0;
}
