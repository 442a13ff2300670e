# SPDX-License-Identifier: Apache-2.0
"""Events on a cluster: Brokers and Triggers, a chain of functions that wake from zero, and what survives when lull-broker and
Redis are killed."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import threading
import time

import pytest

from cluster import (KUBECTL, apply, get, hello, host_of, kubectl, lull, lull_at, pods_of, ready_condition, run, wait_for, wait_ready,
                     wait_zero)

SYSTEM = "lull-system"
EVENTING = "eventing.knative.dev/v1"
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("broker_ingress")]


def broker(namespace, name="b", **spec):
    return {"apiVersion": EVENTING, "kind": "Broker", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def trigger(namespace, name, event_type, to, delivery=None):
    """Events of a type to a Service; one of ours, or of Kubernetes' where the name begins with a slash."""
    api = "v1" if to.startswith("/") else "serving.knative.dev/v1"
    ref = {"apiVersion": api, "kind": "Service", "name": to.strip("/"), "namespace": namespace}
    return {"apiVersion": EVENTING, "kind": "Trigger", "metadata": {"name": name, "namespace": namespace},
            "spec": {"broker": "b", "filters": [{"exact": {"type": event_type}}], "subscriber": {"ref": ref},
                     **({"delivery": delivery} if delivery else {})}}


def wait_object_ready(namespace, kind, name):
    def ready():
        state = ready_condition(get("-n", namespace, kind, name))
        assert state[0] != "False" or state[1] not in ("NoIngress",), state
        return state[0] == "True"

    wait_for(f"{kind} {name} is Ready", ready, 60)


class Ledger:
    """A plain Pod behind a plain Service that writes down what comes."""

    def __init__(self, namespace):
        self.namespace = namespace
        labels = {"app": "ledger"}
        apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ledger", "namespace": namespace, "labels": labels},
               "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                   {"name": "ledger", "image": "dev.local/events:test", "imagePullPolicy": "IfNotPresent"}]}})
        apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ledger", "namespace": namespace},
               "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}})
        kubectl("-n", namespace, "wait", "pod/ledger", "--for=condition=Ready", "--timeout=60s")

    def ask(self, path):
        return kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/ledger:8080/proxy/{path}")

    def seen(self, event_type):
        """The numbers of the events of a type, as they came."""
        lines = [line.split() for line in self.ask("seen").splitlines()]
        return [int(number) for kind, number in lines if kind == event_type]


def send(ingress, namespace, event_type, number, timeout=10):
    """The status for one event; 0 when there is no answer, so nobody knows whether it was taken."""
    conn = http.client.HTTPConnection(ingress.address, ingress.port, timeout=timeout)
    try:
        conn.request("POST", f"/{namespace}/b", json.dumps({"n": number}), {
            "ce-specversion": "1.0", "ce-id": str(number), "ce-source": "/test", "ce-type": event_type,
            "ce-number": str(number), "content-type": "application/json"})
        answer = conn.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        conn.close()


def send_taken(ingress, namespace, event_type, number):
    """Sends until it is taken: a new Broker reaches each lull-broker by its own watch."""
    wait_for("the event is taken", lambda: send(ingress, namespace, event_type, number) == 202, 30)


def function(namespace, name, reply):
    return hello(namespace, name, image="dev.local/events:test", env={"REPLY": reply} if reply else None)


def slow_function(namespace, name, reply):
    """One event at a time, half a second each; replicas by the events that wait."""
    service = function(namespace, name, reply)
    template = service["spec"]["template"]
    template["spec"]["containerConcurrency"] = 1
    template["spec"]["containers"][0]["env"].append({"name": "SLOW_MS", "value": "500"})
    template["metadata"]["annotations"] = {f"autoscaling.knative.dev/{key}": value for key, value in
                                           (("metric", "backlog"), ("target", "4"), ("max-scale", "3"))}
    return service


