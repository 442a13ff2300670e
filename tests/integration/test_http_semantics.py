# SPDX-License-Identifier: Apache-2.0
"""What HTTP/1.1 asks of a proxy, on raw sockets: the queue-proxy alone, the activator alone, and one behind the other."""
import os
import re
import signal
import socket
import threading
import time

import pytest
from conftest import free_ports
from fake_api import pod
from http_raw import OK, Backend, Client, Closed, Reader
from queue_proxy import POST, Proxy, start  # noqa: F401 (start is a fixture)
from lull_client import wait_for
from test_activator import World, world  # noqa: F401 (world is a fixture)

HOST = b"Host: hello.default.localhost\r\n"


def request(line=b"GET / HTTP/1.1", more=b"", body=b""):
    return line + b"\r\n" + HOST + more + b"\r\n" + body


GET = request()


class Hop:
    """What a client talks to (`port`), and the function behind it (`backend`)."""

    def __init__(self, kind, home):
        self.kind, self.home = kind, home
        self.cuts = False  # the test has requests cut off in the middle

    def start(self, answer=None, backend=None, concurrency=0, **env):
        self.backend = backend or Backend(answer)
        address, self.port = f"127.0.0.1:{self.backend.port}", None
        if self.kind != "activator":
            self.proxy = Proxy(self.home, self.backend, CONTAINER_CONCURRENCY=concurrency, **env)
            self.proxy.ready()
            self.port, address = self.proxy.port, f"unix:{self.proxy.path}"
        if self.kind != "queue-proxy":
            self.world = World(self.home)
            self.world.function(concurrency=concurrency)
            self.world.api.put("pods", pod("a", "hello-1", address))
            self.port = self.world.start().public
        return self

    def client(self, **more):
        return Client(self.port, **more)

    def stop(self):
        if hasattr(self, "world"):
            self.world.stop()
        if hasattr(self, "proxy"):
            self.proxy.stop()
        if hasattr(self, "backend"):
            self.backend.stop()
            bad = [e for e in self.backend.errors if not (self.cuts and e.startswith("cut in the middle"))]
            assert not bad, bad


@pytest.fixture(params=["queue-proxy", "activator", "chain"])
def hop(request, home):
    it = Hop(request.param, home)
    yield it
    it.stop()


# ---- trailers and chunks ----

def test_trailers_both_ways(hop):
    def answer(q, sock):
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Type: x\r\nSet-Cookie: a\r\nK-Lull-Refused: full\r\n\r\n")

    hop.start(answer)
    with hop.client() as c:
        for _ in range(2):
            r = c.ask(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked\r\nTrailer: X-In\r\nTE: trailers\r\n"
                              b"Connection: TE\r\n",
                              b'5;a="b;c"\r\nhello\r\n00;last\r\nX-In: one\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\n'
                              b"X-In: two\r\n\r\n"))
            assert (r.status, r.body, r.trailers) == (200, b"abc", [("X-Sum", "7")])
            assert r.get("Trailer") == "X-Sum"
            q = hop.backend.requests[-1]
            assert (q.body, q.trailers) == (b"hello", [("X-In", "one"), ("X-In", "two")])
            assert (q.get("Trailer"), q.get("TE"), q.get("Connection")) == ("X-In", "trailers", "TE")
        assert c.ask(GET).status == 200
    q = hop.backend.requests[-1]
    assert q.trailers == [] and q.get("TE") is None and q.get("Connection") is None


