# SPDX-License-Identifier: MPL-2.0
"""Whole-fleet tests with the real programs: each ends with every digest and every kernel equal to the broker's ledger."""
import json
import os
import shutil
import time

import pytest

import kernel
from fleet import CtlError
from net import wait_until

ATTACKER = "203.0.113.7"


def banned_everywhere(fleet, address):
    p = kernel.full(address)
    return all(p in n.banned() for n in fleet.live_nodes())


def wait_banned(fleet, address, deadline_s=15):
    wait_until(f"{address} is banned on every node", lambda: banned_everywhere(fleet, address), deadline_s)


def wait_gone(nodes, address, deadline_s=15):
    p = kernel.full(address)
    wait_until(f"{address} is gone from the kernels", lambda: all(p not in n.banned() for n in nodes), deadline_s)


def test_what_one_server_sees_every_server_blocks(fleet):
    fleet.nodes[0].attack(ATTACKER)
    wait_banned(fleet, ATTACKER)
    fleet.agree()
    ban = fleet.json("bans")["bans"][0]
    assert ban["prefix"] == ATTACKER and ban["by"] == "mail1" and ban["service"] == "smtp" and ban["rule"] == "unknown-user"
    assert 290 < ban["until_s"] - ban["since_s"] <= 300


def test_nine_failures_are_not_enough_and_the_tenth_is(fleet):
    fleet.nodes[1].attack(ATTACKER, times=9)
    fleet.nodes[1].attack("203.0.113.8", times=10)
    wait_banned(fleet, "203.0.113.8")
    assert not any(kernel.full(ATTACKER) in n.banned() for n in fleet.nodes)
    fleet.nodes[1].attack(ATTACKER, times=1)
    wait_banned(fleet, ATTACKER)
    fleet.agree()


def test_an_ipv6_attacker_is_blocked_by_its_64(fleet):
    for i in range(10):
        fleet.nodes[2].attack(f"2001:db8:1:2::{i + 1:x}", times=1, service="IMAP")
    wait_banned(fleet, "2001:db8:1:2::/64")
    fleet.agree()


def test_connections_of_the_attacker_end_and_new_ones_fail(fleet):
    attacker = fleet.attacker()
    targets = [(a, 143) for n in fleet.nodes for a in (n.host.ip4, n.host.ip6)]

    open_ones = attacker.connect_all(targets).values()
    assert all(open_ones)
    fleet.nodes[0].attack(attacker.ip4)
    fleet.nodes[0].attack(attacker.ip6)
    wait_banned(fleet, attacker.ip4)
    wait_banned(fleet, attacker.net6)
    for s in open_ones:
        s.settimeout(5)
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    assert not any(attacker.connect_all(targets).values())
    fleet.agree()


def test_a_servers_own_network_is_not_banned_with_an_attacker_in_it(fleet):
    colleague = fleet.net.host("colleague", 77)  # in the servers' own IPv6 /64
    fleet.nodes[0].attack(colleague.ip6)
    fleet.nodes[0].attack(ATTACKER)
    wait_banned(fleet, ATTACKER)
    assert fleet.bans() == {kernel.full(ATTACKER)}
    assert colleague.connect(fleet.nodes[0].host.ip6, 143)
    fleet.agree()


def test_the_broker_killed_in_a_burst_loses_nothing_with_a_receipt(fleet):
    addresses = [f"198.51.100.{i}" for i in range(1, 61)]
    for a in addresses[:30]:
        fleet.nodes[0].attack(a)
    fleet.broker.kill()
    for i, a in enumerate(addresses[30:]):
        fleet.nodes[i % 3].attack(a)
    fleet.start_broker()
    for a in addresses:
        wait_banned(fleet, a, 30)
    fleet.agree()
    assert len(fleet.bans()) == len(addresses)


def test_a_node_killed_in_a_burst_goes_on_where_it_was(fleet):
    n = fleet.nodes[0]
    addresses = [f"198.51.100.{i}" for i in range(1, 41)]
    for i, a in enumerate(addresses):
        n.attack(a)
        if i == 20:
            n.kill()
    n.attack("192.0.2.99", times=5)
    n.start()
    for a in addresses:
        wait_banned(fleet, a, 30)
    n.attack("192.0.2.99", times=5)  # five before the restart and five after make ten
    wait_banned(fleet, "192.0.2.99")
    fleet.agree()
    assert len(fleet.bans()) == len(addresses) + 1
    for b in fleet.json("bans")["bans"]:
        assert b["sources"] == 1, f"counted twice: {b}"


