# SPDX-License-Identifier: Apache-2.0
"""Asynchronous calls on one machine: the first one starts what they need, and none is lost whatever ends."""
import http.server
import json
import os
import shutil
import signal
import threading

import pytest
from conftest import running_lull, unsafe_windows, wait_for
from lull_client import http_request

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

SLOW = """import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(float(self.headers.get("X-Sleep") or 0))
        self.send_response(200)
        self.send_header("X-Attempt", self.headers.get("Lull-Async-Attempt") or "none")
        self.send_header("Content-Length", str(5 + len(body)))
        self.end_headers()
        self.wfile.write(b"done " + body)
    do_GET = do_POST
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


@pytest.fixture(scope="module")
def up():
    with running_lull() as it:
        unsafe_windows(it)
        it.cli("deploy", "slow", "--", "python3", "-c", SLOW)
        it.wait_zero("slow")
        yield it


def parts_of_events(it):
    return [line for line in it.processes().values() if "redis-server" in line or "lull-broker" in line]


def port(up, name):
    return json.loads((up.home / "up.json").read_text())[name]


def call(up, body, **headers):
    """One call through the public listener. → the id when it was taken"""
    try:
        got = http_request(f"http://127.0.0.1:{port(up, 'publicPort')}/work", method="POST", body=body, timeout=60,
                           headers={"Host": "slow.default.localhost", "Prefer": "respond-async", **headers})
    except OSError:
        return None
    return got.json()["id"] if got.status == 202 else None


@pytest.mark.quick
def test_the_first_call_starts_what_it_needs_and_wakes_the_function(up):
    assert not parts_of_events(up)
    said = up.cli("invoke", "slow", "--async", "--data", "one")
    ident = said.stdout.strip()
    assert len(ident) == 48 and f"lull result {ident} --wait" in said.stderr
    assert len(parts_of_events(up)) == 2
    got = up.cli("result", ident, "--wait")
    assert got.stdout == "done one" and "HTTP 200" in got.stderr
    assert up.json("result", ident)["status"] == 200
    for option in ("--callback", "--idempotency-key"):
        assert f"{option} is for calls with --async" in up.cli("invoke", "slow", option, "x", check=False).stderr
    again = [up.cli("invoke", "slow", "--async", "--data", "two", "--idempotency-key", "k", "--quiet").stdout for _ in range(2)]
    assert again[0] == again[1]
    assert up.cli("result", again[0].strip(), "--delete").returncode == 0
    assert "no call has this id" in up.cli("result", again[0].strip(), check=False).stdout
    # outside, at the function's own host, as a client follows Location
    base = f"http://127.0.0.1:{port(up, 'publicPort')}"
    got = http_request(base, headers={"Host": "slow.default.localhost", "Prefer": "respond-async"})
    assert got.status == 202
    got = http_request(base + got.headers["Location"], headers={"Host": "slow.default.localhost", "Prefer": "wait=30"}, timeout=60)
    assert (got.status, got.text, got.headers["X-Attempt"]) == (200, "done ", "1")


def test_a_result_that_is_not_there_yet(up):
    ident = call(up, b"", **{"X-Sleep": "2"})
    got = up.cli("result", ident, check=False)
    assert got.returncode == 2 and "no result yet" in got.stderr
    assert up.cli("result", ident, "--wait").returncode == 0


def test_on_a_cluster_the_way_in_is_the_activators_service(up):
    """With a kubeconfig that is not this machine's own, the API server is a cluster's."""
    elsewhere = up.home / "elsewhere"
    elsewhere.write_text((up.home / "kubeconfig").read_text())

    def there(*words, check=True):
        return up.cli(*words, "--kubeconfig", elsewhere, check=check)

    public = port(up, "publicPort")
    nowhere = there("result", "0" * 48, check=False)
    assert nowhere.returncode == 1 and "Service lull-activator" in nowhere.stderr and "--url" in nowhere.stderr
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lull-activator", "namespace": "lull-system"},
               "spec": {"ports": [{"name": "other", "port": 1}, {"name": "http", "port": public}]}}
    (up.home / "service.json").write_text(json.dumps(service))
    up.cli("apply", "-f", up.home / "service.json")
    assert "port-forward service/lull-activator" in there("result", "0" * 48, check=False).stderr
    said = there("invoke", "slow", "--async", "--data", "said", "--url", f"http://127.0.0.1:{public}/").stdout.strip()
    assert up.cli("result", said, "--wait", "--url", f"http://127.0.0.1:{public}/").stdout == "done said"
    service["spec"]["externalIPs"] = ["127.0.0.1"]
    (up.home / "service.json").write_text(json.dumps(service))
    up.cli("apply", "-f", up.home / "service.json")
    found = there("invoke", "slow", "--async", "--path", "/x?y", "--data", "found").stdout.strip()
    assert there("result", found, "--wait").stdout == "done found"
    assert there("invoke", "slow", "--data", "now").stdout == "done now"


def test_a_callback_to_a_function(up):
    class Back(http.server.BaseHTTPRequestHandler):
        got = []

        def do_POST(self):
            self.got.append((self.headers["Lull-Async-Status"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Back)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    up.cli("invoke", "slow", "--async", "--data", "me", "--callback", f"http://127.0.0.1:{server.server_port}/")
    wait_for(lambda: Back.got == [("200", b"done me")], 60, "it is called back")
    refused = up.cli("invoke", "slow", "--async", "--callback", f"http://127.0.0.1:{port(up, 'apiPort')}/", check=False)
    assert refused.returncode == 1 and "Lull-Callback" in refused.stdout
    server.shutdown()


def test_none_is_lost_whatever_ends(up):
    taken = {}
    for n, victim in enumerate(("lull-broker", "redis-server", "lull-activator")):
        for i in range(4):
            body = f"{n}-{i}"
            ident = wait_for(lambda body=body: call(up, body.encode(), **{"X-Sleep": "0.2"}), 60, "a call is taken")
            taken[ident] = f"done {body}"
        before = up.part_pid(victim)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda victim=victim, before=before: up.part_pid(victim) not in (0, None, before), 60, f"{victim} again")
    wait_for(lambda: call(up, b"more"), 60, "calls are taken again")
    up.cli("down")
    up.up()  # nothing asks for the parts of events but what they keep
    wait_for(lambda: len(parts_of_events(up)) == 2, 60, "the parts of events are there again")
    assert len(taken) == 12
    for ident, text in taken.items():
        assert up.cli("result", ident, "--wait", "--timeout", "120").stdout == text
