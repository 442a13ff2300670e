# SPDX-License-Identifier: Apache-2.0
"""The `lull` command against a running Lull: what it changes, what it leaves alone, what it says."""
import json
import os
import re
import signal
import subprocess
import threading

import pytest
from conftest import ROOT, binary, wait_for

SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"
SERVER = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(repr({k: v for k, v in os.environ.items() if len(k) == 1}).encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def deploy(lull, *more):
    return lull.cli("deploy", "env", *more, "--", "python3", "-c", SERVER)


def test_env_is_merged_by_name(lull):
    deploy(lull, "--env", "A=1", "--env", "B=2,3", "--env=C=x,D=y")
    assert eval(lull.get("env").text) == {"A": "1", "B": "2,3", "C": "x", "D": "y"}
    deploy(lull, "--env", "B=new,C-")
    want = {"A": "1", "B": "new", "D": "y"}
    wait_for(lambda: eval(lull.get("env").text) == want, 10, f"{want}")
    got = lull.cli("deploy", "env", "--env", "nonsense", "--source", "examples/hello-c", check=False)
    assert got.returncode == 1 and "NAME=VALUE" in got.stderr


def test_deploy_over_what_another_client_wrote(lull):
    """A fixed revision name and a command of an earlier image would both be in the way."""
    lull.api().create(SERVICES, {"metadata": {"name": "hello", "labels": {"team": "x"}}, "spec": {"template": {
        "metadata": {"name": "hello-v1", "annotations": {"note": "kept"}},
        "spec": {"containers": [{"image": f"dev.local/x@sha256:{'0' * 64}", "command": ["old"], "args": ["a"],
                                 "env": [{"name": "TARGET", "value": "kept"}]}]}}}})
    assert "updated and ready" in lull.cli("deploy", "hello", "--source", "examples/hello-python").stdout
    service = lull.api().get(f"{SERVICES}/hello")
    assert service["metadata"]["labels"]["team"] == "x"
    assert service["spec"]["template"]["metadata"]["annotations"]["note"] == "kept"
    assert lull.get("hello").text == "Hello from Python, kept!\n"


def test_progress_goes_to_stderr_and_json_to_stdout(lull):
    got = lull.cli("deploy", "hello", "--source", "examples/hello-c")
    assert "packing examples/hello-c" in got.stderr and "created and ready" in got.stdout
    got = lull.cli("deploy", "hello", "--source", "examples/hello-c", "-o", "json")
    assert json.loads(got.stdout)["metadata"]["name"] == "hello" and "packing" not in got.stderr


def test_logs_follow_from_zero_through_new_replicas(lull):
    lull.cli("deploy", "hello", "--source", "examples/hello-python")
    lull.wait_zero("hello")
    wait_for(lambda: "no replica now" in lull.cli("logs", "hello").stderr, 10, "no replica that ends")
    lines = []
    with subprocess.Popen([binary("lull"), "logs", "hello", "-f", "-o", "json"], env=lull.env(), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as follow:
        reader = threading.Thread(target=lambda: lines.extend(json.loads(line) for line in follow.stdout))
        reader.start()
        try:
            for path in ("/first", "/second"):
                # Again and again: the replica stays until its log is followed, however slow that is.
                wait_for(lambda p=path: lull.get("hello", p).status == 200 and
                         any(f"GET {p}" in line["line"] for line in lines), 60, f"the line of {path}")
                lull.wait_zero("hello")
            assert follow.poll() is None
        finally:
            follow.send_signal(signal.SIGTERM)
            reader.join(timeout=10)
    assert len({line["pod"] for line in lines}) == 2


def test_logs_with_times_and_since(lull):
    lull.cli("deploy", "hello", "--min-scale", 1, "--source", "examples/hello-python")
    assert lull.get("hello", "/one").status == 200
    wait_for(lambda: "GET /one" in lull.cli("logs", "hello").stdout, 20, "the line of /one")
    lines = lull.cli("logs", "hello", "--timestamps").stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", line) for line in lines), lines
    told = [json.loads(line) for line in lull.cli("logs", "hello", "--timestamps", "-o", "json").stdout.splitlines()]
    assert [f"{t['time']} {t['line']}" for t in told] == lines
    assert lull.cli("logs", "hello", "--since", "1h", "--tail", 1).stdout.splitlines() == [told[-1]["line"]]
    assert "previous terminated container" in lull.cli("logs", "hello", "-p", check=False).stderr
    assert "cannot be followed" in lull.cli("logs", "hello", "-p", "-f", check=False).stderr


def test_why_without_the_autoscaler(lull):
    lull.cli("deploy", "hello", "--source", "examples/hello-c")
    assert lull.get("hello").status == 200
    lull.wait_zero("hello")
    autoscaler = "/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers/hello-00001"
    wait_for(lambda: lull.api().get(autoscaler)["status"].get("lullDecisions"), 15, "the change in its status")
    pid = lull.part_pid("lull-autoscaler")
    os.kill(pid, signal.SIGSTOP)
    try:
        got = lull.cli("why", "hello")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "cannot be asked" in got.stderr and "->" in got.stdout


def test_what_is_not_there(lull):
    for command in (["delete"], ["describe"], ["url"], ["logs"], ["why"], ["invoke"]):
        got = lull.cli(*command, "nobody", check=False)
        assert got.returncode == 1 and "nobody" in got.stderr and "not found" in got.stderr, got
    lull.cli("deploy", "hello", "--source", "examples/hello-c", "--no-wait")
    got = lull.cli("delete", "nobody", "hello", check=False)
    assert got.returncode == 1 and "hello deleted" in got.stdout


def test_a_folder_that_the_functions_user_cannot_enter_is_warned_about(lull, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root runs functions as other users")
    tmp_path.chmod(0o700)
    got = subprocess.run([binary("lull"), "deploy", "x", "--no-wait", "--", "sleep", "1"], env=lull.env(), cwd=tmp_path,
                         capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=True)
    assert "warning" in got.stderr and "cannot enter" in got.stderr and str(tmp_path) in got.stderr


def doctor(lull):
    got = lull.cli("doctor", "-o", "json", check=False)
    answer = json.loads(got.stdout)
    assert answer["healthy"] == (got.returncode == 0)
    return {(one["check"], one["level"]): one for one in answer["findings"]}


def test_top_and_doctor(lull):
    deploy(lull, "--min-scale", "1")

    def counted():
        lull.get("env")
        row = json.loads(lull.cli("top", "-o", "json").stdout)["items"][0]
        return row if row.get("rps", 0) > 0 and row["ready"] == 1 else None

    row = wait_for(counted, 20, "the requests in lull top")
    assert row["name"] == "env" and row["wanted"] == 1 and 2 << 20 < row["memoryBytes"] < 200 << 20
    lines = lull.cli("top", "-A", "--sort", "rps").stdout.splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "REPLICAS", "RPS", "CONCURRENCY", "MEMORY"]
    assert lines[1].split()[:3] == ["default", "env", "1/1"]
    kpa = lull.cli("get", "kpa").stdout.split("\n")
    assert kpa[0].split() == ["NAME", "DESIREDSCALE", "ACTUALSCALE", "READY", "REASON", "LASTCHANGE", "RULE"]

    found = doctor(lull)
    assert {level for _, level in found} == {"ok"}, found
    # What is wrong is found, with what to do about it.
    token = lull.home / "token"
    token.chmod(0o644)
    os.kill(lull.part_pid("lull-activator"), signal.SIGKILL)
    wait_for(lambda: ("parts", "warning") in doctor(lull), 20, "the restart is told")
    api = lull.api()
    api.create(SERVICES, {"metadata": {"name": "broken"}, "spec": {"template": {"spec": {
        "containers": [{"image": f"dev.local/none@sha256:{'1' * 64}"}]}}}})
    found = wait_for(lambda: (lambda f: f if ("functions", "warning") in f else None)(doctor(lull)), 20, "broken is told")
    assert "lull describe broken" in found["functions", "warning"]["advice"]
    assert "can be read by other users" in found["token", "failed"]["text"]
    token.chmod(0o600)
