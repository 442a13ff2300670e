# SPDX-License-Identifier: Apache-2.0
"""Lull on a real Kubernetes: cold starts beside a plain Deployment's, what the two hops add, what the parts cost, a thousand
Services, and how soon everything serves after a restart. Runs inside the network of the cluster of tests/cluster."""
import base64
import http.client
import json
import os
import pathlib
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))

import measure as m  # noqa: E402

NS = "bench"
SYSTEM = "lull-system"
IMAGE = "dev.local/hello-c:test"
ROWS = {}


def row(name):
    def put(fn):
        ROWS[name] = fn
        return fn
    return put


def say(text):
    print(text, flush=True)


def spread(values):
    """median (quartiles; range)"""
    low, mid, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return f"{mid:.2f} ({low:.2f}–{high:.2f}; {min(values):.2f}–{max(values):.2f})" if mid < 10 else \
        f"{mid:.0f} ({low:.0f}–{high:.0f}; {min(values):.0f}–{max(values):.0f})"


def wait_for(what, condition, seconds=60, every=0.05):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise m.LoadError(f"after {seconds} s still not: {what}")
        time.sleep(every)
    return value


# ---- the API ----

class Api:
    """The API server as the cluster's administrator, without kubectl in between."""

    def __init__(self):
        import cluster  # of tests/cluster
        self.tools = cluster
        view = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        server, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            pem.flush()
            self.context.load_cert_chain(pem.name)
        self.host = server["server"].removeprefix("https://")
        self.kept = threading.local()

    def connect(self):
        return http.client.HTTPSConnection(self.host, context=self.context, timeout=60)

    def call(self, method, path, body=None, kind="application/merge-patch+json", missing=False):
        if not hasattr(self.kept, "conn"):
            self.kept.conn = self.connect()
        kind = "application/json" if method == "POST" else kind
        try:
            self.kept.conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            answer = self.kept.conn.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self.kept.conn = self.connect()
            self.kept.conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            answer = self.kept.conn.getresponse()
            data = answer.read()
        if missing and answer.status == 404:
            return None
        if answer.status >= 300:
            raise m.LoadError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data)

    def watch(self, path, on_event, stop):
        """Every event until stop is set."""
        def follow():
            while not stop.is_set():
                try:
                    conn = self.connect()
                    conn.request("GET", path + ("&" if "?" in path else "?") + "watch=1")
                    for line in conn.getresponse():
                        on_event(json.loads(line))
                except (OSError, ValueError, http.client.HTTPException):
                    time.sleep(0.1)
        threading.Thread(target=follow, daemon=True).start()

    def pods(self, selector):
        return self.call("GET", f"/api/v1/namespaces/{NS}/pods?labelSelector={selector}")["items"]

    def scale(self, deployment, replicas):
        self.call("PATCH", f"/apis/apps/v1/namespaces/{NS}/deployments/{deployment}/scale", {"spec": {"replicas": replicas}})

    def service_ip(self, ns, name):
        return self.call("GET", f"/api/v1/namespaces/{ns}/services/{name}")["spec"]["clusterIP"]


def container():
    return {"name": "user-container", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8080}],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}


def lull_service(name, annotations=None):
    """Without a token, so that its pods mount no volume."""
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"template": {"metadata": {"annotations": annotations or {}},
                                  "spec": {"automountServiceAccountToken": False, "enableServiceLinks": False,
                                           "containers": [container()]}}}}


def plain_deployment(name, replicas=0):
    """The same container as a Deployment, mounting no volume either."""
    one = container()
    one["env"] = [{"name": "PORT", "value": "8080"}]
    one["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NS},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"automountServiceAccountToken": False, "enableServiceLinks": False,
                                           "terminationGracePeriodSeconds": 1, "containers": [one]}}}}


def plain_service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}}


KSVC = f"/apis/serving.knative.dev/v1/namespaces/{NS}/services"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NS}/deployments"
SERVICES = f"/api/v1/namespaces/{NS}/services"


