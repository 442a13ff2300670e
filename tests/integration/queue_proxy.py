# SPDX-License-Identifier: Apache-2.0
"""lull-queue-proxy as a fixture: `start(answer, **env)` gives one in front of a recording function."""
import os
import socket
import subprocess
import time

import pytest
from conftest import binary, free_ports
from http_raw import Backend, Client

GET = b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST


class Proxy:
    """The real binary on a unix socket and a TCP port, with its function and its supervisor's socket."""

    def __init__(self, home, backend, **env):
        self.home, self.backend = home, backend
        self.path, self.admin = home / "q", home / "a"
        self.cuts = False  # the test has requests cut off in the middle
        (self.port,) = free_ports(1)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(home / "n"))
        self.notices.settimeout(10)
        self.log = open(home / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [binary("lull-queue-proxy")], stderr=self.log,
            env={"LULL_QUEUE_LISTEN": f"unix:{self.path},127.0.0.1:{self.port}",
                 "LULL_ADMIN_LISTEN": f"unix:{self.admin}", "NOTIFY_SOCKET": str(home / "n"),
                 "USER_PORT": str(backend if isinstance(backend, int) else backend.port),
                 "SERVING_POD": "pod-1", "LULL_DRAIN_QUIET": "50ms", "PATH": os.environ["PATH"],
                 **{k: str(v) for k, v in env.items()}})

    def notice(self):
        return self.notices.recv(100).decode()

    def ready(self):
        assert self.notice() == "READY=1"
        return self

    def client(self, tcp=False):
        return Client(self.port if tcp else self.path)

    def page(self, path, accept="*/*"):
        with Client(self.admin) as c:
            return c.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())

    def metric(self, name):
        for line in self.page("/metrics").body.decode().splitlines():
            if line.rsplit(" ", 1)[0] == name:
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def until(self, condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.log.seek(0)
        text = self.log.read()
        self.log.close()
        self.notices.close()
        assert "Sanitizer" not in text and "runtime error" not in text, text


@pytest.fixture
def start(home):
    parts = []

    def make(answer=None, port=None, **env):
        backend = port if port is not None else Backend(answer)
        proxy = Proxy(home, backend, **env)
        parts.append((proxy, backend))
        if port is None:
            return proxy.ready()
        proxy.until(proxy.admin.exists)
        return proxy

    yield make
    for proxy, backend in parts:
        proxy.stop()
        if isinstance(backend, Backend):
            backend.stop()
            bad = [e for e in backend.errors if not (proxy.cuts and e.startswith("cut in the middle"))]
            assert not bad, bad
