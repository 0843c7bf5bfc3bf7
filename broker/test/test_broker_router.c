/* SPDX-License-Identifier: MPL-2.0
 *
 * The whole broker in a process of its own, spoken to through real CURVE connections on the
 * loopback. Clients see what libzmq's socket monitor says: refused handshakes, cut connections.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <zmq.h>

#include "broker/serve.h"
#include "broker/test/world.h"
#include "proto/genesis.h"

#define DEADLINE_MS 10000
#define IN_FLIGHT   1500 /* reports; more than libzmq keeps for one peer */

static int receive_hwm; /* of the clients opened next; 0: libzmq's own */

struct fleet {
	struct world *w;
	size_t open_n;
	struct {
		void *socket, *monitor;
	} open[8]; /* closed at the end, whether or not the test got there */
	void *context;
	pid_t pid;
	char endpoint[128], data[128], genesis[128];
};

/* The broker -------------------------------------------------------------------------------- */

static void tell_endpoint(void *arg, const char *endpoint)
{
	int fd = *(int *)arg;

	if (write(fd, endpoint, strlen(endpoint) + 1) < 0)
		_exit(3);
	close(fd);
}

static int broker_process(struct fleet *f, int fd)
{
	char any_port[] = "tcp://127.0.0.1:*";
	char *listen[] = {any_port};
	struct kban_strings where = {1, listen};
	struct serve_config config = {.identity = &f->w->identity,
				      .listen = &where,
				      .data = f->data,
				      .genesis = f->genesis,
				      .ready = tell_endpoint,
				      .arg = &fd};
	char *error;
	int r = serve_run(&config, &error);

	if (r)
		fprintf(stderr, "broker: %s\n", error);
	return r ? 1 : 0;
}

static int fleet_up(void **state)
{
	struct fleet *f = kban_zalloc(sizeof(*f));
	int pipe_fds[2];

	f->w = world_make();
	store_close(&f->w->disk.base);
	snprintf(f->data, sizeof(f->data), "%s/data", f->w->folder);
	snprintf(f->genesis, sizeof(f->genesis), "%s/genesis", f->w->folder);
	assert_int_equal(kban_genesis_save(f->genesis, &f->w->genesis), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	f->pid = fork();
	if (!f->pid) {
		close(pipe_fds[0]);
		int r = broker_process(f, pipe_fds[1]);

		free(f->w->genesis_bytes);
		free(f->w);
		free(f);
		exit(r);
	}
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], f->endpoint, sizeof(f->endpoint)) > 0);
	close(pipe_fds[0]);
	f->context = zmq_ctx_new();
	*state = f;
	return 0;
}

static int fleet_down(void **state)
{
	struct fleet *f = *state;
	int status = -1;

	for (size_t i = 0; i < f->open_n; i++) {
		zmq_socket_monitor(f->open[i].socket, NULL, 0);
		zmq_close(f->open[i].monitor);
		zmq_close(f->open[i].socket);
	}
	kill(f->pid, SIGTERM);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	assert_true(WIFEXITED(status) &&
		    WEXITSTATUS(status) == 0); /* a clean stop, without leaks */
	zmq_ctx_term(f->context);
	nftw(f->w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f->w->genesis_bytes);
	free(f->w);
	free(f);
	return 0;
}

/* Clients ----------------------------------------------------------------------------------- */

struct client {
	struct actor *actor;
	void *socket, *monitor;
};

static void client_open(struct fleet *f, struct client *c, struct actor *a, const char *routing_id)
{
	static unsigned number;
	char name[64];
	int timeout = DEADLINE_MS, none = 0;
	const struct kban_keypair *server = &f->w->identity.keys;

	*c = (struct client){.actor = a, .socket = zmq_socket(f->context, ZMQ_DEALER)};
	zmq_setsockopt(c->socket, ZMQ_RCVTIMEO, &timeout, sizeof(timeout));
	zmq_setsockopt(c->socket, ZMQ_LINGER, &none, sizeof(none));
	zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, server->curve_public.b, 32);
	zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, a->keys.curve_public.b, 32);
	zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, a->keys.curve_secret, 32);
	if (receive_hwm)
		zmq_setsockopt(c->socket, ZMQ_RCVHWM, &receive_hwm, sizeof(receive_hwm));
	if (routing_id)
		zmq_setsockopt(c->socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id));
	snprintf(name, sizeof(name), "inproc://monitor-%u", number++);
	assert_int_equal(zmq_socket_monitor(c->socket, name,
					    ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
						    ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
						    ZMQ_EVENT_DISCONNECTED),
			 0);
	c->monitor = zmq_socket(f->context, ZMQ_PAIR);
	zmq_setsockopt(c->monitor, ZMQ_RCVTIMEO, &timeout, sizeof(timeout));
	zmq_setsockopt(c->monitor, ZMQ_LINGER, &none, sizeof(none));
	assert_true(f->open_n < KBAN_ARRAY_LEN(f->open));
	f->open[f->open_n].socket = c->socket;
	f->open[f->open_n++].monitor = c->monitor;
	assert_int_equal(zmq_connect(c->monitor, name), 0);
	assert_int_equal(zmq_connect(c->socket, f->endpoint), 0);
}