def test_a_cut_link_delays_and_does_not_lose(fleet):
    n = fleet.nodes[0]
    n.host.cut()
    n.attack(ATTACKER)
    fleet.nodes[1].attack("203.0.113.8")
    wait_until("the cut-off node bans at once for itself", lambda: kernel.full(ATTACKER) in n.banned())
    wait_until("the others ban", lambda: kernel.full("203.0.113.8") in fleet.nodes[2].banned())
    assert kernel.full(ATTACKER) not in fleet.nodes[2].banned()
    n.host.heal()
    wait_banned(fleet, ATTACKER, 40)
    wait_banned(fleet, "203.0.113.8", 40)
    fleet.agree(40)


def test_a_node_that_joins_late_has_everything(fleet):
    for i in range(1, 21):
        fleet.nodes[0].attack(f"198.51.100.{i}")
    wait_banned(fleet, "198.51.100.20")
    late = fleet.add_node(4)
    wait_until("the late node has all bans", lambda: len(late.banned()) == 20)
    fleet.agree()


def test_unban_lets_go_everywhere_and_the_next_attack_counts_anew(fleet):
    fleet.nodes[0].attack(ATTACKER)
    wait_banned(fleet, ATTACKER)
    fleet.ctl("unban", ATTACKER, "--reason", "a customer")
    wait_gone(fleet.nodes, ATTACKER)
    fleet.agree()
    fleet.nodes[0].attack(ATTACKER, times=9)
    fleet.nodes[0].attack("203.0.113.9")
    wait_banned(fleet, "203.0.113.9")
    assert not any(kernel.full(ATTACKER) in n.banned() for n in fleet.nodes)
    fleet.nodes[0].attack(ATTACKER, times=1)
    wait_banned(fleet, ATTACKER)
    fleet.agree()


def test_an_unban_inside_a_wider_ban_names_it_and_fails(fleet):
    fleet.ctl("ban", "203.0.113.0/24", "--for", "1h", "--reason", "scanners", "--yes")
    fleet.ctl("ban", ATTACKER, "--for", "1h")
    wait_banned(fleet, "203.0.113.0/24")
    with pytest.raises(CtlError) as e:
        fleet.ctl("unban", ATTACKER)
    assert e.value.code == 1 and "203.0.113.0/24" in e.value.err
    fleet.ctl("unban", ATTACKER, "--covering")
    wait_gone(fleet.nodes, "203.0.113.0/24")
    fleet.agree()


def test_a_safe_range_frees_a_banned_address_at_once(fleet):
    colleague = fleet.net.host("colleague", 77)
    fleet.nodes[0].attack(colleague.ip4)
    wait_banned(fleet, colleague.ip4)
    assert not colleague.connect(fleet.nodes[2].host.ip4, 25)
    fleet.ctl("safeacl", "add", colleague.ip4, "--reason", "our office")
    wait_gone(fleet.nodes, colleague.ip4)
    s = colleague.connect(fleet.nodes[2].host.ip4, 25)
    assert s
    fleet.nodes[1].attack(colleague.ip4)  # the same behaviour again
    fleet.nodes[1].attack("203.0.113.10")
    wait_banned(fleet, "203.0.113.10")
    assert not any(kernel.full(colleague.ip4) in n.banned() for n in fleet.nodes)
    s.sendall(b"NOOP\n")
    assert s.recv(100) == b"220 NOOP\n"
    fleet.agree()
    fleet.ctl("safeacl", "remove", colleague.ip4)
    wait_until("the range is out of the kernels", lambda: not any(kernel.full(colleague.ip4) in n.safe() for n in fleet.nodes))
    fleet.agree()


def test_an_expired_ban_goes_in_a_quiet_fleet_and_stays_away(make_fleet):
    fleet = make_fleet(node_options={"compare-every": 1})
    fleet.agree()
    fleet.ctl("ban", ATTACKER, "--for", "2s")
    wait_banned(fleet, ATTACKER)
    wait_gone(fleet.nodes, ATTACKER)
    assert kernel.full(ATTACKER) not in fleet.bans()
    before = [(r["seq"], r["repairs"]) for r in fleet.cluster()["nodes"]]
    end = time.monotonic() + 3  # longer than a comparison with the kernel takes to come round
    wait_until("comparisons came round", lambda: time.monotonic() > end)
    assert not any(kernel.full(ATTACKER) in n.banned() for n in fleet.nodes)
    assert [(r["seq"], r["repairs"]) for r in fleet.cluster()["nodes"]] == before
    fleet.nodes[0].attack("203.0.113.8")  # the next entry
    wait_banned(fleet, "203.0.113.8")
    fleet.agree()


