# SPDX-License-Identifier: Apache-2.0
"""Rows of dataplane about moments: until it listens, until a held request goes on, and neighbours of slow clients."""
import os
import shutil
import statistics
import subprocess
import time

import coldstart
import hop
import measure as m
from dataplane import Verdict, ratios, row


@row("listening", "queue-proxy: exec until it listens")
def listening(bench, name):
    took = []
    for _ in range(10 if bench.short else 200):
        port = m.free_port()
        env = hop.queue_proxy_env(bench.folder, bench.backend, f"127.0.0.1:{port}", "q")
        got = subprocess.run([m.program("bench-first"), "listen", str(port), "--", m.program("lull-queue-proxy")],
                             env={**os.environ, **env}, capture_output=True, text=True, check=True)
        took.append(int(got.stdout) / 1000)
    yield Verdict(name, "ms, median", 2, took)
    yield Verdict(name, "ms, p99", None, [coldstart.quantile(took, 0.99)])


@row("release", "one machine, from zero: the function's listen() until it has the held request")
def release(bench, name):
    copies, rounds = (3, 1) if bench.short else (30, 9)
    source = bench.folder / "first"
    source.mkdir()
    shutil.copy(m.program("bench-backend"), source)
    (source / "lull.yaml").write_text("command: [./bench-backend]\n")
    os.chmod(bench.folder, 0o711)
    lull = coldstart.Lull(bench.folder / "home")
    names = [f"f{i:02d}" for i in range(copies)]
    took = []
    try:
        lull.up("1s")
        for n in names:
            lull.cli("deploy", n, "--source", source)
        for _ in range(rounds):
            coldstart.wait_for(lambda: not lull.pods(), 300, "every copy is at zero")
            time.sleep(0.3)
            for n in names:
                time.sleep(coldstart.PAUSE_S)
                got = coldstart.http_request(f"http://127.0.0.1:{lull.public}/first",
                                             headers={"Host": f"{n}.default.localhost"})
                if got.status != 200:
                    raise m.LoadError(f"{n}: {got.status} {got.text}")
                took.append(int(got.text) / 1000)
    finally:
        subprocess.run([m.program("lull"), "down"], env=lull.env, capture_output=True, check=False)
    yield Verdict(name, f"ms, p99 of {len(took)}", 3, took, figure=coldstart.quantile(took, 0.99))
    yield Verdict(name, "ms, median", None, took, figure=statistics.median(took))


class Slow:
    """Connections that send a byte of their head now and then."""

    def __init__(self, port, n):
        self.p = subprocess.Popen([m.program("bench-load"), "-S", str(n), "-d", "600", str(port)], text=True,
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        os.sched_setaffinity(self.p.pid, m.pinned(m.LOAD_CPU))
        if self.p.stdout.readline() != "ready\n":
            raise SystemExit("bench: the slow connections were not made")

    def end(self):
        self.p.kill()
        self.p.wait()


@row("slow", "10,000 connections that send a byte of a head every 5 s: 16 neighbours, 2,000 requests/s")
def slow(bench, name):
    n, rate = (500, 500) if bench.short else (10000, 2000)
    for what, make in (("queue-proxy", hop.queue_proxy), ("activator", hop.chain(True))):
        port, procs = bench.peer(make)
        m.own_load(port, 16, 0.3)
        points = {"without": [], "with": []}
        for i in range(bench.rounds):
            points["without"].append(m.own_load(port, 16, bench.seconds, rate=rate, seed=i + 1))
            crowd = Slow(port, n)
            try:
                points["with"].append(m.own_load(port, 16, bench.seconds, rate=rate, seed=i + 1))
            finally:
                crowd.end()
            time.sleep(0.2)  # their ends are not part of the next point
        yield Verdict(name, f"p99 with / without, {what}", 2, ratios(points, "with", "without", "p99_us"))
        yield Verdict(name, f"p99 µs with, {what}", None, [p["p99_us"] for p in points["with"]], digits=0)
