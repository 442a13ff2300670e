# SPDX-License-Identifier: Apache-2.0
"""What every client of the Kubernetes API relies on, over HTTP only: the same tests run on the API server of one
machine (tests/integration/test_contract.py) and on a real kube-apiserver with the CRDs of deploy/chart/files/crds
(tests/cluster/test_contract.py). Where the two differ on purpose docs/api-differences.md says so.

A module that imports these tests gives the fixture `server`: a lull_client.Api."""
import json
import os
import re

import pytest
from lull_client import wait_for

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
SERVING = "serving.knative.dev/v1"


# Kubernetes' words for names and labels.
SUBDOMAIN = ("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
             "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
             r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
LABEL = ("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
         "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
QUALIFIED = ("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
             "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")
LABEL_VALUE = ("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
               "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
               "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")


class Space:
    """A namespace of the test's own, and paths in it."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def path(self, plural, name="", group="", sub=""):
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "") + (f"/{sub}" if sub else "")

    def cm(self, name=""):
        return self.path("configmaps", name)

    def pa(self, name="", sub=""):
        return self.path("podautoscalers", name, "autoscaling.internal.knative.dev/v1alpha1", sub)

    def rt(self, name="", sub=""):
        return self.path("routes", name, SERVING, sub)

    def rev(self, name=""):
        return self.path("revisions", name, SERVING)


@pytest.fixture
def space(server, request):
    name = f"c{os.getpid()}-{re.sub('[^a-z0-9]+', '-', request.node.name.lower())}"[:50].rstrip("-")
    server.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield Space(server, name)
    server.request("DELETE", f"/api/v1/namespaces/{name}")


def config_map(name, labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def autoscaler(name="a", **spec):
    return {"apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
            "metadata": {"name": name},
            "spec": {"protocolType": "http1", "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                                                                "name": "d"}, **spec}}


def route(name="r", **more):
    return {"apiVersion": SERVING, "kind": "Route", "metadata": {"name": name},
            "spec": {"traffic": [{"revisionName": "x-00001", "percent": 100, **more}]}}


def revision(name="x-00001", **container):
    return {"apiVersion": SERVING, "kind": "Revision", "metadata": {"name": name},
            "spec": {"timeoutSeconds": 300, "containerConcurrency": 0,
                     "containers": [{"name": "user-container", "image": "dev.local/x:1", **container}]}}


def refused(got, code, reason, message=None):
    """Asserts that the answer is this Status; message may be a regular expression."""
    body = got.json()
    assert (got.status, body.get("kind"), body.get("reason")) == (code, "Status", reason), (got.status, body)
    assert body["code"] == code and body["status"] == "Failure"
    if message is not None:
        assert body["message"] == message or re.fullmatch(message, body["message"]), body["message"]
    return body


def warnings(got):
    return [value for key, value in got.headers.items() if key.lower() == "warning"]


# --- create, get, update ---------------------------------------------------------------------------------------------

def test_create_fills_in_metadata(space):
    got = space.server.request("POST", space.cm(), config_map("a", {"x": "y"}, k="v"))
    obj = got.json()
    meta = obj["metadata"]
    assert got.status == 201 and (obj["kind"], obj["apiVersion"], obj["data"]) == ("ConfigMap", "v1", {"k": "v"})
    assert meta["name"] == "a" and meta["namespace"] == space.name and meta["labels"] == {"x": "y"}
    assert re.fullmatch(r"[0-9a-f-]{36}", meta["uid"]) and meta["resourceVersion"].isdigit()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", meta["creationTimestamp"])
    assert "generation" not in meta
    again = space.server.get(space.cm("a"))
    assert again["metadata"]["uid"] == meta["uid"] and again["metadata"]["resourceVersion"] == meta["resourceVersion"]


def test_errors_of_create(space):
    server = space.server
    server.create(space.cm(), config_map("a"))
    refused(server.request("POST", space.cm(), config_map("a")), 409, "AlreadyExists", 'configmaps "a" already exists')
    refused(server.request("POST", space.cm(), config_map("")), 422, "Invalid",
            'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required')
    refused(server.request("POST", space.cm(), config_map("A_b")), 422, "Invalid",
            f'ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": {SUBDOMAIN}')
    long = "A" + "b" * 252
    refused(server.request("POST", space.cm(), config_map(long)), 422, "Invalid",
            f'ConfigMap "{long}" is invalid: metadata.name: Invalid value: "{long}": {SUBDOMAIN}')
    refused(server.request("POST", space.cm(), config_map("a" * 254)), 422, "Invalid",
            rf'ConfigMap "{"a" * 254}" is invalid: metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 (bytes|characters)')
    wrong = config_map("b")
    wrong["metadata"]["namespace"] = "other"
    refused(server.request("POST", space.cm(), wrong), 400, "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request")
    wrong = config_map("b", {"a b": "c"})
    refused(server.request("POST", space.cm(), wrong), 422, "Invalid",
            f'ConfigMap "b" is invalid: metadata.labels: Invalid value: "a b": name part {QUALIFIED}')
    refused(server.request("POST", space.cm(), config_map("b", {"a": "b c"})), 422, "Invalid",
            f'ConfigMap "b" is invalid: metadata.labels: Invalid value: "b c": {LABEL_VALUE}')
    refused(server.request("POST", space.cm(), config_map("b", {"A/" + "x" * 64: "b"})), 422, "Invalid",
            rf'ConfigMap "b" is invalid: \[metadata.labels: Invalid value: "A/{"x" * 64}": prefix part .*, metadata.labels: '
            rf'Invalid value: "A/{"x" * 64}": name part must be no more than 63 (bytes|characters)\]')
    wrong = config_map("b")
    wrong["metadata"]["finalizers"] = ["word"]
    refused(server.request("POST", space.cm(), wrong), 422, "Invalid",
            'ConfigMap "b" is invalid: metadata.finalizers[0]: Invalid value: "word": name is neither a standard '
            "finalizer name nor is it fully qualified")
    refused(server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "A.b"}}), 422, "Invalid",
            f'Namespace "A.b" is invalid: metadata.name: Invalid value: "A.b": {LABEL}')
    refused(server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}), 422, "Invalid",
            'Namespace "a.b" is invalid: metadata.name: Invalid value: "a.b": must not contain dots')
    refused(server.request("POST", space.path("services"), {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}), 422,
            "Invalid", r'Service "1a" is invalid: metadata.name: Invalid value: "1a": a DNS-1035 label must .*')
    refused(server.request("POST", space.cm(), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}), 400,
            "BadRequest")
    refused(server.request("POST", space.cm(), b"{"), 400, "BadRequest")


def test_errors_of_get(space):
    server = space.server
    body = refused(server.request("GET", space.cm("none")), 404, "NotFound", 'configmaps "none" not found')
    assert body["details"] == {"name": "none", "kind": "configmaps"}
    body = refused(server.request("GET", space.rt("none")), 404, "NotFound",
                   'routes.serving.knative.dev "none" not found')
    assert body["details"] == {"name": "none", "group": "serving.knative.dev", "kind": "routes"}
    refused(server.request("PUT", space.cm("none"), config_map("none")), 404, "NotFound")
    refused(server.request("PATCH", space.cm("none"), {}, MERGE_PATCH), 404, "NotFound")
    refused(server.request("DELETE", space.cm("none")), 404, "NotFound")
    assert server.request("GET", "/apis/none.example.com/v1/things").status == 404
    assert server.request("GET", space.path("things")).status == 404


def test_generated_names(space):
    obj = config_map("")
    obj["metadata"] = {"generateName": "gen-"}
    names = {space.server.create(space.cm(), obj)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(re.fullmatch(r"gen-[a-z0-9]{5}", name) for name in names)


def test_update_and_conflict(space):
    server = space.server
    first = server.create(space.cm(), config_map("a", None, k="1"))
    second = server.update(space.cm("a"), {**first, "data": {"k": "2"}})
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    refused(server.request("PUT", space.cm("a"), {**first, "data": {"k": "3"}}), 409, "Conflict",
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
            "the latest version and try again")
    # without a version: unconditional for Kubernetes' kinds, refused for custom ones
    assert server.update(space.cm("a"), config_map("a", None, k="4"))["data"] == {"k": "4"}
    server.create(space.pa(), autoscaler())
    refused(server.request("PUT", space.pa("a"), autoscaler()), 422, "Invalid",
            'podautoscalers.autoscaling.internal.knative.dev "a" is invalid: metadata.resourceVersion: Invalid value: '
            "0: must be specified for an update")
    # nothing changed: the version stays
    now = server.get(space.cm("a"))
    assert server.update(space.cm("a"), now)["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
    refused(server.request("PUT", space.cm("a"), config_map("b")), 400, "BadRequest",
            r"the name of the object \(b\) does not match the name on the URL \(a\)")
    other = {**now, "metadata": {**now["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    refused(server.request("PUT", space.cm("a"), other), 409, "Conflict")


def test_generation_counts_wishes(space):
    server = space.server
    obj = server.create(space.pa(), autoscaler())
    assert obj["metadata"]["generation"] == 1
    obj = server.request("PATCH", space.pa("a"), {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH).json()
    assert obj["metadata"]["generation"] == 1
    obj = server.request("PATCH", space.pa("a"), {"spec": {"reachability": "Reachable"}}, MERGE_PATCH).json()
    assert obj["metadata"]["generation"] == 2
    obj = server.request("PATCH", space.pa("a", "status"), {"status": {"desiredScale": 3}, "spec": {"reachability": ""}},
                         MERGE_PATCH).json()
    assert obj["metadata"]["generation"] == 2 and obj["status"] == {"desiredScale": 3}
    assert obj["spec"]["reachability"] == "Reachable"
    obj = server.request("PATCH", space.pa("a"), {"status": {"desiredScale": 4}}, MERGE_PATCH).json()
    assert obj["status"] == {"desiredScale": 3}


# --- patches ---------------------------------------------------------------------------------------------------------

def test_patch_formats(space):
    server = space.server
    server.create(space.cm(), config_map("a", None, k="1", l="2"))
    patch = server.request
    assert patch("PATCH", space.cm("a"), {"data": {"k": None, "m": "3"}}, MERGE_PATCH).json()["data"] == \
        {"l": "2", "m": "3"}
    assert patch("PATCH", space.cm("a"), [{"op": "replace", "path": "/data/l", "value": "5"},
                                          {"op": "remove", "path": "/data/m"}], JSON_PATCH).json()["data"] == {"l": "5"}
    assert patch("PATCH", space.cm("a"), {"data": {"n": "6"}}, STRATEGIC_PATCH).json()["data"] == {"l": "5", "n": "6"}
    refused(patch("PATCH", space.cm("a"), [{"op": "test", "path": "/data/l", "value": "x"}], JSON_PATCH), 422, "Invalid",
            "the server rejected our request due to an error in our request.*")
    refused(patch("PATCH", space.cm("a"), [{"op": "remove", "path": "/data/none"}], JSON_PATCH), 422, "Invalid")
    refused(patch("PATCH", space.cm("a"), b"{", MERGE_PATCH), 400, "BadRequest")
    refused(patch("PATCH", space.cm("a"), {}, "application/nonsense"), 415, "UnsupportedMediaType")
    server.create(space.pa(), autoscaler())
    refused(patch("PATCH", space.pa("a"), {}, STRATEGIC_PATCH), 415, "UnsupportedMediaType")
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"k": "9"}}
    refused(patch("PATCH", space.cm("a"), stale, MERGE_PATCH), 409, "Conflict")


# --- defaults and rules of Kubernetes' own kinds -----------------------------------------------------------------------

ADDRESSES = ("clusterIP", "clusterIPs", "nodePort")  # on a cluster only


def core_service(name="a", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("given, filled", [
    ({}, {"internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "type": "ClusterIP"}),
    ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
                            "ipFamilyPolicy": "SingleStack"}),
    ({"type": "LoadBalancer"}, {"allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster",
                                "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
    ({"type": "ExternalName", "externalName": "a.example.com"}, {}),
    ({"clusterIP": "None", "selector": {"a": "b"}}, {"internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
                                                     "ipFamilyPolicy": "SingleStack", "type": "ClusterIP"}),
    ({"sessionAffinity": "ClientIP"}, {"internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                                       "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}, "type": "ClusterIP"}),
])
def test_defaults_of_services(space, given, filled):
    got = space.server.create(space.path("services"), core_service(ports=[{"port": 80}], **given))
    spec = {k: v for k, v in got["spec"].items() if k not in ADDRESSES}
    spec["ports"] = [{k: v for k, v in port.items() if k not in ADDRESSES} for port in spec["ports"]]
    assert spec == {"sessionAffinity": "None", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                    **{k: v for k, v in given.items() if k not in ADDRESSES}, **filled}
    assert got["status"] == {"loadBalancer": {}}


@pytest.mark.parametrize("spec, wrong", [
    ({}, ["spec.ports: Required value"]),
    ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
    ({"type": "Nope", "ports": [{"port": 0}]},
     ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
      "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
      'spec.type: Unsupported value: "Nope": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    ({"ports": [{"port": 80}, {"port": 81}]}, ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]),
    ({"ports": [{"port": 80, "protocol": "FOO", "name": "A_"}]},
     [f'spec.ports[0].name: Invalid value: "A_": {LABEL}',
      'spec.ports[0].protocol: Unsupported value: "FOO": supported values: "SCTP", "TCP", "UDP"']),
])
def test_rules_of_services(space, spec, wrong):
    text = wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
    body = refused(space.server.request("POST", space.path("services"), core_service(**spec)), 422, "Invalid",
                   f'Service "a" is invalid: {text}')
    assert [f"{c['field']}: {c['message']}" for c in body["details"]["causes"]] == wrong


KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " \
    "regex used for validation is '[-._a-zA-Z0-9]+')"


def test_rules_of_config_maps_and_secrets(space):
    server = space.server
    for kind, path in (("ConfigMap", space.cm()), ("Secret", space.path("secrets"))):
        def bad(message, how=server.request, verb="POST", at=path, name="a", what=kind, **content):
            refused(how(verb, at, {"apiVersion": "v1", "kind": what, "metadata": {"name": name}, **content}), 422, "Invalid",
                    f'{what} "{name}" is invalid: {message}')

        bad(f'data[a b]: Invalid value: "a b": {KEY}', data={"a b": "dg=="})
        bad("data[..]: Invalid value: \"..\": must not be '..'", data={"..": "dg=="})
        made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "fixed"}, "immutable": True, "data": {"x": "dg=="}}
        server.create(path, made)
        locked = "Forbidden: field is immutable when `immutable` is set"
        bad(f"data: {locked}", verb="PUT", at=f"{path}/fixed", name="fixed", immutable=True, data={"x": "dg1="})
        bad(f"immutable: {locked}", verb="PUT", at=f"{path}/fixed", name="fixed", data={"x": "dg=="})
        assert server.update(f"{path}/fixed", {**made, "metadata": {"name": "fixed", "labels": {"a": "b"}}})["immutable"]
    bad('data[a]: Invalid value: "a": duplicate of key present in binaryData', at=space.cm(), what="ConfigMap", data={"a": "v"},
        binaryData={"a": "dg=="})
    bad("[]: Too long: may not be more than 1048576 bytes", at=space.cm(), what="ConfigMap", data={"x": "y" * 1100000})
    bad("[data[tls.crt]: Required value, data[tls.key]: Required value]", type="kubernetes.io/tls")
    bad("data[ssh-privatekey]: Required value", type="kubernetes.io/ssh-auth")
    bad("data[.dockerconfigjson]: Required value", type="kubernetes.io/dockerconfigjson")
    assert server.create(space.path("secrets"), {"metadata": {"name": "s"}, "stringData": {"k": "v"}})["type"] == "Opaque"
    bad('type: Invalid value: "other": field is immutable', verb="PUT", at=space.path("secrets", "s"), name="s", type="other",
        data={"k": "dg=="})


def test_rules_of_deployments(space):
    path = space.path("deployments", "", "apps/v1")

    def deployment(selector, labels):
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
            "replicas": 0, "selector": selector, "template": {"metadata": {"labels": labels},
                                                              "spec": {"containers": [{"name": "c", "image": "i"}]}}}}

    head = 'Deployment.apps "d" is invalid: '
    mismatch = "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"
    refused(space.server.request("POST", path, deployment(None, None)), 422, "Invalid",
            f"{head}[spec.selector: Required value, {mismatch.format('null')}]")
    refused(space.server.request("POST", path, deployment({"matchLabels": {"a": "b"}}, {"a": "c"})), 422, "Invalid",
            head + mismatch.format('{"a":"c"}'))


def test_custom_objects_say_what_they_are(space):
    server, path = space.server, space.pa()
    body = b'{"metadata": {"name": "a"}, "spec": {}}'
    refused(server.request("POST", path, body), 400, "BadRequest",
            "the object provided is unrecognized (must be of type PodAutoscaler): Object 'Kind' is missing in "
            f"'{body.decode()}' ({body[:30].decode()} ...)")
    refused(server.request("POST", path, {**autoscaler(), "apiVersion": ""}), 400, "BadRequest",
            "the API version in the data () does not match the expected API version (autoscaling.internal.knative.dev/v1alpha1)")
    refused(server.request("POST", path, {**autoscaler(), "kind": "Nope"}), 422, "Invalid",
            'Nope.autoscaling.internal.knative.dev "a" is invalid: kind: Invalid value: "Nope": must be PodAutoscaler')
    made = server.create(path, autoscaler())
    del made["kind"]
    refused(server.request("PUT", space.pa("a"), made), 400, "BadRequest", r"the object provided is unrecognized .*")


# --- fieldValidation and types ---------------------------------------------------------------------------------------

CASES = [
    # object, names that are unknown, what is left
    (lambda: route(foo=1), ['spec.traffic[0].foo'], lambda o: "foo" not in o["spec"]["traffic"][0]),
    (lambda: {**route(), "other": 1}, ["other"], lambda o: "other" not in o),
    (lambda: autoscaler(a=1, b={"c": 1}), ["spec.a", "spec.b"], lambda o: "a" not in o["spec"] and "b" not in o["spec"]),
    (lambda: revision(lifecycle={}, stdin=True), ["spec.containers[0].lifecycle", "spec.containers[0].stdin"],
     lambda o: "stdin" not in o["spec"]["containers"][0]),
    (lambda: {**autoscaler(), "metadata": {"name": "a", "foo": "b"}}, ["metadata.foo"],
     lambda o: "foo" not in o["metadata"]),
    (lambda: {**config_map("a"), "dat": {}}, ["dat"], lambda o: "dat" not in o),
    (lambda: {**config_map("a"), "metadata": {"name": "a", "foo": "b"}}, ["metadata.foo"],
     lambda o: "foo" not in o["metadata"]),
    (lambda: {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
              "spec": {"type": "ExternalName", "externalName": "a.b", "x": 1, "ports": [{"port": 1, "y": 2}]}},
     ["spec.ports[0].y", "spec.x"], lambda o: "x" not in o["spec"]),
]


def collection(space, obj):
    plural = {"Route": "routes", "PodAutoscaler": "podautoscalers", "Revision": "revisions", "ConfigMap": "configmaps",
              "Service": "services", "Secret": "secrets", "Deployment": "deployments",
              "DomainMapping": "domainmappings"}[obj["kind"]]
    return space.path(plural, "", "" if obj["apiVersion"] == "v1" else obj["apiVersion"])


@pytest.mark.parametrize("case", range(len(CASES)))
def test_unknown_fields(space, case):
    make, names, pruned = CASES[case]
    server, obj = space.server, make()
    path = collection(space, obj)
    kind, version = obj["kind"], obj["apiVersion"].rpartition("/")[2]
    body = refused(server.request("POST", path + "?fieldValidation=Strict", obj), 400, "BadRequest")
    head = f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: '
    assert body["message"].startswith(head)
    assert sorted(body["message"].removeprefix(head).split(", ")) == [f'unknown field "{name}"' for name in names]
    got = server.request("POST", path + "?fieldValidation=Ignore&dryRun=All", obj)
    assert got.status == 201 and pruned(got.json()) and warnings(got) == []
    got = server.request("POST", path, obj)
    assert got.status == 201 and pruned(got.json())
    assert sorted(warnings(got)) == [f'299 - "unknown field \\"{name}\\""' for name in names]


def test_unknown_fields_in_updates(space):
    server = space.server
    obj = server.create(space.pa(), autoscaler())
    obj["spec"]["foo"] = 1
    refused(server.request("PUT", space.pa("a") + "?fieldValidation=Strict", obj), 400, "BadRequest",
            'PodAutoscaler in version "v1alpha1" cannot be handled as a PodAutoscaler: strict decoding error: unknown '
            'field "spec.foo"')
    got = server.request("PUT", space.pa("a"), obj)
    assert got.status == 200 and warnings(got) == ['299 - "unknown field \\"spec.foo\\""']
    for patch, kind in (({"spec": {"foo": 1}}, MERGE_PATCH),
                        ([{"op": "add", "path": "/spec/foo", "value": 1}], JSON_PATCH)):
        got = server.request("PATCH", space.pa("a"), patch, kind)
        assert got.status == 200 and "foo" not in got.json()["spec"]
        assert warnings(got) == ['299 - "unknown field \\"spec.foo\\""']
        body = refused(server.request("PATCH", space.pa("a") + "?fieldValidation=Strict", patch, kind), 422, "Invalid")
        assert body["message"].startswith(' "" is invalid: patch: Invalid value: "{')
        assert body["message"].endswith('}": strict decoding error: unknown field "spec.foo"')


def test_fields_that_stand_twice(space):
    server = space.server
    text = (b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1"},"data":{"k":"2"}}')
    refused(server.request("POST", space.cm() + "?fieldValidation=Strict", text), 400, "BadRequest",
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data"')
    got = server.request("POST", space.cm(), text)
    assert got.status == 201 and warnings(got) == ['299 - "duplicate field \\"data\\""']
    assert got.json()["data"]["k"] == "2"
    twice = json.dumps(autoscaler()).replace('"protocolType": "http1"',
                                             '"protocolType": "x", "protocolType": "http1", "y": 1').encode()
    refused(server.request("POST", space.pa() + "?fieldValidation=Strict", twice), 400, "BadRequest",
            'PodAutoscaler in version "v1alpha1" cannot be handled as a PodAutoscaler: strict decoding error: duplicate '
            'field "spec.protocolType", unknown field "spec.y"')


def test_fieldvalidation_itself_is_checked(space):
    refused(space.server.request("POST", space.cm() + "?fieldValidation=Often", config_map("a")), 422, "Invalid",
            re.escape('CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Often": supported '
                      'values: "", "Ignore", "Strict", "Warn"'))


WRONG = [
    (lambda: route(percent="x"), 422, "Invalid",
     'Route.serving.knative.dev "r" is invalid: spec.traffic[0].percent: Invalid value: "string": '
     'spec.traffic[0].percent in body must be of type integer: "string"'),
    (lambda: {**route(), "spec": {"traffic": {}}}, 422, "Invalid",
     'Route.serving.knative.dev "r" is invalid: spec.traffic: Invalid value: "object": spec.traffic in body must be of '
     'type array: "object"'),
    (lambda: {**route(), "spec": []}, 422, "Invalid",
     'Route.serving.knative.dev "r" is invalid: spec: Invalid value: "array": spec in body must be of type object: '
     '"array"'),
    (lambda: autoscaler(containerConcurrency=True), 422, "Invalid",
     'PodAutoscaler.autoscaling.internal.knative.dev "a" is invalid: spec.containerConcurrency: Invalid value: "boolean": '
     'spec.containerConcurrency in body must be of type integer: "boolean"'),
    (lambda: autoscaler(containerConcurrency=1.5), 422, "Invalid",
     'PodAutoscaler.autoscaling.internal.knative.dev "a" is invalid: spec.containerConcurrency: Invalid value: "number": '
     'spec.containerConcurrency in body must be of type integer: "number"'),
    (lambda: autoscaler(protocolType=None), 422, "Invalid",
     'PodAutoscaler.autoscaling.internal.knative.dev "a" is invalid: spec.protocolType: Required value'),
    (lambda: {**autoscaler(), "spec": {"protocolType": "http1"}}, 422, "Invalid",
     'PodAutoscaler.autoscaling.internal.knative.dev "a" is invalid: spec.scaleTargetRef: Required value'),
    (lambda: revision(env=[{"name": "A", "value": 1}]), 422, "Invalid",
     'Revision.serving.knative.dev "x-00001" is invalid: spec.containers[0].env[0].value: Invalid value: "integer": '
     'spec.containers[0].env[0].value in body must be of type string: "integer"'),
    (lambda: revision(env=[{"name": "A"}, {"name": "A"}]), 422, "Invalid",
     'Revision.serving.knative.dev "x-00001" is invalid: spec.containers[0].env[1]: Duplicate value: {"name":"A"}'),
    (lambda: revision(resources={"limits": {"cpu": "abc"}}), 422, "Invalid", None),
    (lambda: revision(resources={"limits": {"cpu": True}}), 422, "Invalid", None),
    (lambda: revision(volumeMounts=[{"mountPath": "/x"}]), 422, "Invalid",
     'Revision.serving.knative.dev "x-00001" is invalid: spec.containers[0].volumeMounts[0].name: Required value'),
    (lambda: {**config_map("a"), "data": {"k": 1}}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field '
     "ConfigMap.data of type string"),
    (lambda: {**config_map("a"), "data": []}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field '
     "ConfigMap.data of type map[string]string"),
    (lambda: {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "%%%%"}}, 400, "BadRequest",
     'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'),
    (lambda: {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": "3"}}, 400,
     "BadRequest", 'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go '
     "struct field DeploymentSpec.spec.replicas of type int32"),
    (lambda: {**config_map("a"), "metadata": {"name": "a", "labels": {"a": 1}}}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field '
     "ObjectMeta.metadata.labels of type string"),
    (lambda: {**autoscaler(), "metadata": {"name": "a", "labels": {"a": 1}}}, 400, "BadRequest",
     'PodAutoscaler in version "v1alpha1" cannot be handled as a PodAutoscaler: json: cannot unmarshal number into Go '
     "struct field ObjectMeta.labels of type string"),
    (lambda: {**config_map("a"), "metadata": "x"}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal string into Go struct field '
     "ConfigMap.metadata of type v1.ObjectMeta"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_types(space, case):
    make, code, reason, message = WRONG[case]
    obj = make()
    got = space.server.request("POST", collection(space, obj), obj)
    body = refused(got, code, reason, None if message is None else re.escape(message))
    if code == 422 and message is not None:
        [cause] = body["details"]["causes"]
        assert message.endswith(f" is invalid: {cause['field']}: {cause['message']}")
        assert cause["reason"] == ("FieldValueRequired" if "Required" in message else
                                   "FieldValueDuplicate" if "Duplicate" in message else "FieldValueTypeInvalid")


def test_every_wrong_type_is_told(space):
    space.server.create(space.pa(), autoscaler())
    body = refused(space.server.request("PATCH", space.pa("a"), {"spec": {"containerConcurrency": "x", "reachability": 5}},
                                        MERGE_PATCH), 422, "Invalid")
    assert {cause["field"] for cause in body["details"]["causes"]} == {"spec.containerConcurrency", "spec.reachability"}
    assert ": [spec." in body["message"] and body["message"].endswith("]")


def test_defaults_and_nulls_of_schemas(space):
    server = space.server
    obj = revision(ports=[{"containerPort": 8080}],
                   env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
                   volumeMounts=[{"name": "v", "mountPath": "/v"}])
    obj["spec"]["serviceAccountName"] = None
    obj["spec"]["volumes"] = [{"name": "v", "emptyDir": {"any": {"thing": [1]}}}]
    kept = server.create(space.rev(), obj)["spec"]
    assert kept["containers"][0]["ports"][0]["protocol"] == "TCP"
    assert kept["volumes"][0]["emptyDir"] == {"any": {"thing": [1]}} and kept.get("serviceAccountName") is None


# --- lists -----------------------------------------------------------------------------------------------------------

def names_of(server, path, **query):
    return sorted(item["metadata"]["name"] for item in server.list(path, **query))


def test_selectors(space):
    server = space.server
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": "1"}), ("c", {})):
        server.create(space.cm(), config_map(name, labels))

    def found(selector):
        return [n for n in names_of(server, space.cm(), labelSelector=selector) if n in "abc"]

    assert found("x=1") == ["a"] and found("x") == ["a", "b"] and found("!x") == ["c"]
    assert found("x in (1,2),y") == ["b"] and found("x!=1") == ["b", "c"] and found("x notin (1)") == ["b", "c"]
    assert names_of(server, space.cm(), fieldSelector="metadata.name=b") == ["b"]
    assert [n for n in names_of(server, space.cm(), fieldSelector="metadata.name!=b") if n in "abc"] == ["a", "c"]
    refused(server.request("GET", space.cm(), labelSelector="x=(("), 400, "BadRequest")
    refused(server.request("GET", space.cm(), fieldSelector="data.k=1"), 400, "BadRequest",
            '"data.k" is not a known field selector: only "metadata.name", "metadata.namespace"')


def test_lists_come_in_pieces(space):
    server = space.server
    for i in range(5):
        server.create(space.pa(), autoscaler(f"a{i}"))
    seen, token = [], ""
    for size in (2, 2, 1):
        page = server.ok("GET", space.pa(), limit=2, **({"continue": token} if token else {}))
        assert page["kind"] == "PodAutoscalerList" and len(page["items"]) == size
        seen += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        assert bool(token) == (len(seen) < 5)
        if token:
            assert page["metadata"]["remainingItemCount"] == 5 - len(seen)
    assert seen == [f"a{i}" for i in range(5)] and page["metadata"]["resourceVersion"].isdigit()
    refused(server.request("GET", space.pa(), **{"limit": 2, "continue": "nonsense"}), 400, "BadRequest")


def test_tables(space):
    server = space.server
    server.create(space.pa(), autoscaler())
    got = server.request("GET", space.pa(), accept=TABLE).json()
    assert (got["kind"], got["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in got["columnDefinitions"]]
    assert [c.lower() for c in columns] == ["name", "desiredscale", "actualscale", "ready", "reason", "lastchange", "rule"]
    assert got["rows"][0]["cells"] == ["a", None, None, None, None] or got["rows"][0]["cells"][0] == "a"
    assert got["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert "object" not in server.request("GET", space.pa() + "?includeObject=None", accept=TABLE).json()["rows"][0] or \
        server.request("GET", space.pa() + "?includeObject=None", accept=TABLE).json()["rows"][0]["object"] is None
    one = server.request("GET", space.pa("a"), accept=TABLE).json()
    assert one["kind"] == "Table" and len(one["rows"]) == 1
    full = server.request("GET", space.pa() + "?includeObject=Object", accept=TABLE).json()["rows"][0]["object"]
    assert full["kind"] == "PodAutoscaler" and full["spec"]["protocolType"] == "http1"


# --- deletes ---------------------------------------------------------------------------------------------------------

def test_delete_and_preconditions(space):
    server = space.server
    obj = server.create(space.cm(), config_map("a"))
    wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    refused(server.request("DELETE", space.cm("a"), wrong), 409, "Conflict",
            r'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition \(0000.*\) does not match the '
            r"UID in record \(.*\)\. The object might have been deleted and then recreated")
    got = server.ok("DELETE", space.cm("a"), {"preconditions": {"uid": obj["metadata"]["uid"]}})
    assert (got["kind"], got["status"]) == ("Status", "Success")
    assert got["details"] == {"name": "a", "kind": "configmaps", "uid": obj["metadata"]["uid"]}
    refused(server.request("GET", space.cm("a")), 404, "NotFound")


def test_delete_collection(space):
    server = space.server
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {"x": "2"})):
        server.create(space.cm(), config_map(name, labels))
    got = server.request("DELETE", space.cm(), labelSelector="x=1")
    assert got.status == 200
    assert [n for n in names_of(server, space.cm()) if n in "abc"] == ["c"]


def test_finalizers(space):
    server = space.server
    obj = config_map("a", None, k="1")
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    server.create(space.cm(), obj)
    gone = server.ok("DELETE", space.cm("a"))
    assert gone["kind"] == "ConfigMap" and gone["metadata"]["deletionTimestamp"]
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 0
    refused(server.request("PATCH", space.cm("a"), {"metadata": {"finalizers": ["example.com/wait", "example.com/new"]}},
                           MERGE_PATCH), 422, "Invalid", r'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no '
            r'new finalizers can be added if the object is being deleted, found new finalizers .*')
    server.ok("PATCH", space.cm("a"), {"metadata": {"finalizers": None}}, MERGE_PATCH)
    refused(server.request("GET", space.cm("a")), 404, "NotFound")


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_dependents(space, policy):
    server = space.server
    owner = server.create(space.cm(), config_map("owner"))
    child = config_map("child")
    child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
                                             "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}]
    server.create(space.cm(), child)
    server.ok("DELETE", space.cm("owner"), {"propagationPolicy": policy})
    wait_for(lambda: server.request("GET", space.cm("owner")).status == 404, 60, "the owner is gone")
    if policy == "Orphan":
        assert "ownerReferences" not in server.get(space.cm("child"))["metadata"]
    else:
        wait_for(lambda: server.request("GET", space.cm("child")).status == 404, 60, "the dependent is gone")


# --- dry run, subresources, watches ----------------------------------------------------------------------------------

def test_dry_run(space):
    server = space.server
    got = server.request("POST", space.cm() + "?dryRun=All", config_map("a", None, k="1"))
    assert got.status == 201 and got.json()["metadata"]["uid"]
    refused(server.request("GET", space.cm("a")), 404, "NotFound")
    server.create(space.cm(), config_map("a", None, k="1"))
    changed = server.request("PATCH", space.cm("a") + "?dryRun=All", {"data": {"k": "2"}}, MERGE_PATCH).json()
    assert changed["data"] == {"k": "2"} and server.get(space.cm("a"))["data"] == {"k": "1"}
    assert server.request("DELETE", space.cm("a") + "?dryRun=All").status == 200
    assert server.get(space.cm("a"))["data"] == {"k": "1"}
    refused(server.request("POST", space.cm() + "?dryRun=Some", config_map("b")), 422, "Invalid",
            re.escape('CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'))


def test_status_at_birth_and_by_put(space):
    server = space.server
    obj = server.create(space.pa(), {**autoscaler(), "status": {"desiredScale": 9}})
    assert "status" not in obj
    obj["status"] = {"actualScale": 1, "foo": 2}
    obj["spec"]["reachability"] = "Reachable"
    got = server.request("PUT", space.pa("a", "status"), obj)
    assert got.json()["status"] == {"actualScale": 1} and "reachability" not in got.json()["spec"]
    assert warnings(got) == ['299 - "unknown field \\"status.foo\\""']
    obj = got.json()
    obj["status"] = {"actualScale": "x"}
    refused(server.request("PUT", space.pa("a", "status"), obj), 422, "Invalid",
            'PodAutoscaler.autoscaling.internal.knative.dev "a" is invalid: status.actualScale: Invalid value: "string": '
            'actualScale in body must be of type integer: "string"')


def test_scale(space):
    server = space.server
    path = space.path("deployments", "", "apps/v1")
    server.create(path, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    scale = server.get(f"{path}/d/scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"].get("replicas", 0)) == ("Scale", "autoscaling/v1", 0)
    assert scale["status"]["selector"] == "a=b"
    server.ok("PATCH", f"{path}/d/scale", {"spec": {"replicas": 2}}, MERGE_PATCH)
    assert server.get(f"{path}/d")["spec"]["replicas"] == 2

    def to_zero():
        scale = server.get(f"{path}/d/scale")
        scale["spec"]["replicas"] = 0
        got = server.request("PUT", f"{path}/d/scale", scale)
        assert got.status in (200, 409), got  # 409: whoever makes the replicas wrote in between
        return got.status == 200 and got.json()

    assert wait_for(to_zero, 30, "the scale is written")["spec"].get("replicas", 0) == 0
    assert server.get(f"{path}/d")["metadata"]["generation"] == 3
    refused(server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": -1}}, MERGE_PATCH), 422, "Invalid")


def events(server, path, **query):
    got = server.request("GET", path, watch="true", timeoutSeconds=1, **query)
    assert got.status == 200, got.text
    return [json.loads(line) for line in got.text.splitlines()]


def test_watch(space):
    server = space.server
    before = server.ok("GET", space.pa())["metadata"]["resourceVersion"]
    server.create(space.pa(), autoscaler("a"))
    server.create(space.pa(), autoscaler("b"))
    server.request("PATCH", space.pa("a"), {"metadata": {"labels": {"x": "1"}}}, MERGE_PATCH)
    server.request("PATCH", space.pa("a"), {"metadata": {"labels": None}}, MERGE_PATCH)
    server.request("DELETE", space.pa("a"))

    def seen(**query):
        return [(e["type"], e["object"]["metadata"]["name"]) for e in
                events(server, space.pa(), resourceVersion=before, **query) if e["type"] != "BOOKMARK"]

    assert seen() == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert seen(fieldSelector="metadata.name=b") == [("ADDED", "b")]
    # an object enters and leaves what a selector selects
    assert seen(labelSelector="x=1") == [("ADDED", "a"), ("DELETED", "a")]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events(server, space.pa())] == [("ADDED", "b")]


def test_initial_events_end_with_a_bookmark(space):
    server = space.server
    server.create(space.pa(), autoscaler("a"))
    got = events(server, space.pa(), sendInitialEvents="true", allowWatchBookmarks="true",
                 resourceVersionMatch="NotOlderThan")
    assert [e["type"] for e in got[:2]] == ["ADDED", "BOOKMARK"]
    mark = got[1]["object"]
    assert mark["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
    assert mark["kind"] == "PodAutoscaler" and mark["metadata"]["resourceVersion"].isdigit()


# --- documents -------------------------------------------------------------------------------------------------------

def test_discovery_of_our_groups(server):
    groups = {g["name"]: g for g in server.get("/apis")["groups"]}
    assert sorted(v["version"] for v in groups["serving.knative.dev"]["versions"]) == ["v1", "v1beta1"]
    assert groups["serving.knative.dev"]["preferredVersion"]["version"] == "v1"
    rows = {r["name"]: r for r in server.get(f"/apis/{SERVING}")["resources"]}
    assert rows["services"]["kind"] == "Service" and sorted(rows["services"]["shortNames"]) == ["kservice", "ksvc"]
    assert rows["services"]["namespaced"] and rows["services/status"]["kind"] == "Service"
    assert set(rows["services"]["verbs"]) == {"create", "delete", "deletecollection", "get", "list", "patch", "update",
                                              "watch"}
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    got = server.request("GET", "/apis", accept=accept).json()
    found = {g["metadata"]["name"]: g for g in got["items"]}["serving.knative.dev"]["versions"]
    assert [v["version"] for v in found] == ["v1", "v1beta1"]
    service = {r["resource"]: r for r in found[0]["resources"]}["services"]
    assert service["responseKind"] == {"group": "serving.knative.dev", "version": "v1", "kind": "Service"}
    assert service["scope"] == "Namespaced" and service["singularResource"] == "service"
    assert [s["subresource"] for s in service["subresources"]] == ["status"]


def fields_of(document, kind, path):
    """The names of the fields at a path of a kind, references followed."""
    schemas = document["components"]["schemas"]
    at = next(s for s in schemas.values() if any(g["kind"] == kind for g in s.get("x-kubernetes-group-version-kind", [])))

    def follow(node):
        for part in node.get("allOf", []):
            node = {**node, **part}
        return schemas[node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    for step in path.split("."):
        at = follow(follow(at)["properties"][step])
        at = follow(at.get("items", at))
    return set(at["properties"])


def test_openapi(server):
    index = server.get("/openapi/v3")["paths"]
    for name in ("api/v1", "apis/apps/v1", f"apis/{SERVING}", "apis/serving.knative.dev/v1beta1"):
        assert re.match(rf"/openapi/v3/{name}\?hash=[0-9A-F]+$", index[name]["serverRelativeURL"])
    got = server.request("GET", index[f"apis/{SERVING}"]["serverRelativeURL"])
    assert got.status == 200
    document = got.json()
    assert {"image", "env", "readinessProbe"} <= fields_of(document, "Service", "spec.template.spec.containers")
    assert "lifecycle" not in fields_of(document, "Service", "spec.template.spec.containers")
    core = server.ok("GET", index["api/v1"]["serverRelativeURL"])
    assert {"lifecycle", "image"} <= fields_of(core, "Pod", "spec.containers")
    etag = next(value for key, value in got.headers.items() if key.lower() == "etag")
    again = server.request("GET", index[f"apis/{SERVING}"]["serverRelativeURL"], if_none_match=etag)
    assert again.status == 304
    v2 = server.get("/openapi/v2")
    assert any(g["kind"] == "Service" and g["group"] == "serving.knative.dev"
               for d in v2["definitions"].values() for g in d.get("x-kubernetes-group-version-kind", []))
