/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/enforce_mirror.h"
#include "proto/clock.h"
#include "proto/log.h"

#define MANY	   50	 /* changes that are made without notifications */
#define DUMP_MAX   30000 /* elements; 0.1 s to read back, 100,000 would be 0.7 s */
#define DUMP_SPARE 10000 /* more elements than expected that are worth reading */
#define DUMP_TRIES 5
/* A ban so close to its end is not put back: the kernel may have been faster. */
#define ENDING_MS 2000

struct mirror_ref {
	struct wanted_group *g;
	uint8_t addr[16];
};

void mirror_init(struct mirror *m, struct nft *nft, struct wanted *wanted)
{
	*m = (struct mirror){.nft = nft, .wanted = wanted};
}

void mirror_release(struct mirror *m)
{
	free(m->changes.p);
	free(m->sent.p);
}

static uint64_t now_ms(void)
{
	return kban_boot_ms(&kban_clock_system);
}

bool mirror_same_end(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= MIRROR_TOLERANCE_MS;
}

static void refs_push(struct mirror_refs *refs, struct wanted_group *g, const uint8_t *addr)
{
	if (refs->n == refs->size) {
		refs->size = refs->size * 2 + 64;
		refs->p = kban_realloc(refs->p, refs->size * sizeof(*refs->p));
	}
	refs->p[refs->n].g = g;
	memcpy(refs->p[refs->n++].addr, addr, 16);
}

void mirror_changed(struct mirror *m, struct wanted_group *g, struct wanted_entry *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	refs_push(&m->changes, g, e->addr);
}

static bool is_ban(const struct wanted_group *g)
{
	return g->set.kind == NFT_BAN;
}

static bool in_step(const struct wanted_group *g, const struct wanted_entry *e)
{
	return is_ban(g) ? e->until == e->kernel : !e->until == !e->kernel;
}

/* Single changes */

enum phase {
	PHASE_SAFE,
	PHASE_BANS,
	PHASE_UNSAFE,
	PHASES,
};

static enum phase phase_of(const struct wanted_group *g, const struct wanted_entry *e)
{
	if (is_ban(g))
		return PHASE_BANS;
	return e->until ? PHASE_SAFE : PHASE_UNSAFE;
}

static void entry_settle(struct mirror *m, struct wanted_group *g, struct wanted_entry *e)
{
	e->dirty = false;
	wanted_set(m->wanted, g, e, e->until, is_ban(g) || !e->until ? e->until : 1);
	wanted_drop(m->wanted, g, e);
}

/* A change of a timeout is delete and add: kernels before 6.12 ignore an add of what is there. */
static void entry_send(struct mirror *m, struct wanted_group *g, struct wanted_entry *e,
		       uint64_t now)
{
	if (is_ban(g) && e->until && e->until <= now)
		wanted_set(m->wanted, g, e, 0, e->kernel);
	if (e->kernel && !(is_ban(g) && e->kernel <= now))
		nft_delete(m->nft, g->set, e->addr);
	if (e->until)
		nft_add(m->nft, g->set, e->addr, is_ban(g) ? e->until - now : NFT_FOREVER);
	m->new_bans |= is_ban(g) && e->until && !e->kernel;
	refs_push(&m->sent, g, e->addr);
}

static int transaction_end(struct mirror *m)
{
	int r = nft_commit(m->nft);

	for (size_t i = 0; i < m->sent.n && !r; i++) {
		struct mirror_ref *ref = &m->sent.p[i];
		struct wanted_entry *e = wanted_find(m->wanted, ref->g, ref->addr);
		if (e)
			entry_settle(m, ref->g, e);
	}
	m->sent.n = 0;
	m->known = m->known && !r;
	return r;
}

static int phase_send(struct mirror *m, enum phase phase, bool whole)
{
	uint64_t now = now_ms();
	int r = 0;

	for (size_t i = 0; i < m->changes.n && !r; i++) {
		struct mirror_ref *ref = &m->changes.p[i];
		struct wanted_entry *e = wanted_find(m->wanted, ref->g, ref->addr);
		if (!e || !e->dirty || phase_of(ref->g, e) != phase)
			continue;
		if (in_step(ref->g, e)) {
			entry_settle(m, ref->g, e);
			continue;
		}
		entry_send(m, ref->g, e, now);
		if (whole || m->sent.n < MIRROR_TRANSACTION)
			continue;
		r = transaction_end(m);
		nft_begin(m->nft);
		now = now_ms();
	}
	return r;
}

static int changes_send(struct mirror *m, bool whole)
{
	bool many = m->changes.n > MANY;
	int r = 0;

	if (many)
		nft_deafen(m->nft);
	for (enum phase phase = 0; phase < PHASES && !r; phase++)
		r = phase_send(m, phase, whole);
	if (!r)
		r = transaction_end(m);
	if (many)
		nft_listen(m->nft);
	m->changes.n = 0;
	if (m->changes.size > 64 * MIRROR_TRANSACTION) {
		free(m->changes.p);
		m->changes = (struct mirror_refs){0};
	}
	return r;
}

