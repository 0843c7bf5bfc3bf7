/* SPDX-License-Identifier: MPL-2.0
 *
 * Enforcement against the real kernel, in network namespaces of this process's own: one that
 * enforces and one whose clients connect. nft(8) plays the somebody else who changes our table.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/enforce_wire.h"
#include "proto/log.h"

#define DEADLINE_MS 20000
#define HOUR_MS	    3600000u

static int ns_server, ns_client;
static struct enforce *running; /* a failed test's child would fight with the next one's */

/* Small words for the tests */

__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...)
{
	char command[4096], quiet[4200];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(quiet, sizeof(quiet), "{ %s ; } >/dev/null 2>&1", command);
	return system(quiet);
}

static char *listing(const char *command)
{
	static char text[1 << 20];
	FILE *f = popen(command, "r");
	assert_non_null(f);
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	pclose(f);
	return text;
}

static bool in_kernel(const char *set, const char *element)
{
	return shell("nft get element inet kban %s '{ %s }'", set, element) == 0;
}

static struct kban_prefix prefix(const char *text)
{
	struct kban_prefix p;
	assert_int_equal(kban_prefix_parse(&p, text), 0);
	return p;
}

static void op(struct enforce *e, enum enforce_kind kind, const char *text, uint64_t ms)
{
	struct enforce_op o = {.kind = kind, .prefix = prefix(text)};

	if (kind == ENFORCE_BAN)
		o.until_boot_ms = enforce_boot_ms() + ms;
	enforce_op(e, &o);
}

static void pump(struct enforce *e)
{
	struct pollfd p = {.fd = enforce_fd(e), .events = POLLIN};

	poll(&p, 1, 20);
	assert_int_equal(enforce_read(e), 0);
}

#define wait_until(e, condition)                                                                   \
	do {                                                                                       \
		uint64_t deadline_ = enforce_boot_ms() + DEADLINE_MS;                              \
		while (!(condition)) {                                                             \
			if (enforce_boot_ms() > deadline_)                                         \
				fail_msg("waited too long for %s", #condition);                    \
			pump(e);                                                                   \
		}                                                                                  \
	} while (0)

static void commit(struct enforce *e)
{
	uint64_t batch = enforce_commit(e);

	wait_until(e, enforce_status(e)->done >= batch);
}

static void one(struct enforce *e, enum enforce_kind kind, const char *text)
{
	enforce_begin(e);
	op(e, kind, text, HOUR_MS);
	commit(e);
}

static struct enforce *start_with(const struct enforce_config *config)
{
	struct enforce *e = NULL;
	char *error = NULL;

	int r = enforce_start(&e, config, &error);
	if (r)
		fail_msg("%s", error);
	free(error);
	running = e;
	return e;
}

static void stop(struct enforce *e)
{
	running = NULL;
	enforce_stop(e);
}

static struct enforce *start(void)
{
	const struct enforce_config config = {.backend = "nftables", .compare_s = 3600};

	return start_with(&config);
}

/* Complete from the beginning, as a node is after its first replacement. */
static struct enforce *start_complete(void)
{
	struct enforce *e = start();

	enforce_begin_all(e);
	commit(e);
	return e;
}

static int table_gone(void **state)
{
	(void)state;
	if (running) {
		kill(enforce_child_pid(running), SIGCONT);
		stop(running);
	}
	shell("nft flush ruleset");
	return 0;
}

/* What is in the kernel */

static void table_is_made_and_nft_reads_it(void **state)
{
	const uint16_t ports[] = {25, 143, 993};
	const struct enforce_config config = {.backend = "nftables", .ports = ports, .ports_n = 3};
	struct enforce *e = start_with(&config);

	(void)state;
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	op(e, ENFORCE_BAN, "198.51.0.0/16", HOUR_MS);
	op(e, ENFORCE_BAN, "2001:db8:1:2::/64", HOUR_MS);
	op(e, ENFORCE_SAFE, "203.0.113.0/24", 0);
	commit(e);
	const char *text = listing("nft list table inet kban");
	assert_non_null(
		strstr(text, "type filter hook prerouting priority raw - 10; policy accept;"));
	assert_non_null(strstr(text, "tcp dport @ports jump ban"));
	assert_non_null(strstr(text, "ip saddr @ban4_32 counter packets 0 bytes 0 goto safe"));
	assert_non_null(strstr(text, "ip saddr & 255.255.0.0 == @ban4_16 counter"));
	assert_non_null(strstr(text, "ip6 saddr & ffff:ffff:ffff:ffff:: == @ban6_64 counter"));
	assert_non_null(strstr(text, "ip saddr & 255.255.255.0 == @safe4_24 accept\n"
				     "\t\tcounter packets 0 bytes 0 drop\n\t}"));
	stop(e);
	/* A second start finds all of it right: no difference, no repair. */
	e = start_with(&config);
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	commit(e);
	assert_int_equal(enforce_status(e)->repairs, 0);
	assert_true(in_kernel("ban4_32", "192.0.2.1"));
	assert_false(in_kernel("ban4_16", "198.51.0.0"));
	stop(e);
}

static void bans_come_and_go(void **state)
{
	static const struct {
		const char *text, *set, *element;
	} rows[] = {
		{"192.0.2.1", "ban4_32", "192.0.2.1"},
		{"198.51.0.0/16", "ban4_16", "198.51.0.0"},
		{"198.51.96.0/20", "ban4_20", "198.51.96.0"},
		{"2001:db8:1:2::/64", "ban6_64", "2001:db8:1:2::"},
		{"2001:db8::/32", "ban6_32", "2001:db8::"},
		{"64:ff9b::c000:201", "ban6_128", "64:ff9b::c000:201"},
	};
	struct enforce *e = start_complete();

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		one(e, ENFORCE_BAN, rows[i].text);
		assert_true(in_kernel(rows[i].set, rows[i].element));
		assert_int_equal(enforce_status(e)->bans_enforced, i + 1);
	}
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		one(e, ENFORCE_UNBAN, rows[i].text);
		assert_false(in_kernel(rows[i].set, rows[i].element));
	}
	assert_int_equal(enforce_status(e)->bans_wanted, 0);
	assert_int_equal(enforce_status(e)->bans_enforced, 0);
	assert_int_equal(enforce_status(e)->refused, 0);
	stop(e);
}

