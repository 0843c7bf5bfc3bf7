/* SPDX-License-Identifier: MPL-2.0
 *
 * A simulated fleet: one broker's core, some nodes' cores and an operator, with one clock, disks and links of
 * their own, and a kernel that is a table. world_step() does one random thing; world_check() holds what must be true
 * after every step; world_heal() ends all faults and waits until all agree.
 */
#ifndef KBAN_SIM_WORLD_H
#define KBAN_SIM_WORLD_H

#include "broker/core.h"
#include "integration/sim/disk.h"
#include "integration/sim/wire.h"
#include "node/core.h"

#define WORLD_NODES	  3
#define WORLD_KERNEL	  512 /* entries in one simulated kernel */
#define WORLD_OFFENCES	  256

struct world;

/* A connection's two ends; the broker knows it by its number. */
struct world_link {
	bool up;	/* both ends believe in it */
	unsigned owner; /* node 0 .. WORLD_NODES - 1, or the operator: WORLD_NODES */
	struct kban_key curve;
};

struct world_kernel {
	size_t n;
	struct enforce_op ops[WORLD_KERNEL]; /* ENFORCE_BAN and ENFORCE_SAFE rows */
	uint64_t batches;
};

struct world_clock {
	struct world *world;
	int64_t skew_ms;
};

struct world_node {
	struct world *world;
	unsigned index;
	struct kban_identity identity;
	struct world_clock clock_state;
	struct kban_clock clock;
	struct node_ports ports;
	struct node_config config;
	struct disk *disk;
	struct store *store; /* NULL: down */
	struct node *node;
	struct world_kernel kernel;
	unsigned connection; /* its present one, 0: none */
	bool cut;	     /* its link is cut */
	bool connecting;
	uint64_t down_until_ms;
};

enum world_operator_state {
	OPERATOR_AWAY,
	OPERATOR_GREETING,
	OPERATOR_READY,
	OPERATOR_WAITING,
};

struct world_operator {
	struct kban_identity identity;
	enum world_operator_state state;
	unsigned connection;
	uint64_t since_ms;
	uint8_t session[KBAN_SESSION_SIZE];
	struct kban_base base;
	uint64_t counter;
	uint8_t *sealed_bytes; /* of the report that waits for its receipt */
	struct kban_sealed sealed;
	struct kban_hash hash;
};

struct world_offence {
	struct kban_prefix prefix;
	unsigned node;
	bool staged;   /* the next flush will make it durable */
	bool promised; /* a flush did */
	bool counted;  /* it is in the log */
};

struct world_counts {
	uint64_t steps, crashes, cuts, full_disks, receipts, entries, offences, operator_events, compactions, states;
};

struct world {
	uint64_t seed, now_ms;
	struct sim_random random;
	struct wire wire;
	bool faults;
	struct kban_identity root, broker_identity;
	struct world_clock broker_clock_state;
	struct kban_clock broker_clock;
	uint8_t *genesis_bytes;
	struct kban_sealed genesis;
	struct disk *broker_disk;
	struct store *broker_store;
	struct broker_transport transport;
	struct broker *broker;
	uint64_t broker_down_until_ms;
	struct world_node nodes[WORLD_NODES];
	struct world_operator operator;
	size_t links_n;
	struct world_link *links; /* by connection number - 1 */
	bool years; /* a history period of a day, time that jumps by hours, bans that last for days */
	/* What was promised: receipts, and the log as it was seen, whole, whatever is compacted. */
	uint64_t seen_n; /* the newest seq */
	struct world_seen {
		struct kban_hash chain, report;
	} *seen; /* of entry seq at seq - 1 */
	uint64_t heads[WORLD_NODES + 1], horizons[WORLD_NODES + 1]; /* of the disks; the broker's last */
	struct ledger *reference; /* folded from everything that was seen */
	size_t receipts_n;
	struct world_receipt {
		struct kban_hash hash;
		uint64_t seq;
	} *receipts;
	uint64_t counters[WORLD_NODES + 1];
	/* Bans that came too late for the fleet: their node goes on with them by itself. */
	size_t late_n;
	struct world_late {
		unsigned node;
		struct kban_prefix prefix;
	} *late;
	size_t offences_n;
	struct world_offence offences[WORLD_OFFENCES];
	struct world_counts counts;
};

void world_new(struct world **out, uint64_t seed);
void world_free(struct world *w);

void world_step(struct world *w);
/* NULL, or a sentence about what is broken. */
const char *world_check(struct world *w);
/* NULL when all agree within three simulated minutes. */
const char *world_heal(struct world *w);

/* For the world's own files. */
void world_node_start(struct world_node *n);
void world_node_stop(struct world_node *n);
void world_broker_start(struct world *w);
void world_broker_stop(struct world *w);
unsigned world_connect(struct world *w, unsigned owner, const struct kban_key *curve);
void world_disconnect(struct world *w, unsigned connection);
void world_operator_step(struct world *w);
void world_operator_receive(struct world *w, const uint8_t *bytes, size_t len);
void world_operator_lost(struct world *w);

#endif
