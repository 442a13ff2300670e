# SPDX-License-Identifier: Apache-2.0
"""Many connections from one process, for what is measured and tested with a crowd: held requests, idle connections.

As a program, `crowd.py PORT N [HOST]` asks once on each of N connections and says "asked" when all requests are out,
then one line of JSON when all are answered or gone."""
import json
import re
import resource
import selectors
import socket
import sys
import time

ADDRESSES = 16  # 127.0.0.1 and on: one address has some 28,000 ports


def raise_file_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """Connections to one TCP port or unix socket. What comes back is read by `collect`; each asks one thing at a time."""

    def __init__(self, to, host="a.example.com"):
        raise_file_limit()
        self.to = ("127.0.0.1", to) if isinstance(to, int) else str(to)
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.socks, self.asked = [], set()
        self.buffers = {}
        self.statuses, self.broken = {}, 0
        self.selector = selectors.EpollSelector()

    def add(self, n):
        """n more connections. → the list of them"""
        new = []
        for i in range(n):
            s = socket.socket(socket.AF_INET if isinstance(self.to, tuple) else socket.AF_UNIX)
            if isinstance(self.to, tuple):
                s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                s.bind((f"127.0.0.{1 + (len(self.socks) + i) % ADDRESSES}", 0))
            s.settimeout(30)
            s.connect(self.to)
            s.setblocking(False)
            self.selector.register(s, selectors.EVENT_READ)
            new.append(s)
        self.socks += new
        return new

    def ask(self, socks=None):
        for s in self.socks if socks is None else socks:
            assert s.send(self.request) == len(self.request)
            self.asked.add(s)

    def collect(self, deadline, until=0):
        """Read until at most `until` requests are unanswered, or for so many seconds. → seconds that it took"""
        begun = time.monotonic()
        while len(self.asked) > until and time.monotonic() - begun < deadline:
            for key, _ in self.selector.select(0.2):
                self._read(key.fileobj)
        return time.monotonic() - begun

    def _read(self, s):
        try:
            data = s.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buf = self.buffers.pop(s, b"") + data
        head, sep, body = buf.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) if sep else None
        if length and len(body) >= int(length[1]) and s in self.asked:
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.asked.discard(s)
        elif data:
            self.buffers[s] = buf
        if not data:
            self.broken += s in self.asked
            self.asked.discard(s)
            self.selector.unregister(s)
            self.socks.remove(s)
            s.close()

    def warm(self, socks, at_once=50):
        """One request on each, so many at a time: afterwards they are idle keep-alive connections."""
        for i in range(0, len(socks), at_once):
            self.ask(socks[i:i + at_once])
            self.collect(30)

    def close(self):
        for s in self.socks:
            s.close()
        self.selector.close()

    def told(self):
        return {"statuses": self.statuses, "broken": self.broken, "unanswered": len(self.asked)}


def main():
    port, n = int(sys.argv[1]), int(sys.argv[2])
    crowd = Crowd(port, *sys.argv[3:4])
    crowd.ask(crowd.add(n))
    print("asked", flush=True)
    crowd.collect(300)
    print(json.dumps(crowd.told()), flush=True)


if __name__ == "__main__":
    main()
