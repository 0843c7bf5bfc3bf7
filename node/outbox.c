/* SPDX-License-Identifier: MPL-2.0 */
#include "node/outbox.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "node/bytes.h"
#include "proto/log.h"

#define SEALED_HEAD (8 + KBAN_HASH_SIZE + 4) /* counter, hash, number of events */
#define REPORT_ROOM (KBAN_REPORT_MAX - 256)  /* what a report's other fields may take, and more */
/* How far outbox_oldest_history() looks: the queue is in order of time. */
#define HISTORY_REACH 256

static const uint8_t sealed_key[] = {'s'};

struct item_key {
	uint8_t b[9];
};

static struct item_key item_key(uint64_t id)
{
	struct item_key k = {{'o'}};

	bytes_put64(k.b + 1, id);
	return k;
}

static void item_free(struct outbox_item *item)
{
	free(item->bytes);
	free(item);
}

static void sealed_clear(struct outbox *o)
{
	free(o->bytes);
	o->bytes = NULL;
	o->sealed_n = 0;
	memset(&o->sealed, 0, sizeof(o->sealed));
	memset(&o->hash, 0, sizeof(o->hash));
}

void outbox_free(struct outbox *o)
{
	struct outbox_item *item, *next;

	DL_FOREACH_SAFE(o->items, item, next)
	item_free(item);
	sealed_clear(o);
	memset(o, 0, sizeof(*o));
}

static struct outbox_item *item_append(struct outbox *o, uint64_t id, const uint8_t *bytes,
				       size_t len)
{
	struct outbox_item *item = kban_zalloc(sizeof(*item));

	item->id = id;
	item->bytes = kban_memdup(bytes, len);
	item->len = len;
	DL_APPEND(o->items, item);
	o->n++;
	if (o->next_id <= id)
		o->next_id = id + 1;
	return item;
}

/* Loading -------------------------------------------------------------------------------------- */

struct loading {
	struct outbox *o;
	uint64_t broker_ms, boot_ms;
};

static int load_item(void *arg, struct kban_span key, struct kban_span value)
{
	struct loading *l = arg;
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	if (key.n != 9 || value.n <= 8 || kban_event_decode(&r, value.p + 8, value.n - 8))
		return STORE_DAMAGED;
	if (r->events[0].kind != KBAN_EVENT_BAN)
		return STORE_DAMAGED;
	const struct kban_event_ban *ban = &r->events[0].ban;
	uint64_t deadline = bytes_get64(value.p);
	uint64_t left = deadline > l->broker_ms ? deadline - l->broker_ms : 0;
	struct outbox_item *item = item_append(l->o, bytes_get64(key.p + 1), value.p + 8,
					       value.n - 8);

	item->prefix = ban->prefix;
	/* A wall clock that was ahead when the row was written must not make the ban longer. */
	if (left > ban->duration_ms)
		left = ban->duration_ms;
	item->until_boot_ms = deadline ? l->boot_ms + left : 0;
	item->estimated = deadline;
	item->deadline_ms = deadline;
	item->duration_ms = ban->duration_ms;
	return 0;
}

static struct outbox_item *item_find(const struct outbox *o, uint64_t id)
{
	struct outbox_item *item;

	DL_FOREACH(o->items, item)
	if (item->id == id)
		return item;
	return NULL;
}

static int load_sealed(struct outbox *o, const uint8_t *p, size_t len)
{
	if (len < SEALED_HEAD)
		return STORE_DAMAGED;
	size_t n = bytes_get32(p + 8 + KBAN_HASH_SIZE);

	o->counter = bytes_get64(p);
	if (!n)
		return len == SEALED_HEAD ? 0 : STORE_DAMAGED;
	if (n > KBAN_EVENTS_MAX || len <= SEALED_HEAD + 8 * n + KBAN_SIGNATURE_SIZE)
		return STORE_DAMAGED;
	for (size_t i = 0; i < n; i++) {
		struct outbox_item *item = item_find(o, bytes_get64(p + SEALED_HEAD + 8 * i));

		if (!item || item->sealed)
			return STORE_DAMAGED;
		item->sealed = true;
	}
	size_t at = SEALED_HEAD + 8 * n;

	o->sealed_n = n;
	o->bytes = kban_memdup(p + at, len - at);
	o->sealed.report = o->bytes;
	o->sealed.report_len = len - at - KBAN_SIGNATURE_SIZE;
	o->sealed.signature = o->bytes + o->sealed.report_len;
	kban_sealed_hash(&o->hash, &o->sealed);
	return memcmp(o->hash.b, p + 8, KBAN_HASH_SIZE) ? STORE_DAMAGED : 0;
}

int outbox_load(struct outbox *o, struct store *store, uint64_t broker_ms, uint64_t boot_ms)
{
	struct loading l = {o, broker_ms, boot_ms};
	int r = store_rows(store, kban_span("o", 1), load_item, &l);

	if (r)
		return r;
	kban_auto(kban_free) void *value = NULL;
	uint8_t *bytes = NULL;
	size_t len = 0;

	r = store_get(store, kban_span(sealed_key, 1), &bytes, &len);
	value = bytes;
	if (r)
		return r == STORE_NOT_FOUND ? 0 : r;
	return load_sealed(o, bytes, len);
}

/* Changing ------------------------------------------------------------------------------------- */

