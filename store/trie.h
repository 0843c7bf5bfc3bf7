/* SPDX-License-Identifier: MPL-2.0
 *
 * A map from prefixes to pointers: a path-compressed binary trie with one root per family, so that
 * "what covers p" and "what lies inside p" are walks of one branch. A node is either an entry (data
 * is not NULL) or a fork of two. Nodes live in one growing array and refer to each other by number:
 * 40 bytes each, at most two per entry. The trie borrows the data.
 */
#ifndef KBAN_STORE_TRIE_H
#define KBAN_STORE_TRIE_H

#include "proto/prefix.h"

#define TRIE_DEPTH_MAX 129 /* lengths 0 to 128: no branch has more nodes */

struct trie_node {
	struct kban_prefix prefix;
	uint32_t child[2]; /* by the bit after the prefix; 0: none */
	void *data;
};

struct trie {			 /* all zero is an empty one */
	struct trie_node *nodes; /* nodes[0] is not used */
	uint32_t n, capacity;
	uint32_t unused; /* first of a chain through child[0] */
	uint32_t roots[2];
	size_t entries;
};

void trie_clear(struct trie *t);

void *trie_find(const struct trie *t, const struct kban_prefix *p);
/* The place for p's data, made if p is new: then *slot is NULL and the caller sets it before the
 * next call. */
void **trie_slot(struct trie *t, const struct kban_prefix *p);
/* Nothing happens if p is no entry. */
void trie_remove(struct trie *t, const struct kban_prefix *p);

/* Data of the entries that cover p, p itself included, from the shortest to the longest. */
size_t trie_covering(const struct trie *t, const struct kban_prefix *p, void *out[TRIE_DEPTH_MAX]);

/* A walk in kban_prefix_cmp() order; the trie must not change meanwhile. */
struct trie_walk {
	const struct trie *trie;
	const struct kban_prefix *after;
	size_t depth;
	uint32_t stack[TRIE_DEPTH_MAX + 1];
};

/* Entries equal to or inside `within` (NULL: all) and after `after` (NULL: from the first); keeps
 * `after`. */
void trie_walk_start(struct trie_walk *w, const struct trie *t, const struct kban_prefix *within,
		     const struct kban_prefix *after);
/* NULL: no more. */
void *trie_walk_next(struct trie_walk *w);

#endif
