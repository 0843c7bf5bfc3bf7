/* SPDX-License-Identifier: MPL-2.0 */
#include "node/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "node/bytes.h"
#include "node/state.h"
#include "proto/log.h"

static const char *const link_names[] = {
	[NODE_OFFLINE] = "offline",
	[NODE_GREETING] = "greeting",
	[NODE_CATCHING_UP] = "catching-up",
	[NODE_LIVE] = "live",
	[NODE_FORK] = "fork",
	[NODE_REVOKED] = "revoked",
	[NODE_UPGRADE_NEEDED] = "upgrade-needed",
};

const char *node_link_name(enum node_link link)
{
	return link_names[link];
}

/* Time and lookups ----------------------------------------------------------------------------- */

uint64_t node_broker_ms(const struct node *n)
{
	uint64_t now = brokertime_now(&n->time, n->clock), folded = ledger_time_ms(n->ledger);

	return now > folded ? now : folded;
}

struct instant node_instant(const struct node *n)
{
	return (struct instant){kban_boot_ms(n->clock), node_broker_ms(n)};
}

uint64_t node_seq(const struct node *n)
{
	struct kban_place place;

	ledger_place(n->ledger, &place);
	return place.seq;
}

const struct ledger_principal *node_self(const struct node *n)
{
	return ledger_principal(n->ledger, &n->self);
}

const struct ledger *node_ledger(const struct node *n)
{
	return n->ledger;
}

const struct node_counts *node_counts(const struct node *n)
{
	return &n->counts;
}

size_t node_waiting(const struct node *n)
{
	return n->outbox.n;
}

void node_log_missing(struct node *n, bool missing)
{
	n->log_missing = missing;
}

/* Own bans and their rows ---------------------------------------------------------------------- */

struct own_key {
	uint8_t b[1 + sizeof(struct kban_prefix)];
};

static struct own_key own_key(const struct kban_prefix *p)
{
	struct own_key k = {{'l'}};

	memcpy(k.b + 1, p, sizeof(*p));
	return k;
}

static void own_forget(struct node *n, struct own_ban *b)
{
	struct own_key key = own_key(&b->prefix);

	if (b->stored)
		stage_delete(&n->stage, kban_span(key.b, sizeof(key.b)));
	own_remove(&n->own, b);
}

/* From now on nothing in the outbox stands for this ban: it gets a row of its own. */
static void own_store(struct node *n, struct own_ban *b)
{
	struct own_key key = own_key(&b->prefix);
	struct instant now = node_instant(n);
	uint8_t deadline[8];

	if (b->until_boot_ms <= now.boot_ms)
		return;
	bytes_put64(deadline, now.broker_ms + (b->until_boot_ms - now.boot_ms));
	stage_put(&n->stage, kban_span(key.b, sizeof(key.b)), kban_span(deadline, 8));
	b->stored = true;
}

void node_lift_here(struct node *n, struct own_ban *b)
{
	char text[KBAN_PREFIX_TEXT];

	kban_info("lifted this node's ban of %s", kban_prefix_format(&b->prefix, text));
	own_forget(n, b);
}

void node_lift(struct node *n, struct own_ban *b)
{
	struct kban_prefix p = b->prefix;
	struct outbox_item *item, *next;

	node_lift_here(n, b);
	DL_FOREACH_SAFE(n->outbox.items, item, next)
	{
		if (!item->sealed && kban_prefix_equal(&item->prefix, &p))
			outbox_remove(&n->outbox, &n->stage, item);
	}
}

void node_own_answered(struct node *n, const struct kban_prefix *p, bool in_ledger)
{
	struct own_ban *b = own_find(&n->own, p);
	struct instant now = node_instant(n);

	if (!b)
		return;
	if (b->waiting)
		b->waiting--;
	if (b->waiting)
		return;
	uint64_t until = in_ledger ? ledger_ban_until(n->ledger, p, now.broker_ms) : 0;

	/* The estimate of broker time moves by milliseconds. */
	if (until && now.boot_ms + (until - now.broker_ms) + NODE_RETIME_MS >= b->until_boot_ms)
		own_forget(n, b);
	else
		own_store(n, b);
}

