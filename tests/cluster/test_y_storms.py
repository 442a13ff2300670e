# SPDX-License-Identifier: Apache-2.0
"""Lull's parts as processes beside a real cluster, two of each, reaching its API server through a door that makes faults,
or killed at random: under load on real pods, with deploys going on. Runs when nothing of Lull is on the cluster."""
import os
import pathlib
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from cluster import KUBECTL, ROOT, TAG, get, kubectl  # noqa: E402
from faulty_proxy import FAULTS, FaultyProxy  # noqa: E402
from lull_client import Api  # noqa: E402
from storm import Storm  # noqa: E402
from test_leases import BUILD  # noqa: E402

pytestmark = [pytest.mark.timeout(900),
              pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")]
CRDS = str(ROOT / "deploy/chart/files/crds")
SEED = int(os.environ.get("LULL_SEED", "20261123"))
CONFIG = {"config-autoscaler": {"allow-unsafe-windows": "true", "stable-window": "4s", "scale-to-zero-grace-period": "0s"},
          "config-domain": {"example.com": ""}}


@pytest.fixture(scope="module")
def kinds():
    assert get("crd", "services.serving.knative.dev") is None, "something of Lull is left on the cluster"
    kubectl("apply", "-f", CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", CRDS)
    kubectl("create", "namespace", "lull-system")
    for name, data in CONFIG.items():
        kubectl("-n", "lull-system", "create", "configmap", name, *[f"--from-literal={k}={v}" for k, v in data.items()])
    yield
    kubectl("delete", "-f", CRDS)
    kubectl("delete", "namespace", "lull-system")


def ports():
    import socket
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    found = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return [found[:2], found[2:]]


@pytest.fixture
def storm(kinds, namespace, request):
    api = Api(KUBECTL[KUBECTL.index("--kubeconfig") + 1])
    proxy = FaultyProxy(api, seed=SEED)
    with tempfile.TemporaryDirectory(prefix="storm-", dir="/tmp") as home:
        it = Storm(pathlib.Path(home), api, proxy, lambda name: BUILD / name.removeprefix("lull-") / name, namespace,
                   lambda name: f"{name}.{namespace}.example.com", image="dev.local/hello-c:test",
                   controller=["--queue-proxy-image", f"dev.local/lull-queue-proxy:{TAG}"])
        try:
            yield it
        finally:
            it.end()
            proxy.shutdown()
            for part in it.parts.values() if getattr(request.node, "failed", True) else ():
                print(f"--- {part.name}", *(it.home / f"{part.name}.log").read_text().splitlines()[-40:], sep="\n")


def lasts(seconds):
    return int(os.environ.get("LULL_STORM_SECONDS", seconds))


def test_faults_while_two_of_each_lead(storm):
    """No Lease: both controllers and both autoscalers write."""
    storm.begin(ports(), autoscalers=2, controllers=2)
    storm.populate()
    storm.weather(lasts(20))
    storm.outage(lasts(10))
    storm.end_load()
    print(f"\n{storm.summary()}")
    assert all(storm.proxy.made[fault] for fault in (*FAULTS, "cut", "tear", "outage")), storm.proxy.made
    storm.check("steady", "wide", 2, 6)


def test_every_part_is_killed_at_random(storm):
    storm.more["lease"] = ["--lease", "lull-{}", "--lease-duration", "2s"]
    storm.begin(ports(), autoscalers=2, controllers=2)
    storm.populate()
    storm.kills(SEED, 1.5)
    time.sleep(lasts(60))
    storm.end_load()
    print(f"\n{storm.summary()}")
    storm.check("steady", "wide", 2, 6)
