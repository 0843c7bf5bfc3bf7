/* SPDX-License-Identifier: MPL-2.0
 *
 * The test vectors at the end of LEDGER.md: a small log with real signatures, and what the ledger
 * is after each entry, and the items of the last state. vectors_ledger.txt was written by this program (test_ledger_vectors write)
 * and is checked by it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "store/test/fleet.h"
#include "store/test/items.h"

#define VECTORS	  SOURCE_DIR "/store/test/vectors_ledger.txt"
#define LINE_SIZE 4096
#define HEX_SIZE  3000

enum author { V_ROOT, V_ALICE, V_MAIL1, V_GUEST, V_MAIL2, V_AUTHORS };

struct log {
	struct ledger *ledger;
	struct kban_keypair keys[V_AUTHORS];
	uint64_t counters[V_AUTHORS];
	FILE *file;
	bool writing;
	size_t lines;
};

struct vector {
	uint64_t accepted_ms;
	enum author author;
	struct kban_event events[3];
	size_t n;
};

static struct kban_event grant_event(const struct log *l, enum author who, enum kban_role role,
				     const char *name)
{
	struct kban_event e = {.kind = KBAN_EVENT_GRANT};

	e.grant = (struct kban_event_grant){l->keys[who].sign_public, l->keys[who].curve_public,
					    role, kban_text(name)};
	return e;
}

static struct kban_event invite_event(const struct log *l)
{
	struct kban_event e = {.kind = KBAN_EVENT_INVITE};
	const struct kban_keypair *k = &l->keys[V_GUEST];

	e.invite = (struct kban_event_invite){k->sign_public, k->curve_public, KBAN_ROLE_NODE,
					      kban_text("mail2"), HOUR};
	return e;
}

static struct kban_event guest_join_event(const struct log *l)
{
	struct kban_event e = {.kind = KBAN_EVENT_JOIN};

	kban_join_prove(&e.join, &l->keys[V_MAIL2], ledger_cluster(l->ledger),
			&l->keys[V_GUEST].sign_public);
	return e;
}

static struct kban_event broker_event(void)
{
	static struct kban_prefix address;
	struct kban_event e = {.kind = KBAN_EVENT_BROKER_ADDRESS};

	address = P("203.0.113.5");
	e.broker_address.curve.b[31] = 9;
	e.broker_address.endpoint = kban_text("tcp://203.0.113.5:7400");
	e.broker_address.addresses_n = 1;
	e.broker_address.addresses = &address;
	return e;
}

/* One line: seq, accepted_at, report || signature, report hash, chain, digest, outcomes. */
static void format_line(const struct log *l, char out[LINE_SIZE], const struct kban_entry *entry,
			const struct kban_report *r, const struct ledger_verdict *v)
{
	char sealed[HEX_SIZE], hash[65], chain[65], digest[65];
	struct kban_place place;
	struct kban_hash d;

	assert_true(KBAN_HEX(entry->sealed.report_len + KBAN_SIGNATURE_SIZE) <= HEX_SIZE);
	ledger_place(l->ledger, &place);
	ledger_digest(l->ledger, &d);
	kban_hex(sealed, entry->sealed.report, entry->sealed.report_len);
	kban_hex(sealed + 2 * entry->sealed.report_len, entry->sealed.signature,
		 KBAN_SIGNATURE_SIZE);

	int n = snprintf(out, LINE_SIZE, "%" PRIu64 " %" PRIu64 " %s %s %s %s", entry->seq,
			 entry->accepted_ms, sealed, kban_hex(hash, r->hash.b, sizeof(r->hash)),
			 kban_hex(chain, place.chain.b, sizeof(place.chain)),
			 kban_hex(digest, d.b, sizeof(d)));

	for (size_t i = 0; i < v->outcomes_n; i++)
		n += snprintf(out + n, LINE_SIZE - (size_t)n, "%c%s", i ? ',' : ' ',
			      kban_outcome_name(v->outcomes[i]));
	snprintf(out + n, LINE_SIZE - (size_t)n, "\n");
}

static void next_line(FILE *file, char out[LINE_SIZE])
{
	do
		assert_non_null(fgets(out, LINE_SIZE, file));
	while (out[0] == '#');
}

static void write_or_check(struct log *l, const char *line)
{
	char expected[LINE_SIZE];

	l->lines++;
	if (l->writing) {
		assert_true(fputs(line, l->file) >= 0);
		return;
	}
	next_line(l->file, expected);
	assert_string_equal(line, expected);
}

