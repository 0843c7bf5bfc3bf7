/* SPDX-License-Identifier: MPL-2.0
 *
 * For engines: the steps of the open transaction, staged in memory. Nothing touches the disk before
 * commit; an engine can therefore replay them as often as it must (after its file has grown), and
 * abort is forgetting them. Owns copies of everything staged. The first error sticks: later steps
 * are ignored.
 */
#ifndef KBAN_STORE_STEPS_H
#define KBAN_STORE_STEPS_H

#include "store/log.h"

/* What one transaction may hold, and one row. More is -E2BIG, a row outside the limits -EINVAL. */
#define STORE_BATCH_MAX	    (64U * 1024U * 1024U)
#define STORE_ROW_KEY_MAX   511U
#define STORE_ROW_VALUE_MAX (1024U * 1024U)

enum store_step_kind {
	STORE_STEP_APPEND, /* key and value as record.h encodes them */
	STORE_STEP_PUT,
	STORE_STEP_DELETE,
	STORE_STEP_HORIZON, /* no key; value as record.h encodes it */
	STORE_STEP_KEEP,    /* as an append */
	STORE_STEP_DROP,    /* key only */
};
#define STORE_STEP_KINDS 6

struct store_step {
	enum store_step_kind kind;
	struct kban_span key, value;
};

struct store_steps {
	bool open;
	int error;	 /* 0 or the first error */
	const char *why; /* in words; static */
	size_t n, cap;
	struct staged *staged;
	uint8_t *bytes;
	size_t len, size;
	unsigned count[STORE_STEP_KINDS]; /* per enum store_step_kind */
	struct kban_place last;		  /* the head, as it is after the steps so far */
	uint64_t last_ms;
	uint64_t horizon; /* likewise */
	struct kban_hash horizon_chain;
	uint64_t horizon_ms;
};

void store_steps_begin(struct store_steps *t, const struct store_head *head);
void store_steps_append(struct store_steps *t, const struct kban_entry *e,
			const struct kban_place *after);
void store_steps_put(struct store_steps *t, struct kban_span key, struct kban_span value);
void store_steps_delete(struct store_steps *t, struct kban_span key);
void store_steps_horizon(struct store_steps *t, const struct kban_place *place,
			 uint64_t accepted_ms);
void store_steps_keep(struct store_steps *t, const struct kban_entry *e);
void store_steps_drop(struct store_steps *t, uint64_t seq);
/* Step i, borrowed until the next call that stages or ends. */
struct store_step store_steps_get(const struct store_steps *t, size_t i);
/* The head once these steps are durable. */
void store_steps_head(const struct store_steps *t, struct store_head *head);
/* After commit and abort. */
void store_steps_end(struct store_steps *t);
void store_steps_free(struct store_steps *t);

#endif
