# SPDX-License-Identifier: Apache-2.0
"""More rows of bench/run cluster: warm requests, what the parts cost, a thousand Services, a restart."""
import concurrent.futures
import os
import pathlib
import random
import re
import socket
import statistics
import threading
import time

import measure as m
from cluster_rows import (DEPLOYMENTS, KSVC, NS, SYSTEM, get, is_ready, lull_service, plain_deployment, put, ready_service, row, say,
                          spread, wait_for)

KNATIVE_ADDS_MS = 1.18  # activator and queue-proxy of Knative 1.23, one client, on a machine like the one of docs/benchmarks.md
MIB = 1024


# ---- warm requests ----

class Kept:
    """One kept connection; milliseconds from the request's first byte to the answer's last."""

    def __init__(self, ip, port, host):
        self.sock = socket.create_connection((ip, port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    def ask(self):
        begin = time.perf_counter()
        self.sock.sendall(self.request)
        data = self.sock.recv(65536)
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end and len(body) >= int(re.search(rb"content-length: (\d+)", head, re.I)[1]):
                break
            data += self.sock.recv(65536)
        took = (time.perf_counter() - begin) * 1000
        if not data.startswith(b"HTTP/1.1 200"):
            raise m.LoadError(data[:200])
        return took


def replica_of(api, revision):
    """(address, uid) of its one pod that is Ready."""
    def there():
        pods = [p for p in api.pods(f"serving.knative.dev%2Frevision%3D{revision}")
                if "deletionTimestamp" not in p["metadata"] and p["status"].get("podIP") and any(
                    c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]
        return (pods[0]["status"]["podIP"], pods[0]["metadata"]["uid"]) if len(pods) == 1 else None
    return wait_for(f"one replica of {revision}", there, 60)


@row("warm")
def warm(api, options):
    """What activator and queue-proxy add to a direct call of the container; one client, one kept connection to each, in turns."""
    rounds, each = (2, 50) if options.short else (60, 100)
    host, revision = ready_service(api, "warm", {"autoscaling.knative.dev/min-scale": "1"})
    ip, _ = replica_of(api, revision)
    lull_ip = api.service_ip(SYSTEM, "lull-activator")
    ways = {"container": Kept(ip, 8080, host), "queue-proxy": Kept(ip, 8012, host),
            "activator and queue-proxy": Kept(lull_ip, 80, host)}
    got = {name: [] for name in ways}
    added = []
    for _ in range(rounds):
        now = {}
        for name, way in random.sample(list(ways.items()), len(ways)):
            now[name] = [way.ask() for _ in range(each)]
            got[name] += now[name]
        added.append(statistics.median(now["activator and queue-proxy"]) - statistics.median(now["container"]))
    say(f"\nms, p50 of {rounds * each} requests each\n")
    say("| way | p50 | p99 |\n|---|---|---|")
    for name, values in got.items():
        say(f"| {name} | {statistics.median(values):.3f} | {sorted(values)[len(values) * 99 // 100]:.3f} |")
    yield "added, ms, median of rounds", round(0.4 * KNATIVE_ADDS_MS, 3), statistics.median(added), spread(added)


# ---- what the parts cost ----

def processes(uids):
    """{pod uid: [pid of each process in it]} of the pods with these UIDs."""
    found = {uid: [] for uid in uids}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            group = (folder / "cgroup").read_text()
            name = (folder / "exe").readlink().name
        except OSError:
            continue
        for uid in uids:
            if uid in group and name != "pause":
                found[uid].append((int(folder.name), name))
    return found


def cpu_seconds(pid):
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def system_pods(api):
    pods = api.call("GET", f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
    return [p for p in pods if p["metadata"].get("labels", {}).get("app", "").startswith("lull-") and
            "deletionTimestamp" not in p["metadata"]]


def settled(api):
    """Every part has as many pods as it shall, all of them Ready."""
    deployments = api.call("GET", f"/apis/apps/v1/namespaces/{SYSTEM}/deployments")["items"]
    return all(d["status"].get("readyReplicas", 0) == d["spec"]["replicas"] == d["status"].get("replicas", 0) and
               d["status"].get("unavailableReplicas", 0) == 0 for d in deployments)


@row("parts")
def parts(api, options):
    """Memory and CPU of the control parts and of a sidecar while nothing happens; sizes of the images."""
    seconds = 3 if options.short else 40
    _, revision = ready_service(api, "warm", {"autoscaling.knative.dev/min-scale": "1"})
    _, replica = replica_of(api, revision)
    wait_for("all parts are ready", lambda: settled(api), 60)
    names = {p["metadata"]["uid"]: p["metadata"]["labels"]["app"] for p in system_pods(api)}
    of = processes([*names, replica])
    pids = {pid: names[uid] for uid in names for pid, _ in of[uid]}
    sidecar = next(pid for pid, name in of[replica] if name == "lull-queue-proxy")
    time.sleep(0 if options.short else 10)
    begin, before = time.monotonic(), {pid: cpu_seconds(pid) for pid in [*pids, sidecar]}
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    used = {pid: (cpu_seconds(pid) - before[pid]) / elapsed * 100 for pid in before}
    say(f"\nidle for {seconds} s\n\n| process | PSS, MiB | % of a core |\n|---|---|---|")
    for pid, name in sorted(pids.items(), key=lambda item: item[1]):
        say(f"| {name} | {m.pss_kib(pid) / MIB:.1f} | {used[pid]:.2f} |")
    say(f"| sidecar | {m.pss_kib(sidecar) / MIB:.2f} | {used[sidecar]:.2f} |")
    yield "control parts, MiB PSS", 40, sum(m.pss_kib(pid) for pid in pids) / MIB, f"{len(pids)} processes"
    yield "control parts, % of a core", 1, sum(used[pid] for pid in pids), ""
    yield "sidecar, MiB PSS", 3, m.pss_kib(sidecar) / MIB, ""
    yield "sidecar, milli-cores", 5, used[sidecar] * 10, ""
    images = pathlib.Path(os.environ.get("LULL_IMAGES", "/nowhere"))
    for part, most in (("queue-proxy", 4), ("activator", 25), ("autoscaler", 25), ("controller", 25)):
        tar = images / f"lull-{part}.tar"
        if tar.exists():
            yield f"image of {part}, MB", most, tar.stat().st_size / 1e6, ""


# ---- a thousand Services ----

class Seen:
    """Which objects of the namespace are as they shall be, by a watch."""

    def __init__(self, api, path, judge):
        self.at, self.judge, self.stop, self.changed = {}, judge, threading.Event(), threading.Condition()
        api.watch(path, self.event, self.stop)

    def event(self, event):
        if event["type"] == "ADDED" or event["type"] == "MODIFIED":
            name = event["object"]["metadata"]["name"]
            if name not in self.at and self.judge(event["object"]):
                with self.changed:
                    self.at[name] = time.monotonic()
                    self.changed.notify_all()

    def wait(self, names, seconds):
        """When the last of them was Ready."""
        with self.changed:
            if not self.changed.wait_for(lambda: all(n in self.at for n in names), seconds):
                missing = [n for n in names if n not in self.at]
                raise m.LoadError(f"after {seconds} s {len(missing)} of {len(names)} are not Ready: {missing[:5]}")
        return max(self.at[n] for n in names)


def is_available(deployment):
    return any(c["type"] == "Available" and c["status"] == "True" for c in deployment.get("status", {}).get("conditions", []))


def deleted(api, path, names):
    def one(name):
        api.call("DELETE", f"{path}/{name}", {"propagationPolicy": "Background"}, "application/json", missing=True)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, names))


def one_more(api, rounds, services, deployments):
    """Seconds that a Service, and a plain Deployment, take from their creation to Ready and Available."""
    ours, theirs = [], []
    for n in range(rounds):
        for which in ("lull", "plain") if n % 2 else ("plain", "lull"):
            time.sleep(1 + random.random())
            name, begin = f"more{which}{n}-{random.randrange(10**6)}", time.monotonic()
            if which == "lull":
                api.call("POST", KSVC, lull_service(name, {"autoscaling.knative.dev/initial-scale": "1"}))
                ours.append(services.wait([name], 60) - begin)
                deleted(api, KSVC, [name])
            else:
                api.call("POST", DEPLOYMENTS, plain_deployment(name, 1))
                theirs.append(deployments.wait([name], 60) - begin)
                deleted(api, DEPLOYMENTS, [name])
    return ours, theirs


def restart(api, host):
    """Seconds from the end of all parts' pods until a request is answered, and until all are ready."""
    ip = api.service_ip(SYSTEM, "lull-activator")
    begin = time.monotonic()
    for pod in system_pods(api):
        api.call("DELETE", f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0},
                 "application/json", missing=True)

    def answers():
        try:
            return get(ip, host, timeout=1)[0] == 200
        except OSError:
            return False
    wait_for("nothing answers any more", lambda: not answers(), 10, 0.01)
    wait_for("a request is answered", answers, 60, 0.01)
    served = time.monotonic() - begin
    wait_for("all parts are ready", lambda: settled(api), 60)
    return served, time.monotonic() - begin


def thousand(options):
    return [f"s{n:04d}" for n in range(20 if options.short else options.services_cluster)]


def create(api, names):
    zero = {"autoscaling.knative.dev/initial-scale": "0"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put(api, KSVC, lull_service(name, zero)), names))


