#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""replay.py [FILE] [--speed N] [--seed N] [--json FILE]: replays a trace of invocations through a Lull.

FILE is a CSV with the columns app, func, end_timestamp and duration (seconds), as the Azure Functions
Invocation Trace 2021 has them; without one, a synthetic trace of the same form is made from --seed. A
Lull of its own is started on free ports; each function of the trace is deployed once (examples/hello-c,
which waits for as long as it is told) and called at its real arrival times (end - duration), for its
real durations, with all times divided by --speed. So are the autoscaler's: a window of 60 s is 60/speed.

Says how many calls were answered, how many found no replica, and what was added to their durations.
Exit 1 when a call was not answered well or a function is not at zero at the end."""
import argparse
import base64
import collections
import csv
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from lull_client import Api, http_request, wait_for  # noqa: E402

LONGEST = 60.0  # seconds that the example function is willing to wait
CREDIT = {"azure2021": "Azure Functions Invocation Trace 2021 (Zhang et al., SOSP 2021), CC-BY-4.0"}
SERVING = "/apis/serving.knative.dev/v1/namespaces/default"

Call = collections.namedtuple("Call", "start func duration")


class ReplayError(Exception):
    """Something that the user is to be told in one line."""


def read_trace(path):
    calls, names = [], {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = {"app", "func", "end_timestamp", "duration"} - set(rows.fieldnames or [])
            if missing:
                raise ReplayError(f"{path}: no column {', '.join(sorted(missing))}")
            for n, row in enumerate(rows, 2):
                try:
                    end, duration = float(row["end_timestamp"]), float(row["duration"])
                except (TypeError, ValueError):
                    raise ReplayError(f"{path}, line {n}: not two numbers") from None
                if not (0 <= duration < 1e6 and abs(end) < 1e9):
                    raise ReplayError(f"{path}, line {n}: a time out of range")
                name = names.setdefault((row["app"], row["func"]), f"f{len(names) + 1:03}")
                calls.append(Call(end - duration, name, duration))
    except (OSError, UnicodeDecodeError) as problem:
        raise ReplayError(f"cannot read the trace: {problem}") from None
    if not calls:
        raise ReplayError(f"{path}: no invocation in it")
    first = min(c.start for c in calls)
    return sorted(c._replace(start=c.start - first) for c in calls)


def synthetic_trace(seed, functions=30, seconds=1200):
    """Few functions with many calls and many with few, some in bursts; durations from 20 ms to minutes."""
    rng = random.Random(seed)
    calls = []
    for i in range(functions):
        name, n = f"f{i + 1:03}", min(40, max(1, round(rng.lognormvariate(1.2, 1.1))))
        typical = rng.lognormvariate(0.3, 1.8)
        burst = rng.random() < 0.3
        at = rng.uniform(0, seconds / 2 if burst else seconds / n)
        for _ in range(n):
            calls.append(Call(at, name, min(400.0, max(0.02, typical * rng.lognormvariate(0, 0.4)))))
            at += rng.expovariate(1 / 2.0) if burst else rng.expovariate(n / seconds)
    calls = [c for c in calls if c.start < seconds]
    first = min(c.start for c in calls)
    return sorted(c._replace(start=c.start - first) for c in calls)


class LocalApi(Api):
    """The API behind the kubeconfig that `lull up` wrote: read without a YAML library, which a build has no need of."""

    def __init__(self, kubeconfig):
        text = kubeconfig.read_text()
        field = lambda name: re.search(rf'{name}: *"?([^\s"]+)', text)[1]  # noqa: E731
        self.server, self.token = field("server").rstrip("/"), field("token")
        ca = base64.b64decode(field("certificate-authority-data")).decode()
        self.context = ssl.create_default_context(cadata=ca)


class AdminConnection(http.client.HTTPConnection):
    """HTTP on a part's unix socket."""

    def __init__(self, path):
        super().__init__("admin", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Lull:
    """A Lull of our own, on free ports and in a folder of its own."""

    def __init__(self, build):
        self.command = build / "cli/lull"
        if not self.command.is_file():
            raise ReplayError(f"{self.command} is not there: build first")
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lull-replay-", dir="/tmp"))
        os.chmod(self.home, 0o711)

    def cli(self, *args):
        env = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "LULL_HOME")}
        got = subprocess.run([self.command, *map(str, args)], env={**env, "LULL_HOME": str(self.home)},
                             capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=180, check=False)
        if got.returncode:
            raise ReplayError(f"lull {args[0]}: {(got.stderr or got.stdout).strip()}")

    def up(self):
        self.cli("up", "--detach", "--public-port", 0, "--local-port", 0, "--api-port", 0)
        self.port = json.loads((self.home / "up.json").read_text())["publicPort"]
        self.api = LocalApi(self.home / "kubeconfig")

    def down(self):
        try:
            self.cli("down")
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def scale_times(self, speed):
        """The autoscaler's times, divided as those of the trace are."""
        self.api.patch("/api/v1/namespaces/lull-system/configmaps/config-autoscaler", {"data": {
            "allow-unsafe-windows": "true", "stable-window": f"{max(1, round(60 / speed))}s",
            "scale-to-zero-grace-period": f"{round(30000 / speed)}ms"}})

    def deploy(self, names, concurrency):
        """One after the other builds once; the rest have nothing left to build and go together."""
        more = ["--concurrency", concurrency, "--no-wait"]
        names = sorted(names)
        self.cli("deploy", names[0], "--source", ROOT / "examples/hello-c", *more)
        in_parallel(4, lambda n: self.cli("deploy", n, "--source", ROOT / "examples/hello-c", *more), names[1:])

        def all_ready():
            services = self.api.list(f"{SERVING}/services")
            ready = [s["metadata"]["name"] for s in services for c in s.get("status", {}).get("conditions", [])
                     if c["type"] == "Ready" and c["status"] == "True"]
            return set(names) <= set(ready)
        wait_for(all_ready, 120, "all functions are deployed")

    def replicas(self):
        """Service → replicas wanted, summed over its revisions."""
        sums = collections.Counter()
        for d in self.api.list("/apis/apps/v1/namespaces/default/deployments"):
            sums[d["metadata"]["labels"]["serving.knative.dev/service"]] += d["spec"].get("replicas", 1)
        return sums

    def pods(self):
        return len(self.api.list("/api/v1/namespaces/default/pods"))

    def wait_zero(self, deadline, what):
        wait_for(lambda: not any(self.replicas().values()) and not self.pods(), deadline, what)

    def starts(self):
        """How many calls the activator held, and how often it had a function woken, so far."""
        conn = AdminConnection(self.home / "run/activator.admin.sock")
        conn.request("GET", "/metrics")
        got = conn.getresponse().read().decode()
        conn.close()
        numbers = dict(line.rsplit(" ", 1) for line in got.splitlines() if not line.startswith("#"))
        return {k: int(float(numbers[f"lull_activator_{k}_total"])) for k in ("held", "pokes")}


