/* SPDX-License-Identifier: MPL-2.0
 *
 * Questions of the world's actors, and their answers.
 */
#ifndef KBAN_BROKER_TEST_ASKING_H
#define KBAN_BROKER_TEST_ASKING_H

#include "broker/test/world.h"

static unused void ask(struct world *w, struct actor *a, const struct kban_query *q)
{
	struct kban_message m = {.kind = KBAN_MSG_QUERY, .query = *q};

	send_message(w, a, &m);
}

static unused struct kban_message *answer_to(struct world *w, struct actor *a,
					     const struct kban_query *q)
{
	ask(w, a, q);
	return take(w, a->peer, KBAN_MSG_ANSWER);
}

static unused struct kban_message *answer(struct world *w, struct actor *a,
					  enum kban_query_kind kind, uint64_t after)
{
	return answer_to(w, a, &(struct kban_query){.kind = kind, .after = after});
}

/* The seqs that a query for the log gives in all its pages; how many. */
static unused size_t log_seqs(struct world *w, struct actor *a, struct kban_query q, uint64_t *out,
			      size_t max)
{
	size_t n = 0;

	q.kind = KBAN_QUERY_LOG;
	do {
		kban_auto(kban_message_free) struct kban_message *m = answer_to(w, a, &q);

		assert_true(m->answer.next == 0 || m->answer.next > q.after);
		for (size_t i = 0; i < m->answer.log_n; i++) {
			assert_true(n < max);
			out[n++] = m->answer.log[i].seq;
		}
		q.after = m->answer.next;
	} while (q.after);
	return n;
}

static unused struct kban_event unban_event(const char *prefix)
{
	struct kban_event e = {.kind = KBAN_EVENT_UNBAN};

	assert_int_equal(kban_prefix_parse(&e.unban.prefix, prefix), 0);
	return e;
}

static unused struct kban_event safe_event(const char *prefix)
{
	struct kban_event e = {.kind = KBAN_EVENT_SAFE_ADD};

	assert_int_equal(kban_prefix_parse(&e.safe_add.prefix, prefix), 0);
	return e;
}

static unused struct kban_prefix prefix_of(const char *text)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

#endif
