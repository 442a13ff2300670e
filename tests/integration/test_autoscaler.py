# SPDX-License-Identifier: Apache-2.0
"""The real autoscaler against an API server, activators and replicas that a test controls.
What it does together with the real ones is in the tests of the whole."""
import http.server
import json
import os
import signal
import socketserver
import struct
import subprocess
import threading
import time

import pytest
from conftest import binary
from fake_api import FakeApi
from lull_client import wait_for
from stat_link import POKE, STATS, StatLink, message, stat

LABEL = "serving.knative.dev/revision"
FAST = {"allow-unsafe-windows": "true", "stable-window": "2s", "scale-to-zero-grace-period": "0s"}


class QueueProxy:
    """Answers scrapes on a unix socket with `stat`, or not at all."""

    def __init__(self, path):
        self.answer, self.asked = stat(), 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                proxy.asked += 1
                good = self.path == "/metrics" and self.headers["Accept"] == "application/protobuf"
                self.send_response(200 if good and proxy.answer is not None else 500)
                self.end_headers()
                self.wfile.write(proxy.answer or b"")

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(str(path), Handler)
        self.address = f"unix:{path}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class World:
    def __init__(self, home):
        self.home, self.api, self.links, self.proxies, self.lines = home, FakeApi(), [], [], []
        self.process = None
        self.api.after_scale = self._follow

    def _follow(self, deployment):
        """Replicas that are one too many go at once; new ones come when the test says so."""
        name = deployment["metadata"]["labels"][LABEL]
        mine = sorted(k[2] for k, o in list(self.api.objects.items())
                      if k[0] == "pods" and o["metadata"]["labels"][LABEL] == name)
        for pod in mine[deployment["spec"]["replicas"]:]:
            self.api.delete("pods", pod)

    def config(self, **data):
        self.api.put("configmaps", {"metadata": {"name": "config-autoscaler", "namespace": "lull-system"},
                                    "data": {k.replace("_", "-"): v for k, v in data.items()}})

    def start(self, wait=True, env=None):
        self.process = subprocess.Popen(
            [binary("lull-autoscaler"), "--kubeconfig", str(self.api.kubeconfig(self.home / "kubeconfig")),
             "--link-listen", f"unix:{self.home}/link.sock", "--admin-listen", f"unix:{self.home}/admin.sock",
             "--pod-address", "unix"], stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()
        if wait:
            wait_for(lambda: self.get("/readyz", check=False) == "ok\n", 10, "the autoscaler is ready")
        return self

    def _read(self, pipe):
        for line in pipe:
            self.lines.append(line)

    def said(self, text):
        return next((line for line in list(self.lines) if text in line), None)

    def get(self, path, check=True):
        got = subprocess.run(["curl", "-sS", "--max-time", "5", "--unix-socket", self.home / "admin.sock",
                              f"http://admin{path}"], capture_output=True, text=True, check=check)
        return got.stdout

    def why(self, name="f1"):
        return json.loads(self.get(f"/debug/why?namespace=default&name={name}"))

    def metric(self, name):
        for line in self.get("/metrics").splitlines():
            if line.startswith(f"lull_autoscaler_{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def link(self, name="a", **more):
        link = StatLink(self.home / "link.sock", name, **more)
        self.links.append(link)
        return link

    def function(self, name="f1", replicas=0, ready=None, annotations=None, concurrency=0, status=None):
        """A revision that has been up before, with so many replicas; ready: how many have Pods."""
        self.api.put("deployments", {"metadata": {"name": f"{name}-deployment", "labels": {LABEL: name}},
                                     "spec": {"replicas": replicas}})
        for i in range(replicas if ready is None else ready):
            self.pod(name, i)
        active = {"type": "Active", "status": "True" if replicas else "False",
                  "lastTransitionTime": "2020-01-01T00:00:00Z"}
        self.api.put("podautoscalers", {
            "metadata": {"name": name, "generation": 1, "annotations": annotations or {}},
            "spec": {"containerConcurrency": concurrency, "reachability": "Reachable",
                     "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-deployment"}},
            "status": status if status is not None else
            {"conditions": [active, {"type": "ScaleTargetInitialized", "status": "True"}]}})

    def pod(self, name, i=0, ready=True, address=None, statuses=None):
        meta = {"name": f"{name}-{i}", "labels": {LABEL: name}}
        if address:
            meta["annotations"] = {"lull.dev/admin-address": address}
        self.api.put("pods", {"metadata": meta, "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": statuses or []}})

    def proxy(self, name, i=0):
        proxy = QueueProxy(self.home / f"{name}-{i}.a")
        self.proxies.append(proxy)
        self.pod(name, i, address=proxy.address)
        return proxy

    def replicas(self, name="f1"):
        return self.api.objects[("deployments", "default", f"{name}-deployment")]["spec"]["replicas"]

    def status(self, name="f1"):
        return self.api.objects[("podautoscalers", "default", name)]["status"]

    def condition(self, kind, name="f1"):
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def scales(self, name="f1"):
        """(time, replicas) of every scale write."""
        return [(t, body["spec"]["replicas"]) for t, path, body in list(self.api.patches)
                if path.endswith(f"/deployments/{name}-deployment/scale")]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        for link in self.links:
            link.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        for proxy in self.proxies:
            proxy.close()
        self.api.close()
        assert code == 0, "".join(self.lines[-20:])
        assert not self.said("Sanitizer"), "".join(self.lines)
        assert not self.said("handles were left open")


