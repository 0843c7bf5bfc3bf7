/* SPDX-License-Identifier: MPL-2.0
 *
 * `why` for people: one sentence that answers, what to do about it, and then everything.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/safeacl.h"
#include "cli/time.h"
#include "cli/why.h"

#define SHOWN_MAX 10 /* reasons; the others are in `kbanctl log` and in -o json */

/* The sentence. */

static struct enforce_count nodes_count(const struct why *w)
{
	const struct verify *v = w->fleet->verify;
	struct enforce_count c = {0};

	for (size_t i = 0; i < verify_members_n(v); i++)
		if (enforce_counts(verify_member(v, i)))
			enforce_add(&c, why_node(w, verify_member(v, i)));
	return c;
}

static char *sentence_blocked(const struct why *w, const char *text)
{
	char by[KBAN_PREFIX_TEXT], when[TIME_TEXT];
	struct kban_prefix prefix;
	const struct why_cover *c = why_cover(w, &prefix);
	const struct why_event *e = why_event_at(w, c->seq, c->event);
	struct enforce_count n = nodes_count(w);
	kban_auto(kban_free) void *servers = enforce_servers(&n);
	bool wider = !kban_prefix_equal(&prefix, &w->prefix);

	return kban_asprintf(
		"%s is blocked until %s on %s%s%s: %s.", text, time_format(when, c->until_ms),
		(char *)servers, wider ? ", with all of " : "",
		wider ? kban_prefix_format(&prefix, by) : "", e ? e->words : "an old ban");
}

static char *sentence_safe(const struct why *w, const char *text)
{
	const struct why_safe *s = why_safe_over(w);
	char range[KBAN_PREFIX_TEXT];

	return kban_asprintf("%s is not blocked: safe range %s (%s%s%s) covers it.", text,
			     kban_prefix_format(&s->prefix, range), s->author,
			     s->reason ? ": " : "", s->reason ? s->reason : "");
}

static const struct why_event *newest_reason(const struct why *w)
{
	for (size_t i = w->events_n; i--;)
		if (why_is_reason(&w->events[i]) && w->events[i].check == TRAIL_CHECKED)
			return &w->events[i];
	return NULL;
}

static char *sentence_ended(const struct why *w, const char *text)
{
	const struct why_event *e = newest_reason(w), *by = e ? why_ender(w, e) : NULL;
	char when[TIME_TEXT];

	if (by)
		return kban_asprintf(
			"%s is not blocked: %s ended its newest ban at %s%s%s (it was: %s).", text,
			by->author, time_format(when, by->accepted_ms), by->reason ? ": " : "",
			by->reason ? by->reason : "", e->words);
	if (e && e->known && e->until_ms)
		return kban_asprintf("%s is not blocked: its newest ban ended at %s (%s).", text,
				     time_format(when, e->until_ms), e->words);
	return kban_asprintf("%s is not blocked: its bans have ended (the newest: %s).", text,
			     e ? e->words : "long ago");
}

static const char *refusal_name(const struct why_event *e)
{
	return e->refusal ? kban_refusal_name(e->refusal) : kban_outcome_name(e->outcome);
}

static char *sentence_alone(const struct why *w, const char *text)
{
	const struct why_event *e = why_alone(w);
	const struct verify_member *m = verify_named(w->fleet->verify, e->author);
	kban_auto(kban_free) void *hold =
		m && m->held ? kban_asprintf(" (%s is on hold: kbanctl node release %s)", m->name,
					     m->name)
			     : kban_strdup("");
	char when[TIME_TEXT];

	return kban_asprintf("%s is blocked on %s alone, until about %s: %s; the fleet refused the "
			     "ban, %s%s.",
			     text, e->author, time_format(when, e->accepted_ms + e->duration_ms),
			     e->words, refusal_name(e), (char *)hold);
}

