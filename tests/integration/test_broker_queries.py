# SPDX-License-Identifier: Apache-2.0
"""What lull-broker answers to people at its admin port, where the command does not get: bounds, several workers, refusals."""
import json
import socket
import subprocess

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for


@pytest.fixture(scope="module")
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        w.broker()
        try:
            yield w.start("--max-events", "300", "--keep-events", "200")
        finally:
            w.close()


def put(w, path, method="PUT", name="w1"):
    got = subprocess.run(["curl", "-sS", "--max-time", "20", "-X", method, "-w", "%{http_code}", "--unix-socket", w.home / f"{name}.admin",
                          f"http://admin/events/{path}"], capture_output=True, text=True, check=True).stdout
    return int(got[-3:]), got[:-3]


def batch(w, n, kind="t", **more):
    events = [{"specversion": "1.0", "id": f"{kind}-{i}", "source": "/s", "type": kind, **more} for i in range(n)]
    return w.post("/default/default", {"content-type": "application/cloudevents-batch+json"}, json.dumps(events))[0]


def test_only_put_changes_anything(world):
    world.trigger("t", world.sink())
    world.known("t")
    where = "?namespace=default&trigger=t"
    for page in ("dead/retry", "dead/drop", "replay"):
        for method in ("GET", "POST", "DELETE"):
            assert put(world, page + where, method) == (405, "only PUT is served here\n")
    assert put(world, "dead" + where, "PUT")[0] == 405
    assert put(world, "dead?namespace=default&trigger=none", "GET") == (404, "there is no trigger default/none of ours\n")
    assert put(world, "dead?trigger=t", "GET")[0] == 400
    assert put(world, "replay" + where + "&since=x")[0] == 400
    assert put(world, "replay" + where + "&filters=%7B")[0] == 400
    assert put(world, "tail?namespace=default&broker=none", "GET")[0] == 404
    world.api.delete("triggers", "t")


def test_another_worker_answers_too_and_a_full_broker_keeps_the_dead(world):
    bad = {"now": True}
    sink = world.sink(lambda event: (422, {}, b"") if bad["now"] else (204, {}, b""))
    world.trigger("dies", sink, filter={"attributes": {"type": "dies"}}, delivery={"retry": 0})
    world.known("dies")
    world.start("--max-events", "300", "--keep-events", "200", name="w2")
    world.known("dies", name="w2")
    where = "?namespace=default&trigger=dies"
    assert batch(world, 30, "dies") == 202
    wait_for(lambda: json.loads(put(world, "dead" + where, "GET", "w2")[1])["count"] == 30, 60, "30 dead letters")
    page = json.loads(put(world, "dead" + where + "&limit=20", "GET", "w2")[1])
    assert len(page["items"]) == 20 and page["more"]
    rest = json.loads(put(world, "dead" + where + "&from=" + page["items"][-1]["id"], "GET", "w2")[1])
    assert len(rest["items"]) == 10 and not rest["more"]
    numbers = json.loads(put(world, "numbers?namespace=default", "GET", "w2")[1])
    assert [t["dead"] for b in numbers["brokers"] for t in b["triggers"] if t["name"] == "dies"] == [30]
    # What waits for a sink that refuses connections fills the broker: the dead have no room until it is done.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        world.trigger("waits", f"http://127.0.0.1:{closed.getsockname()[1]}/", delivery={"retry": 1000, "backoffDelay": "PT60S"})
        world.known("waits"), world.known("waits", name="w2")
        wait_for(lambda: batch(world, 50, "fills") == 429, 60, "it is full")
        status, said = put(world, "dead/retry" + where, name="w2")
        said = json.loads(said)
        assert (status, said["count"], said["full"], said["more"]) == (200, 0, True, True)
    world.api.delete("triggers", "waits")
    bad["now"] = False
    wait_for(lambda: batch(world, 1, "again") == 202, 60, "there is room")
    before = len(sink.events)

    def moved():
        nonlocal total
        total += json.loads(put(world, "dead/retry" + where, name="w2")[1])["count"]
        return total == 30
    total = 0
    wait_for(moved, 60, "all go to their trigger again")
    wait_for(lambda: set(sink.ids()[before:]) == {f"dies-{i}" for i in range(30)}, 60, "they come")
    world.kill("w2")
    world.api.delete("triggers", "dies")


def test_a_slow_watcher_is_told_what_it_missed(world):
    """It reads nothing while more goes by than is kept: the broker takes and delivers on, and a line counts the rest."""
    sink = world.sink()
    world.trigger("fast", sink, filter={"attributes": {"type": "fast"}})
    world.known("fast")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(world.home / "w1.admin"))
        s.sendall(b"GET /events/tail?namespace=default&broker=default HTTP/1.1\r\nHost: admin\r\n\r\n")
        stream = s.makefile("rb")
        while stream.readline() != b"\r\n":
            pass

        def lines():
            while True:
                chunk = stream.read(int(stream.readline(), 16) + 2)
                yield from (json.loads(line) for line in chunk.splitlines() if line.strip())
        seen = lines()
        batch(world, 1, "first")
        assert next(seen)["event"]["id"] == "first-0"
        before = len(sink.events)
        for _ in range(60):  # each of them 20 events of 8 KiB
            wait_for(lambda: batch(world, 20, "fast", data="x" * 8192) == 202, 60, "it is taken")
        wait_for(lambda: len(sink.events) >= before + 1200, 60, "all are delivered")
        got = passed = 0
        while got + passed < 1200:
            line = next(seen)
            passed += line.get("passedOver", 0)
            got += "event" in line
        assert passed > 0 and got + passed == 1200
    world.api.delete("triggers", "fast")
