# SPDX-License-Identifier: Apache-2.0
"""The real activator against an API server, an autoscaler and replicas that a test can make fail at will.
What it does together with the real ones is in the tests of the whole."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import binary
from fake_api import FakeApi, pod, revision, route
from fake_autoscaler import FakeAutoscaler
from fake_replica import FakeReplica
from lull_client import http_request, wait_for

WAIT = 25  # seconds: for what takes moments, on a machine that does other things; less than a client waits


class World:
    """One activator with its fake surroundings, all in one folder."""

    def __init__(self, home):
        self.home = home
        self.api = FakeApi()
        self.replicas = []
        self.lines = []
        self.process = None

    def start(self, *options, wait=True, env=None, pass_fds=(), stdout=None):
        command = [binary("lull-activator"), "--kubeconfig", str(self.api.kubeconfig(self.home / "kubeconfig")),
                   "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0",
                   "--admin-listen", f"unix:{self.home}/admin.sock", "--pod-address", "unix", *options]
        self.process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds,
                                        env={**os.environ, **(env or {})})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            ready = wait_for(lambda: self.said('"ready"'), 20, "the activator is ready")
            self.public = int(re.search(r'"public_port":(\d+)', ready)[1])
            self.local = int(re.search(r'"local_port":(\d+)', ready)[1])
        return self

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def said(self, text):
        return next((line for line in list(self.lines) if text in line), None)

    def replica(self, name, rev, mode="ok", ready=True, phase="Running"):
        it = FakeReplica(self.home / f"{name}.q", name, mode)
        self.replicas.append(it)
        self.api.put("pods", pod(name, rev, it.address, ready=ready, phase=phase))
        return it

    def function(self, name="hello", concurrency=0, **more):
        self.api.put("revisions", revision(f"{name}-1", concurrency, **more))
        self.api.put("routes", route(name, {f"{name}-1": 100}))

    def get(self, host="hello.default.localhost", path="/", local=False, **more):
        headers = {"Host": host, **more.pop("headers", {})}
        return http_request(f"http://127.0.0.1:{self.local if local else self.public}{path}", headers=headers, **more)

    def in_background(self, n=1, **more):
        """n requests, each begun once the one before it is counted. → threads for `results`"""
        threads = []
        for i in range(n):
            before = self.counter("requests")
            threads.append(Asking(self, f"/{i}", more))
            threads[-1].start()
            wait_for(lambda: self.counter("requests") > before, WAIT, "the request came in")
        return threads

    def state(self):
        got = subprocess.run(["curl", "-fsS", "--unix-socket", self.home / "admin.sock", "http://admin/debug/state"],
                             capture_output=True, check=True)
        return json.loads(got.stdout)

    def metrics(self):
        return subprocess.run(["curl", "-fsS", "--unix-socket", self.home / "admin.sock", "http://admin/metrics"],
                              capture_output=True, check=True, text=True).stdout

    def standing(self):
        """How it stands, for the message of a failure; every worker's own state is in it."""
        if self.process.poll() is not None:
            return f"it has ended with {self.process.returncode}"
        try:
            numbers = [line for line in self.metrics().splitlines() if re.match(r"lull_activator_\w+ ", line)]
            return json.dumps(self.state(), indent=1) + "\n" + "\n".join(numbers)
        except (subprocess.CalledProcessError, ValueError) as e:
            return f"its admin port does not answer: {e!r}"

    def counter(self, name):
        return int(re.search(rf"^lull_activator_{name}(?:_total)? (\d+)$", self.metrics(), re.M)[1])

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.api.close()
        for it in self.replicas:
            it.close()
        if self.process:
            self.reader.join(5)  # what it said at its very end counts too
        for line in self.lines:
            print(line, end="")
        assert not any("Sanitizer" in line or "runtime error" in line for line in self.lines)


@pytest.fixture
def world(home):
    it = World(home)
    yield it
    it.stop()


