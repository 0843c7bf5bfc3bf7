/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/router.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <zmq.h>

#include "broker/zap.h"
#include "proto/hash.h"
#include "proto/log.h"

#define ID_SIZE 5 /* of the ids that libzmq makes: a zero and four bytes */

struct connection {
	uint64_t id; /* hash key */
	int fd;	     /* libzmq's; of a cut one our duplicate, -1 when it is ended */
	uint64_t cookie;
	bool cut, lost;
	bool spoke;	  /* since it was last looked at */
	uint64_t handed;  /* bytes given to libzmq ... */
	uint64_t acked;	  /* and what the peer's host had acknowledged when that count was 0 */
	uint64_t whole;	  /* bytes received when its newest message was whole, or soon after */
	uint64_t cut_ms; /* boot clock */
	UT_hash_handle hh;
};

struct router {
	void *socket;
	struct kban_loop *loop;
	const struct kban_clock *clock;
	struct broker_transport transport;
	struct broker *broker;
	void (*fail)(void *arg, int error);
	void *fail_arg;
	struct connection *connections;
	bool losses;	  /* some are to be reported to the broker */
	size_t cuts;	  /* connections that are being ended */
	uint64_t swept_ms; /* boot clock: when peers that went away were looked for */
	uint64_t strange; /* messages under ids that libzmq did not make, or of several parts */
};

/* Ids --------------------------------------------------------------------------------------- */

static bool id_parse(uint64_t *out, zmq_msg_t *frame)
{
	const uint8_t *p = zmq_msg_data(frame);

	if (zmq_msg_size(frame) != ID_SIZE || p[0])
		return false;
	*out = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
	return true;
}

static void id_format(uint8_t out[ID_SIZE], uint64_t id)
{
	out[0] = 0;
	for (int i = 1; i < ID_SIZE; i++)
		out[i] = (uint8_t)(id >> 8 * (ID_SIZE - 1 - i));
}

/* Connections ------------------------------------------------------------------------------- */

static uint64_t socket_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}

static struct connection *connection_find(struct router *r, uint64_t id)
{
	struct connection *c;

	HASH_FIND(hh, r->connections, &id, sizeof(id), c);
	return c;
}

/* The broker hears of it when it has finished what it is doing. */
static void connection_lose(struct router *r, struct connection *c)
{
	c->lost = true;
	r->losses = true;
}

/* A message can be read after its sender went away, when its descriptor's number is a newer peer's already. Once
 * that one speaks, the older row has no descriptor: to cut it must not cut the newer one. */
static void connection_disown(struct router *r, uint64_t cookie)
{
	struct connection *c, *next;

	HASH_ITER (hh, r->connections, c, next) {
		if (c->cut || c->cookie != cookie)
			continue;
		c->fd = -1;
		c->cookie = 0;
		connection_lose(r, c);
	}
}

/* A ROUTER does not tell that a peer went away: its descriptor is closed, or another socket has its number. */
static bool connection_is_gone(const struct connection *c)
{
	return c->cookie && socket_cookie(c->fd) != c->cookie;
}

static bool connection_info(const struct connection *c, struct tcp_info *out)
{
	socklen_t len = sizeof(*out);

	memset(out, 0, sizeof(*out));
	return c->cookie && !getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, out, &len);
}

/* libzmq keeps the parts of a message until it is whole, however many there are. */
static bool connection_floods(struct connection *c)
{
	struct tcp_info info;

	if (!connection_info(c, &info))
		return false;
	if (c->spoke)
		c->whole = info.tcpi_bytes_received;
	c->spoke = false;
	return info.tcpi_bytes_received > c->whole + ROUTER_PARTS_BYTES_MAX;
}

