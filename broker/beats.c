/* SPDX-License-Identifier: MPL-2.0
 *
 * Heartbeats and probes. A heartbeat is kept as its author signed it, in memory only, and passed on
 * to kbanctl; nothing in it is believed here.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/state.h"

static enum kban_refusal heartbeat_refusal(const struct broker *b, const struct caller *who,
					   const struct kban_sealed *s)
{
	struct kban_heartbeat h;

	if (kban_heartbeat_decode(&h, s))
		return KBAN_REFUSAL_MALFORMED;
	if (memcmp(&h.cluster, ledger_cluster(b->ledger), sizeof(h.cluster)))
		return KBAN_REFUSAL_WRONG_CLUSTER;
	if (!kban_key_equal(&h.author, &who->principal->key))
		return KBAN_REFUSAL_NOT_YOURS;
	return kban_heartbeat_check(&h, s) ? KBAN_REFUSAL_NONE : KBAN_REFUSAL_BAD_SIGNATURE;
}

static void heartbeat_keep(struct member *m, const struct kban_sealed *s)
{
	uint8_t *bytes = kban_zalloc(s->report_len + KBAN_SIGNATURE_SIZE);

	memcpy(bytes, s->report, s->report_len);
	memcpy(bytes + s->report_len, s->signature, KBAN_SIGNATURE_SIZE);
	free(m->heartbeat);
	m->heartbeat = bytes;
	m->sealed = (struct kban_sealed){bytes, s->report_len, bytes + s->report_len};
}

void beat_receive(struct broker *b, struct peer *p, const struct caller *who,
		  const struct kban_sealed *s)
{
	enum kban_refusal r = heartbeat_refusal(b, who, s);

	if (!r) {
		heartbeat_keep(p->member, s);
		return;
	}
	b->counts.refused[r]++;
	peer_bad(b, p);
}

static void probe_send(struct broker *b, struct peer *p, struct kban_text nonce)
{
	struct kban_message m = {
		.kind = KBAN_MSG_PROBE,
		.probe = {.nonce = nonce, .broker_ms = broker_now(b), .head = b->durable.seq},
	};

	peer_send(b, p, &m);
}

void beat_probe_all(struct broker *b)
{
	struct peer *p, *next;

	HASH_ITER (hh, b->peers, p, next) {
		if (p->subscribed && !p->cut)
			probe_send(b, p, (struct kban_text){0});
	}
}

static bool nonce_is_new(struct broker *b, const uint8_t nonce[16])
{
	for (size_t i = 0; i < BROKER_NONCES; i++) {
		if (!memcmp(b->nonces[i], nonce, sizeof(b->nonces[i])))
			return false;
	}
	memcpy(b->nonces[b->nonces_next], nonce, sizeof(b->nonces[0]));
	b->nonces_next = (b->nonces_next + 1) % BROKER_NONCES;
	return true;
}

void beat_nonce(struct broker *b, struct kban_text nonce)
{
	struct peer *p, *next;
	struct caller who;

	if (nonce.n != sizeof(b->nonces[0]) || !nonce_is_new(b, (const uint8_t *)nonce.s))
		return;
	HASH_ITER (hh, b->peers, p, next) {
		if (!p->subscribed || p->cut)
			continue;
		peer_caller(b, &p->member->curve, &who);
		if (who.principal && who.principal->role == KBAN_ROLE_NODE)
			probe_send(b, p, nonce);
	}
}
