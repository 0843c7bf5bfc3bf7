/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/event_words.h"

#include <string.h>

#include "cli/policy.h"

const char *event_name(char out[KBAN_NAME_MAX + 1], const struct ledger *members,
		       const struct kban_key *key)
{
	const struct ledger_principal *p = ledger_principal(members, key);
	const struct ledger_invitation *i = p ? NULL : ledger_invitation(members, key);
	char fingerprint[KBAN_FINGERPRINT_TEXT];

	strcpy(out, p ? p->name : i ? i->name : kban_fingerprint(fingerprint, key));
	return out;
}

struct kban_text event_reason(const struct kban_event *e)
{
	switch (e->kind) {
	case KBAN_EVENT_BAN:
		return e->ban.reason;
	case KBAN_EVENT_UNBAN:
		return e->unban.reason;
	case KBAN_EVENT_SAFE_ADD:
		return e->safe_add.reason;
	case KBAN_EVENT_SAFE_REMOVE:
		return e->safe_remove.reason;
	case KBAN_EVENT_SAFE_APPROVE:
		return e->safe_approve.reason;
	case KBAN_EVENT_REVOKE:
		return e->revoke.reason;
	case KBAN_EVENT_PURGE:
		return e->purge.reason;
	case KBAN_EVENT_RELEASE:
		return e->release.reason;
	case KBAN_EVENT_EPOCH:
		return e->epoch.reason;
	case KBAN_EVENT_GRANT:
	case KBAN_EVENT_INVITE:
	case KBAN_EVENT_JOIN:
	case KBAN_EVENT_POLICY:
	case KBAN_EVENT_BROKER_ADDRESS:
	case KBAN_EVENT_FOLD_VERSION:
		break;
	}
	return (struct kban_text){NULL, 0};
}

uint64_t event_duration(const struct kban_event *e)
{
	if (e->kind == KBAN_EVENT_BAN)
		return e->ban.duration_ms;
	if (e->kind == KBAN_EVENT_INVITE)
		return e->invite.duration_ms;
	return e->kind == KBAN_EVENT_SAFE_ADD ? e->safe_add.duration_ms : 0;
}

/* What it is about. */

static char *what_named(struct kban_text name, enum kban_role role)
{
	return kban_asprintf("%.*s (%s)", (int)name.n, name.s, kban_role_name(role));
}

static char *what_key(const struct ledger *members, const struct kban_key *key, const char *more)
{
	char name[KBAN_NAME_MAX + 1];

	return kban_asprintf("%s%s", event_name(name, members, key), more);
}

static char *what_prefix(const struct kban_prefix *p, const char *more)
{
	char text[KBAN_PREFIX_TEXT];

	return kban_asprintf("%s%s", kban_prefix_format(p, text), more);
}

static char *what_approved(const struct kban_event_safe_approve *a, const struct ledger *members)
{
	char name[KBAN_NAME_MAX + 1], text[KBAN_PREFIX_TEXT];

	return kban_asprintf("%s of %s", kban_prefix_format(&a->prefix, text),
			     event_name(name, members, &a->owner));
}

char *event_what(const struct kban_event *e, const struct ledger *members)
{
	switch (e->kind) {
	case KBAN_EVENT_BAN:
		return what_prefix(&e->ban.prefix, "");
	case KBAN_EVENT_UNBAN:
		return what_prefix(&e->unban.prefix,
				   e->unban.covering ? " and what covers it" : "");
	case KBAN_EVENT_SAFE_ADD:
		return what_prefix(&e->safe_add.prefix, "");
	case KBAN_EVENT_SAFE_REMOVE:
		return what_prefix(&e->safe_remove.prefix, e->safe_remove.all ? "" : " (its own)");
	case KBAN_EVENT_SAFE_APPROVE:
		return what_approved(&e->safe_approve, members);
	case KBAN_EVENT_GRANT:
		return what_named(e->grant.name, e->grant.role);
	case KBAN_EVENT_REVOKE:
		return what_key(members, &e->revoke.key,
				e->revoke.keep_safe ? ", its safe ranges stay" : "");
	case KBAN_EVENT_PURGE:
		return what_key(members, &e->purge.key, ": all of its bans end");
	case KBAN_EVENT_INVITE:
		return what_named(e->invite.name, e->invite.role);
	case KBAN_EVENT_JOIN:
		return what_key(members, &e->join.key, "");
	case KBAN_EVENT_POLICY:
		return kban_strdup("the fleet's policy");
	case KBAN_EVENT_BROKER_ADDRESS:
		return e->broker_address.remove
			       ? kban_strdup("a broker's address is removed")
			       : kban_asprintf("%.*s", (int)e->broker_address.endpoint.n,
					       e->broker_address.endpoint.s);
	case KBAN_EVENT_RELEASE:
		return what_key(members, &e->release.key, "");
	case KBAN_EVENT_FOLD_VERSION:
		return kban_asprintf("%u%s", e->fold_version.version,
				     e->fold_version.force ? ", forced" : "");
	case KBAN_EVENT_EPOCH:
		return kban_asprintf("%u", e->epoch.epoch);
	}
	return kban_strdup("?");
}

/* Why. */

static const char *const login_rules[] = {"unclear-user", "unknown-user", "bad-password",
					  "failed-login", "admin-login-denied"};

static const char *failures_name(const struct kban_event_ban *b)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(login_rules); i++)
		if (b->rule.n == strlen(login_rules[i]) &&
		    !memcmp(b->rule.s, login_rules[i], b->rule.n))
			return b->count == 1 ? "failed login" : "failed logins";
	return b->count == 1 ? "offence" : "offences";
}

/* What a server saw. */
static char *offence_words(const struct kban_event_ban *b, const char *author)
{
	struct kban_text server = b->server.n ? b->server : kban_text(author);

	return kban_asprintf("%u %s%s%.*s on %.*s%s%.*s%s", b->count, failures_name(b),
			     b->service.n ? " at " : "", (int)b->service.n,
			     b->service.s ? b->service.s : "", (int)server.n, server.s,
			     b->rule.n ? " (rule " : "", (int)b->rule.n, b->rule.s ? b->rule.s : "",
			     b->rule.n ? ")" : "");
}

char *event_ban_words(const struct kban_event_ban *b, const char *author, enum kban_role role)
{
	if (role != KBAN_ROLE_OPERATOR && b->service.n + b->line.n)
		return offence_words(b, author);
	return kban_asprintf("banned by %s%s%.*s", author, b->reason.n ? ": " : "",
			     (int)b->reason.n, b->reason.s ? b->reason.s : "");
}

char *event_why(const struct kban_event *e, const char *server,
		const struct kban_event_policy *before)
{
	struct kban_text reason = event_reason(e);

	if (e->kind == KBAN_EVENT_POLICY)
		return policy_difference(before, &e->policy);
	if (reason.n)
		return kban_asprintf("%.*s", (int)reason.n, reason.s);
	if (e->kind != KBAN_EVENT_BAN || !e->ban.count || e->ban.service.n + e->ban.line.n == 0)
		return NULL;
	return offence_words(&e->ban, server);
}