/* The next event of the connection; 0: none before the deadline. */
static int next_event(struct client *c)
{
	uint8_t bytes[16];
	char address[256];
	uint16_t event;

	if (zmq_recv(c->monitor, bytes, sizeof(bytes), 0) < 2)
		return 0;
	zmq_recv(c->monitor, address, sizeof(address), 0);
	memcpy(&event, bytes, sizeof(event));
	return event;
}

static bool sees(struct client *c, int wanted)
{
	for (int event = next_event(c); event; event = next_event(c)) {
		if (event == wanted)
			return true;
	}
	return false;
}

/* The connection ends behind what is read before. */
static bool ends(struct client *c)
{
	zmq_pollitem_t items[] = {{.socket = c->monitor, .events = ZMQ_POLLIN},
				  {.socket = c->socket, .events = ZMQ_POLLIN}};

	while (zmq_poll(items, 2, DEADLINE_MS) > 0) {
		if (items[0].revents && next_event(c) == ZMQ_EVENT_DISCONNECTED)
			return true;
		if (items[1].revents)
			zmq_recv(c->socket, NULL, 0, 0);
	}
	return false;
}

static void client_send(struct client *c, struct kban_message *m)
{
	uint8_t *bytes;
	size_t len;

	m->version = KBAN_PROTOCOL_VERSION;
	m->has_session = m->kind != KBAN_MSG_HELLO;
	memcpy(m->session, c->actor->session, sizeof(m->session));
	kban_message_encode(&bytes, &len, m);
	assert_int_equal(zmq_send(c->socket, bytes, len, 0), len);
	free(bytes);
}

/* The next message of that kind; others are dropped. NULL: none before the deadline. */
static struct kban_message *client_receive(struct client *c, enum kban_message_kind kind)
{
	for (;;) {
		struct kban_message *m;
		zmq_msg_t bytes;

		zmq_msg_init(&bytes);
		if (zmq_msg_recv(&bytes, c->socket, 0) < 0) {
			zmq_msg_close(&bytes);
			return NULL;
		}
		int r = kban_message_decode(&m, zmq_msg_data(&bytes), zmq_msg_size(&bytes));
		zmq_msg_close(&bytes);
		assert_int_equal(r, 0);
		if (m->kind == kind)
			return m;
		kban_message_free(m);
	}
}

static void client_hello(struct fleet *f, struct client *c)
{
	struct kban_message m = {
		.kind = KBAN_MSG_HELLO,
		.hello = {1, 1, kban_fold_newest, f->w->identity.cluster, kban_text("test")}};

	client_send(c, &m);
}

static void client_greet(struct fleet *f, struct client *c)
{
	client_hello(f, c);
	kban_auto(kban_message_free) struct kban_message *m = client_receive(c, KBAN_MSG_WELCOME);
	assert_non_null(m);
	memcpy(c->actor->session, m->welcome.session, KBAN_SESSION_SIZE);
}

/* The first outcome. */
static unsigned client_submit(struct fleet *f, struct client *c, struct kban_event *e)
{
	struct sealed_report s = seal(f->w, c->actor, e, 1);
	struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = s.sealed};

	client_send(c, &m);
	free(s.bytes);
	kban_auto(kban_message_free) struct kban_message *receipt = client_receive(
		c, KBAN_MSG_RECEIPT);
	assert_non_null(receipt);
	assert_int_equal(receipt->receipt.refusal, 0);
	return receipt->receipt.outcomes[0];
}

/* Tests ------------------------------------------------------------------------------------- */

static void a_granted_key_gets_in_and_is_served(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = ban_event("192.0.2.1");
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], NULL);
	client_greet(f, &c);
	assert_int_equal(client_submit(f, &c, &e), KBAN_OUTCOME_COUNTED);
}

