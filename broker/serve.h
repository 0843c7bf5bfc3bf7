/* SPDX-License-Identifier: MPL-2.0
 *
 * A running broker: loop, ZAP handler, ROUTER, store and core put together, from start to a clean
 * stop.
 */
#ifndef KBAN_BROKER_SERVE_H
#define KBAN_BROKER_SERVE_H

#include "proto/conf.h"
#include "proto/identity.h"

struct serve_config {
	const struct kban_identity *identity;
	const struct kban_strings *listen;
	const char *data;    /* folder of the log */
	const char *genesis; /* file; read only when the log is empty. NULL or "": none */
	void (*ready)(void *arg, const char *endpoint); /* NULL; called once everything is bound */
	void *arg;
};

/* Serves until SIGTERM or SIGINT: 0. -errno, and *error is a sentence with the remedy that the
 * caller frees. Call it after any fork. */
int serve_run(const struct serve_config *config, char **error) kban_must_check;

#endif
