# SPDX-License-Identifier: MPL-2.0
"""A whole fleet of the real programs: a broker, an operator and nodes, each on a host of its own."""
import json
import os
import subprocess
import sys
import time

import kernel
from net import Net, run, wait_until, within

PORTS = (25, 143, 993)
OPERATOR, BROKER = 200, 100  # the last byte of their addresses; node i has i


class CtlError(Exception):
    def __init__(self, argv, code, out, err):
        super().__init__(f"kbanctl {' '.join(argv)}: exit {code}\n{out}{err}")
        self.code, self.out, self.err = code, out, err


class Node:
    def __init__(self, fleet, index):
        self.fleet, self.index, self.name = fleet, index, f"mail{index}"
        self.host = fleet.net.host(self.name, index)
        self.dir = os.path.join(fleet.work, self.name)
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        self.log = os.path.join(self.dir, "security.log")
        self.identity = os.path.join(self.dir, "node.id")
        self.conf = os.path.join(self.dir, "node.conf")
        self.output = os.path.join(self.dir, "kban-node.out")
        self.process = None
        self.release = None  # "next": the program of the next release
        open(self.log, "w").close()

    def configure(self, **options):
        values = {"identity": self.identity, "data": os.path.join(self.dir, "data"), "log": self.log, **options}
        with open(self.conf, "w") as f:
            for k, v in values.items():
                text = v if isinstance(v, (int, float)) else "{" + ", ".join(map(str, v)) + "}" if isinstance(v, (list, tuple)) else f'"{v}"'
                f.write(f"{k} = {text}\n")

    def join(self, token):
        return self.fleet.ctl("node", "join", "--identity", self.identity, "--token-file", "-",
                              host=self.host, input=token)

    def listen(self):
        self.listener = self.host.start([sys.executable, os.path.join(os.path.dirname(__file__), "listener.py"), *map(str, PORTS)],
                                        os.path.join(self.dir, "listener.out"))
        wait_until(f"{self.name} listens", lambda: "listening" in self.listener.output())

    def start(self, env=None):
        self.process = self.host.start([self.fleet.program("kban-node", self.release), "-c", self.conf], self.output, env)

    def kill(self):
        self.process.kill()

    def restart(self):
        self.process.stop()
        self.start()

    def write(self, *lines):
        with open(self.log, "a") as f:
            f.write("".join(line + "\n" for line in lines))

    def attack(self, address, times=10, service="SMTP", user="joe@example.com"):
        """What Kerio writes for so many failed logins; returns the moment just before the last line."""
        stamp = time.strftime("%d/%b/%Y %H:%M:%S")
        line = f"[{stamp}] {service}: User {user} doesn't exist. Attempt from IP address {address}."
        self.write(*[line] * (times - 1))
        at = time.monotonic_ns()
        self.write(line)
        return at

    def banned(self):
        return kernel.prefixes(self.host, "ban")

    def safe(self):
        return kernel.prefixes(self.host, "safe")