static void a_new_end_replaces_the_old_one(void **state)
{
	struct enforce *e = start_complete();

	(void)state;
	one(e, ENFORCE_BAN, "192.0.2.1");
	enforce_begin(e);
	op(e, ENFORCE_BAN, "192.0.2.1", 24 * HOUR_MS + 30000);
	commit(e);
	assert_non_null(strstr(listing("nft list set inet kban ban4_32"), "expires 1d"));
	/* Shorter, twice in one batch, and ended in the same batch. */
	enforce_begin(e);
	op(e, ENFORCE_BAN, "192.0.2.1", 2 * HOUR_MS);
	op(e, ENFORCE_BAN, "192.0.2.1", 3 * HOUR_MS + 30000);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	op(e, ENFORCE_UNBAN, "192.0.2.2", 0);
	commit(e);
	assert_non_null(strstr(listing("nft list set inet kban ban4_32"), "expires 3h"));
	assert_false(in_kernel("ban4_32", "192.0.2.2"));
	assert_int_equal(enforce_status(e)->bans_enforced, 1);
	assert_int_equal(enforce_status(e)->repairs, 0);
	stop(e);
}

static void a_ban_runs_out_and_is_not_put_back(void **state)
{
	struct enforce *e = start_complete();

	(void)state;
	enforce_begin(e);
	op(e, ENFORCE_BAN, "192.0.2.1", 300);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	commit(e);
	assert_int_equal(enforce_status(e)->bans_enforced, 2);
	wait_until(e, !in_kernel("ban4_32", "192.0.2.1"));
	wait_until(e, enforce_status(e)->bans_wanted == 1);
	enforce_compare(e);
	one(e, ENFORCE_BAN, "192.0.2.3");
	assert_false(in_kernel("ban4_32", "192.0.2.1"));
	assert_int_equal(enforce_status(e)->repairs, 0);
	stop(e);
}

/* The kernel is faster than the table: a delete finds nothing, and the rest of its batch must go
 * in. */
static void unban_of_what_just_ran_out_spoils_nothing(void **state)
{
	struct enforce *e = start_complete();

	(void)state;
	one(e, ENFORCE_BAN, "192.0.2.1");
	/* Taken away without a word to the child's table: it is stopped meanwhile. */
	kill(enforce_child_pid(e), SIGSTOP);
	shell("nft delete element inet kban ban4_32 '{ 192.0.2.1 }'");
	enforce_begin(e);
	op(e, ENFORCE_UNBAN, "192.0.2.1", 0);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	kill(enforce_child_pid(e), SIGCONT);
	commit(e);
	assert_false(enforce_status(e)->failed);
	assert_true(in_kernel("ban4_32", "192.0.2.2"));
	assert_int_equal(enforce_status(e)->bans_enforced, 1);
	stop(e);
}

