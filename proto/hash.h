/* SPDX-License-Identifier: MPL-2.0
 *
 * uthash with the settings of kban: it ends the process when there is no memory, and its buckets
 * come from a hash whose key each process draws anew. Who chooses a table's keys (addresses, public
 * keys, names) can thus not choose that all of them share a bucket, where each lookup would walk
 * over all. No result depends on it: HASH_ITER goes in the order of insertion.
 */
#ifndef KBAN_PROTO_HASH_H
#define KBAN_PROTO_HASH_H

#include "proto/key.h"

#define uthash_malloc(size)	       kban_zalloc(size)
#define uthash_free(p, size)	       kban_free(p)
#define HASH_FUNCTION(key, len, value) ((value) = kban_bucket(key, len))
#include <uthash.h>

#endif
