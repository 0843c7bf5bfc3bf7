/* SPDX-License-Identifier: MPL-2.0
 *
 * What our table consists of, written and compared. Rules (nft_rules.c) are compared by libnftnl's
 * text of their expressions: the kernel returns them in another encoding than it was given.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/nft_wire.h"

#define PRIORITY (-310) /* connection tracking starts at -200, raw at -300 */
/* Elements that ran out no longer match; this is only how soon their memory is freed. The kernel's
 * default of a second walks a large set all the time. */
#define GC_INTERVAL_MS 30000

/* What nft(8) prints types by. */
#define TYPE_IPV4_ADDR	  7
#define TYPE_IPV6_ADDR	  8
#define TYPE_INET_SERVICE 13

/* Writing */

/* Safe sets' rules come before the drop at their chain's end, whenever they are made. */
static void rule_send(struct nft *n, struct nftnl_rule *rule, bool first)
{
	uint16_t flags = NLM_F_CREATE | (first ? 0 : NLM_F_APPEND);
	struct nlmsghdr *m = nft_message(n, NFT_MSG_NEWRULE, flags);

	nftnl_rule_nlmsg_build_payload(m, rule);
	nft_message_end(n, m);
	nftnl_rule_free(rule);
}

static void set_send(struct nft *n, const char *name, uint32_t type, uint32_t key_size,
		     uint32_t flags, uint32_t id)
{
	struct nlmsghdr *m = nft_message(n, NFT_MSG_NEWSET, NLM_F_CREATE);

	mnl_attr_put_strz(m, NFTA_SET_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_SET_NAME, name);
	mnl_attr_put_u32(m, NFTA_SET_ID, htonl(id));
	mnl_attr_put_u32(m, NFTA_SET_KEY_TYPE, htonl(type));
	mnl_attr_put_u32(m, NFTA_SET_KEY_LEN, htonl(key_size));
	mnl_attr_put_u32(m, NFTA_SET_FLAGS, htonl(flags));
	if (flags & NFT_SET_TIMEOUT)
		mnl_attr_put_u32(m, NFTA_SET_GC_INTERVAL, htonl(GC_INTERVAL_MS));
	nft_message_end(n, m);
}

void nft_make_set(struct nft *n, struct nft_set set, bool alt, bool with_rule)
{
	bool v4 = set.family == KBAN_IPV4;
	char name[NFT_NAME_TEXT];

	set_send(n, nft_set_name(name, set, alt), v4 ? TYPE_IPV4_ADDR : TYPE_IPV6_ADDR, v4 ? 4 : 16,
		 set.kind == NFT_BAN ? NFT_SET_TIMEOUT : 0, 2 + nft_set_index(set) * 2 + alt);
	if (with_rule)
		rule_send(n, nft_rule_of_set(n, set, alt), set.kind == NFT_SAFE);
}

void nft_drop_set(struct nft *n, const char *name)
{
	struct nlmsghdr *m = nft_message(n, NFT_MSG_DELSET, 0);

	mnl_attr_put_strz(m, NFTA_SET_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_SET_NAME, name);
	nft_message_end(n, m);
}

