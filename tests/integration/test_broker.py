# SPDX-License-Identifier: Apache-2.0
"""The real lull-broker with a real redis-server 7: what it takes, matches, delivers, retries and gives up.
What it survives is in test_broker_kills.py."""
import base64
import http.client
import json
import re
import ssl
import threading
import types

import pytest
from broker_world import World
from certs import Certificate
from conftest import binary, state_directory
from lull_client import wait_for

FAST = {"retry": 3, "backoffPolicy": "exponential", "backoffDelay": "PT0.05S"}


@pytest.fixture(scope="module")
def shared():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        certificate = Certificate("localhost")
        w.ca, w.tls = home / "ca.pem", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        w.ca.write_text(certificate.cert), (home / "key.pem").write_text(certificate.key)
        w.tls.load_cert_chain(w.ca, home / "key.pem")
        try:
            w.start("--deliver-ca", str(w.ca), "--max-event", "256Ki", "--max-body", "1Mi", "--max-reply", "64Ki", "--keep-events", "500")
            yield w
        finally:
            w.close()


@pytest.fixture
def world(shared, request):
    """A broker of the test's own, named after it, in the worker that all share."""
    shared.name = request.node.name.split("[")[0].replace("test_", "").replace("_", "-")
    shared.broker(shared.name)
    yield shared
    for name in [k[2] for k, o in list(shared.api.objects.items())
                 if k[0] == "triggers" and o["spec"]["broker"] == shared.name]:
        shared.api.delete("triggers", name)
    shared.api.delete("brokers", shared.name)
    # The next row of a table has the same names: it must not meet this one's.
    wait_for(lambda: not any(b["name"] == shared.name for b in shared.state()["brokers"]), 60, "its broker is forgotten")


def trigger(w, name, sink, **spec):
    w.trigger(name, sink, broker=w.name, **spec)
    w.known(name, broker=w.name)


def send(w, ident, **more):
    return w.send(ident, broker=w.name, **more)


def got(sink, n, deadline=60):
    wait_for(lambda: len(sink.events) >= n, deadline, f"{n} events; there are {len(sink.events)}")
    return sink.events


def test_binary_structured_and_batches_arrive_as_binary_events(world):
    sink = world.sink()
    trigger(world, "all", sink)
    path = f"/default/{world.name}"
    assert send(world, "b-1", body=b'{"a":1}', subject="s/\u00e4".encode().decode("latin-1"), ext="x") == 202
    event = got(sink, 1)[0]
    assert (event["ce-id"], event["ce-type"], event["ce-source"], event["ce-specversion"]) == ("b-1", "t", "/test", "1.0")
    assert event["body"] == b'{"a":1}' and event["content-type"] == "application/json" and event["ce-ext"] == "x"
    assert event["prefer"] == "reply" and event["kn-namespace"] == "default"
    assert "ce-knativebrokerttl" not in event and event["ce-knativearrivaltime"].endswith("Z")
    one = {"specversion": "1.0", "id": "s-1", "source": "/s", "type": "t", "data": {"n": [1, 2]}}
    assert world.post(path, {"content-type": "application/cloudevents+json"}, json.dumps(one))[0] == 202
    event = got(sink, 2)[1]
    assert event["ce-id"] == "s-1" and json.loads(event["body"]) == {"n": [1, 2]}
    many = [{**one, "id": f"m-{i}", "data_base64": base64.b64encode(b"\0\1").decode()} for i in range(20)]
    for e in many:
        del e["data"]
    assert world.post(path, {"content-type": "application/cloudevents-batch+json"}, json.dumps(many))[0] == 202
    got(sink, 22)
    assert sorted(sink.ids()[2:]) == sorted(e["id"] for e in many) and sink.events[5]["body"] == b"\0\1"


