# SPDX-License-Identifier: Apache-2.0
"""Family D: what a client may not say. Headers that only the proxies' own parts may set do not reach the function from
outside, what the function relies on cannot be taken away, and names of one listener mean nothing on the other."""
import re

import pytest
from fake_api import pod, revision, route
from hostile import PATIENCE, TARGETS, ActivatorTarget

pytestmark = pytest.mark.hostile


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    it = TARGETS[request.param]()
    yield it
    it.stop()


def outside(target):
    """Whether requests come from outside here: to the queue-proxy a peer may speak as an activator does."""
    return target.name != "queue-proxy"


def seen(target, *lines, host=b"a", address=None, status=200, path=b"/h"):
    """What the function gets of a GET with these header lines."""
    async def scenario():
        before = len(target.function.requests)
        target.function.wrong.clear()
        got = await target.ask(b"".join((b"GET ", path, b" HTTP/1.1\r\nHost: ", host, b"\r\n", *(h + b"\r\n" for h in lines), b"\r\n")), address=address)
        assert got.status in (status if isinstance(status, tuple) else (status,)), got
        assert target.function.wrong == []
        new = target.function.requests[before:]
        assert len(new) == (got.status == 200), new
        return new[0] if new else None
    return target.run(scenario())


def ours(request, prefix):
    return [(k, v) for k, v in request.headers if k.lower().startswith(prefix)]


@pytest.mark.parametrize("name", ["K-Proxy-Request", "K-Original-Host", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Authorization", "Cookie", "Host",
                                  "Content-Length", "Lull-Hops", "traceparent"])
