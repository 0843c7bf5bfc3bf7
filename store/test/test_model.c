/* SPDX-License-Identifier: MPL-2.0
 *
 * Random histories, folded by the ledger and by the model: equal outcomes, digests and lookups
 * after every entry. test_model [SEED [HISTORIES]], or KBAN_SEED; the seed of a history that fails
 * is printed and replays it alone.
 */
#include <inttypes.h>
#include <stdio.h>

#include "store/test/history.h"
#include "store/test/model.c" /* one test is one file to the build */

#define HISTORIES 300

static uint64_t first_seed = 1;
static size_t histories = HISTORIES;

/* Comparing ---------------------------------------------------------------------------------- */

static void seen_ban(void *arg, const struct kban_prefix *p)
{
	struct history *h = arg;

	assert_true(h->bans.n < KBAN_ARRAY_LEN(h->bans.v));
	h->bans.v[h->bans.n++] = *p;
}

static void seen_safe(void *arg, const struct kban_prefix *p)
{
	struct history *h = arg;

	assert_true(h->safes.n < KBAN_ARRAY_LEN(h->safes.v));
	h->safes.v[h->safes.n++] = *p;
}

static bool was_seen(const struct seen *s, const struct kban_prefix *p, bool inside)
{
	for (size_t i = 0; i < s->n; i++)
		if (inside ? kban_prefix_covers(&s->v[i], p) : kban_prefix_equal(&s->v[i], p))
			return true;
	return false;
}

struct snapshot { /* of what a node enforces */
	uint64_t until[PREFIXES];
	bool safe[PREFIXES][KNOWN + 1];
};

static void snapshot_take(const struct ledger *l, uint64_t now, struct snapshot *s)
{
	for (size_t i = 0; i < PREFIXES; i++) {
		s->until[i] = ledger_ban_until(l, &prefixes[i], now);
		for (size_t k = 0; k <= KNOWN; k++)
			s->safe[i][k] = ledger_safe_for(l, &prefixes[i], now,
							k ? &pairs[k].sign_public : NULL);
	}
}

static void assert_observed(const struct history *h, const struct snapshot *before,
			    const struct snapshot *after)
{
	for (size_t i = 0; i < PREFIXES; i++) {
		if (before->until[i] != after->until[i])
			assert_true(was_seen(&h->bans, &prefixes[i], true));
		if (memcmp(before->safe[i], after->safe[i], sizeof(after->safe[i])))
			assert_true(was_seen(&h->safes, &prefixes[i], false));
	}
}

static void assert_same_verdict(const struct ledger_verdict *a, const struct ledger_verdict *b)
{
	assert_int_equal(a->refusal, b->refusal);
	assert_int_equal(a->duplicate_seq, b->duplicate_seq);
	assert_int_equal(a->outcomes_n, b->outcomes_n);
	assert_memory_equal(a->outcomes, b->outcomes, sizeof(a->outcomes));
	assert_int_equal(a->loggable, b->loggable);
}

/* What was judged on the unchanged state holds up to the first event that changes it. */
static void assert_judged_well(const struct ledger_verdict *judged,
			       const struct ledger_verdict *folded)
{
	assert_int_equal(judged->refusal, folded->refusal);
	assert_int_equal(judged->duplicate_seq, folded->duplicate_seq);
	assert_int_equal(judged->outcomes_n, folded->outcomes_n);
	assert_int_equal(judged->loggable, folded->loggable);
	for (size_t i = 0; i < folded->outcomes_n; i++) {
		assert_int_equal(judged->outcomes[i], folded->outcomes[i]);
		if (folded->outcomes[i] == KBAN_OUTCOME_OVER_QUOTA ||
		    kban_outcome_counts(folded->outcomes[i]))
			break;
	}
}

struct count {
	const struct history *h;
	struct kban_prefix last;
	uint64_t now, n;
};

static int count_ban(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	struct count *c = arg;

	assert_true(!c->n || kban_prefix_cmp(&c->last, p) < 0);
	assert_int_equal(until_ms, model_ban_until(c->h->model, p, c->now));
	c->last = *p;
	c->n++;
	return 0;
}

