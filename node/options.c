/* SPDX-License-Identifier: MPL-2.0 */
#include "node/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "node/local.h"

#define PATH_CHARS 400 /* a log's path is part of a row's key in the store */

static char *check_path(const char *value)
{
	return *value == '/' ? NULL : kban_strdup("is no absolute path; begin it with /");
}

static char *check_optional_path(const char *value)
{
	return *value ? check_path(value) : NULL;
}

static char *check_start(const char *value)
{
	bool known = !strcmp(value, "end") || !strcmp(value, "beginning");

	return known ? NULL : kban_strdup("write end or beginning");
}

static char *check_backend(const char *value)
{
	bool known = !strcmp(value, "nftables") || !strcmp(value, "none");

	return known ? NULL : kban_strdup("write nftables or none");
}

/* What nft takes as a name without quotes. */
static char *check_table(const char *value)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	if (!strspn(value, letters) || value[strspn(value, others)])
		return kban_strdup("is no table name; write letters, digits and _, beginning with "
				   "a letter");
	return NULL;
}

/* clang-format off */
#define TEXT(member, fallback, least, most, check, help)                                           \
	{#member, KBAN_CONF_STRING, offsetof(struct options, member), fallback, least, most, 0,    \
	 check, help}
#define NUMBER(name, member, fallback, least, most, help)                                          \
	{name, KBAN_CONF_UINT, offsetof(struct options, member), fallback, least, most, 0, NULL,   \
	 help}
/* clang-format on */

const struct kban_conf_option options_table[] = {
	TEXT(identity, "/etc/kban/node.id", 1, PATH_CHARS, check_path,
	     "the identity file that `kbanctl node join` wrote"),
	TEXT(data, "/var/lib/kban/node", 1, PATH_CHARS, check_path,
	     "folder of the replica and the outbox; a local disk"),
	TEXT(kerio, "/opt/kerio/mailserver", 1, PATH_CHARS - 32, check_path,
	     "Kerio Connect's install folder"),
	TEXT(log, "", 0, PATH_CHARS, check_optional_path,
	     "the security log; empty: store/logs/security.log in Kerio's folder"),
	TEXT(start, "end", 1, 16, check_start,
	     "where a first start begins to read the log: end or beginning"),
	{"rules", KBAN_CONF_STRINGS, offsetof(struct options, rules), "{}", 1, PATH_CHARS, OPTIONS_RULES_MAX,
	 check_path, "files of rules that are tried before the built-in ones, in this order"},
	NUMBER("failures", failures, "10", 1, 1000,
	       "so many failures of one address at one service ..."),
	NUMBER("check-time", check_time, "60", 1, 86400, "... within so many seconds ..."),
	NUMBER("block-time", block_time, "300", 1, 31622400, "... ban it for so many seconds"),
	TEXT(backend, "nftables", 1, 16, check_backend,
	     "what blocks: nftables, or none (to watch only)"),
	TEXT(table, "kban", 1, 32, check_table, "the nftables table, of family inet"),
	{"ports", KBAN_CONF_UINTS, offsetof(struct options, ports),
	 "{25, 465, 587, 110, 995, 143, 993, 119, 563, 389, 636, 80, 443, 8800, 8843, 5222, 5223, "
	 "4040}",
	 1, 65535, OPTIONS_PORTS_MAX, NULL,
	 "TCP ports that are closed to banned addresses; {}: all"},
	{"except", KBAN_CONF_STRINGS, offsetof(struct options, except), "{}", 1, KBAN_PREFIX_TEXT,
	 512, local_check_prefix, "addresses and prefixes that this server never blocks"},
	NUMBER("compare-every", compare_every, "60", 1, 86400,
	       "seconds between comparisons of the kernel's sets with what is wanted"),
	{0},
};

int options_load(struct options *o, const char *path, char **error)
{
	int r = kban_conf_load(o, options_table, path, error);

	if (r)
		return r;
	if (!*o->log) {
		kban_free(o->log);
		o->log = kban_asprintf("%s/store/logs/security.log", o->kerio);
	}
	for (size_t i = 0; i < o->ports.n && i < OPTIONS_PORTS_MAX; i++)
		o->port_numbers[i] = (uint16_t)o->ports.v[i];
	return 0;
}

void options_free(struct options *o)
{
	kban_conf_free(o, options_table);
}

int options_identity(const struct options *o, struct kban_identity *out, char **error)
{
	unsigned line = 0;
	int r = kban_identity_load(out, o->identity, &line);

	if (r) {
		*error = kban_identity_explain(r, o->identity, line);
		return r;
	}
	if (out->role != KBAN_ROLE_NODE) {
		*error = kban_asprintf(
			"%s: is the identity of a %s, not of a node; run: kbanctl node join",
			o->identity, kban_role_name(out->role));
		return -EINVAL;
	}
	return 0;
}

int options_rules(const struct options *o, struct rules **out, char **error)
{
	const struct rules_set set = {.n = o->rules.n, .paths = (const char *const *)o->rules.v};

	return rules_load(out, &set, error);
}
