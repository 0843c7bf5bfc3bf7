/* SPDX-License-Identifier: MPL-2.0
 *
 * A broker with a real store and real signatures, but with a clock and a transport of the test's
 * own. Actors (principals and joiners) speak through connections that are numbers; what the broker
 * sends to each is queued here until the test takes it.
 */
#ifndef KBAN_BROKER_TEST_WORLD_H
#define KBAN_BROKER_TEST_WORLD_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core.h"
#include "proto/log.h"
#include "store/lmdb.h"

#define WORLD_START_MS 1767323045000ULL /* 2026-01-02T03:04:05Z */
#define HOUR_MS	       3600000ULL
#define unused	       __attribute__((unused))

/* A disk that can be full ------------------------------------------------------------------- */

struct disk {
	struct store base;
	struct store *inner;
	bool full;
	unsigned commits;
};

static void disk_close(struct store *s)
{
	struct disk *d = (struct disk *)s;

	store_close(d->inner);
}
static void disk_begin(struct store *s)
{
	store_begin(((struct disk *)s)->inner);
}
static void disk_append(struct store *s, const struct kban_entry *e, const struct kban_place *after)
{
	store_append(((struct disk *)s)->inner, e, after);
}
static void disk_put(struct store *s, struct kban_span key, struct kban_span value)
{
	store_put(((struct disk *)s)->inner, key, value);
}
static void disk_del(struct store *s, struct kban_span key)
{
	store_delete(((struct disk *)s)->inner, key);
}
static void disk_horizon(struct store *s, const struct kban_place *place, uint64_t accepted_ms)
{
	store_horizon(((struct disk *)s)->inner, place, accepted_ms);
}
static void disk_keep(struct store *s, const struct kban_entry *e)
{
	store_keep(((struct disk *)s)->inner, e);
}
static void disk_drop(struct store *s, uint64_t seq)
{
	store_drop(((struct disk *)s)->inner, seq);
}
static int disk_commit(struct store *s)
{
	struct disk *d = (struct disk *)s;

	d->commits++;
	if (!d->full)
		return store_commit(d->inner);
	store_abort(d->inner);
	return STORE_FULL;
}
static void disk_abort(struct store *s)
{
	store_abort(((struct disk *)s)->inner);
}
static int disk_head(struct store *s, struct store_head *out)
{
	return store_head(((struct disk *)s)->inner, out);
}
static int disk_read(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	return store_read(((struct disk *)s)->inner, after, max, fn, arg);
}
static int disk_chain(struct store *s, uint64_t seq, struct kban_hash *out)
{
	return store_chain(((struct disk *)s)->inner, seq, out);
}
static int disk_rows(struct store *s, struct kban_span prefix, store_row_fn *fn, void *arg)
{
	return store_rows(((struct disk *)s)->inner, prefix, fn, arg);
}
static int disk_get(struct store *s, struct kban_span key, uint8_t **value, size_t *len)
{
	return store_get(((struct disk *)s)->inner, key, value, len);
}
static const char *disk_error(const struct store *s)
{
	const struct disk *d = (const struct disk *)s;

	return d->full ? "no space left on device" : store_error(d->inner);
}

static const struct store_ops disk_ops = {
	.close = disk_close,
	.begin = disk_begin,
	.append = disk_append,
	.put = disk_put,
	.del = disk_del,
	.horizon = disk_horizon,
	.keep = disk_keep,
	.drop = disk_drop,
	.commit = disk_commit,
	.abort = disk_abort,
	.head = disk_head,
	.read = disk_read,
	.chain = disk_chain,
	.rows = disk_rows,
	.get = disk_get,
	.error = disk_error,
};

/* Actors ------------------------------------------------------------------------------------ */

struct actor {
	const char *name;
	enum kban_role role;
	struct kban_keypair keys;
	uint64_t counter;
	uint64_t peer; /* its connection */
	uint8_t session[KBAN_SESSION_SIZE];
};

enum {
	OPERATOR,
	NODE1,
	NODE2,
	NODE3,
	FEEDER,
	READER,
	BROKER,
	ACTORS,
};

struct sent {
	uint64_t peer;
	struct kban_message *m; /* NULL: the cut */
};

struct world {
	char folder[64];
	uint64_t wall_ms, boot_ms;
	struct kban_clock clock;
	struct kban_keypair root;
	struct kban_identity identity;
	struct actor actors[ACTORS];
	struct disk disk;
	struct broker_transport transport;
	uint8_t *genesis_bytes;
	struct kban_sealed genesis;
	struct broker *b;
	size_t sent_n;
	struct sent *sent;
	uint64_t next_peer;
};

