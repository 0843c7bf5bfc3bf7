/* SPDX-License-Identifier: MPL-2.0
 *
 * uthash with the settings that this folder uses.
 */
#ifndef KBAN_NODE_HASH_H
#define KBAN_NODE_HASH_H

#include "proto/mem.h"

#define uthash_malloc(size)  kban_zalloc(size)
#define uthash_free(p, size) kban_free(p)
#define HASH_FUNCTION	     HASH_FNV /* the default one falls through its cases, which clang refuses */
#include <uthash.h>

#endif
