/* SPDX-License-Identifier: MPL-2.0
 *
 * Test part: a fleet's past. Makes the log that a broker would have after months, with the real
 * keys of a cluster that `kbanctl init` made: the genesis entry, every node's invitation and join,
 * a safe range and a long ban by the operator, and then short bans by the nodes in turn, spread
 * evenly up to now. Real programs are then started on it. Optionally also nodes' replicas of its
 * first part: servers that were switched off since then.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/genesis.h"
#include "proto/identity.h"
#include "proto/log.h"
#include "store/ledger.h"
#include "store/lmdb.h"

#define NODES_MAX  64
#define REPLICAS_MAX 8
#define BATCH	   1000
#define DAY_MS	   86400000ULL
#define BAN_MS	   300000ULL
#define LONG_MS	   (366 * DAY_MS)
#define ATTACKERS  50000U /* addresses come back after so many bans */

struct author {
	struct kban_identity id;
	uint64_t counter;
};

struct replica {
	const char *folder;
	uint64_t days_ago, end_ms;
	struct store *store;
};

struct past {
	const char *keys, *broker_data;
	const char *node_files[NODES_MAX];
	uint64_t entries, days;
	struct replica replicas[REPLICAS_MAX];
	size_t replicas_n;
	struct author operator, nodes[NODES_MAX];
	size_t nodes_n;
	struct store *broker;
	struct ledger *ledger;
	uint64_t start_ms, end_ms;
	unsigned staged;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "kban-history: %s: %s\n", what, why);
	exit(1);
}

static void store_make(struct past *p, struct store **out, const char *folder)
{
	char *error = NULL;

	if (store_lmdb_open(out, folder, &p->operator.id.cluster, &error))
		die(folder, error ? error : "cannot be opened");
	store_begin(*out);
}

static void commit(struct store *s, const char *folder)
{
	if (store_commit(s))
		die(folder, store_error(s));
	store_begin(s);
}

static void stores_commit(struct past *p)
{
	commit(p->broker, p->broker_data);
	for (size_t i = 0; i < p->replicas_n; i++)
		commit(p->replicas[i].store, p->replicas[i].folder);
}

/* The next entry, which must count. */
static void past_append(struct past *p, const struct kban_sealed *s, uint64_t at_ms)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct ledger_verdict v;
	struct kban_place place;

	if (kban_report_decode(&r, s))
		die("a report", "is malformed");
	ledger_place(p->ledger, &place);
	struct kban_entry e = {.seq = place.seq + 1, .accepted_ms = at_ms, .sealed = *s};
	ledger_apply(p->ledger, &e, r, &v, NULL);
	if (v.refusal || !v.loggable)
		die("a report is refused", v.refusal ? kban_refusal_name(v.refusal) : kban_outcome_name(v.outcomes[0]));
	ledger_place(p->ledger, &place);
	store_append(p->broker, &e, &place);
	for (size_t i = 0; i < p->replicas_n; i++)
		if (at_ms <= p->replicas[i].end_ms)
			store_append(p->replicas[i].store, &e, &place);
	if (++p->staged % BATCH == 0)
		stores_commit(p);
}

static void past_say(struct past *p, struct author *a, uint64_t at_ms, struct kban_event *events,
		     size_t n)
{
	struct kban_place place;
	struct kban_sealed sealed;
	uint8_t *bytes;

	ledger_place(p->ledger, &place);
	struct kban_report r = {
		.cluster = a->id.cluster,
		.counter = ++a->counter,
		.base = {place.epoch, place.seq},
		.issued_ms = at_ms,
		.events_n = n,
		.events = events,
	};
	if (kban_report_seal(&r, &a->id.keys, &bytes, &sealed))
		die("a report", "cannot be sealed");
	past_append(p, &sealed, at_ms);
	free(bytes);
}

static void past_genesis(struct past *p)
{
	char path[4096], *error = NULL;
	struct kban_sealed sealed;
	uint8_t *bytes;

	snprintf(path, sizeof(path), "%s/genesis.kban", p->keys);
	if (kban_genesis_load(path, &bytes, &sealed, &error))
		die(path, error);
	past_append(p, &sealed, p->start_ms);
	free(bytes);
}

static void past_join(struct past *p, struct author *node, const char *file)
{
	struct author invitation = {.id = p->operator.id};
	struct kban_identity *id = &node->id;

	kban_keypair_random(&invitation.id.keys);
	struct kban_event invite = {
		.kind = KBAN_EVENT_INVITE,
		.invite = {.key = invitation.id.keys.sign_public,
			   .curve = invitation.id.keys.curve_public,
			   .role = KBAN_ROLE_NODE,
			   .name = kban_text(id->name),
			   .duration_ms = 60000},
	};
	past_say(p, &p->operator, p->start_ms + 1, &invite, 1);
	struct kban_event join = {.kind = KBAN_EVENT_JOIN};
	kban_join_prove(&join.join, &id->keys, &id->cluster, &invitation.id.keys.sign_public);
	past_say(p, &invitation, p->start_ms + 2, &join, 1);
	if (kban_identity_save(id, file))
		die(file, "cannot be written");
}

