/* SPDX-License-Identifier: MPL-2.0
 *
 * Rules: what a log line means. They are data, kban-rules(5): each has a name (the `class` of what
 * it finds), the log whose lines it reads, a service, a verdict and a PCRE2 pattern with the named
 * groups `address`, `user`, `service`. The pattern sees the text after the "[dd/Mon/yyyy hh:mm:ss]
 * " envelope, and is anchored at both ends. The first rule that matches wins. The built-in ones are
 * node/rules/kerio.rules; an administrator's own stand before them, and one with the name of a
 * built-in rule replaces it. A file whose name ends in .conf is a fail2ban filter: each failregex
 * is a rule, which counts only what no built-in rule counts.
 *
 * No line costs more than so many steps a byte (RULES_STEPS): a rule that meets the limit is
 * counted, said so once, and passed over. Only a built-in rule ends the search then, since those
 * behind rely on it.
 */
#ifndef KBAN_NODE_RULES_H
#define KBAN_NODE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"
#include "proto/prefix.h"

#define RULES_FAILURES_MAX 1000U
#define RULES_CHECK_MAX_S  86400U
#define RULES_BLOCK_MAX_S  31622400U

enum rules_verdict {
	RULES_NONE,    /* known, and nothing to count */
	RULES_FAILURE, /* one failed attempt */
	RULES_BAN,     /* Kerio's own verdict: ban at once */
	RULES_SUCCESS,
};
const char *rules_verdict_name(enum rules_verdict v); /* "none", "failure", "ban", "success" */

/* A failed SMTP login writes two lines (shared facts: inferred): these are the two halves that make
 * one. */
enum rules_half {
	RULES_WHOLE,
	RULES_HALF_LOGIN, /* "Failed ... login from" */
	RULES_HALF_USER,  /* "User ... doesn't exist", "Invalid password" */
};

/* A rule that sets one of these counts its lines in windows of its own. */
struct rules_limits { /* 0: the node's */
	uint32_t failures, check_s, block_s;
};

struct rules_match {
	const char *rule; /* NULL: no rule knows the line; lives as long as the rules */
	char service[KBAN_RULE_MAX + 1];
	bool has_address; /* a hostname, or an invalid one, is no address: verdict stays, nobody is
			     banned */
	struct kban_prefix address;
	const char *user; /* borrowed from the line; NULL when the line has none */
	size_t user_len;
	enum rules_verdict verdict;
	enum rules_half half;
	const struct rules_limits *own; /* NULL: it counts in its service's windows */
	bool has_time;
	bool is_utc;	 /* the time had a zone (syslog): local_s is seconds since 1970 UTC */
	int64_t local_s; /* the envelope's time as if it were UTC: seconds since 1970, no zone
			    applied */
};

struct rules;

enum rules_log {
	RULES_LOG_ANY, /* of a rule: it reads every log; of a line: nobody knows where it is from */
	RULES_LOG_SECURITY,
	RULES_LOG_WARNING,
	RULES_LOG_MAIL,
	RULES_LOG_AUDIT,
	RULES_LOG_ERROR,
	RULES_LOG_SPAM,
	RULES_LOG_DEBUG,
	RULES_LOG_OPERATIONS,
	RULES_LOG_CONFIG,
};
bool rules_log_parse(enum rules_log *out, const char *name) kban_must_check;
extern const char rules_log_list[]; /* "any, security, ..." */

/* Where a line was found. A log file that Kerio writes has Kerio's envelope and nothing else: a
 * line of it that begins with a syslog header is no line of Kerio's, so that not even somebody who
 * got a line break into a log could choose how the rest is read. */
struct rules_source {
	enum rules_log log;
	bool syslog; /* a header of RFC 5424 or RFC 3164, "<PRI>...", may stand before the text */
};
extern const struct rules_source rules_anywhere, rules_kerio_security;

struct rules_set {
	size_t n;
	const char *const *paths; /* tried in this order, before the built-in rules */
	bool alone;		  /* without the built-in rules */
	bool untested;		  /* load it although a test of it fails */
};

/* The built-in rules. */
int rules_default(struct rules **out) kban_must_check;
/* *error is "FILE:LINE: what; remedy", the caller's to free. A failregex that an attacker's text
 * may match is warned of in the log. */
int rules_load(struct rules **out, const struct rules_set *set, char **error) kban_must_check;
void rules_free(struct rules *r);
KBAN_DEFINE_AUTO(struct rules *, rules_free)

/* Reads one line (no newline) of any bytes. Returns whether a rule matched; *out is always filled.
 */
bool rules_match_from(const struct rules *r, const struct rules_source *from, const char *line,
		      size_t len, struct rules_match *out);
/* The same, from anywhere. */
bool rules_match(const struct rules *r, const char *line, size_t len, struct rules_match *out);

/* How many times a rule met its limit, and so did not read a line. */
uint64_t rules_slow(const struct rules *r);
/* The most failures that a rule of its own windows asks for; 0: none does. */
uint32_t rules_failures_max(const struct rules *r);

/* A rule's own test, run through all rules. */
struct rules_test {
	const char *rule, *file;
	int line;	      /* in the file; of a rule without a test, its own */
	const char *text;     /* NULL: the rule has no test */
	const char *expected; /* "ADDRESS USER" */
	const char *found;    /* the same; or "no rule", "rule NAME" */
	bool ok;
};
void rules_each_test(const struct rules *r, void (*fn)(void *arg, const struct rules_test *t),
		     void *arg);

#endif