@pytest.mark.hostile
def test_refusals_say_what_is_wrong(world):
    path = f"/default/{world.name}"
    good = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    wait_for(lambda: world.post(path, good)[0] == 202, 60, "the broker is known")
    without = {k: v for k, v in good.items() if k != "ce-id"}
    cases = [
        ("POST", "/", good, b"", 404), ("POST", "/default", good, b"", 400), ("POST", path + "/x", good, b"", 400),
        ("POST", "/default/nobody", good, b"", 404), ("GET", path, {}, b"", 405), ("PUT", path, good, b"", 405),
        ("POST", path, {}, b"", 400), ("POST", path, without, b"", 400), ("POST", path, {**good, "ce-type": ""}, b"", 400),
        ("POST", path, {**good, "ce-specversion": "9"}, b"", 400), ("POST", path, {**good, "ce-Bad_Name": "x"}, b"", 400),
        ("POST", path, {**good, "ce-knativebrokerttl": "1"}, b"", 400),
        ("POST", path, {"content-type": "application/cloudevents+json"}, b"{", 400),
        ("POST", path, {"content-type": "application/cloudevents+avro"}, b"x", 415),
        ("POST", path, {"content-type": "application/cloudevents-batch+json"}, b'[{"specversion":"1.0"}]', 400),
        ("POST", path, good, b"x" * (300 << 10), 413), ("POST", path, good, b"x" * (2 << 20), 413),
    ]
    before = world.metric("accepted_total")
    for method, target, headers, body, want in cases:
        status, _, text = world.post(target, headers, body, method=method)
        # Of a body that is too large the server may have closed the connection before all of it was sent.
        assert status == want or (len(body) > 1 << 20 and status == 0), (method, target, headers, status, text)
    assert world.metric("accepted_total") == before
    status, headers, _ = world.post(path, {}, method="OPTIONS")
    assert (status, headers["allow"], headers["webhook-allowed-origin"], headers["webhook-allowed-rate"]) == (
        200, "POST, OPTIONS", "*", "*")
    assert world.post(path, {}, method="GET")[1]["allow"] == "POST, OPTIONS"


def test_filters_choose(world):
    sinks = {name: world.sink() for name in ("typed", "prefixed", "sql", "everything", "wrong")}
    trigger(world, "typed", sinks["typed"], filter={"attributes": {"type": "order"}})
    trigger(world, "prefixed", sinks["prefixed"], filters=[{"prefix": {"type": "or"}}, {"not": {"exact": {"source": "/no"}}}])
    trigger(world, "sql", sinks["sql"], filters=[{"any": [{"exact": {"color": "red"}}, {"suffix": {"type": "ing"}}]}])
    trigger(world, "everything", sinks["everything"])
    for ident, kind, more in (("1", "order", {}), ("2", "orange", {"source": "/no"}), ("3", "thing", {}), ("4", "x", {"color": "red"})):
        assert send(world, ident, type=kind, **more) == 202
    got(sinks["everything"], 4), got(sinks["sql"], 2), got(sinks["prefixed"], 1), got(sinks["typed"], 1)
    assert {n: sorted(s.ids()) for n, s in sinks.items()} == {
        "typed": ["1"], "prefixed": ["1"], "sql": ["3", "4"], "everything": ["1", "2", "3", "4"], "wrong": []}


def test_a_failing_sink_is_tried_again_and_then_the_dead_letter_sink(world):
    tries = {}

    def answer(event):
        n = tries[event["ce-id"]] = tries.get(event["ce-id"], 0) + 1
        if event["ce-id"] == "twice":
            return (204, {}, b"") if n > 2 else (503, {}, b"busy")
        return (400 if event["ce-id"] == "never" else 500), {}, b"no thanks"

    sink, dead = world.sink(answer), world.sink()
    trigger(world, "flaky", sink, dead=dead, delivery=FAST)
    for ident in ("twice", "never", "always"):
        assert send(world, ident, body=b"{}") == 202
    events = {e["ce-id"]: e for e in got(dead, 2)}
    assert set(events) == {"never", "always"}
    assert tries["never"] == 1  # a 4xx is not worth another try
    assert tries["always"] == 4
    wait_for(lambda: tries["twice"] == 3, 60, "the event that was taken at the third try")
    assert events["always"]["ce-knativeerrordest"] == sink.url and events["always"]["ce-knativeerrorcode"] == "500"
    assert base64.b64decode(events["always"]["ce-knativeerrordata"]) == b"no thanks"
    assert events["never"]["ce-knativeerrorcode"] == "400" and events["never"]["body"] == b"{}"
    wait_for(lambda: world.trigger_state("flaky")["backlog"] == 0, 60, "nothing is left")


