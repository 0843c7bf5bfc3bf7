/* SPDX-License-Identifier: MPL-2.0
 *
 * `why` for programs: one object in json and jsonl, a row for each event in tsv and csv.
 */
#include <string.h>

#include "cli/nested.h"
#include "cli/safeacl.h"
#include "cli/why.h"

static void optional_string(struct nested *n, const char *key, const char *s)
{
	nested_string(n, key, s ? s : "");
}

static const char *outcome_name(const struct why_event *e)
{
	if (e->refusal)
		return kban_refusal_name(e->refusal);
	return e->outcome ? kban_outcome_name(e->outcome) : NULL;
}

static void signer_write(struct nested *n, const struct why_event *e)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT], hex[KBAN_HEX(KBAN_KEY_SIZE)];

	nested_string(n, "author", e->author);
	optional_string(n, "role", e->role ? kban_role_name(e->role) : NULL);
	nested_string(n, "fingerprint", kban_fingerprint(fingerprint, &e->key));
	nested_string(n, "key", kban_hex(hex, e->key.b, KBAN_KEY_SIZE));
	nested_bool(n, "checked", e->check == TRAIL_CHECKED);
	if (e->seq)
		nested_number(n, "seq", e->seq);
	else
		nested_null(n, "seq");
	nested_time(n, "accepted", e->accepted_ms);
}

static void ban_write(struct nested *n, const struct why_event *e)
{
	optional_string(n, "server", e->server);
	optional_string(n, "rule", e->rule);
	optional_string(n, "service", e->service);
	optional_string(n, "line", e->line);
	nested_number(n, "count", e->count);
	nested_time(n, "first", e->first_ms);
	nested_time(n, "last", e->last_ms);
	nested_number(n, "duration_ms", e->duration_ms);
}

static void record_write(struct nested *n, const struct why *w, const struct why_event *e)
{
	const struct why_event *by = why_ender(w, e);

	nested_time(n, "since", e->since_ms);
	nested_time(n, "until", e->until_ms);
	nested_bool(n, "running", why_runs(w, e));
	nested_bool(n, "ended_early", e->ended);
	optional_string(n, "ended_by", by ? by->author : NULL);
	if (by)
		nested_number(n, "ended_by_seq", by->seq);
	else
		nested_null(n, "ended_by_seq");
	nested_number(n, "strikes", e->strikes);
}

static void event_write(struct nested *n, const struct why *w, const struct why_event *e)
{
	nested_object(n, NULL);
	nested_string(n, "kind", kban_event_kind_name(e->kind));
	nested_prefix(n, "prefix", &e->prefix);
	optional_string(n, "outcome", outcome_name(e));
	signer_write(n, e);
	optional_string(n, "reason", e->reason);
	if (e->kind == KBAN_EVENT_BAN) {
		optional_string(n, "words", e->words);
		ban_write(n, e);
		record_write(n, w, e);
	} else {
		nested_bool(n, "covering", e->kind == KBAN_EVENT_UNBAN && e->all);
	}
	nested_end(n);
}

static bool is_unban(const struct why_event *e)
{
	return e->kind == KBAN_EVENT_UNBAN && !why_is_refused(e);
}

static void events_write(struct nested *n, const struct why *w, const char *key,
			 bool (*wanted)(const struct why_event *e))
{
	nested_array(n, key);
	for (size_t i = w->events_n; i--;)
		if (wanted(&w->events[i]))
			event_write(n, w, &w->events[i]);
	nested_end(n);
}

static void owner_write(struct nested *n, const struct why_safe *s)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT], hex[KBAN_HEX(KBAN_KEY_SIZE)];

	optional_string(n, "role",
			s->added && s->added->role ? kban_role_name(s->added->role) : NULL);
	nested_string(n, "fingerprint", kban_fingerprint(fingerprint, &s->owner));
	nested_string(n, "key", kban_hex(hex, s->owner.b, KBAN_KEY_SIZE));
	if (s->added)
		nested_number(n, "seq", s->added->seq);
	else
		nested_null(n, "seq");
}

static void safes_write(struct nested *n, const struct why *w)
{
	nested_array(n, "safe");
	for (size_t i = 0; i < w->safes_n; i++) {
		const struct why_safe *s = &w->safes[i];
		nested_object(n, NULL);
		nested_prefix(n, "prefix", &s->prefix);
		nested_string(n, "state", safe_state_name(s->state));
		nested_bool(n, "covers", kban_prefix_covers(&s->prefix, &w->prefix));
		nested_string(n, "author", s->author);
		owner_write(n, s);
		nested_time(n, "since", s->since_ms);
		nested_time(n, "until", s->until_ms);
		optional_string(n, "reason", s->reason);
		optional_string(n, "decided_by", s->decided ? s->decided->author : NULL);
		nested_time(n, "decided", s->decided ? s->decided->accepted_ms : 0);
		optional_string(n, "decision_reason", s->decided ? s->decided->reason : NULL);
		nested_bool(n, "checked", s->added);
		nested_end(n);
	}
	nested_end(n);
}

static bool is_alone(const struct why *w, const struct verify_member *m)
{
	return why_state(w) == WHY_ALONE && kban_key_equal(&why_alone(w)->key, &m->key);
}

