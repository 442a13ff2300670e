# SPDX-License-Identifier: Apache-2.0
"""containerConcurrency 1 through scaling, clients that leave, and parts that are killed: never two requests at once in
one function. The function itself counts, and works on when its client is gone."""
import os
import random
import re
import shutil
import signal
import socket
import threading
import time

import pytest
from conftest import binary, unsafe_windows
from lull_client import wait_for

SEED = int(os.environ.get("LULL_SEED", "1"))
WORK_MS = (0, 0, 5, 20, 60, 60, 200, 900)


class Told:
    """What witnesses say of more than one request at once."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]

    def all(self):
        got = []
        try:
            while True:
                got.append(self.sock.recv(100).decode())
        except BlockingIOError:
            return got


class Callers:
    """Threads that call, and sometimes leave in the middle. `wanted` of them are at it."""

    def __init__(self, port, most, seed):
        self.port, self.wanted, self.stop = port, 0, False
        self.lock, self.counts = threading.Lock(), {"answered": 0, "left": 0, "refused": 0, "broken": 0}
        self.threads = [threading.Thread(target=self.call, args=(i, random.Random(seed * 1000 + i)), daemon=True)
                        for i in range(most)]
        for t in self.threads:
            t.start()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def call(self, i, rng):
        while not self.stop:
            if i >= self.wanted:
                time.sleep(0.02)
                continue
            leaves = rng.uniform(0, 0.08) if rng.random() < 0.3 else None
            try:
                self.one(rng.choice(WORK_MS), leaves)
            except OSError:  # of a part that was killed
                self.count("broken")
                time.sleep(0.02)

    def one(self, ms, leaves):
        with socket.create_connection(("127.0.0.1", self.port), 30) as s:
            s.sendall(f"GET /?ms={ms} HTTP/1.1\r\nHost: one.default.localhost\r\nConnection: close\r\n\r\n".encode())
            if leaves is not None:
                time.sleep(leaves)
                self.count("left")
                return
            got = b""
            while data := s.recv(4096):
                got += data
            self.count("answered" if got.startswith(b"HTTP/1.1 200") else "refused" if got else "broken")

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(60)


def pids_of(lull, name):
    return sorted(p for p, line in lull.processes().items() if re.match(rf"\S*{name}( |$)", line))


def trouble(lull, callers, rng, seconds, killed):
    """Load that comes and goes, so that replicas do; now and then a part is killed."""
    end, next_kill = time.monotonic() + seconds, time.monotonic() + 1
    while time.monotonic() < end:
        most = len(callers.threads)
        callers.wanted = rng.choice((0, 1, 4, most, most, most))
        pause = 2.0 if callers.wanted == 0 else rng.uniform(0.5, 1.5)
        wake = min(end, time.monotonic() + pause)
        while time.monotonic() < wake:
            time.sleep(0.05)
            if time.monotonic() < next_kill or callers.wanted == 0:
                continue
            part = ("lull-queue-proxy", "lull-activator", "lull-local")[len(killed) % 3]
            pids = pids_of(lull, part)
            if pids:
                try:
                    os.kill(rng.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(part)
                next_kill = time.monotonic() + rng.uniform(1.5, 3)


def deploy(lull, tmp_path, most, *more):
    source = tmp_path / "witness"
    source.mkdir()
    shutil.copy(binary("witness"), source)
    (source / "lull.yaml").write_text("command: [./witness]\n")
    told = Told()
    lull.cli("deploy", "one", "--source", source, "--concurrency", 1, "--max-scale", most, "--env",
             f"WITNESS={told.port}", *more)
    return told


def answers(lull):
    try:
        return lull.get("one", timeout=30).status == 200
    except OSError:
        return False


def run(lull, tmp_path, seconds):
    unsafe_windows(lull, "1s")
    told, killed, rng = deploy(lull, tmp_path, 4), [], random.Random(SEED)
    callers = Callers(lull.public_port, 12, SEED)
    try:
        trouble(lull, callers, rng, seconds, killed)
    finally:
        callers.wanted = 0
        callers.end()
    print(f"seed {SEED}: {callers.counts}, killed {len(killed)} parts: {', '.join(sorted(set(killed)))}")
    assert told.all() == [], "more than one request was in a function with a limit of one (pid, count)"
    assert callers.counts["answered"] > 20 and callers.counts["left"] > 5 and len(set(killed)) >= 2
    wait_for(lambda: answers(lull), 60, "it answers when all is quiet again")


@pytest.mark.parametrize("part", ["lull-queue-proxy", "lull-activator"])
def test_a_request_outlives_the_part_that_let_it_in(lull, tmp_path, part):
    """The next one must not join it in the function."""
    told = deploy(lull, tmp_path, 1, "--env", "WITNESS_MOST=0")  # so it tells of every one
    wait_for(lambda: answers(lull), 30, "it answers")
    told.all()

    def long_call():
        try:
            lull.get("one", "/?ms=1500")
        except OSError:
            pass  # what it went through is killed

    thread = threading.Thread(target=long_call)
    thread.start()
    entered = wait_for(told.all, 30, "it is in the function")
    for pid in pids_of(lull, part):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: answers(lull), 30, "the next one is answered")
    thread.join(60)
    entered += told.all()
    assert len(entered) >= 2 and all(e.endswith(" 1") for e in entered), f"(pid, how many were in it) {entered}"


def test_never_two_at_once(lull, tmp_path):
    run(lull, tmp_path, 12)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_dataplane_limit_long(lull, tmp_path):
    run(lull, tmp_path, float(os.environ.get("LULL_SOAK_SECONDS", "180")))
