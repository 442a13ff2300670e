# SPDX-License-Identifier: Apache-2.0
"""api: what the API costs and how fast it is with many Services: create → Ready of one, a thousand at once, many idle
ones (list, get, memory and CPU of each part, restart), and machines' writes to acknowledged."""
import base64
import http.client
import json
import os
import pathlib
import shutil
import ssl
import statistics
import subprocess
import threading
import time

import coldstart
import measure as m

ROWS = ("ready", "thousand", "idle", "writes")
SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"
PARTS = ("lull", "lull-local", "lull-controller", "lull-autoscaler", "lull-activator")
AT_ZERO = {"autoscaling.knative.dev/initial-scale": "0"}


class Client:
    """One kept connection to the API."""

    def __init__(self, kubeconfig):
        import yaml  # here: the other benchmarks need none
        conf = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        cluster, user = conf["clusters"][0]["cluster"], conf["users"][0]["user"]
        self.host, self.port = cluster["server"].removeprefix("https://").split(":")
        self.context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.headers = {"Authorization": f"Bearer {user['token']}", "Accept": "application/json"}
        self.connect()

    def connect(self):
        self.conn = http.client.HTTPSConnection(self.host, int(self.port), context=self.context, timeout=60)

    def send(self, method, path, body=None, kind="application/json"):
        data = None if body is None else json.dumps(body).encode()
        self.conn.request(method, path, body=data, headers={**self.headers, "Content-Type": kind})
        return self.conn.getresponse()

    def ask(self, method, path, body=None, kind="application/json"):
        got = self.send(method, path, body, kind)
        text = got.read()
        if got.status >= 300:
            raise m.LoadError(f"{method} {path}: {got.status} {text[:300]}")
        return text


def service(name, image, annotations=None):
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "template": {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"image": image}]}}}}


def is_ready(obj):
    status = obj.get("status", {})
    return status.get("observedGeneration") == obj["metadata"].get("generation") and any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def watch(client, path):
    """Events of a watch, one by one."""
    got = client.send("GET", path)
    if got.status != 200:
        raise m.LoadError(f"watch {path}: {got.status}")
    while line := got.readline():
        yield json.loads(line)


