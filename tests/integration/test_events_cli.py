# SPDX-License-Identifier: Apache-2.0
"""What people debug events with: lull dlq, event tail and replay, and the numbers in describe, top and doctor."""
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import threading

import pytest
from broker_world import Sink
from conftest import binary, running_lull, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
        none = it.cli("dlq", "list", check=False)
        assert none.returncode == 1 and "`lull broker create default` starts what does" in none.stderr
        it.cli("broker", "create", "default")
        yield it


@pytest.fixture
def sink():
    """It refuses while .bad."""
    def answer(event):
        return (422, {}, b"not today") if it.bad else (204, {}, b"")

    it = Sink(answer)
    it.bad = False
    yield it
    it.close()


@pytest.fixture
def trigger(up, sink, request):
    """A trigger of the test's own for events of its own type."""
    name = request.node.name.replace("test_", "").replace("_", "-")[:40].strip("-")
    up.cli("trigger", "create", name, "--sink", sink.url, "--filter", f"type={name}")
    yield name
    up.cli("trigger", "delete", name)


def send(up, kind, ident, data=None):
    return up.cli("event", "send", "--type", kind, "--id", ident, "--data", data or json.dumps({"id": ident}))


def dead(up, trigger):
    return up.json("dlq", "list", trigger)


def wait_dead(up, trigger, n):
    wait_for(lambda: len(dead(up, trigger)) == n, 60, f"{n} dead letters of {trigger}")
    return dead(up, trigger)


@pytest.mark.quick
def test_dead_letters_are_shown_retried_and_dropped(up, sink, trigger):
    sink.bad = True
    other = up.cli("trigger", "create", "other", "--sink", sink.url, "--filter", "type=never")
    assert "ready" in other.stdout
    send(up, trigger, "d-0", "some text")
    for n in range(1, 4):
        send(up, trigger, f"d-{n}")
    items = wait_dead(up, trigger, 4)
    assert sorted(i["event"]["id"] for i in items) == ["d-0", "d-1", "d-2", "d-3"]
    first = next(i for i in items if i["event"]["id"] == "d-0")
    assert (first["code"], first["answer"], first["reason"]) == (422, "not today", "the sink answered 422")
    assert first["dataBytes"] == 9 and "data" not in first["event"] and first["event"]["type"] == trigger
    text = up.cli("dlq", "list").stdout
    assert trigger in text and "the sink answered 422" in text and " 422 " in text and "d-3" in text
    assert "other" not in text
    shown = up.json("dlq", "show", trigger, first["id"])
    assert shown["event"]["data"] == "some text"
    assert "not today" in up.cli("dlq", "show", trigger, first["id"]).stdout
    drop = [i["id"] for i in items if i["event"]["id"] in ("d-1", "d-2")]
    assert "2 dead letters" in up.cli("dlq", "drop", trigger, *drop).stdout
    missing = up.cli("dlq", "retry", trigger, drop[0], check=False)
    assert missing.returncode == 1 and "has no dead letter" in missing.stderr
    sink.bad = False
    before = len(sink.events)
    gone = up.cli("dlq", "show", trigger, "1-0", check=False)
    assert gone.returncode == 1 and "has no dead letter 1-0" in gone.stderr
    assert "1 dead letter of" in up.cli("dlq", "retry", trigger, first["id"]).stdout
    wait_for(lambda: len(sink.events) > before, 60, "it comes again")
    assert sink.events[-1]["ce-id"] == "d-0" and sink.events[-1]["body"] == b"some text"
    assert up.json("dlq", "retry", trigger, "--all") == {"trigger": trigger, "retried": 1, "full": False, "notRetryable": 0}
    wait_for(lambda: sink.ids()[before:] == ["d-0", "d-3"], 60, "the other comes again")
    wait_idle(up, trigger, 2)
    assert dead(up, trigger) == []
    assert "no dead letters" in up.cli("dlq", "list", trigger).stdout
    up.cli("trigger", "delete", "other")


