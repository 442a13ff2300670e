# SPDX-License-Identifier: Apache-2.0
"""Events on one machine: a Broker starts what they need, Triggers wake functions, and what was accepted arrives."""
import json
import os
import shutil
import signal

import pytest
from broker_world import Sink
from conftest import running_lull, unsafe_windows, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

SAY = """import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        print("got", self.headers.get("ce-type"), body, flush=True)
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""
EVENTING = "/apis/eventing.knative.dev/v1/namespaces/default/"


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
        assert not parts_of_events(it)
        unsafe_windows(it)
        it.cli("deploy", "say", "--", "python3", "-c", SAY)
        it.cli("broker", "create", "default")
        yield it


@pytest.fixture(scope="module")
def sink():
    one = Sink()
    yield one
    one.close()


def parts_of_events(it):
    return [line for line in it.processes().values() if "redis-server" in line or "lull-broker" in line]


def conditions(it, plural, name):
    status = it.api().get(EVENTING + plural + "/" + name).get("status", {})
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in status.get("conditions", [])}


def wait_ready(it, plural, name):
    wait_for(lambda: conditions(it, plural, name).get("Ready", ("",))[0] == "True", 30, f"{name} is ready")


@pytest.mark.quick
def test_an_event_wakes_the_function_that_wants_it(up):
    assert all(any(part in line for line in parts_of_events(up)) for part in ("redis-server", "lull-broker"))
    up.cli("trigger", "create", "paid", "--sink", "say", "--filter", "type=order.paid")
    told = up.api().get(EVENTING + "triggers/paid")
    assert told["metadata"]["labels"]["eventing.knative.dev/broker"] == "default"
    assert told["status"]["subscriberUri"] == "http://say.default.svc.cluster.local"
    up.wait_zero("say")
    assert "accepted" in up.cli("event", "send", "--type", "order.lost", "--data", '{"n":1}').stdout
    sent = up.json("event", "send", "--type", "order.paid", "--id", "one", "--data", '{"n":2}')
    assert (sent["id"], sent["status"]) == ("one", 202)
    wait_for(lambda: "got order.paid" in up.cli("logs", "say", check=False).stdout, 30, "the event")
    assert 'got order.paid {"n":2}' in up.cli("logs", "say").stdout
    assert "order.lost" not in up.cli("logs", "say").stdout
    assert "type=order.paid" in up.cli("trigger", "list").stdout
    wait_for(lambda: " 1 delivered" in up.cli("trigger", "describe", "paid").stdout, 30, "the broker has noted it")
    assert " accepted since" in up.cli("broker", "describe", "default").stdout
    up.cli("trigger", "delete", "paid")


def test_what_a_trigger_names_may_come_later(up):
    made = up.cli("trigger", "create", "early", "--sink", "late", "--dead-letter", "svc:say", "--retry", 1, "--no-wait")
    assert "created" in made.stdout
    wait_for(lambda: conditions(up, "triggers", "early").get("Ready", ("",))[0] == "False", 30, "it is not ready")
    assert conditions(up, "triggers", "early")["SubscriberResolved"] == \
        ("False", "Unable to get the Subscriber's URI",
         'failed to get object default/late: services.serving.knative.dev "late" not found')
    up.cli("deploy", "late", "--", "python3", "-c", SAY)
    wait_ready(up, "triggers", "early")
    assert up.api().get(EVENTING + "triggers/early")["status"]["deadLetterSinkUri"] == "http://say.default.svc.cluster.local"
    up.cli("delete", "late", "--wait")
    wait_for(lambda: conditions(up, "triggers", "early")["Ready"][0] == "False", 30, "it is not ready any more")
    up.cli("event", "send", "--type", "for.nobody", "--data", '{"n":3}')
    wait_for(lambda: 'got for.nobody {"n":3}' in up.cli("logs", "say").stdout, 60, "what its subscriber cannot take is a dead letter")
    up.cli("trigger", "delete", "early")


def test_what_is_refused_says_why(up):
    said = up.cli("trigger", "create", "no", "--sink", "say", "--cesql", "type =", check=False)
    assert said.returncode == 1
    assert 'admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: ' in said.stderr
    assert "spec.filters[0].cesql" in said.stderr
    said = up.cli("trigger", "create", "no", "--sink", "say", "--filter", "My-Type=a", check=False)
    assert 'invalid key name "My-Type": spec.filter.attributes[My-Type]' in said.stderr
    assert up.cli("event", "send", "--type", "a", "--broker", "none", check=False).returncode == 1
    others = {"metadata": {"name": "others", "annotations": {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}}}
    up.api().create(EVENTING + "brokers", others)
    up.cli("trigger", "create", "theirs", "--broker", "others", "--sink", "say", "--no-wait")
    up.cli("broker", "create", "mine")  # what came before is looked at before it
    assert "conditions" not in up.api().get(EVENTING + "brokers/others").get("status", {})
    up.cli("trigger", "delete", "theirs")
    up.cli("broker", "delete", "others", "mine")


def test_what_was_accepted_survives_everything(up, sink):
    up.cli("trigger", "create", "keep", "--sink", sink.url, "--filter", "type=keep")
    def accepted(n):
        return up.cli("event", "send", "--type", "keep", "--data", json.dumps({"n": n}), check=False).returncode == 0

    def came(n):
        return {"n": n} in [json.loads(event["body"]) for event in list(sink.events)]

    for n, victim in enumerate(("redis-server", "lull-broker", "lull-controller")):
        before = up.part_pid(victim)
        wait_for(lambda n=n: accepted(n), 30, "it is accepted")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda n=n: came(n), 60, f"event {n}")
        wait_for(lambda victim=victim, before=before: up.part_pid(victim) != before, 30, f"{victim} again")
    wait_ready(up, "brokers", "default")
    up.cli("down")
    up.up()
    wait_for(lambda: accepted(9), 60, "it is accepted at the Broker's new address")
    wait_for(lambda: came(9), 60, "an event of the next day")


def test_without_redis_a_broker_says_what_to_install(lull_home, monkeypatch, tmp_path):
    server = shutil.which("redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    lull_home.up()
    said = lull_home.cli("broker", "create", "default", check=False)
    assert said.returncode == 1 and "BrokerNotAvailable" in said.stderr and "redis-server" in said.stderr
    assert conditions(lull_home, "brokers", "default")["IngressReady"][:2] == ("False", "BrokerNotAvailable")
    for words in (["event", "send", "--type", "a"], ["event", "tail"], ["dlq", "list"], ["doctor"]):
        said = lull_home.cli(*words, check=False)
        assert said.returncode == 1 and "apt install redis-server" in said.stdout + said.stderr, words
        assert "lull broker create default" not in said.stdout + said.stderr, words
    (tmp_path / "redis-server").symlink_to(server)
    wait_ready(lull_home, "brokers", "default")
