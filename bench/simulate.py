# SPDX-License-Identifier: Apache-2.0
"""simulate: invocations a second on one core, the time for 14 days of 1,000 functions, and what the histogram policy is worth
beside ten minutes of keep-alive, on made-up traffic and on the traces that LULL_TRACES (a folder) has."""
import json
import os
import pathlib
import resource
import subprocess

import measure as m

KEEP = "keep-10m:scale-to-zero-pod-retention-period=9m"
HISTOGRAM = "histogram:policy=histogram,scale-to-zero-pod-retention-period=4m"


def simulate(*args):
    """The answer, and the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    got = subprocess.run([m.program("lull-autoscaler"), "simulate", *map(str, args), "-o", "json"], capture_output=True, text=True,
                         check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if got.returncode != 0:
        raise m.LoadError(got.stderr)
    return json.loads(got.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rate(answer, seconds):
    return answer["settings"][0]["invocations"] / seconds / 1e6


def compare(answer):
    keep, histogram = answer["settings"]
    p75 = [row["coldShareOfFunctions"]["p75"] for row in (keep, histogram)]
    return {"keepP75": p75[0], "histogramP75": p75[1], "fewer": p75[0] / p75[1] if p75[1] else None,
            "replicaTime": histogram["replicaSeconds"] / keep["replicaSeconds"], "keepCold": keep["coldStarts"],
            "histogramCold": histogram["coldStarts"]}


def run(options):
    short = options.short
    print("\n## simulate\n\n| what | figure | bar |\n|---|---|---|")
    rows = []

    def row(name, text, bar, value):
        rows.append({"benchmark": "simulate", "row": name, "value": value})
        print(f"| {name} | {text} | {bar} |", flush=True)

    answer, took = simulate("--synthetic", 4, "--dense", 200, "--days", 0.01 if short else 0.5, "--set", "defaults")
    row("dense: 200 requests a second and function", f"{rate(answer, took):.1f} million invocations/s", "≥ 5", rate(answer, took))
    answer, took = simulate("--synthetic", 4, "--dense", 200, "--days", 0.01 if short else 0.5, "--set", "limited:container-concurrency=10")
    row("dense, with containerConcurrency", f"{rate(answer, took):.1f} million invocations/s", "–", rate(answer, took))
    size = (20, 0.5) if short else (1000, 14)
    answer, took = simulate("--synthetic", size[0], "--days", size[1], "--set", KEEP)
    row(f"{size[1]} days of {size[0]} functions", f"{took:.1f} s of processor time", "≤ 60", took)
    row("the same: sparse", f"{rate(answer, took):.1f} million invocations/s", "–", rate(answer, took))
    for seed in (1,) if short else (1, 2, 3):
        got = compare(simulate("--synthetic", size[0], "--days", size[1], "--seed", seed, "--set", KEEP, "--set", HISTOGRAM)[0])
        fewer = f"{got['fewer']:.2f}×" if got["fewer"] else "all"
        row(f"histogram beside 10 min, seed {seed}", f"p75 of functions {fewer} fewer cold starts ({got['histogramP75']:.1%} of requests, "
            f"not {got['keepP75']:.1%}), {got['replicaTime']:.3f}× replica time", "≥ 2×, ≤ 1×", got)
    folder = os.environ.get("LULL_TRACES")
    for trace in sorted(pathlib.Path(folder).glob("azure*.csv")) if folder else []:
        got = compare(simulate(trace, "--set", KEEP, "--set", HISTOGRAM)[0])
        row(f"trace {trace.name}", f"{got['histogramCold']} cold starts, not {got['keepCold']}; p75 {got['histogramP75']:.1%}, not "
            f"{got['keepP75']:.1%}; {got['replicaTime']:.3f}× replica time", "–", got)
    return rows
