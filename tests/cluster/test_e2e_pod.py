# SPDX-License-Identifier: Apache-2.0
"""What a function says of its Pod reaches it, on a real cluster; what a flag keeps closed is refused; class hpa."""

import json
import os

import pytest

from cluster import (apply, configure, get, hello, host_of, kubectl, pods_of, ready_condition, run, wait_for,
                     wait_ready, KUBECTL)

SHOW = "dev.local/show:test"
FLAGS = ("init-containers", "nodeselector", "tolerations", "affinity", "topologyspreadconstraints", "securitycontext",
         "fieldref", "persistent-volume-claim", "persistent-volume-write", "hostaliases", "dnspolicy", "dnsconfig",
         "shareprocessnamespace", "volumes-hostpath")


@pytest.fixture
def opened(installed):
    """The flags of config-features that the Pod below needs, on for the test."""
    keys = [f"kubernetes.podspec-{flag}" for flag in FLAGS]
    yield lambda: configure("config-features", dict.fromkeys(keys, "Enabled"))
    configure("config-features", dict.fromkeys(keys))


def everything(namespace):
    """A Service that says nearly all that may be said of a Pod."""
    service = hello(namespace, "all", SHOW, {"autoscaling.knative.dev/min-scale": "1"})
    spec = service["spec"]["template"]["spec"]
    spec.update({
        "serviceAccountName": "robot",
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "only", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                                       "whenUnsatisfiable": "ScheduleAnyway"}],
        "securityContext": {"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 4321},
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["myself.example"]}],
        "dnsPolicy": "ClusterFirst",
        "dnsConfig": {"searches": ["more.example"]},
        "shareProcessNamespace": True,
        "volumes": [
            {"name": "secret", "secret": {"secretName": "db"}},
            {"name": "config", "configMap": {"name": "settings"}},
            {"name": "all", "projected": {"sources": [
                {"secret": {"name": "db", "items": [{"key": "password", "path": "in/secret"}]}},
                {"configMap": {"name": "settings"}},
                {"downwardAPI": {"items": [{"path": "pod", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"serviceAccountToken": {"path": "token", "audience": "them"}}]}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "host", "hostPath": {"path": "/etc", "type": "Directory"}},
        ],
        "initContainers": [{
            "name": "before", "image": SHOW, "args": ["write", "/data/made-before", "by the init container"],
            "securityContext": {"runAsUser": 0},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
    })
    spec["containers"][0].update({
        "ports": [{"containerPort": 9001, "name": "http1"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http1"}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/live", "port": "http1"}, "periodSeconds": 5},
        "startupProbe": {"tcpSocket": {}, "periodSeconds": 1},
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "SET_"}],
        "volumeMounts": [
            {"name": "secret", "mountPath": "/etc/db"},
            {"name": "config", "mountPath": "/etc/level", "subPath": "level"},
            {"name": "all", "mountPath": "/etc/all"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "data", "mountPath": "/data"},
            {"name": "host", "mountPath": "/host", "readOnly": True},
        ],
    })
    return service


def storage(namespace):
    """A claim and the volume for it: a folder of the node. Nobody makes volumes on the cluster of the tests."""
    name = f"e2e-{os.getpid()}"
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteMany"], "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": name, "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}}})
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace},
           "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": name,
                    "resources": {"requests": {"storage": "1Mi"}}}})
    return name


