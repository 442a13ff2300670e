# SPDX-License-Identifier: Apache-2.0
"""The controller on lull-local with its node agent: Services become ready, move on, fail and recover."""
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import binary, wait_for
from lull_client import ApiError
from test_agent import DIGEST, Node

pytestmark = pytest.mark.quick
SERVING = "/apis/serving.knative.dev/v1/namespaces/default"
SERVICES = f"{SERVING}/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CRASH, SILENT, MISSING = "c" * 64, "5" * 64, "e" * 64


class Parts(Node):
    """lull-local and lull-controller."""

    def __init__(self, home):
        super().__init__(home)
        self.controller = None
        self.bundle(CRASH, ["./run"], {"run": "#!/bin/sh\necho starting\necho 'no database at 10.0.0.7' >&2\nexit 3\n"})
        self.bundle(SILENT, ["./run"], {"run": "#!/bin/sh\nexec sleep 1000\n"})

    def start_controller(self, *more):
        admin = self.home / "controller.sock"
        admin.unlink(missing_ok=True)
        self.controller = subprocess.Popen(
            [binary("lull-controller"), "--kubeconfig", self.home / "kubeconfig", "--admin-listen",
             f"unix:{admin}", *more], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        wait_for(admin.exists, 20, "the controller's admin port")
        return self

    def stop_controller(self, signum=signal.SIGTERM):
        self.controller.send_signal(signum)
        return self.controller.wait(timeout=20)

    def service(self, name, digest=DIGEST, annotations=None, env=(), **spec):
        container = {"image": f"dev.local/{name}@sha256:{digest}", "env": list(env)}
        return {"metadata": {"name": name}, "spec": {
            "template": {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [container]}}, **spec}}

    def deploy(self, name, **more):
        return self.api.create(SERVICES, self.service(name, **more))

    def get(self, name, kind="services"):
        return self.api.get(f"{SERVING}/{kind}/{name}")

    def wait_ready(self, name, deadline=20):
        return wait_for(lambda: is_ready(got := self.get(name)) and got, deadline, f"{name} is ready")

    def wait_condition(self, name, want, kind="services", deadline=20):
        """want: status, reason and a part of the message of Ready."""
        def holds():
            got = conditions(self.get(name, kind)).get("Ready", {})
            return got.get("status") == want[0] and got.get("reason", "") == want[1] and want[2] in got.get("message", "")
        try:
            wait_for(holds, deadline, want)
        except AssertionError as e:
            raise AssertionError(f"{e}: it is {conditions(self.get(name, kind))}") from None


def conditions(obj):
    return {c["type"]: c for c in obj.get("status", {}).get("conditions", [])}


def is_ready(obj):
    return obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"] and \
        conditions(obj).get("Ready", {}).get("status") == "True"


@pytest.fixture
def parts(home):
    it = Parts(home)
    it.start()
    it.start_controller()
    yield it
    try:
        if it.controller.poll() is None:
            for service in it.api.list(SERVICES):
                it.api.delete(f"{SERVICES}/{service['metadata']['name']}")
            wait_for(lambda: not it.api.list("/api/v1/namespaces/default/pods"), 20, "no Pod left")
            assert it.stop_controller() == 0
        it.kill(signal.SIGTERM)
    finally:
        if it.controller.poll() is None:
            it.controller.kill()
        print((home / "out").read_text()[-4000:])
        for pid in it.processes():
            os.kill(pid, signal.SIGKILL)


