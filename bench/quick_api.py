# SPDX-License-Identifier: Apache-2.0
"""An API server for benchmarks of the autoscaler: lists of many objects made once, watches that hear what is told, scale
patches with the time of their arrival. One thread, so that what it measures is not its own scheduling."""
import json
import selectors
import socket
import time


def entry(name, body):
    """An object's metadata made whole."""
    meta = body.setdefault("metadata", {})
    meta.update({"name": name, "namespace": "default", "uid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012d}",
                 "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"})
    return body


class QuickApi:
    def __init__(self):
        self.lists, self.watches, self.version = {}, {}, 1  # plural -> items; plural -> sockets
        self.patches, self.requests = [], 0  # (time, name, sub-resource)
        self.sel = selectors.EpollSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.sel.register(self.listener, selectors.EVENT_READ, None)

    def kubeconfig(self, path):
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.listener.getsockname()[1]}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
        return path

    def hold(self, plural, items):
        """What a list of this kind answers from now on."""
        self.lists[plural] = b",".join(json.dumps(o).encode() for o in items)

    def tell(self, kind, plural, obj):
        """An event for all watches of the kind."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
        for sock in self.watches.get(plural, ()):
            sock.setblocking(True)
            sock.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            sock.setblocking(False)

    def pump(self, seconds, until=None):
        """Serves for so long, or until the condition holds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.sel.select(left):
                self.accept() if key.data is None else self.read(key.fileobj, key.data)
            if until and until():
                return True
        return False

    def accept(self):
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.sel.register(sock, selectors.EVENT_READ, bytearray())

    def read(self, sock, buf):
        try:
            got = sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.sel.unregister(sock)
            for socks in self.watches.values():
                socks.discard(sock)
            sock.close()
            return
        now = time.monotonic()
        buf += got
        while (end := buf.find(b"\r\n\r\n")) >= 0:
            head = bytes(buf[:end])
            at = head.lower().find(b"\r\ncontent-length:")
            size = int(head[at + 17:].split(b"\r\n")[0]) if at >= 0 else 0
            if len(buf) < end + 4 + size:
                return
            del buf[:end + 4 + size]
            self.answer(sock, head.split(b" ", 2), now)

    def answer(self, sock, request, now):
        self.requests += 1
        path, _, query = request[1].decode().partition("?")
        if request[0] == b"PATCH":
            name, sub = path.rsplit("/", 2)[1:]
            self.patches.append((now, name, sub))
            body = b'{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"name":"%s","resourceVersion":"1"},' \
                   b'"spec":{"replicas":1}}' % name.encode()
        elif "watch=true" in query or "watch=1" in query:
            plural = path.rsplit("/", 1)[1]
            self.watches.setdefault(plural, set()).add(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            return
        else:
            items = self.lists.get(path.rsplit("/", 1)[1], b"")
            body = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[%s]}' % (
                self.version, items)
        sock.setblocking(True)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        sock.setblocking(False)

    def close(self):
        for key in list(self.sel.get_map().values()):
            key.fileobj.close()
        self.sel.close()
