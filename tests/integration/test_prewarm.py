# SPDX-License-Identifier: Apache-2.0
"""Replicas ahead of traffic on a running Lull: announced, and learned by a process that has ended; and its own recorded traffic simulated."""
import datetime
import json
import os
import signal

from conftest import ROOT
from lull_client import wait_for

PA = "/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers/"


def wall(seconds=0):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def deploy(lull, name, annotations=None):
    lull.cli("deploy", name, "--source", ROOT / "examples/hello-c")
    if annotations:
        lull.api().patch(f"/apis/serving.knative.dev/v1/namespaces/default/services/{name}",
                         {"spec": {"template": {"metadata": {"annotations": annotations}}}})
    return f"{name}-0000{2 if annotations else 1}"


def test_announced_traffic_finds_a_replica_and_what_was_recorded_is_simulated(lull):
    revision = deploy(lull, "echo")
    for _ in range(3):
        assert lull.get("echo").status == 200
    lull.wait_zero("echo")
    lull.api().patch(PA + revision, {"metadata": {"annotations": {"autoscaling.lull.dev/warm-at": wall(14)}}})
    wait_for(lambda: lull.replicas("echo"), 20, "a replica that nobody asked for")
    assert "warm-at has announced traffic" in lull.cli("why", "echo").stdout

    log = lull.home / "traffic.log"
    wait_for(lambda: log.exists() and f" default/{revision} " in log.read_text(), 20, "the traffic is recorded")
    got = json.loads(lull.cli("simulate", "--service", "echo", "-o", "json").stdout)
    assert got["functions"] == 1 and got["settings"][0]["name"] == "present"
    assert 1 <= got["settings"][0]["invocations"] <= 3 and len(got["settings"]) > 5


def test_what_was_learned_survives_the_autoscaler(lull):
    revision = deploy(lull, "echo", {"autoscaling.lull.dev/policy": "histogram", "autoscaling.lull.dev/histogram-bin": "1s"})
    wait_for(lambda: any(p["metadata"]["name"] == revision and p.get("status", {}).get("actualScale") for p in lull.api().list(PA.rstrip("/"))),
             30, "the new revision runs")
    wait_for(lambda: lull.get("echo").status == 200, 30, "it answers")
    lull.wait_zero("echo")
    # As if it had been idle for 15 s and for 30 s, ten times each: traffic is expected from 13.5 s to 34.1 s after this moment.
    lull.api().patch(PA + revision + "/status", {"status": {"lullIdle": {"bin": 1, "counts": {"15": 10, "30": 10}, "beyond": 0, "last": wall()}}})
    os.kill(lull.part_pid("lull-autoscaler"), signal.SIGKILL)
    wait_for(lambda: lull.replicas("echo"), 40, "a replica ahead of the expected traffic")
    wait_for(lambda: "histogram" in [d["rule"] for d in lull.api().get(PA + revision)["status"].get("lullDecisions", [])], 20, "the rule is recorded")
