/* SPDX-License-Identifier: MPL-2.0
 *
 * The rows of `cluster`: every principal but root, the invitations, and the entries that prove
 * them. Every granter is itself a principal in the list, so the entries that granted, invited,
 * joined and revoked all of them reach up to the root. The brokers' addresses are not rows: they
 * are in the entries that announced them.
 */
#include <stdlib.h>

#include "broker/queries.h"

#define PHASE_SHIFT  48
#define MEMBER_BYTES 1024 /* name, address, keys, heartbeat */
#define INVITE_BYTES 160

enum phase {
	PHASE_MEMBERS,
	PHASE_INVITES,
	PHASE_PROOFS,
};

struct cluster_walk {
	struct page_out *o;
	uint64_t skip, seen; /* rows of earlier pages, rows walked over */
};

static uint64_t position(enum phase phase, uint64_t n)
{
	return (uint64_t)phase << PHASE_SHIFT | n;
}

static int member_step(void *arg, const struct ledger_principal *p)
{
	struct cluster_walk *w = arg;

	if (p->role == KBAN_ROLE_ROOT || w->seen++ < w->skip)
		return 0;
	if (!page_room(w->o, MEMBER_BYTES)) {
		w->o->next = position(PHASE_MEMBERS, w->seen - 1);
		return 1;
	}
	const struct member *m = member_find(w->o->b, &p->curve);
	struct kban_member_row *row = &w->o->members[w->o->members_n++];

	*row = (struct kban_member_row){
		.key = p->key,
		.name = kban_text(p->name),
		.role = p->role,
		.held = p->held,
		.revoked_seq = p->revoked_seq,
		.since_ms = p->granted_ms,
	};
	page_count(w->o, MEMBER_BYTES);
	if (!m)
		return 0;
	row->connected = m->connected;
	row->seen_ms = m->seen_ms;
	row->address = kban_text(m->address);
	row->has_heartbeat = m->heartbeat;
	row->heartbeat = m->sealed;
	return 0;
}

static int invite_step(void *arg, const struct ledger_invitation *i)
{
	struct cluster_walk *w = arg;

	if (w->seen++ < w->skip)
		return 0;
	if (!page_room(w->o, INVITE_BYTES)) {
		w->o->next = position(PHASE_INVITES, w->seen - 1);
		return 1;
	}
	w->o->invites[w->o->invites_n++] = (struct kban_invite_row){
		.key = i->key,
		.name = kban_text(i->name),
		.role = i->role,
		.expires_ms = i->expires_ms,
		.used_seq = i->used_seq,
	};
	page_count(w->o, INVITE_BYTES);
	return 0;
}

/* Proofs ------------------------------------------------------------------------------------ */

struct seqs {
	uint64_t after;
	size_t n, cap;
	uint64_t *v;
};

static void seqs_add(struct seqs *s, uint64_t seq)
{
	if (seq <= s->after)
		return;
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->v = kban_realloc(s->v, s->cap * sizeof(*s->v));
	}
	s->v[s->n++] = seq;
}

static int seqs_of_principal(void *arg, const struct ledger_principal *p)
{
	seqs_add(arg, p->granted_seq);
	seqs_add(arg, p->revoked_seq);
	return 0;
}

static int seqs_of_invitation(void *arg, const struct ledger_invitation *i)
{
	seqs_add(arg, i->seq);
	seqs_add(arg, i->used_seq);
	seqs_add(arg, i->revoked_seq);
	return 0;
}

static int seqs_of_broker(void *arg, const struct ledger_broker *b)
{
	seqs_add(arg, b->seq);
	return 0;
}

static int seq_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int proof_take(void *arg, const struct kban_entry *e)
{
	struct page_out *o = arg;

	if (!page_proof(o, e))
		o->next = position(PHASE_PROOFS, e->seq - 1);
	return 0;
}

static void proofs_collect(struct page_out *o, uint64_t after)
{
	const struct ledger *l = o->b->ledger;
	struct seqs s = {.after = after};
	uint64_t last = 0;

	ledger_principals_each(l, seqs_of_principal, &s);
	ledger_invitations_each(l, seqs_of_invitation, &s);
	ledger_brokers_each(l, seqs_of_broker, &s);
	if (s.n)
		qsort(s.v, s.n, sizeof(*s.v), seq_order);
	for (size_t i = 0; i < s.n && !o->next; i++) {
		if (s.v[i] == last)
			continue;
		last = s.v[i];
		if (stream_entry(o->b, last, proof_take, o))
			continue; /* compacted away: kbanctl then says that it cannot verify */
	}
	free(s.v);
}

void cluster_collect(struct page_out *o, uint64_t after)
{
	enum phase phase = (enum phase)(after >> PHASE_SHIFT);
	uint64_t at = after & ((1ULL << PHASE_SHIFT) - 1);
	struct cluster_walk members = {.o = o, .skip = at};
	struct cluster_walk invites = {.o = o, .skip = phase == PHASE_INVITES ? at : 0};

	if (phase == PHASE_MEMBERS)
		ledger_principals_each(o->b->ledger, member_step, &members);
	if (!o->next && phase <= PHASE_INVITES)
		ledger_invitations_each(o->b->ledger, invite_step, &invites);
	if (!o->next)
		proofs_collect(o, phase == PHASE_PROOFS ? at : 0);
}