def row(up, trigger):
    """Its numbers in lull top."""
    return next((t for t in up.json("top").get("triggers", []) if t["name"] == trigger), {})


def wait_idle(up, trigger, delivered):
    """Delivered, and Redis has noted it. More than that is possible on a machine that stands still for long."""
    def idle():
        got = row(up, trigger)
        return got.get("delivered", 0) >= delivered and (got["waiting"], got["retrying"]) == (0, 0)
    wait_for(idle, 60, f"{trigger} has delivered {delivered} and nothing waits")


def tail(up, *args):
    return [json.loads(line) for line in up.cli("event", "tail", "-o", "json", *args).stdout.splitlines()]


def test_tail_shows_what_was_and_what_comes(up, sink, trigger):
    for n in range(3):
        send(up, trigger, f"t-{n}")
    send(up, "something.else", "t-x")
    mine = ["--filter", f"type={trigger}"]
    seen = tail(up, *mine, "--since", "1h", "--count", 3)
    assert [e["event"]["id"] for e in seen] == ["t-0", "t-1", "t-2"]
    assert seen[0]["event"]["data"] == {"id": "t-0"} and "knativebrokerttl" in seen[0]["event"]
    assert [e["event"]["id"] for e in tail(up, *mine, "--since", seen[1]["id"], "--count", 2)] == ["t-1", "t-2"]
    assert [e["event"]["id"] for e in tail(up, "--cesql", "id LIKE 't-%' AND type LIKE 'some%'", "--since", "1h", "--count", 1)] == ["t-x"]
    live = subprocess.Popen([binary("lull"), "event", "tail", *mine], env=up.env(), stdout=subprocess.PIPE, text=True)
    try:
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in live.stdout], daemon=True).start()

        def comes():
            send(up, trigger, f"live-{comes.n}", '"some data"')
            comes.n += 1
            with contextlib.suppress(queue.Empty):
                return lines.get(timeout=2)
        comes.n = 0
        line = wait_for(comes, 60, "a line")
        assert f"{trigger}  /lull/cli  live-" in line and '"some data"' in line
        # lull-broker is started again: the tail goes on where it was
        before = up.part_pid("lull-broker")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: up.part_pid("lull-broker") not in (None, before), 60, "lull-broker again")
        wait_for(lambda: up.cli("event", "send", "--type", trigger, "--id", "after", check=False).returncode == 0, 60, "it takes events")
        wait_for(lambda: "  after" in lines.get(timeout=60), 60, "the event after it")
        wait_for(lambda: up.cli("dlq", "list", check=False).returncode == 0, 60, "it answers")
    finally:
        live.kill()
        live.wait()
    said = up.cli("event", "tail", "--broker", "none", check=False)
    assert said.returncode == 1 and said.stderr == "lull: there is no broker default/none of ours\n"
    said = up.cli("event", "tail", "--since", "yesterday", check=False)
    assert said.returncode == 1 and "--since yesterday: must be" in said.stderr
    said = up.cli("event", "tail", "--cesql", "type =", check=False)
    assert said.returncode == 1 and "filters" in said.stderr


