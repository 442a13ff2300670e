# SPDX-License-Identifier: Apache-2.0
"""HTTPS on a real cluster: a DomainMapping with a certificate, its renewal under load, redirects, and who may read what."""

import http.client
import socket
import ssl
import sys
import threading

import pytest

from cluster import ROOT, apply, configure, get, hello, kubectl, wait_for, wait_ready
from conftest import reach

sys.path.append(str(ROOT / "tests/lib"))
from certs import Certificate  # noqa: E402

COPIES = "lull-system-certificates"
HELLO = "Hello from C, world!\n"


@pytest.fixture(scope="module")
def tls(installed):
    configure("config-network", {"autocreate-cluster-domain-claims": "true"})
    with reach("lull-activator", 443) as it:
        yield it


class Https:
    """One connection with SNI; certificate: the one that it trusts, None: all."""

    def __init__(self, at, host, certificate=None):
        context = certificate.client() if certificate else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not certificate:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(socket.create_connection((at.address, at.port), 10), server_hostname=host)
        self.conn = http.client.HTTPConnection(host)
        self.conn.sock, self.host = self.sock, host

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conn.close()

    def get(self, path="/"):
        self.conn.request("GET", path)
        answer = self.conn.getresponse()
        return answer.status, answer.read().decode()


def shown(at, host):
    try:
        with Https(at, host) as it:
            return it.sock.getpeercert(True)
    except OSError as e:
        return str(e)


def condition(namespace, domain, kind):
    for c in get("-n", namespace, "dm", domain).get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c["status"], c.get("reason", "")
    return None


def mapping(namespace, domain, **annotations):
    return {"apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
            "metadata": {"name": domain, "namespace": namespace, "annotations": annotations},
            "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"},
                     "tls": {"secretName": "shop-tls"}}}


class Calls:
    """Requests over TLS in threads, half of them on new connections; every failure is kept."""

    def __init__(self, at, host):
        self.at, self.host, self.bad, self.good, self.stop = at, host, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in (1, 20)]

    def run(self, requests):
        while not self.stop.is_set():
            try:
                with Https(self.at, self.host) as it:
                    for _ in range(requests):
                        assert it.get() == (200, HELLO)
                        self.good += 1
            except Exception as e:  # pylint: disable=broad-except
                self.bad.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()


def test_a_domain_with_a_certificate(ingress, tls, namespace):
    domain = f"{namespace}.example.org"
    first, second = Certificate(domain), Certificate(domain)
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    wait_ready(namespace)
    assert "UNRECOGNIZED_NAME" in shown(tls, domain)
    apply({**first.secret("shop-tls"), "metadata": {"name": "shop-tls", "namespace": namespace}})
    apply(mapping(namespace, domain))
    wait_for("the mapping is ready", lambda: condition(namespace, domain, "Ready") == ("True", ""), 30)
    assert condition(namespace, domain, "CertificateProvisioned") == ("True", "CertificateExternallyProvided")
    assert get("-n", namespace, "dm", domain)["status"]["url"] == f"https://{domain}"
    copy = get("-n", COPIES, "secret", f"d.{domain}")
    assert (copy["type"], copy["data"]) == ("kubernetes.io/tls", first.data())
    # Both activators have it, sooner or later; each connection reaches one of them.
    wait_for("its certificate is shown everywhere",
             lambda: all(shown(tls, domain) == first.der for _ in range(8)), 20)
    with Https(tls, domain, first) as it:
        assert it.get("/?who=me") == (200, HELLO)
    with Calls(tls, domain) as calls:
        apply({**second.secret("shop-tls"), "metadata": {"name": "shop-tls", "namespace": namespace}})
        wait_for("the new one is shown everywhere",
                 lambda: all(shown(tls, domain) == second.der for _ in range(8)), 60)
        good = calls.good
        wait_for("more answers", lambda: calls.good > good + 50 or calls.bad, 30)
    assert not calls.bad, calls.bad[:3]
    # HTTP to HTTPS: only with a certificate, and never the way of a certificate authority.
    assert ingress.request(domain)[0] == 200
    apply(mapping(namespace, domain, **{"networking.knative.dev/http-protocol": "Redirected"}))
    wait_for("redirects everywhere", lambda: all(ingress.request(domain)[0] == 301 for _ in range(8)), 20)
    status, headers, _, _ = ingress.request(domain, "/a?b=c")
    assert (status, headers["Location"]) == (301, f"https://{domain}/a?b=c")
    assert ingress.request(domain, "/.well-known/acme-challenge/x")[0] == 200
    assert ingress.request(f"hello.{namespace}.example.com")[0] == 200
    # Broken: said, and the last good one stays.
    kubectl("-n", namespace, "patch", "secret", "shop-tls", "--type=merge", "-p",
            '{"data": {"tls.key": "%s"}}' % first.data()["tls.key"])
    wait_for("it is said", lambda: condition(namespace, domain, "Ready") == ("False", "CertificateProvisionFailed"), 30)
    assert shown(tls, domain) == second.der
    kubectl("-n", namespace, "delete", "dm", domain)
    wait_for("its copy is gone", lambda: get("-n", COPIES, "secret", f"d.{domain}") is None, 20)
    wait_for("nothing is shown", lambda: all("UNRECOGNIZED_NAME" in str(shown(tls, domain)) for _ in range(8)), 20)


