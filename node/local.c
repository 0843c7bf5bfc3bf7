/* SPDX-License-Identifier: MPL-2.0 */
#include "node/local.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"

#define LINES_MAX 100000 /* of a routing table: a router with a full table would take seconds */
#define ROUTE_UP  0x0001
#define ROUTE_GW  0x0002

const struct local_paths local_paths_system = {"/proc/net/route", "/proc/net/ipv6_route",
					       "/etc/resolv.conf", true};

static void add(struct local *l, const struct kban_prefix *p, const char *why)
{
	if (kban_prefix_never_ban(p))
		return;
	for (size_t i = 0; i < l->n; i++)
		if (kban_prefix_equal(&l->v[i], p))
			return;
	if (l->n == LOCAL_MAX) {
		kban_warning("more than %d excepted addresses: the rest is not excepted",
			     LOCAL_MAX);
		return;
	}
	l->v[l->n] = *p;
	l->why[l->n++] = why;
}

static void add_raw(struct local *l, unsigned family, const void *addr, const char *why)
{
	struct kban_prefix p;
	bool v4 = family == KBAN_IPV4;

	if (!kban_prefix_from_bytes(&p, family, addr, v4 ? 4 : 16, v4 ? 32 : 128))
		add(l, &p, why);
}

static void add_text(struct local *l, const char *text, size_t len, const char *why)
{
	struct kban_prefix p;

	if (!kban_prefix_parse_n(&p, text, len))
		add(l, &p, why);
}

static void add_interface(struct local *l, const struct sockaddr *sa)
{
	if (!sa)
		return;
	if (sa->sa_family == AF_INET)
		add_raw(l, KBAN_IPV4, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
			"own address");
	else if (sa->sa_family == AF_INET6)
		add_raw(l, KBAN_IPV6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			"own address");
}

static void add_interfaces(struct local *l)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all)) {
		kban_warning("cannot list this server's addresses: they are not excepted; list "
			     "them in `except`");
		return;
	}
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		add_interface(l, i->ifa_addr);
	freeifaddrs(all);
}

/* Iface Destination Gateway Flags ..., addresses as the kernel's integers in hex: proc(5). */
static void route4_line(struct local *l, const char *line)
{
	unsigned destination, gateway, flags;

	if (sscanf(line, "%*s %x %x %x", &destination, &gateway, &flags) != 3)
		return;
	uint32_t raw = gateway; /* is in network order in memory */

	if (!destination && (flags & ROUTE_UP) && (flags & ROUTE_GW))
		add_raw(l, KBAN_IPV4, &raw, "gateway");
}

/* destination/len source/len next hop, metric, references, use, flags, interface; 32 hex digits an
 * address. */
static void route6_line(struct local *l, const char *line)
{
	char next_hop[33];
	unsigned length, flags;
	uint8_t raw[16];

	if (sscanf(line, "%*32s %x %*32s %*x %32s %*x %*x %*x %x", &length, next_hop, &flags) != 3)
		return;
	if (!length && (flags & ROUTE_UP) && (flags & ROUTE_GW) &&
	    kban_unhex(raw, sizeof(raw), next_hop))
		add_raw(l, KBAN_IPV6, raw, "gateway");
}

/* "nameserver 2001:db8::1" or "nameserver fe80::1%eth0": resolv.conf(5). */
static void resolv_line(struct local *l, const char *line)
{
	line += strspn(line, " \t");
	if (strncmp(line, "nameserver", 10) || !strspn(line + 10, " \t"))
		return;
	line += 10 + strspn(line + 10, " \t");
	add_text(l, line, strcspn(line, " \t\r\n%#;"), "resolver");
}

static void each_line(struct local *l, const char *path,
		      void (*fn)(struct local *l, const char *line))
{
	char line[512];
	FILE *f = path ? fopen(path, "re") : NULL;

	for (unsigned i = 0; f && i < LINES_MAX && fgets(line, sizeof(line), f); i++)
		fn(l, line);
	if (f)
		fclose(f);
}

/* tcp://ADDRESS:PORT or tcp://[ADDRESS]:PORT */
static void add_broker(struct local *l, const char *endpoint)
{
	const char *host = strstr(endpoint, "://"), *end;

	if (!host)
		return;
	host += 3;
	if (*host == '[') {
		host++;
		end = strchr(host, ']');
	} else {
		end = strrchr(host, ':');
	}
	if (end)
		add_text(l, host, (size_t)(end - host), "broker");
}

char *local_check_prefix(const char *text)
{
	struct kban_prefix p;

	if (!kban_prefix_parse(&p, text) && !p.len)
		return kban_strdup(
			"is everything; to block nobody, write backend = \"none\" instead");
	return kban_prefix_advice(text);
}

void local_collect(struct local *l, const struct local_paths *paths,
		   const struct kban_identity *identity, const struct kban_strings *except)
{
	l->n = 0;
	if (paths->interfaces)
		add_interfaces(l);
	each_line(l, paths->route4, route4_line);
	each_line(l, paths->route6, route6_line);
	each_line(l, paths->resolv, resolv_line);
	l->own_n = l->n;
	for (size_t i = 0; except && i < except->n; i++)
		add_text(l, except->v[i], strlen(except->v[i]), "configured");
	for (size_t i = 0; identity && i < identity->brokers_n; i++)
		add_broker(l, identity->brokers[i].endpoint);
}

void local_log(const struct local *l)
{
	char text[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < l->n; i++)
		kban_info("never blocked here: %s (%s)", kban_prefix_format(&l->v[i], text),
			  l->why[i]);
}
