#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The questions for the reference: valid objects, and a table of changes to them, about one per rule.

A case: name, kind, user, object; old for an update; config (defaults, features, autoscaler: data of the
ConfigMaps); warn: warnings are of interest; ours: our answer where it is another on purpose; loose: only
the first line of the error is compared, because Go prints addresses or whole structs in the rest."""
import copy
import json
import re

TEMPLATE = "spec.template"
SPEC = TEMPLATE + ".spec"
ONE = SPEC + ".containers[0]"
IMAGE = "registry.example.com/hello:v1"
AUTOSCALING = "autoscaling.knative.dev/"
SERVING = "serving.knative.dev/"
QUEUE = "queue.sidecar.serving.knative.dev/"
LONG = "a" * 64

cases = []


def steps(path):
    return [int(s[1:-1]) if s[0] == "[" else s for s in re.findall(r"\[\d+\]|[^.\[\]]+", path)]


def put(root, path, value):
    """Sets a value; makes objects and list elements on the way. A path may be a list of steps."""
    way = path if isinstance(path, list) else steps(path)
    at = root
    for here, after in zip(way, way[1:]):
        fresh = [] if isinstance(after, int) else {}
        if isinstance(here, int):
            while len(at) <= here:
                at.append({})
            if not at[here] and isinstance(fresh, list) != isinstance(at[here], list):
                at[here] = fresh
            at = at[here]
        else:
            at = at.setdefault(here, fresh)
    if isinstance(way[-1], int):
        while len(at) <= way[-1]:
            at.append({})
    if value is DROP:
        at.pop(way[-1], None)
    else:
        at[way[-1]] = value


DROP = object()


def revision_spec(**more):
    return {"containers": [{"image": IMAGE}], **more}


def base(kind):
    meta = {"name": "hello", "namespace": "default"}
    api = {"Service": "serving.knative.dev/v1", "DomainMapping": "serving.knative.dev/v1beta1",
           "PodAutoscaler": "autoscaling.internal.knative.dev/v1alpha1"}.get(kind, "serving.knative.dev/v1")
    spec = {
        "Service": {"template": {"spec": revision_spec()}},
        "Configuration": {"template": {"spec": revision_spec()}},
        "Revision": revision_spec(),
        "Route": {"traffic": [{"revisionName": "hello-00001", "percent": 100}]},
        "PodAutoscaler": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-deployment"},
                          "protocolType": "http1"},
        "DomainMapping": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}},
    }[kind]
    if kind == "DomainMapping":
        meta["name"] = "hello.example.com"
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}


def build(kind, changes):
    made = base(kind)
    for path, value in changes.items():
        put(made, list(path) if isinstance(path, tuple) else path, value)
    return made


def case(name, kind="Service", changes=None, old=None, user="ann", config=None, **more):
    line = {"name": name, "kind": kind, "user": user}
    if config:
        line["config"] = config
    line.update(more)
    if old is not None:
        line["old"] = stored(build(kind, old), user="ann")
    line["object"] = build(kind, changes or {})
    if old is not None:  # what a client sends has the annotations that it read
        kept = line["old"]["metadata"].get("annotations", {})
        line["object"]["metadata"]["annotations"] = {**kept, **line["object"]["metadata"].get("annotations", {})}
        for key in [k for k, v in line["object"]["metadata"]["annotations"].items() if v is None]:
            del line["object"]["metadata"]["annotations"][key]
        if not line["object"]["metadata"]["annotations"]:
            del line["object"]["metadata"]["annotations"]
    cases.append(line)


def stored(made, user):
    """As it would be in the store: who made it. Defaults are left to the reference."""
    made = copy.deepcopy(made)
    owned = made["metadata"].get("ownerReferences")
    if made["kind"] in ("Service", "DomainMapping") or (made["kind"] in ("Configuration", "Route") and not owned):
        put(made, ["metadata", "annotations"], {SERVING + "creator": user, SERVING + "lastModifier": user,
                                                **made["metadata"].get("annotations", {})})
    return made


def note(key, value, at="template"):
    way = ["spec", "template", "metadata", "annotations"] if at == "template" else ["metadata", "annotations"]
    return {tuple(way + [key]): value}


def features(**flags):
    names = {"init": "kubernetes.podspec-init-containers", "multi": "multi-container",
             "probing": "multi-container-probing", "secure": "secure-pod-defaults"}
    return {"features": {names.get(k, "kubernetes.podspec-" + k.replace("_", "-")): v for k, v in flags.items()}}


def two(*more, ports=True):
    """Two containers; the first serves."""
    found = {SPEC + ".containers": [{"image": IMAGE, **({"ports": [{"containerPort": 8080}]} if ports else {})},
                                    {"image": "sidecar"}]}
    for extra in more:
        found.update(extra)
    return found


def with_mount(volume, mount=None, name="data"):
    return {SPEC + ".volumes": [{"name": name, **volume}],
            ONE + ".volumeMounts": [{"name": name, "mountPath": "/data", **(mount or {})}]}


# --- every kind as it should be -------------------------------------------------------------------
def plain():
    for kind in ("Service", "Configuration", "Revision", "Route", "PodAutoscaler", "DomainMapping"):
        case(f"{kind} valid", kind, warn=True)
        case(f"{kind} nobody", kind, user="")
        case(f"{kind} generateName", kind, {"metadata.name": DROP, "metadata.generateName": "hello-"})
        case(f"{kind} no name", kind, {"metadata.name": DROP})
        case(f"{kind} no spec", kind, {"spec": DROP})
        case(f"{kind} empty spec", kind, {"spec": {}})
        for bad in ("Hello", "hello-", "1hello", "he_llo", "he.llo", LONG, "-hello", "héllo", "a" * 300):
            case(f"{kind} name {bad[:70]} {len(bad)}", kind, {"metadata.name": bad})
        for bad in ("Hello", "-", "1a-", "a--", LONG + "-"):
            case(f"{kind} generateName {bad}", kind, {"metadata.name": DROP, "metadata.generateName": bad})
        case(f"{kind} autoscaling annotation outside", kind, note(AUTOSCALING + "min-scale", "1", at="object"))
        case(f"{kind} annotation of the bare group", kind, note("autoscaling.knative.devx", "1", at="object"))
        case(f"{kind} update same", kind, {}, old={})
        case(f"{kind} update same other user", kind, {}, old={}, user="bob")
        case(f"{kind} creator changed", kind, note(SERVING + "creator", "bob", at="object"), old={})
        case(f"{kind} creator dropped", kind, note(SERVING + "creator", None, at="object"), old={})
        case(f"{kind} modifier changed alone", kind, note(SERVING + "lastModifier", "eve", at="object"), old={})
        case(f"{kind} status update", kind, {"status": {}}, old={}, status=True)
        case(f"{kind} owned", kind, {"metadata.ownerReferences": [
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello", "uid": "1"}]})


# --- traffic --------------------------------------------------------------------------------------
def traffic():
    lists = {
        "empty": [],
        "latest": [{"latestRevision": True, "percent": 100}],
        "percent only": [{"percent": 100}],
        "nothing said": [{}],
        "pinned": [{"revisionName": "hello-00001", "percent": 100}],
        "split": [{"revisionName": "hello-00001", "percent": 40}, {"percent": 60, "tag": "next"}],
        "tag without percent": [{"percent": 100}, {"revisionName": "hello-00001", "tag": "old"}],
        "sum 90": [{"percent": 90}],
        "sum 110": [{"percent": 60}, {"revisionName": "hello-00001", "percent": 50}],
        "percent -1": [{"percent": -1}, {"revisionName": "hello-00001", "percent": 101}],
        "percent huge": [{"percent": 9223372036854775807}],
        "latest and name": [{"latestRevision": True, "revisionName": "hello-00001", "percent": 100}],
        "not latest without name": [{"latestRevision": False, "percent": 100}],
        "configuration": [{"configurationName": "hello", "percent": 100}],
        "configuration and revision": [{"configurationName": "hello", "revisionName": "x", "percent": 100}],
        "configuration bad": [{"configurationName": "he llo", "percent": 100}],
        "revision bad": [{"revisionName": "he llo", "percent": 100}],
        "revision slash": [{"revisionName": "a/b/c", "percent": 50}, {"revisionName": "/b", "percent": 50}],
        "revision prefix": [{"revisionName": "A_/b", "percent": 50}, {"revisionName": "a/", "percent": 50}],
        "revision long": [{"revisionName": LONG, "percent": 100}],
        "tag twice": [{"percent": 50, "tag": "a"}, {"revisionName": "x", "percent": 50, "tag": "a"}],
        "tag three times": [{"percent": 50, "tag": "a"}, {"revisionName": "x", "percent": 50, "tag": "a"},
                            {"revisionName": "x", "tag": "a"}],
        "tag bad": [{"percent": 100, "tag": "A b"}],
        "tag bad twice": [{"percent": 50, "tag": "-"}, {"percent": 50, "tag": "-"}],
        "tag long": [{"percent": 100, "tag": LONG}],
        "url": [{"percent": 100, "url": "http://x"}],
        "url and tag": [{"percent": 100, "tag": "a", "url": "http://x"}],
        "many wrong": [{"percent": -5, "url": "http://x"}, {"percent": 300, "configurationName": "c", "revisionName": "r"}],
    }
    for name, value in lists.items():
        case(f"Service traffic {name}", "Service", {"spec.traffic": value})
        case(f"Route traffic {name}", "Route", {"spec.traffic": value})


# --- annotations and labels -----------------------------------------------------------------------
def annotations():
    values = {
        "class": ["kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev", "x.autoscaling.knative.dev", "mine", ""],
        "min-scale": ["0", "1", "-1", "1.5", "x", "", "2147483648", "9999999999999999999", "+3"],
        "minScale": ["2", "x"],
        "max-scale": ["0", "3", "-1", "x", "2147483647"],
        "maxScale": ["x"],
        "initial-scale": ["0", "1", "-1", "x", "99999999999999999999"],
        "initialScale": ["0", "-2"],
        "activation-scale": ["1", "2", "0", "x", "-3"],
        "scale-down-delay": ["0s", "15m", "61m", "-1s", "1500ms", "x", "1h"],
        "scaleDownDelay": ["2h"],
        "metric": ["concurrency", "rps", "cpu", "", "x"],
        "target": ["1", "0.01", "0.001", "0", "-1", "x", "Inf", "1e400", "0x1p-2", "1_0"],
        "target-utilization-percentage": ["1", "70", "0.5", "101", "x", "100.0"],
        "targetUtilizationPercentage": ["0"],
        "target-burst-capacity": ["-1", "0", "100", "-2", "-0.5", "x"],
        "targetBurstCapacity": ["x"],
        "window": ["6s", "5s", "1h", "61m", "6500ms", "x", "", "1m30s"],
        "panic-window-percentage": ["1", "100", "0.5", "101", "x"],
        "panicWindowPercentage": ["0"],
        "panic-threshold-percentage": ["110", "1000", "109", "1001", "x"],
        "panicThresholdPercentage": ["1"],
        "scale-to-zero-pod-retention-period": ["0s", "1h", "61m", "-1s", "500ms", "x"],
        "scaleToZeroPodRetentionPeriod": ["x"],
        "metric-aggregation-algorithm": ["linear", "weighted-exponential", "weightedExponential", "x", ""],
    }
    for key, texts in values.items():
        for text in texts:
            case(f"{key}={text}", "Service", note(AUTOSCALING + key, text))
    for text in ("NaN", "nan"):
        for key in ("target", "target-burst-capacity", "panic-window-percentage"):
            case(f"{key}={text}", "Service", note(AUTOSCALING + key, text),
                 ours=f"invalid value: {text}: spec.template.metadata.annotations.{AUTOSCALING}{key}")
    several = {
        "min above max": {"min-scale": "5", "max-scale": "2"},
        "min above activation": {"min-scale": "5", "activation-scale": "3"},
        "activation above max": {"max-scale": "2", "activation-scale": "3"},
        "hpa cpu": {"class": "hpa.autoscaling.knative.dev", "metric": "cpu"},
        "hpa no metric": {"class": "hpa.autoscaling.knative.dev", "metric": ""},
        "kpa cpu": {"class": "kpa.autoscaling.knative.dev", "metric": "cpu"},
        "other class": {"class": "mine", "metric": "anything", "metric-aggregation-algorithm": "anything"},
        "kpa bad algorithm": {"class": "kpa.autoscaling.knative.dev", "metric-aggregation-algorithm": "x"},
        "kpa good algorithm": {"class": "kpa.autoscaling.knative.dev", "metric-aggregation-algorithm": "linear"},
        "both spellings": {"min-scale": "1", "minScale": "x"},
        "all wrong": {"min-scale": "x", "max-scale": "y", "window": "z", "target": "0", "metric": "m", "class":
                      "q.autoscaling.knative.dev", "initial-scale": "-1", "scale-down-delay": "d"},
    }
    for name, group in several.items():
        changes = {}
        for key, text in group.items():
            changes.update(note(AUTOSCALING + key, text))
        case(f"annotations {name}", "Service", changes)
        case(f"Revision annotations {name}", "Revision", {k[2:] if k[0] == "spec" else k: v for k, v in changes.items()})
    limited = {"autoscaler": {"max-scale-limit": "10", "max-scale": "5"}}
    for text in ("0", "10", "11"):
        case(f"max-scale={text} limited", "Service", note(AUTOSCALING + "max-scale", text), config=limited)
    case("initial-scale=0 allowed", "Service", note(AUTOSCALING + "initial-scale", "0"),
         config={"autoscaler": {"allow-zero-initial-scale": "true"}})
    case("metric with another class by default", "Service", note(AUTOSCALING + "metric", "memory"),
         config={"autoscaler": {"pod-autoscaler-class": "hpa.autoscaling.knative.dev"}})
    for key in ("ingress.class", "ingress-class", "certificate.class", "certificate-class", "disableAutoTLS",
                "disable-auto-tls", "disable-external-domain-tls", "httpOption", "http-protocol", "visibility", "x"):
        case(f"networking {key}", "Service", note("networking.knative.dev/" + key, "x"))
    case("networking without a slash", "Service", note("networking.knative.dev", "x"))
    case("networking of the object", "Service", note("networking.knative.dev/x", "x", at="object"))
    for value in ("10s", "1m", "0s", "-1s", "1500ms", "x", "", "1h"):
        for kind in ("Service", "Route", "Configuration"):
            case(f"{kind} rollout-duration={value}", kind, note(SERVING + "rollout-duration", value, at="object"))
        case(f"rolloutDuration={value}", "Service", note(SERVING + "rolloutDuration", value, at="object"))
        case(f"progress-deadline={value}", "Service", note(SERVING + "progress-deadline", value))
    for key in ("cpu-resource-request", "cpu-resource-limit", "memory-resource-request", "memory-resource-limit",
                "ephemeral-storage-resource-request", "ephemeral-storage-resource-limit"):
        for value in ("1", "100Mi", "x", "", "1.5.2", "-1"):
            case(f"{key}={value}", "Service", note(QUEUE + key, value))
    for value in ("0.1", "100", "0.05", "101", "x", "50.5", "1e3", "1e30"):
        case(f"resource-percentage={value}", "Service", note(QUEUE + "resource-percentage", value), warn=True)
        case(f"resourcePercentage={value}", "Service", note(QUEUE + "resourcePercentage", value))
    owner = {"apiVersion": "serving.knative.dev/v1", "uid": "1"}
    for kind, label, of in (("Route", "service", "Service"), ("Configuration", "service", "Service"),
                            ("Revision", "configuration", "Configuration"), ("Service", "service", "Service")):
        key = {("metadata", "labels", SERVING + label): "hello"}
        case(f"{kind} label without owner", kind, key)
        case(f"{kind} label with owner", kind, {**key, "metadata.ownerReferences": [{**owner, "kind": of, "name": "hello"}]})
        case(f"{kind} label of another", kind, {**key, "metadata.ownerReferences": [{**owner, "kind": of, "name": "x"}]})
        case(f"{kind} label of another kind", kind, {**key, "metadata.ownerReferences": [{**owner, "kind": "X", "name": "hello"}]})


# --- the revision's own settings ------------------------------------------------------------------
def settings():
    for value in (0, 1, 300, 600, 601, -1, 9223372036854775807, -9223372036854775808):
        case(f"timeoutSeconds {value}", "Service", {SPEC + ".timeoutSeconds": value})
    for value in (0, 1, 1000, 1001, -1, 9223372036854775807):
        case(f"containerConcurrency {value}", "Service", {SPEC + ".containerConcurrency": value})
    for field in ("responseStartTimeoutSeconds", "idleTimeoutSeconds"):
        for value in (0, 10, 400, -1):
            case(f"{field} {value}", "Service", {f"{SPEC}.{field}": value})
    no_zero = {"defaults": {"allow-container-concurrency-zero": "false", "container-concurrency": "10",
                            "container-concurrency-max-limit": "20"}}
    for value in (0, 1, 20, 21):
        case(f"containerConcurrency {value} without zero", "Service", {SPEC + ".containerConcurrency": value}, config=no_zero)
    case("containerConcurrency from the defaults", "Service", config=no_zero)
    case("timeouts from the defaults", "Service", config={"defaults": {
        "revision-timeout-seconds": "200", "revision-response-start-timeout-seconds": "100",
        "revision-idle-timeout-seconds": "50"}})
    case("timeouts shorter than the defaults", "Service", {SPEC + ".timeoutSeconds": 20}, config={"defaults": {
        "revision-timeout-seconds": "200", "revision-response-start-timeout-seconds": "100",
        "revision-idle-timeout-seconds": "50"}})
    case("timeoutSeconds above the default", "Service", {SPEC + ".timeoutSeconds": 400})
    case("resources from the defaults", "Service", {ONE + ".resources": {"requests": {"cpu": "5m"}}}, config={"defaults": {
        "revision-cpu-request": "100m", "revision-cpu-limit": "1000m", "revision-memory-request": "64Mi",
        "revision-memory-limit": "1024Mi", "revision-ephemeral-storage-request": "0.5Gi",
        "revision-ephemeral-storage-limit": "1500000"}})
    for value in ("true", "false", "default", "TRUE", "x"):
        case(f"enable-service-links {value}", "Service", config={"defaults": {"enable-service-links": value}})
        case(f"enable-service-links {value} update", "Service", {ONE + ".image": "other"}, old={},
             config={"defaults": {"enable-service-links": value}})
    for value in (True, False):
        case(f"enableServiceLinks {value}", "Service", {SPEC + ".enableServiceLinks": value})
    for template in ("main", "c-{{.Name}}", "{{.Namespace}}-{{ .Name }}", "{{.Labels.team}}-x", "{{.GenerateName}}x"):
        case(f"container name {template}", "Service", {"metadata.labels": {"team": "a"}},
             config={"defaults": {"container-name-template": template}})
    case("container name of a long Service", "Service", {"metadata.name": "a" * 60, SPEC + ".containers": [
        {"image": IMAGE, "ports": [{}]}, {"image": IMAGE}]}, config={"defaults": {"container-name-template": "{{.Name}}-{{.Name}}"}})
    case("container name of a Revision", "Revision", config={"defaults": {"container-name-template": "c-{{.Name}}"}})
    bad_configs = {
        "timeout text": {"revision-timeout-seconds": "x"}, "timeout empty": {"revision-timeout-seconds": ""},
        "timeout huge": {"revision-timeout-seconds": "99999999999999999999"},
        "timeout above max": {"revision-timeout-seconds": "700"},
        "response above timeout": {"revision-response-start-timeout-seconds": "400"},
        "idle above timeout": {"revision-idle-timeout-seconds": "400"},
        "concurrency -1": {"container-concurrency": "-1"}, "concurrency above limit": {"container-concurrency": "2000"},
        "limit 0": {"container-concurrency-max-limit": "0"}, "cpu": {"revision-cpu-request": "x"},
        "zero x": {"allow-container-concurrency-zero": "x"},
    }
    for name, data in bad_configs.items():
        case(f"config {name}", "Service", config={"defaults": data}, **({"loose": True} if name == "cpu" else {}))
    case("config template", "Service", config={"defaults": {"container-name-template": "{{.Nope}}"}},
         ours="container-name-template: {{.Nope}} is not known; there are {{.Name}}, {{.Namespace}}, {{.GenerateName}}, "
              "{{.Labels.KEY}} and {{.Annotations.KEY}}")


def byo():
    name = TEMPLATE + ".metadata.name"
    for value in ("hello-1", "hello-", "hello", "other-1", "Hello-1", "hello-" + LONG, "hello-1.x"):
        case(f"revision name {value}", "Service", {name: value})
        case(f"Configuration revision name {value}", "Configuration", {name: value})
    case("revision name with generateName", "Service", {"metadata.name": DROP, "metadata.generateName": "hello-", name: "hello-1"})
    case("revision name and both names", "Service", {"metadata.generateName": "hello-", name: "hello-1"})
    for value in ("hello-", "Hello-", "-"):
        case(f"template generateName {value}", "Service", {TEMPLATE + ".metadata.generateName": value})
    named = {name: "hello-1"}
    full = {**named, SPEC + ".timeoutSeconds": 300, SPEC + ".containerConcurrency": 0}
    for kind in ("Service", "Configuration"):
        case(f"{kind} named unchanged", kind, named, old=named)
        case(f"{kind} named unchanged, other defaults", kind, named, old=named,
             config={"defaults": {"revision-timeout-seconds": "100", "container-concurrency": "5"}})
        case(f"{kind} named image", kind, {**named, ONE + ".image": "other"}, old=named)
        case(f"{kind} named image and name", kind, {name: "hello-2", ONE + ".image": "other"}, old=named)
        case(f"{kind} named timeout", kind, {**full, SPEC + ".timeoutSeconds": 10}, old=full)
        case(f"{kind} named annotations", kind, {**named, **note("a", "1"), **note("b", "2")},
             old={**named, **note("a", "2"), **note("c", "3")})
        case(f"{kind} named first annotation", kind, {**named, **note("a/b.c", "1 2")}, old=named)
        case(f"{kind} named args", kind, {**named, ONE + ".args": ["1", "3", "4"]}, old={**named, ONE + ".args": ["1", "2"]})
        case(f"{kind} named args removed", kind, named, old={**named, ONE + ".args": ["1", "2"]})
        case(f"{kind} named port", kind, {**named, ONE + ".readinessProbe": {"tcpSocket": {"port": "http"}}},
             old={**named, ONE + ".readinessProbe": {"tcpSocket": {"port": 8080}}})
        case(f"{kind} named cpu", kind, {**named, ONE + ".resources.limits.cpu": "2"},
             old={**named, ONE + ".resources.limits.cpu": "1"}, loose=True)
        case(f"{kind} named same cpu", kind, {**named, ONE + ".resources.limits.cpu": "1000m"},
             old={**named, ONE + ".resources.limits.cpu": "1"})
        case(f"{kind} named env", kind, {**named, ONE + ".env": [{"name": "A", "value": "1"}]}, old=named, loose=True)
        case(f"{kind} named env values", kind, {**named, ONE + ".env": [{"name": "X", "value": "1"}, {"name": "A", "value": "2"}]},
             old={**named, ONE + ".env": [{"name": "A", "value": "2"}, {"name": "C", "value": "3"}]})
        case(f"{kind} named concurrency set", kind, {**named, SPEC + ".containerConcurrency": 1}, old=named, loose=True)
        case(f"{kind} named volume", kind, {**named, **with_mount({"secret": {"secretName": "s"}})}, old=named, loose=True)
        case(f"{kind} named volume source", kind, {**named, **with_mount({"secret": {"secretName": "t"}})},
             old={**named, **with_mount({"secret": {"secretName": "s"}}, {"readOnly": True})})
        case(f"{kind} named probe", kind, {**named, ONE + ".readinessProbe": {"httpGet": {"path": "/b", "port": 0}, "periodSeconds": 2,
                                                                              "successThreshold": 1}},
             old={**named, ONE + ".readinessProbe": {"httpGet": {"path": "/a", "port": 0}, "successThreshold": 1}})
        case(f"{kind} unnamed image", kind, {ONE + ".image": "other"}, old={}, user="bob")
        case(f"{kind} name removed", kind, {ONE + ".image": "other"}, old=named)
    for change in ({"spec.containers[0].image": "other"}, {"spec.timeoutSeconds": 5}, {"spec.containers": []}):
        case(f"Revision changed {list(change)[0]} {list(change.values())[0]}", "Revision", change,
             old={"spec.timeoutSeconds": 4}, loose=list(change)[0] == "spec.containers" or "image" in list(change)[0])
    case("Revision same but for zero values", "Revision", {"spec.hostNetwork": False, "spec.volumes": []}, old={})
    case("Revision labels may change", "Revision", {("metadata", "labels", "a"): "b"}, old={})
    case("Revision other defaults on update", "Revision", {}, old={}, config={"defaults": {"revision-timeout-seconds": "100"}})


# --- pod spec -------------------------------------------------------------------------------------
POD_FIELDS = {
    "affinity": {"nodeAffinity": {}}, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
                                                                     "whenUnsatisfiable": "DoNotSchedule"}],
    "dnsPolicy": "Default", "dnsConfig": {"nameservers": ["1.1.1.1"]}, "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a"]}],
    "hostIPC": True, "hostPID": True, "hostNetwork": True, "nodeSelector": {"a": "b"}, "priorityClassName": "high",
    "runtimeClassName": "gvisor", "schedulerName": "mine", "securityContext": {"runAsUser": 1000},
    "shareProcessNamespace": True, "tolerations": [{"key": "a", "operator": "Exists"}],
}
FLAG_OF = {"topologySpreadConstraints": "topologyspreadconstraints"}
NEVER = {
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "activeDeadlineSeconds": 10, "nodeName": "n",
    "hostname": "h", "subdomain": "s", "priority": 1, "readinessGates": [{"conditionType": "x"}], "serviceAccount": "x",
    "ephemeralContainers": [{"name": "x", "image": "xx"}], "preemptionPolicy": "Never", "overhead": {"cpu": "1"},
    "setHostnameAsFQDN": True, "os": {"name": "linux"}, "hostUsers": False, "schedulingGates": [{"name": "g"}],
    "resourceClaims": [{"name": "c"}],
}


def pod():
    for field, value in POD_FIELDS.items():
        flag = field.lower()
        case(f"pod {field}", "Service", {f"{SPEC}.{field}": value})
        for setting in ("Enabled", "allowed", "DISABLED", "x"):
            case(f"pod {field} {setting}", "Service", {f"{SPEC}.{field}": value}, config=features(**{flag: setting}))
    for field, value in NEVER.items():
        case(f"pod {field}", "Service", {f"{SPEC}.{field}": value})
    case("pod zero values", "Service", {f"{SPEC}.hostNetwork": False, f"{SPEC}.hostname": "", f"{SPEC}.nodeSelector": {},
                                        f"{SPEC}.tolerations": [], f"{SPEC}.affinity": None, f"{ONE}.tty": False,
                                        f"{ONE}.volumeDevices": [], f"{ONE}.lifecycle": None})
    case("pod many fields", "Service", {f"{SPEC}.{k}": v for k, v in {**POD_FIELDS, **NEVER}.items()})
    for name in ("robot", "my.robot", "Robot", "a b", "a" * 254):
        case(f"serviceAccountName {name[:30]}", "Service", {SPEC + ".serviceAccountName": name})
    for value in (True, False):
        case(f"automountServiceAccountToken {value}", "Service", {SPEC + ".automountServiceAccountToken": value})
    case("imagePullSecrets", "Service", {SPEC + ".imagePullSecrets": [{"name": "s"}]})
    case("no containers", "Service", {SPEC + ".containers": []})
    case("containers missing", "Service", {SPEC + ".containers": DROP})
    case("empty container", "Service", {SPEC + ".containers": [{}]})
    case("empty containers", "Service", {SPEC + ".containers": [{}, {}]})
    case("no template", "Service", {"spec.template": DROP, "spec.traffic": [{"percent": 100}]})
    for kind in ("Configuration", "Revision"):
        where = "spec" if kind == "Revision" else SPEC
        case(f"{kind} pod hostNetwork", kind, {where + ".hostNetwork": True})
        case(f"{kind} no containers", kind, {where + ".containers": []})
        case(f"{kind} timeoutSeconds 601", kind, {where + ".timeoutSeconds": 601})


def security():
    flag = features(securitycontext="enabled")
    values = {
        "runAsUser": [0, 2147483647, 2147483648, -1], "runAsGroup": [0, -1, 2147483648], "runAsNonRoot": [True, False],
        "fsGroup": [0, -1, 2147483648], "supplementalGroups": [[1, 2], [-1, 2, 2147483648]], "fsGroupChangePolicy": ["Always"],
        "seLinuxOptions": [{"level": "x"}], "sysctls": [[{"name": "a", "value": "b"}]], "seccompProfile": [
            {"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "x"}, {}],
        "windowsOptions": [{"hostProcess": True}],
    }
    for field, list_ in values.items():
        for value in list_:
            change = {f"{SPEC}.securityContext": {field: value}}
            name = f"pod securityContext {field} {json.dumps(value)[:60]}"
            case(name, "Service", change, config=flag, warn=True)
            if field in ("seccompProfile", "runAsUser", "supplementalGroups"):
                case(name + " off", "Service", change)
                for secure in ("enabled", "allowrootbounded", "allowed"):
                    case(f"{name} secure {secure}", "Service", change, config=features(secure=secure), warn=True)
    own = {
        "runAsUser": [0, 2147483648, -1], "runAsGroup": [5, -1], "runAsNonRoot": [True, False], "privileged": [True, False],
        "readOnlyRootFilesystem": [True], "allowPrivilegeEscalation": [True, False], "procMount": ["Default"],
        "seLinuxOptions": [{"level": "x"}], "seccompProfile": [{"type": "RuntimeDefault"}, {}], "appArmorProfile": [{"type": "Unconfined"}],
        "capabilities": [{"drop": ["ALL"]}, {"drop": ["all"]}, {"add": ["NET_ADMIN"]}, {"add": ["NET_BIND_SERVICE"]},
                         {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}, {}, {"drop": []}],
    }
    for field, list_ in own.items():
        for value in list_:
            change = {f"{ONE}.securityContext": {field: value}}
            name = f"securityContext {field} {json.dumps(value)}"
            case(name, "Service", change, warn=True)
            if field == "capabilities":
                case(name + " allowed", "Service", change, config={"features": {"kubernetes.containerspec-addcapabilities": "enabled"}})
                case(name + " half", "Service", change, config={"features": {"kubernetes.containerspec-addcapabilities": "allowed"}})
            for secure in ("enabled", "AllowRootBounded"):
                case(f"{name} secure {secure}", "Service", change, config=features(secure=secure), warn=True)
    for port in (80, 8080, 0):
        case(f"secure port {port}", "Service", {ONE + ".ports": [{"containerPort": port}]}, config=features(secure="enabled"))
    case("secure with pod settings", "Service", {SPEC + ".securityContext": {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}}},
         config={"features": {"secure-pod-defaults": "Enabled", "kubernetes.podspec-securitycontext": "Enabled"}}, warn=True)


# --- containers -----------------------------------------------------------------------------------
def container():
    for field, value in {"lifecycle": {"preStop": {"exec": {"command": ["a"]}}}, "stdin": True, "stdinOnce": True, "tty": True,
                         "volumeDevices": [{"name": "a", "devicePath": "/b"}], "resizePolicy": [{"resourceName": "cpu",
                         "restartPolicy": "NotRequired"}], "restartPolicy": "Always", "args": ["a"], "command": ["b"],
                         "workingDir": "/w", "imagePullPolicy": "Always", "terminationMessagePath": "/x"}.items():
        case(f"container {field}", "Service", {f"{ONE}.{field}": value})
    for value in ("File", "FallbackToLogsOnError", "x", ""):
        case(f"terminationMessagePolicy {value}", "Service", {ONE + ".terminationMessagePolicy": value})
    for value in ("queue-proxy", "mine", "user-container", "Bad Name"):
        case(f"container name {value}", "Service", {ONE + ".name": value})
    sha = "@sha256:" + "0123456789abcdef" * 4
    for value in ("", "x", "ab", "a/b", "A/b", "registry.example.com/a:b", "localhost:5000/a/b", "host:x/a", "h:1:2/aa", "aa" + sha,
                  "registry.example.com/aa:tag" + sha, "aa" + sha[:-1], "aa" + sha.upper(), "aa@md5:" + "0" * 32, "aa@@b", "aa:", "aa:b:c",
                  "aa b", "hello world.com/x", "aa:" + "t" * 129, "a" * 256, "[::1]:5000/aa", "[::1/aa", "user@host.com/aa", "é/aa", "host.é/aa",
                  "/aa", "aa/", "ko://github.com/x", "dev.local/hello" + sha, "quote\"d", "tab\there", "h.x?/aa", "h.x%41/aa"):
        case(f"image {value[:40]} {len(value)}", "Service", {ONE + ".image": value})
    case("image of a bundle with a short name", "Service", {ONE + ".image": "dev.local/x" + sha}, ours="")
    for resources in ({"limits": {"cpu": "1000m", "memory": "1024Mi"}}, {"requests": {"cpu": 0.5, "memory": 1000000}},
                      {"claims": [{"name": "x"}]}, {"limits": {"cpu": "1500m", "memory": "0.5Gi", "x": "1e3", "y": "100000", "z": "0"}},
                      {"limits": {"a": "1Ki", "b": "1023", "c": "1025Ki", "d": "1.5Gi", "e": "0.1n", "f": "-1500m", "g": "12E", "h": "1e-3",
                                  "i": "1e2", "j": "0.001Ki", "k": "3Ei", "l": "+5", "m": "1.5", "n": "999k", "o": "1000k", "p": " 5 "}}):
        case(f"resources {json.dumps(resources)[:60]}", "Service", {ONE + ".resources": resources})
    for name, port in {
            "plain": {"containerPort": 8080}, "none": {}, "h2c": {"name": "h2c", "containerPort": 80}, "http1": {"name": "http1"},
            "bad name": {"name": "user-port"}, "udp": {"protocol": "UDP"}, "tcp": {"protocol": "TCP"}, "-1": {"containerPort": -1},
            "65536": {"containerPort": 65536}, "hostPort": {"containerPort": 80, "hostPort": 80}, "hostIP": {"hostIP": "1.1.1.1"},
            "all wrong": {"name": "x", "protocol": "SCTP", "containerPort": 70000, "hostPort": 1},
            **{str(n): {"containerPort": n} for n in (8012, 8013, 8022, 9090, 9091, 8008)}}.items():
        case(f"port {name}", "Service", {ONE + ".ports": [port]})
    case("two ports", "Service", {ONE + ".ports": [{"containerPort": 80}, {"containerPort": 81, "name": "x"}]})
    for name, env in {
            "value": [{"name": "A", "value": "b"}], "no name": [{"value": "b"}], "twice": [{"name": "A"}, {"name": "A"}],
            "reserved": [{"name": n} for n in ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")],
            "secret": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "config map": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}],
            "field": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resource field": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
            "file": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "k", "path": "p", "volumeName": "v"}}}]}.items():
        case(f"env {name}", "Service", {ONE + ".env": env})
        if "field" in name:
            for flag in ("enabled", "allowed"):
                case(f"env {name} {flag}", "Service", {ONE + ".env": env}, config=features(fieldref=flag))
    secret, config_map = {"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}
    for name, sources in {"secret": [secret], "config map": [config_map], "both": [{**secret, **config_map}], "neither": [{}],
                          "prefix only": [{"prefix": "A"}], "several": [{}, secret, {**secret, **config_map}, config_map, {}]}.items():
        case(f"envFrom {name}", "Service", {ONE + ".envFrom": sources})


def probes():
    handlers = {"http": {"httpGet": {"path": "/", "port": 8080}}, "tcp": {"tcpSocket": {"port": 8080}},
                "exec": {"exec": {"command": ["true"]}}, "grpc": {"grpc": {"port": 8080}}, "none": {},
                "grpc service": {"grpc": {"port": 8080, "service": "x"}}, "null handler": {"httpGet": None},
                "http and tcp": {"httpGet": {"port": 1}, "tcpSocket": {"port": 1}},
                "all": {"httpGet": {"port": 1}, "tcpSocket": {"port": "x"}, "exec": {}, "grpc": {"port": 2}},
                "http named": {"httpGet": {"port": "http1"}}, "tcp named": {"tcpSocket": {"port": "http"}},
                "http wrong": {"httpGet": {"port": "other"}}, "tcp wrong": {"tcpSocket": {"port": "other"}},
                "http no port": {"httpGet": {"path": "/x"}}, "tcp empty port": {"tcpSocket": {"port": ""}},
                "http full": {"httpGet": {"path": "/", "port": 0, "host": "h", "scheme": "HTTPS", "httpHeaders": [{"name": "a", "value": "b"}]}}}
    for name, handler in handlers.items():
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            case(f"{probe} {name}", "Service", {f"{ONE}.{probe}": handler})
        case(f"readinessProbe {name} with a named port", "Service", {ONE + ".readinessProbe": handler,
                                                                     ONE + ".ports": [{"name": "http1", "containerPort": 8080}]})
        for flag in ("enabled", "disabled", "allowed"):
            sidecar = {"livenessProbe": handler, "readinessProbe": handler, "startupProbe": handler}
            case(f"sidecar probes {name} {flag}", "Service", {**two(), **{f"{SPEC}.containers[1].{k}": v for k, v in sidecar.items()}},
                 config=features(probing=flag))
    for numbers in ({"periodSeconds": 0}, {"periodSeconds": 5}, {"periodSeconds": -1}, {"periodSeconds": 5, "timeoutSeconds": 2,
                    "failureThreshold": 7}, {"failureThreshold": 3}, {"timeoutSeconds": 3}, {"successThreshold": -1}, {"successThreshold": 2},
                    {"initialDelaySeconds": -1}, {"initialDelaySeconds": 5}, {"periodSeconds": 5, "timeoutSeconds": -1, "failureThreshold": -1},
                    {"terminationGracePeriodSeconds": 5}, {"failureThreshold": -1, "timeoutSeconds": -1}):
        for probe in ("readinessProbe", "livenessProbe"):
            case(f"{probe} {json.dumps(numbers)}", "Service", {f"{ONE}.{probe}": {**handlers["tcp"], **numbers}})
        case(f"sidecar probe {json.dumps(numbers)}", "Service", {**two(), SPEC + ".containers[1].readinessProbe":
                                                                 {**handlers["tcp"], **numbers}}, config=features(probing="enabled"))
        case(f"sidecar probe {json.dumps(numbers)} off", "Service", {**two(), SPEC + ".containers[1].readinessProbe":
                                                                     {**handlers["tcp"], **numbers}})


def several():
    case("two containers", "Service", two(), warn=True)
    case("two containers no ports", "Service", two(ports=False))
    for flag in ("enabled", "disabled", "allowed"):
        case(f"two containers {flag}", "Service", two(), config=features(multi=flag))
    case("two containers both ports", "Service", two({SPEC + ".containers[1].ports": [{"containerPort": 81}]}))
    case("two containers same name", "Service", two({SPEC + ".containers[0].name": "a", SPEC + ".containers[1].name": "a"}))
    case("three containers same name", "Service", two({SPEC + ".containers[0].name": "a", SPEC + ".containers[1].name": "a",
                                                       SPEC + ".containers[2]": {"name": "a", "tty": True}}))
    case("names that clash", "Service", two({SPEC + ".containers[1].name": "user-container-0"}))
    case("one unnamed", "Service", two({SPEC + ".containers[1].name": "user-container"}))
    case("three unnamed", "Service", two({SPEC + ".containers[2]": {"image": "third"}}))
    case("sidecar env", "Service", two({SPEC + ".containers[1].env": [{"name": "PORT"}, {"name": "K_SERVICE"}]}))
    case("serving env", "Service", two({SPEC + ".containers[0].env": [{"name": "PORT"}, {"name": "K_SERVICE"}]}))
    case("sidecar lifecycle", "Service", two({SPEC + ".containers[1].lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}))
    case("sidecar no image", "Service", two({SPEC + ".containers[1]": {"name": "x"}}))
    case("sidecar mounts", "Service", two({SPEC + ".volumes": [{"name": "v", "emptyDir": {}}],
                                           SPEC + ".containers[1].volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    init = {SPEC + ".initContainers": [{"image": "first"}]}
    for flag in ("enabled", "disabled", "allowed"):
        case(f"init container {flag}", "Service", init, config=features(init=flag), warn=True)
    on = features(init="enabled")
    case("init containers two", "Service", {SPEC + ".initContainers": [{"image": "first"}, {"image": "second"}]}, config=on)
    case("init container same name", "Service", {SPEC + ".initContainers": [{"image": "first", "tty": True}, {"image": "second", "name": "a"}],
                                                 ONE + ".name": "a"}, config=on)
    case("init container named as the default", "Service", {SPEC + ".initContainers": [{"image": "first", "name": "user-container"}]}, config=on)
    case("init container probes", "Service", {SPEC + ".initContainers": [{
        "image": "first", "livenessProbe": {"exec": {}}, "readinessProbe": {}, "startupProbe": {"grpc": {"port": 1}},
        "lifecycle": {"postStart": {"exec": {}}}}]}, config=on)
    case("init container ports", "Service", {SPEC + ".initContainers": [{"image": "first", "ports": [
        {"containerPort": 8012, "name": "x"}, {"containerPort": 70000}]}]}, config=on)
    case("init container env", "Service", {SPEC + ".initContainers": [{"image": "first", "env": [{"name": "PORT"}, {"name": "K_REVISION"}]}]}, config=on)
    case("init container empty", "Service", {SPEC + ".initContainers": [{}]}, config=on)
    case("init container template", "Service", init, config={**on, "defaults": {"init-container-name-template": "{{.Name}}-init"}})
    case("init container secure", "Service", init, config={"features": {**on["features"], "secure-pod-defaults": "enabled"}})
    case("init container mounts", "Service", {**init, SPEC + ".volumes": [{"name": "v", "emptyDir": {}}],
                                              SPEC + ".initContainers[0].volumeMounts": [{"name": "v", "mountPath": "/v"}]}, config=on)


# --- volumes --------------------------------------------------------------------------------------
def volumes():
    item = {"key": "k", "path": "p"}
    gated = {"emptyDir": ({}, "volumes_emptydir"), "hostPath": ({"path": "/h"}, "volumes_hostpath"),
             "csi": ({"driver": "d"}, "volumes_csi"), "ephemeral": ({}, "volumes_ephemeral"),
             "image": ({"reference": "img"}, "volumes_image"),
             "persistentVolumeClaim": ({"claimName": "c"}, "persistent_volume_claim")}
    for key, (value, flag) in gated.items():
        for setting in ("enabled", "disabled", "allowed"):
            case(f"volume {key} {setting}", "Service", with_mount({key: value}), config=features(**{flag: setting}))
            case(f"volume without a source, {key} {setting}", "Service", with_mount({}), config=features(**{flag: setting}))
    for claim in ({"claimName": "c", "readOnly": True}, {"claimName": "c"}):
        for mount in ({}, {"readOnly": True}):
            for write in ("enabled", "disabled"):
                case(f"claim {claim} {mount} {write}", "Service", with_mount({"persistentVolumeClaim": claim}, mount),
                     config=features(persistent_volume_claim="enabled", persistent_volume_write=write))
    for name, volume in {
            "secret": {"secret": {"secretName": "s"}}, "secret items": {"secret": {"secretName": "s", "items": [item, {}]}},
            "config map": {"configMap": {"name": "c"}}, "config map items": {"configMap": {"name": "c", "items": [{"key": "k"}, {"path": "p"}]}},
            "two sources": {"secret": {"secretName": "s"}, "configMap": {"name": "c"}}, "none": {},
            "nfs": {"nfs": {"server": "s", "path": "/p"}}, "downwardAPI": {"downwardAPI": {"items": []}},
            "gitRepo and secret": {"gitRepo": {"repository": "r"}, "secret": {"secretName": "s"}},
            "emptyDir memory": {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}, "emptyDir medium": {"emptyDir": {"medium": "HugePages"}},
            "emptyDir size": {"emptyDir": {"sizeLimit": "-1Mi"}}, "emptyDir small": {"emptyDir": {"sizeLimit": "-1m"}},
            "projected": {"projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c", "items": [item]}},
                                                    {"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": [
                                                        {"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
            "projected wrong": {"projected": {"sources": [{"secret": {}}, {"configMap": {"items": [{}]}}, {"serviceAccountToken": {}},
                                                          {"downwardAPI": {"items": [{}, {"path": "p", "fieldRef": {"fieldPath": "x"},
                                                                                          "resourceFieldRef": {"resource": "x"}}]}},
                                                          {}, {"secret": {"name": "s"}, "configMap": {"name": "c"}},
                                                          {"clusterTrustBundle": {"path": "x"}}]}},
            "projected empty": {"projected": {}}}.items():
        case(f"volume {name}", "Service", with_mount(volume))
    on = features(volumes_image="enabled")
    for image in ({}, {"reference": "img", "pullPolicy": "Always"}, {"reference": "img", "pullPolicy": "x"}):
        case(f"image volume {image}", "Service", with_mount({"image": image}), config=on)
    for name in ("", "Data", "a.b", LONG):
        case(f"volume name {name}", "Service", with_mount({"secret": {"secretName": "s"}}, name=name))
        case(f"volume name {name} and more", "Service", with_mount({"hostPath": {"path": "/"}, "nfs": {}}, name=name))
    case("volume not mounted", "Service", {SPEC + ".volumes": [{"name": "v", "emptyDir": {}}]})
    case("volume twice", "Service", {SPEC + ".volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "secret": {"secretName": "s"}}],
                                     ONE + ".volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    for path in ("", "/", "/dev", "/dev/log", "/dev/", "//dev/../dev", "data", "./data", "/a/../b", "..", "/data/", "/a//b"):
        case(f"mountPath {path}", "Service", {SPEC + ".volumes": [{"name": "v", "emptyDir": {}}],
                                              ONE + ".volumeMounts": [{"name": "v", "mountPath": path}]})
    case("mountPath twice", "Service", {SPEC + ".volumes": [{"name": "v", "emptyDir": {}}],
                                        ONE + ".volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a/"}]})
    case("mount without a volume", "Service", {ONE + ".volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    for mount in ({"subPath": "x"}, {"subPathExpr": "x"}, {"recursiveReadOnly": "Enabled"}, {"readOnly": False}, {"readOnly": True}):
        case(f"mount {mount}", "Service", with_mount({"secret": {"secretName": "s"}}, mount))
        case(f"mount of emptyDir {mount}", "Service", with_mount({"emptyDir": {}}, mount))
    for propagation in ("None", "HostToContainer", "Bidirectional"):
        for flag in ("enabled", "disabled", "allowed"):
            case(f"propagation {propagation} {flag}", "Service", with_mount({"emptyDir": {}}, {"mountPropagation": propagation}),
                 config=features(volumes_mount_propagation=flag))


# --- the other kinds ------------------------------------------------------------------------------
def others():
    for field, value in {"scaleTargetRef.name": "", "scaleTargetRef.kind": "De-ployment", "scaleTargetRef.apiVersion": "a/b/c",
                         "scaleTargetRef.namespace": "x", "scaleTargetRef.fieldPath": "x", "protocolType": "", "containerConcurrency": -1,
                         "reachability": "Reachable"}.items():
        case(f"PodAutoscaler {field}", "PodAutoscaler", {"spec." + field: value})
    for protocol in ("h2c", "http2"):
        case(f"PodAutoscaler protocol {protocol}", "PodAutoscaler", {"spec.protocolType": protocol})
    case("PodAutoscaler name of target", "PodAutoscaler", {"spec.scaleTargetRef.name": "a.b"})
    case("PodAutoscaler name of target bad", "PodAutoscaler", {"spec.scaleTargetRef.name": "A"})
    case("PodAutoscaler no target", "PodAutoscaler", {"spec.scaleTargetRef": DROP})
    for kind in ("hpa.autoscaling.knative.dev", "mine"):
        case(f"PodAutoscaler class {kind}", "PodAutoscaler", note(AUTOSCALING + "class", kind, at="object"))
        case(f"PodAutoscaler default class {kind}", "PodAutoscaler", config={"autoscaler": {"pod-autoscaler-class": kind}})
    for name in ("example.com", "localhost", "a.b.", "A.com", "x.cluster.local", "a..b", "*.example.com", "-.com", "a." + "b" * 64,
                 ".".join(["a" * 50] * 6)):
        case(f"DomainMapping {name[:40]}", "DomainMapping", {"metadata.name": name})
    case("DomainMapping generateName too", "DomainMapping", {"metadata.generateName": "x"})
    for field, value in {"name": "", "kind": "", "apiVersion": "", "namespace": "other", "group": "g", "address": "x"}.items():
        case(f"DomainMapping ref {field}", "DomainMapping", {"spec.ref." + field: value})
    case("DomainMapping tls", "DomainMapping", {"spec.tls.secretName": "s"})
    case("DomainMapping changed", "DomainMapping", {"spec.ref.name": "other"}, old={}, user="bob")
    case("Route changed", "Route", {"spec.traffic[0].revisionName": "hello-00002"}, old={}, user="bob")
    case("Route owned changed", "Route", {"spec.traffic[0].revisionName": "hello-00002", "metadata.ownerReferences": [
        {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1"}]}, old={"metadata.ownerReferences": [
            {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1"}]}, user="bob")
    case("bad status update", "Service", {SPEC + ".hostNetwork": True, "metadata.annotations": {AUTOSCALING + "class": "x"}}, old={}, status=True)


def shapes():
    for path, value, ours in (
            (SPEC + ".timeoutSeconds", "x", 'must be an integer, is "x"'), (SPEC + ".timeoutSeconds", 1.5, "must be an integer, is a number"),
            (SPEC + ".containers", {}, "must be a list, is an object"), (SPEC + ".containers", "x", 'must be a list, is "x"'),
            (ONE, "x", 'must be an object, is "x"'), (ONE + ".image", 5, "must be a string, is 5"),
            (ONE + ".ports", [{"containerPort": 3000000000}], "must be an integer of 32 bits, is 3000000000"),
            (ONE + ".tty", "true", 'must be true or false, is "true"'), (ONE + ".resources", {"limits": {"cpu": "x"}},
             'must be a quantity like 100m, 2 or 64Mi, is "x"'), (ONE + ".env", [{"name": "A", "value": 5}], "must be a string, is 5"),
            (ONE + ".readinessProbe", {"httpGet": {"port": 99999999999}}, "must be an integer of 32 bits or a string, is 99999999999"),
            (TEMPLATE, [], "must be an object, is an array"), ("spec", [], "must be an object, is an array")):
        place = path + {"containerPort": ".ports"}.get("", "")
        deeper = {ONE + ".ports": "[0].containerPort", ONE + ".resources": ".limits.cpu", ONE + ".env": "[0].value",
                  ONE + ".readinessProbe": ".httpGet.port"}.get(path, "")
        case(f"shape {path} {json.dumps(value)}", "Service", {path: value}, ours=f"{place}{deeper}: {ours}")
    case("shape annotations", "Service", {"metadata.annotations": {"a": 1}}, ours="metadata.annotations.a: must be a string, is 1")


for part in (plain, traffic, annotations, settings, byo, pod, security, container, probes, several, volumes, others, shapes):
    part()
seen = set()
for line in cases:
    assert line["name"] not in seen, line["name"]
    seen.add(line["name"])
    print(json.dumps(line, ensure_ascii=False))