def test_framing_in_trailers_is_refused(hop):
    hop.start()
    hop.cuts = True
    for field in (b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X : 1", b"X: a\0"):
        with hop.client() as c:
            r = c.ask(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked\r\n", b"0\r\n" + field + b"\r\n\r\n"))
            assert r.status == 400 and c.closed()
    assert hop.backend.requests == []


def test_a_body_of_known_length_has_no_trailers(hop):
    """HTTP/1.0 clients get the body without chunks and without what stands behind it."""
    hop.start(lambda q, s: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n")
    with hop.client() as c:
        r = c.ask(request(b"GET / HTTP/1.0", b"Connection: keep-alive\r\nTE: trailers\r\n"))
        assert (r.status, r.body, r.framing) == (200, b"abc", "close")
    assert hop.backend.requests[-1].get("TE") is None


# ---- a kept connection that ended ----

class Closing:
    """A function that closes each kept connection when told to, and says how many requests it read."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.read, self.go, self.closed = [], threading.Event(), threading.Semaphore(0)
        self.errors = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        reader = Reader(sock)
        try:
            line, headers = reader.head()
        except Closed:  # a probe
            return
        self.read.append((line.split(" ")[0], reader.body(headers, False)[0]))
        sock.sendall(OK)
        self.go.wait(10)
        sock.close()
        self.closed.release()

    def stop(self):
        self.go.set()
        self.listener.close()


def test_a_connection_closed_while_idle_fails_no_request(start):
    """The queue-proxy is stopped while the function closes, so it writes before it can know."""
    function = Closing()
    proxy = start(port=function.port)
    proxy.ready()
    for i in range(5):
        function.go.clear()
        with proxy.client() as c:
            assert c.ask(POST + b"Content-Length: 1\r\n\r\na").status == 200
            os.kill(proxy.process.pid, signal.SIGSTOP)
            c.send(POST + b"Content-Length: 1\r\n\r\nb")
            function.go.set()
            assert function.closed.acquire(timeout=10)
            os.kill(proxy.process.pid, signal.SIGCONT)
            assert c.reply().status == 200
            assert function.closed.acquire(timeout=10)
    assert function.read == [("POST", b"a"), ("POST", b"b")] * 5
    function.stop()


# ---- one at once ----

class OneAtOnce:
    """A function that itself checks how many requests run in it, from the first byte of a head to the last of an
    answer, and that does not notice when its client goes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.running, self.most, self.begun, self.cut, self.errors = 0, 0, 0, 0, []
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def enter(self, by):
        with self.lock:
            self.running += by
            self.begun += by > 0
            self.most = max(self.most, self.running)

    def serve(self, sock):
        reader = Reader(sock)
        pause = threading.Event()  # never set: the work that a request is
        try:
            while True:
                _, headers = reader.head()
                self.enter(1)
                try:
                    reader.body(headers, False)
                except Closed:  # the request will not become complete; what it has begun goes on all the same
                    self.cut += 1
                    pause.wait(0.02)
                    self.enter(-1)
                    return
                pause.wait(0.005)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                pause.wait(0.005)
                self.enter(-1)
                sock.sendall(b"cd")
        except (Closed, OSError):
            pass
        finally:
            sock.close()

    def stop(self):
        self.listener.close()


ABORTS = [
    lambda c: c.send(GET),
    lambda c: c.send(request(b"POST / HTTP/1.1", b"Content-Length: 10\r\n", b"abc")),
    lambda c: c.send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked\r\n", b"3\r\nab")),
    lambda c: (c.send(GET), c.head()),
    lambda c: c.send(GET * 3),
]


@pytest.mark.parametrize("hop", ["queue-proxy", "chain"], indirect=True)
def test_never_two_at_once_through_client_aborts(hop):
    """A client that goes away does not make room: the function may still run."""
    function = OneAtOnce()
    hop.start(backend=function, concurrency=1)
    answered = []

    def stay():
        with hop.client(timeout=60) as c:
            answered.extend(c.ask(GET).body for _ in range(10))

    def leave(i):
        for n in range(10):
            with hop.client() as c:
                ABORTS[(i + n) % len(ABORTS)](c)
                if n % 2:
                    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    threads = [threading.Thread(target=stay) for _ in range(2)]
    threads += [threading.Thread(target=leave, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert answered == [b"abcd"] * 20
    assert function.most == 1 and function.begun > 20, (function.most, function.begun)
    hop.proxy.until(lambda: hop.proxy.metric("lull_queue_running") == 0)


def test_a_function_that_never_ends_frees_its_slot_at_the_timeout(start):
    gate = threading.Event()
    seen = []

    def answer(q, sock):
        seen.append(q.target)
        if q.target == "/stuck":
            gate.wait(120)
            sock.close()
            return None
        return OK

    proxy = start(answer, CONTAINER_CONCURRENCY=1, REVISION_TIMEOUT_SECONDS=3)
    with proxy.client() as c:
        c.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.until(lambda: seen == ["/stuck"])
    with proxy.client() as c:
        assert c.ask(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").status in (200, 504)  # it came soon after
        assert c.ask(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    gate.set()


def test_a_tunnel_whose_client_is_gone_ends_or_is_ended(start):
    """The function sees the end of its client's half; one that does not care is cut at timeoutSeconds."""
    cares, gate = [], threading.Event()

    def answer(q, sock):
        if not q.get("Upgrade"):
            return OK
        sock.sendall(SWITCH)
        while sock.recv(1000):
            pass
        cares.append(q.target)
        if q.target == "/stuck":
            gate.wait(120)
        sock.close()
        return None

    proxy = start(answer, CONTAINER_CONCURRENCY=1, REVISION_TIMEOUT_SECONDS=2)
    for path in (b"/fine", b"/stuck"):
        with proxy.client(tcp=True) as c:
            assert c.ask(request(b"GET " + path + b" HTTP/1.1", UPGRADE)).status == 101
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        proxy.until(lambda path=path: path.decode() in cares)
        proxy.until(lambda: proxy.metric("lull_queue_running") == 0)
    with proxy.client() as c:
        assert c.ask(GET).status == 200
    gate.set()


def test_a_start_timeout_answers_and_keeps_the_slot(start):
    """responseStartTimeoutSeconds is the client's; the function still runs, so the next one waits for its end."""
    gate, ends = threading.Event(), []

    def answer(q, sock):
        if q.target == "/late":
            gate.wait(120)
            ends.append("late")
        else:
            ends.append("next")
        return OK

    proxy = start(answer, CONTAINER_CONCURRENCY=1, REVISION_TIMEOUT_SECONDS=60,
                  REVISION_RESPONSE_START_TIMEOUT_SECONDS=3)
    with proxy.client() as c:
        r = c.ask(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (r.status, r.body) == (504, b"request timeout")
        assert proxy.metric("lull_queue_running") == 1
        gate.set()
        proxy.until(lambda: proxy.metric("lull_queue_running") == 0)
        assert c.ask(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert ends == ["late", "next"] and proxy.backend.most == 1


# ---- timeouts of a revision ----

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
UPGRADE = b"Upgrade: x\r\nConnection: Upgrade\r\n"


def echo(q, sock):
    """A WebSocket as far as a proxy can tell; anything else is never answered."""
    if q.get("Upgrade"):
        sock.sendall(SWITCH)
        while data := sock.recv(1000):
            sock.sendall(data)
    elif q.target == "/begun":
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        sock.recv(1)
    else:
        sock.recv(1)
    sock.close()


def test_the_activator_does_not_wait_for_a_queue_proxy_that_hangs(world):
    """The queue-proxy would have answered seconds before."""
    backend = Backend(echo)
    world.function(timeout=1)
    world.api.put("pods", pod("a", "hello-1", f"127.0.0.1:{backend.port}"))
    world.start()
    with Client(world.public) as tunnel, Client(world.public) as c, Client(world.public) as begun:
        assert tunnel.ask(request(more=UPGRADE)).status == 101
        begun.send(request(b"GET /begun HTTP/1.1"))
        r = c.ask(GET)
        assert (r.status, r.body) == (504, b"activator request timeout")
        assert begun.reply().body == b"begunactivator request timeout"
        assert tunnel.send(b"hello").exactly(5) == b"hello"
    wait_for(lambda: world.state()["revisions"][0]["replicas"][0]["inFlight"] == 0, 10, "nothing runs")
    backend.stop()


def test_knatives_clock_runs_from_arrival_at_the_activator(world):
    backend = Backend(echo)
    world.function(timeout=3)
    world.function("cold", timeout=3)
    world.api.put("pods", pod("a", "hello-1", f"127.0.0.1:{backend.port}"))
    world.start("--knative-timeouts=true")
    with Client(world.public) as held, Client(world.public) as tunnel, Client(world.public) as c:
        held.send(GET.replace(b"hello", b"cold"))
        assert tunnel.ask(request(more=UPGRADE)).status == 101
        assert c.ask(GET).status == 504
        r = held.reply()
        assert (r.status, r.body) == (504, b"activator request timeout")
        assert tunnel.closed()
    backend.stop()


TIMEOUTS = {"timeout": {"REVISION_TIMEOUT_SECONDS": 3},
            "start": {"REVISION_RESPONSE_START_TIMEOUT_SECONDS": 3},
            "idle": {"REVISION_IDLE_TIMEOUT_SECONDS": 3}}


@pytest.mark.parametrize("hop", ["chain"], indirect=True)
@pytest.mark.parametrize("which", TIMEOUTS)
def test_a_timeout_is_504_or_the_end_of_the_answer(hop, which):
    """The queue-proxy holds a request to the times of its revision, the activator passes that on."""
    hop.start(echo, **TIMEOUTS[which])
    with hop.client(timeout=30) as c, hop.client(timeout=30) as begun:
        begun.send(request(b"GET /begun HTTP/1.1"))
        r = c.ask(GET)
        assert (r.status, r.body) == (504, b"request timeout")
        if which != "start":
            r = begun.reply()
            assert (r.status, r.body) == (200, b"begunrequest timeout")
    hop.proxy.until(lambda: hop.proxy.metric("lull_queue_running") == 0)


@pytest.mark.parametrize("exact", [False, True])
def test_an_upgraded_connection_has_begun_unless_knative_is_asked_for(start, exact):
    proxy = start(echo, REVISION_TIMEOUT_SECONDS=3, REVISION_RESPONSE_START_TIMEOUT_SECONDS=3,
                  LULL_KNATIVE_TIMEOUTS=str(exact).lower())
    with proxy.client() as c, proxy.client() as clock:
        assert c.ask(request(more=UPGRADE)).status == 101
        assert clock.ask(GET).status == 504  # what began later has timed out
        if exact:
            assert c.closed()
        else:
            assert c.send(b"hello").exactly(5) == b"hello"


@pytest.mark.parametrize("exact", [False, True])
def test_an_upload_is_a_sign_of_life_unless_knative_is_asked_for(start, exact):
    """Bytes come until twice the time is over; Knative's clock runs all the same."""
    proxy = start(REVISION_IDLE_TIMEOUT_SECONDS=3, LULL_KNATIVE_TIMEOUTS=str(exact).lower())
    proxy.cuts = True
    pause, end = threading.Event(), time.monotonic() + 5
    with Client(proxy.path, timeout=30) as c:
        c.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            while time.monotonic() < end:
                c.send(b"1\r\nx\r\n")
                pause.wait(0.1)
            c.send(b"0\r\n\r\n")
        except OSError:
            assert exact
        assert c.reply().status == (504 if exact else 200)


# ---- slow clients ----

def test_slow_clients_have_limits_of_their_own(start):
    gate = threading.Event()

    def answer(q, sock):
        if q.method == "POST":
            return OK
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                sock.sendall(b"x" * 65536)
        finally:
            gate.set()

    proxy = start(answer, LULL_CLIENT_IDLE="1s", LULL_CLIENT_HEAD="1s", LULL_CLIENT_BODY="1s", LULL_CLIENT_WRITE="1s")
    proxy.cuts = True
    with proxy.client() as never, proxy.client() as head, proxy.client() as body, proxy.client() as idle, \
            proxy.client() as read:
        head.send(b"GET / HTTP/1.1\r\nHo")
        body.send(POST + b"Content-Length: 5\r\n\r\nab")
        read.send(request())
        assert idle.ask(request(b"POST / HTTP/1.1", b"Content-Length: 0\r\n")).status == 200
        assert never.closed()
        assert head.reply().status == 408 and head.closed()
        assert body.reply().status == 408 and body.closed()
        assert idle.closed()
        assert gate.wait(120)  # the function's connection is ended with the client's
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


# ---- the message, passed on ----

def test_head_keeps_the_length_and_has_no_body(hop):
    hop.start(lambda q, s: b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    with hop.client() as c:
        for _ in range(2):
            r = c.ask(request(b"HEAD / HTTP/1.1"), "HEAD")
            assert (r.status, r.get("Content-Length")) == (200, "12345")


def test_pipelined_requests_are_answered_in_order(hop):
    hop.start(lambda q, s: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(q.target), q.target.encode()))
    with hop.client() as c:
        c.send(b"".join(request(b"POST /%d HTTP/1.1" % i, b"Content-Length: 3\r\n", b"abc") for i in range(50)))
        assert [c.reply().body for _ in range(50)] == [b"/%d" % i for i in range(50)]


def test_interim_answers(hop):
    """Passed on to who can read them; HTTP/1.0 clients get the last one alone."""
    def answer(q, sock):
        n = 40 if q.target == "/flood" else 2
        return b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * n + OK

    hop.start(answer)
    with hop.client() as c:
        assert c.ask(GET).status == 200
        assert c.informed == [(103, [("Link", "</x>")])] * 2
    with hop.client() as c:
        assert c.ask(request(b"GET /flood HTTP/1.1")).status == 502
    with hop.client() as c:
        assert c.ask(request(b"GET / HTTP/1.0")).body == b"ok" and c.informed == []


def test_continue_is_said_once_there_is_a_place(hop):
    hop.start()
    with hop.client() as c:
        for body in (b"abc", b"x" * 200_000):
            c.send(request(b"POST / HTTP/1.1", b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(body)))
            assert c.head()[0] == "HTTP/1.1 100 Continue"
            assert c.ask(body).status == 200
            assert hop.backend.requests[-1].body == body
    with hop.client() as c:
        c.send(request(b"POST / HTTP/1.0", b"Content-Length: 3\r\nExpect: 100-continue\r\n", b"abc"))
        assert c.head()[0].startswith("HTTP/1.1 200")


def test_connect_is_405(hop):
    hop.start()
    with hop.client() as c:
        r = c.ask(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        assert r.status == 405 and "GET" in r.get("Allow") and c.closed()
    assert hop.backend.requests == []


def test_a_function_that_speaks_http10(hop):
    def answer(q, sock):
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + q.body + b"!")
        sock.close()

    hop.start(answer)
    with hop.client() as c:
        for _ in range(2):
            r = c.ask(request(b"POST / HTTP/1.1", b"Content-Length: 3\r\n", b"abc"))
            assert (r.status, r.body, r.framing) == (200, b"abc!", "chunked")
    with hop.client() as c:
        r = c.ask(request(b"GET / HTTP/1.0"))
        assert (r.status, r.body, r.framing) == (200, b"!", "close")


def test_an_event_stream_is_not_held_back(hop):
    """Each event is at the client before the function sends the next one."""
    go = threading.Semaphore(0)

    def answer(q, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")  # until the end of the connection
        for i in range(20):
            sock.sendall(b"data: %d\n\n" % i)
            assert go.acquire(timeout=60)
        sock.close()

    hop.start(answer)
    with hop.client() as c:
        c.send(GET).head()
        for i in range(20):
            event = b"data: %d\n\n" % i
            assert c.until(b"\r\n") == b"%x" % len(event) and c.exactly(len(event) + 2) == event + b"\r\n"
            go.release()
        assert c.exactly(5) == b"0\r\n\r\n"


def test_both_ways_at_once(hop):
    """The answer begins before the request has ended, and each piece goes through at once (http-full-duplex)."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(sock):
        reader = Reader(sock)
        try:
            _, headers = reader.head()
        except Closed:
            return
        if any(k.lower() == "expect" for k, _ in headers):
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while n := int(reader.until(b"\r\n"), 16):
            sock.sendall(b"%x\r\n%s\r\n" % (n, reader.exactly(n + 2)[:-2].upper()))
        sock.sendall(b"0\r\n\r\n")

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    class Function:
        port, errors = listener.getsockname()[1], ()
        stop = staticmethod(listener.close)

    threading.Thread(target=accept, daemon=True).start()
    hop.start(backend=Function())
    with hop.client() as c:
        c.send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked\r\n"))
        assert c.head()[0] == "HTTP/1.1 200 OK"
        for i in range(20):
            piece = b"piece %d" % i
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            assert c.until(b"\r\n") == b"%x" % len(piece) and c.exactly(len(piece) + 2) == piece.upper() + b"\r\n"
        c.send(b"0\r\n\r\n")
        assert c.exactly(5) == b"0\r\n\r\n"


@pytest.mark.parametrize("hop", ["chain"], indirect=True)
def test_an_early_answer_reaches_a_client_that_is_still_sending(hop):
    listener = socket.create_server(("127.0.0.1", 0))
    gate = threading.Event()

    def serve(sock):
        reader = Reader(sock)
        try:
            reader.head()
        except Closed:
            return
        sock.sendall(b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
        gate.wait(120)
        sock.close()

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    class Function:
        port, errors = listener.getsockname()[1], ()
        stop = staticmethod(listener.close)

    threading.Thread(target=accept, daemon=True).start()
    hop.start(backend=Function())

    def send_all(c):
        try:
            for _ in range(1000):
                c.send(b"x" * 100_000)
        except OSError:
            pass

    with hop.client(timeout=20) as c:
        c.send(request(b"POST / HTTP/1.1", b"Content-Length: 100000000\r\n"))
        sender = threading.Thread(target=send_all, args=(c,), daemon=True)
        sender.start()
        assert c.reply().status == 413
        sender.join(20)  # the rest is not taken
        assert not sender.is_alive()
    gate.set()


def test_halves_of_a_tunnel_end_apart(hop):
    def answer(q, sock):
        if q.target == "/client":
            sock.sendall(SWITCH)
            n = 0
            while data := sock.recv(100_000):
                n += len(data)
            sock.sendall(b"%d" % n)
        else:
            sock.sendall(SWITCH + b"bye")
            sock.shutdown(socket.SHUT_WR)
            n = 0
            while data := sock.recv(100_000):
                n += len(data)
            got.append(n)
        sock.close()

    got = []
    hop.start(answer)
    with hop.client() as c:
        assert c.ask(request(b"GET /client HTTP/1.1", UPGRADE)).status == 101
        c.send(b"y" * 500_000)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.rest() == b"500000"
    with hop.client() as c:
        assert c.ask(request(b"GET /function HTTP/1.1", UPGRADE)).status == 101
        assert c.rest() == b"bye"
        c.send(b"y" * 500_000)
        c.sock.shutdown(socket.SHUT_WR)
        hop.backend.wait(lambda b: got == [500_000])


def memory(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) * 1024


@pytest.mark.parametrize("hop", ["chain"], indirect=True)
def test_large_bodies_take_no_memory(hop, monkeypatch):
    size = 100 << 20
    no_quarantine = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"  # of a build that looks for misuse
    monkeypatch.setenv("ASAN_OPTIONS", no_quarantine)

    def answer(q, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            sock.sendall(bytes(1 << 20))

    hop.start(answer, ASAN_OPTIONS=no_quarantine)
    processes = [hop.proxy.process, hop.world.process]
    before = [memory(p) for p in processes]
    with hop.client(timeout=60) as c:
        threading.Thread(target=lambda: (c.send(request(b"POST / HTTP/1.1", b"Content-Length: %d\r\n" % size)),
                                         [c.send(bytes(1 << 20)) for _ in range(size >> 20)]), daemon=True).start()
        assert c.head()[0] == "HTTP/1.1 200 OK"
        left = size - len(c.buf)
        while left > 0:
            left -= len(c.sock.recv(1 << 20))
        assert left == 0
    assert len(hop.backend.requests[-1].body) == size
    grown = [memory(p) - b for p, b in zip(processes, before)]
    assert max(grown) < 16 << 20, grown  # buffers, not bodies


# ---- headers ----

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_who_calls_is_told_and_not_believed(hop):
    hop.start()
    with hop.client() as c:
        assert c.ask(request(more=b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n"
                             b"K-Original-Host: evil\r\nKnative-Serving-Revision: other\r\nK-Lull-Refused: full\r\n"
                             b"Connection: X-Forwarded-For, K-Proxy-Request, Content-Type, Ce-Id, Lull-Hops, X-Mine\r\n"
                             b"Content-Type: a/b\r\nCe-Id: 1\r\nX-Mine: 1\r\n")).status == 200
    q = hop.backend.requests[-1]
    assert (q.get("Content-Type"), q.get("Ce-Id"), q.get("X-Mine")) == ("a/b", "1", None)
    assert q.get("K-Lull-Refused") is None and q.get("Knative-Serving-Revision") is None
    if hop.kind == "queue-proxy":  # it stands behind one that is believed
        assert q.all("X-Forwarded-For") == ["6.6.6.6, 7.7.7.7, 127.0.0.1"]
        assert q.get("Forwarded") == "for=6.6.6.6;host=hello.default.localhost;proto=https, for=7.7.7.7, for=127.0.0.1"
    else:
        assert q.all("X-Forwarded-For") == ["127.0.0.1"] and q.get("X-Forwarded-Proto") == "http"
    assert q.get("K-Original-Host") == ("hello.default.localhost" if hop.kind == "activator" else None)
    if hop.kind == "chain":
        assert q.get("Host") == "hello.default.localhost" and q.get("Lull-Hops") == "1"
        assert q.get("Forwarded") == "for=127.0.0.1;host=hello.default.localhost;proto=http"


def test_trace_context(hop):
    hop.start()
    later = TRACE.replace("00-", "cc-", 1) + "-more"
    for given, passes in ((TRACE, True), (later, True), (TRACE.upper(), False), ("ff" + TRACE[2:], False),
                          (TRACE[:-1], False), (TRACE + "-x", False), (TRACE.replace("4bf9", "4bg9"), False),
                          ("00-" + "0" * 32 + TRACE[35:], False), (TRACE + "0" * 5000, False), ("", False)):
        with hop.client() as c:
            assert c.ask(request(more=f"traceparent: {given}\r\ntracestate: a=1\r\n".encode())).status == 200
        q = hop.backend.requests[-1]
        assert (q.get("traceparent"), q.get("tracestate")) == ((given, "a=1") if passes else (None, None)), given
    with hop.client() as c:
        c.ask(request(more=f"traceparent: {TRACE}\r\n".encode() * 2))
    assert hop.backend.requests[-1].all("traceparent") == []


def test_over_ipv6(home):
    """One port for both families; an address of the newer one is quoted in Forwarded."""
    backend = Backend()
    (port,) = free_ports(1)
    proxy = Proxy(home, backend, LULL_QUEUE_LISTEN=f":{port}")
    proxy.ready()
    try:
        for host, node in (("::1", '"[::1]"'), ("127.0.0.1", "127.0.0.1")):
            try:
                sock = socket.create_connection((host, port), 10)
            except OSError:
                assert host == "::1" and not os.path.exists("/proc/net/if_inet6")
                continue
            with sock:
                sock.sendall(GET)
                assert Reader(sock).reply().status == 200
            q = backend.requests[-1]
            assert q.get("X-Forwarded-For") == host
            assert q.get("Forwarded") == f"for={node};host=hello.default.localhost;proto=http"
    finally:
        proxy.stop()
        backend.stop()


@pytest.mark.parametrize("hop", ["queue-proxy"], indirect=True)
def test_an_answer_before_a_broken_connection_is_not_lost(hop):
    """The function answers without reading the body and closes at once: its kernel resets the connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(10)
                try:
                    Reader(sock).head()
                    sock.sendall(b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
                except (Closed, OSError):
                    pass

    class Function:
        port, errors = listener.getsockname()[1], ()
        stop = staticmethod(listener.close)

    threading.Thread(target=accept, daemon=True).start()
    hop.start(backend=Function())
    for _ in range(30):
        with hop.client() as c:
            try:
                c.send(request(b"POST / HTTP/1.1", b"Content-Length: 1000000\r\n", bytes(1_000_000)))
            except OSError:
                pass
            assert c.reply().status == 413