def test_replay_gives_kept_events_to_one_trigger_again(up, sink, trigger):
    other = Sink()
    up.cli("trigger", "create", "beside", "--sink", other.url, "--filter", f"type={trigger}")
    for n in range(4):
        send(up, trigger, f"r-{n}")
    send(up, "something.else", "r-x")
    wait_idle(up, trigger, 4)
    wait_idle(up, "beside", 4)
    ids = [e["id"] for e in tail(up, "--filter", f"type={trigger}", "--since", "1h", "--count", 4)]
    wait_for(lambda: up.json("event", "replay", "--trigger", trigger, "--since", "1h", "--dry-run")["matched"] == 4, 30, "all are dispatched")
    assert "2 events would go to trigger" in up.cli("event", "replay", "--trigger", trigger, "--since", ids[1], "--until", ids[2], "--dry-run").stdout
    assert set(sink.ids()) == {f"r-{n}" for n in range(4)}
    said = up.json("event", "replay", "--broker", "default", "--trigger", trigger, "--since", ids[2])
    assert (said["matched"], said["written"], said["gone"]) == (2, 2, 0) and said["oldest"].endswith("Z")
    wait_idle(up, trigger, 6)
    assert {"r-2", "r-3"} <= set(sink.ids()[4:])
    said = up.cli("event", "replay", "--trigger", trigger, "--since", "1h", "--filter", "id=r-0").stdout
    assert "1 event goes to trigger" in said and "back to 20" in said
    wait_for(lambda: "r-0" in sink.ids()[6:], 60, "the third time")
    assert sorted(set(other.ids())) == [f"r-{n}" for n in range(4)]
    wrong = up.cli("event", "replay", "--broker", "else", "--trigger", trigger, "--since", "1h", check=False)
    assert wrong.returncode == 1 and f"trigger {trigger} is one of broker default, not of else" in wrong.stderr
    up.cli("trigger", "delete", "beside")
    other.close()


def test_numbers_say_what_waits_fails_and_is_dead(up, sink, trigger):
    healthy = up.json("doctor")
    assert {"check": "events", "level": "ok", "text": "lull-broker answers, and so does its Redis"}.items() <= \
        next(f for f in healthy["findings"] if f["check"] == "events").items()
    send(up, trigger, "n-0")
    wait_for(lambda: " 1 delivered" in up.cli("trigger", "describe", trigger).stdout, 60, "one is delivered")
    sink.bad = True
    send(up, trigger, "n-1")
    wait_dead(up, trigger, 1)
    told = up.cli("trigger", "describe", trigger).stdout
    assert "1 dead letters" in told and "1 attempts failed" in told and "1 nobody took" in told
    assert "Last failure the sink answered 422" in told
    got = row(up, trigger)
    assert (got["broker"], got["waiting"], got["dead"], got["gaveUp"]) == ("default", 0, 1, 1)
    wait_for(lambda: row(up, trigger)["failedPerSecond"] > 0, 30, "a rate")
    text = up.cli("top").stdout
    assert "DELIVERED/s" in text and trigger in text
    shown = up.cli("broker", "describe", "default").stdout
    assert " kept, back to 20" in shown and f"{trigger}: 0 waiting, 0 to be tried again, 1 dead letters" in shown
    found = [f for f in up.json("doctor")["findings"] if f["check"] == "dead letters" and trigger in f["text"]]
    assert [f["text"] for f in found] == [f"nobody took 1 event of trigger default/{trigger}"]
    assert found[0]["advice"] == f"lull dlq list {trigger} -n default"


