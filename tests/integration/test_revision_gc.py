# SPDX-License-Identifier: Apache-2.0
"""Revisions that nobody uses go, as config-gc says; also when nothing happens but that time passes."""
import pytest
from conftest import wait_for

SERVING = "/apis/serving.knative.dev/v1/namespaces/default"
CONFIG = "/api/v1/namespaces/lull-system/configmaps/config-gc"


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    from conftest import ROOT
    monkeypatch.chdir(ROOT)


def test_revisions_are_collected(lull):
    api = lull.api()
    names = lambda: sorted(r["metadata"]["name"] for r in api.list(f"{SERVING}/revisions"))  # noqa: E731

    def service():
        return api.get(f"{SERVING}/services/hello")

    def update(n):
        api.patch(f"{SERVING}/services/hello", {"spec": {"template": {"spec": {"containers": [
            {**container, "env": [{"name": "TARGET", "value": str(n)}]}]}}}})
        wait_for(lambda: service()["status"].get("latestReadyRevisionName") == f"hello-{n:05}", 20, f"revision {n}")

    def routing(n):
        return api.get(f"{SERVING}/revisions/hello-{n:05}")["metadata"]["labels"]["serving.knative.dev/routingState"]

    lull.cli("deploy", "hello", "--source", "examples/hello-c")
    container = service()["spec"]["template"]["spec"]["containers"][0]
    for n in range(2, 7):
        update(n)
    # The first is asked to stay, the second has a tag, the last serves: three may go, none does by Knative's numbers.
    api.patch(f"{SERVING}/revisions/hello-00001", {"metadata": {"annotations": {"serving.knative.dev/no-gc": "true"}}})
    api.patch(f"{SERVING}/services/hello", {"spec": {"traffic": [
        {"latestRevision": True, "percent": 100}, {"revisionName": "hello-00002", "tag": "old", "percent": 0}]}})
    wait_for(lambda: [routing(n) for n in range(1, 7)] == ["reserve", "active", "reserve", "reserve", "reserve", "active"],
             20, "the routing states")
    assert names() == [f"hello-{n:05}" for n in range(1, 7)]
    api.patch(CONFIG, {"data": {"retain-since-create-time": "2s", "retain-since-last-active-time": "disabled",
                                "min-non-active-revisions": "1", "max-non-active-revisions": "1000"}})
    wait_for(lambda: names() == ["hello-00001", "hello-00002", "hello-00005", "hello-00006"], 20, "two were collected")
    wait_for(lambda: not [d for d in api.list("/apis/apps/v1/namespaces/default/deployments")
                          if d["metadata"]["name"].startswith("hello-00003")], 20, "its Deployment went as well")
    # Time alone: the seventh makes the sixth idle, which is old enough four seconds later, while nothing happens.
    api.patch(CONFIG, {"data": {"retain-since-create-time": "disabled", "retain-since-last-active-time": "4s",
                                "min-non-active-revisions": "0"}})
    update(7)
    wait_for(lambda: names() == ["hello-00001", "hello-00002", "hello-00007"], 30, "the idle one was collected in time")
    assert lull.get("hello").status == 200 and lull.get("old-hello").status == 200
    told = [e for e in api.list("/api/v1/namespaces/default/events", fieldSelector="involvedObject.name=hello")
            if e["reason"] == "RevisionsCollected"]
    assert told and told[0]["type"] == "Normal" and told[0]["involvedObject"]["kind"] == "Configuration"
