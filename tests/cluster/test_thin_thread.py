# SPDX-License-Identifier: Apache-2.0
"""One Service goes 0 -> 1 -> 0 through activator, queue-proxy, autoscaler and controller, driven by
the real Deployment controller and kubelet; and what else the thread carries."""

import concurrent.futures
import json
import os
import statistics
import time

import pytest

from cluster import (Load, apply, get, hello, host_of, kubectl, lull, no_restarts,
                     pods_of, ready_condition, replicas, resolve, wait_for, wait_ready,
                     wait_zero)

ROUNDS = 3
own_cluster = pytest.mark.skipif(
    "LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")
HELLO = (200, "Hello from C, world!\n")


def test_zero_one_zero(ingress, namespace):
    begin = time.monotonic()
    apply(hello(namespace))
    service = wait_ready(namespace)
    print(f"\nReady {time.monotonic() - begin:.1f} s after kubectl apply")
    host = host_of(service)
    assert host == f"hello.{namespace}.example.com"
    revision = service["status"]["latestReadyRevisionName"]
    assert revision == "hello-00001"

    status, _, body, warm = ingress.request(host)
    assert (status, body) == HELLO
    print(f"warm request: {warm:.1f} ms")

    cold = []
    for turn in range(ROUNDS):
        since = time.monotonic()
        wait_zero(namespace, revision)
        print(f"round {turn + 1}: at zero after {time.monotonic() - since:.1f} s idle", end="")
        status, _, body, took = ingress.request(host, timeout=60)
        assert (status, body) == HELLO
        assert replicas(namespace, revision)[0] >= 1
        cold.append(took)
        print(f", woken in {took:.0f} ms")
    wait_zero(namespace, revision)
    print(f"cold start: median {statistics.median(cold):.0f} ms of {ROUNDS}")

    assert ready_condition(get("-n", namespace, "ksvc", "hello"))[0] == "True"
    # Written at most every five seconds: up and down of every round, the first from 1 to 0.
    want = [0, 1] * ROUNDS + [0]
    wait_for(f"the decisions {want}, newest first", lambda: [
        decision["to"] for decision in get("-n", namespace, "kpa", revision)["status"].get(
            "lullDecisions", [])] == want, 20)
    no_restarts(namespace, "lull-system")


def test_one_many_zero(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/target": "1"}))
    service = wait_ready(namespace)
    revision = service["status"]["latestReadyRevisionName"]
    most = 0
    with Load(ingress, host_of(service), threads=6, path="/?ms=300") as load:

        def many():
            nonlocal most
            most = max(most, sum(
                1 for pod in pods_of(namespace, revision)
                if any(c["type"] == "Ready" and c["status"] == "True"
                       for c in pod["status"].get("conditions", []))))
            return most >= 3

        wait_for("three ready replicas under load", many, 60)
    assert not load.bad
    wait_zero(namespace, revision)
    print(f"\n{load.good} requests, {most} replicas at once, back at zero")


def test_a_new_revision_takes_over_without_a_failed_request(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    with Load(ingress, host_of(service)) as load:
        apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"},
                    env={"TARGET": "second"}))
        wait_for("the second revision answers", lambda: ingress.request(
            host_of(service))[2] == "Hello from C, second!\n", 60)
        assert wait_ready(namespace)["status"]["latestReadyRevisionName"] == "hello-00002"
        wait_zero(namespace, "hello-00001")
    assert not load.bad
    assert load.good > 0


