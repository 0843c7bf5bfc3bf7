/* SPDX-License-Identifier: MPL-2.0
 *
 * A ledger written as items and read back is the ledger that was written, in digest and behaviour:
 * random histories, with snapshots of snapshots at random places, go on in step with the one that
 * was never written. Whatever the bytes, reading ends with a result. test_snapshot [SEED
 * [HISTORIES]], or KBAN_SEED; `test_snapshot corpus FOLDER` writes the fuzzer's seeds.
 */
#include <inttypes.h>
#include <stdio.h>

#include "store/test/history.h"
#include "store/test/items.h"

#define HISTORIES 300
#define EVERY	  12 /* entries between snapshots, about */

static uint64_t first_seed = 1;
static size_t histories = HISTORIES;

/* What a ledger shows ------------------------------------------------------------------------ */

struct sight { /* everything that was seen, in order */
	uint64_t sum;
	size_t n;
};

static void see(struct sight *s, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->sum = (s->sum ^ ((const uint8_t *)p)[i]) * 0x100000001b3;
	s->n++;
}

static void see_number(struct sight *s, uint64_t v)
{
	see(s, &v, sizeof(v));
}

static int see_ban(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	see(arg, p, sizeof(*p));
	see_number(arg, until_ms);
	return 0;
}

static int see_safe(void *arg, const struct ledger_safe *s)
{
	see(arg, &s->prefix, sizeof(s->prefix));
	see(arg, &s->owner->key, KBAN_KEY_SIZE);
	see_number(arg, s->state);
	see_number(arg, s->seq);
	see_number(arg, s->until_ms);
	return 0;
}

static int see_principal(void *arg, const struct ledger_principal *p)
{
	see(arg, &p->key, KBAN_KEY_SIZE);
	see_number(arg, p->granted_ms);
	see_number(arg, p->newest_seq);
	see_number(arg, p->safes);
	return 0;
}

static int see_invitation(void *arg, const struct ledger_invitation *i)
{
	see(arg, &i->key, KBAN_KEY_SIZE);
	see(arg, &i->used_by, KBAN_KEY_SIZE);
	see_number(arg, i->used_ms);
	see_number(arg, i->revoked_seq);
	return 0;
}

static int see_broker(void *arg, const struct ledger_broker *b)
{
	see(arg, &b->curve, KBAN_KEY_SIZE);
	see_number(arg, b->seq);
	return 0;
}

static void see_prefix(struct sight *s, const struct ledger *l, const struct kban_prefix *p,
		       uint64_t now)
{
	const struct ledger_ban *bans;
	size_t n = ledger_bans_of(l, p, &bans);
	uint64_t end = 0;

	see_number(s, ledger_ban_until(l, p, now));
	see_number(s, ledger_safe_covers(l, p, now, NULL));
	see_number(s, ledger_safe_for(l, p, now, &pairs[3].sign_public));
	see_number(s, ledger_unbanned_seq(l, p));
	see_number(s, ledger_strikes(l, p, now, &end));
	see_number(s, end);
	for (size_t i = 0; i < n; i++) {
		see(s, &bans[i].author->key, KBAN_KEY_SIZE);
		see_number(s, bans[i].seq);
		see_number(s, bans[i].until_ms);
	}
}

static struct sight look(const struct ledger *l, uint64_t now)
{
	struct sight s = {0};
	uint64_t seq, ms;

	for (size_t i = 0; i < PREFIXES; i++)
		see_prefix(&s, l, &prefixes[i], now);
	ledger_bans_each(l, now, NULL, NULL, see_ban, &s);
	ledger_safes_each(l, now, see_safe, &s);
	ledger_principals_each(l, see_principal, &s);
	ledger_invitations_each(l, see_invitation, &s);
	ledger_brokers_each(l, see_broker, &s);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(names); i++)
		see_number(&s, !!ledger_principal_by_name(l, names[i], strlen(names[i])));
	ledger_policy_origin(l, &seq, &ms);
	see_number(&s, seq);
	see_number(&s, ms);
	see_number(&s, ledger_bans_count(l, now));
	see_number(&s, ledger_next_end(l, now));
	see_number(&s, ledger_history_start(l));
	see_number(&s, ledger_hour_seq(l, now - LEDGER_DAY_MS));
	see_number(&s, ledger_fold_version_seq(l));
	see_number(&s, ledger_epoch_seq(l));
	return s;
}

static void assert_same_sight(struct sight a, struct sight b)
{
	assert_int_equal(a.n, b.n);
	assert_int_equal(a.sum, b.sum);
}

