# SPDX-License-Identifier: Apache-2.0
"""What deploy/ puts onto a cluster: kinds as Knative's clients know them, and least privilege."""

import json

import pytest

from cluster import KUBECTL, REDIS_IMAGE, ROOT, apply, get, kubectl, run


@pytest.fixture(scope="module")
def crds():
    kubectl("apply", "-f", str(ROOT / "deploy/chart/files/crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "deploy/chart/files/crds"))


def test_kinds_have_knatives_names(crds):
    served = {}
    for group in ("serving.knative.dev/v1", "serving.knative.dev/v1beta1", "autoscaling.internal.knative.dev/v1alpha1",
                  "networking.internal.knative.dev/v1alpha1", "eventing.knative.dev/v1",
                  "sources.knative.dev/v1", "sources.lull.dev/v1alpha1"):
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
    events = ["all", "knative", "eventing"]
    assert (served["brokers"], served["triggers"]) == (("Broker", None, events), ("Trigger", None, events))
    sources = ["all", "knative", "sources"]
    assert served["pingsources"] == ("PingSource", None, sources)
    assert served["sinkbindings"] == ("SinkBinding", None, sources + ["bindings"])
    for name in ("services", "configurations", "revisions", "routes", "podautoscalers", "brokers", "triggers", "pingsources", "sinkbindings",
                 "webhooksources", "redissources", "filesources"):
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


RIGHTS = [  # part, yes or no, in which namespace, verbs, resources
    ("activator", "yes", "default", "list watch", "pods routes.serving.knative.dev revisions.serving.knative.dev"),
    ("activator", "yes", "lull-system", "watch", "configmaps/config-features configmaps/config-network"),
    ("activator", "yes", "lull-system-certificates", "list watch", "secrets"),
    ("activator", "no", "lull-system-certificates", "get create update patch delete", "secrets"),
    ("autoscaler", "no", "lull-system-certificates", "get list watch", "secrets"),
    ("activator", "no", "default", "get list watch", "secrets configmaps deployments.apps services"),
    ("activator", "no", "lull-system", "get list watch", "secrets configmaps configmaps/config-domain"),
    ("activator", "no", "default", "create patch update delete",
     "pods routes.serving.knative.dev deployments.apps/scale events"),
    ("autoscaler", "yes", "default", "patch", "deployments.apps/scale podautoscalers.autoscaling.internal.knative.dev/status"),
    ("autoscaler", "no", "default", "patch update create delete",
     "deployments.apps pods podautoscalers.autoscaling.internal.knative.dev services.serving.knative.dev"),
    ("autoscaler", "no", "lull-system", "get list watch", "secrets"),
    ("controller", "yes", "default", "list watch create", "deployments.apps services revisions.serving.knative.dev"),
    ("controller", "yes", "default", "list watch", "brokers.eventing.knative.dev triggers.eventing.knative.dev"),
    ("controller", "yes", "default", "patch", "brokers.eventing.knative.dev/status triggers.eventing.knative.dev/status"),
    ("controller", "yes", "default", "list watch", "pingsources.sources.knative.dev sinkbindings.sources.knative.dev"),
    ("controller", "yes", "default", "patch", "pingsources.sources.knative.dev/status sinkbindings.sources.knative.dev/status"),
    ("controller", "yes", "default", "list watch", "webhooksources.sources.lull.dev redissources.sources.lull.dev filesources.sources.lull.dev"),
    ("controller", "yes", "default", "patch", "webhooksources.sources.lull.dev/status redissources.sources.lull.dev/status"),
    ("controller", "no", "default", "create patch delete", "brokers.eventing.knative.dev triggers.eventing.knative.dev"),
    ("controller", "no", "default", "patch update", "deployments.apps/scale pods"),
    ("controller", "yes", "default", "patch", "services.serving.knative.dev"),
    ("controller", "yes", "default", "list watch patch",
     "deployments.apps statefulsets.apps daemonsets.apps cronjobs.batch"),
    ("controller", "no", "default", "get list create delete", "jobs.batch"),
    ("controller", "no", "default", "create delete update", "statefulsets.apps daemonsets.apps cronjobs.batch"),
    ("controller", "no", "default", "delete", "pods services.serving.knative.dev routes.serving.knative.dev"),
    ("controller", "no", "default", "list watch create update delete", "secrets"),
    ("controller", "yes", "default", "get", "secrets/some-tls"),
    ("controller", "yes", "lull-system-certificates", "list watch create patch delete", "secrets"),
    ("controller", "yes", "lull-system", "list watch update", "secrets/lull-webhook-certs"),
    ("controller", "no", "lull-system", "list watch update", "secrets secrets/lull-install"),
    ("controller", "no", "default", "update delete", "validatingwebhookconfigurations.admissionregistration.k8s.io/other"),
    ("broker", "yes" if REDIS_IMAGE else "no", "default", "list watch",
     "brokers.eventing.knative.dev triggers.eventing.knative.dev podautoscalers.autoscaling.internal.knative.dev"),
    ("broker", "yes" if REDIS_IMAGE else "no", "lull-system", "list watch", "pods"),
    ("broker", "no", "default", "get list watch", "pods"),
    ("broker", "no", "default", "create patch update delete",
     "podautoscalers.autoscaling.internal.knative.dev brokers.eventing.knative.dev triggers.eventing.knative.dev "
     "triggers.eventing.knative.dev/status pods"),
    ("broker", "yes" if REDIS_IMAGE else "no", "default", "list watch", "pingsources.sources.knative.dev webhooksources.sources.lull.dev"),
    ("broker", "yes" if REDIS_IMAGE else "no", "default", "get", "secrets/key-of-a-web-hook"),
    ("broker", "no", "lull-system", "list watch create update", "secrets configmaps"),
    ("redis", "no", "lull-system", "get list watch", "secrets configmaps pods"),
    ("controller", "no", "default", "create escalate bind",
     "clusterroles.rbac.authorization.k8s.io pods serviceaccounts"),
]


def review(part, namespace, verb, what):
    """Asks the API server whether a part may."""
    resource, _, rest = what.partition("/")
    resource, _, group = resource.partition(".")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource,
                  **({"subresource": rest} if rest in ("scale", "status") else {"name": rest} if rest else {})}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": f"system:serviceaccount:lull-system:lull-{part}", "resourceAttributes": attributes}}


def test_every_part_may_do_its_job_and_no_more(installed):
    asked = [(part, verb, what, namespace, want) for part, want, namespace, verbs, whats in RIGHTS
             for verb in verbs.split() for what in whats.split()]
    answers = kubectl(
        "create", "-o", 'jsonpath={.status.allowed}{"\\n"}', "-f", "-",
        stdin="\n---\n".join(json.dumps(review(part, namespace, verb, what))
                             for part, verb, what, namespace, _ in asked)).split()
    assert len(answers) == len(asked)
    wrong = [row for row, allowed in zip(asked, answers) if allowed != {"yes": "true", "no": "false"}[row[4]]]
    assert not wrong, wrong


def test_pods_are_restricted(installed):
    """The namespace enforces the restricted level where Lull made it; the parts keep to more than that."""
    for part in ("activator", "autoscaler", "controller", *(["broker"] if REDIS_IMAGE else [])):
        spec = get("-n", "lull-system", "deployment", f"lull-{part}")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["readinessProbe"] and container["livenessProbe"]
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
    assert get("namespace", "lull-system")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
