# SPDX-License-Identifier: Apache-2.0
"""What functions get from ConfigMaps, Secrets and their own Pod, as variables and as files, with real functions."""
import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
from conftest import ROOT, binary, wait_for
from lull_client import http_request
from test_agent import DEPLOYMENTS, PODS, Node, condition, function_state

API = "/api/v1/namespaces/default/"
DIGEST = "f" * 64
SECRET = "hunter2-never-in-a-log"


def mounts_possible(user=None):
    """Whether this machine gives such a process a mount namespace, as lull-replica asks for it."""
    flags = ["-m"] if (os.getuid() if user is None else user) == 0 else ["-U", "-r", "-m"]
    who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    script = "mount -t tmpfs none /mnt && echo yes"
    got = subprocess.run(["unshare", *flags, "sh", "-c", script], capture_output=True, text=True, cwd="/", check=False,
                         **who)
    return got.stdout.strip() == "yes"


needs_mounts = pytest.mark.skipif(not mounts_possible(), reason="this machine gives no mount namespaces")


class Machine(Node):
    def __init__(self, home, user=None):
        super().__init__(home)
        self.user = user
        self.bundle(DIGEST, ["./serve"], {"serve": (ROOT / "tests/integration/serve_files.py").read_text()})

    def config_map(self, name, data, **more):
        self.put("configmaps", {"metadata": {"name": name}, "data": data, **more})

    def secret(self, name, data):
        coded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
        self.put("secrets", {"metadata": {"name": name}, "data": coded})

    def put(self, plural, obj):
        path = f"{API}{plural}/{obj['metadata']['name']}"
        if self.api.request("GET", path).status == 404:
            self.api.create(API + plural, obj)
        else:
            self.api.update(path, obj)

    def function(self, name, volumes=(), labels=None, replicas=1, **container):
        containers = [{"name": "user-container", "image": f"dev.local/{name}@sha256:{DIGEST}", **container},
                      {"name": "queue-proxy", "image": "", "env": [{"name": "CONTAINER_CONCURRENCY", "value": "0"}]}]
        self.api.create(DEPLOYMENTS, {"metadata": {"name": name}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name, **(labels or {})}, "annotations": {"note/one": "an \"annotation\""}},
                "spec": {"containers": containers, "volumes": list(volumes), "terminationGracePeriodSeconds": 2}}}})

    def pod(self, name):
        [pod] = self.wait_ready(name, 1)
        return pod

    def port(self, name):
        replica = self.pod(name)["metadata"]["annotations"]["lull.dev/replica-id"]
        spec = (self.home / "replicas" / replica / "spec").read_bytes().split(b"\0")
        return int([r for r in spec if r.startswith(b"env=PORT=")][-1].rpartition(b"=")[2])

    def ask(self, name, path):
        return http_request(f"http://127.0.0.1:{self.port(name)}{path}")

    def waiting(self, name):
        """(reason, message) of a function that does not start."""
        def state():
            pods = self.pods(name)
            told = pods and function_state(pods[0])
            return told and told["state"].get("waiting", {}).get("message") and told["state"]["waiting"]
        got = wait_for(state, 20, f"why {name} waits")
        return got["reason"], got["message"]

    def remove(self, name):
        self.api.delete(f"{DEPLOYMENTS}/{name}")
        wait_for(lambda: not self.pods(name), 20, f"{name} gone")

    def end(self):
        try:
            if self.process.poll() is None:
                for name in {d["metadata"]["name"] for d in self.api.list(DEPLOYMENTS)}:
                    self.remove(name)
                self.kill(signal.SIGTERM)
            wait_for(lambda: not self.processes(), 20, "no process left")
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="module")
def machine():
    home = pathlib.Path(tempfile.mkdtemp(prefix="lull-", dir="/tmp"))
    os.chmod(home, 0o711)
    it = Machine(home).start()
    yield it
    it.end()


