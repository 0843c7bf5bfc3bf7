/* SPDX-License-Identifier: MPL-2.0
 *
 * Rules: what a log line means. They are data (node/rules/kerio.rules, built in as the default; a file may
 * replace them): each has a name (the `class` of what it finds), a log, a service, a verdict and a PCRE2
 * pattern with the named groups `address`, `user`, `service`. The pattern sees the text after the
 * "[dd/Mon/yyyy hh:mm:ss] " envelope, and is anchored at both ends. The first rule that matches wins.
 */
#ifndef KBAN_NODE_RULES_H
#define KBAN_NODE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"
#include "proto/prefix.h"

enum rules_verdict {
	RULES_NONE,    /* known, and nothing to count */
	RULES_FAILURE, /* one failed attempt */
	RULES_BAN,     /* Kerio's own verdict: ban at once */
	RULES_SUCCESS,
};
const char *rules_verdict_name(enum rules_verdict v); /* "none", "failure", "ban", "success" */

/* A failed SMTP login writes two lines (shared facts: inferred): these are the two halves that make one. */
enum rules_half {
	RULES_WHOLE,
	RULES_HALF_LOGIN, /* "Failed ... login from" */
	RULES_HALF_USER,  /* "User ... doesn't exist", "Invalid password" */
};

struct rules_match {
	const char *rule;	/* NULL: no rule knows the line */
	char service[KBAN_RULE_MAX + 1];
	bool has_address;	/* a hostname, or an invalid one, is no address: verdict stays, nobody is banned */
	struct kban_prefix address;
	const char *user;	/* borrowed from the line; NULL when the line has none */
	size_t user_len;
	enum rules_verdict verdict;
	enum rules_half half;
	bool has_time;
	int64_t local_s;	/* the envelope's time as if it were UTC: seconds since 1970, no zone applied */
};

struct rules;

/* The built-in rules. */
int rules_default(struct rules **out) kban_must_check;
/* From a file; *error is "FILE:LINE: what; remedy", the caller's to free. */
int rules_load(struct rules **out, const char *path, char **error) kban_must_check;
void rules_free(struct rules *r);
KBAN_DEFINE_AUTO(struct rules *, rules_free)

/* Reads one line (no newline) of any bytes. Returns whether a rule matched; *out is always filled. */
bool rules_match(const struct rules *r, const char *line, size_t len, struct rules_match *out);

#endif
