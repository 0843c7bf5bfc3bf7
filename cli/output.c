/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/output.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/time.h"
#include "proto/log.h"

#define CELL_MAX 2048 /* bytes of one table cell; longer ones are cut there, and nowhere else */

struct cell {
	char *text;
	enum output_tone tone;
};

struct output {
	FILE *f;
	const struct output_column *columns;
	size_t columns_n, shown_n;
	struct output_options opt;
	size_t at; /* the next cell's column */
	size_t rows;
	size_t fields;	    /* written in this row so far, by the formats for programs */
	struct cell *cells; /* shown_n a row, table format only */
	size_t cells_n, cells_max;
};

static const char *const format_names[] = {"table", "json", "jsonl", "tsv", "csv"};

bool output_format_parse(enum output_format *out, const char *text)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(format_names); i++)
		if (!strcmp(text, format_names[i])) {
			*out = (enum output_format)i;
			return true;
		}
	return false;
}

static bool kind_is_time(enum output_kind k)
{
	return k == OUTPUT_TIME || k == OUTPUT_LEFT || k == OUTPUT_AGO;
}

static bool is_json(const struct output *o)
{
	return o->opt.format == OUTPUT_JSON || o->opt.format == OUTPUT_JSONL;
}

/* Headings, rows and fields. */

static void heading_write(struct output *o)
{
	char between = o->opt.format == OUTPUT_TSV ? '\t' : ',';
	size_t written = 0;

	for (size_t i = 0; i < o->columns_n; i++) {
		const struct output_column *c = &o->columns[i];
		if (c->audience == OUTPUT_PEOPLE)
			continue;
		if (written++)
			fputc(between, o->f);
		fputs(c->name, o->f);
		if (kind_is_time(c->kind))
			fprintf(o->f, "%c%s_s", between, c->name);
	}
	fputs(o->opt.format == OUTPUT_CSV ? "\r\n" : "\n", o->f);
}

/* What stands before a field: of json the name too. */
static void field_begin(struct output *o, const char *name, const char *suffix)
{
	if (is_json(o)) {
		if (!o->fields)
			fputs(o->opt.format == OUTPUT_JSON && !o->opt.single
				      ? (o->rows ? ",\n    {" : "\n    {")
				      : "{",
			      o->f);
		fprintf(o->f, "%s\"%s%s\": ", o->fields ? ", " : "", name, suffix);
	} else if (o->fields) {
		fputc(o->opt.format == OUTPUT_TSV ? '\t' : ',', o->f);
	}
	o->fields++;
}

static void row_finish(struct output *o)
{
	o->at = 0;
	o->fields = 0;
	o->rows++;
	switch (o->opt.format) {
	case OUTPUT_TABLE:
		break;
	case OUTPUT_JSON:
		fputs(o->opt.single ? "}\n" : "}", o->f);
		break;
	case OUTPUT_JSONL:
		fputs("}\n", o->f);
		break;
	case OUTPUT_TSV:
		fputs("\n", o->f);
		break;
	case OUTPUT_CSV: /* RFC 4180 */
		fputs("\r\n", o->f);
		break;
	}
}

/* A cell of tsv and csv. */
static void plain_write(struct output *o, const char *s, size_t n, bool outside)
{
	size_t room = n * 4 + 8;
	kban_auto(kban_free) void *buf = kban_zalloc(room);
	char *text = buf;
	bool csv = o->opt.format == OUTPUT_CSV;

	if (csv && outside && n && strchr("=+-@", s[0])) {
		fprintf(o->f, "\\x%02x", (unsigned char)s[0]);
		s++;
		n--;
	}
	size_t len = kban_escape(text, room, s, n);
	if (!csv || !strpbrk(text, ",\"")) {
		fwrite(text, 1, len, o->f);
		return;
	}
	fputc('"', o->f);
	for (size_t i = 0; i < len; i++)
		fputs(text[i] == '"' ? "\"\"" : (char[]){text[i], 0}, o->f);
	fputc('"', o->f);
}

/* Tables. */

/* Characters, not bytes; wide and combining ones are rare here and only shift a column. */
static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s >> 6) != 2;
	return n;
}

static void blanks(const struct output *o, size_t n)
{
	fprintf(o->f, "%*s", (int)n, "");
}

