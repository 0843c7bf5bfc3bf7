/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/genesis.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD 8 /* magic and length */

static const uint8_t magic[4] = {'K', 'B', 'G', '1'};

static int genesis_check(const struct kban_report *r, const struct kban_sealed *sealed)
{
	struct kban_cluster_id cluster;

	kban_cluster_id(&cluster, &r->author);
	if (memcmp(&cluster, &r->cluster, sizeof(cluster)) || !kban_report_check(r, sealed))
		return KBAN_GENESIS_NOT_ROOTED;
	if (r->counter != 1 || r->base.epoch != 1 || r->base.seq)
		return KBAN_GENESIS_NOT_FIRST;
	for (size_t i = 0; i < r->events_n; i++) {
		enum kban_event_kind kind = r->events[i].kind;
		if (kind != KBAN_EVENT_GRANT && kind != KBAN_EVENT_BROKER_ADDRESS)
			return KBAN_GENESIS_EVENTS;
	}
	return 0;
}

int kban_genesis_parse(struct kban_sealed *out, const uint8_t *bytes, size_t len)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	if (len < HEAD + KBAN_SIGNATURE_SIZE || memcmp(bytes, magic, sizeof(magic)))
		return KBAN_GENESIS_MALFORMED;
	size_t n = (size_t)bytes[4] << 24 | (size_t)bytes[5] << 16 | (size_t)bytes[6] << 8 |
		   bytes[7];
	if (n > KBAN_REPORT_MAX || len != HEAD + n + KBAN_SIGNATURE_SIZE)
		return KBAN_GENESIS_MALFORMED;
	*out = (struct kban_sealed){bytes + HEAD, n, bytes + HEAD + n};
	if (kban_report_decode(&r, out))
		return KBAN_GENESIS_MALFORMED;
	return genesis_check(r, out);
}

static const char *const complaints[] = {
	[KBAN_GENESIS_MALFORMED] = "is no genesis file of this version, or was cut short",
	[KBAN_GENESIS_NOT_ROOTED] = "is not signed by its cluster's root key",
	[KBAN_GENESIS_NOT_FIRST] = "is not the first report of a log",
	[KBAN_GENESIS_EVENTS] = "holds more than grants and broker addresses",
};

static char *genesis_explain(int result, const char *path)
{
	if (result < 0)
		return kban_asprintf("cannot read %s: %s; kbanctl init writes it", path,
				     strerror(-result));
	return kban_asprintf("%s %s; copy genesis.kban again from where kbanctl init ran", path,
			     complaints[result]);
}

/* The whole file, or one byte more than any genesis file has. */
static int genesis_read(const char *path, uint8_t **bytes, size_t *len)
{
	kban_auto(kban_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return KBAN_GENESIS_MALFORMED;
	*bytes = kban_zalloc(KBAN_GENESIS_MAX + 1);
	for (*len = 0; *len <= KBAN_GENESIS_MAX;) {
		ssize_t n = read(fd, *bytes + *len, KBAN_GENESIS_MAX + 1 - *len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			break;
		*len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int kban_genesis_load(const char *path, uint8_t **bytes, struct kban_sealed *out, char **error)
{
	uint8_t *read_bytes = NULL;
	size_t len = 0;
	int r = genesis_read(path, &read_bytes, &len);

	if (!r)
		r = kban_genesis_parse(out, read_bytes, len);
	if (r) {
		*error = genesis_explain(r, path);
		free(read_bytes);
		return r;
	}
	*bytes = read_bytes;
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);
		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
	return 0;
}

static int folder_sync(const char *path)
{
	kban_auto(kban_free) void *copy = kban_strdup(path);
	kban_auto(kban_close) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

int kban_genesis_save(const char *path, const struct kban_sealed *s)
{
	uint8_t head[HEAD] = {magic[0],
			      magic[1],
			      magic[2],
			      magic[3],
			      (uint8_t)(s->report_len >> 24),
			      (uint8_t)(s->report_len >> 16),
			      (uint8_t)(s->report_len >> 8),
			      (uint8_t)s->report_len};
	kban_auto(kban_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int r = write_all(fd, head, sizeof(head));
	if (!r)
		r = write_all(fd, s->report, s->report_len);
	if (!r)
		r = write_all(fd, s->signature, KBAN_SIGNATURE_SIZE);
	if (!r && fsync(fd))
		r = -errno;
	if (!r)
		r = folder_sync(path);
	if (r)
		unlink(path); /* ours: O_EXCL made it */
	return r;
}
