# SPDX-License-Identifier: Apache-2.0
"""The generated Go clientset of Knative Serving against one machine, doing what people's tools do with it."""
import os
import subprocess

import go_program
import pytest
from conftest import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
STEPS = 15


@pytest.fixture(scope="module")
def program():
    return go_program.from_folder("knative", ROOT / "tests/clients/knative", [1, 25])


def test_knative_clientset(program, lull, tmp_path):
    tmp_path.joinpath("main.py").write_text((ROOT / "tests/integration/serve_files.py").read_text())
    lull.cli("deploy", "probe", "--source", tmp_path)
    image = lull.json("get", "ksvc", "probe")["spec"]["template"]["spec"]["containers"][0]["image"]
    got = subprocess.run([program, "-kubeconfig", lull.home / "kubeconfig", "-image", image,
                          "-url", f"http://127.0.0.1:{lull.public_port}/_lull"],
                         capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL, env=dict(os.environ))
    print(got.stdout)
    assert got.returncode == 0 and got.stdout.endswith(f"{STEPS} steps done\n"), got.stdout + got.stderr
