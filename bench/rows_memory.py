# SPDX-License-Identifier: Apache-2.0
"""Rows of dataplane that weigh: held requests, idle connections, the queue-proxy at rest, drift."""
import json
import subprocess
import sys
import time

import hop
import measure as m
from dataplane import Unmeasured, Verdict, row

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
import fake_api  # noqa: E402
from crowd import Crowd  # noqa: E402
from lull_client import wait_for  # noqa: E402

CROWD = (1000, 15000)  # the slope is taken between these; a listener takes 15,000


def settled(procs):
    """Their PSS, once it stands still."""
    before = -1
    for _ in range(50):
        now = sum(p.pss_kib() for p in procs)
        if now == before:
            break
        before = now
        time.sleep(0.05)
    return now


class Holding:
    """An activator whose function has no replica until `release`; behind it a replica per worker."""

    def __init__(self, bench, workers=1):
        self.bench, self.folder = bench, bench.folder
        self.port, self.admin = m.free_port(), bench.folder / "a.admin"
        self.queues = [f"unix:{self.folder}/q{i}" for i in range(workers)]
        for i, queue in enumerate(self.queues):
            backend = bench.backend if i == 0 else m.free_port()
            if i > 0:
                bench.start([m.Proc([m.program("bench-backend"), backend], None, listens=backend)])
            env = hop.queue_proxy_env(self.folder, backend, queue, f"q{i}")
            bench.start([m.Proc([m.program("lull-queue-proxy")], None, env, self.folder / f"qp{i}.log")])
        self.api = fake_api.FakeApi()
        self.api.put("revisions", fake_api.revision("bench-1"))
        self.api.put("routes", fake_api.route("bench", {"bench-1": 100}, host="a.example.com"))
        more = ["--workers", workers] if workers > 1 else []
        self.activator, = bench.start([m.Proc([
            m.program("lull-activator"), "--kubeconfig", self.api.kubeconfig(self.folder / "kubeconfig"),
            "--public-listen", f"127.0.0.1:{self.port}", "--local-listen", f"127.0.0.1:{m.free_port()}",
            "--admin-listen", f"unix:{self.admin}", "--pod-address", "unix", "--max-held", 100000,
            "--max-held-per-revision", 100000, *more], m.PROXY_CPU if workers == 1 else None,
            log=self.folder / "activator.log", listens=self.port)])
        wait_for(lambda: self.held() == 0, 10, "the activator's admin port")

    def held(self):
        got = subprocess.run(["curl", "-fsS", "--unix-socket", self.admin, "http://a/debug/state"], capture_output=True,
                             check=False)
        return json.loads(got.stdout)["held"] if got.returncode == 0 else None

    def release(self):
        for i, queue in enumerate(self.queues):
            self.api.put("pods", fake_api.pod(f"p{i}", "bench-1", queue))


@row("held", "requests held by one activator")
def held(bench, name):
    few, many = (100, 1000) if bench.short else CROWD
    it, crowd = Holding(bench), None
    crowd = Crowd(it.port)
    kib = []
    try:
        for n in (few, many):
            crowd.ask(crowd.add(n - len(crowd.socks)))
            wait_for(lambda n=n: it.held() == n, 30, f"{n} are held")
            kib.append(settled([it.activator]))
        slope = (kib[1] - kib[0]) / (len(crowd.socks) - few)
        n = len(crowd.socks)
        it.release()
        took = crowd.collect(60)
        answered = crowd.statuses.get(200, 0)
    finally:
        crowd.close()
        it.api.close()
    if crowd.broken or set(crowd.statuses) - {200}:
        print(f"#   {crowd.told()}")
    yield Verdict(name, f"KiB each, {few} to {n}", 4, [slope])
    yield Verdict(name, f"answered of {n} once capacity came, %", 100, [100 * answered / n], at_most=False)
    yield Verdict(name, "seconds until all were", None, [took])


@row("held-60k", "58,000 requests held over four workers: a listener takes 15,000, and the kernel shares out at random")
def held_by_workers(bench, name):
    told = subprocess.run([m.program("lull-activator"), "--help"], capture_output=True, text=True, check=False).stdout
    if "--workers" not in told:
        raise Unmeasured("lull-activator has no --workers")
    each, many = (250, 4) if bench.short else (14500, 4)
    it = Holding(bench, workers=many)
    crowds = []
    try:
        before = it.activator.tree_pss_kib()
        for _ in range(many):
            crowds.append(subprocess.Popen([sys.executable, m.ROOT / "tests/lib/crowd.py", str(it.port), str(each)],
                                           stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True))
        for c in crowds:
            assert c.stdout.readline() == "asked\n"
        wait_for(lambda: it.held() == each * many, 60, f"{each * many} are held")
        after = it.activator.tree_pss_kib()
        begun = time.monotonic()
        it.release()
        told = [json.loads(c.stdout.readline()) for c in crowds]
        took = time.monotonic() - begun
    finally:
        for c in crowds:
            c.kill()
            c.wait()
        it.api.close()
    answered = sum(t["statuses"].get("200", 0) for t in told)
    if answered != each * many:
        print(f"#   {told}")
    yield Verdict(name, "held at once", None, [each * many], digits=0)
    yield Verdict(name, "answered, %", None, [100 * answered / (each * many)])
    yield Verdict(name, "KiB each", None, [(after - before) / (each * many)])
    yield Verdict(name, "seconds until all were", None, [took])


def idle_bytes(bench, procs, to, host):
    few, many = (100, 1000) if bench.short else CROWD
    crowd, kib = Crowd(to, host), []
    try:
        for n in (few, many):
            crowd.warm(crowd.add(n - len(crowd.socks)))
            kib.append(settled(procs))
        if crowd.statuses != {200: many}:
            raise m.LoadError(f"idle connections: {crowd.told()}")
    finally:
        crowd.close()
    return (kib[1] - kib[0]) * 1024 / (many - few)


@row("idle", "idle keep-alive connections")
def idle(bench, name):
    port, procs = bench.peer(hop.queue_proxy)
    yield Verdict(name, "bytes each, queue-proxy", 640, [idle_bytes(bench, procs, port, "a")], digits=0)
    port, (activator, _) = bench.peer(hop.chain(True))
    yield Verdict(name, "bytes each, activator", 640, [idle_bytes(bench, [activator], port, "127.0.0.1")], digits=0)


@row("memory", "queue-proxy's PSS")
def memory(bench, name):
    port, procs = bench.peer(hop.queue_proxy)
    yield Verdict(name, "MiB, idle", 2, [settled(procs) / 1024])
    crowd = Crowd(port)
    try:
        crowd.warm(crowd.add(1000))
        yield Verdict(name, "MiB, 1k connections, idle", 4, [settled(procs) / 1024])
        for _ in range(1 if bench.short else 20):
            crowd.ask()
            crowd.collect(30)
        if set(crowd.statuses) != {200}:
            raise m.LoadError(f"memory: {crowd.told()}")
        yield Verdict(name, "MiB, 1k connections, all of them busy at once", 4, [settled(procs) / 1024])
    finally:
        crowd.close()


@row("drift", "growth of PSS under load")
def drift(bench, name):
    seconds = 1 if bench.short else 10
    for what, make in (("queue-proxy", hop.queue_proxy), ("activator and queue-proxy", hop.chain(True))):
        port, procs = bench.peer(make)
        m.load(port, 64, max(1, seconds // 5))
        before = settled(procs)
        got = m.load(port, 64, seconds)
        yield Verdict(name, f"KiB over {got['requests']:,} requests, {what}", 64, [settled(procs) - before], digits=0)
