# SPDX-License-Identifier: Apache-2.0
"""The API server of one machine over HTTPS, on the real lull-local: verbs, errors, watches, restarts."""
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import ssl
import stat
import subprocess
import threading
import time

import pytest
from conftest import binary, free_ports
from lull_client import Api, http_request, wait_for

pytestmark = pytest.mark.quick
KSVC = "/apis/serving.knative.dev/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


class Local:
    """One lull-local without a node agent."""

    def __init__(self, home, *more):
        self.home, self.more = home, more
        self.port = free_ports(1)[0]
        self.process = None
        self.start()

    def start(self, *more):
        self.log = open(self.home / "log", "ab")
        self.process = subprocess.Popen(
            [binary("lull-local"), "--home", self.home, "--api-listen", f"127.0.0.1:{self.port}", *self.more, *more],
            stderr=self.log, stdin=subprocess.DEVNULL)
        insecure = ssl._create_unverified_context()

        def ready():
            assert self.process.poll() is None, (self.home / "log").read_text()
            with contextlib.suppress(OSError):
                return http_request(f"https://127.0.0.1:{self.port}/readyz", context=insecure).status == 200

        wait_for(ready, 20, "lull-local is ready")
        self.api = Api(self.home / "kubeconfig")
        return self

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        code = self.process.wait(timeout=20)
        self.log.close()
        return code


@contextlib.contextmanager
def ends_well(it):
    """What still runs at the end of a test ends as it should."""
    yield it
    if it.process.poll() is None:
        assert it.kill(signal.SIGTERM) == 0, (it.home / "log").read_text()


@pytest.fixture
def local(home):
    with ends_well(Local(home)) as it:
        yield it


@pytest.fixture
def api(local):
    return local.api


def ksvc(name, **env):
    container = {"image": "dev.local/hello@sha256:" + "0" * 64, "env": [{"name": k, "value": v} for k, v in env.items()]}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"template": {"spec": {"containers": [container]}}}}


def deployment(name, replicas=0):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"containers": [{"name": "c", "image": "x"}]}}}}


def configmap(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}, "data": {"a": "b"}}


def status(response, code, reason):
    body = response.json()
    assert (response.status, body["kind"], body["status"], body["code"], body["reason"]) == \
        (code, "Status", "Failure", code, reason), response
    return body


class Watch:
    """A watch on its own connection; `next` gives one event."""

    def __init__(self, api, path, **query):
        query = "&".join(f"{k}={v}" for k, v in {"watch": "true", **query}.items())
        host, port = api.server.removeprefix("https://").split(":")
        self.conn = http.client.HTTPSConnection(host, int(port), timeout=20, context=api.context)
        self.conn.request("GET", f"{path}?{query}", headers={"Authorization": f"Bearer {api.token}"})
        self.response = self.conn.getresponse()

    def next(self):
        line = self.response.readline()
        return json.loads(line) if line else None

    def names(self, n):
        events = [self.next() for _ in range(n)]
        return [(e["type"], e["object"]["metadata"]["name"]) for e in events]

    def close(self):
        self.conn.close()


# --- who may ask, and what is there ------------------------------------------------------------------------------


def test_secrets_are_private_and_the_token_is_asked_for(local, api):
    for name in ("kubeconfig", "token", "pki/ca.key", "pki/server.key", "lull.db"):
        assert stat.S_IMODE(os.stat(local.home / name).st_mode) == 0o600, name
    url = f"{api.server}/api/v1/namespaces"
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {api.token}x"},
                    {"Authorization": f"Bearer {api.token[:-1]}"}, {"Authorization": f"Basic {api.token}"}):
        status(http_request(url, headers=headers, context=api.context), 401, "Unauthorized")
    assert http_request(url, headers={"Authorization": f"Bearer {api.token}"}, context=api.context).status == 200


