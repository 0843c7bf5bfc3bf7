/* SPDX-License-Identifier: MPL-2.0
 *
 * The node without its files and sockets: offences and messages in; messages, enforcement operations and
 * stored rows out. Clock, disk, network, kernel and randomness are injected, so that the simulator runs this
 * very code.
 *
 * What is wanted in the kernel = (bans of the ledger that run at the estimated broker time + bans of this
 * node's own that wait for the log) minus what is safe here. Local first: an offence is enforced
 * before it is stored or sent. Entries are verified, folded and enforced, then stored, then acknowledged.
 */
#ifndef KBAN_NODE_CORE_H
#define KBAN_NODE_CORE_H

#include "node/enforce.h"
#include "proto/clock.h"
#include "proto/identity.h"
#include "store/ledger.h"
#include "store/log.h"

#define NODE_WINDOW	     256   /* entries that may be on the way to us */
#define NODE_HEARTBEAT_MS    5000
#define NODE_SILENT_MS	     20000 /* without a word from the broker: connect anew */
#define NODE_RETRY_MIN_MS    250   /* between connection attempts, doubling, with jitter */
#define NODE_RETRY_MAX_MS    15000
#define NODE_RESEND_MS	     5000  /* a sealed report without an answer is sent again */
#define NODE_OUTBOX_MAX	     100000 /* events; beyond it the oldest history goes first, then offences are
				      * enforced locally only and counted as lost to the fleet */

enum node_link {
	NODE_OFFLINE,	 /* no connection */
	NODE_GREETING,	 /* Hello sent */
	NODE_CATCHING_UP, /* subscribed, below the head that Welcome named */
	NODE_LIVE,
	NODE_FORK,	/* the broker's log is not ours: enforcing what we have */
	NODE_REVOKED,
	NODE_UPGRADE_NEEDED,
};
const char *node_link_name(enum node_link link);

struct node;

struct node_ports {
	/* To the broker, on the present connection; silently dropped when there is none. */
	void (*send)(void *arg, const uint8_t *bytes, size_t len);
	/* Close the connection and make a new one (a new socket) to broker number `which`; node_connected()
	 * follows. */
	void (*connect)(void *arg, size_t which);
	void (*disconnect)(void *arg);
	/* enforce.h's operations in a batch; returns the batch's number. */
	uint64_t (*enforce)(void *arg, const struct enforce_op *ops, size_t n, bool all);
	/* Windows of offenders that overlap this prefix are to be forgotten. */
	void (*forget)(void *arg, const struct kban_prefix *p);
	void (*random)(void *arg, void *out, size_t len);
	void *arg;
};

struct node_config {
	const struct kban_identity *identity;
	size_t excepted_n; /* never blocked here, nor reported or banned by this node by themselves */
	const struct kban_prefix *excepted;
	size_t own_n; /* so many of the first are of this server's own network: nothing is banned that holds them */
	char version[KBAN_VERSION_MAX + 1];
	bool watching; /* nothing is blocked here, by configuration: said in heartbeats */
};

/* Folds the replica in the store, puts outbox and sealed report back, and enforces (ports.enforce with all =
 * true) before it returns: no broker is needed. *error is the caller's to free. */
int node_new(struct node **out, const struct node_config *config, struct store *store,
	     const struct kban_clock *clock, const struct node_ports *ports, char **error) kban_must_check;
void node_free(struct node *n);
KBAN_DEFINE_AUTO(struct node *, node_free)

struct node_offence {
	struct kban_prefix prefix;
	uint64_t duration_ms; /* what remains of it; 0: over already, history only */
	const char *rule, *service, *server;
	const char *line; /* escaped */
	uint32_t count;
	uint64_t first_ms, last_ms;
};
/* Enforces it here and now (unless safe, excepted or history) and stages it for node_flush(). */
void node_offence(struct node *n, const struct node_offence *o);
/* Stages a row that changes in the same transaction as the outbox: a log's position. */
void node_stage_row(struct node *n, struct kban_span key, struct kban_span value);
/* Makes what was staged durable in one transaction (seals a report too, when one can be sent), then sends.
 * STORE_FULL keeps it staged. < 0: fatal. */
int node_flush(struct node *n) kban_must_check;

void node_connected(struct node *n);
void node_lost(struct node *n); /* the transport says that the connection is gone */
/* Instead of node_lost() when the broker refused this node's key at the handshake: revoked, or another cluster. */
void node_refused(struct node *n);
int node_receive(struct node *n, const uint8_t *bytes, size_t len) kban_must_check;
/* The child's newest word. */
void node_enforced(struct node *n, const struct enforce_status *status);
/* By the ledger, an operator unbanned p, or what covers it, after this moment of the wall clock: failures
 * from before count for nothing. For lines that are read again at start, which no unban of the log meets
 * any more. */
bool node_forgiven(const struct node *n, const struct kban_prefix *p, uint64_t wall_ms);
/* The address is excepted or safe here: its failures are not to be counted, so that they do not get
 * its whole /64 banned. */
bool node_spares(const struct node *n, const struct kban_prefix *address);
/* What the log followers see: sets KBAN_STATUS_LOG_MISSING in heartbeats. */
void node_log_missing(struct node *n, bool missing);
/* Every 100 ms or so: connection attempts, heartbeats, resends, ends of bans and safe ranges. */
int node_tick(struct node *n) kban_must_check;

enum node_link node_link(const struct node *n);
const struct ledger *node_ledger(const struct node *n);
/* Broker time as this node estimates it now. */
uint64_t node_broker_ms(const struct node *n);

/* Calls fn for everything wanted in the kernel now (bans, then safe ranges); for tests and the simulator. */
void node_wanted(const struct node *n, void (*fn)(void *arg, const struct enforce_op *op), void *arg);

struct node_counts {
	uint64_t offences, enforced_here, lost_to_fleet, reports_sent, entries, bad_entries;
	uint64_t refused[KBAN_REFUSALS], outcomes[KBAN_OUTCOMES];
};
const struct node_counts *node_counts(const struct node *n);
/* Events that wait for the log. */
size_t node_waiting(const struct node *n);

#endif
