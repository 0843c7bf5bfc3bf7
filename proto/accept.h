/* SPDX-License-Identifier: MPL-2.0
 *
 * What an operator accepts with an `epoch` event: the ledger at one place, named in the event's
 * reason by seq and digest. A signed word about exactly that ledger: played again in another log it
 * says nothing there.
 */
#ifndef KBAN_PROTO_ACCEPT_H
#define KBAN_PROTO_ACCEPT_H

#include "proto/report.h"

#define KBAN_ACCEPT_TEXT 128

char *kban_accept_format(char out[KBAN_ACCEPT_TEXT], uint64_t seq, const struct kban_hash *digest);
bool kban_accept_parse(uint64_t *seq, struct kban_hash *digest,
		       const struct kban_text *reason) kban_must_check;

#endif
