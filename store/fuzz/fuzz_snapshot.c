/* SPDX-License-Identifier: MPL-2.0
 *
 * Items from a lying broker: each u16 length and bytes, as a page of the store has them. The digest
 * in the header is put right first, or nothing would ever get past it. What is read must be written
 * as the same bytes, can be folded on, and is not proved by no reports at all.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger_private.h"
#include "store/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
	if (!fact)
		abort();
}

struct stream {
	const uint8_t *p;
	size_t n;
};

static bool stream_next(struct stream *s, struct kban_span *item)
{
	if (s->n < 2 || s->n - 2 < (size_t)(s->p[0] << 8 | s->p[1]))
		return false;
	*item = kban_span(s->p + 2, (size_t)(s->p[0] << 8 | s->p[1]));
	s->p += 2 + item->n;
	s->n -= 2 + item->n;
	return true;
}

static void digest_of(struct stream s, struct kban_hash *out)
{
	uint64_t lanes[4] = {0}, v[4];
	struct kban_span item;
	struct kban_hash h;

	for (bool first = true; stream_next(&s, &item); first = false) {
		if (first)
			continue;
		kban_hash_spans(&h, "kban item v1", &item, 1);
		memcpy(v, h.b, sizeof(v));
		for (size_t i = 0; i < 4; i++)
			lanes[i] += be64toh(v[i]);
	}
	for (size_t i = 0; i < 4; i++)
		lanes[i] = htobe64(lanes[i]);
	memcpy(out->b, lanes, sizeof(lanes));
}

static int load(struct stream s, const struct kban_key *root, struct ledger **out)
{
	kban_auto(ledger_loading_free) struct ledger_loading *d = NULL;
	struct kban_hash digest;
	struct kban_span item;
	int r = 0;

	digest_of(s, &digest);
	ledger_loading_new(&d, root);
	for (bool first = true; !r && stream_next(&s, &item); first = false) {
		uint8_t header[LEDGER_ITEM_MAX];

		if (first && item.n > sizeof(digest) && item.n <= sizeof(header)) {
			memcpy(header, item.p, item.n);
			memcpy(header + item.n - sizeof(digest), &digest, sizeof(digest));
			item.p = header;
		}
		r = ledger_loading_item(d, item);
	}
	if (!r)
		r = ledger_loading_end(d, out);
	must(!r == !ledger_loading_why(d) || !r);
	return r;
}

static int compare(void *arg, struct kban_span item)
{
	struct stream *s = arg;
	struct kban_span mine;

	must(stream_next(s, &mine));
	must(mine.n == item.n);
	must(!item.p[0] || !memcmp(mine.p, item.p, item.n)); /* the header has another digest */
	return 0;
}

static const struct kban_report *nothing(void *arg, uint64_t seq)
{
	(void)arg;
	must(seq);
	return NULL;
}

/* An entry long after, by an author whom the ledger may not know. */
static void go_on(struct ledger *l, const struct kban_keypair *k)
{
	struct kban_event e = {.kind = KBAN_EVENT_BAN};
	struct kban_place place;
	struct kban_report r = {.cluster = *ledger_cluster(l), .author = k->sign_public};
	struct kban_entry entry = {.accepted_ms = ledger_time_ms(l) + 3 * LEDGER_DAY_MS};

	ledger_place(l, &place);
	if (place.seq == UINT64_MAX)
		return;
	entry.seq = place.seq + 1;
	r.base = (struct kban_base){place.epoch, place.seq};
	r.counter = UINT64_MAX;
	r.events = &e;
	r.events_n = 1;
	e.ban.prefix = (struct kban_prefix){KBAN_IPV4, 32, {192, 0, 2, 1}};
	e.ban.duration_ms = LEDGER_DAY_MS;
	ledger_apply(l, &entry, &r, NULL, NULL);
	entry.seq++;
	entry.accepted_ms += 4000 * LEDGER_DAY_MS;
	if (entry.seq)
		ledger_apply(l, &entry, &r, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kban_auto(ledger_free) struct ledger *l = NULL;
	struct stream s = {data, size};
	struct kban_keypair root, node;
	struct ledger_fault fault;

	/* The root and a node of the histories that the seeds come from (store/test/history.h). */
	kban_crypto_setup();
	kban_keypair_from_seed(&root, (const uint8_t[32]){0, 'm'});
	kban_keypair_from_seed(&node, (const uint8_t[32]){3, 'm'});
	if (load(s, &root.sign_public, &l))
		return 0;
	ledger_items_each(l, compare, &s);
	if (ledger_evidence_check(l, nothing, NULL, &fault))
		must(fault.seq && fault.row && fault.why);
	go_on(l, &node);
	return 0;
}
