/* SPDX-License-Identifier: MPL-2.0
 *
 * Private to rules.c (compiling and matching; the only one that sees PCRE2) and rules_load.c (the file they
 * come from; the only one that sees libconfuse).
 */
#ifndef KBAN_NODE_RULES_INSIDE_H
#define KBAN_NODE_RULES_INSIDE_H

#include "node/rules.h"

#define RULES_PATTERN_MAX 4096U
#define RULES_LEAD_MAX	  48U

struct rule {
	char *name;
	char *service; /* NULL: the pattern's group says */
	enum rules_verdict verdict;
	enum rules_half half;
	char *contains;
	size_t contains_len;
	char lead[RULES_LEAD_MAX]; /* the text starts so, after "SERVICE: " if after_service */
	size_t lead_len;
	bool after_service;
	bool jit;
	struct pcre2_real_code_8 *code;
	int address, user, group_service; /* numbers of the groups; 0: none */
};

struct rules {
	struct rule *rule;
	size_t n;
	struct pcre2_real_match_data_8 *data;
	struct pcre2_real_match_context_8 *limits;
};

struct rules_text {
	const char *p;
	size_t n;
};

/* Fills the rule's code, groups and lead. NULL, or what is wrong with the pattern, the caller's to free. */
char *rule_compile(struct rule *rule, const char *pattern) kban_must_check;
/* To be called once all rules are compiled, before the first match. */
void rules_compiled(struct rules *r);

/* Cuts the line down to its text. A line with neither envelope is no line of Kerio's: the rest of a cut
 * line must not be taken for one, since an attacker may have typed it. */
bool rules_strip(struct rules_text *t, struct rules_match *out);
/* The first rule that matches a text without its envelope. */
bool rules_find(const struct rules *r, const struct rules_text *t, struct rules_match *out);

#endif
