/* SPDX-License-Identifier: MPL-2.0
 *
 * A state from a liar: rows that no signed report says are refused, each with a reason. The liar
 * has all that was ever signed, refused reports too, and puts whatever digest he likes into the
 * header.
 */
#include <stdio.h>

#include "store/test/fleet.h"
#include "store/test/items.h"

#define TOLD_MAX 64

struct told { /* the log */
	struct fleet *f;
	struct kban_report reports[TOLD_MAX]; /* by seq */
	bool missing[TOLD_MAX];
	struct items items;
	const char *why;
	struct ledger_fault fault;
};

static uint64_t tell_all(struct told *t, enum who who, const struct kban_event *events, size_t n)
{
	struct kban_event *kept = kban_memdup(events, n * sizeof(*events));
	struct kban_report r = report_of(t->f, who, t->f->counters[who] + 1, kept, n);
	uint64_t seq = head(t->f) + 1;

	assert_true(seq < TOLD_MAX);
	t->reports[seq] = r;
	if (!fold_report(t->f, &r))
		t->f->counters[who]++;
	return seq;
}

static uint64_t tell(struct told *t, enum who who, struct kban_event e)
{
	return tell_all(t, who, &e, 1);
}

static const struct kban_report *lookup(void *arg, uint64_t seq)
{
	struct told *t = arg;

	assert_true(seq && seq < TOLD_MAX);
	return t->missing[seq] || !t->reports[seq].events_n ? NULL : &t->reports[seq];
}

static struct kban_prefix broker_address;

static struct kban_event broker_event(const struct fleet *f, const char *endpoint)
{
	struct kban_event e = {.kind = KBAN_EVENT_BROKER_ADDRESS};

	e.broker_address.curve = f->keys[BROK].curve_public;
	e.broker_address.endpoint = kban_text(endpoint);
	e.broker_address.addresses_n = 1;
	e.broker_address.addresses = &broker_address;
	return e;
}

/* Where the liar finds what. */
static struct {
	uint64_t grants, gone, denied, late_policy, n1_bans, n2_range, operator_range, approved,
		rejected, node_reject, unban, node_unban, invite, join, withdrawn, broker, policy,
		epoch;
} at;

static void tell_members(struct told *t)
{
	struct fleet *f = t->f;
	const struct kban_event grants[] = {
		GRANT(f, OP, KBAN_ROLE_OPERATOR, "alice"), GRANT(f, OP2, KBAN_ROLE_OPERATOR, "bob"),
		GRANT(f, N1, KBAN_ROLE_NODE, "mail1"),	   GRANT(f, N2, KBAN_ROLE_NODE, "mail2"),
		GRANT(f, FEED, KBAN_ROLE_FEEDER, "feed"),
	};

	at.grants = tell_all(t, ROOT, grants, KBAN_ARRAY_LEN(grants));
	at.gone = tell(t, OP, REVOKE(f, OP2));
	at.late_policy = tell(t, OP2, POLICY(to->quota_per_hour = 9));
	/* refused as denied, and yet signed */
	at.denied = tell(t, OP, GRANT(f, NEW2, KBAN_ROLE_OPERATOR, "eve"));
	at.invite = tell(t, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR));
	at.join = tell(t, GUEST, join_event(f, GUEST, NEW));
	tell(t, OP, INVITE(f, GUEST2, KBAN_ROLE_READER, "reader", HOUR));
	at.withdrawn = tell(t, OP, REVOKE(f, GUEST2));
}

static void tell_rest(struct told *t)
{
	struct fleet *f = t->f;
	const struct kban_event bans[] = {BAN("192.0.2.1", HOUR), BAN("192.0.2.2", HOUR)};
	const struct kban_event ranges[] = {SAFE("192.0.0.0/16", 0), SAFE("198.51.100.7", 0),
					    SAFE("198.0.0.0/8", 0)};

	broker_address = P("203.0.113.5");
	at.broker = tell(t, OP, broker_event(f, "tcp://203.0.113.5:7400"));
	at.policy = tell(t, OP, POLICY(to->quota_per_hour = 7));
	at.n1_bans = tell_all(t, N1, bans, 2);
	at.node_unban = tell_all(t, N1, (struct kban_event[]){UNBAN("192.0.2.2")}, 1);
	at.n2_range = tell_all(t, N2, ranges, 3);
	at.operator_range = tell(t, OP, SAFE("203.0.113.0/24", 0));
	at.approved = tell(t, OP, APPROVE(f, "192.0.0.0/16", N2));
	at.node_reject = tell(t, N1, UNSAFE("198.0.0.0/8", .all = true)); /* denied */
	at.rejected = tell(t, OP, UNSAFE("198.51.100.7", .all = true));
	tell(t, FEED, BAN("192.1.2.9", HOUR));
	tell(t, OP, BAN("192.2.0.0/16", HOUR));
	at.unban = tell(t, OP, UNBAN("192.2.0.9", .covering = true));
	at.epoch = tell(t, OP, EPOCH(2));
}

