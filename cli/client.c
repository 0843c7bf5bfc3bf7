/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "cli/command.h"

#define REFUSED_MS                                                                                 \
	1000 /* how long a broker that refuses connections is tried: it may be starting again */
#define VANISHED_MAX 3	/* handshakes that end without a word before the broker's key is doubted */
#define BROKEN_MAX   16 /* messages outside the protocol */
#define RETRY_MS     50

enum wait { /* what came of waiting */
	    WAIT_MESSAGE,
	    WAIT_LATE,
	    WAIT_LOST,	  /* the connection, or its session */
	    WAIT_REFUSED, /* nobody listens */
	    WAIT_DENIED,  /* the broker does not admit our key */
	    WAIT_MUTE,	  /* the handshake ends without a word */
	    WAIT_GOODBYE, /* NoSession with a reason: c->goodbye */
	    WAIT_BROKEN,  /* what it says is not this protocol */
	    WAIT_STOPPED, /* what client_watch() names is readable */
};

struct client {
	const struct kban_identity *id;
	const struct kban_clock *clock;
	uint64_t deadline_ms;
	size_t broker; /* index in id->brokers */
	int watched;   /* -1: none */
	void *zmq, *socket, *monitor;
	unsigned sockets; /* so far: names the monitors */
	bool connected, up;
	uint64_t refused_ms; /* since when connecting is refused; 0: it is not */
	unsigned vanished, broken;
	struct kban_message *welcome, *goodbye;
};

/* Time. */

uint64_t client_left_ms(const struct client *c)
{
	uint64_t now = kban_boot_ms(c->clock);

	return now < c->deadline_ms ? c->deadline_ms - now : 0;
}

bool client_late(const struct client *c)
{
	return !client_left_ms(c);
}

void client_extend(struct client *c, uint64_t timeout_ms)
{
	c->deadline_ms = kban_boot_ms(c->clock) + timeout_ms;
}

void client_pause(struct client *c, uint64_t ms)
{
	uint64_t left = client_left_ms(c);

	ms = ms < left ? ms : left;
	nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
}

/* The socket. */

static void socket_close(struct client *c)
{
	if (c->monitor)
		zmq_close(c->monitor);
	if (c->socket)
		zmq_close(c->socket);
	c->socket = c->monitor = NULL;
	c->connected = c->up = false;
}

static void option_int(void *socket, int option, int value)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)))
		abort();
}

static void monitor_open(struct client *c)
{
	char name[64];

	snprintf(name, sizeof(name), "inproc://client-%u", c->sockets++);
	c->monitor = zmq_socket(c->zmq, ZMQ_PAIR);
	if (!c->monitor || zmq_socket_monitor(c->socket, name, ZMQ_EVENT_ALL) ||
	    zmq_connect(c->monitor, name))
		abort();
	option_int(c->monitor, ZMQ_LINGER, 0);
}

/* False: the endpoint cannot be connected to at all. */
static bool socket_open(struct client *c)
{
	const struct kban_broker_ref *broker = &c->id->brokers[c->broker];
	int64_t max = KBAN_MESSAGE_MAX;

	socket_close(c);
	c->socket = zmq_socket(c->zmq, ZMQ_DEALER);
	if (!c->socket)
		abort();
	option_int(c->socket, ZMQ_LINGER, 0);
	option_int(c->socket, ZMQ_IPV6, 1);
	option_int(c->socket, ZMQ_RECONNECT_IVL, RETRY_MS);
	zmq_setsockopt(c->socket, ZMQ_MAXMSGSIZE, &max, sizeof(max));
	if (zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, broker->curve.b, KBAN_KEY_SIZE) ||
	    zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, c->id->keys.curve_public.b,
			   KBAN_KEY_SIZE) ||
	    zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, c->id->keys.curve_secret, KBAN_KEY_SIZE))
		abort();
	monitor_open(c);
	return !zmq_connect(c->socket, broker->endpoint);
}

/* What the monitor says of the connection, zmq_socket_monitor(3). WAIT_MESSAGE: nothing that
 * matters. */