def test_without_a_dead_letter_sink_the_event_is_kept(world):
    trigger(world, "hopeless", world.sink(lambda e: (500, {}, b"x" * 5000)), delivery={"retry": 0})
    assert send(world, "gone", body=b"payload") == 202
    key = f"lull:{{default/{world.name}}}:t:{world.trigger_state('hopeless')['uid']}"
    wait_for(lambda: world.redis.ask("XLEN", key + ":dead") == "1", 60, "the event is among the dead")
    kept = world.redis.ask("XRANGE", key + ":dead", "-", "+")
    assert "id=gone" in kept and "payload" in kept and " 500 " in kept
    assert world.redis.ask("XLEN", key) == "0" and world.said("nobody took an event")


def test_a_dead_letter_does_not_go_round_for_ever(world):
    """Its dead letter sink is the broker from which it came, whose trigger takes it again."""
    sink = world.sink(lambda e: (400, {}, b""))
    trigger(world, "dies", sink, dead=types.SimpleNamespace(url=f"http://127.0.0.1:{world.ports['w1']}/default/{world.name}"))
    key = f"lull:{{default/{world.name}}}:t:{world.trigger_state('dies')['uid']}"
    assert send(world, "round", knativebrokerttl=5) == 202
    wait_for(lambda: world.redis.ask("XLEN", key + ":dead") == "1", 60, "what cannot go round any more is kept")
    assert sink.ids() == ["round"] * 4


def test_retry_after_counts_where_it_is_asked_for(world):
    times = []

    def answer(event):
        times.append(event)
        return (204, {}, b"") if len(times) > 1 else (429, {"Retry-After": "86400"}, b"")

    trigger(world, "polite", world.sink(answer), delivery={**FAST, "retryAfterMax": "PT1S"})
    key = f"lull:{{default/{world.name}}}:t:{world.trigger_state('polite')['uid']}"
    assert send(world, "later") == 202
    wait_for(lambda: world.redis.ask("ZCARD", key + ":retry") == "1", 60, "it waits for its retry")
    wait_for(lambda: len(times) == 2, 60, "the second try, bounded by retryAfterMax")


def test_replies_become_events_until_their_time_is_over(world):
    def answer(event):
        n = int(event["ce-id"].rpartition("-")[2]) + 1
        return 200, {"ce-specversion": "1.0", "ce-id": f"loop-{n}", "ce-source": "/f", "ce-type": "again",
                     "content-type": "text/plain"}, b"r%d" % n

    sink = world.sink(answer)
    trigger(world, "loop", sink, filter={"attributes": {"type": "again"}})
    dropped = world.metric("replies_looped_total")
    assert send(world, "loop-0", type="again", knativebrokerttl=7) == 202
    wait_for(lambda: world.metric("replies_looped_total") == dropped + 1, 60, "the loop ends")
    assert sink.ids() == [f"loop-{n}" for n in range(6)] and sink.events[3]["body"] == b"r3"
    # Structured replies too; what is no event is a failed delivery.
    structured = json.dumps({"specversion": "1.0", "id": "r", "source": "/f", "type": "reply", "data": 1}).encode()
    asker, teller = world.sink(lambda e: (200, {"Content-Type": "application/cloudevents+json"}, structured)), world.sink()
    trigger(world, "asks", asker, filter={"attributes": {"type": "ask"}})
    trigger(world, "told", teller, filter={"attributes": {"type": "reply"}})
    assert send(world, "q", type="ask") == 202
    assert got(teller, 1)[0]["body"] == b"1"
    trigger(world, "talks", world.sink(lambda e: (200, {"Content-Type": "text/plain"}, b"thank you")),
            filter={"attributes": {"type": "talk"}}, delivery={"retry": 0})
    assert send(world, "x", type="talk") == 202
    wait_for(lambda: world.trigger_state("talks")["dead"] == 1, 60, "an answer that is no event is a failure")
    trigger(world, "accepts", world.sink(lambda e: (202, {"Content-Type": "text/plain"}, b"later")),
            filter={"attributes": {"type": "accept"}}, delivery={"retry": 0})
    assert send(world, "y", type="accept") == 202
    wait_for(lambda: world.trigger_state("accepts")["delivered"] == 1, 60, "202 never replies")


