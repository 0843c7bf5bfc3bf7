/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/verify.h"

#include <stdlib.h>
#include <string.h>

#define BROKER_POINTS                                                                              \
	64 /* the newest places of the broker, to compare nodes with that answered meanwhile */

struct point { /* chain and digest at a place */
	struct kban_place place;
	struct kban_hash digest;
};

struct verify {
	struct ledger *ledger;
	struct kban_cluster_id cluster;
	uint64_t folded_seq, bad_proofs;
	uint8_t nonces[VERIFY_NONCES][16];
	size_t nonces_n; /* so far */
	struct verify_member *members;
	size_t members_n, members_max;
	struct point points[BROKER_POINTS];
	size_t points_n;    /* so far */
	uint64_t asked_seq; /* the broker's head in the first answer to the newest nonce */
	bool asked;
	uint64_t broker_ms;
};

static const char *const state_names[] = {
	[VERIFY_LIVE] = "live",
	[VERIFY_BEHIND] = "behind",
	[VERIFY_HELD] = "held",
	[VERIFY_CLOCK_OFF] = "clock-off",
	[VERIFY_WATCHING] = "watching",
	[VERIFY_LOG_MISSING] = "log-missing",
	[VERIFY_DISK_FULL] = "disk-full",
	[VERIFY_UNCONFIRMED] = "unconfirmed",
	[VERIFY_UPGRADE_NEEDED] = "upgrade-needed",
	[VERIFY_KERNEL_FAILED] = "kernel-failed",
	[VERIFY_SILENT] = "silent",
	[VERIFY_OFFLINE] = "offline",
	[VERIFY_UNHEARD] = "unheard",
	[VERIFY_WITHHELD] = "withheld",
	[VERIFY_FORK] = "fork",
	[VERIFY_FORGED] = "forged",
	[VERIFY_REVOKED] = "revoked",
};

const char *verify_state_name(enum verify_state s)
{
	return state_names[s];
}

const char *verify_agreement_name(enum verify_agreement a)
{
	static const char *const names[] = {"unknown", "yes", "older", "no"};

	return names[a];
}

void verify_new(struct verify **out, const struct kban_key *root)
{
	struct verify *v = kban_zalloc(sizeof(*v));

	ledger_new(&v->ledger, root);
	kban_cluster_id(&v->cluster, root);
	*out = v;
}

void verify_free(struct verify *v)
{
	if (!v)
		return;
	ledger_free(v->ledger);
	free(v->members);
	free(v);
}

void verify_nonce(struct verify *v, const uint8_t nonce[16])
{
	memcpy(v->nonces[v->nonces_n++ % VERIFY_NONCES], nonce, 16);
	v->asked = false;
}

static bool nonce_known(const struct verify *v, const struct kban_heartbeat *h)
{
	size_t n = v->nonces_n < VERIFY_NONCES ? v->nonces_n : VERIFY_NONCES;

	for (size_t i = 0; i < n && h->nonce_n == 16; i++)
		if (!memcmp(v->nonces[i], h->nonce, 16))
			return true;
	return false;
}

/* Proofs. */

/* The ledger folds only these few entries, so each is put right behind the place that it stood at.
 */
static void proof_fold(struct verify *v, const struct kban_entry *e, uint32_t epoch)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct ledger_verdict verdict;
	struct kban_place before = {.epoch = epoch, .seq = e->seq - 1};

	if (kban_report_decode(&r, &e->sealed) || !kban_report_check(r, &e->sealed)) {
		v->bad_proofs++;
		return;
	}
	ledger_set_place(v->ledger, &before);
	ledger_apply(v->ledger, e, r, &verdict, NULL);
	v->folded_seq = e->seq;
	v->bad_proofs += verdict.refusal != KBAN_REFUSAL_NONE;
}

