/* SPDX-License-Identifier: MPL-2.0 */
#include "node/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "node/bytes.h"
#include "node/rules_time.h"
#include "proto/log.h"

#define FUTURE_MS                                                                                  \
	300000 /* a line from further ahead has a wrong time: now is nearer to the truth */
#define LIVE_MS	       2000 /* a younger line is as good as now */
#define ZONE_MS	       600000 /* a new line that looks so old has another zone or clock */
#define STORE_EVERY_MS 1000
#define MARK_EVERY_MS  1000
#define MARKS	       512
#define POSITION_SIZE  (8 + 8 + 4 + 32 + 8)
#define ROW_SIZE       (2 * POSITION_SIZE)

struct mark { /* a counted line: no counted line before it in the file is younger */
	uint64_t line_ms;
	struct tail_position at;
};

struct follow {
	struct follow_config config;
	struct tail *tail;
	uint8_t *key; /* 'p' || path */
	size_t key_len;
	bool replaying;
	struct tail_position replay_from, done_to; /* as stored, while replaying */
	size_t marks_n;
	struct mark marks[MARKS];
	uint64_t offences, stored_ms;
	struct tail_position stored_at;
	enum tail_state said;
	bool said_any, said_zone;
	bool caught_up; /* what comes from now on is new */
};

/* The stored row ------------------------------------------------------------------------------- */

static void position_put(uint8_t *p, const struct tail_position *at)
{
	bytes_put64(p, at->device);
	bytes_put64(p + 8, at->inode);
	bytes_put32(p + 16, at->head_len);
	memcpy(p + 20, at->head_hash, 32);
	bytes_put64(p + 52, at->offset);
}

static bool position_get(struct tail_position *at, const uint8_t *p)
{
	memset(at, 0, sizeof(*at));
	at->device = bytes_get64(p);
	at->inode = bytes_get64(p + 8);
	at->head_len = bytes_get32(p + 16);
	memcpy(at->head_hash, p + 20, 32);
	at->offset = bytes_get64(p + 52);
	return at->head_len <= TAIL_HEAD_MAX;
}

static int load_row(struct follow *f, bool *found)
{
	uint8_t *value = NULL;
	size_t len = 0;
	int r = store_get(f->config.store, kban_span(f->key, f->key_len), &value, &len);
	kban_auto(kban_free) void *owned = value;

	(void)owned;
	*found = false;
	if (r)
		return r == STORE_NOT_FOUND ? 0 : r;
	if (len != ROW_SIZE || !position_get(&f->replay_from, value) ||
	    !position_get(&f->done_to, value + POSITION_SIZE)) {
		kban_warning(
			"the stored place in %s is damaged: reading begins as on a first start",
			f->config.path);
		return 0;
	}
	*found = true;
	return 0;
}

/* Marks ---------------------------------------------------------------------------------------- */

/* Half of the marks tell nearly as much: replay begins a little earlier. */
static void marks_thin(struct follow *f)
{
	for (size_t i = 0; i < MARKS / 2; i++)
		f->marks[i] = f->marks[2 * i];
	f->marks_n = MARKS / 2;
}

static void mark_line(struct follow *f, const struct tail_line *line, uint64_t line_ms)
{
	const struct mark *last = f->marks_n ? &f->marks[f->marks_n - 1] : NULL;

	if (last && line_ms < last->line_ms + MARK_EVERY_MS)
		return;
	if (f->marks_n == MARKS)
		marks_thin(f);
	f->marks[f->marks_n++] = (struct mark){line_ms, line->at};
}

/* The newest mark that is not younger than what still matters; those before it are of no use any
 * more. */
static void marks_oldest(struct follow *f, uint64_t now_ms, struct tail_position *out)
{
	uint64_t oldest = detector_oldest(f->config.detector, now_ms);
	size_t keep = 0;

	tail_position(f->tail, out);
	if (oldest >= now_ms || !f->marks_n) {
		f->marks_n = 0;
		return;
	}
	while (keep + 1 < f->marks_n && f->marks[keep + 1].line_ms <= oldest)
		keep++;
	f->marks_n -= keep;
	memmove(f->marks, f->marks + keep, f->marks_n * sizeof(f->marks[0]));
	*out = f->marks[0].at;
}

/* Lines ---------------------------------------------------------------------------------------- */