def test_discovery(api):
    assert api.get("/api")["versions"] == ["v1"]
    assert {g["name"] for g in api.get("/apis")["groups"]} == \
        {"serving.knative.dev", "eventing.knative.dev", "sources.knative.dev", "sources.lull.dev", "networking.internal.knative.dev", "autoscaling.internal.knative.dev", "apps",
         "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "metrics.k8s.io"}
    resources = {r["name"]: r for r in api.get("/apis/serving.knative.dev/v1")["resources"]}
    assert resources["services"]["shortNames"] == ["kservice", "ksvc"]
    assert resources["services"]["categories"] == ["all", "knative", "serving"]
    assert "services/status" in resources
    assert {"deployments", "deployments/status", "deployments/scale"} == \
        {r["name"] for r in api.get("/apis/apps/v1")["resources"]}
    assert "pods/log" in {r["name"] for r in api.get("/api/v1")["resources"]}
    assert api.get("/version")["major"] == "1"
    status(api.request("GET", "/apis/nope.example/v1"), 404, "NotFound")
    status(api.request("GET", "/api/v1/nope"), 404, "NotFound")
    assert "apis/serving.knative.dev/v1" in api.get("/openapi/v3")["paths"]


def test_the_first_objects(api):
    assert {o["metadata"]["name"] for o in api.list("/api/v1/namespaces")} == {"default", "lull-system"}
    maps = {o["metadata"]["name"]: o for o in api.list("/api/v1/namespaces/lull-system/configmaps")}
    assert set(maps) == {f"config-{x}" for x in ("autoscaler", "defaults", "network", "domain", "features", "gc",
                                                 "deployment", "observability")}
    assert maps["config-network"]["data"]["external-port"] == "8080"
    assert maps["config-domain"]["data"] == {"localhost": ""}


# --- verbs -------------------------------------------------------------------------------------------------------


def test_create_get_update_delete(api):
    made = api.create(KSVC, ksvc("a"))
    meta = made["metadata"]
    assert meta["uid"] and meta["resourceVersion"] and meta["creationTimestamp"] and meta["generation"] == 1
    assert made["spec"]["template"]["spec"]["timeoutSeconds"] == 300
    assert api.get(f"{KSVC}/a") == made
    body = status(api.request("POST", KSVC, ksvc("a")), 409, "AlreadyExists")
    assert body["message"] == 'services.serving.knative.dev "a" already exists'
    assert body["details"] == {"name": "a", "group": "serving.knative.dev", "kind": "services"}

    made["spec"]["template"]["spec"]["timeoutSeconds"] = 10
    made["status"] = {"url": "http://not-me"}
    updated = api.update(f"{KSVC}/a", made)
    assert updated["metadata"]["generation"] == 2 and "status" not in updated
    assert api.update(f"{KSVC}/a", updated)["metadata"]["resourceVersion"] == updated["metadata"]["resourceVersion"]
    body = status(api.request("PUT", f"{KSVC}/a", made), 409, "Conflict")
    assert body["message"] == (
        'Operation cannot be fulfilled on services.serving.knative.dev "a": the object has been modified; '
        'please apply your changes to the latest version and try again')
    del updated["metadata"]["resourceVersion"]
    status(api.request("PUT", f"{KSVC}/a", updated), 422, "Invalid")

    gone = api.delete(f"{KSVC}/a")
    assert (gone["status"], gone["details"]["uid"]) == ("Success", meta["uid"])
    body = status(api.request("GET", f"{KSVC}/a"), 404, "NotFound")
    assert body["message"] == 'services.serving.knative.dev "a" not found'
    status(api.request("DELETE", f"{KSVC}/a"), 404, "NotFound")


def test_status_and_spec_do_not_touch_each_other(api):
    made = api.create(KSVC, {**ksvc("a"), "status": {"url": "http://not-at-birth"}})
    assert "status" not in made
    made["status"] = {"url": "http://a", "observedGeneration": 1}
    made["spec"] = {}
    made["metadata"]["labels"] = {"x": "y"}
    got = api.update(f"{KSVC}/a/status", made)
    assert got["status"]["url"] == "http://a" and got["spec"] and "labels" not in got["metadata"]
    assert got["metadata"]["generation"] == 1
    got = api.patch(f"{KSVC}/a/status", {"status": {"url": None, "address": {"url": "http://b"}}})
    assert got["status"] == {"observedGeneration": 1, "address": {"url": "http://b"}}
    got = api.patch(f"{KSVC}/a", {"metadata": {"labels": {"x": "y"}}, "status": {"url": "no"}})
    assert got["status"] == {"observedGeneration": 1, "address": {"url": "http://b"}}
    assert got["metadata"]["generation"] == 1 and got["metadata"]["labels"] == {"x": "y"}
    assert got == api.get(f"{KSVC}/a/status")


def test_scale(api):
    api.create(DEPLOYMENTS, deployment("d"))
    api.patch(f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 2}})
    scale = api.get(f"{DEPLOYMENTS}/d/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 0} and scale["status"] == {"replicas": 2, "selector": "app=d"}
    got = api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}})
    assert got["spec"]["replicas"] == 3
    assert api.get(f"{DEPLOYMENTS}/d")["spec"]["replicas"] == 3
    assert api.get(f"{DEPLOYMENTS}/d")["metadata"]["generation"] == 2
    status(api.request("PUT", f"{DEPLOYMENTS}/d/scale", scale), 409, "Conflict")
    scale["metadata"]["resourceVersion"] = got["metadata"]["resourceVersion"]
    scale["spec"]["replicas"] = 1
    assert api.update(f"{DEPLOYMENTS}/d/scale", scale)["spec"]["replicas"] == 1
    for bad in (-1, 1.5, "3", 2**31):
        status(api.request("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": bad}},
                           "application/merge-patch+json"), 422, "Invalid")
    assert api.get(f"{DEPLOYMENTS}/d")["spec"]["replicas"] == 1


