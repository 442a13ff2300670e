# SPDX-License-Identifier: Apache-2.0
"""A stand-in for one queue-proxy with its function, on a unix socket, that a test can make refuse, stall
or die at will. One thread per connection; every request that reached the "function" is remembered."""
import json
import socket
import threading
import time


class FakeReplica:
    """mode: ok | full | draining | reset (close without an answer). `gate` cleared: requests wait in it.
    Probes are answered as a queue-proxy in that mode would, and counted apart."""

    def __init__(self, path, name, mode="ok"):
        self.path, self.name, self.mode = path, name, mode
        self.seen = []  # (method, target, headers, body) in order of arrival
        self.turned_away = 0
        self.probed = 0
        self.broken = 0  # requests that were read and not answered
        self.connections = 0
        self.active = 0
        self.pause = 0  # seconds that the function takes
        self.most_active = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"unix:{self.path}"

    def close(self):
        self.sock.close()
        self.path.unlink(missing_ok=True)

    def _accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with self.lock:
            self.connections += 1
        with conn, conn.makefile("rb") as f:
            try:
                while self._one(conn, f):
                    pass
            except (OSError, ValueError):
                pass
        with self.lock:
            self.connections -= 1

    def _one(self, conn, f):
        line = f.readline().decode().split()
        if not line:
            return False
        headers = {}
        while (h := f.readline().decode().rstrip("\r\n")):
            key, _, value = h.partition(":")
            headers[key.lower()] = value.strip()
        if headers.get("k-network-probe") == "queue":
            return self._probe(conn)
        if self.mode in ("full", "draining"):
            with self.lock:
                self.turned_away += 1
            conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nK-Lull-Refused: " + self.mode.encode() +
                         b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        if self.mode == "reset":
            with self.lock:
                self.broken += 1
            return False
        if headers.pop("expect", "") == "100-continue":  # as the queue-proxy does once it has a slot
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._body(f, headers)
        with self.lock:
            self.seen.append((line[0], line[1], headers, body))
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        self.gate.wait(120)  # longer than any test that keeps it closed
        time.sleep(self.pause)
        with self.lock:
            self.active -= 1
        out = json.dumps({"replica": self.name, "target": line[1], "headers": headers,
                          "body": body.decode(errors="replace")}).encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Fine: yes\r\n"
                     b"K-Lull-Secret: no\r\nContent-Length: %d\r\n\r\n%s" % (len(out), out))
        return True

    def _probe(self, conn):
        with self.lock:
            self.probed += 1
        if self.mode == "draining":
            conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 13\r\n\r\nshutting down")
        elif self.mode != "reset":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nqueue")
        return False

    @staticmethod
    def _body(f, headers):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(f.readline().split(b";")[0], 16)):
                body += f.read(size)
                f.readline()
            f.readline()
            return body
        return f.read(int(headers.get("content-length", 0)))