@pytest.mark.hostile
def test_sinks_that_hang_or_never_stop_harm_nobody_else(world):
    release = threading.Event()

    def hang(event):
        release.wait(150)
        return None

    def endless(event):
        return 200, {"Content-Type": "text/plain"}, b"x" * (100 << 20)

    hanging, talking, good = world.sink(hang), world.sink(endless), world.sink()
    trigger(world, "hangs", hanging, delivery={"retry": 0, "timeout": "PT0.5S"}, annotations={"events.lull.dev/parallelism": "2"})
    trigger(world, "talks-on", talking, delivery={"retry": 0}, annotations={"events.lull.dev/parallelism": "2"})
    trigger(world, "good", good)
    try:
        for i in range(6):
            assert send(world, f"e{i}") == 202
        got(good, 6)
        assert world.trigger_state("hangs")["running"] <= 2
        wait_for(lambda: world.trigger_state("talks-on")["dead"] == 6, 60, "too large answers are failures")
        wait_for(lambda: world.trigger_state("hangs")["dead"] == 6, 60, "time is up for each")
    finally:
        release.set()


def test_https_sinks_are_called_and_their_certificate_is_checked(world):
    reply = {"ce-specversion": "1.0", "ce-id": "r", "ce-source": "/f", "ce-type": "reply"}
    safe = world.sink(lambda e: (200, reply, b"thanks") if e["ce-type"] == "t" else (204, {}, b""), tls=world.tls)
    trigger(world, "safe", safe, delivery={"retry": 0})
    trigger(world, "other-name", safe.url.replace("localhost", "127.0.0.1"), delivery={"retry": 0})
    assert send(world, "1", body=b"x" * 200_000) == 202
    assert got(safe, 2)[0]["body"] == b"x" * 200_000 and safe.ids() == ["1", "r"]
    wait_for(lambda: world.trigger_state("other-name")["dead"] == 2, 60, "the certificate has another name")
    assert "certificate" in world.trigger_state("other-name")["trouble"]


def test_what_names_the_request_and_its_trace_goes_along(world):
    """Headers that Knative passes on, and traces: to the sink, in either form, over a retry, and from its answer on."""
    parent, other = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'c' * 32}-{'d' * 16}-00"
    tries = []

    def answer(event):
        tries.append(event["ce-id"])
        if tries.count("1") == 1 and event["ce-id"] == "1":
            return 503, {}, b""
        return 200, {"ce-specversion": "1.0", "ce-id": f"re-{event['ce-id']}", "ce-source": "/s", "ce-type": "reply",
                     "X-Request-Id": f"{event.get('x-request-id')}-b", "traceparent": other, "Set-Cookie": "a=b"}, b""

    sink, structured, replies = world.sink(answer), world.sink(), world.sink()
    asked = [{"not": {"exact": {"type": "reply"}}}]
    trigger(world, "asked", sink, filters=asked, delivery=FAST)
    trigger(world, "structured", structured, filters=asked, delivery={**FAST, "format": "json"})
    trigger(world, "replies", replies, filter={"attributes": {"type": "reply"}})
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    along = {"x-request-id": "r-1", "X-B3-TraceId": "80f1", "x-b3-sampled": "1", "Knative-Thing": "a b", "traceparent": parent,
             "tracestate": "v=1", "Authorization": "Bearer x", "Cookie": "c=1", "X-Other": "o"}
    assert world.post(f"/default/{world.name}", {**event, **along})[0] == 202
    want = {"x-request-id": "r-1", "x-b3-traceid": "80f1", "x-b3-sampled": "1", "knative-thing": "a b", "traceparent": parent,
            "tracestate": "v=1", "authorization": None, "cookie": None, "x-other": None}
    for event_seen in (got(sink, 2)[1], got(structured, 1)[0]):
        assert {name: event_seen.get(name) for name in want} == want
    assert {name: got(replies, 1)[0].get(name) for name in want} == {
        **dict.fromkeys(want), "x-request-id": "r-1-b", "traceparent": other}
    # The extension of an event counts where its request has no valid trace; what is none is not passed on.
    assert world.post(f"/default/{world.name}", {**event, "ce-id": "2", "ce-traceparent": other, "traceparent": "nonsense",
                                                  "tracestate": "v=1"})[0] == 202
    second = got(structured, 2)[1]
    assert (second.get("traceparent"), second.get("tracestate")) == (other, None)


