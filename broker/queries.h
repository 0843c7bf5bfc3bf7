/* SPDX-License-Identifier: MPL-2.0
 *
 * An answer's page while it is collected; for queries.c and the files that collect rows. Texts of
 * events are copied, since their reports are read one after the other; names are borrowed from the
 * ledger.
 */
#ifndef KBAN_BROKER_QUERIES_H
#define KBAN_BROKER_QUERIES_H

#include "broker/state.h"

#define QUERY_ROWS_MAX	512U	       /* at most KBAN_ROWS_MAX; a page is one handler's work */
#define QUERY_BYTES_MAX (256U * 1024U) /* of rows, by their largest size, before the last entry */
#define QUERY_TEXTS_MAX (QUERY_ROWS_MAX * (KBAN_TEXT_MAX + 2 * KBAN_RULE_MAX))

struct decoded { /* a report that was read for its texts */
	uint64_t seq;
	struct kban_report *report;
};

struct page_out {
	struct broker *b;
	struct peer *p;
	uint64_t now_ms;
	size_t rows, bytes;
	uint64_t next;
	struct kban_place
		place; /* what the answer is about: the head, unless the collector says else */
	struct kban_hash digest;
	bool wait; /* there is nothing to say yet: the query is to be held */
	char *texts;
	size_t texts_n;
	struct decoded decoded[16];
	struct kban_member_row *members;
	struct kban_invite_row *invites;
	struct kban_ban_row *bans;
	struct kban_safe_row *safes;
	struct kban_entry *proofs; /* each owns its report's bytes */
	struct kban_log_row *log;  /* each owns its report's bytes, its outcomes and its records */
	struct kban_state_page *state; /* each owns its items */
	size_t members_n, invites_n, bans_n, safes_n, proofs_n, log_n, state_n;
};

/* There is room for one more row; always for the first. */
bool page_room(const struct page_out *o, size_t bytes);
void page_count(struct page_out *o, size_t bytes);
struct kban_text page_text(struct page_out *o, const char *s, size_t n);
void page_go_on(struct page_out *o, const struct kban_prefix *prefix, uint32_t done);
/* NULL when the log has it no more. Lives until the next call. */
const struct kban_event *page_event(struct page_out *o, uint64_t seq, uint32_t index);

/* Room for KBAN_ENTRIES_MAX proofs. */
void page_proofs(struct page_out *o);
/* False: there is no room for this one. */
bool page_proof(struct page_out *o, const struct kban_entry *e);
void page_start(struct page_out *o, struct broker *b, struct peer *p);
void page_send(const struct page_out *o, enum kban_query_kind kind);
void page_free(struct page_out *o);
static inline void page_free_auto(struct page_out *o)
{
	page_free(o);
}

/* answer_bans.c: rows that overlap `overlap` (NULL: all), after `after` (NULL: from the start). */
void bans_collect(struct page_out *o, const struct kban_prefix *overlap,
		  const struct kban_prefix *after);
/* answer_cluster.c */
void cluster_collect(struct page_out *o, uint64_t after);
/* answer_log.c: entries and refused reports that q asks for. A page is bounded by what was looked
 * at, too. */
void log_collect(struct page_out *o, const struct kban_query *q);
void refused_collect(struct page_out *o, const struct kban_query *q);
/* answer_state.c: a position is a phase and, below it, how far that phase went. */
void state_collect(struct page_out *o, uint64_t after);
void policy_collect(struct page_out *o);

#endif
