/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"

/* Principals --------------------------------------------------------------------------------- */

struct principal *principal_find(const struct ledger *l, const struct kban_key *key)
{
	struct principal *p;

	HASH_FIND(by_key, l->principals, key, sizeof(*key), p);
	return p;
}

static struct principal *principal_by_curve(const struct ledger *l, const struct kban_key *curve)
{
	struct principal *p;

	HASH_FIND(by_curve, l->principals_by_curve, curve, sizeof(*curve), p);
	return p;
}

static struct principal *principal_by_name(const struct ledger *l, const char *name, size_t n)
{
	struct principal *p;

	HASH_FIND(by_name, l->principals_by_name, name, n, p);
	return p;
}

struct principal *principal_add(struct ledger *l, const struct ledger_principal *pub)
{
	struct principal *p = kban_zalloc(sizeof(*p));

	p->pub = *pub;
	HASH_ADD(by_key, l->principals, pub.key, sizeof(p->pub.key), p);
	/* The root has no curve key: nobody may be taken for it by showing zeros. */
	if (pub->role != KBAN_ROLE_ROOT)
		HASH_ADD(by_curve, l->principals_by_curve, pub.curve, sizeof(p->pub.curve), p);
	if (!pub->revoked_seq)
		HASH_ADD_KEYPTR(by_name, l->principals_by_name, p->pub.name, strlen(p->pub.name),
				p);
	digest_principal(l, DIGEST_ADD, &p->pub);
	return p;
}

void principal_open(struct ledger *l, const struct principal *p)
{
	if (p != l->author)
		digest_principal(l, DIGEST_REMOVE, &p->pub);
}

void principal_close(struct ledger *l, const struct principal *p)
{
	if (p != l->author)
		digest_principal(l, DIGEST_ADD, &p->pub);
}

bool principal_was_live(const struct principal *p, uint64_t seq)
{
	return p->pub.granted_seq < seq && (!p->pub.revoked_seq || seq <= p->pub.revoked_seq);
}

void principal_revoke(struct ledger *l, struct principal *p, uint64_t seq)
{
	principal_open(l, p);
	p->pub.revoked_seq = seq;
	principal_close(l, p);
	HASH_DELETE(by_name, l->principals_by_name, p);
}

/* Invitations -------------------------------------------------------------------------------- */

static bool invitation_gone(const struct invitation *i, uint64_t now)
{
	return !i->pub.used_seq && !i->pub.revoked_seq && i->pub.expires_ms + LEDGER_KEEP_MS <= now;
}

bool ledger_invitation_live(const struct ledger_invitation *i, uint64_t now_ms)
{
	return !i->used_seq && !i->revoked_seq && now_ms < i->expires_ms;
}

struct invitation *invitation_find(const struct ledger *l, const struct kban_key *key, uint64_t now)
{
	struct invitation *i;

	HASH_FIND(by_key, l->invitations, key, sizeof(*key), i);
	return i && !invitation_gone(i, now) ? i : NULL;
}

static struct invitation *invitation_by_curve(const struct ledger *l, const struct kban_key *curve,
					      uint64_t now)
{
	struct invitation *i;

	HASH_FIND(by_curve, l->invitations_by_curve, curve, sizeof(*curve), i);
	return i && !invitation_gone(i, now) ? i : NULL;
}

/* Only the newest of a name is there, since an older one can't be live beside it. */
static struct invitation *invitation_by_name(const struct ledger *l, const char *name, size_t n)
{
	struct invitation *i;

	HASH_FIND(by_name, l->invitations_by_name, name, n, i);
	return i;
}

void invitation_add(struct ledger *l, const struct ledger_invitation *pub)
{
	struct invitation *i = kban_zalloc(sizeof(*i));
	size_t n = strlen(pub->name);
	struct invitation *older = invitation_by_name(l, pub->name, n);

	i->due.kind = DUE_INVITATION;
	i->pub = *pub;
	if (older)
		HASH_DELETE(by_name, l->invitations_by_name, older);
	HASH_ADD(by_key, l->invitations, pub.key, sizeof(i->pub.key), i);
	HASH_ADD(by_curve, l->invitations_by_curve, pub.curve, sizeof(i->pub.curve), i);
	HASH_ADD_KEYPTR(by_name, l->invitations_by_name, i->pub.name, n, i);
	digest_invitation(l, DIGEST_ADD, &i->pub);
	due_settle(l, &i->due);
}