def backlog_scales_and_ends(namespace, ingress, ledger, count=24):
    """Events that wait for a slow function at zero: more than one replica, none failed, and zero again."""
    most = 0
    for number in range(count):
        assert send(ingress, namespace, "parcel", number) == 202

    def all_came():
        nonlocal most
        most = max(most, sum(ready_condition_of(pod) for pod in pods_of(namespace, "slow-00001")))
        return set(ledger.seen("parcel.packed")) == set(range(count))

    wait_for("every answer is there", all_came, 90)
    assert most > 1, most

    def done():
        found = next(t for t in json.loads(lull(namespace, "top", "-o", "json"))["triggers"] if t["name"] == "to-slow")
        return found["waiting"] == 0 and found["delivered"] >= count and (found["failed"], found["gaveUp"]) == (0, 0)

    wait_for("nothing waits, nothing failed", done, 30)
    wait_zero(namespace, "slow-00001")
    print(f"\n{count} events of half a second: up to {most} replicas")


def ready_condition_of(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def test_a_chain_of_functions_wakes_from_zero(namespace, broker_ingress):
    """placed -> price -> priced -> ship -> shipped -> ledger, whose Service is one of Kubernetes' own. Then a function that
    follows its backlog."""
    apply(broker(namespace))
    for name, reply in (("price", "order.priced"), ("ship", "order.shipped")):
        apply(function(namespace, name, reply))
    apply(slow_function(namespace, "slow", "parcel.packed"))
    ledger = Ledger(namespace)
    apply(trigger(namespace, "to-price", "order.placed", "price"))
    apply(trigger(namespace, "to-ship", "order.priced", "ship"))
    apply(trigger(namespace, "to-ledger", "order.shipped", "/ledger"))
    apply(trigger(namespace, "to-slow", "parcel", "slow"))
    apply(trigger(namespace, "from-slow", "parcel.packed", "/ledger"))
    for name in ("price", "ship", "slow"):
        wait_ready(namespace, name)
    wait_object_ready(namespace, "broker", "b")
    for name in ("to-price", "to-ship", "to-ledger", "to-slow", "from-slow"):
        wait_object_ready(namespace, "trigger", name)
    address = get("-n", namespace, "broker", "b")["status"]["address"]["url"]
    assert address == f"http://broker-ingress.lull-system.svc.cluster.local/{namespace}/b"
    for name in ("price", "ship", "slow"):
        wait_zero(namespace, f"{name}-00001")
    begin = time.monotonic()
    send_taken(broker_ingress, namespace, "order.placed", 7)
    wait_for("the last of the chain has it", lambda: 7 in ledger.seen("order.shipped"), 60)
    print(f"\ntwo functions woken by an event and its reply: {time.monotonic() - begin:.1f} s")
    backlog_scales_and_ends(namespace, broker_ingress, ledger)


def call(ingress, host, method, path, headers):
    """(status, headers, body)"""
    conn = http.client.HTTPConnection(ingress.address, ingress.port, timeout=60)
    try:
        conn.request(method, path, headers={"Host": host, **headers})
        answer = conn.getresponse()
        body = answer.read().decode()
        return answer.status, answer.headers, body
    finally:
        conn.close()


def test_a_call_that_is_not_waited_for(namespace, ingress):
    """The activator hands it to lull-broker, which wakes the function; any activator has the result."""
    apply(function(namespace, "later", None))
    host = host_of(wait_ready(namespace, "later"))
    wait_zero(namespace, "later-00001")
    status, headers, _ = call(ingress, host, "GET", "/seen", {"Prefer": "respond-async"})
    assert (status, headers["Preference-Applied"]) == (202, "respond-async")
    status, headers, body = call(ingress, host, "GET", headers["Location"], {"Prefer": "wait=30"})
    assert (status, body) == (200, ""), (status, body)


def test_a_schedule_wakes_a_function_from_zero(namespace, local_ingress):
    """In a time zone, which lull-broker and the webhook must know."""
    apply(function(namespace, "nightly", None))
    wait_ready(namespace, "nightly")
    wait_zero(namespace, "nightly-00001")
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "nightly", "namespace": namespace}
    source = {"apiVersion": "sources.knative.dev/v1", "kind": "PingSource", "metadata": {"name": "p", "namespace": namespace},
              "spec": {"schedule": "*/2 * * * * *", "timezone": "Europe/Berlin", "contentType": "application/json", "data": "{}",
                       "sink": {"ref": ref}}}
    wrong = {**source, "spec": {**source["spec"], "schedule": "61 * * * *"}}
    said = run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(wrong), check=False).stderr
    assert "denied the request" in said and "spec.schedule" in said, said
    apply(source)
    wait_object_ready(namespace, "pingsource", "p")
    wait_for("a replica, which nobody else asks for", lambda: pods_of(namespace, "nightly-00001"), 60)
    host = f"nightly.{namespace}.svc.cluster.local"
    wait_for("it has the event",
             lambda: "dev.knative.sources.ping" in call(local_ingress, host, "GET", "/seen", {})[2], 60)


