/* SPDX-License-Identifier: MPL-2.0
 *
 * Memory and cleanup. Out of memory ends the process (state is on disk, bans stay in the kernel, the
 * service manager starts it again), so nothing here returns NULL; every size that an outsider can
 * influence is bounded by its caller first.
 */
#ifndef KBAN_PROTO_MEM_H
#define KBAN_PROTO_MEM_H

#include <stddef.h>

/* Release by scope: kban_auto(tail_free) struct tail *t; calls tail_free(t) when t leaves its scope.
 * Each such function is declared with KBAN_DEFINE_AUTO beside its prototype. */
#define kban_auto(fn) __attribute__((cleanup(fn##_auto)))
#define KBAN_DEFINE_AUTO(type, fn)                                                                 \
	static inline __attribute__((unused)) void fn##_auto(type *p)                              \
	{                                                                                          \
		fn(*p);                                                                            \
	}

#define kban_must_check __attribute__((warn_unused_result))

#define KBAN_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

void *kban_zalloc(size_t size);
void *kban_realloc(void *p, size_t size);
void *kban_memdup(const void *p, size_t size);
char *kban_strdup(const char *s);
/* printf into memory of its own; the caller frees. */
char *kban_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Such a sentence to *error, and the result that it explains. */
int kban_explain(char **error, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* free() behind a name that kban_auto() can use. */
void kban_free(void *p);
KBAN_DEFINE_AUTO(void *, kban_free)
/* close() unless fd is negative. */
void kban_close(int fd);
KBAN_DEFINE_AUTO(int, kban_close)

#endif