static void own_sweep(struct node *n)
{
	uint64_t boot = kban_boot_ms(n->clock);
	struct own_ban *b, *next;

	if (boot < n->sweep_ms)
		return;
	n->sweep_ms = boot + NODE_SWEEP_MS;
	HASH_ITER (hh, n->own.bans, b, next)
		if (b->until_boot_ms <= boot && !b->waiting && !b->estimated)
			own_forget(n, b);
}

/* When what ends at that moment of broker time ends by the boot clock; now, if it is over. */
static uint64_t boot_end(const struct node *n, int64_t offset_ms, uint64_t deadline_ms, uint64_t most_ms)
{
	uint64_t boot = kban_boot_ms(n->clock), now = boot + (uint64_t)offset_ms;
	uint64_t left = deadline_ms > now ? deadline_ms - now : 0;

	return boot + (left < most_ms ? left : most_ms);
}

void node_time_known(struct node *n, int64_t offset_ms)
{
	struct outbox_item *item;
	struct own_ban *b, *next;

	n->timed_offset = n->loaded_offset; /* so that the kernel hears of it */
	HASH_ITER (hh, n->own.bans, b, next)
		if (b->estimated) {
			b->until_boot_ms = boot_end(n, offset_ms, b->deadline_ms, KBAN_BAN_MAX_MS);
			b->estimated = false;
		}
	DL_FOREACH (n->outbox.items, item)
		if (item->estimated) {
			item->until_boot_ms = boot_end(n, offset_ms, item->deadline_ms, item->duration_ms);
			item->estimated = false;
			(void)own_add(&n->own, &item->prefix, item->until_boot_ms);
		}
}

static int load_own(void *arg, struct kban_span key, struct kban_span value)
{
	struct node *n = arg;
	struct kban_prefix raw, p;

	if (key.n != sizeof(struct own_key) || value.n != 8)
		return STORE_DAMAGED;
	memcpy(&raw, key.p + 1, sizeof(raw));
	if (kban_prefix_from_bytes(&p, raw.family, raw.addr, raw.family == KBAN_IPV4 ? 4 : 16,
				   raw.len) ||
	    !kban_prefix_equal(&p, &raw))
		return STORE_DAMAGED;
	struct instant now = node_instant(n);
	uint64_t deadline = bytes_get64(value.p);
	uint64_t left = deadline > now.broker_ms ? deadline - now.broker_ms : 0;
	struct own_ban *b = own_add(
		&n->own, &p, now.boot_ms + (left < KBAN_BAN_MAX_MS ? left : KBAN_BAN_MAX_MS));

	if (b) {
		b->stored = b->estimated = true;
		b->deadline_ms = deadline;
	}
	return 0;
}

/* Start ---------------------------------------------------------------------------------------- */

static int load_rows(struct node *n, char **error)
{
	struct instant now = node_instant(n);
	struct outbox_item *item;
	n->loaded_offset = (int64_t)(now.broker_ms - now.boot_ms);
	int r = store_rows(n->store, kban_span("l", 1), load_own, n);

	if (!r)
		r = outbox_load(&n->outbox, n->store, now.broker_ms, now.boot_ms);
	if (r) {
		*error = kban_asprintf("cannot read the outbox: %s (%s); to go on without what "
				       "waits in it, move the data "
				       "folder away",
				       r < 0 ? strerror(-r) : store_result_name(r),
				       store_error(n->store));
		return r;
	}
	DL_FOREACH(n->outbox.items, item)
	{
		struct own_ban *b = item->until_boot_ms
					    ? own_add(&n->own, &item->prefix, item->until_boot_ms)
					    : NULL;
		if (b)
			b->estimated = true;
		if (b)
			b->waiting++;
	}
	n->submit.durable = n->outbox.bytes != NULL;
	return 0;
}

int node_new(struct node **out, const struct node_config *config, struct store *store,
	     const struct kban_clock *clock, const struct node_ports *ports, char **error)
{
	kban_auto(node_free) struct node *n = kban_zalloc(sizeof(*n));

	*error = NULL;
	n->config = *config;
	n->excepted = kban_memdup(config->excepted, config->excepted_n * sizeof(*config->excepted));
	n->config.excepted = n->excepted;
	n->self = config->identity->keys.sign_public;
	n->store = store;
	n->clock = clock;
	n->ports = *ports;
	n->link.retry_ms = NODE_RETRY_MIN_MS;
	int r = replica_load(n, error);

	if (!r)
		r = load_rows(n, error);
	if (r)
		return r;
	want_enforce_all(n);
	want_fence(n, node_seq(n));
	n->timed_ms = 0; /* the broker's first word may correct the wall clock at once */
	*out = n;
	n = NULL;
	return 0;
}

