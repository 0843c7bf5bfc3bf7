/* SPDX-License-Identifier: MPL-2.0
 *
 * What `why` makes of rows, in one sentence and in full.
 */
#include "cli/test/members.h"

#define WORDS "10 failed logins at smtp on mail1 (rule unknown-user)"

static void expect(struct members *w, enum why_state state, const char *said)
{
	kban_auto(kban_free) void *sentence = why_sentence(&w->why);

	assert_int_equal(why_state(&w->why), state);
	assert_string_equal(sentence, said);
}

static void ask(struct members *w, const char *address)
{
	w->why.prefix = members_prefix(address);
}

static struct kban_event unban(const char *prefix, const char *reason)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_UNBAN,
		.unban = {.prefix = members_prefix(prefix), .reason = kban_text(reason)}};
}

static struct kban_event safe(const char *prefix, const char *reason)
{
	return (struct kban_event){
		.kind = KBAN_EVENT_SAFE_ADD,
		.safe_add = {.prefix = members_prefix(prefix), .reason = kban_text(reason)}};
}

static void safe_show(struct members *w, const char *prefix, const struct kban_keypair *owner,
		      enum ledger_safe_state s)
{
	struct kban_safe_row row = {.prefix = members_prefix(prefix),
				    .author = kban_text("whoever the broker says"),
				    .owner = owner->sign_public,
				    .state = s,
				    .since_ms = T0,
				    .reason = kban_text("head office")};
	struct kban_answer a = {.safes_n = 1, .safes = &row};

	why_safes(&w->why, &a);
}

/* Everything that a table says; read once a test. */
static const char *told(struct members *w)
{
	why_tell(&w->why);
	fflush(w->ctx.out);
	return w->out;
}

static void nothing_known_is_said_so(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	expect(w, WHY_UNKNOWN, "203.0.113.9 is not blocked; nothing is known of it.");
}

static void a_running_ban_blocks(void **state)
{
	struct members *w = *state;
	kban_auto(kban_free) void *let_in = NULL;
	kban_auto(kban_free) void *for_good = NULL;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T10:25:30Z on 0 of 2 servers: " WORDS ".");
	let_in = why_let_in(&w->why);
	for_good = why_let_in_for_good(&w->why);
	assert_string_equal(let_in, "kbanctl unban 203.0.113.9");
	assert_string_equal(for_good, "kbanctl safeacl add 203.0.113.9 --reason TEXT");
	assert_non_null(strstr(told(w), "log line: SMTP: User \\x1b[31m doesn't exist."));
}

static void one_login_is_no_logins(void **state)
{
	struct members *w = *state;
	struct kban_event e = members_ban("203.0.113.9");

	ask(w, "203.0.113.9");
	e.ban.count = 1;
	e.ban.rule = kban_text("kerio-blocked");
	e.ban.server = kban_text("kerio7");
	members_row(w, e, &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T10:25:30Z on 0 of 2 servers: 1 offence at "
	       "smtp on kerio7 (rule kerio-blocked).");
}

static void a_forged_ban_blocks_nobody_and_is_marked(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->stranger, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	assert_int_not_equal(why_state(&w->why), WHY_BLOCKED);
	assert_int_equal(w->why.trail.bad, 1);
	assert_non_null(strstr(told(w), "FORGED: not to be believed"));
}

static void the_longest_of_several_bans_answers(void **state)
{
	struct members *w = *state;
	struct kban_event wide = members_ban("203.0.113.0/24");

	ask(w, "203.0.113.9");
	wide.ban = (struct kban_event_ban){.prefix = wide.ban.prefix,
					   .duration_ms = 3600000,
					   .reason = kban_text("scanners"),
					   .rule = kban_text("operator"),
					   .count = 1};
	members_row(w, wide, &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T11:20:30Z on 0 of 2 servers, with all of "
	       "203.0.113.0/24: banned by alice: scanners.");
	assert_int_equal(why_first_seq(&w->why), 11);
}

static void a_ban_whose_time_is_over_has_ended(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	w->why.now_ms = T0 + 300000;
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_ENDED,
	       "203.0.113.9 is not blocked: its newest ban ended at 2026-03-01T10:25:30Z (" WORDS
	       ").");
}

