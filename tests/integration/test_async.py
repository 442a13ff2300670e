# SPDX-License-Identifier: Apache-2.0
"""Asynchronous calls in the real lull-broker with a real redis-server 7: taken, made, retried, fetched, called back,
and none lost whoever is killed. A server of the test's own stands for the activator and the function behind it."""
import collections
import http.server
import json
import random
import socket
import threading
import time

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for

HOST = "hello.default.svc.cluster.local"
CALL = {"Lull-Async-Host": HOST, "Lull-Async-Origin": "local"}


class Function:
    """What the gateway leads to. `answer(request)` gives (status, headers, body)."""

    def __init__(self, port=0):
        self.seen, self.lock, self.port = [], threading.Lock(), port
        self.running = self.most = 0
        self.answer = lambda request: (200, {"Content-Type": "text/plain", "X-Own": "1"}, b"did " + request["body"])
        self.server = None
        self.start()

    def start(self):
        function = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = {k.lower(): v for k, v in self.headers.items()}
                request.update(method=self.command, path=self.path, body=body, at=time.monotonic())
                with function.lock:
                    function.seen.append(request)
                    function.running += 1
                    function.most = max(function.most, function.running)
                try:
                    status, headers, body = function.answer(request)
                finally:
                    with function.lock:
                        function.running -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def of(self, path):
        with self.lock:
            return [r for r in self.seen if r["path"] == path]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class AsyncWorld(World):
    def __init__(self, home, fsync="no"):
        super().__init__(home, binary("lull-broker"), fsync)
        self.function = Function()
        self.more = ["--local-gateway", f"127.0.0.1:{self.function.port}", "--async-retry-delay", "20ms",
                     "--worker-silence", "3s"]

    def start(self, *more, **options):
        return super().start(*self.more, *more, **options)

    def call(self, path="/", body=b"", headers=None, method="POST", name="w1"):
        return self.post("/_lull/async" + path, {**CALL, **(headers or {})}, body, name, method=method)

    def made(self, *args, **more):
        """A call that was taken. → where its result is"""
        status, headers, body = self.call(*args, **more)
        assert status == 202, (status, body)
        return headers["location"]

    def result(self, location, wait=20, method="GET", name="w1", **headers):
        return self.post(location, {**({"Prefer": f"wait={wait}"} if wait else {}), **headers}, b"", name, method=method)

    def counter(self, name, worker="w1"):
        return self.metric(f"async_{name}_total", worker)

    def close(self):
        super().close()
        self.function.stop()


@pytest.fixture(scope="module")
def shared():
    with state_directory() as home:
        w = AsyncWorld(home)
        try:
            w.start("--async-retries", "3", "--async-max-body", "64Ki", "--async-max-result", "64Ki", "--async-keep-result", "2s",
                    "--async-max-calls", "30", "--async-timeout", "2s")
            yield w
        finally:
            w.close()


@pytest.fixture
def world(shared):
    shared.function.answer = lambda request: (200, {"Content-Type": "text/plain", "X-Own": "1"}, b"did " + request["body"])
    return shared


def test_a_call_is_made_and_its_result_fetched(world):
    status, headers, body = world.call("/a?b=1", b"work", {"X-Mine": "2", "Prefer": "respond-async, return=minimal", "Host": "public"})
    assert status == 202 and headers["preference-applied"] == "respond-async"
    assert json.loads(body)["location"] == headers["location"] == "/_lull/async/" + json.loads(body)["id"]
    status, headers, body = world.result(headers["location"])
    assert (status, body) == (200, b"did work")
    assert headers["x-own"] == "1" and headers["content-type"] == "text/plain" and headers["cache-control"] == "no-store"
    assert headers["lull-async-state"] == "done" and headers["lull-async-attempts"] == "1"
    seen = world.function.of("/a?b=1")[0]
    assert seen["method"] == "POST" and seen["body"] == b"work" and seen["host"] == HOST and seen["x-mine"] == "2"
    assert seen["prefer"] == "respond-sync, return=minimal"
    assert "lull-async-host" not in seen and seen["lull-async-attempt"] == "1"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_other_methods(world, method):
    location = world.made(f"/{method}", b"x" if method == "PUT" else b"", method=method)
    assert world.result(location)[0] == 200
    assert world.function.of(f"/{method}")[0]["method"] == method
    status, headers, body = world.result(location, method="HEAD")
    assert status == 200 and headers["lull-async-state"] == "done" and body == b""


@pytest.mark.parametrize("status", [204, 304, 404])
def test_answers_that_may_have_no_body(world, status):
    """RFC 9110, 8.6: 204 has no Content-Length; and what Lull says of a call is not the function's to say."""
    world.function.answer = lambda request: (status, {"Lull-Async-State": "waiting", "X-Own": "2"}, b"")
    got, headers, body = world.result(world.made(f"/none{status}"))
    assert (got, body, headers["x-own"]) == (status, b"", "2")
    assert headers["lull-async-state"] == "done"
    assert ("content-length" in headers) == (status == 404)


def test_a_result_that_is_not_there_yet(world):
    gate = threading.Event()
    world.function.answer = lambda request: (gate.wait(2) and 201 or 500, {}, b"late")
    location = world.made("/slow")
    status, headers, body = world.result(location, wait=0)
    assert status == 202 and headers["retry-after"] == "1" and headers["lull-async-state"] in ("waiting", "running")
    assert json.loads(body)["state"] == headers["lull-async-state"]
    assert world.result(location, wait=1)[0] == 202
    gate.set()
    assert world.result(location)[0] == 201


def test_waiting_with_the_call_itself(world):
    status, headers, body = world.call("/now", b"1", {"Prefer": "respond-async, wait=20"})
    assert (status, body) == (200, b"did 1") and "respond-async" in headers["preference-applied"]