/* Observers say the same in the same order. */
static void saw_prefix(void *arg, const struct kban_prefix *p)
{
	see(arg, p, sizeof(*p));
}

static void saw_principal(void *arg, const struct kban_key *key)
{
	see(arg, key, sizeof(*key));
}

static void saw_brokers(void *arg)
{
	see_number(arg, 1);
}

static struct sight apply(struct ledger *l, const struct line *line, struct ledger_verdict *v)
{
	struct sight s = {0};
	struct ledger_observer o = {saw_prefix,	   saw_prefix,	saw_prefix,
				    saw_principal, saw_brokers, &s};

	ledger_apply(l, &line->entry, &line->report, v, &o);
	return s;
}

/* Histories ---------------------------------------------------------------------------------- */

static const struct kban_report *line_of(void *arg, uint64_t seq)
{
	const struct history *h = arg;

	for (size_t i = 0; i < h->lines_n; i++)
		if (h->lines[i].entry.seq == seq)
			return &h->lines[i].report;
	return NULL;
}

static void mark_seq(void *arg, uint64_t seq)
{
	bool *named = arg;

	named[seq] = true;
}

/* What the items name is what the ledger says it rests on, and what the log really has proves it.
 */
static void assert_proved(struct history *h, const struct items *s)
{
	bool named[ENTRIES * 6] = {0};
	struct ledger_fault fault = {0};
	uint64_t *seqs;
	size_t n, counted = 0;

	for (size_t i = 0; i < s->n; i++)
		assert_int_equal(
			ledger_item_evidence(kban_span(s->v[i].b, s->v[i].n), mark_seq, named), 0);
	ledger_evidence_seqs(h->ledger, &seqs, &n);
	for (size_t i = 0; i < n; i++) {
		assert_true(!i || seqs[i] > seqs[i - 1]);
		assert_true(named[seqs[i]]);
	}
	for (size_t i = 0; i < KBAN_ARRAY_LEN(named); i++)
		counted += named[i];
	assert_int_equal(counted, n);
	free(seqs);
	if (ledger_evidence_check(h->ledger, line_of, h, &fault))
		fail_msg("%" PRIu64 ": %s %s", fault.seq, fault.row, fault.why);
}

static void load_and_replace(struct history *h, struct ledger **copy)
{
	struct items s = items_of(h->ledger);
	struct ledger *loaded;
	struct kban_hash digest = items_digest(&s), own;
	const char *why;

	ledger_digest(h->ledger, &own);
	assert_memory_equal(&digest, &own, sizeof(own));
	if (*copy) {
		struct items again = items_of(*copy);

		assert_true(items_equal(&s, &again));
		items_free(&again);
	}
	if (items_load(&s, &pairs[0].sign_public, &loaded, &why))
		fail_msg("%s", why);
	assert_proved(h, &s);
	items_free(&s);
	ledger_free(*copy);
	*copy = loaded;
	ledger_limit(*copy, &h->ledger->limits);
}