class Bench:
    def __init__(self, options):
        self.folder = m.scratch()
        os.chmod(self.folder, 0o711)
        self.options, self.lull, self.results = options, coldstart.Lull(self.folder / "home"), []

    def up(self, *more):
        self.lull.cli("up", "--detach", "--public-port", self.lull.public, "--local-port", self.lull.local,
                      "--api-port", self.lull.api_port, *more)

    def client(self):
        return Client(self.lull.home / "kubeconfig")

    def image(self):
        """The image of the C example, deployed once so that its bundle is there."""
        source = self.folder / "hello-c"
        shutil.copytree(m.ROOT / "examples" / "hello-c", source)
        subprocess.run(["make", "-s", "-C", source], check=True)
        self.lull.cli("deploy", "first", "--source", source)
        first = json.loads(self.client().ask("GET", f"{SERVICES}/first"))
        self.client().ask("DELETE", f"{SERVICES}/first")
        return first["spec"]["template"]["spec"]["containers"][0]["image"]

    def pids(self):
        """The parts' processes by name; activator workers are the activator's."""
        found = {name: [] for name in PARTS}
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                line = (proc / "cmdline").read_bytes().split(b"\0")
                name = os.path.basename(os.readlink(proc / "exe"))
                if name in found and (str(self.lull.home).encode() in b" ".join(line) or
                                      f"LULL_HOME={self.lull.home}".encode() in (proc / "environ").read_bytes().split(b"\0")):
                    found[name].append(int(proc.name))
            except OSError:
                continue
        return found

    def report(self, row, what, bar, figure, unit, met):
        self.results.append({"row": row, "what": what, "bar": bar, "figure": figure, "unit": unit, "met": met})
        print(f"{row}: {what}: {figure:.2f} {unit} (bar {bar}){'' if met else ' NOT MET'}", flush=True)

    def end(self):
        subprocess.run([m.program("lull"), "down"], env=self.lull.env, capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def row_ready(bench, image):
    count, client, spent = 3 if bench.options.short else 30, bench.client(), []
    for i in range(count):
        name = f"r{i}"
        watcher = bench.client()
        version = json.loads(client.ask("GET", SERVICES + "?limit=1"))["metadata"]["resourceVersion"]
        events = watch(watcher, f"{SERVICES}?watch=true&resourceVersion={version}&fieldSelector=metadata.name%3D{name}")
        begun = time.monotonic()
        client.ask("POST", SERVICES, service(name, image))
        next(e for e in events if is_ready(e["object"]))
        spent.append((time.monotonic() - begun) * 1000)
        watcher.conn.close()
        client.ask("DELETE", f"{SERVICES}/{name}")
        time.sleep(0.2)
    bench.report("ready", f"create → Ready of the C example, median of {count}", "≤ 100", statistics.median(spent), "ms",
                 statistics.median(spent) <= 100)
    bench.report("ready", "worst", "–", max(spent), "ms", True)


def create_many(bench, prefix, count, clients, body):
    """Creates count Services over so many connections; returns what went wrong."""
    wrong = []

    def one(k):
        try:
            client = bench.client()
            for i in range(k, count, clients):
                client.ask("POST", SERVICES, body(f"{prefix}{i}"))
        except (m.LoadError, OSError) as err:
            wrong.append(err)
    threads = [threading.Thread(target=one, args=(k,)) for k in range(clients)]
    [t.start() for t in threads]
    return threads, wrong


def all_ready(bench, prefix, count, seconds):
    """Lists until so many Services with the prefix are Ready."""
    client, end = bench.client(), time.monotonic() + seconds
    while True:
        items = json.loads(client.ask("GET", SERVICES))["items"]
        ready = sum(o["metadata"]["name"].startswith(prefix) and is_ready(o) for o in items)
        if ready == count:
            return
        if time.monotonic() > end:
            raise m.LoadError(f"only {ready} of {count} Services were Ready in {seconds} s")
        time.sleep(min(1, count / 5000))


def delete_all(client, prefix, count):
    for i in range(count):
        client.ask("DELETE", f"{SERVICES}/{prefix}{i}")


def many(bench, prefix, count, body, seconds):
    begun = time.monotonic()
    threads, wrong = create_many(bench, prefix, count, 20, body)
    [t.join() for t in threads]
    if wrong:
        raise m.LoadError(str(wrong[0]))
    all_ready(bench, prefix, count, seconds)
    return time.monotonic() - begun


def row_thousand(bench, image):
    count = 20 if bench.options.short else 1000
    spent = many(bench, "t", count, lambda name: service(name, image), 120)
    bench.report("thousand", f"{count} Services with a replica each, 20 clients, all Ready", "≤ 60", spent, "s", spent <= 60)
    delete_all(bench.client(), "t", count)
    coldstart.wait_for(lambda: b'"items":[]' in bench.client().ask("GET", "/api/v1/namespaces/default/pods").replace(b" ", b""),
                       120, "every Pod is gone")


def settle(bench, seconds):
    """Until the parts have used less than a quarter of a core for a second."""
    pids, end = [p for group in bench.pids().values() for p in group], time.monotonic() + seconds
    while time.monotonic() < end:
        before = cpu_seconds(pids)
        time.sleep(1)
        if cpu_seconds(pids) - before < 0.25:
            return


def at_rest(bench, seconds):
    """Until nothing is written for three seconds: thousands of new Services leave as many statuses to be written, a few
    at a time."""
    client, end, last = bench.client(), time.monotonic() + seconds, None
    while time.monotonic() < end:
        now = json.loads(client.ask("GET", SERVICES + "?limit=1"))["metadata"]["resourceVersion"]
        if now == last:
            return
        last = now
        time.sleep(3)


def timed(count, do):
    spent = []
    for i in range(count):
        begun = time.monotonic()
        do(i)
        spent.append((time.monotonic() - begun) * 1000)
    return spent


def restart_s(bench, name):
    """SIGKILL of every part, `lull up` again: until the ingress knows a function's host."""
    bench.lull.cli("down")
    begun = time.monotonic()
    bench.up()
    while True:
        try:
            conn = http.client.HTTPConnection("127.0.0.1", bench.lull.public, timeout=20)
            conn.request("GET", "/", headers={"Host": f"{name}.default.localhost"})
            if conn.getresponse().status == 200:
                return time.monotonic() - begun
        except OSError:
            pass
        time.sleep(0.01)


def row_idle(bench, image):
    count = 30 if bench.options.short else bench.options.services
    bench.client().ask("PATCH", "/api/v1/namespaces/lull-system/configmaps/config-autoscaler",
                       {"data": {"allow-zero-initial-scale": "true"}}, "application/merge-patch+json")
    time.sleep(0.5)  # every part has heard of it
    spent = many(bench, "i", count, lambda name: service(name, image, AT_ZERO), 600)
    bench.report("idle", f"{count} Services at zero created and Ready", "–", spent, "s", True)
    settle(bench, 60)
    client = bench.client()
    client.ask("GET", SERVICES + "?limit=1")
    lists = timed(3, lambda i: client.ask("GET", SERVICES))
    bench.report("idle", "list", "< 1000", statistics.median(lists), "ms", statistics.median(lists) < 1000)
    gets = timed(200, lambda i: client.ask("GET", f"{SERVICES}/i{i * 7 % count}"))
    bench.report("idle", "get, median", "< 2", statistics.median(gets), "ms", statistics.median(gets) < 2)
    at_rest(bench, 600)
    settle(bench, 30)
    pids = bench.pids()
    sizes = {name: sum(m.pss_kib(p) for p in group) / 1024 for name, group in pids.items()}
    for name, mib in sizes.items():
        bench.report("idle", f"PSS of {name}", "–", mib, "MiB", True)
    bench.report("idle", "PSS of all parts", "≤ 256", sum(sizes.values()), "MiB", sum(sizes.values()) <= 256)
    seconds = 2 if bench.options.short else 20
    before = {name: cpu_seconds(group) for name, group in pids.items()}
    time.sleep(seconds)
    used = {name: (cpu_seconds(group) - before[name]) * 100 / seconds for name, group in pids.items()}
    for name, percent in used.items():
        bench.report("idle", f"CPU of {name}", "–", percent, "% of a core", True)
    bench.report("idle", "CPU of all parts", "< 2", sum(used.values()), "% of a core", sum(used.values()) < 2)
    spent = restart_s(bench, "i0")
    bench.report("idle", f"restart of every part with {count} Services → a function answers", "≤ 3", spent, "s", spent <= 3)


def row_writes(bench, image):
    """Status writes, as the machine's parts make them, over one connection."""
    client, path = bench.client(), "/apis/apps/v1/namespaces/default/deployments/w"
    client.ask("POST", "/apis/apps/v1/namespaces/default/deployments", {
        "metadata": {"name": "w"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "w"}}, "template": {
            "metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "user-container", "image": image}]}}}})
    spent = timed(200 if bench.options.short else 5000, lambda i: client.ask(
        "PATCH", f"{path}/status", {"status": {"collisionCount": i}}, "application/merge-patch+json"))
    bench.report("writes", "status write to acknowledged, median", "–", statistics.median(spent), "ms", True)
    p99 = coldstart.quantile(spent, 0.99)
    bench.report("writes", "p99", "≤ 2", p99, "ms", p99 <= 2)
    client.ask("DELETE", path)


def run(options):
    rows = [r for text in options.only for r in text.split(",")] if options.only else ROWS
    bench = Bench(options)
    try:
        bench.up("--max-replicas", 1100)
        image = bench.image()
        for name in ROWS:
            if name in rows:
                globals()[f"row_{name}"](bench, image)
    finally:
        if options.keep:
            print(f"kept: LULL_HOME={bench.lull.home} {m.program('lull')} down")
        else:
            bench.end()
    print()
    m.table(["row", "what", "bar", "figure", "unit", ""],
            [[r["row"], r["what"], r["bar"], f"{r['figure']:.2f}", r["unit"],
              "reported" if r["bar"] == "–" else "met" if r["met"] else "**not met**"] for r in bench.results])
    return [{"benchmark": "api", **r} for r in bench.results]
