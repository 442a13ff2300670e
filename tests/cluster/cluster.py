# SPDX-License-Identifier: Apache-2.0
"""kubectl, waiting with a deadline, requests through the activator, and a dump of the cluster."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import shlex
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
TAG = os.environ.get("LULL_IMAGE_TAG", "dev")
REDIS_IMAGE = os.environ.get("LULL_REDIS_IMAGE", "")


def run(*command, stdin=None, check=True, timeout=120):
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def kubectl(*args, stdin=None, check=True, timeout=120):
    """Runs kubectl and returns what it printed."""
    return run(*KUBECTL, *args, stdin=stdin, check=check, timeout=timeout).stdout


def lull_at(command, *args, check=True, timeout=180):
    """Runs the lull command against the cluster; the finished process."""
    config = ["--kubeconfig", KUBECTL[KUBECTL.index("--kubeconfig") + 1]] if (
        "--kubeconfig" in KUBECTL) else []
    binary = os.environ.get("LULL_BIN", str(ROOT / "build/cli/lull"))
    return run(binary, command, *args, *config, check=check, timeout=timeout)


def lull(namespace, command, *args):
    """What the lull command printed in this namespace of the cluster."""
    return lull_at(command, *args, "-n", namespace).stdout


def get(*args):
    """kubectl get … -o json, parsed; None when there is no such object."""
    done = run(*KUBECTL, "get", *args, "-o", "json", check=False)
    if done.returncode != 0:
        if "NotFound" in done.stderr:
            return None
        raise AssertionError(f"kubectl get {' '.join(args)}: {done.stderr}")
    return json.loads(done.stdout)


def apply(obj):
    """kubectl apply; again while no controller answers the webhook, which a test that takes them away has to expect."""
    text = obj if isinstance(obj, str) else json.dumps(obj)

    def applied():
        done = run(*KUBECTL, "apply", "-f", "-", stdin=text, check=False)
        assert done.returncode == 0 or "failed calling webhook" in done.stderr, done.stderr
        return done.returncode == 0

    wait_for("a controller answers the webhook", applied, 30)


def wait_for(what, condition, seconds=60, every=0.1):
    """Polls until condition() is truthy and returns that; fails with `what` and the last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}; last seen: {value!r}")
        time.sleep(every)


def ready_condition(obj):
    """(status, reason, message) of the condition Ready, Unknown while the status is behind."""
    status = (obj or {}).get("status", {})
    if not obj or status.get("observedGeneration") != obj["metadata"]["generation"]:
        return ("Unknown", "NotObserved", "status.observedGeneration is behind")
    for cond in status.get("conditions", []):
        if cond["type"] == "Ready":
            return (cond["status"], cond.get("reason", ""), cond.get("message", ""))
    return ("Unknown", "", "no condition Ready")


class Ingress:
    """Sends requests to the activator's public listener."""

    def __init__(self, address, port):
        self.address, self.port = address, port

    def request(self, host, path="/", timeout=30):
        """(status, headers, body, milliseconds)"""
        begin = time.monotonic()
        conn = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        try:
            conn.request("GET", path, headers={"Host": host})
            answer = conn.getresponse()
            body = answer.read().decode(errors="replace")
            return answer.status, dict(answer.getheaders()), body, (time.monotonic() - begin) * 1000
        finally:
            conn.close()


