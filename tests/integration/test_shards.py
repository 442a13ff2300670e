# SPDX-License-Identifier: Apache-2.0
"""Limits and order of a function over several workers and activators: the function counts, and nobody else refuses."""
import http.client
import os
import signal
import socket

import pytest
from conftest import free_ports
from lull_client import wait_for
from test_activator import WAIT, World, results
from test_workers import Load, Several, world  # noqa: F401 the fixture


def together(w, shards):
    """Every worker sees all shards."""
    def seen():
        state = w.state()
        return [it["shards"] for it in state.get("workers", [state])]
    wait_for(lambda: set(seen()) == {shards}, 20, f"{shards} shards see each other")


@pytest.mark.parametrize("limit", [1, 10])
def test_a_limit_is_exact_over_workers(world, limit):  # noqa: F811
    world.function(concurrency=limit)
    it = world.replica("a", "hello-1")
    it.pause = 0.005
    world.start(workers=4)
    world.everywhere()
    together(world, 4)
    load = Load(world, clients=3 * limit + 5)
    load.more(100)
    load.end()
    assert load.failed == []
    assert it.most_active == limit  # never more, and all of it was used
    assert world.counter("given_back") == 0
    wait_for(lambda: world.counter("slots_lent") == 0 and world.counter("slots_waiting") == 0, 20, "all slots are back")


def test_first_come_first_served_over_workers(world):  # noqa: F811
    world.function(concurrency=1)
    world.start(workers=4)
    together(world, 4)
    threads = world.in_background(12)  # each is held before the next one comes
    assert world.state()["held"] == 12
    it = world.replica("a", "hello-1")
    assert {r.status for r in results(threads)} == {200}
    assert it.most_active == 1
    # each reaches its owner within the time between two of them, almost always: a neighbour may overtake
    order = [int(target[1:]) for _, target, _, _ in it.seen]
    assert all(abs(place - n) <= 2 for place, n in enumerate(order)), order


def test_two_replicas_fill_up_over_workers(world):  # noqa: F811
    world.function(concurrency=3)
    both = [world.replica(n, "hello-1") for n in "ab"]
    for it in both:
        it.gate.clear()
    world.start(workers=3)
    world.everywhere(replicas=2)
    together(world, 3)
    threads = world.in_background(10)
    wait_for(lambda: sum(it.active for it in both) == 6, 20, "all slots are used")
    wait_for(lambda: world.state()["held"] == 4, WAIT, "the others are held")
    for it in both:
        it.gate.set()
    assert {r.status for r in results(threads)} == {200}
    assert max(it.most_active for it in both) == 3


def test_one_queue_bound_over_workers(world):  # noqa: F811
    world.function(concurrency=1)
    world.start("--max-held-per-revision", "3", workers=3)
    together(world, 3)
    threads = world.in_background(3)
    wait_for(lambda: world.state()["held"] == 3, 20, "they are held")
    got = world.get()
    assert got.status == 503 and got.text.startswith("pending request queue full") and "Retry-After" in got.headers
    world.replica("a", "hello-1")
    assert {r.status for r in results(threads)} == {200}


class Held:
    """A request that is held and can be let go again."""

    def __init__(self, w):
        before = w.state()["held"]
        self.sock = socket.create_connection(("127.0.0.1", w.public), timeout=WAIT)
        self.sock.sendall(b"GET / HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: close\r\n\r\n")
        wait_for(lambda: w.state()["held"] == before + 1, WAIT, "it is held")
        self.w = w

    def answer(self):
        try:
            return self.sock.recv(65536)
        except TimeoutError as e:
            raise AssertionError(f"no answer in {WAIT} s\n" + self.w.standing()) from e


def let_go(w, held):
    for it in held:
        it.sock.close()
    wait_for(lambda: w.state()["held"] == 0 and w.state()["slotsWaiting"] == 0, WAIT, "nothing is held")


def worker_that(w, is_so, what):
    """The number of the worker of which it is so."""
    return wait_for(lambda: [it["worker"] for it in w.workers() if is_so(it)], WAIT, what)[0]


def knows_a_replica(worker):
    return any(r["replicas"] for r in worker["revisions"])


