/* SPDX-License-Identifier: MPL-2.0
 *
 * The broker's rows of bans and safe ranges, page by page.
 */
#ifndef KBAN_CLI_ROWS_H
#define KBAN_CLI_ROWS_H

#include "cli/session.h"

/* fn is called for each page; what it is given lives until it returns. overlap may be NULL. */
int rows_each(struct session *s, enum kban_query_kind kind, const struct kban_prefix *overlap,
	      void (*fn)(void *arg, const struct kban_answer *a), void *arg) kban_must_check;

#endif
