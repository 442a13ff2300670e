# SPDX-License-Identifier: Apache-2.0
"""Family G: hostile events, a hostile or damaged Redis, hostile sinks and filters, to the real lull-broker.

| what | proven by |
|---|---|
| 44 events that are none, doubled or %-encoded `ce-` headers, charsets, data and data_base64, large batches | tests/unit/events/test_http.c (every row), tests/fuzz/fuzz_events.c |
| 44 the same through the ingress: refused, and nothing of a batch with one bad event is taken | here, test_broker.py::test_refusals_say_what_is_wrong |
| 45 answers with huge, negative or nested counts, cut off, push frames, one too many, HTTP; silence; without end | tests/unit/redis/test_conn.c |
| 45 MOVED, several nodes; WRONGPASS, NOAUTH, NOPERM; too old; a policy that evicts | tests/unit/redis/test_pure.c, test_redis.py |
| 45 LOADING, OOM, READONLY, a full disk (MISCONF), too few replicas; a fail-over; a Sentinel that names a replica | test_redis.py |
| 45 a fail-over that loses acknowledged writes | docs/broker.md says it; `--redis-wait`: test_redis.py |
| 45 groups and streams that are gone, a gap in the stream, ids ahead of the clock, many pending entries | here |
| 45 entries that are no events or references | test_broker.py::test_poison_in_the_streams_is_passed_over |
| 46 redirects, absurd Retry-After | here, tests/unit/broker/test_pure.c |
| 46 reply loops; sinks that hang or answer without end; slow sinks beside others | test_broker.py, test_broker_capacity.py |
| 46 filters: depth, patterns that look back | here, tests/unit/events/test_cesql.c and test_filter.c, fuzz_event_filter.c |
| 46 link-local, reserved, admin ports, the API, Redis itself | test_broker.py::test_forbidden_addresses_are_never_called, test_events_store.py, here |
"""
import json
import pathlib
import time

import pytest
from broker_world import World
from conftest import BUILD, binary, state_directory
from lull_client import wait_for
from redis_servers import Server

pytestmark = pytest.mark.hostile
GOOD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
KEY = "lull:{default/default}"


@pytest.fixture(scope="module")
def shared():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), redis=Server(home / "redis"))
        try:
            w.broker()
            w.start(), w.known()
            yield w
        finally:
            w.close()


@pytest.fixture
def world(shared):
    yield shared
    for name in [k[2] for k in list(shared.api.objects) if k[0] == "triggers"]:
        shared.api.delete("triggers", name)
    wait_for(lambda: not any(b["triggers"] for b in shared.state()["brokers"]), 60, "no trigger is left")


def send_until(w, sink, ident):
    """Taken, now or when what was damaged is made again, and delivered."""
    wait_for(lambda: w.send(ident) == 202, 60, f"{ident} is taken")
    wait_for(lambda: ident in sink.ids(), 60, f"{ident} comes")


@pytest.fixture
def good(world):
    """A trigger that must not suffer."""
    sink = world.sink()
    world.trigger("good", sink), world.known("good")
    yield sink


def uid(w, trigger="good"):
    return w.trigger_state(trigger)["uid"]


