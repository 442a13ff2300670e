# SPDX-License-Identifier: Apache-2.0
"""Requests timed onto the edges between one replica and none: not one fails."""
import os
import shutil

import pytest
from conftest import binary, unsafe_windows
from edges import Edges
from lull_client import wait_for

SEED = int(os.environ.get("LULL_SEED", "1"))


def deploy(lull, tmp_path, n):
    """n functions, with and without limits; all of them at zero."""
    source = tmp_path / "witness"
    source.mkdir()
    shutil.copy(binary("witness"), source)
    (source / "lull.yaml").write_text("command: [./witness]\n")
    names = [f"e{i:02}" for i in range(n)]
    for i, name in enumerate(names):
        lull.cli("deploy", name, "--source", source, "--no-wait", "--concurrency", (0, 1, 10)[i % 3])
    services = "/apis/serving.knative.dev/v1/namespaces/default/services"

    def all_ready():
        conditions = [c for s in lull.api().list(services) for c in s.get("status", {}).get("conditions", [])]
        return sum(c["type"] == "Ready" and c["status"] == "True" for c in conditions) == n
    wait_for(all_ready, 60, "all functions are ready")
    wait_for(lambda: not lull.api().list("/api/v1/namespaces/default/pods"), 60, "all functions are at zero")
    return names


def run(lull, tmp_path, functions, requests, seconds):
    unsafe_windows(lull, "1s")
    names = deploy(lull, tmp_path, functions)
    told = Edges(lull.public_port, lull.api(), names, SEED).run(requests, seconds)
    on_edge = told["held"] + told["onDrainingReplica"]
    print(f"seed {SEED}: {told['requests']} requests at {told['edges']} edges of {functions} functions; {on_edge} fell "
          f"onto one ({told['held']} were held, {told['onDrainingReplica']} went to a replica that was ending)")
    assert not told["bad"], told
    assert told["answered"] == told["requests"]
    return told


def test_no_request_at_an_edge_fails(lull, tmp_path):
    told = run(lull, tmp_path, functions=24, requests=5000, seconds=20)
    assert told["edges"] >= 12 and told["held"] >= 50, told


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_dataplane_edges_long(lull, tmp_path):
    requests = int(os.environ.get("LULL_SOAK_REQUESTS", "100000"))
    told = run(lull, tmp_path, functions=48, requests=requests, seconds=3 * 3600)
    assert told["requests"] >= requests and told["held"] >= requests / 10, told
