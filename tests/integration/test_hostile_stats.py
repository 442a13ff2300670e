# SPDX-License-Identifier: Apache-2.0
"""Numbers from whoever wishes the autoscaler ill: replicas whose metrics never end, and a flood on the stat link. Others'
scales stay as they are, wake-ups go on at once, and memory does not grow."""
import contextlib
import os
import socket
import struct
import threading
import time

import pytest
from lull_client import wait_for
from stat_link import HELLO, POKE, STATS, StatLink, message, stat
from test_autoscaler import FAST, World

pytestmark = pytest.mark.hostile
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\n"


def endless(conn):
    conn.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        conn.sendall(b"10000\r\n" + b"\0" * 65536 + b"\r\n")


def huge(conn):
    conn.sendall(OK + b"Content-Length: 10737418240\r\n\r\n")
    while True:
        conn.sendall(b"\0" * 65536)


def dripping(conn):
    conn.sendall(OK + b"Content-Length: 100\r\n\r\n")
    while True:
        conn.sendall(b"\x0a")
        time.sleep(0.3)


def silent(conn):
    conn.recv(1)
    time.sleep(60)


def zipped(conn):
    body = b"\x1f\x8b" + b"\0" * 3000
    conn.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def heads(conn):
    while True:
        conn.sendall(b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 8000 + b"\r\n\r\n")


def twice(conn):
    """A second answer behind the first, much larger."""
    bodies = [stat(concurrency=1.0, proxied=1.0), stat(concurrency=1e9)]
    conn.sendall(b"".join(OK + b"Content-Length: %d\r\n\r\n" % len(b) + b for b in bodies))


class Villain:
    """A replica's admin port that answers as `how` does."""

    def __init__(self, path, how):
        self.address, self.how, self.asked = f"unix:{path}", how, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(64)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.socket.accept()
                self.asked += 1
                threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with contextlib.suppress(OSError), conn:
            conn.recv(65536)
            self.how(conn)

    def close(self):
        self.socket.close()


@pytest.fixture
def world(home):
    it = World(home)
    yield it
    it.close()


def memory_kib(world):
    rows = open(f"/proc/{world.process.pid}/status").read()
    return int(rows.split("VmRSS:")[1].split()[0])


def wakes_at_once(world, link, name):
    begun = time.monotonic()
    link.poke(name)
    wait_for(lambda: world.replicas(name) == 1, 10, f"{name} wakes")
    return time.monotonic() - begun


def test_metrics_that_never_end(world):
    world.config(**FAST)
    kinds = (endless, huge, dripping, silent, zipped, heads, twice)
    for how in kinds:
        name = how.__name__
        world.function(name, replicas=1, ready=0, annotations={"autoscaling.knative.dev/max-scale": "2"})
        villain = Villain(world.home / f"{name}.v", how)
        world.proxies.append(villain)
        world.pod(name, 0, address=villain.address)
    world.function("honest", replicas=2, ready=0)
    for i in range(2):
        world.proxy("honest", i).answer = stat(concurrency=55.0, count=55.0, proxied=55.0, proxied_count=55.0)
    for i in range(5):
        world.function(f"idle{i}")
    world.start()
    link = world.link()
    link.load.update({"honest": 110.0}, **{how.__name__: 10.0 for how in kinds})
    wait_for(lambda: all(v.asked > 1 for v in world.proxies if isinstance(v, Villain)), 60, "all were asked")
    before = memory_kib(world)
    took = [wakes_at_once(world, link, f"idle{i}") for i in range(5)]
    seq = link.seq
    wait_for(lambda: link.seq > seq + 4 and world.metric("scrape_failures_total") > 10, 60, "and asked again")
    assert sorted(took)[2] < 1, took
    assert memory_kib(world) - before < 16 * 1024 or "asan" in os.environ.get("LULL_BUILD", "")
    assert world.scales("honest") == [] and all(world.scales(how.__name__) == [] for how in kinds)


def test_a_flood_on_the_stat_link(world):
    world.config(**FAST)
    world.function("honest", replicas=2)
    for i in range(5):
        world.function(f"idle{i}")
    world.start()
    link = world.link("good")
    link.load["honest"] = 110.0
    wait_for(lambda: link.seq > 3, 20, "it has numbers")
    before, stop, sent = memory_kib(world), threading.Event(), [0]

    def flood(number):
        """Reports of revisions that nobody knows, broken numbers, pokes for them, and names over names."""
        names = b"".join(message(f"nobody-{number}-{i}", 1e9) for i in range(300))
        bad = b"".join(message("honest", value) for value in (float("nan"), float("-inf"), -1e9) for _ in range(50))
        while not stop.is_set():
            with contextlib.suppress(OSError):
                foe = StatLink(world.home / "link.sock", f"foe-{number}", report=False)
                for seq in range(1, 20):
                    foe.send(STATS, struct.pack(">QHH", seq, 0, 1) + names)
                    foe.send(STATS, struct.pack(">QHH", seq, 0, 1) + bad)
                    foe.send(POKE, names)
                    sent[0] += 3
                    if stop.is_set():
                        break
                foe.send(HELLO, b'{"name": "more-%d", "boot": "1"}' % number)  # no link has two names
                foe.close()

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        took = [wakes_at_once(world, link, f"idle{i}") for i in range(5)]
        wait_for(lambda: sent[0] > 1000, 60, "a flood")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(took)[2] < 2, took
    assert memory_kib(world) - before < 16 * 1024 or "asan" in os.environ.get("LULL_BUILD", "")
    assert world.metric("stats_dropped_total") > 10000
    assert world.scales("honest") == []
    for i in range(5):
        assert {n for _, n in world.scales(f"idle{i}")} == {1}
