# SPDX-License-Identifier: Apache-2.0
"""A program with the Python client of Kubernetes: our kinds and core ones, made, listed, watched, patched, deleted."""
import signal

import pytest
from lull_client import wait_for
from test_api import Local, deployment, ksvc

kubernetes = pytest.importorskip("kubernetes", reason="the package python3-kubernetes is not installed")

GROUP = ("serving.knative.dev", "v1", "default", "services")


@pytest.fixture
def client(home):
    local = Local(home)
    with kubernetes.config.new_client_from_config(str(home / "kubeconfig")) as it:
        yield it
    assert local.kill(signal.SIGTERM) == 0


def refused(code, reason, call, *args, **kw):
    with pytest.raises(kubernetes.client.ApiException) as got:
        call(*args, **kw)
    assert got.value.status == code and f'"reason":"{reason}"' in got.value.body, got.value
    return got.value


def test_custom_objects(client):
    api = kubernetes.client.CustomObjectsApi(client)
    made = api.create_namespaced_custom_object(*GROUP, ksvc("a"))
    assert made["metadata"]["uid"] and made["spec"]["template"]["spec"]["timeoutSeconds"] == 300
    refused(409, "AlreadyExists", api.create_namespaced_custom_object, *GROUP, ksvc("a"))
    api.patch_namespaced_custom_object(*GROUP, "a", {"metadata": {"labels": {"x": "y", "z": "1"}}})
    got = api.list_namespaced_custom_object(*GROUP, label_selector="x=y,z")
    assert [o["metadata"]["name"] for o in got["items"]] == ["a"]
    got = api.get_namespaced_custom_object(*GROUP, "a")
    got["spec"]["template"]["spec"]["containerConcurrency"] = 7
    newer = api.replace_namespaced_custom_object(*GROUP, "a", got)
    assert newer["metadata"]["generation"] == 2
    got["spec"]["template"]["spec"]["containerConcurrency"] = 8
    refused(409, "Conflict", api.replace_namespaced_custom_object, *GROUP, "a", got)
    api.patch_namespaced_custom_object_status(*GROUP, "a", {"status": {"url": "http://a"}})
    assert api.get_namespaced_custom_object_status(*GROUP, "a")["status"]["url"] == "http://a"
    assert api.delete_namespaced_custom_object(*GROUP, "a")["status"] == "Success"
    refused(404, "NotFound", api.get_namespaced_custom_object, *GROUP, "a")


def test_core_objects(client):
    core = kubernetes.client.CoreV1Api(client)
    k = kubernetes.client
    core.create_namespace(k.V1Namespace(metadata=k.V1ObjectMeta(name="n")))
    meta = lambda name, **kw: k.V1ObjectMeta(name=name, **kw)  # noqa: E731
    for i in range(5):
        core.create_namespaced_config_map("n", k.V1ConfigMap(metadata=meta(f"c{i}", labels={"a": "b"}), data={"x": "1"}))
    page = core.list_namespaced_config_map("n", limit=2)
    rest = core.list_namespaced_config_map("n", limit=9, _continue=page.metadata._continue)
    assert [o.metadata.name for o in page.items + rest.items] == [f"c{i}" for i in range(5)]
    core.create_namespaced_secret("n", k.V1Secret(metadata=meta("s"), string_data={"a": "b"}))
    assert core.read_namespaced_secret("s", "n").data == {"a": "Yg=="}
    ports = [k.V1ServicePort(name="http", port=80, target_port=8080), k.V1ServicePort(name="m", port=81)]
    core.create_namespaced_service("n", k.V1Service(metadata=meta("s"), spec=k.V1ServiceSpec(ports=ports)))
    # A strategic merge patch, as this client sends to Kubernetes' own kinds: the port with this key changes.
    got = core.patch_namespaced_service("s", "n", {"spec": {"ports": [{"port": 81, "name": "metrics"}]}})
    assert {p.port: p.name for p in got.spec.ports} == {80: "http", 81: "metrics"}
    assert wait_for(lambda: core.list_namespaced_service_account("n").items, 20, "an account")[0].metadata.name == "default"
    refused(422, "Invalid", core.create_namespaced_config_map, "n", k.V1ConfigMap(metadata=meta("A_b")))
    core.delete_collection_namespaced_config_map("n", label_selector="a=b")
    assert core.list_namespaced_config_map("n").items == []
    apps = kubernetes.client.AppsV1Api(client)
    apps.create_namespaced_deployment("n", deployment("d"))
    assert apps.patch_namespaced_deployment_scale("d", "n", {"spec": {"replicas": 3}}).spec.replicas == 3
    assert apps.read_namespaced_deployment("d", "n").spec.replicas == 3
    review = k.V1SelfSubjectAccessReview(spec=k.V1SelfSubjectAccessReviewSpec(
        resource_attributes=k.V1ResourceAttributes(verb="create", resource="pods")))
    assert k.AuthorizationV1Api(client).create_self_subject_access_review(review).status.allowed
    core.delete_namespace("n")
    wait_for(lambda: "n" not in [o.metadata.name for o in core.list_namespace().items], 20, "the namespace has gone")


def test_watches(client):
    core = kubernetes.client.CoreV1Api(client)
    k = kubernetes.client
    version = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", k.V1ConfigMap(metadata=k.V1ObjectMeta(name="c")))
    core.patch_namespaced_config_map("c", "default", [{"op": "add", "path": "/data", "value": {"a": "b"}}])
    core.delete_namespaced_config_map("c", "default")
    seen = []
    for event in kubernetes.watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=version,
                                                 timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            break
    assert seen == [("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "c")]
