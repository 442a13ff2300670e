# SPDX-License-Identifier: Apache-2.0
"""The admission webhook of lull-controller, asked over TLS as an API server asks it."""
import base64
import contextlib
import http.client
import json
import signal
import ssl
import subprocess

import pytest
from conftest import binary, free_ports, state_directory, wait_for
from test_controller import Parts

SECRET = "/api/v1/namespaces/lull-system/secrets/lull-webhook-certs"
SECRETS = "/api/v1/namespaces/lull-system/secrets"
KIND = {"group": "serving.knative.dev", "version": "v1", "kind": "Service"}


class Webhook:
    """One controller with a webhook; several may share an API."""

    def __init__(self, parts, number):
        self.parts, self.port = parts, free_ports(1)[0]
        self.admin = parts.home / f"webhook{number}.sock"
        self.process = subprocess.Popen(
            [binary("lull-controller"), "--kubeconfig", parts.home / "kubeconfig", "--admin-listen", f"unix:{self.admin}",
             "--webhook-listen", f"127.0.0.1:{self.port}", "--webhook-drain", "100ms"],
            stdout=parts.log, stderr=parts.log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def trust(self):
        secret = self.parts.api.get(SECRET)
        context = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca-cert.pem"]).decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def connect(self, context=None):
        """A connection that checks the name which an API server would call."""
        conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context or self.trust())
        plain = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        plain.connect()
        conn.sock = (context or self.trust()).wrap_socket(plain.sock, server_hostname="lull-webhook.lull-system.svc")
        return conn

    def post(self, path, body, method="POST"):
        with contextlib.closing(self.connect()) as conn:
            conn.request(method, path, body if isinstance(body, (bytes, str)) else json.dumps(body),
                         {"Content-Type": "application/json"})
            answer = conn.getresponse()
            return answer.status, answer.read().decode()

    def review(self, path, operation, obj, old=None, user="ann", kind=None, **more):
        status, text = self.post(path, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "b7c6", "kind": kind or KIND, "operation": operation, "userInfo": {"username": user}, "object": obj,
            "oldObject": old, **more}})
        assert status == 200, text
        answer = json.loads(text)
        assert (answer["kind"], answer["response"]["uid"]) == ("AdmissionReview", "b7c6")
        return answer["response"]

    def answers(self):
        try:
            return self.review("/validation", "DELETE", None)["allowed"]
        except (OSError, AssertionError):
            return None


@pytest.fixture(scope="module")
def parts():
    with state_directory() as home:
        it = Parts(home)
        try:
            it.start()
            yield it
        finally:
            it.kill(signal.SIGTERM)
            print((home / "out").read_text())


@pytest.fixture(scope="module")
def webhooks(parts):
    both = [Webhook(parts, 0), Webhook(parts, 1)]
    try:
        for one in both:
            wait_for(one.answers, 30, "the webhook answers")
        yield both
    finally:
        for one in both:
            one.stop()


def service(name="hello", image="example.com/hello"):
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}


def test_defaults_are_patched_in(webhooks):
    answer = webhooks[0].review("/defaulting", "CREATE", service())
    assert answer["allowed"] and answer["patchType"] == "JSONPatch"
    patch = json.loads(base64.b64decode(answer["patch"]))
    added = {op["path"]: op.get("value") for op in patch}
    assert added["/metadata/annotations"] == {"serving.knative.dev/creator": "ann", "serving.knative.dev/lastModifier": "ann"}
    assert added["/spec/template/spec/timeoutSeconds"] == 300
    assert added["/spec/traffic"] == [{"latestRevision": True, "percent": 100}]
    assert answer == webhooks[1].review("/defaulting", "CREATE", service(), dryRun=True), "every replica says the same"


