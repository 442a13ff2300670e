# SPDX-License-Identifier: Apache-2.0
"""The chart with the real helm: lint, the manifests made from it, install, upgrade under load, uninstall and install
again without loss. Runs last, when nothing of Lull is on the cluster any more."""

import json
import os
import shlex

import pytest
import yaml

from cluster import (KUBECTL, REDIS_IMAGE, ROOT, TAG, Load, apply, get, hello, host_of, kubectl, lull_at, pods_of, ready_condition, run, volume, wait_for,
                     wait_ready)
from conftest import reach
from test_events import Ledger, broker, send_taken, trigger, wait_object_ready

HELM = os.environ.get("HELM", "")
CHART = str(ROOT / "deploy/chart")
EVENTS = ["--set", "events.redis.builtin=true", "--set", f"events.redis.image={REDIS_IMAGE}"] if REDIS_IMAGE else []
PARTS = ("lull-activator", "lull-autoscaler", "lull-controller")
pytestmark = pytest.mark.skipif(not HELM, reason="no helm, and none could be built (Go 1.26 or newer)")


def helm(*args, check=True):
    target = []
    if "--kubeconfig" in KUBECTL and args[0] not in ("lint", "template"):
        target = ["--kubeconfig", KUBECTL[KUBECTL.index("--kubeconfig") + 1]]
    return run(HELM, *args, *target, check=check, timeout=240)


def install(*args, command="install"):
    return helm(command, "lull", CHART, "-n", "lull-system", "--create-namespace", "--wait", "--timeout", "120s",
                "--set", f"image.tag={TAG}", "--set-json", 'config.domain={"example.com": ""}',
                "--set", "config.autoscaler.allow-unsafe-windows=true", "--set", "config.autoscaler.stable-window=2s",
                *args)


def manifests(*args):
    done = helm("template", "lull", CHART, "-n", "lull-system", "--kube-version", "1.30.0", *args)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def of_kind(items, kind, name):
    return next(i for i in items if (i["kind"], i["metadata"]["name"]) == (kind, name))


def test_lint():
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART).stdout


def test_lull_yaml_is_what_the_chart_gives():
    run(str(ROOT / "tools/manifests"), "--check", "--helm", shlex.quote(HELM))


@pytest.mark.parametrize("value, where", [
    ("activator.replicas=0", "/activator/replicas"),
    ("activatr.replicas=3", "activatr"),
    ("publicService.type=Gateway", "/publicService/type"),
    ("config.autoscalr.stable-window=6s", "autoscalr"),
    ("image.tag=a b", "/image/tag"),
    ("events.redis.fsync=no", "/events/redis/fsync"),
    ("events.redis.builtin=true,events.redis.urlSecret.name=x", "exclude each other"),
])
def test_a_wrong_value_is_refused_with_its_name(value, where):
    done = helm("template", "lull", CHART, "--kube-version", "1.30.0", "--set", value, check=False)
    assert done.returncode != 0 and where in done.stderr, done.stderr