static int told_set_up(void **state)
{
	struct told *t = kban_zalloc(sizeof(*t));
	void *fleet;

	fleet_set_up(&fleet);
	t->f = fleet;
	ledger_free(t->f->ledger);
	memset(t->f->counters, 0, sizeof(t->f->counters));
	ledger_new(&t->f->ledger, key_of(t->f, ROOT));
	tell_members(t);
	tell_rest(t);
	t->items = items_of(t->f->ledger);
	*state = t;
	return 0;
}

static int told_tear_down(void **state)
{
	struct told *t = *state;
	void *fleet = t->f;

	for (size_t i = 0; i < TOLD_MAX; i++)
		free(t->reports[i].events);
	items_free(&t->items);
	free(t);
	return fleet_tear_down(&fleet);
}

/* Loads what the liar gives, and checks the evidence. */
static int believe(struct told *t)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	int r;

	items_seal(&t->items);
	t->fault = (struct ledger_fault){0};
	r = items_load(&t->items, key_of(t->f, ROOT), &l, &t->why);
	if (r)
		return r;
	r = ledger_evidence_check(l, lookup, t, &t->fault);
	t->why = t->fault.why;
	return r;
}

static void assert_disbelieved(struct told *t, int result, const char *why)
{
	assert_int_equal(believe(t), result);
	assert_string_equal(t->why, why);
}

#define assert_damaged(t, why)	assert_disbelieved(t, SNAPSHOT_DAMAGED, why)
#define assert_unproven(t, why) assert_disbelieved(t, SNAPSHOT_UNPROVEN, why)

/* Changes one row: FORGE(t, ITEM_BAN, 0, row->ban...). */
#define FORGE(t, kind, nth, ...)                                                                   \
	do {                                                                                       \
		size_t i_ = items_find(&(t)->items, kind, nth);                                    \
		struct item_row row_ = items_row(&(t)->items, i_), *row = &row_;                   \
		__VA_ARGS__;                                                                       \
		items_set(&(t)->items, i_, row);                                                   \
	} while (0)

static void the_truth_is_believed(void **state)
{
	struct told *t = *state;

	assert_int_equal(believe(t), 0);
	assert_int_equal(items_find(&t->items, ITEM_SAFE, 3) > 0, true);
}

static void each_report_that_a_row_names_must_be_there(void **state)
{
	struct told *t = *state;
	uint64_t *seqs;
	size_t n;

	ledger_evidence_seqs(t->f->ledger, &seqs, &n);
	assert_true(n > 15);
	for (size_t i = 0; i < n; i++) {
		t->missing[seqs[i]] = true;
		assert_unproven(t, "is missing");
		assert_int_equal(t->fault.seq, seqs[i]);
		t->missing[seqs[i]] = false;
	}
	free(seqs);
	assert_int_equal(believe(t), 0);
}

static void a_ban_needs_a_report_that_bans_exactly_this(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 0, row->ban.prefix = P("192.0.2.77"));
	items_remove(&t->items, items_find(&t->items, ITEM_BAN, 1)); /* its order */
	assert_unproven(t, "does not ban this prefix, or not so long");
	assert_string_equal(t->fault.row, "ban");
	assert_int_equal(t->fault.seq, at.n1_bans);
}

static void a_ban_needs_its_place_in_the_report(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 0, row->ban.ban.index = 1);
	assert_unproven(t, "does not ban this prefix, or not so long");
}

static void a_first_ban_lasts_no_longer_than_its_report_says(void **state)
{
	struct told *t = *state;
	size_t i = items_find(&t->items, ITEM_BAN, 2);

	assert_int_equal(items_row(&t->items, i).ban.ban.until_ms -
				 items_row(&t->items, i).ban.ban.since_ms,
			 HOUR);
	FORGE(t, ITEM_BAN, 2, row->ban.ban.until_ms++);
	assert_unproven(t, "does not ban this prefix, or not so long");
}