static void ten_thousand_bans_in_one_batch(void **state)
{
	struct enforce *e = start_complete();
	uint64_t begin = enforce_boot_ms();

	(void)state;
	enforce_begin(e);
	for (unsigned i = 0; i < 10000; i++) {
		struct enforce_op o = {.kind = ENFORCE_BAN,
				       .until_boot_ms = begin + HOUR_MS,
				       .prefix = {KBAN_IPV4, 32, {198, 18, i >> 8, i & 255}}};
		enforce_op(e, &o);
	}
	commit(e);
	assert_int_equal(enforce_status(e)->bans_enforced, 10000);
	enforce_compare(e);
	one(e, ENFORCE_BAN, "192.0.2.1");
	assert_int_equal(enforce_status(e)->repairs, 0);
	stop(e);
}

/* Notifications of all changes of the ruleset; they are queued before the change is acknowledged.
 */
static int changes_watch(void)
{
	int group = NFNLGRP_NFTABLES;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);

	const struct sockaddr_nl self = {.nl_family = AF_NETLINK};

	assert_int_equal(bind(fd, (const struct sockaddr *)&self, sizeof(self)), 0);
	assert_int_equal(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)),
			 0);
	return fd;
}

/* How many elements with this address came or went. */
struct seen {
	unsigned added, deleted;
};

static void message_count(struct seen *seen, const struct nlmsghdr *m, const struct kban_prefix *p)
{
	if (!memmem(m, m->nlmsg_len, p->addr, p->family == KBAN_IPV4 ? 4 : 16))
		return;
	seen->added += (m->nlmsg_type & 0xff) == NFT_MSG_NEWSETELEM;
	seen->deleted += (m->nlmsg_type & 0xff) == NFT_MSG_DELSETELEM;
}

static void changes_read(int fd, struct seen *seen, const char *const *texts, size_t n)
{
	static uint8_t buf[1 << 20] __attribute__((aligned(8)));
	ssize_t got;

	while ((got = recv(fd, buf, sizeof(buf), 0)) > 0) {
		size_t left = (size_t)got;
		for (const struct nlmsghdr *m = (void *)buf; NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			for (size_t i = 0; i < n; i++) {
				struct kban_prefix p = prefix(texts[i]);
				message_count(&seen[i], m, &p);
			}
	}
	assert_int_equal(errno, EAGAIN);
}

static void replacement_keeps_what_stays(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "203.0.113.1"};
	struct seen seen[4] = {{0}};
	struct enforce *e = start_complete();

	(void)state;
	enforce_begin(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	op(e, ENFORCE_SAFE, "203.0.113.1", 0);
	commit(e);
	int watch = changes_watch();
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS + 500);
	op(e, ENFORCE_BAN, "192.0.2.3", HOUR_MS);
	op(e, ENFORCE_SAFE, "203.0.113.1", 0);
	commit(e);
	changes_read(watch, seen, texts, 4);
	close(watch);
	const struct seen none = {0, 0}, came = {1, 0}, went = {0, 1};
	assert_memory_equal(&seen[0], &none, sizeof(none));
	assert_memory_equal(&seen[1], &went, sizeof(went));
	assert_memory_equal(&seen[2], &came, sizeof(came));
	assert_memory_equal(&seen[3], &none, sizeof(none));
	assert_int_equal(enforce_status(e)->bans_enforced, 2);
	stop(e);
}

static void what_an_earlier_run_left_stays_until_the_replacement(void **state)
{
	struct enforce *e = start_complete();

	(void)state;
	one(e, ENFORCE_BAN, "192.0.2.1");
	one(e, ENFORCE_BAN, "192.0.2.2");
	stop(e);
	e = start();
	one(e, ENFORCE_BAN, "192.0.2.3");
	assert_true(in_kernel("ban4_32", "192.0.2.1"));
	assert_int_equal(enforce_status(e)->bans_enforced, 1);
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	commit(e);
	assert_false(in_kernel("ban4_32", "192.0.2.1"));
	assert_true(in_kernel("ban4_32", "192.0.2.2"));
	assert_false(in_kernel("ban4_32", "192.0.2.3"));
	assert_int_equal(enforce_status(e)->repairs, 0);
	stop(e);
}

static void another_versions_table_is_replaced(void **state)
{
	(void)state;
	assert_int_equal(
		shell("nft 'table inet kban { set old { type ipv4_addr; elements = { 192.0.2.9 } ; "
		      "}; "
		      "chain in { type filter hook input priority 0; ip saddr @old drop; } ; }'"),
		0);
	struct enforce *e = start();
	assert_true(in_kernel("old", "192.0.2.9"));
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	commit(e);
	assert_true(in_kernel("ban4_32", "192.0.2.1"));
	assert_null(strstr(listing("nft list ruleset"), "old"));
	stop(e);
}

