# SPDX-License-Identifier: Apache-2.0
"""apply, diff, get, delete and the commands that change one function, against one running Lull."""
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import threading

import pytest
from conftest import ROOT, binary, running_lull, unsafe_windows, wait_for

pytestmark = pytest.mark.timeout(400)
CONFIG = """apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data:
  A: "1"
  B: |
    two
    lines
"""
SERVICE = """apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: %s
spec:
  template:
    spec:
      containers:
      - image: %s
        env: [{name: TARGET, value: %s}]
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One Lull for the module, in a short path of its own, with a function `base` whose image others use."""
    with running_lull() as it:
        unsafe_windows(it)
        it.cli("deploy", "base", "--source", ROOT / "examples/hello-c")
        it.image = it.json("get", "ksvc", "base")["spec"]["template"]["spec"]["containers"][0]["image"]
        yield it


def said(lull, *args, stdin="", check=True):
    """The command with text on its standard input. → CompletedProcess"""
    got = subprocess.run([binary("lull"), *map(str, args)], env=lull.env(), input=stdin, capture_output=True,
                         text=True, timeout=170, check=False)
    assert not check or got.returncode == 0, f"lull {args}: {got.stdout}{got.stderr}"
    return got


def test_apply_creates_changes_and_leaves_alone(shared):
    text = CONFIG % "three-way"
    assert said(shared, "apply", "-f", "-", stdin=text).stdout == "configmap/three-way created\n"
    assert said(shared, "apply", "-f", "-", stdin=text).stdout == "configmap/three-way unchanged\n"
    path = "/api/v1/namespaces/default/configmaps/three-way"
    shared.api().patch(path, {"data": {"other": "stays", "A": "changed by hand"}})
    assert said(shared, "apply", "-f", "-", stdin=text.split("  B:")[0]).stdout == "configmap/three-way configured\n"
    assert shared.api().get(path)["data"] == {"A": "1", "other": "stays"}


def test_apply_takes_folders_lists_and_several_documents(shared, tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "b.yml").write_text(CONFIG % "folder-b")
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"folder-{n}"}} for n in (1, 2)]}))
    (tmp_path / "deeper/c.yaml").write_text("---\n" + CONFIG % "folder-c" + "---\n# nothing\n---\n" + CONFIG % "folder-d")
    (tmp_path / "README.md").write_text("not: a: manifest")
    assert said(shared, "apply", "-f", tmp_path, "-o", "name").stdout.split() == [
        "configmap/folder-1", "configmap/folder-2", "configmap/folder-b"]
    assert len(said(shared, "apply", "-R", "-f", tmp_path).stdout.splitlines()) == 5
    gone = said(shared, "delete", "-R", "-f", tmp_path, "-o", "json")
    assert len(json.loads(gone.stdout)["deleted"]) == 5
    assert said(shared, "delete", "-R", "-f", tmp_path, check=False).returncode == 1
    assert said(shared, "delete", "-R", "-f", tmp_path, "--ignore-not-found").stdout == ""


def test_apply_waits_and_goes_on_after_a_failure(shared):
    text = SERVICE % ("waits", shared.image, "x") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {}\n---\n" + CONFIG % "after"
    got = said(shared, "apply", "--wait", "-f", "-", stdin=text, check=False)
    assert got.returncode == 1 and "standard input:11: metadata.name is missing" in got.stderr
    assert got.stdout == "service.serving.knative.dev/waits created\nconfigmap/after created\n"
    assert shared.get("waits").text == "Hello from C, x!\n"
    got = said(shared, "apply", "-f", "-", "-n", "other", stdin=(CONFIG % "x").replace("{", "{namespace: default, "), check=False)
    assert got.returncode == 1 and 'metadata.namespace is "default", and --namespace says "other"' in got.stderr