void node_free(struct node *n)
{
	struct safe_row *row, *next;

	if (!n)
		return;
	HASH_ITER (hh, n->safes, row, next) {
		HASH_DEL(n->safes, row);
		free(row);
	}
	transfer_end(n);
	tidy_stop(n);
	own_free(&n->own);
	outbox_free(&n->outbox);
	stage_free(&n->stage);
	ledger_free(n->ledger);
	free(n->excepted);
	free(n);
}

/* Offences ------------------------------------------------------------------------------------- */

/* Each exempt address is logged once (of the newest ones): it may hammer for hours. */
static void say_exempt(struct node *n, const struct kban_prefix *p, const char *why)
{
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < NODE_SAID; i++)
		if (kban_prefix_equal(&n->said.v[i], p))
			return;
	n->said.v[n->said.next++ % NODE_SAID] = *p;
	kban_info("%s offended and is not banned: %s", kban_prefix_format(p, text), why);
}

/* A ban that runs already, alone or as a part of a wider one, is reported again only when that
 * makes it at least a tenth longer. Another service's window, or Kerio's own verdict on the same
 * attack, comes a moment later and would only fill log and quota: overlapping bans are one strike
 * anyway. An attacker who still gets through to offend is reported again, at most ten times in the
 * duration of a ban. */
static bool runs_already(const struct node *n, const struct node_offence *o)
{
	struct instant now = node_instant(n);
	struct kban_prefix covering;
	uint64_t until = 0, running = own_until(&n->own, &o->prefix, now.boot_ms);

	if (ledger_ban_covering(n->ledger, &o->prefix, now.broker_ms, &covering, &until) &&
	    now.boot_ms + (until - now.broker_ms) > running)
		running = now.boot_ms + (until - now.broker_ms);
	return running && now.boot_ms + o->duration_ms < running + o->duration_ms / 10;
}

static void enforce_offence(struct node *n, const struct node_offence *o, struct own_ban **own)
{
	struct instant now = node_instant(n);
	struct enforce_op op = {.kind = ENFORCE_BAN, .prefix = o->prefix};

	*own = NULL;
	if (!o->duration_ms)
		return;
	*own = own_add(&n->own, &o->prefix, now.boot_ms + o->duration_ms);
	op.until_boot_ms = want_until(n, &o->prefix, &now);
	if (op.until_boot_ms < now.boot_ms + o->duration_ms)
		op.until_boot_ms = now.boot_ms + o->duration_ms;
	(void)want_send(n, &op, 1, false);
	n->counts.enforced_here++;
}

static struct kban_text short_text(const char *s, size_t max)
{
	struct kban_text t = kban_text(s);

	return t.n <= max && kban_text_valid(t.s, t.n, max) ? t : (struct kban_text){0};
}

/* A disk that stays full must not make the memory grow, nor the transaction that waits. */
#define STAGED_MAX (16U << 20)

static bool outbox_room(struct node *n)
{
	if (n->stage.bytes > STAGED_MAX)
		return false;
	if (n->outbox.n < NODE_OUTBOX_MAX)
		return true;
	struct outbox_item *old = outbox_oldest_history(&n->outbox, kban_boot_ms(n->clock));

	if (!old)
		return false;
	struct own_ban *b = own_find(&n->own, &old->prefix);

	if (b && b->waiting && old->until_boot_ms)
		b->waiting--;
	outbox_remove(&n->outbox, &n->stage, old);
	n->counts.lost_to_fleet++;
	return true;
}

