# SPDX-License-Identifier: Apache-2.0
"""No asynchronous call that was answered 202 is lost: workers, redis-server (appendfsync always) and the function are
killed at random while numbered calls come in. Duplicates are allowed, counted, and have the same id."""
import os
import random
import threading

import pytest
from conftest import state_directory
from lull_client import wait_for
from test_async import CALL, AsyncWorld


@pytest.fixture
def world():
    with state_directory() as home:
        w = AsyncWorld(home, fsync="always")
        try:
            yield w
        finally:
            w.close()


class Caller(threading.Thread):
    """Numbered calls, one after the other, to one worker. `taken`: number → where its result is."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.taken, self.refused, self.over, self.n = world, {}, 0, threading.Event(), 0

    def run(self):
        while not self.over.is_set():
            status, headers, _ = self.world.call(f"/{self.n}", str(self.n).encode())
            if status == 202:
                self.taken[self.n] = headers["location"]
            else:
                assert status in (0, 503), status
                self.refused += 1
            self.n += 1
            self.over.wait(0.01)


def run_rounds(world, rounds, seed):
    rng = random.Random(seed)
    world.more += ["--async-retries", "50"]
    world.start(), world.start(name="w2")
    caller = Caller(world)
    caller.start()
    for i in range(rounds):
        before = len(caller.taken)
        victim = ("w1", "redis", "function", "w2", "both")[rng.randrange(5) if i > 4 else i]
        if victim in ("w1", "both"):
            world.kill("w1")
        if victim in ("w2", "both"):
            world.kill("w2")
        if victim == "redis":
            world.redis.kill()
            world.redis.start()
        if victim == "function":
            world.function.stop()
            caller.over.wait(0.3)
            world.function.start()
        for name in ("w1", "w2"):
            if name not in world.processes:
                world.start(name=name)
        wait_for(lambda before=before: len(caller.taken) >= before + 10, 60, f"calls are taken again after {victim}")
    caller.over.set()
    caller.join()
    for n, location in caller.taken.items():
        status, headers, body = world.result(location, wait=60)
        assert (status, body) == (200, b"did %d" % n), (n, status, headers, body)
    ids = {}
    for request in list(world.function.seen):
        ids.setdefault(request["body"], set()).add(request["lull-async-id"])
    assert all(len(of_one) == 1 for of_one in ids.values()), "a call that is made again has its id"
    print(f"{len(caller.taken)} taken, {caller.refused} refused, {len(world.function.seen) - len(ids)} made twice")


def test_none_is_lost(world):
    run_rounds(world, 6, 8)


@pytest.mark.soak
def test_none_is_lost_for_long(world):
    seed = int(os.environ.get("LULL_SEED", random.randrange(1 << 32)))
    print("seed", seed)
    run_rounds(world, 200, seed)


def test_a_dead_workers_call_is_taken_over(world):
    gate = threading.Event()
    world.function.answer = lambda request: (gate.wait(30) and 200, {}, request["lull-async-id"].encode())
    world.start(), world.start(name="w2")
    location = world.made("/held")
    wait_for(lambda: world.function.of("/held"), 30, "it is being made")
    held = "w1" if world.counter("tries") == 1 else "w2"
    other = "w2" if held == "w1" else "w1"
    world.kill(held)
    wait_for(lambda: len(world.function.of("/held")) == 2, 60, "the other one makes it")
    assert world.counter("taken_over", other) == 1
    gate.set()
    status, headers, body = world.result(location, name=other)
    assert status == 200 and location.endswith(body.decode())


def test_redis_away(world):
    world.start()
    location = world.made("/before", b"1")
    assert world.result(location)[0] == 200
    gate = threading.Event()
    world.function.answer = lambda request: (gate.wait(30) and 200, {}, b"kept")
    held = world.made("/during")
    wait_for(lambda: world.function.of("/during"), 30, "it is being made")
    world.redis.kill()
    wait_for(lambda: world.call("/refused")[0] == 503, 30, "calls are refused")
    status, headers, body = world.call("/refused")
    assert status == 503 and headers["retry-after"] and b"redis" in body
    assert world.result(location, wait=0)[0] == 503
    assert world.result(location, wait=0, method="DELETE")[0] == 503
    gate.set()  # the answer comes while nobody can be told
    world.redis.start()
    wait_for(lambda: world.call("/again")[0] == 202, 60, "calls are taken again")
    assert world.result(held)[2] == b"kept" and world.result(location)[0] == 200
    assert len(world.function.of("/during")) == 1


def test_functions_do_not_wait_for_each_other(world):
    gate = threading.Event()
    world.function.answer = lambda request: (200 if "/slow" not in request["path"] or gate.wait(60) else 500, {}, b"")
    world.start("--async-parallelism", "3")
    slow = [world.made(f"/slow/{i}") for i in range(20)]
    fast = world.made("/fast", headers={**CALL, "Lull-Async-Host": "fast.default.svc.cluster.local"})
    assert world.result(fast)[0] == 200
    assert world.function.most == 4 and len([r for r in world.function.seen if "/slow" in r["path"]]) == 3
    gate.set()
    assert all(world.result(location)[0] == 200 for location in slow)
    assert len({r["path"] for r in world.function.seen if "/slow" in r["path"]}) == 20
