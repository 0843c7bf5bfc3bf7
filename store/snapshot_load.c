/* SPDX-License-Identifier: MPL-2.0
 *
 * Items in. Each kind has a row of a table: where it stands in the order, and what puts it in place
 * or says why it can't. What is asked of a row is what every fold keeps, so that nothing is refused
 * that a fold can reach; what is accepted needn't be true (snapshot_proof.c).
 */
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"
#include "store/snapshot.h"

#define HOURS_MAX (3660 * 24 + 2) /* of the longest history period, and the newest old one */
/* No log is that long; and none of what is counted on can overflow. */
#define COUNT_MAX (UINT64_MAX / 2)

struct ledger_loading {
	struct ledger *l;
	struct kban_key root;
	struct ledger_header header;
	bool has_header;
	unsigned seen;			     /* bits by kind */
	unsigned step;			     /* of the newest item */
	struct principal *principal;	     /* the newest one */
	struct ledger_invitation invitation; /* the newest one */
	struct kban_prefix prefix; /* the newest one of this kind, with its seq and index */
	uint64_t seq;
	uint32_t index;
	int result;
	const char *why;
};

/* Why an item does not fit; NULL: it is in place. */
typedef const char *load_fn(struct ledger_loading *d, const struct item_row *row);

/* Those that are not about damage. */
static const char newer[] = "it is from a newer kban: upgrade needed";
static const char other_root[] = "it is of a cluster with another root key";
static const char other_digest[] = "its rows are not those of its digest";

static uint64_t time_of(const struct ledger_loading *d)
{
	return d->l->time_ms;
}

/* A report's seq up to this place. */
static bool is_seq(const struct ledger_loading *d, uint64_t seq)
{
	return seq && seq <= d->header.place.seq;
}

static bool comes_after(uint64_t seq, uint32_t index, uint64_t seq_before, uint32_t index_before)
{
	return seq != seq_before ? seq > seq_before : index > index_before;
}

/* Rows of prefixes are in order of prefix, then of seq and index; where a prefix has one row only,
 * seq and index are 0. */
static bool in_order(struct ledger_loading *d, const struct kban_prefix *p, uint64_t seq,
		     uint32_t index)
{
	int c = d->prefix.family ? kban_prefix_cmp(&d->prefix, p) : -1;
	bool ok = c < 0 || (c == 0 && comes_after(seq, index, d->seq, d->index));

	d->prefix = *p;
	d->seq = seq;
	d->index = index;
	return ok;
}

/* Header ------------------------------------------------------------------------------------- */

static const char *load_header(struct ledger_loading *d, const struct item_row *row)
{
	const struct item_header *h = &row->header;

	if (h->format > LEDGER_STATE_FORMAT)
		return newer;
	if (!h->format || h->pub.time_ms > LEDGER_TIME_MAX || !h->pub.place.epoch ||
	    h->pub.place.seq > COUNT_MAX)
		return "the header is out of range";
	d->header = h->pub;
	d->has_header = true;
	digest_time(d->l, DIGEST_REMOVE);
	d->l->time_ms = h->pub.time_ms;
	digest_time(d->l, DIGEST_ADD);
	return NULL;
}

int ledger_header_read(struct ledger_header *out, struct kban_span item)
{
	struct item_row row;

	if (!item_read(&row, item) || row.kind != ITEM_HEADER)
		return SNAPSHOT_DAMAGED;
	if (row.header.format > LEDGER_STATE_FORMAT)
		return SNAPSHOT_NEWER;
	*out = row.header.pub;
	return row.header.format ? 0 : SNAPSHOT_DAMAGED;
}

/* Members ------------------------------------------------------------------------------------ */

/* The root is there from the start, and its row never changes. */
static const char *load_root(struct ledger_loading *d, const struct ledger_principal *p)
{
	struct item mine, theirs;

	d->principal = d->l->principals;
	if (!kban_key_equal(&p->key, &d->root))
		return other_root;
	item_write(&mine, ITEM_PRINCIPAL, &d->principal->pub);
	item_write(&theirs, ITEM_PRINCIPAL, p);
	return mine.n == theirs.n && !memcmp(mine.b, theirs.b, mine.n)
		       ? NULL
		       : "the first principal is not the root";
}

static bool quota_fits(const struct ledger_loading *d, const struct ledger_principal *p)
{
	if (!role_is_limited(p->role))
		return !p->held && !p->quota_hour && !p->quota_used;
	return p->quota_hour <= time_of(d) / LEDGER_HOUR_MS && p->quota_used <= 1000000;
}

