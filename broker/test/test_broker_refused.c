/* SPDX-License-Identifier: MPL-2.0
 *
 * What was tried and refused, as the broker remembers it.
 */
#include "broker/refused.h"
#include "broker/test/asking.h"

static const struct kban_query refused_all = {.kind = KBAN_QUERY_REFUSED};

static struct kban_message *refused(struct world *w, struct kban_query q)
{
	q.kind = KBAN_QUERY_REFUSED;
	return answer_to(w, &w->actors[READER], &q);
}

static size_t refused_count(struct world *w, struct kban_query q)
{
	size_t n = 0;

	do {
		kban_auto(kban_message_free) struct kban_message *m = refused(w, q);

		n += m->answer.log_n;
		assert_true(!m->answer.next || !q.after || m->answer.next < q.after);
		q.after = m->answer.next;
	} while (q.after);
	return n;
}

static struct kban_text author_of(const struct actor *a)
{
	return (struct kban_text){(const char *)&a->keys.sign_public, KBAN_KEY_SIZE};
}

static void make_safe(struct world *w)
{
	struct kban_event e = safe_event("198.51.100.0/24");

	greet_all(w);
	submit(w, &w->actors[OPERATOR], &e, 1);
	commit(w);
}

/* Through the broker -------------------------------------------------------------------------- */

static void reports_of_which_nothing_counted_are_shown_newest_first(void **state)
{
	struct world *w = *state;
	struct kban_event two[] = {ban_event("198.51.100.1"), ban_event("127.0.0.1")};
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	make_safe(w);
	submit(w, &w->actors[NODE1], two, 2);
	world_pass(w, 1000);
	submit_ban(w, &w->actors[NODE2], "198.51.100.2");
	submit_ban(w, &w->actors[NODE2], "192.0.2.2"); /* counts */
	commit(w);
	m = refused(w, refused_all);
	assert_int_equal(m->answer.log_n, 2);
	assert_int_equal(m->answer.next, 0);
	const struct kban_log_row *row = &m->answer.log[0];
	assert_int_equal(row->seq, 0);
	assert_int_equal(row->refusal, 0);
	assert_true(row->accepted_ms == WORLD_START_MS + 1000);
	assert_int_equal(row->outcomes_n, 1);
	assert_int_equal(row->outcomes[0], KBAN_OUTCOME_SAFE);
	assert_int_equal(row->records_n, 0);
	row++;
	assert_int_equal(row->outcomes_n, 2);
	assert_int_equal(row->outcomes[1], KBAN_OUTCOME_NEVER_BAN);
	assert_int_equal(kban_report_decode(&r, &row->report), 0);
	assert_true(kban_report_check(r, &row->report));
	assert_memory_equal(&r->author, &w->actors[NODE1].keys.sign_public, 32);
}

static void refusals_of_whole_reports_are_shown_by_name(void **state)
{
	struct world *w = *state;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_safe(w);
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	commit(w);
	w->actors[NODE1].counter = 0;
	submit_ban(w, &w->actors[NODE1], "192.0.2.3");
	m = refused(w, refused_all);
	assert_int_equal(m->answer.log_n, 1);
	assert_int_equal(m->answer.log[0].refusal, KBAN_REFUSAL_COUNTER_CONFLICT);
	assert_int_equal(m->answer.log[0].outcomes_n, 0);
}

static void filters_narrow_it_down(void **state)
{
	struct world *w = *state;
	struct kban_event e = unban_event("192.0.2.9");
	struct kban_query prefix = {.has_prefix = true, .prefix = prefix_of("198.51.100.0/30")};
	struct kban_query kinds = {.kinds = 1U << KBAN_EVENT_UNBAN};
	struct kban_query author = {.author = author_of(&w->actors[NODE2])};

	make_safe(w);
	submit_ban(w, &w->actors[NODE1], "198.51.100.1");
	submit_ban(w, &w->actors[NODE2], "198.51.100.2");
	submit_ban(w, &w->actors[NODE2], "198.51.100.200");
	submit(w, &w->actors[NODE1], &e, 1); /* not its own */
	assert_int_equal(refused_count(w, refused_all), 4);
	assert_int_equal(refused_count(w, prefix), 2);
	assert_int_equal(refused_count(w, kinds), 1);
	assert_int_equal(refused_count(w, author), 2);
	author.has_prefix = true;
	author.prefix = prefix.prefix;
	assert_int_equal(refused_count(w, author), 1);
}

