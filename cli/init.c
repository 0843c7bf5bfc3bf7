/* SPDX-License-Identifier: MPL-2.0
 *
 * `kbanctl init`: a new cluster.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/endpoint.h"
#include "proto/genesis.h"
#include "proto/identity.h"

struct founding {
	const struct context *ctx;
	struct endpoint endpoint;
	struct kban_identity root, operator, broker;
	const char *dir;
	char *root_path, *operator_path, *broker_path, *genesis_path;
};

static void founding_free(struct founding *f)
{
	kban_identity_wipe(&f->root);
	kban_identity_wipe(&f->operator);
	kban_identity_wipe(&f->broker);
	free(f->root_path);
	free(f->operator_path);
	free(f->broker_path);
	free(f->genesis_path);
}

static int name_option(const struct context *ctx, char out[KBAN_NAME_MAX + 1], const char *option,
		       const char *fallback)
{
	const char *name = args_get(&ctx->args, option);

	name = name ? name : fallback;
	if (!kban_name_valid(name, strlen(name)))
		return cli_fail(
			ctx, CLI_USAGE,
			"--%s takes 1 to %u of a-z 0-9 . -, starting with a letter or digit",
			option, KBAN_NAME_MAX);
	strcpy(out, name);
	return 0;
}

/* root signs, so it is made first; the others know its public half. */
static void identity_make(struct founding *f, struct kban_identity *id, enum kban_role role)
{
	kban_keypair_random(&id->keys);
	id->role = role;
	id->root = f->root.keys.sign_public;
	kban_cluster_id(&id->cluster, &id->root);
}

static void broker_ref(struct founding *f, struct kban_identity *id)
{
	id->brokers_n = 1;
	strcpy(id->brokers[0].endpoint, f->endpoint.text);
	id->brokers[0].curve = f->broker.keys.curve_public;
}

static void founding_make(struct founding *f)
{
	strcpy(f->root.name, "root");
	identity_make(f, &f->root, KBAN_ROLE_ROOT);
	identity_make(f, &f->operator, KBAN_ROLE_OPERATOR);
	identity_make(f, &f->broker, KBAN_ROLE_BROKER);
	broker_ref(f, &f->root);
	broker_ref(f, &f->operator);
	broker_ref(f, &f->broker);
	f->root_path = kban_asprintf("%s/root.key", f->dir);
	f->operator_path = kban_asprintf("%s/operator.id", f->dir);
	f->broker_path = kban_asprintf("%s/broker.id", f->dir);
	f->genesis_path = kban_asprintf("%s/genesis.kban", f->dir);
}

static int folder_make(const struct founding *f)
{
	const char *paths[] = {f->root_path, f->operator_path, f->broker_path, f->genesis_path};

	if (mkdir(f->dir, 0700) && errno != EEXIST)
		return cli_fail(f->ctx, CLI_FAILED, "cannot make %s: %s", f->dir, strerror(errno));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(paths); i++)
		if (!access(paths[i], F_OK))
			return cli_fail(
				f->ctx, CLI_FAILED,
				"%s is there already: nothing was written. A cluster is made "
				"once; for a second one use another --dir",
				paths[i]);
	return 0;
}

static struct kban_event grant(const struct kban_identity *id)
{
	return (struct kban_event){.kind = KBAN_EVENT_GRANT,
				   .grant = {
					   .key = id->keys.sign_public,
					   .curve = id->keys.curve_public,
					   .role = id->role,
					   .name = kban_text(id->name),
				   }};
}