def test_dry_runs_change_nothing(shared, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SERVICE % ("dry", shared.image, "x"))
    bad.write_text(good.read_text().replace("containers:", "timeoutSeconds: -1\n      containers:"))
    nowhere = {**shared.env(), "LULL_HOME": str(tmp_path / "none")}
    got = subprocess.run([binary("lull"), "apply", "--dry-run=client", "-o", "json", "-f", good], env=nowhere,
                         capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(got.stdout)["spec"]["template"]["spec"]["timeoutSeconds"] == 300  # no server, and defaulted
    got = subprocess.run([binary("lull"), "apply", "--dry-run=client", "-f", bad], env=nowhere,
                         capture_output=True, text=True, timeout=30, check=False)
    assert got.returncode == 1 and "timeoutSeconds" in got.stderr and f"{bad}:1" in got.stderr
    for wrong, told in (("containerz: []", 'unknown field "spec.template.spec.containerz"'), ("timeoutSeconds: soon", "timeoutSeconds")):
        bad.write_text(good.read_text().replace("containers:", f"{wrong}\n      containers:"))
        got = subprocess.run([binary("lull"), "apply", "--dry-run=client", "-f", bad], env=nowhere, capture_output=True, text=True,
                             timeout=30, check=False)
        assert got.returncode == 1 and told in got.stderr
    assert said(shared, "apply", "--dry-run=server", "-f", good).stdout == \
        "service.serving.knative.dev/dry created (server dry run)\n"
    assert said(shared, "apply", "--dry-run=server", "-f", bad, check=False).returncode == 1
    assert "not found" in said(shared, "get", "ksvc/dry", check=False).stderr


def test_diff(shared, tmp_path):
    file = tmp_path / "d.yaml"
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: diff}\nstringData: {password: %s}\n"
    file.write_text(CONFIG % "diff" + secret % "first-value")
    got = said(shared, "diff", "-f", file, check=False)
    assert got.returncode == 1 and "+  A: \"1\"" in got.stdout and "first-value" not in got.stdout
    said(shared, "apply", "-f", file)
    assert said(shared, "diff", "-f", file).stdout == ""
    file.write_text(file.read_text().replace('"1"', '"2"').replace("first-value", "second-value"))
    got = said(shared, "diff", "-f", file, check=False)
    assert got.returncode == 1 and "-  A: \"1\"\n+  A: \"2\"" in got.stdout and "value" not in got.stdout
    assert len(json.loads(said(shared, "diff", "-o", "json", "-f", file, check=False).stdout)) == 2
    assert said(shared, "diff", "-f", tmp_path / "none.yaml", check=False).returncode == 2