static char *sentence_refused(const struct why *w, const char *text)
{
	const struct why_event *last = NULL;

	for (size_t i = 0; i < w->events_n; i++)
		if (why_is_refused(&w->events[i]) && w->events[i].kind == KBAN_EVENT_BAN &&
		    (!last || w->events[i].accepted_ms >= last->accepted_ms))
			last = &w->events[i];
	return kban_asprintf("%s is not blocked: a ban (%s) was refused, %s.", text, last->words,
			     refusal_name(last));
}

static char *sentence_partly(const struct why *w, const char *text)
{
	const char *never = why_never(w);

	return kban_asprintf("%s as a whole %s%s%s; %llu %s inside it %s.", text,
			     never ? "cannot be banned (it holds " : "is not blocked",
			     never ? never : "", never ? ")" : "", (unsigned long long)w->inside,
			     w->inside == 1 ? "ban" : "bans", w->inside == 1 ? "runs" : "run");
}

static char *sentence_state(const struct why *w)
{
	char text[KBAN_PREFIX_TEXT];

	kban_prefix_format(&w->prefix, text);
	switch (why_state(w)) {
	case WHY_BLOCKED:
		return sentence_blocked(w, text);
	case WHY_SAFE:
		return sentence_safe(w, text);
	case WHY_ALONE:
		return sentence_alone(w, text);
	case WHY_ENDED:
		return sentence_ended(w, text);
	case WHY_REFUSED:
		return sentence_refused(w, text);
	case WHY_PARTLY:
		return sentence_partly(w, text);
	case WHY_NEVER:
		if (w->prefix.len < kban_prefix_bits(&w->prefix))
			return sentence_partly(w, text);
		return kban_asprintf("%s is never blocked: it holds %s.", text, why_never(w));
	case WHY_OPEN:
		return kban_asprintf("%s is not blocked, and was not banned.", text);
	case WHY_UNKNOWN:
		break;
	}
	return kban_asprintf("%s is not blocked; nothing is known of it.", text);
}

static bool lingers(const void *why, const struct verify_member *m)
{
	return why_lingers(why, m);
}

/* Who was away when he was let in, and until when that server may block him still. */
static char *lingering(const struct why *w)
{
	const struct verify *v = w->fleet->verify;
	kban_auto(kban_free) void *list = enforce_list(v, lingers, w);
	char when[TIME_TEXT];
	uint64_t until = 0;

	for (size_t i = 0; i < verify_members_n(v) && list; i++) {
		const struct verify_member *m = verify_member(v, i);
		uint64_t its = enforce_counts(m) ? why_lingers(w, m) : 0;
		until = its > until ? its : until;
	}
	return list ? kban_asprintf("; %s may still block it until %s.", (char *)list,
				    time_format(when, until))
		    : NULL;
}

char *why_sentence(const struct why *w)
{
	char *sentence = sentence_state(w);
	kban_auto(kban_free) void *more = why_state(w) == WHY_BLOCKED ? NULL : lingering(w);

	if (!more)
		return sentence;
	char *longer = kban_asprintf("%.*s%s", (int)strlen(sentence) - 1, sentence, (char *)more);
	free(sentence);
	return longer;
}

char *why_let_in(const struct why *w)
{
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix by;

	if (why_state(w) != WHY_BLOCKED && why_state(w) != WHY_PARTLY && why_state(w) != WHY_ALONE)
		return NULL;
	kban_prefix_format(&w->prefix, text);
	if (!why_cover(w, &by) || by.len == w->prefix.len)
		return kban_asprintf("kbanctl unban %s", text);
	return kban_asprintf("kbanctl unban %s", kban_prefix_format(&by, text));
}

char *why_let_in_for_good(const struct why *w)
{
	char text[KBAN_PREFIX_TEXT];

	if (why_state(w) == WHY_SAFE || why_state(w) == WHY_NEVER || why_state(w) == WHY_UNKNOWN)
		return NULL;
	return kban_asprintf("kbanctl safeacl add %s --reason TEXT",
			     kban_prefix_format(&w->prefix, text));
}

/* Everything. Texts are escaped here: this is no struct output. */

