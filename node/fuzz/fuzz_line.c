/* SPDX-License-Identifier: MPL-2.0
 *
 * Any bytes as a log line: what is read from them keeps the promises of rules.h.
 */
#include <assert.h>
#include <string.h>

#include "node/rules_time.h"

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
	static const struct rules_source *const sources[] = {&rules_anywhere, &rules_kerio_security};
	struct rules_match m;
	uint64_t ms = 0;

	if (!rules && rules_default(&rules))
		assert(!"the built-in rules load");
	for (size_t i = 0; i < KBAN_ARRAY_LEN(sources); i++) {
		if (rules_match_from(rules, sources[i], (const char *)data, size, &m))
			check_match(&m, (const char *)data, size);
		else
			assert(!m.rule && !m.has_address && !m.user && m.verdict == RULES_NONE);
		assert(rules_time(&ms, &m, UINT64_MAX) || !ms);
		assert(!rules_slow(rules)); /* no line is too much for a built-in rule */
		ms = 0;
	}
	return 0;
}
