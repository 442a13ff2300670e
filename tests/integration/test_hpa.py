# SPDX-License-Identifier: Apache-2.0
"""Class hpa on one machine: a function that burns processor time is scaled by it, and back; what kubectl top reads."""
import json
import os
import threading

import pytest
from conftest import running_lull
from lull_client import wait_for

BURNER = """import http.server, os, time
class Burn(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        end = time.process_time() + float(self.path[1:] or 0)
        while time.process_time() < end:
            pass
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Burn).serve_forever()
"""
HPAS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
METRICS = "/apis/metrics.k8s.io/v1beta1"
SCALING = "autoscaling.knative.dev/"


@pytest.fixture(scope="module")
def up():
    """Looked at every half second, with short memories; a Pod counts from its first reading on."""
    period = "LULL_HORIZONTAL_POD_AUTOSCALER_"
    settings = {period + "SYNC_PERIOD": "500ms", period + "DOWNSCALE_STABILIZATION": "2s",
                period + "CPU_INITIALIZATION_PERIOD": "0s", period + "INITIAL_READINESS_DELAY": "0s"}
    os.environ.update(settings)
    try:
        with running_lull() as it:
            source = it.home / "source"
            source.mkdir()
            (source / "burn.py").write_text(BURNER)
            (source / "lull.yaml").write_text('command: ["/usr/bin/python3", "-u", "burn.py"]\n')
            it.cli("deploy", "burn", "--source", source, timeout=150)
            yield it
    finally:
        for name in settings:
            del os.environ[name]


def revise(it, resources, **annotations):
    """Change the function; the name of its new revision, once that is ready."""
    path = "/apis/serving.knative.dev/v1/namespaces/default/services/burn"
    before = it.api().get(path)
    container = {**before["spec"]["template"]["spec"]["containers"][0], "resources": resources}
    it.api().patch(path, {"spec": {"template": {
        "metadata": {"annotations": {SCALING + "class": "hpa.autoscaling.knative.dev",
                                     **{SCALING + k.replace("_", "-"): v for k, v in annotations.items()}}},
        "spec": {"containers": [container]}}}})

    def newer():
        name = it.api().get(path)["status"].get("latestReadyRevisionName")
        return name if name != before["status"]["latestReadyRevisionName"] else None
    return wait_for(newer, 60, "a new revision that is ready")


def condition(it, revision, kind):
    status = it.api().get(f"{HPAS}/{revision}").get("status", {})
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def test_without_request_it_says_why(up):
    """Percent of nothing is no number: Kubernetes' reason stands on both objects, nothing is scaled."""
    revision = revise(up, {}, metric="cpu", target="50")
    wait_for(lambda: "missing request for cpu in container user-container of Pod" in
             condition(up, revision, "ScalingActive").get("message", ""), 30, "the reason")
    assert condition(up, revision, "ScalingActive")["status"] == "False"
    assert condition(up, revision, "ScalingActive")["reason"] == "FailedGetResourceMetric"

    def told():
        found = up.api().get("/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers/"
                             + revision)
        return {c["type"]: c for c in found["status"]["conditions"]}["ScalingActive"].get("reason") == \
            "FailedGetResourceMetric"
    wait_for(told, 30, "the same reason on the PodAutoscaler")
    assert "missing request for cpu" in up.cli("why", "burn").stdout
    assert len(up.replicas("burn")) >= 1


