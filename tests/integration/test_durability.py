# SPDX-License-Identifier: Apache-2.0
"""The state of one machine: brought up to date, backed up and restored, refused when it is damaged or newer, and kept
by one process at a time."""
import base64
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile

import pytest
from conftest import ROOT, Lull, answering, binary, wait_for

MAPS = "/api/v1/namespaces/default/configmaps"
FIXTURE = ROOT / "tests/fixtures/lull-schema1.db"  # made by the first version of the database, schema 1
SEED = 20261123


class Store:
    """lull-local without a node agent on its own state directory."""

    def __init__(self, home):
        self.home, self.process = home, None

    def run(self, *args):
        return subprocess.run([binary("lull-local"), "--home", self.home, *map(str, args)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)

    def start(self):
        (self.home / "kubeconfig").unlink(missing_ok=True)
        with open(self.home / "out", "a") as out:
            self.process = subprocess.Popen([binary("lull-local"), "--home", self.home, "--api-listen", "127.0.0.1:0"],
                                            stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.api = answering(self, 30)
        return self

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        self.process.wait(timeout=30)

    def refused(self):
        """What it says when it cannot start."""
        got = self.run("--api-listen", "127.0.0.1:0")
        assert got.returncode == 1, got.stdout + got.stderr
        return got.stdout + got.stderr

    def version(self):
        return int(self.api.get(MAPS)["metadata"]["resourceVersion"])


@pytest.fixture
def store(home):
    it = Store(home)
    yield it
    if it.process and it.process.poll() is None:
        it.process.kill()
        it.process.wait()


def test_a_database_of_the_first_form_is_brought_up_to_date(store):
    shutil.copy(FIXTURE, store.home / "lull.db")
    before = sqlite3.connect(FIXTURE).execute("SELECT version FROM state").fetchone()[0]
    store.start()
    assert store.api.get(f"{MAPS}/settings")["data"] == {"colour": "red", "n": "39"}
    secret = store.api.get("/api/v1/namespaces/default/secrets/keys")
    assert base64.b64decode(secret["data"]["password"]) == b"new"
    assert store.api.get("/apis/serving.knative.dev/v1/namespaces/other/services/hello")["metadata"]["generation"] == 1
    assert store.version() >= before
    store.stop()
    now = sqlite3.connect(store.home / "lull.db")
    assert now.execute("PRAGMA user_version").fetchone()[0] == 2
    assert now.execute("SELECT value FROM meta WHERE key='written_by'").fetchone()
    old = store.home / "lull.db-schema1"
    assert sqlite3.connect(old).execute("PRAGMA user_version").fetchone()[0] == 1 and old.stat().st_mode & 0o777 == 0o600
    store.start()  # and once more: nothing left to do
    assert store.api.get(f"{MAPS}/settings")["data"]["n"] == "39"


def test_a_newer_or_foreign_database_is_refused(store):
    store.start().stop()
    db = sqlite3.connect(store.home / "lull.db")
    db.execute("UPDATE meta SET value='9.9.9' WHERE key='written_by'")
    db.execute("PRAGMA user_version=99")
    db.commit()
    said = store.refused()
    assert "written by a newer Lull 9.9.9" in said and "start the newer version" in said
    db.execute("PRAGMA application_id=1")
    db.commit()
    assert "another program" in store.refused()
    got = store.run("--backup", store.home / "b")
    assert got.returncode == 1 and "another program" in got.stderr and not (store.home / "b").exists()


def damaged_forms(whole):
    rng = random.Random(SEED)
    yield "empty", b""
    for part in (0.1, 0.5, 0.9):
        yield f"the first {part:.0%}", whole[:int(len(whole) * part)]
    yield "zeros in the middle", whole[:len(whole) // 3] + bytes(len(whole) // 3) + whole[2 * (len(whole) // 3):]
    yield "noise", rng.randbytes(len(whole))
    yield "another head", b"SQLite format 4\0" + whole[16:]


def test_a_damaged_database_is_refused_with_what_to_do(store):
    store.start()
    for i in range(60):
        store.api.create(MAPS, {"metadata": {"name": f"m{i}"}, "data": {"x": "y" * 2000}})
    store.stop()
    whole = (store.home / "lull.db").read_bytes()
    for name, data in damaged_forms(whole):
        (store.home / "lull.db").write_bytes(data)
        for more in ("-wal", "-shm"):
            (store.home / f"lull.db{more}").unlink(missing_ok=True)
        said = store.refused()
        assert "damaged" in said and "lull restore FILE" in said, f"{name}: {said}"
        assert (store.home / "lull.db").read_bytes()[:100] == data[:100], f"{name}: it was changed"


def test_a_log_that_a_power_cut_cut_off_loses_its_end_only(store):
    """The write-ahead log ends anywhere: what was complete before is there, and the versions go on."""
    store.start()
    for i in range(30):
        store.api.create(MAPS, {"metadata": {"name": f"m{i:02d}"}, "data": {"x": "y" * 500}})
    store.stop(signal.SIGKILL)
    files = {name: (store.home / name).read_bytes() for name in ("lull.db", "lull.db-wal")}
    rng, seen = random.Random(SEED), set()
    for cut in sorted(rng.sample(range(len(files["lull.db-wal"])), 8)):
        for more in ("-shm", "-redo"):  # the redo log counts for one boot only
            (store.home / f"lull.db{more}").unlink(missing_ok=True)
        (store.home / "lull.db").write_bytes(files["lull.db"])
        (store.home / "lull.db-wal").write_bytes(files["lull.db-wal"][:cut])
        store.start()
        names = [m["metadata"]["name"] for m in store.api.list(MAPS)]
        assert names == [f"m{i:02d}" for i in range(len(names))]
        seen.add(len(names))
        store.api.create(MAPS, {"metadata": {"name": "z"}})
        store.stop()
    assert len(seen) > 2


def test_two_on_one_state_directory(store):
    store.start()
    said = store.refused()
    assert str(store.process.pid) in said and "lull.db" in said
    assert store.api.get("/version")


def test_backup_and_restore_under_writers(store):
    """A copy while somebody writes has everything that was acknowledged before it; restored versions go past all."""
    store.start()
    for i in range(50):
        store.api.create(MAPS, {"metadata": {"name": f"m{i}"}, "data": {"n": "0"}})
    bundle = store.home / "bundles" / ("sha256-" + "c" * 64)
    (bundle / "files/bin").mkdir(parents=True)
    (bundle / "bundle.json").write_text(json.dumps({"command": ["./run"], "env": {}, "workdir": "files"}))
    (bundle / "files/bin/run").write_bytes(os.urandom(100_000))
    (bundle / "files/bin/run").chmod(0o755)
    (bundle / "files/run").symlink_to("bin/run")
    acknowledged = store.version()
    copy = store.home / "copy"
    backup = subprocess.Popen([binary("lull-local"), "--home", store.home, "--backup", copy], stdout=subprocess.PIPE, text=True)
    for i in range(50):
        store.api.patch(f"{MAPS}/m{i}", {"data": {"n": "1"}})
    told = backup.communicate(timeout=60)[0]
    assert backup.returncode == 0 and "1 bundles" in told and copy.stat().st_mode & 0o777 == 0o600
    held = sqlite3.connect(copy).execute("SELECT max(version) FROM object").fetchone()[0]
    assert held >= acknowledged
    # Life goes on after the copy: the versions of that are gone past as well.
    store.api.delete(f"{MAPS}/m0")
    store.api.create(MAPS, {"metadata": {"name": "later"}})
    last = store.version()
    got = store.run("--restore", copy)
    assert got.returncode == 1 and "lull down" in got.stderr  # not while it runs
    store.stop()
    shutil.rmtree(bundle)
    got = store.run("--restore", copy)
    assert got.returncode == 0 and "lull.db-before-restore" in got.stdout, got.stderr
    store.start()
    maps = store.api.list(MAPS)
    assert sorted(m["metadata"]["name"] for m in maps) == sorted(f"m{i}" for i in range(50))
    assert all(int(m["metadata"]["resourceVersion"]) > last for m in maps)
    assert len({m["metadata"]["resourceVersion"] for m in maps}) == 50 and store.version() > last
    assert (bundle / "files/run").resolve() == bundle / "files/bin/run" and os.access(bundle / "files/run", os.X_OK)
    got = store.api.request("GET", MAPS, watch="true", resourceVersion=str(last))
    assert '"code":410' in got.text.replace(" ", "")  # who knew the old versions lists again
    before = sqlite3.connect(store.home / "lull.db-before-restore")
    assert before.execute("SELECT count(*) FROM object WHERE name='later'").fetchone()[0] == 1
    # Once more on top of the restored state, and onto a damaged one: always further.
    for again in range(2):
        last = store.version()
        store.stop()
        if again:
            os.truncate(store.home / "lull.db", 5000)
        assert store.run("--restore", copy).returncode == 0
        store.start()
        if not again:  # what a damaged database had given is not known; the clock bounds it
            assert store.version() > last
        assert len(store.api.list(MAPS)) == 50


def test_what_is_no_backup_is_refused(store):
    store.start()
    store.api.create(MAPS, {"metadata": {"name": "here"}})
    store.stop()
    evil = store.home / "evil"
    assert store.run("--backup", evil).returncode == 0
    db = sqlite3.connect(evil)
    name = "sha256-" + "d" * 64
    db.execute("INSERT INTO bundle_file VALUES(?,?,?)", (name, 0o40755, b""))
    db.execute("INSERT INTO bundle_file VALUES(?,?,?)", (name + "/../../escaped", 0o100644, b"x"))
    db.commit()
    db.close()
    links = store.home / "links"
    shutil.copy(evil, links)
    db = sqlite3.connect(links)
    db.execute("DELETE FROM bundle_file WHERE path LIKE '%escaped'")
    db.execute("INSERT INTO bundle_file VALUES(?,?,?)", (name + "/out", 0o120777, str(store.home).encode()))
    db.execute("INSERT INTO bundle_file VALUES(?,?,?)", (name + "/out/escaped", 0o100644, b"x"))
    db.commit()
    db.close()
    (store.home / "text").write_text("no database" * 1000)
    (store.home / "short").write_bytes(evil.read_bytes()[:6000])
    whole = (store.home / "lull.db").read_bytes()
    for file in ("evil", "links", "text", "short", "absent"):
        got = store.run("--restore", store.home / file)
        assert got.returncode == 1 and "lull:" in got.stderr, file
        assert (store.home / "lull.db").read_bytes() == whole, file
    assert not list(store.home.rglob("escaped")) and not list(store.home.glob("lull.db-rest*"))
    store.start()
    assert store.api.get(f"{MAPS}/here")


def test_the_commands(examples, monkeypatch):
    """lull backup while it runs, lull restore on another state directory: the function answers there."""
    homes = [pathlib.Path(tempfile.mkdtemp(prefix="lull-", dir="/tmp")) for _ in range(2)]
    lulls = [Lull(h) for h in homes]
    [h.chmod(0o711) for h in homes]
    for name, value in (("PUBLIC", 0), ("LOCAL", 0), ("TLS", -1)):  # as people have them for lull up
        monkeypatch.setenv(f"LULL_{name}_PORT", str(value))
    try:
        first, second = lulls
        first.up()
        first.cli("deploy", "hello", "--source", examples / "hello-python")
        first.cli("backup", homes[0] / "b")
        got = first.cli("restore", homes[0] / "b", check=False)
        assert got.returncode == 1 and "lull down" in got.stderr
        first.down()
        second.cli("restore", homes[0] / "b")
        second.up()
        assert all(str(homes[0]) not in json.dumps(p) for p in second.api().list("/api/v1/pods"))
        assert wait_for(lambda: (got := second.get("hello")).status == 200 and got, 30, "the restored function answers")
    finally:
        for it in lulls:
            it.down()
            shutil.rmtree(it.home, ignore_errors=True)
