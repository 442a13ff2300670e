# SPDX-License-Identifier: Apache-2.0
"""Images at the reference registry (Go module github.com/distribution/distribution/v3): open, with passwords, with
tokens; what lull-controller makes of their tags. test_digests.py has the same with a registry that can also lie."""
import base64
import contextlib
import http.server
import importlib.machinery
import importlib.util
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

import go_program
import pytest
from conftest import ROOT, free_ports, wait_for
from test_controller import conditions
from test_digests import ACCOUNTS, SECRETS, deploy, deployment, image_of, parts, statuses  # noqa: F401

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
USER, PASSWORD = "ann", "geheim"
HTPASSWD = f"{USER}:$2b$04$KR2obTvn/MXWLLAfYWl18evzB4bam7NvfTzeM9KBdGIWWiKjISktO\n"  # of PASSWORD
REPOSITORY = "team/hello"


def conformance_build():
    loader = importlib.machinery.SourceFileLoader("conformance_build", str(ROOT / "tests/conformance/build"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


build = conformance_build()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with the registry's program and storage, and a way to put images there: put(tag, content) → digest."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "registry").symlink_to(go_program.from_folder("registry", ROOT / "tests/conformance/registry", [1, 26]))
    (folder / "registry.yml").write_text(build.CONFIG.replace("ROOT", str(folder / "storage")))

    def put(tag, content, index=False):
        program = folder / "hello"
        program.write_bytes(content)
        config, layer, manifest = build.image_of(program)
        with build.Registry(folder) as name:
            build.push(name, REPOSITORY, config, layer, manifest, tag)
            if index:  # the tag names a list of images, one for each machine
                kind = f"{build.OCI}.index.v1+json"
                manifest = build.images.compact({"schemaVersion": 2, "mediaType": kind, "manifests": [
                    {**build.described(f"{build.OCI}.manifest.v1+json", manifest),
                     "platform": {"os": "linux", "architecture": "amd64"}}]})
                build.ask("PUT", f"http://{name}/v2/{REPOSITORY}/manifests/{tag}", manifest, Content_Type=kind)
        return "sha256:" + build.images.digest(manifest)

    put.folder = folder
    return put


@contextlib.contextmanager
def serving(store, more=""):
    """The registry with what is in the store; `more` is added to its configuration. Its HOST:PORT."""
    port = free_ports(1)[0]
    name = f"127.0.0.1:{port}"
    config = store.folder / f"serve-{port}.yml"
    http = (store.folder / "registry.yml").read_text() % name
    config.write_text(http.rstrip().removesuffix("}") + (more or "}\n"))
    with open(store.folder / "log", "ab") as log:
        process = subprocess.Popen([store.folder / "registry", "serve", config], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
    try:
        wait_for(lambda: answers(port), 30, "the registry listens")
        yield name
    finally:
        process.terminate()
        process.wait(10)


def answers(port):
    with contextlib.suppress(OSError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
        return True
    return False


def tls_of(parts):
    pki = parts.home / "pki"
    return f", tls: {{certificate: {pki}/server.crt, key: {pki}/server.key}}}}\n"


def secret(parts, name, registry, password=PASSWORD):
    config = json.dumps({"auths": {registry: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}}})
    parts.api.create(SECRETS, {"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
                               "stringData": {".dockerconfigjson": config}})
    return [{"name": name}]


def refused(parts, name, word):
    """The Revision says why its image cannot be had, and there is no Deployment."""
    def told():
        message = conditions(parts.get(f"{name}-00001", "revisions")).get("ContainerHealthy", {}).get("message", "")
        return message if word in message else None
    message = wait_for(told, 30, f"ContainerHealthy says {word}")
    assert message.startswith("Unable to fetch image ") and deployment(parts, name) is None
    return message


def test_tags_of_images_and_of_lists(parts, store):
    one, many = store("v1", b"one"), store("multi", b"two", index=True)
    assert one != many
    with serving(store) as registry:
        deploy(parts, "one", f"{registry}/{REPOSITORY}:v1")
        deploy(parts, "many", f"{registry}/{REPOSITORY}:multi")
        deploy(parts, "none", f"{registry}/{REPOSITORY}:later")
        assert image_of(parts, "one") == f"{registry}/{REPOSITORY}@{one}"
        assert image_of(parts, "many") == f"{registry}/{REPOSITORY}@{many}"
        assert statuses(parts, "many") == [{"name": "user-container", "imageDigest": f"{registry}/{REPOSITORY}@{many}"}]
        assert "404" in refused(parts, "none", f"{registry}/{REPOSITORY}:later")
        later = store("later", b"three")
        assert image_of(parts, "none", 40) == f"{registry}/{REPOSITORY}@{later}"


def test_a_registry_that_is_skipped(parts, store):
    skipped = "/api/v1/namespaces/lull-system/configmaps/config-deployment"
    store("v1", b"one")
    with serving(store) as registry:
        parts.api.patch(skipped, {"data": {"registries-skipping-tag-resolving": registry}})
        try:
            # The setting has come to the controller as soon as a new Revision keeps its tag.
            def kept(turns=iter(range(100))):
                name = f"skipped-{next(turns)}"
                deploy(parts, name, f"{registry}/{REPOSITORY}:v1")
                return image_of(parts, name) == f"{registry}/{REPOSITORY}:v1"
            wait_for(kept, 20, "the tag stays")
        finally:
            parts.api.patch(skipped, {"data": {"registries-skipping-tag-resolving": None}})


def test_passwords(parts, store):
    digest = store("v1", b"one")
    users = store.folder / "htpasswd"
    users.write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}\n"
    with serving(store, tls_of(parts) + auth) as registry:
        image = f"{registry}/{REPOSITORY}:v1"
        deploy(parts, "basic", image, imagePullSecrets=secret(parts, "basic", registry))
        parts.api.create(ACCOUNTS, {"metadata": {"name": "basic"},
                                    "imagePullSecrets": secret(parts, "basic-account", f"https://{registry}/v2/")})
        deploy(parts, "basic-account", image, serviceAccountName="basic")
        deploy(parts, "basic-wrong", image, imagePullSecrets=secret(parts, "basic-wrong", registry, "falsch"))
        deploy(parts, "basic-nobody", image)
        for name in "basic", "basic-account":
            assert image_of(parts, name) == f"{registry}/{REPOSITORY}@{digest}"
        assert "401" in refused(parts, "basic-wrong", image)
        assert "asks for credentials: name them in an imagePullSecret" in refused(parts, "basic-nobody", image)


class Tokens(http.server.ThreadingHTTPServer):
    """A service that gives tokens, signed with a key that the registry trusts, to USER."""
    daemon_threads = True

    def __init__(self, folder, pki):
        super().__init__(("127.0.0.1", 0), TokenAnswers)
        self.realm = f"https://127.0.0.1:{self.server_port}/token"
        self.key, self.certificate, self.scopes = folder / "token.key", folder / "token.crt", []
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tokens", "-days", "2",
                        "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def token(self, scope):
        kind, name, actions = scope.split(":")
        chain = "".join(line for line in self.certificate.read_text().splitlines() if not line.startswith("-----"))
        now = int(time.time())
        text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (
            {"alg": "RS256", "typ": "JWT", "x5c": [chain]},
            {"iss": "tests", "aud": "reg", "sub": USER, "iat": now, "nbf": now - 60, "exp": now + 300,
             "access": [{"type": kind, "name": name, "actions": actions.split(",")}]}))
        sign = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text, check=True, capture_output=True)
        return (text + b"." + base64.urlsafe_b64encode(sign.stdout).rstrip(b"=")).decode()


class TokenAnswers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        good = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        body = b"{}"
        if self.headers.get("Authorization") == good and query["service"] == ["reg"]:
            self.server.scopes += query["scope"]
            body = json.dumps({"token": self.server.token(query["scope"][0])}).encode()
        self.send_response(200 if len(body) > 2 else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_tokens(parts, store):
    digest = store("v1", b"one")
    with contextlib.closing(Tokens(store.folder, parts.home / "pki")) as tokens:
        auth = (f"auth: {{token: {{realm: {tokens.realm}, service: reg, issuer: tests, "
                f"rootcertbundle: {tokens.certificate}}}}}\n")
        with serving(store, tls_of(parts) + auth) as registry:
            image = f"{registry}/{REPOSITORY}:v1"
            deploy(parts, "token", image, imagePullSecrets=secret(parts, "token", registry))
            deploy(parts, "token-nobody", image)
            assert image_of(parts, "token") == f"{registry}/{REPOSITORY}@{digest}"
            assert "the token service answered 401" in refused(parts, "token-nobody", image)
            assert tokens.scopes == [f"repository:{REPOSITORY}:pull"]
