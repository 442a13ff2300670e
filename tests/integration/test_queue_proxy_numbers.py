# SPDX-License-Identifier: Apache-2.0
"""What lull-queue-proxy tells of its requests: metrics and the request log."""
import json
import os
import subprocess
import time

import exposition
import pytest
from conftest import binary
from http_raw import Backend, Client
from lull_client import wait_for
from queue_proxy import GET, HOST, POST, start  # noqa: F401  (start is the fixture)

NAMES = {"SERVING_NAMESPACE": "default", "SERVING_REVISION": 'hello"\\-1', "SERVING_SERVICE": "hello",
         "SERVING_CONFIGURATION": "hello"}


def test_the_page_of_metrics(start):  # noqa: F811
    proxy = start(**NAMES)
    with proxy.client() as c:
        for _ in range(3):
            assert c.ask(GET).status == 200
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)
    page = proxy.page("/metrics").body.decode()
    got = exposition.read(page)
    assert got[("lull_queue_requests_total", (("code", "2xx"),))] == 3
    for name in ("lull_queue_request_seconds", "kn_serving_invocation_duration_seconds"):
        assert got[(f"{name}_count", ())] == 3 and got[(f"{name}_sum", ())] > 0
    assert got[("kn_serving_queue_depth", ())] == 0
    assert 0 < got[("lull_queue_busy_seconds_total", ())] < 60
    assert exposition.value(page, "target_info", kn_revision_name='hello"\\-1', k8s_pod_name="pod-1") == 1
    assert exposition.promtool(page) in (None, "")


class Logged:
    """A queue-proxy whose standard output is a pipe of ours, or a file."""

    def __init__(self, home, stdout, **env):
        self.backend = Backend()
        self.path, self.admin = home / "q", home / "a"
        self.process = subprocess.Popen(
            [binary("lull-queue-proxy")], stdout=stdout, stderr=subprocess.DEVNULL,
            env={"LULL_QUEUE_LISTEN": f"unix:{self.path}", "LULL_ADMIN_LISTEN": f"unix:{self.admin}",
                 "USER_PORT": str(self.backend.port), "LULL_DRAIN_QUIET": "0s", "PATH": os.environ["PATH"],
                 "SERVING_POD_IP": "10.1.2.3", "SERVING_ENABLE_REQUEST_LOG": "true", **NAMES, **env})
        wait_for(self.ready, 30, "the queue-proxy is ready")

    def ready(self):
        try:
            return self.page("/readyz").status == 200
        except (FileNotFoundError, ConnectionRefusedError):  # not bound yet, not listening yet
            return False

    def page(self, path):
        with Client(self.admin) as c:
            return c.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(30) == 0
        self.backend.stop()


@pytest.mark.parametrize("probes", [False, True])
def test_a_line_per_request(home, probes):
    out = home / "log"
    with open(out, "wb") as f:
        it = Logged(home, f, SERVING_ENABLE_PROBE_REQUEST_LOG=str(probes).lower())
    with Client(it.path) as c:
        assert c.ask(GET).status == 200
        nasty = b'GET /a?"b\\c HTTP/1.1\r\n' + HOST + b'User-Agent: x"}\\\r\nReferer: <r>\r\n\r\n'
        c.ask(nasty)
        assert c.ask(b"GET /h HTTP/1.1\r\n" + HOST + b"K-Network-Probe: queue\r\n\r\n").body == b"queue"
        assert c.ask(POST + b"Content-Length: 5\r\nX-B3-TraceId: abc\r\n\r\nhello").status == 200
    it.end()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == (4 if probes else 3)
    first, second, last = lines[0]["httpRequest"], lines[1]["httpRequest"], lines[-1]
    assert (first["requestMethod"], first["requestUrl"], first["status"], first["protocol"]) == ("GET", "/", 200, "HTTP/1.1")
    assert first["remoteIp"] == "unix" and first["serverIp"] == "10.1.2.3" and first["latency"].endswith("s")
    assert float(first["latency"][:-1]) < 60
    assert second["requestUrl"] == '/a?"b\\c' and second["userAgent"] == 'x"}\\' and second["referer"] == "<r>"
    assert last["httpRequest"]["requestSize"] == "5" and last["traceId"] == "abc"
    assert int(last["httpRequest"]["responseSize"]) > 0


def test_a_template_of_ones_own(home):
    out = home / "log"
    with open(out, "wb") as f:
        it = Logged(home, f, SERVING_REQUEST_LOG_TEMPLATE="{{.Revision.Service}} {{.Request.Host}} {{.Response.Code}}")
    with Client(it.path) as c:
        c.ask(GET)
    it.end()
    assert out.read_text() == "hello a.example.com 200\n"


def test_a_template_that_is_none_is_told(home):
    got = subprocess.run([binary("lull-queue-proxy")], capture_output=True, text=True, timeout=30, check=False, env={
        "LULL_QUEUE_LISTEN": f"unix:{home}/q", "LULL_ADMIN_LISTEN": f"unix:{home}/a", "USER_PORT": "1",
        "SERVING_ENABLE_REQUEST_LOG": "true", "SERVING_REQUEST_LOG_TEMPLATE": "x {{.Request.Nothing}}"})
    assert got.returncode == 1 and "SERVING_REQUEST_LOG_TEMPLATE: " in got.stderr and ".Request.Nothing}}" in got.stderr


def test_a_reader_that_does_not_read_holds_nobody_up(home):
    """The pipe is full: requests go on, and what finds no room is counted."""
    r, w = os.pipe()
    it = Logged(home, w, SERVING_REQUEST_LOG_TEMPLATE="{{.Request.Header.Get \"X-Long\"}}")
    os.close(w)
    long = b"GET / HTTP/1.1\r\n" + HOST + b"X-Long: " + b"x" * 4000 + b"\r\n\r\n"
    n = 0
    end = time.monotonic() + 60
    with Client(it.path) as c:
        while exposition.value(it.page("/metrics").body.decode(), "lull_queue_request_log_dropped_total") == 0:
            assert time.monotonic() < end
            for _ in range(20):
                assert c.ask(long).status == 200
                n += 1
    assert n > 16  # a pipe alone takes as many
    it.process.terminate()
    with os.fdopen(r, "rb") as f:
        lines = f.read().splitlines()
    it.end()
    assert 16 <= len(lines) < n and set(lines) == {b"x" * 4000}
