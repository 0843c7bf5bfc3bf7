/* SPDX-License-Identifier: MPL-2.0
 *
 * Which design for prefixes: one masked hash set per length (node/nft.c), or one interval set with
 * a disjoint cover (interval.c)? Both are measured in the same run, interleaved, on this kernel.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "integration/bench/interval.h"
#include "integration/bench/sample.h"
#include "integration/bench/traffic.h"
#include "node/nft.h"

#define TIMEOUT_MS   86400000u
#define TABLE	     "masked"
#define PREFIXES     1000 /* in the packet measurement */
#define MANY	     10000
#define OWN_PACKETS  100
#define LOAD_AT_ONCE 1000 /* elements of one transaction */

struct settings {
	uint64_t seed;
	unsigned changes, bursts, safe;
	bool skip_changes, skip_packets;
};

/* Every failure here is the machine's: it ends the measurement. */
static void must(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "prefixes: %s: %s\n", what, strerror(r < 0 ? -r : r));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* transactions are done within the call */
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The masked design, through the node's own code */

static struct nft_set set_of(const struct kban_prefix *p)
{
	return (struct nft_set){NFT_BAN, p->family, p->len};
}

static void masked_load(struct nft *n, const struct kban_prefix *p, size_t count)
{
	nft_begin(n);
	for (size_t i = 0; i < count; i++) {
		nft_add(n, set_of(&p[i]), p[i].addr, TIMEOUT_MS);
		if (i % LOAD_AT_ONCE != LOAD_AT_ONCE - 1)
			continue;
		must(nft_commit(n), "loading hash sets");
		nft_begin(n);
	}
	must(nft_commit(n), "loading hash sets");
}

static struct nft *masked_open(const struct kban_prefix *p, size_t count)
{
	struct nft *n = NULL;

	must(nft_open(&n, TABLE, NULL, 0), "opening netlink");
	must(nft_layout_read(n) != NFT_LAYOUT_ABSENT ? -EEXIST : 0, "an empty namespace");
	nft_begin(n);
	nft_create(n);
	must(nft_commit(n), "making the table");
	masked_load(n, p, count);
	return n;
}

static void masked_change(struct nft *n, const struct kban_prefix *p, bool add)
{
	nft_begin(n);
	if (add)
		nft_add(n, set_of(p), p->addr, TIMEOUT_MS);
	else
		nft_delete(n, set_of(p), p->addr);
	must(nft_commit(n), "a change of a hash set");
}

/* One change */

enum design {
	MASKED,
	INTERVAL,
	DESIGNS,
};

static const char *const design_names[DESIGNS] = {"masked hash sets", "interval set"};

struct change_sample {
	struct sample add, delete;
	double replaced; /* pieces a change, on average */
};

struct rivals {
	struct nft *masked;
	struct interval *interval;
};

static void change_measure(const struct rivals *r, enum design d, const struct kban_prefix *p,
			   bool add, struct change_sample *s)
{
	double start = now_us();

	if (d == MASKED)
		masked_change(r->masked, p, add);
	else
		must(interval_change(r->interval, p, add ? TIMEOUT_MS + 5000 : 0),
		     "a change of the interval set");
	sample_add(add ? &s->add : &s->delete, now_us() - start);
	s->replaced += d == MASKED ? 1 : (double)interval_replaced(r->interval);
}

static void changes_print(const char *what, size_t n, struct change_sample s[DESIGNS])
{
	for (enum design d = 0; d < DESIGNS; d++) {
		struct change_sample *c = &s[d];
		printf("%-24s %8zu  %-17s %8.1f %8.1f %8.1f %8.1f %10.1f %9.1f\n", what, n,
		       design_names[d], sample_at(&c->add, 0.5), sample_at(&c->add, 0.99),
		       sample_at(&c->delete, 0.5), sample_at(&c->delete, 0.99),
		       c->replaced / (double)(c->add.n + c->delete.n),
		       sample_at(&c->add, 0.5) / sample_at(&s[MASKED].add, 0.5));
	}
	for (enum design d = 0; d < DESIGNS; d++) {
		sample_free(&s[d].add);
		sample_free(&s[d].delete);
	}
	fflush(stdout);
}