def test_dead_letters_of_sources_are_shown_retried_and_dropped(up, sink, tmp_path):
    """Of a file and a web hook: in dlq, source describe, top and doctor, and nowhere as Brokers."""
    sink.bad = True
    for args in (["webhook", "create", "parcels", "--scheme", "none", "--id-field", "n"],
                 ["file", "create", "parcels", "--path", tmp_path, "--mode", "data", "--settle", "PT0S"]):
        assert "ready" in up.cli("source", *args, "--sink", sink.url).stdout
    url = up.cli("source", "webhook", "url", "parcels").stdout.strip()
    subprocess.run(["curl", "-fsS", "-d", '{"n": "1"}', url], check=True)
    with (tmp_path / ".huge").open("wb") as huge:
        huge.truncate(64 << 20)
    (tmp_path / ".huge").rename(tmp_path / "huge")
    (tmp_path / ".small").write_text("some text")
    (tmp_path / ".small").rename(tmp_path / "small.txt")

    def of(source):
        return [i for i in up.json("dlq", "list") if i.get("source") == source]

    wait_for(lambda: (len(of("file/parcels")), len(of("webhook/parcels"))) == (2, 1), 60, "three are dead")
    assert up.json("dlq", "list", "file/parcels") == of("file/parcels")
    text = up.cli("dlq", "list").stdout
    assert "webhook/parcels" in text and "(cannot be tried again)" in text
    assert "no dead letters" in up.cli("dlq", "list", "--broker", "default").stdout
    huge, small = sorted(of("file/parcels"), key=lambda i: i["event"]["subject"])
    shown = up.cli("dlq", "show", "--source", "file/parcels", huge["id"]).stdout
    assert "of source file/parcels" in shown and "Try again    no" in shown and "it has 67108864 bytes" in shown
    assert up.json("dlq", "show", "file/parcels", small["id"])["event"]["data"] == "some text"
    # What else tells of them.
    told = wait_for(lambda: (text := up.cli("source", "file", "describe", "parcels").stdout) and "Backlog      0 waiting" in text and text,
                    60, "nothing waits any more")
    assert "2 dead letters" in told and "lull dlq list file/parcels" in told
    for everywhere in ([], ["-A"]):
        top = up.json("top", *everywhere)
        assert not [t for t in top["triggers"] if "/" in t["namespace"] or t["name"] == "parcels"]
        assert sorted((s["kind"], s["namespace"], s["dead"]) for s in top["sources"]) == [("file", "default", 2), ("webhook", "default", 1)]
        lines = up.cli("top", *everywhere).stdout
        assert "SOURCE" in lines and "source/" not in lines
        found = up.json("doctor", *everywhere)["findings"]
        assert not [f for f in found if "source/" in f["text"]]
        assert {(f["text"], f["advice"]) for f in found if f["check"] == "dead letters" and "parcels" in f["text"]} == {
            ("nobody took 2 events of source default/parcels", "lull dlq list file/parcels -n default"),
            ("nobody took 1 event of source default/parcels", "lull dlq list webhook/parcels -n default")}
    # Again: words for what cannot be, and for who is meant.
    sink.bad = False
    refused = up.cli("dlq", "retry", "--source", "parcels", "--all", check=False)
    assert refused.returncode == 1 and "there are several sources parcels: say " in refused.stderr
    refused = up.cli("dlq", "retry", "file/parcels", huge["id"], check=False)
    assert refused.returncode == 1 and "cannot be tried again" in refused.stderr
    refused = up.cli("dlq", "list", "redis/parcels", check=False)
    assert refused.returncode == 1 and "there is no source redis/parcels" in refused.stderr
    assert up.cli("dlq", "list", "--source", "file/parcels", "--trigger", "t", check=False).returncode == 2
    before = len(sink.events)
    said = up.cli("dlq", "retry", "file/parcels", "--all").stdout
    assert "1 dead letter of source file/parcels to be delivered again" in said and "1 cannot be tried again and stays" in said
    assert up.json("dlq", "retry", "webhook/parcels", "--all") == \
        {"source": "webhook/parcels", "retried": 1, "full": False, "notRetryable": 0}
    wait_for(lambda: sorted(e["body"] for e in sink.events[before:]) == [b"some text", b'{"n": "1"}'], 60, "both come again")
    assert "1 dead letter of source file/parcels dropped" in up.cli("dlq", "drop", "--source", "file/parcels", huge["id"]).stdout
    assert of("file/parcels") == [] and of("webhook/parcels") == []
    up.cli("source", "file", "delete", "parcels")
    assert up.json("dlq", "list", "--source", "parcels") == [], "there is one of that name now"
    up.cli("source", "webhook", "delete", "parcels")