@pytest.fixture
def world(home):
    it = World(home)
    yield it
    if it.process:
        it.close()


@pytest.mark.quick
def test_a_poke_is_written_at_once(world):
    world.config(**FAST)
    world.function("f1")
    world.start()
    link = world.link()
    times = []
    for _ in range(5):
        begun = time.monotonic()
        n = len(world.scales())
        link.poke("f1")
        wait_for(lambda: len(world.scales()) > n, 5, "a scale was written")
        assert world.scales()[-1][1] == 1
        times.append(world.scales()[-1][0] - begun)
        wait_for(lambda: link.noted("scaled", "f1"), 5, "the activator was told")
        world.pod("f1")
        wait_for(lambda: world.replicas() == 0, 20, "it is at zero again")
        link.notes.clear()
    # The regular decision comes every 2 s; with a tick in between the median would be about 1 s.
    assert sorted(times)[2] < 0.5, times


def test_a_crowd_gets_its_replicas_in_one_write(world):
    """A poke that says how many wait: no report, no window and no tick stands between it and the scale."""
    world.config(**FAST)
    world.function("f1", concurrency=1)
    world.start()
    link = world.link()
    link.poke("f1")
    wait_for(lambda: world.replicas() == 1, 5, "one for the first request")
    link.load["f1"] = 40.0
    link.poke("f1", count=40)
    wait_for(lambda: world.replicas() >= 40, 5, "one for each of the crowd")
    for i in range(40):
        world.pod("f1", i)
    wait_for(lambda: link.seq > 6, 15, "reports come in")
    assert [n for _, n in world.scales()][:2] == [1, 40]
    assert min(n for _, n in world.scales()[1:]) >= 40  # not taken back while the windows fill


@pytest.mark.quick
def test_zero_after_the_window_and_only_then(world):
    world.config(**FAST)
    world.function("f1", replicas=1)
    world.start()
    link = world.link()
    link.load["f1"] = 1.0
    wait_for(lambda: world.metric("reports_fresh") == 1, 5, "reports are fresh")
    # A full window of reports with load: nothing is written.
    wait_for(lambda: link.seq > 6, 15, "six reports")
    assert world.scales() == []
    link.load.clear()
    stopped = time.monotonic()
    wait_for(lambda: world.replicas() == 0, 15, "it goes to zero")
    assert world.scales()[0][0] - stopped > 1.0
    assert [n for _, n in world.scales()] == [0]
    wait_for(lambda: world.condition("Active").get("reason") == "NoTraffic", 10, "the status says so")
    decision = wait_for(lambda: world.status().get("lullDecisions"), 10, "the change is recorded")[0]
    assert (decision["from"], decision["to"], decision["rule"]) == (1, 0, "stable-window")
    why = world.why()
    assert why["scale"]["replicas"] == 0 and "scaled to zero" in why["text"]
    assert why["changes"][0]["to"] == 0