static void what_is_not_authentic_is_not_remembered(void **state)
{
	struct world *w = *state;
	struct kban_event e = ban_event("198.51.100.1");
	struct sealed_report s;

	make_safe(w);
	s = seal(w, &w->actors[NODE1], &e, 1);
	send_sealed(w, &w->actors[NODE2], &s.sealed); /* another's */
	s.bytes[s.sealed.report_len] ^= 1;
	send_sealed(w, &w->actors[NODE1], &s.sealed); /* signature */
	s.bytes[s.sealed.report_len] ^= 1;
	s.bytes[3] ^= 1;
	send_sealed(w, &w->actors[NODE1], &s.sealed); /* cluster, and so the signature */
	s.bytes[0] = 0xff;
	send_sealed(w, &w->actors[NODE1], &s.sealed);
	free(s.bytes);
	assert_int_equal(refused_count(w, refused_all), 0);
}

static void the_same_report_is_kept_once(void **state)
{
	struct world *w = *state;
	struct kban_event e = ban_event("198.51.100.1");
	struct sealed_report s;
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	make_safe(w);
	s = seal(w, &w->actors[NODE1], &e, 1);
	for (int i = 0; i < 5; i++) {
		world_pass(w, 1000);
		send_sealed(w, &w->actors[NODE1], &s.sealed);
		submit_ban(w, &w->actors[NODE2], "127.0.0.1");
	}
	free(s.bytes);
	m = refused(w, refused_all);
	assert_int_equal(m->answer.log_n, 6);
	assert_true(m->answer.log[1].accepted_ms == WORLD_START_MS + 5000);
}

static void a_report_that_gets_into_the_log_after_all_is_no_longer_refused(void **state)
{
	struct world *w = *state;
	struct kban_event policy = {.kind = KBAN_EVENT_POLICY, .policy = ledger_policy_default};
	struct kban_event release = {.kind = KBAN_EVENT_RELEASE};
	struct kban_event e = ban_event("192.0.2.3");
	struct actor *node = &w->actors[NODE1];
	kban_auto(kban_message_free) struct kban_message *m = NULL;

	greet_all(w);
	policy.policy.quota_per_hour = 1;
	submit(w, &w->actors[OPERATOR], &policy, 1);
	submit_ban(w, node, "192.0.2.1");
	submit_ban(w, node, "192.0.2.2"); /* holds it, and is in the log */
	struct sealed_report s = seal(w, node, &e, 1);
	send_sealed(w, node, &s.sealed);
	commit(w);
	m = refused(w, refused_all);
	assert_int_equal(m->answer.log_n, 1);
	assert_int_equal(m->answer.log[0].refusal, KBAN_REFUSAL_ON_HOLD);
	release.release.key = node->keys.sign_public;
	submit(w, &w->actors[OPERATOR], &release, 1);
	world_pass(w, HOUR_MS);
	send_sealed(w, node, &s.sealed);
	commit(w);
	assert_int_equal(refused_count(w, refused_all), 0);
	send_sealed(w, node, &s.sealed); /* a duplicate is in the log */
	assert_int_equal(refused_count(w, refused_all), 0);
	free(s.bytes);
}

static void what_the_broker_has_no_room_for_is_not_the_reports_fault(void **state)
{
	struct world *w = *state;

	greet_all(w);
	w->disk.full = true;
	submit_ban(w, &w->actors[NODE1], "192.0.2.1");
	commit(w);
	submit_ban(w, &w->actors[NODE2], "192.0.2.2");
	assert_int_equal(refused_count(w, refused_all), 0);
	w->disk.full = false;
}

