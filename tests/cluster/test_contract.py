# SPDX-License-Identifier: Apache-2.0
"""The contract of tests/lib/contract.py on a real kube-apiserver that has the CRDs of deploy/chart/files/crds."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from cluster import KUBECTL, ROOT, kubectl  # noqa: E402
from contract import *  # noqa: E402, F403
from lull_client import Api  # noqa: E402


@pytest.fixture(scope="module")
def server():
    kubectl("apply", "-f", str(ROOT / "deploy/chart/files/crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "deploy/chart/files/crds"))
    config = KUBECTL[KUBECTL.index("--kubeconfig") + 1] if "--kubeconfig" in KUBECTL else os.environ["KUBECONFIG"]
    return Api(config)
