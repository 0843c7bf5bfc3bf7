/* SPDX-License-Identifier: MPL-2.0 */
#include "store/steps.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

#define KEPT_BYTES                                                                                 \
	(4U * 1024U * 1024U) /* memory that stays allocated from one transaction to the next */

struct staged {
	enum store_step_kind kind;
	size_t at; /* of the key in bytes; the value follows it */
	size_t key_n, value_n;
};

void store_steps_begin(struct store_steps *t, const struct store_head *head)
{
	assert(!t->open);
	t->open = true;
	t->last = head->place;
	t->last_ms = head->accepted_ms;
	t->horizon = head->horizon;
	t->horizon_chain = head->horizon_chain;
	t->horizon_ms = head->horizon_ms;
}

static void steps_fail(struct store_steps *t, int error, const char *why)
{
	t->error = error;
	t->why = why;
}

static size_t room_for(size_t have, size_t need, size_t least)
{
	size_t size = have ? have : least;

	while (size < need)
		size *= 2;
	return size;
}

/* Room for a step whose key is key_n and value value_n bytes long; NULL when the transaction is
 * full. */
static uint8_t *steps_stage(struct store_steps *t, enum store_step_kind kind, size_t key_n,
			    size_t value_n)
{
	size_t n = key_n + value_n;

	if (t->len + n + (t->n + 1) * sizeof(*t->staged) > STORE_BATCH_MAX) {
		steps_fail(t, -E2BIG, "too much for one transaction");
		return NULL;
	}
	if (t->n == t->cap) {
		t->cap = room_for(t->cap, t->n + 1, 64);
		t->staged = kban_realloc(t->staged, t->cap * sizeof(*t->staged));
	}
	if (t->len + n > t->size) {
		t->size = room_for(t->size, t->len + n, 4096);
		t->bytes = kban_realloc(t->bytes, t->size);
	}
	t->staged[t->n++] = (struct staged){kind, t->len, key_n, value_n};
	t->count[kind]++;
	t->len += n;
	return t->bytes + t->len - n;
}

static const char *report_fault(const struct kban_entry *e)
{
	if (!e->sealed.report_len || e->sealed.report_len > KBAN_REPORT_MAX)
		return "an entry's report is outside the limits";
	return NULL;
}

static const char *entry_fault(const struct store_steps *t, const struct kban_entry *e,
			       const struct kban_place *after)
{
	if (e->seq != t->last.seq + 1 || after->seq != e->seq)
		return "an entry does not follow the head";
	if (!after->epoch)
		return "an entry's epoch is 0";
	return report_fault(e);
}

static void steps_record(struct store_steps *t, enum store_step_kind kind,
			 const struct kban_entry *e, const struct kban_place *after)
{
	uint8_t *at = steps_stage(t, kind, RECORD_KEY_SIZE, record_size(e));

	if (at)
		record_encode(at, at + RECORD_KEY_SIZE, e, after);
}

void store_steps_append(struct store_steps *t, const struct kban_entry *e,
			const struct kban_place *after)
{
	assert(t->open);
	if (t->error)
		return;
	const char *why = entry_fault(t, e, after);
	if (why) {
		steps_fail(t, -EINVAL, why);
		return;
	}
	steps_record(t, STORE_STEP_APPEND, e, after);
	t->last = *after;
	t->last_ms = e->accepted_ms;
}

static void steps_row(struct store_steps *t, enum store_step_kind kind, struct kban_span key,
		      struct kban_span value)
{
	assert(t->open);
	if (t->error)
		return;
	if (!key.n || key.n > STORE_ROW_KEY_MAX || value.n > STORE_ROW_VALUE_MAX) {
		steps_fail(t, -EINVAL, "a row is outside the limits");
		return;
	}
	uint8_t *at = steps_stage(t, kind, key.n, value.n);
	if (!at)
		return;
	memcpy(at, key.p, key.n);
	if (value.n)
		memcpy(at + key.n, value.p, value.n);
}

void store_steps_put(struct store_steps *t, struct kban_span key, struct kban_span value)
{
	steps_row(t, STORE_STEP_PUT, key, value);
}

void store_steps_delete(struct store_steps *t, struct kban_span key)
{
	steps_row(t, STORE_STEP_DELETE, key, kban_span(NULL, 0));
}

static bool below_horizon(const struct store_steps *t, uint64_t seq)
{
	return seq && seq <= t->horizon;
}

void store_steps_horizon(struct store_steps *t, const struct kban_place *place,
			 uint64_t accepted_ms)
{
	assert(t->open);
	if (t->error)
		return;
	if (place->seq <= t->horizon || !place->epoch) {
		steps_fail(t, -EINVAL, "the horizon does not move forward");
		return;
	}
	uint8_t *at = steps_stage(t, STORE_STEP_HORIZON, 0, RECORD_HORIZON_SIZE);
	if (!at)
		return;
	record_horizon_encode(at, place, accepted_ms);
	t->horizon = place->seq;
	t->horizon_chain = place->chain;
	t->horizon_ms = accepted_ms;
	if (place->seq < t->last.seq)
		return;
	t->last = *place;
	t->last_ms = accepted_ms;
}

void store_steps_keep(struct store_steps *t, const struct kban_entry *e)
{
	/* Below the horizon a chain has no meaning, and none is known of what came as evidence. */
	struct kban_place after = {.epoch = 1, .seq = e->seq};

	assert(t->open);
	if (t->error)
		return;
	const char *why = below_horizon(t, e->seq) ? report_fault(e)
						   : "a kept entry lies above the horizon";
	if (why)
		steps_fail(t, -EINVAL, why);
	else
		steps_record(t, STORE_STEP_KEEP, e, &after);
}

void store_steps_drop(struct store_steps *t, uint64_t seq)
{
	assert(t->open);
	if (t->error)
		return;
	if (!below_horizon(t, seq)) {
		steps_fail(t, -EINVAL, "an entry above the horizon stays");
		return;
	}
	uint8_t *at = steps_stage(t, STORE_STEP_DROP, RECORD_KEY_SIZE, 0);
	if (at)
		record_put_u64(at, seq);
}

struct store_step store_steps_get(const struct store_steps *t, size_t i)
{
	assert(i < t->n);
	const struct staged *s = &t->staged[i];
	const uint8_t *key = t->bytes + s->at;

	return (struct store_step){s->kind, kban_span(key, s->key_n),
				   kban_span(key + s->key_n, s->value_n)};
}

void store_steps_head(const struct store_steps *t, struct store_head *head)
{
	head->place = t->last;
	head->accepted_ms = t->last_ms;
	head->horizon = t->horizon;
	head->horizon_chain = t->horizon_chain;
	head->horizon_ms = t->horizon_ms;
}

void store_steps_end(struct store_steps *t)
{
	assert(t->open);
	struct store_steps kept = {
		.staged = t->staged, .cap = t->cap, .bytes = t->bytes, .size = t->size};

	if (t->size + t->cap * sizeof(*t->staged) > KEPT_BYTES) {
		store_steps_free(t);
		return;
	}
	*t = kept;
}

void store_steps_free(struct store_steps *t)
{
	free(t->staged);
	free(t->bytes);
	*t = (struct store_steps){0};
}
