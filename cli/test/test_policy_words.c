/* SPDX-License-Identifier: MPL-2.0
 *
 * NAME=VALUE, the table of fields against the ledger's own word, and what another policy would do.
 */
#include "cli/policy.h"
#include "cli/test/members.h"
#include "cli/whatif.h"

/* Words. */

static void assigned(const char *text, struct kban_event_policy *p)
{
	char *error = NULL;

	assert_int_equal(policy_assign(p, text, &error), 0);
	assert_null(error);
}

static void refused(const char *text, const char *said)
{
	struct kban_event_policy p = ledger_policy_default;
	char *error = NULL;

	assert_int_equal(policy_assign(&p, text, &error), CLI_USAGE);
	assert_non_null(strstr(error, said));
	assert_true(policies_equal(&p, &ledger_policy_default));
	free(error);
}

static void values_are_read_in_their_units(void **state)
{
	struct kban_event_policy p = ledger_policy_default;

	(void)state;
	assigned("quota-per-hour=12", &p);
	assigned("repeat_percent=250%", &p);
	assigned("repeat-max=1h30m", &p);
	assigned("history_ms=30d", &p);
	assigned("safe-min-len4=/20", &p);
	assert_int_equal(p.quota_per_hour, 12);
	assert_int_equal(p.repeat_percent, 250);
	assert_int_equal(p.repeat_max_ms, 5400000);
	assert_int_equal(p.history_ms, 30ULL * 86400000);
	assert_int_equal(p.safe_min_len4, 20);
}

static void what_is_no_value_is_refused_with_the_remedy(void **state)
{
	(void)state;
	refused("quota-per-hour", "is not NAME=VALUE");
	refused("quota-per-hour=", "it takes 1 to 1000000");
	refused("quota-per-hour=-1", "it takes 1 to 1000000");
	refused("quota-per-hour=1x", "it takes 1 to 1000000");
	refused("quota-per-hour=99999999999999999999999", "it takes 1 to 1000000");
	refused("history=30", "it takes 1d to 3660d");
	refused("histroy=30d", "did you mean history?");
	refused("frobnicate=1", "`kbanctl policy show` lists them");
	refused("=1", "unknown policy field");
	refused("\033[31m=1", "\\x1b[31m");
}

/* Just inside and just outside of each field's range. */
static void the_table_is_the_ledgers(void **state)
{
	(void)state;
	for (const struct policy_field *f = policy_fields; f->name; f++) {
		struct kban_event_policy p = ledger_policy_default;
		assert_true(ledger_policy_valid(&p));
		policy_put(&p, f, f->min);
		assert_true(ledger_policy_valid(&p));
		policy_put(&p, f, f->max);
		assert_true(ledger_policy_valid(&p));
		policy_put(&p, f, f->max + 1);
		assert_false(ledger_policy_valid(&p));
		policy_put(&p, f, f->min - 1);
		assert_true(!f->min || !ledger_policy_valid(&p));
	}
}

/* A field that only the ledger knew would keep what no range allows. */
static void the_table_leaves_no_field_out(void **state)
{
	struct kban_event_policy p;

	(void)state;
	memset(&p, 0xff, sizeof(p));
	assert_false(ledger_policy_valid(&p));
	for (const struct policy_field *f = policy_fields; f->name; f++)
		policy_put(&p, f, policy_get(&ledger_policy_default, f));
	assert_true(ledger_policy_valid(&p));
	assert_true(policies_equal(&p, &ledger_policy_default));
}

static void a_difference_names_what_changes(void **state)
{
	struct kban_event_policy p = ledger_policy_default;
	kban_auto(kban_free) void *none = policy_difference(&p, &ledger_policy_default);

	(void)state;
	p.repeat_percent = 200;
	p.history_ms = 30ULL * 86400000;
	kban_auto(kban_free) void *some = policy_difference(&ledger_policy_default, &p);
	assert_string_equal(none, "no change");
	assert_string_equal(some, "repeat-percent 100% -> 200%, history 90d -> 30d");
}

