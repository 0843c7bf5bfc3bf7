/* SPDX-License-Identifier: MPL-2.0
 *
 * Any bytes as a log line: what is read from them keeps the promises of rules.h.
 */
#include <assert.h>
#include <string.h>

#include "node/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_match(const struct rules_match *m, const char *line, size_t len)
{
	char text[KBAN_PREFIX_TEXT];
	struct kban_prefix again;

	assert(m->rule && strlen(m->service) <= KBAN_RULE_MAX);
	assert(m->service[0] || m->verdict == RULES_NONE); /* a mail may come without */
	assert(!m->user || (m->user >= line && m->user + m->user_len <= line + len && m->user_len));
	assert(m->user || !m->user_len);
	if (!m->has_address)
		return;
	assert(m->address.len == kban_prefix_bits(&m->address));
	assert(kban_prefix_parse(&again, kban_prefix_format(&m->address, text)) == 0);
	assert(kban_prefix_equal(&again, &m->address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rules *rules;
	struct rules_match m;

	if (!rules && rules_default(&rules))
		assert(!"the built-in rules load");
	if (rules_match(rules, (const char *)data, size, &m))
		check_match(&m, (const char *)data, size);
	else
		assert(!m.rule && !m.has_address && !m.user && m.verdict == RULES_NONE);
	return 0;
}
