# SPDX-License-Identifier: Apache-2.0
"""Malformed and ambiguous messages to lull-queue-proxy: each gets the strict answer, and what the function
receives is nothing, or exactly the one request that a strict reader sees."""
import os
import pathlib

import pytest
from http_raw import Backend
from queue_proxy import GET, HOST as H, POST, Proxy, start  # noqa: F401 (start is a fixture)

BAD = {
    "cl and te": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "te and cl": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "two cl": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "two cl, same": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "cl list": (400, POST + b"Content-Length: 3,3\r\n\r\nabc"),
    "cl plus": (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    "cl minus": (400, POST + b"Content-Length: -1\r\n\r\nabc"),
    "cl hex": (400, POST + b"Content-Length: 0x5\r\n\r\nabcde"),
    "cl underscore": (400, POST + b"Content-Length: 5_0\r\n\r\nabcde"),
    "cl junk": (400, POST + b"Content-Length: 5 x\r\n\r\nabcde"),
    "cl empty": (400, POST + b"Content-Length:\r\n\r\nabcde"),
    "cl 2^64": (400, POST + b"Content-Length: 18446744073709551616\r\n\r\na"),
    "cl 20 digits": (400, POST + b"Content-Length: 99999999999999999999\r\n\r\na"),
    "te twice in a line": ((400, 501), POST + b"Transfer-Encoding: chunked,chunked\r\n\r\n0\r\n\r\n"),
    "te in two lines": ((400, 501), POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "te empty element": ((400, 501), POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    "te unknown": ((400, 501), POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "te gzip": ((400, 501), POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "te identity": ((400, 501), POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "te identity, chunked": ((400, 501), POST + b"Transfer-Encoding: identity,chunked\r\n\r\n0\r\n\r\n"),
    "te vt": (400, POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n"),
    "te nbsp": ((400, 501), POST + b"Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n"),
    "te in 1.0": (400, b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "empty host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "host with user": (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "host with path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "host with space": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "host with junk port": (400, b"GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"),
    "space before colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"),
    "obs-fold": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n  2\r\n\r\n"),
    "space before first header": (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    "empty name": (400, b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
    "8-bit name": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n"),
    "nul in value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    "bare cr in value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    "bare lf": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "bare lf at the end": (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    "lf in target": (400, b"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n"),
    "version 1.32": ((400, 505), b"GET / HTTP/1.32\r\nHost: a\r\n\r\n"),
    "version 256.1": ((400, 505), b"GET / HTTP/256.1\r\nHost: a\r\n\r\n"),
    "version 2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "version 0.9": ((400, 505), b"GET /\r\n\r\n"),
    "version garbage": ((400, 505), b"GET / FTP/1.1\r\nHost: a\r\n\r\n"),
    "method garbage": (400, b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "method lower case": (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "h2 preface": ((400, 505), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "tls hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100),
    "connect": (405, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    "star": (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "relative target": (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "8-bit target": (400, b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute with user": (400, b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute without host": (400, b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
    "ftp url": (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "expectation": (417, POST + b"Content-Length: 1\r\nExpect: the-worst\r\n\r\na"),
    "long target": (414, b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "large header": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000 + b"\r\n\r\n"),
    "many headers": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    home = tmp_path_factory.mktemp("qp")
    short = f"/tmp/lull-qp-{os.getpid()}"
    os.symlink(home, short)
    backend = Backend()
    proxy = Proxy(pathlib.Path(short), backend).ready()
    yield proxy
    proxy.stop()
    backend.stop()
    os.unlink(short)
    assert not backend.errors, backend.errors


@pytest.mark.parametrize("name", BAD)
def test_refused(shared, name):
    want, message = BAD[name]
    before = len(shared.backend.requests)
    with shared.client(tcp=True) as c:
        r = c.ask(message)
        assert r.status in (want if isinstance(want, tuple) else (want,)), r
        assert r.get("Connection") == "close" and c.closed()
    with shared.client() as c:  # whatever came of it would be there before this
        c.ask(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [q.target for q in shared.backend.requests[before:]] == ["/after"]


@pytest.mark.parametrize("name", BAD)
def test_refused_byte_by_byte(shared, name):
    want, message = BAD[name]
    if len(message) > 2000:
        pytest.skip("long")
    with shared.client(tcp=True) as c:
        try:
            for i in range(len(message)):
                c.send(message[i:i + 1])
        except OSError:
            pass  # refused before the end
        r = c.reply()
        assert r.status in (want if isinstance(want, tuple) else (want,)), r


def test_good_then_bad(shared):
    before = len(shared.backend.requests)
    with shared.client() as c:
        r = c.ask(GET + b"GET / HTTP/1.1\r\n\r\n" + GET)
        assert r.status == 200
        assert c.reply().status == 400 and c.closed()
    assert len(shared.backend.requests) == before + 1


CHUNKS = {
    "empty size": b"\r\n\r\n", "0x": b"0x3\r\nabc\r\n0\r\n\r\n", "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n", "leading space": b" 3\r\nabc\r\n0\r\n\r\n",
    "17 digits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "junk": b"3z\r\nabc\r\n0\r\n\r\n", "bare lf": b"3\nabc\n0\n\n", "cr x": b"3\rXabc\r\n0\r\n\r\n",
    "cr before ;": b"3\r;a\r\nabc\r\n0\r\n\r\n", "lf in ext": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "longer": b"3\r\nabcd\r\n0\r\n\r\n", "bad end": b"3\r\nabcXX0\r\n\r\n", "lf end": b"3\r\nabc\n0\r\n\r\n",
    "space in trailer": b"0\r\nX : 1\r\n\r\n",
    "many trailers": b"0\r\n" + b"X: 1\r\n" * 1000 + b"\r\n",
    "long trailer": b"0\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_bad_chunks(start, name):
    """The function may see the head and a part of the body, never a complete or a second request."""
    proxy = start()
    proxy.cuts = True
    with proxy.client() as c:
        r = c.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name] + GET)
        assert r.status in (400, 431), r
        assert c.closed()
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)
    assert proxy.backend.requests == []


def test_unfinished_body_is_no_request(start):
    proxy = start()
    proxy.cuts = True
    for message in (POST + b"Content-Length: 10\r\n\r\nabc", POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab"):
        with proxy.client() as c:
            c.send(message)
            proxy.until(lambda: proxy.metric("lull_queue_running") == 1)
        proxy.until(lambda: proxy.metric("lull_queue_running") == 0)
    assert proxy.backend.requests == []


GOOD = {
    "absolute form": (b"GET http://b.example.com/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y", "b.example.com"),
    "absolute, query only": (b"GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?y", "b"),
    "absolute, bare": (b"GET http://b:80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /", "b:80"),
    "options star": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *", "a"),
    "percent": (b"GET /%2e%2e/%00//a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%2e%2e/%00//a", "a"),
    "leading empty line": (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /", "a"),
    "get with body": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "GET /", "a"),
    "zero length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST /", "a"),
    "ipv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /", "[::1]:80"),
    "8-bit value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n", "GET /", "a"),
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", GOOD)
def test_accepted(shared, name, whole):
    message, line, host = GOOD[name]
    before = len(shared.backend.requests)
    with shared.client() as c:
        for part in [message] if whole else [message[i:i + 1] for i in range(len(message))]:
            c.send(part)
        assert c.reply().status == 200
        assert c.ask(GET).status == 200
    q = shared.backend.requests[before]
    assert f"{q.method} {q.target}" == line and q.all("Host") == [host]
