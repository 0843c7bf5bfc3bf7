/* SPDX-License-Identifier: MPL-2.0
 *
 * One JSON object with objects and arrays inside: for answers that are no list of rows. Keys come
 * in the order of the calls; a key is NULL inside an array. A time gives NAME in RFC 3339 and
 * NAME_s in seconds since 1970, both null for 0, as in output.h.
 */
#ifndef KBAN_CLI_NESTED_H
#define KBAN_CLI_NESTED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/event.h"

struct nested {
	FILE *f;
	bool lines; /* a line for each member; otherwise all is one line */
	bool comma;
	unsigned depth;
	char closing[16];
};

void nested_begin(struct nested *n, FILE *f, bool lines);
void nested_object(struct nested *n, const char *key);
void nested_array(struct nested *n, const char *key);
/* Ends the innermost object or array; the outermost with a newline. */
void nested_end(struct nested *n);
void nested_text(struct nested *n, const char *key, struct kban_text t);
void nested_string(struct nested *n, const char *key, const char *s); /* NULL or "": null */
void nested_number(struct nested *n, const char *key, uint64_t v);
void nested_signed(struct nested *n, const char *key, int64_t v);
void nested_bool(struct nested *n, const char *key, bool v);
void nested_null(struct nested *n, const char *key);
void nested_time(struct nested *n, const char *key, uint64_t ms);
void nested_prefix(struct nested *n, const char *key, const struct kban_prefix *p);

#endif
