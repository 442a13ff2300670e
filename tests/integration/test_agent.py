# SPDX-License-Identifier: Apache-2.0
"""The node agent through lull-local's API alone: Deployments become Pods become processes, and what goes wrong is
told in the Pod's status."""
import json
import os
import signal
import subprocess

import pytest
from conftest import ROOT, binary, wait_for
from lull_client import Api

pytestmark = pytest.mark.quick
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
DIGEST = "a" * 64


class Node:
    """lull-local with its agent, and no other part."""

    def __init__(self, home):
        self.home, self.process, self.log = home, None, open(home / "out", "w")
        libexec = home / "libexec"
        libexec.mkdir()
        for name in ("lull-replica", "lull-queue-proxy"):
            (libexec / name).symlink_to(binary(name))
        self.bundle(DIGEST, ["./serve"], {"serve": (ROOT / "tests/integration/serve.py").read_text()})

    def bundle(self, digest, command, files):
        folder = self.home / "bundles" / f"sha256-{digest}"
        (folder / "files").mkdir(parents=True)
        for name, text in files.items():
            (folder / "files" / name).write_text(text)
            (folder / "files" / name).chmod(0o755)
        (folder / "bundle.json").write_text(json.dumps({"command": command, "env": {}, "workdir": "files"}))

    def start(self, *more):
        (self.home / "kubeconfig").unlink(missing_ok=True)
        self.process = subprocess.Popen([binary("lull-local"), "--home", self.home, "--libexec", self.home / "libexec",
                                         "--api-listen", "127.0.0.1:0", *map(str, more)],
                                        stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, (self.home / "out").read_text()
            try:
                self.api = Api(self.home / "kubeconfig")
                return self.api.get("/version")
            except OSError:
                return None
        wait_for(answers, 20, "the API")
        return self

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)
        self.process.wait(timeout=20)

    def deploy(self, name, replicas=1, digest=DIGEST, **function):
        image = f"dev.local/{name}@sha256:{digest}"
        containers = [{"name": "user-container", "image": image, **function},
                      {"name": "queue-proxy", "image": "", "env": [
                          {"name": "CONTAINER_CONCURRENCY", "value": "0"},
                          {"name": "SERVING_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]
        self.api.create(DEPLOYMENTS, {"metadata": {"name": name}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                         "spec": {"containers": containers, "terminationGracePeriodSeconds": 5}}}})

    def scale(self, name, n):
        self.api.patch(f"{DEPLOYMENTS}/{name}/scale", {"spec": {"replicas": n}})

    def pods(self, name):
        return self.api.list(PODS, labelSelector=f"app={name}")

    def ready(self, name):
        return [p for p in self.pods(name) if condition(p, "Ready")["status"] == "True"]

    def wait_ready(self, name, n):
        return wait_for(lambda: len(got := self.ready(name)) == n and got, 20, f"{n} ready Pods of {name}")

    def processes(self):
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
                if str(self.home) in line or str(self.home) in os.readlink(f"/proc/{pid}/cwd"):
                    found[int(pid)] = line
            except OSError:
                continue
        return found


def condition(pod, kind):
    return next((c for c in pod["status"].get("conditions", []) if c["type"] == kind), {"status": "Unknown"})


def function_state(pod):
    statuses = pod["status"].get("containerStatuses", [])
    return next((s for s in statuses if s["name"] == "user-container"), None)


@pytest.fixture
def node(home):
    it = Node(home)
    yield it
    try:
        if it.process.poll() is None:
            for name in {d["metadata"]["name"] for d in it.api.list(DEPLOYMENTS)}:
                it.api.delete(f"{DEPLOYMENTS}/{name}")
            wait_for(lambda: not it.api.list(PODS), 20, "no Pod left")
            it.kill(signal.SIGTERM)
        wait_for(lambda: not it.processes(), 10, "no process left")
    finally:
        for pid in it.processes():
            os.kill(pid, signal.SIGKILL)


def test_scale_up_and_down(node):
    node.start().deploy("a", 2)
    pods = node.wait_ready("a", 2)
    assert all(p["status"]["phase"] == "Running" and p["status"]["podIP"] == "127.0.0.1" for p in pods)
    assert len({p["metadata"]["annotations"]["lull.dev/queue-address"] for p in pods}) == 2
    node.scale("a", 3)
    node.wait_ready("a", 3)
    node.scale("a", 0)
    wait_for(lambda: not node.pods("a"), 10, "no Pod")
    status = wait_for(lambda: (s := node.api.get(f"{DEPLOYMENTS}/a")["status"])["replicas"] == 0 and s, 5, "status 0")
    assert status["readyReplicas"] == 0
    assert not os.listdir(node.home / "replicas") and not os.listdir(node.home / "run/r")


def test_a_deleted_pod_is_replaced(node):
    node.start().deploy("a")
    [pod] = node.wait_ready("a", 1)
    node.api.delete(f"{PODS}/{pod['metadata']['name']}")
    wait_for(lambda: (got := node.ready("a")) and got[0]["metadata"]["uid"] != pod["metadata"]["uid"], 10, "another Pod")


def test_environment_and_identity(node):
    node.start().deploy("a", env=[{"name": "WHO", "value": "me"}, {"name": "PORT", "value": "8080"},
                                  {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])
    [pod] = node.wait_ready("a", 1)
    path = f"{PODS}/{pod['metadata']['name']}/log"
    text = wait_for(lambda: node.api.request("GET", path).text, 5, "the function's log")
    told = json.loads(text.splitlines()[0])
    assert told["env"]["WHO"] == "me" and told["env"]["POD"] == pod["metadata"]["name"]
    assert 20000 <= int(told["env"]["PORT"]) < 30000 and "LULL_LIFELINE_FD" not in told["env"]
    assert told["no_new_privs"] == 1 and told["fds"] == [0, 1, 2]
    assert told["home_writable"]
    if os.getuid() == 0:
        assert told["uid"] >= 200000 and told["groups"] == []


def test_replicas_live_on_and_are_adopted(node):
    node.start().deploy("a", 2)
    before = {p["metadata"]["uid"] for p in node.wait_ready("a", 2)}
    functions = {p for p, line in node.processes().items() if line.endswith("./serve")}
    node.kill()
    assert functions <= set(node.processes())
    node.start()
    assert {p["metadata"]["uid"] for p in node.wait_ready("a", 2)} == before
    assert {p for p, line in node.processes().items() if line.endswith("./serve")} == functions


def test_what_has_no_pod_any_more_is_ended_at_the_start(node):
    node.start().deploy("a")
    node.wait_ready("a", 1)
    node.kill()
    for file in node.home.glob("lull.db*"):
        file.unlink()
    node.start()
    wait_for(lambda: not any("lull-replica" in line for line in node.processes().values()), 10, "no stray replica")


def test_a_missing_bundle_is_named(node):
    node.start().deploy("a", digest="b" * 64)
    pod = wait_for(lambda: (p := node.pods("a")) and function_state(p[0]) and p[0], 10, "a status")
    waiting = function_state(pod)["state"]["waiting"]
    assert waiting["reason"] == "ErrImagePull" and "deploy the function again" in waiting["message"]


def test_an_image_of_a_registry_gets_the_remedy(node):
    node.start()
    node.deploy("a")
    node.wait_ready("a", 1)
    node.api.create(DEPLOYMENTS, {"metadata": {"name": "r"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "r"}}, "template": {
            "metadata": {"labels": {"app": "r"}},
            "spec": {"containers": [{"name": "user-container", "image": "docker.io/library/x:1"}]}}}})
    pod = wait_for(lambda: (p := node.pods("r")) and function_state(p[0]) and p[0], 10, "a status")
    assert "lull deploy" in function_state(pod)["state"]["waiting"]["message"]


def test_a_crash_loop_is_told(node):
    node.bundle("c" * 64, ["sh", "-c", "echo it is broken; exit 5"], {})
    node.start().deploy("a", digest="c" * 64)
    pod = wait_for(lambda: (p := node.pods("a")) and (s := function_state(p[0])) and s["restartCount"] >= 2
                   and "waiting" in s["state"] and p[0], 15, "a crash loop")
    state = function_state(pod)
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert state["lastState"]["terminated"]["exitCode"] == 5
    assert state["lastState"]["terminated"]["message"] == "it is broken"


def test_beyond_the_capacity_pods_wait_in_order(node):
    node.start("--max-replicas", 2).deploy("a", 3)
    node.wait_ready("a", 2)
    [waiting] = wait_for(lambda: [p for p in node.pods("a") if condition(p, "PodScheduled")["status"] == "False"], 10,
                         "one Pod that waits")
    assert condition(waiting, "PodScheduled")["reason"] == "Unschedulable"
    node.api.delete(f"{PODS}/{node.ready('a')[0]['metadata']['name']}")
    wait_for(lambda: waiting["metadata"]["uid"] in {p["metadata"]["uid"] for p in node.ready("a")}, 10,
             "the one that waited runs")


def test_memory_requests_are_a_capacity(node):
    node.start("--max-memory", "100Mi").deploy("a", 2, resources={"requests": {"memory": "64Mi"}})
    node.wait_ready("a", 1)
    waiting = wait_for(lambda: [p for p in node.pods("a") if condition(p, "PodScheduled")["status"] == "False"], 10,
                       "one Pod that waits")
    assert "--max-memory" in condition(waiting[0], "PodScheduled")["message"]


def test_a_memory_limit_holds(node):
    node.bundle("d" * 64, ["python3", "-c", "x = bytearray(300 << 20)"], {})
    node.start().deploy("a", digest="d" * 64, resources={"limits": {"memory": "100Mi"}})
    pod = wait_for(lambda: (p := node.pods("a")) and (s := function_state(p[0])) and s["restartCount"] >= 1 and p[0], 15,
                   "an end by the limit")
    assert "MemoryError" in json.dumps(function_state(pod))


def test_the_state_directory_must_be_reachable_for_other_users(node):
    if os.getuid() != 0:
        pytest.skip("only root runs functions as other users")
    node.home.chmod(0o700)
    got = subprocess.run([binary("lull-local"), "--home", node.home, "--libexec", node.home / "libexec", "--api-listen",
                          "127.0.0.1:0"], capture_output=True, text=True, timeout=20, check=False)
    node.home.chmod(0o711)
    node.start()
    assert got.returncode == 1 and "chmod o+x" in got.stderr


