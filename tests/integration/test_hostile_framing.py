# SPDX-License-Identifier: Apache-2.0
"""Family A: framing. Every row of hostile_cases, whole and byte by byte, and thousands of mutations of them, to the
queue-proxy, the activator and both in a row: each gets the answer that is due, and what the function receives is
nothing, or exactly the requests that a strict reader of RFC 9112 sees, one each, in order."""
import asyncio
import collections
import os
import random
import time

import pytest
import strict_http as strict
from conftest import BUILD
from hostile import PATIENCE, TARGETS, digest, mutation_seed
from hostile_cases import CASES, GET

pytestmark = pytest.mark.hostile
FORBIDDEN = {"host", "authorization", "content-length", "transfer-encoding", "connection", "k-proxy-request",
             "k-original-host", "x-forwarded-for"}
LONG = 3000  # bytes; longer messages are not sent one by one
FUZZ_SECONDS = float(os.environ.get("LULL_FRAMING_SECONDS", "3"))  # for each target
LEAST = 1000  # mutations, however slow the machine is


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    it = TARGETS[request.param]()
    yield it
    it.stop()


async def send_case(target, case, step):
    c = await target.connect()
    try:
        methods = [r.method for r in strict.messages(case.data)[0]]
        n = len(case.want)
        if len(case.data) < 100_000:
            await c.send(case.data, step)
        else:  # until it is told to stop, for what is on its way when the peer closes takes the answer with it
            for at in range(0, len(case.data), 65536):
                if not c.ended and not c.replies(methods) and await c.send(case.data[at:at + 65536]):
                    await c.more(0.001)
        if not case.quiet:
            assert await c.until(lambda _: len(c.replies(methods)) >= n), f"no answer: {c.data[:200]}"
        return c.replies(methods), c
    except strict.Malformed as e:
        raise AssertionError(f"{e}: {c.data[:400]}") from e


def check_seen(target, before, data, n):
    """The function saw the first n requests of a strict reading, and nothing else."""
    want = [r.key() for r in strict.messages(data)[0][:n]]
    seen = [r.key() for r in target.function.requests[before:]]
    assert [k[:3] for k in seen] == [k[:3] for k in want] and seen == want
    assert target.function.wrong == []
    for r in target.function.requests[before:]:
        left = {k.lower() for k, _ in r.trailers} & FORBIDDEN
        assert not left, f"trailers that do not belong there: {r.trailers}"


def check_row(target, name, step):
    case = CASES[name]
    want = case.want if target.name == "queue-proxy" or not isinstance(case.outside, list) else case.outside

    async def scenario():
        before = len(target.function.requests)
        target.function.wrong.clear()
        got, c = await send_case(target, case, step)
        try:
            assert len(got) == len(want), got
            for r, w in zip(got, want):
                assert r.status in (w if isinstance(w, tuple) else (w,)), (r, w)
            good = sum(r.status == 200 for r in got)
            for r, q in zip(got, strict.messages(case.data)[0]):
                assert r.status != 200 or q.method == b"HEAD" or r.body == digest(q), "an answer to something else"
            if got and got[-1].status not in (200, 404):
                assert got[-1].get("connection") == b"close"
                assert await c.until(lambda _: False), "the connection stays open"
            check_seen(target, before, case.data, good)
        finally:
            c.close()
        await target.well()
        check_seen(target, before + good, b"POST /well0 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwell", 1)

    target.run(scenario())


@pytest.mark.parametrize("name", CASES)
def test_row(target, name):
    check_row(target, name, None)


# The second proxy of a chain is not tried so: what the first one reads it passes on in its own words.
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if len(c.data) < LONG])
@pytest.mark.parametrize("target", ["queue-proxy", "activator"], indirect=True)
def test_row_byte_by_byte(target, name):
    check_row(target, name, 1)


# ---- mutations ------------------------------------------------------------------------------------------------------

PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"5", b"-", b"+", b"0x", b"\x0b", b"\xa0", b"\x85", b"\x7f", b"#", b"@", b"%",
          b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
          b"Connection: keep-alive\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n", GET, b"HTTP/1.0", b"HTTP/1.1", b"\r\n\r\n", b" HTTP/1.1\r\nX: ", b"chunked", b"Upgrade: x\r\n"]
