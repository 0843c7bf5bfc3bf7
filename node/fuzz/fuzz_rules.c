/* SPDX-License-Identifier: MPL-2.0
 *
 * Any bytes as a rules file: rules that match without harm, or one error that names the file.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char line[] = "[17/May/2017 19:43:42] SMTP: User x doesn't exist. Attempt from IP address 192.0.2.1";
	kban_auto(kban_close) int fd = memfd_create("rules", MFD_CLOEXEC);
	kban_auto(rules_free) struct rules *rules = NULL;
	struct rules_match m;
	char path[32], *error = NULL;

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (rules_load(&rules, path, &error) == 0) {
		assert(!error);
		(void)rules_match(rules, line, sizeof(line) - 1, &m);
	} else {
		assert(!rules && error && strncmp(error, path, strlen(path)) == 0);
	}
	free(error);
	return 0;
}
