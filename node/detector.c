/* SPDX-License-Identifier: MPL-2.0
 *
 * A window is the ring of its newest failures, each 8 bytes. A failure counts while every later one of its
 * window came within check_s of it, in either direction: so a window that counts `failures` of them
 * holds that many within check_s, whatever the clock did between. What no longer counts stays in the
 * ring as long as a second half could still pair with it.
 *
 * All memory is taken at creation: a slot of about 100 bytes and a ring for each window. Rings hold at least
 * RING_MIN failures, and with a high `failures` there are fewer windows, so that all rings together
 * never exceed RINGS_BYTES (at 1000 failures: 8192 windows). Pages that nobody touches cost nothing.
 */
#include "node/detector.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"

#define BUCKET_SLOTS 8U
#define RING_MIN     16U
#define RINGS_BYTES  (64U << 20)
#define PAIR_MS	     2000U
#define FAILURES_MAX 1000U
#define WINDOWS_MAX  (1U << 22)
#define CHECK_MAX_S  (14U * 86400U) /* times in a ring are 32-bit distances */
#define EXPIRE_STEP  2U
#define STEP_BACK_MS (2U * 3600U * 1000U) /* local time steps back by an hour in autumn: wait for longer */
#define NONE	     UINT32_MAX

const struct detector_config detector_defaults = {
	.failures = 10,
	.check_s = 60,
	.block_s = 300,
	.max_windows = 65536,
};

struct failure {
	uint32_t ms;	    /* the low 32 bits of its line time */
	uint32_t half : 2;  /* an enum rules_half that still waits for its other half */
	uint32_t host : 30; /* a hash of the whole address: halves pair within one address of a /64 */
};

struct window {
	char name[KBAN_RULE_MAX + 1]; /* the service's, or the rule's */
	struct kban_prefix offender;
	bool open;
	bool own;		 /* of a rule */
	uint32_t check_s;
	uint64_t newest_ms;	 /* line time of the failure that came last */
	uint32_t older, younger; /* neighbours in the list by arrival */
	uint32_t end;		 /* place in the ring behind the last failure */
	uint32_t kept;		 /* failures in the ring */
	uint32_t live;		 /* the last so many count */
};

struct detector {
	struct detector_config config;
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint32_t ring; /* failures that a ring holds */
	uint32_t windows;
	struct window *window;
	struct failure *failures; /* windows rings of ring failures */
	uint32_t oldest, youngest;
	uint32_t hand; /* goes round the slots: a long window hides no shorter one that has expired */
	uint64_t open, given_up;
};

/* Whose window a line counts in, and what fills it. */
struct counted {
	struct kban_prefix offender;
	const char *name;
	bool own;
	uint32_t failures, check_s, block_s;
};

static uint32_t clamp(uint32_t v, uint32_t min, uint32_t max)
{
	return v < min ? min : v > max ? max : v;
}