static void a_ban_of_somebody_else_is_not_his(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 0, row->ban.author = *key_of(t->f, N2));
	assert_unproven(t, "does not ban this prefix, or not so long");
}

static void a_ban_is_no_wider_than_its_role_may(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 2, row->ban.prefix = P("192.1.2.0/24")); /* the feeder's */
	assert_damaged(t, "a ban is wider than its author may");
	FORGE(t, ITEM_BAN, 2, row->ban.prefix = P("224.1.2.9"));
	assert_damaged(t, "a ban is of what is never banned");
}

static void who_was_revoked_before_bans_nothing(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 3, row->ban.author = *key_of(t->f, OP2));
	assert_damaged(t, "a ban's author could not ban");
	FORGE(t, ITEM_BAN, 3, row->ban.author = *key_of(t->f, NEW2)); /* no member at all */
	assert_damaged(t, "a ban's author could not ban");
}

static void a_running_ban_inside_a_safe_range_is_no_state(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BAN, 2, row->ban.prefix = P("203.0.113.9"));
	items_insert(&t->items, items_find(&t->items, ITEM_BAN, 3) + 1,
		     t->items.v[items_find(&t->items, ITEM_BAN, 2)]);
	items_remove(&t->items, items_find(&t->items, ITEM_BAN, 2));
	assert_damaged(t, "a ban runs that safe ranges or brokers' addresses exclude");
}

static void only_the_root_grants(void **state)
{
	struct told *t = *state;
	struct item_row eve = items_row(&t->items, items_find(&t->items, ITEM_PRINCIPAL, 1));
	size_t joined = items_find(&t->items, ITEM_PRINCIPAL, 6);
	struct item item;

	eve.principal.key = *key_of(t->f, NEW2);
	eve.principal.curve = t->f->keys[NEW2].curve_public;
	eve.principal.granted_seq = at.denied;
	eve.principal.granted_index = 0;
	eve.principal.granted_ms = t->f->now;
	strcpy(eve.principal.name, "eve");
	item_write(&item, ITEM_PRINCIPAL, &eve.principal);
	items_insert(&t->items, joined, item);
	assert_unproven(t, "is by somebody who may not say such a thing");
	assert_string_equal(t->fault.row, "principal");
	assert_int_equal(t->fault.seq, at.denied);
}

static void a_grant_gives_the_role_name_and_keys_that_it_says(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_PRINCIPAL, 1, strcpy(row->principal.name, "alicia"));
	assert_unproven(t, "does not make this principal");
	FORGE(t, ITEM_PRINCIPAL, 1, strcpy(row->principal.name, "alice"));
	FORGE(t, ITEM_PRINCIPAL, 1, row->principal.curve.b[0] ^= 1);
	assert_unproven(t, "does not make this principal");
	FORGE(t, ITEM_PRINCIPAL, 1, row->principal.curve.b[0] ^= 1);
	FORGE(t, ITEM_PRINCIPAL, 4, row->principal.role = KBAN_ROLE_OPERATOR);
	assert_int_not_equal(believe(t), 0);
}

static void a_joined_principal_needs_his_invitation_and_join(void **state)
{
	struct told *t = *state;

	t->reports[at.join].events[0].join.proof[3] ^= 1;
	assert_unproven(t, "does not use this invitation");
	t->reports[at.join].events[0].join.proof[3] ^= 1;
	t->reports[at.join].events[0].join.curve.b[0] ^= 1;
	assert_unproven(t, "does not make this principal");
	t->reports[at.join].events[0].join.curve.b[0] ^= 1;
	FORGE(t, ITEM_PRINCIPAL, 6, row->principal.role = KBAN_ROLE_OPERATOR);
	assert_damaged(t, "an invitation's use does not fit its principal");
	FORGE(t, ITEM_INVITATION, 0, row->invitation.role = KBAN_ROLE_OPERATOR);
	assert_unproven(t, "does not make this invitation");
	assert_int_equal(t->fault.seq, at.invite);
}

static void a_revocation_is_of_this_key(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_PRINCIPAL, 2, row->principal.revoked_seq = at.withdrawn);
	assert_unproven(t, "does not revoke this principal");
}