def test_patch_formats(api):
    api.create(CONFIGMAPS, configmap("c"))
    one = f"{CONFIGMAPS}/c"
    got = api.ok("PATCH", one, [{"op": "test", "path": "/data/a", "value": "b"},
                                {"op": "add", "path": "/data/n", "value": "1"},
                                {"op": "remove", "path": "/data/a"}], "application/json-patch+json")
    assert got["data"] == {"n": "1"}
    body = status(api.request("PATCH", one, [{"op": "test", "path": "/data/n", "value": "2"}],
                              "application/json-patch+json"), 422, "Invalid")
    assert body["message"].startswith("the server rejected our request due to an error in our request")
    got = api.ok("PATCH", one, {"data": {"m": "2"}}, "application/strategic-merge-patch+json")
    assert got["data"] == {"n": "1", "m": "2"}
    got = api.ok("PATCH", one, {"metadata": {"finalizers": ["x.y/z"]}, "data": {"$patch": "replace", "o": "3"}},
                 "application/strategic-merge-patch+json")
    assert got["data"] == {"o": "3"} and got["metadata"]["finalizers"] == ["x.y/z"]
    api.create(KSVC, ksvc("a"))
    body = status(api.request("PATCH", f"{KSVC}/a", {"metadata": {"labels": {"a": "b"}}},
                              "application/strategic-merge-patch+json"), 415, "UnsupportedMediaType")
    assert "--type=merge" in body["message"]
    status(api.request("PATCH", one, b"a: b", "application/apply-patch+yaml"), 415, "UnsupportedMediaType")
    status(api.request("PATCH", one, {"metadata": {"resourceVersion": "1"}}, "application/merge-patch+json"),
           409, "Conflict")


def test_a_dry_run_writes_nothing(api):
    version = api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    made = api.ok("POST", KSVC, ksvc("a"), dryRun="All")
    assert made["metadata"]["uid"] and made["spec"]["traffic"]
    assert api.request("GET", f"{KSVC}/a").status == 404
    got = api.ok("PATCH", "/api/v1/namespaces/lull-system/configmaps/config-gc", {"data": {"x": "y"}},
                 "application/merge-patch+json", dryRun="All")
    assert got["data"] == {"x": "y"}
    assert "x" not in api.get("/api/v1/namespaces/lull-system/configmaps/config-gc").get("data", {})
    api.ok("DELETE", "/api/v1/namespaces/lull-system/configmaps/config-gc", {"dryRun": ["All"]})
    api.get("/api/v1/namespaces/lull-system/configmaps/config-gc")
    bad = ksvc("a")
    bad["spec"]["template"]["spec"]["containers"] = []
    status(api.request("POST", KSVC, bad, dryRun="All"), 400, "BadRequest")
    body = status(api.request("POST", KSVC, ksvc("a"), dryRun="Some"), 422, "Invalid")
    assert body["details"]["kind"] == "CreateOptions" and body["details"]["causes"][0]["field"] == "dryRun"
    assert api.get(CONFIGMAPS)["metadata"]["resourceVersion"] == version


def test_names_and_namespaces(api):
    made = api.create(CONFIGMAPS, {"metadata": {"generateName": "gen-"}})
    assert made["metadata"]["name"].startswith("gen-") and len(made["metadata"]["name"]) == 9
    for name in ("UPPER", "a_b", "-a", "a..b", "a" * 254, "ü", ""):
        status(api.request("POST", CONFIGMAPS, {"metadata": {"name": name}}), 422, "Invalid")
    status(api.request("POST", CONFIGMAPS, {"metadata": {"name": "x", "namespace": "other"}}), 400, "BadRequest")
    body = status(api.request("POST", "/api/v1/namespaces/nope/configmaps", configmap("x")), 404, "NotFound")
    assert body["message"] == 'namespaces "nope" not found'
    status(api.request("POST", CONFIGMAPS, {"metadata": {"name": "x", "labels": {"a": 1}}}), 400, "BadRequest")
    status(api.request("POST", CONFIGMAPS, {"metadata": {"name": "x", "labels": {"a": "b c"}}}), 422, "Invalid")
    status(api.request("POST", CONFIGMAPS, {**configmap("x"), "kind": "Secret"}), 400, "BadRequest")
    status(api.request("POST", CONFIGMAPS, {"metadata": {"name": "x"}, "data": {"a": 1}}), 400, "BadRequest")


