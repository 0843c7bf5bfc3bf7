/* SPDX-License-Identifier: MPL-2.0
 *
 * The netlink layer and the wanted table by themselves; measurements are printed, not judged.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/enforce_mirror.h"

#define HOUR_MS 3600000u
#define MANY	300000u /* more than can be read back quickly */

static const struct nft_set ban32 = {NFT_BAN, KBAN_IPV4, 32};
static const struct nft_set safe64 = {NFT_SAFE, KBAN_IPV6, 64};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static const uint8_t *number(uint8_t addr[16], uint32_t i)
{
	memset(addr, 0, 16);
	addr[0] = 10;
	addr[1] = (uint8_t)(i >> 16);
	addr[2] = (uint8_t)(i >> 8);
	addr[3] = (uint8_t)i;
	return addr;
}

static struct nft *fresh(void)
{
	struct nft *n = NULL;

	assert_int_equal(system("nft flush ruleset"), 0);
	assert_int_equal(nft_open(&n, "kban", NULL, 0), 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_ABSENT);
	nft_begin(n);
	nft_create(n);
	assert_int_equal(nft_commit(n), 0);
	return n;
}

/* Which addresses get through: packets from the first and the last address of a prefix for every
 * length, and from the neighbours just outside, to the other end of a veth pair, where a later
 * table notes who came. */

#define LENGTHS4_FROM 8 /* nothing wider is ever banned */
#define LENGTHS6_FROM 16
#define PROBES_MAX    ((25 + 113) * 4)

struct probes {
	struct kban_prefix ranges[PROBES_MAX / 4]; /* one for each length, none near another */
	struct kban_prefix inside[PROBES_MAX / 2], outside[PROBES_MAX / 2];
	size_t ranges_n, inside_n, outside_n;
};

/* The address before the range or, by 1, the one after it. */
static struct kban_prefix neighbour(const struct kban_prefix *edge, int by)
{
	struct kban_prefix p = *edge;

	for (size_t i = p.family == KBAN_IPV4 ? 4 : 16; i-- > 0;) {
		p.addr[i] = (uint8_t)(p.addr[i] + by);
		if (p.addr[i] != (by > 0 ? 0 : 0xff)) /* nothing to carry */
			break;
	}
	return p;
}

static void probes_add(struct probes *s, uint8_t family, unsigned len, unsigned block)
{
	const unsigned bits = family == KBAN_IPV4 ? 32 : 128;
	struct kban_prefix p = {.family = family, .len = (uint8_t)bits}, first, last;

	memset(p.addr, 0x55, bits / 8);
	p.addr[0] = (uint8_t)block;
	if (family == KBAN_IPV6) {
		p.addr[0] = (uint8_t)(0x20 + block / 256);
		p.addr[1] = (uint8_t)block;
	}
	p = kban_prefix_mask(&p, len);
	first = last = p;
	first.len = last.len = (uint8_t)bits;
	for (unsigned bit = len; bit < bits; bit++)
		last.addr[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	s->ranges[s->ranges_n++] = p;
	s->inside[s->inside_n++] = first;
	if (len < bits)
		s->inside[s->inside_n++] = last;
	s->outside[s->outside_n++] = neighbour(&first, -1);
	s->outside[s->outside_n++] = neighbour(&last, 1);
}

static void probes_make(struct probes *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned len = LENGTHS4_FROM; len <= 32; len++)
		probes_add(s, KBAN_IPV4, len, 11 + 3 * (len - LENGTHS4_FROM));
	for (unsigned len = LENGTHS6_FROM; len <= 128; len++)
		probes_add(s, KBAN_IPV6, len, 3 + 3 * (len - LENGTHS6_FROM));
	assert_int_equal(s->outside_n, PROBES_MAX / 2);
}

