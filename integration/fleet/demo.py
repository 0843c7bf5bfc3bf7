# SPDX-License-Identifier: MPL-2.0
"""What integration/try shows: an attack on one server, stopped in the kernel of all three."""
import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
import kernel  # noqa: E402
from fleet import PORTS, Fleet  # noqa: E402
from net import run, wait_until  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, "build", "release", "bin")
TAG = "kbantry"
KEPT = "/run/kban-try.json"
LOCK = "/run/kban-try.lock"
PROGRAMS = (b"kban-broker", b"kban-node", b"listener.py")


def say(text=""):
    print(text, flush=True)


def connections(host, fleet):
    """{(address, port): socket or None} from a host to every service of every server."""
    return host.connect_all([(a, p) for n in fleet.nodes for a in (n.host.ip4, n.host.ip6) for p in PORTS])


def answers(sock):
    try:
        sock.sendall(b"NOOP\n")
        return sock.recv(100).startswith(b"220")
    except OSError:
        return False


def ended(sock):
    sock.settimeout(2)
    try:
        return sock.recv(1) == b""
    except socket.timeout:
        return False
    except OSError:
        return True


def count_open(conns):
    return sum(s is not None for s in conns.values())


def show_attack(fleet, attacker, colleague):
    before, friends = connections(attacker, fleet), connections(colleague, fleet)
    total = len(before)
    say(f"attacker  {attacker.ip4} and {attacker.ip6}: {count_open(before)} of {total} connections to ports "
        f"{', '.join(map(str, PORTS))} of three servers are open")
    say(f"colleague {colleague.ip4}, in SafeAcl: {count_open(friends)} of {total} connections are open")
    say()
    for address in (attacker.ip4, attacker.ip6):
        watch = kernel.Watch([n.host for n in fleet.nodes])
        say(f"mail1's security.log: ten failed logins from {address}")
        at = fleet.nodes[0].attack(address)
        seen = watch.wait(address)
        watch.close()
        for n in fleet.nodes:
            ms = f"{(seen[n.name] - at) / 1e6:6.2f} ms after the log line" if n.name in seen else "NOT within 5 s"
            say(f"  {n.name}: in the kernel {ms}")
    cut = sum(ended(s) for s in before.values() if s)
    again = connections(attacker, fleet)
    say(f"attacker:  {cut} of {count_open(before)} open connections were ended, {count_open(again)} of {total} new ones get through")
    fleet.nodes[1].attack(colleague.ip4)
    fleet.nodes[1].attack(colleague.ip6)
    fleet.nodes[1].attack("192.0.2.1")  # when this one is banned everywhere, the colleague's lines were read too
    mark = kernel.full("192.0.2.1")
    wait_until("mail2's log was read", lambda: all(mark in n.banned() for n in fleet.nodes))
    still = sum(answers(s) for s in friends.values() if s)
    new = count_open(connections(colleague, fleet))
    say(f"colleague: the same ten failures on mail2; {still} of {total} connections still answer, {new} of {total} new ones get through")
    wanted = {kernel.full(attacker.ip4), kernel.full(attacker.net6)}
    through = {address for (address, _), s in again.items() if s}
    blocked = [n for n in fleet.nodes if wanted <= n.banned() and not through & {n.host.ip4, n.host.ip6}]
    return blocked, cut == count_open(before) == total and still == new == total


def measure(fleet, times):
    """Milliseconds from the log line on mail1 to the last of the kernels, for so many attackers."""
    watch, results = kernel.Watch([n.host for n in fleet.nodes]), []
    for i in range(times):
        address = f"198.51.{100 + i // 200}.{i % 200 + 1}"
        at = fleet.nodes[0].attack(address)
        seen = watch.wait(address)
        if len(seen) < len(fleet.nodes):
            raise SystemExit(f"{address} was not in every kernel within 5 s")
        results.append((max(seen.values()) - at) / 1e6)
    watch.close()
    results.sort()
    say(f"{times} attacks, log line to the last of {len(fleet.nodes)} kernels: median {statistics.median(results):.2f} ms, "
        f"best {results[0]:.2f} ms, worst {results[-1]:.2f} ms")


