# SPDX-License-Identifier: Apache-2.0
"""What HTTP/1.1 asks of a proxy, on raw sockets: the queue-proxy alone, the activator alone, and one behind the other."""
import pytest
from fake_api import pod
from http_raw import Backend, Client
from queue_proxy import Proxy
from test_activator import World

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