def test_rules_refuse_in_words(webhooks):
    answer = webhooks[0].review("/validation", "CREATE", {**service("9lives"), "spec": {}})
    assert not answer["allowed"]
    assert answer["status"]["code"] == 400 and answer["status"]["reason"] == "BadRequest"
    assert answer["status"]["message"].startswith("validation failed: ")
    assert "missing field(s): spec.template.spec.containers" in answer["status"]["message"]
    assert webhooks[0].review("/validation", "UPDATE", service("9lives"), service(), subResource="status")["allowed"]
    config = {"metadata": {"name": "config-gc", "namespace": "lull-system"}, "data": {"min-non-active-revisions": "many"}}
    answer = webhooks[0].review("/config-validation", "UPDATE", config, {},
                                kind={"group": "", "version": "v1", "kind": "ConfigMap"})
    assert not answer["allowed"] and "min-non-active-revisions" in answer["status"]["message"]


def test_settings_count_at_once(parts, webhooks):
    body = service()
    body["spec"]["template"]["spec"]["timeoutSeconds"] = 900
    body["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}]
    assert not webhooks[0].review("/validation", "CREATE", body)["allowed"]
    parts.api.patch("/api/v1/namespaces/lull-system/configmaps/config-defaults", {"data": {"max-revision-timeout-seconds": "1200"}})
    try:
        for one in webhooks:
            wait_for(lambda: one.review("/validation", "CREATE", body)["allowed"], 20, "the longer timeout is taken")
    finally:
        parts.api.patch("/api/v1/namespaces/lull-system/configmaps/config-defaults",
                        {"data": {"max-revision-timeout-seconds": None}})


@pytest.mark.parametrize("path, method, body, status, says", [
    ("/validation", "POST", "", 400, "no AdmissionReview: "),
    ("/validation", "POST", "{", 400, "line 1"),
    ("/defaulting", "POST", "[" * 1000, 400, "no AdmissionReview: "),
    ("/defaulting", "POST", b"\xff\xfe", 400, "no AdmissionReview: "),
    ("/defaulting", "POST", "{}", 400, "expected an AdmissionReview of admission.k8s.io/v1"),
    ("/validation", "GET", "", 405, "POST"),
    ("/elsewhere", "POST", "{}", 404, "/elsewhere"),
])
def test_what_is_no_review_is_told(webhooks, path, method, body, status, says):
    got, text = webhooks[0].post(path, body, method)
    assert (got, says in text) == (status, True), text


def test_a_body_without_end_is_refused(webhooks):
    with contextlib.closing(webhooks[0].connect()) as conn:
        conn.putrequest("POST", "/validation")
        conn.putheader("Content-Length", str(64 << 20))
        conn.endheaders()
        assert conn.getresponse().status == 413
    assert webhooks[0].answers()


def test_an_object_as_large_as_an_api_server_takes(webhooks):
    body = service()
    body["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}]
    body["metadata"]["annotations"] = {"example.com/big": "x" * (3 << 20)}
    assert webhooks[0].review("/validation", "UPDATE", body, body)["allowed"]
    assert webhooks[0].review("/defaulting", "UPDATE", body, body)["allowed"]


def test_replicas_share_one_certificate_and_mend_it(parts, webhooks):
    def serial(one):
        with contextlib.closing(one.connect(insecure())) as conn:
            return conn.sock.getpeercert(binary_form=True)

    def insecure():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    before = serial(webhooks[0])
    assert before == serial(webhooks[1])
    for change in ({"data": {"server-cert.pem": "bm9uc2Vuc2U="}}, None):
        held = webhooks[0].connect()
        if change is None:
            parts.api.delete(SECRET)
        else:
            parts.api.patch(SECRET, change)
        wait_for(lambda: serial(webhooks[0]) != before and serial(webhooks[0]) == serial(webhooks[1]), 20,
                 "both serve a new certificate")
        for one in webhooks:
            wait_for(one.answers, 20, "a client that trusts the Secret's authority is answered")
        held.request("POST", "/validation", "{}")
        assert held.getresponse().status == 400, "a connection from before lives on"
        held.close()
        before = serial(webhooks[0])


def test_no_old_tls(webhooks):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        webhooks[0].connect(context)


def test_it_drains(parts, webhooks):
    leaving = Webhook(parts, 2)
    wait_for(leaving.answers, 30, "the webhook answers")
    assert leaving.stop() == 0
    assert webhooks[0].answers() and webhooks[1].answers()
