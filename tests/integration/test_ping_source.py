# SPDX-License-Identifier: Apache-2.0
"""Sources on one machine: a PingSource starts lull-broker and wakes a function from zero; a SinkBinding tells a function where to send."""
import os
import shutil
import signal

import pytest
from conftest import running_lull, unsafe_windows, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

SOURCES = "/apis/sources.knative.dev/v1/namespaces/default/"
SAY = ("import http.server, os\n"
       "class H(http.server.BaseHTTPRequestHandler):\n"
       "    def do_POST(self):\n"
       "        print('ran at', self.headers['ce-time'], self.rfile.read(int(self.headers.get('Content-Length', 0))).decode(), flush=True)\n"
       "        self.send_response(202), self.end_headers()\n"
       "    def do_GET(self):\n"
       "        body = (os.environ.get('K_SINK', '-') + ' ' + os.environ.get('K_CE_OVERRIDES', '-')).encode()\n"
       "        self.send_response(200), self.send_header('Content-Length', str(len(body))), self.end_headers()\n"
       "        self.wfile.write(body)\n"
       "    def log_message(self, *_):\n"
       "        pass\n"
       "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n")


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
        unsafe_windows(it)
        it.cli("deploy", "say", "--", "python3", "-c", SAY)
        yield it


def conditions(it, plural, name):
    status = it.api().get(SOURCES + plural + "/" + name).get("status", {})
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in status.get("conditions", [])}


def test_a_schedule_wakes_a_function_from_zero(up):
    up.wait_zero("say")
    up.cli("source", "ping", "create", "often", "--schedule", "*/3 * * * * *", "--data", '{"n":1}', "--sink", "say")
    told = up.api().get(SOURCES + "pingsources/often")
    assert told["status"]["sinkUri"] == "http://say.default.svc.cluster.local"
    assert told["status"]["ceAttributes"] == [{"type": "dev.knative.sources.ping", "source": "/apis/v1/namespaces/default/pingsources/often"}]
    assert told["spec"]["contentType"] == "application/json"
    assert {t: s[0] for t, s in conditions(up, "pingsources", "often").items()} == \
        {"Ready": "True", "SinkProvided": "True", "Deployed": "True", "OIDCIdentityCreated": "True"}
    wait_for(lambda: '{"n":1}' in up.cli("logs", "say", check=False).stdout, 60, "the function has run")
    assert "*/3 * * * * *" in up.cli("source", "list").stdout
    assert "Next run     20" in up.cli("source", "describe", "often").stdout
    up.cli("source", "ping", "delete", "often")
    assert "there is no source often" in up.cli("source", "describe", "often", check=False).stderr
    up.wait_zero("say")


def test_what_is_refused_says_why(up):
    for spec, words in ((["--schedule", "61 * * * *"], "invalid value: end of range (61) above maximum (59): 61: spec.schedule"),
                        (["--timezone", "Mars/Olympus"], "provided bad location Mars/Olympus: unknown time zone Mars/Olympus: spec.timezone"),
                        (["--schedule", "@every 1s"], "invalid value: unsupported descriptor @every: spec.schedule"),
                        (["--data", "x", "--data-base64", "eA=="], "expected exactly one, got both: spec.data, spec.dataBase64")):
        said = up.cli("source", "ping", "create", "no", "--sink", "say", *spec, check=False)
        assert said.returncode == 1 and words in said.stderr, said.stderr
    up.cli("source", "ping", "create", "later", "--sink", "nobody", "--no-wait")
    assert up.api().get(SOURCES + "pingsources/later")["spec"]["schedule"] == "* * * * *"
    wait_for(lambda: conditions(up, "pingsources", "later").get("SinkProvided", ("",))[:2] == ("False", "NotFound"), 30, "no sink")
    up.cli("source", "delete", "later")


