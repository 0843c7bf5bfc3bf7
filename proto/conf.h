/* SPDX-License-Identifier: MPL-2.0
 *
 * Configuration files: libconfuse's syntax (name = value, lists in braces, # comments) read through one const
 * table of options per program. A row gives name, type, default, range and a sentence of help; `-n`, the
 * error messages and the man pages' tables come from it. A file with any error is refused whole, with
 * "FILE:LINE: what; remedy". A list that is given takes the place of its default, also an empty one; only a list
 * of texts that are needed (its default is not empty: endpoints) may not be empty.
 */
#ifndef KBAN_PROTO_CONF_H
#define KBAN_PROTO_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mem.h"

enum kban_conf_type {
	KBAN_CONF_STRING,  /* char *             */
	KBAN_CONF_UINT,	   /* uint64_t           */
	KBAN_CONF_BOOL,	   /* bool               */
	KBAN_CONF_STRINGS, /* struct kban_strings */
	KBAN_CONF_UINTS,   /* struct kban_uints   */
};

struct kban_strings {
	size_t n;
	char **v;
};

struct kban_uints {
	size_t n;
	uint64_t *v;
};

struct kban_conf_option {
	const char *name;
	enum kban_conf_type type;
	size_t offset;	      /* of the member in the program's config struct, offsetof() */
	const char *fallback; /* the default as it would stand in the file; NULL: required */
	uint64_t min, max;    /* of a number, each number of a list, or a text's length */
	size_t max_n;	      /* of a list */
	/* NULL when this text is fine; else what is wrong with it and the remedy, the caller's to free. */
	char *(*check)(const char *value);
	const char *help;
};

/* Fills *config (zeroed by the caller) from PATH. The table ends with a row without a name. 0, or an errno-like
 * negative, with *error a sentence that the caller frees. An option given twice, or unknown, is an error that
 * names the nearest known option. */
int kban_conf_load(void *config, const struct kban_conf_option *table, const char *path, char **error)
	kban_must_check;
/* Only the defaults; required options stay empty. */
void kban_conf_defaults(void *config, const struct kban_conf_option *table);
void kban_conf_free(void *config, const struct kban_conf_option *table);

#endif
