# SPDX-License-Identifier: Apache-2.0
"""Nothing that was acknowledged is lost: brokers, redis-server (appendfsync always) and the sink are killed at
random while numbered events come in. Duplicates are allowed, counted, and bounded."""
import collections
import http.client
import os
import random
import threading

import pytest
from broker_world import Sink, World
from conftest import binary, state_directory
from lull_client import wait_for

KEYS = 7


@pytest.fixture
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"))
        try:
            yield w
        finally:
            w.close()


class Sender(threading.Thread):
    """Numbers in order, each until it is acknowledged once or refused; only one is under way. `acked` are those that count."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.acked, self.refused, self.statuses = world, [], 0, collections.Counter()
        self.retry_after, self.over, self.n = set(), threading.Event(), 0

    def run(self):
        connection = None
        while not self.over.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.world.ports["w1"], timeout=20)
            headers = {"ce-specversion": "1.0", "ce-id": str(self.n), "ce-source": "/s", "ce-type": "t",
                       "ce-partitionkey": str(self.n % KEYS)}
            status, answer, _ = self.world.post("/default/default", headers, b"x" * 100, connection=connection)
            self.statuses[status] += 1
            if status == 202:
                self.acked.append(self.n)
                self.n += 1
            else:
                if status == 0:
                    connection = None
                    self.n += 1  # it may have been taken: it is neither owed nor sent again
                if status in (429, 503):
                    self.retry_after.add(answer.get("retry-after"))
                self.over.wait(0.05)
        if connection:
            connection.close()


def check_all_there(sender, sink_ids):
    def missing():
        return set(map(str, sender.acked)) - set(sink_ids())
    wait_for(lambda: not missing(), 60, f"every acknowledged event; missing {sorted(missing(), key=int)[:10]} of {len(sender.acked)}")


def run_rounds(world, rounds, seed):
    rng = random.Random(seed)
    world.broker()
    sink, ordered = world.sink(), world.sink()
    delivery = {"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT0.001S"}
    world.trigger("t", sink, delivery=delivery)
    world.trigger("o", ordered, delivery=delivery, annotations={"events.lull.dev/ordering": "partitionkey"})
    world.start(), world.known("t", "o")
    ended = []  # sinks
    sender = Sender(world)
    sender.start()
    for i in range(rounds):
        before = len(sender.acked)
        victim = ("broker", "redis", "both", "sink", "broker", "redis")[rng.randrange(6)] if i > 2 else ("broker", "redis", "sink")[i]
        if victim in ("broker", "both"):
            world.kill()
        if victim in ("redis", "both"):
            world.redis.kill()
            world.redis.start()
        if victim in ("broker", "both"):
            world.start()
        if victim == "sink":
            sink.close()
            ended.append(sink)
            sink = world.sinks[0] = Sink(port=sink.port)
        wait_for(lambda n=before: len(sender.acked) >= n + 20, 60, f"events are taken after round {i} ({victim})")
    sender.over.set()
    sender.join(30)

    def all_ids():
        return [i for s in [*ended, sink] for i in s.ids()]
    check_all_there(sender, all_ids)
    check_all_there(sender, ordered.ids)
    wait_for(lambda: world.trigger_state("t")["backlog"] == 0 and world.trigger_state("o")["backlog"] == 0, 60, "nothing is left")
    return sender, all_ids(), ordered.ids()


def check_order(ids):
    """Per key no event comes for the first time after a later one; what comes again was under way at a kill."""
    newest, known = {}, set()
    for n in map(int, ids):
        if n not in known:
            assert n > newest.get(n % KEYS, -1), f"{n} came after {newest[n % KEYS]}"
            newest[n % KEYS] = n
            known.add(n)


@pytest.mark.timeout(600)
def test_kills_lose_nothing(world):
    sender, ids, ordered = run_rounds(world, 20, 8)
    assert sender.statuses[202] > 400 and sender.retry_after <= {"2", "5"}
    check_order(ordered)
    extra = len(ids) - len(set(ids))
    # Each kill may repeat what was under way: at most as many as a trigger delivers at once.
    assert extra <= 20 * 100, f"{extra} duplicates"
    print(f"{len(sender.acked)} acknowledged, {extra} duplicates, statuses {dict(sender.statuses)}")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kills_lose_nothing_for_long(world):
    seed = int(os.environ.get("LULL_SEED") or random.randrange(1 << 32))
    print("LULL_SEED", seed)
    sender, ids, ordered = run_rounds(world, 500, seed)
    check_order(ordered)
    print(f"{len(sender.acked)} acknowledged, {len(ids) - len(set(ids))} duplicates, statuses {dict(sender.statuses)}")


def test_while_redis_is_away_senders_hear_when_to_come_again(world):
    sink = world.sink()
    world.broker()
    world.trigger("t", sink)
    world.start(), world.known("t")
    assert world.send("before") == 202
    wait_for(lambda: sink.ids() == ["before"], 60, "the first event")
    world.redis.kill()
    wait_for(lambda: world.send("away") == 503, 60, "a refusal")
    headers = {"ce-specversion": "1.0", "ce-id": "x", "ce-source": "/s", "ce-type": "t"}
    status, answer, body = world.post("/default/default", headers)
    assert status == 503 and int(answer["retry-after"]) > 0 and b"redis" in body
    assert "redis is not there" in world.get("/readyz", check=False) and world.get("/healthz") == "ok\n"
    world.redis.start()
    wait_for(lambda: world.send("after") == 202, 60, "events are taken again")
    wait_for(lambda: "after" in sink.ids(), 60, "and delivered")
    assert world.metric("redis_downs_total") >= 1


def test_another_worker_takes_over_what_a_dead_one_held(world):
    hold = threading.Event()
    sink = world.sink(lambda e: (hold.wait(150), (204, {}, b""))[1])
    world.broker()
    world.trigger("t", sink, annotations={"events.lull.dev/parallelism": "50"})
    world.start("--delivery-timeout", "10m", name="w1"), world.known("t")
    for i in range(40):
        assert world.send(str(i)) == 202
    wait_for(lambda: len(sink.events) == 40, 60, "the first worker delivers all")
    world.start(name="w2"), world.known("t", name="w2")
    world.kill("w1")
    hold.set()
    wait_for(lambda: len(sink.events) == 80, 60, "the second worker delivers what was held")
    assert world.metric("taken_over_total", "w2") == 40
    assert sorted(set(sink.ids()), key=int) == [str(i) for i in range(40)]
    wait_for(lambda: world.trigger_state(name="w2")["backlog"] == 0, 60, "nothing is left")
    wait_for(lambda: world.redis.ask("ZRANGE", "lull:workers", 0, -1) == "w2", 60, "the dead one is forgotten")


def test_while_redis_is_away_nobody_counts_as_dead(world):
    """Whoever is back first finds that the others have said nothing for long, and takes nothing from them."""
    hold, names = threading.Event(), ("w1", "w2")
    sink = world.sink(lambda e: (hold.wait(150), (204, {}, b""))[1])
    world.broker()
    world.trigger("t", sink, delivery={"timeout": "PT10M"})
    try:
        for name in names:
            world.start("--worker-silence", "4s", name=name), world.known("t", name=name)
        for i in range(40):
            assert world.send(str(i), name=names[i % 2]) == 202
        wait_for(lambda: len(sink.events) == 40, 60, "all are called")
        world.redis.kill()
        # As if it had been away for long; on another socket, where nobody else is.
        path, world.redis.path = world.redis.path, world.home / "alone.sock"
        world.redis.start()
        world.redis.ask("ZADD", "lull:workers", 1, "w1", 1, "w2"), world.redis.kill()
        world.redis.path = path
        world.redis.start()

        def heard(name):
            return float(world.redis.ask("ZSCORE", "lull:workers", name))
        wait_for(lambda: min(map(heard, names)) > 1, 60, "both are back")
        first = max(map(heard, names))
        wait_for(lambda: min(map(heard, names)) > first + 5000, 60, "both have been back for longer than the silence")
        assert [world.metric("taken_over_total", name) for name in names] == [0, 0] and len(sink.events) == 40
    finally:
        hold.set()
    wait_for(lambda: all(world.trigger_state(name=name)["backlog"] == 0 for name in names), 60, "nothing is left")
    assert len(sink.events) == 40


def test_two_workers_share_and_deliver_each_event_once(world):
    sink = world.sink()
    world.broker()
    world.trigger("t", sink)
    for name in ("w1", "w2"):
        world.start("--worker-silence", "2m", name=name), world.known("t", name=name)
    for i in range(300):
        assert world.send(str(i), name=("w1", "w2")[i % 2]) == 202
    wait_for(lambda: len(sink.events) >= 300, 60, "all events")
    assert sorted(sink.ids(), key=int) == [str(i) for i in range(300)]
    assert world.metric("delivered_total", "w1") > 0 and world.metric("delivered_total", "w2") > 0


def test_a_retry_survives_the_worker_that_wrote_it(world):
    answers = [500]
    sink = world.sink(lambda e: (answers[0], {}, b"") if answers[0] != 204 else (204, {}, b""))
    world.broker()
    world.trigger("t", sink, delivery={"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT3S"})
    world.start(), world.known("t")
    assert world.send("1") == 202
    key = f"lull:{{default/default}}:t:{world.trigger_state()['uid']}"
    wait_for(lambda: len(sink.events) == 2 and world.redis.ask("ZCARD", key + ":retry") == "1", 60, "two tries, the third in 3 s")
    world.kill()
    answers[0] = 204
    world.redis.kill(), world.redis.start()
    world.start()
    wait_for(lambda: len(sink.events) == 3, 60, "the third try")
    wait_for(lambda: world.redis.ask("ZCARD", key + ":retry") == "0", 60, "nothing is left")


def send_alternately(world, names, count, start):
    """Each event goes to another worker, when the one before is taken."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", world.ports[name], timeout=20) for name in names}
    for i in range(start, start + count):
        name = names[i % len(names)]
        status = world.send(i, partitionkey=i % KEYS, name=name, connection=connections[name])
        assert status == 202, (i, name, status)
    for connection in connections.values():
        connection.close()