def test_a_service_becomes_ready(parts):
    parts.deploy("hello")
    service = parts.wait_ready("hello")
    status = service["status"]
    assert status["latestReadyRevisionName"] == status["latestCreatedRevisionName"] == "hello-00001"
    assert status["url"].startswith("http://hello.default.localhost") and status["address"]["url"]
    assert status["traffic"] == [{"revisionName": "hello-00001", "latestRevision": True, "percent": 100}]
    revision = parts.get("hello-00001", "revisions")
    assert set(conditions(revision)) == {"Ready", "ResourcesAvailable", "ContainerHealthy", "Active"}
    wait_for(lambda: parts.get("hello-00001", "revisions")["metadata"]["labels"]
             ["serving.knative.dev/routingState"] == "active", 5, "the revision is routed")
    deployment = parts.api.get(f"{DEPLOYMENTS}/hello-00001-deployment")
    containers = {c["name"]: c for c in deployment["spec"]["template"]["spec"]["containers"]}
    env = {e["name"]: e.get("value") for e in containers["user-container"]["env"]}
    assert (env["PORT"], env["K_SERVICE"], env["K_CONFIGURATION"], env["K_REVISION"]) == \
        ("8080", "hello", "hello", "hello-00001")
    probe = json.loads({e["name"]: e.get("value") for e in containers["queue-proxy"]["env"]}["SERVING_READINESS_PROBE"])
    assert probe["tcpSocket"]["port"] == 8080
    owner = deployment["metadata"]["ownerReferences"][0]
    assert owner["controller"] and owner["blockOwnerDeletion"] and owner["uid"] == revision["metadata"]["uid"]
    scaler = parts.api.get("/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers/hello-00001")
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment",
                                                "name": "hello-00001-deployment"}


def test_an_update_moves_traffic_when_ready(parts):
    parts.deploy("hello")
    parts.wait_ready("hello")
    parts.api.patch(f"{SERVICES}/hello", {"spec": parts.service("hello", env=[{"name": "V", "value": "2"}])["spec"]})
    assert not is_ready(parts.get("hello")) or parts.get("hello")["status"]["latestReadyRevisionName"] == "hello-00002"
    service = parts.wait_ready("hello")
    assert service["status"]["latestReadyRevisionName"] == "hello-00002"
    assert [t["revisionName"] for t in service["status"]["traffic"]] == ["hello-00002"]
    wait_for(lambda: parts.get("hello-00001", "revisions")["metadata"]["labels"]
             ["serving.knative.dev/routingState"] == "reserve", 5, "the old revision is in reserve")
    # Then a split with a pinned revision and a tag.
    parts.api.patch(f"{SERVICES}/hello", {"spec": {"traffic": [
        {"revisionName": "hello-00001", "percent": 30, "tag": "old"}, {"latestRevision": True, "percent": 70}]}})
    service = parts.wait_ready("hello")
    old, new = service["status"]["traffic"]
    assert (old["revisionName"], old["percent"], old["tag"], old["latestRevision"]) == ("hello-00001", 30, "old", False)
    assert old["url"].startswith("http://old-hello.default.localhost")
    assert (new["revisionName"], new["percent"], new["latestRevision"]) == ("hello-00002", 70, True)


def test_replicas_are_left_alone(parts):
    parts.deploy("hello")
    parts.wait_ready("hello")
    parts.scale("hello-00001-deployment", 0)
    wait_for(lambda: parts.get("hello-00001", "revisions")["status"]["actualReplicas"] == 0, 10, "no replica")
    assert is_ready(parts.get("hello"))
    assert parts.stop_controller(signal.SIGKILL) != 0
    parts.start_controller()
    parts.deploy("other")
    parts.wait_ready("other")
    assert parts.api.get(f"{DEPLOYMENTS}/hello-00001-deployment")["spec"]["replicas"] == 0
    assert is_ready(parts.get("hello"))


def test_delete_takes_everything(parts):
    parts.deploy("hello")
    parts.wait_ready("hello")
    parts.api.delete(f"{SERVICES}/hello")
    for path in (f"{SERVING}/configurations", f"{SERVING}/routes", f"{SERVING}/revisions", DEPLOYMENTS,
                 "/api/v1/namespaces/default/pods"):
        wait_for(lambda p=path: not parts.api.list(p), 30, f"nothing left at {path}")


@pytest.mark.parametrize("digest,want", [
    (CRASH, ("False", "RevisionFailed", "no database at 10.0.0.7")),
    (MISSING, ("False", "RevisionFailed", "failed with message")),
])
def test_a_failing_function_says_why(parts, digest, want):
    parts.deploy("bad", digest=digest)
    parts.wait_condition("bad", want)
    revision = conditions(parts.get("bad-00001", "revisions"))
    if digest == CRASH:
        assert revision["ContainerHealthy"]["reason"] == "ExitCode3", revision
    else:
        assert revision["ContainerHealthy"]["reason"] == "ContainerMissing", revision
    # A good revision repairs it, without a stop in between.
    parts.api.patch(f"{SERVICES}/bad", {"spec": parts.service("bad")["spec"]})
    assert parts.wait_ready("bad")["status"]["latestReadyRevisionName"] == "bad-00002"
    # And a bad one does not take the good one's traffic.
    parts.api.patch(f"{SERVICES}/bad", {"spec": parts.service("bad", digest=CRASH)["spec"]})
    parts.wait_condition("bad", ("False", "RevisionFailed", 'Revision "bad-00003" failed'))
    assert parts.get("bad")["status"]["traffic"][0]["revisionName"] == "bad-00002"


