# SPDX-License-Identifier: Apache-2.0
"""coldstart: many copies of the C example go to zero together, then each is woken alone; beside the same
program started by hand (spawn → first whole answer). Both are timed by the same client, in turns."""
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import measure as m

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
from lull_client import Api, http_request, wait_for  # noqa: E402, F401


PAUSE_S = 0.03  # each is woken alone: what the one before left to do (scrapes, status) is done by then


class Lull:
    def __init__(self, home):
        self.home, self.public, self.local, self.api_port = home, m.free_port(), m.free_port(), m.free_port()
        keep = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "LULL_HOME")}
        self.env = {**keep, "LULL_HOME": str(home)}

    def cli(self, *args):
        got = subprocess.run([m.program("lull"), *map(str, args)], env=self.env, capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, check=False)
        if got.returncode != 0:
            raise SystemExit(f"bench: lull {' '.join(map(str, args))}: {got.stdout}{got.stderr}")
        return got.stdout

    def up(self, window):
        self.cli("up", "--detach", "--public-port", self.public, "--local-port", self.local, "--api-port",
                 self.api_port)
        self.api = Api(self.home / "kubeconfig")
        self.api.patch("/api/v1/namespaces/lull-system/configmaps/config-autoscaler",
                       {"data": {"allow-unsafe-windows": "true", "stable-window": window,
                                 "scale-to-zero-grace-period": "0s"}})

    def pods(self):
        return self.api.list("/api/v1/namespaces/default/pods")


def first(*args):
    got = subprocess.run([m.program("bench-first"), *map(str, args)], capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL)
    if got.returncode != 0:
        raise SystemExit(f"bench: bench-first {' '.join(map(str, args))}: {got.stderr}")
    return int(got.stdout.split()[-1])


def bare(program):
    port = m.free_port()
    return first("start", port, "localhost", "/", "--", program)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def row(name, values):
    return [name, len(values), *(f"{v / 1000:.2f}" for v in (
        statistics.median(values), quantile(values, 0.9), quantile(values, 0.99), min(values), max(values)))]


def run(options):
    folder = m.scratch()
    os.chmod(folder, 0o711)
    source = folder / "hello-c"
    shutil.copytree(m.ROOT / "examples" / "hello-c", source)
    subprocess.run(["make", "-s", "-C", source], check=True)
    lull = Lull(folder / "home")
    names = [f"c{i:03d}" for i in range(options.copies)]
    rounds = []
    try:
        lull.up(options.window)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda n: lull.cli("deploy", n, "--source", source), names))
        for i in range(options.rounds):
            wait_for(lambda: not lull.pods(), 300, "every copy is at zero")
            time.sleep(0.5)  # let what scaling down leaves behind settle; not part of any figure
            through, alone, warm = [], [], []
            for name in names:
                time.sleep(PAUSE_S)
                alone.append(bare(source / "hello"))
                host = f"{name}.default.localhost"
                through.append(first("get", lull.public, host, "/"))
                warm.append(first("get", lull.public, host, "/"))
            rounds.append({"through": through, "bare": alone, "warm": warm})
            print(f"round {i + 1}: through Lull {statistics.median(through) / 1000:.2f} ms, by hand "
                  f"{statistics.median(alone) / 1000:.2f} ms, warm {statistics.median(warm) / 1000:.2f} ms", flush=True)
    finally:
        if options.keep:
            print(f"kept: LULL_HOME={lull.home} {m.program('lull')} down")
        else:
            subprocess.run([m.program("lull"), "down"], env=lull.env, capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)
    through = [v for r in rounds for v in r["through"]]
    alone = [v for r in rounds for v in r["bare"]]
    warm = [v for r in rounds for v in r["warm"]]
    print(f"\ncold start of the C example, {options.copies} copies, {options.rounds} rounds, milliseconds")
    m.table(["", "n", "p50", "p90", "p99", "min", "max"],
            [row("through Lull, cold", through), row("started by hand", alone), row("through Lull, warm", warm)])
    print(f"difference of the medians: {(statistics.median(through) - statistics.median(alone)) / 1000:.2f} ms")
    return [{"benchmark": "coldstart", "copies": options.copies, "rounds": rounds}]
