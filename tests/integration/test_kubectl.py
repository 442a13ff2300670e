# SPDX-License-Identifier: Apache-2.0
"""The real kubectl against one `lull up`: every way of reading, writing and waiting that people use.

Skipped without kubectl: $KUBECTL, one on the PATH, or the one that tests/cluster builds."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import running_lull
from lull_client import wait_for

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
BUILT = pathlib.Path(os.environ.get("KUBE_DIR", CACHE / "lull-kube")) / "bin/kubectl"
PROGRAM = os.environ.get("KUBECTL") or shutil.which("kubectl") or (str(BUILT) if BUILT.is_file() else None)

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no kubectl (tests/cluster builds one)")


TALKER = """import http.server, os
class Talk(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("said", self.path)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
print("begun")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Talk).serve_forever()
"""


class Kubectl:
    """`k("get", "pods")` gives what it printed, and fails the test when it fails; `bad` is the other way round."""

    def __init__(self, lull, folder):
        self.lull, self.folder = lull, folder
        self.env = {**os.environ, "KUBECONFIG": str(lull.home / "kubeconfig"), "HOME": str(folder),
                    "KUBECTL_EXTERNAL_DIFF": "diff -u"}

    def run(self, *args, stdin=None, **env):
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        return subprocess.run([PROGRAM, *map(str, args)], env={**self.env, **env}, capture_output=True, text=True,
                              timeout=90, check=False, **({"input": text} if text else {"stdin": subprocess.DEVNULL}))

    def __call__(self, *args, **kw):
        got = self.run(*args, **kw)
        assert got.returncode == 0, (args, got.stdout, got.stderr)
        return got.stdout + got.stderr

    def bad(self, *args, **kw):
        got = self.run(*args, **kw)
        assert got.returncode != 0, (args, got.stdout)
        return got.stderr

    def path(self, kind, name, path, *more):
        return self("get", kind, name, "-o", f"jsonpath={{{path}}}", *more)

    @contextlib.contextmanager
    def follow(self, *args):
        """A kubectl that goes on; its lines as they come."""
        out = open(self.folder / "follow", "w+", encoding="utf-8")
        process = subprocess.Popen([PROGRAM, *args], env=self.env, stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL)
        try:
            yield lambda: (self.folder / "follow").read_text(encoding="utf-8").splitlines()
        finally:
            process.kill()
            process.wait()
            out.close()


@pytest.fixture(scope="module")
def up():
    """One Lull for all of them, with a function that is ready."""
    with running_lull() as it:
        source = it.home / "source"
        source.mkdir()
        (source / "talk.py").write_text(TALKER)
        (source / "lull.yaml").write_text('command: ["/usr/bin/python3", "-u", "talk.py"]\n')
        it.cli("deploy", "hello", "--source", source, "--min-scale", 1, timeout=150)
        yield it


@pytest.fixture
def k(up, tmp_path):
    return Kubectl(up, tmp_path)


@pytest.fixture
def ns(k, request):
    """A namespace of the test's own; a prefix of arguments."""
    name = request.node.name.replace("_", "-").removeprefix("test-")[:40].strip("-")
    k.lull.api().create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield ("-n", name)
    k.lull.api().delete(f"/api/v1/namespaces/{name}")


def ksvc(name, **labels):
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
            "spec": {"template": {"spec": {"containers": [{"image": "dev.local/hello@sha256:" + "0" * 64}]}}}}


def service(target, *more):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": target}, *more]}}


def configmap(name, owner=None, **data):
    owners = [owner] if owner else []
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}, "data": data}


# --- reading -----------------------------------------------------------------------------------------------------