SEEDS = [c.data for c in CASES.values() if len(c.data) < 1500 and b"HTTP" in c.data]


def mutate(rng):
    data = rng.choice(SEEDS)
    if rng.random() < 0.3:
        data += rng.choice(SEEDS)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(5)
        if what == 0:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif what == 1:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
        elif what == 2:
            data = data[:at] + data[at + rng.randint(1, 4):]
        elif what == 3:
            n = rng.randint(1, 40)
            data = data[:at] + data[at:at + n] + data[at:]
        else:
            data = data[:max(1, at)]
    return data or b"\r\n"


class Lab:
    """Sends mutations, and compares. What the function sees must each time be the next request of one strict reading:
    all that may come is kept in `due`, per message in order."""

    def __init__(self, target, seed):
        self.target, self.rng = target, random.Random(seed)
        self.due, self.sent, self.seen = {}, 0, 0
        self.recent = collections.deque(maxlen=4096)  # (number, step, bytes), for what a finding has to tell
        self.kept = BUILD / f"framing-{target.name}-{seed}.txt"
        target.function.answer = self.answer

    def may_come(self, requests):
        """Each message is told from the others by what it asks for; equal ones may come as often as they were sent."""
        for r in requests:
            self.due[r.key()] = self.due.get(r.key(), 0) + 1
        while len(self.due) > 50_000:
            self.due.pop(next(iter(self.due)))

    async def answer(self, request, writer):
        self.seen += 1
        left = self.due.get(request.key(), 0)
        if left == 0:
            self.target.function.wrong.append(self.keep(f"no strict reader sees {request.key()}", request))
        self.due[request.key()] = left - 1
        return b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + digest(request)

    def keep(self, what, request):
        """A finding, with every byte that it may have come from: in the message the likeliest, in a file all."""
        mark = request.target.partition(b"-")[0] + b"-"
        likely = [m for m in self.recent if mark in m[2]] or list(self.recent)[-64:]
        with self.kept.open("a") as f:
            print(what, request, "trailers", request.trailers, "of message", self.sent, file=f)
            print(*likely, "--- all of late ---", *self.recent, sep="\n", file=f)
        return f"{what} in {likely}; {self.kept} has all"

    async def one(self):
        data = mutate(self.rng)
        mark = b"/m%d-" % self.sent
        data = data.replace(b" /", b" " + mark)  # where it is left whole, the path names the message
        step = self.rng.choice((None, None, None, 1 if len(data) < 300 else 97))
        self.recent.append((self.sent, step, data))
        self.sent += 1
        requests, why = strict.messages(data)
        self.may_come(requests)
        c = await self.target.connect()
        try:
            await self.converse(c, data, step, requests, why)
        except strict.Malformed as e:
            raise AssertionError(f"malformed answer {e} to {data!r}: {c.data!r}") from e
        finally:
            c.close()

    async def converse(self, c, data, step, requests, why):
        await c.send(data, step)
        methods = [r.method for r in requests]
        assert await c.until(lambda _: len(c.replies(methods)) >= len(requests)), f"silent after {data!r}: {c.data!r}"
        if why == "malformed":
            await c.until(lambda _: False, 0.05)  # it is refused, or what is wrong is not complete yet
        c.finish()
        assert await c.until(lambda _: False), f"open after {data!r}: {c.data!r}"
        for r, q in zip(c.replies(methods), requests):
            if r.status == 200 and q.method != b"HEAD":
                assert r.body == digest(q), f"{data!r} got the answer to something else: {r}"
            if r.status != 200:
                break


def run_lab(target, lab_of, seconds):
    """Mutations for so long."""
    lab = lab_of(target, mutation_seed())
    target.function.wrong.clear()

    async def worker(end):
        while (time.monotonic() < end or lab.sent < LEAST) and not target.function.wrong:
            await lab.one()

    async def scenario():
        end = time.monotonic() + seconds
        await asyncio.gather(*(worker(end) for _ in range(16)))
        await target.wait(target.idle, "nothing is left running", PATIENCE)

    try:
        target.run(scenario())
    finally:
        target.function.answer = None
    print(f"{lab.sent} messages, {lab.seen} requests reached the function")
    assert target.function.wrong == []
    assert lab.seen > LEAST // 20
    target.run(target.well(5))


def test_mutations(target):
    run_lab(target, Lab, FUZZ_SECONDS)