static void keys_from(struct kban_keypair *out, unsigned number)
{
	uint8_t seed[32] = {(uint8_t)number, (uint8_t)(number >> 8), 'k'};

	kban_keypair_from_seed(out, seed);
}

static void world_queue(struct world *w, uint64_t peer, struct kban_message *m)
{
	w->sent = kban_realloc(w->sent, (w->sent_n + 1) * sizeof(*w->sent));
	w->sent[w->sent_n++] = (struct sent){peer, m};
}

static void world_send(void *arg, uint64_t peer, const uint8_t *bytes, size_t len)
{
	struct kban_message *m;

	assert_true(len <= KBAN_MESSAGE_MAX);
	assert_int_equal(kban_message_decode(&m, bytes, len), 0);
	world_queue(arg, peer, m);
}

static void world_cut(void *arg, uint64_t peer)
{
	world_queue(arg, peer, NULL);
}

static uint64_t world_wall(void *arg)
{
	return ((struct world *)arg)->wall_ms;
}

static uint64_t world_boot(void *arg)
{
	return ((struct world *)arg)->boot_ms;
}

static unused void world_pass(struct world *w, uint64_t ms)
{
	w->wall_ms += ms;
	w->boot_ms += ms;
}

/* What was sent ----------------------------------------------------------------------------- */

static struct sent *find_sent(struct world *w, uint64_t peer, int kind)
{
	for (size_t i = 0; i < w->sent_n; i++) {
		struct sent *s = &w->sent[i];

		if (s->peer == peer && (kind ? s->m && (int)s->m->kind == kind : !s->m))
			return s;
	}
	return NULL;
}

static void drop_sent(struct world *w, struct sent *s)
{
	size_t i = (size_t)(s - w->sent);

	memmove(s, s + 1, (w->sent_n - i - 1) * sizeof(*s));
	w->sent_n--;
}

/* The oldest message of that kind to the peer, now the test's; NULL: none. */
static struct kban_message *try_take(struct world *w, uint64_t peer, enum kban_message_kind kind)
{
	struct sent *s = find_sent(w, peer, (int)kind);
	struct kban_message *m = s ? s->m : NULL;

	if (s)
		drop_sent(w, s);
	return m;
}

static unused struct kban_message *take(struct world *w, uint64_t peer, enum kban_message_kind kind)
{
	struct kban_message *m = try_take(w, peer, kind);

	assert_non_null(m);
	return m;
}

static unused bool take_cut(struct world *w, uint64_t peer)
{
	struct sent *s = find_sent(w, peer, 0);

	if (s)
		drop_sent(w, s);
	return s;
}

static unused bool nothing_for(struct world *w, uint64_t peer)
{
	for (size_t i = 0; i < w->sent_n; i++) {
		if (w->sent[i].peer == peer)
			return false;
	}
	return true;
}

static unused void forget_sent(struct world *w)
{
	for (size_t i = 0; i < w->sent_n; i++)
		kban_message_free(w->sent[i].m);
	w->sent_n = 0;
}

struct receipt {
	bool any;
	unsigned refusal, outcomes_n, outcome; /* the first one */
	uint64_t seq, accepted_ms;
	struct kban_hash hash;
	char detail[KBAN_TEXT_MAX + 1];
};

static unused struct receipt take_receipt(struct world *w, uint64_t peer)
{
	kban_auto(kban_message_free) struct kban_message *m = try_take(w, peer, KBAN_MSG_RECEIPT);
	struct receipt r = {0};

	if (!m)
		return r;
	r = (struct receipt){
		.any = true,
		.refusal = m->receipt.refusal,
		.outcomes_n = (unsigned)m->receipt.outcomes_n,
		.outcome = m->receipt.outcomes_n ? m->receipt.outcomes[0] : 0,
		.seq = m->receipt.seq,
		.accepted_ms = m->receipt.accepted_ms,
		.hash = m->receipt.hash,
	};
	if (m->receipt.detail.n)
		memcpy(r.detail, m->receipt.detail.s, m->receipt.detail.n);
	return r;
}

/* The reason of the oldest NoSession to the peer; -1: none. */
static unused int take_denial(struct world *w, uint64_t peer)
{
	kban_auto(kban_message_free) struct kban_message *m = try_take(w, peer,
								       KBAN_MSG_NO_SESSION);

	return m ? (int)m->no_session.reason : -1;
}

