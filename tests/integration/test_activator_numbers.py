# SPDX-License-Identifier: Apache-2.0
"""What lull-activator tells of its requests: Server-Timing, metrics, request log."""
import json
import re
import subprocess

import exposition
from conftest import binary
from fake_api import pod
from fake_autoscaler import FakeAutoscaler
from lull_client import wait_for
from test_activator import World, results, world  # noqa: F401  (world is the fixture)

PHASES = ("queue", "decide", "start", "probe", "proxy")


def timing(answer):
    return {k: float(v) for k, v in re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["Server-Timing"])}


def total(page, name, **labels):
    return sum(v for (n, ls), v in exposition.read(page).items() if n == name and set(labels.items()) <= set(ls))


def test_a_cold_start_is_told_in_phases(world):  # noqa: F811
    scaler = FakeAutoscaler(world.home / "as.sock").up()
    world.function()
    world.start("--autoscaler", scaler.address)
    wait_for(lambda: scaler.hellos, 20, "the activator says hello")
    threads = world.in_background(2)
    wait_for(lambda: scaler.pokes, 20, "the poke")
    seen = world.state()["revisions"][0]["held"]
    scaler.note("hello-1", "decided")
    scaler.note("hello-1", "scaled")
    it = world.replica("a", "hello-1", ready=False, phase="Pending")
    wait_for(lambda: world.state()["revisions"][0]["replicas"], 20, "the Pod is known")
    world.api.put("pods", pod("a", "hello-1", it.address, ready=False))
    before = world.metrics()
    world.api.put("pods", pod("a", "hello-1", it.address, ready=True))
    got = [timing(r) for r in results(threads)]
    page = world.metrics()
    assert seen == 2 and total(before, "kn_revision_request_queued") == 2
    for t in got:
        assert tuple(t) == PHASES
        assert t["decide"] + t["start"] + t["probe"] <= t["queue"] + 0.01  # its parts, rounded to microseconds
    assert got[0]["decide"] > 0 and got[0]["start"] > 0
    for phase in PHASES:
        assert exposition.value(page, "lull_activator_cold_start_seconds_count", phase=phase) == 2
        want = sum(t[phase] for t in got) / 1000
        assert abs(exposition.value(page, "lull_activator_cold_start_seconds_sum", phase=phase) - want) < 0.0001
    warm = world.get()
    assert warm.status == 200 and "Server-Timing" not in warm.headers
    scaler.down()


def test_the_page_of_metrics(world):  # noqa: F811
    world.function()
    world.replica("a", "hello-1")
    world.start("--metrics-revisions", "1")
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    assert [world.get().status for _ in range(3)] == [200] * 3
    assert world.get("nobody.default.localhost").status == 404
    page = world.metrics()
    mine = {"k8s_namespace_name": "default", "kn_revision_name": "hello-1"}
    assert exposition.value(page, "lull_activator_revision_requests_total", code="2xx", **mine) == 3
    assert exposition.value(page, "lull_activator_revision_request_seconds_count", **mine) == 3
    assert exposition.value(page, "lull_activator_revision_request_seconds_bucket", le="+Inf", **mine) == 3
    assert exposition.value(page, "kn_revision_request_active", **mine) == 0
    assert exposition.value(page, "lull_activator_revision_busy_seconds_total", **mine) > 0
    assert exposition.value(page, "lull_activator_unknown_total") == 1
    # A second function is counted, but not apart.
    world.function("other", "other-1")
    world.replica("b", "other-1")
    wait_for(lambda: len(world.state()["revisions"]) == 2, 20, "the pod is known")
    wait_for(lambda: world.get("other.default.localhost").status == 200, 20, "it answers")
    page = world.metrics()
    assert exposition.value(page, "lull_activator_revision_requests_total", kn_revision_name="other", code="2xx") == 1
    assert 'kn_revision_name="other-1"' not in page
    assert exposition.promtool(page) in (None, "")


def test_a_line_per_request(world):  # noqa: F811
    world.function()
    world.replica("a", "hello-1")
    log = world.home / "requests"
    with open(log, "wb") as out:
        world.start("--request-log", "--request-log-template",
                    '{"to":"{{.Revision.Namespace}}/{{.Revision.Name}}","url":"{{js .Request.RequestURI}}",'
                    '"code":{{.Response.Code}},"ms":{{.Response.Latency}}}', stdout=out)
    wait_for(lambda: world.state()["revisions"], 20, "the pod is known")
    assert world.get(path='/x?"').status == 200
    assert world.get("nobody.default.localhost").status == 404
    assert world.get("any", headers={"K-Network-Probe": "activator"}).status == 200  # not logged
    wait_for(lambda: log.read_text().count("\n") == 2, 20, "two lines")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(x["to"], x["url"], x["code"]) for x in lines] == [("default/hello-1", '/x?"', 200), ("/", "/", 404)]
    assert all(0 <= x["ms"] < 60 for x in lines)


def test_a_template_that_is_none_is_told(world):  # noqa: F811
    got = subprocess.run([binary("lull-activator"), "--request-log", "--request-log-template", "{{.Nope}}",
                          "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"],
                         capture_output=True, text=True, timeout=30, check=False)
    assert got.returncode == 1 and "--request-log-template: " in got.stderr and "{{.Nope}}" in got.stderr