static enum wait link_event(struct client *c, uint16_t event, uint32_t value)
{
	switch (event) {
	case ZMQ_EVENT_CONNECTED:
		c->connected = true;
		c->refused_ms = 0;
		return WAIT_MESSAGE;
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		c->up = true;
		return WAIT_MESSAGE;
	case ZMQ_EVENT_CLOSED:
		if (!c->connected && !c->refused_ms)
			c->refused_ms = kban_boot_ms(c->clock);
		return WAIT_MESSAGE;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: /* ZAP's status: 400 is a no, 300 and 500 pass */
		return value == 400 ? WAIT_DENIED : WAIT_MESSAGE;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		c->connected = false;
		return ++c->vanished >= VANISHED_MAX ? WAIT_MUTE : WAIT_MESSAGE;
	case ZMQ_EVENT_DISCONNECTED:
		c->connected = false;
		return c->up ? WAIT_LOST : WAIT_MESSAGE;
	default: /* not a closed set: libzmq has more */
		return WAIT_MESSAGE;
	}
}

static enum wait link_read(struct client *c)
{
	enum wait result = WAIT_MESSAGE;
	uint8_t frame[6];
	char endpoint[512];

	while (result == WAIT_MESSAGE &&
	       zmq_recv(c->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) == 6) {
		uint16_t event;
		uint32_t value;
		memcpy(&event, frame, 2);
		memcpy(&value, frame + 2, 4);
		zmq_recv(c->monitor, endpoint, sizeof(endpoint), ZMQ_DONTWAIT);
		result = link_event(c, event, value);
	}
	if (result == WAIT_MESSAGE && c->refused_ms &&
	    kban_boot_ms(c->clock) - c->refused_ms >= REFUSED_MS)
		return WAIT_REFUSED;
	return result;
}

/* One frame, decoded; NULL: there is none, or not one that means anything. */
static struct kban_message *frame_take(struct client *c)
{
	struct kban_message *m = NULL;
	zmq_msg_t frame;

	zmq_msg_init(&frame);
	while (!m && zmq_msg_recv(&frame, c->socket, ZMQ_DONTWAIT) >= 0) {
		bool alone = !zmq_msg_more(&frame);
		int r = kban_message_decode(&m, zmq_msg_data(&frame), zmq_msg_size(&frame));
		while (zmq_msg_more(&frame) && zmq_msg_recv(&frame, c->socket, ZMQ_DONTWAIT) >= 0)
			;
		if (r || !alone) {
			kban_message_free(m);
			m = NULL;
			c->broken++;
		}
	}
	zmq_msg_close(&frame);
	return m;
}

static enum wait message_sort(struct client *c, struct kban_message *m)
{
	if (m->kind != KBAN_MSG_NO_SESSION)
		return WAIT_MESSAGE;
	kban_message_free(c->goodbye);
	c->goodbye = m;
	return m->no_session.reason == KBAN_REFUSAL_UNKNOWN_SESSION ? WAIT_LOST : WAIT_GOODBYE;
}

/* Until something comes, or a little while. True: it is time to stop. */
static bool client_poll(struct client *c)
{
	uint64_t left = client_left_ms(c);
	zmq_pollitem_t items[] = {{c->socket, 0, ZMQ_POLLIN, 0},
				  {c->monitor, 0, ZMQ_POLLIN, 0},
				  {NULL, c->watched, ZMQ_POLLIN, 0}};

	zmq_poll(items, c->watched < 0 ? 2 : 3, (long)(left < 100 ? left : 100));
	return items[2].revents;
}

static enum wait client_wait(struct client *c, struct kban_message **out)
{
	for (;;) {
		*out = frame_take(c);
		if (*out) {
			enum wait w = message_sort(c, *out);
			if (w != WAIT_MESSAGE)
				*out = NULL; /* it is c->goodbye */
			return w;
		}
		if (c->broken >= BROKEN_MAX)
			return WAIT_BROKEN;
		enum wait w = link_read(c);
		if (w != WAIT_MESSAGE)
			return w;
		if (client_late(c))
			return c->refused_ms ? WAIT_REFUSED : c->vanished ? WAIT_MUTE : WAIT_LATE;
		if (client_poll(c))
			return WAIT_STOPPED;
	}
}

static void message_send(struct client *c, struct kban_message *m)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	m->version = KBAN_PROTOCOL_VERSION;
	if (m->kind != KBAN_MSG_HELLO) {
		m->has_session = true;
		memcpy(m->session, c->welcome->welcome.session, KBAN_SESSION_SIZE);
	}
	kban_message_encode(&bytes, &len, m);
	zmq_send(c->socket, bytes, len, ZMQ_DONTWAIT); /* what gets lost is asked again */
	free(bytes);
}