/* Sending ----------------------------------------------------------------------------------- */

static unused void send_bytes(struct world *w, const struct actor *a, const void *bytes, size_t len)
{
	broker_receive(w->b, a->peer, &a->keys.curve_public, "192.0.2.1", bytes, len);
}

static unused void send_message(struct world *w, const struct actor *a, struct kban_message *m)
{
	uint8_t *bytes;
	size_t len;

	m->version = KBAN_PROTOCOL_VERSION;
	m->has_session = m->kind != KBAN_MSG_HELLO;
	memcpy(m->session, a->session, sizeof(m->session));
	kban_message_encode(&bytes, &len, m);
	send_bytes(w, a, bytes, len);
	free(bytes);
}

static unused void send_hello(struct world *w, struct actor *a, const struct kban_hello *changed)
{
	struct kban_message m = {
		.kind = KBAN_MSG_HELLO,
		.hello = {.min_version = 1,
			  .max_version = 1,
			  .fold_version = kban_fold_newest,
			  .cluster = w->identity.cluster,
			  .program = kban_text("test 1")},
	};

	if (changed)
		m.hello = *changed;
	a->peer = ++w->next_peer;
	send_message(w, a, &m);
}

/* A connection with a session. The Welcome is the caller's to free. */
static unused struct kban_message *greet(struct world *w, struct actor *a)
{
	send_hello(w, a, NULL);
	struct kban_message *m = take(w, a->peer, KBAN_MSG_WELCOME);
	memcpy(a->session, m->welcome.session, sizeof(a->session));
	return m;
}

static unused void greet_all(struct world *w)
{
	for (int i = 0; i < ACTORS; i++)
		kban_message_free(greet(w, &w->actors[i]));
}

struct sealed_report {
	uint8_t *bytes;
	struct kban_sealed sealed;
	struct kban_hash hash;
};

/* Based on the head, as by somebody who has followed so far. */
static unused struct sealed_report seal(struct world *w, struct actor *a, struct kban_event *events,
					size_t n)
{
	struct kban_place head = {.epoch = 1};
	struct sealed_report s;

	if (w->b)
		ledger_place(broker_ledger(w->b), &head);
	struct kban_report r = {
		.cluster = w->identity.cluster,
		.counter = ++a->counter,
		.base = {.epoch = head.epoch, .seq = head.seq},
		.issued_ms = w->wall_ms,
		.events_n = n,
		.events = events,
	};
	assert_int_equal(kban_report_seal(&r, &a->keys, &s.bytes, &s.sealed), 0);
	s.hash = r.hash;
	return s;
}

static unused void send_sealed(struct world *w, const struct actor *a, const struct kban_sealed *s)
{
	struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = *s};

	send_message(w, a, &m);
}

static unused void submit(struct world *w, struct actor *a, struct kban_event *events, size_t n)
{
	struct sealed_report s = seal(w, a, events, n);

	send_sealed(w, a, &s.sealed);
	free(s.bytes);
}

static unused struct kban_event ban_event(const char *prefix)
{
	struct kban_event e = {
		.kind = KBAN_EVENT_BAN,
		.ban = {.duration_ms = HOUR_MS,
			.rule = kban_text("smtp-auth"),
			.service = kban_text("smtp"),
			.reason = kban_text("too many"),
			.count = 10},
	};

	assert_int_equal(kban_prefix_parse(&e.ban.prefix, prefix), 0);
	return e;
}

static unused void submit_ban(struct world *w, struct actor *a, const char *prefix)
{
	struct kban_event e = ban_event(prefix);

	submit(w, a, &e, 1);
}

static unused void submit_revoke(struct world *w, struct actor *by, const struct kban_key *key)
{
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE, .revoke = {.key = *key}};

	submit(w, by, &e, 1);
}

static unused void commit(struct world *w)
{
	assert_int_equal(broker_commit(w->b), 0);
}

static unused void subscribe(struct world *w, struct actor *a, const struct kban_place *cursor,
			     uint32_t window)
{
	struct kban_message m = {.kind = KBAN_MSG_SUBSCRIBE, .subscribe = {*cursor, window}};

	send_message(w, a, &m);
}

static unused struct kban_place start_of_log(struct world *w)
{
	struct kban_place p = {.epoch = 1};

	ledger_chain_genesis(&p.chain, &w->identity.cluster);
	return p;
}

static unused struct kban_place head_of_log(struct world *w)
{
	struct kban_place p;

	ledger_place(broker_ledger(w->b), &p);
	return p;
}

