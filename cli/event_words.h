/* SPDX-License-Identifier: MPL-2.0
 *
 * Events in words for people: what one is about, and why. Names of keys come from the members that
 * kbanctl proved itself. All texts are the caller's to free; texts of events are in them as they
 * came, for an output that escapes.
 */
#ifndef KBAN_CLI_EVENT_WORDS_H
#define KBAN_CLI_EVENT_WORDS_H

#include "store/ledger.h"

/* "203.0.113.9", "mail1 (node)". */
char *event_what(const struct kban_event *e, const struct ledger *members);
/* "10 failed logins at smtp on mail1 (rule unknown-user)", the reason that was given, or what a
 * policy changes in the one before it; NULL: none. server is the author's name. */
char *event_why(const struct kban_event *e, const char *server,
		const struct kban_event_policy *before);
/* A ban's cause: "10 failed logins ...", or "banned by alice: head office asked". */
char *event_ban_words(const struct kban_event_ban *b, const char *author, enum kban_role role);
/* What this kind of event was given as its reason; empty when it has none. */
struct kban_text event_reason(const struct kban_event *e);
/* How long it is meant to last; 0: no end. */
uint64_t event_duration(const struct kban_event *e);
/* The name of a principal or invitation, or its fingerprint. */
const char *event_name(char out[KBAN_NAME_MAX + 1], const struct ledger *members,
		       const struct kban_key *key);

#endif
