/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/sim/final.h"

#include <stdio.h>

#define NEAR_MS 6000 /* one step of simulated time may hold a message back for 5 s: clocks differ about such ends */

static char sentence[512];

struct compare {
	const struct world_node *node;
	const struct world_kernel *kernel;
	uint64_t now_ms;
	size_t matched;
	const char *broken;
};

static const struct enforce_op *kernel_ban(const struct world_kernel *k, const struct kban_prefix *p)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->ops[i].kind == ENFORCE_BAN && kban_prefix_equal(&k->ops[i].prefix, p))
			return &k->ops[i];
	return NULL;
}

static int ledger_ban_in_kernel(void *arg, const struct kban_prefix *p, uint64_t until_ms)
{
	struct compare *c = arg;
	char text[KBAN_PREFIX_TEXT];

	if (until_ms < c->now_ms + NEAR_MS)
		return 0;
	if (kernel_ban(c->kernel, p)) {
		c->matched++;
		return 0;
	}
	snprintf(sentence, sizeof(sentence), "%s is banned and not in node %u's kernel", kban_prefix_format(p, text),
		 c->node->index + 1);
	c->broken = sentence;
	return 1;
}

static bool is_late(const struct world *w, const struct world_node *n, const struct kban_prefix *p)
{
	for (size_t i = 0; i < w->late_n; i++)
		if (w->late[i].node == n->index && kban_prefix_equal(&w->late[i].prefix, p))
			return true;
	return false;
}

static const char *compare_kernel(const struct world *w, const struct world_node *n)
{
	const struct ledger *l = broker_ledger(w->broker);
	struct compare c = {.node = n, .kernel = &n->kernel, .now_ms = w->now_ms};
	uint64_t boot = n->clock.boot_ms(n->clock.arg);
	char text[KBAN_PREFIX_TEXT];

	ledger_bans_each(l, w->now_ms, NULL, NULL, ledger_ban_in_kernel, &c);
	for (size_t i = 0; i < n->kernel.n && !c.broken; i++) {
		const struct enforce_op *op = &n->kernel.ops[i];
		if (op->kind == ENFORCE_BAN && op->until_boot_ms > boot + NEAR_MS &&
		    !ledger_ban_until(l, &op->prefix, w->now_ms) && !is_late(w, n, &op->prefix)) {
			snprintf(sentence, sizeof(sentence), "%s is in node %u's kernel for %llu ms more and not banned",
				 kban_prefix_format(&op->prefix, text), n->index + 1,
				 (unsigned long long)(op->until_boot_ms - boot));
			c.broken = sentence;
		}
	}
	return c.broken;
}

const char *world_final(struct world *w)
{
	const char *broken = NULL;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < w->offences_n; i++) {
		const struct world_offence *o = &w->offences[i];
		if (!o->promised || o->counted)
			continue;
		snprintf(sentence, sizeof(sentence), "lost: node %u's ban of %s never reached the log", o->node + 1,
			 kban_prefix_format(&o->prefix, text));
		return sentence;
	}
	for (unsigned i = 0; i < WORLD_NODES && !broken; i++)
		broken = compare_kernel(w, &w->nodes[i]);
	return broken;
}
