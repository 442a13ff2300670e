# SPDX-License-Identifier: Apache-2.0
"""How lull-broker shares itself: functions get what their replicas can take, Triggers what is fair."""
import threading

import fake_api
import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for


@pytest.fixture(scope="module")
def world():
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        w.gate = threading.Event()
        w.function = w.sink(lambda event: w.gate.wait(120) and (204, {}, b""))
        try:
            w.broker()
            yield w.start("--local-gateway", f"127.0.0.1:{w.function.port}", "--max-memory", "1Mi")
        finally:
            w.gate.set()
            w.close()


def replicas(w, ready, name="work", generation=1, **annotations):
    w.api.put("podautoscalers", {
        "metadata": {"name": f"{name}-{generation:05}", "labels": {"serving.knative.dev/service": name},
                     "annotations": {f"autoscaling.knative.dev/{k}": v for k, v in annotations.items()}},
        "spec": {"containerConcurrency": 1, "reachability": "Reachable"}, "status": {"actualScale": ready}})


def test_a_function_gets_what_its_replicas_can_take(world):
    replicas(world, 0, metric="backlog", target="10")
    world.trigger("work", "http://work.default.svc.cluster.local/", filter={"attributes": {"type": "work"}})
    world.known("work")
    for i in range(60):
        assert world.send(i, type="work") == 202
    # More is read ahead than is sent: if it could be sent, it would be by now.
    wait_for(lambda: world.trigger_state("work")["running"] >= 10, 60, "it has read ahead")
    wait_for(lambda: world.function.running == 1, 60, "what wakes the first replica is sent")
    for ready in (3, 5):
        replicas(world, ready, metric="backlog", target="10")
        wait_for(lambda ready=ready: world.function.running == ready, 60, f"{ready} replicas get one each")
    assert world.function.most == 5
    replicas(world, 5)
    wait_for(lambda: world.function.running == 10, 60, "by concurrency as much again waits in front of it")
    replicas(world, 1, metric="backlog", target="10")
    wait_for(lambda: world.trigger_state("work")["running"] > 10, 60, "it has read on")
    world.gate.set()
    wait_for(lambda: world.trigger_state("work")["delivered"] == 60, 60, "all are delivered")
    state = world.trigger_state("work")
    assert (state["failed"], state["retried"], len(set(world.function.ids()))) == (0, 0, 60) and world.function.most == 10


def test_a_name_gets_what_the_revisions_behind_it_can_take(world):
    """A tag's those of the tag, the Service's own those with a share of the traffic."""
    replicas(world, 3, "front-page", metric="backlog", target="10")
    replicas(world, 4, "front-page", 2, metric="backlog", target="10")
    for name in ("front-page", "next-front-page", "old-page-front-page"):
        world.trigger(name, f"http://{name}.default.svc.cluster.local/", filter={"attributes": {"type": "none"}})

    def at_once(name, n):
        wait_for(lambda: (world.trigger_state(name) or {}).get("atOnce") == n, 60, f"{name} may have {n} at once")

    at_once("front-page", 7)  # no Route is known: the whole Service
    assert "atOnce" not in world.trigger_state("next-front-page")
    tags = {"next": "front-page-00002", "old-page": "front-page-00001"}
    world.api.put("routes", fake_api.route("front-page", {"front-page-00001": 100}, tags=tags))
    for name, n in (("front-page", 3), ("next-front-page", 4), ("old-page-front-page", 3)):
        at_once(name, n)
    tags["next"] = "front-page-00001"
    world.api.put("routes", fake_api.route("front-page", {"front-page-00001": 50, "front-page-00002": 50}, tags=tags))
    for name, n in (("front-page", 7), ("next-front-page", 3)):
        at_once(name, n)


def test_asynchronous_calls_keep_to_it_too(world):
    replicas(world, 2, "calls", metric="backlog", target="10")
    world.trigger("calls", "http://calls.default.svc.cluster.local/", filter={"attributes": {"type": "none"}})
    wait_for(lambda: (world.trigger_state("calls") or {}).get("atOnce") == 2, 60, "what the function can take is known")
    world.gate.clear()
    world.function.most = 0
    to = {"Lull-Async-Host": "calls.default.svc.cluster.local"}
    assert [world.post("/_lull/async/do", to, b"{}")[0] for _ in range(20)] == [202] * 20
    wait_for(lambda: world.function.running == 2, 60, "two are made")
    world.gate.set()
    wait_for(lambda: world.metric("async_done_total") == 20, 60, "all are made")
    assert world.function.most == 2 and world.metric("async_retried_total") == 0


def test_a_sink_that_hangs_takes_nothing_from_the_others(world):
    """It fills the memory for events; another one still gets several at once, not one after the other."""
    together, hang = threading.Barrier(3), threading.Event()
    hanging = world.sink(lambda event: hang.wait(120) and (204, {}, b""))
    fast = world.sink(lambda event: together.wait(60) is not None and (204, {}, b""))
    world.trigger("hanging", hanging, filter={"attributes": {"type": "large"}})
    world.trigger("fast", fast, filter={"attributes": {"type": "small"}})
    world.known("hanging", "fast")
    for i in range(100):
        assert world.send(i, type="large", body=b"x" * 32768) == 202
    wait_for(lambda: world.metric("event_bytes") > 1 << 20, 60, "the memory for events is full")
    for i in range(150):
        assert world.send(i, type="small") == 202
    try:
        wait_for(lambda: world.trigger_state("fast")["delivered"] == 150, 60, "the fast one has all")
        assert world.trigger_state("fast")["failed"] == 0 and world.trigger_state("hanging")["delivered"] == 0
        assert hanging.running > 0 and world.metric("event_bytes") < 8 << 20
    finally:
        together.abort()
        hang.set()
    wait_for(lambda: world.trigger_state("hanging")["delivered"] == 100, 60, "and it gets its own in the end")
