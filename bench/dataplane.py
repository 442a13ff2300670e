# SPDX-License-Identifier: Apache-2.0
"""dataplane: the bars of the two proxies as one table, each row with its bar, its figure and whether it is met.

A ratio is taken within a pair (the same load on two proxies, one right after the other, in changing order); its
figure is the median over the pairs, its spread the middle half of them. "tie": the median misses the bar, but the
spread reaches it; it counts as met. A row that cannot be measured here says why and counts as neither."""
import shutil
import statistics
import time

import measure as m

ROWS = {}  # name: (function(bench, row), what it measures), in the order of the table


class Unmeasured(Exception):
    """This row cannot be measured on this tree or machine; the text says why."""


class Verdict:
    """One line of the table. values: one figure per pair or run; at_most: the bar is an upper one."""

    def __init__(self, row, what, bar, values, at_most=True, unit="", figure=None, digits=2):
        """figure: what stands beside the bar instead of the median of the values; then nothing is a tie."""
        self.row, self.what, self.bar, self.at_most, self.values = row, what, bar, at_most, list(values)
        self.figure, self.ties = (statistics.median(self.values), True) if figure is None else (figure, False)
        self.low, self.high = quartiles(self.values)
        self.unit, self.digits = unit, digits

    @property
    def state(self):
        if self.bar is None:
            return "reported"
        reaches = (lambda v: v <= self.bar) if self.at_most else (lambda v: v >= self.bar)
        if reaches(self.figure):
            return "met"
        if not self.ties:
            return "NOT MET"
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
    print(f"\ndata plane; ratios are medians of {options.rounds} pairs of {options.seconds} s; spread: the middle half")
    m.table(["row", "what", "bar", "figure", "spread", ""], [v.cells() for v in verdicts])
    missed = sum(v.state == "NOT MET" for v in verdicts)
    print(f"bars: {sum(v.state.startswith('met') for v in verdicts)} met, {missed} not met")
    return [{"benchmark": "dataplane", "rounds": options.rounds, "seconds": options.seconds,
             "rows": [v.raw() for v in verdicts]}]
