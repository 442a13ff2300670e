# SPDX-License-Identifier: Apache-2.0
"""filters: evaluations of Triggers' filters a second on one core, and readings and writings of an event with 1 KiB of data."""
import statistics
import subprocess

import measure as m

BARS = {"exact": 20, "prefix": 20, "suffix": 20, "cesql-equal": 2, "cesql-like": 2, "cesql": 2, "cesql-texts": 2}  # millions a second


def once(count):
    """name → millions a second, in the program's order"""
    got = subprocess.run([m.program("bench-filters"), str(count)], capture_output=True, text=True, check=False)
    if got.returncode != 0:
        raise m.LoadError(got.stdout + got.stderr)
    return {name: float(rate) for name, rate in (line.split("\t") for line in got.stdout.splitlines())}


def run(options):
    count, rounds = (10000, 1) if options.short else (5_000_000, min(options.rounds, 5))
    found = [once(count) for _ in range(rounds)]
    rows, results = [], []
    for name in found[0]:
        rates = [f[name] for f in found]
        rate, bar = statistics.median(rates), BARS.get(name)
        met = bar is None or rate >= bar
        results.append({"benchmark": "filters", "row": name, "value": rate, "rates": rates, "bar": bar, "met": met})
        rows.append([name, f"≥ {bar}" if bar else "–", f"{rate:.2f}", f"{min(rates):.2f}–{max(rates):.2f}",
                     "reported" if bar is None else "met" if met else "**not met**"])
    print("\n## filters: millions a second on one core\n")
    m.table(["row", "bar", "figure", "spread", ""], rows)
    return results