static uint64_t line_time(const struct follow *f, const struct rules_match *m)
{
	uint64_t now = kban_wall_ms(f->config.clock), latest = now + FUTURE_MS, ms;

	return rules_time(&ms, m, latest) && ms <= latest ? ms : now;
}

/* What is left of a block for an offence found in a backlog. A line's time has no fraction, so what
 * is seen live looks up to a second old, and more on a busy machine. */
static uint64_t block_left(uint64_t block_ms, uint64_t last_ms, uint64_t now_ms)
{
	uint64_t age = now_ms > last_ms ? now_ms - last_ms : 0;

	if (age < LIVE_MS)
		return block_ms;
	return block_ms > age ? block_ms - age : 0;
}

/* A line that is new and looks old: Kerio and kban-node do not agree about the time of day. */
static void say_zone(struct follow *f, uint64_t age_ms)
{
	if (!f->caught_up || f->said_zone || age_ms < ZONE_MS)
		return;
	f->said_zone = true;
	kban_warning("new lines of %s are %llu minutes old by this machine's clock and time zone, so that their offences "
		     "are over before they are seen: set kban-node's time zone (TZ) to Kerio's, or the clocks right",
		     f->config.path, (unsigned long long)(age_ms / 60000));
}

#define CUT_MARK " [...] "
#define CUT_PART ((KBAN_LINE_MAX - sizeof(CUT_MARK)) / 2)

/* What is kept of a line with its ban. Of one that is too long both ends: the address may stand at
 * either, and the attacker fills the middle. */
static void line_keep(char out[KBAN_LINE_MAX + 1], const char *line, size_t len)
{
	char whole[4 * KBAN_LINE_MAX + 1], tail[4 * CUT_PART + 1];
	size_t from = len, n = len <= KBAN_LINE_MAX ? kban_escape(whole, sizeof(whole), line, len) : 0;

	if (n ? n <= KBAN_LINE_MAX : !len) {
		memcpy(out, whole, n);
		out[n] = 0;
		return;
	}
	while (from && kban_escape(tail, sizeof(tail), line + from - 1, len - from + 1) <= CUT_PART)
		from--;
	(void)kban_escape(tail, sizeof(tail), line + from, len - from);
	n = kban_escape(out, CUT_PART + 1, line, len);
	snprintf(out + n, KBAN_LINE_MAX + 1 - n, CUT_MARK "%s", tail);
}

static void report(struct follow *f, const struct detector_offence *found,
		   const struct tail_line *line)
{
	uint64_t now = kban_wall_ms(f->config.clock);

	say_zone(f, now > found->last_ms ? now - found->last_ms : 0);
	char text[KBAN_LINE_MAX + 1];
	struct node_offence o = {
		.prefix = found->prefix,
		.duration_ms = block_left((uint64_t)found->block_s * 1000, found->last_ms, now),
		.rule = found->rule,
		.service = found->service,
		.server = "",
		.line = text,
		.count = found->count,
		.first_ms = found->first_ms,
		.last_ms = found->last_ms,
	};

	line_keep(text, line->text, line->len);
	node_offence(f->config.node, &o);
	f->offences++;
}

/* Replay is over at done_to, or in any file that is neither the one it began in nor done_to's. */
static bool still_replaying(struct follow *f, const struct tail_line *line)
{
	if (!f->replaying)
		return false;
	if (tail_is_in(f->tail, &f->done_to))
		f->replaying = line->at.offset < f->done_to.offset;
	else
		f->replaying = tail_is_in(f->tail, &f->replay_from);
	return f->replaying;
}

static void take_line(void *arg, const struct tail_line *line)
{
	struct follow *f = arg;
	struct rules_match m;
	struct detector_offence found;
	bool replay = still_replaying(f, line);

	if (!rules_match_from(f->config.rules, &rules_kerio_security, line->text, line->len, &m) || !m.has_address)
		return;
	if (m.verdict != RULES_FAILURE && m.verdict != RULES_BAN)
		return;
	if (node_spares(f->config.node, &m.address))
		return;
	uint64_t line_ms = line_time(f, &m);
	struct kban_prefix offender = kban_prefix_offender(&m.address);

	if (replay && node_forgiven(f->config.node, &offender, line_ms))
		return;
	mark_line(f, line, line_ms);
	if (detector_feed(f->config.detector, &m, line_ms, &found) && !replay)
		report(f, &found, line);
}