/* Both designs have had every length before: making a set is not what is measured here. */
static void changes_single(const struct settings *set, const struct rivals *r, uint64_t *seed,
			   const struct kban_prefix *held, size_t n)
{
	const uint8_t *lens = prefix_lengths(KBAN_IPV4);
	struct change_sample s[DESIGNS] = {0};

	for (unsigned i = 0; i < set->changes; i++) {
		struct kban_prefix p = prefix_random(seed, KBAN_IPV4, lens[i % 8]);
		size_t j = 0;
		while (j < n && !kban_prefix_equal(&held[j], &p))
			j++;
		if (j < n)
			continue;
		for (int add = 1; add >= 0; add--)
			for (enum design d = 0; d < DESIGNS; d++)
				change_measure(r, d, &p, add, &s[d]);
	}
	changes_print("one prefix, any length", n, s);
}

static void changes_wide(const struct settings *set, const struct rivals *r, size_t n)
{
	struct change_sample s[DESIGNS] = {0};
	struct kban_prefix wide = {KBAN_IPV4, 8, {10}};

	for (unsigned i = 0; i < set->changes / 20 + 10; i++)
		for (int add = 1; add >= 0; add--)
			for (enum design d = 0; d < DESIGNS; d++)
				change_measure(r, d, &wide, add, &s[d]);
	changes_print("a /8 over some of them", n, s);
}

static void changes_run(const struct settings *set)
{
	static const size_t counts[] = {10, 1000, MANY};
	uint64_t seed = set->seed;

	printf("One change, one transaction, us of processor time; present are IPv4 prefixes of "
	       "the lengths 32 24 16 "
	       "20 22 28 23 26\n%-24s %8s  %-17s %8s %8s %8s %8s %10s %9s\n",
	       "change", "present", "design", "add", "p99", "delete", "p99", "elements", "ratio");
	for (size_t i = 0; i < KBAN_ARRAY_LEN(counts); i++) {
		kban_auto(traffic_free) struct traffic *t = NULL;
		kban_auto(kban_free) void *memory = kban_zalloc((MANY + 8) *
								sizeof(struct kban_prefix));
		struct kban_prefix *p = memory;
		must(traffic_open(&t), "a network namespace (needs root, ip and nft)");
		size_t n = prefix_many(p, counts[i] < 8 ? 8 : counts[i], &seed, KBAN_IPV4, 8);
		struct rivals r = {.masked = masked_open(p, n)};
		must(interval_open(&r.interval), "the interval set");
		must(interval_load(r.interval, p, n, TIMEOUT_MS), "loading the interval set");
		changes_single(set, &r, &seed, p, n);
		changes_wide(set, &r, n);
		nft_free(r.masked);
		interval_free(r.interval);
	}
	putchar('\n');
}

/* Packets */

enum table {
	NOTHING,
	ONE_MASKED,
	ONE_INTERVAL,
	HYBRID, /* hash set for the single addresses, interval set for the rest */
	TABLES,
};

static const char *const table_names[TABLES] = {"none", "masked hash sets", "interval set",
						"hash set + interval"};

struct host { /* a namespace with one design in it */
	struct traffic *traffic;
	struct nft *masked;
	struct interval *interval;
	struct sample ns[2]; /* not banned, banned */
	uint64_t sent, want_passed;
};

struct line { /* of the table: what is compared with each other */
	enum kban_family family;
	size_t lengths, n, safe;
	struct kban_prefix *prefixes, *sources[2];
	struct host hosts[TABLES];
};

/* Ranges of so many lengths that are safe; none of the sources is in one. */
static void masked_safe(struct nft *n, enum kban_family family, size_t lengths)
{
	static const uint8_t range[16] = {192};

	nft_begin(n);
	for (size_t i = 0; i < lengths; i++) {
		struct nft_set set = {NFT_SAFE, (uint8_t)family, prefix_lengths(family)[i]};
		nft_add(n, set, range, NFT_FOREVER);
	}
	must(nft_commit(n), "making safe ranges");
}

