/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/endpoint.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int address_add(const struct context *ctx, struct endpoint *out, const struct kban_prefix *p)
{
	for (size_t i = 0; i < out->addresses_n; i++)
		if (kban_prefix_equal(&out->addresses[i], p))
			return 0;
	if (out->addresses_n == KBAN_ADDRESSES_MAX)
		return cli_fail(ctx, CLI_USAGE, "a broker has at most %u addresses",
				KBAN_ADDRESSES_MAX);
	out->addresses[out->addresses_n++] = *p;
	return 0;
}

static int addresses_given(const struct context *ctx, struct endpoint *out)
{
	const char *text;

	for (size_t i = 0; (text = args_nth(&ctx->args, "address", i)); i++) {
		struct kban_prefix p;
		int r = cli_prefix(ctx, &p, text);
		if (r)
			return r;
		if (p.len != kban_prefix_bits(&p))
			return cli_fail(ctx, CLI_USAGE,
					"--address takes a single address, not a prefix");
		r = address_add(ctx, out, &p);
		if (r)
			return r;
	}
	return 0;
}

static int address_resolved(const struct context *ctx, struct endpoint *out,
			    const struct sockaddr *sa)
{
	struct kban_prefix p;
	bool v4 = sa->sa_family == AF_INET;
	const void *raw =
		v4 ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
		   : (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

	if (kban_prefix_from_bytes(&p, v4 ? KBAN_IPV4 : KBAN_IPV6, raw, v4 ? 4 : 16, v4 ? 32 : 128))
		return 0;
	return address_add(ctx, out, &p);
}

static int host_resolve(const struct context *ctx, struct endpoint *out, const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int r = getaddrinfo(host, NULL, &hints, &found);

	if (r)
		return cli_fail(ctx, CLI_FAILED,
				"cannot look up %s: %s; give its addresses with --address", host,
				gai_strerror(r));
	for (const struct addrinfo *a = found; a && !r; a = a->ai_next)
		if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
			r = address_resolved(ctx, out, a->ai_addr);
	freeaddrinfo(found);
	return r;
}

/* The HOST of tcp://HOST:PORT, of tcp://[IPv6]:PORT without the brackets. */
static void host_copy(char out[KBAN_ENDPOINT_MAX + 1], const char *endpoint)
{
	const char *host = endpoint + strlen("tcp://"), *end = strrchr(host, ':');

	if (*host == '[') {
		host++;
		end = strchr(host, ']');
	}
	memcpy(out, host, (size_t)(end - host));
	out[end - host] = 0;
}

int endpoint_take(const struct context *ctx, struct endpoint *out, const char *option)
{
	char host[KBAN_ENDPOINT_MAX + 1];
	struct kban_prefix p;

	*out = (struct endpoint){.text = args_get(&ctx->args, option)};
	if (!kban_endpoint_valid(out->text, strlen(out->text)))
		return cli_fail(ctx, CLI_USAGE,
				"--%s takes tcp://HOST:PORT, like tcp://192.0.2.1:7400 or "
				"tcp://[2001:db8::1]:7400",
				option);
	int r = addresses_given(ctx, out);
	if (r)
		return r;
	host_copy(host, out->text);
	if (!kban_prefix_parse(&p, host))
		return address_add(ctx, out, &p);
	return out->addresses_n ? 0 : host_resolve(ctx, out, host);
}

char *endpoint_addresses(const struct kban_prefix *addresses, size_t n)
{
	char *text = kban_strdup(""), address[KBAN_PREFIX_TEXT];

	for (size_t i = 0; i < n; i++) {
		char *longer = kban_asprintf("%s%s%s", text, i ? " " : "",
					     kban_prefix_format(&addresses[i], address));
		free(text);
		text = longer;
	}
	return text;
}

struct kban_event endpoint_event(const struct endpoint *e, const struct kban_key *curve)
{
	return (struct kban_event){.kind = KBAN_EVENT_BROKER_ADDRESS,
				   .broker_address = {
					   .curve = *curve,
					   .endpoint = kban_text(e->text),
					   .addresses_n = e->addresses_n,
					   .addresses = e->addresses,
				   }};
}