@pytest.mark.quick
def test_a_prediction_comes_true(world):
    """To the tick; on a machine that is too busy to report every second the way down waits, so it may try again."""
    world.config(**{**FAST, "stable-window": "6s"})
    world.function("f1", replicas=1)
    world.start()
    link = world.link()
    tries = []
    while len(tries) < 4:
        link.load["f1"] = 1.0
        wait_for(lambda: world.replicas() == 1, 30, "it runs")
        seq = link.seq
        wait_for(lambda: link.seq > seq + 8, 40, "a window of reports")
        wait_for(lambda: world.why()["reports"]["current"] and not world.why()["why"]["panicMode"], 30, "reports come in")
        link.load.clear()
        wait_for(lambda: world.why()["why"]["stable"] < 1 and world.why()["next"], 30, "a silent report is in")
        why, now = world.why(), time.monotonic()
        wait_for(lambda: world.replicas() == 0, 60, "it goes to zero")
        came = world.scales()[-1][0] - now
        tries.append((came, why["next"].get("zeroInSeconds")))
        # A report that comes just behind the tick moves it to the next one.
        if abs(came - why["next"].get("zeroInSeconds", 1e9)) <= 2.2:
            return
        if not any(pod[0] == "pods" for pod in world.api.objects):
            world.pod("f1", 0)
    raise AssertionError(tries)


def play(recording, home):
    """(scale, seconds) of the first change in a recording, and seconds until zero."""
    path = home / "recording.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in recording))
    got = subprocess.run([binary("lull-autoscaler"), "replay", path], capture_output=True, text=True, check=True, timeout=60)
    began, changes = recording[0]["time"], []
    for decision in map(json.loads, got.stdout.splitlines()):
        if decision["plan"]["write"]:
            changes.append((decision["plan"]["want"], (decision["time"] - began) / 1000))
    zero = next((seconds for scale, seconds in changes if scale == 0), None)
    return {k: v for k, v in (("scale", changes[0][0]), ("inSeconds", changes[0][1]), ("zeroInSeconds", zero)) if v is not None} \
        if changes else {}


def without(recording, reason):
    state = json.loads(json.dumps(recording))
    at = state[1]["state"]
    if reason == "traffic":
        for window in at["windows"].values():
            window["values"] = []
    elif reason == "panic-hold":
        at["panic"] = {"on": False, "since": 0, "most": 0}
    elif reason == "scale-down-delay":
        at["settings"]["scaleDownDelaySeconds"] = 0
    elif reason == "max-scale-down-rate":
        at["settings"]["maxScaleDownRate"] = 1e9
    elif reason == "min-scale":
        at["settings"]["minScale"] = 0
    elif reason == "reports-incomplete":
        at["reports"]["since"] = 0
    elif reason == "in-flight-requests":
        pass  # a recording has no requests after its moment
    else:
        raise AssertionError(reason)
    return state


def test_what_is_named_is_what_holds(world, home):
    """A recording of the moment goes as predicted; without each reason that is named, as predicted without it."""
    world.config(**{**FAST, "stable-window": "6s"})
    scaled = "autoscaling.knative.dev/"
    world.function("f1", replicas=4, annotations={scaled + "target": "1", scaled + "scale-down-delay": "20s"})
    world.function("f2", replicas=2, annotations={scaled + "min-scale": "2"})
    world.start()
    link = world.link()
    link.load["f1"] = 3.0
    wait_for(lambda: link.seq > 9, 20, "more than a window of reports")
    link.load.clear()
    asked = set()

    def ask(name):
        why = json.loads(world.get(f"/debug/why?namespace=default&name={name}&recording=1"))
        if not why["reports"]["current"]:
            return why  # nothing can be told now
        assert play(why["recording"], home) == why["next"], why
        for hold in why["holds"]:
            assert play(without(why["recording"], hold["reason"]), home) == hold["without"], hold
            asked.add((name, hold["reason"]))
        return why

    ask("f1")
    wait_for(lambda: ask("f1") and ("f1", "scale-down-delay") in asked, 20, "the delay holds it")
    wait_for(lambda: ask("f2")["holds"] == [] or ("f2", "min-scale") in asked, 20, "its bound holds it")
    assert ("f2", "min-scale") in asked and {"traffic", "panic-hold"} & {reason for name, reason in asked if name == "f1"}, asked


