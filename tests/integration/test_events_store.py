# SPDX-License-Identifier: Apache-2.0
"""The redis-server of `lull up`: its settings, its backup, damage, and a Redis of somebody else that cannot be used."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
from broker_world import Sink
from conftest import Lull, print_logs, running_lull, state_directory, wait_for
from redis_servers import Server

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
EVENTING = "/apis/eventing.knative.dev/v1/namespaces/default/"


@pytest.fixture(scope="module")
def sink():
    """Takes events when it is `well`, refuses them with 503 else."""
    one = Sink(lambda event: (204 if one.well else 503, {}, b""))
    one.well = False
    yield one
    one.close()


@pytest.fixture(scope="module")
def up():
    with running_lull("--events-memory", "64Mi") as it:
        it.cli("broker", "create", "default")
        yield it


def redis(it, *words):
    got = subprocess.run(["redis-cli", "-s", it.home / "run" / "redis.sock", *map(str, words)], capture_output=True, text=True, check=False)
    return got.stdout.split("\n")


def trouble(it, *words):
    """Until the Broker says it."""
    def said():
        status = it.api().get(EVENTING + "brokers/default").get("status", {})
        texts = [c.get("message", "") for c in status.get("conditions", [])]
        return next((t for t in texts if all(w in t for w in words)), None)
    return wait_for(said, 60, f"the Broker says {words}")


def ready(it):
    def is_ready():
        status = it.api().get(EVENTING + "brokers/default").get("status", {})
        return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    wait_for(is_ready, 60, "the Broker is ready")


def send(it, n):
    return it.cli("event", "send", "--type", "t", "--data", json.dumps({"n": n}), check=False)


def test_its_settings_and_the_ports_that_nobody_may_call(up):
    for name, value in (("maxmemory", str(64 << 20)), ("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("appendfsync", "always")):
        assert redis(up, "CONFIG", "GET", name)[1] == value
    up.cli("trigger", "create", "evil", "--sink", f"https://127.0.0.1:{up.api_port}/api", "--retry", "0")
    wait_for(lambda: send(up, 0).returncode == 0, 60, "it is accepted")
    wait_for(lambda: "it is an admin port" in (up.home / "logs" / "broker.log").read_text(), 60, "it is refused")
    up.cli("trigger", "delete", "evil")


def test_when_its_memory_is_full_nothing_is_thrown_away(up):
    assert redis(up, "CONFIG", "SET", "maxmemory", "1")[0] == "OK"
    said = send(up, 1)
    assert said.returncode != 0 and "429" in said.stdout + said.stderr, said
    redis(up, "CONFIG", "SET", "maxmemory", 64 << 20)
    wait_for(lambda: send(up, 2).returncode == 0, 60, "there is room again")


def test_a_backup_has_the_events(up, sink):
    """What was accepted before it is delivered by the Lull to which it was restored, and by nobody twice without need."""
    up.cli("trigger", "create", "keep", "--sink", sink.url, "--retry", "1000", "--backoff", "linear", "--backoff-delay", "PT0.2S")
    for n in range(10, 30):
        assert send(up, n).returncode == 0
    redis(up, "BGREWRITEAOF")
    copy = up.home / "copy"
    told = up.cli("backup", copy).stdout
    assert re.search(r"and [1-9]\d* bytes of events are in", told), told
    with state_directory() as home:
        other = Lull(home)
        try:
            (home / "events").mkdir()
            (home / "events" / "mine").touch()
            told = other.cli("restore", copy).stdout
            assert "bytes of events restored" in told and (home / "events-before-restore" / "mine").exists()
            up.cli("down")
            refused = len(sink.events)
            sink.well = True
            other.up()
            wait_for(lambda: set(range(10, 30)) <= {json.loads(event["body"])["n"] for event in sink.events[refused:]}, 60,
                     "every event")
        finally:
            print_logs(home)
            other.down()
            sink.well = False
    up.up("--events-memory", "64Mi")
    ready(up)


def test_the_cut_off_end_is_left_out_and_damage_is_told(up):
    wait_for(lambda: send(up, 40).returncode == 0, 60, "it is accepted")
    up.cli("down")
    folder = up.home / "events" / "appendonlydir"
    last = max(folder.glob("*.incr.aof"), key=lambda f: int(f.name.split(".")[2]))
    with open(last, "ab") as f:
        f.write(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100\r\nhal")  # a command that a power cut cut off
    up.up("--events-memory", "64Mi")
    ready(up)
    wait_for(lambda: send(up, 41).returncode == 0, 60, "it is accepted")
    up.cli("down")
    last = max(folder.glob("*.incr.aof"), key=lambda f: int(f.name.split(".")[2]))
    data = last.read_bytes()
    # More than one value is long: somewhere in it redis-server expects the head of the next.
    assert len(data) > 4000
    last.write_bytes(data[:len(data) // 2] + b"\xff" * 1000 + data[len(data) // 2 + 1000:])
    up.up("--events-memory", "64Mi")
    trouble(up, "damaged", "redis-check-aof --fix", str(folder))
    assert send(up, 42).returncode != 0
    fixed = subprocess.run(["redis-check-aof", "--fix", folder / "appendonly.aof.manifest"], input="y\n", capture_output=True, text=True, check=False)
    assert fixed.returncode == 0, fixed.stdout
    ready(up)
    wait_for(lambda: send(up, 43).returncode == 0, 60, "events are taken again")


def test_a_redis_of_somebody_else_that_cannot_be_used_is_told(home, monkeypatch):
    place = pathlib.Path(tempfile.mkdtemp(prefix="redis-"))
    server = Server(place)
    server.ask("CONFIG", "SET", "requirepass", "secret")
    server.user = ("-a", "secret", "--no-auth-warning")
    (home / "password").write_text("secret")
    it = Lull(home)
    try:
        it.up("--redis", "redis://127.0.0.1:1")
        said = it.cli("broker", "create", "default", check=False)
        assert said.returncode == 1 and "connection refused" in said.stderr
        it.cli("down")
        for words in (["event", "tail"], ["dlq", "list"]):
            said = it.cli(*words, check=False)
            assert said.returncode == 1 and "start it with `lull up`" in said.stderr
        it.up("--redis", server.address)
        it.cli("broker", "delete", "default")
        said = it.cli("broker", "create", "default", check=False)
        assert said.returncode == 1 and "asks for a password" in said.stderr
        trouble(it, "asks for a password")
        assert "asks for a password" in it.cli("broker", "describe", "default").stdout
        it.cli("down")
        monkeypatch.setenv("LULL_REDIS_PASSWORD_FILE", str(home / "password"))
        it.up("--redis", server.address)
        ready(it)
        wait_for(lambda: send(it, 1).returncode == 0, 60, "it is accepted")
        assert "another Redis" in it.cli("backup", home / "copy").stdout
    finally:
        print_logs(home)
        it.down()
        server.close()
        shutil.rmtree(place)