/* Not more often than every interval. */
static void connections_sweep(struct router *r, uint64_t now_ms, uint64_t interval_ms)
{
	struct connection *c, *next;

	if (now_ms - r->swept_ms < interval_ms)
		return;
	r->swept_ms = now_ms;
	HASH_ITER (hh, r->connections, c, next) {
		if (!c->cut && !c->lost && (connection_is_gone(c) || connection_floods(c)))
			connection_lose(r, c);
	}
}

static struct connection *connection_get(struct router *r, uint64_t id, int fd)
{
	struct connection *c = connection_find(r, id);

	if (c)
		return c;
	uint64_t cookie = socket_cookie(fd);

	/* Who comes and goes in a hurry is not to be counted many times. */
	connections_sweep(r, kban_boot_ms(r->clock), ROUTER_SWEEP_MIN_MS);
	if (cookie)
		connection_disown(r, cookie);
	c = kban_zalloc(sizeof(*c));
	c->id = id;
	c->fd = fd;
	c->cookie = cookie;
	HASH_ADD(hh, r->connections, id, sizeof(c->id), c);
	return c;
}

static void connection_free(struct router *r, struct connection *c)
{
	HASH_DEL(r->connections, c);
	if (c->cut) {
		r->cuts--;
		kban_close(c->fd);
	}
	free(c);
}

