# SPDX-License-Identifier: Apache-2.0
"""PingSources in the real lull-broker with a real redis-server: what is sent and when, one worker of several, what was missed, retries
over a kill, the request that wakes the sink."""
import base64
import datetime
import http.server
import threading
import time

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for

NOW = datetime.timezone.utc


def ago(**more):
    return (datetime.datetime.now(NOW) - datetime.timedelta(**more)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        try:
            yield w
        finally:
            w.close()


def ping(w, name, sink, created=None, **spec):
    meta = {"name": name, **({"creationTimestamp": created} if created else {})}
    w.api.put("pingsources", {"metadata": meta, "spec": {"schedule": "* * * * * *", "sink": {"uri": "http://x"}, **spec},
                              "status": {"sinkUri": getattr(sink, "url", sink)} if sink else {}})


def stamp(text):
    return int(datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=NOW).timestamp())


def state(w, source, name="w1"):
    return w.source_state(source, name) or {}


def times(sink):
    return [e["ce-time"] for e in list(sink.events)]


def test_events_carry_what_is_asked_for(world):
    world.start("--missed-runs", "120s")
    text, binary_data = world.sink(), world.sink()
    ping(world, "text", text, data='{"a": 1}', contentType="application/json", ceOverrides={"extensions": {"Team": "blue"}})
    ping(world, "bytes", binary_data, dataBase64=base64.b64encode(b"\0\1").decode())
    wait_for(lambda: len(text.events) >= 2 and len(binary_data.events) >= 1, 60, "events come")
    event = text.events[0]
    assert (event["ce-type"], event["ce-source"]) == ("dev.knative.sources.ping", "/apis/v1/namespaces/default/pingsources/text")
    assert event["body"] == b'{"a": 1}' and event["content-type"] == "application/json" and event["ce-team"] == "blue"
    assert binary_data.events[0]["body"] == b"\0\1"
    assert len(set(times(text))) == len(set(text.ids())) == len(text.events), "each run once"
    world.api.delete("pingsources", "text")
    world.api.delete("pingsources", "bytes")
    wait_for(lambda: world.redis.ask("KEYS", "*source/ping/*") == "", 60, "their keys are gone")


def test_of_two_workers_one_fires_and_missed_runs_are_made_up_for_once(world):
    sink = world.sink()
    world.start("--missed-runs", "120s", name="w2")
    ping(world, "both", sink)
    wait_for(lambda: state(world, "both").get("last") and state(world, "both", "w2").get("last"), 60, "both look after it")
    wait_for(lambda: len(sink.events) >= 4, 60, "events come")
    assert len(set(times(sink))) == len(sink.events)
    # Nobody runs for some seconds: of what was missed the last run is made up for, no other.
    world.kill("w1")
    world.kill("w2")
    last = int(world.redis.ask("HGET", "lull:{source/ping/default/both}:runs", "at")) // 1000
    wait_for(lambda: time.time() >= last + 4, 60, "some runs are missed")
    began = int(time.time())
    world.start("--missed-runs", "120s")
    wait_for(lambda: any(stamp(t) >= began for t in times(sink)), 60, "it goes on")
    assert [t for t in times(sink) if last < stamp(t) < began] == []
    assert len(set(times(sink))) == len(set(sink.ids())), "a run keeps its id"
    world.api.delete("pingsources", "both")


def test_missed_within_grace(world):
    """Objects that are older than the worker: a run within --missed-runs is made up for, an older one is not."""
    recent, old = world.sink(), world.sink()
    at = datetime.datetime.now(NOW) - datetime.timedelta(seconds=15)
    ping(world, "recent", recent, created=ago(hours=1), schedule=f"{at.second} {at.minute} {at.hour} * * *", timezone="UTC")
    at -= datetime.timedelta(minutes=5)
    ping(world, "old", old, created=ago(hours=1), schedule=f"{at.second} {at.minute} {at.hour} * * *", timezone="UTC")
    wait_for(lambda: len(recent.events) == 1 and state(world, "recent")["late"] == 1, 60, "the missed run")
    assert state(world, "old")["trouble"] == "" and state(world, "old")["next"] > ago(minutes=-10)
    assert not old.events and len(recent.events) == 1
    # Another schedule is not owed the past.
    ping(world, "old", old, created=ago(hours=1), schedule="0 0 1 1 *", timezone="Europe/Berlin")
    wait_for(lambda: state(world, "old")["next"].endswith("12-31T23:00:00Z"), 60, "the new schedule")
    assert not old.events
    ping(world, "old", old, schedule="0 0 1 1 *", timezone="Mars/Olympus")
    wait_for(lambda: "unknown time zone Mars/Olympus" in state(world, "old")["trouble"], 60, "what is wrong")


def test_a_run_survives_a_kill_until_it_is_delivered(world):
    down = [True]
    sink = world.sink(lambda event: (503, {}, b"") if down[0] else (204, {}, b""))
    at = datetime.datetime.now(NOW) - datetime.timedelta(seconds=5)
    ping(world, "once", sink, created=ago(hours=1), schedule=f"{at.second} {at.minute} {at.hour} * * *", timezone="UTC")
    wait_for(lambda: len(sink.events) >= 2, 60, "it is tried again")
    world.kill()
    down[0] = False
    world.start("--missed-runs", "120s")
    n = len(sink.events)
    wait_for(lambda: len(sink.events) > n, 90, "it is delivered")
    assert len(set(sink.ids())) == 1


def test_the_sink_is_woken_ahead_of_time(world):
    asked = []

    class Gateway(http.server.BaseHTTPRequestHandler):
        def answer(self):
            asked.append((self.command, self.headers.get("Host"), self.headers.get("Lull-Wake"), self.headers.get("ce-time"), time.time()))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(204)
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    world.kill()
    world.start("--local-gateway", f"127.0.0.1:{server.server_address[1]}", "--wake-ahead", "2s")
    ping(world, "early", "http://night.default.svc.cluster.local/", schedule="*/4 * * * * *")

    def pairs():
        return [(a, b) for a, b in zip(asked, asked[1:]) if a[0] == "GET" and b[0] == "POST" and a[4] < stamp(b[3])]

    wait_for(pairs, 60, "the function is woken, then called")
    server.shutdown()
    (_, host, wake, _, _), (_, called, none, _, _) = pairs()[0]
    assert (host, wake) == ("night.default.svc.cluster.local", "1") and (called, none) == (host, None)
