/* SPDX-License-Identifier: MPL-2.0
 *
 * The client against a broker that misbehaves as a test wants it: a thread with a ROUTER and a ZAP
 * handler.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "cli/client.h"
#include "cli/command.h"

#define SUBMITS_MAX 16

enum mood {
	MOOD_KIND,    /* answers everything */
	MOOD_DENY,    /* ZAP says 400 */
	MOOD_DEAF,    /* lets in and says nothing */
	MOOD_GARBAGE, /* answers with what is no message */
	MOOD_GOODBYE, /* refuses at Hello */
	MOOD_LOSE,    /* drops the connection at the first Submit, which counted; a duplicate after
			 that */
	MOOD_FORGET,  /* knows no session at the first Submit */
	MOOD_BUSY,    /* is busy twice */
	MOOD_HOLD,    /* answers a question with `wait` never */
	MOOD_MISLEAD, /* first gives a receipt for another report */
};

struct broker {
	enum mood mood;
	struct kban_keypair keys;
	void *zmq, *router, *zap, *control;
	char endpoint[64];
	pthread_t thread;
	struct kban_hash submits[SUBMITS_MAX];
	size_t submits_n, hellos;
};

struct world {
	struct broker broker;
	struct kban_identity id;
	struct kban_sealed sealed;
	uint8_t *bytes;
	void *control;
};

static void *curve_server(struct broker *b, const char *endpoint)
{
	void *s = zmq_socket(b->zmq, ZMQ_ROUTER);
	int one = 1, zero = 0;
	size_t n = sizeof(b->endpoint);

	zmq_setsockopt(s, ZMQ_CURVE_SERVER, &one, sizeof(one));
	zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, b->keys.curve_secret, 32);
	zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, "kban", 4);
	for (int i = 0; zmq_bind(s, endpoint) && i < 1000; i++)
		zmq_poll(NULL, 0, 5); /* the port of the socket before may still be closing */
	assert_int_equal(zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, b->endpoint, &n), 0);
	return s;
}

/* RFC 27: seven frames or more come, six go. */
static void zap_answer(struct broker *b)
{
	char version[8], request[8], rest[256];
	int more = 1;
	size_t n = sizeof(more);

	int version_n = zmq_recv(b->zap, version, sizeof(version), 0);
	int request_n = zmq_recv(b->zap, request, sizeof(request), 0);
	while (!zmq_getsockopt(b->zap, ZMQ_RCVMORE, &more, &n) && more)
		zmq_recv(b->zap, rest, sizeof(rest), 0);
	zmq_send(b->zap, version, (size_t)version_n, ZMQ_SNDMORE);
	zmq_send(b->zap, request, (size_t)request_n, ZMQ_SNDMORE);
	zmq_send(b->zap, b->mood == MOOD_DENY ? "400" : "200", 3, ZMQ_SNDMORE);
	zmq_send(b->zap, "", 0, ZMQ_SNDMORE);
	zmq_send(b->zap, "user", 4, ZMQ_SNDMORE);
	zmq_send(b->zap, "", 0, 0);
}

struct peer {
	uint8_t id[64];
	size_t n;
};

static void reply(struct broker *b, const struct peer *p, struct kban_message *m)
{
	uint8_t *bytes;
	size_t len;

	m->version = KBAN_PROTOCOL_VERSION;
	m->has_session = m->kind != KBAN_MSG_NO_SESSION;
	memset(m->session, (int)b->hellos, sizeof(m->session));
	kban_message_encode(&bytes, &len, m);
	zmq_send(b->router, p->id, p->n, ZMQ_SNDMORE);
	zmq_send(b->router, bytes, len, 0);
	free(bytes);
}

static void reply_goodbye(struct broker *b, const struct peer *p, enum kban_refusal reason)
{
	reply(b, p,
	      &(struct kban_message){.kind = KBAN_MSG_NO_SESSION,
				     .no_session = {reason, kban_text("because")}});
}

static void reply_receipt(struct broker *b, const struct peer *p, const struct kban_hash *hash,
			  enum kban_refusal refusal)
{
	static const uint32_t outcome = KBAN_OUTCOME_COUNTED;
	struct kban_message m = {.kind = KBAN_MSG_RECEIPT,
				 .receipt = {.hash = *hash, .refusal = refusal}};