static void cell_print(const struct output *o, const struct cell *c, size_t width, bool last,
		       bool right)
{
	static const char *const colours[] = {"", "\033[32m", "\033[33m", "\033[31m"};
	size_t have = text_width(c->text), shown = 0;
	const char *s = c->text;
	bool colour = o->opt.colour && c->tone != OUTPUT_PLAIN;

	if (right && have < width)
		blanks(o, width - have);
	if (colour)
		fputs(colours[c->tone], o->f);
	for (; *s && (have <= width || shown + 1 < width || ((unsigned char)*s >> 6) == 2); s++) {
		shown += ((unsigned char)*s >> 6) != 2;
		fputc(*s, o->f);
	}
	if (have > width)
		fputs("\u2026", o->f);
	if (colour)
		fputs("\033[0m", o->f);
	if (!last)
		blanks(o, (have < width && !right ? width - have : 0) + 2);
}

static void heading_cell(struct cell *out, const struct output_column *c)
{
	*out = (struct cell){kban_strdup(c->name), OUTPUT_PLAIN};
	for (char *s = out->text; *s; s++)
		*s = *s == '_' ? ' ' : (char)toupper((unsigned char)*s);
}

static void stream_line(struct output *o, const struct cell *cells)
{
	size_t k = 0;

	for (size_t i = 0; i < o->columns_n; i++) {
		const struct output_column *c = &o->columns[i];
		if (c->audience == OUTPUT_PROGRAMS)
			continue;
		size_t have = text_width(cells[k].text);
		cell_print(o, &cells[k], have > c->width ? have : c->width, k + 1 == o->shown_n,
			   c->kind == OUTPUT_NUMBER);
		k++;
	}
	fputc('\n', o->f);
}

static void cells_drop(struct output *o)
{
	for (size_t i = 0; i < o->cells_n; i++)
		free(o->cells[i].text);
	o->cells_n = 0;
}

static void cell_add(struct output *o, char *text, enum output_tone tone)
{
	if (o->cells_n == o->cells_max) {
		o->cells_max = o->cells_max ? o->cells_max * 2 : 256;
		o->cells = kban_realloc(o->cells, o->cells_max * sizeof(*o->cells));
	}
	o->cells[o->cells_n++] = (struct cell){text, tone};
}

static void headings_add(struct output *o)
{
	for (size_t i = 0; i < o->columns_n; i++)
		if (o->columns[i].audience != OUTPUT_PROGRAMS) {
			struct cell c;
			heading_cell(&c, &o->columns[i]);
			cell_add(o, c.text, c.tone);
		}
}

#define CUT_MIN 10 /* what is cut keeps that much */

struct fit { /* one column that is shown */
	const struct output_column *column;
	size_t width;
	bool out; /* there is no room for it */
};

static size_t fit_total(const struct fit *fits, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += fits[i].out ? 0 : fits[i].width + (i ? 2 : 0);
	return total;
}

/* The widest text becomes narrower. False: none can. */
static bool fit_narrow(struct fit *fits, size_t n)
{
	struct fit *widest = NULL;

	for (size_t i = 0; i < n; i++) {
		bool text = fits[i].column->kind == OUTPUT_TEXT ||
			    fits[i].column->kind == OUTPUT_LIST;
		if (text && !fits[i].out && fits[i].width > CUT_MIN &&
		    (!widest || fits[i].width > widest->width))
			widest = &fits[i];
	}
	if (widest)
		widest->width--;
	return widest;
}

/* The last column that is neither name nor time goes. False: there is none. */
static bool fit_drop(struct fit *fits, size_t n)
{
	while (n-- > 1)
		if (!fits[n].out && fits[n].column->kind != OUTPUT_NAME &&
		    !kind_is_time(fits[n].column->kind)) {
			fits[n].out = true;
			return true;
		}
	return false;
}

static void fits_measure(const struct output *o, struct fit *fits)
{
	size_t k = 0;

	for (size_t i = 0; i < o->columns_n; i++)
		if (o->columns[i].audience != OUTPUT_PROGRAMS)
			fits[k++].column = &o->columns[i];
	for (size_t i = 0; i < o->cells_n; i++) {
		size_t w = text_width(o->cells[i].text);
		if (w > fits[i % k].width)
			fits[i % k].width = w;
	}
}