/* Somebody else */

/* The child hears of no change any more, as when the kernel had to drop its notifications unseen. */
static void deafen(pid_t child)
{
	int group = NFNLGRP_NFTABLES, pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	unsigned dropped = 0;

	assert_true(pidfd >= 0);
	for (int fd = 0; fd < 64; fd++) {
		int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		if (copy >= 0 && !setsockopt(copy, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group)))
			dropped++;
		kban_close(copy);
	}
	close(pidfd);
	assert_true(dropped > 0);
}

static void what_no_notification_told_of_is_found_by_the_periodic_comparison(void **state)
{
	const struct enforce_config config = {.backend = "nftables", .compare_s = 1};
	struct enforce *e = start_with(&config);

	(void)state;
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	commit(e);
	deafen(enforce_child_pid(e));
	assert_int_equal(shell("nft flush set inet kban ban4_32"), 0);
	wait_until(e, enforce_status(e)->repairs > 0);
	assert_int_equal(shell("nft get element inet kban ban4_32 '{ 192.0.2.1 }'"), 0);
	stop(e);
}

/* Its sets are good; its rules asked for safe ranges before they asked for bans. */
static void an_earlier_versions_rules_are_replaced_and_its_bans_kept(void **state)
{
	struct enforce *e = start_complete();

	(void)state;
	one(e, ENFORCE_SAFE, "203.0.113.1");
	one(e, ENFORCE_BAN, "192.0.2.1");
	stop(e);
	assert_int_equal(
		shell("nft 'flush chain inet kban filter ; flush chain inet kban ban ; "
		      "flush chain inet kban safe ; "
		      "add rule inet kban safe ip saddr @safe4_32 accept ; "
		      "add rule inet kban ban ip saddr @ban4_32 counter drop ; "
		      "add rule inet kban filter jump safe ; add rule inet kban filter jump ban'"),
		0);
	e = start();
	assert_true(in_kernel("ban4_32", "192.0.2.1"));
	const char *text = listing("nft list table inet kban");
	assert_non_null(strstr(text, "ip saddr @ban4_32 counter packets 0 bytes 0 goto safe"));
	assert_null(strstr(text, "jump safe"));
	stop(e);
}

static void others_changes_are_undone(void **state)
{
	static const struct {
		const char *change;
		bool counts;
	} rows[] = {
		{"nft flush ruleset", true},
		{"nft delete table inet kban", true},
		{"nft flush set inet kban ban4_32", true},
		{"nft delete element inet kban ban4_32 '{ 192.0.2.1 }'", true},
		{"nft delete element inet kban safe4_32 '{ 203.0.113.1 }'", true},
		{"nft add element inet kban ban4_32 '{ 192.0.2.77 timeout 1h }'", true},
		{"nft add element inet kban safe4_32 '{ 192.0.2.77 }'", true},
		{"nft 'delete element inet kban ban4_32 { 192.0.2.1 } ; "
		 "add element inet kban ban4_32 { 192.0.2.1 timeout 9h }'",
		 true},
		{"nft flush chain inet kban ban", true},
		{"nft flush chain inet kban safe", true},
		{"nft 'flush chain inet kban safe ; add rule inet kban safe counter drop ; "
		 "add rule inet kban safe ip saddr @safe4_32 accept'",
		 true},
		{"nft flush chain inet kban filter", true},
		{"nft insert rule inet kban filter accept", true},
		{"nft insert rule inet kban safe ip saddr 192.0.2.1 accept", true},
		{"nft add chain inet kban mine", true},
		{"nft add set inet kban mine '{ type ipv4_addr; }'", true},
		{"nft add table inet kban '{ flags dormant; }'", true},
		{"nft add table inet other", false},
	};
	struct enforce *e = start_complete();
	char want[8192];

	(void)state;
	one(e, ENFORCE_SAFE, "203.0.113.1");
	one(e, ENFORCE_BAN, "192.0.2.1");
	const char *sets =
		"nft -s list table inet kban | sed 's/expires [0-9a-z]*//; s/timeout 9h/X/;"
		" s/timeout [0-9a-z]*//'";
	snprintf(want, sizeof(want), "%s", listing(sets));
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		uint64_t before = enforce_status(e)->repairs;
		uint64_t begin = enforce_boot_ms();
		assert_int_equal(shell("%s", rows[i].change), 0);
		if (rows[i].counts)
			wait_until(e, enforce_status(e)->repairs > before);
		print_message("undone in %u ms: %s\n", (unsigned)(enforce_boot_ms() - begin),
			      rows[i].change);
		assert_string_equal(listing(sets), want);
		assert_int_equal(enforce_status(e)->bans_enforced, 1);
		assert_int_equal(enforce_status(e)->safes_enforced, 1);
	}
	stop(e);
}