/* What nodes ban every day; making and unmaking it each time would cost more than it saves. */
static bool is_everyday(const struct wanted_group *g)
{
	return is_ban(g) && g->set.len == (g->set.family == KBAN_IPV4 ? 32 : 64);
}

/* Every packet is looked up in every set of bans: one length that an operator once used must not
 * cost for ever. */
static void empty_retire(struct mirror *m)
{
	size_t n, retired = 0;
	struct wanted_group **groups = wanted_groups(m->wanted, &n);

	for (size_t i = 0; i < n; i++) {
		const struct wanted_group *g = groups[i];
		if (g->n || is_everyday(g) || !nft_set_exists(m->nft, g->set))
			continue;
		nft_retire(m->nft, g->set);
		retired++;
	}
	if (retired)
		nft_write_rules(m->nft);
}

/* Said once, and again only after it had become better. */
static void lengths_watch(struct mirror *m)
{
	size_t n, lengths[2] = {0};
	struct wanted_group **groups = wanted_groups(m->wanted, &n);

	for (size_t i = 0; i < n; i++)
		if (is_ban(groups[i]) && groups[i]->n)
			lengths[groups[i]->set.family == KBAN_IPV6]++;
	size_t most = lengths[0] > lengths[1] ? lengths[0] : lengths[1];
	if (most > MIRROR_LENGTHS_MANY && !m->many_lengths)
		kban_warning("bans have %zu different prefix lengths (IPv%u), and every packet is "
			     "looked up once for each: ban by fewer, like /16, /20 and /24",
			     most, lengths[0] == most ? 4 : 6);
	m->many_lengths = most > MIRROR_LENGTHS_MANY;
}

int mirror_apply(struct mirror *m)
{
	lengths_watch(m);
	nft_begin(m->nft);
	if (m->known && m->complete)
		empty_retire(m);
	return changes_send(m, false);
}

/* Comparing */

struct reading {
	struct mirror *m;
	struct wanted_group *g;
	uint64_t now;
};

static void element_seen(void *arg, const uint8_t *bytes, uint64_t left_ms)
{
	struct reading *r = arg;
	uint8_t addr[16] = {0};

	memcpy(addr, bytes, r->g->set.family == KBAN_IPV4 ? 4 : 16);
	wanted_get(r->m->wanted, r->g, addr)->seen = is_ban(r->g) && left_ms != NFT_FOREVER
							     ? r->now + left_ms
							     : 1;
}

static void group_unsee(struct wanted_group *g)
{
	for (size_t i = 0; i < g->size; i++)
		g->slots[i].seen = 0;
}

/* *refill: too large, or too much in motion, to be read. */
static int group_read(struct mirror *m, struct wanted_group *g, bool *refill)
{
	int r = -EINTR;

	*refill = g->n > DUMP_MAX;
	/* -EINTR: another transaction came between two messages. */
	for (int tries = 0; !*refill && r == -EINTR && tries < DUMP_TRIES; tries++) {
		struct reading reading = {m, g, now_ms()};
		group_unsee(g);
		r = nft_dump(m->nft, g->set, g->n + DUMP_SPARE, element_seen, &reading);
	}
	*refill |= r == NFT_DUMP_TOO_MANY || r == -EINTR;
	return *refill ? 0 : r;
}

static void entry_count_repair(struct mirror *m, struct wanted_group *g, struct wanted_entry *e,
			       bool ending)
{
	struct mirror_repairs *n = &m->repairs;

	n->put_back += e->kernel && !e->seen && e->until && !ending;
	n->removed += !e->kernel && e->seen && !e->until;
	n->corrected += is_ban(g) && e->kernel && e->seen && !mirror_same_end(e->kernel, e->seen);
}

/* What a comparison has seen becomes what is known. Returns whether e is still there. */
static bool entry_compare(struct mirror *m, struct wanted_group *g, struct wanted_entry *e,
			  uint64_t now)
{
	bool ban = is_ban(g);
	bool ending = ban && e->until <= now + ENDING_MS;
	uint64_t until = e->until, seen = e->seen;

	if (m->complete)
		entry_count_repair(m, g, e, ending);
	if (ban && e->kernel && !seen && ending)
		until = 0;
	if (ban && until && seen && mirror_same_end(until, seen))
		seen = until;
	e->dirty = false;
	wanted_set(m->wanted, g, e, until, seen);
	if (!in_step(g, e) && (until || m->complete))
		mirror_changed(m, g, e);
	return !wanted_drop(m->wanted, g, e);
}

