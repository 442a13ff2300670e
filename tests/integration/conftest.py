# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests on the real binaries: a state directory, free ports, a running Lull, its API.

No test sleeps for a while and hopes: `wait_for` polls a condition until a deadline. Everything a test
started ends with it; `lull` fails the test when a process of its Lull is still there afterwards."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from lull_client import Api, http_request, wait_for  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LULL_BUILD", ROOT / "build")).resolve()


def binary(name):
    """A built program by its file name, wherever it stands in the build folder."""
    found = [p for pattern in ("*/", "*/*/") for p in BUILD.glob(pattern + name) if p.is_file()]
    assert found, f"{name} is not in {BUILD}; build first"
    return found[0]


@pytest.fixture(scope="session")
def examples():
    return ROOT / "examples"


@contextlib.contextmanager
def state_directory():
    """A state directory with a short path (unix sockets have room for 107 bytes)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="lull-", dir="/tmp"))
    os.chmod(path, 0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def home():
    with state_directory() as path:
        yield path


@contextlib.contextmanager
def running_lull(*options):
    """A Lull of its own, for the fixture of a module; its logs are printed at the end."""
    with state_directory() as home:
        it = Lull(home)
        try:
            it.up(*options)
            yield it
        finally:
            print_logs(home)
            it.down()


def free_ports(n):
    """n TCP ports that nobody listens on, outside the range that the kernel gives to clients."""
    held = []
    try:
        while len(held) < n:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", 10000 + int.from_bytes(os.urandom(2), "big") % 9000))
                held.append(s)
            except OSError:
                s.close()
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def answering(it, deadline):
    """The API of a lull-local, once it answers. `it` has home, whose `out` is what it prints, and process."""
    def api():
        assert it.process.poll() is None, (it.home / "out").read_text()
        try:
            found = Api(it.home / "kubeconfig")
            return found.get("/version") and found
        except OSError:
            return None
    return wait_for(api, deadline, "the API")


class Lull:
    """One Lull on its own state directory and ports; `cli` runs the command against it."""

    def __init__(self, home):
        self.home = home
        self.public_port = self.local_port = self.api_port = 0  # known once it is up

    def env(self):
        keep = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "LULL_HOME")}
        return {**keep, "LULL_HOME": str(self.home)}

    def cli(self, *args, check=True, timeout=60):
        """Run `lull ARGS`; with check, a failure fails the test and shows what the command said."""
        got = subprocess.run([binary("lull"), *map(str, args)], env=self.env(), capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        assert not check or got.returncode == 0, f"lull {' '.join(map(str, args))}: {got.stdout}{got.stderr}"
        return got

    def json(self, *args):
        """The answer as JSON, also of a command that fails because something is not ready."""
        got = self.cli(*args, "-o", "json", check=False)
        try:
            return json.loads(got.stdout)
        except ValueError:
            raise AssertionError(f"lull {' '.join(map(str, args))}: {got.stdout}{got.stderr}") from None

    def up(self, *more):
        self.cli("up", "--detach", "--public-port", 0, "--local-port", 0, "--api-port", 0, "--broker-port", 0, *more)
        told = json.loads((self.home / "up.json").read_text())
        self.public_port, self.local_port, self.api_port = (told[f"{k}Port"] for k in ("public", "local", "api"))
        self.tls_port = told.get("tlsPort")  # with --tls-port
        return self

    def processes(self):
        """Pids and command lines of every process that belongs to this Lull, functions included."""
        found, mark = {}, f"LULL_HOME={self.home}".encode()
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                line = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if str(self.home) in line or mark in (p / "environ").read_bytes().split(b"\0") or \
                        str(self.home) in os.readlink(p / "cwd"):
                    # Between exec and its first instruction, and at its very end, a process has no command line.
                    found[int(p.name)] = line or f"[{(p / 'comm').read_text().strip()}]"
            except OSError:
                continue
        return found

    def part_pid(self, name):
        """The pid of one part, as lull-activator. A child that it has just forked looks like it for a moment."""
        def the_one():
            pids = [p for p, line in self.processes().items() if re.match(rf"\S*{name}( |$)", line)]
            return pids[0] if len(pids) == 1 else None
        return wait_for(the_one, 5, f"exactly one {name}")

    def api(self):
        return Api(self.home / "kubeconfig")

    def get(self, name, path="/", namespace="default", **more):
        """Call a function through the public ingress by its host name. → Response"""
        headers = {"Host": f"{name}.{namespace}.localhost:{self.public_port}", **more.pop("headers", {})}
        return http_request(f"http://127.0.0.1:{self.public_port}{path}", headers=headers, **more)

    def replicas(self, name, namespace="default"):
        pods = self.api().list(f"/api/v1/namespaces/{namespace}/pods",
                               labelSelector=f"serving.knative.dev/service={name}")
        return [p for p in pods if not p["metadata"].get("deletionTimestamp")]

    def wait_zero(self, name, deadline=60):
        wait_for(lambda: not self.replicas(name), deadline, f"{name} at zero")

    def down(self):
        self.cli("down", check=False)
        try:
            wait_for(lambda: not self.processes(), 10, "every process of this Lull has ended")
        except AssertionError:
            left = self.processes()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            raise AssertionError(f"processes left after lull down: {left}") from None


def unsafe_windows(lull, stable="3s"):
    """Short windows, so that a test sees a function go to zero in seconds."""
    lull.api().patch("/api/v1/namespaces/lull-system/configmaps/config-autoscaler",
                     {"data": {"allow-unsafe-windows": "true", "stable-window": stable,
                               "scale-to-zero-grace-period": "0s"}})


def print_logs(home):
    for log in sorted((home / "logs").glob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-30:]
        print(f"--- {log.name}", *tail, sep="\n")


@pytest.fixture
def lull(home, request):
    """A running Lull with windows of 3 s. Its logs are printed when the test fails."""
    it = Lull(home)
    try:
        it.up()
        unsafe_windows(it)
        yield it
    finally:
        if getattr(request.node, "failed", True):
            print_logs(home)
        it.down()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if outcome.get_result().when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture
def lull_home(home):
    """The same, not started."""
    it = Lull(home)
    yield it
    it.down()

