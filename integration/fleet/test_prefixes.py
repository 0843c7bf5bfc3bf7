# SPDX-License-Identifier: MPL-2.0
"""Prefixes on the real programs: safe addresses inside wide bans, covering unbans, IPv6, IPv4-mapped and NAT64 addresses."""
import os
import subprocess
import sys
import threading

import pytest

import kernel
from conftest import BIN
from fleet import CtlError
from net import run, wait_until, within

WIDE4, FRIEND4, STRANGER4 = "100.64.0.0/16", "100.64.1.7", "100.64.2.8"
WIDE6, FRIEND6, STRANGER6 = "2001:db8:77::/48", "2001:db8:77:1::7", "2001:db8:77:2::8"


def wait_in_kernels(fleet, prefixes, there=True):
    wanted = {kernel.full(p) for p in prefixes}
    wait_until(f"{prefixes} {'in' if there else 'out of'} every kernel",
               lambda: all(wanted <= n.banned() if there else not wanted & n.banned() for n in fleet.live_nodes()))


def wait_safe(fleet, prefixes):
    wanted = {kernel.full(p) for p in prefixes}
    wait_until(f"{prefixes} safe in every kernel", lambda: all(wanted <= n.safe() for n in fleet.live_nodes()))


def client(fleet, name, index, ip4, ip6):
    """A host outside, at these addresses; every server has a route to where it is."""
    h = fleet.net.host(name, index)
    for address in (ip4, ip6):
        h.add_address(address)
    for n in fleet.nodes:
        for network in (WIDE4, WIDE6):
            run(*within(n.host.ns), "ip", "route", "replace", network, "dev", "eth0")
    h.ip4, h.ip6 = ip4, ip6
    return h


def targets(fleet):
    return [(a, 143) for n in fleet.nodes for a in (n.host.ip4, n.host.ip6)]


def reached(host, fleet):
    """Which of the servers' addresses answer; refused ones are waited for only briefly."""
    found = host.connect_all(targets(fleet), 0.3)
    for s in found.values():
        if s:
            s.close()
    return {t for t, s in found.items() if s}


class Steady:
    """Connects to every server again and again, and holds one connection to each open: none may ever fail."""

    def __init__(self, host, fleet):
        self.host, self.fleet, self.failures, self.rounds = host, fleet, [], 0
        self.stopping = threading.Event()
        self.held = host.connect_all(targets(fleet), 2)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stopping.is_set():
            self.failures += [t for t, s in self.host.connect_all(targets(self.fleet), 2).items() if not (s and s.close() is None)]
            self.rounds += 1

    def __enter__(self):
        assert all(self.held.values())
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.thread.join()
        for s in self.held.values():
            s.close()

    def check(self):
        before = self.rounds
        wait_until("another round of connections", lambda: self.rounds > before + 1)
        assert self.failures == []
        for t, s in self.held.items():
            s.sendall(b"NOOP\n")
            assert s.recv(100) == b"220 NOOP\n", t


@pytest.mark.parametrize("first", ["ban", "safe"])
def test_a_safe_address_inside_a_wide_ban_gets_through_in_either_order_and_after_restarts(fleet, first):
    friend = client(fleet, "friend", 61, FRIEND4, FRIEND6)
    stranger = client(fleet, "stranger", 62, STRANGER4, STRANGER6)

    def ban():
        for p in (WIDE4, WIDE6):
            fleet.ctl("ban", p, "--for", "1h", "--reason", "a whole provider", "--yes")
        wait_in_kernels(fleet, (WIDE4, WIDE6))

    def safe():
        for p in (FRIEND4, FRIEND6):
            fleet.ctl("safeacl", "add", p, "--reason", "a customer there")
        wait_safe(fleet, (FRIEND4, FRIEND6))

    everyone = set(targets(fleet))
    assert reached(friend, fleet) == reached(stranger, fleet) == everyone
    if first == "ban":
        ban()
        assert reached(friend, fleet) == reached(stranger, fleet) == set()
        safe()
    else:
        safe()
    with Steady(friend, fleet) as steady:
        if first == "safe":
            ban()
        steady.check()
        assert reached(stranger, fleet) == set()
        for n in fleet.nodes:
            n.restart()
        steady.check()
        assert reached(stranger, fleet) == set()
        n = fleet.nodes[0]  # as after a reboot: nothing is in its kernel, everything on its disk
        n.process.stop()
        n.host.run("nft", "flush", "ruleset")
        n.start()
        wait_in_kernels(fleet, (WIDE4, WIDE6))
        steady.check()
        assert reached(stranger, fleet) == set()
        fleet.agree()
        assert fleet.bans() == {WIDE4, WIDE6}
    for p in (FRIEND4, FRIEND6):
        fleet.ctl("safeacl", "remove", p)
    wait_until("the customer is out of the safe sets", lambda: not any({kernel.full(FRIEND4), kernel.full(FRIEND6)} & n.safe() for n in fleet.nodes))
    assert reached(friend, fleet) == set()
    fleet.agree()


