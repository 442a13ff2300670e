# SPDX-License-Identifier: Apache-2.0
"""Family B as scenarios with a size: test_hostile_limits.py runs them small, test_hostile_soak.py large. The crowd is
raw sockets, so that thousands of clients cost the test little; who is served beside the crowd is `Target.well`."""
import asyncio
import contextlib
import socket
import time

from hostile import ASAN, PATIENCE

MIB = 2 ** 20
SLACK = 16 * MIB  # growth that is nobody's: caches, the allocator
IDLE_BYTES = 640  # per idle connection
HELD_BYTES = 4096  # per request that waits or is not complete, beside its body
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.contextmanager
def crowd(target, n, first=b"", address=None):
    """n connected sockets, each of which has sent `first`."""
    to, socks = address or target.address, []
    try:
        for _ in range(n):
            s = socket.socket(socket.AF_INET if isinstance(to, int) else socket.AF_UNIX)
            socks.append(s)
            s.settimeout(PATIENCE)
            connect(s, ("127.0.0.1", to) if isinstance(to, int) else str(to))
            if first:
                s.sendall(first)
            s.setblocking(False)
        yield socks
    finally:
        for s in socks:
            s.close()


def connect(s, to):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return s.connect(to)
        except BlockingIOError:  # a unix socket whose backlog is full
            assert time.monotonic() < end, "it does not accept"
            time.sleep(0.005)


def say(socks, data):
    for s in socks:
        with contextlib.suppress(OSError):
            s.send(data)


async def last_words(socks, seconds=PATIENCE):
    """What each gets until it is closed; None for one that stays open."""
    words, end = {s: b"" for s in socks}, time.monotonic() + seconds
    left = set(socks)
    while left and time.monotonic() < end:
        for s in list(left):
            try:
                data = s.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            words[s] += data
            if not data:
                left.discard(s)
        await asyncio.sleep(0.02)
    return [None if s in left else words[s] for s in socks]


def grown(target, before, beyond):
    """No more than SLACK beyond what was stated; a sanitizer's own memory is not counted."""
    growth = target.memory() - before
    assert ASAN or growth <= SLACK + beyond, f"{growth} bytes more than before, {beyond} are stated"
    return growth


async def slowloris(target, n, limit=0):
    """n heads that never come to an end, a byte at a time. They end with 408, after `limit` seconds; the others are
    served meanwhile."""
    await target.well(5)
    before = target.memory()
    with crowd(target, n, b"GET / HTTP/1.1\r\nHost: a\r\nX: ") as socks:
        for _ in range(3):
            say(socks, b"a")
            await target.well(5)
        grown(target, before, n * HELD_BYTES)
        words = await last_words(socks, limit + PATIENCE)
    assert all(w is not None and w.startswith(b"HTTP/1.1 408 ") for w in words), [w for w in words if not w or b" 408 " not in w][:3]
    await target.well(5)


async def connect_and_idle(target, n, limit=0):
    """n connections on which nothing is ever said: closed after `limit` seconds, without a word."""
    await target.well(5)
    before = target.memory()
    with crowd(target, n) as socks:
        await target.well(20)
        grown(target, before, n * IDLE_BYTES)
        words = await last_words(socks, limit + PATIENCE)
    assert words == [b""] * n, [w for w in words if w != b""][:3]
    await target.well(5)


async def kept_and_idle(target, n):
    """n connections that have had one answer, and keep."""
    await target.well(5)
    before = target.memory()
    with crowd(target, n) as socks:
        for at in range(0, n, 100):
            say(socks[at:at + 100], GET)
            for s in socks[at:at + 100]:
                await answer_on(target, s)
        await target.well(20)
        grown(target, before, n * IDLE_BYTES)
    await target.well(5)


async def answer_on(target, s):
    got = b""
    s.setblocking(False)
    end = time.monotonic() + PATIENCE
    while b"\r\n\r\n" not in got:
        try:
            data = s.recv(65536)
            assert data, "closed without an answer"
            got += data
        except BlockingIOError:
            assert time.monotonic() < end, "no answer"
            await asyncio.sleep(0.001)
    assert got.startswith(b"HTTP/1.1 200 "), got
    return got


async def slow_bodies(target, n):
    """n bodies that stop on their way: 408, and the function never sees a request of them."""
    await target.well(2)
    seen = len(target.function.requests)
    with crowd(target, n, POST[:-5]) as socks:
        words = await last_words(socks)
    assert all(w is not None and (w == b"" or b" 408 " in w[:20]) for w in words), words[:3]
    assert any(w for w in words)
    await target.wait(target.idle, "nothing is left running")
    await target.well(2)
    assert [r.target for r in target.function.requests[seen:] if r.target == b"/x"] == []


