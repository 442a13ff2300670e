# SPDX-License-Identifier: Apache-2.0
"""events: 1 KB events through lull-broker and a real redis-server to a sink, end to end; all of it shares the machine."""
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import drain
import measure as m

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
from broker_world import World  # noqa: E402

# events a second, delivered; None: reported
BARS = {"single-everysec": 15000, "batch-everysec": 25000, "single-always": None, "triggers-everysec": None}
CPU_BAR = 3            # CPU seconds of the broker per 100,000 events sent singly
TRIGGERS_SHARE = 0.5   # of the rate of one trigger
RATE, ADDED_MS = 7500, 10  # half of what single-everysec must reach; milliseconds that the broker may add at p99
BACKLOG, BACKLOG_MIB = 1_000_000, 64
HEADERS = ("ce-specversion: 1.0", "ce-id: 0123456789", "ce-source: /bench", "content-type: application/octet-stream")
TRIGGERS, TYPES = 1000, 8


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def load(world, row, seconds, batch):
    base = [m.program("bench-load"), str(world.ports["w1"]), "-d", str(seconds), "-p", "/default/default"]
    if row.startswith("batch"):
        return [[*base, "-c", "32", "-f", str(batch), "-A", "content-type: application/cloudevents-batch+json"]]
    single = [*base, "-b", "1024", *(word for line in HEADERS for word in ("-A", line))]
    if row.startswith("single"):
        return [[*single, "-c", "64", "-A", "ce-type: type0"]]
    return [[*single, "-c", str(64 // TYPES), "-A", f"ce-type: type{i * TRIGGERS // TYPES}"] for i in range(TYPES)]


def write_batch(home, n):
    batch = pathlib.Path(home, "batch.json")
    batch.write_text(json.dumps([{"specversion": "1.0", "id": str(i), "source": "/bench", "type": "type0",
                                  "datacontenttype": "text/plain", "data": "x" * 1024} for i in range(n)]))
    return batch


@contextlib.contextmanager
def world_with_sink(fsync="everysec"):
    """→ World, the sink's port, a folder"""
    port = m.free_port()
    sink = m.Proc([m.program("bench-backend"), port], listens=port)
    with tempfile.TemporaryDirectory(prefix="lull-", dir="/tmp") as home:
        world = World(pathlib.Path(home), m.program("lull-broker"), fsync)
        try:
            world.broker()
            yield world, port, home
        finally:
            sink.p.kill()
            world.close()


def once(row, seconds):
    """→ events/s delivered, CPU seconds of broker and of Redis per 100,000"""
    with world_with_sink(row.partition("-")[2]) as (world, port, home):
        batch = write_batch(home, 16)
        for i in range(TRIGGERS if row.startswith("triggers") else 1):
            world.trigger(f"t{i}", f"http://127.0.0.1:{port}/taken", filter={"attributes": {"type": f"type{i}"}})
        world.start().known(f"t{TRIGGERS - 1 if row.startswith('triggers') else 0}")
        pids = world.processes["w1"].pid, world.redis.process.pid
        before, begun = [cpu(p) for p in pids], time.monotonic()
        running = [subprocess.Popen(c, stdout=subprocess.PIPE, text=True) for c in load(world, row, seconds, batch)]
        told = [json.loads(p.communicate()[0]) for p in running]
        if any(t["bad"] for t in told):
            raise m.LoadError(f"{row}: {told}")
        accepted = world.metric("accepted_total")
        end = time.monotonic() + 120
        while world.metric("delivered_total") < accepted:
            if time.monotonic() > end:
                raise m.LoadError(f"{row}: {accepted} accepted, {world.metric('delivered_total')} delivered")
            time.sleep(0.01)
        took = time.monotonic() - begun
        return [accepted / took, *((cpu(p) - b) / accepted * 1e5 for p, b in zip(pids, before))]


def loaded(command):
    """What bench-load tells when it is over; every request must have had its 2xx."""
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if told["bad"] or told["requests"] == 0:
        raise m.LoadError(f"{command}: {told}")
    return told


def ask_sink(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/latency", timeout=60) as answer:
        return json.load(answer)


def latency(rate, seconds):
    """An open loop of events at this rate, sent to the sink directly and through the broker. From the moment when an
    event was due to its arrival at the sink, in ms. → p50, p99, p99.9 through the broker, p99 directly"""
    with world_with_sink() as (world, port, _):
        single = ["-T", "-c", "64", "-r", str(rate), "-b", "1024", *(w for line in (*HEADERS, "ce-type: type0") for w in ("-A", line))]
        load_program = m.program("bench-load")
        world.trigger("t0", f"http://127.0.0.1:{port}/taken")
        world.start().known("t0")
        loaded([load_program, str(port), "-d", "0.5", *single])
        loaded([load_program, str(world.ports["w1"]), "-d", "0.5", "-p", "/default/default", *single])
        time.sleep(0.3)
        ask_sink(port)
        loaded([load_program, str(port), "-d", str(seconds), *single])
        direct = ask_sink(port)
        before = world.metric("accepted_total")
        loaded([load_program, str(world.ports["w1"]), "-d", str(seconds), "-p", "/default/default", *single])
        end, sent = time.monotonic() + 60, world.metric("accepted_total")
        while world.metric("delivered_total") < sent and time.monotonic() < end:
            time.sleep(0.05)
        through = ask_sink(port)
        if through["events"] < sent - before:
            raise m.LoadError(f"{through['events']} of {sent - before} events arrived")
        return [*(through[k] / 1000 for k in ("p50_us", "p99_us", "p999_us")), direct["p99_us"] / 1000]


def backlog(events):
    """So many events for a sink that is away, tried again and again. → the broker's most resident MiB"""
    with world_with_sink() as (world, _, home):
        world.trigger("t0", f"http://127.0.0.1:{m.free_port()}/")
        world.start("--max-events", str(2 * events)).known("t0")
        batch = write_batch(home, 50)
        loaded([m.program("bench-load"), str(world.ports["w1"]), "-d", "300", "-n", str(events // 50), "-c", "16", "-p", "/default/default",
                "-f", str(batch), "-A", "content-type: application/cloudevents-batch+json"])
        end = time.monotonic() + 120
        while world.metric("dispatched_total") < events:
            if time.monotonic() > end:
                raise m.LoadError(f"{world.metric('dispatched_total')} of {events} events were dispatched")
            time.sleep(0.2)
        if world.metric("delivered_total") > 0:
            raise m.LoadError("something was delivered")
        status = pathlib.Path(f"/proc/{world.processes['w1'].pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def row_of(name, bar_text, figure_text, met, value, bar, results, extra=None):
    results.append({"benchmark": "events", "row": name, "value": value, "all": extra or [value], "bar": bar, "met": met})
    return [name, bar_text, figure_text, "met" if met else "**not met**"]


def wanted(options, row):
    return not options.only or any(row in only.split(",") for only in options.only)


def run_rates(options, rounds, results):
    rows = []
    for row, bar in BARS.items():
        if not wanted(options, row):
            continue
        found = [once(row, options.seconds) for _ in range(rounds)]
        rate, broker, redis = (statistics.median(f[i] for f in found) for i in range(3))
        if row.startswith("triggers"):
            one = next((r["value"] for r in results if r["row"] == "single-everysec"), None)
            bar = one and one * TRIGGERS_SHARE
        met = (bar is None or rate >= bar) and (row != "single-everysec" or broker <= CPU_BAR)
        results.append({"benchmark": "events", "row": row, "value": rate, "all": found, "bar": bar, "met": met})
        rows.append([row, f"≥ {bar:,.0f}" if bar else "–", f"{rate:,.0f}", f"{broker:.2f}", f"{redis:.2f}",
                     "reported" if bar is None else "met" if met else "**not met**"])
    if rows:
        print(f"\n## events: delivered a second, end to end; CPU seconds of broker (sent singly: ≤ {CPU_BAR}) and Redis per 100,000\n")
        m.table(["row", "bar", "figure", "broker", "redis", ""], rows)


def run(options):
    rounds = 1 if options.short else min(options.rounds, 5)
    results, rows = [], []
    run_rates(options, rounds, results)
    if wanted(options, "latency"):
        rate = 500 if options.short else RATE
        found = [latency(rate, options.seconds) for _ in range(rounds)]
        p50, p99, p999, direct = (statistics.median(f[i] for f in found) for i in range(4))
        rows.append(row_of(f"p99 added at {rate:,} a second", f"≤ {ADDED_MS} ms",
                           f"{p99 - direct:.2f} ms (p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}; directly p99 {direct:.2f})",
                           p99 - direct <= ADDED_MS, p99 - direct, ADDED_MS, results, found))
    if wanted(options, "backlog"):
        events = 20_000 if options.short else BACKLOG
        peak = backlog(events)
        rows.append(row_of(f"broker with {events:,} events of backlog", f"≤ {BACKLOG_MIB} MiB", f"{peak:.1f} MiB", peak <= BACKLOG_MIB,
                           peak, BACKLOG_MIB, results))
    if options.only and wanted(options, "drain"):  # not by default: it is about the autoscaler
        results += drain.run(rounds)
    if rows:
        print("\n## events: what the broker adds, from the moment when an event was due to its sink; most resident memory\n")
        m.table(["row", "bar", "figure", ""], rows)
    return results
