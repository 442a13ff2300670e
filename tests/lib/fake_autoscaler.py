# SPDX-License-Identifier: Apache-2.0
"""The autoscaler's end of the stat link on a unix socket: remembers every frame, can be away and come back."""
import json
import os
import socket
import struct
import threading

HELLO, STATS, POKE, NOTE = 1, 2, 3, 4


def fields(data):
    """Protobuf, enough of it: (number, value) pairs; doubles and bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            b = data[at]
            at += 1
            value |= (b & 127) << shift
            if b < 128:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        if tag & 7 == 2:
            size = varint()
            yield tag >> 3, data[at:at + size]
            at += size
        elif tag & 7 == 1:
            yield tag >> 3, struct.unpack_from("<d", data, at)[0]
            at += 8
        else:
            yield tag >> 3, varint()


def messages(data):
    """WireStatMessages → [(revision, concurrency, requests, sender)]"""
    out = []
    for _, message in fields(data):
        m = dict(fields(message))
        stat = dict(fields(m[3]))
        out.append((f"{m[1].decode()}/{m[2].decode()}", stat.get(2, 0.0), stat.get(4, 0.0), stat[1].decode()))
    return out


class FakeAutoscaler:
    def __init__(self, path):
        self.path = path
        self.hellos, self.reports, self.pokes = [], [], []
        self.first_poke_after = None  # so many reports that told of something
        self.connections = []
        self.sock = None

    @property
    def address(self):
        return f"unix:{self.path}"

    def up(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(self.path))
        self.sock.listen(8)
        threading.Thread(target=self._accept, args=(self.sock,), daemon=True).start()
        return self

    def down(self):
        self.sock.close()
        os.unlink(self.path)
        for c in self.connections:
            c.shutdown(socket.SHUT_RDWR)
        self.connections = []

    def note(self, name, phase, namespace="default"):
        payload = json.dumps({"namespace": namespace, "name": name, "phase": phase, "message": ""}).encode()
        self.connections[-1].sendall(struct.pack(">IBBH", 4 + len(payload), 1, NOTE, 0) + payload)

    def _accept(self, sock):
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            self.connections.append(conn)
            threading.Thread(target=self._read, args=(conn,), daemon=True).start()

    def _read(self, conn):
        parts = {}
        with conn.makefile("rb") as f:
            while len(head := f.read(8)) == 8:
                length, version, kind, zero = struct.unpack(">IBBH", head)
                assert version == 1 and zero == 0
                payload = f.read(length - 4)
                if kind == HELLO:
                    self.hellos.append(json.loads(payload))
                elif kind == POKE:
                    if not self.pokes:
                        self.first_poke_after = sum(bool(m) for _, m in self.reports)
                    self.pokes += messages(payload)
                elif kind == STATS:
                    seq, part, of = struct.unpack_from(">QHH", payload)
                    parts.setdefault(seq, []).append(payload[12:])
                    assert part == len(parts[seq]) - 1
                    if len(parts[seq]) == of:
                        self.reports.append((seq, messages(b"".join(parts.pop(seq)))))
