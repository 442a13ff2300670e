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


def dead(w, where, name="w2"):
    return json.loads(put(w, "dead" + where, "GET", name)[1])


def batch(w, n, kind="t", broker="default", **more):
    events = [{"specversion": "1.0", "id": f"{kind}-{i}", "source": "/s", "type": kind, **more} for i in range(n)]
    return w.post(f"/default/{broker}", {"content-type": "application/cloudevents-batch+json"}, json.dumps(events))[0]


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
    """Twice is possible for an event that a frozen worker held, so only what must be there is asked for."""
    bad = {"now": True}
    sink = world.sink(lambda event: (422, {}, b"") if bad["now"] else (204, {}, b""))
    world.broker("full")
    world.trigger("dies", sink, broker="full", filter={"attributes": {"type": "dies"}}, delivery={"retry": 0})
    world.known("dies", broker="full")
    world.start("--max-events", "300", "--keep-events", "200", name="w2")
    world.known("dies", broker="full", name="w2")
    where, all_of_them = "?namespace=default&trigger=dies", {f"dies-{i}" for i in range(30)}
    assert batch(world, 30, "dies", "full") == 202
    wait_for(lambda: {i["event"]["id"] for i in dead(world, where)["items"]} == all_of_them, 60, "30 dead letters")
    page = dead(world, where + "&limit=20")
    assert len(page["items"]) == 20 and page["more"]
    rest = dead(world, where + "&from=" + page["items"][-1]["id"])
    assert not rest["more"] and {i["event"]["id"] for i in page["items"] + rest["items"]} == all_of_them
    numbers = json.loads(put(world, "numbers?namespace=default", "GET", "w2")[1])
    assert next(t["dead"] for b in numbers["brokers"] for t in b["triggers"] if t["name"] == "dies") >= 30
    # What waits for a sink that refuses connections fills the broker: the dead have no room until it is done.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        world.trigger("waits", f"http://127.0.0.1:{closed.getsockname()[1]}/", broker="full", delivery={"retry": 1000, "backoffDelay": "PT60S"})
        world.known("waits", broker="full"), world.known("waits", broker="full", name="w2")
        wait_for(lambda: batch(world, 50, "fills", "full") == 429, 60, "it is full")
        status, said = put(world, "dead/retry" + where, name="w2")
        said = json.loads(said)
        assert (status, said["count"], said["full"], said["more"]) == (200, 0, True, True)
    world.api.delete("triggers", "waits")
    bad["now"] = False
    wait_for(lambda: batch(world, 1, "again", "full") == 202, 60, "there is room")
    before = len(sink.events)

    def moved():
        said = json.loads(put(world, "dead/retry" + where, name="w2")[1])
        return not said["more"] and not said["full"]
    wait_for(moved, 60, "all go to their trigger again")
    wait_for(lambda: set(sink.ids()[before:]) == all_of_them, 60, "they come")
    world.kill("w2")
    world.api.delete("triggers", "dies")


def test_a_slow_watcher_is_told_what_it_missed(world):
    """It reads nothing while more goes by than is kept: the broker takes and delivers on, and a line counts the rest."""
    sink = world.sink()
    world.broker("slow")
    world.trigger("fast", sink, broker="slow", filter={"attributes": {"type": "fast"}})
    world.known("fast", broker="slow")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(90)
        s.connect(str(world.home / "w1.admin"))
        s.sendall(b"GET /events/tail?namespace=default&broker=slow&since=0-0 HTTP/1.1\r\nHost: admin\r\n\r\n")
        stream = s.makefile("rb")
        while stream.readline() != b"\r\n":
            pass

        def lines():
            while True:
                chunk = stream.read(int(stream.readline(), 16) + 2)
                yield from (json.loads(line) for line in chunk.splitlines() if line.strip())
        seen = lines()
        wait_for(lambda: batch(world, 1, "first", "slow") == 202, 60, "it is taken")
        assert next(seen)["event"]["id"] == "first-0"
        taken = 0
        for _ in range(60):  # each of them 20 events of 8 KiB
            wait_for(lambda: batch(world, 20, "fast", "slow", data="x" * 8192) == 202, 60, "it is taken")
            taken += 20
        wait_for(lambda: len(sink.events) >= taken, 60, "all are delivered")
        got = passed = 0
        while got + passed < taken:
            line = next(seen)
            passed += line.get("passedOver", 0)
            got += "event" in line
        assert passed > 0 and got + passed == taken
    world.api.delete("triggers", "fast")