/* Sessions. */

static int words_unreachable(const struct client *c, const char *what, char **error)
{
	*error = kban_asprintf(
		"broker %s %s; is kban-broker running there, and the way to it open?",
		client_endpoint(c), what);
	return CLI_UNREACHABLE;
}

static int words_goodbye(const struct client *c, char **error)
{
	const struct kban_no_session *n = &c->goodbye->no_session;
	kban_auto(kban_free) void *detail = cli_escaped(n->detail.s, n->detail.n);
	bool denied = n->reason == KBAN_REFUSAL_REVOKED || n->reason == KBAN_REFUSAL_DENIED ||
		      n->reason == KBAN_REFUSAL_WRONG_CLUSTER ||
		      n->reason == KBAN_REFUSAL_INVITATION_USED;

	*error = kban_asprintf(
		"broker %s refuses: %s%s%s%s", client_endpoint(c), kban_refusal_name(n->reason),
		n->detail.n ? ": " : "", (char *)detail,
		n->reason == KBAN_REFUSAL_UPGRADE_NEEDED ? "; upgrade this kbanctl" : "");
	return denied ? CLI_DENIED : CLI_FAILED;
}

static int words(const struct client *c, enum wait w, char **error)
{
	switch (w) {
	case WAIT_LATE:
		return words_unreachable(c, "does not answer", error);
	case WAIT_REFUSED:
		return words_unreachable(c, "refuses connections", error);
	case WAIT_LOST:
	case WAIT_MESSAGE:
		return words_unreachable(c, "ended the connection", error);
	case WAIT_DENIED:
		*error = kban_asprintf("broker %s does not admit the key of %s: revoked, or "
				       "unknown to this cluster",
				       client_endpoint(c), c->id->name);
		return CLI_DENIED;
	case WAIT_MUTE:
		*error = kban_asprintf("broker %s ends the handshake: its key is not the one that "
				       "the identity names, "
				       "or something else listens there",
				       client_endpoint(c));
		return CLI_UNREACHABLE;
	case WAIT_GOODBYE:
		return words_goodbye(c, error);
	case WAIT_STOPPED:
		*error = kban_strdup("interrupted");
		return CLI_FAILED;
	case WAIT_BROKEN:
		*error = kban_asprintf("broker %s answers outside protocol version %u; are both "
				       "programs of the same "
				       "version?",
				       client_endpoint(c), KBAN_PROTOCOL_VERSION);
		return CLI_FAILED;
	}
	abort();
}

static enum wait hello(struct client *c)
{
	struct kban_message m = {.kind = KBAN_MSG_HELLO,
				 .hello = {
					 .min_version = KBAN_PROTOCOL_VERSION,
					 .max_version = KBAN_PROTOCOL_VERSION,
					 .fold_version = kban_fold_newest,
					 .cluster = c->id->cluster,
					 .program = kban_text("kbanctl " KBAN_VERSION),
				 }};
	struct kban_message *answer = NULL;

	if (!socket_open(c))
		return WAIT_LATE;
	message_send(c, &m);
	for (;;) {
		enum wait w = client_wait(c, &answer);
		if (w != WAIT_MESSAGE)
			return w;
		if (answer->kind == KBAN_MSG_WELCOME)
			break;
		kban_message_free(answer);
	}
	kban_message_free(c->welcome);
	c->welcome = answer;
	return WAIT_MESSAGE;
}

/* A broker that cannot be reached is passed over once; a session that is lost is made again. */
static int session_make(struct client *c, char **error)
{
	size_t tried = 0;

	for (;;) {
		c->refused_ms = c->vanished = c->broken = 0;
		enum wait w = hello(c);
		if (w == WAIT_MESSAGE)
			return 0;
		if (w == WAIT_LOST && !client_late(c)) {
			client_pause(c, RETRY_MS);
			continue;
		}
		bool another = (w == WAIT_REFUSED || w == WAIT_MUTE) && ++tried < c->id->brokers_n;
		if (!another || client_late(c))
			return words(c, w, error);
		c->broker = (c->broker + 1) % c->id->brokers_n;
	}
}

