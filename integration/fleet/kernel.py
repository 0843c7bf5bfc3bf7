# SPDX-License-Identifier: MPL-2.0
"""What a host's kernel blocks, read from nftables; and a watcher that says when an address got there."""
import ipaddress
import json
import select
import socket
import time

from net import inside

NETLINK_NETFILTER, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 12, 270, 1, 7


def full(prefix):
    """One spelling for an address or prefix: with its length."""
    return str(ipaddress.ip_network(prefix))


def _elements(entry):
    for e in entry.get("elem", []):
        yield e["elem"]["val"] if isinstance(e, dict) and "elem" in e else e


def prefixes(host, kind, table="kban"):
    """The prefixes in the kernel's sets of a kind ("ban" or "safe"). A set's name is KIND4_LEN or KIND6_LEN; one
    that was filled anew beside it, to take its place, has a "b" behind. Only a set that a rule uses blocks."""
    text = host.run("nft", "-j", "list", "table", "inet", table, check=False)
    if not text.startswith("{"):
        return set()
    found = set()
    for item in json.loads(text)["nftables"]:
        s = item.get("set")
        if s and s["name"].startswith(kind) and "_" in s["name"] and f'"@{s["name"]}"' in text:
            length = s["name"].rsplit("_", 1)[1].removesuffix("b")
            found |= {str(ipaddress.ip_network(f"{a}/{length}")) for a in _elements(s)}
    return found


class Watch:
    """Notes the moment at which each host's kernel tells of a new element with this address."""

    def __init__(self, hosts):
        self.sockets = {}
        for h in hosts:
            with inside(h.ns):
                s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            s.bind((0, 0))  # an unbound socket counts as the kernel itself and hears nothing
            s.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.setblocking(False)
            self.sockets[s] = h

    def wait(self, address, deadline_s=5.0):
        """{host name: time.monotonic_ns() of the notification}, for the hosts that had one in time."""
        raw = ipaddress.ip_address(address).packed
        if len(raw) == 16:
            raw = raw[:8] + bytes(8)
        mark = (len(raw) + 4).to_bytes(2, "little") + b"\x01\x00" + raw
        seen, end = {}, time.monotonic() + deadline_s
        while len(seen) < len(self.sockets) and time.monotonic() < end:
            ready, _, _ = select.select(list(self.sockets), [], [], max(0, end - time.monotonic()))
            now = time.monotonic_ns()
            for s in ready:
                try:
                    data = s.recv(1 << 17)
                except OSError:
                    continue
                if mark in data:
                    seen.setdefault(self.sockets[s].name, now)
        return seen

    def close(self):
        for s in self.sockets:
            s.close()
