/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/rulebook.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int rulebook_open(const struct context *ctx, struct rules **out, bool untested)
{
	const char *paths[ARGS_VALUES];
	struct rules_set set = {.paths = paths, .untested = untested};
	char *error = NULL;

	while (set.n < ARGS_VALUES && (paths[set.n] = args_nth(&ctx->args, "rules", set.n)))
		set.n++;
	return rules_load(out, &set, &error) ? cli_fail_with(ctx, CLI_FAILED, error) : 0;
}

void rulebook_say_slow(const struct context *ctx, const struct rules *r)
{
	if (rules_slow(r))
		cli_say(ctx, "%llu times a rule was too slow for a line, and passed over",
			(unsigned long long)rules_slow(r));
}

int rulebook_source(const struct context *ctx, struct rules_source *out)
{
	const char *name = args_get(&ctx->args, "log");

	*out = rules_anywhere;
	if (!name || rules_log_parse(&out->log, name))
		return 0;
	return cli_fail(ctx, CLI_USAGE, "--log takes one of %s", rules_log_list);
}

int rulebook_file(const struct context *ctx, const char *path, int *fd)
{
	*fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	if (*fd >= 0)
		return 0;
	return cli_fail(ctx, errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED, "cannot read %s: %s",
			path, strerror(errno));
}
