# SPDX-License-Identifier: Apache-2.0
"""Lull's parts as processes on some API server, load on their functions, deploys that go on, and trouble meanwhile. What
must hold: no request fails but on connections of a killed activator, no acknowledged change is lost, no scale is wrong.

`Storm` needs an Api (the truth, not through any proxy), a FaultyProxy for the parts and where things are; the tests of
one machine and those on a cluster each make one."""
import collections
import http.client
import itertools
import json
import random
import re
import signal
import subprocess
import threading
import time

from faulty_proxy import FAULTS
from lull_client import wait_for

SERVING = "/apis/serving.knative.dev/v1/namespaces"
PORT = re.compile(r'"public_port":(\d+)')


class Part:
    """One process, started again whenever it is asked to."""

    def __init__(self, name, command, log):
        self.name, self.command, self.log, self.process, self.kills = name, command, log, None, 0
        self.down = []  # [from, to or None]: times at which connections to it may fail

    def start(self):
        self.process = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        return self

    def kill(self):
        self.down.append([time.monotonic(), None])
        self.kills += 1
        self.process.kill()
        self.process.wait(20)

    def back(self):
        self.down[-1][1] = time.monotonic()

    def was_down(self, began, ended):
        return any(ended >= since and (until is None or began <= until) for since, until in self.down)


