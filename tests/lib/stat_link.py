# SPDX-License-Identifier: Apache-2.0
"""The activator's end of the stat link, for tests of the autoscaler: frames on its unix socket."""
import json
import socket
import struct
import threading
import time

HELLO, STATS, POKE, NOTE = 1, 2, 3, 4


def stat(concurrency=0.0, count=0.0, proxied=0.0, proxied_count=0.0, pod="test"):
    """Knative's Stat in protobuf."""
    out = b"\x0a" + bytes([len(pod)]) + pod.encode()
    for field, value in ((2, concurrency), (3, proxied), (4, count), (5, proxied_count)):
        out += bytes([field << 3 | 1]) + struct.pack("<d", value)
    return out


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def message(name, concurrency, namespace="default"):
    return field(1, field(1, namespace.encode()) + field(2, name.encode()) +
                 field(3, stat(concurrency, concurrency)))


def frame(kind, payload):
    return struct.pack(">IBBH", 4 + len(payload), 1, kind, 0) + payload


class StatLink:
    """Says HELLO, then reports `load` (revision -> concurrency) every second until `close` or `pause`."""

    def __init__(self, path, name="a", report=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.load, self.notes, self.seq, self.closed, self.paused = {}, [], 0, False, False
        self.lock = threading.RLock()
        self.send(HELLO, json.dumps({"name": name, "boot": "1"}).encode())
        threading.Thread(target=self._read, daemon=True).start()
        if report:
            threading.Thread(target=self._report, daemon=True).start()

    def send(self, kind, payload):
        with self.lock:
            self.sock.sendall(frame(kind, payload))

    def report(self):
        with self.lock:
            self.seq += 1
            body = b"".join(message(name, value) for name, value in list(self.load.items()) if value)
            self.send(STATS, struct.pack(">QHH", self.seq, 0, 1) + body)

    def pause(self):
        """None is under way any more, and only `report` sends another."""
        with self.lock:
            self.paused = True

    def poke(self, *names, count=1):
        self.send(POKE, b"".join(message(name, float(count)) for name in names))

    def noted(self, phase, name=None):
        return [n for _, n in self.notes if n["phase"] == phase and name in (None, n["name"])]

    def _report(self):
        while not self.closed:
            try:
                with self.lock:
                    if not self.paused:
                        self.report()
            except OSError:
                return
            time.sleep(1)

    def _read(self):
        data = b""
        try:
            while got := self.sock.recv(65536):
                data += got
                while len(data) >= 8 and len(data) >= 4 + (size := struct.unpack(">I", data[:4])[0]):
                    if data[5] == NOTE:
                        self.notes.append((time.monotonic(), json.loads(data[8:4 + size])))
                    data = data[4 + size:]
        except OSError:
            pass
        self.closed = True

    def close(self):
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