def test_replay_leaves_out_what_is_still_to_do(up, sink, trigger):
    """An event that waits for a retry is not written again: its one reference holds it in the stream."""
    up.cli("trigger", "delete", trigger)
    wait = {"answer": (503, {"Retry-After": "1"}, b"")}
    slow = Sink(lambda event: wait["answer"])
    up.cli("trigger", "create", trigger, "--sink", slow.url, "--filter", f"type={trigger}", "--retry", 30, "--backoff", "linear", "--backoff-delay", "PT0.5S")
    send(up, trigger, "once")
    wait_for(lambda: row(up, trigger).get("retrying") == 1, 60, "it waits for a retry")
    for _ in range(2):
        said = up.json("event", "replay", "--trigger", trigger, "--since", "1h")
        assert (said["matched"], said["written"], said["has"]) == (1, 0, 1)
    wait["answer"] = (204, {}, b"")
    wait_idle(up, trigger, 1)
    assert up.json("event", "replay", "--trigger", trigger, "--since", "1h")["written"] == 1
    wait_idle(up, trigger, 2)
    slow.close()


def test_send_takes_files_batches_and_every_attribute(up, sink, trigger, tmp_path):
    one = {"specversion": "1.0", "id": "f-0", "source": "/file", "type": trigger, "datacontenttype": "text/plain", "data": "from a file"}
    (tmp_path / "one.json").write_text(json.dumps(one))
    (tmp_path / "many.json").write_text(json.dumps([{**one, "id": f"b-{n}"} for n in range(3)]))
    (tmp_path / "raw").write_bytes(b"\0\1\2")
    assert "f-0 accepted" in up.cli("event", "send", "--file", tmp_path / "one.json").stdout
    assert "3 events accepted" in up.cli("event", "send", "--file", tmp_path / "many.json").stdout
    up.cli("event", "send", "--type", trigger, "--id", "a-0", "--source", "https://example.com/s", "--subject", "it", "--extension", "site=north",
           "--extension", "partitionkey=k", "--content-type", "application/octet-stream", "--data", f"@{tmp_path}/raw")
    wait_for(lambda: set(sink.ids()) == {"f-0", "b-0", "b-1", "b-2", "a-0"}, 60, "all five")
    by_id = {e["ce-id"]: e for e in sink.events}
    assert by_id["b-1"]["body"] == b"from a file" and by_id["b-1"]["ce-source"] == "/file"
    last = by_id["a-0"]
    assert (last["ce-source"], last["ce-subject"], last["ce-site"], last["ce-partitionkey"]) == ("https://example.com/s", "it", "north", "k")
    assert last["body"] == b"\0\1\2" and last["content-type"] == "application/octet-stream"
    (tmp_path / "lines.json").write_text("".join(json.dumps({**one, "id": f"l-{n}"}) + "\n" for n in range(2)))
    assert "2 events accepted" in up.cli("event", "send", "--file", tmp_path / "lines.json").stdout
    wait_for(lambda: {"l-0", "l-1"} <= set(sink.ids()), 60, "both lines")
    bad = up.cli("event", "send", "--type", trigger, "--extension", "Bad-Name=1", check=False)
    assert bad.returncode == 1 and "Bad-Name" in bad.stderr
    (tmp_path / "bad.json").write_text("7")
    bad = up.cli("event", "send", "--file", tmp_path / "bad.json", check=False)
    assert bad.returncode == 1 and "must be an event or an array of events" in bad.stderr