def in_parallel(width, work, items):
    items, lock, problems = collections.deque(items), threading.Lock(), []

    def run():
        while True:
            with lock:
                if not items or problems:
                    return
                item = items.popleft()
            try:
                work(item)
            except Exception as problem:  # noqa: BLE001 raised again below
                problems.append(problem)
    threads = [threading.Thread(target=run) for _ in range(width)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if problems:
        raise problems[0]


class Result:
    def __init__(self, call, status, text, late, seconds, wanted, cold):
        self.call, self.status, self.text, self.late, self.cold = call, status, text, late, cold
        self.added = seconds - wanted

    @property
    def good(self):
        return self.status == 200 and self.text.startswith("Hello from C")


def replay(lull, calls, speed):
    """Every call at its time, each in its own thread. → results in the order of the calls"""
    results, threads = [None] * len(calls), []
    running, scale, stop = threading.Event(), {}, threading.Event()

    def watch():  # who is at zero, a few times a second: what a caller would find
        while not stop.is_set():
            try:
                scale.update(lull.replicas())
            except (OSError, AssertionError):
                pass  # asked again soon; a Lull that is gone fails the calls
            running.set()
            stop.wait(0.1)

    def make(i, call, begun, due):
        wanted = int(call.duration / speed * 1000)
        late, cold = time.monotonic() - begun - due, scale.get(call.func, 0) == 0
        try:
            got = http_request(f"http://127.0.0.1:{lull.port}/?ms={wanted}",
                               headers={"Host": f"{call.func}.default.localhost"}, timeout=120)
            results[i] = Result(call, got.status, got.text, late, got.seconds, wanted / 1000, cold)
        except OSError as problem:
            results[i] = Result(call, 0, str(problem), late, 0, 0, cold)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    running.wait(10)
    begun = time.monotonic()
    for i, call in enumerate(calls):
        due = call.start / speed
        time.sleep(max(0.0, begun + due - time.monotonic()))
        threads.append(threading.Thread(target=make, args=(i, call, begun, due), daemon=True))
        threads[-1].start()
    for t in threads:
        t.join()
    stop.set()
    watcher.join()
    return results


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else 0.0


def spread(values):
    return {k: round(1000 * quantile(values, q), 1) for k, q in (("p50", .5), ("p95", .95), ("p99", .99), ("max", 1))}


def summary(results, before, after):
    good = [r for r in results if r.good]
    cold, warm = [r.added for r in good if r.cold], [r.added for r in good if not r.cold]
    return {
        "calls": len(results), "answered": len(good), "functions": len({r.call.func for r in results}),
        "wakeUps": after["pokes"] - before["pokes"], "held": after["held"] - before["held"],
        "foundNoReplica": len(cold), "addedMsCold": spread(cold), "addedMsWarm": spread(warm),
        "addedMs": spread([r.added for r in good]), "sentLateMs": spread([r.late for r in results]),
        "bad": [{"function": r.call.func, "status": r.status, "text": r.text[:200]} for r in results if not r.good][:10],
    }


def show(s, took):
    print(f"answered      {s['answered']} of {s['calls']} calls of {s['functions']} functions, in {took:.1f} s")
    print(f"cold starts   {s['wakeUps']} ({s['held']} calls were held)")
    for name, key in (("no replica", "addedMsCold"), ("replica there", "addedMsWarm"), ("all", "addedMs")):
        v = s[key]
        print(f"added, {name + ':':<15} p50 {v['p50']:>7} ms   p95 {v['p95']:>7} ms   p99 {v['p99']:>7} ms   "
              f"max {v['max']:>7} ms")
    for bad in s["bad"]:
        print(f"NOT ANSWERED  {bad['function']}: {bad['status']} {bad['text']}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", nargs="?", metavar="FILE", help="CSV trace; absent: a synthetic one")
    parser.add_argument("--speed", type=float, default=30, help="how much faster than real time (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic trace (default 1)")
    parser.add_argument("--concurrency", type=int, default=0, help="requests at once per replica; 0: no limit")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(os.environ.get("LULL_BUILD", ROOT / "build")),
                        help="folder of the built tree")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the result there as well")
    return parser.parse_args()