/* What a name has beside the operator's identity. */
static void node_make(struct past *p, struct author *node, const char *name)
{
	node->id = p->operator.id;
	node->id.role = KBAN_ROLE_NODE;
	snprintf(node->id.name, sizeof(node->id.name), "%s", name);
	kban_keypair_random(&node->id.keys);
}

static struct kban_prefix prefix_of(const char *text)
{
	struct kban_prefix p;

	if (kban_prefix_parse(&p, text))
		die(text, "is no prefix");
	return p;
}

/* 10.x.y.z: the tests' own addresses lie elsewhere. */
static struct kban_prefix attacker(uint64_t i)
{
	uint32_t n = (uint32_t)(i * 2654435761U % ATTACKERS);
	struct kban_prefix p = {KBAN_IPV4, 32, {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};

	return p;
}

static void past_operator(struct past *p)
{
	struct kban_event e[] = {
		{.kind = KBAN_EVENT_SAFE_ADD,
		 .safe_add = {.prefix = prefix_of("198.51.100.0/24"), .reason = kban_text("head office")}},
		{.kind = KBAN_EVENT_BAN,
		 .ban = {.prefix = prefix_of("203.0.113.0/28"), .duration_ms = LONG_MS, .reason = kban_text("spammers")}},
	};

	past_say(p, &p->operator, p->start_ms + 3, e, KBAN_ARRAY_LEN(e));
}

static void past_bans(struct past *p)
{
	uint64_t span = p->end_ms - p->start_ms - 10;

	for (uint64_t i = 0; i < p->entries; i++) {
		uint64_t at_ms = p->start_ms + 10 + (uint64_t)((double)span * (double)i / (double)p->entries);
		struct kban_event ban = {
			.kind = KBAN_EVENT_BAN,
			.ban = {.prefix = attacker(i),
				.duration_ms = BAN_MS,
				.rule = kban_text("unknown-user"),
				.service = kban_text("smtp"),
				.server = kban_text(p->nodes[i % p->nodes_n].id.name),
				.line = kban_text("SMTP: User joe@example.com doesn't exist. Attempt from IP address 10.0.0.1."),
				.count = 10,
				.first_ms = at_ms - 9000,
				.last_ms = at_ms},
		};
		past_say(p, &p->nodes[i % p->nodes_n], at_ms, &ban, 1);
	}
}

static void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"usage: kban-history --keys FOLDER --broker-data FOLDER --entries N --days N\n"
		"                    [--replica DAYS-AGO=FOLDER]... NAME=IDENTITY-FILE...\n");
	exit(code);
}

static const struct option options[] = {
	{"keys", required_argument, NULL, 'k'},	   {"broker-data", required_argument, NULL, 'b'},
	{"entries", required_argument, NULL, 'e'}, {"days", required_argument, NULL, 'd'},
	{"replica", required_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void replica_read(struct past *p, const char *text)
{
	const char *folder = strchr(text, '=');

	if (!folder || p->replicas_n == REPLICAS_MAX)
		usage(2);
	p->replicas[p->replicas_n++] =
		(struct replica){.folder = folder + 1, .days_ago = strtoull(text, NULL, 10)};
}

static void options_read(struct past *p, int argc, char **argv)
{
	for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (o) {
		case 'k': p->keys = optarg; break;
		case 'b': p->broker_data = optarg; break;
		case 'e': p->entries = strtoull(optarg, NULL, 10); break;
		case 'd': p->days = strtoull(optarg, NULL, 10); break;
		case 'r': replica_read(p, optarg); break;
		case 'h': usage(0); break;
		default: usage(2);
		}
	}
	if (!p->keys || !p->broker_data || !p->days || optind == argc || argc - optind > NODES_MAX)
		usage(2);
}

static void nodes_read(struct past *p, int argc, char **argv)
{
	for (int i = optind; i < argc; i++) {
		char *file = strchr(argv[i], '=');
		if (!file)
			usage(2);
		*file = 0;
		p->node_files[p->nodes_n] = file + 1;
		node_make(p, &p->nodes[p->nodes_n++], argv[i]);
	}
}

int main(int argc, char **argv)
{
	struct past p = {.entries = 1000};
	char path[4096];

	kban_crypto_setup();
	options_read(&p, argc, argv);
	snprintf(path, sizeof(path), "%s/operator.id", p.keys);
	if (kban_identity_load(&p.operator.id, path, NULL))
		die(path, "cannot be read");
	nodes_read(&p, argc, argv);
	p.end_ms = kban_wall_ms(&kban_clock_system) - 1000;
	p.start_ms = p.end_ms - p.days * DAY_MS;
	ledger_new(&p.ledger, &p.operator.id.root);
	store_make(&p, &p.broker, p.broker_data);
	for (size_t i = 0; i < p.replicas_n; i++) {
		p.replicas[i].end_ms = p.end_ms - p.replicas[i].days_ago * DAY_MS;
		store_make(&p, &p.replicas[i].store, p.replicas[i].folder);
	}
	past_genesis(&p);
	for (size_t i = 0; i < p.nodes_n; i++)
		past_join(&p, &p.nodes[i], p.node_files[i]);
	past_operator(&p);
	past_bans(&p);
	stores_commit(&p);
	store_close(p.broker);
	for (size_t i = 0; i < p.replicas_n; i++)
		store_close(p.replicas[i].store);
	ledger_free(p.ledger);
	return 0;
}