@pytest.mark.parametrize(("words", "status", "told"), [
    (["broker", "crate", "x"], 2, 'lull broker: there is no "crate"\nlull: usage: lull broker create NAME'),
    (["broker", "describe"], 2, "lull broker describe: NAME is missing"),
    (["broker", "create", "x", "--backoff-delay", "soon"], 1, "--backoff-delay soon: must be a duration, as 500ms or PT0.5S"),
    (["trigger", "create", "x"], 2, "lull trigger create: --sink is missing"),
    (["trigger", "create", "x", "--sink", "channel:y"], 1, "is no destination: NAME (of a function), ksvc:NAME"),
    (["trigger", "create", "x", "--sink", "ksvc:a:b:c"], 1, "is no destination"),
    (["trigger", "create", "x", "--sink", "y", "--filter", "type=a", "--filter", "type=b"], 1, "--filter: type is there twice"),
    (["trigger", "url", "x"], 2, 'lull trigger: there is no "url"'),
    (["source", "create", "x"], 2, "lull source create: the type (ping, webhook, …) before it is missing"),
    (["source", "ping", "create", "x"], 2, "lull source ping create: --sink is missing"),
    (["source", "binding", "create", "x", "--sink", "y"], 2, "lull source binding create: --subject (or --selector) is missing"),
    (["source", "file", "update", "x"], 2, "then lull apply"),
    (["source", "ping", "describe", "none"], 1, "there is no ping source none in namespace default"),
    (["event", "sned"], 2, 'lull event: there is no "sned"\nlull: usage: lull event send'),
    (["event", "send"], 2, "lull event send: --type (or --file) is missing"),
    (["event", "send", "--type", "a", "--file", "x"], 2, "--type and --file: one of both"),
    (["event", "send", "much", "--type", "a"], 2, 'lull event send: "much" is a word too many'),
    (["event", "send", "--type", "a", "--broker", "none"], 1, '"none" not found'),
    (["event", "send", "--type", "a", "--data", "@/dev/zero"], 1, "/dev/zero"),
    (["event", "replay", "--since", "1h"], 2, "lull event replay: --trigger is missing"),
    (["event", "replay", "--trigger", "t", "--since", "1h", "--until", "2h"], 1, "--until 2h is before --since 1h"),
    (["event", "tail", "--cesql", "("], 1, "lull: filters: filters[0].cesql: column 2: it ends too early\n"),
    (["dlq", "show", "t"], 2, "lull dlq show: TRIGGER ID is missing"),
    (["dlq", "show", "t", "x"], 1, "there is no trigger default/t of ours"),
    (["dlq", "retry", "t"], 2, "lull dlq retry: an ID, or --all, is missing"),
    (["dlq", "drop", "t", "1-1", "--all"], 2, "--all and 1-1: one of both"),
    (["dlq", "list", "--broker", "none"], 1, '"none" not found'),
], ids=lambda v: "-".join(v).replace("/", "_") if isinstance(v, list) else "")
def test_what_is_wrong_is_said(up, words, status, told):
    said = up.cli(*words, check=False)
    assert (said.returncode, said.stdout) == (status, "")
    assert told in said.stderr and not said.stderr.endswith("\n\n"), said.stderr


def test_send_waits_for_a_broker_that_is_starting(up):
    before = up.part_pid("lull-broker")
    os.kill(before, signal.SIGKILL)
    assert "while accepted" in up.cli("event", "send", "--type", "a", "--id", "while").stdout
    wait_for(lambda: up.cli("dlq", "list", check=False).returncode == 0, 60, "it answers")