/* What the child refuses */

static void refused_operations_are_counted_and_harm_nothing(void **state)
{
	const struct kban_prefix own = prefix("192.0.2.200");
	const struct enforce_config config = {
		.backend = "nftables", .excepted = &own, .excepted_n = 1};
	struct enforce *e = start_with(&config);
	const uint64_t now = enforce_boot_ms();
	const struct enforce_op bad[] = {
		{ENFORCE_BAN, prefix("127.0.0.1"), now + HOUR_MS},
		{ENFORCE_BAN, prefix("::1"), now + HOUR_MS},
		{ENFORCE_BAN, prefix("224.0.0.1"), now + HOUR_MS},
		{ENFORCE_BAN, prefix("203.0.113.9"), now + HOUR_MS}, /* safe */
		{ENFORCE_BAN, own, now + HOUR_MS},
		{ENFORCE_BAN, prefix("192.0.2.1"), now - 1},
		{ENFORCE_BAN, prefix("192.0.2.1"), now + 400ull * 24 * HOUR_MS},
		{ENFORCE_BAN, {KBAN_IPV4, 0, {0}}, now + HOUR_MS},
		{ENFORCE_SAFE, {KBAN_IPV6, 0, {0}}, 0},
		{ENFORCE_BAN, {KBAN_IPV4, 33, {192, 0, 2, 1}}, now + HOUR_MS},
		{ENFORCE_BAN, {KBAN_IPV4, 24, {192, 0, 2, 1}}, now + HOUR_MS}, /* host bits */
		{ENFORCE_BAN, {KBAN_IPV4, 32, {192, 0, 2, 1, 1}}, now + HOUR_MS},
		{ENFORCE_BAN, {5, 32, {192, 0, 2, 1}}, now + HOUR_MS},
		{77, prefix("192.0.2.1"), now + HOUR_MS},
	};

	(void)state;
	assert_true(in_kernel("safe4_32", "192.0.2.200"));
	enforce_begin_all(e);
	op(e, ENFORCE_SAFE, "203.0.113.0/24", 0);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(bad); i++)
		enforce_op(e, &bad[i]);
	op(e, ENFORCE_BAN, "192.0.2.2", HOUR_MS);
	op(e, ENFORCE_UNSAFE, "192.0.2.200", 0);
	commit(e);
	assert_int_equal(enforce_status(e)->refused, KBAN_ARRAY_LEN(bad));
	assert_int_equal(enforce_status(e)->bans_enforced, 1);
	assert_int_equal(enforce_status(e)->safes_enforced, 1);
	assert_true(in_kernel("safe4_32", "192.0.2.200"));
	stop(e);
}

static void too_many_safe_ranges_show_in_the_status(void **state)
{
	struct enforce *e = start();
	char text[32];

	(void)state;
	enforce_begin_all(e);
	for (unsigned i = 0; i < ENFORCE_SAFES_MAX + 1; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", i / 256, i % 256);
		op(e, ENFORCE_SAFE, text, 0);
	}
	commit(e);
	assert_int_equal(enforce_status(e)->refused, 1);
	assert_false(enforce_status(e)->failed);
	assert_non_null(strstr(enforce_status(e)->error, "10000 safe ranges"));
	enforce_begin_all(e);
	op(e, ENFORCE_SAFE, "10.0.0.1", 0);
	commit(e);
	assert_string_equal(enforce_status(e)->error, "");
	stop(e);
}

static void every_refusal_of_the_kernel_has_a_remedy(void **state)
{
	(void)state;
	assert_non_null(strstr(enforce_remedy(-ENFILE), "full"));
	assert_non_null(strstr(enforce_remedy(-ENOSPC), "full"));
	assert_non_null(strstr(enforce_remedy(-EOPNOTSUPP), "modprobe"));
	assert_non_null(strstr(enforce_remedy(-EPERM), "CAP_NET_ADMIN"));
	assert_non_null(strstr(enforce_remedy(-EIO), "log"));
}

static uint64_t status_field(pid_t pid, const char *field)
{
	char path[64], line[256];
	uint64_t value = 77;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			value = strtoull(line + strlen(field) + 1, NULL, 16);
	fclose(f);
	return value;
}