class Asking(threading.Thread):
    """One request under way: `result`, or the `error` that it ended with."""

    def __init__(self, world, path, more):
        super().__init__(daemon=True)
        self.world, self.path, self.more, self.result, self.error = world, path, {"timeout": 120, **more}, None, None

    def run(self):
        try:
            self.result = self.world.get(path=self.path, **self.more)
        except (OSError, http.client.HTTPException) as e:
            self.error = e


def results(threads):
    """The answers of all. One that has none fails the test, and says which and how the activator stands."""
    end = time.monotonic() + WAIT
    for t in threads:
        t.join(max(0, end - time.monotonic()))
    missing = [f"{t.path}: {repr(t.error) if t.error else f'nothing in {WAIT} s'}" for t in threads if t.result is None]
    if missing:
        raise AssertionError(f"{len(missing)} of {len(threads)} requests were not answered: {'; '.join(missing)}\n"
                             + threads[0].world.standing())
    return [t.result for t in threads]


# --- routing -------------------------------------------------------------------------------------------------------


def test_unknown_host_and_path_say_what_to_do(world):
    world.start()
    for path in ("/", "/_lull/default/nobody/x"):
        got = world.get("nobody.default.localhost", path)
        assert got.status == 404
        assert "nobody" in got.text and "lull list" in got.text


