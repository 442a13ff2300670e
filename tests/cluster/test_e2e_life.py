# SPDX-License-Identifier: Apache-2.0
"""A function's life on a real cluster through the doors that users have: a chart of their own, kubectl, the lull command,
other functions; while the autoscaler's leader, the kubelet and the API server fall."""

import concurrent.futures
import json
import os
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import exposition  # noqa: E402
from cluster import (KUBECTL, ROOT, Ingress, Load, apply, get, hello, host_of, kubectl, lull, lull_at, pods_of, run, wait_for,
                     wait_ready, wait_zero)  # noqa: E402

HELM = os.environ.get("HELM", "")
own_cluster = pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")
CHART = """apiVersion: v2
name: app
version: 0.1.0
"""
TEMPLATE = """apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  template:
    metadata:
      annotations: {autoscaling.knative.dev/min-scale: "1"}
    spec:
      containers:
      - image: dev.local/hello-c:test
        env:
        - {name: TARGET, value: {{ .Values.target | quote }}}
"""


def helm(*args):
    target = ["--kubeconfig", KUBECTL[KUBECTL.index("--kubeconfig") + 1]] if "--kubeconfig" in KUBECTL else []
    return run(HELM, *args, *target)


@pytest.mark.skipif(not HELM, reason="no helm, and none could be built")
def test_a_chart_of_the_users_splits_rolls_back_and_is_called_by_name(ingress, namespace, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text(CHART)
    (tmp_path / "values.yaml").write_text("target: one\n")
    (tmp_path / "templates/app.yaml").write_text(TEMPLATE)
    helm("install", "app", str(tmp_path), "-n", namespace)
    host = host_of(wait_ready(namespace, "app"))

    def answers(count=1, to=host):
        return [ingress.request(to)[2].removeprefix("Hello from C, ").rstrip("!\n") for _ in range(count)]

    assert answers() == ["one"]
    with Load(ingress, host) as load:
        helm("upgrade", "app", str(tmp_path), "-n", namespace, "--set", "target=two")
        wait_for("the new revision answers", lambda: answers() == ["two"], 60)
        wait_ready(namespace, "app")
        lull(namespace, "traffic", "app", "--to", "app-00001=50", "--to", "@latest=50", "--tag", "app-00001=old")
        wait_for("both answer", lambda: set(answers(20)) == {"one", "two"}, 30)
        wait_for("the tag has a host of its own", lambda: set(answers(5, f"old-{host}")) == {"one"}, 30)
        lull(namespace, "rollback", "app", "--to", "app-00001")
        wait_for("all go to the first one", lambda: set(answers(20)) == {"one"}, 30)
    assert not load.bad and load.good > 50
    # Another function calls it by name, through the cluster's DNS; and one that is at zero.
    apply(hello(namespace, "asleep", annotations={"autoscaling.knative.dev/initial-scale": "1"}))
    wait_ready(namespace, "asleep")
    assert "created and ready" in lull(namespace, "deploy", "caller", "--image", "dev.local/show:test")
    caller = host_of(get("-n", namespace, "ksvc", "caller"))
    wait_zero(namespace, "asleep-00001")
    for name, want in ((f"app.{namespace}.svc.cluster.local", "one"), (f"app.{namespace}", "one"),
                       (f"asleep.{namespace}.svc.cluster.local", "world")):
        status, _, body, took = ingress.request(caller, f"/call?{name}:80/", timeout=60)
        assert (status, body) == (200, f"Hello from C, {want}!\n"), (name, status, body)
        print(f"\n{name} called from a pod in {took:.0f} ms", end="")
    helm("uninstall", "app", "-n", namespace)
    wait_for("it is gone with the release", lambda: not get(
        "-n", namespace, "deployments", "-l", "serving.knative.dev/service=app")["items"], 60)


def test_top_why_and_doctor_on_a_cluster(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    host = host_of(wait_ready(namespace))

    def row():
        ingress.request(host)
        rows = json.loads(lull(namespace, "top", "-o", "json"))["items"]
        return rows[0] if rows and rows[0].get("rps", 0) > 0 and rows[0].get("memoryBytes", 0) > 0 else None

    top = wait_for("requests and memory in lull top", row, 60)
    assert (top["name"], top["ready"], top["wanted"]) == ("hello", 1, 1) and top["memoryBytes"] < 64 << 20
    assert "hello-00001 is at 1 replica" in lull(namespace, "why", "hello")
    wait_for("all is well", lambda: lull_at("doctor", "-n", namespace, check=False).returncode == 0, 30)
    lull(namespace, "deploy", "broken", "--image", "dev.local/nothing-here:1", "--no-wait")
    kubectl("-n", "lull-system", "scale", "deployment/lull-autoscaler", "--replicas=0")
    try:
        wait_for("no autoscaler is left", lambda: not get(
            "-n", "lull-system", "pods", "-l", "app=lull-autoscaler")["items"], 60)
        sick = lull_at("doctor", "-n", namespace, check=False)
        assert sick.returncode == 1 and "lull-autoscaler: 0 of 0 ready" in sick.stdout, sick.stdout
        assert f"{namespace}/broken is not ready" in sick.stdout
        # Nobody can be asked: what was written down is shown.
        recorded = lull_at("why", "hello", "-n", namespace)
        assert "cannot be asked" in recorded.stderr and "1 replicas wanted" in recorded.stdout
    finally:
        kubectl("-n", "lull-system", "scale", "deployment/lull-autoscaler", "--replicas=2")
        kubectl("-n", "lull-system", "rollout", "status", "deployment/lull-autoscaler", "--timeout=60s")


def one_activator():
    """The way past kube-proxy: without a kubelet, or an API server, Kubernetes takes Services' endpoints away for a while, on
    its only node those of everything."""
    pods = get("-n", "lull-system", "pods", "-l", "app=lull-activator")["items"]
    return Ingress(next(pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"]), 8080)


@own_cluster
def test_the_leader_the_control_plane_and_the_kubelet_fall(installed, namespace):
    ingress, script = one_activator(), str(ROOT / "tests/cluster/cluster.sh")
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    apply(hello(namespace, "other"))
    service, other = wait_ready(namespace), wait_ready(namespace, "other")
    wait_zero(namespace, "other-00001")

    def leader():
        lease = get("-n", "lull-system", "lease", "lull-autoscaler")
        return lease["spec"].get("holderIdentity", "")

    def wake():
        return ingress.request(host_of(other), timeout=120)

    first = leader()
    with Load(ingress, host_of(service)) as load, concurrent.futures.ThreadPoolExecutor(1) as pool:
        kubectl("-n", "lull-system", "delete", "pod", first.rpartition("-")[0], "--force", "--grace-period=0")
        status, _, body, took = wake()
        assert (status, body) == (200, "Hello from C, world!\n")
        print(f"\nwoken in {took:.0f} ms after the leading autoscaler was killed", end="")
        wait_for("another one leads", lambda: leader() not in ("", first), 60)
        wait_zero(namespace, "other-00001")
        try:
            for part in ("apiserver", "kcm", "scheduler"):
                run(script, "kill", part)
            end = time.monotonic() + 60
            while time.monotonic() < end:
                good = load.good
                wait_for("requests go on without the API server", lambda good=good: load.good >= good + 20, 30, every=1)
            # What runs on the node goes on without these, too. (They also back off for up to a minute when the API server
            # is back; started anew they do not.)
            for part in ("kubelet", "proxy"):
                run(script, "kill", part)
            waiting = pool.submit(wake)
            good = load.good
            wait_for("requests go on without a kubelet", lambda: load.good >= good + 20, 30)
        finally:
            run(script, "up", "node", timeout=300)
        status, _, body, took = waiting.result()
        print(f", {took:.0f} ms while Kubernetes came back; {load.good} requests meanwhile")
    assert (status, body) == (200, "Hello from C, world!\n")
    assert not load.bad, load.bad[:3]
    pods = pods_of(namespace, "hello-00001")
    assert len(pods) == 1 and all(c["restartCount"] == 0 for c in pods[0]["status"]["containerStatuses"])
    apply(hello(namespace, "after"))
    wait_ready(namespace, "after")


def monitoring_kind(plural, kind):
    """As much of the Prometheus operator as it takes to accept its objects."""
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"}, "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


@own_cluster
@pytest.mark.skipif(not HELM, reason="no helm, and none could be built")
def test_prometheus_finds_and_reads_every_part_and_function(ingress, namespace):
    kinds = {"servicemonitors": "ServiceMonitor", "podmonitors": "PodMonitor"}
    for plural, kind in kinds.items():
        apply(monitoring_kind(plural, kind))
    objects = run(HELM, "template", "lull", str(ROOT / "deploy/chart"), "-n", "lull-system", "--kube-version", "1.30.0",
                  "-s", "templates/servicemonitor.yaml", "--set", "metrics.serviceMonitor.enabled=true",
                  "--set", "metrics.podMonitor.enabled=true").stdout
    try:
        for plural in kinds:
            kubectl("wait", "--for=condition=Established", f"crd/{plural}.monitoring.coreos.com", "--timeout=30s")
        apply(objects)
        monitor = get("-n", "lull-system", "servicemonitor", "lull")
        service = get("-n", "lull-system", "service", "lull-metrics")
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
        assert ingress.request(host_of(wait_ready(namespace)))[0] == 200

        def scraped():
            """What the ServiceMonitor selects."""
            slices = get("-n", "lull-system", "endpointslices", "-l", "kubernetes.io/service-name=lull-metrics")["items"]
            # The Redis that comes along is in it too, without a port of that name: nobody asks it.
            return {(ip, piece["ports"][0]["port"]) for piece in slices if piece["ports"] for end in piece["endpoints"] or []
                    for ip in end["addresses"]}

        parts = wait_for("six pods of the parts", lambda: scraped() if len(scraped()) >= 6 else None, 60)
        pod = pods_of(namespace, "hello-00001")[0]
        port = next(p["containerPort"] for c in pod["spec"]["containers"] for p in c["ports"]
                    if p["name"] == get("-n", "lull-system", "podmonitor", "lull-functions")[
                        "spec"]["podMetricsEndpoints"][0]["port"])
        names = set()
        for ip, at in [*parts, (pod["status"]["podIP"], port)]:
            status, headers, page, _ = Ingress(ip, at).request("x", "/metrics")
            assert status == 200 and headers["Content-Type"].startswith("text/plain")
            names |= {name for name, _ in exposition.read(page)}
            assert exposition.promtool(page) in (None, "")
        assert {"lull_controller_leading", "lull_autoscaler_leading"} <= names, sorted(names)
        for part in ("activator", "autoscaler", "controller"):
            marked = get("-n", "lull-system", "pods", "-l", f"app=lull-{part}")["items"][0]["metadata"]["annotations"]
            assert marked["prometheus.io/scrape"] == "true" and marked["prometheus.io/port"] == "9090"
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=objects, check=False)
        for plural in kinds:
            kubectl("delete", "crd", f"{plural}.monitoring.coreos.com", "--wait=false", check=False)
