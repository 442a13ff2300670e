# SPDX-License-Identifier: Apache-2.0
"""Several autoscalers and one Lease: whoever takes over knows the windows, and changes nothing because of it.
The API server, the activators and the replicas are the test's own."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import binary
from lull_client import wait_for
from stat_link import StatLink, stat
from test_autoscaler import FAST, World

LEASE = ["--lease", "lull-autoscaler", "--lease-duration", "1s"]


class Peer:
    """One autoscaler of several."""

    def __init__(self, world, number, more):
        self.world, self.admin, self.link = world, world.home / f"{number}.admin", world.home / f"{number}.link"
        for path in (self.admin, self.link):
            path.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [binary("lull-autoscaler"), "--kubeconfig", world.api.kubeconfig(world.home / "kubeconfig"),
             "--link-listen", f"unix:{self.link}", "--admin-listen", f"unix:{self.admin}", "--pod-address", "unix", *more],
            stderr=subprocess.PIPE, text=True)
        threading.Thread(target=world._read, args=(self.process.stderr,), daemon=True).start()

    def get(self, path):
        return subprocess.run(["curl", "-sS", "--max-time", "5", "--unix-socket", self.admin, f"http://admin{path}"],
                              capture_output=True, text=True, check=False).stdout

    def ready(self):
        return self.process.poll() is None and self.get("/readyz") == "ok\n"

    def leads(self):
        return self.process.poll() is None and "lull_autoscaler_leading 1\n" in self.get("/metrics")

    def end(self, signum=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(20)


class Activator:
    """Tells every autoscaler the same load once a second, and finds those that come back."""

    def __init__(self, world):
        self.world, self.load, self.links, self.seq, self.over = world, {}, {}, 0, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over:
            self.seq += 1
            for number, peer in list(self.world.peers.items()):
                link = self.links.get(number)
                try:
                    if link is None or link.closed:
                        link = self.links[number] = StatLink(peer.link, "a", report=False)
                    link.load, link.seq = self.load, self.seq - 1
                    link.report()
                except OSError:
                    self.links.pop(number, None)
            time.sleep(1)

    def poke(self, name):
        for link in list(self.links.values()):
            link.poke(name)

    def close(self):
        self.over = True
        self.thread.join(5)
        for link in self.links.values():
            link.close()


class Several(World):
    def __init__(self, home):
        super().__init__(home)
        self.peers = {}
        self.activator = Activator(self)

    def begin(self, count=2, more=LEASE):
        for number in range(count):
            self.peers[number] = Peer(self, number, more)
        wait_for(lambda: all(p.ready() for p in self.peers.values()), 30, "all are ready")
        return self

    def leader(self):
        return next((number for number, peer in list(self.peers.items()) if peer.leads()), None)

    def led(self):
        return wait_for(lambda: (n := self.leader()) is not None and [n], 30, "one leads")[0]

    def why_of(self, number, name):
        return json.loads(self.peers[number].get(f"/debug/why?namespace=default&name={name}"))

    def reports(self, more):
        seq = self.activator.seq
        wait_for(lambda: self.activator.seq >= seq + more, 30 + 2 * more, f"{more} more reports")

    def replace(self, number, more=LEASE):
        self.peers[number] = Peer(self, number, more)
        wait_for(self.peers[number].ready, 30, "the new one is ready")

    def close(self):
        self.activator.close()
        codes = [peer.end(signal.SIGTERM) for peer in self.peers.values()]
        for proxy in self.proxies:
            proxy.close()
        self.api.close()
        assert set(codes) == {0}, "".join(self.lines[-20:])
        assert not self.said("Sanitizer"), "".join(self.lines)


@pytest.fixture
def several(home):
    it = Several(home)
    yield it
    it.close()


def needs(load):
    """Replicas for so many requests at a time: 70 each, Knative's 70 % of 100."""
    return max(1, -(-int(load) // 70))


def test_a_delay_outlives_its_leader(several):
    """Neither the delay's maximum nor the windows are lost with the leader, and nothing waits for a window of reports."""
    several.config(**FAST)
    several.function("f1", replicas=4, annotations={"autoscaling.knative.dev/scale-down-delay": "60s"})
    several.function("f2", replicas=2, ready=0, annotations={"autoscaling.knative.dev/window": "6s"})
    for i in range(2):  # its traffic comes past the activators
        several.proxy("f2", i).answer = stat(concurrency=65.0, count=65.0)
    several.activator.load["f1"] = 250.0
    several.begin()
    several.led()
    several.reports(4)
    several.activator.load["f1"] = 10.0
    several.reports(4)
    first = several.led()
    several.peers[first].end()
    second = several.led()
    assert second != first
    several.replace(first)
    why = several.why_of(second, "f1")
    assert why["why"]["rule"] == "scale-down-delay", why
    several.reports(4)  # more than a window: nobody remembers a start in panic mode
    assert several.scales("f1") == [] and several.scales("f2") == []


@pytest.mark.quick
def test_a_poke_is_not_lost_with_the_leader(several):
    several.config(**FAST)
    several.function("f1")
    several.begin()
    first = several.led()
    several.reports(2)
    several.peers[first].process.send_signal(signal.SIGSTOP)  # hears nothing, writes nothing, and still has the Lease
    several.activator.poke("f1")
    several.activator.load["f1"] = 1.0
    wait_for(lambda: several.replicas("f1") == 1, 20, "the next leader wakes it")
    several.peers[first].process.send_signal(signal.SIGCONT)
    several.reports(3)
    assert {n for _, n in several.scales("f1")} == {1}  # the one that was stopped may say the same once more


def kill_leaders(several, rounds, step_s):
    """Steady functions keep their replicas; one whose load moves never has less than its least load of late needs."""
    several.config(**FAST)
    several.function("steady", replicas=4)
    several.function("single", replicas=1)
    several.function("moving", replicas=1)
    load = several.activator.load
    load.update(steady=275.0, single=1.0, moving=60.0)
    several.begin(3)
    several.led()
    several.reports(4)
    moves, over = [(time.monotonic(), 60.0)], threading.Event()

    def move():
        while not over.wait(step_s):
            load["moving"] = 270.0 if load["moving"] < 100 else 60.0
            moves.append((time.monotonic(), load["moving"]))

    def pods():
        """The replicas that were asked for are there at once."""
        while not over.wait(0.1):
            want = several.replicas("moving")
            have = [k for k in list(several.api.objects) if k[0] == "pods" and k[2].startswith("moving-")]
            for i in range(want if len(have) < want else 0):
                if ("pods", "default", f"moving-{i}") not in several.api.objects:
                    several.pod("moving", i)

    threads = [threading.Thread(target=move), threading.Thread(target=pods)]
    for thread in threads:
        thread.start()
    try:
        for i in range(rounds):
            first = several.led()
            several.peers[first].end(signal.SIGTERM if i % 5 == 4 else signal.SIGKILL)
            several.led()
            several.replace(first)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert several.scales("steady") == [] and several.scales("single") == []
    for at, scale in several.scales("moving"):
        began = [when for when, _ in moves if when <= at - 4] or [moves[0][0]]  # window and tick
        least = min(value for when, value in moves if began[-1] <= when <= at)
        assert scale >= needs(least), (scale, least, several.scales("moving"), moves)
    load["moving"] = 270.0
    wait_for(lambda: several.replicas("moving") >= 4, 30, "decisions go on")
    return len(moves), len(several.scales("moving"))


def test_killed_leaders_take_nothing(several):
    kill_leaders(several, 20, 4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_standbys_200_kills(several):
    rounds = int(os.environ.get("LULL_SOAK_ROUNDS", "200"))
    moves, writes = kill_leaders(several, rounds, 4)
    print(f"{rounds} leaders killed, {moves} moves of the load, {writes} scale writes: none below the need")


def test_two_that_both_believe_to_lead(several):
    """No Lease between them: what both write is what one alone would."""
    several.config(**FAST)
    several.function("steady", replicas=4)
    several.function("moving", replicas=1)
    several.function("waking")
    load = several.activator.load
    load.update(steady=275.0, moving=60.0)
    several.begin(2, more=[])
    several.reports(5)
    load["moving"] = 270.0
    several.activator.poke("waking")
    load["waking"] = 1.0
    wait_for(lambda: several.replicas("moving") >= 4 and several.replicas("waking") == 1, 20, "both went up")
    several.pod("waking", 0)
    for i in range(1, 4):
        several.pod("moving", i)
    several.reports(5)
    assert several.scales("steady") == []
    assert {n for _, n in several.scales("waking")} == {1}
    up = [n for _, n in several.scales("moving")]
    assert up == sorted(up) and up[-1] <= 5, up
    del load["moving"], load["waking"]
    wait_for(lambda: several.replicas("moving") == 0 and several.replicas("waking") == 0, 40, "both went to zero")
    several.reports(3)
    down = [n for _, n in several.scales("moving")][len(up):]
    # Of two that decide in the same millisecond one may not have read the newest report yet; its next decision has.
    assert sum(a < b for a, b in zip(down, down[1:])) <= 1 and down[-1] == 0, down
    assert several.replicas("steady") == 4 and several.scales("steady") == []