	if (!refusal) {
		m.receipt.outcomes_n = 1;
		m.receipt.outcomes = &outcome;
		m.receipt.seq = 2;
		m.receipt.epoch = 1;
	}
	reply(b, p, &m);
}

static void on_hello(struct broker *b, const struct peer *p)
{
	b->hellos++;
	switch (b->mood) {
	case MOOD_DEAF:
		return;
	case MOOD_GARBAGE:
		for (int i = 0; i < 32; i++) {
			zmq_send(b->router, p->id, p->n, ZMQ_SNDMORE);
			zmq_send(b->router, "\xff\xff\xff", 3, 0);
		}
		return;
	case MOOD_GOODBYE:
		reply_goodbye(b, p, KBAN_REFUSAL_WRONG_CLUSTER);
		return;
	case MOOD_KIND:
	case MOOD_DENY:
	case MOOD_LOSE:
	case MOOD_FORGET:
	case MOOD_BUSY:
	case MOOD_HOLD:
	case MOOD_MISLEAD:
		reply(b, p,
		      &(struct kban_message){.kind = KBAN_MSG_WELCOME,
					     .welcome = {.version = 1,
							 .head = {.epoch = 1, .seq = 1},
							 .fold_version = 1,
							 .session = {(uint8_t)b->hellos}}});
	}
}

static void on_submit(struct broker *b, const struct peer *p, const struct kban_message *m)
{
	size_t i = b->submits_n++;
	char endpoint[64];

	assert_true(i < SUBMITS_MAX);
	kban_sealed_hash(&b->submits[i], &m->submit);
	if (b->mood == MOOD_LOSE && !i) {
		strcpy(endpoint, b->endpoint);
		zmq_close(b->router);
		b->router = curve_server(b, endpoint);
	} else if (b->mood == MOOD_FORGET && !i) {
		reply_goodbye(b, p, KBAN_REFUSAL_UNKNOWN_SESSION);
	} else if (b->mood == MOOD_MISLEAD) {
		struct kban_hash other = b->submits[i];
		other.b[0] ^= 1;
		reply_receipt(b, p, &other, KBAN_REFUSAL_REVOKED);
		reply_receipt(b, p, &b->submits[i], KBAN_REFUSAL_NONE);
	} else {
		reply_receipt(b, p, &b->submits[i],
			      b->mood == MOOD_LOSE	      ? KBAN_REFUSAL_DUPLICATE
			      : b->mood == MOOD_BUSY && i < 2 ? KBAN_REFUSAL_BUSY
							      : KBAN_REFUSAL_NONE);
	}
}

static void router_read(struct broker *b)
{
	uint8_t bytes[4096];
	struct kban_message *m = NULL;
	struct peer p;

	p.n = (size_t)zmq_recv(b->router, p.id, sizeof(p.id), 0);
	int n = zmq_recv(b->router, bytes, sizeof(bytes), 0);
	if (n < 0 || kban_message_decode(&m, bytes, (size_t)n))
		return;
	if (m->kind == KBAN_MSG_HELLO)
		on_hello(b, &p);
	else if (m->kind == KBAN_MSG_SUBMIT)
		on_submit(b, &p, m);
	else if (m->kind == KBAN_MSG_QUERY && !(b->mood == MOOD_HOLD && m->query.wait))
		reply(b, &p,
		      &(struct kban_message){.kind = KBAN_MSG_ANSWER,
					     .answer = {.kind = m->query.kind}});
	kban_message_free(m);
}

static void *broker_run(void *arg)
{
	struct broker *b = arg;

	for (;;) {
		zmq_pollitem_t items[] = {{b->router, 0, ZMQ_POLLIN, 0},
					  {b->zap, 0, ZMQ_POLLIN, 0},
					  {b->control, 0, ZMQ_POLLIN, 0}};
		zmq_poll(items, 3, -1);
		if (items[2].revents)
			return NULL;
		if (items[1].revents)
			zap_answer(b);
		if (items[0].revents)
			router_read(b);
	}
}