static void fold_both(struct history *h, struct ledger *copy)
{
	const struct line *l = &h->lines[h->lines_n - 1];
	struct ledger_verdict a, b;
	struct kban_place place_a, place_b;
	struct kban_hash digest_a, digest_b;

	if (!copy) {
		ledger_apply(h->ledger, &l->entry, &l->report, &a, NULL);
		return;
	}
	ledger_judge(h->ledger, l->entry.accepted_ms, &l->report, &a);
	ledger_judge(copy, l->entry.accepted_ms, &l->report, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(ledger_stops_at(h->ledger, &l->entry, &l->report),
			 ledger_stops_at(copy, &l->entry, &l->report));
	assert_same_sight(apply(h->ledger, l, &a), apply(copy, l, &b));
	assert_memory_equal(&a, &b, sizeof(a));
	ledger_place(h->ledger, &place_a);
	ledger_place(copy, &place_b);
	assert_memory_equal(&place_a, &place_b, sizeof(place_a));
	ledger_digest(h->ledger, &digest_a);
	ledger_digest(copy, &digest_b);
	assert_memory_equal(&digest_a, &digest_b, sizeof(digest_a));

	uint64_t now = ledger_time_ms(h->ledger), later = now + any_duration(h);

	assert_int_equal(now, ledger_time_ms(copy));
	assert_same_sight(look(h->ledger, now), look(copy, now));
	assert_same_sight(look(h->ledger, later), look(copy, later));
}

static void history_run(uint64_t seed)
{
	struct history *h = kban_zalloc(sizeof(*h));
	struct ledger *copy = NULL;

	h->chance.state = seed * 0x9e3779b97f4a7c15 + 1;
	h->clock = 1700000000000 + below(&h->chance, LEDGER_DAY_MS);
	ledger_new(&h->ledger, &pairs[0].sign_public);
	set_limits(h);
	while (h->lines_n < ENTRIES) {
		if (h->lines_n < 2)
			first_line(h);
		else
			next_line(h);
		if (one_in(&h->chance, EVERY))
			load_and_replace(h, &copy);
		fold_both(h, copy);
	}
	ledger_free(copy);
	ledger_free(h->ledger);
	free(h);
}

static uint64_t running_seed; /* 0: none */

static int name_the_seed(void **state)
{
	(void)state;
	if (running_seed)
		print_message("failed with seed %" PRIu64 "\n", running_seed);
	return 0;
}

static void a_loaded_ledger_goes_on_as_the_one_that_was_written(void **state)
{
	(void)state;
	print_message("seeds %" PRIu64 " to %" PRIu64 "\n", first_seed, first_seed + histories - 1);
	for (running_seed = first_seed; running_seed < first_seed + histories; running_seed++)
		history_run(running_seed);
	running_seed = 0;
}

/* Damage ------------------------------------------------------------------------------------- */

/* The ledger at the end of a history, as items. */
static struct items some_items(uint64_t seed)
{
	struct history *h = kban_zalloc(sizeof(*h));
	struct items s;

	h->chance.state = seed;
	h->clock = 1700000000000;
	ledger_new(&h->ledger, &pairs[0].sign_public);
	while (h->lines_n < ENTRIES) {
		if (h->lines_n < 2)
			first_line(h);
		else
			next_line(h);
		fold_both(h, NULL);
	}
	s = items_of(h->ledger);
	ledger_free(h->ledger);
	free(h);
	return s;
}

/* What is accepted is written as it was read. */
static int try_items(const struct items *s)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	int r = items_load(s, &pairs[0].sign_public, &l, NULL);

	if (r)
		return r;

	struct items again = items_of(l);

	assert_true(items_equal(s, &again));
	items_free(&again);
	return 0;
}

