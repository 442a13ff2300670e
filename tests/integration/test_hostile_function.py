# SPDX-License-Identifier: Apache-2.0
"""E36: functions (and replicas) that lie, break off, and never come to an end. The client gets 502 or 504, or an answer
that is visibly cut, never a byte that belongs to somebody else; nothing stays behind in the proxy, and the next
request is served."""
import asyncio
import itertools
import os

import pytest
import strict_http as strict
from hostile import PATIENCE, TARGETS, ActivatorTarget, ChainTarget, Function, QueueTarget, answer_with, mutation_seed
from fake_api import pod

pytestmark = pytest.mark.hostile
OK = b"HTTP/1.1 200 OK\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
KEEP, CLOSE, RESET = "keep", "close", "reset"  # what the function does behind its bytes


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    it = TARGETS[request.param]()
    yield it
    it.stop()


# name: (what it sends, what it does then). Each is a bad gateway.
BAD_HEADS = {
    "nothing": (b"", CLOSE), "reset": (b"", RESET), "half a line": (b"HTTP/1.1 2", CLOSE), "cut head": (OK + b"Content-", CLOSE), "cut head, reset": (OK + b"X: 1\r\n", RESET),
    "empty line before": (b"\r\n" + OK + b"Content-Length: 0\r\n\r\n", KEEP), "lf before": (b"\n" + OK + b"Content-Length: 0\r\n\r\n", KEEP),
    "status line, cr cr": (OK[:-2] + b"\r\rContent-Length: 0\r\n\r\n", KEEP), "status line, cr cr, bare": (OK[:-2] + b"\r\r\r\n", KEEP),
    "garbage": (b"hello\r\n\r\n", KEEP), "zeros": (b"\0" * 1000, KEEP), "a request": (GET, KEEP), "http/0.9": (b"<html>hello</html>", KEEP), "http/2": (b"\0\0\x12\x04\0\0\0\0\0" + b"x" * 18, KEEP),
    "version 2.0": (b"HTTP/2.0 200 OK\r\n\r\n", KEEP), "version 1.9": (b"HTTP/1.9 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP), "status 99": (b"HTTP/1.1 99 X\r\n\r\n", KEEP),
    "status 1000": (b"HTTP/1.1 1000 X\r\n\r\n", KEEP), "status abc": (b"HTTP/1.1 abc X\r\n\r\n", KEEP), "no status": (b"HTTP/1.1\r\n\r\n", KEEP), "status 000": (b"HTTP/1.1 000 X\r\n\r\n", KEEP),
    "cl and te": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEEP), "two cl": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", KEEP),
    "two cl, same": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", KEEP), "cl list": (OK + b"Content-Length: 2, 2\r\n\r\nab", KEEP), "cl minus": (OK + b"Content-Length: -1\r\n\r\n", KEEP),
    "cl 2^63": (OK + b"Content-Length: 9223372036854775808\r\n\r\n", KEEP), "cl 2^64": (OK + b"Content-Length: 18446744073709551616\r\n\r\n", KEEP), "cl junk": (OK + b"Content-Length: 2x\r\n\r\nab", KEEP),
    "te gzip": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", KEEP), "te twice": (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEEP),
    "te tab": (OK + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n", KEEP), "te in 1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEEP),
    "obs-fold": (OK + b"X: 1\r\n 2\r\nContent-Length: 0\r\n\r\n", KEEP), "nul": (OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", KEEP), "bare lf": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", KEEP),
    "bare cr": (OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n", KEEP), "space before colon": (OK + b"X : 1\r\nContent-Length: 0\r\n\r\n", KEEP), "no colon": (OK + b"X\r\nContent-Length: 0\r\n\r\n", KEEP),
    "large head": (OK + b"X: " + b"a" * 50000 + b"\r\n\r\n", KEEP), "many headers": (OK + b"X: 1\r\n" * 500 + b"\r\n", KEEP), "headers without end": (OK + b"X: 1\r\n" * 100_000, KEEP),
    "a header without end": (OK + b"X: " + b"a" * 2_000_000, KEEP), "padding without end": (OK + b"X:" + b" " * 2_000_000, KEEP), "1xx without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000, KEEP),
    "100 without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, KEEP), "1xx, then nothing": (b"HTTP/1.1 103 Early Hints\r\n\r\n", CLOSE), "1xx with a body": (b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nabcde", CLOSE),
    "uncalled 101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", KEEP), "101 without upgrade": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", KEEP),
}
# The answer has begun, and its end is not what was promised.
CUT = {
    "cl too long": (OK + b"Content-Length: 10\r\n\r\nabc", CLOSE), "cl too long, reset": (OK + b"Content-Length: 10\r\n\r\nabc", RESET), "cl far too long": (OK + b"Content-Length: 9223372036854775807\r\n\r\nabc", CLOSE),
    "chunks cut": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", CLOSE), "in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc", CLOSE), "in a size": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5", CLOSE),
    "before the last line": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", CLOSE), "bad chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", KEEP),
    "chunk too long": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", KEEP), "chunk size 2^64": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10000000000000000\r\n", KEEP),
    "bare lf in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\n", KEEP), "bad trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX : 1\r\n\r\n", KEEP),
    "extensions without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3;" + b"a" * 2_000_000, KEEP), "trailers without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + b"X: 1\r\n" * 100_000, KEEP),
}
EVIL = OK + b"Content-Length: 4\r\n\r\nEVIL"
# (request, what it sends, the body that the client gets); what is beyond it must not reach anybody.
MORE = {
    "a second answer": (GET, OK + b"Content-Length: 2\r\n\r\nok" + EVIL, b"ok"), "a second answer to POST": (POST, OK + b"Content-Length: 2\r\n\r\nok" + EVIL, b"ok"),
    "cl too short": (GET, OK + b"Content-Length: 2\r\n\r\nokEVIL", b"ok"), "behind the last chunk": (GET, OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + EVIL, b"ok"),
    "body of HEAD": (HEAD, OK + b"Content-Length: 4\r\n\r\nEVIL", b""), "chunks of HEAD": (HEAD, OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n", b""),
    "body of 204": (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nEVIL", b""), "an answer behind 204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, b""),
    "body of 304": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL", b""), "chunks of 304": (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n", b""),
    "garbage behind": (GET, OK + b"Content-Length: 2\r\n\r\nok\0\0\0\0EVIL", b"ok"), "1xx behind": (GET, OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 103 EVIL\r\n\r\n", b"ok"),
}


def sends(data, then):
    async def answer(request, writer):
        writer.write(data)
        if then == RESET:
            sock = writer.get_extra_info("socket")
            if sock.family != 1:  # a unix socket that is closed with bytes unread resets by itself
                sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        elif then == KEEP:
            await asyncio.wait_for(ended(writer), PATIENCE)
    return answer


async def ended(writer):
    """Until the proxy has closed this connection."""
    while await writer.peer.read(65536):
        pass


class Misbehaving:
    """Within it the function answers so; afterwards it is honest again, and the proxy must be well and empty."""

    def __init__(self, target, answer):
        self.target, self.answer = target, answer

    async def __aenter__(self):
        self.target.function.answer = self.answer

    async def __aexit__(self, kind, *_):
        self.target.function.answer = None
        if kind is None:
            await self.target.well(2)
            await self.target.wait(self.target.idle, "nothing is left running")


async def talk(target, data, method=b"GET"):
    """The answer, and whether the proxy ended the connection with it."""
    c = await target.connect()
    try:
        await c.send(data)
        assert await c.until(lambda _: c.replies([method])), f"no answer: {c.data[:200]}"
        return c.replies([method])[0], c
    finally:
        c.close()


@pytest.mark.parametrize("name", BAD_HEADS)
def test_bad_head_is_a_bad_gateway(target, name):
    async def scenario():
        async with Misbehaving(target, sends(*BAD_HEADS[name])):
            got, _ = await talk(target, POST)
            assert got.status == 502 and b"EVIL" not in got.body, got
    target.run(scenario())


@pytest.mark.parametrize("name", CUT)
def test_cut_answer_is_seen_as_cut(target, name):
    async def scenario():
        async with Misbehaving(target, sends(*CUT[name])):
            c = await target.connect()
            await c.send(POST)
            assert await c.until(lambda _: False), "still open"
            try:
                got = c.replies()[0]
            except strict.Malformed:
                got = None  # broken off in its head: the client cannot take it for whole either
            assert got is None or got.cut or got.status == 502, got
            c.close()
    target.run(scenario())


@pytest.mark.parametrize("name", MORE)
def test_what_comes_behind_an_answer_reaches_nobody(target, name):
    request, data, body = MORE[name]
    method = request.split()[0]

    async def scenario():
        async with Misbehaving(target, sends(data, KEEP)):
            c = await target.connect()
            for _ in range(3):
                seen = len(c.replies([method] * 9)) if not c.ended else 9
                await c.send(request)
                assert await c.until(lambda _, n=seen: len(c.replies([method] * 9)) > n)
            got = c.replies([method] * 9)
            assert [r.body for r in got] == [body] * 3 and b"EVIL" not in c.data, c.data
            c.close()
    target.run(scenario())


def test_bytes_on_an_idle_connection_are_no_answer(target):
    """After its answer the function sends another one that nobody asked for, while the connection is idle."""
    idle = []

    async def answer(request, writer):
        idle.append(writer)
        return answer_with(b"good")

    async def scenario():
        async with Misbehaving(target, answer):
            for _ in range(10):
                assert (await target.ask(GET)).body == b"good"
                for w in idle:
                    if not w.transport.is_closing():
                        w.write(EVIL)
                idle.clear()
    target.run(scenario())


def test_answers_before_the_body(target):
    """A refusal while the body is on its way reaches the client, and the upload ends."""
    refusal = answer_with(b"too big", b"Connection: close", status=b"413 Content Too Large")

    async def scenario():
        async with Misbehaving(target, None):
            for length, start in ((b"Content-Length: 50000000", b"abcde"), (b"Transfer-Encoding: chunked", b"5\r\nabcde\r\n")):
                target.function.early = refusal
                got, _ = await talk(target, b"POST /x HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n" + start)
                target.function.early = None
                assert got.status == 413 and got.body == b"too big"
    target.run(scenario())


def test_never_answers():
    """Its time is out: 504, and the slot is free again."""
    for kind in (QueueTarget, ChainTarget):
        target = kind(REVISION_TIMEOUT_SECONDS=2, CONTAINER_CONCURRENCY=1)

        async def never(request, writer):
            await ended(writer)

        async def dribbles(request, writer):
            writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            while not writer.transport.is_closing() and not writer.peer.at_eof():
                writer.write(b"1\r\na\r\n")
                await asyncio.sleep(0.02)

        async def interim(request, writer):
            for _ in range(20):
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await asyncio.sleep(0.02)
            await ended(writer)

        async def scenario(t=target):
            for answer in (never, interim):
                async with Misbehaving(t, answer):
                    assert (await talk(t, POST))[0].status == 504
            async with Misbehaving(t, dribbles):
                c = await t.connect()
                await c.send(POST)
                assert await c.until(lambda _: c.replies()), "its time does not run out"
                c.close()

        try:
            target.run(scenario())
        finally:
            target.stop()


def test_port_flaps():
    """The function stops listening and starts again, many times: every request is answered, with 200 or 502, each that
    came while it listened with 200, and none is lost."""
    target = QueueTarget()

    async def scenario():
        for i in range(8):
            target.function.server.close()
            await target.function.server.wait_closed()
            for task in list(target.function.tasks):
                task.cancel()
            got = [(await target.ask(POST)).status for _ in range(3)]
            assert set(got) <= {502}, got
            await target.function.listen()
            await target.well(3)

    try:
        target.run(scenario())
    finally:
        target.stop()


def test_readiness_lies():
    """Pods that say that they are ready: one refuses, one accepts and resets, one never accepts, one is honest. What
    cannot have reached a function is sent elsewhere."""
    target = ActivatorTarget()
    liar = Function(target.loop, target.home / "liar")

    async def reset(reader, writer):
        writer.transport.abort()

    async def scenario():
        liar.converse = reset
        target.api.put("pods", pod("refuses", "f-1", f"unix:{target.home}/nobody"))
        target.api.put("pods", pod("resets", "f-1", liar.path and f"unix:{liar.path}"))

        async def known():
            return len((await target.state())["revisions"][0]["replicas"]) == 3
        await target.wait(known, "three Pods are known")
        got = [(await target.ask(GET)).status for _ in range(60)]
        assert set(got) <= {200, 502} and got.count(200) >= 40, got
        got = [(await target.ask(GET)).status for _ in range(20)]
        assert got.count(200) >= 15, got

    try:
        target.run(scenario())
    finally:
        liar.stop()
        target.stop()


# ---- answers at random ----------------------------------------------------------------------------------------------


def test_mutated_answers(target):
    """Answers with bytes changed, cut and doubled: the client gets an answer that a strict reader takes for the one that
    a strict reader saw the function give, or 502, or one that is visibly cut."""
    import random
    rng = random.Random(mutation_seed())
    seeds = [d for d, _ in itertools.chain(BAD_HEADS.values(), CUT.values()) if 0 < len(d) < 500] + [d for _, d, _ in MORE.values()]
    pieces = [b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b"0", b"-", b"0\r\n\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
              b"Connection: close\r\n", b"\r\n\r\n", OK, b"HTTP/1.1 103 X\r\n\r\n", b"3\r\nabc\r\n"]

    def mutate():
        data = rng.choice(seeds)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            at = rng.randrange(len(data) + 1)
            data = rng.choice((data[:at] + rng.choice(pieces) + data[at:], data[:at] + bytes([rng.randrange(256)]) + data[at + 1:],
                               data[:at] + data[at + 1:], data[:at], data[:at] + data[at:at + 20] + data[at:]))
        return data

    def strictly(data):
        """What a strict reader makes of it when the function closes behind it: the final answer, or None."""
        at = 0
        try:
            while True:
                got, at = strict.reply(data, at, b"POST", True)
                if got.status >= 200:
                    return got
                if got.status == 101:
                    return None
        except (strict.Malformed, strict.Incomplete):
            return None

    async def one(data):
        async def answer(request, writer):
            writer.write(data)
        target.function.answer = answer
        c = await target.connect()
        try:
            await c.send(POST)
            assert await c.until(lambda _: c.replies()), f"silent after {data!r}: {c.data!r}"
            if not c.ended:
                c.finish()
                await c.until(lambda _: False)
            compare(data, c)
        finally:
            c.close()

    def compare(data, c):
        want = strictly(data)
        try:
            got = c.replies()
        except strict.Malformed:
            return  # broken off, or refused as such by any strict client
        assert len(got) <= 1, f"{data!r} became {len(got)} answers: {c.data!r}"
        if not got or got[0].cut or got[0].status in (502, 503):
            return
        assert want is not None, f"{data!r} passed as {c.data!r}"
        assert (got[0].status, got[0].body) == (want.status, want.body) or want.cut, f"{data!r} passed as {c.data!r}"

    async def scenario():
        end = target.loop.time() + float(os.environ.get("LULL_FRAMING_SECONDS", "1.5"))
        n = 0
        while target.loop.time() < end or n < 200:
            await one(mutate())
            n += 1
        print(f"{n} answers")
        target.function.answer = None
        await target.well(2)

    try:
        target.run(scenario())
    finally:
        target.function.answer = None

