/* SPDX-License-Identifier: MPL-2.0
 *
 * The fleet's policy, field by field: what each is called on the command line, its unit, range and
 * meaning. The ledger decides what is in range (LEDGER.md); a test compares this table with it.
 */
#ifndef KBAN_CLI_POLICY_H
#define KBAN_CLI_POLICY_H

#include "cli/fleet.h"

enum policy_unit {
	POLICY_NUMBER,
	POLICY_PERCENT,
	POLICY_LENGTH,	 /* of a prefix */
	POLICY_DURATION, /* milliseconds; people write 90d */
};

struct policy_field {
	const char *name; /* of the event's member without _ms */
	const char *json; /* for programs */
	enum policy_unit unit;
	size_t offset;
	bool wide; /* uint64_t, else uint32_t */
	uint64_t min, max;
	const char *meaning;
};

extern const struct policy_field policy_fields[]; /* ends with a row without a name */

#define POLICY_VALUE_TEXT 48
uint64_t policy_get(const struct kban_event_policy *p, const struct policy_field *f);
void policy_put(struct kban_event_policy *p, const struct policy_field *f, uint64_t v);
/* "5000", "90d", "/24", "200%". Returns out. */
const char *policy_value(char out[POLICY_VALUE_TEXT], const struct policy_field *f, uint64_t v);
/* "NAME=VALUE" into p. 0, or CLI_USAGE with *error a sentence that names the remedy, the caller's.
 */
int policy_assign(struct kban_event_policy *p, const char *text, char **error) kban_must_check;
/* All of the command's words. 0 or an exit code, said. */
int policy_assign_all(const struct context *ctx, struct kban_event_policy *p) kban_must_check;
bool policies_equal(const struct kban_event_policy *a, const struct kban_event_policy *b);
/* "repeat-percent 100% -> 200%, history 90d -> 30d"; "no change". The caller frees. */
char *policy_difference(const struct kban_event_policy *before,
			const struct kban_event_policy *after);

struct policy_now {
	struct kban_event_policy policy;
	uint64_t seq, since_ms; /* 0: the default */
	char author[KBAN_NAME_MAX + 1];
	struct kban_key key;
};
/* Asks the broker, and checks who set it. 0 or an exit code, said. */
int policy_ask(struct fleet *f, struct policy_now *out) kban_must_check;

#endif
