# SPDX-License-Identifier: Apache-2.0
"""Many at once and many in a row: 15,000 held requests in one process, and memory that does not drift."""
import json
import os
import subprocess

import pytest
from chain import HOST, Chain, kib
from conftest import binary, free_ports
from crowd import Crowd
from lull_client import http_request, wait_for

MANY = ("--max-held", "100000", "--max-held-per-revision", "100000")


@pytest.fixture
def backend():
    (port,) = free_ports(1)
    process = subprocess.Popen([binary("bench-backend"), str(port)], stdin=subprocess.DEVNULL)
    yield port
    process.kill()
    process.wait()


@pytest.fixture
def chains(home, backend):
    made = []

    def make(**more):
        made.append(Chain(binary, home, backend, **more))
        return made[0]
    yield make
    for it in made:
        it.close()


def held(chain, many):
    crowd, memory = Crowd(chain.port, HOST), []
    try:
        for n in (1000, many):
            crowd.ask(crowd.add(n - len(crowd.socks)))
            wait_for(lambda n=n: chain.state()["held"] == n, 60, f"{n} requests are held")
            memory.append(kib(chain.activator.pid, "smaps_rollup", "Pss"))
        chain.release()
        took = crowd.collect(60)
    finally:
        crowd.close()
    each = (memory[1] - memory[0]) / (many - 1000)
    print(f"{many} held: {each:.2f} KiB each; all answered in {took:.1f} s")
    assert crowd.told() == {"statuses": {200: many}, "broken": 0, "unanswered": 0}
    assert each <= 4


def test_fifteen_thousand_held_requests(chains):
    """At most 4 KiB each, and every one is answered once there is a replica."""
    held(chains(held=True, options=MANY), 15000)


def load(chain, requests):
    out = subprocess.run([binary("bench-load"), "-c", "64", "-d", "36000", "-n", str(requests), "-H", HOST,
                          str(chain.port)], capture_output=True, text=True, check=True).stdout
    got = json.loads(out)
    assert got["bad"] == 0 and got["requests"] >= requests, got


def drift(chain, warm, requests, rounds=1):
    """By how many KiB the two grew over the requests: what 64 connections need is there after the warm-up. A leak grows
    in every round; what a busy moment takes for the first time does so once."""
    wait_for(lambda: answers(chain), 30, "the chain answers")
    load(chain, warm)
    for left in reversed(range(rounds)):
        before = chain.pss()
        load(chain, requests)
        grown = [b - a for a, b in zip(before, chain.pss())]
        print(f"{requests} requests: queue-proxy grew by {grown[0]} KiB, activator by {grown[1]} KiB")
        if max(grown) <= 64:
            return
        assert left > 0, f"KiB over {requests} requests, queue-proxy and activator: {grown}"


def answers(chain):
    return http_request(f"http://127.0.0.1:{chain.port}/", headers={"Host": HOST}).status == 200


def test_no_drift(chains):
    drift(chains(), 20_000, 60_000, rounds=3)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_dataplane_no_drift_long(chains):
    drift(chains(), 100_000, int(os.environ.get("LULL_SOAK_DRIFT", "10000000")))
