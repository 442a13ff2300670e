# SPDX-License-Identifier: Apache-2.0
"""Tags become digests: lull-controller as on a cluster, and registries that answer, refuse and ask who is there."""
import base64
import contextlib
import http.server
import json
import signal
import ssl
import threading
import urllib.parse

import pytest
from conftest import state_directory, wait_for
from test_controller import DEPLOYMENTS, SERVING, Parts, conditions

DIGEST = "sha256:" + "d1" * 32
ACCOUNTS, SECRETS = "/api/v1/namespaces/default/serviceaccounts", "/api/v1/namespaces/default/secrets"


class Registry(http.server.ThreadingHTTPServer):
    """The part of a registry that is asked; `images` maps REPOSITORY:TAG to a digest."""
    daemon_threads = True

    def __init__(self, tls=None, password=None):
        super().__init__(("127.0.0.1", 0), Answers)
        self.images, self.asked, self.tokens, self.password, self.tls = {}, [], [], password, tls
        self.name = f"127.0.0.1:{self.server_port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a hello of TLS at the plain one


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def say(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        it = self.server
        it.asked.append(self.path)
        if it.password and self.headers.get("Authorization") != "Bearer t0ken":
            self.say(401, WWW_Authenticate=f'Bearer realm="https://{it.name}/token",service="reg"')
            return
        _, _, name, _, tag = self.path.rsplit("/", 4)
        digest = it.images.get(f"{name}:{tag}")
        assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        if digest is None:
            self.say(404)
        else:
            self.say(200, Docker_Content_Digest=digest)

    def do_GET(self):
        it = self.server
        url = urllib.parse.urlsplit(self.path)
        it.tokens.append(urllib.parse.parse_qs(url.query))
        good = "Basic " + base64.b64encode(f"ann:{it.password}".encode()).decode()
        if self.headers.get("Authorization") == good:
            self.say(200, json.dumps({"token": "t0ken"}).encode())
        else:
            self.say(401)


@pytest.fixture(scope="module")
def parts():
    with state_directory() as home:
        it = Parts(home)
        try:
            it.start()
            it.options = ["--queue-proxy-image", "dev.local/queue-proxy", "--registry-ca", home / "pki/ca.crt"]
            it.start_controller(*it.options)
            yield it
            assert it.stop_controller() == 0
        finally:
            it.kill(signal.SIGTERM)
            print((home / "out").read_text())


@pytest.fixture
def registry():
    with contextlib.closing(Registry()) as it:
        yield it


def deploy(parts, name, image, **spec):
    template = {"metadata": {"annotations": {"autoscaling.knative.dev/initial-scale": "1"}},
                "spec": {"containers": [{"image": image}], **spec}}
    parts.api.create(f"{SERVING}/services", {"metadata": {"name": name}, "spec": {"template": template}})
    wait_for(lambda: parts.api.request("GET", f"{SERVING}/revisions/{name}-00001").status == 200, 20, "the Revision")


def deployment(parts, name):
    got = parts.api.request("GET", f"{DEPLOYMENTS}/{name}-00001-deployment")
    return got.json() if got.status == 200 else None


def image_of(parts, name, deadline=20):
    made = wait_for(lambda: deployment(parts, name), deadline, f"the Deployment of {name}")
    return made["spec"]["template"]["spec"]["containers"][0]["image"]


def statuses(parts, name):
    def told():
        return parts.api.get(f"{SERVING}/revisions/{name}-00001").get("status", {}).get("containerStatuses")
    return wait_for(told, 20, "the status names the image")


def test_a_tag_is_fixed_once(parts, registry):
    registry.images["hello:v1"] = DIGEST
    deploy(parts, "fixed", f"{registry.name}/hello:v1")
    want = f"{registry.name}/hello@{DIGEST}"
    assert image_of(parts, "fixed") == want
    assert statuses(parts, "fixed") == [{"name": "user-container", "imageDigest": want}]
    assert registry.asked == ["/v2/hello/manifests/v1"]
    # Another controller does not ask again: the Revision is what it was.
    registry.images["hello:v1"] = "sha256:" + "e2" * 32
    assert parts.stop_controller() == 0
    parts.start_controller(*parts.options)
    parts.api.delete(f"{DEPLOYMENTS}/fixed-00001-deployment")
    wait_for(lambda: deployment(parts, "fixed"), 20, "the Deployment is made again")
    assert statuses(parts, "fixed") == [{"name": "user-container", "imageDigest": want}]
    assert image_of(parts, "fixed") == want
    assert len(registry.asked) == 1


@pytest.mark.parametrize("image, digest", [("dev.local/hello:v1", None), (f"example.com/hello@{DIGEST}", True)])
def test_nobody_is_asked_about_these(parts, image, digest):
    name = "as-it-is" if digest is None else "by-digest"
    deploy(parts, name, image)
    assert image_of(parts, name) == image
    assert statuses(parts, name) == [{"name": "user-container", **({"imageDigest": image} if digest else {})}]


def test_an_image_that_is_not_there_yet(parts, registry):
    deploy(parts, "missing", f"{registry.name}/hello:later")
    got = parts.wait_condition("missing-00001", ("False", "ContainerMissing", "failed to resolve image to digest"),
                               "revisions", 20)
    message = conditions(parts.get("missing-00001", "revisions"))["ContainerHealthy"]["message"]
    assert message.startswith(f'Unable to fetch image "{registry.name}/hello:later": ') and "404" in message, got
    assert deployment(parts, "missing") is None
    registry.images["hello:later"] = DIGEST
    assert image_of(parts, "missing") == f"{registry.name}/hello@{DIGEST}"


@pytest.mark.parametrize("where", ["account", "revision"])
def test_a_registry_that_asks_who_is_there(parts, where):
    pki = parts.home / "pki"
    with contextlib.closing(Registry((pki / "server.crt", pki / "server.key"), "geheim")) as registry:
        registry.images["hello:v1"] = DIGEST
        config = json.dumps({"auths": {f"https://{registry.name}": {"username": "ann", "password": "geheim"}}})
        parts.api.create(SECRETS, {"metadata": {"name": f"pull-{where}"}, "type": "kubernetes.io/dockerconfigjson",
                                   "stringData": {".dockerconfigjson": config}})
        pulls = [{"name": "nowhere"}, {"name": f"pull-{where}"}]
        if where == "account":
            parts.api.create(ACCOUNTS, {"metadata": {"name": "puller"}, "imagePullSecrets": pulls})
            deploy(parts, "by-account", f"{registry.name}/hello:v1", serviceAccountName="puller")
        else:
            deploy(parts, "by-revision", f"{registry.name}/hello:v1", imagePullSecrets=pulls)
        assert image_of(parts, f"by-{where}") == f"{registry.name}/hello@{DIGEST}"
        assert registry.tokens == [{"service": ["reg"], "scope": ["repository:hello:pull"]}]
        deploy(parts, f"stranger-{where}", f"{registry.name}/hello:v1")
        parts.wait_condition(f"stranger-{where}-00001", ("False", "ContainerMissing", "the token service answered 401"),
                             "revisions", 20)
