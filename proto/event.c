/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/event.h"

#include <arpa/inet.h>
#include <string.h>

#include "proto/utf8.h"

static const char *const kind_names[KBAN_EVENT_KINDS] = {
	[KBAN_EVENT_BAN] = "ban",
	[KBAN_EVENT_UNBAN] = "unban",
	[KBAN_EVENT_SAFE_ADD] = "safe-add",
	[KBAN_EVENT_SAFE_REMOVE] = "safe-remove",
	[KBAN_EVENT_SAFE_APPROVE] = "safe-approve",
	[KBAN_EVENT_GRANT] = "grant",
	[KBAN_EVENT_REVOKE] = "revoke",
	[KBAN_EVENT_PURGE] = "purge",
	[KBAN_EVENT_INVITE] = "invite",
	[KBAN_EVENT_JOIN] = "join",
	[KBAN_EVENT_POLICY] = "policy",
	[KBAN_EVENT_BROKER_ADDRESS] = "broker-address",
	[KBAN_EVENT_RELEASE] = "release",
	[KBAN_EVENT_FOLD_VERSION] = "fold-version",
	[KBAN_EVENT_EPOCH] = "epoch",
};

static const char *const role_names[] = {
	[KBAN_ROLE_NODE] = "node",     [KBAN_ROLE_OPERATOR] = "operator",
	[KBAN_ROLE_FEEDER] = "feeder", [KBAN_ROLE_READER] = "reader",
	[KBAN_ROLE_BROKER] = "broker", [KBAN_ROLE_ROOT] = "root",
};

static const char *name_of(const char *const *names, size_t n, size_t i)
{
	return i < n && names[i] ? names[i] : "unknown";
}

const char *kban_event_kind_name(enum kban_event_kind kind)
{
	return name_of(kind_names, KBAN_ARRAY_LEN(kind_names), kind);
}

const char *kban_role_name(enum kban_role role)
{
	return name_of(role_names, KBAN_ARRAY_LEN(role_names), role);
}

bool kban_role_parse(enum kban_role *out, const char *name)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(role_names); i++) {
		if (role_names[i] && !strcmp(role_names[i], name)) {
			*out = (enum kban_role)i;
			return true;
		}
	}
	return false;
}

/* ASCII, whatever the locale. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool kban_name_valid(const char *s, size_t n)
{
	if (n < 1 || n > KBAN_NAME_MAX || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_digit(s[i]) && !is_lower(s[i]) && s[i] != '.' && s[i] != '-')
			return false;
	return true;
}

bool kban_text_valid(const char *s, size_t n, size_t max)
{
	if (n > max)
		return false;
	for (size_t i = 0; i < n;) {
		uint32_t code;
		if (s[i] >= 0x20 && s[i] < 0x7f) { /* nearly all of them */
			i++;
			continue;
		}
		size_t step = utf8_step((const uint8_t *)s + i, n - i, &code);
		if (!step || code < 0x20 || (code >= 0x7f && code < 0xa0))
			return false;
		i += step;
	}
	return true;
}

/* A decimal number from 1 to 65535 without leading zeros. */
static bool port_valid(const char *s, size_t n)
{
	unsigned value = 0;

	if (n < 1 || n > 5 || s[0] == '0')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(s[i]))
			return false;
		value = value * 10 + (unsigned)(s[i] - '0');
	}
	return value <= 65535;
}

/* Labels of letters, digits and inner hyphens (RFC 1123 section 2.1). */
static bool host_name_valid(const char *s)
{
	size_t label = 0;

	for (const char *c = s; *c; c++) {
		bool edge = label == 0 || c[1] == '.' || c[1] == 0;
		if (*c == '.' ? label == 0 || c[1] == 0 : !is_alnum(*c) && (*c != '-' || edge))
			return false;
		label = *c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return *s;
}

static bool host_valid(char *host, size_t n)
{
	uint8_t address[16];

	if (host[0] == '[') {
		if (host[n - 1] != ']')
			return false;
		host[n - 1] = 0;
		return inet_pton(AF_INET6, host + 1, address) == 1;
	}
	const char *dot = strrchr(host, '.');
	if (is_digit(dot ? dot[1] : host[0]) && !host[strspn(host, "0123456789.")])
		return inet_pton(AF_INET, host, address) == 1;
	return host_name_valid(host);
}

bool kban_endpoint_valid(const char *s, size_t n)
{
	static const char scheme[] = "tcp://";
	size_t skip = sizeof(scheme) - 1;
	char host[KBAN_ENDPOINT_MAX + 1];

	if (n <= skip || n > KBAN_ENDPOINT_MAX || memcmp(s, scheme, skip) || memchr(s, 0, n))
		return false;
	const char *colon = memrchr(s, ':', n);
	size_t host_n = colon < s + skip ? 0 : (size_t)(colon - s) - skip;
	if (!host_n || !port_valid(colon + 1, n - skip - host_n - 1))
		return false;
	memcpy(host, s + skip, host_n);
	host[host_n] = 0;
	return host_valid(host, host_n);
}