static void broker_start(struct world *w, enum mood mood)
{
	struct broker *b = &w->broker;

	b->mood = mood;
	b->zmq = zmq_ctx_new();
	b->zap = zmq_socket(b->zmq, ZMQ_REP);
	assert_int_equal(zmq_bind(b->zap, "inproc://zeromq.zap.01"), 0);
	b->router = curve_server(b, "tcp://127.0.0.1:*");
	b->control = zmq_socket(b->zmq, ZMQ_PAIR);
	w->control = zmq_socket(b->zmq, ZMQ_PAIR);
	assert_int_equal(zmq_bind(b->control, "inproc://control"), 0);
	assert_int_equal(zmq_connect(w->control, "inproc://control"), 0);
	strcpy(w->id.brokers[0].endpoint, b->endpoint);
	assert_int_equal(pthread_create(&b->thread, NULL, broker_run, b), 0);
}

static void broker_stop(struct world *w)
{
	struct broker *b = &w->broker;

	if (!b->zmq)
		return;
	zmq_send(w->control, "", 0, 0);
	pthread_join(b->thread, NULL);
	zmq_close(b->router);
	zmq_close(b->zap);
	zmq_close(b->control);
	zmq_close(w->control);
	zmq_ctx_term(b->zmq);
	b->zmq = NULL;
}

static int setup(void **state)
{
	struct world *w = kban_zalloc(sizeof(*w));
	struct kban_event e = {.kind = KBAN_EVENT_BAN, .ban = {.duration_ms = 1000, .count = 1}};
	struct kban_report r = {.counter = 1, .base = {1, 0}, .events_n = 1, .events = &e};

	kban_keypair_random(&w->broker.keys);
	kban_keypair_random(&w->id.keys);
	strcpy(w->id.name, "op");
	w->id.brokers_n = 1;
	w->id.brokers[0].curve = w->broker.keys.curve_public;
	assert_int_equal(kban_prefix_parse(&e.ban.prefix, "192.0.2.1"), 0);
	assert_int_equal(kban_report_seal(&r, &w->id.keys, &w->bytes, &w->sealed), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	broker_stop(w);
	free(w->bytes);
	free(w);
	return 0;
}

static int open_with(struct world *w, uint64_t timeout_ms, struct client **c, char **error)
{
	return client_open(c, &w->id, &kban_clock_system, timeout_ms, error);
}

static void expect_failure(struct world *w, uint64_t timeout_ms, int code, const char *said)
{
	struct client *c = NULL;
	char *error = NULL;

	assert_int_equal(open_with(w, timeout_ms, &c, &error), code);
	assert_non_null(strstr(error, said));
	free(error);
}

/* Submits once, whatever it takes; the receipt's refusal. */
static uint32_t submit(struct world *w)
{
	kban_auto(client_free) struct client *c = NULL;
	kban_auto(kban_message_free) struct kban_message *receipt = NULL;
	char *error = NULL;

	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_int_equal(client_submit(c, &w->sealed, &receipt, &error), 0);
	return receipt->receipt.refusal;
}

static void a_question_gets_its_answer(void **state)
{
	struct world *w = *state;
	kban_auto(client_free) struct client *c = NULL;
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	char *error = NULL;

	broker_start(w, MOOD_KIND);
	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_int_equal(client_welcome(c)->head.seq, 1);
	assert_int_equal(client_ask(c, &(struct kban_query){.kind = KBAN_QUERY_BANS}, &m, &error),
			 0);
	assert_int_equal(m->answer.kind, KBAN_QUERY_BANS);
}

static void a_report_gets_its_receipt(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_KIND);
	assert_int_equal(submit(w), KBAN_REFUSAL_NONE);
	assert_int_equal(w->broker.submits_n, 1);
}

static void nobody_listening_is_unreachable(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_KIND);
	broker_stop(w);
	expect_failure(w, 300, CLI_UNREACHABLE, "refuses connections");
}

static void a_silent_broker_is_unreachable(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_DEAF);
	expect_failure(w, 300, CLI_UNREACHABLE, "does not answer");
}

static void a_key_that_is_not_admitted_is_denied(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_DENY);
	expect_failure(w, 20000, CLI_DENIED, "does not admit the key of op");
}

static void another_brokers_key_is_noticed(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_KIND);
	w->id.brokers[0].curve = w->id.keys.curve_public;
	expect_failure(w, 20000, CLI_UNREACHABLE, "ends the handshake");
}

static void a_refusal_at_hello_is_told(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_GOODBYE);
	expect_failure(w, 20000, CLI_DENIED, "wrong-cluster: because");
}

static void garbage_ends_the_talk(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_GARBAGE);
	expect_failure(w, 20000, CLI_FAILED, "outside protocol version");
}