static void say(const struct why *w, const char *s)
{
	kban_auto(kban_free) void *text = cli_escaped(s, strlen(s));

	fputs(text, w->ctx->out);
}

/* A log line was escaped by who read it: its backslashes are no others. */
static void say_line(const struct why *w, const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "\\");
		kban_auto(kban_free) void *text = cli_escaped(s, n);
		fputs(text, w->ctx->out);
		if (!s[n])
			return;
		fputc('\\', w->ctx->out);
		s += n + 1;
	}
}

static void say_member(const struct why *w, const char *before, const char *s)
{
	if (!s)
		return;
	fputs(before, w->ctx->out);
	say(w, s);
}

static void signer_tell(const struct why *w, const struct why_event *e)
{
	char fingerprint[KBAN_FINGERPRINT_TEXT];
	bool red = e->check != TRAIL_CHECKED && cli_colour(w->ctx);

	fprintf(w->ctx->out, "    signed by %s (%s), %s%s%s",
		*e->author ? e->author : "somebody unknown", kban_fingerprint(fingerprint, &e->key),
		red ? "\033[31m" : "",
		e->check == TRAIL_CHECKED ? "signature checked here" : "FORGED: not to be believed",
		red ? "\033[0m" : "");
	if (e->seq)
		fprintf(w->ctx->out, ", seq %llu", (unsigned long long)e->seq);
	fputc('\n', w->ctx->out);
}

static void ban_end_tell(const struct why *w, const struct why_event *e)
{
	const struct why_event *by = why_ender(w, e);
	char when[TIME_TEXT], left[DURATION_TEXT], text[KBAN_PREFIX_TEXT];
	FILE *f = w->ctx->out;

	if (!e->known) {
		fputs(e->outcome == KBAN_OUTCOME_HISTORY ? ", for the record only" : ", over", f);
	} else if (e->ended) {
		fprintf(f, ", ended early at %s by ", time_format(when, e->until_ms));
		say(w, by ? by->author : "a later event");
		say_member(w, "'s ", by ? kban_event_kind_name(by->kind) : NULL);
		if (by && !kban_prefix_equal(&by->prefix, &e->prefix) &&
		    by->kind != KBAN_EVENT_PURGE && by->kind != KBAN_EVENT_BROKER_ADDRESS)
			fprintf(f, " of %s", kban_prefix_format(&by->prefix, text));
		say_member(w, ": ", by ? by->reason : NULL);
	} else if (why_runs(w, e)) {
		fprintf(f, " until %s (%s more)", time_format(when, e->until_ms),
			duration_format(left, e->until_ms - w->now_ms));
	} else {
		fprintf(f, " until %s", time_format(when, e->until_ms));
	}
	if (e->strikes > 1)
		fprintf(f, ", time %llu that it was banned", (unsigned long long)e->strikes);
	if (e->known && !e->ended && e->until_ms > e->since_ms + e->duration_ms)
		fprintf(f, ": lengthened to %s", duration_format(left, e->until_ms - e->since_ms));
}

static void line_tell(const struct why *w, const struct why_event *e)
{
	char first[TIME_TEXT], last[TIME_TEXT];
	FILE *f = w->ctx->out;

	fputs("\n    ", f);
	say(w, e->words);
	if (e->count > 1 && e->last_ms > e->first_ms)
		fprintf(f, ", from %s to %s", time_format(first, e->first_ms),
			time_format(last, e->last_ms));
	if (e->line) {
		fputs("\n    log line: ", f);
		say_line(w, e->line);
	}
	fputc('\n', f);
}

static void reason_tell(const struct why *w, const struct why_event *e)
{
	char text[KBAN_PREFIX_TEXT], when[TIME_TEXT];

	fprintf(w->ctx->out, "  %s banned at %s", kban_prefix_format(&e->prefix, text),
		time_format(when, e->known ? e->since_ms : e->accepted_ms));
	ban_end_tell(w, e);
	line_tell(w, e);
	signer_tell(w, e);
}