static void table_write(struct output *o)
{
	kban_auto(kban_free) void *memory = kban_zalloc(o->shown_n * sizeof(struct fit));
	struct fit *fits = memory;
	size_t n = o->shown_n, last = n - 1;

	fits_measure(o, fits);
	while (o->opt.width && fit_total(fits, n) > o->opt.width)
		if (!fit_narrow(fits, n) && !fit_drop(fits, n))
			break;
	while (fits[last].out)
		last--;
	for (size_t i = 0; i < o->cells_n; i++) {
		const struct fit *f = &fits[i % n];
		if (!f->out)
			cell_print(o, &o->cells[i], f->width, i % n == last,
				   f->column->kind == OUTPUT_NUMBER);
		if (i % n + 1 == n)
			fputc('\n', o->f);
	}
}

static void record_write(struct output *o)
{
	size_t column = 0, width = 0;

	for (size_t i = 0; i < o->shown_n; i++)
		width = text_width(o->cells[i].text) > width ? text_width(o->cells[i].text) : width;
	for (size_t i = o->shown_n; i < o->cells_n; i++, column++) {
		while (o->columns[column % o->columns_n].audience == OUTPUT_PROGRAMS)
			column++;
		fprintf(o->f, "%s:%*s ", o->columns[column % o->columns_n].name,
			(int)(width - strlen(o->columns[column % o->columns_n].name)), "");
		cell_print(o, &o->cells[i], CELL_MAX, true, false);
		fputc('\n', o->f);
	}
}

/* Cells. */

static const struct output_column *column_next(struct output *o)
{
	assert(o->at < o->columns_n);
	return &o->columns[o->at++];
}

static void column_done(struct output *o)
{
	if (o->at < o->columns_n)
		return;
	row_finish(o);
	if (o->opt.format == OUTPUT_TABLE && o->opt.stream) {
		stream_line(o, o->cells);
		cells_drop(o);
	}
}

static void table_cell(struct output *o, const struct output_column *c, const char *s, size_t n,
		       enum output_tone tone)
{
	char text[CELL_MAX];

	if (c->audience == OUTPUT_PROGRAMS)
		return;
	kban_escape(text, sizeof(text), s, n);
	cell_add(o, kban_strdup(n ? text : "-"), tone);
}

static void list_write(struct output *o, struct kban_text t)
{
	const char *between = "";

	fputc('[', o->f);
	while (t.n) {
		const char *blank = memchr(t.s, ' ', t.n);
		size_t n = blank ? (size_t)(blank - t.s) : t.n;
		if (n) {
			fputs(between, o->f);
			output_json_string(o->f, t.s, n);
			between = ", ";
		}
		t.s += n + (n < t.n);
		t.n -= n + (n < t.n);
	}
	fputc(']', o->f);
}

/* A column for people only takes its cell, and programs do not see it. */
static bool unseen(const struct output *o, const struct output_column *c)
{
	return c->audience == OUTPUT_PEOPLE && o->opt.format != OUTPUT_TABLE;
}

static void text_cell(struct output *o, struct kban_text t, enum output_tone tone)
{
	const struct output_column *c = column_next(o);

	assert(c->kind == OUTPUT_TEXT || c->kind == OUTPUT_NAME || c->kind == OUTPUT_LIST);
	if (o->opt.format == OUTPUT_TABLE) {
		table_cell(o, c, t.s, t.n, tone);
	} else if (!unseen(o, c)) {
		field_begin(o, c->name, "");
		if (is_json(o) && c->kind == OUTPUT_LIST)
			list_write(o, t);
		else if (is_json(o))
			output_json_string(o->f, t.s, t.n);
		else
			plain_write(o, t.s, t.n, true);
	}
	column_done(o);
}

void output_text(struct output *o, struct kban_text t)
{
	text_cell(o, t, OUTPUT_PLAIN);
}

void output_string(struct output *o, const char *s)
{
	if (s)
		text_cell(o, kban_text(s), OUTPUT_PLAIN);
	else
		output_null(o);
}

void output_tone(struct output *o, const char *s, enum output_tone tone)
{
	text_cell(o, kban_text(s), tone);
}

static void word_cell(struct output *o, const struct output_column *c, const char *s)
{
	if (o->opt.format == OUTPUT_TABLE) {
		table_cell(o, c, s, strlen(s), OUTPUT_PLAIN);
		return;
	}
	if (unseen(o, c))
		return;
	field_begin(o, c->name, "");
	fputs(s, o->f);
}

