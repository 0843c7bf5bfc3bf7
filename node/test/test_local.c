/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/local.h"
#include "node/options.h"
#include "proto/log.h"

static char folder[] = "/tmp/kban-local-XXXXXX";

static char *put(const char *name, const char *text)
{
	char *path = kban_asprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static void drop(char *path)
{
	unlink(path);
	free(path);
}

static bool has(const struct local *l, const char *text, const char *why)
{
	struct kban_prefix p;

	assert_int_equal(kban_prefix_parse(&p, text), 0);
	for (size_t i = 0; i < l->n; i++)
		if (kban_prefix_equal(&l->v[i], &p))
			return !strcmp(l->why[i], why);
	return false;
}

static void gateways_come_from_the_routing_tables(void **state)
{
	static struct local l;
	char *v4 = put("route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
				"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"
				"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
				"eth1\t00006464\t090200C0\t0003\t0\t0\t0\t0000FFFF\n");
	char *v6 = put(
		"route6",
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
		"20010db8000000000000000000000000 40 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n");
	const struct local_paths paths = {.route4 = v4, .route6 = v6};

	(void)state;
	local_collect(&l, &paths, NULL, NULL);
	assert_true(has(&l, "192.0.2.1", "gateway"));
	assert_true(has(&l, "2001:db8::1", "gateway"));
	assert_int_equal(l.n, 2);
	drop(v4);
	drop(v6);
}

static void resolvers_come_from_resolv_conf(void **state)
{
	static struct local l;
	char *resolv = put(
		"resolv",
		"# nameserver 192.0.2.99\nsearch example.com\nnameserver 192.0.2.53\n"
		"nameserver\t2001:db8::53 # ours\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\n"
		"nameserver \nnameserverx 192.0.2.98\nnameserver 192.0.2.53\n");
	const struct local_paths paths = {.resolv = resolv};

	(void)state;
	local_collect(&l, &paths, NULL, NULL);
	assert_true(has(&l, "192.0.2.53", "resolver"));
	assert_true(has(&l, "2001:db8::53", "resolver"));
	assert_int_equal(l.n, 2);
	drop(resolv);
}

static void configured_prefixes_and_numeric_brokers_are_excepted(void **state)
{
	static struct local l;
	static struct kban_identity id;
	char v4[] = "198.51.100.0/24", v6[] = "2001:db8:1::/48";
	char *except[] = {v4, v6};
	const struct kban_strings list = {2, except};
	const struct local_paths paths = {0};

	(void)state;
	id.brokers_n = 3;
	strcpy(id.brokers[0].endpoint, "tcp://192.0.2.250:7400");
	strcpy(id.brokers[1].endpoint, "tcp://[2001:db8::250]:7400");
	strcpy(id.brokers[2].endpoint, "tcp://broker.example.com:7400");
	local_collect(&l, &paths, &id, &list);
	assert_true(has(&l, "198.51.100.0/24", "configured"));
	assert_true(has(&l, "2001:db8:1::/48", "configured"));
	assert_true(has(&l, "192.0.2.250", "broker"));
	assert_true(has(&l, "2001:db8::250", "broker"));
	assert_int_equal(l.n, 4);
}

static void missing_files_and_garbage_are_no_error(void **state)
{
	static struct local l;
	char *bad = put("bad", "\xff\xfe garbage\n%s%n zzzz\nnameserver not-an-address\n");
	const struct local_paths paths = {bad, bad, "/nonexistent/resolv.conf", true};

	(void)state;
	local_collect(&l, &paths, NULL, NULL);
	for (size_t i = 0; i < l.n; i++)
		assert_string_equal(l.why[i], "own address");
	drop(bad);
}

static void assert_advised(const char *text, const char *remedy)
{
	kban_auto(kban_free) void *said = local_check_prefix(text);

	assert_int_equal(!said, !remedy);
	if (remedy)
		assert_non_null(strstr(said, remedy));
}

static void prefixes_are_checked_with_a_remedy(void **state)
{
	(void)state;
	assert_advised("192.0.2.0/24", NULL);
	assert_advised("2001:db8::1", NULL);
	assert_advised("0.0.0.0/0", "backend = \"none\"");
	assert_advised("::/0", "backend = \"none\"");
	assert_advised("192.0.2.1/24", "did you mean 192.0.2.0/24, or 192.0.2.1 alone?");
	assert_advised("192.0.2.0/255.255.255.0", "write the length: 192.0.2.0/24");
	assert_advised("192.0.2.0-192.0.2.255", "did you mean 192.0.2.0/24?");
	assert_advised("192.0.2.*", "write the prefix: 192.0.2.0/24");
	assert_advised("192.0.2.1:25", "write the address alone: 192.0.2.1");
	assert_advised("mail.example.com", "name the address");
	assert_advised("office", "is no address or prefix, like 192.0.2.1");
}

/* From the file on, as an administrator meets it. */
static void a_bad_exception_in_the_file_names_the_remedy(void **state)
{
	char *path = put("node.conf", "except = {\"198.51.100.0/24\", \"192.0.2.7/28\"}\n");
	struct options o = {0};
	char *error = NULL;

	(void)state;
	assert_int_not_equal(options_load(&o, path, &error), 0);
	assert_non_null(strstr(error, "\"192.0.2.7/28\" is no value for except; has bits set"));
	assert_non_null(strstr(error, "did you mean 192.0.2.0/28, or 192.0.2.7 alone?"));
	free(error);
	options_free(&o);
	drop(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gateways_come_from_the_routing_tables),
		cmocka_unit_test(resolvers_come_from_resolv_conf),
		cmocka_unit_test(configured_prefixes_and_numeric_brokers_are_excepted),
		cmocka_unit_test(missing_files_and_garbage_are_no_error),
		cmocka_unit_test(prefixes_are_checked_with_a_remedy),
		cmocka_unit_test(a_bad_exception_in_the_file_names_the_remedy),
	};

	kban_log_setup("test", 0);
	kban_crypto_setup();
	if (!mkdtemp(folder))
		return 1;
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	rmdir(folder);
	return r;
}