static uint32_t round_up(uint32_t n)
{
	uint32_t power = BUCKET_SLOTS;

	while (power < n)
		power *= 2;
	return power;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint32_t ring_size(uint32_t failures, uint32_t failures_max)
{
	uint32_t most = failures > failures_max ? failures : failures_max;

	return clamp(most, RING_MIN, FAILURES_MAX);
}

void detector_new(struct detector **out, const struct detector_config *config, const uint8_t hash_key[16])
{
	struct detector *d = kban_zalloc(sizeof(*d));

	d->config = *config;
	d->config.failures = clamp(config->failures, 1, FAILURES_MAX);
	d->config.check_s = clamp(config->check_s, 1, CHECK_MAX_S);
	memcpy(d->key, hash_key, sizeof(d->key));
	d->ring = ring_size(d->config.failures, config->failures_max);
	d->windows = round_up(clamp(config->max_windows, 1, WINDOWS_MAX));
	while (d->windows > BUCKET_SLOTS && (uint64_t)d->windows * d->ring * sizeof(struct failure) > RINGS_BYTES)
		d->windows /= 2;
	d->window = kban_zalloc(d->windows * sizeof(*d->window));
	d->failures = kban_zalloc((size_t)d->windows * d->ring * sizeof(*d->failures));
	d->oldest = d->youngest = NONE;
	*out = d;
}

void detector_free(struct detector *d)
{
	if (!d)
		return;
	free(d->window);
	free(d->failures);
	free(d);
}

static uint32_t window_index(const struct detector *d, const struct window *w)
{
	return (uint32_t)(w - d->window);
}

static void list_remove(struct detector *d, struct window *w)
{
	*(w->older == NONE ? &d->oldest : &d->window[w->older].younger) = w->younger;
	*(w->younger == NONE ? &d->youngest : &d->window[w->younger].older) = w->older;
}

static void list_append(struct detector *d, struct window *w)
{
	uint32_t i = window_index(d, w);

	w->older = d->youngest;
	w->younger = NONE;
	*(d->youngest == NONE ? &d->oldest : &d->window[d->youngest].younger) = i;
	d->youngest = i;
}

static void window_close(struct detector *d, struct window *w)
{
	list_remove(d, w);
	w->open = false;
	d->open--;
}

static uint64_t check_ms(const struct window *w)
{
	return w->check_s * 1000ULL;
}

static uint64_t keep_ms(const struct window *w)
{
	return check_ms(w) > PAIR_MS ? check_ms(w) : PAIR_MS;
}

/* Nothing in it can matter to a line of now_ms or later. Times may go back, so what came last need not be the
 * youngest; but all that counts lies within keep_ms of it. */
static bool window_expired(const struct window *w, uint64_t now_ms)
{
	return w->newest_ms + 2 * keep_ms(w) < now_ms;
}

/* A few at a time, so that no line pays for all. */
static void expire_some(struct detector *d, uint64_t now_ms)
{
	if (now_ms < STEP_BACK_MS)
		return;
	now_ms -= STEP_BACK_MS;
	for (unsigned i = 0; i < EXPIRE_STEP && d->oldest != NONE; i++) {
		if (!window_expired(&d->window[d->oldest], now_ms))
			break;
		window_close(d, &d->window[d->oldest]);
	}
	struct window *w = &d->window[d->hand];

	d->hand = (d->hand + 1) & (d->windows - 1);
	if (w->open && window_expired(w, now_ms))
		window_close(d, w);
}

static uint64_t hash_bytes(const struct detector *d, const void *p, size_t n)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t h;

	crypto_shorthash(out, p, n, d->key);
	memcpy(&h, out, sizeof(h));
	return h;
}

static struct window *bucket_of(const struct detector *d, const struct counted *c)
{
	uint8_t key[sizeof(c->offender) + 1 + KBAN_RULE_MAX];
	size_t n = strnlen(c->name, KBAN_RULE_MAX), at = sizeof(c->offender);

	memcpy(key, &c->offender, at);
	key[at++] = c->own;
	memcpy(key + at, c->name, n);
	uint64_t h = hash_bytes(d, key, at + n);
	return d->window + (h & (d->windows / BUCKET_SLOTS - 1)) * BUCKET_SLOTS;
}

static struct window *window_find(const struct detector *d, const struct counted *c)
{
	struct window *bucket = bucket_of(d, c);

	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		struct window *w = &bucket[i];
		if (w->open && w->own == c->own && kban_prefix_equal(&w->offender, &c->offender) &&
		    strcmp(w->name, c->name) == 0)
			return w;
	}
	return NULL;
}

/* A free slot, or the one whose newest failure is oldest. */
static struct window *window_claim(struct detector *d, struct window *bucket, uint64_t now_ms)
{
	struct window *w = bucket;

	for (unsigned i = 0; i < BUCKET_SLOTS && w->open; i++) {
		if (!bucket[i].open || bucket[i].newest_ms < w->newest_ms)
			w = &bucket[i];
	}
	if (w->open) {
		d->given_up += !window_expired(w, now_ms);
		window_close(d, w);
	}
	return w;
}

