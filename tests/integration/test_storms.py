# SPDX-License-Identifier: Apache-2.0
"""All parts on lull-local's API through a door that makes an API server's faults, under load, with deploys going on; then
the same while every part is killed at random. tests/cluster/test_y_storms.py does it with a real API server."""
import os
import signal
import subprocess
import time

import pytest
from conftest import ROOT, binary, free_ports
from faulty_proxy import FAULTS, FaultyProxy
from storm import Storm
from test_agent import Node

DIGEST = "c" * 64


@pytest.fixture
def storm(home, request):
    node = Node(home)
    node.bundle(DIGEST, ["./hello"], {})
    subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-o", home / "bundles" / f"sha256-{DIGEST}" / "files" / "hello",
                    ROOT / "examples/hello-c/hello.c"], check=True)
    node.start()
    node.api.patch("/api/v1/namespaces/lull-system/configmaps/config-autoscaler", {"data": {
        "allow-unsafe-windows": "true", "stable-window": "3s", "scale-to-zero-grace-period": "0s"}})
    proxy = FaultyProxy(node.api, seed=int(os.environ.get("LULL_SEED", "20261123")))
    pods = ["--pod-address", "unix"]
    it = Storm(home, node.api, proxy, binary, "default",
               lambda name: f"{name}.default.localhost", image=f"dev.local/f@sha256:{DIGEST}", activator=pods, autoscaler=pods)
    try:
        ports = free_ports(4)
        it.begin([ports[:2], ports[2:]])
        it.populate()
        yield it
    finally:
        it.end()
        proxy.shutdown()
        node.kill(signal.SIGTERM)
        for part in it.parts.values() if getattr(request.node, "failed", True) else ():
            print(f"--- {part.name}", *(home / f"{part.name}.log").read_text().splitlines()[-25:], sep="\n")


def test_faults_an_outage_and_kills(storm):
    """A door full of faults; an API server that is away, during which what runs serves and what is at zero waits; every
    part killed at random."""
    storm.weather(6)
    for fault in (*FAULTS, "cut", "tear"):
        assert storm.proxy.made[fault] or fault == "lost", storm.proxy.made  # writes are few in so short a time
    storm.outage(8)
    storm.kills(int(os.environ.get("LULL_SEED", "20261123")), 1.0)
    time.sleep(8)
    storm.end_load()
    print(storm.summary())
    storm.check("steady", "wide", 2, 6)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_storms_and_an_outage_of_ten_minutes(storm):
    """LULL_SOAK_PHASES: some of outage, kills, faults, of LULL_SOAK_SECONDS each; kills go on during faults."""
    seconds = int(os.environ.get("LULL_SOAK_SECONDS", "600"))
    phases = os.environ.get("LULL_SOAK_PHASES", "outage,kills,faults").split(",")
    if "outage" in phases:
        storm.outage(seconds, held_s=120)
    if "kills" in phases:
        storm.kills(int(os.environ.get("LULL_SEED", "20261123")), 3.0)
    if "faults" in phases:
        storm.weather(seconds)
    elif "kills" in phases:
        storm.stop.wait(seconds)
    storm.end_load()
    print(storm.summary())
    storm.check("steady", "wide", 2, 6)
    storm.check_falls("wide")