def listens_at(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def listens(port):
    return listens_at("127.0.0.1", port)


def resolve(name, server):
    """The IPv4 addresses that a DNS server gives for a name; aliases are followed by the server."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = b"\x12\x34\x01\x00" + b"\0\1" + b"\0" * 6 + labels + b"\0" + b"\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.sendto(query, (server, 53))
        answer = udp.recv(4096)

    def skip_name(at):
        while answer[at]:
            if answer[at] >= 0xC0:
                return at + 2
            at += answer[at] + 1
        return at + 1

    found, at = [], len(query)
    for _ in range(int.from_bytes(answer[6:8], "big")):
        at = skip_name(at)
        kind, size = int.from_bytes(answer[at:at + 2], "big"), int.from_bytes(answer[at + 8:at + 10], "big")
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at + 10:at + 14]))
        at += 10 + size
    return found


def volume(claim, namespace="lull-system"):
    """A volume that waits for a claim, on a cluster that makes none by itself."""
    if get("storageclasses")["items"]:
        return
    state = pathlib.Path(KUBECTL[KUBECTL.index("--kubeconfig") + 1]).parents[1]
    folder = pathlib.Path(tempfile.mkdtemp(dir=state / "data", prefix="volume-"))
    folder.chmod(0o777)
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": folder.name.replace("_", "x")},
           "spec": {"capacity": {"storage": "8Gi"}, "accessModes": ["ReadWriteOnce"],
                    "claimRef": {"namespace": namespace, "name": claim},
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": str(folder), "type": "Directory"}}})


def configure(name, data):
    kubectl("-n", "lull-system", "patch", "configmap", name, "--type=merge", "-p",
            json.dumps({"data": data}))


def hello(namespace, name="hello", image="dev.local/hello-c:test", annotations=None, env=None, **spec):
    """A Service of the C example."""
    container = {"image": image, "imagePullPolicy": "IfNotPresent"}
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {
            "metadata": {"annotations": annotations or {}},
            "spec": {"containers": [container], **spec},
        }},
    }


def wait_ready(namespace, name="hello", seconds=90):
    """Waits until the Service is Ready, fails at once when it says that it never will be; returns it."""

    def ready():
        service = get("-n", namespace, "ksvc", name)
        state = ready_condition(service)
        assert state[0] != "False", state
        return service if state[0] == "True" else None

    return wait_for(f"Service {name} is Ready", ready, seconds)


def host_of(service):
    return service["status"]["url"].removeprefix("http://")


def pods_of(namespace, revision):
    """The revision's pods that are not going away."""
    pods = get("-n", namespace, "pods", "-l", f"serving.knative.dev/revision={revision}")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def replicas(namespace, revision):
    """(wanted replicas of the revision's Deployment, its pods)"""
    deployment = get("-n", namespace, "deployment", f"{revision}-deployment")
    return deployment["spec"].get("replicas", 1), len(pods_of(namespace, revision))


def wait_zero(namespace, revision, seconds=60):
    wait_for("zero replicas", lambda: replicas(namespace, revision) == (0, 0), seconds)


def no_restarts(*namespaces):
    for namespace in namespaces:
        for pod in get("-n", namespace, "pods")["items"]:
            for status in pod["status"].get("containerStatuses", []):
                assert status["restartCount"] == 0, (pod["metadata"]["name"], status)


class Load:
    """Requests one after the other from a few threads, until the block ends; counts the answers."""

    def __init__(self, ingress, host, threads=2, path="/"):
        self.ingress, self.host, self.threads, self.path = ingress, host, threads, path
        self.good, self.bad, self.stop = 0, [], False

    def loop(self):
        while not self.stop:
            try:
                status, _, body, _ = self.ingress.request(self.host, self.path)
            except OSError as error:
                status, body = 0, repr(error)
            if status == 200:
                self.good += 1
            else:
                self.bad.append((time.strftime("%X"), status, body))
            time.sleep(0.01)

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)
        self.running = [self.pool.submit(self.loop) for _ in range(self.threads)]
        return self

    def __exit__(self, *_):
        self.stop = True
        for future in self.running:
            future.result()
        self.pool.shutdown()


def dump():
    """Everything that helps to find out why a test failed."""
    parts = []

    def show(*args):
        done = run(*KUBECTL, *args, check=False)
        parts.append(f"$ kubectl {' '.join(args)}\n{done.stdout}{done.stderr}")

    show("get", "ksvc,configurations.serving.knative.dev,routes.serving.knative.dev,revisions,kpa", "-A")
    show("get", "deployments,pods", "-A", "-o", "wide")
    show("get", "ksvc,revisions,kpa", "-A", "-o", "yaml")
    show("get", "events", "-A", "--sort-by=.lastTimestamp")
    pods = get("pods", "-A") or {"items": []}
    for pod in pods["items"]:
        meta = pod["metadata"]
        if meta["namespace"] == "kube-system":
            continue
        if pod.get("status", {}).get("phase") != "Running" or any(
            not c.get("ready") or c.get("restartCount")
            for c in pod.get("status", {}).get("containerStatuses", [])
        ):
            show("-n", meta["namespace"], "describe", "pod", meta["name"])
            show("-n", meta["namespace"], "logs", meta["name"], "--all-containers", "--previous",
                 "--prefix", "--tail=60")
        show("-n", meta["namespace"], "logs", meta["name"], "--all-containers", "--prefix",
             "--tail=200")
    return "\n".join(parts)