static void an_unban_is_named_as_what_ended_it(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->records[0].ended = true;
	w->records[0].until_ms = T0 + 20;
	members_tell(w);
	members_row(w, unban("203.0.113.8", "another"), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_row(w, unban("203.0.113.0/24", "customer"), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	w->why.now_ms = T0 + 300000;
	expect(w, WHY_ENDED,
	       "203.0.113.9 is not blocked: alice ended its newest ban at 2026-03-01T10:20:30Z: "
	       "customer (it was: " WORDS ").");
	assert_non_null(strstr(told(w), "ended early at 2026-03-01T10:20:30Z by alice's unban of "
					"203.0.113.0/24: customer\n"));
}

/* mail1's kernel has it all; mail2 was away when the address was let in. */
static void who_was_away_may_still_block_it(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->records[0].ended = true;
	w->records[0].until_ms = T0 + 20;
	members_tell(w);
	members_row(w, unban("203.0.113.9", ""), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	assert_int_equal(why_needed_seq(&w->why), 12);
	members_beat(w, 12, 11);
	expect(w, WHY_ENDED,
	       "203.0.113.9 is not blocked: alice ended its newest ban at 2026-03-01T10:20:30Z (it "
	       "was: " WORDS "); mail2 (not yet) may still block it until 2026-03-01T10:25:30Z.");
	w->ctx.format = OUTPUT_JSON;
	why_json(&w->why);
	fflush(w->ctx.out);
	assert_non_null(strstr(w->out, "\"blocks\": false"));
	assert_non_null(strstr(w->out, "\"blocks\": null"));
	assert_non_null(strstr(w->out, "\"may_block_until\": \"2026-03-01T10:25:30Z\""));
	members_beat(w, 12, 12);
	expect(w, WHY_ENDED,
	       "203.0.113.9 is not blocked: alice ended its newest ban at 2026-03-01T10:20:30Z (it "
	       "was: " WORDS ").");
}

/* A repeat offender's ban was longer than its report says. */
static void a_lengthened_ban_may_block_for_longer(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	w->why.policy.repeat_percent = 200;
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	w->records[0].ended = true;
	w->records[0].until_ms = T0 + 20;
	w->records[0].strikes = 3;
	members_tell(w);
	members_row(w, unban("203.0.113.9", ""), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_beat(w, 11, 12);
	assert_int_equal(why_lingers(&w->why, verify_named(w->verify, "mail1")), T0 + 1200000);
	assert_int_equal(why_lingers(&w->why, verify_named(w->verify, "mail2")), 0);
}

/* It lies in a ban that runs on around it: who has not the safe range has the ban. */
static void who_does_not_know_of_a_safe_range_may_block_what_is_in_it(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.0/24"), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_row(w, safe("203.0.113.9", "head office"), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	safe_show(w, "203.0.113.9", &w->alice, LEDGER_SAFE_ACTIVE);
	assert_int_equal(why_needed_seq(&w->why), 12);
	members_beat(w, 12, 11);
	expect(w, WHY_SAFE,
	       "203.0.113.9 is not blocked: safe range 203.0.113.9 (alice: head office) covers it; "
	       "mail2 (not yet) may still block it until 2026-03-01T10:25:30Z.");
}

/* What ended a ban need not overlap the address that is asked for. */
static void what_ended_a_wide_ban_is_found_for_every_address_in_it(void **state)
{
	struct members *w = *state;
	struct kban_event u = unban("203.0.113.9", "customer");

	ask(w, "203.0.113.10");
	w->why.now_ms = T0 + 400000;
	members_row(w, members_ban("203.0.113.0/24"), &w->alice, KBAN_OUTCOME_COUNTED);
	w->records[0].ended = true;
	w->records[0].until_ms = T0 + 12;
	members_tell(w);
	u.unban.covering = true;
	members_row(w, u, &w->alice, KBAN_OUTCOME_COUNTED);
	struct kban_log_row ender = w->row;
	members_row(w, unban("203.0.113.0/24", "later, and in vain"), &w->alice,
		    KBAN_OUTCOME_COUNTED);
	members_tell(w);
	assert_null(why_ender(&w->why, &w->why.events[0]));
	w->why.enders = true;
	w->row = ender;
	members_tell(w);
	why_sort(&w->why);
	expect(w, WHY_ENDED,
	       "203.0.113.10 is not blocked: alice ended its newest ban at 2026-03-01T10:20:30Z: "
	       "customer (it was: banned by alice).");
	assert_non_null(strstr(told(w), "by alice's unban of 203.0.113.9: customer"));
}

static void a_new_address_of_a_broker_ends_bans_that_hold_it(void **state)
{
	struct members *w = *state;
	struct kban_prefix address = members_prefix("203.0.113.5");
	struct kban_event e = {.kind = KBAN_EVENT_BROKER_ADDRESS,
			       .broker_address = {.curve = w->stranger.curve_public,
						  .endpoint = kban_text("tcp://203.0.113.5:7400"),
						  .addresses_n = 1,
						  .addresses = &address}};

	ask(w, "203.0.113.10");
	w->why.now_ms = T0 + 400000;
	members_row(w, members_ban("203.0.113.0/24"), &w->alice, KBAN_OUTCOME_COUNTED);
	w->records[0].ended = true;
	w->records[0].until_ms = T0 + 12;
	members_tell(w);
	w->why.enders = true;
	members_row(w, e, &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	assert_non_null(why_ender(&w->why, &w->why.events[0]));
	assert_non_null(strstr(told(w), "ended early at 2026-03-01T10:20:30Z by alice's "
					"broker-address"));
}

static void a_safe_range_that_covers_it_answers(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, safe("203.0.113.0/24", "head office"), &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	safe_show(w, "203.0.113.0/24", &w->alice, LEDGER_SAFE_ACTIVE);
	expect(w, WHY_SAFE,
	       "203.0.113.9 is not blocked: safe range 203.0.113.0/24 (alice: head office) covers "
	       "it.");
	assert_int_equal(w->why.unproven, 0);
}

static void a_safe_range_that_nobody_signed_is_forged(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	safe_show(w, "203.0.113.0/24", &w->alice, LEDGER_SAFE_ACTIVE);
	assert_int_equal(w->why.unproven, 1);
	assert_int_equal(why_state(&w->why), WHY_BLOCKED);
	assert_non_null(strstr(told(w), "FORGED: nobody signed this"));
}

static void a_range_is_approved_by_a_signed_approval_only(void **state)
{
	struct members *w = *state;
	struct kban_event approve = {.kind = KBAN_EVENT_SAFE_APPROVE,
				     .safe_approve = {.prefix = members_prefix("203.0.113.9"),
						      .owner = w->mail1.sign_public}};

	ask(w, "203.0.113.9");
	members_row(w, safe("203.0.113.9", ""), &w->mail1, KBAN_OUTCOME_HELD);
	members_tell(w);
	safe_show(w, "203.0.113.9", &w->mail1, LEDGER_SAFE_APPROVED);
	assert_int_equal(w->why.unproven, 1);
	members_row(w, approve, &w->alice, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	safe_show(w, "203.0.113.9", &w->mail1, LEDGER_SAFE_APPROVED);
	assert_int_equal(w->why.unproven, 1);
}

static void a_refused_ban_is_told(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_OVER_QUOTA);
	members_tell(w);
	expect(w, WHY_ALONE,
	       "203.0.113.9 is blocked on mail1 alone, until about 2026-03-01T10:25:30Z: " WORDS
	       "; the fleet refused the ban, over-quota.");
	w->why.now_ms = T0 + 400000;
	expect(w, WHY_REFUSED,
	       "203.0.113.9 is not blocked: a ban (" WORDS ") was refused, over-quota.");
	assert_non_null(strstr(told(w), "because: over-quota"));
}

static void bans_inside_a_prefix_are_counted(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.0/24");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_PARTLY, "203.0.113.0/24 as a whole is not blocked; 1 ban inside it runs.");
}

static void loopback_is_never_blocked(void **state)
{
	struct members *w = *state;

	ask(w, "127.0.0.1");
	assert_int_equal(why_state(&w->why), WHY_NEVER);
}

/* However many rows come, memory is bounded, and the answer holds. */
static void too_many_bans_are_cut_and_counted(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	w->row.records_n = 0;
	for (size_t i = 0; i < WHY_MAX; i++) {
		w->row.seq++;
		members_tell(w);
	}
	assert_true(w->why.events_n <= WHY_MAX);
	assert_int_equal(w->why.dropped + w->why.events_n, WHY_MAX + 1);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T10:25:30Z on 0 of 2 servers: an old ban.");
}

static void a_node_blocks_when_it_says_so_itself(void **state)
{
	struct members *w = *state;

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_beat(w, 11, 10);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T10:25:30Z on 1 of 2 servers: " WORDS ".");
}

/* After its restart a broker knows of nobody until he is back. */
static void a_broker_that_has_not_heard_of_a_node_is_no_word_of_it(void **state)
{
	struct members *w = *state;
	struct kban_member_row rows[2] = {
		{.key = w->mail1.sign_public, .name = kban_text("mail1")},
		{.key = w->mail2.sign_public, .name = kban_text("mail2")}};

	ask(w, "203.0.113.9");
	members_row(w, members_ban("203.0.113.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	members_prove(w, NULL, 0, rows, 2);
	expect(w, WHY_BLOCKED,
	       "203.0.113.9 is blocked until 2026-03-01T10:25:30Z on 0 of 2 servers (2 not known "
	       "yet: the broker has not heard of them since it started): " WORDS ".");
	assert_non_null(strstr(told(w), "not known yet of, since the broker started: mail1 mail2"));
}

static void what_holds_an_address_that_is_never_banned_is_told_with_what_is_inside(void **state)
{
	struct members *w = *state;
	kban_auto(kban_free) void *let_in = NULL;

	ask(w, "126.0.0.0/7");
	expect(w, WHY_NEVER,
	       "126.0.0.0/7 as a whole cannot be banned (it holds loopback, link-local, multicast "
	       "or unspecified addresses); 0 bans inside it run.");
	members_row(w, members_ban("126.0.0.9"), &w->mail1, KBAN_OUTCOME_COUNTED);
	members_tell(w);
	expect(w, WHY_PARTLY,
	       "126.0.0.0/7 as a whole cannot be banned (it holds loopback, link-local, multicast "
	       "or unspecified addresses); 1 ban inside it runs.");
	let_in = why_let_in(&w->why);
	assert_string_equal(let_in, "kbanctl unban 126.0.0.0/7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMBERS_TEST(nothing_known_is_said_so),
		MEMBERS_TEST(a_running_ban_blocks),
		MEMBERS_TEST(one_login_is_no_logins),
		MEMBERS_TEST(a_forged_ban_blocks_nobody_and_is_marked),
		MEMBERS_TEST(the_longest_of_several_bans_answers),
		MEMBERS_TEST(a_ban_whose_time_is_over_has_ended),
		MEMBERS_TEST(an_unban_is_named_as_what_ended_it),
		MEMBERS_TEST(who_was_away_may_still_block_it),
		MEMBERS_TEST(a_lengthened_ban_may_block_for_longer),
		MEMBERS_TEST(who_does_not_know_of_a_safe_range_may_block_what_is_in_it),
		MEMBERS_TEST(what_ended_a_wide_ban_is_found_for_every_address_in_it),
		MEMBERS_TEST(a_new_address_of_a_broker_ends_bans_that_hold_it),
		MEMBERS_TEST(a_broker_that_has_not_heard_of_a_node_is_no_word_of_it),
		MEMBERS_TEST(
			what_holds_an_address_that_is_never_banned_is_told_with_what_is_inside),
		MEMBERS_TEST(a_safe_range_that_covers_it_answers),
		MEMBERS_TEST(a_safe_range_that_nobody_signed_is_forged),
		MEMBERS_TEST(a_range_is_approved_by_a_signed_approval_only),
		MEMBERS_TEST(a_refused_ban_is_told),
		MEMBERS_TEST(bans_inside_a_prefix_are_counted),
		MEMBERS_TEST(loopback_is_never_blocked),
		MEMBERS_TEST(too_many_bans_are_cut_and_counted),
		MEMBERS_TEST(a_node_blocks_when_it_says_so_itself),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
