# SPDX-License-Identifier: MPL-2.0
"""Hosts in network namespaces of their own, on one bridge.

A Net owns everything that it makes (namespaces, processes) and takes it down again in close(): processes by
their pid, then the namespaces. Nothing binds outside the namespaces. Host i has 10.77.0.i and fd77::i.
"""
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
import time

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def run(*argv, check=True, **kw):
    """A command whose output belongs to the error message if it fails."""
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and p.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {p.returncode}\n{p.stdout}")
    return p.stdout


def within(ns):
    """What to put before a command so that it runs in that namespace. Not `ip netns exec`: that remounts /, which a
    plain chroot refuses."""
    return ("nsenter", f"--net=/run/netns/{ns}", "--")


def wait_until(what, condition, deadline_s=20.0, every_s=0.01):
    """Waits for condition() to be true; what names it in the failure."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(every_s)


class inside:
    """`with inside(ns):` the calling thread is in that namespace; sockets made there stay there."""
    _lock = threading.Lock()

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self._lock.acquire()
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._set(f"/run/netns/{self.ns}")

    def _set(self, path=None):
        fd = self.home if path is None else os.open(path, os.O_RDONLY)
        if _libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
        os.close(fd)

    def __exit__(self, *exc):
        self._set()
        self._lock.release()


class Process:
    """One program in one namespace; its output goes to a file that a failing test shows."""

    def __init__(self, ns, argv, log, env=None):
        self.argv, self.log = argv, log
        self._out = open(log, "ab")
        self.p = subprocess.Popen([*within(ns), *argv], stdin=subprocess.DEVNULL, stdout=self._out,
                                  stderr=self._out, env={**os.environ, **(env or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.p.pid

    def alive(self):
        return self.p.poll() is None

    def children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(x) for x in f.read().split()]

    def kill(self):
        """kill -9, as a crash would, and its helpers by the end of their pipe."""
        if self.alive():
            self.p.send_signal(signal.SIGKILL)
        self.p.wait(timeout=10)

    def stop(self, deadline_s=10):
        if self.alive():
            self.p.send_signal(signal.SIGTERM)
            try:
                self.p.wait(timeout=deadline_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.argv[0]} did not stop within {deadline_s} s of SIGTERM")
        self._out.close()
        return self.p.returncode

    def output(self):
        with open(self.log, errors="replace") as f:
            return f.read()


class Host:
    def __init__(self, net, index, name):
        self.net, self.index, self.name = net, index, name
        self.ns = f"{net.tag}-{name}"
        self.port = f"{net.tag[-6:]}p{index}"
        self.ip4, self.ip6 = f"10.77.0.{index}", f"fd77::{index:x}"

    def start(self, argv, log, env=None):
        p = Process(self.ns, argv, log, env)
        self.net.processes.append(p)
        return p

    def run(self, *argv, check=True, **kw):
        return run(*within(self.ns), *argv, check=check, **kw)

    def add_address(self, address):
        bits = "64" if ":" in address else "24"
        run(*within(self.ns), "ip", "addr", "add", f"{address}/{bits}", "dev", "eth0",
            *(["nodad"] if ":" in address else []))

    def cut(self):
        run(*within(self.net.fabric), "ip", "link", "set", "dev", self.port, "down")

    def heal(self):
        run(*within(self.net.fabric), "ip", "link", "set", "dev", self.port, "up")

    def connect_all(self, targets, timeout=0.4):
        """A TCP connection from this host to each (address, port), or None where it is not answered; all at once."""
        waiting, result = {}, {t: None for t in targets}
        for address, port in targets:
            with inside(self.ns):
                s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            s.setblocking(False)
            s.bind((self.ip6 if ":" in address else self.ip4, 0))
            s.connect_ex((address, port))
            waiting[s] = (address, port)
        end = time.monotonic() + timeout
        while waiting and (left := end - time.monotonic()) > 0:
            for s in select.select([], list(waiting), [], left)[1]:
                target = waiting.pop(s)
                if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    s.close()
                    continue
                s.settimeout(5)
                result[target] = s
        for s in waiting:
            s.close()
        return result

    def connect(self, address, port, timeout=0.4):
        return self.connect_all([(address, port)], timeout)[address, port]


class Net:
    def __init__(self, tag=None):
        self.tag = tag or f"kban{os.getpid()}"
        self.fabric = f"{self.tag}-fabric"
        self.hosts, self.processes = {}, []
        run("ip", "netns", "add", self.fabric)
        run(*within(self.fabric), "ip", "link", "set", "dev", "lo", "up")
        run(*within(self.fabric), "ip", "link", "add", "br0", "type", "bridge")
        run(*within(self.fabric), "ip", "link", "set", "dev", "br0", "up")

    def host(self, name, index):
        h = Host(self, index, name)
        run("ip", "netns", "add", h.ns)
        self.hosts[name] = h
        run("ip", "link", "add", h.port, "netns", self.fabric, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
        run(*within(self.fabric), "ip", "link", "set", "dev", h.port, "master", "br0", "up")
        run(*within(h.ns), "ip", "link", "set", "dev", "lo", "up")
        run(*within(h.ns), "ip", "link", "set", "dev", "eth0", "up")
        h.add_address(h.ip4)
        h.add_address(h.ip6)
        return h

    def close(self):
        for p in reversed(self.processes):
            try:
                p.stop()
            except AssertionError:
                pass
        for ns in [h.ns for h in self.hosts.values()] + [self.fabric]:
            run("ip", "netns", "del", ns, check=False)
