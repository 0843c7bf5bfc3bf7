/* SPDX-License-Identifier: MPL-2.0
 *
 * Any bytes as a rules file, our own or, when they begin with "[", a fail2ban filter: rules that match without
 * harm, or one error that names the file.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/rules.h"
#include "proto/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void path_write(char path[64], const uint8_t *data, size_t size)
{
	snprintf(path, 64, "/dev/shm/kban-fuzz-rules.%d%s", (int)getpid(), size && data[0] == '[' ? ".conf" : "");
	kban_auto(kban_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char line[] = "[17/May/2017 19:43:42] SMTP: User x doesn't exist. Attempt from IP address 192.0.2.1";
	kban_auto(rules_free) struct rules *rules = NULL;
	struct rules_match m;
	char path[64], *error = NULL;
	const char *const paths[] = {path};
	const struct rules_set set = {.n = 1, .paths = paths, .alone = true};

	kban_log_setup("fuzz", KBAN_LOG_ERROR);
	path_write(path, data, size);
	if (rules_load(&rules, &set, &error) == 0) {
		assert(!error);
		(void)rules_match(rules, line, sizeof(line) - 1, &m);
	} else {
		assert(!rules && error && strncmp(error, path, strlen(path)) == 0 && strchr(error, ';'));
	}
	unlink(path);
	free(error);
	return 0;
}