@pytest.mark.parametrize("text, words", [
    ("a: 1\na: 2\n", "line 2"), ("a:\n\tb: 1\n", "a tab cannot indent"), ("a: \xff", "input:1: apiVersion is missing"),
    ("x: &x [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("xabcdefgh", "abcdefghi")), "aliases copy"),
    ("[" * 100, "nested deeper"), ("", "no object"), ("- 1\n", "an object is expected"), ("kind: ConfigMap\n", "apiVersion is missing"),
    ("apiVersion: no/v1\nkind: Such\nmetadata: {name: x}\n", "no kind Such"),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: ../../x}\n", "")])
def test_what_cannot_be_applied_is_named(shared, text, words):
    got = said(shared, "apply", "-f", "-", stdin=text, check=False)
    assert got.returncode == 1 and words in got.stderr and "\nlull: " not in got.stderr[1:], got.stderr


def test_invalid_utf8_is_refused_with_its_line(shared):
    got = subprocess.run([binary("lull"), "apply", "-f", "-"], env=shared.env(), input=b"a: 1\nb: \xff\n", capture_output=True,
                         timeout=30, check=False)
    assert got.returncode == 1 and b"line 2" in got.stderr


def test_get_of_every_kind(shared):
    kinds = [k.strip() for k in said(shared, "get", "nothing", check=False).stderr.split("there are ")[1].split(",")]
    assert len(kinds) >= 12
    for kind in kinds:
        for form in ("table", "wide", "name", "json"):
            got = said(shared, "get", kind, "-A", "-o", form)
            if form == "json":
                assert json.loads(got.stdout)["kind"] in ("List",), kind
    rows = said(shared, "get", "ksvc", "base").stdout.splitlines()
    assert rows[0].split()[:2] == ["NAME", "URL"] and rows[1].startswith("base ")
    assert said(shared, "get", "pods", "-l", "serving.knative.dev/service=none").stdout == ""
    assert said(shared, "get", "ksvc/base", "-o", "yaml").stdout.startswith("apiVersion: serving.knative.dev/v1\n")
    assert said(shared, "get", "cm/config-gc", "-n", "lull-system", "-o", "name").stdout == "configmap/config-gc\n"
    both = said(shared, "get", "ksvc,routes").stdout
    assert "service.serving.knative.dev/base" in both and "route.serving.knative.dev/base" in both


def test_what_get_prints_can_be_applied(shared):
    said(shared, "apply", "-f", "-", stdin=CONFIG % "round")
    text = said(shared, "get", "cm/round", "-o", "yaml").stdout
    shared.cli("delete", "cm/round")
    said(shared, "apply", "-f", "-", stdin="".join(line for line in text.splitlines(True) if "resourceVersion" not in line and "uid" not in line))
    assert shared.json("get", "cm/round")["data"] == {"A": "1", "B": "two\nlines\n"}


def test_watch(shared):
    lines = []
    with subprocess.Popen([binary("lull"), "get", "cm", "-w", "-o", "name", "-l", "watched=yes"], env=shared.env(), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as watch:
        reader = threading.Thread(target=lambda: lines.extend(watch.stdout))
        reader.start()
        try:
            n = 0

            def more():
                nonlocal n
                n += 1
                said(shared, "apply", "-f", "-", stdin=(CONFIG % f"watched-{n}").replace("{", "{labels: {watched: 'yes'}, "))
                return lines
            wait_for(more, 90, "a line of the watch")
        finally:
            watch.send_signal(signal.SIGTERM)
            reader.join(timeout=10)
    assert lines[0].startswith("configmap/watched-")


def test_traffic_rollback_revisions_and_scale(shared):
    said(shared, "apply", "--wait", "-f", "-", stdin=SERVICE % ("roll", shared.image, "one"))
    said(shared, "env", "roll", "set", "TARGET=two")
    got = json.loads(said(shared, "traffic", "roll", "--to", "roll-00001=100", "--tag", "roll-00002=next", "-o", "json").stdout)
    assert [(t["revisionName"], t.get("percent", 0), t.get("tag")) for t in got["traffic"]] == [
        ("roll-00001", 100, None), ("roll-00002", 0, "next")] or len(got["traffic"]) == 2
    wait_for(lambda: shared.get("roll").text == "Hello from C, one!\n", 90, "the first revision answers")
    wait_for(lambda: shared.get("next-roll").text == "Hello from C, two!\n", 90, "the tag answers")
    rows = json.loads(said(shared, "revisions", "roll", "-o", "json").stdout)
    assert [(r["name"], r["percent"], r["tags"]) for r in rows] == [("roll-00002", 0, "next"), ("roll-00001", 100, "")]
    said(shared, "traffic", "roll", "--to", "@latest=100")
    wait_for(lambda: shared.get("roll").text == "Hello from C, two!\n", 90, "the newest revision answers")
    assert "roll-00001" in said(shared, "rollback", "roll").stdout
    wait_for(lambda: shared.get("roll").text == "Hello from C, one!\n", 90, "the first revision answers again")
    for words, text in (("--to roll-00001=20", "add up to 20"), ("--to roll-9=100", "no revision"), ("--untag x", "no such tag"),
                        ("--tag roll-00001=next", "--untag next")):
        got = said(shared, "traffic", "roll", *words.split(), check=False)
        assert got.returncode == 1 and text in got.stderr, got.stderr
    assert json.loads(said(shared, "scale", "roll", "--min", "0", "--max", "2", "-o", "json").stdout)["max"] == "2"
    assert "max" not in json.loads(said(shared, "scale", "roll", "--max", "none", "-o", "json").stdout)
    assert said(shared, "scale", "roll", "--min", "5", "--max", "2", check=False).returncode == 1


def test_secrets_and_configs_reach_the_function_and_nobody_else(shared, tmp_path):
    got = said(shared, "secret", "create", "db", "--from-file", "TARGET=-", stdin="from a secret")
    assert got.stdout == "secret db created\n"
    (tmp_path / "db.env").write_text("# a comment\nUSER=u\n\nPASSWORD=p=1\n")
    (tmp_path / "blob").write_bytes(b"\0\xff")
    said(shared, "secret", "set", "db", "--from-env-file", tmp_path / "db.env")
    assert {k["name"]: sorted(k["keys"]) for k in json.loads(said(shared, "secret", "list", "-o", "json").stdout)}["db"] == [
        "PASSWORD", "TARGET", "USER"]
    said(shared, "config", "create", "settings", "--from-literal", "LEVEL=debug", "--from-file", tmp_path / "blob")
    said(shared, "config", "set", "settings", "--from-literal", "LEVEL=info", "--unset", "blob")
    assert shared.json("get", "cm/settings")["data"] == {"LEVEL": "info"}
    said(shared, "apply", "--wait", "-f", "-", stdin=(SERVICE % ("uses", shared.image, "x")).replace("\n        env:", "\n        #env:"))
    shown = said(shared, "env", "uses", "--env-from", "secret:db", "--mount", "/etc/lull-settings=config:settings").stdout
    assert "(all of secret:db)" in shown and "/etc/lull-settings" in shown
    wait_for(lambda: shared.get("uses").text == "Hello from C, from a secret!\n", 90, "the function has its Secret")
    got = said(shared, "secret", "create", "x", "--from-literal", "a=b", check=False)
    assert got.returncode == 2 and "standard input" in got.stderr
    (tmp_path / "bad.env").write_text("A=1\nhidden-value\n")
    got = said(shared, "secret", "create", "x", "--from-env-file", tmp_path / "bad.env", check=False)
    assert got.returncode == 1 and "line 2" in got.stderr and "hidden-value" not in got.stderr
    said(shared, "env", "uses", "--env-from", "secret:db-", "--mount", "/etc/lull-settings-")
    assert said(shared, "env", "uses").stdout == ""
    said(shared, "secret", "delete", "db")
    said(shared, "config", "delete", "settings")


def test_a_terminal_obeys_nobody(shared):
    """A ConfigMap whose value has escape codes, shown on a terminal and into a pipe."""
    shared.api().create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "evil", "labels": {"evil": "yes"}}, "data": {"x": "1"}})
    shared.api().create("/apis/serving.knative.dev/v1/namespaces/default/services", {
        "metadata": {"name": "evil"}, "spec": {"template": {"spec": {"containers": [
            {"image": shared.image, "env": [{"name": "X", "value": "\x1b[2Jred\x07"}]}]}}}})
    assert "\x1b[2Jred\x07" in said(shared, "env", "evil").stdout
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(binary("lull"), ["lull", "env", "evil"], shared.env())
    shown = b""
    try:
        while chunk := os.read(fd, 4096):
            shown += chunk
    except OSError:
        pass  # the other end is closed
    os.close(fd)
    os.waitpid(pid, 0)
    assert b"X=\\x1b[2Jred\\x07\r\n" == shown


