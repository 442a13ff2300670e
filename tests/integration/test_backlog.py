# SPDX-License-Identifier: Apache-2.0
"""Events that wait wake a function, give it as many replicas as they need, and reach it only as fast as it can take them."""
import json
import shutil
import subprocess

import pytest
from conftest import running_lull, unsafe_windows, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

# Answers while the gate is open; each line of the log is one call and how many ran at once in this replica.
WORK = """import http.server, os, threading, time
lock, running, home = threading.Lock(), 0, os.environ["WORK_HOME"]
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global running
        with lock:
            running += 1
            at_once = running
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while not os.path.exists(home + "/open"):
            time.sleep(0.05)
        with open(home + "/log", "a") as f:
            f.write("%s %d\\n" % (self.headers["ce-id"], at_once))
        with lock:
            running -= 1
        self.send_response(204)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


class Work:
    """A function behind a gate, and the Trigger that feeds it."""

    def __init__(self, up, name, *scale, sink=None):
        self.up, self.name, self.home = up, name, up.home / name
        self.home.mkdir()
        self.log = self.home / "log"
        self.log.touch()
        self.log.chmod(0o666)  # each replica is a user of its own
        self.home.chmod(0o755)
        up.cli("deploy", name, "--concurrency", 1, "--env", f"WORK_HOME={self.home}", "--", "python3", "-c", WORK)
        if scale:
            up.cli("scale", name, *scale)
        up.cli("trigger", "create", name, "--sink", sink or name, "--filter", f"type={name}")

    def send(self, n, first=0):
        events = [{"specversion": "1.0", "id": str(first + i), "source": "/t", "type": self.name} for i in range(n)]
        (self.home / "batch").write_text(json.dumps(events))
        self.up.cli("event", "send", "--file", self.home / "batch")

    def open(self):
        (self.home / "open").touch()

    def done(self):
        return [line.split() for line in self.log.read_text().splitlines()]

    def state(self):
        page = subprocess.run(["curl", "-fsS", "--unix-socket", self.up.home / "run" / "broker.admin.sock", "http://admin/state"],
                              capture_output=True, text=True, check=True).stdout
        return next(t for b in json.loads(page)["brokers"] for t in b["triggers"] if t["name"] == self.name)

    def assert_each_came_once(self, n):
        wait_for(lambda: len(self.done()) >= n, 120, f"{n} events are done")
        wait_for(lambda: self.state()["delivered"] == n, 30, "the broker has noted it")
        assert sorted(int(ident) for ident, _ in self.done()) == list(range(n))
        assert {at_once for _, at_once in self.done()} == {"1"}
        state = self.state()
        assert (state["failed"], state["retried"], state["dead"]) == (0, 0, 0), state


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
        unsafe_windows(it)
        it.cli("broker", "create", "default")
        yield it


def test_two_hundred_events_want_ten_replicas_and_none_when_they_are_done(up):
    work = Work(up, "many", "--metric", "backlog", "--target", 20, "--max", 12)
    up.wait_zero("many")
    work.send(200)
    wait_for(lambda: len(up.replicas("many")) == 10, 60, "ten replicas")
    why = up.json("why", "many")
    assert why["why"]["rule"] == "backlog" and why["why"]["backlog"] == 200, why["why"]
    assert "200 events wait, target 20 per replica → 10" in up.cli("why", "many").stdout
    assert next(r["events"] for r in up.json("top")["items"] if r["name"] == "many") == 200
    work.send(100, first=200)  # 15 are due
    wait_for(lambda: len(up.replicas("many")) == 12, 60, "no more than max-scale")
    assert "max-scale is 12 (300 events wait, target 20 per replica → 15)" in up.cli("why", "many").stdout
    work.open()
    work.assert_each_came_once(300)
    up.wait_zero("many")


def test_events_for_a_tag_wake_only_the_revision_of_the_tag(up):
    work = Work(up, "tagged", "--metric", "backlog", "--target", 20, sink="http://v1-tagged.default.svc.cluster.local/")
    old = up.json("get", "ksvc", "tagged")["status"]["latestReadyRevisionName"]
    up.cli("traffic", "tagged", "--tag", f"{old}=v1")
    up.cli("env", "tagged", "set", "NEXT=1")
    up.wait_zero("tagged")
    work.send(40)
    wait_for(lambda: len(up.replicas("tagged")) == 2, 60, "two replicas")
    assert {p["metadata"]["labels"]["serving.knative.dev/revision"] for p in up.replicas("tagged")} == {old}
    work.open()
    work.assert_each_came_once(40)


def test_a_slow_function_gets_no_more_than_it_can_take(up):
    """Scaled by concurrency, as by default: 500 events, none of them refused, timed out or tried again."""
    work = Work(up, "slow", "--max", 3)
    work.send(500)
    wait_for(lambda: len(up.replicas("slow")) == 3, 60, "what waits in front of it asks for more")
    # It is told all the same.
    wait_for(lambda: "500 events wait for it, which does not decide: its metric is concurrency" in up.cli("why", "slow").stdout, 60, "why")
    head, *rows = up.cli("top").stdout.splitlines()
    assert head.split()[-1] == "EVENTS" and next(r for r in rows if r.startswith("slow ")).split()[-1] == "500", rows
    work.open()
    work.assert_each_came_once(500)
