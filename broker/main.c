/* SPDX-License-Identifier: MPL-2.0
 *
 * kban-broker: options, configuration, and what a process that holds a secret and talks to
 * strangers gives up before it starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "broker/serve.h"
#include "proto/genesis.h"
#include "proto/log.h"

#define CONFIG_FILE  "/etc/kban/broker.conf"
#define FILES_WANTED (KBAN_PEERS_MAX + 256U)

struct config {
	struct kban_strings listen;
	char *identity, *genesis, *data;
};

static char *check_path(const char *value)
{
	return !*value || *value == '/' ? NULL : kban_strdup("write an absolute path");
}

static char *check_listen(const char *value)
{
	const char *port = strrchr(value, ':');
	char *end;

	if (strncmp(value, "tcp://", 6) || !port || port < value + 7)
		return kban_strdup("write tcp://ADDRESS:PORT, or tcp://*:PORT for every address");
	unsigned long n = strtoul(port + 1, &end, 10);
	if (port[1] < '0' || port[1] > '9' || *end || !n || n > 65535)
		return kban_strdup("write a port from 1 to 65535 after the last colon");
	return NULL;
}

static const struct kban_conf_option options[] = {
	{"listen", KBAN_CONF_STRINGS, offsetof(struct config, listen), "{\"tcp://*:7400\"}", 1,
	 KBAN_ENDPOINT_MAX, KBAN_BROKERS_MAX, check_listen,
	 "where peers connect to: tcp://ADDRESS:PORT"},
	{"identity", KBAN_CONF_STRING, offsetof(struct config, identity), "\"/etc/kban/broker.id\"",
	 1, 4095, 0, check_path, "the broker's identity file"},
	{"genesis", KBAN_CONF_STRING, offsetof(struct config, genesis),
	 "\"/etc/kban/genesis.kban\"", 0, 4095, 0, check_path,
	 "the first report of the log, from kbanctl init; read while the log is empty"},
	{"data", KBAN_CONF_STRING, offsetof(struct config, data), "\"/var/lib/kban/broker\"", 1,
	 4095, 0, check_path, "folder of the log; made if it is not there"},
	{0},
};

struct arguments {
	const char *config;
	bool check, debug;
};

static const char help[] =
	"usage: kban-broker [-c FILE] [-n] [-d]\n"
	"\n"
	"  -c, --config FILE  configuration (" CONFIG_FILE ")\n"
	"  -n, --check        check configuration, identity and genesis, then stop\n"
	"  -d, --debug        say more in the log\n"
	"      --version      print the version\n"
	"      --help         print this\n"
	"\n"
	"options in the file (NAME = VALUE, texts in double quotes):\n";

static void print_help(void)
{
	fputs(help, stdout);
	for (const struct kban_conf_option *o = options; o->name; o++)
		printf("  %-9s %s (%s)\n", o->name, o->help,
		       o->fallback ? o->fallback : "required");
}

/* -1: go on; otherwise the exit code. */
static int arguments_parse(struct arguments *a, int argc, char **argv)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'n'},
		{"debug", no_argument, NULL, 'd'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:nd", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			a->config = optarg;
			break;
		case 'n':
			a->check = true;
			break;
		case 'd':
			a->debug = true;
			break;
		case 'V':
			puts("kban-broker " KBAN_VERSION);
			return 0;
		case 'h':
			print_help();
			return 0;
		default:
			fputs("kban-broker: try kban-broker --help\n", stderr);
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "kban-broker: unexpected argument: %s; try kban-broker --help\n",
		argv[optind]);
	return 2;
}

/* The secret stays out of core files and other processes' reach, new files out of other users'. */
static int process_harden(void)
{
	struct rlimit none = {0, 0}, files;

	umask(077);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    setrlimit(RLIMIT_CORE, &none) || getrlimit(RLIMIT_NOFILE, &files))
		return -errno;
	if (files.rlim_cur < FILES_WANTED) {
		files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
		if (setrlimit(RLIMIT_NOFILE, &files))
			return -errno;
	}
	return 0;
}

static int identity_open(struct kban_identity *id, const char *path, char **error)
{
	unsigned line = 0;
	int r = kban_identity_load(id, path, &line);

	if (r) {
		*error = kban_identity_explain(r, path, line);
		return r < 0 ? r : -EINVAL;
	}
	if (id->role == KBAN_ROLE_BROKER)
		return 0;
	*error = kban_asprintf(
		"%s is an identity with the role %s; set identity to a broker's, from kbanctl init or "
		"broker add",
		path, kban_role_name(id->role));
	return -EINVAL;
}

/* Read only while there is no log, and needed then. */
static int genesis_check(const char *path, const char *data, char **error)
{
	kban_auto(kban_free) void *release = NULL;
	kban_auto(kban_free) void *log = kban_asprintf("%s/data.mdb", data);
	uint8_t *bytes = NULL;
	struct kban_sealed sealed;
	struct stat st;

	if (!stat(log, &st))
		return 0;
	int r = kban_genesis_load(path, &bytes, &sealed, error);
	release = bytes;
	return r > 0 ? -EINVAL : r;
}

static int run(const struct config *c, const struct arguments *a, char **error)
{
	kban_auto(kban_identity_wipe) struct kban_identity id = {0};
	struct serve_config serve = {
		.identity = &id, .listen = &c->listen, .data = c->data, .genesis = c->genesis};
	int r = identity_open(&id, c->identity, error);

	if (r || !a->check)
		return r ? r : serve_run(&serve, error);
	r = genesis_check(c->genesis, c->data, error);
	if (!r)
		puts("OK");
	return r;
}

int main(int argc, char **argv)
{
	struct arguments a = {.config = CONFIG_FILE};
	struct config c = {0};
	char *error = NULL;
	int r = arguments_parse(&a, argc, argv);

	if (r >= 0)
		return r;
	kban_log_setup("kban-broker", a.debug ? KBAN_LOG_DEBUG : KBAN_LOG_INFO);
	kban_crypto_setup();
	r = process_harden();
	if (r)
		error = kban_asprintf("cannot give up privileges: %s", strerror(-r));
	else
		r = kban_conf_load(&c, options, a.config, &error);
	if (!r)
		r = run(&c, &a, &error);
	if (r && a.check)
		fprintf(stderr, "%s\n", error ? error : strerror(-r));
	else if (r)
		kban_error("%s", error ? error : strerror(-r));
	free(error);
	kban_conf_free(&c, options);
	return r ? 1 : 0;
}
