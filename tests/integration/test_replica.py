# SPDX-License-Identifier: Apache-2.0
"""lull-replica: what it starts, restarts and ends, seen through its control socket and the process table."""
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest
from conftest import binary, wait_for

pytestmark = pytest.mark.quick

# Stands in for the queue-proxy, whose own tests are elsewhere: says READY, and ends on SIGTERM.
PROXY = """#!/usr/bin/python3
import os, signal, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
say = lambda *_: s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.signal(signal.SIGHUP, say)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
say()
while True:
    signal.pause()
"""


class Replica:
    def __init__(self, folder, command, **extra):
        self.folder = pathlib.Path(folder)
        self.ctl_path = self.folder / "c"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.ctl_path))
        listener.listen(4)
        life_read, self.life_write = os.pipe()
        proxy = self.folder / "proxy"
        proxy.write_text(PROXY)
        proxy.chmod(0o755)
        rows = {"notify": self.folder / "n", "log": self.folder / "log", "proxy-log": self.folder / "plog",
                "cwd": self.folder, "proxy": proxy, "log-max-bytes": 65536, "memory-bytes": 0, "backoff-ms": 20,
                "backoff-max-ms": 100, "term-ms": 500, **extra}
        records = [f"{k}={v}" for k, v in rows.items()]
        records += [f"arg={word}" for word in command]
        records += ["env=PATH=/usr/bin:/bin", "env=X=first", "env=X=last", "proxy-env=PATH=/usr/bin:/bin",
                    f"proxy-env=NOTIFY_SOCKET={self.folder / 'n'}"]
        spec = self.folder / "spec"
        spec.write_bytes(b"".join(r.encode() + b"\0" for r in records))

        # Held high, so that placing one does not overwrite the other.
        listener_fd = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 20)
        life_fd = fcntl.fcntl(life_read, fcntl.F_DUPFD, 20)

        def place():
            os.dup2(listener_fd, 3)
            os.dup2(life_fd, 4)

        self.process = subprocess.Popen([binary("lull-replica"), spec], preexec_fn=place, pass_fds=(3, 4),
                                        env={"LULL_LIFELINE_FD": "4"}, stdin=subprocess.DEVNULL)
        for fd in (listener_fd, life_fd, life_read):
            os.close(fd)
        listener.close()
        self.connect()

    def connect(self):
        self.ctl = socket.socket(socket.AF_UNIX)
        self.ctl.settimeout(40)
        self.ctl.connect(str(self.ctl_path))
        self.lines = self.ctl.makefile("r")

    def until(self, condition):
        while True:
            line = self.lines.readline()
            assert line, "the replica closed its control connection"
            state = json.loads(line)
            if condition(state):
                return state

    def order(self, text):
        self.ctl.sendall(text.encode() + b"\n")

    def log(self, suffix=""):
        """What the function wrote, out of the entries that container runtimes write."""
        try:
            text = (self.folder / f"log{suffix}").read_text()
        except FileNotFoundError:  # just being renamed to log.1
            return ""
        entries = re.findall(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout ([FP]) (.*\n)", text, re.M)
        assert len(entries) == text.count("\n"), text[-300:]
        return "".join(line if tag == "F" else line[:-1] for tag, line in entries)

    def close(self):
        if self.life_write is not None:
            os.close(self.life_write)
            self.life_write = None
        self.ctl.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def replica(home):
    made = []

    def make(command, **extra):
        made.append(Replica(home, command, **extra))
        return made[-1]

    yield make
    for r in made:
        r.close()


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_runs_and_says_ready(replica):
    r = replica(["sh", "-c", "echo started $X; exec sleep 1000"])
    state = r.until(lambda s: s["ready"])
    assert state["phase"] == "running" and alive(state["pid"]) and alive(state["proxyPid"])
    wait_for(lambda: r.log() == "started last\n", 5, "the function's output in the log")


def test_stop_drains_the_proxy_first_then_the_function(replica):
    r = replica(["sh", "-c", "trap 'echo told to stop; exit 0' TERM; echo up; while :; do sleep 0.05; done"],
                **{"term-ms": 10000})
    state = r.until(lambda s: s["ready"])
    wait_for(lambda: (r.folder / "log").exists() and "up" in r.log(), 5, "the function's trap")
    r.order("stop 5000")
    r.until(lambda s: s["phase"] == "terminating")
    assert not alive(state["proxyPid"])
    r.until(lambda s: s["phase"] == "ended")
    assert r.process.wait(timeout=30) == 0
    assert "told to stop" in r.log()


def test_a_function_that_ignores_the_signal_is_killed(replica):
    r = replica(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    state = r.until(lambda s: s["ready"])
    r.order("stop 5000")
    r.until(lambda s: s["phase"] == "ended")
    r.process.wait(timeout=30)
    assert not alive(state["pid"])


def test_a_crash_is_restarted_with_its_exit_code_and_last_line(replica):
    r = replica(["sh", "-c", "echo one; echo the reason >&2; exit 7"])
    state = r.until(lambda s: s["phase"] == "backoff" and s["restarts"] >= 2)
    assert state["code"] == 7 and state["message"] == "the reason" and not state["ready"]


def test_a_crash_and_return_becomes_ready_again(replica, home):
    r = replica(["sh", "-c", "[ -e once ] || { touch once; sleep 0.2; exit 1; }; exec sleep 1000"])
    r.until(lambda s: s["ready"])
    r.until(lambda s: not s["ready"])
    state = r.until(lambda s: s["ready"])
    assert state["restarts"] == 1


def test_a_program_that_does_not_exist_is_named(replica):
    r = replica(["no-such-program-here"])
    state = r.until(lambda s: s["phase"] == "backoff")
    assert state["code"] == -1 and "cannot execute no-such-program-here: No such file" in state["message"]


def test_lifeline_ends_everything_with_daemons(replica, home):
    r = replica(["sh", "-c", "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & exec sleep 1000"])
    state = r.until(lambda s: s["ready"])
    daemon = int(wait_for(lambda: (home / "daemon").exists() and (home / "daemon").read_text(), 5, "the daemon"))
    os.close(r.life_write)
    r.life_write = None
    r.process.wait(timeout=2)
    assert not any(alive(p) for p in (daemon, state["pid"], state["proxyPid"]))


def test_killed_itself_it_leaves_no_direct_child(replica):
    r = replica(["sleep", "1000"])
    state = r.until(lambda s: s["ready"])
    r.process.send_signal(signal.SIGKILL)
    r.process.wait(timeout=30)
    wait_for(lambda: not alive(state["pid"]) and not alive(state["proxyPid"]), 2, "children gone with it")


def test_lives_on_without_its_agent_and_answers_the_next(replica):
    r = replica(["sleep", "1000"])
    first = r.until(lambda s: s["ready"])
    r.ctl.close()
    r.connect()
    again = r.until(lambda s: True)
    assert again["pid"] == first["pid"] and again["ready"]


def test_logs_are_bounded(replica, home):
    r = replica(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line number $i; i=$((i+1)); done; exec sleep 1000"])
    wait_for(lambda: (home / "log").exists() and "line number 19999" in r.log(), 20, "the last line in the log")
    assert (home / "log").stat().st_size <= 65536 and (home / "log.1").stat().st_size <= 65536


def test_each_run_has_its_own_log(replica, home):
    r = replica(["sh", "-c", "n=$(cat runs 2>/dev/null || echo 0); echo $((n + 1)) > runs; printf 'run %s, ' $n; sleep 0.05; "
                 "echo to its end; printf 'last words'; [ $n -lt 2 ] || exec sleep 1000; exit 3"])
    state = r.until(lambda s: s["phase"] == "backoff")
    assert state["message"] == "last words"
    wait_for(lambda: r.log() == "run 2, to its end\nlast words", 10, "the third run's log")
    assert r.log(".previous") == "run 1, to its end\nlast words" and not (home / "log.previous.1").exists()


@pytest.mark.parametrize("records, wrong", [
    (b"", "does not end with NUL"),
    (b"arg=x\0", "notify"),
    (b"bogus=1\0", "unknown key"),
    (b"term-ms=-4\0", "term-ms"),
])
def test_a_bad_specification_is_refused_by_name(home, records, wrong):
    (home / "spec").write_bytes(records)
    got = subprocess.run([binary("lull-replica"), home / "spec"], capture_output=True, text=True, timeout=5, check=False)
    assert got.returncode == 1 and wrong in got.stderr


def test_an_order_may_come_in_pieces(replica):
    r = replica(["sleep", "1000"])
    r.until(lambda s: s["ready"])
    for piece in (b"sto", b"p 50", b"00\nki"):
        r.ctl.sendall(piece)
        assert r.process.poll() is None
    r.until(lambda s: s["phase"] == "ended")
    assert r.process.wait(timeout=30) == 0


def test_an_order_that_is_none_is_not_obeyed(replica):
    r = replica(["sleep", "1000"])
    state = r.until(lambda s: s["ready"])
    r.ctl.sendall(b"stop soon\nstopp 1\nkillall\n" + b"x" * 200)
    r.ctl.close()
    r.connect()
    assert r.until(lambda s: True)["pid"] == state["pid"] and alive(state["pid"])


def test_last_words_need_no_newline_and_are_those_of_the_last_run(replica):
    r = replica(["sh", "-c", "[ -e once ] && exit 4; touch once; printf 'no newline'; exit 3"])
    state = r.until(lambda s: s["phase"] == "backoff")
    assert state["code"] == 3 and state["message"] == "no newline"
    state = r.until(lambda s: s["phase"] == "backoff" and s["code"] == 4)
    assert state["message"] == ""


def test_a_folder_that_is_gone_is_named(replica, home):
    (home / "work").mkdir()
    r = replica(["sh", "-c", "rmdir ../work; exit 1"], cwd=home / "work")
    state = r.until(lambda s: s["code"] == -1)
    assert f"its folder {home / 'work'} is not there" in state["message"]


def test_a_killed_queue_proxy_comes_back(replica):
    r = replica(["sleep", "1000"])
    state = r.until(lambda s: s["ready"])
    os.kill(state["proxyPid"], signal.SIGKILL)
    r.until(lambda s: not s["ready"])
    again = r.until(lambda s: s["ready"])
    assert again["proxyPid"] not in (0, state["proxyPid"]) and again["pid"] == state["pid"]


def test_a_client_too_many_takes_the_place_of_an_old_one(replica):
    r = replica(["sleep", "1000"])
    first = r.until(lambda s: s["ready"])
    others = []
    for _ in range(8):
        others.append((r.ctl, r.lines))
        r.connect()
        assert r.until(lambda s: True)["pid"] == first["pid"]
    r.order("stop 1000")
    r.until(lambda s: s["phase"] == "ended")
    for ctl, _ in others:
        ctl.close()


def test_orphans_of_the_function_make_no_noise(replica, home):
    """Each orphan that ends is reaped by lull-replica; nobody is told, since nothing changed."""
    r = replica(["sh", "-c", "i=0; while [ $i -lt 50 ]; do (sleep 0 &); i=$((i+1)); done; touch done; exec sleep 1000"])
    r.until(lambda s: s["ready"])
    wait_for(lambda: (home / "done").exists(), 10, "all orphans")
    r.order("stop 1000")
    told = []
    r.until(lambda s: told.append(s) or s["phase"] == "ended")
    assert len(told) <= 6, told