static struct window *window_open(struct detector *d, const struct counted *c, uint64_t now_ms)
{
	struct window *w = window_claim(d, bucket_of(d, c), now_ms);

	*w = (struct window){.offender = c->offender, .open = true, .own = c->own, .check_s = c->check_s,
			     .newest_ms = now_ms};
	memcpy(w->name, c->name, strnlen(c->name, KBAN_RULE_MAX));
	list_append(d, w);
	d->open++;
	return w;
}

/* The back-th failure from the last, which is 0. */
static struct failure *failure_at(const struct detector *d, const struct window *w, uint32_t back)
{
	struct failure *ring = d->failures + (size_t)window_index(d, w) * d->ring;

	return &ring[(w->end + 2 * d->ring - 1 - back) % d->ring];
}

/* Kept failures lie within CHECK_MAX_S of the last one, so the signed difference is exact. */
static uint64_t failure_ms(const struct window *w, const struct failure *f)
{
	return w->newest_ms + (uint64_t)(int64_t)(int32_t)(f->ms - (uint32_t)w->newest_ms);
}

/* Forgets what is too far from a line of line_ms: from the last failure that is, back. */
static void window_slide(const struct detector *d, struct window *w, uint64_t line_ms)
{
	uint64_t check = check_ms(w), keep = keep_ms(w);

	if (distance(w->newest_ms, line_ms) > 2 * (uint64_t)CHECK_MAX_S * 1000) {
		w->kept = w->live = 0;
		return;
	}
	for (uint32_t back = 0; back < w->kept; back++) {
		uint64_t far = distance(failure_ms(w, failure_at(d, w, back)), line_ms);
		if (far > check && back < w->live)
			w->live = back;
		if (far > keep)
			w->kept = back;
	}
}

/* The oldest unpaired other half of the same address within 2 s takes this one in. */
static bool window_pair(const struct detector *d, struct window *w, enum rules_half half, uint32_t host,
			uint64_t line_ms)
{
	if (half == RULES_WHOLE)
		return false;
	for (uint32_t back = w->kept; back-- > 0;) {
		struct failure *f = failure_at(d, w, back);
		if (f->half == RULES_WHOLE || f->half == half || f->host != host ||
		    distance(failure_ms(w, f), line_ms) > PAIR_MS)
			continue;
		f->half = RULES_WHOLE;
		return true;
	}
	return false;
}

static void window_add(struct detector *d, struct window *w, enum rules_half half, uint32_t host, uint64_t line_ms)
{
	window_slide(d, w, line_ms);
	w->end = (w->end + 1) % d->ring;
	w->newest_ms = line_ms;
	if (w->kept < d->ring)
		w->kept++;
	w->live++;
	*failure_at(d, w, 0) = (struct failure){(uint32_t)line_ms, (uint32_t)half & 3, host};
	list_remove(d, w);
	list_append(d, w);
}

static void offence_fill(const struct counted *c, const struct rules_match *m, struct detector_offence *out,
			 uint64_t line_ms)
{
	*out = (struct detector_offence){
		.prefix = c->offender,
		.rule = m->rule,
		.count = 1,
		.first_ms = line_ms,
		.last_ms = line_ms,
		.block_s = c->block_s,
	};
	memcpy(out->service, m->service, strnlen(m->service, KBAN_RULE_MAX));
}

static void offence_count(const struct detector *d, const struct window *w, struct detector_offence *out)
{
	out->count = w->live;
	for (uint32_t back = 0; back < w->live; back++) {
		uint64_t ms = failure_ms(w, failure_at(d, w, back));
		out->first_ms = ms < out->first_ms ? ms : out->first_ms;
		out->last_ms = ms > out->last_ms ? ms : out->last_ms;
	}
}

static struct counted counted_in(const struct detector *d, const struct rules_match *m)
{
	const struct detector_config *config = &d->config;
	const struct rules_limits none = {0}, *own = m->own ? m->own : &none;

