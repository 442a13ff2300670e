# SPDX-License-Identifier: Apache-2.0
"""What people debug events with: lull dlq, event tail and replay, and the numbers in describe, top and doctor."""
import json
import shutil

import pytest
from broker_world import Sink
from conftest import running_lull, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
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
    wait_for(lambda: len(sink.events) == before + 1, 60, "it comes again")
    assert sink.events[-1]["ce-id"] == "d-0" and sink.events[-1]["body"] == b"some text"
    assert up.json("dlq", "retry", trigger, "--all") == {"trigger": trigger, "retried": 1, "full": False}
    wait_for(lambda: sink.ids()[before:] == ["d-0", "d-3"], 60, "the other comes again")
    assert dead(up, trigger) == []
    assert "no dead letters" in up.cli("dlq", "list", trigger).stdout
    up.cli("trigger", "delete", "other")
