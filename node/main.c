/* SPDX-License-Identifier: MPL-2.0
 *
 * kban-node: puts the parts together. The order matters: the child with CAP_NET_ADMIN is forked
 * before there is any thread or socket, then this process gives up its privileges, and only then
 * reads what others wrote. The replica is in the kernel before the service manager hears READY, so
 * that Kerio starts behind it.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/core.h"
#include "node/dealer.h"
#include "node/follow.h"
#include "node/local.h"
#include "node/options.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "store/lmdb.h"

#define TICK_MS	  100
#define FOLLOW_MS 1000
#define STATUS_MS 10000
#define KERNEL_WAIT_MS                                                                             \
	10000 /* for the replica to be in the kernel before READY; Kerio waits for this */

struct app {
	struct options options;
	struct kban_identity identity;
	struct local local;
	struct rules *rules;
	struct enforce *enforce;
	struct store *store;
	struct detector *detector;
	struct kban_loop *loop;
	struct dealer *dealer;
	struct node *node;
	struct follow *follow;
	const char *config;
	uint64_t batch; /* the newest one that was sent to the child */
	bool follow_soon;
	int failed;
};

static void app_fail(struct app *a, const char *what, int r)
{
	if (a->failed)
		return;
	a->failed = r;
	kban_error("%s: %s; ending, what is banned stays in the kernel", what,
		   strerror(r < 0 ? -r : EIO));
	if (a->loop)
		kban_loop_stop(a->loop);
}

/* The core's ports ----------------------------------------------------------------------------- */

static void port_send(void *arg, const uint8_t *bytes, size_t len)
{
	dealer_send(((struct app *)arg)->dealer, bytes, len);
}

static void port_connect(void *arg, size_t which)
{
	dealer_connect(((struct app *)arg)->dealer, which);
}

static void port_disconnect(void *arg)
{
	dealer_disconnect(((struct app *)arg)->dealer);
}

static uint64_t port_enforce(void *arg, const struct enforce_op *ops, size_t n, bool all)
{
	struct app *a = arg;

	if (all)
		enforce_begin_all(a->enforce);
	else
		enforce_begin(a->enforce);
	for (size_t i = 0; i < n; i++)
		enforce_op(a->enforce, &ops[i]);
	a->batch = enforce_commit(a->enforce);
	return a->batch;
}

static void port_forget(void *arg, const struct kban_prefix *p)
{
	detector_clear(((struct app *)arg)->detector, p);
}

static void port_random(void *arg, void *out, size_t len)
{
	(void)arg;
	kban_random(out, len);
}

static unsigned long long place_seq(const struct app *a)
{
	struct kban_place place;

	ledger_place(node_ledger(a->node), &place);
	return place.seq;
}

/* The loop's callbacks ------------------------------------------------------------------------- */

static void on_connected(void *arg)
{
	node_connected(((struct app *)arg)->node);
}

static void on_lost(void *arg)
{
	node_lost(((struct app *)arg)->node);
}

static void on_refused(void *arg)
{
	node_refused(((struct app *)arg)->node);
}

static void on_message(void *arg, const uint8_t *bytes, size_t len)
{
	struct app *a = arg;
	int r = node_receive(a->node, bytes, len);

	if (r < 0)
		app_fail(a, "cannot store what the broker sent", r);
}

static void on_tick(void *arg)
{
	struct app *a = arg;
	int r = node_tick(a->node);

	if (r < 0)
		app_fail(a, "cannot store", r);
}

static void on_enforce(void *arg)
{
	struct app *a = arg;
	int r = enforce_read(a->enforce);

	if (r < 0)
		app_fail(a, "the enforcing child is gone", r);
	else
		node_enforced(a->node, enforce_status(a->enforce));
}

static void on_log(void *arg);

static void on_log_soon(void *arg)
{
	((struct app *)arg)->follow_soon = false;
	on_log(arg);
}

static void on_log(void *arg)
{
	struct app *a = arg;
	int r = follow_read(a->follow);

	if (r < 0)
		app_fail(a, "cannot follow the log", r);
	/* A backlog takes turns with everything else. */
	if (r > 0 && !a->follow_soon) {
		a->follow_soon = true;
		(void)kban_loop_after(a->loop, 1, on_log_soon, a);
	}
}

/* The list of files comes from the configuration as it is now; the rest of that is read at start only. */
static int reload_rules(struct app *a, char **error)
{
	struct options options = {0};
	struct rules *rules = NULL;
	int r = options_load(&options, a->config, error);

	if (r)
		return r;
	r = options_rules(&options, &rules, error);
	options_free(&options);
	if (r)
		return r;
	follow_rules(a->follow, rules);
	rules_free(a->rules);
	a->rules = rules;
	return 0;
}