def test_all_that_a_function_says_of_its_pod_reaches_it(ingress, namespace, opened):
    service = everything(namespace)
    # Closed: refused in the reference's words, before anything is made.
    refused = run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(service), check=False)
    assert refused.returncode != 0
    assert 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: ' in (
        refused.stderr)
    for words in ("must not set the field(s): ", "spec.template.spec.affinity", "spec.template.spec.nodeSelector",
                  "Persistent volume claim support is disabled, but found persistent volume claim data",
                  "pod spec support for init-containers is off, but found 1 init containers"):
        assert words in refused.stderr, words

    opened()
    kubectl("-n", namespace, "create", "serviceaccount", "robot")
    kubectl("-n", namespace, "create", "secret", "generic", "db", "--from-literal=password=sesame")
    kubectl("-n", namespace, "create", "configmap", "settings", "--from-literal=level=debug")
    volume = storage(namespace)

    def applied():
        done = run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(service), check=False)
        return done.returncode == 0

    try:
        wait_for("the webhooks know of the flags", applied, 20)
        host = host_of(wait_ready(namespace, "all"))
        pod = pods_of(namespace, "all-00001")[0]

        def ask(path, what=""):
            status, _, body, _ = ingress.request(host, path + ("?" + what if what else ""))
            return body if status == 200 else f"{status} {body}"

        name = pod["metadata"]["name"]
        told = {what: ask("/file", what) for what in (
            "/etc/db/password", "/etc/level", "/etc/all/in/secret", "/etc/all/level", "/etc/all/pod",
            "/data/made-before")}
        assert told == {"/etc/db/password": "sesame", "/etc/level": "debug", "/etc/all/in/secret": "sesame",
                        "/etc/all/level": "debug", "/etc/all/pod": name, "/data/made-before": "by the init container"}
        assert ask("/file", "/etc/all/token").count(".") == 2
        assert "hosts" in ask("/file", "/host")
        assert "myself.example" in ask("/file", "/etc/hosts")
        assert "more.example" in ask("/file", "/etc/resolv.conf")
        assert ask("/id") == "1234 1234"
        assert {variable: ask("/env", variable) for variable in (
            "POD", "PASSWORD", "SET_level", "PORT", "K_SERVICE", "K_REVISION")} == {
                "POD": name, "PASSWORD": "sesame", "SET_level": "debug", "PORT": "9001", "K_SERVICE": "all",
                "K_REVISION": "all-00001"}
        assert ask("/write", "/scratch/new") == "written"
        assert "Read-only file system" in ask("/write", "/new")
        assert "Read-only file system" in ask("/write", "/etc/db/new")
        check_spec(pod["spec"])
    finally:
        kubectl("-n", namespace, "delete", "ksvc", "all", check=False)
        kubectl("-n", namespace, "delete", "pvc", "data", "--wait=false", check=False)
        kubectl("delete", "pv", volume, "--wait=false", check=False)


def check_spec(spec):
    """What cannot be seen from inside; and the probes, which are ours to rewrite."""
    function, proxy = spec["containers"]
    assert spec["serviceAccountName"] == "robot" and spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"} and spec["shareProcessNamespace"]
    assert "only" in [toleration.get("key") for toleration in spec["tolerations"]]
    assert "nodeAffinity" in spec["affinity"] and "podAntiAffinity" not in spec["affinity"]
    assert spec["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert spec["terminationGracePeriodSeconds"] == 300 and spec["enableServiceLinks"] is False
    assert function["resources"]["limits"] == {"memory": "64Mi"}
    assert "readinessProbe" not in function
    assert function["livenessProbe"]["httpGet"]["port"] == 9001
    assert function["startupProbe"]["tcpSocket"]["port"] == 9001
    assert function["lifecycle"]["preStop"]["httpGet"] == {
        "path": "/wait-for-drain", "port": 8022, "scheme": "HTTP"}
    assert proxy["readinessProbe"]["httpGet"]["port"] == 8012
    assert sorted(port["containerPort"] for port in proxy["ports"]) == [8012, 8022, 9090, 9091]
    environment = {one["name"]: one.get("value", "") for one in proxy["env"]}
    probe = json.loads(environment["SERVING_READINESS_PROBE"])
    assert probe["httpGet"]["path"] == "/ready" and probe["periodSeconds"] == 2
    assert environment["USER_PORT"] == "9001"


def test_class_hpa_is_scaled_by_kubernetes(ingress, namespace):
    apply(hello(namespace, annotations={
        "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev", "autoscaling.knative.dev/metric": "cpu",
        "autoscaling.knative.dev/target": "70", "autoscaling.knative.dev/min-scale": "2",
        "autoscaling.knative.dev/max-scale": "3"}))
    service = wait_ready(namespace)
    assert ingress.request(host_of(service))[0] == 200
    hpa = get("-n", namespace, "hpa", "hello-00001")
    assert hpa["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-00001-deployment"},
        "minReplicas": 2, "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}
    assert hpa["metadata"]["ownerReferences"][0]["kind"] == "PodAutoscaler"
    # Kubernetes looks every 15 seconds; then the second replica comes, and nothing of ours takes it back.
    wait_for("Kubernetes' two replicas, and the PodAutoscaler Ready", lambda: ready_condition(
        get("-n", namespace, "kpa", "hello-00001"))[0] == "True" and len(pods_of(namespace, "hello-00001")) == 2, 60)
    shown = kubectl("-n", namespace, "get", "kpa", "hello-00001", "--no-headers").split()
    assert shown[1:4] == ["2", "2", "True"], shown
    kubectl("-n", namespace, "patch", "hpa", "hello-00001", "--type=merge", "-p", '{"spec":{"maxReplicas":9}}')
    wait_for("what was changed by hand is set back", lambda: get(
        "-n", namespace, "hpa", "hello-00001")["spec"]["maxReplicas"] == 3, 30)
    kubectl("-n", namespace, "delete", "ksvc", "hello")
    wait_for("it goes with the function", lambda: get("-n", namespace, "hpa", "hello-00001") is None, 60)