@pytest.mark.quick
def test_load_scales_up_and_is_capped(world):
    world.config(**FAST)
    world.function("f1", replicas=1, concurrency=10, annotations={"autoscaling.knative.dev/max-scale": "5"})
    world.start()
    link = world.link()
    link.load["f1"] = 28.0  # 7 per replica: 4
    wait_for(lambda: world.replicas() == 4, 10, "four replicas")
    for i in range(1, 4):
        world.pod("f1", i)
    link.load["f1"] = 280.0
    wait_for(lambda: world.replicas() == 5, 10, "the maximum")
    assert world.why()["why"]["rule"] == "max-scale"
    again = json.loads(world.get("/debug/why?name=f1&replay=1"))["replay"]
    assert again and all(change["same"] for change in again), again


@pytest.mark.quick
def test_a_burst_is_not_left_to_the_next_tick(world):
    """Ticks are two seconds apart and spread: without the push some of eight would have to wait for theirs."""
    world.config(**FAST)
    names = [f"f{i}" for i in range(8)]
    for name in names:
        world.function(name, replicas=1, concurrency=10)
    world.start()
    link = world.link(report=False)
    link.load.update({name: 280.0 for name in names})
    begun = time.monotonic()
    link.report()
    wait_for(lambda: all(world.replicas(n) > 1 for n in names), 5, "all were scaled up")
    assert max(world.scales(n)[0][0] for n in names) - begun < 1


@pytest.mark.quick
def test_a_burst_is_written_in_parallel(world):
    """A slow API for some revisions, more than are written at once, delays no other."""
    world.config(**FAST)
    names = [f"f{i}" for i in range(100)]
    for name in names:
        world.function(name)
    slow, stuck = threading.Event(), {f"f{i}" for i in range(40)}
    world.api.on_patch = lambda path, body: (
        slow.wait(20) and None if path.endswith("/scale") and path.split("/")[-2].split("-")[0] in stuck else None)
    world.start()
    link = world.link()
    link.poke(*names)
    wait_for(lambda: all(world.replicas(n) == 1 for n in names if n not in stuck), 5, "all others were written")
    assert not any(world.replicas(n) for n in stuck)
    slow.set()
    wait_for(lambda: all(world.replicas(n) == 1 for n in stuck), 5, "the slow ones too")


@pytest.mark.quick
def test_a_poke_overtakes_the_way_to_zero(world):
    """The request comes while the write of 0 is under way: 1 follows at once, whatever arrives first."""
    world.config(**FAST)
    world.function("f1", replicas=1)
    asked, go = threading.Event(), threading.Event()

    def slow_zero(path, body):
        if path.endswith("/scale") and body["spec"]["replicas"] == 0:
            asked.set()
            go.wait(10)

    world.api.on_patch = slow_zero
    world.start()
    link = world.link()
    assert asked.wait(20), "it goes to zero"
    link.poke("f1")
    wait_for(lambda: world.metric("pokes_total") == 1, 5, "the poke is in")
    begun = time.monotonic()
    go.set()
    wait_for(lambda: [n for _, n in world.scales()] == [0, 1], 5, "one follows zero")
    assert world.scales()[-1][0] - begun < 1
    wait_for(lambda: link.noted("scaled", "f1"), 5, "the activator is told")


def test_missing_reports_keep_the_scale(world):
    world.config(**FAST)
    world.function("f1", replicas=3)
    world.start()
    # No activator at all: no data.
    time_up = time.monotonic() + 6
    wait_for(lambda: time.monotonic() > time_up, 10, "some decisions were made")
    assert world.scales() == []
    a, b = world.link("a"), world.link("b")
    b.load["f1"] = 280.0
    wait_for(lambda: world.metric("reports_fresh") == 1, 5, "both report")
    wait_for(lambda: world.replicas() == 4, 10, "the other's load counts")
    world.pod("f1", 3)
    b.paused = True
    wait_for(lambda: world.metric("reports_fresh") == 0, 10, "one report is missing")
    n, seq = len(world.scales()), a.seq
    wait_for(lambda: a.seq > seq + 6, 15, "a good while of half the reports")
    assert world.scales()[n:] == []
    assert "missing" in world.why()["text"]
    b.load.clear()
    b.paused = False
    wait_for(lambda: world.replicas() == 0, 30, "with all reports it goes down")


