# SPDX-License-Identifier: Apache-2.0
"""One Service goes 0 -> 1 -> 0 through activator, queue-proxy, autoscaler and controller, driven by
the real Deployment controller and kubelet."""

import statistics
import time

from conftest import apply, get, kubectl, ready_condition, wait_for

ROUNDS = 3


def hello(namespace, name="hello"):
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [{
            "image": "dev.local/hello-c:test", "imagePullPolicy": "IfNotPresent",
        }]}}},
    }


def replicas(namespace, revision):
    """(wanted replicas of the revision's Deployment, pods that are not going away)"""
    deployment = get("-n", namespace, "deployment", f"{revision}-deployment")
    pods = get("-n", namespace, "pods", "-l", f"serving.knative.dev/revision={revision}")["items"]
    return deployment["spec"].get("replicas", 1), len(
        [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    )


def no_restarts(*namespaces):
    for namespace in namespaces:
        for pod in get("-n", namespace, "pods")["items"]:
            for status in pod["status"].get("containerStatuses", []):
                assert status["restartCount"] == 0, (pod["metadata"]["name"], status)


def test_zero_one_zero(ingress, namespace):
    begin = time.monotonic()
    apply(hello(namespace))

    def ready():
        state = ready_condition(get("-n", namespace, "ksvc", "hello"))
        assert state[0] != "False", state
        return state[0] == "True"

    wait_for("Service hello is Ready", ready, 90)
    print(f"\nReady {time.monotonic() - begin:.1f} s after kubectl apply")
    service = get("-n", namespace, "ksvc", "hello")
    host = service["status"]["url"].removeprefix("http://")
    assert host == f"hello.{namespace}.example.com"
    revision = service["status"]["latestReadyRevisionName"]
    assert revision == "hello-00001"

    status, _, body, warm = ingress.request(host)
    assert (status, body) == (200, "Hello from C, world!\n")
    print(f"warm request: {warm:.1f} ms")

    cold = []
    for turn in range(ROUNDS):
        since = time.monotonic()
        wait_for("zero replicas", lambda: replicas(namespace, revision) == (0, 0), 60)
        print(f"round {turn + 1}: at zero after {time.monotonic() - since:.1f} s idle", end="")
        status, _, body, took = ingress.request(host, timeout=60)
        assert (status, body) == (200, "Hello from C, world!\n")
        assert replicas(namespace, revision)[0] >= 1
        cold.append(took)
        print(f", woken in {took:.0f} ms")
    wait_for("zero replicas at the end", lambda: replicas(namespace, revision) == (0, 0), 60)
    print(f"cold start: median {statistics.median(cold):.0f} ms of {ROUNDS}")

    assert ready_condition(get("-n", namespace, "ksvc", "hello"))[0] == "True"
    no_restarts(namespace, "lull-system")


def test_unknown_host_is_404(ingress):
    status, _, _, _ = ingress.request("nobody.nowhere.example.com")
    assert status == 404


def test_deleting_the_service_takes_everything_away(ingress, namespace):
    apply(hello(namespace, "gone"))
    wait_for("its Deployment", lambda: get("-n", namespace, "deployment", "gone-00001-deployment"), 60)
    kubectl("-n", namespace, "delete", "ksvc", "gone")
    wait_for("nothing is left", lambda: not any(
        get("-n", namespace, kind)["items"]
        for kind in ("configurations.serving.knative.dev", "routes.serving.knative.dev", "revisions",
                     "kpa", "deployments", "pods")), 60)
