/* SPDX-License-Identifier: MPL-2.0
 *
 * A clean end for commands that run until somebody stops them: SIGINT and SIGTERM become something
 * to read, for client_watch().
 */
#ifndef KBAN_CLI_STOP_H
#define KBAN_CLI_STOP_H

#include <stdbool.h>

#include "proto/mem.h"

/* Blocks both signals for the rest of the process; the descriptor is the caller's to close. -errno.
 */
int stop_open(int *fd) kban_must_check;
/* One of them came. */
bool stop_asked(int fd);

#endif