static void reasons_tell(const struct why *w)
{
	size_t n = 0, shown = 0;
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < w->events_n; i++)
		n += why_is_reason(&w->events[i]);
	if (n)
		fputs("\nbans, newest first:\n", w->ctx->out);
	for (size_t i = w->events_n; i-- && shown < SHOWN_MAX;)
		if (why_is_reason(&w->events[i])) {
			reason_tell(w, &w->events[i]);
			shown++;
		}
	if (n + w->dropped > shown)
		fprintf(w->ctx->out, "  and %zu older ones: kbanctl log %s --since all\n",
			n + w->dropped - shown, kban_prefix_format(&w->prefix, text));
}

static void safe_tell(const struct why *w, const struct why_safe *s)
{
	char text[KBAN_PREFIX_TEXT], when[TIME_TEXT];
	FILE *f = w->ctx->out;

	fprintf(f, "  %s %s, by ", kban_prefix_format(&s->prefix, text), safe_state_name(s->state));
	say(w, s->author);
	fprintf(f, " at %s", time_format(when, s->since_ms));
	if (s->until_ms)
		fprintf(f, " until %s", time_format(when, s->until_ms));
	say_member(w, ": ", s->reason);
	if (s->state == LEDGER_SAFE_HELD)
		fprintf(f, "\n    counts on %s alone until: kbanctl safeacl approve %s --node %s",
			s->author, text, s->author);
	if (s->decided) {
		say_member(w, "\n    decided by ", s->decided->author);
		fprintf(f, " at %s", time_format(when, s->decided->accepted_ms));
		say_member(w, ": ", s->decided->reason);
	}
	fputc('\n', f);
	if (s->added)
		signer_tell(w, s->added);
	else
		fprintf(f, "    %sFORGED: nobody signed this%s\n",
			cli_colour(w->ctx) ? "\033[31m" : "", cli_colour(w->ctx) ? "\033[0m" : "");
}

static void safes_tell(const struct why *w)
{
	if (w->safes_n)
		fputs("\nsafe ranges:\n", w->ctx->out);
	for (size_t i = 0; i < w->safes_n; i++)
		safe_tell(w, &w->safes[i]);
}

/* The other events. */

static bool is_unban(const struct why *w, const struct why_event *e)
{
	(void)w;
	return e->kind == KBAN_EVENT_UNBAN && !why_is_refused(e);
}

static bool is_removal(const struct why *w, const struct why_event *e)
{
	(void)w;
	return e->kind == KBAN_EVENT_SAFE_REMOVE && !why_is_refused(e);
}

/* Of a safe range that is no more, only what was signed is left. */
static bool is_over(const struct why *w, const struct why_event *e)
{
	if ((e->kind != KBAN_EVENT_SAFE_ADD && e->kind != KBAN_EVENT_SAFE_APPROVE) ||
	    why_is_refused(e))
		return false;
	for (size_t i = 0; i < w->safes_n; i++)
		if (w->safes[i].added == e || w->safes[i].decided == e ||
		    kban_prefix_equal(&w->safes[i].prefix, &e->prefix))
			return false;
	return true;
}

static bool is_refused(const struct why *w, const struct why_event *e)
{
	(void)w;
	return why_is_refused(e);
}

static const struct {
	const char *heading;
	bool (*wanted)(const struct why *w, const struct why_event *e);
} lists[] = {
	{"safe ranges that are over", is_over},
	{"unbans", is_unban},
	{"safe ranges taken out", is_removal},
	{"tried and refused, as far as the broker remembers", is_refused},
};

