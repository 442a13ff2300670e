# SPDX-License-Identifier: Apache-2.0
"""Knative's conformance suites, as they are, against Lull; their images come from a registry on the node.

tests/cluster/run builds programs and images with tests/conformance/build; docs/conformance.md names every test."""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

from cluster import KUBECTL, ROOT, apply, configure, get, kubectl, listens_at, wait_for
from conftest import QUICK_WINDOWS

DOC = ROOT / "docs/conformance.md"
BUILT = pathlib.Path(os.environ.get("LULL_CONFORMANCE", "/nonexistent"))
REGISTRY = os.environ.get("LULL_CLUSTER_REGISTRY", "")
NODE = REGISTRY.split(":")[0]
GATEWAY = "lull-conformance"
PROGRAMS = {"api/v1": "api.test", "api/v1beta1": "beta.test", "runtime": "runtime.test"}
ROWS = re.findall(r"^\| `(Test\w+)` \| (\S+) \| (?:mandatory|optional)", DOC.read_text(), re.M)
AGAIN = 3  # as many failed tests are tried a second time, each alone

pytestmark = [pytest.mark.timeout(1500), pytest.mark.skipif(
    not BUILT.is_dir(), reason=os.environ.get("LULL_CONFORMANCE_SKIP", "tests/cluster/run builds what they need"))]


def read(log):
    """{test: (PASS, FAIL or SKIP, what it wrote)} of a log of `-test.v`; no verdict is a FAIL."""
    wrote, verdicts, name = {}, {}, ""
    for line in log.splitlines():
        if mark := re.match(r"=== (?:RUN|CONT|NAME|PAUSE) +(\w+)", line):
            name = mark[1]
            wrote.setdefault(name, [])
        elif mark := re.match(r"--- (PASS|FAIL|SKIP): (\w+)", line):
            verdicts[mark[2]] = mark[1]
        wrote.setdefault(name, []).append(line)
    return {test: (verdicts.get(test, "FAIL"), "\n".join(wrote[test])) for test in wrote if test}


def run_suite(program, *args):
    """The verdicts of one test program."""
    env = {**os.environ, "GATEWAY_OVERRIDE": GATEWAY, "GATEWAY_NAMESPACE_OVERRIDE": "lull-system",
           "SYSTEM_NAMESPACE": "lull-system"}
    done = subprocess.run(
        [BUILT / program, "-test.v", "-test.timeout", "9m", "-kubeconfig", KUBECTL[KUBECTL.index("--kubeconfig") + 1],
         "-dockerrepo", f"{REGISTRY}/conformance", "-ingressendpoint", NODE, "-disable-logstream",
         "-enable-alpha", "-enable-beta", *args],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=600, check=False)
    return read(done.stdout)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """The registry with the images of the suites."""
    config = tmp_path_factory.mktemp("registry") / "config.yml"
    config.write_text((BUILT / "registry.yml").read_text() % REGISTRY)
    with open(config.with_name("log"), "wb") as log:
        process = subprocess.Popen([BUILT / "registry", "serve", config], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
    host, port = REGISTRY.split(":")
    wait_for("the registry listens", lambda: listens_at(host, int(port)), 30)
    yield REGISTRY
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def conforming(installed, registry):
    """A cluster as the suites want it: their namespaces, a port of the node that leads to the public ingress, and
    Lull's settings as they are after an install."""
    service = get("-n", "lull-system", "service", "lull-activator")
    apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": GATEWAY, "namespace": "lull-system"},
           "spec": {"type": "NodePort", "selector": service["spec"]["selector"], "ports": [
               {key: port[key] for key in ("name", "port", "targetPort") if key in port}
               for port in service["spec"]["ports"]]}})
    kubectl("apply", "-f", BUILT / "config")
    configure("config-autoscaler", dict.fromkeys(QUICK_WINDOWS))
    configure("config-network", {"autocreate-cluster-domain-claims": "true"})
    yield
    configure("config-network", {"autocreate-cluster-domain-claims": None})
    configure("config-autoscaler", QUICK_WINDOWS)
    kubectl("delete", "-f", BUILT / "config", "--wait=false")
    kubectl("-n", "lull-system", "delete", "service", GATEWAY)


@pytest.fixture(scope="module")
def verdicts(conforming):
    """{(suite, test): (verdict, log)}; the suites run beside each other."""
    found = {}
    with concurrent.futures.ThreadPoolExecutor(len(PROGRAMS)) as pool:
        running = {suite: pool.submit(run_suite, program, "-test.parallel", "5") for suite, program in PROGRAMS.items()}
        for suite, future in running.items():
            found.update({(suite, name): got for name, got in future.result().items()})
    failed = [key for key, (verdict, _) in found.items() if verdict == "FAIL"]
    for suite, name in failed[:AGAIN] if len(failed) <= AGAIN else []:
        second = run_suite(PROGRAMS[suite], "-test.run", f"^{name}$").get(name, ("FAIL", ""))
        if second[0] == "PASS":
            print(f"\nUNSTEADY {suite} {name}: failed, passed when it was run again, alone\n{found[suite, name][1]}")
            found[suite, name] = second
    return found


def test_the_page_names_every_test():
    have = {(name, suite) for suite, program in PROGRAMS.items() for name in subprocess.run(
        [BUILT / program, "-test.list", ".*"], capture_output=True, text=True, check=True).stdout.split()}
    assert set(ROWS) == have


@pytest.mark.parametrize("name, suite", ROWS)
def test_conformance(verdicts, name, suite):
    verdict, log = verdicts.get((suite, name), ("FAIL", "it did not run"))
    assert verdict == "PASS", log