def test_connection_does_not_remove_what_others_rely_on(target, name):
    """`Connection: NAME` takes away only what is between two neighbours."""
    plain = seen(target, b"Authorization: secret", b"Cookie: c=1", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    named = seen(target, b"Authorization: secret", b"Cookie: c=1", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"Connection: " + name.encode() + b", keep-alive")
    drop = {"connection", "traceparent"} if name == "traceparent" else {"connection"}
    assert sorted((k.lower(), v) for k, v in plain.headers if k.lower() not in drop and "date" not in k.lower()) == \
        sorted((k.lower(), v) for k, v in named.headers if k.lower() not in drop)


def test_hop_by_hop_headers_end_here(target):
    q = seen(target, b"Connection: X-Gone, close, Keep-Alive", b"X-Gone: 1", b"Keep-Alive: timeout=9", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: p", b"Proxy-Authenticate: q",
             b"TE: gzip", b"Trailer: X", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"X-Kept: 1")
    left = {k.lower() for k, _ in q.headers} & {"x-gone", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer", "upgrade", "http2-settings"}
    assert not left and q.get("x-kept") == b"1"


INTERNAL = [b"K-Original-Host: evil", b"K-Proxy-Request: evil", b"K-Network-Hash: evil", b"K-Passthrough-Lb: evil", b"K-Lull-Refused: full", b"K-Lull-Other: evil",
            b"Knative-Serving-Namespace: evil", b"Knative-Serving-Revision: evil", b"k-original-HOST: evil"]


@pytest.mark.parametrize("line", INTERNAL, ids=lambda x: x.decode().split(":")[0])
def test_internal_headers_from_outside_do_nothing(target, line):
    q = seen(target, line)
    assert b"evil" not in [v for _, v in q.headers] and q.host == b"a", q
    if target.name != "activator":
        assert not ours(q, "k-") and not ours(q, "knative-serving-"), q


def test_a_client_cannot_speak_as_an_activator(target):
    q = seen(target, b"K-Proxy-Request: activator", b"K-Original-Host: evil.example", b"X-Forwarded-For: 6.6.6.6")
    if outside(target):
        assert q.get("k-original-host") in (None, b"a") and b"6.6.6.6" not in b"".join(q.all("x-forwarded-for")), q
        assert target.name == "activator" or q.host == b"a"


@pytest.mark.parametrize("value", [b"probe", b"queue", b"activator", b"evil", b"", b"a" * 5000], ids=["probe", "queue", "activator", "evil", "empty", "long"])
def test_a_probe_never_reaches_the_function(target, value):
    async def scenario():
        before = len(target.function.requests)
        got = await target.ask(b"GET / HTTP/1.1\r\nHost: a\r\nK-Network-Probe: " + value + b"\r\n\r\n")
        assert got.status in (200, 400, 404) and (value or got.status), got
        new = target.function.requests[before:]
        assert not new or (value == b"" or outside(target)), new
        assert all(not ours(q, "k-network-probe") for q in new), new
    target.run(scenario())


@pytest.mark.parametrize("lines", [[b"X-Forwarded-For: 6.6.6.6"], [b"X-Forwarded-For: 6.6.6.6, 7.7.7.7"], [b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 7.7.7.7"], [b"X-Forwarded-For: " + b"6.6.6.6, " * 2000],
                                   [b'Forwarded: for=6.6.6.6;host="evil, x";proto=https'], [b'Forwarded: for="'], [b"X-Forwarded-Proto: https"], [b"X-Forwarded-Host: evil"], [b"X-Forwarded-Prefix: /evil"],
                                   [b"X-Forwarded-For: \xff\xfe"], [b"X-Forwarded-For:"], [b'X-Forwarded-For: ";host=evil'], [b"X-Forwarded-Anything: evil"]],
                         ids=["one", "two", "two lines", "18 KB", "forwarded", "forwarded, open", "proto", "host", "prefix", "8 bits", "empty", "quote", "anything"])
def test_spoofed_forwarding(target, lines):
    """From outside nothing of it is believed; inside, what is passed on is one well-formed chain."""
    q = seen(target, *lines)
    text = b"\n".join(v for k, v in q.headers if re.match(r"(?i)forwarded|x-forwarded-", k))
    assert len(q.all("x-forwarded-for")) <= 1 and len(q.all("forwarded")) <= 1, q
    if outside(target):
        assert b"6.6.6.6" not in text and b"7.7.7.7" not in text and b"evil" not in text and b"\xff" not in text, q
        assert q.get("x-forwarded-for") == b"127.0.0.1" and q.get("x-forwarded-proto") == b"http" and q.get("x-forwarded-host") == b"a", q


@pytest.mark.parametrize("value", [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"00-xyz-b7ad6b7169203331-01", b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"",
                                   b"00-00000000000000000000000000000000-0000000000000000-01", b"a" * 20000, b"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", b"\xff"],
                         ids=["good", "bad hex", "version ff", "empty", "zeros", "20 KB", "upper case", "8 bits"])
def test_traceparent(target, value):
    """A good one passes, whatever else it is the function still gets its request, with one traceparent at most."""
    q = seen(target, b"traceparent: " + value)
    assert len(q.all("traceparent")) <= 1
    if value.startswith(b"00-0af7"):
        assert q.get("traceparent") == value


def test_hop_limit(target):
    """A function that calls itself comes to an end; what is no number counts as if it were spent or is dropped."""
    if not outside(target):
        return
    assert seen(target, b"Lull-Hops: 31").get("lull-hops") == b"32"
    for bad in (b"32", b"33", b"4294967296", b"99999999999999999999"):
        assert seen(target, b"Lull-Hops: " + bad, status=508) is None
    for odd in (b"-1", b"x", b"", b"0x10", b"1 1", b"\xff"):
        q = seen(target, b"Lull-Hops: " + odd, status=(200, 508, 400))
        assert q is None or re.fullmatch(rb"[0-9]+", q.get("lull-hops")), q
    q = seen(target, b"Lull-Hops: 1", b"Lull-Hops: 31", status=(200, 508))
    assert q is None or int(q.get("lull-hops")) >= 2 and len(q.all("lull-hops")) == 1


def test_a_loop_ends():
    """The function calls itself through the activator with the headers that it got: it ends at the limit."""
    target = ActivatorTarget()

    async def again(request, writer):
        hops = request.get("lull-hops")
        return await relay(target, b"GET /loop HTTP/1.1\r\nHost: a\r\nLull-Hops: " + hops + b"\r\n\r\n")

    async def scenario():
        target.function.answer = again
        got = await target.ask(b"GET /loop HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.status == 508 and len(target.function.requests) == 32, (got, len(target.function.requests))
        target.function.answer = None
        await target.wait(target.idle, "nothing is left running")

    try:
        target.run(scenario())
    finally:
        target.stop()


async def relay(target, data):
    c = await target.connect()
    await c.send(data)
    await c.until(lambda _: c.replies())
    try:
        return c.data
    finally:
        c.close()


HOSTS_IN = [b"f.default.svc.cluster.local", b"f.default.svc", b"f.default", b"inner.default.svc.cluster.local", b"INNER.default.svc.cluster.local", b"inner.default.svc.cluster.local.", b"inner.default.svc",
            b"localhost", b"127.0.0.1", b"[::1]", b"metadata.google.internal", b"169.254.169.254", b"admin", b"kubernetes.default.svc", b"0x7f000001", b"a.", b".a", b"a..", b"-", b"_", b".",
            b"_lull", b"xn--", b"a" * 255, b"f-1", b"p", b"r-a", b"default", b"lull-activator-local.lull-system.svc.cluster.local"]


def test_internal_names_on_the_public_listener():
    """In-cluster names, addresses, revisions' and Pods' names are nobody on the public listener."""
    target = ActivatorTarget()
    target.api.put("revisions", revision("inner-1"))
    target.api.put("routes", route("inner", {"inner-1": 100}, host="inner.default.svc.cluster.local", local=True))
    target.api.put("pods", pod("q", "inner-1", f"unix:{target.home}/r"))

    async def ask(host, address=None, path=b"/"):
        return (await target.ask(b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", address=address)).status

    async def scenario():
        async def there():
            return await ask(b"inner.default.svc.cluster.local", target.local) == 200
        await target.wait(there, "the inner function is served inside", PATIENCE)
        before = len(target.function.requests)
        for host in HOSTS_IN:
            status = await ask(host)
            assert status in ((200,) if host == b"a." else (400, 404)), (host, status)
        for path in (b"/_lull/default/inner/", b"/_lull/default/inner", b"/_lull/default/f-1/", b"/_lull/../_lull/default/inner", b"/%5flull/default/inner/", b"/_lull//default/inner/", b"/_lull/default/inner%2f",
                     b"/_lull/default/INNER/", b"/_LULL/default/inner/", b"/_lull/", b"/_lull", b"/_lull/default", b"/_lull/default/", b"/_lull/kube-system/x/"):
            status = await ask(b"127.0.0.1", path=path)
            assert status in (400, 404), (path, status)
        seen_there = [q for q in target.function.requests[before:] if q.host != b"a."]
        assert seen_there == [], seen_there
        for path in (b"http://inner.default.svc.cluster.local/", b"http://127.0.0.1/_lull/default/inner/"):  # the authority of the target counts
            assert await ask(b"a", path=path) == 404, path

    try:
        target.run(scenario())
    finally:
        target.stop()

