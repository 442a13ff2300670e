# SPDX-License-Identifier: Apache-2.0
"""Domains of one's own: a DomainMapping claims its domain for its namespace, and the ingress serves it."""
import base64
import json
import socket
import ssl
import subprocess

import pytest
from certs import Certificate
from conftest import running_lull, wait_for
from lull_client import ApiError, http_request

MAPPINGS = "/apis/serving.knative.dev/v1beta1/namespaces/{}/domainmappings"
CLAIMS = "/apis/networking.internal.knative.dev/v1alpha1/clusterdomainclaims"
ECHO = """
import http.server, json, os
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": os.environ["K_SERVICE"], "path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""


@pytest.fixture(scope="module")
def lull():
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LULL_CERTIFICATE_CHECK", "500ms")
        yield from started()


def started():
    with running_lull("--tls-port", 0) as it:
        it.api().create("/api/v1/namespaces", {"metadata": {"name": "other"}})
        it.cli("deploy", "one", "--", "python3", "-c", ECHO)
        it.cli("deploy", "two", "--", "python3", "-c", ECHO)
        yield it


def mapping(domain, service, kind="Service"):
    return {"metadata": {"name": domain},
            "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": kind, "name": service}}}


def conditions(lull, domain, namespace="default"):
    got = lull.api().get(f"{MAPPINGS.format(namespace)}/{domain}")
    if got.get("status", {}).get("observedGeneration") != got["metadata"]["generation"]:
        return {}
    return {c["type"]: (c["status"], c.get("reason", "")) for c in got["status"]["conditions"]}


def wait_condition(lull, domain, kind, want, namespace="default"):
    try:
        wait_for(lambda: conditions(lull, domain, namespace).get(kind) == want, 20, f"{kind} of {domain} is {want}")
    except AssertionError as e:
        raise AssertionError(f"{e}: {conditions(lull, domain, namespace)}") from None


def call(lull, domain, path="/"):
    return http_request(f"http://127.0.0.1:{lull.public_port}{path}", headers={"Host": domain})


def serves(lull, domain, name):
    got = call(lull, domain)
    return got.status == 200 and got.json()["name"] == name


def claims(lull):
    return {c["metadata"]["name"]: c["spec"]["namespace"] for c in lull.api().list(CLAIMS)}


def test_a_mapped_domain_is_served(lull):
    api = lull.api()
    api.create(MAPPINGS.format("default"), mapping("shop.example.com", "one"))
    wait_condition(lull, "shop.example.com", "Ready", ("True", ""))
    assert conditions(lull, "shop.example.com") == {
        "CertificateProvisioned": ("True", "TLSNotEnabled"), "DomainClaimed": ("True", ""),
        "IngressReady": ("True", ""), "Ready": ("True", ""), "ReferenceResolved": ("True", "")}
    got = api.get(f"{MAPPINGS.format('default')}/shop.example.com")
    url = f"http://shop.example.com:{lull.public_port}"
    assert (got["status"]["url"], got["status"]["address"]) == (url, {"url": url})
    assert got["spec"]["ref"]["namespace"] == "default"
    assert got["metadata"]["annotations"]["serving.knative.dev/creator"]
    assert claims(lull)["shop.example.com"] == "default"
    # The ingress hears of it by its own watch. curl, as people do it:
    wait_for(lambda: serves(lull, "shop.example.com", "one"), 10, "the mapped domain answers")
    out = subprocess.run(["curl", "-sS", "-H", "Host: Shop.Example.com", f"http://127.0.0.1:{lull.public_port}/a?b=c"],
                         capture_output=True, text=True, timeout=30, check=True).stdout
    seen = json.loads(out)
    assert (seen["name"], seen["path"], seen["headers"]["Host"]) == ("one", "/a?b=c", "Shop.Example.com")
    assert seen["headers"]["X-Forwarded-Host"] == "Shop.Example.com"
    # Another target: the reference is what people change.
    api.patch(f"{MAPPINGS.format('default')}/shop.example.com", {"spec": {"ref": {"name": "two"}}})
    wait_for(lambda: serves(lull, "shop.example.com", "two"), 10, "the other function answers")
    # Gone with the mapping: the claim that it made, and the answer.
    api.delete(f"{MAPPINGS.format('default')}/shop.example.com")
    wait_for(lambda: call(lull, "shop.example.com").status == 404, 10, "404 for the unmapped domain")
    wait_for(lambda: "shop.example.com" not in claims(lull), 10, "the claim is freed")


def test_two_namespaces_want_one_domain(lull):
    api = lull.api()
    lull.cli("deploy", "three", "--namespace", "other", "--", "python3", "-c", ECHO)
    api.create(MAPPINGS.format("default"), mapping("both.example.com", "one"))
    wait_condition(lull, "both.example.com", "Ready", ("True", ""))
    api.create(MAPPINGS.format("other"), mapping("both.example.com", "three"))
    wait_condition(lull, "both.example.com", "DomainClaimed", ("False", "DomainAlreadyClaimed"), "other")
    assert conditions(lull, "both.example.com", "other")["Ready"] == ("False", "DomainAlreadyClaimed")
    wait_for(lambda: serves(lull, "both.example.com", "one"), 10, "the first mapping's function")
    # The first one goes: the second gets the domain by itself.
    api.delete(f"{MAPPINGS.format('default')}/both.example.com")
    wait_condition(lull, "both.example.com", "Ready", ("True", ""), "other")
    wait_for(lambda: serves(lull, "both.example.com", "three"), 10, "the second mapping's function")
    assert claims(lull)["both.example.com"] == "other"
    api.delete(f"{MAPPINGS.format('other')}/both.example.com")
    wait_for(lambda: "both.example.com" not in claims(lull), 10, "the claim is freed")


def test_a_claim_that_a_person_made_decides_and_stays(lull):
    api = lull.api()
    api.create(CLAIMS, {"metadata": {"name": "kept.example.com"}, "spec": {"namespace": "other"}})
    api.create(MAPPINGS.format("default"), mapping("kept.example.com", "one"))
    wait_condition(lull, "kept.example.com", "DomainClaimed", ("False", "DomainAlreadyClaimed"))
    assert call(lull, "kept.example.com").status == 404
    api.patch(f"{CLAIMS}/kept.example.com", {"spec": {"namespace": "default"}})
    wait_condition(lull, "kept.example.com", "Ready", ("True", ""))
    wait_for(lambda: serves(lull, "kept.example.com", "one"), 10, "the mapped domain answers")
    api.patch(f"{CLAIMS}/kept.example.com", {"spec": {"namespace": "other"}})
    wait_for(lambda: call(lull, "kept.example.com").status == 404, 10, "404 after the claim moved on")
    api.delete(f"{MAPPINGS.format('default')}/kept.example.com")
    # Claims of mappings that go are freed in order: when this one's is gone, ours was looked at.
    api.create(MAPPINGS.format("default"), mapping("after.example.com", "one"))
    wait_condition(lull, "after.example.com", "Ready", ("True", ""))
    api.delete(f"{MAPPINGS.format('default')}/after.example.com")
    wait_for(lambda: "after.example.com" not in claims(lull), 10, "the other claim is freed")
    assert claims(lull)["kept.example.com"] == "other"


def test_a_target_that_is_not_there_yet(lull):
    api = lull.api()
    api.create(MAPPINGS.format("default"), mapping("later.example.com", "late"))
    wait_condition(lull, "later.example.com", "ReferenceResolved", ("False", "ResolveFailed"))
    message = [c["message"] for c in api.get(f"{MAPPINGS.format('default')}/later.example.com")["status"]["conditions"]
               if c["type"] == "ReferenceResolved"][0]
    assert message == 'failed to get object default/late: services.serving.knative.dev "late" not found'

    def events():
        found = api.list("/api/v1/namespaces/default/events", fieldSelector="involvedObject.name=later.example.com")
        return [(e["type"], e["reason"]) for e in found]
    wait_for(events, 20, "an Event tells it, after the condition")
    assert events() == [("Warning", "ResolveFailed")]
    lull.cli("deploy", "late", "--", "python3", "-c", ECHO)
    wait_condition(lull, "later.example.com", "Ready", ("True", ""))
    wait_for(lambda: serves(lull, "later.example.com", "late"), 20, "the mapped domain answers")
    lull.cli("delete", "late")
    wait_condition(lull, "later.example.com", "ReferenceResolved", ("False", "ResolveFailed"))
    wait_for(lambda: call(lull, "later.example.com").status == 404, 20, "404 without the function")
    api.delete(f"{MAPPINGS.format('default')}/later.example.com")


def test_without_autocreate_a_claim_is_asked_for(lull):
    api, network = lull.api(), "/api/v1/namespaces/lull-system/configmaps/config-network"
    assert api.get(network)["data"]["autocreate-cluster-domain-claims"] == "true"
    api.patch(network, {"data": {"autocreate-cluster-domain-claims": "false"}})
    try:
        api.create(MAPPINGS.format("default"), mapping("asked.example.com", "one"))
        wait_condition(lull, "asked.example.com", "DomainClaimed", ("False", "DomainAlreadyClaimed"))
        assert "asked.example.com" not in claims(lull)
    finally:
        api.patch(network, {"data": {"autocreate-cluster-domain-claims": "true"}})
    wait_condition(lull, "asked.example.com", "Ready", ("True", ""))
    api.delete(f"{MAPPINGS.format('default')}/asked.example.com")


@pytest.mark.parametrize("domain, ref, words", [
    ("single", {}, 'invalid name "single": name: Invalid value: "single": should be a domain with at least two '
                   "segments separated by dots: metadata.name"),
    ("x.svc.cluster.local", {}, 'invalid name "x.svc.cluster.local": must not be a subdomain of cluster local domain '
                                '"cluster.local": metadata.name'),
    ("a.example.com", {"name": ""}, "missing field(s): spec.ref.name"),
    ("a.example.com", {"namespace": "other"}, "mismatched namespaces: spec.ref.namespace"),
])
def test_what_cannot_be_mapped_is_refused(lull, domain, ref, words):
    bad = mapping(domain, "one")
    bad["spec"]["ref"].update(ref)
    with pytest.raises(ApiError) as told:
        lull.api().create(MAPPINGS.format("default"), bad)
    text = told.value.response.json()["message"]
    assert 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: ' in text
    assert words in text


def test_both_versions_of_the_group_are_found(lull):
    api = lull.api()
    group = api.get("/apis/serving.knative.dev")
    assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1"]
    assert group["preferredVersion"]["version"] == "v1"
    names = [r["name"] for r in api.get("/apis/serving.knative.dev/v1beta1")["resources"]]
    assert names == ["domainmappings", "domainmappings/status"]
    claim = [r for r in api.get("/apis/networking.internal.knative.dev/v1alpha1")["resources"]][0]
    assert (claim["name"], claim["namespaced"]) == ("clusterdomainclaims", False)


SECRETS = "/api/v1/namespaces/{}/secrets"


def shown(lull, domain):
    """The certificate that a client is shown who asks for the domain, or the alert that it gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", lull.tls_port), 10), server_hostname=domain) as s:
        return s.getpeercert(True)


