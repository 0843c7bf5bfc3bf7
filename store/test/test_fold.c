/* SPDX-License-Identifier: MPL-2.0
 *
 * Reports as a whole, members, policy, epochs, place, time, observers: LEDGER.md, the rest of it.
 */
#include <stdio.h>

#include "store/test/fleet.h"

/* Reports ------------------------------------------------------------------------------------ */

static enum kban_refusal say_as(struct fleet *f, enum who who, uint64_t counter, uint8_t variant)
{
	struct kban_event e = BAN("192.0.2.1", MINUTE);
	struct kban_report r = report_of(f, who, counter, &e, 1);

	r.hash.b[1] = variant;
	return fold_report(f, &r);
}

static void a_report_of_another_cluster_is_refused(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = BAN("192.0.2.1", MINUTE);
	struct kban_report r = report_of(f, N1, 1, &e, 1);

	r.cluster.b[0] ^= 1;
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_WRONG_CLUSTER);
}

static void a_stranger_is_an_unknown_author(void **state)
{
	struct fleet *f = *state;

	assert_int_equal(say_as(f, NEW, 1, 0), KBAN_REFUSAL_UNKNOWN_AUTHOR);
}

static void counters_rise_and_the_same_report_is_a_duplicate(void **state)
{
	struct fleet *f = *state;
	uint64_t seq;

	assert_int_equal(say_as(f, N1, 5, 0), KBAN_REFUSAL_NONE);
	seq = head(f);
	assert_int_equal(say_as(f, N1, 5, 0), KBAN_REFUSAL_DUPLICATE);
	assert_int_equal(f->v.duplicate_seq, seq);
	assert_int_equal(say_as(f, N1, 5, 1), KBAN_REFUSAL_COUNTER_CONFLICT);
	assert_int_equal(say_as(f, N1, 4, 0), KBAN_REFUSAL_COUNTER_STALE);
	assert_int_equal(say_as(f, N1, 900, 0), KBAN_REFUSAL_NONE);
}

static void a_base_ahead_of_the_log_is_refused(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = BAN("192.0.2.1", MINUTE);
	struct kban_report r = report_of(f, N1, 1, &e, 1);

	r.base.seq++;
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_BASE_AHEAD);
	r.base = (struct kban_base){2, 0};
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_BASE_AHEAD);
	r.base = (struct kban_base){1, head(f)};
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_NONE);
}

static void a_gap_in_what_is_folded_leaves_bases_valid(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = BAN("192.0.2.1", MINUTE);
	struct kban_report r = report_of(f, N1, 1, &e, 1);
	struct kban_entry entry = {.seq = head(f) + 100, .accepted_ms = f->now};
	struct ledger_verdict v;

	r.base.seq = entry.seq - 1;
	ledger_apply(f->ledger, &entry, &r, &v, NULL);
	assert_int_equal(v.refusal, KBAN_REFUSAL_NONE);
	assert_int_equal(head(f), entry.seq);
}