/* null: nobody knows. */
static void blocks_write(struct nested *n, const struct why *w, const struct verify_member *m)
{
	enum enforce_node e = why_node(w, m);

	if (why_state(w) == WHY_BLOCKED ? e == ENFORCE_AWAY || e == ENFORCE_UNHEARD
					: why_lingers(w, m))
		nested_null(n, "blocks");
	else
		nested_bool(n, "blocks",
			    why_state(w) == WHY_BLOCKED ? e == ENFORCE_BLOCKS : is_alone(w, m));
}

static void nodes_write(struct nested *n, const struct why *w, bool blocked)
{
	const struct verify *v = w->fleet->verify;

	nested_array(n, "nodes");
	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (!enforce_counts(m))
			continue;
		nested_object(n, NULL);
		nested_string(n, "name", m->name);
		nested_string(n, "state", verify_state_name(m->state));
		blocks_write(n, w, m);
		nested_time(n, "may_block_until", blocked ? 0 : why_lingers(w, m));
		optional_string(n, "enforcement", blocked ? enforce_name(why_node(w, m)) : NULL);
		nested_end(n);
	}
	nested_end(n);
}

void why_json(const struct why *w)
{
	kban_auto(kban_free) void *sentence = why_sentence(w);
	kban_auto(kban_free) void *let_in = why_let_in(w);
	kban_auto(kban_free) void *for_good = why_let_in_for_good(w);
	bool blocked = why_state(w) == WHY_BLOCKED;
	const struct why_event *alone = why_state(w) == WHY_ALONE ? why_alone(w) : NULL;
	struct kban_prefix by;
	const struct why_cover *c = why_cover(w, &by);
	struct nested n;

	nested_begin(&n, w->ctx->out, w->ctx->format == OUTPUT_JSON);
	nested_prefix(&n, "address", &w->prefix);
	nested_bool(&n, "blocked", blocked || alone);
	nested_time(&n, "until",
		    blocked ? c->until_ms
		    : alone ? alone->accepted_ms + alone->duration_ms
			    : 0);
	if (blocked || alone)
		nested_prefix(&n, "by", alone ? &alone->prefix : &by);
	else
		nested_null(&n, "by");
	optional_string(&n, "blocked_alone_on", alone ? alone->author : NULL);
	nested_string(&n, "sentence", sentence);
	optional_string(&n, "let_in", let_in);
	optional_string(&n, "let_in_for_good", for_good);
	nested_number(&n, "unverified", w->trail.bad + w->unproven);
	nested_number(&n, "not_shown", w->dropped);
	nodes_write(&n, w, blocked);
	events_write(&n, w, "reasons", why_is_reason);
	safes_write(&n, w);
	events_write(&n, w, "unbans", is_unban);
	events_write(&n, w, "refused", why_is_refused);
	nested_end(&n);
}

static const struct output_column columns[] = {
	{"kind", OUTPUT_TEXT, 0, OUTPUT_ALL},	   {"prefix", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"outcome", OUTPUT_TEXT, 0, OUTPUT_ALL},   {"author", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"server", OUTPUT_TEXT, 0, OUTPUT_ALL},	   {"rule", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"service", OUTPUT_TEXT, 0, OUTPUT_ALL},   {"count", OUTPUT_NUMBER, 0, OUTPUT_ALL},
	{"since", OUTPUT_TIME, 0, OUTPUT_ALL},	   {"until", OUTPUT_TIME, 0, OUTPUT_ALL},
	{"reason", OUTPUT_TEXT, 0, OUTPUT_ALL},	   {"line", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"seq", OUTPUT_NUMBER, 0, OUTPUT_ALL},	   {"checked", OUTPUT_BOOL, 0, OUTPUT_ALL},
	{"running", OUTPUT_BOOL, 0, OUTPUT_ALL},   {"ended_by", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"strikes", OUTPUT_NUMBER, 0, OUTPUT_ALL}, {NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static void number_cell(struct output *o, bool known, uint64_t n)
{
	if (known)
		output_number(o, (int64_t)n);
	else
		output_null(o);
}

static void record_cells(struct output *o, const struct why *w, const struct why_event *e)
{
	const struct why_event *by = why_ender(w, e);

	if (e->kind == KBAN_EVENT_BAN)
		output_bool(o, why_runs(w, e));
	else
		output_null(o);
	output_string(o, by ? by->author : NULL);
	number_cell(o, e->known, e->strikes);
}

int why_rows(const struct why *w)
{
	kban_auto(output_free) struct output *o = NULL;
	char text[KBAN_PREFIX_TEXT];

	cli_output(&o, w->ctx, columns, "events", w->now_ms);
	for (size_t i = 0; i < w->events_n; i++) {
		const struct why_event *e = &w->events[i];
		if (e->kind == KBAN_EVENT_PURGE)
			continue;
		output_string(o, kban_event_kind_name(e->kind));
		output_string(o, kban_prefix_format(&e->prefix, text));
		output_string(o, outcome_name(e));
		output_string(o, e->author);
		output_string(o, e->server);
		output_string(o, e->rule);
		output_string(o, e->service);
		number_cell(o, e->kind == KBAN_EVENT_BAN, e->count);
		output_time(o, e->since_ms ? e->since_ms : e->accepted_ms);
		output_time(o, e->until_ms);
		output_string(o, e->reason);
		output_string(o, e->line);
		number_cell(o, e->seq, e->seq);
		output_bool(o, e->check == TRAIL_CHECKED);
		record_cells(o, w, e);
	}
	return cli_output_end(w->ctx, o);
}