def test_a_slot_may_come_before_its_replica_is_known(world):  # noqa: F811
    """The owner hears of the replica first: its slot waits with the borrower until that has heard too, and is used then."""
    world.function(concurrency=1)
    world.start(workers=3)
    together(world, 3)
    wait_for(lambda: world.counter("api_connected") == 1, WAIT, "all watches are open")
    watch_of = {}
    watches = world.api.withhold("pods")
    world.replica("first", "hello-1")
    for watch in watches:
        world.api.release(watch)
        watch_of[worker_that(world, lambda it: knows_a_replica(it) and it["worker"] not in watch_of, "one more knows")] = watch
    world.api.delete("pods", "first")
    wait_for(lambda: not any(knows_a_replica(it) for it in world.workers()), WAIT, "it is gone")
    held = []
    while sum(it["held"] > 0 for it in world.workers()) < 2:
        held.append(Held(world))
    owner = worker_that(world, lambda it: any(r["held"] == len(held) for r in it["revisions"]), "one has them all in its queue")
    let_go(world, held)
    held = Held(world)
    while worker_that(world, lambda it: it["held"] == 1, "one holds it") == owner:
        let_go(world, [held])
        held = Held(world)
    assert len(world.api.withhold("pods")) == 3
    world.replica("second", "hello-1")
    world.api.release(watch_of.pop(owner))
    wait_for(lambda: world.counter("slots_lent") == 1, WAIT, "its slot is lent")
    for watch in watch_of.values():
        world.api.release(watch)
    assert held.answer().startswith(b"HTTP/1.1 200")


def test_requests_that_come_while_shards_meet(world):  # noqa: F811
    for n in range(6):
        world.function(f"f{n}", concurrency=1)
    world.start(workers=3)
    threads = [t for n in range(6) for t in world.in_background(2, host=f"f{n}.default.localhost")]
    for n in range(6):
        world.replica(f"r{n}", f"f{n}-1")
    assert {r.status for r in results(threads)} == {200}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_while_slots_are_lent(world, how):  # noqa: F811
    """What a killed worker had is lost, and nothing else; what it owned has another owner at once."""
    for n in range(4):
        world.function(f"f{n}", concurrency=2)
    replicas = [world.replica(f"r{n}", f"f{n}-1") for n in range(4)]
    for it in replicas:
        it.pause = 0.005
    world.start(workers=3)
    world.everywhere(revisions=4, replicas=4)
    together(world, 3)
    loads = [Load(world, clients=4, host=f"f{n}.default.localhost") for n in range(4)]
    for load in loads:
        load.more(30)
    for pid in world.pids():
        before = world.pids()
        os.kill(pid, how)
        wait_for(lambda p=pid, b=before: p not in world.pids() and len(world.pids()) == len(b), 20, "it was replaced")
        together(world, 3)
        for load in loads:
            load.more(30)
    for load in loads:
        load.end()
        broken = [f for f in load.failed if "RemoteDisconnected" in str(f) or "ConnectionReset" in str(f)]
        assert broken == load.failed
        assert len(broken) <= (0 if how == signal.SIGTERM else 12), "at most what was in the workers that were killed"
    # Nobody refuses here as a queue-proxy would, and a kill changes the owner twice (to a survivor, and to the worker
    # that replaces it): for a moment the slots of three owners may be in use.
    assert max(it.most_active for it in replicas) <= 3 * 2
    for it in replicas:
        it.most_active = 0
    loads = [Load(world, clients=6, host=f"f{n}.default.localhost") for n in range(4)]
    for load in loads:
        load.more(50)
        load.end()
        assert load.failed == []
    assert [it.most_active for it in replicas] == [2] * 4
    wait_for(lambda: world.counter("slots_lent") == 0 and world.counter("slots_waiting") == 0, 20, "all slots are back")


def test_a_silent_owner_is_left(world):  # noqa: F811
    """A worker that hangs, with its sockets open: others own its revisions after some seconds."""
    for n in range(6):
        world.function(f"f{n}", concurrency=1)
        world.replica(f"r{n}", f"f{n}-1")
    world.start(workers=2)
    world.everywhere(revisions=6, replicas=6)
    together(world, 2)
    stopped = world.pids()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        conn = connection_that_answers(world)
        for n in range(6):
            conn.request("GET", "/", headers={"Host": f"f{n}.default.localhost"})
            got = conn.getresponse()
            assert got.status == 200 and got.read()
        conn.close()
    finally:
        os.kill(stopped, signal.SIGCONT)
    together(world, 2)


