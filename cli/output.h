/* SPDX-License-Identifier: MPL-2.0
 *
 * What a command says on stdout: rows of named cells, as a table for people or as json, jsonl, tsv
 * or csv for programs. A list is an object with one array (never null) in json, one object a line
 * in jsonl, a heading and rows elsewhere; a single record is one object. A time cell gives two
 * fields to programs, NAME in RFC 3339 and NAME_s in seconds since 1970.
 *
 * Texts may hold any bytes. In json they are written exactly, with control characters,
 * bidirectional overrides and their like as \u escapes, and each byte of what is not UTF-8 as
 * \ufffd. Elsewhere kban_escape() writes them, and in csv a leading = + - @ becomes \xNN too, since
 * a spreadsheet would run it.
 *
 * A table is kept in memory until output_end(), which fits it to the width: texts are cut, the
 * longest ones first, and where that is not enough columns are left out, the last ones first; names
 * and times never are. With `stream` columns have least widths, and rows are written at once,
 * whole.
 */
#ifndef KBAN_CLI_OUTPUT_H
#define KBAN_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/event.h"

enum output_format {
	OUTPUT_TABLE,
	OUTPUT_JSON,
	OUTPUT_JSONL,
	OUTPUT_TSV,
	OUTPUT_CSV,
};
bool output_format_parse(enum output_format *out, const char *text) kban_must_check;

enum output_kind {
	OUTPUT_TEXT,
	OUTPUT_NAME, /* a text that a table never cuts: an address, who did it */
	OUTPUT_NUMBER,
	OUTPUT_BOOL,
	OUTPUT_TIME, /* milliseconds since 1970 */
	OUTPUT_LEFT, /* the same; a table shows what remains until then */
	OUTPUT_AGO,  /* the same; a table shows how long ago it was */
	OUTPUT_LIST, /* texts with blanks between them; an array in json */
};

enum output_audience {
	OUTPUT_ALL,
	OUTPUT_PROGRAMS,
	OUTPUT_PEOPLE, /* tables only */
};

struct output_column {
	const char *name; /* lower_case; the table's heading is the same in capitals with blanks;
			     NULL ends the columns */
	enum output_kind kind;
	unsigned width; /* in a streamed table */
	enum output_audience audience;
};

enum output_tone {
	OUTPUT_PLAIN,
	OUTPUT_GOOD,
	OUTPUT_WARN,
	OUTPUT_BAD,
};

struct output;

struct output_options {
	enum output_format format;
	uint64_t now_ms; /* for remaining times */
	unsigned width;	 /* columns of the terminal; 0: as wide as it gets */
	bool colour;
	bool stream;
	const char *list; /* names json's array */
	const char *head; /* NULL, or more members of json's object, each with a comma behind it */
	bool single;	  /* one record, not a list; a table shows it as "name: value" lines */
};

/* Keeps columns and f, which must outlive it. */
void output_new(struct output **out, FILE *f, const struct output_column *columns,
		const struct output_options *options);
void output_free(struct output *o);
KBAN_DEFINE_AUTO(struct output *, output_free)

/* The cells of a row, in the order of the columns; the row ends with its last cell. */
void output_text(struct output *o, struct kban_text t);
void output_string(struct output *o, const char *s); /* NULL: null */
void output_tone(struct output *o, const char *s, enum output_tone tone);
void output_number(struct output *o, int64_t v);
void output_bool(struct output *o, bool v);
void output_time(struct output *o, uint64_t ms); /* 0: null */
/* The same; a table shows said instead. */
void output_time_said(struct output *o, uint64_t ms, const char *said);
void output_null(struct output *o);
size_t output_rows(const struct output *o);
/* Writes what is left; -EIO when stdout took not everything. */
int output_end(struct output *o) kban_must_check;

/* A JSON string with its quotes. */
void output_json_string(FILE *f, const char *s, size_t n);

#endif
