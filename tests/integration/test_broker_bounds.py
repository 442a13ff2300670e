# SPDX-License-Identifier: Apache-2.0
"""lull-broker at its bounds: full of events, full of replies, a Redis that is full, and what must not get past it."""
import json
import re
import threading
import uuid

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for

pytestmark = pytest.mark.hostile
KEY = "lull:{default/default}"
PATH = "/default/default"
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture(scope="module")
def shared():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        try:
            w.broker()
            w.start("--max-events", "100", "--keep-events", "0", "--max-event", "2000"), w.known()
            yield w
        finally:
            w.close()


@pytest.fixture
def world(shared):
    yield shared
    for name in [k[2] for k in list(shared.api.objects) if k[0] == "triggers"]:
        shared.api.delete("triggers", name)
    wait_for(lambda: not any(b["triggers"] for b in shared.state()["brokers"]), 60, "no trigger is left")


def only(kind, **more):
    return {"filter": {"attributes": {"type": kind}}, **more}


def reply(kind):
    return 200, {"ce-specversion": "1.0", "ce-id": uuid.uuid4().hex, "ce-source": "/f", "ce-type": kind}, b""


def length(w):
    return int(w.redis.ask("XLEN", KEY + ":events"))


def test_triggers_that_answer_each_other_do_not_fill_redis(world):
    """Each event makes two: in 255 rounds more than any Redis has room for."""
    for name in ("one", "two"):
        world.trigger(name, world.sink(lambda event: reply("again")), **only("again"))
    world.known("one", "two")
    assert world.send("first", type="again") == 202
    wait_for(lambda: any("no room for the reply" in world.trigger_state(t)["trouble"] for t in ("one", "two")), 60, "it is full, and says so")
    assert 100 <= length(world) < 500
    wait_for(lambda: world.send("more", type="other") == 429, 60, "senders hear it too")
    most = max(length(world) for _ in range(20))
    assert most < 500, most
    # Nobody else does anything here: the deletion alone makes room.
    world.api.delete("triggers", "one"), world.api.delete("triggers", "two")
    wait_for(lambda: world.send("room", type="other") == 202, 60, "there is room again")


def test_a_batch_is_taken_whole_or_not_at_all(world):
    sink = world.sink()
    world.trigger("t", sink, **only("part")), world.known("t")
    good = {"specversion": "1.0", "id": "good", "source": "/s", "type": "part"}
    batch = {"content-type": "application/cloudevents-batch+json"}
    before = world.metric("accepted_total")
    for bad, want in (({"data": "x" * 3000}, 413), ({"knativebrokerttl": 1}, 400)):
        assert world.post(PATH, batch, json.dumps([good, {**good, "id": "bad", **bad}]))[0] == want
    assert world.send("last", type="part") == 202
    wait_for(lambda: "last" in sink.ids(), 60, "the next one comes")
    assert sink.ids() == ["last"] and world.metric("accepted_total") == before + 1


def test_an_event_inside_an_event_stays_inside(world):
    """In binary mode its content type would make the inner one, which no filter has seen, the event."""
    sink = world.sink()
    world.trigger("t", sink, **only("outer")), world.known("t")
    inner = {"specversion": "1.0", "id": "inner", "source": "/evil", "type": "admin"}
    for kind in ("application/cloudevents+json", "Application/CloudEvents-batch+json; charset=utf-8", "application/cloudevents+json"):
        outer = {"specversion": "1.0", "id": "outer", "source": "/s", "type": "outer", "datacontenttype": kind, "data": inner}
        assert world.post(PATH, STRUCTURED, json.dumps(outer))[0] == 202
    wait_for(lambda: len(sink.events) == 3, 60, "each comes")
    for event in sink.events:
        got = json.loads(event["body"])
        assert event["content-type"].startswith("application/cloudevents+json") and (got["id"], got["type"], got["data"]) == ("outer", "outer", inner)


def calls_of(w, command):
    return int((re.search(rf"cmdstat_{command}:calls=(\d+)", w.redis.ask("INFO", "commandstats")) or [0, 0])[1])


def test_a_full_redis_is_not_asked_all_the_time(world):
    """No group can be made for a Broker, or a Trigger, that is new."""
    def beats():
        return calls_of(world, "zcard")  # each second
    world.redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        world.redis.ask("CONFIG", "RESETSTAT")
        world.broker("fresh"), world.trigger("t", world.sink(), broker="fresh"), world.known("t", broker="fresh")
        asked, before = calls_of(world, "xreadgroup"), beats()
        wait_for(lambda: beats() >= before + 4, 60, "some seconds are over")
        assert calls_of(world, "xreadgroup") - asked < 20 * (beats() - before + 1)
    finally:
        world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    wait_for(lambda: world.send("now", broker="fresh") == 202, 60, "it is made when there is room")
    wait_for(lambda: world.sinks[-1].ids() == ["now"], 60, "and delivers")
    world.api.delete("brokers", "fresh")


def test_a_subscriber_that_changes_while_it_is_called(world):
    hold = threading.Event()
    first, second = world.sink(lambda event: (hold.wait(150), (204, {}, b""))[1]), world.sink()
    try:
        world.trigger("t", first, **only("moves")), world.known("t")
        assert world.send("1", type="moves", ext="kept") == 202
        wait_for(lambda: first.events, 60, "the first one is called")
        world.trigger("t", second, **only("moves"))
        wait_for(lambda: second.events, 60, "the second one gets it, and the first is not waited for")
        assert second.events[0]["ce-ext"] == "kept"
    finally:
        hold.set()
