/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/wire.h"

static const char *const outcome_names[KBAN_OUTCOMES] = {
	[KBAN_OUTCOME_COUNTED] = "counted",
	[KBAN_OUTCOME_HISTORY] = "history",
	[KBAN_OUTCOME_HELD] = "held",
	[KBAN_OUTCOME_SAFE] = "safe",
	[KBAN_OUTCOME_NEVER_BAN] = "never-ban",
	[KBAN_OUTCOME_LIMIT] = "limit",
	[KBAN_OUTCOME_UNBANNED] = "unbanned",
	[KBAN_OUTCOME_OVER_QUOTA] = "over-quota",
	[KBAN_OUTCOME_DENIED] = "denied",
	[KBAN_OUTCOME_NOT_FOUND] = "not-found",
	[KBAN_OUTCOME_NO_CHANGE] = "no-change",
	[KBAN_OUTCOME_NAME_TAKEN] = "name-taken",
	[KBAN_OUTCOME_KEY_USED] = "key-used",
	[KBAN_OUTCOME_USED] = "used",
	[KBAN_OUTCOME_EXPIRED] = "expired",
	[KBAN_OUTCOME_BAD_PROOF] = "bad-proof",
	[KBAN_OUTCOME_OUT_OF_RANGE] = "out-of-range",
	[KBAN_OUTCOME_FULL] = "full",
};

static const char *const refusal_names[KBAN_REFUSALS] = {
	[KBAN_REFUSAL_NONE] = "none",
	[KBAN_REFUSAL_MALFORMED] = "malformed",
	[KBAN_REFUSAL_TOO_LARGE] = "too-large",
	[KBAN_REFUSAL_UNKNOWN_EVENT] = "unknown-event",
	[KBAN_REFUSAL_BAD_SIGNATURE] = "bad-signature",
	[KBAN_REFUSAL_WRONG_CLUSTER] = "wrong-cluster",
	[KBAN_REFUSAL_UNKNOWN_AUTHOR] = "unknown-author",
	[KBAN_REFUSAL_NOT_YOURS] = "not-yours",
	[KBAN_REFUSAL_REVOKED] = "revoked",
	[KBAN_REFUSAL_DUPLICATE] = "duplicate",
	[KBAN_REFUSAL_COUNTER_CONFLICT] = "counter-conflict",
	[KBAN_REFUSAL_COUNTER_STALE] = "counter-stale",
	[KBAN_REFUSAL_BASE_AHEAD] = "base-ahead",
	[KBAN_REFUSAL_ON_HOLD] = "on-hold",
	[KBAN_REFUSAL_DISK_FULL] = "disk-full",
	[KBAN_REFUSAL_CLOCK_SUSPECT] = "clock-suspect",
	[KBAN_REFUSAL_RECOVERING] = "recovering",
	[KBAN_REFUSAL_VERSION] = "version",
	[KBAN_REFUSAL_UNKNOWN_SESSION] = "unknown-session",
	[KBAN_REFUSAL_CURSOR_AHEAD] = "cursor-ahead",
	[KBAN_REFUSAL_FORK] = "fork",
	[KBAN_REFUSAL_OLD_EPOCH] = "old-epoch",
	[KBAN_REFUSAL_UPGRADE_NEEDED] = "upgrade-needed",
	[KBAN_REFUSAL_DENIED] = "denied",
	[KBAN_REFUSAL_INVITATION_USED] = "invitation-used",
	[KBAN_REFUSAL_BUSY] = "busy",
	[KBAN_REFUSAL_STOPPING] = "stopping",
	[KBAN_REFUSAL_BELOW_HORIZON] = "below-horizon",
};

const char *kban_outcome_name(unsigned outcome)
{
	return outcome < KBAN_OUTCOMES && outcome_names[outcome] ? outcome_names[outcome]
								 : "unknown";
}

const char *kban_refusal_name(unsigned refusal)
{
	return refusal < KBAN_REFUSALS ? refusal_names[refusal] : "unknown";
}

bool kban_outcome_counts(enum kban_outcome o)
{
	return o == KBAN_OUTCOME_COUNTED || o == KBAN_OUTCOME_HISTORY || o == KBAN_OUTCOME_HELD;
}
