# SPDX-License-Identifier: Apache-2.0
"""One machine, end to end on the real binaries: the first five minutes, what kills and crashes do, and clear words
for what cannot work."""
import os
import signal
import socket
import subprocess
import threading

import pytest
from conftest import Lull, binary, wait_for
from lull_client import http_request


def deploy_c(lull, name="hello", *more):
    lull.cli("deploy", name, "--source", "examples/hello-c", *more)


class Load:
    """Callers in threads; counts answers and keeps every failure."""

    def __init__(self, call, threads=4):
        self.call, self.good, self.bad, self.go = call, 0, [], True
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while self.go:
            try:
                got = self.call()
                if got.status == 200:
                    self.good += 1
                else:
                    self.bad.append(repr(got))
            except OSError as problem:
                self.bad.append(repr(problem))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.go = False
        for t in self.threads:
            t.join()

    def more(self, n, deadline=20):
        """Waits until n more answers came."""
        want = self.good + n
        wait_for(lambda: self.good >= want, deadline, f"{n} more answers (failures: {self.bad[:3]})")


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    from conftest import ROOT
    monkeypatch.chdir(ROOT)


@pytest.mark.quick
def test_the_first_five_minutes(lull):
    out = lull.cli("deploy", "hello", "--source", "examples/hello-python").stdout
    assert "created and ready" in out
    assert lull.get("hello").text == "Hello from Python, world!\n"
    url = lull.cli("url", "hello").stdout.strip()
    assert url == f"http://hello.default.localhost:{lull.public_port}"
    assert http_request(f"http://127.0.0.1:{lull.public_port}/_lull/default/hello/x?y=1").status == 200
    assert "hello" in lull.cli("list").stdout and lull.json("list")["items"][0]["metadata"]["name"] == "hello"
    assert lull.cli("invoke", "hello", "--quiet").stdout == "Hello from Python, world!\n"
    wait_for(lambda: "GET /x?y=1" in lull.cli("logs", "hello").stdout, 10, "the request in the function's log")
    assert "hello" in lull.cli("why", "hello").stdout
    assert "RoutesReady" in lull.cli("describe", "hello").stdout
    lull.wait_zero("hello")
    assert lull.get("hello").status == 200
    assert "updated and ready" in lull.cli("deploy", "hello", "--source", "examples/hello-python", "--env", "TARGET=you").stdout
    wait_for(lambda: lull.get("hello").text == "Hello from Python, you!\n", 10, "the new revision's answer")
    lull.cli("delete", "hello")
    wait_for(lambda: lull.get("hello").status == 404, 10, "404 for a deleted function")
    wait_for(lambda: not lull.replicas("hello"), 30, "no replica of a deleted function")


COMMAND = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from a command")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""


def test_a_command_is_a_function(lull):
    lull.cli("deploy", "cmd", "--", "python3", "-c", COMMAND)
    assert lull.get("cmd").text == "from a command"


def test_concurrency_one_gets_more_replicas(lull):
    deploy_c(lull, "one", "--concurrency", "1")
    with Load(lambda: lull.get("one", "/?ms=200"), threads=4) as load:
        wait_for(lambda: len(lull.replicas("one")) >= 3, 20, "three replicas for four callers")
        load.more(10)
    assert not load.bad
    lull.wait_zero("one")


@pytest.mark.parametrize("part", ["lull-local", "lull-controller", "lull-autoscaler"])
def test_a_killed_part_comes_back_and_functions_keep_answering(lull, part):
    deploy_c(lull)
    with Load(lambda: lull.get("hello")) as load:
        load.more(50)
        old = lull.part_pid(part)
        os.kill(old, signal.SIGKILL)
        load.more(200)
        wait_for(lambda: lull.cli("status", check=False).returncode == 0, 20, "every part ready again")
        load.more(50)
    assert load.bad == []
    assert lull.part_pid(part) != old
    deploy_c(lull, "after")
    assert lull.get("after").status == 200
    assert sum("examples" in line or line.startswith("./hello") for line in lull.processes().values()) <= 2