def test_large_events_go_out_in_either_form(world):
    sink = world.sink()
    trigger(world, "binary", sink)
    trigger(world, "structured", sink, delivery={"format": "json"})
    body = bytes(range(256)) * 1024  # 256 KiB: the most that this worker takes
    headers = {"ce-specversion": "1.0", "ce-id": "big", "ce-source": "/s", "ce-type": "t", "content-type": "application/octet-stream"}
    assert world.post(f"/default/{world.name}", headers, body)[0] == 202
    events = got(sink, 2)
    binary_one = next(e for e in events if "ce-id" in e)
    structured = json.loads(next(e for e in events if "ce-id" not in e)["body"])
    assert binary_one["body"] == body and base64.b64decode(structured["data_base64"]) == body and structured["id"] == "big"


def test_a_backlog_is_read_with_few_questions(world):
    """What is not in memory any more comes from Redis many at a time; counted by Redis."""
    go, n = threading.Event(), 2000
    sink = world.sink(lambda event: (204, {}, b"") if go.wait(60) else None)
    trigger(world, "backlogged", sink)
    one = {"specversion": "1.0", "source": "/s", "type": "t", "data": "x" * 8192}
    for i in range(0, n, 50):
        batch = [{**one, "id": str(i + j)} for j in range(50)]
        assert world.post(f"/default/{world.name}", {"content-type": "application/cloudevents-batch+json"}, json.dumps(batch))[0] == 202
    wait_for(lambda: world.trigger_state("backlogged")["backlog"] == n, 60, "all are matched")
    world.redis.ask("CONFIG", "RESETSTAT")
    go.set()
    got(sink, n)
    stats = world.redis.ask("INFO", "commandstats")
    calls = {name: int(count) for name, count in re.findall(r"cmdstat_(\w+):calls=(\d+)", stats)}
    assert sorted(map(int, sink.ids())) == list(range(n))
    assert 10 <= calls["xrange"] <= n / 8 and calls["xreadgroup"] <= n / 8, calls


def test_order_per_partition_key(world):
    failed = set()

    def answer(event):
        if event["ce-id"] in ("a-3", "b-5") and event["ce-id"] not in failed:
            failed.add(event["ce-id"])
            return 500, {}, b""
        return 204, {}, b""

    sink = world.sink(answer)
    trigger(world, "ordered", sink, delivery=FAST, annotations={"events.lull.dev/ordering": "partitionkey"})
    connection = http.client.HTTPConnection("127.0.0.1", world.ports["w1"], timeout=20)
    for i in range(10):
        for key in "abc":
            assert send(world, f"{key}-{i}", partitionkey=key, connection=connection) == 202
    connection.close()
    got(sink, 32)
    for key in "abc":
        mine = [i for i in sink.ids() if i[0] == key]
        want = [f"{key}-{i}" for i in range(10)]
        if key in "ab":  # the one that failed comes twice, before those behind it
            again = "a-3" if key == "a" else "b-5"
            want.insert(want.index(again), again)
        assert mine == want


@pytest.mark.parametrize("url,why", [
    ("http://169.254.169.254/latest/meta-data", "link-local"), ("http://[fe80::1]/", "link-local"),
    ("http://[::ffff:169.254.169.254]/", "link-local"), ("http://0.0.0.0/", "reserved"), ("http://127.0.0.1:9090/", "admin port"),
    ("http://127.0.0.1:8070/api", "admin port"),
])
def test_forbidden_addresses_are_never_called(world, url, why):
    trigger(world, "forbidden", url, delivery={"retry": 0})
    assert send(world, "x") == 202
    wait_for(lambda: world.trigger_state("forbidden")["dead"] == 1, 60, "it is given up")
    assert why in world.trigger_state("forbidden")["trouble"]


