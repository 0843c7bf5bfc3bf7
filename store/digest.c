/* SPDX-License-Identifier: MPL-2.0 */
#include <endian.h>
#include <string.h>

#include "store/ledger_private.h"

enum item_kind { /* LEDGER.md, "Digest" */
		 ITEM_BAN = 1,
		 ITEM_SAFE = 2,
		 ITEM_UNBAN = 3,
		 ITEM_STRIKES = 4,
		 ITEM_PRINCIPAL = 5,
		 ITEM_COUNTER = 6,
		 ITEM_INVITATION = 7,
		 ITEM_BROKER = 8,
		 ITEM_POLICY = 9,
		 ITEM_VERSIONS = 10,
		 ITEM_HOUR = 11,
};

/* The longest is a broker's: type, curve, endpoint, and eight prefixes. */
#define ITEM_MAX (1 + KBAN_KEY_SIZE + 1 + KBAN_ENDPOINT_MAX + 1 + KBAN_ADDRESSES_MAX * 18)

struct item {
	size_t n;
	uint8_t b[ITEM_MAX];
};

static void put_bytes(struct item *i, const void *p, size_t n)
{
	memcpy(i->b + i->n, p, n);
	i->n += n;
}

static void put_u8(struct item *i, uint8_t v)
{
	i->b[i->n++] = v;
}

static void put_u32(struct item *i, uint32_t v)
{
	v = htobe32(v);
	put_bytes(i, &v, sizeof(v));
}

static void put_u64(struct item *i, uint64_t v)
{
	v = htobe64(v);
	put_bytes(i, &v, sizeof(v));
}

static void put_prefix(struct item *i, const struct kban_prefix *p)
{
	put_u8(i, p->family);
	put_u8(i, p->len);
	put_bytes(i, p->addr, sizeof(p->addr));
}

static void put_text(struct item *i, const char *s)
{
	size_t n = strlen(s);

	put_u8(i, (uint8_t)n);
	put_bytes(i, s, n);
}

static struct item item_of(enum item_kind kind)
{
	struct item i;

	i.n = 0;
	put_u8(&i, (uint8_t)kind);
	return i;
}

static void change(struct ledger *l, enum digest_change c, const struct item *i)
{
	struct kban_span span = kban_span(i->b, i->n);
	struct kban_hash hash;

	kban_hash_spans(&hash, "kban item v1", &span, 1);
	for (size_t lane = 0; lane < LEDGER_LANES; lane++) {
		uint64_t v;

		memcpy(&v, hash.b + lane * sizeof(v), sizeof(v));
		v = be64toh(v);
		l->lanes[lane] += c == DIGEST_ADD ? v : -v;
	}
}

void digest_ban(struct ledger *l, enum digest_change c, const struct kban_prefix *p,
		const struct ledger_ban *ban)
{
	struct item i = item_of(ITEM_BAN);

	put_prefix(&i, p);
	put_bytes(&i, &ban->author->key, KBAN_KEY_SIZE);
	put_u64(&i, ban->seq);
	put_u32(&i, ban->index);
	put_u64(&i, ban->since_ms);
	put_u64(&i, ban->until_ms);
	put_u64(&i, ban->strikes);
	put_u8(&i, ban->ended);
	change(l, c, &i);
}

void digest_safe(struct ledger *l, enum digest_change c, const struct ledger_safe *s)
{
	struct item i = item_of(ITEM_SAFE);

	put_prefix(&i, &s->prefix);
	put_bytes(&i, &s->owner->key, KBAN_KEY_SIZE);
	put_u8(&i, (uint8_t)s->state);
	put_u64(&i, s->seq);
	put_u32(&i, s->index);
	put_u64(&i, s->since_ms);
	put_u64(&i, s->until_ms);
	change(l, c, &i);
}

void digest_unban(struct ledger *l, enum digest_change c, const struct pardon *m)
{
	struct item i = item_of(ITEM_UNBAN);

	put_prefix(&i, &m->prefix);
	put_u64(&i, m->unban_seq);
	put_u64(&i, m->unban_ms);
	change(l, c, &i);
}

void digest_strikes(struct ledger *l, enum digest_change c, const struct ban_row *row)
{
	struct item i = item_of(ITEM_STRIKES);

	put_prefix(&i, &row->prefix);
	put_u64(&i, row->strikes);
	put_u64(&i, row->strikes_end_ms);
	change(l, c, &i);
}

static void digest_counter(struct ledger *l, enum digest_change c, const struct ledger_principal *p)
{
	struct item i = item_of(ITEM_COUNTER);

	put_bytes(&i, &p->key, KBAN_KEY_SIZE);
	put_u64(&i, p->counter);
	put_bytes(&i, &p->newest_hash, KBAN_HASH_SIZE);
	change(l, c, &i);
}

void digest_principal(struct ledger *l, enum digest_change c, const struct ledger_principal *p)
{
	struct item i = item_of(ITEM_PRINCIPAL);

	put_bytes(&i, &p->key, KBAN_KEY_SIZE);
	put_bytes(&i, &p->curve, KBAN_KEY_SIZE);
	put_u8(&i, (uint8_t)p->role);
	put_text(&i, p->name);
	put_u64(&i, p->granted_seq);
	put_u64(&i, p->revoked_seq);
	put_u8(&i, p->held);
	put_u64(&i, p->quota_hour);
	put_u32(&i, p->quota_used);
	change(l, c, &i);
	if (p->counter)
		digest_counter(l, c, p);
}

void digest_invitation(struct ledger *l, enum digest_change c, const struct ledger_invitation *v)
{
	struct item i = item_of(ITEM_INVITATION);

	put_bytes(&i, &v->key, KBAN_KEY_SIZE);
	put_bytes(&i, &v->curve, KBAN_KEY_SIZE);
	put_u8(&i, (uint8_t)v->role);
	put_text(&i, v->name);
	put_u64(&i, v->seq);
	put_u64(&i, v->expires_ms);
	put_u64(&i, v->used_seq);
	put_u8(&i, v->revoked_seq != 0);
	change(l, c, &i);
}

void digest_broker(struct ledger *l, enum digest_change c, const struct ledger_broker *b)
{
	struct item i = item_of(ITEM_BROKER);

	put_bytes(&i, &b->curve, KBAN_KEY_SIZE);
	put_text(&i, b->endpoint);
	put_u8(&i, (uint8_t)b->addresses_n);
	for (size_t a = 0; a < b->addresses_n; a++)
		put_prefix(&i, &b->addresses[a]);
	change(l, c, &i);
}

void digest_policy(struct ledger *l, enum digest_change c)
{
	const struct kban_event_policy *p = &l->policy;
	struct item i = item_of(ITEM_POLICY);

	put_u32(&i, p->quota_per_hour);
	put_u32(&i, p->safe_max);
	put_u32(&i, p->safe_min_len4);
	put_u32(&i, p->safe_min_len6);
	put_u32(&i, p->repeat_percent);
	put_u64(&i, p->repeat_max_ms);
	put_u64(&i, p->history_ms);
	change(l, c, &i);
}

void digest_versions(struct ledger *l, enum digest_change c)
{
	struct item i = item_of(ITEM_VERSIONS);

	put_u32(&i, l->fold_version);
	put_u32(&i, l->place.epoch);
	put_u64(&i, l->epoch_seq);
	change(l, c, &i);
}

void digest_hour(struct ledger *l, enum digest_change c, const struct hour *h)
{
	struct item i = item_of(ITEM_HOUR);

	put_u64(&i, h->hour);
	put_u64(&i, h->seq);
	change(l, c, &i);
}