def load(args):
    if args.file:
        calls = read_trace(args.file)
        credit = next((c for k, c in CREDIT.items() if k in pathlib.Path(args.file).name), None)
        source = f"{pathlib.Path(args.file).name}{': ' + credit if credit else ''}"
    else:
        calls, source = synthetic_trace(args.seed), f"a synthetic trace (seed {args.seed}; no file was given)"
    longest = max(c.duration for c in calls)
    if args.speed <= 0 or longest / args.speed > LONGEST:
        raise ReplayError(f"the longest call takes {longest:.0f} s: --speed must be at least {longest / LONGEST:.1f}")
    return calls, source


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of `finally`: our Lull ends with us
    try:
        calls, source = load(args)
        print(f"replaying {source}\n{len(calls)} calls in {calls[-1].start:.0f} s, {args.speed:g} times as fast; "
              f"calls take {statistics.median(c.duration for c in calls):.2f} s at the median", flush=True)
        lull = Lull(args.build)
        try:
            lull.up()
            lull.scale_times(args.speed)
            lull.deploy({c.func for c in calls}, args.concurrency)
            lull.wait_zero(60, "all functions went to zero after they were deployed")
            before, begun = lull.starts(), time.monotonic()
            results = replay(lull, calls, args.speed)
            took, found = time.monotonic() - begun, summary(results, before, lull.starts())
            show(found, took)
            begun = time.monotonic()
            lull.wait_zero(60, "all functions are at zero at the end")
            print(f"at zero       all {found['functions']} functions, {time.monotonic() - begun:.1f} s after the last answer")
        finally:
            lull.down()
    except (ReplayError, AssertionError, OSError) as problem:
        print(f"replay: {problem}", file=sys.stderr)
        return 1
    if args.json:
        args.json.write_text(json.dumps({"source": source, "speed": args.speed, **found}, indent=2) + "\n")
    return 1 if found["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