static void an_unknown_key_is_refused_at_the_handshake(void **state)
{
	struct fleet *f = *state;
	struct actor stranger = {.name = "stranger"};
	struct client c;

	keys_from(&stranger.keys, 999);
	client_open(f, &c, &stranger, NULL);
	client_hello(f, &c);
	assert_int_equal(next_event(&c), ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
}

static void a_token_gets_in_once_to_join(void **state)
{
	struct fleet *f = *state;
	struct actor token = {.name = "mail4"}, joined = {.name = "mail4"};
	struct kban_event e = {.kind = KBAN_EVENT_INVITE};
	struct client op, guest, node;

	keys_from(&token.keys, 500);
	keys_from(&joined.keys, 501);
	e.invite = (struct kban_event_invite){token.keys.sign_public, token.keys.curve_public,
					      KBAN_ROLE_NODE, kban_text("mail4"), HOUR_MS};
	client_open(f, &op, &f->w->actors[OPERATOR], NULL);
	client_greet(f, &op);
	assert_int_equal(client_submit(f, &op, &e), KBAN_OUTCOME_COUNTED);
	client_open(f, &guest, &token, NULL);
	client_greet(f, &guest);
	e = (struct kban_event){.kind = KBAN_EVENT_JOIN};
	kban_join_prove(&e.join, &joined.keys, &f->w->identity.cluster, &token.keys.sign_public);
	assert_int_equal(client_submit(f, &guest, &e), KBAN_OUTCOME_COUNTED);
	assert_true(sees(&guest, ZMQ_EVENT_DISCONNECTED));
	client_open(f, &node, &joined, NULL);
	client_greet(f, &node);
}

static void a_revoked_node_gets_the_entry_is_cut_and_stays_out(void **state)
{
	struct fleet *f = *state;
	struct actor *a = &f->w->actors[NODE2];
	struct kban_event e = {.kind = KBAN_EVENT_REVOKE, .revoke = {.key = a->keys.sign_public}};
	struct kban_message m = {.kind = KBAN_MSG_SUBSCRIBE,
				 .subscribe = {start_of_log(f->w), 100}};
	struct client op, node;
	bool revoked = false;

	client_open(f, &op, &f->w->actors[OPERATOR], NULL);
	client_open(f, &node, a, NULL);
	client_greet(f, &op);
	client_greet(f, &node);
	client_send(&node, &m);
	kban_message_free(client_receive(&node, KBAN_MSG_ENTRIES)); /* it is subscribed */
	assert_int_equal(client_submit(f, &op, &e), KBAN_OUTCOME_COUNTED);
	while (!revoked) {
		kban_auto(kban_message_free) struct kban_message *entries = client_receive(
			&node, KBAN_MSG_ENTRIES);

		assert_non_null(entries);
		for (size_t i = 0; i < entries->entries.entries_n; i++) {
			kban_auto(kban_report_free) struct kban_report *r = NULL;

			assert_int_equal(
				kban_report_decode(&r, &entries->entries.entries[i].sealed), 0);
			revoked |= r->events[0].kind == KBAN_EVENT_REVOKE;
		}
	}
	assert_true(sees(&node, ZMQ_EVENT_DISCONNECTED));
	assert_true(sees(&node, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH));
}

/* In KiB: the most memory that the broker ever had. */
static long peak_memory(const struct fleet *f)
{
	char path[64], line[128];
	long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)f->pid);
	FILE *status = fopen(path, "r");
	assert_non_null(status);
	while (!kib && fgets(line, sizeof(line), status))
		sscanf(line, "VmHWM: %ld", &kib);
	fclose(status);
	return kib;
}

static void assert_peak_memory_below(const struct fleet *f, long mib)
{
	(void)f;
	(void)mib;
#ifndef KBAN_SANITIZED /* which needs more */
	assert_true(peak_memory(f) < mib * 1024);
#else
	assert_true(peak_memory(f) > 0);
#endif
}

static void reports_in_flight_are_all_answered_however_many(void **state)
{
	struct fleet *f = *state;
	struct kban_event e = ban_event("192.0.2.1");
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], NULL);
	client_greet(f, &c);
	for (int i = 0; i < IN_FLIGHT; i++) {
		struct sealed_report s = seal(f->w, c.actor, &e, 1);
		struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = s.sealed};

		client_send(&c, &m);
		free(s.bytes);
	}
	for (int i = 0; i < IN_FLIGHT; i++) {
		kban_auto(kban_message_free) struct kban_message *m = client_receive(
			&c, KBAN_MSG_RECEIPT);

		assert_non_null(m);
		assert_int_equal(m->receipt.refusal, 0);
	}
}

