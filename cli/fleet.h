/* SPDX-License-Identifier: MPL-2.0
 *
 * Asks a broker how the fleet is, and has verify.h judge the answers: a query carries a fresh
 * random nonce, the broker probes every node with it, and asking goes on until each connected
 * node's heartbeat names it.
 */
#ifndef KBAN_CLI_FLEET_H
#define KBAN_CLI_FLEET_H

#include "cli/session.h"
#include "cli/verify.h"

struct fleet {
	struct session *session; /* borrowed */
	struct verify *verify;
};

void fleet_init(struct fleet *f, struct session *s);
void fleet_done(struct fleet *f);

/* One whole answer, all its pages; with a fresh nonce or (probe false) without any. 0 or an exit
 * code, said. */
int fleet_ask(struct fleet *f, bool probe) kban_must_check;
/* Asks until the fleet is settled (verify_settled()), for at most limit_ms. */
int fleet_gather(struct fleet *f, uint64_t limit_ms) kban_must_check;
/* Returns when n nodes (0: all that are not revoked) have seq of this epoch in their kernel, by
 * their signed word. Says so; CLI_DEGRADED when the time runs out, naming those that miss. *have of
 * *all have it then. */
int fleet_wait(struct fleet *f, uint32_t epoch, uint64_t seq, size_t n, size_t *have,
	       size_t *all) kban_must_check;

/* After fleet_gather(): asks on, for at most limit_ms, while a node that answers does not have seq
 * in its kernel yet. */
int fleet_settle(struct fleet *f, uint32_t epoch, uint64_t seq, uint64_t limit_ms) kban_must_check;

/* The live principal's or waiting invitation's key of that name, proven. CLI_NOT_FOUND, said. */
int fleet_key(struct fleet *f, const char *name, struct kban_key *out) kban_must_check;

#endif
