# SPDX-License-Identifier: Apache-2.0
"""Sources in the real lull-broker, with a real redis-server: signed web hooks, streams and lists of Redis, files in a folder."""
import datetime
import hashlib
import hmac
import json
import time

import pytest
from broker_world import Redis, World
from conftest import binary, state_directory
from lull_client import wait_for

FAST = {"retry": 3, "backoffPolicy": "exponential", "backoffDelay": "PT0.05S"}


@pytest.fixture(scope="module")
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        try:
            yield w.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
        finally:
            w.close()


def got(sink, n, deadline=60):
    wait_for(lambda: len(sink.events) >= n, deadline, f"{n} events; there are {len(sink.events)}")
    return sink.events


def secrets(*names):
    return [{"secretKeyRef": {"name": name, "key": "token"}} for name in names]


def digest(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(w, name, body, secret="s3cret", delivery="d-1", event="push", **more):
    return w.post(f"/_lull/hooks/default/{name}",
                  {"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": delivery,
                   "X-Hub-Signature-256": "sha256=" + digest(secret, body), **more}, body)


def test_runs_that_are_ahead_of_the_clock_are_not_repeated_but_for_more_than_ten_minutes(world):
    """The clock was put back while nobody ran; tests/unit/broker/test_due.c has it while somebody does."""
    sink = world.sink()
    world.source("pingsources", "tick", sink, schedule="* * * * * *")
    got(sink, 1)
    for ahead_s in (300, 1200):
        world.kill()
        last = int(time.time()) + ahead_s
        assert world.redis.ask("HSET", "lull:{source/ping/default/tick}:runs", "at", last * 1000) == "0", "it is there"
        world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
        wait_for(lambda: (world.source_state("tick") or {}).get("next"), 60, "the next run is known")
        ahead = datetime.datetime.fromisoformat(world.source_state("tick")["next"].replace("Z", "+00:00")).timestamp() - last
        assert ahead == 1 if ahead_s == 300 else ahead < -600, ahead
    world.api.delete("pingsources", "tick")


# --- web hooks


def test_a_signed_web_hook_of_github_arrives_once(world):
    sink = world.sink()
    world.secret("gh", token="s3cret")
    world.source("webhooksources", "gh", sink, signature={"scheme": "github", "secrets": secrets("gh")}, delivery=FAST,
                 ceOverrides={"extensions": {"team": "a"}})
    body = b'{"repository": {"url": "https://github.example/repos/a/b"}, "n": "\xc3\xa9"}'
    status, _, text = github(world, "gh", body)
    assert (status, text) == (202, b"")
    event = got(sink, 1)[0]
    assert event["body"] == body and event["ce-type"] == "com.github.push" and event["ce-id"] == "d-1"
    assert event["ce-source"] == "https://github.example/repos/a/b" and event["ce-team"] == "a"
    assert event["kn-namespace"] == "default" and event["content-type"] == "application/json"
    assert github(world, "gh", body)[0] == 202, "the sender must not try again"
    assert github(world, "gh", body, delivery="d-2")[0] == 202
    assert [e["ce-id"] for e in got(sink, 2)] == ["d-1", "d-2"]
    assert world.metric("repeated_total") == 1


def test_who_does_not_know_the_secret_is_refused_and_hears_why(world):
    sink = world.sink()
    world.secret("one", token="1")
    world.secret("two", token="2")
    world.source("webhooksources", "strict", sink, signature={"scheme": "github", "secrets": secrets("one", "two")}, maxBodyBytes=64)
    path = "/_lull/hooks/default/strict"
    status, _, text = github(world, "strict", b"{}", secret="3")
    assert status == 401 and b"fits none of the secrets" in text
    assert world.post(path, {"X-GitHub-Event": "push"}, b"{}")[0] == 401
    good = "sha256=" + digest("1", b"{}")
    assert world.post(path, {"X-Hub-Signature-256": good}, b"{}")[0] == 400, "no X-GitHub-Event"
    assert github(world, "strict", b"x" * 65, secret="1")[0] == 413
    assert world.post(path, {}, method="GET")[0] == 405
    assert world.post("/_lull/hooks/default/other", {}, b"{}")[0] == 404
    for secret in "12":
        assert github(world, "strict", b"{}", secret=secret, delivery=secret)[0] == 202
    assert sorted(e["ce-id"] for e in got(sink, 2)) == ["1", "2"]
    assert world.source_state("strict")["refused"] == 2
    # The inner name of its stream is no Broker that anybody can send to.
    for inner in ("/source/webhook/default/strict", "/source%2Fwebhook%2Fdefault/strict", "/_lull/hooks/", "/_lull/hooks/default"):
        assert world.send("x", broker="b") in (404,) and world.post(inner, {"ce-id": "1", "ce-specversion": "1.0", "ce-type": "t",
                                                                            "ce-source": "/s"}, b"{}")[0] in (400, 404)


def test_secrets_are_exchanged_while_it_runs_and_one_that_is_gone_is_503(world):
    sink = world.sink()
    world.secret("turn", token="old")
    world.source("webhooksources", "turn", sink, signature={"scheme": "github", "secrets": secrets("turn")})
    assert github(world, "turn", b"{}", secret="old")[0] == 202
    world.secret("turn", token="new")
    wait_for(lambda: github(world, "turn", b"{}", secret="new", delivery="n")[0] == 202, 60, "the new secret counts")
    assert github(world, "turn", b"{}", secret="old", delivery="o")[0] == 401
    world.api.delete("secrets", "turn")
    wait_for(lambda: github(world, "turn", b"{}", secret="wrong")[0] == 503, 60, "no secret to check with")
    status, headers, text = github(world, "turn", b"{}", secret="new")
    assert status == 503 and headers["retry-after"] and b"Secret turn is not there" in text


def test_stripe_signs_the_time_too(world):
    sink = world.sink()
    world.secret("stripe", token="whsec_x")
    world.source("webhooksources", "stripe", sink, signature={"scheme": "stripe", "secrets": secrets("stripe"), "toleranceSeconds": 60})
    body = b'{"id": "evt_1", "type": "charge.succeeded", "created": 1492774577}'

    def send(t, ident=body):
        signature = digest("whsec_x", f"{t}.".encode() + ident)
        return world.post("/_lull/hooks/default/stripe", {"Content-Type": "application/json; charset=utf-8",
                                                          "Stripe-Signature": f"t={t},v1={'0' * 64},v1={signature},v0=1"}, ident)

    now = int(time.time())
    assert send(now)[0] == 202
    status, _, text = send(now - 3600)
    assert status == 401 and b"ago" in text
    event = got(sink, 1)[0]
    assert event["ce-type"] == "com.stripe.charge.succeeded" and event["ce-id"] == "evt_1"
    assert event["ce-time"].startswith("2017-04-21T11:36:17") and event["ce-source"] == "/apis/sources.lull.dev/v1alpha1/namespaces/default/webhooksources/stripe"


def test_a_web_hook_is_safe_when_it_was_answered(world):
    """The sink is away; what was answered 202 outlives the worker, and a reply makes no event."""
    answers = [503]
    sink = world.sink(lambda _: (answers[0], {"ce-specversion": "1.0", "ce-type": "r", "ce-source": "/r", "ce-id": "r"}, b"{}"))
    dead = world.sink()
    world.source("webhooksources", "safe", sink, dead, signature={"scheme": "none"}, event={"idField": "n"},
                 delivery={"retry": 1000, "backoffDelay": "PT0.2S", "backoffPolicy": "linear"})
    sent = [f"{i:03}" for i in range(20)]
    for n in sent:
        assert world.post("/_lull/hooks/default/safe", {}, json.dumps({"n": n}).encode())[0] == 202
    world.kill()
    answers[0] = 200
    world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
    wait_for(lambda: set(sent) <= set(sink.ids()), 60, "all arrive")
    assert world.state()["brokers"] and all(t["replies"] == 0 for b in world.state()["brokers"] for t in b["triggers"])
    world.api.delete("webhooksources", "safe")
    wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:*safe*") == "", 60, "its keys are gone")
    assert world.post("/_lull/hooks/default/safe", {}, b"{}")[0] == 404


# --- Redis


@pytest.fixture(scope="module")
def other(world):
    """The redis-server of somebody else, on a socket of its own."""
    (world.home / "other").mkdir()
    redis = Redis(world.home / "other", "no")
    yield redis
    redis.close()


def url(redis):
    return f"unix:{redis.path}"


def test_entries_of_a_stream_are_acknowledged_when_the_sink_took_them(world, other):
    answers = [503]
    sink = world.sink(lambda _: (answers[0], {}, b""))
    world.secret("other", url=url(other) + "\n")
    other.ask("XADD", "orders", "*", "n", "before")
    world.source("redissources", "orders", sink, urlFrom={"secretKeyRef": {"name": "other", "key": "url"}},
                 stream={"key": "orders", "group": "g", "from": "first"}, parallelism=2,
                 delivery={"retry": 1000, "backoffDelay": "PT0.1S", "backoffPolicy": "linear"})
    ids = [other.ask("XADD", "orders", "*", "n", str(i), "n", "again", "odd\n", "x") for i in range(5)]
    wait_for(lambda: other.ask("XPENDING", "orders", "g").split()[0] == "2", 60, "as many are read as may be under way")
    got(sink, len(sink.events) + 4)
    assert other.ask("XPENDING", "orders", "g").split()[0] == "2", "none is acknowledged, and no more are read"
    answers[0] = 204
    wait_for(lambda: set(ids) <= set(sink.ids()) and other.ask("XPENDING", "orders", "g").split()[0] == "0", 60, "all are done")
    event = next(e for e in sink.events if e["ce-id"] == ids[3])
    assert json.loads(event["body"]) == {"n": ["3", "again"], "odd%0A": "x"} and event["ce-type"] == "dev.lull.redis.stream"
    assert event["ce-subject"] == "orders" and event["content-type"] == "application/json"
    # A worker that is killed leaves its entries to the next one; a stream that was deleted begins anew.
    answers[0] = 503
    last = other.ask("XADD", "orders", "*", "n", "last")
    wait_for(lambda: last in sink.ids(), 60, "it is tried")
    world.kill()
    answers[0] = 204
    count = sink.ids().count(last)
    world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
    wait_for(lambda: sink.ids().count(last) > count and other.ask("XPENDING", "orders", "g").split()[0] == "0", 60, "it is done")
    other.ask("DEL", "orders")
    new = other.ask("XADD", "orders", "*", "n", "new")
    wait_for(lambda: new in sink.ids(), 60, "the new stream is read from its beginning")
    world.api.delete("redissources", "orders")


def test_elements_of_a_list_stand_in_its_processing_list_meanwhile(world, other):
    answers = [503]
    sink, dead = world.sink(lambda e: (400 if e["body"] == b"bad" else answers[0], {}, b"no")), world.sink()
    world.source("redissources", "jobs", sink, dead, url=url(other), list={"key": "jobs"}, parallelism=1,
                 delivery={"retry": 1000, "backoffDelay": "PT0.1S", "backoffPolicy": "linear"})
    for value in ("1", "two", "bad", '{"n": 4}'):
        other.ask("LPUSH", "jobs", value)
    got(sink, 1)
    assert (other.ask("LRANGE", "jobs:processing", "0", "-1"), other.ask("LLEN", "jobs")) == ("1", "3")
    world.kill()
    answers[0] = 204
    world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
    wait_for(lambda: other.ask("EXISTS", "jobs", "jobs:processing") == "0", 60, "both lists are empty")
    bodies = [e["body"] for e in sink.events]
    assert [b for i, b in enumerate(bodies) if b not in bodies[:i]] == [b"1", b"two", b"bad", b'{"n": 4}'], "in their order"
    assert [e["content-type"] for e in sink.events[-3:]] == ["text/plain", "text/plain", "application/json"]
    assert [(e["body"], e["ce-knativeerrorcode"]) for e in dead.events] == [(b"bad", "400")]
    world.api.delete("redissources", "jobs")


def numbers(w, source):
    """What lull-broker tells of a source; it is no Broker."""
    told = json.loads(w.get("/events/numbers"))
    assert not [b for b in told["brokers"] if "/" in b["namespace"]]
    return next((s for s in told["sources"] if f"{s['kind']}/{s['name']}" == source and s["namespace"] == "default"), None)


def test_entries_that_are_no_event_or_that_nobody_takes_are_kept_among_the_dead(world, other):
    answers = [400]
    sink = world.sink(lambda _: (answers[0], {}, b"never"))
    world.source("redissources", "poison", sink, world.sink(lambda _: (400, {}, b"")), url=url(other), list={"key": "poison", "end": "left"})
    other.ask("EVAL", "redis.call('RPUSH', 'poison', string.rep('x', 307200), 'small')", "0")
    whose = "source=redis/poison"
    wait_for(lambda: len(world.dead(whose)) == 2, 60, "both are among the dead")
    large, small = sorted(world.dead(whose), key=lambda d: d["code"])
    assert "at most 262144 are taken" in large["reason"] and large["retryable"] is False and large["dataBytes"] == 0
    assert (small["code"], small["answer"], small["reason"], small["dataBytes"]) == (400, "never", "the sink answered 400", 5)
    assert "retryable" not in small and "knativeerrorcode" not in small["event"]
    assert other.ask("EXISTS", "poison", "poison:processing") == "0"
    told = wait_for(lambda: (n := numbers(world, "redis/poison"))["held"] == 0 and n, 60, "nothing is under way")
    assert (told["dead"], told["waiting"], told["failed"], told["gaveUp"]) == (2, 0, 2, 2)
    # Tried again from where it is kept; what is no event stays, and words say so.
    answers[0] = 204
    retry, drop = (f"/events/dead/{verb}?namespace=default&{whose}" for verb in ("retry", "drop"))
    assert "cannot be tried again" in world.put(f"{retry}&id={large['id']}")
    assert "has no dead letter 1-0" in world.put(f"{retry}&id=1-0")
    assert "there is no source redis/other" in world.put("/events/dead/retry?namespace=default&source=redis/other")
    assert "a / cannot stand in" in world.put("/events/dead/drop?namespace=source/redis/default&trigger=poison")
    before = len(sink.events)
    said = world.put(retry)
    assert (said["count"], said["notRetryable"], said["more"], said["full"]) == (1, 1, False, False)
    again = got(sink, before + 1)[before]
    assert (again["body"], again["ce-id"], again["ce-type"]) == (b"small", small["event"]["id"], "dev.lull.redis.list")
    assert [d["id"] for d in world.dead(whose)] == [large["id"]]
    assert world.put(f"{drop}&id={large['id']}")["count"] == 1 and world.dead(whose) == []
    other.ask("SET", "wrong", "type")
    world.api.put("redissources", {"metadata": {"name": "wrong"}, "spec": {"url": url(other), "stream": {"key": "wrong"}},
                                   "status": {"sinkUri": sink.url}})
    wait_for(lambda: "WRONGTYPE" in (world.source_state("wrong") or {"trouble": ""})["trouble"], 60, "it says what is wrong")
    world.api.delete("redissources", "wrong")
    world.api.delete("redissources", "poison")
    wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:*poison*") == "", 60, "all went with the source")


def test_a_redis_that_goes_and_comes_again_loses_nothing(world, other):
    sink = world.sink()
    other.ask("CONFIG", "SET", "appendfsync", "always")
    world.source("redissources", "away", sink, url=url(other), list={"key": "away"})
    other.ask("LPUSH", "away", "1")
    got(sink, 1)
    other.kill()
    wait_for(lambda: (world.source_state("away") or {"trouble": ""})["trouble"] != "", 60, "it says that Redis is away")
    other.start()
    other.ask("LPUSH", "away", "2")
    wait_for(lambda: b"2" in [e["body"] for e in sink.events], 60, "it goes on")
    world.api.delete("redissources", "away")


@pytest.mark.parametrize("address,why", [("169.254.169.254:80", "link-local"), ("127.0.0.1:9090", "admin port")])
def test_a_redis_at_a_forbidden_address_is_never_called(world, address, why):
    status = {"sinkUri": "http://127.0.0.1:9/"}
    world.api.put("redissources", {"metadata": {"name": "inner"}, "spec": {"url": f"redis://{address}", "list": {"key": "k"}}, "status": status})
    wait_for(lambda: why in (world.source_state("inner") or {"trouble": ""})["trouble"], 60, f"it says {why}")
    world.api.delete("redissources", "inner")
    wait_for(lambda: world.source_state("inner") is None, 60, "it is gone")


# --- files


@pytest.fixture
def folder(world, request):
    """A folder of the test's own."""
    path = world.home / request.node.name
    path.mkdir()
    yield path


def drop(folder, name, text):
    """Whole at once: this process may be stopped for a while between two steps."""
    (folder.parent / "drop").write_text(text)
    (folder.parent / "drop").rename(folder / name)


def names(path):
    return sorted(p.name for p in path.iterdir())


def test_a_file_that_is_dropped_is_sent_and_moved(world, folder):
    sink = world.sink()
    (folder / "before.json").write_text('{"n": 1}')
    world.source("filesources", "drop", sink, path=str(folder), settle="PT0.3S", pattern="*[!~]")
    (folder / ".hidden").write_text("x")
    (folder / "draft~").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "linked.txt").write_text("two names")
    (folder / "other name").hardlink_to(folder / "linked.txt")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep").write_text("x")
    got(sink, 1)
    (world.home / "outside").write_text("a,b\n")
    (world.home / "outside").rename(folder / "odd\n\udcff%.csv".encode(errors="surrogateescape").decode(errors="surrogateescape"))
    by_subject = {e["ce-subject"]: e for e in got(sink, 2)}
    first = by_subject["before.json"]
    assert first["body"] == b'{"n": 1}' and first["content-type"] == "application/json" and first["ce-type"] == "dev.lull.file"
    assert first["ce-source"] == "/apis/sources.lull.dev/v1alpha1/namespaces/default/filesources/drop"
    odd = next(e for s, e in by_subject.items() if s != "before.json")
    assert odd["ce-subject"] in ("odd%0A%FF%25.csv", "odd%250A%25FF%2525.csv") and odd["body"] == b"a,b\n" and odd["content-type"] == "text/csv"
    wait_for(lambda: len(names(folder / "done")) == 2, 60, "both are moved")
    assert names(folder) == [".hidden", "done", "draft~", "link", "linked.txt", "other name", "sub"]
    # The same name again is another file, and does not replace the one that was moved before.
    drop(folder, "before.json", '{"n": 2}')
    assert got(sink, 3)[2]["body"] == b'{"n": 2}'
    wait_for(lambda: len(names(folder / "done")) == 3, 60, "it is moved")
    assert (folder / "done" / "before.json").read_text() == '{"n": 1}'
    world.api.delete("filesources", "drop")


