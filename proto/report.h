/* SPDX-License-Identifier: MPL-2.0
 *
 * Reports: the unit that is signed. A sealed report is the exact bytes that its author signed and the
 * signature; it is kept and passed on verbatim. A decoded report owns its memory and everything that
 * its events borrow. Decoding validates every field (lengths, ranges, texts, canonical prefixes, no
 * unknown field or event) and nothing that needs a ledger; it does not check the signature.
 *
 * One report has one encoding: what was decoded is encoded again and must give the same bytes. So fields
 * come in the order of their numbers, none twice (two readers might pick different ones), none at its
 * default, no NUL hides in a text, and every number is in its shortest form.
 */
#ifndef KBAN_PROTO_REPORT_H
#define KBAN_PROTO_REPORT_H

#include "proto/event.h"

struct kban_base { /* the place that an author had folded */
	uint32_t epoch;
	uint64_t seq;
};

struct kban_report {
	struct kban_cluster_id cluster;
	struct kban_key author;
	uint64_t counter; /* >= 1, strictly rising per author */
	struct kban_base base;
	uint64_t issued_ms; /* the author's wall clock: for people, never for the fold */
	size_t events_n;    /* 1..KBAN_EVENTS_MAX */
	struct kban_event *events;
	struct kban_hash hash; /* of the sealed form; set by decode and seal */
	void *arena;	       /* what events borrow; released by kban_report_free() */
};

/* Borrowed bytes of a sealed report. */
struct kban_sealed {
	const uint8_t *report;
	size_t report_len;
	const uint8_t *signature; /* KBAN_SIGNATURE_SIZE bytes */
};

enum kban_report_result {
	KBAN_REPORT_MALFORMED = 1, /* not a report, or a field out of its range */
	KBAN_REPORT_TOO_LARGE,
	KBAN_REPORT_UNKNOWN_EVENT, /* a kind or a field that this version does not know */
	KBAN_REPORT_BAD_SIGNATURE,
};
const char *kban_report_result_name(int result);

/* *out is the caller's to free. It keeps nothing of sealed. */
int kban_report_decode(struct kban_report **out, const struct kban_sealed *sealed) kban_must_check;
/* Only for what a decode function gave. */
void kban_report_free(struct kban_report *r);
KBAN_DEFINE_AUTO(struct kban_report *, kban_report_free)

/* The author's signature over "kban report v1" and the report's bytes. */
bool kban_report_check(const struct kban_report *r, const struct kban_sealed *sealed) kban_must_check;

/* Encodes and signs r (author, hash are set from k). *bytes holds report || signature in one allocation
 * that the caller frees, and *sealed borrows from it. KBAN_REPORT_TOO_LARGE or KBAN_REPORT_MALFORMED
 * when r is outside the limits. */
int kban_report_seal(struct kban_report *r, const struct kban_keypair *k, uint8_t **bytes,
		     struct kban_sealed *sealed) kban_must_check;

/* BLAKE2b-256("kban report hash v1" || report || signature): names a sealed report. */
void kban_sealed_hash(struct kban_hash *out, const struct kban_sealed *sealed);

/* One event alone, for the outbox: encoded, and decoded with the same validation. */
int kban_event_encode(uint8_t **out, size_t *len, const struct kban_event *e) kban_must_check;
int kban_event_decode(struct kban_report **out, const uint8_t *bytes, size_t len) kban_must_check;
/* How many bytes an event adds to a report, so that a report can be filled up to its limit; 0 when it is
 * outside the limits. */
size_t kban_event_size(const struct kban_event *e);

/* Fills the proof of a Join: k is the joiner's new pair, invitation the invitation's public key. */
void kban_join_prove(struct kban_event_join *join, const struct kban_keypair *k,
		     const struct kban_cluster_id *cluster, const struct kban_key *invitation);
bool kban_join_check(const struct kban_event_join *join, const struct kban_cluster_id *cluster,
		     const struct kban_key *invitation) kban_must_check;

#endif