def test_as_kn_has_it(up, sink, trigger):
    """kn's names of options, its forms of sinks, and update."""
    up.cli("broker", "create", "kn", "--dl-sink", "broker:default", "--backoff-policy", "linear", "--backoff-delay", "500ms", "--timeout", "90s")
    delivery = up.json("broker", "describe", "kn")["spec"]["delivery"]
    assert (delivery["retry"], delivery["backoffPolicy"], delivery["backoffDelay"], delivery["timeout"]) == (10, "linear", "PT0.5S", "PT90S")
    assert delivery["deadLetterSink"]["ref"]["name"] == "default"
    assert "broker kn changed and ready" in up.cli("broker", "update", "kn", "--retry", 3).stdout
    assert up.json("broker", "describe", "kn")["spec"]["delivery"] == {**delivery, "retry": 3}
    up.cli("trigger", "create", "kn", "--broker", "kn", "-s", "ksvc:late:elsewhere", "--filter", "type=a", "--no-wait")
    assert up.json("trigger", "describe", "kn")["spec"]["subscriber"]["ref"]["namespace"] == "elsewhere"
    assert "ksvc:late:elsewhere" in up.cli("trigger", "list").stdout
    up.cli("trigger", "update", "kn", "--sink", sink.url, "--prefix", "type=b")
    spec = up.json("trigger", "describe", "kn")["spec"]
    assert (spec["subscriber"]["uri"], spec["filters"], spec["broker"]) == (sink.url, [{"prefix": {"type": "b"}}], "kn")
    rows = [line.split() for line in up.cli("trigger", "list", "-A").stdout.splitlines()]
    assert rows[0][:3] == ["NAMESPACE", "NAME", "BROKER"] and ["default", "kn", "kn"] in [row[:3] for row in rows]
    # As kn's own example has it: no JSON, though it looks so
    up.cli("source", "ping", "create", "kn", "--schedule", "0 3 * * *", "-d", '{ value: "hello" }', "--ce-override", "site=north", "-s", "broker:kn")
    spec = up.json("source", "ping", "describe", "kn")["spec"]
    assert (spec["data"], spec.get("contentType"), spec["ceOverrides"]["extensions"]) == ('{ value: "hello" }', None, {"site": "north"})
    up.cli("source", "ping", "update", "kn", "--data", '{"n": 1}')
    spec = up.json("source", "ping", "describe", "kn")["spec"]
    assert (spec["data"], spec["contentType"], spec["schedule"]) == ('{"n": 1}', "application/json", "0 3 * * *")
    up.cli("source", "binding", "create", "kn", "--subject", "none", "--sink", "broker:kn", "--no-wait")
    said = up.cli("source", "delete", "kn", check=False)
    assert said.returncode == 1 and "there is more than one source kn: say of which type, as lull source ping …, or binding" in said.stderr
    up.cli("source", "binding", "delete", "kn")
    up.cli("source", "delete", "kn")
    said = up.cli("trigger", "delete", "none", "kn", check=False)
    assert said.returncode == 1 and said.stdout == "trigger kn deleted\n" and '"none" not found' in said.stderr
    up.cli("broker", "delete", "kn")


def test_a_broker_of_somebody_else_is_named_so(up, tmp_path):
    (tmp_path / "b.yaml").write_text("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: foreign\n"
                                     "  annotations: {eventing.knative.dev/broker.class: Kafka}\n")
    up.cli("apply", "-f", tmp_path / "b.yaml")
    assert "Kafka (Lull leaves it to others" in up.cli("broker", "describe", "foreign").stdout
    assert "of class Kafka" in up.cli("broker", "list").stdout
    said = up.cli("event", "send", "--broker", "foreign", "--type", "a", check=False)
    assert said.returncode == 1 and "its class is Kafka" in said.stderr
    up.cli("broker", "delete", "foreign")


def test_completion_of_what_events_have(up, trigger):
    script = f"PATH={binary('lull').parent}:$PATH; source <(lull completion bash)\n" + \
        'of() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _lull; echo "${COMPREPLY[*]}"; }\n'
    cases = [("lull event ''", "send tail replay"), ("lull source ''", "ping webhook redis file binding list describe delete"),
             ("lull source ping create x --sch", "--schedule"), ("lull trigger create x --broker d", "default"),
             ("lull trigger create x --sink broker:d", "broker:default"), (f"lull trigger describe {trigger[:4]}", trigger),
             ("lull trigger create x", ""), ("lull dlq sh", "show"), (f"lull dlq show {trigger[:4]}", trigger), ("lull broker u", "update url")]
    got = subprocess.run(["bash", "-c", script + "\n".join(f"of {words}" for words, _ in cases)], env=up.env(), capture_output=True, text=True,
                         timeout=60, check=False)
    assert got.stdout.split("\n")[:-1] == [want for _, want in cases], got.stderr
