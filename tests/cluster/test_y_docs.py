# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/kubernetes.md, typed on the cluster as they stand but for the names of images. Runs when nothing
of Lull is on the cluster any more, and leaves nothing."""

import os
import pathlib
import re
import subprocess

import pytest

from cluster import KUBECTL, REDIS_IMAGE, ROOT, TAG, get, lull_at, volume

pytestmark = [pytest.mark.timeout(300),
              pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")]

# By tests/cluster/run, before it starts.
ELSEWHERE = {"meson setup build && ninja -C build", "deploy/images/build --tag v1"}
WORDS = [  # what stands in the page, and what it is here
    (r"registry\.example/hello:1", "dev.local/hello-c:test"), (r"registry\.example", "dev.local"),
    (r"--events-redis builtin", f"--events-redis builtin --redis-image {REDIS_IMAGE}"),
    (r"~/\.kube/config", "$KUBECONFIG"), (r"(--tag |image\.tag=)v1\b", rf"\g<1>{TAG}"),
]


def sections():
    """{heading: the commands of its blocks}"""
    found = {}
    for part in re.split(r"^##+ ", (ROOT / "docs/kubernetes.md").read_text(), flags=re.M):
        blocks = re.findall(r"^```sh\n(.*?)^```$", part, re.M | re.S)
        if blocks:
            found[part.splitlines()[0]] = "".join(blocks)
    return found


@pytest.fixture
def type_all(tmp_path):
    """Types the commands of some sections in one shell, in a folder that has what the repository has."""
    for name in ("deploy", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)

    def run(*headings):
        text = "".join(line for heading in headings for line in sections()[heading].splitlines(keepends=True))
        for pattern, ours in WORDS:
            text = re.sub(pattern, ours, text)
        path = [os.environ["LULL_BIN"], KUBECTL[0], os.environ.get("HELM") or KUBECTL[0]]
        env = {**os.environ, "KUBECONFIG": KUBECTL[KUBECTL.index("--kubeconfig") + 1],
               "PATH": ":".join([*(str(pathlib.Path(p).parent) for p in path), os.environ["PATH"]])}
        script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + text
        done = subprocess.run(["bash", "-exo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=280, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    yield run
    lull_at("uninstall", "--purge")


def test_every_command_is_typed_by_a_test():
    typed = {"Images", "With the command", "With helm", "Plain manifests, GitOps", "First Service", "Settings", "Uninstall", "Events"}
    assert set(sections()) == typed
    assert set(sections()["Images"].splitlines()) == ELSEWHERE


def test_with_the_command(type_all):
    volume("data-lull-redis-0")
    out = type_all("With the command", "First Service", *(["Events"] if REDIS_IMAGE else []), "Settings", "Uninstall")
    assert "Hello from C, world!" in out and "lull-activator ready" in out
    assert get("crd", "services.serving.knative.dev") is None


@pytest.mark.skipif(not os.environ.get("HELM"), reason="no helm, and none could be built (Go 1.26 or newer)")
def test_with_helm(type_all):
    assert 'release "lull" uninstalled' in type_all("With helm")


def test_with_manifests(type_all):
    assert "successfully rolled out" in type_all("Plain manifests, GitOps")