static void any_flipped_bit_is_refused_by_the_digest_or_before(void **state)
{
	struct items s = some_items(7);
	uint64_t accepted = 0, tried = 0;

	(void)state;
	assert_int_equal(try_items(&s), 0);
	for (size_t i = 0; i < s.n; i++)
		for (size_t bit = 0; bit < 8 * s.v[i].n; bit += 1 + i % 3) {
			bool in_place = i == 0 && bit >= 8 * (1 + 1 + 8 + 4) &&
					bit < 8 * (1 + 1 + 8 + 4 + 8 + 32);

			s.v[i].b[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (!in_place) /* seq and chain are in the heartbeat beside the digest */
				assert_int_not_equal(try_items(&s), 0);
			items_seal(&s);
			accepted += !try_items(&s);
			tried++;
			s.v[i].b[bit / 8] ^= (uint8_t)(1 << bit % 8);
			items_seal(&s);
		}
	print_message("%" PRIu64 " of %" PRIu64 " lies have a form that a fold can reach\n",
		      accepted, tried);
	assert_int_equal(try_items(&s), 0);
	items_free(&s);
}

static void an_item_left_out_twice_or_elsewhere_is_refused(void **state)
{
	struct items s = some_items(7);
	struct ledger *l = NULL;

	(void)state;
	for (size_t i = 0; i < s.n; i++) {
		struct item taken = s.v[i];

		items_remove(&s, i);
		assert_int_not_equal(items_load(&s, &pairs[0].sign_public, &l, NULL), 0);
		for (size_t at = 0; at <= s.n; at += 1 + at % 3) { /* sealed: the order alone */
			items_insert(&s, at, taken);
			items_seal(&s);
			if (at != i)
				/* brokers have no order but that of their making */
				assert_true(taken.b[0] == ITEM_BROKER || try_items(&s));
			items_remove(&s, at);
		}
		items_insert(&s, i, taken);
		items_insert(&s, i, taken);
		items_seal(&s);
		assert_int_equal(try_items(&s), SNAPSHOT_DAMAGED);
		items_remove(&s, i);
		items_seal(&s);
	}
	assert_int_equal(try_items(&s), 0);
	items_free(&s);
}

static void a_cut_or_longer_item_is_refused(void **state)
{
	struct items s = some_items(7);

	(void)state;
	for (size_t i = 0; i < s.n; i++)
		for (size_t n = 0; n <= s.v[i].n + 1; n++) {
			struct item whole = s.v[i];

			s.v[i].b[whole.n] = 0;
			s.v[i].n = n;
			if (i)
				items_seal(&s);
			assert_int_equal(try_items(&s), n == whole.n ? 0 : SNAPSHOT_DAMAGED);
			s.v[i] = whole;
		}
	items_free(&s);
}

static void another_root_a_newer_format_and_a_newer_fold_have_names(void **state)
{
	struct items s = some_items(7);
	struct ledger *l = NULL;
	struct ledger_header header;
	size_t i = items_find(&s, ITEM_VERSIONS, 0);
	struct item_row row = items_row(&s, i);
	const char *why;

	(void)state;
	assert_int_equal(items_load(&s, &pairs[1].sign_public, &l, &why), SNAPSHOT_OTHER_ROOT);
	assert_non_null(why);
	row.versions.fold_version = kban_fold_newest + 1;
	row.versions.fold_version_seq = 1;
	items_set(&s, i, &row);
	items_seal(&s);
	assert_int_equal(items_load(&s, &pairs[0].sign_public, &l, NULL), SNAPSHOT_NEWER);
	assert_int_equal(ledger_header_read(&header, kban_span(s.v[0].b, s.v[0].n)), 0);
	s.v[0].b[1] = LEDGER_STATE_FORMAT + 1;
	s.v[0].b[s.v[0].n++] = 1; /* whatever it may hold */
	assert_int_equal(items_load(&s, &pairs[0].sign_public, &l, NULL), SNAPSHOT_NEWER);
	assert_int_equal(ledger_header_read(&header, kban_span(s.v[0].b, s.v[0].n)),
			 SNAPSHOT_NEWER);
	assert_null(l);
	items_free(&s);
}

static void the_empty_ledger_is_a_state_too(void **state)
{
	kban_auto(ledger_free) struct ledger *l = NULL, *again = NULL;
	struct kban_place a, b;
	struct items s;

	(void)state;
	ledger_new(&l, &pairs[0].sign_public);
	s = items_of(l);
	assert_int_equal(items_load(&s, &pairs[0].sign_public, &again, NULL), 0);
	ledger_place(l, &a);
	ledger_place(again, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	items_free(&s);
}

static void nothing_and_a_header_alone_are_refused(void **state)
{
	struct items s = some_items(7);
	struct ledger *l = NULL;

	(void)state;
	/* as far as form goes, what comes after the time needn't be there */
	for (size_t n = items_find(&s, ITEM_TIME, 0) + 1; n; n--) {
		while (s.n >= n)
			items_remove(&s, s.n - 1);
		items_seal(&s);
		assert_int_equal(items_load(&s, &pairs[0].sign_public, &l, NULL), SNAPSHOT_DAMAGED);
	}
	items_free(&s);
}

/* -------------------------------------------------------------------------------------------- */

/* Each seed: items, each u16 length and bytes. */
static int write_corpus(const char *folder)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct items s = some_items(seed);
		char path[4096];

		snprintf(path, sizeof(path), "%s/state-%" PRIu64, folder, seed);

		FILE *f = fopen(path, "wb");

		if (!f)
			return 1;
		for (size_t i = 0; i < s.n; i++) {
			uint8_t n[2] = {(uint8_t)(s.v[i].n >> 8), (uint8_t)s.v[i].n};

			fwrite(n, 1, sizeof(n), f);
			fwrite(s.v[i].b, 1, s.v[i].n, f);
		}
		fclose(f);
		items_free(&s);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_loaded_ledger_goes_on_as_the_one_that_was_written,
					  name_the_seed),
		cmocka_unit_test(any_flipped_bit_is_refused_by_the_digest_or_before),
		cmocka_unit_test(an_item_left_out_twice_or_elsewhere_is_refused),
		cmocka_unit_test(a_cut_or_longer_item_is_refused),
		cmocka_unit_test(another_root_a_newer_format_and_a_newer_fold_have_names),
		cmocka_unit_test(the_empty_ledger_is_a_state_too),
		cmocka_unit_test(nothing_and_a_header_alone_are_refused),
	};
	const char *seed = argc > 1 ? argv[1] : getenv("KBAN_SEED");

	kban_crypto_setup();
	pools_fill();
	if (argc > 2 && !strcmp(argv[1], "corpus"))
		return write_corpus(argv[2]);
	if (seed)
		first_seed = strtoull(seed, NULL, 10);
	histories = argc > 2 ? strtoull(argv[2], NULL, 10) : seed ? 1 : HISTORIES;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
