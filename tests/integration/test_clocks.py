# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump: the wall clock by an hour to either side, and a suspend that the machine's own clocks count. The
programs are preloaded with tests/lib/warp_clock.c."""
import calendar
import struct
import threading
import time

import pytest
from conftest import BUILD, binary, print_logs, unsafe_windows, Lull
from lull_client import wait_for
from test_autoscaler import FAST, World

pytestmark = pytest.mark.skipif("asan" in BUILD.name or not list(BUILD.glob("tests/lib/warp_clock.so")),
                                reason="needs a build without sanitizers")
HOUR = 3600


class Clocks:
    """Offsets of the programs that have `env`."""

    def __init__(self, home):
        self.path = home / "clocks"
        self.path.write_bytes(bytes(16))
        self.env = {"LD_PRELOAD": str(binary("warp_clock.so")), "WARP_CLOCK_FILE": str(self.path)}

    def set(self, wall_s=0, mono_s=0):
        with open(self.path, "r+b") as out:
            out.write(struct.pack("=qq", wall_s * 10**9, mono_s * 10**9))


@pytest.fixture
def world(home):
    it = World(home)
    it.clocks = Clocks(home)
    yield it
    it.close()


def begin(world):
    world.config(**{**FAST, "stable-window": "4s"})
    world.function("busy", replicas=4)
    world.function("single", replicas=1)
    world.function("idle")
    world.start(env=world.clocks.env)
    link = world.link()
    link.load.update(busy=275.0, single=1.0)
    reports(link, 5)
    return link


def reports(link, more):
    seq = link.seq
    wait_for(lambda: link.seq >= seq + more, 60, f"{more} more reports")


def now_of(world):
    """The wall clock as the autoscaler has it, in seconds off ours."""
    return calendar.timegm(time.strptime(world.why("busy")["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.time()


def rule_of(world):
    return world.why("busy")["why"]["rule"]


def sleep_an_hour(world, link, hours, tick_first):
    """The first report after it says next to nothing, as one does that spreads a second's traffic over the hour."""
    world.clocks.set(hours * HOUR, hours * HOUR)
    if tick_first:
        wait_for(lambda: world.metric("reports_fresh") == 0, 20, "a tick sees that nobody has reported")
    said = 0

    def holds():
        nonlocal said
        if time.monotonic() > said + 5:  # again: it may have come in a turn that began before the jump
            link.report()
            said = time.monotonic()
        return rule_of(world) == "reports-incomplete"

    wait_for(holds, 40, "it waits for a whole window of reports")


def test_the_autoscalers_clocks_jump(world):
    """Nothing is scaled because of it, and everything goes on as ever."""
    link = begin(world)
    for wall_s in (HOUR, -HOUR):
        world.clocks.set(wall_s)
        reports(link, 3)
        assert abs(now_of(world) - wall_s) < 60
        assert [world.scales(name) for name in ("busy", "single", "idle")] == [[], [], []]
    link.pause()
    load, link.load = link.load, {}
    for hours, tick_first in ((1, False), (2, True), (3, False)):
        sleep_an_hour(world, link, hours, tick_first)
        assert abs(now_of(world) - hours * HOUR) < 60
    link.load, link.paused = load, False
    wait_for(lambda: rule_of(world) == "stable-window", 60, "it decides again")
    assert [world.scales(name) for name in ("busy", "single", "idle")] == [[], [], []]
    link.poke("idle")
    wait_for(lambda: world.replicas("idle") == 1, 10, "it wakes")
    world.pod("idle", 0)
    link.load.pop("single")
    wait_for(lambda: world.replicas("idle") == 0 and world.replicas("single") == 0, 60, "both go to zero")
    assert world.scales("busy") == []


def test_all_parts_of_one_machine(home, examples):
    """Every part's wall clock jumps by hours under load, then the whole machine sleeps for an hour."""
    clocks, lull = Clocks(home), Lull(home)
    stop, bad, good = threading.Event(), [], 0
    env = lull.env()
    lull.env = lambda: {**env, **clocks.env}

    def load():
        nonlocal good
        while not stop.is_set():
            got = lull.get("busy")
            good += got.status == 200
            if got.status != 200:
                bad.append(got)
            time.sleep(0.05)

    thread = threading.Thread(target=load)
    try:
        lull.up()
        unsafe_windows(lull)
        lull.cli("deploy", "busy", "--source", examples / "hello-c")
        lull.cli("deploy", "idle", "--source", examples / "hello-c")
        lull.wait_zero("idle")
        thread.start()
        wait_for(lambda: good > 20, 30, "load")
        pods = {pod["metadata"]["uid"] for pod in lull.replicas("busy")}
        for wall_s, mono_s in ((-HOUR, 0), (0, 0), (HOUR, HOUR)):
            clocks.set(wall_s, mono_s)
            before = good
            wait_for(lambda before=before: good > before + 25, 60, f"requests go on after {wall_s} s, {mono_s} s")
            assert {pod["metadata"]["uid"] for pod in lull.replicas("busy")} == pods
            assert lull.get("idle").status == 200
        stop.set()
        thread.join()
        assert not bad, bad[:3]
        lull.wait_zero("busy")
        lull.wait_zero("idle")
        assert lull.get("busy").status == 200
    except BaseException:
        print_logs(home)
        raise
    finally:
        stop.set()
        if thread.ident:
            thread.join()
        clocks.set()
        lull.down()