/* After waiting went wrong: 0 when there is a new session to ask again in. */
static int recover(struct client *c, enum wait w, char **error)
{
	bool stopping = w == WAIT_GOODBYE && c->goodbye->no_session.reason == KBAN_REFUSAL_STOPPING;

	if ((w != WAIT_LOST && w != WAIT_REFUSED && !stopping) || client_late(c))
		return words(c, w, error);
	client_pause(c, RETRY_MS);
	return session_make(c, error);
}

int client_open(struct client **out, const struct kban_identity *id, const struct kban_clock *clock,
		uint64_t timeout_ms, char **error)
{
	if (!id->brokers_n) {
		*error = kban_asprintf("the identity of %s names no broker", id->name);
		return CLI_FAILED;
	}
	kban_auto(client_free) struct client *c = kban_zalloc(sizeof(*c));
	c->id = id;
	c->clock = clock;
	c->watched = -1;
	client_extend(c, timeout_ms);
	c->zmq = zmq_ctx_new();
	if (!c->zmq)
		abort();
	int r = session_make(c, error);
	if (r)
		return r;
	*out = c;
	c = NULL;
	return 0;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	socket_close(c);
	if (c->zmq)
		zmq_ctx_term(c->zmq);
	kban_message_free(c->welcome);
	kban_message_free(c->goodbye);
	free(c);
}

const struct kban_welcome *client_welcome(const struct client *c)
{
	return &c->welcome->welcome;
}

const char *client_endpoint(const struct client *c)
{
	return c->id->brokers[c->broker].endpoint;
}

void client_watch(struct client *c, int fd)
{
	c->watched = fd;
}

int client_renew(struct client *c, uint64_t timeout_ms, char **error)
{
	client_extend(c, timeout_ms);
	return session_make(c, error);
}

/* Questions. */

int client_await(struct client *c, const struct kban_query *q, uint64_t wait_ms,
		 struct kban_message **answer, char **error)
{
	struct kban_message m = {.kind = KBAN_MSG_QUERY, .query = *q};

	client_extend(c, wait_ms);
	message_send(c, &m);
	for (;;) {
		enum wait w = client_wait(c, answer);
		if (w == WAIT_LATE || w == WAIT_STOPPED) {
			*answer = NULL;
			return 0;
		}
		if (w == WAIT_MESSAGE) {
			if ((*answer)->kind == KBAN_MSG_ANSWER && (*answer)->answer.kind == q->kind)
				return 0;
			kban_message_free(*answer);
			continue;
		}
		int r = recover(c, w, error);
		if (r)
			return r;
		message_send(c, &m);
	}
}

int client_ask(struct client *c, const struct kban_query *q, struct kban_message **answer,
	       char **error)
{
	struct kban_message m = {.kind = KBAN_MSG_QUERY, .query = *q};

	message_send(c, &m);
	for (;;) {
		enum wait w = client_wait(c, answer);
		if (w == WAIT_MESSAGE) {
			if ((*answer)->kind == KBAN_MSG_ANSWER && (*answer)->answer.kind == q->kind)
				return 0;
			kban_message_free(*answer);
			continue;
		}
		int r = recover(c, w, error);
		if (r)
			return r;
		message_send(c, &m);
	}
}

static bool receipt_final(const struct kban_message *m, const struct kban_hash *hash)
{
	return m->kind == KBAN_MSG_RECEIPT && kban_hash_equal(&m->receipt.hash, hash) &&
	       m->receipt.refusal != KBAN_REFUSAL_BUSY;
}

int client_submit(struct client *c, const struct kban_sealed *s, struct kban_message **receipt,
		  char **error)
{
	struct kban_message m = {.kind = KBAN_MSG_SUBMIT, .submit = *s};
	struct kban_hash hash;

	kban_sealed_hash(&hash, s);
	message_send(c, &m);
	for (;;) {
		enum wait w = client_wait(c, receipt);
		if (w == WAIT_MESSAGE) {
			if (receipt_final(*receipt, &hash))
				return 0;
			bool busy = (*receipt)->kind == KBAN_MSG_RECEIPT &&
				    (*receipt)->receipt.refusal == KBAN_REFUSAL_BUSY;
			kban_message_free(*receipt);
			if (!busy)
				continue;
			client_pause(c, RETRY_MS);
		} else {
			int r = recover(c, w, error);
			if (r)
				return r;
		}
		message_send(c, &m);
	}
}
