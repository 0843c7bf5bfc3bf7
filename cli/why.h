/* SPDX-License-Identifier: MPL-2.0
 *
 * What is known of an address or a prefix: every signed reason, collected from the log row by row
 * (why_event.c), and told to people (why_tell.c) and programs (why_json.c). The answer rests on
 * rows that trail.h checked; what the broker claims without one (a safe range that nobody signed)
 * is shown as forged.
 *
 * Which bans cover the address is counted as the rows come, so that it holds whatever is dropped:
 * only the newest WHY_MAX bans, or half of them, are kept for showing.
 */
#ifndef KBAN_CLI_WHY_H
#define KBAN_CLI_WHY_H

#include "cli/enforce.h"
#include "cli/trail.h"

#define WHY_MAX	 10000
#define WHY_BITS 129

struct why_event {		   /* owns its texts */
	struct kban_prefix prefix; /* of what names none: the prefix asked for */
	enum kban_event_kind kind;
	char author[KBAN_NAME_MAX + 1];
	enum kban_role role;
	struct kban_key key;
	enum trail_check check;
	uint64_t seq, accepted_ms; /* seq 0: refused, not in the log */
	size_t event;
	unsigned outcome, refusal;
	bool all;	       /* unban: covering; safe-remove: whoever's */
	struct kban_key owner; /* of an approval */
	char *reason, *words;  /* words: a ban in words, "10 failed logins at smtp ..." */
	char *rule, *service, *server, *line;
	uint32_t count;
	uint64_t first_ms, last_ms, duration_ms;
	bool known; /* the ledger still knows its ban: */
	uint64_t since_ms, until_ms, strikes;
	bool ended;
	uint64_t ended_seq; /* what ended it early; 0: not found */
	size_t ended_event;
};

struct why_safe { /* a range that overlaps; owns its reason */
	struct kban_prefix prefix;
	uint32_t state; /* enum ledger_safe_state */
	char author[KBAN_NAME_MAX + 1];
	struct kban_key owner;
	uint64_t since_ms, until_ms;
	char *reason;
	const struct why_event *added, *decided; /* what was signed; borrowed */
};

struct why_cover {	    /* the running bans of one prefix that covers what was asked for */
	uint64_t until_ms;  /* of the longest-running one; 0: none */
	uint64_t first_seq; /* the oldest running one's */
	uint64_t seq;	    /* the longest-running one's */
	size_t event;
};

enum why_state {
	WHY_UNKNOWN, /* nothing is known */
	WHY_BLOCKED,
	WHY_PARTLY, /* bans inside the prefix run */
	WHY_SAFE,
	WHY_NEVER,   /* on the never-ban list, or a broker's address */
	WHY_ALONE,   /* the fleet refused a ban that its node keeps for itself */
	WHY_ENDED,   /* was banned once */
	WHY_REFUSED, /* a ban was tried, and refused */
	WHY_OPEN,    /* something is known, and nothing of it blocks */
};

struct why {
	const struct context *ctx;
	struct fleet *fleet;
	struct kban_prefix prefix;
	uint64_t now_ms;
	struct why_event *events;
	size_t events_n, events_max, bans_n, dropped;
	bool enders; /* rows are asked for what ended bans without overlapping the prefix alone */
	struct kban_event_policy policy;
	struct why_safe *safes;
	size_t safes_n;
	struct why_cover covers[WHY_BITS]; /* by the prefix's length */
	uint64_t inside;		   /* running bans inside the prefix */
	struct trail trail;
	uint64_t unproven; /* safe ranges that nobody signed */
};

/* One row of the log, or of what was refused. A trail_fn. */
int why_row(void *arg, const struct trail_row *r);
/* After all rows, before the safe ranges: in the order of time. */
void why_sort(struct why *w);
/* One page of safe ranges. */
void why_safes(void *arg, const struct kban_answer *a);
void why_done(struct why *w);

/* What it all comes to. */
enum why_state why_state(const struct why *w);
/* What it holds that nobody can ban; NULL. */
const char *why_never(const struct why *w);
/* The newest refused ban that still runs on the node that made it, since a refusal that is not
 * about the address leaves that alone; NULL. */
const struct why_event *why_alone(const struct why *w);
/* The longest-running covering ban's prefix; NULL: none runs. The cover has its end. */
const struct why_cover *why_cover(const struct why *w, struct kban_prefix *out);
/* The event of a cover; NULL when it was dropped. */
const struct why_event *why_event_at(const struct why *w, uint64_t seq, size_t event);
/* The active range that covers all of it; NULL. */
const struct why_safe *why_safe_over(const struct why *w);
/* What ended a ban before its time; NULL: the log does not show it. */
const struct why_event *why_ender(const struct why *w, const struct why_event *ban);
bool why_runs(const struct why *w, const struct why_event *e);
/* A ban that took effect, or was taken into the history. */
bool why_is_reason(const struct why_event *e);
bool why_is_refused(const struct why_event *e);

/* The oldest running ban that covers all of it: whoever enforces that seq blocks it. UINT64_MAX:
 * none. */
uint64_t why_first_seq(const struct why *w);

/* Of one server while the address is blocked. */
enum enforce_node why_node(const struct why *w, const struct verify_member *m);
/* While it is not: until when this server may still block it, since it has not said that it let it
 * in; 0: it does not. */
uint64_t why_lingers(const struct why *w, const struct verify_member *m);
/* What every server has to enforce for the answer to hold everywhere; 0: nothing. */
uint64_t why_needed_seq(const struct why *w);

/* The first line; the caller frees. */
char *why_sentence(const struct why *w);
/* "kbanctl unban 203.0.113.9"; NULL when there is nothing to do. The caller frees. */
char *why_let_in(const struct why *w);
char *why_let_in_for_good(const struct why *w);
void why_tell(const struct why *w);
void why_json(const struct why *w);
int why_rows(const struct why *w);

#endif