def test_a_killed_activator_comes_back(lull):
    deploy_c(lull)
    assert lull.get("hello").status == 200
    os.kill(lull.part_pid("lull-activator"), signal.SIGKILL)

    def answered():
        try:
            return lull.get("hello").status == 200
        except OSError:
            return False
    wait_for(answered, 20, "an answer after the activator's restart")


def test_nothing_acknowledged_is_lost_when_the_api_server_is_killed(lull):
    api = lull.api()
    for i in range(20):
        api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"c{i}"}, "data": {"k": str(i)}})
    os.kill(lull.part_pid("lull-local"), signal.SIGKILL)

    def all_there():
        try:
            return len([o for o in api.list("/api/v1/namespaces/default/configmaps") if o["metadata"]["name"][0] == "c"]) >= 20
        except OSError:
            return False
    wait_for(all_there, 20, "all ConfigMaps after the restart")


def test_everything_ends_with_the_supervisor(lull):
    deploy_c(lull)
    assert lull.get("hello").status == 200
    os.kill(lull.json("status")["pid"], signal.SIGKILL)
    wait_for(lambda: not lull.processes(), 2, "every process gone 2 s after the supervisor")


def test_functions_return_after_down_and_up(lull):
    deploy_c(lull)
    lull.cli("down")
    assert not lull.processes()
    lull.up()
    assert wait_for(lambda: lull.get("hello").status == 200, 10, "the function's answer")


def test_a_killed_function_is_started_again(lull):
    deploy_c(lull, "hello", "--min-scale", "1")
    pids = [p for p, line in lull.processes().items() if line == "./hello"]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: [p for p, line in lull.processes().items() if line == "./hello" and p != pids[0]], 10, "a new process")
    wait_for(lambda: lull.get("hello").status == 200, 10, "its answer")


def test_a_replica_process_that_is_killed_is_replaced(lull):
    deploy_c(lull, "hello", "--min-scale", "1")
    old = [p for p, line in lull.processes().items() if "lull-replica" in line]
    assert len(old) == 1
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: [p for p, line in lull.processes().items() if "lull-replica" in line and p != old[0]], 10,
             "another replica process")
    wait_for(lambda: lull.get("hello").status == 200, 10, "its answer")
    assert len([p for p, line in lull.processes().items() if line == "./hello"]) == 1


