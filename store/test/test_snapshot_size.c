/* SPDX-License-Identifier: MPL-2.0
 *
 * How large a state is, how long it takes to write and read, and how much it keeps of the log:
 * test_snapshot_size [BANS], default 20000.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "store/test/items.h"

static struct kban_keypair keys[2]; /* the root, a node */
static const struct kban_prefix address = {KBAN_IPV4, 32, {192, 0, 2, 1}};

static size_t many = 20000;

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fold_one(struct ledger *l, size_t author, uint64_t counter, uint64_t ms,
		     struct kban_event *events, size_t n)
{
	struct kban_place place;
	struct kban_report r = {.author = keys[author].sign_public,
				.counter = counter,
				.cluster = *ledger_cluster(l),
				.base = {.epoch = 1},
				.events = events,
				.events_n = n};
	struct kban_entry entry = {.accepted_ms = 1700000000000 + ms};

	ledger_place(l, &place);
	entry.seq = place.seq + 1;
	r.base.seq = place.seq;
	ledger_apply(l, &entry, &r, NULL, NULL);
}

static void fold_grant(struct ledger *l)
{
	struct kban_event e = {.kind = KBAN_EVENT_GRANT};

	e.grant = (struct kban_event_grant){keys[1].sign_public, keys[1].curve_public,
					    KBAN_ROLE_NODE, kban_text("mail1")};
	fold_one(l, 0, 1, 0, &e, 1);
}

static void fold_many(struct ledger *l)
{
	struct kban_event e[100];
	uint64_t counter = 0;

	fold_grant(l);
	l->policy.quota_per_hour = UINT32_MAX; /* not this test's question */
	for (size_t i = 0; i < many; i += 100) {
		for (size_t n = 0; n < 100; n++) {
			uint32_t a = 0x10000000 | (uint32_t)(i + n) * 2654435761U >> 4;

			e[n] = (struct kban_event){.kind = KBAN_EVENT_BAN};
			e[n].ban.prefix = (struct kban_prefix){
				KBAN_IPV4, 32, {a >> 24, a >> 16, a >> 8, a}};
			e[n].ban.duration_ms = LEDGER_DAY_MS;
		}
		counter++;
		fold_one(l, 1, counter, counter, e, 100);
	}
	l->policy.quota_per_hour = ledger_policy_default.quota_per_hour;
}

/* Every ban of him is a strike on top of all those before, for as long as he goes on. */
static void an_attacker_who_never_stops_leaves_few_reports_to_keep(void **state)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct kban_event e = {.kind = KBAN_EVENT_BAN};
	uint64_t counter = 0, *seqs;
	size_t n;

	(void)state;
	ledger_new(&l, &keys[0].sign_public);
	fold_grant(l);
	e.ban.prefix = address;
	e.ban.duration_ms = 5 * 60000;
	for (; counter < 12 * 24 * 90; counter++) /* each begins when the one before ends */
		fold_one(l, 1, counter + 1, counter * e.ban.duration_ms, &e, 1);
	assert_int_equal(ledger_strikes(l, &address, ledger_time_ms(l), NULL), counter);
	ledger_evidence_seqs(l, &seqs, &n);
	print_message("%" PRIu64 " bans, %zu reports kept\n", counter, n);
	assert_true(n <= 64 + 2); /* the newest records; root's and the node's newest */
	free(seqs);
}

static int count_bytes(void *arg, struct kban_span item)
{
	*(size_t *)arg += item.n;
	return 0;
}