static void host_open(struct host *h, enum table t, const struct kban_prefix *p, size_t n,
		      size_t first)
{
	must(traffic_open(&h->traffic), "a network namespace (needs root, ip and nft)");
	if (t == ONE_MASKED)
		h->masked = masked_open(p, n);
	if (t == HYBRID)
		h->masked = masked_open(p, first);
	if (t != ONE_INTERVAL && t != HYBRID)
		return;
	size_t from = t == HYBRID ? first : 0;
	must(interval_open(&h->interval), "the interval set");
	must(interval_load(h->interval, p + from, n - from, TIMEOUT_MS),
	     "loading the interval set");
}

static void line_open(struct line *l, uint64_t *seed)
{
	size_t first = 0;

	l->prefixes = kban_zalloc((PREFIXES + 1) * sizeof(*l->prefixes));
	l->n = prefix_many(l->prefixes, PREFIXES, seed, l->family, l->lengths);
	while (first < l->n && l->prefixes[first].len == l->prefixes[0].len)
		first++;
	for (int banned = 0; banned < 2; banned++) {
		l->sources[banned] = kban_zalloc(TRAFFIC_FRAMES * sizeof(**l->sources));
		for (size_t i = 0; i < TRAFFIC_FRAMES; i++)
			l->sources[banned][i] = prefix_address(seed, l->prefixes, l->n, banned);
	}
	for (enum table t = 0; t < TABLES; t++)
		host_open(&l->hosts[t], t, l->prefixes, l->n, first);
	masked_safe(l->hosts[ONE_MASKED].masked, l->family, l->safe);
}

static void line_free(struct line *l)
{
	for (enum table t = 0; t < TABLES; t++) {
		struct host *h = &l->hosts[t];
		nft_free(h->masked);
		interval_free(h->interval);
		traffic_free(h->traffic);
		sample_free(&h->ns[0]);
		sample_free(&h->ns[1]);
	}
	free(l->prefixes);
	free(l->sources[0]);
	free(l->sources[1]);
}

static void line_burst(struct line *l, bool record)
{
	for (int banned = 0; banned < 2; banned++)
		for (enum table t = 0; t < TABLES; t++) {
			struct host *h = &l->hosts[t];
			double ns;
			traffic_sources(h->traffic, l->sources[banned]);
			must(traffic_burst(h->traffic, &ns), "sending");
			h->want_passed += banned && t != NOTHING ? 0 : TRAFFIC_FRAMES;
			if (record)
				sample_add(&h->ns[banned], ns);
		}
}

/* What was measured was also right: only what is not banned came through. The kernel may send a few
 * packets of its own. */
static void line_check(const struct line *l)
{
	for (enum table t = 0; t < TABLES; t++) {
		uint64_t passed;
		must(traffic_passed(l->hosts[t].traffic, &passed), "reading the counter");
		if (passed - l->hosts[t].want_passed <= OWN_PACKETS)
			continue;
		fprintf(stderr, "prefixes: %s let %llu packets through, and not %llu\n",
			table_names[t], (unsigned long long)passed,
			(unsigned long long)l->hosts[t].want_passed);
		exit(1);
	}
}

static void line_print(struct line *l)
{
	for (enum table t = 0; t < TABLES; t++) {
		printf("IPv%u %8zu  %-20s", l->family, l->lengths, table_names[t]);
		for (int banned = 0; banned < 2; banned++) {
			struct sample *s = &l->hosts[t].ns[banned];
			double none = sample_at(&l->hosts[NOTHING].ns[banned], 0.5);
			double masked = sample_at(&l->hosts[ONE_MASKED].ns[banned], 0.5) - none;
			double mine = sample_at(s, 0.5) - none;
			printf(" | %6.0f (%4.0f-%4.0f) %+7.0f", sample_at(s, 0.5),
			       sample_at(s, 0.25), sample_at(s, 0.75), t == NOTHING ? 0 : mine);
			if (t == NOTHING)
				printf(" %6s", "");
			else
				printf(" %6.2f", mine / masked);
		}
		putchar('\n');
	}
	fflush(stdout);
}

