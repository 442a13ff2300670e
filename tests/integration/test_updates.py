# SPDX-License-Identifier: Apache-2.0
"""A Service is updated again and again under load: no request fails, and each is answered by a revision that was ready."""
import calendar
import http.client
import json
import os
import shutil
import threading
import time

import pytest
from conftest import binary, wait_for

SERVICE = "/apis/serving.knative.dev/v1/namespaces/default/services/moving"
REVISIONS = "/apis/serving.knative.dev/v1/namespaces/default/revisions"


class Load:
    """`rate` requests a second from a few threads, each at its time; a late one goes out at once."""

    THREADS = 8

    def __init__(self, lull, rate):
        self.lull, self.interval = lull, self.THREADS / rate
        self.answers, self.bad = [], []  # (revision, wall time of the answer); texts
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(self.THREADS)]
        for t in self.threads:
            t.start()

    def run(self, number):
        fresh = number % 4 == 0  # a connection for each request
        conn, due = None, time.monotonic() + self.interval * number / self.THREADS
        host = f"moving.default.localhost:{self.lull.public_port}"
        while not self.over.wait(max(0, due - time.monotonic())):
            due += self.interval
            try:
                conn = conn or http.client.HTTPConnection("127.0.0.1", self.lull.public_port, timeout=60)
                conn.request("GET", "/", headers={"Host": host})
                got = conn.getresponse()
                body = got.read()
                if got.status == 200:
                    self.answers.append((json.loads(body)["revision"], time.time()))
                else:
                    self.bad.append(f"{got.status} {body[:200]}")
                if fresh:
                    conn.close()
                    conn = None
            except (OSError, ValueError, http.client.HTTPException) as e:
                self.bad.append(repr(e))
                conn = None
        if conn is not None:
            conn.close()

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join()


def ready_condition(obj):
    return next((c for c in obj.get("status", {}).get("conditions", []) if c["type"] == "Ready"), {"status": "Unknown"})


def seconds(stamp):
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))


def deploy(lull, tmp_path):
    source = tmp_path / "witness"
    source.mkdir()
    shutil.copy(binary("witness"), source)
    (source / "lull.yaml").write_text("command: [./witness]\n")
    lull.cli("deploy", "moving", "--source", source)


def update(api, number):
    template = api.get(SERVICE)["spec"]["template"]
    template["spec"]["containers"][0]["env"] = [{"name": "UPDATE", "value": str(number)}]
    api.patch(SERVICE, {"spec": {"template": template}})
    name = f"moving-{number:05}"

    def moved():
        service = api.get(SERVICE)
        return service["status"].get("observedGeneration") == service["metadata"]["generation"] and \
            ready_condition(service)["status"] == "True" and \
            [t["revisionName"] for t in service["status"]["traffic"]] == [name]
    wait_for(moved, 60, f"the traffic has moved to {name}")


def run(lull, tmp_path, updates, rate):
    api = lull.api()
    deploy(lull, tmp_path)
    load = Load(lull, rate)
    begun = time.monotonic()
    try:
        wait_for(lambda: len(load.answers) >= rate / 2, 60, "the load runs")
        for number in range(2, updates + 2):
            update(api, number)
            since = len(load.answers)
            wait_for(lambda n=since: len(load.answers) >= n + rate / 4, 60, "the load goes on")
            assert f"moving-{number:05}" in [name for name, _ in load.answers[since:]]
    finally:
        load.stop()
    took = time.monotonic() - begun
    assert not load.bad, (len(load.bad), load.bad[:5])
    revisions = {r["metadata"]["name"]: r for r in api.list(REVISIONS)}
    for name, when in load.answers:
        ready = ready_condition(revisions[name])
        assert ready["status"] == "True" and seconds(ready["lastTransitionTime"]) <= when, (name, when, ready)
    assert {name for name, _ in load.answers} == {f"moving-{n:05}" for n in range(1, updates + 2)}
    return f"{updates} updates in {took:.0f} s, {len(load.answers)} requests ({len(load.answers) / took:.0f}/s), none failed"


def test_a_few_updates(lull, tmp_path):
    print(run(lull, tmp_path, updates=10, rate=100))


def test_a_new_revision_gets_its_share(lull, tmp_path):
    api = lull.api()
    deploy(lull, tmp_path)
    api.patch(SERVICE, {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "3600s"}}})
    template = api.get(SERVICE)["spec"]["template"]
    template["spec"]["containers"][0]["env"] = [{"name": "UPDATE", "value": "2"}]
    api.patch(SERVICE, {"spec": {"template": template}})
    shares = {"moving-00001": 99, "moving-00002": 1}

    def routed():
        return {t["revisionName"]: t["percent"] for t in api.get(SERVICE).get("status", {}).get("traffic", [])}
    wait_for(lambda: routed() == shares, 30, "one percent for the new revision")
    ready = ready_condition(api.get(SERVICE))
    assert (ready["status"], ready["reason"]) == ("Unknown", "RolloutInProgress")
    # Every activator process counts for itself, and may have just heard of it.
    answers = [json.loads(lull.get("moving").body)["revision"] for _ in range(800)]
    assert 1 <= answers.count("moving-00002") <= 12 and set(answers) == set(shares), answers.count("moving-00002")
    api.patch(SERVICE, {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": None}}})
    wait_for(lambda: routed() == {"moving-00002": 100}, 30, "all for the new revision")
    wait_for(lambda: ready_condition(api.get(SERVICE))["status"] == "True", 30, "it is ready")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_updates_under_load(lull, tmp_path):
    print(run(lull, tmp_path, updates=int(os.environ.get("LULL_SOAK_UPDATES", "50")), rate=500))