def connection_that_answers(w):
    """A connection to a worker that runs; those to one that is stopped wait in the kernel."""
    def attempt():
        conn = http.client.HTTPConnection("127.0.0.1", w.public, timeout=0.5)
        try:
            conn.request("GET", "/", headers={"K-Network-Probe": "activator", "Host": "any"})
            conn.getresponse().read()
            conn.sock.settimeout(30)
            return conn
        except OSError:
            conn.close()
            return None
    return wait_for(attempt, 30, "a worker answers")


class Pair:
    """Two activators that know each other by --peers, on one API."""

    def __init__(self, home, workers=1):
        secret = home / "secret"
        secret.write_text("0123456789abcdef0123456789abcdef\n")
        a, b = (f"127.0.0.1:{p}" for p in self._ports(workers))
        self.one, self.two = Several(home), Several(home / "two")
        self.two.home.mkdir()
        self.two.api.close()
        self.two.api = self.one.api
        self.two.replicas = self.one.replicas
        for it, own, other in ((self.one, a, b), (self.two, b, a)):
            it.options = ["--peer-listen", own, "--peers", f"{own},{other}", "--install-secret-file", str(secret),
                          "--name", f"act-{own[-4:]}"]
        self.workers = workers

    @staticmethod
    def _ports(workers):
        """Two ports with room for so many workers behind each."""
        while True:
            found = free_ports(2)
            if abs(found[0] - found[1]) > workers and max(found) + workers < 19000:
                return found

    def start(self):
        for it in (self.one, self.two):
            it.start(*it.options, workers=self.workers)

    def stop(self):
        api = self.one.api
        self.two.api = type("Nothing", (), {"close": lambda self: None})()
        self.two.replicas = []
        self.two.stop()
        self.one.stop()
        api.close()


@pytest.fixture(params=[1, 2], ids=["one-worker-each", "two-workers-each"])
def pair(home, request):
    it = Pair(home, request.param)
    yield it
    it.stop()


def test_a_limit_is_exact_over_activators(pair):
    for n in range(3):
        pair.one.function(f"f{n}", concurrency=2)
    replicas = [pair.one.replica(f"r{n}", f"f{n}-1") for n in range(3)]
    for it in replicas:
        it.pause = 0.005
    pair.start()
    for it in (pair.one, pair.two):
        if pair.workers > 1:
            it.everywhere(revisions=3, replicas=3)
        else:
            wait_for(lambda it=it: len(it.state()["revisions"]) == 3, 20, "the pods are known")
        together(it, 2 * pair.workers)
    loads = [Load(w, clients=4, host=f"f{n}.default.localhost") for w in (pair.one, pair.two) for n in range(3)]
    for load in loads:
        load.more(50)
    for load in loads:
        load.end()
        assert load.failed == []
    assert [it.most_active for it in replicas] == [2] * 3
    assert pair.one.counter("given_back") == pair.two.counter("given_back") == 0
    # One goes: the other has all slots by itself.
    pair.two.process.kill()
    pair.two.process.wait(20)
    together(pair.one, pair.workers)
    load = Load(pair.one, clients=6, host="f1.default.localhost")
    load.more(50)
    load.end()
    assert load.failed == []


def test_activators_find_each_other_by_their_pods(home):
    """As on Kubernetes: one port, two addresses."""
    both = Pair(home)
    port = free_ports(1)[0]
    try:
        for n, it in enumerate((both.one, both.two), 1):
            it.options = ["--peer-listen", f"127.0.0.{n}:{port}", "--install-secret-file", str(home / "secret"),
                          "--name", f"act-{n}"]
        both.start()
        assert both.one.counter("shards") == 1

        def put(n, ip, phase="Running"):
            both.one.api.put("pods", {"metadata": {"name": f"act-{n}", "namespace": "lull-system",
                                                   "labels": {"app": "lull-activator"}},
                                      "status": {"phase": phase, "podIP": ip}})
        put(1, "127.0.0.1")
        put(2, "", "Pending")
        put(2, "127.0.0.2")
        for it in (both.one, both.two):
            together(it, 2)
        both.one.api.delete("pods", "act-2", "lull-system")
        together(both.one, 1)
    finally:
        both.stop()


def test_peers_need_the_secret(home):
    it = World(home)
    try:
        it.start("--peer-listen", "127.0.0.1:0", wait=False)
        assert it.process.wait(20) == 1
        it.start("--peer-listen", f"127.0.0.1:{free_ports(1)[0]}", wait=False)
        assert it.process.wait(20) == 1
        wait_for(lambda: it.said("--install-secret-file"), 20, "it says what is missing")
    finally:
        it.stop()
