# SPDX-License-Identifier: Apache-2.0
"""What the API server of one machine must survive: objects that are too big, too deep or not JSON, many and slow
watchers, two writers of one object, kill -9 under writers. The long forms: ./test --soak api."""
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time

import exposition
import pytest
from lull_client import wait_for
from test_api import CONFIGMAPS, Local, Watch, configmap, ends_well, status

MERGE = "application/merge-patch+json"


@pytest.fixture
def local(home):
    with ends_well(Local(home, "--admin-listen", f"unix:{home}/admin.sock")) as it:
        yield it


@pytest.fixture
def api(local):
    return local.api


class Connection:
    """One kept connection; `send` gives status and body."""

    def __init__(self, api):
        host, port = api.server.removeprefix("https://").split(":")
        self.conn = http.client.HTTPSConnection(host, int(port), timeout=60, context=api.context)
        self.token = api.token

    def send(self, method, path, body=None, content_type="application/json"):
        self.conn.request(method, path, None if body is None else json.dumps(body),
                          {"Authorization": f"Bearer {self.token}", "Content-Type": content_type})
        got = self.conn.getresponse()
        return got.status, json.loads(got.read())


def in_threads(*jobs):
    """Run them all at once; the first failure is the test's."""
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.hostile
def test_bodies_that_nobody_should_send(api):
    deep = b'{"a":' * 30_000 + b"1" + b"}" * 30_000
    arrays = b'{"metadata":{"name":"x"},"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    bad = [deep, arrays, b'{"metadata":{"name":"x","name":"y"}}x', b'{"metadata":{"name":"\xc3\x28"}}',
           b'{"metadata":{"name":"\\ud800"}}', b'{"metadata":{"name":"x"},"data":{"a":"\\u0000"}}',
           b'{"metadata":{"name":"x","generation":1e999}}', b"\x00" * 1000, b"[" * 1_000_000,
           b'{"metadata":{"name":"x","labels":' + json.dumps({"k" * 300: "v"}).encode() + b"}}",
           b'{"metadata":{"name":"x","labels":' + json.dumps({f"k{i}": "v" * 60 for i in range(20_000)}).encode() + b"}}",
           b'{"metadata":{"name":"x","annotations":{"a":"' + b"v" * 300_000 + b'"}}}',
           b'{"metadata":{"name":"x","finalizers":[1,2]}}', b'{"metadata":[]}', b'{"metadata":{"name":["x"]}}']
    for body in bad:
        got = api.request("POST", CONFIGMAPS, body)
        assert got.status in (400, 413, 422) and got.json()["kind"] == "Status", (body[:60], got)
    for size in (1_600_000, 3_900_000):
        assert api.request("POST", CONFIGMAPS, configmap("x", annotations={}) | {"data": {"a": "y" * size}}).status == 413
    assert api.list(CONFIGMAPS) == []
    # The largest that is fine, changed by every kind of patch.
    api.create(CONFIGMAPS, configmap("x") | {"data": {"a": "y" * ((1 << 20) - 3)}})
    for body, kind in (({"data": {"b": "1"}}, MERGE), ([{"op": "add", "path": "/data/c", "value": "1"}],
                                                       "application/json-patch+json"),
                       ({"data": {"d": "1"}}, "application/strategic-merge-patch+json")):
        assert api.ok("PATCH", f"{CONFIGMAPS}/x", body, kind)["data"]["b"] == "1"
    status(api.request("PATCH", f"{CONFIGMAPS}/x", {"data": {"e": "z" * 100_000}}, MERGE), 422, "Invalid")
    status(api.request("PATCH", f"{CONFIGMAPS}/x", {"data": {"e": "z" * 600_000}}, MERGE), 422, "Invalid")
    many = [{"op": "copy", "from": "/data", "path": f"/data/x{i}"} for i in range(40)]
    assert api.request("PATCH", f"{CONFIGMAPS}/x", many, "application/json-patch+json").status in (413, 422)
    status(api.request("PATCH", f"{CONFIGMAPS}/x", [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001,
                       "application/json-patch+json"), 413, "RequestEntityTooLarge")


# --- watchers ----------------------------------------------------------------------------------------------------


def serialised(local):
    """How many objects the server has made into text since it began, for whatever reason."""
    got = subprocess.run(["curl", "-fsS", "--unix-socket", local.home / "admin.sock", "http://admin/metrics"],
                         capture_output=True, text=True, timeout=30, check=True)
    return int(exposition.value(got.stdout, "lull_local_serialisations_total"))


@pytest.mark.timeout(300)
def test_a_hundred_watchers_lose_nothing(local, api, watchers=100, rate=200, seconds=2):
    """All get every event of `rate` a second, in order, and each was made into text once for all of them."""
    made = api.create(CONFIGMAPS, configmap("c"))
    watches = [Watch(api, CONFIGMAPS, resourceVersion=made["metadata"]["resourceVersion"]) for _ in range(watchers)]
    wanted, before = [], serialised(local)

    def write():
        conn, begun = Connection(api), time.monotonic()
        for i in range(rate * seconds):
            code, body = conn.send("PATCH", f"{CONFIGMAPS}/c", {"data": {"n": str(i)}}, MERGE)
            assert code == 200, body
            wanted.append(body["metadata"]["resourceVersion"])
            time.sleep(max(0.0, begun + i / rate - time.monotonic()))  # the rate of the load

    def read(w):
        for i in range(rate * seconds):
            event = w.next()
            assert event is not None and event["type"] == "MODIFIED" and event["object"]["data"]["n"] == str(i)
        w.close()

    in_threads(write, *[lambda w=w: read(w) for w in watches])
    assert len(wanted) == rate * seconds
    assert serialised(local) - before == rate * seconds


def test_watchers_that_do_not_read_cost_nothing_and_get_410(local, api):
    made = api.create(CONFIGMAPS, configmap("c"))
    version = made["metadata"]["resourceVersion"]
    idle = [Watch(api, CONFIGMAPS, resourceVersion=version) for _ in range(8)]
    dead = [Watch(api, CONFIGMAPS, resourceVersion=version) for _ in range(4)]
    for w in dead:  # gone without a word
        w.conn.sock.close()
    conn = Connection(api)
    for i in range(60):  # more than the history and all buffers hold
        assert conn.send("PATCH", f"{CONFIGMAPS}/c", {"data": {"x": f"{i:03}" + "y" * 1_000_000}}, MERGE)[0] == 200
    memory = int(next(line for line in open(f"/proc/{local.process.pid}/status", encoding="utf-8")
                      if line.startswith("VmRSS")).split()[1])
    assert memory < 400_000, f"{memory} KiB"
    for w in idle:
        last = None
        while (event := w.next()) is not None:
            last = event
        assert (last["type"], last["object"]["code"]) == ("ERROR", 410)
        w.close()
    status(api.request("GET", CONFIGMAPS, **{"continue": "00"}), 400, "BadRequest")
    assert api.get(f"{CONFIGMAPS}/c")["data"]["x"].startswith("059")


# --- writers -----------------------------------------------------------------------------------------------------


def race(api, times):
    """Two writers add one to the same number, and to their own, by read and update; a conflict is tried again. Nothing
    is lost. A connection that breaks (a machine that stood still) leaves a write in doubt: their own number tells."""
    api.create(CONFIGMAPS, configmap("n") | {"data": {"n": "0", "0": "0", "1": "0"}})
    conflicts, broken = [0, 0], [0, 0]

    def writer(me):
        conn, done, mine = Connection(api), 0, str(me)
        while done < times // 2:
            try:
                _, object_ = conn.send("GET", f"{CONFIGMAPS}/n")
                data = object_["data"]
                done = int(data[mine])
                if done == times // 2:
                    break  # the write in doubt was the last
                data["n"], data[mine] = str(int(data["n"]) + 1), str(done + 1)
                code, _ = conn.send("PUT", f"{CONFIGMAPS}/n", object_)
            except (OSError, http.client.HTTPException):
                broken[me] += 1
                assert broken[me] < 100
                conn = Connection(api)
                continue
            assert code in (200, 409)
            done += code == 200
            conflicts[me] += code == 409

    in_threads(lambda: writer(0), lambda: writer(1))
    print(f"{times} updates, {sum(conflicts)} conflicts, {sum(broken)} broken connections")
    data = api.get(f"{CONFIGMAPS}/n")["data"]
    assert [int(data[k]) for k in ("n", "0", "1")] == [times, times // 2, times // 2]


def test_two_writers_of_one_object_lose_nothing(api):
    race(api, 10_000)


class Writer(threading.Thread):
    """Creates, patches, replaces and deletes its own objects until the server dies; knows what was acknowledged."""

    def __init__(self, api, number, seed):
        super().__init__(daemon=True)
        self.api, self.number, self.random = api, number, random.Random(seed * 1000 + number)
        self.state, self.doubt = {}, {}

    def run(self):
        try:
            conn = Connection(self.api)
            for i in range(1_000_000):
                name = f"w{self.number}-{self.random.randrange(8)}"
                self.doubt = {name: i}
                self.step(conn, name, i)
                self.doubt = {}
        except (OSError, http.client.HTTPException, ValueError):
            pass

    def step(self, conn, name, i):
        there = self.state.get(name)
        if there is None:
            code, _ = conn.send("POST", CONFIGMAPS, configmap(name) | {"data": {"n": str(i)}})
            assert code == 201
            self.state[name] = i
        elif self.random.random() < 0.1:
            assert conn.send("DELETE", f"{CONFIGMAPS}/{name}")[0] == 200
            self.state[name] = None
        else:
            assert conn.send("PATCH", f"{CONFIGMAPS}/{name}", {"data": {"n": str(i)}}, MERGE)[0] == 200
            self.state[name] = i

    def check(self, there):
        """What was acknowledged is there; of the one write in doubt either state will do."""
        for name, n in self.state.items():
            found = there.get(name)
            found = None if found is None else int(found["data"]["n"])
            if name in self.doubt:
                assert found in (n, self.doubt[name], None), (name, found, n)
            else:
                assert found == n, (name, found, n)


def kill_under_writers(local, rounds, seed, writers=20):
    chance = random.Random(seed)
    for round_ in range(rounds):
        for o in local.api.list(CONFIGMAPS):
            local.api.delete(f"{CONFIGMAPS}/{o['metadata']['name']}")
        crowd = [Writer(local.api, i, seed + round_) for i in range(writers)]
        for w in crowd:
            w.start()
        wait_for(lambda: sum(len(w.state) for w in crowd) >= writers, 60, "the writers are under way")
        time.sleep(chance.random() * 0.4)  # the moment of the kill, not a wait for something
        local.kill(signal.SIGKILL)
        for w in crowd:
            w.join(timeout=60)
        local.start()
        there = {o["metadata"]["name"]: o for o in local.api.list(CONFIGMAPS)}
        for w in crowd:
            w.check(there)


def test_kill_9_under_twenty_writers_loses_nothing(local):
    kill_under_writers(local, 3, 20261123)


# --- the long forms ----------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_api_soak_kills(local):
    seed = int(os.environ.get("LULL_SEED", random.randrange(1 << 30)))
    rounds = int(os.environ.get("LULL_SOAK_ROUNDS", "100"))
    print(f"LULL_SEED={seed} LULL_SOAK_ROUNDS={rounds}")
    kill_under_writers(local, rounds, seed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_api_soak_race(api):
    race(api, int(os.environ.get("LULL_SOAK_UPDATES", "1000000")))