def test_variables(machine):
    machine.config_map("all", {"COLOUR": "red", "SIZE": "$(COLOUR)"})
    machine.secret("keys", {"password": SECRET, "user": "me"})
    machine.function("vars", labels={"tier": "gold"}, args=["--listen=:$(PORT)", "$(GREETING)", "$$(PORT)", "$(NOT)"], envFrom=[
        {"configMapRef": {"name": "all"}}, {"prefix": "S_", "secretRef": {"name": "keys"}},
        {"configMapRef": {"name": "absent", "optional": True}}], env=[
        {"name": "GREETING", "value": "hello $(COLOUR) $(S_user) $(LATER) $$(COLOUR)"},
        {"name": "LATER", "value": "x"},
        {"name": "COLOUR2", "valueFrom": {"configMapKeyRef": {"name": "all", "key": "COLOUR"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "absent", "optional": True}}},
        {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
        {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note/one']"}}},
        {"name": "UID_", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
        {"name": "SIZE", "value": "over $(SIZE)"},
    ], resources={"limits": {"memory": "512Mi"}, "requests": {"cpu": "250m"}})
    env = machine.ask("vars", "/env").json()
    assert env["GREETING"] == "hello red me $(LATER) $(COLOUR)" and env["COLOUR2"] == "red"
    assert env["S_password"] == env["PASSWORD"] == SECRET and "NONE" not in env
    assert env["TIER"] == "gold" and env["NOTE"] == "an \"annotation\"" and env["IP"] == "127.0.0.1"
    assert env["UID_"] == machine.pod("vars")["metadata"]["uid"] and env["NODE"] == "lull"
    assert env["MEMORY"] == "512" and env["CPU"] == "1"
    assert env["SIZE"] == "over $(COLOUR)"  # what came from an object is not read again
    assert machine.ask("vars", "/argv").json() == [f"--listen=:{env['PORT']}", env["GREETING"], "$(PORT)", "$(NOT)"]
    machine.remove("vars")


@pytest.mark.parametrize("row,why", [
    ({"envFrom": [{"configMapRef": {"name": "not-yet"}}]}, 'configmap "not-yet" not found'),
    ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "not-yet", "key": "k"}}}]}, 'secret "not-yet" not found'),
    ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "half", "key": "k"}}}]},
     "couldn't find key k in ConfigMap default/half"),
])
def test_what_is_missing_is_told_and_waited_for(machine, row, why):
    machine.config_map("half", {"other": "x"})
    machine.function("early", **row)
    assert machine.waiting("early") == ("CreateContainerConfigError", why)
    [pod] = machine.pods("early")
    assert pod["status"]["phase"] == "Pending" and condition(pod, "Ready")["status"] == "False"
    machine.config_map("not-yet", {"k": "v"})
    machine.secret("not-yet", {"k": "v"})
    machine.config_map("half", {"k": "v"})
    assert "v" in machine.ask("early", "/env").json().values()
    machine.remove("early")
    for path in ("configmaps/not-yet", "secrets/not-yet", "configmaps/half"):
        machine.api.delete(API + path)


