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
	 "if it had been invited and had joined. Interrupted, the same command goes on where it "
	 "was.",
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
	{"cluster", "fold-version", "N [--force]",
	 "Switch the rules of fold version N on, once every program knows them",
	 "Says first which version each node has. The broker refuses while a live node is too old, "
	 "and names it; with --force it does not ask, and such a node stops there, keeps enforcing, "
	 "and says upgrade-needed.",
	 "kbanctl cluster fold-version 2", fold_version_run},
	{"cluster", "accept-epoch", "[--yes]",
	 "Accept the ledger as it is, where no node is left that could confirm it",
	 "For nodes that are unconfirmed: they took the broker's state, and no node that knows better "
	 "is there to say the same. Shows the ledger's place and digest, and who is unconfirmed; on a "
	 "terminal it asks first, unless --yes. Then it begins a new epoch, which names that digest: a "
	 "node with another one stays unconfirmed. Compare the digest with what you know before you "
	 "vouch for it. Exit code 6 when a node that is connected stays unconfirmed.",
	 "kbanctl cluster accept-epoch", epoch_accept_run},
	{"ban", NULL, "PREFIX [--for DURATION] [--reason TEXT] [--force] [--wait all|N] [--yes]",
	 "Ban an address or a prefix on every node",
	 "For DURATION (1h). Nothing wider than the policy says (/16, for IPv6 /32) without --force. On a terminal "
	 "kbanctl asks before "
	 "banning more than a /24 or /64, unless --yes. With --wait it returns when so many nodes "
	 "have it in "
	 "their kernel, by their signed word.",
	 "kbanctl ban 203.0.113.9 --for 1d --wait all", ban_add},
	{"unban", NULL, "PREFIX [--covering] [--reason TEXT]",
	 "End every ban of a prefix and of what lies inside it",
	 "Reports that were made before it do not bring the ban back. A wider ban that covers "
	 "PREFIX stays and makes "
	 "the exit code 1, unless --covering ends it too. Exit code 3 when nothing was banned. A server "
	 "that has not said yet that it lets it in is named. Whoever is no operator ends only its own "
	 "ban of exactly PREFIX.",
	 "kbanctl unban 203.0.113.9 --why 'customer called'", ban_remove},
	{"bans", NULL, "[PREFIX]", "List the bans in force",
	 "With PREFIX those that overlap it. The rows are the broker's word: `why` checks what was "
	 "signed. After the table it says on how many servers they are in the kernel, by the "
	 "servers' signed word, and which servers it has no word of. SOURCES is how many bans of it "
	 "run, COUNT how many failures the longest one is for. What one server blocks alone, since the "
	 "fleet refused it, is not listed: `why` knows it.",
	 "kbanctl bans -o tsv", ban_list},
	{"why", NULL, "ADDRESS|PREFIX", "Say whether an address is blocked, and why",
	 "The first line answers; then come the command that lets it in, every ban with who signed "
	 "it and the log line, safe ranges, unbans, what was refused, and which servers block it. "
	 "Signatures are checked here: what was not signed as shown is marked FORGED and makes the "
	 "exit code 1. Exit code 3 when nothing is known of it, else 0, blocked or not. A server "
	 "that was away when the address was let in is named as long as it may still block it. What was "
	 "refused a broker remembers only until it is restarted, but for what put a server on hold.",
	 "kbanctl why 203.0.113.9", why_run},
	{"log", NULL,
	 "[PREFIX] [--since DURATION|all] [--author NAME] [--kind KIND]... [--follow]",
	 "Show who did what, when and why: the audit trail",
	 "One row for each event of the last day, or of DURATION. With PREFIX only what overlaps it. "
	 "KIND is ban, unban, safe-add, safe-remove, safe-approve, grant, revoke, purge, invite, join, "
	 "policy, broker-address, release, fold-version or epoch. With --follow it goes on with what "
	 "comes, through restarts of the broker, until it is interrupted. What is not signed as shown is "
	 "marked FORGED and makes the exit code 1.",
	 "kbanctl log --kind unban --kind safe-add --since 7d", log_run},
	{"policy", "show", "", "Show the fleet's policy, its ranges, and who set it",
	 "Programs get raw numbers, durations in milliseconds, with their unit.",
	 "kbanctl policy show",
	 policy_show_run},
	{"policy", "set", "NAME=VALUE [NAME=VALUE]... [--yes]", "Change the fleet's policy",
	 "What is not named stays as it is. Shows what changes; on a terminal it asks first, unless "
	 "--yes.",
	 "kbanctl policy set repeat-percent=200 repeat-max=7d", policy_set_run},
	{"policy", "test", "NAME=VALUE [NAME=VALUE]... [--since DURATION|all]",
	 "Say what another policy would have made of the history",
	 "Fetches the log, checks it, and folds it twice: as it was, and as if the policy had been "
	 "this one for the last DURATION (all of the history). Bans that would last longer or shorter, and "
	 "events that would be refused or would count now, are named. Nothing is changed. Programs use "
	 "-o json: the result is no list of rows, which tsv and csv are for.",
	 "kbanctl policy test quota-per-hour=200 --since 30d", policy_test_run},
	{"safeacl", "list", "", "List the fleet's safe ranges and those that wait for approval",
	 "A held range counts on its own node only. The rows are the broker's word: `why` checks what "
	 "was signed.",
	 "kbanctl safeacl list", safeacl_list},
	{"safeacl", "add", "PREFIX [--for DURATION] [--reason TEXT] [--force]",
	 "Never block a prefix anywhere, and lift its bans",
	 "Until it is removed, or for DURATION. Nothing wider than /16, for IPv6 /32, without "
	 "--force. A server that has not said yet that it lets it in is named.",
	 "kbanctl safeacl add 198.51.100.0/24 --reason office", safeacl_add},
	{"safeacl", "remove", "PREFIX [--reason TEXT]",
	 "Take a prefix out of the safe ranges, whoever put it in",
	 "A node's own range is rejected for the fleet: its word does not bring it back.",
	 "kbanctl safeacl remove 198.51.100.0/24", safeacl_remove},
	{"safeacl", "approve", "PREFIX --node NAME [--reason TEXT]",
	 "Make a node's held range count for the fleet", "Lifts the bans inside it everywhere.",
	 "kbanctl safeacl approve 198.51.100.0/24 --node mail1", safeacl_approve},
	{"explain", NULL, "[FILE|-] [--rules FILE]... [--log NAME] [--test]",
	 "Say what each line of a log means to the rules",
	 "Reads FILE or stdin, of any size. Programs get line_no, rule, service, address, user and "
	 "verdict (failure, ban, "
	 "success, none), null for what a line has not; a count of hits and misses goes to stderr. Lines "
	 "with a syslog header are read too. With --test it runs the rules' own test lines instead: exit "
	 "code 1 when one is read otherwise than its rule says.",
	 "kbanctl explain -o jsonl /opt/kerio/mailserver/store/logs/security.log", explain_run},
	{"replay", NULL,
	 "FILE [FILE]... [--rules FILE]... [--log NAME] [--failures N] [--check-time T] [--block-time T]",
	 "Say what rules and thresholds would have banned",
	 "Reads logs of any size in the order given, the oldest first; - is stdin, through rules and "
	 "detector alone: no ledger, no safe ranges, nothing is banned. N failures (10) within T (60s) ban for T (5m). As on a "
	 "node, an offence while its address is banned bans it again only when that lengthens the ban by "
	 "more than a tenth. Times are read in this machine's zone (TZ). Programs get lines, seconds and "
	 "bans: address, service, rule, failures, at and until. Ctrl-C prints nothing and ends it with exit "
	 "code 130.",
	 "kbanctl replay --failures 5 /opt/kerio/mailserver/store/logs/security.log", replay_run},
	{"help", NULL, "[NOUN] [VERB] [--mdoc]", "Show the commands, or one command's help",
	 "--mdoc writes the list for the manual.", "kbanctl help ban", help_run},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static const struct {
	const char *name, *help;
} option_help[] = {
	{"address", "an address of the broker; as often as it has some"},
	{"all", "also what is over: revoked, used"},
	{"author", "only what this principal signed"},
	{"block-time", "how long a ban lasts: 300, 5m (300)"},
	{"broker", "where nodes reach the broker: tcp://HOST:PORT"},
	{"broker-name", "the broker's name (broker)"},
	{"check-time", "the window in which failures count: 60, 1m (60)"},
	{"covering", "end wider bans that cover it too"},
	{"dir", "where to write the files (/etc/kban)"},
	{"endpoint", "where nodes reach the broker: tcp://HOST:PORT"},
	{"expires", "how long the token works, at most 30d (24h)"},
	{"failures", "so many failures ban (10)"},
	{"follow", "go on with what comes, until interrupted"},
	{"for", "how long: 90s, 5m, 1h30m, 7d"},
	{"force", "allow what is wider than the policy says, or do not ask the nodes"},
	{"help", "this text"},
	{"identity", "who you are: an identity file ($KBAN_IDENTITY, or /etc/kban/operator.id)"},
	{"keep-safe", "keep its safe ranges"},
	{"log", "which log the lines are from: only its rules are tried (any)"},
	{"kind", "only events of this kind; as often as you like"},
	{"mdoc", "as mdoc, for the manual"},
	{"name", "the operator's name (operator)"},
	{"node", "whose range"},
	{"out", "the identity file to write"},
	{"output", "table, json, jsonl, tsv or csv; -o for short"},
	{"purge", "end its bans now; also of one that was revoked before"},
	{"quiet", "no messages besides errors; -q for short"},
	{"reason", "why, for the record; at most 256 bytes; --why is the same"},
	{"role", "node, operator, feeder or reader"},
	{"rules", "rules that are tried before the built-in ones; as often as you like"},
	{"test", "run the rules' own test lines"},
	{"since", "from how long ago on: 90s, 1h30m, 7d; all"},
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