static void a_refused_report_moves_only_place_and_time(void **state)
{
	struct fleet *f = *state;
	struct kban_hash before, after;
	struct kban_place a, b;

	ledger_digest(f->ledger, &before);
	ledger_place(f->ledger, &a);
	assert_int_equal(say_as(f, NEW, 1, 0), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_int_equal(f->v.outcomes_n, 0);
	assert_false(f->v.loggable);
	ledger_digest(f->ledger, &after);
	ledger_place(f->ledger, &b);
	assert_memory_equal(&before, &after, sizeof(after));
	assert_int_equal(b.seq, a.seq + 1);
	assert_memory_not_equal(&a.chain, &b.chain, sizeof(a.chain));
	f->now += HOUR;
	assert_int_equal(say_as(f, NEW, 1, 0), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_int_equal(ledger_time_ms(f->ledger), f->now);
	ledger_digest(f->ledger, &after);
	assert_memory_not_equal(&before, &after, sizeof(after)); /* which holds the time */
}

static void roles_say_what_the_table_allows(void **state)
{
	static const enum who readers[] = {READ, BROK};
	struct fleet *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(readers); i++) {
		assert_says(f, readers[i], BAN("192.0.2.1", MINUTE), DENIED);
		assert_says(f, readers[i], UNBAN("192.0.2.1"), DENIED);
		assert_says(f, readers[i], REVOKE(f, N1), DENIED);
	}
	assert_false(f->v.loggable);
	assert_says(f, ROOT, BAN("192.0.2.1", MINUTE), DENIED);
	assert_says(f, ROOT, SAFE("192.0.2.1", MINUTE), DENIED);
	assert_says(f, ROOT, INVITE(f, NEW, KBAN_ROLE_NODE, "x", HOUR), DENIED);
	assert_says(f, OP, GRANT(f, NEW, KBAN_ROLE_NODE, "x"), DENIED);
	assert_says(f, FEED, SAFE("192.0.2.1", MINUTE), DENIED);
	assert_says(f, N1, APPROVE(f, "192.0.2.1", N1), DENIED);
	assert_says(f, N1, PURGE(f, N2), DENIED);
	assert_says(f, N1, POLICY(to->safe_max = 9), DENIED);
	assert_says(f, N1, RELEASE(f, N1), DENIED);
	assert_says(f, N1, EPOCH(2), DENIED);
	assert_says(f, OP, join_event(f, GUEST, NEW), DENIED);
}

/* Members ------------------------------------------------------------------------------------ */

static void root_grants_each_key_and_name_once(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = GRANT(f, NEW, KBAN_ROLE_NODE, "mail3");

	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "mail1"), NAME_TAKEN);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "root"), NAME_TAKEN);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_ROOT, "mail3"), DENIED);
	e.grant.curve = f->keys[N1].curve_public;
	assert_says(f, ROOT, e, KEY_USED);
	e.grant.curve = e.grant.key;
	assert_says(f, ROOT, e, KEY_USED);
	e.grant.curve = (struct kban_key){0};
	assert_says(f, ROOT, e, KEY_USED);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "mail3"), COUNTED);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "mail4"), KEY_USED);
	assert_non_null(ledger_principal_by_name(f->ledger, "mail3", 5));
	assert_ptr_equal(ledger_principal_by_curve(f->ledger, &f->keys[NEW].curve_public),
			 ledger_principal(f->ledger, key_of(f, NEW)));
}

static void nobody_is_found_by_the_roots_curve_key_of_zeros(void **state)
{
	struct fleet *f = *state;
	struct kban_key zero = {0};

	assert_null(ledger_principal_by_curve(f->ledger, &zero));
	assert_int_equal(ledger_principal(f->ledger, key_of(f, ROOT))->role, KBAN_ROLE_ROOT);
}

static void an_invitation_makes_its_joiner_a_principal_once(void **state)
{
	struct fleet *f = *state;
	struct kban_event join = join_event(f, GUEST, NEW);
	struct kban_report again = report_of(f, GUEST, 1, &join, 1);
	const struct ledger_principal *p;

	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_says(f, GUEST, join, COUNTED);
	p = ledger_principal(f->ledger, key_of(f, NEW));
	assert_non_null(p);
	assert_int_equal(p->role, KBAN_ROLE_NODE);
	assert_string_equal(p->name, "mail3");
	assert_true(
		kban_key_equal(&ledger_invitation(f->ledger, key_of(f, GUEST))->used_by, &p->key));
	join = join_event(f, GUEST, NEW2);
	assert_int_equal(fold_report(f, &again), KBAN_REFUSAL_NONE);
	assert_int_equal(f->v.outcomes[0], KBAN_OUTCOME_USED);
	assert_says(f, NEW, BAN("192.0.2.1", MINUTE), COUNTED);
}

static void an_invitation_says_nothing_but_one_join(void **state)
{
	struct fleet *f = *state;
	struct kban_event two[] = {join_event(f, GUEST, NEW), join_event(f, GUEST, NEW2)};
	struct kban_report r = report_of(f, GUEST, 1, two, 2);

	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_int_equal(say_as(f, GUEST, 1, 0), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	r.events_n = 1;
	r.counter = 2;
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_UNKNOWN_AUTHOR);
	r.counter = 1;
	r.base = (struct kban_base){0, 0};
	assert_int_equal(fold_report(f, &r), KBAN_REFUSAL_NONE);
	assert_int_equal(f->v.outcomes[0], KBAN_OUTCOME_COUNTED);
}

