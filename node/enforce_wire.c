/* SPDX-License-Identifier: MPL-2.0 */
#include <cap-ng.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "node/enforce_wire.h"
#include "proto/clock.h"
#include "proto/limits.h"

int enforce_packet_parse(struct enforce_packet *out, const void *bytes, size_t len)
{
	const uint32_t known = ENFORCE_LAST | ENFORCE_ALL | ENFORCE_COMPARE;

	if (len < sizeof(out->header) || len > sizeof(*out))
		return -EBADMSG;
	memcpy(out, bytes, len);
	if (out->header.ops_n > ENFORCE_PACKET_OPS || (out->header.flags & ~known))
		return -EBADMSG;
	if (len != sizeof(out->header) + out->header.ops_n * sizeof(out->ops[0]))
		return -EBADMSG;
	return 0;
}

/* Canonical, and a length that has a set: /0 would be no ban but an outage, and no range but an off
 * switch. */
static bool prefix_is_good(const struct kban_prefix *p)
{
	struct kban_prefix again;
	size_t size = p->family == KBAN_IPV4 ? 4 : 16;

	if ((p->family != KBAN_IPV4 && p->family != KBAN_IPV6) || !p->len || p->len > size * 8)
		return false;
	return !kban_prefix_from_bytes(&again, p->family, p->addr, size, p->len) &&
	       again.family == p->family && again.len == p->len &&
	       !memcmp(again.addr, p->addr, sizeof(p->addr));
}

static enum enforce_verdict ban_check(struct wanted *w, const struct enforce_op *op,
				      uint64_t now_ms)
{
	if (op->until_boot_ms <= now_ms || op->until_boot_ms - now_ms > KBAN_BAN_MAX_MS)
		return ENFORCE_BAD_TIME;
	if (kban_prefix_never_ban(&op->prefix))
		return ENFORCE_NEVER_BAN;
	if (wanted_covers(w, NFT_SAFE, &op->prefix, now_ms))
		return ENFORCE_IS_SAFE;
	return wanted_counts(w)->bans < ENFORCE_BANS_MAX ? ENFORCE_TAKEN : ENFORCE_FULL;
}

enum enforce_verdict enforce_op_check(struct wanted *w, const struct enforce_op *op,
				      uint64_t now_ms)
{
	if (op->kind < ENFORCE_BAN || op->kind > ENFORCE_UNSAFE)
		return ENFORCE_BAD_KIND;
	if (!prefix_is_good(&op->prefix))
		return ENFORCE_BAD_PREFIX;
	if (op->kind == ENFORCE_BAN)
		return ban_check(w, op, now_ms);
	if (op->kind == ENFORCE_SAFE && wanted_counts(w)->safes >= ENFORCE_SAFES_MAX)
		return ENFORCE_FULL;
	return ENFORCE_TAKEN;
}

uint64_t enforce_boot_ms(void)
{
	return kban_boot_ms(&kban_clock_system);
}

/* Emptying the bounding set needs CAP_SETPCAP, which a service that is given CAP_NET_ADMIN alone
 * lacks; it gains nothing by exec either, with no_new_privs. */
int enforce_keep_capabilities(bool net_admin)
{
	bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -errno;
	capng_clear(CAPNG_SELECT_BOTH);
	if (bounding && capng_apply(CAPNG_SELECT_BOUNDS))
		return -EPERM;
	if (net_admin && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

const char *enforce_remedy(int error)
{
	static const struct {
		int error;
		const char *remedy;
	} rows[] = {
		{-EPERM, "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN"},
		{-EACCES, "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN"},
		{-EPROTONOSUPPORT, "load nf_tables (modprobe), or choose another backend"},
		{-EAFNOSUPPORT, "load nf_tables (modprobe), or choose another backend"},
		{-EOPNOTSUPP, "load nf_tables (modprobe), or choose another backend"},
		{-ENFILE, "one of its sets is full: remove some bans"},
		{-ENOSPC, "one of its sets is full: remove some bans"},
		{-ENOMEM, "free memory, or remove some bans"},
		{-ENOBUFS, "free memory, or remove some bans"},
	};

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++)
		if (rows[i].error == error)
			return rows[i].remedy;
	return "see the kernel's log";
}
