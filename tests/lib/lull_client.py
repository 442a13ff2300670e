# SPDX-License-Identifier: Apache-2.0
"""What the Python tests share: waiting with a deadline, plain HTTP, and the API through a kubeconfig."""
import base64
import http.client
import json
import pathlib
import re
import ssl
import time
import urllib.parse


PATIENCE_S = 30


def wait_for(condition, deadline, what):
    """
    Poll until the condition gives something true, and return that. An AssertionError names `what`. deadline: the
    seconds that it should take; it gets PATIENCE_S at least, for a slow machine is no wrong answer.
    """
    deadline = max(deadline, PATIENCE_S)
    end = time.monotonic() + deadline
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline} s still not: {what}")
        time.sleep(0.02)


class Response:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.text[:200]!r} in {self.seconds * 1000:.1f} ms>"


def http_request(url, method="GET", body=None, headers=None, timeout=30, context=None):
    parts = urllib.parse.urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    conn = make(parts.hostname, parts.port, timeout=timeout, **({"context": context} if context else {}))
    begun = time.monotonic()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        conn.request(method, path, body=body, headers=headers or {})
        got = conn.getresponse()
        data = got.read()
        return Response(got.status, got.headers, data, time.monotonic() - begun)
    finally:
        conn.close()


class ApiError(AssertionError):
    def __init__(self, response):
        super().__init__(f"{response.status}: {response.text[:500]}")
        self.response = response


KINDS = {"services": "Service", "configurations": "Configuration", "revisions": "Revision", "routes": "Route",
         "domainmappings": "DomainMapping", "podautoscalers": "PodAutoscaler", "clusterdomainclaims": "ClusterDomainClaim", "brokers": "Broker", "triggers": "Trigger",
         "serverlessservices": "ServerlessService", "images": "Image", "ingresses": "Ingress", "certificates": "Certificate"}


def typed(path, obj):
    """The object with the kind and apiVersion that a custom one must say, from the path that it is written to."""
    found = re.match(r"/apis/([^/]*knative\.dev/[^/]+)/(?:namespaces/[^/]+/)?([a-z]+)", path)
    if found is None or not isinstance(obj, dict):
        return obj
    return {"apiVersion": found[1], "kind": KINDS[found[2]], **obj}


class Api:
    """The Kubernetes API behind a kubeconfig with an inline CA and a bearer token or a client certificate."""

    def __init__(self, kubeconfig):
        import yaml  # here, because ./quickstart --replay uses this file and needs no YAML
        conf = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        cluster, user = conf["clusters"][0]["cluster"], conf["users"][0]["user"]
        self.server, self.token = cluster["server"].rstrip("/"), user.get("token")
        if "certificate-authority" in cluster:
            self.context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        else:
            self.context = ssl.create_default_context(
                cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if "client-certificate" in user:
            self.context.load_cert_chain(user["client-certificate"], user["client-key"])

    def request(self, method, path, body=None, content_type="application/json", accept="application/json",
                if_none_match=None, **query):
        headers = {"Accept": accept}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if if_none_match:
            headers["If-None-Match"] = if_none_match
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = content_type
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return http_request(self.server + path, method, data, headers, context=self.context)

    def ok(self, *args, **kw):
        got = self.request(*args, **kw)
        if got.status >= 300:
            raise ApiError(got)
        return got.json()

    def get(self, path):
        return self.ok("GET", path)

    def list(self, path, **query):
        return self.ok("GET", path, **query)["items"]

    def create(self, path, obj):
        return self.ok("POST", path, typed(path, obj))

    def update(self, path, obj):
        return self.ok("PUT", path, typed(path, obj))

    def patch(self, path, change):
        return self.ok("PATCH", path, change, content_type="application/merge-patch+json")

    def delete(self, path):
        return self.ok("DELETE", path)
