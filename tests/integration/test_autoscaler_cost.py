# SPDX-License-Identifier: Apache-2.0
"""What the autoscaler costs, counted and not timed: system calls per scrape, writes per wake and while nothing changes."""
import asyncio
import collections
import threading

import pytest
from conftest import BUILD, binary
from count_calls import NOT_SYSTEM_CALLS, environment, read_calls
from lull_client import wait_for
from stat_link import stat
from test_autoscaler import FAST, World

REVISIONS = 50
SCRAPES = 300  # that are counted
CALLS = 14     # per scrape, without waiting: socket, connect, send, a read or two, close, and the loop's set
ALLOCATIONS = 160
MAY = {"socket", "connect", "send", "recv", "close", "epoll_ctl", "epoll_wait", "poll", "ioctl", "malloc"}


@pytest.fixture
def world(home):
    it = World(home)
    yield it
    if it.process:
        it.close()


class Replicas:
    """Stands in for queue-proxies: each at a socket of its own, all in one thread."""

    def __init__(self, home, names):
        self.asked, self.loop = 0, asyncio.new_event_loop()
        self.loop.run_until_complete(self._listen(home, names))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    async def _listen(self, home, names):
        for name in names:
            await asyncio.start_unix_server(self._answer, home / f"{name}.a")

    async def _answer(self, reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            body = stat(concurrency=1.0, count=1.0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@pytest.mark.skipif("asan" in BUILD.name or not list(BUILD.glob("tests/lib/count_calls.so")),
                    reason="a sanitizer's build allocates and calls for itself")
def test_a_scrape_costs_few_calls(world, home):
    """A connection, a request and an answer: what its opening and closing takes, and no file, no map, no options."""
    names = [f"f{i}" for i in range(REVISIONS)]
    replicas = Replicas(home, names)
    try:
        for name in names:
            world.function(name, replicas=1, ready=0)
            world.pod(name, address=f"unix:{home}/{name}.a")
        world.start(env=environment(binary("count_calls.so"), home / "calls"))
        wait_for(lambda: replicas.asked >= REVISIONS, 60, "all are asked")
        before, began = read_calls(home / "calls"), replicas.asked
        wait_for(lambda: replicas.asked >= began + SCRAPES, 60, "scrapes to count")
        after, count = read_calls(home / "calls"), replicas.asked - began
    finally:
        replicas.close()
    per = {name: (after[name] - before[name]) / count for name in after if after[name] > before[name]}
    # What the API server, its watches and the ticks cost in this time is in it, spread over few scrapes.
    assert {name for name, n in per.items() if n > 0.5} <= MAY, per
    assert all(per[name] < 1.5 for name in ("socket", "connect", "close")), per
    waiting = sum(per.get(name, 0) for name in ("epoll_wait", "poll"))  # how often it wakes is the machine's affair
    total = sum(n for name, n in per.items() if name not in NOT_SYSTEM_CALLS) - waiting
    assert total <= CALLS and per["malloc"] <= ALLOCATIONS, (total, per)


def writes(world, since=0):
    """Path of the kind -> how many; the Lease is not written here."""
    paths = [path.split("/default/")[1] for _, path, _ in list(world.api.patches)[since:]]
    return collections.Counter(path.split("/")[0] + ("/" + path.split("/")[2] if path.count("/") == 2 else "") for path in paths)


def test_a_wake_is_one_write(world):
    """0 -> 1 -> 0: a scale each, and the status twice each at most; nothing while nothing changes, whoever reports."""
    world.config(**FAST)
    idle = [f"idle{i}" for i in range(100)]
    for name in idle:
        world.function(name, status={"conditions": [{"type": "Active", "status": "False", "reason": "NoTraffic",
                                                     "lastTransitionTime": "2020-01-01T00:00:00Z"},
                                                    {"type": "ScaleTargetInitialized", "status": "True"}],
                                     "desiredScale": 0, "actualScale": 0, "observedGeneration": 1})
    world.function("f1")
    world.start()
    link = world.link()
    wait_for(lambda: link.seq > 3, 20, "reports come in")
    begun = len(world.api.patches)
    link.poke("f1")
    wait_for(lambda: world.replicas() == 1, 10, "it is woken")
    link.load["f1"] = 1.0
    world.pod("f1")
    wait_for(lambda: world.condition("Active").get("status") == "True", 20, "the status says so")
    seq = link.seq
    wait_for(lambda: link.seq > seq + 3, 30, "it is busy for a while")
    up = writes(world, begun)
    assert up["deployments/scale"] == 1 and up["podautoscalers/status"] <= 2, world.api.patches[begun:]
    begun = len(world.api.patches)
    link.load.clear()
    wait_for(lambda: world.replicas() == 0, 20, "it goes to zero")
    wait_for(lambda: world.condition("Active").get("status") == "False", 20, "the status says so")
    seq = link.seq
    wait_for(lambda: link.seq > seq + 3, 30, "it rests for a while")
    down = writes(world, begun)
    assert down["deployments/scale"] == 1 and down["podautoscalers/status"] <= 2, world.api.patches[begun:]
    assert set(up) | set(down) == {"deployments/scale", "podautoscalers/status"}
    touched = {path.rsplit("/", 2)[1] for _, path, _ in world.api.patches}
    assert touched == {"f1", "f1-deployment"}
