/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "store/ledger_private.h"

static void name_copy(char out[KBAN_NAME_MAX + 1], const struct kban_text *name)
{
	memcpy(out, name->s, name->n);
	out[name->n] = '\0';
}

static bool principals_full(const struct ledger *l)
{
	return HASH_CNT(by_key, l->principals) >= l->limits.principals;
}

/* Grant -------------------------------------------------------------------------------------- */

enum kban_outcome judge_grant(const struct ledger *l, const struct fold *f,
			      const struct kban_event *e)
{
	const struct kban_event_grant *g = &e->grant;

	if (!(ROLE(g->role) & ROLES_GRANTABLE))
		return KBAN_OUTCOME_DENIED;
	if (keys_used(l, &g->key, &g->curve, f->now))
		return KBAN_OUTCOME_KEY_USED;
	if (name_taken(l, g->name.s, g->name.n))
		return KBAN_OUTCOME_NAME_TAKEN;
	return principals_full(l) ? KBAN_OUTCOME_FULL : KBAN_OUTCOME_COUNTED;
}

void effect_grant(struct ledger *l, const struct fold *f, const struct kban_event *e,
		  enum kban_outcome o)
{
	const struct kban_event_grant *g = &e->grant;
	struct ledger_principal p = {
		.key = g->key,
		.curve = g->curve,
		.role = g->role,
		.granted_seq = f->seq,
		.granted_index = f->index,
		.granted_ms = f->now,
	};

	(void)o;
	name_copy(p.name, &g->name);
	principal_add(l, &p);
	observe_principal(f, &p.key);
}

/* Invite ------------------------------------------------------------------------------------- */

enum kban_outcome judge_invite(const struct ledger *l, const struct fold *f,
			       const struct kban_event *e)
{
	const struct kban_event_invite *i = &e->invite;

	if (!(ROLE(i->role) & ROLES_GRANTABLE))
		return KBAN_OUTCOME_DENIED;
	if (keys_used(l, &i->key, &i->curve, f->now))
		return KBAN_OUTCOME_KEY_USED;
	if (name_taken(l, i->name.s, i->name.n) || name_invited(l, i->name.s, i->name.n, f->now))
		return KBAN_OUTCOME_NAME_TAKEN;
	return invitations_count(l, f->now) >= l->limits.invitations ? KBAN_OUTCOME_FULL
								     : KBAN_OUTCOME_COUNTED;
}

void effect_invite(struct ledger *l, const struct fold *f, const struct kban_event *e,
		   enum kban_outcome o)
{
	const struct kban_event_invite *i = &e->invite;
	struct ledger_invitation v = {
		.key = i->key,
		.curve = i->curve,
		.role = i->role,
		.seq = f->seq,
		.index = f->index,
		.expires_ms = f->now + i->duration_ms,
	};

	(void)o;
	name_copy(v.name, &i->name);
	invitation_add(l, &v);
	observe_principal(f, &v.key);
}

/* Join --------------------------------------------------------------------------------------- */

enum kban_outcome judge_join(const struct ledger *l, const struct fold *f,
			     const struct kban_event *e)
{
	const struct kban_event_join *j = &e->join;
	const struct ledger_invitation *i = &f->invitation->pub;

	if (i->used_seq)
		return KBAN_OUTCOME_USED;
	if (f->now >= i->expires_ms)
		return KBAN_OUTCOME_EXPIRED;
	if (keys_used(l, &j->key, &j->curve, f->now))
		return KBAN_OUTCOME_KEY_USED;
	if (name_taken(l, i->name, strlen(i->name)))
		return KBAN_OUTCOME_NAME_TAKEN;
	if (principals_full(l))
		return KBAN_OUTCOME_FULL;
	return kban_join_check(j, &l->cluster, &i->key) ? KBAN_OUTCOME_COUNTED
							: KBAN_OUTCOME_BAD_PROOF;
}

void effect_join(struct ledger *l, const struct fold *f, const struct kban_event *e,
		 enum kban_outcome o)
{
	const struct kban_event_join *j = &e->join;
	struct invitation *i = f->invitation;
	struct ledger_principal p = {
		.key = j->key,
		.curve = j->curve,
		.role = i->pub.role,
		.granted_seq = f->seq,
		.granted_ms = f->now,
	};

	(void)o;
	invitation_open(l, i);
	i->pub.used_seq = f->seq;
	i->pub.used_ms = f->now;
	i->pub.used_by = j->key;
	invitation_close(l, i);
	memcpy(p.name, i->pub.name, sizeof(p.name));
	principal_add(l, &p);
	observe_principal(f, &i->pub.key);
	observe_principal(f, &p.key);
}

/* Revoke ------------------------------------------------------------------------------------- */

static enum kban_outcome judge_revoke_invitation(const struct ledger *l, const struct fold *f,
						 const struct kban_key *key)
{
	const struct invitation *i = invitation_find(l, key, f->now);

	if (!i)
		return KBAN_OUTCOME_NOT_FOUND;
	if (i->pub.revoked_seq || i->pub.used_seq)
		return KBAN_OUTCOME_NO_CHANGE;
	return ledger_invitation_live(&i->pub, f->now) ? KBAN_OUTCOME_COUNTED
						       : KBAN_OUTCOME_NOT_FOUND;
}

enum kban_outcome judge_revoke(const struct ledger *l, const struct fold *f,
			       const struct kban_event *e)
{
	const struct principal *p = principal_find(l, &e->revoke.key);

	if (!p)
		return judge_revoke_invitation(l, f, &e->revoke.key);
	if (p->pub.role == KBAN_ROLE_ROOT)
		return KBAN_OUTCOME_DENIED;
	return p->pub.revoked_seq ? KBAN_OUTCOME_NO_CHANGE : KBAN_OUTCOME_COUNTED;
}

static void safes_withdraw(struct ledger *l, const struct fold *f, struct principal *p)
{
	while (p->safes) {
		struct kban_prefix prefix = p->safes->pub.prefix;

		safe_drop(l, p->safes);
		observe_safe(f, &prefix);
	}
}

void effect_revoke(struct ledger *l, const struct fold *f, const struct kban_event *e,
		   enum kban_outcome o)
{
	const struct kban_event_revoke *r = &e->revoke;
	struct principal *p = principal_find(l, &r->key);

	(void)o;
	if (p) {
		principal_revoke(l, p, f->seq);
		if (!r->keep_safe)
			safes_withdraw(l, f, p);
	} else {
		struct invitation *i = invitation_find(l, &r->key, f->now);

		invitation_open(l, i);
		i->pub.revoked_seq = f->seq;
		invitation_close(l, i);
	}
	observe_principal(f, &r->key);
}

/* Release ------------------------------------------------------------------------------------ */

enum kban_outcome judge_release(const struct ledger *l, const struct fold *f,
				const struct kban_event *e)
{
	const struct principal *p = principal_find(l, &e->release.key);

	(void)f;
	if (!p)
		return KBAN_OUTCOME_NOT_FOUND;
	return p->pub.held ? KBAN_OUTCOME_COUNTED : KBAN_OUTCOME_NO_CHANGE;
}

void effect_release(struct ledger *l, const struct fold *f, const struct kban_event *e,
		    enum kban_outcome o)
{
	struct principal *p = principal_find(l, &e->release.key);

	(void)o;
	principal_open(l, p);
	p->pub.held = false;
	p->pub.quota_hour = f->now / LEDGER_HOUR_MS;
	p->pub.quota_used = 0;
	principal_close(l, p);
	observe_principal(f, &p->pub.key);
}
