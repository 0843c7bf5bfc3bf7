/* SPDX-License-Identifier: MPL-2.0
 *
 * Linked in the place of proto/version.c: a program of the next release, which knows one fold
 * version more than this one (and has no rule that would count from there on).
 */
#include "proto/limits.h"

const uint32_t kban_fold_newest = 2;
