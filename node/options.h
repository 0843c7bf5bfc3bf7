/* SPDX-License-Identifier: MPL-2.0
 *
 * kban-node's configuration, /etc/kban/node.conf: one table row an option (proto/conf.h).
 */
#ifndef KBAN_NODE_OPTIONS_H
#define KBAN_NODE_OPTIONS_H

#include "node/enforce.h"
#include "node/rules.h"
#include "proto/conf.h"
#include "proto/identity.h"

#define OPTIONS_PATH	  "/etc/kban/node.conf"
#define OPTIONS_PORTS_MAX 256
#define OPTIONS_RULES_MAX 32

struct options {
	char *identity, *data, *kerio, *log, *start, *backend, *table;
	uint64_t failures, check_time, block_time, compare_every;
	struct kban_uints ports;
	struct kban_strings rules, except;
	uint16_t port_numbers[OPTIONS_PORTS_MAX];
};

extern const struct kban_conf_option options_table[];

/* Reads the file and fills what depends on other options. *error: "FILE:LINE: what; remedy", the
 * caller frees. */
int options_load(struct options *o, const char *path, char **error) kban_must_check;
void options_free(struct options *o);
KBAN_DEFINE_AUTO(struct options *, options_free)

/* What the options point at; errors as above. */
int options_identity(const struct options *o, struct kban_identity *out,
		     char **error) kban_must_check;
int options_rules(const struct options *o, struct rules **out, char **error) kban_must_check;

#endif