	return (struct counted){
		.offender = kban_prefix_offender(&m->address),
		.name = m->own ? m->rule : m->service,
		.own = m->own != NULL,
		.failures = own->failures ? clamp(own->failures, 1, d->ring) : config->failures,
		.check_s = own->check_s ? clamp(own->check_s, 1, CHECK_MAX_S) : config->check_s,
		.block_s = own->block_s ? own->block_s : config->block_s,
	};
}

static bool feed_failure(struct detector *d, const struct rules_match *m, uint64_t line_ms,
			 struct detector_offence *out)
{
	struct counted c = counted_in(d, m);
	struct window *w = window_find(d, &c);
	uint32_t host = (uint32_t)hash_bytes(d, &m->address, sizeof(m->address)) >> 2;

	if (w && window_pair(d, w, m->half, host, line_ms))
		return false;
	if (!w)
		w = window_open(d, &c, line_ms);
	w->check_s = c.check_s;
	window_add(d, w, m->half, host, line_ms);
	if (w->live < c.failures)
		return false;
	offence_fill(&c, m, out, line_ms);
	offence_count(d, w, out);
	w->live = 0;
	return true;
}

static bool feed_ban(struct detector *d, const struct rules_match *m, uint64_t line_ms, struct detector_offence *out)
{
	struct counted c = counted_in(d, m);
	struct window *w = window_find(d, &c);

	offence_fill(&c, m, out, line_ms);
	if (w)
		w->live = 0;
	return true;
}

bool detector_feed(struct detector *d, const struct rules_match *m, uint64_t line_ms,
		   struct detector_offence *out)
{
	if (!m->has_address)
		return false;
	expire_some(d, line_ms);
	switch (m->verdict) {
	case RULES_FAILURE:
		return feed_failure(d, m, line_ms, out);
	case RULES_BAN:
		return feed_ban(d, m, line_ms, out);
	case RULES_NONE:
	case RULES_SUCCESS:
		return false;
	}
	return false;
}

/* The newest failures of one window, from an old detector's ring into a window of the new one. */
static void window_move(struct detector *to, const struct detector *from, const struct window *w)
{
	const struct counted c = {.offender = w->offender, .name = w->name, .own = w->own, .check_s = w->check_s};
	struct window *n = window_open(to, &c, w->newest_ms);

	n->kept = w->kept < to->ring ? w->kept : to->ring;
	n->live = w->live < n->kept ? w->live : n->kept;
	n->end = n->kept % to->ring;
	for (uint32_t back = 0; back < n->kept; back++)
		*failure_at(to, n, back) = *failure_at(from, w, back);
}

void detector_reserve(struct detector *d, uint32_t failures_max)
{
	struct detector_config config = d->config;
	struct detector *bigger;

	if (ring_size(config.failures, failures_max) <= d->ring)
		return;
	config.failures_max = failures_max;
	detector_new(&bigger, &config, d->key);
	for (uint32_t i = d->oldest; i != NONE; i = d->window[i].younger)
		window_move(bigger, d, &d->window[i]);
	bigger->given_up += d->given_up;
	free(d->window);
	free(d->failures);
	*d = *bigger;
	free(bigger);
}

void detector_clear(struct detector *d, const struct kban_prefix *prefix)
{
	for (uint32_t i = d->oldest; i != NONE;) {
		struct window *w = &d->window[i];
		i = w->younger;
		if (kban_prefix_overlaps(&w->offender, prefix))
			window_close(d, w);
	}
}

uint64_t detector_oldest(const struct detector *d, uint64_t now_ms)
{
	uint64_t oldest = now_ms;

	for (uint32_t i = d->oldest; i != NONE; i = d->window[i].younger) {
		const struct window *w = &d->window[i];
		if (window_expired(w, now_ms))
			continue;
		for (uint32_t back = 0; back < w->live; back++) {
			uint64_t ms = failure_ms(w, failure_at(d, w, back));
			if (ms < oldest && ms + check_ms(w) >= now_ms)
				oldest = ms;
		}
	}
	return oldest;
}

void detector_counts(const struct detector *d, uint64_t *open, uint64_t *given_up)
{
	*open = d->open;
	*given_up = d->given_up;
}