void output_number(struct output *o, int64_t v)
{
	const struct output_column *c = column_next(o);
	char text[24];

	assert(c->kind == OUTPUT_NUMBER);
	snprintf(text, sizeof(text), "%lld", (long long)v);
	word_cell(o, c, text);
	column_done(o);
}

void output_bool(struct output *o, bool v)
{
	const struct output_column *c = column_next(o);

	assert(c->kind == OUTPUT_BOOL);
	word_cell(o, c, o->opt.format == OUTPUT_TABLE ? (v ? "yes" : "no") : v ? "true" : "false");
	column_done(o);
}

void output_null(struct output *o)
{
	const struct output_column *c = column_next(o);
	const char *null = is_json(o) ? c->kind == OUTPUT_LIST ? "[]" : "null" : "";

	word_cell(o, c, null);
	if (o->opt.format != OUTPUT_TABLE && kind_is_time(c->kind)) {
		field_begin(o, c->name, "_s");
		fputs(null, o->f);
	}
	column_done(o);
}

static const char *time_for_people(const struct output *o, enum output_kind kind, uint64_t ms,
				   char *out)
{
	char text[DURATION_TEXT];
	uint64_t now = o->opt.now_ms;

	if (kind == OUTPUT_LEFT) {
		snprintf(out, 64, "%s", duration_format(text, ms > now ? ms - now : 0));
	} else if (kind == OUTPUT_AGO) {
		snprintf(out, 64, "%s ago", duration_format(text, ms < now ? now - ms : 0));
	} else {
		time_format(out, ms);
	}
	return out;
}

void output_time(struct output *o, uint64_t ms)
{
	output_time_said(o, ms, NULL);
}

void output_time_said(struct output *o, uint64_t ms, const char *said)
{
	char text[64];

	assert(o->at < o->columns_n && kind_is_time(o->columns[o->at].kind));
	if (!ms) {
		output_null(o);
		return;
	}
	const struct output_column *c = column_next(o);
	if (o->opt.format == OUTPUT_TABLE) {
		word_cell(o, c, said ? said : time_for_people(o, c->kind, ms, text));
	} else {
		field_begin(o, c->name, "");
		fprintf(o->f, is_json(o) ? "\"%s\"" : "%s", time_format(text, ms));
		field_begin(o, c->name, "_s");
		fprintf(o->f, "%llu", (unsigned long long)(ms / 1000));
	}
	column_done(o);
}

/* The whole. */

void output_new(struct output **out, FILE *f, const struct output_column *columns,
		const struct output_options *options)
{
	struct output *o = kban_zalloc(sizeof(*o));

	o->f = f;
	o->columns = columns;
	o->opt = *options;
	for (; columns[o->columns_n].name; o->columns_n++)
		o->shown_n += columns[o->columns_n].audience != OUTPUT_PROGRAMS;
	assert(o->shown_n);
	*out = o;
	switch (o->opt.format) {
	case OUTPUT_TABLE:
		headings_add(o);
		if (o->opt.stream) {
			stream_line(o, o->cells);
			cells_drop(o);
		}
		break;
	case OUTPUT_JSON:
		if (!o->opt.single)
			fprintf(f, "{%s\"%s\": [", o->opt.head ? o->opt.head : "", o->opt.list);
		break;
	case OUTPUT_JSONL:
		break;
	case OUTPUT_TSV:
	case OUTPUT_CSV:
		heading_write(o);
		break;
	}
}

void output_free(struct output *o)
{
	if (!o)
		return;
	cells_drop(o);
	free(o->cells);
	free(o);
}

size_t output_rows(const struct output *o)
{
	return o->rows;
}

int output_end(struct output *o)
{
	assert(!o->at);
	if (o->opt.format == OUTPUT_TABLE && o->opt.single)
		record_write(o);
	else if (o->opt.format == OUTPUT_TABLE && !o->opt.stream)
		table_write(o);
	else if (o->opt.format == OUTPUT_JSON && !o->opt.single)
		fputs(o->rows ? "\n]}\n" : "]}\n", o->f);
	return fflush(o->f) || ferror(o->f) ? -EIO : 0;
}
