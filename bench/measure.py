# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: starting and pinning processes, driving load, reading CPU and memory."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("LULL_BUILD", ROOT / "build"))
PROXY_CPU, LOAD_CPU = 0, 1  # the proxy alone on one core; load and backend on the other


def program(name):
    folder = {"lull": "cli", "lull-replica": "local", "bench-backend": "bench", "bench-first": "bench",
              "bench-load": "bench", "bench-decide": "bench", "bench-filters": "bench"}
    path = BUILD / folder.get(name, name.removeprefix("lull-")) / name
    if not path.is_file():
        raise SystemExit(f"bench: {path} is not there: meson setup build && ninja -C build")
    return str(path)


def tool(name, package):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not path:
        raise SystemExit(f"bench: {name} is not there: apt-get install {package}")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(cpu):
    usable = sorted(os.sched_getaffinity(0))
    return {usable[cpu % len(usable)]}


def pss_kib(pid):
    return int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])


class Proc:
    """A process of ours on one core, ended with the benchmark."""

    def __init__(self, command, cpu=None, env=None, log=None, listens=None):
        self.log = open(log, "wb") if log else subprocess.DEVNULL
        self.p = subprocess.Popen([str(c) for c in command], env={**os.environ, **(env or {})},
                                  stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if cpu is not None:
            os.sched_setaffinity(self.p.pid, pinned(cpu))
        if listens:
            self.wait_listening(listens, command)

    def wait_listening(self, port, command):
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.p.poll() is not None:
                    break
                time.sleep(0.01)
        raise SystemExit(f"bench: {command[0]} does not listen on {port}")

    def cpu_seconds(self):
        """User and system time of all its threads, to the nanosecond."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.p.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pss_kib(self):
        return pss_kib(self.p.pid)

    def tree_pss_kib(self):
        """With all processes below it."""
        pids, total = [self.p.pid], 0
        for pid in pids:
            pids += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            total += pss_kib(pid)
        return total

    def end(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()


class LoadError(Exception):
    pass


UNITS = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def load(port, connections, seconds, host=None, path="/"):
    """wrk on its core. → requests, requests per second, p50 and p99 in µs. A single failed request is an error."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
               f"http://127.0.0.1:{port}{path}"]
    if host:
        command[1:1] = ["-H", f"Host: {host}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, pinned(LOAD_CPU))).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise LoadError(out)

    def latency(p):
        found = re.search(rf"^\s+{p}%\s+([\d.]+)(us|ms|s|m|h)\s*$", out, re.M)
        if not found:
            raise LoadError(f"wrk told no latency:\n{out}")
        return float(found[1]) * UNITS[found[2]]

    return {"requests": int(re.search(r"(\d+) requests in", out)[1]),
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), "p50_us": latency(50), "p99_us": latency(99)}


def own_load(port, connections, seconds, rate=0, body=0, host=None, path="/", seed=1):
    """bench-load on its core, for what wrk cannot do: an open loop (rate) and requests with a body."""
    command = [program("bench-load"), "-c", connections, "-d", seconds, "-r", rate, "-b", body, "-p", path, "-s", seed,
               "-H", host or f"127.0.0.1:{port}", port]
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, pinned(LOAD_CPU))).stdout
    got = json.loads(out)
    if got["bad"] or got["unanswered"] > connections and not rate:
        raise LoadError(out)
    if not got["requests"]:  # a machine so busy that nothing came to its turn
        if seconds >= 30:
            raise LoadError(out)
        return own_load(port, connections, 10 * seconds, rate, body, host, path, seed)
    return got


def measure(port, procs, connections, seconds, by=load, **more):
    """One point: load, and the CPU time that the proxies needed for it."""
    before = sum(p.cpu_seconds() for p in procs)
    got = by(port, connections, seconds, **more)
    if not got["requests"]:
        got = by(port, connections, 10 * seconds, **more)
    got["cpu_s_per_100k"] = (sum(p.cpu_seconds() for p in procs) - before) / max(1, got["requests"]) * 100_000
    got["pss_kib"] = sum(p.pss_kib() for p in procs)
    return got


def median(points, key):
    return statistics.median(p[key] for p in points)


def spread(points, key):
    values = [p[key] for p in points]
    return f"{min(values):.2f}–{max(values):.2f}"


def scratch():
    return pathlib.Path(tempfile.mkdtemp(prefix="lull-bench-", dir="/tmp"))


def table(head, rows):
    rows = [[str(c) for c in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    print("\n".join(lines), flush=True)