static int genesis_write(const struct founding *f)
{
	struct kban_event events[] = {grant(&f->operator), grant(&f->broker),
				      endpoint_event(&f->endpoint, &f->broker.keys.curve_public)};
	struct kban_report report = {
		.cluster = f->root.cluster,
		.counter = 1,
		.base = {1, 0},
		.issued_ms = kban_wall_ms(f->ctx->clock),
		.events_n = KBAN_ARRAY_LEN(events),
		.events = events,
	};
	struct kban_sealed sealed;
	uint8_t *bytes = NULL;
	int r = kban_report_seal(&report, &f->root.keys, &bytes, &sealed);

	if (r)
		return cli_fail(f->ctx, CLI_FAILED, "cannot make the first report: %s",
				kban_report_result_name(r));
	r = kban_genesis_save(f->genesis_path, &sealed);
	free(bytes);
	return r ? cli_fail(f->ctx, CLI_FAILED, "cannot write %s: %s", f->genesis_path,
			    strerror(-r))
		 : 0;
}

static int identity_write(const struct founding *f, const struct kban_identity *id,
			  const char *path)
{
	int r = kban_identity_save(id, path);

	return r ? cli_fail_with(f->ctx, CLI_FAILED, kban_identity_explain(r, path, 0)) : 0;
}

static int founding_write(const struct founding *f)
{
	int r = folder_make(f);

	if (!r)
		r = identity_write(f, &f->root, f->root_path);
	if (!r)
		r = identity_write(f, &f->operator, f->operator_path);
	if (!r)
		r = identity_write(f, &f->broker, f->broker_path);
	return r ? r : genesis_write(f);
}

static const struct output_column columns[] = {
	{"cluster", OUTPUT_TEXT, 0, OUTPUT_ALL},  {"fingerprint", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"endpoint", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"addresses", OUTPUT_LIST, 0, OUTPUT_ALL},
	{"root_key", OUTPUT_TEXT, 0, OUTPUT_ALL}, {"operator", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{"broker", OUTPUT_TEXT, 0, OUTPUT_ALL},	  {"genesis", OUTPUT_TEXT, 0, OUTPUT_ALL},
	{NULL, OUTPUT_TEXT, 0, OUTPUT_ALL},
};

static int founding_show(const struct founding *f)
{
	char cluster[KBAN_HEX(KBAN_CLUSTER_SIZE)], fingerprint[KBAN_FINGERPRINT_TEXT];
	kban_auto(kban_free) void *addresses = endpoint_addresses(f->endpoint.addresses,
								  f->endpoint.addresses_n);
	kban_auto(output_free) struct output *o = NULL;

	cli_output(&o, f->ctx, columns, NULL, 0);
	output_string(o, kban_hex(cluster, f->root.cluster.b, KBAN_CLUSTER_SIZE));
	output_string(o, kban_fingerprint(fingerprint, &f->root.keys.sign_public));
	output_string(o, f->endpoint.text);
	output_string(o, addresses);
	output_string(o, f->root_path);
	output_string(o, f->operator_path);
	output_string(o, f->broker_path);
	output_string(o, f->genesis_path);
	return cli_output_end(f->ctx, o);
}

int init_run(struct context *ctx)
{
	__attribute__((cleanup(founding_free))) struct founding f = {.ctx = ctx};
	const char *dir = args_get(&ctx->args, "dir");

	f.dir = dir ? dir : "/etc/kban";
	int r = endpoint_take(ctx, &f.endpoint, "broker");
	if (!r)
		r = name_option(ctx, f.operator.name, "name", "operator");
	if (!r)
		r = name_option(ctx, f.broker.name, "broker-name", "broker");
	if (!r && !strcmp(f.operator.name, f.broker.name))
		r = cli_fail(ctx, CLI_USAGE, "operator and broker need different names");
	if (r)
		return r;
	founding_make(&f);
	r = founding_write(&f);
	if (!r)
		r = founding_show(&f);
	if (!r)
		cli_say(ctx,
			"\nNext:\n  copy %s and %s to /etc/kban on the broker's host and start "
			"kban-broker there\n"
			"  move %s to a place that is off line; whoever has it can make "
			"operators, and kbanctl does not need it again\n"
			"  kbanctl --identity %s node invite NAME",
			f.broker_path, f.genesis_path, f.root_path, f.operator_path);
	return r;
}