@pytest.mark.parametrize("narrow, middle, wide, beside", [
    ("198.51.100.7", "198.51.100.0/24", "198.51.0.0/16", "198.52.0.0/16"),
    ("2001:db8:7:1::/64", "2001:db8:7::/48", "2001:db8::/32", "2001:db9::/32")])
def test_unban_names_what_still_covers_and_covering_ends_that_too(make_fleet, narrow, middle, wide, beside):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    for p in (narrow, middle, wide, beside):
        fleet.ctl("ban", p, "--for", "1h", "--yes")
    wait_in_kernels(fleet, (narrow, middle, wide, beside))
    with pytest.raises(CtlError) as e:
        fleet.ctl("unban", narrow)
    assert e.value.code == 1 and middle in e.value.err and wide in e.value.err and "--covering" in e.value.err
    assert beside not in e.value.err
    wait_in_kernels(fleet, [narrow], there=False)
    wait_in_kernels(fleet, (middle, wide, beside))
    out = fleet.json("unban", narrow, "--covering")
    assert (out["ended"], out["covering"]) == (2, 0)
    wait_in_kernels(fleet, (middle, wide), there=False)
    assert fleet.bans() == {kernel.full(beside)}
    with pytest.raises(CtlError) as e:
        fleet.ctl("unban", narrow)
    assert e.value.code == 3
    fleet.agree()


