/* SPDX-License-Identifier: MPL-2.0
 *
 * Our table's rules, and their text to compare them by.
 */
#include <stdio.h> /* libnftnl/expr.h needs it */

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "node/nft_wire.h"

#define TEXT_MAX 1024

static struct nftnl_expr *expr_add(struct nftnl_rule *rule, const char *kind)
{
	struct nftnl_expr *e = nftnl_expr_alloc(kind);
	if (!e)
		abort();
	nftnl_rule_add_expr(rule, e);
	return e;
}

static void rule_meta_is(struct nftnl_rule *rule, uint32_t key, uint8_t value)
{
	struct nftnl_expr *e = expr_add(rule, "meta");
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
	e = expr_add(rule, "cmp");
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, &value, sizeof(value));
}

static void rule_load(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t len)
{
	struct nftnl_expr *e = expr_add(rule, "payload");
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void rule_mask(struct nftnl_rule *rule, unsigned size, unsigned bits)
{
	uint8_t mask[16], zero[16] = {0};

	for (unsigned i = 0; i < size; i++) {
		unsigned left = bits > i * 8 ? bits - i * 8 : 0;
		mask[i] = left >= 8 ? 0xff : (uint8_t)(0xff00 >> left);
	}
	struct nftnl_expr *e = expr_add(rule, "bitwise");
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, size);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, size);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, size);
}

static void rule_lookup(struct nftnl_rule *rule, const char *set)
{
	struct nftnl_expr *e = expr_add(rule, "lookup");
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0); /* as the kernel returns it */
}

static void rule_verdict(struct nftnl_rule *rule, uint32_t verdict, const char *chain)
{
	struct nftnl_expr *e = expr_add(rule, "immediate");
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, verdict);
	if (chain)
		nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

static struct nftnl_rule *rule_new(const struct nft *n, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	if (!rule)
		abort();
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, n->table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	return rule;
}

struct nftnl_rule *nft_rule_jump(const struct nft *n, bool ports)
{
	struct nftnl_rule *rule = rule_new(n, "filter");

	if (ports) {
		rule_meta_is(rule, NFT_META_L4PROTO, IPPROTO_TCP);
		rule_load(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
		rule_lookup(rule, "ports");
	}
	rule_verdict(rule, (uint32_t)NFT_JUMP, "ban");
	return rule;
}

static const char *set_chain(struct nft_set set)
{
	return set.kind == NFT_BAN ? "ban" : "safe";
}

struct nftnl_rule *nft_rule_of_set(const struct nft *n, struct nft_set set, bool alt)
{
	struct nftnl_rule *rule = rule_new(n, set_chain(set));
	bool v4 = set.family == KBAN_IPV4;
	unsigned size = v4 ? 4 : 16;
	char name[NFT_NAME_TEXT];

	rule_meta_is(rule, NFT_META_NFPROTO, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	rule_load(rule, NFT_PAYLOAD_NETWORK_HEADER, v4 ? 12 : 8, size); /* the source address */
	if (set.len < size * 8)
		rule_mask(rule, size, set.len);
	rule_lookup(rule, nft_set_name(name, set, alt));
	if (set.kind == NFT_BAN) {
		expr_add(rule, "counter");
		rule_verdict(rule, (uint32_t)NFT_GOTO, "safe");
	} else {
		rule_verdict(rule, NF_ACCEPT, NULL);
	}
	return rule;
}

struct nftnl_rule *nft_rule_drop(const struct nft *n)
{
	struct nftnl_rule *rule = rule_new(n, "safe");

	expr_add(rule, "counter");
	rule_verdict(rule, NF_DROP, NULL);
	return rule;
}

char *nft_rule_text(const struct nftnl_rule *rule)
{
	char text[TEXT_MAX];
	size_t n = (size_t)snprintf(text, sizeof(text),
				    "%s:", nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	struct nftnl_expr_iter *i = nftnl_expr_iter_create(rule);
	struct nftnl_expr *e;

	if (!i)
		abort();
	while ((e = nftnl_expr_iter_next(i)) && n < sizeof(text) - 1) {
		const char *kind = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
		n += (size_t)snprintf(text + n, sizeof(text) - n, " [%s ", kind);
		if (n >= sizeof(text) || !strcmp(kind, "counter"))
			continue;
		int r = nftnl_expr_snprintf(text + n, sizeof(text) - n, e, NFTNL_OUTPUT_DEFAULT, 0);
		n += r > 0 ? (size_t)r : 0;
	}
	nftnl_expr_iter_destroy(i);
	return kban_strdup(text);
}
