# SPDX-License-Identifier: Apache-2.0
"""dataplane: the bars of the two proxies as one table, each row with its bar, its figure and whether it is met.

A ratio is taken within a pair (the same load on two proxies, one right after the other, in changing order); its
figure is the median over the pairs, its spread the middle half of them. "tie": the median misses the bar, but the
spread reaches it; it counts as met. A row that cannot be measured here says why and counts as neither."""
import shutil
import statistics
import time

import hop
import measure as m

ROWS = {}  # name: (function(bench, row), what it measures), in the order of the table


class Unmeasured(Exception):
    """This row cannot be measured on this tree or machine; the text says why."""


class Verdict:
    """One line of the table. values: one figure per pair or run; at_most: the bar is an upper one."""

    def __init__(self, row, what, bar, values, at_most=True, unit="", figure=None, digits=2):
        self.row, self.what, self.bar, self.at_most, self.values = row, what, bar, at_most, list(values)
        self.figure = statistics.median(self.values) if figure is None else figure
        self.low, self.high = quartiles(self.values)
        self.unit, self.digits = unit, digits

    @property
    def state(self):
        if self.bar is None:
            return "reported"
        reaches = (lambda v: v <= self.bar) if self.at_most else (lambda v: v >= self.bar)
        if reaches(self.figure):
            return "met"
        return "met (tie)" if reaches(self.low if self.at_most else self.high) else "NOT MET"

    def cells(self):
        def show(v):
            return f"{v:.{self.digits}f}"
        bar = "–" if self.bar is None else f"{'≤' if self.at_most else '≥'} {self.bar:g}{self.unit}"
        spread = f"{show(self.low)}–{show(self.high)}" if len(self.values) > 1 else ""
        return [self.row, self.what, bar, show(self.figure) + self.unit, spread, self.state]

    def raw(self):
        return {"row": self.row, "what": self.what, "bar": self.bar, "at_most": self.at_most, "unit": self.unit,
                "figure": self.figure, "spread": [self.low, self.high], "state": self.state, "values": self.values}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Bench:
    """What a row needs: options, a folder, a backend, proxies that end with the row."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.rounds, self.seconds, self.short = options.rounds, options.seconds, options.short
        self.procs = []
        self.made = 0
        self.backend = m.free_port()
        self.start([m.Proc([m.program("bench-backend"), self.backend], m.LOAD_CPU, listens=self.backend)])

    def start(self, procs):
        self.procs += procs
        return procs

    def peer(self, make):
        """Start one proxy in a folder of its own. → (port, its processes)"""
        self.made += 1
        folder = self.folder / str(self.made)
        folder.mkdir()
        port, procs = make(folder, self.backend)
        self.start(procs)
        return port, procs

    def close(self):
        for p in reversed(self.procs):
            p.end()

    def pairs(self, targets, drive):
        """Interleaved rounds. targets: {name: make}; drive(port, procs) → a point. → {name: [point, …]}"""
        up = {name: self.peer(make) for name, make in targets.items()}
        for port, _ in up.values():
            m.own_load(port, 64, 0.3)  # warm
        points = {name: [] for name in up}
        for i in range(self.rounds):
            order = list(up.items())
            for name, (port, procs) in order if i % 2 == 0 else reversed(order):
                points[name].append(drive(port, procs))
        return points


def ratios(points, ours, theirs, key):
    return [a[key] / b[key] for a, b in zip(points[ours], points[theirs])]


def row(name, what):
    def add(function):
        ROWS[name] = (function, what)
        return function
    return add


# --- one hop --------------------------------------------------------------------------------------------------------

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


# --- running --------------------------------------------------------------------------------------------------------


def chosen(only):
    """The rows that --only names: whole names, or beginnings of them up to a dash."""
    if not only:
        return list(ROWS)
    asked = [a for text in only for a in text.split(",")]
    names = [n for n in ROWS if any(n == a or n.startswith(a + "-") for a in asked)]
    unknown = [a for a in asked if not any(n == a or n.startswith(a + "-") for n in ROWS)]
    if unknown:
        raise SystemExit(f"bench: no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    return names


def run(options):
    verdicts = []
    for name in chosen(options.only):
        function, what = ROWS[name]
        print(f"# {name}: {what}", flush=True)
        folder = m.scratch()
        begun, bench = time.monotonic(), None
        try:
            bench = Bench(options, folder)
            got = list(function(bench, name))
        except Unmeasured as why:
            print(f"#   not measured: {why}", flush=True)
            continue
        finally:
            if bench:
                bench.close()
            shutil.rmtree(folder, ignore_errors=True)
        verdicts += got
        for v in got:
            print("#   " + "  ".join(v.cells()[1:]), flush=True)
        print(f"#   {time.monotonic() - begun:.0f} s", flush=True)
    rounds = f"medians of {options.rounds} pairs of {options.seconds} s"
    print(f"\ndata plane, {rounds}; spread: the middle half")
    m.table(["row", "what", "bar", "figure", "spread", ""], [v.cells() for v in verdicts])
    missed = sum(v.state == "NOT MET" for v in verdicts)
    print(f"bars: {sum(v.state.startswith('met') for v in verdicts)} met, {missed} not met")
    return [{"benchmark": "dataplane", "rounds": options.rounds, "seconds": options.seconds,
             "rows": [v.raw() for v in verdicts]}]
