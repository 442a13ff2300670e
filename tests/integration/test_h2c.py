# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 with prior knowledge, on the real binaries: client → activator → queue-proxy → function, where the function is
a real gRPC server; and floods of frames (hostile clients) at both proxies."""
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import grpc
import pytest
from conftest import BUILD, binary, free_ports
from fake_api import FakeApi, pod, revision, route
from http_raw import Client
from lull_client import http_request, wait_for

GRPC_FUNCTION = pathlib.Path(__file__).resolve().parents[1] / "lib" / "grpc_function.py"
HOST = "hello.default.localhost"


class Part:
    """A process whose output is read as it comes."""

    def __init__(self, command, env=None):
        self.lines = []
        self.process = subprocess.Popen(list(map(str, command)), env=env, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def said(self, pattern):
        return next((m for m in (re.search(pattern, line) for line in list(self.lines)) if m), None)

    def wait_said(self, pattern, seconds=20):
        return wait_for(lambda: self.said(pattern), seconds, f"{pattern!r} in {self.lines}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.reader.join(10)
        text = "".join(self.lines)
        assert "Sanitizer" not in text and "runtime error" not in text, text


class World:
    """An activator, a queue-proxy and a gRPC function, one of each."""

    def __init__(self, home):
        self.home, self.parts = home, []
        self.api = FakeApi()

    def part(self, *command, env=None):
        self.parts.append(Part(command, env))
        return self.parts[-1]

    def start(self, *options, ready=True, **env):
        self.function = self.part(sys.executable, GRPC_FUNCTION, 0)
        port = self.function.wait_said(r"listens (\d+)")[1]
        (self.queue_port,) = free_ports(1)
        self.queue = self.part(binary("lull-queue-proxy"), env={
            "LULL_QUEUE_LISTEN": f"unix:{self.home}/q,127.0.0.1:{self.queue_port}",
            "LULL_ADMIN_LISTEN": f"unix:{self.home}/a", "USER_PORT": port, "QUEUE_SERVING_PORT": "8013",
            "LULL_DRAIN_QUIET": "50ms", **env})
        self.queue.wait_said('"ready":true')
        it = pod("pod-1", "hello-1", f"unix:{self.home}/q")
        it["spec"] = {"containers": [{"name": "queue-proxy", "ports": [{"name": "queue-port-h2c",
                                                                        "containerPort": 8013}]}]}
        self.pod = it
        if ready:
            self.api.put("pods", it)
        self.api.put("revisions", revision("hello-1"))
        self.api.put("routes", route("hello", {"hello-1": 100}))
        self.activator = self.part(
            binary("lull-activator"), "--kubeconfig", self.api.kubeconfig(self.home / "kubeconfig"),
            "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0",
            "--admin-listen", f"unix:{self.home}/admin.sock", "--pod-address", "unix", *options)
        self.public = int(self.activator.wait_said(r'"public_port":(\d+)')[1])
        wait_for(lambda: self.admin("/readyz").returncode == 0, 10, "the lists are in")
        if ready:
            wait_for(lambda: self.get("/").status != 404, 10, "the route is known")
        return self

    def get(self, path, **headers):
        return http_request(f"http://127.0.0.1:{self.public}{path}", headers={"Host": HOST, **headers})

    def admin(self, path):
        return subprocess.run(["curl", "-fsS", "--unix-socket", self.home / "admin.sock", f"http://admin{path}"],
                              capture_output=True, check=False, text=True)

    def channel(self):
        return grpc.insecure_channel(f"127.0.0.1:{self.public}", (("grpc.default_authority", HOST),
                                                                  ("grpc.enable_http_proxy", 0)))

    def stop(self):
        self.api.close()
        for part in self.parts:
            part.stop()


@pytest.fixture
def world(home):
    it = World(home)
    yield it
    it.stop()


def iter_then(first, gate, second):
    yield first
    gate.wait(60)
    yield second


def metadata(pairs):
    return {k: v for k, v in pairs}


def test_readiness_is_asked_of_the_health_service_at_a_port_of_its_own(world):
    function = world.part(sys.executable, GRPC_FUNCTION, 0)
    port = function.wait_said(r"listens (\d+)")[1]

    def queue_proxy(name, service):
        return world.part(binary("lull-queue-proxy"), env={
            "LULL_QUEUE_LISTEN": f"unix:{world.home}/{name}.q", "LULL_ADMIN_LISTEN": f"unix:{world.home}/{name}.a",
            "USER_PORT": "1", "LULL_PROBE_PORT": port, "LULL_DRAIN_QUIET": "50ms",
            "SERVING_READINESS_PROBE": '{"grpc":{"port":1,"service":"%s"},"periodSeconds":1}' % service})

    queue_proxy("echo", "echo").wait_said('"ready":true')
    assert sum(line == "check 0a046563686f\n" for line in function.lines) >= 3  # two said that it does not serve yet
    stranger = queue_proxy("other", "stranger")
    wait_for(lambda: sum(line.startswith("check 0a08") for line in function.lines) >= 3, 20, "three questions")
    assert not stranger.said('"ready":true')


def test_grpc_calls_pass_both_proxies(world):
    with world.start("--h2c").channel() as channel:
        unary = channel.unary_unary("/t.Echo/Unary")
        answer, call = unary.with_call(b"hello", timeout=20, metadata=(("x-ask", "7"),))
        assert answer == b"hello" and call.code() == grpc.StatusCode.OK
        assert metadata(call.initial_metadata())["x-first"] == "1"
        assert metadata(call.trailing_metadata())["x-last"] == "2"
        assert world.function.wait_said("unary 5 7")
        big = bytes(range(256)) * 8000
        assert unary(big, timeout=20) == big

        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary("/t.Echo/Fail")(b"", timeout=20)
        assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert failed.value.details() == "not today: 100 % sure"
        assert metadata(failed.value.trailing_metadata())["x-last"] == "3"

        with pytest.raises(grpc.RpcError) as failed:  # an answer that is only trailers
            channel.unary_unary("/t.Echo/Nothing")(b"", timeout=20)
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED

        sizes = [0, 1, 100, 70000]
        answers = channel.stream_stream("/t.Echo/Stream")(iter([b"a" * n for n in sizes]), timeout=20)
        assert [len(a) for a in answers] == sizes


def test_a_cancelled_call_is_cancelled_in_the_function(world):
    with world.start("--h2c").channel() as channel:
        call = channel.unary_unary("/t.Echo/Wait").future(b"", timeout=60)
        world.function.wait_said("waits")
        call.cancel()
        world.function.wait_said("ended cancelled")
        assert channel.unary_unary("/t.Echo/Unary")(b"next", timeout=20) == b"next"


def test_a_call_is_held_until_there_is_a_replica(world):
    with world.start("--h2c", ready=False).channel() as channel:
        unary = channel.unary_unary("/t.Echo/Unary")
        calls = [unary.future(b"%d" % i, timeout=60) for i in range(20)]

        def held():
            return re.search(r"^lull_activator_held_total 20$", world.admin("/metrics").stdout, re.M)

        wait_for(held, 20, "all calls are held")
        world.api.put("pods", world.pod)
        assert sorted(int(c.result()) for c in calls) == list(range(20))


def test_what_runs_outlives_the_drain_of_its_queue_proxy(world):
    with world.start("--h2c").channel() as channel:
        more = threading.Event()
        answers = channel.stream_stream("/t.Echo/Stream")(
            iter_then(b"first", more, b"second"), timeout=60)
        assert next(answers) == b"first"
        world.queue.process.send_signal(signal.SIGTERM)
        world.queue.wait_said('"draining"')
        more.set()
        assert next(answers) == b"second"
        assert not list(answers)
        assert world.queue.process.wait(20) == 0


def test_http1_reaches_the_function_as_http2(world):
    world.start()
    got = world.get("/t.Echo/Unary")
    # The gRPC server speaks nothing but HTTP/2; that it does not like a GET is its answer.
    assert got.status == 200 and got.headers["Content-Type"] == "application/grpc"
    assert got.headers["grpc-status"] == "2"


def test_what_http2_cannot_do_is_said(world):
    world.start()
    got = world.get("/", Connection="Upgrade", Upgrade="websocket")
    assert got.status == 501 and b"HTTP/2" in got.body
    with Client(world.public) as client:  # HTTP/2 from clients is off
        got = client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert got.status == 505 and b"HTTP/2" in got.body


# --- floods: frames that cost the proxies and move nothing ------------------------------------------------------

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CALM = 11


def frame(kind, flags=0, stream=0, body=b""):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def field(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def head(method=b"POST", path=b"/t.Echo/Unary"):
    return (field(b":method", method) + field(b":scheme", b"http") + field(b":path", path) +
            field(b":authority", HOST.encode()) + field(b"te", b"trailers") + field(b"content-type", b"application/grpc"))


def rapid_reset(i):
    return frame(HEADERS, END_HEADERS, 2 * i + 1, head()) + frame(RST, 0, 2 * i + 1, b"\0\0\0\x08")


def made_reset(i):  # the client breaks a rule of the stream, and it is the server that resets
    return frame(HEADERS, END_HEADERS, 2 * i + 1, head()) + frame(WINDOW, 0, 2 * i + 1, b"\x7f\xff\xff\xff")


def continuations(i):
    return frame(CONTINUATION, 0, 1, b"") if i else frame(HEADERS, 0, 1, head())


def empty_data(i):
    return frame(DATA, 0, 1, b"") if i else frame(HEADERS, END_HEADERS, 1, head())


FLOODS = [rapid_reset, made_reset, continuations, empty_data,
          lambda i: frame(SETTINGS, body=b"\0\3\0\0\0\x64"), lambda i: frame(PING, body=b"12345678"),
          lambda i: frame(WINDOW, body=b"\0\0\0\1"), lambda i: frame(PRIORITY, 0, 2 * i + 1, b"\0\0\0\0\x10")]


def flood(port, make):
    """Sends it; → the codes of the GOAWAY frames that came before the end of the connection."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        try:
            s.sendall(PREFACE + frame(SETTINGS) + b"".join(make(i) for i in range(3000)))
        except ConnectionError:
            pass  # closed before it had everything
        try:
            while chunk := s.recv(65536):
                got += chunk
        except ConnectionError:
            pass
    codes = []
    while len(got) >= 9:
        n = int.from_bytes(got[:3], "big")
        if got[3] == GOAWAY:
            codes.append(int.from_bytes(got[13:17], "big"))
        got = got[9 + n:]
    return codes


def resident_kib(process):
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text(), re.M)[1])


def test_floods_end_their_connection_and_nothing_else(world):
    world.start("--h2c")
    with world.channel() as channel:
        unary = channel.unary_unary("/t.Echo/Unary")
        assert unary(b"before", timeout=20) == b"before"
        parts = [world.activator.process, world.queue.process]
        before = [resident_kib(p) for p in parts]
        for port in (world.public, world.queue_port):
            for make in FLOODS:
                codes = flood(port, make)
                assert codes in ([CALM], []), make  # [] where it was closed while we were still sending
                assert unary(b"others", timeout=20) == b"others"
        # A sanitizer keeps what was freed.
        assert "asan" in BUILD.name or all(resident_kib(p) - b < 16 * 1024 for p, b in zip(parts, before))