def test_a_restart_scales_nothing_blindly(world):
    world.config(**FAST)
    world.function("f1", replicas=4)
    world.function("f2", replicas=1)
    world.start()
    link = world.link()
    link.load.update(f1=280.0, f2=1.0)
    wait_for(lambda: link.seq > 4, 10, "it has numbers")
    for _ in range(3):
        world.kill()
        link.close()
        world.start()
        link = world.link()
        link.load.update(f1=280.0, f2=1.0)
        wait_for(lambda: link.seq > 5, 15, "it has numbers again")
    assert [n for _, n in world.scales("f1") if n < 4] == []
    assert world.scales("f2") == []


@pytest.mark.quick
def test_a_restart_writes_no_status_anew(world):
    """What was written before and still holds is not written again, for however many revisions."""
    world.config(**FAST)
    world.function("f1")
    world.function("f2", replicas=2)
    world.start()
    world.link().load["f2"] = 140.0
    wait_for(lambda: all("desiredScale" in world.status(n) for n in ("f1", "f2")), 15, "both have a status")
    world.kill()
    n = len(world.api.patches)
    world.start()
    link = world.link("b")
    link.load["f2"] = 140.0
    wait_for(lambda: link.seq > 4, 10, "it decides")
    assert world.api.patches[n:] == []
    # … but what has changed is.
    world.pod("f2", 1, ready=False)
    wait_for(lambda: world.status("f2").get("actualScale") == 1, 10, "the new number is written")


@pytest.mark.quick
def test_replicas_are_asked_for_what_came_past_the_activators(world):
    world.config(**FAST)
    world.function("f1", replicas=1, ready=0)
    proxy = world.proxy("f1")
    proxy.answer = stat(concurrency=150.0, count=150.0, proxied=10.0, proxied_count=10.0)
    world.start()
    world.link()
    # Three where two answers come in one second of a busy machine: their numbers add up, as Knative's do.
    wait_for(lambda: world.replicas() in (2, 3), 10, "140 requests at a time want two")
    # Only what an activator counts itself: nothing is added.
    world.pod("f1", 1)
    proxy.answer = stat(concurrency=150.0, count=150.0, proxied=150.0, proxied_count=150.0)
    wait_for(lambda: world.replicas() == 0, 30, "proxied requests do not count twice")
    assert world.metric("scrapes_total") > 2


@pytest.mark.quick
@pytest.mark.parametrize("answer", [b"\xff" * 100, stat(float("nan")), stat(-1.0), stat(1e300), b"x" * 10000, None],
                         ids=["bytes", "nan", "negative", "huge", "long", "error"])
def test_a_bad_scrape_counts_for_nothing(world, answer):
    world.config(**FAST)
    world.function("f1", replicas=1, ready=0)
    proxy = world.proxy("f1")
    proxy.answer = answer
    world.start()
    world.link()
    wait_for(lambda: world.metric("scrape_failures_total") > 1, 10, "bad answers are noticed")
    wait_for(lambda: world.replicas() == 0, 20, "it is idle by its activator's word")


