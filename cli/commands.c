/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "cli/command.h"

const char command_globals[] =
	"[--output FORMAT] [--identity FILE] [--timeout DURATION] [--quiet] [--help] [--version]";

const struct command commands[] = {
	{"init", NULL,
	 "--broker ENDPOINT [--address IP]... [--dir FOLDER] [--name OPERATOR] [--broker-name "
	 "NAME]",
	 "Make a new cluster: its root key, first operator, broker, and first log entry",
	 "Writes root.key, operator.id, broker.id and genesis.kban to FOLDER (/etc/kban) and never "
	 "replaces a "
	 "file. ENDPOINT is where nodes reach the broker, tcp://HOST:PORT. The broker's addresses "
	 "are never "
	 "banned: a numeric HOST is its address, a name is looked up, and --address names them "
	 "instead.",
	 "kbanctl init --broker tcp://192.0.2.1:7400", init_run},
	{"broker", "add", "NAME --endpoint ENDPOINT [--address IP]... [--out FILE]",
	 "Make an identity for a further broker and announce its address",
	 "The identity is written to FILE (NAME.id), for the new broker's host. It is granted as "
	 "if it had been "
	 "invited and had joined.",
	 "kbanctl broker add broker2 --endpoint tcp://192.0.2.2:7400", broker_add},
	{"broker", "list", "",
	 "List the brokers, their keys and the addresses that are never banned",
	 "What is shown was signed by the root key or an operator; kbanctl checks it itself.",
	 "kbanctl broker list", broker_list},
	{"node", "invite", "NAME [--expires DURATION]", "Make a join token for a server",
	 "Prints the token alone on stdout. It is a secret, works once, and expires after DURATION "
	 "(24h).",
	 "kbanctl node invite mail1 > mail1.token", principals_invite},
	{"node", "join", "[TOKEN] [--token-file FILE]",
	 "Join the cluster with a token, on the server itself",
	 "Reads the token from stdin, from a prompt without echo when stdin is a terminal, or from "
	 "FILE, which nobody "
	 "else may be able to read; - is stdin. The keys are made here and saved to the identity "
	 "file "
	 "(/etc/kban/node.id), never replacing one. A token on the command line is wiped from it, "
	 "with a warning.",
	 "kbanctl node join < mail1.token", principals_join},
	{"node", "list", "[--all]", "List the nodes and the invitations that wait",
	 "With --all also revoked nodes and used invitations.", "kbanctl node list -o json",
	 principals_list},
	{"node", "release", "NAME [--reason TEXT]", "Let a node on hold report again",
	 "A node whose bans go over its quota is put on hold; what it had banned stays.",
	 "kbanctl node release mail1", principals_release},
	{"node", "revoke", "NAME [--purge] [--keep-safe] [--reason TEXT] [--yes]",
	 "Shut a node, or an invitation, out for good",
	 "Its bans run on until they end, unless --purge ends them now; that works later too. Its "
	 "safe ranges go, unless --keep-safe. Your own identity is refused without --yes.",
	 "kbanctl node revoke mail1 --purge --reason 'key stolen'", principals_revoke},
	{"principal", "invite", "NAME --role ROLE [--expires DURATION]",
	 "Make a join token for an operator, feeder, reader or node",
	 "An operator may do everything that this page describes; a feeder bans for another tool "
	 "and withdraws only "
	 "its own bans; a reader only looks.",
	 "kbanctl principal invite alice --role operator > alice.token", principals_invite},
	{"principal", "join", "[TOKEN] [--token-file FILE]",
	 "Join the cluster with a token of any role",
	 "As `node join`; the identity is saved as /etc/kban/ROLE.id unless --identity names a "
	 "file.",
	 "kbanctl principal join --identity ~/alice.id < alice.token", principals_join},
	{"principal", "list", "[--role ROLE] [--all]", "List everybody who has a key",
	 "With --all also the revoked ones and used invitations.",
	 "kbanctl principal list --role operator", principals_list},
	{"principal", "revoke", "NAME [--purge] [--keep-safe] [--reason TEXT] [--yes]",
	 "Shut a principal, or an invitation, out for good", "As `node revoke`, for any role.",
	 "kbanctl principal revoke alice --reason 'left the company'", principals_revoke},
	{"cluster", "list", "[--all]",
	 "Show every node, its state, and whether it agrees with the broker",
	 "Every connected node is asked for a fresh heartbeat, and kbanctl checks its signature, "
	 "the grants of its key "
	 "since the root key, its place in the log, chain and digest itself; the broker's word is "
	 "not taken for it. "
	 "Exit code 6 when not all is well. With --all also revoked nodes.",
	 "kbanctl cluster list", cluster_list},
	{"cluster", "status", "[NODE]", "Show one node, or the broker and every node, key by key",
	 "The same checks as `cluster list`, and all that a heartbeat holds.",
	 "kbanctl cluster status mail1", cluster_status},
	{"ban", NULL, "PREFIX [--for DURATION] [--reason TEXT] [--force] [--wait all|N] [--yes]",
	 "Ban an address or a prefix on every node",
	 "For DURATION (1h). Nothing wider than /16, for IPv6 /32, without --force. On a terminal "
	 "kbanctl asks before "
	 "banning more than a /24 or /64, unless --yes. With --wait it returns when so many nodes "
	 "have it in "
	 "their kernel, by their signed word.",
	 "kbanctl ban 203.0.113.9 --for 1d --wait all", ban_add},
	{"unban", NULL, "PREFIX [--covering] [--reason TEXT]",
	 "End every ban of a prefix and of what lies inside it",
	 "Reports that were made before it do not bring the ban back. A wider ban that covers "
	 "PREFIX stays and makes "
	 "the exit code 1, unless --covering ends it too. Exit code 3 when nothing was banned.",
	 "kbanctl unban 203.0.113.9", ban_remove},
	{"bans", NULL, "[PREFIX]", "List the bans in force", "With PREFIX those that overlap it.",
	 "kbanctl bans -o tsv", ban_list},
	{"safeacl", "list", "", "List the fleet's safe ranges and those that wait for approval",
	 "A held range counts on its own node only.", "kbanctl safeacl list", safeacl_list},
	{"safeacl", "add", "PREFIX [--for DURATION] [--reason TEXT] [--force]",
	 "Never block a prefix anywhere, and lift its bans",
	 "Until it is removed, or for DURATION. Nothing wider than /16, for IPv6 /32, without "
	 "--force.",
	 "kbanctl safeacl add 198.51.100.0/24 --reason office", safeacl_add},
	{"safeacl", "remove", "PREFIX [--reason TEXT]",
	 "Take a prefix out of the safe ranges, whoever put it in",
	 "A node's own range is rejected for the fleet: its word does not bring it back.",
	 "kbanctl safeacl remove 198.51.100.0/24", safeacl_remove},
	{"safeacl", "approve", "PREFIX --node NAME [--reason TEXT]",
	 "Make a node's held range count for the fleet", "Lifts the bans inside it everywhere.",
	 "kbanctl safeacl approve 198.51.100.0/24 --node mail1", safeacl_approve},
	{"explain", NULL, "[FILE|-] [--rules FILE]",
	 "Say what each line of a log means to the rules",
	 "Reads FILE or stdin, of any size. Programs get line_no, rule, service, address, user and "
	 "verdict (failure, ban, "
	 "success, none), null for what a line has not; a count of hits and misses goes to stderr.",
	 "kbanctl explain -o jsonl /opt/kerio/mailserver/store/logs/security.log", explain_run},
	{"help", NULL, "[NOUN] [VERB] [--mdoc]", "Show the commands, or one command's help",
	 "--mdoc writes the list for the manual.", "kbanctl help ban", help_run},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static const struct {
	const char *name, *help;
} option_help[] = {
	{"address", "an address of the broker; as often as it has some"},
	{"all", "also what is over: revoked, used"},
	{"broker", "where nodes reach the broker: tcp://HOST:PORT"},
	{"broker-name", "the broker's name (broker)"},
	{"covering", "end wider bans that cover it too"},
	{"dir", "where to write the files (/etc/kban)"},
	{"endpoint", "where nodes reach the broker: tcp://HOST:PORT"},
	{"expires", "how long the token works, at most 30d (24h)"},
	{"for", "how long: 90s, 5m, 1h30m, 7d"},
	{"force", "allow what is wider than /16, or /32 for IPv6"},
	{"help", "this text"},
	{"identity", "who you are: an identity file ($KBAN_IDENTITY, or /etc/kban/operator.id)"},
	{"keep-safe", "keep its safe ranges"},
	{"mdoc", "as mdoc, for the manual"},
	{"name", "the operator's name (operator)"},
	{"node", "whose range"},
	{"out", "the identity file to write"},
	{"output", "table, json, jsonl, tsv or csv; -o for short"},
	{"purge", "end its bans now; also of one that was revoked before"},
	{"quiet", "no messages besides errors; -q for short"},
	{"reason", "why, for the record; at most 256 bytes"},
	{"role", "node, operator, feeder or reader"},
	{"rules", "these rules instead of the built-in ones"},
	{"timeout", "how long to wait for answers (5s)"},
	{"token-file", "read the token from here; - is stdin"},
	{"version", "print the version; -V for short"},
	{"wait", "until that many nodes have it in their kernel"},
	{"yes", "do not ask"},
};

const char *command_option_help(const char *name)
{
	for (size_t i = 0; i < KBAN_ARRAY_LEN(option_help); i++)
		if (!strcmp(option_help[i].name, name))
			return option_help[i].help;
	return NULL;
}