def test_a_function_that_never_listens(parts):
    parts.deploy("silent", digest=SILENT, annotations={"serving.knative.dev/progress-deadline": "2s"})
    parts.wait_condition("silent", ("False", "RevisionFailed", "nothing listens on the port in $PORT after 2 s"))
    assert conditions(parts.get("silent-00001", "revisions"))["ResourcesAvailable"]["reason"] == "ProgressDeadlineExceeded"


def test_objects_of_others_are_not_touched(parts):
    theirs = {"metadata": {"name": "mine"}, "spec": {"template": {"spec": {"containers": [
        {"image": f"dev.local/mine@sha256:{DIGEST}"}]}}}}
    before = parts.api.create(f"{SERVING}/configurations", theirs)
    parts.deploy("mine")
    parts.wait_condition("mine", ("False", "NotOwned", 'existing Configuration "mine" that we do not own'))
    assert parts.get("mine", "configurations")["spec"] == before["spec"]
    parts.api.delete(f"{SERVING}/configurations/mine")
    parts.wait_ready("mine")


def test_many_at_once_and_a_killed_controller(parts):
    names = [f"s{i}" for i in range(12)]
    for name in names[:6]:
        parts.deploy(name)
    parts.stop_controller(signal.SIGKILL)
    for name in names[6:]:
        parts.deploy(name)
    parts.start_controller()
    begun = time.monotonic()
    for name in names:
        parts.wait_ready(name, 60)
    print(f"12 Services ready after {time.monotonic() - begun:.2f} s")
    assert len(parts.api.list(f"{SERVING}/revisions")) == 12


def test_config_maps_take_effect(parts):
    parts.deploy("hello")
    parts.wait_ready("hello")
    path = "/api/v1/namespaces/lull-system/configmaps/config-domain"
    parts.api.patch(path, {"data": {"localhost": None, "example.org": ""}})
    wait_for(lambda: ".example.org" in parts.get("hello")["status"]["url"], 10, "the new domain")


