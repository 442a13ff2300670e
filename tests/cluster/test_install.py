# SPDX-License-Identifier: Apache-2.0
"""What deploy/ puts onto a cluster: kinds as Knative's clients know them, and least privilege."""

import json

import pytest

from cluster import KUBECTL, ROOT, apply, get, kubectl, run


@pytest.fixture(scope="module")
def crds():
    kubectl("apply", "-f", str(ROOT / "deploy/namespace.yaml"), "-f", str(ROOT / "deploy/crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "deploy/crds"))


def test_kinds_have_knatives_names(crds):
    served = {}
    for group in ("serving.knative.dev/v1", "serving.knative.dev/v1beta1", "autoscaling.internal.knative.dev/v1alpha1",
                  "networking.internal.knative.dev/v1alpha1"):
        listing = json.loads(kubectl("get", "--raw", f"/apis/{group}"))
        for row in listing["resources"]:
            served[row["name"]] = (row["kind"], row.get("shortNames"), row.get("categories"))
    three = ["all", "knative", "serving"]
    assert served["services"] == ("Service", ["kservice", "ksvc"], three)
    assert served["configurations"] == ("Configuration", ["config", "cfg"], three)
    assert served["revisions"] == ("Revision", ["rev"], three)
    assert served["routes"] == ("Route", ["rt"], three)
    assert served["podautoscalers"][:2] == ("PodAutoscaler", ["kpa", "pa"])
    assert served["domainmappings"] == ("DomainMapping", ["dm"], three)
    assert served["clusterdomainclaims"][:2] == ("ClusterDomainClaim", ["cdc"])
    for name in ("services", "configurations", "revisions", "routes", "podautoscalers"):
        assert f"{name}/status" in served


def test_status_is_a_subresource_and_unknown_fields_go(crds, namespace):
    route = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Route",
        "metadata": {"name": "r", "namespace": namespace},
        "spec": {"traffic": [{"revisionName": "none", "percent": 100}], "later": {"a": [1]}},
        "status": {"url": "http://forged"},
    }
    refused = run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(route), check=False)
    assert 'unknown field "spec.later"' in refused.stderr
    kubectl("apply", "--validate=warn", "-f", "-", stdin=json.dumps(route))
    kept = get("-n", namespace, "rt", "r")
    assert kept["spec"] == {"traffic": route["spec"]["traffic"]}
    assert "forged" not in json.dumps(kept.get("status", {}))


def test_columns_are_knatives(crds, namespace):
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": {"name": "x-00001", "labels": {"serving.knative.dev/configuration": "x"}},
        "spec": {"containers": [{"image": "dev.local/none:1"}]},
    }))
    head = kubectl("-n", namespace, "get", "rev").splitlines()[0].split("   ")
    assert [h.strip() for h in head if h.strip()] == [
        "NAME", "CONFIG NAME", "GENERATION", "READY", "REASON", "ACTUAL REPLICAS", "DESIRED REPLICAS",
    ]


@pytest.mark.parametrize("who, verb, what, want", [
    ("lull-activator", "watch", "pods", "yes"),
    ("lull-activator", "watch", "routes.serving.knative.dev", "yes"),
    ("lull-activator", "list", "secrets", "no"),
    ("lull-activator", "patch", "deployments.apps/scale", "no"),
    ("lull-autoscaler", "patch", "deployments.apps/scale", "yes"),
    ("lull-autoscaler", "patch", "deployments.apps", "no"),
    ("lull-autoscaler", "delete", "pods", "no"),
    ("lull-controller", "create", "deployments.apps", "yes"),
    ("lull-controller", "patch", "deployments.apps/scale", "no"),
    ("lull-controller", "list", "secrets", "no"),
    ("lull-controller", "create", "clusterroles.rbac.authorization.k8s.io", "no"),
])
def test_every_part_may_do_its_job_and_no_more(crds, who, verb, what, want):
    kubectl("apply", "-f", str(ROOT / "deploy/rbac"))
    resource, _, sub = what.partition("/")
    args = ["auth", "can-i", verb, resource, f"--as=system:serviceaccount:lull-system:{who}", "-n", "default"]
    if sub:
        args.append(f"--subresource={sub}")
    answer = run(*KUBECTL, *args, check=False).stdout.strip()
    assert answer == want