static void a_join_needs_its_own_proof_and_new_keys(void **state)
{
	struct fleet *f = *state;
	struct kban_event join = join_event(f, GUEST2, NEW); /* made for another invitation */

	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_says(f, GUEST, join, BAD_PROOF);
	f->counters[GUEST] = 0;
	assert_says(f, GUEST, join_event(f, GUEST, N1), KEY_USED);
	f->counters[GUEST] = 0;
	assert_says(f, GUEST, join_event(f, GUEST, GUEST), KEY_USED);
	assert_says(f, ROOT, GRANT(f, NEW2, KBAN_ROLE_NODE, "mail3"), COUNTED);
	f->counters[GUEST] = 0;
	assert_says(f, GUEST, join_event(f, GUEST, NEW), NAME_TAKEN);
}

static void an_invitation_runs_out_and_is_forgotten_a_day_later(void **state)
{
	struct fleet *f = *state;
	struct kban_event join = join_event(f, GUEST, NEW);

	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_says(f, OP, INVITE(f, GUEST2, KBAN_ROLE_NODE, "mail3", HOUR), NAME_TAKEN);
	f->now += HOUR;
	assert_says(f, GUEST, join, EXPIRED);
	assert_says(f, OP, REVOKE(f, GUEST), NOT_FOUND);
	assert_says(f, OP, INVITE(f, GUEST2, KBAN_ROLE_NODE, "mail3", 30 * DAY), COUNTED);
	f->now += DAY;
	assert_int_equal(say(f, GUEST, join), 0);
	assert_int_equal(f->v.refusal, KBAN_REFUSAL_UNKNOWN_AUTHOR);
	assert_null(ledger_invitation(f->ledger, key_of(f, GUEST)));
	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail4", HOUR), COUNTED);
}

static void a_full_table_takes_no_invitation_and_no_principal(void **state)
{
	struct fleet *f = *state;
	struct ledger_limits small = f->ledger->limits;

	small.invitations = 1;
	small.principals = BROK + 1;
	ledger_limit(f->ledger, &small);
	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_says(f, OP, INVITE(f, GUEST2, KBAN_ROLE_NODE, "mail4", HOUR), FULL);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "mail5"), FULL);
	assert_says(f, GUEST, join_event(f, GUEST, NEW), FULL);
	f->now += HOUR + DAY;
	assert_says(f, OP, INVITE(f, GUEST2, KBAN_ROLE_NODE, "mail4", HOUR), COUNTED);
}

static void the_revoked_are_refused_and_their_ranges_go_and_their_bans_stay(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N1, SAFE("198.51.100.0/24", 0), COUNTED);
	assert_says(f, N2, SAFE("203.0.113.0/24", 0), COUNTED);
	assert_says(f, OP, REVOKE(f, N1), COUNTED);
	assert_says(f, OP, REVOKE(f, N2, .keep_safe = true), COUNTED);
	assert_int_equal(say_as(f, N1, 9, 0), KBAN_REFUSAL_REVOKED);
	assert_int_not_equal(until(f, "192.0.2.1"), 0);
	assert_false(is_safe(f, "198.51.100.1"));
	assert_true(is_safe(f, "203.0.113.1"));
	assert_says(f, OP, REVOKE(f, N1), NO_CHANGE);
	assert_says(f, OP, REVOKE(f, NEW), NOT_FOUND);
	assert_says(f, OP, REVOKE(f, ROOT), DENIED);
	assert_says(f, ROOT, GRANT(f, N1, KBAN_ROLE_NODE, "mail9"), KEY_USED);
	assert_says(f, ROOT, GRANT(f, NEW, KBAN_ROLE_NODE, "mail1"),
		    COUNTED); /* the name is free */
}