static void many_bans_go_out_and_in(void **state)
{
	kban_auto(ledger_free) struct ledger *l = NULL, *again = NULL;
	kban_auto(ledger_proof_free) struct ledger_proof *proof = NULL;
	struct items s;
	struct kban_hash a, b;
	size_t bytes = 0;

	(void)state;
	ledger_new(&l, &keys[0].sign_public);
	fold_many(l);

	double start = cpu_seconds();

	ledger_items_each(l, count_bytes, &bytes);

	double out = cpu_seconds();

	s = items_of(l);

	double kept = cpu_seconds();

	assert_int_equal(items_load(&s, &keys[0].sign_public, &again, NULL), 0);

	double in = cpu_seconds();

	ledger_proof_new(&proof, again);
	print_message(
		"%zu bans: %zu items, %zu bytes; out %.2f s, in %.2f s, list of claims %.2f s "
		"of CPU\n",
		many, s.n, bytes, out - start, in - kept, cpu_seconds() - in);
	ledger_digest(l, &a);
	ledger_digest(again, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	items_free(&s);
}

/* Before any evidence was asked for: as many owners as there may be have a held range of one prefix,
 * and inside it are bans. */
#define OWNERS 65000U

static void crowd(struct ledger *l, const struct kban_prefix *p)
{
	for (uint32_t i = 1; i <= OWNERS; i++) {
		struct ledger_principal owner = {.role = KBAN_ROLE_NODE,
						 .granted_seq = 1,
						 .granted_index = 0};
		struct ledger_safe range = {.prefix = *p, .state = LEDGER_SAFE_HELD, .seq = i + 2};
		struct kban_hash keys_of[2];
		uint8_t salt = 0;

		for (size_t k = 0; k < 2; k++, salt++) {
			struct kban_span parts[] = {kban_span(&i, sizeof(i)), kban_span(&salt, 1)};

			kban_hash_spans(&keys_of[k], "owner", parts, 2);
		}
		memcpy(&owner.key, &keys_of[0], sizeof(owner.key));
		memcpy(&owner.curve, &keys_of[1], sizeof(owner.curve));
		snprintf(owner.name, sizeof(owner.name), "n%u", i);
		owner.granted_seq = i + 1;
		range.owner = &principal_add(l, &owner)->pub;
		range.until_ms = i % 2 ? l->time_ms + i : 0;
		safe_add(l, &range);
	}
}

struct stream {
	struct ledger_loading *loading;
	const char *why;
};

static int load_one(void *arg, struct kban_span item)
{
	struct stream *s = arg;
	int r = ledger_loading_item(s->loading, item);

	s->why = r ? ledger_loading_why(s->loading) : NULL;
	return r;
}

static void a_prefix_with_as_many_owners_as_there_may_be_is_read_in_seconds(void **state)
{
	static const struct kban_prefix wide = {KBAN_IPV4, 3, {0}};
	kban_auto(ledger_free) struct ledger *l = NULL, *again = NULL;
	kban_auto(ledger_loading_free) struct ledger_loading *loading = NULL;

	(void)state;
	ledger_new(&l, &keys[0].sign_public);
	fold_many(l);
	l->place.seq = OWNERS + many + 2; /* as if each had come in an entry of its own */
	crowd(l, &wide);
	ledger_loading_new(&loading, &keys[0].sign_public);

	struct stream s = {loading, NULL};
	double start = cpu_seconds();
	int r = ledger_items_each(l, load_one, &s);

	if (r)
		fail_msg("%s", s.why);
	assert_int_equal(ledger_loading_end(loading, &again), 0);
	print_message("%u owners of one prefix, %zu bans inside: in %.2f s of CPU\n", OWNERS, many,
		      cpu_seconds() - start);
	assert_true(cpu_seconds() - start < 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_attacker_who_never_stops_leaves_few_reports_to_keep),
		cmocka_unit_test(many_bans_go_out_and_in),
		cmocka_unit_test(
			a_prefix_with_as_many_owners_as_there_may_be_is_read_in_seconds),
	};

	kban_crypto_setup();
	for (uint8_t i = 0; i < KBAN_ARRAY_LEN(keys); i++)
		kban_keypair_from_seed(&keys[i], (const uint8_t[32]){i, 's'});
	if (argc > 1)
		many = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