/* What if. */

struct story {
	struct members *w;
	struct whatif test;
	struct ledger *was, *would;
	uint64_t seq;
};

static void story_entry(struct story *s, uint64_t at_ms, struct kban_event e,
			const struct kban_keypair *by)
{
	struct kban_entry entry = {++s->seq, at_ms, members_seal(s->w, &e, 1, by)};

	whatif_entry(&s->test, &entry);
}

static void story_begin(struct story *s, struct members *w, const char *assignment,
			uint64_t since_ms)
{
	struct kban_event_policy p = ledger_policy_default;
	struct kban_event events[] = {members_grant(&w->alice, KBAN_ROLE_OPERATOR, "alice"),
				      members_grant(&w->mail1, KBAN_ROLE_NODE, "mail1")};

	*s = (struct story){.w = w};
	assigned(assignment, &p);
	ledger_new(&s->was, &w->root.sign_public);
	ledger_new(&s->would, &w->root.sign_public);
	whatif_begin(&s->test, s->was, s->would, &p, since_ms, T0 + 86400000);
	struct kban_entry entry = {++s->seq, T0, members_seal(w, events, 2, &w->root)};
	whatif_entry(&s->test, &entry);
}

static void story_end(struct story *s)
{
	whatif_done(&s->test);
	ledger_free(s->was);
	ledger_free(s->would);
}

/* Three bans of the same address, each after the one before. */
static void story_repeat(struct story *s)
{
	for (uint64_t i = 0; i < 3; i++)
		story_entry(s, T0 + i * 3600000, members_ban("203.0.113.9"), &s->w->mail1);
	whatif_end(&s->test);
}

static void repeat_offenders_would_be_banned_for_longer(void **state)
{
	struct story s;

	story_begin(&s, *state, "repeat-percent=200", 0);
	story_repeat(&s);
	assert_int_equal(s.test.bans, 3);
	assert_int_equal(s.test.lengthened, 2);
	assert_int_equal(s.test.lengthened_ms, 300000 + 900000);
	assert_int_equal(s.test.changed_n, 1);
	assert_int_equal(s.test.changed[0].change_ms, 1200000);
	assert_int_equal(s.test.refused, 0);
	story_end(&s);
}

static void only_what_came_since_is_changed(void **state)
{
	struct story s;

	story_begin(&s, *state, "repeat-percent=200", T0 + 2 * 3600000);
	story_repeat(&s);
	assert_int_equal(s.test.bans, 1);
	assert_int_equal(s.test.lengthened, 1);
	assert_int_equal(s.test.lengthened_ms, 900000);
	story_end(&s);
}

static void a_policy_of_the_log_does_not_replace_the_supposed_one(void **state)
{
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};
	struct story s;

	e.policy.repeat_percent = 300;
	story_begin(&s, *state, "repeat-percent=100", 0);
	story_entry(&s, T0, e, &s.w->alice);
	story_repeat(&s);
	assert_int_equal(s.test.lengthened, 0);
	assert_int_equal(s.test.shortened, 2);
	story_end(&s);
}

static void a_node_over_its_quota_would_go_on_hold(void **state)
{
	struct story s;
	char text[32];

	story_begin(&s, *state, "quota-per-hour=2", 0);
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "203.0.113.%d", i + 1);
		story_entry(&s, T0 + (uint64_t)i, members_ban(text), &s.w->mail1);
	}
	whatif_end(&s.test);
	assert_int_equal(s.test.nodes_n, 1);
	assert_string_equal(s.test.nodes[0].name, "mail1");
	assert_int_equal(s.test.nodes[0].held_ms, T0 + 2);
	assert_int_equal(s.test.nodes[0].over_quota, 1);
	assert_int_equal(s.test.nodes[0].on_hold, 2);
	assert_int_equal(s.test.refused, 3);
	story_end(&s);
}

