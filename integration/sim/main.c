/* SPDX-License-Identifier: MPL-2.0
 *
 * kban-sim: simulated fleets, one per seed. A seed that fails prints the command that replays it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integration/sim/final.h"
#include "proto/log.h"

#define STEPS 600

static void usage(FILE *to)
{
	fputs("usage: kban-sim [--seeds N] [--from SEED] [--steps N] [--verbose]\n"
	      "Runs N simulated fleets (default 200), each with faults, and checks them after every step.\n",
	      to);
}

static bool number(uint64_t *out, const char *text)
{
	char *end;

	*out = strtoull(text, &end, 10);
	return *text && !*end;
}

static const char *run_seed(struct world *w, uint64_t steps)
{
	const char *broken = NULL;

	for (uint64_t i = 0; i < steps && !broken; i++) {
		world_step(w);
		broken = world_check(w);
	}
	if (!broken)
		broken = world_heal(w);
	return broken ? broken : world_final(w);
}

static void add(struct world_counts *sum, const struct world *w)
{
	const uint64_t *from = (const uint64_t *)&w->counts;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

struct options {
	uint64_t seeds, from, steps, verbose;
};

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"seeds", required_argument, NULL, 's'},
					      {"from", required_argument, NULL, 'f'},
					      {"steps", required_argument, NULL, 'n'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		uint64_t *to = c == 's' ? &o->seeds : c == 'f' ? &o->from : c == 'n' ? &o->steps : NULL;
		if (c == 'h') {
			usage(stdout);
			exit(0);
		}
		if (c == 'v')
			o->verbose = 1;
		else if (!to || !number(to, optarg))
			return false;
	}
	return optind == argc && o->seeds;
}

int main(int argc, char **argv)
{
	struct options o = {200, 1, STEPS, 0};
	struct world_counts sum = {0};
	uint64_t failed = 0;

	if (!parse(&o, argc, argv)) {
		usage(stderr);
		return 2;
	}
	kban_crypto_setup();
	kban_log_setup("kban-sim", o.verbose ? KBAN_LOG_DEBUG : 0);
	for (uint64_t seed = o.from; seed < o.from + o.seeds; seed++) {
		struct world *w;
		world_new(&w, seed);
		const char *broken = run_seed(w, o.steps);
		if (broken) {
			failed++;
			printf("seed %llu: after step %llu: %s\n  replay: integration/sim/run --seeds 1 --from %llu --verbose\n",
			       (unsigned long long)seed, (unsigned long long)w->counts.steps, broken, (unsigned long long)seed);
		}
		add(&sum, w);
		world_free(w);
	}
	printf("%llu seeds, %llu failed: %llu steps, %llu crashes, %llu link cuts, %llu full disks, %llu offences, %llu operator's "
	       "events, %llu entries, %llu receipts, %llu compactions, %llu states taken\n",
	       (unsigned long long)o.seeds, (unsigned long long)failed, (unsigned long long)sum.steps,
	       (unsigned long long)sum.crashes, (unsigned long long)sum.cuts, (unsigned long long)sum.full_disks,
	       (unsigned long long)sum.offences, (unsigned long long)sum.operator_events, (unsigned long long)sum.entries,
	       (unsigned long long)sum.receipts, (unsigned long long)sum.compactions, (unsigned long long)sum.states);
	return failed ? 1 : 0;
}