/* From here on the descriptor is our own: libzmq may close its one and use the number again. */
static void connection_cut(struct router *r, struct connection *c)
{
	if (c->cut)
		return;
	c->cut = true;
	r->cuts++;
	c->cut_ms = kban_boot_ms(r->clock);
	int copy = c->fd >= 0 ? fcntl(c->fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (copy >= 0 && (!c->cookie || socket_cookie(copy) != c->cookie)) {
		kban_close(copy);
		copy = -1;
	}
	c->fd = copy;
}

static void connection_end(struct connection *c)
{
	if (c->fd < 0)
		return;
	shutdown(c->fd, SHUT_RDWR);
	kban_close(c->fd);
	c->fd = -1;
}

static bool connection_is_out(const struct connection *c)
{
	int unsent = 0;

	return ioctl(c->fd, SIOCOUTQ, &unsent) || !unsent;
}

static void connection_tick(struct router *r, struct connection *c, uint64_t now_ms)
{
	uint64_t since = now_ms - c->cut_ms;

	if (since >= ROUTER_CUT_KEEP_MS) {
		connection_end(c);
		connection_free(r, c);
	} else if (c->fd >= 0 && (since >= ROUTER_CUT_MAX_MS ||
				  (since >= ROUTER_CUT_MIN_MS && connection_is_out(c)))) {
		connection_end(c);
	}
}

/* libzmq counts messages only, and a peer that acknowledges entries which it never read has no
 * window: so what waits for it is measured. True: it has room for so many bytes more. */
static bool connection_takes(struct connection *c, size_t len)
{
	struct tcp_info info;

	if (!connection_info(c, &info))
		return true; /* it is gone: soon seen, and libzmq drops what is sent to it */
	if (info.tcpi_bytes_acked >= c->acked + c->handed) {
		c->acked = info.tcpi_bytes_acked;
		c->handed = 0;
	}
	c->handed += len;
	return c->acked + c->handed <= info.tcpi_bytes_acked + ROUTER_SEND_BYTES_MAX;
}

static void losses_report(struct router *r)
{
	struct connection *c, *next;

	while (r->losses) {
		r->losses = false;
		HASH_ITER (hh, r->connections, c, next) {
			if (!c->lost)
				continue;
			uint64_t id = c->id;

			c->lost = false;
			connection_cut(r, c);
			broker_gone(r->broker, id);
		}
	}
}

void router_tick(struct router *r)
{
	uint64_t now_ms = kban_boot_ms(r->clock);
	struct connection *c, *next;

	connections_sweep(r, now_ms, ROUTER_SWEEP_MS);
	if (r->cuts) {
		HASH_ITER (hh, r->connections, c, next) {
			if (c->cut)
				connection_tick(r, c, now_ms);
		}
	}
	losses_report(r);
}

/* Sending ----------------------------------------------------------------------------------- */

static void router_send(void *arg, uint64_t peer, const uint8_t *bytes, size_t len)
{
	struct router *r = arg;
	struct connection *c = connection_find(r, peer);
	uint8_t id[ID_SIZE];

	if (!c || c->cut || c->lost)
		return;
	if (!connection_takes(c, len)) {
		kban_debug("peer %llu reads nothing", (unsigned long long)peer);
		connection_lose(r, c);
		return;
	}
	id_format(id, peer);
	if (zmq_send(r->socket, id, sizeof(id), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
	    zmq_send(r->socket, bytes, len, ZMQ_DONTWAIT) >= 0)
		return;
	kban_debug("peer %llu: %s", (unsigned long long)peer, zmq_strerror(errno));
	connection_lose(r, c);
}

static void router_cut(void *arg, uint64_t peer)
{
	struct router *r = arg;
	struct connection *c = connection_find(r, peer);

	if (c)
		connection_cut(r, c);
}

const struct broker_transport *router_transport(const struct router *r)
{
	return &r->transport;
}

/* Receiving --------------------------------------------------------------------------------- */

struct incoming {
	zmq_msg_t id, body;
	bool multipart;
};

static void incoming_close(struct incoming *in)
{
	zmq_msg_close(&in->id);
	zmq_msg_close(&in->body);
}

static void skip_parts(struct router *r)
{
	zmq_msg_t part;
	int more = 1;

	while (more) {
		zmq_msg_init(&part);
		more = zmq_msg_recv(&part, r->socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&part);
		zmq_msg_close(&part);
	}
}

/* False: nothing is there. */
static bool incoming_receive(struct router *r, struct incoming *in)
{
	zmq_msg_init(&in->id);
	zmq_msg_init(&in->body);
	in->multipart = false;
	if (zmq_msg_recv(&in->id, r->socket, ZMQ_DONTWAIT) < 0)
		return false;
	if (!zmq_msg_more(&in->id) || zmq_msg_recv(&in->body, r->socket, ZMQ_DONTWAIT) < 0)
		return false;
	in->multipart = zmq_msg_more(&in->body);
	if (in->multipart)
		skip_parts(r);
	return true;
}

/* The key that the connection proved to own; the ZAP handler's User-Id. */
static bool incoming_key(struct incoming *in, struct kban_key *out)
{
	const char *user = zmq_msg_gets(&in->body, "User-Id");

	return user && kban_unhex(out->b, sizeof(out->b), user);
}

/* For people: an IPv4 peer of a dual-stack socket is shown as IPv4. */
static const char *peer_address(struct incoming *in)
{
	const char *address = zmq_msg_gets(&in->body, "Peer-Address");

	if (!address)
		return "?";
	return !strncmp(address, "::ffff:", 7) && strchr(address, '.') ? address + 7 : address;
}

/* A connection whose id we can't use, so that it is not in the table. */
static void cut_strange(struct router *r, int fd)
{
	if (!r->strange++)
		kban_warning("a peer chose its own routing id: it is cut off");
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
}

static void incoming_deliver(struct router *r, struct incoming *in)
{
	int fd = zmq_msg_get(&in->body, ZMQ_SRCFD);
	const char *address = peer_address(in);
	struct kban_key curve;
	uint64_t id;

	if (!id_parse(&id, &in->id)) {
		cut_strange(r, fd);
		return;
	}
	struct connection *c = connection_get(r, id, fd);
	c->spoke = true;
	if (c->cut || c->lost)
		return;
	if (in->multipart || !incoming_key(in, &curve)) {
		r->strange++;
		kban_warning("a message of several parts from %s: it is cut off",
			     address);
		connection_lose(r, c);
		return;
	}
	broker_receive(r->broker, id, &curve, address, zmq_msg_data(&in->body),
		       zmq_msg_size(&in->body));
}

static void router_readable(void *arg)
{
	struct router *r = arg;
	size_t bytes = 0;

	for (int i = 0; i < ROUTER_DRAIN_MAX && bytes < ROUTER_DRAIN_BYTES_MAX; i++) {
		struct incoming in;
		bool any = incoming_receive(r, &in);

		if (any) {
			bytes += zmq_msg_size(&in.body);
			incoming_deliver(r, &in);
		}
		incoming_close(&in);
		if (!any)
			break;
	}
	int result = broker_commit(r->broker);
	losses_report(r);
	if (result)
		r->fail(r->fail_arg, result);
}

/* Setting up -------------------------------------------------------------------------------- */

static int set_numbers(void *socket)
{
	static const struct {
		int option, value;
	} numbers[] = {
		{ZMQ_CURVE_SERVER, 1},
		{ZMQ_ROUTER_MANDATORY, 1},
		{ZMQ_IPV6, 1},
		{ZMQ_LINGER, ROUTER_LINGER_MS},
		{ZMQ_HANDSHAKE_IVL, ROUTER_HANDSHAKE_MS},
		{ZMQ_SNDHWM, ROUTER_SEND_HWM},
		{ZMQ_RCVHWM, ROUTER_RECEIVE_HWM},
		{ZMQ_BACKLOG, 1024},
		{ZMQ_HEARTBEAT_IVL, 5000},
		{ZMQ_HEARTBEAT_TIMEOUT, 15000},
		{ZMQ_HEARTBEAT_TTL, 20000},
		{ZMQ_TCP_KEEPALIVE, 1},
		{ZMQ_TCP_KEEPALIVE_IDLE, 30},
		{ZMQ_TCP_KEEPALIVE_INTVL, 10},
		{ZMQ_TCP_KEEPALIVE_CNT, 3},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(numbers); i++) {
		if (zmq_setsockopt(socket, numbers[i].option, &numbers[i].value, sizeof(int)))
			return -errno;
	}
	return 0;
}

static int set_security(void *socket, const struct kban_keypair *keys)
{
	int64_t largest = KBAN_MESSAGE_MAX;

	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) ||
	    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) ||
	    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->curve_secret,
			   sizeof(keys->curve_secret)))
		return -errno;
	return 0;
}