static bool granted_fits(const struct ledger_loading *d, const struct ledger_principal *p)
{
	const struct ledger_principal *before = &d->principal->pub;

	return is_seq(d, p->granted_seq) && p->granted_index < KBAN_EVENTS_MAX &&
	       p->granted_ms <= time_of(d) &&
	       comes_after(p->granted_seq, p->granted_index, before->granted_seq,
			   before->granted_index) &&
	       (!p->revoked_seq || (is_seq(d, p->revoked_seq) && p->revoked_seq >= p->granted_seq));
}

static bool role_is_grantable(enum kban_role role)
{
	return role > 0 && role <= KBAN_ROLE_ROOT && (ROLE(role) & ROLES_GRANTABLE);
}

static const char *load_principal(struct ledger_loading *d, const struct item_row *row)
{
	const struct ledger_principal *p = &row->principal;

	if (!d->principal)
		return load_root(d, p);
	if (!role_is_grantable(p->role))
		return "a principal has a role that can't be granted";
	if (!granted_fits(d, p))
		return "a principal's grant or revocation is out of order or range";
	if (!quota_fits(d, p))
		return "a principal's quota is out of range";
	if (keys_used(d->l, &p->key, &p->curve, time_of(d)))
		return "a key is there twice";
	if (!p->revoked_seq && name_taken(d->l, p->name, strlen(p->name)))
		return "a name is there twice";
	if (HASH_CNT(by_key, d->l->principals) >= d->l->limits.principals)
		return "there are too many principals";
	d->principal = principal_add(d->l, p);
	return NULL;
}

static const char *load_counter(struct ledger_loading *d, const struct item_row *row)
{
	const struct ledger_principal *c = &row->principal;
	struct principal *p = d->principal;

	if (!p || !kban_key_equal(&p->pub.key, &c->key) || p->pub.counter)
		return "a counter does not follow its principal";
	if (!c->counter || !is_seq(d, c->newest_seq) || !principal_was_live(p, c->newest_seq))
		return "a counter is out of range";
	principal_open(d->l, p);
	p->pub.counter = c->counter;
	p->pub.newest_hash = c->newest_hash;
	p->pub.newest_seq = c->newest_seq;
	principal_close(d->l, p);
	return NULL;
}

static bool use_fits(const struct ledger_loading *d, const struct ledger_invitation *i)
{
	static const struct kban_key nobody;
	const struct principal *by = principal_find(d->l, &i->used_by);

	if (!i->used_seq)
		return !i->used_ms && kban_key_equal(&i->used_by, &nobody);
	return is_seq(d, i->used_seq) && i->used_seq > i->seq && i->used_ms < i->expires_ms &&
	       !i->revoked_seq && by && by->pub.granted_seq == i->used_seq &&
	       by->pub.granted_ms == i->used_ms && by->pub.role == i->role &&
	       !strcmp(by->pub.name, i->name);
}

static bool invitation_fits(const struct ledger_loading *d, const struct ledger_invitation *i)
{
	return is_seq(d, i->seq) && i->index < KBAN_EVENTS_MAX &&
	       comes_after(i->seq, i->index, d->invitation.seq, d->invitation.index) &&
	       i->expires_ms <= time_of(d) + KBAN_INVITE_MAX_MS &&
	       (!i->revoked_seq || (is_seq(d, i->revoked_seq) && i->revoked_seq >= i->seq)) &&
	       (i->used_seq || i->revoked_seq || i->expires_ms + LEDGER_KEEP_MS > time_of(d));
}

static const char *load_invitation(struct ledger_loading *d, const struct item_row *row)
{
	const struct ledger_invitation *i = &row->invitation;
	struct ledger *l = d->l;

	if (!role_is_grantable(i->role))
		return "an invitation is to a role that can't be granted";
	if (!invitation_fits(d, i))
		return "an invitation is out of order or range";
	if (!use_fits(d, i))
		return "an invitation's use does not fit its principal";
	if (keys_used(l, &i->key, &i->curve, time_of(d)))
		return "a key is there twice";
	if (name_invited(l, i->name, strlen(i->name), time_of(d)))
		return "a name is there twice";
	if (invitations_count(l, time_of(d)) >= l->limits.invitations)
		return "there are too many invitations";
	invitation_add(l, i);
	d->invitation = *i;
	return NULL;
}

/* The rest of the fleet ---------------------------------------------------------------------- */