@pytest.mark.parametrize("command, words", [
    (["no-such-program"], ["cannot execute no-such-program"]),
    (["sh", "-c", "echo my last words; exit 3"], ["my last words"]),
])
def test_a_function_that_cannot_run_says_why(lull, command, words):
    got = lull.cli("deploy", "bad", "--wait-timeout", "30", "--", *command, check=False)
    assert got.returncode == 1
    for word in words:
        assert word in got.stderr
    service = lull.api().get("/apis/serving.knative.dev/v1/namespaces/default/services/bad")
    ready = next(c for c in service["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "False" and words[0] in ready["message"]


def test_beyond_the_capacity_a_pod_waits_and_says_so(home):
    it = Lull(home)
    try:
        it.up("--max-replicas", "1")
        deploy_c(it, "first", "--min-scale", "1")
        it.cli("deploy", "second", "--source", "examples/hello-c", "--no-wait")

        def waiting():
            pods = it.replicas("second")
            return pods and next(c for c in pods[0]["status"]["conditions"] if c["type"] == "PodScheduled")
        condition = wait_for(waiting, 10, "a Pod of the second function")
        assert condition["status"] == "False" and condition["reason"] == "Unschedulable"
        assert "--max-replicas" in condition["message"]
        it.cli("delete", "first")
        wait_for(lambda: it.get("second").status == 200, 20, "the second one runs when there is room")
    finally:
        it.down()


@pytest.mark.quick
def test_a_second_up_is_refused(lull):
    got = lull.cli("up", "--detach", check=False)
    assert got.returncode == 1 and "runs already" in got.stderr and str(lull.json("status")["pid"]) in got.stderr


@pytest.mark.quick
def test_a_busy_port_is_named(lull_home):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        lull_home.public_port = busy.getsockname()[1]
        got = lull_home.cli("up", "--detach", "--public-port", lull_home.public_port, check=False)
    assert got.returncode == 1
    assert f"port {lull_home.public_port}" in got.stderr and "--public-port" in got.stderr


@pytest.mark.quick
def test_a_state_directory_that_cannot_be_used_is_named(home, tmp_path):
    it = Lull(home)
    file = tmp_path / "file"
    file.write_text("")
    it.home = file / "below"
    got = it.cli("up", "--detach", check=False)
    assert got.returncode == 1 and "state directory" in got.stderr and "LULL_HOME" in got.stderr
    it.home = home / ("x" * 120)
    got = it.cli("up", "--detach", check=False)
    assert got.returncode == 1 and "shorter" in got.stderr


@pytest.mark.quick
def test_wrong_use_says_what_is_right(home):
    it = Lull(home)
    for args, words in [(["nonsense"], "there is no command"), (["deploy"], "usage: lull deploy"),
                        (["deploy", "Bad_Name", "--source", "."], "lower case"), (["list", "--bogus"], "bogus"),
                        (["status"], "lull up")]:
        got = it.cli(*args, check=False)
        assert got.returncode in (1, 2) and words in got.stderr, (args, got.stderr)
    assert binary("lull").exists()


def test_up_at_once_after_a_kill_waits_for_what_is_ending(lull):
    deploy_c(lull, "hello", "--min-scale", "1")
    ports = ["--public-port", lull.public_port, "--local-port", lull.local_port, "--api-port", lull.api_port]
    for _ in range(3):
        os.kill(lull.json("status")["pid"], signal.SIGKILL)
        lull.cli("up", "--detach", *ports)
        wait_for(lambda: lull.get("hello").status == 200, 15, "the function's answer")
    functions = [p for p, line in lull.processes().items() if line == "./hello"]
    replicas = [line for line in lull.processes().values() if "lull-replica" in line.split()[0]]
    assert len(functions) == len(replicas) == 1


@pytest.mark.parametrize("seen", ["lull-local", "lull-controller", "lull-activator"])
def test_down_while_it_is_starting(lull_home, seen):
    with subprocess.Popen([binary("lull"), "up", "--public-port", "0", "--local-port", "0", "--api-port", "0"],
                          env=lull_home.env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as up:
        try:
            wait_for(lambda: any(seen in line.split()[0] for line in lull_home.processes().values()), 20, f"{seen} started")
            lull_home.cli("down")
            assert up.wait(timeout=5) == 0
        finally:
            up.terminate()
    assert not lull_home.processes()
    lull_home.up()
    lull_home.cli("status")


def test_down_ends_a_replica_that_does_not_react_and_what_it_started(lull):
    lull.cli("deploy", "cmd", "--min-scale", "1", "--", "sh", "-c",
             f"setsid sh -c 'cd {lull.home}; exec sleep 54321' & exec python3 -c \"$0\"", COMMAND)
    assert lull.get("cmd").status == 200
    replicas = [p for p, line in lull.processes().items() if "lull-replica" in line.split()[0]]
    assert any("54321" in line for line in lull.processes().values())
    os.kill(replicas[0], signal.SIGSTOP)
    lull.cli("down")
    assert not lull.processes()


def test_a_killed_deploy_leaves_nothing_after_the_next_start(lull):
    (lull.home / "bundles/.new-0123abcd/files").mkdir(parents=True)
    lull.cli("down")
    lull.up()
    assert not list((lull.home / "bundles").glob(".new-*"))


@pytest.mark.quick
def test_every_answer_can_be_json(lull_home):
    assert lull_home.json("version")["version"]
    assert lull_home.json("down") == {"running": False, "stopped": None}
    up = lull_home.json("up", "--detach", "--public-port", 0, "--local-port", 0, "--api-port", 0)
    assert up["pid"] and up["publicPort"]
    assert lull_home.json("status")["running"] and lull_home.json("list")["items"] == []
    assert lull_home.json("down")["stopped"] == up["pid"]
