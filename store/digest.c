/* SPDX-License-Identifier: MPL-2.0 */
#include <endian.h>
#include <string.h>

#include "store/item.h"
#include "store/ledger_private.h"

static void change(struct ledger *l, enum digest_change c, enum item_kind kind, const void *row)
{
	struct item i;
	struct kban_span span = {i.b, 0};
	struct kban_hash hash;

	item_write(&i, kind, row);
	span.n = i.n;
	kban_hash_spans(&hash, "kban item v1", &span, 1);
	for (size_t lane = 0; lane < LEDGER_LANES; lane++) {
		uint64_t v;

		memcpy(&v, hash.b + lane * sizeof(v), sizeof(v));
		v = be64toh(v);
		l->lanes[lane] += c == DIGEST_ADD ? v : -v;
	}
}

/* Rows as items have them -------------------------------------------------------------------- */

struct item_ban ban_item(const struct kban_prefix *p, const struct ledger_ban *ban)
{
	return (struct item_ban){.prefix = *p, .author = ban->author->key, .ban = *ban};
}

struct item_safe safe_item(const struct ledger_safe *s)
{
	return (struct item_safe){.owner = s->owner->key, .safe = *s};
}

struct item_unban unban_item(const struct pardon *m)
{
	return (struct item_unban){m->prefix, m->unban_seq, m->unban_ms};
}

struct item_strikes strikes_item(const struct ban_row *row)
{
	return (struct item_strikes){row->prefix, row->strikes, row->strikes_end_ms};
}

struct item_policy policy_item(const struct ledger *l)
{
	return (struct item_policy){l->policy, l->policy_seq, l->policy_ms};
}

struct item_versions versions_item(const struct ledger *l)
{
	return (struct item_versions){l->fold_version, l->fold_version_seq, l->place.epoch,
				      l->epoch_seq};
}

/* -------------------------------------------------------------------------------------------- */

void digest_ban(struct ledger *l, enum digest_change c, const struct kban_prefix *p,
		const struct ledger_ban *ban)
{
	struct item_ban row = ban_item(p, ban);

	change(l, c, ITEM_BAN, &row);
}

void digest_safe(struct ledger *l, enum digest_change c, const struct ledger_safe *s)
{
	struct item_safe row = safe_item(s);

	change(l, c, ITEM_SAFE, &row);
}

void digest_unban(struct ledger *l, enum digest_change c, const struct pardon *m)
{
	struct item_unban row = unban_item(m);

	change(l, c, ITEM_UNBAN, &row);
}

void digest_strikes(struct ledger *l, enum digest_change c, const struct ban_row *r)
{
	struct item_strikes row = strikes_item(r);

	change(l, c, ITEM_STRIKES, &row);
}

void digest_principal(struct ledger *l, enum digest_change c, const struct ledger_principal *p)
{
	change(l, c, ITEM_PRINCIPAL, p);
	if (p->counter)
		change(l, c, ITEM_COUNTER, p);
}

void digest_invitation(struct ledger *l, enum digest_change c, const struct ledger_invitation *i)
{
	change(l, c, ITEM_INVITATION, i);
}

void digest_broker(struct ledger *l, enum digest_change c, const struct ledger_broker *b)
{
	change(l, c, ITEM_BROKER, b);
}

void digest_policy(struct ledger *l, enum digest_change c)
{
	struct item_policy row = policy_item(l);

	change(l, c, ITEM_POLICY, &row);
}

void digest_versions(struct ledger *l, enum digest_change c)
{
	struct item_versions row = versions_item(l);

	change(l, c, ITEM_VERSIONS, &row);
}

void digest_hour(struct ledger *l, enum digest_change c, const struct hour *h)
{
	struct item_hour row = {h->hour, h->seq};

	change(l, c, ITEM_HOUR, &row);
}

void digest_time(struct ledger *l, enum digest_change c)
{
	struct item_time row = {l->time_ms};

	change(l, c, ITEM_TIME, &row);
}