static void on_signal(void *arg, int signo)
{
	struct app *a = arg;
	char *error = NULL;

	if (signo != SIGHUP)
		return;
	if (reload_rules(a, &error))
		kban_error("%s: the rules stay as they were", error ? error : "cannot read the rules");
	else
		kban_info("the rules were read again; what else the configuration says is read at start only");
	free(error);
}

static void on_status(void *arg)
{
	struct app *a = arg;
	const struct node_counts *c = node_counts(a->node);
	kban_auto(kban_free) void *owned = NULL;
	char *text = kban_asprintf("%s, at entry %llu; %llu offences, %llu reports sent; %llu of "
				   "%llu bans in the kernel",
				   node_link_name(node_link(a->node)), place_seq(a),
				   (unsigned long long)c->offences,
				   (unsigned long long)c->reports_sent,
				   (unsigned long long)enforce_status(a->enforce)->bans_enforced,
				   (unsigned long long)enforce_status(a->enforce)->bans_wanted);

	owned = text;
	kban_loop_ready(a->loop, text);
	(void)owned;
}

/* Start ---------------------------------------------------------------------------------------- */

static int fail(char *error)
{
	kban_error("%s", error ? error : "cannot start");
	free(error);
	return 1;
}

static int load(struct app *a, const char *path, char **error)
{
	int r = options_load(&a->options, path, error);

	if (!r)
		r = options_identity(&a->options, &a->identity, error);
	if (!r)
		r = options_rules(&a->options, &a->rules, error);
	return r;
}

static int start_enforce(struct app *a, char **error)
{
	struct enforce_config config = {
		.backend = a->options.backend,
		.table = a->options.table,
		.ports_n = a->options.ports.n,
		.ports = a->options.port_numbers,
		.excepted_n = a->local.n,
		.excepted = a->local.v,
		.compare_s = (unsigned)a->options.compare_every,
	};
	int r = enforce_start(&a->enforce, &config, error);

	if (r)
		return r;
	r = enforce_drop_privileges();
	if (r)
		*error = kban_asprintf("cannot give up privileges: %s",
				       strerror(r < 0 ? -r : EPERM));
	return r;
}

static void start_detector(struct app *a)
{
	struct detector_config config = detector_defaults;
	uint8_t key[16];

	config.failures = (uint32_t)a->options.failures;
	config.check_s = (uint32_t)a->options.check_time;
	config.block_s = (uint32_t)a->options.block_time;
	config.failures_max = rules_failures_max(a->rules);
	kban_random(key, sizeof(key));
	detector_new(&a->detector, &config, key);
}

static int start_node(struct app *a, char **error)
{
	const struct node_ports ports = {
		port_send, port_connect, port_disconnect, port_enforce, port_forget, port_random,
		a};
	struct node_config config = {.identity = &a->identity,
				     .excepted_n = a->local.n,
				     .excepted = a->local.v,
				     .own_n = a->local.own_n,
				     .version = KBAN_VERSION,
				     .watching = !strcmp(a->options.backend, "none")};
	int r = store_lmdb_open(&a->store, a->options.data, &a->identity.cluster, error);

	if (r)
		return r;
	return node_new(&a->node, &config, a->store, &kban_clock_system, &ports, error);
}

static int start_loop(struct app *a, char **error)
{
	const struct dealer_calls calls = {on_connected, on_lost, on_refused, on_message, a};
	int r = kban_loop_new(&a->loop);

	if (r) {
		*error = kban_asprintf("cannot make the event loop: %s", strerror(-r));
		return r;
	}
	dealer_new(&a->dealer, a->loop, &a->identity, &calls);
	return 0;
}

/* A bounded wait: a kernel that refuses or is slow must not keep Kerio from starting. */
static void await_kernel(struct app *a)
{
	const struct kban_clock *clock = &kban_clock_system;
	uint64_t end = kban_boot_ms(clock) + KERNEL_WAIT_MS, now;

	while (enforce_status(a->enforce)->done < a->batch && !enforce_status(a->enforce)->failed &&
	       (now = kban_boot_ms(clock)) < end && !a->failed) {
		struct pollfd p = {.fd = enforce_fd(a->enforce), .events = POLLIN};

		if (poll(&p, 1, (int)(end - now)) > 0)
			on_enforce(a);
	}
	if (enforce_status(a->enforce)->done < a->batch && !a->failed)
		kban_warning("the bans of the replica are not all in the kernel yet");
	node_enforced(a->node, enforce_status(a->enforce));
}

static int start_follow(struct app *a, char **error)
{
	struct follow_config config = {
		.path = a->options.log,
		.start = strcmp(a->options.start, "end") ? TAIL_FROM_BEGINNING : TAIL_FROM_END,
		.rules = a->rules,
		.detector = a->detector,
		.node = a->node,
		.store = a->store,
		.clock = &kban_clock_system,
	};
	int r = follow_new(&a->follow, &config);

	if (r)
		*error = kban_asprintf("cannot follow %s: %s", a->options.log, strerror(-r));
	return r;
}