static void event_tell(const struct why *w, const struct why_event *e)
{
	char text[KBAN_PREFIX_TEXT], when[TIME_TEXT];

	fprintf(w->ctx->out, "  %s of %s%s%s at %s", kban_event_kind_name(e->kind),
		kban_prefix_format(&e->prefix, text),
		e->kind == KBAN_EVENT_UNBAN && e->all ? " and what covers it" : "",
		why_is_refused(e) ? ", refused," : "", time_format(when, e->accepted_ms));
	if (e->kind == KBAN_EVENT_SAFE_ADD && e->duration_ms)
		fprintf(w->ctx->out, " until %s",
			time_format(when, e->accepted_ms + e->duration_ms));
	say_member(w, ": ", e->reason ? e->reason : e->words);
	fputc('\n', w->ctx->out);
	signer_tell(w, e);
	if (why_is_refused(e))
		fprintf(w->ctx->out, "    because: %s\n", refusal_name(e));
}

static void events_tell(const struct why *w, const char *heading,
			bool (*wanted)(const struct why *w, const struct why_event *e))
{
	size_t n = 0;

	for (size_t i = w->events_n; i--;) {
		if (!wanted(w, &w->events[i]) || n++ >= SHOWN_MAX)
			continue;
		if (n == 1)
			fprintf(w->ctx->out, "\n%s:\n", heading);
		event_tell(w, &w->events[i]);
	}
	if (n > SHOWN_MAX)
		fprintf(w->ctx->out, "  and %zu older ones: -o json has them all\n", n - SHOWN_MAX);
}

static void nodes_tell(const struct why *w)
{
	const struct verify *v = w->fleet->verify;
	static const char *const headings[] = {
		[ENFORCE_BLOCKS] = "in the kernel of:",
		[ENFORCE_NOT_YET] = "not in the kernel of:",
		[ENFORCE_WATCHES] = "not blocked, by configuration, on:",
		[ENFORCE_EXCEPTS] = "not blocked, by its own safe range, on:",
		[ENFORCE_AWAY] = "no fresh word of:",
		[ENFORCE_UNHEARD] = "not known yet of, since the broker started:",
	};

	fputc('\n', w->ctx->out);
	for (int n = 0; n < ENFORCE_NODES; n++) {
		bool begun = false;
		for (size_t i = 0; i < verify_members_n(v); i++) {
			const struct verify_member *m = verify_member(v, i);
			if (!enforce_counts(m) || why_node(w, m) != (enum enforce_node)n)
				continue;
			fprintf(w->ctx->out, "%s %s", begun ? "" : headings[n], m->name);
			if (n != ENFORCE_BLOCKS && n != ENFORCE_UNHEARD)
				fprintf(w->ctx->out, " (%s)", verify_state_name(m->state));
			begun = true;
		}
		fputs(begun ? "\n" : "", w->ctx->out);
	}
}

/* 64:ff9b::/96 (RFC 6052): the host behind it has an IPv4 address of its own. */
static void nat64_tell(const struct why *w)
{
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix p;

	if (w->prefix.family != KBAN_IPV6 || w->prefix.len < 128 ||
	    memcmp(w->prefix.addr, nat64, sizeof(nat64)) != 0 ||
	    kban_prefix_from_bytes(&p, KBAN_IPV4, w->prefix.addr + 12, 4, 32))
		return;
	fprintf(w->ctx->out, "this is an IPv4 host seen through NAT64; see also: kbanctl why %s\n",
		kban_prefix_format(&p, text));
}

void why_tell(const struct why *w)
{
	kban_auto(kban_free) void *sentence = why_sentence(w);
	kban_auto(kban_free) void *let_in = why_let_in(w);
	kban_auto(kban_free) void *for_good = why_let_in_for_good(w);

	say(w, sentence);
	fputc('\n', w->ctx->out);
	nat64_tell(w);
	say_member(w, "to let it in now:      ", let_in);
	say_member(w, let_in ? "\nto let it in for good: " : "to let it in for good: ", for_good);
	fputs(let_in || for_good ? "\n" : "", w->ctx->out);
	reasons_tell(w);
	safes_tell(w);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(lists); i++)
		events_tell(w, lists[i].heading, lists[i].wanted);
	if (why_state(w) == WHY_BLOCKED)
		nodes_tell(w);
}
