# SPDX-License-Identifier: Apache-2.0
"""`lull install` again and where it must not, `lull uninstall` without loss, and --purge. Runs after the others (hence its name), since
it takes Lull away."""

import os

import pytest

from cluster import REDIS_IMAGE, TAG, apply, get, hello, host_of, kubectl, lull_at, pods_of, ready_condition, wait_for, wait_ready
from conftest import reach
from redis_pods import SECRET, RedisPods
from test_events import Ledger, broker, send, send_taken, trigger, wait_object_ready

PARTS = ("lull-activator", "lull-autoscaler", "lull-controller", *(["lull-broker"] if REDIS_IMAGE else []))


def test_nothing_was_refused_to_a_part(installed):
    """Least privilege is enough: no part was told by the API server that it may not."""
    for pod in get("-n", "lull-system", "pods")["items"]:
        said = kubectl("-n", "lull-system", "logs", pod["metadata"]["name"])
        assert "is forbidden: User" not in said, said[-2000:]


def test_a_second_install_changes_nothing(installed):
    lull_at("install", "--tag", TAG)  # takes back what tests before this one have changed
    before = {part: get("-n", "lull-system", "deployment", part)["metadata"]["generation"] for part in PARTS}
    config = get("-n", "lull-system", "configmap", "config-domain")["data"]
    said = lull_at("install", "--tag", TAG).stdout
    assert "0 objects created, 0 changed" in said, said
    assert before == {part: get("-n", "lull-system", "deployment", part)["metadata"]["generation"] for part in PARTS}
    assert get("-n", "lull-system", "configmap", "config-domain")["data"] == config and "example.com" in config


def test_an_image_that_is_not_there_is_said(installed):
    def said():
        done = lull_at("install", "--tag", "missing", "--timeout", "5", check=False)
        assert done.returncode == 1 and "lull-autoscaler is not ready after 5 s" in done.stderr, done
        return "dev.local/lull-autoscaler:missing" in done.stderr

    try:
        wait_for("lull install names the image", said, 60)
    finally:
        assert "lull-activator ready" in lull_at("install", "--tag", TAG).stdout


def test_knative_itself_is_left_alone(installed):
    label, crd = "app.kubernetes.io/part-of", "crd/services.serving.knative.dev"
    kubectl("label", "--overwrite", crd, f"{label}=knative-serving")
    try:
        for command in (["install"], ["uninstall"], ["uninstall", "--purge"]):
            done = lull_at(*command, check=False)
            assert done.returncode == 1 and "not Lull's" in done.stderr, done
    finally:
        kubectl("label", "--overwrite", crd, f"{label}=lull")


def test_knatives_controllers_are_seen(installed):
    kubectl("create", "namespace", "knative-serving")
    try:
        kubectl("-n", "knative-serving", "create", "deployment", "controller", "--image=dev.local/none:1")
        done = lull_at("install", "--tag", TAG, check=False)
        assert done.returncode == 1 and "knative-serving/controller" in done.stderr, done
        # One that is scaled down is in nobody's way.
        kubectl("-n", "knative-serving", "scale", "deployment", "controller", "--replicas=0")
        lull_at("install", "--tag", TAG)
    finally:
        kubectl("delete", "namespace", "knative-serving", "--wait=false")


@pytest.fixture(scope="module")
def own_redis(installed):
    """A Redis of one's own and the options of `lull install` for it; None where there can be none."""
    if not REDIS_IMAGE or not os.environ.get("LULL_CLUSTER_INSIDE"):
        yield None, []
        return
    pods = RedisPods(f"t{os.getpid()}-redis")
    try:
        pods.write_secret(f"rediss://lull:one@{pods.host('a')}:6379/0")
        yield pods, ["--events-redis", SECRET]
    finally:
        pods.close()