static void a_revoked_invitation_admits_nobody(void **state)
{
	struct fleet *f = *state;

	assert_says(f, OP, INVITE(f, GUEST, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
	assert_says(f, OP, REVOKE(f, GUEST), COUNTED);
	assert_says(f, OP, REVOKE(f, GUEST), NO_CHANGE);
	assert_int_equal(say(f, GUEST, join_event(f, GUEST, NEW)), 0);
	assert_int_equal(f->v.refusal, KBAN_REFUSAL_REVOKED);
	assert_says(f, OP, INVITE(f, GUEST2, KBAN_ROLE_NODE, "mail3", HOUR), COUNTED);
}

static void who_revokes_himself_has_said_the_rest_of_his_report(void **state)
{
	struct fleet *f = *state;
	struct kban_event events[] = {REVOKE(f, OP), BAN("192.0.2.1", HOUR)};

	assert_int_equal(say_all(f, OP, events, 2), 0);
	assert_int_equal(f->v.outcomes[1], KBAN_OUTCOME_COUNTED);
	assert_int_equal(say(f, OP, events[1]), 0);
}

/* Place, time -------------------------------------------------------------------------------- */

static void the_clock_of_the_ledger_never_goes_back(void **state)
{
	struct fleet *f = *state;

	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	f->now -= DAY;
	assert_says(f, N1, BAN("192.0.2.2", HOUR), COUNTED);
	assert_int_equal(ledger_time_ms(f->ledger), FLEET_START);
	assert_int_equal(until(f, "192.0.2.2"), FLEET_START + HOUR);
}

static void no_time_overflows(void **state)
{
	struct fleet *f = *state;

	f->now = UINT64_MAX;
	assert_says(f, OP, BAN("192.0.2.1", KBAN_BAN_MAX_MS), COUNTED);
	assert_int_equal(record(f, "192.0.2.1", 0)->until_ms, UINT64_MAX / 2 + KBAN_BAN_MAX_MS);
}

static void the_mark_is_the_newest_place_divisible_by_1024(void **state)
{
	struct fleet *f = *state;
	struct kban_hash chain, digest, wanted_digest;
	struct kban_place place;
	uint64_t seq;

	ledger_mark(f->ledger, &seq, &chain, &digest);
	assert_int_equal(seq, 0);
	while (head(f) < 2 * LEDGER_MARK_EVERY)
		assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	ledger_place(f->ledger, &place);
	ledger_digest(f->ledger, &wanted_digest);
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	ledger_mark(f->ledger, &seq, &chain, &digest);
	assert_int_equal(seq, 2 * LEDGER_MARK_EVERY);
	assert_memory_equal(&chain, &place.chain, sizeof(chain));
	assert_memory_equal(&digest, &wanted_digest, sizeof(digest));
}

static void a_place_can_be_set_where_the_older_part_is_not_known(void **state)
{
	struct fleet *f = *state;
	struct kban_place place = {.epoch = 1, .seq = 4000, .chain = {{7}}}, after;
	struct kban_hash chain, hash = {{0}};

	ledger_set_place(f->ledger, &place);
	f->counters[N1] = 6;
	assert_says(f, N1, BAN("192.0.2.1", MINUTE), COUNTED);
	hash.b[0] = N1;
	hash.b[8] = 7;
	ledger_chain_next(&chain, &place.chain, 4001, f->now, &hash);
	ledger_place(f->ledger, &after);
	assert_int_equal(after.seq, 4001);
	assert_memory_equal(&chain, &after.chain, sizeof(chain));
}

/* Lookups, observers ------------------------------------------------------------------------- */

static int until_third(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	struct kban_prefix *last = arg;

	(void)until_ms;
	*last = *p;
	return p->addr[3] == 3 ? 7 : 0;
}

static void bans_are_listed_in_order_inside_and_after(void **state)
{
	struct fleet *f = *state;
	struct kban_prefix within = P("192.0.2.0/24"), after = P("192.0.2.1"), last;

	assert_says(f, N1, BAN("192.0.2.4", HOUR), COUNTED);
	assert_says(f, N1, BAN("192.0.2.2", HOUR), COUNTED);
	assert_says(f, N1, BAN("2001:db8::/64", HOUR), COUNTED);
	assert_int_equal(ledger_bans_each(f->ledger, f->now, NULL, NULL, until_third, &last), 0);
	assert_int_equal(last.family, KBAN_IPV6);
	assert_int_equal(ledger_bans_each(f->ledger, f->now, &within, &after, until_third, &last),
			 0);
	assert_int_equal(last.addr[3], 4);
	assert_says(f, N1, BAN("192.0.2.3", HOUR), COUNTED);
	assert_int_equal(ledger_bans_each(f->ledger, f->now, NULL, NULL, until_third, &last), 7);
	assert_int_equal(ledger_bans_count(f->ledger, f->now + HOUR - 1), 4);
	assert_int_equal(ledger_bans_count(f->ledger, f->now + HOUR), 0);
}

static void the_next_end_lies_after_now(void **state)
{
	struct fleet *f = *state;

	assert_int_equal(ledger_next_end(f->ledger, f->now), UINT64_MAX);
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, OP, SAFE("198.51.100.1", MINUTE), COUNTED);
	assert_int_equal(ledger_next_end(f->ledger, f->now), f->now + MINUTE);
	assert_int_equal(ledger_next_end(f->ledger, f->now + MINUTE), f->now + HOUR);
	assert_int_equal(ledger_next_end(f->ledger, f->now + HOUR), UINT64_MAX);
}

struct heard {
	char text[4096];
};

static void hear(struct heard *h, const char *what, const struct kban_prefix *p)
{
	char buf[KBAN_PREFIX_TEXT];
	size_t n = strlen(h->text);

	snprintf(h->text + n, sizeof(h->text) - n, "%s%s%s ", what, p ? "=" : "",
		 p ? kban_prefix_format(p, buf) : "");
}

static void hear_ban(void *arg, const struct kban_prefix *p)
{
	hear(arg, "ban", p);
}

static void hear_lifted(void *arg, const struct kban_prefix *p)
{
	hear(arg, "lifted", p);
}

static void hear_safe(void *arg, const struct kban_prefix *p)
{
	hear(arg, "safe", p);
}

static void hear_principal(void *arg, const struct kban_key *key)
{
	(void)key;
	hear(arg, "principal", NULL);
}

static void hear_brokers(void *arg)
{
	hear(arg, "brokers", NULL);
}

static void observers_hear_what_changed_in_order(void **state)
{
	struct fleet *f = *state;
	struct heard h = {""};
	struct kban_event broker = {.kind = KBAN_EVENT_BROKER_ADDRESS};

	f->observer = (struct ledger_observer){hear_ban,       hear_lifted,  hear_safe,
					       hear_principal, hear_brokers, &h};
	broker.broker_address.endpoint = kban_text("tcp://192.0.2.9:7400");
	assert_says(f, N1, BAN("192.0.2.1", HOUR), COUNTED);
	assert_says(f, N1, BAN("192.0.2.2", 0), HISTORY);
	assert_says(f, N1, UNBAN("192.0.2.1"), COUNTED);
	assert_says(f, OP, BAN("198.51.0.0/16", HOUR), COUNTED);
	assert_says(f, OP, UNBAN("198.51.100.1", .covering = true), COUNTED);
	assert_says(f, N1, SAFE("192.0.2.0/24", 0), COUNTED);
	assert_says(f, N1, SAFE("0.0.0.0/0", 0), HELD);
	assert_says(f, OP, REVOKE(f, N1), COUNTED);
	assert_says(f, OP, broker, COUNTED);
	assert_string_equal(h.text,
			    "ban=192.0.2.1 ban=192.0.2.1 ban=198.51.0.0/16 ban=198.51.0.0/16 "
			    "lifted=198.51.100.1 lifted=192.0.2.0/24 safe=192.0.2.0/24 "
			    "safe=0.0.0.0/0 safe=192.0.2.0/24 safe=0.0.0.0/0 principal brokers ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fleet_test(a_report_of_another_cluster_is_refused),
		fleet_test(a_stranger_is_an_unknown_author),
		fleet_test(counters_rise_and_the_same_report_is_a_duplicate),
		fleet_test(a_base_ahead_of_the_log_is_refused),
		fleet_test(a_gap_in_what_is_folded_leaves_bases_valid),
		fleet_test(a_refused_report_moves_only_place_and_time),
		fleet_test(roles_say_what_the_table_allows),
		fleet_test(root_grants_each_key_and_name_once),
		fleet_test(nobody_is_found_by_the_roots_curve_key_of_zeros),
		fleet_test(an_invitation_makes_its_joiner_a_principal_once),
		fleet_test(an_invitation_says_nothing_but_one_join),
		fleet_test(a_join_needs_its_own_proof_and_new_keys),
		fleet_test(an_invitation_runs_out_and_is_forgotten_a_day_later),
		fleet_test(a_full_table_takes_no_invitation_and_no_principal),
		fleet_test(the_revoked_are_refused_and_their_ranges_go_and_their_bans_stay),
		fleet_test(a_revoked_invitation_admits_nobody),
		fleet_test(who_revokes_himself_has_said_the_rest_of_his_report),
		fleet_test(the_clock_of_the_ledger_never_goes_back),
		fleet_test(no_time_overflows),
		fleet_test(the_mark_is_the_newest_place_divisible_by_1024),
		fleet_test(a_place_can_be_set_where_the_older_part_is_not_known),
		fleet_test(bans_are_listed_in_order_inside_and_after),
		fleet_test(the_next_end_lies_after_now),
		fleet_test(observers_hear_what_changed_in_order),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