@pytest.mark.hostile
def test_poison_in_the_streams_is_passed_over(world):
    sink = world.sink()
    trigger(world, "clean", sink)
    events, mine = f"lull:{{default/{world.name}}}:events", f"lull:{{default/{world.name}}}:t:{world.trigger_state('clean')['uid']}"
    before = world.metric("poison_total")
    world.redis.ask("XADD", events, "*", "x", "y")
    world.redis.ask("XADD", events, "*", "e", "no event at all")
    world.redis.ask("XADD", mine, "*", "r", "not-an-id")
    world.redis.ask("XADD", mine, "*", "r", "1-1")  # an event that is not there
    world.redis.ask("XADD", mine, "*", "r", "1-1", "s", "z z z z")
    assert send(world, "good") == 202
    got(sink, 1)
    wait_for(lambda: world.metric("poison_total") >= before + 4 and world.redis.ask("XLEN", mine) == "0", 60, "all is passed over")
    assert sink.ids() == ["good"] and world.said("an event cannot be delivered")


def test_deleted_triggers_and_brokers_leave_nothing(world):
    sink = world.sink()
    trigger(world, "first", sink), trigger(world, "second", sink)
    assert send(world, "1") == 202
    got(sink, 2)
    world.api.delete("triggers", "first")
    wait_for(lambda: world.redis.ask("KEYS", "*default/deleted-triggers*:t:*").count("t:") == 1, 60, "the keys of one are gone")
    world.api.delete("triggers", "second")
    world.api.delete("brokers", world.name)
    wait_for(lambda: world.redis.ask("KEYS", "*default/deleted-triggers*") == "", 60, "all keys are gone")
    assert send(world, "2") == 404
    world.broker(world.name)  # for the fixture


def test_what_is_done_is_trimmed_and_what_is_not_stays(world):
    """Behind the slowest: a trigger without a sink that answers keeps the events."""
    stuck = threading.Event()
    slow = world.sink(lambda e: (stuck.wait(150), (204, {}, b""))[1])
    trigger(world, "fast", world.sink()), trigger(world, "slow", slow, delivery={"retry": 9, "timeout": "PT10M"})
    key = f"lull:{{default/{world.name}}}:events"
    batch = [{"specversion": "1.0", "id": str(i), "source": "/s", "type": "t", "data": "x" * 500} for i in range(400)]
    headers = {"content-type": "application/cloudevents-batch+json"}
    try:
        for _ in range(5):
            assert world.post(f"/default/{world.name}", headers, json.dumps(batch))[0] == 202
        wait_for(lambda: world.trigger_state("fast")["delivered"] == 2000, 60, "the fast one has all")
        assert int(world.redis.ask("XLEN", key)) == 2000
    finally:
        stuck.set()
    wait_for(lambda: world.trigger_state("slow")["delivered"] == 2000, 60, "the slow one has all")
    wait_for(lambda: int(world.redis.ask("XLEN", key)) < 700, 60, "all but the 500 that are kept is trimmed")


def test_what_waits_for_a_retry_is_not_trimmed(world):
    """Events that failed once come behind newer ones: the oldest is then not the first in the trigger's stream."""
    seen = set()

    def answer(event):
        first = event["ce-id"] not in seen
        seen.add(event["ce-id"])
        return (503 if first else 204), {}, b""

    sink = world.sink(answer)
    # Tried again at once, behind all others, and slowly enough that there is trimming meanwhile.
    trigger(world, "late", sink, delivery={"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT0.2S"},
            annotations={"events.lull.dev/parallelism": "4"})
    batch = [{"specversion": "1.0", "id": "", "source": "/s", "type": "t", "data": "x" * 500} for i in range(200)]
    lost = world.metric("missing_total")
    for n in range(10):
        for i, event in enumerate(batch):
            event["id"] = str(200 * n + i)
        assert world.post(f"/default/{world.name}", {"content-type": "application/cloudevents-batch+json"}, json.dumps(batch))[0] == 202
    wait_for(lambda: world.trigger_state("late")["delivered"] == 2000, 60, "each is taken at the second try")
    assert world.metric("missing_total") == lost
    key = f"lull:{{default/{world.name}}}"
    uid = world.trigger_state("late")["uid"]
    wait_for(lambda: world.redis.ask("ZCARD", f"{key}:t:{uid}:held") == "0", 60, "nothing is held any more")
    wait_for(lambda: int(world.redis.ask("XLEN", key + ":events")) < 700, 60, "all but the 500 that are kept is trimmed")
