/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/progress.h"

#include <unistd.h>

#include "cli/time.h"

#define DRAW_EVERY_MS 100
#define BAR	      30

void progress_begin(struct progress *p, const struct context *ctx, const char *what)
{
	int fd = fileno(ctx->err);

	*p = (struct progress){.ctx = ctx, .what = what};
	p->enabled = fd >= 0 && isatty(fd) && !ctx->quiet;
	p->start_ms = kban_boot_ms(ctx->clock);
}

static void bar_draw(FILE *f, unsigned percent)
{
	fputs(" [", f);
	for (unsigned i = 0; i < BAR; i++)
		fputc(i * 100 < percent * BAR ? '#' : ' ', f);
	fprintf(f, "] %3u%%", percent);
}

void progress_show(struct progress *p, uint64_t done, uint64_t all)
{
	uint64_t now = p->enabled ? kban_boot_ms(p->ctx->clock) : 0;
	char spent[DURATION_TEXT];

	if (!p->enabled || now - p->start_ms < PROGRESS_AFTER_MS ||
	    (p->shown && now - p->drawn_ms < DRAW_EVERY_MS))
		return;
	p->drawn_ms = now;
	p->shown = true;
	fprintf(p->ctx->err, "\r\033[K%s", p->what);
	if (all)
		bar_draw(p->ctx->err,
			 (unsigned)((double)(done < all ? done : all) * 100 / (double)all));
	fprintf(p->ctx->err, " %s", duration_format(spent, now - p->start_ms));
	fflush(p->ctx->err);
}

void progress_clear(struct progress *p)
{
	if (!p->shown)
		return;
	fputs("\r\033[K", p->ctx->err);
	fflush(p->ctx->err);
	p->shown = false;
}