@pytest.mark.hostile
def test_a_hostile_replica_moves_only_its_own(world):
    """Whatever a replica says, in whoever's name: others' scales stay, and its own keeps its maximum."""
    world.config(**{**FAST, "stable-window": "6s"})
    world.function("f1", replicas=1, ready=0, annotations={"autoscaling.knative.dev/max-scale": "3"})
    world.function("f2", replicas=2, ready=0)
    liar, honest = world.proxy("f1"), world.proxy("f2", 0)
    thief = world.proxy("f2", 1)  # says that all came through activators: takes nothing from its sibling
    liar.answer = stat(concurrency=1e9, count=1e9, pod="f2-0")
    honest.answer = stat(concurrency=105.0, count=105.0, proxied=105.0, proxied_count=105.0, pod="f2-0")
    thief.answer = stat(concurrency=0.0, proxied=1e9, proxied_count=1e9, pod="f2-0")
    world.start()
    link = world.link()
    link.load["f2"] = 105.0  # two replicas, give or take a second
    wait_for(lambda: world.replicas("f1") == 3, 30, "its own goes up to its maximum")
    link.load["f1"] = 300.0  # real traffic, or it would go to zero now
    before = world.metric("scrapes_total")
    for answer in (stat(float("nan"), pod="f2-0"), stat(-5.0), b"\xff" * 4000, stat(1e300), stat(1e9, 1e9, pod="f2-1")):
        refused = world.metric("scrape_answers_refused_total")
        liar.answer = answer
        wait_for(lambda: world.metric("scrape_answers_refused_total") > refused or answer == stat(1e9, 1e9, pod="f2-1"), 30,
                 "it is counted")
    wait_for(lambda: world.metric("scrapes_total") > before + 5, 60, "rounds went on")
    wait_for(lambda: world.why("f2")["why"]["stable"] > 75, 30, "its own traffic counts")
    assert max(scale for _, scale in world.scales("f1")) == 3
    assert world.scales("f2") == [] and world.replicas("f2") == 2
    seq = link.seq
    link.send(STATS, struct.pack(">QHH", seq, 0, 1) + message("f2", 5000.0))  # an old report again
    wait_for(lambda: world.metric("reports_duplicate_total") >= 1, 30, "it is counted")
    assert world.scales("f2") == []


@pytest.mark.quick
def test_failures_are_told(world):
    world.config(**FAST)
    for name in ("f1", "f2", "f3"):
        world.function(name)
    world.api.on_patch = lambda path, body: {"f1": 403, "f2": 500}.get(path.split("/")[-2][:2])
    world.start()
    link = world.link()
    link.poke("f1", "f2", "f3")
    wait_for(lambda: link.noted("failed", "f1"), 5, "a denied write is told at once")
    wait_for(lambda: link.noted("failed", "f2"), 10, "a write that keeps failing is told")
    world.pod("f3", ready=False, statuses=[{"name": "user-container", "restartCount": 3, "state": {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 1, "message": "no module named x"}}}])
    told = wait_for(lambda: link.noted("failed", "f3"), 5, "a replica that cannot start is told")
    assert "no module named x" in told[0]["message"]
    world.api.on_patch = None
    wait_for(lambda: world.replicas("f2") == 1, 15, "it is tried again")
    assert "no module named x" in world.why("f3")["text"]


@pytest.mark.quick
def test_a_new_revision_is_initialised_at_once(world):
    world.config(**FAST)
    world.start()
    world.link()
    world.function("f1", replicas=1, ready=0, status={})
    wait_for(lambda: world.condition("Active"), 5, "the status appears")
    assert world.condition("Active")["status"] == "Unknown"
    assert world.condition("ScaleTargetInitialized")["status"] == "Unknown"
    begun = time.monotonic()
    world.pod("f1")
    wait_for(lambda: world.condition("ScaleTargetInitialized")["status"] == "True", 5, "it says initialised")
    assert time.monotonic() - begun < 1
    assert world.condition("Ready")["status"] == "True"
    assert world.status()["actualScale"] == 1


@pytest.mark.quick
def test_a_bad_config_leaves_the_old_one(world):
    world.config(**FAST)
    world.function("f1", replicas=1)
    world.start()
    assert world.why()["settings"]["stableWindowSeconds"] == 2
    world.config(**{"stable-window": "1s"})
    wait_for(lambda: world.metric("config_valid") == 0, 5, "the bad config is noticed")
    assert world.said("stable-window = 1s, must be in [6s; 1h0m0s] range")
    assert world.why()["settings"]["stableWindowSeconds"] == 2
    world.config(**{"stable-window": "30s"})
    wait_for(lambda: world.why()["settings"]["stableWindowSeconds"] == 30, 5, "a good one is used")
    assert world.metric("config_valid") == 1


@pytest.mark.quick
@pytest.mark.parametrize("kind,payload", [
    (STATS, b""), (STATS, b"\0" * 7 + b"\1\0\1\0\1"), (STATS, b"\0" * 7 + b"\1\0\0\0\1" + b"\x0a\xff"),
    (POKE, b"\x0a\x7f"), (1, b"{}"), (1, b"not json"), (1, b'{"name": 5}')],
                         ids=["empty", "order", "cut", "poke", "nameless", "no-json", "number"])