static void chain_send(struct nft *n, const char *name, bool base)
{
	struct nlmsghdr *m = nft_message(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

	mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_CHAIN_NAME, name);
	if (base) {
		mnl_attr_put_strz(m, NFTA_CHAIN_TYPE, "filter");
		mnl_attr_put_u32(m, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
		struct nlattr *hook = mnl_attr_nest_start(m, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(m, NFTA_HOOK_HOOKNUM, htonl(NF_INET_PRE_ROUTING));
		mnl_attr_put_u32(m, NFTA_HOOK_PRIORITY, htonl((uint32_t)PRIORITY));
		mnl_attr_nest_end(m, hook);
	}
	nft_message_end(n, m);
}

static void ports_send(struct nft *n)
{
	set_send(n, "ports", TYPE_INET_SERVICE, 2, NFT_SET_CONSTANT, 1);
	struct nlmsghdr *m = nft_message(n, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, "ports");
	struct nlattr *list = mnl_attr_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (size_t i = 0; i < n->ports_n; i++) {
		struct nlattr *element = mnl_attr_nest_start(m, NFTA_LIST_ELEM);
		struct nlattr *key = mnl_attr_nest_start(m, NFTA_SET_ELEM_KEY);
		mnl_attr_put_u16(m, NFTA_DATA_VALUE, htons(n->ports[i]));
		mnl_attr_nest_end(m, key);
		mnl_attr_nest_end(m, element);
	}
	mnl_attr_nest_end(m, list);
	nft_message_end(n, m);
}

static void table_send(struct nft *n, uint16_t type)
{
	bool add = type == NFT_MSG_NEWTABLE;
	struct nlmsghdr *m = nft_message(n, type, add ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(m, NFTA_TABLE_NAME, n->table);
	nft_message_end(n, m);
}

void nft_create(struct nft *n)
{
	memset(n->sets, 0, sizeof(n->sets));
	table_send(n, NFT_MSG_NEWTABLE);
	chain_send(n, "safe", false);
	chain_send(n, "ban", false);
	chain_send(n, "filter", true);
	if (n->ports_n)
		ports_send(n);
	rule_send(n, nft_rule_drop(n), false);
	rule_send(n, nft_rule_jump(n, n->ports_n), false);
}

void nft_replace(struct nft *n)
{
	table_send(n, NFT_MSG_DELTABLE);
	nft_create(n);
}

static void chain_flush(struct nft *n, const char *chain)
{
	struct nlmsghdr *m = nft_message(n, NFT_MSG_DELRULE, 0);

	mnl_attr_put_strz(m, NFTA_RULE_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_RULE_CHAIN, chain);
	nft_message_end(n, m);
}

void nft_write_rules(struct nft *n)
{
	chain_flush(n, "filter");
	chain_flush(n, "safe");
	chain_flush(n, "ban");
	for (unsigned i = 0; i < NFT_SETS; i++) {
		struct nft_set_state *s = &n->sets[i];
		struct nft_set set = nft_set_at(i);
		char name[NFT_NAME_TEXT];
		if (s->exists)
			rule_send(n, nft_rule_of_set(n, set, s->alt), set.kind == NFT_SAFE);
		if (s->stray && !s->filling)
			nft_drop_set(n, nft_set_name(name, set, !s->alt));
		if (!s->filling)
			s->stray = false;
	}
	rule_send(n, nft_rule_drop(n), false);
	rule_send(n, nft_rule_jump(n, n->ports_n), false);
}

/* Comparing */

struct layout {
	struct nft *n;
	bool stale;
	unsigned chains, ports;			/* of ours, seen */
	bool first[NFT_SETS], second[NFT_SETS]; /* sets seen by name */
	size_t rules_n;
	char **rules;	  /* texts, in their order */
	size_t safe_last; /* the place of the last rule that accepts */
};

static int table_seen(const struct nlmsghdr *m, void *arg)
{
	struct layout *l = arg;
	struct nftnl_table *t = nftnl_table_alloc();

	if (!t)
		abort();
	if (nftnl_table_nlmsg_parse(m, t) || nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS))
		l->stale = true; /* dormant, or owned by somebody */
	nftnl_table_free(t);
	return MNL_CB_OK;
}

static bool is_ours(const struct nft *n, uint32_t family, const char *table)
{
	return family == NFPROTO_INET && table && !strcmp(table, n->table);
}

static bool chain_is_base(const struct nftnl_chain *c)
{
	const char *type = nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE);

	return type && !strcmp(type, "filter") &&
	       nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) == NF_INET_PRE_ROUTING &&
	       nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO) == PRIORITY &&
	       nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_ACCEPT;
}

static bool chain_is_right(const struct nftnl_chain *c)
{
	const char *name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);

	if (!strcmp(name, "filter"))
		return chain_is_base(c);
	return (!strcmp(name, "ban") || !strcmp(name, "safe")) &&
	       !nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM);
}

static int chain_seen(const struct nlmsghdr *m, void *arg)
{
	struct layout *l = arg;
	struct nftnl_chain *c = nftnl_chain_alloc();

	if (!c)
		abort();
	if (nftnl_chain_nlmsg_parse(m, c))
		l->stale = true;
	else if (is_ours(l->n, nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY),
			 nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE))) {
		l->chains++;
		l->stale |= !chain_is_right(c);
	}
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