/* Turns ---------------------------------------------------------------------------------------- */

static void say_state(struct follow *f)
{
	enum tail_state state = tail_stats(f->tail)->state;

	node_log_missing(f->config.node, state != TAIL_OK);
	if (f->said_any && state == f->said)
		return;
	switch (state) {
	case TAIL_OK:
		kban_info("following %s", f->config.path);
		break;
	case TAIL_MISSING:
		kban_warning("%s is not there: nothing is detected until it is; check `kerio` or "
			     "`log` in the configuration, "
			     "and that Kerio's security log is on",
			     f->config.path);
		break;
	case TAIL_UNREADABLE:
		kban_warning("%s may not be read: nothing is detected; check the owner of the file "
			     "and of kban-node",
			     f->config.path);
		break;
	}
	f->said = state;
	f->said_any = true;
}

static void stage_places(struct follow *f, const struct tail_position *done)
{
	uint8_t row[ROW_SIZE];
	struct tail_position oldest;

	marks_oldest(f, kban_wall_ms(f->config.clock), &oldest);
	position_put(row, &oldest);
	position_put(row + POSITION_SIZE, done);
	node_stage_row(f->config.node, kban_span(f->key, f->key_len), kban_span(row, sizeof(row)));
}

/* Offences are stored at once, together with the places; places alone at most once a second. */
static int store_places(struct follow *f)
{
	struct tail_position done;
	uint64_t boot = kban_boot_ms(f->config.clock);
	bool news = f->offences > 0;

	if (f->replaying)
		return 0;
	tail_position(f->tail, &done);
	bool moved = done.offset != f->stored_at.offset || !tail_same_file(&done, &f->stored_at);

	if (!news && (!moved || boot - f->stored_ms < STORE_EVERY_MS))
		return 0;
	stage_places(f, &done);
	f->offences = 0;
	f->stored_at = done;
	f->stored_ms = boot;
	int r = node_flush(f->config.node);

	return r < 0 ? r : 0; /* on a full disk it stays staged */
}

int follow_read(struct follow *f)
{
	int n = tail_read(f->tail, FOLLOW_LINES_MAX, take_line, f);

	say_state(f);
	if (n < 0)
		return n;
	f->caught_up |= n < FOLLOW_LINES_MAX && tail_stats(f->tail)->state == TAIL_OK;
	int r = store_places(f);

	return r ? r : n == FOLLOW_LINES_MAX;
}

void follow_rules(struct follow *f, const struct rules *rules)
{
	f->config.rules = rules;
	detector_reserve(f->config.detector, rules_failures_max(rules));
}

int follow_fd(const struct follow *f)
{
	return tail_fd(f->tail);
}

uint64_t follow_lines(const struct follow *f)
{
	return tail_stats(f->tail)->lines;
}

void follow_free(struct follow *f)
{
	if (!f)
		return;
	tail_free(f->tail);
	free(f->key);
	free(f);
}

/* Where reading begins after a restart. If the file of the oldest line that still matters is gone,
 * the whole file that was read last is replayed: else what follows in it, and in files after it,
 * would be lost. */
static int open_tail(struct follow *f)
{
	int r = tail_new(&f->tail, f->config.path, f->replaying ? &f->replay_from : NULL,
			 f->config.start);

	if (r || !f->replaying || tail_is_in(f->tail, &f->replay_from))
		return r;
	f->replay_from = f->done_to;
	f->replay_from.offset = 0;
	tail_free(f->tail);
	f->tail = NULL;
	return tail_new(&f->tail, f->config.path, &f->replay_from, f->config.start);
}

int follow_new(struct follow **out, const struct follow_config *config)
{
	kban_auto(follow_free) struct follow *f = kban_zalloc(sizeof(*f));
	size_t path_len = strlen(config->path);

	f->config = *config;
	f->key_len = 1 + path_len;
	f->key = kban_zalloc(f->key_len);
	f->key[0] = 'p';
	memcpy(f->key + 1, config->path, path_len);
	int r = load_row(f, &f->replaying);

	if (r)
		return r < 0 ? r : -EIO;
	r = open_tail(f);
	if (r)
		return r;
	*out = f;
	f = NULL;
	return 0;
}