def test_a_broken_frame_closes_only_its_link(world, kind, payload):
    world.config(**FAST)
    world.function("f1")
    world.start()
    good, bad = world.link("good"), world.link("bad", report=False)
    bad.send(kind, payload)
    wait_for(lambda: bad.closed, 5, "the broken link is closed")
    good.poke("f1")
    wait_for(lambda: world.replicas() == 1, 5, "the other works")


@pytest.mark.quick
def test_numbers_that_cannot_be_true_are_dropped(world):
    world.config(**FAST)
    world.function("f1", replicas=1)
    world.start()
    link = world.link()
    link.load.update({"f1": float("inf"), "unknown": 5.0})
    wait_for(lambda: world.metric("stats_dropped_total") >= 2, 5, "they are counted")
    wait_for(lambda: world.replicas() == 0, 15, "and change nothing")


def test_an_outage_of_the_api(world):
    world.config(**FAST)
    world.function("f1", replicas=1)
    world.function("f2", replicas=0)
    world.start()
    link = world.link()
    link.load["f1"] = 1.0
    wait_for(lambda: link.seq > 2, 10, "it has numbers")
    world.api.down()
    link.poke("f2")
    wait_for(lambda: world.metric("scale_failures_total") > 0, 10, "the write fails")
    world.api.back()
    wait_for(lambda: world.replicas("f2") == 1, 20, "it is written when the API is back")
    assert world.replicas("f1") == 1
    assert world.scales("f1") == []


@pytest.mark.quick
def test_no_trace_of_a_deleted_revision(world):
    world.config(**FAST)
    world.function("f1", replicas=1)
    world.start()
    link = world.link()
    wait_for(lambda: world.metric("revisions") == 1, 5, "it is known")
    for plural, name in (("podautoscalers", "f1"), ("pods", "f1-0"), ("deployments", "f1-deployment")):
        world.api.delete(plural, name)
    wait_for(lambda: world.metric("revisions") == 0, 5, "it is forgotten")
    link.poke("f1")
    wait_for(lambda: world.metric("stats_dropped_total") >= 1, 5, "its poke goes nowhere")
    assert "no revision f1" in world.get("/debug/why?name=f1")


@pytest.mark.quick
def test_start_is_refused_in_words(home):
    def run(*options):
        got = subprocess.run([binary("lull-autoscaler"), *options], capture_output=True, text=True, timeout=20,
                             env={k: v for k, v in os.environ.items() if k != "KUBECONFIG"} | {"HOME": str(home)},
                             check=False)
        assert got.returncode != 0
        return got.stderr
    assert "kubeconfig" in run()
    api = FakeApi()
    config = str(api.kubeconfig(home / "kubeconfig"))
    assert "--link-listen" in run("--kubeconfig", config, "--link-listen", "nonsense")
    assert "secret" in run("--kubeconfig", config, "--link-listen", "127.0.0.1:0",
                           "--admin-listen", f"unix:{home}/a.sock")
    api.close()


def test_kills_under_load_take_no_replica_from_a_busy_function(lull, examples):
    """With all the real parts: the autoscaler dies three times while four callers keep a function busy."""
    lull.cli("deploy", "busy", "--source", examples / "hello-c", "--concurrency", 1)
    answers, go = [], threading.Event()

    def call():
        while not go.is_set():
            answers.append(lull.get("busy", "/?ms=200").status)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        # Four at a time, 0.7 per replica.
        wait_for(lambda: len(lull.replicas("busy")) >= 6, 30, "replicas for all callers")
        for _ in range(3):
            pid = lull.part_pid("lull-autoscaler")
            os.kill(pid, signal.SIGKILL)
            least, end = 99, time.monotonic() + 4
            while time.monotonic() < end:
                least = min(least, len(lull.replicas("busy")))
                time.sleep(0.05)
            assert least >= 4, least
            assert lull.part_pid("lull-autoscaler") != pid
    finally:
        go.set()
        for t in threads:
            t.join()
    assert set(answers) == {200}, [a for a in answers if a != 200][:5]
    lull.wait_zero("busy")