static void a_withdrawal_is_of_this_invitation(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_INVITATION, 1, row->invitation.revoked_seq = at.policy);
	assert_unproven(t, "does not withdraw this invitation");
}

static void the_newest_report_has_the_counter_and_the_hash(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_COUNTER, 1, row->principal.counter--);
	assert_unproven(t, "is newer than its author's newest");
	FORGE(t, ITEM_COUNTER, 1, row->principal.counter += 2);
	assert_unproven(t, "is not its author's newest");
	assert_string_equal(t->fault.row, "counter");
	FORGE(t, ITEM_COUNTER, 1, row->principal.counter--);
	FORGE(t, ITEM_COUNTER, 1, row->principal.newest_hash.b[9] ^= 1);
	assert_unproven(t, "is not its author's newest");
}

static void a_policy_of_somebody_revoked_is_none(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_POLICY, 0, row->policy.policy.quota_per_hour = 9);
	assert_unproven(t, "does not set this policy");
	FORGE(t, ITEM_POLICY, 0, row->policy.seq = at.late_policy);
	assert_unproven(t, "is by nobody who was a member then");
	FORGE(t, ITEM_POLICY, 0, row->policy.seq = 0; row->policy.since_ms = 0);
	assert_damaged(t, "the policy is nobody's, and not the default");
}

static void a_safe_range_is_its_owners(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_SAFE, 0, row->safe.owner = *key_of(t->f, N1));
	assert_unproven(t, "does not add this range");
	assert_string_equal(t->fault.row, "safe range");
	assert_int_equal(t->fault.seq, at.n2_range);
}

static void a_safe_range_of_an_operator_is_no_nodes(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_SAFE, 3, row->safe.safe.seq = at.n2_range);
	assert_unproven(t, "does not add this range");
}

static void an_approval_is_an_operators_word(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_SAFE, 1, row->safe.safe.state = LEDGER_SAFE_APPROVED); /* held */
	assert_damaged(t, "a safe range's owner could not have it");
	FORGE(t, ITEM_SAFE, 1, row->safe.safe.decided_seq = at.approved);
	assert_unproven(t, "does not approve this range");
	FORGE(t, ITEM_SAFE, 1, row->safe.safe.state = LEDGER_SAFE_REJECTED);
	assert_unproven(t, "does not reject this range");
	FORGE(t, ITEM_SAFE, 1, row->safe.safe.decided_seq = at.rejected);
	assert_unproven(t, "does not reject this range");
	FORGE(t, ITEM_SAFE, 1, row->safe.safe.decided_seq = at.node_reject);
	assert_unproven(t, "does not reject this range");
}

static void an_unban_is_an_operators_and_of_this_prefix(void **state)
{
	struct told *t = *state;

	struct kban_prefix honest =
		items_row(&t->items, items_find(&t->items, ITEM_UNBAN, 0)).unban.prefix;

	FORGE(t, ITEM_UNBAN, 0, row->unban.seq = at.node_unban; row->unban.prefix = P("192.0.2.2"));
	assert_unproven(t, "does not unban this prefix");
	FORGE(t, ITEM_UNBAN, 0, row->unban.seq = at.unban; row->unban.prefix = honest);
	assert_int_equal(believe(t), 0);
	FORGE(t, ITEM_UNBAN, 0, row->unban.prefix = P("192.3.0.0/16"));
	items_insert(&t->items, items_find(&t->items, ITEM_UNBAN, 1) + 1,
		     t->items.v[items_find(&t->items, ITEM_UNBAN, 0)]);
	items_remove(&t->items, items_find(&t->items, ITEM_UNBAN, 0));
	assert_unproven(t, "does not unban this prefix");
}

static void a_broker_is_where_its_event_says(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_BROKER, 0, strcpy(row->broker.endpoint, "tcp://203.0.113.6:7400"));
	assert_unproven(t, "does not name this broker");
	FORGE(t, ITEM_BROKER, 0, row->broker.seq = at.n1_bans);
	assert_unproven(t, "is by somebody who may not say such a thing");
}

static void an_epoch_is_begun_by_its_event(void **state)
{
	struct told *t = *state;

	FORGE(t, ITEM_VERSIONS, 0, row->versions.epoch_seq = at.unban);
	assert_unproven(t, "does not begin this epoch");
	FORGE(t, ITEM_VERSIONS, 0, row->versions.epoch_seq = 0);
	assert_damaged(t, "the versions are out of range");
}

