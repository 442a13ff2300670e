# SPDX-License-Identifier: Apache-2.0
"""ConfigMaps of the system namespace take effect while everything runs; bad ones are refused."""
import pytest
from conftest import ROOT, running_lull, wait_for
from lull_client import ApiError, http_request

MAPS = "/api/v1/namespaces/lull-system/configmaps/config-"
SERVING = "/apis/serving.knative.dev/v1/namespaces/default"


@pytest.fixture(scope="module")
def lull():
    with running_lull() as it:
        it.cli("deploy", "hello", "--source", ROOT / "examples/hello-c")
        yield it


@pytest.fixture
def change(lull):
    """Patches the data of a config map; what was there before comes back at the end."""
    before = {}

    def patch(name, **data):
        data = {k.replace("_", "-"): v for k, v in data.pop("data", {}).items()} | data
        if name not in before:
            before[name] = lull.api().get(MAPS + name).get("data", {})
        lull.api().patch(MAPS + name, {"data": data})

    yield patch
    for name, data in before.items():
        there = lull.api().get(MAPS + name)
        lull.api().update(MAPS + name, {**there, "data": data})
    wait_for(lambda: url(lull) == f"http://hello.default.localhost:{lull.public_port}", 20, "the usual address again")


def url(lull):
    return lull.api().get(f"{SERVING}/services/hello").get("status", {}).get("url")


def status(lull, host):
    return http_request(f"http://127.0.0.1:{lull.public_port}/", headers={"Host": host}).status


def wait_url(lull, host):
    wait_for(lambda: url(lull) == f"http://{host}:{lull.public_port}", 20, f"the address {host}")
    wait_for(lambda: status(lull, host) == 200, 10, f"{host} answers")


def test_domains_follow_labels(lull, change):
    change("domain", **{"example.org": "selector:\n  app: shop\n", "shop.example.org": '{"selector":{"app":"shop","env":"prod"}}'})
    service = f"{SERVING}/services/hello"
    lull.api().patch(service, {"metadata": {"labels": {"app": "shop"}}})
    wait_url(lull, "hello.default.example.org")
    lull.api().patch(service, {"metadata": {"labels": {"env": "prod"}}})
    wait_url(lull, "hello.default.shop.example.org")
    assert status(lull, "hello.default.example.org") == 404
    lull.api().patch(service, {"metadata": {"labels": {"app": None, "env": None}}})
    wait_url(lull, "hello.default.localhost")


def test_without_a_domain_it_is_only_inside(lull, change):
    change("domain", localhost=None, **{"example.org": "selector: {app: shop}"})
    wait_for(lambda: url(lull) == "http://hello.default.svc.cluster.local", 20, "the inside address")
    wait_for(lambda: status(lull, "hello.default.localhost") == 404, 10, "404 from outside")
    inside = http_request(f"http://127.0.0.1:{lull.local_port}/", headers={"Host": "hello.default.svc.cluster.local"})
    assert inside.status == 200


def test_templates_change_addresses(lull, change):
    change("network", data={"domain-template": '{{.Name}}-{{.Namespace}}.{{index .Labels "team"}}.{{.Domain}}',
                            "tag-template": "{{.Name}}-{{.Tag}}"})
    service = f"{SERVING}/services/hello"
    lull.api().patch(service, {"metadata": {"labels": {"team": "red"}}, "spec": {"traffic": [
        {"latestRevision": True, "percent": 100, "tag": "next"}]}})
    wait_url(lull, "hello-default.red.localhost")
    wait_for(lambda: status(lull, "hello-next-default.red.localhost") == 200, 10, "the tag's address answers")
    assert lull.api().get(service)["status"]["traffic"][0]["url"] == \
        f"http://hello-next-default.red.localhost:{lull.public_port}"
    lull.api().patch(service, {"spec": {"traffic": [{"latestRevision": True, "percent": 100}]}})


@pytest.mark.parametrize("name, data, words", [
    ("network", {"domain-template": "{{.Name}"}, "unclosed action"),
    ("network", {"domain-template": "{{.Name}}/{{.Domain}}"}, "domain template has url path: /baz.com"),
    ("network", {"rollout-duration": "-5"}, "rollout-duration must be a positive integer, but was -5"),
    ("network", {"http-protocol": "gopher"}, "httpProtocol gopher in config-network ConfigMap is not supported"),
    ("domain", {"example.com": "selector: ["}, "example.com: line "),
    ("gc", {"min-non-active-revisions": "2000"}, "min-non-active-revisions(2000) must be <= max-non-active-revisions(1000)"),
    ("deployment", {"progress-deadline": "0s"}, "progress-deadline cannot be a non-positive duration, was 0s"),
    ("observability", {"logging.request-log-template": "{{.Nothing"}, "logging.request-log-template"),
    ("defaults", {"revision-timeout-seconds": "soon"}, "revision-timeout-seconds"),
    ("autoscaler", {"stable-window": "1s"}, "stable-window"),
])
def test_a_bad_one_is_refused(lull, name, data, words):
    with pytest.raises(ApiError) as told:
        lull.api().patch(MAPS + name, {"data": data})
    message = told.value.response.json()["message"]
    assert message.startswith('admission webhook "config.webhook.serving.knative.dev" denied the request: ')
    assert words in message
    assert not set(data) & set(lull.api().get(MAPS + name).get("data", {}))
