/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nested.h"

#include <assert.h>
#include <string.h>

#include "cli/output.h"
#include "cli/time.h"

static void member_begin(struct nested *n, const char *key)
{
	if (n->comma)
		fputs(n->lines && n->depth <= 2 ? "," : ", ", n->f);
	if (n->lines && n->depth && n->depth <= 2)
		fprintf(n->f, "\n%*s", (int)n->depth * 2, "");
	n->comma = true;
	if (key)
		fprintf(n->f, "\"%s\": ", key);
}

static void open_with(struct nested *n, const char *key, char opening, char closing)
{
	assert(n->depth < sizeof(n->closing));
	member_begin(n, key);
	fputc(opening, n->f);
	n->closing[n->depth++] = closing;
	n->comma = false;
}

void nested_begin(struct nested *n, FILE *f, bool lines)
{
	*n = (struct nested){.f = f, .lines = lines};
	nested_object(n, NULL);
}

void nested_object(struct nested *n, const char *key)
{
	open_with(n, key, '{', '}');
}

void nested_array(struct nested *n, const char *key)
{
	open_with(n, key, '[', ']');
}

void nested_end(struct nested *n)
{
	assert(n->depth);
	n->depth--;
	if (n->lines && n->comma && n->depth <= 1)
		fprintf(n->f, "\n%*s", (int)n->depth * 2, "");
	fputc(n->closing[n->depth], n->f);
	n->comma = true;
	if (!n->depth)
		fputc('\n', n->f);
}

void nested_text(struct nested *n, const char *key, struct kban_text t)
{
	if (!t.n) {
		nested_null(n, key);
		return;
	}
	member_begin(n, key);
	output_json_string(n->f, t.s, t.n);
}

void nested_string(struct nested *n, const char *key, const char *s)
{
	nested_text(n, key, kban_text(s));
}

void nested_number(struct nested *n, const char *key, uint64_t v)
{
	member_begin(n, key);
	fprintf(n->f, "%llu", (unsigned long long)v);
}

void nested_signed(struct nested *n, const char *key, int64_t v)
{
	member_begin(n, key);
	fprintf(n->f, "%lld", (long long)v);
}

void nested_bool(struct nested *n, const char *key, bool v)
{
	member_begin(n, key);
	fputs(v ? "true" : "false", n->f);
}

void nested_null(struct nested *n, const char *key)
{
	member_begin(n, key);
	fputs("null", n->f);
}

void nested_time(struct nested *n, const char *key, uint64_t ms)
{
	char seconds[64], text[TIME_TEXT];

	snprintf(seconds, sizeof(seconds), "%s_s", key);
	if (!ms) {
		nested_null(n, key);
		nested_null(n, seconds);
		return;
	}
	nested_string(n, key, time_format(text, ms));
	nested_number(n, seconds, ms / 1000);
}

void nested_prefix(struct nested *n, const char *key, const struct kban_prefix *p)
{
	char text[KBAN_PREFIX_TEXT];

	nested_string(n, key, kban_prefix_format(p, text));
}