class Fleet:
    def __init__(self, bin_dir, work, nodes=3, tag=None, node_options=None, past=None):
        """past: {"entries": N, "days": N, "away": {NAME: DAYS}}: the log already has so many entries;
        these nodes have joined it, were switched off so many days ago (None: have no replica), and are not started."""
        self.bin, self.work, self.past = bin_dir, work, past
        os.makedirs(work, mode=0o700, exist_ok=True)
        self.net = Net(tag)
        self.node_options = node_options or {}
        self.nodes = []
        try:
            self._broker()
            for i in range(1, nodes + 1):
                self.add_node(i)
        except BaseException:
            self.close()
            raise

    def program(self, name, release=None):
        return os.path.join(self.bin, release or "", name)

    def _broker(self):
        self.ops = self.net.host("ops", OPERATOR)
        self.broker_host = self.net.host("broker", BROKER)
        self.keys = os.path.join(self.work, "ops")
        self.broker_dir = os.path.join(self.work, "broker")
        os.makedirs(self.broker_dir, mode=0o700)
        self.operator = os.path.join(self.keys, "operator.id")
        self.ctl("init", "--dir", self.keys, "--broker", f"tcp://{self.broker_host.ip4}:7400",
                 "--address", self.broker_host.ip6, identity=False)
        self.broker_conf = os.path.join(self.broker_dir, "broker.conf")
        self.broker_output = os.path.join(self.broker_dir, "kban-broker.out")
        with open(self.broker_conf, "w") as f:
            f.write(f'listen = {{"tcp://{self.broker_host.ip4}:7400"}}\n'
                    f'identity = "{self.keys}/broker.id"\ngenesis = "{self.keys}/genesis.kban"\n'
                    f'data = "{self.broker_dir}/data"\n')
        if self.past:
            self._history(**self.past)
        self.start_broker()

    def _history(self, entries, days, away):
        files = {n: os.path.join(self.work, n) for n in away}
        for d in files.values():
            os.makedirs(d, mode=0o700)
        replicas = [f"--replica={d}={files[n]}/data" for n, d in away.items() if d is not None]
        subprocess.run([self.program("kban-history"), "--keys", self.keys, "--broker-data", os.path.join(self.broker_dir, "data"),
                        "--entries", str(entries), "--days", str(days), *replicas,
                        *(f"{n}={d}/node.id" for n, d in files.items())], check=True, timeout=300)

    def attacker(self):
        """A host outside: its IPv6 network is a /64 of its own, since IPv6 is banned by the /64."""
        h = self.net.host("attacker", 66)
        h.ip6, h.net6 = "fd66::66", "fd66::/64"
        h.add_address(h.ip6)
        for n in self.nodes:
            run(*within(n.host.ns), "ip", "route", "add", h.net6, "dev", "eth0")
        run(*within(h.ns), "ip", "route", "add", "fd77::/64", "dev", "eth0", "src", h.ip6, "metric", "1")
        return h

    def start_broker(self, env=None, release=None):
        self.broker = self.broker_host.start([self.program("kban-broker", release), "-c", self.broker_conf], self.broker_output, env)
        wait_until("the broker listens", lambda: ":7400" in self.broker_host.run("ss", "-Hltn"))

    def add_node(self, index, start=True, **options):
        n = Node(self, index)
        n.configure(**{**self.node_options, **options})
        if not os.path.exists(n.identity):
            n.join(self.invite(n.name))
        n.listen()
        self.nodes.append(n)
        if start:
            n.start()
        return n

    def invite(self, name, *options):
        return self.ctl("node", "invite", name, *options).strip()

    def ctl(self, *argv, host=None, input=None, identity=True, codes=(0,), release=None):
        """kbanctl on the operator's host (or another); its stdout."""
        env = {**os.environ, "NO_COLOR": "1"}
        if identity:
            env["KBAN_IDENTITY"] = self.operator
        full = [*within((host or self.ops).ns), self.program("kbanctl", release), *argv]
        p = subprocess.run(full, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
        if p.returncode not in codes:
            raise CtlError(argv, p.returncode, p.stdout, p.stderr)
        self.code, self.err = p.returncode, p.stderr
        return p.stdout

    def json(self, *argv, codes=(0,)):
        return json.loads(self.ctl(*argv, "-o", "json", codes=codes))

    def bans(self):
        """The broker's word on what is banned: {prefix}."""
        return {kernel.full(b["prefix"]) for b in self.json("bans")["bans"]}

    def cluster(self):
        """cluster list: its nodes and the broker."""
        return self.json("cluster", "list", codes=(0, 6))

    def live_nodes(self):
        return [n for n in self.nodes if n.process and n.process.alive()]

    def agree(self, deadline_s=20):
        """Every live node is in step with the ledger by kbanctl's own check, and every live node's kernel holds
        exactly what the broker's ledger says: bans by `bans`, safe ranges by `safeacl list`."""
        names = {n.name for n in self.live_nodes()}
        state = {}

        def same():
            rows = {r["name"]: r for r in self.cluster()["nodes"] if r["name"] in names}
            bans = self.bans()
            safe = {kernel.full(s["prefix"]) for s in self.json("safeacl", "list")["ranges"] if s["state"] in ("active", "approved")}
            kernels = {n.name: (n.banned(), n.safe()) for n in self.live_nodes()}
            state.update(rows=rows, bans=bans, safe=safe, kernels=kernels)
            return (set(rows) == names and all(r["state"] == "live" and r["agrees"] for r in rows.values())
                    and all(b == bans and safe <= s for b, s in kernels.values()))

        wait_until(lambda: f"the fleet agrees: {json.dumps(state, default=sorted, indent=1)}", same, deadline_s, 0.05)

    def outputs(self):
        """(name, what it wrote) of every program."""
        files = [self.broker_output, *(n.output for n in self.nodes)]
        for path in files:
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    yield os.path.basename(os.path.dirname(path)), f.read()

    def close(self):
        self.net.close()
