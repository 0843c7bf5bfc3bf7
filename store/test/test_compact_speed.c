/* SPDX-License-Identifier: MPL-2.0
 *
 * How long a start, a compaction and a taken-over state take: test_compact_speed [N], default 5000:
 * a log of N entries with a ban each, and a state of N bans. Printed, and not judged.
 */
#include <inttypes.h>
#include <time.h>

#include "store/test/test_folder.h"

#include "store/compact.h"
#include "store/install.h"
#include "store/pages.h"
#include "store/snapshot.h"
#include "store/test/crowd.h"

#define DAY_MS 86400000ULL

static size_t many = 5000;
static struct kban_keypair keys[3];

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct store *speed_open(const char *name, const struct kban_cluster_id *cluster)
{
	struct store *s = NULL;

	snprintf(test_folder, sizeof(test_folder), "%s/%s", test_root, name);
	assert_int_equal(store_lmdb_open(&s, test_folder, cluster, NULL), 0);
	return s;
}

static double file_mib(void)
{
	struct stat st;

	assert_int_equal(stat(in_folder("data.mdb"), &st), 0);
	return (double)st.st_size / (1 << 20);
}

static int fold_one(void *arg, const struct kban_entry *e)
{
	kban_auto(kban_report_free) struct kban_report *r = NULL;

	assert_int_equal(kban_report_decode(&r, &e->sealed), 0);
	ledger_apply(arg, e, r, NULL, NULL);
	return 0;
}

static void speed_start(struct store *s, const struct crowd *c, const char *what)
{
	struct ledger *l = NULL;
	struct store_head head;
	struct kban_hash a, b;
	char *error;
	double t = seconds();

	assert_int_equal(compact_load(s, &keys[0].sign_public, &l, &error), 0);
	double loaded = seconds();
	assert_int_equal(store_head(s, &head), 0);
	assert_int_equal(store_read(s, head.horizon, SIZE_MAX, fold_one, l), 0);
	print_message("start with %s: state %.2f s, fold of %" PRIu64 " entries %.2f s\n", what,
		      loaded - t, head.place.seq - head.horizon, seconds() - loaded);
	ledger_digest(l, &a);
	ledger_digest(c->ledger, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	ledger_free(l);
}

static void speed_job(struct store *s, uint64_t to)
{
	kban_auto(compact_free) struct compact *job = NULL;
	struct compact_counts n;
	char *error;
	double start = seconds(), longest = 0;
	unsigned steps = 0;
	int r = 0;

	compact_new(&job, s, &keys[0].sign_public, to);
	for (; !r; steps++) {
		double t = seconds();
		r = compact_step(job, &error);
		longest = seconds() - t > longest ? seconds() - t : longest;
	}
	assert_int_equal(r, COMPACT_DONE);
	compact_counts(job, &n);
	print_message("job: %.2f s in %u steps, the longest %.0f ms; folded %" PRIu64
		      ", pages %" PRIu64 ", kept %" PRIu64 ", dropped %" PRIu64 "; file %.0f MiB\n",
		      seconds() - start, steps, longest * 1e3, n.folded, n.pages, n.kept, n.dropped,
		      file_mib());
}

static struct crowd *speed_begin(void)
{
	struct crowd *c = crowd_new(&keys[0], &keys[1], &keys[2]);

	c->store = speed_open("log", ledger_cluster(c->ledger));
	crowd_found(c);
	return c;
}

static void speed_end(struct crowd *c)
{
	store_close(c->store);
	folder_wipe();
	crowd_free(c);
}

static void a_log_of_many_entries(void **state)
{
	struct crowd *c = speed_begin();

	(void)state;
	crowd_bans(c, many, 1, 1000); /* over after a second, and gone after a day */
	print_message("%zu entries, file %.0f MiB\n", many, file_mib());
	speed_start(c->store, c, "a whole log");
	speed_job(c->store, crowd_head(c));
	speed_start(c->store, c, "its state");
	speed_end(c);
}

struct giving {
	struct install *install;
	uint64_t horizon;
	char *error;
};

static int give_entry(void *arg, const struct kban_entry *e)
{
	struct giving *g = arg;

	return e->seq > g->horizon ? 1 : install_entries(g->install, e, 1, &g->error);
}

static void speed_install(struct crowd *c)
{
	struct store *s = speed_open("taken", ledger_cluster(c->ledger));
	struct ledger *l;
	struct giving g = {.horizon = crowd_head(c)};
	double t = seconds();
	int r = 0;

	install_new(&g.install, s, &keys[0].sign_public);
	for (uint32_t n = 0; !r; n++) {
		uint8_t *bytes = NULL;
		struct kban_state_page page;
		r = page_get(c->store, g.horizon, n, &bytes, &page.items_len);
		page.items = bytes;
		if (!r)
			assert_int_equal(install_pages(g.install, &page, 1, &g.error), 0);
		free(bytes);
	}
	assert_int_equal(install_pages_end(g.install, &g.error), 0);
	double paged = seconds();
	assert_int_equal(store_read(c->store, 0, SIZE_MAX, give_entry, &g), 0);
	assert_int_equal(install_wants(g.install), 0);
	install_begin(g.install);
	assert_int_equal(store_commit(s), 0);
	install_ledger(g.install, &l);
	print_message("taken over: pages %.2f s, evidence %.2f s\n", paged - t, seconds() - paged);
	install_free(g.install);
	ledger_free(l);
	speed_job(s, 0);
	store_close(s);
	folder_wipe();
	snprintf(test_folder, sizeof(test_folder), "%s/log", test_root);
}

static void a_state_of_many_bans(void **state)
{
	struct crowd *c = speed_begin();

	(void)state;
	crowd_bans(c, many, BAN_EVENTS, 100 * DAY_MS);
	print_message("%zu bans, file %.0f MiB\n", many, file_mib());
	speed_start(c->store, c, "a whole log");
	speed_job(c->store, crowd_head(c));
	speed_start(c->store, c, "its state");
	speed_install(c);
	speed_end(c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_of_many_entries),
		cmocka_unit_test(a_state_of_many_bans),
	};

	if (argc > 1)
		many = strtoull(argv[1], NULL, 10);
	kban_crypto_setup();
	for (size_t i = 0; i < KBAN_ARRAY_LEN(keys); i++) {
		uint8_t seed[32] = {'s', (uint8_t)i};
		kban_keypair_from_seed(&keys[i], seed);
	}
	folder_begin();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	folder_end();
	return failed;
}