def put(api, path, obj):
    """Creates it unless it is there."""
    if api.call("GET", f"{path}/{obj['metadata']['name']}", missing=True) is None:
        api.call("POST", path, obj)


def is_ready(obj):
    status = (obj or {}).get("status", {})
    return status.get("observedGeneration") == obj["metadata"]["generation"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def ready_service(api, name, annotations=None):
    put(api, KSVC, lull_service(name, annotations))
    service = wait_for(f"{name} is Ready", lambda: (lambda s: s if is_ready(s) else None)(
        api.call("GET", f"{KSVC}/{name}")), 90)
    return service["status"]["url"].removeprefix("http://"), service["status"]["latestReadyRevisionName"]


def get(ip, host, timeout=60, port=80):
    """(status, headers, milliseconds from the first byte sent to the first byte of the answer)"""
    conn = http.client.HTTPConnection(ip, port, timeout=timeout)
    try:
        begin = time.monotonic()
        conn.request("GET", "/", headers={"Host": host})
        answer = conn.getresponse()
        took = (time.monotonic() - begin) * 1000
        answer.read()
        return answer.status, dict(answer.getheaders()), took
    finally:
        conn.close()


# ---- cold starts ----

COLD_PODS = "app%20in%20(plain,cold-00001)"


class Marks:
    """When the API said what of the pod that is being started, in ms."""

    def __init__(self, api):
        self.begin, self.at, self.stop = 0.0, {}, threading.Event()
        api.watch(f"/api/v1/namespaces/{NS}/pods?labelSelector={COLD_PODS}", self.event, self.stop)

    def restart(self):
        self.at, self.begin = {}, time.monotonic()

    def mark(self, what):
        self.at.setdefault(what, (time.monotonic() - self.begin) * 1000)

    def event(self, event):
        pod = event["object"]
        if event["type"] == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            return
        self.mark("pod created")
        if pod["spec"].get("nodeName"):
            self.mark("scheduled")
        if pod.get("status", {}).get("podIP"):
            self.mark("address reported")
        for c in pod.get("status", {}).get("conditions", []):
            if c["type"] == "Ready" and c["status"] == "True":
                self.mark("Ready reported")


def plain_start(api, ip, marks):
    marks.restart()
    api.scale("plain", 1)
    while True:
        try:
            if get(ip, "plain", timeout=0.1)[0] == 200:
                break
        except OSError:
            pass
        if time.monotonic() - marks.begin > 60:
            raise m.LoadError("the plain Deployment does not answer")
        time.sleep(0.005)
    marks.mark("first 200")
    took = dict(marks.at)
    time.sleep(0.1)
    api.scale("plain", 0)
    return took


def lull_start(ip, host, marks):
    marks.restart()
    status, headers, took = get(ip, host)
    if status != 200:
        raise m.LoadError(f"cold start: {status}")
    marks.mark("first byte")
    out = dict(marks.at)
    out["first byte"] = took
    for part in headers.get("Server-Timing", "").split(","):
        name, _, dur = part.strip().partition(";dur=")
        if dur:
            out[name] = float(dur)
    return out


def table(title, runs, steps):
    say(f"\n{title}, ms: median (quartiles; range)\n")
    say("| step | ms | seen in |\n|---|---|---|")
    for step in steps:
        values = [run[step] for run in runs if step in run]
        if values:
            say(f"| {step} | {spread(values)} | {len(values)} of {len(runs)} |")


def announcements(api):
    """Summed over the activators: {result: count}"""
    total = {}
    for pod in api.call("GET", f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app%3Dlull-activator")["items"]:
        if pod["status"].get("podIP"):
            text = page(pod["status"]["podIP"], "/metrics")
            for line in text.splitlines():
                if line.startswith("lull_activator_announcements_total{"):
                    result = line.split('"')[1]
                    total[result] = total.get(result, 0) + float(line.rsplit(" ", 1)[1])
    return total


def page(ip, path):
    conn = http.client.HTTPConnection(ip, 9090, timeout=10)
    conn.request("GET", path)
    return conn.getresponse().read().decode()


@row("cold")
def cold(api, options):
    """Interleaved pairs; from nothing to the first byte, with no volume in either pod."""
    pairs = options.pairs or (1 if options.short else 40)
    put(api, DEPLOYMENTS, plain_deployment("plain"))
    put(api, SERVICES, plain_service("plain"))
    host, revision = ready_service(api, "cold")
    plain_ip, lull_ip = api.service_ip(NS, "plain"), api.service_ip(SYSTEM, "lull-activator")
    marks = Marks(api)
    before = announcements(api)
    plain, lull, ratios = [], [], []
    for turn in range(pairs):
        pair = {}
        for which in ("plain", "lull") if turn % 2 else ("lull", "plain"):
            wait_for("no pod is left", lambda: not api.pods(COLD_PODS), 120)
            time.sleep(0.6 + random.random())  # anywhere between two looks of the kubelet
            pair[which] = plain_start(api, plain_ip, marks) if which == "plain" else lull_start(lull_ip, host, marks)
        plain.append(pair["plain"])
        lull.append(pair["lull"])
        ratios.append(pair["lull"]["first byte"] / pair["plain"]["first 200"])
        if options.verbose:
            say(f"{turn}: plain {pair['plain']['first 200']:.0f}, lull {pair['lull']['first byte']:.0f}")
    marks.stop.set()
    table("Plain Deployment, PATCH 0 → 1", plain, ("pod created", "scheduled", "address reported", "Ready reported",
                                                   "first 200"))
    table("Lull, from the request's first byte", lull, ("decide", "pod created", "scheduled", "start", "probe", "queue",
                                                        "proxy", "first byte"))
    after = announcements(api)
    say("announcements: " + ", ".join(f"{k} {after[k] - before.get(k, 0):.0f}" for k in after
                                      if after[k] != before.get(k, 0)))
    ratio = statistics.median(r["first byte"] for r in lull) / statistics.median(r["first 200"] for r in plain)
    yield ("cold start / plain Deployment, of medians", 0.70, ratio, f"pairs: {spread(ratios)}; {pairs} pairs",
           {"plain": plain, "lull": lull})


def run(options):
    """Called by bench/run: inside the cluster's network at once, else through tests/cluster/run."""
    if "LULL_CLUSTER_INSIDE" not in os.environ:
        command = [m.ROOT / "tests/cluster/run", "--build-dir", m.BUILD, "--program", m.ROOT / "bench/run"]
        command += ["--reuse"] if options.reuse else ["--keep"] if options.keep else []
        done = subprocess.run([*map(str, command), "--", *sys.argv[1:]], check=False)
        if done.returncode:
            sys.exit(done.returncode)
        return []
    api = Api()
    say(api.tools.lull_at("install", "--tag", os.environ.get("LULL_IMAGE_TAG", "test")).stdout.splitlines()[-1])
    api.tools.configure("config-autoscaler", {"allow-unsafe-windows": "true", "stable-window": "2s",
                                              "scale-to-zero-grace-period": "0s"})
    put(api, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    rows = [r for names in options.only or [",".join(ROWS)] for r in names.split(",")]
    results = []
    for name in rows:
        if name not in ROWS:
            sys.exit(f"bench: no row {name} of cluster; there are: {', '.join(ROWS)}")
        say(f"\n## {name}: {ROWS[name].__doc__.strip()}")
        for what, bar, figure, note, *raw in ROWS[name](api, options):
            verdict = "" if bar is None else "met" if figure <= bar else "MISSED"
            results.append({"row": name, "what": what, "bar": bar, "figure": figure, "note": note, "raw": raw})
            say(f"| {name} | {what} | {'' if bar is None else f'≤ {bar}'} | {figure:.3g} | {note} | {verdict} |")
    return results