void invitation_open(struct ledger *l, const struct invitation *i)
{
	digest_invitation(l, DIGEST_REMOVE, &i->pub);
}

void invitation_close(struct ledger *l, struct invitation *i)
{
	digest_invitation(l, DIGEST_ADD, &i->pub);
	due_settle(l, &i->due);
}

void invitation_drop(struct ledger *l, struct invitation *i)
{
	digest_invitation(l, DIGEST_REMOVE, &i->pub);
	HASH_DELETE(by_key, l->invitations, i);
	HASH_DELETE(by_curve, l->invitations_by_curve, i);
	if (invitation_by_name(l, i->pub.name, strlen(i->pub.name)) == i)
		HASH_DELETE(by_name, l->invitations_by_name, i);
	heap_set(&l->heap, &i->due, HEAP_NEVER);
	free(i);
}

uint32_t invitations_count(const struct ledger *l, uint64_t now)
{
	uint32_t n = HASH_CNT(by_key, l->invitations);
	const struct invitation *i;

	if (n < l->limits.invitations)
		return n;
	for (i = l->invitations; i; i = i->by_key.next)
		n -= invitation_gone(i, now);
	return n;
}

/* Both --------------------------------------------------------------------------------------- */

bool keys_used(const struct ledger *l, const struct kban_key *key, const struct kban_key *curve,
	       uint64_t now)
{
	static const struct kban_key zero; /* the root's curve key */

	return kban_key_equal(key, curve) || kban_key_equal(curve, &zero) ||
	       principal_find(l, key) || principal_by_curve(l, curve) ||
	       invitation_find(l, key, now) || invitation_by_curve(l, curve, now);
}

bool name_taken(const struct ledger *l, const char *name, size_t n)
{
	return principal_by_name(l, name, n);
}

bool name_invited(const struct ledger *l, const char *name, size_t n, uint64_t now)
{
	const struct invitation *i = invitation_by_name(l, name, n);

	return i && ledger_invitation_live(&i->pub, now);
}

void members_free(struct ledger *l)
{
	HASH_CLEAR(by_curve, l->principals_by_curve);
	HASH_CLEAR(by_name, l->principals_by_name);
	HASH_CLEAR(by_curve, l->invitations_by_curve);
	HASH_CLEAR(by_name, l->invitations_by_name);

	struct principal *p, *next_p;
	struct invitation *i, *next_i;

	HASH_ITER (by_key, l->principals, p, next_p) {
		HASH_DELETE(by_key, l->principals, p);
		free(p);
	}
	HASH_ITER (by_key, l->invitations, i, next_i) {
		HASH_DELETE(by_key, l->invitations, i);
		free(i);
	}
}

/* Lookups ------------------------------------------------------------------------------------ */

const struct ledger_principal *ledger_principal(const struct ledger *l, const struct kban_key *key)
{
	const struct principal *p = principal_find(l, key);

	return p ? &p->pub : NULL;
}

const struct ledger_principal *ledger_principal_by_curve(const struct ledger *l,
							 const struct kban_key *curve)
{
	const struct principal *p = principal_by_curve(l, curve);

	return p ? &p->pub : NULL;
}

const struct ledger_principal *ledger_principal_by_name(const struct ledger *l, const char *name,
							size_t n)
{
	const struct principal *p = principal_by_name(l, name, n);

	return p ? &p->pub : NULL;
}

const struct ledger_invitation *ledger_invitation(const struct ledger *l,
						  const struct kban_key *key)
{
	const struct invitation *i = invitation_find(l, key, l->time_ms);

	return i ? &i->pub : NULL;
}

const struct ledger_invitation *ledger_invitation_by_curve(const struct ledger *l,
							   const struct kban_key *curve)
{
	const struct invitation *i = invitation_by_curve(l, curve, l->time_ms);

	return i ? &i->pub : NULL;
}

int ledger_principals_each(const struct ledger *l,
			   int (*fn)(void *arg, const struct ledger_principal *p), void *arg)
{
	int r = 0;

	for (const struct principal *p = l->principals; p && !r; p = p->by_key.next)
		r = fn(arg, &p->pub);
	return r;
}

int ledger_invitations_each(const struct ledger *l,
			    int (*fn)(void *arg, const struct ledger_invitation *i), void *arg)
{
	int r = 0;

	for (const struct invitation *i = l->invitations; i && !r; i = i->by_key.next)
		r = fn(arg, &i->pub);
	return r;
}
