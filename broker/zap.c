/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/zap.h"

#include <errno.h>
#include <string.h>

#include <zmq.h>

#include "proto/log.h"

#define FRAMES 7 /* of a CURVE request */
#define DRAIN  64

enum frame {
	FRAME_VERSION,
	FRAME_REQUEST,
	FRAME_DOMAIN,
	FRAME_ADDRESS,
	FRAME_ROUTING_ID,
	FRAME_MECHANISM,
	FRAME_KEY,
};

struct zap {
	void *socket;
	struct kban_loop *loop;
	const struct kban_clock *clock;
	zap_admit_fn *admits;
	void *arg;
	uint64_t log_since_ms; /* boot clock */
	unsigned logged;
	uint64_t unlogged;
};

struct request {
	size_t n; /* frames that came */
	zmq_msg_t frames[FRAMES];
};

static bool frame_is(struct request *r, enum frame f, const char *text)
{
	return zmq_msg_size(&r->frames[f]) == strlen(text) &&
	       !memcmp(zmq_msg_data(&r->frames[f]), text, strlen(text));
}

/* False: nothing is there. A request with more frames than ours is none of ours; they are read all
 * the same. */
static bool request_receive(void *socket, struct request *r)
{
	zmq_msg_t extra;

	for (r->n = 0;; r->n++) {
		zmq_msg_t *frame = r->n < FRAMES ? &r->frames[r->n] : &extra;

		zmq_msg_init(frame);
		if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(frame);
			return false;
		}
		bool more = zmq_msg_more(frame);
		if (r->n >= FRAMES)
			zmq_msg_close(frame);
		if (!more)
			break;
	}
	r->n++;
	return true;
}

static void request_close(struct request *r)
{
	for (size_t i = 0; i < r->n && i < FRAMES; i++)
		zmq_msg_close(&r->frames[i]);
}

static const char *request_judge(struct zap *z, struct request *r, struct kban_key *key)
{
	const char *reason = "unknown key";

	if (r->n != FRAMES || !frame_is(r, FRAME_VERSION, "1.0") ||
	    !frame_is(r, FRAME_DOMAIN, ZAP_DOMAIN))
		return "not a request of this broker";
	if (!frame_is(r, FRAME_MECHANISM, "CURVE") ||
	    zmq_msg_size(&r->frames[FRAME_KEY]) != sizeof(key->b))
		return "not CURVE";
	memcpy(key->b, zmq_msg_data(&r->frames[FRAME_KEY]), sizeof(key->b));
	return z->admits(z->arg, key, &reason) ? NULL : reason;
}

static void log_refusal(struct zap *z, struct request *r, const struct kban_key *key,
			const char *reason)
{
	uint64_t now_ms = kban_boot_ms(z->clock);
	char from[64], print[KBAN_FINGERPRINT_TEXT];

	if (now_ms - z->log_since_ms >= ZAP_LOG_EVERY_MS) {
		if (z->unlogged)
			kban_warning("%llu more connections were refused",
				     (unsigned long long)z->unlogged);
		z->log_since_ms = now_ms;
		z->logged = 0;
		z->unlogged = 0;
	}
	if (z->logged++ >= ZAP_LOG_BURST) {
		z->unlogged++;
		return;
	}
	if (r->n == FRAMES)
		kban_escape(from, sizeof(from), zmq_msg_data(&r->frames[FRAME_ADDRESS]),
			    zmq_msg_size(&r->frames[FRAME_ADDRESS]));
	else
		strcpy(from, "?");
	kban_warning("connection from %s refused: %s (CURVE key %s)", from, reason,
		     kban_fingerprint(print, key));
}

static void reply(struct zap *z, struct request *r, const struct kban_key *key, const char *reason)
{
	char user[KBAN_HEX(KBAN_KEY_SIZE)] = "";

	if (!reason)
		kban_hex(user, key->b, sizeof(key->b));
	const struct {
		const void *p;
		size_t n;
	} frames[] = {
		{"1.0", 3},
		{r->n > FRAME_REQUEST ? zmq_msg_data(&r->frames[FRAME_REQUEST]) : "",
		 r->n > FRAME_REQUEST ? zmq_msg_size(&r->frames[FRAME_REQUEST]) : 0},
		{reason ? "400" : "200", 3},
		{reason ? reason : "OK", reason ? strlen(reason) : 2},
		{user, strlen(user)},
		{"", 0}, /* metadata */
	};
	size_t n = KBAN_ARRAY_LEN(frames);

	for (size_t i = 0; i < n; i++) {
		if (zmq_send(z->socket, frames[i].p, frames[i].n, i + 1 < n ? ZMQ_SNDMORE : 0) <
		    0) {
			kban_warning("no answer to a handshake could be sent: %s",
				     zmq_strerror(errno));
			return;
		}
	}
}

static void zap_readable(void *arg)
{
	struct zap *z = arg;
	struct request r;

	for (int i = 0; i < DRAIN; i++) {
		struct kban_key key = {0};
		bool whole = request_receive(z->socket, &r);

		if (whole) {
			const char *reason = request_judge(z, &r, &key);

			if (reason)
				log_refusal(z, &r, &key, reason);
			reply(z, &r, &key, reason);
		}
		request_close(&r);
		if (!whole)
			return;
	}
}

int zap_new(struct zap **out, void *context, struct kban_loop *loop, const struct kban_clock *clock,
	    zap_admit_fn *admits, void *arg)
{
	kban_auto(zap_free) struct zap *z = kban_zalloc(sizeof(*z));
	int none = 0;

	z->clock = clock;
	z->admits = admits;
	z->arg = arg;
	z->socket = zmq_socket(context, ZMQ_REP);
	if (!z->socket || zmq_setsockopt(z->socket, ZMQ_LINGER, &none, sizeof(none)) ||
	    zmq_bind(z->socket, "inproc://zeromq.zap.01"))
		return -errno;
	z->loop = loop;
	kban_loop_socket(loop, z->socket, zap_readable, z);
	*out = z;
	z = NULL;
	return 0;
}

void zap_free(struct zap *z)
{
	if (!z)
		return;
	if (z->loop)
		kban_loop_remove_socket(z->loop, z->socket);
	if (z->socket)
		zmq_close(z->socket);
	kban_free(z);
}
