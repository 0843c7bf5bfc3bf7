/* SPDX-License-Identifier: MPL-2.0
 *
 * Alone in its file, so that a test can link programs that know one version more (proto/test/next.c).
 */
#include "proto/limits.h"

const uint32_t kban_fold_newest = 1;