static void the_same_bytes_are_sent_again_after_a_lost_connection(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_LOSE);
	assert_int_equal(submit(w), KBAN_REFUSAL_DUPLICATE);
	assert_int_equal(w->broker.submits_n, 2);
	assert_true(kban_hash_equal(&w->broker.submits[0], &w->broker.submits[1]));
}

static void a_forgotten_session_is_made_again(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_FORGET);
	assert_int_equal(submit(w), KBAN_REFUSAL_NONE);
	assert_int_equal(w->broker.hellos, 2);
	assert_int_equal(w->broker.submits_n, 2);
}

static void a_busy_broker_is_asked_again(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_BUSY);
	assert_int_equal(submit(w), KBAN_REFUSAL_NONE);
	assert_int_equal(w->broker.submits_n, 3);
}

static void a_receipt_for_another_report_is_not_ours(void **state)
{
	struct world *w = *state;

	broker_start(w, MOOD_MISLEAD);
	assert_int_equal(submit(w), KBAN_REFUSAL_NONE);
}

static void a_held_back_answer_is_not_waited_for_for_ever(void **state)
{
	struct world *w = *state;
	kban_auto(client_free) struct client *c = NULL;
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	struct kban_query q = {.kind = KBAN_QUERY_LOG, .wait = true};
	char *error = NULL;

	broker_start(w, MOOD_HOLD);
	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_int_equal(client_await(c, &q, 50, &m, &error), 0);
	assert_null(m);
	q.wait = false;
	assert_int_equal(client_await(c, &q, 20000, &m, &error), 0);
	assert_int_equal(m->answer.kind, KBAN_QUERY_LOG);
}

static void waiting_ends_when_what_is_watched_is_readable(void **state)
{
	struct world *w = *state;
	kban_auto(client_free) struct client *c = NULL;
	struct kban_query q = {.kind = KBAN_QUERY_LOG, .wait = true};
	struct kban_message *m = NULL;
	char *error = NULL;
	int ends[2];

	broker_start(w, MOOD_HOLD);
	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_int_equal(pipe(ends), 0);
	client_watch(c, ends[0]);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(client_await(c, &q, 3600000, &m, &error), 0);
	assert_null(m);
	close(ends[0]);
	close(ends[1]);
}

static void a_session_is_made_anew_on_demand(void **state)
{
	struct world *w = *state;
	kban_auto(client_free) struct client *c = NULL;
	kban_auto(kban_message_free) struct kban_message *m = NULL;
	char *error = NULL;

	broker_start(w, MOOD_KIND);
	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_int_equal(client_renew(c, 20000, &error), 0);
	assert_int_equal(w->broker.hellos, 2);
	assert_int_equal(client_ask(c, &(struct kban_query){.kind = KBAN_QUERY_BANS}, &m, &error),
			 0);
}

static void the_second_broker_is_tried_when_the_first_is_away(void **state)
{
	struct world *w = *state;
	kban_auto(client_free) struct client *c = NULL;
	char *error = NULL;

	broker_start(w, MOOD_KIND);
	w->id.brokers[1] = w->id.brokers[0];
	w->id.brokers_n = 2;
	strcpy(w->id.brokers[0].endpoint, "tcp://127.0.0.1:1");
	assert_int_equal(open_with(w, 20000, &c, &error), 0);
	assert_string_equal(client_endpoint(c), w->id.brokers[1].endpoint);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_question_gets_its_answer),
		TEST(a_report_gets_its_receipt),
		TEST(nobody_listening_is_unreachable),
		TEST(a_silent_broker_is_unreachable),
		TEST(a_key_that_is_not_admitted_is_denied),
		TEST(another_brokers_key_is_noticed),
		TEST(a_refusal_at_hello_is_told),
		TEST(garbage_ends_the_talk),
		TEST(the_same_bytes_are_sent_again_after_a_lost_connection),
		TEST(a_forgotten_session_is_made_again),
		TEST(a_busy_broker_is_asked_again),
		TEST(a_receipt_for_another_report_is_not_ours),
		TEST(a_held_back_answer_is_not_waited_for_for_ever),
		TEST(waiting_ends_when_what_is_watched_is_readable),
		TEST(a_session_is_made_anew_on_demand),
		TEST(the_second_broker_is_tried_when_the_first_is_away),
	};

	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