static const char *load_broker(struct ledger_loading *d, const struct item_row *row)
{
	const struct ledger_broker *b = &row->broker;
	struct ledger *l = d->l;

	if (!is_seq(d, b->seq))
		return "a broker is out of range";
	for (size_t i = 0; i < l->brokers_n; i++)
		if (kban_key_equal(&l->brokers[i].curve, &b->curve))
			return "a broker is there twice";
	if (l->brokers_n >= l->limits.brokers)
		return "there are too many brokers";
	l->brokers[l->brokers_n++] = *b;
	digest_broker(l, DIGEST_ADD, b);
	return NULL;
}

static const char *load_policy(struct ledger_loading *d, const struct item_row *row)
{
	const struct item_policy *p = &row->policy;

	if (!ledger_policy_valid(&p->policy) || p->since_ms > time_of(d) ||
	    (p->seq && !is_seq(d, p->seq)))
		return "the policy is out of range";
	if (!p->seq && (p->since_ms || !policy_equal(&p->policy, &ledger_policy_default)))
		return "the policy is nobody's, and not the default";
	policy_set(d->l, &p->policy, p->seq, p->since_ms);
	d->l->timed_history_ms = p->policy.history_ms;
	return NULL;
}

/* The first version is there without an event, every later one has one. */
static bool version_fits(const struct ledger_loading *d, uint32_t version, uint64_t seq)
{
	return version == 1 ? !seq : version && is_seq(d, seq);
}

static const char *load_versions(struct ledger_loading *d, const struct item_row *row)
{
	const struct item_versions *v = &row->versions;
	struct ledger *l = d->l;

	if (v->fold_version > kban_fold_newest)
		return newer;
	if (!version_fits(d, v->fold_version, v->fold_version_seq) ||
	    !version_fits(d, v->epoch, v->epoch_seq) || v->epoch != d->header.place.epoch)
		return "the versions are out of range";
	digest_versions(l, DIGEST_REMOVE);
	l->fold_version = v->fold_version;
	l->fold_version_seq = v->fold_version_seq;
	l->place = d->header.place;
	l->epoch_seq = v->epoch_seq;
	digest_versions(l, DIGEST_ADD);
	return NULL;
}

static const char *load_time(struct ledger_loading *d, const struct item_row *row)
{
	return row->time.ms == time_of(d) ? NULL : "the time is not the header's";
}

static const char *load_hour(struct ledger_loading *d, const struct item_row *row)
{
	const struct ledger *l = d->l;
	const struct item_hour *h = &row->hour;
	const struct hour *before = l->hours_n ? &l->hours[l->hours_n - 1] : NULL;

	if (!is_seq(d, h->seq) || h->hour > time_of(d) / LEDGER_HOUR_MS ||
	    (before && (h->hour <= before->hour || h->seq <= before->seq)))
		return "an hour is out of order or range";
	if (l->hours_n >= HOURS_MAX)
		return "there are too many hours";
	hour_add(d->l, h->hour, h->seq);
	return NULL;
}

/* Bans --------------------------------------------------------------------------------------- */

#define BANNERS (ROLE(KBAN_ROLE_OPERATOR) | ROLE(KBAN_ROLE_NODE) | ROLE(KBAN_ROLE_FEEDER))

static bool ban_fits(const struct ledger_loading *d, const struct ledger_ban *b)
{
	uint64_t now = time_of(d);

	return is_seq(d, b->seq) && b->index < KBAN_EVENTS_MAX && b->since_ms <= now &&
	       b->since_ms <= b->until_ms && b->until_ms - b->since_ms <= KBAN_BAN_MAX_MS &&
	       b->until_ms + LEDGER_KEEP_MS > now && b->strikes && b->strikes <= COUNT_MAX &&
	       (!b->ended || b->until_ms <= now);
}

static const char *load_ban(struct ledger_loading *d, const struct item_row *row)
{
	const struct kban_prefix *p = &row->ban.prefix;
	const struct principal *author = principal_find(d->l, &row->ban.author);
	struct ledger_ban b = row->ban.ban;

	if (!in_order(d, p, b.seq, b.index))
		return "bans are out of order";
	if (!author || !(ROLE(author->pub.role) & BANNERS) || !principal_was_live(author, b.seq))
		return "a ban's author could not ban";
	if (kban_prefix_never_ban(p))
		return "a ban is of what is never banned";
	if (!ban_within_role(p, author->pub.role))
		return "a ban is wider than its author may";
	if (!ban_fits(d, &b) || (!role_is_limited(author->pub.role) && b.strikes != 1))
		return "a ban is out of range";
	if (d->l->records_n >= d->l->limits.ban_records)
		return "there are too many bans";

	struct ban_row *r = ban_row_make(d->l, p);

	if (r->records_n >= d->l->limits.prefix_records)
		return "a prefix has too many bans";
	b.author = &author->pub;
	bans_add(d->l, r, &b);
	ban_row_settle(d->l, r);
	return NULL;
}

