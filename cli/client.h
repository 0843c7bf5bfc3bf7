/* SPDX-License-Identifier: MPL-2.0
 *
 * A blocking client of a broker: one DEALER with CURVE, one deadline for everything, counted on the
 * boot clock. What was not answered when a connection or session is lost is sent again over a new
 * one, the same bytes. Functions return 0 or the exit code that tells the reason (enum cli_exit),
 * with *error a sentence that the caller frees.
 */
#ifndef KBAN_CLI_CLIENT_H
#define KBAN_CLI_CLIENT_H

#include "proto/clock.h"
#include "proto/identity.h"
#include "proto/wire.h"

struct client;

/* Connects to the first of the identity's brokers that answers and says Hello. Keeps id and clock.
 */
int client_open(struct client **out, const struct kban_identity *id, const struct kban_clock *clock,
		uint64_t timeout_ms, char **error) kban_must_check;
void client_free(struct client *c);
KBAN_DEFINE_AUTO(struct client *, client_free)

/* The newest Welcome; lives until the next call. */
const struct kban_welcome *client_welcome(const struct client *c);
const char *client_endpoint(const struct client *c);
bool client_late(const struct client *c);
/* Milliseconds until the deadline. */
uint64_t client_left_ms(const struct client *c);
/* A new deadline from now on. */
void client_extend(struct client *c, uint64_t timeout_ms);

/* One question, one answer; *answer is the caller's to free. */
int client_ask(struct client *c, const struct kban_query *q, struct kban_message **answer,
	       char **error) kban_must_check;
/* A question whose answer may be held back: 0 with *answer NULL when none came within wait_ms, or
 * what is watched became readable. */
int client_await(struct client *c, const struct kban_query *q, uint64_t wait_ms,
		 struct kban_message **answer, char **error) kban_must_check;
/* From now on nothing is waited for while fd is readable; keeps it. -1: none. */
void client_watch(struct client *c, int fd);
/* A new connection and session, within timeout_ms. */
int client_renew(struct client *c, uint64_t timeout_ms, char **error) kban_must_check;
/* Hands in a sealed report until there is a receipt for exactly it. `busy` is asked again. */
int client_submit(struct client *c, const struct kban_sealed *s, struct kban_message **receipt,
		  char **error) kban_must_check;
/* Sleeps, no longer than the deadline. */
void client_pause(struct client *c, uint64_t ms);

#endif