static bool stage_offence(struct node *n, const struct node_offence *o, uint64_t until_boot_ms)
{
	const struct ledger_principal *self = node_self(n);

	if ((self && self->revoked_seq) || !outbox_room(n))
		return false;
	struct kban_event e = {.kind = KBAN_EVENT_BAN};

	e.ban = (struct kban_event_ban){
		.prefix = o->prefix,
		.duration_ms = o->duration_ms,
		.rule = short_text(o->rule, KBAN_RULE_MAX),
		.service = short_text(o->service, KBAN_RULE_MAX),
		.server = short_text(o->server, KBAN_NAME_MAX),
		.line = short_text(o->line, KBAN_LINE_MAX),
		.count = o->count,
		.first_ms = o->first_ms,
		.last_ms = o->last_ms,
	};
	return !outbox_add(&n->outbox, &n->stage, &e, o->duration_ms ? until_boot_ms : 0,
			   node_broker_ms(n) + o->duration_ms);
}

static void say_offence(const struct node_offence *o)
{
	char text[KBAN_PREFIX_TEXT];
	const char *rule = o->rule ? o->rule : "-";
	const char *service = o->service && *o->service ? o->service : "-";

	kban_prefix_format(&o->prefix, text);
	if (o->duration_ms)
		kban_info("banned %s for %llu s: %s on %s, %u times", text,
			  (unsigned long long)((o->duration_ms + 500) / 1000), rule, service,
			  o->count);
	else
		kban_info("%s offended too long ago to be banned: %s on %s, %u times", text, rule, service,
			  o->count);
}

static void lost_to_fleet(struct node *n, struct own_ban *own)
{
	if (!n->counts.lost_to_fleet++)
		kban_error("an offence cannot be reported to the fleet (outbox full, or this node "
			   "is revoked): it is "
			   "enforced on this server only; further ones are counted");
	if (own)
		own_store(n, own);
}

void node_offence(struct node *n, const struct node_offence *given)
{
	struct node_offence o = *given;
	struct own_ban *own;

	n->counts.offences++;
	if (o.duration_ms > KBAN_BAN_MAX_MS)
		o.duration_ms = KBAN_BAN_MAX_MS;
	const char *why = want_exempt(n, &o.prefix);

	if (why) {
		say_exempt(n, &o.prefix, why);
		return;
	}
	if (runs_already(n, &o))
		return;
	enforce_offence(n, &o, &own);
	if (!stage_offence(n, &o, kban_boot_ms(n->clock) + o.duration_ms))
		lost_to_fleet(n, own);
	else if (own)
		own->waiting++;
	say_offence(&o);
}

/* The disk ------------------------------------------------------------------------------------- */

void node_stage_row(struct node *n, struct kban_span key, struct kban_span value)
{
	stage_put(&n->stage, key, value);
}

static int store_full(struct node *n)
{
	if (!n->disk_full)
		kban_error("the disk is full (%s): this node goes on enforcing, and keeps what it "
			   "has to store "
			   "in memory until there is space",
			   store_error(n->store));
	n->disk_full = true;
	n->store_retry_ms = kban_boot_ms(n->clock) + NODE_STORE_RETRY_MS;
	return STORE_FULL;
}

static void acknowledge(struct node *n)
{
	struct kban_message m = {.kind = KBAN_MSG_ACK, .ack = {n->ack_seq}};

	if (n->ack_seq && n->link.phase == LINK_UP)
		link_send(n, &m);
	n->ack_seq = 0;
}

int node_commit(struct node *n)
{
	submit_seal(n);
	int r = stage_commit(&n->stage, n->store);

	if (r == STORE_FULL)
		return store_full(n);
	if (r)
		return r < 0 ? r : -EIO;
	if (n->disk_full)
		kban_info("the disk has space again: everything is stored");
	n->disk_full = false;
	n->submit.durable = true;
	submit_send(n);
	acknowledge(n);
	return 0;
}

int node_flush(struct node *n)
{
	return node_commit(n);
}

static int store_again(struct node *n)
{
	if (n->disk_full && kban_boot_ms(n->clock) < n->store_retry_ms)
		return 0;
	int r = node_commit(n);

	return r < 0 ? r : 0;
}

int node_tick(struct node *n)
{
	own_sweep(n);
	want_tick(n);
	link_tick(n);
	confirm_tick(n);
	int r = transfer_tick(n);

	if (!r)
		r = tidy_tick(n);
	if (r)
		return r;
	/* Rows that a flush is about to bring wait for it; a report that may be sealed, or a disk
	 * that has space again, does not. */
	if (n->disk_full || (n->outbox.n && !n->outbox.bytes))
		r = store_again(n);
	submit_send(n);
	return r;
}