def test_a_revoked_node_is_cut_off_and_its_bans_stay(fleet):
    fleet.nodes[2].attack(ATTACKER)
    wait_banned(fleet, ATTACKER)
    gone = fleet.nodes[2]
    fleet.ctl("node", "revoke", "mail3", "--reason", "sold")
    wait_until("the node says that it is revoked", lambda: "revoked" in gone.process.output())
    gone.attack("203.0.113.50")
    fleet.nodes[0].attack("203.0.113.51")
    wait_until("the others go on", lambda: kernel.full("203.0.113.51") in fleet.nodes[1].banned())
    assert fleet.bans() == {kernel.full(ATTACKER), kernel.full("203.0.113.51")}
    gone.restart()
    wait_until("refused at the handshake", lambda: gone.process.output().count("revoked") >= 2)
    assert kernel.full(ATTACKER) in gone.banned()
    gone.process.stop()
    fleet.agree()


def test_a_revoked_and_purged_node_takes_its_bans_along(fleet):
    fleet.nodes[2].attack(ATTACKER)
    fleet.nodes[0].attack("203.0.113.51")
    wait_banned(fleet, ATTACKER)
    wait_banned(fleet, "203.0.113.51")
    fleet.ctl("node", "revoke", "mail3", "--purge")
    wait_gone(fleet.nodes[:2], ATTACKER)
    fleet.nodes[2].process.stop()
    fleet.agree()
    assert fleet.bans() == {kernel.full("203.0.113.51")}


def test_two_joins_with_one_token_make_one_member(fleet):
    token = fleet.invite("mail9")
    first = os.path.join(fleet.work, "first.id")
    fleet.ctl("node", "join", "--identity", first, "--token-file", "-", host=fleet.nodes[0].host, input=token)
    with pytest.raises(CtlError) as e:
        fleet.ctl("node", "join", "--identity", os.path.join(fleet.work, "second.id"), "--token-file", "-",
                  host=fleet.nodes[1].host, input=token)
    assert e.value.code == 4 and time.strftime("used %Y-") in e.value.err  # by whom and when
    assert "somebody at 10.77.0.2 tried to join with the token of mail9" in fleet.broker.output()
    assert not os.path.exists(os.path.join(fleet.work, "second.id"))
    assert os.stat(first).st_mode & 0o777 == 0o600
    assert [n["name"] for n in fleet.json("node", "list")["nodes"]].count("mail9") == 1
    fleet.agree()


def test_an_operators_many_commands_leave_no_connections_behind(make_fleet):
    fleet = make_fleet(nodes=0)
    for _ in range(70):
        fleet.ctl("bans")
    assert "connections" not in fleet.broker.output()


def test_flushed_rules_come_back(fleet):
    fleet.nodes[0].attack(ATTACKER)
    wait_banned(fleet, ATTACKER)
    fleet.nodes[1].host.run("nft", "flush", "ruleset")
    wait_banned(fleet, ATTACKER)
    fleet.agree()
    rows = {r["name"]: r for r in fleet.cluster()["nodes"]}
    assert rows["mail2"]["repairs"] > 0 and rows["mail1"]["repairs"] == 0


def test_ban_waits_for_the_kernels_of_all(fleet):
    out = fleet.json("ban", ATTACKER, "--for", "10m", "--reason", "seen elsewhere", "--wait", "all")
    assert banned_everywhere(fleet, ATTACKER)
    assert out["enforced_on"] == 3
    fleet.agree()


@pytest.mark.parametrize("prefix, word", [("127.0.0.1", "never"), ("0.0.0.0/0", "wide"), ("11.0.0.0/8", "wide"), ("2001::/16", "wide"),
                                          ("203.0.113.1/24", "203.0.113.0/24"), ("10.77.0.100", "broker"), ("x", "address")])
def test_absurd_bans_are_refused_with_a_reason(make_fleet, prefix, word):
    fleet = make_fleet(nodes=1)
    with pytest.raises(CtlError) as e:
        fleet.ctl("ban", prefix, "--yes")
    assert e.value.code in (1, 2) and word in e.value.err
    assert fleet.bans() == set()


def test_the_log_may_say_anything(fleet):
    n = fleet.nodes[0]
    with open(n.log, "ab") as f:
        f.write(b"\x00\xff" * 700000 + b"\n" + b"[01/Jan/2026 00:00:00] " + b"A" * (1 << 20) + b"\n" + os.urandom(4096) + b"\n")
        for _ in range(12):
            f.write(time.strftime("[%d/%b/%Y %H:%M:%S] ").encode()
                    + b"SMTP: User x doesn't exist. Attempt from IP address 192.0.2.1. doesn't exist. Attempt from IP address 203.0.113.66.\n")
    wait_banned(fleet, "203.0.113.66")
    assert fleet.bans() == {kernel.full("203.0.113.66")}
    fleet.agree()


def test_a_node_in_another_time_zone_than_its_log_says_so(make_fleet):
    fleet = make_fleet(nodes=1)
    fleet.agree()
    n = fleet.nodes[0]
    n.process.stop()
    n.start(env={"TZ": "UTC-5"})
    wait_until("the log is followed", lambda: n.process.output().count("following") == 2)
    n.attack(ATTACKER)
    wait_until("the node says what is wrong", lambda: "time zone (TZ)" in n.process.output())
    fleet.agree()


