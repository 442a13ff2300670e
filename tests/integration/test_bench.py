# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run: a smoke of seconds, whose figures mean nothing. The stage bench of ./test runs the others."""
import json
import os
import shutil
import subprocess

import pytest
from conftest import BUILD, ROOT

NEEDS = {"hop": ("wrk", "nginx", "haproxy"), "chain": ("wrk", "nginx"), "api": (), "autoscaler": (), "simulate": (), "filters": (), "events": ("redis-server",)}
PATH = os.environ["PATH"] + ":/usr/sbin"


@pytest.mark.parametrize("name", NEEDS)
def test_benchmark_runs(name, tmp_path):
    missing = [tool for tool in NEEDS[name] if not shutil.which(tool, path=PATH)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    out = tmp_path / "out.json"
    got = subprocess.run([ROOT / "bench" / "run", name, "--short", "--json", out], capture_output=True, text=True,
                         env={**os.environ, "LULL_BUILD": str(BUILD)}, timeout=120, check=False)
    assert got.returncode == 0, got.stdout + got.stderr
    assert json.loads(out.read_text())["results"]
    assert "| target" in got.stdout or "| bar" in got.stdout