def test_a_bad_config_map_that_nobody_refused_is_ignored(parts):
    """As on a cluster without a webhook: the API server knows nothing of a system namespace of this name."""
    maps = "/api/v1/namespaces/elsewhere/configmaps"
    parts.api.create("/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    parts.api.create(maps, {"metadata": {"name": "config-domain"}, "data": {"example.org": ""}})
    parts.api.create(maps, {"metadata": {"name": "config-network"}, "data": {"external-port": "81"}})
    assert parts.stop_controller() == 0
    parts.start_controller("--system-namespace", "elsewhere")
    parts.deploy("hello")
    assert parts.wait_ready("hello")["status"]["url"] == "http://hello.default.example.org:81"

    def events(about):
        return [e for e in parts.api.list("/api/v1/namespaces/elsewhere/events")
                if e["reason"] == "InvalidConfig" and about in e["message"]]

    for name, data in [("config-network", {"external-port": "none"}), ("config-network", {"domain-template": "{{"}),
                       ("config-domain", {"example.net": "selector: ["}), ("config-gc", {"min-non-active-revisions": "-1"})]:
        there = [m["metadata"]["name"] for m in parts.api.list(maps)]
        if name in there:
            parts.api.update(f"{maps}/{name}", {"metadata": {"name": name}, "data": data})
        else:
            parts.api.create(maps, {"metadata": {"name": name}, "data": data})
        told = wait_for(lambda: events(next(iter(data)).split(".")[0]), 10, f"an Event about {data}")
        assert (told[0]["type"], told[0]["involvedObject"]["name"]) == ("Warning", name)
        assert name in told[0]["message"]
    parts.deploy("again")
    assert parts.wait_ready("again")["status"]["url"] == "http://again.default.example.org:81"


def test_a_service_that_breaks_a_rule_is_refused(parts):
    bad = parts.service("hello")
    bad["spec"]["template"]["spec"]["containers"][0].pop("image")
    with pytest.raises(ApiError) as refused:
        parts.api.create(SERVICES, bad)
    assert "missing field(s): spec.template.spec.containers[0].image" in str(refused.value)


def test_every_name_has_its_placeholder(parts):
    parts.deploy("hello", traffic=[{"latestRevision": True, "percent": 100, "tag": "a"}])
    assert parts.wait_ready("hello")["status"]["traffic"][0]["url"].startswith("http://a-hello.default.localhost")
    path = "/api/v1/namespaces/default/services"
    names = wait_for(lambda: (got := {s["metadata"]["name"]: s for s in parts.api.list(path)}) and len(got) == 2 and got,
                     10, "two placeholders")
    assert set(names) == {"hello", "a-hello"}
    for name, service in names.items():
        assert service["spec"]["type"] == "ExternalName" and service["spec"]["externalName"] == f"{name}.default.localhost"
        assert service["metadata"]["labels"]["serving.knative.dev/route"] == "hello"
        assert service["metadata"]["annotations"]["serving.knative.dev/creator"]
    # One name for inside only, by the label on its placeholder.
    parts.api.patch(f"{path}/a-hello", {"metadata": {"labels": {"networking.knative.dev/visibility": "cluster-local"}}})
    wait_for(lambda: parts.get("hello")["status"]["traffic"][0]["url"] == "http://a-hello.default.svc.cluster.local", 10,
             "the tag has its inner name")
    assert parts.get("hello")["status"]["url"].startswith("http://hello.default.localhost")
    parts.api.patch(f"{SERVICES}/hello", {"spec": {"traffic": [{"latestRevision": True, "percent": 100}]}})
    wait_for(lambda: [s["metadata"]["name"] for s in parts.api.list(path)] == ["hello"], 10, "the tag's placeholder goes")
    parts.api.patch(f"{SERVICES}/hello", {"metadata": {"labels": {"networking.knative.dev/visibility": "cluster-local"}}})
    wait_for(lambda: parts.get("hello")["status"]["url"] == "http://hello.default.svc.cluster.local", 10, "an inner name")


def test_a_rollout_goes_on_after_a_kill(parts):
    parts.deploy("hello")
    parts.wait_ready("hello")
    parts.api.patch(f"{SERVICES}/hello", {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "5s"}}})
    parts.api.patch(f"{SERVICES}/hello", {"spec": parts.service("hello", env=[{"name": "A", "value": "1"}])["spec"]})
    seen = []

    def split():
        traffic = parts.get("hello")["status"].get("traffic", [])
        got = [(t["revisionName"], t["percent"]) for t in traffic]
        if not seen or seen[-1] != got:
            seen.append(got)
        return got
    wait_for(lambda: split() == [("hello-00001", 99), ("hello-00002", 1)], 20, "one percent")
    route = parts.get("hello", "routes")
    assert conditions(route)["IngressReady"]["reason"] == "RolloutInProgress"
    assert "networking.internal.knative.dev/rollout" in route["metadata"]["annotations"]
    parts.stop_controller(signal.SIGKILL)
    parts.start_controller()
    wait_for(lambda: split() == [("hello-00002", 100)], 60, "all of it")
    parts.wait_ready("hello")
    shares = [dict(got)["hello-00002"] for got in seen if len(got) == 2]
    assert shares == sorted(shares) and all(sum(p for _, p in got) == 100 for got in seen), seen
    assert shares[0] == 1, seen
    wait_for(lambda: "networking.internal.knative.dev/rollout" not in parts.get("hello", "routes")["metadata"]["annotations"],
             10, "the state is gone")


def test_a_taken_name_and_a_foreign_revision(parts):
    parts.deploy("one")
    parts.deploy("two")
    parts.wait_ready("one")
    parts.wait_ready("two")
    parts.api.patch(f"{SERVICES}/one", {"spec": {"traffic": [{"revisionName": "two-00001", "percent": 100}]}})
    parts.wait_condition("one", ("False", "RevisionNotOwned",
                                 'Revision "two-00001" belongs to Service "two", not Service "one".'))
    assert parts.get("one")["status"]["traffic"][0]["revisionName"] == "one-00001"
