/* SPDX-License-Identifier: MPL-2.0 */
#include "broker/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "broker/core.h"
#include "broker/router.h"
#include "broker/zap.h"
#include "proto/genesis.h"
#include "proto/log.h"
#include "store/lmdb.h"

#define TICK_MS	  1000
#define STATUS_MS 10000

struct serve {
	const struct serve_config *config;
	struct kban_loop *loop;
	void *context;
	struct store *store;
	uint8_t *genesis_bytes;
	struct kban_sealed genesis;
	struct router *router;
	struct broker *broker;
	struct zap *zap;
	int failed;
};

static bool admits(void *arg, const struct kban_key *curve, const char **reason)
{
	struct serve *s = arg;

	return broker_admits(s->broker, curve, reason);
}

static void on_fail(void *arg, int error)
{
	struct serve *s = arg;

	s->failed = error;
	kban_loop_stop(s->loop);
}

static void on_tick(void *arg)
{
	struct serve *s = arg;

	broker_tick(s->broker);
}

/* What waits for a quiet moment goes on here too, in steps: a tick a second would take too long. */
static void on_cut_tick(void *arg)
{
	struct serve *s = arg;
	int r;

	router_tick(s->router);
	r = broker_work(s->broker);
	if (r)
		on_fail(s, r);
}

static void on_status(void *arg)
{
	struct serve *s = arg;
	const struct broker_counts *c = broker_counts(s->broker);
	struct kban_place place;
	char status[256];

	ledger_place(broker_ledger(s->broker), &place);
	snprintf(status, sizeof(status),
		 "entry %llu, history from entry %llu, %llu peers, %llu following, %llu malformed "
		 "messages%s%s",
		 (unsigned long long)place.seq, (unsigned long long)c->horizon + 1,
		 (unsigned long long)c->peers, (unsigned long long)c->subscribers,
		 (unsigned long long)c->malformed, c->compacting ? "; compacting" : "",
		 c->disk_full ? "; the disk is full: reports are refused" : "");
	kban_loop_ready(s->loop, status);
}

/* A step of the start that failed with an errno and has no sentence of its own. */
static int failed(char **error, int r, const char *what)
{
	if (r && !*error)
		*error = kban_asprintf("%s: %s", what, strerror(r < 0 ? -r : EIO));
	return r > 0 ? -EIO : r;
}

static int open_genesis(struct serve *s, char **error)
{
	const char *path = s->config->genesis;
	struct store_head head;
	int r = store_head(s->store, &head);

	if (r || head.place.seq || !path || !*path)
		return failed(error, r, "the log cannot be read");
	return failed(error, kban_genesis_load(path, &s->genesis_bytes, &s->genesis, error), path);
}

static int open_broker(struct serve *s, char **error)
{
	const struct serve_config *c = s->config;
	int r = store_lmdb_open(&s->store, c->data, &c->identity->cluster, error);

	if (!r)
		r = open_genesis(s, error);
	if (r)
		return failed(error, r, c->data);
	return broker_new(&s->broker, c->identity, s->store, &kban_clock_system,
			  router_transport(s->router), s->genesis_bytes ? &s->genesis : NULL,
			  error);
}

static int open_sockets(struct serve *s, char **error)
{
	s->context = zmq_ctx_new();
	if (!s->context)
		return failed(error, -errno, "no ZeroMQ context");
	return failed(error,
		      router_new(&s->router, s->context, s->loop, s->config->identity,
				 &kban_clock_system),
		      "no ROUTER socket");
}

static int bind_one(struct serve *s, const char *endpoint, char **error)
{
	int r = router_bind(s->router, endpoint);

	if (r)
		*error = kban_asprintf(
			"cannot listen on %s: %s; is another broker running, or is the address not "
			"this host's?",
			endpoint, zmq_strerror(-r));
	return r;
}

/* The ZAP handler first: without one anybody would be let in. */
static int open_doors(struct serve *s, char **error)
{
	const struct kban_strings *listen = s->config->listen;
	int r = zap_new(&s->zap, s->context, s->loop, &kban_clock_system, admits, s);

	if (r)
		return failed(error, r, "no ZAP handler");
	router_serve(s->router, s->broker, on_fail, s);
	for (size_t i = 0; i < listen->n; i++) {
		r = bind_one(s, listen->v[i], error);
		if (r)
			return r;
	}
	return 0;
}

static void warn_unless_granted(const struct serve *s)
{
	const struct ledger_principal *p = ledger_principal(broker_ledger(s->broker),
							    &s->config->identity->keys.sign_public);

	if (!p || p->role != KBAN_ROLE_BROKER || p->revoked_seq)
		kban_warning("the log knows no live broker with this identity (%s): nodes that "
			     "check the brokers "
			     "will not come here",
			     s->config->identity->name);
}

static int serve(struct serve *s, char **error)
{
	struct kban_place place;
	char endpoint[KBAN_ENDPOINT_MAX + 1];

	warn_unless_granted(s);
	kban_loop_timer(s->loop, TICK_MS, on_tick, s);
	kban_loop_timer(s->loop, ROUTER_CUT_MIN_MS, on_cut_tick, s);
	kban_loop_timer(s->loop, STATUS_MS, on_status, s);
	ledger_place(broker_ledger(s->broker), &place);
	int r = router_endpoint(s->router, endpoint, sizeof(endpoint));
	if (r)
		return failed(error, r, "no endpoint");
	kban_info("listening on %s, log at entry %llu, history from entry %llu", endpoint,
		  (unsigned long long)place.seq,
		  (unsigned long long)broker_counts(s->broker)->horizon + 1);
	on_status(s);
	if (s->config->ready)
		s->config->ready(s->config->arg, endpoint);
	r = failed(error, kban_loop_run(s->loop), "the loop");
	if (!r)
		r = failed(error, s->failed, "the log cannot be written; look at the disk");
	if (!r)
		r = failed(error, broker_commit(s->broker),
			   "the log cannot be written; look at the disk");
	kban_info("stopped");
	return r;
}

/* The ROUTER lingers for ROUTER_LINGER_MS in zmq_ctx_term(): what was sent gets out. */
static void serve_close(struct serve *s)
{
	zap_free(s->zap);
	broker_free(s->broker);
	router_free(s->router);
	if (s->context)
		zmq_ctx_term(s->context);
	store_close(s->store);
	kban_free(s->genesis_bytes);
	kban_loop_free(s->loop);
}

int serve_run(const struct serve_config *config, char **error)
{
	struct serve s = {.config = config};

	*error = NULL;
	int r = failed(error, kban_loop_new(&s.loop), "the loop");
	if (!r)
		r = open_sockets(&s, error);
	if (!r)
		r = open_broker(&s, error);
	if (!r)
		r = open_doors(&s, error);
	if (!r)
		r = serve(&s, error);
	serve_close(&s);
	return r;
}
