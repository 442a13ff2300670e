# SPDX-License-Identifier: Apache-2.0
"""Replicas announce themselves ahead of the kubelet; other pods that say the same change nothing; and without it functions
start as well, later."""

import json
import os
import urllib.request

import pytest

from cluster import (TAG, apply, get, hello, host_of, kubectl, pods_of, wait_for, wait_ready, wait_zero)

pytestmark = pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")
ROUNDS = 6


def activators():
    pods = get("-n", "lull-system", "pods", "-l", "app=lull-activator")["items"]
    return [pod["status"]["podIP"] for pod in pods
            if pod["status"].get("podIP") and "deletionTimestamp" not in pod["metadata"]]


def page(ip, path):
    with urllib.request.urlopen(f"http://{ip}:9090{path}", timeout=10) as answer:
        return answer.read().decode()


def announcements():
    """{result: count}, over all activators"""
    total = {}
    for ip in activators():
        for line in page(ip, "/metrics").splitlines():
            if line.startswith("lull_activator_announcements_total{"):
                result, count = line.split('"')[1], line.rsplit(" ", 1)[1]
                total[result] = total.get(result, 0) + int(count)
    return total


def replicas_of(revision):
    """What each activator knows of it."""
    return [[(r["pod"], r["address"]) for one in json.loads(page(ip, "/debug/state"))["revisions"]
             if one["revision"] == revision for r in one["replicas"]] for ip in activators()]


def liar(namespace, name, env):
    """A pod that says what the environment makes it say: a queue-proxy whose function is its own admin port."""
    fields = [{"name": "SERVING_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    kubectl("apply", "-f", "-", stdin=json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
                 "containers": [{
                     "name": "liar", "image": f"dev.local/lull-queue-proxy:{TAG}", "imagePullPolicy": "IfNotPresent",
                     "env": fields + [{"name": k, "value": v} for k, v in {**env, "USER_PORT": "8022"}.items()]}]}}))


def test_answered_before_the_kubelet_has_reported(ingress, namespace):
    apply(hello(namespace))
    service = wait_ready(namespace)
    host, revision = host_of(service), service["status"]["latestReadyRevisionName"]
    before, ahead, rounds = announcements(), 0, 0
    while rounds < ROUNDS and not (ahead and rounds >= 2):
        wait_zero(namespace, revision)
        status, headers, body, took = ingress.request(host, timeout=60)
        (pod,) = pods_of(namespace, revision)
        assert (status, body) == (200, "Hello from C, world!\n")
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ahead += 0 if ready else 1
        rounds += 1
        print(f"\ncold start: {took:.0f} ms, the Pod is {'' if ready else 'not '}Ready in the API; {headers['Server-Timing']}", end="")
    # The kubelet looks once a second: in one of a few rounds it is later than the function.
    assert ahead >= 1
    wait_for("every start was announced, to one activator and by it to the other", lambda: all(
        announcements().get(result, 0) >= before.get(result, 0) + rounds for result in ("accepted", "relayed")), 20)
    wait_for("the API has confirmed them", lambda: announcements().get("evicted", 0) == before.get("evicted", 0) and
             announcements()["confirmed"] > before.get("confirmed", 0), 20)


def test_what_another_pod_says_changes_nothing(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    revision = service["status"]["latestReadyRevisionName"]
    (pod,) = pods_of(namespace, revision)
    own = wait_for("its address", lambda: pods_of(namespace, revision)[0]["status"].get("podIP"))
    wanted = [[(pod["metadata"]["name"], f"{own}:8012")]] * 2
    wait_for("both activators know the replica", lambda: replicas_of(f"{namespace}/{revision}") == wanted)
    sidecar = next(c for c in pod["spec"]["containers"] if c["name"] == "queue-proxy")
    env = {one["name"]: one["value"] for one in sidecar["env"] if "value" in one}
    assert env["LULL_ANNOUNCE"].endswith(":80") and len(env["LULL_ANNOUNCE_KEY"]) == 64
    says = {**{name: env[name] for name in ("LULL_ANNOUNCE", "LULL_ANNOUNCE_KEY", "LULL_REVISION_UID")},
            "SERVING_NAMESPACE": namespace, "SERVING_REVISION": revision, "SERVING_POD": pod["metadata"]["name"],
            "LULL_POD_UID": pod["metadata"]["uid"]}
    before = announcements()
    liar(namespace, "forger", {**says, "LULL_ANNOUNCE_KEY": "0" * 64})
    liar(namespace, "thief", says)  # with the right key, in the place of the replica
    liar(namespace, "nobody", {**says, "SERVING_POD": "nobody", "LULL_POD_UID": "0"})
    for result in ("forged", "moved", "unknown_pod"):
        wait_for(f"one was {result}", lambda result=result: announcements().get(result, 0) > before.get(result, 0), 60)
    assert replicas_of(f"{namespace}/{revision}") == wanted
    assert {ingress.request(host_of(service))[2] for _ in range(20)} == {"Hello from C, world!\n"}
    assert announcements()["accepted"] == before["accepted"]


def test_without_announcements_functions_start_as_well(ingress, namespace):
    def switch(on):
        args = get("-n", "lull-system", "deployment", "lull-activator")["spec"]["template"]["spec"]["containers"][0]["args"]
        at = next(i for i, arg in enumerate(args) if arg.startswith("--announce="))
        kubectl("-n", "lull-system", "patch", "deployment", "lull-activator", "--type=json", "-p", json.dumps(
            [{"op": "replace", "path": f"/spec/template/spec/containers/0/args/{at}", "value": f"--announce={on}"}]))
        kubectl("-n", "lull-system", "rollout", "status", "deployment/lull-activator", "--timeout=90s")
        wait_for("two activators", lambda: len(get("-n", "lull-system", "pods", "-l", "app=lull-activator")["items"]) == 2)

    apply(hello(namespace))
    service = wait_ready(namespace)
    revision = service["status"]["latestReadyRevisionName"]
    switch("false")
    try:
        wait_zero(namespace, revision)
        status, _, body, took = ingress.request(host_of(service), timeout=60)
        assert (status, body) == (200, "Hello from C, world!\n")
        print(f"\ncold start: {took:.0f} ms")
        assert sum(announcements().values()) == 0
    finally:
        switch("true")
