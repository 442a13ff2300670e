# SPDX-License-Identifier: Apache-2.0
"""The generated Go clientset of Knative Serving against the cluster: the program and the steps that run against one
machine too (tests/integration/test_knative_client.py)."""

import subprocess
import sys

import pytest

from cluster import KUBECTL, ROOT, get

sys.path.insert(0, str(ROOT / "tests/lib"))
import go_program  # noqa: E402

STEPS = 15
SHOW = "dev.local/show:test"


@pytest.mark.timeout(1800)
@pytest.mark.skipif("--kubeconfig" not in KUBECTL, reason="only on a cluster of our own")
def test_knative_clientset(ingress, namespace):
    # Built by the stage before, or from the modules that are there: no proxy can be reached from the cluster's network.
    program = go_program.from_folder("knative", ROOT / "tests/clients/knative", [1, 25])
    done = subprocess.run(
        [program, "-kubeconfig", KUBECTL[KUBECTL.index("--kubeconfig") + 1], "-image", SHOW, "-namespace", namespace,
         "-url", f"http://{ingress.address}:{ingress.port}/_lull"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    print(done.stdout)
    assert done.returncode == 0 and done.stdout.endswith(f"{STEPS} steps done\n"), done.stdout + done.stderr
    assert not get("-n", namespace, "ksvc", "first"), "the last step deletes it"