static int start(struct app *a, const char *path, char **error)
{
	int r = load(a, path, error);

	a->config = path;
	if (r)
		return r;
	local_collect(&a->local, &local_paths_system, &a->identity, &a->options.except);
	local_log(&a->local);
	if (!strcmp(a->options.backend, "none"))
		kban_warning("backend is none: nothing is blocked on this server, it only watches "
			     "and reports");
	if (!a->identity.brokers_n)
		kban_warning("%s names no broker: this server protects itself only",
			     a->options.identity);
	start_detector(a);
	r = start_enforce(a, error);
	if (!r)
		r = start_loop(a, error);
	if (!r)
		r = start_node(a, error);
	if (r)
		return r;
	await_kernel(a);
	return start_follow(a, error);
}

static int run(struct app *a)
{
	kban_loop_signal(a->loop, on_signal, a);
	kban_loop_fd(a->loop, enforce_fd(a->enforce), on_enforce, a);
	kban_loop_fd(a->loop, follow_fd(a->follow), on_log, a);
	(void)kban_loop_timer(a->loop, TICK_MS, on_tick, a);
	(void)kban_loop_timer(a->loop, FOLLOW_MS, on_log, a);
	(void)kban_loop_timer(a->loop, STATUS_MS, on_status, a);
	kban_info("ready: the replica is at entry %llu", place_seq(a));
	on_status(a);
	on_tick(a);
	on_log(a);
	int r = a->failed ? 0 : kban_loop_run(a->loop);

	if (r)
		app_fail(a, "the event loop ended", r);
	return a->failed ? 1 : 0;
}

static void app_end(struct app *a)
{
	follow_free(a->follow);
	node_free(a->node);
	dealer_free(a->dealer);
	kban_loop_free(a->loop);
	if (a->store)
		store_close(a->store);
	detector_free(a->detector);
	if (a->enforce)
		enforce_stop(a->enforce);
	rules_free(a->rules);
	options_free(&a->options);
	kban_identity_wipe(&a->identity);
}

/* The command line ----------------------------------------------------------------------------- */

static const char usage[] =
	"usage: kban-node [-n] [-c FILE] [--debug]\n"
	"\n"
	"  -c, --config FILE  configuration, default " OPTIONS_PATH "\n"
	"  -n, --check        check configuration, identity and rules, and say what is wrong\n"
	"      --debug        log more\n"
	"      --version      print the version\n"
	"  -h, --help         print this\n";

struct arguments {
	const char *config;
	bool check, debug;
};

enum {
	ARGUMENT_DEBUG = 256,
	ARGUMENT_VERSION,
};

/* 0 go on; 1 done, *status is the exit code. */
static int arguments_parse(struct arguments *args, int argc, char **argv, int *status)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'n'},
		{"debug", no_argument, NULL, ARGUMENT_DEBUG},
		{"version", no_argument, NULL, ARGUMENT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	*status = 0;
	while ((c = getopt_long(argc, argv, "c:nh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			args->config = optarg;
			break;
		case 'n':
			args->check = true;
			break;
		case ARGUMENT_DEBUG:
			args->debug = true;
			break;
		case ARGUMENT_VERSION:
			puts("kban-node " KBAN_VERSION);
			return 1;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			fputs(usage, stderr);
			*status = 2;
			return 1;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "kban-node: unexpected argument %s\n%s", argv[optind], usage);
	*status = 2;
	return 1;
}

/* No fault of the configuration: Kerio may be installed later, and makes the file when it logs. */
static void check_log(const char *path)
{
	if (access(path, R_OK))
		fprintf(stderr,
			"warning: cannot read %s: %s; nothing is detected until it is there: check "
			"`kerio` or `log`, and that Kerio's security log is on\n",
			path, strerror(errno));
}

static int check(struct app *a, const char *path)
{
	char *error = NULL;

	if (load(a, path, &error)) {
		fprintf(stderr, "%s\n", error ? error : "cannot check");
		free(error);
		return 1;
	}
	printf("%s: ok\n", path);
	check_log(a->options.log);
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments args = {.config = OPTIONS_PATH};
	static struct app app;
	char *error = NULL;
	int status;

	if (arguments_parse(&args, argc, argv, &status))
		return status;
	kban_log_setup("kban-node", args.debug ? KBAN_LOG_DEBUG : KBAN_LOG_INFO);
	kban_crypto_setup();
	if (args.check)
		status = check(&app, args.config);
	else if (start(&app, args.config, &error))
		status = fail(error);
	else
		status = run(&app);
	app_end(&app);
	return status;
}