def copies(lull):
    found = lull.api().list(SECRETS.format("lull-system"), labelSelector="lull.dev/certificate")
    return sorted(s["metadata"]["name"] for s in found)


def https(lull, domain, certificate, path="/"):
    """By name, as a client would that finds the domain in DNS; it trusts this certificate and no other."""
    out = subprocess.run(
        ["curl", "-sS", "--cacert", "/dev/stdin", "--resolve", f"{domain}:{lull.tls_port}:127.0.0.1",
         f"https://{domain}:{lull.tls_port}{path}"],
        input=certificate.cert, capture_output=True, text=True, timeout=30, check=False)
    return json.loads(out.stdout) if out.returncode == 0 else out.stderr


def message(lull, domain, kind, namespace="default"):
    got = lull.api().get(f"{MAPPINGS.format(namespace)}/{domain}")
    return [c.get("message", "") for c in got["status"]["conditions"] if c["type"] == kind][0]


def test_a_mapping_with_a_certificate(lull):
    api, domain = lull.api(), "tls.example.com"
    mine = Certificate(domain)
    with_tls = mapping(domain, "one")
    with_tls["spec"]["tls"] = {"secretName": "tls"}
    api.create(MAPPINGS.format("default"), with_tls)
    wait_condition(lull, domain, "CertificateProvisioned", ("False", "CertificateProvisionFailed"))
    assert message(lull, domain, "CertificateProvisioned") == 'secrets "tls" not found'
    api.create(SECRETS.format("default"), mine.secret("tls"))
    wait_condition(lull, domain, "Ready", ("True", ""))
    assert conditions(lull, domain)["CertificateProvisioned"] == ("True", "CertificateExternallyProvided")
    url = f"https://{domain}:{lull.tls_port}"
    assert api.get(f"{MAPPINGS.format('default')}/{domain}")["status"]["url"] == url
    wait_for(lambda: shown(lull, domain) == mine.der, 10, "its certificate is shown")
    wait_for(lambda: serves(lull, domain, "one"), 10, "the mapped domain answers")
    seen = https(lull, domain, mine, "/a?b")
    assert (seen["name"], seen["path"], seen["headers"]["X-Forwarded-Proto"]) == ("one", "/a?b", "https")
    # What is broken changes nothing but the condition; an Event tells of it.
    other = Certificate(domain)
    for broken, words in (
            ({"tls.key": other.data()["tls.key"]}, 'Secret "tls": the private key is not the certificate\'s'),
            ({"tls.crt": base64.b64encode(b"no PEM").decode()}, 'Secret "tls": certificate: '),
            ({"tls.crt": ""}, 'Secret "tls": it has no tls.crt')):
        api.patch(f"{SECRETS.format('default')}/tls", {"data": {**mine.data(), **broken}})
        wait_for(lambda w=words: message(lull, domain, "CertificateProvisioned").startswith(
            "the last good certificate is still shown: " + w), 15, words)
        assert conditions(lull, domain)["Ready"] == ("False", "CertificateProvisionFailed")
        assert https(lull, domain, mine)["name"] == "one"
    wait_for(lambda: [e for e in api.list("/api/v1/namespaces/default/events",
                                          fieldSelector=f"involvedObject.name={domain}")
                      if e["reason"] == "CertificateProvisionFailed"], 10, "an Event")
    # A new one is shown by itself, and is the only one from then on.
    api.patch(f"{SECRETS.format('default')}/tls", {"data": other.data()})
    wait_for(lambda: shown(lull, domain) == other.der, 15, "the new certificate")
    wait_condition(lull, domain, "Ready", ("True", ""))
    assert "self-signed certificate" in https(lull, domain, mine)
    # HTTP to HTTPS, by the mapping's own word.
    api.patch(f"{MAPPINGS.format('default')}/{domain}",
              {"metadata": {"annotations": {"networking.knative.dev/http-protocol": "Redirected"}}})
    wait_for(lambda: call(lull, domain).status == 301, 10, "a redirect")
    assert call(lull, domain, "/x?y=1").headers["Location"] == f"{url}/x?y=1"
    assert call(lull, domain, "/.well-known/acme-challenge/token").status == 200
    # Without tls the certificate goes; so it does with the mapping.
    assert "d." + domain in copies(lull)
    api.patch(f"{MAPPINGS.format('default')}/{domain}", {"spec": {"tls": None}})
    wait_for(lambda: "d." + domain not in copies(lull), 10, "its copy is gone")
    wait_for(lambda: call(lull, domain).status == 200, 10, "no redirect without a certificate")
    wait_for(lambda: shown(lull, domain) != other.der, 10, "it is not shown any more")
    api.patch(f"{MAPPINGS.format('default')}/{domain}", {"spec": {"tls": {"secretName": "tls"}}})
    wait_for(lambda: shown(lull, domain) == other.der, 10, "it is shown again")
    api.delete(f"{MAPPINGS.format('default')}/{domain}")
    wait_for(lambda: copies(lull) == ["l.localhost-tls"], 10, "nothing is left")