def test_forwards_with_rewritten_headers(world):
    world.function()
    world.replica("a", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    got = world.get(path="/x?y=1", method="POST", body=b"payload",
                    headers={"X-Forwarded-For": "6.6.6.6", "K-Proxy-Request": "x", "Connection": "x-drop, keep-alive",
                             "X-Drop": "1", "X-Keep": "2"})
    assert got.status == 200
    seen = got.json()
    assert seen["target"] == "/x?y=1" and seen["body"] == "payload"
    assert seen["headers"]["host"] == "hello.default.localhost"
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["headers"]["k-proxy-request"] == "activator"
    assert seen["headers"]["x-keep"] == "2" and "x-drop" not in seen["headers"]
    assert got.headers["X-Fine"] == "yes" and "K-Lull-Secret" not in got.headers


def test_paths_and_in_cluster_names(world):
    world.function()
    world.api.put("revisions", revision("inner-1"))
    world.api.put("routes", route("inner", {"inner-1": 100}, host="inner.default.svc.cluster.local", local=True))
    world.replica("a", "hello-1")
    world.replica("b", "inner-1")
    world.start()
    wait_for(lambda: len(world.state()["revisions"]) == 2, 20, "the pods are known")
    got = world.get("127.0.0.1", "/_lull/default/hello/a/b?c=d").json()
    assert got["target"] == "/a/b?c=d" and got["headers"]["x-forwarded-prefix"] == "/_lull/default/hello"
    assert world.get("127.0.0.1", "/_lull/default/hello").json()["target"] == "/"
    assert world.get("127.0.0.1", "/_lull/default/hello?q").json()["target"] == "/?q"
    assert world.get("hello.default").status == 404
    assert world.get("hello.default.svc", local=True).json()["replica"] == "a"
    assert world.get("inner.default.svc.cluster.local").status == 404
    assert world.get("127.0.0.1", "/_lull/default/inner/").status == 404
    assert world.get("inner.default.svc.cluster.local", local=True).json()["replica"] == "b"
    assert world.get("127.0.0.1", "/_lull/default/inner/", local=True).json()["replica"] == "b"


def test_weights_and_tags(world):
    for n in (1, 2):
        world.api.put("revisions", revision(f"hello-{n}"))
        world.replica(f"r{n}", f"hello-{n}")
    world.api.put("routes", route("hello", {"hello-1": 70, "hello-2": 30}, tags={"next": "hello-2"}))
    world.start()
    wait_for(lambda: len(world.state()["revisions"]) == 2, 20, "the pods are known")
    got = [world.get().json()["replica"] for _ in range(100)]
    assert got.count("r1") == 70 and got.count("r2") == 30
    assert {world.get("next-hello.default.localhost").json()["replica"] for _ in range(5)} == {"r2"}


def test_a_loop_ends(world):
    world.function()
    world.replica("a", "hello-1")
    world.start()
    assert world.get(headers={"Lull-Hops": "32"}).status == 508
    assert world.get(headers={"Lull-Hops": "31"}).json()["headers"]["lull-hops"] == "32"


def test_probes(world):
    world.start()
    got = world.get("any", headers={"K-Network-Probe": "probe", "K-Network-Hash": "abc"})
    assert got.status == 200 and got.headers["K-Network-Hash"] == "abc"
    assert world.get("any", headers={"K-Network-Probe": "probe"}).status == 400
    assert world.get("any", headers={"K-Network-Probe": "activator"}).text == "activator"
    assert world.get("any", headers={"K-Network-Probe": "x"}).status == 400
    assert world.get("any", headers={"User-Agent": "kube-probe/1.34"}).status == 200


# --- holding -------------------------------------------------------------------------------------------------------


def test_held_in_order_until_a_replica_is_ready(world):
    world.function(concurrency=1)
    world.start()
    threads = world.in_background(5)
    assert world.state()["held"] == 5
    it = world.replica("a", "hello-1", ready=False)
    world.api.put("pods", pod("a", "hello-1", it.address, ready=True))
    got = results(threads)
    assert [r.status for r in got] == [200] * 5
    assert [s[1] for s in it.seen] == [f"/{i}" for i in range(5)]
    assert it.most_active == 1
    assert "queue;dur=" in got[0].headers["Server-Timing"]
    assert "Server-Timing" not in world.get().headers


def test_a_held_body_arrives_whole(world):
    world.function()
    world.start()
    body = os.urandom(300_000).hex().encode()
    threads = world.in_background(method="POST", body=body)
    it = world.replica("a", "hello-1")
    assert results(threads)[0].status == 200
    assert it.seen[0][3] == body


def test_full_queue_answers_at_once(world):
    world.function()
    world.start("--max-held-per-revision", "2")
    threads = world.in_background(2)
    got = world.get()
    assert got.status == 503 and got.text.startswith("pending request queue full")
    assert int(got.headers["Retry-After"]) >= 1
    world.replica("a", "hello-1")
    assert [r.status for r in results(threads)] == [200, 200]


def test_waiting_ends(world):
    world.function()
    world.start("--hold-timeout", "300ms")
    got = world.get()
    assert got.status == 503 and "context deadline exceeded" in got.text and "Retry-After" in got.headers
    assert 0.25 < got.seconds < 20
    assert world.state()["held"] == 0


def test_a_failing_revision_says_why(world):
    world.function(failed="ExitCode1", message="the container ended with 1: boom")
    world.start("--fail-grace", "200ms")
    got = world.get()
    assert got.status == 503 and "ExitCode1" in got.text and "boom" in got.text
    world.function()
    threads = world.in_background()
    world.api.put("pods", pod("p", "hello-1", ready=False, unschedulable="64 of 64 replicas are in use"))
    got = results(threads)[0]
    assert got.status == 503 and "Unschedulable" in got.text and "64 of 64" in got.text


def test_a_deleted_revision_lets_its_requests_go(world):
    world.function()
    world.start()
    threads = world.in_background()
    world.api.delete("revisions", "hello-1")
    got = results(threads)[0]
    assert got.status == 503 and "deleted" in got.text


def test_a_client_that_leaves_frees_its_place(world):
    world.function(concurrency=1)
    world.start()

    def leave():
        s = socket.create_connection(("127.0.0.1", world.public))
        s.sendall(b"GET / HTTP/1.1\r\nHost: hello.default.localhost\r\n\r\n")
        return s

    one = leave()
    wait_for(lambda: world.state()["held"] == 1, 20, "it is held")
    one.close()
    wait_for(lambda: world.state()["held"] == 0, 20, "it is out of the queue")
    it = world.replica("a", "hello-1")
    it.gate.clear()
    one = leave()
    wait_for(lambda: it.active == 1, 20, "it is in the function")
    threads = world.in_background()
    wait_for(lambda: world.state()["held"] == 1, WAIT, "it is held")
    one.close()
    wait_for(lambda: world.state()["held"] == 0, 20, "its slot went to the next one")
    it.gate.set()
    assert results(threads)[0].status == 200


# --- replicas that fail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [50_000, 5_000_000])
@pytest.mark.parametrize("mode", ["full", "draining"])
def test_a_refusal_goes_back_to_its_place(world, mode, size):
    world.function(concurrency=2)
    bad = world.replica("bad", "hello-1", mode)
    world.start()
    body = b"b" * size
    threads = world.in_background(3, method="POST", body=body)
    wait_for(lambda: bad.turned_away >= 1, 20, "it was tried")
    good = world.replica("good", "hello-1")
    assert [r.json()["replica"] for r in results(threads)] == ["good"] * 3
    assert [s[3] for s in good.seen] == [body] * 3
    assert bad.seen == []


def test_an_unreachable_replica_is_set_aside(world):
    world.function()
    world.api.put("pods", pod("gone", "hello-1", f"unix:{world.home}/nobody.q"))
    world.replica("good", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"] and len(world.state()["revisions"][0]["replicas"]) == 2, 20, "both")
    got = [world.get(method="POST", body=b"x") for _ in range(40)]
    assert {r.status for r in got} == {200} and {r.json()["replica"] for r in got} == {"good"}
    gone = next(r for r in world.state()["revisions"][0]["replicas"] if r["pod"] == "gone")
    assert gone["failures"] >= 1 and gone["requests"] < 20


def test_a_broken_request_is_not_sent_twice(world):
    world.function()
    bad = world.replica("bad", "hello-1", "reset")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    got = world.get(method="POST", body=b"x")
    assert got.status == 502
    bad.mode = "ok"
    assert world.get().status == 200
    assert len(bad.seen) == 1


def test_limits_hold_over_two_replicas(world):
    world.function(concurrency=3)
    both = [world.replica(n, "hello-1") for n in "ab"]
    for it in both:
        it.gate.clear()
    world.start()
    wait_for(lambda: world.state()["revisions"] and len(world.state()["revisions"][0]["replicas"]) == 2, 20, "both")
    threads = world.in_background(8)
    wait_for(lambda: sum(it.active for it in both) == 6, 20, "all slots are used")
    wait_for(lambda: world.state()["held"] == 2, WAIT, "the others are held")
    for it in both:
        it.gate.set()
    assert {r.status for r in results(threads)} == {200}
    assert max(it.most_active for it in both) == 3


# --- the autoscaler ------------------------------------------------------------------------------------------------


def test_pokes_at_once_and_reports_every_second(world):
    world.function()
    scaler = FakeAutoscaler(world.home / "as.sock").up()
    world.start("--autoscaler", scaler.address, "--name", "act-1")
    wait_for(lambda: scaler.hellos, 20, "it says hello")
    assert scaler.hellos[0]["name"] == "act-1" and scaler.hellos[0]["boot"]
    begun = time.monotonic()
    threads = world.in_background(3)
    wait_for(lambda: scaler.pokes, 20, "it is poked")
    assert scaler.pokes[0] == ("default/hello-1", 1.0, 1.0, "act-1")
    assert scaler.first_poke_after == 0, "a report told of the request before the poke did"
    wait_for(lambda: sum(m[0][2] for _, m in list(scaler.reports) if m) == 3.0, 20, "the reports count them")
    full = wait_for(lambda: next((m for _, m in list(scaler.reports) if m and m[0][1] == 3.0), None), 10,
                    "a report of a whole second shows three at a time")
    assert full[0][0] == "default/hello-1"
    assert len(scaler.pokes) < 12 + (time.monotonic() - begun)
    world.replica("a", "hello-1")
    assert [r.status for r in results(threads)] == [200] * 3
    wait_for(lambda: scaler.reports[-1][1] == [], 20, "a report without it: it is at 0")
    pokes, reports = len(scaler.pokes), len(scaler.reports)
    wait_for(lambda: len(scaler.reports) > reports, 20, "the next report")
    assert len(scaler.pokes) == pokes
    seqs = [seq for seq, _ in scaler.reports]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_pokes_again_when_the_autoscaler_comes_back(world):
    world.function()
    scaler = FakeAutoscaler(world.home / "as.sock")
    world.start("--autoscaler", scaler.address)
    world.in_background()
    scaler.up()
    wait_for(lambda: scaler.pokes, 20, "it is told of what waits")
    world.replica("a", "hello-1")
    wait_for(lambda: world.state()["held"] == 0, 20, "answered")
    scaler.down()
    wait_for(lambda: world.counter("autoscaler_connected") == 0, 20, "it noticed")
    assert {world.get().status for _ in range(20)} == {200}
    scaler.up()
    wait_for(lambda: len(scaler.hellos) == 2, 20, "it connects again")


# --- the parts around it -------------------------------------------------------------------------------------------


def test_traffic_goes_on_while_the_api_is_away(world):
    world.function()
    world.replica("a", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    world.api.down()
    wait_for(lambda: world.counter("api_connected") == 0, 20, "it noticed")
    assert {world.get().status for _ in range(20)} == {200}
    world.api.back()
    world.function("second")
    world.replica("b", "second-1")
    wait_for(lambda: world.get("second.default.localhost").status == 200, 20, "it sees what came meanwhile")


def test_a_busy_port_is_said_at_once(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        world.start("--public-listen", f"127.0.0.1:{port}", wait=False)
        assert world.process.wait(20) == 1
        wait_for(lambda: world.said(f"127.0.0.1:{port}"), 20, "the port is named")


def test_drains_on_sigterm(world):
    world.function()
    it = world.replica("a", "hello-1")
    world.start()
    it.gate.clear()
    threads = world.in_background(3)
    wait_for(lambda: it.active == 3, 20, "they are in the function")
    world.process.send_signal(signal.SIGTERM)
    wait_for(lambda: world.said('"draining"'), 20, "it drains")
    with pytest.raises(ConnectionError):
        world.get()
    assert world.process.poll() is None
    it.gate.set()
    assert [r.status for r in results(threads)] == [200] * 3
    assert world.process.wait(20) == 0


def test_a_drain_is_bounded(world):
    world.function()
    it = world.replica("a", "hello-1")
    world.start("--drain", "200ms")
    it.gate.clear()

    def abandoned():
        with pytest.raises((ConnectionError, OSError)):
            world.get()

    thread = threading.Thread(target=abandoned, daemon=True)
    thread.start()
    wait_for(lambda: it.active == 1, 20, "it is in the function")
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(20) == 0
    it.gate.set()
    thread.join(5)


def test_what_came_while_it_was_stopped_is_answered(world):
    """The clock has run on meanwhile, and no client is late for that."""
    world.start("--client-head", "500ms")
    stat = pathlib.Path(f"/proc/{world.process.pid}/stat")
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", world.public), timeout=WAIT) as s:
            world.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", WAIT, "it has stopped")
            begun = time.monotonic()
            s.sendall(b"GET / HTTP/1.1\r\nHost: any\r\nUser-Agent: kube-probe/1.34\r\n\r\n")
            wait_for(lambda: time.monotonic() > begun + 0.6, WAIT, "its deadline has passed")
            world.process.send_signal(signal.SIGCONT)
            assert s.recv(65536).startswith(b"HTTP/1.1 200")


def test_says_ready_and_ends_with_its_supervisor(world):
    read_end, write_end = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(world.home / "notify"))
        notify.settimeout(10)
        world.start(env={"LULL_LIFELINE_FD": str(read_end), "NOTIFY_SOCKET": str(world.home / "notify")},
                    pass_fds=(read_end,))
        assert notify.recv(64) == b"READY=1"
    os.close(read_end)
    assert world.process.poll() is None
    os.close(write_end)
    world.process.wait(20)
