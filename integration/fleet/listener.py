# SPDX-License-Identifier: MPL-2.0
"""Stands where Kerio's services listen: answers each line on the ports given, over IPv4 and IPv6."""
import selectors
import socket
import sys


def main():
    loop = selectors.DefaultSelector()
    for port in map(int, sys.argv[1:]):
        s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
        s.setblocking(False)
        loop.register(s, selectors.EVENT_READ, True)
    print("listening", flush=True)
    while True:
        for key, _ in loop.select():
            if key.data:
                c, _ = key.fileobj.accept()
                c.setblocking(False)
                loop.register(c, selectors.EVENT_READ, False)
                continue
            try:
                data = key.fileobj.recv(4096)
                if data:
                    key.fileobj.send(b"220 " + data)
                    continue
            except OSError:
                pass
            loop.unregister(key.fileobj)
            key.fileobj.close()


if __name__ == "__main__":
    main()
