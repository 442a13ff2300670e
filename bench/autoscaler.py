# SPDX-License-Identifier: Apache-2.0
"""autoscaler: how soon a held request leads to a scale request, what thousands of active and idle revisions cost, how
long a decision takes, and 500 cold starts at once (bench/burst.py)."""
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

import api
import burst
import coldstart
import measure as m
from quick_api import QuickApi, entry

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
import stat_link  # noqa: E402

ROWS = ("decision", "wake", "active", "idle", "burst")
LABEL = "serving.knative.dev/revision"
TARGET = 10  # requests in flight at each active revision: one replica is what they want
STATS_PER_FRAME = 1000


def autoscaled(name, replicas):
    """PodAutoscaler and Deployment of a revision that has been up before, with its last changes."""
    change = {"time": "2026-01-01T00:00:00.000Z", "from": 0, "to": 1, "rule": "held-request", "inputs": {
        "stable": 0, "panic": 0, "target": 70, "ready": 0, "panicking": False}}
    conditions = [{"type": t, "status": s, "lastTransitionTime": "2026-01-01T00:00:00Z"} for t, s in (
        ("Active", "True" if replicas else "False"), ("Ready", "True" if replicas else "False"),
        ("ScaleTargetInitialized", "True"))]
    pa = entry(name, {
        "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {"labels": {LABEL: name}, "annotations": {
            "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev", "autoscaling.knative.dev/max-scale": "10"}},
        "spec": {"containerConcurrency": 0, "reachability": "Reachable", "protocolType": "http1",
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-deployment"}},
        "status": {"observedGeneration": 1, "desiredScale": replicas, "actualScale": replicas, "conditions": conditions,
                   "lullDecisions": [{**change, "from": 1, "to": 0, "rule": ""}, change]}})
    deployment = entry(f"{name}-deployment", {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {LABEL: name}},
        "spec": {"replicas": replicas}, "status": {"replicas": replicas}})
    return pa, deployment


