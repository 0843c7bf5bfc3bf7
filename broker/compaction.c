/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction on the broker's loop: one step at a time, between the batches, never while a
 * transaction is open. What is older than the history period goes, but for what the ledger rests on
 * (store/compact.h); then the outcomes of what is gone. Those who followed the log from before the
 * new horizon are told to take the state first.
 *
 * None begins while the clock is doubted (store/doubt.h), nor while older entries have no outcomes
 * yet: for those below the horizon they could never be made.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/outcomes.h"
#include "broker/state.h"
#include "proto/log.h"
#include "store/compact.h"

static void job_begin(struct broker *b, uint64_t to)
{
	struct compaction *c = &b->compaction;

	compact_new(&c->job, b->store, &b->identity->root, to);
	c->began_ms = kban_boot_ms(b->clock);
	b->counts.compacting = true;
	if (to > b->horizon)
		kban_info("compaction begins: what is older than the history period (entries up "
			  "to %llu) is reduced to what the ledger rests on",
			  (unsigned long long)to);
}

static void job_end(struct broker *b)
{
	compact_free(b->compaction.job);
	b->compaction.job = NULL;
	b->counts.compacting = false;
}

static void job_done(struct broker *b)
{
	struct compaction *c = &b->compaction;
	struct compact_counts n;

	compact_counts(c->job, &n);
	b->counts.compactions++;
	b->counts.dropped += n.dropped;
	kban_info(
		"compaction is done: the log begins behind entry %llu; %llu entries dropped, %llu "
		"kept below it, the state fills %llu pages; %llu s",
		(unsigned long long)b->horizon, (unsigned long long)n.dropped,
		(unsigned long long)n.kept, (unsigned long long)n.pages,
		(unsigned long long)((kban_boot_ms(b->clock) - c->began_ms) / 1000));
	if (n.missing)
		kban_warning("%llu entries that the ledger rests on are not in the log: who takes "
			     "the state from this broker will refuse it; put a backup of the data "
			     "folder back",
			     (unsigned long long)n.missing);
	c->full_wait_ms = 0;
	c->sweeping = true;
	c->swept = 0;
	job_end(b);
}

/* The next try comes later, and twice as late each time. */
static void job_full(struct broker *b, const char *why)
{
	struct compaction *c = &b->compaction;

	if (!c->full_wait_ms)
		kban_error("%s; it is tried again until there is room on the disk", why);
	c->full_wait_ms = c->full_wait_ms ? c->full_wait_ms * 2 : BROKER_COMPACT_MIN_MS;
	if (c->full_wait_ms > BROKER_COMPACT_MAX_MS)
		c->full_wait_ms = BROKER_COMPACT_MAX_MS;
	c->retry_ms = kban_boot_ms(b->clock) + c->full_wait_ms;
	c->looked = false; /* it may have stopped after the horizon moved */
	job_end(b);
}

/* Nothing more is dropped from a log that does not read as it was written. */
static void job_damaged(struct broker *b, const char *why)
{
	kban_error("%s; compaction is not tried again before the next start", why);
	b->compaction.damaged = true;
	job_end(b);
}

/* Who was overtaken, and what may not be known any more. */
static int horizon_look(struct broker *b)
{
	struct store_head head;
	int r = store_head(b->store, &head);

	if (r || head.horizon == b->horizon)
		return r;
	b->horizon = b->counts.horizon = head.horizon;
	stream_overtaken(b);
	return 0;
}

static int job_step(struct broker *b)
{
	kban_auto(kban_free) void *memory = NULL;
	char *error = NULL;
	int r = compact_step(b->compaction.job, &error), look;

	memory = error;
	look = horizon_look(b);
	if (look)
		return look < 0 ? look : -EIO;
	if (r == COMPACT_DONE)
		job_done(b);
	else if (r == STORE_FULL)
		job_full(b, error);
	else if (r > 0)
		job_damaged(b, error);
	else if (r < 0)
		kban_error("%s", error);
	return r < 0 ? r : 0;
}

static int sweep_step(struct broker *b)
{
	struct compaction *c = &b->compaction;
	int r = outcomes_sweep(b->store, b->horizon, &c->swept, &c->sweeping);

	if (r)
		c->sweeping = false; /* the next compaction sweeps from the start */
	if (r && r != STORE_FULL)
		kban_error("the outcomes of dropped reports cannot be swept: %s",
			   store_error(b->store));
	return r < 0 ? r : 0;
}

/* Said once for each doubt, and only when it keeps something from being done. */
static void job_doubted(struct broker *b)
{
	struct compaction *c = &b->compaction;

	if (!c->doubted)
		doubt_say(&c->doubt);
	c->doubted = true;
}

static int job_look(struct broker *b)
{
	struct compaction *c = &b->compaction;
	struct store_head head;
	uint64_t to = 0;
	bool unfinished = false;
	bool doubted = doubt_look(&c->doubt, b->clock, ledger_time_ms(b->ledger));

	c->doubted &= doubted;
	if (c->damaged || b->outcomes_lack || kban_boot_ms(b->clock) < c->retry_ms)
		return 0;
	int r = store_head(b->store, &head);
	if (!r && !c->looked)
		r = compact_unfinished(b->store, &unfinished);
	if (r)
		return r < 0 ? r : -EIO;
	bool due = compact_due(&head, b->ledger, &to);
	if (doubted) {
		if (due || unfinished)
			job_doubted(b);
		return 0;
	}
	c->looked = true;
	if (due)
		job_begin(b, to);
	else if (unfinished)
		job_begin(b, 0);
	return 0;
}

void compaction_start(struct broker *b)
{
	doubt_start(&b->compaction.doubt, b->clock, ledger_time_ms(b->ledger));
}

bool compaction_works(const struct broker *b)
{
	return b->compaction.job || b->compaction.sweeping;
}

int compaction_step(struct broker *b)
{
	if (b->compaction.job)
		return job_step(b);
	return b->compaction.sweeping ? sweep_step(b) : 0;
}

int compaction_tick(struct broker *b)
{
	return compaction_works(b) ? 0 : job_look(b);
}