class Numbered:
    """Numbered events from a few threads, each sent again until it is taken, until the block ends."""

    def __init__(self, ingress, namespace, threads=3):
        self.ingress, self.namespace = ingress, namespace
        self.lock, self.next, self.stop = threading.Lock(), 0, False
        self.taken, self.others = set(), []
        self.threads = [threading.Thread(target=self.loop) for _ in range(threads)]

    def loop(self):
        while not self.stop:
            with self.lock:
                number, self.next = self.next, self.next + 1
            while not self.stop:
                status = send(self.ingress, self.namespace, "number", number)
                if status == 202:
                    self.taken.add(number)
                    break
                self.others.append(status)
                time.sleep(0.05)
            time.sleep(0.01)

    def more(self, count=60):
        """Waits until so many more were taken than now."""
        begin = len(self.taken)
        wait_for("more events are taken", lambda: len(self.taken) >= begin + count, 60)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        for thread in self.threads:
            thread.join()


@pytest.fixture
def numbers(namespace, broker_ingress):
    """A ledger that gets every event "number", tried again and again."""
    ledger = Ledger(namespace)
    apply(broker(namespace))
    apply(trigger(namespace, "numbers", "number", "/ledger",
                  {"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}))
    wait_object_ready(namespace, "trigger", "numbers")
    return ledger


def all_came(ledger, load):
    """No event that was acknowledged is missing; says how often one came twice."""
    wait_for("every event that was taken has come", lambda: load.taken <= set(ledger.seen("number")), 60)
    seen = ledger.seen("number")
    print(f"\n{len(load.taken)} events taken, {len(seen) - len(set(seen))} came twice, "
          f"{len(load.others)} sendings not taken: {sorted(set(load.others))}")


def broker_pods(going=False):
    """Names; going: also of those that are being deleted."""
    return sorted(pod["metadata"]["name"] for pod in get("-n", SYSTEM, "pods", "-l", "app=lull-broker")["items"]
                  if going or "deletionTimestamp" not in pod["metadata"])


def all_ready(kind, name):
    found = get("-n", SYSTEM, kind, name)
    status = found["status"]
    return (status.get("observedGeneration") == found["metadata"]["generation"] and
            status.get("readyReplicas") == status.get("replicas") == status.get("updatedReplicas") == found["spec"]["replicas"])


def kill(pod):
    """kill -9 of the program in a pod of the system, where it can be seen; else the pod is deleted at once."""
    if not os.environ.get("LULL_CLUSTER_INSIDE"):
        kubectl("-n", SYSTEM, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")
        return
    uid = get("-n", SYSTEM, "pod", pod)["metadata"]["uid"]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if uid in (process / "cgroup").read_text() and re.search(b"lull-broker|redis-server", (process / "cmdline").read_bytes()):
                os.kill(int(process.name), signal.SIGKILL)
                return
    raise AssertionError(f"no program of pod {pod}")


def test_workers_killed_and_replaced_under_load_lose_nothing(namespace, broker_ingress, numbers):
    """Each is killed once and its container starts again; then one's pod goes without a word; then comes an upgrade, which
    refuses no event."""
    choose = random.Random(8)
    with Numbered(broker_ingress, namespace) as load:
        load.more()
        for victim in broker_pods():
            kill(victim)
            load.more()
            wait_for("two workers again", lambda: all_ready("deployment", "lull-broker"), 60)
        victim = choose.choice(broker_pods())
        kubectl("-n", SYSTEM, "delete", "pod", victim, "--force", "--grace-period=0", "--wait=false")
        load.more()
        wait_for("two workers again", lambda: victim not in broker_pods() and len(broker_pods()) == 2 and
                 all_ready("deployment", "lull-broker"), 60)
        load.more()
        before, refused = broker_pods(), len(load.others)
        kubectl("-n", SYSTEM, "rollout", "restart", "deployment/lull-broker")
        wait_for("two new workers, and the others gone",
                 lambda: all_ready("deployment", "lull-broker") and not set(before) & set(broker_pods(going=True)), 90)
        load.more()
    all_came(numbers, load)
    if os.environ.get("LULL_CLUSTER_INSIDE"):  # a port-forward ends with its pod
        assert len(load.others) == refused, load.others[refused:]


def test_redis_killed_loses_nothing(namespace, broker_ingress, numbers):
    """What was taken waits, since the ledger takes nothing; it outlives the process, and then the Pod, on the volume."""
    numbers.ask("refuse")
    claim = get("-n", SYSTEM, "pvc", "data-lull-redis-0")["metadata"]["uid"]
    with Numbered(broker_ingress, namespace) as load:
        load.more()
        kill("lull-redis-0")
        load.more()
        before = get("-n", SYSTEM, "pod", "lull-redis-0")["metadata"]["uid"]
        kubectl("-n", SYSTEM, "delete", "pod", "lull-redis-0", "--wait=false")
        wait_for("a new pod of Redis", lambda: (get("-n", SYSTEM, "pod", "lull-redis-0") or {"metadata": {"uid": before}})
                 ["metadata"]["uid"] != before, 60)
        load.more()
        assert not numbers.seen("number")
        numbers.ask("accept")
    all_came(numbers, load)
    assert get("-n", SYSTEM, "pvc", "data-lull-redis-0")["metadata"]["uid"] == claim
    wait_for("Redis and its workers are ready",
             lambda: all_ready("statefulset", "lull-redis") and all_ready("deployment", "lull-broker"), 60)


def test_the_command_asks_any_worker(namespace, broker_ingress):
    """Dead letters, a live view, a replay and numbers go through the API server to a Pod; counts of all of them are added up."""
    ledger = Ledger(namespace)
    apply(broker(namespace))
    apply(trigger(namespace, "work", "work", "/ledger", {"retry": 0}))
    wait_object_ready(namespace, "trigger", "work")

    def ask(*words):
        return json.loads(lull(namespace, *words, "-o", "json"))

    def numbers():
        return next(t for t in ask("top")["triggers"] if t["name"] == "work")

    ledger.ask("refuse")
    for number in range(4):
        send_taken(broker_ingress, namespace, "work", number)
    wait_for("four dead letters", lambda: len(ask("dlq", "list", "work")) == 4, 60)
    lines = lull(namespace, "event", "tail", "--broker", "b", "--since", "1h", "--count", "4", "-o", "json").splitlines()
    assert sorted(json.loads(line)["event"]["id"] for line in lines) == ["0", "1", "2", "3"]
    ledger.ask("accept")
    assert ask("dlq", "retry", "work", "--all")["retried"] == 4
    wait_for("all have come", lambda: sorted(ledger.seen("work")) == [0, 1, 2, 3], 60)
    wait_for("nothing waits", lambda: (numbers()["waiting"], numbers()["delivered"], numbers()["gaveUp"]) == (0, 4, 4), 60)
    assert ask("event", "replay", "--trigger", "work", "--since", "1h", "--filter", "id=2")["written"] > 0
    wait_for("one comes again", lambda: ledger.seen("work").count(2) > 1, 60)
    found = [f for f in json.loads(lull_at("doctor", "-n", namespace, "-o", "json", check=False).stdout)["findings"] if f["check"] == "events"]
    assert found[0]["level"] == "ok", found


def workload(namespace, kind, name, labels=None):
    """One that makes no Pods."""
    def container(name, **more):
        return {"name": name, "image": "dev.local/events:test", "imagePullPolicy": "IfNotPresent", **more}

    pod = {"containers": [container("main", env=[{"name": "REPLY", "value": "a"}, {"name": "ALSO", "value": "$(REPLY)"}]), container("side")],
           "initContainers": [container("first", command=["/events", "once"])]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}
    if kind == "CronJob":
        pod["restartPolicy"] = "Never"
        spec = {"suspend": True, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    return {"apiVersion": "batch/v1" if kind == "CronJob" else "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": {"mine": "yes"}}, "spec": spec}


def pod_spec(found):
    spec = found["spec"]
    return spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]


def variables(found):
    """Of each container, by its name."""
    return {container["name"]: {row["name"]: row["value"] for row in container.get("env", [])}
            for part in ("initContainers", "containers") for container in pod_spec(found)[part]}


def test_a_sink_binding_changes_workloads_and_undoes_it(namespace):
    """A Deployment by its name and a CronJob by its labels, which is made later; what somebody wrote and writes stays."""
    apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sink", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}})
    kinds = {"Deployment": ("apps/v1", {"name": "orders"}), "CronJob": ("batch/v1", {"selector": {"matchLabels": {"app": "shop"}}})}
    for kind, (api, which) in kinds.items():
        apply({"apiVersion": "sources.knative.dev/v1", "kind": "SinkBinding", "metadata": {"name": f"to-{kind.lower()}", "namespace": namespace},
               "spec": {"subject": {"apiVersion": api, "kind": kind, **which}, "ceOverrides": {"extensions": {"shop": "north"}},
                        "sink": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "sink"}}}})
    wait_for("the Deployment is missed", lambda: ready_condition(get("-n", namespace, "sinkbinding", "to-deployment"))[1] == "SubjectMissing", 60)
    first = {"Deployment": workload(namespace, "Deployment", "orders"), "CronJob": workload(namespace, "CronJob", "night", {"app": "shop"})}
    other = workload(namespace, "CronJob", "other", {"app": "other"})
    for wanted in (*first.values(), other):
        apply(wanted)
    ours = {"K_SINK": f"http://sink.{namespace}.svc.cluster.local", "K_CE_OVERRIDES": '{"extensions":{"shop":"north"}}'}

    def now(wanted):
        return get("-n", namespace, wanted["kind"], wanted["metadata"]["name"])

    def have(wanted, more):
        return variables(now(wanted)) == {name: {**env, **more} for name, env in variables(wanted).items()}

    for kind, wanted in first.items():
        wait_for(f"the {kind} has the variables", lambda wanted=wanted: have(wanted, ours), 60)
        wait_object_ready(namespace, "sinkbinding", f"to-{kind.lower()}")
        conditions = get("-n", namespace, "sinkbinding", f"to-{kind.lower()}")["status"]["conditions"]
        assert {row["type"]: row["status"] for row in conditions}.items() >= {"SinkBindingAvailable": "True", "SinkProvided": "True"}.items()
        pod_spec(wanted)["containers"][0]["env"][0]["value"] = "b"
        apply(wanted)  # as somebody who knows of no binding
        wait_for(f"the {kind} has both", lambda wanted=wanted: have(wanted, ours), 60)
    for kind, wanted in first.items():
        kubectl("-n", namespace, "delete", "sinkbinding", f"to-{kind.lower()}")
        wait_for(f"the {kind} is as it was written", lambda wanted=wanted: have(wanted, {}), 60)
        meta = now(wanted)["metadata"]
        assert not [key for key in (*meta.get("labels", {}), *meta["annotations"]) if "sources.lull.dev" in key], meta
        assert meta["annotations"]["mine"] == "yes" and meta.get("labels", {}) == wanted["metadata"]["labels"]
    assert have(other, {}) and now(other)["metadata"]["generation"] == 1


def test_a_trigger_keeps_its_broker(namespace):
    """In Knative's words."""
    apply(trigger(namespace, "t", "x", "/ledger"))
    moved = trigger(namespace, "t", "x", "/ledger")
    moved["spec"]["broker"] = "other"
    said = run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(moved), check=False).stderr
    assert ('admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: '
            "Immutable fields changed (-old +new): broker, spec") in said