def test_a_binding_tells_a_function_its_sink(up):
    def env():
        return up.cli("invoke", "say").stdout

    up.cli("source", "binding", "create", "bound", "--subject", "say", "--sink", "http://there/x", "--extension", "team=blue")
    wait_for(lambda: env() == 'http://there/x {"extensions":{"team":"blue"}}', 60, "the variables")
    up.cli("source", "binding", "create", "other", "--subject", "say", "--sink", "http://y/", "--no-wait")
    wait_for(lambda: conditions(up, "sinkbindings", "other").get("SinkBindingAvailable", ("", ""))[1] == "SubjectBound", 30, "one only")
    # Whoever writes the Service without them gets them again.
    up.cli("deploy", "say", "--env", "MORE=1", "--", "python3", "-c", SAY)
    wait_for(lambda: env().startswith("http://there/x "), 60, "still there")
    up.cli("source", "delete", "bound")
    wait_for(lambda: env() == "http://y/ ", 60, "the other one's turn")
    up.cli("source", "delete", "other")
    wait_for(lambda: env() == "- -", 60, "undone")
    assert "sources.lull.dev/sink-binding" not in str(up.api().get("/apis/serving.knative.dev/v1/namespaces/default/services/say"))


def test_a_binding_tells_workloads_by_name_and_by_labels(up):
    """Deployments that are no function's; a kind that one machine has not is told as such."""
    path = "/apis/apps/v1/namespaces/default/deployments"

    def deployment(name, labels):
        pod = {"containers": [{"name": "c", "image": "dev.local/none:1", "env": [{"name": "OWN", "value": "1"}]}, {"name": "d", "image": "dev.local/none:1"}]}
        up.api().create(path, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
                             "spec": {"replicas": 0, "selector": {"matchLabels": {"run": name}},
                                      "template": {"metadata": {"labels": {"run": name}}, "spec": pod}}})

    def env(name):
        containers = up.api().get(f"{path}/{name}")["spec"]["template"]["spec"]["containers"]
        return [{v["name"]: v.get("value", "") for v in c.get("env", [])} for c in containers]

    told = {"K_SINK": "http://there/x", "K_CE_OVERRIDES": ""}
    deployment("orders", {"app": "x"})
    up.cli("source", "binding", "create", "one", "--subject", "deployment/orders", "--sink", "http://there/x")
    assert env("orders") == [{"OWN": "1", **told}, told]
    assert "Deployment orders" in up.cli("source", "list").stdout
    up.cli("source", "binding", "create", "some", "--subject", "deployment", "--selector", "app=x,tier notin (dev,test)", "--sink", "http://y/", "--no-wait")
    wait_for(lambda: conditions(up, "sinkbindings", "some").get("SinkBindingAvailable", ("", ""))[1] == "SubjectBound", 30, "one only")
    up.cli("source", "delete", "one")
    wait_for(lambda: env("orders")[1].get("K_SINK") == "http://y/", 30, "the other one's turn")
    deployment("later", {"app": "x", "tier": "prod"})
    deployment("tests", {"app": "x", "tier": "test"})
    wait_for(lambda: env("later")[1].get("K_SINK") == "http://y/", 30, "one that is made later")
    assert env("tests") == [{"OWN": "1"}, {}]
    assert "Deployment app=x,tier notin (dev,test)" in up.cli("source", "describe", "some").stdout
    # A binding that goes while no controller looks is undone by the next one.
    controller = up.part_pid("lull-controller")
    os.kill(controller, signal.SIGSTOP)
    up.cli("source", "delete", "some")
    os.kill(controller, signal.SIGKILL)
    wait_for(lambda: env("orders") == env("later") == [{"OWN": "1"}, {}], 60, "undone")
    assert "sink-b" not in str(up.api().get(path + "/orders")["metadata"])
    up.cli("source", "binding", "create", "none", "--subject", "statefulset/db", "--sink", "http://y/", "--no-wait")
    wait_for(lambda: conditions(up, "sinkbindings", "none").get("SinkBindingAvailable", ("", ""))[1] == "SubjectNotSupported", 30, "no such kind")
    assert "there are no StatefulSets on one machine" in conditions(up, "sinkbindings", "none")["Ready"][2]
    up.cli("source", "delete", "none")
    for words in (["--subject", "pod/x"], ["--selector", "app in x"], ["--subject", "a:b"]):
        assert up.cli("source", "binding", "create", "no", "--sink", "http://y/", *words, check=False).returncode != 0, words