def memory_of(process):
    """Bytes."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_events_that_are_none_are_refused_whole(world, good):
    before = world.metric("accepted_total")
    bad = {k: v for k, v in GOOD.items() if k != "id"}
    large = {**GOOD, "ext": "x" * (1 << 20)}
    structured = "application/cloudevents+json"
    cases = [
        (BATCH, [*[{**GOOD, "id": str(i)} for i in range(50)], bad], {400}),
        (BATCH, [GOOD, large], {400, 413}),
        ({"content-type": structured}, large, {400, 413}),
        ({"content-type": structured + "; charset=utf-16"}, GOOD, {400}),
        ({"content-type": structured}, {**GOOD, "data": 1, "data_base64": "eA=="}, {400}),
        ({"content-type": structured}, {**GOOD, "data_base64": "%%"}, {400}),
        ({f"ce-{k}": v for k, v in {**GOOD, "ext": "x" * 60000}.items()}, "", {400, 413, 431}),
        ({f"ce-{k}": v for k, v in {**GOOD, "ext": "x" * 200000}.items()}, "", {0, 400, 413, 431}),
        ({**{f"ce-{k}": v for k, v in GOOD.items()}, "ce-bad name": "x"}, "", {0, 400}),
        ({"content-type": structured}, "[" * 100000, {400}),
    ]
    for headers, body, want in cases:
        text = body if isinstance(body, str) else json.dumps(body)
        try:
            status, _, said = world.post("/default/default", headers, text)
        except ValueError:  # the client's own library does not send that
            continue
        assert status in want, (str(headers)[:100], text[:100], status, said[:200])
    assert world.metric("accepted_total") == before
    send_until(world, good, "44")
    assert good.ids() == ["44"]


def test_groups_and_streams_that_are_gone_are_made_again(world, good):
    send_until(world, good, "before")
    world.redis.ask("XGROUP", "DESTROY", KEY + ":events", "dispatch")
    world.redis.ask("XGROUP", "DESTROY", f"{KEY}:t:{uid(world)}", "deliver")
    send_until(world, good, "groups")
    world.redis.ask("DEL", f"{KEY}:t:{uid(world)}")
    world.redis.ask("SET", f"{KEY}:t:{uid(world)}:retry", "another type")
    world.redis.ask("DEL", KEY + ":events")
    wait_for(lambda: world.send("streams") == 202, 60, "it is taken")
    world.redis.ask("FLUSHALL")
    # What had been there is lost; what is accepted from now on is not.
    for i in range(3):
        wait_for(lambda i=i: world.send(f"after-{i}") == 202, 60, "it is taken")
    wait_for(lambda: "after-2" in good.ids() or world.send("again") == 0 or "again" in good.ids(), 60, "events come again")


def test_a_gap_in_the_stream_is_passed_over(world, good):
    """Somebody trims the events below references that are not delivered."""
    refusing = {"on": True}
    slow = world.sink(lambda e: ((503 if refusing["on"] else 204), {}, b""))
    world.trigger("slow", slow, delivery={"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT0.5S"}), world.known("slow")
    for i in range(20):
        wait_for(lambda i=i: world.send(f"gap-{i}") == 202, 60, "it is taken")
    wait_for(lambda: len(set(slow.ids())) == 20, 60, "each was tried")
    world.kill()
    world.redis.ask("XTRIM", KEY + ":events", "MAXLEN", "0")
    refusing["on"] = False
    world.start(), world.known("good", "slow")
    send_until(world, slow, "behind")
    key = f"{KEY}:t:{uid(world, 'slow')}"
    wait_for(lambda: world.redis.ask("XLEN", key) == "0" and world.redis.ask("ZCARD", key + ":retry") == "0", 60, "nothing hangs")
    assert world.metric("missing_total") > 0  # of a worker that has begun anew


def test_ids_ahead_of_the_clock(world, good):
    """The clock of Redis was wrong once: ids of a year ahead, then the right time again."""
    wait_for(lambda: world.send("first") == 202, 60, "it is taken")
    ahead = int(time.time() * 1000) + 365 * 86400 * 1000
    assert world.redis.ask("XADD", KEY + ":events", f"{ahead}-0", "x", "poison") == f"{ahead}-0"
    tries = {}

    def twice(event):
        tries[event["ce-id"]] = tries.get(event["ce-id"], 0) + 1
        return (204 if tries[event["ce-id"]] > 1 else 503), {}, b""

    flaky = world.sink(twice)
    world.trigger("flaky", flaky, delivery={"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}), world.known("flaky")
    for i in range(5):
        send_until(world, good, f"ahead-{i}")
    wait_for(lambda: all(tries.get(f"ahead-{i}") == 2 for i in range(5)), 60, "retries too")
    world.redis.ask("DEL", KEY + ":events")
    send_until(world, good, "right-again")


def pending(w, good, n):
    """n references that a dead worker had read, to events that are not there; the others go on, memory is bounded."""
    key = f"{KEY}:t:{uid(w)}"
    # Some thousand at a time: a script may not keep Redis for seconds.
    script = ("for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'r', '1-' .. i, 's', 'd 0 0 ') end "
              "redis.call('XREADGROUP', 'GROUP', 'deliver', 'dead', 'COUNT', ARGV[1], 'STREAMS', KEYS[1], '>') "
              "redis.call('ZADD', 'lull:workers', 1, 'dead')")
    before = w.metric("missing_total")
    for _ in range(0, n, 10000):
        w.redis.ask("EVAL", script, 1, key, min(n, 10000))
    largest = 0

    def all_seen():
        nonlocal largest
        largest = max(largest, memory_of(w.processes["w1"]))
        return w.redis.ask("XLEN", key) == "0"
    send_until(w, good, f"beside-{n}")
    wait_for(all_seen, 60 if n < 100000 else 1200, "all pending entries are looked at")
    return w.metric("missing_total") - before, largest


def test_many_pending_entries_of_a_dead_worker(world, good):
    send_until(world, good, "before-many")
    missing, largest = pending(world, good, 20000)
    # A sanitizer keeps what was freed.
    assert missing > 15000 and ("asan" in BUILD.name or largest < 64 << 20), (missing, largest >> 20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_pending_entries_of_a_dead_worker(world, good):
    send_until(world, good, "before-million")
    missing, largest = pending(world, good, 1000000)
    print(f"{missing} entries looked at, lull-broker had {largest >> 20} MiB")
    assert largest < 64 << 20


def test_redirects_and_absurd_delays(world, good):
    turns = world.sink()
    turns.answer = lambda event: (307, {"Location": turns.url}, b"")
    world.trigger("turns", turns, delivery={"retry": 5, "backoffDelay": "PT0.01S"})
    values = iter(["99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "\u00b2", "1e9", "18446744073709551617"])
    later = world.sink(lambda event: (429, {"Retry-After": next(values, "0")}, b""))
    world.trigger("later", later, delivery={"retry": 9, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"})
    world.known("turns", "later")
    for i in range(6):
        send_until(world, good, f"46-{i}")
    wait_for(lambda: world.trigger_state("turns")["dead"] == 6 and len(turns.events) == 6, 60, "a redirect is not followed, nor tried again")
    key = f"{KEY}:t:{uid(world, 'later')}:retry"
    wait_for(lambda: len(later.events) >= 6, 60, "each was tried")
    most = (time.time() + 6 * 3600 + 60) * 1000
    scores = world.redis.ask("ZRANGE", key, 0, -1, "WITHSCORES").split("\n")[1::2]
    assert all(float(s) <= most for s in scores), scores
    forbidden = world.sink()
    world.trigger("redis", f"http://127.0.0.1:{world.redis.port}/", delivery={"retry": 0}), world.known("redis")
    send_until(world, good, "ssrf")
    wait_for(lambda: "admin port" in world.trigger_state("redis")["trouble"], 60, "Redis' own port is refused")
    assert not forbidden.events


def test_filters_that_cost_much_are_bounded(world, good):
    world.trigger("deep", world.sink(), filters=[{"cesql": "(" * 20000 + "TRUE" + ")" * 20000}])
    world.trigger("wide", world.sink(), filters=[{"any": [{"exact": {"type": str(i)}} for i in range(5000)]}])
    back = world.sink()
    world.trigger("back", back, filters=[{"cesql": "subject LIKE '" + "%a" * 60 + "%b'"}]), world.known("back")
    wait_for(lambda: (world.trigger_state("deep") or {}).get("ready") is False, 60, "it is not used")
    begun = time.monotonic()
    for i in range(20):
        wait_for(lambda i=i: world.send(f"f-{i}", subject="a" * 8000) == 202, 60, "it is taken")
    wait_for(lambda: "f-19" in good.ids(), 60, "the others have theirs")
    assert not back.events and time.monotonic() - begun < 60