def test_a_wider_ban_over_single_ones_ends_alone_by_time_and_with_them_by_unban(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    singles = ("203.0.113.7", "203.0.113.9", "2001:db8:5:6::/64")
    for address in ("203.0.113.7", "203.0.113.9", "2001:db8:5:6::1"):
        fleet.nodes[0].attack(address)
    wait_in_kernels(fleet, singles)
    for wide in ("203.0.113.0/24", "2001:db8:5::/48"):
        fleet.ctl("ban", wide, "--for", "2s", "--yes", "--wait", "all")
    wait_in_kernels(fleet, ("203.0.113.0/24", "2001:db8:5::/48"), there=False)  # run out
    wait_in_kernels(fleet, singles)
    fleet.agree()
    for wide, n in (("203.0.113.0/24", 3), ("2001:db8:5::/48", 2)):
        fleet.ctl("ban", wide, "--for", "1h", "--yes", "--wait", "all")
        assert fleet.json("unban", wide)["ended"] == n
    wait_in_kernels(fleet, singles, there=False)
    assert fleet.bans() == set()
    fleet.agree()


def test_one_safe_or_excepted_address_neither_bans_nor_shelters_its_network(make_fleet):
    fleet = make_fleet(nodes=2, node_options={"except": ["2001:db8:9:9::25"]})
    fleet.agree()
    n = fleet.nodes[0]
    assert kernel.full("2001:db8:9:9::25") in n.safe() and {kernel.full(n.host.ip4), kernel.full(n.host.ip6)} <= n.safe()
    fleet.ctl("safeacl", "add", "2001:db8:5:6::1")
    wait_safe(fleet, ["2001:db8:5:6::1"])
    for address in ("2001:db8:5:6::1", "2001:db8:9:9::25"):
        n.attack(address, times=40)
    n.attack("198.51.100.7")  # read after them
    wait_in_kernels(fleet, ["198.51.100.7"])
    assert fleet.bans() == {"198.51.100.7/32"}
    for address in ("2001:db8:5:6::2", "2001:db8:9:9::66"):
        n.attack(address)
    wait_in_kernels(fleet, ("198.51.100.7", "2001:db8:5:6::/64", "2001:db8:9:9::/64"))
    assert {kernel.full("2001:db8:5:6::1"), kernel.full("2001:db8:9:9::25")} <= n.safe()
    fleet.agree()


def test_a_servers_own_64_is_not_banned_with_an_attacker_in_it(make_fleet):
    fleet = make_fleet(nodes=2)
    n = fleet.nodes[0]
    n.host.add_address("fd88::1")
    n.restart()
    fleet.agree()
    n.attack("fd88::66")
    n.attack("198.51.100.7")  # read after it
    wait_in_kernels(fleet, ["198.51.100.7"])
    assert fleet.bans() == {"198.51.100.7/32"}
    with open(n.output) as f:
        assert "fd88::/64 offended and is not banned: it is this server's own network" in f.read()


def test_no_ports_in_the_configuration_close_everything(make_fleet):
    fleet = make_fleet(nodes=1, node_options={"ports": []})
    fleet.agree()
    n, attacker = fleet.nodes[0], fleet.attacker()
    probe = ("import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.3)\n"
             "s.connect((sys.argv[1], 9)); s.send(b'x')\n"
             "try: s.recv(1)\nexcept ConnectionRefusedError: print('refused')\nexcept TimeoutError: print('nothing')")

    def udp():
        return attacker.run(sys.executable, "-c", probe, n.host.ip4).strip()

    def tcp(port):
        (s,) = attacker.connect_all([(n.host.ip4, port)], 0.3).values()
        return bool(s and s.close() is None)

    other = n.host.start([sys.executable, "-c", "import socket,time; s=socket.create_server(('', 2222)); time.sleep(600)"], os.path.join(n.dir, "other.log"))
    wait_until("another port is open", lambda: tcp(2222))
    assert udp() == "refused" and tcp(143)
    fleet.ctl("ban", attacker.ip4, "--for", "1h")
    wait_in_kernels(fleet, [attacker.ip4])
    assert udp() == "nothing" and not tcp(2222) and not tcp(143)
    other.stop()


def test_ipv4_mapped_addresses_are_ipv4_wherever_they_are_given(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    fleet.nodes[0].attack("::ffff:192.0.2.7", times=5)
    fleet.nodes[0].attack("192.0.2.7", times=5)  # the same attacker
    fleet.ctl("ban", "::ffff:192.0.2.1", "--for", "1h")
    fleet.ctl("ban", "::ffff:198.51.0.0/112", "--for", "1h", "--yes")
    wait_in_kernels(fleet, ("192.0.2.7", "192.0.2.1", "198.51.0.0/16"))
    assert fleet.bans() == {"192.0.2.7/32", "192.0.2.1/32", "198.51.0.0/16"}
    assert [b["prefix"] for b in fleet.json("bans", "::ffff:192.0.2.1")["bans"]] == ["192.0.2.1"]
    text = fleet.ctl("why", "::ffff:192.0.2.1")
    assert "192.0.2.1" in text and "ffff" not in text
    with pytest.raises(CtlError) as e:
        fleet.ctl("unban", "::ffff:198.51.7.7")
    assert e.value.code == 1 and "198.51.0.0/16" in e.value.err
    fleet.ctl("unban", "::ffff:192.0.2.1")
    wait_in_kernels(fleet, ["192.0.2.1"], there=False)
    fleet.ctl("safeacl", "add", "::ffff:192.0.2.0/120")
    wait_safe(fleet, ["192.0.2.0/24"])
    wait_in_kernels(fleet, ["192.0.2.7"], there=False)
    fleet.ctl("safeacl", "remove", "::ffff:192.0.2.0/120")
    fleet.agree()


def test_nat64_addresses_are_counted_and_banned_one_by_one(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    n = fleet.nodes[0]
    for i in range(1, 31):  # thirty of one /64, which would be everybody behind IPv4
        n.attack(f"64:ff9b::198.51.100.{i}", times=9)
    n.attack("64:ff9b::192.0.2.1", times=10)
    wait_in_kernels(fleet, ["64:ff9b::c000:201/128"])
    assert fleet.bans() == {"64:ff9b::c000:201/128"}
    fleet.ctl("ban", "64:ff9b::198.51.0.0/112", "--for", "1h")
    wait_in_kernels(fleet, ["64:ff9b::c633:0/112"])
    fleet.agree()


def test_every_length_that_operators_may_ban_gets_into_the_kernels(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    lengths = [(f"{20 + i}.0.0.0", i) for i in (8, 9, 15, 16, 17, 23, 25, 31, 32)]
    lengths += [(f"2a{i:02x}::", i) for i in (16, 17, 31, 32, 33, 47, 63, 64, 65, 96, 127, 128)]
    for address, length in lengths:
        wider = length < (32 if ":" in address else 16)
        if wider:
            with pytest.raises(CtlError) as e:
                fleet.ctl("ban", f"{address}/{length}", "--for", "1h", "--yes")
            assert e.value.code == 1 and "--force" in e.value.err
        fleet.ctl("ban", f"{address}/{length}", "--for", "1h", "--yes", *(["--force"] if wider else []))
    wait_in_kernels(fleet, [f"{a}/{n}" for a, n in lengths])
    fleet.agree()
    for address, length in lengths:
        fleet.ctl("unban", f"{address}/{length}")
    fleet.ctl("ban", "192.0.2.1", "--wait", "all")
    fleet.agree()


@pytest.mark.parametrize("given, remedy", [
    ("192.0.2.1/24", "did you mean 192.0.2.0/24, or 192.0.2.1 alone?"),
    ("192.0.2.0/255.255.255.0", "write the length: 192.0.2.0/24"),
    ("192.0.2.0/255.0.255.0", "no prefix"),
    ("192.0.2.1-192.0.2.6", "192.0.2.1 192.0.2.2/31 192.0.2.4/31 192.0.2.6"),
    ("192.0.2.9-192.0.2.1", "ends before it begins"),
    ("192.0.2.0/33", "0 to 32"),
    ("fe80::1%eth0", "without it"),
    ("\033[31m/8", "\\x1b[31m/8 is no address or prefix")])
def test_a_bad_prefix_is_refused_with_what_to_write_instead(given, remedy, tmp_path):
    """Before anything is asked of a broker, so no fleet is needed."""
    for command in (["ban"], ["unban"], ["bans"], ["safeacl", "add"], ["safeacl", "remove"], ["safeacl", "approve", "--node", "x"]):
        p = subprocess.run([os.path.join(BIN, "kbanctl"), *command, given], capture_output=True, text=True,
                           env={**os.environ, "KBAN_IDENTITY": str(tmp_path / "none")})
        assert p.returncode == 2 and remedy in p.stderr and p.stdout == "", (command, p.stderr)


def test_what_a_prefix_overlaps_is_only_named(make_fleet):
    fleet = make_fleet(nodes=1)
    fleet.agree()
    fleet.ctl("safeacl", "add", "203.0.113.0/24")
    assert "inside" not in fleet.err and "holds" not in fleet.err
    fleet.ctl("safeacl", "add", "203.0.113.7")
    assert "it lies inside 203.0.113.0/24, by operator, active" in fleet.err
    fleet.ctl("safeacl", "add", "203.0.112.0/23")
    assert "it holds 203.0.113.0/24" in fleet.err and "it holds 203.0.113.7" in fleet.err
    fleet.ctl("ban", "203.0.0.0/16", "--yes")
    for p in ("203.0.112.0/23", "203.0.113.0/24", "203.0.113.7"):
        assert f"{p} in it stays safe, by operator" in fleet.err
    fleet.agree()
    fleet.ctl("safeacl", "remove", "203.0.113.0/24")  # that inside and that around stay
    wait_until("it is out of the kernel", lambda: "203.0.113.0/24" not in fleet.nodes[0].safe())
    assert {"203.0.112.0/23", "203.0.113.7/32"} <= fleet.nodes[0].safe()
    fleet.agree()
