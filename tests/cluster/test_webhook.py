# SPDX-License-Identifier: Apache-2.0
"""The admission webhook, asked by a real API server."""

import base64
import json
import ssl

import pytest

from cluster import apply, get, hello, kubectl, lull_at, run, wait_for, KUBECTL

SYSTEM = "lull-system"
CERTS = ("-n", SYSTEM, "secret", "lull-webhook-certs")


@pytest.fixture(autouse=True)
def there(installed):
    """Both configurations trust what the Secret says."""
    wait_for("the configurations trust the certificate", trusted, 60)


def bundles():
    for kind, name in (("mutatingwebhookconfiguration", "lull-defaulting"),
                       ("validatingwebhookconfiguration", "lull-validation")):
        for webhook in get(kind, name)["webhooks"]:
            yield webhook["clientConfig"].get("caBundle", "")


def trusted():
    secret = get(*CERTS)
    return secret is not None and set(bundles()) == {secret["data"]["ca-cert.pem"]}


def refused(obj, *args):
    """What the API server says to an object that it does not take."""
    done = run(*KUBECTL, "apply", *args, "-f", "-", stdin=json.dumps(obj), check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_defaults_and_who_made_it(namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/initial-scale": "1"}))
    service = get("-n", namespace, "ksvc", "hello")
    assert service["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    template = service["spec"]["template"]["spec"]
    assert (template["timeoutSeconds"], template["containers"][0]["name"]) == (300, "user-container")
    notes = service["metadata"]["annotations"]
    who = notes["serving.knative.dev/creator"]
    assert who and notes["serving.knative.dev/lastModifier"] == who
    kubectl("-n", namespace, "annotate", "ksvc", "hello", "example.com/a=b")
    assert get("-n", namespace, "ksvc", "hello")["metadata"]["annotations"]["serving.knative.dev/creator"] == who
    done = run(*KUBECTL, "-n", namespace, "annotate", "--overwrite", "ksvc", "hello", "serving.knative.dev/creator=eve",
               check=False)
    assert "annotation value is immutable" in done.stderr


def test_what_is_wrong_is_refused_when_it_is_written(namespace):
    wrong = hello(namespace, containerConcurrency=-1)
    text = refused(wrong)
    assert ('admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
            "expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency") in text
    assert "denied the request" in refused(wrong, "--dry-run=server")
    apply(hello(namespace, "fine"))
    run(*KUBECTL, "apply", "--dry-run=server", "-f", "-", stdin=json.dumps(hello(namespace, "not-made")))
    assert get("-n", namespace, "ksvc", "not-made") is None


def test_brokers_and_triggers_too(namespace):
    def named(kind, name, spec):
        return {"apiVersion": "eventing.knative.dev/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
                "spec": spec}

    apply(named("Broker", "b", {}))
    broker = get("-n", namespace, "broker", "b")
    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Lull"
    assert broker["spec"]["delivery"]["retry"] == 10
    text = refused(named("Trigger", "t", {"broker": "b", "filters": [{"cesql": "type ="}], "subscriber": {"uri": "/x"}}))
    assert 'admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: ' in text
    assert "spec.filters[0].cesql" in text and "spec.subscriber.uri" in text
    apply(named("Trigger", "t", {"broker": "b", "subscriber": {"uri": "http://there"}}))
    wait_for("the controller has looked at it",
             lambda: get("-n", namespace, "trigger", "t").get("status", {}).get("subscriberUri") == "http://there", 60)


def test_lull_prints_the_webhooks_warnings_once_each(namespace, tmp_path):
    manifest = tmp_path / "service.yaml"
    manifest.write_text("".join(json.dumps(hello(namespace, name)) + "\n---\n" for name in ("one", "two")))
    said = lull_at("apply", "--dry-run=server", "-f", str(manifest)).stderr.splitlines()
    assert len([line for line in said if line.startswith("Warning: Kubernetes default value is insecure")]) == 1, said


def test_a_config_that_nobody_could_read_is_refused():
    done = run(*KUBECTL, "-n", SYSTEM, "patch", "configmap", "config-gc", "--type=merge", "-p",
               '{"data":{"min-non-active-revisions":"many"}}', check=False)
    assert 'admission webhook "config.webhook.serving.knative.dev" denied the request' in done.stderr
    assert "min-non-active-revisions" in done.stderr


def test_certificates_are_mended(namespace):
    before = get(*CERTS)["data"]
    text = base64.b64decode(before["ca-cert.pem"]).decode()
    assert ssl.PEM_cert_to_DER_cert(text[:text.index("-----END") + 26].strip())
    kubectl("-n", SYSTEM, "delete", "secret", "lull-webhook-certs")
    wait_for("a new certificate", lambda: trusted() and get(*CERTS)["data"] != before, 60)
    kubectl("patch", "validatingwebhookconfiguration", "lull-validation", "--type=json", "-p",
            '[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]')
    wait_for("the caBundle is there again", trusted, 60)

    def taken():
        return run(*KUBECTL, "apply", "-f", "-", stdin=json.dumps(hello(namespace)), check=False).returncode == 0
    wait_for("the API server trusts the new one", taken, 60)
    assert "denied the request" in refused(hello(namespace, containerConcurrency=-1))
