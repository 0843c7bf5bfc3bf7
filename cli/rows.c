/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/rows.h"

int rows_each(struct session *s, enum kban_query_kind kind, const struct kban_prefix *overlap,
	      void (*fn)(void *arg, const struct kban_answer *a), void *arg)
{
	struct kban_query q = {.kind = kind, .has_prefix = overlap};

	if (overlap)
		q.prefix = *overlap;
	for (;;) {
		kban_auto(kban_message_free) struct kban_message *m = NULL;
		int r = session_ask(s, &q, &m);
		if (r)
			return r;
		fn(arg, &m->answer);
		if (!m->answer.next)
			return 0;
		q.after = m->answer.next;
		/* The deadline is for an answer, not for a million rows. */
		client_extend(s->client, s->ctx->timeout_ms ? s->ctx->timeout_ms : CLI_TIMEOUT_MS);
	}
}
