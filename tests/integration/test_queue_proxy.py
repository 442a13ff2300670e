# SPDX-License-Identifier: Apache-2.0
"""lull-queue-proxy in front of a recording function, over raw sockets. Framing: test_hostile_framing.py."""
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import binary, free_ports
from http_raw import Backend, Client, Closed, OK
from queue_proxy import GET, POST, start  # noqa: F401 (start is a fixture)


# ---- the plain path ----

def test_get_and_keep_alive(start):
    proxy = start()
    with proxy.client() as c:
        for _ in range(3):
            r = c.ask(GET)
            assert (r.status, r.body) == (200, b"ok")
    assert len(proxy.backend.requests) == 3
    assert proxy.backend.requests[0].get("Host") == "a.example.com"
    assert proxy.backend.connections <= 2  # the readiness probe's and one that is kept


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 5000, 70000, 3_000_000])
def test_bodies_both_ways(start, framing, size):
    def echo(request, sock):
        if request.framing == "chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(request.body), 10000):
                part = request.body[i:i + 10000]
                sock.sendall(b"%x;ext=1\r\n%s\r\n" % (len(part), part))
            return b"0\r\nX-Trailer: 1\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request.body), request.body)

    proxy = start(echo)
    body = os.urandom(size)
    with proxy.client() as c:
        for _ in range(2):
            if framing == "length":
                message = b"POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (size, body)
            else:
                message = b"POST /x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                for i in range(0, size, 30000):
                    part = body[i:i + 30000]
                    message += b"%X;a=\"b\"\r\n%s\r\n" % (len(part), part)
                message += b"0\r\nTrailer: x\r\n\r\n"
            sender = threading.Thread(target=c.send, args=(message,))
            sender.start()
            r = c.reply()
            sender.join()
            assert r.status == 200 and r.body == body and r.framing == framing
    assert [q.body == body and q.target == "/x?y" for q in proxy.backend.requests] == [True, True]


def test_head_and_statuses_without_body(start):
    def answer(request, sock):
        status = request.target.strip("/")
        length = b"" if status == "204" else b"Content-Length: 5\r\n"
        return b"HTTP/1.1 %s X\r\n%s\r\n" % (status.encode(), length)

    proxy = start(answer)
    with proxy.client() as c:
        r = c.ask(b"HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD")
        assert r.status == 200 and r.get("Content-Length") == "5"
        assert c.ask(b"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n").get("Content-Length") is None
        assert c.ask(b"GET /304 HTTP/1.1\r\nHost: a\r\n\r\n").status == 304
        assert c.ask(b"HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD").status == 200


def test_answer_until_close(start):
    proxy = start(lambda request, sock: b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end")
    with proxy.client() as c:
        for _ in range(2):
            r = c.ask(GET)
            assert (r.body, r.framing) == (b"until the end", "chunked")
    with proxy.client() as c:
        r = c.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (r.body, r.framing, r.get("Connection")) == (b"until the end", "close", "close")


def test_http10_keep_alive(start):
    proxy = start()
    with proxy.client() as c:
        r = c.ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert r.get("Connection") == "keep-alive"
        r = c.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert r.get("Connection") == "close" and c.closed()
    assert len(proxy.backend.requests) == 2


def test_pipelined(start):
    proxy = start(lambda q, sock: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" %
                  (len(q.target), q.target.encode()))
    n = 2000
    with proxy.client() as c:
        message = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(n))
        threading.Thread(target=c.send, args=(message,), daemon=True).start()
        assert [c.reply().body for i in range(n)] == [b"/%d" % i for i in range(n)]
    assert len(proxy.backend.requests) == n


def test_after_close_nothing_is_read(start):
    proxy = start()
    with proxy.client() as c:
        r = c.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
        assert r.get("Connection") == "close" and c.closed()
    assert len(proxy.backend.requests) == 1