static void capabilities_check(pid_t pid, uint64_t kept)
{
	assert_int_equal(status_field(pid, "CapInh"), 0);
	assert_int_equal(status_field(pid, "CapPrm"), kept);
	assert_int_equal(status_field(pid, "CapEff"), kept);
	assert_int_equal(status_field(pid, "CapBnd"), 0);
	assert_int_equal(status_field(pid, "CapAmb"), 0);
	assert_int_equal(status_field(pid, "NoNewPrivs"), 1);
}

/* In a process of its own: the tests after this one need their capabilities. */
static void node_has_no_capability_and_the_child_one(void **state)
{
	(void)state;
	pid_t node = fork();
	if (!node) {
		struct enforce *e = start();
		assert_int_equal(enforce_drop_privileges(), 0);
		capabilities_check(getpid(), 0);
		capabilities_check(enforce_child_pid(e), 1u << 12); /* CAP_NET_ADMIN */
		assert_int_not_equal(shell("nft add table inet forbidden"), 0);
		one(e, ENFORCE_BAN, "192.0.2.1");
		stop(e);
		_exit(0);
	}
	int status;
	waitpid(node, &status, 0);
	assert_int_equal(status, 0);
	assert_true(in_kernel("ban4_32", "192.0.2.1"));
}

static void without_the_capability_start_says_what_to_do(void **state)
{
	(void)state;
	pid_t node = fork();
	if (!node) {
		const struct enforce_config config = {.backend = "nftables"};
		struct enforce *e = NULL;
		char *error = NULL;
		assert_int_equal(enforce_drop_privileges(), 0);
		int r = enforce_start(&e, &config, &error);
		_exit(r == -EPERM && error && strstr(error, "CAP_NET_ADMIN") ? 0 : 1);
	}
	int status;
	waitpid(node, &status, 0);
	assert_int_equal(status, 0);
}

static void a_dead_child_is_noticed(void **state)
{
	struct enforce *e = start_complete();
	struct pollfd p = {.fd = enforce_fd(e), .events = POLLIN};

	(void)state;
	kill(enforce_child_pid(e), SIGKILL);
	poll(&p, 1, DEADLINE_MS);
	assert_int_equal(enforce_read(e), -EPIPE);
	stop(e);
}

static void a_busy_child_holds_nobody_up(void **state)
{
	struct enforce *e = start_complete();
	const uint64_t until = enforce_boot_ms() + HOUR_MS;

	(void)state;
	kill(enforce_child_pid(e), SIGSTOP);
	for (unsigned b = 0; b < 300; b++) { /* more than the socket holds */
		enforce_begin(e);
		for (unsigned i = 0; i < 1000; i++) {
			struct enforce_op o = {ENFORCE_BAN,
					       {KBAN_IPV4, 32, {198, 18, i >> 8, i & 255}},
					       until + b};
			enforce_op(e, &o);
		}
		enforce_commit(e);
	}
	enforce_begin_all(e); /* supersedes what waits */
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	kill(enforce_child_pid(e), SIGCONT);
	commit(e);
	assert_int_equal(enforce_status(e)->bans_enforced, 1);
	assert_int_equal(enforce_status(e)->bans_wanted, 1);
	stop(e);
}

static void backend_none_is_done_at_once(void **state)
{
	const struct enforce_config config = {.backend = "none"};
	struct enforce *e = start_with(&config);

	(void)state;
	enforce_begin_all(e);
	op(e, ENFORCE_BAN, "192.0.2.1", HOUR_MS);
	uint64_t batch = enforce_commit(e);
	assert_int_equal(enforce_status(e)->done, batch);
	assert_int_equal(enforce_read(e), 0);
	assert_int_equal(enforce_status(e)->bans_wanted, 0);
	stop(e);
}

/* Connections */

static union address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
} address(const char *text, uint16_t port)
{
	union address a = {0};

	if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		return a;
	}
	assert_int_equal(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
	a.v6.sin6_family = AF_INET6;
	a.v6.sin6_port = htons(port);
	return a;
}