def test_requests_go_on_while_control_parts_are_away(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    parts = ("lull-autoscaler", "lull-controller")
    with Load(ingress, host_of(service)) as load:
        before = {pod["metadata"]["uid"] for part in parts for pod in system_pods(part)}
        for part in parts:
            kubectl("-n", "lull-system", "delete", "pod", "-l", f"app={part}", "--force",
                    "--grace-period=0", "--wait=false")
        for part in parts:
            wait_for(f"a new {part}", lambda part=part: [
                pod for pod in system_pods(part)
                if pod["metadata"]["uid"] not in before and pod["status"].get("containerStatuses")
                and pod["status"]["containerStatuses"][0]["ready"]], 60)
    assert not load.bad
    assert replicas(namespace, "hello-00001") == (1, 1)
    # The new ones do their work: another Service becomes Ready, goes to zero and comes back.
    apply(hello(namespace, "other"))
    other = wait_ready(namespace, "other")
    wait_zero(namespace, "other-00001")
    status, _, body, _ = ingress.request(host_of(other), timeout=60)
    assert (status, body) == HELLO


@own_cluster  # a port-forward ends with its pod
def test_activators_are_replaced_without_a_failed_request(ingress, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    with Load(ingress, host_of(service)) as load:
        kubectl("-n", "lull-system", "rollout", "restart", "deployment/lull-activator")
        kubectl("-n", "lull-system", "rollout", "status", "deployment/lull-activator",
                "--timeout=90s")
        wait_for("the old ones are gone", lambda: len(system_pods("lull-activator")) == 2, 60)
    assert not load.bad
    assert load.good > 100


@own_cluster  # a port-forward ends with its pod
def test_an_activator_dies_and_the_other_goes_on(ingress, namespace):
    apply(hello(namespace))
    service = wait_ready(namespace)
    victim = system_pods("lull-activator")[0]["metadata"]["name"]
    with Load(ingress, host_of(service)) as load:
        kubectl("-n", "lull-system", "delete", "pod", victim, "--force", "--grace-period=0")
        kubectl("-n", "lull-system", "rollout", "status", "deployment/lull-activator",
                "--timeout=60s")
        good = load.good
        wait_for("more requests", lambda: load.good > good + 50, 30)
    # Only what the dead one held may be lost: cut or refused connections, never an error answer.
    assert all(status == 0 for _, status, _ in load.bad), load.bad
    print(f"\n{load.good} answered, {len(load.bad)} connections lost with the activator")
    # Its reports are missed for a moment, not for ever: to zero and back.
    wait_zero(namespace, "hello-00001")
    status, _, body, _ = ingress.request(host_of(service), timeout=60)
    assert (status, body) == HELLO


def system_pods(part):
    return get("-n", "lull-system", "pods", "-l", f"app={part}")["items"]


def said_in_the_status(namespace, service):
    """Applies a Service that cannot work; the reason and message of its condition Ready."""
    apply(service)

    def failed():
        state = ready_condition(get("-n", namespace, "ksvc", "hello"))
        assert state[0] != "True"
        return state if state[0] == "False" else None

    _, reason, message = wait_for("Ready is False", failed, 60)
    print(f"\n{reason}: {message}")
    return message


def test_an_image_that_is_not_there_is_said_in_the_status(ingress, namespace):
    message = said_in_the_status(namespace, hello(namespace, image="dev.local/nothing-here:1"))
    assert "hello-00001" in message and "dev.local/nothing-here:1" in message
    assert "pull" in message or "fetch" in message


def test_a_function_that_crashes_is_said_in_the_status(ingress, namespace):
    service = hello(namespace)
    # A user without privileges cannot listen there: the example says so and ends with code 1.
    service["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    message = said_in_the_status(namespace, service)
    assert "hello: cannot listen on PORT" in message
    revision = get("-n", namespace, "rev", "hello-00001")
    assert ready_condition(revision)[1] == "ExitCode1"


def test_a_command_that_is_not_there_is_said_in_the_status(ingress, namespace):
    service = hello(namespace)
    service["spec"]["template"]["spec"]["containers"][0]["command"] = ["/no/such/program"]
    assert "/no/such/program" in said_in_the_status(namespace, service)


def test_a_function_that_never_listens_is_said_in_the_status(ingress, namespace):
    message = said_in_the_status(namespace, hello(
        namespace, image="dev.local/silent:test",
        annotations={"serving.knative.dev/progress-deadline": "5s"}))
    assert "nothing listens on port 8080" in message


def test_many_at_once_wake_one_function(ingress, namespace):
    apply(hello(namespace))
    service = wait_ready(namespace)
    wait_zero(namespace, "hello-00001")
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: ingress.request(host_of(service), timeout=60), range(30)))
    assert {answer[:1] + answer[2:3] for answer in answers} == {HELLO}


def test_in_cluster_names_are_on_the_local_listener_only(ingress, local_ingress, namespace):
    apply(hello(namespace))
    wait_ready(namespace)
    name = f"hello.{namespace}.svc.cluster.local"
    status, _, body, _ = local_ingress.request(name, timeout=60)
    assert (status, body) == HELLO
    assert ingress.request(name)[0] == 404


@own_cluster
def test_in_cluster_names_resolve(local_ingress, namespace):
    apply(hello(namespace))
    service = wait_ready(namespace)
    name = f"hello.{namespace}.svc.cluster.local"
    assert service["status"]["address"]["url"] == f"http://{name}"
    dns = get("-n", "kube-system", "service", "kube-dns")["spec"]["clusterIP"]
    wait_for("its name leads to the cluster-local ingress",
             lambda: resolve(name, dns) == [local_ingress.address], 30)


def test_the_lull_command_speaks_to_a_cluster_too(ingress, namespace):
    apply(hello(namespace))
    host = host_of(wait_ready(namespace))
    assert lull(namespace, "url", "hello") == f"http://{host}\n"
    assert ingress.request(host, "/?who=me")[0] == 200
    assert "GET /?who=me HTTP/1.1" in lull(namespace, "logs", "hello")
    wait_zero(namespace, "hello-00001")
    assert json.loads(lull(namespace, "list", "-o", "json"))["items"][0]["metadata"]["name"] == "hello"
    assert "hello-00001" in lull(namespace, "describe", "hello")
    wait_for("lull why tells of the way to zero",
             lambda: "1 -> 0  stable-window" in lull(namespace, "why", "hello"), 20)
    lull(namespace, "delete", "hello")
    assert get("-n", namespace, "ksvc", "hello") is None


def test_a_running_request_outlives_its_service(ingress, namespace):
    apply(hello(namespace))
    host = host_of(wait_ready(namespace))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ingress.request, host, "/?ms=12000")
        wait_for("the request has reached the function",
                 lambda: "ms=12000" in lull(namespace, "logs", "hello"), 10)
        kubectl("-n", namespace, "delete", "ksvc", "hello", "--wait=false")
        wait_for("its pod is told to end", lambda: not pods_of(namespace, "hello-00001"), 10)
        assert not slow.done(), "the pod's end came too late to test anything"
        status, _, body, _ = slow.result()
    assert (status, body) == HELLO


def test_unknown_host_is_404(ingress):
    assert ingress.request("nobody.nowhere.example.com")[0] == 404


def test_deleting_the_service_takes_everything_away(ingress, namespace):
    apply(hello(namespace, "gone"))
    wait_for("its Deployment", lambda: get("-n", namespace, "deployment", "gone-00001-deployment"), 60)
    kubectl("-n", namespace, "delete", "ksvc", "gone")
    wait_for("nothing is left", lambda: not any(
        get("-n", namespace, kind)["items"]
        for kind in ("configurations.serving.knative.dev", "routes.serving.knative.dev", "revisions",
                     "kpa", "deployments", "pods")), 60)