static void assert_same_prefix_lookups(const struct history *h, const struct kban_prefix *p,
				       uint64_t now)
{
	struct kban_prefix narrowest = {0};
	uint64_t until = 0, expected = 0;

	assert_int_equal(ledger_ban_until(h->ledger, p, now), model_ban_until(h->model, p, now));
	for (size_t k = 0; k <= KNOWN; k++) {
		const struct kban_key *node = k ? &pairs[k].sign_public : NULL;

		assert_int_equal(ledger_safe_covers(h->ledger, p, now, node),
				 model_safe_covers(h->model, p, now, node));
	}
	for (int len = p->len; len >= 0 && !expected; len--) {
		narrowest = kban_prefix_mask(p, (unsigned)len);
		expected = model_ban_until(h->model, &narrowest, now);
	}

	struct kban_prefix found = {0};

	assert_int_equal(ledger_ban_covering(h->ledger, p, now, &found, &until), !!expected);
	assert_int_equal(until, expected);
	if (expected)
		assert_true(kban_prefix_equal(&found, &narrowest));
}

static void assert_same_lookups(const struct history *h, uint64_t now)
{
	struct count c = {.h = h, .now = now};

	for (size_t i = 0; i < PREFIXES; i++)
		assert_same_prefix_lookups(h, &prefixes[i], now);
	assert_false(model_contradicts(h->model, now));
	assert_int_equal(ledger_bans_count(h->ledger, now), model_bans_count(h->model, now));
	assert_int_equal(ledger_bans_each(h->ledger, now, NULL, NULL, count_ban, &c), 0);
	assert_int_equal(c.n, model_bans_count(h->model, now));

	uint64_t next = ledger_next_end(h->ledger, now);

	assert_true(next > now && next <= model_next_end(h->model, now));
}

