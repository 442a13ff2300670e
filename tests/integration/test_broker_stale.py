# SPDX-License-Identifier: Apache-2.0
"""Two lull-brokers, one of which hears of the API late: it must not remove what the other takes events for."""
import json
import threading
import uuid

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for

KEY = "lull:{default/default}"
NAMES = ("w1", "w2")


def make_broker(w, made):
    w.api.put("brokers", {"metadata": {"name": "default", "uid": str(uuid.uuid4()), "creationTimestamp": made}, "spec": {}, "status": {}})


@pytest.fixture
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        try:
            make_broker(w, "2026-01-01T00:00:00Z")
            for name in NAMES:
                w.start("--keep-events", "0", "--worker-silence", "2m", name=name), w.known(name=name)
            yield w
        finally:
            w.close()


def length(w, key):
    return int(w.redis.ask("XLEN", key))


def look_twice(w, name):
    """Waits until this worker has looked after everything once more, as it does each second."""
    def beat():
        return float(w.redis.ask("ZSCORE", "lull:workers", name) or 0)
    before = beat()
    wait_for(lambda: beat() > before + 2500, 60, f"{name} looks")


def split(w, plural, change, knows):
    """Only one worker hears of the change. → its name, the other's, and what lets the other hear"""
    watches = w.api.withhold(plural)
    assert len(watches) == 2
    change()
    w.api.release(watches[0])
    wait_for(lambda: any(knows(name) for name in NAMES), 60, "one knows")
    first, second = NAMES if knows(NAMES[0]) else NAMES[::-1]
    assert not knows(second)
    return first, second, lambda: w.api.release(watches[1])


def test_a_trigger_that_another_worker_does_not_know_yet(world):
    stuck, done = threading.Event(), world.sink()
    late = world.sink(lambda e: (stuck.wait(150), (204, {}, b""))[1])
    try:
        world.trigger("done", done), [world.known("done", name=name) for name in NAMES]
        knows, stale, hear = split(world, "triggers", lambda: world.trigger("late", late, delivery={"timeout": "PT10M"}),
                                   lambda name: (world.trigger_state("late", name) or {}).get("ready"))
        refs = f"{KEY}:t:{world.trigger_state('late', knows)['uid']}"
        batch = [{"specversion": "1.0", "id": str(i), "source": "/s", "type": "t", "data": "x" * 500} for i in range(400)]
        for _ in range(3):
            assert world.post("/default/default", {"content-type": "application/cloudevents-batch+json"}, json.dumps(batch), name=knows)[0] == 202
        assert world.send("last", name=stale) == 202  # so that it looks what may be trimmed
        wait_for(lambda: len(done.events) == 1201, 60, "the other trigger has all")
        n = length(world, refs)  # what the stale one dispatched did not come here
        look_twice(world, stale)
        assert n > 0 and length(world, KEY + ":events") >= n, "events were trimmed that wait"
        # Its connection comes anew: it looks for what was deleted while it was away.
        world.redis.ask("CLIENT", "KILL", "TYPE", "normal")
        look_twice(world, stale)
        assert length(world, refs) == n, "references that wait were removed"
        hear(), world.known("late", name=stale)
    finally:
        stuck.set()
    wait_for(lambda: length(world, refs) == 0, 60, "all are delivered")
    assert all(world.metric("missing_total", name) == 0 for name in NAMES)


def test_a_broker_that_was_made_again_and_a_worker_that_hears_late_of_it(world):
    stuck = threading.Event()
    sink = world.sink(lambda e: (stuck.wait(150), (204, {}, b""))[1])

    def known(name):
        return any(b["name"] == "default" and b["known"] for b in world.state(name)["brokers"])

    try:
        world.trigger("t", sink, delivery={"timeout": "PT10M"}), [world.known("t", name=name) for name in NAMES]
        refs = f"{KEY}:t:{world.trigger_state('t')['uid']}"
        old = world.redis.ask("GET", KEY + ":born")
        knows, stale, hear = split(world, "brokers", lambda: world.api.delete("brokers", "default"), lambda name: not known(name))
        make_broker(world, "2026-01-01T00:00:01Z")
        world.known("t", name=knows)
        wait_for(lambda: world.send("new", name=knows) == 202 and len(sink.events) > 0, 60, "the new one takes events")
        assert world.redis.ask("GET", KEY + ":born") not in ("", old)
        hear()
        wait_for(lambda: sum("broker is deleted" in line for line in list(world.lines)) == 2, 60, "the other hears of the deletion")
        world.known("t", name=stale), look_twice(world, stale)
        assert length(world, KEY + ":events") > 0 and length(world, refs) > 0, "the new Broker's events were removed"
    finally:
        stuck.set()
    wait_for(lambda: length(world, refs) == 0, 60, "all are delivered")
    world.api.delete("triggers", "t"), world.api.delete("brokers", "default")
    wait_for(lambda: world.redis.ask("KEYS", KEY + "*") == "", 60, "nothing is left of it")


def test_what_was_deleted_while_nobody_looked(world):
    world.broker("other"), world.trigger("t", world.sink()), world.trigger("u", world.sink(), broker="other")
    world.known("t"), world.known("u", broker="other")
    refs = f"{KEY}:t:{world.trigger_state('t')['uid']}"
    for name in NAMES:
        world.processes[name].terminate()
    for name in NAMES:
        assert world.processes.pop(name).wait(60) == 0
    world.api.delete("triggers", "t"), world.api.delete("triggers", "u"), world.api.delete("brokers", "other")
    assert world.redis.ask("EXISTS", refs, "lull:{default/other}:events") == "2"
    world.start()
    wait_for(lambda: world.redis.ask("EXISTS", refs) == "0" and world.redis.ask("KEYS", "lull:{default/other}*") == "", 60, "all of them is gone")
    wait_for(lambda: world.redis.ask("SMEMBERS", "lull:brokers") == "default/default", 60, "the list says so")