def routed(name):
    """Route and Revision, for the activator."""
    route = entry(name, {"apiVersion": "serving.knative.dev/v1", "kind": "Route", "status": {
        "url": f"http://{name}.default.localhost", "traffic": [{"revisionName": name, "percent": 100}]}})
    revision = entry(name, {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "spec": {
        "containerConcurrency": 0, "timeoutSeconds": 300}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    return route, revision


class World:
    """lull-autoscaler, and a lull-activator when asked, before a QuickApi."""

    def __init__(self):
        self.folder, self.api, self.procs = m.scratch(), QuickApi(), []
        self.config = self.api.kubeconfig(self.folder / "kubeconfig")

    def start(self, part, *options):
        log, begun = self.folder / f"{part}.log", time.monotonic()
        proc = m.Proc([m.program(part), "--kubeconfig", self.config, "--admin-listen",
                       f"unix:{self.folder}/{part}.admin", "--pod-address", "unix", *options], log=log)
        self.procs.append(proc)
        text = "ready to decide" if part == "lull-autoscaler" else '"ready"'
        if not self.api.pump(120, lambda: text in log.read_text()):
            raise m.LoadError(f"{part} did not become ready:\n{log.read_text()[-2000:]}")
        return proc, log, time.monotonic() - begun

    def autoscaler(self):
        return self.start("lull-autoscaler", "--link-listen", f"unix:{self.folder}/link")

    def metrics(self):
        """The autoscaler's: name with labels → value."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.folder / "lull-autoscaler.admin"))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        found = re.findall(r"^lull_autoscaler_(\S+) (\S+)$", text, re.M)
        return {name: float(value) for name, value in found}

    def end(self):
        [p.end() for p in self.procs]
        self.api.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def row_decision(options, report):
    got = subprocess.run([m.program("bench-decide"), str(10**5 if options.short else 10**7)], capture_output=True,
                         text=True, check=True).stdout
    report("decision", "one decision: averages, decider, plan", "≤ 1000", float(got), "ns", float(got) <= 1000)


def wakes(registered, count):
    """→ seconds from the first byte of a request to the arrival of the scale request, for count revisions at zero"""
    world = World()
    try:
        names = [f"w{i}" for i in range(registered)]
        both, paths = [autoscaled(n, 0) for n in names], [routed(n) for n in names]
        for i, plural in enumerate(("podautoscalers", "deployments")):
            world.api.hold(plural, [b[i] for b in both])
        for i, plural in enumerate(("routes", "revisions")):
            world.api.hold(plural, [p[i] for p in paths])
        world.autoscaler()
        _, log, _ = world.start("lull-activator", "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0",
                                "--autoscaler", f"unix:{world.folder}/link")
        port = int(re.search(r'"public_port":(\d+)', log.read_text())[1])
        world.api.pump(3)
        spent, held = [], []
        for i in range(count):
            if registered == 1 and i:  # always a fresh one, and always one alone
                for plural, obj in zip(("podautoscalers", "deployments", "routes", "revisions"), (*both[0], *paths[0])):
                    world.api.tell("DELETED", plural, obj)
                both[0], paths[0] = autoscaled(f"w{i}", 0), routed(f"w{i}")
                for plural, obj in zip(("podautoscalers", "deployments", "routes", "revisions"), (*both[0], *paths[0])):
                    world.api.tell("ADDED", plural, obj)
            name = f"w{i}" if registered == 1 else names[i * 7919 % registered]
            sock = socket.create_connection(("127.0.0.1", port))
            held.append(sock)
            world.api.pump(0.02)
            patched, request = f"{name}-deployment", f"GET / HTTP/1.1\r\nHost: {name}.default.localhost\r\n\r\n".encode()
            begun = time.monotonic()
            sock.send(request)
            if not world.api.pump(10, lambda: any(p[1] == patched for p in world.api.patches)):
                raise m.LoadError(f"no scale was written for {name}")
            spent.append(next(p[0] for p in world.api.patches if p[1] == patched) - begun)
            world.api.patches.clear()
        return spent
    finally:
        world.end()


def row_wake(options, report):
    for registered in (1, 50 if options.short else 10000):
        spent = [s * 1000 for s in wakes(registered, 20 if options.short else 500)]
        p99 = coldstart.quantile(spent, 0.99)
        report("wake", f"first byte of a held request → scale request, {registered} registered, median", "–",
               statistics.median(spent), "ms", True)
        report("wake", f"p99 of {len(spent)}", "≤ 2", p99, "ms", p99 <= 2)


class Reporter:
    """An activator that says the same of every revision each second."""

    def __init__(self, path, names):
        self.link, self.frames, self.closed = stat_link.StatLink(path, report=False), [], False
        parts = [names[i:i + STATS_PER_FRAME] for i in range(0, len(names), STATS_PER_FRAME)] or [[]]
        self.bodies = [b"".join(stat_link.message(n, float(TARGET)) for n in part) for part in parts]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        seq = 0
        while not self.closed:
            seq += 1
            for i, body in enumerate(self.bodies):
                self.link.send(stat_link.STATS, struct.pack(">QHH", seq, i, len(self.bodies)) + body)
            time.sleep(1)

    def close(self):
        self.closed = True
        self.link.close()


def row_active(options, report):
    count, seconds = (50, 3) if options.short else (10000, 20)
    world, port = World(), m.free_port()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        world.procs.append(m.Proc([m.program("bench-backend"), port, "any"], listens=port))
        names, pods = [f"a{i}" for i in range(count)], []
        for i, name in enumerate(names):
            pods.append(entry(f"{name}-0", {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {LABEL: name}, "annotations": {
                    "lull.dev/admin-address": f"127.{1 + i // 65536}.{i // 256 % 256}.{i % 256}:{port}"}},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}))
        both = [autoscaled(n, 1) for n in names]
        world.api.hold("pods", pods)
        for i, plural in enumerate(("podautoscalers", "deployments")):
            world.api.hold(plural, [b[i] for b in both])
        proc, _, _ = world.autoscaler()
        reporter = Reporter(world.folder / "link", names)
        world.api.pump(15 if not options.short else 2)
        before = world.metrics()
        used, begun = proc.cpu_seconds(), time.monotonic()
        world.api.pump(seconds)
        used, spent = proc.cpu_seconds() - used, time.monotonic() - begun
        did = {name: value - before[name] for name, value in world.metrics().items()}
        reporter.close()
        rate = did["scrapes_total"] / spent / count
        report("active", f"{count} active revisions: each scraped, times a second", "≥ 0.99", rate, "", rate >= 0.99)
        report("active", "CPU", "≤ 100", used * 100 / spent, "% of a core", used <= spent)
        mib = proc.pss_kib() / 1024
        report("active", "memory (PSS)", "≤ 256", mib, "MiB", mib <= 256)
        ticks = did["tick_seconds_count"]
        report("active", f"tick, mean of {ticks:.0f}", "–", did["tick_seconds_sum"] * 1000 / ticks, "ms", True)
        longest = min(float(name.split('"')[1].replace("+Inf", "inf")) for name, value in did.items()
                      if name.startswith("tick_seconds_bucket") and value == ticks) * 1000
        report("active", "tick, the longest took less than", "≤ 20", longest, "ms", longest <= 20)
    finally:
        world.end()


def idle_once(count, seconds):
    """→ PSS in KiB and share of a core of an autoscaler with so many idle revisions"""
    world = World()
    try:
        both = [autoscaled(f"i{i}", 0) for i in range(count)]
        for i, plural in enumerate(("podautoscalers", "deployments")):
            world.api.hold(plural, [b[i] for b in both])
        del both
        proc, _, began = world.autoscaler()
        reporter = Reporter(world.folder / "link", [])
        world.api.pump(10 if seconds > 5 else 1)
        used, begun = proc.cpu_seconds(), time.monotonic()
        world.api.pump(seconds)
        used, spent = proc.cpu_seconds() - used, time.monotonic() - begun
        reporter.close()
        return proc.pss_kib(), used / spent, began
    finally:
        world.end()


def row_idle(options, report):
    count, seconds = (200, 2) if options.short else (100000, 15)
    empty, _, _ = idle_once(0, 0.1)
    full, share, began = idle_once(count, seconds)
    each = (full - empty) / count
    report("idle", f"memory of each of {count} idle revisions (PSS)", "≤ 2", each, "KiB", each <= 2 or options.short)
    report("idle", "CPU", "< 1", share * 100, "% of a core", share < 0.01)
    report("idle", "start until it decides", "–", began, "s", True)


def run(options):
    rows = [r for text in options.only for r in text.split(",")] if options.only else ROWS
    results = []

    def report(row, what, bar, figure, unit, met):
        results.append({"row": row, "what": what, "bar": bar, "figure": figure, "unit": unit, "met": met})
        print(f"{row}: {what}: {figure:.2f} {unit} (bar {bar}){'' if met else ' NOT MET'}", flush=True)

    if "decision" in rows:
        row_decision(options, report)
    if "wake" in rows:
        row_wake(options, report)
    if "active" in rows:
        row_active(options, report)
    if "idle" in rows:
        row_idle(options, report)
    if "burst" in rows:
        burst.row_burst(lambda: api.Bench(options), options, report)
    print()
    m.table(["row", "what", "bar", "figure", "unit", ""],
            [[r["row"], r["what"], r["bar"], f"{r['figure']:.2f}", r["unit"],
              "reported" if r["bar"] == "–" else "met" if r["met"] else "**not met**"] for r in results])
    return [{"benchmark": "autoscaler", **r} for r in results]
