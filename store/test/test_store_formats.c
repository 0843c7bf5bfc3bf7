/* SPDX-License-Identifier: MPL-2.0
 *
 * Every store format that was ever written is read by every later build: formats/N/data.mdb was
 * written by the first build of format N, formats/N/reads.txt is what it holds. Neither is ever
 * changed; a new format gets a folder of its own, made with `test_store_formats --make FOLDER`.
 */
#include "store/test/test_folder.h"

#include "store/test/compact_suite.h"

#define FORMATS SOURCE_DIR "/store/test/formats"

enum { FORMAT_NEWEST = 1 };

/* What a store holds, as text ----------------------------------------------------------------- */

static void print_hex(FILE *out, const char *name, const void *bytes, size_t n)
{
	char *hex = kban_zalloc(2 * n + 1);

	fprintf(out, "%s %s", name, kban_hex(hex, bytes, n));
	free(hex);
}

static void print_hash(FILE *out, const char *name, const struct kban_hash *h)
{
	print_hex(out, name, h->b, sizeof(h->b));
	fputc('\n', out);
}

static int print_entry(void *arg, const struct kban_entry *e)
{
	struct kban_hash h;

	kban_sealed_hash(&h, &e->sealed);
	fprintf(arg, "entry %" PRIu64 " %" PRIu64, e->seq, e->accepted_ms);
	print_hash(arg, "", &h);
	return 0;
}

static int print_row(void *arg, struct kban_span key, struct kban_span value)
{
	struct kban_hash h;

	kban_hash_spans(&h, "row", &value, 1);
	print_hex(arg, "row", key.p, key.n);
	fprintf(arg, " %zu", value.n);
	print_hash(arg, "", &h);
	return 0;
}

static void print_ledger(FILE *out, const char *where, const struct ledger *l)
{
	struct kban_hash digest;

	ledger_digest(l, &digest);
	fprintf(out, "%s %" PRIu64, where, ledger_time_ms(l));
	print_hash(out, "", &digest);
}

static void print_store(FILE *out, struct store *s)
{
	struct store_head head;
	struct ledger *l = NULL;
	char *error = NULL;

	assert_int_equal(store_head(s, &head), 0);
	fprintf(out, "head %" PRIu64 " %u %" PRIu64, head.place.seq, head.place.epoch,
		head.accepted_ms);
	print_hash(out, "", &head.place.chain);
	fprintf(out, "horizon %" PRIu64 " %" PRIu64, head.horizon, head.horizon_ms);
	print_hash(out, "", &head.horizon_chain);
	assert_int_equal(store_read(s, 0, SIZE_MAX, print_entry, out), 0);
	assert_int_equal(store_rows(s, kban_span("", 0), print_row, out), 0);
	if (compact_load(s, &pairs[0].sign_public, &l, &error))
		fail_msg("%s", error);
	print_ledger(out, "state", l);
	assert_int_equal(store_read(s, head.horizon, SIZE_MAX, fold_on, l), 0);
	print_ledger(out, "folded", l);
	ledger_free(l);
}

/* Reading ------------------------------------------------------------------------------------- */

static struct store *formats_open(unsigned which, const struct kban_cluster_id *cluster)
{
	struct store *s = NULL;
	char *error = NULL;

	(void)which;
	if (store_lmdb_open(&s, test_folder, cluster, &error))
		fail_msg("%s", error);
	return s;
}

static void formats_wipe(unsigned which, const struct kban_cluster_id *cluster)
{
	(void)which;
	(void)cluster;
	folder_wipe();
}

static struct compact_engine compact_engine = {formats_open, formats_wipe, NULL, NULL, 0};

static void copy_file(const char *from, const char *to)
{
	size_t len;
	uint8_t *bytes = file_bytes(from, &len);

	write_file(to, bytes, len);
	free(bytes);
}

static void root_cluster(struct kban_cluster_id *out)
{
	struct ledger *l;

	ledger_new(&l, &pairs[0].sign_public);
	*out = *ledger_cluster(l);
	ledger_free(l);
}

static void assert_reads(unsigned format)
{
	struct kban_cluster_id cluster;
	char path[PATH_MAX], *got = NULL;
	size_t got_n = 0, want_n;

	root_cluster(&cluster);
	folder_wipe();
	assert_int_equal(mkdir(test_folder, 0700), 0);
	snprintf(path, sizeof(path), FORMATS "/%u/data.mdb", format);
	copy_file(path, in_folder("data.mdb"));
	struct store *s = formats_open(0, &cluster);
	FILE *out = open_memstream(&got, &got_n);
	print_store(out, s);
	fclose(out);
	assert_compacted(s);
	snprintf(path, sizeof(path), FORMATS "/%u/reads.txt", format);
	char *want = (char *)file_bytes(path, &want_n);
	assert_int_equal(got_n, want_n);
	assert_memory_equal(got, want, want_n);
	free(want);
	free(got);
	/* And it is written on. */
	struct kban_place place;
	struct ledger *l = load_whole(s);
	ledger_place(l, &place);
	ledger_free(l);
	char *error = NULL;
	struct compact *job;
	compact_new(&job, s, &pairs[0].sign_public, place.seq);
	int r;
	while (!(r = compact_step(job, &error)))
		;
	assert_int_equal(r, COMPACT_DONE);
	compact_free(job);
	assert_compacted(s);
	store_close(s);
}

static void every_format_is_read_as_it_was_written(void **state)
{
	(void)state;
	if (sizeof(size_t) != 8 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		skip(); /* LMDB's files are not for other machines */
	for (unsigned format = 1; format <= FORMAT_NEWEST; format++)
		assert_reads(format);
}

/* Making -------------------------------------------------------------------------------------- */

/* Without the room for growth at its end. */
static void trim(const char *path)
{
	size_t len;
	uint8_t *bytes = file_bytes(path, &len);

	while (len && !bytes[len - 1])
		len--;
	free(bytes);
	assert_int_equal(truncate(path, (off_t)((len + 4095) / 4096 * 4096)), 0);
}

/* A random history of every kind of event, compacted in its middle, and a node's rows. */
static void make(const char *folder)
{
	char path[PATH_MAX];
	struct story *s = story_begin(20);

	while (s->h.lines_n < ENTRIES)
		story_append(s);
	story_finish(s, ENTRIES * 2 / 3);
	store_begin(s->store);
	store_put(s->store, kban_span("p/var/log/a", 11), kban_span("a place", 7));
	store_put(s->store, kban_span("o\0\0\0\0\0\0\0\1", 9), kban_span("an event", 8));
	assert_int_equal(store_commit(s->store), 0);
	snprintf(path, sizeof(path), "%s/reads.txt", folder);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	print_store(out, s->store);
	fclose(out);
	store_close(s->store);
	s->store = NULL; /* before the file is copied */
	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	copy_file(in_folder("data.mdb"), path);
	trim(path);
	story_end(s);
}

static const char *make_in;

static void make_it(void **state)
{
	(void)state;
	make(make_in);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_is_read_as_it_was_written)};
	const struct CMUnitTest maker[] = {cmocka_unit_test(make_it)};

	kban_crypto_setup();
	pools_fill();
	folder_begin();
	make_in = argc == 3 && !strcmp(argv[1], "--make") ? argv[2] : NULL;
	int failed = make_in ? cmocka_run_group_tests_name("make", maker, NULL, NULL)
			     : cmocka_run_group_tests_name("formats", tests, NULL, NULL);
	folder_end();
	return failed ? 1 : 0;
}