def test_continue(start):
    proxy = start()
    with proxy.client() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert c.head()[0] == "HTTP/1.1 100 Continue"
        assert c.ask(b"abc").status == 200
        assert c.ask(GET).status == 200
    assert proxy.backend.requests[0].body == b"abc" and proxy.backend.requests[0].get("Expect") is None


def test_informational_answers_pass(start):
    proxy = start(lambda q, sock: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    with proxy.client() as c:
        assert c.ask(GET).status == 200
        assert c.informed == [(103, [("Link", "</x>")])]


def test_stream_is_not_held_back(start):
    go = threading.Event()

    def answer(request, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
        assert go.wait(10)
        return b"4\r\ntwo\n\r\n0\r\n\r\n"

    proxy = start(answer)
    with proxy.client() as c:
        c.send(GET)
        c.head()
        assert c.until(b"\r\n") == b"4" and c.exactly(6) == b"one\n\r\n"
        go.set()
        assert c.until(b"0\r\n\r\n") == b"4\r\ntwo\n\r\n"


def test_upgrade_tunnel(start):
    def answer(request, sock):
        assert request.get("Upgrade") == "echo" and request.get("Connection").lower() == "upgrade"
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhi")
        while data := sock.recv(1000):
            sock.sendall(data.upper())
        sock.close()

    proxy = start(answer)
    with proxy.client() as c:
        r = c.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly")
        assert r.status == 101 and r.get("Upgrade") == "echo"
        assert c.exactly(7) == b"hiEARLY"
        c.send(b"more")
        assert c.exactly(4) == b"MORE"
        c.sock.shutdown(socket.SHUT_WR)
        assert c.closed()
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_tunnel_half_closed_by_the_client(start, size):
    def answer(request, sock):
        sock.sendall(SWITCH)
        n = 0
        while data := sock.recv(100_000):
            n += len(data)
        sock.sendall(b"%d" % n + b"z" * size)
        sock.close()

    proxy = start(answer)
    with proxy.client() as c:
        assert c.ask(UPGRADE).status == 101
        c.send(b"y" * size)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.rest() == b"%d" % size + b"z" * size
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_tunnel_half_closed_by_the_function(start, size):
    got = []

    def answer(request, sock):
        sock.sendall(SWITCH + b"bye")
        sock.shutdown(socket.SHUT_WR)
        n = 0
        while data := sock.recv(100_000):
            n += len(data)
        got.append(n)
        sock.close()

    proxy = start(answer)
    with proxy.client() as c:
        assert c.ask(UPGRADE).status == 101
        assert c.rest() == b"bye"
        c.send(b"y" * size)
        c.sock.shutdown(socket.SHUT_WR)
        proxy.until(lambda: got == [size])
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


def test_tunnel_that_breaks(start):
    left = []

    def answer(request, sock):
        sock.sendall(SWITCH)
        if sock.recv(10) == b"break":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            try:
                while sock.recv(10):
                    pass
            except OSError:
                pass
            left.append(1)
        sock.close()

    proxy = start(answer)
    with proxy.client() as c:
        assert c.ask(UPGRADE).status == 101
        c.send(b"break")
        assert c.rest() == b""
    with proxy.client(tcp=True) as c:
        assert c.ask(UPGRADE).status == 101
        c.send(b"stay")
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    proxy.until(lambda: left == [1])
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


def test_h2c_upgrade_is_not_passed_on(start):
    proxy = start()
    with proxy.client() as c:
        assert c.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                     b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n").status == 200
    q = proxy.backend.requests[0]
    assert q.get("Upgrade") is None and q.get("HTTP2-Settings") is None and q.get("Connection") is None


# ---- headers ----

def test_hop_by_hop_and_trust_headers(start):
    proxy = start()
    with proxy.client(tcp=True) as c:
        c.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Gone, X-Forwarded-For, Authorization\r\n"
              b"X-Gone: 1\r\nX-Kept: 2\r\nTE: trailers\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n"
              b"Authorization: secret\r\nX-Forwarded-For: 1.2.3.4\r\nK-Network-Hash: x\r\n"
              b"K-Original-Host: evil\r\nKnative-Serving-Revision: r\r\nK-Lull-Refused: full\r\n\r\n")
    q = proxy.backend.requests[0]
    assert [q.get(n) for n in ("X-Gone", "Keep-Alive", "Proxy-Connection", "K-Network-Hash",
                               "K-Original-Host", "Knative-Serving-Revision", "K-Lull-Refused")] == [None] * 7
    assert (q.get("TE"), q.get("Connection")) == ("trailers", "TE")  # of this hop again
    assert (q.get("X-Kept"), q.get("Authorization"), q.get("Host")) == ("2", "secret", "a")
    assert q.get("X-Forwarded-For") == "1.2.3.4, 127.0.0.1"
    assert q.get("X-Forwarded-Proto") == "http" and q.get("X-Forwarded-Host") == "a"
    assert q.get("Forwarded") == "for=1.2.3.4;host=a;proto=http, for=127.0.0.1"


def test_from_an_activator(start):
    proxy = start(lambda q, s: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nK-Lull-Refused: full\r\n"
                  b"Connection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n")
    with proxy.client() as c:
        r = c.ask(b"GET / HTTP/1.1\r\nHost: 10.0.0.1:8012\r\nK-Proxy-Request: activator\r\n"
                  b"K-Original-Host: f.example.com\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        assert r.get("K-Lull-Refused") is None and r.get("X-Hop") is None and r.get("X-Kept") == "1"
    q = proxy.backend.requests[0]
    assert q.get("Host") == "f.example.com" and q.get("X-Forwarded-For") == "1.2.3.4"
    assert q.get("K-Proxy-Request") is None and q.get("Forwarded") == "for=1.2.3.4"


# ---- a function that misbehaves ----

BAD_ANSWERS = {
    "nothing": b"", "garbage": b"hello\r\n\r\n", "cut head": b"HTTP/1.1 200 OK\r\nContent-",
    "cl and te": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two cl": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "te gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "large head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50000 + b"\r\n\r\n",
    "1xx for ever": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000,
    "uncalled 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answer_is_502(start, name):
    def answer(request, sock):
        if request.target == "/ok":
            return OK
        sock.sendall(BAD_ANSWERS[name])
        sock.shutdown(socket.SHUT_RDWR)
        return None

    proxy = start(answer)
    with proxy.client() as c:
        r = c.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert r.status == 502 and b"the function" in r.body, r
        assert c.ask(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert [q.method for q in proxy.backend.requests] == ["POST", "GET"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"])
def test_cut_answer_is_seen_as_cut(start, answer):
    def cut(request, sock):
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    proxy = start(cut)
    with proxy.client() as c, pytest.raises(Closed):
        c.ask(GET)


def test_second_answer_is_not_passed_on(start):
    proxy = start(lambda q, s: OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    for tcp in (True, False):
        with proxy.client(tcp) as c:
            for _ in range(5):
                assert c.ask(GET).body == b"ok"


def test_kept_connection_that_dies_unanswered(start):
    """A GET goes to a fresh connection; a POST may have run, so it is not sent twice."""
    used = set()

    def answer(request, sock):
        if sock in used:
            sock.close()  # as a server does whose idle timeout ran out just now
            return None
        used.add(sock)
        return OK

    proxy = start(answer)
    with proxy.client() as c:
        assert c.ask(GET).status == 200
        assert c.ask(GET).status == 200
        assert [q.method for q in proxy.backend.requests] == ["GET"] * 3
        assert c.ask(POST + b"Content-Length: 1\r\n\r\na").status == 502
        assert c.ask(POST + b"Content-Length: 1\r\n\r\na").status == 200
    assert [q.method for q in proxy.backend.requests[3:]] == ["POST"] * 2


def test_early_answer(start):
    """It answers without reading the body; the client gets that answer."""
    gate = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def function():
        while True:
            sock, _ = listener.accept()
            if sock.recv(100):
                sock.sendall(b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
                gate.wait(5)
                sock.close()

    threading.Thread(target=function, daemon=True).start()
    proxy = start(port=listener.getsockname()[1]).ready()
    with proxy.client() as c:
        c.send(POST + b"Content-Length: 100000000\r\n\r\n" + b"x" * 100000)
        assert (c.reply().status) == 413
        gate.set()
        assert c.closed()
    listener.close()


def test_function_dies_and_comes_back(start):
    (port,) = free_ports(1)
    proxy = start(port=port)
    with proxy.client() as c:
        r = c.ask(GET)
        assert r.status == 502 and str(port).encode() in r.body
        assert proxy.page("/readyz").status == 503
        backend = Backend(port=port)
        proxy.ready()
        assert c.ask(GET).status == 200 and proxy.page("/readyz").status == 200
        backend.stop()
        proxy.until(lambda: c.ask(GET).status == 502)
        assert proxy.notice() == "X_READY=0"
        backend = Backend(port=port)
        proxy.ready()
        assert c.ask(GET).status == 200
        backend.stop()


def test_listening_is_noticed_at_once(start):
    (port,) = free_ports(1)
    proxy = start(port=port)
    proxy.until(lambda: proxy.admin.exists())
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    time.sleep(0.05)
    begin = time.monotonic()
    sock.listen()
    proxy.ready()
    assert time.monotonic() - begin < 0.5  # 1–2 ms on a quiet machine
    sock.close()


def test_http_probe(start):
    ready = threading.Event()

    def answer(request, sock):
        if request.target == "/health":
            assert request.get("User-Agent").startswith("kube-probe/") and request.get("X-Probe") == "1"
            return OK if ready.is_set() else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        return OK

    backend = Backend(answer)
    probe = ('{"httpGet":{"path":"/health","port":0,"scheme":"HTTP","httpHeaders":[{"name":"X-Probe",'
             '"value":"1"}]},"successThreshold":1}')
    proxy = start(port=backend.port, SERVING_READINESS_PROBE=probe)
    backend.wait(lambda b: len(b.requests) >= 3)
    assert proxy.page("/readyz").status == 503
    ready.set()
    proxy.ready()
    assert proxy.page("/readyz").status == 200
    assert not backend.errors
    backend.stop()


# ---- limit, queue, refusals, timeouts ----

def test_concurrency_limit_and_queue(start):
    gate = threading.Semaphore(0)

    def answer(request, sock):
        assert gate.acquire(timeout=10)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request.target), request.target.encode())

    proxy = start(answer, CONTAINER_CONCURRENCY=1)
    clients = []
    for i in range(11):  # one runs, ten wait
        c = proxy.client()
        c.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
        clients.append(c)
        proxy.until(lambda: proxy.metric("lull_queue_depth") + proxy.metric("lull_queue_running") == i + 1)
    with proxy.client() as c:
        r = c.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert r.status == 503 and r.get("K-Lull-Refused") == "full" and b"queue full" in r.body
    clients[3].sock.close()  # the client leaves the queue
    proxy.until(lambda: proxy.metric("lull_queue_depth") == 9)
    for i, c in enumerate(clients):
        if i != 3:
            gate.release()
            assert c.reply().body == b"/%d" % i  # in order
            c.sock.close()
    assert proxy.backend.most == 1 and len(proxy.backend.requests) == 10
    assert proxy.metric('lull_queue_refused_total{reason="full"}') == 1


def test_client_gone_ends_the_functions_connection(start):
    """Without a limit; with one the slot stays taken: test_http_semantics.py."""
    left = []

    def answer(request, sock):
        assert sock.recv(1) == b""  # we are told by the end of the connection
        left.append(1)
        sock.close()
        return None

    proxy = start(answer)
    with proxy.client() as c:
        c.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.backend.wait(lambda b: b.running == 1)
    proxy.until(lambda: left == [1])
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


def test_timeouts(start):
    gate = threading.Event()

    def answer(request, sock):
        if request.target == "/begun":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        gate.wait(10)
        return None

    proxy = start(answer, REVISION_TIMEOUT_SECONDS=1)
    with proxy.client() as c:
        r = c.ask(GET)
        assert r.status == 504 and r.body == b"request timeout"
        r = c.ask(b"GET /begun HTTP/1.1\r\nHost: a\r\n\r\n")
        assert r.status == 200 and r.body == b"begunrequest timeout" and c.closed()
    gate.set()


def test_slow_reader_holds_back_the_function(start):
    sent = [0]

    def answer(request, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        block = b"x" * 100000
        for _ in range(1000):
            sock.sendall(block)
            sent[0] += len(block)

    proxy = start(answer)
    with proxy.client() as c:
        c.send(GET)
        last = -1
        while last != sent[0]:  # until it stands still
            last = sent[0]
            time.sleep(0.3)
        assert sent[0] < 40_000_000
        status = open(f"/proc/{proxy.process.pid}/status", encoding="ascii").read()
        rss = int(next(l for l in status.splitlines() if l.startswith("VmRSS")).split()[1])
        assert rss < 400_000 if "asan" in os.environ.get("LULL_BUILD", "") else rss < 16_000
        assert len(c.reply().body) == 100_000_000


def test_slow_function_holds_back_the_client(start):
    sent, go, got = [0], threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0))

    def function():
        while True:
            sock, _ = listener.accept()
            if sock.recv(10):  # not the readiness probe
                go.wait(120)
                n = 10
                while n < 60_000_000:
                    data = sock.recv(1_000_000)
                    assert data
                    n += len(data)
                got.append(n)
                sock.sendall(OK)

    threading.Thread(target=function, daemon=True).start()
    proxy = start(port=listener.getsockname()[1]).ready()

    def upload(c):
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
        for _ in range(60):
            c.send(b"x" * 1_000_000)
            sent[0] += 1_000_000

    with Client(proxy.port, timeout=60) as c:
        sender = threading.Thread(target=upload, args=(c,), daemon=True)
        sender.start()
        last = -1
        while last != sent[0]:  # until it stands still
            last = sent[0]
            time.sleep(0.3)
        assert sent[0] < 40_000_000
        go.set()
        assert c.reply().status == 200
        sender.join(60)
    assert got[0] >= 60_000_000
    listener.close()


# ---- probes, numbers, drain ----

def test_probes(start):
    proxy = start()
    with proxy.client() as c:
        ask = lambda h: c.ask(b"GET /any HTTP/1.1\r\nHost: a\r\n" + h + b"\r\n\r\n")
        assert ask(b"K-Network-Probe: queue").body == b"queue"
        r = ask(b"K-Network-Probe: probe\r\nK-Network-Hash: abc")
        assert r.status == 200 and r.get("K-Network-Hash") == "abc"
        r = ask(b"K-Network-Probe: probe")
        assert r.status == 400 and r.body == b'a probe request must contain a non-empty "K-Network-Hash" header'
        assert ask(b"User-Agent: Knative-Activator-Probe").body == b"unexpected probe header value: "
        assert ask(b"K-Network-Probe: activator").body == b"unexpected probe header value: activator"
        assert ask(b"User-Agent: kube-probe/1.30").body == b"queue"
        assert ask(b"K-Kubelet-Probe: x").status == 200
    assert proxy.backend.requests == []
    assert proxy.metric('lull_queue_requests_total{code="2xx"}') == 0


def test_scrape(start):
    proxy = start()
    with proxy.client() as c:
        c.ask(GET)
    r = proxy.page("/metrics", "application/protobuf")
    assert r.get("Content-Type") == "application/protobuf"
    assert r.body.startswith(b"\x0a\x05pod-1")
    assert proxy.metric('lull_queue_requests_total{code="2xx"}') == 1
    assert proxy.page("/nope").status == 404


def test_drain_fails_nobody(start):
    gate = threading.Event()
    proxy = start(lambda q, s: OK if q.target != "/slow" or gate.wait(10) else OK)
    drained = []
    with proxy.client() as slow, proxy.client() as idle, proxy.client() as direct:
        assert idle.ask(GET).status == 200
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.backend.wait(lambda b: b.running == 1)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.notice() == "STOPPING=1"
        waiter = threading.Thread(target=lambda: drained.append(proxy.page("/wait-for-drain").status))
        waiter.start()
        assert idle.ask(b"GET / HTTP/1.1\r\nHost: a\r\nK-Proxy-Request: activator\r\n\r\n").get(
            "K-Lull-Refused") == "draining"
        assert direct.ask(GET).status == 200  # whoever has no other place to go
        assert idle.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1\r\n\r\n").status == 503
        assert idle.ask(b"GET / HTTP/1.1\r\nHost: a\r\nK-Network-Probe: probe\r\nK-Network-Hash: h\r\n\r\n").status == 503
        assert proxy.page("/readyz").status == 503
        gate.set()
        assert slow.reply().status == 200
    assert proxy.process.wait(10) == 0
    waiter.join(10)
    assert drained == [200]


def test_drain_waits_for_who_may_be_writing(start):
    """An activator that has not heard of the end finds somebody who refuses, not a broken connection."""
    proxy = start()
    with proxy.client() as kept:
        assert kept.ask(GET).status == 200
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.notice() == "STOPPING=1"
        with pytest.raises(subprocess.TimeoutExpired):
            proxy.process.wait(0.5)  # ten times as long as it has to be quiet
        refused = kept.ask(b"POST / HTTP/1.1\r\nHost: a\r\nK-Proxy-Request: activator\r\nContent-Length: 1\r\n\r\nx")
        assert refused.status == 503 and refused.get("K-Lull-Refused") == "draining"
    assert proxy.process.wait(10) == 0


def test_an_activator_is_refused_where_others_wait(start):
    """Whoever knows other replicas must not wait in front of this one."""
    gate = threading.Event()
    proxy = start(lambda q, s: OK if gate.wait(20) else OK, CONTAINER_CONCURRENCY=1)
    with proxy.client() as first, proxy.client() as direct, proxy.client() as activator:
        first.send(GET)
        proxy.backend.wait(lambda b: b.running == 1)
        direct.send(GET)
        proxied = b"GET / HTTP/1.1\r\nHost: a\r\nK-Proxy-Request: activator\r\n\r\n"
        for _ in range(3):
            refused = activator.ask(proxied)
            assert refused.status == 503 and refused.get("K-Lull-Refused") == "full"
        gate.set()
        assert first.reply().status == 200 and direct.reply().status == 200
        proxy.until(lambda: activator.ask(proxied).status == 200)


def test_a_stray_request_is_refused(start):
    """The address of another revision's Pod, given to this one before an activator has heard of it: nothing of the other's
    requests reaches this function, and its numbers are not counted for the other."""
    proxy = start(SERVING_NAMESPACE="mine", SERVING_REVISION="r-1")
    seen = []
    with proxy.client() as c:
        for revision, status in (("mine/r-1", 200), ("theirs/r-1", 503), ("mine/r-2", 503), ("mine/r-1x", 503), ("x", 503)):
            got = c.ask(GET[:-2] + f"K-Proxy-Request: activator\r\nK-Lull-Revision: {revision}\r\n\r\n".encode())
            assert got.status == status, (revision, got)
            seen.append(got.get("K-Lull-Refused"))
    assert seen == [None, *["draining"] * 4]
    assert len(proxy.backend.requests) == 1 and proxy.backend.requests[0].get("K-Lull-Revision") is None
    with Client(proxy.admin) as c:
        page = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/protobuf\r\nK-Lull-Revision: "
        assert c.ask(page + b"mine/r-2\r\n\r\n").status == 421
        assert c.ask(page + b"mine/r-1\r\n\r\n").status == 200


def test_bad_settings_are_told(home):
    for env, text in (({"USER_PORT": "x"}, "USER_PORT"), ({"LULL_QUEUE_LISTEN": "nowhere"}, "nowhere"),
                      ({"SERVING_READINESS_PROBE": "{"}, "SERVING_READINESS_PROBE"),
                      ({"LULL_QUEUE_LISTEN": f"unix:{home}/no/such"}, "no/such")):
        got = subprocess.run([binary("lull-queue-proxy")], capture_output=True, text=True, timeout=20,
                             check=False, env={"LULL_QUEUE_LISTEN": f"unix:{home}/q", "USER_PORT": "1",
                                               "LULL_ADMIN_LISTEN": f"unix:{home}/a", **env})
        assert got.returncode != 0 and text in got.stderr, (env, got)


# ---- many at once ----

def test_no_descriptor_left(start):
    """Who is connected is served on; others get in again as soon as there is room."""
    proxy = start()
    with proxy.client() as first:
        assert first.ask(GET).status == 200
        used = len(os.listdir(f"/proc/{proxy.process.pid}/fd"))
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        crowd = [proxy.client(tcp=True) for _ in range(60)]
        for _ in range(20):
            assert first.ask(GET).status == 200
        for c in crowd:
            c.sock.close()

        def served():
            try:
                with proxy.client(tcp=True) as c:
                    return c.ask(GET).status == 200
            except (Closed, OSError):
                return False
        proxy.until(served)


def test_many_slow_clients(start):
    """Half a head each; others do not notice, and the memory is bounded."""
    proxy = start()
    slow = [proxy.client(tcp=True) for _ in range(500)]
    for c in slow:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"z" * 1000)
    with proxy.client() as c:
        for _ in range(50):
            assert c.ask(GET).status == 200
    for c in slow[::2]:
        assert c.ask(b"\r\n\r\n").status == 200
    for c in slow:
        c.sock.close()
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0)


def storm_answer(request, sock):
    kind = int(request.target.rsplit("/", 1)[1]) % 7
    if kind == 0:
        sock.close()
        return None
    if kind == 1:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        sock.shutdown(socket.SHUT_RDWR)
        return None
    if kind == 2:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"
    if kind == 3:
        return b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200_000
    if kind == 4:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        return None
    return OK


def storm_client(proxy, rng, until, seen):
    """Requests of every shape, of which many are left in the middle."""
    while time.monotonic() < until:
        with proxy.client(tcp=rng.random() < 0.5) as c:
            try:
                for _ in range(rng.randrange(1, 4)):
                    body = b"y" * rng.choice([0, 10, 5000, 150_000])
                    if rng.random() < 0.5:
                        message = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (
                            rng.randrange(1000), len(body), body)
                    else:
                        message = b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % (
                            rng.randrange(1000))
                        message += b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                        message += b"0\r\n\r\n"
                    leave = rng.random()
                    if leave < 0.2:
                        c.send(message[:rng.randrange(len(message))])
                        break
                    c.send(message)
                    if leave < 0.3:
                        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        break
                    seen.append(c.reply().status)
            except (Closed, OSError):
                pass


def test_storm(start):
    proxy = start(storm_answer, CONTAINER_CONCURRENCY=4)
    proxy.cuts = True
    seen, until = [], time.monotonic() + 3
    clients = [threading.Thread(target=storm_client, args=(proxy, random.Random(i), until, seen)) for i in range(24)]
    for c in clients:
        c.start()
    for c in clients:
        c.join(30)
        assert not c.is_alive()
    proxy.until(lambda: proxy.metric("lull_queue_running") == 0 and proxy.metric("lull_queue_depth") == 0)
    assert set(seen) <= {200, 502, 503} and 200 in seen and 502 in seen
    with proxy.client() as c:
        assert c.ask(b"GET /5 HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert proxy.process.poll() is None