def test_a_file_is_complete_when_it_rests(world, folder):
    sink = world.sink()
    world.source("filesources", "rest", sink, path=str(folder), settle="PT2S")

    def write_slowly(name):
        """→ the longest pause: this process may have been stopped for a while"""
        wrote, longest = time.monotonic(), 0
        with (folder / name).open("w") as file:
            for i in range(8):
                file.write(f"{i}\n")
                file.flush()
                longest, wrote = max(longest, time.monotonic() - wrote), time.monotonic()
                time.sleep(0.1)
        return longest

    for i in range(20):
        if write_slowly(f"slow{i}") < 1:
            break
    wait_for(lambda: f"slow{i}" in [e["ce-subject"] for e in sink.events], 60, "it is sent")
    assert [e["body"] for e in sink.events if e["ce-subject"] == f"slow{i}"] == [b"0\n1\n2\n3\n4\n5\n6\n7\n"]
    world.api.delete("filesources", "rest")


def test_what_nobody_takes_is_moved_aside_and_what_is_large_is_named(world, folder):
    refused = ["bad", "bad and large"]
    sink = world.sink(lambda e: (400 if e["ce-subject"].replace("%20", " ") in refused else 204, {}, b""))
    world.source("filesources", "large", sink, path=str(folder), settle="PT0.2S", maxDataBytes=10, delivery=FAST)
    drop(folder, "bad", "x")
    drop(folder, "large file", "x" * 11)
    drop(folder, "small", "x" * 10)
    by_subject = {e["ce-subject"]: e for e in got(sink, 3)}
    large = by_subject.get("large file") or by_subject["large%20file"]
    assert large["body"] == b"" and large["ce-filesize"] == "11"
    assert large["ce-dataref"].replace("%2520", "%20") == f"file://{folder}/large%20file"
    wait_for(lambda: names(folder) == ["done", "failed", "large file"], 60, "they are moved")
    assert (names(folder / "done"), names(folder / "failed")) == (["small"], ["bad"])
    # What nobody took is kept with its data, or its name, and can be tried again.
    drop(folder, "bad and large", "x" * 11)
    wait_for(lambda: len(world.dead("source=file/large")) == 2, 60, "both are among the dead")
    assert sorted(d["dataBytes"] for d in world.dead("source=file/large")) == [0, 1]
    assert not [d for d in world.dead("source=file/large") if d.get("retryable") is False]
    wait_for(lambda: numbers(world, "file/large")["held"] == 0, 60, "nothing waits")
    refused.clear()
    before = len(sink.events)
    assert world.put("/events/dead/retry?namespace=default&source=file/large")["count"] == 2
    wait_for(lambda: len(sink.events) >= before + 2, 60, "both come again")
    assert sorted((e["body"], e.get("ce-filesize")) for e in sink.events[before:before + 2]) == [(b"", "11"), (b"x", None)]
    assert names(folder / "failed") == ["bad"], "the files stay where they are"
    world.api.delete("filesources", "large")
    wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:{source/file/default/large}*") == "", 60, "all went with the source")


