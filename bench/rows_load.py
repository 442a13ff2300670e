# SPDX-License-Identifier: Apache-2.0
"""Rows of dataplane that drive load: one hop and the chain beside nginx and HAProxy, and a limit of ten requests."""
import hop
import measure as m
from dataplane import Verdict, ratios, row

PEERS = {"nginx": hop.nginx, "haproxy": hop.haproxy, "queue-proxy": hop.queue_proxy}


def one_hop(bench, connections):
    return bench.pairs({k: PEERS[k] for k in ("nginx", "queue-proxy")},
                       lambda port, procs: m.measure(port, procs, connections, bench.seconds))


@row("hop-1", "one hop, one connection")
def hop_1(bench, name):
    points = one_hop(bench, 1)
    yield Verdict(name, "p50 / nginx", 0.95, ratios(points, "queue-proxy", "nginx", "p50_us"))
    yield Verdict(name, "CPU / nginx", 0.95, ratios(points, "queue-proxy", "nginx", "cpu_s_per_100k"))
    yield Verdict(name, "p50 µs", None, [p["p50_us"] for p in points["queue-proxy"]], digits=0)


def many(connections):
    def run(bench, name):
        points = one_hop(bench, connections)
        yield Verdict(name, "CPU / nginx", 0.85, ratios(points, "queue-proxy", "nginx", "cpu_s_per_100k"))
        for target in points:
            yield Verdict(name, f"CPU s per 100k, {target}", None, [p["cpu_s_per_100k"] for p in points[target]])
        yield Verdict(name, "req/s / nginx", None, ratios(points, "queue-proxy", "nginx", "rps"))
    return run


for _n in (16, 64, 256):
    row(f"hop-{_n}", f"one hop, {_n} connections, small bodies")(many(_n))


def large(path, body):
    def run(bench, name):
        if body:
            def drive(port, procs):
                return m.measure(port, procs, 64, bench.seconds, by=m.own_load, body=body)
        else:
            def drive(port, procs):
                return m.measure(port, procs, 64, bench.seconds, path=path)
        points = bench.pairs(PEERS, drive)
        for peer in ("nginx", "haproxy"):
            yield Verdict(name, f"CPU / {peer}", 1.0, ratios(points, "queue-proxy", peer, "cpu_s_per_100k"))
        yield Verdict(name, "CPU s per 100k", None, [p["cpu_s_per_100k"] for p in points["queue-proxy"]])
    return run


row("get-64k", "one hop, 64 connections, answers of 64 KiB")(large("/64k", 0))
row("post-64k", "one hop, 64 connections, requests of 64 KiB")(large("/", 65536))
row("stream", "one hop, 64 connections, answers of 64 KiB in 16 chunks sent one by one")(large("/stream", 0))


@row("cc10", "containerConcurrency 10 at 64 connections")
def limited(bench, name):
    port, procs = bench.peer(hop.queue_proxy_of(10))
    m.own_load(port, 64, 0.3)
    closed = [m.measure(port, procs, 64, bench.seconds) for _ in range(bench.rounds)]
    yield Verdict(name, "p99 ms, each asks again at once", 10, [p["p99_us"] / 1000 for p in closed])
    rate = int(0.7 * m.median(closed, "rps"))  # queues come and go, and the load is one that can be met
    opened = [m.own_load(port, 64, bench.seconds, rate=rate, seed=i + 1) for i in range(bench.rounds)]
    yield Verdict(name, "p99 ms, requests at random times", 10, [p["p99_us"] / 1000 for p in opened])
    yield Verdict(name, "req/s of the latter", None, [p["rps"] for p in opened], digits=0)


@row("chain", "activator and queue-proxy on one core, 64 connections, beside one hop of nginx")
def chain(bench, name):
    targets = {"nginx": hop.nginx, "tcp": hop.chain(False), "unix": hop.chain(True)}
    points = bench.pairs(targets, lambda port, procs: m.measure(port, procs, 64, bench.seconds))
    yield Verdict(name, "req/s / nginx, over TCP", 0.53, ratios(points, "tcp", "nginx", "rps"), at_most=False)
    yield Verdict(name, "req/s / nginx, over a unix socket", 0.70, ratios(points, "unix", "nginx", "rps"),
                  at_most=False)
    for kind in ("tcp", "unix"):
        yield Verdict(name, f"CPU / nginx, {kind}", None, ratios(points, kind, "nginx", "cpu_s_per_100k"))
