# SPDX-License-Identifier: Apache-2.0
"""Several workers of one activator: one port and one set of numbers over all of them, and nothing is lost when one ends."""
import os
import pathlib
import signal
import socket
import subprocess
import threading

import exposition
import pytest
from conftest import binary
from fake_autoscaler import FakeAutoscaler
from lull_client import http_request, wait_for
from test_activator import World, results


class Several(World):
    def start(self, *options, workers=3, **more):
        return super().start("--workers", str(workers), *options, **more)

    def pids(self):
        """The processes of the workers, those that drain included."""
        pid = self.process.pid
        try:
            return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def workers(self):
        return self.state()["workers"]

    def everywhere(self, revisions=1, replicas=1):
        """Every worker knows them."""
        def known():
            all_ = self.workers()
            return len(all_) == len(self.pids()) and all(
                len(w["revisions"]) == revisions and
                sum(len(r["replicas"]) for r in w["revisions"]) == replicas for w in all_)
        wait_for(known, 20, "every worker knows the replicas")


@pytest.fixture
def world(home):
    it = Several(home)
    yield it
    pids = it.pids()
    it.stop()
    wait_for(lambda: not any(pathlib.Path(f"/proc/{p}/stat").exists() for p in pids), 20, "no worker is left")


def test_numbers_of_all_workers_add_up(world):
    world.function()
    scaler = FakeAutoscaler(world.home / "as.sock").up()
    it = world.replica("a", "hello-1")
    world.start("--autoscaler", scaler.address, "--name", "act")
    assert len(world.pids()) == 3
    world.everywhere()
    wait_for(lambda: {h["name"] for h in scaler.hellos} == {"act-w0", "act-w1", "act-w2"}, 20, "each reports by itself")
    for _ in range(60):
        assert world.get().status == 200
    assert world.counter("forwarded") == 60 and world.counter("workers") == 3
    page = world.metrics()
    assert exposition.value(page, "lull_activator_revision_requests_total", code="2xx") == 60
    assert exposition.value(page, "lull_activator_revision_request_seconds_bucket", le="+Inf") == 60
    assert exposition.promtool(page) in (None, "")
    shares = [w["revisions"][0]["requests"] for w in world.workers()]
    assert sum(shares) == 60 and min(shares) > 0
    wait_for(lambda: sum(count for _, ms in scaler.reports for _, _, count, _ in ms) == 60, 20, "reports add up to all")
    it.gate.clear()
    threads = world.in_background(6)
    wait_for(lambda: it.active == 6, 20, "they are in the function")

    def whole_second():  # the newest report of each worker
        newest = {}
        for _, ms in scaler.reports[-12:]:
            for _, concurrency, _, sender in ms:
                newest[sender] = concurrency
        return sum(newest.values()) == 6
    wait_for(whole_second, 20, "the sum of the reports is what runs")
    it.gate.set()
    assert {r.status for r in results(threads)} == {200}


class Load:
    """Clients that make one connection after the other; `failed` has what was not a 200."""

    def __init__(self, world, clients=8, host="hello.default.localhost"):
        self.world, self.host, self.done, self.failed, self.over = world, host, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def _run(self):
        while not self.over.is_set():
            try:
                got = self.world.get(self.host)
                if got.status != 200:
                    self.failed.append(got.status)
            except OSError as e:
                self.failed.append(repr(e))
            self.done += 1

    def more(self, n):
        want = self.done + n
        wait_for(lambda: self.done >= want, 90, f"{n} more requests")

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join(20)


def test_a_worker_that_drains_loses_nothing(world):
    world.function()
    slow = world.replica("a", "hello-1")
    world.start()
    world.everywhere()
    slow.gate.clear()
    held = world.in_background(6)  # some of them in each worker, most likely
    wait_for(lambda: slow.active == 6, 20, "they are in the function")
    world.api.delete("pods", "a")
    world.replica("b", "hello-1")
    world.everywhere()
    load = Load(world)
    load.more(100)
    first = world.pids()
    for pid in first:
        os.kill(pid, signal.SIGTERM)
        load.more(100)
    wait_for(lambda: world.said("another one takes its place"), 20, "it was replaced")
    slow.gate.set()
    assert {r.status for r in results(held)} == {200}
    wait_for(lambda: len(world.pids()) == 3 and not set(world.pids()) & set(first), 20, "three new ones")
    load.more(100)
    load.end()
    assert load.failed == []
    assert world.counter("forwarded") >= load.done  # the numbers of those that ended are still there


def test_connections_wait_for_the_next_worker(world):
    world.function()
    world.replica("a", "hello-1")
    world.start(workers=2)
    world.everywhere()
    pids = world.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{pid}/stat")
        wait_for(lambda s=stat: s.read_text().rsplit(")", 1)[1].split()[0] == "T", 20, "it has stopped")
    waiting = []
    for _ in range(40):
        s = socket.create_connection(("127.0.0.1", world.public), timeout=20)
        s.sendall(b"GET / HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: close\r\n\r\n")
        waiting.append(s)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for s in waiting:
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        s.close()
    assert world.counter("worker_restarts") == 2


def test_the_whole_drains(world):
    world.function()
    it = world.replica("a", "hello-1")
    world.start()
    world.everywhere()
    it.gate.clear()
    threads = world.in_background(6)
    wait_for(lambda: it.active == 6, 20, "they are in the function")
    world.process.send_signal(signal.SIGTERM)

    def refused():
        try:
            socket.create_connection(("127.0.0.1", world.public), timeout=1).close()
        except OSError:
            return True
        return False
    wait_for(refused, 20, "the port is closed")
    assert world.process.poll() is None
    it.gate.set()
    assert [r.status for r in results(threads)] == [200] * 6
    assert world.process.wait(20) == 0


def test_workers_end_with_their_parent(world):
    world.start()
    pids = world.pids()
    assert len(pids) == 3
    world.process.kill()
    world.process.wait(20)
    wait_for(lambda: not any(pathlib.Path(f"/proc/{p}").exists() for p in pids), 20, "they are gone")


def test_settings_that_cannot_be_are_said_at_once(world):
    def run(*options):
        command = [binary("lull-activator"), "--admin-listen", f"unix:{world.home}/x.sock", *options]
        got = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert got.returncode == 1
        return got.stderr
    assert "--workers" in run("--workers", "0") and "--workers" in run("--workers", "many")
    ports = ["--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]
    assert "several workers need" in run("--workers", "2", "--public-listen", f"unix:{world.home}/p.sock")
    assert "nowhere/kubeconfig" in run("--workers", "2", "--kubeconfig", "nowhere/kubeconfig", *ports)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in run("--workers", "2", "--public-listen", address)
    assert not pathlib.Path(world.home / "x.sock").exists()
    world.start(workers=2)  # two activators do not share a port by accident
    assert str(world.public) in run("--workers", "2", "--public-listen", f"127.0.0.1:{world.public}")


def test_pages_that_are_not_there(world):
    world.start(workers=2)
    sock = str(world.home / "admin.sock")
    got = subprocess.run(["curl", "-sS", "-w", "%{http_code}", "--unix-socket", sock, "http://admin/nothing"],
                         capture_output=True, text=True, check=True).stdout
    assert got.startswith("no such page") and got.endswith("404")
    ready = subprocess.run(["curl", "-fsS", "--unix-socket", sock, "http://admin/readyz"], capture_output=True, check=True)
    assert ready.stdout == b"ok\n"
    assert http_request(f"http://127.0.0.1:{world.public}/", headers={"User-Agent": "kube-probe/1.34"}).status == 200
