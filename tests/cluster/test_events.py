# SPDX-License-Identifier: Apache-2.0
"""Events on a cluster: Brokers and Triggers, a chain of functions that wake from zero, and what survives when lull-broker and
Redis are killed."""

import http.client
import json
import random
import threading
import time

import pytest

from cluster import apply, get, hello, kubectl, pods_of, ready_condition, wait_for, wait_ready, wait_zero

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
    return hello(namespace, name, image="dev.local/events:test", env={"REPLY": reply})


def test_a_chain_of_functions_wakes_from_zero(namespace, broker_ingress):
    """placed -> price -> priced -> ship -> shipped -> ledger, whose Service is one of Kubernetes' own."""
    apply(broker(namespace))
    for name, reply in (("price", "order.priced"), ("ship", "order.shipped")):
        apply(function(namespace, name, reply))
    ledger = Ledger(namespace)
    apply(trigger(namespace, "to-price", "order.placed", "price"))
    apply(trigger(namespace, "to-ship", "order.priced", "ship"))
    apply(trigger(namespace, "to-ledger", "order.shipped", "/ledger"))
    for name in ("price", "ship"):
        wait_ready(namespace, name)
    wait_object_ready(namespace, "broker", "b")
    for name in ("to-price", "to-ship", "to-ledger"):
        wait_object_ready(namespace, "trigger", name)
    address = get("-n", namespace, "broker", "b")["status"]["address"]["url"]
    assert address == f"http://broker-ingress.lull-system.svc.cluster.local/{namespace}/b"
    for name in ("price", "ship"):
        wait_zero(namespace, f"{name}-00001")
    begin = time.monotonic()
    send_taken(broker_ingress, namespace, "order.placed", 7)
    wait_for("the last of the chain has it", lambda: 7 in ledger.seen("order.shipped"), 60)
    print(f"\ntwo functions woken by an event and its reply: {time.monotonic() - begin:.1f} s")
