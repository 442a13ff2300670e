# SPDX-License-Identifier: Apache-2.0
"""What the cluster tests share: kubectl, waiting with a deadline, and a dump when a test fails.

tests/cluster/run starts the cluster, brings the images to it and calls pytest."""

import http.client
import json
import os
import pathlib
import shlex
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
TAG = os.environ.get("LULL_IMAGE_TAG", "dev")


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


def get(*args):
    """kubectl get … -o json, parsed; None when there is no such object."""
    done = run(*KUBECTL, "get", *args, "-o", "json", check=False)
    if done.returncode != 0:
        if "NotFound" in done.stderr:
            return None
        raise AssertionError(f"kubectl get {' '.join(args)}: {done.stderr}")
    return json.loads(done.stdout)


def apply(obj):
    kubectl("apply", "-f", "-", stdin=obj if isinstance(obj, str) else json.dumps(obj))


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


@pytest.fixture(scope="session")
def installed():
    """Lull on the cluster, with windows that suit a test."""
    begin = time.monotonic()
    done = run(
        str(ROOT / "deploy/install"), "--kubectl", shlex.join(KUBECTL), "--tag", TAG, "--timeout", "0",
        timeout=180,
    )
    configure("config-autoscaler", {
        "allow-unsafe-windows": "true", "stable-window": "2s", "scale-to-zero-grace-period": "0s",
    })
    configure("config-domain", {"example.com": ""})
    for part in ("lull-autoscaler", "lull-controller", "lull-activator"):
        kubectl("-n", "lull-system", "rollout", "status", f"deployment/{part}", "--timeout=90s")
    print(f"\ninstalled, every part ready after {time.monotonic() - begin:.1f} s")
    return done


def configure(name, data):
    kubectl("-n", "lull-system", "patch", "configmap", name, "--type=merge", "-p",
            json.dumps({"data": data}))


@pytest.fixture(scope="session")
def ingress(installed):
    if os.environ.get("LULL_CLUSTER_INSIDE"):
        service = get("-n", "lull-system", "service", "lull-activator")
        yield Ingress(service["spec"]["clusterIP"], 80)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = subprocess.Popen([*KUBECTL, "-n", "lull-system", "port-forward",
                                "service/lull-activator", f"{port}:80"])
    try:
        wait_for("port-forward listens", lambda: listens(port))
        yield Ingress("127.0.0.1", port)
    finally:
        forward.terminate()
        forward.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def namespace(request):
    """A namespace of the test's own, taken away afterwards with everything in it."""
    name = f"t{os.getpid()}-{request.node.name}".lower().replace("_", "-")[:50].rstrip("-")
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


# ------------------------------------------------------------------------------------------ dumps


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and report.when in ("setup", "call"):
        try:
            report.sections.append(("the cluster when it failed", dump()))
        except Exception as error:  # the dump must not hide the failure
            report.sections.append(("the cluster when it failed", f"no dump: {error}"))
