/* SPDX-License-Identifier: MPL-2.0 */
#include "store/snapshot.h"

#include <stdlib.h>

#include "store/ledger_private.h"

const char *snapshot_result_name(int result)
{
	static const char *const names[] = {
		[SNAPSHOT_DAMAGED] = "damaged",	      [SNAPSHOT_NEWER] = "newer",
		[SNAPSHOT_OTHER_ROOT] = "other-root", [SNAPSHOT_DIGEST] = "other-digest",
		[SNAPSHOT_UNPROVEN] = "unproven",
	};

	if (result <= 0 || (size_t)result >= KBAN_ARRAY_LEN(names))
		return result ? "error" : "ok";
	return names[result];
}

/* Out ---------------------------------------------------------------------------------------- */

struct ledger_writing {
	const struct ledger *l;
	size_t part;
	bool begun; /* the part */
	const struct principal *principal;
	bool counter; /* the principal's is next */
	const struct invitation *invitation;
	size_t i; /* of brokers, hours, or the records of row */
	struct trie_walk walk;
	const struct ban_row *row;
	const struct pardon *pardon;
	const struct safe *safe;
	struct item item;
};

static bool write_item(struct ledger_writing *w, enum item_kind kind, const void *row)
{
	item_write(&w->item, kind, row);
	return true;
}

static bool write_header(struct ledger_writing *w, bool first)
{
	struct item_header h = {.format = LEDGER_STATE_FORMAT};

	if (!first)
		return false;
	h.pub.time_ms = w->l->time_ms;
	h.pub.place = w->l->place;
	ledger_digest(w->l, &h.pub.digest);
	return write_item(w, ITEM_HEADER, &h);
}

static bool write_principal(struct ledger_writing *w, bool first)
{
	if (first)
		w->principal = w->l->principals;
	if (w->counter) {
		const struct principal *p = w->principal;

		w->counter = false;
		w->principal = p->by_key.next;
		return write_item(w, ITEM_COUNTER, &p->pub);
	}
	if (!w->principal)
		return false;
	write_item(w, ITEM_PRINCIPAL, &w->principal->pub);
	w->counter = w->principal->pub.counter;
	if (!w->counter)
		w->principal = w->principal->by_key.next;
	return true;
}

static bool write_invitation(struct ledger_writing *w, bool first)
{
	const struct invitation *i = first ? w->l->invitations : w->invitation;

	if (!i)
		return false;
	w->invitation = i->by_key.next;
	return write_item(w, ITEM_INVITATION, &i->pub);
}

static bool write_broker(struct ledger_writing *w, bool first)
{
	w->i = first ? 0 : w->i + 1;
	return w->i < w->l->brokers_n && write_item(w, ITEM_BROKER, &w->l->brokers[w->i]);
}

static bool write_policy(struct ledger_writing *w, bool first)
{
	struct item_policy row = policy_item(w->l);

	return first && write_item(w, ITEM_POLICY, &row);
}

static bool write_versions(struct ledger_writing *w, bool first)
{
	struct item_versions row = versions_item(w->l);

	return first && write_item(w, ITEM_VERSIONS, &row);
}

static bool write_time(struct ledger_writing *w, bool first)
{
	struct item_time row = {w->l->time_ms};

	return first && write_item(w, ITEM_TIME, &row);
}

static bool write_hour(struct ledger_writing *w, bool first)
{
	w->i = first ? 0 : w->i + 1;
	if (w->i >= w->l->hours_n)
		return false;

	struct item_hour row = {w->l->hours[w->i].hour, w->l->hours[w->i].seq};

	return write_item(w, ITEM_HOUR, &row);
}

static void walk_begin(struct ledger_writing *w, const struct trie *t)
{
	trie_walk_start(&w->walk, t, NULL, NULL);
	w->row = NULL;
	w->pardon = NULL;
	w->safe = NULL;
}

static bool write_ban(struct ledger_writing *w, bool first)
{
	if (first)
		walk_begin(w, &w->l->bans);
	else
		w->i++;
	while (!w->row || w->i >= w->row->records_n) {
		w->row = trie_walk_next(&w->walk);
		w->i = 0;
		if (!w->row)
			return false;
	}

	struct item_ban row = ban_item(&w->row->prefix, &ban_row_records(w->row)[w->i]);

	return write_item(w, ITEM_BAN, &row);
}

static bool write_strikes(struct ledger_writing *w, bool first)
{
	const struct ban_row *r;

	if (first)
		walk_begin(w, &w->l->bans);
	do
		r = trie_walk_next(&w->walk);
	while (r && !r->strikes);
	if (!r)
		return false;

	struct item_strikes row = strikes_item(r);

	return write_item(w, ITEM_STRIKES, &row);
}

static bool write_safe(struct ledger_writing *w, bool first)
{
	if (first)
		walk_begin(w, &w->l->pardons);
	else
		w->safe = w->safe->next;
	while (!w->safe) {
		w->pardon = trie_walk_next(&w->walk);
		if (!w->pardon)
			return false;
		w->safe = w->pardon->safes;
	}

	struct item_safe row = safe_item(&w->safe->pub);

	return write_item(w, ITEM_SAFE, &row);
}

static bool write_unban(struct ledger_writing *w, bool first)
{
	const struct pardon *m;

	if (first)
		walk_begin(w, &w->l->pardons);
	do
		m = trie_walk_next(&w->walk);
	while (m && !m->unban_seq);
	if (!m)
		return false;

	struct item_unban row = unban_item(m);

	return write_item(w, ITEM_UNBAN, &row);
}

/* In the order in which they can be read. Each writes its next item; false: it has no more. */
static bool (*const parts[])(struct ledger_writing *w, bool first) = {
	write_header, write_principal, write_invitation, write_broker,
	write_policy, write_versions,  write_time,	 write_hour,
	write_ban,    write_strikes,   write_safe,	 write_unban,
};

void ledger_writing_new(struct ledger_writing **out, const struct ledger *l)
{
	struct ledger_writing *w = kban_zalloc(sizeof(*w));

	w->l = l;
	*out = w;
}

bool ledger_writing_next(struct ledger_writing *w, struct kban_span *item)
{
	while (w->part < KBAN_ARRAY_LEN(parts)) {
		bool first = !w->begun;

		w->begun = true;
		if (parts[w->part](w, first)) {
			*item = kban_span(w->item.b, w->item.n);
			return true;
		}
		w->part++;
		w->begun = false;
	}
	return false;
}

void ledger_writing_free(struct ledger_writing *w)
{
	free(w);
}

int ledger_items_each(const struct ledger *l, int (*fn)(void *arg, struct kban_span item),
		      void *arg)
{
	kban_auto(ledger_writing_free) struct ledger_writing *w = NULL;
	struct kban_span item;
	int r = 0;

	ledger_writing_new(&w, l);
	while (!r && ledger_writing_next(w, &item))
		r = fn(arg, item);
	return r;
}