def owner(world):
    return world.redis.ask("GET", "lull:{default/default}:owner")


def test_order_is_kept_across_workers_and_over_the_death_of_the_one_that_keeps_it(world):
    """Events of a key come through three workers in turn, while the worker that keeps the order is killed, and then one that
    stops in peace: the others go on in order."""
    fails = random.Random(7)
    sink = world.sink(lambda event: (503, {}, b"") if fails.random() < 0.05 else (204, {}, b""))
    world.broker()
    world.trigger("t", sink, annotations={"events.lull.dev/ordering": "partitionkey"},
                  delivery={"retry": 50, "backoffPolicy": "linear", "backoffDelay": "PT0.02S"})
    others = world.sink()
    world.trigger("unordered", others)
    names = ["w1", "w2", "w3"]
    for name in names:
        world.start("--worker-silence", "2s", name=name)
    for name in names:
        world.known("t", "unordered", name=name)
    send_alternately(world, names, 200, 0)
    wait_for(lambda: len(sink.ids()) > 60, 60, "some are delivered")
    first = owner(world)
    assert first in names
    world.kill(first)
    names.remove(first)
    send_alternately(world, names, 200, 200)
    second = wait_for(lambda: owner(world) in names and owner(world), 60, "another worker keeps the order")
    world.processes[second].terminate()
    assert world.processes.pop(second).wait(60) == 0
    names.remove(second)
    assert owner(world) in ("", *names)  # given back, not left to end by itself
    send_alternately(world, names, 100, 400)
    wait_for(lambda: len(set(sink.ids())) == 500 and len(set(others.ids())) == 500, 120,
             f"all are delivered; {len(set(sink.ids()))} and {len(set(others.ids()))} are")
    check_order(sink.ids())
