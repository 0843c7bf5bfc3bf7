/* SPDX-License-Identifier: MPL-2.0
 *
 * The LMDB engine of store/log.h; FORMAT.md says what is in the file. Opened after any fork, once per
 * process and by one process at a time (a lock of our own besides LMDB's). The map grows by itself.
 */
#ifndef KBAN_STORE_LMDB_H
#define KBAN_STORE_LMDB_H

#include "store/log.h"

/* Makes folder (0700) and file if they are not there, and fsyncs the folder and its parent. *error, when
 * not NULL and the result is not 0, is a sentence with the remedy that the caller frees. */
int store_lmdb_open(struct store **out, const char *folder, const struct kban_cluster_id *cluster,
		    char **error) kban_must_check;

#endif