def keep(fleet):
    with open(KEPT, "w") as f:
        json.dump({"work": fleet.work}, f)
    n = fleet.nodes[0]
    say(f"""
The fleet is still running. Talk to it:
  alias kbanctl='nsenter --net=/run/netns/{fleet.ops.ns} env KBAN_IDENTITY={fleet.operator} {fleet.program("kbanctl")}'
  kbanctl cluster list
  kbanctl log --follow
  nsenter --net=/run/netns/{n.host.ns} nft list table inet kban
  echo "[$(date '+%d/%b/%Y %H:%M:%S')] SMTP: User x@example.com doesn't exist. Attempt from IP address 192.0.2.77." >> {n.log}
End it:
  ./integration/try --end""")


def only_one():
    """The lock of the one demonstration that may make or end hosts at a time; it goes with this process."""
    lock = open(LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("integration/try: another one is running; wait for it to end") from None
    return lock


def is_ours(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().split(b"\0")
    except FileNotFoundError:
        return False
    return any(os.path.basename(word) in PROGRAMS for word in words[:2])


def sweep():
    """Ends what a fleet left: by its hosts' names, so that one whose demonstration was killed goes too."""
    hosts = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(f"{TAG}-")]
    pids = [int(pid) for ns in hosts for pid in run("ip", "netns", "pids", ns).split() if is_ours(pid)]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    wait_until("the programs end", lambda: not any(is_ours(pid) for pid in pids))
    for ns in hosts:
        run("ip", "netns", "del", ns, check=False)
    return bool(hosts)


def end():
    found = sweep()
    if os.path.exists(KEPT):
        with open(KEPT) as f:
            shutil.rmtree(json.load(f)["work"], ignore_errors=True)
        os.unlink(KEPT)
    elif not found:
        raise SystemExit("integration/try: no fleet was left running")
    say("the fleet has ended")


def show(times):
    work = tempfile.mkdtemp(prefix="kban-try-")
    fleet = None
    try:
        fleet = Fleet(BIN, work, tag=TAG)
        attacker, colleague = fleet.attacker(), fleet.net.host("colleague", 77)
        for address in (colleague.ip4, colleague.ip6):
            fleet.ctl("safeacl", "add", address, "--reason", "a colleague's office")
        fleet.agree()
        say("three mail servers, a broker, an attacker and a colleague: six hosts in network namespaces of their own\n")
        blocked, sound = show_attack(fleet, attacker, colleague)
        fleet.agree()
        for command in (("cluster", "list"), ("bans",), ("why", attacker.ip4)):
            say(f"\n$ kbanctl {' '.join(command)}\n{fleet.ctl(*command).rstrip()}")
        if times:
            say()
            measure(fleet, times)
        say(f"\nattacker blocked on {len(blocked)} of {len(fleet.nodes)} nodes")
        return fleet, sound and len(blocked) == len(fleet.nodes)
    except BaseException as e:
        if fleet:
            fleet.close()
        if isinstance(e, KeyboardInterrupt):
            shutil.rmtree(work, ignore_errors=True)
        else:
            say(f"integration/try: failed; what the programs wrote is in {work}")
        raise


def main():
    p = argparse.ArgumentParser(prog="integration/try")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--end", action="store_true")
    p.add_argument("--times", type=int, default=0)
    options = p.parse_args()
    if os.geteuid():
        raise SystemExit("integration/try: run as root: it makes network namespaces")
    lock = only_one()  # noqa: F841  held until the end
    if options.end:
        return end()
    if os.path.exists(KEPT):
        raise SystemExit("integration/try: a fleet is still running from before: ./integration/try --end")
    if sweep():
        say("what an earlier demonstration left was ended first")
    started = time.monotonic()
    fleet, sound = show(options.times)
    if options.keep:
        keep(fleet)
    else:
        fleet.close()
        shutil.rmtree(fleet.work)
    say(f"({time.monotonic() - started:.1f} s)")
    if not sound:
        raise SystemExit("integration/try: something above is not as it should be")


def interrupt(_signo, _frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nintegration/try: interrupted; its hosts and programs are gone") from None