static uint16_t header_sum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void probe_send(int fd, const struct kban_prefix *source)
{
	uint8_t frame[ETH_HLEN + sizeof(struct ip6_hdr)] = {2, 0, 0, 0, 0, 1};
	bool v4 = source->family == KBAN_IPV4;
	size_t n = ETH_HLEN + (v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr));

	memcpy(frame + 12, v4 ? "\x08\x00" : "\x86\xdd", 2);
	if (v4) {
		struct iphdr ip = {.ihl = 5, .version = 4, .ttl = 64, .protocol = 253};
		ip.tot_len = htons(sizeof(ip));
		memcpy(&ip.saddr, source->addr, 4);
		ip.daddr = htonl(0xc0000201);
		ip.check = header_sum((const uint8_t *)&ip, sizeof(ip));
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	} else {
		struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = 253, .ip6_hlim = 64};
		memcpy(&ip.ip6_src, source->addr, 16);
		memcpy(&ip.ip6_dst, "\x20\x01\x0d\xb8", 4);
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	}
	assert_int_equal(send(fd, frame, n, 0), (ssize_t)n);
}

static void probes_send(const struct kban_prefix *sources, size_t n)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("p0")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	for (size_t i = 0; i < n; i++)
		probe_send(fd, &sources[i]);
	close(fd);
}

/* Returns how many were seen of those; the later table forgets them. */
static size_t probes_seen(const struct kban_prefix *sources, size_t n)
{
	FILE *f = popen("nft list table inet later; nft flush set inet later v4; "
			"nft flush set inet later v6",
			"r");
	char word[64];
	size_t seen = 0;

	assert_non_null(f);
	while (fscanf(f, " %63[0-9a-f.:]", word) == 1 || fscanf(f, "%*[^0-9a-f.:]") != EOF) {
		struct kban_prefix p;
		if (kban_prefix_parse(&p, word))
			continue;
		word[0] = '\0';
		size_t i = 0;
		while (i < n && !kban_prefix_equal(&sources[i], &p))
			i++;
		seen += i < n;
	}
	pclose(f);
	return seen;
}

static size_t through(const struct kban_prefix *sources, size_t n)
{
	probes_send(sources, n);
	return probes_seen(sources, n);
}

static void probes_network(void)
{
	assert_int_equal(
		system("ip link show p0 >/dev/null 2>&1 || { ip link add p0 type veth peer name p1 "
		       "&& "
		       "ip link set p0 up && ip link set p1 address 02:00:00:00:00:01 up; }"),
		0);
	assert_int_equal(system("nft 'table inet later { "
				"set v4 { type ipv4_addr; flags dynamic; size 65535; } ; "
				"set v6 { type ipv6_addr; flags dynamic; size 65535; } ; "
				"chain in { type filter hook prerouting priority -309; "
				"add @v4 { ip saddr } ; add @v6 { ip6 saddr } ; drop; } ; }'"),
			 0);
}

static void every_length_blocks_exactly_its_range(void **state)
{
	struct nft *n = fresh();
	static struct probes s;

	(void)state;
	probes_make(&s);
	probes_network();
	assert_int_equal(through(s.inside, s.inside_n), s.inside_n);
	nft_begin(n);
	for (size_t i = 0; i < s.ranges_n; i++) {
		struct nft_set set = {NFT_BAN, s.ranges[i].family, s.ranges[i].len};
		nft_add(n, set, s.ranges[i].addr, HOUR_MS);
	}
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(through(s.inside, s.inside_n), 0);
	assert_int_equal(through(s.outside, s.outside_n), s.outside_n);
	assert_int_equal(nft_layout_read(n), 0);
	nft_free(n);
}

/* The mirror image: everything is banned, and what is safe gets through. */
static void every_length_of_safe_range_frees_exactly_its_range(void **state)
{
	static const uint8_t everywhere[2][16] = {{0}, {0x20}};
	struct nft *n = fresh();
	static struct probes s;

	(void)state;
	probes_make(&s);
	probes_network();
	nft_begin(n);
	nft_add(n, (struct nft_set){NFT_BAN, KBAN_IPV4, 1}, everywhere[0], HOUR_MS);
	nft_add(n, (struct nft_set){NFT_BAN, KBAN_IPV6, 3}, everywhere[1], HOUR_MS);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(through(s.inside, s.inside_n), 0);
	nft_begin(n);
	for (size_t i = 0; i < s.ranges_n; i++) {
		struct nft_set set = {NFT_SAFE, s.ranges[i].family, s.ranges[i].len};
		nft_add(n, set, s.ranges[i].addr, NFT_FOREVER);
	}
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(through(s.inside, s.inside_n), s.inside_n);
	assert_int_equal(through(s.outside, s.outside_n), 0);
	assert_int_equal(nft_layout_read(n), 0);
	nft_free(n);
}