def test_files_that_stay_are_sent_once_whatever_is_killed(world, folder):
    sink = world.sink()
    world.source("filesources", "stay", sink, path=str(folder), settle="PT0.2S", after="keep")
    for i in range(50):
        drop(folder, f"{i:03}", str(i))
    got(sink, 50)
    key = wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:{source/file/default/stay}:t:*:taken"), 60, "something is written down")
    wait_for(lambda: world.redis.ask("HLEN", key) == "50", 60, "all are written down")
    world.kill()
    drop(folder, "007", "changed")
    world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
    assert got(sink, 51)[50]["body"] == b"changed"
    drop(folder, "last", "last")
    assert [e["body"] for e in got(sink, 52)[51:]] == [b"last"]
    # A folder that goes is waited for; the same file in it again is known.
    folder.rename(world.home / "away")
    wait_for(lambda: world.source_state("stay")["trouble"] != "", 60, "it says that the folder is gone")
    (world.home / "away").rename(folder)
    drop(folder, "back", "back")
    assert [e["body"] for e in got(sink, 53)[52:]] == [b"back"]
    world.api.delete("filesources", "stay")
    wait_for(lambda: world.redis.ask("EXISTS", key) == "0", 60, "what was written down goes")


def test_a_source_that_goes_while_nobody_looks_leaves_nothing(world, folder, other):
    sink = world.sink(lambda _: (400, {}, b""))
    world.source("filesources", "unseen", sink, path=str(folder), settle="PT0S", after="keep")
    world.source("redissources", "unseen", sink, url=url(other), list={"key": "unseen"})
    world.source("webhooksources", "unseen", sink, signature={"scheme": "none"}, event={"idField": "n"})
    drop(folder, "a", "a")
    other.ask("LPUSH", "unseen", "a")
    assert world.post("/_lull/hooks/default/unseen", {}, b'{"n": "1"}')[0] == 202
    for kind in ("file", "redis", "webhook"):
        wait_for(lambda: len(world.dead(f"source={kind}/unseen")) == 1, 60, f"one of {kind} is dead")
    wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:{source/file/*unseen}:t:*:taken"), 60, "it is written down")
    world.kill()
    for kind in ("file", "redis", "webhook"):
        world.api.delete(f"{kind}sources", "unseen")
    world.start("--max-event", "256Ki", "--local-gateway", "127.0.0.1:1")
    wait_for(lambda: world.redis.ask("--raw", "KEYS", "lull:*unseen*") == "", 60, "their keys are gone")


def test_thousands_of_files_and_one_that_is_too_large(world, folder):
    sink = world.sink()
    for i in range(1500):
        (folder / f"{i:04}").write_text(str(i))
    with (folder / "huge").open("wb") as file:
        file.truncate(5 << 30)
    world.source("filesources", "many", sink, path=str(folder), mode="data", settle="PT0S", parallelism=50)
    wait_for(lambda: len(names(folder / "done") if (folder / "done").exists() else []) == 1500, 120, "all are moved")
    assert len({e["ce-subject"] for e in sink.events}) == 1500
    assert names(folder) == ["done", "failed"] and names(folder / "failed") == ["huge"]
    world.api.delete("filesources", "many")