def test_values_do_what_they_say():
    items = manifests(
        "--set", "activator.autoscaling.enabled=true", "--set", "publicService.type=LoadBalancer",
        "--set", "publicService.externalTrafficPolicy=Local", "--set", "privateService.type=NodePort",
        "--set", "privateService.nodePort=30081", "--set", "networkPolicy.enabled=false",
        "--set", "controller.image=registry.example/c@sha256:1", "--set", "image.registry=registry.example/lull",
        "--set", "image.tag=v1", "--set", "config.autoscaler.initial-scale=0", "--set", "installSecret.create=false",
        "--set-json", 'image.pullSecrets=[{"name":"key"}]', "--set-json", 'activator.extraArgs=["--workers=auto"]',
        "--set", "activator.nodeSelector.disk=ssd", "--set", "activator.announce=false")
    kinds = {i["kind"] for i in items}
    assert "NetworkPolicy" not in kinds and "Secret" not in kinds
    scaler = of_kind(items, "HorizontalPodAutoscaler", "lull-activator")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    activator = of_kind(items, "Deployment", "lull-activator")["spec"]
    assert "replicas" not in activator
    pod = activator["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/lull/lull-activator:v1"
    assert pod["containers"][0]["args"][-1] == "--workers=auto"
    assert pod["imagePullSecrets"] == [{"name": "key"}] and pod["nodeSelector"] == {"disk": "ssd"}
    controller = of_kind(items, "Deployment", "lull-controller")["spec"]["template"]["spec"]["containers"][0]
    assert controller["image"] == "registry.example/c@sha256:1"
    assert "--queue-proxy-image=registry.example/lull/lull-queue-proxy:v1" in controller["args"]
    assert "--announce=false" in pod["containers"][0]["args"] and "--announce" not in str(controller["args"])
    assert "volumeMounts" not in controller
    public = of_kind(items, "Service", "lull-activator")["spec"]
    assert (public["type"], public["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert of_kind(items, "Service", "lull-activator-local")["spec"]["ports"][0]["nodePort"] == 30081
    data = of_kind(items, "ConfigMap", "config-autoscaler")["data"]
    assert data["initial-scale"] == "0" and "stable-window" in data["_example"] and "SPDX" not in data["_example"]


def test_a_gateway_of_ones_own_and_no_tls():
    items = manifests("--set", "gateway.kind=HTTPRoute", "--set-json", 'gateway.parentRefs=[{"name":"web"}]',
                      "--set", "tls.enabled=false", "--set", "publicService.port=8088")
    data = of_kind(items, "ConfigMap", "config-network")["data"]
    assert {k: v for k, v in data.items() if k.startswith("gateway-")} == {
        "gateway-kind": "HTTPRoute", "gateway-parent-refs": '[{"name":"web"}]', "gateway-backend-port": "8088"}
    rules = of_kind(items, "Role", "lull-controller")["rules"]
    assert [r["verbs"] for r in rules if r["resources"] == ["httproutes"]] == [["list", "watch", "create", "patch", "delete"]]
    assert not [i for i in items if i["kind"] == "Namespace"]
    for part in ("activator", "controller"):
        args = of_kind(items, "Deployment", f"lull-{part}")["spec"]["template"]["spec"]["containers"][0]["args"]
        assert not [a for a in args if "tls" in a or "certificate" in a]
    assert [p["name"] for p in of_kind(items, "Service", "lull-activator")["spec"]["ports"]] == ["http"]


def arguments(items, part):
    return of_kind(items, "Deployment", f"lull-{part}")["spec"]["template"]["spec"]["containers"][0]["args"]


def test_events_are_off_without_a_redis():
    items = manifests()
    assert not [i["metadata"]["name"] for i in items if i["metadata"]["name"] in ("lull-broker", "lull-redis", "broker-ingress")]
    assert not [a for part in ("activator", "controller") for a in arguments(items, part) if a.startswith("--broker")]


def redis_files(items):
    """Of the Secrets that lull-broker has: name, whether it can do without, keys with their paths."""
    volumes = of_kind(items, "Deployment", "lull-broker")["spec"]["template"]["spec"]["volumes"]
    (sources,) = [v["projected"]["sources"] for v in volumes if v["name"] == "redis"]
    return [(s["secret"]["name"], s["secret"].get("optional", False), [(i["key"], i["path"]) for i in s["secret"]["items"]])
            for s in sources]


def test_the_command_gives_what_the_chart_gives_for_a_secret():
    """It writes that into the manifests by itself."""
    ours = yaml.safe_load_all(lull_at("install", "--print", "--events-redis", "ours/uri").stdout)
    chart = manifests("--set", "events.redis.urlSecret.name=ours", "--set", "events.redis.urlSecret.key=uri")
    assert redis_files([o for o in ours if o]) == redis_files(chart) and len(redis_files(chart)) == 2


def test_metrics_come_from_the_parts_alone():
    """A Redis that came along has none."""
    items = manifests("--set", "events.redis.builtin=true", "--set", "metrics.serviceMonitor.enabled=true")
    wanted = of_kind(items, "Service", "lull-metrics")["spec"]["selector"]
    chosen = {i["metadata"]["name"] for i in items if i["kind"] in ("Deployment", "StatefulSet")
              if wanted.items() <= i["spec"]["template"]["metadata"]["labels"].items()}
    assert chosen == {*PARTS, "lull-broker"}


def test_who_may_send_events_can_be_said():
    def rule(*args):
        policy = of_kind(manifests("--set", "events.redis.builtin=true", *args), "NetworkPolicy", "lull-broker")
        return next(r for r in policy["spec"]["ingress"] if r["ports"] == [{"port": "ingress"}])

    assert "from" not in rule()
    shop = {"podSelector": {"matchLabels": {"role": "shop"}}}
    parts, who = rule("--set-json", f"networkPolicy.eventsFrom={json.dumps([shop])}")["from"]
    assert who == shop and "lull-activator" in str(parts)


def test_events_with_a_redis_of_ones_own():
    items = manifests("--set", "events.redis.urlSecret.name=ours", "--set", "events.redis.caSecret.name=our-ca",
                      "--set", "events.redis.tlsSecret.name=our-tls", "--set", "events.redis.wait=1:500", "--set", "broker.replicas=1",
                      "--set", "broker.readSecrets=false", "--set-json", 'broker.extraArgs=["--max-events=5"]')
    pod = of_kind(items, "Deployment", "lull-broker")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["env"] == [{"name": "LULL_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    assert redis_files(items) == [
        ("ours", False, [("url", "url")]), ("ours", True, [("sentinel-password", "sentinel-password")]),
        ("our-ca", False, [("ca.crt", "ca.crt")]), ("our-tls", False, [("tls.crt", "tls.crt"), ("tls.key", "tls.key")])]
    args = container["args"]
    assert [a for a in args if a.startswith("--redis")] == [
        "--redis-file=/etc/lull/redis/url", "--redis-ca=/etc/lull/redis/ca.crt", "--redis-cert=/etc/lull/redis/tls.crt",
        "--redis-key=/etc/lull/redis/tls.key", "--redis-wait=1:500"]
    assert args[-1] == "--max-events=5"
    where = "http://broker-ingress.lull-system.svc.cluster.local"
    assert f"--broker-ingress={where}" in arguments(items, "controller") and f"--broker={where}" in arguments(items, "activator")
    assert not [i for i in items if i["metadata"]["name"] == "lull-redis"]
    assert not [i for i in items if (i["kind"], i["metadata"]["name"]) == ("PodDisruptionBudget", "lull-broker")]
    assert "secrets" not in str(of_kind(items, "ClusterRole", "lull-broker")["rules"])


def test_events_with_a_redis_that_comes_along():
    items = manifests("--set", "events.redis.builtin=true", "--set", "events.redis.storage.className=fast",
                      "--set", "events.redis.storage.size=1Gi", "--set", "events.redis.fsync=everysec")
    url = of_kind(items, "Secret", "lull-redis")["stringData"]
    assert len(url["password"]) == 40 and url["url"] == f"redis://:{url['password']}@lull-redis:6379/0"
    redis = of_kind(items, "StatefulSet", "lull-redis")["spec"]
    (claim,) = redis["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast" and claim["spec"]["resources"] == {"requests": {"storage": "1Gi"}}
    args = redis["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--appendfsync") + 1] == "everysec" and args[args.index("--maxmemory-policy") + 1] == "noeviction"
    rule = of_kind(items, "NetworkPolicy", "lull-redis")["spec"]["ingress"]
    assert rule == [{"from": [{"podSelector": {"matchLabels": {"app": "lull-broker"}}}], "ports": [{"port": "redis"}]}]


def revision_of(pods):
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.fixture(scope="module")
def release():
    assert get("crd", "services.serving.knative.dev") is None, "something of Lull is left on the cluster"
    if REDIS_IMAGE:
        volume("data-lull-redis-0")
    install(*EVENTS)
    yield
    helm("uninstall", "lull", "-n", "lull-system", "--wait", check=False)
    lull_at("uninstall", "--purge")


def secret():
    return get("-n", "lull-system", "secret", "lull-install")["data"]["secret"]


def event_waits(namespace):
    """An event that was taken and that nobody takes."""
    ledger = Ledger(namespace)
    apply(broker(namespace))
    apply(trigger(namespace, "t", "number", "/ledger", {"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}))
    wait_object_ready(namespace, "trigger", "t")
    ledger.ask("refuse")
    with reach("broker-ingress") as ingress:
        send_taken(ingress, namespace, "number", 1)
    return ledger


def without_events(namespace):
    wait_for("its Broker says that there is no lull-broker",
             lambda: ready_condition(get("-n", namespace, "broker", "b"))[:2] == ("False", "NoIngress"), 60)
    message = ready_condition(get("-n", namespace, "broker", "b"))[2]
    assert "events.redis" in message and "--events-redis" in message
    wait_for("its pods are gone", lambda: not get("-n", "lull-system", "pods", "-l", "app in (lull-broker, lull-redis)")["items"], 60)


@pytest.mark.timeout(600)
def test_installed_functions_survive_upgrade_uninstall_and_install(release, namespace):
    """Events are on at first, off after the upgrade, and on again: what was taken before comes then."""
    ledger = event_waits(namespace) if EVENTS else None
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    service = wait_ready(namespace)
    host, first = host_of(service), secret()
    replicas = revision_of(pods_of(namespace, "hello-00001"))
    # A key that was set by hand is nobody else's.
    kubectl("-n", "lull-system", "patch", "configmap", "config-autoscaler", "--type=merge", "-p",
            '{"data":{"scale-to-zero-grace-period":"1s"}}')

    with reach("lull-activator") as ingress:
        before = {part: get("-n", "lull-system", "deployment", part)["metadata"]["generation"] for part in PARTS}
        # Without a port-forward, that is: such a one ends with its pod.
        with Load(ingress, host) as load:
            install("--set-json", 'podAnnotations={"example.com/upgrade":"2"}', command="upgrade")
            wait_for("requests after the upgrade", lambda good=load.good: load.good > good + 20, 30)
        for part in PARTS:
            assert get("-n", "lull-system", "deployment", part)["metadata"]["generation"] > before[part]
        if os.environ.get("LULL_CLUSTER_INSIDE"):
            assert not load.bad, load.bad[:5]
        assert secret() == first
        assert revision_of(pods_of(namespace, "hello-00001")) == replicas, "an upgrade starts no replica anew"
        config = get("-n", "lull-system", "configmap", "config-autoscaler")["data"]
        assert config["scale-to-zero-grace-period"] == "1s" and config["stable-window"] == "2s"
    if ledger:
        without_events(namespace)
        assert not ledger.seen("number")
        ledger.ask("accept")

    helm("uninstall", "lull", "-n", "lull-system", "--wait")
    wait_for("the parts are gone", lambda: not get("-n", "lull-system", "pods")["items"], 60)
    assert get("-n", namespace, "ksvc", "hello")["metadata"]["uid"] == service["metadata"]["uid"]
    assert revision_of(pods_of(namespace, "hello-00001")) == replicas
    assert secret() == first and get("-n", "lull-system", "configmap", "config-domain")["data"]["example.com"] == ""

    install(*EVENTS)
    assert secret() == first
    with reach("lull-activator") as ingress:
        wait_for("the function answers again", lambda: ingress.request(host)[0] == 200, 30)
    assert revision_of(pods_of(namespace, "hello-00001")) == replicas
    if ledger:
        wait_for("what was taken comes", lambda: 1 in ledger.seen("number"), 60)


def test_nothing_was_refused_to_a_part(release):
    """Least privilege is enough: no part was told that it may not."""
    for part in (*PARTS, *(["lull-broker"] if EVENTS else [])):
        for pod in get("-n", "lull-system", "pods", "-l", f"app={part}")["items"]:
            said = kubectl("-n", "lull-system", "logs", pod["metadata"]["name"])
            assert "is forbidden: User" not in said, said[-2000:]