/* Long lines, so that the window of bytes is used up with every Subscribe. */
static void fill_log(struct fleet *f, struct client *c)
{
	static char line[KBAN_LINE_MAX];
	struct kban_event events[KBAN_EVENTS_MAX / 2];

	memset(line, 'x', sizeof(line));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(events); i++) {
		events[i] = ban_event("192.0.2.1");
		events[i].ban.line = (struct kban_text){line, sizeof(line)};
	}
	for (int i = 0; i < 60; i++) {
		struct sealed_report s = seal(f->w, c->actor, events, KBAN_ARRAY_LEN(events));
		struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = s.sealed};

		client_send(c, &m);
		free(s.bytes);
		kban_message_free(client_receive(c, KBAN_MSG_RECEIPT));
	}
}

static void who_subscribes_again_and_again_and_reads_nothing_is_cut(void **state)
{
	struct fleet *f = *state;
	struct kban_message m = {.kind = KBAN_MSG_SUBSCRIBE,
				 .subscribe = {start_of_log(f->w), KBAN_WINDOW_MAX}};
	struct client op, c;

	client_open(f, &op, &f->w->actors[OPERATOR], NULL);
	client_greet(f, &op);
	fill_log(f, &op);
	receive_hwm = 1;
	client_open(f, &c, &f->w->actors[NODE1], NULL);
	receive_hwm = 0;
	client_greet(f, &c);
	for (int i = 0; i < 300; i++)
		client_send(&c, &m);
	assert_true(ends(&c));
	assert_peak_memory_below(f, 60);
}

static void an_oversized_message_ends_the_connection(void **state)
{
	struct fleet *f = *state;
	kban_auto(kban_free) void *bytes = kban_zalloc(KBAN_MESSAGE_MAX + 1);
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], NULL);
	client_greet(f, &c);
	assert_true(zmq_send(c.socket, bytes, KBAN_MESSAGE_MAX + 1, 0) > 0);
	assert_true(sees(&c, ZMQ_EVENT_DISCONNECTED));
}

static void a_message_of_two_parts_ends_the_connection(void **state)
{
	struct fleet *f = *state;
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], NULL);
	client_greet(f, &c);
	assert_int_equal(zmq_send(c.socket, "a", 1, ZMQ_SNDMORE), 1);
	assert_int_equal(zmq_send(c.socket, "b", 1, 0), 1);
	assert_true(sees(&c, ZMQ_EVENT_DISCONNECTED));
}

static void a_routing_id_of_the_peers_choice_ends_the_connection(void **state)
{
	struct fleet *f = *state;
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], "mine");
	client_hello(f, &c);
	assert_true(sees(&c, ZMQ_EVENT_DISCONNECTED));
}

static void a_cut_peer_gets_its_last_message_first(void **state)
{
	struct fleet *f = *state;
	struct kban_message m = {
		.kind = KBAN_MSG_HELLO,
		.hello = {2, 2, kban_fold_newest, f->w->identity.cluster, kban_text("test")}};
	struct client c;

	client_open(f, &c, &f->w->actors[NODE1], NULL);
	client_send(&c, &m);
	kban_auto(kban_message_free) struct kban_message *no = client_receive(&c,
									      KBAN_MSG_NO_SESSION);
	assert_non_null(no);
	assert_int_equal(no->no_session.reason, KBAN_REFUSAL_VERSION);
	assert_true(sees(&c, ZMQ_EVENT_DISCONNECTED));
}

#define fleet_test(f) cmocka_unit_test_setup_teardown(f, fleet_up, fleet_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		fleet_test(a_granted_key_gets_in_and_is_served),
		fleet_test(an_unknown_key_is_refused_at_the_handshake),
		fleet_test(a_token_gets_in_once_to_join),
		fleet_test(a_revoked_node_gets_the_entry_is_cut_and_stays_out),
		fleet_test(reports_in_flight_are_all_answered_however_many),
		fleet_test(who_subscribes_again_and_again_and_reads_nothing_is_cut),
		fleet_test(an_oversized_message_ends_the_connection),
		fleet_test(a_message_of_two_parts_ends_the_connection),
		fleet_test(a_routing_id_of_the_peers_choice_ends_the_connection),
		fleet_test(a_cut_peer_gets_its_last_message_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