static bool set_from_name(struct nft_set *out, bool *alt, const char *name)
{
	unsigned family, len;
	char kind[5], again[NFT_NAME_TEXT];

	if (sscanf(name, "%4[a-z]%1u_%3u", kind, &family, &len) != 3 || !len)
		return false;
	if (!(family == KBAN_IPV4 && len <= 32) && !(family == KBAN_IPV6 && len <= 128))
		return false;
	*out = (struct nft_set){strcmp(kind, "ban") ? NFT_SAFE : NFT_BAN, (uint8_t)family,
				(uint8_t)len};
	*alt = name[strlen(name) - 1] == 'b';
	return !strcmp(nft_set_name(again, *out, *alt), name);
}

static bool set_is(const struct nftnl_set *s, uint32_t type, uint32_t size, uint32_t flags)
{
	return nftnl_set_get_u32(s, NFTNL_SET_KEY_TYPE) == type &&
	       nftnl_set_get_u32(s, NFTNL_SET_KEY_LEN) == size &&
	       nftnl_set_get_u32(s, NFTNL_SET_FLAGS) == flags &&
	       !nftnl_set_get_u64(s, NFTNL_SET_TIMEOUT) &&
	       !nftnl_set_get_u32(s, NFTNL_SET_DESC_SIZE);
}

static void set_check(struct layout *l, const struct nftnl_set *s)
{
	const char *name = nftnl_set_get_str(s, NFTNL_SET_NAME);
	struct nft_set set;
	bool alt;

	if (!strcmp(name, "ports")) {
		l->ports++;
		l->stale |= !set_is(s, TYPE_INET_SERVICE, 2, NFT_SET_CONSTANT);
		return;
	}
	if (!set_from_name(&set, &alt, name)) {
		l->stale = true;
		return;
	}
	bool v4 = set.family == KBAN_IPV4;
	l->stale |= !set_is(s, v4 ? TYPE_IPV4_ADDR : TYPE_IPV6_ADDR, v4 ? 4 : 16,
			    set.kind == NFT_BAN ? NFT_SET_TIMEOUT : 0);
	*(alt ? &l->second[nft_set_index(set)] : &l->first[nft_set_index(set)]) = true;
}

static int set_seen(const struct nlmsghdr *m, void *arg)
{
	struct layout *l = arg;
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		abort();
	if (nftnl_set_nlmsg_parse(m, s))
		l->stale = true;
	else if (is_ours(l->n, nftnl_set_get_u32(s, NFTNL_SET_FAMILY),
			 nftnl_set_get_str(s, NFTNL_SET_TABLE)))
		set_check(l, s);
	nftnl_set_free(s);
	return MNL_CB_OK;
}

static int rule_seen(const struct nlmsghdr *m, void *arg)
{
	struct layout *l = arg;
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule)
		abort();
	if (nftnl_rule_nlmsg_parse(m, rule))
		l->stale = true;
	else if (is_ours(l->n, nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY),
			 nftnl_rule_get_str(rule, NFTNL_RULE_TABLE))) {
		l->rules = kban_realloc(l->rules, (l->rules_n + 1) * sizeof(*l->rules));
		l->rules[l->rules_n++] = nft_rule_text(rule);
	}
	nftnl_rule_free(rule);
	return MNL_CB_OK;
}

/* Finds a rule by its text and strikes it out. */
static bool rule_found(struct layout *l, struct nftnl_rule *rule, size_t *place)
{
	kban_auto(kban_free) void *text = nft_rule_text(rule);
	size_t i = 0;

	nftnl_rule_free(rule);
	while (i < l->rules_n && (!l->rules[i] || strcmp(l->rules[i], text)))
		i++;
	if (i == l->rules_n)
		return false;
	kban_free(l->rules[i]);
	l->rules[i] = NULL;
	*place = i;
	return true;
}

/* Of two sets for one length (a swap was cut short) the one with a rule is in use. */
static bool layout_take_set(struct layout *l, unsigned i)
{
	struct nft_set set = nft_set_at(i);
	bool second = l->second[i], first = l->first[i];
	size_t place;
	bool rule = first && rule_found(l, nft_rule_of_set(l->n, set, false), &place);
	bool alt = !rule && second;

	if (alt)
		rule = rule_found(l, nft_rule_of_set(l->n, set, true), &place);
	if (alt && !rule && first)
		alt = false;
	if (rule && set.kind == NFT_SAFE && place > l->safe_last)
		l->safe_last = place;
	l->n->sets[i] = (struct nft_set_state){
		.exists = first || second, .alt = alt, .stray = first && second};
	return (rule || !(first || second)) && !(first && second);
}