static int by_seq(const void *a, const void *b)
{
	const struct kban_entry *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

static void proofs_fold(struct verify *v, const struct kban_answer *a)
{
	struct kban_entry *sorted = kban_memdup(a->proofs, a->proofs_n * sizeof(*sorted));

	qsort(sorted, a->proofs_n, sizeof(*sorted), by_seq);
	for (size_t i = 0; i < a->proofs_n; i++)
		if (sorted[i].seq > v->folded_seq)
			proof_fold(v, &sorted[i], a->place.epoch);
	free(sorted);
}

/* Rows. */

static struct verify_member *member_find(const struct verify *v, const struct kban_key *key)
{
	for (size_t i = 0; i < v->members_n; i++)
		if (kban_key_equal(&v->members[i].key, key))
			return &v->members[i];
	return NULL;
}

static struct verify_member *member_add(struct verify *v, const struct kban_key *key)
{
	if (v->members_n == v->members_max) {
		v->members_max = v->members_max ? v->members_max * 2 : 64;
		v->members = kban_realloc(v->members, v->members_max * sizeof(*v->members));
	}
	struct verify_member *m = &v->members[v->members_n++];
	memset(m, 0, sizeof(*m));
	m->key = *key;
	return m;
}

static void text_take(char *out, size_t size, struct kban_text t)
{
	size_t n = t.n < size - 1 ? t.n : size - 1;

	if (n)
		memcpy(out, t.s, n);
	out[n] = 0;
}

/* ::ffff:192.0.2.1 is 192.0.2.1; what is no address stays as it is. */
static void address_take(struct verify_member *m, struct kban_text t)
{
	struct kban_prefix p;
	char text[KBAN_PREFIX_TEXT];

	if (t.n && !kban_prefix_parse_n(&p, t.s, t.n))
		t = kban_text(kban_prefix_format(&p, text));
	text_take(m->address, sizeof(m->address), t);
}

static void heartbeat_take(const struct verify *v, struct verify_member *m,
			   const struct kban_sealed *s)
{
	struct kban_heartbeat h;

	if (kban_heartbeat_decode(&h, s) || !kban_key_equal(&h.author, &m->key) ||
	    memcmp(&h.cluster, &v->cluster, sizeof(h.cluster)) || !kban_heartbeat_check(&h, s)) {
		m->forged = true;
		return;
	}
	m->answered = true;
	m->heartbeat = h;
	m->fresh = nonce_known(v, &h);
	if (m->fresh && m->seen_ms)
		m->clock_offset_ms = (int64_t)h.own_ms - (int64_t)m->seen_ms;
}

static void row_take(struct verify *v, const struct kban_member_row *row)
{
	struct verify_member *m = member_find(v, &row->key);

	if (!m) { /* nobody granted it: what the broker says is kept for showing only */
		m = member_add(v, &row->key);
		m->role = row->role;
		text_take(m->name, sizeof(m->name), row->name);
	}
	m->listed = true;
	address_take(m, row->address);
	m->connected = row->connected;
	m->held = row->held;
	m->seen_ms = row->seen_ms;
	if (row->has_heartbeat)
		heartbeat_take(v, m, &row->heartbeat);
}

static int principal_take(void *arg, const struct ledger_principal *p)
{
	struct verify *v = arg;

	if (p->role == KBAN_ROLE_ROOT)
		return 0;
	struct verify_member *m = member_find(v, &p->key);
	if (!m)
		m = member_add(v, &p->key);
	m->granted = true;
	m->role = p->role;
	strcpy(m->name, p->name);
	m->revoked_seq = p->revoked_seq;
	m->since_ms = p->granted_ms;
	return 0;
}

static void place_take(struct verify *v, const struct kban_answer *a)
{
	v->points[v->points_n++ % BROKER_POINTS] = (struct point){a->place, a->digest};
	v->broker_ms = a->broker_ms;
	if (!v->asked) {
		v->asked = true;
		v->asked_seq = a->place.seq;
	}
}

void verify_page(struct verify *v, const struct kban_answer *a, bool begin)
{
	if (begin) {
		v->members_n = 0;
		place_take(v, a);
	}
	proofs_fold(v, a);
	ledger_principals_each(v->ledger, principal_take, v);
	for (size_t i = 0; i < a->members_n; i++)
		row_take(v, &a->members[i]);
}

/* Comparing places. */

enum match {
	MATCH_NONE, /* different places: nothing can be said */
	MATCH_SAME,
	MATCH_OTHER,
};

static enum match points_match(const struct point *a, const struct point *b)
{
	if (a->place.epoch != b->place.epoch || a->place.seq != b->place.seq)
		return MATCH_NONE;
	return kban_hash_equal(&a->place.chain, &b->place.chain) &&
			       kban_hash_equal(&a->digest, &b->digest)
		       ? MATCH_SAME
		       : MATCH_OTHER;
}

/* A heartbeat's place, and its mark when it has one. */
static size_t member_points(const struct verify_member *m, struct point out[2])
{
	const struct kban_heartbeat *h = &m->heartbeat;

	if (!m->answered || !m->granted || m->revoked_seq)
		return 0;
	out[0] = (struct point){h->place, h->digest};
	out[1] = (struct point){{h->place.epoch, h->mark_seq, h->mark_chain}, h->mark_digest};
	return h->mark_seq && h->mark_seq != h->place.seq ? 2 : 1;
}

/* Takes b's word about a's points into what is known of a. */
static void points_compare(enum verify_agreement *known, const struct point *a, size_t a_n,
			   const struct point *b, size_t b_n)
{
	for (size_t i = 0; i < a_n; i++)
		for (size_t j = 0; j < b_n; j++) {
			enum match match = points_match(&a[i], &b[j]);
			if (match == MATCH_OTHER)
				*known = VERIFY_DISAGREES;
			else if (match == MATCH_SAME && *known != VERIFY_DISAGREES &&
				 *known != VERIFY_AGREES)
				*known = i ? VERIFY_AGREED : VERIFY_AGREES;
		}
}

static void compare_with_broker(const struct verify *v, struct verify_member *m)
{
	struct point mine[2];
	size_t n = member_points(m, mine);

	m->agreement = VERIFY_UNKNOWN;
	points_compare(&m->agreement, mine, n, v->points,
		       v->points_n < BROKER_POINTS ? v->points_n : BROKER_POINTS);
}

/* Where the broker's place says nothing, the greater number does: one node that lies must not make
 * all the others look forked, and of two that differ nobody can say which one it is. One that
 * differs from the broker is no measure for the others. */
static void compare_with_members(const struct verify *v, struct verify_member *m, const bool *forks)
{
	enum verify_agreement best = m->agreement;
	struct point mine[2], theirs[2];
	size_t n = member_points(m, mine), same = 1, other = 0;

	for (size_t i = 0; i < v->members_n; i++) {
		enum verify_agreement one = VERIFY_UNKNOWN;
		if (&v->members[i] == m || forks[i])
			continue;
		points_compare(&one, mine, n, theirs, member_points(&v->members[i], theirs));
		same += one == VERIFY_AGREES || one == VERIFY_AGREED;
		other += one == VERIFY_DISAGREES;
		if (one == VERIFY_AGREES || (one == VERIFY_AGREED && best == VERIFY_UNKNOWN))
			best = one;
	}
	m->agreement = other >= same ? VERIFY_DISAGREES : best;
}

static void places_compare(struct verify *v)
{
	kban_auto(kban_free) void *memory = kban_zalloc(v->members_n * sizeof(bool));
	bool *forks = memory;

	for (size_t i = 0; i < v->members_n; i++) {
		compare_with_broker(v, &v->members[i]);
		forks[i] = v->members[i].agreement == VERIFY_DISAGREES;
	}
	for (size_t i = 0; i < v->members_n; i++)
		if (!forks[i])
			compare_with_members(v, &v->members[i], forks);
}

/* Judging. */

static const struct { /* the first bit that is set names the state */
	uint32_t bit;
	enum verify_state state;
} bits[] = {
	{KBAN_STATUS_FORK, VERIFY_FORK},
	{KBAN_STATUS_KERNEL_FAILED, VERIFY_KERNEL_FAILED},
	{KBAN_STATUS_WATCHING, VERIFY_WATCHING},
	{KBAN_STATUS_UPGRADE_NEEDED, VERIFY_UPGRADE_NEEDED},
	{KBAN_STATUS_UNCONFIRMED, VERIFY_UNCONFIRMED},
	{KBAN_STATUS_DISK_FULL, VERIFY_DISK_FULL},
	{KBAN_STATUS_LOG_MISSING, VERIFY_LOG_MISSING},
	{KBAN_STATUS_CLOCK_OFF, VERIFY_CLOCK_OFF},
};

static bool is_behind(const struct verify *v, const struct verify_member *m)
{
	const struct kban_place *head = verify_place(v);
	const struct kban_place *at = &m->heartbeat.place;

	return at->epoch < head->epoch || (at->epoch == head->epoch && at->seq < v->asked_seq);
}

static enum verify_state state_of_answer(const struct verify *v, const struct verify_member *m)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bits); i++)
		if (m->heartbeat.status & bits[i].bit)
			return bits[i].state;
	if (m->held)
		return VERIFY_HELD;
	return is_behind(v, m) ? VERIFY_BEHIND : VERIFY_LIVE;
}