static const char *load_strikes(struct ledger_loading *d, const struct item_row *row)
{
	const struct item_strikes *s = &row->strikes;

	if (!in_order(d, &s->prefix, 0, 0))
		return "strikes are out of order";
	if (kban_prefix_never_ban(&s->prefix) || !ban_within_role(&s->prefix, KBAN_ROLE_NODE) ||
	    !s->count || s->count > COUNT_MAX || s->end_ms > time_of(d) + KBAN_BAN_MAX_MS)
		return "strikes are out of range";
	if (d->l->strikes_n >= d->l->limits.strikes)
		return "there are too many strikes";

	struct ban_row *r = ban_row_make(d->l, &s->prefix);

	r->strikes = s->count;
	r->strikes_end_ms = s->end_ms;
	d->l->strikes_n++;
	digest_strikes(d->l, DIGEST_ADD, r);
	ban_row_settle(d->l, r);
	return NULL;
}

/* Safe ranges and unbans --------------------------------------------------------------------- */

/* By the policy in force when it was added: what came after the newest policy event, by that one
 * (without any, the default); what came before, by one that nobody remembers, but no policy goes
 * below these. */
static bool node_could_activate(const struct ledger_loading *d, const struct ledger_safe *s)
{
	if (s->seq > d->l->policy_seq)
		return safe_within(&d->l->policy, &s->prefix);
	return s->prefix.len >= (s->prefix.family == KBAN_IPV4 ? 8 : 16);
}

static bool node_state_fits(const struct ledger_loading *d, const struct ledger_safe *s)
{
	bool decided = s->state == LEDGER_SAFE_APPROVED || s->state == LEDGER_SAFE_REJECTED;

	if (s->state == LEDGER_SAFE_ACTIVE && !node_could_activate(d, s))
		return false;
	if (decided)
		return is_seq(d, s->decided_seq) && s->decided_seq > s->seq;
	return !s->decided_seq && (s->state == LEDGER_SAFE_ACTIVE || s->state == LEDGER_SAFE_HELD);
}

static bool state_fits(const struct ledger_loading *d, const struct ledger_safe *s,
		       enum kban_role role)
{
	if (role == KBAN_ROLE_NODE)
		return node_state_fits(d, s);
	return role == KBAN_ROLE_OPERATOR && s->state == LEDGER_SAFE_ACTIVE && !s->decided_seq &&
	       s->prefix.len;
}

static bool range_fits(const struct ledger_loading *d, const struct ledger_safe *s)
{
	uint64_t now = time_of(d);

	return is_seq(d, s->seq) && s->index < KBAN_EVENTS_MAX && s->since_ms <= now &&
	       (!s->until_ms || (s->until_ms > now && s->until_ms <= now + KBAN_SAFE_MAX_MS));
}

/* Ranges come in order of prefix, so one of this prefix would be the owner's newest. Not safe_find():
 * a prefix may have as many ranges as there are owners. */
static bool owner_has(const struct principal *owner, const struct kban_prefix *p)
{
	return owner->safes && kban_prefix_equal(&owner->safes->owner_prev->pub.prefix, p);
}

static const char *load_safe(struct ledger_loading *d, const struct item_row *row)
{
	struct ledger_safe s = row->safe.safe;
	const struct principal *owner = principal_find(d->l, &row->safe.owner);

	if (!in_order(d, &s.prefix, s.seq, s.index))
		return "safe ranges are out of order";
	if (!owner || !principal_was_live(owner, s.seq) || !state_fits(d, &s, owner->pub.role))
		return "a safe range's owner could not have it";
	if (!range_fits(d, &s))
		return "a safe range is out of range";
	if (owner_has(owner, &s.prefix))
		return "an owner has a safe range twice";
	if (owner->pub.safes >= d->l->limits.safes_per_owner)
		return "an owner has too many safe ranges";
	s.owner = &owner->pub;
	safe_add(d->l, &s);
	return NULL;
}

static const char *load_unban(struct ledger_loading *d, const struct item_row *row)
{
	const struct item_unban *u = &row->unban;

	if (!in_order(d, &u->prefix, 0, 0))
		return "unbans are out of order";
	if (!is_seq(d, u->seq) || u->time_ms > time_of(d))
		return "an unban is out of range";
	if (d->l->unbans_n >= d->l->limits.unbans)
		return "there are too many unbans";
	unban_set(d->l, &u->prefix, u->seq, u->time_ms);
	return NULL;
}

