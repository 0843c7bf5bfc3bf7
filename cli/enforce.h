/* SPDX-License-Identifier: MPL-2.0
 *
 * Which servers block something, and which may block it still, by their own signed word. Whoever
 * tells it (why, bans, unban, safeacl) asks here, so that all give the same numbers.
 */
#ifndef KBAN_CLI_ENFORCE_H
#define KBAN_CLI_ENFORCE_H

#include "cli/fleet.h"

enum enforce_node {
	ENFORCE_BLOCKS,
	ENFORCE_NOT_YET, /* has not said that it enforces this */
	ENFORCE_WATCHES, /* by configuration it blocks nothing */
	ENFORCE_EXCEPTS, /* its own range, held for the fleet, counts there */
	ENFORCE_AWAY,	 /* no fresh word of it */
	ENFORCE_UNHEARD, /* the broker has not heard of it since it started */
};
#define ENFORCE_NODES (ENFORCE_UNHEARD + 1)
const char *enforce_name(enum enforce_node n);

/* It is one of the servers: let in, and not shut out. */
bool enforce_counts(const struct verify_member *m);
/* While a ban of that seq runs. excepted: its own range covers what is banned. */
enum enforce_node enforce_node(const struct verify_member *m, uint64_t seq, bool excepted);

struct enforce_count {
	size_t have, unheard, all;
};
void enforce_add(struct enforce_count *c, enum enforce_node n);
/* "2 of 3 servers", and how many of them are not known yet; the caller frees. */
char *enforce_servers(const struct enforce_count *c);

/* By its last word, its kernel has what the log says up to seq (0: whatever it says). */
bool enforce_confirmed(const struct verify_member *m, uint64_t seq);
/* "mail3 (offline), mail4 (silent)": the servers that fn picks; NULL: none. The caller frees. */
char *enforce_list(const struct verify *v,
		   bool (*fn)(const void *arg, const struct verify_member *m), const void *arg);
/* Somebody was let in at that place: names the servers that have not said that they let him in. */
void enforce_warn(struct session *s, uint32_t epoch, uint64_t seq, const char *what);

#endif