def test_a_namespace_takes_its_content_along(api):
    api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    for i in range(20):
        api.create("/api/v1/namespaces/n/configmaps", configmap(f"c{i}"))
    for name in ("default", "lull-system"):
        body = status(api.request("DELETE", f"/api/v1/namespaces/{name}"), 403, "Forbidden")
        assert body["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    got = api.delete("/api/v1/namespaces/n")
    assert got["status"] == {"phase": "Terminating"}
    wait_for(lambda: api.request("GET", "/api/v1/namespaces/n").status == 404, 5, "the namespace is gone")
    assert api.list("/api/v1/namespaces/n/configmaps") == []


def test_owned_objects_follow_their_owner(api):
    owner = api.create(KSVC, ksvc("owner"))["metadata"]
    reference = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "owner", "uid": owner["uid"]}
    api.create(CONFIGMAPS, configmap("owned", ownerReferences=[reference]))
    api.create(CONFIGMAPS, configmap("free"))
    api.delete(f"{KSVC}/owner")
    wait_for(lambda: api.request("GET", f"{CONFIGMAPS}/owned").status == 404, 5, "the owned object is gone")
    api.get(f"{CONFIGMAPS}/free")


def test_finalizers_hold_an_object(api):
    api.create(CONFIGMAPS, configmap("c", finalizers=["example.dev/x"]))
    got = api.delete(f"{CONFIGMAPS}/c")
    assert got["metadata"]["deletionTimestamp"]
    api.patch(f"{CONFIGMAPS}/c", {"metadata": {"finalizers": None}})
    assert api.request("GET", f"{CONFIGMAPS}/c").status == 404


def test_lists_select_and_page(api):
    for i in range(7):
        api.create(CONFIGMAPS, configmap(f"c{i}", labels={"n": str(i), "odd": str(i % 2)}))
    names = lambda **q: [o["metadata"]["name"] for o in api.list(CONFIGMAPS, **q)]  # noqa: E731
    assert names(labelSelector="odd=1") == ["c1", "c3", "c5"]
    assert names(labelSelector="n in (1,2),odd!=1") == ["c2"]
    assert names(labelSelector="!n") == []
    assert names(fieldSelector="metadata.name=c3") == ["c3"]
    status(api.request("GET", CONFIGMAPS, labelSelector="a=b=c"), 400, "BadRequest")
    status(api.request("GET", CONFIGMAPS, fieldSelector="data.a=b"), 400, "BadRequest")
    seen, token = [], None
    while token != "":
        got = api.ok("GET", CONFIGMAPS, limit=3, **({"continue": token} if token else {}))
        seen += [o["metadata"]["name"] for o in got["items"]]
        token = got["metadata"].get("continue", "")
    assert seen == [f"c{i}" for i in range(7)]
    everywhere = api.list("/api/v1/configmaps")
    assert len(everywhere) == 15
    assert api.get(CONFIGMAPS)["kind"] == "ConfigMapList"
    gone = api.ok("DELETE", CONFIGMAPS, labelSelector="odd=0")
    assert gone["kind"] == "ConfigMapList" and [o["metadata"]["name"] for o in gone["items"]] == ["c0", "c2", "c4", "c6"]
    assert names() == ["c1", "c3", "c5"]


def test_the_pages_of_a_list_are_of_one_moment(local, api):
    for i in range(6):
        api.create(CONFIGMAPS, configmap(f"c{i}", labels={"v": "1"}))
    first = api.ok("GET", CONFIGMAPS, limit=2)
    assert first["metadata"]["remainingItemCount"] == 4
    api.delete(f"{CONFIGMAPS}/c3")
    api.create(CONFIGMAPS, configmap("c25"))
    api.patch(f"{CONFIGMAPS}/c4", {"data": {"a": "new"}})
    rest = api.ok("GET", CONFIGMAPS, **{"continue": first["metadata"]["continue"]})
    assert [o["metadata"]["name"] for o in rest["items"]] == ["c2", "c3", "c4", "c5"]
    assert rest["items"][2]["data"] == {"a": "b"}
    version = first["metadata"]["resourceVersion"]
    assert rest["metadata"]["resourceVersion"] == version
    exact = api.ok("GET", CONFIGMAPS, resourceVersion=version, resourceVersionMatch="Exact")
    assert [o["metadata"]["name"] for o in exact["items"]] == [f"c{i}" for i in range(6)]
    assert [o["metadata"]["name"] for o in api.list(CONFIGMAPS)] == ["c0", "c1", "c2", "c25", "c4", "c5"]
    body = status(api.request("GET", CONFIGMAPS, resourceVersion="999999"), 504, "Timeout")
    assert body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    local.kill(signal.SIGTERM)  # the history is in memory
    local.start()
    local.api.create(CONFIGMAPS, configmap("later"))
    body = status(local.api.request("GET", CONFIGMAPS, **{"continue": first["metadata"]["continue"]}), 410, "Expired")
    assert body["message"].startswith("The provided continue parameter is too old to display a consistent list result.")
    rest = local.api.ok("GET", CONFIGMAPS, **{"continue": body["metadata"]["continue"]})
    assert [o["metadata"]["name"] for o in rest["items"]] == ["c2", "c25", "c4", "c5", "later"]