static void who_floods_it_drives_out_only_himself(void **state)
{
	struct world *w = *state;
	struct kban_query victim = {.author = author_of(&w->actors[NODE2])};
	struct kban_query flooder = {.author = author_of(&w->actors[NODE1])};

	make_safe(w);
	for (int i = 0; i < 100; i++)
		submit_ban(w, &w->actors[NODE2], "198.51.100.2");
	for (int i = 0; i < 3000; i++) {
		submit_ban(w, &w->actors[NODE1], "198.51.100.1");
		forget_sent(w);
	}
	assert_int_equal(refused_count(w, victim), 100);
	assert_int_equal(refused_count(w, flooder), REFUSED_MAX - 100);
}

static void many_come_in_pages_neither_twice_nor_skipped(void **state)
{
	struct world *w = *state;
	struct kban_query q = refused_all;
	uint64_t before = UINT64_MAX;
	size_t n = 0, pages = 0;

	make_safe(w);
	for (int i = 0; i < 1000; i++) {
		world_pass(w, 1);
		submit_ban(w, &w->actors[NODE1], "198.51.100.1");
	}
	forget_sent(w);
	do {
		kban_auto(kban_message_free) struct kban_message *m = refused(w, q);

		for (size_t i = 0; i < m->answer.log_n; i++, n++) {
			assert_true(m->answer.log[i].accepted_ms < before);
			before = m->answer.log[i].accepted_ms;
		}
		q.after = m->answer.next;
		pages++;
		submit_ban(w, &w->actors[NODE2], "198.51.100.1"); /* newer than all */
	} while (q.after);
	assert_int_equal(n, 1000);
	assert_true(pages > 1);
}

/* By itself ----------------------------------------------------------------------------------- */

static void add(struct refused *f, unsigned author, unsigned number, size_t len)
{
	static uint8_t bytes[KBAN_REPORT_MAX + KBAN_SIGNATURE_SIZE];
	struct kban_key key = {{(uint8_t)author, (uint8_t)(author >> 8)}};
	struct kban_hash hash = {{(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
				  (uint8_t)author, (uint8_t)(author >> 8)}};
	struct refused_row row = {.sealed = {bytes, len, bytes + len}};

	refused_add(f, &hash, &key, &row);
}

static int count_long(void *arg, const struct refused_row *row)
{
	*(size_t *)arg += row->sealed.report_len > 1000;
	return 0;
}

static void rows_and_bytes_are_bounded_whoever_sends_what(void **state)
{
	struct refused *f;
	size_t rows, bytes;

	(void)state;
	refused_new(&f);
	for (unsigned i = 0; i < 5000; i++) {
		add(f, i % 700, i, i % 7 ? 100 : KBAN_REPORT_MAX);
		refused_size(f, &rows, &bytes);
		assert_true(rows <= REFUSED_MAX && bytes <= REFUSED_BYTES_MAX);
	}
	assert_true(rows > 5);
	refused_free(f);
}

static void few_long_reports_outlive_many_short_ones_of_another(void **state)
{
	struct refused *f;
	size_t n = 0;

	(void)state;
	refused_new(&f);
	for (unsigned i = 0; i < 4; i++)
		add(f, 1, i, 100000);
	for (unsigned i = 0; i < 10000; i++)
		add(f, 2, i, 100);
	assert_int_equal(refused_each(f, 0, count_long, &n), 0);
	assert_int_equal(n, 4);
	refused_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(reports_of_which_nothing_counted_are_shown_newest_first),
		world_test(refusals_of_whole_reports_are_shown_by_name),
		world_test(filters_narrow_it_down),
		world_test(what_is_not_authentic_is_not_remembered),
		world_test(the_same_report_is_kept_once),
		world_test(a_report_that_gets_into_the_log_after_all_is_no_longer_refused),
		world_test(what_the_broker_has_no_room_for_is_not_the_reports_fault),
		world_test(who_floods_it_drives_out_only_himself),
		world_test(many_come_in_pages_neither_twice_nor_skipped),
		cmocka_unit_test(rows_and_bytes_are_bounded_whoever_sends_what),
		cmocka_unit_test(few_long_reports_outlive_many_short_ones_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
