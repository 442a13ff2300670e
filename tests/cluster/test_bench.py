# SPDX-License-Identifier: Apache-2.0
"""The short form of bench/run cluster: cold starts beside a plain Deployment's, and warm requests. Its figures are printed and
judge nothing here; a failed request does."""

import json
import os

import pytest

from cluster import ROOT, kubectl, run

pytestmark = pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")
PAIRS = 15


@pytest.mark.timeout(900)
def test_cold_and_warm(installed, tmp_path):
    out = tmp_path / "figures.json"
    try:
        done = run(str(ROOT / "bench/run"), "cluster", "--only", "cold,warm", "--pairs", str(PAIRS), "--json", str(out),
                   timeout=850)
    finally:
        kubectl("delete", "namespace", "bench", "--wait=false", "--ignore-not-found")
    print("\n" + done.stdout)
    rows = {one["row"] for one in json.loads(out.read_text())["results"]}
    assert rows == {"cold", "warm"}
