/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/enforce.h"

#include <stdlib.h>

#define NAMED_MAX 5
#define GATHER_MS 500

const char *enforce_name(enum enforce_node n)
{
	static const char *const names[] = {"blocks",	"not-yet", "watching",
					    "excepted", "away",	   "unheard"};

	return names[n];
}

bool enforce_counts(const struct verify_member *m)
{
	return m->role == KBAN_ROLE_NODE && m->granted && !m->revoked_seq;
}

enum enforce_node enforce_node(const struct verify_member *m, uint64_t seq, bool excepted)
{
	if (m->state == VERIFY_WATCHING)
		return ENFORCE_WATCHES;
	if (excepted)
		return ENFORCE_EXCEPTS;
	if (m->state == VERIFY_UNHEARD)
		return ENFORCE_UNHEARD;
	if (!m->fresh || m->forged || m->state == VERIFY_FORK)
		return ENFORCE_AWAY;
	return m->state != VERIFY_KERNEL_FAILED && m->heartbeat.enforced_seq >= seq
		       ? ENFORCE_BLOCKS
		       : ENFORCE_NOT_YET;
}

void enforce_add(struct enforce_count *c, enum enforce_node n)
{
	c->all++;
	c->have += n == ENFORCE_BLOCKS;
	c->unheard += n == ENFORCE_UNHEARD;
}

char *enforce_servers(const struct enforce_count *c)
{
	const char *servers = c->all == 1 ? "server" : "servers";

	if (!c->unheard)
		return kban_asprintf("%zu of %zu %s", c->have, c->all, servers);
	return kban_asprintf("%zu of %zu %s (%zu not known yet: the broker has not heard of %s "
			     "since it started)",
			     c->have, c->all, servers, c->unheard, c->unheard == 1 ? "it" : "them");
}

/* Who is still to let somebody in. */

bool enforce_confirmed(const struct verify_member *m, uint64_t seq)
{
	if (m->state == VERIFY_WATCHING)
		return true;
	if (!m->answered || m->forged || m->state == VERIFY_FORK)
		return false;
	return seq ? m->heartbeat.enforced_seq >= seq : m->fresh;
}

/* One that is as it should be is a moment late. */
static const char *state_word(const struct verify_member *m)
{
	return m->state == VERIFY_LIVE ? "not yet" : verify_state_name(m->state);
}

char *enforce_list(const struct verify *v,
		   bool (*fn)(const void *arg, const struct verify_member *m), const void *arg)
{
	char *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (!enforce_counts(m) || !fn(arg, m) || n++ >= NAMED_MAX)
			continue;
		char *longer = kban_asprintf("%s%s%s (%s)", list ? list : "", list ? ", " : "",
					     m->name, state_word(m));
		free(list);
		list = longer;
	}
	if (n <= NAMED_MAX)
		return list;
	char *longer = kban_asprintf("%s and %zu more", list, n - NAMED_MAX);
	free(list);
	return longer;
}

static bool is_unconfirmed(const void *seq, const struct verify_member *m)
{
	return !enforce_confirmed(m, *(const uint64_t *)seq);
}

void enforce_warn(struct session *s, uint32_t epoch, uint64_t seq, const char *what)
{
	__attribute__((cleanup(fleet_done))) struct fleet f = {0};

	if (!seq || s->identity.role != KBAN_ROLE_OPERATOR)
		return;
	fleet_init(&f, s);
	if (fleet_gather(&f, GATHER_MS) || fleet_settle(&f, epoch, seq, GATHER_MS))
		return;
	kban_auto(kban_free) void *list = enforce_list(f.verify, is_unconfirmed, &seq);
	if (list)
		cli_fail(s->ctx, 0,
			 "not confirmed yet by %s, which may still block %s until it has caught "
			 "up",
			 (char *)list, what);
}