static void packets_run(const struct settings *set)
{
	static const struct {
		enum kban_family family;
		size_t lengths;
	} rows[] = {
		{KBAN_IPV4, 1}, {KBAN_IPV4, 4}, {KBAN_IPV4, 8}, {KBAN_IPV4, 16}, {KBAN_IPV4, 25},
		{KBAN_IPV6, 1}, {KBAN_IPV6, 4}, {KBAN_IPV6, 8}, {KBAN_IPV6, 16}, {KBAN_IPV6, 40},
	};
	uint64_t seed = set->seed;

	printf("One packet, ns of processor time: median (quartiles), more than without a table, "
	       "ratio of that; "
	       "about "
	       "%u prefixes\n%-4s %8s  %-20s | %-34s | %-34s\n",
	       PREFIXES, "", "lengths", "design", "address not banned", "address banned");
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		struct line l = {
			.family = rows[i].family, .lengths = rows[i].lengths, .safe = set->safe};
		line_open(&l, &seed);
		for (unsigned burst = 0; burst < set->bursts + 3; burst++)
			line_burst(&l, burst >= 3);
		line_check(&l);
		line_print(&l);
		line_free(&l);
	}
}

static void usage(FILE *f)
{
	fputs("usage: integration/bench/prefixes [--changes N] [--bursts N] [--safe N] [--seed N] "
	      "[--only "
	      "changes|packets]\n"
	      "Compares masked hash sets (one per prefix length) with one interval set, on this "
	      "kernel, in network namespaces\nof its own, which end with it. Needs root, and two "
	      "minutes.\n"
	      "  --changes N  how often each change is made (default 2000)\n"
	      "  --bursts N   how often 2048 packets are sent (default 200)\n"
	      "  --safe N     with safe ranges of N lengths (default none) in the masked design\n"
	      "  --seed N     other prefixes (default 1)\n"
	      "  --only WHAT  one of the two measurements\n",
	      f);
}

static unsigned number(const char *option, const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || *text < '0' || *text > '9' || !v || v > 10000000) {
		fprintf(stderr, "prefixes: --%s takes a number from 1 to 10000000\n", option);
		exit(2);
	}
	return (unsigned)v;
}

static void only(struct settings *s, const char *what)
{
	s->skip_packets = !strcmp(what, "changes");
	s->skip_changes = !strcmp(what, "packets");
	if (s->skip_packets || s->skip_changes)
		return;
	fprintf(stderr, "prefixes: --only takes changes or packets\n");
	exit(2);
}

static void settings_take(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"changes", required_argument, NULL, 'c'},
		{"bursts", required_argument, NULL, 'b'},
		{"safe", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"only", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'c')
			s->changes = number("changes", optarg);
		else if (c == 'b')
			s->bursts = number("bursts", optarg);
		else if (c == 'f')
			s->safe = number("safe", optarg);
		else if (c == 's')
			s->seed = number("seed", optarg);
		else if (c == 'o')
			only(s, optarg);
		else {
			usage(c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (optind < argc || s->safe > LENGTHS4) {
		usage(stderr);
		exit(2);
	}
}

/* On one processor, before others: what is measured is to wait for nobody. */
static void settle(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	(void)setpriority(PRIO_PROCESS, 0, -20);
}

int main(int argc, char **argv)
{
	struct settings set = {.seed = 1, .changes = 2000, .bursts = 200};

	settings_take(&set, argc, argv);
	if (geteuid()) {
		fprintf(stderr, "prefixes: needs root, for network namespaces and nftables\n");
		return 77;
	}
	settle();
	if (!set.skip_changes)
		changes_run(&set);
	if (!set.skip_packets)
		packets_run(&set);
	return 0;
}
