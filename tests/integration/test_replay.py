# SPDX-License-Identifier: Apache-2.0
"""A trace of invocations replayed through a Lull of its own: every call answered, all at zero at the end."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT

REPLAY = ROOT / "tests/replay/replay.py"


def real_trace():
    """$LULL_TRACE, or the file beside the checkout; None where there is neither."""
    if os.environ.get("LULL_TRACE"):
        return pathlib.Path(os.environ["LULL_TRACE"])
    beside = ROOT.parent / "shared/data/azure2021_200.csv"
    return beside if beside.is_file() else None


def replay(tmp_path, *options, timeout=300):
    told = tmp_path / "told.json"
    command = [sys.executable, REPLAY, *map(str, options), "--build", BUILD, "--json", told]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.terminate()  # it stops its Lull
            process.wait(60)
    print(out)
    assert process.returncode == 0, out
    return json.loads(told.read_text()), out


def check(told, out, speed):
    assert told["answered"] == told["calls"] > 0 and told["bad"] == []
    assert "at zero" in out
    # The trace has idle times longer than the window: functions did go to zero in between.
    assert told["wakeUps"] >= told["functions"]
    # Time is scaled, waiting is not: a cold start must not take seconds even on a busy machine.
    assert told["addedMs"]["p50"] < 1000 and told["addedMs"]["max"] < 10000, told
    assert told["speed"] == speed


def test_a_trace(tmp_path):
    """The real trace where it is, a synthetic one of the same form where it is not. A minute in all."""
    trace = real_trace()
    told, out = replay(tmp_path, *([trace] if trace else []), "--speed", 60)
    check(told, out, 60)
    assert (trace.name if trace else "a synthetic trace (seed 1; no file was given)") in out


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(3))
def test_replay_long(tmp_path, seed):
    """Three minutes a run: the real trace first, then synthetic ones, with one request at a time per replica too."""
    trace = real_trace() if seed == 0 else None
    told, out = replay(tmp_path, *([trace] if trace else []), "--speed", 7, "--seed", seed, timeout=1200)
    check(told, out, 7)
    told, out = replay(tmp_path, *([trace] if trace else []), "--speed", 20, "--seed", seed, "--concurrency", 1,
                       timeout=1200)
    check(told, out, 20)


@pytest.mark.quick
@pytest.mark.parametrize("text,says", [
    ("a,b\n1,2\n", "no column app"),
    ("app,func,end_timestamp,duration\n", "no invocation"),
    ("app,func,end_timestamp,duration\na,f,1,x\n", "line 2: not two numbers"),
    ("app,func,end_timestamp,duration\na,f,1,nan\n", "line 2: a time out of range"),
    ("app,func,end_timestamp,duration\na,f,9000,9000\n", "--speed must be at least 150.0"),
], ids=["columns", "empty", "words", "nan", "long"])
def test_a_bad_trace_is_refused_in_words(tmp_path, text, says):
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    got = subprocess.run([sys.executable, REPLAY, trace, "--build", BUILD], capture_output=True, text=True, timeout=60,
                         check=False)
    assert got.returncode == 1 and says in got.stderr and "Traceback" not in got.stderr


@pytest.mark.quick
def test_the_synthetic_trace_is_seeded():
    sys.path.insert(0, str(REPLAY.parent))
    import replay as module
    one, again, other = (module.synthetic_trace(seed) for seed in (1, 1, 2))
    assert one == again != other
    assert one[0].start == 0 and len({c.func for c in one}) == 30 and 100 < len(one) < 600
