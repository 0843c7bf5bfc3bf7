/* SPDX-License-Identifier: MPL-2.0
 *
 * Connections, and whose they are. The ledger is asked anew for every message: the handshake was
 * long ago.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/state.h"
#include "proto/log.h"

struct peer *peer_find(const struct broker *b, uint64_t id)
{
	struct peer *p;

	HASH_FIND(hh, b->peers, &id, sizeof(id), p);
	return p && !p->cut ? p : NULL;
}

struct member *member_find(const struct broker *b, const struct kban_key *curve)
{
	struct member *m;

	HASH_FIND(hh, b->members, curve, sizeof(*curve), m);
	return m;
}

/* There are no more members than keys in the ledger: only those that it knows get here. */
static struct member *member_get(struct broker *b, const struct kban_key *curve)
{
	struct member *m = member_find(b, curve);

	if (m)
		return m;
	m = kban_zalloc(sizeof(*m));
	m->curve = *curve;
	HASH_ADD(hh, b->members, curve, sizeof(m->curve), m);
	return m;
}

void peer_caller(const struct broker *b, const struct kban_key *curve, struct caller *out)
{
	const struct ledger_principal *p = ledger_principal_by_curve(b->ledger, curve);

	*out = (struct caller){0};
	if (p && p->role != KBAN_ROLE_ROOT) { /* whose CURVE key is all zero, and nobody's */
		out->principal = p;
		out->refusal = p->revoked_seq ? KBAN_REFUSAL_REVOKED : KBAN_REFUSAL_NONE;
		return;
	}
	out->invitation = ledger_invitation_by_curve(b->ledger, curve);
	if (!out->invitation)
		out->refusal = KBAN_REFUSAL_UNKNOWN_AUTHOR;
}

bool peer_may_log(struct broker *b)
{
	uint64_t now_ms = kban_boot_ms(b->clock);

	if (now_ms - b->log_since_ms >= BROKER_LOG_EVERY_MS) {
		b->log_since_ms = now_ms;
		b->logged = 0;
	}
	if (b->logged == BROKER_LOG_BURST)
		kban_warning("peers cause too many log lines: some are left out");
	return b->logged++ < BROKER_LOG_BURST;
}

const char *peer_name(const struct broker *b, const struct peer *p)
{
	struct caller who;

	peer_caller(b, &p->member->curve, &who);
	if (who.principal)
		return who.principal->name;
	return who.invitation ? who.invitation->name : "unknown";
}

/* Of one key's connections the one that was silent longest: most likely a lost one. */
static void peer_cut_oldest(struct broker *b, const struct member *m)
{
	struct peer *p, *next, *oldest = NULL;

	HASH_ITER (hh, b->peers, p, next) {
		if (p->member == m && !p->cut && (!oldest || p->heard_ms < oldest->heard_ms))
			oldest = p;
	}
	if (!oldest)
		return;
	if (peer_may_log(b))
		kban_warning("%s has more than %d connections; the oldest is cut",
			     peer_name(b, oldest), BROKER_PEERS_PER_KEY);
	peer_deny(b, oldest, KBAN_REFUSAL_BUSY, "too many connections with one key");
	peer_cut(b, oldest);
}

static struct peer *peer_new(struct broker *b, uint64_t id, struct member *m, const char *address)
{
	struct peer *p = kban_zalloc(sizeof(*p));

	p->id = id;
	p->member = m;
	kban_escape(p->address, sizeof(p->address), address, strlen(address));
	p->heard_ms = kban_boot_ms(b->clock);
	HASH_ADD(hh, b->peers, id, sizeof(p->id), p);
	m->connected++;
	b->counts.peers++;
	return p;
}

struct peer *peer_get(struct broker *b, uint64_t id, const struct kban_key *curve,
		      const char *address)
{
	struct peer *p;

	HASH_FIND(hh, b->peers, &id, sizeof(id), p);
	if (p && p->cut)
		return NULL;
	if (!p) {
		if (b->counts.peers >= KBAN_PEERS_MAX) {
			b->counts.refused[KBAN_REFUSAL_BUSY]++;
			b->transport->cut(b->transport->arg, id);
			return NULL;
		}
		struct member *m = member_get(b, curve);

		if (m->connected >= BROKER_PEERS_PER_KEY)
			peer_cut_oldest(b, m);
		p = peer_new(b, id, m, address);
	} else if (memcmp(&p->member->curve, curve, sizeof(*curve))) {
		peer_cut(b, p); /* one connection proves one key: the transport is in error */
		return NULL;
	}
	p->heard_ms = kban_boot_ms(b->clock);
	p->member->seen_ms = broker_now(b);
	memcpy(p->member->address, p->address, sizeof(p->address));
	return p;
}

void peer_send(struct broker *b, struct peer *p, struct kban_message *m)
{
	uint8_t *bytes;
	size_t len;

	if (p->cut)
		return;
	m->version = KBAN_PROTOCOL_VERSION;
	m->has_session = p->greeted;
	memcpy(m->session, p->session, sizeof(m->session));
	kban_message_encode(&bytes, &len, m);
	b->transport->send(b->transport->arg, p->id, bytes, len);
	free(bytes);
}

void peer_deny(struct broker *b, struct peer *p, enum kban_refusal reason, const char *detail)
{
	struct kban_message m = {
		.kind = KBAN_MSG_NO_SESSION,
		.no_session = {.reason = reason, .detail = kban_text(detail)},
	};

	b->counts.refused[reason]++;
	peer_send(b, p, &m);
}

void peer_unsubscribe(struct broker *b, struct peer *p)
{
	if (p->subscribed)
		b->counts.subscribers--;
	p->subscribed = false;
	p->flights_n = 0;
	p->flights_bytes = 0;
}

static void peer_leave(struct broker *b, struct peer *p)
{
	peer_unsubscribe(b, p);
	p->member->connected--;
	b->counts.peers--;
	p->cut = true;
	b->cuts++;
}

void peer_cut(struct broker *b, struct peer *p)
{
	if (p->cut)
		return;
	b->transport->cut(b->transport->arg, p->id);
	b->counts.cut++;
	peer_leave(b, p);
}

void peer_bad(struct broker *b, struct peer *p)
{
	b->counts.malformed++;
	if (++p->bad <= BROKER_BAD_MAX || p->cut)
		return;
	if (peer_may_log(b))
		kban_warning("%s at %s sent %u messages that make no sense; it is cut off",
			     peer_name(b, p), p->address, p->bad);
	peer_deny(b, p, KBAN_REFUSAL_MALFORMED, "too many messages that make no sense");
	peer_cut(b, p);
}

static void peer_free(struct broker *b, struct peer *p)
{
	wait_drop(p);
	HASH_DEL(b->peers, p);
	free(p);
}

void peers_sweep(struct broker *b)
{
	struct peer *p, *next;

	if (!b->cuts)
		return;
	HASH_ITER (hh, b->peers, p, next) {
		if (!p->cut)
			continue;
		peer_free(b, p);
	}
	b->cuts = 0;
}

void peers_free(struct broker *b)
{
	struct member *m, *next;
	struct peer *p, *next_peer;

	HASH_ITER (hh, b->peers, p, next_peer)
		peer_free(b, p);
	HASH_ITER (hh, b->members, m, next) {
		HASH_DEL(b->members, m);
		free(m->heartbeat);
		free(m);
	}
}

void broker_gone(struct broker *b, uint64_t id)
{
	struct peer *p = peer_find(b, id);

	if (!p)
		return;
	kban_debug("%s at %s is gone", peer_name(b, p), p->address);
	peer_leave(b, p);
	peers_sweep(b);
}