static void assert_same_state(struct history *h)
{
	struct kban_hash a, b;

	assert_int_equal(ledger_time_ms(h->ledger), model_time(h->model));
	ledger_digest(h->ledger, &a);
	model_digest(h->model, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(ledger_history_start(h->ledger), model_history_start(h->model));
	for (size_t i = 0; i < PREFIXES; i++) {
		uint64_t end = 0;

		assert_int_equal(ledger_unbanned_seq(h->ledger, &prefixes[i]),
				 model_unbanned_seq(h->model, &prefixes[i]));
		assert_int_equal(ledger_strikes(h->ledger, &prefixes[i], model_time(h->model), &end),
				 model_strikes(h->model, &prefixes[i]));
	}
	if (h->lines_n % 4) /* they take the most time */
		return;
	assert_same_lookups(h, model_time(h->model));
	assert_same_lookups(h, model_time(h->model) + any_duration(h));
}

struct told { /* the unbans of a history; a table that was full forgets for another reason */
	size_t n;
	struct {
		struct kban_prefix prefix;
		uint64_t seq;
	} v[ENTRIES * EVENTS_MAX];
	uint64_t start;
};

static void told_add(struct told *t, const struct history *h, const struct ledger_verdict *v)
{
	const struct line *l = &h->lines[h->lines_n - 1];
	const struct ledger_principal *p = ledger_principal(h->ledger, &l->report.author);

	for (size_t i = 0; i < v->outcomes_n; i++) {
		if (l->events[i].kind != KBAN_EVENT_UNBAN || p->role != KBAN_ROLE_OPERATOR)
			continue;
		t->v[t->n].prefix = l->events[i].unban.prefix;
		t->v[t->n++].seq = l->entry.seq;
	}
}

/* An unban is forgotten only when every base from before it is late, and late bases stay late. */
static void assert_forgotten_is_late(struct told *t, const struct history *h,
				     const struct ledger_verdict *v)
{
	uint64_t start = ledger_history_start(h->ledger);

	if (h->limits.unbans < ENTRIES)
		return;
	told_add(t, h, v);
	for (size_t i = 0; i < t->n; i++)
		assert_true(ledger_unbanned_seq(h->ledger, &t->v[i].prefix) >= t->v[i].seq ||
			    start > t->v[i].seq);
	assert_true(start >= t->start);
	t->start = start;
}

static uint64_t outcome_counts[KBAN_OUTCOMES], refusal_counts[KBAN_REFUSALS];
static uint64_t joins;

static void count_line(const struct line *l, const struct ledger_verdict *v)
{
	refusal_counts[v->refusal]++;
	for (size_t i = 0; i < v->outcomes_n; i++)
		outcome_counts[v->outcomes[i]]++;
	joins += v->outcomes[0] == KBAN_OUTCOME_COUNTED && l->events[0].kind == KBAN_EVENT_JOIN;
}

static void fold_line(struct history *h, struct told *t)
{
	const struct line *l = &h->lines[h->lines_n - 1];
	struct ledger_observer o = {
		.ban = seen_ban, .lifted = seen_ban, .safe = seen_safe, .arg = h};
	struct ledger_verdict judged, folded, modelled;
	struct snapshot before, after;
	struct kban_place place;
	uint64_t now = model_time(h->model);

	ledger_place(h->ledger, &place);
	now = l->entry.accepted_ms > now ? l->entry.accepted_ms : now;
	h->bans.n = h->safes.n = 0;
	ledger_judge(h->ledger, l->entry.accepted_ms, &l->report, &judged);
	snapshot_take(h->ledger, now, &before);
	ledger_apply(h->ledger, &l->entry, &l->report, &folded, &o);
	snapshot_take(h->ledger, now, &after);
	model_apply(h->model, l->entry.seq, l->entry.accepted_ms, &l->report, &modelled);
	count_line(l, &folded);
	assert_same_verdict(&folded, &modelled);
	if (l->entry.seq == place.seq + 1)
		assert_judged_well(&judged, &folded);
	assert_observed(h, &before, &after);
	assert_same_state(h);
	assert_forgotten_is_late(t, h, &folded);
}

/* Without judging, observers or verdicts: they leave no trace. */
static void assert_second_fold(const struct history *h)
{
	kban_auto(ledger_free) struct ledger *second = NULL;
	struct kban_hash a, b;
	struct kban_place place_a, place_b;

	ledger_new(&second, &pairs[0].sign_public);
	second->limits = h->ledger->limits;
	for (size_t i = 0; i < h->lines_n; i++)
		ledger_apply(second, &h->lines[i].entry, &h->lines[i].report, NULL, NULL);
	ledger_digest(h->ledger, &a);
	ledger_digest(second, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	ledger_place(h->ledger, &place_a);
	ledger_place(second, &place_b);
	assert_int_equal(place_a.seq, place_b.seq);
	assert_memory_equal(&place_a.chain, &place_b.chain, sizeof(place_a.chain));
}

static void history_run(uint64_t seed)
{
	struct history *h = kban_zalloc(sizeof(*h));
	struct told *t = kban_zalloc(sizeof(*t));

	h->chance.state = seed * 0x9e3779b97f4a7c15;
	h->clock = 1700000000000 + below(&h->chance, LEDGER_DAY_MS);
	ledger_new(&h->ledger, &pairs[0].sign_public);
	set_limits(h);
	model_new(&h->model, &pairs[0].sign_public, &h->limits);
	while (h->lines_n < ENTRIES) {
		if (h->lines_n < 2)
			first_line(h);
		else
			next_line(h);
		fold_line(h, t);
	}
	assert_second_fold(h);
	ledger_free(h->ledger);
	model_free(h->model);
	free(t);
	free(h);
}

static uint64_t running_seed; /* 0: none */

static void ledger_and_model_agree_after_every_entry(void **state)
{
	(void)state;
	print_message("seeds %" PRIu64 " to %" PRIu64 "\n", first_seed, first_seed + histories - 1);
	for (running_seed = first_seed; running_seed < first_seed + histories; running_seed++)
		history_run(running_seed);
	running_seed = 0;
}

static int name_the_seed(void **state)
{
	(void)state;
	if (running_seed)
		print_message("failed with seed %" PRIu64 "\n", running_seed);
	return 0;
}

/* A history that never meets a case says nothing about it. */
static void histories_meet_every_outcome_and_refusal(void **state)
{
	(void)state;
	if (histories < HISTORIES)
		skip();
	for (unsigned o = 1; o < KBAN_OUTCOMES; o++) {
		print_message("%-12s %" PRIu64 "\n", kban_outcome_name(o), outcome_counts[o]);
		assert_true(outcome_counts[o]);
	}
	print_message("%-12s %" PRIu64 "\n", "joins", joins);
	assert_true(joins);
	for (unsigned r = KBAN_REFUSAL_WRONG_CLUSTER; r <= KBAN_REFUSAL_ON_HOLD; r++) {
		print_message("%-16s %" PRIu64 "\n", kban_refusal_name(r), refusal_counts[r]);
		assert_true(refusal_counts[r] || r == KBAN_REFUSAL_NOT_YOURS);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(ledger_and_model_agree_after_every_entry, name_the_seed),
		cmocka_unit_test(histories_meet_every_outcome_and_refusal),
	};
	const char *seed = argc > 1 ? argv[1] : getenv("KBAN_SEED");

	kban_crypto_setup();
	pools_fill();
	if (seed)
		first_seed = strtoull(seed, NULL, 10);
	histories = argc > 2 ? strtoull(argv[2], NULL, 10) : seed ? 1 : HISTORIES;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
