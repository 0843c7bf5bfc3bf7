/* SPDX-License-Identifier: MPL-2.0
 *
 * `replay`: what these rules and thresholds would have banned, from logs of any size. Memory grows
 * with the bans that are found, not with the lines; what is printed is printed at the end, whole.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/lines.h"
#include "cli/progress.h"
#include "cli/rulebook.h"
#include "cli/stop.h"
#include "cli/time.h"
#include "node/detector.h"
#include "node/rules_time.h"
#include "proto/hash.h"

#define INTERRUPTED  130   /* what a shell says of a program that Ctrl-C ended */
#define BACKWARDS_MS 60000 /* lines of one moment are not written strictly in order */

static const struct output_column columns[] = {
	{"address", OUTPUT_NAME, 0, OUTPUT_ALL}, {"service", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},	 {"failures", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"at", OUTPUT_TIME, 0, OUTPUT_ALL},	 {"until", OUTPUT_TIME, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

struct banned { /* one prefix, and when its newest ban ends */
	struct kban_prefix prefix;
	uint64_t until_ms;
	UT_hash_handle hh;
};

struct replay {
	const struct context *ctx;
	struct rules *rules;
	struct rules_source source;
	struct detector_config config;
	struct detector *detector;
	struct rules_times times;
	struct banned *banned;
	size_t bans_n, bans_room;
	struct detector_offence *bans;
	uint64_t now_ms, start_ms;
	uint64_t lines, matched, failures, too_long, timeless;
	uint64_t first_ms, last_ms; /* of the failures in a file */
	uint64_t bytes, all_bytes;
	struct progress progress;
	char doing[80];
	int stop_fd;
};

static void replay_free(struct replay *p)
{
	struct banned *b, *next;

	HASH_ITER (hh, p->banned, b, next) {
		HASH_DEL(p->banned, b);
		free(b);
	}
	kban_close(p->stop_fd);
	detector_free(p->detector);
	rules_free(p->rules);
	free(p->bans);
	free(p);
}
KBAN_DEFINE_AUTO(struct replay *, replay_free)

/* A ban that runs is repeated only when that lengthens it by more than a tenth of the ban's time,
 * as a node does. */
static bool runs_already(const struct banned *b, uint64_t at_ms, uint64_t duration_ms)
{
	return b && b->until_ms > at_ms && at_ms + duration_ms < b->until_ms + duration_ms / 10;
}

static void offence_take(struct replay *p, const struct detector_offence *o)
{
	uint64_t duration_ms = (uint64_t)o->block_s * 1000;
	struct banned *b;

	if (kban_prefix_never_ban(&o->prefix))
		return;
	HASH_FIND(hh, p->banned, &o->prefix, sizeof(o->prefix), b);
	if (runs_already(b, o->last_ms, duration_ms))
		return;
	if (!b) {
		b = kban_zalloc(sizeof(*b));
		b->prefix = o->prefix;
		HASH_ADD(hh, p->banned, prefix, sizeof(b->prefix), b);
	}
	if (o->last_ms + duration_ms > b->until_ms)
		b->until_ms = o->last_ms + duration_ms;
	if (p->bans_n == p->bans_room) {
		p->bans_room = p->bans_room ? p->bans_room * 2 : 64;
		p->bans = kban_realloc(p->bans, p->bans_room * sizeof(*p->bans));
	}
	p->bans[p->bans_n++] = *o;
}

static void failure_take(struct replay *p, const struct rules_match *m, uint64_t line_ms)
{
	struct detector_offence o;

	p->first_ms = p->first_ms ? p->first_ms : line_ms;
	p->last_ms = line_ms;
	if (detector_feed(p->detector, m, line_ms, &o))
		offence_take(p, &o);
}

static void line_take(void *arg, const char *line, size_t len)
{
	struct replay *p = arg;
	struct rules_match m;
	uint64_t line_ms;

	p->lines++;
	p->too_long += !line;
	if (!line || !rules_match_from(p->rules, &p->source, line, len, &m))
		return;
	p->matched++;
	if (m.verdict != RULES_FAILURE && m.verdict != RULES_BAN)
		return;
	p->failures++;
	if (!rules_time_next(&p->times, &line_ms, &m, p->now_ms))
		p->timeless++;
	else
		failure_take(p, &m, line_ms);
}

/* "1.2 of 3.4 GB at 210 MB/s" */
static void doing_write(struct replay *p)
{
	uint64_t ms = kban_boot_ms(p->ctx->clock) - p->start_ms;
	double rate = (double)p->bytes / 1e3 / (double)(ms ? ms : 1), done = (double)p->bytes / 1e6;

	if (p->all_bytes)
		snprintf(p->doing, sizeof(p->doing), "%.0f of %.0f MB, %.0f MB/s", done,
			 (double)p->all_bytes / 1e6, rate);
	else
		snprintf(p->doing, sizeof(p->doing), "%.0f MB, %.0f MB/s", done, rate);
}

static bool bytes_done(void *arg, size_t n)
{
	struct replay *p = arg;

	p->bytes += n;
	if (p->progress.enabled) {
		doing_write(p);
		progress_show(&p->progress, p->bytes, p->all_bytes);
	}
	return true;
}

/* Failures are counted in the order in which they come, so rotated logs must be given oldest first,
 * which a shell's security.log* does not do. */
static void order_check(const struct replay *p, const char *path, uint64_t before_ms)
{
	if (p->first_ms && p->first_ms + BACKWARDS_MS < before_ms)
		cli_fail(p->ctx, 0,
			 "%s begins before the file before it ends: what is counted is wrong; give "
			 "the oldest file first",
			 path);
}

static int file_read(struct replay *p, const char *path)
{
	const struct lines_calls calls = {line_take, bytes_done, p, p->stop_fd};
	kban_auto(kban_close) int fd = -1;
	int r = rulebook_file(p->ctx, path, &fd);
	uint64_t before_ms = p->last_ms;

	if (r)
		return r;
	p->first_ms = 0;
	r = lines_read(fd, &calls);
	progress_clear(&p->progress);
	order_check(p, path, before_ms);
	if (r == LINES_STOPPED)
		return INTERRUPTED;
	return r ? cli_fail(p->ctx, CLI_FAILED, "cannot read %s: %s", path, strerror(-r)) : 0;
}

/* A file that is missing is named before hours are spent on those before it. A pipe is opened once
 * only. */
static int files_check(struct replay *p)
{
	bool known = true;
	const char *path;
	struct stat st;

	for (size_t i = 0; (path = args_word(&p->ctx->args, i)); i++) {
		bool standard = !strcmp(path, "-");

		if (standard ? fstat(STDIN_FILENO, &st) : stat(path, &st) || access(path, R_OK))
			return cli_fail(p->ctx, errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED,
					"cannot read %s: %s", path, strerror(errno));
		known &= S_ISREG(st.st_mode);
		p->all_bytes += known ? (uint64_t)st.st_size : 0;
	}
	if (!known)
		p->all_bytes = 0;
	return 0;
}

static int threshold(const struct context *ctx, uint32_t *out, const char *option, uint32_t most)
{
	const char *text = args_get(&ctx->args, option);

	if (!text)
		return 0;
	size_t digits = strspn(text, "0123456789");
	unsigned long n = digits && digits < 9 ? strtoul(text, NULL, 10) : 0;

	if (text[digits] || n < 1 || n > most)
		return cli_fail(ctx, CLI_USAGE, "--%s takes a number from 1 to %u", option, most);
	*out = (uint32_t)n;
	return 0;
}

/* Seconds without a unit too, as in node.conf. */
static int threshold_time(const struct context *ctx, uint32_t *out, const char *option,
			  uint32_t most)
{
	const char *text = args_get(&ctx->args, option);
	uint64_t ms = 0;

	if (!text || !text[strspn(text, "0123456789")])
		return threshold(ctx, out, option, most);
	int r = cli_duration(ctx, &ms, option, (uint64_t)most * 1000);

	if (!r && ms % 1000)
		r = cli_fail(ctx, CLI_USAGE, "--%s takes whole seconds", option);
	*out = (uint32_t)(ms / 1000);
	return r;
}

static int thresholds(struct replay *p)
{
	int r = threshold(p->ctx, &p->config.failures, "failures", RULES_FAILURES_MAX);

	if (!r)
		r = threshold_time(p->ctx, &p->config.check_s, "check-time", RULES_CHECK_MAX_S);
	if (!r)
		r = threshold_time(p->ctx, &p->config.block_s, "block-time", RULES_BLOCK_MAX_S);
	return r;
}

static int replay_open(struct replay *p)
{
	uint8_t key[16];
	int r = thresholds(p);

	if (!r)
		r = rulebook_source(p->ctx, &p->source);
	if (!r)
		r = rulebook_open(p->ctx, &p->rules, false);
	if (!r)
		r = files_check(p);
	if (!r && stop_open(&p->stop_fd))
		r = cli_fail(p->ctx, CLI_FAILED, "cannot watch for signals: %s", strerror(errno));
	if (r)
		return r;
	p->config.failures_max = rules_failures_max(p->rules);
	randombytes_buf(key, sizeof(key));
	detector_new(&p->detector, &p->config, key);
	return 0;
}

static int bans_write(struct replay *p, double seconds)
{
	char head[80], text[KBAN_PREFIX_TEXT];
	kban_auto(output_free) struct output *o = NULL;

	snprintf(head, sizeof(head), "\"lines\": %llu, \"seconds\": %.3f, ",
		 (unsigned long long)p->lines, seconds);
	cli_output_with(&o, p->ctx, columns, "bans", p->now_ms, head);
	for (size_t i = 0; i < p->bans_n; i++) {
		const struct detector_offence *b = &p->bans[i];

		output_string(o, kban_prefix_format(&b->prefix, text));
		output_string(o, b->service);
		output_string(o, b->rule);
		output_number(o, b->count);
		output_time(o, b->last_ms);
		output_time(o, b->last_ms + (uint64_t)b->block_s * 1000);
	}
	return cli_output_end(p->ctx, o);
}

static void summary_say(const struct replay *p, double seconds)
{
	cli_say(p->ctx, "%llu %s in %.1f s (%.0f a second): %llu known, %llu %s, %zu %s of %u %s",
		(unsigned long long)p->lines, p->lines == 1 ? "line" : "lines", seconds,
		(double)p->lines / (seconds > 0.001 ? seconds : 0.001),
		(unsigned long long)p->matched, (unsigned long long)p->failures,
		p->failures == 1 ? "failure" : "failures", p->bans_n,
		p->bans_n == 1 ? "ban" : "bans", HASH_COUNT(p->banned),
		HASH_COUNT(p->banned) == 1 ? "address" : "addresses");
	if (p->bytes && !p->matched)
		cli_say(p->ctx, "no line is known: is this a Kerio log? (a packed one: zcat FILE | "
				"kbanctl replay -)");
	if (p->too_long)
		cli_say(p->ctx, "%llu lines over 64 KiB were skipped",
			(unsigned long long)p->too_long);
	if (p->timeless)
		cli_say(p->ctx,
			"%llu failures were not counted: their lines have no time with a year",
			(unsigned long long)p->timeless);
	rulebook_say_slow(p->ctx, p->rules);
}

int replay_run(struct context *ctx)
{
	kban_auto(replay_free) struct replay *p = kban_zalloc(sizeof(*p));
	const char *path;

	p->ctx = ctx;
	p->stop_fd = -1;
	p->config = detector_defaults;
	p->now_ms = kban_wall_ms(ctx->clock);
	p->start_ms = kban_boot_ms(ctx->clock);
	int r = replay_open(p);

	progress_begin(&p->progress, ctx, p->doing);
	for (size_t i = 0; !r && (path = args_word(&ctx->args, i)); i++)
		r = file_read(p, path);
	if (r)
		return r;
	double seconds = (double)(kban_boot_ms(ctx->clock) - p->start_ms) / 1e3;

	r = bans_write(p, seconds);
	if (!r)
		summary_say(p, seconds);
	return r;
}
