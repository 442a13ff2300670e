# SPDX-License-Identifier: Apache-2.0
"""What the activator does for the parts that deal with events: wake requests, and what it hands on to lull-broker.
The surroundings are those of test_activator.py."""
import http.server
import json
import socket
import subprocess
import threading

import pytest
from conftest import binary
from fake_api import route
from lull_client import wait_for
from test_activator import results, world  # noqa: F401  (a fixture)


def test_a_wake_request_is_held_and_answered_here(world):  # noqa: F811
    world.function(concurrency=1)
    world.start()
    woken = world.in_background(2, local=True, host="hello.default.svc", headers={"Lull-Wake": "1"}, method="POST",
                                body=b"ignored")
    assert world.state()["held"] == 2 and world.counter("pokes") >= 1
    it = world.replica("a", "hello-1")
    assert [r.status for r in results(woken)] == [204, 204]
    assert it.seen == [] and world.counter("wakes") == 2
    wait_for(lambda: world.state()["held"] == 0, 20, "nothing is left behind")
    got = world.get("hello.default.svc", local=True)  # the slots of both are free again
    assert got.status == 200
    assert world.get("hello.default.svc", local=True, headers={"Lull-Wake": "1"}).status == 204
    assert len(it.seen) == 1


def test_a_wake_request_from_outside_is_an_ordinary_one(world):  # noqa: F811
    world.function()
    it = world.replica("a", "hello-1")
    world.start()
    got = world.get(headers={"Lull-Wake": "1"})
    assert got.status == 200 and "lull-wake" not in it.seen[0][2] and world.counter("wakes") == 0
    assert world.get("nobody.default.svc", local=True, headers={"Lull-Wake": "1"}).status == 404


def test_a_wake_request_hears_why_there_is_no_replica(world):  # noqa: F811
    world.function(failed="ExitCode1", message="the container ended with 1: boom")
    world.start("--fail-grace", "200ms")
    got = world.get("hello.default.svc", local=True, headers={"Lull-Wake": "1"})
    assert got.status == 503 and "boom" in got.text


# --- lull-broker -----------------------------------------------------------------------------------------------------


class FakeBroker(http.server.ThreadingHTTPServer):
    """Answers 202 and remembers what came."""
    daemon_threads = True

    def __init__(self):
        self.seen, self.gate = [], threading.Event()
        self.gate.set()
        super().__init__(("127.0.0.1", 0), FakeBrokerRequest)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that went

    def close(self):
        self.shutdown()
        self.server_close()


class FakeBrokerRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.gate.wait(60)
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(202)
        self.send_header("Location", "/_lull/async/1")
        self.send_header("K-Lull-Secret", "no")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"taken")

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args):
        pass


@pytest.fixture
def broker():
    it = FakeBroker()
    yield it
    it.close()


ASYNC = {"Prefer": "return=minimal, Respond-Async; wait=5"}


def test_what_goes_to_the_broker(world, broker):  # noqa: F811
    world.function()
    it = world.replica("a", "hello-1")
    world.start("--broker", broker.url)
    got = world.get(path="/x?y=1", method="POST", body=b"work",
                    headers={**ASYNC, "Lull-Async-Host": "other.default.svc", "X-Keep": "2", "K-Proxy-Request": "x"})
    assert got.status == 202 and got.headers["Location"] == "/_lull/async/1" and "K-Lull-Secret" not in got.headers
    method, path, headers, body = broker.seen.pop()
    assert (method, path, body) == ("POST", "/_lull/async/x?y=1", b"work")
    assert headers["lull-async-host"] == "hello.default.svc.cluster.local" and headers["lull-async-origin"] == "public"
    assert headers["x-keep"] == "2" and headers["x-forwarded-for"] == "127.0.0.1" and headers["lull-hops"] == "1"
    # by path, on the private listener
    assert world.get("any", "/_lull/default/hello?q", local=True, headers=ASYNC).status == 202
    _, path, headers, _ = broker.seen.pop()
    assert path == "/_lull/async/?q" and headers["lull-async-origin"] == "local"
    # results and hooks, whatever the host; namespaces of that name cannot be called by path
    assert world.get("any", "/_lull/async/0123").status == 202
    assert world.get("any", "/_lull/hooks/default/github?x", method="POST", body=b"{}").status == 202
    assert [seen[1] for seen in broker.seen] == ["/_lull/async/0123", "/_lull/hooks/default/github?x"]
    assert "lull-async-host" not in broker.seen[0][2]
    assert it.seen == [] and world.counter("broker_passed") == 4