class Storm:
    def __init__(self, home, api, proxy, binary, namespace, host, **more):
        """host(name): what a client says to reach the Service."""
        self.home, self.api, self.proxy, self.binary, self.namespace, self.host = home, api, proxy, binary, namespace, host
        self.kubeconfig = proxy.kubeconfig(home / "through-proxy")
        self.more, self.parts, self.stop, self.threads = more, {}, threading.Event(), []
        self.good, self.bad, self.excused = collections.Counter(), [], 0
        self.outages = []  # [from, to]; what is at zero gives up in a long one
        self.acked, self.scales = {}, collections.defaultdict(list)

    # --- parts

    def part(self, kind, number, *options):
        name = f"{kind}{number}"
        log = open(self.home / f"{name}.log", "a")
        self.parts[name] = Part(name, [
            self.binary(f"lull-{kind}"), "--kubeconfig", self.kubeconfig, "--admin-listen", f"unix:{self.home}/{name}.admin",
            *options, *self.more.get(kind, [])], log).start()

    def begin(self, activators, autoscalers=1, controllers=1):
        """activators: their public ports."""
        links = ",".join(f"unix:{self.home}/link{i}" for i in range(autoscalers))
        lease = self.more.get("lease", [])
        for i in range(controllers):
            self.part("controller", i, *[word.format("controller") for word in lease])
        for i in range(autoscalers):
            self.part("autoscaler", i, "--link-listen", f"unix:{self.home}/link{i}",
                      *[word.format("autoscaler") for word in lease])
        for i, (public, local) in enumerate(activators):
            self.part("activator", i, "--public-listen", f"127.0.0.1:{public}", "--local-listen", f"127.0.0.1:{local}",
                      "--autoscaler", links, "--name", f"activator{i}")
        self.ports = [public for public, _ in activators]
        for name in self.parts:
            wait_for(lambda name=name: self.ready(name), 60, f"{name} is ready")

    def get_admin(self, name, path):
        return subprocess.run(["curl", "-s", "--max-time", "5", "--unix-socket", self.home / f"{name}.admin",
                               f"http://admin{path}"], capture_output=True, text=True, check=False).stdout

    def ready(self, name):
        part = self.parts[name]
        assert part.process.poll() is None, f"{name} has ended by itself: {(self.home / (name + '.log')).read_text()[-2000:]}"
        return self.get_admin(name, "/readyz").startswith("ok")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        for part in self.parts.values():
            if part.process.poll() is None:
                part.process.send_signal(signal.SIGTERM)
        for part in self.parts.values():
            try:
                part.process.wait(15)
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait(15)
            part.log.close()

    # --- functions

    def service(self, name):
        return f"{SERVING}/{self.namespace}/services/{name}"

    def deploy(self, name, word, **annotations):
        container = {"image": self.more["image"], "env": [{"name": "TARGET", "value": word}]}
        annotations = {f"autoscaling.knative.dev/{key.replace('_', '-')}": str(value) for key, value in annotations.items()}
        self.api.create(f"{SERVING}/{self.namespace}/services", {
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}}})
        self.acked[name] = word

    def redeploy(self, name, target):
        container = {"image": self.more["image"], "env": [{"name": "TARGET", "value": target}]}
        self.api.patch(self.service(name), {"spec": {"template": {"spec": {"containers": [container]}}}})
        self.acked[name] = target

    def settled(self, name):
        """Ready with the newest generation."""
        service = self.api.get(self.service(name))
        status = service.get("status", {})
        ready = [c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"]
        return status.get("observedGeneration") == service["metadata"]["generation"] and ready == ["True"] and service

    def ask(self, name, port, path="/", timeout=240):
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            conn.request("GET", path, headers={"Host": self.host(name)})
            got = conn.getresponse()
            return got.status, got.read().decode(errors="replace")
        finally:
            conn.close()

    def call(self, name, number, path="/", targets=None):
        """One request through activator `number`; what fails is judged and kept. → good?"""
        part, began = self.parts[f"activator{number}"], time.monotonic()
        try:
            status, body = self.ask(name, self.ports[number], path)
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, repr(error)
        if status == 200 and body.startswith("Hello") and (targets is None or targets(body)):
            self.good[name] += 1
            return True
        long_outage = name == "waking" and any(to - since > 60 and began <= to for since, to in self.outages)
        if long_outage or (status == 0 and part.was_down(began, time.monotonic())):
            self.excused += 1
        else:
            self.bad.append((time.strftime("%X"), name, part.name, status, body[:200], round(time.monotonic() - began, 2)))
        return False

    # --- what goes on

    def run(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self.threads.append(thread)
        thread.start()

    def load(self, name, threads, path="/", pause=0.01):
        """From so many clients, spread over the activators."""
        def loop(number):
            while not self.stop.is_set():
                self.call(name, number % len(self.ports), path)
                self.stop.wait(pause)
        for number in range(threads):
            self.run(loop, number)

    def wake(self, name, every_s):
        """A request now and then: mostly a cold start."""
        def loop():
            for number in itertools.count():
                self.call(name, number % len(self.ports))
                if self.stop.wait(every_s):
                    return
        self.run(loop)

    def deploys(self, name, every_s):
        def loop():
            for number in itertools.count(1):
                if self.stop.wait(every_s):
                    return
                try:
                    self.redeploy(name, f"v{number}")
                except (AssertionError, OSError):
                    continue  # not acknowledged
                # One after the other: revisions that were never looked at are no news.
                end = time.monotonic() + 30
                while not self.stop.wait(0.2) and time.monotonic() < end:
                    try:
                        if self.settled(name):
                            break
                    except (AssertionError, OSError):
                        continue  # looked at again
        self.run(loop)

    def watch_scales(self):
        """Every scale of every Deployment, as the API server has it."""
        def loop():
            last = {}
            while not self.stop.wait(0.1):
                try:
                    items = self.api.list(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
                except (AssertionError, OSError):
                    continue
                for item in items:
                    name, replicas = item["metadata"]["name"].removesuffix("-deployment"), item["spec"].get("replicas", 1)
                    if last.get(name) != replicas:
                        last[name] = replicas
                        self.scales[name].append((round(time.monotonic() - self.began, 1), replicas))
        self.began = time.monotonic()
        self.run(loop)

    def kills(self, seed, every_s):
        """One part after the other dies and is started again; never two of a kind at once."""
        chance = random.Random(seed)

        def loop():
            while not self.stop.wait(chance.uniform(0.3, 1.7) * every_s):
                name = chance.choice(sorted(self.parts))
                self.parts[name].kill()
                self.stop.wait(chance.uniform(0, 0.5))
                self.parts[name].start()
                wait_for(lambda name=name: self.ready(name), 60, f"{name} is ready again")
                self.parts[name].back()
        self.run(loop)

    def populate(self):
        """Functions of four sorts, and what goes on with them."""
        self.deploy("steady", "s0")
        self.deploy("wide", "w0", target=2)
        self.deploy("waking", "k0")
        self.deploy("changing", "c0")
        for name in self.acked:
            wait_for(lambda name=name: self.settled(name), 90, f"{name} is Ready")
        self.load("steady", 2, pause=0.1)
        self.load("wide", 4, "/?ms=200")
        self.wake("waking", 5)
        self.load("changing", 2, pause=0.1)
        wait_for(lambda: all(self.good[name] for name in self.acked) and self.good["wide"] > 30, 60, "all answer")
        self.watch_scales()
        self.deploys("changing", 2)

    def weather(self, seconds):
        """Faults of all kinds for so long."""
        end = time.monotonic() + seconds
        self.proxy.faults = dict(FAULTS)
        for how in itertools.cycle(("cut", "tear", "cut", "outage")):
            if time.monotonic() > end:
                break
            self.proxy.outage(True) if how == "outage" else self.proxy.cut(how)
            self.stop.wait(1.5)
            self.proxy.outage(False)
        self.proxy.faults = {}
        self.proxy.cut()

    def outage(self, seconds, held_s=60):
        """The API server is away: what runs serves, what is at zero waits, and then decisions go on."""
        wait_for(lambda: self.api.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/waking-00001-deployment")
                 ["spec"]["replicas"] == 0, 60, "waking is at zero")
        self.proxy.outage(True)
        before, end = dict(self.good), time.monotonic() + seconds
        self.outages.append([time.monotonic(), end])
        while time.monotonic() < end:
            self.stop.wait(0.5)
        for name in ("steady", "wide", "changing"):
            assert self.good[name] > before[name] + seconds, (name, before, dict(self.good))
        self.proxy.outage(False)
        wait_for(lambda: self.good["waking"] > before["waking"] + 1, held_s, "what waited is answered")

    def end_load(self):
        """What went on ends; a call that waits is waited for."""
        self.stop.wait(2)
        self.stop.set()
        for thread in self.threads:
            thread.join(120)

    def summary(self):
        return json.dumps({"made": self.proxy.made, "kills": {p.name: p.kills for p in self.parts.values()},
                           "answered": self.good, "connections of killed activators": self.excused})

    def check(self, steady, wide, least, most):
        """After the storm: the last acknowledged word of each Service is what is served, and the scales were right."""
        for name, target in self.acked.items():
            service = wait_for(lambda name=name: self.settled(name), 60, f"{name} is Ready with its newest generation")
            assert service["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == target
            for port in self.ports:
                answer = wait_for(lambda name=name, port=port, target=target:
                                  (got := self.ask(name, port))[0] == 200 and target in got[1] and got, 60,
                                  f"{name} answers {target}")
                assert answer
        story = json.dumps({name: rows for name, rows in self.scales.items()})
        assert not self.bad, (len(self.bad), self.bad[:10], dict(self.good), story)
        for name in (steady, wide):
            assert all(replicas > 0 for _, replicas in self.scales[f"{name}-00001"]), story
        assert len(self.scales[f"{steady}-00001"]) == 1, story
        counts = [replicas for _, replicas in self.scales[f"{wide}-00001"]]
        counts = counts[counts.index(max(counts)):] if counts else counts
        assert all(least <= n <= most for n in counts), story
        turns = [b - a for a, b in zip(counts, counts[1:])]
        # The death of an activator takes its clients' part of the traffic away for a moment, and their replica with it.
        deaths = sum(part.kills for name, part in self.parts.items() if name.startswith("activator"))
        assert sum(a * b < 0 for a, b in zip(turns, turns[1:])) <= 6 + 2 * deaths, story

    def check_falls(self, name, after_s=10):
        """No replica was taken away but shortly after the death of an activator: without one the load was steady."""
        rows = self.scales[f"{name}-00001"]
        falls = [self.began + at for (_, before), (at, now) in zip(rows, rows[1:]) if now < before]
        activators = [part for part_name, part in self.parts.items() if part_name.startswith("activator")]
        alone = [round(at - self.began, 1) for at in falls if not any(a.was_down(at - after_s, at) for a in activators)]
        print(f"{len(falls)} falls of {name}")
        assert not alone, (alone, rows)