static enum verify_state state_of(const struct verify *v, const struct verify_member *m)
{
	if (m->forged || !m->granted)
		return VERIFY_FORGED;
	if (m->revoked_seq)
		return VERIFY_REVOKED;
	if (m->agreement == VERIFY_DISAGREES)
		return VERIFY_FORK;
	if (!m->listed)
		return VERIFY_WITHHELD;
	if (!m->connected)
		return m->seen_ms || m->answered ? VERIFY_OFFLINE : VERIFY_UNHEARD;
	return m->fresh ? state_of_answer(v, m) : VERIFY_SILENT;
}

void verify_judge(struct verify *v)
{
	places_compare(v);
	for (size_t i = 0; i < v->members_n; i++)
		v->members[i].state = state_of(v, &v->members[i]);
}

bool verify_settled(const struct verify *v)
{
	for (size_t i = 0; i < v->members_n; i++) {
		const struct verify_member *m = &v->members[i];
		if (m->role == KBAN_ROLE_NODE && m->connected && !m->revoked_seq &&
		    (m->state == VERIFY_SILENT || m->state == VERIFY_BEHIND))
			return false;
	}
	return true;
}

bool verify_well(const struct verify *v)
{
	for (size_t i = 0; i < v->members_n; i++) {
		const struct verify_member *m = &v->members[i];
		if (m->state == VERIFY_FORGED ||
		    (m->role == KBAN_ROLE_NODE && m->state != VERIFY_LIVE &&
		     m->state != VERIFY_REVOKED))
			return false;
	}
	return !v->bad_proofs;
}

/* What is known. */

const struct ledger *verify_ledger(const struct verify *v)
{
	return v->ledger;
}

size_t verify_members_n(const struct verify *v)
{
	return v->members_n;
}

const struct verify_member *verify_member(const struct verify *v, size_t i)
{
	return &v->members[i];
}

const struct verify_member *verify_named(const struct verify *v, const char *name)
{
	for (size_t i = 0; i < v->members_n; i++)
		if (v->members[i].granted && !v->members[i].revoked_seq &&
		    !strcmp(v->members[i].name, name))
			return &v->members[i];
	return NULL;
}

static const struct point *newest(const struct verify *v)
{
	return &v->points[(v->points_n ? v->points_n - 1 : 0) % BROKER_POINTS];
}

const struct kban_place *verify_place(const struct verify *v)
{
	return &newest(v)->place;
}

const struct kban_hash *verify_digest(const struct verify *v)
{
	return &newest(v)->digest;
}

uint64_t verify_broker_ms(const struct verify *v)
{
	return v->broker_ms;
}

uint64_t verify_bad_proofs(const struct verify *v)
{
	return v->bad_proofs;
}