def test_what_stays_with_the_function(world, broker):  # noqa: F811
    world.function()
    own = route("own", {"hello-1": 100})
    own["metadata"]["annotations"] = {"lull.dev/async": "off"}
    world.api.put("routes", own)
    world.replica("a", "hello-1")
    world.start("--broker", broker.url)
    for headers in ({"Prefer": "respond-async, respond-sync"}, {"Prefer": "respond-asynchronously"},
                    {**ASYNC, "Content-Type": "application/grpc"}, {}):
        assert world.get(headers=headers).status == 200
    assert world.get("own.default.localhost", headers=ASYNC).status == 200
    assert world.get("nobody.default.localhost", headers=ASYNC).status == 404
    got = world.get(headers={**ASYNC, "Connection": "Upgrade", "Upgrade": "websocket"})
    assert got.status == 400 and "respond-async" in got.text
    assert broker.seen == []


def test_without_a_broker(world):  # noqa: F811
    world.function()
    world.replica("a", "hello-1")
    world.start()
    assert world.get(headers=ASYNC).status == 200  # a preference that cannot be met is none
    got = world.get("any", "/_lull/async/0123")
    assert got.status == 501 and "--broker" in got.text


def test_the_first_call_waits_until_the_broker_is_there(world, broker, home):  # noqa: F811
    state = home / "broker.json"
    asked = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    asked.bind(str(home / "notify.sock"))
    asked.settimeout(20)
    world.function()
    world.start("--broker-state", str(state), env={"NOTIFY_SOCKET": str(home / "notify.sock")})
    assert asked.recv(100) == b"READY=1"
    waiting = world.in_background(3, method="POST", body=b"work", headers=ASYNC)
    assert asked.recv(100) == b"X_BROKER=1"
    state.write_text(json.dumps({"state": "starting", "url": broker.url, "message": ""}))
    assert asked.recv(100) == b"X_BROKER=1" and broker.seen == []
    state.write_text(json.dumps({"state": "ready", "url": broker.url, "message": ""}))
    assert [r.status for r in results(waiting)] == [202] * 3
    asked.close()


def test_a_broker_that_went_comes_back_elsewhere(world, broker, home):  # noqa: F811
    state = home / "broker.json"
    gone = FakeBroker()
    state.write_text(json.dumps({"state": "ready", "url": gone.url, "message": ""}))
    world.function()
    world.start("--broker-state", str(state))
    assert world.get(headers=ASYNC).status == 202
    gone.close()
    state.write_text(json.dumps({"state": "starting", "url": gone.url, "message": ""}))
    waiting = world.in_background(2, headers={**ASYNC, "Connection": "close"})
    state.write_text(json.dumps({"state": "ready", "url": broker.url, "message": ""}))
    assert [r.status for r in results(waiting)] == [202] * 2


def test_a_broker_that_cannot_be_started_says_why(world, home):  # noqa: F811
    state = home / "broker.json"
    state.write_text(json.dumps({"state": "failed", "url": "", "message": "redis-server is not installed"}))
    world.function()
    world.start("--broker-state", str(state))
    got = world.get(headers=ASYNC, timeout=60)
    assert got.status == 503 and "not installed" in got.text and "Retry-After" in got.headers


def test_a_client_that_leaves_and_the_end(world, broker, home):  # noqa: F811
    broker.gate.clear()
    world.function()
    world.start("--broker", broker.url, "--drain", "300ms")
    with socket.create_connection(("127.0.0.1", world.public)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: hello.default.localhost\r\nPrefer: respond-async\r\n\r\n")
        wait_for(lambda: world.counter("broker_passing") == 1, 20, "it is on its way")
    wait_for(lambda: world.counter("broker_passing") == 0, 20, "it was let go")
    world.in_background(2, headers=ASYNC)
    world.process.terminate()
    assert world.process.wait(30) == 0
    broker.gate.set()


def test_a_bad_broker_option(world):  # noqa: F811
    for text in ("https://broker", "http://:0", "nonsense"):
        it = subprocess.run([binary("lull-activator"), "--kubeconfig", str(world.api.kubeconfig(world.home / "k")),
                             "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0",
                             "--admin-listen", f"unix:{world.home}/a.sock", "--broker", text],
                            capture_output=True, text=True, timeout=30)
        assert it.returncode != 0 and "--broker" in it.stderr, text