def test_failures_are_tried_again_and_the_last_answer_is_the_result(world):
    answers = iter([(500, {}, b"no"), (503, {"Retry-After": "1"}, b"busy"), (200, {}, b"at last")])
    world.function.answer = lambda request: next(answers)
    status, headers, body = world.result(world.made("/thrice"))
    assert (status, body, headers["lull-async-attempts"]) == (200, b"at last", "3")
    tries = world.function.of("/thrice")
    assert [r["lull-async-attempt"] for r in tries] == ["1", "2", "3"] and tries[2]["at"] - tries[1]["at"] > 0.9
    world.function.answer = lambda request: (500, {}, b"never")
    status, headers, body = world.result(world.made("/never"))
    assert (status, body, headers["lull-async-attempts"]) == (500, b"never", "4")
    world.function.answer = lambda request: (404, {}, b"not mine")
    status, headers, body = world.result(world.made("/once"))
    assert (status, body, headers["lull-async-attempts"]) == (404, b"not mine", "1")


def test_no_answer_at_all(world):
    def hang(request):
        raise ConnectionError
    world.function.answer = hang
    status, headers, body = world.result(world.made("/gone"))
    assert status == 504 and headers["lull-async-state"] == "failed" and b"no answer" in body


def test_a_result_that_is_too_large_says_so(world):
    world.function.answer = lambda request: (200, {}, b"x" * 65537)
    status, headers, body = world.result(world.made("/large"))
    assert status == 502 and b"--async-max-result" in body and headers["lull-async-status"] == "200"
    world.function.answer = lambda request: (200, {}, b"x" * 65536)
    status, headers, body = world.result(world.made("/fits"))
    assert status == 200 and len(body) == 65536


def test_what_cannot_be_taken(world):
    assert world.call("/", b"x" * 65537)[0] == 413
    assert world.call("/" + "a" * 3000)[0] == 400
    assert world.call("/", headers={"Lull-Async-Host": "evil.example.com"})[0] == 400
    for url, status in (("nonsense", 400), ("http://169.254.169.254/latest", 403), ("ftp://x/", 400)):
        got = world.call("/", headers={"Lull-Callback": url})
        assert got[0] == status and b"Lull-Callback" in got[2], got
    for url in ("http://127.0.0.1:1/", "http://10.0.0.1/", f"http://{HOST}/"):
        assert world.call("/", headers={"Lull-Callback": url, "Lull-Async-Origin": "public"})[0] == 403
    assert world.post("/_lull/async/" + "0" * 48, {}, method="POST")[0] == 405
    assert world.post("/_lull/async", {}, method="GET")[0] == 404


def test_results_that_are_not_there(world):
    location = world.made("/short")
    assert world.result(location)[0] == 200
    for unknown in ("/_lull/async/x", location[:-2] + ("00" if location[-2:] != "00" else "11")):
        assert world.result(unknown, wait=0)[0] == 404
    wait_for(lambda: world.result(location, wait=0)[0] == 410, 60, "the result goes after its time")
    gate = threading.Event()
    world.function.answer = lambda request: (gate.wait(2) and 200, {}, b"")
    location = world.made("/deleted")
    assert world.result(location, wait=0, method="DELETE")[0] == 204
    assert world.result(location, wait=0)[0] == 404
    assert world.result(location, wait=0, method="DELETE")[0] == 404
    gate.set()


def test_an_idempotency_key(world):
    key = {"Idempotency-Key": '"k-1"'}
    first = world.made("/idem", b"same", key)
    assert world.made("/idem", b"same", key) == first
    status, _, body = world.call("/idem", b"other", key)
    assert status == 422 and b"Idempotency-Key" in body
    other = {**key, "Lull-Async-Host": "other.default.svc.cluster.local"}
    assert world.made("/idem", b"other", other) != first
    assert world.result(first)[0] == 200
    wait_for(lambda: len(world.function.of("/idem")) == 2, 60, "both are made, once each")
    wait_for(lambda: world.made("/idem", b"same", key) != first, 60, "the key goes with the result")


def test_an_idempotency_key_that_comes_at_once(world):
    key, places = {"Idempotency-Key": '"k-2"'}, []
    callers = [threading.Thread(target=lambda: places.append(world.made("/at-once", b"same", key))) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(places) == 16 and len(set(places)) == 1
    assert world.result(places[0])[0] == 200 and len(world.function.of("/at-once")) == 1


def test_a_result_is_called_back(world):
    back = world.sink(lambda request: (500, {}, b"") if len(back.events) < 3 else (204, {}, b""))
    location = world.made("/back", b"me", {"Lull-Callback": back.url + "done?x"})
    wait_for(lambda: len(back.events) == 3, 60, "called back until it is taken")
    got = back.events[-1]
    assert got["path"] == "/done?x" and got["body"] == b"did me" and got["content-type"] == "text/plain"
    assert got["lull-async-status"] == "200" and location.endswith(got["lull-async-id"])
    assert len(world.function.of("/back")) == 1
    status, headers, body = world.result(location)
    assert (status, body) == (200, b"did me")


def test_too_many_are_refused(world):
    gate = threading.Event()
    world.function.answer = lambda request: (gate.wait(60) and 200, {}, b"")
    full = {"Lull-Async-Host": "full.default.svc.cluster.local"}
    statuses = collections.Counter(world.call(f"/full/{i}", headers=full)[0] for i in range(33))
    assert statuses == {202: 30, 429: 3}
    status, headers, body = world.call("/full", headers=full)
    assert status == 429 and headers["retry-after"] and b"--async-max-calls" in body
    assert world.call("/others")[0] == 202  # other functions have their own room
    gate.set()