def allow_zero(api):
    api.tools.configure("config-autoscaler", {"allow-zero-initial-scale": "true"})


@row("services")
def services(api, options):
    """A thousand Services with initial-scale 0, from the first one's creation until the last one is Ready."""
    allow_zero(api)
    names = thousand(options)
    there = {s["metadata"]["name"] for s in api.call("GET", KSVC)["items"]}
    deleted(api, KSVC, [name for name in names if name in there])
    wait_for("earlier ones are gone", lambda: not any(
        r["metadata"]["name"].startswith("s0") for r in api.call("GET", DEPLOYMENTS)["items"]), 300)
    seen = Seen(api, KSVC, is_ready)
    begin = time.monotonic()
    create(api, names)
    written = time.monotonic() - begin
    took = seen.wait(names, 300) - begin
    seen.stop.set()
    yield f"{len(names)} Ready, s", 90 if len(names) == 1000 else None, took, f"written in {written:.1f} s"


@row("more")
def more(api, options):
    """One more Service among the thousand, until it is Ready with a replica, beside a plain Deployment until it is Available."""
    allow_zero(api)
    create(api, thousand(options))
    seen, available = Seen(api, KSVC, is_ready), Seen(api, DEPLOYMENTS, is_available)
    ours, theirs = one_more(api, options.pairs or (1 if options.short else 15), seen, available)
    seen.stop.set()
    available.stop.set()
    yield ("Ready after the Deployment is Available, ms", 200, (statistics.median(ours) - statistics.median(theirs)) * 1000,
           f"Service {spread([s * 1000 for s in ours])}, Deployment {spread([s * 1000 for s in theirs])}")


@row("restart")
def restarts(api, options):
    """All parts killed at once among a thousand Services, until a request to a running function is answered again."""
    allow_zero(api)
    create(api, thousand(options))
    host, revision = ready_service(api, "warm", {"autoscaling.knative.dev/min-scale": "1"})
    replica_of(api, revision)
    runs = [restart(api, host) for _ in range(options.pairs or (1 if options.short else 5))]
    yield ("killed until a request is answered, s", 5, statistics.median(run[0] for run in runs),
           f"{spread([run[0] for run in runs])}; all parts ready after {spread([run[1] for run in runs])}")
