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

struct count {
	size_t have, all;
};

static struct count nodes_count(const struct why *w)
{
	const struct verify *v = w->fleet->verify;
	struct count c = {0, 0};

	for (size_t i = 0; i < verify_members_n(v); i++) {
		const struct verify_member *m = verify_member(v, i);
		if (!why_node_counts(m))
			continue;
		c.all++;
		c.have += why_node(w, m) == WHY_NODE_BLOCKS;
	}
	return c;
}

static char *sentence_blocked(const struct why *w, const char *text)
{
	char by[KBAN_PREFIX_TEXT], when[TIME_TEXT];
	struct kban_prefix prefix;
	const struct why_cover *c = why_cover(w, &prefix);
	const struct why_event *e = why_event_at(w, c->seq, c->event);
	struct count n = nodes_count(w);
	bool wider = !kban_prefix_equal(&prefix, &w->prefix);

	return kban_asprintf("%s is blocked until %s on %zu of %zu %s%s%s: %s.", text,
			     time_format(when, c->until_ms), n.have, n.all,
			     n.all == 1 ? "server" : "servers", wider ? ", with all of " : "",
			     wider ? kban_prefix_format(&prefix, by) : "",
			     e ? e->words : "an old ban");
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
	char when[TIME_TEXT];

	return kban_asprintf("%s is blocked on %s alone, until about %s: %s; the fleet refused the "
			     "ban, %s.",
			     text, e->author, time_format(when, e->accepted_ms + e->duration_ms),
			     e->words, refusal_name(e));
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

char *why_sentence(const struct why *w)
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
		return kban_asprintf("%s as a whole is not blocked; %llu %s.", text,
				     (unsigned long long)w->inside,
				     w->inside == 1 ? "ban inside it runs" : "bans inside it run");
	case WHY_NEVER:
		return kban_asprintf(
			"%s is never blocked: it holds %s.", text,
			kban_prefix_never_ban(&w->prefix)
				? "loopback, link-local, multicast or unspecified addresses"
				: "a broker's address");
	case WHY_OPEN:
		return kban_asprintf("%s is not blocked, and was not banned.", text);
	case WHY_UNKNOWN:
		break;
	}
	return kban_asprintf("%s is not blocked; nothing is known of it.", text);
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

	fprintf(w->ctx->out, "    signed by %s (%s), %s%s%s, seq %llu\n",
		*e->author ? e->author : "somebody unknown", kban_fingerprint(fingerprint, &e->key),
		red ? "\033[31m" : "",
		e->check == TRAIL_CHECKED ? "signature checked here" : "FORGED: not to be believed",
		red ? "\033[0m" : "", (unsigned long long)e->seq);
}

static void ban_end_tell(const struct why *w, const struct why_event *e)
{
	const struct why_event *by = why_ender(w, e);
	char when[TIME_TEXT], left[DURATION_TEXT];
	FILE *f = w->ctx->out;

	if (!e->known) {
		fputs(e->outcome == KBAN_OUTCOME_HISTORY ? ", for the record only" : ", over", f);
	} else if (e->ended) {
		fprintf(f, ", ended early at %s by ", time_format(when, e->until_ms));
		say(w, by ? by->author : "a later event");
		if (by)
			say_member(w, "'s ", kban_event_kind_name(by->kind));
	} else if (why_runs(w, e)) {
		fprintf(f, " until %s (%s more)", time_format(when, e->until_ms),
			duration_format(left, e->until_ms - w->now_ms));
	} else {
		fprintf(f, " until %s", time_format(when, e->until_ms));
	}
	if (e->strikes > 1)
		fprintf(f, ", strike %llu", (unsigned long long)e->strikes);
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
	if (s->decided)
		say_member(w, "\n    decided by ", s->decided->author);
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

static bool is_unban(const struct why_event *e)
{
	return (e->kind == KBAN_EVENT_UNBAN || e->kind == KBAN_EVENT_SAFE_REMOVE) &&
	       !why_is_refused(e);
}

static void event_tell(const struct why *w, const struct why_event *e, const char *what)
{
	char text[KBAN_PREFIX_TEXT], when[TIME_TEXT];

	fprintf(w->ctx->out, "  %s of %s%s at %s", kban_event_kind_name(e->kind),
		kban_prefix_format(&e->prefix, text), what, time_format(when, e->accepted_ms));
	say_member(w, ": ", e->reason ? e->reason : e->words);
	fputc('\n', w->ctx->out);
	signer_tell(w, e);
}

static void unbans_tell(const struct why *w)
{
	bool begun = false;

	for (size_t i = w->events_n, shown = 0; i-- && shown < SHOWN_MAX;) {
		const struct why_event *e = &w->events[i];
		if (!is_unban(e))
			continue;
		fputs(begun ? "" : "\nunbans:\n", w->ctx->out);
		event_tell(w, e,
			   e->all && e->kind == KBAN_EVENT_UNBAN ? " and what covers it" : "");
		begun = true;
		shown++;
	}
}

static void refused_tell(const struct why *w)
{
	bool begun = false;

	for (size_t i = w->events_n, shown = 0; i-- && shown < SHOWN_MAX;) {
		const struct why_event *e = &w->events[i];
		if (!why_is_refused(e))
			continue;
		fputs(begun ? "" : "\ntried and refused:\n", w->ctx->out);
		event_tell(w, e, ", refused,");
		fprintf(w->ctx->out, "    because: %s\n", refusal_name(e));
		begun = true;
		shown++;
	}
}

static void nodes_tell(const struct why *w)
{
	const struct verify *v = w->fleet->verify;
	static const char *const headings[] = {
		[WHY_NODE_BLOCKS] = "in the kernel of:",
		[WHY_NODE_NOT_YET] = "not in the kernel of:",
		[WHY_NODE_WATCHES] = "not blocked, by configuration, on:",
		[WHY_NODE_EXCEPTS] = "not blocked, by its own safe range, on:",
		[WHY_NODE_AWAY] = "no fresh word of:",
	};

	fputc('\n', w->ctx->out);
	for (int n = WHY_NODE_BLOCKS; n <= WHY_NODE_AWAY; n++) {
		bool begun = false;
		for (size_t i = 0; i < verify_members_n(v); i++) {
			const struct verify_member *m = verify_member(v, i);
			if (!why_node_counts(m) || why_node(w, m) != (enum why_node)n)
				continue;
			fprintf(w->ctx->out, "%s %s", begun ? "" : headings[n], m->name);
			if (n != WHY_NODE_BLOCKS)
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
	unbans_tell(w);
	refused_tell(w);
	if (why_state(w) == WHY_BLOCKED)
		nodes_tell(w);
}