def test_the_units_capabilities_suffice_and_the_process_that_reads_the_log_has_none(make_fleet):
    fleet = make_fleet(nodes=1)
    n = fleet.nodes[0]
    n.process.stop()
    n.process = n.host.start(["setpriv", "--bounding-set=-all,+net_admin,+setpcap", "--inh-caps=-all", "--no-new-privs",
                              fleet.program("kban-node"), "-c", n.conf], n.output)
    fleet.agree()
    n.attack(ATTACKER)
    wait_banned(fleet, ATTACKER)

    def permitted(pid):
        with open(f"/proc/{pid}/status") as f:
            return [int(line.split()[1], 16) for line in f if line.startswith("CapPrm")][0]

    assert permitted(n.process.pid) == 0
    assert [permitted(child) for child in n.process.children()] == [1 << 12]  # CAP_NET_ADMIN


def test_one_identity_on_two_machines_is_said_so(fleet):
    mine, other = fleet.nodes[0], fleet.nodes[1]
    other.process.stop()
    shutil.copy(mine.identity, other.identity)
    shutil.rmtree(os.path.join(other.dir, "data"))
    other.start()
    wait_until("the broker says so", lambda: "mail1 is connected from 10.77.0." in fleet.broker.output())
    other.process.stop()


def test_a_node_that_only_watches_is_shown_and_not_waited_for(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    watcher = fleet.nodes[1]
    watcher.configure(backend="none")
    watcher.restart()
    wait_until("it is shown", lambda: {r["name"]: r["state"] for r in fleet.cluster()["nodes"]} == {"mail1": "live", "mail2": "watching"})
    out = fleet.json("ban", ATTACKER, "--wait", "all")
    assert (out["enforced_on"], out["nodes"]) == (1, 1)
    watcher.attack("203.0.113.8")  # it detects all the same
    wait_until("the other one blocks", lambda: kernel.full("203.0.113.8") in fleet.nodes[0].banned())
    assert watcher.banned() == set()


def test_a_broker_without_genesis_is_told_before_it_starts(make_fleet):
    fleet = make_fleet(nodes=0)
    genesis = os.path.join(fleet.keys, "genesis.kban")

    def check():
        return fleet.broker_host.run(fleet.program("kban-broker"), "-n", "-c", fleet.broker_conf, check=False)

    os.rename(genesis, genesis + ".away")
    assert "OK" in check()  # its log has begun
    fleet.broker.stop()
    os.rename(os.path.join(fleet.broker_dir, "data"), os.path.join(fleet.broker_dir, "data.away"))
    assert "genesis.kban" in check() and "OK" not in check()
    os.rename(genesis + ".away", genesis)
    assert "OK" in check()
    fleet.start_broker()
    wait_until("a new log is said so", lambda: fleet.broker.output().count("a new log begins") == 2)


def test_another_clusters_node_is_not_let_in(make_fleet):
    ours, theirs = make_fleet(nodes=1), make_fleet(nodes=0)
    token = theirs.invite("stranger")
    with pytest.raises(CtlError) as e:  # the same addresses, another cluster's broker
        ours.ctl("node", "join", "--identity", os.path.join(ours.work, "x.id"), "--token-file", "-",
                 host=ours.nodes[0].host, input=token)
    assert e.value.code in (4, 5)
    ours.agree()


def test_configuration_errors_name_file_line_and_remedy(make_fleet):
    fleet = make_fleet(nodes=1)
    n = fleet.nodes[0]
    assert "OK" in n.host.run(fleet.program("kban-node"), "-n", "-c", n.conf).upper()
    with open(n.conf, "a") as f:
        f.write("failurs = 3\n")
    out = n.host.run(fleet.program("kban-node"), "-n", "-c", n.conf, check=False)
    assert f"{n.conf}:" in out and "failures" in out
    os.chmod(n.identity, 0o644)
    n.configure()
    out = n.host.run(fleet.program("kban-node"), "-n", "-c", n.conf, check=False)
    assert "chmod 600" in out


def test_explain_says_what_lines_mean(make_fleet):
    fleet = make_fleet(nodes=0)
    line = "[17/May/2017 19:43:42] SMTP: User a@b.c doesn't exist. Attempt from IP address 185.140.108.26.\nnonsense\n"
    rows = [json.loads(x) for x in fleet.ctl("explain", "-o", "jsonl", "-", input=line).splitlines()]
    assert rows[0] == {"line_no": 1, "rule": "unknown-user", "service": "smtp", "address": "185.140.108.26", "user": "a@b.c", "verdict": "failure"}
    assert rows[1]["rule"] is None and rows[1]["verdict"] == "none"