def test_busy_function_grows_and_shrinks(up):
    """1 → 3 while it burns, back to 1 when the window has passed; never to zero; each change is told."""
    revision = revise(up, {"requests": {"cpu": "100m"}}, metric="cpu", target="20", max_scale="3")  # of 125m: also where others burn

    def size():
        return len([p for p in up.replicas("burn") if p["metadata"]["labels"]["serving.knative.dev/revision"] ==
                    revision])
    wait_for(lambda: size() == 1, 60, "one replica, its start forgotten")
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            up.get("burn", "/0.5", timeout=60)
    workers = [threading.Thread(target=burn) for _ in range(2)]
    for w in workers:
        w.start()
    try:
        wait_for(lambda: size() == 3, 60, "three replicas")
        wait_for(lambda: condition(up, revision, "ScalingLimited").get("reason") == "TooManyReplicas", 60, "the bound")
        measured = up.api().get(f"{HPAS}/{revision}")["status"]["currentMetrics"][0]["resource"]
        assert measured["name"] == "cpu" and measured["current"]["averageUtilization"] > 0
        said = up.cli("why", "burn").stdout
        assert "class hpa" in said and "cpu" in said and "% of" in said, said
    finally:
        stop.set()
        for w in workers:
            w.join()
    wait_for(lambda: size() == 1, 60, "one replica")
    events = [e["message"] for e in up.api().list("/api/v1/namespaces/default/events")
              if e["involvedObject"]["name"] == revision and e["reason"] == "SuccessfulRescale"]
    assert any(m.endswith("cpu resource utilization (percentage of request) above target") for m in events), events
    assert "New size: 1; reason: All metrics below target" in events
    table = up.cli("get", "hpa").stdout
    assert f"Deployment/{revision}-deployment" in table and "%/20%" in table


def test_memory_target(up):
    """Each replica holds some MiB: 1Mi per replica is too little, up to max-scale; 10Gi is enough for one."""
    revision = revise(up, {}, metric="memory", target="1", max_scale="2")
    wait_for(lambda: up.api().get(f"{HPAS}/{revision}").get("status", {}).get("desiredReplicas") == 2, 60, "two wanted")
    revision = revise(up, {}, metric="memory", target="10240", max_scale="2")
    wait_for(lambda: condition(up, revision, "ScalingActive").get("reason") == "ValidMetricFound", 60, "a reading")
    status = up.api().get(f"{HPAS}/{revision}")["status"]
    assert status["desiredReplicas"] == 1 and status["currentMetrics"][0]["resource"]["name"] == "memory"


def test_pod_metrics(up):
    """What kubectl top reads: a list, by selector, and one Pod; each with both containers."""
    api = up.api()
    groups = [g["name"] for g in api.get("/apis")["groups"]]
    assert "metrics.k8s.io" in groups
    assert [r["name"] for r in api.get(METRICS)["resources"]] == ["pods"]

    def measured():
        found = api.list(f"{METRICS}/namespaces/default/pods", labelSelector="serving.knative.dev/service=burn")
        pods = {p["metadata"]["name"] for p in up.replicas("burn")}
        return next((m for m in found if m["metadata"]["name"] in pods and len(m["containers"]) == 2), None)
    one = wait_for(measured, 60, "a Pod with numbers of both containers")
    assert api.list(f"{METRICS}/namespaces/default/pods", labelSelector="serving.knative.dev/service=none") == []
    again = api.get(f"{METRICS}/namespaces/default/pods/{one['metadata']['name']}")
    assert again["kind"] == "PodMetrics" and again["window"].endswith("s")
    usage = {c["name"]: c["usage"] for c in one["containers"]}
    assert set(usage) == {"user-container", "queue-proxy"}
    assert int(usage["user-container"]["memory"].rstrip("KMi")) > 0, json.dumps(usage)
    assert api.list(f"{METRICS}/pods", labelSelector="a=none") == []
    with pytest.raises(Exception, match="404|not found"):
        api.get(f"{METRICS}/namespaces/default/pods/none")


def test_refusals(up):
    """What no HorizontalPodAutoscaler may say is refused with Kubernetes' words."""
    body = {"metadata": {"name": "bad"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "x"},
                                                  "minReplicas": 3, "maxReplicas": 2}}
    with pytest.raises(Exception, match="greater than or equal to `minReplicas`"):
        up.api().create(HPAS, {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", **body})
    body["spec"].update(maxReplicas=4, metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": {
        "type": "Utilization"}}}])
    with pytest.raises(Exception, match="must set either a target raw value or a target utilization"):
        up.api().create(HPAS, {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", **body})
