/* SPDX-License-Identifier: MPL-2.0
 *
 * main() for a fuzz target in an ordinary build: feeds it every file of the folders named as arguments.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(1);
	}
	size_t max = 4 << 20;
	uint8_t *data = malloc(max);
	if (!data)
		abort();
	size_t n = fread(data, 1, max, f);
	fclose(f);
	uint8_t *exact = malloc(n ? n : 1); /* so that the sanitizer sees a read past the end */
	if (!exact)
		abort();
	for (size_t i = 0; i < n; i++)
		exact[i] = data[i];
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	free(data);
}

int main(int argc, char **argv)
{
	unsigned files = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		if (!d) {
			perror(argv[i]);
			return 1;
		}
		for (struct dirent *e; (e = readdir(d));) {
			char path[4096];
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			replay_file(path);
			files++;
		}
		closedir(d);
	}
	printf("%u inputs replayed\n", files);
	return files ? 0 : 1;
}