static unused void ack(struct world *w, struct actor *a, uint64_t seq)
{
	struct kban_message m = {.kind = KBAN_MSG_ACK, .ack = {seq}};

	send_message(w, a, &m);
}

/* Takes every Entries message of the peer: how many entries, and *last the newest one's seq. They
 * must go on from *last without a gap. */
static unused size_t take_entries(struct world *w, uint64_t peer, uint64_t *last)
{
	size_t n = 0;

	for (;;) {
		kban_auto(kban_message_free) struct kban_message *m = try_take(w, peer,
									       KBAN_MSG_ENTRIES);

		if (!m)
			return n;
		for (size_t i = 0; i < m->entries.entries_n; i++)
			assert_int_equal(m->entries.entries[i].seq, ++*last);
		n += m->entries.entries_n;
	}
}

/* Up and down ------------------------------------------------------------------------------- */

static const struct actor actors_template[ACTORS] = {
	[OPERATOR] = {.name = "alice", .role = KBAN_ROLE_OPERATOR},
	[NODE1] = {.name = "mail1", .role = KBAN_ROLE_NODE},
	[NODE2] = {.name = "mail2", .role = KBAN_ROLE_NODE},
	[NODE3] = {.name = "mail3", .role = KBAN_ROLE_NODE},
	[FEEDER] = {.name = "feeder", .role = KBAN_ROLE_FEEDER},
	[READER] = {.name = "reader", .role = KBAN_ROLE_READER},
	[BROKER] = {.name = "broker", .role = KBAN_ROLE_BROKER},
};

static void make_genesis(struct world *w)
{
	struct kban_event events[ACTORS];
	struct kban_report r = {
		.cluster = w->identity.cluster,
		.counter = 1,
		.base = {.epoch = 1},
		.issued_ms = w->wall_ms,
		.events_n = ACTORS,
		.events = events,
	};

	for (int i = 0; i < ACTORS; i++) {
		const struct actor *a = &w->actors[i];

		events[i] = (struct kban_event){
			.kind = KBAN_EVENT_GRANT,
			.grant = {a->keys.sign_public, a->keys.curve_public, a->role,
				  kban_text(a->name)},
		};
	}
	assert_int_equal(kban_report_seal(&r, &w->root, &w->genesis_bytes, &w->genesis), 0);
}

static void open_disk(struct world *w)
{
	w->disk = (struct disk){.base = {.ops = &disk_ops}};
	assert_int_equal(store_lmdb_open(&w->disk.inner, w->folder, &w->identity.cluster, NULL), 0);
}

static void start_broker(struct world *w)
{
	char *error = NULL;
	int r = broker_new(&w->b, &w->identity, &w->disk.base, &w->clock, &w->transport,
			   &w->genesis, &error);

	if (r)
		fail_msg("%s", error);
}

static unused void restart_broker(struct world *w)
{
	broker_free(w->b);
	store_close(&w->disk.base);
	open_disk(w);
	start_broker(w);
}

static unused struct world *world_make(void)
{
	struct world *w = kban_zalloc(sizeof(*w));

	kban_log_setup("test",
		       (enum kban_level)2); /* nothing: what is refused on purpose is no news */
	kban_crypto_setup();
	strcpy(w->folder, "/tmp/test_broker.XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->wall_ms = WORLD_START_MS;
	w->boot_ms = 1000000;
	w->clock = (struct kban_clock){world_wall, world_boot, w};
	w->transport = (struct broker_transport){world_send, world_cut, w};
	keys_from(&w->root, 1);
	memcpy(w->actors, actors_template, sizeof(w->actors));
	for (unsigned i = 0; i < ACTORS; i++)
		keys_from(&w->actors[i].keys, 100 + i);
	strcpy(w->identity.name, "broker");
	w->identity.role = KBAN_ROLE_BROKER;
	w->identity.root = w->root.sign_public;
	w->identity.keys = w->actors[BROKER].keys;
	kban_cluster_id(&w->identity.cluster, &w->root.sign_public);
	make_genesis(w);
	open_disk(w);
	return w;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static unused int world_up(void **state)
{
	struct world *w = world_make();

	start_broker(w);
	*state = w;
	return 0;
}

static unused int world_down(void **state)
{
	struct world *w = *state;

	broker_free(w->b);
	store_close(&w->disk.base);
	forget_sent(w);
	free(w->sent);
	free(w->genesis_bytes);
	nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

#endif
