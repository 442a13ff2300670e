# SPDX-License-Identifier: Apache-2.0
"""SIGTERM under load: whoever was connected gets an answer, from either proxy, and the process ends in bounded time."""
import select
import signal
import socket
import threading

import pytest
from http_raw import Client, Closed
from lull_client import wait_for
from queue_proxy import start  # noqa: F401  (the fixture)
from test_activator import world  # noqa: F401  (the fixture)

REQUEST = b"POST / HTTP/1.1\r\nHost: hello.default.localhost\r\nContent-Length: 5\r\n\r\nhello"


class Load:
    """Clients that keep their connection, as a pool does: one that the other end has closed is not written to."""

    def __init__(self, port, clients=6):
        self.port, self.done, self.failed = port, 0, []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def _run(self):
        client = None
        while True:
            try:
                client = client or Client(self.port)
            except ConnectionError:
                return  # nobody listens any more; a backlog that is thrown away has a test of its own
            try:
                if select.select([client.sock], [], [], 0)[0]:
                    raise Closed(b"")
                client.send(REQUEST)
            except (Closed, OSError):
                client = None
                continue
            try:
                got = client.reply()
            except (Closed, OSError) as e:
                self.failed.append(repr(e))
                return
            if got.status != 200:
                self.failed.append(got.status)
            self.done += 1
            if (got.get("connection") or "").lower() == "close":
                client = None

    def more(self, n):
        want = self.done + n
        wait_for(lambda: self.done >= want, 60, f"{n} more requests")

    def end(self):
        for t in self.threads:
            t.join(30)
            assert not t.is_alive()


def test_the_activator_fails_nobody(world):  # noqa: F811
    world.function()
    world.replica("a", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 10, "the pod is known")
    load = Load(world.public)
    load.more(200)
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(30) == 0
    load.end()
    assert load.failed == []


def test_the_queue_proxy_fails_nobody(start):  # noqa: F811
    """Who comes past the activators has no other place to go: it is served until it stops coming."""
    proxy = start(CONTAINER_CONCURRENCY=4, LULL_DRAIN_QUIET="10s", LULL_DRAIN_TIMEOUT="60s")
    load = Load(proxy.port)
    load.more(200)
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.notice() == "STOPPING=1"
    load.more(200)
    assert proxy.process.poll() is None
    proxy.process.send_signal(signal.SIGTERM)  # a second one: now
    assert proxy.process.wait(30) == 0
    load.end()
    assert len(load.failed) <= 6  # those that the second signal broke off


@pytest.mark.parametrize("late", [False, True])
def test_connections_that_nobody_had_accepted_are_answered(world, late):  # noqa: F811
    """The kernel has shaken hands with them; the process was busy when it was told to end."""
    world.function()
    world.replica("a", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 10, "the pod is known")
    world.process.send_signal(signal.SIGSTOP)
    if not late:
        world.process.send_signal(signal.SIGTERM)
    waiting = []
    for _ in range(200):  # more than it accepts in one turn
        s = socket.create_connection(("127.0.0.1", world.public), timeout=30)
        s.sendall(REQUEST)
        waiting.append(s)
    if late:
        world.process.send_signal(signal.SIGTERM)
    world.process.send_signal(signal.SIGCONT)
    for s in waiting:
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        s.close()
    assert world.process.wait(30) == 0
