/* SPDX-License-Identifier: MPL-2.0
 *
 * What kbanctl believes of a fleet. Who belongs to it comes from a ledger folded from the proofs in
 * a broker's answer, each checked, from the root key in the identity on; how a node is, from its
 * own signed heartbeat that names one of our newest nonces. The broker's word counts for addresses
 * and connections only. It can still withhold (a revocation too), which shows as `withheld`,
 * `silent` or `offline`; it cannot invent. No I/O, no clock.
 *
 * Places are compared where two of them have the same epoch and seq: a node's and the broker's
 * place, and the marks (the last seq divisible by 1024). Another chain or digest at the same seq is
 * a fork.
 */
#ifndef KBAN_CLI_VERIFY_H
#define KBAN_CLI_VERIFY_H

#include "store/ledger.h"

#define VERIFY_NONCES 64 /* the newest ones that a heartbeat may name */

enum verify_state {
	VERIFY_LIVE,
	VERIFY_BEHIND, /* answers, and has not folded what was the head when it was asked */
	VERIFY_HELD,   /* over its quota */
	VERIFY_CLOCK_OFF,
	VERIFY_WATCHING, /* blocks nothing, by configuration */
	VERIFY_LOG_MISSING,
	VERIFY_DISK_FULL,
	VERIFY_UNCONFIRMED,
	VERIFY_UPGRADE_NEEDED,
	VERIFY_KERNEL_FAILED,
	VERIFY_SILENT, /* connected, and no fresh heartbeat came */
	VERIFY_OFFLINE,
	VERIFY_UNHEARD,	 /* not since the broker started */
	VERIFY_WITHHELD, /* was granted, and the broker does not list it */
	VERIFY_FORK,
	VERIFY_FORGED, /* a heartbeat that it did not sign, or a key that nobody granted */
	VERIFY_REVOKED,
};
const char *verify_state_name(enum verify_state s);

enum verify_agreement {
	VERIFY_UNKNOWN, /* nothing to compare with */
	VERIFY_AGREES,	/* chain and digest at its place are those of another at that place */
	VERIFY_AGREED,	/* those of an older place are */
	VERIFY_DISAGREES,
};
const char *verify_agreement_name(enum verify_agreement a);

struct verify_member {
	struct kban_key key;
	char name[KBAN_NAME_MAX + 1]; /* as granted; as the broker says when nobody granted it */
	enum kban_role role;
	bool granted, listed;
	uint64_t revoked_seq, since_ms;
	char address[KBAN_TEXT_MAX + 1]; /* any bytes without a NUL */
	bool connected, held;
	uint64_t seen_ms; /* broker time */
	bool forged;	  /* came with a heartbeat that is not its own */
	bool answered;	  /* heartbeat holds one that it signed */
	bool fresh;	  /* and that names one of our nonces */
	struct kban_heartbeat heartbeat;
	int64_t clock_offset_ms; /* its clock minus broker time when the heartbeat came; only of a
				    fresh one */
	enum verify_state state;
	enum verify_agreement agreement;
};

struct verify;

void verify_new(struct verify **out, const struct kban_key *root);
void verify_free(struct verify *v);
KBAN_DEFINE_AUTO(struct verify *, verify_free)

void verify_nonce(struct verify *v, const uint8_t nonce[16]);
/* One page of an answer; begin says that it is the first of a new answer. Nothing of it is kept by
 * reference. */
void verify_page(struct verify *v, const struct kban_answer *a, bool begin);
/* After the last page: judges every member. */
void verify_judge(struct verify *v);

/* Folded from proofs: principals, invitations and brokers; nothing else of it means anything. */
const struct ledger *verify_ledger(const struct verify *v);
size_t verify_members_n(const struct verify *v);
const struct verify_member *verify_member(const struct verify *v, size_t i);
/* The live one of that name; NULL. */
const struct verify_member *verify_named(const struct verify *v, const char *name);
/* The broker's place and digest in the newest answer, and its time. */
const struct kban_place *verify_place(const struct verify *v);
const struct kban_hash *verify_digest(const struct verify *v);
uint64_t verify_broker_ms(const struct verify *v);
/* Proofs whose signature is wrong, or that no granted key signed. */
uint64_t verify_bad_proofs(const struct verify *v);
/* Every connected node has answered freshly, and is not behind. */
bool verify_settled(const struct verify *v);
/* Every node that is not revoked is live and does not disagree, and no proof was bad. */
bool verify_well(const struct verify *v);

#endif