/* Seals the report, and folds what decoding its bytes gives. */
static void log_add(struct log *l, const struct vector *vector)
{
	struct kban_event events[3];
	struct kban_report r = {
		.cluster = *ledger_cluster(l->ledger), .events = events, .events_n = vector->n};
	struct kban_entry entry = {.accepted_ms = vector->accepted_ms};
	kban_auto(kban_report_free) struct kban_report *decoded = NULL;
	struct ledger_verdict v;
	struct kban_place place;
	char line[LINE_SIZE];
	uint8_t *bytes;

	memcpy(events, vector->events, sizeof(events));
	ledger_place(l->ledger, &place);
	r.base = (struct kban_base){place.epoch, place.seq};
	r.counter = ++l->counters[vector->author];
	r.issued_ms = vector->accepted_ms;
	assert_int_equal(kban_report_seal(&r, &l->keys[vector->author], &bytes, &entry.sealed), 0);
	assert_int_equal(kban_report_decode(&decoded, &entry.sealed), 0);
	assert_true(kban_report_check(decoded, &entry.sealed));
	entry.seq = place.seq + 1;
	ledger_apply(l->ledger, &entry, decoded, &v, NULL);
	assert_int_equal(v.refusal, KBAN_REFUSAL_NONE);
	format_line(l, line, &entry, decoded, &v);
	write_or_check(l, line);
	free(bytes);
}

#define T0 1700000000000ULL

static void log_write_or_check(struct log *l)
{
	const struct vector vectors[] = {
		{T0,
		 V_ROOT,
		 {grant_event(l, V_ALICE, KBAN_ROLE_OPERATOR, "alice"), broker_event()},
		 2},
		{T0 + 1, V_ROOT, {grant_event(l, V_MAIL1, KBAN_ROLE_NODE, "mail1")}, 1},
		{T0 + 2, V_ALICE, {invite_event(l)}, 1},
		{T0 + 1000, V_GUEST, {guest_join_event(l)}, 1},
		{T0 + 2000,
		 V_MAIL1,
		 {BAN("192.0.2.1", 300000), BAN("2001:db8:1:2::/64", 300000),
		  BAN("203.0.113.5", 1)},
		 3},
		{T0 + 1500, V_MAIL2, {BAN("192.0.2.1", 600000), BAN("192.0.2.77", 0)}, 2},
		{T0 + 3000, V_MAIL2, {SAFE("192.0.2.0/24", 0), SAFE("198.51.100.7", HOUR)}, 2},
		{T0 + 4000,
		 V_ALICE,
		 {APPROVE_KEY("192.0.2.0/24", l->keys[V_MAIL2].sign_public)},
		 1},
		{T0 + 5000, V_ALICE, {UNBAN("2001:db8:1::/48", .covering = true)}, 1},
		{T0 + 6000, V_ALICE, {POLICY(to->quota_per_hour = 3; to->repeat_percent = 200)}, 1},
		{T0 + 7000, V_MAIL1, {BAN("198.51.100.99", 60000), BAN("198.51.100.98", 60000)}, 2},
		{T0 + 3 * DAY, V_ALICE, {EPOCH(2), REVOKE_KEY(l->keys[V_MAIL1].sign_public)}, 2},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(vectors); i++)
		log_add(l, &vectors[i]);
}

static void log_open(struct log *l, bool writing)
{
	for (uint8_t i = 0; i < V_AUTHORS; i++) {
		uint8_t seed[32];

		memset(seed, i + 1, sizeof(seed));
		kban_keypair_from_seed(&l->keys[i], seed);
	}
	ledger_new(&l->ledger, &l->keys[V_ROOT].sign_public);
	l->writing = writing;
	l->file = fopen(VECTORS, writing ? "w" : "r");
	assert_non_null(l->file);
}

static void log_close(struct log *l)
{
	assert_int_equal(fclose(l->file), 0);
	ledger_free(l->ledger);
}

/* Entry 0: the empty ledger. */
static void write_or_check_start(struct log *l)
{
	char line[LINE_SIZE], chain[65], digest[65];
	struct kban_place place;
	struct kban_hash d;

	if (l->writing)
		fputs("# seq accepted_at report||signature report-hash chain digest outcomes\n",
		      l->file);
	ledger_place(l->ledger, &place);
	ledger_digest(l->ledger, &d);
	snprintf(line, sizeof(line), "0 0 - - %s %s\n",
		 kban_hex(chain, place.chain.b, sizeof(place.chain)),
		 kban_hex(digest, d.b, sizeof(d)));
	write_or_check(l, line);
}

/* The last state as items, which are read back. */
static void write_or_check_items(struct log *l)
{
	struct items s = items_of(l->ledger);
	kban_auto(ledger_free) struct ledger *again = NULL;
	char line[LINE_SIZE], hex[KBAN_HEX(LEDGER_ITEM_MAX)];

	for (size_t i = 0; i < s.n; i++) {
		snprintf(line, sizeof(line), "item %s\n", kban_hex(hex, s.v[i].b, s.v[i].n));
		write_or_check(l, line);
	}
	assert_int_equal(items_load(&s, &l->keys[V_ROOT].sign_public, &again, NULL), 0);
	items_free(&s);
}

static void the_vectors_fold_as_written(void **state)
{
	struct log l = {0};

	log_open(&l, *state);
	write_or_check_start(&l);
	log_write_or_check(&l);
	assert_int_equal(l.lines, 13);
	write_or_check_items(&l);
	log_close(&l);
}

int main(int argc, char **argv)
{
	bool writing = argc > 1 && !strcmp(argv[1], "write");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(the_vectors_fold_as_written, writing ? argv : NULL),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