def test_get_in_every_form(k):
    head, row = k("get", "ksvc", "hello").splitlines()
    assert head.split() == ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"]
    assert row.split()[0] == "hello" and row.split()[2:] == ["hello-00001", "hello-00001", "True"]
    head, row = k("get", "deployments", "-o", "wide").splitlines()
    assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert "user-container,queue-proxy" in row and "serving.knative.dev/revisionUID=" in row
    assert k("get", "pods", "-o", "wide").splitlines()[0].split()[:7] == \
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert "\nkind: Service\n" in k("get", "ksvc", "hello", "-o", "yaml")
    got = json.loads(k("get", "ksvc", "-o", "json"))
    assert (got["kind"], got["items"][0]["kind"]) == ("List", "Service")
    assert k.path("ksvc", "hello", '.status.conditions[?(@.type=="Ready")].status') == "True"
    assert k("get", "rev", "-o", "custom-columns=N:.metadata.name,G:.metadata.generation").split() == \
        ["N", "G", "hello-00001", "1"]
    assert k("get", "ksvc,rt,cfg,rev", "-o", "name").split() == [
        "service.serving.knative.dev/hello", "route.serving.knative.dev/hello",
        "configuration.serving.knative.dev/hello", "revision.serving.knative.dev/hello-00001"]
    assert k("get", "pods", "-l", "serving.knative.dev/service=hello", "-o", "name").startswith("pod/hello-00001-")
    assert k("get", "pods", "-l", "serving.knative.dev/service notin (hello)", "-o", "name") == ""
    assert k("get", "ksvc", "--field-selector", "metadata.name=hello", "-o", "name") != ""
    assert "No resources found" in k("get", "ksvc", "--field-selector", "metadata.name!=hello")
    assert k("get", "cm", "-A", "--no-headers", "--chunk-size=3").count("lull-system") == \
        len(k.lull.api().list("/api/v1/namespaces/lull-system/configmaps"))
    assert k("get", "events", "-o", "wide").splitlines()[0].split()[:3] == ["LAST", "SEEN", "TYPE"]
    assert k("get", "svc").splitlines()[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert "service.serving.knative.dev/hello" in k("get", "all") and "pod/hello-00001" in k("get", "all")
    assert 'services.serving.knative.dev "nope" not found' in k.bad("get", "ksvc", "nope")
    assert "the server doesn't have a resource type" in k.bad("get", "nope")


def test_get_watches(k, ns):
    k("create", "configmap", "first", "--from-literal=a=b", *ns)
    with k.follow("get", "cm", "-w", "--output-watch-events", *ns) as lines:
        seen = lambda: [l.split()[:2] for l in lines()][1:]  # noqa: E731
        wait_for(lambda: seen() == [["ADDED", "first"]], 60, "what was there")
        k("create", "configmap", "c", "--from-literal=a=b", *ns)
        k("label", "cm", "c", "x=y", *ns)
        k("delete", "cm", "c", *ns)
        wait_for(lambda: seen()[1:] == [["ADDED", "c"], ["MODIFIED", "c"], ["DELETED", "c"]], 60, "what was done")


def test_what_the_server_has(k):
    names = k("api-resources", "-o", "name").split()
    assert {"services.serving.knative.dev", "revisions.serving.knative.dev", "deployments.apps", "pods", "configmaps",
            "secrets", "namespaces", "serviceaccounts", "events", "brokers.eventing.knative.dev", "triggers.eventing.knative.dev",
            "pingsources.sources.knative.dev", "sinkbindings.sources.knative.dev", "webhooksources.sources.lull.dev",
            "redissources.sources.lull.dev", "filesources.sources.lull.dev"} <= set(names)
    assert "serving.knative.dev/v1" in k("api-versions").split()
    assert "template" in k("explain", "ksvc.spec") and "KIND:       Service" in k("explain", "ksvc.spec")
    assert "Annotations:" in k("describe", "ksvc", "hello") and "Events:" in k("describe", "pod", "-l", "app")
    assert k("auth", "can-i", "create", "ksvc").strip() == "yes"
    assert "*.*" in k("auth", "can-i", "--list")
    assert "lull-admin" in k("auth", "whoami")
    assert "Server Version" in k("version")


def test_waits_and_logs(k, up):
    assert "condition met" in k("wait", "--for=condition=Ready", "ksvc/hello", "--timeout=60s")
    assert "successfully rolled out" in k("rollout", "status", "deployment/hello-00001-deployment", "--timeout=60s")
    assert up.get("hello", "/one").status == 200
    pod = k("get", "pods", "-l", "serving.knative.dev/service=hello", "-o", "name").split()[0]
    wait_for(lambda: k("logs", pod, "-c", "user-container").splitlines()[-2:] == ["begun", "said /one"], 60, "what it said")
    with k.follow("logs", "-f", "--tail=1", "-c", "user-container", pod) as lines:
        wait_for(lambda: lines() == ["said /one"], 60, "the last line")
        assert up.get("hello", "/two").status == 200
        wait_for(lambda: lines() == ["said /one", "said /two"], 60, "the next line")
    k("logs", pod, "-c", "queue-proxy", "--tail=1")
    k("logs", "deployment/hello-00001-deployment", "--limit-bytes=10", "-c", "user-container")
    stamped = [line.split(" ", 1) for line in k("logs", pod, "-c", "user-container", "--timestamps").splitlines()]
    assert [text for _, text in stamped] == ["begun", "said /one", "said /two"]
    assert k("logs", pod, "-c", "user-container", f"--since-time={stamped[0][0]}").splitlines() == ["begun", "said /one", "said /two"]
    assert k("logs", pod, "-c", "user-container", "--since-time=2100-01-01T00:00:00Z") == ""
    assert k("logs", pod, "-c", "user-container", "--since=1h", "--tail=1") == "said /two\n"
    assert "previous terminated container" in k.bad("logs", pod, "-c", "user-container", "--previous")
    assert "not found" in k.bad("logs", "nope")
    assert "timed out" in k.bad("wait", "--for=condition=Nope", "ksvc/hello", "--timeout=1s")


def test_logs_of_the_run_before(k, up):
    up.cli("deploy", "falls", "--no-wait", "--", "sh", "-c", "echo why it fell; exit 3")
    pods = ("pods", "-l", "serving.knative.dev/service=falls", "-o")
    restarts = "jsonpath={.items[*].status.containerStatuses[?(@.name=='user-container')].restartCount}"
    wait_for(lambda: k("get", *pods, restarts).split()[:1] > ["0"], 60, "a restart")
    name = k("get", *pods, "name").split()[0]
    assert k("logs", name, "-c", "user-container", "--previous") == "why it fell\n"
    assert "why it fell" in up.cli("logs", "falls", "--previous").stdout
    up.cli("delete", "falls")


# --- writing -----------------------------------------------------------------------------------------------------


def test_create(k, ns):
    k("create", "configmap", "c", "--from-literal=a=b", *ns)
    k("create", "secret", "generic", "s", "--from-literal=a=b", *ns)
    assert k.path("secret", "s", ".data.a", *ns) == "Yg=="
    k("create", "serviceaccount", "robot", *ns)
    wait_for(lambda: k("get", "sa", "-o", "name", *ns).split() ==
             ["serviceaccount/default", "serviceaccount/robot"], 60, "both accounts")
    k("create", "deployment", "d", "--image=x", "--replicas=0", "--port=80", *ns)
    assert k.path("deploy", "d", ".spec.template.spec.containers[0].ports[0].containerPort", *ns) == "80"
    k("create", "service", "clusterip", "s", "--tcp=80:8080", *ns)
    assert k.path("svc", "s", ".spec.ports[0].targetPort", *ns) == "8080"
    k("create", "-f", "-", *ns, stdin=ksvc("a"))
    assert "AlreadyExists" in k.bad("create", "-f", "-", *ns, stdin=ksvc("a"))
    got = k("create", "configmap", "dry", "--from-literal=a=b", "--dry-run=server", "-o", "yaml", *ns)
    assert "uid:" in got and "NotFound" in k.bad("get", "cm", "dry", *ns)
    assert 'The ConfigMap "A_b" is invalid: metadata.name: Invalid value' in k.bad(
        "create", "-f", "-", *ns, stdin=configmap("A_b"))
    k("create", "namespace", "made-by-kubectl")
    assert k.path("ns", "made-by-kubectl", ".status.phase") == "Active"
    k("delete", "namespace", "made-by-kubectl")
    assert "NotFound" in k.bad("get", "ns", "made-by-kubectl")


def test_apply_diff_replace_edit(k, ns, tmp_path):
    apply = lambda obj: k("apply", "-f", "-", *ns, stdin=obj)  # noqa: E731
    assert "created" in apply(service(8080, {"name": "m", "port": 81}))
    assert "unchanged" in apply(service(8080, {"name": "m", "port": 81}))
    changed = service(8081, {"name": "z", "port": 82})
    diff = k.run("diff", "-f", "-", *ns, stdin=changed)
    assert diff.returncode == 1 and "+    targetPort: 8081" in diff.stdout, diff
    assert "configured" in apply(changed)
    assert k.path("svc", "s", ".spec.ports[*].port", *ns) == "80 82"
    assert k.path("svc", "s", ".spec.ports[0].targetPort", *ns) == "8081"
    assert k.run("diff", "-f", "-", *ns, stdin=changed).returncode == 0

    assert "created" in apply(ksvc("a", x="1"))
    k("apply", "-f", "-", *ns, stdin=ksvc("a", x="2"))
    assert k.path("ksvc", "a", ".metadata.labels.x", *ns) == "2"
    assert "replaced" in k("replace", "-f", "-", *ns, stdin=service(9090))
    assert k.path("svc", "s", ".spec.ports[*].targetPort", *ns) == "9090"
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/9090/9191/' \"$1\"\n")
    editor.chmod(0o755)
    assert "edited" in k("edit", "svc", "s", *ns, KUBE_EDITOR=str(editor))
    assert k.path("svc", "s", ".spec.ports[*].targetPort", *ns) == "9191"
    assert "server-side apply is not supported" in k.bad("apply", "--server-side", "-f", "-", *ns, stdin=service(1))


def test_patches(k, ns):
    k("apply", "-f", "-", *ns, stdin=service(8080, {"name": "m", "port": 81}))
    k("patch", "svc", "s", *ns, "-p", '{"spec":{"ports":[{"port":81,"$patch":"delete"},{"port":80,"name":"web"}]}}')
    assert json.loads(k.path("svc", "s", ".spec.ports", *ns))[0]["name"] == "web"
    assert len(json.loads(k.path("svc", "s", ".spec.ports", *ns))) == 1
    k("create", "-f", "-", *ns, stdin=ksvc("a"))
    k("patch", "ksvc", "a", *ns, "--type=merge", "-p", '{"metadata":{"labels":{"x":"y"}}}')
    k("patch", "ksvc", "a", *ns, "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/z","value":"1"}]')
    assert json.loads(k.path("ksvc", "a", ".metadata.labels", *ns)) == {"x": "y", "z": "1"}
    assert "application/merge-patch+json" in k.bad("patch", "ksvc", "a", *ns, "-p", '{"metadata":{"labels":{}}}')
    assert "the server rejected our request due to an error in our request" in k.bad(
        "patch", "ksvc", "a", *ns, "--type=json", "-p", '[{"op":"test","path":"/kind","value":"x"}]')
    k("label", "ksvc", "a", "x-", "w=v", *ns)
    assert "already has a value" in k.bad("label", "ksvc", "a", "w=u", *ns)
    k("annotate", "ksvc", "a", "note=hello", *ns)
    assert json.loads(k.path("ksvc", "a", ".metadata.labels", *ns)) == {"z": "1", "w": "v"}
    k("create", "deployment", "d", "--image=x", "--replicas=0", *ns)
    k("set", "image", "deployment/d", "x=y", *ns)
    k("set", "env", "deployment/d", "A=b", *ns)
    assert k.path("deploy", "d", ".spec.template.spec.containers[*].image", *ns) == "y"
    k("scale", "deployment", "d", "--replicas=1", "--current-replicas=0", *ns)
    assert "Expected replicas to be 7" in k.bad("scale", "deployment", "d", "--replicas=2", "--current-replicas=7", *ns)
    k("scale", "deployment", "d", "--replicas=0", *ns)
    assert k.path("deploy", "d", ".spec.replicas", *ns) == "0"


