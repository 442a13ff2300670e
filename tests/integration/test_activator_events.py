# SPDX-License-Identifier: Apache-2.0
"""What the activator does for the parts that deal with events: wake requests, and what it hands on to lull-broker.
The surroundings are those of test_activator.py."""
from lull_client import wait_for
from test_activator import results, world  # noqa: F401  (a fixture)


def test_a_wake_request_is_held_and_answered_here(world):  # noqa: F811
    world.function(concurrency=1)
    world.start()
    woken = world.in_background(2, local=True, host="hello.default.svc", headers={"Lull-Wake": "1"}, method="POST",
                                body=b"ignored")
    assert world.state()["held"] == 2 and world.counter("pokes") >= 1
    it = world.replica("a", "hello-1")
    assert [r.status for r in results(woken)] == [204, 204]
    assert it.seen == [] and world.counter("wakes") == 2
    wait_for(lambda: world.state()["held"] == 0, 20, "nothing is left behind")
    got = world.get("hello.default.svc", local=True)  # the slots of both are free again
    assert got.status == 200
    assert world.get("hello.default.svc", local=True, headers={"Lull-Wake": "1"}).status == 204
    assert len(it.seen) == 1


def test_a_wake_request_from_outside_is_an_ordinary_one(world):  # noqa: F811
    world.function()
    it = world.replica("a", "hello-1")
    world.start()
    got = world.get(headers={"Lull-Wake": "1"})
    assert got.status == 200 and "lull-wake" not in it.seen[0][2] and world.counter("wakes") == 0
    assert world.get("nobody.default.svc", local=True, headers={"Lull-Wake": "1"}).status == 404


def test_a_wake_request_hears_why_there_is_no_replica(world):  # noqa: F811
    world.function(failed="ExitCode1", message="the container ended with 1: boom")
    world.start("--fail-grace", "200ms")
    got = world.get("hello.default.svc", local=True, headers={"Lull-Wake": "1"})
    assert got.status == 503 and "boom" in got.text
