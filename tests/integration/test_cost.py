# SPDX-License-Identifier: Apache-2.0
"""What a forwarded request costs the two proxies, counted and not timed: system calls, allocations, memory.

Counts come from tests/lib/count_calls.c, preloaded into the real programs. Two loads of different length are
subtracted, so that what connections cost at their start and end does not count."""
import json
import os
import re
import socket
import struct
import subprocess
import time

import pytest
from conftest import BUILD, binary, free_ports
from fake_api import FakeApi, pod, revision, route
from lull_client import wait_for

SYSTEM_CALLS = 4.1  # per request: two reads, two writes, and a share of waiting
PER_REQUEST = 0.02  # of what must not be there: the requests that the end of a load cuts off cost a connection each
CONNECTIONS = 64
NOT_SYSTEM_CALLS = {"malloc"}

pytestmark = pytest.mark.skipif("asan" in BUILD.name or not list(BUILD.glob("tests/lib/count_calls.so")),
                                reason="a sanitizer's build allocates and calls for itself")


def together():
    """All on one processor and without preemption on wake-up: a part has much to do whenever it runs, as under load."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Counted:
    """A program with the counter in it."""

    def __init__(self, command, home, name, env):
        self.file = home / f"{name}.calls"
        self.log = open(home / f"{name}.log", "w+", encoding="utf-8")
        self.p = subprocess.Popen([str(c) for c in command], stderr=self.log, preexec_fn=together, env={
            "PATH": os.environ["PATH"], "LD_PRELOAD": str(binary("count_calls.so")),
            "COUNT_CALLS_FILE": str(self.file), **env})

    def calls(self):
        raw = self.file.read_bytes()
        names = [raw[at:at + 16].rstrip(b"\0").decode() for at in range(4096, 8192, 16)]
        return {name: count for name, count in zip(names, struct.unpack("512Q", raw[:4096])) if name}

    def pss(self):
        text = open(f"/proc/{self.p.pid}/smaps_rollup", encoding="utf-8").read()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])

    def end(self):
        self.p.kill()
        self.p.wait(10)
        self.log.close()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@pytest.fixture
def parts(home):
    """`parts.queue_proxy()`, `parts.activator(address of a queue-proxy)`, `parts.load(port, seconds)`."""
    made = []

    class Parts:
        def __init__(self):
            (self.backend,) = free_ports(1)
            made.append(subprocess.Popen([binary("bench-backend"), str(self.backend)], preexec_fn=together))
            wait_for(lambda: connects(self.backend), 10, "the function listens")

        def queue_proxy(self, listen, **env):
            proxy = Counted([binary("lull-queue-proxy-dynamic")], home, "queue-proxy", {
                "LULL_QUEUE_LISTEN": listen, "LULL_ADMIN_LISTEN": f"unix:{home}/qa", "USER_PORT": str(self.backend), **env})
            made.append(proxy)
            return proxy

        def activator(self, queue, port):
            api = FakeApi()
            made.append(api)
            api.put("revisions", revision("cost-1"))
            api.put("routes", route("cost", {"cost-1": 100}, host="127.0.0.1"))
            api.put("pods", pod("p", "cost-1", queue))
            activator = Counted([binary("lull-activator"), "--kubeconfig", api.kubeconfig(home / "kubeconfig"),
                                 "--public-listen", f"127.0.0.1:{port}", "--local-listen", f"unix:{home}/l",
                                 "--admin-listen", f"unix:{home}/aa", "--pod-address", "unix"], home, "activator", {})
            made.append(activator)
            return activator

        def load(self, port, seconds):
            out = subprocess.run([binary("bench-load"), str(port), "-c", str(CONNECTIONS), "-d", str(seconds)],
                                 capture_output=True, text=True, check=True, timeout=60, preexec_fn=together).stdout
            got = json.loads(out)
            assert got["bad"] == 0, got
            return got["requests"]

    parts = Parts()
    yield parts
    for part in reversed(made):
        if isinstance(part, subprocess.Popen):
            part.kill()
            part.wait(10)
        elif isinstance(part, Counted):
            part.end()
        else:
            part.close()


def ask(port):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return s.makefile("rb").readline().startswith(b"HTTP/1.1 200")


def per_request(parts, port, counted):
    """Calls per request of each part: those of a long load without those of a short one."""
    parts.load(port, 0.3)  # opens what is kept
    seen = []
    for seconds in (0.2, 1.2):
        before = [part.calls() for part in counted]
        requests = parts.load(port, seconds)
        after = [part.calls() for part in counted]
        seen.append((requests, [{k: a[k] - b[k] for k in a} for a, b in zip(after, before)]))
    (few, short), (many, long) = seen
    assert many - few > 1000
    return [{k: (b[k] - a[k]) / (many - few) for k in b} for a, b in zip(short, long)]


def check(parts, port, counted, most=SYSTEM_CALLS):
    for attempt in range(4):  # another program's slice may cut a batch short: the best counts
        got = per_request(parts, port, counted)
        total = [sum(n for call, n in calls.items() if call not in NOT_SYSTEM_CALLS) for calls in got]
        for calls in got:
            assert calls["malloc"] < PER_REQUEST and calls["epoll_ctl"] < PER_REQUEST, calls
            rest = {k: n for k, n in calls.items() if n >= PER_REQUEST}
            assert set(rest) <= {"recv", "send", "sendmsg", "epoll_wait"}, rest
            assert abs(sum(n for k, n in rest.items() if k != "epoll_wait") - 4) < 0.05, rest
        if max(total) <= most:
            return
    raise AssertionError(f"system calls per request: {total}: {got}")


def test_a_request_costs_the_queue_proxy_four_calls_and_no_memory(parts):
    (port,) = free_ports(1)
    proxy = parts.queue_proxy(f"127.0.0.1:{port}", CONTAINER_CONCURRENCY="0")
    wait_for(lambda: connects(port) and ask(port), 10, "the queue-proxy answers")
    check(parts, port, [proxy])


def test_a_limit_costs_no_calls(parts):
    (port,) = free_ports(1)
    proxy = parts.queue_proxy(f"127.0.0.1:{port}", CONTAINER_CONCURRENCY="10", REVISION_TIMEOUT_SECONDS="30")
    wait_for(lambda: connects(port) and ask(port), 10, "the queue-proxy answers")
    check(parts, port, [proxy], 4.6)  # at most ten answers come in one turn, so waiting costs more


def test_the_chain_costs_each_part_four_calls_and_no_memory(parts, home):
    (port,) = free_ports(1)
    proxy = parts.queue_proxy(f"unix:{home}/q", CONTAINER_CONCURRENCY="0")
    activator = parts.activator(f"unix:{home}/q", port)
    wait_for(lambda: connects(port) and ask(port), 20, "the chain answers")
    check(parts, port, [activator, proxy])
