/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "proto/key.h"
#include "proto/limits.h"

#define ROOM (KBAN_TOKEN_MAX + 64) /* a token and blanks around it; longer is no token */

#define CTRL_C 3
#define CTRL_D 4

/* From a descriptor to the end, or to the end of a line on a terminal. */
static int fd_read(int fd, bool line, char *out, size_t *n)
{
	*n = 0;
	while (*n < ROOM) {
		ssize_t got = read(fd, out + *n, ROOM - *n);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)
			return 0;
		*n += got > 0 ? (size_t)got : 0;
		if (line && *n && out[*n - 1] == '\n')
			return 0;
		if (line && *n && (out[*n - 1] == CTRL_C || out[*n - 1] == CTRL_D))
			return -ECANCELED;
	}
	return -E2BIG;
}

static int prompt_read(const struct context *ctx, char *out, size_t *n)
{
	struct termios before, quiet;

	if (tcgetattr(STDIN_FILENO, &before))
		return -errno;
	quiet = before;
	/* A token is longer than some terminals' lines; Ctrl-C must not leave the terminal mute. */
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	fputs("token: ", ctx->err);
	fflush(ctx->err);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet))
		return -errno;
	int r = fd_read(STDIN_FILENO, true, out, n);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputs("\n", ctx->err);
	return r;
}

static int file_read(const struct context *ctx, const char *path, char *out, size_t *n)
{
	kban_auto(kban_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return cli_fail(ctx, CLI_FAILED, "cannot read %s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode) && st.st_mode & 077)
		return cli_fail(ctx, CLI_FAILED,
				"others can use the token in %s; run: chmod 600 %s, and better "
				"make a new token",
				path, path);
	int r = fd_read(fd, false, out, n);
	return r ? cli_fail(ctx, CLI_FAILED, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int stdin_read(const struct context *ctx, char *out, size_t *n)
{
	int r = isatty(STDIN_FILENO) ? prompt_read(ctx, out, n)
				     : fd_read(STDIN_FILENO, false, out, n);

	return r ? cli_fail(ctx, CLI_FAILED, "cannot read a token from stdin: %s",
			    r == -E2BIG ? "too long" : strerror(-r))
		 : 0;
}

/* An argument is seen by everybody on this machine, until now. */
static int argument_take(const struct context *ctx, char *word, char *out, size_t *n)
{
	size_t len = strlen(word);

	if (len > ROOM)
		return cli_fail(ctx, CLI_FAILED, "this is no token: too long");
	memcpy(out, word, len);
	*n = len;
	kban_wipe(word, len);
	cli_fail(ctx, 0,
		 "warning: a token on the command line can be seen by others and stays in the "
		 "shell's "
		 "history; it was wiped from the process list");
	return 0;
}

int secret_token(const struct context *ctx, struct kban_token *out)
{
	const char *file = args_get(&ctx->args, "token-file");
	char *word = ctx->args.words_n ? ctx->args.words[0] : NULL;
	char text[ROOM];
	size_t n = 0;
	int r;

	if (word && strcmp(word, "-") != 0)
		r = argument_take(ctx, word, text, &n);
	else if (file && strcmp(file, "-") != 0)
		r = file_read(ctx, file, text, &n);
	else
		r = stdin_read(ctx, text, &n);
	if (!r && kban_token_parse(out, text, n))
		r = cli_fail(
			ctx, CLI_FAILED,
			"this is no token, or a letter of it is missing or wrong; copy the whole "
			"line again, it starts with kban1.");
	kban_wipe(text, sizeof(text));
	return r;
}