def test_functions_outlive_an_uninstall(installed, namespace, own_redis):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    host, running = host_of(service), [pod["metadata"]["uid"] for pod in pods_of(namespace, "hello-00001")]
    secret = get("-n", "lull-system", "secret", "lull-install")["data"]
    lull_at("uninstall")
    assert not get("-n", "lull-system", "pods")["items"]
    left = kubectl("get", "clusterrole,clusterrolebinding", "-o", "name")
    assert "lull" not in left, left
    assert get("-n", namespace, "ksvc", "hello")["metadata"]["uid"] == service["metadata"]["uid"]
    lull_at("install", "--tag", TAG, *own_redis[1])
    with reach("lull-activator") as ingress:
        wait_for("the function answers again", lambda: ingress.request(host)[0] == 200, 30)
    assert [pod["metadata"]["uid"] for pod in pods_of(namespace, "hello-00001")] == running
    assert get("-n", "lull-system", "secret", "lull-install")["data"] == secret


def broker_condition(namespace):
    return next((c for c in get("-n", namespace, "broker", "b")["status"]["conditions"] if c["type"] == "IngressReady"))


@pytest.mark.timeout(300)
def test_events_in_a_redis_of_ones_own(installed, namespace, own_redis):
    """TLS with both certificates and an ACL user, all from one Secret; a Broker that is told when lull-broker cannot work;
    password and address exchanged without a restart, to Sentinels; a fail-over."""
    pods, options = own_redis
    if not pods:
        pytest.skip("no redis-server here, or not a cluster of our own")
    lull_at("install", "--tag", TAG, *options)
    workers = {pod["metadata"]["uid"] for pod in get("-n", "lull-system", "pods", "-l", "app=lull-broker")["items"]}
    ledger = Ledger(namespace)
    apply(broker(namespace))
    apply(trigger(namespace, "t", "number", "/ledger", {"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}))
    wait_object_ready(namespace, "trigger", "t")

    def comes(number):
        send_taken(ingress, namespace, "number", number)
        wait_for("it comes", lambda: number in ledger.seen("number"), 60)

    with reach("broker-ingress") as ingress:
        comes(1)
        pods.watched()
        pods.set_password("a", "b", password="two")
        wait_for("the Broker says it", lambda: broker_condition(namespace)["status"] == "False", 60)
        said = broker_condition(namespace)
        assert said["reason"] == "BrokerNotAvailable" and "lull-system/lull-broker" in said["message"], said
        assert ready_condition(get("-n", namespace, "trigger", "t"))[:2] == ("False", "BrokerNotAvailable")
        assert send(ingress, namespace, "number", 2) != 202
        pods.write_secret(f"rediss+sentinel://lull:two@{pods.host('sentinel')}:26379/main", **{"sentinel-password": "sentinel-word"})
        wait_object_ready_again(namespace)
        comes(2)
        kubectl("-n", pods.namespace, "delete", "pod", "a", "--force", "--grace-period=0", "--wait=false")
        wait_for("the replica takes over", lambda: "role:master" in pods.ask("b", "INFO", "replication"), 60, every=0.3)
        comes(3)
    assert {pod["metadata"]["uid"] for pod in get("-n", "lull-system", "pods", "-l", "app=lull-broker")["items"]} == workers


def wait_object_ready_again(namespace):
    wait_for("Broker and Trigger are Ready", lambda: all(
        ready_condition(get("-n", namespace, kind, name))[0] == "True" for kind, name in (("broker", "b"), ("trigger", "t"))), 150)


def test_purge_leaves_nothing(installed, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    wait_ready(namespace)
    lull_at("uninstall", "--purge")
    assert not any(get("-n", namespace, kind)["items"] for kind in ("deployments", "services"))
    assert get("namespace", "lull-system") is None
    left = kubectl("get", "crd,clusterrole,clusterrolebinding", "-o", "name")
    assert "knative" not in left and "lull" not in left, left
    lull_at("uninstall", "--purge")  # nothing to do is no failure
