/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction of this node's own replica: a job of store/compact.h, a step at each tick, so that the
 * disk stays bounded here too. Every step is a transaction of its own between those of the node.
 *
 * None begins while this server's clock and ledger time contradict each other (store/doubt.h). It
 * is this server's own clock that is asked: the broker's words are never below ledger time, so they
 * can't tell that ledger time is wrong.
 */
#include "node/state.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/log.h"

#define TIDY_LOOK_MS 60000
#define TIDY_FULL_MS 600000

static void job_new(struct node *n, uint64_t to)
{
	compact_new(&n->tidy.job, n->store, &n->config.identity->root, to);
}

void tidy_stop(struct node *n)
{
	compact_free(n->tidy.job);
	n->tidy.job = NULL;
	n->tidy.finished = false;
}

static void job_done(struct node *n)
{
	struct compact_counts c;

	compact_counts(n->tidy.job, &c);
	compact_free(n->tidy.job);
	n->tidy.job = NULL;
	n->tidy.finished = true;
	n->tidy.full = false;
	if (c.to > c.from || c.dropped)
		kban_info("the replica was compacted up to entry %llu: %llu entries dropped, %llu "
			  "kept",
			  (unsigned long long)c.to, (unsigned long long)c.dropped,
			  (unsigned long long)c.kept);
}

/* Takes error. */
static int job_failed(struct node *n, int r, char *error)
{
	kban_auto(kban_free) void *owned = error;
	struct tidy *t = &n->tidy;

	(void)owned;
	tidy_stop(n);
	if (r < 0) {
		kban_error("%s", error);
		return r;
	}
	if (r == STORE_FULL) {
		kban_log(t->full ? KBAN_LOG_DEBUG : KBAN_LOG_WARNING, "%s; trying again later",
			 error);
		t->full = true;
		t->next_ms = kban_boot_ms(n->clock) + TIDY_FULL_MS;
		return 0;
	}
	kban_error("%s; this node goes on, but its log is not compacted any more", error);
	t->broken = true;
	return 0;
}

static int job_step(struct node *n)
{
	char *error = NULL;
	int r = compact_step(n->tidy.job, &error);

	if (!r)
		return 0;
	if (r != COMPACT_DONE)
		return job_failed(n, r, error);
	job_done(n);
	return 0;
}

/* What a process that died, or a state that was not taken, left. */
static int look_unfinished(struct node *n)
{
	bool unfinished = false;
	int r = n->tidy.finished ? 0 : compact_unfinished(n->store, &unfinished);

	if (r)
		return r;
	if (unfinished)
		job_new(n, 0);
	n->tidy.finished = !unfinished;
	return 0;
}

/* Said once for each doubt, and only when it keeps something from being done. */
static void job_doubted(struct node *n)
{
	if (!n->tidy.doubted)
		doubt_say(&n->tidy.doubt);
	n->tidy.doubted = true;
}

static int look_due(struct node *n)
{
	struct store_head head;
	uint64_t to = 0;
	bool doubted = doubt_look(&n->tidy.doubt, n->clock, ledger_time_ms(n->ledger));
	int r = store_head(n->store, &head);

	n->tidy.doubted &= doubted;
	if (r || !compact_due(&head, n->ledger, &to) || to > head.place.seq)
		return r;
	if (doubted)
		job_doubted(n);
	else
		job_new(n, to);
	return 0;
}

static int look(struct node *n)
{
	uint64_t boot = kban_boot_ms(n->clock);

	if (boot < n->tidy.next_ms)
		return 0;
	n->tidy.next_ms = boot + TIDY_LOOK_MS;
	int r = look_unfinished(n);

	if (!r && !n->tidy.job)
		r = look_due(n);
	return r <= 0 ? r
		      : job_failed(n, r,
				   kban_asprintf("the replica cannot be read: %s",
						 store_error(n->store)));
}

int tidy_tick(struct node *n)
{
	if (n->tidy.broken || n->ahead)
		return 0;
	if (n->tidy.job)
		return job_step(n);
	return n->transfer ? 0 : look(n);
}

int tidy_clear(struct node *n)
{
	if (n->tidy.full)
		return STORE_FULL;
	if (n->tidy.broken)
		return STORE_DAMAGED;
	int r = n->tidy.job ? 0 : look_unfinished(n);

	return !r && n->tidy.job ? TIDY_BUSY : r;
}