async def expect_without_body(target, n):
    """n clients that wait for 100 Continue, get it, and say nothing more."""
    await target.well(2)
    with crowd(target, n, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n") as socks:
        words = await last_words(socks)
    assert all(w is not None and (w.startswith(b"HTTP/1.1 100 ") or b" 408 " in w) for w in words), words[:3]
    await target.wait(target.idle, "nothing is left running")
    await target.well(2)


async def large_answer(target, size):
    """An answer of this size to a client that does not read, then reads a little, then all: memory stays bounded."""
    piece = b"z" * 65536

    async def answer(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
        return b""

    await target.well(2)
    before = target.memory()
    target.function.answer = answer
    try:
        c = await target.connect()
        await c.send(GET)
        got, most = 0, 0
        for turn in range(20):  # it reads nothing, or nearly
            await asyncio.sleep(0.02)
            got += len(await asyncio.wait_for(c.reader.read(1000), PATIENCE))
            most = max(most, target.memory() - before)
        while got < size:
            data = await asyncio.wait_for(c.reader.read(MIB), PATIENCE)
            assert data, f"cut after {got}"
            got += len(data)
            if got % (64 * MIB) < len(data):
                most = max(most, target.memory() - before)
        assert ASAN or most <= 4 * MIB, f"{most} bytes for one slow reader"
        c.close()
    finally:
        target.function.answer = None
    await target.well(2)


async def zero_window(target, n):
    """n clients that ask for 8 MiB and never read: each is cut, the function's side too."""
    piece = b"z" * 65536

    async def answer(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * MIB))
        for _ in range(128):
            writer.write(piece)
            await writer.drain()
        return b""

    await target.well(2)
    before = target.memory()
    target.function.answer = answer
    try:
        with crowd(target, n, GET) as socks:
            for s in socks:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await target.wait(lambda: target.function.running > 0, "the function is asked")
            grown(target, before, n * 192 * 1024)
            await target.wait(target.idle, "all are cut")
    finally:
        target.function.answer = None
    await target.wait(lambda: target.function.running == 0, "the function's side is closed")
    await target.well(2)


async def ends_everywhere(target, how):
    """A request that is ended after each of its bytes, by FIN or RST: nothing of it stays, nothing of it is a request."""
    message = b"POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    before = len(target.function.requests)
    for i in range(len(message)):
        c = await target.connect()
        await c.send(message[:i])
        if how == "fin":
            c.finish()
            assert await c.until(lambda _: False), f"open after {message[:i]!r} and FIN"
            assert not c.data or c.data.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 ")), c.data
            c.close()
        else:
            c.reset()
    await target.wait(target.idle, "nothing is left running")
    assert [r for r in target.function.requests[before:] if r.target == b"/cut"] == []
    await target.well(2)


async def reset_in_answers(target, n):
    """Clients that break off at some place of a streamed answer, n of them."""
    async def answer(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            writer.write(b"64\r\n" + b"c" * 100 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        return b"0\r\n\r\n"

    target.function.answer = answer
    try:
        for i in range(n):
            c = await target.connect()
            await c.send(GET)
            await c.until(lambda data, least=i * 37 % 15000: len(data) > least)
            c.reset()
        await target.wait(target.idle, "nothing is left running")
    finally:
        target.function.answer = None
    await target.wait(lambda: target.function.running == 0, "the function's side is closed")
    await target.well(2)


async def abort_while_parked(target, n, batch=250):
    """Requests that wait, and whose clients leave, n in all: no slot, no byte, no descriptor stays."""
    async def waiting(count):
        if target.name == "activator":
            return (await target.state())["held"] == count
        return await target.metric("lull_queue_depth") == count

    done, fds, before = 0, target.descriptors(), None
    while done < n:
        with crowd(target, batch, GET if done // batch % 2 else POST) as socks:
            await target.wait(lambda: waiting(batch), f"{batch} are held")
            if done // batch % 3 == 2:
                for s in socks:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await target.wait(lambda: waiting(0), "none is held")
        done += batch
        if done == 2 * batch:
            before = target.memory()
    assert before is None or ASAN or target.memory() - before <= 1 * MIB, target.memory() - before
    await target.wait(lambda: target.descriptors() <= fds + 2, "no descriptor stays")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def descriptors_exhausted(target, n):
    """More clients than descriptors: who was there is served, who comes waits or is refused and burns no time, and
    when they have gone everybody is served again."""
    kept = await target.connect()
    await kept.send(GET)
    assert await kept.until(lambda _: len(kept.replies()) == 1)
    burnt = cpu_seconds(target.processes[-1].pid)
    with crowd(target, n) as socks:
        for i in range(30):
            await kept.send(GET)
            assert await kept.until(lambda _, k=i: len(kept.replies()) == k + 2), "who was there is not served"
        assert all(r.status == 200 for r in kept.replies())
        assert ASAN or cpu_seconds(target.processes[-1].pid) - burnt < 2, "it spins"
    kept.close()
    await target.wait(lambda: target.descriptors() < n // 2, "they are gone")
    await target.well(10)
