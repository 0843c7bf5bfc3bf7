/* SPDX-License-Identifier: MPL-2.0 */
#include "store/log.h"

#include <assert.h>

static const char *const result_names[] = {
	[0] = "ok",
	[STORE_NOT_FOUND] = "not-found",
	[STORE_FULL] = "full",
	[STORE_NEWER_FORMAT] = "newer-format",
	[STORE_OTHER_CLUSTER] = "other-cluster",
	[STORE_IN_USE] = "in-use",
	[STORE_NETWORK_FS] = "network-fs",
	[STORE_DAMAGED] = "damaged",
};

const char *store_result_name(int result)
{
	if (result < 0)
		return "failed";
	if ((size_t)result >= KBAN_ARRAY_LEN(result_names))
		return "unknown";
	return result_names[result];
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

void store_begin(struct store *s)
{
	s->appended = false;
	s->ops->begin(s);
}

void store_append(struct store *s, const struct kban_entry *entry, const struct kban_place *after)
{
	s->appended = true;
	s->ops->append(s, entry, after);
}

void store_put(struct store *s, struct kban_span key, struct kban_span value)
{
	s->ops->put(s, key, value);
}

void store_delete(struct store *s, struct kban_span key)
{
	s->ops->del(s, key);
}

void store_horizon(struct store *s, const struct kban_place *place, uint64_t accepted_ms)
{
	s->ops->horizon(s, place, accepted_ms);
}

void store_keep(struct store *s, const struct kban_entry *entry)
{
	s->ops->keep(s, entry);
}

void store_drop(struct store *s, uint64_t seq)
{
	s->ops->drop(s, seq);
}

static void store_tell(struct store *s)
{
	struct store_head head;
	int r = s->ops->head(s, &head);

	assert(!r); /* an engine knows the head of its own commit */
	s->watch(s->watch_arg, &head);
}

int store_commit(struct store *s)
{
	bool tell = s->appended && s->watch;
	int r = s->ops->commit(s);

	/* Before the watcher runs, which may begin a transaction of its own. */
	s->appended = false;
	if (!r && tell)
		store_tell(s);
	return r;
}

void store_abort(struct store *s)
{
	s->appended = false;
	s->ops->abort(s);
}

int store_head(struct store *s, struct store_head *out)
{
	return s->ops->head(s, out);
}

int store_read(struct store *s, uint64_t after, size_t max, store_entry_fn *fn, void *arg)
{
	return s->ops->read(s, after, max, fn, arg);
}

int store_chain(struct store *s, uint64_t seq, struct kban_hash *out)
{
	return s->ops->chain(s, seq, out);
}

int store_rows(struct store *s, struct kban_span prefix, store_row_fn *fn, void *arg)
{
	return s->ops->rows(s, prefix, fn, arg);
}

int store_get(struct store *s, struct kban_span key, uint8_t **value, size_t *len)
{
	return s->ops->get(s, key, value, len);
}

void store_watch(struct store *s, void (*fn)(void *arg, const struct store_head *head), void *arg)
{
	s->watch = fn;
	s->watch_arg = arg;
}

const char *store_error(const struct store *s)
{
	return s->ops->error(s);
}