static void ranges_would_be_held(void **state)
{
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD,
			       .safe_add = {.prefix = members_prefix("203.0.113.0/24")}};
	struct story s;

	story_begin(&s, *state, "safe-max=0", 0);
	story_entry(&s, T0, e, &s.w->mail1);
	whatif_end(&s.test);
	assert_int_equal(s.test.nodes[0].held_safe, 1);
	story_end(&s);
}

static void what_is_older_than_the_history_is_counted(void **state)
{
	struct story s;

	story_begin(&s, *state, "history=1d", 0);
	s.test.now_ms = T0 + 86400000 + 3600000 + 1;
	story_repeat(&s);
	assert_int_equal(s.test.older, 2);
	story_end(&s);
}

static void a_bad_signature_is_counted_and_folded_by_neither(void **state)
{
	struct story s;
	uint8_t signature[KBAN_SIGNATURE_SIZE] = {1};

	story_begin(&s, *state, "history=1d", 0);
	struct kban_event e = members_ban("203.0.113.9");
	struct kban_entry entry = {++s.seq, T0, members_seal(s.w, &e, 1, &s.w->mail1)};
	entry.sealed.signature = signature;
	whatif_entry(&s.test, &entry);
	assert_int_equal(s.test.bad, 1);
	assert_int_equal(ledger_bans_count(s.was, T0), 0);
	story_end(&s);
}

/* The policy that is tested is the log's own: a policy event is no change. */
static void no_change_refuses_nothing(void **state)
{
	struct kban_event e = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};
	struct story s;

	e.policy.repeat_percent = 300;
	story_begin(&s, *state, "repeat-percent=300", T0 + 1);
	story_entry(&s, T0 + 1, e, &s.w->alice);
	story_repeat(&s);
	assert_int_equal(s.test.refused, 0);
	assert_int_equal(s.test.admitted, 0);
	assert_int_equal(s.test.turns_n, 0);
	story_end(&s);
}

static void what_would_be_refused_is_named_and_adds_up(void **state)
{
	struct story s;
	uint64_t sum = 0;
	char text[32];

	story_begin(&s, *state, "quota-per-hour=2", 0);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(text, sizeof(text), "203.0.113.%u", i + 1);
		story_entry(&s, T0 + i, members_ban(text), &s.w->mail1);
	}
	whatif_end(&s.test);
	assert_int_equal(s.test.refused, 28);
	for (size_t i = 0; i < s.test.turns_n; i++)
		sum += s.test.turns[i].events;
	assert_int_equal(sum, 28);
	const struct whatif_turn *most = &s.test.turns[0];
	assert_int_equal(most->refusal, KBAN_REFUSAL_ON_HOLD);
	assert_int_equal(most->kind, KBAN_EVENT_BAN);
	assert_string_equal(most->name, "mail1");
	assert_int_equal(most->events, 27);
	assert_int_equal(most->examples_n, WHATIF_TOP);
	assert_string_equal(kban_prefix_format(&most->examples[0], text), "203.0.113.4");
	story_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read_in_their_units),
		cmocka_unit_test(what_is_no_value_is_refused_with_the_remedy),
		cmocka_unit_test(the_table_is_the_ledgers),
		cmocka_unit_test(the_table_leaves_no_field_out),
		cmocka_unit_test(a_difference_names_what_changes),
		MEMBERS_TEST(repeat_offenders_would_be_banned_for_longer),
		MEMBERS_TEST(only_what_came_since_is_changed),
		MEMBERS_TEST(no_change_refuses_nothing),
		MEMBERS_TEST(what_would_be_refused_is_named_and_adds_up),
		MEMBERS_TEST(a_policy_of_the_log_does_not_replace_the_supposed_one),
		MEMBERS_TEST(a_node_over_its_quota_would_go_on_hold),
		MEMBERS_TEST(ranges_would_be_held),
		MEMBERS_TEST(what_is_older_than_the_history_is_counted),
		MEMBERS_TEST(a_bad_signature_is_counted_and_folded_by_neither),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
