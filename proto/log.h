/* SPDX-License-Identifier: MPL-2.0
 *
 * The program's log: one line per event that an operator acts on, to stderr. Under systemd
 * (JOURNAL_STREAM set) each line starts with the priority that the journal understands, sd-daemon(3).
 * `warning` means "look at it", `error` means "something was lost or refused for good". Outside text
 * is escaped with kban_escape() before it gets here; keys and secrets never get here.
 */
#ifndef KBAN_PROTO_LOG_H
#define KBAN_PROTO_LOG_H

#include <stddef.h>
#include <stdint.h>

enum kban_level {
	KBAN_LOG_ERROR = 3,
	KBAN_LOG_WARNING = 4,
	KBAN_LOG_INFO = 6,
	KBAN_LOG_DEBUG = 7,
};

/* Names the program in front of each line and sets what is shown: levels up to max. */
void kban_log_setup(const char *program, enum kban_level max);
void kban_log(enum kban_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define kban_error(...)   kban_log(KBAN_LOG_ERROR, __VA_ARGS__)
#define kban_warning(...) kban_log(KBAN_LOG_WARNING, __VA_ARGS__)
#define kban_info(...)    kban_log(KBAN_LOG_INFO, __VA_ARGS__)
#define kban_debug(...)   kban_log(KBAN_LOG_DEBUG, __VA_ARGS__)

/* Writes bytes as printable ASCII and valid, printable UTF-8; anything else (control characters,
 * invalid UTF-8, bidirectional overrides, the backslash) as \xNN. Always ends with a NUL; cuts what
 * does not fit at a whole character. Returns the length written. */
size_t kban_escape(char *out, size_t out_size, const void *bytes, size_t len);

#endif
