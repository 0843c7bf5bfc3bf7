/* SPDX-License-Identifier: MPL-2.0
 *
 * Arguments, parsed by a command's grammar: the very text that its help shows. A grammar is words
 * with blanks between them: NAME is an argument that must be there, [NAME] one that may, --flag,
 * --option VALUE; "..." after the closing bracket means "as often as you like". The parsed
 * arguments borrow the program's argv.
 */
#ifndef KBAN_CLI_ARGS_H
#define KBAN_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/mem.h"

#define ARGS_ITEMS  24 /* of one grammar, the global options included */
#define ARGS_VALUES 64 /* on one command line */
#define ARGS_WORD   32

struct args_item {	       /* one word of a grammar */
	char name[ARGS_WORD];  /* without dashes; of an argument: as written, "PREFIX" */
	char value[ARGS_WORD]; /* what stands for the option's value; empty: a flag */
	bool option, required, repeat;
};

/* How many items the grammar has; ends the process when it is ill-formed (it is a constant). */
size_t args_grammar(struct args_item items[ARGS_ITEMS], const char *grammar);

struct args {
	size_t options_n, words_n;
	struct {
		char name[ARGS_WORD];
		const char *value; /* "" for a flag */
	} options[ARGS_VALUES];
	char *words[ARGS_VALUES];
};

/* Parses argv[0..n) by grammar and, for options, also by globals. False: *error is a sentence, the
 * caller's. */
bool args_parse(struct args *out, const char *grammar, const char *globals, int n, char **argv,
		char **error) kban_must_check;
/* How many leading elements of argv are global options and their values. */
int args_skip_globals(const char *globals, int n, char **argv);

/* The last value of an option, or NULL. */
const char *args_get(const struct args *a, const char *name);
bool args_flag(const struct args *a, const char *name);
/* The i-th value of a repeated option, or NULL. */
const char *args_nth(const struct args *a, const char *name, size_t i);
/* The i-th word, or NULL. */
const char *args_word(const struct args *a, size_t i);

/* How many letters must be put in, left out, changed or swapped to make b of a. */
unsigned args_distance(const char *a, const char *b);
/* b is near enough to a to be what was meant. */
bool args_near(const char *a, const char *b);

#endif