def test_deletes_with_each_cascade(k, ns):
    def family(name):
        k("create", "-f", "-", *ns, stdin=configmap(name))
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "blockOwnerDeletion": True,
                 "uid": k.path("cm", name, ".metadata.uid", *ns)}
        k("create", "-f", "-", *ns, stdin=configmap(f"{name}-child", owner))

    def there():
        return k("get", "cm", "-o", "name", *ns).split()

    for mode in ("background", "foreground", "orphan"):
        family(mode)
        k("delete", "cm", mode, f"--cascade={mode}", *ns)
        if mode == "foreground":
            assert "configmap/foreground-child" not in there()
    wait_for(lambda: there() == ["configmap/orphan-child"], 60, "all but the orphan have gone")
    assert k.path("cm", "orphan-child", ".metadata.ownerReferences", *ns) == ""
    assert "NotFound" in k.bad("delete", "cm", "nope", *ns)
    k("delete", "cm", "nope", "--ignore-not-found", *ns)
    k("create", "-f", "-", *ns, stdin=configmap("x"))
    k("delete", "cm", "--all", "--wait=true", *ns)
    assert there() == []


def test_top_and_hpa(k):
    """What Pods use; a HorizontalPodAutoscaler that a user makes is described as on a cluster."""
    said = k("top", "pods", "--containers")
    assert "user-container" in said and "queue-proxy" in said and "Mi" in said, said
    deployment = k("get", "deployment", "-o", "jsonpath={.items[0].metadata.name}")
    wanted = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}, "maxReplicas": 3,
              "metrics": [{"type": "Resource", "resource": {
                  "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}
    k("create", "-f", "-", stdin={"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                                  "metadata": {"name": "mine"}, "spec": wanted})
    try:
        said = k("get", "hpa", "mine")
        assert f"Deployment/{deployment}" in said and "/70%" in said, said
        assert "Min replicas" in k("describe", "hpa", "mine")
    finally:
        k("delete", "hpa", "mine")