static void element_count(void *arg, const uint8_t *addr, uint64_t left_ms)
{
	(void)addr;
	(void)left_ms;
	++*(size_t *)arg;
}

static size_t elements(struct nft *n, struct nft_set set)
{
	size_t count = 0;

	assert_int_equal(nft_dump(n, set, SIZE_MAX / 2, element_count, &count), 0);
	return count;
}

static void a_delete_of_what_is_not_there_is_left_out(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	nft_delete(n, ban32, number(addr, 2));
	nft_add(n, ban32, number(addr, 3), HOUR_MS);
	nft_delete(n, ban32, number(addr, 4));
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(elements(n, ban32), 2);
	nft_begin(n);
	nft_delete(n, ban32, number(addr, 2));
	assert_int_equal(nft_commit(n), 0);
	nft_begin(n);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), 0);
	nft_free(n);
}

static void a_set_that_somebody_took_away_fails_the_whole_transaction(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(system("nft flush ruleset"), 0);
	nft_begin(n);
	nft_add(n, ban32, number(addr, 2), HOUR_MS);
	assert_true(nft_commit(n) < 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_ABSENT);
	nft_free(n);
}

static void only_others_changes_touch(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	assert_int_equal(nft_layout_read(n), 0);
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	assert_int_equal(nft_commit(n), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft add table inet other"), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft add table ip kban"), 0);
	assert_true(nft_untouched(n));
	assert_int_equal(system("nft delete element inet kban ban4_32 '{ 10.0.0.1 }'"), 0);
	assert_false(nft_untouched(n));
	assert_int_equal(nft_layout_read(n), 0);
	assert_true(nft_untouched(n));
	nft_free(n);
}

static void a_set_is_exchanged_in_one_transaction(void **state)
{
	struct nft *n = fresh();
	uint8_t addr[16];

	(void)state;
	nft_begin(n);
	nft_add(n, ban32, number(addr, 1), HOUR_MS);
	nft_add(n, safe64, number(addr, 1), NFT_FOREVER);
	assert_int_equal(nft_commit(n), 0);
	for (int round = 0; round < 3; round++) { /* b, back, b */
		nft_begin(n);
		nft_swap_begin(n, ban32);
		nft_add(n, ban32, number(addr, 5), HOUR_MS);
		assert_int_equal(nft_commit(n), 0);
		nft_begin(n);
		nft_add(n, ban32, number(addr, 6), HOUR_MS);
		nft_swap_end(n, ban32);
		assert_int_equal(nft_commit(n), 0);
		assert_int_equal(elements(n, ban32), 2);
		assert_int_equal(nft_layout_read(n), 0);
		assert_int_equal(elements(n, ban32), 2);
	}
	/* Cut short: the set in use stays in use, and the other one goes. */
	nft_begin(n);
	nft_swap_begin(n, ban32);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), NFT_LAYOUT_RULES);
	assert_int_equal(elements(n, ban32), 2);
	nft_begin(n);
	nft_write_rules(n);
	assert_int_equal(nft_commit(n), 0);
	assert_int_equal(nft_layout_read(n), 0);
	assert_int_equal(elements(n, ban32), 2);
	nft_free(n);
}

/* The wanted table against a plain array, by a random history. */
static void wanted_table_agrees_with_a_simple_model(void **state)
{
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	struct wanted_group *g = wanted_group(w, ban32);
	static uint64_t model[500];
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)atoi(given) : (unsigned)now_us();
	uint8_t addr[16];
	uint64_t now = 1000;

	(void)state;
	print_message("SEED=%u\n", seed);
	srand(seed);
	for (int step = 0; step < 200000; step++) {
		unsigned i = (unsigned)rand() % 500;
		uint64_t until = rand() % 3 ? now + 1 + (unsigned)rand() % 300 : 0;
		struct wanted_entry *e = wanted_get(w, g, number(addr, i));
		assert_int_equal(e->until, model[i]);
		wanted_set(w, g, e, until, until);
		wanted_drop(w, g, e);
		model[i] = until;
		if (step % 7)
			continue;
		wanted_expire(w, ++now);
		size_t n = 0;
		for (unsigned j = 0; j < 500; j++) {
			model[j] = model[j] <= now ? 0 : model[j];
			n += model[j] > 0;
			e = wanted_find(w, g, number(addr, j));
			assert_int_equal(e ? e->until : 0, model[j]);
		}
		assert_int_equal(wanted_counts(w)->bans, n);
		assert_int_equal(g->n, n);
	}
}

