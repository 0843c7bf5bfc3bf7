/* SPDX-License-Identifier: MPL-2.0
 *
 * A stolen broker, for whole-fleet tests: kban-broker whose answers lie. The linker puts
 * __wrap_kban_message_encode() in the place of the encoder; everything else is the broker's own, so
 * that the lie comes over a good connection and from the right key. The file that KBAN_LIE names
 * holds the name of the lie, and may change between two questions; without it the truth is told.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/wire.h"

/* One answer with rows that may be changed; all of it is freed after encoding. */
struct liar {
	struct kban_message message;
	struct kban_answer *answer;
	struct kban_log_row log[KBAN_ENTRIES_MAX];
	struct kban_record_row records[KBAN_EVENTS_MAX];
	struct kban_member_row members[KBAN_ROWS_MAX];
	struct kban_safe_row safes[KBAN_ROWS_MAX];
	struct kban_entry proofs[KBAN_ENTRIES_MAX];
	uint8_t bytes[KBAN_REPORT_MAX];
	uint8_t *sealed; /* malloc()ed by sealing */
};

/* The first report that holds `from` says `to`, which is as long, instead; its signature stays. */
static bool report_change(struct liar *l, struct kban_sealed *s, const char *from, const char *to)
{
	uint8_t *at = memmem(s->report, s->report_len, from, strlen(from));

	if (!at || s->report_len > sizeof(l->bytes))
		return false;
	memcpy(l->bytes, s->report, s->report_len);
	memcpy(l->bytes + (at - s->report), to, strlen(to));
	s->report = l->bytes;
	return true;
}

static void lie_line(struct liar *l)
{
	for (size_t i = 0; i < l->answer->log_n; i++)
		if (report_change(l, &l->log[i].report, "joe@example.com", "bob@example.com"))
			return;
}

/* A report in good order, by somebody whom nobody let in. */
static void lie_author(struct liar *l)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;
	struct kban_keypair stranger;

	if (!l->answer->log_n || kban_report_decode(&r, &l->log[0].report))
		return;
	kban_keypair_random(&stranger);
	if (kban_report_seal(r, &stranger, &l->sealed, &l->log[0].report))
		abort();
}

/* A ban goes on for a century. */
static void lie_end(struct liar *l)
{
	for (size_t i = 0; i < l->answer->log_n; i++) {
		if (!l->log[i].records_n)
			continue;
		l->records[0] = l->log[i].records[0];
		l->records[0].until_ms += 36500ULL * 86400000;
		l->log[i].records = l->records;
		l->log[i].records_n = 1;
		return;
	}
}

static void lie_member(struct liar *l)
{
	if (l->answer->members_n)
		memset(&l->members[l->answer->members_n - 1].key, 7, sizeof(l->members[0].key));
}

static void lie_withhold(struct liar *l)
{
	if (l->answer->members_n)
		l->answer->members_n--;
}

static void lie_heartbeat(struct liar *l)
{
	for (size_t i = 0; i < l->answer->members_n; i++) {
		struct kban_sealed *s = &l->members[i].heartbeat;
		if (!l->members[i].has_heartbeat || !s->report_len)
			continue;
		memcpy(l->bytes, s->report, s->report_len);
		l->bytes[s->report_len - 1] ^= 1;
		s->report = l->bytes;
		return;
	}
}

static void lie_proof(struct liar *l)
{
	for (size_t i = 0; i < l->answer->proofs_n; i++)
		if (report_change(l, &l->proofs[i].sealed, "mail1", "mail7"))
			return;
}

static void lie_safe(struct liar *l)
{
	if (l->answer->safes_n)
		l->safes[0].owner = (struct kban_key){{9}};
}

static const struct lie {
	const char *name;
	enum kban_query_kind kind;
	void (*tell)(struct liar *l);
} lies[] = {
	{"line", KBAN_QUERY_LOG, lie_line},
	{"author", KBAN_QUERY_LOG, lie_author},
	{"end", KBAN_QUERY_LOG, lie_end},
	{"member", KBAN_QUERY_CLUSTER, lie_member},
	{"withhold", KBAN_QUERY_CLUSTER, lie_withhold},
	{"heartbeat", KBAN_QUERY_CLUSTER, lie_heartbeat},
	{"proof", KBAN_QUERY_CLUSTER, lie_proof},
	{"safe", KBAN_QUERY_SAFE, lie_safe},
};

static const struct lie *lie_chosen(void)
{
	const char *path = getenv("KBAN_LIE");
	kban_auto(kban_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char name[32] = "";

	if (fd < 0 || read(fd, name, sizeof(name) - 1) <= 0)
		return NULL;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lies); i++)
		if (!strcmp(lies[i].name, name))
			return &lies[i];
	return NULL;
}

#define COPY(l, rows, n)                                                                           \
	do {                                                                                       \
		memcpy((l)->rows, (l)->answer->rows, (n) * sizeof((l)->rows[0]));                  \
		(l)->answer->rows = (l)->rows;                                                     \
	} while (0)

static void liar_copy(struct liar *l, const struct kban_message *m)
{
	l->message = *m;
	l->answer = &l->message.answer;
	if (l->answer->log_n)
		COPY(l, log, l->answer->log_n);
	if (l->answer->members_n)
		COPY(l, members, l->answer->members_n);
	if (l->answer->safes_n)
		COPY(l, safes, l->answer->safes_n);
	if (l->answer->proofs_n)
		COPY(l, proofs, l->answer->proofs_n);
}

void __real_kban_message_encode(uint8_t **bytes, size_t *len, const struct kban_message *m);
void __wrap_kban_message_encode(uint8_t **bytes, size_t *len, const struct kban_message *m);
void __wrap_kban_message_encode(uint8_t **bytes, size_t *len, const struct kban_message *m)
{
	const struct lie *lie = m->kind == KBAN_MSG_ANSWER ? lie_chosen() : NULL;

	if (!lie || m->answer.kind != lie->kind) {
		__real_kban_message_encode(bytes, len, m);
		return;
	}
	struct liar *l = kban_zalloc(sizeof(*l));
	liar_copy(l, m);
	lie->tell(l);
	__real_kban_message_encode(bytes, len, &l->message);
	free(l->sealed);
	free(l);
}
