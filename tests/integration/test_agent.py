# SPDX-License-Identifier: Apache-2.0
"""The node agent through lull-local's API alone: Deployments become Pods become processes, and what goes wrong is
told in the Pod's status."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from conftest import ROOT, answering, binary, wait_for

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
        return self.connect()

    def connect(self):
        self.api = answering(self, 20)
        return self

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)
        self.process.wait(timeout=20)

    def folders(self):
        """Of replicas; not the spare ones."""
        return [name for name in os.listdir(self.home / "replicas") if not name.startswith(".")]

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
    return next((c for c in pod.get("status", {}).get("conditions", []) if c["type"] == kind), {"status": "Unknown"})


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
    wait_for(lambda: not node.folders() and not os.listdir(node.home / "run/r"), 5, "nothing left")


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


@pytest.mark.parametrize("lives_on", [True, False])
def test_a_state_directory_that_was_moved_works_at_its_new_place(node, lives_on):
    node.start().deploy("a", replicas=2)
    old = {p["metadata"]["name"] for p in node.wait_ready("a", 2)}
    node.kill()
    if not lives_on:
        end = [pid for pid, line in node.processes().items() if "lull-replica" in line]
        for pid in end:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not node.processes(), 20, "nothing left")
    moved = node.home.with_name(node.home.name + "-2")
    node.home.rename(moved)
    node.home = moved
    try:
        node.start()
        pods = wait_for(lambda: len(got := node.ready("a")) == 2 and not old & {p["metadata"]["name"] for p in got} and got,
                        20, "two Pods of this directory")
        assert len(node.pods("a")) == 2
        for pod in pods:
            assert pod["metadata"]["annotations"]["lull.dev/queue-address"].startswith(f"unix:{moved}/run/")
        wait_for(lambda: len([l for l in node.processes().values() if "serve" in l]) == 2, 20, "two functions")
    finally:
        node.api.delete(f"{DEPLOYMENTS}/a")
        wait_for(lambda: not node.api.list(PODS), 20, "no Pod left")
        node.kill(signal.SIGTERM)
        shutil.rmtree(moved, ignore_errors=True)


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


def test_logs_as_a_kubelet_gives_them(node):
    node.bundle("c" * 64, ["sh", "-c", "if [ -e again ]; then echo second run; exec sleep 1000; fi; touch again 2>/dev/null; "
                           "echo one; echo two; sleep 1.2; printf 'th'; printf 'ree\\nfour'; exit 5"], {})
    (node.home / f"bundles/sha256-{'c' * 64}/files").chmod(0o777)
    node.start().deploy("a", digest="c" * 64)
    pod = wait_for(lambda: (p := node.pods("a")) and (s := function_state(p[0])) and s["restartCount"] >= 1 and p[0], 20,
                   "a restart")
    path = f"{PODS}/{pod['metadata']['name']}/log"

    def logs(**query):
        got = node.api.request("GET", path, **query)
        assert got.status == 200, got
        return got.text

    first = "one\ntwo\nthree\nfour"
    wait_for(lambda: logs() == "second run\n", 20, "the log of the second run")
    assert logs(previous="true") == logs(previous="true", follow="true") == first
    assert logs(previous="true", tailLines=2) == "three\nfour" and logs(previous="true", limitBytes=5) == "one\nt"
    stamped = [line.split(" ", 1) for line in logs(previous="true", timestamps="true").split("\n")]
    assert "\n".join(text for _, text in stamped) == first
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", at) for at, _ in stamped)
    at = [at for at, _ in stamped]
    assert at == sorted(at) and at[1] < at[2]
    assert logs(previous="true", sinceTime=at[2]) == "three\nfour" and logs(sinceTime=at[2]) == "second run\n"
    assert logs(previous="true", sinceTime=at[2], tailLines=1) == "four"
    assert logs(sinceSeconds=3600) == "second run\n" and logs(sinceTime="2100-01-01T00:00:00Z") == ""
    assert logs(container="queue-proxy", tailLines=0) == ""

    def bad(status, message, **query):
        got = node.api.request("GET", path, **query)
        assert got.status == status and message in got.json()["message"], got

    name = pod["metadata"]["name"]
    bad(422, f'PodLogOptions "{name}" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0', tailLines=-1)
    bad(422, "limitBytes: Invalid value: 0: must be greater than 0", limitBytes=0)
    bad(422, "sinceSeconds: Invalid value: 0: must be greater than 0", sinceSeconds=0)
    bad(422, "at most one of `sinceTime` or `sinceSeconds` may be specified", sinceSeconds=1, sinceTime=at[0])
    bad(400, 'parsing "x": invalid syntax', tailLines="x")
    bad(400, "sinceTime", sinceTime="yesterday")
    bad(400, f"container other is not valid for pod {name}", container="other")
    bad(400, f'previous terminated container "queue-proxy" in pod "{name}" not found', container="queue-proxy", previous="true")


def test_following_ends_with_the_run(node):
    node.bundle("c" * 64, ["sh", "-c", "echo begun; sleep 1; echo last words; exit 1"], {})
    node.start().deploy("a", digest="c" * 64)
    pod = wait_for(lambda: (p := node.pods("a")) and function_state(p[0]) and p[0], 20, "a Pod that runs")
    path = f"{PODS}/{pod['metadata']['name']}/log"
    wait_for(lambda: node.api.request("GET", path).status == 200, 20, "its log")
    got = node.api.request("GET", path, follow="true")
    assert got.status == 200 and got.text == "begun\nlast words\n"


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




def test_the_functions_own_home_wins_and_the_port_is_ours(node):
    node.start().deploy("a", env=[{"name": "HOME", "value": "/elsewhere"}, {"name": "PORT", "value": "1"}])
    [pod] = node.wait_ready("a", 1)
    text = wait_for(lambda: node.api.request("GET", f"{PODS}/{pod['metadata']['name']}/log").text, 5, "the log")
    told = json.loads(text.splitlines()[0])["env"]
    assert told["HOME"] == "/elsewhere" and told["PORT"] != "1"


@pytest.mark.parametrize("made", ["none", "copied", "path"])
def test_a_pod_that_is_not_ours_takes_nothing_with_it(node, made):
    """Its annotation names no replica of its own, so nothing is run for it and nothing is removed with it."""
    node.start().deploy("a")
    [pod] = node.wait_ready("a", 1)
    own = pod["metadata"]["annotations"]["lull.dev/replica-id"]
    value = {"none": {}, "copied": {"lull.dev/replica-id": own}, "path": {"lull.dev/replica-id": "../bundles"}}[made]
    node.api.create(PODS, {"metadata": {"name": "bare", "annotations": value},
                           "spec": {"nodeName": "lull", "containers": [{"name": "user-container", "image": "x"}]}})

    def told():
        bare = node.api.get(f"{PODS}/bare")
        return function_state(bare) and function_state(bare)["state"]["waiting"]["message"]
    assert "made by Deployments" in wait_for(told, 5, "why it does not run")
    node.api.delete(f"{PODS}/bare")
    wait_for(lambda: len(node.api.list(PODS)) == 1, 10, "the Pod removed")
    node.scale("a", 2)
    node.wait_ready("a", 2)
    assert (node.home / "replicas" / own / "spec").exists() and (node.home / "bundles").exists()


def test_a_scale_that_is_taken_back_at_once_starts_nothing_for_long(node):
    node.bundle("e" * 64, ["sleep", "1000"], {})  # never ready: only the number can end it
    node.start().deploy("a", 0, digest="e" * 64)
    for _ in range(10):
        node.scale("a", 3)
        node.scale("a", 0)
    wait_for(lambda: not node.pods("a"), 20, "no Pod")
    wait_for(lambda: not node.folders(), 5, "no folder of a replica")
    assert not any("lull-replica" in line for line in node.processes().values())


def test_a_stop_during_launches_is_prompt_and_loses_nothing(node):
    node.start().deploy("a", 12)
    wait_for(node.folders, 10, "the first launch")
    node.kill(signal.SIGTERM)
    node.start()
    node.wait_ready("a", 12)
    replicas = [line for line in node.processes().values() if "lull-replica" in line.split()[0]]
    assert len(replicas) == len(set(replicas)) == 12


def test_a_kill_during_launches_doubles_nothing(node):
    node.start().deploy("a", 12)
    for _ in range(3):
        wait_for(node.folders, 10, "a launch")
        node.kill()
        node.start()
    node.wait_ready("a", 12)
    wait_for(lambda: sum(line.endswith("./serve") for line in node.processes().values()) == 12, 10, "twelve functions")
    replicas = [line for line in node.processes().values() if "lull-replica" in line.split()[0]]
    assert len(replicas) == len(set(replicas)) == 12
    ports = {open(f"/proc/{pid}/environ").read().split("\0PORT=")[1].split("\0")[0]
             for pid, line in node.processes().items() if line.endswith("./serve")}
    assert len(ports) == 12


def test_an_agent_that_was_stopped_for_long_ends_no_function(node):
    """Meanwhile its replica has more to tell than the connection holds."""
    node.bundle("f" * 64, ["python3", "-c", "import os, sys\nif os.path.exists(os.environ['TMPDIR'] + '/go'): import serve\n"
                           "else: sys.exit('x' * 200)"],
                {"serve.py": (ROOT / "tests/integration/serve.py").read_text()})
    node.start().deploy("a", digest="f" * 64)
    wait_for(lambda: (p := node.pods("a")) and (s := function_state(p[0])) and s["restartCount"], 15, "a restart")
    [replica] = [p for p, line in node.processes().items() if "lull-replica" in line.split()[0]]
    node.process.send_signal(signal.SIGSTOP)
    proxy = [p for p, line in node.processes().items() if "lull-queue-proxy" in line.split()[0]]
    for _ in range(25):  # each end and each start of the queue-proxy is a line
        os.kill(proxy[0], signal.SIGKILL)
        proxy = wait_for(lambda: [p for p, line in node.processes().items()
                                  if "lull-queue-proxy" in line.split(" ")[0] and p != proxy[0]], 10, "another queue-proxy")
    node.process.send_signal(signal.SIGCONT)
    [pod] = node.pods("a")
    (node.home / "replicas" / pod["metadata"]["annotations"]["lull.dev/replica-id"] / "tmp/go").touch()
    node.wait_ready("a", 1)
    assert replica in node.processes()


def test_what_a_killed_replica_left_in_other_sessions_is_ended(node):
    node.bundle("9" * 64, ["sh", "-c", "setsid sh -c 'cd /; exec sleep 54321' & exec ./serve"],
                {"serve": (ROOT / "tests/integration/serve.py").read_text()})
    node.start().deploy("a", digest="9" * 64)
    [pod] = node.wait_ready("a", 1)
    mark = f"LULL_REPLICA={pod['metadata']['annotations']['lull.dev/replica-id']}".encode()

    def daemons():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line, env = (open(f"/proc/{pid}/{n}", "rb").read() for n in ("cmdline", "environ"))
            except OSError:
                continue
            if mark in env and b"54321" in line and b"sleep" == line[:5]:
                found.append(int(pid))
        return found
    [old] = wait_for(daemons, 5, "the daemon")
    [replica] = [p for p, line in node.processes().items() if "lull-replica" in line.split()[0]]
    os.kill(replica, signal.SIGKILL)
    wait_for(lambda: old not in daemons(), 5, "the daemon gone")
    wait_for(lambda: (r := node.ready("a")) and function_state(r[0])["restartCount"] == 1, 20, "the replica again")
    assert len(daemons()) == 1


def test_room_goes_to_every_waiting_pod_that_fits(node):
    node.start("--max-memory", "100Mi").deploy("a", resources={"requests": {"memory": "60Mi"}})
    node.wait_ready("a", 1)
    node.deploy("b", resources={"requests": {"memory": "30Mi"}})
    node.wait_ready("b", 1)
    node.deploy("big", resources={"requests": {"memory": "80Mi"}})
    node.deploy("small", resources={"requests": {"memory": "20Mi"}})
    for name in ("big", "small"):
        wait_for(lambda n=name: (p := node.pods(n)) and condition(p[0], "PodScheduled")["status"] == "False", 10, f"{name} waits")
    node.api.delete(f"{DEPLOYMENTS}/b")
    node.wait_ready("small", 1)
    assert condition(node.pods("big")[0], "PodScheduled")["status"] == "False"
    node.api.delete(f"{DEPLOYMENTS}/big")  # a Pod that waits goes, and holds no place
    wait_for(lambda: not node.pods("big"), 10, "no Pod of big")
    node.scale("small", 2)
    node.wait_ready("small", 2)


def test_a_waiting_or_failing_pod_that_is_deleted_is_gone_at_once(node):
    node.start("--max-replicas", 1).deploy("missing", digest="8" * 64)
    wait_for(lambda: (p := node.pods("missing")) and function_state(p[0]), 10, "a failed Pod")
    node.deploy("waits")
    wait_for(lambda: (p := node.pods("waits")) and condition(p[0], "PodScheduled")["status"] == "False", 10, "a waiting Pod")
    node.scale("waits", 0)
    wait_for(lambda: not node.pods("waits"), 3, "no waiting Pod")
    node.scale("missing", 0)
    wait_for(lambda: not node.pods("missing"), 3, "no failed Pod")
    node.scale("waits", 1)
    node.wait_ready("waits", 1)


def test_a_name_that_comes_again_while_the_old_replica_ends(node):
    node.start().deploy("a")
    [pod] = node.wait_ready("a", 1)
    name = pod["metadata"]["name"]
    [replica] = [p for p, line in node.processes().items() if "lull-replica" in line.split()[0]]
    os.kill(replica, signal.SIGSTOP)
    node.api.delete(f"{PODS}/{name}?gracePeriodSeconds=0")
    node.api.create(PODS, {"metadata": {"name": name, "annotations": {"lull.dev/replica-id": "0123456789"}},
                           "spec": {"nodeName": "lull", "terminationGracePeriodSeconds": 1, "containers": [
                               {"name": "user-container", "image": f"dev.local/a@sha256:{DIGEST}"},
                               {"name": "queue-proxy", "image": ""}]}})
    wait_for(lambda: condition(node.api.get(f"{PODS}/{name}"), "Ready")["status"] == "True", 15, "the new one runs")
    os.kill(replica, signal.SIGCONT)
    wait_for(lambda: replica not in node.processes(), 10, "the old one gone")
    assert condition(node.api.get(f"{PODS}/{name}"), "Ready")["status"] == "True"
    node.api.delete(f"{PODS}/{name}")


def test_bundles_that_nothing_names_go(node):
    node.start("--bundle-grace", "2s")
    digests = {name: f"{i:x}" * 64 for i, name in enumerate(
        ("deployment", "service", "unused", "fresh", "returned", "broken", "unknown"))}
    folders = {name: node.home / "bundles" / f"sha256-{digest}" for name, digest in digests.items()}
    for i in range(250):  # more than are looked at in one go, and the bundle's is the last one
        node.deploy(f"d{i}", 0)
    node.deploy("z", 0, digests["deployment"])
    node.api.create("/apis/serving.knative.dev/v1/namespaces/default/services", {
        "metadata": {"name": "s"},
        "spec": {"template": {"spec": {"containers": [{"image": f"dev.local/s@sha256:{digests['service']}"}]}}}})
    node.deploy("r", 0, digests["returned"])
    for name, digest in digests.items():
        node.bundle(digest, ["true"], {"f": name})
        old = 1_000_000_000 if name != "fresh" else 4_000_000_000
        os.utime(folders[name], (old, old))
    folders["returned"].rename(node.home / "bundles" / f".gc-{digests['returned']}")  # killed before it decided
    folders["broken"].rename(node.home / "bundles" / f".gone-{digests['broken']}")  # killed while it removed
    left = {folders[name].name for name in ("deployment", "service", "fresh", "returned")} | {f"sha256-{DIGEST}"}
    wait_for(lambda: set(os.listdir(node.home / "bundles")) == left, 30, "what is used, or was just deployed, is left")
    assert (folders["returned"] / "files" / "f").read_text() == "returned"
    node.api.delete(f"{DEPLOYMENTS}/z")
    wait_for(lambda: not folders["deployment"].exists(), 30, "the bundle goes after what named it")
    assert folders["service"].exists() and folders["returned"].exists()