def test_only_metadata(api):
    api.create(CONFIGMAPS, configmap("c", labels={"x": "y"}))
    accept = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
    headers = {"Authorization": f"Bearer {api.token}"}
    got = http_request(f"{api.server}{CONFIGMAPS}/c", headers={**headers, "Accept": accept.format("")},
                       context=api.context).json()
    assert (got["kind"], got["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert got["metadata"]["labels"] == {"x": "y"} and "data" not in got
    all_ = http_request(f"{api.server}{CONFIGMAPS}", headers={**headers, "Accept": accept.format("List")},
                        context=api.context).json()
    assert all_["kind"] == "PartialObjectMetadataList" and all_["items"][0] == got


def test_reviews_of_oneself(api):
    access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    got = api.create(access, {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}})
    assert got["kind"] == "SelfSubjectAccessReview" and got["status"]["allowed"] is True
    status(api.request("POST", access, {"spec": {}}), 422, "Invalid")
    rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    got = api.create(rules, {"spec": {"namespace": "default"}})
    assert got["status"]["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    status(api.request("POST", rules, {"spec": {}}), 400, "BadRequest")
    got = api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert got["status"]["userInfo"]["username"] == "lull-admin"
    assert {r["name"] for r in api.get("/apis/authorization.k8s.io/v1")["resources"]} == \
        {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}
    status(api.request("GET", access), 405, "MethodNotAllowed")


def test_large_lists_are_streamed(api):
    big = {"metadata": {"name": ""}, "data": {"x": "y" * 200_000}}
    for i in range(20):
        api.create(CONFIGMAPS, {**big, "metadata": {"name": f"big{i:02}"}})
    assert [o["metadata"]["name"] for o in api.list(CONFIGMAPS)] == [f"big{i:02}" for i in range(20)]


def test_an_object_of_the_largest_size(api):
    big = {"metadata": {"name": "big"}, "data": {"x": "y" * (1 << 20)}}
    w = Watch(api, CONFIGMAPS, resourceVersion=api.get(CONFIGMAPS)["metadata"]["resourceVersion"])
    made = api.create(CONFIGMAPS, big)
    assert api.get(f"{CONFIGMAPS}/big") == made and api.list(CONFIGMAPS)[0]["data"] == big["data"]
    assert w.next()["object"]["data"] == big["data"]
    w.close()


def test_warnings_of_the_rules(api):
    service = ksvc("w")
    service["spec"]["template"]["metadata"] = {"annotations": {"queue.sidecar.serving.knative.dev/resource-percentage": "50"}}
    for fields in ("Strict", "Warn", "Ignore"):
        got = api.request("POST", KSVC, service, dryRun="All", fieldValidation=fields)
        assert got.status == 201 and [v for k, v in got.headers.items() if k.lower() == "warning"] == [
            '299 - "Queue proxy resource percentage annotation is deprecated. Please use the available annotations to explicitly '
            'set resource values per service: "']


def test_tables(api):
    api.create(KSVC, ksvc("a"))
    api.patch(f"{KSVC}/a/status", {"status": {"url": "http://a", "conditions": [
        {"type": "RoutesReady", "status": "False"}, {"type": "Ready", "status": "True"}]}})
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
              "Authorization": f"Bearer {api.token}"}
    table = http_request(api.server + KSVC, headers=accept, context=api.context).json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [c["name"] for c in table["columnDefinitions"]]
    row = dict(zip(columns, table["rows"][0]["cells"]))
    assert (row["Name"], row["URL"], row["Ready"], row["Reason"]) == ("a", "http://a", "True", None)
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


# --- watches -----------------------------------------------------------------------------------------------------


def test_a_watch_sees_changes_in_order_and_resumes(api):
    version = api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    live = Watch(api, CONFIGMAPS, resourceVersion=version)
    api.create(CONFIGMAPS, configmap("c"))
    api.patch(f"{CONFIGMAPS}/c", {"data": {"a": "2"}})
    api.create("/api/v1/namespaces/lull-system/configmaps", configmap("elsewhere"))
    api.delete(f"{CONFIGMAPS}/c")
    events = [live.next() for _ in range(3)]
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(set(versions)) and versions[0] > int(version)
    live.close()
    again = Watch(api, CONFIGMAPS, resourceVersion=versions[0])
    assert again.names(2) == [("MODIFIED", "c"), ("DELETED", "c")]
    again.close()


def test_a_watch_begins_with_what_is_there(api):
    api.create(CONFIGMAPS, configmap("a", labels={"x": "1"}))
    api.create(CONFIGMAPS, configmap("b"))
    w = Watch(api, CONFIGMAPS, labelSelector="x", allowWatchBookmarks="true", sendInitialEvents="true")
    assert w.names(1) == [("ADDED", "a")]
    mark = w.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    api.patch(f"{CONFIGMAPS}/b", {"metadata": {"labels": {"x": "2"}}})
    api.patch(f"{CONFIGMAPS}/a", {"metadata": {"labels": None}})
    assert w.names(2) == [("ADDED", "b"), ("DELETED", "a")]
    w.close()


def test_watches_end_and_expire(local, api):
    w = Watch(api, CONFIGMAPS, timeoutSeconds="1")
    assert w.next() is None
    version = api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    api.create(CONFIGMAPS, configmap("c"))
    local.kill(signal.SIGTERM)
    local.start()
    gone = Watch(local.api, CONFIGMAPS, resourceVersion=version).next()
    assert (gone["type"], gone["object"]["code"], gone["object"]["reason"]) == ("ERROR", 410, "Expired")
    future = Watch(local.api, CONFIGMAPS, resourceVersion="999999").next()
    assert (future["type"], future["object"]["code"]) == ("ERROR", 410)


def test_a_slow_watch_is_cut(api):
    made = api.create(CONFIGMAPS, {"metadata": {"name": "c"}})
    w = Watch(api, CONFIGMAPS, resourceVersion=made["metadata"]["resourceVersion"])
    for i in range(60):  # 60 × 1 MiB is more than history and sockets hold
        api.patch(f"{CONFIGMAPS}/c", {"data": {"x": f"{i:03}" + "y" * 1_000_000}})
    last = None
    while (event := w.next()) is not None:
        last = event
        if event["type"] == "ERROR":
            break
    assert (last["type"], last["object"]["code"]) == ("ERROR", 410)
    w.close()


def test_many_watches_see_every_change(api):
    made = api.create(CONFIGMAPS, {"metadata": {"name": "c"}})
    watches = [Watch(api, CONFIGMAPS, resourceVersion=made["metadata"]["resourceVersion"]) for _ in range(50)]
    wanted = [api.patch(f"{CONFIGMAPS}/c", {"data": {"n": str(i)}})["metadata"]["resourceVersion"]
              for i in range(100)]
    for w in watches:
        assert [w.next()["object"]["metadata"]["resourceVersion"] for _ in wanted] == wanted
        w.close()


# --- hostile input -----------------------------------------------------------------------------------------------


def test_bad_bodies(api):
    bad = [b"", b"{", b"[]", b"null", b'"x"',
           b'{"metadata":{"name":"x"},"data":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
           b'{"metadata":{"name":"x"},"data":{"a":"\xff\xfe"}}', b'{"metadata":"x"}', b'{"metadata":{"name":7}}x',
           b'\xef\xbb\xbf{"metadata":{"name":"x"}}', b'{"metadata":{"name":"x","ownerReferences":{}}}']
    for body in bad:
        got = api.request("POST", CONFIGMAPS, body)
        assert got.status in (400, 422) and got.json()["kind"] == "Status", (body[:80], got)
    status(api.request("POST", CONFIGMAPS + "?fieldValidation=Strict", b'{"metadata":{"name":"x"},"metadata":{"name":"y"}}'),
           400, "BadRequest")
    status(api.request("POST", CONFIGMAPS, {"metadata": {"name": "x"}, "data": {"a": "y" * 1_600_000}}),
           413, "RequestEntityTooLarge")
    status(api.request("POST", CONFIGMAPS, b"metadata: {name: x}", "application/yaml"), 415, "UnsupportedMediaType")
    assert api.list(CONFIGMAPS) == []
    for method, path in (("POST", f"{CONFIGMAPS}/x"), ("PUT", CONFIGMAPS), ("POST", "/api/v1/configmaps"),
                         ("DELETE", f"{DEPLOYMENTS}/x/scale")):
        assert api.request(method, path, {}).status in (404, 405)


def test_knatives_rules_refuse_with_its_words(api):
    bad = ksvc("a")
    bad["spec"]["template"]["spec"]["containers"] = []
    body = status(api.request("POST", KSVC, bad), 400, "BadRequest")
    assert body["message"].startswith('admission webhook "validation.webhook.serving.knative.dev" denied the request: '
                                      "validation failed: ")


def test_autoscaling_annotations_are_checked_by_the_settings_of_now(api):
    config = "/api/v1/namespaces/lull-system/configmaps/config-autoscaler"
    short = ksvc("a")
    short["spec"]["template"].setdefault("metadata", {})["annotations"] = {"autoscaling.knative.dev/window": "3s"}
    body = status(api.request("POST", KSVC, short), 400, "BadRequest")
    assert ("expected 6s <= 3s <= 1h0m0s: spec.template.metadata.annotations.autoscaling.knative.dev/window"
            in body["message"])
    api.patch(config, {"data": {"allow-unsafe-windows": "true"}})
    api.create(KSVC, short)
    body = status(api.request("PATCH", config, {"data": {"stable-window": "2h"}},
                              content_type="application/merge-patch+json"), 400, "BadRequest")
    assert "stable-window = 2h0m0s, must be in [1s; 1h0m0s] range" in body["message"]


# --- durability --------------------------------------------------------------------------------------------------


def test_a_restart_keeps_everything(local, api):
    api.create(KSVC, ksvc("a"))
    api.patch(f"{KSVC}/a/status", {"status": {"url": "http://a"}})
    api.create(CONFIGMAPS, configmap("gone"))
    api.delete(f"{CONFIGMAPS}/gone")
    before, version = api.get(f"{KSVC}/a"), int(api.get(CONFIGMAPS)["metadata"]["resourceVersion"])
    token = api.token
    assert local.kill(signal.SIGTERM) == 0
    local.start()
    assert local.api.token == token
    assert local.api.get(f"{KSVC}/a") == before
    assert local.api.request("GET", f"{CONFIGMAPS}/gone").status == 404
    assert int(local.api.create(CONFIGMAPS, configmap("new"))["metadata"]["resourceVersion"]) > version


class Writer(threading.Thread):
    """Creates and patches until the server dies; remembers what was acknowledged."""

    def __init__(self, api, number):
        super().__init__(daemon=True)
        self.api, self.number, self.acknowledged = api, number, {}

    def run(self):
        host, port = self.api.server.removeprefix("https://").split(":")
        conn = http.client.HTTPSConnection(host, int(port), timeout=20, context=self.api.context)
        headers = {"Authorization": f"Bearer {self.api.token}"}

        def send(method, path, body, content_type):
            conn.request(method, path, json.dumps(body), {**headers, "Content-Type": content_type})
            got = conn.getresponse()
            data = json.loads(got.read())
            assert got.status < 300, data
            return data

        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            for i in range(10_000):
                name = f"w{self.number}-{i % 20}"
                if i < 20:
                    made = send("POST", CONFIGMAPS, {**configmap(name), "data": {"n": str(i)}}, "application/json")
                else:
                    made = send("PATCH", f"{CONFIGMAPS}/{name}", {"data": {"n": str(i)}},
                                "application/merge-patch+json")
                self.acknowledged[name] = (made["metadata"]["uid"], i)


@pytest.mark.parametrize("round_", range(3))
def test_kill_under_writers_loses_nothing(local, round_):
    writers = [Writer(local.api, i) for i in range(10)]
    for w in writers:
        w.start()
    wait_for(lambda: sum(len(w.acknowledged) for w in writers) >= 100, 20, "the writers are under way")
    time.sleep(random.random() * 0.3)  # the moment of the kill, not a wait for something
    local.kill(signal.SIGKILL)
    for w in writers:
        w.join(timeout=20)
    local.start()
    there = {o["metadata"]["name"]: o for o in local.api.list(CONFIGMAPS)}
    total = 0
    for w in writers:
        for name, (uid, n) in w.acknowledged.items():
            assert there[name]["metadata"]["uid"] == uid
            assert int(there[name]["data"]["n"]) >= n, name
            total += 1
    assert total >= 100


def test_a_stop_under_load_is_clean(local):
    """SIGTERM while writes, watches and lists are under way: exit 0, and nothing acknowledged is lost."""
    for i in range(20):
        local.api.create(CONFIGMAPS, {"metadata": {"name": f"big{i:02}"}, "data": {"x": "y" * 200_000}})
    writers = [Writer(local.api, i) for i in range(8)]
    watches = [Watch(local.api, CONFIGMAPS) for _ in range(8)]
    for w in writers:
        w.start()
    wait_for(lambda: sum(len(w.acknowledged) for w in writers) >= 100, 20, "the writers are under way")
    assert local.kill(signal.SIGTERM) == 0, (local.home / "log").read_text()
    for w in writers:
        w.join(timeout=20)
    for w in watches:
        w.close()
    local.start()
    there = {o["metadata"]["name"]: o for o in local.api.list(CONFIGMAPS)}
    for w in writers:
        for name, (uid, n) in w.acknowledged.items():
            assert there[name]["metadata"]["uid"] == uid and int(there[name]["data"]["n"]) >= n, name


def start_badly(home, *more):
    got = subprocess.run([binary("lull-local"), "--home", home, "--api-listen", "127.0.0.1:0", *more],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
    assert got.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT), got
    return got.stderr


def test_a_bad_start_says_what_to_do(local, home, tmp_path):
    assert "in use" in start_badly(home) or "lock" in start_badly(home)
    other = tmp_path / "other"
    other.mkdir()
    assert f"127.0.0.1:{local.port}" in start_badly(other, "--api-listen", f"127.0.0.1:{local.port}")
    local.kill(signal.SIGTERM)
    (home / "lull.db").write_bytes(b"x" * 10_000)
    text = start_badly(home)
    assert "damaged" in text and "lull.db" in text and "empty state" in text
    file = tmp_path / "file"
    file.write_text("")
    text = start_badly(file / "home")
    assert str(file) in text and "choose one that this user can write" in text
    assert "loopback" in start_badly(tmp_path / "fresh", "--api-listen", "0.0.0.0:0")


def test_a_newer_database_is_refused(local, home):
    import sqlite3
    local.kill(signal.SIGTERM)
    with contextlib.closing(sqlite3.connect(home / "lull.db")) as db:
        db.execute("PRAGMA user_version=99")
    text = start_badly(home)
    assert "newer" in text and "schema 99" in text


def test_the_lifeline_ends_it(home):
    read, write = os.pipe()
    process = subprocess.Popen([binary("lull-local"), "--home", home, "--api-listen", "127.0.0.1:0"],
                               env={**os.environ, "LULL_LIFELINE_FD": str(read)}, pass_fds=[read],
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(read)
    try:
        wait_for((home / "kubeconfig").exists, 20, "it has started")
        assert process.poll() is None
        os.close(write)
        process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()


# --- latency -----------------------------------------------------------------------------------------------------


def test_machine_writes_are_fast(local, api):
    """A scale write is on the cold path. Printed; the bound here is generous for a busy machine."""
    api.create(DEPLOYMENTS, deployment("d"))
    host, port = api.server.removeprefix("https://").split(":")
    conn = http.client.HTTPSConnection(host, int(port), timeout=20, context=api.context)
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/merge-patch+json"}
    times = []
    for i in range(500):
        begun = time.monotonic()
        conn.request("PATCH", f"{DEPLOYMENTS}/d/scale", json.dumps({"spec": {"replicas": i % 7 + 1}}), headers)
        got = conn.getresponse()
        got.read()
        times.append(time.monotonic() - begun)
        assert got.status == 200
    times.sort()
    p50, p99 = (times[int(len(times) * q)] * 1000 for q in (0.5, 0.99))
    print(f"scale write over HTTPS: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    assert p50 < 20


# --- kubectl -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl(local, tmp_path):
    def kubectl(*args, check=True, **kw):
        got = subprocess.run(["kubectl", *args], env={**os.environ, "KUBECONFIG": str(local.home / "kubeconfig"),
                                                      "HOME": str(tmp_path)},
                             capture_output=True, text=True, timeout=60, check=False, **kw)
        assert not check or got.returncode == 0, (args, got.stdout, got.stderr)
        return got.stdout + got.stderr

    manifest = json.dumps(ksvc("hello"))
    assert "created" in kubectl("apply", "-f", "-", input=manifest)
    kubectl("apply", "-f", "-", input=manifest)
    assert "hello" in kubectl("get", "ksvc,pods")
    assert "dev.local/hello@sha256:00" in kubectl("describe", "ksvc", "hello")
    assert "AlreadyExists" in kubectl("create", "-f", "-", input=manifest, check=False)
    kubectl("apply", "-f", "-", input=json.dumps(deployment("d")))
    kubectl("scale", "deployment", "d", "--replicas=3")
    assert "0/3" in kubectl("get", "deploy", "d")
    kubectl("label", "ksvc", "hello", "x=y")
    assert "hello" in kubectl("get", "ksvc", "-l", "x=y", "-o", "name")
    kubectl("create", "namespace", "n")
    kubectl("create", "configmap", "c", "--from-literal=a=b", "-n", "n")
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b", "-n", "n")
    assert kubectl("get", "secret", "s", "-n", "n", "-o", "jsonpath={.data.a}") == "Yg=="
    kubectl("delete", "namespace", "n")
    told = kubectl("explain", "ksvc.spec.template.spec.containers")
    assert "readinessProbe" in told and "lifecycle" not in told
    assert "lifecycle" in kubectl("explain", "pod.spec.containers")
    assert "containerPort" in kubectl("explain", "--output=plaintext-openapiv2", "deploy.spec.template.spec.containers.ports")
    typo = json.dumps({**ksvc("typo"), "sepc": {}})
    assert 'unknown field "sepc"' in kubectl("apply", "-f", "-", input=typo, check=False)
    uid = kubectl("get", "ksvc", "hello", "-o", "jsonpath={.metadata.uid}")
    reference = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello", "uid": uid,
                 "blockOwnerDeletion": True}
    local.api.create(CONFIGMAPS, configmap("owned", ownerReferences=[reference]))
    kubectl("delete", "ksvc", "hello", "--cascade=foreground")
    assert "NotFound" in kubectl("get", "cm", "owned", check=False)
    assert "NotFound" in kubectl("get", "ksvc", "hello", check=False)
