# SPDX-License-Identifier: Apache-2.0
"""Replicas that announce themselves: the real activator and the real queue-proxy on loopback, with an API server that says
what a test wants it to say of the Pods, and when. What is forged, replayed, late or in too large numbers changes nothing."""
import hashlib
import hmac
import http.client
import http.server
import socket
import threading
import time
import uuid

import exposition
import pytest
from conftest import free_ports
from fake_api import revision, route
from http_raw import Backend
from lull_client import http_request, wait_for
from queue_proxy import Proxy
from test_activator import World, results

SECRET = b"the secret of this installation, 32 bytes or more"


def code(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest()


def key_of(revision_uid):
    return code(SECRET, b"lull announce key\n", revision_uid.encode()).encode()


def announcement(of, key=None, **fields):
    """The bytes for a Pod of the fake API; fields change single lines, key what it is signed with."""
    said = {"namespace": "default", "revision": of["revision"], "revision-uid": of["revision_uid"], "pod": of["name"],
            "pod-uid": of["uid"], "address": "127.0.0.1", "time": str(int(time.time() * 1000)),
            "nonce": uuid.uuid4().hex, **{k.replace("_", "-"): v for k, v in fields.items()}}
    text = "lull announcement 1\n" + "".join(f"{k} {v}\n" for k, v in said.items())
    signed = code(key or key_of(said["revision-uid"]), b"lull announcement\n", text.encode())
    return f"{text}code {signed}\n".encode()


class Announced(World):
    """An activator that takes announcements; Pods that the API shows without an address."""

    def __init__(self, home):
        super().__init__(home)
        self.proxies = []
        self.servers = []
        (home / "secret").write_bytes(SECRET + b"\n")

    def start(self, *options, **more):
        return super().start("--pod-address", "ip", "--install-secret-file", str(self.home / "secret"), "--announce=true",
                             *options, **more)

    def pod(self, name, rev="hello-1", port=8012, ip=None, ready=False, phase="Pending", going=False, probes=None, uid=None):
        """Puts or changes it; → what an announcement of it says."""
        obj = {"metadata": {"name": name, "labels": {"serving.knative.dev/revision": rev},
                            "uid": uid or str(uuid.uuid5(uuid.NAMESPACE_URL, name))},
               "spec": {"containers": [{"name": "user-container", **(probes or {})},
                                       {"name": "queue-proxy", "ports": [{"name": "queue-port", "containerPort": port}]}]},
               "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}
        if ip:
            obj["status"]["podIP"] = ip
        if going:
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.api.put("pods", obj)
        return {"name": name, "uid": obj["metadata"]["uid"], "revision": rev, "revision_uid": self.revision_uid(rev)}

    def revision_uid(self, rev):
        known = self.api.objects.get(("revisions", "default", rev))
        return known["metadata"]["uid"] if known else "no-such-revision"

    def proxy(self, of, port, backend=None, **env):
        """Its queue-proxy, which announces itself when its function listens."""
        home = self.home / of["name"]
        home.mkdir()
        backend = backend or Backend()
        it = Proxy(home, backend, LULL_QUEUE_LISTEN=f"127.0.0.1:{port}", LULL_ANNOUNCE=f"127.0.0.1:{self.local}",
                   LULL_ANNOUNCE_KEY=key_of(of["revision_uid"]).decode(), LULL_REVISION_UID=of["revision_uid"],
                   LULL_POD_UID=of["uid"], SERVING_NAMESPACE="default", SERVING_REVISION=of["revision"],
                   LULL_LOG="debug", **{"SERVING_POD": of["name"], "SERVING_POD_IP": "127.0.0.1", **env})
        self.proxies.append((it, backend))
        return it

    def say(self, body, local=True, path="/_lull/announce", method="POST"):
        return http_request(f"http://127.0.0.1:{self.local if local else self.public}{path}", method=method, body=body)

    def count(self, result):
        return exposition.value(self.metrics(), "lull_activator_announcements_total", result=result)

    def pending(self):
        return exposition.value(self.metrics(), "lull_activator_announced_replicas")

    def knows(self, n):
        """Waits until it has seen so many Pods."""
        wait_for(lambda: sum(len(r["replicas"]) for r in self.state()["revisions"]) == n, 20, f"{n} Pods are known")

    def ready(self, rev="hello-1"):
        """Replicas of the Revision that may be used: their addresses."""
        for r in self.state()["revisions"]:
            if r["revision"] == f"default/{rev}":
                return [p["address"] for p in r["replicas"] if p["state"] == "ready"]
        return []

    def stop(self):
        for it, backend in self.proxies:
            it.stop()
            if isinstance(backend, Backend):
                backend.stop()
        for server in self.servers:
            server.shutdown()
            server.server_close()
        super().stop()


@pytest.fixture
def world(home):
    it = Announced(home)
    yield it
    it.stop()


@pytest.mark.quick
def test_a_replica_is_used_before_the_api_has_its_address(world):
    world.function()
    world.start()
    (held,) = world.in_background()
    (port,) = free_ports(1)
    of = world.pod("a", port=port)
    world.proxy(of, port).ready()
    (got,) = results([held])
    assert got.status == 200
    timing = dict(part.strip().split(";dur=") for part in got.headers["Server-Timing"].split(","))
    assert float(timing["start"]) > 0 and float(timing["start"]) + float(timing["probe"]) <= float(timing["queue"]) + 0.01
    assert world.ready() == [f"127.0.0.1:{port}"]
    assert (world.count("accepted"), world.pending()) == (1, 1)
    # The API says the same, then that it is Ready: nothing changes but that the record goes.
    world.pod("a", port=port, ip="127.0.0.1", phase="Running")
    assert world.get().status == 200 and world.ready() == [f"127.0.0.1:{port}"]
    world.pod("a", port=port, ip="127.0.0.1", phase="Running", ready=True)
    wait_for(lambda: world.pending() == 0, 20, "the record is over")
    assert world.count("confirmed") == 1 and world.get().status == 200
    # From here on the API alone counts.
    world.pod("a", port=port, ip="127.0.0.1", phase="Running", going=True)
    wait_for(lambda: world.ready() == [], 20, "it is not used any more")


def test_a_pod_that_comes_after_its_announcement(world):
    world.function()
    world.start()
    (held,) = world.in_background()
    (port,) = free_ports(1)
    of = {"name": "a", "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, "a")), "revision": "hello-1",
          "revision_uid": world.revision_uid("hello-1")}
    world.proxy(of, port).ready()
    wait_for(lambda: world.count("unknown_pod") > 0, 20, "it said so before the API did")
    world.pod("a", port=port)
    assert results([held])[0].status == 200  # it said so again


@pytest.mark.parametrize("what, change", [
    ("another address", {"ip": "127.0.0.9", "phase": "Running"}),
    ("going away", {"going": True}),
    ("over", {"phase": "Failed"}),
    ("another Revision", {"rev": "hello-2"}),
    ("gone", None),
    ("another UID", {"uid": "another"})])
def test_what_the_api_denies_is_used_no_more(world, what, change):
    world.function()
    world.api.put("revisions", revision("hello-2"))
    world.start()
    (port,) = free_ports(1)
    of = world.pod("a", port=port)
    world.proxy(of, port).ready()
    wait_for(lambda: world.ready() == [f"127.0.0.1:{port}"], 20, "it is used")
    if change is None or "uid" in change:
        world.api.delete("pods", "a")
    if change is not None:
        world.pod("a", **{"port": port, **change})
    wait_for(lambda: world.ready() == [] and world.pending() == 0, 20, "it is not used any more")
    assert world.count("evicted") == 1
    # Said again, by its own queue-proxy's key, it is refused now.
    assert world.say(announcement(of)).status in (403, 410, 503)
    assert world.ready() == [] and world.ready("hello-2") == []


def test_what_is_refused_changes_nothing(world):
    world.function()
    world.api.put("revisions", revision("other-1"))
    world.start()
    good = world.pod("good")
    exec_ = world.pod("exec", probes={"startupProbe": {"httpGet": {}}})
    moved = world.pod("moved", ip="127.0.0.9", phase="Running")
    going = world.pod("going", going=True)
    other_key = key_of(world.revision_uid("other-1"))
    old = announcement(good, time=str(int(time.time() * 1000) - 61000))
    world.knows(4)
    before = world.state()["revisions"]
    for result, status, body in [
            ("malformed", 400, b""),
            ("malformed", 400, b"x" * 4000),
            ("malformed", 400, announcement(good) + b"\n"),
            ("malformed", 400, announcement(good, address="evil.example.com")),
            ("malformed", 400, announcement(good, pod="../../x")),
            ("forged", 403, announcement(good, key=b"k" * 64)),
            ("forged", 403, announcement(good, key=other_key)),  # another Revision's replica
            ("forged", 403, announcement(good).replace(b"pod good", b"pod evil")),
            ("forged", 403, announcement(good, key=SECRET)),
            ("stale", 409, old),
            ("stale", 409, announcement(good, time=str(int(time.time() * 1000) + 70000))),
            ("wrong_source", 403, announcement(good, address="127.0.0.2")),
            ("unknown_revision", 503, announcement(good, revision="nobody-1")),
            ("gone", 410, announcement(good, revision_uid="an-earlier-one")),  # the key of what was deleted
            ("unknown_pod", 503, announcement(good, pod="nobody")),
            ("gone", 410, announcement(good, pod_uid="an-earlier-one")),
            ("gone", 410, announcement(going)),
            ("other_revision", 403, announcement({**good, "revision": "other-1",
                                                  "revision_uid": world.revision_uid("other-1")})),
            ("kubelet", 409, announcement(exec_)),
            ("moved", 403, announcement(moved)),
            ("unproven", 502, announcement(good))]:  # nobody listens there
        counted = world.count(result)
        got = world.say(body)
        assert (got.status, got.text.split(":")[0]) == (status, result), got
        assert world.count(result) == counted + 1
    # Nor may anybody use the public door, or another method.
    assert world.say(announcement(good), local=False).status == 404
    assert world.say(None, method="GET").status == 404
    assert world.pending() == 0 and world.count("accepted") == 0
    assert world.state()["revisions"] == before


class Liar(http.server.BaseHTTPRequestHandler):
    """Listens where an announcement says and answers the question back, without the key, or with another Pod's proof."""
    protocol_version = "HTTP/1.1"
    headers_seen = []
    proof = staticmethod(lambda challenge: "0" * 64)

    def do_GET(self):
        challenge = self.headers["K-Lull-Challenge"]
        Liar.headers_seen.append(challenge)
        self.send_response(200)
        proof = type(self).proof(challenge)
        if proof:
            self.send_header("K-Lull-Proof", proof)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"queue")

    def log_message(self, *args):
        pass


def test_the_question_back_must_be_answered_by_the_pod_itself(world):
    world.function()
    world.start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    world.servers.append(server)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    of = world.pod("a", port=server.server_address[1])
    key = key_of(of["revision_uid"])
    world.knows(1)

    def proof_of(uid, address):
        return lambda challenge: code(key, b"lull proof\n", f"{challenge}\n{uid}\n{address}\n".encode())

    for lie in (lambda challenge: "0" * 64, lambda challenge: None, lambda challenge: "",
                proof_of("another-pod", "127.0.0.1"), proof_of(of["uid"], "127.0.0.2")):
        Liar.proof = staticmethod(lie)
        assert world.say(announcement(of)).status == 502
        assert world.ready() == [] and world.pending() == 0
    Liar.proof = staticmethod(proof_of(of["uid"], "127.0.0.1"))
    one = announcement(of)
    assert world.say(one).status == 200
    assert world.ready() == [f"127.0.0.1:{server.server_address[1]}"]
    assert world.say(one).status == 409 and world.count("replayed") == 1
    assert world.say(announcement(of)).status == 200 and world.count("known") == 1
    assert len(set(Liar.headers_seen)) == 6  # never the same question, and none for what was seen or known


def test_a_flood_is_bounded_and_disturbs_nobody(world):
    world.function()
    it_port, silent_port = free_ports(2)
    world.start()
    of = world.pod("well", port=it_port)
    world.proxy(of, it_port).ready()
    wait_for(lambda: world.get().status == 200, 20, "the function answers")
    conn = http.client.HTTPConnection("127.0.0.1", world.local)
    forged = announcement(world.pod("a"), key=b"x" * 64)
    for _ in range(2000):
        conn.request("POST", "/_lull/announce", forged)
        assert conn.getresponse().read().startswith(b"forged")
    conn.close()
    # With a key: Pods that never answer the question back. Only a few are asked at a time.
    silent = socket.create_server(("127.0.0.1", silent_port), backlog=64)
    pods = [world.pod(f"s{i}", port=silent_port) for i in range(40)]
    world.knows(42)
    answers = []
    threads = [threading.Thread(target=lambda p=p: answers.append(world.say(announcement(p)).status)) for p in pods]
    for t in threads:
        t.start()
    assert world.get().status == 200
    for t in threads:
        t.join(20)
    silent.close()
    assert set(answers) == {502, 503} and world.count("full") == answers.count(503) > 0
    assert world.ready() == [f"127.0.0.1:{it_port}"] and world.count("forged") == 2000
    assert world.get().status == 200


def test_the_other_activator_hears_of_it_and_limits_stay_exact(world, home):
    ports = free_ports(3)
    other_home = home / "other"
    other_home.mkdir()
    other = Announced(other_home)
    own_api, other.api = other.api, world.api
    own_api.close()
    try:
        world.function(concurrency=1)
        for it, own, peer in ((world, ports[0], ports[1]), (other, ports[1], ports[0])):
            it.start("--peer-listen", f"127.0.0.1:{own}", "--peers", f"127.0.0.1:{peer}", "--name", f"act-{own}")
        wait_for(lambda: world.counter("shards") == other.counter("shards") == 2, 20, "they see each other")
        held = world.in_background(3) + other.in_background(3)
        backend = Backend()
        world.proxy(world.pod("a", port=ports[2]), ports[2], backend, CONTAINER_CONCURRENCY=1).ready()
        assert {r.status for r in results(held)} == {200}
        assert backend.most == 1
        assert world.ready() == other.ready() == [f"127.0.0.1:{ports[2]}"]
        assert (world.count("accepted"), other.count("relayed")) == (1, 1)
        # Both let go when the API says otherwise.
        world.pod("a", port=ports[2], ip="127.0.0.9", phase="Running")
        wait_for(lambda: world.ready() == other.ready() == [], 20, "neither uses it any more")
    finally:
        other.stop()


def test_without_it_everything_works(world):
    world.function()
    World.start(world, "--pod-address", "ip")
    (held,) = world.in_background()
    (port,) = free_ports(1)
    of = world.pod("a", port=port)
    it = world.proxy(of, port).ready()
    wait_for(lambda: "does not take announcements" in (world.home / "a" / "log").read_text(), 20, "it heard a no, once")
    assert world.ready() == []
    world.pod("a", port=port, ip="127.0.0.1", phase="Running")  # not Ready yet: the activator asks by itself
    assert results([held])[0].status == 200
    assert it.process.poll() is None


def test_settings_that_cannot_work(world, home):
    for options, why in ((["--announce=true"], "--announce needs --install-secret-file"),
                         (["--announce=true", "--install-secret-file", str(home / "short")], "bytes")):
        (home / "short").write_text("short")
        it = World(home)
        it.start(*options, wait=False)
        assert it.process.wait(20) != 0
        it.stop()
        assert it.said(why)


class Listener:
    """Stands where an activator would: answers POSTs one after the other with the statuses given, the last one for ever."""

    def __init__(self, *statuses):
        self.statuses, self.bodies = list(statuses), []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.bodies.append((handler.path, body))
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                handler.send_response(status)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *args):  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_a_queue_proxy_says_it_until_it_was_heard(world):
    world.function()
    of = {"name": "a", "uid": "pod-uid", "revision": "hello-1", "revision_uid": "rev-uid"}
    listener = Listener(503, 502, 500, 200)
    world.local = listener.port
    (port,) = free_ports(1)
    world.proxy(of, port).ready()
    log = world.home / "a" / "log"
    wait_for(lambda: '"announced"' in log.read_text(), 20, "it was heard")
    assert [path for path, _ in listener.bodies] == ["/_lull/announce"] * 4
    key = key_of("rev-uid")
    nonces = set()
    for _, body in listener.bodies:
        text, _, signed = body.rpartition(b"code ")
        assert signed.decode().strip() == code(key, b"lull announcement\n", text)
        nonces.add(text.split(b"nonce ")[1])
    assert len(nonces) == 4
    listener.close()


def test_a_queue_proxy_takes_no_for_an_answer(world):
    world.function()
    listener = Listener(403)
    world.local = listener.port
    for name, env, words in (("refused", {}, "does not take announcements"),
                             ("nameless", {"SERVING_POD_IP": ""}, "cannot announce this replica")):
        (port,) = free_ports(1)
        of = {"name": name, "uid": "pod-uid", "revision": "hello-1", "revision_uid": "rev-uid"}
        world.proxy(of, port, **env).ready()
        log = world.home / name / "log"
        wait_for(lambda log=log, words=words: words in log.read_text(), 10, words)
        assert http_request(f"http://127.0.0.1:{port}/").status == 200
        assert len(listener.bodies) == 1
    listener.close()