int router_new(struct router **out, void *context, struct kban_loop *loop,
	       const struct kban_identity *identity, const struct kban_clock *clock)
{
	kban_auto(router_free) struct router *r = kban_zalloc(sizeof(*r));

	r->loop = loop;
	r->clock = clock;
	r->transport = (struct broker_transport){router_send, router_cut, r};
	r->socket = zmq_socket(context, ZMQ_ROUTER);
	if (!r->socket)
		return -errno;
	int result = set_numbers(r->socket);
	if (!result)
		result = set_security(r->socket, &identity->keys);
	if (result)
		return result;
	*out = r;
	r = NULL;
	return 0;
}

void router_serve(struct router *r, struct broker *b, void (*fail)(void *arg, int error), void *arg)
{
	r->broker = b;
	r->fail = fail;
	r->fail_arg = arg;
	kban_loop_socket(r->loop, r->socket, router_readable, r);
}

int router_bind(struct router *r, const char *endpoint)
{
	return zmq_bind(r->socket, endpoint) ? -errno : 0;
}

int router_endpoint(const struct router *r, char *out, size_t size)
{
	return zmq_getsockopt(r->socket, ZMQ_LAST_ENDPOINT, out, &size) ? -errno : 0;
}

void router_free(struct router *r)
{
	struct connection *c, *next;

	if (!r)
		return;
	HASH_ITER (hh, r->connections, c, next)
		connection_free(r, c);
	if (r->broker)
		kban_loop_remove_socket(r->loop, r->socket);
	if (r->socket)
		zmq_close(r->socket);
	free(r);
}