def test_a_wildcard_for_all_functions(tls, namespace):
    host, wild = f"hello.{namespace}.example.com", Certificate(f"*.{namespace}.example.com")
    apply({**wild.secret(namespace), "metadata": {"name": namespace, "namespace": "lull-system"}})
    apply(hello(namespace))
    wait_ready(namespace)
    try:
        configure("config-network", {"tls-secrets": namespace, "external-domain-tls": "Enabled"})
        wait_for("its URL is https", lambda: get("-n", namespace, "ksvc", "hello")["status"]["url"] == f"https://{host}", 30)
        wait_for("the wildcard's is shown everywhere",
                 lambda: all(shown(tls, host) == wild.der for _ in range(8)), 20)
        with Https(tls, host, wild) as it:
            assert it.get() == (200, HELLO)
    finally:
        configure("config-network", {"tls-secrets": "", "external-domain-tls": "Disabled"})
        kubectl("-n", "lull-system", "delete", "secret", namespace)
    wait_for("its copy is gone", lambda: get("-n", COPIES, "secret", f"l.{namespace}") is None, 20)


# --- another gateway ----------------------------------------------------------------------------------------------

HTTPROUTES = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "httproutes.gateway.networking.k8s.io",
                 "annotations": {"api-approved.kubernetes.io": "unapproved, only its shape is needed"}},
    "spec": {"group": "gateway.networking.k8s.io", "scope": "Namespaced",
             "names": {"kind": "HTTPRoute", "listKind": "HTTPRouteList", "plural": "httproutes", "singular": "httproute"},
             "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {
                 "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                     "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]},
}


def named(kind):
    return {i["metadata"]["name"]: i for i in get("-n", "lull-system", kind, "-l", "lull.dev/gateway")["items"]}


@pytest.fixture
def gateway_rights(installed):
    """What the chart's gateway.kind gives; the watch outlives the test, so the rights do."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "gateway-test", "namespace": "lull-system"},
            "rules": [{"apiGroups": [group], "resources": [kind],
                       "verbs": ["list", "watch", "create", "patch", "delete"]}
                      for group, kind in (("networking.k8s.io", "ingresses"), ("gateway.networking.k8s.io", "httproutes"))]}
    apply(role)
    apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": role["metadata"],
           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gateway-test"},
           "subjects": [{"kind": "ServiceAccount", "name": "lull-controller", "namespace": "lull-system"}]})
    yield
    configure("config-network", {"gateway-kind": "none"})
    kubectl("delete", "crd", HTTPROUTES["metadata"]["name"], "--ignore-not-found")


def test_another_gateway_is_told_every_host(gateway_rights, ingress, namespace):
    host, domain = f"hello.{namespace}.example.com", f"gate-{namespace}.example.org"
    hosts = {host, f"blue-{host}", domain}
    service = hello(namespace)
    service["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}, {"latestRevision": True, "tag": "blue"}]
    apply(service)
    wait_ready(namespace)
    configure("config-network", {
        "autocreate-cluster-domain-claims": "true", "gateway-kind": "Ingress", "gateway-ingress-class": "web",
        "gateway-annotations": '{"cert-manager.io/cluster-issuer": "letters"}'})
    wait_for("an Ingress for each host", lambda: {host, f"blue-{host}"} <= set(named("ingress")), 30)
    plain = mapping(namespace, domain)
    del plain["spec"]["tls"]
    apply(plain)
    wait_for("and for the domain", lambda: hosts <= set(named("ingress")), 30)
    one = named("ingress")[host]
    assert one["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "letters"
    assert one["spec"]["ingressClassName"] == "web" and "tls" not in one["spec"]
    (rule,) = one["spec"]["rules"]
    assert rule["host"] == host and rule["http"]["paths"] == [{"path": "/", "pathType": "Prefix", "backend": {
        "service": {"name": "lull-activator", "port": {"name": "http"}}}}]
    # Taken away by somebody it comes back; a tag that goes takes its own with it.
    kubectl("-n", "lull-system", "delete", "ingress", host)
    wait_for("it is made again", lambda: host in named("ingress"), 20)
    service["spec"]["traffic"].pop()
    apply(service)
    wait_for("the tag's is gone", lambda: f"blue-{host}" not in named("ingress"), 30)
    # A kind that is not installed: said, and nothing else happens.
    configure("config-network", {"gateway-kind": "HTTPRoute", "gateway-parent-refs": "[{name: web, namespace: gateways}]"})
    wait_for("the Ingresses go", lambda: not hosts & set(named("ingress")), 30)
    wait_for("it is said", lambda: [e for e in get("-n", "lull-system", "events")["items"]
                                    if e["reason"] == "InvalidConfig" and "httproutes" in e["message"]], 30)
    assert ingress.request(host, timeout=60)[0] == 200
    apply(HTTPROUTES)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", HTTPROUTES["metadata"]["name"])
    wait_for("an HTTPRoute for each host",
             lambda: {host, domain} <= set(named("httproutes.gateway.networking.k8s.io")), 90)
    route = named("httproutes.gateway.networking.k8s.io")[domain]
    assert route["spec"] == {"hostnames": [domain], "parentRefs": [{"name": "web", "namespace": "gateways"}],
                             "rules": [{"backendRefs": [{"name": "lull-activator", "port": 80}]}]}
    kubectl("-n", namespace, "delete", "dm", domain)
    kubectl("-n", namespace, "delete", "ksvc", "hello")
    wait_for("nothing is left of them",
             lambda: not hosts & set(named("httproutes.gateway.networking.k8s.io")), 30)