/* Or it would count twice, or before its time. */
static void an_authors_counters_rise_with_the_places(void **state)
{
	struct told *t = *state;
	struct kban_report *bans = &t->reports[at.n1_bans];
	uint64_t newest = t->reports[at.node_reject].counter;

	assert_true(bans->counter < newest);
	bans->counter = newest;
	assert_unproven(t, "is not newer than an earlier one of its author");
	assert_int_equal(t->fault.seq, at.node_reject);
}

static void a_report_of_another_cluster_proves_nothing(void **state)
{
	struct told *t = *state;

	t->reports[at.n1_bans].cluster.b[0] ^= 1;
	assert_unproven(t, "is of another cluster");
}

static void numbers_that_no_report_says_change_the_digest(void **state)
{
	struct told *t = *state;
	struct kban_hash before = items_digest(&t->items), after;

	FORGE(t, ITEM_STRIKES, 0, row->strikes.count = 99);
	assert_int_equal(believe(t), 0);
	after = items_digest(&t->items);
	assert_memory_not_equal(&before, &after, sizeof(after));
	FORGE(t, ITEM_STRIKES, 0, row->strikes.count = 1);
	FORGE(t, ITEM_HEADER, 0, row->header.pub.time_ms++);
	assert_damaged(t, "the time is not the header's");
	FORGE(t, ITEM_TIME, 0, row->time.ms++);
	assert_int_equal(believe(t), 0);
	after = items_digest(&t->items);
	assert_memory_not_equal(&before, &after, sizeof(after));
}

/* Expiry has not run, and the history period is not the default one. */
static void a_loaded_ledger_knows_what_will_be_gone(void **state)
{
	struct told *t = *state;
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct kban_event ban = BAN("192.7.0.1", HOUR);
	struct ledger_limits limits = t->f->ledger->limits;
	struct ledger_verdict v;

	tell(t, OP, POLICY(to->history_ms = 5 * DAY));
	items_free(&t->items);
	t->items = items_of(t->f->ledger);
	assert_int_equal(items_load(&t->items, key_of(t->f, ROOT), &l, NULL), 0);
	limits.ban_records = (uint32_t)l->records_n; /* it is full now */
	ledger_limit(l, &limits);

	struct kban_report r = report_of(t->f, N1, t->f->counters[N1] + 1, &ban, 1);

	ledger_judge(l, t->f->now, &r, &v);
	assert_int_equal(v.outcomes[0], KBAN_OUTCOME_FULL);
	ledger_judge(l, t->f->now + 3 * DAY, &r, &v);
	assert_int_equal(v.outcomes[0], KBAN_OUTCOME_COUNTED);
}

#define told_test(fn) cmocka_unit_test_setup_teardown(fn, told_set_up, told_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		told_test(the_truth_is_believed),
		told_test(each_report_that_a_row_names_must_be_there),
		told_test(a_ban_needs_a_report_that_bans_exactly_this),
		told_test(a_ban_needs_its_place_in_the_report),
		told_test(a_first_ban_lasts_no_longer_than_its_report_says),
		told_test(a_ban_of_somebody_else_is_not_his),
		told_test(a_ban_is_no_wider_than_its_role_may),
		told_test(who_was_revoked_before_bans_nothing),
		told_test(a_running_ban_inside_a_safe_range_is_no_state),
		told_test(only_the_root_grants),
		told_test(a_grant_gives_the_role_name_and_keys_that_it_says),
		told_test(a_joined_principal_needs_his_invitation_and_join),
		told_test(a_revocation_is_of_this_key),
		told_test(a_withdrawal_is_of_this_invitation),
		told_test(the_newest_report_has_the_counter_and_the_hash),
		told_test(a_policy_of_somebody_revoked_is_none),
		told_test(a_safe_range_is_its_owners),
		told_test(a_safe_range_of_an_operator_is_no_nodes),
		told_test(an_approval_is_an_operators_word),
		told_test(an_unban_is_an_operators_and_of_this_prefix),
		told_test(a_broker_is_where_its_event_says),
		told_test(an_epoch_is_begun_by_its_event),
		told_test(an_authors_counters_rise_with_the_places),
		told_test(a_report_of_another_cluster_proves_nothing),
		told_test(numbers_that_no_report_says_change_the_digest),
		told_test(a_loaded_ledger_knows_what_will_be_gone),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
