/* SPDX-License-Identifier: MPL-2.0
 *
 * Big-endian integers in stored rows.
 */
#ifndef KBAN_NODE_BYTES_H
#define KBAN_NODE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void bytes_put32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bytes_put64(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint32_t bytes_get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t bytes_get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

#endif
