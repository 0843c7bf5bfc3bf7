/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/filter.h"

#include <string.h>

static bool broker_overlaps(const struct kban_event_broker_address *b, const struct kban_prefix *p)
{
	for (size_t i = 0; i < b->addresses_n; i++) {
		if (kban_prefix_overlaps(&b->addresses[i], p))
			return true;
	}
	return false;
}

static bool event_overlaps(const struct kban_event *e, const struct kban_prefix *p)
{
	switch (e->kind) {
	case KBAN_EVENT_BAN:
		return kban_prefix_overlaps(&e->ban.prefix, p);
	case KBAN_EVENT_UNBAN:
		return kban_prefix_overlaps(&e->unban.prefix, p);
	case KBAN_EVENT_SAFE_ADD:
		return kban_prefix_overlaps(&e->safe_add.prefix, p);
	case KBAN_EVENT_SAFE_REMOVE:
		return kban_prefix_overlaps(&e->safe_remove.prefix, p);
	case KBAN_EVENT_SAFE_APPROVE:
		return kban_prefix_overlaps(&e->safe_approve.prefix, p);
	case KBAN_EVENT_BROKER_ADDRESS:
		return broker_overlaps(&e->broker_address, p);
	case KBAN_EVENT_GRANT:
	case KBAN_EVENT_REVOKE:
	case KBAN_EVENT_PURGE:
	case KBAN_EVENT_INVITE:
	case KBAN_EVENT_JOIN:
	case KBAN_EVENT_POLICY:
	case KBAN_EVENT_RELEASE:
	case KBAN_EVENT_FOLD_VERSION:
	case KBAN_EVENT_EPOCH:
		break;
	}
	return false;
}

bool filter_event(const struct kban_query *q, const struct kban_event *e)
{
	if (q->kinds && !(q->kinds >> e->kind & 1))
		return false;
	return !q->has_prefix || event_overlaps(e, &q->prefix);
}

bool filter_report(const struct kban_query *q, const struct kban_report *r)
{
	if (q->author.n && memcmp(q->author.s, &r->author, sizeof(r->author)))
		return false;
	for (size_t i = 0; i < r->events_n; i++) {
		if (filter_event(q, &r->events[i]))
			return true;
	}
	return false;
}
