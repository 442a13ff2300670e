# SPDX-License-Identifier: Apache-2.0
"""events: 1 KB events through lull-broker and a real redis-server to a sink, end to end; all of it shares the machine."""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import measure as m

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
from broker_world import World  # noqa: E402

# events a second, delivered; None: reported
BARS = {"single-everysec": 15000, "batch-everysec": 25000, "single-always": None, "triggers-everysec": None}
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


def once(row, seconds):
    """→ events/s delivered, CPU seconds of broker and of Redis per 100,000"""
    port = m.free_port()
    sink = m.Proc([m.program("bench-backend"), port], listens=port)
    with tempfile.TemporaryDirectory(prefix="lull-", dir="/tmp") as home:
        world = World(pathlib.Path(home), m.program("lull-broker"), row.partition("-")[2])
        try:
            batch = pathlib.Path(home, "batch.json")
            batch.write_text(json.dumps([{"specversion": "1.0", "id": str(i), "source": "/bench", "type": "type0",
                                          "datacontenttype": "text/plain", "data": "x" * 1024} for i in range(16)]))
            world.broker()
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
        finally:
            sink.p.kill()
            world.close()


def run(options):
    rounds = 1 if options.short else min(options.rounds, 5)
    rows, results = [], []
    for row, bar in BARS.items():
        found = [once(row, options.seconds) for _ in range(rounds)]
        rate, broker, redis = (statistics.median(f[i] for f in found) for i in range(3))
        met = bar is None or rate >= bar
        results.append({"benchmark": "events", "row": row, "value": rate, "all": found, "bar": bar, "met": met})
        rows.append([row, f"≥ {bar:,}" if bar else "–", f"{rate:,.0f}", f"{broker:.2f}", f"{redis:.2f}",
                     "reported" if bar is None else "met" if met else "**not met**"])
    print("\n## events: delivered a second, end to end; CPU seconds of broker and Redis per 100,000\n")
    m.table(["row", "bar", "figure", "broker", "redis", ""], rows)
    return results
