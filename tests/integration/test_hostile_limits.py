# SPDX-License-Identifier: Apache-2.0
"""Family B, limits and slowness, at a size that takes seconds; test_hostile_soak.py has the large forms."""
import asyncio
import os
import resource

import hostile_storms as storms
import pytest
from hostile import ASAN, ActivatorTarget, ChainTarget, QueueTarget, raise_descriptors
from hostile_storms import GET, MIB, crowd, grown, last_words

pytestmark = pytest.mark.hostile


def make(kind, head="1500ms", body="1s", write="1s"):
    """A target whose clients have little time."""
    if kind is QueueTarget:
        return QueueTarget(LULL_CLIENT_HEAD=head, LULL_CLIENT_BODY=body, LULL_CLIENT_WRITE=write)
    return kind(options=[f"--client-head={head}", f"--client-body={body}", f"--client-write={write}"])


@pytest.fixture(scope="module", params=[QueueTarget, ActivatorTarget], ids=lambda k: k.name)
def target(request):
    raise_descriptors()
    it = make(request.param)
    yield it
    it.stop()


@pytest.fixture(scope="module", params=[QueueTarget, ActivatorTarget, ChainTarget], ids=lambda k: k.name)
def patient(request):
    """With the times that are the default."""
    it = request.param()
    yield it
    it.stop()


def test_slowloris(target):
    target.run(storms.slowloris(target, 200 if ASAN else 1000))


def test_connect_and_idle(target):
    target.run(storms.connect_and_idle(target, 300 if ASAN else 2000))


def test_kept_and_idle(patient):
    patient.run(storms.kept_and_idle(patient, 200 if ASAN else 1000))


def test_slow_bodies(target):
    target.run(storms.slow_bodies(target, 50))


def test_expect_without_body(target):
    target.run(storms.expect_without_body(target, 50))


def test_large_answer_to_a_slow_reader(patient):
    patient.run(storms.large_answer(patient, (16 if ASAN else 128) * MIB))


def test_zero_window(target):
    target.run(storms.zero_window(target, 20))


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_ends_everywhere(patient, how):
    patient.run(storms.ends_everywhere(patient, how))


def test_reset_in_answers(patient):
    patient.run(storms.reset_in_answers(patient, 60))


def test_abort_while_held():
    target = ActivatorTarget(replica=False)
    try:
        target.run(storms.abort_while_parked(target, 1000 if ASAN else 5000))
        state = target.run(target.state())
        assert state["held"] == 0 and state["heldBytes"] == 0
    finally:
        target.stop()


def test_abort_while_queued():
    """Behind a limit of 1 with the function busy: the queue empties, and the slot is still one."""
    target = QueueTarget(CONTAINER_CONCURRENCY=1)
    go = asyncio.Event()

    async def busy(request, writer):
        await go.wait()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async def scenario():
        target.function.answer = busy
        first = await target.connect()
        await first.send(GET)
        await target.wait(lambda: target.function.running == 1, "the function is busy")
        await storms.abort_while_parked(target, 300, batch=10)
        go.set()
        assert await first.until(lambda _: first.replies())
        target.function.answer = None
        await target.well(3)
        assert target.function.most == 1

    try:
        target.run(scenario())
    finally:
        target.stop()


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))


@pytest.mark.parametrize("kind", [QueueTarget, ActivatorTarget], ids=lambda k: k.name)
def test_descriptors_exhausted(kind):
    target = kind(limits=few_descriptors)
    try:
        target.run(storms.descriptors_exhausted(target, 200))
    finally:
        target.stop()


def test_held_memory_is_bounded():
    """Bodies that are held are counted: beyond the bound 503, within it they are answered once a replica comes, and the
    address space that the bound leaves room for is enough."""
    def little_memory():
        if not ASAN:
            resource.setrlimit(resource.RLIMIT_AS, (512 * MIB, 512 * MIB))

    target = ActivatorTarget(replica=False, limits=little_memory, options=["--max-held-bytes=8Mi"])
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

    async def scenario():
        before = target.memory()
        with crowd(target, 600, head) as socks:
            for _ in range(3):
                storms.say(socks, b"b" * 32768)
            words = await last_words(socks, 0.5)
            grown(target, before, 8 * MIB)
            refused = [w for w in words if w]
            held = (await target.state())["held"]
            assert all(w.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in w for w in refused), refused[:2]
            assert 0 < held < 600 and held + len(refused) >= 600 - words.count(b""), (held, len(refused))
        await target.wait(target.idle, "their clients have left")
        assert (await target.state())["heldBytes"] == 0

    try:
        target.run(scenario())
    finally:
        target.stop()


@pytest.mark.parametrize("kind", [QueueTarget, ActivatorTarget], ids=lambda k: k.name)
@pytest.mark.parametrize("where", ["full", "closed"])
def test_nowhere_to_log(kind, where):
    """The log's disk is full, or its reader is gone: requests are served all the same."""
    target = kind()
    process = target.processes[-1]
    fd = os.open("/dev/full", os.O_WRONLY) if where == "full" else closed_pipe()
    try:
        env = dict(p.split("=", 1) for p in open(f"/proc/{process.pid}/environ", encoding="utf-8").read().split("\0") if "=" in p)
        command = open(f"/proc/{process.pid}/cmdline", encoding="utf-8").read().split("\0")[:-1]
        process.kill()
        process.wait(10)
        if kind is ActivatorTarget:  # its port is only said in its log: the same one again
            command = [c if c != "127.0.0.1:0" else f"127.0.0.1:{target.address if i == command.index('127.0.0.1:0') else target.local}"
                       for i, c in enumerate(command)]
        target.processes[-1] = target.popen(command, env, fd)

        async def served():
            try:
                await target.well()
                return True
            except (AssertionError, OSError):
                return False
        target.run(target.wait(served, "it serves"))

        async def broken(request, writer):
            writer.write(b"garbage\r\n\r\n")

        async def scenario():
            target.function.answer = broken  # each is a line of the log
            for _ in range(20):
                await target.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            target.function.answer = None
            await target.well(3)
        if kind is QueueTarget:
            target.run(scenario())
        assert target.processes[-1].poll() is None
    finally:
        os.close(fd)
        target.stop()


def closed_pipe():
    r, w = os.pipe()
    os.close(r)
    return w
