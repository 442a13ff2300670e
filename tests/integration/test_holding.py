# SPDX-License-Identifier: Apache-2.0
"""Holding, limits and balancing on the real activator: against replicas that a test makes fail at will, and against
the real queue-proxy with a function that counts what runs in it at once."""
import json
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import threading

import pytest
from conftest import binary
from crowd import Crowd
from fake_api import pod, revision, route
from fake_autoscaler import FakeAutoscaler
from http_raw import Backend
from lull_client import wait_for
from test_activator import World, results, world  # noqa: F401 the fixture


def replica_state(world, name):
    return next((p for r in world.state()["revisions"] for p in r["replicas"] if p["pod"] == name), {})


# --- routing -------------------------------------------------------------------------------------------------------


def test_unknown_hosts_are_told_what_hosts_look_like(world):
    world.start()
    assert "NAME.NAMESPACE.DOMAIN" in world.get("nobody.here").text
    world.function()
    wait_for(lambda: "NAME.NAMESPACE.localhost" in world.get("nobody.here").text, 20, "the domain of a function")
    got = world.get("nobody.here", local=True)
    assert got.status == 404 and "nobody.here" in got.text and "lull list" in got.text and "/_lull/" in got.text


def test_hosts_in_all_their_forms(world):
    world.api.put("revisions", revision("hello-1"))
    world.api.put("routes", route("hello", {"hello-1": 100}, host="Hello.Example.COM"))
    world.replica("a", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    for host in ("hello.example.com", "HELLO.example.com", "hello.example.com.", "hello.example.com:8080",
                 "Hello.Example.Com.:80"):
        assert world.get(host).status == 200, host
    for host in ("example.com", "x.hello.example.com", "hello.example.com..", "hello.default"):
        assert world.get(host).status == 404, host


def test_the_tag_header_counts_where_the_feature_is_on(world):
    for n in (1, 2):
        world.api.put("revisions", revision(f"hello-{n}"))
        world.replica(f"r{n}", f"hello-{n}")
    world.api.put("routes", route("hello", {"hello-1": 100}, tags={"next": "hello-2"}))
    world.start()
    wait_for(lambda: len(world.state()["revisions"]) == 2, 20, "the pods are known")

    def answers(tag):
        return world.get(headers={"Knative-Serving-Tag": tag}).json()["replica"]

    assert answers("next") == "r1"
    features = {"metadata": {"name": "config-features", "namespace": "lull-system"},
                "data": {"tag-header-based-routing": "enabled"}}
    world.api.put("configmaps", features)
    wait_for(lambda: answers("next") == "r2", 20, "the feature is on")
    assert answers("other") == "r1" and world.get().json()["replica"] == "r1"
    features["data"]["tag-header-based-routing"] = "Allowed"
    world.api.put("configmaps", features)
    wait_for(lambda: answers("next") == "r1", 20, "the feature is off")


# --- bounds --------------------------------------------------------------------------------------------------------


def test_one_function_cannot_take_all_places(world):
    world.function("big")
    world.function("small")
    world.start("--max-held", "6")
    big = world.in_background(6, host="big.default.localhost")
    full = world.get("big.default.localhost")
    assert full.status == 503 and full.text.startswith("pending request queue full")
    small = world.in_background(2, host="small.default.localhost")
    pushed = results(big[4:])  # the newest gave way
    assert [r.status for r in pushed] == [503, 503]
    assert all(r.text.startswith("pending request queue full") and int(r.headers["Retry-After"]) >= 1 for r in pushed)
    assert world.state()["held"] == 6
    world.replica("a", "big-1")
    world.replica("b", "small-1")
    assert {r.status for r in results(big[:4] + small)} == {200}
    assert world.counter("pushed_out") == 2


def test_bytes_of_held_requests_are_bounded(world):
    world.function("a")
    world.function("b")
    world.start("--max-held-bytes-per-revision", "128Ki")
    body = b"x" * 60_000
    kept = world.in_background(2, host="a.default.localhost", method="POST", body=body)
    got = world.get("a.default.localhost", method="POST", body=body)
    assert got.status == 503 and got.text.startswith("pending request queue full")
    kept += world.in_background(1, host="b.default.localhost", method="POST", body=body)
    world.replica("ra", "a-1")
    world.replica("rb", "b-1")
    assert {r.status for r in results(kept)} == {200}


def test_a_refusal_says_when_to_come_again(world):
    world.function(concurrency=1)
    world.start("--max-held-per-revision", "1")
    first = world.in_background()
    assert int(world.get().headers["Retry-After"]) >= 1
    wait_for(lambda: world.state()["revisions"][0]["retryAfterSeconds"] >= 1, 20, "an estimate is shown")
    world.replica("a", "hello-1")
    assert results(first)[0].status == 200


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_client_that_leaves_a_large_body_behind(world, reset):
    """More is under way than is kept of it: nobody reads, and yet its going away is noticed."""
    world.function()
    world.start()
    with socket.create_connection(("127.0.0.1", world.public)) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: hello.default.localhost\r\nContent-Length: 100000000\r\n\r\n")
        s.sendall(b"x" * 100_000)
        wait_for(lambda: world.state()["held"] == 1, 20, "it is held")
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: world.state()["held"] == 0, 20, "it is out of the queue")
    assert world.counter("client_gone") == 1