/* Items -------------------------------------------------------------------------------------- */

/* A step may not come after a later one; of some there is exactly one. */
static const struct {
	unsigned step;
	bool once;
	load_fn *load;
} kinds[ITEM_KINDS] = {
	[ITEM_HEADER] = {0, true, load_header},	    [ITEM_PRINCIPAL] = {1, false, load_principal},
	[ITEM_COUNTER] = {1, false, load_counter},  [ITEM_INVITATION] = {2, false, load_invitation},
	[ITEM_BROKER] = {3, false, load_broker},    [ITEM_POLICY] = {4, true, load_policy},
	[ITEM_VERSIONS] = {5, true, load_versions}, [ITEM_TIME] = {6, true, load_time},
	[ITEM_HOUR] = {7, false, load_hour},	    [ITEM_BAN] = {8, false, load_ban},
	[ITEM_STRIKES] = {9, false, load_strikes},  [ITEM_SAFE] = {10, false, load_safe},
	[ITEM_UNBAN] = {11, false, load_unban},
};

void ledger_loading_new(struct ledger_loading **out, const struct kban_key *root)
{
	struct ledger_loading *d = kban_zalloc(sizeof(*d));

	d->root = *root;
	ledger_new(&d->l, root);
	*out = d;
}

void ledger_loading_free(struct ledger_loading *d)
{
	if (!d)
		return;
	ledger_free(d->l);
	free(d);
}

const char *ledger_loading_why(const struct ledger_loading *d)
{
	return d->why;
}

static int load_result(struct ledger_loading *d, const char *why)
{
	d->why = why;
	if (!why)
		d->result = 0;
	else if (why == newer)
		d->result = SNAPSHOT_NEWER;
	else if (why == other_root)
		d->result = SNAPSHOT_OTHER_ROOT;
	else if (why == other_digest)
		d->result = SNAPSHOT_DIGEST;
	else
		d->result = SNAPSHOT_DAMAGED;
	return d->result;
}

static const char *load_item(struct ledger_loading *d, struct kban_span item)
{
	struct item_row row;

	if (!item_read(&row, item))
		return "an item is malformed";
	if (!d->has_header && row.kind != ITEM_HEADER)
		return "the header is missing";
	if (kinds[row.kind].step < d->step || (kinds[row.kind].once && (d->seen & 1U << row.kind)))
		return "items are out of order";
	if (kinds[row.kind].step > d->step)
		d->prefix.family = 0;
	d->step = kinds[row.kind].step;
	d->seen |= 1U << row.kind;
	return kinds[row.kind].load(d, &row);
}

int ledger_loading_item(struct ledger_loading *d, struct kban_span item)
{
	return d->result ? d->result : load_result(d, load_item(d, item));
}

/* The whole ---------------------------------------------------------------------------------- */

#define NEEDED                                                                                     \
	(1U << ITEM_HEADER | 1U << ITEM_PRINCIPAL | 1U << ITEM_POLICY | 1U << ITEM_VERSIONS |      \
	 1U << ITEM_TIME)

/* Enforcement relies on it: what becomes safe ends the bans inside it, and a broker's address those
 * that hold it. */
static bool bans_contradict(const struct ledger *l)
{
	struct trie_walk w;
	const struct ban_row *row;

	for (size_t i = 0; i < l->brokers_n; i++)
		for (size_t a = 0; a < l->brokers[i].addresses_n; a++)
			if (ledger_ban_covering(l, &l->brokers[i].addresses[a], l->time_ms, NULL,
						NULL))
				return true;
	trie_walk_start(&w, &l->bans, NULL, NULL);
	while (l->pardons.entries && (row = trie_walk_next(&w)))
		if (row->running && ledger_safe_covers(l, &row->prefix, l->time_ms, NULL))
			return true;
	return false;
}

static const char *load_end(struct ledger_loading *d)
{
	struct kban_hash digest;

	if ((d->seen & NEEDED) != NEEDED)
		return "items are missing";
	if (bans_contradict(d->l))
		return "a ban runs that safe ranges or brokers' addresses exclude";
	pardons_sort(d->l);
	ledger_digest(d->l, &digest);
	return kban_hash_equal(&digest, &d->header.digest) ? NULL : other_digest;
}

int ledger_loading_end(struct ledger_loading *d, struct ledger **out)
{
	int r = d->result ? d->result : load_result(d, load_end(d));

	if (r)
		return r;
	*out = d->l;
	d->l = NULL;
	d->result = SNAPSHOT_DAMAGED; /* it is empty now */
	d->why = "all was read already";
	return 0;
}