def kubectl(lull, *args, stdin=None):
    program = shutil.which("kubectl") or pathlib.Path.home() / ".cache/lull-kube/bin/kubectl"
    if not pathlib.Path(program).is_file():
        pytest.skip("there is no kubectl")
    got = subprocess.run([program, "--kubeconfig", lull.home / "kubeconfig", *args], input=stdin, capture_output=True, text=True,
                         timeout=60, check=False, env={**os.environ, "HOME": str(lull.home)})
    assert got.returncode == 0, got.stderr
    return got.stdout


def test_kubectl_and_lull_apply_take_turns(shared):
    one = CONFIG % "turns" + "---\n" + SERVICE % ("turns", shared.image, '"<&>"')
    kubectl(shared, "apply", "-f", "-", stdin=one)
    path = "/apis/serving.knative.dev/v1/namespaces/default/services/turns"
    noted = shared.api().get(path)["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert said(shared, "apply", "-f", "-", stdin=one).stdout.split("\n")[:2] == [
        "configmap/turns unchanged", "service.serving.knative.dev/turns unchanged"]
    assert shared.api().get(path)["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] == noted
    two = one.replace('  A: "1"\n', "")
    assert "configmap/turns configured" in said(shared, "apply", "-f", "-", stdin=two).stdout
    assert "configmap/turns unchanged" in kubectl(shared, "apply", "-f", "-", stdin=two)
    kubectl(shared, "apply", "-f", "-", stdin=one)
    assert shared.json("get", "cm/turns")["data"]["A"] == "1"


def test_usage(shared):
    assert said(shared, "apply", check=False).returncode == 2
    assert said(shared, "get", check=False).returncode == 2
    assert said(shared, "get", "ksvc", "-x", check=False).returncode == 2
    script = said(shared, "completion", "bash").stdout
    words = subprocess.run(["bash", "-c", f"PATH={binary('lull').parent}:$PATH\n{script}\nCOMP_WORDS=(lull rev); COMP_CWORD=1; _lull; echo ${{COMPREPLY[@]}}"],
                           capture_output=True, text=True, timeout=30, check=True, env=shared.env()).stdout
    assert words.split() == ["revisions"]