def test_nobody_shows_a_certificate_for_anothers_domain(lull):
    api, domain = lull.api(), "mine.example.com"
    mine, theirs = Certificate(domain), Certificate(domain)
    for ns, certificate in (("default", mine), ("other", theirs)):
        api.create(SECRETS.format(ns), certificate.secret("mine-tls"))
        lull.cli("deploy", "four", "--namespace", ns, "--", "python3", "-c", ECHO)
        it = mapping(domain, "four")
        it["spec"]["tls"] = {"secretName": "mine-tls"}
        api.create(MAPPINGS.format(ns), it)
        wait_condition(lull, domain, "CertificateProvisioned", ("True", "CertificateExternallyProvided"), ns)
    assert conditions(lull, domain, "other")["DomainClaimed"] == ("False", "DomainAlreadyClaimed")
    assert shown(lull, domain) == mine.der
    api.delete(f"{MAPPINGS.format('default')}/{domain}")
    wait_for(lambda: shown(lull, domain) == theirs.der, 15, "the other one's, with the domain")
    api.delete(f"{MAPPINGS.format('other')}/{domain}")


def test_listed_certificates_and_https_urls(lull):
    """The machine's own certificate, and external-domain-tls with a wildcard of the user's."""
    api, network = lull.api(), "/api/v1/namespaces/lull-system/configmaps/config-network"
    data = api.get(network)["data"]
    assert (data["tls-secrets"], data["external-tls-port"]) == ("localhost-tls", str(lull.tls_port))
    trusts = ssl.create_default_context(cafile=str(lull.home / "pki" / "ca.crt"))
    with trusts.wrap_socket(socket.create_connection(("127.0.0.1", lull.tls_port), 10),
                            server_hostname="one.default.localhost") as s:
        s.sendall(b"GET /t HTTP/1.1\r\nHost: one.default.localhost\r\nConnection: close\r\n\r\n")
        assert s.makefile("rb").readline().split()[1] == b"200"
    wild = Certificate("*.other.localhost")
    api.create(SECRETS.format("lull-system"), wild.secret("wild"))
    lull.cli("deploy", "five", "--namespace", "other", "--", "python3", "-c", ECHO)
    api.patch(network, {"data": {"tls-secrets": "localhost-tls, wild", "external-domain-tls": "Enabled"}})

    def url(name, ns):
        got = api.get(f"/apis/serving.knative.dev/v1/namespaces/{ns}/services/{name}")
        return got["status"]["url"]
    try:
        for name, ns in (("one", "default"), ("five", "other")):
            want = f"https://{name}.{ns}.localhost:{lull.tls_port}"
            wait_for(lambda n=name, s=ns, w=want: url(n, s) == w, 15, want)
        wait_for(lambda: shown(lull, "five.other.localhost") == wild.der, 10, "the wildcard's")
        assert https(lull, "five.other.localhost", wild)["name"] == "five"
        api.patch(network, {"data": {"http-protocol": "Redirected"}})
        wait_for(lambda: call(lull, "five.other.localhost").status == 301, 10, "a redirect")
        assert http_request(f"http://127.0.0.1:{lull.public_port}/_lull/other/five/").status == 200
    finally:
        api.patch(network, {"data": {"tls-secrets": "localhost-tls", "external-domain-tls": None, "http-protocol": None}})
    wait_for(lambda: url("five", "other") == f"http://five.other.localhost:{lull.public_port}", 15, "http again")
    wait_for(lambda: copies(lull) == ["l.localhost-tls"], 10, "the wildcard's copy is gone")