VOLUMES = [
    {"name": "conf", "configMap": {"name": "files", "defaultMode": 0o444}},
    {"name": "some", "configMap": {"name": "files", "items": [{"key": "b", "path": "deep/er/b.txt", "mode": 0o640}]}},
    {"name": "sec", "secret": {"secretName": "keys"}},
    {"name": "none", "secret": {"secretName": "absent", "optional": True}},
    {"name": "all", "projected": {"sources": [
        {"secret": {"name": "keys", "items": [{"key": "user", "path": "who"}]}}, {"configMap": {"name": "files"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
    {"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}}]
MOUNTS = [
    {"name": "conf", "mountPath": "/etc/lull-test/conf"}, {"name": "some", "mountPath": "/lull-test-root/some"},
    {"name": "sec", "mountPath": "/var/run/secrets/lull-test"}, {"name": "none", "mountPath": "/mnt"},
    {"name": "all", "mountPath": "/lull-test-root/all/in/one"}, {"name": "scratch", "mountPath": "/lull-test-root/scratch"},
    {"name": "scratch", "mountPath": "/lull-test-root/part", "subPath": "of/me"},
    {"name": "conf", "mountPath": "/lull-test-root/one.txt", "subPath": "a"}]


@needs_mounts
def test_files(machine):
    machine.config_map("files", {"a": "A1", "b": "B1"}, binaryData={"raw": base64.b64encode(b"\0\1").decode()})
    machine.secret("keys", {"password": SECRET, "user": "me"})
    machine.function("files", volumes=VOLUMES, volumeMounts=MOUNTS, env=[{"name": "WHO", "value": "me"}])
    ask = lambda path: machine.ask("files", path).json()  # noqa: E731
    uid = ask("/stat/proc/self")["uid"]
    assert ask("/read/etc/lull-test/conf/a") == "A1" and ask("/read/etc/lull-test/conf/raw") == "\0\1"
    assert ask("/stat/etc/lull-test/conf/a") == {"mode": 0o444, "uid": uid, "names": None}
    assert ask("/read/lull-test-root/some/deep/er/b.txt") == "B1" and ask("/stat/lull-test-root/some/deep/er/b.txt")["mode"] == 0o640
    assert ask("/read/var/run/secrets/lull-test/password") == SECRET
    assert ask("/stat/var/run/secrets/lull-test/password")["mode"] == 0o600
    assert [n for n in ask("/stat/mnt")["names"] if not n.startswith("..")] == []
    assert ask("/read/lull-test-root/all/in/one/who") == "me" and ask("/read/lull-test-root/all/in/one/a") == "A1"
    assert 'app="files"' in ask("/read/lull-test-root/all/in/one/labels")
    assert ask("/read/lull-test-root/one.txt") == "A1" and ask("/read/etc/hostname") == pathlib.Path("/etc/hostname").read_text()
    # What is read-only is; what is not, is shared by all of its mounts and outlives the function.
    assert machine.ask("files", "/write/etc/lull-test/conf/x").status == 409
    assert ask("/write/lull-test-root/part/mark") == "ok" and ask("/read/lull-test-root/scratch/of/me/mark") == "written"
    # Nothing of it is seen outside, and nobody else gets at the files.
    assert not pathlib.Path("/etc/lull-test").exists() and not pathlib.Path("/lull-test-root").exists()
    replica = machine.home / "replicas" / machine.pod("files")["metadata"]["annotations"]["lull.dev/replica-id"]
    assert (replica / "volumes").stat().st_mode & 0o777 == 0o700 and (replica / "spec").stat().st_mode & 0o777 == 0o600
    if os.getuid() == 0:
        assert machine.ask("files", f"/stat{replica}/volumes/sec").status == 409
    told = (machine.home / "out").read_text() + " ".join(machine.processes().values())
    assert SECRET not in told
    machine.remove("files")
    wait_for(lambda: not replica.exists(), 10, "its files are gone")


@needs_mounts
def test_files_change_as_one(machine):
    machine.config_map("pair", {"a": "0", "b": "0", "old": "x"})
    machine.function("pair", volumes=[{"name": "v", "configMap": {"name": "pair"}}],
                     volumeMounts=[{"name": "v", "mountPath": "/etc/lull-test-pair"}])
    port = machine.port("pair")
    ask = lambda path: http_request(f"http://127.0.0.1:{port}{path}").json()  # noqa: E731
    seen = set()
    for n in range(1, 21):
        machine.config_map("pair", {"a": str(n), "b": str(n), "new": "y"})
        for _ in range(5):
            got = ask("/pair/etc/lull-test-pair")
            if isinstance(got, list):  # else the folder went while it was read: the kubelet's volumes do that too
                assert got[0] == got[1]
                seen.add(got[0])
    wait_for(lambda: ask("/read/etc/lull-test-pair/a") == "20", 10, "the last version")
    assert len(seen) > 1
    wait_for(lambda: [n for n in ask("/stat/etc/lull-test-pair")["names"] if n[:2] != ".."] == ["a", "b", "new"], 5, "names")
    # The API server goes and comes back: the function stays, and hears of what changed at once again.
    before = machine.pod("pair")["metadata"]["uid"]
    machine.kill()
    machine.start()
    assert machine.pod("pair")["metadata"]["uid"] == before
    machine.config_map("pair", {"a": "after"})
    wait_for(lambda: ask("/read/etc/lull-test-pair/a") == "after", 10, "the version after the restart")
    # What it needs goes: the files stay.
    machine.api.delete(API + "configmaps/pair")
    assert ask("/read/etc/lull-test-pair/a") == "after"
    machine.remove("pair")


@needs_mounts
def test_a_missing_volume_is_told_and_waited_for(machine):
    machine.function("late", volumes=[{"name": "v", "secret": {"secretName": "late", "items": [{"key": "k", "path": "p"}]}}],
                     volumeMounts=[{"name": "v", "mountPath": "/etc/lull-test-late"}])
    assert machine.waiting("late") == ("CreateContainerConfigError",
                                       'MountVolume.SetUp failed for volume "v" : secret "late" not found')
    machine.secret("late", {"other": "x"})
    wait_for(lambda: "non-existent secret key: k" in machine.waiting("late")[1], 10, "the key is missed")
    machine.secret("late", {"k": "there"})
    assert machine.ask("late", "/read/etc/lull-test-late/p").json() == "there"
    machine.remove("late")


@pytest.mark.parametrize("volume,mount,why", [
    ({"persistentVolumeClaim": {"claimName": "c"}}, {"mountPath": "/x"}, "no volumes of type persistentVolumeClaim"),
    ({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"mountPath": "/x"}, "serviceAccountToken"),
    ({"emptyDir": {}}, {"mountPath": "/x/../etc"}, "must be an absolute path"),
    ({"emptyDir": {}}, {"mountPath": "/x", "subPath": "../../spec"}, "must be inside the volume"),
    ({"emptyDir": {}}, {"mountPath": "/x", "name": "another"}, 'there is no volume "another"'),
    ({"configMap": {"name": "files2", "items": [{"key": "a", "path": "../a"}]}}, {"mountPath": "/x"}, "inside the volume"),
])
def test_what_cannot_be_is_refused(machine, volume, mount, why):
    machine.config_map("files2", {"a": "x"})
    machine.function("bad", volumes=[{"name": "v", **volume}], volumeMounts=[{"name": "v", **mount}])
    reason, message = machine.waiting("bad")
    assert reason == "CreateContainerConfigError" and why in message
    machine.remove("bad")


@needs_mounts
def test_links_lead_out_of_no_volume(machine):
    """A function plants a link in its emptyDir; the next start's subPath must not follow it."""
    machine.function("link", volumes=[{"name": "v", "emptyDir": {}}], command=["sh", "-c"], args=[
        "[ -d /lull-test-link/all ] && ln -sfn / /lull-test-link/all/sub; sleep 0.1; exit 3"],
        volumeMounts=[{"name": "v", "mountPath": "/lull-test-link/all"},
                      {"name": "v", "mountPath": "/lull-test-link/sub", "subPath": "sub/etc"}])

    def refused():
        told = function_state(machine.pods("link")[0]) if machine.pods("link") else None
        return told and "cannot mount its volumes" in json.dumps(told["state"])
    # The first start makes the folder sub; the link cannot replace it, so it is given by hand.
    replica = wait_for(lambda: [p for p in machine.pods("link")], 10, "a Pod")[0]["metadata"]["annotations"]["lull.dev/replica-id"]
    folder = machine.home / "replicas" / replica / "volumes/v/sub"
    wait_for(lambda: (folder / "etc").exists(), 20, "the folder of the first start")
    shutil.rmtree(folder)
    folder.symlink_to("/")
    wait_for(refused, 40, "the link is not followed")
    machine.remove("link")


def test_without_root(home):
    """A user without rights: the same files, in a user namespace; where there is none, the reason is told."""
    if os.getuid() != 0:
        pytest.skip("the other tests run without root already")
    user = 65534
    machine = Machine.__new__(Machine)
    machine.__init__(home, user)
    for name in ("lull-replica", "lull-queue-proxy", "lull-local"):  # whoever built them, this user can run them
        (home / "libexec" / name).unlink(missing_ok=True)
        shutil.copy(binary(name), home / "libexec" / name)
    for path in [home, *home.rglob("*")]:
        os.chown(path, user, user)
    machine.process = subprocess.Popen(
        [home / "libexec/lull-local", "--home", home, "--libexec", home / "libexec", "--api-listen", "127.0.0.1:0"],
        stdout=machine.log, stderr=machine.log, stdin=subprocess.DEVNULL, user=user, group=user, extra_groups=[], cwd="/")
    wait_for(lambda: (home / "kubeconfig").exists(), 20, "the API")
    machine.connect()
    try:
        machine.config_map("files", {"a": "A"})
        machine.function("plain", volumes=[{"name": "v", "configMap": {"name": "files"}}, {"name": "e", "emptyDir": {}}],
                         volumeMounts=[{"name": "v", "mountPath": "/lull-test-plain/a"}, {"name": "v", "mountPath": "/etc/lull-test"},
                                       {"name": "e", "mountPath": "/lull-test-plain/e"}])
        if mounts_possible(user):
            assert machine.ask("plain", "/read/lull-test-plain/a/a").json() == "A"
            assert machine.ask("plain", "/read/etc/lull-test/a").json() == "A"
            assert machine.ask("plain", "/write/lull-test-plain/e/x").json() == "ok"
            assert machine.ask("plain", "/write/etc/lull-test/x").status == 409
        else:
            assert "gives this user no mount namespace" in machine.waiting("plain")[1]
    finally:
        machine.end()


@pytest.mark.skipif(mounts_possible(), reason="this machine gives mount namespaces")
def test_where_there_are_no_mounts_the_reason_is_told(machine):
    machine.function("none", volumes=[{"name": "v", "emptyDir": {}}], volumeMounts=[{"name": "v", "mountPath": "/x"}])
    assert "no mount namespace" in machine.waiting("none")[1]
    machine.remove("none")
