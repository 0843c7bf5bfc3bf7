/* SPDX-License-Identifier: MPL-2.0 */
#include "node/dealer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "proto/log.h"

#define MONITOR_EVENTS                                                                             \
	(ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                    \
	 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |                   \
	 ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED)
#define MESSAGES_A_TURN 64
#define ZAP_DENIED	400 /* rfc.zeromq.org/spec/27: 300 is a temporary failure, 400 a refusal */

struct dealer {
	struct kban_loop *loop;
	const struct kban_identity *identity;
	struct dealer_calls calls;
	void *context;
	void *socket, *monitor; /* NULL: none */
	unsigned attempts;	/* names each monitor */
};

void dealer_new(struct dealer **out, struct kban_loop *loop, const struct kban_identity *identity,
		const struct dealer_calls *calls)
{
	struct dealer *d = kban_zalloc(sizeof(*d));

	d->loop = loop;
	d->identity = identity;
	d->calls = *calls;
	d->context = zmq_ctx_new();
	if (!d->context)
		abort();
	*out = d;
}

void dealer_free(struct dealer *d)
{
	if (!d)
		return;
	dealer_disconnect(d);
	zmq_ctx_term(d->context);
	free(d);
}

void dealer_disconnect(struct dealer *d)
{
	if (!d->socket)
		return;
	kban_loop_remove_socket(d->loop, d->socket);
	kban_loop_remove_socket(d->loop, d->monitor);
	zmq_socket_monitor(d->socket, NULL, 0);
	zmq_close(d->monitor);
	zmq_close(d->socket);
	d->socket = d->monitor = NULL;
}

static void end_of_connection(struct dealer *d, void (*tell)(void *arg))
{
	dealer_disconnect(d);
	tell(d->calls.arg);
}

/* One event of the monitor: a frame with number and value, and one with the endpoint. False: none
 * is there. */
static bool monitor_read(void *monitor, uint16_t *event, uint32_t *value)
{
	uint8_t frame[6];
	char endpoint[KBAN_ENDPOINT_MAX + 64];

	if (zmq_recv(monitor, frame, sizeof(frame), ZMQ_DONTWAIT) != (int)sizeof(frame))
		return false;
	memcpy(event, frame, 2);
	memcpy(value, frame + 2, 4);
	(void)zmq_recv(monitor, endpoint, sizeof(endpoint), ZMQ_DONTWAIT);
	return true;
}

static void monitor_ready(void *arg)
{
	struct dealer *d = arg;
	uint16_t event;
	uint32_t value;

	if (!d->monitor || !monitor_read(d->monitor, &event, &value))
		return;
	if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
		d->calls.connected(d->calls.arg);
	else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == ZAP_DENIED)
		end_of_connection(d, d->calls.refused);
	else
		end_of_connection(d, d->calls.lost);
}

/* False: the connection is over, or nothing more is there. */
static bool message_read(struct dealer *d)
{
	void *socket = d->socket;
	zmq_msg_t msg;

	zmq_msg_init(&msg);
	if (!socket || zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&msg);
		return false;
	}
	bool more = zmq_msg_more(&msg);

	if (!more)
		d->calls.message(d->calls.arg, zmq_msg_data(&msg), zmq_msg_size(&msg));
	zmq_msg_close(&msg);
	if (more) {
		kban_warning("the broker sent a message of several parts: connecting anew");
		end_of_connection(d, d->calls.lost);
		return false;
	}
	return d->socket == socket;
}

static void socket_ready(void *arg)
{
	for (unsigned i = 0; i < MESSAGES_A_TURN && message_read(arg); i++)
		;
}

static void set_int(void *socket, int option, int value)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)))
		abort(); /* a const option with a const value */
}

static void set_key(void *socket, int option, const uint8_t *key)
{
	if (zmq_setsockopt(socket, option, key, 32))
		abort();
}

static void set_options(struct dealer *d, const struct kban_broker_ref *broker)
{
	static const struct {
		int option, value;
	} ints[] = {
		{ZMQ_LINGER, 0},
		{ZMQ_RECONNECT_IVL, -1},
		{ZMQ_IPV6, 1},
		{ZMQ_CONNECT_TIMEOUT, 5000},
		{ZMQ_HANDSHAKE_IVL, 5000},
		{ZMQ_HEARTBEAT_IVL, 5000},
		{ZMQ_HEARTBEAT_TTL, 20000},
		{ZMQ_HEARTBEAT_TIMEOUT, 15000},
		{ZMQ_TCP_KEEPALIVE, 1},
		{ZMQ_TCP_KEEPALIVE_IDLE, 30},
		{ZMQ_TCP_KEEPALIVE_INTVL, 10},
		{ZMQ_TCP_KEEPALIVE_CNT, 3},
	};
	int64_t largest = KBAN_MESSAGE_MAX;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(ints); i++)
		set_int(d->socket, ints[i].option, ints[i].value);
	if (zmq_setsockopt(d->socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)))
		abort();
	set_key(d->socket, ZMQ_CURVE_SERVERKEY, broker->curve.b);
	set_key(d->socket, ZMQ_CURVE_PUBLICKEY, d->identity->keys.curve_public.b);
	set_key(d->socket, ZMQ_CURVE_SECRETKEY, d->identity->keys.curve_secret);
}

static void open_monitor(struct dealer *d)
{
	char name[64];

	snprintf(name, sizeof(name), "inproc://dealer-%u", ++d->attempts);
	d->monitor = zmq_socket(d->context, ZMQ_PAIR);
	if (!d->monitor || zmq_socket_monitor(d->socket, name, MONITOR_EVENTS) ||
	    zmq_connect(d->monitor, name))
		abort();
}

void dealer_connect(struct dealer *d, size_t which)
{
	const struct kban_broker_ref *broker = &d->identity->brokers[which];

	dealer_disconnect(d);
	d->socket = zmq_socket(d->context, ZMQ_DEALER);
	if (!d->socket)
		abort();
	set_options(d, broker);
	open_monitor(d);
	kban_loop_socket(d->loop, d->socket, socket_ready, d);
	kban_loop_socket(d->loop, d->monitor, monitor_ready, d);
	/* A failure here (a name that is no endpoint) shows as an attempt without an answer. */
	if (zmq_connect(d->socket, broker->endpoint))
		kban_warning("cannot connect to %s: %s; check `broker` in the identity file",
			     broker->endpoint, zmq_strerror(errno));
}

void dealer_send(struct dealer *d, const uint8_t *bytes, size_t len)
{
	/* A queue of a thousand messages that nobody takes is a connection that heartbeats are
	 * about to end. */
	if (d->socket && zmq_send(d->socket, bytes, len, ZMQ_DONTWAIT) < 0)
		kban_debug("a message to the broker was dropped: %s", zmq_strerror(errno));
}