static void want(struct wanted *w, uint32_t from, uint32_t to, uint64_t until, struct mirror *m)
{
	struct wanted_group *g = wanted_group(w, ban32);
	uint8_t addr[16];

	for (uint32_t i = from; i < to; i++) {
		struct wanted_entry *e = wanted_get(w, g, number(addr, i));
		wanted_set(w, g, e, until, e->kernel);
		mirror_changed(m, g, e);
	}
}

static void a_large_set_is_filled_anew_when_others_touched_it(void **state)
{
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	want(w, 0, MANY, until, &m);
	uint64_t begin = now_us();
	assert_int_equal(mirror_apply(&m), 0);
	print_message("bulk: %.2f million a second\n", (double)MANY / (double)(now_us() - begin));
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_true(mirror_untouched(&m));
	assert_int_equal(system("nft delete element inet kban ban4_32 '{ 10.0.0.1 }'; "
				"nft add element inet kban ban4_32 '{ 192.0.2.1 timeout 1h }'"),
			 0);
	assert_false(mirror_untouched(&m));
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("%u filled anew in %u ms\n", MANY, (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(m.repairs.refills, 1);
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_int_equal(system("nft get element inet kban ban4_32b '{ 10.0.0.1 }' >/dev/null"), 0);
	assert_int_not_equal(
		system("nft get element inet kban ban4_32b '{ 192.0.2.1 }' 2>/dev/null"), 0);
	assert_int_equal(system("nft flush ruleset"), 0);
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("%u back after a flush in %u ms\n", MANY,
		      (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(m.repairs.put_back, MANY);
	assert_int_equal(system("nft add chain inet kban mine"), 0);
	begin = now_us();
	assert_int_equal(mirror_compare(&m, true), 0);
	print_message("table with %u replaced in one transaction in %u ms\n", MANY,
		      (unsigned)((now_us() - begin) / 1000));
	assert_int_equal(wanted_counts(w)->bans_enforced, MANY);
	assert_int_equal(nft_layout_read(n), 0);
	mirror_release(&m);
}

static void want_prefix(struct mirror *m, const char *text, uint64_t until)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	struct nft_set set = {until > 1 ? NFT_BAN : NFT_SAFE, p.family, p.len};
	struct wanted_group *g = wanted_group(m->wanted, set);
	struct wanted_entry *e = wanted_get(m->wanted, g, p.addr);
	wanted_set(m->wanted, g, e, until, e->kernel);
	mirror_changed(m, g, e);
	assert_int_equal(mirror_apply(m), 0);
}

static void unwant_prefix(struct mirror *m, enum nft_kind kind, const char *text)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	struct wanted_group *g = wanted_group(m->wanted, (struct nft_set){kind, p.family, p.len});
	struct wanted_entry *e = wanted_find(m->wanted, g, p.addr);
	assert_non_null(e);
	wanted_set(m->wanted, g, e, 0, e->kernel);
	mirror_changed(m, g, e);
	assert_int_equal(mirror_apply(m), 0);
}

static bool has_set(const char *name)
{
	char command[128];

	snprintf(command, sizeof(command), "nft list set inet kban %s >/dev/null 2>&1", name);
	return system(command) == 0;
}

/* Every packet is looked up in every set that there is. */
static void a_length_that_nothing_uses_any_more_has_no_set(void **state)
{
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	for (int round = 0; round < 3; round++) {
		want_prefix(&m, "192.0.2.1", until);
		want_prefix(&m, "203.0.113.0/24", until);
		want_prefix(&m, "2001:db8::/48", until);
		want_prefix(&m, "198.51.100.0/28", WANTED_BY_NODE);
		assert_true(has_set("ban4_24") && has_set("ban6_48") && has_set("safe4_28"));
		unwant_prefix(&m, NFT_BAN, "192.0.2.1");
		unwant_prefix(&m, NFT_BAN, "203.0.113.0/24");
		unwant_prefix(&m, NFT_SAFE, "198.51.100.0/28");
		want_prefix(&m, "192.0.2.9", until); /* whatever comes next */
		assert_false(has_set("ban4_24") || has_set("safe4_28"));
		assert_true(has_set("ban4_32") && has_set("ban6_48"));
		unwant_prefix(&m, NFT_BAN, "192.0.2.9");
		assert_true(mirror_untouched(&m));
		assert_int_equal(nft_layout_read(n), 0);
		assert_int_equal(elements(n, (struct nft_set){NFT_BAN, KBAN_IPV6, 48}), 1);
	}
	/* Out and in again within one transaction. */
	want_prefix(&m, "203.0.113.0/24", until);
	unwant_prefix(&m, NFT_BAN, "203.0.113.0/24");
	want_prefix(&m, "203.0.113.0/24", until);
	assert_int_equal(elements(n, (struct nft_set){NFT_BAN, KBAN_IPV4, 24}), 1);
	assert_int_equal(nft_layout_read(n), 0);
	assert_int_equal(wanted_counts(w)->bans_enforced, wanted_counts(w)->bans);
	mirror_release(&m);
}

static void many_lengths_in_use_are_said_once(void **state)
{
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	char text[32];
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	for (unsigned len = 32; len > 32 - MIRROR_LENGTHS_MANY; len--) {
		snprintf(text, sizeof(text), "11.0.0.0/%u", len);
		want_prefix(&m, text, until);
		assert_false(m.many_lengths);
	}
	want_prefix(&m, "11.0.0.0/9", until);
	assert_true(m.many_lengths);
	unwant_prefix(&m, NFT_BAN, "11.0.0.0/9");
	want_prefix(&m, "11.0.0.1", until);
	assert_false(m.many_lengths);
	mirror_release(&m);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void a_single_ban_is_measured(void **state)
{
	enum { N = 20000 };
	static uint64_t took[N];
	kban_auto(nft_free) struct nft *n = fresh();
	kban_auto(wanted_free) struct wanted *w = wanted_new(7);
	const uint64_t until = now_us() / 1000 + HOUR_MS;
	struct mirror m;

	(void)state;
	mirror_init(&m, n, w);
	m.complete = true;
	assert_int_equal(mirror_compare(&m, true), 0);
	uint64_t begin = now_us();
	for (uint32_t i = 0; i < N; i++) {
		uint64_t start = now_us();
		want(w, i, i + 1, until, &m);
		assert_int_equal(mirror_apply(&m), 0);
		took[i] = now_us() - start;
	}
	double mean = (double)(now_us() - begin) / N;
	qsort(took, N, sizeof(*took), by_size);
	print_message("one ban, one transaction: mean %.1f, median %u, 99%% %u, worst %u us\n",
		      mean, (unsigned)took[N / 2], (unsigned)took[N * 99 / 100],
		      (unsigned)took[N - 1]);
	mirror_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_delete_of_what_is_not_there_is_left_out),
		cmocka_unit_test(a_set_that_somebody_took_away_fails_the_whole_transaction),
		cmocka_unit_test(only_others_changes_touch),
		cmocka_unit_test(a_set_is_exchanged_in_one_transaction),
		cmocka_unit_test(every_length_blocks_exactly_its_range),
		cmocka_unit_test(every_length_of_safe_range_frees_exactly_its_range),
		cmocka_unit_test(wanted_table_agrees_with_a_simple_model),
		cmocka_unit_test(a_large_set_is_filled_anew_when_others_touched_it),
		cmocka_unit_test(a_length_that_nothing_uses_any_more_has_no_set),
		cmocka_unit_test(many_lengths_in_use_are_said_once),
		cmocka_unit_test(a_single_ban_is_measured),
	};

	if (geteuid() || unshare(CLONE_NEWNET) || system("nft list ruleset")) {
		printf("needs root, network namespaces and nft\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