# --- replicas ------------------------------------------------------------------------------------------------------


def test_a_full_replica_is_not_stormed(world):
    world.function(concurrency=1)
    it = world.replica("a", "hello-1", "full")
    world.start()
    threads = world.in_background(20)
    wait_for(lambda: it.turned_away >= 8, 20, "it is asked now and then")
    # 2, 4, 8, 16, 32, 64 ms apart, then 100: the eighth question comes after 0.2 s at the earliest
    assert it.turned_away < 60
    it.mode = "ok"
    assert {r.status for r in results(threads)} == {200}
    assert [s[1] for s in it.seen] == [f"/{i}" for i in range(20)]
    assert it.most_active == 1


def test_a_held_request_takes_the_replica_that_is_idle(world):
    """Refused by one, idle the other: nobody waits for the busy one."""
    world.function(concurrency=1)
    busy = world.replica("busy", "hello-1", "full")
    world.start()
    threads = world.in_background(5)
    wait_for(lambda: busy.turned_away >= 1, 20, "the busy one was tried")
    idle = world.replica("idle", "hello-1")
    assert [r.json()["replica"] for r in results(threads)] == ["idle"] * 5
    assert sorted(s[1] for s in idle.seen) == [f"/{i}" for i in range(5)] and idle.most_active == 1


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
def test_a_silent_replica_is_probed_before_it_is_used_again(world, kept):
    world.function()
    bad = world.replica("bad", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    if kept:
        assert world.get().status == 200
    bad.mode = "reset"
    assert world.get().status == 502  # it may have run: never sent again
    assert bad.broken == 1
    wait_for(lambda: bad.probed >= 2, 20, "it is probed")
    assert replica_state(world, "bad")["state"] == "set aside"
    threads = world.in_background()
    assert bad.broken == 1
    bad.mode = "ok"
    assert results(threads)[0].status == 200
    assert replica_state(world, "bad")["state"] == "ready"


def test_a_terminating_pod_gets_nothing_new(world):
    world.function(concurrency=1)
    old = world.replica("old", "hello-1")
    world.start()
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    assert world.get().status == 200
    going = pod("old", "hello-1", old.address)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.api.put("pods", going)
    wait_for(lambda: replica_state(world, "old").get("state") == "terminating", 20, "its end is known")
    wait_for(lambda: old.connections == 0, 20, "its kept connection is let go")
    threads = world.in_background(3)
    new = world.replica("new", "hello-1")
    assert [r.json()["replica"] for r in results(threads)] == ["new"] * 3
    assert len(old.seen) == 1 and new.most_active == 1


# --- the autoscaler ------------------------------------------------------------------------------------------------


def test_a_poke_says_how_many_wait(world):
    world.function(concurrency=1)
    scaler = FakeAutoscaler(world.home / "as.sock").up()
    world.start("--autoscaler", scaler.address)
    wait_for(lambda: scaler.hellos, 20, "it says hello")
    with_crowd = Crowd(world.public, host="hello.default.localhost")
    with_crowd.ask(with_crowd.add(40))
    wait_for(lambda: scaler.pokes and scaler.pokes[-1][1] == 40.0, 20, "all forty are told of")
    told = [p[1] for p in scaler.pokes]
    assert told == sorted(told) and len(told) < 20
    world.replica("a", "hello-1")
    with_crowd.collect(30)
    assert with_crowd.told() == {"statuses": {200: 40}, "broken": 0, "unanswered": 0}
    with_crowd.close()


# --- with the real queue-proxy -------------------------------------------------------------------------------------


class RealReplica:
    """A queue-proxy in front of a function of the test's, as a Pod of the activator's world."""

    def __init__(self, world, name, rev, backend, concurrency):
        self.world, self.name, self.rev = world, name, rev
        path = world.home / f"{name}.q"
        self.process = subprocess.Popen(
            [binary("lull-queue-proxy")],
            env={"LULL_QUEUE_LISTEN": f"unix:{path}", "LULL_ADMIN_LISTEN": f"unix:{world.home}/{name}.a",
                 "USER_PORT": str(backend.port), "CONTAINER_CONCURRENCY": str(concurrency),
                 "LULL_DRAIN_QUIET": "100ms", "PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL)
        wait_for(path.exists, 20, "the queue-proxy listens")
        self.pod = pod(name, rev, f"unix:{path}")
        world.api.put("pods", self.pod)

    def end(self, told=True):
        """Scaled away. told: the API says so first; else the activator learns it from the refusals."""
        if told:
            self.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.world.api.put("pods", self.pod)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.world.api.delete("pods", self.name)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)


@pytest.fixture
def real(world):
    replicas, backends = [], []

    def make(name, concurrency=1, rev="hello-1", answer=None, backend=None):
        if backend is None:
            backends.append(Backend(answer))
            backend = backends[-1]
        replicas.append(RealReplica(world, name, rev, backend, concurrency))
        replicas[-1].backend = backend
        return replicas[-1]

    yield make
    for it in replicas:
        it.kill()
    for it in backends:
        it.stop()


def test_one_at_a_time_whatever_clients_do(world, real):
    """containerConcurrency 1: clients that leave in the middle free no slot in which the function still runs."""
    world.function(concurrency=1)
    lock, running, most, done = threading.Lock(), {}, [0], [0]
    rng = random.Random(5)
    hold = threading.Event()

    def function(name):
        def answer(q, sock):
            with lock:
                running[name] = running.get(name, 0) + 1
                most[0] = max(most[0], running[name])
            hold.wait(0.002 + rng.random() * 0.01)  # works on, whether anybody listens or not
            with lock:
                running[name] -= 1
                done[0] += 1
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        return answer

    parts = [real(n, answer=function(n)) for n in "ab"]
    world.start()
    wait_for(lambda: len((world.state()["revisions"] or [{"replicas": []}])[0]["replicas"]) == 2, 20, "both pods")

    def abandon(n):
        for _ in range(n):
            with socket.create_connection(("127.0.0.1", world.public)) as s:
                s.sendall(b"GET /gone HTTP/1.1\r\nHost: hello.default.localhost\r\n\r\n")
                s.settimeout(rng.random() * 0.01 + 0.001)
                try:
                    s.recv(100)
                except OSError:
                    pass

    leavers = [threading.Thread(target=abandon, args=(40,)) for _ in range(4)]
    for t in leavers:
        t.start()
    crowd = Crowd(world.public, host="hello.default.localhost")
    for _ in range(3):
        crowd.ask(crowd.add(40))
    crowd.collect(60)
    for t in leavers:
        t.join(30)
    assert crowd.told() == {"statuses": {200: 120}, "broken": 0, "unanswered": 0}
    crowd.close()
    assert most[0] == 1, "two at once in one function"
    assert done[0] >= 120
    assert all(it.process.poll() is None for it in parts)


@pytest.mark.parametrize("told", [True, False], ids=["told first", "found out"])
def test_no_request_is_lost_when_replicas_come_and_go(world, real, told):
    """Each replica ends while requests arrive, the next one comes a moment later; POST, so nothing may be sent twice."""
    world.function(concurrency=2)
    count, lock = {}, threading.Lock()

    def answer(q, sock):
        with lock:
            count[q.target] = count.get(q.target, 0) + 1
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    it = real("p0", 2, answer=answer)
    world.start()
    bad, stop, sent = [], threading.Event(), [0]

    def client(k):
        n = 0
        while not stop.is_set():
            got = world.get(path=f"/{k}-{n}", method="POST", body=b"x" * 100)
            n += 1
            sent[0] += 1
            if got.status != 200:
                bad.append((got.status, got.text))

    clients = [threading.Thread(target=client, args=(k,)) for k in range(6)]
    for t in clients:
        t.start()
    for i in range(1, 6):
        goal = sent[0] + 30
        wait_for(lambda: sent[0] >= goal, 30, "requests go through")
        following = real(f"p{i}", 2, backend=it.backend) if i % 2 else None
        it.end(told)
        it = following or real(f"p{i}", 2, backend=it.backend)
    stop.set()
    for t in clients:
        t.join(30)
    assert bad == []
    assert set(count.values()) == {1}


def resident(pid, field="Pss"):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(rf"^{field}: +(\d+) kB", f.read(), re.M)[1]) * 1024


def held_crowd(world, n):
    """n held requests; → bytes each, from the slope between n/4 and n. All are answered afterwards."""
    world.function()
    world.start("--max-held-per-revision", "20000")
    crowd = Crowd(world.public, host="hello.default.localhost")
    crowd.ask(crowd.add(n // 4))
    wait_for(lambda: world.counter("held") == n // 4, 60, "a quarter is held")
    before = resident(world.process.pid)
    crowd.ask(crowd.add(n - n // 4))
    wait_for(lambda: world.state()["held"] == n, 60, "all are held")
    each = (resident(world.process.pid) - before) / (n - n // 4)
    world.replica("a", "hello-1")
    crowd.collect(120)
    assert crowd.told() == {"statuses": {200: n}, "broken": 0, "unanswered": 0}
    crowd.close()
    return each


def test_a_crowd_is_held_and_answered(world):
    each = held_crowd(world, 2000)
    assert each <= 4096 or "asan" in os.environ.get("LULL_BUILD", ""), each


def test_few_descriptors_fail_nobody(world):
    """A crowd that takes nearly all descriptors: who is held goes on as others end, over a few connections."""
    world.function()
    world.start()
    used = len(os.listdir(f"/proc/{world.process.pid}/fd"))
    crowd = Crowd(world.public, host="hello.default.localhost")
    crowd.ask(crowd.add(100))
    wait_for(lambda: world.counter("held") == 100, 20, "all are held")
    resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE, (used + 130, used + 130))
    it = world.replica("a", "hello-1")
    crowd.collect(60)
    assert crowd.told() == {"statuses": {200: 100}, "broken": 0, "unanswered": 0}
    assert len(it.seen) == 100
    crowd.close()


@pytest.mark.soak
def test_dataplane_15000_held(world):
    each = held_crowd(world, 15000)
    print(json.dumps({"bytes per held request": each}))
    assert each <= 4096 or "asan" in os.environ.get("LULL_BUILD", ""), each
