# SPDX-License-Identifier: Apache-2.0
"""drain: how long a function that takes its time needs for the events that wait, from zero: by metric backlog, and by concurrency."""
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import coldstart
import measure as m

EVENTS, TAKES_MS, TARGET, MOST = 400, 100, 20, 20  # 20 replicas are due; together they need 2 s
WORK = f"""import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep({TAKES_MS / 1000})
        self.send_response(204)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


def trigger(lull):
    """The state of the one Trigger there is, as lull-broker tells it."""
    got = subprocess.run(["curl", "-fsS", "--unix-socket", lull.home / "run" / "broker.admin.sock", "http://admin/state"],
                         capture_output=True, text=True, check=True)
    return json.loads(got.stdout)["brokers"][0]["triggers"][0]


def once(metric):
    """→ seconds from sending to the last delivery, most replicas, tries that failed"""
    with tempfile.TemporaryDirectory(prefix="lull-", dir="/tmp") as home:
        lull = coldstart.Lull(pathlib.Path(home))
        lull.up("6s")
        try:
            lull.cli("deploy", "work", "--concurrency", "1", "--max-scale", str(MOST), "--", "python3", "-c", WORK)
            if metric == "backlog":
                lull.cli("scale", "work", "--metric", "backlog", "--target", str(TARGET))
            lull.cli("broker", "create", "default")
            lull.cli("trigger", "create", "work", "--sink", "work")
            events = [{"specversion": "1.0", "id": str(i), "source": "/bench", "type": "t"} for i in range(EVENTS)]
            batch = pathlib.Path(home, "batch.json")
            batch.write_text(json.dumps(events))
            wait(lambda: not lull.pods(), "it is at zero")
            begun, most = time.monotonic(), 0
            lull.cli("event", "send", "--file", str(batch))
            while trigger(lull)["delivered"] < EVENTS:
                if time.monotonic() > begun + 300:
                    raise m.LoadError(f"{metric}: not drained after 300 s")
                most = max(most, len(lull.pods()))
                time.sleep(0.1)
            return time.monotonic() - begun, most, trigger(lull)["failed"]
        finally:
            lull.cli("down")


def wait(done, what):
    end = time.monotonic() + 120
    while not done():
        if time.monotonic() > end:
            raise m.LoadError(f"after 120 s still not: {what}")
        time.sleep(0.2)


def run(rounds):
    """→ rows of a table, results"""
    rows, results = [], []
    for metric in ("backlog", "concurrency"):
        found = [once(metric) for _ in range(rounds)]
        took = statistics.median(f[0] for f in found)
        rows.append([f"by {metric}", f"{took:.1f} s", max(f[1] for f in found), sum(f[2] for f in found)])
        results.append({"benchmark": "events", "row": f"drain-{metric}", "value": took, "all": found})
    print(f"\n## events: {EVENTS} of them for a function at zero that takes {TAKES_MS} ms for each, one at a time, at most {MOST} replicas\n")
    m.table(["replicas", "drained in", "most replicas", "failed tries"], rows)
    return results