int outbox_add(struct outbox *o, struct stage *s, const struct kban_event *e,
	       uint64_t until_boot_ms, uint64_t deadline_ms)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	int r = kban_event_encode(&bytes, &len, e);

	if (r)
		return r;
	kban_auto(kban_free) void *event = bytes;
	kban_auto(kban_free) void *value = kban_zalloc(8 + len);
	struct outbox_item *item = item_append(o, o->next_id, bytes, len);
	struct item_key key = item_key(item->id);

	(void)event;
	item->prefix = e->ban.prefix;
	item->until_boot_ms = until_boot_ms;
	bytes_put64(value, until_boot_ms ? deadline_ms : 0);
	memcpy((uint8_t *)value + 8, bytes, len);
	stage_put(s, kban_span(key.b, sizeof(key.b)), kban_span(value, 8 + len));
	return 0;
}

void outbox_remove(struct outbox *o, struct stage *s, struct outbox_item *item)
{
	struct item_key key = item_key(item->id);

	stage_delete(s, kban_span(key.b, sizeof(key.b)));
	DL_DELETE(o->items, item);
	o->n--;
	item_free(item);
}

struct outbox_item *outbox_oldest_history(const struct outbox *o, uint64_t boot_ms)
{
	struct outbox_item *item;
	size_t seen = 0;

	DL_FOREACH(o->items, item)
	{
		if (!item->sealed && item->until_boot_ms <= boot_ms)
			return item;
		if (++seen >= HISTORY_REACH + o->sealed_n)
			break;
	}
	return NULL;
}

/* The row "s": what is sealed now, or (no events) only the counter that is spent. */
static void stage_sealed(const struct outbox *o, struct stage *s)
{
	size_t tail = o->bytes ? o->sealed.report_len + KBAN_SIGNATURE_SIZE : 0;
	size_t len = SEALED_HEAD + 8 * o->sealed_n + tail, i = 0;
	kban_auto(kban_free) void *row = kban_zalloc(len);
	uint8_t *p = row;
	const struct outbox_item *item;

	bytes_put64(p, o->counter);
	memcpy(p + 8, o->hash.b, KBAN_HASH_SIZE);
	bytes_put32(p + 8 + KBAN_HASH_SIZE, (uint32_t)o->sealed_n);
	DL_FOREACH(o->items, item)
	if (item->sealed)
		bytes_put64(p + SEALED_HEAD + 8 * i++, item->id);
	if (tail)
		memcpy(p + len - tail, o->bytes, tail);
	stage_put(s, kban_span(sealed_key, 1), kban_span(p, len));
}

struct sealing {
	struct kban_event events[KBAN_EVENTS_MAX];
	struct kban_report *decoded[KBAN_EVENTS_MAX]; /* own what the events borrow */
	size_t n, bytes;
};

static void sealing_free(struct sealing *g)
{
	for (size_t i = 0; i < g->n; i++)
		kban_report_free(g->decoded[i]);
	free(g);
}
KBAN_DEFINE_AUTO(struct sealing *, sealing_free)

/* False: the report is full. */
static bool sealing_take(struct sealing *g, struct outbox_item *item, uint64_t boot_ms)
{
	struct kban_report *r = NULL;

	if (g->n == KBAN_EVENTS_MAX)
		return false;
	if (kban_event_decode(&r, item->bytes, item->len))
		abort(); /* we encoded it, and the disk's copy was decoded when it was loaded */
	struct kban_event_ban *ban = &r->events[0].ban;

	ban->duration_ms = item->until_boot_ms > boot_ms ? item->until_boot_ms - boot_ms : 0;
	size_t size = kban_event_size(&r->events[0]);

	if (g->bytes + size > REPORT_ROOM) {
		kban_report_free(r);
		return false;
	}
	g->bytes += size;
	g->events[g->n] = r->events[0];
	g->decoded[g->n++] = r;
	item->sealed = true;
	return true;
}

bool outbox_seal(struct outbox *o, struct stage *s, const struct outbox_seal *how)
{
	if (o->bytes || !o->n)
		return false;
	kban_auto(sealing_free) struct sealing *g = kban_zalloc(sizeof(*g));
	struct outbox_item *item;

	DL_FOREACH(o->items, item)
	if (!sealing_take(g, item, how->boot_ms))
		break;
	if (o->counter < how->counter_floor)
		o->counter = how->counter_floor;
	struct kban_report r = {
		.cluster = how->cluster,
		.counter = ++o->counter,
		.base = how->base,
		.issued_ms = how->wall_ms,
		.events_n = g->n,
		.events = g->events,
	};
	if (kban_report_seal(&r, how->keys, &o->bytes, &o->sealed))
		abort(); /* every event was validated, and their sizes add up to less than the limit
			  */
	o->hash = r.hash;
	o->sealed_n = g->n;
	stage_sealed(o, s);
	return true;
}

void outbox_settle(struct outbox *o, struct stage *s,
		   bool (*fn)(void *arg, const struct outbox_item *item, size_t index), void *arg)
{
	struct outbox_item *item, *next;
	size_t index = 0;

	DL_FOREACH_SAFE(o->items, item, next)
	{
		if (!item->sealed)
			continue;
		if (fn && fn(arg, item, index++))
			item->sealed = false;
		else
			outbox_remove(o, s, item);
	}
	sealed_clear(o);
	stage_sealed(o, s);
}

void outbox_unseal(struct outbox *o, struct stage *s)
{
	struct outbox_item *item;

	DL_FOREACH(o->items, item)
	item->sealed = false;
	sealed_clear(o);
	stage_sealed(o, s);
}