static void group_compare(struct mirror *m, struct wanted_group *g)
{
	uint64_t now = now_ms();

	for (size_t i = 0; i < g->size; i++)
		if (g->slots[i].used && !entry_compare(m, g, &g->slots[i], now))
			i--; /* another may have moved here */
}

/* Also those sets that only the kernel has. */
static void groups_from_kernel(struct mirror *m)
{
	for (unsigned kind = 0; kind < NFT_KINDS; kind++)
		for (unsigned len = 1; len <= 128; len++) {
			struct nft_set v4 = {kind, KBAN_IPV4, len}, v6 = {kind, KBAN_IPV6, len};
			if (len <= 32 && nft_set_exists(m->nft, v4))
				wanted_group(m->wanted, v4);
			if (nft_set_exists(m->nft, v6))
				wanted_group(m->wanted, v6);
		}
}

static int refill_send(struct mirror *m, struct wanted_group *g)
{
	uint64_t now = now_ms();
	size_t sent = 0;
	int r = 0;

	nft_begin(m->nft);
	nft_swap_begin(m->nft, g->set);
	for (size_t i = 0; i < g->size && !r; i++) {
		struct wanted_entry *e = &g->slots[i];
		if (!e->used || !e->until || (is_ban(g) && e->until <= now))
			continue;
		nft_add(m->nft, g->set, e->addr, is_ban(g) ? e->until - now : NFT_FOREVER);
		if (++sent % MIRROR_TRANSACTION)
			continue;
		r = nft_commit(m->nft);
		nft_begin(m->nft);
		now = now_ms();
	}
	nft_swap_end(m->nft, g->set);
	return r ? r : nft_commit(m->nft);
}

static int group_refill(struct mirror *m, struct wanted_group *g, bool known)
{
	nft_deafen(m->nft);
	int r = refill_send(m, g);
	nft_listen(m->nft);
	if (r)
		return r;
	m->repairs.refills += known; /* else it was not others who changed it */
	for (size_t i = 0; i < g->size; i++) {
		struct wanted_entry *e = &g->slots[i];
		if (!e->used)
			continue;
		m->new_bans |= is_ban(g) && e->until && !e->kernel;
		e->dirty = false;
		wanted_set(m->wanted, g, e, e->until, is_ban(g) || !e->until ? e->until : 1);
		if (wanted_drop(m->wanted, g, e))
			i--;
	}
	return 0;
}

static void layout_mend(struct mirror *m, int layout)
{
	nft_begin(m->nft);
	if (layout == NFT_LAYOUT_ABSENT)
		nft_create(m->nft);
	else if (layout == NFT_LAYOUT_STALE)
		nft_replace(m->nft);
	else if (layout == NFT_LAYOUT_RULES)
		nft_write_rules(m->nft);
	if (layout && m->complete)
		m->repairs.layouts++;
}

static bool group_is_there(struct mirror *m, const struct wanted_group *g, int layout)
{
	return layout != NFT_LAYOUT_ABSENT && layout != NFT_LAYOUT_STALE &&
	       nft_set_exists(m->nft, g->set);
}

/* Before everything wanted is known, a set too large to read keeps what it has, unknown to us. */
static int groups_compare(struct mirror *m, int layout, bool *refill)
{
	size_t n;
	int r = 0;

	m->known = true;
	groups_from_kernel(m);
	struct wanted_group **groups = wanted_groups(m->wanted, &n);
	for (size_t i = 0; i < n && !r; i++) {
		group_unsee(groups[i]);
		refill[i] = false;
		if (group_is_there(m, groups[i], layout))
			r = group_read(m, groups[i], &refill[i]);
		if (refill[i] && !m->complete) {
			group_unsee(groups[i]);
			m->known = refill[i] = false;
		}
		if (!r && !refill[i])
			group_compare(m, groups[i]);
	}
	return r;
}

static int groups_refill(struct mirror *m, const bool *refill, bool known)
{
	size_t n;
	struct wanted_group **groups = wanted_groups(m->wanted, &n);
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		if (refill[i])
			r = group_refill(m, groups[i], known);
	return r;
}

int mirror_compare(struct mirror *m, bool replace)
{
	bool refill[WANTED_GROUPS_MAX];
	bool known = m->known;
	int layout = nft_layout_read(m->nft);

	m->known = false;
	if (layout < 0)
		return layout;
	if (layout == NFT_LAYOUT_STALE && !replace)
		return MIRROR_FOREIGN;
	m->changes.n = 0;
	int r = groups_compare(m, layout, refill);
	if (r) {
		m->known = false;
		return r;
	}
	layout_mend(m, layout);
	/* A stale table goes in the transaction that brings all of the new one. */
	r = changes_send(m, layout == NFT_LAYOUT_STALE);
	if (!r)
		r = groups_refill(m, refill, known);
	m->known = m->known && !r;
	return r;
}

bool mirror_untouched(struct mirror *m)
{
	return m->known && nft_untouched(m->nft);
}