static int listen_on(const char *text, uint16_t port, bool v6_only)
{
	union address a = address(text, port);
	int on = 1, only = v6_only;
	int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	assert_int_equal(bind(fd, &a.sa, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

struct connection {
	int client, server;
};

static struct connection connection(int listener, const char *from, const char *to, uint16_t port)
{
	union address a = address(from, 0), b = address(to, port);
	struct connection c;

	assert_int_equal(setns(ns_client, CLONE_NEWNET), 0);
	c.client = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(ns_server, CLONE_NEWNET), 0);
	assert_int_equal(bind(c.client, &a.sa, sizeof(a)), 0);
	assert_int_equal(connect(c.client, &b.sa, sizeof(b)), 0);
	c.server = accept(listener, NULL, NULL);
	assert_true(c.server >= 0);
	return c;
}

static bool ended(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

static bool talks(struct connection *c)
{
	char byte = 0;

	return send(c->client, "x", 1, MSG_NOSIGNAL) == 1 && recv(c->server, &byte, 1, 0) == 1 &&
	       byte == 'x';
}

static void connection_close(struct connection *c)
{
	close(c->client);
	close(c->server);
}

static void banned_connections_end_at_both_ends_and_safe_ones_live(void **state)
{
	static const struct {
		const char *listen, *server, *bad, *good, *ban;
		bool v6_only;
	} rows[] = {
		{"0.0.0.0", "10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.2", false},
		{"::", "fd09:0:0:1::1", "fd09:0:0:1::2", "fd09:0:0:2::2", "fd09:0:0:1::/64", true},
		{"::", "10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.2", false}, /* v4-mapped */
		/* All of the network, and a safe address in it. */
		{"::", "10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.0/24", false},
	};
	const uint16_t ports[] = {2525};
	const struct enforce_config config = {.backend = "nftables", .ports = ports, .ports_n = 1};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		struct enforce *e = start_with(&config);
		enforce_begin_all(e);
		op(e, ENFORCE_SAFE, "10.9.0.3", 0);
		commit(e);
		int listener = listen_on(rows[i].listen, 2525, rows[i].v6_only);
		int other = listen_on(rows[i].listen, 8080, rows[i].v6_only);
		struct connection bad = connection(listener, rows[i].bad, rows[i].server, 2525);
		struct connection good = connection(listener, rows[i].good, rows[i].server, 2525);
		struct connection port = connection(other, rows[i].bad, rows[i].server, 8080);
		assert_true(talks(&bad));
		one(e, ENFORCE_BAN, rows[i].ban);
		wait_until(e, ended(bad.server) && ended(bad.client));
		wait_until(e, enforce_status(e)->cut == 1);
		assert_true(talks(&good));
		assert_true(talks(&port)); /* not among the protected ports */
		connection_close(&bad);
		connection_close(&good);
		connection_close(&port);
		close(listener);
		close(other);
		stop(e);
		table_gone(NULL);
	}
}

static bool reaches(const char *from, const char *to, uint16_t port)
{
	union address a = address(from, 0), b = address(to, port);

	assert_int_equal(setns(ns_client, CLONE_NEWNET), 0);
	int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(setns(ns_server, CLONE_NEWNET), 0);
	assert_int_equal(bind(fd, &a.sa, sizeof(a)), 0);
	connect(fd, &b.sa, sizeof(b));
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	/* On a local wire an answer takes microseconds. */
	bool open = poll(&p, 1, 150) == 1 && !(p.revents & (POLLERR | POLLHUP));
	close(fd);
	return open;
}

static void a_safe_address_in_a_wide_ban_gets_through_in_either_order(void **state)
{
	int listener = listen_on("0.0.0.0", 2525, false);

	(void)state;
	for (int safe_first = 0; safe_first < 2; safe_first++) {
		struct enforce *e = start_complete();
		one(e, safe_first ? ENFORCE_SAFE : ENFORCE_BAN,
		    safe_first ? "10.9.0.3" : "10.9.0.0/24");
		one(e, safe_first ? ENFORCE_BAN : ENFORCE_SAFE,
		    safe_first ? "10.9.0.0/24" : "10.9.0.3");
		assert_true(reaches("10.9.0.3", "10.9.0.1", 2525));
		assert_false(reaches("10.9.0.2", "10.9.0.1", 2525));
		one(e, ENFORCE_UNSAFE, "10.9.0.3");
		assert_false(reaches("10.9.0.3", "10.9.0.1", 2525));
		one(e, ENFORCE_UNBAN, "10.9.0.0/24");
		assert_true(reaches("10.9.0.2", "10.9.0.1", 2525));
		stop(e);
	}
	close(listener);
}

static void every_prefix_length_matches_its_own_addresses_only(void **state)
{
	int v4 = listen_on("0.0.0.0", 2525, false), v6 = listen_on("::", 2525, true);
	struct enforce *e = start_complete();
	static const struct {
		const char *ban, *in, *out, *to;
	} rows[] = {
		{"10.9.0.2", "10.9.0.2", "10.9.0.3", "10.9.0.1"},
		{"10.9.0.2/31", "10.9.0.2", "10.9.0.4", "10.9.0.1"},
		{"10.9.0.0/29", "10.9.0.4", "10.9.0.130", "10.9.0.1"},
		{"fd09:0:0:1::/64", "fd09:0:0:1::2", "fd09:0:0:2::2", "fd09:0:0:1::1"},
		{"fd09:0:0:1::2", "fd09:0:0:1::2", "fd09:0:0:2::2", "fd09:0:0:1::1"},
		{"fd09:0:0:2::/63", "fd09:0:0:2::2", "fd09:0:0:1::2", "fd09:0:0:1::1"},
	};

	(void)state;
	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		one(e, ENFORCE_BAN, rows[i].ban);
		assert_false(reaches(rows[i].in, rows[i].to, 2525));
		assert_true(reaches(rows[i].out, rows[i].to, 2525));
		one(e, ENFORCE_UNBAN, rows[i].ban);
		assert_true(reaches(rows[i].in, rows[i].to, 2525));
	}
	stop(e);
	close(v4);
	close(v6);
}

/* Set-up */

static int namespace_new(void)
{
	if (unshare(CLONE_NEWNET))
		return -1;
	shell("ip link set lo up");
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static bool network_make(void)
{
	ns_client = namespace_new();
	ns_server = namespace_new();
	if (ns_client < 0 || ns_server < 0)
		return false;
	int r = shell("set -e; ip link add ks type veth peer name kc netns /proc/%d/fd/%d; "
		      "ip addr add 10.9.0.1/24 dev ks; ip addr add fd09:0:0:1::1/64 dev ks nodad; "
		      "ip addr add fd09:0:0:2::1/64 dev ks nodad; ip link set ks up",
		      (int)getpid(), ns_client);
	if (setns(ns_client, CLONE_NEWNET))
		return false;
	r |= shell("set -e; for i in 2 3 4 130; do ip addr add 10.9.0.$i/24 dev kc; done; "
		   "ip addr add fd09:0:0:1::2/64 dev kc nodad; "
		   "ip addr add fd09:0:0:2::2/64 dev kc nodad; ip link set kc up");
	return !setns(ns_server, CLONE_NEWNET) && !r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(table_is_made_and_nft_reads_it, table_gone),
		cmocka_unit_test_setup(bans_come_and_go, table_gone),
		cmocka_unit_test_setup(a_new_end_replaces_the_old_one, table_gone),
		cmocka_unit_test_setup(a_ban_runs_out_and_is_not_put_back, table_gone),
		cmocka_unit_test_setup(unban_of_what_just_ran_out_spoils_nothing, table_gone),
		cmocka_unit_test_setup(ten_thousand_bans_in_one_batch, table_gone),
		cmocka_unit_test_setup(replacement_keeps_what_stays, table_gone),
		cmocka_unit_test_setup(what_an_earlier_run_left_stays_until_the_replacement,
				       table_gone),
		cmocka_unit_test_setup(another_versions_table_is_replaced, table_gone),
		cmocka_unit_test_setup(an_earlier_versions_rules_are_replaced_and_its_bans_kept,
				       table_gone),
		cmocka_unit_test_setup(others_changes_are_undone, table_gone),
		cmocka_unit_test_setup(what_no_notification_told_of_is_found_by_the_periodic_comparison,
				       table_gone),
		cmocka_unit_test_setup(refused_operations_are_counted_and_harm_nothing, table_gone),
		cmocka_unit_test_setup(too_many_safe_ranges_show_in_the_status, table_gone),
		cmocka_unit_test_setup(every_refusal_of_the_kernel_has_a_remedy, table_gone),
		cmocka_unit_test_setup(node_has_no_capability_and_the_child_one, table_gone),
		cmocka_unit_test_setup(without_the_capability_start_says_what_to_do, table_gone),
		cmocka_unit_test_setup(a_dead_child_is_noticed, table_gone),
		cmocka_unit_test_setup(a_busy_child_holds_nobody_up, table_gone),
		cmocka_unit_test_setup(backend_none_is_done_at_once, table_gone),
		cmocka_unit_test_setup(banned_connections_end_at_both_ends_and_safe_ones_live,
				       table_gone),
		cmocka_unit_test_setup(a_safe_address_in_a_wide_ban_gets_through_in_either_order,
				       table_gone),
		cmocka_unit_test_setup(every_prefix_length_matches_its_own_addresses_only,
				       table_gone),
	};

	if (geteuid() || !network_make() || shell("nft list ruleset")) {
		printf("needs root, network namespaces, ip and nft\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