static bool layout_rules_right(struct layout *l)
{
	size_t jump, drop = 0, left = 0;
	bool right = rule_found(l, nft_rule_jump(l->n, l->n->ports_n), &jump);

	right = rule_found(l, nft_rule_drop(l->n), &drop) && right;
	for (unsigned i = 0; i < NFT_SETS; i++)
		right = layout_take_set(l, i) && right;
	right = right && drop >= l->safe_last;
	for (size_t i = 0; i < l->rules_n; i++)
		left += l->rules[i] != NULL;
	return right && !left;
}

static void layout_free(struct layout *l)
{
	for (size_t i = 0; i < l->rules_n; i++)
		free(l->rules[i]);
	free(l->rules);
}

struct ports_check {
	const struct nft *n;
	size_t seen;
	bool wrong;
};

static void port_seen(struct ports_check *c, const struct nlattr *element)
{
	const struct nlattr *a, *v;
	size_t i = 0;

	mnl_attr_for_each_nested(a, element)
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_KEY)
			continue;
		mnl_attr_for_each_nested(v, a)
		{
			while (i < c->n->ports_n && htons(c->n->ports[i]) != mnl_attr_get_u16(v))
				i++;
			c->wrong |= i == c->n->ports_n;
			c->seen++;
		}
	}
}

static int ports_seen(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a, *element;

	mnl_attr_for_each(a, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) ==
							     NFTA_SET_ELEM_LIST_ELEMENTS)
		mnl_attr_for_each_nested(element, a) port_seen(arg, element);
	return MNL_CB_OK;
}

static size_t ports_distinct(const struct nft *n)
{
	size_t distinct = 0;

	for (size_t i = 0; i < n->ports_n; i++) {
		size_t j = 0;
		while (n->ports[j] != n->ports[i])
			j++;
		distinct += i == j;
	}
	return distinct;
}

static int layout_check_ports(struct layout *l)
{
	struct ports_check c = {.n = l->n};
	uint8_t buf[512];

	if (l->ports != (l->n->ports_n ? 1 : 0))
		l->stale = true;
	if (!l->ports || l->stale)
		return 0;
	struct nlmsghdr *m = nft_question(buf, NFT_MSG_GETSETELEM, 0, NFPROTO_INET);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, l->n->table);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, "ports");
	int r = nft_ask(l->n, m, true, ports_seen, &c);
	l->stale |= c.wrong || c.seen != ports_distinct(l->n);
	return r;
}

static int layout_collect(struct layout *l)
{
	static const struct {
		uint16_t type, table_attr; /* 0: the kernel is asked for all tables' */
		mnl_cb_t seen;
	} parts[] = {
		{NFT_MSG_GETCHAIN, 0, chain_seen},
		{NFT_MSG_GETSET, NFTA_SET_TABLE, set_seen},
		{NFT_MSG_GETRULE, NFTA_RULE_TABLE, rule_seen},
	};
	uint8_t buf[512];

	struct nlmsghdr *m = nft_question(buf, NFT_MSG_GETTABLE, 0, NFPROTO_INET);
	mnl_attr_put_strz(m, NFTA_TABLE_NAME, l->n->table);
	int r = nft_ask(l->n, m, false, table_seen, l);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(parts) && !r; i++) {
		m = nft_question(buf, parts[i].type, 0, NFPROTO_INET);
		if (parts[i].table_attr)
			mnl_attr_put_strz(m, parts[i].table_attr, l->n->table);
		r = nft_ask(l->n, m, true, parts[i].seen, l);
	}
	return r ? r : layout_check_ports(l);
}

int nft_layout_read(struct nft *n)
{
	struct layout l = {.n = n};
	int r = nft_watch_restart(n);

	memset(n->sets, 0, sizeof(n->sets));
	if (r)
		return r;
	r = layout_collect(&l);
	if (r == -ENOENT)
		r = NFT_LAYOUT_ABSENT;
	else if (!r && (l.stale || l.chains != 3))
		r = NFT_LAYOUT_STALE;
	else if (!r && !layout_rules_right(&l))
		r = NFT_LAYOUT_RULES;
	layout_free(&l);
	return r;
}
