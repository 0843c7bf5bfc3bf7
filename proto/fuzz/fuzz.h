/* SPDX-License-Identifier: MPL-2.0
 *
 * What every fuzz target needs. A target decodes its input and, when that is accepted, encodes it
 * again.
 */
#ifndef KBAN_PROTO_FUZZ_FUZZ_H
#define KBAN_PROTO_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_must(bool holds)
{
	if (!holds)
		abort();
}

#endif
